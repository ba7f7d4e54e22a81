package proxy_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/rediam/rediam/internal/command"
	"github.com/rediam/rediam/internal/proxy"
	"github.com/rediam/rediam/internal/resp"
)

// farewells are what clients do besides scripts, with "yes" if their connection must be
// one that the next client can have.
var farewells = map[string]string{
	"PING|SET k v|GET k|EVAL return(1) 0|PUBLISH none m|CLIENT ID|TIME": "yes",
	"HELLO 3|HGETALL h|GET k":                      "yes",
	"HELLO 3 AUTH u p SETNAME me|CLIENT GETNAME":   "yes",
	"SELECT 3|SET k v":                             "yes",
	"MULTI|SELECT 3|EXEC":                          "yes",
	"CLIENT SETNAME me|CLIENT SETINFO LIB-NAME me": "yes",
	"WATCH k|GET k":                                "yes",
	"WATCH k|MULTI|SET k 1|EXEC":                   "yes",
	"MULTI|SET k 1|DISCARD":                        "yes",
	"BLPOP none 0.01":                              "yes",
	"AUTH u p|GET k":                               "yes",
	"EVAL return(redis.call('select',3)) 0":        "yes",
	"MULTI|SET k 1":                                "no",
	"READONLY":                                     "no",
	"ASKING":                                       "no",
	"RESET":                                        "no",
	"CLIENT NO-EVICT ON":                           "no",
	"CLIENT NO-TOUCH ON":                           "no",
	"CLIENT TRACKING ON":                           "no",
	"HELLO 3|CLIENT TRACKING ON BCAST|HELLO 2":     "no",
	"CLIENT CAPA redirect":                         "no",
	"CLIENT IMPORT-SOURCE ON":                      "no",
	"CLIENT REPLY OFF":                             "no",
	"CLIENT REPLY SKIP":                            "no",
	"SUBSCRIBE a":                                  "no",
	"HELLO 3|PSUBSCRIBE p*":                        "no",
	"MONITOR":                                      "no",
	"SCRIPT DEBUG YES":                             "no",
	"BLPOP none 0":                                 "no",
	"NOSUCH k":                                     "no", // it may be a module's
}

// harmful are commands that the test does not send: they are for the whole server.
var harmful = regexp.MustCompile(`^(shutdown|replicaof|slaveof|failover|debug|config|module|acl|cluster|sync|psync|replconf|quit|client\|(kill|pause))`)

// probe asks for all that a server tells of a connection, and for what it does not tell.
func probe(t *testing.T, socket string, l *link) string {
	t.Helper()
	other := dialServer(t, socket)
	defer other.Close()
	fresh := &link{t: t, server: l.server, piece: 4096} // the next client's session
	for _, request := range []string{"CLIENT INFO", "MULTI", "GET probe"} {
		fresh.send(resp.AppendCommand(nil, strings.Split(request, " ")...))
	}
	fresh.read(patience, func() bool { return strings.Contains(string(fresh.received), "QUEUED") })
	for _, key := range []string{"k", "probe"} { // what is watched has changed
		toucher := &link{t: t, server: other, piece: 4096}
		toucher.send(resp.AppendCommand(nil, "SET", key, "touched"))
		toucher.read(patience, toucher.session.Answered)
	}
	for _, request := range []string{"EXEC", "HGETALL none", "CLIENT GETREDIR", "ECHO " + marker} {
		fresh.send(resp.AppendCommand(nil, strings.Split(request, " ")...))
	}
	if !fresh.read(patience, fresh.ended) {
		t.Fatalf("the next client received %q", fresh.received)
	}
	return own.ReplaceAllString(string(fresh.received), "")
}

// own is what no two connections have alike; and that of a transaction which is over,
// or of none, Valkey tells no commands or -1.
var own = regexp.MustCompile(`\$[0-9]+\r\nid=|[0-9]+ addr=|(l?addr|fd|age|idle|qbuf|qbuf-free|argv-mem|tot-mem|rbs|rbp|events|tot-net-in|tot-net-out|tot-cmds)=[^ ]*|multi=(0|-1)`)

