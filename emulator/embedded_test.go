package emulator_test

import (
	"bufio"
	"io"
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rediam/rediam/emulator"
	"github.com/rediam/rediam/internal/installed"
)

// A pair is a real redis-server 7.0 and an open cache on the embedded engine that
// says to be the same.
type pair struct {
	t        *testing.T
	srv      *emulator.Server
	real     net.Conn
	replies  *bufio.Reader
	embedded *wire
}

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{t: t, srv: emulator.Start(t, emulator.Config{Engine: "embedded"})}
	conn, err := net.Dial("unix", installed.Engine(t, "redis-server"))
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	p.real, p.replies = conn, bufio.NewReader(conn)
	version := regexp.MustCompile(`redis_version:(7\.0\.\d+)\r`).FindStringSubmatch(p.ask("INFO", "server"))
	switch {
	case version == nil && installed.Required("redis-server"):
		t.Fatal("redis-server is not 7.0")
	case version == nil:
		t.Skip("redis-server is not 7.0")
	}
	must(t, p.srv.PutCache(emulator.Cache{Name: "open", Version: version[1]}))
	p.embedded = dial(t, p.srv, "open")
	return p
}

// ask asks the real server.
func (p *pair) ask(args ...string) string {
	p.t.Helper()
	_, err := io.WriteString(p.real, request(args...))
	must(p.t, err)
	reply, err := readFrame(p.replies)
	must(p.t, err)
	return reply
}

// agree asks both, whose replies must be the same once normal has been applied.
func (p *pair) agree(line string, normal func(string) string) {
	p.t.Helper()
	args := words(line)
	want, got := normal(p.ask(args...)), normal(p.embedded.do(args...))
	if got != want {
		p.t.Errorf("%s is answered by %.500q, want %.500q", line, got, want)
	}
}

func asItIs(s string) string { return s }

// ids masks the numbers of connections.
func ids(s string) string {
	return regexp.MustCompile(`(^|\$2\r\nid\r\n):\d+`).ReplaceAllString(s, "$1:N")
}

// sorted sorts a list of bulk strings, which engines keep in no order.
func sorted(s string) string {
	names := strings.Fields(s)
	slices.Sort(names)
	return strings.Join(names, " ")
}

// unsanitized leaves out a flag about RESTORE that access strings do not have.
func unsanitized(s string) string {
	return strings.NewReplacer("*2\r\n$2\r\non\r\n"+bulk("sanitize-payload"), "*1\r\n$2\r\non\r\n",
		"*2\r\n$3\r\noff\r\n"+bulk("sanitize-payload"), "*1\r\n$3\r\noff\r\n", " sanitize-payload", "").Replace(s)
}

// The exact replies of a real server, in both protocols. A blank within a word is
// written as a dot.
const sameReplies = `
ACL
ACL WHOAMI
ACL WHOAMI x
ACL USERS
ACL LIST
ACL GETUSER default
ACL GETUSER nobody
ACL GETUSER
ACL CAT
ACL CAT nothing
ACL CAT read write
ACL FOO
acl foo bar
ACL DRYRUN default get k
ACL DRYRUN default get
ACL DRYRUN default nothing
ACL DRYRUN default client foo
ACL DRYRUN nobody get k
CLIENT
CLIENT FOO
CLIENT MAINT_NOTIFICATIONS ON
CLIENT ID x
CLIENT GETNAME
CLIENT SETNAME a·b
CLIENT SETNAME worker-1
CLIENT GETNAME
CLIENT SETNAME ""
CLIENT GETNAME
CLIENT LIST TYPE pubsub
CLIENT LIST TYPE MASTER
CLIENT LIST TYPE foo
CLIENT LIST TYPE
CLIENT LIST ID 99999
CLIENT LIST ID 1x
CLIENT LIST ID
CLIENT LIST FOO 1
CLIENT KILL
CLIENT KILL 1.2.3.4:5
CLIENT KILL ID
CLIENT KILL ID 99999
CLIENT KILL ID 0
CLIENT KILL ID x
CLIENT KILL ID 99999 FOO
CLIENT KILL ID 99999 ID 99998
CLIENT KILL ADDR 1.2.3.4:5
CLIENT KILL LADDR 1.2.3.4:5
CLIENT KILL USER default
CLIENT KILL USER nobody
CLIENT KILL TYPE pubsub
CLIENT KILL TYPE foo
CLIENT KILL SKIPME maybe
CLIENT KILL SKIPME yes
CLIENT KILL FOO 1
CLIENT NO-EVICT on
CLIENT NO-EVICT foo
CLIENT GETREDIR
CLIENT REPLY ON
CLIENT REPLY FOO
COMMAND COUNT
COMMAND COUNT x
COMMAND FOO
COMMAND GETKEYS get k
COMMAND GETKEYS mset a 1 b 2
COMMAND GETKEYS eval x 1 k v
COMMAND GETKEYS eval x 5 k
COMMAND GETKEYS sort a by x* get y* store d
COMMAND GETKEYS ping x
COMMAND GETKEYS get a b
COMMAND GETKEYS nothing x
COMMAND INFO nothing
INFO nothing
INFO cluster
CLUSTER
CLUSTER SLOTS x
CLUSTER FOO
MULTI
DISCARD
HELLO 4
HELLO x
HELLO 3 FOO
HELLO 3 SETNAME a·b
CLIENT GETNAME
PING
PING x
ECHO x
SELECT 1
SELECT 0
`

