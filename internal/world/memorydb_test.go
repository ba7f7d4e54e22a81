package world_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/rediam/rediam/internal/world"
)

func TestEveryAccountHasTheACLOpenAccess(t *testing.T) {
	w := world.New("", "")
	records := saved(w)
	u, ok := w.User(world.MemoryDB, "DEFAULT")
	if !ok || u.Auth != world.AuthNoPassword || u.Access != "on ~* &* +@all" {
		t.Errorf("User() = %+v, %v", u, ok)
	}
	g, ok := w.Group(world.MemoryDB, "Open-Access")
	if !ok || !slices.Equal(g.Users, []string{"default"}) {
		t.Errorf("Group() = %+v, %v", g, ok)
	}
	const value = "InvalidParameterValue"
	users := "User default cannot be modified or deleted."
	u.Auth = world.AuthIAM
	refused(t, "PutUser", w.PutUser(u), value, users)
	refused(t, "ModifyUser", only(w.ModifyUser(world.MemoryDB, "default", func(u *world.User) error { return nil })), value, users)
	refused(t, "DeleteUser", w.DeleteUser(world.MemoryDB, "default"), value, users)
	refused(t, "RemoveUser", only(w.RemoveUser(world.MemoryDB, "default")), value, users)
	refused(t, "PutGroup", w.PutGroup(g), value, "open-access ACL can't be modified.")
	refused(t, "ModifyGroup", only(w.ModifyGroup(world.MemoryDB, "open-access", func(*world.Group) error { return nil })), value, "open-access ACL can't be modified.")
	refused(t, "RemoveGroup", only(w.RemoveGroup(world.MemoryDB, "open-access")), value, "open-access ACL can't be deleted.")
	refused(t, "default elsewhere", w.PutGroup(world.Group{Service: world.MemoryDB, ID: "mine", Users: []string{"default"}}), value, "open-access only")
	if len(records) != 0 {
		t.Errorf("saved %v", slices.Collect(maps.Keys(records)))
	}
	// Users may be called what no group may, groups what no user may.
	must(t, only(w.CreateUser(world.User{Service: world.MemoryDB, Name: "open-access"})), only(w.CreateGroup(world.Group{Service: world.MemoryDB, ID: "default", Users: []string{"open-access"}})))
	// ElastiCache has no such group, and its groups have what name they like.
	must(t, w.PutGroup(world.Group{ID: "open-access", Users: []string{"default"}}), only(w.RemoveGroup(world.ElastiCache, "open-access")),
		w.PutGroup(world.Group{ID: "default", Users: []string{"default"}}), only(w.RemoveGroup(world.ElastiCache, "default")))
}

func TestAClusterHasAnACL(t *testing.T) {
	w := world.New("", "")
	must(t, w.PutUser(world.User{Service: world.MemoryDB, Name: "App", Access: "on ~* +@all"}), w.PutGroup(world.Group{Service: world.MemoryDB, ID: "app", Users: []string{"APP"}}),
		w.PutCache(world.Cache{Kind: world.Cluster, Name: "open", Plaintext: true}), w.PutCache(world.Cache{Kind: world.Cluster, Name: "shut", Group: "app"}))
	if m, ok := w.Member("open", "default"); !ok || m.Auth != world.AuthNoPassword || !m.Rules.On() {
		t.Errorf("Member() = %+v, %v", m, ok)
	}
	if m, ok := w.Member("shut", "app"); !ok || m.Access != "on ~* resetchannels +@all" || len(w.Members("shut")) != 1 {
		t.Errorf("Member() = %+v, %v", m, ok)
	}
	refused(t, "without TLS", w.PutCache(world.Cache{Kind: world.Cluster, Name: "plain", Plaintext: true, Group: "app"}), "InvalidParameterCombination", "must have the ACL open-access")
	refused(t, "a user group of ElastiCache", only(w.CreateCache(world.Cache{Name: "x", Group: "app"})), "UserGroupNotFound", "app")
	must(t, w.DeleteUser(world.MemoryDB, "app"))
	if len(w.Members("shut")) != 0 {
		t.Errorf("in an empty ACL are %+v", w.Members("shut"))
	}
}

