package world

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/rediam/rediam/internal/acl"
)

// The services, in the spelling of ARNs and signing scopes.
const (
	ElastiCache = "elasticache"
	MemoryDB    = "memorydb"
)

// AuthType is how a user proves who it is; the values are AWS's.
type AuthType string

const (
	AuthIAM        AuthType = "iam" // the zero value means this too
	AuthPassword   AuthType = "password"
	AuthNoPassword AuthType = "no-password-required"
)

// Limits of AWS (ElastiCache user guide, "Role-based access control" and quotas).
const (
	maxGroupUsers = 100
	minPassword   = 16
	maxPassword   = 128
	maxPasswords  = 2
)

// notInPasswords are the printable characters that a password may not have.
const notInPasswords = `,"/@`

// defaultUser is the name of the user who is meant when a client names none.
const defaultUser = "default"

var idPattern = regexp.MustCompile(`^(default\.)?[a-zA-Z][a-zA-Z0-9]*(-[a-zA-Z0-9]+)*$`)

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

// user is a User with its access string parsed.
type user struct {
	User
	access *acl.Access
}

// savedUser is a User with its passwords in the open.
type savedUser struct {
	User
	Passwords []string `json:",omitempty"`
}

func packUser(u user) any { return savedUser{u.User, open(u.Passwords)} }

