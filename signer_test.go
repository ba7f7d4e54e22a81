package rediam_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/rediam/rediam"
)

// static gives the same credentials for ever, unlike the SDK's own, without a source.
func static(id, secret, session string) aws.CredentialsProvider {
	return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: id, SecretAccessKey: secret, SessionToken: session}, nil
	})
}

func at(stamp string) func() time.Time {
	t, err := time.Parse("20060102T150405Z", stamp)
	if err != nil {
		panic(err)
	}
	return func() time.Time { return t }
}

const exampleSession = "FwoGZXIvYXdzEXAMPLE//////////+token=="

var (
	fakeKeys    = static("fakeAccessKeyId", "fakeSecretKey", "")
	exampleKeys = static("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "")
	exampleRole = static("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", exampleSession)
)

// The signatures are known answers: the first two are those of AWS's Java demo
// application, the fifth is a vector of the Java SDK, the last four were
// computed alike by up to six independent signers.
func TestSignsTheKnownAnswers(t *testing.T) {
	for _, v := range []struct {
		name      string
		signer    *rediam.Signer
		signature string
	}{
		{"replication group", &rediam.Signer{Cache: "my-replication-group-id", User: "my-user-id", Region: "eu-west-1", Credentials: fakeKeys, Now: at("20250101T000000Z")},
			"9e361603d85874bce06114c6644725ed113e3b11ae6fa92efdf10c6bcf5de8d7"},
		{"replication group with a session token", &rediam.Signer{Cache: "my-replication-group-id", User: "my-user-id", Region: "eu-west-1", Credentials: static("fakeAccessKeyId", "fakeSecretKey", "fakeSessionToken"), Now: at("20250101T000000Z")},
			"bbce2bd61bd78461297ecb92e7001ddbeab2d85906c3cbedad6c9b81fb3466dc"},
		{"serverless", &rediam.Signer{Cache: "my-replication-group-id", User: "my-user-id", Region: "eu-west-1", Serverless: true, Credentials: fakeKeys, Now: at("20250101T000000Z")},
			"57292e578d0dc6376b23017594423bae7320b8eb25054e744652670af833ffaa"},
		{"MemoryDB", &rediam.Signer{Service: rediam.MemoryDB, Cache: "my-cluster", User: "my-user-id", Region: "eu-west-1", Credentials: fakeKeys, Now: at("20250101T000000Z")},
			"a05462316be52b647e2149ca803fc5529111d05bc58bee6836ef2778a3004168"},
		{"serverless, Java SDK", &rediam.Signer{Cache: "my-cache", User: "user123", Region: "eu-west-1", Serverless: true, Credentials: static("accessKey", "secretKey", ""), Now: at("20240802T121150Z")},
			"5dda5db919b1337db6596b2a608924bc10197fb39289b933b60bdb114d5a70dc"},
		{"replication group, session token, six signers", &rediam.Signer{Cache: "demo-cache-01", User: "iam-user-01", Region: "us-east-1", Credentials: exampleRole, Now: at("20260102T030405Z")},
			"47f774b33e5164590f420f21d35c71d301a4d5ba36271c4c7f428b74a0d3f566"},
		{"names with capitals are signed in lower case", &rediam.Signer{Cache: "Demo-Cache-01", User: "Iam-User-01", Region: "us-east-1", Credentials: exampleKeys, Now: at("20260102T030405Z")},
			"cfcbe13b2c920bddf8a727cb87ae7f55c00275cdad0b0eb90d4b3b5e0cf1091f"},
		{"serverless, five signers", &rediam.Signer{Cache: "demo-cache-01", User: "iam-user-01", Region: "us-east-1", Serverless: true, Credentials: exampleKeys, Now: at("20260102T030405Z")},
			"8961ffc51943794c434a889f2a7e7c1fe9c441ab620f06780eda75496f7f6254"},
		{"MemoryDB, session token", &rediam.Signer{Service: rediam.MemoryDB, Cache: "demo-mdb", User: "iam-user-01", Region: "us-east-1", Credentials: exampleRole, Now: at("20260102T030405Z")},
			"c931b2cda3a60ff2b2be8c01514e8ef7ec90bfed6ce575b174b459b15605110e"},
	} {
		t.Run(v.name, func(t *testing.T) {
			token, err := v.signer.Token(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, got, _ := strings.Cut(token.Password, "&X-Amz-Signature="); got != v.signature {
				t.Errorf("signature %s, want %s\n%s", got, v.signature, token.Password)
			}
			if want := v.signer.Now().Add(15 * time.Minute); !token.Expires.Equal(want) {
				t.Errorf("Expires = %v, want %v", token.Expires, want)
			}
		})
	}
}

func TestPrintsTheTokenAsAWSTakesIt(t *testing.T) {
	signer := &rediam.Signer{Cache: "demo-cache-01", User: "iam-user-01", Region: "us-east-1", Credentials: exampleRole, Now: at("20260102T030405Z")}
	token, err := signer.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const want = "demo-cache-01/?Action=connect&User=iam-user-01&X-Amz-Algorithm=AWS4-HMAC-SHA256" +
		"&X-Amz-Credential=AKIDEXAMPLE%2F20260102%2Fus-east-1%2Felasticache%2Faws4_request" +
		"&X-Amz-Date=20260102T030405Z&X-Amz-Expires=900" +
		"&X-Amz-Security-Token=FwoGZXIvYXdzEXAMPLE%2F%2F%2F%2F%2F%2F%2F%2F%2F%2F%2Btoken%3D%3D" +
		"&X-Amz-SignedHeaders=host&X-Amz-Signature=47f774b33e5164590f420f21d35c71d301a4d5ba36271c4c7f428b74a0d3f566"
	if token.Password != want || token.User != "iam-user-01" {
		t.Errorf("token %q for %q, want %q", token.Password, token.User, want)
	}
}

func TestTTLGoesIntoTheToken(t *testing.T) {
	signer := &rediam.Signer{Cache: "demo", User: "u", Region: "us-east-1", TTL: 30 * time.Second, Credentials: exampleKeys, Now: at("20260102T030405Z")}
	token, err := signer.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, query, _ := strings.Cut(token.Password, "?")
	values, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	if got := values.Get("X-Amz-Expires"); got != "30" {
		t.Errorf("X-Amz-Expires = %s, want 30", got)
	}
	if want := signer.Now().Add(30 * time.Second); !token.Expires.Equal(want) {
		t.Errorf("Expires = %v, want %v", token.Expires, want)
	}
}

func TestExpiresWithTheCredentialsIfThatIsSooner(t *testing.T) {
	now := at("20260102T030405Z")
	for _, left := range []time.Duration{4 * time.Minute, time.Hour} {
		signer := &rediam.Signer{Cache: "demo", User: "u", Region: "us-east-1", Now: now,
			Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
				return aws.Credentials{AccessKeyID: "ASIAX", SecretAccessKey: "s", SessionToken: "t", CanExpire: true, Expires: now().Add(left)}, nil
			})}
		token, err := signer.Token(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if want := now().Add(min(left, 15*time.Minute)); !token.Expires.Equal(want) {
			t.Errorf("with credentials for %v: Expires = %v, want %v", left, token.Expires, want)
		}
	}
}

func TestAsksForCredentialsAtEveryToken(t *testing.T) {
	asked := 0
	signer := &rediam.Signer{Cache: "demo", User: "u", Region: "us-east-1",
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			asked++
			return aws.Credentials{AccessKeyID: "AKIA" + string(rune('A'+asked)), SecretAccessKey: "s"}, nil
		})}
	first, err1 := signer.Token(t.Context())
	second, err2 := signer.Token(t.Context())
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	if asked != 2 || first.Password == second.Password || !strings.Contains(second.Password, "AKIAC") {
		t.Errorf("asked %d times; second token %q", asked, second.Password)
	}
}

