package main_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rediam/rediam/emulator"
	"github.com/rediam/rediam/internal/installed"
)

// build makes the program.
func build(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "kv")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return program
}

// command is the program with these variables alone, and no AWS configuration of
// this machine's.
func command(t *testing.T, program string, env ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, program)
	cmd.Env = append([]string{"HOME=" + t.TempDir(), "AWS_EC2_METADATA_DISABLED=true"}, env...)
	return cmd
}

// emulated is what the program needs to know of an emulator, as its admin.
func emulated(t *testing.T, srv *emulator.Server) (env []string, secret string) {
	t.Helper()
	key, err := srv.CreateAccessKey(emulator.AdminUser)
	if err != nil {
		t.Fatal(err)
	}
	return []string{
		"AWS_ENDPOINT_URL=" + srv.URL(), "AWS_REGION=" + srv.Region(),
		"AWS_ACCESS_KEY_ID=" + key.ID, "AWS_SECRET_ACCESS_KEY=" + string(key.Secret),
		"CLUSTER_NAME=demo", "CLUSTER_ENDPOINT=" + srv.Cache("demo").Addr, "USERNAME=demo-user", "CA_FILE=" + srv.CAFile(),
		"LISTEN_ADDR=127.0.0.1", "PORT=0",
	}, string(key.Secret)
}

var listening = regexp.MustCompile(`msg=listening url=(http://127\.0\.0\.1:\d+)`)

func TestTheProgramServesUntilItIsToldToStop(t *testing.T) {
	program := build(t)
	for name, c := range map[string]struct {
		config emulator.Config
		env    []string
	}{
		"ElastiCache":                 {emulator.Config{}, nil},
		"ElastiCache in cluster mode": {emulator.Config{}, []string{"CLUSTER_MODE=true"}},
		"ElastiCache Serverless":      {emulator.Config{Kind: emulator.ServerlessCache}, []string{"CACHE_SERVERLESS=true"}},
		"MemoryDB":                    {emulator.Config{Kind: emulator.Cluster}, []string{"SERVICE_NAME=memorydb"}},
		"three shards":                {emulator.Config{Engine: "redis-server", Nodes: 3}, []string{"CLUSTER_MODE=true"}},
		"MemoryDB on a real engine":   {emulator.Config{Engine: "redis-server", Kind: emulator.Cluster}, []string{"SERVICE_NAME=memorydb"}},
		"Serverless on a real engine": {emulator.Config{Engine: "redis-server", Kind: emulator.ServerlessCache}, []string{"CACHE_SERVERLESS=true"}},
	} {
		t.Run(name, func(t *testing.T) {
			if c.config.Engine == "" {
				c.config.Engine = "embedded"
			} else {
				c.config.Engine = installed.Path(t, c.config.Engine)
			}
			srv := emulator.Start(t, c.config)
			env, secret := emulated(t, srv)
			cmd := command(t, program, append(env, c.env...)...)
			stderr, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewReader(stderr)
			url, log := ready(t, lines)
			exchange(t, url)
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			rest, _ := io.ReadAll(lines)
			if err := cmd.Wait(); err != nil {
				t.Errorf("after SIGTERM: %v, want exit status 0\n%s%s", err, log, rest)
			}
			if strings.Contains(log+string(rest), secret) {
				t.Error("the log holds the secret access key")
			}
		})
	}
}

// ready reads the log until the program listens.
func ready(t *testing.T, lines *bufio.Reader) (url, log string) {
	t.Helper()
	for {
		line, err := lines.ReadString('\n')
		log += line
		if m := listening.FindStringSubmatch(line); m != nil {
			return m[1], log
		}
		if err != nil {
			t.Fatalf("it ended before it listened:\n%s", log)
		}
	}
}

func exchange(t *testing.T, url string) {
	t.Helper()
	const pair = `{"key":"foo1","value":"bar1"}`
	response, err := http.Post(url, "application/x-www-form-urlencoded", strings.NewReader(pair))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != 200 {
		t.Errorf("POST = %s, want 200", response.Status)
	}
	if response, err = http.Get(url + "/foo1"); err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if got, err := io.ReadAll(response.Body); err != nil || strings.TrimSpace(string(got)) != pair {
		t.Errorf("GET /foo1 = %s, %v, want %s", got, err, pair)
	}
}

func TestTheProgramSaysAtItsStartWhatIsWrong(t *testing.T) {
	program := build(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const secret = "c2VjcmV0"
	keys := []string{"AWS_ACCESS_KEY_ID=AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY=" + secret}
	target := []string{"CLUSTER_NAME=demo", "CLUSTER_ENDPOINT=127.0.0.1", "USERNAME=demo-user", "AWS_REGION=us-east-1"}
	for name, c := range map[string]struct {
		env  [][]string
		want []string
	}{
		"no target":      {[][]string{keys}, []string{"not set: CLUSTER_NAME, CLUSTER_ENDPOINT, USERNAME, AWS_REGION\n"}},
		"two missing":    {[][]string{keys, target[1:3]}, []string{"not set: CLUSTER_NAME, AWS_REGION\n"}},
		"no credentials": {[][]string{target}, []string{"get AWS credentials", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_PROFILE", "metadata"}},
		"a port in use":  {[][]string{keys, target, {"PORT=" + port}}, []string{"127.0.0.1:" + port, "address already in use"}},
		"values that cannot be": {
			[][]string{keys, target, {"SERVICE_NAME=rds", "CLUSTER_MODE=maybe", "CACHE_SERVERLESS=maybe", "CA_FILE=" + empty, "CLUSTER_ENDPOINT=demo:0"}},
			[]string{"SERVICE_NAME: ", "CLUSTER_MODE: ", "CACHE_SERVERLESS: ", "CA_FILE: ", "CLUSTER_ENDPOINT: "}},
		"names that AWS does not give, and one missing": {
			[][]string{keys, target, {"CLUSTER_NAME=master.orders.abc123.euw1.cache.amazonaws.com", "USERNAME=no spaces", "AWS_REGION="}},
			[]string{`probably "orders"`, "the user name is not one", "not set: AWS_REGION\n"}},
		"a URL in place of an endpoint": {
			[][]string{keys, target, {"CLUSTER_ENDPOINT=rediss://user:" + secret + "@127.0.0.1"}}, []string{"CLUSTER_ENDPOINT: "}},
	} {
		t.Run(name, func(t *testing.T) {
			var env []string
			for _, part := range c.env {
				env = append(env, part...)
			}
			out, err := command(t, program, env...).CombinedOutput()
			if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != 1 {
				t.Errorf("%v, want exit status 1", err)
			}
			for _, want := range c.want {
				if !strings.Contains(string(out), want) {
					t.Errorf("it says\n%swant %q in it", out, want)
				}
			}
			if strings.Contains(string(out), secret) {
				t.Errorf("it says a secret:\n%s", out)
			}
		})
	}
}
