package rediam

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// MaxTTL is the longest life of a token: "the IAM authentication token is valid
// for 15 minutes" (ElastiCache and MemoryDB user guides, Authenticating with IAM).
const MaxTTL = 15 * time.Minute

// emptyPayloadHash is the SHA-256 of no bytes: a token is a presigned GET
// without a body. (UNSIGNED-PAYLOAD, which S3 presigning uses, is not accepted.)
const emptyPayloadHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// A Signer is a [TokenSource] that signs every token afresh from AWS
// credentials. Fill in the fields and call Token; do not change or copy a Signer
// after that. It is safe for many goroutines and needs no Close. No goroutine of
// its own outlives a call, but that of a provider that does not return.
type Signer struct {
	// Service is the service that the cache belongs to; zero means ElastiCache.
	Service Service

	// Cache is the replication group id, the serverless cache name or the
	// MemoryDB cluster name. It is not the endpoint. It is signed in lower case,
	// as AWS stores it. Required.
	Cache string

	// User is the name to sign in as. On ElastiCache it must be equal to the
	// user id, and is signed in lower case. Required.
	User string

	// Region is the region of the cache, such as eu-west-1. Required: a token
	// for another region is refused like a wrong password.
	Region string

	// Serverless is whether Cache is an ElastiCache serverless cache, which
	// must be part of what is signed.
	Serverless bool

	// TTL is how long tokens stay valid, in whole seconds from 1 s to MaxTTL;
	// zero means MaxTTL.
	TTL time.Duration

	// Credentials are asked for at every token, so that a rotated role never
	// freezes here. Those of an aws.Config are cached by the SDK, as they should
	// be. Required.
	Credentials aws.CredentialsProvider

	// Now is the clock; nil means time.Now.
	Now func() time.Time

	// checked is set once the fields above have been found good; the SDK's
	// signer caches the signing key of the day.
	checked atomic.Pointer[v4.Signer]
	origin  atomic.Pointer[string] // where the first credentials came from
}

var (
	_ TokenSource    = (*Signer)(nil)
	_ fmt.Formatter  = (*Signer)(nil)
	_ slog.LogValuer = (*Signer)(nil)
)

// Format prints the signer without its credentials, whatever the verb.
func (s *Signer) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "rediam.Signer{Service:%s Cache:%q User:%q Region:%q Serverless:%v}", s.Service.orDefault(), s.Cache, s.User, s.Region, s.Serverless)
}

// LogValue gives log/slog what the signer signs for, and where the credentials of
// its first token came from.
func (s *Signer) LogValue() slog.Value {
	origin := "not asked for yet"
	if o := s.origin.Load(); o != nil {
		origin = *o
	}
	return slog.GroupValue(slog.String("service", string(s.Service.orDefault())), slog.String("cache", strings.ToLower(s.Cache)),
		slog.String("user", s.user()), slog.String("region", s.Region), slog.Bool("serverless", s.Serverless), slog.String("credentials", origin))
}

// Token makes a token that is valid from now on. It blocks only while the
// credentials provider does, and no longer than ctx. It fails with every wrong
// field named, or with a [*CredentialsError], also where the provider panics;
// below an aws.CredentialsCache a panic ends the process, in a goroutine of the
// SDK's. No error contains a secret.
func (s *Signer) Token(ctx context.Context) (Token, error) {
	signer, err := s.signer()
	if err != nil {
		return Token{}, err
	}
	credentials, err := s.credentials(ctx)
	if err != nil {
		return Token{}, &CredentialsError{err}
	}
	if s.origin.Load() == nil {
		s.origin.Store(&credentials.Source)
	}
	now := s.now()
	if err := usable(credentials, now); err != nil {
		return Token{}, &CredentialsError{err}
	}
	password, err := s.presign(ctx, signer, credentials, now)
	if err != nil {
		return Token{}, fmt.Errorf("rediam: sign token: %w", err)
	}
	expires := now.Add(s.ttl())
	if credentials.CanExpire && credentials.Expires.Before(expires) {
		expires = credentials.Expires
	}
	return Token{User: s.user(), Password: password, Expires: expires}, nil
}

