package world_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"

	"github.com/rediam/rediam/internal/world"
)

const entity = "https://idp.example.com/saml"

// An idp is a world that trusts a SAML identity provider, and the key of that.
type idp struct {
	*world.World
	key         *ecdsa.PrivateKey
	certificate []byte
	provider    string // ARN
	now         time.Time
}

func newIDP(t testing.TB) idp {
	t.Helper()
	i := idp{World: world.New("", "")}
	i.now = i.Now().UTC()
	i.key, i.certificate = newCertificate(t)
	made, err := i.CreateSAMLProvider("corp", metadataOf(i.certificate), nil)
	must(t, err)
	i.provider = i.SAMLProviderARN(made.Name)
	must(t, i.PutRole(world.Role{Name: "app", Trust: vouching(i.provider, `"StringEquals":{"saml:aud":"https://signin.aws.amazon.com/saml","saml:iss":"`+entity+`","saml:sub":"me","saml:sub_type":"persistent","saml:doc":"123456789012/corp"}`, "sts:AssumeRoleWithSAML")}))
	return i
}

// newCertificate is a key with its certificate, which has ended long ago: AWS does not
// look.
func newCertificate(t testing.TB) (*ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1e9, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	return key, der
}

func metadataOf(certificates ...[]byte) string {
	var keys strings.Builder
	for _, c := range certificates {
		keys.WriteString(`<md:KeyDescriptor use="signing"><ds:KeyInfo xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><ds:X509Data><ds:X509Certificate>` + base64.StdEncoding.EncodeToString(c) + `</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor>`)
	}
	return `<?xml version="1.0"?><md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" entityID="` + entity + `">
<!-- ` + strings.Repeat("room for what real ones have ", 40) + ` -->
<md:IDPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">` + keys.String() + `</md:IDPSSODescriptor></md:EntityDescriptor>`
}

// assertion is a good one, with pieces of its text replaced.
func (i idp) assertion(replace ...string) *etree.Element {
	now := i.now
	later := now.Add(5 * time.Minute).Format(time.RFC3339)
	text := fmt.Sprintf(`<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="_a1" IssueInstant="%s" Version="2.0"><saml:Issuer>%s</saml:Issuer><saml:Subject><saml:NameID Format="urn:oasis:names:tc:SAML:2.0:nameid-format:persistent">me</saml:NameID><saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer"><saml:SubjectConfirmationData NotOnOrAfter="%s" Recipient="https://signin.aws.amazon.com/saml"/></saml:SubjectConfirmation></saml:Subject><saml:Conditions NotBefore="%s" NotOnOrAfter="%s"><saml:AudienceRestriction><saml:Audience>urn:amazon:webservices</saml:Audience></saml:AudienceRestriction></saml:Conditions><saml:AuthnStatement AuthnInstant="%s"/><saml:AttributeStatement><saml:Attribute Name="https://aws.amazon.com/SAML/Attributes/Role"><saml:AttributeValue>%s,%s</saml:AttributeValue></saml:Attribute><saml:Attribute Name="https://aws.amazon.com/SAML/Attributes/RoleSessionName"><saml:AttributeValue>me@example.com</saml:AttributeValue></saml:Attribute></saml:AttributeStatement></saml:Assertion>`,
		now.Format(time.RFC3339), entity, later, now.Format(time.RFC3339), later, now.Format(time.RFC3339), i.RoleARN("app"), i.provider)
	return element(strings.NewReplacer(replace...).Replace(text))
}

func element(text string) *etree.Element {
	d := etree.NewDocument()
	if err := d.ReadFromString(text); err != nil {
		panic(err)
	}
	return d.Root()
}

// signed is an element with its signature in it.
func signed(t testing.TB, e *etree.Element, key *ecdsa.PrivateKey, certificate []byte) *etree.Element {
	t.Helper()
	context, err := dsig.NewSigningContext(key, [][]byte{certificate})
	must(t, err)
	context.Canonicalizer = dsig.MakeC14N10ExclusiveCanonicalizerWithPrefixList("")
	e, err = context.SignEnveloped(e)
	must(t, err)
	return e
}

func response(children ...*etree.Element) *etree.Element {
	r := element(`<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" ID="_r1" Version="2.0"><samlp:Status><samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Success"/></samlp:Status></samlp:Response>`)
	for _, c := range children {
		r.AddChild(c)
	}
	return r
}

