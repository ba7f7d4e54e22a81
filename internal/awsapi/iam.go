package awsapi

import (
	"encoding/base64"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/rediam/rediam/internal/policy"
	"github.com/rediam/rediam/internal/world"
)

var iamOperations = map[string]operation{
	"CreateUser":                    operate(onNewUser, createUser),
	"GetUser":                       operate(onUser[getUserRequest], getUser),
	"ListUsers":                     operate(nil, listUsers),
	"UpdateUser":                    operate(onUpdatedUser, updateUser),
	"DeleteUser":                    operate(onTarget[of[ofUser]], deleteUser),
	"TagUser":                       operate(onTarget[tagging[ofUser]], tagIt[ofUser]),
	"UntagUser":                     operate(onTarget[untagging[ofUser]], untagIt[ofUser]),
	"ListUserTags":                  operate(onTarget[listing[ofUser]], listTags[ofUser]),
	"PutUserPolicy":                 operate(onTarget[inlinePolicy[ofUser]], putInlinePolicy[ofUser]),
	"GetUserPolicy":                 operate(onTarget[inlineName[ofUser]], getInlinePolicy[ofUser]),
	"DeleteUserPolicy":              operate(onTarget[inlineName[ofUser]], deleteInlinePolicy[ofUser]),
	"ListUserPolicies":              operate(onTarget[listing[ofUser]], listInlinePolicies[ofUser]),
	"AttachUserPolicy":              operate(onTarget[attachment[ofUser]], attachPolicy[ofUser]),
	"DetachUserPolicy":              operate(onTarget[attachment[ofUser]], detachPolicy[ofUser]),
	"ListAttachedUserPolicies":      operate(onTarget[listingByPath[ofUser]], listAttachedPolicies[ofUser]),
	"PutUserPermissionsBoundary":    operate(onTarget[boundary[ofUser]], putBoundary[ofUser]),
	"DeleteUserPermissionsBoundary": operate(onTarget[of[ofUser]], deleteBoundary[ofUser]),

	"CreateAccessKey":      operate(onUser[userRequest], createAccessKey),
	"ListAccessKeys":       operate(onUser[listKeysRequest], listAccessKeys),
	"UpdateAccessKey":      operate(onUser[updateKeyRequest], updateAccessKey),
	"DeleteAccessKey":      operate(onUser[keyRequest], deleteAccessKey),
	"GetAccessKeyLastUsed": operate(onOwner, getAccessKeyLastUsed),

	"CreateRole":                    operate(onNewRole, createRole),
	"GetRole":                       operate(onTarget[of[ofRole]], getRole),
	"ListRoles":                     operate(nil, listRoles),
	"UpdateRole":                    operate(onTarget[updateRoleRequest], updateRole),
	"UpdateRoleDescription":         operate(onTarget[describeRoleRequest], updateRoleDescription),
	"UpdateAssumeRolePolicy":        operate(onTarget[trustRequest], updateAssumeRolePolicy),
	"DeleteRole":                    operate(onTarget[of[ofRole]], deleteRole),
	"TagRole":                       operate(onTarget[tagging[ofRole]], tagIt[ofRole]),
	"UntagRole":                     operate(onTarget[untagging[ofRole]], untagIt[ofRole]),
	"ListRoleTags":                  operate(onTarget[listing[ofRole]], listTags[ofRole]),
	"PutRolePolicy":                 operate(onTarget[inlinePolicy[ofRole]], putInlinePolicy[ofRole]),
	"GetRolePolicy":                 operate(onTarget[inlineName[ofRole]], getInlinePolicy[ofRole]),
	"DeleteRolePolicy":              operate(onTarget[inlineName[ofRole]], deleteInlinePolicy[ofRole]),
	"ListRolePolicies":              operate(onTarget[listing[ofRole]], listInlinePolicies[ofRole]),
	"AttachRolePolicy":              operate(onTarget[attachment[ofRole]], attachPolicy[ofRole]),
	"DetachRolePolicy":              operate(onTarget[attachment[ofRole]], detachPolicy[ofRole]),
	"ListAttachedRolePolicies":      operate(onTarget[listingByPath[ofRole]], listAttachedPolicies[ofRole]),
	"PutRolePermissionsBoundary":    operate(onTarget[boundary[ofRole]], putBoundary[ofRole]),
	"DeleteRolePermissionsBoundary": operate(onTarget[of[ofRole]], deleteBoundary[ofRole]),

	"CreatePolicy":            operate(onNewPolicy, createPolicy),
	"GetPolicy":               operate(onTarget[of[ofPolicy]], getPolicy),
	"ListPolicies":            operate(nil, listPolicies),
	"DeletePolicy":            operate(onTarget[of[ofPolicy]], deletePolicy),
	"CreatePolicyVersion":     operate(onTarget[newVersionRequest], createPolicyVersion),
	"GetPolicyVersion":        operate(onTarget[versionRequest], getPolicyVersion),
	"ListPolicyVersions":      operate(onTarget[listing[ofPolicy]], listPolicyVersions),
	"SetDefaultPolicyVersion": operate(onTarget[versionRequest], setDefaultPolicyVersion),
	"DeletePolicyVersion":     operate(onTarget[versionRequest], deletePolicyVersion),
	"ListEntitiesForPolicy":   operate(onTarget[entitiesRequest], listEntitiesForPolicy),
	"TagPolicy":               operate(onTarget[tagging[ofPolicy]], tagIt[ofPolicy]),
	"UntagPolicy":             operate(onTarget[untagging[ofPolicy]], untagIt[ofPolicy]),
	"ListPolicyTags":          operate(onTarget[listing[ofPolicy]], listTags[ofPolicy]),

	"CreateInstanceProfile":         operate(onNewProfile, createInstanceProfile),
	"GetInstanceProfile":            operate(onTarget[of[ofProfile]], getInstanceProfile),
	"ListInstanceProfiles":          operate(nil, listInstanceProfiles),
	"ListInstanceProfilesForRole":   operate(onTarget[listing[ofRole]], listInstanceProfilesForRole),
	"AddRoleToInstanceProfile":      operate(onTarget[roleInProfile], addRoleToInstanceProfile),
	"RemoveRoleFromInstanceProfile": operate(onTarget[roleInProfile], removeRoleFromInstanceProfile),
	"DeleteInstanceProfile":         operate(onTarget[of[ofProfile]], deleteInstanceProfile),
	"TagInstanceProfile":            operate(onTarget[tagging[ofProfile]], tagIt[ofProfile]),
	"UntagInstanceProfile":          operate(onTarget[untagging[ofProfile]], untagIt[ofProfile]),
	"ListInstanceProfileTags":       operate(onTarget[listing[ofProfile]], listTags[ofProfile]),

	"CreateOpenIDConnectProvider":             operate(onNewOIDC, createOIDC),
	"GetOpenIDConnectProvider":                operate(onTarget[of[ofOIDC]], getOIDC),
	"ListOpenIDConnectProviders":              operate(nil, listOIDC),
	"AddClientIDToOpenIDConnectProvider":      operate(onTarget[oidcClient], addClientID),
	"RemoveClientIDFromOpenIDConnectProvider": operate(onTarget[oidcClient], removeClientID),
	"UpdateOpenIDConnectProviderThumbprint":   operate(onTarget[oidcThumbprints], updateThumbprint),
	"DeleteOpenIDConnectProvider":             operate(onTarget[of[ofOIDC]], deleteOIDC),
	"TagOpenIDConnectProvider":                operate(onTarget[tagging[ofOIDC]], tagIt[ofOIDC]),
	"UntagOpenIDConnectProvider":              operate(onTarget[untagging[ofOIDC]], untagIt[ofOIDC]),
	"ListOpenIDConnectProviderTags":           operate(onTarget[listing[ofOIDC]], listTags[ofOIDC]),

	"CreateSAMLProvider":   operate(onNewSAML, createSAML),
	"GetSAMLProvider":      operate(onTarget[of[ofSAML]], getSAML),
	"ListSAMLProviders":    operate(nil, listSAML),
	"UpdateSAMLProvider":   operate(onTarget[samlMetadata], updateSAML),
	"DeleteSAMLProvider":   operate(onTarget[of[ofSAML]], deleteSAML),
	"TagSAMLProvider":      operate(onTarget[tagging[ofSAML]], tagIt[ofSAML]),
	"UntagSAMLProvider":    operate(onTarget[untagging[ofSAML]], untagIt[ofSAML]),
	"ListSAMLProviderTags": operate(onTarget[listing[ofSAML]], listTags[ofSAML]),

	"SimulatePrincipalPolicy": operate(onSource, simulatePrincipalPolicy),
	"SimulateCustomPolicy":    operate(nil, simulateCustomPolicy),
}

