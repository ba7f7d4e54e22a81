package rotate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
)

const (
	// tokenEngine is that of the users and the group: caches of both engines take those of
	// redis, and only there is it said what a user named default means (ElastiCache user
	// guide, "Role-Based Access Control").
	tokenEngine = "redis"
	allAccess   = "on ~* &* +@all" // what an AUTH token allows, channels too
)

// A tokenMigration is what becomes of the AUTH token of a replication group.
type tokenMigration struct {
	*Migration
	client *elasticache.Client
	token  *AuthToken
	user   string // id of the user named default
	users  string // id of the user group
	set    bool   // that user has the tokens that were read last
	tokens []string
}

func (m *Migration) startTokens(ctx context.Context) (*tokenMigration, error) {
	t := &tokenMigration{Migration: m, client: elasticache.NewFromConfig(m.AWS), token: m.cache(), user: m.ReplicationGroup + "-default", users: m.ReplicationGroup + "-users"}
	group, err := retry(ctx, m.Poll, func() (types.ReplicationGroup, error) { return t.token.describe(ctx) })
	switch {
	case err != nil:
		return nil, err
	case slices.Equal(group.UserGroupIds, []string{t.users}):
		return t, nil
	case len(group.UserGroupIds) > 0:
		return nil, fmt.Errorf("the replication group %s has the user group %v already", m.ReplicationGroup, group.UserGroupIds)
	}
	return t, t.token.Check(ctx, m.Poll, "")
}

func (t *tokenMigration) isAttached(ctx context.Context) (bool, error) {
	group, err := t.token.describe(ctx)
	if err == nil {
		err = t.token.available(ctx)
	}
	return err == nil && slices.Equal(group.UserGroupIds, []string{t.users}) && !aws.ToBool(group.AuthTokenEnabled), err
}

// read finds out which tokens work: the one of the secret, and the one before it if
// somebody may still use it.
func (t *tokenMigration) read(ctx context.Context) error {
	r := &Rotator{Secrets: secretsmanager.NewFromConfig(t.AWS), Targets: map[string]Target{t.Secret: t.token}, Poll: t.Poll}
	s, err := r.look(ctx, t.Secret)
	if err != nil {
		return err
	}
	if p := s.with(pending); p != "" && p != s.with(current) {
		return fmt.Errorf("a rotation of the secret %s has begun: let it end first", s.name)
	}
	now, found, err := r.value(ctx, s, s.with(current))
	if err == nil && (!found || now.password == "") {
		err = fmt.Errorf("the secret %s has no token that is %s", s.name, current)
	}
	if err != nil {
		return err
	}
	t.tokens = []string{now.password}
	before, _, err := r.value(ctx, s, s.with(previous))
	if err != nil && passes(err) {
		return err
	}
	if err == nil && before.password != "" && before.password != now.password {
		t.tokens = append(t.tokens, before.password)
	}
	return nil
}

// hasDefault goes by the group once that is attached: what the user's passwords are is
// told by nobody.
func (t *tokenMigration) hasDefault(ctx context.Context) (bool, error) {
	if attached, err := t.isAttached(ctx); attached || err != nil {
		return attached, err
	}
	state, found, err := t.describeUser(ctx)
	switch {
	case !found || err != nil:
		return false, err
	case state.Name != "default" || state.Auth != "password":
		return false, fmt.Errorf("there is a user %s, who is not a user named default with a password", t.user)
	case len(without(state.Groups, []string{t.users})) > 0:
		return false, fmt.Errorf("the user %s is in %v: its passwords are not for here alone", t.user, state.Groups)
	case state.Status != "active":
		return false, waitFor("the user %s is %s", t.user, state.Status)
	}
	return t.set, nil
}

func (t *tokenMigration) describeUser(ctx context.Context) (UserState, bool, error) {
	state, err := ElastiCacheUsers{t.client}.Describe(ctx, t.user)
	if isCode(err, "UserNotFound") {
		return state, false, nil
	}
	return state, err == nil, err
}

