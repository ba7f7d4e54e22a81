package policy_test

import (
	"slices"
	"testing"

	"github.com/rediam/rediam/internal/policy"
)

func TestMatchesAreAllStatementsThatApply(t *testing.T) {
	document := "{\"Version\":\"2012-10-17\",\r\n\"Statement\" : [ " + allow(connect, userARN) + ",\n\t" + deny("elasticache:*", "*") + " ,\n" + allow("iam:*", "*") + "]}"
	p := parse(t, policy.Identity, "p", document)
	matches := p.Matches(policy.Request{Action: connect, Resource: userARN})
	if len(matches) != 2 {
		t.Fatalf("matches %+v", matches)
	}
	for i, want := range []policy.Match{
		{p, "statement 1", false, policy.Position{Line: 2, Column: 17}, policy.Position{Line: 2, Column: 16 + len(allow(connect, userARN))}},
		{p, "statement 2", true, policy.Position{Line: 3, Column: 2}, policy.Position{Line: 3, Column: 1 + len(deny("elasticache:*", "*"))}},
	} {
		if matches[i] != want {
			t.Errorf("match %d is %+v, want %+v", i, matches[i], want)
		}
	}
}

func TestMissingKeysAreThoseOfConditionsAndVariables(t *testing.T) {
	p := parse(t, policy.Identity, "p", statements(
		`{"Effect":"Allow","Action":"elasticache:*","Resource":"arn:aws:elasticache:*:*:user:${aws:username}","Condition":{"StringEquals":{"aws:PrincipalTag/team":"${aws:userid}","AWS:Username":"x"},"Bool":{"aws:SecureTransport":"true"}}}`,
		`{"Effect":"Deny","Action":"iam:*","Resource":"*","Condition":{"StringEquals":{"aws:SourceVpc":"x"}}}`))
	context := policy.Context{}
	context.Set("aws:SecureTransport", "true")
	got := p.MissingKeys(policy.Request{Action: connect, Resource: "*", Context: context})
	if want := []string{"aws:PrincipalTag/team", "aws:userid", "aws:username"}; !slices.Equal(got, want) {
		t.Errorf("missing %q, want %q", got, want)
	}
}
