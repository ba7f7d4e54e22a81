package sigv4_test

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
	"time"

	"github.com/rediam/rediam/internal/sigv4"
)

// brokenTimes are dated or limited as no token may be.
func brokenTimes() []breakage {
	all := []breakage{}
	for name, clock := range map[string]string{
		"a date with an offset": "T030405+0000", "a date with a fraction": "T030405.0Z", "a date with a comma's fraction": "T030405,5Z", "a date with a small t": "t030405Z",
		"a date with a small z": "T030405z", "a date without a zone": "T030405", "a date without a time": "", "a date with a blank": " 030405Z", "a date without seconds": "T0304Z",
		"a date and a NUL": "T030405Z\x00", "a date and a blank": "T030405Z ", "hour 24": "T240405Z", "minute 60": "T036005Z", "second 60": "T030460Z", "seconds below zero": "T0304-5Z",
		"a fraction in the seconds' place": "T0304.5Z", "an hour of one digit": "T30405.Z", "a date in Arabic digits": "T٣٤٥Z",
	} {
		all = append(all, breakage{name: name, reason: sigv4.BadDate, touches: "date scopedate", sign: func(r *recipe, _ scene) {
			r.values["X-Amz-Date"] = r.scopeDate + clock
		}})
	}
	all = append(all, breakage{name: "a date of RFC 3339", reason: sigv4.WrongScopeDate, touches: "date scopedate", sign: func(r *recipe, s scene) {
		r.values["X-Amz-Date"] = s.now.UTC().Format(time.RFC3339)
	}})
	for name, date := range map[string]string{"the 30th of February": "20260230T030405Z", "month 13": "20261302T030405Z", "day 0": "20260100T030405Z"} {
		all = append(all, breakage{name: name, reason: sigv4.BadDate, touches: "date scopedate", sign: func(r *recipe, _ scene) {
			r.values["X-Amz-Date"], r.scopeDate = date, date[:8]
		}})
	}
	for name, expires := range map[string]string{
		"no expiry to speak of": "", "expiry 0": "0", "expiry 901": "901", "expiry below zero": "-1", "expiry of a day": "86400", "floci: expiry of a week": "604800", "expiry with a plus": "+900",
		"expiry with a zero in front": "0900", "expiry in exponents": "9e2", "expiry in hexadecimal": "0x384", "expiry with a fraction": "900.0", "expiry with a blank": " 900", "expiry with underscores": "9_0_0",
		"expiry past 64 bits": "18446744073709552516", "expiry past 16 bits": "65537", "expiry past 32 bits": "4294967297", "expiry in Arabic digits": "٩٠٠", "expiry and a NUL": "900\x00", "expiry and a unit": "900s",
	} {
		all = append(all, breakage{name: name, reason: sigv4.BadExpires, touches: "expires", sign: set("X-Amz-Expires", expires)})
	}
	for name, ahead := range map[string]time.Duration{"floci: signed in six minutes": 6 * time.Minute, "signed tomorrow": 24 * time.Hour, "signed in a century": 876_000 * time.Hour} {
		all = append(all, signedLater(name, sigv4.NotYetValid, ahead, "900"))
	}
	scopeOf := func(name string, date func(now time.Time) string) breakage { // and the scope of yesterday
		return breakage{name: name, reason: sigv4.WrongScopeDate, touches: "date scopedate", sign: func(r *recipe, s scene) {
			r.values["X-Amz-Date"], r.scopeDate = date(s.now.UTC()), s.now.AddDate(0, 0, -1).UTC().Format("20060102")
		}}
	}
	compact := func(t time.Time) string { return t.Format("20060102T150405Z") }
	return append(all,
		scopeOf("a bad date and another scope date", func(now time.Time) string { return now.Format("20060102") + "T250000Z" }),
		scopeOf("signed in two days and another scope date", func(now time.Time) string { return compact(now.AddDate(0, 0, 2)) }),
		scopeOf("signed two days ago and another scope date", func(now time.Time) string { return compact(now.AddDate(0, 0, -2)) }),
		signedLater("signed 15 minutes ago", sigv4.Expired, -15*time.Minute, "900"),
		signedLater("signed a minute ago for a minute", sigv4.Expired, -time.Minute, "60"),
		signedLater("signed two seconds ago for a second", sigv4.Expired, -2*time.Second, "1"),
		signedLater("signed yesterday", sigv4.Expired, -24*time.Hour, "900"),
		signedLater("signed in antiquity", sigv4.Expired, -1_000_000*time.Hour, "900"))
}

