package rediam_test

import (
	"flag"
	"io"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/rediam/rediam"
)

func env(pairs ...string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for _, p := range pairs {
			if k, v, _ := strings.Cut(p, "="); k == name {
				return v, true
			}
		}
		return "", false
	}
}

func TestReadsTheEnvironment(t *testing.T) {
	got, err := rediam.ConfigFromEnv(env("REDIS_URL=redis://ignored@other:1/3", "REDIS_HOST=cache.example", "REDIS_PORT=6380",
		"REDIS_TLS=true", "REDIS_USERNAME=orders-app", "REDIS_AWS_AUTH=1", "REDIS_AWS_CACHE_NAME=orders",
		"REDIS_AWS_SERVICE=ElastiCache", "REDIS_AWS_SERVERLESS=true", "REDIS_AWS_REGION=eu-west-1"))
	want := rediam.Config{Host: "cache.example", Port: 6380, TLS: true, Username: "orders-app", Database: 3, AWSAuth: true,
		CacheName: "orders", Service: rediam.ElastiCache, Serverless: true, Region: "eu-west-1"}
	if err != nil || got != want {
		t.Errorf("ConfigFromEnv = %+v, %v\nwant %+v", got, err, want)
	}
	if got.Addr() != "cache.example:6380" {
		t.Errorf("Addr() = %s", got.Addr())
	}
}

func TestReadsAURL(t *testing.T) {
	for raw, want := range map[string]rediam.Config{
		"rediss://orders-app@cache.example:6380": {Host: "cache.example", Port: 6380, TLS: true, Username: "orders-app"},
		"redis://localhost":                      {Host: "localhost"},
		"redis://:pw@localhost/2":                {Host: "localhost", Password: "pw", Database: 2},
		"rediss://u:p%40w@[::1]:7000":            {Host: "::1", Port: 7000, TLS: true, Username: "u", Password: "p@w"},
	} {
		var got rediam.Config
		if err := got.SetURL(raw); err != nil || got != want {
			t.Errorf("SetURL(%q) = %+v, %v", raw, got, err)
		}
	}
}

func TestRefusesABadURLWithoutRepeatingIt(t *testing.T) {
	for _, raw := range []string{"redis://u:s3cr3t-token/x@host", "http://u:s3cr3t-token@host", "redis://u:s3cr3t-token@", "%zz s3cr3t-token",
		"redis://u:s3cr3t-token@host:99999", "redis://host/s3cr3t-token", "redis://host?password=s3cr3t-token", "s3cr3t-token", "rediss://u:s3cr3t-token@::1", "rediss://u:s3cr3t-token@fe80::1:6379"} {
		var c rediam.Config
		err := c.SetURL(raw)
		if err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("SetURL(%q) error = %v", raw, err)
		}
		if c != (rediam.Config{}) {
			t.Errorf("SetURL(%q) changed the configuration", raw)
		}
	}
}

func TestNamesEveryUnreadableVariableWithoutRepeatingIt(t *testing.T) {
	_, err := rediam.ConfigFromEnv(env("REDIS_URL=s3cr3t-token", "REDIS_PORT=s3cr3t-token", "REDIS_TLS=s3cr3t-token",
		"REDIS_AWS_AUTH=s3cr3t-token", "REDIS_AWS_SERVICE=s3cr3t-token", "REDIS_AWS_SERVERLESS=s3cr3t-token"))
	if err == nil || strings.Contains(err.Error(), secret) {
		t.Fatalf("error = %v", err)
	}
	for _, name := range []string{"REDIS_URL", "REDIS_PORT", "REDIS_TLS", "REDIS_AWS_AUTH", "REDIS_AWS_SERVICE", "REDIS_AWS_SERVERLESS"} {
		if !strings.Contains(err.Error(), name+":") {
			t.Errorf("error does not name %s: %v", name, err)
		}
	}
}

