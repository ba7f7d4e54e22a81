package emulator_test

import (
	"fmt"
	"net"
	"regexp"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/rediam/rediam/emulator"
)

// field is a member of the answer to CLIENT INFO.
func field(t *testing.T, info, name string) string {
	t.Helper()
	found := regexp.MustCompile(`(?:^|[ \n:])` + name + `=(\S*)`).FindStringSubmatch(info)
	if found == nil {
		t.Fatalf("there is no %s in %q", name, info)
	}
	if name == "flags" {
		return strings.TrimSuffix(found[1], "U") // a Unix socket: between the gate and a real engine
	}
	return found[1]
}

func TestConnectionsSeeEachOther(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, engine string) {
		srv := emulator.Start(t, emulator.Config{Engine: engine})
		w, other := signedIn(t, srv), signedIn(t, srv)
		w.wants(ok, "CLIENT", "SETNAME", "me")
		other.wants(ok, "CLIENT", "SETNAME", "you")
		other.wants("*3\r\n"+bulk("psubscribe")+bulk("*")+":1\r\n", "PSUBSCRIBE", "*")
		mine, list := w.do("CLIENT", "INFO"), w.do("CLIENT", "LIST")
		if id := field(t, mine, "id"); w.do("CLIENT", "ID") != ":"+id+"\r\n" {
			t.Errorf("CLIENT ID is not %s", id)
		}
		for name, want := range map[string]string{"name": "me", "sub": "0", "resp": "2", "cmd": "client|info", "redir": "-1"} {
			if got := field(t, mine, name); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		if !strings.Contains(list, " name=me ") || !strings.Contains(list, " name=you ") {
			t.Errorf("CLIENT LIST is answered by %q", list)
		}
		subscribers := w.do("CLIENT", "LIST", "TYPE", "pubsub")
		for name, want := range map[string]string{"name": "you", "flags": "P", "psub": "1", "cmd": "psubscribe"} {
			if got := field(t, subscribers, name); got != want {
				t.Errorf("of the subscriber %s is %q, want %q", name, got, want)
			}
		}
		id := field(t, subscribers, "id")
		if got := w.do("CLIENT", "LIST", "ID", id, "99999"); strings.Count(got, " addr=") != 1 || field(t, got, "name") != "you" {
			t.Errorf("CLIENT LIST ID %s is answered by %q", id, got)
		}
		w.do("HELLO", "3", "SETNAME", "new")
		if got := w.do("CLIENT", "INFO"); !strings.HasPrefix(got, "=") || field(t, got, "name") != "new" || field(t, got, "resp") != "3" {
			t.Errorf("in RESP3 CLIENT INFO is answered by %q", got)
		}
		w.wants("+RESET\r\n", "RESET")
		w.wants(ok, "AUTH", "demo-user", token(t, srv, nil))
		w.wants("$-1\r\n", "CLIENT", "GETNAME")
	})
}

func TestConnectionsEndEachOther(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, engine string) {
		srv := emulator.Start(t, emulator.Config{Engine: engine})
		must(t, srv.PutCache(emulator.Cache{Name: "second", Group: "demo-users"}))
		w, elsewhere := signedIn(t, srv), dial(t, srv, "second")
		elsewhere.wants(wrongPass, "AUTH", "demo-user", token(t, srv, nil))
		kills := func(want string, args ...string) {
			t.Helper()
			other := signedIn(t, srv)
			info := other.do("CLIENT", "INFO")
			for i := range args {
				args[i] = strings.NewReplacer("$ID", field(t, info, "id"), "$ADDR", field(t, info, "addr")).Replace(args[i])
			}
			w.wants(want, append([]string{"CLIENT", "KILL"}, args...)...)
			other.ends()
			if list := w.do("CLIENT", "LIST"); strings.Contains(list, "id="+field(t, info, "id")+" ") {
				t.Errorf("CLIENT LIST tells of the connection that was ended: %q", list)
			}
		}
		kills(":1\r\n", "ID", "$ID")
		kills(":1\r\n", "id", "$ID", "type", "normal", "skipme", "yes")
		if engine == "embedded" { // to a real engine every connection has the address of its socket
			kills(":1\r\n", "ADDR", "$ADDR")
			kills(ok, "$ADDR")
		}
		user := field(t, w.do("CLIENT", "INFO"), "user")
		w.wants(":0\r\n", "CLIENT", "KILL", "USER", user)
		other := signedIn(t, srv)
		w.wants(":2\r\n", "CLIENT", "KILL", "USER", user, "SKIPME", "no")
		w.ends()
		other.ends()
		elsewhere.wants("-NOAUTH Authentication required.\r\n", "PING")
	})
}

func TestTwoConnectionsMayEndEachOther(t *testing.T) {
	for range 5 {
		srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
		a, b := signedIn(t, srv), signedIn(t, srv)
		for _, w := range []*wire{a, b} {
			w.send(request("CLIENT", "KILL", "TYPE", "normal"))
		}
		for _, w := range []*wire{a, b} {
			for _, err := readFrame(w.replies); err == nil; _, err = readFrame(w.replies) {
				w.Write([]byte(request("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no")))
			}
		}
	}
}

