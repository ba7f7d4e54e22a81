// Package setup makes what an IAM sign-in needs on AWS: the user, the user group or
// ACL, the cache, and a role with its policy. It shows first what it would do, goes on
// where it was interrupted, and takes away only what it has made.
package setup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/rediam/rediam"
)

// TagKey is the tag of what setup has made. Its value is the ARN of the cache that it
// was made for. It is in the call that makes a thing, so that nothing of setup's is
// ever without it.
const TagKey = "rediam:setup"

// A Setup makes, compares or deletes what a Spec describes. Use it once, and by one
// goroutine.
type Setup struct {
	Spec    Spec
	Region  string
	Clients Clients
	// Poll is how often to look while AWS is changing something; zero means 5 seconds.
	Poll time.Duration
	// Progress is told what is made and waited for; nil means nobody is.
	Progress func(what string)

	trust     *trust // nil: no role
	redis     redis
	caller    string // ARN, as STS tells
	account   string
	partition string // of ARNs
	cache     *cache // as it was at the start; nil if it was not there
	groupID   string
	// withDefault is whether the group is to have a user default who is off.
	withDefault bool
	engine      string // of the user and the group
	roleARN     string // of a role that is there, which may have a path
	otherTrust  bool   // that role is not setup's, and trusts otherwise
	leaving     bool   // to destroy
}

// redis are the calls about users, groups (ACLs) and caches of one service. What does
// not exist is nil.
type redis interface {
	user(ctx context.Context, id string) (*user, error)
	group(ctx context.Context, id string) (*group, error)
	cache(ctx context.Context, name string) (*cache, error)
	tag(ctx context.Context, arn string) (string, error) // the value of TagKey

	createUser(u user) Call
	changeUser(u user) Call
	deleteUser(id string) Call
	createGroup(g group) Call
	addUsers(group string, users []string) Call
	deleteGroup(id string) Call
	createCache(s Spec, group string) Call
	attach(cache, group string) Call
	detach(cache, group string) Call
	deleteCache(name string) Call
}

type user struct {
	id, name, engine, status, arn string

	access string
	auth   string // iam, password or no-password
	groups []string
}

type group struct {
	id, engine, status, arn string

	users, caches []string
}

type cache struct {
	name, engine, version, nodeType, status, arn string

	tls, authToken bool
	groups         []string
	securityGroups []string
	endpoint       string // host:port
}

// openAccess is the ACL of MemoryDB into which everybody is let, and publicGroup the
// user group of public endpoints. AWS lets nobody change them.
const (
	openAccess  = "open-access"
	publicGroup = "default.iam-user-group"
)

// begin checks the Spec, finds out who asks, looks at the cache, and decides what
// follows from it.
func (s *Setup) begin(ctx context.Context) (err error) {
	if s.trust, err = s.Spec.complete(); err != nil {
		return err
	}
	s.redis = elastiCache{s.Clients.ElastiCache, s.Spec.Serverless, s.tags}
	if s.Spec.Service == rediam.MemoryDB {
		s.redis = memoryDB{s.Clients.MemoryDB, s.tags}
	}
	who, err := s.Clients.STS.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return explain("ask whose the credentials are", err)
	}
	s.caller, s.account, s.partition = aws.ToString(who.Arn), aws.ToString(who.Account), strings.Split(aws.ToString(who.Arn)+":aws", ":")[1]
	if s.Assumable() && !strings.HasPrefix(s.trust.of, "arn:"+s.partition+":") {
		return refuse("ARNs of this account begin with arn:"+s.partition+":", "the trust is for %s, which is in another partition of AWS", s.trust.of)
	}
	if s.cache, err = s.redis.cache(ctx, s.Spec.Cache); err != nil {
		return explain("look at "+s.title(), err)
	}
	if s.cache == nil || s.cache.status == "deleting" {
		s.cache = nil
		if !s.leaving {
			if err := s.namesake(ctx); err != nil {
				return err
			}
		}
	}
	return s.decide(ctx)
}

