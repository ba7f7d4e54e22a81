package awsapi

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rediam/rediam/internal/world"
)

type replicationGroupAnswer struct{ ReplicationGroup replicationGroup }

type replicationGroup struct {
	ReplicationGroupId, Description, Status string

	PendingModifiedValues      struct{ AuthTokenStatus string }
	MemberClusters             []string    `aws:"MemberClusters.ClusterId"`
	NodeGroups                 []nodeGroup `aws:"NodeGroups.NodeGroup"`
	AutomaticFailover          string
	MultiAZ                    string
	ConfigurationEndpoint      *endpoint
	SnapshotRetentionLimit     int
	ClusterEnabled             bool
	CacheNodeType              string
	AuthTokenEnabled           bool
	AuthTokenLastModifiedDate  time.Time
	TransitEncryptionEnabled   bool
	TransitEncryptionMode      string
	AtRestEncryptionEnabled    bool
	ARN                        string
	UserGroupIds               []string
	ReplicationGroupCreateTime time.Time
	AutoMinorVersionUpgrade    bool
	NetworkType, IpDiscovery   string
	ClusterMode, Engine        string
}

type nodeGroup struct {
	NodeGroupId, Status string

	PrimaryEndpoint  *endpoint
	ReaderEndpoint   *endpoint
	Slots            string
	NodeGroupMembers []nodeGroupMember `aws:"NodeGroupMembers.NodeGroupMember"`
}

type nodeGroupMember struct {
	CacheClusterId, CacheNodeId, PreferredAvailabilityZone, CurrentRole string

	ReadEndpoint *endpoint
}

func replicationGroupOf(c *call, info world.CacheInfo) replicationGroup {
	g := replicationGroup{ReplicationGroupId: info.Name, Description: info.Details.Description, Status: info.Status,
		MemberClusters: memberClusters(info), AutomaticFailover: "disabled", MultiAZ: "disabled", ClusterEnabled: info.ClusterMode(), CacheNodeType: info.Details.NodeType,
		AuthTokenEnabled: len(info.AuthTokens) > 0, TransitEncryptionEnabled: !info.Plaintext, AtRestEncryptionEnabled: info.Details.AtRest,
		ARN: c.world.CacheARN(info.Cache), UserGroupIds: []string{}, ReplicationGroupCreateTime: info.Created, AutoMinorVersionUpgrade: !info.Details.NoUpgrades,
		NetworkType: "ipv4", IpDiscovery: "ipv4", ClusterMode: "disabled", Engine: info.Engine}
	g.PendingModifiedValues.AuthTokenStatus = info.TokensPending
	if g.AuthTokenEnabled {
		g.AuthTokenLastModifiedDate = info.TokensChanged
	}
	if g.TransitEncryptionEnabled {
		g.TransitEncryptionMode = "required"
	}
	if info.Group != "" {
		g.UserGroupIds = []string{info.Group}
	}
	if info.ClusterMode() {
		g.ClusterMode, g.AutomaticFailover = "enabled", "enabled"
		if len(info.Addresses) > 0 {
			g.ConfigurationEndpoint = endpointOf(info.Addresses[0])
		}
	}
	for i, address := range info.Addresses {
		g.NodeGroups = append(g.NodeGroups, nodeGroupOf(c, info, i, address))
	}
	return g
}

// nodeGroupOf is one shard. A replica is nowhere: the primary is its own reader.
func nodeGroupOf(c *call, info world.CacheInfo, i int, address string) nodeGroup {
	g := nodeGroup{NodeGroupId: fmt.Sprintf("%04d", i+1), Status: info.Status}
	member := nodeGroupMember{CacheClusterId: memberClusters(info)[i], CacheNodeId: "0001", PreferredAvailabilityZone: c.world.Region + "a"}
	if info.ClusterMode() {
		g.Slots = slotsOf(info, i)
	} else {
		member.CurrentRole = "primary"
		g.PrimaryEndpoint, g.ReaderEndpoint, member.ReadEndpoint = endpointOf(address), endpointOf(address), endpointOf(address)
	}
	g.NodeGroupMembers = []nodeGroupMember{member}
	return g
}

