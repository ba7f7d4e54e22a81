// Package policy reads IAM policy documents and decides requests as AWS does,
// saying which statement of which policy decided, or what is missing.
//
// The rules are those of the IAM User Guide: "Policy evaluation logic", "IAM
// JSON policy elements reference" and "Grammar of the IAM JSON policy
// language". A Policy does not change after Parse: it is safe for many
// goroutines.
package policy

// Kind says which members a document may have.
type Kind int

const (
	Identity Kind = iota // managed, inline, boundary and session policies: Resource, no Principal
	Trust                // the trust policy of a role: Principal, no Resource
)

// Policy is one parsed document.
type Policy struct {
	Name       string
	variables  bool // language version 2012-10-17
	statements []*statement
	spans      [][2]Position // where they stand
}

type statement struct {
	sid, label string // label is the Sid, else "statement 2"
	deny       bool
	actions    actionList
	resources  resourceList
	principals principalList
	conditions []condition
}

// Request is what a caller wants to do.
type Request struct {
	Principal string  // for trust policies: an ARN, a service such as ec2.amazonaws.com, or an identity provider
	Action    string  // "elasticache:Connect"
	Resource  string  // an ARN, or "*" for an action without one; trust policies ignore it
	Context   Context // nil: no keys
}

// Context holds condition keys and their values. Keys are in lower case: fill
// it with Set. Binary values are in base64. A key with no values is absent.
type Context map[string][]string

// Set gives the key its values, whatever the case of key.
func (c Context) Set(key string, values ...string) { c[lowerASCII(key)] = values }

// Effect is the outcome of a decision. Its zero value denies.
type Effect int

const (
	ImplicitDeny Effect = iota // nothing allows the request
	ExplicitDeny               // a statement denies it
	Allow
)

// String gives AWS's name of the outcome (SimulatePrincipalPolicy, EvalDecision).
func (e Effect) String() string {
	switch e {
	case Allow:
		return "allowed"
	case ExplicitDeny:
		return "explicitDeny"
	}
	return "implicitDeny"
}

// The types of policy in a Decision, in the words of AWS's access denied messages.
const (
	SourceIdentity = "identity-based policy"
	SourceBoundary = "permissions boundary"
	SourceSession  = "session policy"
	SourceTrust    = "role trust policy"
)

// Decision is the answer to a request. Reason explains it.
type Decision struct {
	Effect    Effect
	Source    string // the type of policy that decided, or in which an Allow is missing
	Policy    string // the policy that decided; empty when nothing matched
	Statement string // its Sid, else "statement 2"

	// Delegated is set when a trust policy allows the caller only through its
	// account. The caller then also needs an identity-based policy that allows
	// the action; one whom the trust policy names needs none within the account.
	Delegated bool

	statement *statement
	request   Request
	searched  Policies // where an Allow was looked for
}

// Policies are those that apply to one principal.
type Policies struct {
	Identity []*Policy
	Boundary *Policy   // nil: none is set
	Session  []*Policy // nil: none was passed; not nil but empty: nothing passes
}

// Decide allows what an identity-based policy, the boundary and a session
// policy all allow, where present, and no statement denies. An account's root
// user needs no policy: callers do not ask for it. The Request's Context must
// not change while the Decision is in use.
func (p Policies) Decide(r Request) Decision {
	boundary := [1]*Policy{p.Boundary}
	d := evaluate(SourceIdentity, p.Identity, &r)
	if p.Boundary != nil {
		d = both(d, evaluate(SourceBoundary, boundary[:], &r))
	}
	if p.Session != nil {
		d = both(d, evaluate(SourceSession, p.Session, &r))
	}
	d.request, d.searched = r, p
	return d
}

// both intersects two decisions: a deny wins, and then what does not allow.
func both(a, b Decision) Decision {
	if a.Effect != ExplicitDeny && (b.Effect == ExplicitDeny || a.Effect == Allow && b.Effect == ImplicitDeny) {
		return b
	}
	return a
}

func evaluate(source string, policies []*Policy, r *Request) Decision {
	d := Decision{Source: source}
	for _, p := range policies {
		if p == nil {
			continue
		}
		for _, s := range p.statements {
			if d.Effect == Allow && !s.deny || !s.actions.match(r.Action) || !s.resources.match(r) || !s.conditionsHold(r.Context) {
				continue
			}
			d.take(p, s)
			if s.deny {
				return d
			}
		}
	}
	return d
}

// DecideTrust decides whether the trust policy lets r.Principal do r.Action.
// A Policy of kind Identity lets nobody.
func (p *Policy) DecideTrust(r Request) Decision {
	d := Decision{Source: SourceTrust, request: r, searched: Policies{Identity: []*Policy{p}}}
	for _, s := range p.statements {
		if !s.actions.match(r.Action) || !s.conditionsHold(r.Context) {
			continue
		}
		reach := s.principals.match(r.Principal)
		switch {
		case reach == outsider:
		case s.deny:
			d.take(p, s)
			d.Delegated = false
			return d
		case d.Effect != Allow || d.Delegated && reach == named:
			d.take(p, s)
			d.Delegated = reach == ofAccount
		}
	}
	return d
}

func (d *Decision) take(p *Policy, s *statement) {
	d.Effect = Allow
	if s.deny {
		d.Effect = ExplicitDeny
	}
	d.Policy, d.Statement, d.statement = p.Name, s.label, s
}

func (s *statement) conditionsHold(c Context) bool {
	return s.firstUnmet(c) == nil
}

func (s *statement) firstUnmet(c Context) *condition {
	for i := range s.conditions {
		if !s.conditions[i].holds(c) {
			return &s.conditions[i]
		}
	}
	return nil
}

type actionList struct {
	patterns [][]part // in lower case
	not      bool
}

func (l actionList) match(action string) bool {
	for _, parts := range l.patterns {
		if glob(parts, action, true) {
			return !l.not
		}
	}
	return l.not
}

type resourceList struct {
	patterns []arnPattern
	not      bool
}

// match treats a pattern whose variable has no value as one that matches
// nothing, in NotResource too (IAM User Guide, Policy variables with no value).
func (l resourceList) match(r *Request) bool {
	for i := range l.patterns {
		if l.patterns[i].match(r.Context, r.Resource) {
			return !l.not
		}
	}
	return l.not
}
