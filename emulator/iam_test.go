package emulator_test

import (
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/rediam/rediam"
	"github.com/rediam/rediam/emulator"
)

// What the AWS API changes of IAM counts for the next sign-in, and ends no
// connection.
func TestWhatTheAWSAPIChangesCountsForTheNextSignIn(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	ctx, name := t.Context(), aws.String("alice")
	k, err := srv.CreateAccessKey(emulator.AdminUser)
	must(t, err)
	c := iam.New(iam.Options{Region: srv.Region(), BaseEndpoint: aws.String(srv.URL()), Credentials: emulator.KeyCredentials(k)})
	_, err = c.CreateUser(ctx, &iam.CreateUserInput{UserName: name})
	must(t, err)
	made, err := c.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: name})
	must(t, err)
	key := emulator.Key{ID: *made.AccessKey.AccessKeyId, Secret: emulator.Secret(*made.AccessKey.SecretAccessKey)}
	document := func(effect string) *string {
		return aws.String(fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":%q,"Action":"elasticache:Connect","Resource":"*"}]}`, effect))
	}
	managed, err := c.CreatePolicy(ctx, &iam.CreatePolicyInput{PolicyName: aws.String("connect"), PolicyDocument: document("Allow")})
	must(t, err)
	arn := managed.Policy.Arn
	signIn := func() *wire {
		w := dial(t, srv, "demo")
		w.do("AUTH", "demo-user", token(t, srv, func(s *rediam.Signer) { s.Credentials = emulator.KeyCredentials(key) }))
		return w
	}
	want := func(after, reason string) {
		t.Helper()
		signIn()
		if events := srv.Events(); events[len(events)-1].Reason != reason {
			t.Errorf("after %s: %+v, want the reason %q", after, events[len(events)-1], reason)
		}
	}
	want("nothing", "permission-denied")
	_, err = c.AttachUserPolicy(ctx, &iam.AttachUserPolicyInput{UserName: name, PolicyArn: arn})
	must(t, err)
	want("AttachUserPolicy", "")
	open := signIn()
	_, err = c.CreatePolicyVersion(ctx, &iam.CreatePolicyVersionInput{PolicyArn: arn, PolicyDocument: document("Deny"), SetAsDefault: true})
	must(t, err)
	want("CreatePolicyVersion", "permission-denied")
	_, err = c.SetDefaultPolicyVersion(ctx, &iam.SetDefaultPolicyVersionInput{PolicyArn: arn, VersionId: aws.String("v1")})
	must(t, err)
	want("SetDefaultPolicyVersion", "")
	for status, reason := range map[types.StatusType]string{types.StatusTypeInactive: "inactive-access-key", types.StatusTypeActive: ""} {
		_, err = c.UpdateAccessKey(ctx, &iam.UpdateAccessKeyInput{UserName: name, AccessKeyId: &key.ID, Status: status})
		must(t, err)
		want("UpdateAccessKey "+string(status), reason)
	}
	_, err = c.UpdateAccessKey(ctx, &iam.UpdateAccessKeyInput{UserName: name, AccessKeyId: &key.ID, Status: types.StatusTypeActive})
	must(t, err)
	_, err = c.DetachUserPolicy(ctx, &iam.DetachUserPolicyInput{UserName: name, PolicyArn: arn})
	must(t, err)
	want("DetachUserPolicy", "permission-denied")
	_, err = c.DeleteAccessKey(ctx, &iam.DeleteAccessKeyInput{UserName: name, AccessKeyId: &key.ID})
	must(t, err)
	want("DeleteAccessKey", "unknown-access-key")
	if got := open.do("GET", "k"); got != "$-1\r\n" {
		t.Errorf("the open connection answers %q", got)
	}
}
