package world_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/rediam/rediam/internal/world"
)

// must ends the test if a change fails that the test stands on.
func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// refused wants AWS's error code, and a part of its message.
func refused(t testing.TB, what string, err error, code, message string) {
	t.Helper()
	var e *world.Error
	if !errors.As(err, &e) || e.Code != code || !strings.Contains(e.Message, message) {
		t.Errorf("%s: %v, want %s: …%s…", what, err, code, message)
	}
}

const password = "sixteen-letters!"

var (
	offDefault = world.User{ID: "orders-default", Name: "default", Auth: world.AuthNoPassword}
	app        = world.User{Name: "orders-app", Access: "on ~* +@all"}
)

// withGroup is a world with a user group orders, of offDefault and app.
func withGroup(t testing.TB) *world.World {
	t.Helper()
	w := world.New("", "")
	must(t, w.PutUser(offDefault), w.PutUser(app), w.PutGroup(world.Group{ID: "orders", Users: []string{"orders-default", "orders-app"}}))
	return w
}

func TestUsersGetTheirDefaults(t *testing.T) {
	w := world.New("", "")
	must(t, w.PutUser(world.User{ID: "Orders-Default", Name: "default", Engine: "REDIS", Auth: world.AuthPassword, Passwords: []world.Secret{password}, Access: "off +get ~keys*"}),
		w.PutUser(world.User{Name: "orders-app"}))
	u, ok := w.User(world.ElastiCache, "ORDERS-DEFAULT")
	if !ok || u.ID != "orders-default" || u.Name != "default" || u.Engine != "redis" || u.Service != world.ElastiCache || u.Access != "off ~keys* -@all +get" {
		t.Errorf("User() = %+v, %v", u, ok)
	}
	u, ok = w.User(world.ElastiCache, "orders-app")
	if !ok || u.ID != "orders-app" || u.Auth != world.AuthIAM || u.Engine != "redis" || u.Access != "off -@all" {
		t.Errorf("User() = %+v, %v", u, ok)
	}
	if u, ok := w.User(world.MemoryDB, "orders-app"); ok {
		t.Errorf("MemoryDB has the user of ElastiCache: %+v", u)
	}
}

