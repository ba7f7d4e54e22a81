package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/rediam/rediam/rotate"
)

type rotateCommand struct {
	Secret string `required:"" placeholder:"ID" help:"Name or ARN of the secret in Secrets Manager."`

	ReplicationGroupID string `name:"replication-group-id" required:"" xor:"of" placeholder:"ID" help:"It is the AUTH token of this replication group."`
	UserID             string `name:"user-id" required:"" xor:"of" placeholder:"ID" help:"It is the password of this user of ElastiCache."`
	MemoryDBUser       string `name:"memorydb-user" required:"" xor:"of" placeholder:"NAME" help:"It is the password of this user of MemoryDB."`

	Nodes      []string      `env:"REDIAM_ROTATE_NODES" placeholder:"HOST:PORT" help:"Where to try passwords, separated by commas; nodes of a cluster are found by one of them. Required for users. Default for a replication group: its endpoints."`
	Region     string        `env:"REDIAM_REGION" placeholder:"REGION" help:"Region of both. Default: that of the AWS configuration."`
	RoleARN    string        `name:"role-arn" env:"REDIAM_ROLE_ARN" placeholder:"ARN" help:"Role to assume first."`
	ExternalID string        `name:"external-id" env:"REDIAM_EXTERNAL_ID" placeholder:"ID" help:"External id that the role's trust policy asks for."`
	CA         string        `name:"ca" env:"REDIAM_CA" placeholder:"FILE" help:"PEM file of the authority that the cache's certificate must come from. Default: the system's."`
	Grace      time.Duration `env:"REDIAM_ROTATE_GRACE" default:"5m" help:"How long the old password stays valid once the secret has the new one."`
	Replace    bool          `help:"Go on though the user has a password that the secret does not know, which is lost."`
	DryRun     bool          `help:"Look, and sign in with the current password, but change nothing."`
	Poll       time.Duration `env:"REDIAM_ROTATE_POLL" default:"750ms" help:"How often to look while AWS is changing something."`
	Timeout    time.Duration `default:"15m" help:"How long all of it may take."`
	Format     string        `enum:"text,json" default:"text" help:"text or json."`
}

func (rotateCommand) Help() string {
	return `Makes a new version of the secret with a new password, has the cache take it beside the old one, signs
in with it on every node, makes the version current, waits for --grace and has the cache forget the old
one. Does without a Lambda function. Stopped anywhere, it goes on when it is run again.

Example:

  rediam rotate --secret orders/password --user-id orders-app \
    --nodes master.orders.abc123.euw1.cache.amazonaws.com:6379`
}

// rotated is what the command has done, as JSON.
type rotated struct {
	rotate.Plan
	DryRun bool `json:"dryRun,omitempty"`
}

func (c *rotateCommand) Run(ctx context.Context, t *terminal) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	r, err := c.rotator(ctx, t)
	if err != nil {
		return err
	}
	do := r.Rotate
	if c.DryRun {
		do = r.Plan
	}
	plan, err := do(ctx, c.Secret)
	if err != nil {
		switch {
		case plan.Version == "" && errors.Is(err, rotate.ErrRefused):
			err = hinted{err, "put what works now into the secret, without a line break at its end; or see that --nodes are where the user signs in"}
		case plan.Version != "":
			err = hinted{err, "run it again: it goes on where it stopped; docs/rotation.md has what is left behind"}
		}
		return err
	}
	if c.Format == "json" {
		return json.NewEncoder(t.stdout).Encode(rotated{plan, c.DryRun})
	}
	does := map[bool]string{true: "would become", false: "is"}[c.DryRun]
	_, err = fmt.Fprintf(t.stdout, "version %s of %s %s current\n", plan.Version, c.Secret, does)
	return err
}

func (c *rotateCommand) rotator(ctx context.Context, t *terminal) (*rotate.Rotator, error) {
	if c.Grace < 0 || c.Poll <= 0 {
		return nil, usageError{errors.New("--grace must not be negative, --poll must be more than nothing")}
	}
	common := location{Region: c.Region, RoleARN: c.RoleARN, ExternalID: c.ExternalID, CA: c.CA}
	awsConfig, err := common.awsConfig(ctx)
	if err != nil {
		return nil, err
	}
	if awsConfig.Region == "" {
		return nil, usageError{hinted{errors.New("no region"), "give --region, REDIAM_REGION or AWS_REGION"}}
	}
	trust, err := common.trust()
	if err != nil {
		return nil, usageError{err}
	}
	kind, id := rotate.KindAuthToken, c.ReplicationGroupID
	if c.UserID != "" {
		kind, id = rotate.KindElastiCacheUser, c.UserID
	}
	if c.MemoryDBUser != "" {
		kind, id = rotate.KindMemoryDBUser, c.MemoryDBUser
	}
	of, err := rotate.NewTarget(kind, id, awsConfig, rotate.TLSLogin(trust), c.Nodes)
	if err != nil {
		return nil, usageError{hinted{err, "--nodes HOST:PORT says where"}}
	}
	if user, ok := of.(*rotate.User); ok {
		user.Replace = c.Replace
	}
	grace := c.Grace
	if grace == 0 {
		grace = -1 // zero means five minutes to the package
	}
	secrets, secret := secretsmanager.NewFromConfig(awsConfig), c.Secret
	if strings.HasPrefix(secret, "arn:") { // which may lack its end (Secrets Manager API reference, DescribeSecret)
		if out, err := secrets.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &secret}); err == nil {
			secret = aws.ToString(out.ARN)
		}
	}
	return &rotate.Rotator{Secrets: secrets, Targets: map[string]rotate.Target{secret: of}, Grace: grace,
		Poll: rotate.Poll{Every: c.Poll, Progress: func(what string) { t.say("%s", strings.ReplaceAll(what, "\n", " ")) }}}, nil
}
