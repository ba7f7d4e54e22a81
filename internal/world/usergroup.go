package world

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// maxGroupUsers is a quota of either service (user guides, "Quotas").
const maxGroupUsers = 100

// openAccess is the ACL of MemoryDB that every account has, for clusters into which
// everybody is let as the user default. It can be neither changed nor deleted, and no
// other ACL has that user (MemoryDB user guide, "Authenticating users with Access
// Control Lists").
const openAccess = "open-access"

// A Group is an ElastiCache user group or a MemoryDB ACL.
type Group struct {
	Service string // zero means ElastiCache
	ID      string
	Engine  string   // "redis" (also when zero) or "valkey"
	Users   []string // ids
	Tags    map[string]string
}

// title is how errors name the group.
func (g Group) title() string {
	if g.Service == MemoryDB {
		return "ACL " + g.ID
	}
	return "User group " + g.ID
}

// group is a Group with its state.
type group struct {
	Group
	State state `json:",omitzero"`
}

// newGroup is a group with its defaults, if it keeps the rules that concern it alone.
func newGroup(g Group) (group, error) {
	g.Service = cmp.Or(g.Service, ElastiCache)
	g.ID = strings.ToLower(g.ID)
	g.Engine = strings.ToLower(cmp.Or(g.Engine, "redis"))
	g.Users = slices.Clone(g.Users)
	for i := range g.Users {
		g.Users[i] = strings.ToLower(g.Users[i])
	}
	g.Tags = maps.Clone(g.Tags)
	switch {
	case !isService(g.Service):
		return group{}, notAService
	case !isEngine(g.Engine):
		return group{}, notAnEngine
	case len(g.ID) > 40 || !idPattern.MatchString(g.ID) && !g.premade():
		return group{}, errorf("InvalidParameterValue", "a user group id or ACL name must be at most 40 letters, digits and single hyphens, a letter first")
	}
	return group{Group: g}, checkCacheTags(g.Tags)
}

// PutGroup makes a group, or changes the one with its ID. Connections of users
// that are no longer in the group of a cache end.
func (w *World) PutGroup(g Group) error {
	made, err := newGroup(g)
	if err != nil {
		return err
	}
	return w.change(func() error { return w.storeGroup(made) })
}

// storeGroup puts a group that keeps the rules about its users and its caches.
func (w *World) storeGroup(g group) error {
	if err := g.checkPremade("modified"); err != nil {
		return err
	}
	if err := w.checkMembers(g.Group); err != nil {
		return err
	}
	for _, c := range w.cachesOf(g.Group) {
		if err := g.checkCache(c.Cache); err != nil {
			return err
		}
	}
	w.groups.put(of(g.Service, g.ID), g)
	return nil
}

// cachesOf are the caches that have the group, by name.
func (w *World) cachesOf(g Group) (all []cache) {
	for _, name := range w.caches.keys() {
		if c, ok := w.cacheOf(name); ok && c.Service() == g.Service && c.Group == g.ID {
			all = append(all, c)
		}
	}
	return all
}

