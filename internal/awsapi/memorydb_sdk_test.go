package awsapi_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/memorydb"
	"github.com/aws/aws-sdk-go-v2/service/memorydb/types"
	"github.com/rediam/rediam"
	"github.com/rediam/rediam/emulator"
	"github.com/rediam/rediam/internal/installed"
	"github.com/redis/go-redis/v9"
)

// clusters is an emulator with the SDK's client of its administrator for MemoryDB.
type clusters struct {
	*memorydb.Client
	srv *emulator.Server
}

func memoryDB(srv *emulator.Server, k emulator.Key) *memorydb.Client {
	return memorydb.New(memorydb.Options{Region: srv.Region(), BaseEndpoint: aws.String(srv.URL()), Credentials: emulator.KeyCredentials(k),
		HTTPSignerV4: onClock{v4.NewSigner(), srv.Now}, RetryMaxAttempts: 1})
}

func newClusters(t *testing.T, c emulator.Config) clusters {
	t.Helper()
	c.Empty = true
	srv := emulator.Start(t, c)
	return clusters{memoryDB(srv, admin(t, srv)), srv}
}

var withIAM = &types.AuthenticationMode{Type: types.InputAuthenticationTypeIam}

func userInput(name string) *memorydb.CreateUserInput {
	return &memorydb.CreateUserInput{UserName: &name, AuthenticationMode: withIAM, AccessString: aws.String("on ~* +@all")}
}

func clusterInput(name, acl string) *memorydb.CreateClusterInput {
	return &memorydb.CreateClusterInput{ClusterName: &name, ACLName: &acl, NodeType: aws.String("db.t4g.small")}
}

// makeACL makes an ACL app-users of the IAM user app, and a subnet group.
func (a clusters) makeACL(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	must(t, only(a.CreateUser(ctx, userInput("App"))), only(a.CreateACL(ctx, &memorydb.CreateACLInput{ACLName: aws.String("App-Users"), UserNames: []string{"APP"}})),
		only(a.CreateSubnetGroup(ctx, &memorydb.CreateSubnetGroupInput{SubnetGroupName: aws.String("Net"), Description: aws.String("x"), SubnetIds: []string{"subnet-1", "subnet-2"}})))
}

func (a clusters) cluster(t *testing.T, name string) types.Cluster {
	t.Helper()
	got, err := a.DescribeClusters(t.Context(), &memorydb.DescribeClustersInput{ClusterName: &name, ShowShardDetails: aws.Bool(true)})
	must(t, err)
	return got.Clusters[0]
}

func addressOf(e *types.Endpoint) string {
	return net.JoinHostPort(*e.Address, strconv.Itoa(int(e.Port)))
}

func TestTheSDKMakesAClusterThatATokenOpens(t *testing.T) {
	for _, engine := range []string{"redis-server", "valkey-server"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			a := newClusters(t, emulator.Config{Engine: installed.Path(t, engine)})
			a.makeACL(t)
			ctx := t.Context()
			in := clusterInput("Orders", "app-users")
			in.NumShards, in.SubnetGroupName, in.SecurityGroupIds, in.Description = aws.Int32(2), aws.String("net"), []string{"sg-1"}, aws.String("a cluster")
			made, err := a.CreateCluster(ctx, in)
			must(t, err)
			c := a.cluster(t, "ORDERS")
			if *c.ARN != "arn:aws:memorydb:us-east-1:123456789012:cluster/orders" || *c.ARN != *made.Cluster.ARN || *c.Name != "orders" || *c.Status != "available" || *c.NumberOfShards != 2 || !*c.TLSEnabled ||
				*c.ACLName != "app-users" || *c.Engine != "redis" || *c.EngineVersion != "7.1" || *c.ParameterGroupName != "default.memorydb-redis7" || *c.SubnetGroupName != "net" || *c.SecurityGroups[0].SecurityGroupId != "sg-1" || *c.Description != "a cluster" {
				t.Errorf("DescribeClusters() = %+v", c)
			}
			var slots, nodes []string
			for _, s := range c.Shards {
				if len(s.Nodes) != 1 || *s.NumberOfNodes != 1 || a.srv.Now().Sub(*s.Nodes[0].CreateTime).Abs() > time.Hour {
					t.Fatalf("a shard is %+v", s)
				}
				slots, nodes = append(slots, *s.Slots), append(nodes, addressOf(s.Nodes[0].Endpoint))
			}
			if !slices.Equal(slots, []string{"0-8191", "8192-16383"}) || !slices.Equal(nodes, a.srv.Cache("orders").Nodes) || *c.Shards[1].Nodes[0].Name != "orders-0002-001" {
				t.Errorf("the shards have %v at %v", slots, nodes)
			}
			signer := &rediam.Signer{Service: rediam.MemoryDB, Cache: "orders", User: "app", Region: a.srv.Region(), Credentials: emulator.KeyCredentials(admin(t, a.srv)), Now: a.srv.Now}
			db := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{addressOf(c.ClusterEndpoint)}, TLSConfig: a.srv.Cache("orders").TLS, CredentialsProviderContext: rediam.BasicAuth(signer), MaxRetries: -1})
			defer db.Close()
			for i := range 50 {
				must(t, db.Set(ctx, fmt.Sprint("key", i), i, 0).Err())
			}
			a.changesReachSessions(t, db)
			a.takesAllAway(t)
		})
	}
}

