package proxy_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rediam/rediam/internal/installed"
	"github.com/rediam/rediam/internal/proxy"
	"github.com/rediam/rediam/internal/resp"
)

const (
	room     = 4096 // for requests that are held whole
	patience = 10 * time.Second
	user     = "orders-app"
	password = "a-password-of-the-test"
	marker   = "the-end-of-the-script"
)

// scripts are what clients do that has to do with the state of a connection. Each
// is answered to the byte as it is without a proxy, however often the connection is
// signed in again meanwhile.
var scripts = map[string]string{
	"commands":                       `SET k v|GET k|NOSUCH|INCR k|MGET k none|DEL k`,
	"a transaction":                  `MULTI|SET k 1|INCR k|GET k|EXEC|GET k`,
	"a transaction discarded":        `MULTI|SET k 1|DISCARD|GET k|DISCARD`,
	"DISCARD that is wrong":          `MULTI|SET k 1|DISCARD now|GET k|EXEC`,
	"EXEC that is wrong":             `MULTI|NOSUCH|EXEC|EXEC now|GET k`,
	"MULTI in MULTI":                 `MULTI|MULTI|SET k 1|EXEC|GET k|RESET-STATE`,
	"WATCH":                          `SET k 1|WATCH k|SET k 2|MULTI|GET k|EXEC|UNWATCH`,
	"RESP3":                          `HELLO 3|HSET h a 1|HGETALL h|GET none|HELLO 2|HGETALL h|GET none`,
	"HELLO that is wrong":            `HELLO 4|HELLO x|HELLO 3 NOSUCH|HELLO 3 SETNAME me|CLIENT GETNAME`,
	"subscriptions in RESP3":         `HELLO 3|SUBSCRIBE a b a|PSUBSCRIBE p*|SSUBSCRIBE s|PUBLISH a m|GET k|UNSUBSCRIBE a|UNSUBSCRIBE none|PUNSUBSCRIBE|SUNSUBSCRIBE s|GET k`,
	"subscriptions in RESP2":         `SUBSCRIBE a b|PSUBSCRIBE p|PING|PING x|UNSUBSCRIBE a|PUNSUBSCRIBE p|UNSUBSCRIBE b|GET k`,
	"SUBSCRIBE that is refused":      `SUBSCRIBE z y|GET k|HELLO 3|SUBSCRIBE z y|GET k`,
	"messages in RESP2":              `SUBSCRIBE a|PSUBSCRIBE p*|SSUBSCRIBE s|PING|PING x|PING x y|GET k|CLIENT ID|NOSUCH x|GET|AUTH u p|HELLO 3|MULTI|UNSUBSCRIBE|PUNSUBSCRIBE|GET k|SUNSUBSCRIBE|GET k|PING|SET k v|GET k`,
	"subscribed twice over in RESP2": `SUBSCRIBE a|UNSUBSCRIBE a|PING|SUBSCRIBE b|UNSUBSCRIBE|UNSUBSCRIBE|HELLO 3|HGETALL none|HELLO 2|SUBSCRIBE a|UNSUBSCRIBE|QUIT-STATE`,
	"invalidations in RESP2":         `CLIENT TRACKING ON|SET k 1|GET k|SUBSCRIBE a|UNSUBSCRIBE a|CLIENT TRACKING OFF`,
	"what a subscriber must not do":  `SUBSCRIBE a|EXEC|EXEC x|RESET x|MULTI x|CLIENT REPLY OFF|HELLO 2|UNSUBSCRIBE|GET k`,
	"MULTI, DISCARD that are wrong":  `MULTI x|GET k|DISCARD x|MULTI|DISCARD x|SET k 1|EXEC x|GET k`,
	"a transaction that is silent":   `MULTI|EXEC|CLIENT REPLY SKIP|MULTI|SET k 1|EXEC|CLIENT REPLY OFF|MULTI|EXEC|CLIENT REPLY ON|GET k`,
	"HELLO that is silent and wrong": `HELLO 3|CLIENT REPLY OFF|HELLO 4|HELLO 2 NOSUCH|CLIENT REPLY ON|SUBSCRIBE a|UNSUBSCRIBE a`,
	"CLIENT CACHING, another CLIENT": `HELLO 3|CLIENT TRACKING ON OPTIN|SET k 1|CLIENT CACHING YES|CLIENT GETNAME|GET k|SET k 2|CLIENT TRACKING OFF`,
	"all subscriptions ended":        `SUBSCRIBE a b|UNSUBSCRIBE|UNSUBSCRIBE|GET k`,
	"SUBSCRIBE that is wrong":        `SUBSCRIBE|GET k|SUBSCRIBE a|UNSUBSCRIBE a`,
	"replies off":                    `CLIENT REPLY OFF|SET k 1|GET k|CLIENT REPLY SKIP|GET k|CLIENT REPLY ON|GET k`,
	"replies off, subscribed":        `HELLO 3|CLIENT REPLY OFF|SUBSCRIBE a|PUBLISH a m|CLIENT REPLY ON|GET k`,
	"a reply skipped":                `SET k 1|CLIENT REPLY SKIP|INCR k|GET k|CLIENT REPLY SKIP|CLIENT REPLY SKIP|GET k|GET k`,
	"SKIP and an answer of ours":     `CLIENT REPLY SKIP|AUTH x y|GET k|CLIENT REPLY OFF|AUTH x y|CLIENT REPLY ON|GET k`,
	"tracking, opted in":             `HELLO 3|CLIENT TRACKING ON OPTIN|SET k 1|CLIENT CACHING YES|GET k|SET k 2|GET k|SET k 3|CLIENT TRACKING OFF`,
	"tracking, opted out":            `HELLO 3|CLIENT TRACKING ON OPTOUT|SET k 1|CLIENT CACHING NO|GET k|SET k 2|GET k|SET k 3|CLIENT TRACKING OFF`,
	"blocked":                        `BLPOP none 0.05|RPUSH l 1 2|BLPOP l 1|LRANGE l 0 -1`,
	"a script":                       `EVAL return{KEYS[1],redis.call('get',KEYS[1])} 1 k|SET k v|EVAL return{1,{2,{3,'x'}}} 0`,
	"another database":               `SELECT 1|SET k one|SELECT 0|GET k|SELECT 1|GET k|SELECT 0`,
	"sign-ins of its own":            `AUTH x y|AUTH y|GET k|HELLO 2 SETNAME me|CLIENT GETNAME`,
}

