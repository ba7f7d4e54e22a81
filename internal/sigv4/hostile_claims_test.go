package sigv4_test

import (
	"strings"
	"time"

	"github.com/rediam/rediam/internal/sigv4"
)

// brokenClaims say something else than a sign-in of this user to this cache.
func brokenClaims() []breakage {
	claim := func(name string, reason sigv4.Reason, part, parameter, value string) breakage {
		return breakage{name: name, reason: reason, touches: part, sign: set(parameter, value)}
	}
	host := func(name string, print func(string) string, change func(string) string) breakage {
		return breakage{name: name, reason: sigv4.WrongCache, touches: "host separator", print: print,
			sign: func(r *recipe, _ scene) { r.host = change(r.host) }}
	}
	all := []breakage{
		claim("floci: another algorithm", sigv4.WrongAlgorithm, "algorithm", "X-Amz-Algorithm", "AWS4-ECDSA-P256-SHA256"),
		claim("floci: no algorithm", sigv4.WrongAlgorithm, "algorithm", "X-Amz-Algorithm", ""),
		claim("the algorithm none", sigv4.WrongAlgorithm, "algorithm", "X-Amz-Algorithm", "none"),
		claim("the algorithm in small letters", sigv4.WrongAlgorithm, "algorithm", "X-Amz-Algorithm", "aws4-hmac-sha256"),
		claim("the algorithm and a blank", sigv4.WrongAlgorithm, "algorithm", "X-Amz-Algorithm", "AWS4-HMAC-SHA256 "),
		claim("signature version 2", sigv4.WrongAlgorithm, "algorithm", "X-Amz-Algorithm", "HmacSHA256"),
		claim("CVE-2020-16251: another action, GetCallerIdentity", sigv4.WrongAction, "action", "Action", "GetCallerIdentity"),
		claim("an action with a capital", sigv4.WrongAction, "action", "Action", "Connect"),
		claim("an action and a blank", sigv4.WrongAction, "action", "Action", "connect "),
		claim("an action and a NUL", sigv4.WrongAction, "action", "Action", "connect\x00"),
		claim("two actions in one", sigv4.WrongAction, "action", "Action", "connect,describe"),
		claim("no action to speak of", sigv4.WrongAction, "action", "Action", ""),
		claim("the policy's name of the action", sigv4.WrongAction, "action", "Action", "elasticache:Connect"),
		claim("no signed headers", sigv4.WrongSignedHeaders, "signedheaders", "X-Amz-SignedHeaders", ""),
		claim("signed headers with a capital", sigv4.WrongSignedHeaders, "signedheaders", "X-Amz-SignedHeaders", "Host"),
		claim("host signed twice", sigv4.WrongSignedHeaders, "signedheaders", "X-Amz-SignedHeaders", "host;host"),
		claim("the date signed instead of host", sigv4.WrongSignedHeaders, "signedheaders", "X-Amz-SignedHeaders", "x-amz-date"),
		{name: "floci: more signed headers, all of them signed", reason: sigv4.WrongSignedHeaders, touches: "signedheaders headers", sign: func(r *recipe, _ scene) {
			r.signedHeaders, r.headers, r.values["X-Amz-SignedHeaders"] = "host;x-amz-date", "x-amz-date:"+r.values["X-Amz-Date"]+"\n", "host;x-amz-date"
		}},
		{name: "CVE-2020-16250: a header that overrides the host", reason: sigv4.WrongSignedHeaders, touches: "signedheaders headers", sign: func(r *recipe, s scene) {
			r.signedHeaders, r.headers, r.values["X-Amz-SignedHeaders"] = "host;x-forwarded-host", "x-forwarded-host:"+s.cache+"\n", "host;x-forwarded-host"
		}},
		host("CVE-2020-16250: another host", nil, func(string) string { return "sts.amazonaws.com" }),
		host("another cache", nil, func(h string) string { return "other-" + h }),
		host("the beginning of the cache's name", nil, func(h string) string { return h[:len(h)-1] }),
		host("the endpoint's name", nil, func(h string) string { return h + ".abc123.ng.0001.use1.cache.amazonaws.com" }),
		host("a port in the name", nil, func(h string) string { return h + ":6379" }),
		host("a dot at the end of the name", nil, func(h string) string { return h + "." }),
		host("a wildcard for the name", nil, func(string) string { return "*" }),
		host("the name encoded", nil, func(h string) string { return "%64" + h[1:] }),
		host("a NUL encoded in the name", nil, func(h string) string { return h + "%00" }),
		host("a slash encoded in the name", nil, func(h string) string { return h + "%2F" }),
		host("a backslash after the name", nil, func(h string) string { return h + `\` }),
		host("two names", nil, func(h string) string { return h + "," + h }),
		{name: "no kind of cache on serverless", reason: sigv4.ResourceTypeNeeded, touches: "resourcetype", serverless: true, sign: unset("ResourceType")},
		{name: "a kind of cache on a replication group", reason: sigv4.ResourceTypeExtra, touches: "resourcetype", sign: set("ResourceType", "ServerlessCache")},
		{name: "an empty kind of cache on a replication group", reason: sigv4.ResourceTypeExtra, touches: "resourcetype", sign: set("ResourceType", "")},
		{name: "an empty kind of cache on serverless", reason: sigv4.ResourceTypeExtra, touches: "resourcetype", serverless: true, sign: set("ResourceType", "")},
		{name: "another kind of cache on serverless", reason: sigv4.ResourceTypeExtra, touches: "resourcetype", serverless: true, sign: set("ResourceType", "ReplicationGroup")},
		{name: "the kind of cache in small letters", reason: sigv4.ResourceTypeExtra, touches: "resourcetype", serverless: true, sign: set("ResourceType", "serverlesscache")},
		{name: "the kind of cache appended to a replication group's token", reason: sigv4.ResourceTypeExtra, touches: "resourcetype", print: appended("&ResourceType=ServerlessCache")},
	}
	for name, change := range map[string]func(string) string{
		"another user":               func(u string) string { return "other-" + u },
		"the default user":           func(string) string { return "default" },
		"the user in capitals":       strings.ToUpper,
		"the user and a NUL":         func(u string) string { return u + "\x00" },
		"the user and a blank":       func(u string) string { return u + " " },
		"the user and a line end":    func(u string) string { return u + "\n" },
		"the user encoded twice":     func(u string) string { return strings.Replace(u, "-", "%2D", 1) },
		"no user to speak of":        func(string) string { return "" },
		"the user and another":       func(u string) string { return u + "&User=root" },
		"a wildcard for the user":    func(string) string { return "*" },
		"the beginning of the user":  func(u string) string { return u[:len(u)-1] },
		"the user with a Cyrillic e": func(u string) string { return strings.Replace(u, "e", "е", 1) },
	} {
		all = append(all, breakage{name: name, reason: sigv4.WrongUser, touches: "user", sign: func(r *recipe, s scene) { r.values["User"] = change(s.user) }})
	}
	return all
}

// brokenScopes are signed for something else.
func brokenScopes() []breakage {
	credential := func(name, touches string, change func(r *recipe, s scene)) breakage {
		return breakage{name: name, reason: sigv4.BadCredential, touches: touches, sign: change}
	}
	whole := "credential key scopedate region service date"
	all := []breakage{
		credential("an empty credential", whole, func(r *recipe, _ scene) { r.values["X-Amz-Credential"] = "" }),
		credential("an access key id alone", whole, func(r *recipe, _ scene) { r.values["X-Amz-Credential"] = r.id }),
		credential("four parts", whole, func(r *recipe, _ scene) {
			r.values["X-Amz-Credential"] = strings.Join([]string{r.id, r.scopeDate, r.region, "aws4_request"}, "/")
		}),
		credential("six parts", "credential", func(r *recipe, _ scene) { r.terminator = "aws4_request/x" }),
		credential("a slash after the last part", "credential", func(r *recipe, _ scene) { r.terminator = "aws4_request/" }),
		credential("another last part", "credential", func(r *recipe, _ scene) { r.terminator = "aws4_reques" }),
		credential("another version", "credential", func(r *recipe, _ scene) { r.terminator = "aws5_request" }),
		credential("no last part", "credential", func(r *recipe, _ scene) { r.terminator = "" }),
		credential("no access key id", "key", func(r *recipe, _ scene) { r.id = "" }),
		credential("a slash in the access key id", "key", func(r *recipe, _ scene) { r.id = "AKID/" + r.id }),
		credential("a slash before the access key id", "key", func(r *recipe, _ scene) { r.id = "/" + r.id }),
		credential("no region", "region", func(r *recipe, _ scene) { r.region = "" }),
		credential("no service", "service", func(r *recipe, _ scene) { r.service = "" }),
		credential("no scope date", "scopedate date", func(r *recipe, _ scene) { r.scopeDate = "" }),
		credential("blanks instead of slashes", whole, func(r *recipe, s scene) {
			r.values["X-Amz-Credential"] = strings.Join([]string{r.id, r.scopeDate, r.region, r.service, r.terminator}, " ")
		}),
	}
	for name, service := range map[string]string{"floci: another service": "memorydb", "signed for STS": "sts", "the service with capitals": "ElastiCache", "the service and a blank": "elasticache ", "a wildcard for the service": "*"} {
		all = append(all, breakage{name: name, reason: sigv4.WrongService, touches: "service", sign: func(r *recipe, _ scene) { r.service = service }})
	}
	for name, region := range map[string]string{"floci: another region": "eu-west-1", "a wildcard for the region": "*", "the region in capitals": "US-EAST-1", "the region and a blank": "us-east-1 ", "a zone for the region": "us-east-1a", "every region": "aws-global"} {
		all = append(all, breakage{name: name, reason: sigv4.WrongRegion, touches: "region", sign: func(r *recipe, _ scene) { r.region = region }})
	}
	for name, change := range map[string]func(now time.Time) string{
		"floci: scope of yesterday": func(now time.Time) string { return now.AddDate(0, 0, -1).Format("20060102") },
		"scope of tomorrow":         func(now time.Time) string { return now.AddDate(0, 0, 1).Format("20060102") },
		"scope of a month":          func(now time.Time) string { return now.Format("200601") },
		"scope of a second":         func(now time.Time) string { return now.Format("20060102T150405Z") },
		"scope with hyphens":        func(now time.Time) string { return now.Format("2006-01-02") },
		"scope of a wildcard":       func(time.Time) string { return "*" },
	} {
		all = append(all, breakage{name: name, reason: sigv4.WrongScopeDate, touches: "scopedate date", sign: func(r *recipe, s scene) { r.scopeDate = change(s.now.UTC()) }})
	}
	return all
}