// A target is what most operations are about, by the member that names it.
type target interface {
	ofUser | ofRole | ofPolicy | ofProfile | ofOIDC | ofSAML

	arn(*call) string
	tags(*call) (map[string]string, error)
	tag(c *call, add map[string]string, without []string) error
}

// An identity is a target that has permissions.
type identity interface {
	ofUser | ofRole
	target
	identity() world.Identity
}

type (
	ofUser struct {
		UserName string `aws:",required"`
	}
	ofRole struct {
		RoleName string `aws:",required"`
	}
	ofPolicy struct {
		PolicyArn string `aws:",required"`
	}
	ofProfile struct {
		InstanceProfileName string `aws:",required"`
	}
)

func (u ofUser) identity() world.Identity { return world.Identity{Name: u.UserName} }
func (r ofRole) identity() world.Identity { return world.Identity{Role: true, Name: r.RoleName} }

func (u ofUser) arn(c *call) string { return c.world.IdentityARN(u.identity()) }
func (r ofRole) arn(c *call) string { return c.world.IdentityARN(r.identity()) }
func (p ofPolicy) arn(*call) string { return p.PolicyArn }
func (p ofProfile) arn(c *call) string {
	profile, _ := c.world.InstanceProfile(p.InstanceProfileName)
	profile.Name = p.InstanceProfileName
	return c.world.InstanceProfileARN(profile)
}

