//go:build linux

package main

import (
	"os"
	"strings"
	"testing"

	"github.com/rediam/rediam/internal/installed"
)

func TestEveryLoadIsMeasuredAndEverythingIsEnded(t *testing.T) {
	for _, program := range []string{"redis-server", "redis-benchmark", "haproxy"} {
		installed.Path(t, program)
	}
	var out strings.Builder
	args := []string{"-repeat", "1", "-scale", "0.004", "-patience", "0s", "-only", "^(direct TLS|rediam|haproxy)$"}
	if err := run(t.Context(), args, &out, t.Output()); err != nil {
		t.Fatal(err)
	}
	t.Log(out.String())
	for _, l := range loads {
		_, table, _ := strings.Cut(out.String(), "### "+l.name+":")
		table, _, _ = strings.Cut(table, "\n\n###")
		for _, target := range []string{direct, rediam, haproxy} {
			_, row, shown := strings.Cut(table, "\n| "+target+" |")
			row, _, _ = strings.Cut(row, "\n")
			if want := !(l.rediam && target != rediam || l.proxies && target == direct); shown != want {
				t.Errorf("%s through %s is in the report: %v, want %v", l.name, target, shown, want)
			}
			// So short a run may have been over before haproxy's time was counted.
			row = strings.TrimSuffix(row, "| – |")
			if target != direct && strings.Contains(row, " – ") {
				t.Errorf("%s through %s: a figure is missing: %s", l.name, target, row)
			}
		}
	}
	for _, goal := range []string{"P1, SET × TLS", "16K, GET × TLS", "KiB of an idle connection", "scanners at P16"} {
		if !strings.Contains(out.String(), "\n| "+goal) {
			t.Errorf("no comparison with the goal %q", goal)
		}
	}
	if family := processes().family(os.Getpid()); len(family) != 1 {
		t.Errorf("processes %v have been left", family[1:])
	}
}