// decide chooses the group, which is the one that the cache has, and the engine of
// users and group, which is that of the group.
func (s *Setup) decide(ctx context.Context) error {
	s.groupID = cmp.Or(s.Spec.Group, derived(s.Spec.Cache, "-users"))
	s.engine = cmp.Or(s.Spec.Engine, "valkey")
	if s.cache != nil {
		s.engine = cmp.Or(s.cache.engine, s.engine)
		if has := s.cache.groups; len(has) > 0 && has[0] != openAccess {
			if s.Spec.Group != "" && !slices.Contains(has, s.Spec.Group) {
				return refuse("leave out --group, or name the one that it has: to replace it would lock out its users",
					"%s has the %s %s, not %s", s.title(), s.groupWord(), has[0], s.Spec.Group)
			}
			s.groupID = has[0]
		}
	}
	switch {
	case s.groupID == publicGroup:
		return refuse("sign in as default.iam-user, who is in it, or give the cache another user group", "%s has the user group %s, which AWS lets nobody change", s.title(), publicGroup)
	case s.groupID == openAccess:
		return refuse("name another with --group", "AWS lets nobody change the ACL %s", openAccess)
	case s.leaving && s.Spec.Group == "" && (s.cache == nil || len(s.cache.groups) == 0):
		u, err := s.redis.user(ctx, s.Spec.User) // who may know the group that --group named once
		if err != nil {
			return explain("look at user "+s.Spec.User, err)
		}
		if u != nil && len(u.groups) == 1 {
			s.groupID = u.groups[0]
		}
	}
	if s.Spec.Service == rediam.MemoryDB { // its users have no engine
		return nil
	}
	g, err := s.redis.group(ctx, s.groupID)
	if err != nil {
		return explain("look at the user group "+s.groupID, err)
	}
	s.withDefault = s.engine == "redis"
	if g != nil && g.status != "deleting" {
		s.withDefault = slices.Contains(g.users, s.defaultID())
		if g.engine == "valkey" && s.engine == "redis" {
			return refuse("name another with --group", "user group %s is for Valkey, and %s has Redis OSS", s.groupID, s.title())
		}
		s.engine = g.engine
	}
	return nil
}

// namesake is an error where a cache of another kind has the name, which is more likely
// meant than a new one, or than to delete nothing. Who may not look at those gets none.
func (s *Setup) namesake(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second) // a service may have no endpoint here
	defer cancel()
	for _, other := range []struct {
		redis
		kind Kind
		flag string
	}{
		{elastiCache{s.Clients.ElastiCache, false, nil}, ReplicationGroup, "leave out --serverless and --service"},
		{elastiCache{s.Clients.ElastiCache, true, nil}, ServerlessCache, "--serverless means that one"},
		{memoryDB{s.Clients.MemoryDB, nil}, Cluster, "--service memorydb means that one"},
	} {
		if other.kind == s.Spec.kind() {
			continue
		}
		if c, err := other.cache(ctx, s.Spec.Cache); err == nil && c != nil {
			return refuse(other.flag+"; for a new cache choose another name", "there is a %s %s, and no %s of the name", other.kind, s.Spec.Cache, s.Spec.kind())
		}
	}
	if s.Spec.kind() != ReplicationGroup {
		return nil
	}
	out, err := s.Clients.ElastiCache.DescribeCacheClusters(ctx, &elasticache.DescribeCacheClustersInput{CacheClusterId: &s.Spec.Cache})
	if err != nil || len(out.CacheClusters) == 0 {
		return nil
	}
	if of := aws.ToString(out.CacheClusters[0].ReplicationGroupId); of != "" {
		return refuse("--cache "+of+" means that one", "%s is a node of the replication group %s", s.Spec.Cache, of)
	}
	return refuse("choose another name for a new replication group, and take the clients over to it", "there is a cache cluster %s, which can have no users, and no replication group of the name", s.Spec.Cache)
}

// derived is a name that begins with another, no longer than AWS takes.
func derived(name, suffix string) string {
	return strings.TrimRight(name[:min(len(name), maxName-len(suffix))], "-") + suffix
}

func (s *Setup) title() string { return string(s.Spec.kind()) + " " + s.Spec.Cache }

func (s *Setup) groupWord() string {
	if s.Spec.Service == rediam.MemoryDB {
		return "ACL"
	}
	return "user group"
}