// checkMembers holds the rules about who may be together in a group.
func (w *World) checkMembers(g Group) error {
	names := map[string]bool{}
	public := slices.ContainsFunc(w.cachesOf(g), func(c cache) bool { return c.Public })
	for _, id := range g.Users {
		u, ok := w.userOf(g.Service, id)
		switch {
		case !ok || u.State.Doing == deleting:
			return noCacheUser(id)
		case g.Service == MemoryDB && u.premade():
			return errorf("InvalidParameterValue", "User %s is in the ACL %s only.", defaultUser, openAccess)
		case names[u.Name]:
			return errorf("DuplicateUserName", "two users of the group have the name %s", u.Name)
		case public && u.Auth != AuthIAM:
			return errorf("InvalidParameterCombination", "the user group of a public endpoint has users with IAM only, and %s is another", id)
		case g.Engine == "redis" && u.Engine == "valkey":
			return errorf("InvalidParameterValue", "user %s has engine valkey, the group has engine redis", id)
		case g.Engine == "valkey" && u.Auth == AuthNoPassword:
			return errorf("InvalidParameterValue", "No-password-required is not allowed in a group with engine Valkey")
		}
		names[u.Name] = true
	}
	if len(g.Users) > maxGroupUsers {
		return errorf("InvalidParameterValue", "%s can have at most %d users", g.title(), maxGroupUsers)
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

// minimumVersion is that of the engine on which a group can be: the highest that one
// of its users needs.
func (w *World) minimumVersion(g Group) string {
	lowest := firstVersion[g.Service]
	if g.Engine == "valkey" {
		lowest = "7.2"
	}
	for _, id := range g.Users {
		if u, ok := w.userOf(g.Service, id); ok {
			lowest = max(lowest, u.minimumVersion())
		}
	}
	return lowest
}

// checkVersions refuses a group that has become too new for one of its caches. From Go
// that may be, to see why such a cache refuses sign-ins.
func (w *World) checkVersions(g Group) error {
	lowest := w.minimumVersion(g)
	for _, c := range w.cachesOf(g) {
		if c.Version < lowest {
			return errorf("InvalidParameterCombination", "%s needs engine version %s, %s has %s.", g.title(), lowest, c.Name, c.Version)
		}
	}
	return nil
}

// A GroupInfo is a group as Describe shows it.
type GroupInfo struct {
	Group
	Status         string
	MinimumVersion string  // of the engine
	Caches         []Cache // that have it
}

// CreateGroup makes a group that is not there yet.
func (w *World) CreateGroup(g Group) (GroupInfo, error) {
	made, err := newGroup(g)
	if err != nil {
		return GroupInfo{}, err
	}
	err = w.change(func() error {
		if _, ok := w.groupOf(made.Service, made.ID); ok {
			return errorf("UserGroupAlreadyExists", "%s already exists.", made.title())
		}
		if most := quotas[made.Service].groups; countOf(w.groups.rows, made.Service, premadeGroups) >= most {
			return errorf("UserGroupQuotaExceeded", "an account has at most %d user groups or ACLs", most)
		}
		made.State = w.begin(creating)
		return w.storeGroup(made)
	})
	return w.infoOfGroup(made), err
}

// ModifyGroup changes a group by edit, which may refuse. It applies at once.
func (w *World) ModifyGroup(service, id string, edit func(*Group) error) (GroupInfo, error) {
	var made group
	err := w.change(func() error {
		old, err := w.activeGroup(service, id)
		if err != nil {
			return err
		}
		changed := old.copy()
		if err = edit(&changed); err != nil {
			return err
		}
		if made, err = newGroup(changed); err != nil {
			return err
		}
		made.State = w.begin(modifying)
		if err := w.storeGroup(made); err != nil {
			return err
		}
		return w.checkVersions(made.Group)
	})
	return w.infoOfGroup(made), err
}

// ChangeUsers adds users to the group and takes others out.
func (g *Group) ChangeUsers(add, remove []string) error {
	for _, id := range remove {
		i := slices.Index(g.Users, strings.ToLower(id))
		if i < 0 {
			return errorf("InvalidParameterValue", "%s does not have the user %.64s.", g.title(), id)
		}
		g.Users = slices.Delete(g.Users, i, i+1)
	}
	for _, id := range add {
		if slices.Contains(g.Users, strings.ToLower(id)) {
			return errorf("InvalidParameterValue", "%s has the user %.64s already.", g.title(), id)
		}
		g.Users = append(g.Users, strings.ToLower(id))
	}
	return nil
}

// RemoveGroup deletes a group that no cache has.
func (w *World) RemoveGroup(service, id string) (info GroupInfo, err error) {
	err = w.change(func() error {
		g, err := w.activeGroup(service, id)
		if err != nil {
			return err
		}
		if err := g.checkPremade("deleted"); err != nil {
			return err
		}
		if used := w.cachesOf(g.Group); len(used) > 0 {
			return errorf("InvalidUserGroupState", "%s is associated with %s: it must be disassociated first.", g.title(), used[0].Name)
		}
		info = w.describeGroup(g)
		info.Status = deleting
		if g.State = w.begin(deleting); g.State.Doing == "" {
			w.groups.delete(of(g.Service, g.ID))
		} else {
			w.groups.put(of(g.Service, g.ID), g)
		}
		return nil
	})
	return info, err
}

// activeGroup finds a group with which nothing is under way.
func (w *World) activeGroup(service, id string) (group, error) {
	g, ok := w.groupOf(service, id)
	if !ok {
		return g, noGroup(service, id)
	}
	if doing := w.underWay(g.State); doing != "" {
		return g, errorf("InvalidUserGroupState", "%s is not in active state but in %s.", g.title(), doing)
	}
	return g, nil
}

func noGroup(service, id string) error {
	return errorf("UserGroupNotFound", "%.75s not found.", Group{Service: service, ID: id}.title())
}

// groupOf finds a group that is not gone.
func (w *World) groupOf(service, id string) (group, bool) {
	g, ok := w.groups.get(of(service, id))
	return g, ok && !w.gone(g.State)
}

// Group finds a group by its id.
func (w *World) Group(service, id string) (Group, bool) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	g, ok := w.groupOf(service, id)
	return g.copy(), ok
}

// Groups lists the groups of a service by id.
func (w *World) Groups(service string) (all []GroupInfo) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	for _, key := range w.groups.keys() {
		if g := w.groups.rows[key]; g.Service == service && !w.gone(g.State) {
			all = append(all, w.describeGroup(g))
		}
	}
	return all
}

func (w *World) infoOfGroup(g group) GroupInfo {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.describeGroup(g)
}

func (w *World) describeGroup(g group) GroupInfo {
	info := GroupInfo{Group: g.copy(), Status: cmp.Or(w.underWay(g.State), active), MinimumVersion: w.minimumVersion(g.Group)}
	for _, c := range w.cachesOf(g.Group) {
		info.Caches = append(info.Caches, c.copy())
	}
	return info
}

func (g group) copy() Group {
	out := g.Group
	out.Users, out.Tags = slices.Clone(g.Users), maps.Clone(g.Tags)
	return out
}