// slotsOf are the slots of a shard.
func slotsOf(info world.CacheInfo, i int) string {
	const slots = 16384
	return fmt.Sprintf("%d-%d", i*slots/info.Nodes, (i+1)*slots/info.Nodes-1)
}

// memberClusters are the cache clusters that a replication group consists of: one for each
// shard, since there are no replicas.
func memberClusters(info world.CacheInfo) (names []string) {
	if !info.ClusterMode() {
		return []string{info.Name + "-001"}
	}
	for i := range info.Nodes {
		names = append(names, fmt.Sprintf("%s-%04d-001", info.Name, i+1))
	}
	return names
}

type createReplicationGroupRequest struct {
	ReplicationGroupId          string `aws:",required"`
	ReplicationGroupDescription string `aws:",required"`
	AutomaticFailoverEnabled    *bool
	MultiAZEnabled              *bool
	NumCacheClusters            *int
	NumNodeGroups               *int
	ReplicasPerNodeGroup        *int
	Engine, EngineVersion       string
	CacheNodeType               string
	CacheParameterGroupName     string
	CacheSubnetGroupName        string
	SecurityGroupIds            []string   `aws:"SecurityGroupIds.SecurityGroupId"`
	Tags                        []cacheTag `aws:"Tags.Tag"`
	AutoMinorVersionUpgrade     *bool
	AuthToken                   string
	TransitEncryptionEnabled    *bool
	TransitEncryptionMode       string
	AtRestEncryptionEnabled     *bool
	UserGroupIds                []string
	ClusterMode                 string
	NetworkType, IpDiscovery    string
}

func createReplicationGroup(c *call, in createReplicationGroupRequest) (out replicationGroupAnswer, err error) {
	cache := world.Cache{Kind: world.ReplicationGroup, Name: in.ReplicationGroupId, Engine: in.Engine, Version: in.EngineVersion, Plaintext: !is(in.TransitEncryptionEnabled),
		Details: world.Details{Description: in.ReplicationGroupDescription, NodeType: in.CacheNodeType, SubnetGroup: in.CacheSubnetGroupName, SecurityGroups: in.SecurityGroupIds,
			AtRest: is(in.AtRestEncryptionEnabled), NoUpgrades: isNot(in.AutoMinorVersionUpgrade)}}
	if cache.Nodes, err = in.nodes(); err != nil {
		return out, err
	}
	if cache.Tags, err = cacheTags(in.Tags); err != nil {
		return out, err
	}
	switch {
	case len(in.UserGroupIds) > 1:
		return out, errOneGroup
	case len(in.UserGroupIds) == 1:
		cache.Group = in.UserGroupIds[0]
	}
	if in.AuthToken != "" {
		cache.AuthTokens = []world.Secret{world.Secret(in.AuthToken)}
	}
	if err := errors.Join(checkSecurityGroups(in.SecurityGroupIds), checkNetwork(in.NetworkType, in.IpDiscovery)); err != nil {
		return out, err
	}
	switch {
	case in.TransitEncryptionMode != "" && cache.Plaintext:
		return out, parameterCombination("TransitEncryptionMode needs TransitEncryptionEnabled.")
	case in.TransitEncryptionMode != "" && in.TransitEncryptionMode != "required":
		return out, parameterValue("the emulator has TransitEncryptionMode required only")
	}
	info, err := c.world.CreateCache(cache)
	return replicationGroupAnswer{replicationGroupOf(c, info)}, err
}

var errOneGroup = parameterCombination("A cache has one user group at most.")