// changesReachSessions changes the user and the ACL of those who are signed in.
func (a clusters) changesReachSessions(t *testing.T, db *redis.ClusterClient) {
	t.Helper()
	ctx := t.Context()
	updated, err := a.UpdateUser(ctx, &memorydb.UpdateUserInput{UserName: aws.String("app"), AccessString: aws.String("on ~key1 +get +cluster")})
	must(t, err, db.ForEachMaster(ctx, func(_ context.Context, node *redis.Client) error {
		if err := node.DBSize(ctx).Err(); err == nil || !strings.HasPrefix(err.Error(), "NOPERM") {
			t.Errorf("DBSIZE is answered by %v", err)
		}
		return nil
	}), db.Get(ctx, "key1").Err())
	if *updated.User.AccessString != "on ~key1 resetchannels -@all +get +cluster" || !slices.Equal(updated.User.ACLNames, []string{"app-users"}) {
		t.Errorf("UpdateUser() = %+v", updated.User)
	}
	if len(a.srv.Sessions("orders")) == 0 {
		t.Fatal("nobody is signed in")
	}
	left, err := a.UpdateACL(ctx, &memorydb.UpdateACLInput{ACLName: aws.String("app-users"), UserNamesToRemove: []string{"App"}})
	must(t, err)
	if len(left.ACL.UserNames) != 0 || !slices.Equal(left.ACL.Clusters, []string{"orders"}) || len(a.srv.Sessions("orders")) != 0 {
		t.Errorf("UpdateACL() = %+v, %d connections are left", left.ACL, len(a.srv.Sessions("orders")))
	}
	if err := db.Get(ctx, "key1").Err(); err == nil || !strings.HasPrefix(err.Error(), "WRONGPASS") {
		t.Errorf("a user who has left is answered by %v", err)
	}
	must(t, only(a.UpdateCluster(ctx, &memorydb.UpdateClusterInput{ClusterName: aws.String("orders"), ACLName: aws.String("open-access")})))
	everybody := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{a.srv.Cache("orders").Addr}, TLSConfig: a.srv.Cache("orders").TLS})
	defer everybody.Close()
	if n, err := everybody.DBSize(ctx).Result(); n != 50 || err != nil {
		t.Errorf("with open-access there are %d keys, %v", n, err)
	}
	must(t, everybody.Publish(ctx, "news", "x").Err(), only(a.UpdateCluster(ctx, &memorydb.UpdateClusterInput{ClusterName: aws.String("orders"), ACLName: aws.String("app-users")})))
}

