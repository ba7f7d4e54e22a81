package emulator_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/rediam/rediam"
	"github.com/rediam/rediam/emulator"
	"github.com/redis/go-redis/v9"
)

// An imds is a client of one instance's metadata service.
type imds struct {
	url   string
	token string
}

// ask sends a request with headers name, value, name, value, and gives the answer.
func (c imds) ask(t testing.TB, method, path string, headers ...string) (status int, body string, header http.Header) {
	t.Helper()
	r, err := http.NewRequest(method, strings.TrimSuffix(c.url, "/")+path, nil)
	must(t, err)
	if c.token != "" {
		r.Header.Set("X-aws-ec2-metadata-token", c.token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		if r.Header.Set(headers[i], headers[i+1]); headers[i] == "Host" {
			r.Host = headers[i+1]
		}
	}
	response, err := http.DefaultClient.Do(r)
	must(t, err)
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	must(t, err)
	return response.StatusCode, string(content), response.Header
}

func (c imds) get(t testing.TB, path string) string {
	t.Helper()
	status, body, _ := c.ask(t, "GET", path)
	if status != 200 {
		t.Errorf("%s: %d %s", path, status, body)
	}
	return body
}

func (c imds) wantStatus(t testing.TB, what string, want int, method, path string, headers ...string) {
	t.Helper()
	if status, body, _ := c.ask(t, method, path, headers...); status != want {
		t.Errorf("%s: %d %s, want %d", what, status, body, want)
	}
}

const tokenTTL = "X-aws-ec2-metadata-token-ttl-seconds"

// session begins a session of IMDSv2.
func (c imds) session(t testing.TB, seconds int) imds {
	t.Helper()
	status, token, header := c.ask(t, "PUT", "/latest/api/token", tokenTTL, strconv.Itoa(seconds))
	if status != 200 || token == "" || header.Get(tokenTTL) != strconv.Itoa(seconds) {
		t.Fatalf("token: %d %q %v", status, token, header)
	}
	c.token = token
	return c
}

// instance runs an instance of the default role and begins a session with it.
func instance(t testing.TB, srv *emulator.Server) (id string, c imds) {
	t.Helper()
	id, err := srv.RunInstance(emulator.DefaultRole)
	must(t, err)
	return id, imds{url: srv.MetadataURL(id)}.session(t, 21600)
}

// A roleReport is what iam/security-credentials/ROLE says.
type roleReport struct {
	Code, Message, LastUpdated, Type, AccessKeyId, SecretAccessKey, Token string
	Expiration                                                            time.Time
}

func (c imds) role(t testing.TB, name string) (r roleReport) {
	t.Helper()
	must(t, json.Unmarshal([]byte(c.get(t, "/latest/meta-data/iam/security-credentials/"+name)), &r))
	return r
}

func (r roleReport) Retrieve(context.Context) (aws.Credentials, error) {
	return aws.Credentials{AccessKeyID: r.AccessKeyId, SecretAccessKey: r.SecretAccessKey, SessionToken: r.Token}, nil
}

// whoIs asks STS by these credentials alone.
func whoIs(t testing.TB, srv *emulator.Server, credentials aws.CredentialsProvider) (string, error) {
	t.Helper()
	client := sts.New(sts.Options{Region: srv.Region(), BaseEndpoint: aws.String(srv.URL()), Credentials: credentials})
	out, err := client.GetCallerIdentity(t.Context(), nil)
	if err != nil {
		return "", err
	}
	return *out.Arn, nil
}

func TestTheMetadataServiceNeedsASession(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	_, c := instance(t, srv)
	const path = "/latest/meta-data/instance-id"
	none := imds{url: c.url}
	none.wantStatus(t, "no token", 401, "GET", path)
	imds{c.url, c.token + "A"}.wantStatus(t, "a longer token", 401, "GET", path)
	imds{c.url, strings.Repeat("A", len(c.token))}.wantStatus(t, "a made-up token", 401, "GET", path)
	_, other := instance(t, srv)
	imds{c.url, other.token}.wantStatus(t, "the token of another instance", 401, "GET", path)
	for _, ttl := range []string{"", "0", "21601", "-1", "x"} {
		none.wantStatus(t, "a token for "+ttl+" seconds", 400, "PUT", "/latest/api/token", tokenTTL, ttl)
	}
	none.wantStatus(t, "through a proxy", 403, "PUT", "/latest/api/token", tokenTTL, "60", "X-Forwarded-For", "127.0.0.1")
	none.wantStatus(t, "a page under another name", 403, "PUT", "/latest/api/token", tokenTTL, "60", "Host", "rebound.example")
	c.wantStatus(t, "another method", 405, "POST", path)
	c.wantStatus(t, "another PUT", 405, "PUT", path)

	short := none.session(t, 60)
	short.get(t, path)
	srv.Advance(59 * time.Second)
	short.get(t, path)
	srv.Advance(time.Second)
	short.wantStatus(t, "a token that has ended", 401, "GET", path)
	if _, _, header := c.ask(t, "HEAD", path); header.Get(tokenTTL) == "" {
		t.Errorf("headers %v do not say how long the token lives", header)
	}
}

func TestWhatTheMetadataSay(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded", Region: "eu-west-1"})
	id, c := instance(t, srv)
	for path, want := range map[string]string{
		"/latest/":                                      "dynamic/\nmeta-data/",
		"/latest/meta-data/iam":                         "info\nsecurity-credentials/",
		"//latest//meta-data//iam//":                    "info\nsecurity-credentials/",
		"/latest/meta-data/placement/":                  "availability-zone\nregion",
		"/latest/meta-data/instance-id":                 id,
		"//latest/meta-data/instance-id":                id,
		"/latest/meta-data/iam/security-credentials/":   emulator.DefaultRole,
		"/latest/meta-data/placement/region":            "eu-west-1",
		"/latest/meta-data/placement/availability-zone": "eu-west-1a",
		"/latest/meta-data/local-ipv4":                  "172.31.0.4",
		"/latest/meta-data/instance-type":               "t3.micro",
		"/latest/meta-data/ami-id":                      "ami-1",
		"/latest/meta-data/local-hostname":              "ip-172-31-0-4.eu-west-1.compute.internal",
	} {
		if got := c.get(t, path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	if list := c.get(t, "/latest/meta-data/"); !strings.Contains(list, "\niam/\n") || !strings.Contains(list, "\ninstance-id\n") {
		t.Errorf("meta-data: %q", list)
	}
	var info struct{ Code, InstanceProfileArn, InstanceProfileId string }
	must(t, json.Unmarshal([]byte(c.get(t, "/latest/meta-data/iam/info")), &info))
	if info.Code != "Success" || info.InstanceProfileArn != "arn:aws:iam::123456789012:instance-profile/demo-app" || !strings.HasPrefix(info.InstanceProfileId, "AIPA") {
		t.Errorf("iam/info: %+v", info)
	}
	var document struct{ AccountID, InstanceID, Region, PrivateIP, Version string }
	must(t, json.Unmarshal([]byte(c.get(t, "/latest/dynamic/instance-identity/document")), &document))
	if document.AccountID != srv.Account() || document.InstanceID != id || document.Region != "eu-west-1" || document.PrivateIP != "172.31.0.4" {
		t.Errorf("identity document: %+v", document)
	}
	for _, path := range []string{"/latest/meta-data/colour", "/latest/user-data", "/latest/meta-data/iam/security-credentials/other", "/latest/meta-data/iam/inf", "/1.0/", "/../etc/passwd"} {
		status, body, header := c.ask(t, "GET", path)
		if status != 404 || !strings.Contains(body, "<h1>404 - Not Found</h1>") || header.Get("Content-Type") != "text/html" {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}

// New credentials are there in time, and the old ones end.
func TestAnInstancesCredentialsAreRenewed(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	id, c := instance(t, srv)
	want := "arn:aws:sts::123456789012:assumed-role/demo-app/" + id
	first := c.role(t, emulator.DefaultRole)
	if left := first.Expiration.Sub(srv.Now()); first.Code != "Success" || first.Type != "AWS-HMAC" || !strings.HasPrefix(first.AccessKeyId, "ASIA") || left <= 59*time.Minute || left > time.Hour {
		t.Fatalf("code %s, type %s, key %s, %v left", first.Code, first.Type, first.AccessKeyId, left)
	}
	if who, err := whoIs(t, srv, first); err != nil || who != want {
		t.Errorf("%s, %v, want %s", who, err, want)
	}
	srv.Advance(39 * time.Minute)
	if again := c.role(t, emulator.DefaultRole); again != first {
		t.Errorf("after 39 minutes: key %s, want %s", again.AccessKeyId, first.AccessKeyId)
	}
	srv.Advance(16 * time.Minute) // five minutes before the end
	second := c.role(t, emulator.DefaultRole)
	if second.AccessKeyId == first.AccessKeyId || second.SecretAccessKey == first.SecretAccessKey || second.Expiration.Before(first.Expiration.Add(30*time.Minute)) {
		t.Errorf("after 55 minutes: key %s until %v", second.AccessKeyId, second.Expiration)
	}
	for name, r := range map[string]roleReport{"old": first, "new": second} {
		if who, err := whoIs(t, srv, r); err != nil || who != want {
			t.Errorf("the %s key: %s, %v", name, who, err)
		}
	}
	srv.Advance(3 * time.Hour)
	for name, r := range map[string]roleReport{"old": first, "new": second} {
		if who, err := whoIs(t, srv, r); err == nil || !strings.Contains(err.Error(), "ExpiredToken") {
			t.Errorf("the %s key after hours: %s, %v", name, who, err)
		}
	}
	if who, err := whoIs(t, srv, c.role(t, emulator.DefaultRole)); err != nil || who != want {
		t.Errorf("the third key: %s, %v", who, err)
	}
}

// Restarted, the instance is there with its port; its sessions are over.
func TestAMetadataServiceKeepsItsPort(t *testing.T) {
	config := emulator.Config{Engine: "embedded", State: filepath.Join(t.TempDir(), "state")}
	srv := reopen(t, config)
	id, c := instance(t, srv)
	gone, _ := instance(t, srv)
	must(t, srv.TerminateInstance(gone))
	old := c.role(t, emulator.DefaultRole)
	must(t, srv.Close())
	again := reopen(t, config)
	if url := again.MetadataURL(id); url != c.url {
		t.Errorf("metadata at %q, want %q", url, c.url)
	}
	if url := again.MetadataURL(gone); url != "" {
		t.Errorf("the metadata of a terminated instance are at %s", url)
	}
	c.wantStatus(t, "a token of before", 401, "GET", "/latest/meta-data/instance-id")
	c = imds{url: c.url}.session(t, 60)
	now := c.role(t, emulator.DefaultRole)
	for name, r := range map[string]roleReport{"before": old, "now": now} {
		if who, err := whoIs(t, again, r); err != nil || !strings.HasSuffix(who, "/demo-app/"+id) {
			t.Errorf("the credentials of %s: %s, %v", name, who, err)
		}
	}
}

func TestNothingIsLeftOfATerminatedInstance(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	id, c := instance(t, srv)
	must(t, srv.TerminateInstance(id))
	if url := srv.MetadataURL(id); url != "" {
		t.Errorf("metadata at %s", url)
	}
	address := strings.Trim(strings.TrimPrefix(c.url, "http://"), "/")
	listener, err := net.Listen("tcp", address) // the port is free
	must(t, err)
	listener.Close()
	if err := srv.TerminateInstance("i-0123456789abcdef0"); err == nil {
		t.Error("an instance that never was is terminated")
	}
	_, other := instance(t, srv)
	must(t, srv.Close())
	listener, err = net.Listen("tcp", strings.Trim(strings.TrimPrefix(other.url, "http://"), "/"))
	must(t, err)
	listener.Close()
}

func TestTheEmulatorListsItsInstances(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	id, c := instance(t, srv)
	gone, _ := instance(t, srv)
	must(t, srv.TerminateInstance(gone))
	type shown struct{ ID, State, Profile, Role, Metadata string }
	var list []shown
	_, body, _ := imds{url: srv.URL()}.ask(t, "GET", "/_rediam/instances")
	must(t, json.Unmarshal([]byte(body), &list))
	want := map[string]shown{
		id:   {id, "running", "arn:aws:iam::123456789012:instance-profile/demo-app", "demo-app", c.url},
		gone: {ID: gone, State: "terminated"},
	}
	if len(list) != 2 || list[0] != want[list[0].ID] || list[1] != want[list[1].ID] || list[0] == list[1] {
		t.Errorf("%s", body)
	}
}

// A program with the Go SDK finds everything by the one variable.
func TestTheSDKOnAnInstance(t *testing.T) {
	var log bytes.Buffer
	srv := emulator.Start(t, emulator.Config{Engine: "embedded", Log: slog.New(slog.NewTextHandler(&log, nil))})
	id, c := instance(t, srv)
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_EC2_METADATA_DISABLED",
		"AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"} {
		t.Setenv(name, "")
	}
	nowhere := filepath.Join(t.TempDir(), "none")
	t.Setenv("AWS_CONFIG_FILE", nowhere)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", nowhere)
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", c.url)
	loaded, err := config.LoadDefaultConfig(t.Context(), config.WithEC2IMDSRegion())
	must(t, err)
	if loaded.Region != srv.Region() {
		t.Errorf("region %q of the metadata, want %q", loaded.Region, srv.Region())
	}
	who, err := whoIs(t, srv, loaded.Credentials)
	if want := "arn:aws:sts::123456789012:assumed-role/demo-app/" + id; err != nil || who != want {
		t.Errorf("%s, %v, want %s", who, err, want)
	}
	cache := srv.Cache(emulator.DefaultCache)
	signer := &rediam.Signer{Cache: cache.Name, User: emulator.DefaultUser, Region: loaded.Region, Credentials: loaded.Credentials, Now: srv.Now}
	client := redis.NewClient(&redis.Options{Addr: cache.Addr, TLSConfig: cache.TLS, CredentialsProviderContext: rediam.BasicAuth(signer)})
	defer client.Close()
	must(t, client.Ping(t.Context()).Err())
	events := srv.Events()
	if last := events[len(events)-1]; !last.Admitted() || !strings.HasSuffix(last.Principal, "assumed-role/demo-app/"+id) {
		t.Errorf("sign-in of %s: %s %s", last.Principal, last.Reason, last.Detail)
	}
	credentials := c.role(t, emulator.DefaultRole)
	must(t, srv.Close()) // nobody writes the log any more
	for name, secret := range map[string]string{"key": credentials.SecretAccessKey, "session token": credentials.Token, "metadata token": c.token} {
		if secret == "" || strings.Contains(log.String(), secret) {
			t.Errorf("the %s is in the log", name)
		}
	}
	if !strings.Contains(log.String(), "endpoint="+c.url) {
		t.Errorf("the log does not say where the metadata are: %s", log.String())
	}
}
