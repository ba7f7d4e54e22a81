package sigv4_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/rediam/rediam"
	"github.com/rediam/rediam/internal/sigv4"
)

// FuzzSignerAgainstVerifier: whatever Signer signs is accepted for what it was
// signed for, and for nothing else; and a changed token is not accepted.
func FuzzSignerAgainstVerifier(f *testing.F) {
	f.Add("demo", "demo-user", "us-east-1", "secret", "", false, false, uint16(900), int64(1767323045), uint16(3), byte('x'))
	f.Add("Demo-1", "Default.u", "cn-north-1", "s/+=", "FwoG//+==", true, false, uint16(1), int64(0), uint16(40), byte('&'))
	f.Add("orders", "Orders-App", "us-gov-west-1", "k", "t", false, true, uint16(0), int64(4102444799), uint16(200), byte('%'))
	f.Fuzz(func(t *testing.T, cache, user, region, secret, session string, serverless, memorydb bool, ttl uint16, when int64, position uint16, replacement byte) {
		now := time.Unix(when, 0).UTC()
		signer := &rediam.Signer{Cache: cache, User: user, Region: region, Serverless: serverless, TTL: time.Duration(ttl) * time.Second, Now: func() time.Time { return now },
			Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
				return aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: secret, SessionToken: session}, nil
			})}
		if memorydb {
			signer.Service = rediam.MemoryDB
		}
		token, err := signer.Token(t.Context())
		if err != nil || now.Year() < 1 || now.Year() > 9999 {
			return
		}
		target := sigv4.Target{Service: "elasticache", Region: region, Cache: strings.ToLower(cache), Serverless: serverless}
		if memorydb {
			target.Service = "memorydb"
		}
		keys := func(string) (sigv4.Key, bool) { return sigv4.Key{Secret: secret, SessionToken: session}, true }
		if _, err := target.Verify(token.Password, token.User, keys, now); err != nil {
			if len(token.Password) > sigv4.MaxToken {
				return
			}
			t.Fatalf("refused its own token: %v\n%s", err, token.Password)
		}
		if _, problems := sigv4.Inspect(token.Password, now); len(problems) != 0 {
			t.Errorf("Inspect found %v", problems)
		}
		other := target
		other.Cache += "x"
		if _, err := other.Verify(token.Password, token.User, keys, now); err == nil {
			t.Error("accepted for another cache")
		}
		changed := []byte(token.Password)
		at := int(position) % len(changed)
		if changed[at] == replacement {
			return
		}
		changed[at] = replacement
		if _, err := target.Verify(string(changed), token.User, keys, now); err == nil && !sameDecoded(string(changed), token.Password) {
			t.Errorf("accepted after byte %d became %q:\n%s", at, replacement, changed)
		}
	})
}

// sameDecoded is whether two tokens differ in the writing of escapes only.
func sameDecoded(a, b string) bool {
	return strings.EqualFold(a, b) && strings.Contains(b, "%")
}

// signed is a request as the SDK sends it, and what a server gets of it.
func signed(t *testing.T, method, url, body string, keys aws.Credentials, when time.Time, headers ...string) *http.Request {
	t.Helper()
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	sum := sha256.Sum256([]byte(body))
	if err := v4.NewSigner().SignHTTP(t.Context(), keys, r, hex.EncodeToString(sum[:]), "sts", "us-east-1", when); err != nil {
		t.Fatal(err)
	}
	return r
}

var (
	longTerm  = aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: exampleSecret}
	temporary = aws.Credentials{AccessKeyID: "ASIAEXAMPLE", SecretAccessKey: exampleSecret, SessionToken: exampleSession}
)

// verify sends r over a real connection and verifies what arrives.
func verify(t *testing.T, r *http.Request, now time.Time, change func(*http.Request)) error {
	t.Helper()
	var result error
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, got *http.Request) {
		body, err := io.ReadAll(got.Body)
		if err != nil {
			t.Error(err)
		}
		if change != nil {
			change(got)
		}
		_, result = sigv4.VerifyRequest(got, body, keys, now)
	}))
	defer srv.Close()
	host := r.URL.Host // signed; the connection goes to the test server
	r.Host, r.URL.Host = host, strings.TrimPrefix(srv.URL, "http://")
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	return result
}