func (a clusters) takesAllAway(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	acl, subnets := &memorydb.DeleteACLInput{ACLName: aws.String("app-users")}, &memorydb.DeleteSubnetGroupInput{SubnetGroupName: aws.String("net")}
	refused(t, "an ACL in use", only(a.DeleteACL(ctx, acl)), 400, "InvalidACLStateFault", "ACL app-users is associated with orders")
	refused(t, "a subnet group in use", only(a.DeleteSubnetGroup(ctx, subnets)), 400, "SubnetGroupInUseFault", "Subnet group net is in use by orders.")
	address := a.srv.Cache("orders").Addr
	deleted, err := a.DeleteCluster(ctx, &memorydb.DeleteClusterInput{ClusterName: aws.String("orders")})
	must(t, err, only(a.DeleteACL(ctx, acl)), only(a.DeleteSubnetGroup(ctx, subnets)), only(a.DeleteUser(ctx, &memorydb.DeleteUserInput{UserName: aws.String("app")})))
	if *deleted.Cluster.Status != "deleting" {
		t.Errorf("DeleteCluster() = %+v", deleted.Cluster)
	}
	if _, err := net.Dial("tcp", address); err == nil {
		t.Error("the deleted cluster still listens")
	}
	users, err := a.DescribeUsers(ctx, nil)
	must(t, err)
	acls, err := a.DescribeACLs(ctx, nil)
	must(t, err)
	if len(users.Users) != 1 || len(acls.ACLs) != 1 {
		t.Fatalf("there are %d users and %d ACLs", len(users.Users), len(acls.ACLs))
	}
	if u := users.Users[0]; *u.Name != "default" || *u.AccessString != "on ~* &* +@all" || u.Authentication.Type != types.AuthenticationTypeNoPassword || !slices.Equal(u.ACLNames, []string{"open-access"}) || *u.ARN != "arn:aws:memorydb:us-east-1:123456789012:user/default" {
		t.Errorf("the user is %+v", u)
	}
	if g := acls.ACLs[0]; *g.Name != "open-access" || !slices.Equal(g.UserNames, []string{"default"}) || *g.Status != "active" || *g.ARN != "arn:aws:memorydb:us-east-1:123456789012:acl/open-access" || g.Clusters == nil {
		t.Errorf("the ACL is %+v", g)
	}
}

