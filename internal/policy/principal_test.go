package policy_test

import (
	"strings"
	"testing"

	"github.com/rediam/rediam/internal/policy"
)

const (
	account  = "123456789012"
	session  = "arn:aws:sts::123456789012:assumed-role/app/i-1"
	provider = "arn:aws:iam::123456789012:oidc-provider/oidc.eks.us-east-1.amazonaws.com/id/ABC"
	assume   = "sts:AssumeRole"
)

func TestTrustPolicyNamesItsCallers(t *testing.T) {
	for _, test := range []struct {
		principal, caller string
		want, delegated   bool
	}{
		{`"*"`, session, true, false},
		{`{"AWS":"*"}`, session, true, false},
		{`{"AWS":"123456789012"}`, session, true, true},
		{`{"AWS":"arn:aws:iam::123456789012:root"}`, session, true, true},
		{`{"AWS":"arn:aws:iam::123456789012:root"}`, "arn:aws:iam::123456789012:user/bob", true, true},
		{`{"AWS":"arn:aws:iam::123456789012:root"}`, "arn:aws:iam::123456789012:root", true, true},
		{`{"AWS":"arn:aws:iam::999999999999:root"}`, session, false, false},
		{`{"AWS":"arn:aws:iam::123456789012:root"}`, provider, false, false},
		{`{"AWS":"arn:aws:iam::123456789012:root"}`, "ec2.amazonaws.com", false, false},
		{`{"AWS":"arn:aws:iam::123456789012:role/app"}`, session, true, false},
		{`{"AWS":"arn:aws:iam::123456789012:role/service/path/app"}`, session, true, false},
		{`{"AWS":"arn:aws:iam::123456789012:role/app"}`, "arn:aws:sts::123456789012:assumed-role/app2/i-1", false, false},
		{`{"AWS":"arn:aws:iam::999999999999:role/app"}`, session, false, false},
		{`{"AWS":"arn:aws-cn:iam::123456789012:role/app"}`, session, false, false},
		{`{"AWS":"arn:aws:sts::123456789012:assumed-role/app/i-1"}`, session, true, false},
		{`{"AWS":"arn:aws:sts::123456789012:assumed-role/app/i-2"}`, session, false, false},
		{`{"AWS":["999999999999","arn:aws:iam::123456789012:user/bob"]}`, "arn:aws:iam::123456789012:user/bob", true, false},
		{`{"AWS":"arn:aws:iam::123456789012:user/bob"}`, "arn:aws:iam::123456789012:user/Bob", false, false},
		{`{"AWS":["123456789012","arn:aws:iam::123456789012:role/app"]}`, session, true, false},
		{`{"Service":"ec2.amazonaws.com"}`, "ec2.amazonaws.com", true, false},
		{`{"Service":["lambda.amazonaws.com","ec2.amazonaws.com"]}`, "ec2.amazonaws.com", true, false},
		{`{"Service":"ec2.amazonaws.com"}`, "lambda.amazonaws.com", false, false},
		{`{"Federated":"` + provider + `"}`, provider, true, false},
		{`{"Federated":"accounts.google.com"}`, "accounts.google.com", true, false},
		{`{"Federated":"` + provider + `"}`, provider + "D", false, false},
		{`{"AWS":"999999999999","Service":"ec2.amazonaws.com"}`, "ec2.amazonaws.com", true, false},
		{`{"AWS":"123456789012"}`, "", false, false},
	} {
		p := parse(t, policy.Trust, "role", statements(`{"Effect":"Allow","Principal":`+test.principal+`,"Action":"sts:AssumeRole"}`))
		d := p.DecideTrust(policy.Request{Principal: test.caller, Action: assume})
		if got := d.Effect == policy.Allow; got != test.want || d.Delegated != test.delegated {
			t.Errorf("%s for %s: %v, delegated %v, want %v, %v", test.principal, test.caller, got, d.Delegated, test.want, test.delegated)
		}
	}
}

func TestTrustPolicyDecides(t *testing.T) {
	p := parse(t, policy.Trust, "role", statements(
		`{"Effect":"Allow","Principal":{"AWS":"`+account+`"},"Action":"sts:AssumeRole"}`,
		`{"Sid":"App","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:role/app"},"Action":["sts:AssumeRole","sts:TagSession"]}`,
		`{"Sid":"NoMallory","Effect":"Deny","Principal":{"AWS":"arn:aws:iam::123456789012:user/mallory"},"Action":"sts:*"}`,
		`{"Sid":"Pod","Effect":"Allow","Principal":{"Federated":"`+provider+`"},"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"StringEquals":{
			"oidc.eks.us-east-1.amazonaws.com/id/ABC:sub":"system:serviceaccount:default:app",
			"oidc.eks.us-east-1.amazonaws.com/id/ABC:aud":"sts.amazonaws.com"}}}`,
	))
	pod := policy.Context{}
	pod.Set("oidc.eks.us-east-1.amazonaws.com/id/ABC:sub", "system:serviceaccount:default:app")
	pod.Set("oidc.eks.us-east-1.amazonaws.com/id/ABC:aud", "sts.amazonaws.com")
	for _, test := range []struct {
		principal, action string
		context           policy.Context
		effect            policy.Effect
		reason            string
	}{
		{"arn:aws:iam::123456789012:user/bob", assume, nil, policy.Allow, "statement 1 of the role trust policy role allows sts:AssumeRole by arn:aws:iam::123456789012:user/bob"},
		{session, assume, nil, policy.Allow, `statement "App" of the role trust policy role allows`},
		{session, "sts:TagSession", nil, policy.Allow, `statement "App"`},
		{"arn:aws:iam::123456789012:user/mallory", assume, nil, policy.ExplicitDeny, `statement "NoMallory" of the role trust policy role denies`},
		{"ec2.amazonaws.com", assume, nil, policy.ImplicitDeny, "its Principal does not include the caller"},
		{provider, "sts:AssumeRoleWithWebIdentity", pod, policy.Allow, `statement "Pod"`},
		{provider, "sts:AssumeRoleWithWebIdentity", nil, policy.ImplicitDeny, `statement "Pod" of role would, but its condition StringEquals oidc.eks.us-east-1.amazonaws.com/id/ABC:sub`},
		{provider, assume, pod, policy.ImplicitDeny, "no role trust policy allows sts:AssumeRole by " + provider},
	} {
		d := p.DecideTrust(policy.Request{Principal: test.principal, Action: test.action, Context: test.context})
		if d.Effect != test.effect || !strings.Contains(d.Reason(), test.reason) {
			t.Errorf("%s by %s: %v, %s, want %v, %s", test.action, test.principal, d.Effect, d.Reason(), test.effect, test.reason)
		}
	}
}