// nodes is how many shards the request asks for; none without cluster mode. AWS
// enables that by the parameter group, by ClusterMode, or for more than one shard.
func (in createReplicationGroupRequest) nodes() (int, error) {
	shards := 1
	if in.NumNodeGroups != nil {
		shards = *in.NumNodeGroups
	}
	clusterOn, err := clusterParameters(in.CacheParameterGroupName, in.Engine, in.EngineVersion)
	cluster := clusterOn || in.ClusterMode == "enabled" || shards > 1
	switch {
	case err != nil:
		return 0, err
	case shards < 1:
		return 0, parameterValue("NumNodeGroups must be at least 1")
	case in.NumCacheClusters != nil && *in.NumCacheClusters != 1, in.ReplicasPerNodeGroup != nil && *in.ReplicasPerNodeGroup != 0:
		return 0, parameterValue("the emulator has no replicas: NumCacheClusters must be 1, ReplicasPerNodeGroup 0")
	case !slices.Contains([]string{"", "enabled", "disabled"}, in.ClusterMode):
		return 0, parameterValue("the emulator has ClusterMode enabled and disabled only")
	case in.ClusterMode == "disabled" && cluster:
		return 0, parameterCombination("ClusterMode disabled allows one node group and no parameter group for clusters.")
	case cluster && isNot(in.AutomaticFailoverEnabled):
		return 0, parameterCombination("Redis with cluster mode enabled cannot be created with auto failover turned off.")
	case cluster && in.NumCacheClusters != nil:
		return 0, parameterCombination("NumCacheClusters is for replication groups without cluster mode.")
	case !cluster && is(in.AutomaticFailoverEnabled), is(in.MultiAZEnabled):
		return 0, errFailover
	case cluster:
		return shards, nil
	}
	return 0, nil
}

var errFailover = parameterCombination("When using automatic failover, there must be at least 2 cache clusters in the replication group.")

// clusterParameters tells whether a parameter group, of which there are AWS's own
// only, is one for cluster mode. It must be of the family of the cache's version
// (hashicorp/terraform#11269 has AWS's words).
func clusterParameters(name, engine, version string) (bool, error) {
	if name == "" {
		return false, nil
	}
	base, cluster := strings.CutSuffix(name, ".cluster.on")
	family, own := strings.CutPrefix(base, "default.")
	if !own || !slices.ContainsFunc(world.EngineVersions(world.ElastiCache), func(v world.EngineVersion) bool { return v.Family == family }) {
		return false, missing("CacheParameterGroupNotFound", "CacheParameterGroup", name)
	}
	engine = strings.ToLower(cmp.Or(engine, "redis"))
	version, err := world.FindVersion(world.ElastiCache, engine, version)
	if used := (world.Cache{Engine: engine, Version: version}).Family(); err == nil && used != family {
		err = parameterCombination("Expected a parameter group of family %s but found one of family %s", used, family)
	}
	return cluster, err
}

// checkSecurityGroups refuses what is no id of a security group, of which any may be.
func checkSecurityGroups(ids []string) error {
	for _, id := range ids {
		if !strings.HasPrefix(id, "sg-") {
			return parameterValue("%.64s is not the id of a security group", id)
		}
	}
	return nil
}

func checkNetwork(networkType, discovery string) error {
	if networkType != "" && networkType != "ipv4" || discovery != "" && discovery != "ipv4" {
		return parameterValue("the emulator has ipv4 only")
	}
	return nil
}

// is and isNot are about members that may be missing.
func is(b *bool) bool    { return b != nil && *b }
func isNot(b *bool) bool { return b != nil && !*b }

type modifyReplicationGroupRequest struct {
	ReplicationGroupId          string `aws:",required"`
	ReplicationGroupDescription *string
	AutomaticFailoverEnabled    *bool
	MultiAZEnabled              *bool
	SecurityGroupIds            []string `aws:"SecurityGroupIds.SecurityGroupId"`
	ApplyImmediately            *bool    // all is
	Engine, EngineVersion       string
	CacheNodeType               string
	AutoMinorVersionUpgrade     *bool
	AuthToken                   string
	AuthTokenUpdateStrategy     string
	UserGroupIdsToAdd           []string
	UserGroupIdsToRemove        []string
	RemoveUserGroups            *bool
}

func modifyReplicationGroup(c *call, in modifyReplicationGroupRequest) (out replicationGroupAnswer, err error) {
	if err := checkSecurityGroups(in.SecurityGroupIds); err != nil {
		return out, err
	}
	info, err := c.world.ModifyCache(world.ReplicationGroup, in.ReplicationGroupId, in.apply)
	return replicationGroupAnswer{replicationGroupOf(c, info)}, err
}

