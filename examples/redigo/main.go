// Command redigo increments a counter with redigo, signed in with AWS IAM for as
// long as it runs. Against the emulator:
//
//	rediam emulate --env-file rediam.env      # in another terminal
//	. ./rediam.env
//	export REDIS_URL="rediss://$REDIAM_USER@$REDIAM_ENDPOINT" REDIS_AWS_AUTH=true REDIS_AWS_CACHE_NAME="$REDIAM_CACHE"
//	go run ./examples/redigo -v
package main

import (
	"context"

	"github.com/gomodule/redigo/redis"

	"github.com/rediam/rediam/examples/target"
	"github.com/rediam/rediam/redigo"
)

func main() {
	cache := target.Read()
	dialer := &redigo.Dialer{Addr: cache.Addr, TLS: cache.TLS, Source: cache.SignIns}
	pool := &redis.Pool{
		DialContext:         dialer.DialContext,
		TestOnBorrowContext: dialer.TestOnBorrowContext,
		MaxIdle:             10,
	}
	defer pool.Close()
	cache.Work(func(ctx context.Context) error {
		conn, err := pool.GetContext(ctx)
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = redis.DoContext(conn, ctx, "INCR", "visits")
		return err
	})
}
