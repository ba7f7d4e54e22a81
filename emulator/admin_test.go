package emulator_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/emulator"
	"github.com/rediam/rediam/internal/installed"
)

// attempt sends one AUTH on a connection of its own.
func attempt(t *testing.T, srv *emulator.Server, password string) string {
	t.Helper()
	return dial(t, srv, "demo").do("AUTH", "demo-user", password)
}

func TestFaultsAnswerSignInsAsAWSDoesInTrouble(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	password := token(t, srv, nil)
	for _, text := range []string{emulator.ErrIAMUnavailable, emulator.ErrThrottled, emulator.ErrUnavailable} {
		must(t, srv.Fault("demo", emulator.Fault{SignIn: text}))
		if got := attempt(t, srv, password); got != "-"+text+"\r\n" {
			t.Errorf("got %q, want -%s", got, text)
		}
		if e := last(t, srv); e.Reason != "fault" || e.Detail != text {
			t.Errorf("event %+v", e)
		}
	}
	must(t, srv.Fault("", emulator.Fault{}))
	if got := attempt(t, srv, password); got != ok {
		t.Errorf("after the faults: %q", got)
	}
	if err := srv.Fault("other", emulator.Fault{}); err == nil {
		t.Error("a fault on a cache that is not there gave no error")
	}
}

func TestAnOutageOfIAMLeavesLiveConnectionsAndPasswordsAlone(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	must(t, srv.PutUser(emulator.User{ID: "old", Name: "old", Auth: emulator.AuthPassword, Passwords: []emulator.Secret{"sixteen-characters-at-least"}, Access: "on ~* +@all"}))
	must(t, srv.PutGroup(emulator.Group{ID: "demo-users", Users: []string{"demo-default", "demo-user", "old"}}))
	w := signedIn(t, srv)
	must(t, srv.Fault("", emulator.Fault{SignIn: emulator.ErrIAMUnavailable}))
	w.wants("-"+emulator.ErrIAMUnavailable+"\r\n", "AUTH", "demo-user", token(t, srv, nil))
	w.wants("+PONG\r\n", "PING")
	dial(t, srv, "demo").wants(ok, "AUTH", "old", "sixteen-characters-at-least")
}

func TestASignInLimitThrottlesWhatIsAboveIt(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	password := token(t, srv, nil)
	must(t, srv.Fault("", emulator.Fault{SignInsPerSecond: 1}))
	w := dial(t, srv, "demo")
	w.send(strings.Repeat(request("AUTH", "demo-user", password), 1000))
	counts := map[string]int{}
	for range 1000 {
		counts[w.reply()]++
	}
	if counts[ok] < 1 || counts["-"+emulator.ErrThrottled+"\r\n"] < 1 || len(counts) != 2 {
		t.Errorf("answers %v", counts)
	}
}

// signIns are the sign-ins that the emulator has seen, once there are n.
func signIns(srv *emulator.Server, n int) []emulator.Event {
	for len(srv.Events()) < n { // if they never come, the test does not end
		runtime.Gosched()
	}
	return srv.Events()
}

func TestSignInsAreThrottledWhileTooManyAreUnderWay(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, engine string) {
		srv := emulator.Start(t, emulator.Config{Engine: engine})
		password := token(t, srv, nil)
		must(t, srv.Fault("", emulator.Fault{SignInsAtOnce: 2, Latency: time.Minute})) // nobody gets an answer
		for range 5 {
			dial(t, srv, "demo").send(request("AUTH", "demo-user", password))
			dial(t, srv, "demo").send(request("HELLO", "3", "AUTH", "demo-user", password))
		}
		admitted := 0
		for _, e := range signIns(srv, 10) {
			if e.Admitted() {
				admitted++
			} else if e.Detail != emulator.ErrThrottled {
				t.Errorf("event %+v", e)
			}
		}
		if admitted != 2 {
			t.Errorf("%d were admitted, want 2", admitted)
		}
		_, err := srv.Cut("", -1)
		must(t, err)
		must(t, srv.Fault("", emulator.Fault{SignInsAtOnce: 1}))
		one, other := dial(t, srv, "demo"), dial(t, srv, "demo")
		for range 100 { // who has an answer is no longer under way
			one.wants(ok, "AUTH", "demo-user", password)
			other.wants(wrongPass, "AUTH", "demo-user", "x")
			if got := other.do("HELLO", "2", "AUTH", "demo-user", password); !strings.HasPrefix(got, "*14\r\n") {
				t.Fatalf("HELLO is answered by %q", got)
			}
		}
	})
}