// credentials asks the provider. The SDK's cache, which is what most programs
// have, keeps to ctx by itself.
func (s *Signer) credentials(ctx context.Context) (aws.Credentials, error) {
	if cache, ok := s.Credentials.(*aws.CredentialsCache); ok {
		return cache.Retrieve(ctx)
	}
	return guard(ctx, s.Credentials.Retrieve)
}

// signer is the SDK's signer, given only to a Signer whose fields are good.
func (s *Signer) signer() (*v4.Signer, error) {
	if signer := s.checked.Load(); signer != nil {
		return signer, nil
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	s.checked.CompareAndSwap(nil, v4.NewSigner())
	return s.checked.Load(), nil
}

// presign signs GET / on the cache's name and drops the scheme, which is not
// part of the signature.
func (s *Signer) presign(ctx context.Context, signer *v4.Signer, credentials aws.Credentials, now time.Time) (string, error) {
	query := "Action=connect&User=" + url.QueryEscape(s.user()) +
		"&X-Amz-Expires=" + strconv.Itoa(int(s.ttl()/time.Second))
	if s.Serverless {
		query += "&ResourceType=ServerlessCache"
	}
	request := &http.Request{
		Method: http.MethodGet,
		URL:    &url.URL{Scheme: "http", Host: strings.ToLower(s.Cache), Path: "/", RawQuery: query},
		Header: http.Header{},
	}
	signed, _, err := signer.PresignHTTP(ctx, credentials, request, emptyPayloadHash, string(s.Service.orDefault()), s.Region, now)
	return strings.TrimPrefix(signed, "http://"), err
}

// check reports every field that cannot make a token AWS would accept.
func (s *Signer) check() error {
	problems := []error{
		checkService(s.Service, s.Serverless),
		checkCacheName(s.Cache),
		checkUserName(s.Service, s.User),
		checkRegion(s.Region),
	}
	if s.TTL < 0 || s.TTL > MaxTTL || s.TTL%time.Second != 0 {
		problems = append(problems, errors.New("TTL must be whole seconds from 1s to 15m, or zero for 15m"))
	}
	if noProvider(s.Credentials) {
		problems = append(problems, errors.New("no Credentials: set them to those of an aws.Config"))
	}
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("rediam: cannot sign tokens: %w", err)
	}
	return nil
}

// noProvider is whether there is nobody to ask: the SDK's cache of nothing
// would end the process.
func noProvider(p aws.CredentialsProvider) bool {
	cache, ok := p.(*aws.CredentialsCache)
	return p == nil || ok && (cache == nil || cache.IsCredentialsProvider(nil))
}

// user is the name as it is signed and sent. ElastiCache stores user ids in
// lower case; MemoryDB keeps the case of a user name.
func (s *Signer) user() string {
	if s.Service.orDefault() == MemoryDB {
		return s.User
	}
	return strings.ToLower(s.User)
}

func (s *Signer) ttl() time.Duration {
	if s.TTL == 0 {
		return MaxTTL
	}
	return s.TTL
}

// now is the signing time: X-Amz-Date counts in whole seconds.
func (s *Signer) now() time.Time {
	if s.Now == nil {
		return time.Now().UTC().Truncate(time.Second)
	}
	return s.Now().UTC().Truncate(time.Second)
}

// usable refuses credentials that would sign a token nobody accepts.
func usable(c aws.Credentials, now time.Time) error {
	if !c.HasKeys() {
		return errors.New("the provider returned no access key")
	}
	if c.CanExpire && !c.Expires.After(now) {
		return fmt.Errorf("they expired at %s", c.Expires.UTC().Format(time.RFC3339))
	}
	return nil
}
