package world

import (
	"maps"
	"strings"
)

// Limits of AWS (ElastiCache user guide, "Tagging your ElastiCache resources").
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

// Tags are those of a resource of ElastiCache.
func (w *World) Tags(arn string) (map[string]string, error) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	tags, _, err := w.tagged(arn)
	return maps.Clone(tags), err
}

// ChangeTags sets tags of a resource of ElastiCache and takes others away, which
// must be there.
func (w *World) ChangeTags(arn string, set map[string]string, remove []string) (tags map[string]string, err error) {
	err = w.change(func() error {
		old, put, err := w.tagged(arn)
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
func (w *World) tagged(arn string) (tags map[string]string, put func(map[string]string), err error) {
	resource, ok := strings.CutPrefix(arn, w.arn(ElastiCache, w.Region, w.Account, ""))
	kind, id, named := strings.Cut(resource, ":")
	if !ok || !named {
		return nil, nil, errorf("InvalidARN", "%.128s is not the ARN of a resource of ElastiCache in this account and region", arn)
	}
	switch kind {
	case "user":
		if u, ok := w.userOf(ElastiCache, id); ok {
			return u.Tags, func(t map[string]string) { u.Tags = t; w.users.put(of(u.Service, u.ID), u) }, nil
		}
		return nil, nil, noCacheUser(id)
	case "usergroup":
		if g, ok := w.groupOf(ElastiCache, id); ok {
			return g.Tags, func(t map[string]string) { g.Tags = t; w.groups.put(of(g.Service, g.ID), g) }, nil
		}
		return nil, nil, noGroup(id)
	case "subnetgroup":
		if g, ok := w.subnets.get(strings.ToLower(id)); ok {
			return g.Tags, func(t map[string]string) { g.Tags = t; w.subnets.put(g.Name, g) }, nil
		}
		return nil, nil, noSubnetGroup(id)
	case "cluster", string(ReplicationGroup), string(ServerlessCache):
		c, err := w.cacheOfKind(kindInARN(kind), id)
		return c.Tags, func(t map[string]string) { c.Tags = t; w.caches.put(c.Name, c) }, err
	}
	return nil, nil, errorf("InvalidARN", "the emulator has no tags of a resource such as %.128s", arn)
}
