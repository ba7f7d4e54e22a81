package goredis_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/auth"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/emulator"
	"github.com/rediam/rediam/goredis"
	"github.com/rediam/rediam/internal/soak"
)

// short lives make a test see a day in seconds: a token that were kept would be too old
// before its end, and one that waits a moment on a busy machine is not.
var (
	short        = emulator.Config{TokenTTL: 6 * time.Second, ConnectionTTL: 4 * time.Second}
	shortRenewal = rediam.Renewal{After: 1500 * time.Millisecond}
)

func TestRenewsByRecyclingPastManyLivesOfAConnection(t *testing.T) {
	t.Parallel()
	srv := emulator.Start(t, short)
	signIns := rediam.Follow(signer(srv))
	client := newClient(t, srv, goredis.Configure[redis.Options], signIns, shortRenewal, nil)
	count(t, client, 3*short.ConnectionTTL)
	if got := signIns.Counts(); got.SignIns < 4 || got.Renewals != 0 || len(got.Failures) > 0 {
		t.Errorf("Counts() = %+v, want at least 4 sign-ins and no renewal", got)
	}
}

func TestRenewsInPlacePastManyLivesOfAConnection(t *testing.T) {
	t.Parallel()
	srv := emulator.Start(t, short)
	signIns := rediam.Follow(signer(srv))
	client := newClient(t, srv, goredis.Stream[redis.Options], signIns, shortRenewal, nil)
	count(t, client, 3*short.ConnectionTTL)
	renewals := 0
	for _, s := range srv.Sessions(emulator.DefaultCache) {
		renewals += s.Renewals
	}
	if got := signIns.Counts(); got.Renewals < 3 || renewals == 0 || len(got.Failures) > 0 {
		t.Errorf("Counts() = %+v, and live connections have been renewed %d times", got, renewals)
	}
}