func (u ofUser) tags(c *call) (map[string]string, error) { return identityTags(c, u.identity()) }
func (r ofRole) tags(c *call) (map[string]string, error) { return identityTags(c, r.identity()) }
func (p ofPolicy) tags(c *call) (map[string]string, error) {
	managed, err := c.world.ManagedPolicy(p.PolicyArn)
	return managed.Tags, err
}
func (p ofProfile) tags(c *call) (map[string]string, error) {
	profile, err := c.world.FindInstanceProfile(p.InstanceProfileName)
	return profile.Tags, err
}

func identityTags(c *call, id world.Identity) (map[string]string, error) {
	p, err := c.world.Permissions(id)
	return p.Tags, err
}

func (u ofUser) tag(c *call, add map[string]string, without []string) error {
	return c.world.Tag(u.identity(), add, without)
}
func (r ofRole) tag(c *call, add map[string]string, without []string) error {
	return c.world.Tag(r.identity(), add, without)
}
func (p ofPolicy) tag(c *call, add map[string]string, without []string) error {
	return c.world.TagPolicy(p.PolicyArn, add, without)
}
func (p ofProfile) tag(c *call, add map[string]string, without []string) error {
	return c.world.TagInstanceProfile(p.InstanceProfileName, add, without)
}

// of is the members of an operation that is about a target.
type of[T target] struct {
	On T `aws:",inline"`
}

// resource is the ARN to ask permission for. It puts what IAM's condition keys tell
// of the target into the context (Service Authorization Reference, "AWS Identity
// and Access Management").
func (o of[T]) resource(c *call) string {
	tags, _ := o.On.tags(c) // without a target there are none
	for k, v := range tags {
		c.set("aws:ResourceTag/"+k, v)
		c.set("iam:ResourceTag/"+k, v)
	}
	if id, ok := any(o.On).(interface{ identity() world.Identity }); ok {
		if p, err := c.world.Permissions(id.identity()); err == nil && p.Boundary != "" {
			c.set("iam:PermissionsBoundary", p.Boundary)
		}
	}
	return o.On.arn(c)
}

// onTarget asks permission for the target, in the context of the request.
func onTarget[In interface{ resource(*call) string }](c *call, in In) []string {
	resource := in.resource(c)
	if m, ok := any(in).(interface{ describe(*call) }); ok {
		m.describe(c)
	}
	return []string{resource}
}

// set gives the call a condition key.
func (c *call) set(key string, values ...string) {
	if c.context == nil {
		c.context = policy.Context{}
	}
	c.context.Set(key, values...)
}

// arn is the ARN that something new in IAM would have.
func (c *call) arn(kind, path, name string) string {
	if path == "" {
		path = "/"
	}
	return "arn:" + c.world.Partition + ":iam::" + c.world.Account + ":" + kind + path + name
}

type tag struct {
	Key   string  `aws:",required"`
	Value *string `aws:",required"`
}

