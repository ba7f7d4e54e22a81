package sigv4_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rediam/rediam/internal/sigv4"
)

// This file has Signature Version 4 a second time, written from its public
// description alone and sharing nothing with the code under test:
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html

// tokenParameters are the parameters of a token, in the order printed here.
var tokenParameters = []string{"Action", "User", "ResourceType", "X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date",
	"X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Security-Token"}

// A recipe is what a token is signed from. Unlike a real signer it signs
// whatever it is told to, so that everything but one part of it may be right.
type recipe struct {
	method, path, host, headers, signedHeaders, payload string // of the canonical request

	id, secret                             string
	scopeDate, region, service, terminator string            // as X-Amz-Credential names them
	keyDate, keyRegion, keyService         string            // as the signing key is derived; empty for the same
	values                                 map[string]string // of the known parameters, decoded
	more                                   [][2]string       // parameters besides
	escape                                 func(string) string
	backwards                              bool // the canonical query is in the reverse order instead of sorted
	// What the token says instead of what was signed.
	printedHost string
	printed     map[string]string
}

// token signs the recipe and prints it.
func (r *recipe) token() string {
	if _, given := r.values["X-Amz-Credential"]; !given {
		r.values["X-Amz-Credential"] = strings.Join([]string{r.id, r.scopeDate, r.region, r.service, r.terminator}, "/")
	}
	covered := r.parameters(nil)
	if r.backwards {
		slices.Reverse(covered)
	}
	canonical := strings.Join([]string{r.method, r.path, joined(covered, r.escape, !r.backwards), "host:" + r.host, r.headers, r.signedHeaders, r.payload}, "\n")
	signature := plainSignature(r.secret, orOther(r.keyDate, r.scopeDate), orOther(r.keyRegion, r.region), orOther(r.keyService, r.service),
		r.values["X-Amz-Algorithm"]+"\n"+r.values["X-Amz-Date"]+"\n"+strings.Join([]string{r.scopeDate, r.region, r.service, r.terminator}, "/"), canonical)
	return orOther(r.printedHost, r.host) + "/?" + joined(r.parameters(r.printed), escaped, false) + "&X-Amz-Signature=" + signature
}

// parameters are those of the recipe, with others instead.
func (r *recipe) parameters(instead map[string]string) (all [][2]string) {
	for _, name := range tokenParameters {
		v, ok := r.values[name]
		if other, given := instead[name]; given {
			v, ok = other, true
		}
		if ok {
			all = append(all, [2]string{name, v})
		}
	}
	return append(all, r.more...)
}

func orOther(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// joined writes parameters as a query.
func joined(parameters [][2]string, escape func(string) string, sorted bool) string {
	pairs := [][2]string{}
	for _, p := range parameters {
		pairs = append(pairs, [2]string{escape(p[0]), escape(p[1])})
	}
	if sorted {
		slices.SortFunc(pairs, func(a, b [2]string) int {
			return 2*strings.Compare(a[0], b[0]) + strings.Compare(a[1], b[1])
		})
	}
	var b strings.Builder
	for i, p := range pairs {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(p[0] + "=" + p[1])
	}
	return b.String()
}

const unreservedCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"

func escaped(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if strings.IndexByte(unreservedCharacters, c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// unescaped decodes percent-encoding; a plus is a plus.
func unescaped(s string) (string, bool) {
	var b []byte
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b = append(b, s[i])
			continue
		}
		if i+2 >= len(s) || strings.ContainsAny(s[i+1:i+3], "+-_") {
			return "", false
		}
		n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
		if err != nil {
			return "", false
		}
		b = append(b, byte(n))
		i += 2
	}
	return string(b), true
}

// plainSignature signs a canonical request; head is the string to sign without
// the hash.
func plainSignature(secret, date, region, service, head, canonical string) string {
	key := []byte("AWS4" + secret)
	for _, part := range []string{date, region, service, "aws4_request", fmt.Sprintf("%s\n%x", head, sha256.Sum256([]byte(canonical)))} {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(part))
		key = h.Sum(nil)
	}
	return fmt.Sprintf("%x", key)
}

