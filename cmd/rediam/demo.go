package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/rediam/rediam"
	"github.com/rediam/rediam/emulator"
	"github.com/rediam/rediam/examples/kv/app"
)

type demoCommand struct {
	Engine string `default:"auto" placeholder:"ENGINE" help:"As in rediam emulate."`
	Once   bool   `help:"Exit after the transcript: 0 if everything was as it should be."`
	Port   uint16 `default:"0" placeholder:"PORT" help:"Port of the example app on 127.0.0.1; 0 is any free one."`
}

func (demoCommand) Help() string {
	return `Starts the emulator and the key-value app of examples/kv, then shows sign-ins that work, sign-ins
that are refused and why, and a connection that outlives 12 hours.

Example:

  rediam demo --once`
}

// The names in the transcript.
const (
	demoCache = "orders"
	demoUser  = "orders-app"
	demoRole  = "orders-service"
)

// demo is one run: its emulator, and the session of the role that the app has.
type demo struct {
	out  io.Writer
	srv  *emulator.Server
	role aws.CredentialsProvider
	app  string // URL
}

func (c *demoCommand) Run(ctx context.Context, t *terminal) (err error) {
	srv, err := emulator.Open(ctx, emulator.Config{Engine: c.Engine, Empty: true, Log: t.quietLog()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, srv.Close()) }()
	d := &demo{out: t.stdout, srv: srv}
	if err := d.setUp(ctx); err != nil {
		return fmt.Errorf("set up: %w", err)
	}
	stop, err := d.startApp(c.Port, t.quietLog())
	if err != nil {
		return fmt.Errorf("start the app: %w", err)
	}
	defer stop()
	for _, step := range []struct {
		name string
		run  func(context.Context) error
	}{{"the app", d.useApp}, {"refused sign-ins", d.refusals}, {"twelve hours", d.outlive}} {
		if err := step.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	if status, answer, err := d.fetch(ctx, "GET", "/foo1", ""); status != http.StatusOK {
		return fmt.Errorf("the app 18 hours later: %d %s %w", status, answer, err)
	}
	d.print("        the app is as it was: GET /foo1 200\n\nEverything was as it should be.\n")
	if c.Once {
		return nil
	}
	d.print("\nThe app is up. Try, in another terminal:\n\n  curl -d '{\"key\":\"foo2\",\"value\":\"bar2\"}' %[1]s/\n  curl %[1]s/foo2\n\nCtrl-C ends it.\n", d.app)
	select {
	case <-ctx.Done():
	case <-srv.Done():
	}
	return nil
}

// quietLog keeps what the emulator and the app log out of a transcript, unless it
// has been asked for.
func (t *terminal) quietLog() *slog.Logger {
	if t.log.Enabled(context.Background(), slog.LevelDebug) {
		return t.log
	}
	return nil
}

func (d *demo) print(format string, args ...any) { fmt.Fprintf(d.out, format, args...) }

// setUp makes what AWS has to have for an IAM sign-in.
func (d *demo) setUp(ctx context.Context) error {
	err := errors.Join(
		d.srv.PutUser(emulator.User{ID: "orders-default", Name: "default", Auth: emulator.AuthNoPassword, Access: "off -@all"}),
		d.srv.PutUser(emulator.User{Name: demoUser, Access: "on ~* +@all"}),
		d.srv.PutGroup(emulator.Group{ID: "orders-users", Users: []string{"orders-default", demoUser}}),
		d.srv.PutCache(emulator.Cache{Name: demoCache, Group: "orders-users"}),
		d.srv.PutRole(emulator.Role{Name: demoRole, Inline: map[string]string{"connect": d.connectPolicy()}}))
	if err != nil {
		return err
	}
	if d.role, err = d.assumeRole(ctx); err != nil {
		return err
	}
	d.print("An ElastiCache of your own, on this machine: nothing leaves it.\n\n")
	d.print("  engine   %s\n  cache    %s, at %s over TLS\n  users    default (off), %s (signs in with IAM)\n", d.srv.EngineOf(demoCache), demoCache, d.srv.Cache(demoCache).Addr, demoUser)
	d.print("  role     %s, which may elasticache:Connect\n", d.srv.RoleARN(demoRole))
	return nil
}

func (d *demo) connectPolicy() string {
	prefix := "arn:" + d.srv.Partition() + ":elasticache:" + d.srv.Region() + ":" + d.srv.Account() + ":"
	return fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Sid":"SignIn","Effect":"Allow","Action":"elasticache:Connect","Resource":[%q,%q]}]}`,
		prefix+"replicationgroup:"+demoCache, prefix+"user:"+demoUser)
}

// assumeRole asks the emulator's STS for the role, as a program on AWS would.
func (d *demo) assumeRole(ctx context.Context) (aws.CredentialsProvider, error) {
	key, err := d.srv.CreateAccessKey(emulator.AdminUser)
	if err != nil {
		return nil, err
	}
	client := sts.New(sts.Options{Region: d.srv.Region(), BaseEndpoint: aws.String(d.srv.URL()), Credentials: emulator.KeyCredentials(key)})
	// Without the SDK's cache, which goes by this machine's clock: the emulator's
	// will be moved on.
	role := stscreds.NewAssumeRoleProvider(client, d.srv.RoleARN(demoRole), func(o *stscreds.AssumeRoleOptions) {
		o.RoleSessionName = "demo"
	})
	_, err = role.Retrieve(ctx)
	return role, err
}

// signer signs for the demo's cache and user; the caller may change it before use.
func (d *demo) signer(credentials aws.CredentialsProvider) *rediam.Signer {
	return &rediam.Signer{Cache: demoCache, User: demoUser, Region: d.srv.Region(), Credentials: credentials, Now: d.srv.Now}
}

// startApp runs the app of examples/kv, signed in as the role, until stop is called.
func (d *demo) startApp(port uint16, log *slog.Logger) (stop func(), err error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return nil, err
	}
	cache := d.srv.Cache(demoCache)
	client := app.NewClient(cache.Addr, false, cache.TLS, d.signer(d.role))
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan struct{})
	go func() {
		defer close(served)
		app.Serve(ctx, listener, app.NewHandler(client, log))
	}()
	d.app = "http://" + listener.Addr().String()
	return func() {
		cancel()
		<-served
		client.Close()
	}, nil
}

// useApp sends the app three requests.
func (d *demo) useApp(ctx context.Context) error {
	d.print("\nAn HTTP app signs in with a token instead of a password:\n\n")
	for _, request := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"POST", "/", `{"key":"foo1","value":"bar1"}`, http.StatusOK, ""},
		{"GET", "/foo1", "", http.StatusOK, "bar1"},
		{"GET", "/not_there", "", http.StatusNotFound, ""},
	} {
		status, answer, err := d.fetch(ctx, request.method, request.path, request.body)
		if err != nil {
			return err
		}
		d.print("  %-40s %d  %s\n", strings.TrimSpace(request.method+" "+request.path+" "+request.body), status, answer)
		if status != request.status || !strings.Contains(answer, request.want) {
			return fmt.Errorf("%s %s was answered with %d %s", request.method, request.path, status, answer)
		}
	}
	return nil
}

func (d *demo) fetch(ctx context.Context, method, path, body string) (status int, answer string, err error) {
	request, err := http.NewRequestWithContext(ctx, method, d.app+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 4096))
	return response.StatusCode, strings.TrimSpace(string(text)), err
}
