package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/internal/proxy"
	"github.com/rediam/rediam/password"
)

const (
	// maxPassword is what Redis takes of an argument before a sign-in.
	maxPassword = 16384
	// maxSocketPath is what every system has room for.
	maxSocketPath = 103
)

type proxyCommand struct {
	place             `embed:""`
	Targets           []string      `arg:"" optional:"" name:"target" help:"Several caches: 'CACHE?listen=HOST:PORT&endpoint=…' for each, with the names of the target flags, listen and unix as keys."`
	UnixMode          string        `default:"0600" placeholder:"MODE" help:"Who may connect to the Unix sockets, in octal."`
	UnsafeListen      bool          `help:"Let --listen be more than loopback: whoever can reach it can use the cache as the user."`
	LocalPasswordFile string        `placeholder:"FILE" help:"File with the password that clients have to give, under any user name. Default: they need none."`
	MaxConnections    int           `placeholder:"N" help:"How many clients each target may have; more are refused. Default: any number."`
	IdleTimeout       time.Duration `placeholder:"DURATION" help:"Close a client that has neither asked nor waited for anything for so long. Default: never."`
	Drain             time.Duration `default:"10s" help:"How long clients may stay after SIGTERM. A second signal ends at once."`
	RenewAfter        time.Duration `placeholder:"DURATION" help:"Age at which a connection signs in again. Default: 9h."`
	RenewSpread       time.Duration `placeholder:"DURATION" help:"How much sooner or later that may be. Default: 2/9 of --renew-after."`
	SignInsAtOnce     int           `default:"20" placeholder:"N" help:"How many connections may sign in at one time; the others wait."`
	ConnectTimeout    time.Duration `default:"10s" help:"How long a client is held until its connection is signed in, or told why not."`
	Spare             int           `default:"32" placeholder:"N" help:"How many connections to each cache wait, signed in, for another client when theirs has gone and has left nothing behind; 0 keeps none."`
	Admin             string        `placeholder:"HOST:PORT" help:"Where /startup, /livez, /readyz and /metrics are served over HTTP. Default: nowhere."`
	Driver            string        `placeholder:"NAME" help:"What moves the bytes: loop, on Linux alone, or goroutines. Default: loop on Linux."`
	Check             bool          `help:"Sign in to each target once, say what came of it, and exit."`
}

// place is a target and where clients find it.
type place struct {
	target `embed:""`
	Listen string `placeholder:"HOST:PORT" help:"Where clients connect, without TLS. Default: 127.0.0.1:6379, unless --unix is given."`
	Unix   string `placeholder:"PATH" help:"Unix socket at which clients connect."`
	Secret string `placeholder:"ID" help:"Name or ARN of a secret in Secrets Manager: sign in with its user and password, or its AUTH token, instead of IAM. --cache is then but a name, and --user who signs in if the secret does not say."`
}

func (proxyCommand) Help() string {
	return `Each connection of a client gets one to the cache, over TLS and signed in with IAM, which is renewed
in place for as long as it lives. The client's own AUTH is not passed on.

Example:

  rediam proxy --cache orders --user orders-app --endpoint master.orders.abc123.euw1.cache.amazonaws.com:6379 &
  redis-cli PING

With --secret it signs in with a password instead, and goes on while that is rotated:

  rediam proxy --secret orders/app --endpoint master.orders.abc123.euw1.cache.amazonaws.com:6379`
}

// A served target is a proxy and where it listens.
type served struct {
	place
	config rediam.Config
	proxy  *proxy.Proxy
}

func (s *served) where() string {
	if s.Unix != "" {
		return s.Unix
	}
	return s.Listen
}

func (c *proxyCommand) Run(ctx context.Context, t *terminal) error {
	targets, err := c.targets(ctx, t)
	if err != nil {
		return err
	}
	if c.Check {
		return checkAll(ctx, t, targets)
	}
	return c.serve(ctx, t, targets)
}

