package valkeygo_test

import (
	"bytes"
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
	"github.com/valkey-io/valkey-go"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/emulator"
	"github.com/rediam/rediam/internal/soak"
	"github.com/rediam/rediam/valkeygo"
)

const patience = 10 * time.Second

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func signer(srv *emulator.Server) *rediam.Signer {
	return &rediam.Signer{Cache: emulator.DefaultCache, User: emulator.DefaultUser, Region: srv.Region(), Credentials: srv.Credentials(emulator.DefaultRole), Now: srv.Now}
}

// option is for one connection that all commands share, which the embedded engine
// takes too.
func option(srv *emulator.Server) valkey.ClientOption {
	cache := srv.Cache(emulator.DefaultCache)
	return valkey.ClientOption{InitAddress: []string{cache.Addr}, TLSConfig: cache.TLS, ForceSingleClient: true, DisableCache: true, PipelineMultiplex: -1}
}

func newClient(t *testing.T, o valkey.ClientOption, src rediam.TokenSource, renewal rediam.Renewal) valkey.Client {
	t.Helper()
	must(t, valkeygo.Configure(&o, src, renewal))
	client, err := valkey.NewClient(o)
	must(t, err)
	t.Cleanup(client.Close)
	return client
}

func do(ctx context.Context, client valkey.CoreClient, words ...string) valkey.ValkeyResult {
	return client.Do(ctx, client.B().Arbitrary(words...).Build())
}

// number is that of the connection, in the engine.
func number(t *testing.T, client valkey.Client) int64 {
	t.Helper()
	id, err := do(t.Context(), client, "CLIENT", "ID").AsInt64()
	must(t, err)
	return id
}

func TestRenewsInPlacePastManyLivesOfAConnection(t *testing.T) {
	t.Parallel()
	srv := emulator.Start(t, emulator.Config{TokenTTL: 6 * time.Second, ConnectionTTL: 4 * time.Second})
	signIns := rediam.Follow(signer(srv))
	client := newClient(t, option(srv), signIns, rediam.Renewal{After: 1500 * time.Millisecond})
	received := make(chan string, 1000)
	ctx, cancel := context.WithCancel(t.Context())
	subscribed := make(chan error, 1)
	go func() {
		subscribed <- client.Receive(ctx, client.B().Subscribe().Channel("news").Build(), func(m valkey.PubSubMessage) { received <- m.Message })
	}()
	id := number(t, client)
	end := time.After(12 * time.Second)
	published := int64(0)
	for n, running := int64(1), true; running; n++ {
		if got, err := do(ctx, client, "INCR", "n").AsInt64(); err != nil || got != n {
			t.Fatalf("INCR = %d, %v, want %d", got, err, n)
		}
		listeners, err := do(ctx, client, "PUBLISH", "news", "hello").AsInt64()
		must(t, err)
		published += listeners
		select {
		case <-end:
			running = false
		case <-time.After(20 * time.Millisecond):
		}
	}
	for range published {
		select {
		case <-received:
		case <-time.After(patience):
			t.Fatal("a message is lost")
		}
	}
	if got := number(t, client); got != id {
		t.Errorf("the connection is number %d, want %d still", got, id)
	}
	cancel()
	<-subscribed
	if got := signIns.Counts(); got.SignIns > 2 || got.Renewals < 4 || len(got.Failures) > 0 || published < 100 {
		t.Errorf("Counts() = %+v, and %d messages; want at least 4 renewals", got, published)
	}
}

