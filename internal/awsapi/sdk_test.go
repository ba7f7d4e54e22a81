package awsapi_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	ststypes "github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/rediam/rediam/emulator"
)

func ec2Client(srv *emulator.Server, k emulator.Key) *ec2.Client {
	return ec2.New(ec2.Options{Region: srv.Region(), BaseEndpoint: aws.String(srv.URL()), Credentials: emulator.KeyCredentials(k),
		HTTPSignerV4: onClock{v4.NewSigner(), srv.Now}, HTTPClient: readers{}, RetryMaxAttempts: 1})
}

// impatient describes what a waiter asks about, and lets an hour pass as soon as it
// has been told twice to wait.
type impatient struct {
	account
	told int
}

func (i *impatient) wait(status string) {
	if status == "creating" || status == "deleting" {
		if i.told++; i.told%2 == 0 {
			i.srv.Advance(time.Hour)
		}
	}
}

func (i *impatient) DescribeReplicationGroups(ctx context.Context, in *elasticache.DescribeReplicationGroupsInput, o ...func(*elasticache.Options)) (*elasticache.DescribeReplicationGroupsOutput, error) {
	out, err := i.account.DescribeReplicationGroups(ctx, in, o...)
	if err == nil {
		i.wait(*out.ReplicationGroups[0].Status)
	}
	return out, err
}

func (i *impatient) DescribeCacheClusters(ctx context.Context, in *elasticache.DescribeCacheClustersInput, o ...func(*elasticache.Options)) (*elasticache.DescribeCacheClustersOutput, error) {
	out, err := i.account.DescribeCacheClusters(ctx, in, o...)
	if err == nil {
		i.wait(*out.CacheClusters[0].CacheClusterStatus)
	}
	return out, err
}

func TestTheWaitersOfTheSDKWait(t *testing.T) {
	i := &impatient{account: newAccount(t, emulator.Config{Engine: "embedded", StateDelay: time.Hour})}
	ctx := t.Context()
	group := &elasticache.DescribeReplicationGroupsInput{ReplicationGroupId: aws.String("orders")}
	cluster := &elasticache.DescribeCacheClustersInput{CacheClusterId: aws.String("plain")}
	in := cacheInput("orders")
	in.UserGroupIds, in.CacheSubnetGroupName = nil, nil
	must(t, only(i.CreateReplicationGroup(ctx, in)),
		elasticache.NewReplicationGroupAvailableWaiter(i, func(o *elasticache.ReplicationGroupAvailableWaiterOptions) { o.MinDelay, o.MaxDelay = 1, 1 }).Wait(ctx, group, time.Minute),
		only(i.DeleteReplicationGroup(ctx, &elasticache.DeleteReplicationGroupInput{ReplicationGroupId: group.ReplicationGroupId})),
		elasticache.NewReplicationGroupDeletedWaiter(i, func(o *elasticache.ReplicationGroupDeletedWaiterOptions) { o.MinDelay, o.MaxDelay = 1, 1 }).Wait(ctx, group, time.Minute),
		only(i.CreateCacheCluster(ctx, &elasticache.CreateCacheClusterInput{CacheClusterId: cluster.CacheClusterId, Engine: aws.String("redis"), NumCacheNodes: aws.Int32(1)})),
		elasticache.NewCacheClusterAvailableWaiter(i, func(o *elasticache.CacheClusterAvailableWaiterOptions) { o.MinDelay, o.MaxDelay = 1, 1 }).Wait(ctx, cluster, time.Minute),
		only(i.DeleteCacheCluster(ctx, &elasticache.DeleteCacheClusterInput{CacheClusterId: cluster.CacheClusterId})),
		elasticache.NewCacheClusterDeletedWaiter(i, func(o *elasticache.CacheClusterDeletedWaiterOptions) { o.MinDelay, o.MaxDelay = 1, 1 }).Wait(ctx, cluster, time.Minute))
	if i.told != 8 {
		t.Errorf("four waiters were told %d times to wait, want twice each", i.told)
	}
}

