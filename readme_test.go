package rediam_test

import (
	"context"
	"crypto/tls"
	"log"
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/redis/go-redis/v9"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/goredis"
)

// asInTheREADME is the README's program, so that it compiles.
func asInTheREADME(ctx context.Context) *redis.Client {
	cfg, err := config.LoadDefaultConfig(ctx) // aws-sdk-go-v2/config
	if err != nil {
		log.Fatal(err)
	}
	signer := &rediam.Signer{
		Cache:       "orders",     // replication group id, serverless cache name or MemoryDB cluster name; not the endpoint
		User:        "orders-app", // on ElastiCache the user's id and name, which must be equal
		Region:      cfg.Region,
		Credentials: cfg.Credentials,
	}
	if err := rediam.Probe(ctx, signer); err != nil { // no credentials: fail here, not at the first command
		log.Fatal(err)
	}
	options := &redis.Options{Addr: "master.orders.abc123.euw1.cache.amazonaws.com:6379", TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12}}
	if err := goredis.Configure(options, signer, rediam.Renewal{}); err != nil { // AWS closes a connection 12 h after its last sign-in
		log.Fatal(err)
	}
	client := redis.NewClient(options)
	return client
}

func TestTheREADMEsProgramIsTheOneAbove(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("readme_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(readme), "```go\n")
	program, _, _ := strings.Cut(rest, "```")
	if indented := "\t" + strings.ReplaceAll(strings.TrimSpace(program), "\n", "\n\t"); !strings.Contains(string(source), indented) {
		t.Errorf("readme_test.go does not compile the README's program:\n%s", program)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("AWS_REGION", "eu-west-1")
	asInTheREADME(t.Context()).Close()
}
