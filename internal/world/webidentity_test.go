package world_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/rediam/rediam/internal/world"
)

const issuerURL = "https://issuer.example.com/id/A"

// An issuer is a world that trusts one, and the keys of it.
type issuer struct {
	*world.World
	rsa   *rsa.PrivateKey
	ec    *ecdsa.PrivateKey
	other *rsa.PrivateKey // not in its key set
}

func newIssuer(t testing.TB) issuer {
	t.Helper()
	i := issuer{World: world.New("", "")}
	var errs [3]error
	i.rsa, errs[0] = rsa.GenerateKey(rand.Reader, 2048)
	i.other, errs[1] = rsa.GenerateKey(rand.Reader, 2048)
	i.ec, errs[2] = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	keys, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
		{Key: i.rsa.Public(), KeyID: "rsa", Use: "sig"}, {Key: i.ec.Public(), KeyID: "ec"},
		{Key: i.other.Public(), KeyID: "for-encryption", Use: "enc"}}})
	must(t, append(errs[:], err, i.PutIssuer(issuerURL, keys),
		i.PutOIDCProvider(world.OIDCProvider{URL: issuerURL, ClientIDs: []string{"sts.amazonaws.com", "cli"}}),
		i.PutRole(world.Role{Name: "app", MaxSession: 2 * time.Hour, Trust: vouching(i.OIDCProviderARN(issuerURL), `"StringEquals":{"issuer.example.com/id/A:sub":"me"}`, "sts:AssumeRoleWithWebIdentity")}))...)
	return i
}

// vouching is the trust policy of a role for those whom a provider vouches for.
func vouching(provider, condition string, actions ...string) string {
	b, _ := json.Marshal(actions)
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":"` + provider + `"},"Action":` + string(b) + `,"Condition":{` + condition + `}}]}`
}

// claims are those of a good token, with changes; nil takes one away.
func (i issuer) claims(changes map[string]any) map[string]any {
	now := i.Now().Unix()
	claims := map[string]any{"iss": issuerURL, "sub": "me", "aud": "sts.amazonaws.com", "iat": now, "exp": now + 3600}
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	return claims
}

