package world_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rediam/rediam/internal/world"
)

// trusting is a trust policy for one AWS principal.
func trusting(principal string, conditions ...string) string {
	s := `{"Effect":"Allow","Principal":{"AWS":"` + principal + `"},"Action":"sts:AssumeRole"}`
	for _, c := range conditions {
		s = on(s, c)
	}
	return policyOf(s)
}

const (
	accountRoot = "arn:aws:iam::123456789012:root"
	callerARN   = "arn:aws:iam::123456789012:user/caller"
	appARN      = "arn:aws:iam::123456789012:role/app"
)

func TestWhoMayAssumeARole(t *testing.T) {
	own := allow("sts:AssumeRole", appARN)
	external := `{"StringEquals":{"sts:ExternalId":"orders-42"}}`
	for _, test := range []struct {
		what     string
		trust    string
		own      []string
		external string
		may      bool
	}{
		{"the account, and the caller's policy", trusting(accountRoot), []string{own}, "", true},
		{"the account, without", trusting(accountRoot), nil, "", false},
		{"the account by its number, and the caller's policy", trusting("123456789012"), []string{own}, "", true},
		{"the account by its number, without", trusting("123456789012"), nil, "", false},
		{"the account by default, and the caller's policy", "", []string{own}, "", true},
		{"the account by default, without", "", nil, "", false},
		{"the account, and a policy for another role", trusting(accountRoot), []string{allow("sts:AssumeRole", appARN+"-2")}, "", false},
		{"the user, without a policy", trusting(callerARN), nil, "", true},
		{"the user, whom a policy denies", trusting(callerARN), []string{deny("sts:AssumeRole", "*")}, "", false},
		{"the account, whose caller a policy denies", trusting(accountRoot), []string{own, deny("sts:*", "*")}, "", false},
		{"another user", trusting(callerARN + "-2"), []string{own}, "", false},
		{"another account", trusting("210987654321"), []string{own}, "", false},
		{"anyone", trusting("*"), nil, "", true},
		{"a service", policyOf(`{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}`), []string{own}, "", false},
		{"the user, whom it denies too", policyOf(`{"Effect":"Allow","Principal":{"AWS":"`+callerARN+`"},"Action":"sts:AssumeRole"}`, `{"Effect":"Deny","Principal":"*","Action":"sts:AssumeRole"}`), []string{own}, "", false},
		{"the user for another action", policyOf(`{"Effect":"Allow","Principal":{"AWS":"` + callerARN + `"},"Action":"sts:TagSession"}`), []string{own}, "", false},
		{"the external id", trusting(callerARN, external), nil, "orders-42", true},
		{"another external id", trusting(callerARN, external), nil, "orders-43", false},
		{"no external id", trusting(callerARN, external), nil, "", false},
		{"an external id that nobody asks for", trusting(callerARN), nil, "orders-42", true},
	} {
		w := world.New("", "")
		must(t, w.PutRole(world.Role{Name: "app", Trust: test.trust}))
		k, err := w.AssumeRole(keyOf(t, w, test.own...), world.AssumeRole{RoleARN: appARN, Session: "test", ExternalID: test.external})
		if test.may {
			if err != nil {
				t.Errorf("trusts %s: %v", test.what, err)
			} else if arn := w.PrincipalARN(k.Principal); arn != "arn:aws:sts::123456789012:assumed-role/app/test" {
				t.Errorf("trusts %s: became %s", test.what, arn)
			}
			continue
		}
		// The message says who asked for what, and nothing of why not.
		refused(t, "trusts "+test.what, err, "AccessDenied", "")
		if want := "AccessDenied: User: " + callerARN + " is not authorized to perform: sts:AssumeRole on resource: " + appARN; err != nil && told(err) != want {
			t.Errorf("trusts %s: %q, want %q", test.what, err, want)
		}
	}
}

