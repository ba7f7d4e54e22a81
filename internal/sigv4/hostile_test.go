package sigv4_test

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rediam/rediam/internal/sigv4"
)

// A scene is where tokens are tried: a verifier's cache and clock, and the
// accounts' access keys.
type scene struct {
	now                                     time.Time
	region, service, cache, forServerless   string // the names of two caches, the second serverless
	user                                    string
	long, inactive, temporary, ended, other accessKey // other: another temporary one
}

type accessKey struct{ id, secret, session string }

// laboratory is the scene without an emulator.
func laboratory() scene {
	return scene{
		now: at(c), region: "us-east-1", service: "elasticache", cache: "demo-cache-01", forServerless: "demo-serverless", user: "iam-user-01",
		long:      accessKey{"AKIDEXAMPLE", exampleSecret, ""},
		inactive:  accessKey{"AKIDINACTIVE", exampleSecret, ""},
		temporary: accessKey{"ASIAEXAMPLE", exampleSecret, exampleSession},
		ended:     accessKey{"ASIAENDED", "ended/secret", "FwoGended//=="},
		other:     accessKey{"ASIAOTHER", "other/secret", "FwoGother++=="},
	}
}

func laboratoryKeys(id string) (sigv4.Key, bool) {
	switch id {
	case "ASIAENDED":
		return sigv4.Key{Secret: "ended/secret", SessionToken: "FwoGended//==", Expires: at(c)}, true
	case "ASIAOTHER":
		return sigv4.Key{Secret: "other/secret", SessionToken: "FwoGother++==", Expires: at(c).Add(time.Hour)}, true
	}
	return keys(id)
}

// recipe is that of a good token for one of the two caches.
func (s scene) recipe(serverless bool) *recipe {
	r := &recipe{method: "GET", path: "/", host: s.cache, signedHeaders: "host", payload: emptyHash, region: s.region, service: s.service, terminator: "aws4_request", escape: escaped, printed: map[string]string{},
		values: map[string]string{"Action": "connect", "User": s.user, "X-Amz-Algorithm": "AWS4-HMAC-SHA256", "X-Amz-Expires": "900", "X-Amz-SignedHeaders": "host"}}
	if serverless {
		r.host, r.values["ResourceType"] = s.forServerless, "ServerlessCache"
	}
	r.signWith(s.long)
	r.signAt(s.now)
	return r
}

func (r *recipe) signWith(k accessKey) {
	r.id, r.secret = k.id, k.secret
	if k.session != "" {
		r.values["X-Amz-Security-Token"] = k.session
	}
}

func (r *recipe) signAt(t time.Time) {
	r.values["X-Amz-Date"] = t.UTC().Format("20060102T150405Z")
	r.scopeDate = r.values["X-Amz-Date"][:8]
}

// A breakage makes one thing about a good token wrong. What sign changes is
// signed as it should be, so that no other check can find it; print changes the
// token after it was signed.
type breakage struct {
	name   string
	reason sigv4.Reason
	// touches are the parts of the token that change. Two breakages of one part
	// cannot be combined; nothing combines with "*", which leaves nothing whole.
	touches    string
	sign       func(*recipe, scene)
	print      func(string) string
	serverless bool // for the serverless cache
}

// token is a good token with the breakages, in order.
func (s scene) token(t testing.TB, broken ...breakage) (token string, serverless bool) {
	t.Helper()
	for _, b := range broken {
		serverless = serverless || b.serverless
	}
	r := s.recipe(serverless)
	good := s.recipe(serverless).token()
	for _, b := range broken {
		if b.sign != nil {
			b.sign(r, s)
		}
	}
	token = r.token()
	for _, b := range broken {
		if b.print == nil {
			continue
		}
		if changed := b.print(token); changed != token {
			token = changed
			continue
		}
		t.Fatalf("%s changes nothing of %s", b.name, token)
	}
	if token == good {
		t.Fatalf("%s changes nothing", broken[0].name)
	}
	return token, serverless
}

func (s scene) target(serverless bool) sigv4.Target {
	if serverless {
		return sigv4.Target{Service: s.service, Region: s.region, Cache: s.forServerless, Serverless: true}
	}
	return sigv4.Target{Service: s.service, Region: s.region, Cache: s.cache}
}

