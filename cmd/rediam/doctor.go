package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/memorydb"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/internal/account"
	"github.com/rediam/rediam/internal/doctor"
	"github.com/rediam/rediam/internal/sigv4"
)

type doctorCommand struct {
	target `embed:""`
	Token  string `placeholder:"-" help:"Examine a token that was made elsewhere, from standard input (-) or a file, instead of signing one."`
	URL    string `name:"url" placeholder:"URL" help:"Examine the redis:// or rediss:// URL of a program; - reads it from standard input, which keeps a password in it out of the process list."`
	Format string `enum:"text,json" default:"text" help:"text or json."`
}

func (doctorCommand) Help() string {
	return `Checks, in order, the credentials, whose they are, the clock, the names, DNS, TCP, TLS and the
sign-in itself, and stops at the first that fails, with its cause and what to do. A cache refuses every
sign-in with the same words, so it then tries what may be meant (serverless or not, the other
service, the region and name of the endpoint) and reads the account, as far as it may.

The output holds no secret. Exit status: 0 healthy, 1 there is a cause, 2 wrong usage.

Example:

  rediam doctor --cache orders --user orders-app --region eu-west-1 \
    --endpoint master.orders.abc123.euw1.cache.amazonaws.com:6379`
}

// errUnhealthy ends the command with status 1 after its report.
var (
	errUnhealthy   = errors.New("the sign-in does not work")
	errInterrupted = errors.New("interrupted: the cause is not found")
)

func (c *doctorCommand) Run(ctx context.Context, t *terminal) error {
	report, err := c.report(ctx, t)
	if err != nil && !errors.Is(err, errUnhealthy) {
		return err
	}
	if c.Format == "json" {
		return errors.Join(json.NewEncoder(t.stdout).Encode(report), err)
	}
	for _, f := range report.Findings {
		io.WriteString(t.stdout, printable(fmt.Sprintf("\n%s\n  %s\n  mend: %s\n", f.Cause, f.What, f.Mend)))
	}
	return err
}

// report is what the doctor finds; the error is errUnhealthy if it is a cause.
func (c *doctorCommand) report(running context.Context, t *terminal) (report doctor.Report, err error) {
	d, err := c.examined(running, t)
	if err != nil {
		return report, err
	}
	ctx, cancel := context.WithTimeout(running, c.Timeout) // not for who types or pastes
	defer cancel()
	if err := c.equip(ctx, d); err != nil {
		return report, err
	}
	if c.Format == "text" {
		d.Progress = func(check doctor.Check) {
			io.WriteString(t.stdout, printable(fmt.Sprintf("%-8s %-12s %s\n", check.Status, check.Name, check.Detail)))
		}
	}
	report = d.Run(ctx)
	switch {
	case running.Err() != nil: // what failed last failed for that
		err = errInterrupted
	case !report.OK:
		err = errUnhealthy
	}
	return report, err
}

// examined is what there is to examine: the configuration, whose faults are findings
// and not errors, and the token, which may be the password in it.
func (c *doctorCommand) examined(ctx context.Context, t *terminal) (*doctor.Doctor, error) {
	config, err := c.configured(ctx, t)
	if err != nil {
		return nil, usageError{err}
	}
	if config.Host == "" {
		return nil, usageError{hinted{errors.New("no endpoint: where does the cache listen?"), "--endpoint HOST:PORT, REDIAM_ENDPOINT, REDIS_URL or REDIS_HOST say it"}}
	}
	d := &doctor.Doctor{Config: config}
	if strings.Contains(config.Password, "X-Amz-") {
		d.Token, d.Config.Password = config.Password, ""
	}
	if c.Token != "" {
		d.Token, err = c.given(ctx, t, c.Token)
	}
	return d, err
}

// equip gives the doctor what it asks AWS with.
func (c *doctorCommand) equip(ctx context.Context, d *doctor.Doctor) error {
	awsConfig, unread := c.awsConfig(ctx)
	if errors.As(unread, new(usageError)) {
		return unread
	}
	if unread != nil { // a profile that does not exist, or files that cannot be read: it is a finding
		awsConfig.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return aws.Credentials{}, unread })
	}
	ambient := *c
	if ambient.Region != "" { // that of the environment may be the right one
		ambient.Region = ""
		if other, err := ambient.awsConfig(ctx); err == nil {
			d.Regions = append(d.Regions, other.Region)
		}
	}
	if d.Config.Region == "" && d.Token == "" {
		d.Config.Region = awsConfig.Region
	}
	d.Credentials = awsConfig.Credentials
	var err error
	if d.TLS, err = c.trust(); err != nil {
		return usageError{err}
	}
	d.Clients = func(region string) account.Clients { return clientsIn(awsConfig, region) }
	return nil
}

func (c *doctorCommand) configured(ctx context.Context, t *terminal) (rediam.Config, error) {
	config, err := c.config()
	if err != nil {
		return config, err
	}
	if found, err := rediam.ConfigFromEnv(os.LookupEnv); err == nil {
		config.Password = found.Password
		if found.AWSAuth && c.Endpoint == "" { // it is the program's own, and must have TLS
			config.TLS = found.TLS
		}
	}
	if c.URL == "" {
		return config, nil
	}
	url := c.URL
	if url == "-" {
		if url, err = c.given(ctx, t, "-"); err != nil {
			return config, err
		}
	}
	config.Password = ""
	return config, config.SetURL(strings.TrimSpace(url))
}

// given reads what is on standard input or in a file, no longer than ctx.
func (c *doctorCommand) given(ctx context.Context, t *terminal, name string) (string, error) {
	in := t.stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return "", usageError{errors.New("--token: give - for standard input, or the name of a file; not the token, which everybody could read in the process list")}
		}
		defer f.Close()
		in = f
	}
	var data []byte
	var err error
	read := make(chan struct{})
	go func() {
		defer close(read)
		data, err = io.ReadAll(io.LimitReader(in, sigv4.MaxToken+16))
	}()
	select {
	case <-ctx.Done():
		return "", errInterrupted
	case <-read:
	}
	if err == nil && strings.TrimSpace(string(data)) == "" {
		err = usageError{errors.New("there is nothing to examine on standard input")}
	}
	return string(data), err
}

// clientsIn are clients of one region.
func clientsIn(awsConfig aws.Config, region string) account.Clients {
	awsConfig.Region = region
	return account.Clients{STS: sts.NewFromConfig(awsConfig), IAM: iam.NewFromConfig(awsConfig),
		ElastiCache: elasticache.NewFromConfig(awsConfig), MemoryDB: memorydb.NewFromConfig(awsConfig)}
}
