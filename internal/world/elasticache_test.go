package world_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rediam/rediam/internal/world"
)

const authToken = "an-AUTH-token-1" + "&2"

// only gives an error alone.
func only[V any](_ V, err error) error { return err }

func TestEveryAccountHasTheUserDefault(t *testing.T) {
	w := world.New("", "")
	records := saved(w)
	u, ok := w.User(world.ElastiCache, "DEFAULT")
	if !ok || u.ID != "default" || u.Name != "default" || u.Engine != "redis" || u.Auth != world.AuthNoPassword || u.Access != "on ~* +@all" {
		t.Errorf("User() = %+v, %v", u, ok)
	}
	const why = "User default cannot be modified or deleted."
	u.Access = "off -@all"
	refused(t, "PutUser", w.PutUser(u), "InvalidParameterValue", why)
	refused(t, "ModifyUser", only(w.ModifyUser(world.ElastiCache, "default", func(u *world.User) error { u.Access = "off -@all"; return nil })), "InvalidParameterValue", why)
	refused(t, "DeleteUser", w.DeleteUser(world.ElastiCache, "default"), "InvalidParameterValue", why)
	refused(t, "RemoveUser", only(w.RemoveUser(world.ElastiCache, "default")), "InvalidParameterValue", why)
	refused(t, "CreateUser", only(w.CreateUser(u)), "UserAlreadyExists", "User default already exists.")
	must(t, w.PutGroup(world.Group{ID: "open", Users: []string{"default"}}), w.PutCache(world.Cache{Name: "open", Group: "open"}))
	if m, ok := w.Member("open", "default"); !ok || !m.Rules.On() || m.Auth != world.AuthNoPassword {
		t.Errorf("Member() = %+v, %v", m, ok)
	}
	if slices.ContainsFunc(slices.Collect(maps.Keys(records)), func(key string) bool { return key == "user/elasticache/default" }) {
		t.Error("the user was saved")
	}
}

func TestAnAccountHasItsQuotas(t *testing.T) {
	w := world.New("", "")
	for i := range 1000 { // besides those that every account has
		must(t, only(w.CreateUser(world.User{Name: fmt.Sprint("u", i)})))
	}
	refused(t, "the user 1001", only(w.CreateUser(world.User{Name: "last"})), "UserQuotaExceeded", "1000")
	must(t, only(w.CreateUser(world.User{Service: world.MemoryDB, Name: "last"})))
	for i := range 100 {
		must(t, only(w.CreateGroup(world.Group{ID: fmt.Sprint("g", i), Users: []string{"default"}})))
	}
	refused(t, "the group 101", only(w.CreateGroup(world.Group{ID: "last", Users: []string{"default"}})), "UserGroupQuotaExceeded", "100")
	for i := range 40 {
		must(t, only(w.CreateCache(world.Cache{Kind: world.ServerlessCache, Name: fmt.Sprint("s", i)})))
	}
	refused(t, "the serverless cache 41", only(w.CreateCache(world.Cache{Kind: world.ServerlessCache, Name: "last"})), "ServerlessCacheQuotaForCustomerExceededFault", "40")
	must(t, only(w.RemoveCache(world.ServerlessCache, "s7")), only(w.CreateCache(world.Cache{Kind: world.ServerlessCache, Name: "last"})))
	for i := range 150 {
		must(t, only(w.CreateSubnetGroup(world.SubnetGroup{Name: fmt.Sprint("n", i), Subnets: []string{"subnet-1"}})))
	}
	refused(t, "the subnet group 151", only(w.CreateSubnetGroup(world.SubnetGroup{Name: "last", Subnets: []string{"subnet-1"}})), "CacheSubnetGroupQuotaExceeded", "150")
}

