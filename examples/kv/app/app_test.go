package app_test

import (
	"context"
	"testing"
	"time"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/emulator"
	"github.com/rediam/rediam/examples/kv/app"
)

func TestTry(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Kind: emulator.Cluster, Engine: "embedded"})
	s := &rediam.Signer{Service: rediam.MemoryDB, Cache: "demo", User: "demo-user", Region: srv.Region(), Credentials: srv.Credentials("demo-app"), Now: srv.Now}
	c := app.NewClient(srv.Cache("demo").Addr, true, srv.Cache("demo").TLS, s)
	for range 5 {
		t0 := time.Now()
		err := c.Set(t.Context(), "a", "b", 0).Err()
		t.Log(err, time.Since(t0))
	}
	t.Log(c.Do(t.Context(), "cluster", "slots").Result())
	t.Log(len(srv.Events()), srv.Sessions("demo"), srv.Cache("demo").Addr)
	for _, k := range []bool{false} {
		c := app.NewClient(srv.Cache("demo").Addr, k, srv.Cache("demo").TLS, s)
		t.Log(c.Set(t.Context(), "a", "b", 0).Err())
		role, _ := srv.Role("demo-app")
		role.Inline = nil
		t.Log(srv.PutRole(role))
		srv.Advance(13 * time.Hour)
		n := len(srv.Events())
		t0 := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		t.Log(c.Set(ctx, "a", "b", 0).Err(), time.Since(t0), len(srv.Events())-n)
		cancel()
		srv.Close()
		t0 = time.Now()
		ctx, cancel = context.WithTimeout(t.Context(), 5*time.Second)
		t.Log(c.Set(ctx, "a", "b", 0).Err(), time.Since(t0), len(srv.Events())-n)
		cancel()
	}
}
