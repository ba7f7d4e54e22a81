package emulator_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/emulator"
	"github.com/rediam/rediam/internal/installed"
)

// onEveryServerAtOnce is onEveryServer for tests that mostly wait for clusters to
// start.
func onEveryServerAtOnce(t *testing.T, test func(t *testing.T, engine string)) {
	t.Parallel()
	for _, name := range []string{"redis-server", "valkey-server"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, installed.Path(t, name))
		})
	}
}

// onNode is a connection of the default user to one node of the default cache.
func onNode(t testing.TB, srv *emulator.Server, address string) *wire {
	t.Helper()
	conn, err := tls.Dial("tcp", address, srv.Cache("demo").TLS)
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	w := &wire{t, conn, bufio.NewReader(conn)}
	w.wants(ok, "AUTH", "demo-user", token(t, srv, nil))
	return w
}

// onEveryNode is such a connection to each node.
func onEveryNode(t testing.TB, srv *emulator.Server) (all []*wire) {
	t.Helper()
	for _, address := range srv.Cache("demo").Nodes {
		all = append(all, onNode(t, srv, address))
	}
	return all
}

func clusterClient(srv *emulator.Server, src rediam.TokenSource) *redis.ClusterClient {
	cache := srv.Cache("demo")
	return redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{cache.Addr}, TLSConfig: cache.TLS, CredentialsProviderContext: rediam.BasicAuth(src)})
}

func TestCachesInClusterModeAreRealClusters(t *testing.T) {
	rows := []struct {
		name   string
		config emulator.Config
		nodes  int
	}{
		{"a replication group of three shards", emulator.Config{Nodes: 3}, 3},
		{"a replication group of one shard", emulator.Config{Nodes: 1}, 1},
		{"a MemoryDB cluster", emulator.Config{Kind: emulator.Cluster}, 1},
		{"a MemoryDB cluster of two shards", emulator.Config{Kind: emulator.Cluster, Nodes: 2}, 2},
		{"a serverless cache", emulator.Config{Kind: emulator.ServerlessCache}, 1},
	}
	onEveryServerAtOnce(t, func(t *testing.T, engine string) {
		for _, row := range rows {
			t.Run(row.name, func(t *testing.T) {
				t.Parallel()
				row.config.Engine = engine
				srv := emulator.Start(t, row.config)
				s := signer(srv)
				if s.Serverless = row.config.Kind == emulator.ServerlessCache; row.config.Kind == emulator.Cluster {
					s.Service = rediam.MemoryDB
				}
				client := clusterClient(srv, s)
				defer client.Close()
				if nodes := srv.Cache("demo").Nodes; len(nodes) != row.nodes || nodes[0] != srv.Cache("demo").Addr {
					t.Errorf("the nodes are %v", nodes)
				}
				usesEveryNode(t, srv, client)
			})
		}
	})
}

// usesEveryNode has a client write many keys, of which every node has some.
func usesEveryNode(t *testing.T, srv *emulator.Server, client *redis.ClusterClient) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	const keys = 100
	for i := range keys {
		must(t, client.Set(ctx, fmt.Sprint("key", i), i, 0).Err())
	}
	for i := range keys {
		if got, err := client.Get(ctx, fmt.Sprint("key", i)).Int(); got != i || err != nil {
			t.Fatalf("key%d is %d, %v", i, got, err)
		}
	}
	if n, err := client.DBSize(ctx).Result(); n != keys || err != nil {
		t.Errorf("there are %d keys, %v", n, err)
	}
	nodes := srv.Cache("demo").Nodes
	must(t, client.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
		if n, err := node.DBSize(ctx).Result(); n < keys/int64(2*len(nodes)) || err != nil || !slices.Contains(nodes, node.Options().Addr) {
			t.Errorf("%s has %d keys, %v", node.Options().Addr, n, err)
		}
		return nil
	}))
	var told, shards []string
	slots, err := client.Do(ctx, "CLUSTER", "SLOTS").Slice() // first, last, node
	must(t, err)
	for _, s := range slots {
		node := s.([]any)[2].([]any)
		told = append(told, fmt.Sprintf("%s:%d", node[0], node[1]))
	}
	list, err := client.ClusterShards(ctx).Result()
	must(t, err)
	for _, s := range list {
		if s.Nodes[0].Port != s.Nodes[0].TLSPort {
			t.Errorf("a shard has ports %d and %d", s.Nodes[0].Port, s.Nodes[0].TLSPort)
		}
		shards = append(shards, fmt.Sprintf("%s:%d", s.Nodes[0].Endpoint, s.Nodes[0].TLSPort))
	}
	for what, got := range map[string][]string{"CLUSTER SLOTS": told, "CLUSTER SHARDS": shards} {
		if !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(nodes))) {
			t.Errorf("%s tells of %v, want %v", what, got, nodes)
		}
	}
}

