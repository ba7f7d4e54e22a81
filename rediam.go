// Package rediam signs programs in to Amazon ElastiCache and MemoryDB (Redis
// OSS and Valkey) with AWS IAM instead of a password.
//
// A [Signer] turns AWS credentials into tokens: short-lived passwords that the
// service accepts in AUTH and HELLO. It is a [TokenSource], which the packages
// goredis, redigo and valkeygo give to the client libraries of these names. For
// go-redis:
//
//	signer := &rediam.Signer{
//		Cache:       "orders",     // the replication group id, not the endpoint
//		User:        "orders-app", // on ElastiCache the user id and the user name, which must be equal
//		Region:      "eu-west-1",
//		Credentials: awsConfig.Credentials,
//	}
//	options := &redis.Options{Addr: "master.orders.abc123.euw1.cache.amazonaws.com:6379", TLSConfig: &tls.Config{}}
//	if err := goredis.Configure(options, signer, rediam.Renewal{}); err != nil {
//		log.Fatal(err)
//	}
//	client := redis.NewClient(options)
//
// A token is made afresh each time one is asked for. That takes some
// microseconds and no network, so nothing is cached here and no goroutine runs;
// the AWS SDK caches the credentials underneath. A connection that is signed in
// stays so when its token expires, but AWS closes it after 12 hours unless it
// has sent AUTH with a new token meanwhile: [Renewal] says when it does, or is
// replaced. [Limit] bounds how many sign in at one time; [SignIns] counts them.
// [Config.Explain] tells what may be behind an error. Package password is a source of
// passwords that are rotated in AWS Secrets Manager, a [PasswordSource].
//
// [Probe] makes a program without credentials fail at its start rather than at
// its first command. [Config] reads a program's Redis settings, with IAM or
// without, from flags, a URL or the environment, and refuses what cannot work.
//
// The package never loads AWS configuration itself and links aws-sdk-go-v2 and
// smithy-go only.
package rediam

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"
)

// A TokenSource gives a token that is valid now. Implementations are safe for
// many goroutines, and may block until ctx is done.
type TokenSource interface {
	Token(ctx context.Context) (Token, error)
}

// A Token is a user name and the short-lived password that goes with it in AUTH
// or HELLO. It prints, logs and marshals without the password; keep it out of
// unexported struct fields that are printed, where fmt cannot see its methods.
type Token struct {
	User     string
	Password string
	// Expires is when the service stops accepting the token: the sooner of its
	// own life (15 minutes at most) and the end of the AWS credentials that
	// signed it. Connections signed in with it before live on. Zero means that
	// nobody knows an end: it is a password.
	Expires time.Time
}

const redacted = "[redacted]"

// String describes the token without its password.
func (t Token) String() string {
	return fmt.Sprintf("rediam.Token{User:%q Password:%s Expires:%s}", t.User, redacted, t.Expires.UTC().Format(time.RFC3339))
}

// Format prints the token without its password, whatever the verb.
func (t Token) Format(f fmt.State, _ rune) { io.WriteString(f, t.String()) }

// LogValue gives log/slog the token without its password.
func (t Token) LogValue() slog.Value {
	return slog.GroupValue(slog.String("user", t.User), slog.String("password", redacted), slog.Time("expires", t.Expires))
}

// MarshalJSON writes the token without its password.
func (t Token) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		User     string    `json:"user"`
		Password string    `json:"password"`
		Expires  time.Time `json:"expires"`
	}{t.User, redacted, t.Expires})
}

var (
	_ fmt.Formatter  = Token{}
	_ slog.LogValuer = Token{}
)

// A Service is the AWS service that a cache belongs to, in AWS's own spelling.
// The zero value means ElastiCache.
type Service string

const (
	ElastiCache Service = "elasticache"
	MemoryDB    Service = "memorydb"
)

// UnmarshalText reads "elasticache" or "memorydb" in any case, so that a
// Service can be a flag or a configuration field. Anything else is an error.
func (s *Service) UnmarshalText(text []byte) error {
	switch v := Service(strings.ToLower(string(text))); v {
	case ElastiCache, MemoryDB:
		*s = v
		return nil
	}
	return errors.New("service must be elasticache or memorydb")
}

// orDefault is the service with its zero value resolved.
func (s Service) orDefault() Service {
	if s == "" {
		return ElastiCache
	}
	return s
}

// BasicAuth adapts a TokenSource to clients that ask for a user name and a
// password per connection: go-redis' CredentialsProviderContext is this type.
// The function is safe for many goroutines if src is.
func BasicAuth(src TokenSource) func(ctx context.Context) (username, password string, err error) {
	return func(ctx context.Context) (string, string, error) {
		t, err := src.Token(ctx)
		if err != nil {
			return "", "", err
		}
		return t.User, t.Password, nil
	}
}

// A CredentialsError says that there was no token because the AWS credentials
// to sign it with could not be had. It may pass (a metadata service that is
// slow, a role that is being changed), so a live program does well to try
// again; at a program's start [Probe] reports it with the places searched.
type CredentialsError struct{ Err error }

// Error says what the provider says, less the output of a credential_process that
// could not be read, which the SDK repeats and which may hold the secret.
func (e *CredentialsError) Error() string {
	text, _, cut := strings.Cut(e.Err.Error(), processOutput)
	if cut {
		text += "the credential_process printed no JSON that can be read (not shown: it may hold a secret)"
	}
	return "rediam: get AWS credentials: " + text
}

// processOutput is what the SDK puts before the output of a credential_process.
const processOutput = "parse failed of process output:"

func (e *CredentialsError) Unwrap() error { return e.Err }

// credentialPlaces are where the default chain of the AWS SDKs looks, in its
// order (AWS SDKs and Tools Reference Guide, "Standardized credential providers").
const credentialPlaces = "the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN), " +
	"a web identity token (AWS_WEB_IDENTITY_TOKEN_FILE, AWS_ROLE_ARN), " +
	"the shared files (~/.aws/config, ~/.aws/credentials, AWS_PROFILE: static keys, SSO, assumed roles, credential_process), " +
	"the container endpoint (AWS_CONTAINER_CREDENTIALS_FULL_URI, AWS_CONTAINER_CREDENTIALS_RELATIVE_URI) " +
	"and the EC2 instance metadata service"

// Probe asks src for one token and throws it away. Call it once at start, with
// a ctx that has a deadline: a program without AWS credentials then fails there
// with an error that names the places searched, instead of at its first
// command. It does not talk to the cache, so it cannot tell whether the token
// would be accepted.
func Probe(ctx context.Context, src TokenSource) error {
	_, err := src.Token(ctx)
	if noCredentials := (*CredentialsError)(nil); errors.As(err, &noCredentials) {
		return fmt.Errorf("%w; the AWS SDK looks in, by default: %s", err, credentialPlaces)
	}
	return err
}
