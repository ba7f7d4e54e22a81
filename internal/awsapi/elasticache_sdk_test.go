package awsapi_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"
	"github.com/rediam/rediam"
	"github.com/rediam/rediam/emulator"
	"github.com/rediam/rediam/internal/installed"
	"github.com/redis/go-redis/v9"
)

func elastiCache(srv *emulator.Server, k emulator.Key) *elasticache.Client {
	return elasticache.New(elasticache.Options{Region: srv.Region(), BaseEndpoint: aws.String(srv.URL()), Credentials: emulator.KeyCredentials(k),
		HTTPSignerV4: onClock{v4.NewSigner(), srv.Now}, HTTPClient: readers{}, RetryMaxAttempts: 1})
}

// an account is an emulator with the SDK's client of its administrator.
type account struct {
	*elasticache.Client
	srv *emulator.Server
}

func newAccount(t *testing.T, c emulator.Config) account {
	t.Helper()
	c.Empty = true
	srv := emulator.Start(t, c)
	return account{elastiCache(srv, admin(t, srv)), srv}
}

// only gives an error alone.
func only[V any](_ V, err error) error { return err }

const password = "a-str0ng-pa))word"

// makeGroup makes a user group app-users of a default user that is off and the IAM
// user app, and a subnet group.
func (a account) makeGroup(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	must(t, only(a.CreateUser(ctx, &elasticache.CreateUserInput{UserId: aws.String("app-default"), UserName: aws.String("default"), Engine: aws.String("redis"), AccessString: aws.String("off +get ~keys*"),
		AuthenticationMode: &types.AuthenticationMode{Type: types.InputAuthenticationTypePassword, Passwords: []string{password}}})),
		only(a.CreateUser(ctx, &elasticache.CreateUserInput{UserId: aws.String("app"), UserName: aws.String("app"), Engine: aws.String("REDIS"), AccessString: aws.String("on ~* +@all"),
			AuthenticationMode: &types.AuthenticationMode{Type: types.InputAuthenticationTypeIam}})),
		only(a.CreateUserGroup(ctx, &elasticache.CreateUserGroupInput{UserGroupId: aws.String("app-users"), Engine: aws.String("redis"), UserIds: []string{"app-default", "app"}})),
		only(a.CreateCacheSubnetGroup(ctx, &elasticache.CreateCacheSubnetGroupInput{CacheSubnetGroupName: aws.String("Net"), CacheSubnetGroupDescription: aws.String("x"), SubnetIds: []string{"subnet-1", "subnet-2"}})))
}

// cacheInput is a replication group with that user group.
func cacheInput(name string) *elasticache.CreateReplicationGroupInput {
	return &elasticache.CreateReplicationGroupInput{ReplicationGroupId: aws.String(name), ReplicationGroupDescription: aws.String("a cache"), CacheNodeType: aws.String("cache.m6g.large"),
		Engine: aws.String("redis"), EngineVersion: aws.String("7.0"), TransitEncryptionEnabled: aws.Bool(true), CacheSubnetGroupName: aws.String("net"), UserGroupIds: []string{"app-users"},
		SecurityGroupIds: []string{"sg-1"}, Tags: []types.Tag{{Key: aws.String("env"), Value: aws.String("test")}}}
}

func (a account) replicationGroup(t *testing.T, name string) types.ReplicationGroup {
	t.Helper()
	got, err := a.DescribeReplicationGroups(t.Context(), &elasticache.DescribeReplicationGroupsInput{ReplicationGroupId: &name})
	must(t, err)
	return got.ReplicationGroups[0]
}

// primary is where clients of a replication group without cluster mode connect.
func primary(t *testing.T, g types.ReplicationGroup) string {
	t.Helper()
	if len(g.NodeGroups) != 1 || g.NodeGroups[0].PrimaryEndpoint == nil {
		t.Fatalf("%s has no endpoint", *g.ReplicationGroupId)
	}
	return address(g.NodeGroups[0].PrimaryEndpoint)
}

func address(e *types.Endpoint) string {
	return net.JoinHostPort(*e.Address, strconv.Itoa(int(*e.Port)))
}

// dial is a client of one connection that tries nothing twice.
func dial(t *testing.T, address string, tls *tls.Config, user, password string) *redis.Client {
	t.Helper()
	db := redis.NewClient(&redis.Options{Addr: address, TLSConfig: tls, Username: user, Password: password, PoolSize: 1, MaxRetries: -1})
	t.Cleanup(func() { db.Close() })
	return db
}

// token signs in to a cache as the user, who is one of IAM.
func token(t *testing.T, srv *emulator.Server, k emulator.Key, cache, user string) string {
	t.Helper()
	signer := &rediam.Signer{Cache: cache, User: user, Region: srv.Region(), Credentials: emulator.KeyCredentials(k), Now: srv.Now}
	token, err := signer.Token(t.Context())
	must(t, err)
	return string(token.Password)
}

func wrongPass(t *testing.T, what string, db *redis.Client) {
	t.Helper()
	if err := db.Ping(t.Context()).Err(); err == nil || !strings.HasPrefix(err.Error(), "WRONGPASS") {
		t.Errorf("%s: PING is answered by %v", what, err)
	}
}