func TestTheSDKKnowsTheErrorsOfMemoryDB(t *testing.T) {
	a := newClusters(t, emulator.Config{Engine: "embedded"})
	a.makeACL(t)
	ctx, s := t.Context(), aws.String
	must(t, only(a.CreateCluster(ctx, clusterInput("taken", "app-users"))), a.srv.PutCache(emulator.Cache{Name: "elsewhere"}))
	user := func(change func(*memorydb.CreateUserInput)) error {
		in := userInput("new")
		change(in)
		return only(a.CreateUser(ctx, in))
	}
	acl := func(name string, users ...string) error {
		return only(a.CreateACL(ctx, &memorydb.CreateACLInput{ACLName: &name, UserNames: users}))
	}
	cluster := func(change func(*memorydb.CreateClusterInput)) error {
		in := clusterInput("new", "app-users")
		change(in)
		return only(a.CreateCluster(ctx, in))
	}
	update := func(change func(*memorydb.UpdateClusterInput)) error {
		in := &memorydb.UpdateClusterInput{ClusterName: s("taken")}
		change(in)
		return only(a.UpdateCluster(ctx, in))
	}
	value, combination := new(*types.InvalidParameterValueException), new(*types.InvalidParameterCombinationException)
	for what, test := range map[string]struct {
		err     error
		as      any // the type, whose name is the code
		message string
	}{
		"a user twice":     {user(func(i *memorydb.CreateUserInput) { i.UserName = s("APP") }), new(*types.UserAlreadyExistsFault), "User app already exists."},
		"the premade user": {user(func(i *memorydb.CreateUserInput) { i.UserName = s("default") }), new(*types.UserAlreadyExistsFault), "default"},
		"no type":          {user(func(i *memorydb.CreateUserInput) { i.AuthenticationMode = &types.AuthenticationMode{} }), value, "Input Authentication type: null"},
		"no password":      {user(func(i *memorydb.CreateUserInput) { i.AuthenticationMode = &types.AuthenticationMode{Type: "password"} }), combination, "must have at least one password"},
		"none required": {user(func(i *memorydb.CreateUserInput) {
			i.AuthenticationMode = &types.AuthenticationMode{Type: "no-password-required"}
		}), value, "is not in the allowed list: [password,iam]"},
		"a password with IAM": {user(func(i *memorydb.CreateUserInput) {
			i.AuthenticationMode = &types.AuthenticationMode{Type: "iam", Passwords: []string{password}}
		}), combination, "Password field is not allowed with authentication type: iam"},
		"a short password": {user(func(i *memorydb.CreateUserInput) {
			i.AuthenticationMode = &types.AuthenticationMode{Type: "password", Passwords: []string{"short"}}
		}), value, "Passwords length must be between 16-128 characters."},
		"a name of two words":    {user(func(i *memorydb.CreateUserInput) { i.UserName = s("a b") }), value, "user id"},
		"a prohibited command":   {user(func(i *memorydb.CreateUserInput) { i.AccessString = s("on +config") }), value, "rule 2 of the access string"},
		"a blank access string":  {user(func(i *memorydb.CreateUserInput) { i.AccessString = s(" ") }), value, "AccessString"},
		"a tag twice":            {user(func(i *memorydb.CreateUserInput) { i.Tags = []types.Tag{{Key: s("k")}, {Key: s("k")}} }), value, "Duplicate tag key k"},
		"no such user":           {only(a.UpdateUser(ctx, &memorydb.UpdateUserInput{UserName: s("nobody"), AccessString: s("on")})), new(*types.UserNotFoundFault), "User nobody not found."},
		"no such user shown":     {only(a.DescribeUsers(ctx, &memorydb.DescribeUsersInput{UserName: s("nobody")})), new(*types.UserNotFoundFault), "User nobody not found."},
		"nothing updated":        {only(a.UpdateUser(ctx, &memorydb.UpdateUserInput{UserName: s("app")})), combination, "nothing to update"},
		"the premade updated":    {only(a.UpdateUser(ctx, &memorydb.UpdateUserInput{UserName: s("default"), AccessString: s("off")})), value, "User default cannot be modified or deleted."},
		"the premade deleted":    {only(a.DeleteUser(ctx, &memorydb.DeleteUserInput{UserName: s("default")})), value, "User default cannot be modified or deleted."},
		"an ACL twice":           {acl("app-users"), new(*types.ACLAlreadyExistsFault), "ACL app-users already exists."},
		"open-access again":      {acl("open-access"), new(*types.ACLAlreadyExistsFault), "ACL open-access already exists."},
		"an ACL of nobody":       {acl("new", "nobody"), new(*types.UserNotFoundFault), "User nobody not found."},
		"default elsewhere":      {acl("new", "default"), value, "User default is in the ACL open-access only."},
		"a user twice in an ACL": {acl("new", "app", "APP"), new(*types.DuplicateUserNameFault), "app"},
		"a user added twice":     {only(a.UpdateACL(ctx, &memorydb.UpdateACLInput{ACLName: s("app-users"), UserNamesToAdd: []string{"app"}})), value, "ACL app-users has the user app already."},
		"a stranger removed":     {only(a.UpdateACL(ctx, &memorydb.UpdateACLInput{ACLName: s("app-users"), UserNamesToRemove: []string{"other"}})), value, "ACL app-users does not have the user other."},
		"nothing in the ACL":     {only(a.UpdateACL(ctx, &memorydb.UpdateACLInput{ACLName: s("app-users")})), combination, "nothing to update"},
		"open-access updated":    {only(a.UpdateACL(ctx, &memorydb.UpdateACLInput{ACLName: s("open-access"), UserNamesToAdd: []string{"app"}})), value, "open-access ACL can't be modified."},
		"open-access deleted":    {only(a.DeleteACL(ctx, &memorydb.DeleteACLInput{ACLName: s("open-access")})), value, "open-access ACL can't be deleted."},
		"no such ACL":            {only(a.DeleteACL(ctx, &memorydb.DeleteACLInput{ACLName: s("none")})), new(*types.ACLNotFoundFault), "ACL none not found."},
		"no such ACL shown":      {only(a.DescribeACLs(ctx, &memorydb.DescribeACLsInput{ACLName: s("none")})), new(*types.ACLNotFoundFault), "ACL none not found."},
		"a cluster twice":        {cluster(func(i *memorydb.CreateClusterInput) { i.ClusterName = s("TAKEN") }), new(*types.ClusterAlreadyExistsFault), "Cluster taken already exists."},
		"a cache's name":         {cluster(func(i *memorydb.CreateClusterInput) { i.ClusterName = s("elsewhere") }), combination, "replicationgroup"},
		"a cluster's ACL":        {cluster(func(i *memorydb.CreateClusterInput) { i.ACLName = s("none") }), new(*types.ACLNotFoundFault), "ACL none not found."},
		"an empty ACL":           {cluster(func(i *memorydb.CreateClusterInput) { i.ACLName = s("") }), value, "ACLName"},
		"an ACL without TLS":     {cluster(func(i *memorydb.CreateClusterInput) { i.TLSEnabled = aws.Bool(false) }), combination, "must have the ACL open-access"},
		"no such subnet group":   {cluster(func(i *memorydb.CreateClusterInput) { i.SubnetGroupName = s("none") }), new(*types.SubnetGroupNotFoundFault), "Subnet group none not found."},
		"a version of Valkey":    {cluster(func(i *memorydb.CreateClusterInput) { i.EngineVersion = s("7.3") }), combination, "Cannot find version 7.3 for redis"},
		"an engine too old":      {cluster(func(i *memorydb.CreateClusterInput) { i.EngineVersion = s("6.2") }), combination, "ACL app-users needs engine version 7.0, new has 6.2."},
		"a replica":              {cluster(func(i *memorydb.CreateClusterInput) { i.NumReplicasPerShard = aws.Int32(1) }), value, "no replicas"},
		"no shard":               {cluster(func(i *memorydb.CreateClusterInput) { i.NumShards = aws.Int32(0) }), value, "at least 1"},
		"two shards, embedded":   {cluster(func(i *memorydb.CreateClusterInput) { i.NumShards = aws.Int32(2) }), combination, "needs redis-server or valkey-server"},
		"own parameters":         {cluster(func(i *memorydb.CreateClusterInput) { i.ParameterGroupName = s("own") }), new(*types.ParameterGroupNotFoundFault), "own"},
		"no id of a group":       {cluster(func(i *memorydb.CreateClusterInput) { i.SecurityGroupIds = []string{"app"} }), value, "security group"},
		"no such cluster":        {only(a.DeleteCluster(ctx, &memorydb.DeleteClusterInput{ClusterName: s("none")})), new(*types.ClusterNotFoundFault), "Cluster none not found."},
		"ElastiCache's cluster":  {only(a.DescribeClusters(ctx, &memorydb.DescribeClustersInput{ClusterName: s("elsewhere")})), new(*types.ClusterNotFoundFault), "Cluster elsewhere not found."},
		"another ACL":            {update(func(i *memorydb.UpdateClusterInput) { i.ACLName = s("none") }), new(*types.ACLNotFoundFault), "ACL none not found."},
		"a downgrade":            {update(func(i *memorydb.UpdateClusterInput) { i.EngineVersion = s("7.0") }), combination, "cannot go back"},
		"no subnet":              {only(a.CreateSubnetGroup(ctx, &memorydb.CreateSubnetGroupInput{SubnetGroupName: s("new"), SubnetIds: []string{"sg-1"}})), new(*types.InvalidSubnet), "sg-1"},
		"a subnet group twice":   {only(a.CreateSubnetGroup(ctx, &memorydb.CreateSubnetGroupInput{SubnetGroupName: s("NET"), SubnetIds: []string{"subnet-1"}})), new(*types.SubnetGroupAlreadyExistsFault), "Subnet group net already exists."},
		"21 subnets":             {only(a.UpdateSubnetGroup(ctx, &memorydb.UpdateSubnetGroupInput{SubnetGroupName: s("net"), SubnetIds: slices.Repeat([]string{"subnet-1"}, 21)})), new(*types.SubnetQuotaExceededFault), "20"},
		"no ARN":                 {only(a.ListTags(ctx, &memorydb.ListTagsInput{ResourceArn: s("taken")})), new(*types.InvalidARNFault), "taken"},
		"an ARN of ElastiCache":  {only(a.ListTags(ctx, &memorydb.ListTagsInput{ResourceArn: s("arn:aws:elasticache:us-east-1:123456789012:replicationgroup:elsewhere")})), new(*types.InvalidARNFault), "elsewhere"},
		"an ARN with a colon":    {only(a.ListTags(ctx, &memorydb.ListTagsInput{ResourceArn: s("arn:aws:memorydb:us-east-1:123456789012:user:app")})), new(*types.InvalidARNFault), "user:app"},
		"an ARN of both":         {only(a.ListTags(ctx, &memorydb.ListTagsInput{ResourceArn: s("arn:aws:memorydb:us-east-1:123456789012:replicationgroup/elsewhere")})), new(*types.InvalidARNFault), "elsewhere"},
	} {
		code := strings.TrimPrefix(fmt.Sprintf("%T", test.as), "**types.")
		refused(t, what, test.err, 400, code, test.message)
		if !errors.As(test.err, test.as) {
			t.Errorf("%s: %T is not in %v", what, test.as, test.err)
		}
	}
	refused(t, "a snapshot", cluster(func(i *memorydb.CreateClusterInput) { i.SnapshotName = s("s") }), 400, "ValidationException", `"SnapshotName"`)
	refused(t, "a failover", only(a.FailoverShard(ctx, &memorydb.FailoverShardInput{ClusterName: s("taken"), ShardName: s("0001")})), 400, "UnknownOperationException", "")
	if all, err := a.DescribeClusters(ctx, nil); err != nil || len(all.Clusters) != 1 || all.Clusters[0].Shards != nil {
		t.Errorf("there are %+v, %v", all, err)
	}
}

