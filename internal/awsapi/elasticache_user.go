package awsapi

import (
	"slices"
	"strings"

	"github.com/rediam/rediam/internal/world"
)

type cacheUserAnswer struct {
	UserId, UserName, Status, Engine, MinimumEngineVersion, AccessString string

	UserGroupIds   []string
	Authentication shownAuthentication
	ARN            string
}

type shownAuthentication struct {
	Type          string
	PasswordCount *int
}

func authenticationOf(u world.User) shownAuthentication {
	shown := shownAuthentication{Type: strings.TrimSuffix(string(u.Auth), "-required")}
	if n := len(u.Passwords); n > 0 {
		shown.PasswordCount = &n
	}
	return shown
}

func cacheUserOf(c *call, u world.UserInfo) cacheUserAnswer {
	return cacheUserAnswer{UserId: u.ID, UserName: u.Name, Status: u.Status, Engine: u.Engine, MinimumEngineVersion: u.MinimumVersion, AccessString: u.Access,
		UserGroupIds: u.Groups, Authentication: authenticationOf(u.User), ARN: c.world.UserARN(u.User)}
}

type authenticationMode struct {
	Type      string
	Passwords []string
}

// authentication is how a request says that a user signs in, in AWS's new way and
// its old one; mode is empty if it says nothing.
func authentication(mode *authenticationMode, passwords []string, none *bool) (auth world.AuthType, secrets []world.Secret, err error) {
	if mode != nil {
		auth = world.AuthType(strings.ToLower(mode.Type))
		passwords = slices.Concat(mode.Passwords, passwords)
	}
	noPassword := none != nil && *none
	switch {
	case noPassword && auth != "" && auth != world.AuthNoPassword:
		return "", nil, parameterCombination("No password required flag is true but provided authentication type is %.64s", auth)
	case noPassword:
		auth = world.AuthNoPassword
	case mode != nil && auth == "":
		return "", nil, parameterValue("Input Authentication type: null is not in the allowed list: [password,no-password-required,iam]")
	case auth == "" && len(passwords) > 0:
		auth = world.AuthPassword
	}
	for _, p := range passwords {
		secrets = append(secrets, world.Secret(p))
	}
	return auth, secrets, nil
}

type createCacheUserRequest struct {
	UserId             string `aws:",required"`
	UserName           string `aws:",required"`
	Engine             string `aws:",required"`
	AccessString       string `aws:",required"`
	Passwords          []string
	NoPasswordRequired *bool
	AuthenticationMode *authenticationMode
	Tags               []cacheTag `aws:"Tags.Tag"`
}

func createCacheUser(c *call, in createCacheUserRequest) (out cacheUserAnswer, err error) {
	c.access = in.AccessString
	u := world.User{ID: in.UserId, Name: in.UserName, Engine: in.Engine, Access: in.AccessString}
	if u.Auth, u.Passwords, err = authentication(in.AuthenticationMode, in.Passwords, in.NoPasswordRequired); err != nil {
		return out, err
	}
	if u.Auth == "" {
		return out, parameterValue("No password was provided. If you want to create/update the user without password, please use the NoPasswordRequired flag.")
	}
	if u.Tags, err = cacheTags(in.Tags); err != nil {
		return out, err
	}
	if err := notBlank("UserId", u.ID, "UserName", u.Name, "Engine", u.Engine, "AccessString", u.Access); err != nil {
		return out, err
	}
	info, err := c.world.CreateUser(u)
	return cacheUserOf(c, info), err
}

// notBlank refuses members that are there but blank: the world would give them defaults.
func notBlank(namesAndValues ...string) error {
	for i := 0; i < len(namesAndValues); i += 2 {
		if strings.TrimSpace(namesAndValues[i+1]) == "" {
			return parameterValue("The parameter %s must be provided and must not be blank.", namesAndValues[i])
		}
	}
	return nil
}

type modifyCacheUserRequest struct {
	UserId             string `aws:",required"`
	AccessString       string
	AppendAccessString string
	Passwords          []string
	NoPasswordRequired *bool
	AuthenticationMode *authenticationMode
	Engine             string
}

func modifyCacheUser(c *call, in modifyCacheUserRequest) (out cacheUserAnswer, err error) {
	c.access = in.AccessString
	auth, passwords, err := authentication(in.AuthenticationMode, in.Passwords, in.NoPasswordRequired)
	switch {
	case err != nil:
		return out, err
	case in.AccessString != "" && in.AppendAccessString != "":
		return out, parameterCombination("AccessString and AppendAccessString cannot both be given.")
	}
	info, err := c.world.ModifyUser(world.ElastiCache, in.UserId, func(u *world.User) error {
		if in.AccessString != "" {
			u.Access = in.AccessString
		}
		if in.AppendAccessString != "" {
			u.Access += " " + in.AppendAccessString
			c.access = u.Access // rules are counted in the whole
		}
		if auth != "" {
			u.Auth, u.Passwords = auth, passwords
		}
		if in.Engine != "" {
			u.Engine = in.Engine
		}
		return nil
	})
	return cacheUserOf(c, info), err
}

type deleteCacheUserRequest struct {
	UserId string `aws:",required"`
}

func deleteCacheUser(c *call, in deleteCacheUserRequest) (cacheUserAnswer, error) {
	info, err := c.world.RemoveUser(world.ElastiCache, in.UserId)
	return cacheUserOf(c, info), err
}

type describeCacheUsersRequest struct {
	Engine, UserId string
	Filters        []struct {
		Name   string   `aws:",required"`
		Values []string `aws:",required"`
	}
	MaxRecords *int
	Marker     string
}

type describeCacheUsersAnswer struct {
	Users  []cacheUserAnswer
	Marker string
}

func describeCacheUsers(c *call, in describeCacheUsersRequest) (out describeCacheUsersAnswer, err error) {
	id := func(u world.UserInfo) string { return u.ID }
	users, err := only(c.world.Users(world.ElastiCache), id, strings.ToLower(in.UserId), missing("UserNotFound", "User", in.UserId))
	if err != nil {
		return out, err
	}
	for _, f := range in.Filters {
		of, ok := userProperties[strings.ToLower(f.Name)]
		if !ok {
			return out, parameterValue("Invalid filter %.64s: the emulator has UserId, UserName, Engine and Status", f.Name)
		}
		users = slices.DeleteFunc(users, func(u world.UserInfo) bool { return !slices.Contains(f.Values, of(u)) })
	}
	if in.Engine != "" {
		users = slices.DeleteFunc(users, func(u world.UserInfo) bool { return u.Engine != strings.ToLower(in.Engine) })
	}
	users, out.Marker, err = recordsPage(users, id, in.MaxRecords, in.Marker)
	out.Users = []cacheUserAnswer{}
	for _, u := range users {
		out.Users = append(out.Users, cacheUserOf(c, u))
	}
	return out, err
}

// userProperties are what users can be filtered by. AWS names UserId as an example.
var userProperties = map[string]func(world.UserInfo) string{
	"userid":   func(u world.UserInfo) string { return u.ID },
	"username": func(u world.UserInfo) string { return u.Name },
	"engine":   func(u world.UserInfo) string { return u.Engine },
	"status":   func(u world.UserInfo) string { return u.Status },
}
