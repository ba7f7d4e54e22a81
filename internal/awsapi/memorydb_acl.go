package awsapi

import (
	"strings"

	"github.com/rediam/rediam/internal/world"
)

type aclAnswer struct{ ACL aclShown }

type aclShown struct {
	Name, Status string

	UserNames            []string
	MinimumEngineVersion string
	Clusters             []string
	ARN                  string
}

func aclOf(c *call, g world.GroupInfo) aclShown {
	answer := aclShown{Name: g.ID, Status: g.Status, UserNames: append([]string{}, g.Users...), MinimumEngineVersion: g.MinimumVersion, Clusters: []string{}, ARN: c.world.MemoryDBARN("acl", g.ID)}
	for _, cluster := range g.Caches {
		answer.Clusters = append(answer.Clusters, cluster.Name)
	}
	return answer
}

type createACLRequest struct {
	ACLName   string `aws:",required"`
	UserNames []string
	Tags      []cacheTag
}

func createACL(c *call, in createACLRequest) (out aclAnswer, err error) {
	g := world.Group{Service: world.MemoryDB, ID: in.ACLName, Users: in.UserNames}
	if g.Tags, err = cacheTags(in.Tags); err != nil {
		return out, err
	}
	info, err := c.world.CreateGroup(g)
	return aclAnswer{aclOf(c, info)}, err
}

type updateACLRequest struct {
	ACLName           string `aws:",required"`
	UserNamesToAdd    []string
	UserNamesToRemove []string
}

func updateACL(c *call, in updateACLRequest) (out aclAnswer, err error) {
	if len(in.UserNamesToAdd) == 0 && len(in.UserNamesToRemove) == 0 {
		return out, parameterCombination("There is nothing to update: UserNamesToAdd or UserNamesToRemove must be given.")
	}
	info, err := c.world.ModifyGroup(world.MemoryDB, in.ACLName, func(g *world.Group) error {
		return g.ChangeUsers(in.UserNamesToAdd, in.UserNamesToRemove)
	})
	return aclAnswer{aclOf(c, info)}, err
}

type deleteACLRequest struct {
	ACLName string `aws:",required"`
}

func deleteACL(c *call, in deleteACLRequest) (aclAnswer, error) {
	info, err := c.world.RemoveGroup(world.MemoryDB, in.ACLName)
	return aclAnswer{aclOf(c, info)}, err
}

type describeACLsRequest struct {
	ACLName     string
	resultsPage `aws:",inline"`
}

type describeACLsAnswer struct {
	ACLs      []aclShown
	NextToken string
}

func describeACLs(c *call, in describeACLsRequest) (out describeACLsAnswer, err error) {
	name := func(g world.GroupInfo) string { return g.ID }
	groups, err := only(c.world.Groups(world.MemoryDB), name, strings.ToLower(in.ACLName), missing("UserGroupNotFound", "ACL", in.ACLName))
	if err != nil {
		return out, err
	}
	groups, out.NextToken, err = cutResults(groups, name, in.resultsPage)
	out.ACLs = []aclShown{}
	for _, g := range groups {
		out.ACLs = append(out.ACLs, aclOf(c, g))
	}
	return out, err
}