func TestTheWaitersOfEC2(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded", Empty: true})
	c, ctx := ec2Client(srv, admin(t, srv)), t.Context()
	must(t, srv.PutRole(emulator.Role{Name: "app", Trust: trustsEC2}))
	id, err := srv.RunInstance("app")
	must(t, err)
	instance := &ec2.DescribeInstancesInput{InstanceIds: []string{id}}
	subnets, err := c.DescribeSubnets(ctx, nil)
	must(t, err)
	subnet := subnets.Subnets[0]
	vpc := &ec2.DescribeVpcsInput{VpcIds: []string{*subnet.VpcId}}
	must(t, ec2.NewInstanceExistsWaiter(c).Wait(ctx, instance, time.Minute), ec2.NewInstanceRunningWaiter(c).Wait(ctx, instance, time.Minute),
		ec2.NewInstanceStatusOkWaiter(c).Wait(ctx, &ec2.DescribeInstanceStatusInput{InstanceIds: instance.InstanceIds}, time.Minute),
		ec2.NewSystemStatusOkWaiter(c).Wait(ctx, &ec2.DescribeInstanceStatusInput{InstanceIds: instance.InstanceIds}, time.Minute),
		only(c.StopInstances(ctx, &ec2.StopInstancesInput{InstanceIds: instance.InstanceIds})), ec2.NewInstanceStoppedWaiter(c).Wait(ctx, instance, time.Minute),
		only(c.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: instance.InstanceIds})), ec2.NewInstanceTerminatedWaiter(c).Wait(ctx, instance, time.Minute),
		ec2.NewVpcExistsWaiter(c).Wait(ctx, vpc, time.Minute), ec2.NewVpcAvailableWaiter(c).Wait(ctx, vpc, time.Minute),
		ec2.NewSubnetAvailableWaiter(c).Wait(ctx, &ec2.DescribeSubnetsInput{SubnetIds: []string{*subnet.SubnetId}}, time.Minute),
		ec2.NewSecurityGroupExistsWaiter(c).Wait(ctx, &ec2.DescribeSecurityGroupsInput{GroupNames: []string{"default"}}, time.Minute))
}

// A list is what a paginator of the SDK comes by, page by page.
type list [][]string

func pages[Out, Options any](t *testing.T, p interface {
	HasMorePages() bool
	NextPage(context.Context, ...func(*Options)) (*Out, error)
}, names func(*Out) []string) (all list) {
	t.Helper()
	for p.HasMorePages() {
		out, err := p.NextPage(t.Context())
		must(t, err)
		all = append(all, names(out))
	}
	return all
}

func each[V any](list []V, name func(V) *string) (names []string) {
	for _, v := range list {
		names = append(names, *name(v))
	}
	return names
}

// wantPages checks how many there are on each page, and that none comes twice.
func wantPages(t *testing.T, of string, got list, want ...int) {
	t.Helper()
	var sizes []int
	for _, page := range got {
		sizes = append(sizes, len(page))
	}
	all := slices.Sorted(slices.Values(slices.Concat(got...)))
	if !slices.Equal(sizes, want) || len(slices.Compact(all)) != len(all) {
		t.Errorf("%s comes in pages of %v, want %v: %v", of, sizes, want, got)
	}
}

