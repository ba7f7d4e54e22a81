package world

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/rediam/rediam/internal/federation"
)

// Quotas of identity providers (IAM User Guide, "IAM and AWS STS quotas").
const (
	maxProviders   = 100 // of either kind
	maxProviderURL = 255
	maxClientID    = 255
	maxClientIDs   = 100
	maxThumbprints = 5
	thumbprintSize = 40
)

// An OIDCProvider is an issuer of web identity tokens that the account trusts.
type OIDCProvider struct {
	URL         string   // https://…; the iss of its tokens
	ClientIDs   []string // whom its tokens may be for
	Thumbprints []string // of certificates; the emulator has no use for them
	Tags        map[string]string
	Created     time.Time // set by the world
}

func (p OIDCProvider) clone() OIDCProvider {
	p.ClientIDs, p.Thumbprints, p.Tags = slices.Clone(p.ClientIDs), slices.Clone(p.Thumbprints), maps.Clone(p.Tags)
	return p
}

// OIDCProviderARN is the ARN of the provider with a URL.
func (w *World) OIDCProviderARN(url string) string {
	return w.arn("iam", "", w.Account, "oidc-provider/"+strings.TrimPrefix(url, "https://"))
}

// CreateOIDCProvider makes a provider.
func (w *World) CreateOIDCProvider(p OIDCProvider) (OIDCProvider, error) {
	return w.putOIDCProvider(p, false)
}

// PutOIDCProvider makes a provider, or changes the one with its URL.
func (w *World) PutOIDCProvider(p OIDCProvider) error {
	_, err := w.putOIDCProvider(p, true)
	return err
}

func (w *World) putOIDCProvider(p OIDCProvider, replace bool) (OIDCProvider, error) {
	p = p.clone()
	p.Created = w.stamp()
	if err := p.check(); err != nil {
		return p, err
	}
	err := w.change(func() error {
		old, ok := w.oidc.get(p.URL)
		switch {
		case ok && replace:
			p.Created = old.Created
		case ok:
			return errorf("EntityAlreadyExists", "Provider with url %s already exists.", p.URL)
		case len(w.oidc.rows) >= maxProviders:
			return errorf("LimitExceeded", "Cannot exceed quota for OpenIdConnectProvidersPerAccount: %d", maxProviders)
		}
		w.oidc.put(p.URL, p)
		return nil
	})
	return p, err
}

func (p OIDCProvider) check() error {
	if len(p.URL) > maxProviderURL {
		return errorf("ValidationError", "1 validation error detected: Value at 'url' failed to satisfy constraint: Member must have length less than or equal to %d", maxProviderURL)
	}
	if !isIssuerURL(p.URL) {
		return errorf("ValidationError", "Invalid Open ID Connect Provider URL")
	}
	if len(p.ClientIDs) > maxClientIDs {
		return errorf("LimitExceeded", "Cannot exceed quota for ClientIdsPerOpenIdConnectProvider: %d", maxClientIDs)
	}
	for _, id := range p.ClientIDs {
		if id == "" || len(id) > maxClientID {
			return errorf("ValidationError", "1 validation error detected: Value at 'clientID' failed to satisfy constraint: Member must have length from 1 to %d", maxClientID)
		}
	}
	if len(p.Thumbprints) > maxThumbprints {
		return errorf("InvalidInput", "Thumbprint list must contain fewer than %d entries.", maxThumbprints)
	}
	for _, t := range p.Thumbprints {
		if len(t) != thumbprintSize {
			return errorf("ValidationError", "1 validation error detected: Value at 'thumbprintList' failed to satisfy constraint: Member must have length %d", thumbprintSize)
		}
	}
	return checkTags(p.Tags)
}

// isIssuerURL is whether AWS takes a URL for an issuer: https, a host and perhaps a
// path (IAM API Reference, CreateOpenIDConnectProvider).
func isIssuerURL(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && raw == "https://"+u.Host+u.Path && u.Hostname() != "" && !strings.ContainsAny(raw, " *?#@")
}

// OIDCProvider finds a provider by its ARN.
func (w *World) OIDCProvider(arn string) (OIDCProvider, error) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	p, err := w.oidcProvider(arn)
	return p.clone(), err
}

func (w *World) oidcProvider(arn string) (OIDCProvider, error) {
	address, ours := strings.CutPrefix(arn, w.OIDCProviderARN(""))
	p, ok := w.oidc.get("https://" + address)
	if !ok || !ours {
		return p, errorf("NoSuchEntity", "OpenIDConnect Provider not found for arn %.256s", arn)
	}
	return p, nil
}

// OIDCProviders are all of them, by URL.
func (w *World) OIDCProviders() []OIDCProvider {
	w.mu.RLock()
	defer w.mu.RUnlock()
	all := []OIDCProvider{}
	for _, key := range w.oidc.keys() {
		all = append(all, w.oidc.rows[key].clone())
	}
	return all
}

// ChangeOIDCProvider changes the client ids, thumbprints or tags of a provider.
func (w *World) ChangeOIDCProvider(arn string, change func(*OIDCProvider)) error {
	return w.change(func() error {
		p, err := w.oidcProvider(arn)
		if err != nil {
			return err
		}
		p = p.clone()
		change(&p)
		w.oidc.put(p.URL, p)
		return p.check()
	})
}

// TagOIDCProvider adds tags to a provider, and takes those away that have one of the keys.
func (w *World) TagOIDCProvider(arn string, tags map[string]string, without []string) error {
	return w.ChangeOIDCProvider(arn, func(p *OIDCProvider) { p.Tags = withTags(p.Tags, tags, without) })
}

// DeleteOIDCProvider deletes a provider, if there is one.
func (w *World) DeleteOIDCProvider(arn string) error {
	return w.change(func() error {
		if p, err := w.oidcProvider(arn); err == nil {
			w.oidc.delete(p.URL)
		}
		return nil
	})
}

// An issuer has keys. AWS fetches them from the issuer; here somebody must bring them.
type issuer struct {
	Keys   []byte // a JSON Web Key Set
	parsed federation.Keys
}

func unpackIssuer(record []byte) (i issuer, err error) {
	if i, err = fromJSON[issuer](record); err == nil {
		i.parsed, err = federation.ParseKeys(i.Keys)
	}
	return i, err
}

// PutIssuer sets the keys, a JSON Web Key Set, with which tokens that say this iss
// are verified.
func (w *World) PutIssuer(url string, keys []byte) error {
	if !isIssuerURL(url) || len(url) > maxProviderURL {
		return errorf("InvalidParameterValue", "an issuer is a URL such as https://issuer.example.com, of at most %d characters", maxProviderURL)
	}
	parsed, err := federation.ParseKeys(keys)
	if err != nil {
		return errorf("InvalidParameterValue", "%s", err)
	}
	return w.change(func() error {
		if _, ok := w.issuers.get(url); !ok && len(w.issuers.rows) >= maxProviders {
			return errorf("LimitExceeded", "the emulator keeps the keys of %d issuers", maxProviders)
		}
		w.issuers.put(url, issuer{slices.Clone(keys), parsed})
		return nil
	})
}
