package setup_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/memorydb"
	memorydbtypes "github.com/aws/aws-sdk-go-v2/service/memorydb/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/emulator"
	"github.com/rediam/rediam/internal/setup"
)

const openTrust = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}}`

// step is that of a plan about one thing.
func step(t *testing.T, p setup.Plan, thing string) setup.Step {
	t.Helper()
	i := slices.IndexFunc(p.Steps, func(s setup.Step) bool { return s.Kind+" "+s.Name == thing })
	if i < 0 {
		t.Fatalf("there is no %s in %+v", thing, p)
	}
	return p.Steps[i]
}

func TestWhatWasChangedByHandIsShownAndBroughtBack(t *testing.T) {
	policy := func(a *account) *string {
		return aws.String("arn:aws:iam::" + a.Account() + ":policy/elasticache-orders-orders-app-" + a.Region())
	}
	for name, test := range map[string]struct {
		engine, thing, what string
		spoil               func(a *account) error
		service             rediam.Service
	}{
		"an access string": {thing: "user orders-app", what: "access string", spoil: func(a *account) error {
			return only(a.ElastiCache.ModifyUser(a.t.Context(), &elasticache.ModifyUserInput{UserId: aws.String("orders-app"), AccessString: aws.String("on ~* +@read")}))
		}},
		"a user with a password": {thing: "user orders-app", what: "signs in with", spoil: func(a *account) error {
			return only(a.ElastiCache.ModifyUser(a.t.Context(), &elasticache.ModifyUserInput{UserId: aws.String("orders-app"), AuthenticationMode: &types.AuthenticationMode{Type: types.InputAuthenticationTypePassword, Passwords: []string{"a-long-password-1"}}}))
		}},
		"a default user who is on": {engine: "redis", thing: "user orders-default", what: "access string", spoil: func(a *account) error {
			return only(a.ElastiCache.ModifyUser(a.t.Context(), &elasticache.ModifyUserInput{UserId: aws.String("orders-default"), AccessString: aws.String("on ~* +@all")}))
		}},
		"a user who has left the group": {thing: "user group orders-users", what: "users", spoil: func(a *account) error {
			return only(a.ElastiCache.ModifyUserGroup(a.t.Context(), &elasticache.ModifyUserGroupInput{UserGroupId: aws.String("orders-users"), UserIdsToRemove: []string{"orders-app"}}))
		}},
		"a cache without its group": {thing: "replication group orders", what: "user group", spoil: func(a *account) error {
			return only(a.ElastiCache.ModifyReplicationGroup(a.t.Context(), &elasticache.ModifyReplicationGroupInput{ReplicationGroupId: aws.String("orders"), RemoveUserGroups: aws.Bool(true)}))
		}},
		"an access string of MemoryDB": {service: rediam.MemoryDB, thing: "user orders-app", what: "access string", spoil: func(a *account) error {
			return only(a.MemoryDB.UpdateUser(a.t.Context(), &memorydb.UpdateUserInput{UserName: aws.String("orders-app"), AccessString: aws.String("on ~* +@read")}))
		}},
		"a user who has left the ACL": {service: rediam.MemoryDB, thing: "ACL orders-users", what: "users", spoil: func(a *account) error {
			return only(a.MemoryDB.UpdateACL(a.t.Context(), &memorydb.UpdateACLInput{ACLName: aws.String("orders-users"), UserNamesToRemove: []string{"orders-app"}}))
		}},
		"a cluster that is open": {service: rediam.MemoryDB, thing: "MemoryDB cluster orders", what: "ACL", spoil: func(a *account) error {
			return only(a.MemoryDB.UpdateCluster(a.t.Context(), &memorydb.UpdateClusterInput{ClusterName: aws.String("orders"), ACLName: aws.String("open-access")}))
		}},
		"a policy, five times": {thing: "policy elasticache-orders-orders-app-us-east-1", what: "document", spoil: func(a *account) error {
			for range 4 { // once it was, there are as many as can be
				only(a.IAM.CreatePolicyVersion(a.t.Context(), &iam.CreatePolicyVersionInput{PolicyArn: policy(a), SetAsDefault: true,
					PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}`)}))
			}
			return nil
		}},
		"a trust policy": {thing: "role orders-app", what: "trust policy", spoil: func(a *account) error {
			return only(a.IAM.UpdateAssumeRolePolicy(a.t.Context(), &iam.UpdateAssumeRolePolicyInput{RoleName: aws.String("orders-app"), PolicyDocument: aws.String(openTrust)}))
		}},
		"a role without its policy": {thing: "role orders-app", what: "policies", spoil: func(a *account) error {
			return only(a.IAM.DetachRolePolicy(a.t.Context(), &iam.DetachRolePolicyInput{RoleName: aws.String("orders-app"), PolicyArn: policy(a)}))
		}},
		"an instance profile without its role": {thing: "instance profile orders-app", what: "role", spoil: func(a *account) error {
			return only(a.IAM.RemoveRoleFromInstanceProfile(a.t.Context(), &iam.RemoveRoleFromInstanceProfileInput{InstanceProfileName: aws.String("orders-app"), RoleName: aws.String("orders-app")}))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAccount(t, emulator.Config{})
			before := a.inventory()
			spec := setup.Spec{Cache: "orders", User: "orders-app", Access: "read-write", Trust: "ec2", Engine: test.engine, Service: test.service}
			a.apply(spec)
			a.must(test.spoil(a))
			plan, err := a.setup(spec).Plan(t.Context())
			a.must(err)
			if s := step(t, plan, test.thing); s.Action != setup.Change || len(s.Differences) != 1 || s.Differences[0].What != test.what || s.Differences[0].Left {
				t.Errorf("the plan is %+v", s)
			}
			for _, s := range plan.Steps {
				if s.Kind+" "+s.Name != test.thing && s.Action != setup.None {
					t.Errorf("besides it would %s %s %s", s.Action, s.Kind, s.Name)
				}
			}
			a.apply(spec)
			if plan, err = a.setup(spec).Plan(t.Context()); err != nil || !plan.Nothing() {
				t.Errorf("afterwards there would be done: %+v, %v", plan, err)
			}
			if got := a.signIn(spec, a.as(spec), "SET a b"); got != "+OK" {
				t.Errorf("SET says %q", got)
			}
			a.must(test.spoil(a))
			a.destroy(spec)
			a.unchanged(before)
		})
	}
}

