package awsapi

import (
	"slices"
	"strings"

	"github.com/rediam/rediam/internal/world"
)

// There is one default VPC with a subnet and a security group, for what looks them up.

// ofOne is what requests for lists of one have in common.
type ofOne struct {
	dryRun     `aws:",inline"`
	MaxResults *int
	Filters    []ec2Filter `aws:"Filter,flat"`
}

type describeVPCsRequest struct {
	ofOne  `aws:",inline"`
	VpcIds []string `aws:"VpcId,flat"`
}

type shownVPC struct {
	VPCID     string `aws:"vpcId"`
	OwnerID   string `aws:"ownerId"`
	State     string `aws:"state"`
	CIDR      string `aws:"cidrBlock"`
	Tenancy   string `aws:"instanceTenancy"`
	IsDefault bool   `aws:"isDefault"`
}

type vpcs struct {
	VPCs []shownVPC `aws:"vpcSet.item"`
}

func describeVPCs(c *call, in describeVPCsRequest) (out vpcs, err error) {
	v := shownVPC{c.world.Network().VPC, c.world.Account, "available", world.VPCAddresses, "default", true}
	out.VPCs, err = theOne(in.ofOne, v, in.VpcIds, v.VPCID, "InvalidVpcID.NotFound", "The vpc ID '%' does not exist", map[string]string{
		"vpc-id": v.VPCID, "owner-id": v.OwnerID, "state": v.State, "cidr": v.CIDR, "cidr-block": v.CIDR, "is-default": "true", "isDefault": "true"})
	return out, err
}

type describeSubnetsRequest struct {
	ofOne     `aws:",inline"`
	SubnetIds []string `aws:"SubnetId,flat"`
}

type shownSubnet struct {
	SubnetID  string `aws:"subnetId"`
	ARN       string `aws:"subnetArn"`
	VPCID     string `aws:"vpcId"`
	OwnerID   string `aws:"ownerId"`
	State     string `aws:"state"`
	CIDR      string `aws:"cidrBlock"`
	Zone      string `aws:"availabilityZone"`
	Free      int    `aws:"availableIpAddressCount"`
	IsDefault bool   `aws:"defaultForAz"`
	Public    bool   `aws:"mapPublicIpOnLaunch"`
}

type subnets struct {
	Subnets []shownSubnet `aws:"subnetSet.item"`
}

func describeSubnets(c *call, in describeSubnetsRequest) (out subnets, err error) {
	here := c.world.Network()
	const addresses = 4091 // of a /20, less those that AWS keeps
	free := addresses
	for _, i := range c.world.Instances() {
		if i.State != world.Terminated {
			free--
		}
	}
	s := shownSubnet{here.Subnet, c.world.EC2ARN("subnet/" + here.Subnet), here.VPC, c.world.Account, "available", world.SubnetAddresses, here.Zone, free, true, false}
	out.Subnets, err = theOne(in.ofOne, s, in.SubnetIds, s.SubnetID, "InvalidSubnetID.NotFound", "The subnet ID '%' does not exist", map[string]string{
		"subnet-id": s.SubnetID, "vpc-id": s.VPCID, "owner-id": s.OwnerID, "state": s.State, "cidr-block": s.CIDR,
		"availability-zone": s.Zone, "availabilityZone": s.Zone, "default-for-az": "true", "defaultForAz": "true", "map-public-ip-on-launch": "false"})
	return out, err
}

type describeGroupsRequest struct {
	ofOne      `aws:",inline"`
	GroupIds   []string `aws:"GroupId,flat"`
	GroupNames []string `aws:"GroupName,flat"`
}

type shownSecurityGroup struct {
	OwnerID     string `aws:"ownerId"`
	GroupID     string `aws:"groupId"`
	Name        string `aws:"groupName"`
	Description string `aws:"groupDescription"`
	VPCID       string `aws:"vpcId"`
	In          []none `aws:"ipPermissions.item"`
	Out         []none `aws:"ipPermissionsEgress.item"`
}

type securityGroups struct {
	Groups []shownSecurityGroup `aws:"securityGroupInfo.item"`
}

// describeGroups shows no rules: nothing is filtered here.
func describeGroups(c *call, in describeGroupsRequest) (out securityGroups, err error) {
	here := c.world.Network()
	g := shownSecurityGroup{c.world.Account, here.Group, "default", "default VPC security group", here.VPC, []none{}, []none{}}
	if i := slices.IndexFunc(in.GroupNames, func(name string) bool { return name != g.Name }); i >= 0 {
		return out, &world.Error{Code: "InvalidGroup.NotFound", Message: "The security group '" + in.GroupNames[i] + "' does not exist"}
	}
	out.Groups, err = theOne(in.ofOne, g, in.GroupIds, g.GroupID, "InvalidGroup.NotFound", "The security group '%' does not exist", map[string]string{
		"group-id": g.GroupID, "group-name": g.Name, "vpc-id": g.VPCID, "owner-id": g.OwnerID, "description": g.Description})
	return out, err
}

// theOne is a list of the only one there is, or of none if the filters say so. Ids
// other than its own are an error.
func theOne[V any](in ofOne, it V, ids []string, id, code, message string, values map[string]string) ([]V, error) {
	if err := in.end(); err != nil {
		return nil, err
	}
	for _, other := range ids {
		if other != id {
			return nil, &world.Error{Code: code, Message: strings.ReplaceAll(message, "%", other)}
		}
	}
	all, err := chosen([]V{it}, in.Filters, func(_ V, name string) []string {
		if v, ok := values[name]; ok {
			return []string{v}
		}
		return tagValues(name, nil)
	})
	return append([]V{}, all...), err
}
