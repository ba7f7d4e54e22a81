// Command goredis increments a counter with go-redis, signed in with AWS IAM for as
// long as it runs. Against the emulator:
//
//	rediam emulate --env-file rediam.env      # in another terminal
//	. ./rediam.env
//	export REDIS_URL="rediss://$REDIAM_USER@$REDIAM_ENDPOINT" REDIS_AWS_AUTH=true REDIS_AWS_CACHE_NAME="$REDIAM_CACHE"
//	go run ./examples/goredis -v
package main

import (
	"context"
	"log"

	"github.com/redis/go-redis/v9"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/examples/target"
	"github.com/rediam/rediam/goredis"
)

func main() {
	cache := target.Read()
	options := &redis.Options{Addr: cache.Addr, TLSConfig: cache.TLS}
	if err := goredis.Configure(options, cache.SignIns, rediam.Renewal{}); err != nil {
		log.Fatal(err)
	}
	client := redis.NewClient(options)
	defer client.Close()
	cache.Work(func(ctx context.Context) error { return client.Incr(ctx, "visits").Err() })
}
