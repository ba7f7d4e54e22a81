package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

// What fails because somebody has pressed Ctrl-C is no cause.
func TestAnInterruptedExaminationReportsNothing(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	interrupted, interrupt := context.WithCancel(t.Context())
	interrupt()
	var out strings.Builder
	c := doctorCommand{Format: "json", target: target{location{Cache: "orders", User: "orders-app", Region: "eu-west-1", Endpoint: "127.0.0.1:1"}, time.Minute}}
	if err := c.Run(interrupted, &terminal{stdout: &out}); !errors.Is(err, errInterrupted) || out.Len() > 0 {
		t.Errorf("%v, %s", err, out.String())
	}
	c.Token = "-" // from somebody who has not typed it yet
	typed, _ := io.Pipe()
	if err := c.Run(interrupted, &terminal{stdin: typed, stdout: &out}); !errors.Is(err, errInterrupted) {
		t.Error(err)
	}
}
