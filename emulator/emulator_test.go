package emulator_test

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/emulator"
	"github.com/redis/go-redis/v9"
)

// engines are those to test with: the embedded one and each real one. A real one
// that is missing is a visible skip, unless REDIAM_REQUIRE names it.
var engines = []string{"embedded", "redis-server", "valkey-server"}

func onEveryEngine(t *testing.T, test func(t *testing.T, engine string)) {
	for _, name := range engines {
		t.Run(name, func(t *testing.T) {
			if name == "embedded" {
				test(t, name)
				return
			}
			path, err := exec.LookPath(name)
			if configured := os.Getenv("REDIAM_VALKEY"); name == "valkey-server" && configured != "" {
				path, err = configured, nil
			}
			if err != nil {
				if strings.Contains(","+os.Getenv("REDIAM_REQUIRE")+",", ","+name+",") {
					t.Fatalf("%s is required and not in PATH", name)
				}
				t.Skipf("%s is not in PATH", name)
			}
			test(t, path)
		})
	}
}

func signer(srv *emulator.Server) *rediam.Signer {
	return &rediam.Signer{Cache: "demo", User: "demo-user", Region: srv.Region(), Credentials: srv.Credentials("demo-app"), Now: srv.Now}
}

func options(srv *emulator.Server, src rediam.TokenSource) *redis.Options {
	cache := srv.Cache("demo")
	return &redis.Options{Addr: cache.Addr, TLSConfig: cache.TLS, CredentialsProviderContext: rediam.BasicAuth(src), MaxRetries: -1}
}

func TestAClientSignsInAndWorks(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, engine string) {
		srv := emulator.Start(t, emulator.Config{Engine: engine})
		for _, protocol := range []int{2, 3} {
			o := options(srv, signer(srv))
			o.Protocol = protocol
			client := redis.NewClient(o)
			defer client.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			if err := client.Set(ctx, "foo1", "bar1", 0).Err(); err != nil {
				t.Fatal(err)
			}
			if got, err := client.Get(ctx, "foo1").Result(); got != "bar1" || err != nil {
				t.Errorf("GET foo1 = %q, %v", got, err)
			}
		}
	})
}
