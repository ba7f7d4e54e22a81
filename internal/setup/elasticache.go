package setup

import (
	"cmp"
	"context"
	"net"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"
)

// elastiCache is redis for ElastiCache.
type elastiCache struct {
	ElastiCache
	serverless bool
	tags       func() (key, value *string)
}

func ecCall[In, Out any](operation string, method func(context.Context, *In, ...func(*elasticache.Options)) (*Out, error), in *In) Call {
	return newCall("elasticache", operation, method, in)
}

func (e elastiCache) made() []types.Tag {
	key, value := e.tags()
	return []types.Tag{{Key: key, Value: value}}
}

func (e elastiCache) tag(ctx context.Context, arn string) (string, error) {
	out, err := e.ListTagsForResource(ctx, &elasticache.ListTagsForResourceInput{ResourceName: &arn})
	if err != nil {
		return "", err
	}
	for _, t := range out.TagList {
		if aws.ToString(t.Key) == TagKey {
			return aws.ToString(t.Value), nil
		}
	}
	return "", nil
}

func (e elastiCache) user(ctx context.Context, id string) (*user, error) {
	out, err := e.DescribeUsers(ctx, &elasticache.DescribeUsersInput{UserId: &id})
	if is[*types.UserNotFoundFault](err) || err == nil && len(out.Users) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	u := out.Users[0]
	found := &user{id: aws.ToString(u.UserId), name: aws.ToString(u.UserName), engine: strings.ToLower(aws.ToString(u.Engine)), status: aws.ToString(u.Status),
		arn: aws.ToString(u.ARN), access: aws.ToString(u.AccessString), groups: u.UserGroupIds}
	if u.Authentication != nil {
		found.auth = string(u.Authentication.Type)
	}
	return found, nil
}

func (e elastiCache) createUser(u user) Call {
	kind := types.InputAuthenticationTypeIam
	if u.auth != "iam" {
		kind = types.InputAuthenticationTypeNoPassword
	}
	return ecCall("CreateUser", e.CreateUser, &elasticache.CreateUserInput{UserId: &u.id, UserName: &u.name, Engine: &u.engine, AccessString: &u.access,
		AuthenticationMode: &types.AuthenticationMode{Type: kind}, Tags: e.made()})
}

func (e elastiCache) changeUser(u user) Call {
	in := &elasticache.ModifyUserInput{UserId: &u.id}
	if u.access != "" {
		in.AccessString = &u.access
	}
	if u.auth != "" {
		in.AuthenticationMode = &types.AuthenticationMode{Type: types.InputAuthenticationType(u.auth)}
	}
	return ecCall("ModifyUser", e.ModifyUser, in)
}

func (e elastiCache) deleteUser(id string) Call {
	return ecCall("DeleteUser", e.DeleteUser, &elasticache.DeleteUserInput{UserId: &id})
}

func (e elastiCache) group(ctx context.Context, id string) (*group, error) {
	out, err := e.DescribeUserGroups(ctx, &elasticache.DescribeUserGroupsInput{UserGroupId: &id})
	if is[*types.UserGroupNotFoundFault](err) || err == nil && len(out.UserGroups) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	g := out.UserGroups[0]
	caches, kind, others := g.ReplicationGroups, ServerlessCache, g.ServerlessCaches
	if e.serverless {
		caches, kind, others = g.ServerlessCaches, ReplicationGroup, g.ReplicationGroups
	}
	for _, name := range others { // which may be the same
		caches = append(caches, string(kind)+" "+name)
	}
	return &group{id: aws.ToString(g.UserGroupId), engine: strings.ToLower(aws.ToString(g.Engine)), status: aws.ToString(g.Status), arn: aws.ToString(g.ARN),
		users: g.UserIds, caches: caches}, nil
}

func (e elastiCache) createGroup(g group) Call {
	return ecCall("CreateUserGroup", e.CreateUserGroup, &elasticache.CreateUserGroupInput{UserGroupId: &g.id, Engine: &g.engine, UserIds: g.users, Tags: e.made()})
}

func (e elastiCache) addUsers(group string, users []string) Call {
	return ecCall("ModifyUserGroup", e.ModifyUserGroup, &elasticache.ModifyUserGroupInput{UserGroupId: &group, UserIdsToAdd: users})
}

func (e elastiCache) deleteGroup(id string) Call {
	return ecCall("DeleteUserGroup", e.DeleteUserGroup, &elasticache.DeleteUserGroupInput{UserGroupId: &id})
}

func (e elastiCache) cache(ctx context.Context, name string) (*cache, error) {
	if e.serverless {
		return e.serverlessCache(ctx, name)
	}
	out, err := e.DescribeReplicationGroups(ctx, &elasticache.DescribeReplicationGroupsInput{ReplicationGroupId: &name})
	if is[*types.ReplicationGroupNotFoundFault](err) || err == nil && len(out.ReplicationGroups) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	g := out.ReplicationGroups[0]
	c := &cache{name: name, engine: strings.ToLower(cmp.Or(aws.ToString(g.Engine), "redis")), nodeType: aws.ToString(g.CacheNodeType), status: aws.ToString(g.Status), arn: aws.ToString(g.ARN),
		tls: aws.ToBool(g.TransitEncryptionEnabled), authToken: aws.ToBool(g.AuthTokenEnabled), groups: g.UserGroupIds, endpoint: address(g.ConfigurationEndpoint)}
	for _, shard := range g.NodeGroups {
		c.endpoint = cmp.Or(c.endpoint, address(shard.PrimaryEndpoint))
	}
	if c.status != "available" || len(g.MemberClusters) == 0 {
		return c, nil
	}
	return c, e.member(ctx, g.MemberClusters[0], c) // only its clusters tell the version
}

