// Package valkeygo keeps valkey-go clients signed in with AWS IAM: their
// connections, subscriptions included, are renewed in place. It takes valkey-go
// 1.0.77 or newer.
//
//	option := valkey.ClientOption{InitAddress: []string{endpoint}, TLSConfig: &tls.Config{}}
//	if err := valkeygo.Configure(&option, signer, rediam.Renewal{}); err != nil {
//		log.Fatal(err)
//	}
//	client, err := valkey.NewClient(option)
package valkeygo

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/valkey-io/valkey-go"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/internal/dial"
)

// Configure completes an option so that each connection signs in with a token of
// src and is renewed in place at the age that renewal says. It sets
// AuthCredentialsFn and DialCtxFn; a DialCtxFn or DialFn that is there already
// opens what TLS runs over.
//
// It refuses a password, another source of credentials, AlwaysRESP2, and TLS that
// is missing or does not verify, with everything that is wrong in one error, and then
// changes nothing.
//
// With a rediam.PasswordSource the dialler signs in by itself; then it sets DialCtxFn
// alone, and nothing is renewed.
//
// If the token source fails at a renewal, the connection works on and is due again
// soon. If the service refuses a renewal, the connection ends and valkey-go opens
// another: reads that were under way are tried again, and writes fail. A connection
// that is dedicated to somebody, or blocked, is renewed when that is over.
func Configure(o *valkey.ClientOption, src rediam.TokenSource, renewal rediam.Renewal) error {
	if o == nil {
		return errors.New("rediam: cannot configure valkey-go: the option is nil")
	}
	renewal, err := check(o, src, renewal)
	if err != nil {
		return err
	}
	r := &renewer{renewal: renewal, timeout: cmp.Or(o.Dialer.Timeout, dial.DefaultTimeout)}
	base := dial.Dialer{SignIns: rediam.Follow(src), TLS: dial.WithSessions(o.TLSConfig), Timeout: r.timeout}
	own := opener(o)
	o.DialCtxFn = func(ctx context.Context, addr string, d *net.Dialer, _ *tls.Config) (net.Conn, error) {
		dialer := base
		dialer.Open = func(ctx context.Context, network, addr string) (net.Conn, error) { return own(ctx, network, addr, d) }
		c, err := dialer.SignedIn(ctx, "tcp", addr)
		if err != nil {
			return nil, err
		}
		return conn{c}, nil
	}
	if base.SignIns.Renews() {
		o.AuthCredentialsFn = r.credentials
	}
	return nil
}

func check(o *valkey.ClientOption, src rediam.TokenSource, renewal rediam.Renewal) (rediam.Renewal, error) {
	renewal, wrongRenewal := renewal.Resolve()
	problems := []error{dial.CheckTLS(o.TLSConfig), wrongRenewal}
	if src == nil {
		problems = append(problems, errors.New("no token source"))
	}
	if o.AlwaysRESP2 {
		problems = append(problems, errors.New("AlwaysRESP2 is set: in RESP2 a subscription cannot be renewed, and valkey-go would close it at each renewal"))
	}
	if o.Password != "" {
		problems = append(problems, errors.New("a static password is set: with IAM the token is the password"))
	}
	if o.AuthCredentialsFn != nil {
		problems = append(problems, errors.New("the option has an AuthCredentialsFn already"))
	}
	if err := errors.Join(problems...); err != nil {
		return renewal, fmt.Errorf("rediam: cannot configure valkey-go: %w", err)
	}
	return renewal, nil
}

// opener opens what TLS runs over, as the option says.
func opener(o *valkey.ClientOption) func(ctx context.Context, network, addr string, d *net.Dialer) (net.Conn, error) {
	switch withContext, without := o.DialCtxFn, o.DialFn; {
	case withContext != nil:
		return func(ctx context.Context, _, addr string, d *net.Dialer) (net.Conn, error) {
			return withContext(ctx, addr, d, nil)
		}
	case without != nil:
		return func(_ context.Context, _, addr string, d *net.Dialer) (net.Conn, error) { return without(addr, d, nil) }
	}
	return func(ctx context.Context, network, addr string, d *net.Dialer) (net.Conn, error) {
		return d.DialContext(ctx, network, addr)
	}
}

// conn has an address by which credentials knows it again: valkey-go tells no more
// of a connection than that.
type conn struct{ *dial.Conn }

func (c conn) RemoteAddr() net.Addr { return address{c.Conn.RemoteAddr(), c.Conn} }

type address struct {
	net.Addr
	conn *dial.Conn
}

// verdictTime is how long a renewal may take until it counts as done: valkey-go
// does not tell, and closes the connection if the service has refused it.
const verdictTime = time.Second

type renewer struct {
	renewal rediam.Renewal // resolved
	timeout time.Duration  // valkey-go gives no context
}

// credentials is called when a connection is opened, and from then on whenever the
// RefreshAfter that it returned has come. An error closes the connection, and no
// user name and password mean that nothing is sent.
func (r *renewer) credentials(of valkey.AuthCredentialsContext) (valkey.AuthCredentials, error) {
	a, ok := of.Address.(address)
	if !ok {
		return valkey.AuthCredentials{}, errors.New("rediam: the connection is another dialler's: leave DialCtxFn as Configure has set it")
	}
	ctx, cancel := context.WithTimeout(context.Background(), r.timeout)
	defer cancel()
	first := a.conn.SignIn.SignedIn().IsZero()
	token, err := a.conn.SignIn.Sign(ctx)
	switch {
	case err != nil && first:
		return valkey.AuthCredentials{}, err
	case err != nil:
		return valkey.AuthCredentials{RefreshAfter: time.Now().Add(r.renewal.Retry())}, nil
	case !first:
		a.conn.Among(min(verdictTime, r.renewal.Retry()))
	}
	return valkey.AuthCredentials{Username: token.User, Password: token.Password, RefreshAfter: time.Now().Add(r.renewal.Jittered())}, nil
}
