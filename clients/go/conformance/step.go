package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	ooml "github.com/ooml/ooml/clients/go"
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

type step struct {
	Call         string
	Request      json.RawMessage
	Requests     []json.RawMessage
	DeadlineMS   int `json:"deadline_ms"`
	Metadata     map[string]string
	Save         map[string]string
	CancelAfter  *int `json:"cancel_after"`
	CancelAtOnce bool `json:"cancel_at_once"`
	WaitMS       int  `json:"wait_ms"`
}

// outcome is what is printed of a step.
type outcome struct {
	Case         string            `json:"case"`
	Step         int               `json:"step"`
	Code         string            `json:"code"`
	Message      string            `json:"message,omitempty"`
	Reason       string            `json:"reason,omitempty"`
	Domain       string            `json:"domain,omitempty"`
	Violations   []violation       `json:"violations,omitempty"`
	RetryDelayMS int64             `json:"retry_delay_ms,omitempty"`
	Response     json.RawMessage   `json:"response,omitempty"`
	Responses    []json.RawMessage `json:"responses,omitzero"`
	MS           int64             `json:"ms"`
}

type violation struct {
	Field       string `json:"field"`
	Description string `json:"description"`
}

// localError is a refusal before anything was sent.
type localError struct{ error }

// runnerError is a step that this program cannot execute.
type runnerError struct{ error }

// execute makes a step's call; saved gains what the step saves.
func (s *step) execute(client *ooml.Client, saved map[string]string) outcome {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if s.DeadlineMS > 0 {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(s.DeadlineMS)*time.Millisecond)
		defer cancel()
	}
	for key, value := range s.Metadata {
		ctx = metadata.AppendToOutgoingContext(ctx, key, value)
	}
	if s.CancelAtOnce {
		go cancel() // while the call is under way
	}
	began := time.Now()
	response, responses, err := s.call(ctx, cancel, client, saved)
	took := time.Since(began)
	if err == nil {
		err = keep(s.Save, response, saved)
	}
	came := failed(err)
	came.Response, came.Responses, came.MS = response, responses, took.Milliseconds()
	return came
}

func (s *step) call(
	ctx context.Context, cancel func(), client *ooml.Client, saved map[string]string,
) (response json.RawMessage, responses []json.RawMessage, err error) {
	if s.Call == "ScoreStream" {
		requests := make([]json.RawMessage, len(s.Requests))
		for i, request := range s.Requests {
			if requests[i], err = filled(request, saved); err != nil {
				return nil, nil, err
			}
		}
		responses, err = stream(ctx, cancel, client, requests, s.CancelAfter)
		return nil, responses, err
	}
	call, ok := calls[s.Call]
	if !ok {
		return nil, nil, runnerError{fmt.Errorf("there is no call %q", s.Call)}
	}
	request, err := filled(s.Request, saved)
	if err != nil {
		return nil, nil, err
	}
	response, err = call(ctx, client, request)
	return response, nil, err
}

// failed is the outcome of an error, of which none is one.
func failed(err error) outcome {
	if err == nil {
		return outcome{Code: "OK"}
	}
	var local localError
	if errors.As(err, &local) {
		return outcome{Code: "LOCAL", Message: err.Error()}
	}
	var runner runnerError
	if errors.As(err, &runner) {
		return outcome{Code: "RUNNER", Message: err.Error()}
	}
	said := status.Convert(err)
	details := ooml.Details(err)
	came := outcome{
		Code:         code.Code(said.Code()).String(),
		Message:      said.Message(),
		RetryDelayMS: details.RetryDelay.Milliseconds(),
	}
	for _, detail := range said.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			came.Domain, came.Reason = info.GetDomain(), details.Reason.String()
		}
	}
	for _, one := range details.Violations {
		came.Violations = append(came.Violations, violation{one.GetField(), one.GetDescription()})
	}
	return came
}
