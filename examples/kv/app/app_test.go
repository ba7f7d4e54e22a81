package app_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/emulator"
	"github.com/rediam/rediam/examples/kv/app"
	"github.com/redis/go-redis/v9"
)

// serve runs the handler on a cache of an emulator. What it logs is in log once
// the request has been answered.
func serve(t *testing.T, srv *emulator.Server) (url string, log *bytes.Buffer) {
	t.Helper()
	cache := srv.Cache("demo")
	client := app.NewClient(cache.Addr, false, cache.TLS, signer(srv))
	t.Cleanup(func() { client.Close() })
	log = new(bytes.Buffer)
	server := httptest.NewServer(app.NewHandler(client, slog.New(slog.NewTextHandler(log, nil))))
	t.Cleanup(server.Close)
	return server.URL, log
}

func signer(srv *emulator.Server) *rediam.Signer {
	return &rediam.Signer{Cache: "demo", User: "demo-user", Region: srv.Region(), Credentials: srv.Credentials("demo-app"), Now: srv.Now}
}

// request sends what curl would, with the Content-Type that its -d has.
func request(t *testing.T, method, url, body string) (status int, answer string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return send(t, r)
}

func send(t *testing.T, r *http.Request) (status int, answer string) {
	t.Helper()
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, strings.TrimSpace(string(got))
}

func TestWhatIsPutCanBeGot(t *testing.T) {
	url, _ := serve(t, emulator.Start(t, emulator.Config{Engine: "embedded"}))
	for path, pair := range map[string]string{
		"/foo1":         `{"key":"foo1","value":"bar1"}`,
		"/a/b":          `{"key":"a/b","value":"with a slash"}`,
		"/a%2F%2Fb%20c": `{"key":"a//b c","value":"escaped"}`,
		"/empty":        `{"key":"empty","value":""}`,
	} {
		if status, got := request(t, "POST", url, pair); status != 200 || got != pair {
			t.Errorf("POST %s = %d %s", pair, status, got)
		}
		if status, got := request(t, "GET", url+path, ""); status != 200 || got != pair {
			t.Errorf("GET %s = %d %s, want 200 %s", path, status, got, pair)
		}
	}
}

func TestAKeyThatIsNotThereIs404InJSON(t *testing.T) {
	url, log := serve(t, emulator.Start(t, emulator.Config{Engine: "embedded"}))
	if status, got := request(t, "GET", url+"/not_there", ""); status != 404 || got != `{"error":"no such key"}` {
		t.Errorf("GET /not_there = %d %s", status, got)
	}
	if log.Len() > 0 {
		t.Errorf("logged as a failure: %s", log)
	}
}

// sized is a body of n bytes.
func sized(n int) string {
	const before, after = `{"key":"big","value":"`, `"}`
	return before + strings.Repeat("x", n-len(before)-len(after)) + after
}

func TestBadInputIsRefused(t *testing.T) {
	url, _ := serve(t, emulator.Start(t, emulator.Config{Engine: "embedded"}))
	good := `{"key":"foo1","value":"bar1"}`
	for name, c := range map[string]struct {
		body   string
		status int
	}{
		"an empty body":                    {``, 400},
		"not JSON":                         {`key=foo1&value=bar1`, 400},
		"half a value":                     {`{"key":"foo1"`, 400},
		"two values":                       {good + good, 400},
		"null":                             {`null`, 400},
		"an array":                         {`["foo1","bar1"]`, 400},
		"an empty key":                     {`{"key":"","value":"bar1"}`, 400},
		"no key":                           {`{"value":"bar1"}`, 400},
		"no value":                         {`{"key":"foo1"}`, 400},
		"a value that is not a string":     {`{"key":"foo1","value":1}`, 400},
		"an unknown field":                 {`{"key":"foo1","value":"bar1","ttl":"1"}`, 400},
		"a key that GET could not reach":   {`{"key":"healthz","value":"bar1"}`, 400},
		"a body of over 1 MiB":             {sized(1<<20 + 1), 413},
		"a small value and much behind it": {good + strings.Repeat(" ", 1<<20), 413},
	} {
		t.Run(name, func(t *testing.T) {
			status, got := request(t, "POST", url, c.body)
			if status != c.status || !strings.HasPrefix(got, `{"error":"`) {
				t.Errorf("POST = %d %.80s, want %d and an error", status, got, c.status)
			}
		})
	}
	if status, got := request(t, "POST", url, sized(1<<20)); status != 200 {
		t.Errorf("POST of 1 MiB = %d %.80s, want 200", status, got)
	}
}

