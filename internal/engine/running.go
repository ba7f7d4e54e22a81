package engine

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
)

// runningPrefix sets the users that are made in somebody else's engine apart from
// those that are there; random letters behind it, from those of other caches and
// other emulators. Its user default is left alone.
const runningPrefix = "rediam-"

// running is an engine that somebody else has started. Its data and its own users
// stay as they are.
type running struct {
	*server
	done  chan struct{}
	close sync.Once
}

var _ Engine = (*running)(nil)

// joinRunning uses the engine at a redis:// or rediss:// URL. Errors do not repeat
// the URL, which may hold a password.
func joinRunning(ctx context.Context, raw string) (*running, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return nil, errors.New("the engine's URL must be redis://[user:password@]host[:port] or rediss://…")
	}
	port := u.Port()
	if port == "" {
		port = "6379"
	}
	address := net.JoinHostPort(u.Hostname(), port)
	r := &running{server: &server{prefix: runningPrefix + strings.ToLower(rand.Text()[:8]) + "-", user: "default"}, done: make(chan struct{})}
	r.dial = func(ctx context.Context) (net.Conn, error) {
		if u.Scheme == "rediss" {
			return (&tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS12}}).DialContext(ctx, "tcp", address)
		}
		return new(net.Dialer).DialContext(ctx, "tcp", address)
	}
	if name := u.User.Username(); name != "" {
		r.user = name
	}
	r.password, _ = u.User.Password()
	if err := r.identify(ctx); err != nil {
		return nil, fmt.Errorf("engine at %s: %w", address, err)
	}
	return r, nil
}

func (r *running) Done() <-chan struct{} { return r.done }

func (r *running) Err() error { return nil }

// Close takes the emulator's users out again.
func (r *running) Close() {
	r.close.Do(func() {
		r.SetUsers(context.Background(), nil)
		close(r.done)
	})
}
