package policy_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rediam/rediam/internal/policy"
)

const (
	ec  = "arn:aws:elasticache:us-east-1:123456789012:"
	mdb = "arn:aws:memorydb:us-east-1:123456789012:"
)

// connectOn allows Connect of the service of the first ARN on all.
func connectOn(arns ...string) string {
	action := connect
	if strings.Contains(arns[0], "memorydb") {
		action = "memorydb:Connect"
	}
	return statements(`{"Effect":"Allow","Action":"` + action + `","Resource":["` + strings.Join(arns, `","`) + `"]}`)
}

// checkFinding wants one finding that stands where the document has the mark ‸,
// which is taken out before.
func checkFinding(t *testing.T, kind policy.Kind, marked, problem, instead string) {
	t.Helper()
	before, after, ok := strings.Cut(marked, "‸")
	if !ok {
		t.Fatal("the document has no mark")
	}
	line := 1 + strings.Count(before, "\n")
	column := 1 + utf8.RuneCountInString(before[strings.LastIndex(before, "\n")+1:])
	findings := policy.Lint(kind, []byte(before+after))
	if len(findings) != 1 {
		t.Fatalf("Lint(%s) = %v, want one finding", before+after, findings)
	}
	f := findings[0]
	if f.Line != line || f.Column != column || !strings.Contains(f.Problem, problem) || !strings.Contains(f.Instead, instead) {
		t.Errorf("Lint(%s) = %s, want line %d, column %d: …%s…: …%s…", before+after, f, line, column, problem, instead)
	}
}

