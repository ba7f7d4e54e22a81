package world

import (
	"cmp"
	"maps"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rediam/rediam/internal/policy"
)

// What AWS does not document about the context of a Connect, decided here.
const (
	// PrincipalContextKeys: aws:PrincipalArn, aws:userid and their like are not
	// listed among the keys of Connect, so they are absent.
	PrincipalContextKeys = false
	// CurrentTimeContextKey: aws:CurrentTime is listed for serverless caches
	// only, so it is absent on replication groups and MemoryDB clusters.
	CurrentTimeContextKey = false
	// PublicSourceIPContextKey: no keys are listed for public endpoints. They get those
	// of other serverless caches but for the VPC's, and aws:SourceIp is absent.
	PublicSourceIPContextKey = false
	// AllowCrossAccount: the guides say nothing of a principal of another
	// account; it is refused.
	AllowCrossAccount = false
)

// Limits of STS and IAM (API references, AssumeRole and CreateRole).
const (
	minSession         = 15 * time.Minute
	maxSession         = 12 * time.Hour
	chainedSession     = time.Hour
	minARN             = 20
	maxARN             = 2048
	maxSessionPolicy   = 2048
	keepExpired        = 24 * time.Hour // so that a refusal can still say "expired"
	maxSessionPolicies = 10
)

var sessionName = regexp.MustCompile(`^[\w+=,.@-]{2,64}$`)

// A Verdict is an answer of IAM, with why.
type Verdict struct {
	Allowed   bool
	Policy    string // the policy and the statement that decided; empty if none matched
	Statement string
	Reason    string // one sentence
}

func verdict(d policy.Decision) Verdict {
	return Verdict{d.Effect == policy.Allow, d.Policy, d.Statement, d.Reason()}
}

// Authorize decides whether a principal may Connect to c as u: elasticache:Connect
// or memorydb:Connect must be allowed on the ARN of the cache and on that of the
// user. The decision is the first that does not allow, else the cache's.
func (w *World) Authorize(k Key, c Cache, u User, source netip.Addr) Verdict {
	if k.Principal.Type == Root && k.Principal.Account == w.Account {
		return rootVerdict
	}
	if k.Principal.Account != w.Account && !AllowCrossAccount {
		return Verdict{Reason: "the principal belongs to account " + k.Principal.Account + ", the cache to " + w.Account}
	}
	policies := w.policiesOf(k)
	var first policy.Decision
	for i, resource := range []struct {
		arn  string
		tags map[string]string
	}{{w.CacheARN(c), c.Tags}, {w.UserARN(u), u.Tags}} {
		decision := policies.Decide(policy.Request{
			Principal: w.PrincipalARN(k.Principal),
			Action:    c.Service() + ":Connect",
			Resource:  resource.arn,
			Context:   w.connectContext(k.Principal, c, resource.tags, source),
		})
		if decision.Effect != policy.Allow {
			return verdict(decision)
		}
		if i == 0 {
			first = decision
		}
	}
	return verdict(first)
}

// AuthorizeCall decides whether a principal may call an operation on a resource of
// the world's account; the error is AWS's. Keys are condition keys besides those
// that every call has.
func (w *World) AuthorizeCall(k Key, action, resource, source string, keys ...policy.Context) error {
	if k.Principal.Type == Root && k.Principal.Account == w.Account {
		return nil
	}
	principal := w.PrincipalARN(k.Principal)
	context := w.callContext(k, source)
	for _, more := range keys {
		maps.Copy(context, more)
	}
	decision := w.policiesOf(k).Decide(policy.Request{Principal: principal, Action: action, Resource: resource, Context: context})
	if decision.Effect == policy.Allow && k.Principal.Account == w.Account {
		return nil
	}
	because := "because no " + policy.SourceIdentity + " allows the " + action + " action"
	switch decision.Effect {
	case policy.ImplicitDeny:
		because = "because no " + decision.Source + " allows the " + action + " action"
	case policy.ExplicitDeny:
		because = "with an explicit deny in a " + decision.Source
		if decision.Source == policy.SourceIdentity {
			because = "with an explicit deny in an " + decision.Source
		}
	}
	e := errorf("AccessDenied", "User: %s is not authorized to perform: %s on resource: %s %s", principal, action, resource, because)
	e.Detail = decision.Reason()
	return e
}

