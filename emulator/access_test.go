package emulator_test

import (
	"strings"
	"testing"

	"github.com/rediam/rediam/emulator"
)

func TestAccessStringsAreEnforced(t *testing.T) {
	const nothing = "$-1\r\n"
	rows := []struct {
		access           string
		allowed, refused [][]string
	}{
		{"on ~app:* +@read",
			[][]string{{"GET", "app:1"}, {"MGET", "app:1", "app:2"}, {"STRLEN", "app:1"}},
			[][]string{{"GET", "other"}, {"MGET", "app:1", "other"}, {"SET", "app:1", "v"}, {"PING"}, {"FLUSHALL"}, {"CLIENT", "GETNAME"}}},
		{"on ~* -@all +get",
			[][]string{{"GET", "k"}},
			[][]string{{"SET", "k", "v"}, {"EXISTS", "k"}, {"MULTI"}, {"SUBSCRIBE", "c"}, {"PING"}}},
		{"on ~* &news:* -@all +@pubsub +ping",
			[][]string{{"PUBLISH", "news:1", "m"}, {"PING"}},
			[][]string{{"PUBLISH", "other", "m"}, {"SUBSCRIBE", "other"}, {"SUBSCRIBE", "news:1", "other"}, {"PSUBSCRIBE", "*"}}},
		{"on ~* -@all +client|setname +client|getname",
			[][]string{{"CLIENT", "SETNAME", "n"}, {"CLIENT", "GETNAME"}},
			[][]string{{"CLIENT", "LIST"}, {"CLIENT", "REPLY", "OFF"}, {"CLIENT", "KILL", "TYPE", "normal"}, {"GET", "k"}}},
		{"on %R~r:* %W~w:* +@all",
			[][]string{{"GET", "r:1"}, {"SET", "w:1", "v"}},
			[][]string{{"GET", "w:1"}, {"SET", "r:1", "v"}, {"COPY", "w:1", "r:1"}}},
		{"on ~a:* -@all +set (~b:* +get)",
			[][]string{{"SET", "a:1", "v"}, {"GET", "b:1"}},
			[][]string{{"GET", "a:1"}, {"SET", "b:1", "v"}}},
	}
	onEveryEngine(t, func(t *testing.T, engine string) {
		srv := emulator.Start(t, emulator.Config{Engine: engine})
		for _, row := range rows {
			t.Run(row.access, func(t *testing.T) {
				must(t, srv.PutUser(emulator.User{Name: "demo-user", Access: row.access}))
				w := signedIn(t, srv)
				for _, command := range row.allowed {
					if got := w.do(command...); strings.HasPrefix(got, "-") {
						t.Errorf("%q is answered by %q", command, got)
					}
				}
				for _, command := range row.refused {
					if got := w.do(command...); !strings.HasPrefix(got, "-NOPERM ") {
						t.Errorf("%q is answered by %q", command, got)
					}
				}
				w.wants(ok, "AUTH", "demo-user", token(t, srv, nil))
			})
		}
		must(t, srv.PutUser(emulator.User{Name: "demo-user", Access: "on ~* +@all"}))
		signedIn(t, srv).wants(nothing, "GET", "k")
	})
}

func TestProhibitedCommandsAreRefusedToEverybody(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, engine string) {
		srv := emulator.Start(t, emulator.Config{Engine: engine})
		w := signedIn(t, srv) // on ~* +@all
		for _, line := range []string{
			"CONFIG GET *", "CONFIG SET dir /", "CONFIG REWRITE", "CONFIG RESETSTAT", "DEBUG SLEEP 0", "DEBUG OBJECT k", "SHUTDOWN", "SHUTDOWN NOSAVE",
			"ACL SETUSER demo-user nopass", "ACL DELUSER demo-user", "ACL SAVE", "ACL LOAD", "SLAVEOF 127.0.0.1 1", "REPLICAOF NO ONE", "SAVE", "BGSAVE",
			"BGREWRITEAOF", "MIGRATE 127.0.0.1 1 k 0 1", "SYNC", "PSYNC ? -1", "CLUSTER MEET 127.0.0.1 1", "CLUSTER FAILOVER", "CLUSTER FORGET x",
			"config get *", "cOnFiG GET *",
		} {
			got := w.do(strings.Fields(line)...)
			if !strings.HasPrefix(got, "-NOPERM ") && !strings.HasPrefix(got, "-ERR DEBUG command not allowed.") { // which Redis 7.0 says before
				t.Errorf("%s is answered by %.100q", line, got)
			}
		}
		for _, script := range []string{"return redis.call('config', 'get', '*')", "return redis.call('acl', 'setuser', 'x')", "return redis.call('shutdown')"} {
			if got := w.do("EVAL", script, "0"); !strings.HasPrefix(got, "-") {
				t.Errorf("EVAL %s is answered by %.100q", script, got)
			}
		}
		w.wants(ok, "SET", "k", "v")
	})
}

