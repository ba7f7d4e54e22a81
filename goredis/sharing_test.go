package goredis_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	redisv8 "github.com/go-redis/redis/v8"
	redigolib "github.com/gomodule/redigo/redis"
	"github.com/redis/go-redis/v9"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/emulator"
	"github.com/rediam/rediam/goredis"
	"github.com/rediam/rediam/redigo"
)

// forV8 is the recipe of docs/clients.md for go-redis v8.
func forV8(o *redisv8.Options, src rediam.TokenSource) {
	o.Username, o.Password = "", "" // they would be sent before OnConnect is called
	o.OnConnect = func(ctx context.Context, conn *redisv8.Conn) error {
		token, err := src.Token(ctx)
		if err != nil {
			return err
		}
		return conn.AuthACL(ctx, token.User, token.Password).Err()
	}
	o.MaxConnAge = 9 * time.Hour
}

func TestOneSignerServesEveryClientOfAProgram(t *testing.T) {
	srv := emulator.Start(t)
	cache := srv.Cache(emulator.DefaultCache)
	var loads, tokens atomic.Int64
	s := signer(srv)
	s.Credentials = aws.NewCredentialsCache(function(func() (aws.Credentials, error) {
		loads.Add(1)
		return srv.Credentials(emulator.DefaultRole).Retrieve(context.Background())
	}))
	var log bytes.Buffer
	signIns := &rediam.SignIns{Source: counted{s, &tokens}, Log: slog.New(slog.NewTextHandler(&log, nil))}

	if err := rediam.Probe(t.Context(), signIns); err != nil {
		t.Fatal(err)
	}
	o := &redis.Options{Addr: cache.Addr, TLSConfig: cache.TLS}
	must(t, goredis.Configure(o, signIns, rediam.Renewal{}))
	v9 := redis.NewClient(o)
	defer v9.Close()
	o8 := &redisv8.Options{Addr: cache.Addr, TLSConfig: cache.TLS, Username: "x", Password: "s3cr3t"}
	forV8(o8, signIns)
	v8 := redisv8.NewClient(o8)
	defer v8.Close()
	dialer := &redigo.Dialer{Addr: cache.Addr, TLS: cache.TLS, Source: signIns}
	pool := &redigolib.Pool{DialContext: dialer.DialContext, TestOnBorrowContext: dialer.TestOnBorrowContext}
	defer pool.Close()
	if tokens.Load() != 1 {
		t.Errorf("%d tokens before the first command, want that of the probe", tokens.Load())
	}

	for range 3 {
		must(t, v9.Ping(t.Context()).Err())
		must(t, v8.Ping(t.Context()).Err())
		conn := pool.Get()
		_, err := conn.Do("PING")
		must(t, err)
		must(t, conn.Close())
	}
	if loads.Load() != 1 || strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), "with.cache=demo") {
		t.Errorf("credentials loaded %d times, want once; the log, of one line:\n%s", loads.Load(), log.String())
	}
	for _, e := range srv.Events() {
		if !e.Admitted() {
			t.Errorf("a sign-in was refused: %s", e.Detail)
		}
	}
}

// counted is a Signer whose tokens are counted.
type counted struct {
	*rediam.Signer
	tokens *atomic.Int64
}

func (c counted) Token(ctx context.Context) (rediam.Token, error) {
	c.tokens.Add(1)
	return c.Signer.Token(ctx)
}
