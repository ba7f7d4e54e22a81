package setup

import (
	"cmp"
	"context"
	"errors"
	"net"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/memorydb"
	"github.com/aws/aws-sdk-go-v2/service/memorydb/types"
)

// memoryDB is redis for MemoryDB.
type memoryDB struct {
	MemoryDB
	tags func() (key, value *string)
}

// is is whether an error has the type, which those of the SDK are pointers to.
func is[E error](err error) bool {
	var e E
	return errors.As(err, &e)
}

func mdbCall[In, Out any](operation string, method func(context.Context, *In, ...func(*memorydb.Options)) (*Out, error), in *In) Call {
	return newCall("memorydb", operation, method, in)
}

func (m memoryDB) made() []types.Tag {
	key, value := m.tags()
	return []types.Tag{{Key: key, Value: value}}
}

func (m memoryDB) tag(ctx context.Context, arn string) (string, error) {
	out, err := m.ListTags(ctx, &memorydb.ListTagsInput{ResourceArn: &arn})
	if err != nil {
		return "", err
	}
	for _, t := range out.TagList {
		if aws.ToString(t.Key) == TagKey {
			return aws.ToString(t.Value), nil
		}
	}
	return "", nil
}

func (m memoryDB) user(ctx context.Context, name string) (*user, error) {
	out, err := m.DescribeUsers(ctx, &memorydb.DescribeUsersInput{UserName: &name})
	if is[*types.UserNotFoundFault](err) || err == nil && len(out.Users) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	u := out.Users[0]
	found := &user{id: name, name: aws.ToString(u.Name), status: aws.ToString(u.Status), arn: aws.ToString(u.ARN), access: aws.ToString(u.AccessString), groups: u.ACLNames}
	if u.Authentication != nil {
		found.auth = string(u.Authentication.Type)
	}
	return found, nil
}

func (m memoryDB) createUser(u user) Call {
	return mdbCall("CreateUser", m.CreateUser, &memorydb.CreateUserInput{UserName: &u.name, AccessString: &u.access, AuthenticationMode: &types.AuthenticationMode{Type: types.InputAuthenticationTypeIam}, Tags: m.made()})
}

func (m memoryDB) changeUser(u user) Call {
	in := &memorydb.UpdateUserInput{UserName: &u.id}
	if u.access != "" {
		in.AccessString = &u.access
	}
	if u.auth != "" {
		in.AuthenticationMode = &types.AuthenticationMode{Type: types.InputAuthenticationType(u.auth)}
	}
	return mdbCall("UpdateUser", m.UpdateUser, in)
}

func (m memoryDB) deleteUser(name string) Call {
	return mdbCall("DeleteUser", m.DeleteUser, &memorydb.DeleteUserInput{UserName: &name})
}

func (m memoryDB) group(ctx context.Context, name string) (*group, error) {
	out, err := m.DescribeACLs(ctx, &memorydb.DescribeACLsInput{ACLName: &name})
	if is[*types.ACLNotFoundFault](err) || err == nil && len(out.ACLs) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	a := out.ACLs[0]
	return &group{id: aws.ToString(a.Name), status: aws.ToString(a.Status), arn: aws.ToString(a.ARN), users: a.UserNames, caches: a.Clusters}, nil
}

func (m memoryDB) createGroup(g group) Call {
	return mdbCall("CreateACL", m.CreateACL, &memorydb.CreateACLInput{ACLName: &g.id, UserNames: g.users, Tags: m.made()})
}

func (m memoryDB) addUsers(acl string, users []string) Call {
	return mdbCall("UpdateACL", m.UpdateACL, &memorydb.UpdateACLInput{ACLName: &acl, UserNamesToAdd: users})
}

func (m memoryDB) deleteGroup(name string) Call {
	return mdbCall("DeleteACL", m.DeleteACL, &memorydb.DeleteACLInput{ACLName: &name})
}

func (m memoryDB) cache(ctx context.Context, name string) (*cache, error) {
	out, err := m.DescribeClusters(ctx, &memorydb.DescribeClustersInput{ClusterName: &name})
	if is[*types.ClusterNotFoundFault](err) || err == nil && len(out.Clusters) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	k := out.Clusters[0]
	c := &cache{name: name, engine: strings.ToLower(cmp.Or(aws.ToString(k.Engine), "redis")), version: aws.ToString(k.EngineVersion), nodeType: aws.ToString(k.NodeType),
		status: aws.ToString(k.Status), arn: aws.ToString(k.ARN), tls: aws.ToBool(k.TLSEnabled)}
	if acl := aws.ToString(k.ACLName); acl != "" {
		c.groups = []string{acl}
	}
	for _, g := range k.SecurityGroups {
		c.securityGroups = append(c.securityGroups, aws.ToString(g.SecurityGroupId))
	}
	if e := k.ClusterEndpoint; e != nil && aws.ToString(e.Address) != "" {
		c.endpoint = net.JoinHostPort(*e.Address, strconv.Itoa(int(e.Port)))
	}
	return c, nil
}

func (m memoryDB) createCache(s Spec, acl string) Call {
	return mdbCall("CreateCluster", m.CreateCluster, &memorydb.CreateClusterInput{ClusterName: &s.Cache, Description: aws.String("Made by rediam setup"),
		NodeType: aws.String(cmp.Or(s.NodeType, nodeTypeMemoryDB)), ACLName: &acl, TLSEnabled: aws.Bool(true), NumShards: aws.Int32(1), NumReplicasPerShard: aws.Int32(0),
		Engine: aws.String(cmp.Or(s.Engine, "valkey")), EngineVersion: optional(s.Version), SubnetGroupName: optional(s.SubnetGroup), SecurityGroupIds: s.SecurityGroups, Tags: m.made()})
}

func (m memoryDB) attach(cluster, acl string) Call {
	return mdbCall("UpdateCluster", m.UpdateCluster, &memorydb.UpdateClusterInput{ClusterName: &cluster, ACLName: &acl})
}

// detach lets everybody in again, as it was: attach replaces no other ACL.
func (m memoryDB) detach(cluster, _ string) Call { return m.attach(cluster, openAccess) }

func (m memoryDB) deleteCache(name string) Call {
	return mdbCall("DeleteCluster", m.DeleteCluster, &memorydb.DeleteClusterInput{ClusterName: &name})
}
