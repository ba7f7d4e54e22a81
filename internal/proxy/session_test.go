package proxy_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/rediam/rediam/internal/proxy"
	"github.com/rediam/rediam/internal/resp"
)

// A session must see the frames that the server sees, or the reply to one client's
// request could be taken for that to another's.
func TestRequestsThatAServerMayReadOtherwiseEndTheSession(t *testing.T) {
	for name, v := range map[string]struct{ request, answer string }{
		"no LF behind CR":              {"*1\rX$4\rYPING\r\n", "-ERR Protocol error: invalid multibulk length\r\n"},
		"no CRLF behind an argument":   {"*1\r\n$4\r\nPINGXX", "-ERR Protocol error: expected CRLF after bulk string\r\n"},
		"bare LF":                      {"*1\n$4\nPING\n", "-ERR Protocol error: invalid multibulk length\r\n"},
		"a number that is not plain":   {"*1\r\n$04\r\nPING\r\n", "-ERR Protocol error: invalid bulk length\r\n"},
		"something else than a string": {"*1\r\n:1\r\n", "-ERR Protocol error: expected '$', got ':'\r\n"},
		"unbalanced quotes":            {"GET \"k\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n"},
		"HTTP":                         {"POST / HTTP/1.1\r\n", ""},
		"a large AUTH":                 {"*3\r\n$4\r\nAUTH\r\n$1\r\nu\r\n$9999\r\n" + strings.Repeat("x", 5000), "-ERR Protocol error: too big a request of this kind\r\n"},
	} {
		var s proxy.Session
		_, up, err := s.Client([]byte(v.request), len(v.request) > 4096)
		if err == nil || len(up) > 0 {
			t.Errorf("%s: %v, and %q went to the server", name, err, up)
		}
		answer := ""
		for _, part := range s.Local() {
			answer += string(part)
		}
		if answer != v.answer {
			t.Errorf("%s: answered %q, want %q", name, answer, v.answer)
		}
	}
}

// What is answered here waits for the answers before it.
func TestAnswersComeInTheOrderOfRequests(t *testing.T) {
	var s proxy.Session
	request := resp.AppendCommand(resp.AppendCommand(resp.AppendCommand(nil, "GET", "k"), "AUTH", "u", "p"), "GET", "l")
	n, up, err := s.Client(request, false)
	if err != nil || n != len(request) || len(up) != 2 {
		t.Fatalf("Client() = %d, %q, %v", n, up, err)
	}
	if early := s.Local(); len(early) > 0 {
		t.Errorf("%q was answered before its turn", early)
	}
	answers := ""
	for _, reply := range []string{"$1\r\n", "1\r\n", "$1\r\n2\r\n"} {
		down, err := s.Server([]byte(reply))
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range down {
			answers += string(part)
		}
	}
	if want := "$1\r\n1\r\n+OK\r\n$1\r\n2\r\n"; answers != want {
		t.Errorf("answers %q, want %q", answers, want)
	}
}

func TestAHeldClientWaitsAtAFrameBoundary(t *testing.T) {
	var s proxy.Session
	request := resp.AppendCommand(nil, "GET", "k")
	if n, up, _ := s.Client(request[:5], false); n != 0 || len(up) > 0 {
		t.Fatalf("took %d bytes of a request that is not whole", n)
	}
	s.Hold(true)
	if n, up, _ := s.Client(request, false); n != 0 || len(up) > 0 || !s.Safe() {
		t.Errorf("took %d bytes while held", n)
	}
	up, ok := s.Renew("u", "p", func(error) {})
	if !ok || !strings.HasPrefix(string(up), "*3\r\n$4\r\nAUTH\r\n") {
		t.Fatalf("Renew() = %q, %v", up, ok)
	}
	s.Hold(false)
	if n, _, _ := s.Client(request, false); n != 0 {
		t.Errorf("took %d bytes before the sign-in was answered", n)
	}
	if down, err := s.Server([]byte("+OK\r\n*2\r\n$5\r\nproto\r\n:2\r\n")); err != nil || len(down) > 0 {
		t.Errorf("the client got %q, %v", down, err)
	}
	if n, up, _ := s.Client(request, false); n != len(request) || len(up) != 1 {
		t.Errorf("took %d bytes after the sign-in", n)
	}
}

// A slow answer to a sign-in need not hold the client.
func TestAnAnswerThatComesLateIsNotTheClients(t *testing.T) {
	var s proxy.Session
	var outcome []error
	if _, ok := s.Renew("u", "p", func(err error) { outcome = append(outcome, err) }); !ok {
		t.Fatal("not safe")
	}
	s.Resume()
	if n, _, _ := s.Client(resp.AppendCommand(nil, "GET", "k"), false); n == 0 {
		t.Error("the client is held still")
	}
	down, err := s.Server([]byte("-WRONGPASS no\r\n%1\r\n$5\r\nproto\r\n:3\r\n$1\r\n1\r\n"))
	if err != nil || len(down) != 1 || string(down[0]) != "$1\r\n1\r\n" || len(outcome) != 1 || outcome[0] == nil {
		t.Errorf("the client got %q, %v; the outcome is %v", down, err, outcome)
	}
}

