package awsapi_test

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/rediam/rediam/emulator"
)

func iamClient(srv *emulator.Server, credentials aws.CredentialsProvider) *iam.Client {
	return iam.New(iam.Options{Region: srv.Region(), BaseEndpoint: aws.String(srv.URL()), Credentials: credentials,
		HTTPSignerV4: onClock{v4.NewSigner(), srv.Now}, HTTPClient: readers{}, RetryMaxAttempts: 1})
}

// iamAdmin is a client of the admin of an emulator, and what lists show before.
func iamAdmin(t *testing.T) (*emulator.Server, *iam.Client) {
	t.Helper()
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	return srv, iamClient(srv, emulator.KeyCredentials(admin(t, srv)))
}

// everyName lists all that there is of IAM.
func everyName(t *testing.T, c *iam.Client) (names []string) {
	t.Helper()
	users, err := c.ListUsers(t.Context(), nil)
	must(t, err)
	roles, err := c.ListRoles(t.Context(), nil)
	must(t, err)
	policies, err := c.ListPolicies(t.Context(), nil)
	must(t, err)
	profiles, err := c.ListInstanceProfiles(t.Context(), nil)
	must(t, err)
	for _, u := range users.Users {
		names = append(names, *u.Arn)
	}
	for _, r := range roles.Roles {
		names = append(names, *r.Arn)
	}
	for _, p := range policies.Policies {
		names = append(names, *p.Arn)
	}
	for _, p := range profiles.InstanceProfiles {
		names = append(names, *p.Arn)
	}
	return names
}

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// as wants an error of the SDK's own type.
func as[E error](t testing.TB, what string, err error, message string) {
	t.Helper()
	var e E
	if !errors.As(err, &e) || !strings.Contains(e.Error(), message) {
		t.Errorf("%s: %v, want %T: …%s…", what, err, e, message)
	}
}

func document(effect, action, resource string) string {
	return fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":%q,"Action":%q,"Resource":%q}]}`, effect, action, resource)
}

// decoded is a policy document as the SDK leaves it: encoded.
func decoded(t testing.TB, encoded *string) string {
	t.Helper()
	if encoded == nil || strings.ContainsAny(*encoded, ` "{+`) {
		t.Fatalf("the document is not encoded: %v", encoded)
	}
	text, err := url.PathUnescape(*encoded)
	must(t, err)
	return text
}