func TestTheEmbeddedEngineAnswersAsARealOne(t *testing.T) {
	for _, protocol := range []string{"2", "3"} {
		t.Run("RESP"+protocol, func(t *testing.T) {
			p := newPair(t)
			p.agree("CLIENT ID", ids)
			p.agree("HELLO "+protocol+" SETNAME n", ids)
			p.agree("CLIENT GETNAME", asItIs)
			p.agree("HELLO", ids)
			for line := range strings.Lines(sameReplies) {
				if line != "\n" {
					p.agree(strings.TrimSpace(line), asItIs)
				}
			}
			p.agree("COMMAND LIST", sorted)
			for _, category := range strings.Fields("keyspace read write set sortedset list hash string bitmap hyperloglog geo stream pubsub admin fast slow dangerous connection transaction SCRIPTING") {
				p.agree("ACL CAT "+category, sorted) // of @blocking is WAIT in Valkey alone
			}
		})
	}
}

// words are those of a line, in which a dot is a blank and "" nothing.
func words(line string) []string {
	args := strings.Fields(line)
	for i := range args {
		args[i] = strings.NewReplacer(`""`, "", "·", " ").Replace(args[i])
	}
	return args
}

// What differs from a real server, and why. Each row is what the embedded engine
// answers.
func TestTheEmbeddedEngineDiffersFromARealOneOnPurpose(t *testing.T) {
	unsupported := func(what string) string { return "-ERR " + what + " is not supported by the embedded engine\r\n" }
	w := signedIn(t, emulator.Start(t, emulator.Config{Engine: "embedded"}))
	for line, want := range map[string]string{
		// A promise that nobody would keep.
		"CLIENT TRACKING ON":  unsupported("CLIENT TRACKING"),
		"CLIENT CACHING YES":  unsupported("CLIENT CACHING"),
		"CLIENT TRACKINGINFO": unsupported("CLIENT TRACKINGINFO"),
		"CLIENT PAUSE 1":      unsupported("CLIENT PAUSE"),
		"CLIENT UNBLOCK 1":    unsupported("CLIENT UNBLOCK"),
		"CLIENT REPLY OFF":    unsupported("CLIENT REPLY OFF or SKIP"),
		"CLIENT REPLY SKIP":   unsupported("CLIENT REPLY OFF or SKIP"),
		"MONITOR":             unsupported("MONITOR"),
		// Not there.
		"CLIENT HELP":                       unsupported("CLIENT HELP"),
		"ACL LOG":                           unsupported("ACL LOG"),
		"ACL GENPASS":                       unsupported("ACL GENPASS"),
		"COMMAND LIST FILTERBY PATTERN get": unsupported("COMMAND LIST FILTERBY"),
		"COMMAND GETKEYSANDFLAGS get k":     unsupported("COMMAND GETKEYSANDFLAGS"),
		// redis-cli shows its own help then, which knows the arguments.
		"COMMAND DOCS":     unsupported("COMMAND DOCS"),
		"COMMAND DOCS get": unsupported("COMMAND DOCS"),
		// Nothing moves between one node and itself.
		"CLUSTER COUNTKEYSINSLOT 1": unsupported("CLUSTER COUNTKEYSINSLOT"),
		"READONLY":                  ok,
		"READWRITE":                 ok,
		// Of Redis 7.2 and Valkey; clients send it to every server.
		"CLIENT SETINFO lib-name go":    ok,
		"CLIENT SETINFO LIB-VER 1.2":    ok,
		"CLIENT SETINFO lib-name a·b":   "-ERR lib-name cannot contain spaces, newlines or special characters.\r\n",
		"CLIENT SETINFO lib-colour red": "-ERR Unrecognized option 'lib-colour'\r\n",
		"CLIENT NO-TOUCH off":           ok,
		// What is kept of a client is bounded.
		"CLIENT SETNAME " + strings.Repeat("x", 1025): "-ERR Client names cannot contain spaces, newlines or special characters.\r\n",
		// AWS prohibits it.
		"CONFIG GET save": "-NOPERM User demo-user has no permissions to run the 'config|get' command\r\n",
		// Neither tips nor key specifications, and sets in an order of their own.
		"COMMAND INFO get": "*1\r\n*10\r\n" + bulk("get") + ":2\r\n*2\r\n+fast\r\n+readonly\r\n:1\r\n:1\r\n:1\r\n*3\r\n+@read\r\n+@string\r\n+@fast\r\n*0\r\n*0\r\n*0\r\n",
	} {
		if got := w.do(words(line)...); got != want {
			t.Errorf("%.60s is answered by %.300q, want %.300q", line, got, want)
		}
	}
}