// What was there before is used, and is as it was when setup has gone.
func TestWhatIsThereIsAdoptedAndLeftBehind(t *testing.T) {
	ctx := t.Context()
	for name, test := range map[string]struct {
		spec setup.Spec
		make func(a *account)
		left []string // things that differ and are left so
	}{
		"a replication group without users": {setup.Spec{Cache: "orders", User: "orders-app"}, func(a *account) {
			a.must(only(a.ElastiCache.CreateReplicationGroup(ctx, &elasticache.CreateReplicationGroupInput{ReplicationGroupId: aws.String("orders"), ReplicationGroupDescription: aws.String("d"), Engine: aws.String("redis"), TransitEncryptionEnabled: aws.Bool(true)})))
		}, nil},
		"a serverless cache without users": {setup.Spec{Cache: "orders", User: "orders-app", Serverless: true, Engine: "redis"}, func(a *account) {
			a.must(only(a.ElastiCache.CreateServerlessCache(ctx, &elasticache.CreateServerlessCacheInput{ServerlessCacheName: aws.String("orders"), Engine: aws.String("valkey")})))
		}, []string{"serverless cache orders"}},
		"a MemoryDB cluster that is open": {setup.Spec{Service: rediam.MemoryDB, Cache: "orders", User: "orders-app", NodeType: "db.r7g.large"}, func(a *account) {
			a.must(only(a.MemoryDB.CreateCluster(ctx, &memorydb.CreateClusterInput{ClusterName: aws.String("orders"), NodeType: aws.String("db.t4g.small"), ACLName: aws.String("open-access")})))
		}, []string{"MemoryDB cluster orders"}},
		"a MemoryDB cluster with users": {setup.Spec{Service: rediam.MemoryDB, Cache: "orders", User: "orders-app", Access: "on ~* +@all"}, func(a *account) {
			a.must(only(a.MemoryDB.CreateUser(ctx, &memorydb.CreateUserInput{UserName: aws.String("other"), AccessString: aws.String("on ~* +@all"), AuthenticationMode: &memorydbtypes.AuthenticationMode{Type: memorydbtypes.InputAuthenticationTypeIam}})),
				only(a.MemoryDB.CreateACL(ctx, &memorydb.CreateACLInput{ACLName: aws.String("people"), UserNames: []string{"other"}})),
				only(a.MemoryDB.CreateCluster(ctx, &memorydb.CreateClusterInput{ClusterName: aws.String("orders"), NodeType: aws.String("db.t4g.small"), ACLName: aws.String("people")})))
		}, nil},
		"a cache with users": {setup.Spec{Cache: "orders", User: "orders-app"}, func(a *account) { a.people("redis") }, nil},
		"users alone":        {setup.Spec{Cache: "orders", User: "orders-app", Group: "people"}, func(a *account) { a.people("") }, nil},
		"the user, who may less": {setup.Spec{Cache: "orders", User: "orders-app", Access: "admin"}, func(a *account) {
			a.must(only(a.ElastiCache.CreateUser(ctx, &elasticache.CreateUserInput{UserId: aws.String("orders-app"), UserName: aws.String("orders-app"), Engine: aws.String("valkey"), AccessString: aws.String("on ~* +@all -@dangerous"), AuthenticationMode: &types.AuthenticationMode{Type: types.InputAuthenticationTypeIam}})))
		}, []string{"user orders-app"}},
		"a role with another trust, and its profile": {setup.Spec{Cache: "orders", User: "orders-app", Trust: "ec2", Role: "app"}, func(a *account) {
			a.must(only(a.IAM.CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String("app"), AssumeRolePolicyDocument: aws.String(strings.Replace(openTrust, `"lambda.amazonaws.com"`, `["lambda.amazonaws.com","ec2.amazonaws.com"]`, 1))})),
				only(a.IAM.CreateInstanceProfile(ctx, &iam.CreateInstanceProfileInput{InstanceProfileName: aws.String("app")})),
				only(a.IAM.AddRoleToInstanceProfile(ctx, &iam.AddRoleToInstanceProfileInput{InstanceProfileName: aws.String("app"), RoleName: aws.String("app")})))
		}, []string{"role app"}},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAccount(t, emulator.Config{})
			test.make(a)
			before := a.inventory()
			a.apply(test.spec)
			if got := a.signIn(test.spec, a.as(test.spec), "SET a b"); got != "+OK" {
				t.Errorf("SET says %q", got)
			}
			plan, err := a.setup(test.spec).Plan(t.Context())
			a.must(err)
			var left []string
			for _, s := range plan.Steps {
				if len(s.Differences) > 0 {
					left = append(left, s.Kind+" "+s.Name)
				}
			}
			if !plan.Nothing() || !slices.Equal(left, test.left) {
				t.Errorf("what differs is %q, not %q", left, test.left)
			}
			whole := a.inventory()
			a.apply(test.spec)
			a.unchanged(whole)
			a.destroy(test.spec)
			a.unchanged(before)
		})
	}
}

