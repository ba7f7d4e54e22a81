package world

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// RunningCache is what runs of a cache: the addresses of its nodes, none if it has not
// started, and what failed at the last change.
type RunningCache struct {
	Addresses []string
	Err       error
}

// Report tells the world what runs, by name of the cache, once listeners have
// followed a change: a cache that is missing is still being created. It is no change,
// and nobody hears of it. A world that is never told takes every cache to run.
func (w *World) Report(runs map[string]RunningCache) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running = map[string]RunningCache{}
	maps.Copy(w.running, runs)
}

// A CacheInfo is a cache as Describe shows it.
type CacheInfo struct {
	Cache
	Status        string
	Addresses     []string // of the nodes; none while it is created
	Created       time.Time
	TokensChanged time.Time
	TokensPending string // SETTING or ROTATING, while that is under way
}

// CreateCache makes a cache that is not there yet, by the stricter rules of the API:
// its engine version exists, as does its subnet group.
func (w *World) CreateCache(c Cache) (CacheInfo, error) {
	made, err := w.newCache(c)
	if err != nil {
		return CacheInfo{}, err
	}
	if made.Version, err = FindVersion(made.Service(), made.Engine, made.Version); err != nil {
		return CacheInfo{}, err
	}
	err = w.change(func() error {
		f := faults[made.Kind]
		if old, ok := w.cacheOf(made.Name); ok && old.Kind == made.Kind {
			return errorf(f.exists, "%s %s already exists.", f.called, made.Name)
		}
		if made.Kind == ServerlessCache && w.countCaches(ServerlessCache) >= maxServerless {
			return errorf("ServerlessCacheQuotaForCustomerExceededFault", "an account has at most %d serverless caches", maxServerless)
		}
		if err := w.checkAttached(made.Cache); err != nil {
			return err
		}
		made.State = w.begin(creating)
		return w.storeVersioned(made)
	})
	return w.infoOfCache(made), err
}

// maxServerless is AWS's quota (ElastiCache endpoints and quotas).
const maxServerless = 40

func (w *World) countCaches(kind Kind) (n int) {
	for _, c := range w.caches.rows {
		if c.Kind == kind && !w.gone(c.State) {
			n++
		}
	}
	return n
}

// storeVersioned puts a cache whose version is enough for its group.
func (w *World) storeVersioned(c cache) error {
	if err := w.storeCache(c); err != nil || c.Group == "" {
		return err
	}
	g, _ := w.groupOf(c.Service(), c.Group)
	return w.checkVersions(g.Group)
}

// checkAttached is about the subnet group of a cache, and about what is under way with
// its user group. A cache without a subnet group is in AWS's default one (ElastiCache
// user guide, "Subnets and subnet groups"), which does not show here.
func (w *World) checkAttached(c Cache) error {
	_, there := w.subnets.get(of(c.Service(), c.Details.SubnetGroup))
	switch {
	case c.Details.SubnetGroup != "" && !there:
		return noSubnetGroup(c.Service(), c.Details.SubnetGroup)
	case c.Group == "":
		return nil
	}
	_, err := w.activeGroup(c.Service(), c.Group)
	return err
}

// ModifyCache changes a cache by edit, which may refuse. It applies at once.
func (w *World) ModifyCache(kind Kind, name string, edit func(*Cache) error) (CacheInfo, error) {
	var made cache
	err := w.change(func() error {
		old, err := w.cacheOfKind(kind, name)
		if err != nil {
			return err
		}
		if status := w.statusOf(old); old.underWay(w) != "" || status == createFailed {
			return errorf(faults[kind].state, "%s %s is not in available state but in %s.", faults[kind].called, old.Name, status)
		}
		changed := old.copy()
		if err = edit(&changed); err != nil {
			return err
		}
		if made, err = w.newCache(changed); err != nil {
			return err
		}
		if err = w.checkModified(old.Cache, &made.Cache); err != nil {
			return err
		}
		made.State = w.begin(made.changing())
		return w.storeVersioned(made)
	})
	return w.infoOfCache(made), err
}

// checkModified is about what a cache may become.
func (w *World) checkModified(old Cache, c *Cache) (err error) {
	if old.Engine != c.Engine || old.Version != c.Version {
		if c.Version, err = FindVersion(c.Service(), c.Engine, c.Version); err != nil {
			return err
		}
		if old.Engine == "valkey" && c.Engine == "redis" || old.Engine == c.Engine && older(c.Service(), c.Version, old.Version) {
			return errorf("InvalidParameterCombination", "The engine of %s cannot go back from %s %s to %s %s.", c.Name, old.Engine, old.Version, c.Engine, c.Version)
		}
	}
	if c.Group != "" && c.Group != old.Group {
		_, err = w.activeGroup(c.Service(), c.Group)
	}
	return err
}

// RemoveCache ends a cache and all its connections. One that is being made or
// changed cannot be deleted.
func (w *World) RemoveCache(kind Kind, name string) (info CacheInfo, err error) {
	err = w.change(func() error {
		c, err := w.cacheOfKind(kind, name)
		if err != nil {
			return err
		}
		if doing := c.underWay(w); doing != "" && w.statusOf(c) != createFailed {
			return errorf(faults[kind].state, "%s %s is not in available state but in %s.", faults[kind].called, c.Name, doing)
		}
		info = w.describeCache(c)
		info.Status, info.Addresses = deleting, nil
		if c.State = w.begin(deleting); c.State.Doing == "" {
			w.caches.delete(c.Name)
		} else {
			w.caches.put(c.Name, c)
		}
		return nil
	})
	return info, err
}

