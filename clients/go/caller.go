package ooml

import (
	"context"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
)

// caller is what generated code calls through: it spreads calls over connections and gives each its deadline and request ids.
type caller struct {
	connections []*grpc.ClientConn
	deadline    time.Duration
	calls       atomic.Uint64
}

func (c *caller) next() *grpc.ClientConn {
	return c.connections[(c.calls.Add(1)-1)%uint64(len(c.connections))]
}

// Invoke makes a unary call.
func (c *caller) Invoke(ctx context.Context, method string, request, reply any, options ...grpc.CallOption) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.deadline)
		defer cancel()
	}
	return c.next().Invoke(ctx, method, identified(request), reply, options...)
}

// NewStream begins a stream.
func (c *caller) NewStream(
	ctx context.Context, description *grpc.StreamDesc, method string, options ...grpc.CallOption,
) (grpc.ClientStream, error) {
	stream, err := c.next().NewStream(ctx, description, method, options...)
	if err != nil {
		return nil, err
	}
	return identifying{stream}, nil
}

// identifying is a stream whose requests have ids.
type identifying struct{ grpc.ClientStream }

// SendMsg sends a request.
func (s identifying) SendMsg(request any) error { return s.ClientStream.SendMsg(identified(request)) }
