package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// MaxRequestSkew is how far a signed request may be dated from our clock, either
// way ("Signature expired: A is now earlier than B (C - 5 min.)").
const MaxRequestSkew = 5 * time.Minute

// maxAuthorization is the longest Authorization header that is looked at, in
// bytes. SDKs send about 300.
const maxAuthorization = 8 << 10

// Reasons of requests alone.
const (
	NoAuthorization  Reason = "missing-authentication-token"
	BadAuthorization Reason = "incomplete-signature"
	UnsignedHeader   Reason = "unsigned-header"
	RequestExpired   Reason = "request-expired"
	WrongPayloadHash Reason = "wrong-payload-hash"
)

// A Signed is what a verified request was signed with.
type Signed struct{ AccessKey, Region, Service string }

// VerifyRequest checks the Authorization header of a request to an AWS API as a
// server has received it, whose body has been read into body, at now. Everything that could change the
// request's meaning must be under the signature: method, path, query, host, body
// and every x-amz- header. Signatures in the query string are not accepted. The
// error is a *Refusal.
func VerifyRequest(r *http.Request, body []byte, keys Keys, now time.Time) (Signed, error) {
	a, refusal := parseAuthorization(r.Header.Values("Authorization"))
	if refusal != nil {
		return Signed{}, refusal
	}
	timestamp := r.Header.Get("X-Amz-Date")
	key, found := keys(a.scope.accessKey)
	sessionToken := r.Header.Get("X-Amz-Security-Token")
	for _, check := range []func() *Refusal{
		func() *Refusal { return a.checkHeaders(r.Header) },
		func() *Refusal { return checkRequestTime(timestamp, a.scope.date, now) },
		func() *Refusal { return checkKey(key, found, sessionToken, sessionToken != "", now) },
		func() *Refusal { return a.checkSignature(r, body, key.Secret, timestamp) },
	} {
		if refusal := check(); refusal != nil {
			return Signed{a.scope.accessKey, a.scope.region, a.scope.service}, refusal
		}
	}
	return Signed{a.scope.accessKey, a.scope.region, a.scope.service}, nil
}

// authorization is an Authorization header taken apart.
type authorization struct {
	scope     scope
	headers   []string // in lower case, sorted, none twice
	signature [sha256.Size]byte
}

func parseAuthorization(values []string) (*authorization, *Refusal) {
	if len(values) == 0 {
		return nil, refuse(NoAuthorization, "the request has no Authorization header")
	}
	rest, ok := strings.CutPrefix(values[0], algorithm+" ")
	if !ok || len(values) > 1 {
		return nil, refuse(BadAuthorization, "the Authorization header must be one, and begin with %s", algorithm)
	}
	if len(rest) > maxAuthorization {
		return nil, refuse(BadAuthorization, "the Authorization header has %d bytes; the limit is %d", len(rest), maxAuthorization)
	}
	fields := map[string]string{}
	for part := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		if _, twice := fields[name]; twice {
			return nil, refuse(BadAuthorization, "a part of the Authorization header stands twice")
		}
		fields[name] = value
	}
	s, scopeOK := parseScope(fields["Credential"])
	sum, sumOK := decodeSignature(fields["Signature"])
	headers, headersOK := parseSignedHeaders(fields["SignedHeaders"])
	if !scopeOK || !sumOK || !headersOK || len(fields) != 3 {
		return nil, refuse(BadAuthorization, "the Authorization header must have Credential, SignedHeaders in order, and Signature")
	}
	return &authorization{s, headers, sum}, nil
}

// parseSignedHeaders reads names in lower case and in order. A name that stood
// twice would let a small request make a large canonical one.
func parseSignedHeaders(list string) (names []string, ok bool) {
	names = strings.Split(list, ";")
	for i, name := range names {
		if name == "" || name != strings.ToLower(name) || i > 0 && name <= names[i-1] {
			return nil, false
		}
	}
	return names, true
}

