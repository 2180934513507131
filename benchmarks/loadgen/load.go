package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// outcome is what all calls came to, in their order.
type outcome struct {
	nanoseconds []int64
	late        []int64  // how much later than meant each call began, in nanoseconds; nil in a closed loop
	replies     [][]byte // nil when they were not asked for
	wall        time.Duration
}

// load makes all calls; the first that fails ends it.
func load(parent context.Context, server calls, o options, keep bool) (outcome, error) {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	result := outcome{nanoseconds: make([]int64, o.requests)}
	if keep {
		result.replies = make([][]byte, o.requests)
	}
	if o.rate > 0 {
		result.late = make([]int64, o.requests)
	}
	one := func(k int, start time.Time) {
		if result.late != nil {
			result.late[k] = int64(time.Since(start))
		}
		limited, done := context.WithDeadline(ctx, start.Add(o.deadline))
		defer done()
		reply, err := server.do(limited, k%o.connections, k)
		result.nanoseconds[k] = int64(time.Since(start))
		if err == nil && len(reply) == 0 {
			err = fmt.Errorf("an empty reply")
		}
		if err != nil {
			cancel(fmt.Errorf("call %d: %w", k, err))
			return
		}
		if keep {
			result.replies[k] = reply
		}
	}
	began := time.Now()
	if o.rate > 0 {
		if err := openLoop(ctx, o, one); err != nil {
			cancel(err)
		}
	} else {
		closedLoop(ctx, o, one)
	}
	result.wall = time.Since(began)
	return result, context.Cause(ctx)
}

// closedLoop keeps so many calls in flight.
func closedLoop(ctx context.Context, o options, one func(int, time.Time)) {
	var next atomic.Int64
	var places sync.WaitGroup
	for range min(o.inFlight, o.requests) {
		places.Go(func() {
			for ctx.Err() == nil {
				k := int(next.Add(1)) - 1
				if k >= o.requests {
					return
				}
				one(k, time.Now())
			}
		})
	}
	places.Wait()
}

// openLoop begins calls as many independent callers do: exponential gaps of the given mean, never waiting for an answer.
func openLoop(ctx context.Context, o options, one func(int, time.Time)) error {
	alarm, err := newAlarm()
	if err != nil {
		return err
	}
	defer alarm.close()
	random := rand.New(rand.NewPCG(o.seed, 0))
	var calls sync.WaitGroup
	defer calls.Wait()
	next := time.Now()
	for k := range o.requests {
		next = next.Add(time.Duration(random.ExpFloat64() / o.rate * float64(time.Second)))
		start := next
		if err := alarm.wait(start); err != nil { // late is not lost: the call's time counts from its intended start
			return err
		}
		if ctx.Err() != nil {
			break
		}
		calls.Go(func() { one(k, start) })
	}
	return nil
}