func TestTheSDKGoesThroughThePagesOfMemoryDB(t *testing.T) {
	a := newClusters(t, emulator.Config{Engine: "embedded"})
	ctx := t.Context()
	three := aws.Int32(3)
	want := map[string]int{"users": 8, "ACLs": 8, "clusters": 2, "subnet groups": 7, "versions": 5}
	for i := range 7 {
		name := fmt.Sprint("n", i)
		must(t, only(a.CreateUser(ctx, userInput(name))), only(a.CreateACL(ctx, &memorydb.CreateACLInput{ACLName: &name})),
			only(a.CreateSubnetGroup(ctx, &memorydb.CreateSubnetGroupInput{SubnetGroupName: &name, SubnetIds: []string{"subnet-1"}})))
	}
	must(t, only(a.CreateCluster(ctx, clusterInput("a", "open-access"))), only(a.CreateCluster(ctx, clusterInput("b", "n1"))))
	got := map[string]int{}
	for p := memorydb.NewDescribeUsersPaginator(a, &memorydb.DescribeUsersInput{MaxResults: three}); p.HasMorePages(); {
		page, err := p.NextPage(ctx)
		must(t, err)
		got["users"] += len(page.Users)
	}
	for p := memorydb.NewDescribeACLsPaginator(a, &memorydb.DescribeACLsInput{MaxResults: three}); p.HasMorePages(); {
		page, err := p.NextPage(ctx)
		must(t, err)
		got["ACLs"] += len(page.ACLs)
	}
	for p := memorydb.NewDescribeClustersPaginator(a, &memorydb.DescribeClustersInput{MaxResults: aws.Int32(1)}); p.HasMorePages(); {
		page, err := p.NextPage(ctx)
		must(t, err)
		got["clusters"] += len(page.Clusters)
	}
	for p := memorydb.NewDescribeSubnetGroupsPaginator(a, &memorydb.DescribeSubnetGroupsInput{MaxResults: three}); p.HasMorePages(); {
		page, err := p.NextPage(ctx)
		must(t, err)
		got["subnet groups"] += len(page.SubnetGroups)
	}
	for p := memorydb.NewDescribeEngineVersionsPaginator(a, &memorydb.DescribeEngineVersionsInput{MaxResults: three}); p.HasMorePages(); {
		page, err := p.NextPage(ctx)
		must(t, err)
		got["versions"] += len(page.EngineVersions)
	}
	if !maps.Equal(got, want) {
		t.Errorf("the pages have %v, want %v", got, want)
	}
	for _, n := range []int32{0, -1, 101} {
		refused(t, "an odd page", only(a.DescribeUsers(ctx, &memorydb.DescribeUsersInput{MaxResults: &n})), 400, "InvalidParameterValueException", "Must be between 1 and 100")
	}
	versions, err := a.DescribeEngineVersions(ctx, &memorydb.DescribeEngineVersionsInput{Engine: aws.String("Valkey"), DefaultOnly: true})
	must(t, err)
	if v := versions.EngineVersions; len(v) != 1 || *v[0].EngineVersion != "7.3" || *v[0].ParameterGroupFamily != "memorydb_valkey7" {
		t.Errorf("DescribeEngineVersions() = %+v", v)
	}
}

