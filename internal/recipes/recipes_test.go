// Package recipes_test runs the programs of docs/recipes.md through the proxy, each
// for several lives of a connection. .ci/recipes installs them.
package recipes_test

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/emulator"
	"github.com/rediam/rediam/internal/installed"
	"github.com/rediam/rediam/internal/proxy"
)

const (
	tokenTTL      = 3 * time.Second
	connectionTTL = 6 * time.Second
	work          = 3 * connectionTTL
	patience      = 30 * time.Second
)

// A cache is a proxy in front of an emulator whose lives are short.
type cache struct {
	t       *testing.T
	addr    string // of the proxy
	signIns *rediam.SignIns
}

// through starts both, and sees to it in the end that every sign-in was admitted.
func through(t *testing.T) *cache {
	t.Helper()
	srv := emulator.Start(t, emulator.Config{Engine: installed.Path(t, "redis-server"), TokenTTL: tokenTTL, ConnectionTTL: connectionTTL})
	target := srv.Cache(emulator.DefaultCache)
	signer := &rediam.Signer{Cache: target.Name, User: emulator.DefaultUser, Region: srv.Region(), Credentials: srv.Credentials(emulator.DefaultRole), Now: srv.Now}
	p := &proxy.Proxy{Addr: target.Addr, TLS: target.TLS, SignIns: rediam.Follow(signer), Renewal: rediam.Renewal{After: 2500 * time.Millisecond}}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- p.Serve(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve() = %v", err)
		}
		if got := p.SignIns.Counts(); got.SignIns == 0 || len(got.Failures) > 0 {
			t.Errorf("Counts() = %+v, want sign-ins and no failure", got)
		}
		for _, e := range srv.Events() {
			if !e.Admitted() {
				t.Errorf("a sign-in was refused: %s %s", e.Reason, e.Detail)
			}
		}
	})
	return &cache{t, listener.Addr().String(), p.SignIns}
}

// works calls step again and again, for several lives of a connection. A program that
// keeps its connections may have opened that many in the end; zero is for one that
// does not.
func (c *cache) works(kept int64, step func(n int)) {
	c.t.Helper()
	end := time.After(work)
	for n := 0; !c.t.Failed(); n++ {
		step(n)
		select {
		case <-end:
			got := c.signIns.Counts()
			c.t.Logf("%d steps: %d connections opened, %d renewals", n+1, got.SignIns, got.Renewals)
			if kept > 0 && (got.SignIns != kept || got.Renewals < 4) {
				c.t.Errorf("%d connections were opened, and renewed %d times; want %d that stay", got.SignIns, got.Renewals, kept)
			}
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// path finds a program where .ci/recipes puts those that Debian does not have, or in
// PATH.
func path(t *testing.T, name string) string {
	t.Helper()
	dir := os.Getenv("REDIAM_RECIPES")
	if dir == "" {
		dir = "../../bin/recipes"
	}
	if program, err := filepath.Abs(filepath.Join(dir, name)); err == nil {
		if _, err := os.Stat(program); err == nil {
			return program
		}
	}
	return installed.Path(t, name)
}

// A running is a program with what it has printed.
type running struct {
	t    *testing.T
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (r *running) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

func (r *running) log() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// start runs a program until the test ends, and shows what it has printed if the
// test fails.
func start(t *testing.T, variables []string, program string, args ...string) *running {
	t.Helper()
	r := &running{t: t}
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Env = append(os.Environ(), variables...)
	cmd.Dir = t.TempDir()
	cmd.Stdout, cmd.Stderr = r, r
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = patience
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // t.Context has ended
		cmd.Wait()
		if t.Failed() {
			t.Logf("%s has printed\n%s", filepath.Base(program), r.log())
		}
	})
	return r
}

// clean fails the test where the program has printed one of the texts.
func (r *running) clean(texts ...string) {
	r.t.Helper()
	for _, text := range texts {
		if strings.Contains(strings.ToLower(r.log()), strings.ToLower(text)) {
			r.t.Errorf("it has printed %q", text)
		}
	}
}

// until waits for what a program that starts comes to.
func until(t *testing.T, what string, reached func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !reached(); <-time.After(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// port is a free one, for programs that do not say which one they have taken.
func port(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}
