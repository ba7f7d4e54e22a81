package rotate

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	cachetypes "github.com/aws/aws-sdk-go-v2/service/elasticache/types"
	"github.com/aws/aws-sdk-go-v2/service/memorydb"
	memorytypes "github.com/aws/aws-sdk-go-v2/service/memorydb/types"
)

// A directory is where users are made, changed and put into groups.
type directory interface {
	Describe(ctx context.Context, id string) (UserState, error)
	create(ctx context.Context, id, engine, access string) error // a user who signs in with IAM
	setAccess(ctx context.Context, id, access string) error
	join(ctx context.Context, group, id string) error
}

type elastiCacheDirectory struct{ client *elasticache.Client }

func (e elastiCacheDirectory) Describe(ctx context.Context, id string) (UserState, error) {
	return ElastiCacheUsers{e.client}.Describe(ctx, id)
}

func (e elastiCacheDirectory) create(ctx context.Context, id, engine, access string) error {
	_, err := e.client.CreateUser(ctx, &elasticache.CreateUserInput{UserId: &id, UserName: &id, Engine: &engine, AccessString: &access,
		AuthenticationMode: &cachetypes.AuthenticationMode{Type: cachetypes.InputAuthenticationTypeIam}})
	return about("create the user %s", id, err)
}

func (e elastiCacheDirectory) setAccess(ctx context.Context, id, access string) error {
	_, err := e.client.ModifyUser(ctx, &elasticache.ModifyUserInput{UserId: &id, AccessString: &access})
	return about("change the access string of %s", id, err)
}

func (e elastiCacheDirectory) join(ctx context.Context, group, id string) error {
	_, err := e.client.ModifyUserGroup(ctx, &elasticache.ModifyUserGroupInput{UserGroupId: &group, UserIdsToAdd: []string{id}})
	return about("add a user to the user group %s", group, err)
}

type memoryDBDirectory struct{ client *memorydb.Client }

func (m memoryDBDirectory) Describe(ctx context.Context, name string) (UserState, error) {
	return MemoryDBUsers{m.client}.Describe(ctx, name)
}

func (m memoryDBDirectory) create(ctx context.Context, name, _, access string) error {
	_, err := m.client.CreateUser(ctx, &memorydb.CreateUserInput{UserName: &name, AccessString: &access,
		AuthenticationMode: &memorytypes.AuthenticationMode{Type: memorytypes.InputAuthenticationTypeIam}})
	return about("create the user %s", name, err)
}

func (m memoryDBDirectory) setAccess(ctx context.Context, name, access string) error {
	_, err := m.client.UpdateUser(ctx, &memorydb.UpdateUserInput{UserName: &name, AccessString: &access})
	return about("change the access string of %s", name, err)
}

func (m memoryDBDirectory) join(ctx context.Context, acl, name string) error {
	_, err := m.client.UpdateACL(ctx, &memorydb.UpdateACLInput{ACLName: &acl, UserNamesToAdd: []string{name}})
	return about("add a user to the ACL %s", acl, err)
}

func about(doing, what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(doing+": %w", what, err)
}