func (in modifyReplicationGroupRequest) apply(c *world.Cache) error {
	switch {
	case c.ClusterMode() && isNot(in.AutomaticFailoverEnabled):
		return parameterCombination("Turning off automatic failover for replication group with cluster mode enabled is not supported.")
	case !c.ClusterMode() && is(in.AutomaticFailoverEnabled), is(in.MultiAZEnabled):
		return errFailover
	}
	if in.ReplicationGroupDescription != nil {
		c.Details.Description = *in.ReplicationGroupDescription
	}
	modifyDetails(c, in.CacheNodeType, in.SecurityGroupIds, in.AutoMinorVersionUpgrade)
	if err := modifyEngine(c, in.Engine, in.EngineVersion); err != nil {
		return err
	}
	had := c.Group
	if err := in.changeGroup(c); err != nil {
		return err
	}
	if in.AuthToken == "" && in.AuthTokenUpdateStrategy == "" {
		return nil
	}
	return c.UpdateToken(cmp.Or(in.AuthTokenUpdateStrategy, "ROTATE"), world.Secret(in.AuthToken), had != "" && c.Group == "")
}

// changeGroup takes the user group away and gives the cache another.
func (in modifyReplicationGroupRequest) changeGroup(c *world.Cache) error {
	for _, id := range in.UserGroupIdsToRemove {
		if strings.ToLower(id) != c.Group {
			return parameterValue("User group %.64s is not associated with %s.", id, c.Name)
		}
		c.Group = ""
	}
	if is(in.RemoveUserGroups) {
		c.Group = ""
	}
	for _, id := range in.UserGroupIdsToAdd {
		if c.Group != "" {
			return errOneGroup
		}
		c.Group = strings.ToLower(id)
	}
	return nil
}

func modifyDetails(c *world.Cache, nodeType string, securityGroups []string, upgrades *bool) {
	c.Details.NodeType = cmp.Or(nodeType, c.Details.NodeType)
	if securityGroups != nil {
		c.Details.SecurityGroups = securityGroups
	}
	if upgrades != nil {
		c.Details.NoUpgrades = !*upgrades
	}
}

// modifyEngine asks for another version, or for Valkey in place of Redis OSS, which
// needs a version too.
func modifyEngine(c *world.Cache, engine, version string) error {
	if engine != "" && strings.ToLower(engine) != c.Engine && version == "" {
		return parameterCombination("Engine can be changed together with EngineVersion only.")
	}
	c.Engine, c.Version = strings.ToLower(cmp.Or(engine, c.Engine)), cmp.Or(version, c.Version)
	return nil
}

type deleteReplicationGroupRequest struct {
	ReplicationGroupId   string `aws:",required"`
	RetainPrimaryCluster *bool
}

func deleteReplicationGroup(c *call, in deleteReplicationGroupRequest) (out replicationGroupAnswer, err error) {
	if is(in.RetainPrimaryCluster) {
		return out, parameterCombination("the emulator does not retain the primary cluster")
	}
	info, err := c.world.RemoveCache(world.ReplicationGroup, in.ReplicationGroupId)
	return replicationGroupAnswer{replicationGroupOf(c, info)}, err
}

type describeReplicationGroupsRequest struct {
	ReplicationGroupId string
	MaxRecords         *int
	Marker             string
}

type describeReplicationGroupsAnswer struct {
	Marker            string
	ReplicationGroups []replicationGroup `aws:"ReplicationGroups.ReplicationGroup"`
}

func describeReplicationGroups(c *call, in describeReplicationGroupsRequest) (out describeReplicationGroupsAnswer, err error) {
	groups, err := only(c.world.DescribeCaches(world.ReplicationGroup), cacheName, strings.ToLower(in.ReplicationGroupId),
		missing("ReplicationGroupNotFoundFault", "ReplicationGroup", in.ReplicationGroupId))
	if err != nil {
		return out, err
	}
	groups, out.Marker, err = recordsPage(groups, cacheName, in.MaxRecords, in.Marker)
	out.ReplicationGroups = []replicationGroup{}
	for _, g := range groups {
		out.ReplicationGroups = append(out.ReplicationGroups, replicationGroupOf(c, g))
	}
	return out, err
}

func cacheName(c world.CacheInfo) string { return c.Name }