func TestNamesEveryFieldThatIsWrong(t *testing.T) {
	_, err := (&rediam.Signer{Service: "redis", TTL: time.Hour}).Token(t.Context())
	if err == nil {
		t.Fatal("an empty Signer made a token")
	}
	for _, want := range []string{"service must be", "no cache name", "no user name", "no region", "TTL must be", "no Credentials"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error does not say %q: %v", want, err)
		}
	}
}

func TestRefusesNamesThatAWSDoesNotGive(t *testing.T) {
	for _, c := range []struct{ name, cache, user, region, want string }{
		{"endpoint for the cache name", "master.orders.abc123.euw1.cache.amazonaws.com:6379", "u", "eu-west-1", `probably "orders"`},
		{"port on the cache name", "orders:6379", "u", "eu-west-1", "endpoint or an ARN"},
		{"ARN for the cache name", "arn:aws:elasticache:eu-west-1:123456789012:replicationgroup:orders", "u", "eu-west-1", "endpoint or an ARN"},
		{"double hyphen", "or--ders", "u", "eu-west-1", "cache name is not one"},
		{"too long", strings.Repeat("a", 41), "u", "eu-west-1", "cache name is not one"},
		{"query in the user", "orders", "u&Action=x", "eu-west-1", "user name is not one"},
		{"zone for the region", "orders", "u", "eu-west-1a", "region is not"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := (&rediam.Signer{Cache: c.cache, User: c.user, Region: c.region, Credentials: exampleKeys}).Token(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Token() error = %v, want it to say %q", err, c.want)
			}
		})
	}
}

