package soak_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/emulator"
	"github.com/rediam/rediam/internal/installed"
	"github.com/rediam/rediam/internal/proxy"
	"github.com/rediam/rediam/internal/soak"
)

const (
	// proxyTTL is 12 h in seconds, and longer than soak.ConnectionTTL: 64 MiB may take
	// seconds on a busy machine, and nothing can be renewed meanwhile.
	proxyTTL = 12 * time.Second
	// perRenewal is more than the longest time from one renewal to the next: 3 s, and the
	// second for which a client may block or keep a transaction open.
	perRenewal = 4 * time.Second
	// hang is how long the start and the end of everything may take.
	hang = 2 * time.Minute
)

var proxyRenewal = rediam.Renewal{After: 2500 * time.Millisecond, Spread: 500 * time.Millisecond}

// A stage is a proxy in front of an emulator, and programs that use it.
type stage struct {
	srv     *emulator.Server
	signIns *rediam.SignIns // those of the proxy
	addr    string          // of the proxy
	ctx     context.Context // ends the programs
}

func newStage(t *testing.T, ctx context.Context, engine, driver string) *stage {
	srv := emulator.Start(t, emulator.Config{Engine: engine, TokenTTL: soak.TokenTTL, ConnectionTTL: proxyTTL})
	cache := srv.Cache(emulator.DefaultCache)
	signIns := rediam.Follow(&rediam.Signer{Cache: cache.Name, User: emulator.DefaultUser, Region: srv.Region(), Credentials: soak.Rotating(srv, emulator.DefaultRole), Now: srv.Now})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	p := &proxy.Proxy{Addr: cache.Addr, TLS: cache.TLS, SignIns: signIns, Renewal: proxyRenewal, Driver: driver, Spare: 32, Log: log}
	proxying, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- p.Serve(proxying, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve() = %v", err)
		}
	})
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(conn, "*1\rX") // no request: it is closed when everything runs
	io.ReadAll(conn)
	conn.Close()
	return &stage{srv, signIns, listener.Addr().String(), ctx}
}

func (s *stage) sessions() []emulator.Session { return s.srv.Sessions(emulator.DefaultCache) }

// A process is a program that works through the proxy.
type process struct {
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	said bytes.Buffer // on its standard error; to be read once it has ended
}

func (s *stage) start(name string, line []string, environment ...string) (p *process, err error) {
	host, port, _ := net.SplitHostPort(s.addr)
	for i, word := range line {
		if word == "redis-cli" || word == "redis-benchmark" {
			line = slices.Insert(slices.Clone(line), i+1, "-h", host, "-p", port)
		}
	}
	p = &process{name: name, cmd: exec.CommandContext(s.ctx, line[0], line[1:]...)}
	p.cmd.Env = append(os.Environ(), append(environment, "REDIS_HOST="+host, "REDIS_PORT="+port)...)
	p.cmd.Stderr = &p.said
	p.cmd.WaitDelay = time.Second
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	return p, p.cmd.Start()
}

func (p *process) String() string { return p.name }

// report is what a program has done: it prints that once it has nothing left to do,
// and ends when it is told to.
func (p *process) report() (counts map[string]int, err error) {
	line, err := p.out.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &counts)
	}
	if err != nil {
		p.cmd.Wait()
		return nil, fmt.Errorf("it has ended too early: %s", &p.said)
	}
	return counts, nil
}

// finish has a program end, which has to succeed.
func (p *process) finish() error {
	p.in.Close()
	more, _ := io.ReadAll(p.out)
	if err := p.cmd.Wait(); err != nil || len(more) > 0 {
		return fmt.Errorf("%v: %.1000s %s", err, more, &p.said)
	}
	return nil
}

// kill ends a program that does not end by itself, which must not have ended.
func (p *process) kill() error {
	p.cmd.Process.Kill()
	p.cmd.Wait()
	if p.cmd.ProcessState.Exited() {
		return fmt.Errorf("it has ended by itself: %s", &p.said)
	}
	return nil
}

// A program is a client library under load, in one process or several.
type program struct {
	name     string
	find     func(t *testing.T) (lines [][]string) // skips the test if something is missing
	protocol int                                   // where it speaks either
}

var programs = []program{
	{name: "redis-py", find: func(t *testing.T) [][]string {
		return [][]string{{installed.Python(t, "redis-py", "redis"), filepath.Join("testdata", "python", "redis-py.py")}}
	}},
	{name: "ruby-redis", find: func(t *testing.T) [][]string {
		return [][]string{{installed.Ruby(t, "ruby-redis", "redis"), filepath.Join("testdata", "ruby", "ruby-redis.rb")}}
	}},
	{name: "php-redis", find: func(t *testing.T) [][]string {
		program := []string{installed.PHP(t, "php-redis"), filepath.Join("testdata", "php", "php-redis.php")}
		return [][]string{program, append(program[:2:2], "messages")}
	}},
	{name: "node-redis-2", find: node("redis", "node-redis.js"), protocol: 2},
	{name: "node-redis-3", find: node("redis", "node-redis.js"), protocol: 3},
	{name: "ioredis-2", find: node("ioredis", "ioredis.js"), protocol: 2},
	{name: "ioredis-3", find: node("ioredis", "ioredis.js"), protocol: 3},
	{name: "redis-cli", find: func(t *testing.T) [][]string { installed.Path(t, "redis-cli"); return nil }}, // cliLoads
}

var nodeModules = installed.NodeModules(filepath.Join("..", "..", "emulator", "clients", "testdata", "node"))