func encode(v any) string {
	b, ok := v.([]byte)
	if s, isText := v.(string); isText {
		b, ok = []byte(s), true
	}
	if !ok {
		b, _ = json.Marshal(v)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// sign makes a token by hand, so that it can be wrong in any way. Header and claims are
// maps, or JSON text.
func (i issuer) sign(header, claims any, key any) string {
	input := encode(header) + "." + encode(claims)
	sum := sha256.Sum256([]byte(input))
	var signature []byte
	switch key := key.(type) {
	case *rsa.PrivateKey:
		signature, _ = rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	case *ecdsa.PrivateKey:
		r, s, _ := ecdsa.Sign(rand.Reader, key, sum[:])
		signature = append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	case []byte:
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(input))
		signature = mac.Sum(nil)
	}
	return input + "." + encode(signature)
}

func (i issuer) good(changes map[string]any) string {
	return i.sign(`{"alg":"RS256","kid":"rsa"}`, i.claims(changes), i.rsa)
}

func (i issuer) assume(token string) (world.Key, world.Federated, error) {
	return i.AssumeRoleWithWebIdentity(world.AssumeRole{RoleARN: i.RoleARN("app"), Session: "pod"}, token)
}

func TestGoodWebIdentityTokensAreTaken(t *testing.T) {
	i := newIssuer(t)
	// A token may say where its keys are. Nobody may look.
	asked := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a URL in a token was fetched") }))
	defer asked.Close()
	for what, token := range map[string]string{
		"RSA":                     i.good(nil),
		"an elliptic curve":       i.sign(`{"alg":"ES256","kid":"ec","typ":"JWT"}`, i.claims(nil), i.ec),
		"a newline at its end":    i.good(nil) + "\n",
		"a newline of Windows":    i.good(nil) + "\r\n",
		"another client":          i.good(map[string]any{"aud": "cli"}),
		"several audiences":       i.good(map[string]any{"aud": []string{"vault", "cli"}}),
		"an authorized party":     i.good(map[string]any{"aud": "vault", "azp": "cli"}),
		"a clock that is ahead":   i.good(map[string]any{"iat": i.Now().Unix() + 200, "nbf": i.Now().Unix() + 200}),
		"fractions of a second":   i.sign(`{"alg":"RS256","kid":"rsa"}`, `{"iss":"`+issuerURL+`","sub":"me","aud":"cli","iat":1e9,"exp":99999999999.5}`, i.rsa),
		"addresses in its header": i.sign(map[string]any{"alg": "RS256", "kid": "rsa", "jku": asked.URL, "x5u": asked.URL}, i.claims(nil), i.rsa),
		"claims of no interest":   i.good(map[string]any{"kubernetes.io": map[string]any{"namespace": "shop"}, "Sub": "you", "email": "me@example.com"}),
	} {
		key, of, err := i.assume(token)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		if of.Subject != "me" || of.Provider != i.OIDCProviderARN(issuerURL) || of.Audience != "cli" && of.Audience != "sts.amazonaws.com" || i.PrincipalARN(key.Principal) != "arn:aws:sts::123456789012:assumed-role/app/pod" {
			t.Errorf("%s: %+v, %v", what, of, key)
		}
	}
}

func TestHostileWebIdentityTokensAreRefused(t *testing.T) {
	i := newIssuer(t)
	now := i.Now().Unix()
	public, err := x509.MarshalPKIXPublicKey(i.rsa.Public())
	must(t, err)
	asPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	embedded, err := json.Marshal(jose.JSONWebKey{Key: i.other.Public(), KeyID: "rsa"})
	must(t, err)
	const malformed, noKey, wrongSignature = "The ID Token provided is not a valid JWT.", "Couldn't retrieve verification key", "Token signature invalid"
	header := `{"alg":"RS256","kid":"rsa"}`
	good := i.good(nil)
	parts := strings.Split(good, ".")
	for what, test := range map[string]struct{ token, code, message string }{
		"alg none":                        {i.sign(`{"alg":"none","kid":"rsa"}`, i.claims(nil), nil), "InvalidIdentityToken", malformed},
		"alg None":                        {i.sign(`{"alg":"None","kid":"rsa"}`, i.claims(nil), nil), "InvalidIdentityToken", malformed},
		"no alg":                          {i.sign(`{"kid":"rsa"}`, i.claims(nil), i.rsa), "InvalidIdentityToken", malformed},
		"no signature":                    {parts[0] + "." + parts[1] + ".", "InvalidIdentityToken", wrongSignature},
		"HS256 with the public key":       {i.sign(`{"alg":"HS256","kid":"rsa"}`, i.claims(nil), asPEM), "InvalidIdentityToken", malformed},
		"HS256 with the DER":              {i.sign(`{"alg":"HS256","kid":"rsa"}`, i.claims(nil), public), "InvalidIdentityToken", malformed},
		"PS256":                           {i.sign(`{"alg":"PS256","kid":"rsa"}`, i.claims(nil), i.rsa), "InvalidIdentityToken", malformed},
		"an RSA key as EC":                {i.sign(`{"alg":"ES256","kid":"rsa"}`, i.claims(nil), i.ec), "InvalidIdentityToken", wrongSignature},
		"another key":                     {i.sign(header, i.claims(nil), i.other), "InvalidIdentityToken", wrongSignature},
		"an unknown kid":                  {i.sign(`{"alg":"RS256","kid":"new"}`, i.claims(nil), i.rsa), "InvalidIdentityToken", noKey},
		"no kid":                          {i.sign(`{"alg":"RS256"}`, i.claims(nil), i.rsa), "InvalidIdentityToken", noKey},
		"a key for encryption":            {i.sign(`{"alg":"RS256","kid":"for-encryption"}`, i.claims(nil), i.other), "InvalidIdentityToken", noKey},
		"a key in its header":             {i.sign(`{"alg":"RS256","kid":"rsa","jwk":`+string(embedded)+`}`, i.claims(nil), i.other), "InvalidIdentityToken", wrongSignature},
		"a path for a kid":                {i.sign(`{"alg":"RS256","kid":"../../dev/null"}`, i.claims(nil), i.other), "InvalidIdentityToken", noKey},
		"crit":                            {i.sign(`{"alg":"RS256","kid":"rsa","crit":["exp"],"exp":1}`, i.claims(nil), i.rsa), "InvalidIdentityToken", malformed},
		"b64":                             {i.sign(`{"alg":"RS256","kid":"rsa","crit":["b64"],"b64":false}`, i.claims(nil), i.rsa), "InvalidIdentityToken", malformed},
		"a duplicate alg":                 {i.sign(`{"alg":"RS256","kid":"rsa","alg":"none"}`, i.claims(nil), i.rsa), "InvalidIdentityToken", malformed},
		"a duplicate claim":               {i.sign(header, `{"iss":"`+issuerURL+`","sub":"you","sub":"me","aud":"cli","iat":1,"exp":99999999999}`, i.rsa), "InvalidIdentityToken", malformed},
		"a claim in other case":           {i.good(map[string]any{"sub": nil, "Sub": "me"}), "InvalidIdentityToken", "Missing a required claim: sub"},
		"a changed claim":                 {parts[0] + "." + encode(i.claims(map[string]any{"sub": "you"})) + "." + parts[2], "InvalidIdentityToken", wrongSignature},
		"a byte too many":                 {good + "A", "InvalidIdentityToken", ""},
		"four parts":                      {good + ".AAAA", "InvalidIdentityToken", malformed},
		"JSON serialization":              {`{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`, "InvalidIdentityToken", malformed},
		"an access token":                 {"ya29.not-a-jwt", "InvalidIdentityToken", malformed},
		"nothing":                         {"", "ValidationError", "webIdentityToken"},
		"a megabyte":                      {strings.Repeat("A", 1<<20), "ValidationError", "webIdentityToken"},
		"20,001 characters":               {i.good(map[string]any{"pad": strings.Repeat("A", 20_000)}), "ValidationError", "webIdentityToken"},
		"deep JSON":                       {i.sign(header, `{"iss":`+strings.Repeat("[", 10_000), i.rsa), "InvalidIdentityToken", malformed},
		"an issuer nobody trusts":         {i.good(map[string]any{"iss": "https://other.example.com"}), "InvalidIdentityToken", "No OpenIDConnect provider found in your account for https://other.example.com"},
		"an issuer with this prefix":      {i.good(map[string]any{"iss": issuerURL + "B"}), "InvalidIdentityToken", "No OpenIDConnect provider"},
		"an issuer that is a prefix":      {i.good(map[string]any{"iss": "https://issuer.example.com"}), "InvalidIdentityToken", "No OpenIDConnect provider"},
		"a slash behind the issuer":       {i.good(map[string]any{"iss": issuerURL + "/"}), "InvalidIdentityToken", "No OpenIDConnect provider"},
		"an issuer without https":         {i.good(map[string]any{"iss": "issuer.example.com/id/A"}), "InvalidIdentityToken", "No OpenIDConnect provider"},
		"no issuer":                       {i.good(map[string]any{"iss": nil}), "InvalidIdentityToken", "Missing a required claim: iss"},
		"no audience":                     {i.good(map[string]any{"aud": nil}), "InvalidIdentityToken", "Missing a required claim: aud"},
		"no expiry":                       {i.good(map[string]any{"exp": nil}), "InvalidIdentityToken", "Missing a required claim: exp"},
		"no time of issue":                {i.good(map[string]any{"iat": nil}), "InvalidIdentityToken", "Missing a required claim: iat"},
		"an expiry that is text":          {i.good(map[string]any{"exp": "tomorrow"}), "InvalidIdentityToken", malformed},
		"an expiry beyond all time":       {i.sign(header, `{"iss":"`+issuerURL+`","sub":"me","aud":"cli","iat":1,"exp":1e300}`, i.rsa), "InvalidIdentityToken", malformed},
		"expired":                         {i.good(map[string]any{"exp": now}), "ExpiredTokenException", "Token expired: current date/time"},
		"not yet valid":                   {i.good(map[string]any{"nbf": now + 600}), "InvalidIdentityToken", "not yet valid"},
		"issued in the future":            {i.good(map[string]any{"iat": now + 600}), "InvalidIdentityToken", "not yet valid"},
		"another audience":                {i.good(map[string]any{"aud": "sts.amazon.com"}), "InvalidIdentityToken", "Incorrect token audience"},
		"another authorized party":        {i.good(map[string]any{"azp": "vault"}), "InvalidIdentityToken", "Incorrect token audience"},
		"a source identity":               {i.good(map[string]any{"https://aws.amazon.com/source_identity": "me"}), "InvalidIdentityToken", "source identities"},
		"another subject":                 {i.good(map[string]any{"sub": "you"}), "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity"},
		"a subject with a NUL":            {i.good(map[string]any{"sub": "me\x00"}), "AccessDenied", "Not authorized"},
		"session tags nobody may give":    {i.good(map[string]any{"https://aws.amazon.com/tags": map[string]any{"principal_tags": map[string]any{"a": []string{"b"}}}}), "AccessDenied", "Not authorized to perform sts:TagSession"},
		"a session tag of AWS's own":      {i.good(map[string]any{"https://aws.amazon.com/tags": map[string]any{"principal_tags": map[string]any{"aws:a": []string{"b"}}}}), "InvalidIdentityToken", "aws:"},
		"a session tag that stands twice": {i.good(map[string]any{"https://aws.amazon.com/tags": map[string]any{"principal_tags": map[string]any{"a": []string{"b"}, "A": []string{"c"}}}}), "InvalidIdentityToken", "case insensitive"},
		"a session tag of two values":     {i.good(map[string]any{"https://aws.amazon.com/tags": map[string]any{"principal_tags": map[string]any{"a": []string{"b", "c"}}}}), "InvalidIdentityToken", "one value"},
	} {
		key, _, err := i.assume(test.token)
		refused(t, what, err, test.code, test.message)
		if key.ID != "" || err != nil && len(test.token) > 20 && strings.Contains(err.Error(), test.token) {
			t.Errorf("%s: key %v, error %v", what, key, err)
		}
	}
}

// What is asked of the role is checked too, and has AWS's errors.
func TestAWebIdentityAsksForARoleAsOthersDo(t *testing.T) {
	i := newIssuer(t)
	arn, err := i.PutPolicy("read", policyOf(allow("elasticache:Describe*", "*")))
	must(t, err, i.PutRole(world.Role{Name: "theirs", Trust: vouching("arn:aws:iam::123456789012:oidc-provider/other.example.com", "", "sts:AssumeRoleWithWebIdentity")}),
		i.PutRole(world.Role{Name: "other-action", Trust: vouching(i.OIDCProviderARN(issuerURL), "", "sts:AssumeRole", "sts:AssumeRoleWithSAML")}),
		i.PutRole(world.Role{Account: "210987654321", Name: "app", Trust: vouching(i.OIDCProviderARN(issuerURL), "", "sts:AssumeRoleWithWebIdentity")}))
	for what, test := range map[string]struct {
		change        func(*world.AssumeRole)
		code, message string
	}{
		"no role":                      {func(r *world.AssumeRole) { r.RoleARN = i.RoleARN("nobody") }, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity"},
		"a role for another provider":  {func(r *world.AssumeRole) { r.RoleARN = i.RoleARN("theirs") }, "AccessDenied", "Not authorized"},
		"a role for other operations":  {func(r *world.AssumeRole) { r.RoleARN = i.RoleARN("other-action") }, "AccessDenied", "Not authorized"},
		"a role of another account":    {func(r *world.AssumeRole) { r.RoleARN = "arn:aws:iam::210987654321:role/app" }, "AccessDenied", "Not authorized"},
		"a bad session name":           {func(r *world.AssumeRole) { r.Session = "a b" }, "ValidationError", "RoleSessionName"},
		"too long a time for the role": {func(r *world.AssumeRole) { r.Duration = 3 * time.Hour }, "ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."},
		"too short a time":             {func(r *world.AssumeRole) { r.Duration = time.Minute }, "ValidationError", "DurationSeconds"},
		"a bad session policy":         {func(r *world.AssumeRole) { r.Policy = "{" }, "MalformedPolicyDocument", ""},
		"a missing session policy":     {func(r *world.AssumeRole) { r.PolicyARNs = []string{arn + "x"} }, "NoSuchEntity", ""},
	} {
		r := world.AssumeRole{RoleARN: i.RoleARN("app"), Session: "pod"}
		test.change(&r)
		_, _, err := i.AssumeRoleWithWebIdentity(r, i.good(nil))
		refused(t, what, err, test.code, test.message)
	}
	key, _, err := i.AssumeRoleWithWebIdentity(world.AssumeRole{RoleARN: i.RoleARN("app"), Session: "pod", Duration: 2 * time.Hour, PolicyARNs: []string{arn}}, i.good(nil))
	must(t, err)
	if left := key.Expires.Sub(i.Now()); left < 2*time.Hour-time.Minute || left > 2*time.Hour || len(key.Session) != 1 {
		t.Errorf("the session lasts %v and has %d policies", left, len(key.Session))
	}
}

// The session has the tags of the token, before those of its role, and says who vouched
// for it; also after a restart.
func TestAFederatedSessionSaysWhereItComesFrom(t *testing.T) {
	i := newIssuer(t)
	records := saved(i.World)
	provider := i.OIDCProviderARN(issuerURL)
	must(t, i.PutRole(world.Role{Name: "app", Tags: map[string]string{"team": "role", "env": "test"},
		Inline: map[string]string{"if": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:*","Resource":"*","Condition":{
			"StringEquals":{"aws:FederatedProvider":"` + provider + `","aws:PrincipalTag/team":"shop","aws:PrincipalTag/env":"test"},"Null":{"aws:TokenIssueTime":"false"}}}]}`},
		Trust: vouching(provider, `"StringEquals":{"aws:RequestTag/Team":"shop","sts:RoleSessionName":"pod","issuer.example.com/id/A:amr":"mfa","issuer.example.com/id/A:aud":"cli","issuer.example.com/id/A:oaud":"vault"},"IpAddress":{"aws:SourceIp":"127.0.0.1"}`, "sts:AssumeRoleWithWebIdentity", "sts:TagSession")}))
	claims := map[string]any{"aud": "vault", "azp": "cli", "amr": []string{"pwd", "mfa"}, "https://aws.amazon.com/tags": map[string]any{"principal_tags": map[string]any{"Team": []string{"shop"}}, "transitive_tag_keys": []string{"Team"}}}
	key, _, err := i.AssumeRoleWithWebIdentity(world.AssumeRole{RoleARN: i.RoleARN("app"), Session: "pod", Source: "127.0.0.1"}, i.good(claims))
	must(t, err)
	if err := i.AuthorizeCall(key, "sts:GetAccessKeyInfo", "*", "127.0.0.1"); err != nil {
		t.Error(err)
	}
	again := world.New("", "")
	must(t, again.Load(records))
	is, _ := again.Key(key.ID)
	if err := again.AuthorizeCall(is, "sts:GetAccessKeyInfo", "*", "127.0.0.1"); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	plain, err := i.IssueSession("app", "plain")
	must(t, err)
	if err := i.AuthorizeCall(plain, "sts:GetAccessKeyInfo", "*", "127.0.0.1"); err == nil {
		t.Error("a session that nobody vouched for is taken for one")
	}
}

// A trust policy can ask who calls AssumeRole.
func TestAssumeRoleKnowsItsCaller(t *testing.T) {
	w := world.New("", "")
	caller := keyOf(t, w, allow("sts:*", "*"))
	for condition, want := range map[string]bool{
		`"ArnEquals":{"aws:PrincipalArn":"` + w.PrincipalARN(caller.Principal) + `"}`: true,
		`"ArnEquals":{"aws:PrincipalArn":"arn:aws:iam::123456789012:user/other"}`:     false,
		`"StringEquals":{"sts:RoleSessionName":"${aws:username}"}`:                    false,
		`"StringEquals":{"sts:RoleSessionName":"me"}`:                                 true,
		`"StringEquals":{"iam:ResourceTag/team":"shop"}`:                              true,
		`"IpAddress":{"aws:SourceIp":"192.0.2.0/24"}`:                                 true,
	} {
		must(t, w.PutRole(world.Role{Name: "app", Tags: map[string]string{"team": "shop"}, Trust: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"123456789012"},"Action":"sts:AssumeRole","Condition":{` + condition + `}}]}`}))
		if _, err := w.AssumeRole(caller, world.AssumeRole{RoleARN: w.RoleARN("app"), Session: "me", Source: "192.0.2.1"}); (err == nil) != want {
			t.Errorf("%s: %v", condition, err)
		}
	}
}

