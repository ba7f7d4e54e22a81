package emulator_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"
	"github.com/rediam/rediam/emulator"
)

// environment is that of a workload, by variable.
func environment(t testing.TB, srv *emulator.Server, l emulator.Workload) map[string]string {
	t.Helper()
	environ, err := srv.StartWorkload(l)
	must(t, err)
	variables := map[string]string{}
	for _, variable := range environ {
		name, value, _ := strings.Cut(variable, "=")
		variables[name] = value
	}
	return variables
}

// agent asks for container credentials.
func agent(t testing.TB, url, token string, headers ...string) (status int, body string) {
	t.Helper()
	status, body, _ = imds{url: url}.ask(t, http.MethodGet, "", append([]string{"Authorization", token}, headers...)...)
	return status, body
}

type containerCredentials struct {
	RoleArn, AccessKeyId, SecretAccessKey, Token, AccountId string
	Expiration                                              time.Time
}

func handedOut(t testing.TB, url, token string) (c containerCredentials) {
	t.Helper()
	status, body := agent(t, url, token)
	if status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	must(t, json.Unmarshal([]byte(body), &c))
	return c
}

func TestContainersAreHandedCredentialsUntilTheyAreOld(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	task := environment(t, srv, emulator.Workload{Kind: emulator.ECS})
	url, token := task["AWS_CONTAINER_CREDENTIALS_FULL_URI"], task["AWS_CONTAINER_AUTHORIZATION_TOKEN"]
	first := handedOut(t, url, token)
	if left := first.Expiration.Sub(srv.Now()); first.RoleArn != "arn:aws:iam::123456789012:role/demo-app" || left <= 59*time.Minute || left > time.Hour {
		t.Errorf("role %s, %v left", first.RoleArn, left)
	}
	if again := handedOut(t, url, token); again != first {
		t.Errorf("key %s, want %s", again.AccessKeyId, first.AccessKeyId)
	}
	srv.Advance(41 * time.Minute)
	second := handedOut(t, url, token)
	if second.AccessKeyId == first.AccessKeyId || !second.Expiration.After(first.Expiration.Add(30*time.Minute)) {
		t.Errorf("after 41 minutes: key %s until %v", second.AccessKeyId, second.Expiration)
	}

	pod := environment(t, srv, emulator.Workload{Kind: emulator.PodIdentity})
	content, err := os.ReadFile(pod["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"])
	must(t, err)
	if c := handedOut(t, pod["AWS_CONTAINER_CREDENTIALS_FULL_URI"], string(content)); c.AccountId != srv.Account() || c.RoleArn != "" {
		t.Errorf("a pod is handed account %q, role %q", c.AccountId, c.RoleArn)
	}
}

func TestContainersAreRefused(t *testing.T) {
	var log bytes.Buffer
	srv := emulator.Start(t, emulator.Config{Engine: "embedded", Log: slog.New(slog.NewTextHandler(&log, nil))})
	task := environment(t, srv, emulator.Workload{Kind: emulator.ECS})
	other := environment(t, srv, emulator.Workload{Kind: emulator.ECS, Name: "other"})
	pod := environment(t, srv, emulator.Workload{Kind: emulator.PodIdentity})
	url, token := task["AWS_CONTAINER_CREDENTIALS_FULL_URI"], task["AWS_CONTAINER_AUTHORIZATION_TOKEN"]
	for name, r := range map[string]struct {
		url, token, host string
		status           int
		code             string
	}{
		"no token":                    {url, "", "", 401, "UnauthorizedException"},
		"a shorter token":             {url, token[1:], "", 401, "UnauthorizedException"},
		"another token":               {url, strings.Repeat("A", len(token)), "", 401, "UnauthorizedException"},
		"the token of another task":   {url, other["AWS_CONTAINER_AUTHORIZATION_TOKEN"], "", 400, "InvalidIdInRequest"},
		"a task's token at the pods'": {pod["AWS_CONTAINER_CREDENTIALS_FULL_URI"], token, "", 401, "UnauthorizedException"},
		"under another name":          {url, token, "rebound.example", 403, "AccessDenied"},
	} {
		var answer struct{ Code, Message string }
		headers := []string{}
		if r.host != "" {
			headers = []string{"Host", r.host}
		}
		status, body := agent(t, r.url, r.token, headers...)
		if err := json.Unmarshal([]byte(body), &answer); err != nil || status != r.status || answer.Code != r.code || answer.Message == "" {
			t.Errorf("%s: %d %s, want %d %s", name, status, body, r.status, r.code)
		}
		events := srv.Events()
		if last := events[len(events)-1]; last.Reason != r.code || last.Service != "sts" || last.Action != "AssumeRole" || last.Detail != answer.Message {
			t.Errorf("%s: the event is %+v", name, last)
		}
	}
	must(t, srv.Close()) // nobody writes the log any more
	if strings.Contains(log.String(), token) || !strings.Contains(log.String(), "reason=InvalidIdInRequest") {
		t.Errorf("the log has the token, or not the reason:\n%s", log.String())
	}
}