// people makes a group people with a user other, and a cache orders with it unless the
// engine is empty.
func (a *account) people(engine string) {
	ctx := a.t.Context()
	password := &types.AuthenticationMode{Type: types.InputAuthenticationTypePassword, Passwords: []string{"a-long-password-1"}}
	a.must(only(a.ElastiCache.CreateUser(ctx, &elasticache.CreateUserInput{UserId: aws.String("nobody"), UserName: aws.String("default"), Engine: aws.String("redis"), AccessString: aws.String("off -@all"), AuthenticationMode: password})),
		only(a.ElastiCache.CreateUser(ctx, &elasticache.CreateUserInput{UserId: aws.String("other"), UserName: aws.String("other"), Engine: aws.String("redis"), AccessString: aws.String("on ~* +@all"), AuthenticationMode: password})),
		only(a.ElastiCache.CreateUserGroup(ctx, &elasticache.CreateUserGroupInput{UserGroupId: aws.String("people"), Engine: aws.String("redis"), UserIds: []string{"nobody", "other"}})))
	if engine != "" {
		a.must(only(a.ElastiCache.CreateReplicationGroup(ctx, &elasticache.CreateReplicationGroupInput{ReplicationGroupId: aws.String("orders"), ReplicationGroupDescription: aws.String("d"), Engine: &engine, TransitEncryptionEnabled: aws.Bool(true), UserGroupIds: []string{"people"}})))
	}
}

