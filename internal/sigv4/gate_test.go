package sigv4_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/rediam/rediam/emulator"
	"github.com/rediam/rediam/internal/resp"
	"github.com/rediam/rediam/internal/sigv4"
)

// stage starts an emulator with a scene's caches and keys.
func stage(t *testing.T) (*emulator.Server, scene) {
	t.Helper()
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	if err := srv.PutCache(emulator.Cache{Name: "demo-serverless", Kind: emulator.ServerlessCache, Group: "demo-users"}); err != nil {
		t.Fatal(err)
	}
	session := func() accessKey {
		c, err := srv.Credentials("demo-app").Retrieve(context.Background())
		return keyOf(t, c, err)
	}
	lasting := func() (emulator.Key, accessKey) {
		k, err := srv.CreateAccessKey(emulator.AdminUser)
		if err != nil {
			t.Fatal(err)
		}
		c, err := emulator.KeyCredentials(k).Retrieve(context.Background())
		return k, keyOf(t, c, err)
	}
	s := scene{region: srv.Region(), service: "elasticache", cache: "demo", forServerless: "demo-serverless", user: "demo-user", ended: session()}
	srv.Advance(2 * time.Hour) // a session lasts one
	var off emulator.Key
	_, s.long = lasting()
	off, s.inactive = lasting()
	if err := srv.SetAccessKey(off.ID, false); err != nil {
		t.Fatal(err)
	}
	s.temporary, s.other, s.now = session(), session(), srv.Now()
	return srv, s
}

func keyOf(t *testing.T, c aws.Credentials, err error) accessKey {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return accessKey{c.AccessKeyID, c.SecretAccessKey, c.SessionToken}
}

// signIn sends AUTH over a connection of its own and returns the answer.
func signIn(t *testing.T, to emulator.Endpoint, user, token string) string {
	t.Helper()
	conn, err := tls.Dial("tcp", to.Addr, to.TLS)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil { // a test that hangs ends
		t.Fatal(err)
	}
	if _, err := conn.Write(resp.AppendCommand(nil, "AUTH", user, token)); err != nil {
		t.Fatal(err)
	}
	answer, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Errorf("the connection ended after %q: %v", answer, err)
	}
	return answer
}

// Over the wire all hostile tokens look alike, and the event tells them apart.
// Only those past the length that Redis reads before sign-in are not sent: the
// connection ends there.
func TestTheGateRefusesHostileTokensWithOneAnswer(t *testing.T) {
	srv, s := stage(t)
	for _, serverless := range []bool{false, true} {
		if got := signIn(t, srv.Cache(s.target(serverless).Cache), s.user, s.recipe(serverless).token()); got != "+OK\r\n" {
			t.Errorf("a good token is answered by %q", got)
		}
	}
	for i, b := range breakages() {
		if b.reason == sigv4.TooLong || i%2 != 0 && !strings.Contains(b.name, ": ") { // all that are published, half of the others
			continue
		}
		s.now = srv.Now()
		token, serverless := s.token(t, b)
		if got := signIn(t, srv.Cache(s.target(serverless).Cache), s.user, token); got != "-WRONGPASS invalid username-password pair or user is disabled.\r\n" {
			t.Errorf("%s: answered by %q", b.name, got)
		}
		events := srv.Events()
		e := events[len(events)-1]
		if e.Reason != string(b.reason) || e.Admitted() || e.User != s.user {
			t.Errorf("%s: the event is %+v, want the reason %s", b.name, e, b.reason)
		}
		for _, k := range []accessKey{s.long, s.temporary, s.other, s.ended, s.inactive} {
			if strings.Contains(e.Detail, k.secret) || k.session != "" && strings.Contains(e.Detail, k.session) {
				t.Errorf("%s: the event holds a secret: %s", b.name, e.Detail)
			}
		}
	}
}