// setDefault gives the user those tokens that the cache takes.
func (t *tokenMigration) setDefault(ctx context.Context) error {
	if err := t.read(ctx); err != nil {
		return err
	}
	nodes, err := t.nodes(ctx)
	if err != nil {
		return err
	}
	if _, err := t.Login(ctx, nodes, "", t.tokens[0]); err != nil {
		return fmt.Errorf("the token of the secret: %w", err)
	}
	if len(t.tokens) > 1 {
		_, err := t.Login(ctx, nodes, "", t.tokens[1])
		if errors.Is(err, ErrRefused) {
			t.tokens = t.tokens[:1]
		} else if err != nil {
			return fmt.Errorf("the token of the secret before: %w", err)
		}
	}
	_, found, err := t.describeUser(ctx)
	if err != nil {
		return err
	}
	if found {
		err = ElastiCacheUsers{t.client}.SetPasswords(ctx, t.user, t.tokens)
	} else {
		_, err = t.client.CreateUser(ctx, &elasticache.CreateUserInput{UserId: &t.user, UserName: aws.String("default"), Engine: aws.String(tokenEngine),
			AccessString: aws.String(allAccess), AuthenticationMode: &types.AuthenticationMode{Type: types.InputAuthenticationTypePassword, Passwords: t.tokens}})
		if err != nil {
			err = fmt.Errorf("create the user %s: %w", t.user, err)
		}
	}
	t.set = err == nil
	return err
}

// hasGroup and makeGroup are about the group that is to be attached, or is.
func (m *migrating) hasGroup(ctx context.Context) (bool, error) {
	group, found, err := m.tokens.describeGroup(ctx)
	return err == nil && found && len(m.missing(group)) == 0, err
}

func (m *migrating) missing(group types.UserGroup) []string {
	return without([]string{m.tokens.user, m.To}, group.UserIds)
}

func (t *tokenMigration) describeGroup(ctx context.Context) (group types.UserGroup, found bool, err error) {
	out, err := t.client.DescribeUserGroups(ctx, &elasticache.DescribeUserGroupsInput{UserGroupId: &t.users})
	if isCode(err, "UserGroupNotFound") {
		return group, false, nil
	}
	if err == nil && len(out.UserGroups) != 1 {
		err = errors.New("ElastiCache describes no user group")
	}
	if err != nil {
		return group, false, fmt.Errorf("describe the user group: %w", err)
	}
	if group = out.UserGroups[0]; aws.ToString(group.Status) != "active" {
		err = waitFor("the user group %s is %s", t.users, aws.ToString(group.Status))
	}
	return group, true, err
}

func (m *migrating) makeGroup(ctx context.Context) error {
	t := m.tokens
	group, found, err := t.describeGroup(ctx)
	switch {
	case err != nil:
		return err
	case found:
		_, err = t.client.ModifyUserGroup(ctx, &elasticache.ModifyUserGroupInput{UserGroupId: &t.users, UserIdsToAdd: m.missing(group)})
	default:
		_, err = t.client.CreateUserGroup(ctx, &elasticache.CreateUserGroupInput{UserGroupId: &t.users, Engine: aws.String(tokenEngine), UserIds: []string{t.user, m.To}})
	}
	if err != nil {
		err = fmt.Errorf("make the user group %s: %w", t.users, err)
	}
	return err
}

// attach replaces the token by the group, in one change: there is no moment without
// authentication, and none in which the token is refused.
func (t *tokenMigration) attach(ctx context.Context) error {
	if !t.set { // a rotation may have come between this run and the one that gave it
		return fmt.Errorf("the user %s has not been given the token by this run", t.user)
	}
	had := t.tokens
	if err := t.read(ctx); err != nil {
		return err
	}
	if t.tokens[0] != had[0] {
		return errors.New("the secret has been rotated meanwhile: run this again")
	}
	_, err := t.client.ModifyReplicationGroup(ctx, &elasticache.ModifyReplicationGroupInput{ReplicationGroupId: &t.ReplicationGroup, ApplyImmediately: aws.Bool(true),
		AuthTokenUpdateStrategy: types.AuthTokenUpdateStrategyTypeDelete, UserGroupIdsToAdd: []string{t.users}})
	if err != nil {
		err = fmt.Errorf("attach the user group: %w", err)
	}
	return err
}

// trySecret signs in with the token, unless the user named default has been turned off.
func (t *tokenMigration) trySecret(ctx context.Context) error {
	state, found, err := t.describeUser(ctx)
	if err != nil || !found || !slices.Contains(strings.Fields(state.Access), "on") {
		return err
	}
	if err := t.read(ctx); err != nil {
		return err
	}
	nodes, err := t.nodes(ctx)
	if err != nil {
		return err
	}
	if _, err := t.Login(ctx, nodes, "", t.tokens[0]); err != nil {
		return fmt.Errorf("the token, as the password of the user default: %w", err)
	}
	return nil
}