// targets makes what is to be served, and shows that there are credentials.
func (c *proxyCommand) targets(ctx context.Context, t *terminal) ([]*served, error) {
	places, err := c.places()
	if err := cmp.Or(err, c.check()); err != nil {
		return nil, usageError{err}
	}
	password, err := c.password()
	if err != nil {
		return nil, usageError{err}
	}
	probe, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	var targets []*served
	for _, where := range places {
		s, err := c.prepare(probe, t, where)
		if err != nil && len(places) > 1 {
			err = fmt.Errorf("target %s: %w", where.Cache, err)
		}
		if err != nil {
			return nil, err
		}
		s.proxy.Password = password
		targets = append(targets, s)
	}
	return targets, nil
}

func (c *proxyCommand) prepare(ctx context.Context, t *terminal, where place) (*served, error) {
	config, err := where.reachable()
	if err != nil {
		return nil, err
	}
	renewal, err := rediam.Renewal{After: c.RenewAfter, Spread: c.RenewSpread}.Resolve()
	if err != nil {
		return nil, usageError{err}
	}
	trust, err := where.trust()
	if err != nil {
		return nil, usageError{err}
	}
	source, err := where.source(ctx, t, &config)
	if err != nil {
		return nil, err
	}
	signIns := rediam.Limit(source, c.SignInsAtOnce) // whose failures the proxy logs, with the client
	return &served{place: where, config: config, proxy: &proxy.Proxy{Addr: config.Addr(), TLS: trust, SignIns: signIns, Renewal: renewal, ConnectTime: c.ConnectTimeout,
		MaxConnections: c.MaxConnections, IdleTime: c.IdleTimeout, DrainTime: c.Drain, Driver: c.Driver, Spare: c.Spare, Metrics: proxy.NewMetrics(), Log: t.log}}, nil
}

// source is what to sign in with, which has been tried. It completes config.
func (p *place) source(ctx context.Context, t *terminal, config *rediam.Config) (rediam.TokenSource, error) {
	if p.Secret != "" {
		return p.secret(ctx, t, config)
	}
	signer, err := p.signer(ctx, *config)
	if err != nil {
		return nil, err
	}
	config.Region = signer.Region
	if err := rediam.Probe(ctx, signer); err != nil {
		return nil, explain(err)
	}
	return signer, nil
}

func (p *place) secret(ctx context.Context, t *terminal, config *rediam.Config) (rediam.TokenSource, error) {
	awsConfig, err := p.awsConfig(ctx)
	switch {
	case err != nil:
		return nil, err
	case awsConfig.Region == "":
		return nil, usageError{hinted{errors.New("no region: where is the secret?"), "give --region, or AWS_REGION"}}
	}
	source := &password.Source{Client: secretsmanager.NewFromConfig(awsConfig), Secret: p.Secret, User: config.Username, Log: t.log}
	token, err := source.Token(ctx)
	if err != nil {
		return nil, hinted{err, "reading it takes secretsmanager:GetSecretValue on the secret, and kms:Decrypt on a key of its own"}
	}
	config.AWSAuth, config.Username, config.Region = false, token.User, awsConfig.Region
	config.CacheName = cmp.Or(config.CacheName, p.Secret)
	return source, nil
}

// trust is whose certificates the cache may have.
func (t *location) trust() (*tls.Config, error) {
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

func (c *proxyCommand) password() (string, error) {
	if c.LocalPasswordFile == "" {
		return "", nil
	}
	file, err := os.Open(c.LocalPasswordFile)
	if err != nil {
		return "", fmt.Errorf("--local-password-file: %w", err)
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxPassword+2))
	password := bytes.TrimRight(content, "\r\n")
	switch {
	case err != nil:
		return "", fmt.Errorf("--local-password-file: %w", err)
	case len(password) == 0:
		return "", errors.New("--local-password-file: the file is empty")
	case len(password) > maxPassword || bytes.ContainsAny(password, "\r\n"):
		return "", fmt.Errorf("--local-password-file: the file must hold one line of %d bytes at most", maxPassword)
	}
	return string(password), nil
}

