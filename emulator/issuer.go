package emulator

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"time"

	"github.com/rediam/rediam/internal/federation"
	"github.com/rediam/rediam/internal/world"
)

// webIdentityLife is how long a token of the emulator's own issuer lives that does not
// say otherwise.
const webIdentityLife = time.Hour

// openIssuer makes the emulator's own issuer of web identity tokens, with the key of
// the state if there is one.
func (s *Server) openIssuer() (err error) {
	if der, ok := saved[[]byte](s.state, ofIssuer); ok {
		s.issuer, err = federation.ParseIssuer(der)
	} else {
		s.issuer, err = federation.NewIssuer()
	}
	if err != nil {
		return fmt.Errorf("issuer: %w", err)
	}
	der, err := s.issuer.Key()
	if err != nil {
		return err
	}
	if err := s.state.put(ofIssuer, der); err != nil {
		return err
	}
	keys, err := s.issuer.Keys()
	if err != nil {
		return err
	}
	return s.world.PutIssuer(s.Issuer(), keys)
}

// Issuer is the iss of the tokens of WebIdentityToken. It looks like that of an EKS
// cluster and depends on the account and region alone. Nothing answers there: its
// keys are at URL()/_rediam/oidc.
func (s *Server) Issuer() string {
	sum := sha256.Sum256([]byte(s.Account()))
	return fmt.Sprintf("https://oidc.eks.%s.amazonaws.com/id/%X", s.Region(), sum[:16])
}

// WebIdentityToken is a token of the emulator's own issuer, for AssumeRoleWithWebIdentity,
// valid for an hour of the emulator's clock. Further claims come besides, or in place of
// these where they have the same name. The account must have the issuer as an OIDC provider:
// PutOIDCProvider(srv.Issuer(), audience).
func (s *Server) WebIdentityToken(subject, audience string, further map[string]any) (string, error) {
	now := s.Now()
	claims := map[string]any{"iss": s.Issuer(), "sub": subject, "aud": []string{audience},
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(webIdentityLife).Unix()}
	maps.Copy(claims, further)
	return s.issuer.Sign(claims)
}

// PutIssuer has tokens that another issuer has signed verified with these keys, a JSON
// Web Key Set. The emulator fetches none.
func (s *Server) PutIssuer(url string, keys []byte) error { return s.world.PutIssuer(url, keys) }

// PutOIDCProvider has the account trust an issuer, for tokens with one of these
// audiences, and gives the ARN that trust policies name as Federated.
func (s *Server) PutOIDCProvider(issuer string, audiences ...string) (arn string, err error) {
	err = s.world.PutOIDCProvider(world.OIDCProvider{URL: issuer, ClientIDs: audiences})
	return s.world.OIDCProviderARN(issuer), err
}

// handleIssuer serves the own issuer as OpenID Connect Discovery has it, and takes the
// keys of others.
func (s *Server) handleIssuer(mux *http.ServeMux) {
	mux.HandleFunc("GET /_rediam/oidc/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"issuer": s.Issuer(), "jwks_uri": s.url + "/_rediam/oidc/keys", "response_types_supported": []string{"id_token"},
			"subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{"ES256"}})
	})
	mux.HandleFunc("GET /_rediam/oidc/keys", func(w http.ResponseWriter, _ *http.Request) {
		keys, _ := s.issuer.Keys() // it has been encoded before
		answer(w, json.RawMessage(keys))
	})
	handle(mux, "POST /_rediam/token", s.postToken)
	handle(mux, "POST /_rediam/issuer", s.postIssuer)
}

type tokenRequest struct {
	Subject  string         `json:"subject"`
	Audience string         `json:"audience"`
	Claims   map[string]any `json:"claims"`
}

func (s *Server) postToken(r tokenRequest) (map[string]string, error) {
	token, err := s.WebIdentityToken(r.Subject, r.Audience, r.Claims)
	return map[string]string{"token": token}, err
}

type issuerRequest struct {
	URL  string          `json:"url"`
	JWKS json.RawMessage `json:"jwks"`
}

func (s *Server) postIssuer(r issuerRequest) (map[string]string, error) {
	return map[string]string{"url": r.URL}, s.PutIssuer(r.URL, r.JWKS)
}
