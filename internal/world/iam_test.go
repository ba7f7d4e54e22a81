package world_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/rediam/rediam/internal/world"
)

var loopback = netip.MustParseAddr("127.0.0.1")

func allow(action string, resources ...string) string { return statement("Allow", action, resources) }

func deny(action string, resources ...string) string { return statement("Deny", action, resources) }

func statement(effect, action string, resources []string) string {
	return fmt.Sprintf(`{"Sid":"%s%d","Effect":%q,"Action":%q,"Resource":["%s"]}`, effect, len(resources), effect, action, strings.Join(resources, `","`))
}

// on adds a condition to a statement.
func on(statement, condition string) string {
	return strings.TrimSuffix(statement, "}") + `,"Condition":` + condition + `}`
}

func policyOf(statements ...string) string {
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
}

// keyOf makes the IAM user caller with one inline policy, named own, and a key.
func keyOf(t testing.TB, w *world.World, statements ...string) world.Key {
	t.Helper()
	u := world.IAMUser{Name: "caller"}
	if len(statements) > 0 {
		u.Inline = map[string]string{"own": policyOf(statements...)}
	}
	must(t, w.PutIAMUser(u))
	k, err := w.CreateAccessKey("caller")
	must(t, err)
	return k
}

func TestMalformedPoliciesAreRefused(t *testing.T) {
	w := world.New("", "")
	inline := map[string]string{"p": `{"Statement":`}
	permission := policyOf(allow("elasticache:Connect", "*"))
	_, managed := w.PutPolicy("p", `[]`)
	_, name := w.PutPolicy("a policy", permission)
	missing := "arn:aws:iam::123456789012:policy/missing"
	for _, test := range []struct {
		what          string
		err           error
		code, message string
	}{
		{"PutPolicy", managed, "MalformedPolicyDocument", "Syntax errors in policy."},
		{"PutPolicy with a space", name, "ValidationError", "policyName"},
		{"PutIAMUser", w.PutIAMUser(world.IAMUser{Name: "x", Inline: inline}), "MalformedPolicyDocument", "This policy contains invalid Json"},
		{"PutIAMUser without a name", w.PutIAMUser(world.IAMUser{}), "ValidationError", "userName"},
		{"PutIAMUser with a missing policy", w.PutIAMUser(world.IAMUser{Name: "x", Attached: []string{missing}}), "NoSuchEntity", missing},
		{"PutIAMUser with a missing boundary", w.PutIAMUser(world.IAMUser{Name: "x", Boundary: missing}), "NoSuchEntity", missing},
		{"PutRole", w.PutRole(world.Role{Name: "x", Inline: inline}), "MalformedPolicyDocument", "This policy contains invalid Json"},
		{"PutRole with a permission for trust", w.PutRole(world.Role{Name: "x", Trust: permission}), "MalformedPolicyDocument", "Has prohibited field Resource"},
		{"PutRole without a name", w.PutRole(world.Role{}), "ValidationError", "roleName"},
		{"PutRole with a missing policy", w.PutRole(world.Role{Name: "x", Attached: []string{missing}}), "NoSuchEntity", missing},
		{"PutRole with short sessions", w.PutRole(world.Role{Name: "x", MaxSession: time.Minute}), "ValidationError", "between 1 and 12 hours"},
		{"PutRole with long sessions", w.PutRole(world.Role{Name: "x", MaxSession: 13 * time.Hour}), "ValidationError", "between 1 and 12 hours"},
	} {
		refused(t, test.what, test.err, test.code, test.message)
		if test.err != nil && strings.Contains(test.err.Error(), "malformed policy document:") {
			t.Errorf("%s says twice that it is malformed: %v", test.what, test.err)
		}
	}
	if _, err := w.CreateAccessKey("x"); err == nil {
		t.Error("a refused IAM user is there all the same")
	}
	if _, ok := w.Role("x"); ok {
		t.Error("a refused role is there all the same")
	}
}

func TestAccessKeys(t *testing.T) {
	w := world.New("", "")
	_, err := w.CreateAccessKey("nobody")
	refused(t, "a key for nobody", err, "NoSuchEntity", "The user with name nobody cannot be found.")
	refused(t, "an unknown key", w.SetAccessKey("AKIANOBODY", false), "NoSuchEntity", "AKIANOBODY")
	if _, ok := w.Key(""); ok {
		t.Error("the empty id is a key")
	}
	k := keyOf(t, w)
	if !strings.HasPrefix(k.ID, "AKIA") || len(k.ID) != 20 || len(k.Secret) != 40 || k.SessionToken != "" || !k.Expires.IsZero() {
		t.Errorf("a long-term key does not look like one: %+v", k)
	}
	second, err := w.CreateAccessKey("caller")
	must(t, err)
	if second.ID == k.ID || second.Secret == k.Secret || second.Principal != k.Principal {
		t.Errorf("two keys of one user: %+v and %+v", k, second)
	}
	for _, active := range []bool{false, true} {
		must(t, w.SetAccessKey(k.ID, active))
		if got, ok := w.Key(k.ID); !ok || got.Inactive == active || got.Secret != k.Secret {
			t.Errorf("after SetAccessKey(%v): %+v, %v", active, got, ok)
		}
	}
}

