package policy_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rediam/rediam/internal/policy"
)

// FuzzDecide reads any document and holds decisions to what is true of all of
// them: a deny wins, and an Allow for everything leaves no implicit deny.
func FuzzDecide(f *testing.F) {
	f.Add(statements(allow(connect, "arn:aws:elasticache:*:*:user:${aws:username, 'x'}")), connect, userARN, "bob")
	f.Add(statements(`{"Effect":"Allow","Principal":{"AWS":"123456789012"},"Action":"sts:AssumeRole"}`), assume, session, "bob")
	f.Add(statements(`{"Effect":"Deny","NotAction":"a:*","NotResource":"*","Condition":{"ForAnyValue:StringNotLikeIfExists":{"aws:username":["*?${*}"]},"DateLessThan":{"aws:username":1}}}`), connect, userARN, "2020-01-01")
	everything := parse(f, policy.Identity, "everything", statements(allow("*", "*")))
	nothing := parse(f, policy.Identity, "nothing", statements(deny("*", "*")))
	f.Fuzz(func(t *testing.T, document, action, resource, value string) {
		r := policy.Request{Principal: resource, Action: action, Resource: resource, Context: policy.Context{"aws:username": {value}}}
		if p, err := policy.Parse(policy.Trust, "p", []byte(document)); err == nil {
			if d := p.DecideTrust(r); d.Reason() == "" || d.Delegated && d.Effect != policy.Allow {
				t.Errorf("DecideTrust() = %+v", d)
			}
		}
		p, err := policy.Parse(policy.Identity, "p", []byte(document))
		if err != nil {
			return
		}
		alone := policy.Policies{Identity: []*policy.Policy{p}}.Decide(r)
		if alone.Reason() == "" || (alone.Effect == policy.ImplicitDeny) != (alone.Statement == "") {
			t.Errorf("Decide() = %v by %q: %s", alone.Effect, alone.Statement, alone.Reason())
		}
		denied, matches := false, p.Matches(r)
		for _, m := range matches {
			denied = denied || m.Deny
			if text := between(document, m.Start, m.End); !json.Valid([]byte(text)) || text[0] != '{' {
				t.Errorf("the statement %s is said to be %q", m.Statement, text)
			}
		}
		if denied != (alone.Effect == policy.ExplicitDeny) || (len(matches) == 0) != (alone.Effect == policy.ImplicitDeny) {
			t.Errorf("Decide() = %v, of the statements that match %+v", alone.Effect, matches)
		}
		with := policy.Policies{Identity: []*policy.Policy{p, everything}}.Decide(r)
		if with.Effect == policy.ImplicitDeny || (with.Effect == policy.ExplicitDeny) != (alone.Effect == policy.ExplicitDeny) {
			t.Errorf("alone %v, with an Allow for everything %v", alone.Effect, with.Effect)
		}
		if d := (policy.Policies{Identity: []*policy.Policy{p}, Boundary: nothing}).Decide(r); d.Effect != policy.ExplicitDeny {
			t.Errorf("with a Deny of everything: %v", d.Effect)
		}
		inside := policy.Policies{Identity: []*policy.Policy{everything}, Boundary: p, Session: []*policy.Policy{p}}.Decide(r)
		if inside.Effect != alone.Effect {
			t.Errorf("alone %v, as the boundary and session of everything %v", alone.Effect, inside.Effect)
		}
	})
}

// between is the text from one position to another.
func between(document string, start, end policy.Position) string {
	at := func(p policy.Position) int {
		offset := 0
		for range p.Line - 1 {
			offset += strings.IndexByte(document[offset:], '\n') + 1
		}
		return offset + p.Column - 1
	}
	return document[at(start) : at(end)+1]
}

// FuzzStringLike compares wildcard matching with a table of every prefix.
func FuzzStringLike(f *testing.F) {
	f.Add("a*b?c", "axxbbc")
	f.Add("*é?", "éé")
	f.Add("**?*", "")
	f.Add(strings.Repeat("*a", 40)+"b", strings.Repeat("a", 200))
	f.Fuzz(func(t *testing.T, pattern, value string) {
		if len(pattern) > 200 || len(value) > 500 || !utf8.ValidString(pattern) || !utf8.ValidString(value) {
			return
		}
		quoted, _ := json.Marshal(pattern)
		document := `{"Statement":{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringLike":{"a:b":` + string(quoted) + `}}}}`
		p, err := policy.Parse(policy.Identity, "p", []byte(document))
		if err != nil {
			t.Fatalf("Parse(%s) failed: %v", document, err)
		}
		want := like([]rune(pattern), []rune(value))
		r := policy.Request{Action: "a:b", Resource: "*", Context: policy.Context{"a:b": {value}}}
		got := policy.Policies{Identity: []*policy.Policy{p}}.Decide(r).Effect == policy.Allow
		if got != want {
			t.Errorf("%q like %q: %v, want %v", value, pattern, got, want)
		}
	})
}

func like(pattern, value []rune) bool {
	reached := make([]bool, len(value)+1) // reached[i]: the pattern so far matches value[:i]
	reached[0] = true
	for _, p := range pattern {
		next := make([]bool, len(value)+1)
		for i := range next {
			switch {
			case p == '*':
				next[i] = reached[i] || i > 0 && next[i-1]
			case i > 0 && (p == '?' || p == value[i-1]):
				next[i] = reached[i-1]
			}
		}
		reached = next
	}
	return reached[len(value)]
}