// The mistakes of published walk-throughs, and those like them.
func TestLintFindsWhatKeepsADocumentFromBeingJSON(t *testing.T) {
	const rest = `"Effect":"Allow","Action":"elasticache:Describe*","Resource":"*"}]}`
	for _, test := range []struct {
		name, document, problem, instead string
	}{
		{"smart quotes", "{\n ‸“Version”: “2012-10-17”,\n “Statement”: [{“Effect”: “Allow”, “Action”: “elasticache:Describe*”, “Resource”: “*”}]}", "quotation mark of a word processor", `write "`},
		{"one smart quote that closes", `{"Version":"2012-10-17‸”,"Statement":[{` + rest, "quotation mark of a word processor", `write "`},
		{"single smart quotes", `{‸‘Version’:‘2012-10-17’,"Statement":[{` + rest, "single quotation marks", `write "`},
		{"single quotes", `{‸'Version':'2012-10-17','Statement':[{` + rest, "single quotation marks", `write "`},
		{"quotes of HTML", `{‸&quot;Version&quot;:&quot;2012-10-17&quot;,"Statement":[{` + rest, "HTML", `write "`},
		{"escaped quotes", `{‸\"Version\":\"2012-10-17\",\"Statement\":[{` + strings.ReplaceAll(rest, `"`, `\"`), "backslashes", `write "`},
		{"no opening quote", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":‸memorydb:Connect","Resource":["` + mdb + `cluster/demo","` + mdb + `user/app"]}]}`,
			"quotation mark before memorydb:Connect is missing", `write "`},
		{"no opening quote in a list", "{\"Version\":\"2012-10-17\",\n\"Statement\":[{\"Effect\":\"Allow\",\"Action\":[\n\t‸memorydb:Connect\"],\"Resource\":[\"" + mdb + "cluster/demo\",\"" + mdb + "user/app\"]}]}",
			"quotation mark before memorydb:Connect is missing", `write "`},
		{"no opening quote of a name", `{‸Version":"2012-10-17","Statement":[{` + rest, "quotation mark before Version is missing", `write "`},
		{"no closing quote at the end of a line", "{\"Version\":‸\"2012-10-17,\n\"Statement\":[{" + rest, "closes this string is missing", `write "`},
		{"no closing quote within a line", `{"Version":‸"2012-10-17, "Statement":[{` + rest, "closes this string is missing", `write "`},
		{"no closing quote of a name", `{‸"Version: "2012-10-17","Statement":[{` + rest, "closes this string is missing", `write "`},
		{"no quotes", `{"Version":‸2012-10-17,"Statement":[{` + rest, "2012-10-17 stands without quotation marks", `write "`},
		{"no quotes of a name", `{‸Version:"2012-10-17","Statement":[{` + rest, "Version stands without quotation marks", `write "`},
		{"no quotes of an ARN", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"elasticache:*","Resource":‸` + userARN + `}]}`, "stands without quotation marks", `write "`},
		{"no quotes of a condition key", `{"Version":"2012-10-17","Statement":[{"Condition":{"StringEquals":{‸aws:ResourceTag/team: "red"}},` + rest, "aws:ResourceTag/team stands without quotation marks", `write "`},
		{"a comma after the last member", `{"Version":"2012-10-17","Statement":[{` + strings.Replace(rest, `"*"}`, `"*"‸,}`, 1), "a comma stands after the last", "take the comma out"},
		{"a comma after the last statement", `{"Version":"2012-10-17","Statement":[{` + strings.Replace(rest, `}]`, `}‸,]`, 1), "a comma stands after the last", "take the comma out"},
		{"two commas", `{"Version":"2012-10-17",‸,"Statement":[{` + rest, "a comma stands with nothing before", "take the comma out"},
		{"no comma", "{\"Version\":\"2012-10-17\"‸\n\"Statement\":[{" + rest, "a comma is missing", "write a comma"},
		{"a semicolon", `{"Version":"2012-10-17"‸;"Statement":[{` + rest, "; stands between", "write a comma"},
		{"an equals sign", `{"Version"‸="2012-10-17","Statement":[{` + rest, "= stands between", "write a colon"},
		{"no colon", `{"Version" ‸"2012-10-17","Statement":[{` + rest, "the colon between", "write a colon"},
		{"no value", `{"Version":‸,"Statement":[{` + rest, "a value is missing", "write the value"},
		{"no name", `{"Version":"2012-10-17",‸:[{` + rest, "a name is missing", "name"},
		{"a name in a list", `{"Version":"2012-10-17","Statement":["Effect"‸:"Allow"]}`, "a list has no names", "write { }"},
		{"no closing bracket", `{"Version":"2012-10-17","Statement":[‸{"Effect":"Allow","Action":"elasticache:*","Resource":"*"`, "never closed", "closing bracket"},
		{"the wrong closing bracket", `{"Version":"2012-10-17","Statement":[{` + strings.Replace(rest, `}]}`, `}‸}`, 1), "another one", "write ] before this"},
		{"a closing bracket too many", `{"Version":"2012-10-17","Statement":[{` + rest + `‸}`, "has ended before", "take out"},
		{"a stray closing bracket", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"elasticache:*","Resource":"*"‸]}}`, "nothing is open", "take it out"},
		{"comments", "{\"Version\":\"2012-10-17\", ‸// who\n/* what */ \"Statement\":[{ # why\n" + rest, "no comments", "Sid"},
		{"a comment without end", `{"Version":"2012-10-17","Statement":[{` + rest + `‸/*`, "no comments", "Sid"},
		{"spaces of a web page", "{\"Version\":‸\u00a0\"2012-10-17\",\u00a0\"Statement\":[{" + rest, "space of a word processor", "ordinary space"},
		{"a byte order mark", "‸\ufeff{\"Version\":\"2012-10-17\",\"Statement\":[{" + rest, "byte order mark", "without BOM"},
		{"nothing", "‸", "is no JSON", ""},
		{"an escape that is none", `{"Version":"2012-10-17","Id":"\‸x","Statement":[{` + rest, "is no JSON", ""},
		{"a file's name", "‸policy.json", "the name of a file", "file://"},
		{"a file's URL", "‸file:///tmp/my-policy.json\n", "the name of a file", "file://"},
		{"a document as IAM gives it back", "‸%7B%22Version%22%3A%222012-10-17%22%7D", "URL-encoded", "decode"},
		{"more than a policy may be", `‸{"Id":"` + strings.Repeat("a", 20<<10) + `"}`, "longer than 20480 bytes without white space", "shorter"},
		{"more than anybody writes", "‸" + strings.Repeat(" ", 1<<20) + `{}`, "longer than 1048576 bytes", "take the policy out"},
		{"deep nesting", `{"Statement":` + strings.Repeat(`{"a":`, 7) + `‸[1` + strings.Repeat(`}`, 8), "too deep", ""},
		{"a list", `‸[]`, "a policy is an object", "Statement"},
	} {
		t.Run(test.name, func(t *testing.T) { checkFinding(t, policy.Identity, test.document, test.problem, test.instead) })
	}
}

func TestLintFindsMistakesInARNs(t *testing.T) {
	for _, test := range []struct {
		name, document, problem, instead string
	}{
		{"a slash for a replication group", connectOn(ec+"‸replicationgroup/demo-*", userARN), "a slash stands where ElastiCache's", "write replicationgroup:demo-*"},
		{"a slash for a serverless cache", connectOn(ec+"‸serverlesscache/demo", userARN), "a slash stands", "write serverlesscache:demo"},
		{"a slash for a user", connectOn(cacheARN, ec+"‸user/iam-user-01"), "a slash stands", "write user:iam-user-01"},
		{"a colon for a cluster", connectOn(mdb+"‸cluster:demo", mdb+"user/app"), "a colon stands where MemoryDB's", "write cluster/demo"},
		{"a colon for a user", connectOn(mdb+"cluster/demo", mdb+"‸user:app"), "a colon stands", "write user/app"},
		{"a type in two words", connectOn(ec+"‸replication-group:demo", userARN), "no such type", "write replicationgroup:demo"},
		{"a type in capitals", connectOn(ec+"‸ServerlessCache:demo", userARN), "no such type", "write serverlesscache:demo"},
		{"a type of the other service", connectOn(mdb+"‸replicationgroup:demo", mdb+"user/app"), "a colon stands", "write cluster/demo"},
		{"a group of the other service", statements(allow("memorydb:*", mdb+"‸usergroup/apps")), "no such type", "write acl/apps"},
		{"an ACL of the other service", statements(allow("elasticache:*", ec+"‸acl:apps")), "no such type", "write usergroup:apps"},
		{"a cache cluster", statements(allow("elasticache:*", ec+"‸cache-cluster:demo-001")), "no such type", "write cluster:demo-001"},
		{"a misspelt type", connectOn(mdb+"‸clutser/demo", mdb+"user/app"), "no such type", "write cluster/demo"},
		{"no name in MemoryDB", statements(allow("memorydb:*", mdb+"‸cluster")), "the name is missing", "cluster/NAME"},
		{"a URL", connectOn(ec+"‸replicationgroup:rediss://demo.abc123.use1.cache.amazonaws.com:6379", userARN), "endpoint", "write replicationgroup:demo"},
		{"an escape", statements(`{"Effect":"Allow","Action":"elasticache:*","Resource":‸"\u0061rn:aws:elasticache:eu:123456789012:user:x"}`), "no region", "eu-west-1"},
		{"no type", connectOn(cacheARN, userARN, ec+"‸demo-cache-01"), "the type of resource is missing", "replicationgroup:NAME"},
		{"no name", connectOn(cacheARN, userARN, ec+"‸user"), "the name is missing", "user:ID"},
		{"an empty name", connectOn(mdbARN, mdb+"user/app", mdb+"‸user/"), "the name is missing", "* for all"},
		{"an endpoint", connectOn(ec+"‸replicationgroup:master.demo-cache-01.abc123.use1.cache.amazonaws.com", userARN), "endpoint", "write replicationgroup:demo-cache-01"},
		{"a configuration endpoint", connectOn(ec+"‸replicationgroup:clustercfg.demo.abc123.use1.cache.amazonaws.com:6379", userARN), "endpoint", "write replicationgroup:demo"},
		{"a node's endpoint", connectOn(ec+"‸replicationgroup:demo-0001-001.abc123.0001.use1.cache.amazonaws.com", userARN), "endpoint", "write replicationgroup:demo"},
		{"a serverless endpoint", connectOn(ec+"‸serverlesscache:demo-abc123.serverless.use1.cache.amazonaws.com", userARN), "endpoint", "write serverlesscache:demo"},
		{"an endpoint of MemoryDB", connectOn(mdb+"‸cluster/clustercfg.demo-mdb.abc123.memorydb.us-east-1.amazonaws.com", mdb+"user/app"), "endpoint", "write cluster/demo-mdb"},
		{"an endpoint without type", connectOn(ec+"‸demo.abc123.use1.cache.amazonaws.com:6379", userARN), "endpoint", "write replicationgroup:demo"},
		{"an endpoint for an ARN", connectOn("‸demo.abc123.ng.0001.use1.cache.amazonaws.com:6379", cacheARN, userARN), "an endpoint is no resource", "replicationgroup:demo"},
		{"a name for an ARN", connectOn("‸demo-cache-01", cacheARN, userARN), "a resource is an ARN", "arn:aws:elasticache:REGION:ACCOUNT:replicationgroup:NAME"},
		{"ARN in capitals", connectOn("‸ARN:aws:elasticache:us-east-1:123456789012:user:x", cacheARN, userARN), "begins in lower case", "write arn:"},
		{"capitals in a cache's name", connectOn(ec+"‸replicationgroup:Demo-Cache-01", userARN), "has capitals", "write demo-cache-01"},
		{"capitals in a cluster's name", connectOn(mdb+"‸cluster/Demo", mdb+"user/app"), "has capitals", "write demo"},
		{"capitals beside a variable", connectOn(cacheARN, ec+"‸user:${aws:PrincipalTag/Team}-App"), "has capitals", "-app"},
		{"no partition", connectOn("arn:‸elasticache:us-east-1:123456789012:user:x", cacheARN, userARN), "the partition is missing", "arn:aws:elasticache:"},
		{"a service in capitals", connectOn("arn:aws:‸ElastiCache:us-east-1:123456789012:replicationgroup:demo", userARN), "no service", "did you mean elasticache?"},
		{"no region", connectOn("arn:aws:elasticache:‸:123456789012:replicationgroup:demo", userARN), "the region is missing", "eu-west-1"},
		{"no part for the region", connectOn("arn:aws:elasticache:‸123456789012:replicationgroup:demo", userARN), "the region is missing", "eu-west-1"},
		{"an availability zone", connectOn("arn:aws:elasticache:‸us-east-1a:123456789012:replicationgroup:demo", userARN), "availability zone", "write us-east-1"},
		{"a region that is none", connectOn("arn:aws:elasticache:‸REGION:123456789012:replicationgroup:demo", userARN), "no region", "eu-west-1"},
		{"a short account", connectOn("arn:aws:elasticache:us-east-1:‸12345678901:replicationgroup:demo", userARN), "12 digits", "get-caller-identity"},
		{"an account with hyphens", connectOn("arn:aws:elasticache:us-east-1:‸1234-5678-9012:replicationgroup:demo", userARN), "12 digits", "write 123456789012"},
		{"an empty account", connectOn("arn:aws:elasticache:us-east-1:‸:replicationgroup:demo", userARN), "the account is missing", "12 digits"},
		{"no part for the account", connectOn("arn:aws:elasticache:us-east-1:‸replicationgroup:demo", userARN), "the account is missing", "12 digits"},
		{"fewer parts", statements(allow("elasticache:*", "‸arn:aws:elasticache:user:x")), "fewer than six parts", "arn:aws:elasticache:REGION:ACCOUNT:"},
		{"a variable for the account", connectOn("‸arn:aws:elasticache:us-east-1:${aws:PrincipalAccount}:user:x", cacheARN), "before the last part", "* for any"},
		{"a variable of CloudFormation", connectOn("‸arn:aws:elasticache:${AWS::Region}:${AWS::AccountId}:user:x", cacheARN), "CloudFormation", "Fn::Sub"},
		{"a dash", connectOn("arn:aws:elasticache:us‸–east–1:123456789012:replicationgroup:demo", userARN), "dash", "write -"},
		{"a long dash", connectOn(ec+"replicationgroup:demo‸—cache", userARN), "dash", "write -"},
		{"smart quotes in quotes", connectOn("‸“"+cacheARN+"”", userARN), "quotation mark", "take it out"},
		{"a space", connectOn("‸ "+cacheARN, userARN), "space", "take it out"},
	} {
		t.Run(test.name, func(t *testing.T) {
			checkFinding(t, policy.Identity, test.document, test.problem, test.instead)
		})
	}
}

func TestLintFindsMistakesInStatements(t *testing.T) {
	statement := func(members string) string { return statements(`{` + members + `}`) }
	for _, test := range []struct {
		name, document, problem, instead string
	}{
		{"a cache without user", statements(`{"Effect":"Allow","Action":"elasticache:Connect","Resource":‸"` + cacheARN + `"}`), "on the cache and on no user", "…:user:NAME"},
		{"a user without cache", statements(`{"Effect":"Allow","Action":"elasticache:connect","Resource":‸"` + userARN + `"}`), "on the user and on no cache", "…:replicationgroup:NAME"},
		{"a cluster of MemoryDB without user", statements(`{"Effect":"Allow","Action":"memorydb:connect","Resource":‸["` + mdb + `cluster/*"]}`), "on the cache and on no user", "…:user/NAME"},
		{"a user of MemoryDB without cluster", statements(`{"Effect":"Allow","Action":"memorydb:Connect","Resource":‸["` + mdb + `user/app"]}`), "on the user and on no cache", "…:cluster/NAME"},
		{"a user group", statements(`{"Effect":"Allow","Action":"elasticache:Connect","Resource":‸["` + cacheARN + `","` + ec + `usergroup:apps"]}`), "not on its group", "…:user:NAME"},
		{"an ACL", statements(`{"Effect":"Allow","Action":"memorydb:Connect","Resource":‸["` + mdbARN + `","` + mdb + `acl/apps"]}`), "not on its group", "…:user/NAME"},
		{"a cluster", statements(`{"Effect":"Allow","Action":"elasticache:Connect","Resource":‸["` + ec + `cluster:demo-001","` + userARN + `"]}`), "not on its clusters", "…:replicationgroup:NAME"},
		{"a misspelt action", statements(`{"Effect":"Allow","Action":"elasticache:‸Conect","Resource":["` + cacheARN + `","` + userARN + `"]}`), "elasticache has no action Conect", "did you mean Connect?"},
		{"an action in the plural", statements(allow("memorydb:‸DescribeCluster", "*")), "memorydb has no action DescribeCluster", "did you mean DescribeClusters?"},
		{"a misspelt service", statements(allow("‸elasticcache:DescribeUsers", "*")), "no service", "did you mean elasticache?"},
		{"a service with a hyphen", statements(allow("‸memory-db:DescribeUsers", "*")), "no service", "did you mean memorydb?"},
		{"no service", statements(allow("‸DescribeUsers", "*")), "the service of the action is missing", "write elasticache:DescribeUsers or memorydb:DescribeUsers"},
		{"no service of MemoryDB", statements(allow("‸updateacl", "*")), "the service of the action is missing", "write memorydb:UpdateACL"},
		{"a dot for a colon", statements(allow("‸elasticache.DescribeUsers", "*")), "the colon of the action is missing", "write elasticache:DescribeUsers"},
		{"two actions in a string", statements(allow("‸elasticache:DescribeUsers, elasticache:DescribeUserGroups", "*")), "more than one action", "write a list"},
		{"a space after an action", statements(allow("‸elasticache:DescribeUsers ", "*")), "space", "take it out"},
		{"the other service's action", statements(`{"Effect":"Allow","Action":["‸elasticache:Connect"],"Resource":["` + mdbARN + `","` + mdb + `user/app"]}`), "the action is of elasticache and every Resource of memorydb", "write memorydb:Connect"},
		{"the other service's ARNs", statements(`{"Effect":"Allow","Action":["‸memorydb:Connect"],"Resource":["` + cacheARN + `","` + userARN + `"]}`), "the action is of memorydb and every Resource of elasticache", "write elasticache:Connect"},
		{"a version of today", `{"Version":"‸2026-11-22","Statement":` + allow("*", "*") + `}`, "not a date of yours", "write 2012-10-17"},
		{"a version with a slip", `{"Version":"‸2012-10-07","Statement":` + allow("*", "*") + `}`, "not a date of yours", "write 2012-10-17"},
		{"a version with dashes", `{"Version":"2012‸–10–17","Statement":` + allow("*", "*") + `}`, "dash", "write -"},
		{"a variable without a version", `{"Statement":` + allow("elasticache:*", "‸"+ec+"user:${aws:username}") + `}`, "Version 2012-10-17", `write "Version":"2012-10-17"`},
		{"a variable in the old version", `{"Version":"2008-10-17","Statement":` + allow("s3:*", "‸arn:aws:s3:::b/${aws:username}") + `}`, "Version 2012-10-17", `write "Version":"2012-10-17"`},
		{"a member in lower case", `{"Version":"2012-10-17","‸statement":` + allow("*", "*") + `}`, "no member of this name", "did you mean Statement?"},
		{"a member in the plural", statement(`"Effect":"Allow","‸Actions":"*","Resource":"*"`), "no member of this name", "did you mean Action?"},
		{"an effect in lower case", statement(`"Effect":"‸allow","Action":"*","Resource":"*"`), "no such Effect", "write Allow"},
		{"a trust policy", statement(`‸"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"`), "a role's trust policy", "create-role"},
		{"a principal", statement(`"Effect":"Allow","Principal":‸"*","Action":"*","Resource":"*"`), "has no Principal", "take it out"},
		{"trust: a permission policy", statements(`{"Effect":"Allow","Action":"elasticache:Connect","Resource":["` + cacheARN + `","` + userARN + `"]}`), "this is a permission policy", "put-role-policy"},
		{"trust: no principal", statement(`‸"Effect":"Allow","Action":"sts:AssumeRole"`), "has no Principal", "ec2.amazonaws.com"},
		{"trust: a resource", statement(`"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole","Resource":‸"*"`), "has no Resource", "take it out"},
		{"trust: NotResource", statement(`"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole","NotResource":‸"*"`), "has no Resource", "take it out"},
		{"trust: a service for a principal", statement(`"Effect":"Allow","Principal":‸"ec2.amazonaws.com","Action":"sts:AssumeRole"`), "is an object", `write {"Service":"ec2.amazonaws.com"}`},
		{"trust: an account for a principal", statement(`"Effect":"Allow","Principal":‸"123456789012","Action":"sts:AssumeRole"`), "is an object", `write {"AWS":"123456789012"}`},
		{"trust: a service as an account", statement(`"Effect":"Allow","Principal":{"AWS":"‸ec2.amazonaws.com"},"Action":"sts:AssumeRole"`), "a service", `write {"Service":"ec2.amazonaws.com"}`},
		{"trust: a role as a service", statement(`"Effect":"Allow","Principal":{"Service":"‸arn:aws:iam::123456789012:role/x"},"Action":"sts:AssumeRole"`), "an ARN", `write {"AWS":"arn:aws:iam::123456789012:role/x"}`},
		{"trust: a short account", statement(`"Effect":"Allow","Principal":{"AWS":"‸arn:aws:iam::12345:root"},"Action":"sts:AssumeRole"`), "12 digits", ""},
		{"trust: a type in lower case", statement(`"Effect":"Allow","Principal":{"‸aws":"*"},"Action":"sts:AssumeRole"`), "no such type of principal", "did you mean AWS?"},
		{"trust: a misspelt action", statement(`"Effect":"Allow","Principal":"*","Action":"sts:‸AsumeRole"`), "sts has no action AsumeRole", "did you mean AssumeRole?"},
	} {
		t.Run(test.name, func(t *testing.T) {
			kind, document := policy.Identity, test.document
			if strings.HasPrefix(test.name, "trust: ") {
				kind = policy.Trust
			}
			if !strings.Contains(document, "‸") || strings.Contains(document, "[{‸") { // it is about a whole statement
				document = strings.Replace(strings.ReplaceAll(document, "‸", ""), "[{", "[‸{", 1)
			}
			checkFinding(t, kind, document, test.problem, test.instead)
		})
	}
}

func TestLintWarnsOfEveryUser(t *testing.T) {
	for _, test := range []struct {
		document string
		warns    bool
	}{
		{connectOn(cacheARN, ec+"user:*"), true},
		{connectOn(mdbARN, mdb+"user/*"), true},
		{connectOn("arn:aws:elasticache:*:123456789012:*"), true},
		{statements(allow(connect, "*")), true},
		{connectOn(cacheARN, ec+"user:app-*"), false},
		{connectOn(cacheARN, ec+"user:${aws:PrincipalTag/user}"), false},
		{statements(allow("elasticache:*", "*")), false},
		{statements(deny(connect, "*")), false},
		{statements(`{"Effect":"Allow","Action":"elasticache:Connect","Resource":"*","Condition":{"StringEquals":{"aws:ResourceTag/team":"red"}}}`), false},
	} {
		findings := policy.Lint(policy.Identity, []byte(test.document))
		switch {
		case !test.warns && len(findings) > 0:
			t.Errorf("Lint(%s) = %v, want nothing", test.document, findings)
		case test.warns && (len(findings) != 1 || !findings[0].Warning || !strings.Contains(findings[0].Problem, "every user")):
			t.Errorf("Lint(%s) = %v, want a warning of every user", test.document, findings)
		}
	}
}

func TestLintPutsWarningsLast(t *testing.T) {
	findings := policy.Lint(policy.Identity, []byte(statements(allow(connect, "*"), allow("elasticache:DescribeUser", "*"))))
	if len(findings) != 2 || findings[0].Warning || !findings[1].Warning || findings[0].Column < findings[1].Column {
		t.Errorf("Lint() = %v, want the misspelt action of the second statement, then the warning of the first", findings)
	}
}

// Documents with several mistakes: each is found, in the order of the document.
func TestLintReadsOnAfterAMistake(t *testing.T) {
	for _, test := range []struct {
		name, document string
		want           []string
	}{
		{"a blog's", "{\n“Version”: “2012–10–17”,\n“Statement”: [{“Effect”: “Allow”, “Action”: “elasticache:Connect”, “Resource”: “arn:aws:elasticache:us–east–1:123456789012:replicationgroup/Demo”}]}",
			[]string{"line 2, column 1: this is a quotation mark", "line 2, column 17: this has a dash", "line 3, column 80: Connect is allowed on the cache and on no user", "line 3, column 120: a slash stands", "line 3, column 120: the name has capitals"}},
		{"no quotes anywhere", "{\n Version: 2012-10-17,\n Statement: [{\n  Effect: Allow,\n  Action: elasticache:Conect,\n  Resource: *\n }]\n}",
			[]string{"line 2, column 2: Version", "line 2, column 11: 2012-10-17", "line 3, column 2: Statement", "line 4, column 3: Effect", "line 4, column 11: Allow", "line 5, column 3: Action", "line 5, column 11: elasticache:Conect", "line 5, column 23: elasticache has no action Conect", "line 6, column 3: Resource", "line 6, column 13: *", "line 6, column 13: this lets its holder"}},
		{"Windows line ends", "{\r\n\"Version\":\"2012-10-17\",\r\n\"Statement\":{\"Effect\":\"Allow\",\"Action\":\"elasticache:DescribeUser\",\"Resource\":\"*\",}}",
			[]string{"line 3, column 53: elasticache has no action", "line 3, column 81: a comma stands after the last"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			findings := policy.Lint(policy.Identity, []byte(test.document))
			for i, f := range findings {
				if i >= len(test.want) || !strings.HasPrefix(f.String(), test.want[i]) {
					t.Errorf("finding %d is %s", i, f)
				}
			}
			if len(findings) != len(test.want) {
				t.Errorf("%d findings, want %d", len(findings), len(test.want))
			}
		})
	}
}

func TestLintHasNothingToSayOfGoodDocuments(t *testing.T) {
	for _, document := range []string{
		connectOn(cacheARN, userARN),
		connectOn(mdbARN, mdb+"user/app"),
		connectOn("arn:aws-cn:elasticache:cn-north-1:123456789012:serverlesscache:demo", "arn:aws-cn:elasticache:cn-north-1:123456789012:user:app"),
		connectOn("arn:aws:elasticache:*:*:replicationgroup:demo-*", "arn:aws:elasticache:us-gov-west-1:*:user:app-??"),
		connectOn("arn:*:elasticache:us-iso-east-1:123456789012:r*", "arn:*:elasticache:us-isob-east-1:1234567890??:u*:app"),
		connectOn(cacheARN, userARN, ec+"usergroup:apps", ec+"cluster:demo-001"),
		connectOn(cacheARN, ec+"user:default.iam-user"),
		connectOn(cacheARN, ec+"user:${aws:PrincipalTag/User, 'Nobody'}"),
		`{"Statement":` + allow("elasticache:Describe*", "*") + `}`,
		"\n{\"Version\" : \"2012-10-17\",\r\n\t\"Id\":\"“a” – b // c\", \"Statement\" : [\r\n" + allow("elasticache:connect", cacheARN) + ",\n" + allow("ElastiCache:CONNECT", userARN) + "]}\n",
		statements(allow(connect, cacheARN), allow("elasticache:*", ec+"user:*")),
		statements(allow(connect, cacheARN), `{"Effect":"Allow","NotAction":"iam:*","Resource":"*"}`),
		statements(allow(connect, cacheARN), allow("*", "*")),
		statements(`{"Effect":"Allow","Action":["elasticache:Connect","memorydb:Connect"],"Resource":["` + cacheARN + `","` + userARN + `","` + mdbARN + `","` + mdb + `user/app"]}`),
		statements(`{"Effect":"Allow","Action":["elasticache:Connect","elasticache:DescribeUsers","ec2:DescribeVpcs"],"NotResource":"` + userARN + `"}`),
		statements(deny(connect, userARN), deny("memorydb:Connect", mdb+"user/*"), allow("sts:AssumeRole", "arn:aws:iam::123456789012:role/Admin")),
		statements(`{"Sid":"Tags","Effect":"Allow","Action":"elasticache:Connect","Resource":"*","Condition":{"StringEquals":{"aws:ResourceTag/team–a":["“red”","a,b","x "]},"Bool":{"aws:SecureTransport":true},"NumericLessThan":{"a:b":-1.5}}}`),
		statements(`{"Effect":"Allow","Action":["elasticache:CreateUser","elasticache:ModifyUserGroup","elasticache:AddTagsToResource"],"Resource":["` + ec + `user:*","` + ec + `usergroup:*"]}`),
		statements(allow("elasticache:CreateReplicationGroup", ec+"parametergroup:default.redis7"), allow("elasticache:CopySnapshot", ec+"snapshot:automatic.demo-2026-11-22-05-00"),
			allow("elasticache:ModifyGlobalReplicationGroup", "arn:aws:elasticache::123456789012:globalreplicationgroup:ldgnf-demo"), allow("memorydb:UpdateMultiRegionCluster", "arn:aws:memorydb::123456789012:multiregioncluster/virxk-demo")),
		statements(allow("elasticache:NewActionOfNextYear", "arn:aws:elasticache:us-east-1:123456789012:newtype:Name"), allow("memorydb:*Cluster*", "arn:aws:memorydb:*")),
		statements(allow("s3:GetObject", "arn:aws:s3:::Bucket/user/*"), allow("dynamodb:*", "arn:aws:dynamodb:us-east-1:123456789012:table/Demo"), allow("elasticbeanstalk:*", "*"), allow("elasticmapreduce:*", "*"), allow("es:*", "*")),
		// The managed policies of the two services, and those for everything.
		statements(`{"Sid":"ElastiCacheManagementActions","Effect":"Allow","Action":"elasticache:*","Resource":"*"}`,
			`{"Sid":"CreateServiceLinkedRole","Effect":"Allow","Action":"iam:CreateServiceLinkedRole","Resource":"arn:aws:iam::*:role/aws-service-role/elasticache.amazonaws.com/AWSServiceRoleForElastiCache","Condition":{"StringLike":{"iam:AWSServiceName":"elasticache.amazonaws.com"}}}`,
			`{"Sid":"CreateVPCEndpoints","Effect":"Allow","Action":"ec2:CreateVpcEndpoint","Resource":"arn:aws:ec2:*:*:vpc-endpoint/*","Condition":{"StringLike":{"ec2:VpceServiceName":"com.amazonaws.elasticache.serverless.*"}}}`,
			`{"Sid":"AllowAccessToElastiCacheTaggedVpcEndpoints","Effect":"Allow","Action":"ec2:CreateVpcEndpoint","NotResource":"arn:aws:ec2:*:*:vpc-endpoint/*"}`),
		statements(`{"Effect":"Allow","Action":["elasticache:Describe*"],"Resource":"*"}`),
		statements(allow("memorydb:*", "*"), `{"Effect":"Allow","Action":"iam:CreateServiceLinkedRole","Resource":"arn:aws:iam::*:role/aws-service-role/memorydb.amazonaws.com/AWSServiceRoleForMemoryDB","Condition":{"StringLike":{"iam:AWSServiceName":"memorydb.amazonaws.com"}}}`),
		statements(`{"Effect":"Allow","Action":["memorydb:Describe*","memorydb:List*"],"Resource":"*"}`),
		statements(allow("*", "*")),
		strings.Replace(twentyStatements(), "\n", " ", -1),
	} {
		parse(t, policy.Identity, "p", document)
		if findings := policy.Lint(policy.Identity, []byte(document)); findings != nil {
			t.Errorf("Lint(%s) = %v, want nothing", document, findings)
		}
	}
	for _, statement := range []string{
		`{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}`,
		`{"Effect":"Allow","Principal":{"Service":["lambda.amazonaws.com","pods.eks.amazonaws.com"]},"Action":["sts:AssumeRole","sts:TagSession"]}`,
		`{"Effect":"Allow","Principal":{"AWS":["123456789012","arn:aws:iam::123456789012:root","arn:aws:iam::123456789012:role/App","*"]},"Action":"sts:assumerole","Condition":{"StringEquals":{"sts:ExternalId":"orders 42/é"}}}`,
		`{"Effect":"Deny","Principal":"*","Action":"sts:*"}`,
		`{"Effect":"Allow","Principal":{"Federated":"` + provider + `"},"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"StringEquals":{"oidc.eks.us-east-1.amazonaws.com/id/ABC:sub":"system:serviceaccount:default:app"}}}`,
		`{"Effect":"Allow","Principal":{"Federated":"accounts.google.com"},"Action":"sts:AssumeRoleWithWebIdentity"}`,
	} {
		parse(t, policy.Trust, "p", statements(statement))
		if findings := policy.Lint(policy.Trust, []byte(statements(statement))); findings != nil {
			t.Errorf("Lint(%s) = %v, want nothing", statement, findings)
		}
	}
}

func TestFindingsRepeatLittleOfTheDocument(t *testing.T) {
	long := strings.Repeat("é", 4000)
	for _, document := range []string{
		`{` + long + `:1}`,
		`{"Version":` + long + `"}`,
		`{"Version":` + long + `}`,
		statements(allow("elasticache."+long, ec+"user/"+long)),
		statements(allow("*", ec+"replicationgroup:A"+long)),
		statements(allow("*", ec+"replicationgroup:"+long+".cache.amazonaws.com")),
		statements(allow("*", long+".cache.amazonaws.com")),
		statements(allow("elasticache:"+long, mdbARN)),
		statements(allow("*", "arn:aws:elasticache:user:"+long)),
		statements(`{"Effect":"Allow","Principal":"` + long + `","Action":"sts:AssumeRole"}`),
	} {
		findings := policy.Lint(policy.Identity, []byte(document))
		if len(findings) == 0 {
			t.Errorf("nothing found in %.60s…", document)
		}
		for _, f := range findings {
			if n := strings.Count(f.String(), "é"); n > 64 {
				t.Errorf("%s repeats %d characters", f, n)
			}
		}
	}
	findings := policy.Lint(policy.Identity, []byte("{\x1b[31m\u202e:1}"))
	if len(findings) == 0 || strings.ContainsAny(findings[0].String(), "\x1b\u202e") {
		t.Errorf("Lint() = %q, want findings that a terminal prints as they are", findings)
	}
}

// FuzzLint holds findings to what is true of all: they stand in the document,
// are bounded, and a document that is no JSON has one.
func FuzzLint(f *testing.F) {
	f.Add(0, []byte(connectOn(cacheARN, userARN)))
	f.Add(0, []byte("{\n“Version”: “2012–10–17”,\n“Statement”: [{“Effect”: “Allow”, “Action”: “elasticache:Connect”, “Resource”: “arn:aws:elasticache:us–east–1:1:replicationgroup/Demo”}]}"))
	f.Add(1, []byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":[memorydb:Connect"],"Principal":{"AWS":"12"}}]}`))
	f.Fuzz(func(t *testing.T, kind int, document []byte) {
		findings := policy.Lint(policy.Kind(kind), document)
		if !json.Valid(document) && len(findings) == 0 {
			t.Error("a document that is no JSON has no finding")
		}
		if len(findings) > 50 {
			t.Errorf("%d findings", len(findings))
		}
		lines := strings.Split(string(document), "\n")
		for _, finding := range findings {
			if finding.Line < 1 || finding.Line > len(lines) || finding.Column < 1 || finding.Column > 1+utf8.RuneCountInString(lines[finding.Line-1]) {
				t.Errorf("%s: there is no such place", finding)
			}
			if n := utf8.RuneCountInString(finding.String()); n > 400 || !utf8.ValidString(finding.String()) || finding.Problem == "" || finding.Instead == "" {
				t.Errorf("a finding of %d characters: %q", n, finding)
			}
		}
	})
}
