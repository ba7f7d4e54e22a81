package setup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/smithy-go"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/internal/acl"
)

// things are all that there should be, in the order in which it is made.
func (s *Setup) things() (all []thing) {
	if s.withDefault || s.leaving && s.Spec.Service == rediam.ElastiCache {
		all = append(all, s.defaultUser())
	}
	all = append(all, s.appUser(), s.userGroup(), s.theCache())
	if s.trust == nil && !s.leaving {
		return all
	}
	all = append(all, s.policy(), s.role())
	if s.leaving || s.trust.kind == "ec2" {
		all = append(all, s.instanceProfile())
	}
	return all
}

// ours is whether a thing has been made for this cache. One that is gone meanwhile was
// being deleted.
func (s *Setup) ours(ctx context.Context, arn string) (bool, error) {
	value, err := s.redis.tag(ctx, arn)
	var answered smithy.APIError
	if errors.As(err, &answered) && strings.HasSuffix(code(answered), "NotFound") {
		return false, nil
	}
	return value == s.CacheARN(), err
}

// busy is what AWS is doing with a thing, if it is. One that has failed stays as it is.
func busy(status string) string {
	if status == "active" || status == "available" || status == "" || strings.Contains(status, "failed") {
		return ""
	}
	return status
}

// accessString is what AWS may give back in other words: how is documented by examples.
const accessString = "access string"

const noUser = "off ~* -@all" // the access string of a default user whom nobody is

// defaultUser is the user default of a group for Redis OSS, which has to have one and
// whom everybody is who names no user (ElastiCache user guide, "Role-Based Access
// Control"). Groups for Valkey and ACLs need none.
func (s *Setup) defaultUser() thing {
	u := user{id: s.defaultID(), name: "default", engine: "redis", access: noUser, auth: "no-password"}
	return thing{kind: "user", name: u.id, create: s.redis.createUser(u), await: s.awaitUser(u.id),
		wants: []Difference{{What: "name", Want: "default"}, {What: accessString, Want: noUser}},
		look: func(ctx context.Context) (f found, err error) {
			is, err := s.redis.user(ctx, u.id)
			if err != nil || is == nil {
				return f, err
			}
			f.there, f.busy = true, busy(is.status)
			if f.ours, err = s.ours(ctx, is.arn); err != nil {
				return f, err
			}
			on := !s.Spec.sameAccess(is.access, noUser) && isOn(is.access)
			switch {
			case f.ours && on:
				f.differences = []Difference{{What: accessString, Is: is.access, Want: noUser}}
				f.fix = []Call{s.redis.changeUser(user{id: u.id, access: noUser})}
			case is.name != "default" || on:
				f.refused = refuse("delete it, or name another group with --group", "user %s is there, and is not a user default who is off", u.id)
			}
			f.kept, err = s.shared(ctx, is.groups)
			if f.ours && f.kept == "" {
				f.remove = []Call{s.redis.deleteUser(u.id)}
			}
			return f, err
		}}
}

func (s *Setup) defaultID() string { return derived(s.Spec.Cache, "-default") }

func isOn(access string) bool {
	parsed, err := acl.Parse(access)
	return err != nil || parsed.On()
}

// appUser is whom the program signs in as.
func (s *Setup) appUser() thing {
	access := s.Spec.Access
	if access == "" {
		access = presets["read-write"]
	}
	u := user{id: s.Spec.User, name: s.Spec.User, engine: s.engine, access: access, auth: "iam"}
	return thing{kind: "user", name: u.id, create: s.redis.createUser(u), await: s.awaitUser(u.id),
		wants: []Difference{{What: "signs in with", Want: "IAM"}, {What: accessString, Want: access}},
		look: func(ctx context.Context) (f found, err error) {
			is, err := s.redis.user(ctx, u.id)
			if err != nil || is == nil {
				return f, err
			}
			f.there, f.busy = true, busy(is.status)
			if f.ours, err = s.ours(ctx, is.arn); err != nil {
				return f, err
			}
			s.compareUser(&f, u, *is)
			if is.name != u.id {
				f.refused = refuse("name another with --user: ElastiCache signs in with IAM none whose id and name differ, and neither can be changed", "the user with the id %s has the name %s", u.id, is.name)
			}
			if is.engine == "valkey" && s.engine == "redis" && !s.leaving { // the other way round goes (ElastiCache user guide, "Role-Based Access Control")
				f.refused = refuse("name another with --user", "user %s is for Valkey, and %s %s for Redis OSS", u.id, s.groupWord(), s.groupID)
			}
			f.kept = s.elsewhere(is.groups)
			if f.ours && f.kept == "" {
				f.remove = []Call{s.redis.deleteUser(u.id)}
			}
			return f, nil
		}}
}

