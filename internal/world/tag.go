package world

import (
	"maps"
	"strings"
)

// Limits of AWS (ElastiCache user guide, "Tagging your ElastiCache resources"; MemoryDB
// has the same).
const (
	maxCacheTags     = 50
	maxCacheTagKey   = 128
	maxCacheTagValue = 256
)

func checkCacheTags(tags map[string]string) error {
	if len(tags) > maxCacheTags {
		return errorf("TagQuotaPerResourceExceeded", "a resource has at most %d tags", maxCacheTags)
	}
	for k, v := range tags {
		if k == "" || len(k) > maxCacheTagKey || len(v) > maxCacheTagValue || strings.HasPrefix(strings.ToLower(k), "aws:") {
			return errorf("InvalidParameterValue", "a tag has a key of 1 to %d characters that does not begin with aws:, and a value of at most %d", maxCacheTagKey, maxCacheTagValue)
		}
	}
	return nil
}

// Tags are those of a resource of a service.
func (w *World) Tags(service, arn string) (map[string]string, error) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	tags, _, err := w.tagged(service, arn)
	return maps.Clone(tags), err
}

// ChangeTags sets tags of a resource of a service and takes others away, which must
// be there.
func (w *World) ChangeTags(service, arn string, set map[string]string, remove []string) (tags map[string]string, err error) {
	err = w.change(func() error {
		old, put, err := w.tagged(service, arn)
		if err != nil {
			return err
		}
		tags = map[string]string{}
		maps.Copy(tags, old)
		for _, k := range remove {
			if _, ok := tags[k]; !ok {
				return errorf("TagNotFound", "The resource has no tag %.128s.", k)
			}
			delete(tags, k)
		}
		maps.Copy(tags, set)
		put(maps.Clone(tags))
		return checkCacheTags(tags)
	})
	return tags, err
}

// tagged finds a resource by its ARN: its tags, and how to give it others.
func (w *World) tagged(service, arn string) (tags map[string]string, put func(map[string]string), err error) {
	separator, groups := ":", "usergroup"
	if service == MemoryDB {
		separator, groups = "/", "acl"
	}
	resource, ok := strings.CutPrefix(arn, w.arn(service, w.Region, w.Account, ""))
	kind, id, named := strings.Cut(resource, separator)
	if !ok || !named {
		return nil, nil, errorf("InvalidARN", "%.128s is not the ARN of a resource of %s in this account and region", arn, service)
	}
	switch kind {
	case "user":
		if u, ok := w.userOf(service, id); ok {
			return u.Tags, func(t map[string]string) { u.Tags = t; w.users.put(of(u.Service, u.ID), u) }, nil
		}
		return nil, nil, noCacheUser(id)
	case groups:
		if g, ok := w.groupOf(service, id); ok {
			return g.Tags, func(t map[string]string) { g.Tags = t; w.groups.put(of(g.Service, g.ID), g) }, nil
		}
		return nil, nil, noGroup(service, id)
	case "subnetgroup":
		if g, ok := w.subnets.get(of(service, id)); ok {
			return g.Tags, func(t map[string]string) { g.Tags = t; w.subnets.put(of(service, id), g) }, nil
		}
		return nil, nil, noSubnetGroup(service, id)
	}
	if kind, ok := kindsInARN[service+"/"+kind]; ok {
		c, err := w.cacheOfKind(kind, id)
		return c.Tags, func(t map[string]string) { c.Tags = t; w.caches.put(c.Name, c) }, err
	}
	return nil, nil, errorf("InvalidARN", "the emulator has no tags of a resource such as %.128s", arn)
}