func TestAMovedSlotIsAtAnAddressThatAnswers(t *testing.T) {
	onEveryServerAtOnce(t, func(t *testing.T, engine string) {
		srv := emulator.Start(t, emulator.Config{Engine: engine, Nodes: 3})
		moved := regexp.MustCompile(`^-MOVED [0-9]+ (127\.0\.0\.1:[0-9]+)\r\n$`)
		told := map[string]bool{}
		for _, w := range onEveryNode(t, srv) {
			for _, key := range []string{"a", "b", "c", "d"} {
				got := w.do("SET", key, "v")
				if to := moved.FindStringSubmatch(got); to != nil {
					told[to[1]] = true
					onNode(t, srv, to[1]).wants(ok, "SET", key, "v")
				} else if got != ok {
					t.Errorf("SET %s is answered by %q", key, got)
				}
			}
		}
		if want := srv.Cache("demo").Nodes; !slices.Equal(slices.Sorted(maps.Keys(told)), slices.Sorted(slices.Values(want))) {
			t.Errorf("MOVED tells of %v, want %v", told, want)
		}
	})
}

func TestPublishedMessagesReachEveryNode(t *testing.T) {
	onEveryServerAtOnce(t, func(t *testing.T, engine string) {
		srv := emulator.Start(t, emulator.Config{Engine: engine, Nodes: 3})
		all := onEveryNode(t, srv)
		for _, w := range all[1:] {
			w.wants("*3\r\n"+bulk("subscribe")+bulk("news")+":1\r\n", "SUBSCRIBE", "news")
		}
		all[0].wants(":0\r\n", "PUBLISH", "news", "hello")
		for _, w := range all[1:] {
			w.gets("*3\r\n" + bulk("message") + bulk("news") + bulk("hello"))
		}
	})
}

func TestAChangeReachesEveryNode(t *testing.T) {
	onEveryServerAtOnce(t, func(t *testing.T, engine string) {
		srv := emulator.Start(t, emulator.Config{Engine: engine, Nodes: 3})
		all := onEveryNode(t, srv)
		for i, s := range srv.Sessions("demo") {
			if s.Node != srv.Cache("demo").Nodes[i] {
				t.Errorf("session %d is on %s", i, s.Node)
			}
		}
		must(t, srv.PutUser(emulator.User{Name: "demo-user", Access: "on ~* +@all -dbsize"}))
		for _, w := range all {
			if got := w.do("DBSIZE"); !strings.HasPrefix(got, "-NOPERM") {
				t.Errorf("the new access string does not apply: %q", got)
			}
		}
		must(t, srv.PutGroup(emulator.Group{ID: "demo-users", Users: []string{"demo-default"}}))
		for _, w := range all {
			w.ends()
		}
		must(t, srv.PutGroup(emulator.Group{ID: "demo-users", Users: []string{"demo-default", "demo-user"}}))
		all = onEveryNode(t, srv)
		if n, err := srv.Cut("demo", 2); n != 2 || err != nil {
			t.Errorf("Cut = %d, %v", n, err)
		}
		all[0].ends()
		all[1].ends()
		all[2].wants("+PONG\r\n", "PING")
		all[0] = onNode(t, srv, srv.Cache("demo").Nodes[0])
		srv.Advance(12 * time.Hour)
		all[0].ends()
		all[2].ends()
		if left := srv.Sessions("demo"); len(left) > 0 {
			t.Errorf("there are %+v", left)
		}
	})
}

func TestSignInsAreCountedOverAllNodes(t *testing.T) {
	onEveryServerAtOnce(t, func(t *testing.T, engine string) {
		srv := emulator.Start(t, emulator.Config{Engine: engine, Nodes: 2, OneTime: true})
		cache, once := srv.Cache("demo"), token(t, srv, nil)
		onNode(t, srv, cache.Nodes[0]).wants(ok, "AUTH", "demo-user", once)
		onNode(t, srv, cache.Nodes[1]).wants(wrongPass, "AUTH", "demo-user", once)
		seen := len(srv.Events())
		must(t, srv.Fault("demo", emulator.Fault{SignInsAtOnce: 1, Latency: time.Minute}))
		for _, address := range cache.Nodes {
			conn, err := tls.Dial("tcp", address, cache.TLS)
			must(t, err)
			defer conn.Close()
			io.WriteString(conn, request("AUTH", "demo-user", token(t, srv, nil)))
			seen++
			signIns(srv, seen)
		}
		events := srv.Events()[seen-2:]
		if !events[0].Admitted() || events[1].Detail != emulator.ErrThrottled {
			t.Errorf("the events are %+v", events)
		}
	})
}

