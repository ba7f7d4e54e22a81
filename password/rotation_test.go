package password_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	elasticachetypes "github.com/aws/aws-sdk-go-v2/service/elasticache/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	redigoredis "github.com/gomodule/redigo/redis"
	"github.com/redis/go-redis/v9"
	"github.com/valkey-io/valkey-go"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/emulator"
	"github.com/rediam/rediam/goredis"
	"github.com/rediam/rediam/internal/proxy"
	"github.com/rediam/rediam/password"
	"github.com/rediam/rediam/redigo"
	"github.com/rediam/rediam/rotate"
	"github.com/rediam/rediam/valkeygo"
)

const (
	clients  = 50
	patience = 30 * time.Second
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A way opens a connection, asks something and closes it.
type way func(ctx context.Context) error

// ways are all there are for programs to sign in with a secret.
var ways = map[string]func(*testing.T, emulator.Endpoint, *rediam.SignIns) way{
	"go-redis": goRedis,
	"redigo": func(t *testing.T, cache emulator.Endpoint, src *rediam.SignIns) way {
		dialer := &redigo.Dialer{Addr: cache.Addr, TLS: cache.TLS, Source: src, Timeout: patience}
		return func(ctx context.Context) error {
			c, err := dialer.DialContext(ctx)
			if err != nil {
				return err
			}
			defer c.Close()
			_, err = redigoredis.DoContext(c, ctx, "PING")
			return err
		}
	},
	"valkey-go": func(t *testing.T, cache emulator.Endpoint, src *rediam.SignIns) way {
		return func(ctx context.Context) error {
			o := valkey.ClientOption{InitAddress: []string{cache.Addr}, TLSConfig: cache.TLS, ForceSingleClient: true, DisableRetry: true, DisableCache: true, PipelineMultiplex: -1,
				Dialer: net.Dialer{Timeout: patience}}
			if err := valkeygo.Configure(&o, src, rediam.Renewal{}); err != nil {
				return err
			}
			client, err := valkey.NewClient(o)
			if err != nil {
				return err
			}
			defer client.Close()
			return client.Do(ctx, client.B().Ping().Build()).Error()
		}
	},
	"the proxy": func(t *testing.T, cache emulator.Endpoint, src *rediam.SignIns) way {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		p := &proxy.Proxy{Addr: cache.Addr, TLS: cache.TLS, SignIns: src, ConnectTime: patience}
		ctx, cancel := context.WithCancel(context.Background())
		served := make(chan error, 1)
		go func() { served <- p.Serve(ctx, listener) }()
		t.Cleanup(func() {
			cancel()
			must(t, <-served)
		})
		return func(context.Context) error { return throughProxy(listener.Addr().String()) }
	},
}

func goRedis(t *testing.T, cache emulator.Endpoint, src *rediam.SignIns) way {
	o := redis.Options{Addr: cache.Addr, TLSConfig: cache.TLS, DialTimeout: patience, DialerRetries: 1, MaxRetries: -1, PoolSize: 1}
	in := o
	must(t, goredis.Configure(&o, src, rediam.Renewal{}))
	must(t, goredis.Stream(&in, src, rediam.Renewal{}))
	for _, o := range []redis.Options{o, in} {
		if o.Dialer == nil || o.CredentialsProviderContext != nil || o.StreamingCredentialsProvider != nil || o.ConnMaxLifetime != 0 {
			t.Error("the client has a provider, or replaces connections for nothing")
		}
	}
	return func(ctx context.Context) error {
		each := o
		client := redis.NewClient(&each)
		defer client.Close()
		return client.Ping(ctx).Err()
	}
}

// throughProxy signs out and in again between two commands.
func throughProxy(addr string) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	r := bufio.NewReader(c)
	for _, v := range []struct{ say, want string }{{"PING", "+PONG"}, {"RESET", "+RESET"}, {"PING", "+PONG"}} {
		if _, err := io.WriteString(c, v.say+"\r\n"); err != nil {
			return err
		}
		if line, err := r.ReadString('\n'); err != nil || strings.TrimSpace(line) != v.want {
			return fmt.Errorf("%s was answered %q, %v", v.say, line, err)
		}
	}
	return nil
}

// rotated is somebody's password that is changed in three steps.
type rotated struct {
	emulator.Cache
	kind   rotate.Kind
	target string
	secret func(password string) string
	both   func(ctx context.Context, api *elasticache.Client, old, new string) error // the cache takes both
	one    func(ctx context.Context, api *elasticache.Client, new string) error
}

var kinds = map[string]rotated{
	"a user": {
		Cache:  emulator.Cache{Name: "orders", Group: "orders-users"},
		kind:   rotate.KindElastiCacheUser,
		target: "orders-app",
		secret: func(password string) string { return of("orders-app", password) },
		both: func(ctx context.Context, api *elasticache.Client, old, new string) error {
			return modifyUser(ctx, api, old, new)
		},
		one: func(ctx context.Context, api *elasticache.Client, new string) error { return modifyUser(ctx, api, new) },
	},
	"an AUTH token": {
		Cache:  emulator.Cache{Name: "orders"},
		kind:   rotate.KindAuthToken,
		target: "orders",
		secret: func(token string) string { return fmt.Sprintf(`{"replicationGroupId":"orders","authToken":%q}`, token) },
		both: func(ctx context.Context, api *elasticache.Client, _, new string) error {
			return modifyToken(ctx, api, elasticachetypes.AuthTokenUpdateStrategyTypeRotate, new)
		},
		one: func(ctx context.Context, api *elasticache.Client, new string) error {
			return modifyToken(ctx, api, elasticachetypes.AuthTokenUpdateStrategyTypeSet, new)
		},
	},
}

