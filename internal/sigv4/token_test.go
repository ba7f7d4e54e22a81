package sigv4_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rediam/rediam/internal/sigv4"
)

const (
	exampleSecret  = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
	exampleSession = "FwoGZXIvYXdzEXAMPLE//////////+token=="
)

func at(stamp string) time.Time {
	t, err := time.Parse("20060102T150405Z", stamp)
	if err != nil {
		panic(err)
	}
	return t
}

// keys is an account with one long-term and one temporary access key.
func keys(id string) (sigv4.Key, bool) {
	k, ok := map[string]sigv4.Key{
		"fakeAccessKeyId": {Secret: "fakeSecretKey"},
		"accessKey":       {Secret: "secretKey"},
		"AKIDEXAMPLE":     {Secret: exampleSecret},
		"AKIDINACTIVE":    {Secret: exampleSecret, Inactive: true},
		"ASIAEXAMPLE":     {Secret: exampleSecret, SessionToken: exampleSession, Expires: at("20260102T040405Z")},
	}[id]
	return k, ok
}

// withSession is keys where the example key is a temporary one.
func withSession(session string) sigv4.Keys {
	return func(id string) (sigv4.Key, bool) {
		k, ok := keys(id)
		k.SessionToken = session
		return k, ok
	}
}

// token writes the token of the known answers, which differ only in the values
// given here.
func token(host, user, extra, key, date, region, service, session, signature string) string {
	t := host + "/?Action=connect&User=" + user + extra + "&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=" + key + "%2F" + date[:8] +
		"%2F" + region + "%2F" + service + "%2Faws4_request&X-Amz-Date=" + date + "&X-Amz-Expires=900"
	if session != "" {
		t += "&X-Amz-Security-Token=" + strings.NewReplacer("/", "%2F", "+", "%2B", "=", "%3D").Replace(session)
	}
	return t + "&X-Amz-SignedHeaders=host&X-Amz-Signature=" + signature
}

const (
	serverless = "&ResourceType=ServerlessCache"
	a          = "20250101T000000Z"
	b          = "20240802T121150Z"
	c          = "20260102T030405Z"
)

func demo() sigv4.Target {
	return sigv4.Target{Service: "elasticache", Region: "us-east-1", Cache: "demo-cache-01"}
}

func demoToken(signature string) string {
	return token("demo-cache-01", "iam-user-01", "", "AKIDEXAMPLE", c, "us-east-1", "elasticache", "", signature)
}

const demoSignature = "cfcbe13b2c920bddf8a727cb87ae7f55c00275cdad0b0eb90d4b3b5e0cf1091f"