func tagsOf(tags []types.Tag) string {
	var all []string
	for _, tag := range tags {
		all = append(all, *tag.Key+"="+*tag.Value)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func TestTheLifeOfAnIAMUser(t *testing.T) {
	srv, c := iamAdmin(t)
	ctx, before, name := t.Context(), everyName(t, c), aws.String("alice")
	managed, err := c.CreatePolicy(ctx, &iam.CreatePolicyInput{PolicyName: aws.String("all"), PolicyDocument: aws.String(document("Allow", "*", "*"))})
	must(t, err)
	arn := managed.Policy.Arn
	made, err := c.CreateUser(ctx, &iam.CreateUserInput{UserName: name, Path: aws.String("/web/"), PermissionsBoundary: arn,
		Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("web + é")}, {Key: aws.String("empty"), Value: aws.String("")}}})
	must(t, err)
	must(t, iam.NewUserExistsWaiter(c).Wait(ctx, &iam.GetUserInput{UserName: name}, time.Minute))
	got, err := c.GetUser(ctx, &iam.GetUserInput{UserName: name})
	must(t, err)
	u := got.User
	if *u.Arn != "arn:aws:iam::123456789012:user/web/alice" || *u.Path != "/web/" || *u.UserId != *made.User.UserId || !strings.HasPrefix(*u.UserId, "AIDA") ||
		!u.CreateDate.Equal(*made.User.CreateDate) || *u.PermissionsBoundary.PermissionsBoundaryArn != *arn || tagsOf(u.Tags) != "empty= team=web + é" || tagsOf(made.User.Tags) != tagsOf(u.Tags) {
		t.Errorf("made %+v, got %+v", made.User, u)
	}
	_, err = c.CreateUser(ctx, &iam.CreateUserInput{UserName: name})
	as[*types.EntityAlreadyExistsException](t, "a second alice", err, "User with name alice already exists.")
	refused(t, "a second alice", err, 409, "EntityAlreadyExists", "")
	_, err = c.DeletePolicy(ctx, &iam.DeletePolicyInput{PolicyArn: arn})
	as[*types.DeleteConflictException](t, "a boundary", err, "Cannot delete a policy attached to entities.")
	_, err = c.DeleteUserPermissionsBoundary(ctx, &iam.DeleteUserPermissionsBoundaryInput{UserName: name})
	must(t, err)
	_, err = c.PutUserPermissionsBoundary(ctx, &iam.PutUserPermissionsBoundaryInput{UserName: name, PermissionsBoundary: arn})
	must(t, err)

	_, err = c.TagUser(ctx, &iam.TagUserInput{UserName: name, Tags: []types.Tag{{Key: aws.String("x"), Value: aws.String("y")}}})
	must(t, err)
	_, err = c.UntagUser(ctx, &iam.UntagUserInput{UserName: name, TagKeys: []string{"team", "empty"}})
	must(t, err)
	tags, err := c.ListUserTags(ctx, &iam.ListUserTagsInput{UserName: name})
	if err != nil || tagsOf(tags.Tags) != "x=y" || tags.IsTruncated {
		t.Errorf("tags %+v, %v", tags, err)
	}
	_, err = c.TagUser(ctx, &iam.TagUserInput{UserName: name, Tags: []types.Tag{{Key: aws.String("x"), Value: aws.String("y")}, {Key: aws.String("X"), Value: aws.String("z")}}})
	as[*types.InvalidInputException](t, "a tag twice", err, "Duplicate tag keys found.")

	// Permissions of each kind, and that they count.
	first, err := c.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: name})
	must(t, err)
	key := first.AccessKey
	if !strings.HasPrefix(*key.AccessKeyId, "AKIA") || key.Status != types.StatusTypeActive || *key.UserName != "alice" || len(*key.SecretAccessKey) != 40 || key.CreateDate == nil {
		t.Errorf("a key of %s, %s, %v", *key.UserName, key.Status, key.CreateDate)
	}
	alice := emulator.Key{ID: *key.AccessKeyId, Secret: emulator.Secret(*key.SecretAccessKey)}
	self := iamClient(srv, emulator.KeyCredentials(alice))
	_, err = self.GetUser(ctx, &iam.GetUserInput{})
	refused(t, "without a policy", err, 403, "AccessDenied", "User: arn:aws:iam::123456789012:user/web/alice is not authorized to perform: iam:GetUser on resource: arn:aws:iam::123456789012:user/web/alice because no identity-based policy allows the iam:GetUser action")
	_, err = c.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: name, PolicyName: aws.String("own"), PolicyDocument: aws.String(document("Allow", "iam:*", "arn:aws:iam::*:user/web/${aws:username}"))})
	must(t, err)
	if got, err := self.GetUser(ctx, &iam.GetUserInput{}); err != nil || *got.User.UserName != "alice" {
		t.Errorf("her own GetUser: %+v, %v", got, err)
	}
	_, err = self.GetUser(ctx, &iam.GetUserInput{UserName: aws.String("admin")})
	refused(t, "another user", err, 403, "AccessDenied", "user/admin")
	inline, err := c.GetUserPolicy(ctx, &iam.GetUserPolicyInput{UserName: name, PolicyName: aws.String("own")})
	must(t, err)
	if text := decoded(t, inline.PolicyDocument); text != document("Allow", "iam:*", "arn:aws:iam::*:user/web/${aws:username}") || *inline.UserName != "alice" || *inline.PolicyName != "own" {
		t.Errorf("the inline policy is %s", text)
	}
	_, err = c.AttachUserPolicy(ctx, &iam.AttachUserPolicyInput{UserName: name, PolicyArn: arn})
	must(t, err)
	attached, err := c.ListAttachedUserPolicies(ctx, &iam.ListAttachedUserPoliciesInput{UserName: name})
	if err != nil || len(attached.AttachedPolicies) != 1 || *attached.AttachedPolicies[0].PolicyArn != *arn || *attached.AttachedPolicies[0].PolicyName != "all" {
		t.Errorf("attached: %+v, %v", attached, err)
	}
	names, err := c.ListUserPolicies(ctx, &iam.ListUserPoliciesInput{UserName: name})
	if err != nil || !slices.Equal(names.PolicyNames, []string{"own"}) {
		t.Errorf("inline: %+v, %v", names, err)
	}
	entities, err := c.ListEntitiesForPolicy(ctx, &iam.ListEntitiesForPolicyInput{PolicyArn: arn})
	if err != nil || len(entities.PolicyUsers) != 1 || *entities.PolicyUsers[0].UserId != *u.UserId || len(entities.PolicyRoles)+len(entities.PolicyGroups) != 0 {
		t.Errorf("entities: %+v, %v", entities, err)
	}

	// Keys: two, on and off.
	_, err = c.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: name})
	must(t, err)
	_, err = self.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{})
	as[*types.LimitExceededException](t, "a third key", err, "Cannot exceed quota for AccessKeysPerUser: 2")
	used, err := c.GetAccessKeyLastUsed(ctx, &iam.GetAccessKeyLastUsedInput{AccessKeyId: key.AccessKeyId})
	if err != nil || *used.UserName != "alice" || *used.AccessKeyLastUsed.ServiceName != "iam" || used.AccessKeyLastUsed.LastUsedDate == nil {
		t.Errorf("last used: %+v, %v", used, err)
	}
	keys, err := self.ListAccessKeys(ctx, &iam.ListAccessKeysInput{})
	must(t, err)
	if len(keys.AccessKeyMetadata) != 2 {
		t.Errorf("keys %+v", keys)
	}
	_, err = c.UpdateAccessKey(ctx, &iam.UpdateAccessKeyInput{UserName: name, AccessKeyId: key.AccessKeyId, Status: types.StatusTypeInactive})
	must(t, err)
	_, err = self.GetUser(ctx, &iam.GetUserInput{})
	refused(t, "a key that is off", err, 403, "InvalidClientTokenId", "The security token included in the request is invalid.")
	_, err = c.UpdateAccessKey(ctx, &iam.UpdateAccessKeyInput{UserName: name, AccessKeyId: key.AccessKeyId, Status: types.StatusTypeActive})
	must(t, err)
	_, err = c.UpdateAccessKey(ctx, &iam.UpdateAccessKeyInput{UserName: aws.String("admin"), AccessKeyId: key.AccessKeyId, Status: types.StatusTypeInactive})
	as[*types.NoSuchEntityException](t, "a key of somebody else", err, "The Access Key with id "+*key.AccessKeyId+" cannot be found.")

	// Renamed, the user is the same one.
	_, err = c.UpdateUser(ctx, &iam.UpdateUserInput{UserName: name, NewUserName: aws.String("carol"), NewPath: aws.String("/ops/")})
	must(t, err)
	name = aws.String("carol")
	if who, err := client(srv, emulator.KeyCredentials(alice)).GetCallerIdentity(ctx, nil); err != nil || *who.Arn != "arn:aws:iam::123456789012:user/ops/carol" || *who.UserId != *u.UserId {
		t.Errorf("alice is now %+v, %v", who, err)
	}

	// The end, in the order that AWS wants.
	remove := func() error { _, err := c.DeleteUser(ctx, &iam.DeleteUserInput{UserName: name}); return err }
	as[*types.DeleteConflictException](t, "with keys", remove(), "must delete access keys first")
	for _, k := range keys.AccessKeyMetadata {
		_, err = c.DeleteAccessKey(ctx, &iam.DeleteAccessKeyInput{UserName: name, AccessKeyId: k.AccessKeyId})
		must(t, err)
	}
	as[*types.DeleteConflictException](t, "with an attached policy", remove(), "must detach all policies first")
	_, err = c.DetachUserPolicy(ctx, &iam.DetachUserPolicyInput{UserName: name, PolicyArn: arn})
	must(t, err)
	as[*types.DeleteConflictException](t, "with an inline policy", remove(), "must delete policies first")
	_, err = c.DeleteUserPolicy(ctx, &iam.DeleteUserPolicyInput{UserName: name, PolicyName: aws.String("own")})
	must(t, err, remove())
	as[*types.NoSuchEntityException](t, "again", remove(), "The user with name carol cannot be found.")
	_, err = c.DeletePolicy(ctx, &iam.DeletePolicyInput{PolicyArn: arn})
	must(t, err)
	if after := everyName(t, c); !slices.Equal(after, before) {
		t.Errorf("left are %v, there were %v", after, before)
	}
}