func TestEveryListOfElastiCacheComesInPages(t *testing.T) {
	a := newAccount(t, emulator.Config{Engine: "embedded"})
	for i := range 21 {
		id := fmt.Sprint("n", i)
		must(t, a.srv.PutGroup(emulator.Group{ID: id, Users: []string{"default"}}), a.srv.PutCache(emulator.Cache{Name: id}), a.srv.PutCache(emulator.Cache{Name: "c-" + id, Kind: emulator.CacheCluster}),
			only(a.CreateCacheSubnetGroup(t.Context(), &elasticache.CreateCacheSubnetGroupInput{CacheSubnetGroupName: &id, CacheSubnetGroupDescription: &id, SubnetIds: []string{"subnet-1"}})))
	}
	for i := range 3 {
		must(t, a.srv.PutCache(emulator.Cache{Name: fmt.Sprint("s-", i), Kind: emulator.ServerlessCache}))
	}
	n := aws.Int32(20)
	wantPages(t, "user groups", pages(t, elasticache.NewDescribeUserGroupsPaginator(a, &elasticache.DescribeUserGroupsInput{MaxRecords: n}), func(o *elasticache.DescribeUserGroupsOutput) []string {
		return each(o.UserGroups, func(g types.UserGroup) *string { return g.UserGroupId })
	}), 20, 2)
	wantPages(t, "replication groups", pages(t, elasticache.NewDescribeReplicationGroupsPaginator(a, &elasticache.DescribeReplicationGroupsInput{MaxRecords: n}), func(o *elasticache.DescribeReplicationGroupsOutput) []string {
		return each(o.ReplicationGroups, func(g types.ReplicationGroup) *string { return g.ReplicationGroupId })
	}), 20, 1)
	wantPages(t, "cache clusters", pages(t, elasticache.NewDescribeCacheClustersPaginator(a, &elasticache.DescribeCacheClustersInput{MaxRecords: n}), func(o *elasticache.DescribeCacheClustersOutput) []string {
		return each(o.CacheClusters, func(c types.CacheCluster) *string { return c.CacheClusterId })
	}), 20, 20, 2)
	wantPages(t, "subnet groups", pages(t, elasticache.NewDescribeCacheSubnetGroupsPaginator(a, &elasticache.DescribeCacheSubnetGroupsInput{MaxRecords: n}), func(o *elasticache.DescribeCacheSubnetGroupsOutput) []string {
		return each(o.CacheSubnetGroups, func(g types.CacheSubnetGroup) *string { return g.CacheSubnetGroupName })
	}), 20, 1)
	wantPages(t, "serverless caches", pages(t, elasticache.NewDescribeServerlessCachesPaginator(a, &elasticache.DescribeServerlessCachesInput{MaxResults: aws.Int32(2)}), func(o *elasticache.DescribeServerlessCachesOutput) []string {
		return each(o.ServerlessCaches, func(c types.ServerlessCache) *string { return c.ServerlessCacheName })
	}), 2, 1)
}

