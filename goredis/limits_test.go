package goredis_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/emulator"
	"github.com/rediam/rediam/goredis"
)

// What docs/clients.md says that go-redis cannot do is held here, so that a version
// that can is noticed.

func TestSubscriptionsAreCutAndComeBack(t *testing.T) {
	t.Parallel()
	srv := emulator.Start(t, short)
	client := newClient(t, srv, goredis.Configure[redis.Options], signer(srv), shortRenewal, nil)
	subscription := client.Subscribe(t.Context(), "news")
	defer subscription.Close()
	received := subscription.Channel()
	seen := map[uint64]bool{} // connections that had the subscription
	for deadline := time.After(4 * short.ConnectionTTL); len(seen) < 3; {
		select {
		case <-received:
			for _, s := range srv.Sessions(emulator.DefaultCache) {
				if s.Opened.Before(srv.Now().Add(-shortRenewal.After * 3 / 2)) { // older than any in the pool
					seen[s.ID] = true
				}
			}
		case <-time.After(10 * time.Millisecond):
			must(t, client.Publish(t.Context(), "news", "hello").Err())
		case <-deadline:
			t.Fatalf("messages came over %d connections, want 3, one after the other", len(seen))
		}
	}
}

func TestStreamingCannotServeConnAndWatch(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	for name, use := range map[string]func(*redis.Client) error{
		"Conn": func(c *redis.Client) error {
			conn := c.Conn()
			defer conn.Close()
			return conn.Ping(t.Context()).Err()
		},
		"Watch": func(c *redis.Client) error {
			return c.Watch(t.Context(), func(tx *redis.Tx) error { return tx.Ping(t.Context()).Err() }, "foo1")
		},
	} {
		for way, configure := range ways {
			client := newClient(t, srv, configure, signer(srv), rediam.Renewal{}, nil)
			panicked := func() (panicked bool) {
				defer func() { panicked = recover() != nil }()
				must(t, use(client))
				return
			}()
			if want := way == "streaming"; panicked != want {
				t.Errorf("%s with %s as the first use of a client panics: %v, want %v; docs/clients.md says so", name, way, panicked, want)
			}
		}
	}
}

func TestAHeldConnectionIsRenewedWhenItComesBack(t *testing.T) {
	srv := emulator.Start(t)
	due := rediam.Renewal{After: 100 * time.Millisecond}
	signIns := rediam.Follow(signer(srv))
	client := newClient(t, srv, goredis.Stream[redis.Options], signIns, due, nil)
	other := newClient(t, srv, goredis.Configure[redis.Options], signer(srv), rediam.Renewal{}, nil)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	popped := make(chan error, 1)
	go func() { popped <- client.BLPop(ctx, 0, "jobs").Err() }()
	for { // until BLPOP holds the connection: a free one is renewed in each of these waits
		before := signIns.Counts()
		time.Sleep(5 * due.After)
		if after := signIns.Counts(); before.SignIns > 0 && after.Renewals == before.Renewals {
			break
		}
		must(t, ctx.Err())
	}
	must(t, other.LPush(ctx, "jobs", "one").Err())
	must(t, <-popped)
	for before := signIns.Counts().Renewals; signIns.Counts().Renewals <= before; {
		must(t, client.Ping(ctx).Err())
	}
}
