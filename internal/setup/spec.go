package setup

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/internal/acl"
)

// A Spec is what there should be. All names are AWS's.
type Spec struct {
	Service    rediam.Service // empty means ElastiCache
	Serverless bool
	Cache      string
	User       string
	// Access is a preset or an access string; empty leaves that of a user who is
	// there, and means ReadWrite for a new one.
	Access string
	// Trust is who may use the role: ec2, lambda, ecs, irsa:ISSUER:NAMESPACE:ACCOUNT,
	// pod-identity:CLUSTER:NAMESPACE:ACCOUNT or the ARN of a role, user or account.
	// Empty means that no role is made.
	Trust string
	Role  string // empty means the name of the user
	Group string // user group or ACL; empty means that of the cache, or CACHE-users

	// What follows is for a new cache, and compared with one that is there unless empty.
	Engine, Version, NodeType string
	SubnetGroup               string
	Subnets                   []string // of a serverless cache
	SecurityGroups            []string
}

// A Kind is one of cache.
type Kind string

// The kinds, as people call them.
const (
	ReplicationGroup Kind = "replication group"
	ServerlessCache  Kind = "serverless cache"
	Cluster          Kind = "MemoryDB cluster"
)

func (s Spec) kind() Kind {
	switch {
	case s.Service == rediam.MemoryDB:
		return Cluster
	case s.Serverless:
		return ServerlessCache
	}
	return ReplicationGroup
}

// Access strings by the names of presets. +info is dangerous, and what clients ask
// when they connect; those of clusters ask for the slots, which is in no category of
// reading.
var presets = map[string]string{
	"read-only":  "on ~* &* -@all +@read +@connection +@transaction +cluster|slots +cluster|shards +cluster|nodes +cluster|info -@dangerous +info",
	"read-write": "on ~* &* +@all -@dangerous +info",
	"admin":      "on ~* &* +@all",
}

// maxName is what AWS takes for caches, users, user groups and ACLs; the patterns are
// of the API references of ElastiCache, MemoryDB and IAM (CreateRole).
const maxName = 40

var (
	nameOfCache = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)
	nameOfUser  = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)
	nameOfRole  = regexp.MustCompile(`^[\w+=,.@-]{1,64}$`)
)

// complete fills in what the Spec leaves out, and says everything that is wrong with
// it at once.
func (s *Spec) complete() (*trust, error) {
	s.Service = cmp.Or(s.Service, rediam.ElastiCache)
	s.Cache, s.Group, s.Engine = strings.ToLower(s.Cache), strings.ToLower(s.Group), strings.ToLower(s.Engine)
	if s.Service == rediam.ElastiCache { // which keeps ids in lower case
		s.User = strings.ToLower(s.User)
	}
	s.Role = cmp.Or(s.Role, s.User)
	var problems []error
	wrong := func(when bool, format string, args ...any) {
		if when {
			problems = append(problems, fmt.Errorf(format, args...))
		}
	}
	wrong(s.Service != rediam.ElastiCache && s.Service != rediam.MemoryDB, "the service must be elasticache or memorydb")
	wrong(s.Service == rediam.MemoryDB && s.Serverless, "MemoryDB has no serverless caches")
	wrong(s.Cache == "", "no cache: give the name of one that is there, or that is to be made")
	wrong(strings.ContainsAny(s.Cache, ".:/"), "the cache is named by its name, not by an endpoint or ARN")
	const rule = "at most 40 letters, digits and single hyphens, a letter first"
	bad := func(name string) bool { return name != "" && (len(name) > maxName || !nameOfCache.MatchString(name)) }
	wrong(bad(s.Cache) && !strings.ContainsAny(s.Cache, ".:/"), "AWS takes no cache %.60q: %s", s.Cache, rule)
	wrong(bad(s.Group), "AWS takes no user group or ACL %.60q: %s", s.Group, rule)
	wrong(s.User == "", "no user: give the name of the user to sign in as")
	wrong(s.User == "default", "the user default cannot sign in with IAM: name another")
	pattern := nameOfUser
	if s.Service == rediam.MemoryDB {
		pattern = nameOfCache
	}
	wrong(s.User != "" && (len(s.User) > maxName || !pattern.MatchString(s.User)), "AWS takes no user %.60q for IAM: at most %d small letters, digits and hyphens, a letter first", s.User, maxName)
	wrong(s.Role != "" && !nameOfRole.MatchString(s.Role), "AWS takes no role %.80q: at most 64 letters, digits and any of +=,.@_-", s.Role)
	wrong(s.Engine != "" && s.Engine != "valkey" && s.Engine != "redis", "the engine must be valkey or redis")
	wrong(s.Version != "" && tooOld(cmp.Or(s.Engine, "valkey"), s.Version), "IAM needs Valkey 7.2 or Redis OSS 7.0, or newer")
	wrong(len(s.Subnets) > 0 && !s.Serverless, "subnets are for serverless caches: others have a subnet group")
	wrong(s.SubnetGroup != "" && s.Serverless, "a serverless cache has no subnet group, but subnets")
	wrong(s.NodeType != "" && s.Serverless, "a serverless cache has no node type")
	if s.Access != "" {
		s.Access = cmp.Or(presets[s.Access], s.Access)
		access, err := acl.Parse(s.Access)
		wrong(err != nil, "the access string is wrong (presets are read-only, read-write and admin; rediam acl lint says more): %v", err)
		wrong(err == nil && !access.On(), "the access string does not say on: nobody could sign in")
	}
	trust, err := parseTrust(s.Trust)
	if err := errors.Join(append(problems, err)...); err != nil {
		return nil, SpecError{err}
	}
	return trust, nil
}

// A SpecError is a mistake in a Spec, each in a line.
type SpecError struct{ error }

// tooOld is whether an engine has no IAM. A version that is no number is for AWS to
// judge.
func tooOld(engine, version string) bool {
	var major, minor int
	n, _ := fmt.Sscanf(strings.ReplaceAll(version, ".x", ".9"), "%d.%d", &major, &minor)
	if n == 1 { // of a serverless cache
		minor = 9
	}
	return n > 0 && (major < 7 || engine == "valkey" && major == 7 && minor < 2)
}

// sameAccess is whether two access strings mean the same, as far as they are understood.
// MemoryDB names the channels that are shut if no rule opens some.
func (s Spec) sameAccess(a, b string) bool {
	a, b = normal(a), normal(b)
	if s.Service == rediam.MemoryDB {
		a, b = strings.Replace(a, " resetchannels", "", 1), strings.Replace(b, " resetchannels", "", 1)
	}
	return a == b
}

func normal(access string) string {
	parsed, err := acl.Parse(access)
	if err != nil { // it has commands of tomorrow
		return strings.Join(strings.Fields(access), " ")
	}
	return parsed.String()
}
