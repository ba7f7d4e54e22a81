package redigo_test

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/gomodule/redigo/redis"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/emulator"
	"github.com/rediam/rediam/internal/soak"
	"github.com/rediam/rediam/redigo"
)

const patience = 10 * time.Second

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// dialer signs in to the default cache of an emulator.
func dialer(srv *emulator.Server, change func(*redigo.Dialer, *rediam.Signer)) *redigo.Dialer {
	cache := srv.Cache(emulator.DefaultCache)
	signer := &rediam.Signer{Cache: cache.Name, User: emulator.DefaultUser, Region: srv.Region(), Credentials: srv.Credentials(emulator.DefaultRole), Now: srv.Now}
	d := &redigo.Dialer{Addr: cache.Addr, TLS: cache.TLS, Source: signer}
	if change != nil {
		change(d, signer)
	}
	return d
}

// pool lends the connections of a dialler until the test ends.
func pool(t *testing.T, d *redigo.Dialer) *redis.Pool {
	p := &redis.Pool{DialContext: d.DialContext, TestOnBorrowContext: d.TestOnBorrowContext, MaxIdle: 100}
	t.Cleanup(func() { p.Close() })
	return p
}

// do sends one command over a connection of the pool.
func do(ctx context.Context, p *redis.Pool, command string, args ...any) (any, error) {
	c, err := p.GetContext(ctx)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return redis.DoContext(c, ctx, command, args...)
}

func TestRenewsInPlacePastManyLivesOfAConnection(t *testing.T) {
	t.Parallel()
	srv := emulator.Start(t, emulator.Config{TokenTTL: 6 * time.Second, ConnectionTTL: 4 * time.Second})
	signIns := new(rediam.SignIns)
	d := dialer(srv, func(d *redigo.Dialer, s *rediam.Signer) {
		signIns.Source = s
		d.Source, d.Renewal = signIns, rediam.Renewal{After: 1500 * time.Millisecond}
	})
	p := pool(t, d)
	id, err := redis.Int64(do(t.Context(), p, "CLIENT", "ID"))
	must(t, err)
	end := time.After(12 * time.Second)
	for n, running := int64(1), true; running; n++ {
		if got, err := redis.Int64(do(t.Context(), p, "INCR", "n")); err != nil || got != n {
			t.Fatalf("INCR = %d, %v, want %d", got, err, n)
		}
		select {
		case <-end:
			running = false
		case <-time.After(10 * time.Millisecond):
		}
	}
	if got, err := redis.Int64(do(t.Context(), p, "CLIENT", "ID")); err != nil || got != id {
		t.Errorf("the connection is number %d, want %d still: %v", got, id, err)
	}
	if got := signIns.Counts(); got.SignIns != 1 || got.Renewals < 4 || len(got.Failures) > 0 {
		t.Errorf("Counts() = %+v, want one sign-in and at least 4 renewals", got)
	}
}

func TestRenewsAgainAfterFiveMinutesWithoutCredentials(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{ConnectionTTL: 10 * time.Minute})
	var down atomic.Bool
	signIns := new(rediam.SignIns)
	p := pool(t, dialer(srv, func(d *redigo.Dialer, s *rediam.Signer) {
		s.Credentials = aws.CredentialsProviderFunc(func(ctx context.Context) (aws.Credentials, error) {
			if down.Load() {
				return aws.Credentials{}, errors.New("no credentials today")
			}
			return srv.Credentials(emulator.DefaultRole).Retrieve(ctx)
		})
		signIns.Source = s
		d.Source, d.Renewal = signIns, rediam.Renewal{After: 100 * time.Millisecond}
	}))
	id, err := redis.Int64(do(t.Context(), p, "CLIENT", "ID"))
	must(t, err)
	until := func(what string, done func(rediam.Counts) bool) {
		t.Helper()
		for deadline := time.Now().Add(patience); !done(signIns.Counts()); {
			_, err := do(t.Context(), p, "PING")
			must(t, err)
			if time.Now().After(deadline) {
				t.Fatalf("no %s: %+v", what, signIns.Counts())
			}
		}
	}
	down.Store(true)
	until("failed renewals", func(c rediam.Counts) bool { return c.Failures[rediam.CauseCredentials] >= 3 })
	down.Store(false)
	for text, cause := range map[string]rediam.Cause{emulator.ErrIAMUnavailable: rediam.CauseUnavailable, emulator.ErrThrottled: rediam.CauseThrottled, "WRONGPASS no": rediam.CauseRefused} {
		must(t, srv.Fault("", emulator.Fault{SignIn: text}))
		before := signIns.Counts().Failures[cause]
		until("renewals refused with "+text, func(c rediam.Counts) bool { return c.Failures[cause] >= before+2 })
	}
	must(t, srv.Fault("", emulator.Fault{}))
	srv.Advance(5 * time.Minute)
	before := signIns.Counts().Renewals
	until("renewal", func(c rediam.Counts) bool { return c.Renewals >= before+2 })
	srv.Advance(9 * time.Minute) // 14 since it was opened
	if got, err := redis.Int64(do(t.Context(), p, "CLIENT", "ID")); err != nil || got != id {
		t.Errorf("the connection is number %d, want %d still: %v", got, id, err)
	}
}