func TestSubnetGroupsThatBreakARuleAreRefused(t *testing.T) {
	w := world.New("", "")
	must(t, only(w.CreateSubnetGroup(world.SubnetGroup{Name: "Net", Subnets: []string{"subnet-1"}})))
	many := slices.Repeat([]string{"subnet-1"}, 21)
	for _, test := range []struct {
		group world.SubnetGroup
		code  string
	}{
		{world.SubnetGroup{Name: "NET", Subnets: []string{"subnet-1"}}, "CacheSubnetGroupAlreadyExists"},
		{world.SubnetGroup{Name: "default", Subnets: []string{"subnet-1"}}, "InvalidParameterValue"},
		{world.SubnetGroup{Name: "a_b", Subnets: []string{"subnet-1"}}, "InvalidParameterValue"},
		{world.SubnetGroup{Name: "none"}, "InvalidParameterValue"},
		{world.SubnetGroup{Name: "many", Subnets: many}, "CacheSubnetQuotaExceededFault"},
		{world.SubnetGroup{Name: "odd", Subnets: []string{"sg-1"}}, "InvalidSubnet"},
	} {
		refused(t, test.group.Name, only(w.CreateSubnetGroup(test.group)), test.code, "")
	}
	refused(t, "none left", only(w.ModifySubnetGroup(world.ElastiCache, "net", func(g *world.SubnetGroup) { g.Subnets = nil })), "InvalidParameterValue", "needs a subnet")
	if all := w.SubnetGroups(world.ElastiCache); len(all) != 1 || all[0].Name != "net" || len(all[0].Subnets) != 1 {
		t.Errorf("SubnetGroups() = %+v", all)
	}
}

// The delay is of what Describe says: access changes when the call returns.
func TestWhatIsUnderWayEndsByTheWorldsClock(t *testing.T) {
	w := withGroup(t)
	w.StateDelay = time.Hour
	records := saved(w)
	must(t, only(w.CreateSubnetGroup(world.SubnetGroup{Name: "net", Subnets: []string{"subnet-1"}})))
	made, err := w.CreateCache(world.Cache{Name: "demo", Group: "orders", Details: world.Details{SubnetGroup: "net"}})
	must(t, err)
	if _, ok := w.Member("demo", "orders-app"); !ok || made.Status != "creating" {
		t.Errorf("the cache is %s", made.Status)
	}
	refused(t, "deleted too soon", only(w.RemoveCache(world.ReplicationGroup, "demo")), "InvalidReplicationGroupState", "creating")
	w.Advance(time.Hour)
	must(t, only(w.ModifyGroup(world.ElastiCache, "orders", func(g *world.Group) error { return g.ChangeUsers(nil, []string{"orders-app"}) })))
	if _, ok := w.Member("demo", "orders-app"); ok {
		t.Error("who has left is there until the delay is over")
	}
	refused(t, "changed again", only(w.ModifyGroup(world.ElastiCache, "orders", func(g *world.Group) error { return nil })), "InvalidUserGroupState", "modifying")
	removed, err := w.RemoveCache(world.ReplicationGroup, "demo")
	must(t, err)
	_, there := w.Cache("demo")
	if shown := w.DescribeCaches(world.ReplicationGroup); there || len(w.Caches()) != 0 || w.Members("demo") != nil || len(shown) != 1 || shown[0].Status != "deleting" || removed.Status != "deleting" {
		t.Errorf("there %v, described as %+v", there, shown)
	}
	// What is under way goes on where a world was saved.
	again := world.New("", "")
	must(t, again.Load(maps.Clone(records)))
	if shown := again.DescribeCaches(world.ReplicationGroup); len(shown) != 1 || shown[0].Status != "deleting" {
		t.Errorf("described as %+v after loading", shown)
	}
	w.Advance(time.Hour)
	if shown := w.DescribeCaches(world.ReplicationGroup); len(shown) != 0 {
		t.Errorf("described as %+v", shown)
	}
	must(t, only(w.ModifyGroup(world.ElastiCache, "orders", func(g *world.Group) error { return nil })))
	if _, kept := records["cache/demo"]; kept {
		t.Error("what is gone is still saved")
	}
}