func TestUsersThatBreakARuleAreRefused(t *testing.T) {
	const invalid, combination = "InvalidParameterValue", "InvalidParameterCombination"
	with := func(passwords ...world.Secret) world.User {
		return world.User{Name: "a", Auth: world.AuthPassword, Passwords: passwords}
	}
	for _, test := range []struct {
		what          string
		user          world.User
		code, message string
	}{
		{"another service", world.User{Service: "dynamodb", Name: "a"}, invalid, "elasticache or memorydb"},
		{"no name", world.User{}, invalid, "user id"},
		{"no name but an id", world.User{ID: "a"}, invalid, "user name"},
		{"an id too long", world.User{Name: strings.Repeat("a", 41)}, invalid, "at most 40"},
		{"a digit first", world.User{Name: "1a"}, invalid, "a letter first"},
		{"two hyphens", world.User{Name: "a--b"}, invalid, "single hyphens"},
		{"a hyphen last", world.User{Name: "a-"}, invalid, "single hyphens"},
		{"a line break", world.User{Name: "a\n"}, invalid, "letters"},
		{"another engine", world.User{Name: "a", Engine: "memcached"}, invalid, "redis or valkey"},
		{"an IAM user with two names", world.User{ID: "a", Name: "b"}, combination, "User Id and User name must be same for authentication type: iam"},
		{"an IAM user with capitals", world.User{Name: "Orders-App"}, combination, "User Id and User name must be same for authentication type: iam"},
		{"an IAM user with a password", world.User{Name: "a", Passwords: []world.Secret{password}}, combination, "Password field is not allowed with authentication type: iam"},
		{"a password user without", with(), combination, "A user with Authentication Mode: password, must have at least one password"},
		{"three passwords", with(password, password, password), invalid, "at most 2"},
		{"a short password", with(password, world.Secret(password[1:])), invalid, "Passwords length must be between 16-128 characters."},
		{"a long password", with(world.Secret(strings.Repeat("x", 129))), invalid, "Passwords length must be between 16-128 characters."},
		{"a password with a slash", with(password + "/"), invalid, "printable"},
		{"a password with a space", with(password + " "), invalid, "printable"},
		{"a password of other letters", with(password + "é"), invalid, "printable"},
		{"no password on Valkey", world.User{Name: "a", Auth: world.AuthNoPassword, Engine: "Valkey"}, combination, "No-password-required is not allowed for a user with engine Valkey"},
		{"no password on MemoryDB", world.User{Service: world.MemoryDB, Name: "a", Auth: world.AuthNoPassword}, invalid, "[password,iam]"},
		{"an id on MemoryDB", world.User{Service: world.MemoryDB, ID: "a", Name: "b"}, combination, "name only"},
		{"another type", world.User{Name: "a", Auth: "kerberos", Passwords: []world.Secret{password}}, invalid, "Input Authentication type: kerberos is not in the allowed list: [password,no-password-required,iam]"},
		{"a password in the access string", world.User{Name: "a", Access: "on >" + password + " ~* +@all"}, invalid, "access string"},
		{"a prohibited command", world.User{Name: "a", Access: "on ~* +config"}, invalid, "access string"},
	} {
		w := world.New("", "")
		err := w.PutUser(test.user)
		refused(t, test.what, err, test.code, test.message)
		if _, ok := w.User(world.ElastiCache, test.user.Name); ok {
			t.Errorf("%s: the user is there all the same", test.what)
		}
		if err != nil && strings.Contains(err.Error(), password[1:]) {
			t.Errorf("%s: the error tells a password: %v", test.what, err)
		}
	}
	w := world.New("", "")
	must(t, w.PutUser(with(password, "a-str0ng-pa))word")), w.PutUser(world.User{Service: world.MemoryDB, Name: "a"}))
}

func TestGroupsThatBreakARuleAreRefused(t *testing.T) {
	w := world.New("", "")
	must(t, w.PutUser(offDefault), w.PutUser(app),
		w.PutUser(world.User{ID: "second-default", Name: "default", Auth: world.AuthNoPassword}),
		w.PutUser(world.User{Name: "on-valkey", Engine: "valkey"}),
		w.PutUser(world.User{Service: world.MemoryDB, Name: "on-memorydb"}))
	many := []string{"orders-default"}
	for i := range 100 {
		id := fmt.Sprintf("user-%d", i)
		must(t, w.PutUser(world.User{Name: id}))
		many = append(many, id)
	}
	for _, test := range []struct {
		what          string
		group         world.Group
		code, message string
	}{
		{"another service", world.Group{Service: "dynamodb", ID: "g"}, "InvalidParameterValue", "elasticache or memorydb"},
		{"another engine", world.Group{ID: "g", Engine: "memcached"}, "InvalidParameterValue", "redis or valkey"},
		{"no id", world.Group{Users: []string{"orders-default"}}, "InvalidParameterValue", "user group id"},
		{"an unknown user", world.Group{ID: "g", Users: []string{"orders-default", "nobody"}}, "UserNotFound", "User nobody not found."},
		{"a user of MemoryDB", world.Group{ID: "g", Users: []string{"orders-default", "on-memorydb"}}, "UserNotFound", "User on-memorydb not found."},
		{"no default user", world.Group{ID: "g", Users: []string{"orders-app"}}, "DefaultUserRequired", "User group needs to contain a user with the user name default."},
		{"two default users", world.Group{ID: "g", Users: []string{"orders-default", "second-default"}}, "DuplicateUserName", "default"},
		{"a user twice", world.Group{ID: "g", Users: []string{"orders-default", "orders-app", "Orders-App"}}, "DuplicateUserName", "orders-app"},
		{"a Valkey user with Redis", world.Group{ID: "g", Users: []string{"orders-default", "on-valkey"}}, "InvalidParameterValue", "engine valkey"},
		{"no password with Valkey", world.Group{ID: "g", Engine: "valkey", Users: []string{"orders-default"}}, "InvalidParameterValue", "No-password-required"},
		{"101 users", world.Group{ID: "g", Users: many}, "InvalidParameterValue", "at most 100 users"},
	} {
		refused(t, test.what, w.PutGroup(test.group), test.code, test.message)
		if g, ok := w.Group(world.ElastiCache, "g"); ok {
			t.Errorf("%s: the group is there all the same: %+v", test.what, g)
		}
	}
	must(t, w.PutGroup(world.Group{ID: "G", Users: many[:100]}),
		w.PutGroup(world.Group{ID: "on-valkey", Engine: "VALKEY", Users: []string{"on-valkey", "Orders-App"}}),
		w.PutGroup(world.Group{Service: world.MemoryDB, ID: "empty"}))
	if g, ok := w.Group(world.ElastiCache, "On-Valkey"); !ok || !slices.Equal(g.Users, []string{"on-valkey", "orders-app"}) || g.Engine != "valkey" {
		t.Errorf("Group() = %+v, %v", g, ok)
	}
}

