// Command goredis-cluster increments counters on all shards of a cluster with
// go-redis, signed in with AWS IAM for as long as it runs. Against the emulator:
//
//	rediam emulate --nodes 3 --env-file rediam.env      # in another terminal
//	. ./rediam.env
//	export REDIS_URL="rediss://$REDIAM_USER@$REDIAM_ENDPOINT" REDIS_AWS_AUTH=true REDIS_AWS_CACHE_NAME="$REDIAM_CACHE"
//	go run ./examples/goredis-cluster -v
package main

import (
	"context"
	"log"
	"math/rand/v2"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/examples/target"
	"github.com/rediam/rediam/goredis"
)

func main() {
	cache := target.Read()
	options := &redis.ClusterOptions{Addrs: []string{cache.Addr}, TLSConfig: cache.TLS}
	if err := goredis.Configure(options, cache.SignIns, rediam.Renewal{}); err != nil {
		log.Fatal(err)
	}
	client := redis.NewClusterClient(options)
	defer client.Close()
	cache.Work(func(ctx context.Context) error {
		return client.Incr(ctx, "visits:"+strconv.Itoa(rand.IntN(100))).Err()
	})
}