func signedLater(name string, reason sigv4.Reason, ahead time.Duration, expires string) breakage {
	b := breakage{name: name, reason: reason, touches: "date scopedate", sign: func(r *recipe, s scene) {
		r.signAt(s.now.Add(ahead))
		if expires != "900" {
			r.values["X-Amz-Expires"] = expires
		}
	}}
	if expires != "900" {
		b.touches += " expires"
	}
	return b
}

// brokenKeys are signed by keys that may not sign.
func brokenKeys() []breakage {
	by := func(name string, reason sigv4.Reason, change func(*recipe, scene)) breakage {
		return breakage{name: name, reason: reason, touches: "key secret session", sign: change}
	}
	session := func(change func(s scene) string) func(*recipe, scene) {
		return func(r *recipe, s scene) {
			r.signWith(s.temporary)
			r.values["X-Amz-Security-Token"] = change(s)
		}
	}
	return []breakage{
		by("floci: an unknown key whose secret is its id", sigv4.UnknownKey, func(r *recipe, _ scene) { r.id, r.secret = "AKIDFORGED", "AKIDFORGED" }),
		by("an unknown key without a secret", sigv4.UnknownKey, func(r *recipe, _ scene) { r.id, r.secret = "AKIDFORGED", "" }),
		by("an unknown key with a session token of its own", sigv4.UnknownKey, func(r *recipe, s scene) { r.signWith(accessKey{"ASIAFORGED", "x", "y"}) }),
		by("a key id in small letters", sigv4.UnknownKey, func(r *recipe, _ scene) { r.id = strings.ToLower(r.id) }),
		by("a key id and a NUL", sigv4.UnknownKey, func(r *recipe, _ scene) { r.id += "\x00" }),
		by("a key id and a blank", sigv4.UnknownKey, func(r *recipe, _ scene) { r.id += " " }),
		by("a key id that is a wildcard", sigv4.UnknownKey, func(r *recipe, _ scene) { r.id = "*" }),
		by("an inactive key", sigv4.InactiveKey, func(r *recipe, s scene) { r.signWith(s.inactive) }),
		by("an inactive key and a wrong secret", sigv4.InactiveKey, func(r *recipe, s scene) { r.signWith(s.inactive); r.secret = "x" }),
		by("an inactive key and a session token too many", sigv4.InactiveKey, func(r *recipe, s scene) { r.signWith(s.inactive); r.values["X-Amz-Security-Token"] = "x" }),
		by("credentials that have ended, without their session token", sigv4.SessionTokenNeeded, func(r *recipe, s scene) { r.id, r.secret = s.ended.id, s.ended.secret }),
		by("credentials that have ended, with another session token", sigv4.WrongSessionToken, func(r *recipe, s scene) {
			r.signWith(s.ended)
			r.values["X-Amz-Security-Token"] = s.temporary.session
		}),
		by("a session token with a long-term key", sigv4.SessionTokenExtra, func(r *recipe, s scene) { r.values["X-Amz-Security-Token"] = s.temporary.session }),
		by("an empty session token with a long-term key", sigv4.SessionTokenExtra, func(r *recipe, s scene) { r.values["X-Amz-Security-Token"] = "" }),
		by("floci: no session token", sigv4.SessionTokenNeeded, func(r *recipe, s scene) { r.id, r.secret = s.temporary.id, s.temporary.secret }),
		by("floci: another session's token", sigv4.WrongSessionToken, session(func(s scene) string { return s.other.session })),
		by("an empty session token", sigv4.WrongSessionToken, session(func(scene) string { return "" })),
		by("a session token in another case", sigv4.WrongSessionToken, session(func(s scene) string { return strings.ToLower(s.temporary.session) })),
		by("a session token with more behind it", sigv4.WrongSessionToken, session(func(s scene) string { return s.temporary.session + "=" })),
		by("the beginning of a session token", sigv4.WrongSessionToken, session(func(s scene) string { return s.temporary.session[:len(s.temporary.session)-1] })),
		by("a session token with blanks for its plusses", sigv4.WrongSessionToken, session(func(s scene) string { return "x" + strings.ReplaceAll(s.temporary.session, "+", " ") })),
		by("a session token encoded twice", sigv4.WrongSessionToken, session(func(s scene) string { return escaped(s.temporary.session) + "%" })),
		by("another session's key and token, this one's id", sigv4.WrongSessionToken, func(r *recipe, s scene) { r.signWith(s.other); r.id = s.temporary.id }),
		by("credentials that have ended", sigv4.CredentialsExpired, func(r *recipe, s scene) { r.signWith(s.ended) }),
		by("credentials that have ended and a wrong secret", sigv4.CredentialsExpired, func(r *recipe, s scene) { r.signWith(s.ended); r.secret = "x" }),
	}
}

