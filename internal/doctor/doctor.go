// Package doctor finds out why a sign-in does not work. AWS answers every one that
// it refuses with the same words; what is wrong shows only in what stands around it.
package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/ssocreds"
	"github.com/aws/smithy-go"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/internal/account"
	"github.com/rediam/rediam/internal/sigv4"
)

const (
	// An old signature is refused after 15 minutes, one from the future after 5 (the
	// general text on SigV4); from maxDrift on a clock is worth a word.
	maxBehind = 15 * time.Minute
	maxAhead  = 5 * time.Minute
	maxDrift  = time.Minute
	// soon is how long credentials should be good for.
	soon = 5 * time.Minute
)

// A Doctor examines one sign-in. Run may be called once.
type Doctor struct {
	// Config is the sign-in: host, port, cache, user, region, service. Its password is
	// a finding.
	Config rediam.Config
	// Credentials sign. Nil only with Token.
	Credentials aws.CredentialsProvider
	// Token, unless empty, is what was given to AUTH elsewhere: nothing is signed then.
	Token string
	// TLS is cloned; nil means the roots of the system.
	TLS *tls.Config
	// Clients read the account, for one region; nil means that it is not read.
	Clients func(region string) account.Clients
	// Regions are others that the cache may be in, such as that of the environment.
	Regions []string
	// Progress gets every check as it is done; nil means nobody does.
	Progress func(Check)
}

// A Check is one thing that has been looked at.
type Check struct {
	Name   string `json:"name"`
	Status Status `json:"status"`
	Detail string `json:"detail"`
}

// A Status is how a check came out.
type Status string

// The statuses. After the first that failed nothing more is checked.
const (
	OK      Status = "ok"
	Warning Status = "warning"
	Failed  Status = "failed"
)

// A Report is what came out. It holds no secret.
type Report struct {
	OK     bool    `json:"ok"`
	Cause  Cause   `json:"cause,omitempty"`
	Also   []Cause `json:"also"` // what is wrong besides
	Checks []Check `json:"checks"`
	// Findings explain Cause and Also, in their order.
	Findings []Finding `json:"findings"`
}

// A Finding is one cause with what it means here.
type Finding struct {
	Cause Cause  `json:"cause"`
	What  string `json:"what"`
	Mend  string `json:"mend"`
}

// result is what one check found: failed if there are findings.
type result struct {
	detail   string
	warn     bool
	findings []Finding
}

func fine(format string, args ...any) result { return result{detail: fmt.Sprintf(format, args...)} }

func warning(format string, args ...any) result {
	return result{detail: fmt.Sprintf(format, args...), warn: true}
}

func failure(detail string, findings ...Finding) result {
	return result{detail: detail, findings: findings}
}

func found(cause Cause, what, mend string) Finding { return Finding{cause, what, mend} }

// examination is one run.
type examination struct {
	*Doctor
	claims   sigv4.Claims     // of Token
	identity account.Identity // zero if nobody told
	whoErr   error
}

// Run makes the checks in order until one fails. It blocks no longer than ctx, and
// a little for the checks that ctx ends.
func (d *Doctor) Run(ctx context.Context) Report {
	e := &examination{Doctor: d}
	r := Report{Also: []Cause{}, Findings: []Finding{}}
	for _, check := range []struct {
		name string
		run  func(context.Context) result
		skip bool
	}{
		{"token", e.checkToken, d.Token == ""},
		{"credentials", e.checkCredentials, d.Token != ""},
		{"identity", e.checkIdentity, d.Clients == nil},
		{"clock", e.checkClock, d.Clients == nil},
		{"target", e.checkTarget, false},
		{"dns", e.checkDNS, false},
		{"tcp", e.checkTCP, false},
		{"tls", e.checkTLS, false},
		{"sign-in", e.checkSignIn, false},
	} {
		if check.skip {
			continue
		}
		got := check.run(ctx)
		done := Check{check.name, OK, got.detail}
		switch {
		case len(got.findings) > 0:
			done.Status = Failed
		case got.warn:
			done.Status = Warning
		}
		r.Checks = append(r.Checks, done)
		if d.Progress != nil {
			d.Progress(done)
		}
		if done.Status == Failed {
			r.Findings = byImportance(got.findings)
			break
		}
	}
	for i, f := range r.Findings {
		if i == 0 {
			r.Cause = f.Cause
		} else {
			r.Also = append(r.Also, f.Cause)
		}
	}
	r.OK = len(r.Findings) == 0
	return r
}