func TestTheSDKMakesACacheThatATokenOpens(t *testing.T) {
	a := newAccount(t, emulator.Config{Engine: "embedded"})
	ctx := t.Context()
	a.makeGroup(t)
	made, err := a.CreateReplicationGroup(ctx, cacheInput("Orders"))
	must(t, err, elasticache.NewReplicationGroupAvailableWaiter(a).Wait(ctx, &elasticache.DescribeReplicationGroupsInput{ReplicationGroupId: aws.String("orders")}, time.Minute),
		elasticache.NewCacheClusterAvailableWaiter(a).Wait(ctx, &elasticache.DescribeCacheClustersInput{CacheClusterId: aws.String("orders-001")}, time.Minute))
	g := a.replicationGroup(t, "ORDERS")
	if *g.ARN != "arn:aws:elasticache:us-east-1:123456789012:replicationgroup:orders" || *g.Status != "available" || !slices.Equal(g.UserGroupIds, []string{"app-users"}) ||
		!slices.Equal(g.MemberClusters, []string{"orders-001"}) || *g.ClusterEnabled || !*g.TransitEncryptionEnabled || *g.AuthTokenEnabled || *g.CacheNodeType != "cache.m6g.large" ||
		*g.Description != "a cache" || *made.ReplicationGroup.ARN != *g.ARN {
		t.Errorf("DescribeReplicationGroups() = %+v", g)
	}
	clusters, err := a.DescribeCacheClusters(ctx, &elasticache.DescribeCacheClustersInput{ShowCacheNodeInfo: aws.Bool(true)})
	must(t, err)
	if c := clusters.CacheClusters[0]; *c.CacheClusterId != "orders-001" || *c.ReplicationGroupId != "orders" || *c.EngineVersion != "7.0" || address(c.CacheNodes[0].Endpoint) != primary(t, g) || *c.CacheSubnetGroupName != "net" {
		t.Errorf("DescribeCacheClusters() = %+v", c)
	}
	key := admin(t, a.srv)
	cache := a.srv.Cache("orders")
	db := dial(t, primary(t, g), cache.TLS, "app", token(t, a.srv, key, "orders", "app"))
	must(t, db.Set(ctx, "k", "v", 0).Err())
	wrongPass(t, "the default user, who is off", dial(t, cache.Addr, cache.TLS, "", password))

	// A new access string is that of live connections.
	modified, err := a.ModifyUser(ctx, &elasticache.ModifyUserInput{UserId: aws.String("app"), AccessString: aws.String("on ~other +@read")})
	must(t, err)
	if *modified.AccessString != "on ~other -@all +@read" || *modified.Status != "active" {
		t.Errorf("ModifyUser() = %+v", modified)
	}
	if err := db.Get(ctx, "k").Err(); err == nil || !strings.HasPrefix(err.Error(), "NOPERM") {
		t.Errorf("GET is answered by %v", err)
	}
	must(t, only(a.ModifyUser(ctx, &elasticache.ModifyUserInput{UserId: aws.String("app"), AppendAccessString: aws.String("~k")})))
	must(t, db.Get(ctx, "k").Err())

	// Whoever leaves the group is disconnected.
	isApp := func(s emulator.Session) bool { return s.User == "app" }
	if !slices.ContainsFunc(a.srv.Sessions("orders"), isApp) {
		t.Error("there is no connection")
	}
	left, err := a.ModifyUserGroup(ctx, &elasticache.ModifyUserGroupInput{UserGroupId: aws.String("app-users"), UserIdsToRemove: []string{"app"}})
	must(t, err)
	if !slices.Equal(left.UserIds, []string{"app-default"}) || !slices.Equal(left.ReplicationGroups, []string{"orders"}) {
		t.Errorf("ModifyUserGroup() = %+v", left)
	}
	if after := a.srv.Sessions("orders"); slices.ContainsFunc(after, isApp) {
		t.Errorf("there are %+v", after)
	}
	wrongPass(t, "a user who has left", dial(t, cache.Addr, cache.TLS, "app", token(t, a.srv, key, "orders", "app")))

	_, err = a.DeleteUserGroup(ctx, &elasticache.DeleteUserGroupInput{UserGroupId: aws.String("app-users")})
	refused(t, "a group in use", err, 400, "InvalidUserGroupState", "orders")
	_, err = a.DeleteCacheSubnetGroup(ctx, &elasticache.DeleteCacheSubnetGroupInput{CacheSubnetGroupName: aws.String("net")})
	refused(t, "a subnet group in use", err, 400, "CacheSubnetGroupInUse", "orders")
	deleted, err := a.DeleteReplicationGroup(ctx, &elasticache.DeleteReplicationGroupInput{ReplicationGroupId: aws.String("orders")})
	must(t, err, elasticache.NewReplicationGroupDeletedWaiter(a).Wait(ctx, &elasticache.DescribeReplicationGroupsInput{ReplicationGroupId: aws.String("orders")}, time.Minute),
		only(a.DeleteUserGroup(ctx, &elasticache.DeleteUserGroupInput{UserGroupId: aws.String("app-users")})),
		only(a.DeleteUser(ctx, &elasticache.DeleteUserInput{UserId: aws.String("app")})),
		only(a.DeleteCacheSubnetGroup(ctx, &elasticache.DeleteCacheSubnetGroupInput{CacheSubnetGroupName: aws.String("net")})))
	if *deleted.ReplicationGroup.Status != "deleting" {
		t.Errorf("DeleteReplicationGroup() = %+v", deleted.ReplicationGroup)
	}
	if _, err := net.Dial("tcp", cache.Addr); err == nil {
		t.Error("the deleted cache still listens")
	}
}