// told is what the caller sees of an error.
func told(err error) string {
	var e *world.Error
	if !errors.As(err, &e) {
		return err.Error()
	}
	return e.Code + ": " + e.Message
}

func TestAMissingRoleLooksLikeAForbiddenOne(t *testing.T) {
	w := world.New("", "")
	must(t, w.PutRole(world.Role{Name: "app", Trust: trusting("210987654321")}))
	caller := keyOf(t, w, allow("*", "*"))
	for _, r := range []world.AssumeRole{{}, {Duration: 12 * time.Hour}, {Policy: "{"}, {PolicyARNs: []string{"arn:aws:iam::123456789012:policy/p"}}} {
		r.Session = "test"
		r.RoleARN = appARN
		_, forbidden := w.AssumeRole(caller, r)
		r.RoleARN = "arn:aws:iam::123456789012:role/ape"
		_, missing := w.AssumeRole(caller, r)
		refused(t, "a forbidden role", forbidden, "AccessDenied", appARN)
		if missing == nil || forbidden == nil || told(missing) != strings.Replace(told(forbidden), "role/app", "role/ape", 1) {
			t.Errorf("missing: %v, forbidden: %v", missing, forbidden)
		}
	}
}

func TestRootAssumesNoRole(t *testing.T) {
	w := world.New("", "")
	must(t, w.PutRole(world.Role{Name: "app", Trust: trusting("*")}))
	root, err := w.CreateAccessKey("")
	must(t, err)
	_, err = w.AssumeRole(root, world.AssumeRole{RoleARN: appARN, Session: "test"})
	refused(t, "root", err, "AccessDenied", "Roles may not be assumed by root accounts.")
}

func TestAnotherAccountNeedsTrustAndItsOwnPolicy(t *testing.T) {
	w := world.New("", "")
	const theirs = "arn:aws:iam::210987654321:role/theirs"
	request := world.AssumeRole{RoleARN: theirs, Session: "test"}
	for _, principal := range []string{"123456789012", callerARN} {
		must(t, w.PutRole(world.Role{Account: "210987654321", Name: "theirs", Trust: trusting(principal)}))
		_, err := w.AssumeRole(keyOf(t, w), request)
		refused(t, "without a policy of the caller", err, "AccessDenied", theirs)
		k, err := w.AssumeRole(keyOf(t, w, allow("sts:AssumeRole", theirs)), request)
		if err != nil || k.Principal.Account != "210987654321" {
			t.Errorf("with one: %+v, %v", k.Principal, err)
		}
	}
	managed, err := w.PutPolicy("ours", policyOf(allow("*", "*")))
	must(t, err)
	request.PolicyARNs = []string{managed}
	_, err = w.AssumeRole(keyOf(t, w, allow("*", "*")), request)
	refused(t, "a session policy of another account", err, "NoSuchEntity", managed)
}