func TestACacheIsWhatItsRunnerReports(t *testing.T) {
	w := world.New("", "")
	must(t, w.PutCache(world.Cache{Name: "demo"}), w.PutCache(world.Cache{Name: "other"}))
	status := func() string {
		t.Helper()
		c := w.DescribeCaches(world.ReplicationGroup)[0]
		return fmt.Sprint(c.Status, c.Addresses)
	}
	wants := func(want string) {
		t.Helper()
		if got := status(); got != want {
			t.Errorf("the cache is %s, want %s", got, want)
		}
	}
	wants("available[]") // nobody runs anything
	w.Report(nil)
	wants("creating[]")
	w.Report(map[string]world.RunningCache{"demo": {Addresses: []string{"127.0.0.1:1"}}})
	wants("available[127.0.0.1:1]")
	w.Report(map[string]world.RunningCache{"demo": {Addresses: []string{"127.0.0.1:1"}, Err: errors.New("it hangs")}})
	wants("modifying[127.0.0.1:1]")
	w.Report(map[string]world.RunningCache{"demo": {Err: errors.New("no memory")}})
	wants("create-failed[]")
	refused(t, "a change", only(w.ModifyCache(world.ReplicationGroup, "demo", func(*world.Cache) error { return nil })), "InvalidReplicationGroupState", "create-failed")
	must(t, only(w.RemoveCache(world.ReplicationGroup, "demo")))

	w.OnChange(func() error { return errors.New("no memory") })
	var behind *world.Behind
	if info, err := w.CreateCache(world.Cache{Name: "late", Plaintext: true}); !errors.As(err, &behind) || info.Name != "late" || err.Error() != "no memory" {
		t.Errorf("CreateCache() = %+v, %v", info, err)
	}
	if _, ok := w.Cache("late"); !ok {
		t.Error("the change is not made")
	}
}

func TestStrategiesOfAuthTokens(t *testing.T) {
	const a, b, c = "token-of-16-chars-a", "token-of-16-chars-b", "token-of-16-chars-c"
	for _, test := range []struct {
		before   []world.Secret
		strategy string
		token    world.Secret
		group    bool // it has one, after the change
		left     bool // it had one before
		after    []world.Secret
		code     string
	}{
		{nil, "ROTATE", a, false, false, []world.Secret{"", a}, ""},
		{[]world.Secret{"", a}, "SET", a, false, false, []world.Secret{a}, ""},
		{[]world.Secret{a}, "ROTATE", b, false, false, []world.Secret{a, b}, ""},
		{[]world.Secret{a, b}, "ROTATE", b, false, false, []world.Secret{a, b}, ""}, // a call that is repeated
		{[]world.Secret{a, b}, "ROTATE", c, false, false, []world.Secret{b, c}, ""},
		{[]world.Secret{a, b}, "SET", b, false, false, []world.Secret{b}, ""},
		{[]world.Secret{a, b}, "SET", a, false, false, nil, "InvalidParameterValue"},
		{nil, "SET", a, false, false, nil, "InvalidParameterValue"},
		{nil, "SET", a, false, true, []world.Secret{a}, ""},
		{[]world.Secret{a}, "SET", "", false, false, nil, "InvalidParameterValue"},
		{[]world.Secret{a}, "DELETE", "", false, false, nil, "InvalidParameterCombination"},
		{[]world.Secret{a}, "DELETE", "", true, false, []world.Secret{}, ""},
		{[]world.Secret{a}, "DELETE", a, true, false, nil, "InvalidParameterCombination"},
		{[]world.Secret{a}, "REPLACE", b, false, false, nil, "InvalidParameterValue"},
	} {
		cache := world.Cache{AuthTokens: test.before}
		if test.group {
			cache.Group = "orders"
		}
		err := cache.UpdateToken(test.strategy, test.token, test.left)
		if test.code != "" {
			refused(t, test.strategy, err, test.code, "")
			if err != nil && strings.Contains(err.Error(), string(test.token)) && test.token != "" {
				t.Errorf("the error tells a token: %v", err)
			}
			continue
		}
		if err != nil || !slices.Equal(cache.AuthTokens, test.after) {
			t.Errorf("%s of %d tokens leaves %d, %v", test.strategy, len(test.before), len(cache.AuthTokens), err)
		}
	}
}

