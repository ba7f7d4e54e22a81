package setup

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/memorydb"

	"github.com/rediam/rediam/internal/account"
)

// Clients are what this package asks, all with the same credentials; those of the AWS
// SDK satisfy it. What is called is also the permissions that it takes.
type Clients struct {
	STS         account.STS
	IAM         IAM
	ElastiCache ElastiCache
	MemoryDB    MemoryDB
}

type (
	// ElastiCache are the calls about replication groups and serverless caches.
	ElastiCache interface {
		elasticache.DescribeUsersAPIClient
		CreateUser(context.Context, *elasticache.CreateUserInput, ...func(*elasticache.Options)) (*elasticache.CreateUserOutput, error)
		ModifyUser(context.Context, *elasticache.ModifyUserInput, ...func(*elasticache.Options)) (*elasticache.ModifyUserOutput, error)
		DeleteUser(context.Context, *elasticache.DeleteUserInput, ...func(*elasticache.Options)) (*elasticache.DeleteUserOutput, error)
		elasticache.DescribeUserGroupsAPIClient
		CreateUserGroup(context.Context, *elasticache.CreateUserGroupInput, ...func(*elasticache.Options)) (*elasticache.CreateUserGroupOutput, error)
		ModifyUserGroup(context.Context, *elasticache.ModifyUserGroupInput, ...func(*elasticache.Options)) (*elasticache.ModifyUserGroupOutput, error)
		DeleteUserGroup(context.Context, *elasticache.DeleteUserGroupInput, ...func(*elasticache.Options)) (*elasticache.DeleteUserGroupOutput, error)
		elasticache.DescribeReplicationGroupsAPIClient
		elasticache.DescribeCacheClustersAPIClient
		CreateReplicationGroup(context.Context, *elasticache.CreateReplicationGroupInput, ...func(*elasticache.Options)) (*elasticache.CreateReplicationGroupOutput, error)
		ModifyReplicationGroup(context.Context, *elasticache.ModifyReplicationGroupInput, ...func(*elasticache.Options)) (*elasticache.ModifyReplicationGroupOutput, error)
		DeleteReplicationGroup(context.Context, *elasticache.DeleteReplicationGroupInput, ...func(*elasticache.Options)) (*elasticache.DeleteReplicationGroupOutput, error)
		elasticache.DescribeServerlessCachesAPIClient
		CreateServerlessCache(context.Context, *elasticache.CreateServerlessCacheInput, ...func(*elasticache.Options)) (*elasticache.CreateServerlessCacheOutput, error)
		ModifyServerlessCache(context.Context, *elasticache.ModifyServerlessCacheInput, ...func(*elasticache.Options)) (*elasticache.ModifyServerlessCacheOutput, error)
		DeleteServerlessCache(context.Context, *elasticache.DeleteServerlessCacheInput, ...func(*elasticache.Options)) (*elasticache.DeleteServerlessCacheOutput, error)
		ListTagsForResource(context.Context, *elasticache.ListTagsForResourceInput, ...func(*elasticache.Options)) (*elasticache.ListTagsForResourceOutput, error)
	}
	// MemoryDB are the calls about MemoryDB clusters.
	MemoryDB interface {
		memorydb.DescribeUsersAPIClient
		CreateUser(context.Context, *memorydb.CreateUserInput, ...func(*memorydb.Options)) (*memorydb.CreateUserOutput, error)
		UpdateUser(context.Context, *memorydb.UpdateUserInput, ...func(*memorydb.Options)) (*memorydb.UpdateUserOutput, error)
		DeleteUser(context.Context, *memorydb.DeleteUserInput, ...func(*memorydb.Options)) (*memorydb.DeleteUserOutput, error)
		memorydb.DescribeACLsAPIClient
		CreateACL(context.Context, *memorydb.CreateACLInput, ...func(*memorydb.Options)) (*memorydb.CreateACLOutput, error)
		UpdateACL(context.Context, *memorydb.UpdateACLInput, ...func(*memorydb.Options)) (*memorydb.UpdateACLOutput, error)
		DeleteACL(context.Context, *memorydb.DeleteACLInput, ...func(*memorydb.Options)) (*memorydb.DeleteACLOutput, error)
		memorydb.DescribeClustersAPIClient
		CreateCluster(context.Context, *memorydb.CreateClusterInput, ...func(*memorydb.Options)) (*memorydb.CreateClusterOutput, error)
		UpdateCluster(context.Context, *memorydb.UpdateClusterInput, ...func(*memorydb.Options)) (*memorydb.UpdateClusterOutput, error)
		DeleteCluster(context.Context, *memorydb.DeleteClusterInput, ...func(*memorydb.Options)) (*memorydb.DeleteClusterOutput, error)
		ListTags(context.Context, *memorydb.ListTagsInput, ...func(*memorydb.Options)) (*memorydb.ListTagsOutput, error)
	}
	// IAM are the calls about the role; without one, they are asked by Destroy alone.
	IAM interface {
		GetPolicy(context.Context, *iam.GetPolicyInput, ...func(*iam.Options)) (*iam.GetPolicyOutput, error)
		GetPolicyVersion(context.Context, *iam.GetPolicyVersionInput, ...func(*iam.Options)) (*iam.GetPolicyVersionOutput, error)
		iam.ListPolicyVersionsAPIClient
		CreatePolicy(context.Context, *iam.CreatePolicyInput, ...func(*iam.Options)) (*iam.CreatePolicyOutput, error)
		CreatePolicyVersion(context.Context, *iam.CreatePolicyVersionInput, ...func(*iam.Options)) (*iam.CreatePolicyVersionOutput, error)
		DeletePolicyVersion(context.Context, *iam.DeletePolicyVersionInput, ...func(*iam.Options)) (*iam.DeletePolicyVersionOutput, error)
		DeletePolicy(context.Context, *iam.DeletePolicyInput, ...func(*iam.Options)) (*iam.DeletePolicyOutput, error)
		GetRole(context.Context, *iam.GetRoleInput, ...func(*iam.Options)) (*iam.GetRoleOutput, error)
		CreateRole(context.Context, *iam.CreateRoleInput, ...func(*iam.Options)) (*iam.CreateRoleOutput, error)
		UpdateAssumeRolePolicy(context.Context, *iam.UpdateAssumeRolePolicyInput, ...func(*iam.Options)) (*iam.UpdateAssumeRolePolicyOutput, error)
		DeleteRole(context.Context, *iam.DeleteRoleInput, ...func(*iam.Options)) (*iam.DeleteRoleOutput, error)
		iam.ListAttachedRolePoliciesAPIClient
		iam.ListRolePoliciesAPIClient
		iam.ListInstanceProfilesForRoleAPIClient
		AttachRolePolicy(context.Context, *iam.AttachRolePolicyInput, ...func(*iam.Options)) (*iam.AttachRolePolicyOutput, error)
		DetachRolePolicy(context.Context, *iam.DetachRolePolicyInput, ...func(*iam.Options)) (*iam.DetachRolePolicyOutput, error)
		GetInstanceProfile(context.Context, *iam.GetInstanceProfileInput, ...func(*iam.Options)) (*iam.GetInstanceProfileOutput, error)
		CreateInstanceProfile(context.Context, *iam.CreateInstanceProfileInput, ...func(*iam.Options)) (*iam.CreateInstanceProfileOutput, error)
		AddRoleToInstanceProfile(context.Context, *iam.AddRoleToInstanceProfileInput, ...func(*iam.Options)) (*iam.AddRoleToInstanceProfileOutput, error)
		RemoveRoleFromInstanceProfile(context.Context, *iam.RemoveRoleFromInstanceProfileInput, ...func(*iam.Options)) (*iam.RemoveRoleFromInstanceProfileOutput, error)
		DeleteInstanceProfile(context.Context, *iam.DeleteInstanceProfileInput, ...func(*iam.Options)) (*iam.DeleteInstanceProfileOutput, error)
		GetOpenIDConnectProvider(context.Context, *iam.GetOpenIDConnectProviderInput, ...func(*iam.Options)) (*iam.GetOpenIDConnectProviderOutput, error)
	}
)
