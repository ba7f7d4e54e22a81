package clients_test

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/emulator"
	"github.com/rediam/rediam/internal/installed"
)

// A library is a client library and what uses it: a function here for those of
// Go, or a program that reads from the environment where to sign in. Either prints
// a line of JSON for each step.
type library struct {
	name      string
	protocols []int
	use       func(t *testing.T, to target) (output string, ok bool)
}

var libraries = []library{
	{"go-redis", []int{2, 3}, goRedis},
	{"redigo", []int{2}, redigo},
	{"valkey-go", []int{2, 3}, valkeyGo},
	{"redis-py", []int{2}, runs(func(t *testing.T) command { return python(t, "redis-py", "redis", "redis-py.py") })},
	{"node-redis", []int{2, 3}, runs(func(t *testing.T) command { return node(t, "node", "redis", "node-redis.js") })},
	{"ioredis", []int{2, 3}, runs(func(t *testing.T) command { return node(t, "node", "ioredis", "ioredis.js") })},
	{"php-redis", []int{2}, runs(func(t *testing.T) command { return php(t, "php-redis", "php-redis.php") })},
	{"ruby-redis", []int{2}, runs(func(t *testing.T) command { return ruby(t, "ruby-redis", "redis", "ruby-redis.rb") })},
}

// runs uses a library by running a program.
func runs(find func(t *testing.T) command) func(t *testing.T, to target) (output string, ok bool) {
	return func(t *testing.T, to target) (string, bool) {
		t.Helper()
		return find(t).run(t, to.environment(t))
	}
}

// steps are what every library has to print.
func steps(protocol int) []string {
	const wrongType = "WRONGTYPE Operation against a key holding the wrong kind of value"
	return []string{
		line("user", emulator.DefaultUser),
		line("protocol", protocol),
		line("set", "OK"),
		line("get", "bar1"),
		line("missing", nil),
		line("hash", map[string]string{"a": "1", "b": "2"}),
		line("large", true),
		line("pipeline", []any{"OK", 2, "2"}),
		line("transaction", []any{"OK", 2, "2"}),
		line("script", []string{"foo1", "argument", "bar1"}),
		line("message", []string{"news", "hello"}),
		line("error", wrongType),
		line("renewal", "OK"),
		line("after", "bar1"),
	}
}

// onEveryEngine runs a test on the embedded engine and on each real one. A real
// one that is missing is a visible skip, unless REDIAM_REQUIRE names it.
func onEveryEngine(t *testing.T, test func(t *testing.T, engine string)) {
	for _, name := range []string{"embedded", "redis-server", "valkey-server"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			engine := name
			if name != "embedded" {
				engine = installed.Path(t, name)
			}
			test(t, engine)
		})
	}
}

func TestLibrariesSignInAndWork(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, engine string) {
		for _, l := range libraries {
			for _, protocol := range l.protocols {
				t.Run(l.name+"/RESP"+strconv.Itoa(protocol), func(t *testing.T) {
					srv := emulator.Start(t, emulator.Config{Engine: engine})
					output, ok := l.run(t, srv, srv, token(t, srv), protocol)
					if !ok {
						t.Error("the program has failed")
					}
					compare(t, output, steps(protocol))
					wantAdmitted(t, srv)
				})
			}
		}
	})
}

func TestLibrariesAreRefusedWithoutAGoodToken(t *testing.T) {
	for _, l := range libraries {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
			bad := spoil(t, token(t, srv))
			for _, protocol := range l.protocols {
				output, ok := l.run(t, srv, srv, bad, protocol)
				if ok || !strings.Contains(output, "WRONGPASS invalid username-password pair or user is disabled.") {
					t.Errorf("RESP%d: the program has printed\n%s", protocol, output)
				}
			}
			// ruby-redis tries AUTH with the token alone after that.
			events := srv.Events()
			if len(events) == 0 || events[0].Reason != "wrong-signature" || slices.ContainsFunc(events, emulator.Event.Admitted) {
				t.Errorf("the sign-ins are %s", describe(events))
			}
		})
	}
}

// The programs verify the certificate: without that the tests above would prove
// nothing about the emulator's.
func TestLibrariesRefuseAnotherAuthority(t *testing.T) {
	other := emulator.Start(t, emulator.Config{Engine: "embedded"})
	for _, l := range libraries {
		t.Run(l.name, func(t *testing.T) {
			srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
			output, ok := l.run(t, srv, other, token(t, srv), l.protocols[0])
			if ok || !strings.Contains(output, `"failed"`) || len(srv.Events()) > 0 {
				t.Errorf("the program has printed\n%sand the sign-ins are %s", output, describe(srv.Events()))
			}
		})
	}
}

// run gives what the program prints that signs in to srv with a token and trusts
// the authority of trusted.
func (l library) run(t *testing.T, srv, trusted *emulator.Server, password string, protocol int) (output string, ok bool) {
	t.Helper()
	return l.use(t, target{srv: srv, trusted: trusted, token: password, renewal: token(t, srv), protocol: protocol})
}

// A target is what a program needs to sign in.
type target struct {
	srv, trusted   *emulator.Server
	token, renewal string
	protocol       int
}

func (to target) environment(t *testing.T) []string {
	t.Helper()
	return append(place(t, to.srv), "REDIS_CA="+to.trusted.CAFile(), "REDIS_USERNAME="+emulator.DefaultUser,
		"REDIS_PASSWORD="+to.token, "REDIS_RENEWAL="+to.renewal, "REDIS_PROTOCOL="+strconv.Itoa(to.protocol))
}

func token(t *testing.T, srv *emulator.Server) string {
	t.Helper()
	signer := &rediam.Signer{Cache: emulator.DefaultCache, User: emulator.DefaultUser, Serverless: slices.Contains(srv.Environ(), "REDIAM_SERVERLESS=true"),
		Region: srv.Region(), Credentials: srv.Credentials(emulator.DefaultRole), Now: srv.Now}
	made, err := signer.Token(t.Context())
	must(t, err)
	return made.Password
}

// compare finds the first step that came out otherwise than it should.
func compare(t *testing.T, output string, want []string) {
	t.Helper()
	got := slices.Collect(strings.Lines(output))
	for i, want := range want {
		if i == len(got) {
			t.Fatalf("the program ends before it prints %s", want)
		}
		var step struct {
			Step  string
			Value any
		}
		if err := json.Unmarshal([]byte(got[i]), &step); err != nil || line(step.Step, step.Value) != want {
			t.Fatalf("the program has printed %.500swant %s", got[i], want)
		}
	}
	if len(got) > len(want) {
		t.Errorf("the program goes on with %.500s", got[len(want)])
	}
}

// wantAdmitted checks that every sign-in was admitted and one renewed another.
func wantAdmitted(t *testing.T, srv *emulator.Server) {
	t.Helper()
	renewals := 0
	for _, e := range srv.Events() {
		if !e.Admitted() || e.User != emulator.DefaultUser {
			t.Errorf("a sign-in of %s was refused: %s %s", e.User, e.Reason, e.Detail)
		}
		if e.Renewal {
			renewals++
		}
	}
	if renewals != 1 {
		t.Errorf("%d sign-ins were renewals, want 1: %s", renewals, describe(srv.Events()))
	}
}

// describe is JSON, which has no secret.
func describe(events []emulator.Event) string {
	b, err := json.MarshalIndent(events, "", "  ")
	if err != nil {
		return err.Error()
	}
	return string(b)
}