func TestANodeThatDoesNotFollowAChangeIsNamed(t *testing.T) {
	t.Parallel()
	srv := emulator.Start(t, emulator.Config{Engine: installed.Path(t, "redis-server"), Nodes: 2})
	second := srv.Cache("demo").Nodes[1]
	all := onEveryNode(t, srv)
	all[1].wants(ok, "CLIENT", "PAUSE", "7000", "ALL")
	err := srv.PutUser(emulator.User{Name: "demo-user", Access: "on ~* +@all -dbsize"})
	if err == nil || !strings.HasPrefix(err.Error(), "cache demo: node "+second+": ") || strings.Contains(err.Error(), "\n") {
		t.Errorf("PutUser: %v", err)
	}
	if got := all[0].do("DBSIZE"); !strings.HasPrefix(got, "-NOPERM") {
		t.Errorf("on the other node DBSIZE is answered by %q", got)
	}
}

func TestExposedAClusterTellsItsHostName(t *testing.T) {
	onEveryServerAtOnce(t, func(t *testing.T, engine string) {
		srv := emulator.Start(t, emulator.Config{Engine: engine, Expose: "localhost", Nodes: 3})
		for _, address := range srv.Cache("demo").Nodes {
			if !strings.HasPrefix(address, "localhost:") {
				t.Errorf("a node is at %s", address)
			}
		}
		client := clusterClient(srv, signer(srv))
		defer client.Close()
		usesEveryNode(t, srv, client)
		if got := onNode(t, srv, srv.Cache("demo").Addr).do("SET", "b", "v"); got != ok && !strings.Contains(got, " localhost:") {
			t.Errorf("SET is answered by %q", got)
		}
	})
}

func TestANodeThatDiesEndsTheEmulator(t *testing.T) {
	onEveryServer(t, func(t *testing.T, engine string) {
		dir := temporary(t)
		srv := emulator.Start(t, emulator.Config{Engine: engine, Nodes: 3})
		all, second := onEveryNode(t, srv), srv.Cache("demo").Nodes[1]
		if pids := children(t, dir); len(pids) != 3 {
			t.Fatalf("there run %v, want three engines", pids)
		}
		must(t, syscall.Kill(engineOf(t, dir, 1), syscall.SIGKILL))
		<-srv.Done()
		all[1].ends()
		if err := srv.Err(); err == nil || !strings.HasPrefix(err.Error(), "engine of cache demo: node "+second+": ") || !strings.Contains(err.Error(), "signal: killed") {
			t.Errorf("Err() = %v", err)
		}
		srv.Close()
		for _, w := range all {
			w.ends()
		}
		emptied(t, dir)
	})
}

func TestCtrlCIsForTheEmulatorAlone(t *testing.T) {
	onEveryServer(t, func(t *testing.T, engine string) {
		dir := temporary(t)
		emulator.Start(t, emulator.Config{Engine: engine})
		for _, pid := range children(t, dir) {
			if group, err := syscall.Getpgid(pid); group != pid || err != nil {
				t.Errorf("the engine %d is in the process group %d, %v", pid, group, err)
			}
		}
	})
}

// engineOf is the process of a node of the first cache.
func engineOf(t *testing.T, dir string, node int) int {
	t.Helper()
	for _, pid := range children(t, dir) {
		if cwd, _ := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid)); strings.HasSuffix(cwd, fmt.Sprintf("/0/%d", node)) {
			return pid
		}
	}
	t.Fatalf("node %d does not run", node)
	return 0
}

func TestTheClusterBusIsShutToEverybodyElse(t *testing.T) {
	onEveryServer(t, func(t *testing.T, engine string) {
		dir := temporary(t)
		srv := emulator.Start(t, emulator.Config{Engine: engine, Nodes: 2})
		keys, err := filepath.Glob(dir + "/*/0/bus.pem")
		if err != nil || len(keys) != 1 {
			t.Fatalf("the keys of the bus are %v, %v", keys, err)
		}
		if info, err := os.Stat(keys[0]); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the key of the bus has mode %v, %v", info.Mode(), err)
		}
		key, err := tls.LoadX509KeyPair(keys[0], keys[0])
		must(t, err)
		buses := busAddresses(t, srv)
		if len(buses) != 2 {
			t.Fatalf("the cluster bus is at %v", buses)
		}
		for _, pid := range children(t, dir) {
			if at := listening(t, pid); len(at) != 1 || !strings.HasPrefix(at[0], "0100007F:") {
				t.Errorf("an engine listens on %v, want the bus alone, on 127.0.0.1", at)
			}
		}
		for _, bus := range buses {
			if err := joinBus(bus, key); err != nil {
				t.Errorf("with the key: %v", err)
			}
			for name, certificates := range map[string][]tls.Certificate{"nothing": nil, "a certificate of the same name": {impostor(t)}} {
				if err := joinBus(bus, certificates...); err == nil || !strings.HasPrefix(err.Error(), "remote error: tls: ") {
					t.Errorf("who shows %s is turned away with: %v", name, err)
				}
			}
			plain, err := net.Dial("tcp", bus)
			must(t, err)
			defer plain.Close()
			plain.SetDeadline(time.Now().Add(patience))
			io.WriteString(plain, "RCmb"+strings.Repeat("\x00", 3000))
			if _, err := io.Copy(io.Discard, plain); timedOut(err) {
				t.Error("a connection without TLS is not ended")
			}
		}
	})
}

