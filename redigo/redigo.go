// Package redigo keeps redigo pools signed in with AWS IAM: it dials, and renews
// connections in place when the pool lends them.
//
//	dialer := &redigo.Dialer{Addr: endpoint, TLS: &tls.Config{}, Source: signer}
//	pool := &redis.Pool{
//		DialContext:         dialer.DialContext,
//		TestOnBorrowContext: dialer.TestOnBorrowContext,
//	}
package redigo

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/internal/dial"
)

// A Dialer dials and renews the connections of a pool. Fill in the fields, and do
// not change or copy it after that. It is safe for many goroutines and needs no
// Close: it forgets a connection when that is closed.
type Dialer struct {
	Addr   string             // host:port; required
	TLS    *tls.Config        // required; &tls.Config{} verifies the cache's certificate
	Source rediam.TokenSource // required

	// Renewal is when connections sign in again; zero means 9 h ± 2 h. With a
	// rediam.PasswordSource they never do.
	Renewal rediam.Renewal

	// Timeout bounds the opening of a connection with its sign-in, and a renewal,
	// where the caller's context does not; zero means 5 s.
	Timeout time.Duration

	// Options are more of redigo's own, such as DialDatabase and DialReadTimeout.
	// Those about the network, TLS, user name and password have no effect.
	Options []redis.DialOption

	once    sync.Once
	wrong   error
	dialer  dial.Dialer
	renewal rediam.Renewal // resolved

	mu    sync.Mutex             // guards below
	conns map[redis.Conn]*member // those that are open
}

// member is an open connection. Whoever has borrowed it may use its fields.
type member struct {
	*dial.Conn
	due    time.Time // for a renewal
	latest time.Time // for one that is sure to come before the service closes the connection; zero after one has failed
}

// renewed says when the connection that has just signed in is due again.
func (d *Dialer) renewed(m *member) {
	now := time.Now()
	m.due, m.latest = now.Add(d.renewal.Jittered()), now.Add(d.renewal.After+d.renewal.Spread+d.renewal.Retry())
}

// failed says so of one that could not be renewed, and goes on with what it has.
func (d *Dialer) failed(m *member) {
	m.due, m.latest = time.Now().Add(d.renewal.Retry()), time.Time{}
}

// DialContext opens a connection that is signed in, with AUTH and two arguments:
// give it to redis.Pool. What it returns is redigo's own connection. It fails with
// everything that is wrong with d in one error, and blocks no longer than ctx
// allows.
func (d *Dialer) DialContext(ctx context.Context) (redis.Conn, error) {
	if err := d.ready(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, d.timeout())
	defer cancel()
	conn, err := d.dialer.SignedIn(ctx, "tcp", d.Addr)
	if err != nil {
		return nil, err
	}
	m := &member{Conn: conn}
	d.renewed(m)
	c, err := d.signIn(ctx, m)
	if err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

// signIn has redigo take the connection over.
func (d *Dialer) signIn(ctx context.Context, m *member) (redis.Conn, error) {
	var token rediam.Token // none if the dialler has signed in
	if d.dialer.SignIns.Renews() {
		var err error
		if token, err = m.SignIn.Sign(ctx); err != nil {
			return nil, err
		}
	}
	options := append(slices.Clip(d.Options),
		redis.DialContextFunc(func(context.Context, string, string) (net.Conn, error) { return m, nil }),
		redis.DialUseTLS(false),
		redis.DialUsername(token.User), redis.DialPassword(token.Password))
	c, err := redis.DialContext(ctx, "tcp", d.Addr, options...)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conns == nil {
		d.conns = map[redis.Conn]*member{}
	}
	d.conns[c] = m
	m.OnClose = func() { d.forget(c) }
	return c, nil
}

func (d *Dialer) forget(c redis.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.conns, c)
}

// TestOnBorrowContext is for redis.Pool: it refuses a connection that the other
// side has closed, or may be about to since it was idle until after its time, and
// signs one in again that is due. If the service or the token
// source refuses that, the connection stays as it was, which goes on working, and
// is due again soon.
func (d *Dialer) TestOnBorrowContext(ctx context.Context, c redis.Conn, _ time.Time) error {
	d.mu.Lock()
	m := d.conns[c]
	d.mu.Unlock()
	if m == nil {
		return errors.New("rediam: the connection is closed, or another dialler's")
	}
	if err := m.Err(); err != nil {
		return err
	}
	switch now := time.Now(); {
	case now.Before(m.due), !d.dialer.SignIns.Renews():
		return nil
	case !m.latest.IsZero() && now.After(m.latest):
		return errors.New("rediam: the connection was idle until the service may close it")
	}
	return d.renew(ctx, c, m)
}

func (d *Dialer) renew(ctx context.Context, c redis.Conn, m *member) error {
	ctx, cancel := context.WithTimeout(ctx, d.timeout())
	defer cancel()
	token, err := m.SignIn.Sign(ctx)
	if err != nil { // counted and logged already
		d.failed(m)
		return nil
	}
	_, err = redis.DoContext(c, ctx, "AUTH", token.User, token.Password)
	if refused := redis.Error(""); errors.As(err, &refused) {
		d.failed(m)
		return nil
	}
	d.renewed(m)
	return err
}

func (d *Dialer) timeout() time.Duration { return cmp.Or(d.Timeout, dial.DefaultTimeout) }

// ready checks the fields, once.
func (d *Dialer) ready() error {
	d.once.Do(func() {
		var wrongRenewal error
		d.renewal, wrongRenewal = d.Renewal.Resolve()
		problems := []error{dial.CheckTLS(d.TLS), wrongRenewal}
		if d.Addr == "" {
			problems = append(problems, errors.New("no Addr"))
		}
		if d.Source == nil {
			problems = append(problems, errors.New("no Source to make tokens"))
		}
		if err := errors.Join(problems...); err != nil {
			d.wrong = fmt.Errorf("rediam: cannot dial for redigo: %w", err)
			return
		}
		d.dialer = dial.Dialer{SignIns: rediam.Follow(d.Source), TLS: dial.WithSessions(d.TLS), Timeout: d.timeout()}
	})
	return d.wrong
}