func (i idp) sign(t testing.TB, e *etree.Element) *etree.Element {
	t.Helper()
	return signed(t, e, i.key, i.certificate)
}

func text(e *etree.Element) string {
	d := etree.NewDocument()
	d.SetRoot(e.Copy())
	s, err := d.WriteToString()
	if err != nil {
		panic(err)
	}
	return s
}

func (i idp) assume(response string) (world.Key, world.Federated, error) {
	return i.AssumeRoleWithSAML(world.AssumeRole{RoleARN: i.RoleARN("app")}, i.provider, base64.StdEncoding.EncodeToString([]byte(response)))
}

func TestGoodSAMLResponsesAreTaken(t *testing.T) {
	i := newIDP(t)
	role, provider := i.RoleARN("app"), i.provider
	const declared = ` xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion"`
	outside := strings.Replace(text(response(i.sign(t, i.assertion()))), declared, "", 1)
	outside = strings.Replace(outside, "<samlp:Response", "<samlp:Response"+declared, 1)
	for what, response := range map[string]string{
		"a signed assertion":              text(response(i.sign(t, i.assertion()))),
		"a signed response":               text(i.sign(t, response(i.assertion()))),
		"both signed":                     text(i.sign(t, response(i.sign(t, i.assertion())))),
		"the provider before the role":    text(response(i.sign(t, i.assertion(role+","+provider, provider+", "+role)))),
		"the sign-in page as audience":    text(response(i.sign(t, i.assertion("urn:amazon:webservices", "https://us-east-1.signin.aws.amazon.com/saml")))),
		"a comment in its name":           text(response(i.sign(t, i.assertion(">me<", "><!-- a -->m<!-- b -->e<")))),
		"a session that is long":          text(response(i.sign(t, i.assertion(`<saml:AttributeStatement>`, `<saml:AttributeStatement><saml:Attribute Name="https://aws.amazon.com/SAML/Attributes/SessionDuration"><saml:AttributeValue>43200</saml:AttributeValue></saml:Attribute>`)))),
		"a role besides":                  text(response(i.sign(t, i.assertion(`<saml:AttributeValue>`+role, `<saml:AttributeValue>`+role+`2,`+provider+`</saml:AttributeValue><saml:AttributeValue>`+role)))),
		"a namespace that stands outside": outside,
	} {
		key, of, err := i.assume(response)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		const hash = "HahBW48oNiXLlr28VT6/xduH27c=" // of https://idp.example.com/saml123456789012/corp, by openssl
		want := world.Federated{Provider: i.provider, Subject: "me", Audience: "https://signin.aws.amazon.com/saml", SubjectType: "persistent", Issuer: entity, NameQualifier: hash}
		if left := key.Expires.Sub(i.Now()); of != want || i.PrincipalARN(key.Principal) != "arn:aws:sts::123456789012:assumed-role/app/me@example.com" || left < 59*time.Minute || left > time.Hour {
			t.Errorf("%s: %+v, %v, %v left, want %+v", what, of, key, left, want)
		}
	}
}

