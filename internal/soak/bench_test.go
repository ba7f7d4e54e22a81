package soak_test

import (
	"cmp"
	"context"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	redigolib "github.com/gomodule/redigo/redis"
	"github.com/redis/go-redis/v9"
	"github.com/valkey-io/valkey-go"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/emulator"
	"github.com/rediam/rediam/goredis"
	"github.com/rediam/rediam/redigo"
	"github.com/rediam/rediam/valkeygo"
)

// The benchmarks compare a client that signs in with IAM with the same client that
// has a static password, in turns, so that a machine that changes its speed changes
// it for both.

const (
	benchConns   = 20
	benchWorkers = 50
	benchUser    = "static-user"
	benchSecret  = "a-static-password-1"
	slice        = 150 * time.Millisecond // of one turn
)

// A load sends one GET.
type load struct {
	get   func(ctx context.Context) error
	close func()
}

// clients make one of each kind: with a static password, and with IAM.
var benchClients = []struct {
	name   string
	static func(*testing.B, emulator.Endpoint, int) load
	iam    func(*testing.B, emulator.Endpoint, rediam.TokenSource, rediam.Renewal, int) load
}{
	{"go-redis", staticGoRedis, func(b *testing.B, e emulator.Endpoint, src rediam.TokenSource, r rediam.Renewal, n int) load {
		return goRedisLoad(b, e, n, func(o *redis.Options) error { return goredis.Configure(o, src, r) })
	}},
	{"go-redis-stream", staticGoRedis, func(b *testing.B, e emulator.Endpoint, src rediam.TokenSource, r rediam.Renewal, n int) load {
		return goRedisLoad(b, e, n, func(o *redis.Options) error { return goredis.Stream(o, src, r) })
	}},
	{"redigo", func(b *testing.B, e emulator.Endpoint, n int) load {
		return redigoLoad(&redigolib.Pool{DialContext: func(ctx context.Context) (redigolib.Conn, error) {
			return redigolib.DialContext(ctx, "tcp", e.Addr, redigolib.DialUseTLS(true), redigolib.DialTLSConfig(e.TLS), redigolib.DialUsername(benchUser), redigolib.DialPassword(benchSecret))
		}}, n)
	}, func(b *testing.B, e emulator.Endpoint, src rediam.TokenSource, r rediam.Renewal, n int) load {
		d := &redigo.Dialer{Addr: e.Addr, TLS: e.TLS, Source: src, Renewal: r}
		return redigoLoad(&redigolib.Pool{DialContext: d.DialContext, TestOnBorrowContext: d.TestOnBorrowContext}, n)
	}},
	{"valkey-go", func(b *testing.B, e emulator.Endpoint, _ int) load {
		return valkeyLoad(b, e, func(o *valkey.ClientOption) error { o.Username, o.Password = benchUser, benchSecret; return nil })
	}, func(b *testing.B, e emulator.Endpoint, src rediam.TokenSource, r rediam.Renewal, _ int) load {
		return valkeyLoad(b, e, func(o *valkey.ClientOption) error { return valkeygo.Configure(o, src, r) })
	}},
}

func staticGoRedis(b *testing.B, e emulator.Endpoint, n int) load {
	return goRedisLoad(b, e, n, func(o *redis.Options) error { o.Username, o.Password = benchUser, benchSecret; return nil })
}

func goRedisLoad(b *testing.B, e emulator.Endpoint, n int, way func(*redis.Options) error) load {
	o := &redis.Options{Addr: e.Addr, TLSConfig: e.TLS, PoolSize: n, DialTimeout: time.Minute, PoolTimeout: time.Minute}
	if err := way(o); err != nil {
		b.Fatal(err)
	}
	client := redis.NewClient(o)
	return load{func(ctx context.Context) error { return client.Get(ctx, "foo1").Err() }, func() { client.Close() }}
}

func redigoLoad(p *redigolib.Pool, n int) load {
	p.MaxActive, p.MaxIdle, p.Wait = n, n, true
	return load{func(ctx context.Context) error {
		c, err := p.GetContext(ctx)
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = redigolib.DoContext(c, ctx, "GET", "foo1")
		return err
	}, func() { p.Close() }}
}

func valkeyLoad(b *testing.B, e emulator.Endpoint, way func(*valkey.ClientOption) error) load {
	o := valkey.ClientOption{InitAddress: []string{e.Addr}, TLSConfig: e.TLS, ForceSingleClient: true, DisableCache: true}
	if err := way(&o); err != nil {
		b.Fatal(err)
	}
	client, err := valkey.NewClient(o)
	if err != nil {
		b.Fatal(err)
	}
	return load{func(ctx context.Context) error { return client.Do(ctx, client.B().Get().Key("foo1").Build()).Error() }, client.Close}
}

