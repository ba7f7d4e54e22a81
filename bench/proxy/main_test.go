//go:build linux

package main

import (
	"encoding/xml"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rediam/rediam/internal/installed"
)

func TestEveryLoadIsMeasuredAndEverythingIsEnded(t *testing.T) {
	for _, program := range []string{"redis-server", "redis-benchmark", "haproxy"} {
		installed.Path(t, program)
	}
	var out strings.Builder
	picture := filepath.Join(t.TempDir(), "plot.svg")
	args := []string{"-plot", picture, "-repeat", "1", "-scale", "0.004", "-patience", "0s", "-only", "^(direct TLS|rediam|haproxy)$"}
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
	var svg struct {
		Bars []struct {
			Title string `xml:"title"`
		} `xml:"rect"`
	}
	if data, err := os.ReadFile(picture); err != nil || xml.Unmarshal(data, &svg) != nil {
		t.Errorf("the plot is no XML, or %v", err)
	}
	bars := map[string]bool{}
	for _, bar := range svg.Bars {
		name, _, _ := strings.Cut(bar.Title, ": ")
		bars[name] = true
	}
	for _, bar := range []string{"rediam, SET × TLS of P1", "haproxy, GET × TLS of 16K"} {
		if !bars[bar] {
			t.Errorf("the plot has no bar %q", bar)
		}
	}
	if family := processes().family(os.Getpid()); len(family) != 1 {
		t.Errorf("processes %v have been left", family[1:])
	}
}
