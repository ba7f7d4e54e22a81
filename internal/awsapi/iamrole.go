package awsapi

import (
	"strings"
	"time"

	"github.com/rediam/rediam/internal/world"
)

type newRoleRequest struct {
	RoleName                 string `aws:",required"`
	AssumeRolePolicyDocument string `aws:",required"`
	Path, Description        string
	MaxSessionDuration       *int
	PermissionsBoundary      string
	Tags                     []tag
}

type roleResult struct{ Role iamRole }

// iamRole is a role in an answer. Lists leave out its boundary and its tags.
type iamRole struct {
	Path, RoleName, RoleId, Arn string
	CreateDate                  time.Time
	AssumeRolePolicyDocument    string
	Description                 string
	MaxSessionDuration          int
	PermissionsBoundary         *attachedBoundary
	Tags                        []tag
}

func (c *call) iamRole(r world.Role) iamRole {
	return iamRole{Path: r.Path, RoleName: r.Name, RoleId: r.ID, Arn: c.arn("role", r.Path, r.Name), CreateDate: r.Created,
		AssumeRolePolicyDocument: encoded(r.Trust), Description: r.Description, MaxSessionDuration: seconds(r.MaxSession)}
}

func (c *call) wholeRole(r world.Role) roleResult {
	out := c.iamRole(r)
	out.PermissionsBoundary, out.Tags = boundaryOf(r.Boundary), someTags(r.Tags)
	return roleResult{out}
}

func onNewRole(c *call, in newRoleRequest) []string {
	c.describeNew(in.PermissionsBoundary, in.Tags)
	return []string{c.arn("role", in.Path, in.RoleName)}
}

func createRole(c *call, in newRoleRequest) (out roleResult, err error) {
	c.document = in.AssumeRolePolicyDocument
	tags, err := tagMap(in.Tags)
	if err != nil {
		return out, err
	}
	longest := time.Hour
	if in.MaxSessionDuration != nil {
		longest = time.Duration(*in.MaxSessionDuration) * time.Second
	}
	if longest == 0 { // no default on the wire
		longest = time.Second
	}
	r, err := c.world.CreateRole(world.Role{Name: in.RoleName, Path: in.Path, Description: in.Description, Trust: in.AssumeRolePolicyDocument,
		MaxSession: longest, Boundary: in.PermissionsBoundary, Tags: tags})
	return c.wholeRole(r), err
}

func (c *call) role(name string) (world.Role, error) {
	r, ok := c.world.Role(name)
	if !ok {
		return r, &world.Error{Code: "NoSuchEntity", Message: "The role with name " + shortened(name) + " cannot be found."}
	}
	return r, nil
}

func getRole(c *call, in of[ofRole]) (roleResult, error) {
	r, err := c.role(in.On.RoleName)
	return c.wholeRole(r), err
}

type rolesResult struct {
	Roles   []iamRole
	pageEnd `aws:",inline"`
}

func listRoles(c *call, in byPath) (out rolesResult, err error) {
	roles := []iamRole{}
	for _, r := range c.world.Roles() {
		if strings.HasPrefix(r.Path, in.PathPrefix) {
			roles = append(roles, c.iamRole(r))
		}
	}
	out.Roles, out.pageEnd, err = cut(in.page, roles, func(i int) string { return roles[i].RoleName })
	return out, err
}

type updateRoleRequest struct {
	of[ofRole]         `aws:",inline"`
	Description        *string
	MaxSessionDuration *int
}

// updateRole answers with an element that is empty, not with none.
func updateRole(c *call, in updateRoleRequest) (out struct{}, err error) {
	var longest *time.Duration
	if in.MaxSessionDuration != nil {
		d := time.Duration(*in.MaxSessionDuration) * time.Second
		longest = &d
	}
	return out, c.world.UpdateRole(in.On.RoleName, in.Description, longest, nil)
}

type describeRoleRequest struct {
	of[ofRole]  `aws:",inline"`
	Description string `aws:",required"`
}

func updateRoleDescription(c *call, in describeRoleRequest) (out roleResult, err error) {
	if err = c.world.UpdateRole(in.On.RoleName, &in.Description, nil, nil); err != nil {
		return out, err
	}
	return getRole(c, in.of)
}

type trustRequest struct {
	of[ofRole]     `aws:",inline"`
	PolicyDocument string `aws:",required"`
}

func updateAssumeRolePolicy(c *call, in trustRequest) (none, error) {
	c.document = in.PolicyDocument
	return none{}, c.world.UpdateRole(in.On.RoleName, nil, nil, &in.PolicyDocument)
}

func deleteRole(c *call, in of[ofRole]) (none, error) {
	return none{}, c.world.DeleteRole(in.On.RoleName)
}
