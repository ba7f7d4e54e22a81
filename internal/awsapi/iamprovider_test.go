package awsapi_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"

	"github.com/rediam/rediam/emulator"
)

func TestTheLifeOfAnOIDCProvider(t *testing.T) {
	_, c := iamAdmin(t)
	ctx := t.Context()
	const issuer, arn = "https://issuer.example.com/id/A/", "arn:aws:iam::123456789012:oidc-provider/issuer.example.com/id/A/"
	thumbprint := strings.Repeat("ab", 20)
	create := func(change func(*iam.CreateOpenIDConnectProviderInput)) error {
		in := &iam.CreateOpenIDConnectProviderInput{Url: aws.String(issuer), ClientIDList: []string{"sts.amazonaws.com"}, ThumbprintList: []string{thumbprint}, Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("b")}}}
		if change != nil {
			change(in)
		}
		out, err := c.CreateOpenIDConnectProvider(ctx, in)
		if err == nil && (*out.OpenIDConnectProviderArn != arn || len(out.Tags) != 1) {
			t.Errorf("made %s", *out.OpenIDConnectProviderArn)
		}
		return err
	}
	must(t, create(nil))
	for what, test := range map[string]struct {
		change        func(*iam.CreateOpenIDConnectProviderInput)
		status        int
		code, message string
	}{
		"the same again": {nil, 409, "EntityAlreadyExists", "Provider with url https://issuer.example.com/id/A/ already exists."},
		"http":           {func(in *iam.CreateOpenIDConnectProviderInput) { in.Url = aws.String("http://issuer.example.com") }, 400, "ValidationError", "Invalid Open ID Connect Provider URL"},
		"a query":        {func(in *iam.CreateOpenIDConnectProviderInput) { in.Url = aws.String("https://a.example.com/?b=c") }, 400, "ValidationError", "Invalid Open ID Connect Provider URL"},
		"a wildcard":     {func(in *iam.CreateOpenIDConnectProviderInput) { in.Url = aws.String("https://a.example.com/*") }, 400, "ValidationError", "Invalid Open ID Connect Provider URL"},
		"a long URL": {func(in *iam.CreateOpenIDConnectProviderInput) {
			in.Url = aws.String("https://" + strings.Repeat("a", 250))
		}, 400, "ValidationError", "255"},
		"too many clients": {func(in *iam.CreateOpenIDConnectProviderInput) { in.ClientIDList = slices.Repeat([]string{"a"}, 101) }, 409, "LimitExceeded", "Cannot exceed quota for ClientIdsPerOpenIdConnectProvider: 100"},
		"too many thumbprints": {func(in *iam.CreateOpenIDConnectProviderInput) {
			in.ThumbprintList = slices.Repeat([]string{thumbprint}, 6)
		}, 400, "InvalidInput", "Thumbprint list must contain fewer than 5 entries."},
		"a short thumbprint": {func(in *iam.CreateOpenIDConnectProviderInput) { in.ThumbprintList = []string{"ab"} }, 400, "ValidationError", "thumbprintList"},
		"a tag twice":        {func(in *iam.CreateOpenIDConnectProviderInput) { in.Tags = append(in.Tags, in.Tags...) }, 400, "InvalidInput", "Duplicate tag keys found."},
	} {
		refused(t, what, create(test.change), test.status, test.code, test.message)
	}
	for _, id := range []string{"cli", "cli", "gone"} {
		_, err := c.AddClientIDToOpenIDConnectProvider(ctx, &iam.AddClientIDToOpenIDConnectProviderInput{OpenIDConnectProviderArn: aws.String(arn), ClientID: &id})
		must(t, err)
	}
	for _, id := range []string{"gone", "never-there"} {
		_, err := c.RemoveClientIDFromOpenIDConnectProvider(ctx, &iam.RemoveClientIDFromOpenIDConnectProviderInput{OpenIDConnectProviderArn: aws.String(arn), ClientID: &id})
		must(t, err)
	}
	other := strings.Repeat("cd", 20)
	_, err1 := c.UpdateOpenIDConnectProviderThumbprint(ctx, &iam.UpdateOpenIDConnectProviderThumbprintInput{OpenIDConnectProviderArn: aws.String(arn), ThumbprintList: []string{other}})
	_, err2 := c.TagOpenIDConnectProvider(ctx, &iam.TagOpenIDConnectProviderInput{OpenIDConnectProviderArn: aws.String(arn), Tags: []types.Tag{{Key: aws.String("c"), Value: aws.String("d")}}})
	_, err3 := c.UntagOpenIDConnectProvider(ctx, &iam.UntagOpenIDConnectProviderInput{OpenIDConnectProviderArn: aws.String(arn), TagKeys: []string{"A"}})
	must(t, err1, err2, err3)
	got, err := c.GetOpenIDConnectProvider(ctx, &iam.GetOpenIDConnectProviderInput{OpenIDConnectProviderArn: aws.String(arn)})
	must(t, err)
	tags, err := c.ListOpenIDConnectProviderTags(ctx, &iam.ListOpenIDConnectProviderTagsInput{OpenIDConnectProviderArn: aws.String(arn)})
	must(t, err)
	if *got.Url != "issuer.example.com/id/A/" || !slices.Equal(got.ClientIDList, []string{"sts.amazonaws.com", "cli"}) || !slices.Equal(got.ThumbprintList, []string{other}) || got.CreateDate == nil || len(got.Tags) != 1 || len(tags.Tags) != 1 || *tags.Tags[0].Key != "c" {
		t.Errorf("%+v, tags %+v", got, tags.Tags)
	}
	list, err := c.ListOpenIDConnectProviders(ctx, nil)
	if err != nil || len(list.OpenIDConnectProviderList) != 1 || *list.OpenIDConnectProviderList[0].Arn != arn {
		t.Errorf("%+v, %v", list, err)
	}
	for range 2 { // it may be gone already
		_, err := c.DeleteOpenIDConnectProvider(ctx, &iam.DeleteOpenIDConnectProviderInput{OpenIDConnectProviderArn: aws.String(arn)})
		must(t, err)
	}
	_, err = c.GetOpenIDConnectProvider(ctx, &iam.GetOpenIDConnectProviderInput{OpenIDConnectProviderArn: aws.String(arn)})
	refused(t, "after its end", err, 404, "NoSuchEntity", "OpenIDConnect Provider not found for arn "+arn)
}