func TestUniqueIDsAreUniqueAndStay(t *testing.T) {
	w := world.New("", "")
	ids := map[string]string{}
	for _, role := range []string{"elasticache-iam-auth-app", "elasticache-iam-auth-admin", "elasticache"} {
		must(t, w.PutRole(world.Role{Name: role}))
		first, err := w.IssueSession(role, "one")
		must(t, err)
		second, err := w.IssueSession(role, "one")
		must(t, err)
		id := first.Principal.ID
		if id != second.Principal.ID || len(id) != len("AROA")+17+len(":one") || !strings.HasPrefix(id, "AROA") || !strings.HasSuffix(id, ":one") {
			t.Errorf("the ids of sessions of %s: %s, %s", role, id, second.Principal.ID)
		}
		if other, taken := ids[id]; taken {
			t.Errorf("%s and %s have the id %s", role, other, id)
		}
		ids[id] = role
	}
}

// A setting is a world with a cache and a user, and who wants in.
type setting struct {
	*world.World
	cache world.Cache
	user  world.User
}

func newSetting(t testing.TB, kind world.Kind) setting {
	t.Helper()
	w := world.New("", "")
	service := world.Cache{Kind: kind}.Service()
	must(t, w.PutUser(world.User{Service: service, Name: "orders-app", Tags: map[string]string{"env": "test"}}),
		w.PutCache(world.Cache{Kind: kind, Name: "demo", Tags: map[string]string{"env": "test", "tier": "one"}}))
	s := setting{World: w}
	s.cache, _ = w.Cache("demo")
	s.user, _ = w.User(service, "orders-app")
	return s
}

func (s setting) authorize(k world.Key) world.Verdict {
	return s.Authorize(k, s.cache, s.user, loopback)
}

func TestConnectNeedsBothARNs(t *testing.T) {
	for _, kind := range []world.Kind{world.ReplicationGroup, world.ServerlessCache, world.Cluster} {
		s := newSetting(t, kind)
		action, cache, user := s.cache.Service()+":Connect", s.CacheARN(s.cache), s.UserARN(s.user)
		wildcard := strings.TrimSuffix(cache, "demo") + "*"
		for _, test := range []struct {
			what       string
			statements []string
			allowed    bool
			statement  string // that decided
			reason     string // a part of it
		}{
			{"both", []string{allow(action, cache, user)}, true, "Allow2", "on " + cache},
			{"both in lower case", []string{allow(strings.ToLower(action), cache, user)}, true, "Allow2", "on " + cache},
			{"both in two statements", []string{allow(action, user), on(allow(action, cache, cache), `{"Null":{"aws:nothing":"true"}}`)}, true, "Allow2", "on " + cache},
			{"wildcards", []string{allow("*:Conn*", wildcard, strings.TrimSuffix(user, "orders-app")+"orders-???")}, true, "Allow2", "on " + cache},
			{"everything", []string{allow("*", "*")}, true, "Allow1", "on " + cache},
			{"the cache alone", []string{allow(action, cache)}, false, "", user},
			{"the user alone", []string{allow(action, user)}, false, "", cache},
			{"nothing", nil, false, "", "no identity-based policy allows " + action + " on " + cache},
			{"another cache", []string{allow(action, cache+"-2", user)}, false, "", cache},
			{"capitals", []string{allow(action, strings.Replace(cache, "demo", "Demo", 1), user)}, false, "", "case of letters"},
			{"another action", []string{allow(s.cache.Service()+":Describe*", cache, user)}, false, "", action},
			{"the cache denied", []string{allow("*", "*"), deny(action, cache)}, false, "Deny1", "denies " + action + " on " + cache},
			{"the user denied", []string{allow("*", "*"), deny("*", user)}, false, "Deny1", "denies " + action + " on " + user},
		} {
			v := s.authorize(keyOf(t, s.World, test.statements...))
			policy := map[bool]string{true: "own"}[test.statement != ""]
			if v.Allowed != test.allowed || v.Policy != policy || v.Statement != test.statement || !strings.Contains(v.Reason, test.reason) {
				t.Errorf("%s, %s: %+v, want allowed %v by %q because …%s…", kind, test.what, v, test.allowed, test.statement, test.reason)
			}
		}
	}
}

