package awsapi

import (
	"cmp"
	"slices"
	"time"

	"github.com/rediam/rediam/internal/world"
)

// profileAssociation hands an instance profile to an instance.
type profileAssociation struct {
	AssociationID string       `aws:"associationId"`
	InstanceID    string       `aws:"instanceId"`
	Profile       shownProfile `aws:"iamInstanceProfile"`
	State         string       `aws:"state"`
	Timestamp     time.Time    `aws:"timestamp"`
}

type associationResult struct {
	Association profileAssociation `aws:"iamInstanceProfileAssociation"`
}

func shownAssociation(instance string, a world.Association, state string) profileAssociation {
	return profileAssociation{a.ID, instance, shownProfile{a.ARN, a.ProfileID}, state, a.Since}
}

type associateRequest struct {
	IamInstanceProfile profileMember
	InstanceId         string `aws:",required"`
}

func onInstance(c *call, in associateRequest) []string {
	return []string{c.world.EC2ARN("instance/" + in.InstanceId)}
}

func associateProfile(c *call, in associateRequest) (out associationResult, err error) {
	name, err := in.IamInstanceProfile.handed(c)
	if err != nil {
		return out, err
	}
	a, err := c.world.Associate(in.InstanceId, name)
	return associationResult{shownAssociation(in.InstanceId, a, "associating")}, err
}

type disassociateRequest struct {
	AssociationId string `aws:",required"`
}

// onAssociation is the instance that an association is of.
func onAssociation(c *call, in disassociateRequest) []string {
	i, err := c.world.InstanceOf(in.AssociationId)
	if err != nil {
		return []string{c.world.EC2ARN("instance/*")}
	}
	return []string{c.world.EC2ARN("instance/" + i.ID)}
}

func disassociateProfile(c *call, in disassociateRequest) (associationResult, error) {
	i, a, err := c.world.Reassociate(in.AssociationId, "")
	return associationResult{shownAssociation(i.ID, a, "disassociating")}, err
}

type replaceRequest struct {
	IamInstanceProfile profileMember
	AssociationId      string `aws:",required"`
}

func onReplaced(c *call, in replaceRequest) []string {
	return onAssociation(c, disassociateRequest{in.AssociationId})
}

func replaceProfile(c *call, in replaceRequest) (out associationResult, err error) {
	name, err := in.IamInstanceProfile.handed(c)
	if err != nil {
		return out, err
	}
	i, a, err := c.world.Reassociate(in.AssociationId, name)
	return associationResult{shownAssociation(i.ID, a, "associating")}, err
}

type describeAssociationsRequest struct {
	ec2Span        `aws:",inline"`
	AssociationIds []string    `aws:"AssociationId,flat"`
	Filters        []ec2Filter `aws:"Filter,flat"`
}

type associations struct {
	Associations []profileAssociation `aws:"iamInstanceProfileAssociationSet.item"`
	NextToken    string               `aws:"nextToken"`
}

func describeAssociations(c *call, in describeAssociationsRequest) (out associations, err error) {
	var list []profileAssociation
	for _, i := range c.world.Instances() {
		if i.Association.ID != "" && (len(in.AssociationIds) == 0 || slices.Contains(in.AssociationIds, i.Association.ID)) {
			list = append(list, shownAssociation(i.ID, i.Association, "associated"))
		}
	}
	list, err = chosen(list, in.Filters, func(a profileAssociation, name string) []string {
		switch name {
		case "instance-id":
			return []string{a.InstanceID}
		case "state":
			return []string{"associated"}
		}
		return nil
	})
	if err != nil {
		return out, err
	}
	slices.SortFunc(list, func(a, b profileAssociation) int { return cmp.Compare(a.AssociationID, b.AssociationID) })
	list, out.NextToken, err = ec2Window(in.ec2Span, 5, list, func(a profileAssociation) string { return a.AssociationID })
	out.Associations = append([]profileAssociation{}, list...)
	return out, err
}
