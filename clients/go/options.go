package ooml

import (
	_ "embed"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
)

// What is retried, and how. The same in every language.
//
//go:embed service_config.json
var serviceConfig string

// A request that is to be retried is kept until it is answered: any the server takes (4 MiB), and what gRPC adds to it. gRPC's own limit of
// 256 KiB would leave large batches without a retry.
const retryBufferBytes = 5 << 20

// Option changes how a [Client] connects and calls.
type Option func(*settings)

type settings struct {
	deadline         time.Duration
	channels         int
	apiKey           string
	tls              *TLS
	keepalive        time.Duration
	keepaliveTimeout time.Duration
	retry            bool
}

func defaults() settings {
	return settings{
		deadline:         500 * time.Millisecond,
		channels:         1,
		keepalive:        30 * time.Second,
		keepaliveTimeout: 10 * time.Second,
		retry:            true,
	}
}

// WithDeadline sets how long a call may take whose context has no deadline. Default: 500 ms.
func WithDeadline(deadline time.Duration) Option { return func(s *settings) { s.deadline = deadline } }

// WithChannels sets how many connections calls take turns on. Default: 1. A server with several workers on one address spreads
// connections, not calls: use a few per worker.
func WithChannels(channels int) Option { return func(s *settings) { s.channels = channels } }

// WithAPIKey sends an API key, or a JWT, with every call. Needs TLS, except to a loopback address. Default: none; an empty key is none.
func WithAPIKey(key string) Option { return func(s *settings) { s.apiKey = key } }

// WithTLS encrypts, and checks the server's certificate. Default: off. See [TLS].
func WithTLS(tls TLS) Option { return func(s *settings) { s.tls = &tls } }

// WithKeepalive sets how often a silent connection is asked whether it is alive, also when no call is under way, and how long it may take
// to answer before it is given up. Default: 30 s and 10 s. The least is every 10 s: servers hang up on who asks more often.
func WithKeepalive(every, timeout time.Duration) Option {
	return func(s *settings) { s.keepalive, s.keepaliveTimeout = every, timeout }
}

// WithoutRetry leaves retrying to the caller. Default: calls that are safe to repeat are tried up to four times within their deadline
// while the server is UNAVAILABLE.
func WithoutRetry() Option { return func(s *settings) { s.retry = false } }

// dial says all of it to gRPC, or why it cannot be.
func (s *settings) dial(target string) ([]grpc.DialOption, error) {
	switch {
	case s.deadline <= 0:
		return nil, fmt.Errorf("ooml: a deadline of %s leaves no time; give one above 0", s.deadline)
	case s.channels < 1:
		return nil, fmt.Errorf("ooml: %d channels; give 1 or more", s.channels)
	case s.keepalive < 10*time.Second || s.keepaliveTimeout <= 0:
		return nil, fmt.Errorf("ooml: keepalive every %s, timeout %s; give 10s or more, and a timeout above 0", s.keepalive, s.keepaliveTimeout)
	case s.apiKey != "" && s.tls == nil && !isLoopback(target):
		return nil, errors.New("ooml: an API key over a connection that is not encrypted could be read on the way: " +
			"add WithTLS, or connect to a loopback address such as 127.0.0.1:50051")
	case !sendable(s.apiKey):
		return nil, errors.New("ooml: the API key has characters that cannot be sent (perhaps a line break read from a file); " +
			"give it in printable ASCII without spaces")
	}
	transport := insecure.NewCredentials()
	if s.tls != nil {
		config, err := s.tls.config()
		if err != nil {
			return nil, err
		}
		transport = credentials.NewTLS(config)
	}
	dial := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time: s.keepalive, Timeout: s.keepaliveTimeout, PermitWithoutStream: true,
		}),
		// What is retried is said here and not by a DNS record.
		grpc.WithDisableServiceConfig(),
	}
	if s.apiKey != "" {
		dial = append(dial, grpc.WithPerRPCCredentials(newBearer(s.apiKey, s.tls != nil)))
	}
	if s.retry {
		dial = append(dial, grpc.WithDefaultServiceConfig(serviceConfig),
			grpc.WithDefaultCallOptions(grpc.MaxRetryRPCBufferSize(retryBufferBytes)))
	} else {
		dial = append(dial, grpc.WithDisableRetry())
	}
	return dial, nil
}
