package emulator_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/rediam/rediam"
	"github.com/rediam/rediam/emulator"
)

// onServerless runs a test on a serverless cache in front of each engine, signed in.
func onServerless(t *testing.T, test func(t *testing.T, srv *emulator.Server, w *wire)) {
	onEveryEngine(t, func(t *testing.T, engine string) {
		srv := emulator.Start(t, emulator.Config{Engine: engine, Kind: emulator.ServerlessCache})
		w := dial(t, srv, "demo")
		w.wants(ok, "AUTH", "demo-user", token(t, srv, func(s *rediam.Signer) { s.Serverless = true }))
		test(t, srv, w)
	})
}

func TestAServerlessCacheIsOneNodeWithAllSlots(t *testing.T) {
	onServerless(t, func(t *testing.T, srv *emulator.Server, w *wire) {
		host, port, err := net.SplitHostPort(srv.Cache("demo").Addr)
		must(t, err)
		id := strings.Split(w.do("CLUSTER", "MYID"), "\r\n")[1]
		if got, want := w.do("CLUSTER", "SLOTS"), "*1\r\n*3\r\n:0\r\n:16383\r\n*4\r\n"+bulk(host)+":"+port+"\r\n"+bulk(id); !strings.HasPrefix(got, want) {
			t.Errorf("CLUSTER SLOTS is answered by %q, want %q and no more nodes", got, want)
		}
		for _, row := range []struct {
			command string
			has     []string
		}{
			{"CLUSTER NODES", []string{id + " " + host + ":" + port + "@", "myself,master", "0-16383"}},
			{"CLUSTER SHARDS", []string{bulk("slots") + "*2\r\n:0\r\n:16383\r\n" + bulk("nodes") + "*1\r\n", bulk(id), ":" + port + "\r\n", bulk(host)}},
			{"CLUSTER INFO", []string{"cluster_state:ok", "cluster_slots_assigned:16384", "cluster_known_nodes:1\r\n", "cluster_size:1\r\n"}},
			{"INFO", []string{"_mode:cluster\r\n", "cluster_enabled:1\r\n"}},
			{"HELLO", []string{bulk("mode") + bulk("cluster")}},
		} {
			got := w.do(strings.Fields(row.command)...)
			for _, part := range row.has {
				if !strings.Contains(got, part) {
					t.Errorf("%s is answered by %q, want %q in it", row.command, got, part)
				}
			}
		}
	})
}

const crossSlot = "-CROSSSLOT Keys in request don't hash to the same slot\r\n"

func TestKeysOfSeveralSlotsAreRefused(t *testing.T) {
	onServerless(t, func(t *testing.T, srv *emulator.Server, w *wire) {
		const queued, aborted = "+QUEUED\r\n", "-EXECABORT Transaction discarded because of previous errors.\r\n"
		for _, row := range []struct{ line, want string }{
			{"CLUSTER KEYSLOT foo", ":12182\r\n"},
			{"CLUSTER KEYSLOT {foo}.x", ":12182\r\n"},
			{"CLUSTER KEYSLOT foo{}{bar}", ":8363\r\n"},
			{"CLUSTER KEYSLOT foo{{bar}}zap", ":4015\r\n"},
			{"CLUSTER KEYSLOT foo{bar}{zap}", ":5061\r\n"},
			{"MSET a 1 b 2", crossSlot},
			{"MSET {t}a 1 {t}b 2", ok},
			{"MGET {t}a b", crossSlot},
			{"MGET {t}a {t}b", "*2\r\n" + bulk("1") + bulk("2")},
			{"DEL a b", crossSlot},
			{"EXISTS a b", crossSlot},
			{"RENAME {t}a a", crossSlot},
			{"SUNIONSTORE a b c", crossSlot},
			{"EVAL return{KEYS[1]} 2 a b", crossSlot},
			{"EVAL return{KEYS[2]} 2 {t}a {t}b", "*1\r\n" + bulk("{t}b")},
			{"EVAL return{KEYS[1]} 1 a", "*1\r\n" + bulk("a")},
			{"EVAL return{1} 0", "-ERR Lua scripts without any input keys are not supported.\r\n"},
			{"MULTI", ok}, {"SET a 1", queued}, {"SET b 2", queued}, {"EXEC", crossSlot},
			{"EXISTS a", ":0\r\n"},
			{"MULTI", ok}, {"SET a 1", queued}, {"MSET a 1 b 2", crossSlot}, {"EXEC", aborted},
			{"EXISTS a", ":0\r\n"},
			{"MULTI", ok}, {"SET a 1", queued}, {"SET b 2", queued}, {"DISCARD", ok},
			{"MULTI", ok}, {"SET {t}a 3", queued}, {"PING", queued}, {"SET {t}b 4", queued}, {"EXEC", "*3\r\n" + ok + "+PONG\r\n" + ok},
			{"SET b 5", ok},
			{"MULTI", ok}, {"GET {t}a", queued}, {"EXEC", "*1\r\n" + bulk("3")},
			{"MULTI", ok}, {"FLUSHALL", "-ERR FLUSHALL is not supported inside MULTI\r\n"}, {"EXEC", aborted},
			{"SELECT 0", ok},
			{"SELECT 1", "-ERR SELECT is not allowed in cluster mode\r\n"},
			{"DBSIZE", ":3\r\n"},
		} {
			w.wants(row.want, strings.Fields(row.line)...)
		}
		// In one piece, the answers come in their turn.
		w.send(request("SET", "x", "1") + request("MSET", "x", "1", "y", "2") + request("KEYS", "*") + request("GET", "x"))
		w.gets(ok, crossSlot, "-ERR unknown command 'KEYS', with args beginning with: '*' \r\n", bulk("1"))
	})
}