func TestMemoryDBShowsWhatIsUnderWay(t *testing.T) {
	a := newClusters(t, emulator.Config{Engine: "embedded", StateDelay: time.Hour})
	ctx, s := t.Context(), aws.String
	a.makeACL(t)
	refused(t, "an ACL that is being made", only(a.CreateCluster(ctx, clusterInput("orders", "app-users"))), 400, "InvalidACLStateFault", "ACL app-users is not in active state but in creating.")
	a.srv.Advance(time.Hour)
	made, err := a.CreateCluster(ctx, clusterInput("orders", "app-users"))
	must(t, err)
	update := &memorydb.UpdateClusterInput{ClusterName: s("orders"), ACLName: s("open-access"), Engine: s("valkey"), EngineVersion: s("7.3")}
	refused(t, "a cluster that is being made", only(a.UpdateCluster(ctx, update)), 400, "InvalidClusterStateFault", "creating")
	if c := made.Cluster; *c.Status != "creating" || c.ClusterEndpoint != nil || len(a.cluster(t, "orders").Shards) != 0 {
		t.Errorf("CreateCluster() = %+v", c)
	}
	a.srv.Advance(time.Hour)
	updated, err := a.UpdateCluster(ctx, update)
	must(t, err)
	if c := updated.Cluster; *c.Status != "updating" || c.ClusterEndpoint == nil || *c.ParameterGroupName != "default.memorydb-valkey7" || *c.ACLName != "open-access" {
		t.Errorf("UpdateCluster() = %+v", c)
	}
	refused(t, "a cluster that is updated", only(a.DeleteCluster(ctx, &memorydb.DeleteClusterInput{ClusterName: s("orders")})), 400, "InvalidClusterStateFault", "updating")
	user, err := a.UpdateUser(ctx, &memorydb.UpdateUserInput{UserName: s("app"), AccessString: s("on")})
	must(t, err)
	acl, err := a.UpdateACL(ctx, &memorydb.UpdateACLInput{ACLName: s("app-users"), UserNamesToRemove: []string{"app"}})
	must(t, err)
	if *user.User.Status != "modifying" || *acl.ACL.Status != "modifying" {
		t.Errorf("the user is %s, the ACL %s", *user.User.Status, *acl.ACL.Status)
	}
	a.srv.Advance(time.Hour)
	gone, err := a.DeleteUser(ctx, &memorydb.DeleteUserInput{UserName: s("app")})
	must(t, err, only(a.DeleteCluster(ctx, &memorydb.DeleteClusterInput{ClusterName: s("orders")})))
	if *gone.User.Status != "deleting" || *a.cluster(t, "orders").Status != "deleting" {
		t.Errorf("the user is %s", *gone.User.Status)
	}
	a.srv.Advance(time.Hour)
	refused(t, "what is gone", only(a.DescribeClusters(ctx, &memorydb.DescribeClustersInput{ClusterName: s("orders")})), 400, "ClusterNotFoundFault", "")
}