func unpackUser(record []byte) (user, error) {
	saved, err := fromJSON[savedUser](record)
	if err != nil {
		return user{}, err
	}
	saved.User.Passwords = closed(saved.Passwords)
	access, err := acl.Parse(saved.Access)
	return user{saved.User, access}, err
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

// PutUser makes a user, or changes the one with its ID. Live connections keep
// what they have until they sign in again, except that the engine applies a new
// access string to them at once.
func (w *World) PutUser(u User) error {
	u.Service = cmp.Or(u.Service, ElastiCache)
	u.ID = strings.ToLower(cmp.Or(u.ID, u.Name))
	u.Engine = strings.ToLower(cmp.Or(u.Engine, "redis"))
	u.Auth = cmp.Or(u.Auth, AuthIAM)
	u.Passwords = slices.Clone(u.Passwords)
	u.Tags = maps.Clone(u.Tags)
	if err := u.check(); err != nil {
		return err
	}
	access, err := acl.Parse(cmp.Or(u.Access, "off -@all"))
	if err != nil {
		return errorf("InvalidParameterValue", "access string: %s", err)
	}
	u.Access = access.String()
	return w.change(func() error {
		w.users.put(of(u.Service, u.ID), user{u, access})
		for _, g := range w.groups.rows {
			if g.Service != u.Service || !slices.Contains(g.Users, u.ID) {
				continue
			}
			if err := w.checkMembers(g); err != nil {
				return err
			}
		}
		return nil
	})
}

func (u User) check() error {
	switch {
	case !isService(u.Service):
		return notAService
	case len(u.ID) > 40 || !idPattern.MatchString(u.ID):
		return errorf("InvalidParameterValue", "user id must be at most 40 letters, digits and single hyphens, a letter first")
	case len(u.Name) > 40 || !idPattern.MatchString(u.Name):
		return errorf("InvalidParameterValue", "user name must be at most 40 letters, digits and single hyphens, a letter first")
	case !isEngine(u.Engine):
		return notAnEngine
	case !slices.Contains([]AuthType{AuthIAM, AuthPassword, AuthNoPassword}, u.Auth):
		return errorf("InvalidParameterValue", "Input Authentication type: %.64s is not in the allowed list: [password,no-password-required,iam]", u.Auth)
	case u.Service == MemoryDB && u.Auth == AuthNoPassword:
		return errorf("InvalidParameterValue", "a MemoryDB user signs in with IAM or a password")
	case u.Service == MemoryDB && u.ID != strings.ToLower(u.Name):
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
	return nil
}

var (
	notAService = errorf("InvalidParameterValue", "service must be %s or %s", ElastiCache, MemoryDB)
	notAnEngine = errorf("InvalidParameterValue", "engine must be redis or valkey")
)

func isService(s string) bool { return s == ElastiCache || s == MemoryDB }

func isEngine(e string) bool { return e == "redis" || e == "valkey" }

// User finds a user by its id.
func (w *World) User(service, id string) (User, bool) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	u, ok := w.users.get(of(service, id))
	return u.copy(), ok
}

func (u user) copy() User {
	out := u.User
	out.Passwords, out.Tags = slices.Clone(u.Passwords), maps.Clone(u.Tags)
	return out
}

// DeleteUser takes a user out of the world and of every group, which ends its
// connections. The default user of a group that needs one cannot be deleted.
func (w *World) DeleteUser(service, id string) error {
	id = strings.ToLower(id)
	return w.change(func() error {
		u, ok := w.users.get(of(service, id))
		if !ok {
			return errorf("UserNotFound", "User %.64s not found.", id)
		}
		for key, g := range w.groups.rows {
			i := slices.Index(g.Users, id)
			if g.Service != service || i < 0 {
				continue
			}
			if u.Name == defaultUser && g.needsDefault() {
				return errorf("DefaultUserAssociatedToUserGroup", "User %s is the default user of user group %s.", id, g.ID)
			}
			g.Users = slices.Delete(slices.Clone(g.Users), i, i+1)
			w.groups.put(key, g)
		}
		w.users.delete(of(service, id))
		return nil
	})
}

// A Group is an ElastiCache user group or a MemoryDB ACL.
type Group struct {
	Service string // zero means ElastiCache
	ID      string
	Engine  string   // "redis" (also when zero) or "valkey"
	Users   []string // ids
}

// PutGroup makes a group, or changes the one with its ID. Connections of users
// that are no longer in the group of a cache end.
func (w *World) PutGroup(g Group) error {
	g.Service = cmp.Or(g.Service, ElastiCache)
	g.ID = strings.ToLower(g.ID)
	g.Engine = strings.ToLower(cmp.Or(g.Engine, "redis"))
	g.Users = slices.Clone(g.Users)
	for i := range g.Users {
		g.Users[i] = strings.ToLower(g.Users[i])
	}
	switch {
	case !isService(g.Service):
		return notAService
	case !isEngine(g.Engine):
		return notAnEngine
	case len(g.ID) > 40 || !idPattern.MatchString(g.ID):
		return errorf("InvalidParameterValue", "user group id must be at most 40 letters, digits and single hyphens, a letter first")
	}
	return w.change(func() error {
		if err := w.checkMembers(g); err != nil {
			return err
		}
		for _, c := range w.caches.rows {
			if c.Service() == g.Service && c.Group == g.ID {
				if err := g.checkCache(c); err != nil {
					return err
				}
			}
		}
		w.groups.put(of(g.Service, g.ID), g)
		return nil
	})
}

// checkMembers holds the rules about who may be together in a group.
func (w *World) checkMembers(g Group) error {
	names := map[string]bool{}
	for _, id := range g.Users {
		u, ok := w.users.get(of(g.Service, id))
		switch {
		case !ok:
			return errorf("UserNotFound", "User %.64s not found.", id)
		case names[u.Name]:
			return errorf("DuplicateUserName", "two users of the group have the name %s", u.Name)
		case g.Engine == "redis" && u.Engine == "valkey":
			return errorf("InvalidParameterCombination", "user %s has engine valkey, the group has engine redis", id)
		case g.Engine == "valkey" && u.Auth == AuthNoPassword:
			return errorf("InvalidParameterCombination", "No-password-required is not allowed in a group with engine Valkey")
		}
		names[u.Name] = true
	}
	if len(g.Users) > maxGroupUsers {
		return errorf("InvalidParameterValue", "a user group has at most %d users", maxGroupUsers)
	}
	if g.needsDefault() && !names[defaultUser] {
		return errorf("DefaultUserRequired", "User group needs to contain a user with the user name default.")
	}
	return nil
}

func (g Group) needsDefault() bool { return g.Service == ElastiCache && g.Engine == "redis" }

// checkCache holds the rule about which group goes with which cache.
func (g Group) checkCache(c Cache) error {
	if g.Engine == "valkey" && c.Engine == "redis" {
		return errorf("InvalidParameterCombination", "a user group with engine valkey attaches to Valkey caches only")
	}
	return nil
}

// Group finds a group by its id.
func (w *World) Group(service, id string) (Group, bool) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	g, ok := w.groups.get(of(service, id))
	g.Users = slices.Clone(g.Users)
	return g, ok
}

