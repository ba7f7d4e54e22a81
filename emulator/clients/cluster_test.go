package clients_test

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"testing"

	"github.com/rediam/rediam/emulator"
	"github.com/rediam/rediam/internal/installed"
	"github.com/valkey-io/valkey-go"
)

// onEveryCluster runs a test on a cluster of three nodes of each real engine.
func onEveryCluster(t *testing.T, test func(t *testing.T, srv *emulator.Server)) {
	for _, name := range []string{"redis-server", "valkey-server"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, emulator.Start(t, emulator.Config{Engine: installed.Path(t, name), Nodes: 3}))
		})
	}
}

func TestRedisCLIFollowsTheCluster(t *testing.T) {
	onEveryCluster(t, func(t *testing.T, srv *emulator.Server) {
		cli := append(tool(t, "redis-cli", srv), "-c")
		auth := []string{"REDISCLI_AUTH=" + token(t, srv)}
		output, ok := cli.feed(t, "SET a 1\nSET b 2\nSET c 3\nGET a\nGET b\nGET c\n", auth)
		if said := regexp.MustCompile("(?m)^-> .*\n").ReplaceAllString(output, ""); !ok || said != "OK\nOK\nOK\n1\n2\n3\n" {
			t.Errorf("redis-cli -c has printed %s", output)
		}
		for _, e := range srv.Events() {
			if !e.Admitted() {
				t.Errorf("a sign-in was refused: %s %s", e.Reason, e.Detail)
			}
		}
	})
}

func TestValkeyGoFollowsTheCluster(t *testing.T) {
	onEveryCluster(t, func(t *testing.T, srv *emulator.Server) {
		options := target{srv: srv, trusted: srv, token: token(t, srv), protocol: 3}.valkeyGo()
		options.ForceSingleClient = false
		client, err := valkey.NewClient(options)
		must(t, err)
		defer client.Close()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		for i := range 100 {
			key := fmt.Sprint("key", i)
			must(t, client.Do(ctx, client.B().Set().Key(key).Value("v").Build()).Error())
			if got, err := client.Do(ctx, client.B().Get().Key(key).Build()).ToString(); got != "v" || err != nil {
				t.Fatalf("%s is %q, %v", key, got, err)
			}
		}
		var nodes []string
		for address, node := range client.Nodes() {
			nodes = append(nodes, address)
			if n, err := do(ctx, node, "DBSIZE").AsInt64(); n == 0 || err != nil {
				t.Errorf("%s has %d keys, %v", address, n, err)
			}
		}
		want := slices.Sorted(slices.Values(srv.Cache(emulator.DefaultCache).Nodes))
		if slices.Sort(nodes); !slices.Equal(nodes, want) {
			t.Errorf("the nodes are %v, want %v", nodes, want)
		}
	})
}
