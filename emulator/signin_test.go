package emulator_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/rediam/rediam"
	"github.com/rediam/rediam/emulator"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// setUp adds to the default set-up who and what the refusals below need.
func setUp(t *testing.T, srv *emulator.Server) {
	t.Helper()
	for _, u := range []emulator.User{
		{Name: "other-user", Access: "on ~* +@all"},
		{Name: "off-user", Access: "off ~* +@all"},
		{Name: "outsider", Access: "on ~* +@all"},
		{Name: "password-user", Access: "on ~* +@all", Auth: emulator.AuthPassword, Passwords: []emulator.Secret{"the-first-password", "the-second-password"}},
		{Name: "open-user", Access: "on ~* +@all", Auth: emulator.AuthNoPassword},
	} {
		must(t, srv.PutUser(u))
	}
	must(t, srv.PutGroup(emulator.Group{ID: "demo-users", Users: []string{"demo-default", "demo-user", "other-user", "off-user", "password-user", "open-user"}}))
	must(t, srv.PutRole(emulator.Role{Name: "all-users", Inline: map[string]string{"connect": `{"Version":"2012-10-17","Statement":[{"Sid":"AllUsers","Effect":"Allow","Action":"elasticache:Connect","Resource":"*"}]}`}}))
	must(t, srv.PutRole(emulator.Role{Name: "nobody"}))
	must(t, srv.PutCache(emulator.Cache{Name: "second", Group: "demo-users"}))
	must(t, srv.PutCache(emulator.Cache{Name: "serverless", Kind: emulator.ServerlessCache, Group: "demo-users"}))
	must(t, srv.PutCache(emulator.Cache{Name: "old", Version: "6.2", Group: "demo-users"}))
}

