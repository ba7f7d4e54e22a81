package soak_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"testing"
	"time"

	redigolib "github.com/gomodule/redigo/redis"
	"github.com/redis/go-redis/v9"
	"github.com/valkey-io/valkey-go"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/emulator"
	"github.com/rediam/rediam/goredis"
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
	srv := emulator.Start(t)
	cache := srv.Cache(emulator.DefaultCache)
	signIns := rediam.Limit(&rediam.Signer{Cache: cache.Name, User: emulator.DefaultUser, Region: srv.Region(),
		Credentials: srv.Credentials(emulator.DefaultRole), Now: srv.Now}, atOnce)
	if err := srv.Fault("", emulator.Fault{SignInsAtOnce: atOnce, Latency: latency}); err != nil {
		t.Fatal(err)
	}
	pools := []pool{
		goRedisPool(t, cache, signIns, n/4),
		goRedisStream(t, cache, signIns, n/4),
		redigoPool(t, cache, signIns, n-n/4-n/4-1<<multiplex),
		valkeyPool(t, cache, signIns),
	}
	for range 3 {
		fill(t, srv, pools)
		<-time.After(idle)
		if _, err := srv.Cut("", -1); err != nil {
			t.Fatal(err)
		}
	}
	fill(t, srv, pools)
	if got := signIns.Counts(); got.SignIns < int64(4*n) || len(got.Failures) > 0 {
		t.Errorf("Counts() = %+v, want %d sign-ins and no failure", got, 4*n)
	}
}

// A pool lends connections.
type pool struct {
	size int
	// use borrows a connection and keeps it until release is closed.
	use func(ctx context.Context, release <-chan struct{}) error
}

// fill uses all connections of all pools at the same time.
func fill(t *testing.T, srv *emulator.Server, pools []pool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), calm)
	defer cancel()
	release := make(chan struct{})
	var all sync.WaitGroup
	size := 0
	for i, p := range pools {
		size += p.size
		for range p.size {
			all.Go(func() {
				if err := p.use(ctx, release); err != nil {
					t.Errorf("pool %d: %v", i, err)
				}
			})
		}
	}
	for signedIn(srv) < size && !t.Failed() {
		select {
		case <-ctx.Done():
			t.Errorf("%d connections are signed in, want %d", signedIn(srv), size)
		case <-time.After(10 * time.Millisecond):
		}
	}
	close(release)
	all.Wait()
}

func signedIn(srv *emulator.Server) (n int) {
	for _, s := range srv.Sessions(emulator.DefaultCache) {
		if s.User != "" {
			n++
		}
	}
	return n
}

func goRedisOptions(cache emulator.Endpoint, size int) *redis.Options {
	return &redis.Options{Addr: cache.Addr, TLSConfig: cache.TLS, PoolSize: size, DialTimeout: calm, PoolTimeout: calm, ReadTimeout: calm, MaxRetries: -1}
}

func goRedisPool(t *testing.T, cache emulator.Endpoint, src rediam.TokenSource, size int) pool {
	o := goRedisOptions(cache, size)
	if err := goredis.Configure(o, src, rediam.Renewal{}); err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(o)
	t.Cleanup(func() { client.Close() })
	return pool{size, func(ctx context.Context, release <-chan struct{}) error {
		conn := client.Conn()
		defer conn.Close()
		if err := conn.Ping(ctx).Err(); err != nil {
			return fmt.Errorf("go-redis: %w", err)
		}
		<-release
		return nil
	}}
}

// goRedisStream holds a connection with a command that blocks: Conn and Watch are
// not for clients that stream.
func goRedisStream(t *testing.T, cache emulator.Endpoint, src rediam.TokenSource, size int) pool {
	o := goRedisOptions(cache, size)
	if err := goredis.Stream(o, src, rediam.Renewal{}); err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(o)
	t.Cleanup(func() { client.Close() })
	other := goRedisOptions(cache, 10)
	if err := goredis.Configure(other, src, rediam.Renewal{}); err != nil {
		t.Fatal(err)
	}
	pusher := redis.NewClient(other)
	t.Cleanup(func() { pusher.Close() })
	return pool{size, func(ctx context.Context, release <-chan struct{}) error {
		go func() {
			<-release
			if err := pusher.RPush(ctx, "released", 1).Err(); err != nil {
				t.Errorf("release: %v", err)
			}
		}()
		if err := client.BLPop(ctx, 0, "released").Err(); err != nil {
			return fmt.Errorf("go-redis streaming: %w", err)
		}
		return nil
	}}
}

func redigoPool(t *testing.T, cache emulator.Endpoint, src rediam.TokenSource, size int) pool {
	dialer := &redigo.Dialer{Addr: cache.Addr, TLS: cache.TLS, Source: src, Timeout: calm}
	p := &redigolib.Pool{DialContext: dialer.DialContext, TestOnBorrowContext: dialer.TestOnBorrowContext, MaxIdle: size}
	t.Cleanup(func() { p.Close() })
	return pool{size, func(ctx context.Context, release <-chan struct{}) error {
		conn, err := p.GetContext(ctx)
		if err != nil {
			return fmt.Errorf("redigo: %w", err)
		}
		defer conn.Close()
		if _, err := redigolib.DoContext(conn, ctx, "PING"); err != nil {
			return fmt.Errorf("redigo: %w", err)
		}
		<-release
		return nil
	}}
}

// valkeyPool reads until all of its connections are there: one that all share finds
// out by itself that it is closed. (A dedicated one does so at the next PING that
// valkey-go sends, within a second.)
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
	return pool{1 << multiplex, func(ctx context.Context, release <-chan struct{}) error {
		for {
			if err := client.Do(ctx, client.B().Get().Key(rand.Text()).Build()).Error(); !valkey.IsValkeyNil(err) {
				return fmt.Errorf("valkey-go: %w", err)
			}
			select {
			case <-release:
				return nil
			case <-time.After(10 * time.Millisecond):
			}
		}
	}}
}
