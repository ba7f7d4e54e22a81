package awsapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
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

// secrets is an emulator with the SDK's client of its administrator for Secrets
// Manager, and what its log says of rotations that have ended.
type secrets struct {
	*secretsmanager.Client
	srv   *emulator.Server
	ended chan string
}

// endings is a log that sends what it is told of the ends of rotations.
type endings chan string

func (endings) Enabled(context.Context, slog.Level) bool { return true }
func (e endings) WithAttrs([]slog.Attr) slog.Handler     { return e }
func (e endings) WithGroup(string) slog.Handler          { return e }
func (e endings) Handle(_ context.Context, r slog.Record) error {
	if end, ok := strings.CutPrefix(r.Message, "rotation "); ok && !strings.Contains(end, "tried again") {
		r.Attrs(func(a slog.Attr) bool { end += " " + a.Value.String(); return true })
		e <- end
	}
	return nil
}

func secretsManager(srv *emulator.Server, k emulator.Key) *secretsmanager.Client {
	return secretsmanager.New(secretsmanager.Options{Region: srv.Region(), BaseEndpoint: aws.String(srv.URL()), Credentials: emulator.KeyCredentials(k),
		HTTPSignerV4: onClock{v4.NewSigner(), srv.Now}, HTTPClient: readers{}, RetryMaxAttempts: 1})
}

func newSecrets(t *testing.T, c emulator.Config) secrets {
	t.Helper()
	ended := make(endings, 100)
	c.Engine, c.Empty, c.Log, c.RotationRetry = "embedded", true, slog.New(ended), time.Millisecond
	srv := emulator.Start(t, c)
	return secrets{secretsManager(srv, admin(t, srv)), srv, ended}
}

// value is a value of the secret demo and the version that has it.
func (s secrets) value(t *testing.T, stage string) (value, version string) {
	t.Helper()
	got, err := s.GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: aws.String("demo"), VersionStage: &stage})
	must(t, err)
	return *got.SecretString, *got.VersionId
}

// stages are the labels of the secret demo, each with the version that has it.
func (s secrets) stages(t *testing.T) map[string]string {
	t.Helper()
	got, err := s.DescribeSecret(t.Context(), &secretsmanager.DescribeSecretInput{SecretId: aws.String("demo")})
	must(t, err)
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
	must(t, only(s.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: aws.String("demo"), SecretString: aws.String("first")})))
	return r
}

