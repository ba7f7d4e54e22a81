package main

import (
	"context"
	"errors"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
)

var notThere = map[string]bool{"NoSuchEntity": true, "UserNotFound": true, "UserGroupNotFound": true, "ReplicationGroupNotFoundFault": true, "CacheSubnetGroupNotFoundFault": true}

// readers read what there is of one thing.
var readers = map[string]func(ctx context.Context, a api, name string, fact func(detail, value string)) error{
	"iam-user": func(ctx context.Context, a api, name string, fact func(string, string)) error {
		u, err := a.iam.GetUser(ctx, &iam.GetUserInput{UserName: &name})
		if err != nil {
			return err
		}
		keys, err1 := a.iam.ListAccessKeys(ctx, &iam.ListAccessKeysInput{UserName: &name})
		attached, err2 := a.iam.ListAttachedUserPolicies(ctx, &iam.ListAttachedUserPoliciesInput{UserName: &name})
		inline, err3 := a.iam.ListUserPolicies(ctx, &iam.ListUserPoliciesInput{UserName: &name})
		if err := errors.Join(err1, err2, err3); err != nil {
			return err
		}
		fact("", str(u.User.Path))
		iamTags(u.User.Tags, fact)
		fact("keys", strconv.Itoa(len(keys.AccessKeyMetadata)))
		for _, p := range attached.AttachedPolicies {
			fact("attached", str(p.PolicyArn))
		}
		for _, p := range inline.PolicyNames {
			fact("inline", p)
		}
		return nil
	},
	"role": func(ctx context.Context, a api, name string, fact func(string, string)) error {
		r, err := a.iam.GetRole(ctx, &iam.GetRoleInput{RoleName: &name})
		if err != nil {
			return err
		}
		attached, err := a.iam.ListAttachedRolePolicies(ctx, &iam.ListAttachedRolePoliciesInput{RoleName: &name})
		if err != nil {
			return err
		}
		fact("", "is there")
		fact("described", str(r.Role.Description))
		iamTags(r.Role.Tags, fact)
		for _, p := range attached.AttachedPolicies {
			fact("attached", str(p.PolicyArn))
		}
		return nil
	},
	"policy": func(ctx context.Context, a api, name string, fact func(string, string)) error {
		versions, err := a.iam.ListPolicyVersions(ctx, &iam.ListPolicyVersionsInput{PolicyArn: policyARN(name)})
		if err != nil {
			return err
		}
		fact("", "is there")
		for _, v := range versions.Versions {
			fact(str(v.VersionId), strconv.FormatBool(v.IsDefaultVersion))
		}
		return nil
	},
	"profile": func(ctx context.Context, a api, name string, fact func(string, string)) error {
		p, err := a.iam.GetInstanceProfile(ctx, &iam.GetInstanceProfileInput{InstanceProfileName: &name})
		if err != nil {
			return err
		}
		fact("", "is there")
		for _, r := range p.InstanceProfile.Roles {
			fact("role", str(r.RoleName))
		}
		return nil
	},
	"cache-user": func(ctx context.Context, a api, name string, fact func(string, string)) error {
		found, err := a.cache.DescribeUsers(ctx, &elasticache.DescribeUsersInput{UserId: &name})
		if err != nil {
			return err
		}
		u := found.Users[0]
		tags, err := a.cache.ListTagsForResource(ctx, &elasticache.ListTagsForResourceInput{ResourceName: u.ARN})
		if err != nil {
			return err
		}
		fact("", str(u.AccessString))
		for _, tag := range tags.TagList {
			fact(str(tag.Key), str(tag.Value))
		}
		return nil
	},
	"user-group": func(ctx context.Context, a api, name string, fact func(string, string)) error {
		found, err := a.cache.DescribeUserGroups(ctx, &elasticache.DescribeUserGroupsInput{UserGroupId: &name})
		if err != nil {
			return err
		}
		fact("", str(found.UserGroups[0].Engine))
		for _, u := range found.UserGroups[0].UserIds {
			fact(u, "member")
		}
		return nil
	},
	"cache": func(ctx context.Context, a api, name string, fact func(string, string)) error {
		found, err := a.cache.DescribeReplicationGroups(ctx, &elasticache.DescribeReplicationGroupsInput{ReplicationGroupId: &name})
		if err != nil {
			return err
		}
		g := found.ReplicationGroups[0]
		fact("", str(g.Status))
		fact("described", str(g.Description))
		for _, id := range g.UserGroupIds {
			fact("group", id)
		}
		return nil
	},
	"instance": func(ctx context.Context, a api, name string, fact func(string, string)) error { // by its tag Name
		found, err := a.ec2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{Filters: []ec2types.Filter{{Name: aws.String("tag:Name"), Values: []string{name}}}})
		if err != nil {
			return err
		}
		for _, r := range found.Reservations {
			for _, i := range r.Instances {
				fact("", string(i.State.Name))
				if i.IamInstanceProfile != nil {
					fact("profile", str(i.IamInstanceProfile.Arn))
				}
			}
		}
		return nil
	},
}