func (e elastiCache) member(ctx context.Context, id string, c *cache) error {
	out, err := e.DescribeCacheClusters(ctx, &elasticache.DescribeCacheClustersInput{CacheClusterId: &id})
	if is[*types.CacheClusterNotFoundFault](err) || err == nil && len(out.CacheClusters) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	c.version = aws.ToString(out.CacheClusters[0].EngineVersion)
	for _, g := range out.CacheClusters[0].SecurityGroups {
		c.securityGroups = append(c.securityGroups, aws.ToString(g.SecurityGroupId))
	}
	return nil
}

func (e elastiCache) serverlessCache(ctx context.Context, name string) (*cache, error) {
	out, err := e.DescribeServerlessCaches(ctx, &elasticache.DescribeServerlessCachesInput{ServerlessCacheName: &name})
	if is[*types.ServerlessCacheNotFoundFault](err) || err == nil && len(out.ServerlessCaches) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s := out.ServerlessCaches[0]
	c := &cache{name: name, engine: strings.ToLower(aws.ToString(s.Engine)), version: aws.ToString(s.MajorEngineVersion), status: strings.ToLower(aws.ToString(s.Status)), arn: aws.ToString(s.ARN),
		tls: true, securityGroups: s.SecurityGroupIds, endpoint: address(s.Endpoint)}
	if group := aws.ToString(s.UserGroupId); group != "" {
		c.groups = []string{group}
	}
	return c, nil
}

func address(e *types.Endpoint) string {
	if e == nil || aws.ToString(e.Address) == "" {
		return ""
	}
	return net.JoinHostPort(*e.Address, strconv.Itoa(int(aws.ToInt32(e.Port))))
}

// The smallest node types that all engines and regions have are the defaults.
const (
	nodeType         = "cache.t4g.small"
	nodeTypeMemoryDB = "db.t4g.small"
)

func (e elastiCache) createCache(s Spec, group string) Call {
	engine, description := cmp.Or(s.Engine, "valkey"), "Made by rediam setup"
	if s.Serverless {
		in := &elasticache.CreateServerlessCacheInput{ServerlessCacheName: &s.Cache, Engine: &engine, UserGroupId: &group, Description: &description,
			SubnetIds: s.Subnets, SecurityGroupIds: s.SecurityGroups, Tags: e.made()}
		in.MajorEngineVersion = optional(s.Version)
		return ecCall("CreateServerlessCache", e.CreateServerlessCache, in)
	}
	return ecCall("CreateReplicationGroup", e.CreateReplicationGroup, &elasticache.CreateReplicationGroupInput{
		ReplicationGroupId: &s.Cache, ReplicationGroupDescription: &description, Engine: &engine, EngineVersion: optional(s.Version),
		CacheNodeType: aws.String(cmp.Or(s.NodeType, nodeType)), NumCacheClusters: aws.Int32(1), CacheSubnetGroupName: optional(s.SubnetGroup), SecurityGroupIds: s.SecurityGroups,
		TransitEncryptionEnabled: aws.Bool(true), AtRestEncryptionEnabled: aws.Bool(true), UserGroupIds: []string{group}, Tags: e.made()})
}

func (e elastiCache) attach(cache, group string) Call {
	if e.serverless {
		return ecCall("ModifyServerlessCache", e.ModifyServerlessCache, &elasticache.ModifyServerlessCacheInput{ServerlessCacheName: &cache, UserGroupId: &group})
	}
	return ecCall("ModifyReplicationGroup", e.ModifyReplicationGroup, &elasticache.ModifyReplicationGroupInput{ReplicationGroupId: &cache, UserGroupIdsToAdd: []string{group}, ApplyImmediately: aws.Bool(true)})
}

func (e elastiCache) detach(cache, group string) Call {
	if e.serverless {
		return ecCall("ModifyServerlessCache", e.ModifyServerlessCache, &elasticache.ModifyServerlessCacheInput{ServerlessCacheName: &cache, RemoveUserGroup: aws.Bool(true)})
	}
	return ecCall("ModifyReplicationGroup", e.ModifyReplicationGroup, &elasticache.ModifyReplicationGroupInput{ReplicationGroupId: &cache, UserGroupIdsToRemove: []string{group}, ApplyImmediately: aws.Bool(true)})
}

func (e elastiCache) deleteCache(name string) Call {
	if e.serverless {
		return ecCall("DeleteServerlessCache", e.DeleteServerlessCache, &elasticache.DeleteServerlessCacheInput{ServerlessCacheName: &name})
	}
	return ecCall("DeleteReplicationGroup", e.DeleteReplicationGroup, &elasticache.DeleteReplicationGroupInput{ReplicationGroupId: &name})
}

func optional(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}
