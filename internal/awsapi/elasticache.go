package awsapi

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/rediam/rediam/internal/world"
)

var elastiCacheOperations = map[string]operation{
	"CreateUser":    operate(func(c *call, in createCacheUserRequest) []string { return c.named("user", in.UserId) }, createCacheUser),
	"ModifyUser":    operate(func(c *call, in modifyCacheUserRequest) []string { return c.named("user", in.UserId) }, modifyCacheUser),
	"DeleteUser":    operate(func(c *call, in deleteCacheUserRequest) []string { return c.named("user", in.UserId) }, deleteCacheUser),
	"DescribeUsers": operate(func(c *call, in describeCacheUsersRequest) []string { return c.named("user", in.UserId) }, describeCacheUsers),

	"CreateUserGroup": operate(func(c *call, in createUserGroupRequest) []string {
		return append(c.named("usergroup", in.UserGroupId), c.named("user", in.UserIds...)...)
	}, createUserGroup),
	"ModifyUserGroup": operate(func(c *call, in modifyUserGroupRequest) []string {
		return append(c.named("usergroup", in.UserGroupId), c.named("user", slices.Concat(in.UserIdsToAdd, in.UserIdsToRemove)...)...)
	}, modifyUserGroup),
	"DeleteUserGroup":    operate(func(c *call, in deleteUserGroupRequest) []string { return c.named("usergroup", in.UserGroupId) }, deleteUserGroup),
	"DescribeUserGroups": operate(func(c *call, in describeUserGroupsRequest) []string { return c.named("usergroup", in.UserGroupId) }, describeUserGroups),

	"CreateReplicationGroup": operate(func(c *call, in createReplicationGroupRequest) []string {
		return slices.Concat(c.named("replicationgroup", in.ReplicationGroupId), c.named("usergroup", in.UserGroupIds...), c.named("subnetgroup", in.CacheSubnetGroupName))
	}, createReplicationGroup),
	"ModifyReplicationGroup": operate(func(c *call, in modifyReplicationGroupRequest) []string {
		return slices.Concat(c.named("replicationgroup", in.ReplicationGroupId), c.named("usergroup", slices.Concat(in.UserGroupIdsToAdd, in.UserGroupIdsToRemove)...))
	}, modifyReplicationGroup),
	"DeleteReplicationGroup": operate(func(c *call, in deleteReplicationGroupRequest) []string {
		return c.named("replicationgroup", in.ReplicationGroupId)
	}, deleteReplicationGroup),
	"DescribeReplicationGroups": operate(func(c *call, in describeReplicationGroupsRequest) []string {
		return c.named("replicationgroup", in.ReplicationGroupId)
	}, describeReplicationGroups),

	"CreateCacheCluster": operate(func(c *call, in createCacheClusterRequest) []string {
		return slices.Concat(c.named("cluster", in.CacheClusterId), c.named("subnetgroup", in.CacheSubnetGroupName))
	}, createCacheCluster),
	"ModifyCacheCluster":    operate(func(c *call, in modifyCacheClusterRequest) []string { return c.named("cluster", in.CacheClusterId) }, modifyCacheCluster),
	"DeleteCacheCluster":    operate(func(c *call, in deleteCacheClusterRequest) []string { return c.named("cluster", in.CacheClusterId) }, deleteCacheCluster),
	"DescribeCacheClusters": operate(func(c *call, in describeCacheClustersRequest) []string { return c.named("cluster", in.CacheClusterId) }, describeCacheClusters),

	"CreateServerlessCache": operate(func(c *call, in createServerlessCacheRequest) []string {
		c.set("elasticache:ConnectionType", cmp.Or(in.ConnectionType, connectVPC))
		return slices.Concat(c.named("serverlesscache", in.ServerlessCacheName), c.named("usergroup", in.UserGroupId))
	}, createServerlessCache),
	"ModifyServerlessCache": operate(func(c *call, in modifyServerlessCacheRequest) []string {
		return slices.Concat(c.named("serverlesscache", in.ServerlessCacheName), c.named("usergroup", in.UserGroupId))
	}, modifyServerlessCache),
	"DeleteServerlessCache": operate(func(c *call, in deleteServerlessCacheRequest) []string {
		return c.named("serverlesscache", in.ServerlessCacheName)
	}, deleteServerlessCache),
	"DescribeServerlessCaches": operate(func(c *call, in describeServerlessCachesRequest) []string {
		return c.named("serverlesscache", in.ServerlessCacheName)
	}, describeServerlessCaches),

	"CreateCacheSubnetGroup": operate(func(c *call, in createCacheSubnetGroupRequest) []string {
		return c.named("subnetgroup", in.CacheSubnetGroupName)
	}, createCacheSubnetGroup),
	"ModifyCacheSubnetGroup": operate(func(c *call, in modifyCacheSubnetGroupRequest) []string {
		return c.named("subnetgroup", in.CacheSubnetGroupName)
	}, modifyCacheSubnetGroup),
	"DeleteCacheSubnetGroup": operate(func(c *call, in deleteCacheSubnetGroupRequest) []string {
		return c.named("subnetgroup", in.CacheSubnetGroupName)
	}, deleteCacheSubnetGroup),
	"DescribeCacheSubnetGroups": operate(func(c *call, in describeCacheSubnetGroupsRequest) []string {
		return c.named("subnetgroup", in.CacheSubnetGroupName)
	}, describeCacheSubnetGroups),

	"AddTagsToResource":      operate(func(_ *call, in addCacheTagsRequest) []string { return []string{strings.ToLower(in.ResourceName)} }, addCacheTags),
	"ListTagsForResource":    operate(func(_ *call, in listCacheTagsRequest) []string { return []string{strings.ToLower(in.ResourceName)} }, listCacheTags),
	"RemoveTagsFromResource": operate(func(_ *call, in removeCacheTagsRequest) []string { return []string{strings.ToLower(in.ResourceName)} }, removeCacheTags),

	"DescribeCacheEngineVersions": operate(nil, describeCacheEngineVersions),
}

