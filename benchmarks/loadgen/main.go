// Loadgen sends messages to a server and says how long each call took.
//
// It reads messages from a file and sends them in turn, over and over, so that one call is about one person and the next about
// another. In a closed loop so many calls are in flight, each answered before the next takes its place; in an open loop calls
// begin at random moments of a given mean rate, whether or not earlier ones are answered, and a call's time is counted from the
// moment it was meant to begin: a server that stalls is charged for everyone who waited (no coordinated omission).
//
// It ends when all calls are answered, at the first that fails, or when its time is over.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"
)

// options says what to send and how.
type options struct {
	target      string
	methods     []string
	messages    []message
	requests    int
	inFlight    int
	connections int
	rate        float64 // calls a second; 0: closed loop
	seed        uint64
	deadline    time.Duration // of each call
}

// calls performs numbered calls; call k carries message k modulo their number.
type calls interface {
	// do performs call k on a connection and returns its reply. Safe to use from many goroutines.
	do(ctx context.Context, connection, k int) ([]byte, error)
	close()
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "loadgen:", err)
		os.Exit(1)
	}
}

func run() error {
	var o options
	var protocol, methods, messages, latencies, replies string
	var timeout time.Duration
	flag.StringVar(&o.target, "target", "", "server, `host:port`")
	flag.StringVar(&protocol, "protocol", "unary", "unary or stream (gRPC), or http (POST of JSON)")
	flag.StringVar(&methods, "methods", "", "full `names` of the methods (http: paths), with commas; messages name them by index")
	flag.StringVar(&messages, "messages", "", "`file` of messages: uint8 method, uint32 length, body")
	flag.IntVar(&o.requests, "requests", 1000, "calls to make")
	flag.IntVar(&o.inFlight, "in-flight", 1, "calls in flight (closed loop)")
	flag.IntVar(&o.connections, "connections", 1, "connections that share the calls in turn")
	flag.Float64Var(&o.rate, "rate", 0, "mean calls a second, at random moments (open loop); 0: closed loop")
	flag.Uint64Var(&o.seed, "seed", 1, "of those moments")
	flag.DurationVar(&o.deadline, "deadline", 5*time.Second, "of each call")
	flag.DurationVar(&timeout, "timeout", 2*time.Minute, "of everything")
	flag.StringVar(&latencies, "latencies", "", "`file` to write: int64 nanoseconds of each call, in order; in an open loop, after them, how late each began")
	flag.StringVar(&replies, "replies", "", "`file` to write: uint32 length and body of each reply, in order")
	flag.Parse()

	o.methods = strings.Split(methods, ",")
	var err error
	if o.messages, err = readMessages(messages, len(o.methods)); err != nil {
		return err
	}
	if o.requests < 1 || o.inFlight < 1 || o.connections < 1 {
		return fmt.Errorf("requests, in-flight and connections are at least 1")
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	server, err := connect(ctx, protocol, o)
	if err != nil {
		return err
	}
	defer server.close()
	result, err := load(ctx, server, o, replies != "")
	if err != nil {
		return err
	}
	if err := writeLatencies(latencies, result); err != nil {
		return err
	}
	if replies != "" {
		if err := writeReplies(replies, result.replies); err != nil {
			return err
		}
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]float64{"wall_s": result.wall.Seconds()})
}

func connect(ctx context.Context, protocol string, o options) (calls, error) {
	switch protocol {
	case "unary":
		return newUnary(ctx, o)
	case "stream":
		return newStream(ctx, o)
	case "http":
		return newPosts(o), nil
	}
	return nil, fmt.Errorf("no protocol %q", protocol)
}
