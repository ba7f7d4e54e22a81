package policy_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/rediam/rediam/internal/policy"
)

// These tests hold the engine to laws that are true of all policies, with
// policies made at random from few names, so that statements often meet the
// requests and each other. The seed is fixed: a failure repeats.
const (
	propertySeed  = 20261122
	propertyCases = 600
)

// drawn is a random document: statements.
type drawn []string

// drawnPolicies are what applies to a principal: Identity is never nil.
type drawnPolicies struct {
	identity, session []drawn
	boundary          drawn
	hasSession        bool
}

// drawer parses what it draws once a case.
type drawer struct {
	*rand.Rand
	parsed map[string]*policy.Policy
}

func pick[T any](d drawer, list ...T) T { return list[d.IntN(len(list))] }

// some makes a list of one to three.
func some(d drawer, list ...string) string {
	picked := make([]string, 1+d.IntN(3))
	for i := range picked {
		picked[i] = pick(d, list...)
	}
	return `["` + strings.Join(picked, `","`) + `"]`
}

func (d drawer) statement() string {
	effect := pick(d, "Allow", "Allow", "Allow", "Deny")
	action := pick(d, "Action", "Action", "Action", "NotAction")
	actions := some(d, "*", "elasticache:*", "elasticache:Connect", "ELASTICACHE:con*", "elasticache:?onnect", "memorydb:Connect", "iam:*")
	resource := pick(d, "Resource", "Resource", "Resource", "NotResource")
	resources := some(d, "*", cacheARN, userARN, mdbARN, "arn:aws:elasticache:*", "arn:aws:elasticache:us-*:123456789012:user:*",
		"arn:aws:elasticache:*:*:*:${aws:username}", "arn:aws:memorydb:*:*:cluster/demo-???")
	return fmt.Sprintf(`{"Effect":"%s","%s":%s,"%s":%s,"Condition":%s}`, effect, action, actions, resource, resources, d.condition())
}

func (d drawer) condition() string {
	none := `{}`
	return pick(d, none, none, none, none, none, none,
		`{"StringEquals":{"aws:ResourceTag/team":"red"}}`,
		`{"StringNotLike":{"aws:ResourceTag/team":"r*"}}`,
		`{"ForAllValues:StringEquals":{"aws:TagKeys":`+some(d, "a", "b")+`}}`,
		`{"IpAddress":{"aws:SourceIp":"192.0.2.0/24"}}`,
		`{"StringEqualsIfExists":{"aws:username":"iam-user-01"}}`,
		`{"Null":{"aws:username":"true"}}`)
}

func (d drawer) document() drawn {
	list := make(drawn, 1+d.IntN(4))
	for i := range list {
		list[i] = d.statement()
	}
	return list
}

func (d drawer) policies() drawnPolicies {
	p := drawnPolicies{identity: []drawn{d.document()}}
	for d.IntN(2) == 0 {
		p.identity = append(p.identity, d.document())
	}
	if d.IntN(3) == 0 {
		p.boundary = d.document()
	}
	if p.hasSession = d.IntN(3) == 0; p.hasSession {
		for range d.IntN(3) {
			p.session = append(p.session, d.document())
		}
	}
	return p
}

func (d drawer) request() policy.Request {
	c := policy.Context{}
	set := func(key string, values ...string) {
		if value := pick(d, append(values, "")...); value != "" {
			c.Set(key, value)
		}
	}
	set("aws:ResourceTag/team", "red", "blue")
	set("aws:TagKeys", "a", "c")
	set("aws:SourceIp", "192.0.2.7", "203.0.113.1")
	set("aws:username", "iam-user-01", "bob")
	return policy.Request{Action: pick(d, connect, connect, "memorydb:Connect", "iam:GetUser"), Resource: pick(d, cacheARN, userARN, mdbARN), Context: c}
}

func (d drawer) parse(t *testing.T, document drawn) *policy.Policy {
	t.Helper()
	text := statements(document...)
	if d.parsed[text] == nil {
		d.parsed[text] = parse(t, policy.Identity, "drawn", text)
	}
	return d.parsed[text]
}

func (d drawer) decide(t *testing.T, p drawnPolicies, r policy.Request) policy.Effect {
	t.Helper()
	var all policy.Policies
	for _, document := range p.identity {
		all.Identity = append(all.Identity, d.parse(t, document))
	}
	if p.boundary != nil {
		all.Boundary = d.parse(t, p.boundary)
	}
	if p.hasSession {
		all.Session = []*policy.Policy{}
	}
	for _, document := range p.session {
		all.Session = append(all.Session, d.parse(t, document))
	}
	return all.Decide(r).Effect
}