// An outage of whatever gives credentials closes nothing.
func TestRenewsAgainAfterFiveMinutesWithoutCredentials(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{ConnectionTTL: 10 * time.Minute})
	var down atomic.Bool
	s := signer(srv)
	s.Credentials = aws.CredentialsProviderFunc(func(ctx context.Context) (aws.Credentials, error) {
		if down.Load() {
			return aws.Credentials{}, errors.New("no credentials today")
		}
		return srv.Credentials(emulator.DefaultRole).Retrieve(ctx)
	})
	signIns := rediam.Follow(s)
	client := newClient(t, option(srv), signIns, rediam.Renewal{After: 100 * time.Millisecond})
	id := number(t, client)
	until := func(what string, done func(rediam.Counts) bool) {
		t.Helper()
		for deadline := time.Now().Add(patience); !done(signIns.Counts()); {
			must(t, do(t.Context(), client, "PING").Error())
			if time.Now().After(deadline) {
				t.Fatalf("no %s: %+v", what, signIns.Counts())
			}
		}
	}
	down.Store(true)
	until("failed renewals", func(c rediam.Counts) bool { return c.Failures[rediam.CauseCredentials] >= 3 })
	srv.Advance(5 * time.Minute)
	must(t, do(t.Context(), client, "PING").Error())
	down.Store(false)
	before := signIns.Counts().Renewals
	until("renewal", func(c rediam.Counts) bool { return c.Renewals >= before+2 })
	srv.Advance(9 * time.Minute) // 14 since it was opened
	if got := number(t, client); got != id {
		t.Errorf("the connection is number %d, want %d still", got, id)
	}
}

// A refusal by the service closes the connection inside valkey-go, which opens
// another: it is counted, and no read fails.
func TestARefusedRenewalIsCountedAndReadsGoOn(t *testing.T) {
	srv := emulator.Start(t)
	signIns := rediam.Follow(signer(srv))
	client := newClient(t, option(srv), signIns, rediam.Renewal{After: 300 * time.Millisecond})
	id := number(t, client)
	must(t, do(t.Context(), client, "SET", "foo1", "bar1").Error())
	read := func() {
		t.Helper()
		if got, err := client.Do(t.Context(), client.B().Get().Key("foo1").Build()).ToString(); err != nil || got != "bar1" {
			t.Fatalf("GET = %q, %v", got, err)
		}
	}
	refusals := func() int64 { return signIns.Counts().Failures[rediam.CauseThrottled] }
	must(t, srv.Fault("", emulator.Fault{SignIn: emulator.ErrThrottled}))
	for refusals() == 0 {
		select {
		case <-time.After(time.Millisecond):
		case <-t.Context().Done():
			t.Fatal("no renewal was refused")
		}
	}
	must(t, srv.Fault("", emulator.Fault{}))
	for range 100 {
		read()
	}
	if got := number(t, client); got == id {
		t.Error("the connection is the same: valkey-go no longer closes one whose renewal is refused; say so in the documentation")
	}
}