func TestACLTellsOfUsersAsARealOneWould(t *testing.T) {
	p := newPair(t)
	must(t, p.srv.PutUser(emulator.User{Name: "asker", Access: "on ~* &* +@all", Auth: emulator.AuthPassword, Passwords: []emulator.Secret{"the-password-of-asker"}}))
	must(t, p.srv.PutGroup(emulator.Group{ID: "demo-users", Users: []string{"demo-default", "demo-user", "asker"}}))
	p.embedded = dial(t, p.srv, "demo")
	p.embedded.wants(ok, "AUTH", "asker", "the-password-of-asker")
	line := regexp.MustCompile(`user demo-user [^\r]*`) // without the length, which counts no hash
	for _, access := range []string{
		"on ~* &* +@all",
		"off ~* &* -@all",
		"on ~a:* %R~b:* %W~c:* &news:* -@all +@read +set",
		"on resetchannels -@all +get",
		"on ~a:* &* -@all +get (~b:* resetchannels +set) (%R~c:* &c +@all)",
	} {
		must(t, p.srv.PutUser(emulator.User{Name: "demo-user", Access: access}))
		args := append([]string{"ACL", "SETUSER", "demo-user", "reset"}, splitRules(access)...)
		if got := p.ask(args...); got != ok {
			t.Fatalf("ACL SETUSER is answered by %q", got)
		}
		p.agree("ACL GETUSER demo-user", unsanitized)
		p.agree("ACL LIST", func(s string) string { return unsanitized(line.FindString(s)) })
		for _, command := range []string{"get a:1", "get b:1", "mget a:1 x", "set c:1 v", "set b:1 v", "get x", "publish news:1 m", "publish other m", "psubscribe news:*", "flushall", "client id"} {
			p.agree("ACL DRYRUN demo-user "+command, asItIs)
		}
	}
}

// splitRules splits at blanks outside of parentheses.
func splitRules(access string) []string {
	return regexp.MustCompile(`\([^)]*\)|[^ ]+`).FindAllString(access, -1)
}

func TestAUserListHasNoPasswords(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	must(t, srv.PutUser(emulator.User{Name: "demo-user", Access: "on ~* +@all", Auth: emulator.AuthPassword, Passwords: []emulator.Secret{"the-first-password"}}))
	w := dial(t, srv, "demo")
	w.wants(ok, "AUTH", "demo-user", "the-first-password")
	w.wants("*2\r\n"+bulk("user default off nopass &* -@all")+bulk("user demo-user on ~* &* +@all"), "ACL", "LIST")
}

func TestNoLocalAnswerTakesItsPlaceInATransaction(t *testing.T) {
	w := signedIn(t, emulator.Start(t, emulator.Config{Engine: "embedded"}))
	for _, line := range []string{"CLIENT ID", "CLIENT PAUSE 1", "ACL WHOAMI", "COMMAND COUNT", "INFO", "MONITOR"} {
		w.wants(ok, "MULTI")
		w.wants("+QUEUED\r\n", "SET", "k", "v")
		name := strings.TrimSuffix(line, " 1")
		w.wants("-ERR "+name+" is not supported inside MULTI\r\n", strings.Fields(line)...)
		w.wants("-EXECABORT Transaction discarded because of previous errors.\r\n", "EXEC")
		w.wants("$-1\r\n", "GET", "k")
	}
}

func TestLocalAnswersComeInTheirTurn(t *testing.T) {
	w := signedIn(t, emulator.Start(t, emulator.Config{Engine: "embedded"}))
	w.send(request("SET", "k", "v") + request("CLIENT", "SETNAME", "n") + "CLIENT GETNAME\r\n" + request("GET", "k") + request("HELLO", "3") +
		request("CLIENT", "GETNAME") + request("GET", "nothing") + request("CLIENT", "SETNAME", "") + request("CLIENT", "GETNAME") + request("GET", "k"))
	w.gets(ok, ok, bulk("n"), bulk("v"))
	if got := w.reply(); !strings.HasPrefix(got, "%7\r\n") {
		t.Errorf("HELLO is answered by %q", got)
	}
	w.gets(bulk("n"), "_\r\n", ok, "_\r\n", bulk("v"))
}

func TestASubscriberGetsNoLocalAnswer(t *testing.T) {
	w := signedIn(t, emulator.Start(t, emulator.Config{Engine: "embedded"}))
	subscribed := "3\r\n" + bulk("subscribe") + bulk("c") + ":1\r\n"
	w.wants("*"+subscribed, "SUBSCRIBE", "c")
	w.wants("-ERR Can't execute 'client|id': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context\r\n", "CLIENT", "ID")
	w.wants("-ERR Can't execute 'hello': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context\r\n", "HELLO", "3")
	w.wants("*3\r\n"+bulk("unsubscribe")+bulk("c")+":0\r\n", "UNSUBSCRIBE", "c")
	if got := w.do("HELLO", "3"); !strings.HasPrefix(got, "%7\r\n") {
		t.Errorf("HELLO is answered by %q", got)
	}
	w.wants(">"+subscribed, "SUBSCRIBE", "c")
	if got := w.do("CLIENT", "INFO"); !strings.Contains(got, " flags=P sub=1 ") {
		t.Errorf("CLIENT INFO is answered by %q", got)
	}
}
