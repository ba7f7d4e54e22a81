package awsapi

import (
	"strings"

	"github.com/rediam/rediam/internal/world"
)

type subnetGroupAnswer struct{ SubnetGroup memoryDBSubnetGroup }

type memoryDBSubnetGroup struct {
	Name, Description, VpcId string

	Subnets               []memoryDBSubnet
	ARN                   string
	SupportedNetworkTypes []string
}

type memoryDBSubnet struct {
	Identifier            string
	AvailabilityZone      struct{ Name string }
	SupportedNetworkTypes []string
}

func memoryDBSubnetGroupOf(c *call, g world.SubnetGroup) memoryDBSubnetGroup {
	shown := memoryDBSubnetGroup{Name: g.Name, Description: g.Description, VpcId: c.world.Network().VPC, ARN: c.world.MemoryDBARN("subnetgroup", g.Name), SupportedNetworkTypes: []string{"ipv4"}}
	for _, s := range subnetGroupOf(c, g).Subnets {
		shown.Subnets = append(shown.Subnets, memoryDBSubnet{s.SubnetIdentifier, s.SubnetAvailabilityZone, s.SupportedNetworkTypes})
	}
	return shown
}

type createSubnetGroupRequest struct {
	SubnetGroupName string `aws:",required"`
	Description     string
	SubnetIds       []string `aws:",required"`
	Tags            []cacheTag
}

func createSubnetGroup(c *call, in createSubnetGroupRequest) (out subnetGroupAnswer, err error) {
	g := world.SubnetGroup{Service: world.MemoryDB, Name: in.SubnetGroupName, Description: in.Description, Subnets: in.SubnetIds}
	if g.Tags, err = cacheTags(in.Tags); err != nil {
		return out, err
	}
	g, err = c.world.CreateSubnetGroup(g)
	return subnetGroupAnswer{memoryDBSubnetGroupOf(c, g)}, err
}

type updateSubnetGroupRequest struct {
	SubnetGroupName string `aws:",required"`
	Description     *string
	SubnetIds       []string
}

func updateSubnetGroup(c *call, in updateSubnetGroupRequest) (subnetGroupAnswer, error) {
	g, err := c.world.ModifySubnetGroup(world.MemoryDB, in.SubnetGroupName, func(g *world.SubnetGroup) {
		if in.Description != nil {
			g.Description = *in.Description
		}
		if in.SubnetIds != nil {
			g.Subnets = in.SubnetIds
		}
	})
	return subnetGroupAnswer{memoryDBSubnetGroupOf(c, g)}, err
}

type deleteSubnetGroupRequest struct {
	SubnetGroupName string `aws:",required"`
}

func deleteSubnetGroup(c *call, in deleteSubnetGroupRequest) (out subnetGroupAnswer, err error) {
	g, err := c.world.DeleteSubnetGroup(world.MemoryDB, in.SubnetGroupName)
	return subnetGroupAnswer{memoryDBSubnetGroupOf(c, g)}, err
}

type describeSubnetGroupsRequest struct {
	SubnetGroupName string
	resultsPage     `aws:",inline"`
}

type describeSubnetGroupsAnswer struct {
	NextToken    string
	SubnetGroups []memoryDBSubnetGroup
}

func describeSubnetGroups(c *call, in describeSubnetGroupsRequest) (out describeSubnetGroupsAnswer, err error) {
	name := func(g world.SubnetGroup) string { return g.Name }
	groups, err := only(c.world.SubnetGroups(world.MemoryDB), name, strings.ToLower(in.SubnetGroupName), missing("CacheSubnetGroupNotFoundFault", "Subnet group", in.SubnetGroupName))
	if err != nil {
		return out, err
	}
	groups, out.NextToken, err = cutResults(groups, name, in.resultsPage)
	out.SubnetGroups = []memoryDBSubnetGroup{}
	for _, g := range groups {
		out.SubnetGroups = append(out.SubnetGroups, memoryDBSubnetGroupOf(c, g))
	}
	return out, err
}
