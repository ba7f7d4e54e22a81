package emulator_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/redis/go-redis/v9"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/emulator"
)

const subject = "system:serviceaccount:shop:orders"

// federated has a role pod that the subject above may assume, and do what the default
// role may.
func federated(t testing.TB, srv *emulator.Server) {
	t.Helper()
	provider, err := srv.PutOIDCProvider(srv.Issuer(), "sts.amazonaws.com")
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(srv.Issuer(), "https://")
	role, _ := srv.Role(emulator.DefaultRole)
	role.Name, role.ID = "pod", ""
	role.Trust = fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":%q},"Action":"sts:AssumeRoleWithWebIdentity",
		"Condition":{"StringEquals":{"%s:sub":%q,"%s:aud":"sts.amazonaws.com"}}}]}`, provider, name, subject, name)
	if err := srv.PutRole(role); err != nil {
		t.Fatal(err)
	}
}

// webIdentity is how an SDK gets credentials in a pod.
func webIdentity(t testing.TB, srv *emulator.Server, subject string) *stscreds.WebIdentityRoleProvider {
	t.Helper()
	token, err := srv.WebIdentityToken(subject, "sts.amazonaws.com", nil)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	client := sts.New(sts.Options{Region: srv.Region(), BaseEndpoint: aws.String(srv.URL()), RetryMaxAttempts: 1})
	return stscreds.NewWebIdentityRoleProvider(client, srv.RoleARN("pod"), stscreds.IdentityTokenFile(file))
}

func TestAPodSignsInWithTheTokenOfItsServiceAccount(t *testing.T) {
	var log bytes.Buffer
	srv := emulator.Start(t, emulator.Config{Engine: "embedded", Log: slog.New(slog.NewTextHandler(&log, nil))})
	federated(t, srv)
	cache := srv.Cache(emulator.DefaultCache)
	signer := &rediam.Signer{Cache: cache.Name, User: emulator.DefaultUser, Region: srv.Region(), Credentials: webIdentity(t, srv, subject), Now: srv.Now}
	client := redis.NewClient(&redis.Options{Addr: cache.Addr, TLSConfig: cache.TLS, CredentialsProviderContext: rediam.BasicAuth(signer)})
	defer client.Close()
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	_, err := webIdentity(t, srv, "system:serviceaccount:shop:other").Retrieve(t.Context())
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != "AccessDenied" || api.ErrorMessage() != "Not authorized to perform sts:AssumeRoleWithWebIdentity" {
		t.Errorf("another service account: %v", err)
	}
	if err := srv.Close(); err != nil { // nobody writes the log any more
		t.Fatal(err)
	}
	if n := strings.Count(log.String(), "action=AssumeRoleWithWebIdentity"); n != 1 {
		t.Errorf("the log says %d times that it was refused:\n%s", n, &log)
	}
}

func TestManyPodsAssumeTheirRoleAtOnce(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	federated(t, srv)
	provider := webIdentity(t, srv, subject)
	const pods = 500
	var all sync.WaitGroup
	failures := make(chan error, pods)
	keys := sync.Map{}
	for range pods {
		all.Go(func() {
			c, err := provider.Retrieve(t.Context())
			if _, twice := keys.LoadOrStore(c.AccessKeyID, true); err == nil && twice {
				err = errors.New("two pods have the same key")
			}
			if err != nil {
				failures <- err
			}
		})
	}
	all.Wait()
	close(failures)
	for err := range failures {
		t.Error(err)
	}
}

// The issuer, the account's trust in it and a token are good in the next emulator too.
func TestTheIssuerOutlivesTheEmulator(t *testing.T) {
	config := emulator.Config{Engine: "embedded", State: filepath.Join(t.TempDir(), "state")}
	first, err := emulator.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	federated(t, first)
	provider := webIdentity(t, first, subject)
	if _, err := provider.Retrieve(t.Context()); err != nil {
		t.Error(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second := emulator.Start(t, config)
	if second.Issuer() != first.Issuer() {
		t.Errorf("the issuer was %s and is %s", first.Issuer(), second.Issuer())
	}
	if _, err := provider.Retrieve(t.Context()); err != nil { // at the same port
		t.Error(err)
	}
}

// post asks the emulator itself.
func post(t testing.TB, srv *emulator.Server, path, body string) (int, []byte) {
	t.Helper()
	response, err := http.Post(srv.URL()+path, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, answer
}

func get(t testing.TB, url string, into any) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(into); err != nil {
		t.Fatal(err)
	}
}

// One emulator can have the tokens of another, whose keys it is given over HTTP.
func TestAnotherIssuerIsMadeKnownOverHTTP(t *testing.T) {
	theirs := emulator.Start(t, emulator.Config{Engine: "embedded", Empty: true, Account: "210987654321"})
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	var discovered struct {
		Issuer string
		JWKS   string `json:"jwks_uri"`
	}
	get(t, theirs.URL()+"/_rediam/oidc/.well-known/openid-configuration", &discovered)
	var keys json.RawMessage
	get(t, discovered.JWKS, &keys)
	if discovered.Issuer != theirs.Issuer() || bytes.Contains(keys, []byte(`"d"`)) {
		t.Fatalf("issuer %s, want %s; keys %s", discovered.Issuer, theirs.Issuer(), keys)
	}
	status, answer := post(t, theirs, "/_rediam/token", `{"subject":"me","audience":"cli","claims":{"amr":["mfa"]}}`)
	var made struct{ Token string }
	if err := json.Unmarshal(answer, &made); err != nil || status != 200 {
		t.Fatalf("%d %s", status, answer)
	}
	provider, err := srv.PutOIDCProvider(discovered.Issuer, "cli")
	if err != nil {
		t.Fatal(err)
	}
	trust := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":%q},"Action":"sts:AssumeRoleWithWebIdentity",
		"Condition":{"ForAnyValue:StringEquals":{"%s:amr":"mfa"}}}]}`, provider, strings.TrimPrefix(discovered.Issuer, "https://"))
	if err := srv.PutRole(emulator.Role{Name: "cli", Trust: trust}); err != nil {
		t.Fatal(err)
	}
	assume := func() error {
		client := sts.New(sts.Options{Region: srv.Region(), BaseEndpoint: aws.String(srv.URL()), RetryMaxAttempts: 1})
		_, err := client.AssumeRoleWithWebIdentity(t.Context(), &sts.AssumeRoleWithWebIdentityInput{
			RoleArn: aws.String(srv.RoleARN("cli")), RoleSessionName: aws.String("me"), WebIdentityToken: &made.Token})
		return err
	}
	var api smithy.APIError
	if err := assume(); !errors.As(err, &api) || api.ErrorCode() != "InvalidIdentityToken" || !strings.Contains(api.ErrorMessage(), "Couldn't retrieve verification key") {
		t.Errorf("before the keys are known: %v", err)
	}
	if status, answer := post(t, srv, "/_rediam/issuer", fmt.Sprintf(`{"url":%q,"jwks":%s}`, discovered.Issuer, keys)); status != 200 {
		t.Fatalf("%d %s", status, answer)
	}
	if err := assume(); err != nil {
		t.Error(err)
	}
	srv.Advance(time.Hour)
	if err := assume(); !errors.As(err, &api) || api.ErrorCode() != "ExpiredTokenException" {
		t.Errorf("after an hour: %v", err)
	}
	for _, body := range []string{`{"url":"http://issuer.example.com","jwks":{"keys":[]}}`, `{"url":"https://issuer.example.com"}`, `{"url":"https://issuer.example.com","jwks":{"keys":[{"kty":"oct","k":"AAAA","kid":"a"}]}}`} {
		if status, answer := post(t, srv, "/_rediam/issuer", body); status != 400 {
			t.Errorf("%s: %d %s", body, status, answer)
		}
	}
}

func BenchmarkAssumeRoleWithWebIdentity(b *testing.B) {
	srv := emulator.Start(b, emulator.Config{Engine: "embedded"})
	federated(b, srv)
	provider := webIdentity(b, srv, subject)
	for b.Loop() {
		if _, err := provider.Retrieve(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