// compareUser brings back what is setup's, and leaves others' users as they are.
func (s *Setup) compareUser(f *found, want, is user) {
	change := user{id: want.id}
	changed := false
	if is.auth != "iam" {
		f.differences = append(f.differences, Difference{What: "signs in with", Is: is.auth, Want: "IAM"})
		change.auth, changed = "iam", true
		if !f.ours {
			f.refused = refuse("name another with --user, or change it yourself: its password would be gone", "user %s is there, setup has not made it, and it signs in with %s", want.id, is.auth)
		}
	}
	if s.Spec.Access != "" && !s.Spec.sameAccess(is.access, want.access) || f.ours && !isOn(is.access) {
		f.differences = append(f.differences, Difference{What: accessString, Is: is.access, Want: want.access, Left: !f.ours})
		change.access, changed = want.access, true
	}
	if !f.ours && !isOn(is.access) {
		f.refused = refuse("change it yourself, or name another with --user", "user %s is there, setup has not made it, and it is off", want.id)
	}
	if f.ours && changed {
		f.fix = []Call{s.redis.changeUser(change)}
	}
}

// elsewhere is the reason to keep a user who is in other groups too.
func (s *Setup) elsewhere(groups []string) string {
	others := slices.DeleteFunc(slices.Clone(groups), func(g string) bool { return g == s.groupID })
	if len(others) == 0 {
		return ""
	}
	return fmt.Sprintf("it is in the %s %s too", s.groupWord(), strings.Join(others, ", "))
}

// shared is the reason to keep what the users of the group have in common, if others
// are in it.
func (s *Setup) shared(ctx context.Context, groups []string) (string, error) {
	if !s.leaving {
		return "", nil
	}
	if reason := s.elsewhere(groups); reason != "" {
		return reason, nil
	}
	g, err := s.redis.group(ctx, s.groupID)
	if err != nil || g == nil {
		return "", err
	}
	return s.sharedBy(ctx, *g)
}

// sharedBy names the others in the group: in one that setup has made they have come for
// the cache, in another those have whom setup has made for it.
func (s *Setup) sharedBy(ctx context.Context, g group) (string, error) {
	all, err := s.ours(ctx, g.arn)
	if err != nil {
		return "", err
	}
	var others []string
	for _, u := range g.users {
		if u == s.Spec.User || u == s.defaultID() {
			continue
		}
		came := all
		if !all {
			if came, err = s.ours(ctx, s.arn("user", u)); err != nil {
				return "", err
			}
		}
		if came {
			others = append(others, u)
		}
	}
	if len(others) == 0 {
		return "", nil
	}
	return fmt.Sprintf("%s %s has the users %s too", s.groupWord(), s.groupID, strings.Join(others, ", ")), nil
}

// lostBy names who would lose a cache of setup's with whoever is in its group, which
// somebody else has made: they may have come to it since. Who names that group knows.
func (s *Setup) lostBy(ctx context.Context, g group) (string, error) {
	ours, err := s.ours(ctx, g.arn)
	others := slices.DeleteFunc(slices.Clone(g.users), func(u string) bool { return u == s.Spec.User || u == s.defaultID() })
	if err != nil || ours || len(others) == 0 || s.Spec.Group != "" {
		return "", err
	}
	return fmt.Sprintf("%s %s, which setup has not made, lets %s in: --group %s deletes it nevertheless", s.groupWord(), g.id, strings.Join(others, ", "), g.id), nil
}

// userGroup is the user group or ACL, into which the user is put if it is there.
func (s *Setup) userGroup() thing {
	want := []string{s.Spec.User}
	if s.withDefault {
		want = []string{s.defaultID(), s.Spec.User}
	}
	g := group{id: s.groupID, engine: s.engine, users: want}
	return thing{kind: s.groupWord(), name: g.id, create: s.redis.createGroup(g), await: s.awaitGroup(g.id),
		wants: []Difference{{What: "users", Want: strings.Join(want, ", ")}},
		look: func(ctx context.Context) (f found, err error) {
			is, err := s.redis.group(ctx, g.id)
			if err != nil || is == nil {
				return f, err
			}
			f.there, f.busy = true, busy(is.status)
			if f.ours, err = s.ours(ctx, is.arn); err != nil {
				return f, err
			}
			if lacks := slices.DeleteFunc(slices.Clone(want), func(u string) bool { return slices.Contains(is.users, u) }); len(lacks) > 0 {
				f.differences = []Difference{{What: "users", Is: strings.Join(is.users, ", "), Want: strings.Join(append(slices.Clone(is.users), lacks...), ", ")}}
				f.fix = []Call{s.redis.addUsers(g.id, lacks)}
			}
			if slices.Contains(is.users, "default") && s.Spec.Service == rediam.ElastiCache {
				f.note = "its user default lets in everybody without a password"
			}
			if !s.leaving || !f.ours {
				return f, nil
			}
			if f.kept, err = s.sharedBy(ctx, *is); err != nil {
				return f, err
			}
			if others := slices.DeleteFunc(slices.Clone(is.caches), func(c string) bool { return c == s.Spec.Cache }); len(others) > 0 && f.kept == "" {
				f.kept = "cache " + strings.Join(others, ", ") + " has it too"
			}
			if f.kept == "" {
				f.remove = []Call{s.redis.deleteGroup(g.id)}
			}
			return f, nil
		}}
}

