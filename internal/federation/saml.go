package federation

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"strings"
	"time"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"
	"github.com/russellhaering/goxmldsig/etreeutils"
)

const (
	samlProtocol  = "urn:oasis:names:tc:SAML:2.0:protocol"
	samlAssertion = "urn:oasis:names:tc:SAML:2.0:assertion"
	samlSuccess   = "urn:oasis:names:tc:SAML:2.0:status:Success"

	minRSA = 1024 // bits (IAM User Guide, "Troubleshoot SAML federation with IAM")
)

// ErrRejected is that the identity provider itself says that somebody did not sign in.
var ErrRejected = errors.New("the identity provider says that the sign-in failed")

// Metadata describe a SAML identity provider: who it is, and how it signs.
type Metadata struct {
	EntityID   string
	ValidUntil time.Time // zero if they do not say

	certificates []*x509.Certificate
}

// ParseMetadata reads the metadata document of an identity provider.
func ParseMetadata(document []byte) (Metadata, error) {
	var parsed struct {
		XMLName    xml.Name  `xml:"urn:oasis:names:tc:SAML:2.0:metadata EntityDescriptor"`
		EntityID   string    `xml:"entityID,attr"`
		ValidUntil time.Time `xml:"validUntil,attr"`
		Keys       []struct {
			Use          string   `xml:"use,attr"`
			Certificates []string `xml:"http://www.w3.org/2000/09/xmldsig# KeyInfo>X509Data>X509Certificate"`
		} `xml:"urn:oasis:names:tc:SAML:2.0:metadata IDPSSODescriptor>KeyDescriptor"`
	}
	if err := xml.Unmarshal(document, &parsed); err != nil {
		return Metadata{}, ErrMalformed
	}
	m := Metadata{EntityID: parsed.EntityID, ValidUntil: parsed.ValidUntil}
	for _, key := range parsed.Keys {
		if key.Use == "encryption" {
			continue
		}
		for _, encoded := range key.Certificates {
			certificate, err := parseCertificate(encoded)
			if err != nil {
				return Metadata{}, ErrMalformed
			}
			m.certificates = append(m.certificates, certificate)
		}
	}
	if m.EntityID == "" || len(m.certificates) == 0 {
		return Metadata{}, ErrMalformed
	}
	return m, nil
}

func parseCertificate(encoded string) (*x509.Certificate, error) {
	der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(encoded), ""))
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	if key, ok := certificate.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() < minRSA {
		return nil, errors.New("the key is too short")
	}
	return certificate, nil
}

// An Assertion is what an identity provider says of somebody.
type Assertion struct {
	XMLName      xml.Name  `xml:"urn:oasis:names:tc:SAML:2.0:assertion Assertion"`
	IssueInstant time.Time `xml:"IssueInstant,attr"`
	Issuer       string    `xml:"urn:oasis:names:tc:SAML:2.0:assertion Issuer"`
	Subject      struct {
		Name struct {
			Format string `xml:"Format,attr"`
			Value  string `xml:",chardata"`
		} `xml:"urn:oasis:names:tc:SAML:2.0:assertion NameID"`
		Confirmations []struct {
			Method string `xml:"Method,attr"`
			Data   struct {
				NotOnOrAfter time.Time `xml:"NotOnOrAfter,attr"`
				Recipient    string    `xml:"Recipient,attr"`
			} `xml:"urn:oasis:names:tc:SAML:2.0:assertion SubjectConfirmationData"`
		} `xml:"urn:oasis:names:tc:SAML:2.0:assertion SubjectConfirmation"`
	} `xml:"urn:oasis:names:tc:SAML:2.0:assertion Subject"`
	Conditions struct {
		NotBefore    time.Time `xml:"NotBefore,attr"`
		NotOnOrAfter time.Time `xml:"NotOnOrAfter,attr"`
		Restrictions []struct {
			Audiences []string `xml:"urn:oasis:names:tc:SAML:2.0:assertion Audience"`
		} `xml:"urn:oasis:names:tc:SAML:2.0:assertion AudienceRestriction"`
	} `xml:"urn:oasis:names:tc:SAML:2.0:assertion Conditions"`
	SignIns []struct {
		SessionNotOnOrAfter time.Time `xml:"SessionNotOnOrAfter,attr"`
	} `xml:"urn:oasis:names:tc:SAML:2.0:assertion AuthnStatement"`
	Attributes []struct {
		Name   string   `xml:"Name,attr"`
		Values []string `xml:"urn:oasis:names:tc:SAML:2.0:assertion AttributeValue"`
	} `xml:"urn:oasis:names:tc:SAML:2.0:assertion AttributeStatement>Attribute"`
}

