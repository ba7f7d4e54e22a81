package awsapi

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rediam/rediam/internal/world"
)

type newPolicyRequest struct {
	PolicyName        string `aws:",required"`
	PolicyDocument    string `aws:",required"`
	Path, Description string
	Tags              []tag
}

type policyResult struct{ Policy iamPolicy }

// iamPolicy is a managed policy in an answer. Lists leave out its description and
// its tags.
type iamPolicy struct {
	PolicyName, PolicyId, Arn, Path, DefaultVersionId string
	AttachmentCount, PermissionsBoundaryUsageCount    int
	IsAttachable                                      bool
	Description                                       string
	CreateDate, UpdateDate                            time.Time
	Tags                                              []tag
}

func (c *call) iamPolicy(p world.ManagedPolicy, attached, boundary map[string]int) iamPolicy {
	arn := c.world.PolicyARN(p)
	return iamPolicy{PolicyName: p.Name, PolicyId: p.ID, Arn: arn, Path: p.Path, DefaultVersionId: p.Default,
		AttachmentCount: attached[arn], PermissionsBoundaryUsageCount: boundary[arn], IsAttachable: true, CreateDate: p.Created, UpdateDate: p.Updated}
}

func (c *call) wholePolicy(p world.ManagedPolicy) policyResult {
	out := c.iamPolicy(p, nil, nil)
	attached, boundary := c.world.PolicyUses()
	out.AttachmentCount, out.PermissionsBoundaryUsageCount = attached[out.Arn], boundary[out.Arn]
	out.Description, out.Tags = p.Description, someTags(p.Tags)
	return policyResult{out}
}

func onNewPolicy(c *call, in newPolicyRequest) []string {
	c.describeTags(in.Tags)
	return []string{c.arn("policy", in.Path, in.PolicyName)}
}

func createPolicy(c *call, in newPolicyRequest) (out policyResult, err error) {
	c.document = in.PolicyDocument
	tags, err := tagMap(in.Tags)
	if err != nil {
		return out, err
	}
	p, err := c.world.CreatePolicy(world.ManagedPolicy{Name: in.PolicyName, Path: in.Path, Description: in.Description, Tags: tags}, in.PolicyDocument)
	return c.wholePolicy(p), err
}

func getPolicy(c *call, in of[ofPolicy]) (policyResult, error) {
	p, err := c.world.ManagedPolicy(in.On.PolicyArn)
	return c.wholePolicy(p), err
}

type listPoliciesRequest struct {
	Scope             string
	OnlyAttached      bool
	PolicyUsageFilter string
	byPath            `aws:",inline"`
}

type policiesResult struct {
	Policies []iamPolicy
	pageEnd  `aws:",inline"`
}

// Values of PolicyUsageFilter.
const (
	asPermissions = "PermissionsPolicy"
	asBoundary    = "PermissionsBoundary"
)

func checkUsage(filter string) error {
	if filter != "" && filter != asPermissions && filter != asBoundary {
		return invalid("PolicyUsageFilter must be %s or %s", asPermissions, asBoundary)
	}
	return nil
}

func listPolicies(c *call, in listPoliciesRequest) (out policiesResult, err error) {
	if !slices.Contains([]string{"", "All", "AWS", "Local"}, in.Scope) {
		return out, invalid("Scope must be All, AWS or Local")
	}
	if err := checkUsage(in.PolicyUsageFilter); err != nil {
		return out, err
	}
	attached, boundary := c.world.PolicyUses()
	list := []iamPolicy{}
	for _, p := range c.world.ManagedPolicies() {
		q := c.iamPolicy(p, attached, boundary)
		switch {
		case in.Scope == "AWS", !strings.HasPrefix(p.Path, in.PathPrefix),
			in.OnlyAttached && q.AttachmentCount+q.PermissionsBoundaryUsageCount == 0,
			in.PolicyUsageFilter == asPermissions && q.AttachmentCount == 0,
			in.PolicyUsageFilter == asBoundary && q.PermissionsBoundaryUsageCount == 0:
		default:
			list = append(list, q)
		}
	}
	out.Policies, out.pageEnd, err = cut(in.page, list, func(i int) string { return list[i].PolicyName })
	return out, err
}

func deletePolicy(c *call, in of[ofPolicy]) (none, error) {
	return none{}, c.world.DeletePolicy(in.On.PolicyArn)
}

type newVersionRequest struct {
	of[ofPolicy]   `aws:",inline"`
	PolicyDocument string `aws:",required"`
	SetAsDefault   bool
}

type versionResult struct{ PolicyVersion policyVersion }