// callContext has the global condition keys of a call (IAM User Guide, "AWS global
// condition context keys"). aws:PrincipalArn is the ARN of the role, not that of
// its session.
func (w *World) callContext(k Key, source string) policy.Context {
	context := policy.Context{}
	context.Set("aws:PrincipalArn", w.PrincipalARN(k.Principal))
	context.Set("aws:PrincipalAccount", k.Principal.Account)
	context.Set("aws:PrincipalType", string(k.Principal.Type))
	context.Set("aws:userid", k.Principal.ID)
	if k.SessionToken != "" {
		context.Set("aws:TokenIssueTime", k.Created.Format(time.RFC3339))
	}
	w.describeRequest(context, source)
	w.mu.RLock()
	defer w.mu.RUnlock()
	key := named(k.Principal.Account, k.Principal.Name)
	tags := w.iamUsers.rows[key].Tags
	switch k.Principal.Type {
	case AsIAMUser:
		context.Set("aws:PrincipalType", "User")
		context.Set("aws:username", k.Principal.Name)
	case AssumedRole:
		r := w.roles.rows[key]
		context.Set("aws:PrincipalArn", w.roleARN(k.Principal.Account, r.Path, k.Principal.Name))
		tags = r.Tags
	}
	for k, v := range tags {
		context.Set("aws:PrincipalTag/"+k, v)
	}
	maps.Copy(context, k.Context) // whose tags come before those of the role
	return context
}

// describeRequest sets the condition keys that tell of no principal.
func (w *World) describeRequest(context policy.Context, source string) {
	if source != "" {
		context.Set("aws:SourceIp", source)
	}
	context.Set("aws:RequestedRegion", w.Region)
	now := w.Now().UTC()
	context.Set("aws:CurrentTime", now.Format(time.RFC3339))
	context.Set("aws:EpochTime", strconv.FormatInt(now.Unix(), 10))
}

// connectContext has the condition keys that the guides list for Connect. Those of
// MemoryDB are not listed ("not all"): it gets those of replication groups. The
// source address is the peer's.
func (w *World) connectContext(p Principal, c Cache, tags map[string]string, source netip.Addr) policy.Context {
	context := policy.Context{}
	for k, v := range tags {
		context.Set("aws:ResourceTag/"+k, v)
	}
	if c.Service() == ElastiCache {
		context.Set("elasticache:UserAuthenticationMode", string(AuthIAM))
	}
	if PrincipalContextKeys {
		context.Set("aws:PrincipalArn", w.PrincipalARN(p))
		context.Set("aws:PrincipalAccount", p.Account)
		context.Set("aws:userid", p.ID)
	}
	switch {
	case c.Public && !PublicSourceIPContextKey:
	case c.Public || c.Kind != ServerlessCache:
		context.Set("aws:SourceIp", source.String())
	default:
		context.Set("aws:VpcSourceIp", source.String())
	}
	if c.Kind == ServerlessCache || CurrentTimeContextKey {
		now := w.Now()
		context.Set("aws:CurrentTime", now.UTC().Format(time.RFC3339))
		context.Set("aws:EpochTime", strconv.FormatInt(now.Unix(), 10))
	}
	return context
}

var rootVerdict = Verdict{Allowed: true, Reason: "the account's root user is always allowed"}

// An AssumeRole is a request for temporary credentials.
type AssumeRole struct {
	RoleARN    string
	Session    string
	Duration   time.Duration // zero means an hour
	Policy     string        // session policy document; zero means none
	PolicyARNs []string      // managed policies as session policies
	ExternalID string
	Source     string // address of the caller; zero means that it is not known
}

