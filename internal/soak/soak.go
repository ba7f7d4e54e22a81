// Package soak puts clients under load for many lives of a connection. Only tests
// import it.
package soak

import (
	"context"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/emulator"
)

// The lives of a soak: all that AWS counts in minutes and hours, in seconds.
const (
	TokenTTL      = 3 * time.Second
	ConnectionTTL = 6 * time.Second
	CredentialTTL = 5 * time.Second
	// credentialMargin is how much before their end credentials are replaced, as the
	// SDK's cache does with an ExpiryWindow.
	credentialMargin = 500 * time.Millisecond
)

// Renewal leaves at least 2.3 s of ConnectionTTL to a machine that stands still for
// a while, as ones that many share do; by default it leaves an hour of 12.
var Renewal = rediam.Renewal{After: 3 * time.Second}

const (
	// Workers are the goroutines that use one client, and Connections what its pool
	// holds at most.
	Workers     = 200
	Connections = 60

	// stepTime is how long one step may take on a busy machine, and hang how long
	// the end of all may.
	stepTime = 20 * time.Second
	hang     = time.Minute
)

// Size is the number in an environment variable that says how large a test is to
// be. Without it the test is skipped: it needs the machine for itself, so that "make
// clients" runs it and "go test ./..." does not.
func Size(t testing.TB, variable string) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		t.Skipf("%s is not set: run make clients, or make soak", variable)
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s is %q, want a number", variable, text)
	}
	return n
}

// Rotating are credentials of the role that are replaced every CredentialTTL: the
// ones before the last stop working.
func Rotating(srv *emulator.Server, role string) aws.CredentialsProvider {
	r := &rotating{srv: srv, source: srv.Credentials(role)}
	return r
}

type rotating struct {
	srv    *emulator.Server
	source aws.CredentialsProvider

	mu       sync.Mutex // guards below
	now, old aws.Credentials
}

func (r *rotating) Retrieve(ctx context.Context) (aws.Credentials, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Now().Add(credentialMargin).Before(r.now.Expires) {
		return r.now, nil
	}
	next, err := r.source.Retrieve(ctx)
	if err != nil {
		return next, err
	}
	if r.old.HasKeys() {
		err = r.srv.SetAccessKey(r.old.AccessKeyID, false)
	}
	next.Expires = time.Now().Add(CredentialTTL)
	r.old, r.now = r.now, next
	return next, err
}

// A Client is one to put under load.
type Client struct {
	Name    string
	SignIns *rediam.SignIns // those of the client
	// Step does one piece of work of a worker, whose number it gets, and how many
	// it has done before.
	Step func(ctx context.Context, worker, done int) error
	// Loops run beside the workers until ctx is done.
	Loops []func(ctx context.Context) error
	Close func()
}

// Run has all workers of all clients take steps at the same time, each one every
// pace or so, for as long as d. Each failure fails the test. It returns how many
// steps were taken.
func Run(t *testing.T, d, pace time.Duration, clients ...Client) (steps int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	var taken atomic.Int64
	var all sync.WaitGroup
	for _, c := range clients {
		for worker := range Workers {
			all.Go(func() { taken.Add(c.work(ctx, t, worker, pace)) })
		}
		for _, loop := range c.Loops {
			all.Go(func() {
				if err := loop(ctx); err != nil {
					t.Errorf("%s: a loop failed: %v", c.Name, err)
				}
			})
		}
	}
	all.Wait()
	return taken.Load()
}

// work takes steps until ctx is done or one has failed. A step that has begun is
// not interrupted.
func (c Client) work(ctx context.Context, t *testing.T, worker int, pace time.Duration) (done int64) {
	timer := time.NewTimer(rand.N(pace))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return done
		case <-timer.C:
		}
		step, cancel := context.WithTimeout(context.WithoutCancel(ctx), stepTime)
		err := c.Step(step, worker, int(done))
		cancel()
		if err != nil {
			t.Errorf("%s: worker %d, step %d: %v", c.Name, worker, done, err)
			return done
		}
		done++
		timer.Reset(pace/2 + rand.N(pace))
	}
}

// LeavesNothing runs f and fails the test if goroutines that it started stay.
func LeavesNothing(t *testing.T, f func()) {
	t.Helper()
	before := runtime.NumGoroutine()
	f()
	for deadline := time.Now().Add(hang); runtime.NumGoroutine() > before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			t.Errorf("%d goroutines before, %d after:\n%s", before, runtime.NumGoroutine(), stacks[:runtime.Stack(stacks, true)])
			return
		}
	}
}
