// Command kv is a key-value store over HTTP that keeps its data in ElastiCache or
// MemoryDB and signs in there with AWS IAM. README.md lists its environment.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/rediam/rediam"
	"github.com/rediam/rediam/examples/kv/app"
	"github.com/redis/go-redis/v9"
)

// startTime is how long AWS credentials may take to be found.
const startTime = 10 * time.Second

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "kv:", err)
		os.Exit(1)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	client, err := connect(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	listener, err := net.Listen("tcp", withPort(cmp.Or(os.Getenv("LISTEN_ADDR"), "127.0.0.1"), cmp.Or(os.Getenv("PORT"), "8080")))
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	log.Info("listening", "url", "http://"+listener.Addr().String())
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	return app.Serve(ctx, listener, app.NewHandler(client, log))
}

// connect makes a client of the cache that the environment describes, once there
// are AWS credentials to sign in with.
func connect(ctx context.Context) (redis.UniversalClient, error) {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	awsConfig, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, fmt.Errorf("load the AWS configuration: %w", err)
	}
	t, unreadable := readTarget()
	signer, err := t.cache.Signer(awsConfig)
	if err := errors.Join(unreadable, err, unset(awsConfig.Region)); err != nil {
		return nil, err
	}
	if err := rediam.Probe(ctx, signer); err != nil {
		return nil, err
	}
	return app.NewClient(t.cache.Addr(), t.cluster, t.trust, signer), nil
}
