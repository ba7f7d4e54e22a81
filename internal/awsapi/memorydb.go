package awsapi

import (
	"slices"
	"strings"

	"github.com/rediam/rediam/internal/world"
)

var memoryDBOperations = map[string]operation{
	"CreateUser":    operate(func(c *call, in createMemoryDBUserRequest) []string { return c.inMemoryDB("user", in.UserName) }, createMemoryDBUser),
	"UpdateUser":    operate(func(c *call, in updateMemoryDBUserRequest) []string { return c.inMemoryDB("user", in.UserName) }, updateMemoryDBUser),
	"DeleteUser":    operate(func(c *call, in deleteMemoryDBUserRequest) []string { return c.inMemoryDB("user", in.UserName) }, deleteMemoryDBUser),
	"DescribeUsers": operate(func(c *call, in describeMemoryDBUsersRequest) []string { return c.inMemoryDB("user", in.UserName) }, describeMemoryDBUsers),

	"CreateACL": operate(func(c *call, in createACLRequest) []string {
		return append(c.inMemoryDB("acl", in.ACLName), c.inMemoryDB("user", in.UserNames...)...)
	}, createACL),
	"UpdateACL": operate(func(c *call, in updateACLRequest) []string {
		return append(c.inMemoryDB("acl", in.ACLName), c.inMemoryDB("user", slices.Concat(in.UserNamesToAdd, in.UserNamesToRemove)...)...)
	}, updateACL),
	"DeleteACL":    operate(func(c *call, in deleteACLRequest) []string { return c.inMemoryDB("acl", in.ACLName) }, deleteACL),
	"DescribeACLs": operate(func(c *call, in describeACLsRequest) []string { return c.inMemoryDB("acl", in.ACLName) }, describeACLs),

	"CreateCluster": operate(func(c *call, in createClusterRequest) []string {
		return slices.Concat(c.inMemoryDB("cluster", in.ClusterName), c.inMemoryDB("acl", in.ACLName), c.inMemoryDB("parametergroup", in.ParameterGroupName), c.inMemoryDB("subnetgroup", in.SubnetGroupName))
	}, createCluster),
	"UpdateCluster": operate(func(c *call, in updateClusterRequest) []string {
		return slices.Concat(c.inMemoryDB("cluster", in.ClusterName), c.inMemoryDB("acl", in.ACLName))
	}, updateCluster),
	"DeleteCluster":    operate(func(c *call, in deleteClusterRequest) []string { return c.inMemoryDB("cluster", in.ClusterName) }, deleteCluster),
	"DescribeClusters": operate(func(c *call, in describeClustersRequest) []string { return c.inMemoryDB("cluster", in.ClusterName) }, describeClusters),

	"CreateSubnetGroup": operate(func(c *call, in createSubnetGroupRequest) []string {
		return c.inMemoryDB("subnetgroup", in.SubnetGroupName)
	}, createSubnetGroup),
	"UpdateSubnetGroup": operate(func(c *call, in updateSubnetGroupRequest) []string {
		return c.inMemoryDB("subnetgroup", in.SubnetGroupName)
	}, updateSubnetGroup),
	"DeleteSubnetGroup": operate(func(c *call, in deleteSubnetGroupRequest) []string {
		return c.inMemoryDB("subnetgroup", in.SubnetGroupName)
	}, deleteSubnetGroup),
	"DescribeSubnetGroups": operate(func(c *call, in describeSubnetGroupsRequest) []string {
		return c.inMemoryDB("subnetgroup", in.SubnetGroupName)
	}, describeSubnetGroups),

	"TagResource":   operate(func(_ *call, in tagResourceRequest) []string { return []string{strings.ToLower(in.ResourceArn)} }, tagResource),
	"ListTags":      operate(func(_ *call, in listTagsRequest) []string { return []string{strings.ToLower(in.ResourceArn)} }, listMemoryDBTags),
	"UntagResource": operate(func(_ *call, in untagResourceRequest) []string { return []string{strings.ToLower(in.ResourceArn)} }, untagResource),

	"DescribeEngineVersions": operate(nil, describeEngineVersions),
}

