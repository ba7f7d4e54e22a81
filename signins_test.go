package rediam_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/rediam/rediam"
)

// source is a TokenSource that is a function.
type source func(context.Context) (rediam.Token, error)

func (s source) Token(ctx context.Context) (rediam.Token, error) { return s(ctx) }

func good(context.Context) (rediam.Token, error) {
	return rediam.Token{User: "orders-app", Password: secret}, nil
}

func TestNoMoreConnectionsSignInAtATimeThanTheLimit(t *testing.T) {
	signIns := rediam.Limit(source(good), 3)
	var underWay, most atomic.Int64
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			c := signIns.Open()
			defer c.Close()
			if _, err := c.Sign(t.Context()); err != nil {
				t.Error(err)
			}
			n := underWay.Add(1)
			for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
			}
			underWay.Add(-1)
			c.End(nil)
		})
	}
	all.Wait()
	if most.Load() > 3 {
		t.Errorf("%d signed in at one time, want 3 at most", most.Load())
	}
	if got := signIns.Counts(); got.SignIns != 100 || got.Connections != 0 {
		t.Errorf("Counts() = %+v, want 100 sign-ins and no connection", got)
	}
}

func TestATurnIsGivenBackHoweverASignInEnds(t *testing.T) {
	failing := errors.New("no")
	src := source(good)
	signIns := rediam.Limit(source(func(ctx context.Context) (rediam.Token, error) { return src(ctx) }), 1)
	for name, end := range map[string]func(*rediam.Connection){
		"signed in":              func(c *rediam.Connection) { c.End(nil) },
		"refused":                func(c *rediam.Connection) { c.End(failing) },
		"closed":                 func(c *rediam.Connection) {},
		"ended twice":            func(c *rediam.Connection) { c.End(nil); c.End(nil) },
		"begun twice":            func(c *rediam.Connection) { c.Begin(t.Context()) },
		"closed and ended":       func(c *rediam.Connection) { c.Close(); c.End(nil) },
		"closed and begun again": func(c *rediam.Connection) { c.Close(); c.Begin(t.Context()) },
		"renewed":                func(c *rediam.Connection) { c.End(nil); c.Sign(t.Context()); c.End(nil) },
		"without a token to renew": func(c *rediam.Connection) {
			c.End(nil)
			src = func(context.Context) (rediam.Token, error) { return rediam.Token{}, failing }
			c.Sign(t.Context())
			src = good
		},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		c := signIns.Open()
		if err := c.Begin(ctx); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		end(c)
		c.Close()
		next := signIns.Open()
		if err := next.Begin(ctx); err != nil {
			t.Errorf("%s: the turn is lost: %v", name, err)
		}
		next.Close()
		cancel()
	}
	if got := signIns.Counts(); got.Connections != 0 {
		t.Errorf("%d connections are left", got.Connections)
	}
}

// What two goroutines do at the same time must not lose a turn either.
func TestATurnIsNotLostBetweenBeginAndClose(t *testing.T) {
	signIns := rediam.Limit(source(good), 1)
	for range 20_000 {
		c := signIns.Open()
		var both sync.WaitGroup
		both.Go(func() { c.Begin(t.Context()) })
		both.Go(c.Close)
		both.Wait()
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := signIns.Open().Begin(ctx); err != nil {
		t.Error(err)
	}
}

func TestTheTurnOfATokenIsClaimedByItsConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failing := source(func(context.Context) (rediam.Token, error) { return rediam.Token{}, errors.New("no") })
		if signIns := rediam.Limit(failing, 1); signIns.Open().Begin(t.Context()) != nil {
			t.Error("no turn")
		}
		signIns := rediam.Limit(source(good), 1)
		start := time.Now()
		for range 5 {
			if _, err := signIns.Token(t.Context()); err != nil {
				t.Fatal(err)
			}
			c := signIns.Open()
			if err := c.Claim(t.Context()); err != nil {
				t.Fatal(err)
			}
			c.End(nil)
			c.Close()
		}
		if waited := time.Since(start); waited != 0 {
			t.Errorf("waited %v for turns that had been claimed", waited)
		}
		failed := rediam.Limit(failing, 1)
		for range 3 {
			failed.Token(t.Context())
		}
		if waited := time.Since(start); waited != 0 || failed.Counts().Failures[rediam.CauseOther] != 3 {
			t.Errorf("waited %v for turns of tokens that there were not; %+v", waited, failed.Counts())
		}
	})
}