func TestAuthTokensAreThePasswordsOfDefault(t *testing.T) {
	w := withGroup(t)
	records := saved(w)
	for what, c := range map[string]world.Cache{
		"a serverless cache": {Kind: world.ServerlessCache, AuthTokens: []world.Secret{authToken}}, "a cache cluster": {Kind: world.CacheCluster, AuthTokens: []world.Secret{authToken}},
		"no TLS": {Plaintext: true, AuthTokens: []world.Secret{authToken}}, "a user group": {Group: "orders", AuthTokens: []world.Secret{authToken}},
		"a short token": {AuthTokens: []world.Secret{"short"}}, "a slash": {AuthTokens: []world.Secret{authToken + "/"}}, "three": {AuthTokens: []world.Secret{authToken, authToken, authToken}},
	} {
		c.Name = "refused"
		if err := w.PutCache(c); err == nil || strings.Contains(err.Error(), authToken) {
			t.Errorf("%s: %v", what, err)
		}
	}
	must(t, w.PutCache(world.Cache{Name: "demo", AuthTokens: []world.Secret{authToken}}), w.PutCache(world.Cache{Name: "rotated", AuthTokens: []world.Secret{"", authToken}}))
	again := world.New("", "")
	must(t, again.Load(records))
	for _, w := range []*world.World{w, again} {
		if m, ok := w.Member("demo", "default"); !ok || m.Auth != world.AuthPassword || !slices.Equal(m.Passwords, []world.Secret{authToken}) {
			t.Errorf("Member() = %+v, %v", m, ok)
		}
		if m, ok := w.Member("rotated", "default"); !ok || m.Auth != world.AuthNoPassword {
			t.Errorf("Member() = %+v, %v", m, ok)
		}
	}
	if !reflect.DeepEqual(again.DescribeCaches(world.ReplicationGroup)[0].AuthTokens, w.DescribeCaches(world.ReplicationGroup)[0].AuthTokens) {
		t.Error("the tokens are not the same after loading")
	}
	c, _ := w.Cache("demo")
	info := w.DescribeCaches(world.ReplicationGroup)[0]
	for _, v := range []any{c, &c, []world.Cache{c}, info, &info, struct{ C *world.Cache }{&c}} {
		encoded, err := json.Marshal(v)
		must(t, err)
		var log strings.Builder
		slog.New(slog.NewTextHandler(&log, nil)).Info("m", "v", v)
		for _, text := range []string{fmt.Sprintf("%v %+v %#v %s %x", v, v, v, v, v), string(encoded), log.String()} {
			if strings.Contains(text, authToken) || strings.Contains(text, fmt.Sprintf("%x", authToken)) {
				t.Errorf("%T shows an AUTH token: %s", v, text)
			}
		}
	}
}

func TestACreatedCacheHasAVersionThatExists(t *testing.T) {
	w := world.New("", "")
	for i, test := range []struct{ engine, version, want string }{
		{"redis", "", "7.1"}, {"redis", "6.x", "6.2"}, {"redis", "7.0", "7.0"}, {"Valkey", "", "8.1"}, {"valkey", "7", "7.2"}, {"redis", "5.0.6", "5.0.6"},
		{"redis", "7.2", ""}, {"redis", "6.2.6", ""}, {"valkey", "7.0", ""}, {"redis", "x", ""}, {"redis", ".x", ""}, {"redis", "1", ""},
	} {
		info, err := w.CreateCache(world.Cache{Name: fmt.Sprint("c", i), Engine: test.engine, Version: test.version, Plaintext: true})
		if test.want == "" {
			refused(t, test.engine+" "+test.version, err, "InvalidParameterCombination", "Cannot find version "+test.version+" for "+test.engine)
		} else if err != nil || info.Version != test.want {
			t.Errorf("%s %s becomes %s, %v", test.engine, test.version, info.Version, err)
		}
	}
	to := func(engine, version string) error {
		return only(w.ModifyCache(world.ReplicationGroup, "c2", func(c *world.Cache) error { c.Engine, c.Version = engine, version; return nil }))
	}
	must(t, to("redis", "7.1"))
	refused(t, "a version back", to("redis", "7.0"), "InvalidParameterCombination", "cannot go back")
	must(t, to("valkey", "8.0"))
	refused(t, "the engine back", to("redis", "7.1"), "InvalidParameterCombination", "cannot go back")
}

