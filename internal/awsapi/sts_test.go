package awsapi_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/rediam/rediam/emulator"
)

// onClock signs by the emulator's clock, where the SDK asks the machine's.
type onClock struct {
	*v4.Signer
	now func() time.Time
}

func (s onClock) SignHTTP(ctx context.Context, c aws.Credentials, r *http.Request, payloadHash, service, region string, _ time.Time, options ...func(*v4.SignerOptions)) error {
	return s.Signer.SignHTTP(ctx, c, r, payloadHash, service, region, s.now(), options...)
}

// readers hides that the SDK's request bodies can write themselves. One that is asked
// to when the answer is there already, which happens at no distance at all, says
// io.EOF, and net/http closes the connection while the answer is being read
// (smithy-go 1.28, safeWriteToReadCloser).
type readers struct{}

func (readers) Do(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		r.Body = struct{ io.ReadCloser }{r.Body}
	}
	return http.DefaultClient.Do(r)
}

func client(srv *emulator.Server, credentials aws.CredentialsProvider) *sts.Client {
	return sts.New(sts.Options{Region: srv.Region(), BaseEndpoint: aws.String(srv.URL()), Credentials: credentials,
		HTTPSignerV4: onClock{v4.NewSigner(), srv.Now}, HTTPClient: readers{}, RetryMaxAttempts: 1})
}

// admin is a key of the IAM user who may do everything.
func admin(t testing.TB, srv *emulator.Server) emulator.Key {
	t.Helper()
	k, err := srv.CreateAccessKey(emulator.AdminUser)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// static are credentials that AssumeRole gave.
func static(c *types.Credentials) aws.CredentialsProvider {
	return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: *c.AccessKeyId, SecretAccessKey: *c.SecretAccessKey, SessionToken: *c.SessionToken}, nil
	})
}

func refused(t testing.TB, what string, err error, status int, code, message string) {
	t.Helper()
	var api smithy.APIError
	var response *smithyhttp.ResponseError
	if !errors.As(err, &api) || !errors.As(err, &response) {
		t.Errorf("%s: %v, want %s", what, err, code)
		return
	}
	if api.ErrorCode() != code || response.HTTPStatusCode() != status || !strings.Contains(api.ErrorMessage(), message) {
		t.Errorf("%s: %d %v, want %d %s: …%s…", what, response.HTTPStatusCode(), api, status, code, message)
	}
}

func TestTheSDKAsksWhoItIs(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded", Region: "us-gov-west-1", Account: "210987654321"})
	root, err := srv.CreateAccessKey("")
	if err != nil {
		t.Fatal(err)
	}
	for want, credentials := range map[string]aws.CredentialsProvider{
		"arn:aws-us-gov:iam::210987654321:user/admin":                     emulator.KeyCredentials(admin(t, srv)),
		"arn:aws-us-gov:iam::210987654321:root":                           emulator.KeyCredentials(root),
		"arn:aws-us-gov:sts::210987654321:assumed-role/demo-app/emulator": srv.Credentials(emulator.DefaultRole),
	} {
		got, err := client(srv, credentials).GetCallerIdentity(t.Context(), nil)
		if err != nil {
			t.Errorf("%s: %v", want, err)
			continue
		}
		if *got.Arn != want || *got.Account != "210987654321" || *got.UserId == "" {
			t.Errorf("GetCallerIdentity() = %s %s %s, want %s", *got.Arn, *got.Account, *got.UserId, want)
		}
	}
}

