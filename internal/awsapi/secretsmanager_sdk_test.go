package awsapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/rediam/rediam/emulator"
)

// secrets is an emulator with the SDK's client of its administrator for Secrets Manager.
type secrets struct {
	*secretsmanager.Client
	srv *emulator.Server
}

func secretsManager(srv *emulator.Server, k emulator.Key) *secretsmanager.Client {
	return secretsmanager.New(secretsmanager.Options{Region: srv.Region(), BaseEndpoint: aws.String(srv.URL()), Credentials: emulator.KeyCredentials(k),
		HTTPSignerV4: onClock{v4.NewSigner(), srv.Now}, HTTPClient: readers{}, RetryMaxAttempts: 1})
}

func newSecrets(t *testing.T, c emulator.Config) secrets {
	t.Helper()
	c.Engine, c.Empty = "embedded", true
	srv := emulator.Start(t, c)
	return secrets{secretsManager(srv, admin(t, srv)), srv}
}

// value is a value of the secret demo and the version that has it.
func (s secrets) value(t *testing.T, stage string) (value, version string) {
	t.Helper()
	got, err := s.GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: aws.String("demo"), VersionStage: &stage})
	noError(t, err)
	return *got.SecretString, *got.VersionId
}

// stages are the labels of the secret demo, each with the version that has it.
func (s secrets) stages(t *testing.T) map[string]string {
	t.Helper()
	got, err := s.DescribeSecret(t.Context(), &secretsmanager.DescribeSecretInput{SecretId: aws.String("demo")})
	noError(t, err)
	labels := map[string]string{}
	for version, stages := range got.VersionIdsToStages {
		for _, stage := range stages {
			labels[stage] = version
		}
	}
	return labels
}

// A rotator is a function as AWS's templates write it, over a client of its own. It
// sends each step that it is called for to steps, and does as fail tells.
type rotator struct {
	secrets
	steps chan string
	fail  func(step string) error
}

type rotationEvent struct{ Step, SecretId, ClientRequestToken string }

func (r rotator) call(ctx context.Context, event []byte) error {
	var e rotationEvent
	if err := json.Unmarshal(event, &e); err != nil {
		return err
	}
	r.steps <- e.Step
	if r.fail != nil {
		if err := r.fail(e.Step); err != nil {
			return err
		}
	}
	described, err := r.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &e.SecretId})
	if err != nil {
		return err
	}
	stages := described.VersionIdsToStages[e.ClientRequestToken]
	switch {
	case !aws.ToBool(described.RotationEnabled) || stages == nil:
		return errors.New("the version is not there, or rotation is off")
	case slices.Contains(stages, "AWSCURRENT"):
		return nil
	case !slices.Contains(stages, "AWSPENDING"):
		return errors.New("the version is not pending")
	}
	switch e.Step {
	case "createSecret":
		_, err := r.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &e.SecretId, VersionId: &e.ClientRequestToken, VersionStage: aws.String("AWSPENDING")})
		var missing *types.ResourceNotFoundException
		if !errors.As(err, &missing) {
			return err
		}
		made, err := r.GetRandomPassword(ctx, &secretsmanager.GetRandomPasswordInput{PasswordLength: aws.Int64(40)})
		if err != nil {
			return err
		}
		return only(r.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{SecretId: &e.SecretId, ClientRequestToken: &e.ClientRequestToken, SecretString: made.RandomPassword, VersionStages: []string{"AWSPENDING"}}))
	case "finishSecret":
		for version, stages := range described.VersionIdsToStages {
			if slices.Contains(stages, "AWSCURRENT") {
				return only(r.UpdateSecretVersionStage(ctx, &secretsmanager.UpdateSecretVersionStageInput{SecretId: &e.SecretId, VersionStage: aws.String("AWSCURRENT"), MoveToVersionId: &e.ClientRequestToken, RemoveFromVersionId: &version}))
			}
		}
	}
	return nil
}

// rotating is a secret demo, and a function that rotates it.
func (s secrets) rotating(t *testing.T, fail func(step string) error) rotator {
	t.Helper()
	r := rotator{s, make(chan string, 100), fail}
	s.srv.PutFunction("rotate-demo", r.call)
	noError(t, only(s.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: aws.String("demo"), SecretString: aws.String("first")})))
	return r
}

// ended waits until no rotation of the secret is under way, and tells what steps there were.
func (r rotator) wait(t *testing.T, steps ...string) {
	t.Helper()
	for _, want := range steps {
		if got := <-r.steps; got != want {
			t.Fatalf("step %s, want %s", got, want)
		}
	}
}

var allSteps = []string{"createSecret", "setSecret", "testSecret", "finishSecret"}

func (s secrets) rotateDemo(t *testing.T, change func(*secretsmanager.RotateSecretInput)) (*secretsmanager.RotateSecretOutput, error) {
	t.Helper()
	in := &secretsmanager.RotateSecretInput{SecretId: aws.String("demo"), RotationLambdaARN: aws.String(s.srv.FunctionARN("rotate-demo"))}
	if change != nil {
		change(in)
	}
	return s.RotateSecret(t.Context(), in)
}

// waitFor asks until something is so: a rotation has an end that nobody is told of.
func waitFor(t *testing.T, what string, is func() bool) {
	t.Helper()
	for !is() {
		select {
		case <-t.Context().Done():
			t.Fatalf("%s: never", what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func TestARotationOfASecret(t *testing.T) {
	s := newSecrets(t, emulator.Config{})
	r := s.rotating(t, nil)
	_, first := s.value(t, "AWSCURRENT")
	started, err := s.rotateDemo(t, func(in *secretsmanager.RotateSecretInput) {
		in.RotationRules = &types.RotationRulesType{AutomaticallyAfterDays: aws.Int64(30)}
	})
	noError(t, err)
	r.wait(t, allSteps...)
	var got *secretsmanager.DescribeSecretOutput
	waitFor(t, "rotated", func() bool {
		got, err = s.DescribeSecret(t.Context(), &secretsmanager.DescribeSecretInput{SecretId: aws.String("demo")})
		noError(t, err)
		return got.LastRotatedDate != nil
	})
	value, version := s.value(t, "AWSCURRENT")
	if want := map[string]string{"AWSCURRENT": *started.VersionId, "AWSPREVIOUS": first}; version != *started.VersionId || len(value) != 40 || !maps.Equal(s.stages(t), want) {
		t.Errorf("AWSCURRENT is %s with %d characters; labels %v, want %v", version, len(value), s.stages(t), want)
	}
	next := got.NextRotationDate.Sub(s.srv.Now())
	if !*got.RotationEnabled || *got.RotationLambdaARN != s.srv.FunctionARN("rotate-demo") || *got.RotationRules.AutomaticallyAfterDays != 30 || next > 30*24*time.Hour || next < 29*24*time.Hour || strings.Contains(*got.ARN, "first") {
		t.Errorf("DescribeSecret() = %+v", got)
	}
	s.srv.Advance(31 * 24 * time.Hour)
	r.wait(t, allSteps...)
	waitFor(t, "rotated", func() bool { return s.stages(t)["AWSPREVIOUS"] == version })
}