// The SDK has a type for the errors that the model has for an operation, which it
// tells by the code.
func TestTheSDKKnowsTheErrors(t *testing.T) {
	a := newAccount(t, emulator.Config{Engine: "embedded"})
	ctx := t.Context()
	a.makeGroup(t)
	must(t, only(a.CreateReplicationGroup(ctx, cacheInput("taken"))),
		only(a.CreateUser(ctx, &elasticache.CreateUserInput{UserId: aws.String("on-valkey"), UserName: aws.String("on-valkey"), Engine: aws.String("valkey"), AccessString: aws.String("on ~* +@all"),
			AuthenticationMode: &types.AuthenticationMode{Type: types.InputAuthenticationTypeIam}})))
	user := func(change func(*elasticache.CreateUserInput)) error {
		in := &elasticache.CreateUserInput{UserId: aws.String("new"), UserName: aws.String("new"), Engine: aws.String("redis"), AccessString: aws.String("on ~* +@all")}
		change(in)
		return only(a.CreateUser(ctx, in))
	}
	group := func(id string, users ...string) error {
		return only(a.CreateUserGroup(ctx, &elasticache.CreateUserGroupInput{UserGroupId: aws.String(id), Engine: aws.String("redis"), UserIds: users}))
	}
	cache := func(change func(*elasticache.CreateReplicationGroupInput)) error {
		in := cacheInput("new")
		change(in)
		return only(a.CreateReplicationGroup(ctx, in))
	}
	cluster := func(change func(*elasticache.CreateCacheClusterInput)) error {
		in := &elasticache.CreateCacheClusterInput{CacheClusterId: aws.String("new"), Engine: aws.String("redis"), NumCacheNodes: aws.Int32(1)}
		change(in)
		return only(a.CreateCacheCluster(ctx, in))
	}
	iam := &types.AuthenticationMode{Type: types.InputAuthenticationTypeIam}
	const combination, value = "InvalidParameterCombination", "InvalidParameterValue"
	for what, test := range map[string]struct {
		err           error
		as            any
		status        int
		code, message string
	}{
		"a user twice": {user(func(i *elasticache.CreateUserInput) {
			i.UserId, i.UserName, i.AuthenticationMode = aws.String("APP"), aws.String("app"), iam
		}),
			new(*types.UserAlreadyExistsFault), 400, "UserAlreadyExists", "User app already exists."},
		"the premade user": {user(func(i *elasticache.CreateUserInput) {
			i.UserId, i.NoPasswordRequired = aws.String("default"), aws.Bool(true)
		}),
			new(*types.UserAlreadyExistsFault), 400, "UserAlreadyExists", "default"},
		"another name than the id": {user(func(i *elasticache.CreateUserInput) { i.UserName, i.AuthenticationMode = aws.String("other"), iam }),
			new(*types.InvalidParameterCombinationException), 400, combination, "User Id and User name must be same for authentication type: iam"},
		"no password":         {user(func(*elasticache.CreateUserInput) {}), new(*types.InvalidParameterValueException), 400, value, "please use the NoPasswordRequired flag."},
		"a password with IAM": {user(func(i *elasticache.CreateUserInput) { i.AuthenticationMode, i.Passwords = iam, []string{password} }), new(*types.InvalidParameterCombinationException), 400, combination, "Password field is not allowed with authentication type: iam"},
		"a short password":    {user(func(i *elasticache.CreateUserInput) { i.Passwords = []string{"short"} }), new(*types.InvalidParameterValueException), 400, value, "Passwords length must be between 16-128 characters."},
		"both ways":           {user(func(i *elasticache.CreateUserInput) { i.AuthenticationMode, i.NoPasswordRequired = iam, aws.Bool(true) }), new(*types.InvalidParameterCombinationException), 400, combination, "No password required flag is true but provided authentication type is iam"},
		"another type": {user(func(i *elasticache.CreateUserInput) {
			i.AuthenticationMode = &types.AuthenticationMode{Type: "kerberos"}
		}), new(*types.InvalidParameterValueException), 400, value, "Input Authentication type: kerberos is not in the allowed list: [password,no-password-required,iam]"},
		"a prohibited command": {user(func(i *elasticache.CreateUserInput) {
			i.AuthenticationMode, i.AccessString = iam, aws.String("on ~* +config")
		}), new(*types.InvalidParameterValueException), 400, value, "access string"},
		"a blank access string": {user(func(i *elasticache.CreateUserInput) { i.AuthenticationMode, i.AccessString = iam, aws.String(" ") }), new(*types.InvalidParameterValueException), 400, value, "AccessString"},
		"a user with 51 tags": {user(func(i *elasticache.CreateUserInput) {
			i.AuthenticationMode = iam
			for n := range 51 {
				i.Tags = append(i.Tags, types.Tag{Key: aws.String(fmt.Sprint("k", n)), Value: aws.String("")})
			}
		}), new(*types.TagQuotaPerResourceExceeded), 400, "TagQuotaPerResourceExceeded", "50"},
		"no such user":             {only(a.ModifyUser(ctx, &elasticache.ModifyUserInput{UserId: aws.String("nobody")})), new(*types.UserNotFoundFault), 404, "UserNotFound", "User nobody not found."},
		"two access strings":       {only(a.ModifyUser(ctx, &elasticache.ModifyUserInput{UserId: aws.String("app"), AccessString: aws.String("on"), AppendAccessString: aws.String("on")})), new(*types.InvalidParameterCombinationException), 400, combination, "AppendAccessString"},
		"the premade user changed": {only(a.ModifyUser(ctx, &elasticache.ModifyUserInput{UserId: aws.String("default"), AccessString: aws.String("off -@all")})), new(*types.InvalidParameterValueException), 400, value, "default"},
		"the premade user deleted": {only(a.DeleteUser(ctx, &elasticache.DeleteUserInput{UserId: aws.String("default")})), new(*types.InvalidParameterValueException), 400, value, "default"},
		"a default user deleted":   {only(a.DeleteUser(ctx, &elasticache.DeleteUserInput{UserId: aws.String("app-default")})), new(*types.DefaultUserAssociatedToUserGroupFault), 400, "DefaultUserAssociatedToUserGroup", "app-users"},
		"a group twice":            {group("app-users", "default"), new(*types.UserGroupAlreadyExistsFault), 400, "UserGroupAlreadyExists", "app-users"},
		"no default user":          {group("new", "app"), new(*types.DefaultUserRequired), 400, "DefaultUserRequired", "User group needs to contain a user with the user name default."},
		"two default users":        {group("new", "default", "app-default"), new(*types.DuplicateUserNameFault), 400, "DuplicateUserName", "default"},
		"a group of nobody":        {group("new", "default", "nobody"), new(*types.UserNotFoundFault), 404, "UserNotFound", "User nobody not found."},
		"a Valkey user":            {group("new", "default", "on-valkey"), new(*types.InvalidParameterValueException), 400, value, "engine valkey"},
		"a user added twice":       {only(a.ModifyUserGroup(ctx, &elasticache.ModifyUserGroupInput{UserGroupId: aws.String("app-users"), UserIdsToAdd: []string{"app"}})), new(*types.InvalidParameterValueException), 400, value, "app"},
		"a stranger removed":       {only(a.ModifyUserGroup(ctx, &elasticache.ModifyUserGroupInput{UserGroupId: aws.String("app-users"), UserIdsToRemove: []string{"default"}})), new(*types.InvalidParameterValueException), 400, value, "default"},
		"nothing modified":         {only(a.ModifyUserGroup(ctx, &elasticache.ModifyUserGroupInput{UserGroupId: aws.String("app-users")})), new(*types.InvalidParameterCombinationException), 400, combination, "nothing"},
		"no such group":            {only(a.DeleteUserGroup(ctx, &elasticache.DeleteUserGroupInput{UserGroupId: aws.String("none")})), new(*types.UserGroupNotFoundFault), 404, "UserGroupNotFound", "none"},
		"a cache twice":            {cache(func(i *elasticache.CreateReplicationGroupInput) { i.ReplicationGroupId = aws.String("Taken") }), new(*types.ReplicationGroupAlreadyExistsFault), 400, "ReplicationGroupAlreadyExists", "taken"},
		"a user group without TLS": {cache(func(i *elasticache.CreateReplicationGroupInput) { i.TransitEncryptionEnabled = nil }), new(*types.InvalidParameterCombinationException), 400, combination, "requires encryption-in-transit to be enabled"},
		"no such subnet group":     {cache(func(i *elasticache.CreateReplicationGroupInput) { i.CacheSubnetGroupName = aws.String("none") }), new(*types.CacheSubnetGroupNotFoundFault), 400, "CacheSubnetGroupNotFoundFault", "none"},
		"no such user group":       {cache(func(i *elasticache.CreateReplicationGroupInput) { i.UserGroupIds = []string{"none"} }), new(*types.UserGroupNotFoundFault), 404, "UserGroupNotFound", "none"},
		"two user groups":          {cache(func(i *elasticache.CreateReplicationGroupInput) { i.UserGroupIds = []string{"app-users", "b"} }), new(*types.InvalidParameterCombinationException), 400, combination, "one user group"},
		"a token and a group":      {cache(func(i *elasticache.CreateReplicationGroupInput) { i.AuthToken = aws.String("sixteen-letters!") }), new(*types.InvalidParameterCombinationException), 400, combination, "Pass AuthStrategy delete to proceed."},
		"a token without TLS": {cache(func(i *elasticache.CreateReplicationGroupInput) {
			i.AuthToken, i.TransitEncryptionEnabled, i.UserGroupIds = aws.String("sixteen-letters!"), nil, nil
		}), new(*types.InvalidParameterCombinationException), 400, combination, "encryption-in-transit"},
		"a bad token": {cache(func(i *elasticache.CreateReplicationGroupInput) {
			i.AuthToken, i.UserGroupIds = aws.String("sixteen letters!"), nil
		}), new(*types.InvalidParameterValueException), 400, value, "Invalid AuthToken provided."},
		"an old engine": {cache(func(i *elasticache.CreateReplicationGroupInput) { i.EngineVersion = aws.String("7.4") }), new(*types.InvalidParameterCombinationException), 400, combination, "Cannot find version 7.4 for redis"},
		"memcached": {cache(func(i *elasticache.CreateReplicationGroupInput) {
			i.Engine, i.EngineVersion = aws.String("memcached"), nil
		}), new(*types.InvalidParameterValueException), 400, value, "redis or valkey"},
		"a replica":            {cache(func(i *elasticache.CreateReplicationGroupInput) { i.NumCacheClusters = aws.Int32(2) }), new(*types.InvalidParameterValueException), 400, value, "no replicas"},
		"failover to nobody":   {cache(func(i *elasticache.CreateReplicationGroupInput) { i.AutomaticFailoverEnabled = aws.Bool(true) }), new(*types.InvalidParameterCombinationException), 400, combination, "at least 2 cache clusters"},
		"two shards, embedded": {cache(func(i *elasticache.CreateReplicationGroupInput) { i.NumNodeGroups = aws.Int32(2) }), new(*types.InvalidParameterCombinationException), 400, combination, "needs redis-server or valkey-server"},
		"own parameters":       {cache(func(i *elasticache.CreateReplicationGroupInput) { i.CacheParameterGroupName = aws.String("own") }), new(*types.CacheParameterGroupNotFoundFault), 404, "CacheParameterGroupNotFound", "own"},
		"parameters of 6.x": {cache(func(i *elasticache.CreateReplicationGroupInput) {
			i.EngineVersion, i.CacheParameterGroupName = nil, aws.String("default.redis6.x")
		}), new(*types.InvalidParameterCombinationException), 400, combination, "Expected a parameter group of family redis7 but found one of family redis6.x"},
		"no id of a group":       {cache(func(i *elasticache.CreateReplicationGroupInput) { i.SecurityGroupIds = []string{"app-users"} }), new(*types.InvalidParameterValueException), 400, value, "security group"},
		"a snapshot":             {cache(func(i *elasticache.CreateReplicationGroupInput) { i.SnapshotName = aws.String("s") }), nil, 400, "ValidationError", "SnapshotName"},
		"a downgrade":            {only(a.ModifyReplicationGroup(ctx, &elasticache.ModifyReplicationGroupInput{ReplicationGroupId: aws.String("taken"), EngineVersion: aws.String("6.2")})), new(*types.InvalidParameterCombinationException), 400, combination, "cannot go back"},
		"a second group":         {only(a.ModifyReplicationGroup(ctx, &elasticache.ModifyReplicationGroupInput{ReplicationGroupId: aws.String("taken"), UserGroupIdsToAdd: []string{"b"}})), new(*types.InvalidParameterCombinationException), 400, combination, "one user group"},
		"no such cache":          {only(a.ModifyReplicationGroup(ctx, &elasticache.ModifyReplicationGroupInput{ReplicationGroupId: aws.String("none")})), new(*types.ReplicationGroupNotFoundFault), 404, "ReplicationGroupNotFoundFault", "none"},
		"no such cache cluster":  {only(a.DescribeCacheClusters(ctx, &elasticache.DescribeCacheClustersInput{CacheClusterId: aws.String("none")})), new(*types.CacheClusterNotFoundFault), 404, "CacheClusterNotFound", "none"},
		"two nodes":              {cluster(func(i *elasticache.CreateCacheClusterInput) { i.NumCacheNodes = aws.Int32(2) }), new(*types.InvalidParameterValueException), 400, value, "must be 1"},
		"a cluster with TLS":     {cluster(func(i *elasticache.CreateCacheClusterInput) { i.TransitEncryptionEnabled = aws.Bool(true) }), new(*types.InvalidParameterCombinationException), 400, combination, "Encryption feature is not supported for engine REDIS."},
		"a cluster of no engine": {cluster(func(i *elasticache.CreateCacheClusterInput) { i.Engine = nil }), new(*types.InvalidParameterValueException), 400, value, "Engine"},
		"a cache's name":         {cluster(func(i *elasticache.CreateCacheClusterInput) { i.CacheClusterId = aws.String("taken") }), new(*types.InvalidParameterCombinationException), 400, combination, "replicationgroup"},
		"an odd page":            {only(a.DescribeUsers(ctx, &elasticache.DescribeUsersInput{MaxRecords: aws.Int32(19)})), nil, 400, value, "Must be between 20 and 100"},
		"an odd filter":          {only(a.DescribeUsers(ctx, &elasticache.DescribeUsersInput{Filters: []types.Filter{{Name: aws.String("Shoe"), Values: []string{"44"}}}})), nil, 400, value, "Shoe"},
		"no such serverless":     {only(a.DeleteServerlessCache(ctx, &elasticache.DeleteServerlessCacheInput{ServerlessCacheName: aws.String("none")})), new(*types.ServerlessCacheNotFoundFault), 404, "ServerlessCacheNotFoundFault", "none"},
		"no ARN":                 {only(a.ListTagsForResource(ctx, &elasticache.ListTagsForResourceInput{ResourceName: aws.String("taken")})), new(*types.InvalidARNFault), 400, "InvalidARN", "taken"},
		"an ARN elsewhere": {only(a.ListTagsForResource(ctx, &elasticache.ListTagsForResourceInput{ResourceName: aws.String("arn:aws:elasticache:us-east-1:210987654321:user:app")})),
			new(*types.InvalidARNFault), 400, "InvalidARN", "210987654321"},
	} {
		refused(t, what, test.err, test.status, test.code, test.message)
		if test.as != nil && !errors.As(test.err, test.as) {
			t.Errorf("%s: %T is not in %v", what, test.as, test.err)
		}
	}
	if groups, err := a.DescribeReplicationGroups(ctx, nil); err != nil || len(groups.ReplicationGroups) != 1 {
		t.Errorf("there are %+v, %v", groups, err)
	}
}

