package rediam

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
)

// The texts with which a cache refuses or ends, as they stand in the user guides
// ("Authenticating with IAM", "Connecting to a cache with a public endpoint") and
// in the engines.
const (
	textWrongPass      = "WRONGPASS"
	textWrongToken     = "ERR invalid password" // of an AUTH token, before Redis 6
	textNoAuth         = "NOAUTH"
	textNoPerm         = "NOPERM"
	textThrottled      = "Exceeded limit of IAM Authentication requests"
	textIAMUnavailable = "IAM Authentication service is not available"
	textUnavailable    = "service is not available"
	textMaxClients     = "max number of clients reached"
	textPoolTimeout    = "connection pool timeout" // go-redis
)

// A Cause is the kind of trouble that an error tells of; metrics count by it.
type Cause string

const (
	CauseCredentials Cause = "credentials" // there were no AWS credentials to sign with
	CauseRefused     Cause = "refused"     // WRONGPASS: AWS's one answer to every sign-in that it does not take
	CauseNoAuth      Cause = "noauth"      // NOAUTH: a command came before a sign-in
	CauseNoPerm      Cause = "noperm"      // NOPERM: the access string does not allow the command
	CauseThrottled   Cause = "throttled"   // too many sign-ins at a time
	CauseUnavailable Cause = "unavailable" // IAM or the cache cannot answer now
	CauseTimeout     Cause = "timeout"     // nobody answered in time
	CauseTLS         Cause = "tls"         // the certificate, or no TLS on one side
	CauseConnection  Cause = "connection"  // it could not be opened, or was closed
	CauseOther       Cause = "other"
)

// Causes are all there are.
func Causes() []Cause {
	return []Cause{CauseCredentials, CauseRefused, CauseNoAuth, CauseNoPerm, CauseThrottled, CauseUnavailable, CauseTimeout, CauseTLS, CauseConnection, CauseOther}
}

// CauseOf finds the kind of trouble by type where an error has one, and else by
// AWS's texts, which clients wrap as strings. It is empty for nil.
func CauseOf(err error) Cause {
	if err == nil {
		return ""
	}
	text := err.Error()
	has := func(s string) bool { return strings.Contains(text, s) }
	switch {
	case errors.As(err, new(*CredentialsError)):
		return CauseCredentials
	case has(textWrongPass), has(textWrongToken):
		return CauseRefused
	case has(textNoAuth):
		return CauseNoAuth
	case has(textNoPerm):
		return CauseNoPerm
	case has(textThrottled):
		return CauseThrottled
	case has(textUnavailable), has(textMaxClients):
		return CauseUnavailable
	case isTLS(err):
		return CauseTLS
	case isTimeout(err), has(textPoolTimeout):
		return CauseTimeout
	case isConnection(err):
		return CauseConnection
	}
	return CauseOther
}

// isTLS also knows the other side's complaints, for which crypto/tls has no type of
// its own on a network.
func isTLS(err error) bool {
	var remote *net.OpError
	return errors.As(err, &remote) && remote.Op == "remote error" || errors.As(err, new(*tls.CertificateVerificationError)) || errors.As(err, new(x509.UnknownAuthorityError)) ||
		errors.As(err, new(x509.HostnameError)) || errors.As(err, new(x509.CertificateInvalidError)) ||
		errors.As(err, new(tls.RecordHeaderError)) || errors.As(err, new(tls.AlertError))
}

func isTimeout(err error) bool {
	var timed net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &timed) && timed.Timeout()
}