func TestTheLifeOfARoleAndItsInstanceProfile(t *testing.T) {
	_, c := iamAdmin(t)
	ctx, before, name, profile := t.Context(), everyName(t, c), aws.String("web"), aws.String("machine")
	trust := `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}]}`
	made, err := c.CreateRole(ctx, &iam.CreateRoleInput{RoleName: name, Path: aws.String("/x/"), AssumeRolePolicyDocument: &trust, Description: aws.String("a <role>"), MaxSessionDuration: aws.Int32(7200),
		Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("b")}}})
	must(t, err)
	must(t, iam.NewRoleExistsWaiter(c).Wait(ctx, &iam.GetRoleInput{RoleName: name}, time.Minute))
	get := func() *types.Role {
		t.Helper()
		got, err := c.GetRole(ctx, &iam.GetRoleInput{RoleName: name})
		must(t, err)
		return got.Role
	}
	r := get()
	if *r.Arn != "arn:aws:iam::123456789012:role/x/web" || *r.RoleId != *made.Role.RoleId || decoded(t, r.AssumeRolePolicyDocument) != trust || *r.Description != "a <role>" || *r.MaxSessionDuration != 7200 || tagsOf(r.Tags) != "a=b" || r.PermissionsBoundary != nil {
		t.Errorf("the role is %+v", r)
	}
	for what, test := range map[string]struct {
		change        func(*iam.CreateRoleInput)
		status        int
		code, message string
	}{
		"a second web":          {func(*iam.CreateRoleInput) {}, 409, "EntityAlreadyExists", "Role with name web already exists."},
		"a trust that is none":  {func(i *iam.CreateRoleInput) { i.AssumeRolePolicyDocument = aws.String("{}") }, 400, "MalformedPolicyDocument", "Syntax errors in policy."},
		"a permission as trust": {func(i *iam.CreateRoleInput) { i.AssumeRolePolicyDocument = aws.String(document("Allow", "*", "*")) }, 400, "MalformedPolicyDocument", "Has prohibited field Resource"},
		"an empty trust":        {func(i *iam.CreateRoleInput) { i.AssumeRolePolicyDocument = aws.String("") }, 400, "MalformedPolicyDocument", "This policy contains invalid Json"},
		"no time":               {func(i *iam.CreateRoleInput) { i.MaxSessionDuration = aws.Int32(0) }, 400, "ValidationError", "MaxSessionDuration"},
		"a missing boundary": {func(i *iam.CreateRoleInput) {
			i.PermissionsBoundary = aws.String("arn:aws:iam::aws:policy/AdministratorAccess")
		}, 404, "NoSuchEntity", "arn:aws:iam::aws:policy/AdministratorAccess does not exist"},
	} {
		in := &iam.CreateRoleInput{RoleName: aws.String("web2"), AssumeRolePolicyDocument: &trust}
		if what == "a second web" {
			in.RoleName = name
		}
		test.change(in)
		_, err := c.CreateRole(ctx, in)
		refused(t, what, err, test.status, test.code, test.message)
		if err != nil && strings.Contains(err.Error(), "document has") {
			t.Errorf("%s: the answer has more than AWS's words: %v", what, err)
		}
	}
	_, err = c.UpdateRole(ctx, &iam.UpdateRoleInput{RoleName: name, Description: aws.String("other")})
	must(t, err)
	_, err = c.UpdateRole(ctx, &iam.UpdateRoleInput{RoleName: name, MaxSessionDuration: aws.Int32(3600)})
	must(t, err)
	wider := strings.Replace(trust, `"Service": "ec2.amazonaws.com"`, `"AWS": "123456789012"`, 1)
	_, err = c.UpdateAssumeRolePolicy(ctx, &iam.UpdateAssumeRolePolicyInput{RoleName: name, PolicyDocument: &wider})
	must(t, err)
	if r := get(); *r.Description != "other" || *r.MaxSessionDuration != 3600 || decoded(t, r.AssumeRolePolicyDocument) != wider {
		t.Errorf("the role is now %+v", r)
	}
	described, err := c.UpdateRoleDescription(ctx, &iam.UpdateRoleDescriptionInput{RoleName: name, Description: aws.String("third")})
	if err != nil || *described.Role.Description != "third" {
		t.Errorf("described: %+v, %v", described, err)
	}
	_, err = c.UpdateAssumeRolePolicy(ctx, &iam.UpdateAssumeRolePolicyInput{RoleName: name, PolicyDocument: aws.String("x")})
	as[*types.MalformedPolicyDocumentException](t, "a trust that is none", err, "This policy contains invalid Json")
	_, err = c.TagRole(ctx, &iam.TagRoleInput{RoleName: name, Tags: []types.Tag{{Key: aws.String("c"), Value: aws.String("d")}}})
	must(t, err)
	_, err = c.UntagRole(ctx, &iam.UntagRoleInput{RoleName: name, TagKeys: []string{"a"}})
	must(t, err)
	if tags, err := c.ListRoleTags(ctx, &iam.ListRoleTagsInput{RoleName: name}); err != nil || tagsOf(tags.Tags) != "c=d" {
		t.Errorf("tags %+v, %v", tags, err)
	}

	instance, err := c.CreateInstanceProfile(ctx, &iam.CreateInstanceProfileInput{InstanceProfileName: profile, Path: aws.String("/y/"), Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("b")}}})
	must(t, err)
	must(t, iam.NewInstanceProfileExistsWaiter(c).Wait(ctx, &iam.GetInstanceProfileInput{InstanceProfileName: profile}, time.Minute))
	if p := instance.InstanceProfile; *p.Arn != "arn:aws:iam::123456789012:instance-profile/y/machine" || p.Roles == nil || len(p.Roles) != 0 || tagsOf(p.Tags) != "a=b" {
		t.Errorf("the profile is %+v", p)
	}
	_, err = c.TagInstanceProfile(ctx, &iam.TagInstanceProfileInput{InstanceProfileName: profile, Tags: []types.Tag{{Key: aws.String("c"), Value: aws.String("d")}}})
	must(t, err)
	_, err = c.UntagInstanceProfile(ctx, &iam.UntagInstanceProfileInput{InstanceProfileName: profile, TagKeys: []string{"a"}})
	must(t, err)
	if tags, err := c.ListInstanceProfileTags(ctx, &iam.ListInstanceProfileTagsInput{InstanceProfileName: profile}); err != nil || tagsOf(tags.Tags) != "c=d" {
		t.Errorf("tags %+v, %v", tags, err)
	}
	add := func(role string) error {
		_, err := c.AddRoleToInstanceProfile(ctx, &iam.AddRoleToInstanceProfileInput{InstanceProfileName: profile, RoleName: &role})
		return err
	}
	must(t, add("web"))
	as[*types.LimitExceededException](t, "a second role", add("demo-app"), "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1")
	as[*types.NoSuchEntityException](t, "no such role", add("nobody"), "The role with name nobody cannot be found.")
	holds, err := c.GetInstanceProfile(ctx, &iam.GetInstanceProfileInput{InstanceProfileName: profile})
	if err != nil || len(holds.InstanceProfile.Roles) != 1 || *holds.InstanceProfile.Roles[0].Arn != *r.Arn {
		t.Errorf("the profile holds %+v, %v", holds, err)
	}
	of, err := c.ListInstanceProfilesForRole(ctx, &iam.ListInstanceProfilesForRoleInput{RoleName: name})
	if err != nil || len(of.InstanceProfiles) != 1 || *of.InstanceProfiles[0].InstanceProfileName != *profile {
		t.Errorf("profiles of the role: %+v, %v", of, err)
	}

	remove := func() error { _, err := c.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: name}); return err }
	as[*types.DeleteConflictException](t, "in a profile", remove(), "must remove roles from instance profile first")
	_, err = c.DeleteInstanceProfile(ctx, &iam.DeleteInstanceProfileInput{InstanceProfileName: profile})
	as[*types.DeleteConflictException](t, "with a role", err, "must remove roles from instance profile first")
	_, err = c.RemoveRoleFromInstanceProfile(ctx, &iam.RemoveRoleFromInstanceProfileInput{InstanceProfileName: profile, RoleName: name})
	must(t, err)
	_, err = c.DeleteInstanceProfile(ctx, &iam.DeleteInstanceProfileInput{InstanceProfileName: profile})
	must(t, err, remove())
	_, err = c.GetRole(ctx, &iam.GetRoleInput{RoleName: name})
	as[*types.NoSuchEntityException](t, "the role", err, "The role with name web cannot be found.")
	_, err = c.GetInstanceProfile(ctx, &iam.GetInstanceProfileInput{InstanceProfileName: profile})
	as[*types.NoSuchEntityException](t, "the profile", err, "Instance Profile machine cannot be found.")
	if after := everyName(t, c); !slices.Equal(after, before) {
		t.Errorf("left are %v, there were %v", after, before)
	}
}

