package rediam

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

// assumedSignIn is how long a sign-in counts as under way where nobody says when
// it is over: with a token that the program took by itself.
const assumedSignIn = time.Second

// SignIns is a [TokenSource] that follows what becomes of its tokens: it bounds
// how many connections sign in at one time, counts and logs. The clients in
// goredis, redigo and valkeygo tell it of every connection; one SignIns may serve
// any number of them. Fill in the fields, and do not change or copy it after that.
// It is safe for many goroutines and needs no Close.
type SignIns struct {
	// Source makes the tokens. Required.
	Source TokenSource

	// AtOnce is how many sign-ins and renewals may be under way at one time, from
	// before the token is made until the service has answered; the others wait. AWS
	// answers too many with an error, and publishes no number. Zero means no bound.
	AtOnce int

	// Log gets a line with the first token, each sign-in and renewal at debug and
	// each failure as a warning. Nil means nothing is logged.
	Log *slog.Logger

	once  sync.Once
	turns chan struct{} // one element for each connection that signs in

	first sync.Once // for the line with the first token

	mu       sync.Mutex               // guards below
	loose    map[*time.Timer]struct{} // turns that were taken for no connection yet
	live     map[*Connection]struct{}
	signIns  int64
	renewals int64
	failures map[Cause]int64
}

var (
	_ TokenSource   = (*SignIns)(nil)
	_ fmt.Formatter = (*SignIns)(nil)
)

// Limit bounds how many connections sign in at one time with the tokens of src: n
// is at least 1. See [SignIns], which it makes: a new one also where src is one.
func Limit(src TokenSource, n int) *SignIns {
	s := &SignIns{Source: src, AtOnce: max(n, 1)}
	if inner, ok := src.(*SignIns); ok && inner != nil { // whose turns nobody would give back
		s.Source, s.Log = inner.Source, inner.Log
	}
	return s
}

// Follow is src itself if it is a *SignIns, and else a new one over it. The
// clients use it, so that a program may give them any TokenSource.
func Follow(src TokenSource) *SignIns {
	if s, ok := src.(*SignIns); ok && s != nil {
		return s
	}
	return &SignIns{Source: src}
}

// Format prints what the sign-ins are made with and none of its secrets, whatever
// the verb.
func (s *SignIns) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "rediam.SignIns{Source:%T AtOnce:%d}", s.Source, s.AtOnce)
}

// Token is for whoever cannot say which connection the token is for, such as
// [BasicAuth]: it waits for its turn and then calls Sign. The turn is over when a
// Connection that has claimed it says so, and after a second if none has.
func (s *SignIns) Token(ctx context.Context) (Token, error) {
	if err := s.enter(ctx); err != nil {
		return Token{}, err
	}
	token, err := s.Sign(ctx)
	switch {
	case err != nil:
		s.leave()
	case s.AtOnce > 0:
		s.loosen()
	}
	return token, err
}

// loosen lets a turn end by itself.
func (s *SignIns) loosen() {
	s.mu.Lock()
	defer s.mu.Unlock()
	var timer *time.Timer
	timer = time.AfterFunc(assumedSignIn, func() {
		s.mu.Lock()
		_, ours := s.loose[timer]
		delete(s.loose, timer)
		s.mu.Unlock()
		if ours {
			s.leave()
		}
	})
	if s.loose == nil {
		s.loose = map[*time.Timer]struct{}{}
	}
	s.loose[timer] = struct{}{}
}

// claim takes a turn that Token has left; it is false if there is none.
func (s *SignIns) claim() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for timer := range s.loose {
		timer.Stop()
		delete(s.loose, timer)
		return true
	}
	return false
}