// Valkey has databases in cluster mode from 9.0 on.
func TestTheEmbeddedClusterHasOneDatabaseBeforeValkey9(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded", Empty: true})
	for version, want := range map[string]string{"8.2": "-ERR %s is not allowed in cluster mode\r\n", "9.0": ok} {
		name := "v" + version[:1]
		must(t, srv.PutCache(emulator.Cache{Name: name, Engine: "valkey", Version: version, Nodes: 1}))
		w := dial(t, srv, name)
		for _, line := range []string{"SELECT 1", "SWAPDB 0 1"} {
			command, _, _ := strings.Cut(line, " ")
			w.wants(strings.ReplaceAll(want, "%s", command), strings.Fields(line)...)
		}
		w.wants(ok, "SELECT", "0")
	}
}

func TestAServerlessCacheLacksCommands(t *testing.T) {
	onServerless(t, func(t *testing.T, srv *emulator.Server, w *wire) {
		for _, row := range []struct{ line, want string }{
			{"keys *", "-ERR unknown command 'keys', with args beginning with: '*' \r\n"},
			{"PSUBSCRIBE news.*", "-ERR unknown command 'PSUBSCRIBE', with args beginning with: 'news.*' \r\n"},
			{"PUNSUBSCRIBE", "-ERR unknown command 'PUNSUBSCRIBE', with args beginning with: \r\n"},
			{"OBJECT ENCODING k", "-ERR unknown command 'OBJECT', with args beginning with: 'ENCODING' 'k' \r\n"},
			{"MEMORY USAGE k", "-ERR unknown command 'MEMORY', with args beginning with: 'USAGE' 'k' \r\n"},
			{"MONITOR", "-ERR unknown command 'MONITOR', with args beginning with: \r\n"},
			{"WAIT 0 0", "-ERR unknown command 'WAIT', with args beginning with: '0' '0' \r\n"},
			{"FCALL f 0", "-ERR unknown command 'FCALL', with args beginning with: 'f' '0' \r\n"},
			{"client tracking on", "-ERR unknown subcommand 'tracking'. Try CLIENT HELP.\r\n"},
			{"CLIENT ID", "-ERR unknown subcommand 'ID'. Try CLIENT HELP.\r\n"},
			{"CLIENT KILL 1.2.3.4:5", "-ERR unknown subcommand 'KILL'. Try CLIENT HELP.\r\n"},
			{"ACL LOG", "-ERR unknown subcommand 'LOG'. Try ACL HELP.\r\n"},
			{"SCRIPT KILL", "-ERR unknown subcommand 'KILL'. Try SCRIPT HELP.\r\n"},
			{"CLIENT SETNAME n", ok},
			{"CLIENT GETNAME", bulk("n")},
			{"PUBLISH news x", ":0\r\n"},
			{"ACL WHOAMI", bulk("demo-user")},
			{"SUBSCRIBE news", "*3\r\n" + bulk("subscribe") + bulk("news") + ":1\r\n"},
			{"unsubscribe news", "*3\r\n" + bulk("unsubscribe") + bulk("news") + ":0\r\n"},
			{"SET k " + long, ok},
			{"KEYS " + long, fmt.Sprintf("-ERR unknown command 'KEYS', with args beginning with: '%s' \r\n", long[:128])},
			{"CLIENT LIST ID " + long, "-ERR unknown subcommand 'LIST'. Try CLIENT HELP.\r\n"},
		} {
			w.wants(row.want, strings.Fields(row.line)...)
		}
		must(t, srv.PutCache(emulator.Cache{Name: "open", Nodes: 1}))
		dial(t, srv, "open").wants("*0\r\n", "KEYS", "*")
	})
}

// long is more than the gate holds of a request that it does not judge.
var long = strings.Repeat("x", 100_000)

const everything = `{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`