func TestAcceptsRequestsSignedByTheSDK(t *testing.T) {
	for name, r := range map[string]*http.Request{
		"form":                signed(t, "POST", "http://sts.example/", "Action=GetCallerIdentity&Version=2011-06-15", longTerm, at(c), "Content-Type", "application/x-www-form-urlencoded"),
		"temporary key":       signed(t, "POST", "http://sts.example/", "Action=GetCallerIdentity", temporary, at(c)),
		"query":               signed(t, "GET", "http://sts.example/?b=2&a=1%202&a=0&c-d=~&c=", "", longTerm, at(c)),
		"path with an escape": signed(t, "GET", "http://sts.example/a%20b/c%2Fd", "", longTerm, at(c)),
		"JSON with a target":  signed(t, "POST", "http://sts.example:8080/", "{}", longTerm, at(c), "X-Amz-Target", "AmazonMemoryDB.CreateUser", "Content-Type", "application/x-amz-json-1.1"),
		"blanks in a header":  signed(t, "POST", "http://sts.example/", "", longTerm, at(c), "X-Amz-Meta", "  a   b "),
	} {
		t.Run(name, func(t *testing.T) {
			if err := verify(t, r, at(c), nil); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRefusesRequests(t *testing.T) {
	get := func() *http.Request { return signed(t, "GET", "http://sts.example/?Action=A", "", longTerm, at(c)) }
	for _, v := range []struct {
		name   string
		r      *http.Request
		now    string
		change func(*http.Request)
		want   sigv4.Reason
	}{
		{"no Authorization", get(), c, func(r *http.Request) { r.Header.Del("Authorization") }, sigv4.NoAuthorization},
		{"two Authorizations", get(), c, func(r *http.Request) { r.Header.Add("Authorization", r.Header.Get("Authorization")) }, sigv4.BadAuthorization},
		{"another scheme", get(), c, func(r *http.Request) { r.Header.Set("Authorization", "Basic eDp5") }, sigv4.BadAuthorization},
		{"a part twice", get(), c, func(r *http.Request) { r.Header.Set("Authorization", r.Header.Get("Authorization")+", Signature=00") }, sigv4.BadAuthorization},
		{"signed in the query instead", get(), c, func(r *http.Request) {
			r.RequestURI += "&X-Amz-Signature=" + demoSignature
			r.Header.Del("Authorization")
		}, sigv4.NoAuthorization},
		{"header added after signing", get(), c, func(r *http.Request) { r.Header.Set("X-Amz-Target", "Other") }, sigv4.UnsignedHeader},
		{"header doubled after signing", get(), c, func(r *http.Request) { r.Header.Add("X-Amz-Date", "20260102T030405Z") }, sigv4.UnsignedHeader},
		{"6 minutes late", get(), "20260102T031005Z", nil, sigv4.RequestExpired},
		{"6 minutes early", get(), "20260102T025805Z", nil, sigv4.NotYetValid},
		{"unknown key", signed(t, "GET", "http://sts.example/", "", aws.Credentials{AccessKeyID: "AKIDUNKNOWN", SecretAccessKey: "AKIDUNKNOWN"}, at(c)), c, nil, sigv4.UnknownKey},
		{"expired credentials", signed(t, "GET", "http://sts.example/", "", temporary, at("20260102T040405Z")), "20260102T040405Z", nil, sigv4.CredentialsExpired},
		{"temporary key without its token", signed(t, "GET", "http://sts.example/", "", aws.Credentials{AccessKeyID: "ASIAEXAMPLE", SecretAccessKey: exampleSecret}, at(c)), c, nil, sigv4.SessionTokenNeeded},
		{"another query", get(), c, func(r *http.Request) { r.RequestURI = "/?Action=B" }, sigv4.WrongSignature},
		{"another path", get(), c, func(r *http.Request) { r.RequestURI = "/x?Action=A" }, sigv4.WrongSignature},
		{"another method", get(), c, func(r *http.Request) { r.Method = "POST" }, sigv4.WrongSignature},
		{"another host", get(), c, func(r *http.Request) { r.Host = "iam.example" }, sigv4.WrongSignature},
		{"another secret", signed(t, "GET", "http://sts.example/", "", aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "x"}, at(c)), c, nil, sigv4.WrongSignature},
	} {
		t.Run(v.name, func(t *testing.T) {
			err := verify(t, v.r, at(v.now), v.change)
			var refusal *sigv4.Refusal
			if !errors.As(err, &refusal) || refusal.Reason != v.want {
				t.Errorf("VerifyRequest() = %v, want %s", err, v.want)
			}
		})
	}
}

func TestRefusesABodyThatWasNotSigned(t *testing.T) {
	for want, r := range map[sigv4.Reason]*http.Request{
		sigv4.WrongSignature:   signed(t, "POST", "http://sts.example/", "Action=A", longTerm, at(c)),
		sigv4.WrongPayloadHash: signed(t, "POST", "http://sts.example/", "Action=A", longTerm, at(c), "X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD"),
	} {
		r.Body = io.NopCloser(strings.NewReader("Action=B"))
		var refusal *sigv4.Refusal
		if err := verify(t, r, at(c), nil); !errors.As(err, &refusal) || refusal.Reason != want {
			t.Errorf("VerifyRequest() = %v, want %s", err, want)
		}
	}
}

// FuzzParseToken: the verifier and a second one, written from the rules alone,
// accept the same tokens. The corpus has every hostile token there is a name for.
func FuzzParseToken(f *testing.F) {
	f.Add(demoToken(demoSignature), "iam-user-01", false)
	f.Add("http://demo/?", "", false)
	f.Add("demo?Action=connect&&=%", "u", true)
	for _, b := range breakages() {
		token, serverless := laboratory().token(f, b)
		f.Add(token, laboratory().user, serverless)
	}
	f.Fuzz(func(t *testing.T, token, user string, serverless bool) {
		s := laboratory()
		claims, err := s.target(serverless).Verify(token, user, laboratoryKeys, s.now)
		if (err == nil) != admissible(s.target(serverless), token, user, laboratoryKeys, s.now) {
			t.Errorf("Verify() = %v for %q, the second verifier differs", err, token)
		}
		if err == nil && (claims.Cache != s.target(serverless).Cache || claims.User != user || claims.Region != s.region || claims.Service != s.service) {
			t.Errorf("accepted %q with claims %+v", token, claims)
		}
		sigv4.Inspect(token, s.now)
	})
}

// FuzzForgery: a token of which one parameter, the host, the payload or the
// signing key is anything at all, signed with a good secret, is accepted by both
// verifiers or by neither.
func FuzzForgery(f *testing.F) {
	f.Add(uint8(0), "connect", "demo-cache-01", "us-east-1", emptyHash, uint8(0), "")
	f.Add(uint8(5), "20260102T030405Z", "demo-cache-01", "us-east-1", emptyHash, uint8(1), "")
	f.Add(uint8(6), "899", "demo-cache-01", "us-east-1", emptyHash, uint8(2), "")
	f.Add(uint8(4), "AKIDEXAMPLE/20260102/us-east-1/elasticache/aws4_request", "demo-cache-01", "us-east-1", emptyHash, uint8(0), "&")
	f.Add(uint8(8), exampleSession, "Demo-Cache-01", "eu-west-1", "UNSIGNED-PAYLOAD", uint8(1), "&user=root")
	f.Add(uint8(6), "+900", "demo-cache-01/", "us-east-1", emptyHash, uint8(0), "?")
	f.Add(uint8(6), "0900", "demo-cache-01:6379", "us-east-1", emptyHash, uint8(0), "#")
	f.Add(uint8(2), "ServerlessCache", "demo-serverless", "us-east-1", emptyHash, uint8(0), "")
	f.Fuzz(func(t *testing.T, parameter uint8, value, host, region, payload string, key uint8, tail string) {
		s := laboratory()
		r := s.recipe(host == s.forServerless)
		r.signWith([]accessKey{s.long, s.temporary, s.ended, s.inactive}[key%4])
		r.values[tokenParameters[int(parameter)%len(tokenParameters)]] = value
		r.host, r.region, r.payload = host, region, payload
		token := r.token() + tail
		for _, serverless := range []bool{false, true} {
			_, err := s.target(serverless).Verify(token, r.values["User"], laboratoryKeys, s.now)
			if (err == nil) != admissible(s.target(serverless), token, r.values["User"], laboratoryKeys, s.now) {
				t.Errorf("Verify() = %v for %q, the second verifier differs", err, token)
			}
		}
	})
}
