package awsapi

import (
	"strings"
	"time"

	"github.com/rediam/rediam/internal/world"
)

type newUserRequest struct {
	UserName            string `aws:",required"`
	Path                string
	PermissionsBoundary string
	Tags                []tag
}

type userResult struct{ User iamUser }

// iamUser is a user in an answer. Lists leave out its boundary and its tags.
type iamUser struct {
	Path, UserName, UserId, Arn string
	CreateDate                  time.Time
	PermissionsBoundary         *attachedBoundary
	Tags                        []tag
}

func (c *call) iamUser(u world.IAMUser) iamUser {
	return iamUser{Path: u.Path, UserName: u.Name, UserId: u.ID, Arn: c.arn("user", u.Path, u.Name), CreateDate: u.Created}
}

func (c *call) wholeUser(u world.IAMUser) userResult {
	out := c.iamUser(u)
	out.PermissionsBoundary, out.Tags = boundaryOf(u.Boundary), someTags(u.Tags)
	return userResult{out}
}

func onNewUser(c *call, in newUserRequest) []string {
	c.describeNew(in.PermissionsBoundary, in.Tags)
	return []string{c.arn("user", in.Path, in.UserName)}
}

// describeNew has the condition keys of a request for a new user or role.
func (c *call) describeNew(boundary string, tags []tag) {
	if boundary != "" {
		c.set("iam:PermissionsBoundary", boundary)
	}
	c.describeTags(tags)
}

func createUser(c *call, in newUserRequest) (out userResult, err error) {
	tags, err := tagMap(in.Tags)
	if err != nil {
		return out, err
	}
	u, err := c.world.CreateIAMUser(world.IAMUser{Name: in.UserName, Path: in.Path, Boundary: in.PermissionsBoundary, Tags: tags})
	return c.wholeUser(u), err
}

// Operations on a user who may be the caller: the members that name them.
type (
	named          interface{ userName() string }
	getUserRequest struct{ UserName string }
	userRequest    struct{ UserName string }
)

func (r getUserRequest) userName() string { return r.UserName }
func (r userRequest) userName() string    { return r.UserName }

// user is whom a request names, or the caller; the name is empty for root.
func (c *call) user(name string) (string, error) {
	p := c.caller.Principal
	if name == "" && p.Type == world.AssumedRole {
		return "", &world.Error{Code: "ValidationError", Message: "Must specify userName when calling with non-User credentials"}
	}
	if name == "" {
		return p.Name, nil
	}
	return name, nil
}

// onUser asks permission for the user. A session that names none has no user to ask
// for, and is refused by the operation.
func onUser[In named](c *call, in In) []string {
	name, err := c.user(in.userName())
	if err != nil {
		return nil
	}
	return []string{of[ofUser]{ofUser{name}}.resource(c)}
}

func getUser(c *call, in getUserRequest) (out userResult, err error) {
	name, err := c.user(in.UserName)
	if err != nil {
		return out, err
	}
	if name == "" {
		return userResult{iamUser{UserId: c.world.Account, Arn: c.world.PrincipalARN(c.caller.Principal)}}, nil
	}
	u, err := c.world.IAMUser(name)
	return c.wholeUser(u), err
}

type usersResult struct {
	Users   []iamUser
	pageEnd `aws:",inline"`
}

func listUsers(c *call, in byPath) (out usersResult, err error) {
	users := []iamUser{}
	for _, u := range c.world.IAMUsers() {
		if strings.HasPrefix(u.Path, in.PathPrefix) {
			users = append(users, c.iamUser(u))
		}
	}
	out.Users, out.pageEnd, err = cut(in.page, users, func(i int) string { return users[i].UserName })
	return out, err
}

type updateUserRequest struct {
	of[ofUser]           `aws:",inline"`
	NewUserName, NewPath string
}

// onUpdatedUser asks permission for the user before and after.
func onUpdatedUser(c *call, in updateUserRequest) []string {
	old := in.resource(c)
	u, err := c.world.IAMUser(in.On.UserName)
	if err != nil {
		return []string{old}
	}
	if in.NewUserName != "" {
		u.Name = in.NewUserName
	}
	if in.NewPath != "" {
		u.Path = in.NewPath
	}
	return []string{old, c.arn("user", u.Path, u.Name)}
}

func updateUser(c *call, in updateUserRequest) (none, error) {
	return none{}, c.world.UpdateIAMUser(in.On.UserName, in.NewUserName, in.NewPath)
}

func deleteUser(c *call, in of[ofUser]) (none, error) {
	return none{}, c.world.DeleteIAMUser(in.On.UserName)
}