// count increments a key that nobody else does, for as long as d: each command is
// done once.
func count(t *testing.T, client *redis.Client, d time.Duration) {
	t.Helper()
	end := time.After(d)
	for n := int64(1); ; n++ {
		if got, err := client.Incr(t.Context(), "n").Result(); err != nil || got != n {
			t.Fatalf("INCR = %d, %v, want %d", got, err, n)
		}
		select {
		case <-end:
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Live connections work through an outage of whatever gives credentials, and are
// renewed when it is over.
func TestRenewsAgainAfterFiveMinutesWithoutCredentials(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{ConnectionTTL: 10 * time.Minute})
	var down atomic.Bool
	s := signer(srv)
	s.Credentials = function(func() (aws.Credentials, error) {
		if down.Load() {
			return aws.Credentials{}, errors.New("no credentials today")
		}
		return srv.Credentials(emulator.DefaultRole).Retrieve(context.Background())
	})
	signIns := rediam.Follow(s)
	client := newClient(t, srv, goredis.Stream[redis.Options], signIns, rediam.Renewal{After: 100 * time.Millisecond}, func(o *redis.Options) { o.MaxRetries, o.PoolSize = -1, 1 })
	id := client.ClientID(t.Context()).Val()
	until := func(what string, done func(rediam.Counts) bool) {
		t.Helper()
		for deadline := time.Now().Add(patience); !done(signIns.Counts()); {
			must(t, client.Ping(t.Context()).Err())
			if time.Now().After(deadline) {
				t.Fatalf("no %s: %+v", what, signIns.Counts())
			}
		}
	}
	down.Store(true)
	until("failed renewals", func(c rediam.Counts) bool { return c.Failures[rediam.CauseCredentials] >= 3 })
	srv.Advance(5 * time.Minute)
	must(t, client.Ping(t.Context()).Err())
	down.Store(false)
	before := signIns.Counts().Renewals
	until("renewal", func(c rediam.Counts) bool { return c.Renewals >= before+2 })
	srv.Advance(9 * time.Minute) // 14 since it was opened
	if got := client.ClientID(t.Context()).Val(); got != id || id == 0 {
		t.Errorf("the connection is number %d, want %d still", got, id)
	}
}

// listener is what go-redis subscribes for each connection.
type listener struct{ told atomic.Int64 }

func (l *listener) OnNext(auth.Credentials) { l.told.Add(1) }
func (l *listener) OnError(err error)       { panic("go-redis closes the connection then: " + err.Error()) }

func TestRenewalsOfAConnectionEndWithItsSubscription(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fails atomic.Bool
		src := source(func(context.Context) (rediam.Token, error) {
			if fails.Load() {
				return rediam.Token{}, errors.New("no token")
			}
			return rediam.Token{User: "orders-app", Password: fmt.Sprint("signed at ", time.Now().Unix()), Expires: time.Now().Add(15 * time.Minute)}, nil
		})
		o := &redis.Options{TLSConfig: &tls.Config{}}
		must(t, goredis.Stream(o, src, rediam.Renewal{}))
		var first, second listener
		credentials, unsubscribe, err := o.StreamingCredentialsProvider.Subscribe(&first)
		must(t, err)
		_, again, err := o.StreamingCredentialsProvider.Subscribe(&first)
		must(t, err)
		_, other, err := o.StreamingCredentialsProvider.Subscribe(&second)
		must(t, err)
		defer other()

		time.Sleep(6 * time.Hour) // in the bubble, no time
		if got := first.told.Load() + second.told.Load(); got != 0 {
			t.Errorf("told %d times after 6h, want not yet", got)
		}
		time.Sleep(6 * time.Hour)
		if first.told.Load() != 1 || second.told.Load() != 1 {
			t.Errorf("told %d and %d times after 12h, want once each", first.told.Load(), second.told.Load())
		}
		time.Sleep(time.Hour)
		if _, got := credentials.BasicAuth(); got != fmt.Sprint("signed at ", time.Now().Unix()) {
			t.Errorf("the password is %s, and now is %d: it is signed when it is asked for", got, time.Now().Unix())
		}
		if user, password := credentials.BasicAuth(); credentials.RawCredentials() != "" || user != "orders-app" || password == "" {
			t.Errorf("BasicAuth() = %s, %s", user, password)
		}

		fails.Store(true)
		time.Sleep(24 * time.Hour)
		if first.told.Load() > 2 {
			t.Errorf("told %d times though there are no tokens", first.told.Load())
		}
		if _, _, err := o.StreamingCredentialsProvider.Subscribe(new(listener)); err == nil {
			t.Error("a new connection without a token")
		}
		fails.Store(false)
		before := first.told.Load()
		time.Sleep(2 * time.Minute)
		if first.told.Load() != before+1 {
			t.Errorf("told %d times within two minutes of an outage, want once", first.told.Load()-before)
		}

		must(t, errors.Join(again(), unsubscribe(), unsubscribe()))
		before = first.told.Load()
		time.Sleep(100 * time.Hour)
		if first.told.Load() != before || second.told.Load() < 5 {
			t.Errorf("told %d times after the end of its subscription, the other one %d times", first.told.Load()-before, second.told.Load())
		}
	})
}

type source func(context.Context) (rediam.Token, error)

func (s source) Token(ctx context.Context) (rediam.Token, error) { return s(ctx) }

func TestNothingIsLeftOfAClosedClient(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	for name, way := range ways {
		signIns := rediam.Limit(signer(srv), 10)
		soak.LeavesNothing(t, func() {
			cache := srv.Cache(emulator.DefaultCache)
			o := &redis.Options{Addr: cache.Addr, TLSConfig: cache.TLS, PoolSize: 20, MinIdleConns: 20}
			must(t, way(o, signIns, rediam.Renewal{After: 50 * time.Millisecond}))
			client := redis.NewClient(o)
			for range 200 {
				must(t, client.Ping(t.Context()).Err())
			}
			must(t, client.Close())
			for deadline := time.Now().Add(patience); len(srv.Sessions(emulator.DefaultCache)) > 0 && time.Now().Before(deadline); {
				time.Sleep(time.Millisecond)
			}
		})
		if got := signIns.Counts(); got.Connections != 0 {
			t.Errorf("%s: %d connections are left", name, got.Connections)
		}
	}
}
