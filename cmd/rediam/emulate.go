package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/emulator"
)

type emulateCommand struct {
	Engine              string            `default:"auto" placeholder:"ENGINE" help:"auto (valkey-server or redis-server from PATH, else embedded), embedded, redis-server, valkey-server, the path of one, or a redis:// URL of one that runs, whose password is REDIAM_ENGINE_PASSWORD."`
	Listen              string            `default:"127.0.0.1:0" placeholder:"HOST:PORT" help:"Loopback address of the AWS endpoint; port 0 is any free one."`
	CachePort           uint16            `default:"0" placeholder:"PORT" help:"Port of the cache; 0 is any free one. The nodes of a cluster after the first have the ports that follow."`
	Service             rediam.Service    `placeholder:"NAME" help:"Kind of the cache: elasticache (default) or memorydb."`
	Serverless          bool              `help:"Make an ElastiCache serverless cache."`
	Nodes               int               `default:"0" placeholder:"N" help:"Shards of the cache, each of one node: a real cluster, for which redis-server or valkey-server is needed. 0 is no cluster mode, for MemoryDB and serverless caches a cluster of one."`
	Cache               string            `default:"demo" placeholder:"NAME" help:"Name of the cache."`
	User                string            `default:"demo-user" placeholder:"NAME" help:"Name of its IAM user."`
	Empty               bool              `help:"Make no cache, user or role; only the IAM user admin."`
	Region              string            `default:"us-east-1" placeholder:"REGION" help:"Region of everything."`
	Account             string            `default:"123456789012" placeholder:"ID" help:"AWS account of everything."`
	TokenTTL            time.Duration     `name:"token-ttl" default:"15m" help:"Life of a token."`
	ConnectionTTL       time.Duration     `name:"connection-ttl" default:"12h" help:"Life of a connection after its last sign-in."`
	SessionTTL          time.Duration     `name:"session-ttl" placeholder:"DURATION" help:"Longest life of temporary credentials; what AWS gives by default."`
	Workload            string            `enum:",ec2,ecs,lambda,irsa,pod-identity" default:"" placeholder:"KIND" help:"Print the environment that such a workload with the role demo-app would have, instead of the access key of admin: ec2, ecs, lambda, irsa or pod-identity."`
	StateDelay          time.Duration     `placeholder:"DURATION" help:"How long what the AWS API makes, changes or deletes is shown as creating, modifying or deleting; not at all by default."`
	OneTime             bool              `help:"Refuse a token that has been used before, which AWS does not."`
	LenientResourceType bool              `help:"Accept tokens with or without ResourceType on caches of either kind."`
	Expose              string            `name:"unsafe-listen" placeholder:"HOST" help:"Listen on every interface, for clients that reach this machine as HOST, such as a service container's name. Whoever can reach it can use it."`
	Function            map[string]string `mapsep:"none" placeholder:"NAME=URL|COMMAND" help:"A Lambda function that rotates secrets of Secrets Manager: the URL of one that runs, or a command with arguments, which gets the event on its standard input. Can be repeated."`
	State               string            `placeholder:"FILE" help:"Keep everything but what is in the caches in a file, for the next emulator. It holds secrets. If it is there, nothing is made by default."`
	EnvFile             string            `placeholder:"FILE" help:"Also write the export lines to a file, once every listener answers."`
}

func (emulateCommand) Help() string {
	return `Prints export lines for the AWS CLI, the SDKs and rediam itself, then runs until it is stopped.
It listens on loopback unless told otherwise and keeps no data: it is not for production.

Example:

  rediam emulate --env-file rediam.env    # in one terminal, the rest in another
  . ./rediam.env
  REDISCLI_AUTH="$(rediam token)" redis-cli --tls --cacert "$REDIAM_CA" \
    -p "${REDIAM_ENDPOINT##*:}" --user "$REDIAM_USER" PING`
}

func (c *emulateCommand) Run(ctx context.Context, t *terminal) error {
	config, err := c.config()
	if err != nil {
		return usageError{err}
	}
	config.Log = signInLog(t.stderr)
	started := time.Now()
	srv, err := emulator.Open(ctx, config)
	if errors.As(err, new(*emulator.Error)) { // names and values that AWS does not take
		return usageError{err}
	}
	if err != nil {
		return err
	}
	err = c.serve(ctx, t, srv, time.Since(started))
	return errors.Join(err, srv.Close())
}

