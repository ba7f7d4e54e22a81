package doctor

import (
	"context"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/internal/account"
)

// The endpoints are those of AWS's guides, with other names; the short regions are
// those that ElastiCache has in them.
func TestAnEndpointTellsTheCache(t *testing.T) {
	for address, want := range map[string]told{
		// Cluster mode disabled: primary, reader, nodes.
		"orders.abc123.ng.0001.use1.cache.amazonaws.com:6379":    {"orders", "us-east-1", rediam.ElastiCache, false},
		"orders-001.abc123.0001.usw2.cache.amazonaws.com":        {"orders", "us-west-2", rediam.ElastiCache, false},
		"master.orders.abc123.euw1.cache.amazonaws.com:6379":     {"orders", "eu-west-1", rediam.ElastiCache, false},
		"replica.orders.abc123.euc1.cache.amazonaws.com:6379":    {"orders", "eu-central-1", rediam.ElastiCache, false},
		"orders-001.orders.abc123.euw1.cache.amazonaws.com:6379": {"orders", "eu-west-1", rediam.ElastiCache, false},
		"MASTER.Orders.abc123.euw1.cache.amazonaws.com.:6379":    {"orders", "eu-west-1", rediam.ElastiCache, false},
		"master.my-orders-001.abc123.euw1.cache.amazonaws.com":   {"my-orders-001", "eu-west-1", rediam.ElastiCache, false},
		"master.orders.abc123.apne1.cache.amazonaws.com":         {"orders", "ap-northeast-1", rediam.ElastiCache, false},
		"master.orders.abc123.apse2.cache.amazonaws.com":         {"orders", "ap-southeast-2", rediam.ElastiCache, false},
		"master.orders.abc123.aps1.cache.amazonaws.com":          {"orders", "ap-south-1", rediam.ElastiCache, false},
		"master.orders.abc123.ape1.cache.amazonaws.com":          {"orders", "ap-east-1", rediam.ElastiCache, false},
		"master.orders.abc123.cac1.cache.amazonaws.com":          {"orders", "ca-central-1", rediam.ElastiCache, false},
		"master.orders.abc123.sae1.cache.amazonaws.com":          {"orders", "sa-east-1", rediam.ElastiCache, false},
		"master.orders.abc123.eun1.cache.amazonaws.com":          {"orders", "eu-north-1", rediam.ElastiCache, false},
		"master.orders.abc123.mec1.cache.amazonaws.com":          {"orders", "me-central-1", rediam.ElastiCache, false},
		"master.orders.abc123.afs1.cache.amazonaws.com":          {"orders", "af-south-1", rediam.ElastiCache, false},
		"master.orders.abc123.ilc1.cache.amazonaws.com":          {"orders", "il-central-1", rediam.ElastiCache, false},
		"master.orders.abc123.mxc1.cache.amazonaws.com":          {"orders", "mx-central-1", rediam.ElastiCache, false},
		"master.orders.abc123.cnn1.cache.amazonaws.com.cn:6379":  {"orders", "cn-north-1", rediam.ElastiCache, false},
		"master.orders.abc123.cnw1.cache.amazonaws.com.cn:6379":  {"orders", "cn-northwest-1", rediam.ElastiCache, false},
		"master.orders.abc123.usgw1.cache.amazonaws.com":         {"orders", "us-gov-west-1", rediam.ElastiCache, false},
		"master.orders.abc123.usge1.cache.amazonaws.com":         {"orders", "us-gov-east-1", rediam.ElastiCache, false},
		"master.orders.abc123.zzz9.cache.amazonaws.com":          {"orders", "", rediam.ElastiCache, false},
		// Cluster mode enabled.
		"clustercfg.orders.abc123.use1.cache.amazonaws.com:6379":      {"orders", "us-east-1", rediam.ElastiCache, false},
		"orders.abc123.clustercfg.use1.cache.amazonaws.com:6379":      {"orders", "us-east-1", rediam.ElastiCache, false},
		"orders-0001-001.orders.abc123.use1.cache.amazonaws.com:6379": {"orders", "us-east-1", rediam.ElastiCache, false},
		"orders-0001-001.abc123.0001.use1.cache.amazonaws.com:6379":   {"orders", "us-east-1", rediam.ElastiCache, false},
		// Serverless.
		"orders-abc123.serverless.use1.cache.amazonaws.com:6379":           {"orders", "us-east-1", rediam.ElastiCache, true},
		"my-orders-abc123.serverless.euw1.cache.amazonaws.com:6380":        {"my-orders", "eu-west-1", rediam.ElastiCache, true},
		"my-orders-abc123.public.serverless.use1.cache.amazonaws.com:6379": {"my-orders", "us-east-1", rediam.ElastiCache, true},
		// MemoryDB.
		"clustercfg.orders.abc123.memorydb.us-east-1.amazonaws.com:6379":      {"orders", "us-east-1", rediam.MemoryDB, false},
		"orders-0001-001.orders.abc123.memorydb.eu-west-1.amazonaws.com:6379": {"orders", "eu-west-1", rediam.MemoryDB, false},
		"clustercfg.orders.abc123.memorydb.cn-north-1.amazonaws.com.cn:6379":  {"orders", "cn-north-1", rediam.MemoryDB, false},
		// None of AWS's.
		"localhost:6379":                      {},
		"127.0.0.1:6379":                      {},
		"[::1]:6379":                          {},
		"redis.internal.example":              {},
		"cache.amazonaws.com":                 {},
		"orders.cache.amazonaws.com":          {},
		"orders.memorydb.amazonaws.com":       {},
		"a.b.c.d.cache.amazonaws.com.example": {},
		"":                                    {},
	} {
		if got := toldBy(address); got != want {
			t.Errorf("toldBy(%q) = %+v, want %+v", address, got, want)
		}
	}
}

// oneGroup is the ElastiCache of a region with the replication group orders.
type oneGroup struct{ region string }

func (o oneGroup) DescribeReplicationGroups(context.Context, *elasticache.DescribeReplicationGroupsInput, ...func(*elasticache.Options)) (*elasticache.DescribeReplicationGroupsOutput, error) {
	arn := "arn:aws:elasticache:" + o.region + ":123456789012:replicationgroup:orders"
	return &elasticache.DescribeReplicationGroupsOutput{ReplicationGroups: []types.ReplicationGroup{{ReplicationGroupId: aws.String("orders"), ARN: &arn}}}, nil
}

func (oneGroup) DescribeServerlessCaches(context.Context, *elasticache.DescribeServerlessCachesInput, ...func(*elasticache.Options)) (*elasticache.DescribeServerlessCachesOutput, error) {
	return &elasticache.DescribeServerlessCachesOutput{}, nil
}

func (oneGroup) DescribeUsers(context.Context, *elasticache.DescribeUsersInput, ...func(*elasticache.Options)) (*elasticache.DescribeUsersOutput, error) {
	return &elasticache.DescribeUsersOutput{}, nil
}

func TestOfCachesOfOneNameThatInTheRegionOfTheEndpointIsMeant(t *testing.T) {
	e := &examination{Doctor: &Doctor{
		Config:  rediam.Config{Host: "master.orders.abc123.euw1.cache.amazonaws.com", CacheName: "orders", Region: "us-east-1"},
		Clients: func(region string) account.Clients { return account.Clients{ElastiCache: oneGroup{region}} },
	}}
	if _, _, cache := e.read(t.Context()); cache == nil || cache.Region() != "eu-west-1" {
		t.Errorf("the cache is %+v", cache)
	}
}
