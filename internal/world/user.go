package world

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rediam/rediam/internal/acl"
)

// AuthType is how a user proves who it is; the values are AWS's.
type AuthType string

const (
	AuthIAM        AuthType = "iam" // the zero value means this too
	AuthPassword   AuthType = "password"
	AuthNoPassword AuthType = "no-password-required"
)

// Limits of AWS (ElastiCache user guide, "Role-based access control").
const (
	minPassword  = 16
	maxPassword  = 128
	maxPasswords = 2
)

// notInPasswords are the printable characters that a password may not have.
const notInPasswords = `,"/@`

// quotas of an account (ElastiCache and MemoryDB user guides, "Quotas").
var quotas = map[string]struct{ users, groups, subnetGroups int }{
	ElastiCache: {1000, 100, 150},
	MemoryDB:    {2000, 200, 300},
}

// defaultUser is the name of the user who is meant when a client names none.
const defaultUser = "default"

// Ids of users and of the group that every account has from the beginning and nobody
// can change or delete: default stands for nobody having to sign in, the others are
// for caches with public endpoints (ElastiCache user guide, "Role-based access
// control" and "Authenticating with IAM"). What the others are like but for signing in
// with IAM is not documented. No other id has a dot.
const (
	openID     = "default"
	iamUserID  = "default.iam-user"
	iamGroupID = "default.iam-user-group"
)

// A User is an ElastiCache or MemoryDB user: one whom Redis knows, not IAM.
type User struct {
	Service   string   // zero means ElastiCache
	ID        string   // zero means Name; MemoryDB has names only
	Name      string   // what AUTH names; required
	Engine    string   // "redis" (also when zero) or "valkey"
	Auth      AuthType // zero means AuthIAM
	Passwords []Secret // one or two with AuthPassword
	Access    string   // access string; zero means "off -@all". Comes back as AWS prints it
	Tags      map[string]string
}

// Format prints all but the passwords, whatever the verb.
func (u User) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "{%s user %s, name %s, engine %s, %s with %d passwords, %q, tags %v}", u.Service, u.ID, u.Name, u.Engine, u.Auth, len(u.Passwords), u.Access, u.Tags)
}

// user is a User with its access string parsed, and its state.
type user struct {
	User
	access *acl.Access
	State  state
}

// savedUser is a user with its passwords in the open.
type savedUser struct {
	User
	Passwords []string `json:",omitempty"`
	State     state    `json:",omitzero"`
}

func packUser(u user) any { return savedUser{u.User, open(u.Passwords), u.State} }

func unpackUser(record []byte) (user, error) {
	saved, err := fromJSON[savedUser](record)
	if err != nil {
		return user{}, err
	}
	saved.User.Passwords = closed(saved.Passwords)
	access, err := acl.Parse(saved.Access)
	return user{saved.User, access, saved.State}, err
}

func open(secrets []Secret) (texts []string) {
	for _, s := range secrets {
		texts = append(texts, string(s))
	}
	return texts
}

func closed(texts []string) (secrets []Secret) {
	for _, t := range texts {
		secrets = append(secrets, Secret(t))
	}
	return secrets
}

// of is the key of a user or a group.
func of(service, id string) string { return service + "/" + strings.ToLower(id) }

// countOf is how many rows are of a service, by their keys, but for some.
func countOf[V any](rows map[string]V, service string, but map[string]bool) (n int) {
	for key := range rows {
		if strings.HasPrefix(key, of(service, "")) && !but[key] {
			n++
		}
	}
	return n
}

// The keys of the users and groups that every account has and that count for no quota.
var (
	premadeUsers  = map[string]bool{of(ElastiCache, openID): true, of(ElastiCache, iamUserID): true, of(MemoryDB, openID): true}
	premadeGroups = map[string]bool{of(ElastiCache, iamGroupID): true, of(MemoryDB, openAccess): true}
)