// byImportance sorts findings by the order of the causes and leaves out repetitions.
func byImportance(findings []Finding) []Finding {
	slices.SortStableFunc(findings, func(a, b Finding) int { return slices.Index(causes, a.Cause) - slices.Index(causes, b.Cause) })
	return slices.CompactFunc(findings, func(a, b Finding) bool { return a.Cause == b.Cause })
}

func (e *examination) checkCredentials(ctx context.Context) result {
	c, err := e.Credentials.Retrieve(ctx)
	switch {
	case err != nil:
		return failure("none", whyNone(err))
	case c.CanExpire && !time.Now().Before(c.Expires):
		return failure("from "+c.Source, found(CredentialsExpired, fmt.Sprintf("the credentials from %s expired at %s", c.Source, c.Expires.UTC().Format(time.RFC3339)),
			"get new ones; a program should ask the SDK's provider for each token, and not keep what it gave"))
	case c.CanExpire && time.Until(c.Expires) < soon:
		return warning("from %s, until %s only: a token is good no longer than what signed it", c.Source, c.Expires.UTC().Format(time.RFC3339))
	case c.CanExpire:
		return fine("from %s, until %s", c.Source, c.Expires.UTC().Format(time.RFC3339))
	}
	return fine("from %s, without an end", c.Source)
}

// whyNone tells of a provider without credentials. Some ask with others, which may
// be what is wrong.
func whyNone(err error) Finding {
	if f, ok := wrongCredentials(err); ok {
		return f
	}
	var refused smithy.APIError
	mend := "give the program a role (EC2, ECS, Lambda, EKS), or set AWS_PROFILE or the access key variables"
	switch {
	case errors.As(err, new(*ssocreds.InvalidTokenError)), strings.Contains(err.Error(), "SSO token"):
		return found(CredentialsExpired, firstLineOf(err), "aws sso login")
	case errors.As(err, &refused) && refused.ErrorCode() == "AccessDenied":
		mend = "the trust policy of the role must allow it to who asks, and the policies of who asks must too: aws sts get-caller-identity shows who that is"
	case refused != nil:
		mend = "AWS was asked for them, and says what is to be mended"
	case isTimeout(err), errors.As(err, new(*net.OpError)):
		mend += "; if it has one, STS or the metadata service does not answer: look whether they can be reached, or give more --timeout"
	}
	return found(NoCredentials, "the AWS SDK found no credentials: "+firstLineOf(err), mend)
}

// wrongCredentials is what a refusal of AWS's says of the credentials.
func wrongCredentials(err error) (f Finding, ok bool) {
	var refused smithy.APIError
	if !errors.As(err, &refused) {
		return f, false
	}
	switch refused.ErrorCode() {
	case "ExpiredToken", "ExpiredTokenException":
		return found(CredentialsExpired, "AWS says that the session token of the credentials is expired", "get new credentials (aws sso login, a new session of the role)"), true
	case "InvalidClientTokenId", "SignatureDoesNotMatch", "UnrecognizedClientException", "InvalidSignatureException":
		return found(CredentialsInvalid, "AWS does not know the access key, or secret key and session token do not belong to it: "+refused.ErrorCode(),
			"look at all three of AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, whether the key is active, and the region on for the account"), true
	}
	return f, false
}

func (e *examination) checkIdentity(ctx context.Context) result {
	ctx, cancel := context.WithTimeout(ctx, untilEnd(ctx)/3) // it may be that STS cannot be reached, and the cache can
	defer cancel()
	e.identity, e.whoErr = e.Clients(e.Config.Region).Who(ctx)
	if e.whoErr == nil {
		return fine("%s", e.identity.ARN)
	}
	var refused smithy.APIError
	if !errors.As(e.whoErr, &refused) || e.clockIsWrong() {
		return warning("STS did not tell whose the credentials are: %s", firstLineOf(e.whoErr))
	}
	if e.Token != "" { // these credentials did not sign it
		return warning("STS refuses the credentials of this machine: %s", refused.ErrorCode())
	}
	if f, ok := wrongCredentials(e.whoErr); ok {
		return failure("refused", f)
	}
	return warning("STS did not tell whose the credentials are: %s", refused.ErrorCode())
}

