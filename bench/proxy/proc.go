//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// tick is what the kernel counts a process's time in (USER_HZ).
const tick = 10 * time.Millisecond

// table is the processes of this machine.
type table map[int]process

type process struct {
	parent int
	zombie bool
	own    time.Duration // CPU time, in user mode and in the kernel
	all    time.Duration // with that of children that have ended
}

func processes() table {
	t := table{}
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil { // it has ended
			continue
		}
		// The name, in parentheses, may hold anything.
		fields := bytes.Fields(content[bytes.LastIndexByte(content, ')')+1:])
		ticks := func(i int) time.Duration {
			n, _ := strconv.ParseInt(string(fields[i]), 10, 64)
			return time.Duration(n) * tick
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		parent, _ := strconv.Atoi(string(fields[1]))
		own := ticks(11) + ticks(12)
		t[pid] = process{parent, fields[0][0] == 'Z', own, own + ticks(13) + ticks(14)}
	}
	return t
}

func (t table) alive(pid int) bool {
	p, ok := t[pid]
	return ok && !p.zombie
}

// family is a process and all that descend from it.
func (t table) family(pid int) (family []int) {
	family = []int{pid}
	for child, p := range t {
		if p.parent == pid {
			family = append(family, t.family(child)...)
		}
	}
	return family
}

// cpu is the time of a process and its children that are running.
func cpu(pid int) (sum time.Duration) {
	t := processes()
	for _, member := range t.family(pid) {
		sum += t[member].own
	}
	return sum
}

// memory is the proportional set size, in bytes, of a process and its children.
func memory(pid int) (sum float64, err error) {
	for _, member := range processes().family(pid) {
		content, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", member))
		if err != nil {
			return 0, err
		}
		_, after, _ := strings.Cut(string(content), "\nPss:")
		kib, err := strconv.ParseFloat(strings.Fields(after + " ?")[0], 64)
		if err != nil {
			return 0, err
		}
		sum += kib * 1024
	}
	return sum, nil
}

// quiet is how much of a core other programs may use.
const quiet = 0.15

// noise is what other programs used while something was measured.
type noise struct {
	patience time.Duration
	log      io.Writer
	shares   []float64 // of a core, for each run
}

// listen waits until the machine is quiet, but not for ever, runs f, and notes how
// noisy it was meanwhile.
func (n *noise) listen(ctx context.Context, f func() error) error {
	for deadline := time.Now().Add(n.patience); time.Now().Before(deadline) && ctx.Err() == nil; {
		if share, _ := others(func() error { time.Sleep(500 * time.Millisecond); return nil }); share < quiet {
			break
		}
	}
	share, err := others(f)
	n.shares = append(n.shares, share)
	if share >= quiet {
		fmt.Fprintf(n.log, "the next was measured while other programs used %.0f %% of a core\n", 100*share)
	}
	return err
}

// others tells how much of a core other programs used while f ran: all but this one,
// what it has started, and the kernel's own threads.
func others(f func() error) (share float64, err error) {
	const kernel = 2 // the parent of the kernel's threads
	used := func() (sum time.Duration) {
		t := processes()
		ours := append(t.family(os.Getpid()), t.family(kernel)...)
		for pid, p := range t {
			if !slices.Contains(ours, pid) {
				sum += p.all
			}
		}
		return sum
	}
	before, start := used(), time.Now()
	err = f()
	return (used() - before).Seconds() / time.Since(start).Seconds(), err
}

func (n *noise) String() string {
	if len(n.shares) == 0 {
		return "Nothing was measured."
	}
	loud := 0
	for _, share := range n.shares {
		if share >= quiet {
			loud++
		}
	}
	return fmt.Sprintf("Other programs used %.0f %% of a core at the median and %.0f %% at most; %d of %d runs had more than %.0f %%.",
		100*median(n.shares), 100*slices.Max(n.shares), loud, len(n.shares), 100*quiet)
}
