package goredis_test

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/redis/go-redis/v9"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/emulator"
	"github.com/rediam/rediam/goredis"
)

const patience = 10 * time.Second

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// signer signs for the default cache of an emulator.
func signer(srv *emulator.Server) *rediam.Signer {
	return &rediam.Signer{Cache: emulator.DefaultCache, User: emulator.DefaultUser, Region: srv.Region(), Credentials: srv.Credentials(emulator.DefaultRole), Now: srv.Now}
}

type configure = func(*redis.Options, rediam.TokenSource, rediam.Renewal) error

// ways are those in which a client can be kept signed in.
var ways = map[string]configure{"recycling": goredis.Configure[redis.Options], "streaming": goredis.Stream[redis.Options]}

// newClient is a client that is closed with the test.
func newClient(t *testing.T, srv *emulator.Server, way configure, src rediam.TokenSource, renewal rediam.Renewal, change func(*redis.Options)) *redis.Client {
	t.Helper()
	cache := srv.Cache(emulator.DefaultCache)
	o := &redis.Options{Addr: cache.Addr, TLSConfig: cache.TLS, DialerRetries: 1}
	if change != nil {
		change(o)
	}
	must(t, way(o, src, renewal))
	client := redis.NewClient(o)
	t.Cleanup(func() { client.Close() })
	return client
}

func TestConfigureSetsWhatEachKindOfClientNeeds(t *testing.T) {
	renewal := rediam.Renewal{After: 10 * time.Hour, Spread: time.Hour}
	src := &rediam.Signer{}
	single, cluster, universal := &redis.Options{TLSConfig: &tls.Config{}}, &redis.ClusterOptions{TLSConfig: &tls.Config{}}, &redis.UniversalOptions{TLSConfig: &tls.Config{}}
	must(t, errors.Join(goredis.Configure(single, src, renewal), goredis.Configure(cluster, src, renewal), goredis.Configure(universal, src, renewal)))
	for _, o := range []any{*single, *cluster, *universal} {
		v := reflect.ValueOf(o)
		for _, name := range []string{"CredentialsProviderContext", "Dialer"} {
			if v.FieldByName(name).IsNil() {
				t.Errorf("%T has no %s", o, name)
			}
		}
		if life, jitter := v.FieldByName("ConnMaxLifetime").Int(), v.FieldByName("ConnMaxLifetimeJitter").Int(); life != int64(10*time.Hour) || jitter != int64(time.Hour) {
			t.Errorf("%T has lifetime %v and jitter %v", o, time.Duration(life), time.Duration(jitter))
		}
	}
	late := &redis.Options{TLSConfig: &tls.Config{}, ConnMaxLifetime: 9 * time.Hour, ConnMaxLifetimeJitter: 9 * time.Hour}
	must(t, goredis.Configure(late, src, renewal))
	if late.ConnMaxLifetimeJitter != time.Hour {
		t.Errorf("a lifetime of 9h ± 9h became %v ± %v", late.ConnMaxLifetime, late.ConnMaxLifetimeJitter)
	}
	if goredis.Configure[redis.Options](nil, src, renewal) == nil || goredis.Stream[redis.Options](nil, src, renewal) == nil {
		t.Error("no options were configured")
	}
	short := &redis.Options{TLSConfig: &tls.Config{}, ConnMaxLifetime: time.Hour, ConnMaxLifetimeJitter: time.Minute}
	must(t, goredis.Configure(short, src, renewal))
	if short.ConnMaxLifetime != time.Hour || short.ConnMaxLifetimeJitter != time.Minute {
		t.Errorf("a lifetime of 1h ± 1m became %v ± %v", short.ConnMaxLifetime, short.ConnMaxLifetimeJitter)
	}
	for _, way := range []error{goredis.Stream(&redis.ClusterOptions{TLSConfig: &tls.Config{}}, src, renewal), goredis.Stream(&redis.UniversalOptions{TLSConfig: &tls.Config{}}, src, renewal)} {
		must(t, way)
	}
}