// Whatever others have come to use stays, and goes with the last of them.
func TestWhatOthersUseStays(t *testing.T) {
	for _, spec := range kinds() {
		t.Run(nameOf(spec), func(t *testing.T) {
			a := newAccount(t, emulator.Config{})
			before := a.inventory()
			spec.Trust = "ec2"
			other := spec
			other.User = "other"
			a.apply(other)
			whole := a.inventory()
			a.apply(spec)
			a.destroy(spec)
			a.unchanged(whole)
			if got := a.signIn(other, a.as(other), "SET a b"); got != "+OK" {
				t.Errorf("SET says %q", got)
			}
			a.destroy(other)
			a.unchanged(before)
		})
	}
	t.Run("a user of two caches, a role and a policy", func(t *testing.T) {
		ctx := t.Context()
		a := newAccount(t, emulator.Config{})
		one := setup.Spec{Cache: "orders", User: "app", Trust: "ec2"}
		two := setup.Spec{Cache: "payments", User: "app", Trust: "ec2"}
		a.apply(one)
		a.apply(two)
		a.must(only(a.IAM.CreateInstanceProfile(ctx, &iam.CreateInstanceProfileInput{InstanceProfileName: aws.String("more")})),
			only(a.IAM.CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String("more"), AssumeRolePolicyDocument: aws.String(openTrust)})),
			only(a.IAM.AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{RoleName: aws.String("more"), PolicyArn: aws.String("arn:aws:iam::" + a.Account() + ":policy/elasticache-orders-app-us-east-1")})))
		plan, err := a.setup(one).PlanDestroy(ctx)
		a.must(err)
		for thing, want := range map[string]struct {
			setup.Action
			note string
		}{
			"user app": {setup.Keep, "payments-users"}, "user group orders-users": {setup.Delete, ""}, "replication group orders": {setup.Delete, ""},
			"role app": {setup.Change, "elasticache-payments-app-us-east-1"}, "policy elasticache-orders-app-us-east-1": {setup.Keep, "attached to other roles or users, of which --role names the one"},
		} {
			if s := step(t, plan, thing); s.Action != want.Action || !strings.Contains(s.Note, want.note) {
				t.Errorf("%s: would %s: %s", thing, s.Action, s.Note)
			}
		}
		a.destroy(one)
		if got := a.signIn(two, a.as(two), "SET a b"); got != "+OK" {
			t.Errorf("SET says %q", got)
		}
	})
}

// Those of a group that somebody else has made may have come to a cache of setup's.
func TestACacheStaysForThoseOfAGroupThatSetupHasNotMade(t *testing.T) {
	ctx := t.Context()
	a := newAccount(t, emulator.Config{})
	a.people("")
	spec := setup.Spec{Cache: "orders", User: "orders-app"}
	a.apply(spec)
	a.must(only(a.ElastiCache.ModifyReplicationGroup(ctx, &elasticache.ModifyReplicationGroupInput{ReplicationGroupId: aws.String("orders"), UserGroupIdsToRemove: []string{"orders-users"}, UserGroupIdsToAdd: []string{"people"}})))
	plan, err := a.setup(spec).PlanDestroy(ctx)
	a.must(err)
	if s := step(t, plan, "replication group orders"); s.Action != setup.Keep || !strings.Contains(s.Note, "lets nobody, other in: --group people") {
		t.Errorf("it would %s the cache: %q", s.Action, s.Note)
	}
	a.destroy(spec)
	if a.Cache("orders").Addr == "" {
		t.Error("the cache is gone")
	}
	spec.Group = "people"
	plan, err = a.setup(spec).PlanDestroy(ctx)
	a.must(err)
	if s := step(t, plan, "replication group orders"); s.Action != setup.Delete {
		t.Errorf("it would %s the cache: %q", s.Action, s.Note)
	}
}

// Who forgets --serverless is not told that there is nothing.
func TestADestroyOfAnotherKindNamesTheOneThatIsThere(t *testing.T) {
	a := newAccount(t, emulator.Config{})
	before := a.inventory()
	spec := setup.Spec{Cache: "orders", User: "orders-app", Serverless: true}
	a.apply(spec)
	whole := a.inventory()
	other := spec
	other.Serverless = false
	a.says(a.setup(other).Destroy(t.Context()), "there is a serverless cache orders, and no replication group", "--serverless")
	a.unchanged(whole)
	a.destroy(spec)
	a.unchanged(before)
}

// A role that is there may have a path, as those of AWS's sign-on have.
func TestARoleWithAPathIsNamedWithIt(t *testing.T) {
	a := newAccount(t, emulator.Config{})
	role := "arn:aws:iam::" + a.Account() + ":role/apps/app"
	a.must(only(a.IAM.CreateRole(t.Context(), &iam.CreateRoleInput{Path: aws.String("/apps/"), RoleName: aws.String("app"), AssumeRolePolicyDocument: aws.String(openTrust)})))
	spec := setup.Spec{Cache: "orders", User: "orders-app", Role: "app", Trust: "ecs"}
	s := a.setup(spec)
	plan, err := s.Plan(t.Context())
	a.must(err)
	if plan.Role != role || s.RoleARN() != role {
		t.Errorf("the role is %s and %s", plan.Role, s.RoleARN())
	}
	if left := strings.Join(s.Remaining(t.Context()), "\n"); !strings.Contains(left, `"taskRoleArn": "`+role+`"`) || !strings.Contains(left, "trust policy of role app, which setup has not made, lets ecs-tasks.amazonaws.com use it") {
		t.Errorf("left is %s", left)
	}
}