// Attribute is the values of an attribute.
func (a Assertion) Attribute(name string) (values []string) {
	for _, attribute := range a.Attributes {
		if attribute.Name == name {
			for _, v := range attribute.Values {
				values = append(values, strings.TrimSpace(v))
			}
		}
	}
	return values
}

// ReadResponse verifies a response, or the one assertion in it if only that is
// signed. What it returns is read from the very bytes that were signed, so that
// nothing around them, nor a second assertion, can take their place.
func (m Metadata) ReadResponse(response []byte) (Assertion, error) {
	document := etree.NewDocument()
	if err := document.ReadFromBytes(response); err != nil || document.Root() == nil {
		return Assertion{}, ErrMalformed
	}
	for _, token := range document.Child {
		if _, ok := token.(*etree.Directive); ok { // a document type, which may define anything
			return Assertion{}, ErrMalformed
		}
	}
	root := document.Root()
	var assertions []*etree.Element
	for _, e := range root.FindElements("//*") { // wherever they are
		if e.Tag == "Assertion" {
			assertions = append(assertions, e)
		}
	}
	if root.Tag != "Response" || root.NamespaceURI() != samlProtocol {
		return Assertion{}, ErrMalformed
	}
	if status := root.FindElement("./Status/StatusCode"); status == nil || status.SelectAttrValue("Value", "") != samlSuccess {
		return Assertion{}, ErrRejected
	}
	if len(assertions) != 1 || assertions[0].Parent() != root || assertions[0].NamespaceURI() != samlAssertion {
		return Assertion{}, ErrMalformed
	}
	whole := signedItself(root)
	signed := assertions[0]
	if whole {
		signed = root
	} else if !signedItself(signed) {
		return Assertion{}, ErrSignature
	}
	verified, err := m.verify(signed)
	if err != nil {
		return Assertion{}, ErrSignature
	}
	if whole {
		var answer struct {
			XMLName   xml.Name  `xml:"urn:oasis:names:tc:SAML:2.0:protocol Response"`
			Assertion Assertion `xml:"urn:oasis:names:tc:SAML:2.0:assertion Assertion"`
		}
		err := xml.Unmarshal(verified, &answer)
		return answer.Assertion, malformed(err)
	}
	var assertion Assertion
	err = xml.Unmarshal(verified, &assertion)
	return assertion, malformed(err)
}

func malformed(err error) error {
	if err != nil {
		return ErrMalformed
	}
	return nil
}

// signedItself is whether an element has a signature for a child.
func signedItself(e *etree.Element) bool {
	for _, child := range e.ChildElements() {
		if child.Tag == "Signature" && child.NamespaceURI() == dsig.Namespace {
			return true
		}
	}
	return false
}

// verify is what was signed of an element. AWS does not look at the validity of
// certificates (IAM User Guide, "Create a SAML identity provider in IAM").
func (m Metadata) verify(e *etree.Element) ([]byte, error) {
	context, err := etreeutils.NSBuildParentContext(e)
	if err != nil {
		return nil, err
	}
	if e, err = etreeutils.NSDetatch(context, e); err != nil {
		return nil, err
	}
	for _, certificate := range m.certificates {
		check := dsig.NewDefaultValidationContext(&dsig.MemoryX509CertificateStore{Roots: []*x509.Certificate{certificate}})
		check.Clock = dsig.NewFakeClockAt(certificate.NotBefore)
		signed, failure := check.Validate(e)
		if failure != nil {
			err = failure
			continue
		}
		document := etree.NewDocument()
		document.SetRoot(signed)
		var b bytes.Buffer
		_, err := document.WriteTo(&b)
		return b.Bytes(), err
	}
	return nil, err
}