// brokenSignatures are not signatures of anything.
func brokenSignatures() []breakage {
	shaped := func(name string, reason sigv4.Reason, change func(string) string) breakage {
		return breakage{name: name, reason: reason, touches: "signature", print: resigned(change)}
	}
	constant := func(s string) func(string) string { return func(string) string { return s } }
	return []breakage{
		shaped("an empty signature", sigv4.BadSignature, constant("")),
		shaped("a signature without its last digit", sigv4.BadSignature, func(s string) string { return s[:63] }),
		shaped("a signature without its last byte", sigv4.BadSignature, func(s string) string { return s[:62] }),
		shaped("a signature with a digit more", sigv4.BadSignature, func(s string) string { return s + "0" }),
		shaped("a signature twice over", sigv4.BadSignature, func(s string) string { return s + s }),
		shaped("a signature in capitals", sigv4.BadSignature, func(s string) string { return "A" + strings.ToUpper(s[1:]) }),
		shaped("a signature with one capital", sigv4.BadSignature, func(s string) string { return "F" + s[1:] }),
		shaped("a signature with 0x", sigv4.BadSignature, func(s string) string { return "0x" + s[2:] }),
		shaped("a signature with a letter that is no digit", sigv4.BadSignature, func(s string) string { return "g" + s[1:] }),
		shaped("a signature and an encoded line end", sigv4.BadSignature, func(s string) string { return s + "%0A" }),
		shaped("a signature with an encoded NUL", sigv4.BadSignature, func(s string) string { return s[:63] + "%00" }),
		shaped("a signature encoded twice", sigv4.BadSignature, func(s string) string { return "%2530" + s[1:] }),
		shaped("a signature in base64", sigv4.BadSignature, func(s string) string {
			raw, err := hex.DecodeString(s)
			if err != nil {
				return s
			}
			return escaped(base64.StdEncoding.EncodeToString(raw))
		}),
		shaped("a signature of zeros", sigv4.WrongSignature, constant(strings.Repeat("0", 64))),
		shaped("the hash of nothing for a signature", sigv4.WrongSignature, constant(emptyHash)),
		shaped("a signature with its first digit changed", sigv4.WrongSignature, func(s string) string { return flip(s[0]) + s[1:] }),
		shaped("a signature with its last digit changed", sigv4.WrongSignature, func(s string) string { return s[:63] + flip(s[63]) }),
		shaped("a signature backwards", sigv4.WrongSignature, func(s string) string { return s[32:] + s[:32] }),
	}
}

func flip(digit byte) string {
	if digit == '0' {
		return "1"
	}
	return "0"
}