func TestRefusesWhatCannotWork(t *testing.T) {
	provider := func(context.Context) (string, string, error) { return "", "", nil }
	for name, way := range ways {
		for _, v := range []struct {
			name    string
			options redis.Options
			src     rediam.TokenSource
			renewal rediam.Renewal
			want    []string
		}{
			{"a password", redis.Options{Password: "s3cr3t", TLSConfig: &tls.Config{}}, &rediam.Signer{}, rediam.Renewal{}, []string{"static password"}},
			{"no TLS", redis.Options{}, &rediam.Signer{}, rediam.Renewal{}, []string{"no TLS"}},
			{"TLS that verifies nothing", redis.Options{TLSConfig: unverified()}, &rediam.Signer{}, rediam.Renewal{}, []string{"does not verify"}},
			{"another provider", redis.Options{TLSConfig: &tls.Config{}, CredentialsProviderContext: provider}, &rediam.Signer{}, rediam.Renewal{}, []string{"provider already"}},
			{"no source", redis.Options{TLSConfig: &tls.Config{}}, nil, rediam.Renewal{}, []string{"no token source"}},
			{"a renewal too late", redis.Options{TLSConfig: &tls.Config{}}, &rediam.Signer{}, rediam.Renewal{After: 12 * time.Hour}, []string{"11h30m"}},
			{"all at once", redis.Options{Password: "s3cr3t"}, nil, rediam.Renewal{After: -1}, []string{"static password", "no TLS", "no token source", "negative"}},
		} {
			err := way(&v.options, v.src, v.renewal)
			if err == nil || strings.Contains(err.Error(), "s3cr3t") {
				t.Errorf("%s with %s: %v", name, v.name, err)
				continue
			}
			for _, want := range v.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%s with %s: %v, want %q", name, v.name, err, want)
				}
			}
			if v.options.Dialer != nil || v.options.StreamingCredentialsProvider != nil || v.options.ConnMaxLifetime != 0 {
				t.Errorf("%s with %s: refused, and changed", name, v.name)
			}
		}
	}
}

// unverified is what nobody should have.
func unverified() *tls.Config {
	c := &tls.Config{}
	c.InsecureSkipVerify = true
	return c
}

// idle is more than what it takes for a connection to count as such.
const idle = 20 * time.Millisecond

// A connection that was closed while it was idle costs no command, though none is
// tried again here.
func TestNoticesConnectionsThatWereClosedWhileIdle(t *testing.T) {
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			srv := emulator.Start(t)
			signIns := rediam.Limit(signer(srv), 5)
			client := newClient(t, srv, way, signIns, rediam.Renewal{}, func(o *redis.Options) {
				o.MaxRetries, o.PoolSize, o.MinIdleConns = -1, 20, 20
				o.DialerRetries = 0 // as by default: the pool may be dialling when all is cut
			})
			for round := range 3 {
				for deadline := time.Now().Add(patience); client.PoolStats().IdleConns < 20; {
					must(t, client.Ping(t.Context()).Err())
					if time.Now().After(deadline) {
						t.Fatalf("the pool has %d idle connections, want 20", client.PoolStats().IdleConns)
					}
				}
				<-time.After(idle)
				if _, err := srv.Cut("", -1); err != nil {
					t.Fatal(err)
				}
				if err := client.Ping(t.Context()).Err(); err != nil {
					t.Fatalf("round %d: the first command after the cut: %v", round, err)
				}
			}
		})
	}
}

func TestEachOfAWSsErrorsComesBackToTheCaller(t *testing.T) {
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
			for text, cause := range map[string]rediam.Cause{
				emulator.ErrIAMUnavailable: rediam.CauseUnavailable,
				emulator.ErrThrottled:      rediam.CauseThrottled,
				emulator.ErrUnavailable:    rediam.CauseUnavailable,
				"WRONGPASS invalid username-password pair or user is disabled.": rediam.CauseRefused,
			} {
				must(t, srv.Fault("", emulator.Fault{SignIn: text}))
				signIns := rediam.Follow(signer(srv))
				client := newClient(t, srv, way, signIns, rediam.Renewal{}, nil)
				if err := client.Ping(t.Context()).Err(); err == nil || !strings.Contains(err.Error(), text) {
					t.Errorf("PING = %v, want %q", err, text)
				}
				if got := signIns.Counts(); got.Failures[cause] == 0 || got.SignIns != 0 || got.Connections != 0 {
					t.Errorf("after %q the counts are %+v", text, got)
				}
			}
		})
	}
}

// What other callers wait for is not in the way of what the service says.
func TestARefusalIsCountedOnceAndSaidToEveryCaller(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	must(t, srv.Fault("", emulator.Fault{SignIn: emulator.ErrThrottled, Latency: 10 * time.Millisecond}))
	signIns := rediam.Limit(signer(srv), 1)
	client := newClient(t, srv, goredis.Configure[redis.Options], signIns, rediam.Renewal{}, func(o *redis.Options) { o.MaxRetries = -1 })
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if err := client.Ping(t.Context()).Err(); err == nil || !strings.Contains(err.Error(), emulator.ErrThrottled) {
				t.Errorf("PING = %v, want that of the service", err)
			}
		})
	}
	all.Wait()
	if got := signIns.Counts().Failures; len(got) != 1 || got[rediam.CauseThrottled] != int64(len(srv.Events())) {
		t.Errorf("failures %v, and the service has refused %d sign-ins", got, len(srv.Events()))
	}
}

