// Package dial opens the TLS connections of the client libraries and tells
// rediam.SignIns what becomes of the sign-ins on them.
package dial

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"github.com/rediam/rediam"
)

// DefaultTimeout bounds the opening of a connection where the client library has
// no bound of its own.
const DefaultTimeout = 5 * time.Second

// A Dialer opens connections. Fill in the fields; it is safe for many goroutines.
type Dialer struct {
	SignIns *rediam.SignIns // required
	TLS     *tls.Config     // required; CheckTLS finds it good
	// Open opens what TLS runs over; nil means a net.Dialer. A *tls.Conn that it
	// returns is taken as it is.
	Open func(ctx context.Context, network, addr string) (net.Conn, error)
	// Timeout bounds the opening of a connection, TLS included; zero means
	// DefaultTimeout.
	Timeout time.Duration
}

// errUnverified is for rediam.CauseOf, which finds the kind of an error by its type.
var errUnverified = &tls.CertificateVerificationError{Err: errors.New("nobody has verified it: the program's own dialler makes TLS connections that do not")}

// CheckTLS refuses what would show tokens to anybody but the cache.
func CheckTLS(c *tls.Config) error {
	switch {
	case c == nil:
		return errors.New("no TLS configuration: IAM sign-in needs TLS; &tls.Config{} verifies the cache's certificate")
	case c.InsecureSkipVerify:
		return errors.New("the TLS configuration does not verify the cache's certificate: leave InsecureSkipVerify false, and set RootCAs for an authority of your own")
	}
	return nil
}

// WithSessions is c with a cache of TLS sessions, which makes it cheaper to come
// back to a cache, unless it has one.
func WithSessions(c *tls.Config) *tls.Config {
	if c == nil || c.ClientSessionCache != nil {
		return c
	}
	c = c.Clone()
	c.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	return c
}

// DialContext opens a connection, which is not signed in yet.
func (d *Dialer) DialContext(ctx context.Context, network, addr string) (*Conn, error) {
	began := time.Now()
	conn, err := d.dial(ctx, network, addr)
	if err != nil {
		d.SignIns.Failed(err)
		return nil, err
	}
	c := &Conn{Conn: conn, SignIn: d.SignIns.Open(), Opened: began}
	if under, ok := conn.NetConn().(syscall.Conn); ok {
		c.raw, _ = under.SyscallConn() // it fails if the connection is closed, and so will everything else
	}
	return c, nil
}

// SignedIn opens a connection for a client library, and signs it in if the source is
// one of passwords: then the library is given none.
func (d *Dialer) SignedIn(ctx context.Context, network, addr string) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(d.Timeout, DefaultTimeout))
	defer cancel()
	c, err := d.DialContext(ctx, network, addr)
	if err != nil || d.SignIns.Renews() {
		return c, err
	}
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	err = c.SignIn.SignIn(ctx, c.auth)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("rediam: sign in: %w", err)
	}
	return c, nil
}

func (d *Dialer) dial(ctx context.Context, network, addr string) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(d.Timeout, DefaultTimeout))
	defer cancel()
	raw, err := d.open(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	conn, err := d.secure(raw, addr)
	if err == nil {
		err = conn.HandshakeContext(ctx)
	}
	if err == nil && len(conn.ConnectionState().VerifiedChains) == 0 {
		err = errUnverified
	}
	if err != nil {
		raw.Close()
		return nil, fmt.Errorf("TLS with %s: %w", addr, err)
	}
	return conn, nil
}

func (d *Dialer) open(ctx context.Context, network, addr string) (net.Conn, error) {
	if d.Open != nil {
		conn, err := d.Open(ctx, network, addr)
		if err == nil && conn == nil {
			err = errors.New("the program's own dialler returned no connection and no error")
		}
		return conn, err
	}
	return new(net.Dialer).DialContext(ctx, network, addr)
}

// secure is TLS over what Open has returned.
func (d *Dialer) secure(raw net.Conn, addr string) (*tls.Conn, error) {
	if conn, ok := raw.(*tls.Conn); ok {
		return conn, nil
	}
	config := d.TLS
	if config.ServerName == "" {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		config = config.Clone()
		config.ServerName = host
	}
	return tls.Client(raw, config), nil
}
