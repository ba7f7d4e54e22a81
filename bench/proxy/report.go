//go:build linux

package main

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
)

// figures are what one run has come to, by the name of the column.
type figures map[string]float64

func (f figures) String() string {
	var shown []string
	for _, name := range slices.Sorted(maps.Keys(f)) {
		shown = append(shown, name+" "+show(f[name]))
	}
	return strings.Join(shown, ", ")
}

// compare adds what says something beside a direct connection and beside haproxy in
// the same round only.
func (f figures) compare(direct, haproxy figures) {
	ratio := func(column string, beside figures, of string) {
		if own, ok := f[of]; ok && beside[of] > 0 {
			f[column] = own / beside[of]
		}
	}
	ratio("SET × TLS", direct, "SET req/s")
	ratio("GET × TLS", direct, "GET req/s")
	ratio("CPU ÷ haproxy's", haproxy, "CPU µs/request")
}

// runs are the repetitions of one load with one target.
type runs []figures

// results are by load and target.
type results map[string]map[string]runs

func (r results) add(load, target string, f figures) {
	if r[load] == nil {
		r[load] = map[string]runs{}
	}
	r[load][target] = append(r[load][target], f)
}

func (r runs) column(name string) (values []float64) {
	for _, f := range r {
		if v, ok := f[name]; ok {
			values = append(values, v)
		}
	}
	return values
}

func (r runs) median() figures {
	m := figures{}
	for _, f := range r {
		for name := range f {
			m[name] = median(r.column(name))
		}
	}
	return m
}

// median of nothing is not a number.
func median(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	if len(s) == 0 {
		return math.NaN()
	}
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// report prints a table for each load, and one of what rediam is to reach.
func report(w io.Writer, o options, loads []load, peers []peer, got results, scan map[string]figures) {
	fmt.Fprintf(w, "Medians of %d.\n\n", o.repeat)
	for _, l := range loads {
		fmt.Fprintf(w, "### %s: %s\n\n", l.name, l.says)
		row(w, append([]string{"target"}, l.columns...)...)
		row(w, append([]string{"---"}, slices.Repeat([]string{"---:"}, len(l.columns))...)...)
		for _, p := range peers {
			if list := got[l.name][p.name]; list != nil {
				row(w, append([]string{p.name}, cells(list, l.columns)...)...)
			}
		}
		fmt.Fprintln(w)
	}
	if scan != nil {
		fmt.Fprint(w, "### scanners: `go test -bench Session ./internal/proxy`\n\n")
		row(w, "load", "ns/request", "MB/s", "allocs/SET and GET", "% of rediam's CPU")
		row(w, "---", "---:", "---:", "---:", "---:")
		for _, name := range []string{"P1", "P16", "16K"} {
			f := scan[name]
			row(w, name, show(f["ns/request"]), show(f["MB/s"]), show(f["allocs/op"]), show(scanShare(f, got, name)))
		}
		fmt.Fprintln(w)
	}
	goals(w, got, scan)
}

func row(w io.Writer, cells ...string) { fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | ")) }

// cells shows medians, and of ratios also the least and the most.
func cells(list runs, columns []string) (cells []string) {
	for _, column := range columns {
		values := list.column(column)
		cell := show(median(values))
		if len(values) > 1 && strings.ContainsAny(column, "×÷") {
			cell += fmt.Sprintf(" (%.2f–%.2f)", slices.Min(values), slices.Max(values))
		}
		cells = append(cells, cell)
	}
	return cells
}

func show(v float64) string {
	switch {
	case math.IsNaN(v):
		return "–"
	case v >= 100 || v == math.Trunc(v):
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// scanShare is how much of rediam's CPU time following the protocol takes, in percent.
func scanShare(f figures, got results, load string) float64 {
	return 100 * f["ns/request"] / 1000 / median(got[load][rediam].column("CPU µs/request"))
}

// goals compares rediam with what it is to reach.
func goals(w io.Writer, got results, scan map[string]figures) {
	fmt.Fprint(w, "### rediam and its goals\n\n")
	row(w, "what", "goal", "measured", "")
	row(w, "---", "---", "---:", "---")
	goal := func(what, sign string, bound, v float64) {
		if math.IsNaN(v) {
			return
		}
		met := "met"
		if sign == "≥" && v < bound || sign == "≤" && v > bound {
			met = "missed"
		}
		row(w, what, sign+" "+show(bound), show(v), met)
	}
	with := func(target, load, column string) float64 { return median(got[load][target].column(column)) }
	of := func(load, column string) float64 { return with(rediam, load, column) }
	for _, g := range []struct {
		load  string
		bound float64
	}{{"P1", 0.60}, {"P16", 0.65}, {"16K", 0.60}} {
		for _, command := range []string{"SET", "GET"} {
			goal(g.load+", "+command+" × TLS", "≥", g.bound, of(g.load, command+" × TLS"))
			goal(g.load+", "+command+" beside haproxy", "≥", 1, of(g.load, command+" × TLS")/with(haproxy, g.load, command+" × TLS"))
		}
		goal(g.load+", CPU ÷ haproxy's", "≤", 0.90, of(g.load, "CPU ÷ haproxy's"))
	}
	goal("C1, ms that GET takes longer", "≤", 0.02, of("C1", "GET p50 ms")-with(direct, "C1", "GET p50 ms"))
	goal("churn, clients a second × TLS", "≥", 5, of("churn", "GET × TLS"))
	goal("churn, new connections with a sign-in a second", "≥", 2400, with(signsIn, "churn", "GET req/s"))
	goal("KiB of an idle connection", "≤", 20, of("memory", "KiB/connection"))
	goal("idle connections that still answer", "≥", 9000, of("idle", "answer again"))
	for _, load := range []string{"P1", "P16", "16K"} {
		if f, ok := scan[load]; ok {
			goal("scanners at "+load+", % of the CPU", "≤", 5, scanShare(f, got, load))
		}
	}
	fmt.Fprintln(w)
}