// checkHeaders wants host and every x-amz- header under the signature, none of
// them twice.
func (a *authorization) checkHeaders(h http.Header) *Refusal {
	if _, signed := slices.BinarySearch(a.headers, "host"); !signed {
		return refuse(UnsignedHeader, "the Host header is not signed")
	}
	for name, values := range h {
		lower := strings.ToLower(name)
		if !strings.HasPrefix(lower, "x-amz-") {
			continue
		}
		if _, signed := slices.BinarySearch(a.headers, lower); !signed || len(values) != 1 {
			return refuse(UnsignedHeader, "the header %.64q is not signed, or stands twice", lower)
		}
	}
	return nil
}

func checkRequestTime(timestamp, scopeDate string, now time.Time) *Refusal {
	signed, err := time.Parse(dateForm, timestamp)
	switch {
	case err != nil || len(timestamp) != len(dateForm):
		return refuse(BadAuthorization, "X-Amz-Date must have the form %s", dateForm)
	case scopeDate != timestamp[:8]:
		return refuse(BadAuthorization, "the date in Credential is not that of X-Amz-Date")
	case signed.Before(now.Add(-MaxRequestSkew)):
		return refuse(RequestExpired, "Signature expired: %s is now earlier than %s (%s - 5 min.)",
			timestamp, now.Add(-MaxRequestSkew).UTC().Format(dateForm), now.UTC().Format(dateForm))
	case signed.After(now.Add(MaxRequestSkew)):
		return refuse(NotYetValid, "Signature not yet current: %s is still later than %s (%s + 5 min.)",
			timestamp, now.Add(MaxRequestSkew).UTC().Format(dateForm), now.UTC().Format(dateForm))
	}
	return nil
}

func (a *authorization) checkSignature(r *http.Request, body []byte, secret, timestamp string) *Refusal {
	sum := sha256.Sum256(body)
	payloadHash := hex.EncodeToString(sum[:])
	if claimed := r.Header.Get("X-Amz-Content-Sha256"); claimed != "" && claimed != payloadHash {
		return refuse(WrongPayloadHash, "X-Amz-Content-Sha256 is not the hash of the body")
	}
	// The request line as it came: in r.URL several are one, such as /" and /%22, or
	// sts: and CONNECT's sts.example:443 and /.
	target, whole := r.RequestURI, false
	if r.URL.Host != "" {
		target, whole = strings.CutPrefix(target, "http://"+r.URL.Host)
	}
	path, rawQuery, _ := strings.Cut(target, "?")
	if path == "" && whole {
		path = "/"
	}
	if !strings.HasPrefix(path, "/") {
		return refuse(BadAuthorization, "the request line has neither a path nor the URL of one")
	}
	query, err := requestQuery(rawQuery)
	if err != nil {
		return refuse(BadAuthorization, "the query string is not percent-encoded as it should be")
	}
	// Services other than S3 sign the path encoded once more.
	canonicalPath := strings.ReplaceAll(encode(path), "%2F", "/")
	want := signature(secret, a.scope, timestamp, strings.Join([]string{
		r.Method, canonicalPath, canonicalQuery(query), a.canonicalHeaders(r), strings.Join(a.headers, ";"), payloadHash}, "\n"))
	if !hmac.Equal(want[:], a.signature[:]) {
		return refuse(WrongSignature, "the signature does not fit: another secret key, or the request was changed after it was signed")
	}
	return nil
}

func requestQuery(raw string) ([]parameter, error) {
	if raw == "" {
		return nil, nil
	}
	var query []parameter
	for pair := range strings.SplitSeq(raw, "&") {
		name, value, _ := strings.Cut(pair, "=")
		name, err1 := url.QueryUnescape(name)
		value, err2 := url.QueryUnescape(value)
		if err1 != nil {
			return nil, err1
		}
		if err2 != nil {
			return nil, err2
		}
		query = append(query, parameter{name, value})
	}
	return query, nil
}

func (a *authorization) canonicalHeaders(r *http.Request) string {
	var b strings.Builder
	for _, name := range a.headers {
		values := r.Header.Values(name)
		if name == "host" { // net/http takes it out of the header
			values = []string{r.Host}
		}
		b.WriteString(name)
		b.WriteByte(':')
		for i, v := range values {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(collapse(v))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// collapse trims a header's value and makes one blank of several. Only the ASCII
// blanks count: any other is part of the value.
func collapse(value string) string {
	return strings.Join(strings.FieldsFunc(value, func(c rune) bool { return c == ' ' || c == '\t' }), " ")
}
