package main

import (
	"context"
	"fmt"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
)

// Fields of ScoreStreamRequest and ScoreStreamResponse.
const (
	fieldSequence = 1
	fieldRequest  = 2
	fieldResponse = 2
	fieldError    = 3
)

// stream sends all calls of a connection over one bidirectional stream; replies may overtake, their sequence says whose they are.
type stream struct {
	o           options
	connections []*grpc.ClientConn
	open        []*oneStream
}

type oneStream struct {
	grpc.ClientStream
	sending sync.Mutex
	waiting sync.Map // sequence → chan answer
	ended   chan struct{}
	why     error // once ended
}

type answer struct {
	reply []byte
	err   error
}

func newStream(ctx context.Context, o options) (*stream, error) {
	connections, err := dial(ctx, o)
	if err != nil {
		return nil, err
	}
	s := &stream{o: o, connections: connections}
	for _, connection := range connections {
		opened, err := connection.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, o.methods[0])
		if err != nil {
			return nil, err
		}
		one := &oneStream{ClientStream: opened, ended: make(chan struct{})}
		s.open = append(s.open, one)
		go one.receive()
	}
	return s, nil
}

func (s *stream) do(ctx context.Context, connection, k int) ([]byte, error) {
	one := s.open[connection]
	answered := make(chan answer, 1)
	one.waiting.Store(uint64(k), answered)
	body := protowire.AppendTag(nil, fieldSequence, protowire.VarintType)
	body = protowire.AppendVarint(body, uint64(k))
	body = protowire.AppendTag(body, fieldRequest, protowire.BytesType)
	body = protowire.AppendBytes(body, s.o.messages[k%len(s.o.messages)].body)
	one.sending.Lock()
	err := one.SendMsg(body)
	one.sending.Unlock()
	if err != nil {
		return nil, err
	}
	select {
	case a := <-answered:
		return a.reply, a.err
	case <-one.ended:
		return nil, one.why
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *stream) close() { closeAll(s.connections) }

func (one *oneStream) receive() {
	defer close(one.ended)
	for {
		var body []byte
		if one.why = one.RecvMsg(&body); one.why != nil {
			return
		}
		sequence, a := parse(body)
		if waits, ok := one.waiting.LoadAndDelete(sequence); ok {
			waits.(chan answer) <- a
		}
	}
}

// parse takes a ScoreStreamResponse apart.
func parse(body []byte) (sequence uint64, a answer) {
	a.err = fmt.Errorf("a reply that is none")
	for len(body) > 0 {
		field, kind, n := protowire.ConsumeTag(body)
		if n < 0 {
			return sequence, a
		}
		body = body[n:]
		switch {
		case field == fieldSequence && kind == protowire.VarintType:
			sequence, n = protowire.ConsumeVarint(body)
		case field == fieldResponse && kind == protowire.BytesType:
			a.reply, n = protowire.ConsumeBytes(body)
			a.err = nil
		case field == fieldError && kind == protowire.BytesType:
			var status []byte
			status, n = protowire.ConsumeBytes(body)
			a.err = fmt.Errorf("refused: %q", status)
		default:
			n = protowire.ConsumeFieldValue(field, kind, body)
		}
		if n < 0 {
			return sequence, a
		}
		body = body[n:]
	}
	return sequence, a
}
