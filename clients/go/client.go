// Package ooml asks an ooml server which of some candidates to choose, and tells it what came of the choice.
//
// A [Client] has a method for every call of the contract, with the generated messages of package banditv1. Errors are gRPC statuses;
// [Details] reads what the server says beyond code and message.
package ooml

import (
	"errors"
	"fmt"

	banditv1 "github.com/ooml/ooml/clients/go/bandit/v1"
	"google.golang.org/grpc"
)

// Client is a connection, or several, to an ooml server. Safe for use by any number of goroutines.
//
// A call whose context has no deadline gets the client's; ScoreStream lives as long as its context. A ScoreRequest without a request_id
// is sent with a random one, so that retrying it decides once; the caller's message is not changed.
type Client struct {
	banditv1.BanditServiceClient
	banditv1.PolicyServiceClient
	connections []*grpc.ClientConn
}

// NewClient makes a client of the server at a target such as "127.0.0.1:50051" or "dns:///ooml.example:443". It connects when first used.
// An error says which option is wrong.
func NewClient(target string, options ...Option) (*Client, error) {
	chosen := defaults()
	for _, option := range options {
		option(&chosen)
	}
	dial, err := chosen.dial(target)
	if err != nil {
		return nil, err
	}
	client := &Client{}
	for range chosen.channels {
		connection, err := grpc.NewClient(target, dial...)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("ooml: target %q: %w", target, err), client.Close())
		}
		client.connections = append(client.connections, connection)
	}
	calls := &caller{connections: client.connections, deadline: chosen.deadline}
	client.BanditServiceClient = banditv1.NewBanditServiceClient(calls)
	client.PolicyServiceClient = banditv1.NewPolicyServiceClient(calls)
	return client, nil
}

// Close ends all connections, and with them the calls that are under way.
func (c *Client) Close() error {
	var failures []error
	for _, connection := range c.connections {
		failures = append(failures, connection.Close())
	}
	return errors.Join(failures...)
}