func TestResourceTypeIsForServerlessCachesAlone(t *testing.T) {
	for _, lenient := range []bool{false, true} {
		srv := emulator.Start(t, emulator.Config{Engine: "embedded", LenientResourceType: lenient})
		must(t, srv.PutRole(emulator.Role{Name: emulator.DefaultRole, Inline: map[string]string{"all": everything}}))
		must(t, srv.PutUser(emulator.User{Service: "memorydb", Name: "demo-user", Access: "on ~* +@all"}))
		must(t, srv.PutGroup(emulator.Group{Service: "memorydb", ID: "acl", Users: []string{"demo-user"}}))
		for _, row := range []struct {
			cache         emulator.Cache
			with, without string // the reason of a token with ResourceType, and without it
		}{
			{emulator.Cache{Kind: emulator.ServerlessCache, Name: "serverless", Group: "demo-users"}, "", "resource-type-missing"},
			{emulator.Cache{Kind: emulator.ReplicationGroup, Name: "group", Group: "demo-users"}, "resource-type-extra", ""},
			{emulator.Cache{Kind: emulator.ReplicationGroup, Name: "shards", Nodes: 1, Group: "demo-users"}, "resource-type-extra", ""},
			{emulator.Cache{Kind: emulator.Cluster, Name: "cluster", Group: "acl"}, "resource-type-extra", ""},
		} {
			must(t, srv.PutCache(row.cache))
			for resourceType, reason := range map[string]string{"&ResourceType=ServerlessCache": row.with, "": row.without} {
				want := wrongPass
				if lenient || reason == "" {
					want, reason = ok, ""
				}
				dial(t, srv, row.cache.Name).wants(want, "AUTH", "demo-user", presigned(t, srv, row.cache, resourceType))
				if e := last(t, srv); e.Reason != reason || e.Cache != row.cache.Name {
					t.Errorf("%s, lenient %v: the event of a token with %q is %+v, want reason %q", row.cache.Name, lenient, resourceType, e, reason)
				}
			}
			// Another value is of no kind of cache.
			dial(t, srv, row.cache.Name).wants(wrongPass, "AUTH", "demo-user", presigned(t, srv, row.cache, "&ResourceType=serverlesscache"))
		}
	}
}

// presigned is a token as the SDK's signer makes it, with something more in its query.
func presigned(t *testing.T, srv *emulator.Server, cache emulator.Cache, more string) string {
	t.Helper()
	r, err := http.NewRequest("GET", "http://"+cache.Name+"/?Action=connect&User=demo-user&X-Amz-Expires=900"+more, nil)
	must(t, err)
	credentials, err := srv.Credentials(emulator.DefaultRole).Retrieve(t.Context())
	must(t, err)
	const ofNothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	signed, _, err := v4.NewSigner().PresignHTTP(t.Context(), credentials, r, ofNothing, cache.Service(), srv.Region(), srv.Now())
	must(t, err)
	return strings.TrimPrefix(signed, "http://")
}

func TestAPublicEndpointNeedsTLS13AndIAM(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, engine string) {
		srv := emulator.Start(t, emulator.Config{Engine: engine})
		public := emulator.Cache{Name: "public", Kind: emulator.ServerlessCache, Public: true, Engine: "valkey", Version: "9.0", Group: "default.iam-user-group"}
		must(t, srv.PutCache(public))
		must(t, srv.PutRole(emulator.Role{Name: "app", Inline: map[string]string{"connect": `{"Statement":[{"Effect":"Allow","Action":"elasticache:Connect","Resource":[
			"arn:aws:elasticache:us-east-1:123456789012:serverlesscache:public","arn:aws:elasticache:us-east-1:123456789012:user:default.iam-user"]}]}`}}))
		s := &rediam.Signer{Cache: "public", User: "default.iam-user", Serverless: true, Region: srv.Region(), Credentials: srv.Credentials("app"), Now: srv.Now}
		made, err := s.Token(t.Context())
		must(t, err)
		w := dial(t, srv, "public")
		w.wants("-NOAUTH Authentication required.\r\n", "PING")
		w.wants(ok, "AUTH", "default.iam-user", made.Password)
		w.wants(ok, "SET", "k", "v")
		w.wants(bulk("default.iam-user"), "ACL", "WHOAMI")
		if v := w.ConnectionState().Version; v != tls.VersionTLS13 {
			t.Errorf("TLS has version %x", v)
		}
		old := srv.Cache("public").TLS
		old.MaxVersion = tls.VersionTLS12
		if conn, err := tls.Dial("tcp", srv.Cache("public").Addr, old); err == nil {
			conn.Close()
			t.Error("TLS 1.2 is taken")
		}
		old = srv.Cache("demo").TLS
		old.MaxVersion = tls.VersionTLS12
		conn, err := tls.Dial("tcp", srv.Cache("demo").Addr, old)
		must(t, err) // others take it
		conn.Close()
		dial(t, srv, "public").wants(wrongPass, "AUTH", "demo-user", token(t, srv, func(s *rediam.Signer) { s.Cache, s.Serverless = "public", true }))

		must(t, srv.Fault("public", emulator.Fault{SignIn: emulator.ErrThrottled}))
		dial(t, srv, "public").wants("-"+emulator.ErrUnavailable+"\r\n", "AUTH", "default.iam-user", made.Password)
		w.wants("-"+emulator.ErrThrottled+"\r\n", "AUTH", "default.iam-user", made.Password)
	})
}