func TestTheSDKGoesThroughThePages(t *testing.T) {
	a := newAccount(t, emulator.Config{Engine: "embedded"})
	want := []string{"default", "default.iam-user"}
	for i := range 44 {
		id := fmt.Sprintf("user-%02d", i)
		must(t, a.srv.PutUser(emulator.User{Name: id}))
		want = append(want, id)
	}
	var got []string
	pages := elasticache.NewDescribeUsersPaginator(a, &elasticache.DescribeUsersInput{MaxRecords: aws.Int32(20)})
	count := 0
	for ; pages.HasMorePages(); count++ {
		page, err := pages.NextPage(t.Context())
		must(t, err)
		for _, u := range page.Users {
			got = append(got, *u.UserId)
		}
	}
	if !slices.Equal(got, want) || count != 3 {
		t.Errorf("%d pages of %v", count, got)
	}
	some, err := a.DescribeUsers(t.Context(), &elasticache.DescribeUsersInput{Engine: aws.String("redis"), Filters: []types.Filter{{Name: aws.String("UserId"), Values: []string{"user-07", "default", "nobody"}}}})
	must(t, err)
	if len(some.Users) != 2 || *some.Users[0].UserId != "default" || *some.Users[0].AccessString != "on ~* +@all" || some.Users[0].Authentication.Type != types.AuthenticationTypeNoPassword ||
		*some.Users[0].MinimumEngineVersion != "6.0" || *some.Users[1].MinimumEngineVersion != "7.0" || some.Users[1].Authentication.PasswordCount != nil || some.Users[1].UserGroupIds == nil {
		t.Errorf("DescribeUsers() = %+v", some.Users)
	}
}