func TestTagsOfEveryKindOfResourceOfMemoryDB(t *testing.T) {
	a := newClusters(t, emulator.Config{Engine: "embedded"})
	ctx, s := t.Context(), aws.String
	a.makeACL(t)
	must(t, only(a.CreateCluster(ctx, clusterInput("orders", "app-users"))))
	for resource, missing := range map[string]string{"user/app": "UserNotFoundFault", "acl/app-users": "ACLNotFoundFault", "cluster/orders": "ClusterNotFoundFault", "subnetgroup/net": "SubnetGroupNotFoundFault"} {
		arn := "arn:aws:memorydb:us-east-1:123456789012:" + resource
		tagged, err := a.TagResource(ctx, &memorydb.TagResourceInput{ResourceArn: &arn, Tags: []types.Tag{{Key: s("team"), Value: s("a b")}, {Key: s("empty"), Value: s("")}}})
		must(t, err)
		refused(t, resource, only(a.UntagResource(ctx, &memorydb.UntagResourceInput{ResourceArn: &arn, TagKeys: []string{"empty", "absent"}})), 400, "TagNotFoundFault", "absent")
		must(t, only(a.UntagResource(ctx, &memorydb.UntagResourceInput{ResourceArn: &arn, TagKeys: []string{"empty"}})))
		got, err := a.ListTags(ctx, &memorydb.ListTagsInput{ResourceArn: &arn})
		must(t, err)
		if len(tagged.TagList) != 2 || len(got.TagList) != 1 || *got.TagList[0].Key != "team" || *got.TagList[0].Value != "a b" {
			t.Errorf("%s has the tags %+v, then %+v", resource, tagged.TagList, got.TagList)
		}
		refused(t, resource+"x", only(a.ListTags(ctx, &memorydb.ListTagsInput{ResourceArn: s(arn + "x")})), 400, missing, "not found")
	}
}

