package main

import (
	"context"
	"errors"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/logging"
	"github.com/rediam/rediam"
)

// target is what to sign in to, and with which credentials: the flags that every
// command has which does so. Each reads its REDIAM_ variable first, then the
// REDIS_ one that programs use.
type target struct {
	location `embed:""`
	Timeout  time.Duration `env:"REDIAM_TIMEOUT" default:"10s" help:"How long all of it may take."`
}

// location is a target without the time.
type location struct {
	Service             rediam.Service `env:"REDIAM_SERVICE,REDIS_AWS_SERVICE" placeholder:"NAME" help:"elasticache (default) or memorydb."`
	Cache               string         `env:"REDIAM_CACHE,REDIS_AWS_CACHE_NAME" aliases:"replication-group-id,cluster-name" placeholder:"NAME" help:"Replication group id, serverless cache name or MemoryDB cluster name; not the endpoint."`
	Serverless          bool           `env:"REDIAM_SERVERLESS,REDIS_AWS_SERVERLESS" help:"The cache is an ElastiCache serverless cache."`
	ServerlessCacheName string         `placeholder:"NAME" help:"The same as --serverless --cache NAME."`
	User                string         `env:"REDIAM_USER,REDIS_USERNAME" aliases:"user-id" placeholder:"NAME" help:"User to sign in as; on ElastiCache its id and name must be equal."`
	Region              string         `env:"REDIAM_REGION,REDIS_AWS_REGION" placeholder:"REGION" help:"Region of the cache. Default: that of the AWS configuration."`
	Endpoint            string         `env:"REDIAM_ENDPOINT" placeholder:"HOST:PORT" help:"Where the cache listens. Default: what REDIS_URL, or REDIS_HOST and REDIS_PORT, say."`
	CA                  string         `name:"ca" env:"REDIAM_CA" placeholder:"FILE" help:"PEM file of the authority that the cache's certificate must come from. Default: the system's."`
	RoleARN             string         `name:"role-arn" env:"REDIAM_ROLE_ARN" placeholder:"ARN" help:"Role to assume before signing."`
	ExternalID          string         `name:"external-id" env:"REDIAM_EXTERNAL_ID" placeholder:"ID" help:"External id that the role's trust policy asks for."`
}

// config is the target as the library knows it.
func (t *location) config() (rediam.Config, error) {
	c, err := rediam.ConfigFromEnv(os.LookupEnv)
	if err != nil {
		return c, err
	}
	if t.Endpoint != "" {
		if err := c.SetURL("rediss://" + t.Endpoint); err != nil || strings.ContainsAny(t.Endpoint, "@/") {
			return c, errors.New("--endpoint must be HOST or HOST:PORT")
		}
	}
	c.AWSAuth, c.TLS, c.Password = true, true, ""
	c.CacheName, c.Serverless = t.Cache, t.Serverless
	if t.ServerlessCacheName != "" {
		c.CacheName, c.Serverless = t.ServerlessCacheName, true
	}
	c.Service, c.Region = t.Service, t.Region
	if t.User != "" {
		c.Username = t.User
	}
	return c, nil
}

// reachable is config for those who connect to the cache.
func (t *location) reachable() (rediam.Config, error) {
	c, err := t.config()
	switch {
	case err != nil:
		return c, usageError{err}
	case c.Host == "":
		return c, usageError{hinted{errors.New("no endpoint: where is the cache?"), "give --endpoint HOST:PORT, or REDIAM_ENDPOINT"}}
	}
	return c, nil
}

// signer loads the AWS configuration and makes the token source. Everything that
// is missing or wrong is in one usageError.
func (t *location) signer(ctx context.Context, c rediam.Config) (*rediam.Signer, error) {
	awsConfig, err := t.awsConfig(ctx)
	if err != nil {
		return nil, err
	}
	if c.Host == "" {
		c.Host = "not-needed" // a token does not depend on where the cache listens
	}
	signer, err := c.Signer(awsConfig)
	if err != nil {
		return nil, usageError{hinted{err, "the flags are --service --cache --serverless --user --region, or REDIAM_SERVICE and so on; --help explains them"}}
	}
	return signer, nil
}

func (t *location) awsConfig(ctx context.Context) (aws.Config, error) {
	options := []func(*config.LoadOptions) error{config.WithLogger(logging.Nop{})} // its warnings come with the error, if it comes to one
	if t.Region != "" {
		options = append(options, config.WithRegion(t.Region))
	}
	awsConfig, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return aws.Config{}, hinted{err, "look at AWS_PROFILE, AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE"}
	}
	if t.RoleARN == "" {
		return awsConfig, nil
	}
	if !strings.HasPrefix(t.RoleARN, "arn:") {
		return aws.Config{}, usageError{errors.New("--role-arn must be an ARN such as arn:aws:iam::123456789012:role/NAME")}
	}
	provider := stscreds.NewAssumeRoleProvider(sts.NewFromConfig(awsConfig), t.RoleARN, func(o *stscreds.AssumeRoleOptions) {
		o.RoleSessionName = "rediam"
		if t.ExternalID != "" {
			o.ExternalID = aws.String(t.ExternalID)
		}
	})
	awsConfig.Credentials = aws.NewCredentialsCache(provider)
	return awsConfig, nil
}