// Redis 8 and Valkey 8 do not always answer an AUTH that they refuse.
func TestASignInThatIsNotAnsweredIsARefusal(t *testing.T) {
	for name, sentinel := range map[string]string{"RESP2": "*2\r\n$5\r\nproto\r\n:2\r\n", "RESP3": "%1\r\n$5\r\nproto\r\n:3\r\n", "signed out": "-NOAUTH HELLO must be called with the client already authenticated\r\n"} {
		var s proxy.Session
		var outcome []error
		s.Renew("u", "p", func(err error) { outcome = append(outcome, err) })
		if down, err := s.Server([]byte(sentinel)); err != nil || len(down) > 0 || len(outcome) != 1 || outcome[0] == nil || !s.Safe() {
			t.Errorf("%s: the client got %q, %v; the outcome is %v", name, down, err, outcome)
		}
	}
}

// speak gives a session requests and answers, and returns what the server and the
// client get.
func speak(t *testing.T, s *proxy.Session, requests, answers string) (up, down string) {
	t.Helper()
	n, parts, err := s.Client([]byte(requests), false)
	if err != nil || n != len(requests) {
		t.Fatalf("Client(%q) = %d, %v", requests, n, err)
	}
	up = string(bytes.Join(parts, nil))
	down = string(bytes.Join(s.Local(), nil))
	parts, err = s.Server([]byte(answers))
	if err != nil {
		t.Fatalf("Server(%q): %v", answers, err)
	}
	return up, down + string(bytes.Join(parts, nil))
}

// A server takes a blank line for a command, after which nothing is left of CLIENT
// REPLY SKIP.
func TestABlankLineUsesUpWhatIsForTheNextCommand(t *testing.T) {
	var s proxy.Session
	if _, down := speak(t, &s, "CLIENT REPLY SKIP\r\n\r\nAUTH p\r\nGET k\r\n", "$1\r\nv\r\n"); down != "+OK\r\n$1\r\nv\r\n" || !s.Safe() {
		t.Errorf("the client got %q", down)
	}
}

// A server does not answer RESET behind CLIENT REPLY SKIP, and nobody could tell when
// it has been executed.
func TestRESETBehindSKIPEndsTheSession(t *testing.T) {
	var s proxy.Session
	_, up, err := s.Client([]byte("CLIENT REPLY SKIP\r\nRESET\r\nGET k\r\n"), false)
	if err == nil || string(bytes.Join(up, nil)) != "CLIENT REPLY SKIP\r\n" {
		t.Errorf("Client() = %q, %v", up, err)
	}
}

// However often HELLO has them.
func TestNoPasswordOfTheClientReachesTheServer(t *testing.T) {
	for _, request := range []string{"AUTH secret", "AUTH u secret", "HELLO 3 AUTH u secret", "HELLO 3 AUTH u secret SETNAME n AUTH u secret", "HELLO 3 SETNAME n AUTH u secret"} {
		var s proxy.Session
		if up, _ := speak(t, &s, request+"\r\n", ""); strings.Contains(up, "secret") {
			t.Errorf("%s: the server got %q", request, up)
		}
	}
}

// A request that is larger than what is held is still none that a subscriber may make.
func TestALargeRequestOfASubscriberIsRefused(t *testing.T) {
	var s proxy.Session
	s.Client([]byte("SUBSCRIBE a\r\n"), false)
	s.Server([]byte("%1\r\n$5\r\nproto\r\n:3\r\n"))
	speak(t, &s, "SUBSCRIBE a\r\n", ">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n")
	large := resp.AppendCommand(nil, "SET", "k", strings.Repeat("x", 5000))
	n, up, err := s.Client(large[:4096], true)
	if err != nil || n != 4096 || len(up) > 0 {
		t.Fatalf("Client() = %d, %q, %v", n, up, err)
	}
	rest := string(large[4096:]) + "PING\r\n"
	up2, down := speak(t, &s, rest, "+PONG\r\n")
	want := "-ERR Can't execute 'set': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context\r\n*2\r\n$4\r\npong\r\n$0\r\n\r\n"
	if up2 != "PING\r\n" || down != want {
		t.Errorf("the server got %q, and the client %q", up2, down)
	}
}

// A user may have no permission for them.
func TestARefusedMULTIBeginsNothingAndARefusedDISCARDEndsNothing(t *testing.T) {
	const refused = "-NOPERM this user has no permissions to run it\r\n"
	var s proxy.Session
	if speak(t, &s, "MULTI\r\n", refused); !s.Safe() {
		t.Error("in a transaction that was refused")
	}
	speak(t, &s, "MULTI\r\n", "+OK\r\n")
	if speak(t, &s, "DISCARD\r\n", ""); s.Insertable() {
		t.Error("a sign-in may go in behind a DISCARD that may be refused")
	}
	if speak(t, &s, "", refused); s.Safe() {
		t.Error("out of a transaction that was not ended")
	}
	if speak(t, &s, "DISCARD\r\n", "+OK\r\n"); !s.Safe() {
		t.Error("in a transaction that was ended")
	}
}