func modifyUser(ctx context.Context, api *elasticache.Client, passwords ...string) error {
	_, err := api.ModifyUser(ctx, &elasticache.ModifyUserInput{UserId: aws.String("orders-app"),
		AuthenticationMode: &elasticachetypes.AuthenticationMode{Type: elasticachetypes.InputAuthenticationTypePassword, Passwords: passwords}})
	return err
}

func modifyToken(ctx context.Context, api *elasticache.Client, strategy elasticachetypes.AuthTokenUpdateStrategyType, token string) error {
	_, err := api.ModifyReplicationGroup(ctx, &elasticache.ModifyReplicationGroupInput{ReplicationGroupId: aws.String("orders"),
		AuthToken: &token, AuthTokenUpdateStrategy: strategy, ApplyImmediately: aws.Bool(true)})
	return err
}

func nth(n int) string { return fmt.Sprintf("a-password-that-is-number-%d", n) }

// REDIAM_ROTATIONS is how often it is rotated, twice if it is not set, and 90 times at
// most, since a secret has a hundred versions at most.
func TestNoSignInFailsWhileThePasswordIsRotated(t *testing.T) {
	rotations := 2
	if n, err := strconv.Atoi(os.Getenv("REDIAM_ROTATIONS")); err == nil {
		rotations = n
	}
	for kind, r := range kinds {
		for name, way := range ways {
			t.Run(kind+" with "+name, func(t *testing.T) { underRotation(t, r, way, min(rotations, 90)) })
		}
	}
}

func underRotation(t *testing.T, r rotated, open func(*testing.T, emulator.Endpoint, *rediam.SignIns) way, rotations int) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded", Empty: true})
	if r.Group != "" {
		must(t, srv.PutUser(emulator.User{Name: "orders-app", Access: "on ~* +@all", Auth: emulator.AuthPassword, Passwords: []emulator.Secret{emulator.Secret(nth(0))}}))
		must(t, srv.PutUser(emulator.User{ID: "orders-default", Name: "default", Auth: emulator.AuthNoPassword}))
		must(t, srv.PutGroup(emulator.Group{ID: r.Group, Users: []string{"orders-app", "orders-default"}}))
	} else {
		r.AuthTokens = []emulator.Secret{emulator.Secret(nth(0))}
	}
	must(t, srv.PutCache(r.Cache))
	key, err := srv.CreateAccessKey(emulator.AdminUser)
	must(t, err)
	config := aws.Config{Region: srv.Region(), BaseEndpoint: aws.String(srv.URL()), Credentials: emulator.KeyCredentials(key)}
	api, secrets := elasticache.NewFromConfig(config), secretsmanager.NewFromConfig(config)

	created, err := secrets.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: aws.String("orders/app"), SecretString: aws.String(r.secret(nth(0)))})
	must(t, err)
	version, log := created.VersionId, new(syncBuilder)
	logger := slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	signIns := rediam.Limit(&password.Source{Client: secrets, Secret: "orders/app", Log: logger}, 20)
	signIns.Log = logger
	cache := srv.Cache("orders")
	cache.TLS = cache.TLS.Clone()
	cache.TLS.ClientSessionCache = tls.NewLRUClientSessionCache(0) // most of the time is handshakes
	cache.TLS.CurvePreferences = []tls.CurveID{tls.X25519}
	connect := open(t, cache, signIns)

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var done atomic.Int64
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for ctx.Err() == nil {
				if err := connect(t.Context()); err != nil {
					t.Error(err)
					stop()
				}
				done.Add(1)
			}
		})
	}
	busy := func() { // until everybody has connected once more on the average
		for end := done.Load() + clients; done.Load() < end && ctx.Err() == nil; {
			time.Sleep(time.Millisecond)
		}
	}
	busy()
	for n := 1; n <= rotations && ctx.Err() == nil; n++ {
		next, err := secrets.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{SecretId: created.ARN, SecretString: aws.String(r.secret(nth(n))), VersionStages: []string{"AWSPENDING"}})
		must(t, err)
		must(t, r.both(ctx, api, nth(n-1), nth(n)))
		busy()
		if n%2 == 0 { // as a function that is in a hurry does: what is current is refused for a while
			must(t, r.one(ctx, api, nth(n)))
			busy()
		}
		_, err = secrets.UpdateSecretVersionStage(ctx, &secretsmanager.UpdateSecretVersionStageInput{SecretId: created.ARN, VersionStage: aws.String("AWSCURRENT"), MoveToVersionId: next.VersionId, RemoveFromVersionId: version})
		must(t, err)
		version = next.VersionId
		busy()
		if n%2 != 0 {
			must(t, r.one(ctx, api, nth(n)))
			busy()
		}
	}
	if ctx.Err() == nil { // and once by those who do it for good
		target, err := rotate.NewTarget(r.kind, r.target, config, rotate.TLSLogin(srv.Cache("orders").TLS), []string{srv.Cache("orders").Addr})
		must(t, err)
		rotator := &rotate.Rotator{Secrets: secrets, Targets: map[string]rotate.Target{"orders/app": target}, Grace: -1, Poll: rotate.Poll{Every: 5 * time.Millisecond}}
		_, err = rotator.Rotate(ctx, "orders/app")
		must(t, err)
		busy()
	}
	stop()
	all.Wait()
	if failures := signIns.Counts().Failures; len(failures) != 0 {
		t.Errorf("sign-ins failed: %v", failures)
	}
	if !slices.ContainsFunc(srv.Events(), func(e emulator.Event) bool { return !e.Admitted() }) {
		t.Error("no password was refused, so that none was tried again")
	}
	if strings.Contains(log.String(), "a-password-that-is") {
		t.Error("a password was logged")
	}
}