func TestASourceThatMisbehavesIsAnErrorOfTheCommand(t *testing.T) {
	stuck := make(chan struct{})
	t.Cleanup(func() { close(stuck) })
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	for name, way := range ways {
		for _, v := range []struct {
			name     string
			provider aws.CredentialsProvider
			want     string
		}{
			{"nil", nil, "no Credentials"},
			{"one that blocks", function(func() (aws.Credentials, error) { <-stuck; return aws.Credentials{}, nil }), "no answer in time"},
			{"one that panics", function(func() (aws.Credentials, error) { panic("s3cr3t") }), "panicked"},
			{"one that fails", function(func() (aws.Credentials, error) { return aws.Credentials{}, errors.New("no role today") }), "no role today"},
			{"one whose credentials have expired", function(func() (aws.Credentials, error) {
				return aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: "s3cr3t", CanExpire: true, Expires: time.Now().Add(-time.Minute)}, nil
			}), "expired"},
			{"one with empty credentials", function(func() (aws.Credentials, error) { return aws.Credentials{}, nil }), "no access key"},
		} {
			s := signer(srv)
			s.Credentials = v.provider
			client := newClient(t, srv, way, s, rediam.Renewal{}, func(o *redis.Options) {
				if o.MaxRetries = -1; v.name == "one that blocks" { // until a dial has taken too long
					o.DialTimeout = time.Second
				}
			})
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			err := client.Ping(ctx).Err()
			if err == nil || !strings.Contains(err.Error(), v.want) || strings.Contains(err.Error(), "s3cr3t") || ctx.Err() != nil {
				t.Errorf("%s with %s: %v, want %q", name, v.name, err, v.want)
			}
			cancel()
		}
	}
}

func function(f func() (aws.Credentials, error)) aws.CredentialsProvider {
	return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return f() })
}

// A dialler of the program's own opens what TLS runs over; TLS of its own must
// verify.
func TestADialerOfTheProgramIsUsed(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	trust := srv.Cache(emulator.DefaultCache).TLS
	for _, v := range []struct {
		name string
		dial func(ctx context.Context, network, addr string) (net.Conn, error)
		want string // of the error
	}{
		{"TCP", new(net.Dialer).DialContext, ""},
		{"TLS", (&tls.Dialer{Config: trust}).DialContext, ""},
		{"TLS that verifies nothing", (&tls.Dialer{Config: unverified()}).DialContext, "verified"},
		{"an error", func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no route today") }, "no route today"},
	} {
		used := 0
		client := newClient(t, srv, goredis.Configure[redis.Options], signer(srv), rediam.Renewal{}, func(o *redis.Options) {
			o.MaxRetries = -1
			o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
				used++
				return v.dial(ctx, network, addr)
			}
		})
		err := client.Ping(t.Context()).Err()
		if used == 0 || (err == nil) != (v.want == "") || err != nil && !strings.Contains(err.Error(), v.want) {
			t.Errorf("%s: used %d times, PING = %v, want %q", v.name, used, err, v.want)
		}
	}
}

func TestNoSecretIsInAnyOutput(t *testing.T) {
	for name, way := range ways {
		var log strings.Builder
		srv := emulator.Start(t, emulator.Config{Engine: "embedded", TokenTTL: 15 * time.Minute})
		signIns := &rediam.SignIns{Source: signer(srv), Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
		client := newClient(t, srv, way, signIns, rediam.Renewal{}, nil)
		must(t, client.Ping(t.Context()).Err())
		must(t, srv.Fault("", emulator.Fault{SignIn: emulator.ErrThrottled}))
		<-time.After(idle)
		if _, err := srv.Cut("", -1); err != nil {
			t.Fatal(err)
		}
		err := client.Ping(t.Context()).Err()
		if err == nil {
			t.Fatal("a sign-in that is refused")
		}
		for _, output := range []string{log.String(), err.Error()} {
			if strings.Contains(output, "X-Amz-") || output == "" {
				t.Errorf("%s: a token, or nothing, is in %q", name, output)
			}
		}
	}
}
