package world

import (
	"cmp"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rediam/rediam/internal/federation"
	"github.com/rediam/rediam/internal/policy"
)

const (
	minWebIdentityToken = 4 // STS API Reference, AssumeRoleWithWebIdentity and …WithSAML
	maxWebIdentityToken = 20_000
	maxSAMLAssertion    = 100_000
	// federationSkew is how far the clock of an identity provider may be ahead. AWS does
	// not document it.
	federationSkew = 5 * time.Minute
	// redeemWithin is how old a SAML assertion may be (IAM User Guide, "SAML 2.0 federation").
	redeemWithin = 5 * time.Minute
)

// A Federated is whom an identity provider vouches for, in the words of STS.
type Federated struct {
	Provider      string // ARN
	Subject       string
	Audience      string
	SubjectType   string // these of SAML alone
	Issuer        string
	NameQualifier string
}

// AssumeRoleWithWebIdentity issues temporary credentials of a role to the holder of
// a token of an OpenID Connect provider.
func (w *World) AssumeRoleWithWebIdentity(r AssumeRole, token string) (Key, Federated, error) {
	if err := r.check(); err != nil {
		return Key{}, Federated{}, err
	}
	if len(token) < minWebIdentityToken || len(token) > maxWebIdentityToken {
		return Key{}, Federated{}, errorf("ValidationError", "1 validation error detected: Value at 'webIdentityToken' failed to satisfy constraint: Member must have length from %d to %d", minWebIdentityToken, maxWebIdentityToken)
	}
	var provider OIDCProvider
	claims, err := federation.ReadToken(token, func(issuer string) (keys federation.Keys, err error) {
		provider, keys, err = w.trustedIssuer(issuer)
		return keys, err
	})
	if err != nil {
		return Key{}, Federated{}, invalidToken(err)
	}
	audiences, err := provider.accept(claims, w.Now())
	if err != nil {
		return Key{}, Federated{}, err
	}
	of := Federated{Provider: w.OIDCProviderARN(provider.URL), Subject: claims.Subject, Audience: audiences[0]}
	tags := map[string]string{}
	for name, values := range claims.Session.Tags {
		if len(values) != 1 {
			return Key{}, of, invalidIdentity("a session tag has one value")
		}
		tags[name] = values[0]
	}
	name := strings.TrimPrefix(provider.URL, "https://")
	context := policy.Context{}
	context.Set(name+":sub", claims.Subject)
	context.Set(name+":aud", audiences...)
	context.Set(name+":amr", claims.Methods...)
	if claims.Party != "" {
		context.Set(name+":oaud", claims.Audience...)
	}
	key, err := w.federate(r, federated{"AssumeRoleWithWebIdentity", of.Provider, context, tags, nil})
	return key, of, err
}

func invalidIdentity(format string, args ...any) error {
	return errorf("InvalidIdentityToken", format, args...)
}

// invalidToken is an error of a web identity token in AWS's words, as people have
// reported them; what AWS says of a wrong signature is not documented.
func invalidToken(err error) error {
	switch {
	case errors.Is(err, federation.ErrMalformed):
		return invalidIdentity("The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)")
	case errors.Is(err, federation.ErrNoKey):
		return invalidIdentity("Couldn't retrieve verification key from your identity provider,  please reference AssumeRoleWithWebIdentity documentation for requirements")
	case errors.Is(err, federation.ErrSignature):
		return invalidIdentity("Token signature invalid")
	}
	return err
}

// trustedIssuer is the provider whose tokens say this iss, and the keys of it that
// the emulator has been given.
func (w *World) trustedIssuer(iss string) (OIDCProvider, federation.Keys, error) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	p, ok := w.oidc.get(iss)
	if iss == "" {
		return p, federation.Keys{}, missingClaim("iss")
	}
	if !ok {
		return p, federation.Keys{}, invalidIdentity("No OpenIDConnect provider found in your account for %.256s", iss)
	}
	i, ok := w.issuers.get(iss)
	if !ok {
		err := invalidToken(federation.ErrNoKey).(*Error)
		err.Detail = "the emulator does not fetch keys: it must be given those of this issuer"
		return p, federation.Keys{}, err
	}
	return p.clone(), i.parsed, nil
}