func TestASignInIsRefusedForOneReasonOnly(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	setUp(t, srv)
	inactive, err := srv.CreateAccessKey(emulator.AdminUser)
	must(t, err)
	must(t, srv.SetAccessKey(inactive.ID, false))
	everybody := func(s *rediam.Signer) { s.Credentials = srv.Credentials("all-users") }
	as := func(user string) func(*rediam.Signer) {
		return func(s *rediam.Signer) { everybody(s); s.User = user }
	}
	changed := func(change func(*aws.Credentials)) func(*rediam.Signer) {
		return func(s *rediam.Signer) {
			c, err := s.Credentials.Retrieve(context.Background())
			must(t, err)
			change(&c)
			s.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return c, nil })
		}
	}
	rows := []struct {
		name, cache, user string
		sign              func(*rediam.Signer)
		reason            string // empty: admitted
	}{
		{"its own user", "demo", "demo-user", nil, ""},
		{"an expired token", "demo", "demo-user", func(s *rediam.Signer) { s.Now = func() time.Time { return srv.Now().Add(-16 * time.Minute) } }, "expired"},
		{"a token that expired early", "demo", "demo-user", func(s *rediam.Signer) {
			s.TTL, s.Now = time.Minute, func() time.Time { return srv.Now().Add(-2 * time.Minute) }
		}, "expired"},
		{"a token from the future", "demo", "demo-user", func(s *rediam.Signer) { s.Now = func() time.Time { return srv.Now().Add(6 * time.Minute) } }, "not-yet-valid"},
		{"a token for another cache", "second", "demo-user", nil, "wrong-cache"},
		{"a token for another user", "demo", "other-user", nil, "wrong-user"},
		{"a token for another region", "demo", "demo-user", func(s *rediam.Signer) { s.Region = "eu-west-1" }, "wrong-region"},
		{"a token for another service", "demo", "demo-user", func(s *rediam.Signer) { s.Service = rediam.MemoryDB }, "wrong-service"},
		{"no ResourceType on serverless", "serverless", "demo-user", func(s *rediam.Signer) { everybody(s); s.Cache = "serverless" }, "resource-type-missing"},
		{"ResourceType on a replication group", "demo", "demo-user", func(s *rediam.Signer) { s.Serverless = true }, "resource-type-extra"},
		{"a good token on serverless", "serverless", "demo-user", func(s *rediam.Signer) { everybody(s); s.Cache, s.Serverless = "serverless", true }, ""},
		{"a wrong secret", "demo", "demo-user", changed(func(c *aws.Credentials) { c.SecretAccessKey = strings.Repeat("x", 40) }), "wrong-signature"},
		{"an unknown key", "demo", "demo-user", changed(func(c *aws.Credentials) { c.AccessKeyID = "AKIAUNKNOWN" }), "unknown-access-key"},
		{"another session's token", "demo", "demo-user", changed(func(c *aws.Credentials) { c.SessionToken += "x" }), "wrong-session-token"},
		{"an inactive key", "demo", "demo-user", func(s *rediam.Signer) { s.Credentials = emulator.KeyCredentials(inactive) }, "inactive-access-key"},
		{"no permission at all", "demo", "demo-user", func(s *rediam.Signer) { s.Credentials = srv.Credentials("nobody") }, "permission-denied"},
		{"permission for another user only", "demo", "other-user", func(s *rediam.Signer) { s.User = "other-user" }, "permission-denied"},
		{"a user who is off", "demo", "off-user", as("off-user"), "user-off"},
		{"a user outside the group", "demo", "outsider", as("outsider"), "user-unknown"},
		{"a user who does not exist", "demo", "no-such-user", as("no-such-user"), "user-unknown"},
		{"an engine that is too old", "old", "demo-user", func(s *rediam.Signer) { everybody(s); s.Cache = "old" }, "engine-too-old"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			w := dial(t, srv, row.cache)
			password := token(t, srv, row.sign)
			for _, command := range [][]string{{"AUTH", row.user, password}, {"HELLO", "3", "AUTH", row.user, password, "SETNAME", "n"}} {
				seen := len(srv.Events())
				got := w.do(command...)
				if admitted := got == ok || strings.HasPrefix(got, "%"); admitted != (row.reason == "") || !admitted && got != wrongPass {
					t.Errorf("%s: %q", command[0], got)
				}
				events := srv.Events()
				if len(events) != seen+1 || events[seen].Reason != row.reason {
					t.Errorf("%s: events %+v, want one more with reason %q", command[0], events[seen:], row.reason)
				}
				if row.reason != "" {
					if got := w.do("GET", "k"); got != "-NOAUTH Authentication required.\r\n" {
						t.Errorf("after a refusal GET is answered by %q", got)
					}
				}
			}
		})
	}
}

func TestPasswordsAndOneArgument(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, engine string) {
		srv := emulator.Start(t, emulator.Config{Engine: engine})
		setUp(t, srv)
		rows := []struct {
			name, reason string
			args         []string
		}{
			{"the first password", "", []string{"password-user", "the-first-password"}},
			{"the second password", "", []string{"password-user", "the-second-password"}},
			{"neither password", "wrong-password", []string{"password-user", "the-third-password"}},
			{"a part of a password", "wrong-password", []string{"password-user", "the-first-passwor"}},
			{"no password", "wrong-password", []string{"password-user", ""}},
			{"an IAM user with a password", "not-a-token", []string{"demo-user", "the-first-password"}},
			{"a user who needs no password", "", []string{"open-user", "anything"}},
			{"one argument", "one-argument-auth", []string{token(t, srv, nil)}},
			{"the default user, who is off", "user-off", []string{"default", "x"}},
		}
		for _, row := range rows {
			t.Run(row.name, func(t *testing.T) {
				w := dial(t, srv, "demo")
				want := ok
				if row.reason != "" {
					want = wrongPass
				}
				w.wants(want, append([]string{"AUTH"}, row.args...)...)
				if got := last(t, srv).Reason; got != row.reason {
					t.Errorf("the reason is %q, want %q", got, row.reason)
				}
			})
		}
	})
}

