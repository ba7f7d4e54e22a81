package awsapi

import (
	"strings"

	"github.com/rediam/rediam/internal/world"
)

type memoryDBUserAnswer struct{ User memoryDBUser }

type memoryDBUser struct {
	Name, Status, AccessString string

	ACLNames             []string
	MinimumEngineVersion string
	Authentication       shownAuthentication
	ARN                  string
}

func memoryDBUserOf(c *call, u world.UserInfo) memoryDBUser {
	return memoryDBUser{Name: u.Name, Status: u.Status, AccessString: u.Access, ACLNames: u.Groups, MinimumEngineVersion: u.MinimumVersion,
		Authentication: authenticationOf(u.User), ARN: c.world.UserARN(u.User)}
}

type createMemoryDBUserRequest struct {
	UserName           string             `aws:",required"`
	AuthenticationMode authenticationMode `aws:",required"`
	AccessString       string             `aws:",required"`
	Tags               []cacheTag
}

func createMemoryDBUser(c *call, in createMemoryDBUserRequest) (out memoryDBUserAnswer, err error) {
	c.access = in.AccessString
	u := world.User{Service: world.MemoryDB, Name: in.UserName, Access: in.AccessString}
	if u.Auth, u.Passwords, err = authentication(&in.AuthenticationMode, nil, nil); err != nil {
		return out, err
	}
	if u.Tags, err = cacheTags(in.Tags); err != nil {
		return out, err
	}
	if err := notBlank("UserName", u.Name, "AccessString", u.Access); err != nil {
		return out, err
	}
	info, err := c.world.CreateUser(u)
	return memoryDBUserAnswer{memoryDBUserOf(c, info)}, err
}

type updateMemoryDBUserRequest struct {
	UserName           string `aws:",required"`
	AuthenticationMode *authenticationMode
	AccessString       string
}

func updateMemoryDBUser(c *call, in updateMemoryDBUserRequest) (out memoryDBUserAnswer, err error) {
	c.access = in.AccessString
	auth, passwords, err := authentication(in.AuthenticationMode, nil, nil)
	switch {
	case err != nil:
		return out, err
	case auth == "" && in.AccessString == "":
		return out, parameterCombination("There is nothing to update: AuthenticationMode or AccessString must be given.")
	}
	info, err := c.world.ModifyUser(world.MemoryDB, in.UserName, func(u *world.User) error {
		if in.AccessString != "" {
			u.Access = in.AccessString
		}
		if auth != "" {
			u.Auth, u.Passwords = auth, passwords
		}
		return nil
	})
	return memoryDBUserAnswer{memoryDBUserOf(c, info)}, err
}

type deleteMemoryDBUserRequest struct {
	UserName string `aws:",required"`
}

func deleteMemoryDBUser(c *call, in deleteMemoryDBUserRequest) (memoryDBUserAnswer, error) {
	info, err := c.world.RemoveUser(world.MemoryDB, in.UserName)
	return memoryDBUserAnswer{memoryDBUserOf(c, info)}, err
}

type describeMemoryDBUsersRequest struct {
	UserName    string
	resultsPage `aws:",inline"`
}

type describeMemoryDBUsersAnswer struct {
	NextToken string
	Users     []memoryDBUser
}

func describeMemoryDBUsers(c *call, in describeMemoryDBUsersRequest) (out describeMemoryDBUsersAnswer, err error) {
	name := func(u world.UserInfo) string { return u.ID }
	users, err := only(c.world.Users(world.MemoryDB), name, strings.ToLower(in.UserName), missing("UserNotFound", "User", in.UserName))
	if err != nil {
		return out, err
	}
	users, out.NextToken, err = cutResults(users, name, in.resultsPage)
	out.Users = []memoryDBUser{}
	for _, u := range users {
		out.Users = append(out.Users, memoryDBUserOf(c, u))
	}
	return out, err
}
