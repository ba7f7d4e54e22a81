package awsapi

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rediam/rediam/internal/world"
)

type clusterAnswer struct{ Cluster cluster }

type cluster struct {
	Name, Description, Status string

	NumberOfShards           int
	Shards                   []shard
	AvailabilityMode         string
	ClusterEndpoint          *endpoint
	NodeType, Engine         string
	EngineVersion            string
	EnginePatchVersion       string
	ParameterGroupName       string
	ParameterGroupStatus     string
	SecurityGroups           []securityGroupMembership
	SubnetGroupName          string
	TLSEnabled               bool
	ARN                      string
	SnapshotRetentionLimit   int
	ACLName                  string
	AutoMinorVersionUpgrade  bool
	DataTiering              string
	NetworkType, IpDiscovery string
}

type shard struct {
	Name, Status, Slots string

	Nodes         []clusterNode
	NumberOfNodes int
}

type clusterNode struct {
	Name, Status, AvailabilityZone string

	CreateTime time.Time
	Endpoint   *endpoint
}

type securityGroupMembership struct{ SecurityGroupId, Status string }

func memoryDBClusterOf(c *call, info world.CacheInfo) cluster {
	shown := cluster{Name: info.Name, Description: info.Details.Description, Status: info.Status, NumberOfShards: info.Nodes, AvailabilityMode: "singleaz",
		NodeType: info.Details.NodeType, Engine: info.Engine, EngineVersion: info.Version, EnginePatchVersion: patchVersions[info.Version],
		ParameterGroupName: parametersOf(info.Cache), ParameterGroupStatus: "in-sync", SubnetGroupName: info.Details.SubnetGroup, TLSEnabled: !info.Plaintext,
		ARN: c.world.CacheARN(info.Cache), ACLName: info.Group, AutoMinorVersionUpgrade: !info.Details.NoUpgrades, DataTiering: "false", NetworkType: "ipv4", IpDiscovery: "ipv4"}
	for _, id := range info.Details.SecurityGroups {
		shown.SecurityGroups = append(shown.SecurityGroups, securityGroupMembership{id, "active"})
	}
	if len(info.Addresses) > 0 {
		shown.ClusterEndpoint = endpointOf(info.Addresses[0])
	}
	return shown
}

// parametersOf names the parameter group of a cluster, which is AWS's own: for
// memorydb_redis7, default.memorydb-redis7.
func parametersOf(c world.Cache) string {
	return "default." + strings.Replace(c.Family(), "_", "-", 1)
}

// shardsOf are the shards of a cluster, each of one node.
func shardsOf(c *call, info world.CacheInfo) (all []shard) {
	for i, address := range info.Addresses {
		name := fmt.Sprintf("%04d", i+1)
		all = append(all, shard{Name: name, Status: info.Status, Slots: slotsOf(info, i), NumberOfNodes: 1, Nodes: []clusterNode{
			{Name: info.Name + "-" + name + "-001", Status: info.Status, AvailabilityZone: c.world.Region + "a", CreateTime: info.Created, Endpoint: endpointOf(address)}}})
	}
	return all
}

type createClusterRequest struct {
	ClusterName              string `aws:",required"`
	NodeType                 string `aws:",required"`
	ParameterGroupName       string
	Description              string
	NumShards                *int
	NumReplicasPerShard      *int
	SubnetGroupName          string
	SecurityGroupIds         []string
	TLSEnabled               *bool
	Tags                     []cacheTag
	ACLName                  string `aws:",required"`
	Engine, EngineVersion    string
	AutoMinorVersionUpgrade  *bool
	NetworkType, IpDiscovery string
}