// forgedRequests are signed by a good key, but not over what they say.
func forgedRequests() []breakage {
	forged := func(name, touches string, change func(*recipe, scene)) breakage {
		return breakage{name: name, reason: sigv4.WrongSignature, touches: touches, sign: change}
	}
	all := []breakage{
		forged("another secret", "secret", func(r *recipe, _ scene) { r.secret += "x" }),
		forged("floci: a known key whose secret is its id", "key secret session", func(r *recipe, _ scene) { r.secret = r.id }),
		forged("a known key without a secret", "secret", func(r *recipe, _ scene) { r.secret = "" }),
		forged("a secret and a line end", "secret", func(r *recipe, _ scene) { r.secret += "\n" }),
		forged("another key's secret", "key secret session", func(r *recipe, s scene) { r.secret = s.temporary.secret + s.other.secret }),
		forged("CVE-2025-31489: STREAMING-UNSIGNED-PAYLOAD-TRAILER", "payload", func(r *recipe, _ scene) { r.payload = "STREAMING-UNSIGNED-PAYLOAD-TRAILER" }),
		forged("no payload hash", "payload", func(r *recipe, _ scene) { r.payload = "" }),
		forged("the hash of another body", "payload", func(r *recipe, _ scene) {
			r.payload = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
		}),
		forged("the payload hash in capitals", "payload", func(r *recipe, _ scene) { r.payload = strings.ToUpper(r.payload) }),
		forged("CVE-2020-16251: the method POST with a body", "method payload", func(r *recipe, _ scene) {
			r.method, r.payload = "POST", "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
		}),
		forged("the method HEAD", "method", func(r *recipe, _ scene) { r.method = "HEAD" }),
		forged("the method in small letters", "method", func(r *recipe, _ scene) { r.method = "get" }),
		forged("no path signed", "path", func(r *recipe, _ scene) { r.path = "" }),
		forged("another path signed", "path", func(r *recipe, _ scene) { r.path = "/x" }),
		forged("two slashes signed", "path", func(r *recipe, _ scene) { r.path = "//" }),
		forged("a header signed that is not listed", "headers", func(r *recipe, _ scene) { r.headers = "x-amz-date:" + r.values["X-Amz-Date"] + "\n" }),
		forged("signed headers other than listed", "signedheaders headers", func(r *recipe, _ scene) { r.signedHeaders = "host;x" }),
		forged("a port signed, not printed", "host", func(r *recipe, _ scene) { r.printedHost = r.host; r.host += ":6379" }),
		forged("CVE-2020-16250: another host signed, ours printed", "host", func(r *recipe, _ scene) { r.printedHost = r.host; r.host = "sts.amazonaws.com" }),
		forged("the endpoint signed, the name printed", "host", func(r *recipe, _ scene) {
			r.printedHost = r.host
			r.host += ".abc123.ng.0001.use1.cache.amazonaws.com"
		}),
		forged("encoded twice", "escape", func(r *recipe, _ scene) { r.escape = func(s string) string { return escaped(escaped(s)) } }),
		forged("not encoded", "escape", func(r *recipe, _ scene) { r.escape = func(s string) string { return s } }),
		forged("escapes in small letters", "escape", func(r *recipe, _ scene) {
			r.escape = func(s string) string { return strings.NewReplacer("%2F", "%2f").Replace(escaped(s)) }
		}),
		forged("parameters in the reverse order", "escape", func(r *recipe, _ scene) { r.backwards = true }),
		forged("a signing key of yesterday", "derived", func(r *recipe, s scene) { r.keyDate = s.now.AddDate(0, 0, -1).UTC().Format("20060102") }),
		forged("a signing key of another region", "derived", func(r *recipe, _ scene) { r.keyRegion = "eu-west-1" }),
		forged("a signing key of another service", "derived", func(r *recipe, _ scene) { r.keyService = "memorydb" }),
		{name: "signed with UNSIGNED-PAYLOAD", reason: sigv4.UnsignedPayload, touches: "payload", sign: func(r *recipe, _ scene) { r.payload = "UNSIGNED-PAYLOAD" }},
		{name: "the cache's name signed with capitals", reason: sigv4.CapitalsSigned, touches: "host", sign: func(r *recipe, _ scene) { r.host = strings.ToUpper(r.host) }},
		{name: "the cache's name printed with capitals", reason: sigv4.CapitalsPrinted, touches: "host", sign: func(r *recipe, _ scene) { r.printedHost = strings.ToUpper(r.host) }},
		forged("the cache's name signed with other capitals than printed", "host", func(r *recipe, _ scene) {
			r.printedHost, r.host = strings.ToUpper(r.host), strings.ToUpper(r.host[:1])+r.host[1:]
		}),
		forged("the session token appended after signing", "key secret session", func(r *recipe, s scene) {
			r.id, r.secret, r.printed["X-Amz-Security-Token"] = s.temporary.id, s.temporary.secret, s.temporary.session
		}),
		{name: "the kind of cache appended after signing", reason: sigv4.WrongSignature, touches: "resourcetype", serverless: true, sign: func(r *recipe, _ scene) {
			delete(r.values, "ResourceType")
			r.printed["ResourceType"] = "ServerlessCache"
		}},
		forged("the kind of cache changed after signing", "resourcetype", func(r *recipe, _ scene) {
			r.values["ResourceType"] = "ReplicationGroup"
			r.printed["ResourceType"] = "ServerlessCache"
		}),
	}
	all[len(all)-1].serverless = true
	return append(all, changedAfterSigning()...)
}