func TestTheLifeOfAManagedPolicy(t *testing.T) {
	srv, c := iamAdmin(t)
	ctx, before, role := t.Context(), everyName(t, c), aws.String("web")
	must(t, srv.PutRole(emulator.Role{Name: "web"}))
	made, err := c.CreatePolicy(ctx, &iam.CreatePolicyInput{PolicyName: aws.String("reading"), Path: aws.String("/teams/"), Description: aws.String("reads"),
		PolicyDocument: aws.String(document("Allow", "iam:Get*", "*")), Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("b")}}})
	must(t, err)
	arn := made.Policy.Arn
	must(t, iam.NewPolicyExistsWaiter(c).Wait(ctx, &iam.GetPolicyInput{PolicyArn: arn}, time.Minute))
	_, err = c.AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{RoleName: role, PolicyArn: arn})
	must(t, err)
	_, err = c.PutRolePermissionsBoundary(ctx, &iam.PutRolePermissionsBoundaryInput{RoleName: role, PermissionsBoundary: arn})
	must(t, err)
	got, err := c.GetPolicy(ctx, &iam.GetPolicyInput{PolicyArn: arn})
	must(t, err)
	if p := got.Policy; *p.Arn != "arn:aws:iam::123456789012:policy/teams/reading" || *p.DefaultVersionId != "v1" || *p.AttachmentCount != 1 || *p.PermissionsBoundaryUsageCount != 1 || !p.IsAttachable ||
		*p.Description != "reads" || tagsOf(p.Tags) != "a=b" || !strings.HasPrefix(*p.PolicyId, "ANPA") {
		t.Errorf("the policy is %+v", p)
	}
	for filter, want := range map[types.EntityType]int{types.EntityTypeRole: 1, types.EntityTypeUser: 0, "": 1} {
		got, err := c.ListEntitiesForPolicy(ctx, &iam.ListEntitiesForPolicyInput{PolicyArn: arn, EntityFilter: filter})
		if err != nil || len(got.PolicyRoles) != want || len(got.PolicyUsers) != 0 {
			t.Errorf("entities of type %q: %+v, %v", filter, got, err)
		}
	}
	for _, test := range []struct {
		in   iam.ListPoliciesInput
		want int
	}{
		{iam.ListPoliciesInput{Scope: types.PolicyScopeTypeAws}, 0},
		{iam.ListPoliciesInput{Scope: types.PolicyScopeTypeLocal, OnlyAttached: true, PathPrefix: aws.String("/teams/")}, 1},
		{iam.ListPoliciesInput{PathPrefix: aws.String("/other/")}, 0},
		{iam.ListPoliciesInput{PolicyUsageFilter: types.PolicyUsageTypePermissionsBoundary}, 1},
	} {
		if got, err := c.ListPolicies(ctx, &test.in); err != nil || len(got.Policies) != test.want {
			t.Errorf("%+v: %+v, %v", test.in, got, err)
		}
	}
	_, err = c.CreatePolicyVersion(ctx, &iam.CreatePolicyVersionInput{PolicyArn: arn, PolicyDocument: aws.String("[]")})
	as[*types.MalformedPolicyDocumentException](t, "no document", err, "Syntax errors in policy.")
	for i := range 4 {
		v, err := c.CreatePolicyVersion(ctx, &iam.CreatePolicyVersionInput{PolicyArn: arn, PolicyDocument: aws.String(document("Deny", "iam:*", "*")), SetAsDefault: i == 3})
		must(t, err)
		if want := fmt.Sprint("v", i+2); *v.PolicyVersion.VersionId != want || v.PolicyVersion.IsDefaultVersion != (i == 3) {
			t.Errorf("made %+v, want %s", v.PolicyVersion, want)
		}
	}
	_, err = c.CreatePolicyVersion(ctx, &iam.CreatePolicyVersionInput{PolicyArn: arn, PolicyDocument: aws.String(document("Deny", "*", "*"))})
	as[*types.LimitExceededException](t, "a sixth version", err, "A managed policy can have up to 5 versions.")
	version, err := c.GetPolicyVersion(ctx, &iam.GetPolicyVersionInput{PolicyArn: arn, VersionId: aws.String("v1")})
	if err != nil || decoded(t, version.PolicyVersion.Document) != document("Allow", "iam:Get*", "*") || version.PolicyVersion.IsDefaultVersion {
		t.Errorf("v1: %+v, %v", version, err)
	}
	_, err = c.DeletePolicyVersion(ctx, &iam.DeletePolicyVersionInput{PolicyArn: arn, VersionId: aws.String("v5")})
	as[*types.DeleteConflictException](t, "the default version", err, "Cannot delete the default version of a policy.")
	_, err = c.SetDefaultPolicyVersion(ctx, &iam.SetDefaultPolicyVersionInput{PolicyArn: arn, VersionId: aws.String("v1")})
	must(t, err)
	_, err = c.TagPolicy(ctx, &iam.TagPolicyInput{PolicyArn: arn, Tags: []types.Tag{{Key: aws.String("c"), Value: aws.String("d")}}})
	must(t, err)
	_, err = c.UntagPolicy(ctx, &iam.UntagPolicyInput{PolicyArn: arn, TagKeys: []string{"a"}})
	must(t, err)
	if tags, err := c.ListPolicyTags(ctx, &iam.ListPolicyTagsInput{PolicyArn: arn}); err != nil || tagsOf(tags.Tags) != "c=d" {
		t.Errorf("tags %+v, %v", tags, err)
	}

	_, err = c.DetachRolePolicy(ctx, &iam.DetachRolePolicyInput{RoleName: role, PolicyArn: arn})
	must(t, err)
	_, err = c.DetachRolePolicy(ctx, &iam.DetachRolePolicyInput{RoleName: role, PolicyArn: arn})
	as[*types.NoSuchEntityException](t, "detached twice", err, "Policy "+*arn+" was not found.")
	_, err = c.DeleteRolePermissionsBoundary(ctx, &iam.DeleteRolePermissionsBoundaryInput{RoleName: role})
	must(t, err)
	_, err = c.DeletePolicy(ctx, &iam.DeletePolicyInput{PolicyArn: arn})
	as[*types.DeleteConflictException](t, "with versions", err, "This policy has more than one version.")
	versions, err := c.ListPolicyVersions(ctx, &iam.ListPolicyVersionsInput{PolicyArn: arn})
	must(t, err)
	if len(versions.Versions) != 5 || *versions.Versions[0].VersionId != "v5" {
		t.Errorf("versions %+v", versions.Versions)
	}
	for _, v := range versions.Versions {
		if !v.IsDefaultVersion {
			_, err = c.DeletePolicyVersion(ctx, &iam.DeletePolicyVersionInput{PolicyArn: arn, VersionId: v.VersionId})
			must(t, err)
		}
	}
	_, err = c.DeletePolicy(ctx, &iam.DeletePolicyInput{PolicyArn: arn})
	must(t, err)
	_, err = c.GetPolicy(ctx, &iam.GetPolicyInput{PolicyArn: arn})
	as[*types.NoSuchEntityException](t, "the policy", err, "Policy "+*arn+" was not found.")
	_, err = c.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: role})
	must(t, err)
	if after := everyName(t, c); !slices.Equal(after, before) {
		t.Errorf("left are %v, there were %v", after, before)
	}
}

