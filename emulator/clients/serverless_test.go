package clients_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/rediam/rediam/emulator"
	"github.com/redis/go-redis/v9"
	"github.com/valkey-io/valkey-go"
)

// onEveryServerless runs a test on a serverless cache in front of each engine.
func onEveryServerless(t *testing.T, test func(t *testing.T, srv *emulator.Server)) {
	onEveryEngine(t, func(t *testing.T, engine string) {
		test(t, emulator.Start(t, emulator.Config{Engine: engine, Kind: emulator.ServerlessCache}))
	})
}

// Clients that know nothing of clusters see a single server.
func TestLibrariesWorkOnAServerlessCache(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, engine string) {
		for _, l := range libraries {
			protocol := l.protocols[len(l.protocols)-1]
			t.Run(l.name+"/RESP"+strconv.Itoa(protocol), func(t *testing.T) {
				srv := emulator.Start(t, emulator.Config{Engine: engine, Kind: emulator.ServerlessCache})
				output, ok := l.run(t, srv, srv, token(t, srv), protocol)
				if !ok {
					t.Error("the program has failed")
				}
				compare(t, output, steps(protocol))
				wantAdmitted(t, srv)
			})
		}
	})
}

func TestProgramsUseAServerlessCacheAsACluster(t *testing.T) {
	onEveryServerless(t, func(t *testing.T, srv *emulator.Server) {
		for name, module := range map[string]string{"ioredis": "ioredis", "node-redis": "redis", "glide": "@valkey/valkey-glide"} {
			t.Run(name, func(t *testing.T) {
				to := target{srv: srv, trusted: srv, token: token(t, srv)}
				output, _ := node(t, "node", module, "cluster.js").run(t, to.environment(t), name)
				compare(t, output, []string{line("right", 100), line("nodes", 1), line("together", []any{nil, nil}), line("apart", true), line("keys", true)})
			})
		}
		cli := append(tool(t, "redis-cli", srv), "-c")
		auth := []string{"REDISCLI_AUTH=" + token(t, srv)}
		output, ok := cli.feed(t, "SET a 1\nSET b 2\nMGET a b\nGET b\nKEYS *\n", auth)
		const want = "OK\nOK\nCROSSSLOT Keys in request don't hash to the same slot\n\n2\nERR unknown command 'KEYS', with args beginning with: '*' \n\n"
		if !ok || output != want {
			t.Errorf("redis-cli -c has printed %q, want %q", output, want)
		}
		for _, e := range srv.Events() {
			if !e.Admitted() {
				t.Errorf("a sign-in was refused: %s %s", e.Reason, e.Detail)
			}
		}
	})
}

func TestGoClientsUseAServerlessCacheAsACluster(t *testing.T) {
	onEveryServerless(t, func(t *testing.T, srv *emulator.Server) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		cache := srv.Cache(emulator.DefaultCache)
		to := target{srv: srv, trusted: srv, token: token(t, srv), protocol: 3}

		goRedis := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{cache.Addr}, TLSConfig: cache.TLS, Username: emulator.DefaultUser, Password: to.token})
		defer goRedis.Close()
		options := to.valkeyGo()
		options.ForceSingleClient, options.DisableCache = false, true // a serverless cache does not track what clients cache
		valkeyGo, err := valkey.NewClient(options)
		must(t, err)
		defer valkeyGo.Close()
		for i := range 100 {
			key := fmt.Sprint("key", i)
			must(t, goRedis.Set(ctx, key, i, 0).Err())
			if got, err := valkeyGo.Do(ctx, valkeyGo.B().Get().Key(key).Build()).AsInt64(); got != int64(i) || err != nil {
				t.Fatalf("%s is %d, %v", key, got, err)
			}
		}
		must(t, goRedis.ForEachShard(ctx, func(ctx context.Context, node *redis.Client) error {
			if n, err := node.DBSize(ctx).Result(); n != 100 || err != nil || node.Options().Addr != cache.Addr {
				t.Errorf("%s has %d keys, %v", node.Options().Addr, n, err)
			}
			return nil
		}))
		if nodes := valkeyGo.Nodes(); len(nodes) != 1 || nodes[cache.Addr] == nil {
			t.Errorf("valkey-go knows the nodes %v", nodes)
		}
		const want = "CROSSSLOT Keys in request don't hash to the same slot"
		if err := goRedis.Process(ctx, redis.NewStatusCmd(ctx, "RENAME", "key1", "key2")); err == nil || err.Error() != want {
			t.Errorf("go-redis: %v", err)
		}
		if err := goRedis.Eval(ctx, "return redis.call('GET', KEYS[1])", []string{"key1"}).Err(); err != nil {
			t.Errorf("a script: %v", err)
		}
		options.DisableCache = false
		if _, err := valkey.NewClient(options); err == nil || !strings.Contains(err.Error(), "unknown subcommand 'TRACKING'") {
			t.Errorf("what clients cache is tracked: %v", err)
		}
	})
}
