package main

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
)

// raw passes messages on as bytes, both ways: what they mean is not looked at here. Named as what the server speaks.
type raw struct{}

func (raw) Name() string { return "proto" }

func (raw) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}

func (raw) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

// dial opens the connections, each a socket of its own, and waits until all are up.
func dial(ctx context.Context, o options) ([]*grpc.ClientConn, error) {
	var connections []*grpc.ClientConn
	for range o.connections {
		connection, err := grpc.NewClient(
			"passthrough:///"+o.target,
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(grpc.ForceCodecV2(raw{}), grpc.MaxCallRecvMsgSize(64<<20)),
		)
		if err != nil {
			return nil, err
		}
		connections = append(connections, connection)
		connection.Connect()
		for state := connection.GetState(); state != connectivity.Ready; state = connection.GetState() {
			if !connection.WaitForStateChange(ctx, state) {
				return nil, ctx.Err()
			}
		}
	}
	return connections, nil
}

func closeAll(connections []*grpc.ClientConn) {
	for _, connection := range connections {
		connection.Close()
	}
}

// unary makes each call by itself.
type unary struct {
	o           options
	connections []*grpc.ClientConn
}

func newUnary(ctx context.Context, o options) (*unary, error) {
	connections, err := dial(ctx, o)
	return &unary{o, connections}, err
}

func (u *unary) do(ctx context.Context, connection, k int) ([]byte, error) {
	message := u.o.messages[k%len(u.o.messages)]
	var reply []byte
	err := u.connections[connection].Invoke(ctx, u.o.methods[message.method], message.body, &reply)
	return reply, err
}

func (u *unary) close() { closeAll(u.connections) }