func TestBeforeSignInThereIsLittleToDo(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, engine string) {
		srv := emulator.Start(t, emulator.Config{Engine: engine})
		w := dial(t, srv, "demo")
		w.wants("-NOAUTH Authentication required.\r\n", "GET", "k")
		w.wants("-NOAUTH Authentication required.\r\n", "NOSUCHCOMMAND")
		if got := w.do("HELLO", "3"); !strings.HasPrefix(got, "-NOAUTH HELLO must be called with the client already authenticated") {
			t.Errorf("HELLO is answered by %q", got)
		}
		w.wants("-NOPROTO unsupported protocol version\r\n", "HELLO", "4")
		w.wants("-ERR wrong number of arguments for 'auth' command\r\n", "AUTH")
		w.wants("-ERR syntax error\r\n", "AUTH", "a", "b", "c")
		w.wants("-ERR Syntax error in HELLO option 'AUTH'\r\n", "HELLO", "3", "AUTH", "demo-user")
		w.wants("+RESET\r\n", "RESET")
		w.wants(ok, "QUIT")
		w.ends()
	})
}

func TestHelloSignsInAndResetSignsOut(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, engine string) {
		srv := emulator.Start(t, emulator.Config{Engine: engine})
		w := dial(t, srv, "demo")
		if got := w.do("HELLO", "2", "AUTH", "demo-user", token(t, srv, nil)); !strings.HasPrefix(got, "*14") {
			t.Errorf("HELLO 2 is answered by %q", got)
		}
		if got := w.do("HELLO", "3", "SETNAME", "me", "AUTH", "demo-user", token(t, srv, nil)); !strings.HasPrefix(got, "%7") {
			t.Errorf("HELLO 3 is answered by %q", got)
		}
		w.wants(bulk("me"), "CLIENT", "GETNAME")
		w.wants("_\r\n", "GET", "nothing")
		w.wants(wrongPass, "HELLO", "2", "AUTH", "demo-user", "bad")
		w.wants("_\r\n", "GET", "nothing") // neither protocol nor user has changed
		w.wants("+RESET\r\n", "RESET")
		w.wants("-NOAUTH Authentication required.\r\n", "GET", "nothing")
		if s := srv.Sessions("demo"); len(s) != 1 || s[0].User != "" {
			t.Errorf("after RESET the sessions are %+v", s)
		}
		w.wants(ok, "AUTH", "demo-user", token(t, srv, nil))
		w.wants("$-1\r\n", "GET", "nothing")
	})
}

func TestARefusedSignInLeavesTheConnectionAsItWas(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, engine string) {
		srv := emulator.Start(t, emulator.Config{Engine: engine})
		w := signedIn(t, srv)
		w.wants(wrongPass, "AUTH", "demo-user", "bad")
		w.wants(ok, "SET", "k", "v")
		if e := last(t, srv); e.Admitted() || !e.Renewal {
			t.Errorf("the event is %+v, want a refused renewal", e)
		}
	})
}

func TestAConnectionEndsAfterTwelveHoursUnlessItSignsInAgain(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, engine string) {
		srv := emulator.Start(t, emulator.Config{Engine: engine})
		renewed, left := signedIn(t, srv), signedIn(t, srv)
		srv.Advance(9 * time.Hour)
		renewed.wants(ok, "AUTH", "demo-user", token(t, srv, nil))
		left.wants(wrongPass, "AUTH", "demo-user", token(t, srv, func(s *rediam.Signer) {
			s.Now = func() time.Time { return srv.Now().Add(-time.Hour) }
		})) // prolongs nothing
		srv.Advance(9 * time.Hour)
		sessions := srv.Sessions("demo")
		if len(sessions) != 1 || sessions[0].Renewals != 1 {
			t.Errorf("when Advance has returned the sessions are %+v", sessions)
		}
		left.ends()
		renewed.wants(ok, "SET", "k", "v")
		srv.Advance(3*time.Hour + time.Second)
		renewed.ends()
	})
}

func TestSignInsWithPasswordsDoNotEnd(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	setUp(t, srv)
	w := dial(t, srv, "demo")
	w.wants(ok, "AUTH", "password-user", "the-first-password")
	srv.Advance(1000 * time.Hour)
	w.wants(ok, "SET", "k", "v")
}