// A session's ARN does not tell the path of its role.
func TestWhoRunsItWithARoleWithAPathIsTrusted(t *testing.T) {
	a := newAccount(t, emulator.Config{})
	role := "arn:aws:iam::" + a.Account() + ":role/apps/operator"
	a.must(only(a.IAM.CreateRole(t.Context(), &iam.CreateRoleInput{Path: aws.String("/apps/"), RoleName: aws.String("operator"), AssumeRolePolicyDocument: aws.String(strings.Replace(openTrust, `"Service":"lambda.amazonaws.com"`, `"AWS":"arn:aws:iam::`+a.Account()+`:root"`, 1))})),
		only(a.PutPolicy("all", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`)),
		only(a.IAM.AttachRolePolicy(t.Context(), &iam.AttachRolePolicyInput{RoleName: aws.String("operator"), PolicyArn: aws.String("arn:aws:iam::" + a.Account() + ":policy/all")})))
	sessions := sts.New(sts.Options{Region: a.Region(), BaseEndpoint: aws.String(a.URL()), Credentials: a.admin})
	s := a.setup(setup.Spec{Cache: "orders", User: "orders-app", Trust: role})
	s.Clients = a.clients(stscreds.NewAssumeRoleProvider(sessions, role), http.DefaultClient)
	a.must(only(s.Plan(t.Context())))
	if !s.Mine() {
		t.Error("the role does not trust who runs this")
	}
}

// The delay of AWS's answers is waited for, whatever is under way, and told.
func TestWhatIsUnderWayIsWaitedFor(t *testing.T) {
	a := newAccount(t, emulator.Config{StateDelay: time.Second})
	before := a.inventory()
	for _, spec := range kinds() {
		t.Run(nameOf(spec), func(t *testing.T) {
			a.t = t
			var said []string
			s := a.setup(spec)
			s.Progress = func(what string) {
				said = append(said, what)
				a.heard(what)
			}
			a.must(only(s.Apply(t.Context())))
			if got := a.signIn(spec, a.admin, "PING"); got != "+PONG" {
				t.Errorf("PING says %q", got)
			}
			if all := strings.Join(said, "\n"); !strings.Contains(all, "making user orders-app") || !strings.Contains(all, " orders is creating") {
				t.Errorf("it says %q", all)
			}
			if spec.Service == rediam.MemoryDB { // half of it is being deleted
				a.must(only(a.MemoryDB.DeleteCluster(t.Context(), &memorydb.DeleteClusterInput{ClusterName: aws.String("orders")})))
			} else if spec.Serverless {
				a.must(only(a.ElastiCache.DeleteServerlessCache(t.Context(), &elasticache.DeleteServerlessCacheInput{ServerlessCacheName: aws.String("orders")})))
			} else {
				a.must(only(a.ElastiCache.DeleteReplicationGroup(t.Context(), &elasticache.DeleteReplicationGroupInput{ReplicationGroupId: aws.String("orders")})))
			}
			plan, err := a.setup(spec).Plan(t.Context())
			a.must(err)
			if s := plan.Steps[len(plan.Steps)-1]; s.Action != setup.Make || !strings.Contains(s.Note, "deleting") {
				t.Errorf("the plan is %+v", s)
			}
			a.apply(spec)
			a.destroy(spec)
			a.unchanged(before)
		})
	}
}

// Somebody may delete what has just been made.
func TestWhatGoesAwayMeanwhileIsMadeAgain(t *testing.T) {
	a := newAccount(t, emulator.Config{StateDelay: time.Second})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	deleted := false
	s := a.setup(setup.Spec{Cache: "orders", User: "orders-app"})
	s.Progress = func(what string) {
		a.heard(what)
		switch {
		case strings.HasSuffix(what, "orders is creating") && !deleted:
			deleted = true
			a.must(only(a.ElastiCache.DeleteReplicationGroup(ctx, &elasticache.DeleteReplicationGroupInput{ReplicationGroupId: aws.String("orders")})))
		case strings.HasSuffix(what, "does not show yet"):
			cancel()
		}
	}
	if endpoint, err := s.Apply(ctx); err != nil || endpoint == "" || !deleted {
		t.Errorf("Apply() = %q, %v", endpoint, err)
	}
}

func TestACacheThatIsBeingMadeIsDestroyed(t *testing.T) {
	a := newAccount(t, emulator.Config{StateDelay: time.Second})
	before := a.inventory()
	spec := kinds()[0]
	s := a.setup(spec)
	_, err := s.Plan(t.Context())
	a.must(err, only(a.ElastiCache.CreateReplicationGroup(t.Context(), &elasticache.CreateReplicationGroupInput{ReplicationGroupId: aws.String("orders"), ReplicationGroupDescription: aws.String("d"), TransitEncryptionEnabled: aws.Bool(true),
		Tags: []types.Tag{{Key: aws.String(setup.TagKey), Value: aws.String(s.CacheARN())}}})))
	a.destroy(spec)
	a.unchanged(before)
}

func TestWhatCannotBeUsedIsRefusedBeforeAnythingIsMade(t *testing.T) {
	ctx := t.Context()
	group := func(change func(*elasticache.CreateReplicationGroupInput)) func(a *account) {
		return func(a *account) {
			in := &elasticache.CreateReplicationGroupInput{ReplicationGroupId: aws.String("orders"), ReplicationGroupDescription: aws.String("d"), Engine: aws.String("redis"), TransitEncryptionEnabled: aws.Bool(true)}
			change(in)
			a.must(only(a.ElastiCache.CreateReplicationGroup(ctx, in)))
		}
	}
	user := func(in elasticache.CreateUserInput) func(a *account) {
		return func(a *account) {
			in.Engine = aws.String("redis")
			a.must(only(a.ElastiCache.CreateUser(ctx, &in)))
		}
	}
	password := &types.AuthenticationMode{Type: types.InputAuthenticationTypePassword, Passwords: []string{"a-long-password-1"}}
	nothing := func(*account) {}
	orders := setup.Spec{Cache: "orders", User: "orders-app"}
	with := func(change func(*setup.Spec)) setup.Spec {
		s := orders
		change(&s)
		return s
	}
	for name, test := range map[string]struct {
		spec       setup.Spec
		make       func(a *account)
		says, hint string
	}{
		"no cache and no user":         {setup.Spec{}, nothing, "no cache", ""},
		"an endpoint":                  {with(func(s *setup.Spec) { s.Cache = "orders.abc.cache.amazonaws.com" }), nothing, "not by an endpoint", ""},
		"a name with two hyphens":      {with(func(s *setup.Spec) { s.Cache = "or--ders" }), nothing, "AWS takes no cache", ""},
		"the user default":             {with(func(s *setup.Spec) { s.User = "default" }), nothing, "cannot sign in with IAM", ""},
		"a user with a dot":            {with(func(s *setup.Spec) { s.User = "a.b" }), nothing, "AWS takes no user", ""},
		"a role with a space":          {with(func(s *setup.Spec) { s.Role = "a b" }), nothing, "AWS takes no role", ""},
		"a group with a dot":           {with(func(s *setup.Spec) { s.Group = "a_b" }), nothing, "AWS takes no user group", ""},
		"an access string":             {with(func(s *setup.Spec) { s.Access = "on +nonsense" }), nothing, "access string is wrong", ""},
		"an access string that is off": {with(func(s *setup.Spec) { s.Access = "off ~* +@all" }), nothing, "nobody could sign in", ""},
		"a trust":                      {with(func(s *setup.Spec) { s.Trust = "mars" }), nothing, "must be ec2, lambda", ""},
		"a trust for a session":        {with(func(s *setup.Spec) { s.Trust = "arn:aws:sts::123456789012:assumed-role/a/b" }), nothing, "ARN of a role, a user", ""},
		"irsa without an account":      {with(func(s *setup.Spec) { s.Trust = "irsa:https://issuer" }), nothing, "irsa:ISSUER:NAMESPACE:SERVICEACCOUNT", ""},
		"an old engine":                {with(func(s *setup.Spec) { s.Engine, s.Version = "redis", "6.2" }), nothing, "IAM needs", ""},
		"MemoryDB without servers":     {with(func(s *setup.Spec) { s.Service, s.Serverless = rediam.MemoryDB, true }), nothing, "no serverless", ""},
		"a serverless cache is meant": {orders, func(a *account) {
			a.must(only(a.ElastiCache.CreateServerlessCache(ctx, &elasticache.CreateServerlessCacheInput{ServerlessCacheName: aws.String("orders"), Engine: aws.String("valkey")})))
		}, "there is a serverless cache orders, and no replication group", "--serverless"},
		"a cache cluster is there": {orders, func(a *account) {
			a.must(only(a.ElastiCache.(*elasticache.Client).CreateCacheCluster(ctx, &elasticache.CreateCacheClusterInput{CacheClusterId: aws.String("orders"), Engine: aws.String("redis"), CacheNodeType: aws.String("cache.t4g.small"), NumCacheNodes: aws.Int32(1)})))
		}, "cache cluster orders, which can have no users", "another name"},
		"a node is named":              {with(func(s *setup.Spec) { s.Cache = "orders-001" }), group(func(*elasticache.CreateReplicationGroupInput) {}), "orders-001 is a node of the replication group orders", "--cache orders"},
		"a trust of another partition": {with(func(s *setup.Spec) { s.Trust = "arn:aws-cn:iam::123456789012:role/app" }), nothing, "another partition", "arn:aws:"},
		"a user for Valkey": {with(func(s *setup.Spec) { s.Engine = "redis" }), func(a *account) {
			a.must(only(a.ElastiCache.CreateUser(ctx, &elasticache.CreateUserInput{UserId: aws.String("orders-app"), UserName: aws.String("orders-app"), Engine: aws.String("valkey"), AccessString: aws.String("on ~* +@all"), AuthenticationMode: &types.AuthenticationMode{Type: types.InputAuthenticationTypeIam}})))
		}, "user orders-app is for Valkey", "--user"},
		"a cluster is meant": {orders, func(a *account) {
			a.must(only(a.MemoryDB.CreateCluster(ctx, &memorydb.CreateClusterInput{ClusterName: aws.String("orders"), NodeType: aws.String("db.t4g.small"), ACLName: aws.String("open-access")})))
		}, "there is a MemoryDB cluster orders", "--service memorydb"},
		"a replication group is meant": {with(func(s *setup.Spec) { s.Serverless = true }), group(func(*elasticache.CreateReplicationGroupInput) {}), "there is a replication group orders", "leave out"},
		"no TLS":                       {orders, group(func(in *elasticache.CreateReplicationGroupInput) { in.TransitEncryptionEnabled = aws.Bool(false) }), "has no TLS", "--transit-encryption-enabled"},
		"an AUTH token":                {orders, group(func(in *elasticache.CreateReplicationGroupInput) { in.AuthToken = aws.String("a-long-password-1") }), "has an AUTH token", "rediam migrate"},
		"an engine that is too old":    {orders, group(func(in *elasticache.CreateReplicationGroupInput) { in.EngineVersion = aws.String("6.2") }), "has redis 6.2", "upgrade"},
		"another group than it has":    {with(func(s *setup.Spec) { s.Group = "friends" }), func(a *account) { a.people("redis") }, "has the user group people, not friends", "leave out --group"},
		"a group for Valkey": {with(func(s *setup.Spec) { s.Engine, s.Group = "redis", "people" }), func(a *account) {
			a.must(only(a.ElastiCache.CreateUserGroup(ctx, &elasticache.CreateUserGroupInput{UserGroupId: aws.String("people"), Engine: aws.String("valkey")})))
		}, "is for Valkey", "--group"},
		"a group of AWS's":         {with(func(s *setup.Spec) { s.Service, s.Group = rediam.MemoryDB, "open-access" }), nothing, "AWS lets nobody change", "--group"},
		"a user with a password":   {orders, user(elasticache.CreateUserInput{UserId: aws.String("orders-app"), UserName: aws.String("orders-app"), AccessString: aws.String("on ~* +@all"), AuthenticationMode: password}), "signs in with password", "--user"},
		"a user whose id differs":  {orders, user(elasticache.CreateUserInput{UserId: aws.String("orders-app"), UserName: aws.String("app"), AccessString: aws.String("on ~* +@all"), AuthenticationMode: password}), "has the name app", "--user"},
		"a user who is off":        {orders, user(elasticache.CreateUserInput{UserId: aws.String("orders-app"), UserName: aws.String("orders-app"), AccessString: aws.String("off ~* +@all"), AuthenticationMode: &types.AuthenticationMode{Type: types.InputAuthenticationTypeIam}}), "it is off", ""},
		"a default user who is on": {with(func(s *setup.Spec) { s.Engine = "redis" }), user(elasticache.CreateUserInput{UserId: aws.String("orders-default"), UserName: aws.String("default"), AccessString: aws.String("on ~* +@all"), AuthenticationMode: password}), "not a user default who is off", "--group"},
		"a policy of somebody else": {with(func(s *setup.Spec) { s.Trust = "ecs" }), func(a *account) {
			a.must(only(a.PutPolicy("elasticache-orders-orders-app-us-east-1", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`)))
		}, "another than a sign-in needs", "delete it if nobody"},
		"an instance profile of somebody else": {with(func(s *setup.Spec) { s.Trust = "ec2" }), func(a *account) {
			a.must(only(a.IAM.CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String("more"), AssumeRolePolicyDocument: aws.String(openTrust)})),
				only(a.IAM.CreateInstanceProfile(ctx, &iam.CreateInstanceProfileInput{InstanceProfileName: aws.String("orders-app")})),
				only(a.IAM.AddRoleToInstanceProfile(ctx, &iam.AddRoleToInstanceProfileInput{InstanceProfileName: aws.String("orders-app"), RoleName: aws.String("more")})))
		}, "has the role more", "--role"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAccount(t, emulator.Config{})
			test.make(a)
			before := a.inventory()
			_, err := a.setup(test.spec).Apply(ctx)
			a.says(err, test.says, test.hint)
			a.unchanged(before)
		})
	}
}

