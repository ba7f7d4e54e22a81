package world

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/rediam/rediam/internal/policy"
)

// A Role is an IAM role.
type Role struct {
	Account     string // zero means the world's
	Name        string
	Path        string // such as /web/; zero means / or, of one that exists, the path that there is
	Description string
	Trust       string            // trust policy document; zero trusts the account
	Inline      map[string]string // policy documents by policy name
	Attached    []string          // ARNs of managed policies
	Boundary    string            // ARN of a managed policy; zero means none
	MaxSession  time.Duration     // zero means an hour
	Tags        map[string]string

	ID      string    // AROA…; set by the world
	Created time.Time // set by the world
}

// role is a Role with its policies parsed.
type role struct {
	Role
	inline []*policy.Policy
	trust  *policy.Policy
}

func packRole(r role) any { return r.Role }

func unpackRole(record []byte) (r role, err error) {
	if r.Role, err = fromJSON[Role](record); err != nil {
		return r, err
	}
	if r.trust, err = policy.Parse(policy.Trust, r.Name, []byte(r.Trust)); err != nil {
		return r, err
	}
	r.inline, err = parseAll(r.Inline)
	return r, err
}

func (r Role) clone() Role {
	r.Inline, r.Tags, r.Attached = maps.Clone(r.Inline), maps.Clone(r.Tags), slices.Clone(r.Attached)
	return r
}

// PutRole makes a role, or changes the one with its name. Sessions of the role
// have its new policies at once.
func (w *World) PutRole(r Role) error {
	r.Account = cmp.Or(r.Account, w.Account)
	r.ID = uniqueID("AROA", w.roleARN(r.Account, "", r.Name))
	if r.Trust == "" {
		r.Trust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + w.arn("iam", "", r.Account, "root") + `"},"Action":"sts:AssumeRole"}]}`
	}
	_, err := w.putRole(r, true)
	return err
}

// CreateRole makes a role of the world's account; it needs a trust policy.
func (w *World) CreateRole(r Role) (Role, error) {
	r.Account, r.ID = w.Account, newID("AROA")
	if err := checkTrustSize(r.Trust); err != nil {
		return r, err
	}
	return w.putRole(r, false)
}

func checkTrustSize(document string) error {
	if size(document) > maxTrustPolicy {
		return errorf("LimitExceeded", "Cannot exceed quota for ACLSizePerRole: %d", maxTrustPolicy)
	}
	return nil
}

func (w *World) putRole(r Role, replace bool) (Role, error) {
	r = r.clone()
	r.MaxSession, r.Created = cmp.Or(r.MaxSession, time.Hour), w.stamp()
	if err := firstOf(checkName("roleName", r.Name, maxName), checkPath(slashes(r.Path)), checkDescription(r.Description), checkMaxSession(r.MaxSession), checkTags(r.Tags)); err != nil {
		return r, err
	}
	trust, err := policy.Parse(policy.Trust, r.Name, []byte(r.Trust))
	if err != nil {
		return r, malformed(err)
	}
	inline, err := parseAll(r.Inline)
	if err != nil {
		return r, malformed(err)
	}
	err = w.change(func() error {
		key := named(r.Account, r.Name)
		if old, ok := w.roles.get(key); ok && replace {
			r.Path, r.ID, r.Created = old.Path, old.ID, old.Created
		} else if taken(&w.roles, key) && !replace {
			return noSecond("Role", r.Name)
		}
		r.Path = slashes(r.Path)
		w.roles.put(key, role{r, inline, trust})
		return w.attachable(r.Account, r.Attached, r.Boundary)
	})
	return r, err
}

func checkMaxSession(d time.Duration) error {
	if d < time.Hour || d > maxSession {
		return errorf("ValidationError", "MaxSessionDuration must be between 1 and 12 hours")
	}
	return nil
}

func noRole(name string) error {
	return errorf("NoSuchEntity", "The role with name %.64s cannot be found.", name)
}

// Role finds a role of the world's account.
func (w *World) Role(name string) (Role, bool) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	r, ok := w.roles.get(named(w.Account, name))
	return r.Role.clone(), ok
}

// Roles are those of the world's account, by name.
func (w *World) Roles() []Role {
	w.mu.RLock()
	defer w.mu.RUnlock()
	all := []Role{}
	for _, key := range w.roles.keys() {
		if r := w.roles.rows[key]; r.Account == w.Account {
			all = append(all, r.Role.clone())
		}
	}
	return all
}

// UpdateRole changes what is not nil.
func (w *World) UpdateRole(name string, description *string, longest *time.Duration, trust *string) error {
	return w.change(func() (err error) {
		r, ok := w.roles.get(named(w.Account, name))
		if !ok {
			return noRole(name)
		}
		if description != nil {
			r.Description = *description
		}
		if longest != nil {
			r.MaxSession = *longest
		}
		if trust != nil {
			r.Trust = *trust
			if r.trust, err = policy.Parse(policy.Trust, name, []byte(*trust)); err != nil {
				return malformed(err)
			}
		}
		w.roles.put(named(w.Account, name), r)
		return firstOf(checkDescription(r.Description), checkMaxSession(r.MaxSession), checkTrustSize(r.Trust))
	})
}

// DeleteRole deletes a role that has no policies and is in no instance profile.
// Its sessions end.
func (w *World) DeleteRole(name string) error {
	return w.change(func() error {
		r, ok := w.roles.get(named(w.Account, name))
		if !ok {
			return noRole(name)
		}
		for _, p := range w.profiles.rows {
			if p.Role == name {
				return errorf("DeleteConflict", "Cannot delete entity, must remove roles from instance profile first.")
			}
		}
		if err := withoutPolicies(r.Inline, r.Attached); err != nil {
			return err
		}
		w.roles.delete(named(w.Account, name))
		w.endSessions(AssumedRole, name)
		return nil
	})
}
