package ooml

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	banditv1 "github.com/ooml/ooml/clients/go/bandit/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
)

// listener is a gRPC server that keeps what reaches it and answers as a test says: what the client sends is seen from the other end.
type listener struct {
	banditv1.UnimplementedBanditServiceServer
	banditv1.UnimplementedPolicyServiceServer
	address string
	answer  func(attempt int) error

	mutex sync.Mutex
	heard []heard
}

// heard is one attempt at a call, or one message of a stream.
type heard struct {
	request  any
	header   metadata.MD
	from     string
	timeLeft time.Duration
}

func listen(t *testing.T, answer func(attempt int) error, options ...grpc.ServerOption) *listener {
	t.Helper()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &listener{address: socket.Addr().String(), answer: answer}
	server := grpc.NewServer(options...)
	banditv1.RegisterBanditServiceServer(server, l)
	banditv1.RegisterPolicyServiceServer(server, l)
	served := make(chan error)
	go func() { served <- server.Serve(socket) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return l
}

// hear keeps a request and says what to answer.
func (l *listener) hear(ctx context.Context, request any) error {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	entry := heard{request: request}
	entry.header, _ = metadata.FromIncomingContext(ctx)
	if from, ok := peer.FromContext(ctx); ok {
		entry.from = from.Addr.String()
	}
	if deadline, ok := ctx.Deadline(); ok {
		entry.timeLeft = time.Until(deadline)
	}
	l.heard = append(l.heard, entry)
	if l.answer == nil {
		return nil
	}
	return l.answer(len(l.heard))
}

func (l *listener) all() []heard {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return append([]heard(nil), l.heard...)
}

func (l *listener) only(t *testing.T) heard {
	t.Helper()
	all := l.all()
	if len(all) != 1 {
		t.Fatalf("the server heard %d requests, want 1", len(all))
	}
	return all[0]
}

func (l *listener) Score(ctx context.Context, request *banditv1.ScoreRequest) (*banditv1.ScoreResponse, error) {
	return &banditv1.ScoreResponse{}, l.hear(ctx, request)
}

func (l *listener) BatchScore(ctx context.Context, request *banditv1.BatchScoreRequest) (*banditv1.BatchScoreResponse, error) {
	return &banditv1.BatchScoreResponse{}, l.hear(ctx, request)
}

func (l *listener) ListPolicies(ctx context.Context, request *banditv1.ListPoliciesRequest) (*banditv1.ListPoliciesResponse, error) {
	return &banditv1.ListPoliciesResponse{}, l.hear(ctx, request)
}

func (l *listener) ScoreStream(
	stream grpc.BidiStreamingServer[banditv1.ScoreStreamRequest, banditv1.ScoreStreamResponse],
) error {
	for {
		request, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := l.hear(stream.Context(), request); err != nil {
			return err
		}
		if err := stream.Send(&banditv1.ScoreStreamResponse{Sequence: request.GetSequence()}); err != nil {
			return err
		}
	}
}

// connect makes a client that is closed when the test ends.
func connect(t *testing.T, target string, options ...Option) *Client {
	t.Helper()
	client, err := NewClient(target, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	return client
}