func TestEveryListOfIAMComesInPages(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded", Empty: true})
	c, ctx, n := iamClient(srv, emulator.KeyCredentials(admin(t, srv))), t.Context(), aws.Int32(2)
	tags, inline := map[string]string{}, map[string]string{}
	var attached, actions []string
	for i := range 5 {
		name := fmt.Sprint("n", i)
		tags[name], inline[name] = "v", document("Allow", "s3:*", "*")
		arn, err := srv.PutPolicy(name, inline[name])
		must(t, err)
		attached, actions = append(attached, arn), append(actions, "s3:"+name)
	}
	for i := range 5 {
		name := fmt.Sprint("n", i)
		must(t, srv.PutRole(emulator.Role{Name: name, Path: "/n/", Tags: tags, Inline: inline, Attached: attached}), srv.PutIAMUser(emulator.IAMUser{Name: name, Path: "/n/", Tags: tags, Inline: inline, Attached: attached}),
			only(c.CreateInstanceProfile(ctx, &iam.CreateInstanceProfileInput{InstanceProfileName: &name, Tags: []iamtypes.Tag{{Key: aws.String("a"), Value: &name}, {Key: aws.String("b"), Value: &name}, {Key: aws.String("c"), Value: &name}}})),
			only(c.AddRoleToInstanceProfile(ctx, &iam.AddRoleToInstanceProfileInput{InstanceProfileName: &name, RoleName: aws.String("n0")})),
			only(c.TagPolicy(ctx, &iam.TagPolicyInput{PolicyArn: &attached[0], Tags: []iamtypes.Tag{{Key: &name, Value: &name}}})))
		if i > 0 {
			must(t, only(c.CreatePolicyVersion(ctx, &iam.CreatePolicyVersionInput{PolicyArn: &attached[0], PolicyDocument: aws.String(inline[name])})))
		}
		if i < 2 {
			must(t, only(c.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: aws.String("n0")})))
		}
	}
	who, policy, path := aws.String("n0"), &attached[0], aws.String("/n/")
	tag := func(t iamtypes.Tag) *string { return t.Key }
	attachedName := func(p iamtypes.AttachedPolicy) *string { return p.PolicyName }
	profile := func(p iamtypes.InstanceProfile) *string { return p.InstanceProfileName }
	simulated := func(r iamtypes.EvaluationResult) *string { return r.EvalActionName }
	for of, got := range map[string]list{
		"ListUsers": pages(t, iam.NewListUsersPaginator(c, &iam.ListUsersInput{MaxItems: n, PathPrefix: path}), func(o *iam.ListUsersOutput) []string {
			return each(o.Users, func(u iamtypes.User) *string { return u.UserName })
		}),
		"ListRoles": pages(t, iam.NewListRolesPaginator(c, &iam.ListRolesInput{MaxItems: n, PathPrefix: path}), func(o *iam.ListRolesOutput) []string {
			return each(o.Roles, func(r iamtypes.Role) *string { return r.RoleName })
		}),
		"ListPolicies": pages(t, iam.NewListPoliciesPaginator(c, &iam.ListPoliciesInput{MaxItems: n}), func(o *iam.ListPoliciesOutput) []string {
			return each(o.Policies, func(p iamtypes.Policy) *string { return p.PolicyName })
		}),
		"ListPolicyVersions": pages(t, iam.NewListPolicyVersionsPaginator(c, &iam.ListPolicyVersionsInput{MaxItems: n, PolicyArn: policy}), func(o *iam.ListPolicyVersionsOutput) []string {
			return each(o.Versions, func(v iamtypes.PolicyVersion) *string { return v.VersionId })
		}),
		"ListUserPolicies":            pages(t, iam.NewListUserPoliciesPaginator(c, &iam.ListUserPoliciesInput{MaxItems: n, UserName: who}), func(o *iam.ListUserPoliciesOutput) []string { return o.PolicyNames }),
		"ListRolePolicies":            pages(t, iam.NewListRolePoliciesPaginator(c, &iam.ListRolePoliciesInput{MaxItems: n, RoleName: who}), func(o *iam.ListRolePoliciesOutput) []string { return o.PolicyNames }),
		"ListAttachedUserPolicies":    pages(t, iam.NewListAttachedUserPoliciesPaginator(c, &iam.ListAttachedUserPoliciesInput{MaxItems: n, UserName: who}), func(o *iam.ListAttachedUserPoliciesOutput) []string { return each(o.AttachedPolicies, attachedName) }),
		"ListAttachedRolePolicies":    pages(t, iam.NewListAttachedRolePoliciesPaginator(c, &iam.ListAttachedRolePoliciesInput{MaxItems: n, RoleName: who}), func(o *iam.ListAttachedRolePoliciesOutput) []string { return each(o.AttachedPolicies, attachedName) }),
		"ListUserTags":                pages(t, iam.NewListUserTagsPaginator(c, &iam.ListUserTagsInput{MaxItems: n, UserName: who}), func(o *iam.ListUserTagsOutput) []string { return each(o.Tags, tag) }),
		"ListRoleTags":                pages(t, iam.NewListRoleTagsPaginator(c, &iam.ListRoleTagsInput{MaxItems: n, RoleName: who}), func(o *iam.ListRoleTagsOutput) []string { return each(o.Tags, tag) }),
		"ListPolicyTags":              pages(t, iam.NewListPolicyTagsPaginator(c, &iam.ListPolicyTagsInput{MaxItems: n, PolicyArn: policy}), func(o *iam.ListPolicyTagsOutput) []string { return each(o.Tags, tag) }),
		"ListInstanceProfiles":        pages(t, iam.NewListInstanceProfilesPaginator(c, &iam.ListInstanceProfilesInput{MaxItems: n}), func(o *iam.ListInstanceProfilesOutput) []string { return each(o.InstanceProfiles, profile) }),
		"ListInstanceProfilesForRole": pages(t, iam.NewListInstanceProfilesForRolePaginator(c, &iam.ListInstanceProfilesForRoleInput{MaxItems: n, RoleName: who}), func(o *iam.ListInstanceProfilesForRoleOutput) []string { return each(o.InstanceProfiles, profile) }),
		"SimulatePrincipalPolicy":     pages(t, iam.NewSimulatePrincipalPolicyPaginator(c, &iam.SimulatePrincipalPolicyInput{MaxItems: n, PolicySourceArn: aws.String(srv.RoleARN("n0")), ActionNames: actions}), func(o *iam.SimulatePrincipalPolicyOutput) []string { return each(o.EvaluationResults, simulated) }),
		"SimulateCustomPolicy":        pages(t, iam.NewSimulateCustomPolicyPaginator(c, &iam.SimulateCustomPolicyInput{MaxItems: n, PolicyInputList: []string{inline["n0"]}, ActionNames: actions}), func(o *iam.SimulateCustomPolicyOutput) []string { return each(o.EvaluationResults, simulated) }),
	} {
		wantPages(t, of, got, 2, 2, 1)
	}
	wantPages(t, "ListInstanceProfileTags", pages(t, iam.NewListInstanceProfileTagsPaginator(c, &iam.ListInstanceProfileTagsInput{MaxItems: n, InstanceProfileName: who}), func(o *iam.ListInstanceProfileTagsOutput) []string { return each(o.Tags, tag) }), 2, 1)
	wantPages(t, "ListAccessKeys", pages(t, iam.NewListAccessKeysPaginator(c, &iam.ListAccessKeysInput{MaxItems: aws.Int32(1), UserName: who}), func(o *iam.ListAccessKeysOutput) []string {
		return each(o.AccessKeyMetadata, func(k iamtypes.AccessKeyMetadata) *string { return k.AccessKeyId })
	}), 1, 1)
	wantPages(t, "ListEntitiesForPolicy", pages(t, iam.NewListEntitiesForPolicyPaginator(c, &iam.ListEntitiesForPolicyInput{MaxItems: aws.Int32(4), PolicyArn: policy}), func(o *iam.ListEntitiesForPolicyOutput) []string {
		return append(each(o.PolicyUsers, func(u iamtypes.PolicyUser) *string { return u.UserId }), each(o.PolicyRoles, func(r iamtypes.PolicyRole) *string { return r.RoleId })...)
	}), 4, 4, 2)
}