// The signatures were computed by AWS's Java demo application, by the Java, Go,
// Ruby, JavaScript and Python SDKs, by aws-c-auth and by GLIDE.
func TestAcceptsTheKnownAnswers(t *testing.T) {
	euWest := func(cache string, isServerless bool) sigv4.Target {
		return sigv4.Target{Service: "elasticache", Region: "eu-west-1", Cache: cache, Serverless: isServerless}
	}
	demoServerless, demoMemoryDB := demo(), demo()
	demoServerless.Serverless = true
	demoMemoryDB.Service, demoMemoryDB.Cache = "memorydb", "demo-mdb"
	for _, v := range []struct {
		name, token, user string
		target            sigv4.Target
		session, now      string
	}{
		{"AWS's demo", token("my-replication-group-id", "my-user-id", "", "fakeAccessKeyId", a, "eu-west-1", "elasticache", "", "9e361603d85874bce06114c6644725ed113e3b11ae6fa92efdf10c6bcf5de8d7"), "my-user-id", euWest("my-replication-group-id", false), "", a},
		{"AWS's demo with a session token", token("my-replication-group-id", "my-user-id", "", "fakeAccessKeyId", a, "eu-west-1", "elasticache", "fakeSessionToken", "bbce2bd61bd78461297ecb92e7001ddbeab2d85906c3cbedad6c9b81fb3466dc"), "my-user-id", euWest("my-replication-group-id", false), "fakeSessionToken", a},
		{"serverless", token("my-replication-group-id", "my-user-id", serverless, "fakeAccessKeyId", a, "eu-west-1", "elasticache", "", "57292e578d0dc6376b23017594423bae7320b8eb25054e744652670af833ffaa"), "my-user-id", euWest("my-replication-group-id", true), "", a},
		{"MemoryDB", token("my-cluster", "my-user-id", "", "fakeAccessKeyId", a, "eu-west-1", "memorydb", "", "a05462316be52b647e2149ca803fc5529111d05bc58bee6836ef2778a3004168"), "my-user-id", sigv4.Target{Service: "memorydb", Region: "eu-west-1", Cache: "my-cluster"}, "", a},
		{"serverless, Java SDK", token("my-cache", "user123", serverless, "accessKey", b, "eu-west-1", "elasticache", "", "5dda5db919b1337db6596b2a608924bc10197fb39289b933b60bdb114d5a70dc"), "user123", euWest("my-cache", true), "", b},
		{"six signers", token("demo-cache-01", "iam-user-01", "", "AKIDEXAMPLE", c, "us-east-1", "elasticache", exampleSession, "47f774b33e5164590f420f21d35c71d301a4d5ba36271c4c7f428b74a0d3f566"), "iam-user-01", demo(), exampleSession, c},
		{"long-term key", demoToken(demoSignature), "iam-user-01", demo(), "", c},
		{"serverless, five signers", token("demo-cache-01", "iam-user-01", serverless, "AKIDEXAMPLE", c, "us-east-1", "elasticache", "", "8961ffc51943794c434a889f2a7e7c1fe9c441ab620f06780eda75496f7f6254"), "iam-user-01", demoServerless, "", c},
		{"MemoryDB, session token", token("demo-mdb", "iam-user-01", "", "AKIDEXAMPLE", c, "us-east-1", "memorydb", exampleSession, "c931b2cda3a60ff2b2be8c01514e8ef7ec90bfed6ce575b174b459b15605110e"), "iam-user-01", demoMemoryDB, exampleSession, c},
		{"a user name that needs encoding", token("demo-cache-01", "a%20b%2Bc%2Fd~e%40f", "", "AKIDEXAMPLE", c, "us-east-1", "elasticache", "", "b72a9beb792bb34e2c15a7af10f1cf90689ff59c083d2475d6ba797dde849b3b"), "a b+c/d~e@f", demo(), "", c},
		{"no slash before the query", strings.Replace(demoToken(demoSignature), "/?", "?", 1), "iam-user-01", demo(), "", c},
		{"the signature first", demoSignatureFirst(), "iam-user-01", demo(), "", c},
	} {
		t.Run(v.name, func(t *testing.T) {
			claims, err := v.target.Verify(v.token, v.user, withSession(v.session), at(v.now))
			if err != nil {
				t.Fatal(err)
			}
			if claims.User != v.user || claims.Cache != v.target.Cache || claims.Region != v.target.Region || claims.Service != v.target.Service ||
				!claims.Signed.Equal(at(v.now)) || !claims.Expires.Equal(at(v.now).Add(15*time.Minute)) || claims.SessionToken != (v.session != "") {
				t.Errorf("claims = %+v", claims)
			}
		})
	}
}

func demoSignatureFirst() string {
	rest, _ := strings.CutSuffix(demoToken(demoSignature), "&X-Amz-Signature="+demoSignature)
	return strings.Replace(rest, "/?", "/?X-Amz-Signature="+demoSignature+"&", 1)
}