func isConnection(err error) bool {
	return errors.As(err, new(*net.OpError)) || errors.As(err, new(*net.DNSError)) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// An Explanation is an error of a client with what may be behind it.
type Explanation struct {
	Err    error
	Cause  Cause
	Checks []string // what to look at, in the order worth testing
	Settle string   // the command that settles it; empty if there is none
}

// Error is the error's text, and the checks below it as a numbered list.
func (e *Explanation) Error() string {
	var b strings.Builder
	b.WriteString(e.Err.Error())
	for i, check := range e.Checks {
		fmt.Fprintf(&b, "\n  %d. %s", i+1, check)
	}
	if e.Settle != "" {
		b.WriteString("\n  to settle it: " + e.Settle)
	}
	return b.String()
}

func (e *Explanation) Unwrap() error { return e.Err }

// Explain turns an error that a client has got from the cache that c describes
// into an [*Explanation], which names the likely causes in the order worth testing
// and a command that settles it. AWS answers every sign-in that it refuses with
// one text, so it takes what c says to tell more. An error that nothing is known
// about comes back as it is, and so does nil. Neither tells a secret.
func (c Config) Explain(err error) error {
	if err == nil {
		return nil
	}
	if c.Service != MemoryDB {
		c.Service = ElastiCache
	}
	e := &Explanation{Err: err, Cause: CauseOf(err)}
	switch e.Cause {
	case CauseRefused:
		e.Checks = c.whyRefused()
		if c.AWSAuth {
			e.Settle = c.doctor()
		}
	case CauseNoAuth:
		e.Checks = []string{
			"the client has no token source: it sends commands before AUTH. Public endpoints answer this to anything that comes first, CLIENT SETINFO and PING too",
			"AUTH had one argument, which means the user default: IAM users need AUTH user token",
			"RESET was sent, which ends the sign-in",
		}
		e.Settle = c.doctor()
	case CauseNoPerm:
		e.Checks = []string{"the sign-in is fine; the access string of user " + shown(c.Username, "USER") + " does not allow this command, key or channel"}
		e.Settle = "aws " + string(c.Service) + " describe-users --region " + shown(c.Region, "REGION")
	case CauseThrottled:
		e.Checks = []string{
			"many connections sign in at one time: bound them with rediam.Limit, and spread renewals",
			"connections are opened and closed for each request: use a pool",
			"somebody signs in again every few minutes: AWS keeps a connection for 12 hours, so every 9 are enough",
		}
	case CauseUnavailable:
		e.Checks = []string{
			"AWS cannot check tokens now, or the cache is busy, failing over or at its limit of connections: try again, with growing pauses",
			"the connections that are signed in go on working meanwhile: do not drop them",
		}
	case CauseCredentials:
		e.Checks = []string{"the AWS SDK looks for credentials in " + credentialPlaces}
		e.Settle = "aws sts get-caller-identity"
	default:
		if e.Checks = c.whyUnreachable(e.Cause, err); e.Checks == nil {
			return err
		}
		e.Settle = "openssl s_client -connect " + c.endpoint() + " -servername " + shown(c.Host, "HOST") + " </dev/null"
	}
	return e
}

// whyRefused is the order of clients' experience: what is wrong most often and
// tested most easily comes first. What c shows to be wrong comes before all.
func (c Config) whyRefused() []string {
	if !c.AWSAuth {
		return []string{"the user name or the password is wrong, or the user is off: if it comes from a secret, look whether that is this cache's, and how its last rotation went", "the user signs in with IAM: set AWSAuth (REDIS_AWS_AUTH=true)"}
	}
	service, cache, user := c.Service, shown(c.CacheName, "CACHE"), shown(c.Username, "USER")
	var checks []string
	if inHost := nameInEndpoint(c.Host); inHost != "" && c.CacheName != "" && !strings.EqualFold(inHost, c.CacheName) {
		checks = append(checks, fmt.Sprintf("the endpoint seems to be that of cache %q, and the token was signed for %q", inHost, c.CacheName))
	}
	if onServerless := strings.Contains(c.Host, ".serverless."); c.Host != "" && onServerless != c.Serverless {
		checks = append(checks, fmt.Sprintf("Serverless is %v, and the endpoint looks as if it should be %v", c.Serverless, onServerless))
	}
	if inMemoryDB := strings.Contains(c.Host, ".memorydb."); inMemoryDB && service != MemoryDB {
		checks = append(checks, "the endpoint is MemoryDB's, and the token was signed for ElastiCache")
	}
	checks = append(checks,
		"wrong-region: the region of the cache is not "+shown(c.Region, "the one that was signed for"),
		"name-unknown, name-is-endpoint: the cache's id or name is not "+cache+": it is the replication group id, serverless cache name or MemoryDB cluster name, in lower case, and never an endpoint or a node (-001)")
	if service == ElastiCache {
		checks = append(checks,
			"resource-type-missing, resource-type-extra: Serverless must be set for serverless caches, and for no others",
			"user-id-differs-from-name: the id of user "+user+" is not its name: on ElastiCache they must be equal, in lower case")
	}
	group := map[Service]string{ElastiCache: "user group", MemoryDB: "ACL"}[service]
	return append(checks,
		"user-unknown, user-not-in-group, user-not-iam, user-off: user "+user+" does not exist, is not in the "+group+" of the cache, does not sign in with IAM, or its access string does not say on",
		"policy-lacks-cache, policy-lacks-user: the IAM policy does not allow "+string(service)+":Connect on both ARNs, the cache's and the user's",
		"wrong-principal: the AWS credentials are not those that you think: look with aws sts get-caller-identity",
		"token-expired, credentials-expired: the token was old: over 15 minutes, or its credentials had expired; sign one for each connection",
		"clock-skew: the clock of this machine is wrong by minutes",
		"token-mangled, scheme-left-on: the token was changed on its way, by a shell or a URL, or has https:// before it",
		"one-argument-auth, static-password: AUTH had one argument, or a static password was sent first")
}

func (c Config) whyUnreachable(cause Cause, err error) []string {
	switch cause {
	case CauseTimeout:
		return []string{
			"nothing answers at " + c.endpoint() + ": a security group or network ACL drops the packets, or the cache is in another VPC",
			"the client speaks without TLS to a port with TLS, which waits for more",
			"the pool is too small for the load, so that the time went by before there was a connection",
		}
	case CauseTLS:
		return []string{
			"this machine does not trust the authority of the certificate: AWS's is Amazon Trust Services, the emulator's is in the file REDIAM_CA",
			"the host name that was dialled is not in the certificate: use the endpoint's name, not an address or a CNAME",
			"the port speaks without TLS: in-transit encryption is off",
		}
	case CauseConnection:
		if dialled := (*net.OpError)(nil); errors.As(err, &dialled) && dialled.Op == "dial" {
			return []string{
				"nothing listens at " + c.endpoint() + ": the port is wrong, or the cache is not there any more",
				"the host name is not known here: the names of caches resolve within their VPC",
			}
		}
		return []string{
			"AWS closes a connection 12 hours after its last sign-in: renew it or recycle it before (Renewal)",
			"the user was taken out of its user group, which ends its connections at once; so does deleting the user or the cache",
			"the client speaks without TLS to a port with TLS, which then closes",
			"a failover, or a node that is being replaced: try again",
		}
	}
	return nil
}

// doctor is the command that finds the cause. The first words of the checks are
// its ids.
func (c Config) doctor() string {
	flags := " --endpoint " + c.endpoint() + " --cache " + shown(c.CacheName, "CACHE") + " --user " + shown(c.Username, "USER") + " --region " + shown(c.Region, "REGION")
	if c.Service == MemoryDB {
		flags += " --service memorydb"
	}
	if c.Serverless {
		flags += " --serverless"
	}
	return "rediam doctor" + flags
}

// shown is a value that belongs into a sentence or a command, or a placeholder
// where there is none or it is not of the form that such values have.
func shown(value, placeholder string) string {
	plain := func(r rune) bool {
		return r == '-' || r == '.' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
	}
	if value == "" || strings.ContainsFunc(value, func(r rune) bool { return !plain(r) }) {
		return placeholder
	}
	return value
}

// endpoint is the address with a placeholder for a host that cannot be shown.
func (c Config) endpoint() string {
	c.Host = shown(c.Host, "HOST")
	return c.Addr()
}
