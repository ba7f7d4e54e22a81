package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/emulator"
)

type emulateCommand struct {
	Engine        string         `default:"auto" placeholder:"ENGINE" help:"auto (valkey-server or redis-server from PATH, else embedded), embedded, redis-server, valkey-server, the path of one, or a redis:// URL of one that runs, whose password is REDIAM_ENGINE_PASSWORD."`
	Listen        string         `default:"127.0.0.1:0" placeholder:"HOST:PORT" help:"Loopback address of the AWS endpoint; port 0 is any free one."`
	CachePort     uint16         `default:"0" placeholder:"PORT" help:"Port of the cache; 0 is any free one."`
	Service       rediam.Service `placeholder:"NAME" help:"Kind of the cache: elasticache (default) or memorydb."`
	Serverless    bool           `help:"Make an ElastiCache serverless cache."`
	Cache         string         `default:"demo" placeholder:"NAME" help:"Name of the cache."`
	User          string         `default:"demo-user" placeholder:"NAME" help:"Name of its IAM user."`
	Empty         bool           `help:"Make no cache, user or role; only the IAM user admin."`
	Region        string         `default:"us-east-1" placeholder:"REGION" help:"Region of everything."`
	Account       string         `default:"123456789012" placeholder:"ID" help:"AWS account of everything."`
	TokenTTL      time.Duration  `name:"token-ttl" default:"15m" help:"Life of a token."`
	ConnectionTTL time.Duration  `name:"connection-ttl" default:"12h" help:"Life of a connection after its last sign-in."`
	EnvFile       string         `placeholder:"FILE" help:"Also write the export lines to a file, once every listener answers."`
}

func (emulateCommand) Help() string {
	return `Prints export lines for the AWS CLI, the SDKs and rediam itself, then runs until it is stopped.
It listens on loopback only and keeps no data: it is not for production.

Example:

  rediam emulate --env-file /tmp/rediam.env &
  . /tmp/rediam.env
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
		Cache: c.Cache, User: c.User, Empty: c.Empty,
		TokenTTL: c.TokenTTL, ConnectionTTL: c.ConnectionTTL,
	}
	switch {
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
	lines, err := c.environment(srv)
	if err != nil {
		return err
	}
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
	t.say("emulator ready in %v (%s), on loopback only; for tests, it keeps no data; stop it with Ctrl-C", took.Round(time.Millisecond), engine)
	select {
	case <-ctx.Done():
	case <-srv.Done():
	}
	return nil
}

// environment makes the export lines. What of an outer session would disturb
// them is unset.
func (c *emulateCommand) environment(srv *emulator.Server) (string, error) {
	key, err := srv.CreateAccessKey(emulator.AdminUser)
	if err != nil {
		return "", err
	}
	variables := [][2]string{
		{"AWS_ENDPOINT_URL", srv.URL()},
		{"AWS_ACCESS_KEY_ID", key.ID},
		{"AWS_SECRET_ACCESS_KEY", string(key.Secret)},
		{"AWS_REGION", srv.Region()},
		{"AWS_DEFAULT_REGION", srv.Region()},
		{"REDIAM_CA", srv.CAFile()},
	}
	if !c.Empty {
		cache := srv.Cache(strings.ToLower(c.Cache))
		variables = append(variables, [][2]string{
			{"REDIAM_SERVICE", orElse(string(c.Service), string(rediam.ElastiCache))},
			{"REDIAM_ENDPOINT", cache.Addr},
			{"REDIAM_CACHE", cache.Name},
			{"REDIAM_SERVERLESS", fmt.Sprint(c.Serverless)},
			{"REDIAM_USER", c.User},
		}...)
	}
	lines := "unset AWS_SESSION_TOKEN AWS_PROFILE\n"
	for _, v := range variables {
		lines += "export " + v[0] + "=" + quote(v[1]) + "\n"
	}
	return lines, nil
}

// writeFile makes a file appear whole, readable for its owner alone.
func writeFile(name, text string) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*")
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

// signInLog writes sign-ins and failures for a person to read.
func signInLog(stderr interface{ Write([]byte) (int, error) }) *slog.Logger {
	return slog.New(slog.NewTextHandler(stderr, nil))
}