// checkOrder are the reasons as the documentation of the checks has them: a
// token with two flaws is refused for that of the earlier group. The groups of
// several reasons are those where the token's own order decides, or where only
// one of the reasons can apply.
var checkOrder = [][]sigv4.Reason{
	{sigv4.TooLong}, {sigv4.NotPrintable}, {sigv4.SchemeLeftOn}, {sigv4.NotAToken},
	{sigv4.BadEncoding, sigv4.DuplicateParameter, sigv4.UnknownParameter}, {sigv4.MissingParameter},
	{sigv4.WrongAlgorithm}, {sigv4.WrongAction}, {sigv4.WrongSignedHeaders},
	{sigv4.WrongCache}, {sigv4.WrongUser}, {sigv4.ResourceTypeNeeded, sigv4.ResourceTypeExtra},
	{sigv4.BadCredential}, {sigv4.WrongService}, {sigv4.WrongRegion}, {sigv4.WrongScopeDate},
	{sigv4.BadDate}, {sigv4.BadExpires}, {sigv4.NotYetValid}, {sigv4.Expired},
	{sigv4.UnknownKey}, {sigv4.InactiveKey}, {sigv4.SessionTokenNeeded, sigv4.SessionTokenExtra}, {sigv4.WrongSessionToken}, {sigv4.CredentialsExpired},
	{sigv4.BadSignature}, {sigv4.UnsignedPayload, sigv4.CapitalsSigned, sigv4.CapitalsPrinted, sigv4.WrongSignature},
}

func rank(t *testing.T, r sigv4.Reason) int {
	for i, group := range checkOrder {
		if slices.Contains(group, r) {
			return i
		}
	}
	t.Fatalf("no check has the reason %q", r)
	return 0
}

// breakages are all of them, check by check.
func breakages() []breakage {
	var all []breakage
	for _, of := range []func() []breakage{brokenForms, brokenParameters, brokenClaims, brokenScopes, brokenTimes, brokenKeys, brokenSignatures, forgedRequests} {
		group := of()
		slices.SortFunc(group, func(a, b breakage) int { return strings.Compare(a.name, b.name) }) // some come from maps
		all = append(all, group...)
	}
	return all
}

// published are the weaknesses of other verifiers that must be among the cases.
var published = []string{
	// aws-iam-authenticator, CVE-2022-2385: duplicates in another case, which one is read depends on chance.
	"CVE-2022-2385: another access key, its name in another case, first", "CVE-2022-2385: another access key, its name in another case, last", "CVE-2022-2385: another session token in another case",
	// HashiCorp Vault, CVE-2020-16250 and CVE-2020-16251: the caller chooses host, headers and action.
	"CVE-2020-16250: another host", "CVE-2020-16250: another host signed, ours printed", "CVE-2020-16250: a header that overrides the host", "CVE-2020-16251: another action, GetCallerIdentity", "CVE-2020-16251: the method POST with a body",
	// MinIO, CVE-2025-31489, CVE-2026-40344 and CVE-2026-41145: a payload that is not under the signature, credentials where nobody looks.
	"CVE-2025-31489: STREAMING-UNSIGNED-PAYLOAD-TRAILER", "CVE-2026-41145: credentials of the query for another protocol",
	// floci.
	"floci: an unknown key whose secret is its id", "floci: a known key whose secret is its id", "floci: another region", "floci: another service", "floci: another algorithm", "floci: no algorithm",
	"floci: expiry of a week", "floci: signed in six minutes", "floci: scope of yesterday", "floci: no session token", "floci: another session's token", "floci: no user",
	"floci: more signed headers, all of them signed", "floci: the first of two users is the victim", "floci: the last of two users is the victim",
}