func TestIssuersAreRefusedThatCannotBe(t *testing.T) {
	w := world.New("", "")
	i := newIssuer(t)
	secret, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: i.rsa, KeyID: "a"}}})
	must(t, err)
	public, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: i.rsa.Public(), KeyID: "a"}}})
	must(t, err, w.PutIssuer(issuerURL, public))
	for what, err := range map[string]error{
		"http":            w.PutIssuer("http://issuer.example.com", public),
		"a query":         w.PutIssuer(issuerURL+"?a=b", public),
		"no host":         w.PutIssuer("https:///id", public),
		"a user":          w.PutIssuer("https://a@issuer.example.com", public),
		"a secret key":    w.PutIssuer(issuerURL, secret),
		"a symmetric key": w.PutIssuer(issuerURL, []byte(`{"keys":[{"kty":"oct","k":"AAAA","kid":"a"}]}`)),
		"no keys":         w.PutIssuer(issuerURL, []byte(`{"keys":[]}`)),
		"no JSON":         w.PutIssuer(issuerURL, []byte(`{`)),
	} {
		refused(t, what, err, "InvalidParameterValue", "")
	}
	for n := range 99 { // besides the one above
		must(t, w.PutIssuer(fmt.Sprintf("%s/%d", issuerURL, n), public))
	}
	refused(t, "the issuer 101", w.PutIssuer(issuerURL+"/last", public), "LimitExceeded", "100")
	must(t, w.PutIssuer(issuerURL, public))
}

