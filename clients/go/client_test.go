package ooml

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"testing"
	"time"

	banditv1 "github.com/ooml/ooml/clients/go/bandit/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
)

func unavailable(attempt int) error { return status.Error(codes.Unavailable, "not now") }

func TestACallGetsTheDefaultDeadline(t *testing.T) {
	server := listen(t, nil)
	if _, err := connect(t, server.address).Score(t.Context(), &banditv1.ScoreRequest{}); err != nil {
		t.Fatal(err)
	}
	if left := server.only(t).timeLeft; left <= 0 || left > 500*time.Millisecond {
		t.Errorf("%s left, want at most 500ms", left)
	}
}

func TestAContextsDeadlineWinsOverTheClients(t *testing.T) {
	server := listen(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	if _, err := connect(t, server.address, WithDeadline(time.Second)).Score(ctx, &banditv1.ScoreRequest{}); err != nil {
		t.Fatal(err)
	}
	if left := server.only(t).timeLeft; left < 59*time.Minute {
		t.Errorf("%s left, want an hour", left)
	}
}

func TestAServerThatDoesNotAnswerIsGivenUpAtTheDeadline(t *testing.T) {
	released := make(chan struct{})
	server := listen(t, func(int) error { <-released; return nil })
	defer close(released)
	_, err := connect(t, server.address, WithDeadline(50*time.Millisecond)).Score(t.Context(), &banditv1.ScoreRequest{})
	if status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("got %v, want DeadlineExceeded", err)
	}
}

func TestAStreamLivesAsLongAsItsContext(t *testing.T) {
	server := listen(t, nil)
	stream, err := connect(t, server.address).ScoreStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&banditv1.ScoreStreamRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	if left := server.only(t).timeLeft; left != 0 {
		t.Errorf("the stream has a deadline, in %s", left)
	}
}

func TestCallsTakeTurnsOnTheConnections(t *testing.T) {
	server := listen(t, nil)
	client := connect(t, server.address, WithChannels(3))
	for range 6 {
		if _, err := client.Score(t.Context(), &banditv1.ScoreRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	var from []string
	for _, request := range server.all() {
		from = append(from, request.from)
	}
	first, again := from[:3], from[3:]
	if !slices.Equal(first, again) {
		t.Errorf("calls came from %v", from)
	}
	if slices.Sort(first); len(slices.Compact(first)) != 3 {
		t.Errorf("three channels are the connections %v", first)
	}
}

func TestBothServicesAreCalled(t *testing.T) {
	server := listen(t, nil)
	if _, err := connect(t, server.address).ListPolicies(t.Context(), &banditv1.ListPoliciesRequest{}); err != nil {
		t.Fatal(err)
	}
	server.only(t)
}

func TestACallIsTriedFourTimesWithOneRequestID(t *testing.T) {
	server := listen(t, func(attempt int) error {
		if attempt < 4 {
			return unavailable(attempt)
		}
		return nil
	})
	if _, err := connect(t, server.address, WithDeadline(time.Minute)).Score(t.Context(), &banditv1.ScoreRequest{}); err != nil {
		t.Fatal(err)
	}
	ids := make([]string, 0, 4)
	for _, request := range server.all() {
		ids = append(ids, request.request.(*banditv1.ScoreRequest).GetRequestId())
	}
	if len(ids) != 4 || ids[0] == "" || len(slices.Compact(ids)) != 1 {
		t.Errorf("tried with the request ids %q, want four times the same", ids)
	}
}

func TestALargeCallIsTriedAgainToo(t *testing.T) {
	server := listen(t, func(attempt int) error {
		if attempt == 1 {
			return unavailable(attempt)
		}
		return nil
	})
	request := &banditv1.ScoreRequest{Policy: string(make([]byte, 3<<20))}
	if _, err := connect(t, server.address, WithDeadline(time.Minute)).Score(t.Context(), request); err != nil {
		t.Errorf("%v after %d attempts", status.Code(err), len(server.all()))
	}
}

func TestRetryIsSwitchedOff(t *testing.T) {
	server := listen(t, unavailable)
	_, err := connect(t, server.address, WithoutRetry()).Score(t.Context(), &banditv1.ScoreRequest{})
	if status.Code(err) != codes.Unavailable {
		t.Errorf("got %v, want Unavailable", err)
	}
	server.only(t)
}

func TestAStreamIsNotTriedAgain(t *testing.T) {
	server := listen(t, unavailable)
	stream, err := connect(t, server.address).ScoreStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&banditv1.ScoreStreamRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("got %v, want Unavailable", err)
	}
	server.only(t)
}

func TestEveryUnaryCallOfTheContractIsRetried(t *testing.T) {
	var config struct {
		MethodConfig []struct {
			Name []struct{ Service, Method string }
		}
	}
	if err := json.Unmarshal([]byte(serviceConfig), &config); err != nil {
		t.Fatal(err)
	}
	var retried, unary []string
	for _, name := range config.MethodConfig[0].Name {
		retried = append(retried, name.Service+"."+name.Method)
	}
	for _, file := range []protoreflect.FileDescriptor{banditv1.File_ooml_bandit_v1_bandit_proto, banditv1.File_ooml_bandit_v1_policy_proto} {
		methods := file.Services().Get(0).Methods()
		for i := range methods.Len() {
			if method := methods.Get(i); !method.IsStreamingClient() {
				unary = append(unary, string(method.FullName()))
			}
		}
	}
	if !slices.Equal(retried, unary) {
		t.Errorf("retried are %q, unary %q", retried, unary)
	}
}

func TestWhatIsRetriedIsTheSameInEveryLanguage(t *testing.T) {
	shared, err := os.ReadFile("../conformance/service_config.json")
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("clients/conformance is not beside this module")
	}
	if err != nil {
		t.Fatal(err)
	}
	var ours, theirs any
	if err := errors.Join(json.Unmarshal([]byte(serviceConfig), &ours), json.Unmarshal(shared, &theirs)); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(ours, theirs) {
		t.Errorf("service_config.json and ../conformance/service_config.json differ: copy the latter here")
	}
}

func TestOptionsThatCannotBeAreRefused(t *testing.T) {
	for name, option := range map[string]Option{
		"no time":              WithDeadline(0),
		"no channels":          WithChannels(0),
		"too many pings":       WithKeepalive(9*time.Second, time.Second),
		"no time for a ping":   WithKeepalive(30*time.Second, 0),
		"no such CA":           WithTLS(TLS{CAFile: "no-such-file"}),
		"a CA in no PEM":       WithTLS(TLS{CAFile: "go.mod"}),
		"a key without a cert": WithTLS(TLS{KeyFile: "go.mod"}),
	} {
		t.Run(name, func(t *testing.T) {
			if client, err := NewClient("127.0.0.1:1", option); err == nil {
				t.Errorf("%v was made", client)
			}
		})
	}
}