// theCache is what to sign in to. One that is there gets the group and is not changed
// otherwise.
func (s *Setup) theCache() thing {
	create := s.redis.createCache(s.Spec, s.groupID)
	t := thing{kind: string(s.Spec.kind()), name: s.Spec.Cache, create: create, await: s.awaitCache()}
	members := create.members()
	for _, m := range []struct{ name, what string }{{"Engine", "engine"}, {"EngineVersion", "version"}, {"MajorEngineVersion", "version"}, {"CacheNodeType", "node type"}, {"NodeType", "node type"}, {"CacheSubnetGroupName", "subnet group"}, {"SubnetGroupName", "subnet group"}} {
		if value, ok := members[m.name].(string); ok {
			t.wants = append(t.wants, Difference{What: m.what, Want: value})
		}
	}
	t.wants = append(t.wants, Difference{What: s.groupWord(), Want: s.groupID})
	t.look = func(ctx context.Context) (f found, err error) {
		is, err := s.redis.cache(ctx, s.Spec.Cache)
		if err != nil || is == nil {
			return f, err
		}
		f.there, f.busy = true, busy(is.status)
		if f.busy != "" { // AWS shows no tags then (ElastiCache API reference, ListTagsForResource)
			return f, nil
		}
		if f.ours, err = s.ours(ctx, is.arn); err != nil {
			return f, err
		}
		f.refused = s.unfit(*is)
		s.compareCache(&f, *is)
		return f, s.leaveCache(ctx, &f, *is)
	}
	return t
}

// unfit is why a cache cannot have users who sign in with IAM.
func (s *Setup) unfit(c cache) error {
	switch {
	case strings.Contains(c.status, "failed"):
		return refuse("delete it, and then apply again", "%s is in the state %s", s.title(), c.status)
	case !c.tls && s.Spec.Service == rediam.MemoryDB:
		return refuse("make another: TLS cannot be turned on", "%s has no TLS, which IAM needs", s.title())
	case !c.tls && c.status == "available":
		return refuse("turn it on: aws elasticache modify-replication-group --replication-group-id "+c.name+" --transit-encryption-enabled --transit-encryption-mode preferred --apply-immediately, and then required",
			"%s has no TLS, which IAM needs", s.title())
	case tooOld(c.engine, c.version):
		return refuse("upgrade it", "%s has %s %s, and IAM needs Valkey 7.2 or Redis OSS 7.0", s.title(), c.engine, c.version)
	case c.authToken:
		return refuse("its clients must go over from the token to users first, which rediam migrate is for", "%s has an AUTH token, beside which AWS allows no users", s.title())
	}
	return nil
}

func (s *Setup) compareCache(f *found, is cache) {
	for _, d := range []Difference{{"engine", is.engine, s.Spec.Engine, true}, {"version", is.version, s.Spec.Version, true}, {"node type", is.nodeType, s.Spec.NodeType, true}} {
		if d.Want != "" && d.Is != "" && d.Is != d.Want && !strings.HasPrefix(d.Is, d.Want+".") {
			f.differences = append(f.differences, d)
		}
	}
	if slices.Contains(is.groups, s.groupID) {
		return
	}
	f.differences = append(f.differences, Difference{What: s.groupWord(), Is: strings.Join(is.groups, ", "), Want: s.groupID})
	f.fix = []Call{s.redis.attach(is.name, s.groupID)}
	f.note = "clients that sign in to it as nobody are refused from then on"
}

// leaveCache deletes the cache that setup has made, or takes its group from another.
func (s *Setup) leaveCache(ctx context.Context, f *found, is cache) error {
	if !s.leaving {
		return nil
	}
	g, err := s.redis.group(ctx, s.groupID)
	if err != nil {
		return err
	}
	if g != nil {
		if f.kept, err = s.sharedBy(ctx, *g); err == nil && f.kept == "" && f.ours && slices.Contains(is.groups, g.id) {
			f.kept, err = s.lostBy(ctx, *g)
		}
		if f.kept != "" || err != nil {
			return err
		}
	}
	if f.ours {
		f.remove = []Call{s.redis.deleteCache(is.name)}
		return nil
	}
	if g == nil || !slices.Contains(is.groups, s.groupID) {
		return nil
	}
	if ours, err := s.ours(ctx, g.arn); err != nil || !ours {
		return err
	}
	f.remove = []Call{s.redis.detach(is.name, s.groupID)}
	return nil
}