// Whatever comes in place of a token is refused, unless it says what the signed one says.
func FuzzWebIdentity(f *testing.F) {
	i := newIssuer(f)
	good := i.sign(`{"alg":"ES256","kid":"ec"}`, i.claims(map[string]any{"exp": 99999999999}), i.ec)
	parts := strings.Split(good, ".")
	f.Add(parts[0], parts[1], parts[2])
	f.Add(parts[0], encode(i.claims(map[string]any{"sub": "you"})), parts[2])
	f.Add(encode(`{"alg":"none"}`), parts[1], "")
	f.Add(encode(`{"alg":"HS256","kid":"ec","crit":["b64"],"b64":false}`), "me", "AAAA")
	f.Add("", `{"payload":"","signatures":[]}`, "\n")
	f.Fuzz(func(t *testing.T, header, claims, signature string) {
		key, _, err := i.assume(header + "." + claims + "." + signature)
		said, _ := base64.RawURLEncoding.DecodeString(parts[1])
		got, _ := base64.RawURLEncoding.DecodeString(strings.TrimSpace(claims))
		if err == nil && string(got) != string(said) {
			t.Errorf("%q.%q.%q is taken", header, claims, signature)
		}
		if e := (*world.Error)(nil); err != nil && (key.ID != "" || !errors.As(err, &e)) {
			t.Errorf("%v with %v", err, key)
		}
	})
}