// says compares an error with what it should say, in one line for each mistake.
func (a *account) says(err error, what, hint string) {
	a.t.Helper()
	e, _ := err.(*setup.Error)
	if err == nil || !strings.Contains(err.Error(), what) || e == nil && hint != "" || e != nil && (!strings.Contains(e.Hint, hint) || strings.ContainsAny(e.What+e.Hint, "\n")) {
		hinted := ""
		if e != nil {
			hinted = e.Hint
		}
		a.t.Errorf("the error is %v, its hint %q; not %q and %q", err, hinted, what, hint)
	}
}

func TestAQuotaEndsARunThatGoesOnLater(t *testing.T) {
	a := newAccount(t, emulator.Config{})
	for i := range 100 {
		a.must(only(a.ElastiCache.CreateUserGroup(t.Context(), &elasticache.CreateUserGroupInput{UserGroupId: aws.String(fmt.Sprint("g", i)), Engine: aws.String("valkey")})))
	}
	spec := kinds()[0]
	_, err := a.setup(spec).Apply(t.Context())
	a.says(err, "make user group orders-users: UserGroupQuotaExceeded: ", "Service Quotas; then run it again")
	a.must(only(a.ElastiCache.DeleteUserGroup(t.Context(), &elasticache.DeleteUserGroupInput{UserGroupId: aws.String("g1")})))
	a.apply(spec)
	if got := a.signIn(spec, a.admin, "PING"); got != "+PONG" {
		t.Errorf("PING says %q", got)
	}
}