func TestRolesAreChained(t *testing.T) {
	second := world.AssumeRole{RoleARN: "arn:aws:iam::123456789012:role/second", Session: "two"}
	for _, test := range []struct {
		what     string
		trust    string // of the second role
		inline   []string
		boundary []string
		session  string
		may      bool
	}{
		{"named by its role, without a policy", trusting(appARN), nil, nil, "", true},
		{"named by its session, without a policy", trusting("arn:aws:sts::123456789012:assumed-role/app/one"), nil, nil, "", true},
		{"of another session", trusting("arn:aws:sts::123456789012:assumed-role/app/other"), nil, nil, "", false},
		{"of the account, without a policy", trusting(accountRoot), nil, nil, "", false},
		{"of the account, with one", trusting(accountRoot), []string{allow("sts:AssumeRole", "*")}, nil, "", true},
		{"named, and denied", trusting(appARN), []string{deny("sts:AssumeRole", "*")}, nil, "", false},
		{"named, and denied by its session policy", trusting(appARN), nil, nil, policyOf(allow("*", "*"), deny("sts:*", "*")), false},
		{"named, beyond its session policy", trusting(appARN), nil, nil, policyOf(allow("elasticache:Connect", "*")), false},
		{"named, within its session policy", trusting(appARN), nil, nil, policyOf(allow("sts:*", "*")), true},
		{"named, beyond its boundary", trusting(appARN), nil, []string{allow("elasticache:Connect", "*")}, "", false},
		{"named, within its boundary", trusting(appARN), nil, []string{allow("sts:*", "*")}, "", true},
	} {
		w := world.New("", "")
		role := world.Role{Name: "app", Trust: trusting(callerARN), MaxSession: 12 * time.Hour}
		if test.inline != nil {
			role.Inline = map[string]string{"own": policyOf(test.inline...)}
		}
		if test.boundary != nil {
			arn, err := w.PutPolicy("boundary", policyOf(test.boundary...))
			must(t, err)
			role.Boundary = arn
		}
		must(t, w.PutRole(role), w.PutRole(world.Role{Name: "second", Trust: test.trust, MaxSession: 12 * time.Hour}))
		first, err := w.AssumeRole(keyOf(t, w), world.AssumeRole{RoleARN: appARN, Session: "one", Policy: test.session})
		must(t, err)
		if _, err := w.AssumeRole(first, second); (err == nil) != test.may {
			t.Errorf("a session %s: %v, want %v", test.what, err, test.may)
		}
		if !test.may {
			continue
		}
		long := second
		long.Duration = time.Hour + time.Second
		_, err = w.AssumeRole(first, long)
		refused(t, "more than an hour in a chain", err, "ValidationError", "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining")
	}
}

func TestABoundaryDoesNotHoldBackAUserWhomTheTrustNames(t *testing.T) {
	w := world.New("", "")
	boundary, err := w.PutPolicy("boundary", policyOf(allow("elasticache:Connect", "*")))
	must(t, err)
	k := keyOf(t, w)
	must(t, w.PutIAMUser(world.IAMUser{Name: "caller", Boundary: boundary}), w.PutRole(world.Role{Name: "app", Trust: trusting(callerARN)}))
	_, err = w.AssumeRole(k, world.AssumeRole{RoleARN: appARN, Session: "test"})
	must(t, err)
}

func TestDurationsOfSessions(t *testing.T) {
	w := world.New("", "")
	must(t, w.PutRole(world.Role{Name: "app", Trust: trusting(callerARN), MaxSession: 2 * time.Hour}))
	caller := keyOf(t, w)
	for asked, want := range map[time.Duration]time.Duration{0: time.Hour, 15 * time.Minute: 15 * time.Minute, 2 * time.Hour: 2 * time.Hour} {
		before := w.Now()
		k, err := w.AssumeRole(caller, world.AssumeRole{RoleARN: appARN, Session: "test", Duration: asked})
		must(t, err)
		// Whole seconds, rounded down.
		if earliest, latest := before.Add(want-time.Second), w.Now().Add(want); k.Expires.Before(earliest) || k.Expires.After(latest) || k.Expires.Nanosecond() != 0 {
			t.Errorf("asked for %v: expires %v, want from %v to %v", asked, k.Expires, earliest, latest)
		}
		if !strings.HasPrefix(k.ID, "ASIA") || k.SessionToken == "" || k.Secret == "" {
			t.Errorf("temporary credentials do not look like it: %+v", k)
		}
	}
	for asked, message := range map[time.Duration]string{
		time.Second:                  "at least 900",
		-time.Hour:                   "at least 900",
		15*time.Minute - time.Second: "at least 900",
		2*time.Hour + time.Second:    "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
		10 * 365 * 24 * time.Hour:    "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
	} {
		_, err := w.AssumeRole(caller, world.AssumeRole{RoleARN: appARN, Session: "test", Duration: asked})
		refused(t, asked.String(), err, "ValidationError", message)
	}
}

