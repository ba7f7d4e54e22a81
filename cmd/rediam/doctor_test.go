package main

import (
	"context"
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
	c := doctorCommand{Format: "json", target: target{Cache: "orders", User: "orders-app", Region: "eu-west-1", Endpoint: "127.0.0.1:1", Timeout: time.Minute}}
	if err := c.Run(interrupted, &terminal{stdout: &out}); err == nil || !strings.Contains(err.Error(), "interrupted") || out.Len() > 0 {
		t.Errorf("%v, %s", err, out.String())
	}
}