// expected differences: what the session answers by itself.
func words(command string) []string {
	if command == "RESET-STATE" || command == "QUIT-STATE" { // valkey 8 answers EXEC after MULTI in MULTI otherwise; what counts is that all agree
		return []string{"PING"}
	}
	return strings.Split(command, " ")
}

// link is a session between a client, which is the test, and a real server.
type link struct {
	t       *testing.T
	session proxy.Session
	server  net.Conn
	piece   int // bytes that go in at a time, in either direction

	pending  []byte // of the client, not taken yet
	received []byte // by the client
	renewals int
	refused  []error
}

func dialServer(t *testing.T, socket string) net.Conn {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	conn.Write(resp.AppendCommand(nil, "AUTH", user, password))
	answer := make([]byte, 5)
	if _, err := io.ReadFull(conn, answer); err != nil || string(answer) != "+OK\r\n" {
		t.Fatalf("AUTH: %q, %v", answer, err)
	}
	return conn
}

// send has the session take all that the client sends.
func (l *link) send(b []byte) {
	l.t.Helper()
	for len(b) > 0 {
		n := min(l.piece, len(b))
		l.pending, b = append(l.pending, b[:n]...), b[n:]
		l.take()
	}
}

func (l *link) take() {
	l.t.Helper()
	n, up, err := l.session.Client(l.pending, len(l.pending) >= room)
	if err != nil {
		l.t.Fatalf("Client(%q): %v", l.pending, err)
	}
	for _, part := range up {
		if _, err := l.server.Write(part); err != nil {
			l.t.Fatal(err)
		}
	}
	l.pending = append([]byte(nil), l.pending[n:]...)
	for _, part := range l.session.Local() {
		l.received = append(l.received, part...)
	}
}

// read takes what the server sends until done, for no longer than d.
func (l *link) read(d time.Duration, done func() bool) bool {
	l.t.Helper()
	buf := make([]byte, l.piece)
	for deadline := time.Now().Add(d); !done(); {
		l.server.SetReadDeadline(deadline)
		n, err := l.server.Read(buf)
		down, wrong := l.session.Server(buf[:n])
		if wrong != nil {
			l.t.Fatalf("Server(%q): %v", buf[:n], wrong)
		}
		for _, part := range down {
			l.received = append(l.received, part...)
		}
		if len(l.pending) > 0 {
			l.take()
		}
		if err != nil {
			return done()
		}
	}
	return true
}

// renew signs in again if that is safe, and waits for the answer.
func (l *link) renew(password string) {
	l.t.Helper()
	answered := false
	up, ok := l.session.Renew(user, password, func(err error) {
		answered = true
		if err != nil {
			l.refused = append(l.refused, err)
		}
	})
	if !ok {
		return
	}
	if _, err := l.server.Write(up); err != nil {
		l.t.Fatal(err)
	}
	if !l.read(patience, func() bool { return answered }) {
		l.t.Fatal("the sign-in was not answered")
	}
	l.renewals++
	l.take()
}