func TestRefusesEveryPublishedWeaknessAndAHundredMore(t *testing.T) {
	s := laboratory()
	seen := map[string]bool{}
	reasons := map[sigv4.Reason]bool{}
	for _, b := range breakages() {
		if seen[b.name] {
			t.Errorf("%s stands twice", b.name)
		}
		seen[b.name], reasons[b.reason] = true, true
		t.Run(b.name, func(t *testing.T) {
			token, serverless := s.token(t, b)
			wantsRefusal(t, s, token, serverless, b.reason)
		})
	}
	for _, name := range published {
		if !seen[name] {
			t.Errorf("no case is named %q", name)
		}
	}
	for _, group := range checkOrder {
		for _, r := range group {
			if !reasons[r] {
				t.Errorf("no case breaks the check for %s", r)
			}
		}
	}
	if len(seen) < 100 {
		t.Errorf("%d cases", len(seen))
	}
}

func wantsRefusal(t *testing.T, s scene, token string, serverless bool, want sigv4.Reason) {
	t.Helper()
	if got, ok := refused(s, token, serverless, want); !ok {
		t.Errorf("%s\n%.600s", got, token)
	}
}

// refused is whether the token is refused for one of the reasons, and what
// happened instead.
func refused(s scene, token string, serverless bool, want ...sigv4.Reason) (got string, ok bool) {
	_, err := s.target(serverless).Verify(token, s.user, laboratoryKeys, s.now)
	var refusal *sigv4.Refusal
	ok = errors.As(err, &refusal) && slices.Contains(want, refusal.Reason)
	return fmt.Sprintf("Verify() = %v, want %s", err, want), ok
}

// Without this, every refusal above could be the generator's fault.
func TestTheGeneratorsTokensAreGoodUntilBroken(t *testing.T) {
	s := laboratory()
	for _, serverless := range []bool{false, true} {
		for _, k := range []accessKey{s.long, s.temporary, s.other} {
			r := s.recipe(serverless)
			r.signWith(k)
			token := r.token()
			if _, err := s.target(serverless).Verify(token, s.user, laboratoryKeys, s.now); err != nil {
				t.Errorf("%v: %s", err, token)
			}
			if !admissible(s.target(serverless), token, s.user, laboratoryKeys, s.now) {
				t.Errorf("the second verifier refuses %s", token)
			}
		}
	}
	if got := s.recipe(false).token(); got != demoToken(demoSignature) {
		t.Errorf("the known answer is %s, made %s", demoToken(demoSignature), got)
	}
}

// A key without a secret would be everybody's.
func TestRefusesAKeyWithoutASecret(t *testing.T) {
	s := laboratory()
	r := s.recipe(false)
	r.secret = ""
	_, err := s.target(false).Verify(r.token(), s.user, func(string) (sigv4.Key, bool) { return sigv4.Key{}, true }, s.now)
	var refusal *sigv4.Refusal
	if !errors.As(err, &refusal) || refusal.Reason != sigv4.UnknownKey {
		t.Errorf("Verify() = %v", err)
	}
}

// Of two flaws the one whose check comes first is named. Each pair of reasons is
// tried at least once if two breakages can have them in one token, and every
// twelfth pair of breakages besides.
func TestOfTwoFlawsTheEarlierCheckNamesTheReason(t *testing.T) {
	s := laboratory()
	all := breakages()
	pairs, tried := 0, map[[2]sigv4.Reason]bool{}
	for i, a := range all {
		for j, b := range all[i+1:] {
			reasons := [2]sigv4.Reason{min(a.reason, b.reason), max(a.reason, b.reason)}
			if !combine(a, b) || tried[reasons] && (i+j)%12 != 0 {
				continue
			}
			pairs++
			tried[reasons] = true
			token, serverless := s.token(t, a, b)
			if got, ok := refused(s, token, serverless, earlier(t, a.reason, b.reason)...); !ok {
				t.Errorf("%q and %q: %s", a.name, b.name, got)
			}
		}
	}
	reasons := slices.Concat(checkOrder...)
	for i, a := range reasons {
		for _, b := range reasons[i+1:] {
			if !tried[[2]sigv4.Reason{min(a, b), max(a, b)}] && apart(t, a, b) == "" {
				t.Errorf("%s and %s are never tried together", a, b)
			}
		}
	}
	t.Logf("%d pairs of breakages, %d pairs of reasons", pairs, len(tried))
}

