package rediam

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// DefaultPort is the port of Redis and of every ElastiCache and MemoryDB cache
// that was not given another one.
const DefaultPort = 6379

// A Config is how a program reaches its Redis, with IAM or without. Fill it from
// the environment ([ConfigFromEnv]), a URL ([Config.SetURL]) or flags
// ([Config.RegisterFlags]), or write it as a literal. It prints, logs and
// marshals without the password.
type Config struct {
	Host string // required
	Port int    // zero means DefaultPort
	TLS  bool   // required with AWSAuth

	Username string
	Password string // must be empty with AWSAuth
	Database int    // SELECT after sign-in; cluster-mode caches have only 0

	// AWSAuth is whether to sign in with IAM. The fields below are for it alone.
	AWSAuth    bool
	CacheName  string  // replication group id, serverless cache name or MemoryDB cluster name
	Service    Service // zero means ElastiCache
	Serverless bool    // whether CacheName is an ElastiCache serverless cache
	Region     string  // empty means the region of the aws.Config given to Signer

	badFlag error // what is wrong with a -redis-url flag
}

// Addr is "host:port", as net.Dial and the Redis clients take it.
func (c Config) Addr() string {
	port := c.Port
	if port == 0 {
		port = DefaultPort
	}
	return net.JoinHostPort(c.Host, strconv.Itoa(port))
}

// Validate names everything that is wrong with the configuration at once, or
// returns nil. It cannot tell whether a region will be known: Signer does.
func (c Config) Validate() error {
	return c.joined(c.problems())
}

// Signer is the token source for a configuration with AWSAuth. Credentials, and
// the region unless the configuration has one, are a's; a region is never
// assumed. The error names everything that is wrong at once.
func (c Config) Signer(a aws.Config) (*Signer, error) {
	if !c.AWSAuth {
		return nil, errors.New("rediam: this configuration does not sign in with IAM: set AWSAuth (REDIS_AWS_AUTH=true)")
	}
	if c.Region == "" {
		c.Region = a.Region
	}
	problems := c.problems()
	if c.Region == "" {
		problems = append(problems, checkRegion(""))
	}
	if a.Credentials == nil {
		problems = append(problems, errors.New("the aws.Config has no credentials: load it with config.LoadDefaultConfig"))
	}
	if err := c.joined(problems); err != nil {
		return nil, err
	}
	return &Signer{
		Service:     c.Service,
		Cache:       c.CacheName,
		User:        c.Username,
		Region:      c.Region,
		Serverless:  c.Serverless,
		Credentials: a.Credentials,
	}, nil
}

func (c Config) problems() []error {
	problems := []error{c.badFlag}
	if c.Host == "" {
		problems = append(problems, errors.New("no host: give the endpoint's host name"))
	}
	if c.Port < 0 || c.Port > 65535 {
		problems = append(problems, errors.New("the port is not from 1 to 65535"))
	}
	if c.Database < 0 {
		problems = append(problems, errors.New("the database number is negative"))
	}
	if !c.AWSAuth {
		return problems
	}
	if !c.TLS {
		problems = append(problems, errors.New("no TLS: IAM sign-in needs it (rediss:// or REDIS_TLS=true)"))
	}
	if c.Password != "" {
		problems = append(problems, errors.New("a static password is set, in the URL or beside it: with IAM the token is the password"))
	}
	problems = append(problems,
		checkService(c.Service, c.Serverless),
		checkUserName(c.Service, c.Username),
		checkCacheName(c.CacheName))
	if c.Region != "" {
		problems = append(problems, checkRegion(c.Region))
	}
	return problems
}

func (c Config) joined(problems []error) error {
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("rediam: the Redis configuration cannot work: %w", err)
	}
	return nil
}

// withoutPassword is what may be shown of a Config: its fields, with a mark in
// the password's place if there is one.
func (c Config) withoutPassword() configFields {
	f := configFields(c)
	f.badFlag = nil
	if f.Password != "" {
		f.Password = redacted
	}
	return f
}

// configFields is Config without its methods.
type configFields Config

// String describes the configuration without its password.
func (c Config) String() string { return fmt.Sprintf("rediam.Config%+v", c.withoutPassword()) }

// Format prints the configuration without its password, whatever the verb.
func (c Config) Format(f fmt.State, _ rune) { io.WriteString(f, c.String()) }

// LogValue gives log/slog the configuration without its password.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MarshalJSON writes the configuration without its password.
func (c Config) MarshalJSON() ([]byte, error) { return json.Marshal(c.withoutPassword()) }

var (
	_ fmt.Formatter  = Config{}
	_ slog.LogValuer = Config{}
)
