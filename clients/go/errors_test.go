package ooml

import (
	"errors"
	"fmt"
	"testing"
	"time"

	banditv1 "github.com/ooml/ooml/clients/go/bandit/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"
)

func failure(t *testing.T, details ...protoadapt.MessageV1) error {
	t.Helper()
	full, err := status.New(codes.Unavailable, "not now").WithDetails(details...)
	if err != nil {
		t.Fatal(err)
	}
	return full.Err()
}

func TestDetailsSurviveTheWay(t *testing.T) {
	said := failure(t,
		&errdetails.ErrorInfo{Reason: "ERROR_REASON_DRAINING", Domain: "ooml.bandit.v1"},
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
			{Field: "policy", Description: "is empty"}, {Field: "candidates[3].id", Description: "is said twice"},
		}},
		&errdetails.RetryInfo{RetryDelay: durationpb.New(100 * time.Millisecond)},
	)
	server := listen(t, func(int) error { return said })
	_, err := connect(t, server.address, WithoutRetry()).Score(t.Context(), &banditv1.ScoreRequest{})
	got := Details(fmt.Errorf("wrapped: %w", err))
	if got.Reason != banditv1.ErrorReason_ERROR_REASON_DRAINING || got.RetryDelay != 100*time.Millisecond {
		t.Errorf("got %+v", got)
	}
	if len(got.Violations) != 2 || got.Violations[1].GetField() != "candidates[3].id" ||
		got.Violations[1].GetDescription() != "is said twice" {
		t.Errorf("got violations %v", got.Violations)
	}
}

func TestDetailsOfAnythingElseAreEmpty(t *testing.T) {
	for name, err := range map[string]error{
		"no error":          nil,
		"no status":         errors.New("something else"),
		"no details":        status.Error(codes.NotFound, "gone"),
		"another domain":    failure(t, &errdetails.ErrorInfo{Reason: "ERROR_REASON_DRAINING", Domain: "example.com"}),
		"a later version's": failure(t, &errdetails.ErrorInfo{Reason: "ERROR_REASON_NOT_YET", Domain: "ooml.bandit.v1"}),
	} {
		t.Run(name, func(t *testing.T) {
			if got := Details(err); got.Reason != 0 || got.Violations != nil || got.RetryDelay != 0 {
				t.Errorf("got %+v", got)
			}
		})
	}
}
