package main

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// alarm wakes its caller at a moment, some hundredths of a millisecond late.
//
// Go's own time.Sleep waits in whole milliseconds for as long as nothing else is to be done, and so is late by half of one on average:
// calls that should begin at random moments would begin together, and their times would have in them what no server took.
type alarm struct {
	timer *os.File
	fd    int
}

func newAlarm() (*alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	return &alarm{os.NewFile(uintptr(fd), "timer"), fd}, nil
}

// wait returns at that moment, or at once if it has passed.
func (a *alarm) wait(moment time.Time) error {
	left := time.Until(moment)
	if left <= 0 {
		return nil
	}
	once := unix.ItimerSpec{Value: unix.NsecToTimespec(left.Nanoseconds())}
	if err := unix.TimerfdSettime(a.fd, 0, &once, nil); err != nil {
		return os.NewSyscallError("timerfd_settime", err)
	}
	var expirations [8]byte
	_, err := a.timer.Read(expirations[:])
	return err
}

func (a *alarm) close() { a.timer.Close() }