func TestAnEndpointThatDoesNotAnswerIsSaidInOneLine(t *testing.T) {
	a := newAccount(t, emulator.Config{})
	s := a.setup(kinds()[0])
	gone := newAccount(t, emulator.Config{})
	gone.must(gone.Close())
	s.Clients.ElastiCache = gone.Clients.ElastiCache
	_, err := s.Apply(t.Context())
	a.says(err, "look at replication group orders: ElastiCache could not be asked: dial tcp 127.0.0.1:", "goes on where it stopped")
}

func TestAPlanIsJSONWithAWSsNames(t *testing.T) {
	a := newAccount(t, emulator.Config{})
	plan, err := a.setup(kinds()[0]).Plan(t.Context())
	a.must(err)
	text, err := json.Marshal(plan)
	a.must(err)
	if !strings.Contains(string(text), `"input":{"AccessString":`) || strings.Contains(string(text), "null") {
		t.Errorf("the plan is %s", text)
	}
}

// busyAWS says a few times that there are too many requests, of changes alone.
type busyAWS struct {
	mu   sync.Mutex // guards left
	left int
}

func (b *busyAWS) Do(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	b.mu.Lock()
	defer b.mu.Unlock()
	if !bytes.Contains(body, []byte("Action=Create")) || b.left == 0 {
		return http.DefaultClient.Do(r)
	}
	b.left--
	return &http.Response{StatusCode: 400, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(
		`<ErrorResponse><Error><Type>Sender</Type><Code>Throttling</Code><Message>Rate exceeded</Message></Error></ErrorResponse>`))}, nil
}

