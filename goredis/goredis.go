// Package goredis keeps go-redis v9 clients signed in with AWS IAM. [Configure]
// has the pool replace connections before AWS closes them, and is what to use;
// [Stream] renews them in place.
//
//	options := &redis.Options{Addr: endpoint, TLSConfig: &tls.Config{}}
//	if err := goredis.Configure(options, signer, rediam.Renewal{}); err != nil {
//		log.Fatal(err)
//	}
//	client := redis.NewClient(options)
package goredis

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/auth"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/internal/dial"
)

// Options are those of go-redis' clients.
type Options interface {
	redis.Options | redis.ClusterOptions | redis.UniversalOptions
}

// Configure completes options so that each connection signs in with a token of
// src, and the pool replaces it at the age that renewal says. It sets
// CredentialsProviderContext, ConnMaxLifetime and ConnMaxLifetimeJitter (where
// a shorter ConnMaxLifetime is not set already) and Dialer, which lets the pool notice
// that an idle connection has been closed by the other side. A Dialer that is
// there already opens what TLS runs over.
//
// It refuses a password, another source of credentials, and TLS that is missing
// or does not verify, with everything that is wrong in one error, and then
// changes nothing.
//
// With a rediam.PasswordSource the dialler signs in by itself; then it sets Dialer alone,
// as Stream does, and no connection is replaced.
//
// Connections that the pool does not have back are not replaced: subscriptions,
// commands that block, and Conn and Watch as long as they are held. AWS closes
// them 12 hours after they signed in; go-redis then subscribes again, and what was
// published meanwhile is lost.
func Configure[O Options](o *O, src rediam.TokenSource, renewal rediam.Renewal) error {
	if o == nil {
		return errNoOptions
	}
	f := fieldsOf(o)
	renewal, err := f.check(src, renewal)
	if err != nil {
		return err
	}
	signIns := f.dialWith(src)
	if !signIns.Renews() {
		return nil
	}
	basicAuth, timeout := rediam.BasicAuth(signIns), cmp.Or(*f.dialTimeout, dial.DefaultTimeout)
	*f.providerContext = func(ctx context.Context) (user, password string, err error) {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		return basicAuth(ctx)
	}
	if *f.lifetime <= 0 || *f.lifetime > renewal.After || *f.lifetime+*f.jitter > renewal.After+renewal.Spread {
		*f.lifetime, *f.jitter = renewal.After, renewal.Spread
	}
	return nil
}

// Stream completes options so that each connection signs in with a token of src
// and is renewed in place, with AUTH, at the age that renewal says. It sets
// StreamingCredentialsProvider and Dialer, and refuses what Configure refuses.
//
// It takes go-redis 9.23 or newer. A renewal happens when the connection is next
// returned to the pool; a command that would have borrowed the connection
// meanwhile takes another one, so that it costs about as many new connections as
// Configure does. What Configure does not replace, this does not renew, except
// that a connection on which a command was blocked is renewed when it comes back.
// If the service refuses a renewal, the connection works on and the next renewal
// tries again.
//
// Do not use Conn and Watch with it, of clusters neither: go-redis 9.23.0 panics
// when they have to open a connection. And it asks for the first token without a
// context, so that a token source that blocks holds a command for DialTimeout.
func Stream[O Options](o *O, src rediam.TokenSource, renewal rediam.Renewal) error {
	if o == nil {
		return errNoOptions
	}
	f := fieldsOf(o)
	renewal, err := f.check(src, renewal)
	if err != nil {
		return err
	}
	signIns := f.dialWith(src)
	if !signIns.Renews() {
		return nil
	}
	*f.streaming = &stream{
		signIns:       signIns,
		renewal:       renewal,
		timeout:       cmp.Or(*f.dialTimeout, dial.DefaultTimeout),
		subscriptions: map[auth.CredentialsListener]*subscription{},
	}
	return nil
}

var errNoOptions = errors.New("rediam: cannot configure go-redis: the options are nil")

// fields are those that the kinds of options have in common.
type fields struct {
	password         *string
	provider         *func() (string, string)
	providerContext  *func(context.Context) (string, string, error)
	streaming        *auth.StreamingCredentialsProvider
	dialer           *func(ctx context.Context, network, addr string) (net.Conn, error)
	tls              **tls.Config
	dialTimeout      *time.Duration
	lifetime, jitter *time.Duration
}

func fieldsOf[O Options](o *O) fields {
	switch o := any(o).(type) {
	case *redis.ClusterOptions:
		return fields{&o.Password, &o.CredentialsProvider, &o.CredentialsProviderContext, &o.StreamingCredentialsProvider,
			&o.Dialer, &o.TLSConfig, &o.DialTimeout, &o.ConnMaxLifetime, &o.ConnMaxLifetimeJitter}
	case *redis.UniversalOptions:
		return fields{&o.Password, &o.CredentialsProvider, &o.CredentialsProviderContext, &o.StreamingCredentialsProvider,
			&o.Dialer, &o.TLSConfig, &o.DialTimeout, &o.ConnMaxLifetime, &o.ConnMaxLifetimeJitter}
	case *redis.Options:
		return fields{&o.Password, &o.CredentialsProvider, &o.CredentialsProviderContext, &o.StreamingCredentialsProvider,
			&o.Dialer, &o.TLSConfig, &o.DialTimeout, &o.ConnMaxLifetime, &o.ConnMaxLifetimeJitter}
	}
	return fields{} // there are no other Options
}

// check gives the renewal with its zero values filled in.
func (f fields) check(src rediam.TokenSource, renewal rediam.Renewal) (rediam.Renewal, error) {
	renewal, wrongRenewal := renewal.Resolve()
	problems := []error{dial.CheckTLS(*f.tls), wrongRenewal}
	if src == nil {
		problems = append(problems, errors.New("no token source"))
	}
	if *f.password != "" {
		problems = append(problems, errors.New("a static password is set: with IAM the token is the password"))
	}
	if *f.provider != nil || *f.providerContext != nil || *f.streaming != nil {
		problems = append(problems, errors.New("the options have a credentials provider already"))
	}
	if err := errors.Join(problems...); err != nil {
		return renewal, fmt.Errorf("rediam: cannot configure go-redis: %w", err)
	}
	return renewal, nil
}

// dialWith makes the options dial through the dialler that follows sign-ins.
func (f fields) dialWith(src rediam.TokenSource) *rediam.SignIns {
	dialer := &dial.Dialer{SignIns: rediam.Follow(src), TLS: dial.WithSessions(*f.tls), Open: *f.dialer, Timeout: *f.dialTimeout}
	*f.dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dialer.SignedIn(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return newConn(c), nil
	}
	return dialer.SignIns
}
