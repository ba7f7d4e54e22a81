package awsapi

import (
	"errors"
	"strings"
	"time"

	"github.com/rediam/rediam/internal/world"
)

type cacheClusterAnswer struct{ CacheCluster cacheCluster }

type cacheCluster struct {
	CacheClusterId, CacheNodeType, Engine, EngineVersion, CacheClusterStatus string

	NumCacheNodes             int
	PreferredAvailabilityZone string
	CacheClusterCreateTime    time.Time
	PendingModifiedValues     struct{}
	CacheParameterGroup       struct{ CacheParameterGroupName, ParameterApplyStatus string }
	CacheSubnetGroupName      string
	CacheNodes                []cacheNode `aws:"CacheNodes.CacheNode"`
	AutoMinorVersionUpgrade   bool
	SecurityGroups            []securityGroup
	ReplicationGroupId        string
	SnapshotRetentionLimit    int
	AuthTokenEnabled          bool
	AuthTokenLastModifiedDate time.Time
	TransitEncryptionEnabled  bool
	AtRestEncryptionEnabled   bool
	ARN                       string
	NetworkType, IpDiscovery  string
	TransitEncryptionMode     string
}

type cacheNode struct {
	CacheNodeId, CacheNodeStatus string

	CacheNodeCreateTime      time.Time
	Endpoint                 *endpoint
	ParameterGroupStatus     string
	CustomerAvailabilityZone string
}

type securityGroup struct{ SecurityGroupId, Status string }

// clustersOf are the cache clusters that a cache consists of: itself, or the members
// of a replication group.
func clustersOf(c *call, info world.CacheInfo, nodes bool) (all []cacheCluster) {
	names := []string{info.Name}
	if info.Kind == world.ReplicationGroup {
		names = memberClusters(info)
	}
	for i, name := range names {
		cluster := cacheCluster{CacheClusterId: name, CacheNodeType: info.Details.NodeType, Engine: info.Engine, EngineVersion: info.Version, CacheClusterStatus: info.Status,
			NumCacheNodes: 1, PreferredAvailabilityZone: c.world.Region + "a", CacheClusterCreateTime: info.Created, CacheSubnetGroupName: info.Details.SubnetGroup,
			AutoMinorVersionUpgrade: !info.Details.NoUpgrades, AuthTokenEnabled: len(info.AuthTokens) > 0, TransitEncryptionEnabled: !info.Plaintext,
			AtRestEncryptionEnabled: info.Details.AtRest, ARN: c.world.ElastiCacheARN("cluster", name), NetworkType: "ipv4", IpDiscovery: "ipv4"}
		cluster.CacheParameterGroup.CacheParameterGroupName, cluster.CacheParameterGroup.ParameterApplyStatus = "default."+info.Family(), "in-sync"
		if info.ClusterMode() {
			cluster.CacheParameterGroup.CacheParameterGroupName += ".cluster.on"
		}
		if cluster.AuthTokenEnabled {
			cluster.AuthTokenLastModifiedDate = info.TokensChanged
		}
		if cluster.TransitEncryptionEnabled {
			cluster.TransitEncryptionMode = "required"
		}
		if info.Kind == world.ReplicationGroup {
			cluster.ReplicationGroupId = info.Name
		}
		for _, id := range info.Details.SecurityGroups {
			cluster.SecurityGroups = append(cluster.SecurityGroups, securityGroup{id, "active"})
		}
		if nodes && i < len(info.Addresses) {
			cluster.CacheNodes = []cacheNode{{"0001", info.Status, info.Created, endpointOf(info.Addresses[i]), "in-sync", c.world.Region + "a"}}
		}
		all = append(all, cluster)
	}
	return all
}

// clusterOf is the answer about one cache cluster that has just been changed.
func clusterOf(c *call, info world.CacheInfo) cacheClusterAnswer {
	return cacheClusterAnswer{clustersOf(c, info, false)[0]}
}

type createCacheClusterRequest struct {
	CacheClusterId           string `aws:",required"`
	NumCacheNodes            *int
	CacheNodeType            string
	Engine, EngineVersion    string
	CacheParameterGroupName  string
	CacheSubnetGroupName     string
	SecurityGroupIds         []string   `aws:"SecurityGroupIds.SecurityGroupId"`
	Tags                     []cacheTag `aws:"Tags.Tag"`
	AutoMinorVersionUpgrade  *bool
	AuthToken                string // refused, in AWS's words
	TransitEncryptionEnabled *bool  // likewise
	NetworkType, IpDiscovery string
}

