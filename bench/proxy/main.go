//go:build linux

// Proxy measures `rediam proxy` beside other programs that stand between a client
// without TLS and a redis-server with it. docs/performance.md says how.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench-proxy:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	repeat      int
	scale       float64
	patience    time.Duration
	only, loads *regexp.Regexp
	floor       bool
	plot        string
}

func parse(args []string, stderr io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("bench-proxy", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&o.repeat, "repeat", 5, "how often everything is measured, in another order each time")
	flags.Float64Var(&o.scale, "scale", 1, "multiplies the numbers of requests; below 1, also those of connections")
	flags.DurationVar(&o.patience, "patience", 30*time.Second, "how long a run may wait until other programs leave the machine alone")
	only := flags.String("only", "", "regular expression of the targets to measure")
	loads := flags.String("load", "", "regular expression of the loads to measure")
	flags.BoolVar(&o.floor, "floor", false, "measure haproxy twice, to see how much of a difference means nothing")
	flags.StringVar(&o.plot, "plot", "", "file for a plot of the ratios, as SVG")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	var err1, err2 error
	o.only, err1 = regexp.Compile(*only)
	o.loads, err2 = regexp.Compile(*loads)
	return o, errors.Join(err1, err2)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	s, err := open(ctx, o.scale)
	if err != nil {
		return err
	}
	defer s.close()
	peers, err := installedPeers(o, stderr)
	if err != nil {
		return err
	}
	chosen := slices.DeleteFunc(slices.Clone(loads), func(l load) bool { return !o.loads.MatchString(l.name) })
	n := &noise{patience: o.patience, log: stderr}
	got := results{}
	for i := range o.repeat {
		for _, l := range chosen {
			if err := s.round(ctx, i, l, peers, n, got); err != nil {
				return err
			}
		}
	}
	var scan map[string]figures
	if o.loads.MatchString("scanners") {
		if scan, err = scanners(ctx, o, n); err != nil {
			return err
		}
	}
	report(stdout, o, chosen, peers, got, scan)
	fmt.Fprintln(stdout, n)
	if o.plot != "" {
		var picture bytes.Buffer
		plot(&picture, chosen, peers, got)
		if err := os.WriteFile(o.plot, picture.Bytes(), 0o666); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// round measures one load once with every target, beginning with another one each
// time.
func (s *stage) round(ctx context.Context, i int, l load, peers []peer, n *noise, got results) error {
	round := map[string]figures{}
	for j := range peers {
		p := peers[(i+j)%len(peers)]
		if l.once && i > 0 || l.rediam && p.name != rediam || l.proxies && p.direct() {
			continue
		}
		f, err := s.measure(ctx, l, p, n)
		if err != nil {
			return fmt.Errorf("%s through %s: %w", l.name, p.name, err)
		}
		fmt.Fprintf(n.log, "%d %s %s: %v\n", i+1, l.name, p.name, f)
		round[p.name] = f
	}
	for name, f := range round {
		f.compare(round[direct], round[haproxy])
		got.add(l.name, name, f)
	}
	return nil
}

// measure starts a target, has it bear the load, and ends it.
func (s *stage) measure(ctx context.Context, l load, p peer, n *noise) (f figures, err error) {
	r, err := s.start(ctx, p)
	if err != nil {
		return nil, err
	}
	defer r.stop()
	err = n.listen(ctx, func() error {
		f, err = l.measure(ctx, s, r)
		return err
	})
	return f, err
}
