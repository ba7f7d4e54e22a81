package recipes_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rediam/rediam/internal/installed"
)

// web is bounded, so that a program that hangs fails its test.
var web = &http.Client{Timeout: patience}

// request makes an HTTP request and gives what was answered, which has to be 200.
func request(t *testing.T, client *http.Client, method, url, body string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s, %v\n%s", method, url, answer.Status, err, text)
	}
	return string(text)
}

// up waits until a program answers.
func up(t *testing.T, url string) {
	t.Helper()
	until(t, url, func() bool {
		answer, err := web.Get(url)
		if err != nil {
			return false
		}
		answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
}

func TestRedisExporterIsScraped(t *testing.T) {
	t.Parallel()
	program := path(t, "prometheus-redis-exporter")
	c, address := through(t), "127.0.0.1:"+port(t)
	exporter := start(t, []string{"REDIS_ADDR=redis://" + c.addr, "REDIS_EXPORTER_CONFIG_COMMAND=-", "REDIS_EXPORTER_WEB_LISTEN_ADDRESS=" + address}, program)
	up(t, "http://"+address+"/health")
	c.works(0, func(int) { // it connects anew for each scrape
		metrics := request(t, web, "GET", "http://"+address+"/metrics", "")
		if !strings.Contains(metrics, "\nredis_up 1\n") || !strings.Contains(metrics, "\nredis_connected_clients ") {
			t.Errorf("scraped\n%s", metrics)
		}
	})
	exporter.clean("level=error")
}

// identity is a provider of identities that lets everybody in.
func identity(t *testing.T) string {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"access_token":"x","token_type":"bearer","expires_in":3600}`)
	})
	mux.HandleFunc("GET /user", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"ocs":{"data":{"id":"u","email":"u@example.com"}}}`)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

func TestOAuth2ProxyKeepsItsSessions(t *testing.T) {
	t.Parallel()
	program := path(t, "oauth2-proxy")
	c, address, provider := through(t), "127.0.0.1:"+port(t), identity(t)
	oauth := start(t, []string{"OAUTH2_PROXY_SESSION_STORE_TYPE=redis", "OAUTH2_PROXY_REDIS_CONNECTION_URL=redis://" + c.addr}, program,
		"--http-address="+address, "--provider=nextcloud", "--client-id=x", "--client-secret=x", "--cookie-secret=0123456789abcdef",
		"--cookie-secure=false", "--email-domain=*", "--upstream=static://200",
		"--login-url="+provider+"/login", "--redeem-url="+provider+"/token", "--validate-url="+provider+"/user")
	up(t, "http://"+address+"/ready") // which asks the cache
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Timeout: patience, Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := browser.Get("http://" + address + "/oauth2/start?rd=/")
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	login, err := answer.Location()
	if err != nil {
		t.Fatal(err)
	}
	answer, err = browser.Get("http://" + address + "/oauth2/callback?code=x&state=" + url.QueryEscape(login.Query().Get("state")))
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	c.works(2, func(int) {
		request(t, web, "GET", "http://"+address+"/ready", "")
		if who := request(t, browser, "GET", "http://"+address+"/oauth2/userinfo", ""); !strings.Contains(who, "u@example.com") {
			t.Errorf("the session is of %s", who)
		}
	})
	oauth.clean("error")
}

func TestRatelimitCounts(t *testing.T) {
	t.Parallel()
	program := path(t, "ratelimit")
	c, http1, rpc, debug := through(t), port(t), port(t), port(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "limits", "config", "test.yaml"), "{domain: test, descriptors: [{key: who, rate_limit: {unit: day, requests_per_unit: 100000}}]}")
	limiter := start(t, []string{
		"REDIS_SOCKET_TYPE=tcp", "REDIS_URL=" + c.addr, "REDIS_TYPE=SINGLE", "RUNTIME_ROOT=" + dir, "RUNTIME_SUBDIRECTORY=limits",
		"USE_STATSD=false", "HOST=127.0.0.1", "GRPC_HOST=127.0.0.1", "DEBUG_HOST=127.0.0.1", "PORT=" + http1, "GRPC_PORT=" + rpc, "DEBUG_PORT=" + debug,
	}, program)
	up(t, "http://127.0.0.1:"+http1+"/healthcheck")
	c.works(10, func(n int) {
		said := request(t, web, "POST", "http://127.0.0.1:"+http1+"/json", `{"domain":"test","descriptors":[{"entries":[{"key":"who","value":"me"}]}]}`)
		var answer struct {
			OverallCode string
			Statuses    []struct{ LimitRemaining int }
		}
		if err := json.Unmarshal([]byte(said), &answer); err != nil || answer.OverallCode != "OK" || len(answer.Statuses) != 1 || answer.Statuses[0].LimitRemaining != 100000-1-n {
			t.Errorf("request %d: %s, %v", n, said, err)
		}
	})
	limiter.clean("level=error", "panic")
}