// both is an emulator where a user with a password may do what the one with IAM may.
func both(b *testing.B) (emulator.Endpoint, *rediam.Signer) {
	srv := emulator.Start(b)
	err := srv.PutUser(emulator.User{Name: benchUser, Auth: emulator.AuthPassword, Passwords: []emulator.Secret{benchSecret}, Access: "on ~* +@all"})
	if err == nil {
		err = srv.PutGroup(emulator.Group{ID: emulator.DefaultCache + "-users", Users: []string{emulator.DefaultCache + "-default", emulator.DefaultUser, benchUser}})
	}
	if err != nil {
		b.Fatal(err)
	}
	cache := srv.Cache(emulator.DefaultCache)
	return cache, &rediam.Signer{Cache: cache.Name, User: emulator.DefaultUser, Region: srv.Region(), Credentials: srv.Credentials(emulator.DefaultRole), Now: srv.Now}
}

// run has all workers send GETs for one slice, and tells how long each took.
func (l load) run(b *testing.B, d time.Duration) (latencies []time.Duration) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), d)
	defer cancel()
	var mu sync.Mutex
	var all sync.WaitGroup
	for range benchWorkers {
		all.Go(func() {
			var own []time.Duration
			for ctx.Err() == nil {
				start := time.Now()
				if err := l.get(context.WithoutCancel(ctx)); err != nil && err != redis.Nil && !valkey.IsValkeyNil(err) {
					b.Error(err)
					break
				}
				own = append(own, time.Since(start))
			}
			mu.Lock()
			defer mu.Unlock()
			latencies = append(latencies, own...)
		})
	}
	all.Wait()
	return latencies
}

func percentile[T cmp.Ordered](p int, values []T) T {
	slices.Sort(values)
	return values[(len(values)-1)*p/100]
}

// How much of the throughput with a static password is left between renewals.
func BenchmarkSteadyState(b *testing.B) {
	for _, c := range benchClients {
		b.Run(c.name, func(b *testing.B) {
			cache, signer := both(b)
			static, iam := c.static(b, cache, benchConns), c.iam(b, cache, signer, rediam.Renewal{}, benchConns)
			defer static.close()
			defer iam.close()
			static.run(b, slice)
			iam.run(b, slice)
			var ratios []float64
			for b.Loop() {
				ratios = append(ratios, 1/(float64(len(static.run(b, slice)))/float64(len(iam.run(b, slice)))))
			}
			b.ReportMetric(percentile(50, ratios), "of-static")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// What renewals cost while everybody works: connections are renewed 20,000 times as
// often as by default.
func BenchmarkRenewal(b *testing.B) {
	for _, c := range benchClients {
		b.Run(c.name, func(b *testing.B) {
			cache, signer := both(b)
			signIns := rediam.Follow(signer)
			static, iam := c.static(b, cache, benchConns), c.iam(b, cache, signIns, rediam.Renewal{After: 1600 * time.Millisecond}, benchConns)
			defer static.close()
			defer iam.close()
			static.run(b, slice)
			iam.run(b, slice)
			before := signIns.Counts()
			var without, with []time.Duration
			for b.Loop() {
				without, with = append(without, static.run(b, slice)...), append(with, iam.run(b, slice)...)
			}
			after := signIns.Counts()
			dials, auths := float64(after.SignIns-before.SignIns), float64(after.Renewals-before.Renewals)
			renewals := auths
			if auths == 0 { // they are replaced
				renewals = dials
			}
			b.ReportMetric(dials/max(renewals, 1), "dials/renewal")
			b.ReportMetric((dials+auths)/max(renewals, 1), "sign-ins/renewal")
			b.ReportMetric(renewals, "renewals")
			b.ReportMetric(float64(percentile(99, without).Microseconds()), "p99-static-µs")
			b.ReportMetric(float64(percentile(99, with).Microseconds()), "p99-µs")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// What a connection takes more than one with a static password.
func BenchmarkMemory(b *testing.B) {
	const conns = 500
	for _, c := range benchClients[:3] {
		b.Run(c.name, func(b *testing.B) {
			cache, signer := both(b)
			var more []float64
			for b.Loop() {
				static := heapOf(b, conns, func() load { return c.static(b, cache, conns) })
				more = append(more, (heapOf(b, conns, func() load { return c.iam(b, cache, signer, rediam.Renewal{}, conns) })-static)/conns)
			}
			b.ReportMetric(percentile(50, more), "B/connection")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// heapOf is how much more is in use with all connections open, the emulator's side
// included.
func heapOf(b *testing.B, conns int, open func() load) float64 {
	before := inUse()
	l := open()
	defer l.close()
	var all sync.WaitGroup
	for range conns {
		all.Go(func() {
			for range 20 {
				if err := l.get(b.Context()); err != nil && err != redis.Nil {
					b.Error(err)
				}
			}
		})
	}
	all.Wait()
	return inUse() - before
}

func inUse() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapInuse + m.StackInuse)
}
