package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/rediam/rediam"
)

type execCommand struct {
	target  `embed:""`
	Proxy   bool     `help:"Put a proxy of its own between the program and the cache, which keeps it signed in for as long as it runs."`
	Command []string `arg:"" passthrough:"partial" placeholder:"COMMAND" help:"The program and its arguments."`
}

func (execCommand) Help() string {
	return `redis-cli and valkey-cli get the flags they need. Other programs find the cache in their
environment: REDIS_URL, REDIS_HOST, REDIS_PORT, REDIS_TLS, REDIS_USERNAME, REDIS_PASSWORD. That password
signs in for 15 minutes; with --proxy there is no such limit. redis-benchmark and valkey-benchmark,
which take a password as an argument alone, always get the proxy. No argument holds a secret.

Example:

  rediam exec --cache orders --user orders-app --region eu-west-1 \
    --endpoint master.orders.abc123.euw1.cache.amazonaws.com:6379 -- redis-cli PING`
}

// An exitStatus is that of the program.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

func (c *execCommand) Run(ctx context.Context, t *terminal) error {
	if c.Command[0] == "--" { // the parser leaves it
		c.Command = c.Command[1:]
	}
	if len(c.Command) == 0 {
		return usageError{hinted{errors.New("no command to run"), "rediam exec [FLAGS] -- COMMAND ARGUMENTS"}}
	}
	program, err := exec.LookPath(c.Command[0])
	if err != nil {
		return t.cannotRun(hinted{err, "rediam exec [FLAGS] -- COMMAND ARGUMENTS: the flags of rediam stand before the --"})
	}
	name := filepath.Base(program)
	cli := name == "redis-cli" || name == "valkey-cli"
	benchmark := name == "redis-benchmark" || name == "valkey-benchmark"
	for _, flag := range []string{"--cluster", "--tls"} {
		if benchmark && slices.Contains(c.Command, flag) {
			return usageError{hinted{fmt.Errorf("%s %s does not work through the proxy", name, flag), "leave it out: the proxy speaks TLS to the cache, which must be no cluster of several shards"}}
		}
	}
	if c.Proxy || benchmark {
		return c.proxied(ctx, t, program, cli || benchmark)
	}
	return c.direct(ctx, t, program, cli)
}

// cannotRun tells why there is no program to have the exit status of, which then is
// that of shells, env and timeout: 127 without a program, 126 if it cannot be run.
func (t *terminal) cannotRun(err error) error {
	t.report(err)
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return exitStatus(127)
	}
	return exitStatus(126)
}

// direct becomes the program, which signs in by itself: redis-cli and valkey-cli with
// flags, others as they read in their environment.
func (c *execCommand) direct(ctx context.Context, t *terminal, program string, cli bool) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	config, err := c.reachable()
	if err != nil {
		return err
	}
	signer, err := c.signer(ctx, config)
	if err != nil {
		return err
	}
	token, err := signer.Token(ctx)
	if err != nil {
		return explain(err)
	}
	argv := []string{c.Command[0]}
	if cli {
		// Of flags that are there twice they take the last, so the user's. -c has them
		// follow a cluster's redirections, and changes nothing where there is none.
		host, port, _ := net.SplitHostPort(config.Addr())
		argv = append(argv, "-h", host, "-p", port, "--user", token.User, "--tls", "-c")
		if c.CA != "" {
			argv = append(argv, "--cacert", c.CA)
		}
	}
	config.Region = signer.Region
	address := url.URL{Scheme: "rediss", Host: config.Addr(), User: url.UserPassword(token.User, token.Password)}
	return become(t, program, append(argv, c.Command[1:]...), c.environ(config, address))
}

// proxied runs the program with a proxy of its own: on a Unix socket that this user
// alone can open, which redis-cli and redis-benchmark take as -s, or else on a
// loopback port with a password.
func (c *execCommand) proxied(ctx context.Context, t *terminal, program string, socket bool) (err error) {
	starting, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	s, err := (&proxyCommand{SignInsAtOnce: 20}).prepare(starting, t, place{target: c.target})
	if err != nil {
		return err
	}
	if !socket {
		s.proxy.Password = rand.Text()
	}
	if err := s.proxy.Check(starting); err != nil {
		return fmt.Errorf("sign in to %s at %s: %w", s.config.CacheName, s.proxy.Addr, s.config.Explain(err))
	}
	var listener net.Listener
	argv, address := []string{c.Command[0]}, url.URL{Scheme: "redis"}
	if socket {
		dir, err := os.MkdirTemp("", "rediam-exec-") // 0700
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		path := filepath.Join(dir, "s")
		if listener, err = listenUnix(path, 0o600); err != nil {
			return hinted{err, "TMPDIR is where the socket is made"}
		}
		argv, address = append(argv, "-s", path), url.URL{Scheme: "unix", Path: path}
	} else {
		if listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return err
		}
		address.Host, address.User = listener.Addr().String(), url.UserPassword("", s.proxy.Password)
	}
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	served := make(chan error, 1)
	go func() { served <- s.proxy.Serve(serving, listener) }()
	defer func() {
		stop()
		err = errors.Join(err, <-served)
	}()
	return runChild(t, program, append(argv, c.Command[1:]...), c.environ(s.config, address))
}

// environ is the environment of the program: that of rediam, with what tells of the
// target, and of the address where the program finds it.
func (c *execCommand) environ(config rediam.Config, address url.URL) []string {
	tls := address.Scheme == "rediss"
	password, _ := address.User.Password()
	set := map[string]string{
		"REDIAM_SERVICE": string(config.Service), "REDIAM_CACHE": config.CacheName, "REDIAM_SERVERLESS": strconv.FormatBool(config.Serverless),
		"REDIAM_USER": config.Username, "REDIAM_REGION": config.Region, "REDIAM_ENDPOINT": config.Addr(), "REDIAM_CA": c.CA,
		"REDIS_URL": address.String(), "REDIS_HOST": address.Hostname(), "REDIS_PORT": address.Port(), "REDIS_TLS": strconv.FormatBool(tls),
		"REDIS_USERNAME": address.User.Username(), "REDIS_PASSWORD": password, "REDISCLI_AUTH": password,
		"REDIS_AWS_AUTH": "", // the program is to use the password
	}
	if tls && c.CA != "" && os.Getenv("NODE_EXTRA_CA_CERTS") == "" {
		set["NODE_EXTRA_CA_CERTS"] = c.CA // those of other programs take the place of the system's
	}
	environ := slices.DeleteFunc(os.Environ(), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		_, is := set[name]
		return is
	})
	for name, value := range set {
		if value != "" {
			environ = append(environ, name+"="+value)
		}
	}
	return environ
}

// runChild runs the program until it ends, passes signals on to it and ends as it
// did.
func runChild(t *terminal, program string, argv, environ []string) error {
	child := &exec.Cmd{Path: program, Args: argv, Env: environ, Stdin: t.stdin, Stdout: t.stdout, Stderr: t.stderr}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, passedOn...)
	defer signal.Stop(signals)
	if err := child.Start(); err != nil {
		return t.cannotRun(err)
	}
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		for {
			select {
			case s := <-signals:
				if !fromTerminal(s) {
					child.Process.Signal(s)
				}
			case <-ended:
				return
			}
		}
	}()
	err := child.Wait()
	var status *exec.ExitError
	if !errors.As(err, &status) {
		return err
	}
	if s, ok := status.Sys().(syscall.WaitStatus); ok && s.Signaled() {
		return exitStatus(128 + int(s.Signal()))
	}
	return exitStatus(status.ExitCode())
}
