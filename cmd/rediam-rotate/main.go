// Command rediam-rotate is the Lambda function that rotates passwords of caches for
// Secrets Manager. docs/rotation.md says how it is set up. Outside of Lambda it takes
// one event from standard input.
package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"github.com/rediam/rediam/rotate"
)

const (
	// reserve is kept of the function's time for saying why it is over.
	reserve  = 2 * time.Second
	maxEvent = 64 << 10
)

func main() {
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	f, err := newFunction(context.Background(), os.Getenv, log)
	if err != nil {
		log.Error("configuration", "error", err)
		os.Exit(2)
	}
	if os.Getenv("AWS_LAMBDA_RUNTIME_API") != "" {
		lambda.Start(f.handle)
	}
	if err := f.read(context.Background(), os.Stdin); err != nil {
		os.Exit(1) // it is in the log
	}
}

// A function rotates the secrets that its environment names.
type function struct {
	rotator *rotate.Rotator
	log     *slog.Logger
}

// newFunction reads the environment: docs/rotation.md lists the variables.
func newFunction(ctx context.Context, env func(string) string, log *slog.Logger) (*function, error) {
	awsConfig, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, err
	}
	trust, err := trusted(env("REDIAM_CA"))
	if err != nil {
		return nil, err
	}
	grace, err := time.ParseDuration(cmp.Or(env("REDIAM_ROTATE_GRACE"), "5m"))
	switch {
	case err != nil || grace < 0:
		return nil, errors.New("REDIAM_ROTATE_GRACE must be a duration such as 5m")
	case grace == 0:
		grace = -1 // zero means five minutes to the package
	}
	every, err := time.ParseDuration(cmp.Or(env("REDIAM_ROTATE_POLL"), "750ms"))
	if err != nil || every <= 0 {
		return nil, errors.New("REDIAM_ROTATE_POLL must be a duration such as 750ms")
	}
	targets, err := targets(env, awsConfig, rotate.TLSLogin(trust))
	if err != nil {
		return nil, err
	}
	return &function{log: log, rotator: &rotate.Rotator{Secrets: secretsmanager.NewFromConfig(awsConfig), Targets: targets, Grace: grace,
		Poll: rotate.Poll{Every: every, Progress: func(what string) { log.Info(what) }}}}, nil
}

// targets are those of REDIAM_ROTATE_SECRETS: SECRET=ID,… A secret's name may have =
// in it, an id has none.
func targets(env func(string) string, awsConfig aws.Config, login rotate.Login) (map[string]rotate.Target, error) {
	all := map[string]rotate.Target{}
	for _, pair := range list(env("REDIAM_ROTATE_SECRETS")) {
		i := strings.LastIndexByte(pair, '=')
		if i <= 0 || i == len(pair)-1 {
			return nil, errors.New("REDIAM_ROTATE_SECRETS must be SECRET=ID,…: the name or ARN of each secret, and the replication group or user whose password it is")
		}
		of, err := rotate.NewTarget(rotate.Kind(env("REDIAM_ROTATE_KIND")), pair[i+1:], awsConfig, login, list(env("REDIAM_ROTATE_NODES")))
		if err != nil {
			return nil, fmt.Errorf("REDIAM_ROTATE_KIND and REDIAM_ROTATE_NODES: %w", err)
		}
		all[pair[:i]] = of
	}
	if len(all) == 0 {
		return nil, errors.New("REDIAM_ROTATE_SECRETS is empty: no secret may be rotated")
	}
	return all, nil
}

func list(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
}

func trusted(file string) (*tls.Config, error) {
	trust := &tls.Config{MinVersion: tls.VersionTLS12}
	if file == "" {
		return trust, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("REDIAM_CA: %w", err)
	}
	trust.RootCAs = x509.NewCertPool()
	if !trust.RootCAs.AppendCertsFromPEM(pem) {
		return nil, errors.New("REDIAM_CA: the file holds no certificate in PEM form")
	}
	return trust, nil
}

// handle does one step. It ends before Lambda would end it without a word.
func (f *function) handle(ctx context.Context, e rotate.Event) error {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-reserve))
		defer cancel()
	}
	log := f.log.With("step", e.Step, "secret", e.SecretID, "version", e.ClientRequestToken)
	err := f.rotator.Handle(ctx, e)
	if err != nil {
		log.Error("failed", "error", err)
		return err
	}
	log.Info("done")
	return nil
}

// read does the step of the event that it reads.
func (f *function) read(ctx context.Context, in io.Reader) error {
	text, err := io.ReadAll(io.LimitReader(in, maxEvent))
	var e rotate.Event
	if err != nil || json.Unmarshal(text, &e) != nil {
		err = errors.New("standard input is no event of a rotation")
		f.log.Error("failed", "error", err)
		return err
	}
	return f.handle(ctx, e)
}