func TestNoticesConnectionsThatWereClosedWhileIdle(t *testing.T) {
	srv := emulator.Start(t)
	p := pool(t, dialer(srv, nil))
	var conns []redis.Conn
	for range 20 {
		c, err := p.GetContext(t.Context())
		must(t, err)
		conns = append(conns, c)
	}
	for _, c := range conns {
		c.Close()
	}
	<-time.After(20 * time.Millisecond) // what counts as idle is less
	if n, err := srv.Cut("", -1); err != nil || n != 20 {
		t.Fatalf("cut %d, %v", n, err)
	}
	if _, err := do(t.Context(), p, "PING"); err != nil {
		t.Errorf("the first command after the cut: %v", err)
	}
}

// The service may close it while it is being renewed.
func TestReplacesWhatWasIdleUntilAfterItsTime(t *testing.T) {
	srv := emulator.Start(t)
	signIns := new(rediam.SignIns)
	p := pool(t, dialer(srv, func(d *redigo.Dialer, s *rediam.Signer) {
		signIns.Source = s
		d.Source, d.Renewal = signIns, rediam.Renewal{After: 100 * time.Millisecond}
	}))
	first, err := redis.Int64(do(t.Context(), p, "CLIENT", "ID"))
	must(t, err)
	<-time.After(200 * time.Millisecond)
	if second, err := redis.Int64(do(t.Context(), p, "CLIENT", "ID")); err != nil || second == first {
		t.Errorf("the connection is number %d, %v, want another", second, err)
	}
	if got := signIns.Counts(); got.SignIns != 2 || got.Renewals != 0 || len(got.Failures) > 0 {
		t.Errorf("Counts() = %+v, want two sign-ins", got)
	}
}

func TestReturnsRedigosOwnConnection(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	d := dialer(srv, func(d *redigo.Dialer, _ *rediam.Signer) {
		d.Options = []redis.DialOption{redis.DialDatabase(1), redis.DialPassword("s3cr3t"), redis.DialUseTLS(true), redis.DialClientName("me")}
	})
	c, err := d.DialContext(t.Context())
	must(t, err)
	defer c.Close()
	_, withTimeout := c.(redis.ConnWithTimeout)
	_, withContext := c.(redis.ConnWithContext)
	if !withTimeout || !withContext {
		t.Errorf("with timeout: %v, with context: %v", withTimeout, withContext)
	}
	if got, err := redis.String(redis.DoContext(c, t.Context(), "CLIENT", "GETNAME")); err != nil || got != "me" {
		t.Errorf("the name is %q, %v", got, err)
	}
}

func TestRefusesWhatCannotWork(t *testing.T) {
	unverified := &tls.Config{}
	unverified.InsecureSkipVerify = true
	for name, v := range map[string]struct {
		dialer *redigo.Dialer
		want   []string
	}{
		"nothing":                 {&redigo.Dialer{}, []string{"no Addr", "no Source", "no TLS"}},
		"TLS that does not check": {&redigo.Dialer{Addr: "x:1", Source: &rediam.Signer{}, TLS: unverified}, []string{"does not verify"}},
		"a renewal too late":      {&redigo.Dialer{Addr: "x:1", Source: &rediam.Signer{}, TLS: &tls.Config{}, Renewal: rediam.Renewal{After: 12 * time.Hour}}, []string{"11h30m"}},
	} {
		_, err := v.dialer.DialContext(t.Context())
		for _, want := range v.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", name, err, want)
			}
		}
	}
}