// makePremade makes them. The access strings are those that DescribeUsers shows on AWS.
func (w *World) makePremade() {
	for _, u := range []User{
		{Service: ElastiCache, ID: openID, Engine: "redis", Auth: AuthNoPassword, Access: "on ~* +@all"},
		{Service: ElastiCache, ID: iamUserID, Engine: "valkey", Auth: AuthIAM, Access: "on ~* +@all"},
		{Service: MemoryDB, ID: openID, Engine: "redis", Auth: AuthNoPassword, Access: "on ~* &* +@all"},
	} {
		u.Name = u.ID
		access, _ := acl.Parse(u.Access) // it is a constant
		w.users.rows[of(u.Service, u.ID)] = user{User: u, access: access}
	}
	for _, g := range []Group{
		{Service: ElastiCache, ID: iamGroupID, Engine: "valkey", Users: []string{iamUserID}},
		{Service: MemoryDB, ID: openAccess, Engine: "redis", Users: []string{openID}},
	} {
		w.groups.rows[of(g.Service, g.ID)] = group{Group: g}
	}
}

func (u User) premade() bool  { return premadeUsers[of(u.Service, u.ID)] }
func (g Group) premade() bool { return premadeGroups[of(g.Service, g.ID)] }

// checkPremade refuses to change or delete a user that every account has.
func (u User) checkPremade() error {
	if u.premade() {
		return errorf("InvalidParameterValue", "User %s cannot be modified or deleted.", u.ID)
	}
	return nil
}

// checkPremade likewise; MemoryDB has words of its own for either.
func (g Group) checkPremade(done string) error {
	switch {
	case g.premade() && g.Service == MemoryDB:
		return errorf("InvalidParameterValue", "%s ACL can't be %s.", g.ID, done)
	case g.premade():
		return errorf("InvalidParameterValue", "User group %s cannot be modified or deleted.", g.ID)
	}
	return nil
}

// newUser is a user with its defaults, if it keeps the rules.
func newUser(u User) (user, error) {
	u.Service = cmp.Or(u.Service, ElastiCache)
	u.ID = strings.ToLower(cmp.Or(u.ID, u.Name))
	u.Engine = strings.ToLower(cmp.Or(u.Engine, "redis"))
	u.Auth = cmp.Or(u.Auth, AuthIAM)
	u.Passwords = slices.Clone(u.Passwords)
	u.Tags = maps.Clone(u.Tags)
	u.Access = cmp.Or(u.Access, "off -@all")
	if u.Service == MemoryDB {
		u.Name = strings.ToLower(u.Name)
	}
	if err := u.check(); err != nil {
		return user{}, err
	}
	access, err := acl.Parse(u.Access)
	if err == nil && u.Service == MemoryDB {
		// Channels are shut unless a rule opens them, unlike on ElastiCache (AWS CLI
		// reference, "memorydb create-user": its answer has resetchannels).
		access, err = acl.Parse("resetchannels " + u.Access)
	}
	if err != nil {
		return user{}, errorf("InvalidParameterValue", "access string: %s", err)
	}
	u.Access = access.String()
	return user{User: u, access: access}, nil
}

func (u User) check() error {
	switch {
	case !isService(u.Service):
		return notAService
	case len(u.ID) > 40 || !idPattern.MatchString(u.ID) && !u.premade():
		return errorf("InvalidParameterValue", "user id must be at most 40 letters, digits and single hyphens, a letter first")
	case len(u.Name) > 40 || u.Name != u.ID && !idPattern.MatchString(u.Name):
		return errorf("InvalidParameterValue", "user name must be at most 40 letters, digits and single hyphens, a letter first")
	case !isEngine(u.Engine):
		return notAnEngine
	case u.Service == MemoryDB && u.Auth != AuthIAM && u.Auth != AuthPassword:
		return errorf("InvalidParameterValue", "Input Authentication type: %.64s is not in the allowed list: [password,iam]", u.Auth)
	case !slices.Contains([]AuthType{AuthIAM, AuthPassword, AuthNoPassword}, u.Auth):
		return errorf("InvalidParameterValue", "Input Authentication type: %.64s is not in the allowed list: [password,no-password-required,iam]", u.Auth)
	case u.Service == MemoryDB && u.ID != u.Name:
		return errorf("InvalidParameterCombination", "a MemoryDB user has a name only")
	case u.Service == ElastiCache && u.Auth == AuthIAM && u.ID != u.Name:
		return errorf("InvalidParameterCombination", "User Id and User name must be same for authentication type: iam")
	case u.Auth == AuthNoPassword && u.Engine == "valkey":
		return errorf("InvalidParameterCombination", "No-password-required is not allowed for a user with engine Valkey")
	case u.Auth != AuthPassword && len(u.Passwords) > 0:
		return errorf("InvalidParameterCombination", "Password field is not allowed with authentication type: %s", u.Auth)
	case u.Auth == AuthPassword && len(u.Passwords) == 0:
		return errorf("InvalidParameterCombination", "A user with Authentication Mode: password, must have at least one password")
	case len(u.Passwords) > maxPasswords:
		return errorf("InvalidParameterValue", "a user has at most %d passwords", maxPasswords)
	}
	for _, p := range u.Passwords {
		if len(p) < minPassword || len(p) > maxPassword {
			return errorf("InvalidParameterValue", "Passwords length must be between %d-%d characters.", minPassword, maxPassword)
		}
		if strings.ContainsFunc(string(p), func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(notInPasswords, r) }) {
			return errorf("InvalidParameterValue", "Passwords may have printable ASCII characters except %s", notInPasswords)
		}
	}
	return checkCacheTags(u.Tags)
}