func TestTheAPIShowsWhatIsUnderWay(t *testing.T) {
	a := newAccount(t, emulator.Config{Engine: "embedded", StateDelay: time.Hour})
	ctx := t.Context()
	a.makeGroup(t)
	in := cacheInput("orders")
	_, err := a.CreateReplicationGroup(ctx, in)
	refused(t, "a group that is being made", err, 400, "InvalidUserGroupState", "creating")
	a.srv.Advance(time.Hour)
	made, err := a.CreateReplicationGroup(ctx, in)
	must(t, err)
	if g := a.replicationGroup(t, "orders"); *made.ReplicationGroup.Status != "creating" || *g.Status != "creating" || g.NodeGroups != nil {
		t.Errorf("%s, with node groups %+v", *g.Status, g.NodeGroups)
	}
	change := &elasticache.ModifyReplicationGroupInput{ReplicationGroupId: aws.String("orders"), RemoveUserGroups: aws.Bool(true), AuthToken: aws.String("sixteen-letters!"), AuthTokenUpdateStrategy: types.AuthTokenUpdateStrategyTypeSet}
	_, err = a.ModifyReplicationGroup(ctx, change)
	refused(t, "a cache that is being made", err, 400, "InvalidReplicationGroupState", "creating")
	_, err = a.DeleteReplicationGroup(ctx, &elasticache.DeleteReplicationGroupInput{ReplicationGroupId: aws.String("orders")})
	refused(t, "a cache that is being made", err, 400, "InvalidReplicationGroupState", "creating")
	a.srv.Advance(time.Hour)
	where := primary(t, a.replicationGroup(t, "orders"))
	must(t, only(a.ModifyReplicationGroup(ctx, change)))
	if g := a.replicationGroup(t, "orders"); *g.Status != "modifying" || g.PendingModifiedValues.AuthTokenStatus != types.AuthTokenUpdateStatusSetting || primary(t, g) != where {
		t.Errorf("%s, pending %+v", *g.Status, g.PendingModifiedValues)
	}
	change.RemoveUserGroups, change.AuthToken, change.AuthTokenUpdateStrategy = nil, aws.String("seventeen-letters"), types.AuthTokenUpdateStrategyTypeRotate
	_, err = a.ModifyReplicationGroup(ctx, change)
	refused(t, "a cache that is being changed", err, 400, "InvalidReplicationGroupState", "modifying")
	a.srv.Advance(time.Hour)
	if g := a.replicationGroup(t, "orders"); *g.Status != "available" || g.PendingModifiedValues.AuthTokenStatus != "" {
		t.Errorf("%s, pending %+v", *g.Status, g.PendingModifiedValues)
	}
	must(t, only(a.ModifyReplicationGroup(ctx, change)))
	if g := a.replicationGroup(t, "orders"); *g.Status != "modifying" || g.PendingModifiedValues.AuthTokenStatus != types.AuthTokenUpdateStatusRotating {
		t.Errorf("%s, pending %+v", *g.Status, g.PendingModifiedValues)
	}
	a.srv.Advance(time.Hour)
	must(t, only(a.ModifyUser(ctx, &elasticache.ModifyUserInput{UserId: aws.String("app"), AccessString: aws.String("on ~* +get")})))
	_, err = a.DeleteUser(ctx, &elasticache.DeleteUserInput{UserId: aws.String("app")})
	refused(t, "a user who is being changed", err, 400, "InvalidUserState", "modifying")
	a.srv.Advance(time.Hour)
	must(t, only(a.DeleteUser(ctx, &elasticache.DeleteUserInput{UserId: aws.String("app")})),
		only(a.DeleteReplicationGroup(ctx, &elasticache.DeleteReplicationGroupInput{ReplicationGroupId: aws.String("orders")})))
	if _, err := net.Dial("tcp", where); err == nil {
		t.Error("the cache still listens")
	}
	users, err := a.DescribeUsers(ctx, &elasticache.DescribeUsersInput{UserId: aws.String("app")})
	must(t, err)
	if g := a.replicationGroup(t, "orders"); *g.Status != "deleting" || g.NodeGroups != nil || *users.Users[0].Status != "deleting" || len(users.Users[0].UserGroupIds) != 0 {
		t.Errorf("cache %s at %+v, user %s", *g.Status, g.NodeGroups, *users.Users[0].Status)
	}
	_, err = a.CreateReplicationGroup(ctx, in)
	refused(t, "the name of what is being deleted", err, 400, "ReplicationGroupAlreadyExists", "orders")
	a.srv.Advance(time.Hour)
	_, err = a.DescribeReplicationGroups(ctx, &elasticache.DescribeReplicationGroupsInput{ReplicationGroupId: aws.String("orders")})
	refused(t, "the cache", err, 404, "ReplicationGroupNotFoundFault", "orders")
	_, err = a.DescribeUsers(ctx, &elasticache.DescribeUsersInput{UserId: aws.String("app")})
	refused(t, "the user", err, 404, "UserNotFound", "app")
}

func TestAuthTokensAreRotated(t *testing.T) {
	for _, engine := range []string{"embedded", "redis-server", "valkey-server"} {
		t.Run(engine, func(t *testing.T) {
			if engine != "embedded" {
				engine = installed.Path(t, engine)
			}
			testAuthTokens(t, engine)
		})
	}
}