func createCluster(c *call, in createClusterRequest) (out clusterAnswer, err error) {
	made := world.Cache{Kind: world.Cluster, Name: in.ClusterName, Engine: in.Engine, Version: in.EngineVersion, Group: in.ACLName, Nodes: 1, Plaintext: isNot(in.TLSEnabled),
		Details: world.Details{Description: in.Description, NodeType: in.NodeType, SubnetGroup: in.SubnetGroupName, SecurityGroups: in.SecurityGroupIds, NoUpgrades: isNot(in.AutoMinorVersionUpgrade)}}
	if in.NumShards != nil {
		made.Nodes = *in.NumShards
	}
	switch {
	case made.Nodes < 1:
		return out, parameterValue("NumShards must be at least 1")
	case in.NumReplicasPerShard != nil && *in.NumReplicasPerShard != 0:
		return out, parameterValue("the emulator has no replicas: NumReplicasPerShard must be 0")
	}
	if made.Tags, err = cacheTags(in.Tags); err != nil {
		return out, err
	}
	if err := errors.Join(notBlank("ClusterName", in.ClusterName, "NodeType", in.NodeType, "ACLName", in.ACLName), checkSecurityGroups(in.SecurityGroupIds), checkNetwork(in.NetworkType, in.IpDiscovery)); err != nil {
		return out, err
	}
	if in.ParameterGroupName != "" && !memoryDBParameters(in.ParameterGroupName) {
		return out, missing("CacheParameterGroupNotFound", "ParameterGroup", in.ParameterGroupName)
	}
	info, err := c.world.CreateCache(made)
	return clusterAnswer{memoryDBClusterOf(c, info)}, err
}

// memoryDBParameters is whether a parameter group exists, of which there are AWS's own
// only.
func memoryDBParameters(name string) bool {
	for _, v := range world.EngineVersions(world.MemoryDB) {
		if parametersOf(world.Cache{Kind: world.Cluster, Engine: v.Engine, Version: v.Version}) == name {
			return true
		}
	}
	return false
}

type updateClusterRequest struct {
	ClusterName           string `aws:",required"`
	Description           *string
	SecurityGroupIds      []string
	NodeType              string
	Engine, EngineVersion string
	ACLName               string
}

func updateCluster(c *call, in updateClusterRequest) (out clusterAnswer, err error) {
	if err := checkSecurityGroups(in.SecurityGroupIds); err != nil {
		return out, err
	}
	info, err := c.world.ModifyCache(world.Cluster, in.ClusterName, func(c *world.Cache) error {
		if in.Description != nil {
			c.Details.Description = *in.Description
		}
		if in.ACLName != "" {
			c.Group = in.ACLName
		}
		modifyDetails(c, in.NodeType, in.SecurityGroupIds, nil)
		return modifyEngine(c, in.Engine, in.EngineVersion)
	})
	return clusterAnswer{memoryDBClusterOf(c, info)}, err
}

type deleteClusterRequest struct {
	ClusterName string `aws:",required"`
}

func deleteCluster(c *call, in deleteClusterRequest) (clusterAnswer, error) {
	info, err := c.world.RemoveCache(world.Cluster, in.ClusterName)
	return clusterAnswer{memoryDBClusterOf(c, info)}, err
}

type describeClustersRequest struct {
	ClusterName      string
	ShowShardDetails bool
	resultsPage      `aws:",inline"`
}

type describeClustersAnswer struct {
	NextToken string
	Clusters  []cluster
}

func describeClusters(c *call, in describeClustersRequest) (out describeClustersAnswer, err error) {
	all, err := only(c.world.DescribeCaches(world.Cluster), cacheName, strings.ToLower(in.ClusterName), missing("ClusterNotFoundFault", "Cluster", in.ClusterName))
	if err != nil {
		return out, err
	}
	all, out.NextToken, err = cutResults(all, cacheName, in.resultsPage)
	out.Clusters = []cluster{}
	for _, info := range all {
		shown := memoryDBClusterOf(c, info)
		if in.ShowShardDetails {
			shown.Shards = shardsOf(c, info)
		}
		out.Clusters = append(out.Clusters, shown)
	}
	return out, err
}