func missingClaim(name string) error {
	return invalidIdentity("Missing a required claim: %s", name)
}

// accept checks what a verified token claims. The audiences that count are azp where
// there is one, else aud (IAM User Guide, "Available keys for AWS OIDC federation").
func (p OIDCProvider) accept(c federation.Claims, now time.Time) (audiences []string, err error) {
	audiences = c.Audience
	if c.Party != "" {
		audiences = []string{c.Party}
	}
	switch {
	case c.Subject == "":
		return nil, missingClaim("sub")
	case len(c.Audience) == 0:
		return nil, missingClaim("aud")
	case c.Expires == nil:
		return nil, missingClaim("exp")
	case c.IssuedAt == nil:
		return nil, missingClaim("iat")
	case !now.Before(c.Expires.Time()):
		return nil, errorf("ExpiredTokenException", "Token expired: current date/time %d must be before the expiration date/time %d", now.Unix(), c.Expires.Time().Unix())
	case c.IssuedAt.Time().After(now.Add(federationSkew)), c.NotBefore.Time().After(now.Add(federationSkew)):
		return nil, invalidIdentity("Token is not yet valid")
	case c.SourceIdentity != "":
		return nil, invalidIdentity("the emulator does not have source identities")
	}
	i := slices.IndexFunc(audiences, func(a string) bool { return slices.Contains(p.ClientIDs, a) })
	if i < 0 {
		return nil, invalidIdentity("Incorrect token audience")
	}
	audiences = slices.Clone(audiences)
	audiences[0], audiences[i] = audiences[i], audiences[0]
	return audiences, nil
}

// federated is what the trust policy of a role is asked about.
type federated struct {
	operation string
	provider  string         // ARN
	context   policy.Context // condition keys that the token gives
	tags      map[string]string
	session   policy.Context // condition keys of the session to come, besides its tags
}

// federate issues credentials of a role to whom its trust policy lets in. STS does not
// tell a missing role from a forbidden one.
func (w *World) federate(r AssumeRole, f federated) (Key, error) {
	denied := errorf("AccessDenied", "Not authorized to perform sts:%s", f.operation)
	role, trust, ok := w.roleByARN(r.RoleARN)
	if !ok || role.Account != w.Account {
		return Key{}, denied
	}
	if err := checkTags(f.tags); err != nil {
		return Key{}, invalidIdentity("%s", err.(*Error).Message)
	}
	w.describeRequest(f.context, r.Source)
	describeAssume(f.context, r, role)
	session := policy.Context{}
	maps.Copy(session, f.session)
	session.Set("aws:FederatedProvider", f.provider)
	actions := []string{"sts:" + f.operation}
	if len(f.tags) > 0 {
		actions = append(actions, "sts:TagSession")
	}
	var names []string
	for k, v := range f.tags {
		names = append(names, k)
		f.context.Set("aws:RequestTag/"+k, v)
		session.Set("aws:PrincipalTag/"+k, v)
	}
	f.context.Set("aws:TagKeys", names...)
	for _, action := range actions {
		request := policy.Request{Principal: f.provider, Action: action, Resource: r.RoleARN, Context: f.context}
		if d := trust.DecideTrust(request); d.Effect != policy.Allow {
			denied.Message, denied.Detail = "Not authorized to perform "+action, d.Reason()
			return Key{}, denied
		}
	}
	duration, err := sessionLength(r.Duration, role.MaxSession, "")
	if err != nil {
		return Key{}, err
	}
	documents, parsed, err := w.sessionPolicies(role.Account, r)
	if err != nil {
		return Key{}, err
	}
	return w.issue(Key{Principal: sessionOf(role, r.Session), Session: documents, session: parsed, Context: session}, duration)
}

// Names of the attributes of an assertion (IAM User Guide, "Configure SAML assertions
// for the authentication response").
const (
	samlAttribute       = "https://aws.amazon.com/SAML/Attributes/"
	samlRole            = samlAttribute + "Role"
	samlSessionName     = samlAttribute + "RoleSessionName"
	samlSessionDuration = samlAttribute + "SessionDuration"
	samlSourceIdentity  = samlAttribute + "SourceIdentity"
	samlPrincipalTag    = samlAttribute + "PrincipalTag:"

	samlBearer     = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
	samlNameFormat = "urn:oasis:names:tc:SAML:2.0:nameid-format:"
)

