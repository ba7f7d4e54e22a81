package rediam_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/emulator"
	"github.com/redis/go-redis/v9"
)

// A go-redis client that signs in with IAM. On AWS the four values that come from
// the emulator here are the cache's name and region, the endpoint, and the
// credentials of an aws.Config.
func Example() {
	ctx := context.Background()
	srv, err := emulator.Open(ctx, emulator.Config{Engine: "embedded"})
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	cache := srv.Cache("demo")

	signer := &rediam.Signer{
		Cache:       cache.Name,
		User:        "demo-user",
		Region:      srv.Region(),
		Credentials: srv.Credentials("demo-app"),
	}
	if err := rediam.Probe(ctx, signer); err != nil {
		log.Fatal(err)
	}
	client := redis.NewClient(&redis.Options{
		Addr:                       cache.Addr,
		TLSConfig:                  cache.TLS,
		CredentialsProviderContext: rediam.BasicAuth(signer),
		ConnMaxLifetime:            9 * time.Hour,
		ConnMaxLifetimeJitter:      2 * time.Hour,
	})
	defer client.Close()

	fmt.Println(client.Set(ctx, "foo1", "bar1", 0).Val())
	fmt.Println(client.Get(ctx, "foo1").Val())
	// Output:
	// OK
	// bar1
}