func (l *link) ended() bool { return bytes.HasSuffix(l.received, []byte(marker+"\r\n")) }

// onEveryEngine runs a test with a socket of each engine, where our user may do
// everything.
func onEveryEngine(t *testing.T, test func(t *testing.T, socket string)) {
	for _, name := range []string{"redis-server", "valkey-server"} {
		t.Run(name, func(t *testing.T) {
			test(t, installed.Engine(t, name, "--user", user, "on", ">"+password, "~*", "&a*", "&b", "&p", "&p*", "&s", "&none", "+@all"))
		})
	}
}

// direct is what a client without a proxy receives.
func direct(t *testing.T, socket string, commands []string) string {
	t.Helper()
	conn := dialServer(t, socket)
	defer conn.Close()
	l := &link{t: t, server: conn, piece: 4096}
	for _, command := range commands {
		if strings.HasPrefix(command, "AUTH ") { // answered by the session, and so as if the server knew any password
			command = "AUTH " + user + " " + password
		}
		conn.Write(resp.AppendCommand(nil, words(command)...))
		<-time.After(settle)
	}
	conn.Write(resp.AppendCommand(nil, "ECHO", marker))
	buf := make([]byte, 4096)
	for !l.ended() {
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatalf("after %q: %v", l.received, err)
		}
		l.received = append(l.received, buf[:n]...)
	}
	return withoutID(l.received)
}

// connectionID is in the answer to HELLO, and no connection has that of another.
var connectionID = regexp.MustCompile(`\$2\r\nid\r\n:[0-9]+`)

func withoutID(received []byte) string {
	return connectionID.ReplaceAllString(string(received), "(id)")
}

// settle is how long it may take until a server has pushed what it pushes.
const settle = 5 * time.Millisecond

func TestEveryScriptIsAnsweredAsWithoutAProxy(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, socket string) {
		for name, script := range scripts {
			commands := append([]string{"FLUSHALL"}, strings.Split(script, "|")...)
			want := direct(t, socket, commands)
			for _, piece := range []int{1, 7, 4096} {
				for _, way := range []string{"one by one", "in a pipeline"} {
					l := &link{t: t, server: dialServer(t, socket), piece: piece}
					for _, command := range commands {
						l.send(resp.AppendCommand(nil, words(command)...))
						if way == "one by one" {
							l.read(settle, func() bool { return false })
							l.renew(password)
						}
					}
					l.send(resp.AppendCommand(nil, "ECHO", marker))
					if !l.read(patience, l.ended) || withoutID(l.received) != want {
						t.Errorf("%s, %s, %d bytes at a time:\n got %q\nwant %q", name, way, piece, l.received, want)
					}
					if l.renew(password); way == "one by one" && l.renewals < 2 || len(l.refused) > 0 || l.renewals == 0 {
						t.Errorf("%s, %s: %d sign-ins, refused %v", name, way, l.renewals, l.refused)
					}
					l.server.Close()
				}
			}
		}
	})
}

// Values of any size pass through: none is held.
func TestLargeValuesPassThrough(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, socket string) {
		large := strings.Repeat("a value that is larger than any buffer\r\n+OK\r\n$-1\r\n", 20_000)
		l := &link{t: t, server: dialServer(t, socket), piece: 1500}
		l.send(resp.AppendCommand(resp.AppendCommand(nil, "SET", "large", large), "GET", "large"))
		l.renew(password)
		l.read(patience, l.session.Safe)
		l.renew(password)
		if want := string(resp.AppendBulk([]byte("+OK\r\n"), large)); string(l.received) != want {
			t.Errorf("received %d bytes, want %d", len(l.received), len(want))
		}

		// As a message, to a subscriber of RESP2.
		l.received = nil
		l.send(resp.AppendCommand(nil, "SUBSCRIBE", "a"))
		l.read(patience, func() bool { return l.session.Safe() && len(l.pending) == 0 })
		other := &link{t: t, server: dialServer(t, socket), piece: 4096}
		other.send(resp.AppendCommand(nil, "PUBLISH", "a", large))
		want := string(resp.AppendBulk([]byte("*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$7\r\nmessage\r\n$1\r\na\r\n"), large))
		l.renew(password)
		l.read(patience, func() bool { return len(l.received) >= len(want) })
		l.renew(password)
		if string(l.received) != want || l.renewals < 3 {
			t.Errorf("received %d bytes, want %d; %d sign-ins", len(l.received), len(want), l.renewals)
		}
	})
}

