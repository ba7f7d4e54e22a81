package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/rediam/rediam"
)

type tokenCommand struct {
	target `embed:""`
	Format string        `enum:"raw,json,env,uri" default:"raw" help:"raw: the token. json: with user and expiry. env: export lines for redis-cli and programs. uri: rediss://user:token@endpoint."`
	TTL    time.Duration `name:"ttl" help:"Life of the token, 1s to 15m. Default: 15m."`
	Write  string        `placeholder:"FILE" help:"Write it to a file instead, which this user alone can read, without a line end if it is raw."`
	Watch  bool          `help:"With --write: stay, and replace it in good time, again and again."`
}

func (tokenCommand) Help() string {
	return `The token is the password in AUTH or HELLO, with the user name beside it.

Example:

  export REDISCLI_AUTH="$(rediam token --cache orders --user orders-app --region eu-west-1)"
  redis-cli --tls -h master.orders.abc123.euw1.cache.amazonaws.com --user orders-app PING

For a program that reads its password from a file whenever it connects:

  rediam token --cache orders --user orders-app --region eu-west-1 --write /run/orders/password --watch &`
}

func (c *tokenCommand) Run(running context.Context, t *terminal) error {
	ctx, cancel := context.WithTimeout(running, c.Timeout)
	defer cancel()
	config, err := c.config()
	if err != nil {
		return usageError{err}
	}
	if c.Format == "uri" && config.Host == "" {
		return usageError{errors.New("--format uri needs --endpoint")}
	}
	if c.TTL < 0 || c.TTL > rediam.MaxTTL || c.TTL%time.Second != 0 {
		return usageError{errors.New("--ttl must be whole seconds from 1s to 15m")}
	}
	if c.Watch && c.Write == "" {
		return usageError{errors.New("--watch needs --write")}
	}
	signer, err := c.signer(ctx, config)
	if err != nil {
		return err
	}
	signer.TTL = c.TTL
	if err := rediam.Probe(ctx, signer); err != nil {
		return explain(err)
	}
	token, err := signer.Token(ctx)
	if err != nil {
		return err
	}
	if c.Write == "" {
		return c.print(t.stdout, config, signer, token)
	}
	if err := c.writeFile(config, signer, token); err != nil || !c.Watch {
		return err
	}
	return c.watch(running, t, config, signer, token)
}

// explain adds a hint to an error of a token source.
func explain(err error) error {
	if none := (*rediam.CredentialsError)(nil); errors.As(err, &none) {
		return hinted{err, "aws sts get-caller-identity shows whose credentials are found, if any"}
	}
	return err
}

func (c *tokenCommand) print(out io.Writer, config rediam.Config, signer *rediam.Signer, token rediam.Token) error {
	var err error
	switch c.Format {
	case "json":
		err = json.NewEncoder(out).Encode(struct {
			User       string    `json:"user"`
			Token      string    `json:"token"`
			Expires    time.Time `json:"expires"`
			Service    string    `json:"service"`
			Cache      string    `json:"cache"`
			Serverless bool      `json:"serverless"`
			Region     string    `json:"region"`
		}{token.User, token.Password, token.Expires, cmp.Or(string(signer.Service), string(rediam.ElastiCache)),
			strings.ToLower(signer.Cache), signer.Serverless, signer.Region})
	case "env":
		_, err = fmt.Fprintf(out, "export REDIS_USERNAME=%s\nexport REDIS_PASSWORD=%s\nexport REDISCLI_AUTH=%[2]s\n", quote(token.User), quote(token.Password))
	case "uri":
		u := url.URL{Scheme: "rediss", Host: config.Addr(), User: url.UserPassword(token.User, token.Password)}
		_, err = fmt.Fprintln(out, u.String())
	default:
		_, err = fmt.Fprintln(out, token.Password)
	}
	return err
}

// quote makes a word of any text for a POSIX shell.
func quote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