func testAuthTokens(t *testing.T, engine string) {
	a := newAccount(t, emulator.Config{Engine: engine})
	ctx := t.Context()
	a.makeGroup(t)
	in := cacheInput("orders")
	in.UserGroupIds, in.AuthToken = nil, aws.String("the-first-token-1")
	must(t, only(a.CreateReplicationGroup(ctx, in)))
	cache := a.srv.Cache("orders")
	update := func(strategy types.AuthTokenUpdateStrategyType, token string, change func(*elasticache.ModifyReplicationGroupInput)) error {
		in := &elasticache.ModifyReplicationGroupInput{ReplicationGroupId: aws.String("orders"), ApplyImmediately: aws.Bool(true), AuthTokenUpdateStrategy: strategy}
		if token != "" {
			in.AuthToken = &token
		}
		if change != nil {
			change(in)
		}
		return only(a.ModifyReplicationGroup(ctx, in))
	}
	// accepted are the passwords of the user default that are let in; - stands for none.
	accepted := func() (all []string) {
		for _, password := range []string{"", "the-first-token-1", "the-second-token-2", "the-third-token-33"} {
			db := dial(t, cache.Addr, cache.TLS, "", password)
			if err := db.Ping(ctx).Err(); err == nil {
				all = append(all, password)
			} else if !strings.HasPrefix(err.Error(), "WRONGPASS") && !strings.HasPrefix(err.Error(), "NOAUTH") {
				t.Errorf("PING is answered by %v", err)
			}
		}
		return all
	}
	wants := func(after string, want ...string) {
		t.Helper()
		if got := accepted(); !slices.Equal(got, want) {
			t.Errorf("after %s: accepted are %q, want %q", after, got, want)
		}
	}
	wants("creation", "the-first-token-1")
	live := dial(t, cache.Addr, cache.TLS, "", "the-first-token-1")
	must(t, live.Ping(ctx).Err(), update("", "the-second-token-2", nil))
	wants("ROTATE", "the-first-token-1", "the-second-token-2")
	refused(t, "SET of another token", update("SET", "the-third-token-33", nil), 400, "InvalidParameterValue", "Invalid AuthToken provided.")
	must(t, update("SET", "the-second-token-2", nil))
	wants("SET", "the-second-token-2")
	must(t, live.Ping(ctx).Err(), update("ROTATE", "the-first-token-1", nil), update("ROTATE", "the-third-token-33", nil))
	wants("two ROTATEs", "the-first-token-1", "the-third-token-33")
	refused(t, "DELETE alone", update("DELETE", "", nil), 400, "InvalidParameterCombination", "DELETE")
	toGroup := func(in *elasticache.ModifyReplicationGroupInput) { in.UserGroupIdsToAdd = []string{"app-users"} }
	refused(t, "a group beside a token", update("ROTATE", "the-first-token-1", toGroup), 400, "InvalidParameterCombination", "Pass AuthStrategy delete to proceed.")
	if g := a.replicationGroup(t, "orders"); !*g.AuthTokenEnabled || g.AuthTokenLastModifiedDate == nil {
		t.Errorf("there is no AUTH token: %+v", g)
	}
	must(t, update("DELETE", "", toGroup))
	wants("DELETE")
	must(t, dial(t, cache.Addr, cache.TLS, "app", token(t, a.srv, admin(t, a.srv), "orders", "app")).Ping(ctx).Err(),
		update("SET", "the-first-token-1", func(in *elasticache.ModifyReplicationGroupInput) { in.RemoveUserGroups = aws.Bool(true) }))
	wants("the way back", "the-first-token-1")

	in.ReplicationGroupId, in.AuthToken = aws.String("open"), nil
	must(t, only(a.CreateReplicationGroup(ctx, in)))
	cache = a.srv.Cache("open")
	wants("creation without a token", "", "the-first-token-1", "the-second-token-2", "the-third-token-33")
	rotate := &elasticache.ModifyReplicationGroupInput{ReplicationGroupId: aws.String("open"), AuthToken: aws.String("the-second-token-2")}
	must(t, only(a.ModifyReplicationGroup(ctx, rotate)))
	wants("ROTATE without a token", "", "the-second-token-2")
	rotate.AuthToken = aws.String("the-third-token-33")
	must(t, only(a.ModifyReplicationGroup(ctx, rotate)))
	wants("a second ROTATE", "the-second-token-2", "the-third-token-33")
	rotate.AuthTokenUpdateStrategy = types.AuthTokenUpdateStrategyTypeSet
	must(t, only(a.ModifyReplicationGroup(ctx, rotate)))
	wants("SET of the last token", "the-third-token-33")
}

// On AWS a cache cluster of Redis OSS has neither TLS nor users, so IAM never opens it.
func TestACacheClusterSpeaksNoTLS(t *testing.T) {
	a := newAccount(t, emulator.Config{Engine: "embedded"})
	ctx := t.Context()
	must(t, only(a.CreateCacheCluster(ctx, &elasticache.CreateCacheClusterInput{CacheClusterId: aws.String("My-Cluster"), Engine: aws.String("redis"), EngineVersion: aws.String("6.x"), CacheNodeType: aws.String("cache.t3.micro"), NumCacheNodes: aws.Int32(1)})),
		elasticache.NewCacheClusterAvailableWaiter(a).Wait(ctx, &elasticache.DescribeCacheClustersInput{CacheClusterId: aws.String("my-cluster")}, time.Minute))
	got, err := a.DescribeCacheClusters(ctx, &elasticache.DescribeCacheClustersInput{CacheClusterId: aws.String("my-cluster"), ShowCacheNodeInfo: aws.Bool(true), ShowCacheClustersNotInReplicationGroups: aws.Bool(true)})
	must(t, err)
	c := got.CacheClusters[0]
	if *c.ARN != "arn:aws:elasticache:us-east-1:123456789012:cluster:my-cluster" || *c.EngineVersion != "6.2" || *c.TransitEncryptionEnabled || c.ReplicationGroupId != nil || *c.NumCacheNodes != 1 {
		t.Errorf("DescribeCacheClusters() = %+v", c)
	}
	must(t, dial(t, address(c.CacheNodes[0].Endpoint), nil, "", "").Set(ctx, "k", "v", 0).Err())
	wrongPass(t, "an IAM user", dial(t, address(c.CacheNodes[0].Endpoint), nil, "app", token(t, a.srv, admin(t, a.srv), "my-cluster", "app")))
	_, err = a.ModifyCacheCluster(ctx, &elasticache.ModifyCacheClusterInput{CacheClusterId: aws.String("my-cluster"), SecurityGroupIds: []string{"iam-user-group-01"}})
	refused(t, "a user group for a security group", err, 400, "InvalidParameterValue", "iam-user-group-01")
	modified, err := a.ModifyCacheCluster(ctx, &elasticache.ModifyCacheClusterInput{CacheClusterId: aws.String("my-cluster"), SecurityGroupIds: []string{"sg-1"}, EngineVersion: aws.String("7.1")})
	must(t, err, only(a.DeleteCacheCluster(ctx, &elasticache.DeleteCacheClusterInput{CacheClusterId: aws.String("my-cluster")})),
		elasticache.NewCacheClusterDeletedWaiter(a).Wait(ctx, &elasticache.DescribeCacheClustersInput{CacheClusterId: aws.String("my-cluster")}, time.Minute))
	if m := modified.CacheCluster; *m.EngineVersion != "7.1" || *m.SecurityGroups[0].SecurityGroupId != "sg-1" {
		t.Errorf("ModifyCacheCluster() = %+v", m)
	}
}