// PutUser makes a user, or changes the one with its ID. Live connections keep
// what they have until they sign in again, except that the engine applies a new
// access string to them at once.
func (w *World) PutUser(u User) error {
	made, err := newUser(u)
	if err != nil {
		return err
	}
	return w.change(func() error { return w.storeUser(made) })
}

// storeUser puts a user that still fits its groups.
func (w *World) storeUser(u user) error {
	if err := u.checkPremade(); err != nil {
		return err
	}
	w.users.put(of(u.Service, u.ID), u)
	for _, g := range w.groups.rows {
		if g.Service == u.Service && slices.Contains(g.Users, u.ID) {
			if err := w.checkMembers(g.Group); err != nil {
				return err
			}
		}
	}
	return nil
}

// A UserInfo is a user as Describe shows it.
type UserInfo struct {
	User
	Status         string
	MinimumVersion string   // of the engine
	Groups         []string // ids
}

// CreateUser makes a user that is not there yet.
func (w *World) CreateUser(u User) (UserInfo, error) {
	made, err := newUser(u)
	if err != nil {
		return UserInfo{}, err
	}
	err = w.change(func() error {
		if _, ok := w.userOf(made.Service, made.ID); ok {
			return errorf("UserAlreadyExists", "User %s already exists.", made.ID)
		}
		if most := quotas[made.Service].users; countOf(w.users.rows, made.Service, premadeUsers) >= most {
			return errorf("UserQuotaExceeded", "an account has at most %d users", most)
		}
		return w.storeUser(made)
	})
	return w.infoOfUser(made), err
}

