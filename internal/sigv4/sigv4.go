// Package sigv4 checks AWS Signature Version 4: the presigned tokens with which
// clients sign in to a cache, and the signed requests of AWS APIs. It signs
// nothing: it rebuilds what must have been signed from its own values and
// compares.
package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sort"
	"strings"
	"time"
)

const (
	algorithm = "AWS4-HMAC-SHA256"
	dateForm  = "20060102T150405Z"
	// emptyPayloadHash is the SHA-256 of no bytes; every signer of tokens uses it.
	emptyPayloadHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	unsignedPayload  = "UNSIGNED-PAYLOAD"
)

// A Key is what an access key id stands for.
type Key struct {
	Secret       string
	SessionToken string    // empty for a long-term key
	Expires      time.Time // zero for a long-term key
	Inactive     bool
}

// Keys finds the key of an access key id. It is called once per check.
type Keys func(accessKeyID string) (Key, bool)

// A Refusal is why a token or a request is not accepted. Reason is stable and
// for programs, Detail is a sentence for the operator. Neither holds a secret, a
// signature or a session token, but both say too much for the peer to see.
type Refusal struct {
	Reason Reason
	Detail string
}

func (r *Refusal) Error() string { return string(r.Reason) + ": " + r.Detail }

func refuse(r Reason, format string, args ...any) *Refusal {
	return &Refusal{r, fmt.Sprintf(format, args...)}
}

// A Reason names the check that failed.
type Reason string

// The reasons, in the order of the checks.
const (
	TooLong            Reason = "too-long"
	NotPrintable       Reason = "not-printable"
	SchemeLeftOn       Reason = "scheme-left-on"
	NotAToken          Reason = "not-a-token"
	BadEncoding        Reason = "bad-encoding"
	DuplicateParameter Reason = "duplicate-parameter"
	UnknownParameter   Reason = "unknown-parameter"
	MissingParameter   Reason = "missing-parameter"
	WrongAlgorithm     Reason = "wrong-algorithm"
	WrongAction        Reason = "wrong-action"
	WrongSignedHeaders Reason = "wrong-signed-headers"
	WrongCache         Reason = "wrong-cache"
	WrongUser          Reason = "wrong-user"
	ResourceTypeNeeded Reason = "resource-type-missing"
	ResourceTypeExtra  Reason = "resource-type-extra"
	BadCredential      Reason = "bad-credential"
	WrongService       Reason = "wrong-service"
	WrongRegion        Reason = "wrong-region"
	WrongScopeDate     Reason = "wrong-scope-date"
	BadDate            Reason = "bad-date"
	BadExpires         Reason = "bad-expires"
	NotYetValid        Reason = "not-yet-valid"
	Expired            Reason = "expired"
	UnknownKey         Reason = "unknown-access-key"
	InactiveKey        Reason = "inactive-access-key"
	SessionTokenNeeded Reason = "session-token-missing"
	SessionTokenExtra  Reason = "session-token-extra"
	WrongSessionToken  Reason = "wrong-session-token"
	CredentialsExpired Reason = "credentials-expired"
	BadSignature       Reason = "bad-signature"
	UnsignedPayload    Reason = "unsigned-payload"
	CapitalsSigned     Reason = "cache-name-signed-with-capitals"
	CapitalsPrinted    Reason = "cache-name-printed-with-capitals"
	WrongSignature     Reason = "wrong-signature"
)

// A scope is the credential of a signature: who signed, and for what.
type scope struct{ accessKey, date, region, service string }

func (s scope) String() string {
	return s.date + "/" + s.region + "/" + s.service + "/aws4_request"
}

// parseScope splits from the right, since only the access key id is not AWS's
// to define; it may not contain a slash all the same.
func parseScope(credential string) (scope, bool) {
	parts := strings.Split(credential, "/")
	if len(parts) != 5 || parts[4] != "aws4_request" {
		return scope{}, false
	}
	for _, p := range parts {
		if p == "" {
			return scope{}, false
		}
	}
	return scope{parts[0], parts[1], parts[2], parts[3]}, true
}

// checkKey is the part of a check that concerns the signing key alone.
func checkKey(k Key, found bool, sessionToken string, hasSessionToken bool, now time.Time) *Refusal {
	switch {
	case !found || k.Secret == "": // with no secret anybody could sign
		return refuse(UnknownKey, "no such access key; are these the credentials of another account?")
	case k.Inactive:
		return refuse(InactiveKey, "the access key has been made inactive")
	case k.SessionToken == "" && hasSessionToken:
		return refuse(SessionTokenExtra, "a long-term access key comes without a session token")
	case k.SessionToken != "" && !hasSessionToken:
		return refuse(SessionTokenNeeded, "temporary credentials need their session token inside the signature")
	case !equal(k.SessionToken, sessionToken):
		return refuse(WrongSessionToken, "the session token is not the one issued with this access key")
	case !k.Expires.IsZero() && !now.Before(k.Expires):
		return refuse(CredentialsExpired, "the credentials that signed it ended at %s", k.Expires.UTC().Format(time.RFC3339))
	}
	return nil
}

// signature computes the signature of a canonical request.
func signature(secret string, s scope, timestamp, canonicalRequest string) [sha256.Size]byte {
	hashed := sha256.Sum256([]byte(canonicalRequest))
	stringToSign := algorithm + "\n" + timestamp + "\n" + s.String() + "\n" + hex.EncodeToString(hashed[:])
	key := mac([]byte("AWS4"+secret), s.date)
	key = mac(key, s.region)
	key = mac(key, s.service)
	key = mac(key, "aws4_request")
	return [sha256.Size]byte(mac(key, stringToSign))
}

func mac(key []byte, data string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(data))
	return h.Sum(nil)
}

// equal compares in constant time.
func equal(a, b string) bool { return hmac.Equal([]byte(a), []byte(b)) }

// decodeSignature reads 64 lower-case hexadecimal digits.
func decodeSignature(s string) (sum [sha256.Size]byte, ok bool) {
	if len(s) != 2*sha256.Size || strings.ToLower(s) != s {
		return sum, false
	}
	_, err := hex.Decode(sum[:], []byte(s))
	return sum, err == nil
}

// A parameter of a query, decoded.
type parameter struct{ name, value string }

// canonicalQuery encodes the parameters as SigV4 does: each by RFC 3986, sorted
// by encoded name, then by encoded value.
func canonicalQuery(parameters []parameter) string {
	pairs := make([]string, len(parameters))
	for i, p := range parameters {
		pairs[i] = encode(p.name) + "=" + encode(p.value)
	}
	// "=" sorts after the hyphen but before every letter, so names of which one
	// begins with the other are compared by themselves.
	sort.Slice(pairs, func(i, j int) bool {
		a, av, _ := strings.Cut(pairs[i], "=")
		b, bv, _ := strings.Cut(pairs[j], "=")
		if a != b {
			return a < b
		}
		return av < bv
	})
	return strings.Join(pairs, "&")
}

const upperHex = "0123456789ABCDEF"

// encode percent-encodes all but RFC 3986's unreserved characters.
func encode(s string) string {
	reserved := 0
	for i := range len(s) {
		if !unreserved(s[i]) {
			reserved++
		}
	}
	if reserved == 0 {
		return s
	}
	b := make([]byte, 0, len(s)+2*reserved)
	for i := range len(s) {
		if c := s[i]; unreserved(c) {
			b = append(b, c)
		} else {
			b = append(b, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return string(b)
}

func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~'
}