// A spelling is a token taken apart by the rules of SigV4: two tokens with one
// spelling are one request, however they are printed.
type spelling struct {
	host, query string
}

// spelt takes a token apart. It is not ok if that cannot be done in one way only.
func spelt(token string) (s spelling, values map[string]string, ok bool) {
	for _, c := range []byte(token) {
		if c < '!' || c > '~' {
			return s, nil, false
		}
	}
	parts := strings.Split(token, "?")
	if len(token) > 16384 || len(parts) != 2 || strings.Contains(token, "#") {
		return s, nil, false
	}
	values = map[string]string{}
	var all [][2]string
	for _, pair := range strings.Split(parts[1], "&") {
		rawName, rawValue, _ := strings.Cut(pair, "=")
		name, ok1 := unescaped(rawName)
		value, ok2 := unescaped(rawValue)
		if _, twice := values[name]; twice || !ok1 || !ok2 {
			return s, nil, false
		}
		values[name] = value
		all = append(all, [2]string{name, value})
	}
	return spelling{strings.TrimSuffix(parts[0], "/"), joined(all, escaped, true)}, values, true
}

func sameRequest(a, b string) bool {
	x, _, okX := spelt(a)
	y, _, okY := spelt(b)
	return okX && okY && x == y
}

// admissible is the verifier a second time: one answer and no reasons.
func admissible(target sigv4.Target, token, user string, known sigv4.Keys, now time.Time) bool {
	s, v, ok := spelt(token)
	if !ok || s.host != target.Cache || v["User"] != user || v["Action"] != "connect" || v["X-Amz-Algorithm"] != "AWS4-HMAC-SHA256" || v["X-Amz-SignedHeaders"] != "host" {
		return false
	}
	for name := range v {
		if name != "X-Amz-Signature" && !slices.Contains(tokenParameters, name) {
			return false
		}
	}
	kind, isServerless := v["ResourceType"]
	if isServerless != target.Serverless || isServerless && kind != "ServerlessCache" {
		return false
	}
	if _, named := v["User"]; !named {
		return false
	}
	credential := strings.Split(v["X-Amz-Credential"], "/")
	if len(credential) != 5 || credential[0] == "" || strings.Join(credential[2:], "/") != target.Region+"/"+target.Service+"/aws4_request" {
		return false
	}
	signed, err := time.Parse("20060102T150405Z", v["X-Amz-Date"])
	seconds, err2 := strconv.Atoi(v["X-Amz-Expires"])
	if err != nil || err2 != nil || signed.Format("20060102T150405Z") != v["X-Amz-Date"] || credential[1] != signed.Format("20060102") ||
		strconv.Itoa(seconds) != v["X-Amz-Expires"] || seconds < 1 || seconds > 900 ||
		signed.Sub(now) > 5*time.Minute || now.Sub(signed) >= time.Duration(seconds)*time.Second {
		return false
	}
	key, found := known(credential[0])
	session, given := v["X-Amz-Security-Token"]
	if !found || key.Inactive || given != (key.SessionToken != "") || session != key.SessionToken || !key.Expires.IsZero() && !key.Expires.After(now) {
		return false
	}
	var covered [][2]string
	for name, value := range v {
		if name != "X-Amz-Signature" {
			covered = append(covered, [2]string{name, value})
		}
	}
	canonical := "GET\n/\n" + joined(covered, escaped, true) + "\nhost:" + target.Cache + "\n\nhost\n" + emptyHash
	return v["X-Amz-Signature"] == plainSignature(key.Secret, credential[1], target.Region, target.Service,
		"AWS4-HMAC-SHA256\n"+v["X-Amz-Date"]+"\n"+strings.Join(credential[1:], "/"), canonical)
}

const emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