// ModifyUser changes a user by edit, which may refuse. It applies at once.
func (w *World) ModifyUser(service, id string, edit func(*User) error) (info UserInfo, err error) {
	var made user
	err = w.change(func() error {
		old, err := w.activeUser(service, id)
		if err != nil {
			return err
		}
		changed := old.copy()
		if err = edit(&changed); err != nil {
			return err
		}
		if made, err = newUser(changed); err != nil {
			return err
		}
		made.State = w.begin(modifying)
		if err := w.storeUser(made); err != nil {
			return err
		}
		for _, g := range w.groups.rows {
			if g.Service == made.Service && slices.Contains(g.Users, made.ID) {
				if err := w.checkVersions(g.Group); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return w.infoOfUser(made), err
}

// activeUser finds a user that can be changed, with which nothing is under way.
func (w *World) activeUser(service, id string) (user, error) {
	u, ok := w.userOf(service, id)
	switch {
	case !ok:
		return u, noCacheUser(id)
	case u.premade():
		return u, u.checkPremade()
	}
	if doing := w.underWay(u.State); doing != "" {
		return u, errorf("InvalidUserState", "User %s is not in active state but in %s.", u.ID, doing)
	}
	return u, nil
}

func noCacheUser(id string) error { return errorf("UserNotFound", "User %.64s not found.", id) }

// DeleteUser takes a user out of the world and of every group, which ends its
// connections. The default user of a group that needs one cannot be deleted.
func (w *World) DeleteUser(service, id string) error {
	return w.change(func() error {
		u, ok := w.userOf(service, id)
		if !ok {
			return noCacheUser(id)
		}
		return w.dropUser(u, state{})
	})
}

// RemoveUser is DeleteUser with StateDelay.
func (w *World) RemoveUser(service, id string) (info UserInfo, err error) {
	err = w.change(func() error {
		u, err := w.activeUser(service, id)
		if err != nil {
			return err
		}
		if err = w.dropUser(u, w.begin(deleting)); err != nil {
			return err
		}
		info = w.describeUser(u)
		info.Status = deleting
		return nil
	})
	return info, err
}

// dropUser takes a user out of its groups, and of the world unless its deletion is
// to last.
func (w *World) dropUser(u user, lasting state) error {
	if err := u.checkPremade(); err != nil {
		return err
	}
	for key, g := range w.groups.rows {
		i := slices.Index(g.Users, u.ID)
		if g.Service != u.Service || i < 0 {
			continue
		}
		if u.Name == defaultUser && g.needsDefault() {
			return errorf("DefaultUserAssociatedToUserGroup", "User %s is the default user of user group %s.", u.ID, g.ID)
		}
		g.Users = slices.Delete(slices.Clone(g.Users), i, i+1)
		w.groups.put(key, g)
	}
	if lasting.Doing == "" {
		w.users.delete(of(u.Service, u.ID))
		return nil
	}
	u.State = lasting
	w.users.put(of(u.Service, u.ID), u)
	return nil
}

// userOf finds a user that is not gone.
func (w *World) userOf(service, id string) (user, bool) {
	u, ok := w.users.get(of(service, id))
	return u, ok && !w.gone(u.State)
}

// User finds a user by its id.
func (w *World) User(service, id string) (User, bool) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	u, ok := w.userOf(service, id)
	return u.copy(), ok
}

// Users lists the users of a service by id.
func (w *World) Users(service string) (all []UserInfo) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	groups := map[string][]string{} // by user: to look into every group for each is slow
	for _, key := range w.groups.keys() {
		if g := w.groups.rows[key]; g.Service == service {
			for _, id := range g.Users {
				groups[id] = append(groups[id], g.ID)
			}
		}
	}
	for _, key := range w.users.keys() {
		if u := w.users.rows[key]; u.Service == service && !w.gone(u.State) {
			all = append(all, w.showUser(u, groups[u.ID]))
		}
	}
	return all
}

func (w *World) infoOfUser(u user) UserInfo {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.describeUser(u)
}

func (w *World) describeUser(u user) UserInfo {
	var groups []string
	for _, key := range w.groups.keys() {
		if g := w.groups.rows[key]; g.Service == u.Service && slices.Contains(g.Users, u.ID) {
			groups = append(groups, g.ID)
		}
	}
	return w.showUser(u, groups)
}

func (w *World) showUser(u user, groups []string) UserInfo {
	return UserInfo{User: u.copy(), Status: cmp.Or(w.underWay(u.State), active), MinimumVersion: u.minimumVersion(), Groups: append([]string{}, groups...)}
}

// minimumVersion is that of the engine on which a user can be: IAM needs Redis OSS
// 7.0, as selectors and permissions of keys do; Valkey begins with 7.2, MemoryDB with
// 6.2.
func (u User) minimumVersion() string {
	switch {
	case u.Engine == "valkey":
		return "7.2"
	case u.Auth == AuthIAM || strings.ContainsAny(u.Access, "(%"):
		return "7.0"
	}
	return firstVersion[u.Service]
}

// firstVersion is the oldest that has users at all.
var firstVersion = map[string]string{ElastiCache: "6.0", MemoryDB: "6.2"}

func (u user) copy() User {
	out := u.User
	out.Passwords, out.Tags = slices.Clone(u.Passwords), maps.Clone(u.Tags)
	return out
}

func (w *World) UserARN(u User) string {
	if u.Service == MemoryDB {
		return w.MemoryDBARN("user", u.ID)
	}
	return w.ElastiCacheARN("user", u.ID)
}
