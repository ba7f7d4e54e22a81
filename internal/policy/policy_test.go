package policy_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rediam/rediam/internal/policy"
)

const (
	cacheARN = "arn:aws:elasticache:us-east-1:123456789012:replicationgroup:demo-cache-01"
	userARN  = "arn:aws:elasticache:us-east-1:123456789012:user:iam-user-01"
	mdbARN   = "arn:aws:memorydb:us-east-1:123456789012:cluster/demo-mdb"
	connect  = "elasticache:Connect"
)

func parse(t testing.TB, kind policy.Kind, name, document string) *policy.Policy {
	t.Helper()
	p, err := policy.Parse(kind, name, []byte(document))
	if err != nil {
		t.Fatalf("Parse(%s) failed: %v", document, err)
	}
	return p
}

// statements makes a document of version 2012-10-17.
func statements(list ...string) string {
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(list, ",") + `]}`
}

func allow(action, resource string) string {
	return fmt.Sprintf(`{"Effect":"Allow","Action":%q,"Resource":%q}`, action, resource)
}

func deny(action, resource string) string {
	return fmt.Sprintf(`{"Effect":"Deny","Action":%q,"Resource":%q}`, action, resource)
}

func identity(t testing.TB, list ...string) policy.Policies {
	return policy.Policies{Identity: []*policy.Policy{parse(t, policy.Identity, "p", statements(list...))}}
}

func TestActionsAreMatched(t *testing.T) {
	for _, test := range []struct {
		element, action string
		want            policy.Effect
	}{
		{`"Action":"elasticache:Connect"`, connect, policy.Allow},
		{`"Action":"elasticache:connect"`, connect, policy.Allow},
		{`"Action":"Elasticache:CONNECT"`, connect, policy.Allow},
		{`"Action":"elasticache:Con*"`, connect, policy.Allow},
		{`"Action":"elasticache:?onnec?"`, connect, policy.Allow},
		{`"Action":"elasticache:*"`, connect, policy.Allow},
		{`"Action":"*"`, connect, policy.Allow},
		{`"Action":"*:*"`, connect, policy.Allow},
		{`"Action":["s3:GetObject","elasticache:Connect"]`, connect, policy.Allow},
		{`"Action":"elasticache:Conect"`, connect, policy.ImplicitDeny},
		{`"Action":"elasticache:Connec"`, connect, policy.ImplicitDeny},
		{`"Action":"memorydb:Connect"`, connect, policy.ImplicitDeny},
		{`"Action":"iam:*AccessKey*"`, "iam:ListAccessKeys", policy.Allow},
		{`"Action":"iam:ListAccessKeys"`, "iam:Liſtacceſſkeyſ", policy.ImplicitDeny},
		{`"NotAction":"iam:*"`, connect, policy.Allow},
		{`"NotAction":["iam:*","elasticache:connect"]`, connect, policy.ImplicitDeny},
	} {
		d := identity(t, `{"Effect":"Allow",`+test.element+`,"Resource":"*"}`).Decide(policy.Request{Action: test.action, Resource: userARN})
		if d.Effect != test.want {
			t.Errorf("%s for %s: %v, want %v", test.element, test.action, d.Effect, test.want)
		}
	}
}