func TestATokenThatCannotSignInIsRefused(t *testing.T) {
	for name, token := range map[string]rediam.Token{"no user": {Password: secret}, "no password": {User: "orders-app"}} {
		signIns := rediam.Follow(source(func(context.Context) (rediam.Token, error) { return token, nil }))
		if _, err := signIns.Token(t.Context()); err == nil || len(signIns.Counts().Failures) != 1 {
			t.Errorf("%s: %v, %+v", name, err, signIns.Counts())
		}
	}
	if _, err := rediam.Follow((*rediam.Signer)(nil)).Token(t.Context()); err == nil {
		t.Error("a nil *Signer gave a token")
	}
}

func TestALimitOfALimitHasTurnsOfItsOwnOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		signIns := rediam.Limit(rediam.Limit(source(good), 1), 10)
		for range 10 {
			if _, err := signIns.Token(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if waited := time.Since(start); waited != 0 {
			t.Errorf("waited %v", waited)
		}
		time.Sleep(2 * time.Second) // in the bubble, no time: until the turns are over
	})
}

func TestWaitingForATurnEndsWithTheContext(t *testing.T) {
	signIns := rediam.Limit(source(good), 1)
	first := signIns.Open()
	if err := first.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	if err := signIns.Open().Begin(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "1 at a time") {
		t.Errorf("Begin() = %v, want one that says what it waited for", err)
	}
	if got := signIns.Counts(); len(got.Failures) != 1 {
		t.Errorf("Counts() = %+v, want the failure", got)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := signIns.Open().Begin(cancelled); !errors.Is(err, context.Canceled) || len(signIns.Counts().Failures) != 1 {
		t.Errorf("Begin() = %v, Counts() = %+v: who no longer wants to has not failed", err, signIns.Counts())
	}
	if other := signIns.Open(); other.TryBegin() || !first.TryBegin() {
		t.Error("TryBegin() does not tell who has a turn")
	}
	first.Close()
	if other := signIns.Open(); !other.TryBegin() {
		t.Error("TryBegin() = false with a turn free")
	}
}

// A client without an adapter takes tokens and tells nothing.
func TestATokenThatNobodyReportsOnCountsForASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		basicAuth := rediam.BasicAuth(rediam.Limit(source(good), 2))
		start := time.Now()
		for i, want := range []time.Duration{0, 0, time.Second, time.Second, 2 * time.Second} {
			if _, _, err := basicAuth(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := time.Since(start); got != want {
				t.Errorf("token %d after %v, want %v", i, got, want)
			}
		}
		time.Sleep(2 * time.Second) // in the bubble, no time: until the last is over
	})
}

func TestCountsTellSignInsRenewalsFailuresAndTheOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		signIns := &rediam.SignIns{Source: source(good)}
		old, renewed := signIns.Open(), signIns.Open()
		for _, c := range []*rediam.Connection{old, renewed} {
			c.Begin(t.Context())
			c.End(nil)
		}
		time.Sleep(time.Hour)
		renewed.Begin(t.Context())
		renewed.End(nil)
		renewed.Begin(t.Context())
		renewed.End(errors.New("WRONGPASS invalid username-password pair or user is disabled."))
		got := signIns.Counts()
		if got.SignIns != 2 || got.Renewals != 1 || got.Failures[rediam.CauseRefused] != 1 || got.Connections != 2 || got.Oldest != time.Hour {
			t.Errorf("Counts() = %+v", got)
		}
		old.Close()
		if got := signIns.Counts(); got.Connections != 1 || got.Oldest != 0 {
			t.Errorf("after a close Counts() = %+v", got)
		}
	})
}