func TestTheEmbeddedEngineRunsScriptsForUnrestrictedUsersOnly(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	for access, allowed := range map[string]bool{
		"on ~* +@all": true, "on ~* &* +@all": true, "on ~a* +@all": false, "on ~* +@all -flushall": false, "on ~* &c +@all": false, "on %R~* +@all": false,
	} {
		must(t, srv.PutUser(emulator.User{Name: "demo-user", Access: access}))
		if got := signedIn(t, srv).do("EVAL", "return 1", "0"); (got == ":1\r\n") != allowed || !allowed && !strings.HasPrefix(got, "-NOPERM ") {
			t.Errorf("with %q EVAL is answered by %q", access, got)
		}
	}
}

func TestANewAccessStringAppliesToLiveConnections(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, engine string) {
		srv := emulator.Start(t, emulator.Config{Engine: engine})
		w := signedIn(t, srv)
		w.wants(ok, "SET", "k", "v")
		must(t, srv.PutUser(emulator.User{Name: "demo-user", Access: "on ~* +@read"}))
		if got := w.do("SET", "k", "v"); !strings.HasPrefix(got, "-NOPERM") {
			t.Errorf("SET is answered by %q", got)
		}
		w.wants(bulk("v"), "GET", "k")
		must(t, srv.PutUser(emulator.User{Name: "demo-user", Access: "on ~* +@all"}))
		w.wants(ok, "SET", "k", "v")
		must(t, srv.PutUser(emulator.User{Name: "demo-user", Access: "off ~* +@all"}))
		w.wants(ok, "SET", "k", "v") // as in Redis, being off concerns sign-ins
		w.wants(wrongPass, "AUTH", "demo-user", token(t, srv, nil))
	})
}

func TestADeniedCommandDoomsItsTransaction(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, engine string) {
		srv := emulator.Start(t, emulator.Config{Engine: engine})
		must(t, srv.PutUser(emulator.User{Name: "demo-user", Access: "on ~a* +@all"}))
		w := signedIn(t, srv)
		for _, end := range []string{"EXEC", "DISCARD"} {
			w.wants(ok, "MULTI")
			w.wants("+QUEUED\r\n", "SET", "a", "v")
			if got := w.do("SET", "b", "v"); !strings.HasPrefix(got, "-NOPERM") {
				t.Errorf("SET b is answered by %q", got)
			}
			if end == "EXEC" {
				w.wants("-EXECABORT Transaction discarded because of previous errors.\r\n", end)
			} else {
				w.wants(ok, end)
			}
			w.wants("$-1\r\n", "GET", "a")
		}
		w.wants(ok, "MULTI")
		w.wants("+QUEUED\r\n", "SET", "a", "v")
		w.wants("*1\r\n"+ok, "EXEC")
	})
}

func TestAPermissionThatIsTakenAwayIsGoneFromWhatIsUnderWay(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, engine string) {
		srv := emulator.Start(t, emulator.Config{Engine: engine})
		must(t, srv.PutUser(emulator.User{Name: "demo-user", Access: "on ~* &* +@all"}))
		subscriber, other, transaction := signedIn(t, srv), signedIn(t, srv), signedIn(t, srv)
		transaction.wants(ok, "SET", "k", "v")
		subscriber.do("SUBSCRIBE", "c1")
		transaction.wants(ok, "MULTI")
		transaction.wants("+QUEUED\r\n", "GET", "k")
		must(t, srv.PutUser(emulator.User{Name: "demo-user", Access: "on ~* resetchannels &other +@all -get"}))
		subscriber.ends()
		if got := transaction.do("EXEC"); strings.Contains(got, "$1\r\nv") || !strings.HasPrefix(got, "-") && !strings.Contains(got, "NOPERM") {
			t.Errorf("EXEC is answered by %q", got)
		}
		other.wants("+PONG\r\n", "PING")
		transaction.wants("+PONG\r\n", "PING")
	})
}

func TestNobodyBecomesSomebodyElse(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, engine string) {
		srv := emulator.Start(t, emulator.Config{Engine: engine})
		setUp(t, srv)
		must(t, srv.PutUser(emulator.User{Name: "password-user", Access: "on ~p:* +@all", Auth: emulator.AuthPassword, Passwords: []emulator.Secret{"the-first-password"}}))
		w := signedIn(t, srv)
		w.wants("$-1\r\n", "GET", "q")
		w.wants(ok, "AUTH", "password-user", "the-first-password")
		if got := w.do("GET", "q"); !strings.HasPrefix(got, "-NOPERM") {
			t.Errorf("GET is answered by %q", got)
		}
		if s := srv.Sessions("demo"); len(s) != 1 || s[0].User != "password-user" || !s[0].Ends.IsZero() {
			t.Errorf("the sessions are %+v", s)
		}
		w.wants(ok, "AUTH", "demo-user", token(t, srv, nil))
		w.wants("$-1\r\n", "GET", "q")
		if s := srv.Sessions("demo"); len(s) != 1 || s[0].User != "demo-user" || s[0].Ends.IsZero() {
			t.Errorf("the sessions are %+v", s)
		}
	})
}