// Publications come back by way of the cache's PUB/SUB, from its history too.
func TestCentrifugoPublishes(t *testing.T) {
	t.Parallel()
	program := path(t, "centrifugo")
	c, p := through(t), port(t)
	node := start(t, []string{
		"CENTRIFUGO_ENGINE_TYPE=redis", "CENTRIFUGO_ENGINE_REDIS_ADDRESS=redis://" + c.addr,
		"CENTRIFUGO_HTTP_SERVER_ADDRESS=127.0.0.1", "CENTRIFUGO_HTTP_SERVER_PORT=" + p, "CENTRIFUGO_HTTP_API_INSECURE=true",
		"CENTRIFUGO_HEALTH_ENABLED=true", "CENTRIFUGO_CLIENT_INSECURE=true", "CENTRIFUGO_UNI_SSE_ENABLED=true",
		"CENTRIFUGO_CHANNEL_WITHOUT_NAMESPACE_HISTORY_SIZE=1000000", "CENTRIFUGO_CHANNEL_WITHOUT_NAMESPACE_HISTORY_TTL=1h",
	}, program)
	up(t, "http://127.0.0.1:"+p+"/health")
	ctx, cancel := context.WithTimeout(t.Context(), work+patience)
	defer cancel()
	stream, err := http.NewRequestWithContext(ctx, "GET", "http://127.0.0.1:"+p+"/connection/uni_sse?cf_connect="+url.QueryEscape(`{"subs":{"news":{}}}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	subscribed, err := http.DefaultClient.Do(stream)
	if err != nil {
		t.Fatal(err)
	}
	defer subscribed.Body.Close()
	messages := bufio.NewScanner(subscribed.Body)
	next := func() string {
		for messages.Scan() {
			if data, ok := strings.CutPrefix(messages.Text(), "data: "); ok && data != "{}" {
				return data
			}
		}
		return fmt.Sprint("the stream has ended: ", messages.Err())
	}
	if hello := next(); !strings.Contains(hello, `"connect"`) {
		t.Fatal(hello)
	}
	c.works(4, func(n int) {
		request(t, web, "POST", "http://127.0.0.1:"+p+"/api/publish", fmt.Sprintf(`{"channel":"news","data":{"n":%d}}`, n))
		if message := next(); !strings.Contains(message, fmt.Sprintf(`"data":{"n":%d}`, n)) {
			t.Errorf("message %d is %s", n, message)
		}
		history := request(t, web, "POST", "http://127.0.0.1:"+p+"/api/history", `{"channel":"news","limit":1,"reverse":true}`)
		if !strings.Contains(history, fmt.Sprintf(`"data":{"n":%d},"offset":%d`, n, n+1)) {
			t.Errorf("history %d is %s", n, history)
		}
	})
	node.clean(`"level":"error"`, "ERR")
}

func TestCeleryRunsTasks(t *testing.T) {
	t.Parallel()
	python := "/usr/bin/python3" // a python3 that comes first in PATH may not be Debian's
	if err := exec.Command(python, "-c", "import celery, redis").Run(); err != nil {
		installed.Missing(t, "celery", err)
	}
	c := through(t)
	tasks, err := filepath.Abs("testdata/celery")
	if err != nil {
		t.Fatal(err)
	}
	variables := []string{"REDIS_URL=redis://" + c.addr, "PYTHONPATH=" + tasks, "PYTHONDONTWRITEBYTECODE=1", "C_FORCE_ROOT=true"}
	worker := start(t, variables, python, "-m", "celery", "--app", "tasks", "worker", "--concurrency", "2", "--loglevel", "INFO", "--pidfile=")
	until(t, "the worker is ready", func() bool { return strings.Contains(worker.log(), " ready.") })
	client := exec.CommandContext(t.Context(), python, filepath.Join(tasks, "client.py"), strconv.Itoa(int(work/time.Second)))
	client.Env = append(os.Environ(), variables...)
	out, err := client.CombinedOutput()
	if err != nil || !strings.HasSuffix(string(out), " tasks\n") {
		t.Errorf("%v\n%s", err, out)
	}
	t.Logf("%s, %+v", out, c.signIns.Counts())
	worker.clean("Traceback", ": ERROR/", ": WARNING/")
}

// A page of PHP-FPM has its session and a counter in the cache, over connections that
// its workers keep.
func TestPHPKeepsSessions(t *testing.T) {
	t.Parallel()
	version, err := exec.Command(path(t, "php"), "-r", "echo PHP_MAJOR_VERSION, '.', PHP_MINOR_VERSION;").Output()
	if err != nil {
		t.Fatal(err)
	}
	fpm, err := exec.LookPath("php-fpm" + string(version))
	if err != nil {
		installed.Missing(t, "php-fpm", err)
	}
	fcgi := path(t, "cgi-fcgi")
	c := through(t)
	page, err := filepath.Abs("testdata/page.php")
	if err != nil {
		t.Fatal(err)
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "fpm") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	host, port, err := net.SplitHostPort(c.addr)
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "s")
	write(t, filepath.Join(dir, "fpm.conf"), fmt.Sprintf(`[global]
error_log = /dev/stderr
[www]
user = %s
listen = %s
pm = static
pm.max_children = 1
catch_workers_output = yes
php_admin_value[session.save_handler] = redis
php_admin_value[session.save_path] = "tcp://%s?persistent=1"
php_admin_value[display_errors] = 1
env[REDIS_HOST] = %s
env[REDIS_PORT] = %s
`, me.Username, socket, c.addr, host, port))
	server := start(t, nil, fpm, "--nodaemonize", "--allow-to-run-as-root", "--fpm-config", filepath.Join(dir, "fpm.conf"))
	until(t, "PHP-FPM listens", func() bool { _, err := os.Stat(socket); return err == nil })
	c.works(2, func(n int) {
		get := exec.CommandContext(t.Context(), fcgi, "-bind", "-connect", socket)
		get.Env = []string{"REQUEST_METHOD=GET", "SCRIPT_FILENAME=" + page, "HTTP_COOKIE=PHPSESSID=0123456789abcdef0123456789abcdef"}
		out, err := get.CombinedOutput()
		if want := fmt.Sprintf("\r\n\r\nsession %d, cache %d", n+1, n+1); err != nil || !strings.HasSuffix(string(out), want) {
			t.Errorf("page %d: %v\n%s", n, err, out)
		}
	})
	server.clean("warning", "fatal")
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