// changedAfterSigning were good tokens of something else, until what the
// verifier expects was written into them.
func changedAfterSigning() []breakage {
	changed := func(name, touches, parameter, signed string, printed func(*recipe) string) breakage {
		return breakage{name: name, reason: sigv4.WrongSignature, touches: touches, sign: func(r *recipe, _ scene) {
			r.printed[parameter] = printed(r)
			r.values[parameter] = signed
		}}
	}
	before := func(parameter string) func(*recipe) string {
		return func(r *recipe) string { return r.values[parameter] }
	}
	ownScope := func(r *recipe) string {
		return strings.Join([]string{r.id, r.scopeDate, r.region, r.service, r.terminator}, "/")
	}
	return []breakage{
		changed("another user's token with this user's name", "user", "User", "somebody-else", before("User")),
		changed("another action's signature", "action", "Action", "GetCallerIdentity", before("Action")),
		changed("another algorithm's signature", "algorithm", "X-Amz-Algorithm", "HmacSHA256", before("X-Amz-Algorithm")),
		changed("the life prolonged after signing", "expires", "X-Amz-Expires", "60", before("X-Amz-Expires")),
		changed("the life shortened after signing", "expires", "X-Amz-Expires", "900", func(*recipe) string { return "899" }),
		changed("the life signed in other digits", "expires", "X-Amz-Expires", "0900", before("X-Amz-Expires")),
		changed("an old token with a new date", "date scopedate", "X-Amz-Date", "20200102T030405Z", before("X-Amz-Date")),
		changed("signed headers changed after signing", "signedheaders", "X-Amz-SignedHeaders", "host;x-amz-date", before("X-Amz-SignedHeaders")),
		changed("somebody's token with another's access key", "credential key secret session scopedate region service date", "X-Amz-Credential", "AKIDVICTIM/x/y/z/aws4_request", ownScope),
		{name: "another region's token with this region's name", reason: sigv4.WrongSignature, touches: "credential key scopedate region service date", sign: func(r *recipe, _ scene) {
			r.printed["X-Amz-Credential"] = ownScope(r)
			r.region = "eu-west-1"
		}},
		{name: "a parameter of the signature left out", reason: sigv4.WrongSignature, touches: "user", sign: func(r *recipe, s scene) {
			r.printed["User"] = s.user
			delete(r.values, "User")
		}},
	}
}
