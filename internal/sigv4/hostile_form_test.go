package sigv4_test

import (
	"regexp"
	"strings"

	"github.com/rediam/rediam/internal/sigv4"
)

// brokenForms are not URLs of the one form that tokens have.
func brokenForms() []breakage {
	printed := func(name string, reason sigv4.Reason, touches string, print func(string) string) breakage {
		return breakage{name: name, reason: reason, touches: touches, print: print}
	}
	return []breakage{
		printed("longer than any token", sigv4.TooLong, "", appended("&"+strings.Repeat("x", sigv4.MaxToken))),
		printed("padded with escapes to 16 KB and a byte", sigv4.TooLong, "*", func(token string) string {
			token = strings.Replace(token, "X-Amz-Date=2", "X-Amz-Date=%32", 1)
			return token + strings.Repeat("&", sigv4.MaxToken+1-len(token))
		}),
		printed("a line end at its end", sigv4.NotPrintable, "", appended("\n")),
		printed("a carriage return at its end", sigv4.NotPrintable, "", appended("\r\n")),
		printed("a blank before it", sigv4.NotPrintable, "", prepended(" ")),
		printed("a NUL in the host", sigv4.NotPrintable, "separator", replaced("?", "\x00?")),
		printed("a tab between parameters", sigv4.NotPrintable, "", replaced("&X", "&\tX")),
		printed("a DEL at its end", sigv4.NotPrintable, "", appended("\x7f")),
		printed("the long s for an s", sigv4.NotPrintable, "", prepended("ſ")),
		printed("a byte that is no UTF-8", sigv4.NotPrintable, "", appended("\xff")),
		printed("http left on", sigv4.SchemeLeftOn, "", prepended("http://")),
		printed("https left on", sigv4.SchemeLeftOn, "", prepended("https://")),
		printed("a scheme of Redis left on", sigv4.SchemeLeftOn, "", prepended("rediss://")),
		printed("only the authority slashes left on", sigv4.NotAToken, "", prepended("//")),
		printed("a second question mark", sigv4.NotAToken, "", appended("?")),
		printed("a second query", sigv4.NotAToken, "", appended("?User=root")),
		printed("a fragment", sigv4.NotAToken, "", appended("#x")),
		printed("a fragment before the query", sigv4.NotAToken, "separator", replaced("?", "#?")),
		printed("userinfo", sigv4.NotAToken, "", prepended("x@")),
		printed("userinfo with a password", sigv4.NotAToken, "", prepended("x:y@")),
		printed("a path", sigv4.NotAToken, "separator", replaced("/?", "/x?")),
		printed("two slashes", sigv4.NotAToken, "separator", replaced("/?", "//?")),
		printed("a path of a dot", sigv4.NotAToken, "separator", replaced("/?", "/./?")),
		printed("a path that leads back", sigv4.NotAToken, "separator", replaced("/?", "/x/../?")),
		{name: "a path, signed too", reason: sigv4.NotAToken, touches: "path separator",
			sign: func(r *recipe, _ scene) { r.path = "/admin" }, print: replaced("/?", "/admin?")},
		printed("no host", sigv4.NotAToken, "*", func(token string) string { return token[strings.Index(token, "/?"):] }),
		printed("no host and no slash", sigv4.NotAToken, "*", func(token string) string { return token[strings.Index(token, "?"):] }),
		printed("nothing", sigv4.NotAToken, "*", func(string) string { return "" }),
		printed("the host alone", sigv4.NotAToken, "*", func(token string) string { return token[:strings.Index(token, "?")] }),
		printed("the query alone", sigv4.NotAToken, "*", func(token string) string { return token[strings.Index(token, "?")+1:] }),
		printed("the whole token encoded once more", sigv4.NotAToken, "*", escaped),
		printed("the token twice", sigv4.NotAToken, "*", func(token string) string { return token + token }),
	}
}