func TestTheClockOfThePeopleIsShorter(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded", TokenTTL: time.Minute, ConnectionTTL: time.Hour})
	old := token(t, srv, nil)
	w := signedIn(t, srv)
	srv.Advance(61 * time.Second)
	dial(t, srv, "demo").wants(wrongPass, "AUTH", "demo-user", old)
	srv.Advance(time.Hour)
	w.ends()
}

func TestWhatIsTakenAwayEndsConnections(t *testing.T) {
	changes := map[string]func(srv *emulator.Server) error{
		"a user removed from its group": func(srv *emulator.Server) error {
			return srv.PutGroup(emulator.Group{ID: "demo-users", Users: []string{"demo-default", "other-user"}})
		},
		"a user deleted": func(srv *emulator.Server) error { return srv.DeleteUser("elasticache", "demo-user") },
		"another group": func(srv *emulator.Server) error {
			return srv.PutCache(emulator.Cache{Name: "demo", Group: "others"})
		},
		"a cache deleted": func(srv *emulator.Server) error { return srv.DeleteCache("demo") },
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			onEveryEngine(t, func(t *testing.T, engine string) {
				srv := emulator.Start(t, emulator.Config{Engine: engine})
				setUp(t, srv)
				must(t, srv.PutGroup(emulator.Group{ID: "others", Users: []string{"demo-default", "other-user"}}))
				w, other := signedIn(t, srv), dial(t, srv, "demo")
				other.wants(ok, "AUTH", "other-user", token(t, srv, func(s *rediam.Signer) {
					s.User, s.Credentials = "other-user", srv.Credentials("all-users")
				}))
				must(t, change(srv))
				if slices.ContainsFunc(srv.Sessions("demo"), func(s emulator.Session) bool { return s.User == "demo-user" }) {
					t.Error("the session is still there when the call has returned")
				}
				w.ends()
				if name == "a cache deleted" {
					other.ends()
					return
				}
				other.wants(ok, "SET", "k", "v")
				refused := dial(t, srv, "demo")
				refused.wants(wrongPass, "AUTH", "demo-user", token(t, srv, nil))
				if got := last(t, srv).Reason; got != "user-unknown" {
					t.Errorf("the reason is %q", got)
				}
			})
		})
	}
}

func TestAPermissionTakenAwayEndsNoConnection(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, engine string) {
		srv := emulator.Start(t, emulator.Config{Engine: engine})
		w := signedIn(t, srv)
		role, _ := srv.Role("demo-app")
		role.Inline = nil
		must(t, srv.PutRole(role))
		w.wants(ok, "SET", "k", "v")
		w.wants(wrongPass, "AUTH", "demo-user", token(t, srv, nil))
		w.wants(ok, "SET", "k", "v")
		dial(t, srv, "demo").wants(wrongPass, "AUTH", "demo-user", token(t, srv, nil))
		if got := last(t, srv).Reason; got != "permission-denied" {
			t.Errorf("the reason is %q", got)
		}
	})
}

func TestRootIsAlwaysAdmitted(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	key, err := srv.CreateAccessKey("")
	must(t, err)
	w := dial(t, srv, "demo")
	w.wants(ok, "AUTH", "demo-user", token(t, srv, func(s *rediam.Signer) { s.Credentials = emulator.KeyCredentials(key) }))
	if e := last(t, srv); e.PrincipalType != "Root" {
		t.Errorf("the principal is %+v", e)
	}
}

func TestACacheWithoutGroupIsOpen(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, engine string) {
		srv := emulator.Start(t, emulator.Config{Engine: engine, Empty: true})
		must(t, srv.PutCache(emulator.Cache{Name: "open"}))
		w := dial(t, srv, "open")
		w.wants(ok, "SET", "k", "v")
		w.wants(ok, "AUTH", "default", "anything")
		w.wants("+RESET\r\n", "RESET")
		w.wants(bulk("v"), "GET", "k")
		srv.Advance(100 * time.Hour)
		w.wants(bulk("v"), "GET", "k")
		if got := w.do("CONFIG", "GET", "*"); !strings.HasPrefix(got, "-NOPERM") && !strings.HasPrefix(got, "-ERR unknown") {
			t.Errorf("CONFIG is answered by %.100q", got)
		}
	})
}