// Sign gives a token of the source at once, for a connection whose turn it is. It
// never blocks longer than ctx allows, whatever the source does, and a source that
// panics is an error. A failure is counted and logged.
func (s *SignIns) Sign(ctx context.Context) (Token, error) {
	token, err := s.sign(ctx)
	if err == nil {
		err = token.check()
	}
	if err != nil {
		s.Failed(err)
		return Token{}, err
	}
	s.announce(ctx, token)
	return token, nil
}

// check refuses what cannot sign in.
func (t Token) check() error {
	if t.User == "" || t.Password == "" {
		return errors.New("rediam: the token source gave a token without a user name or a password")
	}
	return nil
}

// announce logs the first token.
func (s *SignIns) announce(ctx context.Context, token Token) {
	s.first.Do(func() {
		if s.Log != nil {
			how := "IAM"
			if !s.Renews() {
				how = "a password"
			}
			s.Log.InfoContext(ctx, "rediam: signing in with "+how, "with", describe(s.Source), "user", token.User)
		}
	})
}

func (s *SignIns) sign(ctx context.Context) (Token, error) {
	switch src := s.Source.(type) {
	case nil:
		return Token{}, errors.New("rediam: no Source to make tokens")
	case *Signer: // it keeps to ctx, and to errors, by itself
		if src == nil {
			return Token{}, errors.New("rediam: the Source is a nil *Signer")
		}
		return src.Token(ctx)
	}
	token, err := guard(ctx, s.Source.Token)
	if err != nil {
		err = fmt.Errorf("rediam: token source: %w", err)
	}
	return token, err
}

// describe is what may be logged of a source.
func describe(src TokenSource) any {
	if v, ok := src.(slog.LogValuer); ok {
		return v
	}
	return fmt.Sprintf("%T", src)
}

// Failed counts and logs a sign-in that came to nothing before it began, such as
// one whose connection could not be opened.
func (s *SignIns) Failed(err error) { s.failed(err, false) }

// Open begins to follow a connection. The caller must Close it.
func (s *SignIns) Open() *Connection { return &Connection{signIns: s} }

// enter waits until one more may sign in.
func (s *SignIns) enter(ctx context.Context) error {
	if s.AtOnce <= 0 {
		return nil
	}
	s.once.Do(func() { s.turns = make(chan struct{}, s.AtOnce) })
	select {
	case s.turns <- struct{}{}:
		return nil
	case <-ctx.Done():
		err := fmt.Errorf("rediam: wait for a turn to sign in, of %d at a time: %w", s.AtOnce, ctx.Err())
		if !errors.Is(err, context.Canceled) { // who no longer wants to has not failed
			s.Failed(err)
		}
		return err
	}
}

var errNoTurn = errors.New("rediam: no turn to sign in")

// tryEnter is enter without a wait.
func (s *SignIns) tryEnter() error {
	if s.AtOnce <= 0 {
		return nil
	}
	s.once.Do(func() { s.turns = make(chan struct{}, s.AtOnce) })
	select {
	case s.turns <- struct{}{}:
		return nil
	default:
		return errNoTurn
	}
}

func (s *SignIns) leave() {
	if s.AtOnce > 0 {
		<-s.turns
	}
}

func (s *SignIns) failed(err error, renewal bool) {
	cause := CauseOf(err)
	s.mu.Lock()
	if s.failures == nil {
		s.failures = map[Cause]int64{}
	}
	s.failures[cause]++
	s.mu.Unlock()
	if s.Log != nil {
		s.Log.Warn("rediam: sign-in failed", "renewal", renewal, "cause", cause, "error", err)
	}
}

// A Connection is what SignIns knows of one connection: whoever made it tells of
// its sign-ins and of its end. It is safe for many goroutines; after Close its
// methods do nothing.
type Connection struct {
	signIns *SignIns
	since   atomic.Pointer[time.Time] // when it signed in last

	mu       sync.Mutex // guards below, and is held while signIns.mu is taken
	underWay bool       // it has a turn
	closed   bool
}

