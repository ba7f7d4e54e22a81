package world_test

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rediam/rediam/internal/policy"
	"github.com/rediam/rediam/internal/world"
)

var (
	asUser = world.Identity{Name: "alice"}
	asRole = world.Identity{Role: true, Name: "app"}
)

// peopled is a world with alice, the role app, a managed policy and an instance profile.
func peopled(t *testing.T) (w *world.World, arn string) {
	t.Helper()
	w = world.New("", "")
	_, err := w.CreateIAMUser(world.IAMUser{Name: "alice", Path: "/web/", Tags: map[string]string{"team": "web"}})
	must(t, err)
	_, err = w.CreateRole(world.Role{Name: "app", Trust: trusting(accountRoot)})
	must(t, err)
	p, err := w.CreatePolicy(world.ManagedPolicy{Name: "reading", Path: "/teams/web/"}, policyOf(allow("elasticache:Connect", "*")))
	must(t, err)
	_, err = w.CreateInstanceProfile(world.InstanceProfile{Name: "machine"})
	must(t, err)
	return w, w.PolicyARN(p)
}

func TestWhatIsCreatedHasAnIDADateAndItsPath(t *testing.T) {
	w, arn := peopled(t)
	u, err := w.IAMUser("alice")
	must(t, err)
	r, _ := w.Role("app")
	p, err := w.ManagedPolicy(arn)
	must(t, err)
	i, _ := w.InstanceProfile("machine")
	for prefix, id := range map[string]string{"AIDA": u.ID, "AROA": r.ID, "ANPA": p.ID, "AIPA": i.ID} {
		if !strings.HasPrefix(id, prefix) || len(id) != 21 {
			t.Errorf("the id %q does not look like %s…", id, prefix)
		}
	}
	for _, made := range []time.Time{u.Created, r.Created, p.Created, p.Updated, i.Created} {
		if age := w.Now().Sub(made); age < 0 || age > time.Minute || made.Nanosecond() != 0 {
			t.Errorf("created %v", made)
		}
	}
	for got, want := range map[string]string{
		w.IdentityARN(asUser):      "arn:aws:iam::123456789012:user/web/alice",
		w.IdentityARN(asRole):      "arn:aws:iam::123456789012:role/app",
		arn:                        "arn:aws:iam::123456789012:policy/teams/web/reading",
		w.InstanceProfileARN(i):    "arn:aws:iam::123456789012:instance-profile/machine",
		u.Path + r.Path + i.Path:   "/web///",
		p.Default + p.Document():   "v1" + policyOf(allow("elasticache:Connect", "*")),
		w.RoleARN("not there"):     "arn:aws:iam::123456789012:role/not there",
		fmt.Sprint(r.MaxSession):   "1h0m0s",
		fmt.Sprint(len(u.Tags)):    "1",
		fmt.Sprint(u.Tags["team"]): "web",
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestNamesOfIAMAreTakenInWhateverCase(t *testing.T) {
	w, _ := peopled(t)
	_, user := w.CreateIAMUser(world.IAMUser{Name: "Alice", Path: "/other/"})
	refused(t, "a second alice", user, "EntityAlreadyExists", "User with name Alice already exists.")
	_, role := w.CreateRole(world.Role{Name: "APP", Trust: trusting(accountRoot)})
	refused(t, "a second app", role, "EntityAlreadyExists", "Role with name APP already exists.")
	_, managed := w.CreatePolicy(world.ManagedPolicy{Name: "Reading"}, policyOf(allow("*", "*")))
	refused(t, "a second reading", managed, "EntityAlreadyExists", "A policy called Reading already exists. Duplicate names are not allowed.")
	_, profile := w.CreateInstanceProfile(world.InstanceProfile{Name: "MACHINE"})
	refused(t, "a second machine", profile, "EntityAlreadyExists", "Instance Profile MACHINE already exists.")
	must(t, w.UpdateIAMUser("alice", "Alice", "")) // of itself
	_, bob := w.CreateIAMUser(world.IAMUser{Name: "bob"})
	must(t, bob)
	refused(t, "bob renamed", w.UpdateIAMUser("bob", "alice", ""), "EntityAlreadyExists", "User with name alice already exists.")
	if _, err := w.IAMUser("bob"); err != nil {
		t.Errorf("after a rename that failed: %v", err)
	}
}

func TestWhatIAMDoesNotTake(t *testing.T) {
	w, arn := peopled(t)
	trust := trusting(accountRoot)
	user := func(u world.IAMUser) error { _, err := w.CreateIAMUser(u); return err }
	role := func(r world.Role) error { _, err := w.CreateRole(r); return err }
	managed := func(p world.ManagedPolicy, document string) error { _, err := w.CreatePolicy(p, document); return err }
	many := map[string]string{}
	for i := range 51 {
		many[fmt.Sprint("k", i)] = ""
	}
	for _, test := range []struct {
		what          string
		err           error
		code, message string
	}{
		{"a name with a space", user(world.IAMUser{Name: "a b"}), "ValidationError", "The specified value for userName is invalid."},
		{"a name with a line break", user(world.IAMUser{Name: "a\n"}), "ValidationError", "The specified value for userName is invalid."},
		{"no name", role(world.Role{Trust: trust}), "ValidationError", "The specified value for roleName is invalid."},
		{"a name of 65", role(world.Role{Name: strings.Repeat("a", 65), Trust: trust}), "ValidationError", "less than or equal to 64"},
		{"a policy's name of 129", managed(world.ManagedPolicy{Name: strings.Repeat("a", 129)}, policyOf(allow("*", "*"))), "ValidationError", "less than or equal to 128"},
		{"a path without an end", user(world.IAMUser{Name: "x", Path: "/web"}), "ValidationError", "The specified value for path is invalid."},
		{"a path without a beginning", user(world.IAMUser{Name: "x", Path: "web/"}), "ValidationError", "The specified value for path is invalid."},
		{"a path with a hole", user(world.IAMUser{Name: "x", Path: "/web//x/"}), "ValidationError", "The specified value for path is invalid."},
		{"a path of 513", user(world.IAMUser{Name: "x", Path: "/" + strings.Repeat("a", 511) + "/"}), "ValidationError", "The specified value for path is invalid."},
		{"51 tags", user(world.IAMUser{Name: "x", Tags: many}), "LimitExceeded", "The number of tags"},
		{"a tag of AWS's", user(world.IAMUser{Name: "x", Tags: map[string]string{"AWS:x": ""}}), "InvalidInput", "aws:"},
		{"a tag with a star", user(world.IAMUser{Name: "x", Tags: map[string]string{"*": ""}}), "ValidationError", "tags"},
		{"a boundary that is not there", user(world.IAMUser{Name: "x", Boundary: arn + "x"}), "NoSuchEntity", arn + "x"},
		{"a role without trust", role(world.Role{Name: "x"}), "MalformedPolicyDocument", "This policy contains invalid Json"},
		{"a long trust policy", role(world.Role{Name: "x", Trust: trusting(accountRoot, `{"StringEquals":{"a:b":"`+strings.Repeat("x", 2000)+`"}}`)}), "LimitExceeded", "ACLSizePerRole: 2048"},
		{"a long description", role(world.Role{Name: "x", Trust: trust, Description: strings.Repeat("x", 1001)}), "ValidationError", "description"},
		{"sessions of 13 hours", role(world.Role{Name: "x", Trust: trust, MaxSession: 13 * time.Hour}), "ValidationError", "between 1 and 12 hours"},
		{"a large policy", managed(world.ManagedPolicy{Name: "x"}, policyOf(allow("*", strings.Repeat("x", 6144)))), "LimitExceeded", "PolicySize: 6144"},
		{"a policy with a principal", managed(world.ManagedPolicy{Name: "x"}, trust), "MalformedPolicyDocument", "Policy document should not specify a principal."},
		{"a policy of AWS's", w.AttachPolicy(asUser, "arn:aws:iam::aws:policy/ReadOnlyAccess"), "NoSuchEntity", "Policy arn:aws:iam::aws:policy/ReadOnlyAccess does not exist or is not attachable."},
		{"a policy of another account", w.AttachPolicy(asUser, strings.Replace(arn, "123456789012", "210987654321", 1)), "NoSuchEntity", "210987654321"},
		{"a boundary of another account", w.SetBoundary(asRole, strings.Replace(arn, "123456789012", "210987654321", 1)), "NoSuchEntity", "210987654321"},
		{"no boundary", w.SetBoundary(asRole, ""), "NoSuchEntity", "is not attachable"},
		{"no policy at all", w.AttachPolicy(asRole, ""), "NoSuchEntity", "is not attachable"},
		{"what is not attached", w.DetachPolicy(asUser, arn), "NoSuchEntity", "Policy " + arn + " was not found."},
		{"an inline policy that is none", w.PutInlinePolicy(asUser, "p", "{"), "MalformedPolicyDocument", "This policy contains invalid Json"},
		{"an inline policy that is not there", w.DeleteInlinePolicy(asUser, "p"), "NoSuchEntity", "The user policy with name p cannot be found."},
		{"one of a role", w.DeleteInlinePolicy(asRole, "p"), "NoSuchEntity", "The role policy with name p cannot be found."},
		{"large inline policies of a user", w.PutInlinePolicy(asUser, "p", policyOf(allow("*", strings.Repeat("x", 2048)))), "LimitExceeded", "Maximum policy size of 2048 bytes exceeded for user alice"},
		{"large inline policies of a role", w.PutInlinePolicy(asRole, "p", policyOf(allow("*", strings.Repeat("x", 10240)))), "LimitExceeded", "Maximum policy size of 10240 bytes exceeded for role app"},
		{"no boundary to delete", w.DeleteBoundary(asUser), "NoSuchEntity", "alice"},
		{"nobody", w.AttachPolicy(world.Identity{Name: "bob"}, arn), "NoSuchEntity", "The user with name bob cannot be found."},
		{"no role", w.Tag(world.Identity{Role: true, Name: "bob"}, nil, nil), "NoSuchEntity", "The role with name bob cannot be found."},
		{"no profile", w.AddRoleToInstanceProfile("x", "app"), "NoSuchEntity", "Instance Profile x cannot be found."},
		{"no role for a profile", w.AddRoleToInstanceProfile("machine", "x"), "NoSuchEntity", "The role with name x cannot be found."},
		{"a role that is not in it", w.RemoveRoleFromInstanceProfile("machine", "app"), "NoSuchEntity", "app"},
		{"no version", w.SetDefaultPolicyVersion(arn, "v2"), "NoSuchEntity", "version v2 does not exist"},
		{"no policy", w.DeletePolicy(arn + "x"), "NoSuchEntity", "Policy " + arn + "x was not found."},
		{"no key", w.DeleteAccessKey("AKIANOBODY"), "NoSuchEntity", "AKIANOBODY"},
	} {
		refused(t, test.what, test.err, test.code, test.message)
	}
	if p, err := w.Permissions(asUser); err != nil || len(p.Inline)+len(p.Attached) > 0 || p.Boundary != "" {
		t.Errorf("what was refused is there: %+v, %v", p, err)
	}
	if len(w.IAMUsers()) != 1 || len(w.Roles()) != 1 || len(w.ManagedPolicies()) != 1 {
		t.Errorf("%d users, %d roles, %d policies", len(w.IAMUsers()), len(w.Roles()), len(w.ManagedPolicies()))
	}
}

func TestQuotasOfIAM(t *testing.T) {
	w, arn := peopled(t)
	for _, id := range []world.Identity{asUser, asRole} {
		must(t, w.AttachPolicy(id, arn), w.AttachPolicy(id, arn)) // twice is once
		for i := range 10 {
			p, err := w.CreatePolicy(world.ManagedPolicy{Name: fmt.Sprint(id.Name, i)}, policyOf(allow("*", "*")))
			must(t, err)
			if err := w.AttachPolicy(id, w.PolicyARN(p)); i < 9 && err != nil {
				t.Error(err)
			} else if i == 9 {
				refused(t, "an eleventh policy", err, "LimitExceeded", map[bool]string{true: "PoliciesPerRole: 10", false: "PoliciesPerUser: 10"}[id.Role])
			}
		}
	}
	for range 2 {
		_, err := w.CreateOneOfTwoAccessKeys("alice")
		must(t, err)
	}
	_, err := w.CreateOneOfTwoAccessKeys("alice")
	refused(t, "a third key", err, "LimitExceeded", "Cannot exceed quota for AccessKeysPerUser: 2")
	if keys, err := w.AccessKeys("alice"); err != nil || len(keys) != 2 {
		t.Errorf("%d keys, %v", len(keys), err)
	}
	for i := range 5 {
		if _, err := w.CreatePolicyVersion(arn, policyOf(deny("*", "*")), false); i < 4 && err != nil {
			t.Error(err)
		} else if i == 4 {
			refused(t, "a sixth version", err, "LimitExceeded", "A managed policy can have up to 5 versions.")
		}
	}
	must(t, w.DeletePolicyVersion(arn, "v5"))
	v, err := w.CreatePolicyVersion(arn, policyOf(deny("*", "*")), false)
	if err != nil || v.ID != "v6" { // a number is not used again
		t.Errorf("after v5 is deleted: %+v, %v", v, err)
	}
	must(t, w.AddRoleToInstanceProfile("machine", "app"))
	refused(t, "a second role", w.AddRoleToInstanceProfile("machine", "app"), "LimitExceeded", "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1")
}

func TestWhatIsInUseIsNotDeleted(t *testing.T) {
	w, arn := peopled(t)
	k, err := w.CreateAccessKey("alice")
	must(t, err)
	_, err = w.CreatePolicyVersion(arn, policyOf(allow("*", "*")), false)
	must(t, err, w.AttachPolicy(asUser, arn), w.AttachPolicy(asRole, arn), w.PutInlinePolicy(asUser, "p", policyOf(allow("*", "*"))), w.PutInlinePolicy(asRole, "p", policyOf(allow("*", "*"))),
		w.SetBoundary(asRole, arn), w.AddRoleToInstanceProfile("machine", "app"))
	conflict := func(err error, message string) {
		t.Helper()
		refused(t, message, err, "DeleteConflict", message)
	}
	const detach, policies, attached = "Cannot delete entity, must detach all policies first.", "Cannot delete entity, must delete policies first.", "Cannot delete a policy attached to entities."
	conflict(w.DeleteIAMUser("alice"), "Cannot delete entity, must delete access keys first.")
	must(t, w.DeleteAccessKey(k.ID))
	conflict(w.DeleteIAMUser("alice"), detach)
	conflict(w.DeletePolicy(arn), attached)
	must(t, w.DetachPolicy(asUser, arn))
	conflict(w.DeleteIAMUser("alice"), policies)
	must(t, w.DeleteInlinePolicy(asUser, "p"), w.DeleteIAMUser("alice"))

	conflict(w.DeleteRole("app"), "Cannot delete entity, must remove roles from instance profile first.")
	conflict(w.DeleteInstanceProfile("machine"), "Cannot delete entity, must remove roles from instance profile first.")
	must(t, w.RemoveRoleFromInstanceProfile("machine", "app"), w.DeleteInstanceProfile("machine"))
	conflict(w.DeleteRole("app"), detach)
	must(t, w.DetachPolicy(asRole, arn))
	conflict(w.DeleteRole("app"), policies)
	must(t, w.DeleteInlinePolicy(asRole, "p"))
	conflict(w.DeletePolicy(arn), attached) // it is a boundary yet
	must(t, w.DeleteBoundary(asRole))
	conflict(w.DeletePolicyVersion(arn, "v1"), "Cannot delete the default version of a policy.")
	conflict(w.DeletePolicy(arn), "This policy has more than one version.")
	must(t, w.DeletePolicyVersion(arn, "v2"), w.DeletePolicy(arn), w.DeleteRole("app"))
	if n := len(w.IAMUsers()) + len(w.Roles()) + len(w.ManagedPolicies()) + len(w.InstanceProfiles()); n != 0 {
		t.Errorf("%d things are left", n)
	}
}

// What IAM changes counts for calls and for connections, with keys that there are.
func TestChangesOfIAMCountAtOnce(t *testing.T) {
	s := newSetting(t, world.ReplicationGroup)
	_, err := s.CreateIAMUser(world.IAMUser{Name: "alice"})
	must(t, err)
	_, err = s.CreateRole(world.Role{Name: "app", Trust: trusting(accountRoot)})
	must(t, err)
	user, err := s.CreateAccessKey("alice")
	must(t, err)
	session, err := s.IssueSession("app", "one")
	must(t, err)
	token, err := s.SessionToken(user, time.Hour)
	must(t, err)
	p, err := s.CreatePolicy(world.ManagedPolicy{Name: "connect"}, policyOf(allow("elasticache:*", "*")))
	must(t, err)
	arn := s.PolicyARN(p)
	want := func(what string, allowed bool) {
		t.Helper()
		for _, k := range []world.Key{user, session, token} {
			if v := s.authorize(k); v.Allowed != allowed {
				t.Errorf("%s: %s may connect: %+v", what, k.Principal.Type, v)
			}
			if err := s.AuthorizeCall(k, "elasticache:DescribeUsers", "*", "127.0.0.1"); (err == nil) != allowed {
				t.Errorf("%s: %s may call: %v", what, k.Principal.Type, err)
			}
		}
	}
	both := func(change func(world.Identity) error) { t.Helper(); must(t, change(asUser), change(asRole)) }
	want("no policy", false)
	both(func(id world.Identity) error { return s.AttachPolicy(id, arn) })
	want("attached", true)
	_, err = s.CreatePolicyVersion(arn, policyOf(deny("*", "*")), false)
	must(t, err)
	want("a version that does not count", true)
	must(t, s.SetDefaultPolicyVersion(arn, "v2"))
	want("the other version", false)
	_, err = s.CreatePolicyVersion(arn, policyOf(allow("*", "*")), true)
	must(t, err)
	want("a version that counts", true)
	both(func(id world.Identity) error {
		return s.PutInlinePolicy(id, "no", policyOf(deny("elasticache:*", "*")))
	})
	want("denied by an inline policy", false)
	both(func(id world.Identity) error { return s.DeleteInlinePolicy(id, "no") })
	want("not denied any more", true)
	limit, err := s.CreatePolicy(world.ManagedPolicy{Name: "limit"}, policyOf(allow("iam:*", "*")))
	must(t, err)
	both(func(id world.Identity) error { return s.SetBoundary(id, s.PolicyARN(limit)) })
	want("beyond a boundary", false)
	both(s.DeleteBoundary)
	want("without a boundary", true)
	both(func(id world.Identity) error { return s.DetachPolicy(id, arn) })
	want("detached", false)
}

// Keys of something that was deleted are not those of another thing of its name.
func TestSessionsEndWithTheirRoleAndTheirUser(t *testing.T) {
	w, _ := peopled(t)
	old, _ := w.Role("app")
	session, err := w.IssueSession("app", "one")
	must(t, err)
	long, err := w.CreateAccessKey("alice")
	must(t, err)
	token, err := w.SessionToken(long, time.Hour)
	must(t, err)
	must(t, w.DeleteRole("app"), w.DeleteAccessKey(long.ID))
	if _, ok := w.Key(token.ID); !ok {
		t.Error("the session token of a user ended with the key that it was got with")
	}
	must(t, w.DeleteIAMUser("alice"))
	for _, k := range []world.Key{session, token} {
		if k, ok := w.Key(k.ID); ok {
			t.Errorf("there is still %v", k)
		}
	}
	r, err := w.CreateRole(world.Role{Name: "app", Trust: trusting(accountRoot)})
	must(t, err)
	if r.ID == old.ID {
		t.Error("another role has the id of the one that was deleted")
	}
}

func TestAUserWhoIsRenamedKeepsKeysAndPolicies(t *testing.T) {
	w, arn := peopled(t)
	k, err := w.CreateAccessKey("alice")
	must(t, err, w.AttachPolicy(asUser, arn))
	if got := w.PrincipalARN(k.Principal); got != "arn:aws:iam::123456789012:user/web/alice" {
		t.Errorf("alice is %s", got)
	}
	must(t, w.UpdateIAMUser("alice", "carol", "/ops/"))
	after, ok := w.Key(k.ID)
	if got := w.PrincipalARN(after.Principal); !ok || got != "arn:aws:iam::123456789012:user/ops/carol" || after.Principal.ID != k.Principal.ID || after.Secret != k.Secret {
		t.Errorf("the key is now of %s, %+v", got, after)
	}
	if err := w.AuthorizeCall(after, "elasticache:Connect", "*", ""); err != nil {
		t.Error(err)
	}
	_, err = w.IAMUser("alice")
	refused(t, "alice", err, "NoSuchEntity", "The user with name alice cannot be found.")
}

func TestPuttingARoleAgainKeepsItsIDAndPath(t *testing.T) {
	w := world.New("", "")
	made, err := w.CreateRole(world.Role{Name: "app", Path: "/web/", Trust: trusting(accountRoot)})
	must(t, err)
	w.Advance(time.Hour)
	must(t, w.PutRole(world.Role{Name: "app", Description: "changed"}), w.PutIAMUser(world.IAMUser{Name: "bob"}))
	r, _ := w.Role("app")
	if r.ID != made.ID || r.Path != "/web/" || !r.Created.Equal(made.Created) || r.Description != "changed" {
		t.Errorf("the role is now %+v", r)
	}
	before, err := w.IAMUser("bob")
	must(t, err, w.PutIAMUser(world.IAMUser{Name: "bob", Tags: map[string]string{"a": "b"}}))
	after, err := w.IAMUser("bob")
	must(t, err)
	if after.ID != before.ID || !strings.HasPrefix(after.ID, "AIDA") || after.Path != "/" || after.Tags["a"] != "b" {
		t.Errorf("bob was %+v and is %+v", before, after)
	}
}

func TestTagsOfIAMDifferInMoreThanCase(t *testing.T) {
	w, arn := peopled(t)
	must(t, w.Tag(asUser, map[string]string{"Team": "ops", "x": ""}, nil), w.Tag(asUser, nil, []string{"X", "y"}))
	p, err := w.Permissions(asUser)
	if want := map[string]string{"Team": "ops"}; err != nil || !maps.Equal(p.Tags, want) {
		t.Errorf("tags %v, want %v; %v", p.Tags, want, err)
	}
	must(t, w.TagPolicy(arn, map[string]string{"a": "b"}, nil), w.TagInstanceProfile("machine", map[string]string{"a": "b"}, nil))
	m, err := w.ManagedPolicy(arn)
	must(t, err)
	i, err := w.FindInstanceProfile("machine")
	must(t, err)
	if m.Tags["a"] != "b" || i.Tags["a"] != "b" {
		t.Errorf("tags %v and %v", m.Tags, i.Tags)
	}
}

func TestSessionTokens(t *testing.T) {
	w, _ := peopled(t)
	user, err := w.CreateAccessKey("alice")
	must(t, err)
	root, err := w.CreateAccessKey("")
	must(t, err)
	for _, test := range []struct {
		k           world.Key
		asked, want time.Duration
	}{{user, 36 * time.Hour, 36 * time.Hour}, {user, 15 * time.Minute, 15 * time.Minute}, {root, 12 * time.Hour, time.Hour}} {
		k, err := w.SessionToken(test.k, test.asked)
		must(t, err)
		if left := k.Expires.Sub(w.Now()); left > test.want || left < test.want-time.Minute || k.SessionToken == "" || !strings.HasPrefix(k.ID, "ASIA") || k.Principal != test.k.Principal {
			t.Errorf("asked for %v: %v", test.asked, k)
		}
		_, err = w.SessionToken(k, time.Hour)
		refused(t, "a session of a session", err, "AccessDenied", "Cannot call GetSessionToken with session credentials")
	}
	for _, d := range []time.Duration{0, -time.Hour, 899 * time.Second, 36*time.Hour + time.Second} {
		_, err := w.SessionToken(user, d)
		refused(t, d.String(), err, "ValidationError", "900")
	}
	if keys, err := w.AccessKeys("alice"); err != nil || len(keys) != 1 {
		t.Errorf("temporary keys are listed: %v, %v", keys, err)
	}
}

func TestCallsHaveTheKeysOfTheirPrincipal(t *testing.T) {
	w, _ := peopled(t)
	user, err := w.CreateAccessKey("alice")
	must(t, err)
	_, err = w.CreateRole(world.Role{Name: "deep", Path: "/a/b/", Trust: trusting(accountRoot), Tags: map[string]string{"team": "web"}})
	must(t, err)
	session, err := w.IssueSession("deep", "one")
	must(t, err)
	for _, test := range []struct {
		condition  string
		user, role bool
	}{
		{`{"StringEquals":{"aws:username":"alice"}}`, true, false},
		{`{"StringEquals":{"aws:PrincipalTag/team":"web"}}`, true, true},
		{`{"StringEquals":{"aws:PrincipalType":"User"}}`, true, false},
		{`{"ArnEquals":{"aws:PrincipalArn":"arn:aws:iam::123456789012:role/a/b/deep"}}`, false, true},
		{`{"ArnEquals":{"aws:PrincipalArn":"arn:aws:iam::123456789012:user/web/alice"}}`, true, false},
		{`{"StringEquals":{"iam:PolicyARN":"x"}}`, true, true}, // the call's own
	} {
		document := policyOf(on(allow("iam:*", "*"), test.condition))
		must(t, w.PutInlinePolicy(asUser, "p", document), w.PutInlinePolicy(world.Identity{Role: true, Name: "deep"}, "p", document))
		more := policy.Context{}
		more.Set("iam:PolicyARN", "x")
		for k, want := range map[*world.Key]bool{&user: test.user, &session: test.role} {
			if err := w.AuthorizeCall(*k, "iam:GetUser", "*", "", more); (err == nil) != want {
				t.Errorf("%s as %s: %v", test.condition, k.Principal.Type, err)
			}
		}
	}
	must(t, w.PutInlinePolicy(asUser, "p", policyOf(allow("iam:*", "arn:aws:iam::*:user/web/${aws:username}"))))
	must(t, w.AuthorizeCall(user, "iam:CreateAccessKey", w.IdentityARN(asUser), ""))
	refused(t, "another user", w.AuthorizeCall(user, "iam:CreateAccessKey", "arn:aws:iam::123456789012:user/web/bob", ""), "AccessDenied", "user/web/bob because no identity-based policy allows the iam:CreateAccessKey action")
}

func TestARefusalTellsTheKindOfPolicy(t *testing.T) {
	w, arn := peopled(t)
	must(t, w.PutRole(world.Role{Name: "open", Trust: trusting(callerARN), Inline: map[string]string{"p": policyOf(allow("*", "*"))}}))
	caller := keyOf(t, w)
	for policy, want := range map[string]string{
		policyOf(allow("sts:*", "*")):                 "because no session policy allows the iam:GetUser action",
		policyOf(allow("*", "*"), deny("iam:*", "*")): "with an explicit deny in a session policy",
	} {
		k, err := w.AssumeRole(caller, world.AssumeRole{RoleARN: w.RoleARN("open"), Session: "test", Policy: policy})
		must(t, err)
		refused(t, want, w.AuthorizeCall(k, "iam:GetUser", "*", ""), "AccessDenied", "on resource: * "+want)
	}
	must(t, w.SetBoundary(world.Identity{Role: true, Name: "open"}, arn))
	k, err := w.IssueSession("open", "test")
	must(t, err)
	refused(t, "a boundary", w.AuthorizeCall(k, "iam:GetUser", "*", ""), "AccessDenied", "because no permissions boundary allows the iam:GetUser action")
}

func TestIAMIsTheSameAfterSavingAndLoading(t *testing.T) {
	w := world.New("", "")
	records := saved(w)
	_, err := w.CreateIAMUser(world.IAMUser{Name: "alice", Path: "/web/", Tags: map[string]string{"a": "b"}})
	must(t, err)
	_, err = w.CreateRole(world.Role{Name: "app", Path: "/x/", Trust: trusting(accountRoot), Description: "d"})
	must(t, err)
	p, err := w.CreatePolicy(world.ManagedPolicy{Name: "p"}, policyOf(deny("*", "*")))
	must(t, err)
	_, err = w.CreatePolicyVersion(w.PolicyARN(p), policyOf(allow("*", "*")), true)
	must(t, err)
	_, err = w.CreateInstanceProfile(world.InstanceProfile{Name: "machine", Tags: map[string]string{"a": "b"}})
	must(t, err, w.AddRoleToInstanceProfile("machine", "app"), w.AttachPolicy(asRole, w.PolicyARN(p)), w.AttachPolicy(asUser, w.PolicyARN(p)))
	k, err := w.CreateOneOfTwoAccessKeys("alice")
	must(t, err)

	again := world.New("", "")
	must(t, again.Load(records))
	for what, both := range map[string][2]any{
		"users": {w.IAMUsers(), again.IAMUsers()}, "roles": {w.Roles(), again.Roles()},
		"policies": {w.ManagedPolicies(), again.ManagedPolicies()}, "profiles": {w.InstanceProfiles(), again.InstanceProfiles()},
	} {
		if !reflect.DeepEqual(both[0], both[1]) {
			t.Errorf("%s: %+v, were %+v", what, both[1], both[0])
		}
	}
	if got, ok := again.Key(k.ID); !ok || got.Secret != k.Secret || !got.Created.Equal(k.Created) || again.AuthorizeCall(got, "iam:GetUser", "*", "") != nil {
		t.Errorf("the key is %v", got)
	}
	must(t, w.DetachPolicy(asRole, w.PolicyARN(p)), w.RemoveRoleFromInstanceProfile("machine", "app"), w.DeleteRole("app"), w.DeleteInstanceProfile("machine"))
	if left := slices.Sorted(maps.Keys(records)); slices.ContainsFunc(left, func(k string) bool {
		return strings.HasPrefix(k, "role/") || strings.HasPrefix(k, "instance-profile/")
	}) {
		t.Errorf("saved is still %v", left)
	}
}

func TestTheLastUseOfAKey(t *testing.T) {
	w, _ := peopled(t)
	k, err := w.CreateAccessKey("alice")
	must(t, err)
	if u := w.KeyUse(k.ID); !u.Time.IsZero() {
		t.Errorf("a key that nobody used: %+v", u)
	}
	w.UseKey(k.ID, "iam")
	w.UseKey("AKIANOBODY", "iam")
	if u := w.KeyUse(k.ID); u.Service != "iam" || u.Time.IsZero() || w.KeyUse("AKIANOBODY") != (world.Use{}) {
		t.Errorf("used: %+v, nobody's: %+v", u, w.KeyUse("AKIANOBODY"))
	}
}