// AssumeRole issues temporary credentials of a role to the holder of caller, who
// must be allowed by the role's trust policy and, unless that names it outright,
// by its own policies.
func (w *World) AssumeRole(caller Key, r AssumeRole) (Key, error) {
	if err := r.check(); err != nil {
		return Key{}, err
	}
	if caller.Principal.Type == Root {
		return Key{}, errorf("AccessDenied", "Roles may not be assumed by root accounts.")
	}
	role, trust, ok := w.roleByARN(r.RoleARN)
	context := w.callContext(caller, r.Source)
	describeAssume(context, r, role)
	if r.ExternalID != "" {
		context.Set("sts:ExternalId", r.ExternalID)
	}
	request := policy.Request{Principal: w.PrincipalARN(caller.Principal), Action: "sts:AssumeRole", Resource: r.RoleARN, Context: context}
	if !ok || !w.mayAssume(caller, role, trust, request) { // STS does not tell a missing role from a forbidden one
		e := errorf("AccessDenied", "User: %s is not authorized to perform: sts:AssumeRole on resource: %s", request.Principal, r.RoleARN)
		if e.Detail = "there is no such role"; ok {
			e.Detail = w.whyNot(caller, trust, request)
		}
		return Key{}, e
	}
	duration, err := sessionLength(r.Duration, role.MaxSession, caller.Principal.Type)
	if err != nil {
		return Key{}, err
	}
	documents, parsed, err := w.sessionPolicies(role.Account, r)
	if err != nil {
		return Key{}, err
	}
	return w.issue(Key{Principal: sessionOf(role, r.Session), Session: documents, session: parsed}, duration)
}

// describeAssume sets the condition keys of every operation that assumes a role
// (Service Authorization Reference, "AWS Security Token Service").
func describeAssume(context policy.Context, r AssumeRole, role Role) {
	context.Set("sts:RoleSessionName", r.Session)
	for k, v := range role.Tags {
		context.Set("aws:ResourceTag/"+k, v)
		context.Set("iam:ResourceTag/"+k, v)
	}
}

// check holds what STS asks of a request before it looks at the role.
func (r AssumeRole) check() error {
	switch {
	case len(r.RoleARN) < minARN || len(r.RoleARN) > maxARN || !strings.HasPrefix(r.RoleARN, "arn:"):
		return errorf("ValidationError", "RoleArn must be the ARN of a role, of %d to %d characters", minARN, maxARN)
	case !sessionName.MatchString(r.Session):
		return errorf("ValidationError", "RoleSessionName must be 2 to 64 of the characters letters, digits, _+=,.@-")
	case r.Duration != 0 && r.Duration < minSession:
		return errorf("ValidationError", "DurationSeconds must be at least %d", int(minSession/time.Second))
	case len(r.Policy) > maxSessionPolicy:
		return errorf("ValidationError", "a session policy has at most %d characters", maxSessionPolicy)
	case len(r.PolicyARNs) > maxSessionPolicies:
		return errorf("ValidationError", "at most %d session policies", maxSessionPolicies)
	}
	return nil
}

func (w *World) mayAssume(caller Key, role Role, trust *policy.Policy, request policy.Request) bool {
	decision := trust.DecideTrust(request)
	if decision.Effect != policy.Allow {
		return false
	}
	policies := w.policiesOf(caller)
	own := policies.Decide(request)
	switch {
	case decision.Delegated || caller.Principal.Account != role.Account:
		return own.Effect == policy.Allow
	case caller.Principal.Type == AssumedRole:
		return own.Effect != policy.ExplicitDeny && withinLimits(policies, request)
	}
	return own.Effect != policy.ExplicitDeny
}

// whyNot says what keeps a caller from a role.
func (w *World) whyNot(caller Key, trust *policy.Policy, request policy.Request) string {
	if decision := trust.DecideTrust(request); decision.Effect != policy.Allow {
		return decision.Reason()
	}
	return w.policiesOf(caller).Decide(request).Reason()
}

// withinLimits is whether the boundary and the session policies allow a request,
// whatever else does: a trust policy that names a role does not reach beyond them,
// one that names a user does (IAM User Guide, "Permissions boundaries").
func withinLimits(p policy.Policies, r policy.Request) bool {
	limits := [][]*policy.Policy{p.Session}
	if p.Boundary != nil {
		limits = append(limits, []*policy.Policy{p.Boundary})
	}
	for _, l := range limits {
		if l != nil && (policy.Policies{Identity: l}).Decide(r).Effect != policy.Allow {
			return false
		}
	}
	return true
}

