package world

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Limits of AWS (ElastiCache quotas).
const (
	maxSubnetGroups = 150
	maxSubnets      = 20
)

// A SubnetGroup is a cache subnet group. There are no networks here: it is a name
// for some subnets' ids.
type SubnetGroup struct {
	Name        string // stored in lower case
	Description string
	Subnets     []string
	Tags        map[string]string
}

var subnetGroupName = regexp.MustCompile(`^[a-z0-9-]{1,255}$`)

func (g SubnetGroup) check() error {
	switch {
	case !subnetGroupName.MatchString(g.Name) || g.Name == "default":
		return errorf("InvalidParameterValue", "a subnet group's name has at most 255 letters, digits and hyphens, and is not default")
	case len(g.Subnets) == 0:
		return errorf("InvalidParameterValue", "a subnet group needs a subnet")
	case len(g.Subnets) > maxSubnets:
		return errorf("CacheSubnetQuotaExceededFault", "a subnet group has at most %d subnets", maxSubnets)
	}
	for _, id := range g.Subnets {
		if !strings.HasPrefix(id, "subnet-") {
			return errorf("InvalidSubnet", "%.64s is not the id of a subnet", id)
		}
	}
	return checkCacheTags(g.Tags)
}

// CreateSubnetGroup makes a subnet group that is not there yet.
func (w *World) CreateSubnetGroup(g SubnetGroup) (SubnetGroup, error) {
	g = g.copy()
	g.Name = strings.ToLower(g.Name)
	if err := g.check(); err != nil {
		return g, err
	}
	return g.copy(), w.change(func() error {
		if _, ok := w.subnets.get(g.Name); ok {
			return errorf("CacheSubnetGroupAlreadyExists", "Cache subnet group %s already exists.", g.Name)
		}
		if len(w.subnets.rows) >= maxSubnetGroups {
			return errorf("CacheSubnetGroupQuotaExceeded", "an account has at most %d cache subnet groups", maxSubnetGroups)
		}
		w.subnets.put(g.Name, g)
		return nil
	})
}

// ModifySubnetGroup changes a subnet group by edit.
func (w *World) ModifySubnetGroup(name string, edit func(*SubnetGroup)) (g SubnetGroup, err error) {
	err = w.change(func() error {
		old, ok := w.subnets.get(strings.ToLower(name))
		if !ok {
			return noSubnetGroup(name)
		}
		g = old.copy()
		edit(&g)
		w.subnets.put(g.Name, g.copy())
		return g.check()
	})
	return g, err
}

// DeleteSubnetGroup deletes a subnet group in which no cache is.
func (w *World) DeleteSubnetGroup(name string) error {
	name = strings.ToLower(name)
	return w.change(func() error {
		if _, ok := w.subnets.get(name); !ok {
			return noSubnetGroup(name)
		}
		for _, c := range w.caches.rows {
			if c.Details.SubnetGroup == name && !w.gone(c.State) {
				return errorf("CacheSubnetGroupInUse", "Cache subnet group %s is in use by %s.", name, c.Name)
			}
		}
		w.subnets.delete(name)
		return nil
	})
}

// SubnetGroups lists the subnet groups by name.
func (w *World) SubnetGroups() (all []SubnetGroup) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	for _, name := range w.subnets.keys() {
		all = append(all, w.subnets.rows[name].copy())
	}
	return all
}

func noSubnetGroup(name string) error {
	return errorf("CacheSubnetGroupNotFoundFault", "Cache subnet group %.64s not found.", name)
}

func (g SubnetGroup) copy() SubnetGroup {
	g.Subnets, g.Tags = slices.Clone(g.Subnets), maps.Clone(g.Tags)
	return g
}