// arn is that of a resource of the cache's service, in ElastiCache's words or MemoryDB's.
func (s *Setup) arn(kind, name string) string {
	separator := ":"
	if s.Spec.Service == rediam.MemoryDB {
		separator = "/"
	}
	return strings.Join([]string{"arn", s.partition, string(s.Spec.Service), s.Region, s.account, kind + separator + name}, ":")
}

func (s *Setup) iamARN(kind, name string) string {
	return "arn:" + s.partition + ":iam::" + s.account + ":" + kind + "/" + name
}

// CacheARN and UserARN are the resources that a sign-in is checked on, RoleARN the role
// of who signs in; empty without --trust. They are known after Plan or Apply.
func (s *Setup) CacheARN() string {
	return s.arn(map[Kind]string{ReplicationGroup: "replicationgroup", ServerlessCache: "serverlesscache", Cluster: "cluster"}[s.Spec.kind()], s.Spec.Cache)
}

func (s *Setup) UserARN() string { return s.arn("user", s.Spec.User) }

func (s *Setup) RoleARN() string {
	if s.trust == nil {
		return ""
	}
	return cmp.Or(s.roleARN, s.iamARN("role", s.Spec.Role))
}

// tags is what every thing is made with.
func (s *Setup) tags() (key, value *string) { return aws.String(TagKey), aws.String(s.CacheARN()) }

func (s *Setup) say(format string, args ...any) {
	if s.Progress != nil {
		s.Progress(fmt.Sprintf(format, args...))
	}
}

// Plan looks at everything and changes nothing.
func (s *Setup) Plan(ctx context.Context) (Plan, error) {
	if err := s.begin(ctx); err != nil {
		return Plan{}, err
	}
	p := Plan{Account: s.account, Region: s.Region, Cache: s.CacheARN(), User: s.UserARN(), Steps: []Step{}}
	for _, t := range s.things() {
		f, err := s.look(ctx, t)
		if err != nil {
			return p, err
		}
		if f.refused != nil {
			return p, f.refused
		}
		p.Steps = append(p.Steps, t.step(f))
	}
	p.Role = s.RoleARN()
	return p, nil
}

// Apply makes and changes what Plan shows, in its order, and waits until it is there.
// Ended anywhere, it goes on when it is called again. It gives the cache's endpoint.
func (s *Setup) Apply(ctx context.Context) (endpoint string, err error) {
	if _, err := s.Plan(ctx); err != nil { // nothing is made if something is refused
		return "", err
	}
	for _, t := range s.things() {
		if err := s.bring(ctx, t); err != nil {
			return "", err
		}
	}
	c, err := s.redis.cache(ctx, s.Spec.Cache)
	if err != nil || c == nil {
		return "", explain("look at "+s.title(), cmp.Or(err, errors.New("it is gone again")))
	}
	s.cache = c
	return c.endpoint, nil
}

// PlanDestroy looks at what Destroy would delete, and changes nothing. It waits for
// what AWS is changing.
func (s *Setup) PlanDestroy(ctx context.Context) (Plan, error) {
	s.leaving = true
	if err := s.begin(ctx); err != nil {
		return Plan{}, err
	}
	p := Plan{Account: s.account, Region: s.Region, Cache: s.CacheARN(), User: s.UserARN(), Steps: []Step{}}
	for _, t := range slices.Backward(s.things()) {
		var f found
		err := s.until(ctx, func() (err error) { // what is under way decides what there is to delete
			if f, err = s.look(ctx, t); err == nil && f.busy != "" {
				err = waitFor("%s is %s", t, f.busy)
			}
			return err
		})
		if err != nil {
			return p, err
		}
		if f.there {
			p.Steps = append(p.Steps, t.leave(f))
		}
	}
	if p.Nothing() && s.cache == nil {
		return p, s.namesake(ctx)
	}
	return p, nil
}

// Destroy deletes what PlanDestroy shows, and waits until it is gone. Ended anywhere,
// it goes on when it is called again.
func (s *Setup) Destroy(ctx context.Context) error {
	if _, err := s.PlanDestroy(ctx); err != nil {
		return err
	}
	for _, t := range slices.Backward(s.things()) {
		if err := s.remove(ctx, t); err != nil {
			return err
		}
	}
	return nil
}