func node(module, program string) func(t *testing.T) [][]string {
	return func(t *testing.T) [][]string {
		return [][]string{{installed.Node(t, "node", nodeModules, module), filepath.Join("testdata", "node", program)}}
	}
}

// found are the programs that are installed; any other is a visible skip.
func found(t *testing.T) (there []program, benchmark bool) {
	for _, p := range programs {
		t.Run(p.name, func(t *testing.T) {
			p.find(t)
			there = append(there, p)
		})
	}
	t.Run("redis-benchmark", func(t *testing.T) {
		installed.Path(t, "redis-benchmark")
		benchmark = true
	})
	return there, benchmark
}

// Clients that know nothing of IAM, in many languages and under every kind of load at
// the same time, go on for many lives of a connection: none of them sees an error,
// misses anything, gets anything twice, or loses its connection.
func TestProxyKeepsClientsOfEveryLanguageSignedIn(t *testing.T) {
	renewals := soak.Size(t, "REDIAM_PROXY_SOAK")
	for i, driver := range proxy.Drivers {
		for j, engine := range []string{"redis-server", "valkey-server"} {
			if renewals < 20 && i != j%len(proxy.Drivers) { // one of the two for each
				continue
			}
			t.Run(driver+"/"+engine, func(t *testing.T) { keepsClients(t, driver, engine, renewals) })
		}
	}
}

func keepsClients(t *testing.T, driver, engine string, renewals int) {
	path := installed.Path(t, engine)
	there, benchmark := found(t)
	if t.Failed() || len(there) == 0 {
		return
	}
	d := time.Duration(renewals) * perRenewal
	ctx, cancel := context.WithTimeout(t.Context(), d+hang)
	defer cancel()
	s := newStage(t, ctx, path, driver)
	soak.LeavesNothing(t, func() {
		workers, err := s.startAll(t, there, benchmark, d)
		if err != nil {
			t.Error(err)
			cancel()
		}
		s.soak(t, cancel, workers, renewals)
	})
}

// A worker is one process, or all of redis-cli.
type worker interface {
	// report waits until all is done, and tells what that was; "connections" are held
	// until finish is called, and "closed" are not.
	report() (counts map[string]int, err error)
	finish() error
}

// startAll has all programs work for d, each of which feeds the next.
func (s *stage) startAll(t *testing.T, there []program, benchmark bool, d time.Duration) (workers []worker, err error) {
	for i, p := range there {
		next := there[(i+1)%len(there)].name
		if p.name == "redis-cli" {
			workers = append(workers, &cliLoads{stage: s, next: next, end: time.Now().Add(d)})
		}
		for _, line := range p.find(t) {
			process, err := s.start(p.name, line, "NODE_PATH="+nodeModules, "SOAK_NAME="+p.name, "SOAK_NEXT="+next,
				fmt.Sprint("SOAK_SECONDS=", d.Seconds()), fmt.Sprint("REDIS_PROTOCOL=", p.protocol))
			if err != nil {
				return workers, err
			}
			workers = append(workers, process)
		}
	}
	if benchmark {
		process, err := s.start("redis-benchmark", benchmarkLine)
		if err != nil {
			return workers, err
		}
		workers = append(workers, endless{process})
	}
	return workers, nil
}

// benchmarkLine is one run that does not end, since each run has connections of its
// own. It takes what the others leave of the machine.
var benchmarkLine = []string{"nice", "-n", "19", "redis-benchmark", "-c", "2", "-P", "8", "-r", "1000", "-n", "2000000000", "SET", "benchmark:__rand_int__", "__data__"}

// endless is redis-benchmark. It opens another connection first, to ask for the
// server's configuration.
type endless struct{ *process }

func (endless) report() (map[string]int, error) {
	return map[string]int{"connections": 2, "closed": 1}, nil
}

func (p endless) finish() error { return p.kill() }

// soak waits for all workers, and wants every connection to have been renewed so
// often and none to have been opened again.
func (s *stage) soak(t *testing.T, cancel func(), workers []worker, renewals int) {
	var mu sync.Mutex // guards sum
	sum := map[string]int{}
	var reports sync.WaitGroup
	for _, w := range workers {
		reports.Go(func() {
			counts, err := w.report()
			mu.Lock()
			defer mu.Unlock()
			t.Logf("%v: %v", w, counts)
			for what, n := range counts {
				sum[what] += n
				if n == 0 {
					t.Errorf("%v: no %s", w, what)
				}
			}
			if err != nil && s.ctx.Err() != context.Canceled { // the first one, or it hangs
				t.Errorf("%v: %v", w, err)
				cancel()
			}
		})
	}
	reports.Wait()
	if !t.Failed() {
		s.check(t, sum["connections"], sum["closed"], renewals)
	}
	for _, w := range workers {
		if err := w.finish(); err != nil && s.ctx.Err() == nil {
			t.Errorf("%v: %v", w, err)
		}
	}
}

func (s *stage) check(t *testing.T, connections, closed, renewals int) {
	sessions := s.sessions()
	signIns := s.signIns.Counts()
	t.Logf("%d connections: %+v", len(sessions), signIns)
	if len(sessions) != connections || signIns.SignIns != int64(connections+closed) {
		t.Errorf("%d connections are left of %d, want all %d but %d", len(sessions), signIns.SignIns, connections+closed, closed)
	}
	for _, session := range sessions {
		if session.Renewals < renewals {
			t.Errorf("connection %d was renewed %d times since %s, want %d", session.ID, session.Renewals, s.srv.Now().Sub(session.Opened), renewals)
		}
	}
	for _, e := range s.srv.Events() {
		if !e.Admitted() {
			t.Errorf("a sign-in was refused: %s %s", e.Reason, e.Detail)
		}
	}
}