func TestEveryListOfEC2ComesInPages(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded", Empty: true})
	c, n := ec2Client(srv, admin(t, srv)), aws.Int32(5)
	must(t, srv.PutRole(emulator.Role{Name: "app", Trust: trustsEC2}))
	for range 7 {
		must(t, only(srv.RunInstance("app")))
	}
	wantPages(t, "instances", pages(t, ec2.NewDescribeInstancesPaginator(c, &ec2.DescribeInstancesInput{MaxResults: n}), func(o *ec2.DescribeInstancesOutput) []string {
		return each(o.Reservations, func(r ec2types.Reservation) *string { return r.Instances[0].InstanceId })
	}), 5, 2)
	wantPages(t, "tags", pages(t, ec2.NewDescribeTagsPaginator(c, &ec2.DescribeTagsInput{MaxResults: n}), func(o *ec2.DescribeTagsOutput) []string {
		return each(o.Tags, func(t ec2types.TagDescription) *string { return t.Value })
	}), 5, 2)
	wantPages(t, "associations", pages(t, ec2.NewDescribeIamInstanceProfileAssociationsPaginator(c, &ec2.DescribeIamInstanceProfileAssociationsInput{MaxResults: n}), func(o *ec2.DescribeIamInstanceProfileAssociationsOutput) []string {
		return each(o.IamInstanceProfileAssociations, func(a ec2types.IamInstanceProfileAssociation) *string { return a.AssociationId })
	}), 5, 2)
	wantPages(t, "VPCs", pages(t, ec2.NewDescribeVpcsPaginator(c, &ec2.DescribeVpcsInput{MaxResults: n}), func(o *ec2.DescribeVpcsOutput) []string {
		return each(o.Vpcs, func(v ec2types.Vpc) *string { return v.VpcId })
	}), 1)
	wantPages(t, "subnets", pages(t, ec2.NewDescribeSubnetsPaginator(c, &ec2.DescribeSubnetsInput{MaxResults: n}), func(o *ec2.DescribeSubnetsOutput) []string {
		return each(o.Subnets, func(s ec2types.Subnet) *string { return s.SubnetId })
	}), 1)
	wantPages(t, "security groups", pages(t, ec2.NewDescribeSecurityGroupsPaginator(c, &ec2.DescribeSecurityGroupsInput{MaxResults: n}), func(o *ec2.DescribeSecurityGroupsOutput) []string {
		return each(o.SecurityGroups, func(g ec2types.SecurityGroup) *string { return g.GroupId })
	}), 1)
}