func createCacheCluster(c *call, in createCacheClusterRequest) (out cacheClusterAnswer, err error) {
	cache := world.Cache{Kind: world.CacheCluster, Name: in.CacheClusterId, Engine: in.Engine, Version: in.EngineVersion,
		Details: world.Details{NodeType: in.CacheNodeType, SubnetGroup: in.CacheSubnetGroupName, SecurityGroups: in.SecurityGroupIds, NoUpgrades: isNot(in.AutoMinorVersionUpgrade)}}
	clusterOn, err := clusterParameters(in.CacheParameterGroupName, in.Engine, in.EngineVersion)
	switch {
	case err != nil:
		return out, err
	case clusterOn:
		return out, parameterCombination("A cache cluster of this engine has no cluster mode: use a replication group.")
	case is(in.TransitEncryptionEnabled), in.AuthToken != "":
		return out, parameterCombination("Encryption feature is not supported for engine %.32s.", strings.ToUpper(in.Engine))
	}
	if cache.Tags, err = cacheTags(in.Tags); err != nil {
		return out, err
	}
	if err := errors.Join(notBlank("Engine", in.Engine), checkOneNode(in.NumCacheNodes), checkSecurityGroups(in.SecurityGroupIds), checkNetwork(in.NetworkType, in.IpDiscovery)); err != nil {
		return out, err
	}
	info, err := c.world.CreateCache(cache)
	return clusterOf(c, info), err
}

func checkOneNode(nodes *int) error {
	if nodes != nil && *nodes != 1 {
		return parameterValue("The number of cache nodes must be 1 for this engine.")
	}
	return nil
}

type modifyCacheClusterRequest struct {
	CacheClusterId          string `aws:",required"`
	NumCacheNodes           *int
	SecurityGroupIds        []string `aws:"SecurityGroupIds.SecurityGroupId"`
	ApplyImmediately        *bool    // all is
	Engine, EngineVersion   string
	CacheNodeType           string
	AutoMinorVersionUpgrade *bool
}

func modifyCacheCluster(c *call, in modifyCacheClusterRequest) (out cacheClusterAnswer, err error) {
	if err := errors.Join(checkOneNode(in.NumCacheNodes), checkSecurityGroups(in.SecurityGroupIds)); err != nil {
		return out, err
	}
	info, err := c.world.ModifyCache(world.CacheCluster, in.CacheClusterId, func(c *world.Cache) error {
		modifyDetails(c, in.CacheNodeType, in.SecurityGroupIds, in.AutoMinorVersionUpgrade)
		return modifyEngine(c, in.Engine, in.EngineVersion)
	})
	return clusterOf(c, info), err
}

type deleteCacheClusterRequest struct {
	CacheClusterId string `aws:",required"`
}

func deleteCacheCluster(c *call, in deleteCacheClusterRequest) (cacheClusterAnswer, error) {
	info, err := c.world.RemoveCache(world.CacheCluster, in.CacheClusterId)
	return clusterOf(c, info), err
}

type describeCacheClustersRequest struct {
	CacheClusterId                          string
	MaxRecords                              *int
	Marker                                  string
	ShowCacheNodeInfo                       bool
	ShowCacheClustersNotInReplicationGroups bool
}

type describeCacheClustersAnswer struct {
	Marker        string
	CacheClusters []cacheCluster `aws:"CacheClusters.CacheCluster"`
}

func describeCacheClusters(c *call, in describeCacheClustersRequest) (out describeCacheClustersAnswer, err error) {
	kinds := []world.Kind{world.CacheCluster}
	if !in.ShowCacheClustersNotInReplicationGroups {
		kinds = append(kinds, world.ReplicationGroup)
	}
	var clusters []cacheCluster
	for _, info := range c.world.DescribeCaches(kinds...) {
		clusters = append(clusters, clustersOf(c, info, in.ShowCacheNodeInfo)...)
	}
	id := func(c cacheCluster) string { return c.CacheClusterId }
	clusters, err = only(clusters, id, strings.ToLower(in.CacheClusterId), missing("CacheClusterNotFound", "CacheCluster", in.CacheClusterId))
	if err != nil {
		return out, err
	}
	out.CacheClusters, out.Marker, err = recordsPage(clusters, id, in.MaxRecords, in.Marker)
	return out, err
}
