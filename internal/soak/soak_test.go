package soak_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
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
	// pace is how often each of some 1,400 workers takes a step.
	pace = 700 * time.Millisecond
	// nodes are those of the cluster.
	nodes = 3
	// stepTime is how long the end of something may take.
	stepTime = 10 * time.Second
	// blockTime is how long a command may block: what is left of a connection's
	// life when it is lent last must be enough for it.
	blockTime = 500 * time.Millisecond
)

// A place is a cache and whom to sign in as.
type place struct {
	cache  emulator.Endpoint
	signer *rediam.Signer
}

func newPlace(t *testing.T, nodes int) place {
	srv := emulator.Start(t, emulator.Config{Engine: "redis-server", Nodes: nodes, TokenTTL: soak.TokenTTL, ConnectionTTL: soak.ConnectionTTL})
	cache := srv.Cache(emulator.DefaultCache)
	return place{cache, &rediam.Signer{Cache: cache.Name, User: emulator.DefaultUser, Region: srv.Region(), Credentials: soak.Rotating(srv, emulator.DefaultRole), Now: srv.Now}}
}

// Every client goes on for many lives of a connection without one failed command,
// while tokens, credentials and connections run out around it.
func TestSoakOfEveryClientAtTheSameTime(t *testing.T) {
	lives := soak.Size(t, "REDIAM_SOAK")
	installed.Path(t, "redis-server")
	single, cluster := newPlace(t, 0), newPlace(t, nodes)
	clients := []soak.Client{
		goRedis(t, "go-redis", single, goredis.Configure[redis.UniversalOptions]),
		goRedis(t, "go-redis streaming", single, goredis.Stream[redis.UniversalOptions]),
		goRedis(t, "go-redis cluster", cluster, goredis.Configure[redis.UniversalOptions]),
		goRedis(t, "go-redis cluster streaming", cluster, goredis.Stream[redis.UniversalOptions]),
		redigoClient("redigo", single),
		valkeyGo(t, "valkey-go", single), valkeyGo(t, "valkey-go cluster", cluster),
	}
	soak.LeavesNothing(t, func() {
		soak.Run(t, time.Duration(lives)*soak.ConnectionTTL, pace, clients...)
		for _, c := range clients {
			c.Close()
		}
	})
	for _, c := range clients {
		got := c.SignIns.Counts()
		for deadline := time.Now().Add(stepTime); got.Connections > 0 && time.Now().Before(deadline); got = c.SignIns.Counts() {
			time.Sleep(time.Millisecond) // some clients close their connections in the background
		}
		t.Logf("%d lives of %s: %+v", lives, c.Name, got)
		// An idle connection may be cut in the very moment when it is renewed, which costs no command.
		delete(got.Failures, rediam.CauseConnection)
		if got.SignIns+got.Renewals < int64(lives) || len(got.Failures) > 0 || got.Connections != 0 {
			t.Errorf("%s: want no refusal and no connection left", c.Name)
		}
	}
}

// The work of one step: a counter that is nobody else's must be what it should.
func counter(worker int) string { return "{" + strconv.Itoa(worker) + "}" }

func wrong(what string, got any, err error, want any) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return fmt.Errorf("%s = %v, want %v", what, got, want)
}