func TestResourcesAreMatchedByTheSixPartsOfAnARN(t *testing.T) {
	const s3 = "arn:aws:s3:::amzn-s3-demo-bucket/"
	for _, test := range []struct {
		pattern, resource string
		want              bool
	}{
		{"*", cacheARN, true},
		{"*", "*", true},
		{cacheARN, cacheARN, true},
		{cacheARN, userARN, false},
		{cacheARN, "*", false},
		{"arn:aws:elasticache:us-east-1:123456789012:user:iam-*", userARN, true},
		{"arn:aws:elasticache:us-east-1:123456789012:*:*", userARN, true},
		{"arn:aws:elasticache:us-east-1:123456789012:*", userARN, true},
		{"arn:aws:elasticache:us-east-1:123456789012:*user-01", userARN, true},
		{"arn:aws:elasticache:us-east-1:123456789012:user*iam-user-??", userARN, true},
		{"arn:*:elasticache:*:*:user:iam-user-01", userARN, true},
		{"arn:aws:elasticache:us-*:1234567890??:user:iam-user-01", userARN, true},
		{"arn:aws:elasticache:*", userARN, true},
		{"arn:aws:elasticache:us-*", userARN, true},
		{"arn:aws:elasticache:us-east-1:*", userARN, true},
		{"arn:aws:elasticache:us-east-1", userARN, false},
		{"arn:aws:elasticache:us-e*t-1", userARN, false},
		{"arn:aws:elasticache:eu-*", userARN, false},
		{"arn:aws:elasticache:?*:*:user:iam-user-01", userARN, true},
		{"arn:aws:elasticache:us-east-1?123456789012:*:user:iam-user-01", userARN, false},
		{"arn:aws:elasticache:*:user:*", userARN, false},
		{"arn:aws:elasticache:us-east-1:123456789012:USER:iam-user-01", userARN, false},
		{"arn:aws:elasticache:us-east-1:123456789012:user:iam-user-0", userARN, false},
		{"arn:aws:elasticache:us-east-1:123456789012:user:iam-user-01?", userARN, false},
		{"arn:aws:elasticache:us-east-1:123456789012:replicationgroup/demo-*", cacheARN, false},
		{"arn:aws:memorydb:us-east-1:123456789012:cluster/demo-mdb", mdbARN, true},
		{"arn:aws:memorydb:us-east-1:123456789012:cluster:demo-mdb", mdbARN, false},
		// IAM User Guide, IAM JSON policy elements: Resource.
		{s3 + "*/test/*", s3 + "1/test/object.jpg", true},
		{s3 + "*/test/*", s3 + "1/2/test/3/object.jpg", true},
		{s3 + "*/test/*", s3 + "1///test///object.jpg", true},
		{s3 + "*/test/*", s3 + "/test/object.jpg", true},
		{s3 + "*/test/*", s3 + "1/test/", true},
		{s3 + "*/test/*", s3 + "1-test/object.jpg", false},
		{s3 + "*/test/*", s3 + "test/object.jpg", false},
		{s3 + "*/test/*", s3 + "1/2/test.jpg", false},
		{s3 + "?", s3 + "é", true},
	} {
		d := identity(t, allow(connect, test.pattern)).Decide(policy.Request{Action: connect, Resource: test.resource})
		if got := d.Effect == policy.Allow; got != test.want {
			t.Errorf("%s matches %s: %v, want %v", test.pattern, test.resource, got, test.want)
		}
		not := fmt.Sprintf(`{"Effect":"Allow","Action":"*","NotResource":%q}`, test.pattern)
		if got := identity(t, not).Decide(policy.Request{Action: connect, Resource: test.resource}).Effect == policy.Allow; got == test.want {
			t.Errorf("NotResource %s applies to %s: %v, want %v", test.pattern, test.resource, got, !test.want)
		}
	}
}

func TestVariablesStandForTheRequestsValues(t *testing.T) {
	const prefix = "arn:aws:elasticache:us-east-1:123456789012:user:"
	for _, test := range []struct {
		pattern, resource string
		values            []string
		want              bool
	}{
		{prefix + "${aws:PrincipalTag/team}", prefix + "red", []string{"red"}, true},
		{prefix + "${AWS:principaltag/TEAM}", prefix + "red", []string{"red"}, true},
		{prefix + "${aws:PrincipalTag/team}-*", prefix + "red-1", []string{"red"}, true},
		{prefix + "${aws:PrincipalTag/team}", prefix + "red", []string{"r*"}, false},
		{prefix + "${aws:PrincipalTag/team}", prefix + "r*", []string{"r*"}, true},
		{prefix + "${aws:PrincipalTag/team}", prefix + "r?", []string{"r?"}, true},
		{prefix + "${aws:PrincipalTag/team}", prefix + "${*}", []string{"${*}"}, true},
		{prefix + "${aws:PrincipalTag/team}", prefix + "red", nil, false},
		{prefix + "${aws:PrincipalTag/team}", prefix + "red", []string{"red", "blue"}, false},
		{prefix + "${aws:PrincipalTag/team, 'company-wide'}", prefix + "company-wide", nil, true},
		{prefix + "${aws:PrincipalTag/team, 'company-wide'}", prefix + "red", []string{"red"}, true},
		{prefix + "${aws:PrincipalTag/team, 'company-wide'}", prefix + "company-wide", []string{"red"}, false},
		{prefix + "a${*}b", prefix + "a*b", nil, true},
		{prefix + "a${*}b", prefix + "axb", nil, false},
		{prefix + "a${?}b", prefix + "axb", nil, false},
		{prefix + "a${$}{b", prefix + "a${b", nil, true},
		{"arn:aws:elasticache:us-east-1:${aws:PrincipalTag/team}:user:x", "arn:aws:elasticache:us-east-1:red:user:x", []string{"red"}, false},
	} {
		r := policy.Request{Action: connect, Resource: test.resource, Context: policy.Context{}}
		r.Context.Set("aws:PrincipalTag/team", test.values...)
		if got := identity(t, allow("*", test.pattern)).Decide(r).Effect == policy.Allow; got != test.want {
			t.Errorf("%s with %q matches %s: %v, want %v", test.pattern, test.values, test.resource, got, test.want)
		}
	}
}