// Every case changes one thing about a good sign-in.
func TestRefusesEachFlawForItsOwnReason(t *testing.T) {
	good := demoToken(demoSignature)
	swap := func(old, new string) string { return strings.Replace(good, old, new, 1) }
	demoServerless, memorydb, otherRegion := demo(), demo(), demo()
	demoServerless.Serverless = true
	memorydb.Service = "memorydb"
	otherRegion.Region = "ap-south-1"
	for _, v := range []struct {
		name   string
		token  string
		want   sigv4.Reason
		change func(*sigv4.Target, *string, *sigv4.Keys, *time.Time)
	}{
		{"empty", "", sigv4.NotAToken, nil},
		{"a password", "correct-horse-battery-staple", sigv4.NotAToken, nil},
		{"16 KB and a byte", good + strings.Repeat("x", sigv4.MaxToken+1-len(good)), sigv4.TooLong, nil},
		{"a line end at the end", good + "\n", sigv4.NotPrintable, nil},
		{"a NUL", swap("User", "Us\x00er"), sigv4.NotPrintable, nil},
		{"not ASCII", swap("iam-user-01", "iam-usér-01"), sigv4.NotPrintable, nil},
		{"scheme left on", "http://" + good, sigv4.SchemeLeftOn, nil},
		{"two question marks", good + "?", sigv4.NotAToken, nil},
		{"fragment", good + "#x", sigv4.NotAToken, nil},
		{"userinfo", "x@" + good, sigv4.NotAToken, nil},
		{"path", swap("/?", "/x?"), sigv4.NotAToken, nil},
		{"no host", strings.TrimPrefix(good, "demo-cache-01"), sigv4.NotAToken, nil},
		{"broken escape", swap("User=iam-user-01", "User=iam-user-01%2"), sigv4.BadEncoding, nil},
		{"duplicate", good + "&User=iam-user-01", sigv4.DuplicateParameter, nil},
		{"duplicate in another case", good + "&user=iam-user-01", sigv4.DuplicateParameter, nil},
		{"duplicate in another case, first", swap("?", "?x-amz-credential=other&"), sigv4.DuplicateParameter, nil},
		{"duplicate, its name encoded", good + "&%55ser=iam-user-01", sigv4.DuplicateParameter, nil},
		{"wrong case alone", swap("User=", "user="), sigv4.UnknownParameter, nil},
		{"unknown parameter", good + "&X-Amz-Extra=1", sigv4.UnknownParameter, nil},
		{"empty parameter", good + "&", sigv4.UnknownParameter, nil},
		{"no user", swap("&User=iam-user-01", ""), sigv4.MissingParameter, nil},
		{"no expiry", swap("&X-Amz-Expires=900", ""), sigv4.MissingParameter, nil},
		{"cut by the shell at the first &", good[:strings.Index(good, "&")], sigv4.MissingParameter, nil},
		{"other algorithm", swap("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"), sigv4.WrongAlgorithm, nil},
		{"other action", swap("connect", "describe"), sigv4.WrongAction, nil},
		{"action with a capital", swap("connect", "Connect"), sigv4.WrongAction, nil},
		{"more signed headers", swap("SignedHeaders=host", "SignedHeaders=host%3Bx"), sigv4.WrongSignedHeaders, nil},
		{"no signed headers", swap("SignedHeaders=host", "SignedHeaders="), sigv4.WrongSignedHeaders, nil},
		{"another cache", strings.Replace(good, "demo-cache-01", "demo-cache-02", 1), sigv4.WrongCache, nil},
		{"port in the name", swap("/?", ":6379/?"), sigv4.WrongCache, nil},
		{"another user in AUTH", good, sigv4.WrongUser, func(_ *sigv4.Target, user *string, _ *sigv4.Keys, _ *time.Time) { *user = "iam-user-02" }},
		{"another case of the user in AUTH", good, sigv4.WrongUser, func(_ *sigv4.Target, user *string, _ *sigv4.Keys, _ *time.Time) { *user = "IAM-USER-01" }},
		{"another user in the token", swap("iam-user-01", "iam-user-02"), sigv4.WrongUser, nil},
		{"not for serverless", good, sigv4.ResourceTypeNeeded, func(target *sigv4.Target, _ *string, _ *sigv4.Keys, _ *time.Time) { *target = demoServerless }},
		{"for serverless", good + serverless, sigv4.ResourceTypeExtra, nil},
		{"ResourceType appended after signing", good + serverless, sigv4.WrongSignature, func(target *sigv4.Target, _ *string, _ *sigv4.Keys, _ *time.Time) { *target = demoServerless }},
		{"another ResourceType", good + "&ResourceType=Cluster", sigv4.ResourceTypeExtra, func(target *sigv4.Target, _ *string, _ *sigv4.Keys, _ *time.Time) { *target = demoServerless }},
		{"four parts in the credential", swap("%2Faws4_request", ""), sigv4.BadCredential, nil},
		{"slash in the access key", swap("AKIDEXAMPLE", "AKID%2FEXAMPLE"), sigv4.BadCredential, nil},
		{"other terminator", swap("aws4_request", "aws5_request"), sigv4.BadCredential, nil},
		{"no access key", swap("AKIDEXAMPLE", ""), sigv4.BadCredential, nil},
		{"another service", good, sigv4.WrongService, func(target *sigv4.Target, _ *string, _ *sigv4.Keys, _ *time.Time) { *target = memorydb }},
		{"another region", good, sigv4.WrongRegion, func(target *sigv4.Target, _ *string, _ *sigv4.Keys, _ *time.Time) { *target = otherRegion }},
		{"another scope date", swap("%2F20260102%2F", "%2F20260103%2F"), sigv4.WrongScopeDate, nil},
		{"short scope date", swap("%2F20260102%2F", "%2F2026%2F"), sigv4.WrongScopeDate, nil},
		{"date with an offset", swap("20260102T030405Z", "20260102T030405+0000"), sigv4.BadDate, nil},
		{"the 30th of February", strings.ReplaceAll(good, "20260102", "20260230"), sigv4.BadDate, nil},
		{"6 minutes in the future", good, sigv4.NotYetValid, func(_ *sigv4.Target, _ *string, _ *sigv4.Keys, now *time.Time) { *now = now.Add(-6 * time.Minute) }},
		{"expiry of nothing", swap("Expires=900", "Expires="), sigv4.BadExpires, nil},
		{"expiry of 0", swap("Expires=900", "Expires=0"), sigv4.BadExpires, nil},
		{"expiry of 901", swap("Expires=900", "Expires=901"), sigv4.BadExpires, nil},
		{"expiry below zero", swap("Expires=900", "Expires=-900"), sigv4.BadExpires, nil},
		{"expiry with a plus", swap("Expires=900", "Expires=+900"), sigv4.BadExpires, nil},
		{"expiry with a zero in front", swap("Expires=900", "Expires=0900"), sigv4.BadExpires, nil},
		{"expiry past the largest number", swap("Expires=900", "Expires=18446744073709552516"), sigv4.BadExpires, nil},
		{"15 minutes old", good, sigv4.Expired, func(_ *sigv4.Target, _ *string, _ *sigv4.Keys, now *time.Time) { *now = now.Add(15 * time.Minute) }},
		{"older than a shortened life", good, sigv4.Expired, func(target *sigv4.Target, _ *string, _ *sigv4.Keys, now *time.Time) {
			target.MaxTTL, *now = 3*time.Second, now.Add(3*time.Second)
		}},
		{"unknown access key", swap("AKIDEXAMPLE", "AKIDUNKNOWN"), sigv4.UnknownKey, nil},
		{"inactive access key", swap("AKIDEXAMPLE", "AKIDINACTIVE"), sigv4.InactiveKey, nil},
		{"session token with a long-term key", swap("&X-Amz-SignedHeaders", "&X-Amz-Security-Token=x&X-Amz-SignedHeaders"), sigv4.SessionTokenExtra, nil},
		{"empty session token with a long-term key", swap("&X-Amz-SignedHeaders", "&X-Amz-Security-Token=&X-Amz-SignedHeaders"), sigv4.SessionTokenExtra, nil},
		{"temporary key without its session token", swap("AKIDEXAMPLE", "ASIAEXAMPLE"), sigv4.SessionTokenNeeded, nil},
		{"somebody else's session token", strings.Replace(swap("AKIDEXAMPLE", "ASIAEXAMPLE"), "&X-Amz-SignedHeaders", "&X-Amz-Security-Token=x&X-Amz-SignedHeaders", 1), sigv4.WrongSessionToken, nil},
		{"credentials that ended", token("demo-cache-01", "iam-user-01", "", "ASIAEXAMPLE", "20260102T040000Z", "us-east-1", "elasticache", exampleSession, demoSignature), sigv4.CredentialsExpired,
			func(_ *sigv4.Target, _ *string, _ *sigv4.Keys, now *time.Time) { *now = at("20260102T040405Z") }},
		{"signature too short", good[:len(good)-1], sigv4.BadSignature, nil},
		{"signature in capitals", swap(demoSignature, strings.ToUpper(demoSignature)), sigv4.BadSignature, nil},
		{"flipped digit", good[:len(good)-1] + "0", sigv4.WrongSignature, nil},
		{"another secret", good, sigv4.WrongSignature, func(_ *sigv4.Target, _ *string, keys *sigv4.Keys, _ *time.Time) {
			*keys = func(string) (sigv4.Key, bool) { return sigv4.Key{Secret: "AKIDEXAMPLE"}, true }
		}},
		{"expiry lowered after signing", swap("Expires=900", "Expires=899"), sigv4.WrongSignature, nil},
		{"UNSIGNED-PAYLOAD", token("demo-cache-01", "iam-user-01", "", "AKIDEXAMPLE", c, "us-east-1", "elasticache", exampleSession, "4050a3bcdd9b2cd4303e184bfb31dcd4b33bcc9c02807f884fdf804975721ed6"), sigv4.UnsignedPayload,
			func(_ *sigv4.Target, _ *string, keys *sigv4.Keys, _ *time.Time) { *keys = withSession(exampleSession) }},
		{"name signed with capitals (Go, Ruby, JavaScript)", token("Demo-Cache-01", "Iam-User-01", "", "AKIDEXAMPLE", c, "us-east-1", "elasticache", exampleSession, "1cac65096c09ed0f0b613f4b631150e9b678ac41786e0a1a49de53a5947a3d4e"), sigv4.CapitalsSigned, capitals},
		{"name printed with capitals, signed without (botocore)", token("Demo-Cache-01", "Iam-User-01", "", "AKIDEXAMPLE", c, "us-east-1", "elasticache", exampleSession, "33621f0d885cb3f96e5bea5b3ab46c35d26f6d2e1c9b39501b52c0ed661e2aa3"), sigv4.CapitalsPrinted, capitals},
		{"signed over unencoded characters (Ruby)", token("demo-cache-01", "a%20b+c/d~e@f", "", "AKIDEXAMPLE", c, "us-east-1", "elasticache", "", "a86df89a393a7d48cfcd301ec1cd2e9e2dadfc749c618e9986f980db27a3cd25"), sigv4.WrongSignature,
			func(_ *sigv4.Target, user *string, _ *sigv4.Keys, _ *time.Time) { *user = "a b+c/d~e@f" }},
	} {
		t.Run(v.name, func(t *testing.T) {
			target, user, known, now := demo(), "iam-user-01", sigv4.Keys(keys), at(c)
			if v.change != nil {
				v.change(&target, &user, &known, &now)
			}
			_, err := target.Verify(v.token, user, known, now)
			var refusal *sigv4.Refusal
			if !errors.As(err, &refusal) || refusal.Reason != v.want {
				t.Fatalf("Verify() = %v, want %s", err, v.want)
			}
			for _, secret := range []string{exampleSecret, exampleSession, demoSignature} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the refusal holds a secret: %v", err)
				}
			}
		})
	}
}