// wants waits for the end of a rotation, and wants it to have taken these steps.
func (r rotator) wants(t *testing.T, end string, steps ...string) {
	t.Helper()
	if got := <-r.ended; !strings.HasPrefix(got, end) {
		t.Fatalf("the rotation ended so: %s, want %s", got, end)
	}
	for _, want := range steps {
		if got := <-r.steps; got != want {
			t.Fatalf("step %s, want %s", got, want)
		}
	}
	if n := len(r.steps); n > 0 {
		t.Fatalf("%d steps too many", n)
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

func (s secrets) describe(t *testing.T) *secretsmanager.DescribeSecretOutput {
	t.Helper()
	got, err := s.DescribeSecret(t.Context(), &secretsmanager.DescribeSecretInput{SecretId: aws.String("demo")})
	must(t, err)
	return got
}

func TestARotationOfASecret(t *testing.T) {
	s := newSecrets(t, emulator.Config{})
	r := s.rotating(t, nil)
	_, first := s.value(t, "AWSCURRENT")
	started, err := s.rotateDemo(t, func(in *secretsmanager.RotateSecretInput) {
		in.RotationRules = &types.RotationRulesType{AutomaticallyAfterDays: aws.Int64(30)}
	})
	must(t, err)
	r.wants(t, "done", allSteps...)
	got := s.describe(t)
	value, version := s.value(t, "AWSCURRENT")
	if want := map[string]string{"AWSCURRENT": *started.VersionId, "AWSPREVIOUS": first}; version != *started.VersionId || len(value) != 40 || !maps.Equal(s.stages(t), want) {
		t.Errorf("AWSCURRENT is %s with %d characters; labels %v, want %v", version, len(value), s.stages(t), want)
	}
	next := got.NextRotationDate.Sub(s.srv.Now())
	if !*got.RotationEnabled || *got.RotationLambdaARN != s.srv.FunctionARN("rotate-demo") || *got.RotationRules.AutomaticallyAfterDays != 30 || next > 30*24*time.Hour || next < 29*24*time.Hour || s.srv.Now().Sub(*got.LastRotatedDate) > time.Hour {
		t.Errorf("DescribeSecret() = %+v", got)
	}
	s.srv.Advance(31 * 24 * time.Hour)
	r.wants(t, "done", allSteps...)
	if s.stages(t)["AWSPREVIOUS"] != version {
		t.Errorf("labels %v after the rotation that was due", s.stages(t))
	}
	s.srv.Advance(29 * 24 * time.Hour)
	must(t, only(s.CancelRotateSecret(t.Context(), &secretsmanager.CancelRotateSecretInput{SecretId: aws.String("demo")})))
	s.srv.Advance(29 * 24 * time.Hour)
	if got := s.describe(t); *got.RotationEnabled || got.NextRotationDate != nil || len(s.ended) != 0 {
		t.Errorf("after CancelRotateSecret: %+v", got)
	}
}

// The whole of a rotation that fails is tried again, a few times.
func TestARotationThatFails(t *testing.T) {
	failures := 2
	s := newSecrets(t, emulator.Config{})
	r := s.rotating(t, func(step string) error {
		if step == "testSecret" && failures > 0 {
			failures--
			return errors.New("the password does not work")
		}
		return nil
	})
	must(t, only(s.rotateDemo(t, nil)))
	r.wants(t, "done", slices.Concat(allSteps[:3], allSteps[:3], allSteps)...)

	failures = 5
	started, err := s.rotateDemo(t, nil)
	must(t, err)
	r.wants(t, "failed: no other begins until AWSPENDING is taken away testSecret: the password does not work", slices.Concat(allSteps[:3], allSteps[:3], allSteps[:3], allSteps[:3], allSteps[:3])...)
	before := s.describe(t)
	if s.stages(t)["AWSPENDING"] != *started.VersionId {
		t.Errorf("labels %v", s.stages(t))
	}
	const incomplete = "A previous rotation isn't complete. That rotation will be reattempted."
	refused(t, "another rotation", only(s.rotateDemo(t, nil)), 400, "InvalidRequestException", incomplete)
	r.wants(t, "done", allSteps...)
	if after := s.describe(t); s.stages(t)["AWSCURRENT"] != *started.VersionId || !after.LastRotatedDate.After(*before.LastRotatedDate) {
		t.Errorf("labels %v, rotated at %v and before at %v", s.stages(t), after.LastRotatedDate, before.LastRotatedDate)
	}
}

func TestAFunctionThatDoesNothingRotatesNothing(t *testing.T) {
	s := newSecrets(t, emulator.Config{})
	r := s.rotating(t, nil)
	s.srv.PutFunction("rotate-demo", func(context.Context, []byte) error { return nil })
	must(t, only(s.rotateDemo(t, nil)))
	r.wants(t, "failed: no other begins until AWSPENDING is taken away finishSecret: AWSCURRENT has not moved")
	if got := s.describe(t); got.LastRotatedDate != nil || s.stages(t)["AWSPENDING"] == "" {
		t.Errorf("rotated at %v, labels %v", got.LastRotatedDate, s.stages(t))
	}
	refused(t, "the pending value", only(s.GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: aws.String("demo"), VersionStage: aws.String("AWSPENDING")})),
		400, "ResourceNotFoundException", "Secrets Manager can't find the specified secret value for staging label: AWSPENDING")
	// Which is how it begins anew.
	pending := s.stages(t)["AWSPENDING"]
	must(t, only(s.UpdateSecretVersionStage(t.Context(), &secretsmanager.UpdateSecretVersionStageInput{SecretId: aws.String("demo"), VersionStage: aws.String("AWSPENDING"), RemoveFromVersionId: &pending})))
	must(t, only(s.rotateDemo(t, func(in *secretsmanager.RotateSecretInput) {
		in.RotationLambdaARN = aws.String(s.srv.FunctionARN("missing") + ":live")
	})))
	r.wants(t, `failed: no other begins until AWSPENDING is taken away there is no function "missing"`)
}