func TestVersion2008HasNoVariables(t *testing.T) {
	const resource = "arn:aws:iam::123456789012:user/${aws:username}"
	r := policy.Request{Action: "iam:GetUser", Resource: resource, Context: policy.Context{"aws:username": {"bob"}}}
	for _, version := range []string{`"Version":"2008-10-17",`, ``} {
		p := policy.Policies{Identity: []*policy.Policy{parse(t, policy.Identity, "p", `{`+version+`"Statement":`+allow("iam:*", resource)+`}`)}}
		if d := p.Decide(r); d.Effect != policy.Allow {
			t.Errorf("version %s does not take a variable literally: %s", version, d.Reason())
		}
		bob := r
		bob.Resource = "arn:aws:iam::123456789012:user/bob"
		if d := p.Decide(bob); d.Effect != policy.ImplicitDeny || !strings.Contains(d.Reason(), "2012-10-17") {
			t.Errorf("version %s resolves a variable: %s", version, d.Reason())
		}
	}
}

func TestPoliciesIntersect(t *testing.T) {
	document := map[string]string{
		"allow": statements(allow(connect, "*")),
		"deny":  statements(allow("*", "*"), deny(connect, "*")),
		"other": statements(allow("s3:*", "*")),
	}
	for _, test := range []struct {
		identity, boundary string
		session            []string
		want               policy.Effect
		source             string
	}{
		{"allow", "", nil, policy.Allow, policy.SourceIdentity},
		{"other", "", nil, policy.ImplicitDeny, policy.SourceIdentity},
		{"deny", "", nil, policy.ExplicitDeny, policy.SourceIdentity},
		{"", "allow", []string{"allow"}, policy.ImplicitDeny, policy.SourceIdentity},
		{"allow", "allow", nil, policy.Allow, policy.SourceIdentity},
		{"allow", "other", nil, policy.ImplicitDeny, policy.SourceBoundary},
		{"allow", "deny", nil, policy.ExplicitDeny, policy.SourceBoundary},
		{"other", "allow", nil, policy.ImplicitDeny, policy.SourceIdentity},
		{"other", "deny", nil, policy.ExplicitDeny, policy.SourceBoundary},
		{"allow", "", []string{"allow"}, policy.Allow, policy.SourceIdentity},
		{"allow", "", []string{"other"}, policy.ImplicitDeny, policy.SourceSession},
		{"allow", "", []string{"other", "allow"}, policy.Allow, policy.SourceIdentity},
		{"allow", "", []string{"allow", "deny"}, policy.ExplicitDeny, policy.SourceSession},
		{"allow", "", []string{}, policy.ImplicitDeny, policy.SourceSession},
		{"allow", "allow", []string{"allow"}, policy.Allow, policy.SourceIdentity},
		{"allow", "other", []string{"allow"}, policy.ImplicitDeny, policy.SourceBoundary},
		{"allow", "other", []string{"deny"}, policy.ExplicitDeny, policy.SourceSession},
		{"deny", "other", []string{"other"}, policy.ExplicitDeny, policy.SourceIdentity},
	} {
		var p policy.Policies
		if test.identity != "" {
			p.Identity = []*policy.Policy{nil, parse(t, policy.Identity, "i", document[test.identity])}
		}
		if test.boundary != "" {
			p.Boundary = parse(t, policy.Identity, "b", document[test.boundary])
		}
		if test.session != nil {
			p.Session = []*policy.Policy{}
		}
		for _, name := range test.session {
			p.Session = append(p.Session, parse(t, policy.Identity, "s", document[name]))
		}
		d := p.Decide(policy.Request{Action: connect, Resource: userARN})
		if d.Effect != test.want || d.Source != test.source {
			t.Errorf("%q with boundary %q and session %q: %v by %s, want %v by %s", test.identity, test.boundary, test.session, d.Effect, d.Source, test.want, test.source)
		}
	}
}