// policyVersion is a version in an answer. Only GetPolicyVersion has the document.
type policyVersion struct {
	Document, VersionId string
	IsDefaultVersion    bool
	CreateDate          time.Time
}

func createPolicyVersion(c *call, in newVersionRequest) (out versionResult, err error) {
	c.document = in.PolicyDocument
	v, err := c.world.CreatePolicyVersion(in.On.PolicyArn, in.PolicyDocument, in.SetAsDefault)
	out.PolicyVersion = policyVersion{VersionId: v.ID, IsDefaultVersion: in.SetAsDefault, CreateDate: v.Created}
	return out, err
}

type versionRequest struct {
	of[ofPolicy] `aws:",inline"`
	VersionId    string `aws:",required"`
}

func getPolicyVersion(c *call, in versionRequest) (out versionResult, err error) {
	p, err := c.world.ManagedPolicy(in.On.PolicyArn)
	if err != nil {
		return out, err
	}
	v, err := p.Version(in.VersionId)
	out.PolicyVersion = policyVersion{encoded(v.Document), v.ID, v.ID == p.Default, v.Created}
	return out, err
}

type versionsResult struct {
	Versions []policyVersion
	pageEnd  `aws:",inline"`
}

// listPolicyVersions gives the newest first.
func listPolicyVersions(c *call, in listing[ofPolicy]) (out versionsResult, err error) {
	p, err := c.world.ManagedPolicy(in.On.PolicyArn)
	if err != nil {
		return out, err
	}
	list := []policyVersion{}
	for _, v := range slices.Backward(p.Versions) {
		list = append(list, policyVersion{VersionId: v.ID, IsDefaultVersion: v.ID == p.Default, CreateDate: v.Created})
	}
	out.Versions, out.pageEnd, err = cut(in.page, list, numbered)
	return out, err
}

// numbered is the key of an element by its place.
func numbered(i int) string { return fmt.Sprintf("%06d", i) }

func setDefaultPolicyVersion(c *call, in versionRequest) (none, error) {
	return none{}, c.world.SetDefaultPolicyVersion(in.On.PolicyArn, in.VersionId)
}

func deletePolicyVersion(c *call, in versionRequest) (none, error) {
	return none{}, c.world.DeletePolicyVersion(in.On.PolicyArn, in.VersionId)
}

type entitiesRequest struct {
	of[ofPolicy]                    `aws:",inline"`
	EntityFilter, PolicyUsageFilter string
	byPath                          `aws:",inline"`
}

type policyUser struct{ UserName, UserId string }
type policyRole struct{ RoleName, RoleId string }

type entitiesResult struct {
	PolicyGroups []none
	PolicyUsers  []policyUser
	PolicyRoles  []policyRole
	pageEnd      `aws:",inline"`
}

// listEntitiesForPolicy lists users before roles, page by page.
func listEntitiesForPolicy(c *call, in entitiesRequest) (out entitiesResult, err error) {
	if !slices.Contains([]string{"", "User", "Role", "Group", "LocalManagedPolicy", "AWSManagedPolicy"}, in.EntityFilter) {
		return out, invalid("EntityFilter must be User, Role, Group, LocalManagedPolicy or AWSManagedPolicy")
	}
	if err := checkUsage(in.PolicyUsageFilter); err != nil {
		return out, err
	}
	if _, err := c.world.ManagedPolicy(in.On.PolicyArn); err != nil {
		return out, err
	}
	found := []any{}
	use := func(entity any, kind, path string, attached []string, boundary string) {
		permits := slices.Contains(attached, in.On.PolicyArn) && in.PolicyUsageFilter != asBoundary
		limits := boundary == in.On.PolicyArn && in.PolicyUsageFilter != asPermissions
		if (permits || limits) && strings.HasPrefix(path, in.PathPrefix) && (in.EntityFilter == "" || in.EntityFilter == kind) {
			found = append(found, entity)
		}
	}
	for _, u := range c.world.IAMUsers() {
		use(policyUser{u.Name, u.ID}, "User", u.Path, u.Attached, u.Boundary)
	}
	for _, r := range c.world.Roles() {
		use(policyRole{r.Name, r.ID}, "Role", r.Path, r.Attached, r.Boundary)
	}
	out = entitiesResult{[]none{}, []policyUser{}, []policyRole{}, pageEnd{}}
	found, out.pageEnd, err = cut(in.page, found, numbered)
	for _, entity := range found {
		switch e := entity.(type) {
		case policyUser:
			out.PolicyUsers = append(out.PolicyUsers, e)
		case policyRole:
			out.PolicyRoles = append(out.PolicyRoles, e)
		}
	}
	return out, err
}
