// Package account reads what exists around a cache on AWS: who is asking, the
// caches and the users of a region, and what a principal may do.
package account

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"
	"github.com/aws/aws-sdk-go-v2/service/memorydb"
	memorydbtypes "github.com/aws/aws-sdk-go-v2/service/memorydb/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/rediam/rediam"
)

// Clients are what this package asks, all with the same credentials; those of the
// AWS SDK satisfy it. ElastiCache and MemoryDB are those of one region.
type Clients struct {
	STS         STS
	IAM         IAM
	ElastiCache ElastiCache
	MemoryDB    MemoryDB
}

// STS, ElastiCache and MemoryDB name the calls, which are also the permissions that
// reading everything takes; IAM's are beside Simulate.
type (
	STS interface {
		GetCallerIdentity(context.Context, *sts.GetCallerIdentityInput, ...func(*sts.Options)) (*sts.GetCallerIdentityOutput, error)
	}
	ElastiCache interface {
		elasticache.DescribeReplicationGroupsAPIClient
		elasticache.DescribeServerlessCachesAPIClient
		elasticache.DescribeUsersAPIClient
	}
	MemoryDB interface {
		memorydb.DescribeClustersAPIClient
		memorydb.DescribeUsersAPIClient
	}
)

// maxPages bounds every list that is read: 1,000 entries, as many users as an
// account may have (ElastiCache quotas).
const maxPages = 10

// An Identity is whose credentials were used.
type Identity struct {
	Account string
	ARN     string        // as STS tells: of a role, that of its session
	Ahead   time.Duration // how far AWS's clock is ahead of this machine's
}

// Who asks STS whose the credentials are. The clock is told with an error too, if
// AWS answered.
func (c Clients) Who(ctx context.Context) (Identity, error) {
	out, err := c.STS.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{}, func(o *sts.Options) {
		o.RetryMaxAttempts = 1 // the SDK would correct the clock and try again
	})
	var i Identity
	var answer *smithyhttp.ResponseError
	switch {
	case err == nil:
		i = Identity{Account: aws.ToString(out.Account), ARN: aws.ToString(out.Arn)}
		if server, ok := awsmiddleware.GetServerTime(out.ResultMetadata); ok {
			i.Ahead = time.Until(server)
		}
	case errors.As(err, &answer) && answer.Response != nil:
		if server, err := http.ParseTime(answer.Response.Header.Get("Date")); err == nil {
			i.Ahead = time.Until(server)
		}
	}
	return i, err
}

// A Cache is a replication group, a serverless cache or a MemoryDB cluster.
type Cache struct {
	Service    rediam.Service
	Serverless bool
	Name, ARN  string
	Engine     string // redis or valkey
	TLS        bool
	Groups     []string // user groups, or the ACL
	Endpoints  []string // host:port, of every kind
}

// Region is where the cache is.
func (c Cache) Region() string { return partOfARN(c.ARN, 3) }

// Account is whose the cache is.
func (c Cache) Account() string { return partOfARN(c.ARN, 4) }

// partOfARN counts from 0: arn:partition:service:region:account:resource.
func partOfARN(arn string, n int) string {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 {
		return ""
	}
	return parts[n]
}

// A User is one that Redis knows.
type User struct {
	Service  rediam.Service
	ID, Name string // equal on MemoryDB
	ARN      string
	IAM      bool // it signs in with IAM
	On       bool // its access string lets it sign in
	Groups   []string
}

// A Region is what there is in one.
type Region struct {
	Caches []Cache
	Users  []User
	Unread []Unread // what could not be read
}

// Unread is a call that failed, most often for a permission.
type Unread struct {
	Call string // elasticache:DescribeUsers, as policies name it
	Err  error
}

// Read lists the caches and users of both services, all at once. It blocks no longer
// than ctx, and what cannot be read is in Unread.
func (c Clients) Read(ctx context.Context) Region {
	var r Region
	var mu sync.Mutex
	var reading sync.WaitGroup
	read := func(call string, f func(add func([]Cache, []User)) error) {
		reading.Go(func() {
			err := f(func(caches []Cache, users []User) {
				mu.Lock()
				defer mu.Unlock()
				r.Caches, r.Users = append(r.Caches, caches...), append(r.Users, users...)
			})
			if err != nil {
				mu.Lock()
				defer mu.Unlock()
				r.Unread = append(r.Unread, Unread{call, err})
			}
		})
	}
	if c.ElastiCache != nil {
		read("elasticache:DescribeReplicationGroups", func(add func([]Cache, []User)) error {
			p := elasticache.NewDescribeReplicationGroupsPaginator(c.ElastiCache, &elasticache.DescribeReplicationGroupsInput{})
			return pages(ctx, p.HasMorePages, p.NextPage, func(out *elasticache.DescribeReplicationGroupsOutput) {
				add(each(out.ReplicationGroups, ofReplicationGroup), nil)
			})
		})
		read("elasticache:DescribeServerlessCaches", func(add func([]Cache, []User)) error {
			p := elasticache.NewDescribeServerlessCachesPaginator(c.ElastiCache, &elasticache.DescribeServerlessCachesInput{})
			return pages(ctx, p.HasMorePages, p.NextPage, func(out *elasticache.DescribeServerlessCachesOutput) {
				add(each(out.ServerlessCaches, ofServerlessCache), nil)
			})
		})
		read("elasticache:DescribeUsers", func(add func([]Cache, []User)) error {
			p := elasticache.NewDescribeUsersPaginator(c.ElastiCache, &elasticache.DescribeUsersInput{})
			return pages(ctx, p.HasMorePages, p.NextPage, func(out *elasticache.DescribeUsersOutput) {
				add(nil, each(out.Users, ofElastiCacheUser))
			})
		})
	}
	if c.MemoryDB != nil {
		read("memorydb:DescribeClusters", func(add func([]Cache, []User)) error {
			p := memorydb.NewDescribeClustersPaginator(c.MemoryDB, &memorydb.DescribeClustersInput{})
			return pages(ctx, p.HasMorePages, p.NextPage, func(out *memorydb.DescribeClustersOutput) {
				add(each(out.Clusters, ofCluster), nil)
			})
		})
		read("memorydb:DescribeUsers", func(add func([]Cache, []User)) error {
			p := memorydb.NewDescribeUsersPaginator(c.MemoryDB, &memorydb.DescribeUsersInput{})
			return pages(ctx, p.HasMorePages, p.NextPage, func(out *memorydb.DescribeUsersOutput) {
				add(nil, each(out.Users, ofMemoryDBUser))
			})
		})
	}
	reading.Wait()
	return r
}