// Kind is a kind of cache, in the words of ARNs.
type Kind string

const (
	ReplicationGroup Kind = "replicationgroup" // the zero value means this too
	ServerlessCache  Kind = "serverlesscache"
	Cluster          Kind = "cluster" // of MemoryDB
)

// A Cache is an ElastiCache replication group or serverless cache, or a
// MemoryDB cluster. TLS is always on.
type Cache struct {
	Kind    Kind
	Name    string // stored in lower case
	Engine  string // "redis" (also when zero) or "valkey"
	Version string // zero means "7.1" for redis and "8.1" for valkey
	// Group is the user group or ACL; zero means none: everybody is in as the
	// user default, as on AWS.
	Group string
	// Nodes is how many shards a cache in cluster mode has, each of one node, and
	// is fixed when the cache is made. Zero means one for MemoryDB clusters and
	// serverless caches, which speak to clients as clusters on AWS whatever their
	// size; of a replication group, a single node without cluster mode.
	Nodes int
	Tags  map[string]string
}

// maxNodes bounds the processes that a cache takes: on AWS it is 500.
const maxNodes = 10

// Service is the service that the cache belongs to.
func (c Cache) Service() string {
	if c.Kind == Cluster {
		return MemoryDB
	}
	return ElastiCache
}

// ClusterMode is whether the cache speaks to clients as a cluster.
func (c Cache) ClusterMode() bool { return c.Nodes > 0 }

// AllowsIAM is whether the engine is new enough for IAM sign-in: Valkey 7.2 or
// Redis OSS 7.0.
func (c Cache) AllowsIAM() bool {
	major, minor, _ := strings.Cut(c.Version, ".")
	m, _ := strconv.Atoi(major)
	n, _ := strconv.Atoi(strings.SplitN(minor, ".", 2)[0])
	if c.Engine == "valkey" {
		return m > 7 || m == 7 && n >= 2
	}
	return m >= 7
}

// PutCache makes a cache, or changes the one with its name.
func (w *World) PutCache(c Cache) error {
	c.Kind = cmp.Or(c.Kind, ReplicationGroup)
	c.Name = strings.ToLower(c.Name)
	c.Engine = strings.ToLower(cmp.Or(c.Engine, "redis"))
	if c.Version == "" {
		c.Version = map[string]string{"redis": "7.1", "valkey": "8.1"}[c.Engine]
	}
	c.Group = strings.ToLower(c.Group)
	c.Tags = maps.Clone(c.Tags)
	if c.Kind != ReplicationGroup {
		c.Nodes = cmp.Or(c.Nodes, 1)
	}
	switch {
	case !slices.Contains([]Kind{ReplicationGroup, ServerlessCache, Cluster}, c.Kind):
		return errorf("InvalidParameterValue", "kind must be %s, %s or %s", ReplicationGroup, ServerlessCache, Cluster)
	case len(c.Name) > 40 || !idPattern.MatchString(c.Name):
		return errorf("InvalidParameterValue", "cache name must be at most 40 letters, digits and single hyphens, a letter first")
	case !isEngine(c.Engine):
		return notAnEngine
	case c.Nodes < 0 || c.Nodes > maxNodes:
		return errorf("InvalidParameterValue", "nodes must be from 0 to %d", maxNodes)
	case c.Kind == ServerlessCache && c.Nodes > 1:
		return errorf("InvalidParameterCombination", "a serverless cache shows its clients one node")
	}
	return w.change(func() error {
		old, there := w.caches.get(c.Name)
		switch {
		case there && old.Kind != c.Kind:
			return errorf("InvalidParameterCombination", "a %s has the name %s", old.Kind, c.Name)
		case there && old.Nodes != c.Nodes:
			return errorf("InvalidParameterCombination", "%s has nodes %d, which cannot become %d: resharding is not emulated", c.Name, old.Nodes, c.Nodes)
		}
		g, ok := w.groups.get(of(c.Service(), c.Group))
		if c.Group != "" && !ok {
			return errorf("UserGroupNotFound", "User group %.64s not found.", c.Group)
		}
		if err := g.checkCache(c); err != nil {
			return err
		}
		w.caches.put(c.Name, c)
		return nil
	})
}

