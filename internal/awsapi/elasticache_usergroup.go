package awsapi

import (
	"strings"

	"github.com/rediam/rediam/internal/world"
)

type userGroupAnswer struct {
	UserGroupId, Status, Engine string
	UserIds                     []string
	MinimumEngineVersion        string
	ReplicationGroups           []string
	ServerlessCaches            []string
	ARN                         string
}

func userGroupOf(c *call, g world.GroupInfo) userGroupAnswer {
	answer := userGroupAnswer{UserGroupId: g.ID, Status: g.Status, Engine: g.Engine, UserIds: append([]string{}, g.Users...), MinimumEngineVersion: g.MinimumVersion,
		ReplicationGroups: []string{}, ServerlessCaches: []string{}, ARN: c.world.ElastiCacheARN("usergroup", g.ID)}
	for _, cache := range g.Caches {
		if cache.Kind == world.ServerlessCache {
			answer.ServerlessCaches = append(answer.ServerlessCaches, cache.Name)
		} else {
			answer.ReplicationGroups = append(answer.ReplicationGroups, cache.Name)
		}
	}
	return answer
}

type createUserGroupRequest struct {
	UserGroupId string `aws:",required"`
	Engine      string `aws:",required"`
	UserIds     []string
	Tags        []cacheTag `aws:"Tags.Tag"`
}

func createUserGroup(c *call, in createUserGroupRequest) (out userGroupAnswer, err error) {
	g := world.Group{ID: in.UserGroupId, Engine: in.Engine, Users: in.UserIds}
	if g.Tags, err = cacheTags(in.Tags); err != nil {
		return out, err
	}
	if err := notBlank("UserGroupId", g.ID, "Engine", g.Engine); err != nil {
		return out, err
	}
	info, err := c.world.CreateGroup(g)
	return userGroupOf(c, info), err
}

type modifyUserGroupRequest struct {
	UserGroupId     string `aws:",required"`
	UserIdsToAdd    []string
	UserIdsToRemove []string
	Engine          string
}

func modifyUserGroup(c *call, in modifyUserGroupRequest) (out userGroupAnswer, err error) {
	if len(in.UserIdsToAdd) == 0 && len(in.UserIdsToRemove) == 0 && in.Engine == "" {
		return out, parameterCombination("There is nothing to modify: UserIdsToAdd, UserIdsToRemove or Engine must be given.")
	}
	info, err := c.world.ModifyGroup(world.ElastiCache, in.UserGroupId, func(g *world.Group) error {
		if in.Engine != "" {
			g.Engine = in.Engine
		}
		return g.ChangeUsers(in.UserIdsToAdd, in.UserIdsToRemove)
	})
	return userGroupOf(c, info), err
}

type deleteUserGroupRequest struct {
	UserGroupId string `aws:",required"`
}

func deleteUserGroup(c *call, in deleteUserGroupRequest) (userGroupAnswer, error) {
	info, err := c.world.RemoveGroup(world.ElastiCache, in.UserGroupId)
	return userGroupOf(c, info), err
}

type describeUserGroupsRequest struct {
	UserGroupId string
	MaxRecords  *int
	Marker      string
}

type describeUserGroupsAnswer struct {
	UserGroups []userGroupAnswer
	Marker     string
}

func describeUserGroups(c *call, in describeUserGroupsRequest) (out describeUserGroupsAnswer, err error) {
	id := func(g world.GroupInfo) string { return g.ID }
	groups, err := only(c.world.Groups(world.ElastiCache), id, strings.ToLower(in.UserGroupId), missing("UserGroupNotFound", "User group", in.UserGroupId))
	if err != nil {
		return out, err
	}
	groups, out.Marker, err = recordsPage(groups, id, in.MaxRecords, in.Marker)
	out.UserGroups = []userGroupAnswer{}
	for _, g := range groups {
		out.UserGroups = append(out.UserGroups, userGroupOf(c, g))
	}
	return out, err
}
