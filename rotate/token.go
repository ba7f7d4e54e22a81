package rotate

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"
)

// ReplicationGroups is what is needed of *elasticache.Client for AUTH tokens.
type ReplicationGroups interface {
	DescribeReplicationGroups(context.Context, *elasticache.DescribeReplicationGroupsInput, ...func(*elasticache.Options)) (*elasticache.DescribeReplicationGroupsOutput, error)
	ModifyReplicationGroup(context.Context, *elasticache.ModifyReplicationGroupInput, ...func(*elasticache.Options)) (*elasticache.ModifyReplicationGroupOutput, error)
}

// An AuthToken is the AUTH token of a replication group. ElastiCache takes the last two
// that were set with ROTATE, until SET leaves the last (ElastiCache user guide,
// "Authenticating with the AUTH command"): a second ROTATE for the same rotation would
// drop the token that clients still use.
type AuthToken struct {
	Client ReplicationGroups
	Group  string // replication group id
	Login  Login
	Nodes  []string // host:port; none means the endpoints that ElastiCache tells
}

func (*AuthToken) Fields() []string { return []string{"authToken", "password"} }

func (t *AuthToken) Suits(says func(string) string, token string) error {
	group, user := says("replicationGroupId"), says("username")
	switch {
	case token == "":
		return errors.New("the current version of the secret has no token")
	case group != "" && !strings.EqualFold(group, t.Group): // ElastiCache makes ids lower case
		return fmt.Errorf("the secret is that of another replication group than %s", t.Group)
	case user != "" && user != "default":
		return errors.New("the secret is that of a user: an AUTH token has none but default")
	}
	return nil
}

func (t *AuthToken) Check(ctx context.Context, p Poll, _ string) error {
	group, err := retry(ctx, p, func() (types.ReplicationGroup, error) { return t.settled(ctx) })
	switch {
	case err != nil:
		return err
	case !aws.ToBool(group.TransitEncryptionEnabled):
		return fmt.Errorf("the replication group %s has no TLS, without which it has no AUTH token", t.Group)
	case !aws.ToBool(group.AuthTokenEnabled):
		return fmt.Errorf("the replication group %s has no AUTH token: set the current one first, with ROTATE and then SET", t.Group)
	}
	return nil
}

func (t *AuthToken) Try(ctx context.Context, p Poll, token string) error {
	return p.until(ctx, func() (bool, error) {
		_, err := t.login(ctx, nil, token)
		return err == nil, err
	})
}

// Add has the token added by ROTATE, unless it has been.
func (t *AuthToken) Add(ctx context.Context, p Poll, of Passwords) error {
	if of.Current == "" {
		return errors.New("the current version of the secret has no token")
	}
	return t.account(types.AuthTokenUpdateStrategyTypeRotate, of.New).add(ctx, p, of)
}

// Keep leaves the new token alone by SET, unless it is.
func (t *AuthToken) Keep(ctx context.Context, p Poll, of Passwords) error {
	return t.account(types.AuthTokenUpdateStrategyTypeSet, of.New).keep(ctx, p, of)
}

func (t *AuthToken) account(strategy types.AuthTokenUpdateStrategyType, token string) account {
	return account{ready: t.available, login: t.login, change: func(ctx context.Context) error { return t.modify(ctx, strategy, token) }}
}

func (t *AuthToken) available(ctx context.Context) error {
	_, err := t.settled(ctx)
	return err
}

// settled waits, as an error, until nothing is changing.
func (t *AuthToken) settled(ctx context.Context) (types.ReplicationGroup, error) {
	group, err := t.describe(ctx)
	if status := aws.ToString(group.Status); err == nil && status != "available" {
		err = waitFor("the replication group %s is %s", t.Group, status)
	}
	if changing := group.PendingModifiedValues; err == nil && changing != nil && changing.AuthTokenStatus != "" {
		err = waitFor("the AUTH token of %s is %s", t.Group, changing.AuthTokenStatus)
	}
	return group, err
}

func (t *AuthToken) login(ctx context.Context, nodes []string, token string) ([]string, error) {
	if len(nodes) == 0 {
		group, err := t.describe(ctx)
		if err != nil {
			return nil, err
		}
		nodes = t.nodes(group)
	}
	return t.Login(ctx, nodes, "", token)
}

func (t *AuthToken) describe(ctx context.Context) (group types.ReplicationGroup, err error) {
	out, err := t.Client.DescribeReplicationGroups(ctx, &elasticache.DescribeReplicationGroupsInput{ReplicationGroupId: &t.Group})
	if err != nil {
		return group, fmt.Errorf("describe the replication group: %w", err)
	}
	if len(out.ReplicationGroups) != 1 {
		return group, errors.New("ElastiCache describes no replication group")
	}
	return out.ReplicationGroups[0], nil
}

func (t *AuthToken) modify(ctx context.Context, strategy types.AuthTokenUpdateStrategyType, token string) error {
	_, err := t.Client.ModifyReplicationGroup(ctx, &elasticache.ModifyReplicationGroupInput{ReplicationGroupId: &t.Group, ApplyImmediately: aws.Bool(true),
		AuthToken: &token, AuthTokenUpdateStrategy: strategy})
	if err != nil {
		err = fmt.Errorf("%s the AUTH token: %w", strategy, hide(err, token))
	}
	return err
}

// nodes are all that have an endpoint, replicas too. Those in cluster mode have none: the
// one of the cluster leads to them.
func (t *AuthToken) nodes(group types.ReplicationGroup) []string {
	if len(t.Nodes) > 0 {
		return t.Nodes
	}
	endpoints := []*types.Endpoint{group.ConfigurationEndpoint}
	for _, shard := range group.NodeGroups {
		endpoints = append(endpoints, shard.PrimaryEndpoint)
		for _, node := range shard.NodeGroupMembers {
			endpoints = append(endpoints, node.ReadEndpoint)
		}
	}
	var nodes []string
	for _, e := range endpoints {
		if e == nil || aws.ToString(e.Address) == "" {
			continue
		}
		if node := net.JoinHostPort(*e.Address, strconv.Itoa(int(aws.ToInt32(e.Port)))); !slices.Contains(nodes, node) {
			nodes = append(nodes, node)
		}
	}
	return nodes
}