func TestAChangedUserMustStillFitItsGroups(t *testing.T) {
	w := withGroup(t)
	for what, u := range map[string]world.User{
		"default under another name": {ID: "orders-default", Name: "other", Auth: world.AuthNoPassword},
		"a second default":           {ID: "orders-app", Name: "default", Auth: world.AuthNoPassword},
		"a user on Valkey":           {Name: "orders-app", Engine: "valkey"},
	} {
		if err := w.PutUser(u); err == nil {
			t.Errorf("%s goes into a group that it does not fit", what)
		}
	}
	d, _ := w.User(world.ElastiCache, "orders-default")
	a, _ := w.User(world.ElastiCache, "orders-app")
	if d.Name != "default" || a.Name != "orders-app" || a.Engine != "redis" || a.Access != "on ~* +@all" {
		t.Errorf("refused changes left %+v and %+v", d, a)
	}
	changed := app
	changed.Access = "on ~app:* +@read"
	must(t, w.PutUser(changed))
}

func TestADeletedUserLeavesItsGroups(t *testing.T) {
	w := withGroup(t)
	must(t, w.PutUser(world.User{Service: world.MemoryDB, Name: "orders-app"}),
		w.PutGroup(world.Group{Service: world.MemoryDB, ID: "orders", Users: []string{"orders-app"}}),
		w.PutCache(world.Cache{Name: "demo", Group: "orders"}))
	refused(t, "an unknown user", w.DeleteUser(world.ElastiCache, "nobody"), "UserNotFound", "User nobody not found.")
	refused(t, "the default user", w.DeleteUser(world.ElastiCache, "orders-default"), "DefaultUserAssociatedToUserGroup", "orders")
	must(t, w.DeleteUser(world.ElastiCache, "ORDERS-APP"))
	if g, _ := w.Group(world.ElastiCache, "orders"); !slices.Equal(g.Users, []string{"orders-default"}) {
		t.Errorf("the group still has %v", g.Users)
	}
	if g, _ := w.Group(world.MemoryDB, "orders"); !slices.Equal(g.Users, []string{"orders-app"}) {
		t.Errorf("the ACL of MemoryDB has %v", g.Users)
	}
	if m, ok := w.Member("demo", "orders-app"); ok {
		t.Errorf("the deleted user is a member: %+v", m)
	}
}