func goRedis(t *testing.T, name string, p place, way func(*redis.UniversalOptions, rediam.TokenSource, rediam.Renewal) error) soak.Client {
	signIns := rediam.Follow(p.signer)
	o := &redis.UniversalOptions{Addrs: p.cache.Nodes, TLSConfig: p.cache.TLS, PoolSize: soak.Connections / len(p.cache.Nodes),
		ConnMaxIdleTime: soak.ConnectionTTL / 6} // by default half an hour of 12
	if err := way(o, signIns, soak.Renewal); err != nil {
		t.Fatal(err)
	}
	client := redis.NewUniversalClient(o)
	step := func(ctx context.Context, worker, done int) error {
		key := counter(worker) + name
		if got, err := client.Incr(ctx, key).Result(); err != nil || got != int64(done+1) {
			return wrong("INCR", got, err, done+1)
		}
		var got *redis.StringCmd
		batch := func(b redis.Pipeliner) error {
			b.Set(ctx, key+"copy", done, 0)
			got = b.Get(ctx, key+"copy")
			return nil
		}
		pipelined := client.Pipelined
		if done%2 == 1 {
			pipelined = client.TxPipelined
		}
		if _, err := pipelined(ctx, batch); err != nil || got.Val() != strconv.Itoa(done) {
			return wrong("GET", got, err, done)
		}
		return nil
	}
	push := func(ctx context.Context, n int) error { return client.RPush(ctx, name, n).Err() }
	pop := func(ctx context.Context) (string, error) {
		popped, err := client.BLPop(ctx, blockTime, name).Result()
		if errors.Is(err, redis.Nil) {
			return "", nil
		}
		if err != nil {
			return "", err
		}
		return popped[1], nil
	}
	return soak.Client{Name: name, SignIns: signIns, Step: step, Loops: queue(push, pop), Close: func() { client.Close() }}
}

func redigoClient(name string, p place) soak.Client {
	signIns := rediam.Follow(p.signer)
	dialer := &redigo.Dialer{Addr: p.cache.Addr, TLS: p.cache.TLS, Source: signIns, Renewal: soak.Renewal}
	pool := &redigolib.Pool{DialContext: dialer.DialContext, TestOnBorrowContext: dialer.TestOnBorrowContext, MaxActive: soak.Connections, MaxIdle: soak.Connections, Wait: true}
	with := func(ctx context.Context, f func(redigolib.Conn) error) error {
		conn, err := pool.GetContext(ctx)
		if err != nil {
			return err
		}
		defer conn.Close()
		return f(conn)
	}
	step := func(ctx context.Context, worker, done int) error {
		key := counter(worker) + name
		return with(ctx, func(conn redigolib.Conn) error {
			if got, err := redigolib.Int(redigolib.DoContext(conn, ctx, "INCR", key)); err != nil || got != done+1 {
				return wrong("INCR", got, err, done+1)
			}
			conn.Send("MULTI")
			conn.Send("SET", key+"copy", done)
			conn.Send("GET", key+"copy")
			got, err := redigolib.Values(redigolib.DoContext(conn, ctx, "EXEC"))
			if err != nil || len(got) != 2 || string(got[1].([]byte)) != strconv.Itoa(done) {
				return wrong("EXEC", got, err, done)
			}
			return nil
		})
	}
	push := func(ctx context.Context, n int) error {
		return with(ctx, func(conn redigolib.Conn) error {
			_, err := redigolib.DoContext(conn, ctx, "RPUSH", name, n)
			return err
		})
	}
	pop := func(ctx context.Context) (text string, err error) {
		err = with(ctx, func(conn redigolib.Conn) error {
			popped, err := redigolib.Strings(redigolib.DoContext(conn, ctx, "BLPOP", name, blockTime.Seconds()))
			if err == nil {
				text = popped[1]
			}
			return err
		})
		if errors.Is(err, redigolib.ErrNil) {
			return "", nil
		}
		return text, err
	}
	return soak.Client{Name: name, SignIns: signIns, Step: step, Loops: queue(push, pop), Close: func() { pool.Close() }}
}