// check refuses what means nothing.
func (c *proxyCommand) check() error {
	for name, n := range map[string]int64{"max-connections": int64(c.MaxConnections), "spare": int64(c.Spare), "idle-timeout": int64(c.IdleTimeout), "drain": int64(c.Drain),
		"connect-timeout": int64(c.ConnectTimeout) - 1, "sign-ins-at-once": int64(c.SignInsAtOnce) - 1} {
		if n < 0 {
			return fmt.Errorf("--%s is too small", name)
		}
	}
	if c.Driver != "" && !slices.Contains(proxy.Drivers, c.Driver) {
		return fmt.Errorf("--driver is one of %s here", strings.Join(proxy.Drivers, ", "))
	}
	return nil
}

// checkAll signs in to each target once.
func checkAll(ctx context.Context, t *terminal, targets []*served) error {
	var failed error
	for _, s := range targets {
		started := time.Now()
		if err := s.proxy.Check(ctx); err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s at %s: %w", s.config.CacheName, s.proxy.Addr, s.config.Explain(err)))
			continue
		}
		fmt.Fprintf(t.stdout, "%s at %s: signed in as %s in %v\n", s.config.CacheName, s.proxy.Addr, s.config.Username, time.Since(started).Round(time.Millisecond))
	}
	return failed
}

// serve serves the targets until ctx is done or one of them fails.
func (c *proxyCommand) serve(ctx context.Context, t *terminal, targets []*served) error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50) // connections live long and allocate next to nothing
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	listeners := make([]net.Listener, len(targets))
	for i, s := range targets {
		listener, err := c.listen(s.place)
		if err != nil && !errors.As(err, new(usageError)) {
			err = hinted{err, "--listen HOST:PORT or --unix PATH is another place"}
		}
		if err != nil {
			return err
		}
		defer listener.Close()
		if listeners[i] = listener; s.Unix == "" {
			s.Listen = listener.Addr().String()
		}
	}
	stop, err := c.serveAdmin(targets)
	if err != nil {
		return err
	}
	defer stop()
	errs := make([]error, len(targets))
	for i, s := range targets {
		running.Go(func() {
			defer cancel()
			errs[i] = s.proxy.Serve(ctx, listeners[i])
		})
		t.say("proxy ready: %s is %s as %s; stop it with Ctrl-C", s.where(), s.proxy.Addr, s.config.Username)
	}
	<-ctx.Done()
	t.say("the proxy ends: clients may stay for up to %v; a second signal ends it at once", c.Drain)
	running.Wait()
	return errors.Join(errs...)
}

// listen opens a loopback address, another one if that is said, or a Unix socket.
func (c *proxyCommand) listen(p place) (net.Listener, error) {
	if p.Unix != "" {
		mode, err := strconv.ParseUint(c.UnixMode, 8, 32)
		if err != nil || mode > 0o777 {
			return nil, usageError{errors.New("--unix-mode must be octal, such as 0660")}
		}
		return listenUnix(p.Unix, os.FileMode(mode))
	}
	host, _, err := net.SplitHostPort(p.Listen)
	if err != nil {
		return nil, usageError{fmt.Errorf("%s is not HOST:PORT", p.Listen)}
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) && !c.UnsafeListen {
		return nil, usageError{hinted{fmt.Errorf("%s is not a loopback address: whoever could reach it could use the cache", p.Listen), "--unsafe-listen allows it"}}
	}
	return net.Listen("tcp", p.Listen)
}

func isSocket(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode().Type() == os.ModeSocket
}

// listenUnix makes a socket that nobody else can open at any moment. One that
// somebody has left behind is replaced.
func listenUnix(path string, mode os.FileMode) (net.Listener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("%s: the path of a socket has at most %d characters", path, maxSocketPath)
	}
	switch conn, err := net.Dial("unix", path); {
	case err == nil:
		conn.Close()
		return nil, fmt.Errorf("%s: another program listens there", path)
	case errors.Is(err, syscall.ECONNREFUSED) && isSocket(path): // nobody does any more
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("something is there already: %w", err)
	}
	return withUmask(^mode&0o777, func() (net.Listener, error) { return net.Listen("unix", path) })
}
