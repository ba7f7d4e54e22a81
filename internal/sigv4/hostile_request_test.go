package sigv4_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/rediam/rediam/internal/sigv4"
)

// A message is a signed API request as it goes over the wire, header by header.
type message struct {
	method, uri, body string
	headers           [][2]string // Host and all others but Authorization and Content-Length
	list              string      // SignedHeaders; empty for all of them
}

func whoAmI() message {
	return message{"POST", "/", "Action=GetCallerIdentity&Version=2011-06-15", [][2]string{
		{"Content-Type", "application/x-www-form-urlencoded"}, {"Host", "sts.example"}, {"X-Amz-Date", c}}, ""}
}

func (m message) with(name, value string) message {
	m.headers = append(slices.Clone(m.headers), [2]string{name, value})
	return m
}

// authorization signs the message by the rules, from what goes over the wire.
func (m message) authorization() string {
	values := map[string][]string{}
	for _, h := range m.headers {
		name := strings.ToLower(h[0])
		values[name] = append(values[name], oneBlank(h[1]))
	}
	names := []string{}
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	list := orOther(m.list, strings.Join(names, ";"))
	signature := plainSignature(exampleSecret, c[:8], "us-east-1", "sts",
		"AWS4-HMAC-SHA256\n"+c+"\n"+c[:8]+"/us-east-1/sts/aws4_request", canonicalRequest(m.method, m.uri, m.body, list, values))
	return "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/" + c[:8] + "/us-east-1/sts/aws4_request, SignedHeaders=" + list + ", Signature=" + signature
}

func oneBlank(v string) string {
	v = strings.Trim(strings.ReplaceAll(v, "\t", " "), " ")
	for strings.Contains(v, "  ") {
		v = strings.ReplaceAll(v, "  ", " ")
	}
	return v
}

