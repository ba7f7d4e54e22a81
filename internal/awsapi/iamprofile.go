package awsapi

import (
	"strings"
	"time"

	"github.com/rediam/rediam/internal/world"
)

type newProfileRequest struct {
	InstanceProfileName string `aws:",required"`
	Path                string
	Tags                []tag
}

type profileResult struct{ InstanceProfile instanceProfile }

// instanceProfile is an instance profile in an answer. Lists leave out its tags.
type instanceProfile struct {
	Path, InstanceProfileName, InstanceProfileId, Arn string
	CreateDate                                        time.Time
	Roles                                             []iamRole
	Tags                                              []tag
}

func (c *call) instanceProfile(p world.InstanceProfile) instanceProfile {
	out := instanceProfile{Path: p.Path, InstanceProfileName: p.Name, InstanceProfileId: p.ID, Arn: c.world.InstanceProfileARN(p), CreateDate: p.Created, Roles: []iamRole{}}
	if r, ok := c.world.Role(p.Role); ok {
		out.Roles = append(out.Roles, c.iamRole(r))
	}
	return out
}

func (c *call) wholeProfile(p world.InstanceProfile) profileResult {
	out := c.instanceProfile(p)
	out.Tags = someTags(p.Tags)
	return profileResult{out}
}

func onNewProfile(c *call, in newProfileRequest) []string {
	c.describeTags(in.Tags)
	return []string{c.arn("instance-profile", in.Path, in.InstanceProfileName)}
}

func createInstanceProfile(c *call, in newProfileRequest) (out profileResult, err error) {
	tags, err := tagMap(in.Tags)
	if err != nil {
		return out, err
	}
	p, err := c.world.CreateInstanceProfile(world.InstanceProfile{Name: in.InstanceProfileName, Path: in.Path, Tags: tags})
	return c.wholeProfile(p), err
}

func getInstanceProfile(c *call, in of[ofProfile]) (profileResult, error) {
	p, err := c.world.FindInstanceProfile(in.On.InstanceProfileName)
	return c.wholeProfile(p), err
}

type profilesResult struct {
	InstanceProfiles []instanceProfile
	pageEnd          `aws:",inline"`
}

func listInstanceProfiles(c *call, in byPath) (profilesResult, error) {
	return c.profiles(in.page, func(p world.InstanceProfile) bool { return strings.HasPrefix(p.Path, in.PathPrefix) })
}

func listInstanceProfilesForRole(c *call, in listing[ofRole]) (out profilesResult, err error) {
	if _, err := c.role(in.On.RoleName); err != nil {
		return out, err
	}
	return c.profiles(in.page, func(p world.InstanceProfile) bool { return p.Role == in.On.RoleName })
}

func (c *call) profiles(wanted page, are func(world.InstanceProfile) bool) (out profilesResult, err error) {
	list := []instanceProfile{}
	for _, p := range c.world.InstanceProfiles() {
		if are(p) {
			list = append(list, c.instanceProfile(p))
		}
	}
	out.InstanceProfiles, out.pageEnd, err = cut(wanted, list, func(i int) string { return list[i].InstanceProfileName })
	return out, err
}

type roleInProfile struct {
	of[ofProfile] `aws:",inline"`
	RoleName      string `aws:",required"`
}

// addRoleToInstanceProfile asks for iam:PassRole besides, on the role: who may hand
// a role to instances may use it (IAM User Guide, "Grant a user permissions to pass
// a role to an AWS service").
func addRoleToInstanceProfile(c *call, in roleInProfile) (none, error) {
	if err := c.passRole(in.RoleName, c.world.EC2()); err != nil {
		return none{}, err
	}
	return none{}, c.world.AddRoleToInstanceProfile(in.On.InstanceProfileName, in.RoleName)
}

// passRole asks whether the caller may hand a role to a service.
func (c *call) passRole(name, service string) error {
	role := &call{world: c.world, caller: c.caller}
	role.set("iam:PassedToService", service)
	arn := of[ofRole]{ofRole{name}}.resource(role)
	return c.world.AuthorizeCall(c.caller, "iam:PassRole", arn, c.source, role.context)
}

func removeRoleFromInstanceProfile(c *call, in roleInProfile) (none, error) {
	return none{}, c.world.RemoveRoleFromInstanceProfile(in.On.InstanceProfileName, in.RoleName)
}

func deleteInstanceProfile(c *call, in of[ofProfile]) (none, error) {
	return none{}, c.world.DeleteInstanceProfile(in.On.InstanceProfileName)
}