// DeleteCache ends a cache and all its connections.
func (w *World) DeleteCache(name string) error {
	return w.change(func() error {
		if _, ok := w.caches.get(strings.ToLower(name)); !ok {
			return errorf("ReplicationGroupNotFoundFault", "ReplicationGroup %.64s not found.", name)
		}
		w.caches.delete(strings.ToLower(name))
		return nil
	})
}

// Cache finds a cache by its name.
func (w *World) Cache(name string) (Cache, bool) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	c, ok := w.caches.get(strings.ToLower(name))
	return c.copy(), ok
}

func (c Cache) copy() Cache {
	c.Tags = maps.Clone(c.Tags)
	return c
}

// Caches lists the caches by name.
func (w *World) Caches() []Cache {
	w.mu.RLock()
	defer w.mu.RUnlock()
	caches := make([]Cache, 0, len(w.caches.rows))
	for _, name := range w.caches.keys() {
		caches = append(caches, w.caches.rows[name].copy())
	}
	return caches
}

// A Member is a user of a cache.
type Member struct {
	User
	Rules *acl.Access // User.Access, parsed; shared and not to be changed
}

// openUser is who everybody is on a cache without a user group.
var openUser = User{Name: defaultUser, ID: defaultUser, Service: ElastiCache, Engine: "redis", Auth: AuthNoPassword, Access: "on ~* &* +@all"}

// Members lists the users that may sign in to a cache: those of its group, or
// the open user default if it has none.
func (w *World) Members(cache string) []Member {
	w.mu.RLock()
	defer w.mu.RUnlock()
	c, ok := w.caches.get(strings.ToLower(cache))
	if !ok {
		return nil
	}
	if c.Group == "" {
		rules, err := acl.Parse(openUser.Access)
		if err != nil { // it is a constant
			return nil
		}
		return []Member{{openUser, rules}}
	}
	var members []Member
	for _, id := range w.groups.rows[of(c.Service(), c.Group)].Users {
		u := w.users.rows[of(c.Service(), id)]
		members = append(members, Member{u.copy(), u.access})
	}
	return members
}

// Member finds a user of a cache by the name that AUTH gives.
func (w *World) Member(cache, name string) (Member, bool) {
	for _, m := range w.Members(cache) {
		if m.Name == name {
			return m, true
		}
	}
	return Member{}, false
}

// CacheARN and UserARN are the two resources of a Connect.
func (w *World) CacheARN(c Cache) string {
	if c.Kind == Cluster {
		return w.arn(MemoryDB, w.Region, w.Account, "cluster/"+c.Name)
	}
	return w.arn(ElastiCache, w.Region, w.Account, string(c.Kind)+":"+c.Name)
}

func (w *World) UserARN(u User) string {
	if u.Service == MemoryDB {
		return w.arn(MemoryDB, w.Region, w.Account, "user/"+u.Name)
	}
	return w.arn(ElastiCache, w.Region, w.Account, "user:"+u.ID)
}
