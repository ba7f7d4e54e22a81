// Package target is what the example programs have in common: where the cache is,
// whom to sign in as, and some work to do.
package target

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"

	"github.com/rediam/rediam"
)

// A Target is the cache that the environment describes.
type Target struct {
	Addr    string
	TLS     *tls.Config
	SignIns *rediam.SignIns
	config  rediam.Config
	length  *time.Duration
}

// Read reads the flags and the environment: REDIS_URL and its like, as
// rediam.ConfigFromEnv does, and REDIAM_CA for an authority of the cache's own. It
// ends the program if something is missing, AWS credentials included.
func Read() *Target {
	t, err := read()
	if err != nil {
		log.Fatal(err)
	}
	return t
}

func read() (*Target, error) {
	t := &Target{length: flag.Duration("for", 0, "how long to work; 0 is until Ctrl-C"), TLS: &tls.Config{MinVersion: tls.VersionTLS12}}
	verbose := flag.Bool("v", false, "log sign-ins and renewals")
	flag.Parse()
	var err error
	if t.config, err = rediam.ConfigFromEnv(os.LookupEnv); err != nil {
		return nil, err
	}
	if file := os.Getenv("REDIAM_CA"); file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		t.TLS.RootCAs = x509.NewCertPool()
		if !t.TLS.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("REDIAM_CA holds no certificate")
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	aws, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, err
	}
	signer, err := t.config.Signer(aws)
	if err != nil {
		return nil, err
	}
	level := slog.LevelInfo
	if *verbose {
		level = slog.LevelDebug
	}
	t.Addr = t.config.Addr()
	t.SignIns = rediam.Limit(signer, 20)
	t.SignIns.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	return t, rediam.Probe(ctx, t.SignIns)
}

// Work calls do ten times a second until the time is over, and says what came of
// it.
func (t *Target) Work(do func(context.Context) error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *t.length > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, *t.length)
		defer cancel()
	}
	done, failed := 0, 0
	for ctx.Err() == nil {
		if err := do(context.WithoutCancel(ctx)); err != nil {
			failed++
			log.Print(t.config.Explain(err))
		} else {
			done++
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
	counts := t.SignIns.Counts()
	fmt.Printf("%d commands, %d failed; %d sign-ins, %d renewals\n", done, failed, counts.SignIns, counts.Renewals)
}