// canonicalRequest is what SigV4 signs of a request whose target is uri.
func canonicalRequest(method, uri, body, list string, values map[string][]string) string {
	path, query, _ := strings.Cut(uri, "?")
	var pairs [][2]string
	if query != "" {
		for _, pair := range strings.Split(query, "&") {
			name, value, _ := strings.Cut(strings.ReplaceAll(pair, "+", "%20"), "=")
			name, _ = unescaped(name)
			value, _ = unescaped(value)
			pairs = append(pairs, [2]string{name, value})
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\n%s\n", method, strings.ReplaceAll(escaped(path), "%2F", "/"), joined(pairs, escaped, true))
	for _, name := range strings.Split(list, ";") {
		fmt.Fprintf(&b, "%s:%s\n", name, strings.Join(values[name], ","))
	}
	fmt.Fprintf(&b, "\n%s\n%x", list, sha256.Sum256([]byte(body)))
	return b.String()
}

// wire is the message with its signature.
func (m message) wire() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\n", m.method, m.uri)
	for _, h := range m.headers {
		fmt.Fprintf(&b, "%s: %s\r\n", h[0], h[1])
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\nAuthorization: %s\r\n\r\n%s", len(m.body), m.authorization(), m.body)
	return b.String()
}

// received is what a server gets of a wire, and what the verifier says of it.
// Without a request net/http has refused it already.
func received(wire string) (r *http.Request, body string, err error) {
	r, err = http.ReadRequest(bufio.NewReader(strings.NewReader(wire)))
	if err != nil {
		return nil, "", err
	}
	for name := range r.Header {
		if strings.Contains(name, " ") { // a server refuses it, ReadRequest does not
			return nil, "", errors.New("invalid header name")
		}
	}
	raw, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return nil, "", err
	}
	_, err = sigv4.VerifyRequest(r, raw, keys, at(c))
	return r, string(raw), err
}

func TestAcceptsRequestsOfAnIndependentSigner(t *testing.T) {
	for name, m := range map[string]message{
		"a form":             whoAmI(),
		"a path":             {"GET", "/a%20b/c%2Fd/~e/(f)", "", whoAmI().headers, ""},
		"a path as it is":    {"GET", "/é\"<#^", "", whoAmI().headers, ""},
		"a query":            {"GET", "/?b=2&a=1%202&a=0&c-d=~&c=&a=+", "", whoAmI().headers, ""},
		"blanks":             whoAmI().with("X-Amz-Meta", "a    b\tc "),
		"a header twice":     whoAmI().with("Accept", "a").with("Accept", "b,  c"),
		"a list of needed":   {"POST", "/", "x", whoAmI().headers, "host;x-amz-date"},
		"a Latin-1 blank":    whoAmI().with("X-Amz-Meta", "a\u00a0b"),
		"the payload's hash": whoAmI().with("X-Amz-Content-Sha256", fmt.Sprintf("%x", sha256.Sum256([]byte(whoAmI().body)))),
	} {
		if _, _, err := received(m.wire()); err != nil {
			t.Errorf("%s: %v\n%s", name, err, m.wire())
		}
	}
}

// Each of these is a good request until something is added or exchanged on its
// way, or is signed correctly in a form that may not be used.
func TestRefusesHostileRequests(t *testing.T) {
	good := whoAmI().wire()
	swap := func(old, new string) string { return strings.Replace(good, old, new, 1) }
	chunked := func(extra string) string {
		return strings.Replace(swap("Content-Length: 43", extra+"Transfer-Encoding: chunked"), "Action=GetCallerIdentity&Version=2011-06-15", "d\r\nAction=Forged\r\n0\r\n\r\n", 1)
	}
	listed := func(list string) string { m := whoAmI(); m.list = list; return m.wire() }
	many := strings.Repeat("host;", 1500)
	for _, v := range []struct {
		name, wire string
		want       sigv4.Reason // empty: net/http refuses it
	}{
		{"another body of the same length", swap("GetCallerIdentity", "GetCallerIdentitx"), sigv4.WrongSignature},
		{"a longer body", strings.Replace(good, "Content-Length: 43", "Content-Length: 45", 1) + "&x", sigv4.WrongSignature},
		{"a body cut by a second length", swap("Content-Length: 43", "Content-Length: 43\r\nContent-Length: 3"), ""},
		{"a body in chunks", chunked(""), sigv4.WrongSignature},
		{"a body in chunks and a length", chunked("Content-Length: 43\r\n"), sigv4.WrongSignature},
		{"two codings", swap("Content-Length: 43", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"), ""},
		{"a second Host", swap("Host: sts.example", "Host: sts.example\r\nHost: iam.example"), ""},
		{"a Host in the request line", swap("POST / ", "POST http://iam.example/ "), sigv4.WrongSignature},
		{"a request line without a path", swap("POST / ", "POST sts:anything "), sigv4.BadAuthorization},
		{"a scheme alone in the request line", swap("POST / ", "POST sts: "), sigv4.BadAuthorization},
		{"a scheme and a path", swap("POST / ", "POST sts:/ "), sigv4.BadAuthorization},
		{"a scheme and an empty host", swap("POST / ", "POST sts:/// "), sigv4.BadAuthorization},
		{"a user in the request line", swap("POST / ", "POST http://user@sts.example/ "), sigv4.BadAuthorization},
		{"a host alone in the request line", strings.Replace(message{"CONNECT", "/", "", whoAmI().headers, ""}.wire(), "CONNECT / ", "CONNECT sts.example ", 1), sigv4.BadAuthorization},
		{"a scheme that is not http", swap("POST / ", "POST ftp://sts.example/ "), sigv4.BadAuthorization},
		{"the user of an empty name in the request line", swap("POST / ", "POST http://@sts.example/ "), sigv4.BadAuthorization},
		{"a host that is part of the path", strings.Replace(message{"POST", "/y", "", [][2]string{{"Host", "/x"}, {"X-Amz-Date", c}}, ""}.wire(), "POST /y ", "POST http:///x/y ", 1), sigv4.BadAuthorization},
		{"a path that is not encoded as it was", strings.Replace(message{"POST", "/%22", "", whoAmI().headers, ""}.wire(), "/%22", `/"`, 1), sigv4.WrongSignature},
		{"a path of another encoding of é", strings.Replace(message{"POST", "/%C3%A9", "", whoAmI().headers, ""}.wire(), "/%C3%A9", "/é", 1), sigv4.WrongSignature},
		{"a path that became a fragment", strings.Replace(message{"POST", "/%23a", "", whoAmI().headers, ""}.wire(), "/%23a", "/#a", 1), sigv4.WrongSignature},
		{"a slash that is encoded, beside what should be", strings.Replace(message{"POST", "//%22", "", whoAmI().headers, ""}.wire(), "//%22", `/%2f"`, 1), sigv4.WrongSignature},
		{"an encoded path", swap("POST / ", "POST /%2e "), sigv4.WrongSignature},
		{"a path of two slashes", swap("POST / ", "POST // "), sigv4.WrongSignature},
		{"a query", swap("POST / ", "POST /?Action=CreateUser "), sigv4.WrongSignature},
		{"a query of nothing", swap("POST / ", "POST /?& "), sigv4.WrongSignature},
		{"a query of half an escape", swap("POST / ", "POST /?a=%2 "), sigv4.BadAuthorization},
		{"the method in another case", swap("POST /", "Post /"), sigv4.WrongSignature},
		{"the target operation added", swap("Host:", "X-Amz-Target: AmazonMemoryDB.DeleteUser\r\nHost:"), sigv4.UnsignedHeader},
		{"the target operation added in another case", swap("Host:", "x-aMZ-target: AmazonMemoryDB.DeleteUser\r\nHost:"), sigv4.UnsignedHeader},
		{"the target operation twice, both signed", whoAmI().with("X-Amz-Target", "A.B").with("X-Amz-Target", "C.D").wire(), sigv4.UnsignedHeader},
		{"the date twice", swap("X-Amz-Date:", "X-Amz-Date: 20250102T030405Z\r\nX-Amz-Date:"), sigv4.UnsignedHeader},
		{"a session token added", swap("Host:", "X-Amz-Security-Token: x\r\nHost:"), sigv4.UnsignedHeader},
		{"a session token with a long-term key", whoAmI().with("X-Amz-Security-Token", "x").wire(), sigv4.SessionTokenExtra},
		{"a signed header exchanged", swap("x-www-form-urlencoded", "json"), sigv4.WrongSignature},
		{"a signed header doubled", swap("Content-Type:", "Content-Type: a\r\nContent-Type:"), sigv4.WrongSignature},
		{"a signed header removed", swap("Content-Type: application/x-www-form-urlencoded\r\n", ""), sigv4.WrongSignature},
		{"a blank that is none", strings.Replace(whoAmI().with("X-Amz-Meta", "a b").wire(), "a b", "a\u00a0b", 1), sigv4.WrongSignature},
		{"a signed value split over two headers", strings.Replace(whoAmI().with("X-Amz-Meta", "a,b").wire(), "a,b", "a\r\nX-Amz-Meta: b", 1), sigv4.UnsignedHeader},
		{"a blank before a header's colon", swap("X-Amz-Date:", "X-Amz-Date :"), ""},
		{"a folded header", swap("Host:", "X-Amz-Target: A.\r\n B\r\nHost:"), sigv4.UnsignedHeader},
		{"a bare line end in a header", swap("Host:", "Accept: a\nX-Amz-Target: A.B\r\nHost:"), sigv4.UnsignedHeader},
		{"host is not signed", listed("content-type;x-amz-date"), sigv4.UnsignedHeader},
		{"the date is not signed", listed("content-type;host"), sigv4.UnsignedHeader},
		{"no header is signed", swap("SignedHeaders=content-type;host;x-amz-date", "SignedHeaders="), sigv4.BadAuthorization},
		{"signed headers not in order", listed("x-amz-date;host"), sigv4.BadAuthorization},
		{"signed headers with capitals", listed("Host;host;x-amz-date"), sigv4.BadAuthorization},
		{"a signed header named twice", listed("host;host;x-amz-date"), sigv4.BadAuthorization},
		{"a signed header named 1,500 times", listed(many + "x-amz-date"), sigv4.BadAuthorization},
		{"an Authorization of 9 KB", listed("a" + strings.Repeat("x", 9<<10) + ";host;x-amz-date"), sigv4.BadAuthorization},
		{"a second Authorization", swap("Authorization:", "Authorization: Basic eDp5\r\nAuthorization:"), sigv4.BadAuthorization},
		{"a second Authorization behind", swap("\r\n\r\n", "\r\nAuthorization: Basic eDp5\r\n\r\n"), sigv4.BadAuthorization},
		{"a second signature", swap(", SignedHeaders", ", Signature="+strings.Repeat("0", 64)+", SignedHeaders"), sigv4.BadAuthorization},
		{"a part that nobody knows", swap(", SignedHeaders", ", Expires=900, SignedHeaders"), sigv4.BadAuthorization},
		{"a part in another case", swap("Credential=", "credential="), sigv4.BadAuthorization},
		{"another algorithm", swap("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"), sigv4.BadAuthorization},
		{"the algorithm in small letters", swap("AWS4-HMAC-SHA256", "aws4-hmac-sha256"), sigv4.BadAuthorization},
		{"a slash in the access key id", swap("AKIDEXAMPLE", "AKID/EXAMPLE"), sigv4.BadAuthorization},
		{"another access key id", swap("AKIDEXAMPLE", "ASIAEXAMPLE"), sigv4.SessionTokenNeeded},
		{"an inactive access key id", swap("AKIDEXAMPLE", "AKIDINACTIVE"), sigv4.InactiveKey},
		{"an unknown access key id", swap("AKIDEXAMPLE", "AKIDFORGED"), sigv4.UnknownKey},
		{"another service", swap("us-east-1/sts", "us-east-1/iam"), sigv4.WrongSignature},
		{"another region", swap("us-east-1/sts", "eu-west-1/sts"), sigv4.WrongSignature},
		{"another scope date", swap("EXAMPLE/20260102", "EXAMPLE/20260101"), sigv4.BadAuthorization},
		{"another date", swap("X-Amz-Date: 20260102T030405Z", "X-Amz-Date: 20260102T030404Z"), sigv4.WrongSignature},
		{"no date", swap("X-Amz-Date: 20260102T030405Z\r\n", ""), sigv4.BadAuthorization},
		{"a date in another form", swap("X-Amz-Date: 20260102T030405Z", "X-Amz-Date: 2026-01-02T03:04:05Z"), sigv4.BadAuthorization},
		{"an unsigned payload", whoAmI().with("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD").wire(), sigv4.WrongPayloadHash},
		{"CVE-2025-31489: a trailer for a signature", whoAmI().with("X-Amz-Content-Sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER").wire(), sigv4.WrongPayloadHash},
		{"CVE-2026-41145: credentials in the query alone", strings.Replace(swap("POST / ", "POST /?X-Amz-Credential=AKIDEXAMPLE%2F20260102%2Fus-east-1%2Fsts%2Faws4_request&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=00 "), "Authorization:", "Authorised:", 1), sigv4.NoAuthorization},
	} {
		t.Run(v.name, func(t *testing.T) {
			if v.wire == good {
				t.Fatal("nothing is changed")
			}
			r, _, err := received(v.wire)
			var refusal *sigv4.Refusal
			if errors.As(err, &refusal) != (v.want != "") || err == nil || v.want != "" && refusal.Reason != v.want {
				t.Errorf("%v, want %q\n%.500s", err, v.want, v.wire)
			}
			if v.want != "" && r == nil {
				t.Error("net/http refused it")
			}
		})
	}
}

// authentic is the verifier a second time, for a request that has been read.
func authentic(r *http.Request, body string) bool {
	if len(r.Header["Authorization"]) != 1 || len(r.Header["X-Amz-Date"]) != 1 || r.Header["X-Amz-Date"][0] != c {
		return false
	}
	fields := map[string]string{}
	rest, _ := strings.CutPrefix(r.Header["Authorization"][0], "AWS4-HMAC-SHA256 ")
	for _, part := range strings.Split(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		fields[name] = value
	}
	list := strings.Split(fields["SignedHeaders"], ";")
	values := map[string][]string{"host": {oneBlank(r.Host)}}
	for name, given := range r.Header {
		name = strings.ToLower(name)
		if strings.HasPrefix(name, "x-amz-") && !slices.Contains(list, name) {
			return false
		}
		for _, v := range given {
			values[name] = append(values[name], oneBlank(v))
		}
	}
	id, scope, _ := strings.Cut(fields["Credential"], "/")
	part := strings.Split(scope, "/")
	if id != "AKIDEXAMPLE" || len(part) != 4 || part[0] != c[:8] || part[3] != "aws4_request" || !slices.Contains(list, "host") || len(values["x-amz-security-token"]) > 0 && values["x-amz-security-token"][0] != "" {
		return false
	}
	uri := r.RequestURI
	if i := strings.Index(uri, "://"); i >= 0 && !strings.HasPrefix(uri, "/") {
		uri = uri[i+3:]
		uri = uri[min(len(uri), len(r.URL.Host)):]
	}
	if path, query, found := strings.Cut(uri, "?"); path == "" {
		uri = "/"
		if found {
			uri += "?" + query
		}
	}
	return fields["Signature"] == plainSignature(exampleSecret, part[0], part[1], part[2], "AWS4-HMAC-SHA256\n"+c+"\n"+scope,
		canonicalRequest(r.Method, uri, body, fields["SignedHeaders"], values))
}

// FuzzVerifyRequest signs a request, changes its bytes on the way to the server
// and wants the verdict of a second verifier, which reads the request line
// itself. Whatever net/http makes of the bytes, nothing is accepted that was not
// signed so.
func FuzzVerifyRequest(f *testing.F) {
	f.Add("POST", "/", "Action=A", "X-Amz-Target", "A.B", "", uint16(0), uint16(0), "")
	f.Add("GET", "/a%20b//c?b=2&a=1+2", "", "Accept", " a   b ", "", uint16(4), uint16(1), "%2f")
	f.Add("POST", "/", "x", "X-Amz-Meta", "a,b", "host;x-amz-date;x-amz-meta", uint16(36), uint16(0), "X-Amz-Meta: b\r\n")
	f.Add("POST", "/", "x", "Accept", "a", "", uint16(17), uint16(0), "Transfer-Encoding: chunked\r\n")
	f.Add("POST", "/", "x", "Accept", "a", "", uint16(5), uint16(1), "http://iam.example/")
	f.Add("POST", "/", "x", "Accept", "a", "", uint16(5), uint16(1), "sts:x")
	f.Add("POST", "/", "x", "Accept", "a", "", uint16(5), uint16(1), "sts:")
	f.Add("CONNECT", "/", "x", "Accept", "a", "", uint16(8), uint16(1), "sts.example")
	f.Add("POST", "/", "x", "Accept", "a", "host;host;x-amz-date", uint16(17), uint16(0), "X-Amz-Security-Token: \r\n")
	f.Add("POST", "/", "x", "Accept", "a", "", uint16(5), uint16(1), "*")
	f.Add("POST", "/", "x", "Accept", "a", "", uint16(36), uint16(0), " \r\n")
	f.Add("POST", "/", "x", "Accept", "a", "accept ;host;x-amz-date", uint16(17), uint16(0), "Accept : b\r\n")
	f.Add("POST", "/%22", "x", "Accept", "a", "", uint16(6), uint16(3), `"`)
	f.Fuzz(func(t *testing.T, method, uri, body, name, value, list string, position, length uint16, insert string) {
		m := message{method, uri, body, [][2]string{{"Host", "sts.example"}, {"X-Amz-Date", c}, {name, value}}, list}
		wire := []byte(m.wire())
		at := min(int(position), len(wire))
		wire = append(append(bytes.Clone(wire[:at]), insert...), wire[min(len(wire), at+int(length)):]...)
		r, got, err := received(string(wire))
		if r == nil {
			return
		}
		var refusal *sigv4.Refusal
		if err != nil && !errors.As(err, &refusal) {
			t.Fatalf("%v is no refusal", err)
		}
		if err == nil && !authentic(r, got) {
			t.Errorf("accepted\n%q", wire)
		}
		if err != nil && strings.Contains(err.Error(), exampleSecret) {
			t.Errorf("the refusal holds a secret: %v", err)
		}
	})
}
