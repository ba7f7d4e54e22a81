package doctor

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/internal/resp"
)

const (
	// maxAnswer bounds the line that answers AUTH, in bytes.
	maxAnswer = 1024
	// maxTries bounds how often a refused sign-in is tried in another way: AWS limits
	// sign-ins, and clients need them more. The last is kept for what the account says.
	maxTries = 12
)

func (e *examination) dial(ctx context.Context) (*tls.Conn, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if e.TLS != nil {
		config = e.TLS.Clone()
	}
	if config.ServerName == "" {
		config.ServerName = e.Config.Host
	}
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", e.Config.Addr())
	if err != nil {
		return nil, err
	}
	return conn.(*tls.Conn), nil
}

// auth sends AUTH on a connection of its own and gives the line that answers it,
// with its kind and without the password. It is the first command, as public endpoints want.
func (e *examination) auth(ctx context.Context, user, password string) (string, error) {
	conn, err := e.dial(ctx)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if end, ok := ctx.Deadline(); ok {
		conn.SetDeadline(end)
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if _, err := conn.Write(resp.AppendCommand(nil, "AUTH", user, password)); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(io.LimitReader(conn, maxAnswer)).ReadString('\n')
	return strings.ReplaceAll(strings.TrimRight(line, "\r\n"), password, "(the token)"), err
}

// signIn signs a token for c and tries it.
func (e *examination) signIn(ctx context.Context, c rediam.Config) (string, error) {
	token, err := (&rediam.Signer{Service: c.Service, Cache: c.CacheName, User: c.Username, Region: c.Region, Serverless: c.Serverless, Credentials: e.Credentials}).Token(ctx)
	if err != nil {
		return "", err
	}
	return e.auth(ctx, token.User, token.Password)
}

func (e *examination) checkSignIn(ctx context.Context) result {
	var answer string
	var err error
	if e.Token != "" {
		answer, err = e.auth(ctx, e.Config.Username, e.Token)
	} else {
		answer, err = e.signIn(ctx, e.Config)
	}
	if err != nil {
		return networkFailure(err, e.Config.Addr())
	}
	if answer == "+OK" {
		return fine("AUTH was answered with OK")
	}
	text := strings.TrimPrefix(answer, "-")
	switch cause := rediam.CauseOf(errors.New(text)); cause {
	case rediam.CauseRefused:
		return failure(text, e.whyRefused(ctx)...)
	case rediam.CauseThrottled:
		return failure(text, found(Throttled, "too many sign-ins to this cache at a time", "spread and bound them: keep connections, renew every 9 hours and not every few minutes"))
	case rediam.CauseUnavailable:
		return failure(text, found(Unavailable, "the cache cannot check sign-ins now", "wait and try again; connections that are signed in go on working"))
	}
	word, _, _ := strings.Cut(text, " ")
	return failure(word, found(Unexplained, "AUTH was answered with "+word+", which no cache with users answers (the rest is not shown: it may repeat the token)",
		"is it ElastiCache or MemoryDB that listens at "+e.Config.Addr()+"?"))
}

// whyRefused tries what may be meant, then reads the account.
func (e *examination) whyRefused(ctx context.Context) []Finding {
	if e.Token == "" {
		if meant, ok := e.try(ctx, e.variants()); ok {
			return e.differences(meant)
		}
	} else if f, ok := e.signAnew(ctx); ok {
		return []Finding{f}
	}
	return e.look(ctx)
}

// signAnew tries a token of this machine's credentials in the place of one from
// elsewhere.
func (e *examination) signAnew(ctx context.Context) (f Finding, ok bool) {
	if e.Credentials == nil {
		return f, false
	}
	own, err := e.Credentials.Retrieve(ctx)
	if err != nil {
		return f, false
	}
	if _, ok := e.try(ctx, []rediam.Config{e.Config}); !ok {
		return f, false
	}
	if own.AccessKeyID == e.claims.AccessKey {
		return found(TokenMangled, "a token that is signed anew, with the same access key, is taken: the signature of this one does not fit", "look for what changes it on its way, and whether secret key and session token were those of the access key"), true
	}
	return found(WrongPrincipal, "a token that is signed with the credentials of this machine is taken: those that signed this one are others, and may not connect or are not valid any more", "run this where the token is signed, without --token"), true
}

// variants are the sign-ins that may be meant, those with the fewest differences first.
func (e *examination) variants() []rediam.Config {
	told := toldBy(e.Config.Host)
	regions := append([]string{e.Config.Region, told.region}, e.Regions...)
	names := []string{e.Config.CacheName, told.name}
	var all []rediam.Config
	for _, name := range unique(names) {
		for _, region := range unique(regions) {
			for _, kind := range []struct {
				service    rediam.Service
				serverless bool
			}{{rediam.ElastiCache, false}, {rediam.ElastiCache, true}, {rediam.MemoryDB, false}} {
				c := e.Config
				c.CacheName, c.Region, c.Service, c.Serverless = name, region, kind.service, kind.serverless
				all = append(all, c)
			}
		}
	}
	all = slices.DeleteFunc(all, func(c rediam.Config) bool { return e.distance(c) == 0 })
	slices.SortStableFunc(all, func(a, b rediam.Config) int { return cmp.Compare(e.distance(a), e.distance(b)) })
	return all[:min(len(all), maxTries-1)]
}

func unique(list []string) (all []string) {
	for _, s := range list {
		if s != "" && !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return all
}

// distance is in how many things c differs from what was asked for.
func (e *examination) distance(c rediam.Config) int { return len(e.differences(c)) }

// try finds the first of the sign-ins that is taken.
func (e *examination) try(ctx context.Context, configs []rediam.Config) (rediam.Config, bool) {
	for _, c := range configs {
		answer, err := e.signIn(ctx, c)
		if answer == "+OK" {
			return c, true
		}
		if err != nil || !strings.HasPrefix(answer, "-WRONGPASS") { // it is throttled, or cannot be reached any more
			break
		}
	}
	return rediam.Config{}, false
}

// differences are what must change for the sign-in to be the one that is meant.
func (e *examination) differences(meant rediam.Config) (all []Finding) {
	c := e.Config
	if meant.Region != c.Region {
		all = append(all, found(WrongRegion, fmt.Sprintf("the cache is in %s, and the token was signed for %s", meant.Region, c.Region), "--region "+meant.Region+" (REDIAM_REGION, REDIS_AWS_REGION; without them AWS_REGION)"))
	}
	if service, was := cmp.Or(meant.Service, rediam.ElastiCache), cmp.Or(c.Service, rediam.ElastiCache); service != was {
		all = append(all, found(WrongService, fmt.Sprintf("the cache is of %s, and the token was signed for %s", service, was), "--service "+string(service)))
	} else if meant.Serverless && !c.Serverless {
		all = append(all, found(ResourceTypeMissing, "the cache is serverless, and the token has no ResourceType=ServerlessCache", "--serverless"))
	} else if !meant.Serverless && c.Serverless {
		all = append(all, found(ResourceTypeExtra, "the cache is not serverless, and the token has ResourceType=ServerlessCache", "without --serverless (REDIAM_SERVERLESS, REDIS_AWS_SERVERLESS)"))
	}
	if !strings.EqualFold(meant.CacheName, c.CacheName) {
		all = append(all, found(NameUnknown, fmt.Sprintf("the cache at %s is %q, and the token was signed for %q", c.Addr(), meant.CacheName, c.CacheName), "--cache "+meant.CacheName))
	}
	return all
}

// networkFailure names why a connection did not come about or ended.
func networkFailure(err error, address string) result {
	var credentials *rediam.CredentialsError
	var hostname x509.HostnameError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &credentials):
		return failure("no token", found(NoCredentials, firstLineOf(err), "aws sts get-caller-identity shows whose credentials are found, if any"))
	case errors.As(err, &hostname):
		return failure("the certificate is for another name", found(WrongHost, firstLineOf(err), "connect to the endpoint's own name: not an address, an alias or a tunnel's name; for a tunnel, give that name its address in the hosts file"))
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return failure("the certificate is not valid now", found(Untrusted, firstLineOf(err), "look at the clock of this machine first; then at who stands between, since AWS renews its certificates"))
	case errors.As(err, new(x509.UnknownAuthorityError)), errors.As(err, new(x509.CertificateInvalidError)), errors.As(err, new(*tls.CertificateVerificationError)):
		return failure("the certificate is not trusted", found(Untrusted, firstLineOf(err), "AWS's certificates come from Amazon Trust Services: update the machine's authorities (ca-certificates); for others give --ca FILE"))
	case errors.As(err, &record):
		return failure("no TLS", found(NoTLS, "what listens at "+address+" does not speak TLS: in-transit encryption is off, and IAM sign-in needs it", "look whether the port is right; if it is, "+turnOnTLS))
	case errors.Is(err, syscall.ECONNREFUSED):
		return failure("refused", found(NotListening, "nothing listens at "+address, "check the port (6379 unless another was given), and whether the cache is still there"))
	case isTimeout(err) && isDial(err):
		return failure("no answer", found(Unreachable, "nothing answers at "+address+": a security group or network ACL drops the packets, the subnet has no route, or this machine is outside of the cache's VPC",
			"caches are reached only from inside the VPC (or a peered one, VPN, or a public endpoint); let this machine's security group in on the port"))
	case isTimeout(err):
		return failure("no answer", found(Silent, "something took the connection at "+address+" and then said nothing", "look whether the port is right, and at what stands between (proxy, tunnel, load balancer)"))
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed):
		return failure("closed", found(Silent, "what listens at "+address+" closed the connection without an answer", "a port without TLS does so, and so does a node that is being replaced: look at the port, and try again"))
	}
	return failure("failed", found(Unreachable, firstLineOf(err), "look at routes and firewalls between this machine and "+address))
}

func isTimeout(err error) bool {
	var timed net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timed) && timed.Timeout()
}

func isDial(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}