func TestRootMayAlwaysConnect(t *testing.T) {
	s := newSetting(t, world.ReplicationGroup)
	root, err := s.CreateAccessKey("")
	must(t, err)
	if root.Principal.ID != s.Account || root.Principal.Type != world.Root {
		t.Errorf("root is %+v", root.Principal)
	}
	if v := s.authorize(root); !v.Allowed || v.Reason == "" {
		t.Errorf("root: %+v", v)
	}
	root.Principal.Account = "210987654321"
	if v := s.authorize(root); v.Allowed || !strings.Contains(v.Reason, "210987654321") {
		t.Errorf("another account's root: %+v", v)
	}
}

func TestAnotherAccountMayNeverConnect(t *testing.T) {
	s := newSetting(t, world.ReplicationGroup)
	const other = "210987654321"
	trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + s.Account + `"},"Action":"sts:AssumeRole"}]}`
	must(t, s.PutRole(world.Role{Account: other, Name: "theirs", Trust: trust, Inline: map[string]string{"p": policyOf(allow("*", "*"))}}))
	k, err := s.AssumeRole(keyOf(t, s.World, allow("*", "*")), world.AssumeRole{RoleARN: "arn:aws:iam::" + other + ":role/theirs", Session: "test"})
	must(t, err)
	if v := s.authorize(k); v.Allowed || !strings.Contains(v.Reason, other) || !strings.Contains(v.Reason, s.Account) {
		t.Errorf("a role of another account: %+v", v)
	}
}

func TestBoundariesLimit(t *testing.T) {
	s := newSetting(t, world.ReplicationGroup)
	cache, user := s.CacheARN(s.cache), s.UserARN(s.user)
	everything := map[string]string{"own": policyOf(allow("*", "*"))}
	boundary, err := s.PutPolicy("boundary", policyOf(allow("elasticache:Connect", cache)))
	must(t, err)
	must(t, s.PutRole(world.Role{Name: "app", Inline: everything, Boundary: boundary}))
	k, err := s.IssueSession("app", "test")
	must(t, err)
	if v := s.authorize(k); v.Allowed || !strings.Contains(v.Reason, "no permissions boundary allows elasticache:Connect on "+user) {
		t.Errorf("a boundary without the user: %+v", v)
	}
	_, err = s.PutPolicy("boundary", policyOf(allow("elasticache:Connect", cache, user))) // a new version counts at once
	must(t, err)
	if v := s.authorize(k); !v.Allowed {
		t.Errorf("a boundary with both: %+v", v)
	}
	must(t, s.PutRole(world.Role{Name: "app", Boundary: boundary}))
	if v := s.authorize(k); v.Allowed || !strings.Contains(v.Reason, "no identity-based policy") {
		t.Errorf("a boundary alone allows: %+v", v)
	}
}

func TestPoliciesAndRolesCountAtOnce(t *testing.T) {
	s := newSetting(t, world.ReplicationGroup)
	arn, err := s.PutPolicy("connect", policyOf(allow("elasticache:Connect", "*")))
	must(t, err)
	if want := "arn:aws:iam::123456789012:policy/connect"; arn != want {
		t.Errorf("PutPolicy() = %s, want %s", arn, want)
	}
	must(t, s.PutRole(world.Role{Name: "app", Attached: []string{arn}}))
	k, err := s.IssueSession("app", "test")
	must(t, err)
	if v := s.authorize(k); !v.Allowed || v.Policy != "connect" {
		t.Errorf("an attached policy: %+v", v)
	}
	_, err = s.PutPolicy("connect", policyOf(deny("elasticache:Connect", "*")))
	must(t, err)
	if v := s.authorize(k); v.Allowed || v.Policy != "connect" || v.Statement != "Deny1" {
		t.Errorf("its new version: %+v", v)
	}
	must(t, s.PutRole(world.Role{Name: "app"}))
	if v := s.authorize(k); v.Allowed || v.Policy != "" || !strings.Contains(v.Reason, "there is none") {
		t.Errorf("no policy at all: %+v", v)
	}
}