func TestInfoTellsWhatClientsAskFor(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, engine string) {
		srv := emulator.Start(t, emulator.Config{Engine: engine})
		w := signedIn(t, srv)
		for _, hello := range []string{"2", "3"} {
			w.do("HELLO", hello)
			for _, line := range []string{"INFO", "INFO all", "INFO server persistence replication cluster"} {
				got := w.do(strings.Fields(line)...)
				for _, want := range []string{"# Server\r\n", "\r\nredis_version:", "_mode:standalone\r\n", "\r\nloading:0\r\n", "\r\nrole:master\r\n", "\r\nconnected_slaves:0\r\n", "\r\n\r\n# Cluster\r\ncluster_enabled:0\r\n"} {
					if !strings.Contains(got, want) {
						t.Errorf("%s lacks %q", line, want)
					}
				}
			}
			if got := w.do("INFO", "REPLICATION"); strings.Contains(got, "# Server") || !strings.Contains(got, "role:master") {
				t.Errorf("INFO REPLICATION is answered by %q", got)
			}
			if got := w.do("INFO", "clients"); !strings.Contains(got, "connected_clients:") {
				t.Errorf("INFO clients is answered by %q", got)
			}
		}
	})
}

func TestTheEmbeddedEngineSaysWhatTheCacheIs(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	must(t, srv.PutCache(emulator.Cache{Name: "old"}))
	must(t, srv.PutCache(emulator.Cache{Name: "new", Engine: "valkey"}))
	for cache, wants := range map[string]struct{ hello, info, docs string }{
		"old": {bulk("redis") + bulk("version") + bulk("7.1.0"), "redis_version:7.1.0\r\nredis_mode:standalone", "*1\r\n$-1\r\n"},
		"new": {bulk("valkey") + bulk("version") + bulk("8.1.0"), "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.0\r\nserver_mode:standalone\r\n", "*1\r\n*10\r\n" + bulk("client|capa")},
	} {
		w := dial(t, srv, cache)
		if got := w.do("HELLO"); !strings.Contains(got, wants.hello) {
			t.Errorf("%s: HELLO is answered by %q", cache, got)
		}
		if got := w.do("INFO"); !strings.Contains(got, wants.info) {
			t.Errorf("%s: INFO is answered by %q", cache, got)
		}
		if got := w.do("COMMAND", "INFO", "client|capa"); !strings.HasPrefix(got, wants.docs) {
			t.Errorf("%s: COMMAND INFO is answered by %q", cache, got)
		}
	}
}

// A real cluster of one node answers the same, but that it names itself otherwise.
func TestAClientOfClustersFindsOneNode(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	w := signedIn(t, srv)
	_, port, err := net.SplitHostPort(srv.Cache("demo").Addr)
	must(t, err)
	id := strings.TrimPrefix(strings.TrimSuffix(w.do("CLUSTER", "MYID"), "\r\n"), "$40\r\n")
	w.wants("*1\r\n*3\r\n:0\r\n:16383\r\n*4\r\n"+bulk("127.0.0.1")+":"+port+"\r\n"+bulk(id)+"*0\r\n", "CLUSTER", "SLOTS")
	w.wants(bulk(id+" 127.0.0.1:"+port+"@0 myself,master - 0 0 0 connected 0-16383\n"), "CLUSTER", "NODES")
	if got := w.do("CLUSTER", "INFO"); !strings.Contains(got, "cluster_state:ok\r\ncluster_slots_assigned:16384\r\ncluster_slots_ok:16384\r\n") {
		t.Errorf("CLUSTER INFO is answered by %q", got)
	}
	w.do("HELLO", "3")
	w.wants("*1\r\n%2\r\n"+bulk("slots")+"*2\r\n:0\r\n:16383\r\n"+bulk("nodes")+"*1\r\n%7\r\n"+bulk("id")+bulk(id)+bulk("tls-port")+":"+port+"\r\n"+
		bulk("ip")+bulk("127.0.0.1")+bulk("endpoint")+bulk("127.0.0.1")+bulk("role")+bulk("master")+bulk("replication-offset")+":0\r\n"+bulk("health")+bulk("online"), "CLUSTER", "SHARDS")

	single := options(srv, signer(srv))
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{single.Addr}, TLSConfig: single.TLSConfig, CredentialsProviderContext: single.CredentialsProviderContext, MaxRetries: -1, MaxRedirects: -1})
	defer client.Close()
	must(t, client.Set(t.Context(), "k", "v", 0).Err())
	if got, err := client.ClusterShards(t.Context()).Result(); err != nil || len(got) != 1 || fmt.Sprint(got[0].Nodes[0].TLSPort) != port {
		t.Errorf("the client sees %+v, %v", got, err)
	}
}
