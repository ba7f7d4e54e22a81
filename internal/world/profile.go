package world

import (
	"maps"
	"time"
)

// An InstanceProfile hands a role of the world's account to EC2 instances.
type InstanceProfile struct {
	Name    string
	Path    string // such as /web/; zero means /
	ID      string // AIPA…; set by the world
	Role    string // by name; empty as long as there is none
	Created time.Time
	Tags    map[string]string
}

// InstanceProfileARN is the ARN of an instance profile.
func (w *World) InstanceProfileARN(p InstanceProfile) string {
	return w.arn("iam", "", w.Account, "instance-profile"+slashes(p.Path)+p.Name)
}

// InstanceProfile finds one.
func (w *World) InstanceProfile(name string) (InstanceProfile, bool) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	p, ok := w.profiles.get(name)
	p.Tags = maps.Clone(p.Tags)
	return p, ok
}

// FindInstanceProfile is InstanceProfile with AWS's error.
func (w *World) FindInstanceProfile(name string) (InstanceProfile, error) {
	p, ok := w.InstanceProfile(name)
	if !ok {
		return p, noProfile(name)
	}
	return p, nil
}

// InstanceProfiles are all of them, by name.
func (w *World) InstanceProfiles() []InstanceProfile {
	w.mu.RLock()
	defer w.mu.RUnlock()
	all := []InstanceProfile{}
	for _, name := range w.profiles.keys() {
		p := w.profiles.rows[name]
		p.Tags = maps.Clone(p.Tags)
		all = append(all, p)
	}
	return all
}

// CreateInstanceProfile makes one without a role.
func (w *World) CreateInstanceProfile(p InstanceProfile) (InstanceProfile, error) {
	p.Path, p.Tags, p.Role = slashes(p.Path), maps.Clone(p.Tags), ""
	p.ID, p.Created = newID("AIPA"), w.stamp()
	if err := firstOf(checkName("instanceProfileName", p.Name, maxLongName), checkPath(p.Path), checkTags(p.Tags)); err != nil {
		return p, err
	}
	return p, w.change(func() error {
		if taken(&w.profiles, p.Name) {
			return errorf("EntityAlreadyExists", "Instance Profile %s already exists.", p.Name)
		}
		w.profiles.put(p.Name, p)
		return nil
	})
}

// DeleteInstanceProfile deletes one without a role.
func (w *World) DeleteInstanceProfile(name string) error {
	return w.change(func() error {
		switch p, ok := w.profiles.get(name); {
		case !ok:
			return noProfile(name)
		case p.Role != "":
			return errorf("DeleteConflict", "Cannot delete entity, must remove roles from instance profile first.")
		}
		w.profiles.delete(name)
		return nil
	})
}

// AddRoleToInstanceProfile gives it its role: there is room for one.
func (w *World) AddRoleToInstanceProfile(name, role string) error {
	return w.changeProfile(name, func(p *InstanceProfile) error {
		if _, ok := w.roles.get(named(w.Account, role)); !ok {
			return noRole(role)
		}
		if p.Role != "" {
			return errorf("LimitExceeded", "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1")
		}
		p.Role = role
		return nil
	})
}

// RemoveRoleFromInstanceProfile takes the role out again.
func (w *World) RemoveRoleFromInstanceProfile(name, role string) error {
	return w.changeProfile(name, func(p *InstanceProfile) error {
		if p.Role != role {
			return errorf("NoSuchEntity", "The role with name %.64s cannot be found in the instance profile %.128s.", role, name)
		}
		p.Role = ""
		return nil
	})
}

func (w *World) changeProfile(name string, change func(*InstanceProfile) error) error {
	return w.change(func() error {
		p, ok := w.profiles.get(name)
		if !ok {
			return noProfile(name)
		}
		if err := change(&p); err != nil {
			return err
		}
		w.profiles.put(name, p)
		return nil
	})
}

// TagInstanceProfile adds tags to one, and takes those away that have one of the keys.
func (w *World) TagInstanceProfile(name string, tags map[string]string, without []string) error {
	return w.changeProfile(name, func(p *InstanceProfile) error {
		p.Tags = withTags(p.Tags, tags, without)
		return checkTags(p.Tags)
	})
}

func noProfile(name string) error {
	return errorf("NoSuchEntity", "Instance Profile %.128s cannot be found.", name)
}