func TestListsOfIAMComeInPages(t *testing.T) {
	srv, c := iamAdmin(t)
	var want []string
	for i := range 7 {
		must(t, srv.PutRole(emulator.Role{Name: fmt.Sprint("r", i), Path: "/pages/"}))
		want = append(want, fmt.Sprint("r", i))
	}
	pages := iam.NewListRolesPaginator(c, &iam.ListRolesInput{PathPrefix: aws.String("/pages/"), MaxItems: aws.Int32(2)})
	var got []string
	for n := 0; pages.HasMorePages(); n++ {
		page, err := pages.NextPage(t.Context())
		must(t, err)
		for _, r := range page.Roles {
			got = append(got, *r.RoleName)
			if r.Tags != nil {
				t.Errorf("a list has tags: %+v", r)
			}
		}
		if n == 0 { // what is deleted while a list goes on leaves no gap
			_, err := c.DeleteRole(t.Context(), &iam.DeleteRoleInput{RoleName: aws.String("r1")})
			must(t, err)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("pages of %v, want %v", got, want)
	}
	_, err := c.ListRoles(t.Context(), &iam.ListRolesInput{Marker: aws.String("!")})
	refused(t, "a marker that is none", err, 400, "ValidationError", "Invalid Marker.")
	_, err = c.ListRoles(t.Context(), &iam.ListRolesInput{MaxItems: aws.Int32(1001)})
	refused(t, "too many", err, 400, "ValidationError", "MaxItems")
}

func TestPoliciesAreSimulated(t *testing.T) {
	srv, c := iamAdmin(t)
	managed, err := srv.PutPolicy("connect", "{\n \"Statement\": [\n  {\"Effect\":\"Allow\",\"Action\":\"elasticache:Connect\",\"Resource\":\"*\"},\n  {\"Effect\":\"Deny\",\"Action\":\"elasticache:*\",\"Resource\":\"arn:aws:elasticache:*:*:user:root\"}]}")
	must(t, err)
	boundary, err := srv.PutPolicy("boundary", document("Allow", "elasticache:*", "*"))
	must(t, err)
	own := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"iam:GetUser","Resource":"arn:aws:iam::*:user/${aws:username}","Condition":{"Bool":{"aws:MultiFactorAuthPresent":"true"}}}}`
	must(t, srv.PutIAMUser(emulator.IAMUser{Name: "alice", Attached: []string{managed}, Boundary: boundary, Inline: map[string]string{"own": own}}))
	const user = "arn:aws:elasticache:us-east-1:123456789012:user:"
	got, err := c.SimulatePrincipalPolicy(t.Context(), &iam.SimulatePrincipalPolicyInput{PolicySourceArn: aws.String("arn:aws:iam::123456789012:user/alice"),
		ActionNames: []string{"elasticache:Connect", "iam:GetUser"}, ResourceArns: []string{user + "web", user + "root"}})
	must(t, err)
	var lines []string
	for _, r := range got.EvaluationResults {
		line := fmt.Sprintf("%s %s %s boundary %v", *r.EvalActionName, *r.EvalResourceName, r.EvalDecision, r.PermissionsBoundaryDecisionDetail.AllowedByPermissionsBoundary)
		for _, m := range r.MatchedStatements {
			line += fmt.Sprintf(" %s(%s %d:%d-%d:%d)", *m.SourcePolicyId, m.SourcePolicyType, m.StartPosition.Line, m.StartPosition.Column, m.EndPosition.Line, m.EndPosition.Column)
		}
		lines = append(lines, line+" "+strings.Join(r.MissingContextValues, ","))
	}
	for i, want := range []string{
		"elasticache:Connect " + user + "web allowed boundary true connect(user-managed 3:3-3:66) boundary(user-managed 1:38-1:95) ",
		"elasticache:Connect " + user + "root explicitDeny boundary true connect(user-managed 4:3-4:91) ",
		"iam:GetUser " + user + "web implicitDeny boundary false aws:MultiFactorAuthPresent,aws:username",
		"iam:GetUser " + user + "root implicitDeny boundary false aws:MultiFactorAuthPresent,aws:username",
	} {
		if i >= len(lines) || lines[i] != want {
			t.Errorf("%d results, want %q:\n%s", len(lines), want, strings.Join(lines, "\n"))
		}
	}
	withContext := func(boundaries ...string) types.PolicyEvaluationDecisionType {
		t.Helper()
		got, err := c.SimulateCustomPolicy(t.Context(), &iam.SimulateCustomPolicyInput{PolicyInputList: []string{own}, ActionNames: []string{"iam:GetUser"}, ResourceArns: []string{"arn:aws:iam::123456789012:user/bob"},
			PermissionsBoundaryPolicyInputList: boundaries,
			ContextEntries: []types.ContextEntry{
				{ContextKeyName: aws.String("aws:username"), ContextKeyType: types.ContextKeyTypeEnumString, ContextKeyValues: []string{"bob"}},
				{ContextKeyName: aws.String("AWS:MultiFactorAuthPresent"), ContextKeyType: types.ContextKeyTypeEnumBoolean, ContextKeyValues: []string{"true"}}}})
		must(t, err)
		if r := got.EvaluationResults; len(r) != 1 || len(r[0].MissingContextValues) != 0 {
			t.Fatalf("results %+v", r)
		}
		return got.EvaluationResults[0].EvalDecision
	}
	if d := withContext(); d != types.PolicyEvaluationDecisionTypeAllowed {
		t.Errorf("with its context: %s", d)
	}
	if d := withContext(document("Allow", "elasticache:*", "*")); d != types.PolicyEvaluationDecisionTypeImplicitDeny {
		t.Errorf("beyond a boundary: %s", d)
	}
	_, err = c.SimulatePrincipalPolicy(t.Context(), &iam.SimulatePrincipalPolicyInput{PolicySourceArn: aws.String("arn:aws:iam::210987654321:user/alice"), ActionNames: []string{"iam:GetUser"}})
	as[*types.NoSuchEntityException](t, "a user of another account", err, "210987654321")
	_, err = c.SimulateCustomPolicy(t.Context(), &iam.SimulateCustomPolicyInput{PolicyInputList: []string{"{"}, ActionNames: []string{"iam:GetUser"}})
	as[*types.InvalidInputException](t, "no document", err, "This policy contains invalid Json")
	_, err = c.SimulateCustomPolicy(t.Context(), &iam.SimulateCustomPolicyInput{PolicyInputList: []string{own}, ActionNames: []string{"iam:GetUser"}, ResourcePolicy: aws.String("{}")})
	refused(t, "a resource policy", err, 400, "ValidationError", "ResourcePolicy")
	pages := iam.NewSimulateCustomPolicyPaginator(c, &iam.SimulateCustomPolicyInput{PolicyInputList: []string{own}, ActionNames: []string{"b:x", "a:x", "c:x"}, MaxItems: aws.Int32(1)})
	var actions []string
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		must(t, err)
		actions = append(actions, *page.EvaluationResults[0].EvalActionName)
	}
	if !slices.Equal(actions, []string{"b:x", "a:x", "c:x"}) {
		t.Errorf("pages of %v", actions)
	}
}

// Who may put a role into an instance profile may use the role: iam:PassRole.
func TestARoleIsPassedByPermissionOnly(t *testing.T) {
	srv, c := iamAdmin(t)
	ctx := t.Context()
	must(t, srv.PutRole(emulator.Role{Name: "powerful"}), srv.PutRole(emulator.Role{Name: "weak", Tags: map[string]string{"pass": "yes"}}))
	_, err := c.CreateInstanceProfile(ctx, &iam.CreateInstanceProfileInput{InstanceProfileName: aws.String("machine")})
	must(t, err)
	const profiles = `{"Effect":"Allow","Action":"iam:*InstanceProfile*","Resource":"*"}`
	for pass, want := range map[string]map[string]bool{
		``: {"powerful": false, "weak": false},
		`,{"Effect":"Allow","Action":"iam:PassRole","Resource":"arn:aws:iam::*:role/weak","Condition":{"StringEquals":{"iam:PassedToService":"ec2.amazonaws.com"}}}`: {"powerful": false, "weak": true},
		`,{"Effect":"Allow","Action":"iam:PassRole","Resource":"*","Condition":{"StringEquals":{"iam:PassedToService":"lambda.amazonaws.com"}}}`:                     {"powerful": false, "weak": false},
		`,{"Effect":"Allow","Action":"iam:PassRole","Resource":"*","Condition":{"StringEquals":{"iam:ResourceTag/pass":"yes"}}}`:                                     {"powerful": false, "weak": true},
		`,{"Effect":"Allow","Action":"iam:PassRole","Resource":"*"},{"Effect":"Deny","Action":"iam:PassRole","Resource":"*"}`:                                        {"powerful": false, "weak": false},
	} {
		must(t, srv.PutIAMUser(emulator.IAMUser{Name: "operator", Inline: map[string]string{"p": `{"Version":"2012-10-17","Statement":[` + profiles + pass + `]}`}}))
		k, err := srv.CreateAccessKey("operator")
		must(t, err)
		operator := iamClient(srv, emulator.KeyCredentials(k))
		for role, may := range want {
			_, err := operator.AddRoleToInstanceProfile(ctx, &iam.AddRoleToInstanceProfileInput{InstanceProfileName: aws.String("machine"), RoleName: &role})
			if !may {
				refused(t, pass+" "+role, err, 403, "AccessDenied", "is not authorized to perform: iam:PassRole on resource: arn:aws:iam::123456789012:role/"+role+" ")
				continue
			}
			must(t, err)
			_, err = operator.RemoveRoleFromInstanceProfile(ctx, &iam.RemoveRoleFromInstanceProfileInput{InstanceProfileName: aws.String("machine"), RoleName: &role})
			must(t, err)
		}
	}
}

// Who may make users only with a boundary, or attach some policies only, is held to it.
func TestDelegatedAdministratorsAreHeldToTheirConditions(t *testing.T) {
	srv, _ := iamAdmin(t)
	ctx := t.Context()
	boundary, err := srv.PutPolicy("boundary", document("Allow", "elasticache:*", "*"))
	must(t, err)
	other, err := srv.PutPolicy("other", document("Allow", "*", "*"))
	must(t, err)
	must(t, srv.PutIAMUser(emulator.IAMUser{Name: "free"}), srv.PutIAMUser(emulator.IAMUser{Name: "delegate", Inline: map[string]string{"p": `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":["iam:CreateUser","iam:PutUserPolicy","iam:PutUserPermissionsBoundary"],"Resource":"*","Condition":{"StringEquals":{"iam:PermissionsBoundary":"` + boundary + `"}}},
		{"Effect":"Allow","Action":"iam:AttachUserPolicy","Resource":"*","Condition":{"ArnEquals":{"iam:PolicyARN":"` + boundary + `"}}},
		{"Effect":"Allow","Action":"iam:TagUser","Resource":"*","Condition":{"ForAllValues:StringEquals":{"aws:TagKeys":["team"]},"StringEquals":{"aws:RequestTag/team":"web"}}}]}`}}))
	k, err := srv.CreateAccessKey("delegate")
	must(t, err)
	c := iamClient(srv, emulator.KeyCredentials(k))
	create := func(name string, boundary *string) error {
		_, err := c.CreateUser(ctx, &iam.CreateUserInput{UserName: &name, PermissionsBoundary: boundary})
		return err
	}
	tag := func(tags ...types.Tag) error {
		_, err := c.TagUser(ctx, &iam.TagUserInput{UserName: aws.String("free"), Tags: tags})
		return err
	}
	attach := func(arn string) error {
		_, err := c.AttachUserPolicy(ctx, &iam.AttachUserPolicyInput{UserName: aws.String("free"), PolicyArn: &arn})
		return err
	}
	put := func(name string) error {
		_, err := c.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: &name, PolicyName: aws.String("p"), PolicyDocument: aws.String(document("Allow", "*", "*"))})
		return err
	}
	limit := func(arn string) error {
		_, err := c.PutUserPermissionsBoundary(ctx, &iam.PutUserPermissionsBoundaryInput{UserName: aws.String("free"), PermissionsBoundary: &arn})
		return err
	}
	web, ops := types.Tag{Key: aws.String("team"), Value: aws.String("web")}, types.Tag{Key: aws.String("team"), Value: aws.String("ops")}
	for what, err := range map[string]error{
		"a user without a boundary": create("x", nil), "a user with another": create("x", &other), "another boundary": limit(other), "a policy for a user without one": put("free"),
		"another policy": attach(other), "another value": tag(ops), "another tag": tag(web, types.Tag{Key: aws.String("x"), Value: aws.String("y")}),
	} {
		refused(t, what, err, 403, "AccessDenied", "because no identity-based policy allows")
	}
	must(t, create("limited", &boundary), put("limited"), attach(boundary), tag(web), limit(boundary), put("free"))
}

func TestTheSDKGetsASessionToken(t *testing.T) {
	srv, _ := iamAdmin(t)
	k := admin(t, srv)
	c := client(srv, emulator.KeyCredentials(k))
	got, err := c.GetSessionToken(t.Context(), &sts.GetSessionTokenInput{DurationSeconds: aws.Int32(900)})
	must(t, err)
	session := static(got.Credentials)
	who, err := client(srv, session).GetCallerIdentity(t.Context(), nil)
	if err != nil || *who.Arn != "arn:aws:iam::123456789012:user/admin" {
		t.Errorf("the session is %+v, %v", who, err)
	}
	_, err = client(srv, session).AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: aws.String(srv.RoleARN(emulator.DefaultRole)), RoleSessionName: aws.String("test")})
	must(t, err)
	_, err = client(srv, session).GetSessionToken(t.Context(), nil)
	refused(t, "a session of a session", err, 403, "AccessDenied", "Cannot call GetSessionToken with session credentials")
	_, err = iamClient(srv, session).ListUsers(t.Context(), nil)
	refused(t, "IAM", err, 403, "InvalidClientTokenId", "The security token included in the request is invalid.")
	_, err = c.GetSessionToken(t.Context(), &sts.GetSessionTokenInput{SerialNumber: aws.String("arn:aws:iam::123456789012:mfa/x"), TokenCode: aws.String("123456")})
	refused(t, "with MFA", err, 400, "ValidationError", "SerialNumber")
	for _, id := range []string{k.ID, *got.Credentials.AccessKeyId} {
		info, err := c.GetAccessKeyInfo(t.Context(), &sts.GetAccessKeyInfoInput{AccessKeyId: &id})
		if err != nil || *info.Account != srv.Account() {
			t.Errorf("GetAccessKeyInfo(%s) = %+v, %v", id, info, err)
		}
	}
	_, err = c.GetAccessKeyInfo(t.Context(), &sts.GetAccessKeyInfoInput{AccessKeyId: aws.String("AKIAIOSFODNN7EXAMPLE")})
	refused(t, "an unknown key", err, 400, "ValidationError", "")
	srv.Advance(15 * time.Minute)
	_, err = client(srv, session).GetCallerIdentity(t.Context(), nil)
	refused(t, "after its time", err, 403, "ExpiredToken", "")
}

// Root and sessions of roles have no user of their own, or another one.
func TestWhoNamesNoUserMeansTheCaller(t *testing.T) {
	srv, _ := iamAdmin(t)
	k, err := srv.CreateAccessKey("")
	must(t, err)
	root := iamClient(srv, emulator.KeyCredentials(k))
	got, err := root.GetUser(t.Context(), &iam.GetUserInput{})
	if err != nil || *got.User.Arn != "arn:aws:iam::123456789012:root" || *got.User.UserId != srv.Account() {
		t.Errorf("root is %+v, %v", got, err)
	}
	keys, err := root.ListAccessKeys(t.Context(), &iam.ListAccessKeysInput{})
	if err != nil || len(keys.AccessKeyMetadata) != 1 || *keys.AccessKeyMetadata[0].AccessKeyId != k.ID {
		t.Errorf("root's keys are %+v, %v", keys, err)
	}
	must(t, srv.PutRole(emulator.Role{Name: "all", Inline: map[string]string{"p": document("Allow", "*", "*")}}))
	session := iamClient(srv, srv.Credentials("all"))
	const message = "Must specify userName when calling with non-User credentials"
	_, err = session.GetUser(t.Context(), &iam.GetUserInput{})
	refused(t, "a session", err, 400, "ValidationError", message)
	_, err = session.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{})
	refused(t, "a session", err, 400, "ValidationError", message)
	if _, err := session.GetUser(t.Context(), &iam.GetUserInput{UserName: aws.String("admin")}); err != nil {
		t.Errorf("a session that names one: %v", err)
	}
}
