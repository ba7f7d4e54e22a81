package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/internal/proxy"
	"github.com/rediam/rediam/metrics"
)

type proxyCommand struct {
	target         `embed:""`
	Listen         string        `default:"127.0.0.1:6379" placeholder:"HOST:PORT" help:"Where clients connect, without TLS and without a password."`
	UnsafeListen   bool          `help:"Let --listen and --admin be more than loopback: whoever can reach them can use the cache as the user."`
	RenewAfter     time.Duration `placeholder:"DURATION" help:"Age at which a connection signs in again. Default: 9h."`
	RenewSpread    time.Duration `placeholder:"DURATION" help:"How much sooner or later that may be. Default: 2/9 of --renew-after."`
	SignInsAtOnce  int           `default:"20" placeholder:"N" help:"How many connections may sign in at one time; the others wait."`
	ConnectTimeout time.Duration `default:"10s" help:"How long a client is held until its connection is signed in, or told why not."`
	Admin          string        `placeholder:"HOST:PORT" help:"Where /metrics and /livez are served over HTTP. Default: nowhere."`
}

func (proxyCommand) Help() string {
	return `Each connection of a client gets one to the cache, over TLS and signed in with IAM, which is renewed
in place for as long as it lives. The client's own AUTH is accepted, whatever it says, and not passed on.

Example:

  rediam proxy --cache orders --user orders-app --endpoint master.orders.abc123.euw1.cache.amazonaws.com:6379 &
  redis-cli PING`
}

func (c *proxyCommand) Run(ctx context.Context, t *terminal) error {
	config, err := c.config()
	if err != nil {
		return usageError{err}
	}
	if config.Host == "" {
		return usageError{hinted{errors.New("no endpoint: where is the cache?"), "give --endpoint HOST:PORT, or REDIAM_ENDPOINT"}}
	}
	renewal, err := rediam.Renewal{After: c.RenewAfter, Spread: c.RenewSpread}.Resolve()
	if err != nil {
		return usageError{err}
	}
	trust, err := c.trust()
	if err != nil {
		return usageError{err}
	}
	probe, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	signer, err := c.signer(probe, config)
	if err != nil {
		return err
	}
	if err := rediam.Probe(probe, signer); err != nil {
		return explain(err)
	}
	signIns := rediam.Limit(signer, c.SignInsAtOnce) // whose failures the proxy logs, with the client
	p := &proxy.Proxy{Addr: config.Addr(), TLS: trust, SignIns: signIns, Renewal: renewal, ConnectTime: c.ConnectTimeout, Log: t.log}
	return c.serve(ctx, t, p)
}

// trust is whose certificates the cache may have.
func (t *target) trust() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.CA == "" {
		return config, nil
	}
	pem, err := os.ReadFile(t.CA)
	if err != nil {
		return nil, fmt.Errorf("--ca: %w", err)
	}
	config.RootCAs = x509.NewCertPool()
	if !config.RootCAs.AppendCertsFromPEM(pem) {
		return nil, errors.New("--ca: the file holds no certificate in PEM form")
	}
	return config, nil
}

func (c *proxyCommand) serve(ctx context.Context, t *terminal, p *proxy.Proxy) error {
	listener, err := c.open(c.Listen)
	if err != nil {
		return err
	}
	defer listener.Close()
	if c.Admin != "" {
		admin, err := c.open(c.Admin)
		if err != nil {
			return err
		}
		server := &http.Server{Handler: adminPages(p), ReadHeaderTimeout: 10 * time.Second}
		go server.Serve(admin)
		defer server.Close()
	}
	t.say("proxy ready: %s is %s as %s; stop it with Ctrl-C", listener.Addr(), p.Addr, c.User)
	return p.Serve(ctx, listener)
}

// open listens on a loopback address, or on another one if that is said.
func (c *proxyCommand) open(address string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, usageError{fmt.Errorf("%s is not HOST:PORT", address)}
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) && !c.UnsafeListen {
		return nil, usageError{hinted{fmt.Errorf("%s is not a loopback address: whoever could reach it could use the cache", address), "--unsafe-listen allows it"}}
	}
	return net.Listen("tcp", address)
}

// adminPages are for operators and for whatever restarts programs.
func adminPages(p *proxy.Proxy) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(metrics.New(p.SignIns))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	return mux
}