func TestACacheKeepsItsKindAndItsTLS(t *testing.T) {
	w := withGroup(t)
	must(t, w.PutCache(world.Cache{Name: "plain", Plaintext: true}), w.PutCache(world.Cache{Name: "one", Kind: world.CacheCluster}))
	refused(t, "TLS later", w.PutCache(world.Cache{Name: "plain"}), "InvalidParameterCombination", "TLS")
	refused(t, "a group without TLS", w.PutCache(world.Cache{Name: "plain", Plaintext: true, Group: "orders"}), "InvalidParameterCombination", "requires encryption-in-transit")
	refused(t, "a group on a cache cluster", w.PutCache(world.Cache{Name: "one", Kind: world.CacheCluster, Group: "orders"}), "InvalidParameterCombination", "requires encryption-in-transit")
	refused(t, "shards of a cache cluster", w.PutCache(world.Cache{Name: "two", Kind: world.CacheCluster, Nodes: 2}), "InvalidParameterCombination", "one node")
	refused(t, "serverless without TLS", w.PutCache(world.Cache{Name: "less", Kind: world.ServerlessCache, Plaintext: true}), "InvalidParameterCombination", "TLS")
	c, _ := w.Cache("one")
	if !c.Plaintext || w.CacheARN(c) != "arn:aws:elasticache:us-east-1:123456789012:cluster:one" || c.Service() != world.ElastiCache {
		t.Errorf("Cache() = %+v, %s", c, w.CacheARN(c))
	}
	w.OneNode = errors.New("one node only")
	refused(t, "an engine of one node", only(w.CreateCache(world.Cache{Name: "big", Nodes: 2, Plaintext: true})), "InvalidParameterCombination", "one node only")
}

func TestTagsKeepTheirLimits(t *testing.T) {
	w := withGroup(t)
	arn := w.ElastiCacheARN("user", "orders-app")
	for what, tags := range map[string]map[string]string{
		"no key": {"": "v"}, "AWS's own": {"AWS:x": "v"}, "a long key": {strings.Repeat("k", 129): "v"}, "a long value": {"k": strings.Repeat("v", 257)},
	} {
		refused(t, what, only(w.ChangeTags(world.ElastiCache, arn, tags, nil)), "InvalidParameterValue", "a tag has")
	}
	many := map[string]string{}
	for i := range 50 {
		many[fmt.Sprint("k", i)] = ""
	}
	must(t, only(w.ChangeTags(world.ElastiCache, arn, many, nil)))
	refused(t, "one more", only(w.ChangeTags(world.ElastiCache, arn, map[string]string{"more": ""}, nil)), "TagQuotaPerResourceExceeded", "50")
	if tags, err := w.Tags(world.ElastiCache, arn); err != nil || len(tags) != 50 {
		t.Errorf("%d tags, %v", len(tags), err)
	}
	for _, odd := range []string{"", "orders-app", w.ElastiCacheARN("snapshot", "x"), strings.Replace(arn, "us-east-1", "eu-west-1", 1), w.RoleARN("user:orders-app")} {
		refused(t, odd, only(w.Tags(world.ElastiCache, odd)), "InvalidARN", "")
	}
}

func TestAGroupNeedsACacheThatIsNewEnough(t *testing.T) {
	w := withGroup(t)
	must(t, w.PutGroup(world.Group{ID: "old", Users: []string{"orders-default"}}), w.PutUser(world.User{Name: "with-password", Auth: world.AuthPassword, Passwords: []world.Secret{password}}),
		only(w.CreateSubnetGroup(world.SubnetGroup{Name: "net", Subnets: []string{"subnet-1"}})))
	create := func(name, group, version string) error {
		return only(w.CreateCache(world.Cache{Name: name, Group: group, Version: version, Details: world.Details{SubnetGroup: "net"}}))
	}
	const too = "needs engine version 7.0"
	refused(t, "IAM on 6.2", create("a", "orders", "6.2"), "InvalidParameterCombination", too)
	refused(t, "users on 5.0.6", create("a", "old", "5.0.6"), "InvalidParameterCombination", "needs engine version 6.0")
	must(t, create("a", "old", "6.2"), create("b", "orders", "7.0"))
	refused(t, "another group", only(w.ModifyCache(world.ReplicationGroup, "a", func(c *world.Cache) error { c.Group = "orders"; return nil })), "InvalidParameterCombination", too)
	add := func(id string) error {
		return only(w.ModifyGroup(world.ElastiCache, "old", func(g *world.Group) error { return g.ChangeUsers([]string{id}, nil) }))
	}
	refused(t, "another user", add("orders-app"), "InvalidParameterCombination", too)
	must(t, add("with-password"))
	refused(t, "a user who changes", only(w.ModifyUser(world.ElastiCache, "with-password", func(u *world.User) error { u.Auth, u.Passwords = world.AuthIAM, nil; return nil })), "InvalidParameterCombination", too)
	if u, _ := w.User(world.ElastiCache, "with-password"); u.Auth != world.AuthPassword {
		t.Errorf("the refused change is made: %+v", u)
	}
}
