package rediam

import (
	"errors"
	"flag"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// A setting is one value of a Config as text: an environment variable, and a
// flag unless it is a secret.
type setting struct {
	env, flag, help string
	set             func(*Config, string) error // errors do not repeat the text
}

// settings in the order in which they are applied: the URL first, so that the
// others override its parts.
func settings() []setting {
	return []setting{
		{"REDIS_URL", "redis-url", "redis://[user@]host[:port][/db], rediss:// for TLS", (*Config).SetURL},
		{"REDIS_HOST", "redis-host", "host name of the Redis endpoint", text(func(c *Config) *string { return &c.Host })},
		{"REDIS_PORT", "redis-port", "port of the Redis endpoint (6379)", (*Config).setPort},
		{"REDIS_TLS", "redis-tls", "use TLS", truth(func(c *Config) *bool { return &c.TLS })},
		{"REDIS_USERNAME", "redis-username", "user to sign in as", text(func(c *Config) *string { return &c.Username })},
		{"REDIS_PASSWORD", "", "", text(func(c *Config) *string { return &c.Password })},
		{"REDIS_AWS_AUTH", "redis-aws-auth", "sign in with AWS IAM", truth(func(c *Config) *bool { return &c.AWSAuth })},
		{"REDIS_AWS_CACHE_NAME", "redis-aws-cache-name", "replication group id, serverless cache name or MemoryDB cluster name", text(func(c *Config) *string { return &c.CacheName })},
		{"REDIS_AWS_SERVICE", "redis-aws-service", "elasticache or memorydb", func(c *Config, v string) error { return c.Service.UnmarshalText([]byte(v)) }},
		{"REDIS_AWS_SERVERLESS", "redis-aws-serverless", "the cache is an ElastiCache serverless cache", truth(func(c *Config) *bool { return &c.Serverless })},
		{"REDIS_AWS_REGION", "redis-aws-region", "region of the cache (that of the AWS configuration)", text(func(c *Config) *string { return &c.Region })},
	}
}

// ConfigFromEnv reads the variables REDIS_URL, REDIS_HOST, REDIS_PORT,
// REDIS_TLS, REDIS_USERNAME, REDIS_PASSWORD, REDIS_AWS_AUTH,
// REDIS_AWS_CACHE_NAME, REDIS_AWS_SERVICE, REDIS_AWS_SERVERLESS and
// REDIS_AWS_REGION through lookup, which is os.LookupEnv outside tests. Empty
// variables count as unset; the URL is read first and the others override its
// parts. The error names every variable that cannot be read; what the
// configuration means is checked by Validate and Signer.
func ConfigFromEnv(lookup func(string) (string, bool)) (Config, error) {
	var c Config
	var problems []error
	for _, s := range settings() {
		value, _ := lookup(s.env)
		if value == "" {
			continue
		}
		if err := s.set(&c, value); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", s.env, err))
		}
	}
	return c, c.joined(problems)
}

// RegisterFlags adds a flag to fs for each setting but the password, which
// would stand in the process list: -redis-url, -redis-host, -redis-port,
// -redis-tls, -redis-username, -redis-aws-auth, -redis-aws-cache-name,
// -redis-aws-service, -redis-aws-serverless and -redis-aws-region. Flags change
// c as they are parsed, so fill c from the environment first.
func (c *Config) RegisterFlags(fs *flag.FlagSet) {
	for _, s := range settings() {
		switch s.flag {
		case "":
		case "redis-tls", "redis-aws-auth", "redis-aws-serverless":
			fs.BoolFunc(s.flag, s.help, func(v string) error { return s.set(c, v) })
		case "redis-url":
			fs.Func(s.flag, s.help, func(v string) error { c.setFlagURL(v); return nil })
		default:
			fs.Func(s.flag, s.help, func(v string) error { return s.set(c, v) })
		}
	}
}

// setFlagURL is SetURL for the command line, where no password may stand. What is
// wrong waits for Validate, since package flag would print the URL beside it.
func (c *Config) setFlagURL(v string) {
	var alone Config
	err := alone.SetURL(v)
	if err == nil && alone.Password != "" {
		err = errors.New("it holds a password, which everybody on this machine can read in the process list: use REDIS_PASSWORD")
	}
	if err != nil {
		c.badFlag = fmt.Errorf("-redis-url: %w", err)
		return
	}
	c.badFlag = c.SetURL(v)
}

// SetURL fills in what a redis:// or rediss:// URL says (host, port, TLS, user,
// password, database) and leaves the rest of c as it is. The error never
// repeats the URL.
func (c *Config) SetURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil { // its text quotes the URL, and so perhaps a password
		return errors.New("not a URL; escape special characters of user and password as %XX")
	}
	next := *c
	switch u.Scheme {
	case "rediss":
		next.TLS = true
	case "redis":
		next.TLS = false
	default:
		return errors.New("the URL must begin with redis:// or rediss://")
	}
	if u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" {
		return errors.New("the URL may hold user, password, host, port and database number only")
	}
	if u.Hostname() == "" {
		return errors.New("the URL has no host")
	}
	if strings.Contains(u.Hostname(), ":") && !strings.HasPrefix(u.Host, "[") {
		return errors.New("an IPv6 address must stand in brackets: [::1]:6379")
	}
	next.Host = u.Hostname()
	next.Port = 0
	if u.Port() != "" {
		if err := next.setPort(u.Port()); err != nil {
			return err
		}
	}
	if u.User != nil {
		next.Username = u.User.Username()
		if password, ok := u.User.Password(); ok {
			next.Password = password
		}
	}
	if path := strings.TrimPrefix(u.Path, "/"); path != "" {
		database, err := strconv.ParseUint(path, 10, 31)
		if err != nil {
			return errors.New("the URL's path must be a database number")
		}
		next.Database = int(database)
	}
	*c = next
	return nil
}

func (c *Config) setPort(v string) error {
	port, err := strconv.ParseUint(v, 10, 16)
	if err != nil || port == 0 {
		return errors.New("the port must be a number from 1 to 65535")
	}
	c.Port = int(port)
	return nil
}

func text(field func(*Config) *string) func(*Config, string) error {
	return func(c *Config, v string) error {
		*field(c) = v
		return nil
	}
}

func truth(field func(*Config) *bool) func(*Config, string) error {
	return func(c *Config, v string) error {
		b, err := strconv.ParseBool(v)
		if err != nil {
			return errors.New("must be true or false")
		}
		*field(c) = b
		return nil
	}
}
