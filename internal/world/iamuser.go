package world

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/rediam/rediam/internal/policy"
)

// An IAMUser is a user of IAM, who has access keys; not one whom Redis knows.
type IAMUser struct {
	Account  string // zero means the world's
	Name     string
	Path     string            // such as /web/; zero means / or, of one who exists, the path that there is
	Inline   map[string]string // policy documents by policy name
	Attached []string          // ARNs of managed policies
	Boundary string            // ARN of a managed policy; zero means none
	Tags     map[string]string

	ID      string    // AIDA…; set by the world
	Created time.Time // set by the world
}

// iamUser is an IAMUser with its policies parsed. Managed ones are looked up when
// they are needed, so that a new version counts at once.
type iamUser struct {
	IAMUser
	inline []*policy.Policy
}

func packIAMUser(u iamUser) any { return u.IAMUser }

func unpackIAMUser(record []byte) (u iamUser, err error) {
	if u.IAMUser, err = fromJSON[IAMUser](record); err != nil {
		return u, err
	}
	u.inline, err = parseAll(u.Inline)
	return u, err
}

func (u IAMUser) clone() IAMUser {
	u.Inline, u.Tags, u.Attached = maps.Clone(u.Inline), maps.Clone(u.Tags), slices.Clone(u.Attached)
	return u
}

// PutIAMUser makes an IAM user, or changes the one with its name.
func (w *World) PutIAMUser(u IAMUser) error {
	u.Account = cmp.Or(u.Account, w.Account)
	u.ID = uniqueID("AIDA", w.userARN(u.Account, "", u.Name))
	_, err := w.putIAMUser(u, true)
	return err
}

// CreateIAMUser makes an IAM user of the world's account.
func (w *World) CreateIAMUser(u IAMUser) (IAMUser, error) {
	u.Account, u.ID = w.Account, newID("AIDA")
	return w.putIAMUser(u, false)
}

func (w *World) putIAMUser(u IAMUser, replace bool) (IAMUser, error) {
	u = u.clone()
	u.Created = w.stamp()
	if err := firstOf(checkName("userName", u.Name, maxName), checkPath(slashes(u.Path)), checkTags(u.Tags)); err != nil {
		return u, err
	}
	inline, err := parseAll(u.Inline)
	if err != nil {
		return u, malformed(err)
	}
	err = w.change(func() error {
		key := named(u.Account, u.Name)
		if old, ok := w.iamUsers.get(key); ok && replace {
			u.Path, u.ID, u.Created = old.Path, old.ID, old.Created
		} else if taken(&w.iamUsers, key) && !replace {
			return noSecond("User", u.Name)
		}
		u.Path = slashes(u.Path)
		w.iamUsers.put(key, iamUser{u, inline})
		return w.attachable(u.Account, u.Attached, u.Boundary)
	})
	return u, err
}

func noSecond(kind, name string) error {
	return errorf("EntityAlreadyExists", "%s with name %s already exists.", kind, name)
}

func noUser(name string) error {
	return errorf("NoSuchEntity", "The user with name %.128s cannot be found.", name)
}

// IAMUser finds a user of the world's account.
func (w *World) IAMUser(name string) (IAMUser, error) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	u, ok := w.iamUsers.get(named(w.Account, name))
	if !ok {
		return IAMUser{}, noUser(name)
	}
	return u.clone(), nil
}

// IAMUsers are those of the world's account, by name.
func (w *World) IAMUsers() []IAMUser {
	w.mu.RLock()
	defer w.mu.RUnlock()
	all := []IAMUser{}
	for _, key := range w.iamUsers.keys() {
		if u := w.iamUsers.rows[key]; u.Account == w.Account {
			all = append(all, u.clone())
		}
	}
	return all
}

// UpdateIAMUser gives a user another name and another path; empty ones leave it as
// it is. The keys go with the user, but not what policies say of the ARN.
func (w *World) UpdateIAMUser(name, newName, newPath string) error {
	newName = cmp.Or(newName, name)
	if err := firstOf(checkName("newUserName", newName, maxName), checkPath(slashes(newPath))); err != nil {
		return err
	}
	return w.change(func() error {
		u, ok := w.iamUsers.get(named(w.Account, name))
		if !ok {
			return noUser(name)
		}
		w.iamUsers.delete(named(w.Account, name))
		if taken(&w.iamUsers, named(w.Account, newName)) {
			return noSecond("User", newName)
		}
		u.Name, u.Path = newName, cmp.Or(newPath, u.Path)
		w.iamUsers.put(named(w.Account, newName), u)
		for id, k := range w.keys.rows {
			if k.Principal.of(w.Account, AsIAMUser, name) {
				k.Principal.Name, k.Principal.Path = u.Name, u.Path
				w.keys.put(id, k)
			}
		}
		return nil
	})
}

// DeleteIAMUser deletes a user who has neither keys nor policies. Sessions end.
func (w *World) DeleteIAMUser(name string) error {
	return w.change(func() error {
		u, ok := w.iamUsers.get(named(w.Account, name))
		if !ok {
			return noUser(name)
		}
		for _, k := range w.keys.rows {
			if k.Principal.of(w.Account, AsIAMUser, name) && k.Expires.IsZero() {
				return errorf("DeleteConflict", "Cannot delete entity, must delete access keys first.")
			}
		}
		if err := withoutPolicies(u.Inline, u.Attached); err != nil {
			return err
		}
		w.iamUsers.delete(named(w.Account, name))
		w.endSessions(AsIAMUser, name)
		return nil
	})
}

func withoutPolicies(inline map[string]string, attached []string) error {
	switch {
	case len(attached) > 0:
		return errorf("DeleteConflict", "Cannot delete entity, must detach all policies first.")
	case len(inline) > 0:
		return errorf("DeleteConflict", "Cannot delete entity, must delete policies first.")
	}
	return nil
}

// endSessions forgets the temporary keys of a principal that goes, so that they are
// not those of another one of its name later.
func (w *World) endSessions(kind PrincipalType, name string) {
	for id, k := range w.keys.rows {
		if k.Principal.of(w.Account, kind, name) && !k.Expires.IsZero() {
			w.keys.delete(id)
		}
	}
}

// of is whether a principal is a user or a session of a role.
func (p Principal) of(account string, kind PrincipalType, name string) bool {
	return p.Account == account && p.Type == kind && p.Name == name
}