func TestWithoutRotatingAtOnceTheFunctionIsOnlyTested(t *testing.T) {
	s := newSecrets(t, emulator.Config{})
	r := s.rotating(t, nil)
	tested := func(in *secretsmanager.RotateSecretInput) {
		in.RotateImmediately, in.RotationRules = aws.Bool(false), &types.RotationRulesType{ScheduleExpression: aws.String("rate(4 hours)"), Duration: aws.String("2h")}
	}
	must(t, only(s.rotateDemo(t, tested)))
	r.wants(t, "done", "testSecret")
	got := s.describe(t)
	if len(got.VersionIdsToStages) != 1 || got.LastRotatedDate != nil || !*got.RotationEnabled || *got.RotationRules.ScheduleExpression != "rate(4 hours)" || *got.RotationRules.Duration != "2h" {
		t.Errorf("DescribeSecret() = %+v", got)
	}
	s.srv.Advance(5 * time.Hour)
	r.wants(t, "done", allSteps...)
	s.srv.PutFunction("rotate-demo", func(context.Context, []byte) error { return errors.New("no") })
	must(t, only(s.rotateDemo(t, tested)))
	r.wants(t, "failed")
	if s.stages(t)["AWSPENDING"] != "" {
		t.Errorf("labels %v", s.stages(t))
	}
}

func TestARotationCanBeCancelled(t *testing.T) {
	s := newSecrets(t, emulator.Config{})
	entered, leave := make(chan bool), make(chan bool)
	r := s.rotating(t, func(step string) error {
		if step == "setSecret" {
			entered <- true
			<-leave
		}
		return nil
	})
	started, err := s.rotateDemo(t, nil)
	must(t, err)
	<-entered
	cancelled, err := s.CancelRotateSecret(t.Context(), &secretsmanager.CancelRotateSecretInput{SecretId: aws.String("demo")})
	must(t, err)
	leave <- true
	r.wants(t, "cancelled", "createSecret", "setSecret")
	if got := s.describe(t); *cancelled.VersionId != *started.VersionId || s.stages(t)["AWSPENDING"] != *started.VersionId || *got.RotationEnabled || got.LastRotatedDate != nil {
		t.Errorf("cancelled %s, then %+v", *cancelled.VersionId, got)
	}
}

// Of rotations that are wanted at the same time one begins.
func TestASecretRotatesOnceAtATime(t *testing.T) {
	s := newSecrets(t, emulator.Config{})
	begun := make(chan error, 8)
	r := s.rotating(t, func(step string) error {
		if step == "createSecret" {
			for range cap(begun) - 1 { // all but the one that has begun it
				refused(t, "another rotation", <-begun, 400, "InvalidRequestException", "A previous rotation isn't complete.")
			}
		}
		return nil
	})
	for range cap(begun) {
		go func() {
			if _, err := s.rotateDemo(t, nil); err != nil {
				begun <- err
			}
		}()
	}
	r.wants(t, "done", allSteps...)
	if len(s.describe(t).VersionIdsToStages) != 2 {
		t.Errorf("labels %v", s.stages(t))
	}
}