// Whatever a client does, its connection is either not given to another or is to that
// one like a new one.
func TestNothingOfAClientIsLeftForTheNext(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, socket string) {
		want := probe(t, socket, &link{t: t, server: dialServer(t, socket)})
		all := map[string]string{}
		for script, kept := range farewells {
			all[script] = kept
		}
		for _, script := range scripts {
			all[script] = "perhaps"
		}
		for c := range command.All() {
			if !harmful.MatchString(c.Name) {
				request := strings.ReplaceAll(c.Name, "|", " ") + " k 1 2 3 4 5 6"
				arity := max(c.Arity, -c.Arity)
				all[strings.Join(strings.Split(request, " ")[:min(arity, 8)], " ")] = "perhaps"
			}
		}
		kept := 0
		for script, keep := range all {
			for _, piece := range []int{1, 4096} {
				l := &link{t: t, server: dialServer(t, socket), piece: piece}
				l.session.Keep = true
				for _, request := range strings.Split(script, "|") {
					l.send(resp.AppendCommand(nil, words(request)...))
				}
				wait := 4 * settle
				if keep == "yes" {
					wait = patience
				}
				l.read(wait, func() bool { return l.session.Answered() && len(l.pending) == 0 })
				up, ok := l.session.Leave()
				if ok {
					l.server.Write(up)
					received := len(l.received)
					l.read(patience, l.session.Answered)
					if len(l.received) > received {
						t.Errorf("%s: the client that has gone was sent %q", script, l.received[received:])
					}
					_, ok = l.session.Left()
				}
				if keep != "perhaps" && ok != (keep == "yes") {
					t.Errorf("%s: kept is %v, want %s", script, ok, keep)
				}
				if ok {
					kept++
					if got := probe(t, socket, l); got != want {
						t.Errorf("%s: the next client sees\n%s\nwant\n%s", script, got, want)
					}
				}
				l.server.Close()
			}
		}
		t.Logf("%d of %d connections were kept", kept, 2*len(all))
	})
}

// QUIT ends the client's connection, and not the server's, if nothing is to be done
// before.
func TestQUITOfAConnectionThatIsKeptIsAnsweredHere(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, socket string) {
		l := &link{t: t, server: dialServer(t, socket), piece: 4096}
		l.session.Keep = true
		l.send(resp.AppendCommand(nil, "GET", "none"))
		l.read(patience, l.session.Answered)
		n, up, err := l.session.Client(resp.AppendCommand(nil, "QUIT"), false)
		if err == nil || len(up) > 0 {
			t.Fatalf("Client(QUIT) = %d, %q, %v", n, up, err)
		}
		if got := joined(l.session.Local()); got != "+OK\r\n" {
			t.Errorf("QUIT is answered with %q", got)
		}
		if _, ok := l.session.Leave(); !ok {
			t.Error("the connection is not kept")
		}
	})
}

// What a request leaves behind does not depend on how it is written.
func TestEveryCommandLeavesTheSameHoweverItIsWritten(t *testing.T) {
	for c := range command.All() {
		words := append(strings.Split(c.Name, "|"), "a", "b")
		left := map[string]string{}
		for _, name := range []string{c.Name, strings.ToUpper(c.Name)} {
			copy(words, strings.Split(name, "|"))
			for how, request := range map[string]string{
				"array": string(resp.AppendCommand(nil, words...)), "inline": strings.Join(words, " ") + "\r\n",
			} {
				s := proxy.Session{Keep: true}
				_, _, err := s.Client([]byte(request), false)
				s.Server([]byte("+OK\r\n"))
				up, ok := s.Leave()
				left[how+" "+name] = fmt.Sprint(err, ok, string(up))
			}
		}
		for how, what := range left {
			if want := left["inline "+c.Name]; what != want {
				t.Errorf("%s leaves %q, inline %s %q", how, what, c.Name, want)
			}
		}
	}
}