func TestCachesThatBreakARuleAreRefused(t *testing.T) {
	w := withGroup(t)
	must(t, w.PutGroup(world.Group{ID: "on-valkey", Engine: "valkey", Users: []string{"orders-app"}}), w.PutCache(world.Cache{Name: "taken"}))
	for _, test := range []struct {
		what          string
		cache         world.Cache
		code, message string
	}{
		{"another kind", world.Cache{Kind: "globalcluster", Name: "a"}, "InvalidParameterValue", "kind"},
		{"no name", world.Cache{}, "InvalidParameterValue", "cache name"},
		{"an endpoint for a name", world.Cache{Name: "demo.abc.use1.cache.amazonaws.com"}, "InvalidParameterValue", "cache name"},
		{"a name too long", world.Cache{Name: strings.Repeat("a", 41)}, "InvalidParameterValue", "at most 40"},
		{"another engine", world.Cache{Name: "a", Engine: "memcached"}, "InvalidParameterValue", "redis or valkey"},
		{"an unknown group", world.Cache{Name: "a", Group: "nobody"}, "UserGroupNotFound", "User group nobody not found."},
		{"a group of ElastiCache on MemoryDB", world.Cache{Kind: world.Cluster, Name: "a", Group: "orders"}, "UserGroupNotFound", "orders"},
		{"a Valkey group on Redis", world.Cache{Name: "a", Group: "on-valkey"}, "InvalidParameterCombination", "Valkey caches only"},
		{"fewer than no nodes", world.Cache{Name: "a", Nodes: -1}, "InvalidParameterValue", "from 0 to 10"},
		{"too many nodes", world.Cache{Kind: world.Cluster, Name: "a", Nodes: 11}, "InvalidParameterValue", "from 0 to 10"},
		{"two nodes without servers", world.Cache{Kind: world.ServerlessCache, Name: "a", Nodes: 2}, "InvalidParameterCombination", "one node"},
		{"another number of nodes", world.Cache{Name: "taken", Nodes: 1}, "InvalidParameterCombination", "taken has nodes 0, which cannot become 1: resharding is not emulated"},
		{"a name of another kind", world.Cache{Kind: world.Cluster, Name: "taken"}, "InvalidParameterCombination", "replicationgroup"},
	} {
		refused(t, test.what, w.PutCache(test.cache), test.code, test.message)
	}
	if caches := w.Caches(); len(caches) != 1 || caches[0].Kind != world.ReplicationGroup {
		t.Errorf("Caches() = %+v", caches)
	}
	refused(t, "deleting nothing", w.DeleteCache("nobody"), "ReplicationGroupNotFoundFault", "nobody")
	must(t, w.PutCache(world.Cache{Name: "d", Group: "orders"}), w.PutCache(world.Cache{Name: "b", Engine: "valkey", Group: "orders"}),
		w.PutCache(world.Cache{Name: "c", Engine: "Valkey", Group: "On-Valkey"}))
	refused(t, "a Valkey group under a Redis cache", w.PutGroup(world.Group{ID: "orders", Engine: "valkey", Users: []string{"orders-app"}}),
		"InvalidParameterCombination", "Valkey caches only")
	must(t, w.PutGroup(world.Group{Service: world.MemoryDB, ID: "orders", Engine: "valkey"}), w.DeleteCache("TAKEN"))
	var names []string
	for _, c := range w.Caches() {
		names = append(names, c.Name)
	}
	if want := []string{"b", "c", "d"}; !slices.Equal(names, want) {
		t.Errorf("Caches() = %v, want %v", names, want)
	}
}

func TestCachesGetTheirDefaults(t *testing.T) {
	w := world.New("", "")
	must(t, w.PutCache(world.Cache{Name: "Demo"}), w.PutCache(world.Cache{Name: "v", Engine: "valkey", Kind: world.Cluster}))
	if c, ok := w.Cache("DEMO"); !ok || c.Name != "demo" || c.Kind != world.ReplicationGroup || c.Engine != "redis" || c.Version != "7.1" || c.Service() != world.ElastiCache {
		t.Errorf("Cache() = %+v, %v", c, ok)
	}
	if c, _ := w.Cache("v"); c.Version != "7.3" || c.Service() != world.MemoryDB || c.Group != "open-access" || c.Nodes != 1 {
		t.Errorf("Cache() = %+v", c)
	}
}

