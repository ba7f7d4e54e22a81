package resp_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/rediam/rediam/internal/resp"
)

// inlines are lines and the arguments that Redis 7.0 splits them into; none
// stands for unbalanced quotes.
var inlines = []struct {
	line string
	want []string
}{
	{`plain words`, []string{"plain", "words"}},
	{"  blanks\t \varound\f  ", []string{"blanks", "around\f"}},
	{"a\vb\fc", []string{"a\vb\fc"}},
	{"a\rb", []string{"a", "b"}},
	{`"a b" 'c d'`, []string{"a b", "c d"}},
	{`"" ''`, []string{"", ""}},
	{`x"quote in a word" y'too'`, []string{"xquote in a word", "ytoo"}},
	{`"\n\r\t\b\a"`, []string{"\n\r\t\b\a"}},
	{`"\x41\xff\x00\xGG\x4"`, []string{"A\xff\x00xGGx4"}},
	{`"\"\\\q"`, []string{`"\q`}},
	{`'\n\x41\' \\x'`, []string{`\n\x41' \\x`}},
	{`a\nb \x41`, []string{`a\nb`, `\x41`}},
	{`"it's" 'say "x"'`, []string{"it's", `say "x"`}},
	{`"open`, nil},
	{`'open`, nil},
	{`"open\"`, nil},
	{`"open\`, nil},
	{`"open\x4`, nil},
	{`'open\'`, nil},
	{`'open\\'`, nil},
	{`"a"b`, nil},
	{`'a'b`, nil},
	{`"a"'b'`, nil},
	{`a"b"c`, nil},
}

func TestInlineRequestsAreSplitAsRedisDoes(t *testing.T) {
	for _, tt := range inlines {
		for _, end := range []string{"", "\n", "\r\n"} {
			got, err := resp.SplitInline([]byte(tt.line + end))
			if tt.want == nil {
				wantError(t, tt.line, err, "ERR Protocol error: unbalanced quotes in request")
				continue
			}
			if err != nil || !slices.EqualFunc(got, tt.want, func(b []byte, s string) bool { return string(b) == s }) {
				t.Errorf("SplitInline(%q) = %q, %v, want %q", tt.line+end, got, err, tt.want)
			}
		}
	}
}

func wantError(t *testing.T, input string, err error, want string) {
	t.Helper()
	if perr := (*resp.ProtocolError)(nil); !errors.As(err, &perr) || perr.Text != want {
		t.Errorf("%q: error %v, want %s", input, err, want)
	}
}

func TestABlankLineHasNoArguments(t *testing.T) {
	for _, line := range []string{"", "\n", "\r\n", " \t\v\f\r\n"} {
		if got, err := resp.SplitInline([]byte(line)); len(got) != 0 || err != nil {
			t.Errorf("SplitInline(%q) = %q, %v, want none", line, got, err)
		}
	}
}

func TestNULInAnInlineRequestIsRefused(t *testing.T) {
	_, err := resp.SplitInline([]byte("PI\x00NG"))
	wantError(t, "NUL", err, "ERR Protocol error: NUL in inline request")
}

func TestAppendingToAnArgumentLeavesTheNextAlone(t *testing.T) {
	args, err := resp.SplitInline([]byte("a b"))
	if err != nil {
		t.Fatal(err)
	}
	if _ = append(args[0], 'X'); string(args[1]) != "b" {
		t.Errorf("the second argument became %q", args[1])
	}
}

func TestHTTPIsToldFromCommands(t *testing.T) {
	for _, line := range []string{
		"GET / HTTP/1.1\r\n", "GET / http/1.0", "PRI * HTTP/2.0\r\n", "PUT / \r\n", "put /x", "POST", "DELETE /",
		"HEAD /", "OPTIONS *", "PATCH /", "CONNECT a:1", "TRACE /", "Host: example.com\r\n", "host:x", " \tPOST /",
	} {
		if !resp.HTTPRequest([]byte(line)) {
			t.Errorf("HTTPRequest(%q) = false", line)
		}
	}
	for _, line := range []string{
		"", "\r\n", "GET key", "PING", "SET k HTTP/1.1x", "POSTER a", "GET POST", "HTTP/1.1", "SET hostname x", "HOST a",
	} {
		if resp.HTTPRequest([]byte(line)) {
			t.Errorf("HTTPRequest(%q) = true", line)
		}
	}
}