func TestWorkloadsThatCannotBe(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	must(t, srv.PutRole(emulator.Role{Name: "untrusting"}))
	for name, r := range map[string]struct {
		workload emulator.Workload
		code     string
	}{
		"no kind":                          {emulator.Workload{}, "InvalidParameterValue"},
		"a name that is a path":            {emulator.Workload{Kind: emulator.ECS, Name: "../x"}, "InvalidParameterValue"},
		"a namespace that is none":         {emulator.Workload{Kind: emulator.PodIdentity, Namespace: "a_b"}, "InvalidParameterValue"},
		"no role":                          {emulator.Workload{Kind: emulator.ECS, Role: "nobody"}, "NoSuchEntity"},
		"a function that is not trusted":   {emulator.Workload{Kind: emulator.Lambda, Role: "untrusting"}, "AccessDenied"},
		"an instance, if there is no role": {emulator.Workload{Kind: emulator.EC2, Role: "nobody"}, "NoSuchEntity"},
	} {
		_, err := srv.StartWorkload(r.workload)
		if e := (*emulator.Error)(nil); !errors.As(err, &e) || e.Code != r.code {
			t.Errorf("%s: %v, want %s", name, err, r.code)
		}
	}
}

// Started again, also by another emulator with the same state, a workload is what it
// was: programs that run go on.
func TestAWorkloadKeepsItsEnvironment(t *testing.T) {
	config := emulator.Config{Engine: "embedded", State: filepath.Join(t.TempDir(), "state")}
	srv := reopen(t, config)
	task := environment(t, srv, emulator.Workload{Kind: emulator.ECS})
	machine := environment(t, srv, emulator.Workload{Kind: emulator.EC2})
	pod := environment(t, srv, emulator.Workload{Kind: emulator.PodIdentity})
	token, err := os.ReadFile(pod["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"])
	must(t, err)
	must(t, srv.Close())
	srv = reopen(t, config)
	handedOut(t, task["AWS_CONTAINER_CREDENTIALS_FULL_URI"], task["AWS_CONTAINER_AUTHORIZATION_TOKEN"])
	handedOut(t, pod["AWS_CONTAINER_CREDENTIALS_FULL_URI"], string(token))
	for kind, before := range map[emulator.WorkloadKind]map[string]string{emulator.ECS: task, emulator.EC2: machine} {
		now := environment(t, srv, emulator.Workload{Kind: kind})
		delete(now, "REDIAM_CA") // a file, which is elsewhere
		delete(before, "REDIAM_CA")
		if !maps.Equal(now, before) {
			t.Errorf("%s: the environment has changed: %v", kind, slices.Sorted(maps.Keys(now)))
		}
	}
}

func TestFilesOfWorkloadsAreTheOwnersAndGoWithTheEmulator(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	token := environment(t, srv, emulator.Workload{Kind: emulator.PodIdentity})["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"]
	web := environment(t, srv, emulator.Workload{Kind: emulator.IRSA})["AWS_WEB_IDENTITY_TOKEN_FILE"]
	home := environment(t, srv, emulator.Workload{Kind: emulator.SSO})["HOME"]
	cached, err := filepath.Glob(filepath.Join(home, ".aws", "sso", "cache", "*.json"))
	must(t, err)
	files := append(cached, token, web, filepath.Join(home, ".aws", "config"))
	if len(files) != 4 {
		t.Errorf("files %v", files)
	}
	for _, file := range files {
		info, err := os.Stat(file)
		must(t, err)
		if info.Mode() != 0o600 {
			t.Errorf("%s: %v", file, info.Mode())
		}
	}
	must(t, srv.Close())
	for _, file := range files {
		if _, err := os.Stat(file); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", file, err)
		}
	}
}

func TestFiveHundredPodsAskAtOnce(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	const pods = 500
	type pod struct{ url, token string }
	var all []pod
	for i := range pods {
		variables := environment(t, srv, emulator.Workload{Kind: emulator.PodIdentity, Name: "pod-" + string(rune('a'+i%26)) + strings.Repeat("x", i/26)})
		token, err := os.ReadFile(variables["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"])
		must(t, err)
		all = append(all, pod{variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"], string(token)})
	}
	var asking sync.WaitGroup
	begin, keys, problems := make(chan bool), make([]string, pods), make([]error, pods)
	for i, p := range all {
		asking.Go(func() {
			provider := endpointcreds.New(p.url, func(o *endpointcreds.Options) {
				o.AuthorizationToken = p.token
				o.HTTPClient = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // each pod has a connection of its own
			})
			<-begin
			c, err := provider.Retrieve(t.Context())
			keys[i], problems[i] = c.AccessKeyID, err
		})
	}
	close(begin)
	asking.Wait()
	must(t, errors.Join(problems...))
	slices.Sort(keys)
	if different := len(slices.Compact(keys)); different != pods {
		t.Errorf("%d pods have got %d access keys", pods, different)
	}
	if events := srv.Events(); len(events) > 0 {
		t.Errorf("%d refusals, the first %+v", len(events), events[0])
	}
}