func (e *examination) clockIsWrong() bool {
	return e.identity.Ahead > maxBehind || e.identity.Ahead < -maxAhead
}

func (e *examination) checkClock(context.Context) result {
	ahead := e.identity.Ahead.Round(time.Second)
	side := "behind"
	if ahead < 0 {
		side = "ahead of"
	}
	text := fmt.Sprintf("this machine's is %v %s AWS's", ahead.Abs(), side)
	switch {
	case e.whoErr != nil && ahead == 0:
		return warning("AWS did not tell the time")
	case e.clockIsWrong():
		return failure(text, found(ClockSkew, text+": what it signs is out of date, or not valid yet", "set the clock, and keep it with NTP (169.254.169.123 in a VPC)"))
	case ahead.Abs() > maxDrift:
		return warning("%s", text)
	}
	return fine("%s", text)
}

// checkTarget looks at what can be seen without asking anybody.
func (e *examination) checkTarget(context.Context) result {
	c := e.Config
	if strings.ContainsAny(c.CacheName, ".:/") {
		mend := "give the replication group id, serverless cache name or MemoryDB cluster name"
		if name := toldBy(c.CacheName).name; name != "" {
			mend += fmt.Sprintf(": probably %q", name)
		}
		return failure("the name of the cache is an endpoint", found(NameIsEndpoint, "tokens are signed for the cache's name, and this is an endpoint or an ARN", mend))
	}
	if c.Password != "" {
		return failure("a password beside IAM", found(StaticPassword, "a static password is configured; a client sends it before, or instead of, the token",
			"take it out of the URL, REDIS_PASSWORD and the client's options: with IAM the token is the password"))
	}
	err := c.Validate()
	if c.Region == "" {
		err = errors.Join(err, errors.New("nothing says which region the cache is in"))
	}
	if err != nil {
		mend := "the flags are --service --cache --serverless --user --region --endpoint, or REDIAM_SERVICE and so on"
		if t := toldBy(c.Host); c.Region == "" && t.region != "" {
			mend += "; the endpoint looks like one of " + t.region
		}
		return failure("it cannot work", found(Configuration, strings.ReplaceAll(strings.TrimPrefix(err.Error(), "rediam: "), "\n", "; "), mend))
	}
	kind := "replication group"
	switch {
	case c.Service == rediam.MemoryDB:
		kind = "MemoryDB cluster"
	case c.Serverless:
		kind = "serverless cache"
	}
	return fine("%s %s in %s, user %s", kind, c.CacheName, c.Region, c.Username)
}

func (e *examination) checkDNS(ctx context.Context) result {
	addresses, err := net.DefaultResolver.LookupHost(ctx, e.Config.Host)
	if err != nil {
		return failure("not found", found(NotResolved, firstLineOf(err), "check the endpoint's spelling; the names of some caches resolve only within their VPC, whose resolver must be asked"))
	}
	return fine("%s", strings.Join(addresses[:min(len(addresses), 4)], " "))
}

func (e *examination) checkTCP(ctx context.Context) result {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", e.Config.Addr())
	if err != nil {
		return networkFailure(err, e.Config.Addr())
	}
	defer conn.Close()
	return fine("%s", conn.RemoteAddr())
}

func (e *examination) checkTLS(ctx context.Context) result {
	conn, err := e.dial(ctx)
	if err != nil {
		return networkFailure(err, e.Config.Addr())
	}
	defer conn.Close()
	state := conn.ConnectionState()
	return fine("%s, certificate of %s by %s, until %s", tls.VersionName(state.Version), strings.Join(state.PeerCertificates[0].DNSNames, " "),
		state.PeerCertificates[0].Issuer.CommonName, state.PeerCertificates[0].NotAfter.Format(time.DateOnly))
}

// untilEnd is how much time ctx leaves; a long one without an end.
func untilEnd(ctx context.Context) time.Duration {
	if end, ok := ctx.Deadline(); ok {
		return time.Until(end)
	}
	return 30 * time.Second
}

// firstLineOf keeps what an error says, none of what it lists, and of the AWS SDK's
// none that holds a secret.
func firstLineOf(err error) string {
	text := (&rediam.CredentialsError{Err: err}).Error()
	line, _, _ := strings.Cut(strings.TrimPrefix(text, "rediam: get AWS credentials: "), "\n")
	return strings.TrimPrefix(line, "rediam: ")
}