func TestAFormOnAForeignPageCannotPost(t *testing.T) {
	url, _ := serve(t, emulator.Start(t, emulator.Config{Engine: "embedded"}))
	r, err := http.NewRequestWithContext(t.Context(), "POST", url, strings.NewReader(`{"key":"foo1","value":"bar1"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	if status, got := send(t, r); status != 403 {
		t.Errorf("POST from a foreign page = %d %s, want 403", status, got)
	}
	if status, got := request(t, "GET", url+"/foo1", ""); status != 404 {
		t.Errorf("GET /foo1 = %d %s, want 404", status, got)
	}
}

func TestARefusedSignInIs502UntilItIsAllowedAgain(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	url, log := serve(t, srv)
	put := func() (int, string) { return request(t, "POST", url, `{"key":"foo1","value":"bar1"}`) }
	if status, got := put(); status != 200 {
		t.Fatalf("POST = %d %s", status, got)
	}
	allowed, _ := srv.Role("demo-app")
	denied := allowed
	denied.Inline = nil
	if err := srv.PutRole(denied); err != nil {
		t.Fatal(err)
	}
	if status, got := put(); status != 200 {
		t.Errorf("POST on a connection that is signed in = %d %s, want 200", status, got)
	}
	srv.Advance(12 * time.Hour)
	if status, got := put(); status != 502 || got != `{"error":"the cache refused the request"}` {
		t.Errorf("POST without permission = %d %s, want 502", status, got)
	}
	if events := srv.Events(); events[len(events)-1].Reason != "permission-denied" {
		t.Errorf("last sign-in: %+v, want permission-denied", events[len(events)-1])
	}
	if !strings.Contains(log.String(), "WRONGPASS") || strings.Contains(log.String(), "X-Amz-") {
		t.Errorf("log = %s, want the answer of the cache and no token", log)
	}
	if err := srv.PutRole(allowed); err != nil {
		t.Fatal(err)
	}
	if status, got := put(); status != 200 {
		t.Errorf("POST with the permission back = %d %s, want 200", status, got)
	}
}

func TestACacheThatIsGoneIs503WhileTheAppLives(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	url, log := serve(t, srv)
	addr := srv.Cache("demo").Addr
	srv.Close()
	if status, got := request(t, "GET", url+"/foo1", ""); status != 503 || got != `{"error":"the cache cannot be reached"}` {
		t.Errorf("GET /foo1 = %d %s, want 503", status, got)
	}
	if !strings.Contains(log.String(), addr) {
		t.Errorf("log = %s, want the address %s", log, addr)
	}
	if status, got := request(t, "GET", url+"/healthz", ""); status != 200 {
		t.Errorf("GET /healthz = %d %s, want 200", status, got)
	}
}

func TestConnectionsAreReplacedBeforeAWSClosesThem(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	cache := srv.Cache("demo")
	single := app.NewClient(cache.Addr, false, cache.TLS, signer(srv))
	defer single.Close()
	cluster := app.NewClient(cache.Addr, true, cache.TLS, signer(srv))
	defer cluster.Close()
	s, c := single.(*redis.Client).Options(), cluster.(*redis.ClusterClient).Options()
	for _, longest := range []time.Duration{s.ConnMaxLifetime + s.ConnMaxLifetimeJitter, c.ConnMaxLifetime + c.ConnMaxLifetimeJitter} {
		if longest <= 0 || longest > 11*time.Hour+30*time.Minute {
			t.Errorf("a connection may live %v, want at most 11h30m", longest)
		}
	}
}

func TestServeLetsRequestsFinish(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	entered, leave := make(chan struct{}), make(chan struct{})
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-leave
		io.WriteString(w, "done")
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	served, answer := make(chan error, 1), make(chan string, 1)
	go func() { served <- app.Serve(ctx, listener, handler) }()
	go func() {
		response, err := http.Get("http://" + listener.Addr().String())
		if err != nil {
			answer <- err.Error()
			return
		}
		defer response.Body.Close()
		got, _ := io.ReadAll(response.Body)
		answer <- string(got)
	}()
	select {
	case <-entered:
	case got := <-answer:
		t.Fatalf("the request did not reach the handler: %s", got)
	}
	cancel()
	untilRefused(t, listener.Addr().String())
	close(leave)
	if got := <-answer; got != "done" {
		t.Errorf("answer to the request under way = %q, want done", got)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve() = %v, want nil", err)
	}
}

// untilRefused returns once nobody listens.
func untilRefused(t *testing.T, addr string) {
	t.Helper()
	for t.Context().Err() == nil {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		conn.Close()
	}
}

func TestServeTellsWhyItCannotServe(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	if err := app.Serve(t.Context(), listener, http.NotFoundHandler()); err == nil {
		t.Error("Serve() on a closed listener = nil, want an error")
	}
}