func TestCachesThatAreClustersOnAWSHaveANode(t *testing.T) {
	w := world.New("", "")
	for _, c := range []struct {
		cache world.Cache
		nodes int
	}{
		{world.Cache{Name: "a"}, 0},
		{world.Cache{Name: "b", Nodes: 1}, 1},
		{world.Cache{Name: "c", Nodes: 10}, 10},
		{world.Cache{Name: "d", Kind: world.ServerlessCache}, 1},
		{world.Cache{Name: "e", Kind: world.Cluster}, 1},
		{world.Cache{Name: "f", Kind: world.Cluster, Nodes: 2}, 2},
	} {
		must(t, w.PutCache(c.cache), w.PutCache(c.cache))
		if got, _ := w.Cache(c.cache.Name); got.Nodes != c.nodes || got.ClusterMode() != (c.nodes > 0) {
			t.Errorf("Cache() = %+v, want %d nodes", got, c.nodes)
		}
	}
}

func TestIAMNeedsANewEnoughEngine(t *testing.T) {
	for version, want := range map[string]bool{
		"redis 6.2": false, "redis 7.0": true, "redis 7.1": true, "redis 8": true, "redis 10.0": true,
		"valkey 7": false, "valkey 7.1": false, "valkey 7.2": true, "valkey 7.2.6": true, "valkey 8": true, "valkey 8.1": true,
		"redis x": false,
	} {
		engine, number, _ := strings.Cut(version, " ")
		if got := (world.Cache{Engine: engine, Version: number}).AllowsIAM(); got != want {
			t.Errorf("%s: AllowsIAM() = %v, want %v", version, got, want)
		}
	}
}

func TestMembersAreThoseOfTheGroup(t *testing.T) {
	w := withGroup(t)
	must(t, w.PutCache(world.Cache{Name: "demo", Group: "Orders"}), w.PutCache(world.Cache{Name: "open"}))
	var names []string
	for _, m := range w.Members("DEMO") {
		names = append(names, m.Name)
	}
	if want := []string{"default", "orders-app"}; !slices.Equal(names, want) {
		t.Errorf("members %v, want %v", names, want)
	}
	if m, ok := w.Member("demo", "orders-app"); !ok || !m.Rules.On() || m.Access != "on ~* +@all" {
		t.Errorf("Member() = %+v, %v", m, ok)
	}
	if m, ok := w.Member("demo", "orders-default"); ok { // AUTH gives the name, not the id
		t.Errorf("Member() = %+v", m)
	}
	if m, ok := w.Member("open", "default"); !ok || !m.Rules.On() || m.Auth != world.AuthNoPassword {
		t.Errorf("without a group: Member() = %+v, %v", m, ok)
	}
	if m := w.Members("nobody"); m != nil {
		t.Errorf("members of no cache: %+v", m)
	}
}

func TestARNsAreThoseOfThePartition(t *testing.T) {
	const account = "210987654321"
	for partition, region := range map[string]string{"aws": "eu-west-1", "aws-cn": "cn-north-1", "aws-us-gov": "us-gov-west-1"} {
		w := world.New(region, account)
		of := func(service, region, resource string) string {
			return strings.Join([]string{"arn", partition, service, region, account, resource}, ":")
		}
		for got, want := range map[string]string{
			w.CacheARN(world.Cache{Kind: world.ReplicationGroup, Name: "demo"}):         of("elasticache", region, "replicationgroup:demo"),
			w.CacheARN(world.Cache{Kind: world.ServerlessCache, Name: "demo"}):          of("elasticache", region, "serverlesscache:demo"),
			w.CacheARN(world.Cache{Kind: world.Cluster, Name: "demo"}):                  of("memorydb", region, "cluster/demo"),
			w.UserARN(world.User{Service: world.ElastiCache, ID: "u", Name: "default"}): of("elasticache", region, "user:u"),
			w.UserARN(world.User{Service: world.MemoryDB, ID: "u", Name: "u"}):          of("memorydb", region, "user/u"),
			w.RoleARN("r"): of("iam", "", "role/r"),
			w.PrincipalARN(world.Principal{Account: account, Type: world.Root}):                                 of("iam", "", "root"),
			w.PrincipalARN(world.Principal{Account: account, Type: world.AsIAMUser, Name: "u"}):                 of("iam", "", "user/u"),
			w.PrincipalARN(world.Principal{Account: account, Type: world.AssumedRole, Name: "r", Session: "s"}): of("sts", "", "assumed-role/r/s"),
		} {
			if got != want {
				t.Errorf("ARN %s, want %s", got, want)
			}
		}
		must(t, w.PutRole(world.Role{Name: "r"}))
		caller := keyOf(t, w, allow("sts:AssumeRole", w.RoleARN("r")))
		if _, err := w.AssumeRole(caller, world.AssumeRole{RoleARN: w.RoleARN("r"), Session: "test"}); err != nil {
			t.Errorf("in %s: %v", partition, err)
		}
	}
}

