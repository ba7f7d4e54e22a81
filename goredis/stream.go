package goredis

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9/auth"

	"github.com/rediam/rediam"
)

// stream renews connections in place. go-redis subscribes each connection when it
// is opened, marks it for a new AUTH when it is told to, and asks for the password
// when it sends that: which for an idle connection may be hours later.
type stream struct {
	signIns *rediam.SignIns
	renewal rediam.Renewal // resolved
	timeout time.Duration  // of one call of the token source

	mu            sync.Mutex // guards subscriptions and all in them
	subscriptions map[auth.CredentialsListener]*subscription
}

var _ auth.StreamingCredentialsProvider = (*stream)(nil)

// subscription is one connection.
type subscription struct {
	timer   *time.Timer
	checked rediam.Token // made to see that there are tokens, and not used yet
	fresh   time.Time    // until when it may be used
}

// Subscribe fails if there is no token. A listener that is there already has a new
// connection below it.
func (s *stream) Subscribe(listener auth.CredentialsListener) (auth.Credentials, auth.UnsubscribeFunc, error) {
	token, fresh, err := s.sign(s.signIns.Token)
	if err != nil {
		return nil, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	sub := s.subscriptions[listener]
	if sub == nil {
		sub = new(subscription)
		s.subscriptions[listener] = sub
		sub.timer = time.AfterFunc(s.renewal.Jittered(), func() { s.renew(listener, sub) })
	} else {
		sub.timer.Reset(s.renewal.Jittered())
	}
	sub.checked, sub.fresh = token, fresh
	return credentials{s, sub}, func() error { s.unsubscribe(listener, sub); return nil }, nil
}

// unsubscribe may be called any number of times.
func (s *stream) unsubscribe(listener auth.CredentialsListener, sub *subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub.timer.Stop()
	if s.subscriptions[listener] == sub {
		delete(s.subscriptions, listener)
	}
}

// renew has the connection sign in again, or tries again soon if there are no
// tokens now: go-redis would close the connection if it were told.
func (s *stream) renew(listener auth.CredentialsListener, sub *subscription) {
	token, fresh, err := s.sign(s.signIns.Sign)
	next := s.renewal.Jittered()
	if err != nil {
		next = s.renewal.Retry()
	}
	s.mu.Lock()
	live := s.subscriptions[listener] == sub
	if live {
		sub.timer.Reset(next)
		if err == nil {
			sub.checked, sub.fresh = token, fresh
		}
	}
	s.mu.Unlock()
	if live && err == nil {
		listener.OnNext(credentials{s, sub})
	}
}

// sign has a token made and says until when that one may be used rather than another:
// for half its life, and no longer than a minute.
func (s *stream) sign(sign func(context.Context) (rediam.Token, error)) (token rediam.Token, fresh time.Time, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
	defer cancel()
	token, err = sign(ctx)
	now := time.Now()
	return token, now.Add(min(token.Expires.Sub(now)/2, time.Minute)), err
}

// credentials are those of one connection, signed when they are asked for.
type credentials struct {
	stream *stream
	sub    *subscription
}

var _ auth.Credentials = credentials{}

// BasicAuth cannot fail: without a token it gives the last one, which the service
// may refuse.
func (c credentials) BasicAuth() (user, password string) {
	if token, ok := c.take(); ok {
		return token.User, token.Password
	}
	token, _, err := c.stream.sign(c.stream.signIns.Sign)
	if err != nil {
		c.stream.mu.Lock()
		defer c.stream.mu.Unlock()
		token = c.sub.checked
	}
	return token.User, token.Password
}

// take gives the token that was made to see that there are any, once.
func (c credentials) take() (rediam.Token, bool) {
	c.stream.mu.Lock()
	defer c.stream.mu.Unlock()
	ok := time.Now().Before(c.sub.fresh)
	c.sub.fresh = time.Time{}
	return c.sub.checked, ok
}

// RawCredentials says nothing: go-redis does not ask, and it would be a secret.
func (credentials) RawCredentials() string { return "" }