func TestFailuresComeBackToTheCallerInTime(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer silent.Close()
	stuck := make(chan struct{})
	t.Cleanup(func() { close(stuck) })
	for _, v := range []struct {
		name   string
		fault  emulator.Fault
		change func(*redigo.Dialer, *rediam.Signer)
		want   string
		cause  rediam.Cause
	}{
		{"throttled", emulator.Fault{SignIn: emulator.ErrThrottled}, nil, emulator.ErrThrottled, rediam.CauseThrottled},
		{"IAM is away", emulator.Fault{SignIn: emulator.ErrIAMUnavailable}, nil, emulator.ErrIAMUnavailable, rediam.CauseUnavailable},
		{"all is away", emulator.Fault{SignIn: emulator.ErrUnavailable}, nil, emulator.ErrUnavailable, rediam.CauseUnavailable},
		{"refused", emulator.Fault{}, func(_ *redigo.Dialer, s *rediam.Signer) { s.Cache = "payments" }, "WRONGPASS", rediam.CauseRefused},
		{"nobody answers", emulator.Fault{}, func(d *redigo.Dialer, _ *rediam.Signer) { d.Addr = silent.Addr().String() }, "deadline", rediam.CauseTimeout},
		{"AUTH is never answered", emulator.Fault{Latency: time.Minute}, nil, "", ""},
		{"a provider that blocks", emulator.Fault{}, func(_ *redigo.Dialer, s *rediam.Signer) {
			s.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { <-stuck; return aws.Credentials{}, nil })
		}, "no answer in time", rediam.CauseCredentials},
		{"a provider that panics", emulator.Fault{}, func(_ *redigo.Dialer, s *rediam.Signer) {
			s.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { panic("s3cr3t") })
		}, "panicked", rediam.CauseCredentials},
	} {
		must(t, srv.Fault("", v.fault))
		log := make(lines, 16)
		signIns := &rediam.SignIns{Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
		d := dialer(srv, func(d *redigo.Dialer, s *rediam.Signer) {
			if v.change != nil {
				v.change(d, s)
			}
			signIns.Source = s
			d.Source = signIns
		})
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		_, err := do(ctx, pool(t, d), "PING")
		cancel()
		if err == nil || !strings.Contains(err.Error(), v.want) || strings.Contains(err.Error(), "s3cr3t") || v.cause != "" && rediam.CauseOf(err) != v.cause {
			t.Errorf("%s: %v, want %q by %s", v.name, err, v.want, v.cause)
		}
		if output := log.until(t, "sign-in failed") + err.Error(); strings.Contains(output, "X-Amz-") {
			t.Errorf("%s: a token is in %q", v.name, output)
		}
		got := signIns.Counts()
		if v.cause == "" { // redigo may close the connection before its deadline has come
			v.cause = rediam.CauseTimeout
			got.Failures[v.cause] += got.Failures[rediam.CauseConnection]
		}
		if got.Failures[v.cause] != 1 || got.SignIns != 0 {
			t.Errorf("%s: Counts() = %+v, want one failure by %s", v.name, got, v.cause)
		}
	}
}

func TestNothingIsLeftOfAClosedPool(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	signIns := new(rediam.SignIns)
	d := dialer(srv, func(d *redigo.Dialer, s *rediam.Signer) {
		signIns.Source, signIns.AtOnce = s, 10
		d.Source = signIns
	})
	soak.LeavesNothing(t, func() {
		p := pool(t, d)
		c, err := p.GetContext(t.Context())
		must(t, err)
		for range 20 {
			c, err := p.GetContext(t.Context())
			must(t, err)
			defer c.Close()
		}
		must(t, p.Close())
		c.Close()
	})
	if got := signIns.Counts(); got.Connections != 0 || got.SignIns != 21 {
		t.Errorf("Counts() = %+v, want no connection", got)
	}
	if n := d.Open(); n != 0 {
		t.Errorf("%d connections are still known", n)
	}
}

// lines are those of a log, which may be written after the caller has been answered.
type lines chan string

func (l lines) Write(line []byte) (int, error) {
	l <- string(line)
	return len(line), nil
}

// until gives the lines up to the one that has the text.
func (l lines) until(t *testing.T, text string) (all string) {
	t.Helper()
	for !strings.Contains(all, text) {
		select {
		case line := <-l:
			all += line
		case <-time.After(time.Minute):
			t.Fatalf("%q does not come in the log: %q", text, all)
		}
	}
	return all
}
