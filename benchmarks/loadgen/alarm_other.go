//go:build !linux

package main

import "time"

// alarm wakes its caller at a moment, as well as Go can.
type alarm struct{}

func newAlarm() (*alarm, error) { return &alarm{}, nil }

// wait returns at that moment, or at once if it has passed.
func (*alarm) wait(moment time.Time) error {
	time.Sleep(time.Until(moment))
	return nil
}

func (*alarm) close() {}
