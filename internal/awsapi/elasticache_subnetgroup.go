package awsapi

import (
	"strings"

	"github.com/rediam/rediam/internal/world"
)

type subnet struct {
	SubnetIdentifier       string
	SubnetAvailabilityZone struct{ Name string }
	SupportedNetworkTypes  []string
}

type cacheSubnetGroup struct {
	CacheSubnetGroupName, CacheSubnetGroupDescription, VpcId string

	Subnets               []subnet `aws:"Subnets.Subnet"`
	ARN                   string
	SupportedNetworkTypes []string
}

type cacheSubnetGroupAnswer struct{ CacheSubnetGroup cacheSubnetGroup }

// subnetGroupOf spreads the subnets over three zones.
func subnetGroupOf(c *call, g world.SubnetGroup) cacheSubnetGroup {
	answer := cacheSubnetGroup{CacheSubnetGroupName: g.Name, CacheSubnetGroupDescription: g.Description, VpcId: c.world.Network().VPC,
		ARN: c.world.ElastiCacheARN("subnetgroup", g.Name), SupportedNetworkTypes: []string{"ipv4"}}
	for i, id := range g.Subnets {
		s := subnet{SubnetIdentifier: id, SupportedNetworkTypes: []string{"ipv4"}}
		s.SubnetAvailabilityZone.Name = c.world.Region + string("abc"[i%3])
		answer.Subnets = append(answer.Subnets, s)
	}
	return answer
}

type createCacheSubnetGroupRequest struct {
	CacheSubnetGroupName        string     `aws:",required"`
	CacheSubnetGroupDescription string     `aws:",required"`
	SubnetIds                   []string   `aws:"SubnetIds.SubnetIdentifier,required"`
	Tags                        []cacheTag `aws:"Tags.Tag"`
}

func createCacheSubnetGroup(c *call, in createCacheSubnetGroupRequest) (out cacheSubnetGroupAnswer, err error) {
	g := world.SubnetGroup{Name: in.CacheSubnetGroupName, Description: in.CacheSubnetGroupDescription, Subnets: in.SubnetIds}
	if g.Tags, err = cacheTags(in.Tags); err != nil {
		return out, err
	}
	g, err = c.world.CreateSubnetGroup(g)
	return cacheSubnetGroupAnswer{subnetGroupOf(c, g)}, err
}

type modifyCacheSubnetGroupRequest struct {
	CacheSubnetGroupName        string `aws:",required"`
	CacheSubnetGroupDescription string
	SubnetIds                   []string `aws:"SubnetIds.SubnetIdentifier"`
}

func modifyCacheSubnetGroup(c *call, in modifyCacheSubnetGroupRequest) (cacheSubnetGroupAnswer, error) {
	g, err := c.world.ModifySubnetGroup(world.ElastiCache, in.CacheSubnetGroupName, func(g *world.SubnetGroup) {
		if in.CacheSubnetGroupDescription != "" {
			g.Description = in.CacheSubnetGroupDescription
		}
		if in.SubnetIds != nil {
			g.Subnets = in.SubnetIds
		}
	})
	return cacheSubnetGroupAnswer{subnetGroupOf(c, g)}, err
}

type deleteCacheSubnetGroupRequest struct {
	CacheSubnetGroupName string `aws:",required"`
}

func deleteCacheSubnetGroup(c *call, in deleteCacheSubnetGroupRequest) (none, error) {
	_, err := c.world.DeleteSubnetGroup(world.ElastiCache, in.CacheSubnetGroupName)
	return none{}, err
}

type describeCacheSubnetGroupsRequest struct {
	CacheSubnetGroupName string
	MaxRecords           *int
	Marker               string
}

type describeCacheSubnetGroupsAnswer struct {
	Marker            string
	CacheSubnetGroups []cacheSubnetGroup `aws:"CacheSubnetGroups.CacheSubnetGroup"`
}

func describeCacheSubnetGroups(c *call, in describeCacheSubnetGroupsRequest) (out describeCacheSubnetGroupsAnswer, err error) {
	name := func(g world.SubnetGroup) string { return g.Name }
	groups, err := only(c.world.SubnetGroups(world.ElastiCache), name, strings.ToLower(in.CacheSubnetGroupName),
		missing("CacheSubnetGroupNotFoundFault", "Cache subnet group", in.CacheSubnetGroupName))
	if err != nil {
		return out, err
	}
	groups, out.Marker, err = recordsPage(groups, name, in.MaxRecords, in.Marker)
	out.CacheSubnetGroups = []cacheSubnetGroup{}
	for _, g := range groups {
		out.CacheSubnetGroups = append(out.CacheSubnetGroups, subnetGroupOf(c, g))
	}
	return out, err
}
