package main

import (
	"testing"
	"time"
)

func TestAPauseIsOverWhenTheClockJumps(t *testing.T) {
	for _, c := range []struct {
		passed, byClock time.Duration
		want            bool
	}{
		{time.Minute, time.Minute, false},
		{10 * time.Minute, 10 * time.Minute, true},
		{time.Minute, time.Minute + time.Second, false}, // it is being set right
		{time.Minute, time.Hour, true},                  // the machine has slept
		{time.Minute, -time.Hour, true},                 // the clock was ahead
	} {
		if got := isOver(10*time.Minute, c.passed, c.byClock); got != c.want {
			t.Errorf("after %v, and %v by the clock: %v", c.passed, c.byClock, got)
		}
	}
}