func TestOneLineTellsWhatIsSignedInWith(t *testing.T) {
	var log bytes.Buffer
	loads := 0
	signer := &rediam.Signer{Cache: "Orders", User: "orders-app", Region: "eu-west-1", Serverless: true,
		Credentials: aws.NewCredentialsCache(aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			loads++
			return aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: secret, SessionToken: secret, Source: "SharedConfigCredentials"}, nil
		}))}
	signIns := &rediam.SignIns{Source: signer, Log: slog.New(slog.NewTextHandler(&log, nil))}
	for range 10 {
		if err := rediam.Probe(t.Context(), signIns); err != nil {
			t.Fatal(err)
		}
	}
	if loads != 1 {
		t.Errorf("credentials were loaded %d times, want once", loads)
	}
	for _, want := range []string{"with.cache=orders", "with.user=orders-app", "with.region=eu-west-1", "with.serverless=true", "with.credentials=SharedConfigCredentials"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %s: %s", want, log.String())
		}
	}
	if strings.Count(log.String(), "\n") != 1 || strings.Contains(log.String(), secret) {
		t.Errorf("want one line without a secret: %s", log.String())
	}
}

// What is somebody else's is not trusted to return, or not to panic.
func TestSourcesAndProvidersThatMisbehaveAreErrors(t *testing.T) {
	stuck := make(chan struct{})
	t.Cleanup(func() { close(stuck) })
	block := func() { <-stuck }
	boom := func() { panic("the secret is " + secret) }
	crash := func() { _ = []int{}[len(t.Name())] }
	for name, v := range map[string]struct {
		do   func()
		want string
	}{
		"blocks":  {block, "no answer in time"},
		"panics":  {boom, "it panicked with a string"},
		"crashes": {crash, "index out of range"},
	} {
		provider := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { v.do(); return aws.Credentials{}, nil })
		for what, src := range map[string]rediam.TokenSource{
			"provider": &rediam.Signer{Cache: "orders", User: "orders-app", Region: "eu-west-1", Credentials: provider},
			"source":   &rediam.SignIns{Source: source(func(context.Context) (rediam.Token, error) { v.do(); return rediam.Token{}, nil })},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			_, err := src.Token(ctx)
			cancel()
			if err == nil || !strings.Contains(err.Error(), v.want) || strings.Contains(err.Error(), secret) {
				t.Errorf("%s that %s: %v, want %q", what, name, err, v.want)
			}
			if name == "blocks" && (!errors.Is(err, context.DeadlineExceeded) || what == "provider" && !errors.As(err, new(*rediam.CredentialsError))) {
				t.Errorf("%s that %s: %#v", what, name, err)
			}
		}
	}
	if _, err := (&rediam.SignIns{}).Token(t.Context()); err == nil {
		t.Error("no source, and a token")
	}
	for name, provider := range map[string]aws.CredentialsProvider{"nil": nil, "a cache of nil": aws.NewCredentialsCache(nil), "a nil cache": (*aws.CredentialsCache)(nil)} {
		signer := &rediam.Signer{Cache: "orders", User: "orders-app", Region: "eu-west-1", Credentials: provider}
		if _, err := signer.Token(t.Context()); err == nil || !strings.Contains(err.Error(), "no Credentials") {
			t.Errorf("with %s: %v, want no Credentials", name, err)
		}
	}
}

func TestSignInsPrintNoSecret(t *testing.T) {
	signIns := &rediam.SignIns{Source: &rediam.Signer{User: "orders-app", Credentials: static("AKID", secret, secret)}}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(verb, signIns); strings.Contains(got, secret) || !strings.Contains(got, "rediam.SignIns") {
			t.Errorf("under %s: %s", verb, got)
		}
	}
}