// idp is the metadata of a SAML identity provider, and how it signs.
func idp(t *testing.T) (metadata string, sign func(*etree.Element) *etree.Element) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	return `<EntityDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata" entityID="https://idp.example.com" validUntil="2040-01-02T03:04:05Z"><IDPSSODescriptor><KeyDescriptor><KeyInfo xmlns="http://www.w3.org/2000/09/xmldsig#"><X509Data><X509Certificate>` +
			base64.StdEncoding.EncodeToString(der) + `</X509Certificate></X509Data></KeyInfo></KeyDescriptor></IDPSSODescriptor>` + strings.Repeat("\n", 1000) + `</EntityDescriptor>`,
		func(e *etree.Element) *etree.Element {
			context, err := dsig.NewSigningContext(key, [][]byte{der})
			must(t, err)
			e, err = context.SignEnveloped(e)
			must(t, err)
			return e
		}
}

func TestTheLifeOfASAMLProvider(t *testing.T) {
	srv, c := iamAdmin(t)
	ctx := t.Context()
	const arn = "arn:aws:iam::123456789012:saml-provider/corp"
	metadata, sign := idp(t)
	create := func(name, document string) error {
		_, err := c.CreateSAMLProvider(ctx, &iam.CreateSAMLProviderInput{Name: &name, SAMLMetadataDocument: &document, Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("b")}}})
		return err
	}
	must(t, create("corp", metadata))
	refused(t, "the same in capitals", create("CORP", metadata), 409, "EntityAlreadyExists", "Provider with name CORP already exists.")
	refused(t, "a bad name", create("a b", metadata), 400, "ValidationError", "name")
	refused(t, "short metadata", create("other", "<EntityDescriptor/>"), 400, "ValidationError", "sAMLMetadataDocument")
	refused(t, "no metadata", create("other", strings.Repeat("x", 1000)), 400, "InvalidInput", "Could not parse metadata")
	refused(t, "metadata without a certificate", create("other", strings.Replace(metadata, "X509Certificate", "X509Other", 2)), 400, "InvalidInput", "Could not parse metadata")

	got, err := c.GetSAMLProvider(ctx, &iam.GetSAMLProviderInput{SAMLProviderArn: aws.String(arn)})
	must(t, err)
	if *got.SAMLMetadataDocument != metadata || got.ValidUntil.Year() != 2040 || got.CreateDate == nil || len(*got.SAMLProviderUUID) < 22 || len(got.Tags) != 1 {
		t.Errorf("%+v", got)
	}
	list, err := c.ListSAMLProviders(ctx, nil)
	if err != nil || len(list.SAMLProviderList) != 1 || *list.SAMLProviderList[0].Arn != arn || list.SAMLProviderList[0].ValidUntil.Year() != 2040 {
		t.Errorf("%+v, %v", list, err)
	}
	_, err = c.UpdateSAMLProvider(ctx, &iam.UpdateSAMLProviderInput{SAMLProviderArn: aws.String(arn)})
	refused(t, "no update", err, 400, "InvalidInput", "No updates are defined")
	updated, err := c.UpdateSAMLProvider(ctx, &iam.UpdateSAMLProviderInput{SAMLProviderArn: aws.String(arn), SAMLMetadataDocument: aws.String(metadata + "\n")})
	if err != nil || *updated.SAMLProviderArn != arn {
		t.Errorf("%+v, %v", updated, err)
	}
	_, err = c.TagSAMLProvider(ctx, &iam.TagSAMLProviderInput{SAMLProviderArn: aws.String(arn), Tags: []types.Tag{{Key: aws.String("c"), Value: aws.String("d")}}})
	must(t, err)
	_, err = c.UntagSAMLProvider(ctx, &iam.UntagSAMLProviderInput{SAMLProviderArn: aws.String(arn), TagKeys: []string{"a"}})
	must(t, err)
	tags, err := c.ListSAMLProviderTags(ctx, &iam.ListSAMLProviderTagsInput{SAMLProviderArn: aws.String(arn)})
	if err != nil || len(tags.Tags) != 1 || *tags.Tags[0].Key != "c" {
		t.Errorf("%+v, %v", tags, err)
	}

	must(t, srv.PutRole(emulator.Role{Name: "staff", Trust: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":"` + arn + `"},"Action":"sts:AssumeRoleWithSAML","Condition":{"StringEquals":{"saml:aud":"https://signin.aws.amazon.com/saml"}}}]}`}))
	now := srv.Now().UTC().Format(time.RFC3339)
	later := srv.Now().UTC().Add(time.Minute).Format(time.RFC3339)
	document := etree.NewDocument()
	must(t, document.ReadFromString(fmt.Sprintf(`<p:Response xmlns:p="urn:oasis:names:tc:SAML:2.0:protocol" xmlns:a="urn:oasis:names:tc:SAML:2.0:assertion" ID="r"><p:Status><p:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Success"/></p:Status><a:Assertion ID="a" IssueInstant="%s"><a:Issuer>https://idp.example.com</a:Issuer><a:Subject><a:NameID Format="urn:oasis:names:tc:SAML:2.0:nameid-format:transient">me</a:NameID><a:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer"><a:SubjectConfirmationData NotOnOrAfter="%s" Recipient="https://signin.aws.amazon.com/saml"/></a:SubjectConfirmation></a:Subject><a:Conditions><a:AudienceRestriction><a:Audience>urn:amazon:webservices</a:Audience></a:AudienceRestriction></a:Conditions><a:AttributeStatement><a:Attribute Name="https://aws.amazon.com/SAML/Attributes/Role"><a:AttributeValue>%s,%s</a:AttributeValue></a:Attribute><a:Attribute Name="https://aws.amazon.com/SAML/Attributes/RoleSessionName"><a:AttributeValue>me</a:AttributeValue></a:Attribute></a:AttributeStatement></a:Assertion></p:Response>`,
		now, later, srv.RoleARN("staff"), arn)))
	document.SetRoot(sign(document.Root()))
	response, err := document.WriteToBytes()
	must(t, err)
	assume := func() (*sts.AssumeRoleWithSAMLOutput, error) {
		return client(srv, aws.AnonymousCredentials{}).AssumeRoleWithSAML(ctx, &sts.AssumeRoleWithSAMLInput{RoleArn: aws.String(srv.RoleARN("staff")), PrincipalArn: aws.String(arn), SAMLAssertion: aws.String(base64.StdEncoding.EncodeToString(response))})
	}
	out, err := assume()
	must(t, err)
	if *out.Subject != "me" || *out.SubjectType != "transient" || *out.Issuer != "https://idp.example.com" || *out.Audience != "https://signin.aws.amazon.com/saml" || *out.NameQualifier == "" || *out.AssumedRoleUser.Arn != "arn:aws:sts::123456789012:assumed-role/staff/me" {
		t.Errorf("%+v", out)
	}
	if who, err := client(srv, static(out.Credentials)).GetCallerIdentity(ctx, nil); err != nil || *who.Arn != *out.AssumedRoleUser.Arn {
		t.Errorf("%+v, %v", who, err)
	}
	srv.Advance(time.Minute)
	_, err = assume()
	refused(t, "too late", err, 400, "ExpiredTokenException", "Token must be redeemed within 5 minutes of issuance")

	_, err = c.DeleteSAMLProvider(ctx, &iam.DeleteSAMLProviderInput{SAMLProviderArn: aws.String(arn)})
	must(t, err)
	_, err = c.DeleteSAMLProvider(ctx, &iam.DeleteSAMLProviderInput{SAMLProviderArn: aws.String(arn)})
	refused(t, "after its end", err, 404, "NoSuchEntity", "Manifest not found for arn "+arn)
}

// Only the two operations that bring somebody's word may come without a signature.
func TestNothingElseNeedsNoSignature(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	for action, want := range map[string]string{
		"AssumeRoleWithWebIdentity": "ValidationError", "AssumeRoleWithSAML": "ValidationError", "AssumeRole": "MissingAuthenticationToken",
		"GetCallerIdentity": "MissingAuthenticationToken", "CreateUser": "MissingAuthenticationToken", "": "MissingAuthenticationToken"} {
		response, err := http.PostForm(srv.URL(), url.Values{"Action": {action}, "Version": {"2011-06-15"}, "WebIdentityToken": {"abcd"}})
		must(t, err)
		b, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || !strings.Contains(string(b), "<Code>"+want+"</Code>") || response.StatusCode < 400 {
			t.Errorf("%s: %d %s, want %s", action, response.StatusCode, b, want)
		}
	}
}

func TestTheCLIHandsInAWebIdentityToken(t *testing.T) {
	eachCLI(t, func(t *testing.T, srv *emulator.Server, c cli) {
		iam := func(arguments ...string) string {
			output, ok := c.run(t, append([]string{"iam", "--endpoint-url", srv.URL()}, arguments...)...)
			if !ok {
				t.Errorf("%v: %s", arguments, output)
			}
			return output
		}
		name := strings.TrimPrefix(srv.Issuer(), "https://")
		arn := "arn:aws:iam::123456789012:oidc-provider/" + name
		if output := iam("create-open-id-connect-provider", "--url", srv.Issuer(), "--client-id-list", "sts.amazonaws.com", "--thumbprint-list", strings.Repeat("a", 40)); !strings.Contains(output, arn) {
			t.Errorf("made %s", output)
		}
		iam("create-role", "--role-name", "pod", "--assume-role-policy-document", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":"`+arn+`"},"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"StringEquals":{"`+name+`:sub":"me"}}}]}`)
		token, err := srv.WebIdentityToken("me", "sts.amazonaws.com", nil)
		must(t, err)
		file := filepath.Join(t.TempDir(), "token")
		must(t, os.WriteFile(file, []byte(token+"\n"), 0o600))
		c.environment = slices.DeleteFunc(c.environment, func(v string) bool {
			return strings.HasPrefix(v, "AWS_ACCESS_KEY_ID=") || strings.HasPrefix(v, "AWS_SECRET_ACCESS_KEY=") || strings.HasPrefix(v, "AWS_SESSION_TOKEN=")
		})
		output, ok := c.run(t, "sts", "assume-role-with-web-identity", "--endpoint-url", srv.URL(), "--role-arn", srv.RoleARN("pod"), "--role-session-name", "cli", "--web-identity-token", "file://"+file)
		for _, want := range []string{`"SubjectFromWebIdentityToken": "me"`, `"Audience": "sts.amazonaws.com"`, `"Provider": "` + arn + `"`, `"Arn": "arn:aws:sts::123456789012:assumed-role/pod/cli"`, `"SessionToken"`} {
			if !ok || !strings.Contains(output, want) {
				t.Errorf("%s, want %s", output, want)
			}
		}
		if !c.knowsEndpointVariable(t) {
			return // it would ask AWS itself for credentials
		}
		c.environment = append(c.environment, "AWS_ENDPOINT_URL="+srv.URL(), "AWS_WEB_IDENTITY_TOKEN_FILE="+file, "AWS_ROLE_ARN="+srv.RoleARN("pod"), "AWS_ROLE_SESSION_NAME=env")
		if output, ok := c.run(t, "sts", "get-caller-identity"); !ok || !strings.Contains(output, ":assumed-role/pod/env") {
			t.Errorf("with AWS_WEB_IDENTITY_TOKEN_FILE: %s", output)
		}
	})
}