func TestSecretsTakeBinaryValuesTagsAndPages(t *testing.T) {
	s, ctx, p := newSecrets(t, emulator.Config{}), t.Context(), aws.String
	must(t, only(s.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: p("demo"), SecretBinary: []byte{0, 255}, Description: p("d"), KmsKeyId: p("alias/k"), Tags: []types.Tag{{Key: p("team"), Value: p("a")}}})))
	value, err := s.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: p("demo")})
	must(t, err, only(s.TagResource(ctx, &secretsmanager.TagResourceInput{SecretId: p("demo"), Tags: []types.Tag{{Key: p("env"), Value: p("")}}})),
		only(s.UntagResource(ctx, &secretsmanager.UntagResourceInput{SecretId: p("demo"), TagKeys: []string{"team", "absent"}})))
	got := s.describe(t)
	if string(value.SecretBinary) != "\x00\xff" || value.SecretString != nil || *got.Description != "d" || *got.KmsKeyId != "alias/k" || len(got.Tags) != 1 || *got.Tags[0].Key != "env" || got.RotationEnabled != nil || got.LastAccessedDate == nil || got.DeletedDate != nil {
		t.Errorf("%+v, %+v", value, got)
	}
	updated, err := s.UpdateSecret(ctx, &secretsmanager.UpdateSecretInput{SecretId: got.ARN, Description: p("other"), SecretString: p("text")})
	must(t, err)
	if got := s.describe(t); *got.Description != "other" || *got.KmsKeyId != "alias/k" || s.stages(t)["AWSCURRENT"] != *updated.VersionId {
		t.Errorf("after UpdateSecret: %+v", got)
	}
	for _, name := range []string{"z", "y", "x"} {
		must(t, only(s.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: &name})))
	}
	must(t, only(s.DeleteSecret(ctx, &secretsmanager.DeleteSecretInput{SecretId: p("y")})))
	listed := pages(t, secretsmanager.NewListSecretsPaginator(s, &secretsmanager.ListSecretsInput{MaxResults: aws.Int32(2), IncludePlannedDeletion: aws.Bool(true)}), func(o *secretsmanager.ListSecretsOutput) []string {
		return each(o.SecretList, func(e types.SecretListEntry) *string { return e.Name })
	})
	if !slices.EqualFunc(listed, list{{"demo", "z"}, {"y", "x"}}, slices.Equal) {
		t.Errorf("ListSecrets() = %q", listed)
	}
	current, err := s.ListSecrets(ctx, nil)
	must(t, err)
	versions := pages(t, secretsmanager.NewListSecretVersionIdsPaginator(s, &secretsmanager.ListSecretVersionIdsInput{SecretId: p("demo"), MaxResults: aws.Int32(1)}), func(o *secretsmanager.ListSecretVersionIdsOutput) []string {
		return each(o.Versions, func(v types.SecretVersionsListEntry) *string { return v.VersionId })
	})
	if len(current.SecretList) != 3 || len(versions) != 2 || versions[1][0] != *updated.VersionId {
		t.Errorf("%d secrets, versions %q", len(current.SecretList), versions)
	}
	for what, test := range map[string]struct {
		err        error
		code, text string
	}{
		"no value":       {only(s.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{SecretId: p("demo")})), "InvalidRequestException", "You must provide either SecretString or SecretBinary."},
		"two values":     {only(s.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{SecretId: p("demo"), SecretString: p("x"), SecretBinary: []byte("x")})), "InvalidParameterException", "both"},
		"force and days": {only(s.DeleteSecret(ctx, &secretsmanager.DeleteSecretInput{SecretId: p("demo"), RecoveryWindowInDays: aws.Int64(7), ForceDeleteWithoutRecovery: aws.Bool(true)})), "InvalidParameterException", "You can't use ForceDeleteWithoutRecovery in conjunction with RecoveryWindowInDays."},
		"no days":        {only(s.DeleteSecret(ctx, &secretsmanager.DeleteSecretInput{SecretId: p("demo"), RecoveryWindowInDays: aws.Int64(0)})), "InvalidParameterException", "between 7 and 30"},
		"a token":        {only(s.ListSecrets(ctx, &secretsmanager.ListSecretsInput{NextToken: p("x")})), "InvalidNextTokenException", "NextToken"},
		"a page of 101":  {only(s.ListSecrets(ctx, &secretsmanager.ListSecretsInput{MaxResults: aws.Int32(101)})), "InvalidParameterException", "MaxResults"},
		"a member":       {only(s.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{SecretId: p("demo"), SecretString: p("x"), RotationToken: p(strings.Repeat("x", 36))})), "ValidationException", "RotationToken"},
		"no secret":      {only(s.DeleteSecret(ctx, &secretsmanager.DeleteSecretInput{SecretId: p("absent")})), "ResourceNotFoundException", "Secrets Manager can't find the specified secret."},
	} {
		refused(t, what, test.err, 400, test.code, test.text)
	}
	must(t, only(s.DeleteSecret(ctx, &secretsmanager.DeleteSecretInput{SecretId: p("absent"), ForceDeleteWithoutRecovery: aws.Bool(true)})),
		only(s.RestoreSecret(ctx, &secretsmanager.RestoreSecretInput{SecretId: p("y")})),
		only(s.DeleteSecret(ctx, &secretsmanager.DeleteSecretInput{SecretId: p("demo"), ForceDeleteWithoutRecovery: aws.Bool(true)})))
	refused(t, "what is gone", only(s.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: p("demo")})), 400, "ResourceNotFoundException", "can't find")
}