// named are the ARNs of what a request names of a kind, but for ids that are empty.
func (c *call) named(kind string, ids ...string) (arns []string) {
	for _, id := range ids {
		if id != "" {
			arns = append(arns, c.world.ElastiCacheARN(kind, id))
		}
	}
	return arns
}

// Bounds of MaxRecords (API reference of every Describe operation of ElastiCache).
const (
	minRecords = 20
	maxRecords = 100
)

// recordsPage cuts the part of a list that a Describe operation asks for: what comes after
// the marker, which is the name of the last element of the page before.
func recordsPage[V any](all []V, name func(V) string, records *int, marker string) (some []V, next string, err error) {
	n := maxRecords
	if records != nil {
		n = *records
	}
	if n < minRecords || n > maxRecords {
		return nil, "", parameterValue("Invalid value %d for MaxRecords. Must be between %d and %d", n, minRecords, maxRecords)
	}
	some, next = cutPage(all, name, n, marker)
	return some, next, nil
}

func cutPage[V any](all []V, name func(V) string, n int, marker string) (some []V, next string) {
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b V) int { return cmp.Compare(name(a), name(b)) })
	if marker != "" {
		all = all[index(all, name, marker):]
	}
	if len(all) > n {
		return all[:n], name(all[n-1])
	}
	return append([]V{}, all...), ""
}

// index is that of the first element behind a name.
func index[V any](sorted []V, name func(V) string, marker string) int {
	i, found := slices.BinarySearchFunc(sorted, marker, func(v V, marker string) int { return cmp.Compare(name(v), marker) })
	if found {
		i++
	}
	return i
}

// only is the one element of a list that a Describe operation names, or all of them.
func only[V any](all []V, name func(V) string, wanted string, notFound error) ([]V, error) {
	if wanted == "" {
		return all, nil
	}
	for _, v := range all {
		if name(v) == wanted {
			return []V{v}, nil
		}
	}
	return nil, notFound
}

// missing is the error about what is not there.
func missing(code, what, id string) error {
	return &world.Error{Code: code, Message: fmt.Sprintf("%s %.64s not found.", what, id)}
}

func parameterValue(format string, args ...any) error {
	return &world.Error{Code: "InvalidParameterValue", Message: fmt.Sprintf(format, args...)}
}

func parameterCombination(format string, args ...any) error {
	return &world.Error{Code: "InvalidParameterCombination", Message: fmt.Sprintf(format, args...)}
}

// endpoint is where clients connect.
type endpoint struct {
	Address string
	Port    int
}

// endpointOf takes an address apart.
func endpointOf(address string) *endpoint {
	host, port, _ := net.SplitHostPort(address)
	n, _ := strconv.Atoi(port)
	return &endpoint{host, n}
}