func (c cache) underWay(w *World) string { return w.underWay(c.State) }

// cacheOfKind finds a cache that is not gone, among those of a kind.
func (w *World) cacheOfKind(kind Kind, name string) (cache, error) {
	c, ok := w.cacheOf(name)
	if !ok || c.Kind != kind {
		return cache{}, noCache(kind, name)
	}
	return c, nil
}

// DescribeCaches lists the caches of some kinds by name, with those that are being
// deleted.
func (w *World) DescribeCaches(kinds ...Kind) (all []CacheInfo) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	for _, name := range w.caches.keys() {
		if c, ok := w.cacheOf(name); ok && slices.Contains(kinds, c.Kind) {
			all = append(all, w.describeCache(c))
		}
	}
	return all
}

// infoOfCache is what a cache is like now that listeners have heard of it.
func (w *World) infoOfCache(c cache) CacheInfo {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if now, ok := w.cacheOf(c.Name); ok {
		c = now
	}
	return w.describeCache(c)
}

func (w *World) describeCache(c cache) CacheInfo {
	info := CacheInfo{Cache: c.copy(), Status: w.statusOf(c), Created: c.Created, TokensChanged: c.TokenSet}
	if info.Status == available || info.Status == c.changing() {
		info.Addresses = slices.Clone(w.running[c.Name].Addresses)
	}
	if info.Status == c.changing() && c.TokensPending {
		info.TokensPending = "SETTING"
		if len(c.AuthTokens) > 1 {
			info.TokensPending = "ROTATING"
		}
	}
	return info
}

// statusOf is AWS's word for the state of a cache. One whose engine has not followed
// the last change is still being modified.
func (w *World) statusOf(c cache) string {
	runs, told := w.running[c.Name]
	doing := w.underWay(c.State)
	switch {
	case doing == deleting:
	case w.running != nil && !told:
		return creating
	case runs.Err != nil && len(runs.Addresses) == 0:
		return createFailed
	case runs.Err != nil:
		return c.changing()
	}
	return cmp.Or(doing, available)
}

// An EngineVersion is one that a service offers.
type EngineVersion struct {
	Engine, Version string
	Family          string // of parameter groups
}

// engineVersions are those that are still offered, oldest
// first (ElastiCache user guide, "Engine versions and upgrading").
var engineVersions = []EngineVersion{
	{"redis", "4.0.10", "redis4.0"}, {"redis", "5.0.6", "redis5.0"},
	{"redis", "6.0", "redis6.x"}, {"redis", "6.2", "redis6.x"}, {"redis", "7.0", "redis7"}, {"redis", "7.1", "redis7"},
	{"valkey", "7.2", "valkey7"}, {"valkey", "8.0", "valkey8"}, {"valkey", "8.1", "valkey8"}, {"valkey", "8.2", "valkey8"},
	{"valkey", "9.0", "valkey9"}, {"valkey", "9.1", "valkey9"},
}

// memoryDBVersions are likewise those of MemoryDB (user guide, "Engine versions").
var memoryDBVersions = []EngineVersion{
	{"redis", "6.2", "memorydb_redis6"}, {"redis", "7.0", "memorydb_redis7"}, {"redis", "7.1", "memorydb_redis7"},
	{"valkey", "7.2", "memorydb_valkey7"}, {"valkey", "7.3", "memorydb_valkey7"},
}

// EngineVersions are all that a service has, oldest first.
func EngineVersions(service string) []EngineVersion {
	if service == MemoryDB {
		return slices.Clone(memoryDBVersions)
	}
	return slices.Clone(engineVersions)
}

// DefaultVersion is what a cache has that names none.
func DefaultVersion(service, engine string) string {
	switch {
	case engine == "redis":
		return "7.1"
	case service == MemoryDB:
		return "7.3"
	}
	return "8.1"
}

// Family is the family of the parameter groups of a cache.
func (c Cache) Family() string {
	for _, v := range EngineVersions(c.Service()) {
		if v.Engine == c.Engine && v.Version == c.Version {
			return v.Family
		}
	}
	major, _, _ := strings.Cut(c.Version, ".")
	return c.Engine + major
}

// FindVersion is a version that exists. None means the default, 6.x the newest of
// them, and a major version alone likewise.
func FindVersion(service, engine, version string) (string, error) {
	version = cmp.Or(version, DefaultVersion(service, engine))
	major := strings.TrimSuffix(version, ".x")
	for _, v := range slices.Backward(EngineVersions(service)) {
		if v.Engine == engine && (v.Version == version || !strings.Contains(major, ".") && strings.HasPrefix(v.Version, major+".")) {
			return v.Version, nil
		}
	}
	return "", errorf("InvalidParameterCombination", "Cannot find version %.16s for %s", version, engine)
}

// older is whether one version that exists comes before another of the same engine.
func older(service, a, b string) bool {
	index := func(version string) int {
		return slices.IndexFunc(EngineVersions(service), func(v EngineVersion) bool { return v.Version == version })
	}
	return index(a) < index(b)
}
