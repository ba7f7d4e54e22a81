package policy_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/rediam/rediam/internal/policy"
)

func TestParseTakes(t *testing.T) {
	for _, document := range []string{
		`{"Statement":` + allow(connect, "*") + `}`,
		`{"Id":"x","Version":"2008-10-17","Statement":[` + allow(connect, "*") + `]}`,
		statements(`{"Sid":"","Effect":"Deny","NotAction":["*"],"NotResource":["*"]}`, `{"Sid":"","Effect":"Deny","NotAction":["*"],"NotResource":["*"],"Condition":{}}`),
		statements(allow("execute-api:*", "arn:aws-us-gov:execute-api:*:*:abc/*")),
		statements(`{"Effect":"Allow","Action":"a:\u0000\ud800😀","Resource":"*"}`),
		strings.Repeat(" ", 15000) + statements(allow(connect, "*")),
	} {
		parse(t, policy.Identity, "p", document)
	}
}

func TestParseRefuses(t *testing.T) {
	statement := func(members string) string { return statements(`{` + members + `}`) }
	condition := func(c string) string {
		return statement(`"Effect":"Allow","Action":"*","Resource":"*","Condition":` + c)
	}
	trust := func(members string) string { return statement(`"Effect":"Allow","Action":"sts:AssumeRole",` + members) }
	for _, test := range []struct {
		name, document, message, detail string
	}{
		{"nothing", ``, "invalid Json", ""},
		{"a missing quote", `{"Statement":[{"Effect":"Allow","Action":[memorydb:Connect"],"Resource":"*"}]}`, "invalid Json", ""},
		{"smart quotes", `{“Statement”:[]}`, "invalid Json", ""},
		{"two documents", statements(allow("*", "*")) + `{}`, "invalid Json", ""},
		{"invalid UTF-8", statements(allow("*", "*"))[:60] + "\xff\"}]}", "invalid Json", "UTF-8"},
		{"deep nesting", strings.Repeat(`[`, 9000) + strings.Repeat(`]`, 9000), "Syntax errors", "nested"},
		{"deep objects", `{"Statement":` + strings.Repeat(`{"a":`, 1000) + `1` + strings.Repeat(`}`, 1000) + `}`, "Syntax errors", "nested"},
		{"more than a policy may be", `{"Id":"` + strings.Repeat("a", 20<<10) + `"}`, "Syntax errors", "longer"},
		{"more than IAM reads", strings.Repeat(" ", 128<<10) + `{}`, "Syntax errors", "longer"},
		{"a list", `[]`, "Syntax errors", "not an object"},
		{"null", `null`, "Syntax errors", "not an object"},
		{"a member twice", `{"Version":"2012-10-17","Version":"2012-10-17","Statement":` + allow("*", "*") + `}`, "Syntax errors", `"Version" stands twice`},
		{"a member twice, escaped", statement(`"Effect":"Deny","\u0045ffect":"Allow","Action":"*","Resource":"*"`), "Syntax errors", `"Effect" stands twice`},
		{"a condition key twice", condition(`{"StringEquals":{"a:b":"1","a:b":"2"}}`), "Syntax errors", `"a:b" stands twice`},
		{"an unknown member", `{"Statement":` + allow("*", "*") + `,"Comment":""}`, "Syntax errors", `"Comment"`},
		{"another case", `{"statement":` + allow("*", "*") + `}`, "Syntax errors", `"statement"`},
		{"a version of today", `{"Version":"2026-11-22","Statement":` + allow("*", "*") + `}`, "Syntax errors", "Version"},
		{"an Id that is a number", `{"Id":1,"Statement":` + allow("*", "*") + `}`, "Syntax errors", "Id"},
		{"no statement", `{"Version":"2012-10-17"}`, "Syntax errors", "no Statement"},
		{"an empty list of statements", `{"Statement":[]}`, "Syntax errors", "no Statement"},
		{"a statement that is a string", `{"Statement":["x"]}`, "Syntax errors", "statement 1"},
		{"an unknown member of a statement", statement(`"Effect":"Allow","Action":"*","Resource":"*","Actions":"*"`), "Syntax errors", `statement 1: unknown member "Actions"`},
		{"no effect", statement(`"Action":"*","Resource":"*"`), "Syntax errors", "Effect is missing"},
		{"an effect in lower case", statement(`"Effect":"allow","Action":"*","Resource":"*"`), "Syntax errors", "neither Allow nor Deny"},
		{"no action", statement(`"Effect":"Allow","Resource":"*"`), "Policy statement must contain actions.", ""},
		{"an empty list of actions", statement(`"Effect":"Allow","Action":[],"Resource":"*"`), "Policy statement must contain actions.", ""},
		{"Action and NotAction", statement(`"Effect":"Allow","Action":"*","NotAction":"*","Resource":"*"`), "Syntax errors", "both Action and NotAction"},
		{"an action that is a number", statement(`"Effect":"Allow","Action":1,"Resource":"*"`), "Syntax errors", "Action"},
		{"an action without a service", statements(allow("Connect", "*")), "prefaced by a vendor", `"Connect"`},
		{"an action with two colons", statements(allow("elasticache:user:Connect", "*")), "only one colon", ""},
		{"a service with a wildcard", statements(allow("elasti*:Connect", "*")), "Vendor elasti* is not valid", ""},
		{"no resource", statement(`"Effect":"Allow","Action":"*"`), "Policy statement must contain resources.", ""},
		{"an empty list of resources", statement(`"Effect":"Allow","Action":"*","Resource":[]`), "Policy statement must contain resources.", ""},
		{"Resource and NotResource", statement(`"Effect":"Allow","Action":"*","Resource":"*","NotResource":"*"`), "Syntax errors", "both Resource"},
		{"a resource that is a name", statements(allow("*", "demo-cache-01")), `Resource demo-cache-01 must be in ARN format or "*".`, ""},
		{"an empty resource", statements(allow("*", "")), `must be in ARN format or "*".`, ""},
		{"a missing partition", statements(allow("*", "arn:elasticache:us-east-1:123456789012:user:x")), `Partition "elasticache" is not valid`, ""},
		{"a wildcard for the service", statements(allow("*", "arn:aws:*")), "cannot contain regexes", ""},
		{"an unfinished ARN", statements(allow("*", "arn:aws:s3::x")), "legacy parsing", "six parts"},
		{"a Sid with a space", statement(`"Sid":"a b","Effect":"Allow","Action":"*","Resource":"*"`), "Statement IDs (SID) must be alpha-numeric.", ""},
		{"a Sid that is a number", statement(`"Sid":1,"Effect":"Allow","Action":"*","Resource":"*"`), "Syntax errors", "Sid"},
		{"a Sid twice", statements(`{"Sid":"a","Effect":"Allow","Action":"*","Resource":"*"}`, `{"Sid":"a","Effect":"Allow","Action":"*","Resource":"*"}`), "must be unique.", `statement 2: another statement has the Sid "a"`},
		{"a principal", statement(`"Effect":"Allow","Action":"*","Resource":"*","Principal":"*"`), "Policy document should not specify a principal.", ""},
		{"NotPrincipal", statement(`"Effect":"Allow","Action":"*","Resource":"*","NotPrincipal":"*"`), "Syntax errors", "NotPrincipal"},
		{"a condition that is a list", condition(`[]`), "Syntax errors", "Condition"},
		{"an operator that is a string", condition(`{"StringEquals":"x"}`), "Syntax errors", "StringEquals"},
		{"an unknown operator", condition(`{"StringIs":{"a:b":"x"}}`), "Syntax errors", `"StringIs"`},
		{"an unknown comparison", condition(`{"NumericLike":{"a:b":"1"}}`), "Syntax errors", `"NumericLike"`},
		{"NullIfExists", condition(`{"NullIfExists":{"a:b":"true"}}`), "Syntax errors", `"NullIfExists"`},
		{"a key without a service", condition(`{"StringEquals":{"SourceIp":"x"}}`), "prefaced by a vendor", `"SourceIp"`},
		{"a value that is null", condition(`{"StringEquals":{"a:b":null}}`), "Syntax errors", `"a:b"`},
		{"a value that is an object", condition(`{"StringEquals":{"a:b":[{}]}}`), "Syntax errors", `"a:b"`},
		{"a number that is none", condition(`{"NumericEquals":{"a:b":"1e9"}}`), "legacy parsing", `"1e9"`},
		{"a date that is none", condition(`{"DateEquals":{"a:b":"tomorrow"}}`), "legacy parsing", `"tomorrow"`},
		{"an address that is none", condition(`{"IpAddress":{"a:b":"192.0.2.*"}}`), "legacy parsing", `"192.0.2.*"`},
		{"a Boolean that is none", condition(`{"Bool":{"a:b":"yes"}}`), "legacy parsing", `"yes"`},
		{"Null of a Boolean that is none", condition(`{"Null":{"a:b":"yes"}}`), "legacy parsing", `"yes"`},
		{"base64 that is none", condition(`{"BinaryEquals":{"a:b":"?"}}`), "legacy parsing", `"?"`},
		{"a variable that is not closed", condition(`{"StringEquals":{"a:b":"${aws:username"}}`), "legacy parsing", "policy variable"},
		{"a variable without a name", condition(`{"StringLike":{"a:b":"${}"}}`), "legacy parsing", "policy variable"},
		{"a default without quotes", condition(`{"ArnLike":{"a:b":"${aws:username, x}"}}`), "legacy parsing", "policy variable"},
		{"a variable in a resource that is not closed", statements(allow("*", "arn:aws:s3:::${aws:username")), "legacy parsing", "policy variable"},

		{"trust: a permission policy", statements(allow(connect, "*")), "Has prohibited field Resource", ""},
		{"trust: NotResource", trust(`"Principal":"*","NotResource":"*"`), "Has prohibited field NotResource", ""},
		{"trust: no principal", statement(`"Effect":"Allow","Action":"sts:AssumeRole"`), "Missing required field Principal", ""},
		{"trust: another service's action", statement(`"Effect":"Allow","Principal":"*","Action":["sts:AssumeRole","s3:*"]`), "may only specify STS AssumeRole actions", ""},
		{"trust: every action", statement(`"Effect":"Allow","Principal":"*","Action":"*"`), "may only specify STS AssumeRole actions", ""},
		{"trust: an empty principal", trust(`"Principal":{}`), "Syntax errors", "Principal"},
		{"trust: an empty list of principals", trust(`"Principal":{"AWS":[]}`), "Syntax errors", "Principal is empty"},
		{"trust: a principal that is a string", trust(`"Principal":"123456789012"`), "Syntax errors", "Principal"},
		{"trust: an unknown type of principal", trust(`"Principal":{"Group":"x"}`), `Invalid principal in policy: "GROUP":"x"`, ""},
		{"trust: a wildcard in an ARN", trust(`"Principal":{"AWS":"arn:aws:iam::123456789012:role/*"}`), `Invalid principal in policy: "AWS":"arn:aws:iam::123456789012:role/*"`, ""},
		{"trust: a session without a name", trust(`"Principal":{"AWS":"arn:aws:sts::123456789012:assumed-role/app"}`), "Invalid principal", ""},
		{"trust: a user as a service", trust(`"Principal":{"Service":"arn:aws:iam::123456789012:user/x"}`), "Invalid principal", ""},
		{"trust: a role as a provider", trust(`"Principal":{"Federated":"arn:aws:iam::123456789012:role/x"}`), "Invalid principal", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			kind := policy.Identity
			if strings.HasPrefix(test.name, "trust: ") {
				kind = policy.Trust
			}
			p, err := policy.Parse(kind, "p", []byte(test.document))
			var m *policy.MalformedError
			if !errors.As(err, &m) || p != nil {
				t.Fatalf("Parse() = %v, %v, want a MalformedError", p, err)
			}
			if !strings.Contains(m.Message, test.message) || !strings.Contains(m.Detail, test.detail) {
				t.Errorf("Parse() = %q, %q, want %q, %q", m.Message, m.Detail, test.message, test.detail)
			}
		})
	}
}

func TestErrorsRepeatLittleOfTheDocument(t *testing.T) {
	long := strings.Repeat("é", 8000)
	for _, document := range []string{
		statements(allow(long, "*")),
		statements(allow("*", long)),
		statements(allow("*", "arn:"+long+":s3:::x")),
		`{"` + long + `":1}`,
		statements(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"` + long + `":{"a:b":""}}}`),
		statements(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"Bool":{"a:b":"` + long + `"}}}`),
		statements(`{"Effect":"Allow","Action":"*","Resource":"*","Principal":{"` + long + `":"` + long + `"}}`),
	} {
		_, err := policy.Parse(policy.Identity, "p", []byte(document))
		if err == nil || len(err.Error()) > 600 {
			t.Errorf("Parse() = %d bytes of error, want at most 600", len(err.Error()))
		}
	}
}
