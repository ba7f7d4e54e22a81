package resp_test

import (
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rediam/rediam/internal/installed"
	"github.com/rediam/rediam/internal/resp"
)

func dial(t *testing.T, socket string) net.Conn {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// ask sends a request and PING, and returns the bytes that came before PONG
// with what Replies tells about their frames.
func ask(t *testing.T, conn net.Conn, request []byte) (raw []byte, shown []string) {
	t.Helper()
	if _, err := conn.Write(resp.AppendCommand(request, "PING")); err != nil {
		t.Fatal(err)
	}
	var r resp.Replies
	buf := make([]byte, 1)
	for start := 0; ; {
		if _, err := conn.Read(buf); err != nil {
			t.Fatalf("after %q: %v", raw, err)
		}
		raw = append(raw, buf...)
		_, done, err := r.Feed(buf)
		if err != nil {
			t.Fatalf("%q: %v", raw, err)
		}
		if !done {
			continue
		}
		if string(raw[start:]) == "+PONG\r\n" {
			return raw[:start], shown
		}
		shown = append(shown, string(r.Type())+" "+string(r.Head(0)))
		start = len(raw)
	}
}

func TestARealServersRepliesAreFramed(t *testing.T) {
	socket := installed.Engine(t, "redis-server", "--enable-debug-command", "yes")
	// What DEBUG PROTOCOL answers in RESP2 and in RESP3.
	for _, tt := range []struct{ kind, resp2, resp3 string }{
		{"string", "$ Hello World", "$ Hello World"},
		{"integer", ": 12345", ": 12345"},
		{"double", "$ 3.141", ", 3.141"},
		{"null", "$ ", "_ "},
		{"array", "* 0", "* 0"},
		{"set", "* 0", "~ 0"},
		{"map", "* 0", "% 0"},
		{"attrib", "$ Some real reply following the attribute", "$ Some real reply following the attribute"},
		{"push", "- ERR", "> server-cpu-usage|$ Some real reply following the push reply"},
		{"verbatim", "$ This is a verbatim\nstring", "= txt:This is a verbatim\nstring"},
		{"true", ": 1", "# t"},
		{"false", ": 0", "# f"},
		{"bignum", "$ 1234567999999999999999999999999999999", "( 1234567999999999999999999999999999999"},
	} {
		t.Run(tt.kind, func(t *testing.T) {
			conn := dial(t, socket)
			request := resp.AppendCommand(nil, "DEBUG", "PROTOCOL", tt.kind)
			raw2, got2 := ask(t, conn, request)
			_, greeting := ask(t, conn, resp.AppendCommand(nil, "HELLO", "3"))
			raw3, got3 := ask(t, conn, request)
			if len(got2) != 1 || !strings.HasPrefix(got2[0], tt.resp2) || strings.Join(got3, "|") != tt.resp3 {
				t.Errorf("got %q and %q, want %q and %q", got2, got3, tt.resp2, tt.resp3)
			}
			if !slices.Equal(greeting, []string{"% server"}) {
				t.Errorf("HELLO 3 gave %q", greeting)
			}
			checkReplies(t, slices.Concat(raw2, raw3))
		})
	}
}

func TestAPushInARealTransactionIsNoElement(t *testing.T) {
	conn := dial(t, installed.Engine(t, "redis-server"))
	for _, request := range []string{"HELLO 3", "SUBSCRIBE a"} {
		ask(t, conn, []byte(request+"\r\n"))
	}
	raw, got := ask(t, conn, []byte("MULTI\r\nPUBLISH a m\r\nGET k\r\nEXEC\r\n"))
	exec := slices.Index(got, "* 1")
	// Where the push stands differs among server versions.
	if exec < 0 || !strings.Contains(string(raw), ">3\r\n$7\r\nmessage\r\n") {
		t.Errorf("%q was read as %q, want an array beginning with 1, and a push", raw, got)
	}
	checkReplies(t, raw)
}

// refusal is what the server answers to data before it closes.
func refusal(t *testing.T, socket, data string) string {
	t.Helper()
	conn := dial(t, socket)
	if _, err := conn.Write([]byte(data)); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Fatalf("%q: %v after %q", data, err, answer)
	}
	return string(answer)
}

func TestErrorsAreARealServersErrors(t *testing.T) {
	socket := installed.Engine(t, "redis-server")
	for _, tt := range requests {
		if !tt.same {
			continue
		}
		if got, want := refusal(t, socket, tt.data), "-"+tt.want[0]+"\r\n"; got != want {
			t.Errorf("%s: the server answers %q, want %q", tt.name, got, want)
		}
	}
}

func TestLimitsBeforeSignInAreARealServersLimits(t *testing.T) {
	socket := installed.Engine(t, "redis-server", "--requirepass", "secret")
	for _, tt := range limits {
		if !tt.l.Unauthenticated {
			continue
		}
		if got, want := refusal(t, socket, tt.past), "-ERR Protocol error: "+tt.want+"\r\n"; got != want {
			t.Errorf("%s: the server answers %q, want %q", tt.name, got, want)
		}
	}
	auth := resp.AppendCommand(nil, "AUTH", strings.Repeat("x", 16384))
	if got := refusal(t, socket, string(auth)+"QUIT\r\n"); !strings.HasPrefix(got, "-WRONGPASS") {
		t.Errorf("a password of 16,384 bytes: %q, want WRONGPASS", got)
	}
}

func TestInlineRequestsAreSplitAsARealServerDoes(t *testing.T) {
	socket := installed.Engine(t, "redis-server")
	conn := dial(t, socket)
	for _, tt := range inlines {
		if tt.want == nil {
			if got := refusal(t, socket, tt.line+"\r\n"); got != "-ERR Protocol error: unbalanced quotes in request\r\n" {
				t.Errorf("%q: the server answers %q", tt.line, got)
			}
			continue
		}
		want := resp.AppendArrayHeader(nil, len(tt.want))
		for _, arg := range tt.want {
			want = resp.AppendBulk(want, arg)
		}
		ask(t, conn, []byte("DEL list\r\nRPUSH list "+tt.line+"\r\n"))
		if got, _ := ask(t, conn, []byte("LRANGE list 0 -1\r\n")); string(got) != string(want) {
			t.Errorf("%q: the server has %q, want %q", tt.line, got, want)
		}
	}
}