func TestATrustPolicyInTheWrongPlaceAppliesToNothing(t *testing.T) {
	trust := parse(t, policy.Trust, "t", statements(`{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole"}`))
	if d := (policy.Policies{Identity: []*policy.Policy{trust}}).Decide(policy.Request{Action: "sts:AssumeRole", Resource: "*"}); d.Effect != policy.ImplicitDeny {
		t.Errorf("a trust policy among identity policies: %s", d.Reason())
	}
	all := parse(t, policy.Identity, "i", statements(allow("*", "*")))
	if d := all.DecideTrust(policy.Request{Principal: userARN, Action: "sts:AssumeRole"}); d.Effect != policy.ImplicitDeny {
		t.Errorf("an identity policy as a trust policy: %s", d.Reason())
	}
}

func TestDecisionNamesTheStatement(t *testing.T) {
	p := identity(t, allow("s3:*", "*"), allow(connect, "*"), `{"Sid":"NoDemo","Effect":"Deny","Action":"*","Resource":"`+cacheARN+`"}`)
	d := p.Decide(policy.Request{Action: connect, Resource: userARN})
	if d.Effect != policy.Allow || d.Policy != "p" || d.Statement != "statement 2" {
		t.Errorf("Decide() = %v by %s of %s", d.Effect, d.Statement, d.Policy)
	}
	if want := "statement 2 of the identity-based policy p allows elasticache:Connect on " + userARN; d.Reason() != want {
		t.Errorf("Reason() = %s, want %s", d.Reason(), want)
	}
	d = p.Decide(policy.Request{Action: connect, Resource: cacheARN})
	if d.Effect != policy.ExplicitDeny || d.Policy != "p" || d.Statement != "NoDemo" {
		t.Errorf("Decide() = %v by %s of %s", d.Effect, d.Statement, d.Policy)
	}
	if want := `statement "NoDemo" of the identity-based policy p denies elasticache:Connect on ` + cacheARN; d.Reason() != want {
		t.Errorf("Reason() = %s, want %s", d.Reason(), want)
	}
	d = p.Decide(policy.Request{Action: "memorydb:Connect", Resource: mdbARN})
	if d.Policy != "" || d.Statement != "" || d.Reason() != "no identity-based policy allows memorydb:Connect on "+mdbARN {
		t.Errorf("Decide() = %v by %q of %q: %s", d.Effect, d.Statement, d.Policy, d.Reason())
	}
}

func TestEffectsHaveTheNamesOfTheSimulator(t *testing.T) {
	for effect, want := range map[policy.Effect]string{policy.Allow: "allowed", policy.ExplicitDeny: "explicitDeny", policy.ImplicitDeny: "implicitDeny"} {
		if effect.String() != want {
			t.Errorf("%d = %s, want %s", effect, effect, want)
		}
	}
}

