package world

import (
	"maps"
	"regexp"
	"strings"
	"time"

	"github.com/rediam/rediam/internal/federation"
)

const (
	minMetadata = 1000
	maxMetadata = 10_000_000
	// metadataLife is how long metadata are good that do not say themselves.
	metadataLife = 100 * 365 * 24 * time.Hour
)

var samlName = regexp.MustCompile(`^[\w.-]{1,128}$`)

// A SAMLProvider is an identity provider that signs SAML responses and that the
// account trusts.
type SAMLProvider struct {
	Name       string
	Metadata   string // its metadata document
	Tags       map[string]string
	ID         string // set by the world
	Created    time.Time
	ValidUntil time.Time // as the metadata say
}

// samlProvider is a SAMLProvider with its metadata parsed.
type samlProvider struct {
	SAMLProvider
	metadata federation.Metadata
}

func packSAMLProvider(p samlProvider) any { return p.SAMLProvider }

func unpackSAMLProvider(record []byte) (p samlProvider, err error) {
	if p.SAMLProvider, err = fromJSON[SAMLProvider](record); err == nil {
		p.metadata, err = federation.ParseMetadata([]byte(p.Metadata))
	}
	return p, err
}

// describe gives a provider its metadata.
func (p *samlProvider) describe(document string) (err error) {
	if len(document) < minMetadata || len(document) > maxMetadata {
		return errorf("ValidationError", "1 validation error detected: Value at 'sAMLMetadataDocument' failed to satisfy constraint: Member must have length from %d to %d", minMetadata, maxMetadata)
	}
	if p.metadata, err = federation.ParseMetadata([]byte(document)); err != nil {
		return errorf("InvalidInput", "Could not parse metadata")
	}
	p.Metadata, p.ValidUntil = document, p.metadata.ValidUntil
	if p.ValidUntil.IsZero() {
		p.ValidUntil = p.Created.Add(metadataLife)
	}
	return nil
}

// SAMLProviderARN is the ARN of the provider with a name.
func (w *World) SAMLProviderARN(name string) string {
	return w.arn("iam", "", w.Account, "saml-provider/"+name)
}

// CreateSAMLProvider makes a provider.
func (w *World) CreateSAMLProvider(name, metadata string, tags map[string]string) (SAMLProvider, error) {
	p := samlProvider{SAMLProvider: SAMLProvider{Name: name, Tags: maps.Clone(tags), ID: random32(20), Created: w.stamp()}}
	if !samlName.MatchString(name) {
		return p.SAMLProvider, errorf("ValidationError", `1 validation error detected: Value at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: [\w._-]+, of at most 128 characters`)
	}
	if err := firstOf(p.describe(metadata), checkTags(tags)); err != nil {
		return p.SAMLProvider, err
	}
	return p.SAMLProvider, w.change(func() error {
		if taken(&w.saml, name) {
			return errorf("EntityAlreadyExists", "Provider with name %s already exists.", name)
		}
		if len(w.saml.rows) >= maxProviders {
			return errorf("LimitExceeded", "Cannot exceed quota for SAMLProvidersPerAccount: %d", maxProviders)
		}
		w.saml.put(name, p)
		return nil
	})
}

// SAMLProvider finds a provider by its ARN.
func (w *World) SAMLProvider(arn string) (SAMLProvider, error) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	p, err := w.samlProvider(arn)
	p.Tags = maps.Clone(p.Tags)
	return p.SAMLProvider, err
}

func (w *World) samlProvider(arn string) (samlProvider, error) {
	name, ours := strings.CutPrefix(arn, w.SAMLProviderARN(""))
	p, ok := w.saml.get(name)
	if !ok || !ours {
		return samlProvider{}, errorf("NoSuchEntity", "Manifest not found for arn %.256s", arn)
	}
	return p, nil
}

// SAMLProviders are all of them, by name.
func (w *World) SAMLProviders() []SAMLProvider {
	w.mu.RLock()
	defer w.mu.RUnlock()
	all := []SAMLProvider{}
	for _, key := range w.saml.keys() {
		p := w.saml.rows[key].SAMLProvider
		p.Tags = maps.Clone(p.Tags)
		all = append(all, p)
	}
	return all
}

func (w *World) changeSAMLProvider(arn string, change func(*samlProvider) error) error {
	return w.change(func() error {
		p, err := w.samlProvider(arn)
		if err != nil {
			return err
		}
		if err := change(&p); err != nil {
			return err
		}
		w.saml.put(p.Name, p)
		return nil
	})
}

// UpdateSAMLProvider gives a provider other metadata.
func (w *World) UpdateSAMLProvider(arn, metadata string) error {
	return w.changeSAMLProvider(arn, func(p *samlProvider) error { return p.describe(metadata) })
}

// TagSAMLProvider adds tags to a provider, and takes those away that have one of the keys.
func (w *World) TagSAMLProvider(arn string, tags map[string]string, without []string) error {
	return w.changeSAMLProvider(arn, func(p *samlProvider) error {
		p.Tags = withTags(p.Tags, tags, without)
		return checkTags(p.Tags)
	})
}

// DeleteSAMLProvider deletes a provider.
func (w *World) DeleteSAMLProvider(arn string) error {
	return w.change(func() error {
		p, err := w.samlProvider(arn)
		if err == nil {
			w.saml.delete(p.Name)
		}
		return err
	})
}