func TestValuesGoInAndComeOutAsCopies(t *testing.T) {
	w := withGroup(t)
	tags := map[string]string{"env": "test"}
	passwords := []world.Secret{password}
	members := []string{"orders-default", "orders-app"}
	document := policyOf(allow("elasticache:Connect", "*"))
	inline := map[string]string{"p": document}
	must(t, w.PutUser(world.User{Name: "u", Auth: world.AuthPassword, Passwords: passwords, Tags: tags}),
		w.PutGroup(world.Group{ID: "orders", Users: members}),
		w.PutCache(world.Cache{Name: "demo", Group: "orders", Tags: tags}),
		w.PutRole(world.Role{Name: "r", Inline: inline, Tags: tags}))
	seen := func() string {
		u, _ := w.User(world.ElastiCache, "u")
		g, _ := w.Group(world.ElastiCache, "orders")
		c, _ := w.Cache("demo")
		r, _ := w.Role("r")
		return fmt.Sprint(u.Tags, string(u.Passwords[0]), g.Users, c.Tags, w.Caches()[0].Tags, r.Inline, r.Tags, len(w.Members("demo")))
	}
	const env = "map[env:test]"
	want := fmt.Sprint(env, password, "[orders-default orders-app]", env, env, map[string]string{"p": document}, env, 2)
	if got := strings.ReplaceAll(seen(), " ", ""); got != strings.ReplaceAll(want, " ", "") {
		t.Fatalf("the world has %s, want %s", got, want)
	}
	before := seen()
	tags["env"], passwords[0], members[1], inline["p"] = "changed", "another-password", "changed", "changed"
	if after := seen(); after != before {
		t.Errorf("what went in is not a copy: %s, before %s", after, before)
	}
	u, _ := w.User(world.ElastiCache, "u")
	g, _ := w.Group(world.ElastiCache, "orders")
	c, _ := w.Cache("demo")
	r, _ := w.Role("r")
	u.Passwords[0], g.Users[1] = "another-password", "changed"
	for _, m := range []map[string]string{u.Tags, c.Tags, w.Caches()[0].Tags, r.Inline, r.Tags} {
		for k := range m {
			m[k] = "changed"
		}
	}
	if after := seen(); after != before {
		t.Errorf("what came out is not a copy: %s, before %s", after, before)
	}
}

