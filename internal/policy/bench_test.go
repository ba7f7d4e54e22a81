package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rediam/rediam/internal/policy"
)

// twentyStatements ends with the one that allows the request.
func twentyStatements() string {
	var list []string
	for i := range 19 {
		list = append(list, fmt.Sprintf(`{"Sid":"S%d","Effect":"Allow","Action":["elasticache:Connect","elasticache:Describe*"],
			"Resource":["arn:aws:elasticache:us-east-1:123456789012:replicationgroup:other-%d","arn:aws:elasticache:us-east-1:123456789012:user:other-%d-*"],
			"Condition":{"StringEquals":{"aws:ResourceTag/team":"red"}}}`, i, i, i))
	}
	list = append(list, `{"Effect":"Allow","Action":"elasticache:Connect","Resource":["`+cacheARN+`","`+userARN+`"],
		"Condition":{"StringEquals":{"aws:ResourceTag/team":"red"},"IpAddress":{"aws:SourceIp":"192.0.2.0/24"}}}`)
	return statements(list...)
}

func BenchmarkDecide20Statements(b *testing.B) {
	p := policy.Policies{Identity: []*policy.Policy{parse(b, policy.Identity, "p", twentyStatements())}}
	r := policy.Request{Action: connect, Resource: userARN, Context: policy.Context{"aws:resourcetag/team": {"red"}, "aws:sourceip": {"192.0.2.7"}}}
	b.ReportAllocs()
	for b.Loop() {
		if d := p.Decide(r); d.Effect != policy.Allow {
			b.Fatal(d.Reason())
		}
	}
}

func BenchmarkDecideWithVariable(b *testing.B) {
	p := identity(b, allow(connect, "arn:aws:elasticache:us-east-1:123456789012:user:${aws:username}"))
	r := policy.Request{Action: connect, Resource: userARN, Context: policy.Context{"aws:username": {"iam-user-01"}}}
	b.ReportAllocs()
	for b.Loop() {
		if d := p.Decide(r); d.Effect != policy.Allow {
			b.Fatal(d.Reason())
		}
	}
}

// BenchmarkWorstPattern has the longest pattern that a document takes against a
// value as long as the longest ARN.
func BenchmarkWorstPattern(b *testing.B) {
	pattern := "*" + strings.Repeat("?a", 9000) + "b"
	p := identity(b, `{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringLike":{"a:b":"`+pattern+`"}}}`)
	r := policy.Request{Action: connect, Resource: userARN, Context: policy.Context{"a:b": {strings.Repeat("a", 2048)}}}
	for b.Loop() {
		if d := p.Decide(r); d.Effect != policy.ImplicitDeny {
			b.Fatal(d.Reason())
		}
	}
}

func BenchmarkParse20Statements(b *testing.B) {
	document := []byte(twentyStatements())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := policy.Parse(policy.Identity, "p", document); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLint10000Lines reads a document without mistakes to its end.
func BenchmarkLint10000Lines(b *testing.B) {
	var list []string
	for i := range 1000 {
		list = append(list, fmt.Sprintf(`{
	"Sid": "S%d",
	"Effect": "Allow",
	"Action": "elasticache:Connect",
	"Resource": [
		"arn:aws:elasticache:us-east-1:123456789012:replicationgroup:orders-%[1]d",
		"arn:aws:elasticache:us-east-1:123456789012:user:orders-app"
	],
	"Condition": {
		"StringEquals": {"aws:ResourceTag/team": "red"}}
}`, i))
	}
	document := []byte(statements(list...))
	b.SetBytes(int64(len(document)))
	for b.Loop() {
		if findings := policy.Lint(policy.Identity, document); len(findings) != 1 { // it is too long
			b.Fatal(findings)
		}
	}
}