func TestOperationsOfMemoryDBNeedPermissionOnAllThatTheyName(t *testing.T) {
	a := newClusters(t, emulator.Config{Engine: "embedded"})
	ctx, s := t.Context(), aws.String
	a.makeACL(t)
	must(t, only(a.CreateUser(ctx, userInput("other"))))
	const arn = "arn:aws:memorydb:us-east-1:123456789012:"
	allow := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"memorydb:*","Resource":["` + arn + `user/app","` + arn + `acl/mine","` + arn + `cluster/mine","` + arn + `subnetgroup/net"]}]}`
	must(t, a.srv.PutIAMUser(emulator.IAMUser{Name: "clerk", Inline: map[string]string{"p": allow}}))
	key, err := a.srv.CreateAccessKey("clerk")
	must(t, err)
	clerk := memoryDB(a.srv, key)
	denied := func(what string, err error, action, resource string) {
		t.Helper()
		refused(t, what, err, 400, "AccessDeniedException", "User: arn:aws:iam::123456789012:user/clerk is not authorized to perform: memorydb:"+action+" on resource: "+resource+" because no identity-based policy allows")
	}
	acl := func(name string, users ...string) error {
		return only(clerk.CreateACL(ctx, &memorydb.CreateACLInput{ACLName: &name, UserNames: users}))
	}
	cluster := func(name, acl string, change func(*memorydb.CreateClusterInput)) error {
		in := clusterInput(name, acl)
		change(in)
		return only(clerk.CreateCluster(ctx, in))
	}
	nothing := func(*memorydb.CreateClusterInput) {}
	denied("another user", acl("mine", "app", "Other"), "CreateACL", arn+"user/other")
	denied("another ACL", acl("yours", "app"), "CreateACL", arn+"acl/yours")
	denied("a list", only(clerk.DescribeUsers(ctx, nil)), "DescribeUsers", "*")
	denied("versions", only(clerk.DescribeEngineVersions(ctx, nil)), "DescribeEngineVersions", "*")
	denied("another cluster", cluster("yours", "mine", nothing), "CreateCluster", arn+"cluster/yours")
	denied("another cluster's ACL", cluster("mine", "app-users", nothing), "CreateCluster", arn+"acl/app-users")
	denied("another subnet group", cluster("mine", "mine", func(i *memorydb.CreateClusterInput) { i.SubnetGroupName = s("yours") }), "CreateCluster", arn+"subnetgroup/yours")
	denied("tags of another", only(clerk.ListTags(ctx, &memorydb.ListTagsInput{ResourceArn: s(arn + "user/Other")})), "ListTags", arn+"user/other")
	must(t, acl("mine", "app"), cluster("mine", "mine", func(i *memorydb.CreateClusterInput) { i.SubnetGroupName = s("net") }))
	denied("an update to another ACL", only(clerk.UpdateCluster(ctx, &memorydb.UpdateClusterInput{ClusterName: s("mine"), ACLName: s("app-users")})), "UpdateCluster", arn+"acl/app-users")
	denied("another added", only(clerk.UpdateACL(ctx, &memorydb.UpdateACLInput{ACLName: s("mine"), UserNamesToAdd: []string{"other"}})), "UpdateACL", arn+"user/other")
}
