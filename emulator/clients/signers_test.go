package clients_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/rediam/rediam/emulator"
	"github.com/redis/go-redis/v9"
)

// Kinds of cache, and what a signer is told about each.
var kinds = []struct {
	name    string
	config  emulator.Config
	service string
	more    []string
}{
	{"ElastiCache", emulator.Config{Engine: "embedded", Kind: emulator.ReplicationGroup}, "elasticache", nil},
	{"MemoryDB", emulator.Config{Engine: "embedded", Kind: emulator.Cluster, Region: "eu-west-1"}, "memorydb", nil},
	{"serverless", emulator.Config{Engine: "embedded", Kind: emulator.ServerlessCache}, "elasticache", []string{"serverless"}},
}

// credentials are a long-term key, which has no session token, and those of a
// role, which have one.
func credentials(t *testing.T, srv *emulator.Server) map[string]aws.Credentials {
	t.Helper()
	key, err := srv.CreateAccessKey(emulator.AdminUser)
	must(t, err)
	longTerm, err := emulator.KeyCredentials(key).Retrieve(t.Context())
	must(t, err)
	temporary, err := srv.Credentials(emulator.DefaultRole).Retrieve(t.Context())
	must(t, err)
	if longTerm.SessionToken != "" || temporary.SessionToken == "" {
		t.Fatalf("session tokens are not where they should be")
	}
	return map[string]aws.Credentials{"without session token": longTerm, "with session token": temporary}
}

// A signer makes a token. Its arguments are SERVICE CACHE USER REGION
// [serverless].
type signer func(t *testing.T, c aws.Credentials, arguments []string) string

// signers find signers, or skip the test.
var signers = map[string]func(t *testing.T) signer{
	"botocore":                  func(t *testing.T) signer { return prints(python(t, "botocore", "botocore", "sign.py")) },
	"aws-sigv4 of Ruby":         func(t *testing.T) signer { return prints(ruby(t, "ruby-aws-sigv4", "aws-sigv4", "sign.rb")) },
	"the AWS SDK of JavaScript": func(t *testing.T) signer { return prints(node(t, "node", "@smithy/signature-v4", "sign.js")) },
	"the AWS SDK of Go":         func(*testing.T) signer { return signWithGo },
}

// prints is the signer that a program is.
func prints(program command) signer {
	return func(t *testing.T, c aws.Credentials, arguments []string) string {
		t.Helper()
		output, ok := program.run(t, keys(c), arguments...)
		if !ok {
			t.Fatalf("the signer has failed: %s", output)
		}
		return strings.TrimSuffix(output, "\n")
	}
}

func signWithGo(t *testing.T, c aws.Credentials, arguments []string) string {
	t.Helper()
	service, cache, user, region := arguments[0], arguments[1], arguments[2], arguments[3]
	query := url.Values{"Action": {"connect"}, "User": {user}, "X-Amz-Expires": {"900"}}
	if len(arguments) == 5 {
		query.Set("ResourceType", "ServerlessCache")
	}
	r, err := http.NewRequest(http.MethodGet, "https://"+cache+"/?"+query.Encode(), nil)
	must(t, err)
	const nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" // its SHA-256
	signed, _, err := v4.NewSigner().PresignHTTP(t.Context(), c, r, nothing, service, region, time.Now())
	must(t, err)
	return strings.TrimPrefix(signed, "https://")
}

func TestTokensOfIndependentSignersAreAdmitted(t *testing.T) {
	for name, find := range signers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sign := find(t)
			for _, kind := range kinds {
				srv := emulator.Start(t, kind.config)
				arguments := append([]string{kind.service, emulator.DefaultCache, emulator.DefaultUser, srv.Region()}, kind.more...)
				for name, c := range credentials(t, srv) {
					t.Run(kind.name+" "+name, func(t *testing.T) {
						token := sign(t, c, arguments)
						if err := signIn(t, srv, token); err != nil {
							t.Errorf("SET: %v", err)
						}
						wantLast(t, srv, c.AccessKeyID, "")
						if err := signIn(t, srv, spoil(t, token)); err == nil || !strings.Contains(err.Error(), "WRONGPASS") {
							t.Errorf("SET with another signature: %v", err)
						}
						wantLast(t, srv, c.AccessKeyID, "wrong-signature")
					})
				}
			}
		})
	}
}

// GLIDE signs by itself. It has no way to sign for serverless caches.
func TestGLIDESignsInWithItsOwnIAM(t *testing.T) {
	for _, kind := range kinds[:2] {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			glide := node(t, "glide", "@valkey/valkey-glide", "glide.js")
			srv := emulator.Start(t, kind.config)
			for name, c := range credentials(t, srv) {
				t.Run(name, func(t *testing.T) {
					output, ok := glide.run(t, append(keys(c), place(t, srv)...), kind.service, emulator.DefaultCache, emulator.DefaultUser, srv.Region())
					want := line("set", "OK") + line("get", "bar1")
					if !ok || output != want {
						t.Errorf("GLIDE has printed\n%swant\n%s", output, want)
					}
					wantLast(t, srv, c.AccessKeyID, "")
				})
			}
			c, err := srv.Credentials(emulator.DefaultRole).Retrieve(t.Context())
			must(t, err)
			c.SecretAccessKey += "x"
			output, ok := glide.run(t, append(keys(c), place(t, srv)...), kind.service, emulator.DefaultCache, emulator.DefaultUser, srv.Region())
			if ok || !strings.Contains(output, "failed") || strings.Contains(output, c.SecretAccessKey) {
				t.Errorf("with a wrong secret GLIDE has printed\n%s", output)
			}
			wantLast(t, srv, c.AccessKeyID, "wrong-signature")
		})
	}
}

// signIn sets a key on a connection of its own.
func signIn(t *testing.T, srv *emulator.Server, token string) error {
	t.Helper()
	cache := srv.Cache(emulator.DefaultCache)
	client := redis.NewClient(&redis.Options{Addr: cache.Addr, TLSConfig: cache.TLS, Username: emulator.DefaultUser, Password: token, MaxRetries: -1})
	defer client.Close()
	return client.Set(t.Context(), "foo1", "bar1", 0).Err()
}

// wantLast checks the last sign-in: by whose key, and why it was refused if it was.
func wantLast(t *testing.T, srv *emulator.Server, key, reason string) {
	t.Helper()
	events := srv.Events()
	if len(events) == 0 {
		t.Fatal("nobody has tried to sign in")
	}
	if e := events[len(events)-1]; e.AccessKey != key || e.Reason != reason || e.User != emulator.DefaultUser {
		t.Errorf("the last sign-in is of %s with key %s: %q %s, want key %s, %q", e.User, e.AccessKey, e.Reason, e.Detail, key, reason)
	}
}

var firstOfSignature = regexp.MustCompile(`(X-Amz-Signature=)(.)`)

// spoil changes a digit of the signature, wherever it stands.
func spoil(t *testing.T, token string) string {
	t.Helper()
	found := firstOfSignature.FindStringSubmatch(token)
	if found == nil {
		t.Fatalf("there is no signature in the %d bytes of the token", len(token))
	}
	digit := "0"
	if found[2] == digit {
		digit = "1"
	}
	return firstOfSignature.ReplaceAllString(token, "${1}"+digit)
}

// line is what a program prints about a step.
func line(step string, value any) string {
	b, err := json.Marshal(struct {
		Step  string `json:"step"`
		Value any    `json:"value"`
	}{step, value})
	if err != nil {
		panic(err) // the values are strings, numbers, lists and maps of them
	}
	return string(b) + "\n"
}