// What is under way, in use or there already has types of its own too.
func TestTheSDKKnowsTheErrorsAboutStates(t *testing.T) {
	a := newAccount(t, emulator.Config{Engine: "embedded", StateDelay: time.Hour})
	ctx, name := t.Context(), aws.String("app-users")
	a.makeGroup(t)
	must(t, only(a.ModifyUser(ctx, &elasticache.ModifyUserInput{UserId: aws.String("app"), AccessString: aws.String("on ~k +get")})))
	plain := cacheInput("plain")
	plain.UserGroupIds = nil
	cluster := &elasticache.CreateCacheClusterInput{CacheClusterId: aws.String("cluster"), Engine: aws.String("redis"), NumCacheNodes: aws.Int32(1)}
	serverless := &elasticache.CreateServerlessCacheInput{ServerlessCacheName: aws.String("less"), Engine: aws.String("redis")}
	subnets := &elasticache.CreateCacheSubnetGroupInput{CacheSubnetGroupName: aws.String("net"), CacheSubnetGroupDescription: name, SubnetIds: []string{"subnet-1"}}
	must(t, only(a.CreateReplicationGroup(ctx, plain)), only(a.CreateCacheCluster(ctx, cluster)), only(a.CreateServerlessCache(ctx, serverless)))
	tags := &elasticache.RemoveTagsFromResourceInput{ResourceName: aws.String("arn:aws:elasticache:us-east-1:123456789012:user:app"), TagKeys: []string{"none"}}
	many := *subnets
	many.CacheSubnetGroupName, many.SubnetIds = name, slices.Repeat([]string{"subnet-1"}, 21)
	odd := many
	odd.SubnetIds = []string{"sg-1"}
	session := &sts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::123456789012:role/app"), RoleSessionName: name, Policy: aws.String("{")}
	must(t, a.srv.PutRole(emulator.Role{Name: "app"}))
	for what, test := range map[string]struct {
		err error
		as  any
	}{
		"a user who is being changed":     {only(a.DeleteUser(ctx, &elasticache.DeleteUserInput{UserId: aws.String("app")})), new(*types.InvalidUserStateFault)},
		"a group that is being made":      {only(a.DeleteUserGroup(ctx, &elasticache.DeleteUserGroupInput{UserGroupId: name})), new(*types.InvalidUserGroupStateFault)},
		"a cache with such a group":       {only(a.CreateReplicationGroup(ctx, cacheInput("new"))), new(*types.InvalidUserGroupStateFault)},
		"a cache that is being made":      {only(a.DeleteReplicationGroup(ctx, &elasticache.DeleteReplicationGroupInput{ReplicationGroupId: aws.String("plain")})), new(*types.InvalidReplicationGroupStateFault)},
		"a cluster that is being made":    {only(a.DeleteCacheCluster(ctx, &elasticache.DeleteCacheClusterInput{CacheClusterId: cluster.CacheClusterId})), new(*types.InvalidCacheClusterStateFault)},
		"a serverless one being made":     {only(a.DeleteServerlessCache(ctx, &elasticache.DeleteServerlessCacheInput{ServerlessCacheName: serverless.ServerlessCacheName})), new(*types.InvalidServerlessCacheStateFault)},
		"a cluster twice":                 {only(a.CreateCacheCluster(ctx, cluster)), new(*types.CacheClusterAlreadyExistsFault)},
		"a serverless cache twice":        {only(a.CreateServerlessCache(ctx, serverless)), new(*types.ServerlessCacheAlreadyExistsFault)},
		"a subnet group twice":            {only(a.CreateCacheSubnetGroup(ctx, subnets)), new(*types.CacheSubnetGroupAlreadyExistsFault)},
		"a subnet group in use":           {only(a.DeleteCacheSubnetGroup(ctx, &elasticache.DeleteCacheSubnetGroupInput{CacheSubnetGroupName: subnets.CacheSubnetGroupName})), new(*types.CacheSubnetGroupInUse)},
		"too many subnets":                {only(a.CreateCacheSubnetGroup(ctx, &many)), new(*types.CacheSubnetQuotaExceededFault)},
		"no subnet":                       {only(a.CreateCacheSubnetGroup(ctx, &odd)), new(*types.InvalidSubnet)},
		"no such tag":                     {only(a.RemoveTagsFromResource(ctx, tags)), new(*types.TagNotFoundFault)},
		"a session policy that is broken": {only(client(a.srv, emulator.KeyCredentials(admin(t, a.srv))).AssumeRole(ctx, session)), new(*ststypes.MalformedPolicyDocumentException)},
	} {
		if !errors.As(test.err, test.as) {
			t.Errorf("%s: %v, want %T", what, test.err, test.as)
		}
	}
}