func valkeyGo(t *testing.T, name string, p place) soak.Client {
	signIns := rediam.Follow(p.signer)
	o := valkey.ClientOption{InitAddress: p.cache.Nodes, TLSConfig: p.cache.TLS, ForceSingleClient: len(p.cache.Nodes) == 1, PipelineMultiplex: 5, BlockingPoolSize: soak.Connections}
	if err := valkeygo.Configure(&o, signIns, soak.Renewal); err != nil {
		t.Fatal(err)
	}
	client, err := valkey.NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	b := client.B()
	step := func(ctx context.Context, worker, done int) error {
		key := counter(worker) + name
		if got, err := client.Do(ctx, b.Incr().Key(key).Build()).AsInt64(); err != nil || got != int64(done+1) {
			return wrong("INCR", got, err, done+1)
		}
		results := client.DoMulti(ctx, b.Set().Key(key+"copy").Value(strconv.Itoa(done)).Build(), b.Get().Key(key+"copy").Build())
		if got, err := results[1].AsInt64(); err != nil || got != int64(done) {
			return wrong("GET", got, err, done)
		}
		return nil
	}
	push := func(ctx context.Context, n int) error {
		return client.Do(ctx, b.Rpush().Key(name).Element(strconv.Itoa(n)).Build()).Error()
	}
	// valkey-go renews the connection while it is nobody's: see docs/clients.md.
	pop := func(ctx context.Context) (string, error) {
		time.Sleep(5 * time.Millisecond)
		popped, err := client.Do(ctx, b.Blpop().Key(name).Timeout(blockTime.Seconds()).Build()).AsStrSlice()
		if valkey.IsValkeyNil(err) {
			return "", nil
		}
		if err != nil {
			return "", err
		}
		return popped[1], nil
	}
	return soak.Client{Name: name, SignIns: signIns, Step: step, Loops: append(queue(push, pop), messages(client, name)...), Close: client.Close}
}

// loopPace is how often a loop sends something.
const loopPace = 50 * time.Millisecond

// queue is a producer and a consumer of a list, whose elements arrive once and in
// order.
func queue(push func(ctx context.Context, n int) error, pop func(ctx context.Context) (string, error)) []func(context.Context) error {
	end := make(chan int, 1)
	produce := func(ctx context.Context) error {
		n, err := every(ctx, loopPace, push)
		end <- n
		return err
	}
	consume := func(ctx context.Context) error {
		ctx = context.WithoutCancel(ctx)
		for n, last := 0, -1; n != last; {
			got, err := pop(ctx)
			switch {
			case err != nil:
				return wrong("BLPOP", got, err, n)
			case got == "" && last >= 0: // all are in the list that have not been taken
				return fmt.Errorf("BLPOP: of %d elements number %d is lost", last, n)
			case got == "":
			case got != strconv.Itoa(n):
				return wrong("BLPOP", got, nil, n)
			default:
				n++
			}
			select {
			case last = <-end:
			default:
			}
		}
		return nil
	}
	return []func(context.Context) error{produce, consume}
}

// every calls f with 0, 1, … until ctx is done, and tells how often it has.
func every(ctx context.Context, pace time.Duration, f func(ctx context.Context, n int) error) (n int, err error) {
	for {
		select {
		case <-ctx.Done():
			return n, nil
		case <-time.After(pace):
		}
		if err := f(context.WithoutCancel(ctx), n); err != nil {
			return n, err
		}
		n++
	}
}

// messages are published and received, each once and in order, on connections that
// only renewals keep open.
func messages(client valkey.Client, name string) []func(context.Context) error {
	return []func(context.Context) error{func(ctx context.Context) error {
		received := make(chan string, 1)
		subscription, cancel := context.WithCancel(context.WithoutCancel(ctx))
		defer cancel()
		lost := make(chan error, 1)
		ready := make(chan struct{})
		go func() {
			withHook := valkey.WithOnSubscriptionHook(subscription, func(valkey.PubSubSubscription) { close(ready) })
			lost <- client.Receive(withHook, client.B().Subscribe().Channel(name).Build(), func(m valkey.PubSubMessage) { received <- m.Message })
		}()
		select {
		case <-ready:
		case err := <-lost:
			return fmt.Errorf("SUBSCRIBE: %w", err)
		}
		_, err := every(ctx, loopPace, func(ctx context.Context, n int) error {
			if err := client.Do(ctx, client.B().Publish().Channel(name).Message(strconv.Itoa(n)).Build()).Error(); err != nil {
				return err
			}
			select {
			case got := <-received:
				if got != strconv.Itoa(n) {
					return wrong("message", got, nil, n)
				}
			case err := <-lost:
				return fmt.Errorf("SUBSCRIBE has ended: %w", err)
			case <-time.After(stepTime):
				return wrong("message", "none", nil, n)
			}
			return nil
		})
		return err
	}}
}