func TestTooManyRequestsAreWaitedFor(t *testing.T) {
	a := newAccount(t, emulator.Config{})
	s := a.setup(kinds()[0])
	s.Clients = a.clients(a.admin, &busyAWS{left: 10}) // more than the SDK tries
	a.must(only(s.Apply(t.Context())))
	if got := a.signIn(kinds()[0], a.admin, "PING"); got != "+PONG" {
		t.Errorf("PING says %q", got)
	}
}

// otherWords is an ElastiCache that tells access strings in words of its own.
type otherWords struct{ setup.ElastiCache }

func (o otherWords) DescribeUsers(ctx context.Context, in *elasticache.DescribeUsersInput, options ...func(*elasticache.Options)) (*elasticache.DescribeUsersOutput, error) {
	out, err := o.ElastiCache.DescribeUsers(ctx, in, options...)
	if err == nil {
		out.Users[0].AccessString = aws.String("on everything")
	}
	return out, err
}

func TestAnAccessStringInOtherWordsIsNotWaitedForWithoutEnd(t *testing.T) {
	a := newAccount(t, emulator.Config{})
	s := a.setup(kinds()[0])
	s.Clients.ElastiCache = otherWords{s.Clients.ElastiCache}
	said := ""
	s.Progress = func(what string) { said += what + "\n" }
	a.must(only(s.Apply(t.Context())))
	if !strings.Contains(said, "in other words: on everything") {
		t.Errorf("it says %q", said)
	}
}
