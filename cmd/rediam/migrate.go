package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/rotate"
)

type migrateCommand struct {
	location        `embed:""`
	From            string `required:"" xor:"of" placeholder:"ID" help:"User with the password; --user is the one with IAM, who takes its place."`
	AuthTokenSecret string `required:"" xor:"of" placeholder:"ID" help:"Name or ARN of the secret in Secrets Manager with the AUTH token of the replication group --cache."`
	Access          string `placeholder:"STRING" help:"Access string of the user with IAM. Default: that of the other; what an AUTH token allows."`

	Finish bool `xor:"what" help:"Turn the user with the password off, once it has not been connected for --quiet."`
	Undo   bool `xor:"what" help:"Turn it on again."`
	DryRun bool `xor:"what" help:"Say which steps have been done, and change nothing."`

	Quiet   time.Duration `default:"5m" help:"How long the user with the password must not have been connected; 0s does not look."`
	Poll    time.Duration `default:"5s" help:"How often to look while AWS is changing something."`
	Timeout time.Duration `default:"15m" help:"How long all of it may take; with --finish, --quiet comes on top."`
	Format  string        `enum:"text,json" default:"text" help:"text or json."`
}

func (migrateCommand) Help() string {
	return `AWS gives a user either a password or IAM. So there are two for a while: this lets the user with IAM in
beside the one with the password, with a check before each step, and signs in as it. Then change the
clients, and call it again with --finish, which turns the other user off. Stopped anywhere, it goes on
when it is run again; --undo lets the user with the password in again.

A replication group tells its endpoints itself; serverless caches and MemoryDB need --endpoint.

An AUTH token becomes the password of a user named default first, in one change, so that its clients go
on as they are.

Examples:

  rediam migrate --from orders-legacy --user orders-app --cache orders --region eu-west-1
  rediam migrate --auth-token-secret orders/token --user orders-app --cache orders --dry-run`
}

func (c *migrateCommand) Run(ctx context.Context, t *terminal) error {
	timeout := c.Timeout
	if c.Finish {
		timeout += c.Quiet
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	m, err := c.migration(ctx, t)
	if err != nil {
		return err
	}
	switch {
	case c.DryRun:
	case c.Finish:
		err = m.Finish(ctx)
	case c.Undo:
		err = m.Undo(ctx)
	default:
		err = m.Prepare(ctx)
	}
	switch {
	case errors.Is(err, rotate.ErrRefused):
		return hinted{err, "rediam doctor with the same flags says why; nothing has been taken from the clients with the password"}
	case err != nil && c.Finish && strings.Contains(err.Error(), "CLIENT LIST"):
		return hinted{err, "give the user client|list for the time being, or --quiet 0s not to look"}
	case err != nil && !c.DryRun:
		return hinted{err, "run it again: it goes on where it stopped"}
	}
	plan, err := m.Plan(ctx)
	if err != nil {
		return err
	}
	if c.Format == "json" {
		return json.NewEncoder(t.stdout).Encode(plan)
	}
	for _, step := range plan {
		fmt.Fprintf(t.stdout, "%-6s %-13s %s\n", map[bool]string{true: "done", false: "to do"}[step.Done], step.Name, step.What)
	}
	if left := len(plan) - 1; left > 0 && plan[left-1].Done && !plan[left].Done {
		t.say("change the clients to sign in as %s with IAM, then run this with --finish", m.To)
	}
	return nil
}

func (c *migrateCommand) migration(ctx context.Context, t *terminal) (*rotate.Migration, error) {
	if c.Quiet < 0 || c.Poll <= 0 {
		return nil, usageError{errors.New("--quiet must not be negative, --poll must be more than nothing")}
	}
	config, err := c.config()
	if err != nil {
		return nil, usageError{err}
	}
	isGroup := !config.Serverless && config.Service != rediam.MemoryDB
	switch {
	case !isGroup && config.Host == "":
		return nil, usageError{hinted{errors.New("no endpoint: where is the cache?"), "give --endpoint HOST:PORT, or REDIAM_ENDPOINT"}}
	case !isGroup && c.AuthTokenSecret != "":
		return nil, usageError{errors.New("only replication groups have AUTH tokens")}
	}
	signer, err := c.signer(ctx, config)
	if err != nil {
		return nil, err
	}
	awsConfig, err := c.awsConfig(ctx)
	if err != nil {
		return nil, err
	}
	awsConfig.Region = signer.Region
	trust, err := c.trust()
	if err != nil {
		return nil, usageError{err}
	}
	m := &rotate.Migration{
		AWS: awsConfig, MemoryDB: signer.Service == rediam.MemoryDB, From: c.From, Secret: c.AuthTokenSecret, To: signer.User, Access: c.Access,
		Token: func(ctx context.Context) (string, error) {
			token, err := signer.Token(ctx)
			return token.Password, err
		},
		Login: rotate.TLSLogin(trust), Connected: rotate.TLSConnected(trust), Quiet: c.Quiet,
		Poll: rotate.Poll{Every: c.Poll, Progress: func(what string) { t.say("%s", strings.ReplaceAll(what, "\n", " ")) }},
	}
	if isGroup { // which tells where its nodes are, replicas too
		m.ReplicationGroup = signer.Cache
	} else {
		m.Nodes = []string{config.Addr()}
	}
	if c.Quiet == 0 {
		m.Quiet = -1 // zero means five minutes to the package
	}
	return m, nil
}
