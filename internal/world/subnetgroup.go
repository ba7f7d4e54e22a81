package world

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// maxSubnets is a quota of either service (user guides, "Quotas").
const maxSubnets = 20

// A SubnetGroup is a cache subnet group, or one of MemoryDB. There are no networks here: it is a name
// for some subnets' ids.
type SubnetGroup struct {
	Service     string // zero means ElastiCache
	Name        string // stored in lower case
	Description string
	Subnets     []string
	Tags        map[string]string
}

var subnetGroupName = regexp.MustCompile(`^[a-z0-9-]{1,255}$`)

// title is how errors name the subnet group.
func (g SubnetGroup) title() string {
	if g.Service == MemoryDB {
		return "Subnet group " + g.Name
	}
	return "Cache subnet group " + g.Name
}

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
	g.Service, g.Name = cmp.Or(g.Service, ElastiCache), strings.ToLower(g.Name)
	if err := g.check(); err != nil {
		return g, err
	}
	return g.copy(), w.change(func() error {
		key := of(g.Service, g.Name)
		if _, ok := w.subnets.get(key); ok {
			return errorf("CacheSubnetGroupAlreadyExists", "%s already exists.", g.title())
		}
		if most := quotas[g.Service].subnetGroups; countOf(w.subnets.rows, g.Service, nil) >= most {
			return errorf("CacheSubnetGroupQuotaExceeded", "an account has at most %d subnet groups", most)
		}
		w.subnets.put(key, g)
		return nil
	})
}

// ModifySubnetGroup changes a subnet group by edit.
func (w *World) ModifySubnetGroup(service, name string, edit func(*SubnetGroup)) (g SubnetGroup, err error) {
	err = w.change(func() error {
		old, ok := w.subnets.get(of(service, name))
		if !ok {
			return noSubnetGroup(service, name)
		}
		g = old.copy()
		edit(&g)
		w.subnets.put(of(service, name), g.copy())
		return g.check()
	})
	return g, err
}

// DeleteSubnetGroup deletes a subnet group in which no cache is.
func (w *World) DeleteSubnetGroup(service, name string) (g SubnetGroup, err error) {
	err = w.change(func() error {
		var ok bool
		if g, ok = w.subnets.get(of(service, name)); !ok {
			return noSubnetGroup(service, name)
		}
		for _, c := range w.caches.rows {
			if c.Service() == service && c.Details.SubnetGroup == g.Name && !w.gone(c.State) {
				return errorf("CacheSubnetGroupInUse", "%s is in use by %s.", g.title(), c.Name)
			}
		}
		w.subnets.delete(of(service, name))
		return nil
	})
	return g.copy(), err
}

// SubnetGroups lists the subnet groups of a service by name.
func (w *World) SubnetGroups(service string) (all []SubnetGroup) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	for _, key := range w.subnets.keys() {
		if g := w.subnets.rows[key]; g.Service == service {
			all = append(all, g.copy())
		}
	}
	return all
}

func noSubnetGroup(service, name string) error {
	return errorf("CacheSubnetGroupNotFoundFault", "%.83s not found.", SubnetGroup{Service: service, Name: name}.title())
}

func (g SubnetGroup) copy() SubnetGroup {
	g.Subnets, g.Tags = slices.Clone(g.Subnets), maps.Clone(g.Tags)
	return g
}
