package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"

	ooml "github.com/ooml/ooml/clients/go"
	banditv1 "github.com/ooml/ooml/clients/go/bandit/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// calls are the unary ones, from JSON to JSON.
var calls = map[string]func(context.Context, *ooml.Client, json.RawMessage) (json.RawMessage, error){
	"Score":        unary((*ooml.Client).Score),
	"Reward":       unary((*ooml.Client).Reward),
	"Activate":     unary((*ooml.Client).Activate),
	"BatchScore":   unary((*ooml.Client).BatchScore),
	"BatchReward":  unary((*ooml.Client).BatchReward),
	"ListPolicies": unary((*ooml.Client).ListPolicies),
	"GetPolicy":    unary((*ooml.Client).GetPolicy),
	"GetEvidence":  unary((*ooml.Client).GetEvidence),
	"ForgetScope":  unary((*ooml.Client).ForgetScope),
}

type message[T any] interface {
	*T
	proto.Message
}

func unary[Q, R any, QP message[Q], RP message[R]](
	method func(*ooml.Client, context.Context, QP, ...grpc.CallOption) (RP, error),
) func(context.Context, *ooml.Client, json.RawMessage) (json.RawMessage, error) {
	return func(ctx context.Context, client *ooml.Client, text json.RawMessage) (json.RawMessage, error) {
		request := QP(new(Q))
		if err := protojson.Unmarshal(text, request); err != nil {
			return nil, localError{err}
		}
		response, err := method(client, ctx, request)
		if err != nil {
			return nil, err
		}
		return protojson.Marshal(response)
	}
}

// stream sends all requests and takes all responses; or, when it is to cancel, only as many, and then cancels.
func stream(
	ctx context.Context, cancel func(), client *ooml.Client, texts []json.RawMessage, cancelAfter *int,
) ([]json.RawMessage, error) {
	requests := make([]*banditv1.ScoreStreamRequest, len(texts))
	for i, text := range texts {
		requests[i] = &banditv1.ScoreStreamRequest{}
		if err := protojson.Unmarshal(text, requests[i]); err != nil {
			return nil, localError{err}
		}
	}
	stream, err := client.ScoreStream(ctx)
	if err != nil {
		return nil, err
	}
	// Beside receiving: neither side must wait for the other to read.
	go func() {
		for _, request := range requests {
			if stream.Send(request) != nil {
				return // Recv says why
			}
		}
		if cancelAfter == nil {
			_ = stream.CloseSend()
		}
	}()
	responses := []json.RawMessage{}
	for {
		enough := cancelAfter != nil && len(responses) == *cancelAfter
		if enough {
			cancel()
		}
		response, err := stream.Recv()
		if enough && err == nil {
			continue // it was on its way when the call was cancelled
		}
		if errors.Is(err, io.EOF) {
			return responses, nil
		}
		if err != nil {
			return responses, err
		}
		text, err := protojson.Marshal(response)
		if err != nil {
			return responses, err
		}
		responses = append(responses, text)
	}
}