// AssumeRoleWithSAML issues temporary credentials of a role to the holder of a signed
// response, in base64, of the SAML provider with an ARN. The session has its name from
// the response.
func (w *World) AssumeRoleWithSAML(r AssumeRole, provider, response string) (Key, Federated, error) {
	if len(response) < minWebIdentityToken || len(response) > maxSAMLAssertion {
		return Key{}, Federated{}, errorf("ValidationError", "1 validation error detected: Value at 'sAMLAssertion' failed to satisfy constraint: Member must have length from %d to %d", minWebIdentityToken, maxSAMLAssertion)
	}
	w.mu.RLock()
	p, err := w.samlProvider(provider)
	w.mu.RUnlock()
	if err != nil {
		return Key{}, Federated{}, invalidIdentity("Specified provider doesn't exist")
	}
	raw, err := base64.StdEncoding.DecodeString(response)
	if err != nil {
		return Key{}, Federated{}, invalidIdentity("Invalid base64 SAMLResponse")
	}
	a, err := p.metadata.ReadResponse(raw)
	switch {
	case errors.Is(err, federation.ErrRejected):
		return Key{}, Federated{}, errorf("IDPRejectedClaim", "The identity provider reported that authentication failed")
	case errors.Is(err, federation.ErrMalformed):
		return Key{}, Federated{}, invalidIdentity("Invalid SAML response")
	case err != nil:
		return Key{}, Federated{}, invalidIdentity("Response signature invalid")
	case a.Issuer != p.metadata.EntityID:
		return Key{}, Federated{}, invalidIdentity("Issuer not present in specified provider")
	}
	now := w.Now()
	if err := firstOf(w.checkAssertion(a, now), vouches(a, r.RoleARN, provider)); err != nil {
		return Key{}, Federated{}, err
	}
	if r.Session, err = samlSession(a); err != nil {
		return Key{}, Federated{}, err
	}
	if err := r.check(); err != nil {
		return Key{}, Federated{}, err
	}
	if r.Duration, err = samlDuration(a, r.Duration, now); err != nil {
		return Key{}, Federated{}, err
	}
	sum := sha1.Sum([]byte(a.Issuer + w.Account + "/" + p.Name)) // STS API Reference, AssumeRoleWithSAML, NameQualifier
	of := Federated{Provider: provider, Subject: a.Subject.Name.Value, Audience: a.Subject.Confirmations[0].Data.Recipient,
		SubjectType: a.Subject.Name.Format, Issuer: a.Issuer, NameQualifier: base64.StdEncoding.EncodeToString(sum[:])}
	for _, kind := range []string{"persistent", "transient"} {
		if of.SubjectType == samlNameFormat+kind {
			of.SubjectType = kind
		}
	}
	session := policy.Context{} // those that permission policies have too
	session.Set("saml:sub", of.Subject)
	session.Set("saml:sub_type", of.SubjectType)
	session.Set("saml:namequalifier", of.NameQualifier)
	context := maps.Clone(session)
	context.Set("saml:aud", of.Audience)
	context.Set("saml:iss", of.Issuer)
	context.Set("saml:doc", w.Account+"/"+p.Name)
	key, err := w.federate(r, federated{"AssumeRoleWithSAML", provider, context, samlTags(a), session})
	return key, of, err
}