// busAddresses are where the nodes of the default cache reach one another.
func busAddresses(t *testing.T, srv *emulator.Server) (all []string) {
	t.Helper()
	for _, found := range regexp.MustCompile(` 127\.0\.0\.1:[0-9]+@([0-9]+) `).FindAllStringSubmatch(signedIn(t, srv).do("CLUSTER", "NODES"), -1) {
		all = append(all, "127.0.0.1:"+found[1])
	}
	return all
}

// joinBus is the error of a handshake with the bus. In TLS 1.2 there is none only
// once the other side has found the certificate good.
func joinBus(address string, certificates ...tls.Certificate) error {
	conn, err := tls.Dial("tcp", address, &tls.Config{Certificates: certificates, MaxVersion: tls.VersionTLS12, InsecureSkipVerify: true}) // the other side is tested
	if err != nil {
		return err
	}
	return conn.Close()
}

// impostor is a certificate with the name of that of the bus.
func impostor(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "rediam cluster bus"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	must(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestOneNodeIsAllThatSomeEnginesCanBe(t *testing.T) {
	const want = "a cluster of several nodes needs redis-server or valkey-server"
	t.Setenv("PATH", t.TempDir())
	for _, engine := range []string{"embedded", "auto", "", "redis://127.0.0.1:1"} {
		dir := temporary(t)
		if _, err := emulator.Open(t.Context(), emulator.Config{Engine: engine, Nodes: 2}); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("engine %q: %v", engine, err)
		}
		emptied(t, dir)
	}
	srv := emulator.Start(t, emulator.Config{Engine: "embedded", Nodes: 1})
	if err := srv.PutCache(emulator.Cache{Name: "large", Nodes: 2}); err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("PutCache: %v", err)
	}
	must(t, srv.PutCache(emulator.Cache{Name: "small", Kind: emulator.Cluster}))
	if c := srv.Cache("small"); len(c.Nodes) != 1 || c.Nodes[0] != c.Addr {
		t.Errorf("the cache is at %s, %v", c.Addr, c.Nodes)
	}
	if c := srv.Cache("large"); c.Nodes != nil {
		t.Errorf("a cache that is not there is at %v", c.Nodes)
	}
}

func TestThePortsOfAClusterFollowOneAnother(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer listener.Close()
	taken := listener.Addr().(*net.TCPAddr).Port
	dir := temporary(t)
	_, err = emulator.Open(t.Context(), emulator.Config{Engine: installed.Path(t, "redis-server"), Nodes: 2, CachePort: taken - 1})
	if err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("Open: %v", err)
	}
	emptied(t, dir)
	if _, err := emulator.Open(t.Context(), emulator.Config{Nodes: 2, CachePort: 65535}); err == nil || !strings.Contains(err.Error(), "cache-port: ") {
		t.Errorf("Open: %v", err)
	}
}

func TestAPortOfTheBusThatIsTakenIsReplaced(t *testing.T) {
	onEveryServer(t, func(t *testing.T, engine string) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		defer listener.Close()
		_, taken, _ := net.SplitHostPort(listener.Addr().String())
		scripts := t.TempDir()
		script := func(name, condition string) string {
			path := filepath.Join(scripts, name)
			must(t, os.WriteFile(path, fmt.Appendf(nil, "#!/bin/sh\nif %s; then sed 's/^cluster-port .*/cluster-port %s/' | %s \"$@\"; exit; fi\nexec %s \"$@\"\n", condition, taken, engine, engine), 0o700))
			return path
		}
		srv := emulator.Start(t, emulator.Config{Engine: script("once", "mkdir "+scripts+"/taken 2>/dev/null"), Nodes: 2})
		client := clusterClient(srv, signer(srv))
		defer client.Close()
		usesEveryNode(t, srv, client)
		dir := temporary(t)
		_, err = emulator.Open(t.Context(), emulator.Config{Engine: script("always", "true"), Nodes: 2})
		if err == nil || !strings.Contains(err.Error(), "engine always does not start: its port on the cluster bus is taken: ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("Open: %v", err)
		}
		emptied(t, dir)
	})
}
