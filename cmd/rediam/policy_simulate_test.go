package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/emulator"
	"github.com/rediam/rediam/internal/policy"
	"github.com/rediam/rediam/internal/resp"
)

const simulatedPolicies = 150

// What policy simulate says of random policies is what becomes of a sign-in with
// them.
func TestSimulatedDecisionsAreThoseOfSignIns(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	prefix := "arn:aws:elasticache:us-east-1:123456789012:"
	resources := []string{prefix + "replicationgroup:demo", prefix + "user:demo-user"}
	r := rand.New(rand.NewPCG(1, 2))
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	statement := func() string {
		return fmt.Sprintf(`{"Effect":%q,%q:%q,%q:[%q,%q],"Condition":%s}`,
			pick("Allow", "Allow", "Allow", "Allow", "Deny"),
			pick("Action", "Action", "NotAction"), pick("*", "elasticache:*", "ElastiCache:connect", "elasticache:Describe*", "memorydb:Connect"),
			pick("Resource", "Resource", "Resource", "NotResource"), pick(append(resources, "*", "arn:aws:elasticache:*")...), pick(prefix+"user:*", prefix+"replicationgroup:?emo", "arn:aws:s3:::*"),
			pick("{}", "{}", "{}", `{"StringEquals":{"elasticache:UserAuthenticationMode":"iam"}}`, `{"StringEquals":{"ElastiCache:UserAuthenticationMode":"password"}}`,
				`{"Null":{"aws:CurrentTime":"false"}}`, `{"DateGreaterThan":{"aws:CurrentTime":"2020-01-01T00:00:00Z"}}`))
	}
	document := func() string {
		list := make([]string, 1+r.IntN(3))
		for i := range list {
			list[i] = statement()
		}
		return `{"Version":"2012-10-17","Statement":[` + strings.Join(list, ",") + `]}`
	}
	if err := srv.PutIAMUser(emulator.IAMUser{Name: "app"}); err != nil {
		t.Fatal(err)
	}
	key, err := srv.CreateAccessKey("app")
	if err != nil {
		t.Fatal(err)
	}
	outcomes := map[bool]int{}
	for range simulatedPolicies {
		texts := []string{document(), document()}
		var s simulated
		for _, text := range texts {
			p, err := policy.Parse(policy.Identity, "p", []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			s.Identity = append(s.Identity, p)
		}
		want := true
		for _, resource := range resources {
			keys := policy.Context{}
			keys.Set("elasticache:UserAuthenticationMode", "iam")
			d, err := s.decide("elasticache:Connect", resource, keys)
			if err != nil {
				t.Fatal(err)
			}
			want = want && d.Decision == policy.Allow.String()
		}
		if got := signsIn(t, srv, key, map[string]string{"a": texts[0], "b": texts[1]}); got != want {
			t.Errorf("%q: simulated %v, the sign-in %v", texts, want, got)
		}
		outcomes[want]++
	}
	t.Logf("%d allowed, %d not", outcomes[true], outcomes[false])
	if outcomes[true] < simulatedPolicies/10 || outcomes[false] < simulatedPolicies/10 {
		t.Error("the policies do not test much")
	}
}

// signsIn is whether the cache demo takes a token of the IAM user app with these
// policies.
func signsIn(t *testing.T, srv *emulator.Server, key emulator.Key, policies map[string]string) bool {
	t.Helper()
	if err := srv.PutIAMUser(emulator.IAMUser{Name: "app", Inline: policies}); err != nil {
		t.Fatal(err)
	}
	token, err := (&rediam.Signer{Cache: "demo", User: "demo-user", Region: srv.Region(), Credentials: emulator.KeyCredentials(key)}).Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cache := srv.Cache("demo")
	conn, err := tls.Dial("tcp", cache.Addr, cache.TLS)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(resp.AppendCommand(nil, "AUTH", token.User, token.Password)); err != nil {
		t.Fatal(err)
	}
	answer, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return answer == "+OK\r\n"
}