func TestPublicEndpointsBreakNoRule(t *testing.T) {
	const combination = "InvalidParameterCombination"
	public := world.Cache{Kind: world.ServerlessCache, Name: "public", Public: true, Engine: "valkey", Version: "9.0", Group: "default.iam-user-group"}
	with := func(change func(*world.Cache)) world.Cache {
		c := public
		change(&c)
		return c
	}
	w := withGroup(t)
	for _, test := range []struct {
		what    string
		cache   world.Cache
		message string
	}{
		{"a replication group", with(func(c *world.Cache) { c.Kind = world.ReplicationGroup }), "only a serverless cache"},
		{"Valkey 8.2", with(func(c *world.Cache) { c.Version = "8.2" }), "Valkey 9.0"},
		{"no version", with(func(c *world.Cache) { c.Version = "" }), "Valkey 9.0"},
		{"Redis OSS", with(func(c *world.Cache) { c.Engine = "redis" }), "Valkey 9.0"},
		{"no user group", with(func(c *world.Cache) { c.Group = "" }), "needs a user group"},
		{"a user without a password", with(func(c *world.Cache) { c.Group = "orders" }), "orders-default"},
	} {
		refused(t, test.what, w.PutCache(test.cache), combination, test.message)
		refused(t, test.what, only(w.CreateCache(test.cache)), combination, test.message)
	}
	if len(w.Caches()) != 0 {
		t.Errorf("there are %v", w.Caches())
	}
	must(t, w.PutCache(public), w.PutGroup(world.Group{ID: "mine", Engine: "valkey", Users: []string{"orders-app"}}), w.PutCache(with(func(c *world.Cache) { c.Name, c.Group, c.Version = "other", "mine", "9.1" })))
	refused(t, "no longer public", w.PutCache(with(func(c *world.Cache) { c.Public = false })), combination, "public")
	refused(t, "without its group", only(w.ModifyCache(world.ServerlessCache, "public", func(c *world.Cache) error { c.Group = ""; return nil })), combination, "needs a user group")
	refused(t, "a password user in the group", w.PutUser(world.User{Name: "orders-app", Auth: world.AuthPassword, Passwords: []world.Secret{password}}), combination, "orders-app")
	must(t, w.PutUser(world.User{Name: "reader", Auth: world.AuthPassword, Passwords: []world.Secret{password}}))
	refused(t, "another password user", w.PutGroup(world.Group{ID: "mine", Engine: "valkey", Users: []string{"orders-app", "reader"}}), combination, "reader")
	if m := w.Members("other"); len(m) != 1 || m[0].Auth != world.AuthIAM {
		t.Errorf("Members() = %v", m)
	}
}

func TestTheIAMUserAndGroupOfEveryAccountCannotBeChanged(t *testing.T) {
	const user, group = "default.iam-user", "default.iam-user-group"
	w := world.New("", "")
	if u, ok := w.User(world.ElastiCache, user); !ok || u.Auth != world.AuthIAM || u.Name != user || w.UserARN(u) != "arn:aws:elasticache:us-east-1:123456789012:user:default.iam-user" {
		t.Errorf("User() = %+v, %v", u, ok)
	}
	if g, ok := w.Group(world.ElastiCache, group); !ok || !slices.Equal(g.Users, []string{user}) {
		t.Errorf("Group() = %+v, %v", g, ok)
	}
	must(t, w.PutUser(app))
	for what, err := range map[string]error{
		"put the user":       w.PutUser(world.User{Name: user, Access: "on ~* +@all"}),
		"create the user":    only(w.CreateUser(world.User{Name: user})),
		"modify the user":    only(w.ModifyUser(world.ElastiCache, user, func(u *world.User) error { u.Access = "off -@all"; return nil })),
		"delete the user":    w.DeleteUser(world.ElastiCache, user),
		"remove the user":    only(w.RemoveUser(world.ElastiCache, user)),
		"put the group":      w.PutGroup(world.Group{ID: group, Engine: "valkey"}),
		"create the group":   only(w.CreateGroup(world.Group{ID: group, Engine: "valkey"})),
		"modify the group":   only(w.ModifyGroup(world.ElastiCache, group, func(g *world.Group) error { return g.ChangeUsers([]string{"orders-app"}, nil) })),
		"remove the group":   only(w.RemoveGroup(world.ElastiCache, group)),
		"a name with a dot":  w.PutUser(world.User{Name: "default.mine"}),
		"a group with a dot": w.PutGroup(world.Group{ID: "default.mine", Engine: "valkey"}),
		"a cache with a dot": w.PutCache(world.Cache{Name: "default.mine"}),
	} {
		var e *world.Error
		if !errors.As(err, &e) {
			t.Errorf("%s: %v", what, err)
		}
	}
	must(t, w.PutGroup(world.Group{ID: "mine", Engine: "valkey", Users: []string{user, "orders-app"}}), w.PutCache(world.Cache{Name: "c", Engine: "valkey", Group: group}))
}
