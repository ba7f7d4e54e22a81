package rediam_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/emulator"
)

const wrongPass = "WRONGPASS invalid username-password pair or user is disabled."

var orders = rediam.Config{Host: "master.orders.abc123.euw1.cache.amazonaws.com", TLS: true, Username: "orders-app", AWSAuth: true, CacheName: "orders", Region: "eu-west-1"}

// with changes a copy of a configuration.
func with(c rediam.Config, change func(*rediam.Config)) rediam.Config {
	change(&c)
	return c
}

func TestExplainNamesTheLikeliestCauseFirst(t *testing.T) {
	for _, v := range []struct {
		name   string
		config rediam.Config
		err    error
		cause  rediam.Cause
		first  string // of the checks
		settle string
	}{
		{"refused", orders, errors.New(wrongPass), rediam.CauseRefused, "region", "rediam doctor --endpoint master.orders.abc123.euw1.cache.amazonaws.com:6379 --cache orders --user orders-app --region eu-west-1"},
		{"refused, wrapped as clients do", orders, fmt.Errorf("failed to authenticate: %w", errors.New(wrongPass)), rediam.CauseRefused, "region", "rediam doctor"},
		{"refused, and the endpoint is another cache's", with(orders, func(c *rediam.Config) { c.CacheName = "payments" }), errors.New(wrongPass), rediam.CauseRefused, `"orders"`, "--cache payments"},
		{"refused, and the endpoint is serverless", with(orders, func(c *rediam.Config) { c.Host = "orders-ab12cd.serverless.euw1.cache.amazonaws.com" }), errors.New(wrongPass), rediam.CauseRefused, "should be true", ""},
		{"refused, and the endpoint is not serverless", with(orders, func(c *rediam.Config) { c.Serverless = true }), errors.New(wrongPass), rediam.CauseRefused, "should be false", "--serverless"},
		{"refused, and the endpoint is MemoryDB's", with(orders, func(c *rediam.Config) { c.Host = "clustercfg.orders.abc123.memorydb.eu-west-1.amazonaws.com" }), errors.New(wrongPass), rediam.CauseRefused, "MemoryDB", ""},
		{"refused by MemoryDB", with(orders, func(c *rediam.Config) { c.Service = rediam.MemoryDB; c.Host = "localhost" }), errors.New(wrongPass), rediam.CauseRefused, "region", "--service memorydb"},
		{"refused with a password", rediam.Config{Host: "localhost", Username: "orders-app"}, errors.New(wrongPass), rediam.CauseRefused, "password", ""},
		{"no sign-in", orders, errors.New("NOAUTH Authentication required."), rediam.CauseNoAuth, "token source", "rediam doctor"},
		{"no permission", orders, errors.New("NOPERM User orders-app has no permissions to run the 'flushall' command"), rediam.CauseNoPerm, "access string of user orders-app", "aws elasticache describe-users --region eu-west-1"},
		{"throttled", orders, errors.New("ERR Exceeded limit of IAM Authentication requests"), rediam.CauseThrottled, "rediam.Limit", ""},
		{"IAM is away", orders, errors.New("ERR IAM Authentication service is not available."), rediam.CauseUnavailable, "try again", ""},
		{"all is away", orders, errors.New("ERR service is not available"), rediam.CauseUnavailable, "try again", ""},
		{"too many clients", orders, errors.New("ERR max number of clients reached"), rediam.CauseUnavailable, "limit of connections", ""},
		{"no credentials", orders, fmt.Errorf("redis: %w", &rediam.CredentialsError{Err: errors.New("none")}), rediam.CauseCredentials, "AWS_ACCESS_KEY_ID", "aws sts get-caller-identity"},
		{"no answer", orders, context.DeadlineExceeded, rediam.CauseTimeout, "security group", "openssl s_client -connect master.orders"},
		{"cut", orders, fmt.Errorf("read: %w", io.EOF), rediam.CauseConnection, "12 hours", "openssl"},
		{"nobody listens", orders, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}, rediam.CauseConnection, "nothing listens", "openssl"},
		{"the pool is empty", orders, errors.New("redis: connection pool timeout"), rediam.CauseTimeout, "security group", ""},
		{"the other side complains", orders, &net.OpError{Op: "remote error", Err: errors.New("tls: protocol version not supported")}, rediam.CauseTLS, "authority", ""},
		{"no TLS there", orders, tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}, rediam.CauseTLS, "authority", "openssl"},
	} {
		var e *rediam.Explanation
		if err := v.config.Explain(v.err); !errors.As(err, &e) || !errors.Is(err, v.err) {
			t.Errorf("%s: Explain() = %v, want an explanation of the error", v.name, err)
			continue
		}
		if e.Cause != v.cause || !strings.Contains(e.Checks[0], v.first) || !strings.Contains(e.Settle, v.settle) {
			t.Errorf("%s: cause %s, first %q, settle %q, want %s, %q, %q", v.name, e.Cause, e.Checks[0], e.Settle, v.cause, v.first, v.settle)
		}
	}
}