func TestWithIAMNamesEveryProblemAtOnce(t *testing.T) {
	aws := aws.Config{Credentials: exampleKeys}
	for _, c := range []struct {
		name  string
		env   []string
		wants []string
	}{
		{"nothing set", []string{"REDIS_AWS_AUTH=true"}, []string{"no host", "no TLS", "no user name", "no cache name", "no region"}},
		{"password in the URL", []string{"REDIS_AWS_AUTH=true", "REDIS_URL=rediss://u:s3cr3t-token@h", "REDIS_AWS_CACHE_NAME=orders", "REDIS_AWS_REGION=eu-west-1"},
			[]string{"static password"}},
		{"password beside it", []string{"REDIS_AWS_AUTH=true", "REDIS_URL=rediss://u@h", "REDIS_PASSWORD=s3cr3t-token", "REDIS_AWS_CACHE_NAME=or_ders", "REDIS_AWS_REGION=Ireland"},
			[]string{"static password", "cache name is not", "region is not"}},
		{"endpoint, serverless MemoryDB", []string{"REDIS_AWS_AUTH=true", "REDIS_URL=rediss://bad+user@h", "REDIS_AWS_SERVICE=memorydb", "REDIS_AWS_SERVERLESS=true",
			"REDIS_AWS_CACHE_NAME=clustercfg.orders.abc123.memorydb.us-east-1.amazonaws.com", "REDIS_AWS_REGION=us-east-1"},
			[]string{`probably "orders"`, "MemoryDB has no serverless", "user name is not"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			config, err := rediam.ConfigFromEnv(env(c.env...))
			if err != nil {
				t.Fatal(err)
			}
			_, err = config.Signer(aws)
			if err == nil || strings.Contains(err.Error(), secret) {
				t.Fatalf("Signer() error = %v", err)
			}
			for _, want := range c.wants {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error does not say %q: %v", want, err)
				}
			}
		})
	}
}

func TestSignerTakesTheRegionFromTheAWSConfigIfThereIsNoOther(t *testing.T) {
	config := rediam.Config{Host: "h", TLS: true, AWSAuth: true, Username: "u", CacheName: "orders"}
	for _, c := range []struct{ own, aws, want string }{{"", "eu-west-1", "eu-west-1"}, {"cn-north-1", "eu-west-1", "cn-north-1"}, {"us-gov-west-1", "", "us-gov-west-1"}} {
		config.Region = c.own
		signer, err := config.Signer(aws.Config{Region: c.aws, Credentials: exampleKeys})
		if err != nil {
			t.Fatal(err)
		}
		if signer.Region != c.want {
			t.Errorf("own region %q, AWS region %q: signs for %q, want %q", c.own, c.aws, signer.Region, c.want)
		}
		if _, err := signer.Token(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestWithoutIAMItIsAnOrdinaryRedisConfiguration(t *testing.T) {
	config, err := rediam.ConfigFromEnv(env("REDIS_URL=redis://:pw@localhost:6379/1"))
	if err != nil {
		t.Fatal(err)
	}
	if err := config.Validate(); err != nil {
		t.Errorf("Validate() = %v", err)
	}
	if _, err := config.Signer(aws.Config{Region: "eu-west-1", Credentials: exampleKeys}); err == nil {
		t.Error("Signer() of a configuration without IAM gave no error")
	}
}

func TestFlagsOverrideTheEnvironment(t *testing.T) {
	config, err := rediam.ConfigFromEnv(env("REDIS_HOST=a", "REDIS_AWS_CACHE_NAME=orders", "REDIS_USERNAME=u"))
	if err != nil {
		t.Fatal(err)
	}
	flags := flag.NewFlagSet("app", flag.ContinueOnError)
	config.RegisterFlags(flags)
	if err := flags.Parse([]string{"-redis-host=b", "-redis-tls", "-redis-aws-auth=true", "-redis-aws-region", "eu-west-1"}); err != nil {
		t.Fatal(err)
	}
	want := rediam.Config{Host: "b", TLS: true, AWSAuth: true, CacheName: "orders", Username: "u", Region: "eu-west-1"}
	if config != want {
		t.Errorf("config = %+v, want %+v", config, want)
	}
	if err := config.Validate(); err != nil {
		t.Error(err)
	}
}

func TestNoFlagTakesAPassword(t *testing.T) {
	var config rediam.Config
	var printed strings.Builder
	flags := flag.NewFlagSet("app", flag.ContinueOnError)
	flags.SetOutput(&printed)
	config.RegisterFlags(flags)
	if err := flags.Parse([]string{"-redis-url=redis://u:s3cr3t-token@host"}); err != nil {
		t.Fatal(err)
	}
	err := config.Validate()
	if err == nil || !strings.Contains(err.Error(), "process list") || strings.Contains(err.Error()+printed.String(), secret) || config.Password != "" {
		t.Errorf("Validate() = %v, printed %q, password %q", err, printed.String(), config.Password)
	}
	flags.SetOutput(io.Discard)
	if err := flags.Parse([]string{"-redis-password=x"}); err == nil {
		t.Error("there is a password flag")
	}
}