func TestSessionPoliciesLimit(t *testing.T) {
	s := newSetting(t, world.ReplicationGroup)
	cache, user := s.CacheARN(s.cache), s.UserARN(s.user)
	must(t, s.PutRole(world.Role{Name: "app", Inline: map[string]string{"own": policyOf(allow("elasticache:*", "*"))}}))
	managed, err := s.PutPolicy("managed", policyOf(allow("elasticache:Connect", user)))
	must(t, err)
	caller := keyOf(t, s.World, allow("sts:AssumeRole", "*"))
	for _, test := range []struct {
		what    string
		request world.AssumeRole
		allowed bool
		reason  string
	}{
		{"none", world.AssumeRole{}, true, cache},
		{"both", world.AssumeRole{Policy: policyOf(allow("*", cache, user))}, true, cache},
		{"the cache alone", world.AssumeRole{Policy: policyOf(allow("*", cache))}, false, "no session policy allows elasticache:Connect on " + user},
		{"the user by a managed one", world.AssumeRole{Policy: policyOf(allow("*", cache)), PolicyARNs: []string{managed}}, true, cache},
		{"a managed one alone", world.AssumeRole{PolicyARNs: []string{managed}}, false, "no session policy allows elasticache:Connect on " + cache},
		{"a deny", world.AssumeRole{Policy: policyOf(allow("*", "*"), deny("*", user))}, false, "denies"},
	} {
		test.request.RoleARN, test.request.Session = s.RoleARN("app"), "test"
		k, err := s.AssumeRole(caller, test.request)
		must(t, err)
		stored, ok := s.Key(k.ID)
		if v := s.authorize(stored); !ok || v.Allowed != test.allowed || !strings.Contains(v.Reason, test.reason) {
			t.Errorf("%s: %+v, want %v because …%s…", test.what, v, test.allowed, test.reason)
		}
	}
}

func TestConditionsSeeTheKeysThatAWSLists(t *testing.T) {
	for _, test := range []struct {
		condition                     string
		group, serverless, onMemoryDB bool
	}{
		{`{"IpAddress":{"aws:SourceIp":"127.0.0.0/8"}}`, true, false, true},
		{`{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`, false, false, false},
		{`{"IpAddress":{"aws:VpcSourceIp":"127.0.0.0/8"}}`, false, true, false},
		{`{"StringEquals":{"aws:ResourceTag/env":"test"}}`, true, true, true},
		{`{"Null":{"aws:SourceVpc":"false"}}`, false, false, false},
		{`{"Null":{"aws:SourceVpce":"false"}}`, false, false, false},
		{`{"StringEquals":{"aws:ResourceTag/tier":"one"}}`, false, false, false}, // the cache has it, the user not
		{`{"StringEqualsIfExists":{"aws:ResourceTag/tier":"one"}}`, true, true, true},
		{`{"StringEquals":{"elasticache:UserAuthenticationMode":"iam"}}`, true, true, false},
		{`{"DateGreaterThan":{"aws:CurrentTime":"2020-01-01T00:00:00Z"}}`, false, true, false},
		{`{"NumericGreaterThan":{"aws:EpochTime":"1577836800"}}`, false, true, false},
		{`{"DateLessThan":{"aws:CurrentTime":"2020-01-01T00:00:00Z"}}`, false, false, false},
		{`{"Null":{"aws:PrincipalArn":"true","aws:username":"true","aws:userid":"true"}}`, true, true, true},
	} {
		for kind, want := range map[world.Kind]bool{world.ReplicationGroup: test.group, world.ServerlessCache: test.serverless, world.Cluster: test.onMemoryDB} {
			s := newSetting(t, kind)
			v := s.authorize(keyOf(t, s.World, on(allow("*", "*"), test.condition)))
			if v.Allowed != want {
				t.Errorf("%s on %s: %+v, want %v", test.condition, kind, v, want)
			}
			if !v.Allowed && !strings.Contains(v.Reason, "condition") {
				t.Errorf("%s on %s does not name the condition: %s", test.condition, kind, v.Reason)
			}
		}
	}
}

func TestConditionsOnAPublicEndpointSeeNoAddress(t *testing.T) {
	s := newSetting(t, world.ServerlessCache)
	s.cache.Public = true
	for condition, want := range map[string]bool{
		`{"IpAddress":{"aws:SourceIp":"127.0.0.0/8"}}`:          false,
		`{"IpAddress":{"aws:VpcSourceIp":"127.0.0.0/8"}}`:       false,
		`{"StringEquals":{"aws:ResourceTag/env":"test"}}`:       true,
		`{"NumericGreaterThan":{"aws:EpochTime":"1577836800"}}`: true,
	} {
		if v := s.authorize(keyOf(t, s.World, on(allow("*", "*"), condition))); v.Allowed != want {
			t.Errorf("%s: %+v, want %v", condition, v, want)
		}
	}
}

func TestTimeInConditionsIsTheWorlds(t *testing.T) {
	s := newSetting(t, world.ServerlessCache)
	k := keyOf(t, s.World, on(allow("*", "*"), `{"DateLessThan":{"aws:CurrentTime":"`+s.Now().Add(time.Hour).UTC().Format(time.RFC3339)+`"}}`))
	if v := s.authorize(k); !v.Allowed {
		t.Errorf("before: %+v", v)
	}
	s.Advance(2 * time.Hour)
	if v := s.authorize(k); v.Allowed {
		t.Errorf("after: %+v", v)
	}
}