func TestTheServicesShareNoNamesAndNoQuotas(t *testing.T) {
	w := world.New("", "")
	for _, service := range []string{world.ElastiCache, world.MemoryDB} {
		must(t, only(w.CreateUser(world.User{Service: service, Name: "app"})), only(w.CreateGroup(world.Group{Service: service, ID: "app", Engine: "valkey"})),
			only(w.CreateSubnetGroup(world.SubnetGroup{Service: service, Name: "net", Subnets: []string{"subnet-1"}, Tags: map[string]string{"of": service}})))
	}
	must(t, only(w.CreateCache(world.Cache{Kind: world.Cluster, Name: "c", Details: world.Details{SubnetGroup: "net"}})), only(w.DeleteSubnetGroup(world.ElastiCache, "net")))
	refused(t, "in use", only(w.DeleteSubnetGroup(world.MemoryDB, "net")), "CacheSubnetGroupInUse", "Subnet group net is in use by c.")
	refused(t, "of the other service", only(w.CreateCache(world.Cache{Name: "d", Details: world.Details{SubnetGroup: "net"}})), "CacheSubnetGroupNotFoundFault", "Cache subnet group net not found.")
	for arn, service := range map[string]string{w.MemoryDBARN("subnetgroup", "net"): world.ElastiCache, w.ElastiCacheARN("user", "app"): world.MemoryDB,
		"arn:aws:memorydb:us-east-1:123456789012:usergroup/app": world.MemoryDB, "arn:aws:elasticache:us-east-1:123456789012:acl:app": world.ElastiCache,
		"arn:aws:memorydb:us-east-1:123456789012:cluster:c": world.MemoryDB, "arn:aws:memorydb:us-east-1:123456789012:cluster/": world.ElastiCache} {
		refused(t, arn, only(w.Tags(service, arn)), "InvalidARN", "")
	}
	if tags, err := w.Tags(world.MemoryDB, w.MemoryDBARN("subnetgroup", "Net")); err != nil || tags["of"] != world.MemoryDB {
		t.Errorf("Tags() = %v, %v", tags, err)
	}
	for i := range 199 { // and app, besides open-access
		must(t, only(w.CreateGroup(world.Group{Service: world.MemoryDB, ID: fmt.Sprint("g", i)})))
	}
	refused(t, "the ACL 201", only(w.CreateGroup(world.Group{Service: world.MemoryDB, ID: "last"})), "UserGroupQuotaExceeded", "200")
	must(t, only(w.CreateGroup(world.Group{ID: "last", Engine: "valkey"})))
}

func TestAClusterIsUpdatingAndSoItStaysWhereItIsSaved(t *testing.T) {
	w := world.New("", "")
	records := saved(w)
	must(t, only(w.CreateCache(world.Cache{Kind: world.Cluster, Name: "c", Version: "7.0", Nodes: 2})))
	w.StateDelay = time.Hour
	updated, err := w.ModifyCache(world.Cluster, "c", func(c *world.Cache) error { c.Version = "7.1"; return nil })
	must(t, err)
	refused(t, "once more", only(w.ModifyCache(world.Cluster, "c", func(*world.Cache) error { return nil })), "InvalidClusterStateFault", "updating")
	again := world.New("", "")
	must(t, again.Load(records))
	for _, info := range []world.CacheInfo{updated, again.DescribeCaches(world.Cluster)[0]} {
		if info.Status != "updating" || info.Version != "7.1" || info.Group != "open-access" || info.Nodes != 2 {
			t.Errorf("the cluster is %+v", info)
		}
	}
	if _, ok := again.Member("c", "default"); !ok {
		t.Error("nobody is let in where the world was saved")
	}
}
