package rotate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	cachetypes "github.com/aws/aws-sdk-go-v2/service/elasticache/types"
	"github.com/aws/aws-sdk-go-v2/service/memorydb"
	memorytypes "github.com/aws/aws-sdk-go-v2/service/memorydb/types"
)

// Users is where a user is described and given passwords: ElastiCacheUsers or
// MemoryDBUsers.
type Users interface {
	Describe(ctx context.Context, id string) (UserState, error)
	SetPasswords(ctx context.Context, id string, passwords []string) error
}

// A UserState is what AWS tells of a user.
type UserState struct {
	Name      string // to sign in with
	Status    string
	Auth      string // password, iam or no-password
	Passwords int    // how many
	Access    string
	Engine    string   // redis or valkey; empty on MemoryDB
	Groups    []string // user groups, or ACLs, that the user is in
}

// A User is the password of a user of ElastiCache or MemoryDB, who may have two.
type User struct {
	Users Users
	ID    string // user id; on MemoryDB the name
	Login Login
	Nodes []string // host:port of the caches where the user is to be known
	// Replace allows that a second password which the secret does not know is lost.
	Replace bool
}

func (*User) Fields() []string { return []string{"password"} }

func (u *User) Suits(says func(string) string, password string) error {
	arn := says("user_arn") // ends in user:ID, on MemoryDB in user/NAME
	switch {
	case password == "" && !u.Replace:
		return errors.New("the current version of the secret has no password: that of the user would be lost")
	case arn != "" && !strings.EqualFold(arn[strings.LastIndexAny(arn, ":/")+1:], u.ID):
		return fmt.Errorf("the secret is that of another user than %s", u.ID)
	}
	return nil
}

func (u *User) Check(ctx context.Context, p Poll, username string) error {
	state, err := retry(ctx, p, func() (UserState, error) { return u.active(ctx) })
	if err == nil && username != "" && username != state.Name {
		err = fmt.Errorf("the secret is that of another user than %s", state.Name)
	}
	if err != nil {
		return err
	}
	return u.check(state)
}

// active waits, as an error, until nothing is changing.
func (u *User) active(ctx context.Context) (UserState, error) {
	state, err := u.Users.Describe(ctx, u.ID)
	if err == nil && state.Status != "active" {
		err = waitFor("the user %s is %s", u.ID, state.Status)
	}
	return state, err
}

func (u *User) check(state UserState) error {
	switch {
	case state.Auth != "password":
		return fmt.Errorf("the user %s has no password to rotate: authentication is %s", u.ID, state.Auth)
	case slices.Contains(strings.Fields(state.Access), "off"):
		return fmt.Errorf("the access string of the user %s says off: no password could be tried", u.ID)
	}
	return nil
}

func (u *User) Try(ctx context.Context, p Poll, password string) error {
	return p.until(ctx, func() (bool, error) {
		state, err := u.Users.Describe(ctx, u.ID)
		if err == nil {
			_, err = u.Login(ctx, u.Nodes, state.Name, password)
		}
		return err == nil, err
	})
}

// Add gives the user the new password and the current one.
func (u *User) Add(ctx context.Context, p Poll, of Passwords) error {
	state := new(UserState)
	a := u.account(state)
	a.change = func(ctx context.Context) error {
		if err := u.losesNothing(ctx, *state, of); err != nil {
			return err
		}
		passwords := []string{of.New}
		if of.Current != "" {
			passwords = append(passwords, of.Current)
		}
		return u.Users.SetPasswords(ctx, u.ID, passwords)
	}
	return a.add(ctx, p, of)
}

// losesNothing is an error if the user has a password that is in none of the secret's
// versions: somebody may use it.
func (u *User) losesNothing(ctx context.Context, state UserState, of Passwords) error {
	known := 0
	if of.Current != "" { // it has been tried
		known++
	}
	if state.Passwords <= known || u.Replace {
		return nil
	}
	if of.Old != "" {
		_, err := u.Login(ctx, u.Nodes, state.Name, of.Old)
		if err == nil || !errors.Is(err, ErrRefused) {
			return err
		}
	}
	return fmt.Errorf("the user %s has a password that the secret does not know, and which would be lost", u.ID)
}

