package policy

import (
	"fmt"
	"strconv"
	"strings"
)

// Reason explains the decision to an operator in one sentence. For an implicit
// deny it names what is missing and the statement that came nearest.
func (d Decision) Reason() string {
	r := &d.request
	what := r.Action + " on " + r.Resource
	if d.Source == SourceTrust {
		what = r.Action + " by " + r.Principal
	}
	switch {
	case d.Effect == ImplicitDeny:
		return d.missing(what)
	case d.statement == nil: // not made by Decide
		return d.Effect.String()
	}
	verb := "allows"
	if d.Effect == ExplicitDeny {
		verb = "denies"
	}
	return fmt.Sprintf("%s of the %s %s %s %s", d.statement.title(), d.Source, d.Policy, verb, what)
}

func (d Decision) missing(what string) string {
	reason := "no " + d.Source + " allows " + what
	policies := d.searched.of(d.Source)
	if len(policies) == 0 {
		return reason + ": there is none"
	}
	var best nearMiss
	for _, p := range policies {
		if p == nil {
			continue
		}
		for _, s := range p.statements {
			if miss := s.near(&d.request, d.Source == SourceTrust, p.variables); miss.closeness > best.closeness {
				best = miss
				best.where = s.title() + " of " + p.Name
			}
		}
	}
	if best.closeness == 0 {
		return reason
	}
	return reason + ": " + best.where + " would, but " + best.why
}

func (p Policies) of(source string) []*Policy {
	switch source {
	case SourceBoundary:
		return []*Policy{p.Boundary}
	case SourceSession:
		return p.Session
	}
	return p.Identity
}

func (s *statement) title() string {
	if s.sid == "" {
		return s.label
	}
	return "statement " + strconv.Quote(s.sid)
}

// nearMiss is a statement that allows the action and fails on something else.
type nearMiss struct {
	closeness int // 0: not near
	where     string
	why       string
}

// The order of near misses: a pattern that fails without a known mistake counts
// the characters that fit, which are fewer than closeMistake.
const (
	closeMistake   = 1 << 30
	closeCondition = closeMistake + 1
)

func (s *statement) near(r *Request, trust, variables bool) nearMiss {
	if s.deny || !s.actions.match(r.Action) {
		return nearMiss{}
	}
	switch {
	case trust && s.principals.match(r.Principal) == outsider:
		return nearMiss{closeness: 1, why: "its Principal does not include the caller"}
	case !trust && !s.resources.match(r):
		return s.resources.near(r, variables)
	}
	if unmet := s.firstUnmet(r.Context); unmet != nil {
		return nearMiss{closeness: closeCondition, why: unmet.explain(r.Context)}
	}
	return nearMiss{}
}

func (l resourceList) near(r *Request, variables bool) nearMiss {
	if l.not {
		return nearMiss{closeness: 1, why: "its NotResource excludes the resource"}
	}
	var best nearMiss
	for i := range l.patterns {
		a := &l.patterns[i]
		miss := nearMiss{closeness: 1 + commonPrefix(a.text, r.Resource)}
		hint := a.mistake(r, variables)
		if hint != "" {
			miss.closeness = closeMistake
		} else {
			hint = "the " + [arnSegments]string{"prefix", "partition", "service", "region", "account", "resource"}[a.mismatch(r.Context, r.Resource)] + " differs"
		}
		if miss.closeness > best.closeness {
			miss.why = fmt.Sprintf("its Resource %s does not match: %s", excerpt(a.text), hint)
			best = miss
		}
	}
	return best
}

// mistake recognises what people get wrong in a Resource.
func (a *arnPattern) mistake(r *Request, variables bool) string {
	_, hasValues := resolve(a.parts, r.Context)
	switch {
	case !variables && strings.Contains(a.text, "${"):
		return "policy variables need Version 2012-10-17"
	case a.misplaced:
		return "a policy variable may stand only in the last part of an ARN"
	case !hasValues:
		return "a policy variable in it has no value in this request"
	case a.matchAfter(r, strings.NewReplacer("/", ":").Replace):
		return "it has a slash where the ARN has a colon, or a colon for a slash"
	case a.matchAfter(r, lowerASCII):
		return "the case of letters differs, and AWS keeps these names in lower case"
	case len(a.segments) < arnSegments:
		return fmt.Sprintf("it has %d of the %d parts of an ARN", len(a.segments), arnSegments)
	}
	return ""
}

// matchAfter matches with the pattern and the ARN both changed.
func (a *arnPattern) matchAfter(r *Request, change func(string) string) bool {
	changed, err := newARNPattern(change(a.text), true)
	return err == nil && changed.match(r.Context, change(r.Resource))
}

func commonPrefix(a, b string) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

func (c *condition) explain(ctx Context) string {
	had := "the request has no such key"
	if values := ctx[c.lookup]; len(values) > 0 {
		had = "the request has " + strconv.Quote(excerpt(strings.Join(values, ", ")))
	}
	wanted := excerpt(strings.Join(c.values, ", "))
	return fmt.Sprintf("its condition %s %s %q does not hold: %s", c.operator, excerpt(c.key), wanted, had)
}