// What others publish comes at any moment, also between our AUTH and its answer.
func TestWhatIsPushedDuringASignInReachesTheClient(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, socket string) {
		other := &link{t: t, server: dialServer(t, socket), piece: 4096}
		l := &link{t: t, server: dialServer(t, socket), piece: 4096}
		l.send(resp.AppendCommand(resp.AppendCommand(nil, "HELLO", "3"), "SUBSCRIBE", "a"))
		l.read(patience, l.session.Safe)
		for i := range 50 {
			other.send(resp.AppendCommand(nil, "PUBLISH", "a", fmt.Sprint("message ", i)))
			other.read(patience, other.session.Safe)
			l.renew(password)
		}
		l.send(resp.AppendCommand(nil, "ECHO", marker))
		if !l.read(patience, l.ended) || bytes.Count(l.received, []byte("message ")) != 50 || l.renewals != 50 {
			t.Errorf("%d sign-ins, received %q", l.renewals, l.received)
		}
	})
}

// A sign-in that is refused changes nothing for the client, whether the server
// answers it or not.
func TestARefusedSignInChangesNothing(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, socket string) {
		l := &link{t: t, server: dialServer(t, socket), piece: 4096}
		for i := range 5 {
			l.renew("a wrong password")
			l.send(resp.AppendCommand(nil, "ECHO", fmt.Sprint(i)))
			if want := fmt.Sprintf("$1\r\n%d\r\n", i); !l.read(patience, func() bool { return bytes.HasSuffix(l.received, []byte(want)) }) {
				t.Fatalf("received %q, want %q", l.received, want)
			}
		}
		if len(l.refused) != 5 || !strings.HasPrefix(l.refused[0].Error(), "WRONGPASS") {
			t.Errorf("refused %v, want 5 times WRONGPASS", l.refused)
		}
	})
}

// RESET signs out: the client is held until the session has signed in again.
func TestAfterRESETTheClientIsSignedInAgain(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, socket string) {
		for name, before := range map[string]string{"idle": "PING", "in MULTI": "MULTI", "subscribed": "SUBSCRIBE a", "in RESP3": "HELLO 3", "monitoring": "MONITOR", "silent": "CLIENT REPLY OFF"} {
			l := &link{t: t, server: dialServer(t, socket), piece: 4096}
			l.send(resp.AppendCommand(nil, words(before)...))
			l.send(resp.AppendCommand(resp.AppendCommand(nil, "RESET"), "ECHO", marker))
			if !l.read(patience, l.session.SignedOut) {
				t.Fatalf("%s: received %q, and is not signed out", name, l.received)
			}
			if len(l.pending) == 0 {
				t.Errorf("%s: a command went to a server that would have refused it", name)
			}
			l.renew("a wrong password")
			if !l.session.SignedOut() {
				t.Errorf("%s: signed in with a wrong password", name)
			}
			l.renew(password)
			if !l.read(patience, l.ended) {
				t.Errorf("%s: received %q after the sign-in", name, l.received)
			}
		}
	})
}

// Where a sign-in would do harm, there is none.
func TestNoSignInGoesInWhereItWouldDoHarm(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, socket string) {
		for name, script := range map[string]string{
			"in a transaction":               "MULTI|SET k 1",
			"after a transaction went on":    "MULTI|DISCARD now",
			"behind CLIENT REPLY OFF":        "CLIENT REPLY OFF",
			"behind CLIENT REPLY SKIP":       "CLIENT REPLY SKIP",
			"behind ASKING":                  "ASKING",
			"behind CLIENT CACHING":          "HELLO 3|CLIENT TRACKING ON OPTIN|CLIENT CACHING YES",
			"silent and subscribed in RESP2": "CLIENT REPLY OFF|SUBSCRIBE a",
			"in RESP2 again, subscribed":     "HELLO 3|SUBSCRIBE a|HELLO 2",
			"MONITOR":                        "MONITOR",
			"silent and subscribed twice":    "HELLO 3|CLIENT REPLY OFF|SUBSCRIBE z|CLIENT REPLY ON|SUBSCRIBE a",
			"MONITOR that is silent":         "CLIENT REPLY OFF|MONITOR|CLIENT REPLY ON",
			"behind CLIENT CACHING, CLIENT":  "HELLO 3|CLIENT TRACKING ON OPTIN|CLIENT CACHING YES|CLIENT GETNAME",
			"DISCARD that is wrong":          "MULTI|DISCARD x",
			"SUBSCRIBE in a transaction":     "MULTI|SUBSCRIBE a|EXEC",
			"CLIENT REPLY in a transaction":  "HELLO 3|MULTI|CLIENT REPLY SKIP|EXEC",
			"something unanswered":           "BLPOP none 60",
		} {
			l := &link{t: t, server: dialServer(t, socket), piece: 4096}
			for _, command := range strings.Split(script, "|") {
				l.send(resp.AppendCommand(nil, words(command)...))
				l.read(settle, func() bool { return false })
			}
			if l.session.Safe() {
				t.Errorf("%s: safe to sign in", name)
			}
		}
	})
}
