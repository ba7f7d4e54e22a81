//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A load is one way to use a target.
type load struct {
	name, says string
	columns    []string // figures to show; those that there are
	once       bool     // not repeated
	proxies    bool     // not for the direct connection
	rediam     bool     // for rediam alone
	measure    func(context.Context, *stage, *running) (figures, error)
}

var (
	requestColumns = []string{"SET req/s", "GET req/s", "SET × TLS", "GET × TLS", "SET p50 ms", "SET p99 ms", "GET p50 ms", "GET p99 ms", "CPU µs/request", "CPU ÷ haproxy's"}
	churnColumns   = []string{"GET req/s", "GET × TLS", "GET p50 ms", "GET p99 ms", "CPU µs/request", "CPU ÷ haproxy's"}
	memoryColumns  = []string{"connections", "fresh MiB", "MiB", "KiB/connection"}
)

var loads = []load{
	benchmark("P1", requestColumns, 100_000, "-t set,get -c 50 -P 1 -d 64 -r 1000"),
	benchmark("P16", requestColumns, 500_000, "-t set,get -c 50 -P 16 -d 64 -r 1000"),
	// One TLS record takes 16,384 bytes, and redis-benchmark hangs on SETs beyond that.
	benchmark("16K", requestColumns, 40_000, "-t set,get -c 50 -P 1 -d 16000 -r 100"),
	benchmark("C1", requestColumns, 20_000, "-t set,get -c 1 -P 1 -d 64 -r 1000"),
	// Without keep-alive, every request has a connection of its own.
	benchmark("churn", churnColumns, 3000, "-t get -k 0 -c 20 -d 64"),
	{
		name: "memory", says: "connections that have each had one PING answered, in a fresh process",
		columns: memoryColumns, proxies: true,
		measure: func(ctx context.Context, s *stage, r *running) (figures, error) {
			return idle(ctx, s, r, 500, 12*time.Second)
		},
	},
	{
		name: "idle", says: "connections held, which PING once more after 10 s",
		columns: append([]string{"answer again"}, memoryColumns...), once: true, rediam: true,
		measure: func(ctx context.Context, s *stage, r *running) (figures, error) {
			return idle(ctx, s, r, 9000, 10*time.Second)
		},
	},
}

// runTime is how long a load may take.
const runTime = 3 * time.Minute

// benchmark is a load of redis-benchmark with so many requests of each kind.
func benchmark(name string, columns []string, requests float64, args string) load {
	return load{name: name, says: "`redis-benchmark " + args + "`", columns: columns, measure: func(ctx context.Context, s *stage, r *running) (figures, error) {
		n := max(int(requests*s.scale), 100)
		words := append(strings.Fields(args), "--csv", "-n", strconv.Itoa(n), "-h", "127.0.0.1", "-p", port(r.address))
		if r.peer.direct() {
			words = append(words, "--tls", "--cacert", filepath.Join(s.dir, "ca.crt"))
		}
		ctx, cancel := context.WithTimeout(ctx, runTime)
		defer cancel()
		before := r.cpu()
		out, err := exec.CommandContext(ctx, "redis-benchmark", words...).Output()
		used := r.cpu() - before
		if err != nil {
			return nil, fmt.Errorf("redis-benchmark: %w", err)
		}
		f, tests, err := parseBenchmark(out)
		if err == nil && !r.peer.direct() {
			f["CPU µs/request"] = float64(used.Microseconds()) / float64(n*tests)
		}
		return f, err
	}}
}

func (r *running) cpu() time.Duration {
	if r.command == nil {
		return 0
	}
	return cpu(r.command.Process.Pid)
}