func (p drawnPolicies) documents() []drawn {
	all := slices.Concat(p.identity, p.session)
	if p.boundary != nil {
		all = append(all, p.boundary)
	}
	return all
}

// without calls check with the decision that is made when one statement of the
// effect has given way to one that is never met, for each such statement.
func (d drawer) without(t *testing.T, p drawnPolicies, effect string, r policy.Request, check func(without policy.Effect, statement string)) {
	t.Helper()
	inert := allow("none:None", "*")
	for _, document := range p.documents() {
		for i, statement := range document {
			if strings.HasPrefix(statement, `{"Effect":"`+effect) {
				document[i] = inert
				check(d.decide(t, p, r), statement)
				document[i] = statement
			}
		}
	}
}

// forEachDrawn also says how often the requests were allowed and denied, which
// must be often for the laws to be tried.
func forEachDrawn(t *testing.T, check func(d drawer, p drawnPolicies, r policy.Request, before policy.Effect)) {
	t.Helper()
	d := drawer{rand.New(rand.NewPCG(propertySeed, 0)), nil}
	met := map[policy.Effect]int{}
	for range propertyCases {
		d.parsed = map[string]*policy.Policy{}
		p, r := d.policies(), d.request()
		before := d.decide(t, p, r)
		met[before]++
		check(d, p, r, before)
		if t.Failed() {
			t.Fatalf("policies %+v, request %+v", p, r)
		}
	}
	for _, effect := range []policy.Effect{policy.Allow, policy.ExplicitDeny, policy.ImplicitDeny} {
		if met[effect] < propertyCases/10 {
			t.Errorf("%d of %d requests are %s: too few to show much", met[effect], propertyCases, effect)
		}
	}
}

func TestADenyAlwaysWins(t *testing.T) {
	forEachDrawn(t, func(d drawer, p drawnPolicies, r policy.Request, before policy.Effect) {
		denied := false
		for _, document := range p.documents() {
			for _, statement := range document {
				alone := drawnPolicies{identity: []drawn{{statement}}}
				denied = denied || d.decide(t, alone, r) == policy.ExplicitDeny
			}
		}
		if denied != (before == policy.ExplicitDeny) {
			t.Errorf("a statement denies: %v, and together they are %s", denied, before)
		}
	})
}

func TestTakingOutAnAllowNeverGrants(t *testing.T) {
	forEachDrawn(t, func(d drawer, p drawnPolicies, r policy.Request, before policy.Effect) {
		d.without(t, p, "Allow", r, func(without policy.Effect, statement string) {
			if without == policy.Allow && before != policy.Allow {
				t.Errorf("%s turned into %s without %s", before, without, statement)
			}
		})
	})
}

func TestTakingOutADenyNeverTakesAway(t *testing.T) {
	forEachDrawn(t, func(d drawer, p drawnPolicies, r policy.Request, before policy.Effect) {
		d.without(t, p, "Deny", r, func(without policy.Effect, statement string) {
			if without != policy.Allow && before == policy.Allow {
				t.Errorf("%s turned into %s without %s", before, without, statement)
			}
		})
	})
}

func TestABoundaryOrASessionPolicyNeverGrants(t *testing.T) {
	forEachDrawn(t, func(d drawer, p drawnPolicies, r policy.Request, before policy.Effect) {
		bounded, inSession := p, p
		bounded.boundary = d.document()
		inSession.hasSession, inSession.session = true, append(slices.Clone(p.session), d.document())
		if p.boundary == nil && before != policy.Allow && d.decide(t, bounded, r) == policy.Allow {
			t.Errorf("the boundary %v grants what was %s", bounded.boundary, before)
		}
		if !p.hasSession && before != policy.Allow && d.decide(t, inSession, r) == policy.Allow {
			t.Errorf("the session policy %v grants what was %s", inSession.session, before)
		}
	})
}

func TestTheOrderOfStatementsAndPoliciesDoesNotMatter(t *testing.T) {
	forEachDrawn(t, func(d drawer, p drawnPolicies, r policy.Request, before policy.Effect) {
		for _, document := range p.documents() {
			d.Shuffle(len(document), func(i, j int) { document[i], document[j] = document[j], document[i] })
		}
		d.Shuffle(len(p.identity), func(i, j int) { p.identity[i], p.identity[j] = p.identity[j], p.identity[i] })
		d.Shuffle(len(p.session), func(i, j int) { p.session[i], p.session[j] = p.session[j], p.session[i] })
		if after := d.decide(t, p, r); after != before {
			t.Errorf("%s in another order is %s", before, after)
		}
	})
}
