package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
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

// demo is one run: its emulator, a client of IAM, and the session of the role that
// the app has.
type demo struct {
	out  io.Writer
	srv  *emulator.Server
	iam  *iam.Client
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

// setUp makes what an IAM sign-in needs, by the calls that make it on AWS.
func (d *demo) setUp(ctx context.Context) error {
	key, err := d.srv.CreateAccessKey(emulator.AdminUser)
	if err != nil {
		return err
	}
	config := aws.Config{Region: d.srv.Region(), BaseEndpoint: aws.String(d.srv.URL()), Credentials: emulator.KeyCredentials(key)}
	endpoint, err := makeCache(ctx, elasticache.NewFromConfig(config))
	if err != nil {
		return err
	}
	d.iam = iam.NewFromConfig(config)
	role, err := d.iam.CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String(demoRole), AssumeRolePolicyDocument: aws.String(fmt.Sprintf(
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:%s:iam::%s:root"},"Action":"sts:AssumeRole"}]}`, d.srv.Partition(), d.srv.Account()))})
	if err != nil {
		return err
	}
	if err := d.allowConnect(ctx); err != nil {
		return err
	}
	// Without the SDK's cache, which goes by this machine's clock: the emulator's
	// will be moved on.
	arn := aws.ToString(role.Role.Arn)
	d.role = stscreds.NewAssumeRoleProvider(sts.NewFromConfig(config), arn, func(o *stscreds.AssumeRoleOptions) { o.RoleSessionName = "demo" })
	if _, err := d.role.Retrieve(ctx); err != nil {
		return err
	}
	d.print("An ElastiCache of your own, on this machine: nothing leaves it. Made with the AWS SDK:\n\n")
	d.print("  engine   %s\n  cache    %s, at %s over TLS\n  users    default (off), %s (signs in with IAM)\n", d.srv.EngineOf(demoCache), demoCache, endpoint, demoUser)
	d.print("  role     %s, which may elasticache:Connect\n", arn)
	return nil
}

// makeCache makes the users, their group and the cache, and tells its address.
func makeCache(ctx context.Context, client *elasticache.Client) (endpoint string, err error) {
	for _, u := range []*elasticache.CreateUserInput{
		{UserId: aws.String("orders-default"), UserName: aws.String("default"), Engine: aws.String("valkey"), AccessString: aws.String("off -@all"),
			AuthenticationMode: &types.AuthenticationMode{Type: types.InputAuthenticationTypePassword, Passwords: []string{rand.Text()}}},
		{UserId: aws.String(demoUser), UserName: aws.String(demoUser), Engine: aws.String("valkey"), AccessString: aws.String("on ~* +@all"),
			AuthenticationMode: &types.AuthenticationMode{Type: types.InputAuthenticationTypeIam}},
	} {
		if _, err := client.CreateUser(ctx, u); err != nil {
			return "", err
		}
	}
	group := &elasticache.CreateUserGroupInput{UserGroupId: aws.String("orders-users"), Engine: aws.String("valkey"), UserIds: []string{"orders-default", demoUser}}
	if _, err := client.CreateUserGroup(ctx, group); err != nil {
		return "", err
	}
	if _, err := client.CreateCacheSubnetGroup(ctx, &elasticache.CreateCacheSubnetGroupInput{CacheSubnetGroupName: aws.String("orders-subnets"),
		CacheSubnetGroupDescription: aws.String("where the demo is"), SubnetIds: []string{"subnet-1"}}); err != nil {
		return "", err
	}
	if _, err := client.CreateReplicationGroup(ctx, &elasticache.CreateReplicationGroupInput{
		ReplicationGroupId: aws.String(demoCache), ReplicationGroupDescription: aws.String("the orders of the demo"),
		Engine: aws.String("valkey"), CacheNodeType: aws.String("cache.t4g.micro"), CacheSubnetGroupName: aws.String("orders-subnets"),
		TransitEncryptionEnabled: aws.Bool(true), UserGroupIds: []string{"orders-users"},
	}); err != nil {
		return "", err
	}
	made, err := elasticache.NewReplicationGroupAvailableWaiter(client).WaitForOutput(ctx,
		&elasticache.DescribeReplicationGroupsInput{ReplicationGroupId: aws.String(demoCache)}, time.Minute)
	if err != nil {
		return "", err
	}
	primary := made.ReplicationGroups[0].NodeGroups[0].PrimaryEndpoint
	return fmt.Sprintf("%s:%d", *primary.Address, *primary.Port), nil
}

// allowConnect lets the role sign in, and forbidConnect takes that away.
func (d *demo) allowConnect(ctx context.Context) error {
	prefix := "arn:" + d.srv.Partition() + ":elasticache:" + d.srv.Region() + ":" + d.srv.Account() + ":"
	_, err := d.iam.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: aws.String(demoRole), PolicyName: aws.String("connect"), PolicyDocument: aws.String(fmt.Sprintf(
		`{"Version":"2012-10-17","Statement":[{"Sid":"SignIn","Effect":"Allow","Action":"elasticache:Connect","Resource":[%q,%q]}]}`,
		prefix+"replicationgroup:"+demoCache, prefix+"user:"+demoUser))})
	return err
}

func (d *demo) forbidConnect(ctx context.Context) error {
	_, err := d.iam.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: aws.String(demoRole), PolicyName: aws.String("connect")})
	return err
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