// Keep leaves the user the new password.
func (u *User) Keep(ctx context.Context, p Poll, of Passwords) error {
	state := new(UserState)
	a := u.account(state)
	a.two = func() bool { return state.Passwords > 1 }
	a.change = func(ctx context.Context) error { return u.Users.SetPasswords(ctx, u.ID, []string{of.New}) }
	return a.keep(ctx, p, of)
}

// account notes the state of the user whenever it asks for it.
func (u *User) account(state *UserState) account {
	return account{
		ready: func(ctx context.Context) (err error) {
			if *state, err = u.active(ctx); err != nil {
				return err
			}
			return u.check(*state)
		},
		login: func(ctx context.Context, nodes []string, password string) ([]string, error) {
			if len(nodes) == 0 {
				nodes = u.Nodes
			}
			return u.Login(ctx, nodes, state.Name, password)
		},
	}
}

// ElastiCacheUsers are the users of ElastiCache.
type ElastiCacheUsers struct {
	Client interface { // what is needed of *elasticache.Client
		DescribeUsers(context.Context, *elasticache.DescribeUsersInput, ...func(*elasticache.Options)) (*elasticache.DescribeUsersOutput, error)
		ModifyUser(context.Context, *elasticache.ModifyUserInput, ...func(*elasticache.Options)) (*elasticache.ModifyUserOutput, error)
	}
}

func (e ElastiCacheUsers) Describe(ctx context.Context, id string) (s UserState, err error) {
	out, err := e.Client.DescribeUsers(ctx, &elasticache.DescribeUsersInput{UserId: &id})
	if err != nil {
		return s, fmt.Errorf("describe the user: %w", err)
	}
	if len(out.Users) != 1 {
		return s, errors.New("ElastiCache describes no user")
	}
	user := out.Users[0]
	s = UserState{Name: aws.ToString(user.UserName), Status: aws.ToString(user.Status), Access: aws.ToString(user.AccessString),
		Engine: aws.ToString(user.Engine), Groups: user.UserGroupIds}
	if user.Authentication != nil {
		s.Auth, s.Passwords = string(user.Authentication.Type), int(aws.ToInt32(user.Authentication.PasswordCount))
	}
	return s, nil
}

func (e ElastiCacheUsers) SetPasswords(ctx context.Context, id string, passwords []string) error {
	_, err := e.Client.ModifyUser(ctx, &elasticache.ModifyUserInput{UserId: &id,
		AuthenticationMode: &cachetypes.AuthenticationMode{Type: cachetypes.InputAuthenticationTypePassword, Passwords: passwords}})
	if err != nil {
		err = fmt.Errorf("set the passwords of the user: %w", hide(err, passwords...))
	}
	return err
}

// MemoryDBUsers are the users of MemoryDB.
type MemoryDBUsers struct {
	Client interface { // what is needed of *memorydb.Client
		DescribeUsers(context.Context, *memorydb.DescribeUsersInput, ...func(*memorydb.Options)) (*memorydb.DescribeUsersOutput, error)
		UpdateUser(context.Context, *memorydb.UpdateUserInput, ...func(*memorydb.Options)) (*memorydb.UpdateUserOutput, error)
	}
}

func (m MemoryDBUsers) Describe(ctx context.Context, name string) (s UserState, err error) {
	out, err := m.Client.DescribeUsers(ctx, &memorydb.DescribeUsersInput{UserName: &name})
	if err != nil {
		return s, fmt.Errorf("describe the user: %w", err)
	}
	if len(out.Users) != 1 {
		return s, errors.New("MemoryDB describes no user")
	}
	user := out.Users[0]
	s = UserState{Name: aws.ToString(user.Name), Status: aws.ToString(user.Status), Access: aws.ToString(user.AccessString), Groups: user.ACLNames}
	if user.Authentication != nil {
		s.Auth, s.Passwords = string(user.Authentication.Type), int(aws.ToInt32(user.Authentication.PasswordCount))
	}
	return s, nil
}

func (m MemoryDBUsers) SetPasswords(ctx context.Context, name string, passwords []string) error {
	_, err := m.Client.UpdateUser(ctx, &memorydb.UpdateUserInput{UserName: &name,
		AuthenticationMode: &memorytypes.AuthenticationMode{Type: memorytypes.InputAuthenticationTypePassword, Passwords: passwords}})
	if err != nil {
		err = fmt.Errorf("set the passwords of the user: %w", hide(err, passwords...))
	}
	return err
}