// memoryDBCodes are MemoryDB's codes of errors that ElastiCache has too: the names of
// the exceptions in its API reference.
var memoryDBCodes = map[string]string{
	"InvalidParameterValue":         "InvalidParameterValueException",
	"InvalidParameterCombination":   "InvalidParameterCombinationException",
	"InvalidARN":                    "InvalidARNFault",
	"TagNotFound":                   "TagNotFoundFault",
	"UserNotFound":                  "UserNotFoundFault",
	"UserAlreadyExists":             "UserAlreadyExistsFault",
	"UserQuotaExceeded":             "UserQuotaExceededFault",
	"InvalidUserState":              "InvalidUserStateFault",
	"DuplicateUserName":             "DuplicateUserNameFault",
	"UserGroupNotFound":             "ACLNotFoundFault",
	"UserGroupAlreadyExists":        "ACLAlreadyExistsFault",
	"UserGroupQuotaExceeded":        "ACLQuotaExceededFault",
	"InvalidUserGroupState":         "InvalidACLStateFault",
	"CacheSubnetGroupNotFoundFault": "SubnetGroupNotFoundFault",
	"CacheSubnetGroupAlreadyExists": "SubnetGroupAlreadyExistsFault",
	"CacheSubnetGroupQuotaExceeded": "SubnetGroupQuotaExceededFault",
	"CacheSubnetGroupInUse":         "SubnetGroupInUseFault",
	"CacheSubnetQuotaExceededFault": "SubnetQuotaExceededFault",
	"CacheParameterGroupNotFound":   "ParameterGroupNotFoundFault",
}

// inMemoryDB is named for resources of MemoryDB.
func (c *call) inMemoryDB(kind string, names ...string) (arns []string) {
	for _, name := range names {
		if name != "" {
			arns = append(arns, c.world.MemoryDBARN(kind, name))
		}
	}
	return arns
}

// resultsPage is how a Describe operation of MemoryDB asks for a part of a list.
type resultsPage struct {
	MaxResults *int
	NextToken  string
}

// cutResults is recordsPage for MemoryDB, whose API reference has no bounds.
func cutResults[V any](all []V, name func(V) string, p resultsPage) (some []V, next string, err error) {
	n := maxRecords
	if p.MaxResults != nil {
		n = *p.MaxResults
	}
	if n < 1 || n > maxRecords {
		return nil, "", parameterValue("Invalid value %d for MaxResults. Must be between 1 and %d", n, maxRecords)
	}
	some, next = cutPage(all, name, n, p.NextToken)
	return some, next, nil
}

// memoryDBTags is what the operations about tags answer.
type memoryDBTags struct{ TagList []cacheTagAnswer }

type tagResourceRequest struct {
	ResourceArn string     `aws:",required"`
	Tags        []cacheTag `aws:",required"`
}

func tagResource(c *call, in tagResourceRequest) (memoryDBTags, error) {
	set, err := cacheTags(in.Tags)
	if err != nil {
		return memoryDBTags{}, err
	}
	tags, err := c.world.ChangeTags(world.MemoryDB, in.ResourceArn, set, nil)
	return memoryDBTags(cacheTagListOf(tags)), err
}

type listTagsRequest struct {
	ResourceArn string `aws:",required"`
}

func listMemoryDBTags(c *call, in listTagsRequest) (memoryDBTags, error) {
	tags, err := c.world.Tags(world.MemoryDB, in.ResourceArn)
	return memoryDBTags(cacheTagListOf(tags)), err
}

type untagResourceRequest struct {
	ResourceArn string   `aws:",required"`
	TagKeys     []string `aws:",required"`
}

// untagResource answers the tags that are left, as the example of the AWS CLI
// reference does; the API reference has those that are removed.
func untagResource(c *call, in untagResourceRequest) (memoryDBTags, error) {
	tags, err := c.world.ChangeTags(world.MemoryDB, in.ResourceArn, nil, in.TagKeys)
	return memoryDBTags(cacheTagListOf(tags)), err
}

type describeEngineVersionsRequest struct {
	Engine, EngineVersion, ParameterGroupFamily string

	DefaultOnly bool
	resultsPage `aws:",inline"`
}

type engineVersion struct{ Engine, EngineVersion, EnginePatchVersion, ParameterGroupFamily string }

type describeEngineVersionsAnswer struct {
	NextToken      string
	EngineVersions []engineVersion
}

func describeEngineVersions(_ *call, in describeEngineVersionsRequest) (out describeEngineVersionsAnswer, err error) {
	fits := func(asked, is string) bool { return asked == "" || strings.EqualFold(asked, is) }
	var versions []engineVersion
	for _, v := range world.EngineVersions(world.MemoryDB) {
		if fits(in.Engine, v.Engine) && fits(in.EngineVersion, v.Version) && fits(in.ParameterGroupFamily, v.Family) &&
			(!in.DefaultOnly || v.Version == world.DefaultVersion(world.MemoryDB, v.Engine)) {
			versions = append(versions, engineVersion{v.Engine, v.Version, patchVersions[v.Version], v.Family})
		}
	}
	out.EngineVersions, out.NextToken, err = cutResults(versions, func(v engineVersion) string { return v.Engine + " " + v.EngineVersion }, in.resultsPage)
	return out, err
}

// patchVersions are those that AWS's documents name (AWS CLI reference, "memorydb
// describe-engine-versions"; MemoryDB user guide, "Engine versions").
var patchVersions = map[string]string{"6.2": "6.2.6", "7.2": "7.2.6"}