func TestSigningInWithinATransactionIsRefused(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, engine string) {
		srv := emulator.Start(t, emulator.Config{Engine: engine})
		for _, command := range [][]string{{"AUTH", "demo-user", "T"}, {"AUTH", "T"}, {"HELLO", "3", "AUTH", "demo-user", "T"}} {
			w, other := signedIn(t, srv), signedIn(t, srv)
			command[len(command)-1] = token(t, srv, nil)
			w.wants(ok, "MULTI")
			w.wants("+QUEUED\r\n", "SET", "k", "transaction")
			if got := w.do(command...); !strings.HasPrefix(got, "-ERR ") {
				t.Errorf("%s in MULTI is answered by %q", command[0], got)
			}
			if got := last(t, srv).Reason; got != "auth-in-multi" {
				t.Errorf("the reason is %q", got)
			}
			other.wants(ok, "AUTH", "demo-user", token(t, srv, nil))
			w.wants("-EXECABORT Transaction discarded because of previous errors.\r\n", "EXEC")
			w.wants("$-1\r\n", "GET", "k")
			w.wants(ok, "AUTH", "demo-user", token(t, srv, nil))
			w.wants(ok, "MULTI")
			w.wants("*0\r\n", "EXEC")
		}
	})
}

func TestAuthIsRefusedWhileSubscribedInRESP2(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, engine string) {
		srv := emulator.Start(t, emulator.Config{Engine: engine})
		w := signedIn(t, srv)
		w.wants("*3\r\n"+bulk("subscribe")+bulk("c")+":1\r\n", "SUBSCRIBE", "c")
		for name, command := range map[string][]string{
			"auth":  {"AUTH", "demo-user", token(t, srv, nil)},
			"hello": {"HELLO", "3", "AUTH", "demo-user", token(t, srv, nil)},
		} {
			w.wants("-ERR Can't execute '"+name+"': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context\r\n", command...)
		}
		w.wants("*3\r\n"+bulk("unsubscribe")+bulk("c")+":0\r\n", "UNSUBSCRIBE", "c")
		w.wants(ok, "AUTH", "demo-user", token(t, srv, nil))
		w.wants("*3\r\n"+bulk("subscribe")+bulk("c")+":1\r\n", "SUBSCRIBE", "c")
		w.wants("+RESET\r\n", "RESET")
		w.wants(ok, "AUTH", "demo-user", token(t, srv, nil))
	})
}

// log is a slog destination that several goroutines may write to.
type log struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func TestNoSecretIsInLogsAndEvents(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, engine string) {
		written := new(log)
		srv := emulator.Start(t, emulator.Config{Engine: engine, Log: slog.New(slog.NewJSONHandler(written, &slog.HandlerOptions{Level: slog.LevelDebug}))})
		setUp(t, srv)
		credentials, err := srv.Credentials("demo-app").Retrieve(t.Context())
		must(t, err)
		good := token(t, srv, func(s *rediam.Signer) {
			s.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return credentials, nil })
		})
		_, query, _ := strings.Cut(good, "?")
		parameters, err := url.ParseQuery(query)
		must(t, err)
		first := "demo/?X-Amz-Security-Token=" + url.QueryEscape(credentials.SessionToken) + "&" + query
		for _, command := range [][]string{
			{"AUTH", "demo-user", good},
			{"AUTH", good},
			{"AUTH", good, "demo-user"},
			{"AUTH", first, "demo-user"},
			{"AUTH", "demo-user", first},
			{"AUTH", "demo-user", good[:len(good)-1]},
			{"AUTH", "demo-user", "http://" + good},
			{"AUTH", "demo-user", good + "&" + query},
			{"AUTH", "demo-user", strings.Replace(good, "X-Amz-Signature", "X-Amz-Signatur", 1)},
			{"AUTH", "password-user", "the-first-password"},
			{"AUTH", "password-user", "a-wrong-password-but-still-one"},
			{"HELLO", "3", "AUTH", "demo-user", good},
			{"HELLO", "3", "AUTH", good, "demo-user"},
			{good},
			{"GET", good},
		} {
			w := dial(t, srv, "demo")
			w.do(command...)
		}
		broken := dial(t, srv, "demo")
		broken.send("*3\r\n$4\r\nAUTH\r\n$9\r\ndemo-user\r\n:" + good + "\r\n")
		broken.reply()
		broken.ends()
		events, err := json.Marshal(srv.Events())
		must(t, err)
		if !strings.Contains(string(events), "wrong-password") || !strings.Contains(written.String(), "wrong-password") {
			t.Fatal("events or log do not have what is looked through")
		}
		for name, secret := range map[string]string{
			"the signature":                  parameters.Get("X-Amz-Signature"),
			"the session token":              credentials.SessionToken[:16],
			"the session token, escaped":     url.QueryEscape(credentials.SessionToken)[:16],
			"the secret key":                 credentials.SecretAccessKey,
			"a password":                     "the-first-password",
			"the other password of the user": "the-second-password",
			"a wrong password":               "a-wrong-password-but-still-one",
		} {
			if strings.Contains(string(events), secret) {
				t.Errorf("%s is in the events", name)
			}
			if strings.Contains(written.String(), secret) {
				t.Errorf("%s is in the log", name)
			}
		}
	})
}

