package rediam

import (
	"context"
	"errors"
	"fmt"
	"iter"
)

// A PasswordSource is a [TokenSource] of a user with a password that somebody
// changes now and then, such as password.Source. The clients in goredis, redigo and
// valkeygo sign their connections in by themselves with such a source, so that the
// client library gets no password, and do not renew them: AWS ends connections after
// 12 hours that have signed in with IAM, and no others.
type PasswordSource interface {
	TokenSource

	// Passwords are those that may be right now, in the order in which to try them,
	// each at most once. The caller goes on to the next when the service has refused
	// one. An error is the last that comes: there is nothing more to try.
	Passwords(ctx context.Context) iter.Seq2[Token, error]
}

// Renews is whether connections have to sign in again while they live: all but those
// of a [PasswordSource].
func (s *SignIns) Renews() bool {
	_, is := s.Source.(PasswordSource)
	return !is
}

// SignIn signs the connection in when its turn has come: with a token or, where the
// source is a [PasswordSource], with one password after another while the service
// refuses them. try sends one and tells what the service has answered. Only the last
// answer counts as the end of the sign-in.
func (c *Connection) SignIn(ctx context.Context, try func(Token) error) error {
	src, is := c.signIns.Source.(PasswordSource)
	if !is {
		token, err := c.Sign(ctx)
		if err == nil {
			err = try(token)
			c.End(err)
		}
		return err
	}
	if err := c.Begin(ctx); err != nil {
		return err
	}
	err := errNoPassword
	for token, wrong := range src.Passwords(ctx) {
		switch refused := err; {
		case wrong == nil:
			if err = token.check(); err == nil {
				c.signIns.announce(ctx, token)
				err = try(token)
			}
		case refused == errNoPassword:
			err = fmt.Errorf("rediam: token source: %w", wrong)
		default:
			err = fmt.Errorf("%w; the next password cannot be had: %w", refused, wrong)
		}
		if wrong != nil || CauseOf(err) != CauseRefused {
			break
		}
	}
	c.End(err)
	return err
}

var errNoPassword = errors.New("rediam: the token source has no password")