// parseBenchmark reads what redis-benchmark --csv prints: a line of names, and one
// for each of the tests.
func parseBenchmark(out []byte) (f figures, tests int, err error) {
	lines, err := csv.NewReader(bytes.NewReader(out)).ReadAll()
	if err != nil || len(lines) < 2 {
		return nil, 0, errors.Join(fmt.Errorf("redis-benchmark printed %q", out), err)
	}
	f = figures{}
	names := map[string]string{"rps": "req/s", "p50_latency_ms": "p50 ms", "p99_latency_ms": "p99 ms"}
	for _, line := range lines[1:] {
		for i, column := range lines[0] {
			if name, ok := names[column]; ok {
				if f[line[0]+" "+name], err = strconv.ParseFloat(line[i], 64); err != nil {
					return nil, 0, err
				}
			}
		}
	}
	return f, len(lines) - 1, nil
}

// idle holds n connections for a while.
func idle(ctx context.Context, s *stage, r *running, n int, while time.Duration) (figures, error) {
	n = min(int(float64(n)*min(s.scale, 1)), s.connections)
	fresh, err := memory(r.command.Process.Pid)
	if err != nil {
		return nil, err
	}
	conns, err := hold(r.address, n)
	for _, conn := range conns {
		defer conn.Close()
	}
	if err != nil {
		return nil, err
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(time.Duration(float64(while) * min(s.scale, 1))):
	}
	held, err := memory(r.command.Process.Pid)
	again := 0.0
	for _, conn := range conns {
		if ping(conn) == nil {
			again++
		}
	}
	return figures{"connections": float64(len(conns)), "answer again": again, "fresh MiB": fresh / (1 << 20), "MiB": held / (1 << 20),
		"KiB/connection": (held - fresh) / 1024 / float64(n)}, err
}

// hold opens n connections, 50 at a time, each of which has had a PING answered.
func hold(address string, n int) (conns []net.Conn, err error) {
	var mu sync.Mutex // guards both results
	var opening sync.WaitGroup
	turns := make(chan struct{}, 50)
	for range n {
		turns <- struct{}{}
		opening.Go(func() {
			conn, wrong := dialAndPing(address)
			mu.Lock()
			defer mu.Unlock()
			if wrong != nil {
				err = wrong
			} else {
				conns = append(conns, conn)
			}
			<-turns
		})
	}
	opening.Wait()
	return conns, err
}

func dialAndPing(address string) (net.Conn, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	if err := ping(conn); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

func ping(conn net.Conn) error {
	const pong = "+PONG\r\n"
	conn.SetDeadline(time.Now().Add(startTime))
	if _, err := io.WriteString(conn, "PING\r\n"); err != nil {
		return err
	}
	answer := make([]byte, len(pong))
	if _, err := io.ReadFull(conn, answer); err != nil {
		return err
	}
	if string(answer) != pong {
		return fmt.Errorf("PING was answered by %q", answer)
	}
	return nil
}

// scanned is a line of BenchmarkSession: its name, MB/s, ns/request and allocs/op.
var scanned = regexp.MustCompile(`(?m)^BenchmarkSession/(\w+)\S*\s.*\s([\d.]+) MB/s\s+([\d.]+) ns/request.*\s([\d.]+) allocs/op`)

// scanners measures what it costs to follow the protocol, by itself.
func scanners(ctx context.Context, o options, n *noise) (map[string]figures, error) {
	got := results{}
	for range o.repeat {
		var out []byte
		err := n.listen(ctx, func() (err error) {
			out, err = exec.CommandContext(ctx, "go", "test", "-vet=off", "-run", "^$", "-bench", "^BenchmarkSession$", "-benchmem",
				"-benchtime", time.Duration(o.scale*float64(time.Second)).String(), "github.com/rediam/rediam/internal/proxy").CombinedOutput()
			return err
		})
		lines := scanned.FindAllSubmatch(out, -1)
		if err != nil || len(lines) == 0 {
			return nil, fmt.Errorf("BenchmarkSession: %w\n%s", err, out)
		}
		for _, line := range lines {
			f := figures{}
			for i, name := range []string{"MB/s", "ns/request", "allocs/op"} {
				f[name], _ = strconv.ParseFloat(string(line[i+2]), 64)
			}
			got.add("", string(line[1]), f)
		}
	}
	medians := map[string]figures{}
	for name, list := range got[""] {
		medians[name] = list.median()
	}
	return medians, nil
}