// The numbers are those of "On Breaking SAML: Be Whoever You Want to Be" and of the
// tools that go by it.
func TestSignatureWrappingIsRefused(t *testing.T) {
	i := newIDP(t)
	evil := func() *etree.Element { return i.assertion(`ID="_a1"`, `ID="_evil"`, ">me<", ">admin<") }
	good := func() *etree.Element { return i.sign(t, i.assertion()) }
	signature := func(e *etree.Element) *etree.Element { return e.FindElement("./Signature") }
	moved := func(into, what *etree.Element) *etree.Element { into.AddChild(what); return into }
	wholeSigned := func() *etree.Element { return i.sign(t, response(i.assertion())) }
	wrapped := map[string]func() *etree.Element{
		"1: the signed response inside the signature of an evil one": func() *etree.Element {
			whole := wholeSigned()
			s := signature(whole).Copy()
			s.AddChild(whole)
			return response(evil(), s)
		},
		"2: the signed response before its signature": func() *etree.Element {
			whole := wholeSigned()
			return response(evil(), whole, signature(whole).Copy())
		},
		"3: an evil assertion before the signed one":  func() *etree.Element { return response(evil(), good()) },
		"3b: an evil assertion behind the signed one": func() *etree.Element { return response(good(), evil()) },
		"4: the signed assertion inside an evil one":  func() *etree.Element { return response(moved(evil(), good())) },
		"5: the signature moved to an evil assertion": func() *etree.Element { g := good(); s := signature(g); return response(moved(evil(), s), g) },
		"6: the signed assertion inside that signature": func() *etree.Element {
			g := good()
			s := signature(g).Copy()
			return response(moved(evil(), moved(s, g)))
		},
		"7: the signed assertion in Extensions": func() *etree.Element {
			x := element(`<samlp:Extensions xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol"/>`)
			return response(moved(x, good()), evil())
		},
		"8: the signed assertion in an Object": func() *etree.Element {
			g := good()
			s := signature(g).Copy()
			o := element(`<ds:Object xmlns:ds="http://www.w3.org/2000/09/xmldsig#"/>`)
			return response(moved(evil(), moved(s, moved(o, g))))
		},
		"two with the same ID": func() *etree.Element { return response(i.assertion(">me<", ">admin<"), good()) },
		"a changed subject": func() *etree.Element {
			g := good()
			g.FindElement("./Subject/NameID").SetText("admin")
			return response(g)
		},
		"a comment that hides a part": func() *etree.Element {
			g := i.sign(t, i.assertion(">me<", ">me.evil<"))
			name := g.FindElement("./Subject/NameID")
			name.SetText("me")
			name.CreateComment("")
			name.CreateText(".evil")
			return response(g)
		},
		"no signature": func() *etree.Element { return response(i.assertion()) },
		"a signature of nothing": func() *etree.Element {
			return response(moved(i.assertion(), element(`<ds:Signature xmlns:ds="http://www.w3.org/2000/09/xmldsig#"/>`)))
		},
		"another key": func() *etree.Element { k, c := newCertificate(t); return response(signed(t, i.assertion(), k, c)) },
		"another key, our certificate": func() *etree.Element {
			k, _ := newCertificate(t)
			return response(signed(t, i.assertion(), k, i.certificate))
		},
	}
	for what, make := range wrapped {
		key, of, err := i.assume(text(make()))
		var e *world.Error
		if !errors.As(err, &e) || key.ID != "" {
			t.Errorf("%s: %+v, %v", what, of, err)
			continue
		}
		if e.Code != "InvalidIdentityToken" && !(what == "a comment that hides a part" && e.Code == "AccessDenied") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestBadSAMLResponsesAreRefused(t *testing.T) {
	i := newIDP(t)
	now := i.now
	const attributes, role, session = `<saml:AttributeStatement>`, "https://aws.amazon.com/SAML/Attributes/Role\"", "https://aws.amazon.com/SAML/Attributes/RoleSessionName"
	attribute := func(name, value string) string {
		return attributes + `<saml:Attribute Name="https://aws.amazon.com/SAML/Attributes/` + name + `"><saml:AttributeValue>` + value + `</saml:AttributeValue></saml:Attribute>`
	}
	for what, test := range map[string]struct {
		replace       []string
		code, message string
	}{
		"another issuer":                {[]string{">" + entity + "<", ">https://other.example.com<"}, "InvalidIdentityToken", "Issuer not present in specified provider"},
		"another audience":              {[]string{"urn:amazon:webservices", "urn:other"}, "InvalidIdentityToken", "Response does not contain the required audience."},
		"no audience":                   {[]string{"<saml:Audience>urn:amazon:webservices</saml:Audience>", ""}, "InvalidIdentityToken", "Response does not contain the required audience."},
		"another recipient":             {[]string{`Recipient="https://signin.aws.amazon.com/saml"`, `Recipient="https://signin.aws.amazon.com.example.com/saml"`}, "InvalidIdentityToken", "Recipient"},
		"two confirmations":             {[]string{"</saml:Subject>", `<saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer"/></saml:Subject>`}, "InvalidIdentityToken", "SubjectConfirmation"},
		"a holder of a key":             {[]string{"cm:bearer", "cm:holder-of-key"}, "InvalidIdentityToken", "SubjectConfirmation"},
		"no name":                       {[]string{">me<", "><"}, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithSAML"},
		"another name":                  {[]string{">me<", ">you<"}, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithSAML"},
		"a name that ends with mine":    {[]string{">me<", ">you me<"}, "AccessDenied", "Not authorized"},
		"no role":                       {[]string{role, `other"`}, "InvalidIdentityToken", "Role is required"},
		"another role":                  {[]string{i.RoleARN("app") + ",", i.RoleARN("admin") + ","}, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithSAML"},
		"no session name":               {[]string{session, "other"}, "InvalidIdentityToken", "RoleSessionName is required in AuthnResponse"},
		"a bad session name":            {[]string{"me@example.com", "me you"}, "InvalidIdentityToken", "RoleSessionName in AuthnResponse must match"},
		"too short a session":           {[]string{attributes, attribute("SessionDuration", "60")}, "InvalidIdentityToken", "SessionDuration"},
		"a source identity":             {[]string{attributes, attribute("SourceIdentity", "me")}, "InvalidIdentityToken", "source identities"},
		"a session tag nobody may give": {[]string{attributes, attribute("PrincipalTag:team", "shop")}, "AccessDenied", "Not authorized to perform sts:TagSession"},
		"expired":                       {[]string{` NotOnOrAfter="` + now.Add(5*time.Minute).Format(time.RFC3339), ` NotOnOrAfter="` + now.Format(time.RFC3339)}, "ExpiredTokenException", "Token must be redeemed within 5 minutes of issuance"},
		"issued too long ago":           {[]string{`IssueInstant="` + now.Format(time.RFC3339), `IssueInstant="` + now.Add(-5*time.Minute).Format(time.RFC3339)}, "ExpiredTokenException", "Token must be redeemed"},
		"a session that has ended":      {[]string{"<saml:AuthnStatement ", `<saml:AuthnStatement SessionNotOnOrAfter="` + now.Format(time.RFC3339) + `" `}, "ExpiredTokenException", ""},
		"not yet valid":                 {[]string{`NotBefore="` + now.Format(time.RFC3339), `NotBefore="` + now.Add(time.Hour).Format(time.RFC3339)}, "InvalidIdentityToken", "not yet valid"},
		"a time that is none":           {[]string{`NotBefore="` + now.Format(time.RFC3339), `NotBefore="soon`}, "InvalidIdentityToken", "Invalid SAML response"},
	} {
		_, _, err := i.assume(text(response(i.sign(t, i.assertion(test.replace...)))))
		refused(t, what, err, test.code, test.message)
	}
	good := text(response(i.sign(t, i.assertion())))
	for what, test := range map[string]struct{ response, code, message string }{
		"a sign-in that failed":      {strings.Replace(good, "status:Success", "status:AuthnFailed", 1), "IDPRejectedClaim", ""},
		"a document type":            {`<!DOCTYPE r [<!ENTITY a "b">]>` + good, "InvalidIdentityToken", "Invalid SAML response"},
		"an assertion alone":         {text(i.sign(t, i.assertion())), "InvalidIdentityToken", "Invalid SAML response"},
		"another namespace":          {strings.Replace(good, "SAML:2.0:protocol", "SAML:1.1:protocol", 1), "InvalidIdentityToken", "Invalid SAML response"},
		"an encrypted assertion":     {text(response(element(`<saml:EncryptedAssertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion"/>`))), "InvalidIdentityToken", "Invalid SAML response"},
		"no XML":                     {"none", "InvalidIdentityToken", "Invalid SAML response"},
		"elements within elements":   {strings.Repeat("<a>", 20_000), "InvalidIdentityToken", "Invalid SAML response"},
		"more than may be":           {strings.Repeat(" ", 100_000), "ValidationError", "sAMLAssertion"},
		"a namespace without a name": {`<a:Response ID="_r1"><a:Assertion/></a:Response>`, "InvalidIdentityToken", ""},
	} {
		_, _, err := i.assume(test.response)
		refused(t, what, err, test.code, test.message)
	}
	raw := base64.StdEncoding.EncodeToString([]byte(good))
	_, _, err := i.AssumeRoleWithSAML(world.AssumeRole{RoleARN: i.RoleARN("app")}, i.provider, "%"+raw)
	refused(t, "no base64", err, "InvalidIdentityToken", "Invalid base64 SAMLResponse")
	_, _, err = i.AssumeRoleWithSAML(world.AssumeRole{RoleARN: i.RoleARN("app")}, i.provider+"x", raw)
	refused(t, "no provider", err, "InvalidIdentityToken", "Specified provider doesn't exist")
}

// With two certificates in the metadata, a key can be changed for another.
func TestEitherCertificateOfTheMetadataWillDo(t *testing.T) {
	i := newIDP(t)
	key, certificate := newCertificate(t)
	next := func() error {
		_, _, err := i.assume(text(response(signed(t, i.assertion(), key, certificate))))
		return err
	}
	refused(t, "a key that is not there yet", next(), "InvalidIdentityToken", "Response signature invalid")
	must(t, i.UpdateSAMLProvider(i.provider, metadataOf(i.certificate, certificate)), next())
	_, _, err := i.assume(text(response(i.sign(t, i.assertion()))))
	must(t, err, i.UpdateSAMLProvider(i.provider, metadataOf(certificate)))
	_, _, err = i.assume(text(response(i.sign(t, i.assertion()))))
	refused(t, "a key that is gone", err, "InvalidIdentityToken", "Response signature invalid")
}

func TestASAMLSessionEndsWhenItsAssertionSays(t *testing.T) {
	i := newIDP(t)
	must(t, i.PutRole(world.Role{Name: "app", Trust: vouching(i.provider, `"StringEquals":{"aws:RequestTag/team":"shop"}`, "sts:AssumeRoleWithSAML", "sts:TagSession"),
		Inline: map[string]string{"if": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:*","Resource":"*","Condition":{"StringEquals":{"saml:sub":"me","saml:sub_type":"persistent","aws:PrincipalTag/team":"shop","aws:FederatedProvider":"` + i.provider + `"}}}]}`}}))
	ends := i.Now().Add(20 * time.Minute).UTC().Truncate(time.Second)
	key, _, err := i.assume(text(response(i.sign(t, i.assertion("<saml:AuthnStatement ", `<saml:AuthnStatement SessionNotOnOrAfter="`+ends.Format(time.RFC3339)+`" `,
		`<saml:AttributeStatement>`, `<saml:AttributeStatement><saml:Attribute Name="https://aws.amazon.com/SAML/Attributes/PrincipalTag:team"><saml:AttributeValue>shop</saml:AttributeValue></saml:Attribute>`)))))
	must(t, err)
	if key.Expires.Sub(ends).Abs() > time.Second {
		t.Errorf("it ends at %v, want %v", key.Expires, ends)
	}
	must(t, i.AuthorizeCall(key, "sts:GetAccessKeyInfo", "*", "127.0.0.1"))
}

func TestASAMLProviderIsTheSameAfterSavingAndLoading(t *testing.T) {
	i := newIDP(t)
	records := saved(i.World)
	role, _ := i.Role("app")
	must(t, i.UpdateSAMLProvider(i.provider, metadataOf(i.certificate)), i.PutRole(role))
	was := i.SAMLProviders()
	i.World = world.New("", "")
	must(t, i.Load(records))
	if is := i.SAMLProviders(); !reflect.DeepEqual(is, was) {
		t.Errorf("providers %+v, want %+v", is, was)
	}
	_, _, err := i.assume(text(response(i.sign(t, i.assertion()))))
	must(t, err)
}

// Whatever comes in place of a response is refused, or says what the signed one says.
func FuzzSAML(f *testing.F) {
	i := newIDP(f)
	f.Add(text(response(i.sign(f, i.assertion()))))
	f.Add(text(i.sign(f, response(i.assertion()))))
	f.Add(text(response(i.assertion(">me<", ">admin<"), i.sign(f, i.assertion()))))
	f.Add(`<a:Response xmlns:a="urn:oasis:names:tc:SAML:2.0:protocol"><b:Signature xmlns:b="http://www.w3.org/2000/09/xmldsig#"><b:SignedInfo/></b:Signature></a:Response>`)
	f.Fuzz(func(t *testing.T, response string) {
		key, of, err := i.assume(response)
		if err == nil && (of.Subject != "me" || key.Principal.Session != "me@example.com") {
			t.Errorf("%+v for %q", of, response)
		}
		if e := (*world.Error)(nil); err != nil && (key.ID != "" || !errors.As(err, &e)) {
			t.Errorf("%v with %v", err, key)
		}
	})
}