func TestASignInThatEndsWithoutAnAnswerIsNoLongerUnderWay(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: installed.Path(t, "redis-server")})
	password := token(t, srv, nil)
	must(t, srv.Fault("", emulator.Fault{SignInsAtOnce: 1}))
	w := signedIn(t, srv)
	for _, hidden := range []string{"SKIP", "OFF"} {
		w.send(request("CLIENT", "REPLY", hidden) + request("HELLO", "3", "AUTH", "demo-user", password))
	}
	w.wants(ok, "CLIENT", "REPLY", "ON")
	signedIn(t, srv)
}

func TestLatencyDelaysAnswersAndDoesNotDelayClosing(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	password := token(t, srv, nil)
	must(t, srv.Fault("", emulator.Fault{Latency: 30 * time.Millisecond}))
	started := time.Now()
	if got := attempt(t, srv, password); got != ok {
		t.Errorf("got %q", got)
	}
	if took := time.Since(started); took < 30*time.Millisecond {
		t.Errorf("the answer came after %v", took)
	}
	must(t, srv.Fault("", emulator.Fault{Latency: time.Minute}))
	w := dial(t, srv, "demo")
	w.send(request("PING"))
	if n, err := srv.Cut("", -1); n == 0 || err != nil {
		t.Errorf("Cut = %d, %v", n, err)
	}
	w.ends()
}

func TestCutEndsTheOldestConnections(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	oldest, older, young := signedIn(t, srv), signedIn(t, srv), signedIn(t, srv)
	if n, err := srv.Cut("demo", 2); n != 2 || err != nil {
		t.Fatalf("Cut = %d, %v", n, err)
	}
	oldest.ends()
	older.ends()
	young.wants("+PONG\r\n", "PING")
}

func TestATokenOpensOneConnectionIfSoConfigured(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded", OneTime: true})
	password := token(t, srv, nil)
	if got := attempt(t, srv, password); got != ok {
		t.Fatalf("the first use: %q", got)
	}
	if got := attempt(t, srv, password); got != wrongPass {
		t.Errorf("the second use: %q", got)
	}
	if e := last(t, srv); e.Reason != "token-reused" {
		t.Errorf("event %+v", e)
	}
	first, rest, _ := strings.Cut(strings.Replace(password, "/?", "?", 1), "&")
	name, parameter, _ := strings.Cut(first, "?")
	for _, same := range []string{name + "/?" + rest + "&" + parameter, name + "?" + parameter + "&" + rest, strings.Replace(password, "-", "%2D", 1), strings.Replace(password, "%2F", "%2f", 1)} {
		if got := attempt(t, srv, same); same == password || got != wrongPass || last(t, srv).Reason != "token-reused" {
			t.Errorf("the same token in other words: %q, event %+v", got, last(t, srv))
		}
	}
	another := token(t, srv, func(s *rediam.Signer) { s.TTL = time.Minute })
	if got := attempt(t, srv, another); got != ok {
		t.Errorf("another token: %q", got)
	}
}

// call asks the emulator itself.
func call(t *testing.T, srv *emulator.Server, method, path, body string, headers ...string) (status int, answer string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, srv.URL()+path, strings.NewReader(body))
	must(t, err)
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(r)
	must(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	must(t, err)
	return response.StatusCode, string(text)
}