func iamTags(tags []iamtypes.Tag, fact func(string, string)) {
	for _, tag := range tags {
		fact(str(tag.Key), str(tag.Value))
	}
}

func policyARN(name string) *string {
	return aws.String("arn:aws:iam::" + accountNumber + ":policy/" + name)
}

// everything names all that there is.
func (e *emulation) everything(ctx context.Context) (things []string) {
	list(e, ctx, iam.NewListUsersPaginator(e.api.iam, nil), func(page *iam.ListUsersOutput) {
		for _, u := range page.Users {
			things = append(things, "iam-user "+*u.UserName)
		}
	})
	list(e, ctx, iam.NewListRolesPaginator(e.api.iam, nil), func(page *iam.ListRolesOutput) {
		for _, r := range page.Roles {
			things = append(things, "role "+*r.RoleName)
		}
	})
	list(e, ctx, iam.NewListPoliciesPaginator(e.api.iam, nil), func(page *iam.ListPoliciesOutput) {
		for _, p := range page.Policies {
			things = append(things, "policy "+*p.PolicyName)
		}
	})
	list(e, ctx, iam.NewListInstanceProfilesPaginator(e.api.iam, nil), func(page *iam.ListInstanceProfilesOutput) {
		for _, p := range page.InstanceProfiles {
			things = append(things, "profile "+*p.InstanceProfileName)
		}
	})
	list(e, ctx, elasticache.NewDescribeUsersPaginator(e.api.cache, nil), func(page *elasticache.DescribeUsersOutput) {
		for _, u := range page.Users {
			things = append(things, "cache-user "+*u.UserId)
		}
	})
	list(e, ctx, elasticache.NewDescribeUserGroupsPaginator(e.api.cache, nil), func(page *elasticache.DescribeUserGroupsOutput) {
		for _, g := range page.UserGroups {
			things = append(things, "user-group "+*g.UserGroupId)
		}
	})
	list(e, ctx, elasticache.NewDescribeReplicationGroupsPaginator(e.api.cache, nil), func(page *elasticache.DescribeReplicationGroupsOutput) {
		for _, g := range page.ReplicationGroups {
			things = append(things, "cache "+*g.ReplicationGroupId)
		}
	})
	list(e, ctx, ec2.NewDescribeInstancesPaginator(e.api.ec2, nil), func(page *ec2.DescribeInstancesOutput) {
		for _, r := range page.Reservations {
			things = append(things, "instance "+*r.Instances[0].Tags[0].Value) // Name
		}
	})
	return things
}

// list reads all pages of a list.
func list[Page, Option any](e *emulation, ctx context.Context, p interface {
	HasMorePages() bool
	NextPage(context.Context, ...func(*Option)) (*Page, error)
}, each func(*Page)) {
	for p.HasMorePages() {
		var page *Page
		if err := e.ask(ctx, func(ctx context.Context) (err error) {
			page, err = p.NextPage(ctx)
			return err
		}); err != nil {
			e.t.Fatal(err)
		}
		each(page)
	}
}
