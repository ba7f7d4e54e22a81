package emulator_test

import (
	"context"
	"testing"
	"time"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/emulator"
	"github.com/rediam/rediam/internal/installed"
	"github.com/redis/go-redis/v9"
)

// onEveryEngine runs a test with the embedded engine and with each real one.
func onEveryEngine(t *testing.T, test func(t *testing.T, engine string)) {
	t.Run("embedded", func(t *testing.T) { test(t, "embedded") })
	for _, name := range []string{"redis-server", "valkey-server"} {
		t.Run(name, func(t *testing.T) { test(t, installed.Path(t, name)) })
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
