package ooml

import (
	"crypto/rand"
	"fmt"
	"slices"

	banditv1 "github.com/ooml/ooml/clients/go/bandit/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// identified gives every ScoreRequest in a request that has no request_id a random one, on a copy: what is sent twice is then decided
// once. Everything else it returns as it is.
func identified(request any) any {
	switch request := request.(type) {
	case *banditv1.ScoreRequest:
		return identifiedScore(request)
	case *banditv1.BatchScoreRequest:
		if !slices.ContainsFunc(request.GetRequests(), anonymous) {
			return request
		}
		batch := shallow(request)
		batch.Requests = make([]*banditv1.ScoreRequest, len(request.Requests))
		for i, score := range request.Requests {
			batch.Requests[i] = identifiedScore(score)
		}
		return batch
	case *banditv1.ScoreStreamRequest:
		if !anonymous(request.GetRequest()) {
			return request
		}
		streamed := shallow(request)
		streamed.Request = identifiedScore(request.Request)
		return streamed
	}
	return request
}

func identifiedScore(request *banditv1.ScoreRequest) *banditv1.ScoreRequest {
	if !anonymous(request) {
		return request
	}
	score := shallow(request)
	score.RequestId = randomUUID()
	return score
}

// anonymous says whether a request needs an id. One that is absent does not: the server is to say that it is.
func anonymous(request *banditv1.ScoreRequest) bool { return request != nil && request.RequestId == "" }

// shallow copies a message without what its fields refer to: a slate of 500 candidates is not copied to add an id.
func shallow[M proto.Message](message M) M {
	from := message.ProtoReflect()
	to := from.New()
	from.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		to.Set(field, value)
		return true
	})
	to.SetUnknown(from.GetUnknown())
	return to.Interface().(M)
}

// randomUUID is of version 4, RFC 9562.
func randomUUID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails: crypto/rand ends the program rather than give less than it was asked for
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}
