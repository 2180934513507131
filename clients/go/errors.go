package ooml

import (
	"time"

	banditv1 "github.com/ooml/ooml/clients/go/bandit/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
)

const domain = "ooml.bandit.v1"

// ErrorDetails is what a server says of an error beyond code and message.
type ErrorDetails struct {
	// Reason to decide by; ERROR_REASON_UNSPECIFIED when the server gave none, or one that this client does not know yet.
	Reason banditv1.ErrorReason
	// Violations names the fields at fault.
	Violations []*errdetails.BadRequest_FieldViolation
	// RetryDelay is the least time to wait before trying again; 0 when the server did not say.
	RetryDelay time.Duration
}

// Details reads the details of an error that a call returned, wrapped or not. For the error of a result in a batch or a stream, give it
// status.ErrorProto(result.GetError()).
func Details(err error) ErrorDetails {
	var found ErrorDetails
	for _, detail := range status.Convert(err).Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			if detail.GetDomain() == domain {
				found.Reason = banditv1.ErrorReason(banditv1.ErrorReason_value[detail.GetReason()])
			}
		case *errdetails.BadRequest:
			found.Violations = append(found.Violations, detail.GetFieldViolations()...)
		case *errdetails.RetryInfo:
			found.RetryDelay = detail.GetRetryDelay().AsDuration()
		}
	}
	return found
}