func TestRandomPasswords(t *testing.T) {
	s := newSecrets(t, emulator.Config{})
	const lower, upper, digits, marks = "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
	yes, no := aws.Bool(true), aws.Bool(false)
	for what, test := range map[string]struct {
		in    secretsmanager.GetRandomPasswordInput
		n     int
		kinds []string // one of each; none of others
	}{
		"by default":      {secretsmanager.GetRandomPasswordInput{}, 32, []string{lower, upper, digits, marks}},
		"four":            {secretsmanager.GetRandomPasswordInput{PasswordLength: aws.Int64(4)}, 4, []string{lower, upper, digits, marks}},
		"five":            {secretsmanager.GetRandomPasswordInput{PasswordLength: aws.Int64(5), IncludeSpace: yes}, 5, []string{lower, upper, digits, marks, " "}},
		"letters":         {secretsmanager.GetRandomPasswordInput{PasswordLength: aws.Int64(4096), ExcludePunctuation: yes, ExcludeNumbers: yes}, 4096, []string{lower, upper}},
		"no letters":      {secretsmanager.GetRandomPasswordInput{ExcludeLowercase: yes, ExcludeUppercase: yes}, 32, []string{digits, marks}},
		"for ElastiCache": {secretsmanager.GetRandomPasswordInput{PasswordLength: aws.Int64(64), ExcludeCharacters: aws.String("@%*()_+=`~{}|[]\\:\";'?,./")}, 64, []string{lower, upper, digits, "!&#$^<>-"}},
		"one of two":      {secretsmanager.GetRandomPasswordInput{PasswordLength: aws.Int64(1), ExcludeCharacters: aws.String(lower + upper[1:] + digits + marks), RequireEachIncludedType: no}, 1, []string{"A"}},
	} {
		got, err := s.GetRandomPassword(t.Context(), &test.in)
		must(t, err)
		password := *got.RandomPassword
		if len(password) != test.n || strings.Trim(password, strings.Join(test.kinds, "")) != "" {
			t.Errorf("%s: %d characters, want %d of %q: %q", what, len(password), test.n, test.kinds, password)
		}
		for _, kind := range test.kinds {
			if !strings.ContainsAny(password, kind) {
				t.Errorf("%s: %q has none of %s", what, password, kind)
			}
		}
	}
	for _, in := range []secretsmanager.GetRandomPasswordInput{{PasswordLength: aws.Int64(3)}, {PasswordLength: aws.Int64(4097)}, {PasswordLength: aws.Int64(0)}, {ExcludeCharacters: aws.String(lower + upper + digits + marks)}} {
		refused(t, "a password", only(s.GetRandomPassword(t.Context(), &in)), 400, "InvalidParameterException", "")
	}
}

