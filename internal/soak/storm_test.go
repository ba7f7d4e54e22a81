package soak_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	redigolib "github.com/gomodule/redigo/redis"
	"github.com/redis/go-redis/v9"
	"github.com/valkey-io/valkey-go"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/emulator"
	"github.com/rediam/rediam/goredis"
	"github.com/rediam/rediam/internal/installed"
	"github.com/rediam/rediam/internal/soak"
	"github.com/rediam/rediam/redigo"
	"github.com/rediam/rediam/valkeygo"
)

const (
	// atOnce is how many sign-ins the cache takes at a time, and latency what makes
	// them meet.
	atOnce  = 20
	latency = 2 * time.Millisecond
	// multiplex is the logarithm of how many connections valkey-go spreads keys over.
	multiplex = 6
	// idle is more than what it takes for a connection to count as such.
	idle = 20 * time.Millisecond
	// calm is how long all may take to come back on a busy machine.
	calm = 2 * time.Minute
)

// All connections are dropped at once, and all come back: without an error, and
// without more sign-ins at a time than the cache takes.
func TestStormOfConnectionsThatComeBackTogether(t *testing.T) {
	n := soak.Size(t, "REDIAM_STORM")
	installed.Path(t, "redis-server")
	srv := emulator.Start(t, emulator.Config{Engine: "redis-server"})
	cache := srv.Cache(emulator.DefaultCache)
	signIns := rediam.Limit(&rediam.Signer{Cache: cache.Name, User: emulator.DefaultUser, Region: srv.Region(),
		Credentials: srv.Credentials(emulator.DefaultRole), Now: srv.Now}, atOnce)
	if err := srv.Fault("", emulator.Fault{SignInsAtOnce: atOnce, Latency: latency}); err != nil {
		t.Fatal(err)
	}
	pools := []pool{
		goRedisPools(t, cache, signIns, n/4, n/4),
		redigoPool(t, cache, signIns, n-n/4-n/4-1<<multiplex),
		valkeyPool(t, cache, signIns),
	}
	for range 3 {
		fill(t, pools)
		<-time.After(idle)
		if _, err := srv.Cut("", -1); err != nil {
			t.Fatal(err)
		}
	}
	fill(t, pools)
	if got := signIns.Counts(); got.SignIns < int64(4*n) || len(got.Failures) > 0 {
		t.Errorf("Counts() = %+v, want %d sign-ins and no failure", got, 4*n)
	}
}

// A pool lends connections.
type pool struct {
	size int
	// use borrows a connection and keeps it until release is closed.
	use func(ctx context.Context, worker int, release <-chan struct{}) error
	// held is how many it has lent.
	held func(ctx context.Context) (int, error)
}

// fill uses all connections of all pools at the same time.
func fill(t *testing.T, pools []pool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), calm)
	defer cancel()
	release := make(chan struct{})
	var all sync.WaitGroup
	for _, p := range pools {
		for worker := range p.size {
			all.Go(func() {
				if err := p.use(ctx, worker, release); err != nil {
					t.Error(err)
				}
			})
		}
	}
	for _, p := range pools {
		for held := 0; held < p.size && !t.Failed(); {
			var err error
			if held, err = p.held(ctx); err != nil {
				t.Error(err)
			}
			<-time.After(10 * time.Millisecond)
		}
	}
	close(release)
	all.Wait()
}

// goRedisPools hold connections with a command that blocks: Conn and Watch are not
// for clients that stream. One client replaces connections, the other streams.
func goRedisPools(t *testing.T, cache emulator.Endpoint, src rediam.TokenSource, replaced, streaming int) pool {
	client := func(way func(*redis.Options, rediam.TokenSource, rediam.Renewal) error, size int) *redis.Client {
		o := &redis.Options{Addr: cache.Addr, TLSConfig: cache.TLS, PoolSize: size, DialTimeout: calm, PoolTimeout: calm, ReadTimeout: calm, MaxRetries: -1}
		if err := way(o, src, rediam.Renewal{}); err != nil {
			t.Fatal(err)
		}
		client := redis.NewClient(o)
		t.Cleanup(func() { client.Close() })
		return client
	}
	first, second, other := client(goredis.Configure, replaced), client(goredis.Stream, streaming), client(goredis.Configure, 10)
	use := func(ctx context.Context, worker int, release <-chan struct{}) error {
		pushed := make(chan error, 1)
		go func() {
			<-release
			pushed <- other.RPush(ctx, "released", 1).Err()
		}()
		holder := first
		if worker >= replaced {
			holder = second
		}
		if err := holder.BLPop(ctx, 0, "released").Err(); err != nil {
			return fmt.Errorf("go-redis: %w", err)
		}
		return <-pushed
	}
	held := func(ctx context.Context) (n int, err error) {
		info, err := other.Info(ctx, "clients").Result()
		_, after, _ := strings.Cut(info, "\nblocked_clients:")
		fmt.Sscan(after, &n)
		return n, err
	}
	return pool{replaced + streaming, use, held}
}

func redigoPool(t *testing.T, cache emulator.Endpoint, src rediam.TokenSource, size int) pool {
	dialer := &redigo.Dialer{Addr: cache.Addr, TLS: cache.TLS, Source: src, Timeout: calm}
	p := &redigolib.Pool{DialContext: dialer.DialContext, TestOnBorrowContext: dialer.TestOnBorrowContext, MaxIdle: size}
	t.Cleanup(func() { p.Close() })
	var held atomic.Int64
	use := func(ctx context.Context, _ int, release <-chan struct{}) error {
		conn, err := p.GetContext(ctx)
		if err != nil {
			return fmt.Errorf("redigo: %w", err)
		}
		defer conn.Close()
		if _, err := redigolib.DoContext(conn, ctx, "PING"); err != nil {
			return fmt.Errorf("redigo: %w", err)
		}
		held.Add(1)
		defer held.Add(-1)
		<-release
		return nil
	}
	return pool{size, use, func(context.Context) (int, error) { return int(held.Load()), nil }}
}

// valkeyPool reads keys until every connection has been used many times over: one
// that all share finds out by itself that it is closed. (A dedicated one does so at
// the next PING that valkey-go sends, within a second.)
func valkeyPool(t *testing.T, cache emulator.Endpoint, src rediam.TokenSource) pool {
	o := valkey.ClientOption{InitAddress: []string{cache.Addr}, TLSConfig: cache.TLS, ForceSingleClient: true, DisableCache: true, PipelineMultiplex: multiplex}
	o.Dialer.Timeout = calm
	if err := valkeygo.Configure(&o, src, rediam.Renewal{}); err != nil {
		t.Fatal(err)
	}
	client, err := valkey.NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	var held atomic.Int64
	use := func(ctx context.Context, _ int, release <-chan struct{}) error {
		for range 100 {
			if err := client.Do(ctx, client.B().Get().Key(rand.Text()).Build()).Error(); !valkey.IsValkeyNil(err) {
				return fmt.Errorf("valkey-go: %w", err)
			}
		}
		held.Add(1)
		defer held.Add(-1)
		<-release
		return nil
	}
	return pool{1 << multiplex, use, func(context.Context) (int, error) { return int(held.Load()), nil }}
}