func sessionLength(asked, most time.Duration, caller PrincipalType) (time.Duration, error) {
	asked = cmp.Or(asked, time.Hour)
	switch {
	case asked > most:
		return 0, errorf("ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	case caller == AssumedRole && asked > chainedSession:
		return 0, errorf("ValidationError", "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining")
	}
	return asked, nil
}

func (w *World) roleByARN(arn string) (Role, *policy.Policy, bool) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	for _, r := range w.roles.rows {
		if w.roleARN(r.Account, r.Path, r.Name) == arn {
			return r.Role, r.trust, true
		}
	}
	return Role{}, nil, false
}

// sessionPolicies parses the policies that limit a session; nil if there are none.
// Managed ones are of the role's account.
func (w *World) sessionPolicies(account string, r AssumeRole) (documents []SessionPolicy, parsed []*policy.Policy, err error) {
	if r.Policy != "" {
		p, err := policy.Parse(policy.Identity, "session policy", []byte(r.Policy))
		if err != nil {
			return nil, nil, malformed(err)
		}
		documents, parsed = append(documents, SessionPolicy{"session policy", r.Policy}), append(parsed, p)
	}
	w.mu.RLock()
	defer w.mu.RUnlock()
	for _, arn := range r.PolicyARNs {
		p, ok := w.policyOf(account, arn)
		if !ok {
			return nil, nil, noPolicy(arn)
		}
		documents, parsed = append(documents, SessionPolicy{p.Name, p.Document()}), append(parsed, p.parsed)
	}
	return documents, parsed, nil
}

// IssueSession issues credentials of a role of the world's account without asking
// its trust policy, which AWS does for nobody.
func (w *World) IssueSession(role, session string) (Key, error) {
	r, ok := w.Role(role)
	if !ok {
		return Key{}, noRole(role)
	}
	return w.issue(Key{Principal: sessionOf(r, session)}, min(time.Hour, r.MaxSession))
}

// Limits of GetSessionToken (STS API Reference).
const (
	DefaultSessionToken = 12 * time.Hour
	maxSessionToken     = 36 * time.Hour
	rootSessionToken    = time.Hour
)

// SessionToken issues temporary credentials to the holder of a long-term key, with
// the permissions of that IAM user; root's last an hour at most.
func (w *World) SessionToken(caller Key, duration time.Duration) (Key, error) {
	switch {
	case caller.SessionToken != "":
		return Key{}, errorf("AccessDenied", "Cannot call GetSessionToken with session credentials")
	case duration < minSession || duration > maxSessionToken:
		return Key{}, errorf("ValidationError", "DurationSeconds must be from %d to %d", int(minSession/time.Second), int(maxSessionToken/time.Second))
	case caller.Principal.Type == Root:
		duration = min(duration, rootSessionToken)
	}
	return w.issue(Key{Principal: caller.Principal}, duration)
}

// sessionOf is the holder of a session of a role.
func sessionOf(r Role, session string) Principal {
	return Principal{Account: r.Account, Type: AssumedRole, Name: r.Name, Session: session, ID: r.ID + ":" + session}
}

// issue makes temporary credentials of a key that says whom they stand for.
func (w *World) issue(k Key, duration time.Duration) (Key, error) {
	err := w.change(func() error {
		k = w.addSession(k, duration)
		return nil
	})
	return k, err
}

// addSession is issue within a change. It throws away what has long expired.
func (w *World) addSession(k Key, duration time.Duration) Key {
	if w.SessionTTL > 0 {
		duration = min(duration, w.SessionTTL)
	}
	now := w.now()
	k.ID, k.Secret, k.SessionToken = "ASIA"+random32(10), Secret(random64(30)), Secret("IQoJ"+random64(300))
	k.Created, k.Expires = now.UTC().Truncate(time.Second), now.Add(duration).UTC().Truncate(time.Second)
	if now.After(w.sweep) {
		w.sweep = now.Add(keepExpired)
		for id, old := range w.keys.rows {
			if !old.Expires.IsZero() && now.After(old.Expires.Add(keepExpired)) {
				w.keys.delete(id)
			}
		}
	}
	w.keys.put(k.ID, k)
	return k
}