func TestAServerlessCacheIsMadeAndChanged(t *testing.T) {
	a := newAccount(t, emulator.Config{Engine: "embedded"})
	ctx := t.Context()
	a.makeGroup(t)
	made, err := a.CreateServerlessCache(ctx, &elasticache.CreateServerlessCacheInput{ServerlessCacheName: aws.String("Orders"), Engine: aws.String("redis"), MajorEngineVersion: aws.String("7"), UserGroupId: aws.String("app-users"), SubnetIds: []string{"subnet-1"}})
	must(t, err)
	got, err := a.DescribeServerlessCaches(ctx, &elasticache.DescribeServerlessCachesInput{ServerlessCacheName: aws.String("orders")})
	must(t, err)
	s := got.ServerlessCaches[0]
	if *s.ARN != "arn:aws:elasticache:us-east-1:123456789012:serverlesscache:orders" || *s.Status != "available" || *s.FullEngineVersion != "7.1" || *s.MajorEngineVersion != "7" || *s.UserGroupId != "app-users" || *made.ServerlessCache.ARN != *s.ARN {
		t.Errorf("DescribeServerlessCaches() = %+v", s)
	}
	signer := &rediam.Signer{Cache: "orders", User: "app", Serverless: true, Region: a.srv.Region(), Credentials: emulator.KeyCredentials(admin(t, a.srv)), Now: a.srv.Now}
	token, err := signer.Token(ctx)
	must(t, err, dial(t, address(s.Endpoint), a.srv.Cache("orders").TLS, "app", string(token.Password)).Ping(ctx).Err())
	groups, err := a.DescribeUserGroups(ctx, &elasticache.DescribeUserGroupsInput{UserGroupId: aws.String("app-users")})
	must(t, err)
	if g := groups.UserGroups[0]; !slices.Equal(g.ServerlessCaches, []string{"orders"}) || len(g.ReplicationGroups) != 0 {
		t.Errorf("DescribeUserGroups() = %+v", g)
	}
	changed, err := a.ModifyServerlessCache(ctx, &elasticache.ModifyServerlessCacheInput{ServerlessCacheName: aws.String("orders"), Description: aws.String("new"), RemoveUserGroup: aws.Bool(true), Engine: aws.String("valkey"), MajorEngineVersion: aws.String("8")})
	must(t, err, only(a.DeleteServerlessCache(ctx, &elasticache.DeleteServerlessCacheInput{ServerlessCacheName: aws.String("orders")})))
	if s := changed.ServerlessCache; *s.Description != "new" || s.UserGroupId != nil || *s.Engine != "valkey" || !strings.HasPrefix(*s.FullEngineVersion, "8.") {
		t.Errorf("ModifyServerlessCache() = %+v", s)
	}
}

func TestTagsOfEveryKindOfResource(t *testing.T) {
	a := newAccount(t, emulator.Config{Engine: "embedded"})
	ctx := t.Context()
	a.makeGroup(t)
	must(t, only(a.CreateReplicationGroup(ctx, cacheInput("orders"))), a.srv.PutCache(emulator.Cache{Name: "less", Kind: emulator.ServerlessCache}), a.srv.PutCache(emulator.Cache{Name: "plain", Kind: emulator.CacheCluster}))
	for resource, missing := range map[string]string{"user:app": "UserNotFound", "usergroup:app-users": "UserGroupNotFound", "replicationgroup:orders": "ReplicationGroupNotFoundFault",
		"serverlesscache:less": "ServerlessCacheNotFoundFault", "cluster:plain": "CacheClusterNotFound", "subnetgroup:net": "CacheSubnetGroupNotFoundFault"} {
		arn := "arn:aws:elasticache:us-east-1:123456789012:" + resource
		_, err := a.AddTagsToResource(ctx, &elasticache.AddTagsToResourceInput{ResourceName: &arn, Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("a b")}, {Key: aws.String("empty"), Value: aws.String("")}}})
		must(t, err)
		_, err = a.RemoveTagsFromResource(ctx, &elasticache.RemoveTagsFromResourceInput{ResourceName: &arn, TagKeys: []string{"empty", "absent"}})
		refused(t, resource, err, 404, "TagNotFound", "absent")
		must(t, only(a.RemoveTagsFromResource(ctx, &elasticache.RemoveTagsFromResourceInput{ResourceName: &arn, TagKeys: []string{"empty"}})))
		got, err := a.ListTagsForResource(ctx, &elasticache.ListTagsForResourceInput{ResourceName: &arn})
		must(t, err)
		tags := map[string]string{}
		for _, tag := range got.TagList {
			tags[*tag.Key] = *tag.Value
		}
		delete(tags, "env") // of the replication group's beginning
		if len(tags) != 1 || tags["team"] != "a b" {
			t.Errorf("%s has the tags %v", resource, tags)
		}
		_, err = a.ListTagsForResource(ctx, &elasticache.ListTagsForResourceInput{ResourceName: aws.String(arn + "x")})
		status := 404
		if missing == "CacheSubnetGroupNotFoundFault" {
			status = 400
		}
		refused(t, resource+"x", err, status, missing, "not found")
	}
}

