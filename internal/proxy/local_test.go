package proxy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rediam/rediam/internal/proxy"
	"github.com/rediam/rediam/internal/resp"
)

const (
	noAuth    = "-NOAUTH Authentication required.\r\n"
	wrongPass = "-WRONGPASS invalid username-password pair or user is disabled.\r\n"
	syntax    = "-ERR syntax error\r\n"
)

// An exchange is what a client says, what the server gets of it and what the client
// is answered without the server.
type exchange struct{ request, up, answer string }

func TestNothingReachesTheServerBeforeThePassword(t *testing.T) {
	command := func(words ...string) string { return string(resp.AppendCommand(nil, words...)) }
	hello := "-NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time\r\n"
	for name, exchanges := range map[string][]exchange{
		"AUTH": {{command("GET", "k"), "", noAuth}, {command("SUBSCRIBE", "a"), "", noAuth}, {command("MULTI"), "", noAuth}, {"\r\n", "", ""}, {command("HELLO"), "", hello},
			{command("HELLO", "3", "SETNAME", "x"), "", hello}, {command("AUTH", "guess"), "", wrongPass}, {command("AUTH", "u", "sesame "), "", wrongPass},
			{command("AUTH", "u", "sesame", "x"), "", syntax}, {command("AUTH"), "", syntax}, {command("RESET"), "", "+RESET\r\n"},
			{command("AUTH", "sesame"), "", "+OK\r\n"}, {command("GET", "k"), command("GET", "k"), ""}},
		"AUTH with a user, inline": {{"auth any sesame\r\n", "", "+OK\r\n"}, {"GET k\r\n", "GET k\r\n", ""}},
		"HELLO":                    {{command("HELLO", "3", "AUTH", "u", "no"), "", wrongPass}, {command("HELLO", "3", "SETNAME", "x", "AUTH", "u", "sesame"), command("HELLO", "3", "SETNAME", "x"), ""}},
		"a wrong one after the right one": {{command("AUTH", "sesame"), "", "+OK\r\n"}, {command("AUTH", "no"), "", wrongPass},
			{command("HELLO", "3", "AUTH", "u", "no"), "", wrongPass}, {command("GET", "k"), command("GET", "k"), ""}},
	} {
		s := proxy.Session{Password: "sesame"}
		for _, e := range exchanges {
			n, up, err := s.Client([]byte(e.request), false)
			if err != nil || n != len(e.request) || joined(up) != e.up || joined(s.Local()) != e.answer {
				t.Errorf("%s: %q: took %d, %v; the server gets %q, want %q", name, e.request, n, err, joined(up), e.up)
			}
		}
		if s.Locked() {
			t.Errorf("%s: it is locked still", name)
		}
	}
}

func joined(parts [][]byte) (all string) {
	for _, part := range parts {
		all += string(part)
	}
	return all
}

// The client is bound by what Redis takes before a sign-in.
func TestRequestsBeforeThePasswordAreBounded(t *testing.T) {
	for request, want := range map[string]string{
		"*11\r\n":                        "unauthenticated multibulk length",
		"*2\r\n$4\r\nAUTH\r\n$16385\r\n": "unauthenticated bulk length",
	} {
		s := proxy.Session{Password: "sesame"}
		if _, _, err := s.Client([]byte(request), false); err == nil || !strings.Contains(joined(s.Local()), want) {
			t.Errorf("%q: %v", request, err)
		}
	}
	s := proxy.Session{Password: "sesame"}
	large := fmt.Sprintf("*3\r\n$4\r\nAUTH\r\n$16384\r\n%s\r\n$16384\r\n%s", strings.Repeat("u", 16384), strings.Repeat("p", 10000))
	if _, up, err := s.Client([]byte(large), true); err == nil || len(up) > 0 {
		t.Errorf("more than there is room for: %v, and %d parts for the server", err, len(up))
	}
	s = proxy.Session{Password: "sesame"}
	for _, request := range []string{"AUTH sesame\r\n", fmt.Sprintf("*12\r\n%s", strings.Repeat("$1\r\nx\r\n", 12)), "*2\r\n$4\r\nECHO\r\n$20000\r\n"} {
		if _, _, err := s.Client([]byte(request), false); err != nil {
			t.Errorf("%q after the password: %v", request, err)
		}
	}
}

// RESET signs the client out too.
func TestRESETWantsThePasswordAgain(t *testing.T) {
	s := proxy.Session{Password: "sesame"}
	s.Client([]byte("AUTH sesame\r\nRESET\r\n"), false)
	if down, err := s.Server([]byte("+RESET\r\n")); err != nil || joined(down) != "+OK\r\n+RESET\r\n" || !s.Locked() {
		t.Errorf("answered %q, %v, locked %v", joined(down), err, s.Locked())
	}
	s.Renew("u", "token", func(error) {})
	s.Server([]byte("+OK\r\n*2\r\n$5\r\nproto\r\n:2\r\n"))
	if _, up, _ := s.Client([]byte("GET k\r\n"), false); len(up) > 0 || joined(s.Local()) != noAuth {
		t.Errorf("the server gets %q", joined(up))
	}
}

func TestWrongPasswordsAreCounted(t *testing.T) {
	s := proxy.Session{Password: "sesame"}
	s.Client([]byte("AUTH a\r\nAUTH b c\r\nHELLO 3 AUTH u no\r\nAUTH sesame\r\nAUTH again\r\n"), false)
	if s.WrongPasswords() != 4 {
		t.Errorf("WrongPasswords() = %d, want 4", s.WrongPasswords())
	}
}