func TestReasonNamesTheNearMiss(t *testing.T) {
	conditional := `{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:ResourceTag/Team":["red","blue"]}}}`
	for _, test := range []struct {
		name, statement string
		context         policy.Context
		want            string
	}{
		{"slash for colon", allow(connect, "arn:aws:elasticache:us-east-1:123456789012:replicationgroup/demo-*"), nil, "slash where the ARN has a colon"},
		{"capitals", allow(connect, "arn:aws:elasticache:us-east-1:123456789012:replicationgroup:Demo-Cache-01"), nil, "case of letters"},
		{"region", allow(connect, "arn:aws:elasticache:eu-west-1:123456789012:*"), nil, "the region differs"},
		{"account", allow(connect, "arn:aws:elasticache:*:999999999999:*"), nil, "the account differs"},
		{"partition", allow(connect, "arn:aws-cn:elasticache:*:*:*"), nil, "the partition differs"},
		{"service", allow(connect, "arn:aws:memorydb:*:*:*"), nil, "the service differs"},
		{"resource", allow(connect, userARN), nil, "its Resource " + userARN + " does not match: the resource differs"},
		{"part missing", allow(connect, "arn:aws:elasticache:*:replicationgroup"), nil, "it has 5 of the 6 parts"},
		{"misplaced variable", allow(connect, "arn:aws:elasticache:*:${aws:PrincipalAccount}:*"), nil, "only in the last part"},
		{"variable", allow(connect, "arn:aws:elasticache:*:*:*:${aws:username}"), nil, "has no value in this request"},
		{"NotResource", `{"Effect":"Allow","Action":"*","NotResource":"*"}`, nil, "its NotResource excludes"},
		{"key missing", conditional, nil, `its condition StringEquals aws:ResourceTag/Team "red, blue" does not hold: the request has no such key`},
		{"key differs", conditional, policy.Context{"aws:resourcetag/team": {"green"}}, `the request has "green"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := identity(t, allow("s3:*", "*"), test.statement).Decide(policy.Request{Action: connect, Resource: cacheARN, Context: test.context})
			start := "no identity-based policy allows elasticache:Connect on " + cacheARN + ": statement 2 of p would, but "
			if reason := d.Reason(); d.Effect != policy.ImplicitDeny || !strings.HasPrefix(reason, start) || !strings.Contains(reason, test.want) {
				t.Errorf("Reason() = %s, want %s", reason, test.want)
			}
		})
	}
}

func TestReasonPrefersTheNearestMiss(t *testing.T) {
	d := identity(t, allow(connect, userARN), allow(connect, "arn:aws:elasticache:us-east-1:123456789012:replicationgroup:demo-cache-02"), allow(connect, mdbARN)).
		Decide(policy.Request{Action: connect, Resource: cacheARN})
	if reason := d.Reason(); !strings.Contains(reason, "statement 2 of p") {
		t.Errorf("Reason() = %s, want statement 2", reason)
	}
}

func TestReasonSaysThatNoPolicyIsThere(t *testing.T) {
	d := policy.Policies{}.Decide(policy.Request{Action: connect, Resource: userARN})
	if want := "no identity-based policy allows elasticache:Connect on " + userARN + ": there is none"; d.Reason() != want {
		t.Errorf("Reason() = %s, want %s", d.Reason(), want)
	}
	p := identity(t, allow("*", "*"))
	p.Boundary = parse(t, policy.Identity, "edge", statements(allow(connect, cacheARN)))
	d = p.Decide(policy.Request{Action: connect, Resource: userARN})
	if want := "no permissions boundary allows"; !strings.HasPrefix(d.Reason(), want) || !strings.Contains(d.Reason(), "statement 1 of edge") {
		t.Errorf("Reason() = %s, want %s", d.Reason(), want)
	}
}

func TestReasonShortensHostileValues(t *testing.T) {
	p := identity(t, `{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"a:b":"x"}}}`)
	for _, value := range []string{strings.Repeat("\xa9", 5000), strings.Repeat("aé", 5000), strings.Repeat("\n", 5000)} {
		d := p.Decide(policy.Request{Action: connect, Resource: userARN, Context: policy.Context{"a:b": {value}}})
		if reason := d.Reason(); len(reason) > 600 || strings.Contains(reason, "\n") || !utf8.ValidString(reason) {
			t.Errorf("Reason() = %q", reason)
		}
	}
}

func TestReasonOfADecisionMadeByHand(t *testing.T) {
	if reason := (policy.Decision{Effect: policy.Allow}).Reason(); reason != "allowed" {
		t.Errorf("Reason() = %s, want allowed", reason)
	}
}

func TestMalformedErrorIsTheTypeOfEveryRefusal(t *testing.T) {
	_, err := policy.Parse(policy.Identity, "p", []byte(`{"Statement":`+allow("connect", "*")+`}`))
	var m *policy.MalformedError
	if !errors.As(err, &m) {
		t.Fatalf("Parse() = %v, want a MalformedError", err)
	}
	if want := "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."; m.Message != want {
		t.Errorf("Message = %s, want %s", m.Message, want)
	}
	if want := `statement 1: action "connect"`; m.Detail != want {
		t.Errorf("Detail = %s, want %s", m.Detail, want)
	}
}
