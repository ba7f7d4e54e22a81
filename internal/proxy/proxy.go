package proxy

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/internal/dial"
)

const (
	// defaultConnectTime bounds how long a client is held while its connection is
	// signed in.
	defaultConnectTime = 10 * time.Second

	// closeTime is how long the other half of a connection may still take once one
	// has ended.
	closeTime = 5 * time.Second

	// holdTime is how long requests of a client may wait for a renewal.
	holdTime = 5 * time.Second

	// bufferSize is that of each half of a connection, and the largest request that
	// is looked at whole.
	bufferSize = 32 << 10
)

// A Proxy gives every connection of a client one to a cache that is signed in.
// Fill in the fields and call Serve; do not change or copy it after that.
type Proxy struct {
	Addr    string          // host:port of the cache; required
	TLS     *tls.Config     // required; &tls.Config{} verifies the cache's certificate
	SignIns *rediam.SignIns // required

	// Renewal is when connections sign in again; zero means 9 h ± 2 h.
	Renewal rediam.Renewal
	// ConnectTime is how long a client is held until its connection is signed in, or
	// it is told why not; zero means 10 s.
	ConnectTime time.Duration

	Log *slog.Logger // nil means nothing is logged
}

// Serve takes connections from listener until ctx is done or the listener fails.
// When it returns, no connection is left. It returns nil when ctx ended it.
func (p *Proxy) Serve(ctx context.Context, listener net.Listener) error {
	renewal, err := p.Renewal.Resolve()
	if err := errors.Join(err, dial.CheckTLS(p.TLS)); err != nil {
		return err
	}
	dialer := &dial.Dialer{SignIns: p.SignIns, TLS: dial.WithSessions(p.TLS), Timeout: p.connectTime()}
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	defer context.AfterFunc(ctx, func() { listener.Close() })()
	for {
		client, err := listener.Accept()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil: // out of file descriptors, or a client that is gone again
			p.log().Warn("accept", "error", err)
			time.Sleep(10 * time.Millisecond)
			continue
		}
		running.Go(func() {
			j := &joint{proxy: p, renewal: renewal, client: client, kick: make(chan struct{}, 1)}
			j.changed = sync.NewCond(&j.mu)
			j.serve(ctx, dialer)
		})
	}
}

func (p *Proxy) connectTime() time.Duration { return cmp.Or(p.ConnectTime, defaultConnectTime) }

func (p *Proxy) log() *slog.Logger {
	if p.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return p.Log
}

// signIn opens a connection and signs it in.
func (p *Proxy) signIn(ctx context.Context, dialer *dial.Dialer) (*dial.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, p.connectTime())
	defer cancel()
	conn, err := dialer.DialContext(ctx, "tcp", p.Addr)
	if err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	if err := first(ctx, conn); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// first sends the first sign-in and reads its answer, behind which nothing comes
// unasked.
func first(ctx context.Context, conn *dial.Conn) error {
	token, err := conn.SignIn.Sign(ctx)
	if err != nil {
		return err
	}
	var s Session
	var outcome error
	answered := false
	up, _ := s.Renew(token.User, token.Password, func(err error) { outcome, answered = err, true })
	if _, err := conn.Write(up); err != nil {
		return err
	}
	buf := make([]byte, 1024)
	for !answered {
		n, err := conn.Read(buf)
		if err != nil {
			return fmt.Errorf("rediam: the sign-in was not answered: %w", err)
		}
		if _, err := s.Server(buf[:n]); err != nil {
			return err
		}
	}
	return outcome
}