// A request needs the permission on every ARN that it names.
func TestOperationsNeedPermissionOnAllThatTheyName(t *testing.T) {
	a := newAccount(t, emulator.Config{Engine: "embedded"})
	ctx := t.Context()
	a.makeGroup(t)
	const arn = "arn:aws:elasticache:us-east-1:123456789012:"
	allow := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"elasticache:*","Resource":["` + arn + `user:default","` + arn + `user:app","` + arn + `usergroup:mine","` + arn + `replicationgroup:mine","` + arn + `subnetgroup:net"]}]}`
	must(t, a.srv.PutIAMUser(emulator.IAMUser{Name: "clerk", Inline: map[string]string{"p": allow}}))
	key, err := a.srv.CreateAccessKey("clerk")
	must(t, err)
	clerk := elastiCache(a.srv, key)
	denied := func(what string, err error, action, resource string) {
		t.Helper()
		refused(t, what, err, 403, "AccessDenied", "User: arn:aws:iam::123456789012:user/clerk is not authorized to perform: elasticache:"+action+" on resource: "+resource+" because no identity-based policy allows")
	}
	group := func(id string, users ...string) *elasticache.CreateUserGroupInput {
		return &elasticache.CreateUserGroupInput{UserGroupId: aws.String(id), Engine: aws.String("redis"), UserIds: users}
	}
	denied("another user", only(clerk.CreateUserGroup(ctx, group("mine", "app-default", "app"))), "CreateUserGroup", arn+"user:app-default")
	denied("another group", only(clerk.CreateUserGroup(ctx, group("yours", "default", "app"))), "CreateUserGroup", arn+"usergroup:yours")
	denied("a list", only(clerk.DescribeUsers(ctx, nil)), "DescribeUsers", "*")
	denied("versions", only(clerk.DescribeCacheEngineVersions(ctx, nil)), "DescribeCacheEngineVersions", "*")
	denied("another group's cache", only(clerk.CreateReplicationGroup(ctx, cacheInput("mine"))), "CreateReplicationGroup", arn+"usergroup:app-users")
	denied("tags of another", only(clerk.ListTagsForResource(ctx, &elasticache.ListTagsForResourceInput{ResourceName: aws.String(arn + "user:App-Default")})), "ListTagsForResource", arn+"user:app-default")
	must(t, only(clerk.CreateUserGroup(ctx, group("mine", "default", "app"))), only(clerk.DescribeUsers(ctx, &elasticache.DescribeUsersInput{UserId: aws.String("app")})))
	in := cacheInput("mine")
	in.UserGroupIds = []string{"mine"}
	must(t, only(clerk.CreateReplicationGroup(ctx, in)))
}

func TestAReplicationGroupInClusterMode(t *testing.T) {
	a := newAccount(t, emulator.Config{Engine: installed.Path(t, "redis-server")})
	ctx := t.Context()
	a.makeGroup(t)
	in := cacheInput("orders")
	in.NumNodeGroups, in.AutomaticFailoverEnabled = aws.Int32(2), aws.Bool(true)
	must(t, only(a.CreateReplicationGroup(ctx, in)))
	g := a.replicationGroup(t, "orders")
	if !*g.ClusterEnabled || len(g.NodeGroups) != 2 || *g.NodeGroups[1].Slots != "8192-16383" || *g.NodeGroups[1].NodeGroupId != "0002" || g.NodeGroups[0].PrimaryEndpoint != nil ||
		!slices.Equal(g.MemberClusters, []string{"orders-0001-001", "orders-0002-001"}) || g.AutomaticFailover != types.AutomaticFailoverStatusEnabled {
		t.Fatalf("DescribeReplicationGroups() = %+v", g)
	}
	db := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{address(g.ConfigurationEndpoint)}, TLSConfig: a.srv.Cache("orders").TLS, Username: "app", Password: token(t, a.srv, admin(t, a.srv), "orders", "app")})
	defer db.Close()
	for _, key := range []string{"a", "b", "c", "d"} {
		must(t, db.Set(ctx, key, "v", 0).Err())
	}
	in = cacheInput("one")
	in.EngineVersion, in.CacheParameterGroupName = aws.String("7.1"), aws.String("default.redis7.cluster.on")
	must(t, only(a.CreateReplicationGroup(ctx, in)))
	if g := a.replicationGroup(t, "one"); !*g.ClusterEnabled || len(g.NodeGroups) != 1 || *g.NodeGroups[0].Slots != "0-16383" {
		t.Errorf("DescribeReplicationGroups() = %+v", g)
	}
}

// An engine that does not start is seen as AWS shows it, and spoils nothing else.
func TestACacheWhoseEngineDoesNotStartIsCreateFailed(t *testing.T) {
	engine := filepath.Join(t.TempDir(), "engine")
	broken := engine + ".broken"
	must(t, os.WriteFile(engine, []byte("#!/bin/sh\ntest -e "+broken+" && { echo no memory today >&2; exit 1; }\nexec "+installed.Path(t, "redis-server")+" \"$@\"\n"), 0o700))
	a := newAccount(t, emulator.Config{Engine: engine})
	ctx := t.Context()
	a.makeGroup(t)
	must(t, only(a.CreateReplicationGroup(ctx, cacheInput("sound"))), os.WriteFile(broken, nil, 0o600), only(a.CreateReplicationGroup(ctx, cacheInput("orders"))))
	name := aws.String("orders")
	if g := a.replicationGroup(t, "orders"); *g.Status != "create-failed" || g.NodeGroups != nil {
		t.Errorf("DescribeReplicationGroups() = %s, %+v", *g.Status, g.NodeGroups)
	}
	_, err := a.ModifyReplicationGroup(ctx, &elasticache.ModifyReplicationGroupInput{ReplicationGroupId: name, ReplicationGroupDescription: aws.String("x")})
	refused(t, "a change", err, 400, "InvalidReplicationGroupState", "create-failed")
	must(t, only(a.ModifyUser(ctx, &elasticache.ModifyUserInput{UserId: aws.String("app"), AccessString: aws.String("on ~* +get")})))
	if g := a.replicationGroup(t, "sound"); *g.Status != "available" {
		t.Errorf("the other cache is %s", *g.Status)
	}
	must(t, only(a.DeleteReplicationGroup(ctx, &elasticache.DeleteReplicationGroupInput{ReplicationGroupId: name})), os.Remove(broken), only(a.CreateReplicationGroup(ctx, cacheInput("orders"))))
	if g := a.replicationGroup(t, "orders"); *g.Status != "available" {
		t.Errorf("the cache is %s", *g.Status)
	}
}

// An engine that hangs does not make the API's calls fail: its cache is modifying
// until it has followed.
func TestACacheWhoseEngineDoesNotFollowIsModifying(t *testing.T) {
	a := newAccount(t, emulator.Config{Engine: installed.Path(t, "redis-server")})
	ctx := t.Context()
	a.makeGroup(t)
	must(t, only(a.CreateReplicationGroup(ctx, cacheInput("orders"))))
	cache := a.srv.Cache("orders")
	db := dial(t, cache.Addr, cache.TLS, "app", token(t, a.srv, admin(t, a.srv), "orders", "app"))
	must(t, db.Do(ctx, "CLIENT", "PAUSE", "7000", "ALL").Err(),
		only(a.ModifyUser(ctx, &elasticache.ModifyUserInput{UserId: aws.String("app"), AccessString: aws.String("on ~* +@read")})))
	if g := a.replicationGroup(t, "orders"); *g.Status != "modifying" || primary(t, g) != cache.Addr {
		t.Errorf("the cache is %s", *g.Status)
	}
	patient := dial(t, cache.Addr, cache.TLS, "app", token(t, a.srv, admin(t, a.srv), "orders", "app"))
	patient.Options().ReadTimeout = time.Minute
	wait, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	patient.Get(wait, "k") // comes when the pause is over
	a.srv.Advance(time.Second)
	if g := a.replicationGroup(t, "orders"); *g.Status != "available" {
		t.Errorf("the cache is %s", *g.Status)
	}
}

func TestTheVersionsOfEnginesAreListed(t *testing.T) {
	a := newAccount(t, emulator.Config{Engine: "embedded"})
	got, err := a.DescribeCacheEngineVersions(t.Context(), &elasticache.DescribeCacheEngineVersionsInput{Engine: aws.String("redis"), CacheParameterGroupFamily: aws.String("redis7")})
	must(t, err)
	var versions []string
	for _, v := range got.CacheEngineVersions {
		versions = append(versions, *v.EngineVersion)
	}
	newest, err := a.DescribeCacheEngineVersions(t.Context(), &elasticache.DescribeCacheEngineVersionsInput{DefaultOnly: aws.Bool(true)})
	must(t, err)
	if !slices.Equal(versions, []string{"7.0", "7.1"}) || len(newest.CacheEngineVersions) != 2 {
		t.Errorf("versions %v, defaults %+v", versions, newest.CacheEngineVersions)
	}
}