// brokenParameters have a query that cannot be read in one way only.
func brokenParameters() []breakage {
	all := []breakage{
		{name: "half an escape at the end", reason: sigv4.BadEncoding, touches: "signature", print: appended("%2")},
		{name: "an escape that is not hexadecimal", reason: sigv4.BadEncoding, touches: "user", print: replaced("User=", "User=%zz")},
		{name: "an escape with a sign", reason: sigv4.BadEncoding, touches: "expires", print: replaced("X-Amz-Expires=", "X-Amz-Expires=%+3")},
		{name: "a broken escape in a name", reason: sigv4.BadEncoding, touches: "action", print: replaced("Action=", "%4=&Action=")},
		{name: "CVE-2022-2385: another access key, its name in another case, first", reason: sigv4.DuplicateParameter, touches: "credential",
			print: replaced("?", "?x-amz-credential=AKIDVICTIM%2F20260102%2Fus-east-1%2Felasticache%2Faws4_request&")},
		{name: "CVE-2022-2385: another access key, its name in another case, last", reason: sigv4.DuplicateParameter, touches: "credential",
			print: appended("&X-AMZ-CREDENTIAL=AKIDVICTIM%2F20260102%2Fus-east-1%2Felasticache%2Faws4_request")},
		{name: "CVE-2022-2385: the other access key is signed as well", reason: sigv4.DuplicateParameter, touches: "credential",
			sign: also("x-amz-credential", "AKIDVICTIM/20260102/us-east-1/elasticache/aws4_request")},
		{name: "CVE-2022-2385: another session token in another case", reason: sigv4.DuplicateParameter, touches: "key secret session",
			sign:  func(r *recipe, s scene) { r.signWith(s.temporary) },
			print: appended("&x-amz-security-token=other")},
		{name: "floci: the first of two users is the victim", reason: sigv4.DuplicateParameter, touches: "user", print: replaced("?", "?User=root&")},
		{name: "floci: the last of two users is the victim", reason: sigv4.DuplicateParameter, touches: "user", sign: also("User", "root")},
		{name: "one user twice", reason: sigv4.DuplicateParameter, touches: "user", sign: func(r *recipe, s scene) { r.more = append(r.more, [2]string{"User", r.values["User"]}) }},
		{name: "the user's name encoded the second time", reason: sigv4.DuplicateParameter, touches: "user", print: appended("&%55%73%65%72=root")},
		{name: "the second user without a value", reason: sigv4.DuplicateParameter, touches: "user", print: appended("&User")},
		{name: "the second user with the long s", reason: sigv4.DuplicateParameter, touches: "user", print: appended("&U%C5%BFer=root")},
		{name: "a name in another case alone", reason: sigv4.UnknownParameter, touches: "action", print: replaced("Action=", "action=")},
		{name: "all names in small letters", reason: sigv4.UnknownParameter, touches: "*", print: strings.ToLower},
		{name: "CVE-2026-41145: credentials of the query for another protocol", reason: sigv4.UnknownParameter, touches: "", sign: also("AWSAccessKeyId", "AKIDVICTIM")},
		{name: "a payload hash chosen by the caller", reason: sigv4.UnknownParameter, touches: "payload", sign: func(r *recipe, s scene) {
			also("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")(r, s)
			r.payload = "UNSIGNED-PAYLOAD"
		}},
		{name: "a version of an API", reason: sigv4.UnknownParameter, touches: "", sign: also("Version", "2011-06-15")},
		{name: "a region set, as SigV4A has", reason: sigv4.UnknownParameter, touches: "", sign: also("X-Amz-Region-Set", "*")},
		{name: "a target operation", reason: sigv4.UnknownParameter, touches: "", sign: also("X-Amz-Target", "AmazonMemoryDB.CreateUser")},
		{name: "a host as a parameter", reason: sigv4.UnknownParameter, touches: "", sign: also("Host", "demo-cache-01")},
		{name: "a parameter in an array's form", reason: sigv4.UnknownParameter, touches: "", sign: also("User[]", "root")},
		{name: "a parameter named with a blank before", reason: sigv4.UnknownParameter, touches: "", sign: also(" User", "root")},
		{name: "a parameter named with a NUL after", reason: sigv4.UnknownParameter, touches: "", sign: also("User\x00", "root")},
		{name: "a parameter after a semicolon's name", reason: sigv4.UnknownParameter, touches: "", print: appended("&;User=root")},
		{name: "an empty parameter", reason: sigv4.UnknownParameter, touches: "", print: appended("&")},
		{name: "an empty parameter first", reason: sigv4.UnknownParameter, touches: "", print: replaced("?", "?&")},
		{name: "an empty name", reason: sigv4.UnknownParameter, touches: "", print: appended("&=x")},
		{name: "HTML's ampersand", reason: sigv4.UnknownParameter, touches: "", print: replaced("&X-Amz", "&amp;X-Amz")},
		{name: "cut by the shell at the first ampersand", reason: sigv4.MissingParameter, touches: "*", print: func(token string) string { token, _, _ = strings.Cut(token, "&"); return token }},
		{name: "floci: no user", reason: sigv4.MissingParameter, touches: "user", sign: unset("User")},
	}
	for name, part := range map[string]string{"X-Amz-Credential": "credential key scopedate region service", "X-Amz-Signature": "signature"} {
		all = append(all, breakage{name: "without " + name, reason: sigv4.MissingParameter, touches: part, print: func(token string) string {
			return regexp.MustCompile("&"+name+"=[0-9A-Za-z%_-]*").ReplaceAllString(token, "")
		}})
	}
	for name, part := range map[string]string{"Action": "action", "X-Amz-Algorithm": "algorithm", "X-Amz-Date": "date scopedate", "X-Amz-Expires": "expires", "X-Amz-SignedHeaders": "signedheaders"} {
		all = append(all, breakage{name: "without " + name, reason: sigv4.MissingParameter, touches: part, sign: unset(name)})
	}
	for _, name := range append([]string{"X-Amz-Signature"}, tokenParameters...) {
		if name != "User" && name != "ResourceType" && name != "X-Amz-Security-Token" {
			all = append(all, breakage{name: name + " twice", reason: sigv4.DuplicateParameter, touches: strings.ToLower(strings.TrimPrefix(name, "X-Amz-")), print: appended("&" + strings.ToUpper(name) + "=x")})
		}
	}
	return all
}
