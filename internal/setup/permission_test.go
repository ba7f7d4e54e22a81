package setup_test

import (
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/memorydb"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/emulator"
	"github.com/rediam/rediam/internal/setup"
)

// notAsked are actions of the page which no run is denied for lack of: AWS asks for
// tagging when something is made with tags, which the emulator does not; the others are
// questions without which it goes on, and for an account's first cache.
var notAsked = []string{"elasticache:AddTagsToResource", "memorydb:TagResource", "iam:TagPolicy", "iam:TagRole", "iam:TagInstanceProfile",
	"iam:GetOpenIDConnectProvider", "iam:SimulatePrincipalPolicy", "iam:CreateServiceLinkedRole"}

// documented are the actions of the policy in docs/setup.md.
func documented(t *testing.T) (actions []string) {
	t.Helper()
	page, err := os.ReadFile("../../docs/setup.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```json\n")
	text, _, _ := strings.Cut(rest, "```")
	var policy struct{ Statement []struct{ Action any } }
	if err := json.Unmarshal([]byte(text), &policy); err != nil {
		t.Fatal(err)
	}
	for _, s := range policy.Statement {
		switch list := s.Action.(type) {
		case string:
			actions = append(actions, list)
		case []any:
			for _, action := range list {
				actions = append(actions, action.(string))
			}
		}
	}
	return actions
}

// allowed are the credentials of a user who may do the actions and no more.
func (a *account) allowed(name string, actions []string) aws.CredentialsProvider {
	text, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": map[string]any{"Effect": "Allow", "Action": actions, "Resource": "*"}})
	a.must(err, a.PutIAMUser(emulator.IAMUser{Name: name, Inline: map[string]string{"policy": string(text)}}))
	key, err := a.CreateAccessKey(name)
	a.must(err)
	return emulator.KeyCredentials(key)
}

// everything makes, brings back and deletes caches of all kinds, new and adopted, with
// the credentials, and stops at the first error.
func (a *account) everything(as aws.CredentialsProvider) error {
	ctx := a.t.Context()
	run := func(spec setup.Spec, spoil func()) error {
		s := func() *setup.Setup {
			s := a.setup(spec)
			s.Clients = a.clients(as, nil)
			return s
		}
		if _, err := s().Apply(ctx); err != nil {
			return err
		}
		spoil()
		if _, err := s().Apply(ctx); err != nil {
			return err
		}
		return s().Destroy(ctx)
	}
	user, nothing := aws.String("orders-app"), func() {}
	one := setup.Spec{Cache: "orders", User: *user, Access: "read-write", Trust: "ec2"}
	serverless := setup.Spec{Cache: "less", User: *user, Serverless: true}
	memory := setup.Spec{Cache: "memory", User: *user, Access: "read-write", Service: rediam.MemoryDB}
	a.must(only(a.ElastiCache.CreateReplicationGroup(ctx, &elasticache.CreateReplicationGroupInput{ReplicationGroupId: aws.String("adopted"), ReplicationGroupDescription: aws.String("d"), TransitEncryptionEnabled: aws.Bool(true)})),
		only(a.ElastiCache.CreateServerlessCache(ctx, &elasticache.CreateServerlessCacheInput{ServerlessCacheName: aws.String("adopted-less"), Engine: aws.String("valkey")})),
		only(a.MemoryDB.CreateCluster(ctx, &memorydb.CreateClusterInput{ClusterName: aws.String("adopted-memory"), NodeType: aws.String("db.t4g.small"), ACLName: aws.String("open-access")})))
	for _, run := range []func() error{
		func() error {
			return run(one, func() {
				policy := aws.String("arn:aws:iam::" + a.Account() + ":policy/elasticache-orders-orders-app-" + a.Region())
				a.must(only(a.ElastiCache.ModifyUser(ctx, &elasticache.ModifyUserInput{UserId: user, AccessString: aws.String("on ~* +@read")})),
					only(a.ElastiCache.ModifyUserGroup(ctx, &elasticache.ModifyUserGroupInput{UserGroupId: aws.String("orders-users"), UserIdsToRemove: []string{*user}})),
					only(a.IAM.UpdateAssumeRolePolicy(ctx, &iam.UpdateAssumeRolePolicyInput{RoleName: user, PolicyDocument: aws.String(openTrust)})))
				for range 4 {
					a.must(only(a.IAM.CreatePolicyVersion(ctx, &iam.CreatePolicyVersionInput{PolicyArn: policy, SetAsDefault: true, PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}`)})))
				}
			})
		},
		func() error { return run(setup.Spec{Cache: "adopted", User: *user}, nothing) },
		func() error { return run(serverless, nothing) },
		func() error { return run(setup.Spec{Cache: "adopted-less", User: *user, Serverless: true}, nothing) },
		func() error {
			return run(memory, func() {
				a.must(only(a.MemoryDB.UpdateUser(ctx, &memorydb.UpdateUserInput{UserName: user, AccessString: aws.String("on ~* +@read")})),
					only(a.MemoryDB.UpdateACL(ctx, &memorydb.UpdateACLInput{ACLName: aws.String("memory-users"), UserNamesToRemove: []string{*user}})))
			})
		},
		func() error {
			return run(setup.Spec{Cache: "adopted-memory", User: *user, Service: rediam.MemoryDB}, nothing)
		},
	} {
		if err := run(); err != nil {
			return err
		}
	}
	return nil
}

func TestThePermissionsOfThePageSuffice(t *testing.T) {
	a := newAccount(t, emulator.Config{})
	if err := a.everything(a.allowed("operator", documented(t))); err != nil {
		t.Error(err)
	}
}

func TestAPermissionThatLacksIsNamedWithTheStatementToAdd(t *testing.T) {
	all := documented(t)
	for _, action := range all {
		if slices.Contains(notAsked, action) {
			continue
		}
		t.Run(action, func(t *testing.T) {
			t.Parallel()
			a := newAccount(t, emulator.Config{})
			without := slices.DeleteFunc(slices.Clone(all), func(other string) bool { return other == action })
			err := a.everything(a.allowed("operator", without))
			var e *setup.Error
			if !errors.As(err, &e) || !strings.Contains(e.Hint, `"Action":"`+action+`","Effect":"Allow","Resource":"arn:aws:`) || strings.ContainsAny(e.What, "\n") {
				t.Fatalf("without %s: %v %+v", action, err, e)
			}
		})
	}
}