func capitals(_ *sigv4.Target, user *string, keys *sigv4.Keys, _ *time.Time) {
	*user, *keys = "Iam-User-01", withSession(exampleSession)
}

func TestClockBounds(t *testing.T) {
	for offset, ok := range map[time.Duration]bool{-5 * time.Minute: true, -5*time.Minute - time.Second: false, 15*time.Minute - time.Nanosecond: true, 15 * time.Minute: false} {
		if _, err := demo().Verify(demoToken(demoSignature), "iam-user-01", keys, at(c).Add(offset)); (err == nil) != ok {
			t.Errorf("at %v from signing: %v", offset, err)
		}
	}
}

func TestLenientResourceTypeAcceptsEitherKind(t *testing.T) {
	target := demo()
	target.LenientResourceType = true
	forServerless := token("demo-cache-01", "iam-user-01", serverless, "AKIDEXAMPLE", c, "us-east-1", "elasticache", "", "8961ffc51943794c434a889f2a7e7c1fe9c441ab620f06780eda75496f7f6254")
	for _, isServerless := range []bool{false, true} {
		target.Serverless = isServerless
		for _, token := range []string{demoToken(demoSignature), forServerless} {
			if _, err := target.Verify(token, "iam-user-01", keys, at(c)); err != nil {
				t.Errorf("serverless %v: %v", isServerless, err)
			}
		}
	}
}