// tagMap reads the tags of a request.
func tagMap(tags []tag) (map[string]string, error) {
	all, seen := map[string]string{}, map[string]bool{}
	for _, t := range tags {
		if folded := strings.ToLower(t.Key); seen[folded] {
			return nil, &world.Error{Code: "InvalidInput", Message: "Duplicate tag keys found. Please note that Tag keys are case insensitive."}
		} else {
			seen[folded] = true
		}
		all[t.Key] = *t.Value
	}
	return all, nil
}

// tagList is tags by their keys; never nil.
func tagList(tags map[string]string) []tag {
	list := []tag{}
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		v := tags[k]
		list = append(list, tag{k, &v})
	}
	return list
}

// someTags is tagList for answers that leave the member out if there are none.
func someTags(tags map[string]string) []tag {
	if len(tags) == 0 {
		return nil
	}
	return tagList(tags)
}

// describeTags has the condition keys of the tags in a request.
func (c *call) describeTags(tags []tag) {
	var keys []string
	for _, t := range tags {
		keys = append(keys, t.Key)
		if t.Value != nil {
			c.set("aws:RequestTag/"+t.Key, *t.Value)
		}
	}
	if len(keys) > 0 {
		c.set("aws:TagKeys", keys...)
	}
}

type tagging[T target] struct {
	of[T] `aws:",inline"`
	Tags  []tag `aws:",required"`
}

func (t tagging[T]) describe(c *call) { c.describeTags(t.Tags) }

func tagIt[T target](c *call, in tagging[T]) (none, error) {
	tags, err := tagMap(in.Tags)
	if err != nil {
		return none{}, err
	}
	return none{}, in.On.tag(c, tags, nil)
}

type untagging[T target] struct {
	of[T]   `aws:",inline"`
	TagKeys []string `aws:",required"`
}

func (t untagging[T]) describe(c *call) { c.set("aws:TagKeys", t.TagKeys...) }

func untagIt[T target](c *call, in untagging[T]) (none, error) {
	return none{}, in.On.tag(c, nil, in.TagKeys)
}

// page is the members of a list that comes in pieces, and pageEnd where the piece
// ends.
type (
	page struct {
		MaxItems *int
		Marker   string
	}
	pageEnd struct {
		IsTruncated bool
		Marker      string
	}
)

// Bounds of MaxItems (IAM API Reference, ListUsers).
const (
	defaultItems = 100
	mostItems    = 1000
)

// cut takes a piece of a list in the order of its keys. The marker is the last key
// of the piece before, so that nothing is left out if the list has changed since.
func cut[T any](p page, all []T, key func(i int) string) ([]T, pageEnd, error) {
	after, err := base64.RawURLEncoding.DecodeString(p.Marker)
	if err != nil {
		return nil, pageEnd{}, invalid("Invalid Marker.")
	}
	most := defaultItems
	if p.MaxItems != nil {
		most = *p.MaxItems
	}
	if most < 1 || most > mostItems {
		return nil, pageEnd{}, invalid("MaxItems must be from 1 to %d", mostItems)
	}
	start := 0
	for p.Marker != "" && start < len(all) && key(start) <= string(after) {
		start++
	}
	if end := start + most; end < len(all) {
		return all[start:end], pageEnd{true, base64.RawURLEncoding.EncodeToString([]byte(key(end - 1)))}, nil
	}
	return all[start:], pageEnd{}, nil
}

type listing[T target] struct {
	of[T] `aws:",inline"`
	page  `aws:",inline"`
}

// byPath is the members of a list that can be limited to a path.
type byPath struct {
	PathPrefix string
	page       `aws:",inline"`
}

type tagsResult struct {
	Tags    []tag
	pageEnd `aws:",inline"`
}

func listTags[T target](c *call, in listing[T]) (out tagsResult, err error) {
	tags, err := in.On.tags(c)
	if err != nil {
		return out, err
	}
	list := tagList(tags)
	out.Tags, out.pageEnd, err = cut(in.page, list, func(i int) string { return list[i].Key })
	return out, err
}

// encoded is a policy document as answers have it (RFC 3986, without plus signs).
func encoded(document string) string {
	return strings.ReplaceAll(url.QueryEscape(document), "+", "%20")
}

// attachedBoundary is a permissions boundary in an answer.
type attachedBoundary struct{ PermissionsBoundaryType, PermissionsBoundaryArn string }

func boundaryOf(arn string) *attachedBoundary {
	if arn == "" {
		return nil
	}
	return &attachedBoundary{"PermissionsBoundaryPolicy", arn}
}

// seconds is a duration on the wire.
func seconds(d time.Duration) int { return int(d / time.Second) }