func (c *emulateCommand) config() (emulator.Config, error) {
	engine, err := withPassword(c.Engine, os.Getenv(enginePassword))
	if err != nil {
		return emulator.Config{}, err
	}
	config := emulator.Config{
		Engine: engine, Listen: c.Listen, CachePort: int(c.CachePort),
		Region: c.Region, Account: c.Account,
		Cache: c.Cache, User: c.User, Nodes: c.Nodes, Empty: c.Empty,
		TokenTTL: c.TokenTTL, ConnectionTTL: c.ConnectionTTL, SessionTTL: c.SessionTTL, StateDelay: c.StateDelay,
		OneTime: c.OneTime, LenientResourceType: c.LenientResourceType, Expose: c.Expose, State: c.State, Functions: c.Function,
	}
	switch {
	case c.Workload != "" && c.Empty:
		return config, errors.New("--workload needs the role that --empty does not make")
	case c.Service == rediam.MemoryDB && c.Serverless:
		return config, errors.New("--serverless is for ElastiCache: MemoryDB has no serverless caches")
	case c.Service == rediam.MemoryDB:
		config.Kind = emulator.Cluster
	case c.Serverless:
		config.Kind = emulator.ServerlessCache
	}
	if c.TokenTTL <= 0 || c.ConnectionTTL <= 0 {
		return config, errors.New("--token-ttl and --connection-ttl must be longer than zero")
	}
	return config, nil
}

// enginePassword is the variable for what must not stand in the process list.
const enginePassword = "REDIAM_ENGINE_PASSWORD"

// withPassword puts the password into the URL of an engine that runs.
func withPassword(engine, password string) (string, error) {
	if !strings.Contains(engine, "://") {
		return engine, nil
	}
	u, err := url.Parse(engine)
	if err != nil {
		return "", errors.New("--engine is not a redis:// URL")
	}
	if _, has := u.User.Password(); has {
		return "", errors.New("--engine holds a password, which everybody on this machine can read in the process list: use " + enginePassword)
	}
	if password != "" {
		u.User = url.UserPassword(u.User.Username(), password)
	}
	return u.String(), nil
}

// serve tells how to reach the emulator and waits until it is to stop.
func (c *emulateCommand) serve(ctx context.Context, t *terminal, srv *emulator.Server, took time.Duration) error {
	environ := srv.Environ()
	if c.Workload != "" {
		var err error
		if environ, err = srv.StartWorkload(emulator.Workload{Kind: emulator.WorkloadKind(c.Workload)}); err != nil {
			return err
		}
	}
	lines := exports(environ)
	if _, err := fmt.Fprint(t.stdout, lines); err != nil {
		return err
	}
	if c.EnvFile != "" {
		if err := writeFile(c.EnvFile, lines); err != nil {
			return fmt.Errorf("write the environment file: %w", err)
		}
	}
	engine := srv.EngineOf(c.Cache)
	if engine == "" {
		engine = "no engine yet"
	}
	where := "on loopback only"
	if c.Expose != "" {
		where = "on EVERY interface"
	}
	t.say("emulator ready in %v (%s), %s; for tests, it keeps no data; stop it with Ctrl-C", took.Round(time.Millisecond), engine, where)
	select {
	case <-ctx.Done():
	case <-srv.Done():
	}
	return nil
}

// targetVariables are those of a target that may be none's: they are empty then, for
// scripts under set -u, and this program's commands take them as not given.
var targetVariables = []string{"REDIAM_SERVICE", "REDIAM_ENDPOINT", "REDIAM_CACHE", "REDIAM_SERVERLESS", "REDIAM_USER", "REDIAM_REGION", "REDIAM_ROLE_ARN", "REDIAM_EXTERNAL_ID"}

// exports makes the export lines. What of an outer session would disturb them is
// unset or empty.
func exports(environ []string) string {
	lines := "unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_PROFILE AWS_ENDPOINT_URL_STS AWS_ROLE_ARN AWS_ROLE_SESSION_NAME AWS_WEB_IDENTITY_TOKEN_FILE" +
		" AWS_CONTAINER_CREDENTIALS_FULL_URI AWS_CONTAINER_CREDENTIALS_RELATIVE_URI AWS_CONTAINER_AUTHORIZATION_TOKEN AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE" +
		" AWS_EC2_METADATA_SERVICE_ENDPOINT AWS_LAMBDA_FUNCTION_NAME\n"
	for _, name := range targetVariables {
		if !slices.ContainsFunc(environ, func(variable string) bool { return strings.HasPrefix(variable, name+"=") }) {
			lines += "export " + name + "=''\n"
		}
	}
	for _, variable := range environ {
		name, value, _ := strings.Cut(variable, "=")
		lines += "export " + name + "=" + quote(value) + "\n"
	}
	return lines
}

// writeFile makes a file appear whole, readable for its owner alone. It replaces a
// regular file, and nothing else.
func writeFile(name, text string) (err error) {
	f, err := openBeside(name)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

// openBeside makes a file that can take the place of another, which is told here if it
// cannot be.
func openBeside(name string) (*os.File, error) {
	if info, err := os.Lstat(name); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is there and not a regular file", name)
	}
	return os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*")
}

// signInLog writes sign-ins and failures for a person to read.
func signInLog(stderr interface{ Write([]byte) (int, error) }) *slog.Logger {
	return slog.New(slog.NewTextHandler(stderr, nil))
}