func TestProgramsInAnyLanguageLookAndSteerOverHTTP(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	w := signedIn(t, srv)

	_, text := call(t, srv, "GET", "/_rediam/events", "")
	var events []struct {
		EventName    string
		UserIdentity struct{ Type string }
	}
	must(t, json.Unmarshal([]byte(text), &events))
	if len(events) != 1 || events[0].EventName != "Connect" || events[0].UserIdentity.Type != "AssumedRole" {
		t.Errorf("events %s", text)
	}
	_, text = call(t, srv, "GET", "/_rediam/sessions", "")
	var sessions map[string][]emulator.Session
	must(t, json.Unmarshal([]byte(text), &sessions))
	if s := sessions["demo"]; len(s) != 1 || s[0].User != "demo-user" || s[0].Ends.IsZero() {
		t.Errorf("sessions %s", text)
	}

	if _, text := call(t, srv, "GET", "/_rediam/ca.pem", ""); !strings.HasPrefix(text, "-----BEGIN CERTIFICATE-----") {
		t.Errorf("authority %s", text)
	}
	status, text := call(t, srv, "POST", "/_rediam/fault", fmt.Sprintf(`{"signIn":%q,"signInsAtOnce":3,"latency":"1ms"}`, emulator.ErrThrottled))
	if status != 200 || !strings.Contains(text, `"signInsAtOnce":3`) {
		t.Errorf("fault: %d %s", status, text)
	}
	if got := attempt(t, srv, "x"); got != "-"+emulator.ErrThrottled+"\r\n" {
		t.Errorf("got %q", got)
	}
	before := srv.Now()
	if status, text := call(t, srv, "POST", "/_rediam/advance", `{"by":"12h"}`); status != 200 || srv.Now().Sub(before) < 12*time.Hour {
		t.Errorf("advance: %d %s", status, text)
	}
	w.ends()
	if status, text := call(t, srv, "POST", "/_rediam/cut", `{"cache":"demo"}`); status != 200 || !strings.Contains(text, `"ended":`) {
		t.Errorf("cut: %d %s", status, text)
	}
}

func TestTheHTTPCallsRefuseWhatTheyDoNotKnow(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	for _, c := range []struct {
		name, method, path, body string
		headers                  []string
		status                   int
	}{
		{"no JSON", "POST", "/_rediam/fault", "x", nil, 400},
		{"an unknown member", "POST", "/_rediam/fault", `{"sigIn":"ERR x"}`, nil, 400},
		{"a negative limit", "POST", "/_rediam/fault", `{"signInsAtOnce":-1}`, nil, 400},
		{"an unknown cache", "POST", "/_rediam/cut", `{"cache":"other"}`, nil, 400},
		{"a bad duration", "POST", "/_rediam/fault", `{"latency":"soon"}`, nil, 400},
		{"time backwards", "POST", "/_rediam/advance", `{"by":"-1h"}`, nil, 400},
		{"a large body", "POST", "/_rediam/advance", `{"by":"` + strings.Repeat(" ", 100<<10) + `1h"}`, nil, 400},
		{"keys, if it is not exposed", "GET", "/_rediam/environ", "", nil, 404},
		{"the wrong method", "GET", "/_rediam/cut", "", nil, 405},
		{"an unknown call", "GET", "/_rediam/other", "", nil, 404},
		{"a web page of another origin", "POST", "/_rediam/cut", `{}`, []string{"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"}, 403},
		{"a name rebound to this machine", "GET", "/_rediam/events", "", []string{"Host", "evil.example"}, 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			if status, text := call(t, srv, c.method, c.path, c.body, c.headers...); status != c.status {
				t.Errorf("answered %d %s, want %d", status, text, c.status)
			}
		})
	}
}

func TestExposedItListensUnderItsNameOnEveryInterface(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded", Expose: "localhost"})
	cache := srv.Cache("demo")
	if !strings.HasPrefix(cache.Addr, "localhost:") || !strings.HasPrefix(srv.URL(), "http://localhost:") || cache.TLS.ServerName != "localhost" {
		t.Errorf("cache at %s, AWS at %s", cache.Addr, srv.URL())
	}
	if got := attempt(t, srv, token(t, srv, nil)); got != ok {
		t.Errorf("got %q", got)
	}
	if status, text := call(t, srv, "GET", "/_rediam/environ", ""); status != 200 || !strings.Contains(text, "REDIAM_ENDPOINT=localhost:") || !strings.Contains(text, "AWS_SECRET_ACCESS_KEY=") {
		t.Errorf("environ: %d %s", status, text)
	}
	if _, err := emulator.Open(t.Context(), emulator.Config{Engine: "embedded", Expose: "10.0.0.1"}); err == nil {
		t.Error("exposed under an address")
	}
}
