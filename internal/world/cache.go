package world

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rediam/rediam/internal/acl"
)

// The services, in the spelling of ARNs and signing scopes.
const (
	ElastiCache = "elasticache"
	MemoryDB    = "memorydb"
)

var idPattern = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9]*(-[a-zA-Z0-9]+)*$`)

var (
	notAService = errorf("InvalidParameterValue", "service must be %s or %s", ElastiCache, MemoryDB)
	notAnEngine = errorf("InvalidParameterValue", "engine must be redis or valkey")
)

func isService(s string) bool { return s == ElastiCache || s == MemoryDB }

func isEngine(e string) bool { return e == "redis" || e == "valkey" }

// Kind is a kind of cache, in the words of ARNs where these tell it.
type Kind string

const (
	ReplicationGroup Kind = "replicationgroup" // the zero value means this too
	ServerlessCache  Kind = "serverlesscache"
	CacheCluster     Kind = "cachecluster" // of ElastiCache, one node that is in no replication group
	Cluster          Kind = "cluster"      // of MemoryDB
)

var kinds = []Kind{ReplicationGroup, ServerlessCache, CacheCluster, Cluster}

// kindsInARN are the kinds that ARNs tell, by service and word.
var kindsInARN = map[string]Kind{
	"elasticache/replicationgroup": ReplicationGroup,
	"elasticache/serverlesscache":  ServerlessCache,
	"elasticache/cluster":          CacheCluster,
	"memorydb/cluster":             Cluster,
}

// faults are AWS's error codes about a kind of cache.
var faults = map[Kind]struct{ called, notFound, exists, state string }{
	ReplicationGroup: {"ReplicationGroup", "ReplicationGroupNotFoundFault", "ReplicationGroupAlreadyExists", "InvalidReplicationGroupState"},
	ServerlessCache:  {"ServerlessCache", "ServerlessCacheNotFoundFault", "ServerlessCacheAlreadyExistsFault", "InvalidServerlessCacheStateFault"},
	CacheCluster:     {"CacheCluster", "CacheClusterNotFound", "CacheClusterAlreadyExists", "InvalidCacheClusterState"},
	Cluster:          {"Cluster", "ClusterNotFoundFault", "ClusterAlreadyExistsFault", "InvalidClusterStateFault"},
}

func noCache(kind Kind, name string) error {
	return errorf(faults[kind].notFound, "%s %.64s not found.", faults[kind].called, name)
}

// A Cache is an ElastiCache replication group, serverless cache or cache cluster,
// or a MemoryDB cluster.
type Cache struct {
	Kind    Kind
	Name    string // stored in lower case
	Engine  string // "redis" (also when zero) or "valkey"
	Version string // zero means "7.1" for redis and "8.1" for valkey, of MemoryDB "7.3"
	// Group is the user group or ACL; zero means none, for MemoryDB the ACL
	// open-access: everybody is in as the user default, as on AWS.
	Group string
	// AuthTokens of a replication group without a user group are the passwords of
	// the user default: one, or two while it is changed, the newer one last. An
	// empty one means that none is needed, as no tokens do.
	AuthTokens []Secret
	// Nodes is how many shards a cache in cluster mode has, each of one node, and
	// is fixed when the cache is made. Zero means one for MemoryDB clusters and
	// serverless caches, which speak to clients as clusters on AWS whatever their
	// size; of a replication group, a single node without cluster mode.
	Nodes int
	// Plaintext is a cache without TLS, which can have neither a user group nor AUTH
	// tokens. It is fixed when the cache is made. Cache clusters have no TLS on AWS
	// with these engines, and none here.
	Plaintext bool
	// Public is a serverless cache that is reached without a VPC on AWS: it speaks
	// TLS 1.3 alone, and every user of its group signs in with IAM. It is fixed when
	// the cache is made.
	Public  bool
	Tags    map[string]string
	Details Details
}

// Details of a cache change nothing here: Describe shows them.
type Details struct {
	Description    string
	NodeType       string
	SubnetGroup    string
	Subnets        []string // of a serverless cache
	SecurityGroups []string
	AtRest         bool // encryption of what is stored
	NoUpgrades     bool // of the engine's minor version by itself
}

// Format prints all but the AUTH tokens, whatever the verb.
func (c Cache) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "{%s %s, %s %s, group %q, %d AUTH tokens, nodes %d, plaintext %v, public %v, tags %v, %+v}", c.Kind, c.Name, c.Engine, c.Version, c.Group, len(c.AuthTokens), c.Nodes, c.Plaintext, c.Public, c.Tags, c.Details)
}

// cache is a Cache with its state.
type cache struct {
	Cache
	State    state     `json:",omitzero"`
	Created  time.Time `json:",omitzero"`
	TokenSet time.Time `json:",omitzero"` // when the AUTH tokens were last changed
	// TokensPending is whether the change that is under way is of the AUTH tokens.
	TokensPending bool `json:",omitempty"`
}

// savedCache is a cache with its AUTH tokens in the open.
type savedCache struct {
	cache
	AuthTokens []string `json:",omitempty"`
}

func packCache(c cache) any { return savedCache{c, open(c.AuthTokens)} }

func unpackCache(record []byte) (cache, error) {
	saved, err := fromJSON[savedCache](record)
	saved.cache.AuthTokens = closed(saved.AuthTokens)
	return saved.cache, err
}

// maxNodes bounds the processes that a cache takes: on AWS it is 500.
const maxNodes = 10

// Service is the service that the cache belongs to.
func (c Cache) Service() string {
	if c.Kind == Cluster {
		return MemoryDB
	}
	return ElastiCache
}

// changing is the status of a cache that is being changed.
func (c Cache) changing() string {
	if c.Kind == Cluster {
		return updating
	}
	return modifying
}

// ClusterMode is whether the cache speaks to clients as a cluster.
func (c Cache) ClusterMode() bool { return c.Nodes > 0 }

// AllowsIAM is whether the engine is new enough for IAM sign-in: Valkey 7.2 or
// Redis OSS 7.0.
func (c Cache) AllowsIAM() bool {
	if c.Engine == "valkey" {
		return c.AtLeast(7, 2)
	}
	return c.AtLeast(7, 0)
}

// AtLeast is whether the engine has a version, or a newer one.
func (c Cache) AtLeast(major, minor int) bool {
	first, rest, _ := strings.Cut(c.Version, ".")
	m, _ := strconv.Atoi(first)
	n, _ := strconv.Atoi(strings.SplitN(rest, ".", 2)[0])
	return m > major || m == major && n >= minor
}

// newCache is a cache with its defaults, if it keeps the rules that concern it alone.
func (w *World) newCache(c Cache) (cache, error) {
	c = c.copy()
	c.Kind = cmp.Or(c.Kind, ReplicationGroup)
	c.Name = strings.ToLower(c.Name)
	c.Engine = strings.ToLower(cmp.Or(c.Engine, "redis"))
	c.Version = cmp.Or(c.Version, DefaultVersion(c.Service(), c.Engine))
	c.Group = strings.ToLower(c.Group)
	c.Details.SubnetGroup = strings.ToLower(c.Details.SubnetGroup)
	switch c.Kind {
	case ServerlessCache:
		c.Nodes = cmp.Or(c.Nodes, 1)
	case Cluster:
		c.Nodes, c.Group = cmp.Or(c.Nodes, 1), cmp.Or(c.Group, openAccess)
	case CacheCluster:
		c.Plaintext = true
	}
	return cache{Cache: c}, w.checkCache(c)
}

func (w *World) checkCache(c Cache) error {
	switch {
	case !slices.Contains(kinds, c.Kind):
		return errorf("InvalidParameterValue", "kind must be %s, %s, %s or %s", ReplicationGroup, ServerlessCache, CacheCluster, Cluster)
	case len(c.Name) > 40 || !idPattern.MatchString(c.Name):
		return errorf("InvalidParameterValue", "cache name must be at most 40 letters, digits and single hyphens, a letter first")
	case !isEngine(c.Engine):
		return notAnEngine
	case c.Nodes < 0 || c.Nodes > maxNodes:
		return errorf("InvalidParameterValue", "nodes must be from 0 to %d", maxNodes)
	case c.Nodes > 1 && w.OneNode != nil:
		return errorf("InvalidParameterCombination", "%s", w.OneNode)
	case c.Kind == ServerlessCache && c.Nodes > 1:
		return errorf("InvalidParameterCombination", "a serverless cache shows its clients one node")
	case c.Kind == ServerlessCache && c.Plaintext:
		return errorf("InvalidParameterCombination", "a serverless cache speaks TLS only")
	case c.Public && c.Kind != ServerlessCache:
		return errorf("InvalidParameterCombination", "only a serverless cache has a public endpoint")
	case c.Public && (c.Engine != "valkey" || !c.AtLeast(9, 0)):
		return errorf("InvalidParameterCombination", "a public endpoint needs Valkey 9.0 or later")
	case c.Public && c.Group == "":
		return errorf("InvalidParameterCombination", "a public endpoint needs a user group whose users all sign in with IAM")
	case c.Kind == CacheCluster && c.Nodes != 0:
		return errorf("InvalidParameterCombination", "a cache cluster of this engine has one node, without cluster mode")
	case c.Kind == Cluster && c.Plaintext && c.Group != openAccess:
		return errorf("InvalidParameterCombination", "a cluster without TLS must have the ACL %s", openAccess)
	case c.Kind != Cluster && c.Plaintext && c.Group != "":
		return errorf("InvalidParameterCombination", "User group based access control requires encryption-in-transit to be enabled on the replication group.")
	}
	if err := c.checkTokens(); err != nil {
		return err
	}
	return checkCacheTags(c.Tags)
}

// PutCache makes a cache, or changes the one with its name.
func (w *World) PutCache(c Cache) error {
	made, err := w.newCache(c)
	if err != nil {
		return err
	}
	return w.change(func() error { return w.storeCache(made) })
}

// storeCache puts a cache that keeps the rules about what it was and about its group.
func (w *World) storeCache(c cache) error {
	c.Created = w.now()
	if old, there := w.cacheOf(c.Name); there {
		switch {
		case old.Kind != c.Kind:
			return errorf("InvalidParameterCombination", "a %s has the name %s", old.Kind, c.Name)
		case old.Nodes != c.Nodes:
			return errorf("InvalidParameterCombination", "%s has nodes %d, which cannot become %d: resharding is not emulated", c.Name, old.Nodes, c.Nodes)
		case old.Plaintext != c.Plaintext:
			return errorf("InvalidParameterCombination", "%s cannot change whether it speaks TLS", c.Name)
		case old.Public != c.Public:
			return errorf("InvalidParameterCombination", "%s cannot change whether its endpoint is public", c.Name)
		}
		c.Created, c.TokenSet = old.Created, old.TokenSet
		if !slices.Equal(old.AuthTokens, c.AuthTokens) {
			c.TokenSet, c.TokensPending = w.now(), true
		}
	} else if len(c.AuthTokens) > 0 {
		c.TokenSet = c.Created
	}
	g, ok := w.groupOf(c.Service(), c.Group)
	if c.Group != "" && !ok {
		return noGroup(c.Service(), c.Group)
	}
	if err := g.checkCache(c.Cache); err != nil {
		return err
	}
	w.caches.put(c.Name, c)
	if c.Public {
		return w.checkMembers(g.Group)
	}
	return nil
}

// DeleteCache ends a cache and all its connections.
func (w *World) DeleteCache(name string) error {
	return w.change(func() error {
		if _, ok := w.cacheOf(name); !ok {
			return noCache(ReplicationGroup, name)
		}
		w.caches.delete(strings.ToLower(name))
		return nil
	})
}

// cacheOf finds a cache that is not gone.
func (w *World) cacheOf(name string) (cache, bool) {
	c, ok := w.caches.get(strings.ToLower(name))
	return c, ok && !w.gone(c.State)
}

// Cache finds a cache by its name, unless it is being deleted.
func (w *World) Cache(name string) (Cache, bool) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	c, ok := w.cacheOf(name)
	return c.copy(), ok && c.State.Doing != deleting
}

func (c Cache) copy() Cache {
	c.Tags, c.AuthTokens = maps.Clone(c.Tags), slices.Clone(c.AuthTokens)
	c.Details.Subnets, c.Details.SecurityGroups = slices.Clone(c.Details.Subnets), slices.Clone(c.Details.SecurityGroups)
	return c
}

// Caches lists the caches by name, but for those that are being deleted.
func (w *World) Caches() []Cache {
	w.mu.RLock()
	defer w.mu.RUnlock()
	caches := make([]Cache, 0, len(w.caches.rows))
	for _, name := range w.caches.keys() {
		if c := w.caches.rows[name]; c.State.Doing != deleting {
			caches = append(caches, c.copy())
		}
	}
	return caches
}

// A Member is a user of a cache.
type Member struct {
	User
	Rules *acl.Access // User.Access, parsed; shared and not to be changed
}

// openUser is who everybody is on a cache without a user group and AUTH token.
var openUser = User{Name: defaultUser, ID: defaultUser, Service: ElastiCache, Engine: "redis", Auth: AuthNoPassword, Access: "on ~* &* +@all"}

// Members lists the users that may sign in to a cache: those of its group, or
// the open user default if it has none.
func (w *World) Members(cache string) []Member {
	w.mu.RLock()
	defer w.mu.RUnlock()
	c, ok := w.cacheOf(cache)
	if !ok || c.State.Doing == deleting {
		return nil
	}
	if c.Group == "" {
		rules, err := acl.Parse(openUser.Access)
		if err != nil { // it is a constant
			return nil
		}
		return []Member{{c.tokenUser(), rules}}
	}
	var members []Member
	for _, id := range w.groups.rows[of(c.Service(), c.Group)].Users {
		u := w.users.rows[of(c.Service(), id)]
		members = append(members, Member{u.copy(), u.access})
	}
	return members
}

// Member finds a user of a cache by the name that AUTH gives.
func (w *World) Member(cache, name string) (Member, bool) {
	for _, m := range w.Members(cache) {
		if m.Name == name {
			return m, true
		}
	}
	return Member{}, false
}

// CacheARN and UserARN are the two resources of a Connect.
func (w *World) CacheARN(c Cache) string {
	switch c.Kind {
	case Cluster:
		return w.MemoryDBARN("cluster", c.Name)
	case CacheCluster:
		return w.ElastiCacheARN("cluster", c.Name)
	}
	return w.ElastiCacheARN(string(c.Kind), c.Name)
}

// ElastiCacheARN is the ARN of a resource of ElastiCache, in its words: user,
// usergroup, replicationgroup, cluster, serverlesscache, subnetgroup.
func (w *World) ElastiCacheARN(kind, id string) string {
	return w.arn(ElastiCache, w.Region, w.Account, kind+":"+strings.ToLower(id))
}

// MemoryDBARN is the ARN of a resource of MemoryDB, in its words: user, acl, cluster,
// subnetgroup.
func (w *World) MemoryDBARN(kind, id string) string {
	return w.arn(MemoryDB, w.Region, w.Account, kind+"/"+strings.ToLower(id))
}
