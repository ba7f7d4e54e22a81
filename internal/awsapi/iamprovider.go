package awsapi

import (
	"slices"
	"strings"
	"time"

	"github.com/rediam/rediam/internal/world"
)

type (
	ofOIDC struct {
		OpenIDConnectProviderArn string `aws:",required"`
	}
	ofSAML struct {
		SAMLProviderArn string `aws:",required"`
	}
)

func (p ofOIDC) arn(*call) string { return p.OpenIDConnectProviderArn }
func (p ofSAML) arn(*call) string { return p.SAMLProviderArn }

func (p ofOIDC) tags(c *call) (map[string]string, error) {
	provider, err := c.world.OIDCProvider(p.OpenIDConnectProviderArn)
	return provider.Tags, err
}
func (p ofSAML) tags(c *call) (map[string]string, error) {
	provider, err := c.world.SAMLProvider(p.SAMLProviderArn)
	return provider.Tags, err
}

func (p ofOIDC) tag(c *call, add map[string]string, without []string) error {
	return c.world.TagOIDCProvider(p.OpenIDConnectProviderArn, add, without)
}
func (p ofSAML) tag(c *call, add map[string]string, without []string) error {
	return c.world.TagSAMLProvider(p.SAMLProviderArn, add, without)
}

type newOIDCRequest struct {
	Url            string `aws:",required"`
	ClientIDList   []string
	ThumbprintList []string
	Tags           []tag
}

type newOIDCResult struct {
	OpenIDConnectProviderArn string
	Tags                     []tag
}

func onNewOIDC(c *call, in newOIDCRequest) []string {
	c.describeTags(in.Tags)
	return []string{c.world.OIDCProviderARN(in.Url)}
}

func createOIDC(c *call, in newOIDCRequest) (out newOIDCResult, err error) {
	tags, err := tagMap(in.Tags)
	if err != nil {
		return out, err
	}
	p, err := c.world.CreateOIDCProvider(world.OIDCProvider{URL: in.Url, ClientIDs: in.ClientIDList, Thumbprints: in.ThumbprintList, Tags: tags})
	return newOIDCResult{c.world.OIDCProviderARN(p.URL), someTags(p.Tags)}, err
}

type oidcProvider struct {
	Url                          string // without https://
	ClientIDList, ThumbprintList []string
	CreateDate                   time.Time
	Tags                         []tag
}

func getOIDC(c *call, in of[ofOIDC]) (oidcProvider, error) {
	p, err := c.world.OIDCProvider(in.On.OpenIDConnectProviderArn)
	return oidcProvider{strings.TrimPrefix(p.URL, "https://"), slices.Concat([]string{}, p.ClientIDs), slices.Concat([]string{}, p.Thumbprints), p.Created, someTags(p.Tags)}, err
}

type oidcList struct{ OpenIDConnectProviderList []struct{ Arn string } }

func listOIDC(c *call, _ none) (out oidcList, err error) {
	out.OpenIDConnectProviderList = []struct{ Arn string }{}
	for _, p := range c.world.OIDCProviders() {
		out.OpenIDConnectProviderList = append(out.OpenIDConnectProviderList, struct{ Arn string }{c.world.OIDCProviderARN(p.URL)})
	}
	return out, nil
}

type oidcClient struct {
	of[ofOIDC] `aws:",inline"`
	ClientID   string `aws:",required"`
}

// addClientID does nothing if the id is there, removeClientID if it is not (IAM API
// Reference).
func addClientID(c *call, in oidcClient) (none, error) {
	return none{}, c.world.ChangeOIDCProvider(in.On.OpenIDConnectProviderArn, func(p *world.OIDCProvider) {
		if !slices.Contains(p.ClientIDs, in.ClientID) {
			p.ClientIDs = append(p.ClientIDs, in.ClientID)
		}
	})
}

func removeClientID(c *call, in oidcClient) (none, error) {
	return none{}, c.world.ChangeOIDCProvider(in.On.OpenIDConnectProviderArn, func(p *world.OIDCProvider) {
		p.ClientIDs = slices.DeleteFunc(p.ClientIDs, func(id string) bool { return id == in.ClientID })
	})
}

type oidcThumbprints struct {
	of[ofOIDC]     `aws:",inline"`
	ThumbprintList []string `aws:",required"`
}

func updateThumbprint(c *call, in oidcThumbprints) (none, error) {
	return none{}, c.world.ChangeOIDCProvider(in.On.OpenIDConnectProviderArn, func(p *world.OIDCProvider) { p.Thumbprints = in.ThumbprintList })
}

func deleteOIDC(c *call, in of[ofOIDC]) (none, error) {
	return none{}, c.world.DeleteOIDCProvider(in.On.OpenIDConnectProviderArn)
}

type newSAMLRequest struct {
	Name                 string `aws:",required"`
	SAMLMetadataDocument string `aws:",required"`
	Tags                 []tag
}

type newSAMLResult struct {
	SAMLProviderArn string
	Tags            []tag
}

func onNewSAML(c *call, in newSAMLRequest) []string {
	c.describeTags(in.Tags)
	return []string{c.world.SAMLProviderARN(in.Name)}
}

func createSAML(c *call, in newSAMLRequest) (out newSAMLResult, err error) {
	tags, err := tagMap(in.Tags)
	if err != nil {
		return out, err
	}
	p, err := c.world.CreateSAMLProvider(in.Name, in.SAMLMetadataDocument, tags)
	return newSAMLResult{c.world.SAMLProviderARN(p.Name), someTags(p.Tags)}, err
}

type samlProvider struct {
	SAMLProviderUUID, SAMLMetadataDocument string
	CreateDate, ValidUntil                 time.Time
	Tags                                   []tag
}

func getSAML(c *call, in of[ofSAML]) (samlProvider, error) {
	p, err := c.world.SAMLProvider(in.On.SAMLProviderArn)
	return samlProvider{p.ID, p.Metadata, p.Created, p.ValidUntil, someTags(p.Tags)}, err
}

type samlEntry struct {
	Arn                    string
	ValidUntil, CreateDate time.Time
}

type samlList struct{ SAMLProviderList []samlEntry }

func listSAML(c *call, _ none) (out samlList, err error) {
	out.SAMLProviderList = []samlEntry{}
	for _, p := range c.world.SAMLProviders() {
		out.SAMLProviderList = append(out.SAMLProviderList, samlEntry{c.world.SAMLProviderARN(p.Name), p.ValidUntil, p.Created})
	}
	return out, nil
}

type samlMetadata struct {
	of[ofSAML]           `aws:",inline"`
	SAMLMetadataDocument string
}

type samlUpdated struct{ SAMLProviderArn string }

func updateSAML(c *call, in samlMetadata) (samlUpdated, error) {
	if in.SAMLMetadataDocument == "" { // IAM User Guide, "Troubleshoot SAML federation with IAM"
		return samlUpdated{}, &world.Error{Code: "InvalidInput", Message: "Unable to update identity provider. No updates are defined for metadata or encryption assertion."}
	}
	return samlUpdated{in.On.SAMLProviderArn}, c.world.UpdateSAMLProvider(in.On.SAMLProviderArn, in.SAMLMetadataDocument)
}

func deleteSAML(c *call, in of[ofSAML]) (none, error) {
	return none{}, c.world.DeleteSAMLProvider(in.On.SAMLProviderArn)
}