func TestInspectFindsEverythingWrongAtOnce(t *testing.T) {
	bad := strings.NewReplacer("connect", "describe", "demo-cache", "Demo-Cache", "Expires=900", "Expires=9000", "%2F20260102%2F", "%2F20260103%2F").Replace(demoToken("xyz"))
	claims, found := sigv4.Inspect(bad, at(c))
	var got []string
	for _, r := range found {
		got = append(got, string(r.Reason))
	}
	if want := "wrong-action cache-name-printed-with-capitals wrong-scope-date bad-expires bad-signature"; strings.Join(got, " ") != want {
		t.Errorf("found %v, want %s", got, want)
	}
	if claims.Cache != "Demo-Cache-01" || claims.AccessKey != "AKIDEXAMPLE" || claims.Region != "us-east-1" {
		t.Errorf("claims = %+v", claims)
	}
	if _, found := sigv4.Inspect(demoToken(demoSignature), at(c)); len(found) != 0 {
		t.Errorf("found %v in a good token", found)
	}
	if _, found := sigv4.Inspect(demoToken(demoSignature), at(c).Add(time.Hour)); len(found) != 1 || found[0].Reason != sigv4.Expired {
		t.Errorf("found %v in an expired token", found)
	}
}

func BenchmarkVerify(b *testing.B) {
	good := token("demo-cache-01", "iam-user-01", "", "AKIDEXAMPLE", c, "us-east-1", "elasticache", exampleSession, "47f774b33e5164590f420f21d35c71d301a4d5ba36271c4c7f428b74a0d3f566")
	now, known := at(c), withSession(exampleSession)
	for b.Loop() {
		if _, err := demo().Verify(good, "iam-user-01", known, now); err != nil {
			b.Fatal(err)
		}
	}
}