// Policies as AWS's templates for rotation functions have them.
func TestOperationsOnSecretsNeedPermission(t *testing.T) {
	s, ctx, p := newSecrets(t, emulator.Config{}), t.Context(), aws.String
	s.rotating(t, nil)
	const arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:"
	function := s.srv.FunctionARN("rotate-demo")
	must(t, s.srv.PutIAMUser(emulator.IAMUser{Name: "clerk", Inline: map[string]string{"p": `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":["secretsmanager:PutSecretValue","secretsmanager:GetSecretValue"],"Resource":"*","Condition":{"StringEquals":{"secretsmanager:resource/AllowRotationLambdaArn":"` + function + `"}}},
		{"Effect":"Allow","Action":"secretsmanager:DescribeSecret","Resource":"` + arn + `demo-??????"},
		{"Effect":"Allow","Action":"secretsmanager:RotateSecret","Resource":"*"},
		{"Effect":"Allow","Action":"secretsmanager:CreateSecret","Resource":"` + arn + `mine-*"},
		{"Effect":"Allow","Action":"secretsmanager:DeleteSecret","Resource":"*","Condition":{"StringEquals":{"aws:ResourceTag/team":"a"}}}]}`}}))
	key, err := s.srv.CreateAccessKey("clerk")
	must(t, err)
	clerk := secretsManager(s.srv, key)
	denied := func(what string, err error, action, resource string) {
		t.Helper()
		refused(t, what, err, 400, "AccessDeniedException", "User: arn:aws:iam::123456789012:user/clerk is not authorized to perform: "+action+" on resource: "+resource)
	}
	demo := *s.describe(t).ARN
	put := func() error {
		return only(clerk.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{SecretId: p("demo"), SecretString: p("x"), VersionStages: []string{"AWSPENDING"}}))
	}
	rotate := func() error {
		return only(clerk.RotateSecret(ctx, &secretsmanager.RotateSecretInput{SecretId: p("demo"), RotationLambdaARN: &function}))
	}
	denied("a secret that does not rotate", put(), "secretsmanager:PutSecretValue", demo)
	must(t, only(clerk.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: p("demo")})))
	denied("a secret that is not there", only(clerk.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: p("other")})), "secretsmanager:DescribeSecret", arn+"other because")
	denied("the function", rotate(), "lambda:InvokeFunction", function)
	denied("a list", only(clerk.ListSecrets(ctx, nil)), "secretsmanager:ListSecrets", "*")
	denied("another name", only(clerk.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: p("yours")})), "secretsmanager:CreateSecret", arn+"yours-??????")
	denied("tags", only(clerk.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: p("mine"), Tags: []types.Tag{{Key: p("k"), Value: p("v")}}})), "secretsmanager:TagResource", arn+"mine-??????")
	denied("a tag that is not there", only(clerk.DeleteSecret(ctx, &secretsmanager.DeleteSecretInput{SecretId: p("demo")})), "secretsmanager:DeleteSecret", demo)
	must(t, only(clerk.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: p("mine")})), only(s.rotateDemo(t, nil)))
	<-s.ended
	denied("the function of before", only(clerk.RotateSecret(ctx, &secretsmanager.RotateSecretInput{SecretId: p("demo")})), "lambda:InvokeFunction", function)
	must(t, put(), only(s.TagResource(ctx, &secretsmanager.TagResourceInput{SecretId: p("demo"), Tags: []types.Tag{{Key: p("team"), Value: p("a")}}})), only(clerk.DeleteSecret(ctx, &secretsmanager.DeleteSecretInput{SecretId: p("demo")})))
}

// A function behind a URL is called as Lambda's own emulator in its images is.
func TestAFunctionBehindAURL(t *testing.T) {
	answers := make(chan func(http.ResponseWriter), 1)
	lambda := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var e rotationEvent
		if err := json.NewDecoder(r.Body).Decode(&e); err != nil || r.Method != "POST" || r.URL.Path != "/2015-03-31/functions/function/invocations" || e.Step != "testSecret" || !strings.HasPrefix(e.SecretId, "arn:aws:secretsmanager:") || len(e.ClientRequestToken) < 32 {
			t.Errorf("%s %s: %+v, %v", r.Method, r.URL, e, err)
		}
		answer := <-answers
		answers <- answer
		answer(w)
	}))
	defer lambda.Close()
	s := newSecrets(t, emulator.Config{Functions: map[string]string{"rotate-demo": lambda.URL + "/"}})
	must(t, only(s.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: aws.String("demo"), SecretString: aws.String("x")})))
	for want, answer := range map[string]func(http.ResponseWriter){
		"done": func(w http.ResponseWriter) { io.WriteString(w, "null") },
		"failed: no other begins until AWSPENDING is taken away testSecret: the function failed: ValueError no such user": func(w http.ResponseWriter) {
			io.WriteString(w, `{"errorMessage":"no such user","errorType":"ValueError"}`)
		},
		"failed: no other begins until AWSPENDING is taken away testSecret: the function failed: Unhandled":       func(w http.ResponseWriter) { w.Header().Set("X-Amz-Function-Error", "Unhandled") },
		"failed: no other begins until AWSPENDING is taken away testSecret: the function's answer has status 502": func(w http.ResponseWriter) { w.WriteHeader(502) },
	} {
		answers <- answer
		must(t, only(s.rotateDemo(t, func(in *secretsmanager.RotateSecretInput) { in.RotateImmediately = aws.Bool(false) })))
		if got := <-s.ended; !strings.HasPrefix(got, want) {
			t.Errorf("the rotation %s, want %s", got, want)
		}
		<-answers
	}
}
