// Package federation reads what identity providers sign: web identity tokens, which
// are JWTs, and responses of SAML 2.0. It verifies them with keys that it is given;
// what a token says about keys, certificates and addresses is not looked at.
package federation

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// What can be wrong with a token or a response before anybody asks what it says.
var (
	ErrMalformed = errors.New("malformed")
	ErrNoKey     = errors.New("the issuer has no such key")
	ErrSignature = errors.New("the signature does not fit")
)

// algorithms are those that AWS takes (IAM User Guide, "Create an OpenID Connect
// (OIDC) identity provider in IAM").
var algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.ES256, jose.ES384, jose.ES512}

// Claims are what a web identity token says, as far as AWS looks at it.
type Claims struct {
	Issuer    string           `json:"iss"`
	Subject   string           `json:"sub"`
	Audience  jwt.Audience     `json:"aud"`
	Party     string           `json:"azp"`
	Methods   jwt.Audience     `json:"amr"`
	Expires   *jwt.NumericDate `json:"exp"`
	IssuedAt  *jwt.NumericDate `json:"iat"`
	NotBefore *jwt.NumericDate `json:"nbf"`

	SourceIdentity string `json:"https://aws.amazon.com/source_identity"`
	Session        struct {
		Tags map[string]jwt.Audience `json:"principal_tags"` // one value each
	} `json:"https://aws.amazon.com/tags"`
}

// ReadToken verifies a token with the keys of whom it says has issued it. The error
// is that of keysOf, or one of the three above.
func ReadToken(token string, keysOf func(issuer string) (Keys, error)) (Claims, error) {
	parsed, err := jwt.ParseSigned(strings.TrimSpace(token), algorithms)
	if err != nil {
		return Claims{}, ErrMalformed
	}
	for name := range parsed.Headers[0].ExtraHeaders {
		if name == "crit" || name == "b64" { // extensions of JWS, of which AWS has none
			return Claims{}, ErrMalformed
		}
	}
	var said Claims
	if err := parsed.UnsafeClaimsWithoutVerification(&said); err != nil {
		return Claims{}, ErrMalformed
	}
	keys, err := keysOf(said.Issuer)
	if err != nil {
		return Claims{}, err
	}
	err = ErrNoKey
	for _, key := range keys.fit(parsed.Headers[0]) {
		var verified Claims
		if parsed.Claims(key, &verified) == nil {
			return verified, nil
		}
		err = ErrSignature
	}
	return Claims{}, err
}

// Keys are the public keys of an issuer.
type Keys struct{ keys []jose.JSONWebKey }

// ParseKeys reads a JSON Web Key Set. Keys for other purposes are left out; a set
// that has a secret in it is refused, since it is meant to be published.
func ParseKeys(set []byte) (Keys, error) {
	var parsed struct{ Keys []json.RawMessage }
	if err := json.Unmarshal(set, &parsed); err != nil {
		return Keys{}, errors.New("the keys are no JSON Web Key Set")
	}
	var all Keys
	for _, raw := range parsed.Keys {
		var key jose.JSONWebKey
		if err := key.UnmarshalJSON(raw); err != nil {
			continue // of a type that is not known here
		}
		if !key.IsPublic() {
			return Keys{}, errors.New("the key set has a secret key in it")
		}
		if signs(key) {
			all.keys = append(all.keys, key)
		}
	}
	if len(all.keys) == 0 {
		return Keys{}, errors.New("the key set has no RSA or EC key with a kid that verifies signatures")
	}
	return all, nil
}

func signs(key jose.JSONWebKey) bool {
	switch key.Key.(type) {
	case *rsa.PublicKey, *ecdsa.PublicKey:
		return key.KeyID != "" && (key.Use == "" || key.Use == "sig")
	}
	return false
}

// fit are the keys that a token can have been signed with.
func (k Keys) fit(h jose.Header) (keys []jose.JSONWebKey) {
	for _, key := range k.keys {
		if key.KeyID == h.KeyID && (key.Algorithm == "" || key.Algorithm == h.Algorithm) {
			keys = append(keys, key)
		}
	}
	return keys
}

// An Issuer signs web identity tokens.
type Issuer struct{ key jose.JSONWebKey }

// NewIssuer makes a key.
func NewIssuer() (Issuer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Issuer{}, err
	}
	return issuerWith(key)
}

func issuerWith(key *ecdsa.PrivateKey) (Issuer, error) {
	i := Issuer{jose.JSONWebKey{Key: key, Algorithm: string(jose.ES256), Use: "sig"}}
	sum, err := i.key.Thumbprint(crypto.SHA256)
	i.key.KeyID = base64.RawURLEncoding.EncodeToString(sum)
	return i, err
}

// ParseIssuer is the issuer whose Key this is.
func ParseIssuer(der []byte) (Issuer, error) {
	key, err := x509.ParseECPrivateKey(der)
	if err != nil {
		return Issuer{}, err
	}
	return issuerWith(key)
}

// Format prints none of the key.
func (Issuer) Format(f fmt.State, _ rune) { fmt.Fprint(f, "issuer") }

// Key is the private key, to keep.
func (i Issuer) Key() ([]byte, error) { return x509.MarshalECPrivateKey(i.key.Key.(*ecdsa.PrivateKey)) }

// Keys are the JSON Web Key Set of the issuer.
func (i Issuer) Keys() ([]byte, error) {
	return json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{i.key.Public()}})
}

// Sign makes a token that says the claims.
func (i Issuer) Sign(claims map[string]any) (string, error) {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: i.key}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", err
	}
	return jwt.Signed(signer).Claims(claims).Serialize()
}