// pages reads a list to its end, or for maxPages.
func pages[Out, Options any](ctx context.Context, more func() bool, next func(context.Context, ...func(*Options)) (*Out, error), use func(*Out)) error {
	for range maxPages {
		if !more() {
			return nil
		}
		out, err := next(ctx)
		if err != nil {
			return err
		}
		use(out)
	}
	if more() {
		return fmt.Errorf("the list is longer than %d pages", maxPages)
	}
	return nil
}

func each[In, Out any](list []In, f func(In) Out) []Out {
	out := make([]Out, len(list))
	for i, v := range list {
		out[i] = f(v)
	}
	return out
}

func ofReplicationGroup(g types.ReplicationGroup) Cache {
	c := Cache{Service: rediam.ElastiCache, Name: aws.ToString(g.ReplicationGroupId), ARN: aws.ToString(g.ARN), Engine: aws.ToString(g.Engine),
		TLS: aws.ToBool(g.TransitEncryptionEnabled), Groups: g.UserGroupIds}
	c.addElastiCache(g.ConfigurationEndpoint)
	for _, shard := range g.NodeGroups {
		c.addElastiCache(shard.PrimaryEndpoint)
		c.addElastiCache(shard.ReaderEndpoint)
		for _, node := range shard.NodeGroupMembers {
			c.addElastiCache(node.ReadEndpoint)
		}
	}
	return c
}

func ofServerlessCache(s types.ServerlessCache) Cache {
	c := Cache{Service: rediam.ElastiCache, Serverless: true, Name: aws.ToString(s.ServerlessCacheName), ARN: aws.ToString(s.ARN), Engine: aws.ToString(s.Engine), TLS: true}
	if s.UserGroupId != nil {
		c.Groups = []string{*s.UserGroupId}
	}
	c.addElastiCache(s.Endpoint)
	c.addElastiCache(s.ReaderEndpoint)
	return c
}

func ofCluster(m memorydbtypes.Cluster) Cache {
	c := Cache{Service: rediam.MemoryDB, Name: aws.ToString(m.Name), ARN: aws.ToString(m.ARN), TLS: aws.ToBool(m.TLSEnabled)}
	if m.ACLName != nil {
		c.Groups = []string{*m.ACLName}
	}
	if e := m.ClusterEndpoint; e != nil {
		c.add(e.Address, &e.Port)
	}
	return c
}

func (c *Cache) addElastiCache(e *types.Endpoint) {
	if e != nil {
		c.add(e.Address, e.Port)
	}
}

func (c *Cache) add(address *string, port *int32) {
	if address != nil && port != nil {
		c.Endpoints = append(c.Endpoints, net.JoinHostPort(*address, strconv.Itoa(int(*port))))
	}
}

func ofElastiCacheUser(u types.User) User {
	return User{Service: rediam.ElastiCache, ID: aws.ToString(u.UserId), Name: aws.ToString(u.UserName), ARN: aws.ToString(u.ARN),
		IAM: u.Authentication != nil && u.Authentication.Type == types.AuthenticationTypeIam, On: isOn(u.AccessString), Groups: u.UserGroupIds}
}

func ofMemoryDBUser(u memorydbtypes.User) User {
	return User{Service: rediam.MemoryDB, ID: aws.ToString(u.Name), Name: aws.ToString(u.Name), ARN: aws.ToString(u.ARN),
		IAM: u.Authentication != nil && u.Authentication.Type == memorydbtypes.AuthenticationTypeIam, On: isOn(u.AccessString), Groups: u.ACLNames}
}

// isOn does without a parser, which would have to know all commands of all engines.
// The last word counts; those of selectors are other words.
func isOn(accessString *string) (on bool) {
	for word := range strings.FieldsSeq(strings.ToLower(aws.ToString(accessString))) {
		on = word == "on" || on && word != "off"
	}
	return on
}