func TestGuessesTheNameInAnEndpoint(t *testing.T) {
	for endpoint, want := range map[string]string{
		"master.orders.abc123.euw1.cache.amazonaws.com":                      "orders",
		"rediss://clustercfg.orders.abc123.euw1.cache.amazonaws.com:6379/":   "orders",
		"replica.orders.abc123.cnn1.cache.amazonaws.com.cn:6379":             "orders",
		"orders-001.orders.abc123.euw1.cache.amazonaws.com":                  "orders",
		"orders-0002-001.orders.abc123.euw1.cache.amazonaws.com":             "orders",
		"orders.abc123.ng.0001.use1.cache.amazonaws.com":                     "orders",
		"Orders-x1y2z3.serverless.use1.cache.amazonaws.com:6379":             "orders",
		"orders-x1y2z3.public.serverless.use1.cache.amazonaws.com":           "orders",
		"clustercfg.orders.abc123.memorydb.us-east-1.amazonaws.com":          "orders",
		"orders-0001-001.orders.abc123.memorydb.cn-north-1.amazonaws.com.cn": "orders",
		"orders.abc123.usgw1.cache.amazonaws.com":                            "orders",
	} {
		_, err := (&rediam.Signer{Cache: endpoint, User: "u", Region: "us-east-1", Credentials: exampleKeys}).Token(t.Context())
		if err == nil || !strings.Contains(err.Error(), `probably "`+want+`"`) {
			t.Errorf("%s: %v", endpoint, err)
		}
	}
}

func TestCredentialsThatCannotSignAreACredentialsError(t *testing.T) {
	for name, provider := range map[string]aws.CredentialsProviderFunc{
		"failing": func(context.Context) (aws.Credentials, error) { return aws.Credentials{}, errors.New("no role") },
		"empty":   func(context.Context) (aws.Credentials, error) { return aws.Credentials{}, nil },
		"expired": func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "a", SecretAccessKey: "b", CanExpire: true, Expires: time.Now().Add(-time.Second)}, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			signer := &rediam.Signer{Cache: "demo", User: "u", Region: "us-east-1", Credentials: provider}
			_, err := signer.Token(t.Context())
			var want *rediam.CredentialsError
			if !errors.As(err, &want) {
				t.Errorf("Token() error = %v, want a CredentialsError", err)
			}
			probe := rediam.Probe(t.Context(), signer)
			if probe == nil || !strings.Contains(probe.Error(), "AWS_ACCESS_KEY_ID") || !strings.Contains(probe.Error(), "instance metadata") {
				t.Errorf("Probe() = %v, want the places searched", probe)
			}
		})
	}
}

func TestProbeOfAGoodSourceIsNil(t *testing.T) {
	if err := rediam.Probe(t.Context(), &rediam.Signer{Cache: "demo", User: "u", Region: "us-east-1", Credentials: exampleKeys}); err != nil {
		t.Error(err)
	}
}

func TestBasicAuthGivesUserAndToken(t *testing.T) {
	signer := &rediam.Signer{Cache: "demo", User: "Orders-App", Region: "us-east-1", Credentials: exampleKeys}
	user, password, err := rediam.BasicAuth(signer)(t.Context())
	if err != nil || user != "orders-app" || !strings.HasPrefix(password, "demo/?Action=connect&User=orders-app&") {
		t.Errorf("BasicAuth = %q, %q, %v", user, password, err)
	}
	if _, _, err := rediam.BasicAuth(&rediam.Signer{})(t.Context()); err == nil {
		t.Error("BasicAuth of an empty signer gave no error")
	}
}