func TestRequestsThatBreakALimitAreRefused(t *testing.T) {
	w := world.New("", "")
	must(t, w.PutRole(world.Role{Name: "app", Trust: trusting(callerARN)}))
	caller := keyOf(t, w)
	for _, test := range []struct {
		what          string
		request       world.AssumeRole
		code, message string
	}{
		{"no session name", world.AssumeRole{RoleARN: appARN}, "ValidationError", "RoleSessionName"},
		{"a session name of one letter", world.AssumeRole{RoleARN: appARN, Session: "a"}, "ValidationError", "RoleSessionName"},
		{"a session name of 65", world.AssumeRole{RoleARN: appARN, Session: strings.Repeat("a", 65)}, "ValidationError", "RoleSessionName"},
		{"a session name with a slash", world.AssumeRole{RoleARN: appARN, Session: "a/b"}, "ValidationError", "RoleSessionName"},
		{"a session name with a line break", world.AssumeRole{RoleARN: appARN, Session: "ab\n"}, "ValidationError", "RoleSessionName"},
		{"no role", world.AssumeRole{Session: "test"}, "ValidationError", "RoleArn"},
		{"a role's name", world.AssumeRole{RoleARN: "a-role-by-its-name-alone", Session: "test"}, "ValidationError", "RoleArn"},
		{"a very long role", world.AssumeRole{RoleARN: appARN + strings.Repeat("a", 2048), Session: "test"}, "ValidationError", "RoleArn"},
		{"a malformed session policy", world.AssumeRole{RoleARN: appARN, Session: "test", Policy: "{"}, "MalformedPolicyDocument", "invalid Json"},
		{"a session policy with a principal", world.AssumeRole{RoleARN: appARN, Session: "test", Policy: trusting("*")}, "MalformedPolicyDocument", "principal"},
		{"a long session policy", world.AssumeRole{RoleARN: appARN, Session: "test", Policy: policyOf(allow("*", "*")) + strings.Repeat(" ", 2048)}, "ValidationError", "2048"},
		{"eleven session policies", world.AssumeRole{RoleARN: appARN, Session: "test", PolicyARNs: make([]string, 11)}, "ValidationError", "at most 10"},
		{"a missing session policy", world.AssumeRole{RoleARN: appARN, Session: "test", PolicyARNs: []string{"arn:aws:iam::123456789012:policy/missing"}}, "NoSuchEntity", "policy/missing"},
	} {
		k, err := w.AssumeRole(caller, test.request)
		refused(t, test.what, err, test.code, test.message)
		if k.ID != "" {
			t.Errorf("%s: a key all the same", test.what)
		}
	}
	if _, err := w.AssumeRole(caller, world.AssumeRole{RoleARN: appARN, Session: "_+=,.@-1"}); err != nil {
		t.Errorf("a session name of every kind of character: %v", err)
	}
}

func TestExpiredKeysAreRememberedForADay(t *testing.T) {
	w := world.New("", "")
	must(t, w.PutRole(world.Role{Name: "app"}))
	_, err := w.IssueSession("nobody", "test")
	refused(t, "a session of no role", err, "NoSuchEntity", "The role with name nobody cannot be found.")
	long := keyOf(t, w)
	old, err := w.IssueSession("app", "old")
	must(t, err)
	w.Advance(23 * time.Hour)
	recent, err := w.IssueSession("app", "recent")
	must(t, err)
	if k, ok := w.Key(old.ID); !ok || k.Expires.After(w.Now()) {
		t.Errorf("expired 22 hours ago: %+v, %v", k, ok)
	}
	w.Advance(3 * time.Hour)
	fresh, err := w.IssueSession("app", "fresh") // sweeps
	must(t, err)
	if _, ok := w.Key(old.ID); ok {
		t.Error("a key that expired 25 hours ago is still there")
	}
	for _, id := range []string{long.ID, recent.ID, fresh.ID} {
		if _, ok := w.Key(id); !ok {
			t.Errorf("the sweep took the key %s", id)
		}
	}
}
