package world

import (
	"github.com/rediam/rediam/internal/policy"
	"slices"
)

// An Identity is an IAM user or a role of the world's account.
type Identity struct {
	Role bool // else an IAM user
	Name string
}

// Permissions are what users and roles both have.
type Permissions struct {
	Path, ID string
	Inline   map[string]string // policy documents by policy name
	Attached []string          // ARNs of managed policies
	Boundary string            // ARN of a managed policy; empty if there is none
	Tags     map[string]string
}

// IdentityARN is the ARN of a user or role, also of one that does not exist.
func (w *World) IdentityARN(id Identity) string {
	w.mu.RLock()
	defer w.mu.RUnlock()
	key := named(w.Account, id.Name)
	if id.Role {
		return w.roleARN(w.Account, w.roles.rows[key].Path, id.Name)
	}
	return w.userARN(w.Account, w.iamUsers.rows[key].Path, id.Name)
}

// IdentityAt finds a user or role by its ARN.
func (w *World) IdentityAt(arn string) (Identity, bool) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	for _, r := range w.roles.rows {
		if r.Account == w.Account && w.roleARN(r.Account, r.Path, r.Name) == arn {
			return Identity{true, r.Name}, true
		}
	}
	for _, u := range w.iamUsers.rows {
		if u.Account == w.Account && w.userARN(u.Account, u.Path, u.Name) == arn {
			return Identity{false, u.Name}, true
		}
	}
	return Identity{}, false
}

// PoliciesOf are the policies of a user or role, inline ones first.
func (w *World) PoliciesOf(id Identity) policy.Policies {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.policiesFor(w.Account, id, nil)
}

// Permissions are those of a user or role.
func (w *World) Permissions(id Identity) (Permissions, error) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.permissions(id)
}

func (w *World) permissions(id Identity) (Permissions, error) {
	u, ok := w.iamUsers.get(named(w.Account, id.Name))
	if id.Role {
		r, ok := w.roles.get(named(w.Account, id.Name))
		if !ok {
			return Permissions{}, noRole(id.Name)
		}
		r.Role = r.clone()
		return Permissions{r.Path, r.ID, r.Inline, r.Attached, r.Boundary, r.Tags}, nil
	}
	if !ok {
		return Permissions{}, noUser(id.Name)
	}
	u.IAMUser = u.clone()
	return Permissions{u.Path, u.ID, u.Inline, u.Attached, u.Boundary, u.Tags}, nil
}

func (w *World) changePermissions(id Identity, change func(*Permissions) error) error {
	return w.change(func() error {
		p, err := w.permissions(id)
		if err != nil {
			return err
		}
		if err := change(&p); err != nil {
			return err
		}
		parsed, err := parseAll(p.Inline)
		if err != nil {
			return malformed(err)
		}
		key := named(w.Account, id.Name)
		if id.Role {
			r := w.roles.rows[key]
			r.Inline, r.Attached, r.Boundary, r.Tags, r.inline = p.Inline, p.Attached, p.Boundary, p.Tags, parsed
			w.roles.put(key, r)
			return nil
		}
		u := w.iamUsers.rows[key]
		u.Inline, u.Attached, u.Boundary, u.Tags, u.inline = p.Inline, p.Attached, p.Boundary, p.Tags, parsed
		w.iamUsers.put(key, u)
		return nil
	})
}

// AttachPolicy attaches a managed policy; it may be attached already.
func (w *World) AttachPolicy(id Identity, arn string) error {
	return w.changePermissions(id, func(p *Permissions) error {
		if slices.Contains(p.Attached, arn) {
			return nil
		}
		if _, ok := w.policyOf(w.Account, arn); !ok {
			return noPolicy(arn)
		}
		if len(p.Attached) >= maxAttached {
			return errorf("LimitExceeded", "Cannot exceed quota for PoliciesPer%s: %d", id.kind(), maxAttached)
		}
		p.Attached = append(p.Attached, arn)
		return nil
	})
}

func (id Identity) kind() string {
	if id.Role {
		return "Role"
	}
	return "User"
}

// DetachPolicy takes a managed policy away.
func (w *World) DetachPolicy(id Identity, arn string) error {
	return w.changePermissions(id, func(p *Permissions) error {
		i := slices.Index(p.Attached, arn)
		if i < 0 {
			return notFound(arn)
		}
		p.Attached = slices.Delete(p.Attached, i, i+1)
		return nil
	})
}

// PutInlinePolicy makes or replaces an inline policy.
func (w *World) PutInlinePolicy(id Identity, name, document string) error {
	if err := checkName("policyName", name, maxLongName); err != nil {
		return err
	}
	return w.changePermissions(id, func(p *Permissions) error {
		if p.Inline == nil {
			p.Inline = map[string]string{}
		}
		p.Inline[name] = document
		most, kind, total := maxUserPolicies, "user", 0
		if id.Role {
			most, kind = maxRolePolicies, "role"
		}
		for _, d := range p.Inline {
			total += size(d)
		}
		if total > most {
			return errorf("LimitExceeded", "Maximum policy size of %d bytes exceeded for %s %s", most, kind, id.Name)
		}
		return nil
	})
}

// InlinePolicy is the document of an inline policy.
func (p Permissions) InlinePolicy(id Identity, name string) (string, error) {
	document, ok := p.Inline[name]
	if !ok && id.Role {
		return "", errorf("NoSuchEntity", "The role policy with name %.128s cannot be found.", name)
	} else if !ok {
		return "", errorf("NoSuchEntity", "The user policy with name %.128s cannot be found.", name)
	}
	return document, nil
}

// DeleteInlinePolicy deletes an inline policy.
func (w *World) DeleteInlinePolicy(id Identity, name string) error {
	return w.changePermissions(id, func(p *Permissions) error {
		_, err := p.InlinePolicy(id, name)
		delete(p.Inline, name)
		return err
	})
}

// SetBoundary makes a managed policy the permissions boundary.
func (w *World) SetBoundary(id Identity, arn string) error {
	return w.changePermissions(id, func(p *Permissions) error {
		if _, ok := w.policyOf(w.Account, arn); !ok {
			return noPolicy(arn)
		}
		p.Boundary = arn
		return nil
	})
}

// DeleteBoundary takes the permissions boundary away.
func (w *World) DeleteBoundary(id Identity) error {
	return w.changePermissions(id, func(p *Permissions) error {
		if p.Boundary == "" {
			return errorf("NoSuchEntity", "%s %s does not have a permissions boundary.", id.kind(), id.Name)
		}
		p.Boundary = ""
		return nil
	})
}

// Tag adds tags, and takes those away that have one of the keys.
func (w *World) Tag(id Identity, tags map[string]string, without []string) error {
	return w.changePermissions(id, func(p *Permissions) error {
		p.Tags = withTags(p.Tags, tags, without)
		return checkTags(p.Tags)
	})
}