func TestExplainLeavesAloneWhatItDoesNotKnow(t *testing.T) {
	unknown := errors.New("ERR value is not an integer or out of range")
	if got := orders.Explain(unknown); got != unknown {
		t.Errorf("Explain() = %v, want the error itself", got)
	}
	if got := orders.Explain(nil); got != nil {
		t.Errorf("Explain(nil) = %v", got)
	}
}

// A secret may stand in the wrong variable, and a command is there to be pasted.
func TestExplainShowsNothingThatIsNotAName(t *testing.T) {
	bad := "x; rm -rf ~ $(id) " + secret
	for _, text := range []string{wrongPass, "NOPERM", "NOAUTH", "i/o timeout"} {
		err := error(errors.New(text))
		if text == "i/o timeout" {
			err = context.DeadlineExceeded
		}
		config := rediam.Config{Host: bad, Username: bad, Password: bad, CacheName: bad, Region: bad, Service: rediam.Service(bad), AWSAuth: true}
		if got := config.Explain(err).Error(); strings.Contains(got, secret) || strings.Contains(got, "$(id)") {
			t.Errorf("Explain(%s) shows what was in the configuration: %s", text, got)
		}
	}
}

// The errors are those that a client really gets.
func TestExplainKnowsTheErrorsOfAClient(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	cache := srv.Cache(emulator.DefaultCache)
	signer := func(change func(*rediam.Signer)) *rediam.Signer {
		s := &rediam.Signer{Cache: cache.Name, User: emulator.DefaultUser, Region: srv.Region(), Credentials: srv.Credentials(emulator.DefaultRole), Now: srv.Now}
		change(s)
		return s
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for _, v := range []struct {
		name  string
		addr  string
		tls   *tls.Config
		src   rediam.TokenSource
		cause rediam.Cause
	}{
		{"another cache's token", cache.Addr, cache.TLS, signer(func(s *rediam.Signer) { s.Cache = "payments" }), rediam.CauseRefused},
		{"an unknown authority", cache.Addr, &tls.Config{ServerName: "localhost"}, signer(func(*rediam.Signer) {}), rediam.CauseTLS},
		{"another host's certificate", cache.Addr, &tls.Config{ServerName: "example.com", RootCAs: cache.TLS.RootCAs}, signer(func(*rediam.Signer) {}), rediam.CauseTLS},
		{"no TLS", cache.Addr, nil, signer(func(*rediam.Signer) {}), rediam.CauseConnection},
		{"nobody there", "127.0.0.1:1", cache.TLS, signer(func(*rediam.Signer) {}), rediam.CauseConnection},
		{"nobody answers", silent.Addr().String(), cache.TLS, signer(func(*rediam.Signer) {}), rediam.CauseTimeout},
		{"no credentials", cache.Addr, cache.TLS, signer(func(s *rediam.Signer) { s.Credentials = srv.Credentials("nobody") }), rediam.CauseCredentials},
	} {
		timeout := 10 * time.Second
		if v.cause == rediam.CauseTimeout {
			timeout = 100 * time.Millisecond
		}
		client := redis.NewClient(&redis.Options{Addr: v.addr, TLSConfig: v.tls, CredentialsProviderContext: rediam.BasicAuth(v.src),
			MaxRetries: -1, DialerRetries: 1, DialTimeout: timeout})
		err := client.Ping(t.Context()).Err()
		client.Close()
		var e *rediam.Explanation
		if !errors.As(orders.Explain(err), &e) || e.Cause != v.cause {
			t.Errorf("%s: %v is explained by %+v, want cause %s", v.name, err, e, v.cause)
		}
	}
}
