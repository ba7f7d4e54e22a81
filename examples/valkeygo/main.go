// Command valkeygo increments a counter with valkey-go, signed in with AWS IAM for
// as long as it runs. Against the emulator, on a real engine (the embedded one does
// not track what clients cache: set DisableCache there):
//
//	rediam emulate --engine redis-server --env-file rediam.env      # in another terminal
//	. ./rediam.env
//	export REDIS_URL="rediss://$REDIAM_USER@$REDIAM_ENDPOINT" REDIS_AWS_AUTH=true REDIS_AWS_CACHE_NAME="$REDIAM_CACHE"
//	go run ./examples/valkeygo -v
package main

import (
	"context"
	"log"

	"github.com/valkey-io/valkey-go"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/examples/target"
	"github.com/rediam/rediam/valkeygo"
)

func main() {
	cache := target.Read()
	option := valkey.ClientOption{InitAddress: []string{cache.Addr}, TLSConfig: cache.TLS}
	if err := valkeygo.Configure(&option, cache.SignIns, rediam.Renewal{}); err != nil {
		log.Fatal(err)
	}
	client, err := valkey.NewClient(option)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	cache.Work(func(ctx context.Context) error {
		return client.Do(ctx, client.B().Incr().Key("visits").Build()).Error()
	})
}