func TestRefusesWhatCannotWork(t *testing.T) {
	unverified := &tls.Config{}
	unverified.InsecureSkipVerify = true
	provider := func(valkey.AuthCredentialsContext) (valkey.AuthCredentials, error) {
		return valkey.AuthCredentials{}, nil
	}
	for name, v := range map[string]struct {
		option  valkey.ClientOption
		src     rediam.TokenSource
		renewal rediam.Renewal
		want    []string
	}{
		"a password":                        {valkey.ClientOption{Password: "s3cr3t", TLSConfig: &tls.Config{}}, &rediam.Signer{}, rediam.Renewal{}, []string{"static password"}},
		"no TLS":                            {valkey.ClientOption{}, &rediam.Signer{}, rediam.Renewal{}, []string{"no TLS"}},
		"TLS that verifies nothing":         {valkey.ClientOption{TLSConfig: unverified}, &rediam.Signer{}, rediam.Renewal{}, []string{"does not verify"}},
		"RESP2":                             {valkey.ClientOption{AlwaysRESP2: true, TLSConfig: &tls.Config{}}, &rediam.Signer{}, rediam.Renewal{}, []string{"AlwaysRESP2"}},
		"another source":                    {valkey.ClientOption{TLSConfig: &tls.Config{}, AuthCredentialsFn: provider}, &rediam.Signer{}, rediam.Renewal{}, []string{"AuthCredentialsFn already"}},
		"a renewal too late, and no source": {valkey.ClientOption{TLSConfig: &tls.Config{}}, nil, rediam.Renewal{After: 12 * time.Hour}, []string{"11h30m", "no token source"}},
	} {
		err := valkeygo.Configure(&v.option, v.src, v.renewal)
		for _, want := range v.want {
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cr3t") {
				t.Errorf("%s: %v, want %q", name, err, want)
			}
		}
		if v.option.DialCtxFn != nil {
			t.Errorf("%s: refused, and changed", name)
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
		fault  string
		change func(*valkey.ClientOption, *rediam.Signer)
		want   string
		cause  rediam.Cause
	}{
		{"throttled", emulator.ErrThrottled, nil, emulator.ErrThrottled[4:], rediam.CauseThrottled},
		{"IAM is away", emulator.ErrIAMUnavailable, nil, emulator.ErrIAMUnavailable[4:], rediam.CauseUnavailable},
		{"all is away", emulator.ErrUnavailable, nil, emulator.ErrUnavailable[4:], rediam.CauseUnavailable},
		{"refused", "", func(_ *valkey.ClientOption, s *rediam.Signer) { s.Cache = "payments" }, "WRONGPASS", rediam.CauseRefused},
		{"nobody answers", "", func(o *valkey.ClientOption, _ *rediam.Signer) { o.InitAddress[0] = silent.Addr().String() }, "deadline", rediam.CauseTimeout},
		{"a provider that blocks", "", func(_ *valkey.ClientOption, s *rediam.Signer) {
			s.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { <-stuck; return aws.Credentials{}, nil })
		}, "no answer in time", rediam.CauseCredentials},
		{"a provider that panics", "", func(_ *valkey.ClientOption, s *rediam.Signer) {
			s.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { panic("s3cr3t") })
		}, "panicked", rediam.CauseCredentials},
	} {
		must(t, srv.Fault("", emulator.Fault{SignIn: v.fault}))
		s, o := signer(srv), option(srv)
		o.Dialer.Timeout = 200 * time.Millisecond
		if v.change != nil {
			v.change(&o, s)
		}
		var log bytes.Buffer
		signIns := &rediam.SignIns{Source: s, Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
		must(t, valkeygo.Configure(&o, signIns, rediam.Renewal{}))
		client, err := valkey.NewClient(o)
		if err == nil {
			client.Close()
		}
		if err == nil || !strings.Contains(err.Error(), v.want) || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%s: %v, want %q", v.name, err, v.want)
		}
		if err != nil && strings.Contains(log.String()+err.Error(), "X-Amz-") || !strings.Contains(log.String(), "sign-in failed") {
			t.Errorf("%s: a token, or nothing, is in %q", v.name, log.String())
		}
		if got := signIns.Counts(); got.Failures[v.cause] == 0 || got.SignIns != 0 || got.Connections != 0 {
			t.Errorf("%s: Counts() = %+v, want a failure by %s", v.name, got, v.cause)
		}
	}
}

func TestADialerOfTheProgramIsUsed(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	used := 0
	for name, set := range map[string]func(*valkey.ClientOption){
		"DialCtxFn": func(o *valkey.ClientOption) {
			o.DialCtxFn = func(ctx context.Context, addr string, d *net.Dialer, _ *tls.Config) (net.Conn, error) {
				used++
				return d.DialContext(ctx, "tcp", addr)
			}
		},
		"DialFn": func(o *valkey.ClientOption) {
			o.DialFn = func(addr string, d *net.Dialer, _ *tls.Config) (net.Conn, error) {
				used++
				return d.Dial("tcp", addr)
			}
		},
	} {
		o := option(srv)
		set(&o)
		used = 0
		client := newClient(t, o, signer(srv), rediam.Renewal{})
		if err := do(t.Context(), client, "PING").Error(); err != nil || used == 0 {
			t.Errorf("%s was used %d times, PING = %v", name, used, err)
		}
	}
}

func TestNothingIsLeftOfAClosedClient(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	signIns := rediam.Limit(signer(srv), 3)
	soak.LeavesNothing(t, func() {
		o := option(srv)
		must(t, valkeygo.Configure(&o, signIns, rediam.Renewal{After: 50 * time.Millisecond}))
		client, err := valkey.NewClient(o)
		must(t, err)
		for signIns.Counts().Renewals < 3 {
			must(t, do(t.Context(), client, "PING").Error())
		}
		client.Close()
	})
	if got := signIns.Counts(); got.Connections != 0 {
		t.Errorf("Counts() = %+v, want no connection", got)
	}
}