// apart tells why two reasons are not tried together, if they need not be.
func apart(t *testing.T, a, b sigv4.Reason) string {
	between := func(first, last sigv4.Reason) bool {
		return rank(t, first) <= rank(t, a) && rank(t, b) <= rank(t, last)
	}
	lifetime := a == sigv4.BadExpires || b == sigv4.BadExpires
	capitals := b == sigv4.CapitalsSigned || b == sigv4.CapitalsPrinted
	switch {
	case a == sigv4.WrongCache && capitals, a == sigv4.CapitalsSigned && capitals:
		return "a name is another name, or this one in another case, in one way"
	case a == sigv4.ResourceTypeNeeded && b == sigv4.ResourceTypeExtra:
		return "the parameter is there or it is not"
	case !lifetime && a == sigv4.WrongScopeDate && between(sigv4.WrongScopeDate, sigv4.Expired):
		return "both change the date: the cases that end in 'another scope date' have both"
	case !lifetime && between(sigv4.BadDate, sigv4.Expired):
		return "a date is unreadable, too late or too early"
	case a == sigv4.UnknownKey && between(sigv4.UnknownKey, sigv4.CredentialsExpired):
		return "nothing more is known about an unknown key"
	case between(sigv4.InactiveKey, sigv4.CredentialsExpired):
		return "a key has one state: the cases of inactive and ended keys with other flaws are single ones"
	}
	return ""
}

// combine is whether two breakages leave each other standing: they must not
// change the same part, and none may take the token apart as a whole.
func combine(a, b breakage) bool {
	if a.touches == "*" || b.touches == "*" {
		return false
	}
	for _, part := range strings.Fields(a.touches) {
		if slices.Contains(strings.Fields(b.touches), part) {
			return false
		}
	}
	return true
}

func earlier(t *testing.T, a, b sigv4.Reason) []sigv4.Reason {
	switch x, y := rank(t, a), rank(t, b); {
	case x < y:
		return []sigv4.Reason{a}
	case y < x:
		return []sigv4.Reason{b}
	case a == b:
		return []sigv4.Reason{a}
	case a == sigv4.CapitalsPrinted: // the signature is right, or that of the other flaw
		return []sigv4.Reason{b}
	case b == sigv4.CapitalsPrinted:
		return []sigv4.Reason{a}
	case x == len(checkOrder)-1: // two different flaws make a signature that nobody guesses
		return []sigv4.Reason{sigv4.WrongSignature}
	}
	return []sigv4.Reason{a, b}
}

// Encoding, duplicates and unknown names are looked at parameter by parameter.
func TestTheFirstBadParameterNamesTheReason(t *testing.T) {
	s := laboratory()
	good := s.recipe(false).token()
	flaws := map[string]sigv4.Reason{"User=%2": sigv4.BadEncoding, "User=iam-user-01": sigv4.DuplicateParameter, "Host=x": sigv4.UnknownParameter}
	for first, want := range flaws {
		for second := range flaws {
			if first != second {
				wantsRefusal(t, s, good+"&"+first+"&"+second, false, want)
			}
		}
	}
}

var signatureParameter = regexp.MustCompile(`X-Amz-Signature=[0-9a-f]{64}`)

// resigned replaces the signature.
func resigned(change func(string) string) func(string) string {
	return func(token string) string {
		return signatureParameter.ReplaceAllStringFunc(token, func(p string) string {
			name, value, _ := strings.Cut(p, "=")
			return name + "=" + change(value)
		})
	}
}

func appended(s string) func(string) string  { return func(token string) string { return token + s } }
func prepended(s string) func(string) string { return func(token string) string { return s + token } }

func replaced(old, new string) func(string) string {
	return func(token string) string { return strings.Replace(token, old, new, 1) }
}

// set gives a parameter another value, and signs it.
func set(name, value string) func(*recipe, scene) {
	return func(r *recipe, _ scene) { r.values[name] = value }
}

func unset(name string) func(*recipe, scene) {
	return func(r *recipe, _ scene) { delete(r.values, name) }
}

// also signs a parameter besides.
func also(name, value string) func(*recipe, scene) {
	return func(r *recipe, _ scene) { r.more = append(r.more, [2]string{name, value}) }
}
