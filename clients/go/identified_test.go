package ooml

import (
	"regexp"
	"testing"

	banditv1 "github.com/ooml/ooml/clients/go/bandit/v1"
	"google.golang.org/protobuf/proto"
)

var uuid4 = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

// slate is a request with something in fields of every kind, one unknown to this client among them.
func slate(id string) *banditv1.ScoreRequest {
	request := &banditv1.ScoreRequest{
		Policy:     "tips",
		Entities:   map[string]string{"user_id": "ü"},
		Candidates: []*banditv1.Candidate{{Id: "a"}, {Id: "b", Features: map[string]float64{"x": 1}}},
		Served:     &banditv1.Served{CandidateId: "b", Propensity: 0.5},
		RequestId:  id,
	}
	request.ProtoReflect().SetUnknown([]byte{0xf8, 0x07, 0x01}) // field 127: 1
	return request
}

// checkNamed holds what was sent equal to what was given, but for a random id.
func checkNamed(t *testing.T, sent, given *banditv1.ScoreRequest) {
	t.Helper()
	if !uuid4.MatchString(sent.GetRequestId()) {
		t.Errorf("request_id is %q, want a UUID of version 4", sent.GetRequestId())
	}
	want := proto.CloneOf(given)
	want.RequestId = sent.GetRequestId()
	if !proto.Equal(sent, want) {
		t.Errorf("sent %v, want %v", sent, want)
	}
}

func TestAScoreWithoutAnIDIsSentWithARandomOne(t *testing.T) {
	server := listen(t, nil)
	client := connect(t, server.address)
	given := slate("")
	for range 2 {
		if _, err := client.Score(t.Context(), given); err != nil {
			t.Fatal(err)
		}
	}
	first, second := server.all()[0].request.(*banditv1.ScoreRequest), server.all()[1].request.(*banditv1.ScoreRequest)
	checkNamed(t, first, given)
	checkNamed(t, second, given)
	if first.GetRequestId() == second.GetRequestId() {
		t.Errorf("two calls are both %s", first.GetRequestId())
	}
	if !proto.Equal(given, slate("")) {
		t.Errorf("the caller's request became %v", given)
	}
}

func TestAScoresOwnIDIsKept(t *testing.T) {
	server := listen(t, nil)
	if _, err := connect(t, server.address).Score(t.Context(), slate("mine")); err != nil {
		t.Fatal(err)
	}
	if sent := server.only(t).request.(*banditv1.ScoreRequest); !proto.Equal(sent, slate("mine")) {
		t.Errorf("sent %v", sent)
	}
}

func TestEachScoreOfABatchIsNamedOnItsOwn(t *testing.T) {
	server := listen(t, nil)
	given := &banditv1.BatchScoreRequest{Requests: []*banditv1.ScoreRequest{slate(""), slate("mine"), slate("")}}
	before := proto.CloneOf(given)
	if _, err := connect(t, server.address).BatchScore(t.Context(), given); err != nil {
		t.Fatal(err)
	}
	sent := server.only(t).request.(*banditv1.BatchScoreRequest).GetRequests()
	checkNamed(t, sent[0], given.Requests[0])
	checkNamed(t, sent[2], given.Requests[2])
	if !proto.Equal(sent[1], slate("mine")) || len(sent) != 3 {
		t.Errorf("sent %v", sent)
	}
	if sent[0].GetRequestId() == sent[2].GetRequestId() {
		t.Errorf("two requests are both %s", sent[0].GetRequestId())
	}
	if !proto.Equal(given, before) {
		t.Errorf("the caller's batch became %v", given)
	}
}

func TestEachScoreOfAStreamIsNamed(t *testing.T) {
	server := listen(t, nil)
	stream, err := connect(t, server.address).ScoreStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	given := &banditv1.ScoreStreamRequest{Sequence: 7, Request: slate("")}
	for _, request := range []*banditv1.ScoreStreamRequest{given, {Sequence: 8, Request: slate("mine")}, {Sequence: 9}} {
		if err := stream.Send(request); err != nil {
			t.Fatal(err)
		}
		if reply, err := stream.Recv(); err != nil || reply.GetSequence() != request.Sequence {
			t.Fatalf("%d got %v, %v", request.Sequence, reply, err)
		}
	}
	var sent []*banditv1.ScoreStreamRequest
	for _, entry := range server.all() {
		sent = append(sent, entry.request.(*banditv1.ScoreStreamRequest))
	}
	checkNamed(t, sent[0].GetRequest(), given.Request)
	if sent[0].GetSequence() != 7 || !proto.Equal(sent[1].GetRequest(), slate("mine")) || sent[2].Request != nil {
		t.Errorf("sent %v", sent)
	}
	if !proto.Equal(given.Request, slate("")) {
		t.Errorf("the caller's request became %v", given)
	}
}

func TestAnAbsentRequestStaysAbsent(t *testing.T) {
	for _, request := range []any{
		(*banditv1.ScoreRequest)(nil), (*banditv1.BatchScoreRequest)(nil), (*banditv1.ScoreStreamRequest)(nil),
		&banditv1.BatchScoreRequest{Requests: []*banditv1.ScoreRequest{nil}},
	} {
		if sent := identified(request); sent != request {
			t.Errorf("%v became %v", request, sent)
		}
	}
}