func TestAnEventIsWrittenLikeCloudTrails(t *testing.T) {
	event := emulator.Event{
		Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Service: "elasticache", Region: "us-east-1", Cache: "demo", User: "demo-user",
		Source: "127.0.0.1", Connection: 7, PrincipalType: "AssumedRole", Principal: "arn:aws:sts::123456789012:assumed-role/app/i-1",
		Account: "123456789012", AccessKey: "ASIAEXAMPLE", Reason: "permission-denied", Detail: "no statement allows it", Policy: "connect", Statement: "Connect",
	}
	const golden = `{"eventTime":"2026-01-02T03:04:05Z","eventSource":"elasticache.amazonaws.com","eventName":"Connect","awsRegion":"us-east-1","sourceIPAddress":"127.0.0.1",` +
		`"userIdentity":{"type":"AssumedRole","arn":"arn:aws:sts::123456789012:assumed-role/app/i-1","accountId":"123456789012","accessKeyId":"ASIAEXAMPLE"},` +
		`"requestParameters":{"cache":"demo","user":"demo-user"},"errorCode":"permission-denied","errorMessage":"no statement allows it",` +
		`"additionalEventData":{"connection":7,"renewal":false,"policy":"connect","statement":"Connect"}}`
	if got, err := json.Marshal(event); string(got) != golden || err != nil {
		t.Errorf("the event is\n%s, %v, want\n%s", got, err, golden)
	}
}

func TestAnEventTellsWhoSignedInWhereAndWhy(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	before := srv.Now()
	signedIn(t, srv)
	e := last(t, srv)
	if e.Time.Before(before) || e.Time.After(srv.Now()) {
		t.Errorf("the time is %v", e.Time)
	}
	e.Time, e.AccessKey = time.Time{}, e.AccessKey[:4]
	want := emulator.Event{Service: "elasticache", Region: "us-east-1", Cache: "demo", User: "demo-user", Source: "127.0.0.1", Connection: 1,
		PrincipalType: "AssumedRole", Principal: "arn:aws:sts::123456789012:assumed-role/demo-app/emulator", Account: "123456789012", AccessKey: "ASIA",
		Policy: "connect", Statement: "Connect"}
	if e != want {
		t.Errorf("the event is\n%+v, want\n%+v", e, want)
	}
}

func TestAPasswordInTheUserNamesPlaceIsNotShown(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	dial(t, srv, "demo").wants(wrongPass, "AUTH", "hunter2hunter2", "demo-user")
	if e := last(t, srv); e.User != "(not a user name)" || strings.Contains(e.Detail, "hunter2") {
		t.Errorf("event %+v", e)
	}
	dial(t, srv, "demo").wants(wrongPass, "AUTH", "demo-usr", token(t, srv, nil))
	if e := last(t, srv); e.User != "demo-usr" {
		t.Errorf("event %+v", e)
	}
}