// checkAssertion holds an assertion to AWS's rules and the time.
func (w *World) checkAssertion(a federation.Assertion, now time.Time) error {
	expired := errorf("ExpiredTokenException", "Token must be redeemed within 5 minutes of issuance")
	audience := false
	for _, restriction := range a.Conditions.Restrictions {
		if audience = slices.ContainsFunc(restriction.Audiences, w.isSignIn); !audience {
			break // each must be met
		}
	}
	switch confirmations := a.Subject.Confirmations; {
	case a.Subject.Name.Value == "":
		return errorf("AccessDenied", "Not authorized to perform sts:AssumeRoleWithSAML")
	case len(confirmations) != 1 || confirmations[0].Method != samlBearer || confirmations[0].Data.NotOnOrAfter.IsZero():
		return invalidIdentity("the response must have one SubjectConfirmation, of a bearer, with NotOnOrAfter and Recipient")
	case !w.isSignIn(confirmations[0].Data.Recipient):
		return invalidIdentity("the Recipient of the response is not AWS's")
	case !audience:
		return invalidIdentity("Response does not contain the required audience.")
	case a.IssueInstant.After(now.Add(federationSkew)), a.Conditions.NotBefore.After(now.Add(federationSkew)):
		return invalidIdentity("Response is not yet valid")
	case !now.Before(confirmations[0].Data.NotOnOrAfter), !now.Before(a.IssueInstant.Add(redeemWithin)),
		!a.Conditions.NotOnOrAfter.IsZero() && !now.Before(a.Conditions.NotOnOrAfter):
		return expired
	case len(a.Attribute(samlSourceIdentity)) > 0:
		return invalidIdentity("the emulator does not have source identities")
	}
	return nil
}

// isSignIn is whether a name is that of AWS as SAML's relying party (IAM User Guide,
// "Configure SAML assertions for the authentication response").
func (w *World) isSignIn(name string) bool {
	if name == "urn:amazon:webservices" {
		return true
	}
	host, path, _ := strings.Cut(strings.TrimPrefix(name, "https://"), "/")
	domain := map[string]string{"aws": "signin.aws.amazon.com", "aws-cn": "signin.amazonaws.cn", "aws-us-gov": "signin.amazonaws-us-gov.com"}[w.Partition]
	return strings.HasPrefix(name, "https://") && path == "saml" && (host == domain || host == w.Region+"."+domain)
}

// vouches is whether an assertion pairs a role with a provider, in either order.
func vouches(a federation.Assertion, role, provider string) error {
	pairs := a.Attribute(samlRole)
	if len(pairs) == 0 {
		return invalidIdentity("Role is required in AuthnResponse")
	}
	for _, pair := range pairs {
		one, other, _ := strings.Cut(pair, ",")
		one, other = strings.TrimSpace(one), strings.TrimSpace(other)
		if one == role && other == provider || one == provider && other == role {
			return nil
		}
	}
	return errorf("AccessDenied", "Not authorized to perform sts:AssumeRoleWithSAML")
}

func samlSession(a federation.Assertion) (string, error) {
	switch names := a.Attribute(samlSessionName); {
	case len(names) != 1:
		return "", invalidIdentity("RoleSessionName is required in AuthnResponse")
	case !sessionName.MatchString(names[0]):
		return "", invalidIdentity("RoleSessionName in AuthnResponse must match [a-zA-Z_0-9+=,.@-]{2,64}")
	default:
		return names[0], nil
	}
}

// samlDuration is how long a session lasts: as asked, or shorter if the assertion
// wants it so (STS API Reference, AssumeRoleWithSAML, DurationSeconds).
func samlDuration(a federation.Assertion, asked time.Duration, now time.Time) (time.Duration, error) {
	asked = cmp.Or(asked, time.Hour)
	for _, text := range a.Attribute(samlSessionDuration) {
		seconds, err := strconv.Atoi(text)
		if d := time.Duration(seconds) * time.Second; err != nil || d < minSession || d > maxSession {
			return 0, invalidIdentity("SessionDuration in AuthnResponse must be from %d to %d", int(minSession/time.Second), int(maxSession/time.Second))
		} else {
			asked = min(asked, d)
		}
	}
	for _, s := range a.SignIns {
		if !s.SessionNotOnOrAfter.IsZero() {
			asked = min(asked, s.SessionNotOnOrAfter.Sub(now))
		}
	}
	if asked <= 0 {
		return 0, errorf("ExpiredTokenException", "the session of the identity provider has ended")
	}
	return asked, nil
}

func samlTags(a federation.Assertion) map[string]string {
	tags := map[string]string{}
	for _, attribute := range a.Attributes {
		if name, ok := strings.CutPrefix(attribute.Name, samlPrincipalTag); ok && len(attribute.Values) > 0 {
			tags[name] = attribute.Values[0]
		}
	}
	return tags
}