// Begin waits for the turn of the connection to sign in, or to renew its sign-in.
// It does nothing if that is under way already.
func (c *Connection) Begin(ctx context.Context) error { return c.begin(ctx, c.signIns.enter) }

// Claim is Begin for a client that has got its token by SignIns.Token: the turn
// that was taken there becomes that of the connection.
func (c *Connection) Claim(ctx context.Context) error {
	return c.begin(ctx, func(ctx context.Context) error {
		if c.signIns.claim() {
			return nil
		}
		return c.signIns.enter(ctx)
	})
}

func (c *Connection) begin(ctx context.Context, enter func(context.Context) error) error {
	if !c.may() {
		return nil
	}
	if err := enter(ctx); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.underWay || c.closed { // meanwhile
		c.signIns.leave()
		return nil
	}
	c.underWay = true
	return nil
}

// TryBegin is Begin where there is a turn at once, or one is under way; it is false
// where the connection would have to wait.
func (c *Connection) TryBegin() bool {
	return c.begin(context.Background(), func(context.Context) error { return c.signIns.tryEnter() }) == nil
}

func (c *Connection) may() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.underWay && !c.closed
}

// Sign gives a token for the connection when its turn has come. If there is none,
// the sign-in is over.
func (c *Connection) Sign(ctx context.Context) (Token, error) {
	if err := c.Begin(ctx); err != nil {
		return Token{}, err
	}
	token, err := c.signIns.Sign(ctx)
	if err != nil {
		c.over()
	}
	return token, err
}

// over gives back the turn, and is false if there was none.
func (c *Connection) over() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leave()
}

// leave is over for whoever holds the lock.
func (c *Connection) leave() bool {
	was := c.underWay
	if was {
		c.underWay = false
		c.signIns.leave()
	}
	return was
}

// End says what the service answered to the sign-in that is under way: nil, or an
// error. It does nothing if none is.
func (c *Connection) End(err error) {
	renewal := !c.SignedIn().IsZero()
	switch {
	case !c.over():
	case err != nil:
		c.signIns.failed(err, renewal)
	default:
		c.succeeded(renewal)
	}
}

func (c *Connection) succeeded(renewal bool) {
	s, now := c.signIns, time.Now()
	c.mu.Lock()
	if !c.closed {
		c.since.Store(&now)
		s.signedIn(c, renewal)
	}
	c.mu.Unlock()
	if s.Log != nil {
		s.Log.Debug("rediam: signed in", "renewal", renewal)
	}
}

// SignedIn is when the connection signed in last; zero if it has not.
func (c *Connection) SignedIn() time.Time {
	if since := c.since.Load(); since != nil {
		return *since
	}
	return time.Time{}
}

// Close ends it. Nothing of the connection is kept.
func (c *Connection) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.leave()
	c.signIns.forget(c)
}

func (s *SignIns) signedIn(c *Connection, renewal bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live == nil {
		s.live = map[*Connection]struct{}{}
	}
	s.live[c] = struct{}{}
	if renewal {
		s.renewals++
	} else {
		s.signIns++
	}
}

func (s *SignIns) forget(c *Connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.live, c)
}

// Counts are what has happened since the start, and what is.
type Counts struct {
	SignIns  int64           // connections that have signed in
	Renewals int64           // sign-ins of connections that were signed in already
	Failures map[Cause]int64 // sign-ins and renewals that came to nothing
	// Connections are those signed in now, and Oldest is how long ago that one of
	// them signed in which did so first: AWS closes it at 12 hours, which a client
	// may not have noticed of one that it leaves idle.
	Connections int
	Oldest      time.Duration
}

// Counts takes stock. The map is the caller's.
func (s *SignIns) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := Counts{SignIns: s.signIns, Renewals: s.renewals, Failures: maps.Clone(s.failures), Connections: len(s.live)}
	for c := range s.live {
		counts.Oldest = max(counts.Oldest, time.Since(c.SignedIn()))
	}
	return counts
}