func TestTheSDKAssumesARole(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:ExternalId":"orders 42/é"}}}]}`
	policy, err := srv.PutPolicy("managed", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`)
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.PutRole(emulator.Role{Name: "orders", Trust: trust, MaxSession: 2 * time.Hour}); err != nil {
		t.Fatal(err)
	}
	as := client(srv, emulator.KeyCredentials(admin(t, srv)))
	input := func() *sts.AssumeRoleInput {
		return &sts.AssumeRoleInput{RoleArn: aws.String(srv.RoleARN("orders")), RoleSessionName: aws.String("web@1"), ExternalId: aws.String("orders 42/é"),
			DurationSeconds: aws.Int32(7200), Policy: aws.String(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sts:*","Resource":"*"}}`),
			PolicyArns: []types.PolicyDescriptorType{{Arn: &policy}}}
	}
	before := srv.Now()
	got, err := as.AssumeRole(t.Context(), input())
	if err != nil {
		t.Fatal(err)
	}
	const arn = "arn:aws:sts::123456789012:assumed-role/orders/web@1"
	if *got.AssumedRoleUser.Arn != arn || !strings.HasSuffix(*got.AssumedRoleUser.AssumedRoleId, ":web@1") {
		t.Errorf("became %s, %s", *got.AssumedRoleUser.Arn, *got.AssumedRoleUser.AssumedRoleId)
	}
	if e := *got.Credentials.Expiration; e.Before(before.Add(2*time.Hour-time.Second)) || e.After(srv.Now().Add(2*time.Hour)) {
		t.Errorf("expires %v, asked for two hours at %v", e, before)
	}
	session := client(srv, static(got.Credentials))
	if who, err := session.GetCallerIdentity(t.Context(), nil); err != nil || *who.Arn != arn || *who.UserId != *got.AssumedRoleUser.AssumedRoleId {
		t.Errorf("the session is %+v, %v", who, err)
	}
	for what, test := range map[string]struct {
		change        func(*sts.AssumeRoleInput)
		status        int
		code, message string
	}{
		"another external id": {func(i *sts.AssumeRoleInput) { i.ExternalId = aws.String("orders-43") }, 403, "AccessDenied",
			"User: arn:aws:iam::123456789012:user/admin is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::123456789012:role/orders"},
		"no external id": {func(i *sts.AssumeRoleInput) { i.ExternalId = nil }, 403, "AccessDenied", "is not authorized to perform: sts:AssumeRole"},
		"a missing role": {func(i *sts.AssumeRoleInput) { i.RoleArn = aws.String(srv.RoleARN("nobody")) }, 403, "AccessDenied",
			"User: arn:aws:iam::123456789012:user/admin is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::123456789012:role/nobody"},
		"a malformed session policy": {func(i *sts.AssumeRoleInput) { i.Policy = aws.String("{") }, 400, "MalformedPolicyDocument", "This policy contains invalid Json"},
		"a missing session policy":   {func(i *sts.AssumeRoleInput) { i.PolicyArns[0].Arn = aws.String(policy + "2") }, 404, "NoSuchEntity", policy + "2"},
		"no time":                    {func(i *sts.AssumeRoleInput) { i.DurationSeconds = aws.Int32(0) }, 400, "ValidationError", "DurationSeconds"},
		"a negative time":            {func(i *sts.AssumeRoleInput) { i.DurationSeconds = aws.Int32(-900) }, 400, "ValidationError", "DurationSeconds"},
		"too short a time":           {func(i *sts.AssumeRoleInput) { i.DurationSeconds = aws.Int32(899) }, 400, "ValidationError", "DurationSeconds"},
		"too long a time":            {func(i *sts.AssumeRoleInput) { i.DurationSeconds = aws.Int32(7201) }, 400, "ValidationError", "MaxSessionDuration"},
		"a tag":                      {func(i *sts.AssumeRoleInput) { i.Tags = []types.Tag{{Key: aws.String("a"), Value: aws.String("b")}} }, 400, "ValidationError", "Tags.member.1"},
	} {
		in := input()
		test.change(in)
		_, err := as.AssumeRole(t.Context(), in)
		refused(t, what, err, test.status, test.code, test.message)
	}
	root, err := srv.CreateAccessKey("")
	if err != nil {
		t.Fatal(err)
	}
	_, err = client(srv, emulator.KeyCredentials(root)).AssumeRole(t.Context(), input())
	refused(t, "root", err, 403, "AccessDenied", "Roles may not be assumed by root accounts.")
}

func TestTheSDKIsToldWhatIsWrongWithItsCredentials(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	key, inactive := admin(t, srv), admin(t, srv)
	if err := srv.SetAccessKey(inactive.ID, false); err != nil {
		t.Fatal(err)
	}
	session, err := client(srv, emulator.KeyCredentials(key)).AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: aws.String(srv.RoleARN(emulator.DefaultRole)), RoleSessionName: aws.String("test")})
	if err != nil {
		t.Fatal(err)
	}
	token := *session.Credentials.SessionToken
	whoAmI := func(change func(*emulator.Key)) error {
		k := key
		change(&k)
		_, err := client(srv, emulator.KeyCredentials(k)).GetCallerIdentity(t.Context(), nil)
		return err
	}
	const wrong, invalid = "The request signature we calculated does not match the signature you provided.", "The security token included in the request is invalid."
	refused(t, "a wrong secret", whoAmI(func(k *emulator.Key) { k.Secret += "x" }), 403, "SignatureDoesNotMatch", wrong)
	refused(t, "an unknown key", whoAmI(func(k *emulator.Key) { k.ID = "AKIANOBODY" }), 403, "InvalidClientTokenId", invalid)
	refused(t, "an inactive key", whoAmI(func(k *emulator.Key) { *k = inactive }), 403, "InvalidClientTokenId", invalid)
	refused(t, "a session token too many", whoAmI(func(k *emulator.Key) { k.SessionToken = emulator.Secret(token) }), 403, "InvalidClientTokenId", invalid)
	held := *session.Credentials
	held.SessionToken = aws.String(token + "x")
	_, err = client(srv, static(&held)).GetCallerIdentity(t.Context(), nil)
	refused(t, "another session token", err, 403, "InvalidClientTokenId", invalid)

	srv.Advance(59 * time.Minute)
	if _, err := client(srv, static(session.Credentials)).GetCallerIdentity(t.Context(), nil); err != nil {
		t.Errorf("a session of 59 minutes: %v", err)
	}
	srv.Advance(time.Minute)
	_, err = client(srv, static(session.Credentials)).GetCallerIdentity(t.Context(), nil)
	refused(t, "a session of an hour", err, 403, "ExpiredToken", "The security token included in the request is expired")
}

// An SDK that knows nothing of the emulator's clock learns it from the Date of
// the refusal, and asks again.
func TestTheSDKFollowsTheEmulatorsClock(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	srv.Advance(13 * time.Hour)
	options := sts.Options{Region: srv.Region(), BaseEndpoint: aws.String(srv.URL()), Credentials: emulator.KeyCredentials(admin(t, srv))}
	options.RetryMaxAttempts = 1
	_, err := sts.New(options).GetCallerIdentity(t.Context(), nil)
	refused(t, "a request of the past", err, 403, "SignatureDoesNotMatch", "Signature expired: ")
	options.Retryer = retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = 2
		o.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })
	})
	options.RetryMaxAttempts = 0
	if _, err := sts.New(options).GetCallerIdentity(t.Context(), nil); err != nil {
		t.Errorf("the second attempt: %v", err)
	}
}
