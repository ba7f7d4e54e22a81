package policy_test

import (
	"fmt"
	"testing"

	"github.com/rediam/rediam/internal/policy"
)

// holds decides whether a statement with the one condition applies. The key k:v
// has the values given; nil leaves it out.
func holds(t *testing.T, operator, wanted string, values []string) bool {
	t.Helper()
	p := identity(t, fmt.Sprintf(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{%q:{"K:v":%s}}}`, operator, wanted))
	r := policy.Request{Action: connect, Resource: "*", Context: policy.Context{"k:other": {"other"}}}
	if values != nil {
		r.Context.Set("k:V", values...)
	}
	return p.Decide(r).Effect == policy.Allow
}

// The rows follow the tables and examples of the IAM User Guide, IAM JSON policy
// elements: Condition operators.
func TestConditionOperators(t *testing.T) {
	const (
		financeARN = `"arn:aws:someservice:*:111122223333:finance/*"`
		storeARN   = "arn:aws:someservice:us-east-2:999999999999:store/abc:111122223333:finance/document.txt"
		ranges     = `["203.0.113.0/24","2001:DB8:1234:5678::/64"]`
	)
	for _, test := range []struct {
		operator, wanted, value string
		want                    bool
	}{
		{"StringEquals", `"red"`, "red", true},
		{"StringEquals", `"red"`, "Red", false},
		{"StringEquals", `"r*"`, "red", false},
		{"StringEquals", `"r*"`, "r*", true},
		{"StringEquals", `["blue","red"]`, "red", true},
		{"StringEquals", `[]`, "red", false},
		{"StringEquals", `""`, "", true},
		{"StringEquals", `123`, "123", true},
		{"StringEquals", `true`, "true", true},
		{"StringEquals", `"${k:other}"`, "other", true},
		{"StringEquals", `"an${k:other}"`, "another", true},
		{"StringEquals", `"${k:missing}"`, "", false},
		{"StringEquals", `"${k:missing, 'x'}"`, "x", true},
		{"StringEquals", `"${*}"`, "*", true},
		{"StringNotEquals", `"red"`, "red", false},
		{"StringNotEquals", `"red"`, "Red", true},
		{"StringNotEquals", `["red","blue"]`, "blue", false},
		{"StringNotEquals", `["red","blue"]`, "green", true},
		{"StringNotEquals", `"${k:missing}"`, "red", true},
		{"StringEqualsIgnoreCase", `"Red"`, "rED", true},
		{"StringEqualsIgnoreCase", `"Red"`, "rEDd", false},
		{"StringNotEqualsIgnoreCase", `"Red"`, "rED", false},
		{"StringNotEqualsIgnoreCase", `"Red"`, "blue", true},
		{"StringLike", `"t2.*"`, "t2.micro", true},
		{"StringLike", `"t2.*"`, "t1.micro", false},
		{"StringLike", `"T2.*"`, "t2.micro", false},
		{"StringLike", `"t?.micro"`, "t2.micro", true},
		{"StringLike", `"home/${k:other}/*"`, "home/other/x", true},
		{"StringLike", `"a${*}"`, "ab", false},
		{"StringLike", financeARN, storeARN, true},
		{"StringNotLike", `"t2.*"`, "t2.micro", false},
		{"StringNotLike", `"t2.*"`, "t1.micro", true},
		{"ArnLike", financeARN, storeARN, false},
		{"ArnEquals", financeARN, storeARN, false},
		{"ArnLike", financeARN, "arn:aws:someservice:us-east-2:111122223333:finance/document.txt", true},
		{"ArnEquals", financeARN, "arn:aws:someservice:us-east-2:111122223333:finance/document.txt", true},
		{"ArnEquals", financeARN, "arn:aws:someservice:us-east-2:111122223333:Finance/document.txt", false},
		{"ArnEquals", `"${k:other}"`, "other", true},
		{"ArnLike", `"*"`, "arn:aws:iam::123456789012:user/bob", true},
		{"ArnNotEquals", financeARN, storeARN, true},
		{"ArnNotLike", financeARN, "arn:aws:someservice:us-east-2:111122223333:finance/document.txt", false},
		{"NumericEquals", `"10"`, "10.0", true},
		{"NumericEquals", `10`, "10", true},
		{"NumericEquals", `"9007199254740993"`, "9007199254740992", false},
		{"NumericEquals", `"10"`, "ten", false},
		{"NumericNotEquals", `"10"`, "10", false},
		{"NumericNotEquals", `"10"`, "11", true},
		{"NumericNotEquals", `"10"`, "ten", true},
		{"NumericLessThan", `"10"`, "9.99", true},
		{"NumericLessThan", `"10"`, "10", false},
		{"NumericLessThanEquals", `"10"`, "10", true},
		{"NumericLessThanEquals", `"10"`, "11", false},
		{"NumericGreaterThan", `"10"`, "10", false},
		{"NumericGreaterThan", `"-1"`, "0", true},
		{"NumericGreaterThanEquals", `"10"`, "10", true},
		{"NumericGreaterThanEquals", `"10"`, "9", false},
		{"DateEquals", `"2020-01-01T00:00:00Z"`, "2020-01-01T01:00:00+01:00", true},
		{"DateEquals", `"2020-01-01T00:00:00Z"`, "1577836800", true},
		{"DateEquals", `1577836800`, "2020-01-01", true},
		{"DateEquals", `"2020-01"`, "2020-01-01T00:00Z", true},
		{"DateEquals", `"2020-01-01T00:00:00.5Z"`, "2020-01-01T00:00:00Z", false},
		{"DateNotEquals", `"2020-01-01T00:00:00Z"`, "2020-01-01", false},
		{"DateLessThan", `"2020-01-01T00:00:01Z"`, "2020-01-01T00:00:00Z", true},
		{"DateLessThan", `"2020-01-01T00:00:01Z"`, "2020-01-01T00:00:01Z", false},
		{"DateLessThanEquals", `"2020-01-01T00:00:01Z"`, "2020-01-01T00:00:01Z", true},
		{"DateGreaterThan", `"2020-01-01T00:00:01Z"`, "2020-06-30T12:00:00Z", true},
		{"DateGreaterThan", `"2020-01-01T00:00:01Z"`, "2019-12-31T23:59:59Z", false},
		{"DateGreaterThanEquals", `"2020-01-01T00:00:01Z"`, "2020-01-01T00:00:01", true},
		{"DateGreaterThan", `"2020-01-01T00:00:01Z"`, "yesterday", false},
		{"Bool", `"false"`, "false", true},
		{"Bool", `false`, "False", true},
		{"Bool", `"true"`, "false", false},
		{"Bool", `"false"`, "no", false},
		{"BinaryEquals", `"QmluYXJ5VmFsdWVJbkJhc2U2NA=="`, "QmluYXJ5VmFsdWVJbkJhc2U2NA==", true},
		{"BinaryEquals", `"QmluYXJ5VmFsdWVJbkJhc2U2NA=="`, "QmluYXJ5", false},
		{"IpAddress", ranges, "203.0.113.255", true},
		{"IpAddress", ranges, "203.0.114.0", false},
		{"IpAddress", ranges, "2001:db8:1234:5678::1", true},
		{"IpAddress", ranges, "2001:db8:1234:5679::1", false},
		{"IpAddress", ranges, "::ffff:203.0.113.7", true},
		{"IpAddress", ranges, "elsewhere", false},
		{"IpAddress", `"203.0.113.7"`, "203.0.113.7", true},
		{"IpAddress", `"203.0.113.7"`, "203.0.113.8", false},
		{"IpAddress", `"2001:db8::1"`, "2001:db8::2", false},
		{"NotIpAddress", ranges, "203.0.113.255", false},
		{"NotIpAddress", ranges, "198.51.100.1", true},
		{"Null", `"false"`, "", true},
		{"Null", `"true"`, "red", false},
	} {
		if got := holds(t, test.operator, test.wanted, []string{test.value}); got != test.want {
			t.Errorf("%s %s with %q: %v, want %v", test.operator, test.wanted, test.value, got, test.want)
		}
	}
}

func TestConditionsOnAMissingKey(t *testing.T) {
	for _, test := range []struct {
		operator, wanted string
		want             bool
	}{
		{"StringEquals", `"red"`, false},
		{"StringEqualsIgnoreCase", `"red"`, false},
		{"StringLike", `"*"`, false},
		{"ArnEquals", `"*"`, false},
		{"ArnLike", `"*"`, false},
		{"NumericEquals", `"1"`, false},
		{"NumericLessThan", `"1"`, false},
		{"DateLessThan", `"2020-01-01"`, false},
		{"Bool", `"false"`, false},
		{"BinaryEquals", `""`, false},
		{"IpAddress", `"0.0.0.0/0"`, false},
		{"StringNotEquals", `"red"`, true},
		{"StringNotEqualsIgnoreCase", `"red"`, true},
		{"StringNotLike", `"red"`, true},
		{"ArnNotEquals", `"*"`, true},
		{"ArnNotLike", `"*"`, true},
		{"NumericNotEquals", `"1"`, true},
		{"DateNotEquals", `"2020-01-01"`, true},
		{"NotIpAddress", `"0.0.0.0/0"`, true},
		{"StringEqualsIfExists", `"red"`, true},
		{"StringNotEqualsIfExists", `"red"`, true},
		{"NumericLessThanIfExists", `"1"`, true},
		{"BoolIfExists", `"true"`, true},
		{"IpAddressIfExists", `"192.0.2.1"`, true},
		{"ForAllValues:StringEquals", `"red"`, true},
		{"ForAllValues:StringNotEquals", `"red"`, true},
		{"ForAnyValue:StringEquals", `"red"`, false},
		{"ForAnyValue:StringNotEquals", `"red"`, false},
		{"ForAnyValue:StringEqualsIfExists", `"red"`, true},
		{"Null", `"true"`, true},
		{"Null", `true`, true},
		{"Null", `"false"`, false},
	} {
		for _, values := range [][]string{nil, {}} {
			if got := holds(t, test.operator, test.wanted, values); got != test.want {
				t.Errorf("%s %s without the key (%v): %v, want %v", test.operator, test.wanted, values, got, test.want)
			}
		}
	}
}

// The rows follow the IAM User Guide, Set operators for multivalued context keys.
func TestConditionsOnKeysWithSeveralValues(t *testing.T) {
	const wanted = `["PostDateTime","Message","Tags"]`
	for _, test := range []struct {
		operator string
		values   []string
		want     bool
	}{
		{"ForAllValues:StringLike", []string{"PostDateTime", "Message"}, true},
		{"ForAllValues:StringLike", []string{"PostDateTime", "UserName"}, false},
		{"ForAllValues:StringLike", []string{""}, true},
		{"ForAllValues:StringNotEquals", []string{"ID", "UserName"}, true},
		{"ForAllValues:StringNotEquals", []string{"ID", "Tags"}, false},
		{"ForAnyValue:StringLike", []string{"UserName", "Message", "PostDateTime"}, true},
		{"ForAnyValue:StringLike", []string{"UserName"}, false},
		{"ForAnyValue:StringLike", []string{""}, false},
		{"ForAnyValue:StringNotEquals", []string{"ID", "Tags"}, true},
		{"ForAnyValue:StringNotEquals", []string{"Message", "Tags"}, false},
		{"ForAnyValue:StringEqualsIfExists", []string{"UserName"}, false},
		{"StringEquals", []string{"UserName", "Tags"}, true},
		{"StringEquals", []string{"UserName", "ID"}, false},
		{"StringNotEquals", []string{"UserName", "Tags"}, false},
		{"StringNotEquals", []string{"UserName", "ID"}, true},
		{"StringEqualsIfExists", []string{"ID"}, false},
	} {
		if got := holds(t, test.operator, wanted, test.values); got != test.want {
			t.Errorf("%s %s with %q: %v, want %v", test.operator, wanted, test.values, got, test.want)
		}
	}
}

func TestOperatorsAndKeysAreAllNeeded(t *testing.T) {
	p := identity(t, `{"Effect":"Allow","Action":"*","Resource":"*","Condition":{
		"StringEquals":{"aws:ResourceTag/team":"red","aws:ResourceTag/env":["dev","test"]},
		"IpAddress":{"aws:SourceIp":"192.0.2.0/24"}}}`)
	for _, test := range []struct {
		team, env, ip string
		want          policy.Effect
	}{
		{"red", "test", "192.0.2.1", policy.Allow},
		{"blue", "test", "192.0.2.1", policy.ImplicitDeny},
		{"red", "prod", "192.0.2.1", policy.ImplicitDeny},
		{"red", "test", "192.0.3.1", policy.ImplicitDeny},
	} {
		c := policy.Context{}
		c.Set("aws:ResourceTag/team", test.team)
		c.Set("aws:ResourceTag/env", test.env)
		c.Set("aws:SourceIp", test.ip)
		if d := p.Decide(policy.Request{Action: connect, Resource: userARN, Context: c}); d.Effect != test.want {
			t.Errorf("%v: %v, want %v", test, d.Effect, test.want)
		}
	}
}
