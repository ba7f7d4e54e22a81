package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"

	"github.com/rediam/rediam/internal/installed"
)

const deploy = "../../deploy/"

// A podContainer is what the tests look at in a container of Kubernetes.
type podContainer struct {
	Name, Image, RestartPolicy string
	Command, Args              []string
	Env                        []struct{ Name, Value string }
	EnvFrom                    []any
	StartupProbe               probe
	LivenessProbe              probe
	ReadinessProbe             *probe
	SecurityContext            struct {
		RunAsUser                int
		AllowPrivilegeEscalation *bool
		ReadOnlyRootFilesystem   bool
		Capabilities             struct{ Drop []string }
	}
}

type probe struct {
	HTTPGet struct{ Path, Port string }
}

func (c *podContainer) environment() map[string]string {
	variables := map[string]string{}
	if len(c.EnvFrom) > 0 { // the ConfigMap that the component's comment asks for
		variables = map[string]string{"REDIAM_CACHE": "orders", "REDIAM_USER": "orders-app", "REDIAM_ENDPOINT": "cache:6379"}
	}
	for _, v := range c.Env {
		variables[v.Name] = v.Value
	}
	return variables
}

func (c *podContainer) isLocked(t *testing.T) {
	t.Helper()
	if s := c.SecurityContext; s.RunAsUser == 0 || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation || !s.ReadOnlyRootFilesystem || !slices.Equal(s.Capabilities.Drop, []string{"ALL"}) {
		t.Errorf("securityContext is %+v", s)
	}
}

// pods are the containers of the workloads in a file.
func pods(t *testing.T, file string) (sidecars, apps []podContainer) {
	t.Helper()
	text, err := os.ReadFile(deploy + file)
	if err != nil {
		t.Fatal(err)
	}
	for _, document := range documents(t, text) {
		type template struct {
			Template struct {
				Spec struct {
					InitContainers, Containers []podContainer
				}
			}
		}
		var workload struct {
			Spec struct {
				template
				JobTemplate struct{ Spec template }
			}
		}
		// By way of JSON, for which a field's case does not matter.
		if err := json.Unmarshal(asJSON(t, document), &workload); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, w := range []template{workload.Spec.template, workload.Spec.JobTemplate.Spec} {
			sidecars, apps = append(sidecars, w.Template.Spec.InitContainers...), append(apps, w.Template.Spec.Containers...)
		}
	}
	return sidecars, apps
}

// documents are those of a YAML file, in the order of their kinds.
func documents(t *testing.T, text []byte) (all []map[string]any) {
	t.Helper()
	for decoder := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var document map[string]any
		if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
			slices.SortFunc(all, func(a, b map[string]any) int { return strings.Compare(a["kind"].(string), b["kind"].(string)) })
			return all
		} else if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if document != nil {
			all = append(all, document)
		}
	}
}

func asJSON(t *testing.T, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestTheSidecarsOfKubernetesAreWhatTheirCommentsSay(t *testing.T) {
	for _, file := range []string{"kubernetes/deployment.yaml", "kubernetes/job.yaml", "kubernetes/component/sidecar.yaml"} {
		t.Run(file, func(t *testing.T) {
			sidecars, apps := pods(t, file)
			if len(sidecars) != 1 {
				t.Fatalf("%d sidecars, want 1", len(sidecars))
			}
			c := sidecars[0]
			proxy := accepted(t, append(entrypoint(t), c.Args...), c.environment()).Proxy
			if c.RestartPolicy != "Always" || c.StartupProbe.HTTPGet.Path != "/startup" || c.LivenessProbe.HTTPGet.Path != "/livez" || c.ReadinessProbe != nil {
				t.Errorf("not a native sidecar with its probes: %+v", c)
			}
			c.isLocked(t)
			if admin := netip.MustParseAddrPort(proxy.Admin); admin.Addr().IsLoopback() {
				t.Errorf("--admin is %s, where the kubelet's probes do not come", admin)
			}
			for _, app := range apps {
				if got := app.environment()["REDIS_URL"]; got != "redis://"+proxy.Listen {
					t.Errorf("the application uses %q, the proxy listens on %s", got, proxy.Listen)
				}
			}
		})
	}
}

func TestTheKustomizeComponentAddsTheSidecarFirst(t *testing.T) {
	kubectl := installed.Path(t, "kubectl")
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "component"), os.DirFS(deploy+"kubernetes/component")); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "kustomization.yaml", "resources: [app.yaml]\ncomponents: [component]\n")
	write(t, dir, "app.yaml", `{apiVersion: apps/v1, kind: Deployment, metadata: {name: app}, spec: {template: {spec: {
		initContainers: [{name: migrate, image: migrate}], containers: [{name: app, image: app}]}}}}`)
	out, err := exec.Command(kubectl, "kustomize", dir).CombinedOutput()
	names := regexp.MustCompile(`(?m)^ {6}(?:- |  )name: (\w+)$`).FindAllStringSubmatch(string(out), -1)
	var order []string
	for _, name := range names {
		order = append(order, name[1])
	}
	if err != nil || !slices.Equal(order, []string{"app", "rediam", "migrate"}) {
		t.Errorf("%v, containers %v in\n%s", err, order, out)
	}
}

func TestTheRotationOfKubernetesEndsInItsTime(t *testing.T) {
	_, containers := pods(t, "kubernetes/rotation.yaml")
	if len(containers) != 1 {
		t.Fatalf("%d containers, want 1", len(containers))
	}
	c := containers[0]
	c.isLocked(t)
	rotate := accepted(t, append(c.Command, c.Args...), nil).Rotate
	text, err := os.ReadFile(deploy + "kubernetes/rotation.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var job struct {
		Spec struct {
			ConcurrencyPolicy string
			JobTemplate       struct {
				Spec struct{ BackoffLimit, ActiveDeadlineSeconds int }
			}
		}
	}
	if err := json.Unmarshal(asJSON(t, documents(t, text)[0]), &job); err != nil {
		t.Fatal(err)
	}
	spec := job.Spec.JobTemplate.Spec
	if rotate.Secret == "" || rotate.Timeout*time.Duration(1+spec.BackoffLimit) >= time.Duration(spec.ActiveDeadlineSeconds)*time.Second {
		t.Errorf("%d times %s are more than %d s", 1+spec.BackoffLimit, rotate.Timeout, spec.ActiveDeadlineSeconds)
	}
	if job.Spec.ConcurrencyPolicy != "Forbid" {
		t.Errorf("concurrencyPolicy is %q", job.Spec.ConcurrencyPolicy)
	}
}

// What kubectl does not know, it leaves out when it prints a workload again.
func TestKubernetesKnowsEveryFieldOfTheWorkloads(t *testing.T) {
	kubectl := installed.Path(t, "kubectl")
	for _, file := range []string{"deployment.yaml", "job.yaml", "rotation.yaml"} {
		text, err := os.ReadFile(deploy + "kubernetes/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for _, document := range documents(t, text) {
			if document["kind"] == "ServiceAccount" {
				continue
			}
			cmd := exec.Command(kubectl, "set", "env", "--local", "-f", "-", "-o", "json", "A=b")
			cmd.Stdin = bytes.NewReader(asJSON(t, document))
			out, err := cmd.Output()
			var printed map[string]any
			if err != nil || json.Unmarshal(out, &printed) != nil {
				t.Fatalf("kubectl: %v\n%s", err, out)
			}
			var plain map[string]any // with the numbers of JSON
			if err := json.Unmarshal(asJSON(t, document), &plain); err != nil {
				t.Fatal(err)
			}
			lacking(t, file, plain, printed)
		}
	}
}

// lacking reports what one value has and another has not.
func lacking(t *testing.T, at string, a, b any) {
	t.Helper()
	switch a := a.(type) {
	case map[string]any:
		b, _ := b.(map[string]any)
		for key := range a {
			lacking(t, at+" "+key, a[key], b[key])
		}
	case []any:
		b, _ := b.([]any)
		if len(a) > len(b) {
			t.Fatalf("%s: of %d there are %d", at, len(a), len(b))
		}
		for i := range a {
			lacking(t, at, a[i], b[i])
		}
	default:
		if a != b {
			t.Errorf("%s: %v is %v", at, a, b)
		}
	}
}

func TestTheChartMakesTheManifests(t *testing.T) {
	helm := installed.Path(t, "helm")
	run := func(args ...string) []byte {
		cmd := exec.Command(helm, args...)
		cmd.Env = append(os.Environ(), "HELM_CACHE_HOME="+t.TempDir(), "HELM_CONFIG_HOME="+t.TempDir(), "HELM_DATA_HOME="+t.TempDir())
		out, err := cmd.Output()
		if err != nil {
			var exit *exec.ExitError
			errors.As(err, &exit)
			t.Fatalf("helm %q: %v\n%s%s", args, err, out, exit.Stderr)
		}
		return out
	}
	page, err := os.ReadFile(deploy + "README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```yaml\n")
	values, _, _ := strings.Cut(rest, "```")
	dir := t.TempDir()
	write(t, dir, "values.yaml", values)
	file := filepath.Join(dir, "values.yaml")
	run("lint", "--strict", deploy+"helm")
	run("lint", "--strict", deploy+"helm", "-f", file)
	if made := documents(t, run("template", "orders", deploy+"helm")); len(made) != 0 {
		t.Errorf("without values it makes %v", made)
	}
	var want []byte
	for _, file := range []string{"deployment.yaml", "rotation.yaml"} {
		text, err := os.ReadFile(deploy + "kubernetes/" + file)
		if err != nil {
			t.Fatal(err)
		}
		want = append(append(want, text...), "\n---\n"...)
	}
	manifests := documents(t, want)
	if got, want := asJSON(t, documents(t, run("template", "orders", deploy+"helm", "-f", file))), asJSON(t, manifests); !bytes.Equal(got, want) {
		t.Errorf("the chart makes\n%s\nthe manifests are\n%s", got, want)
	}

	// As values.yaml says, in the chart of an application.
	if err := os.CopyFS(filepath.Join(dir, "charts", "rediam"), os.DirFS(deploy+"helm")); err != nil {
		t.Fatal(err)
	}
	comment, err := os.ReadFile(deploy + "helm/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	use := regexp.MustCompile(`(?m)^#\s+(initContainers:)\n#\s+(.*)$`).FindSubmatch(comment)
	if use == nil {
		t.Fatal("values.yaml does not say how other charts use it")
	}
	write(t, dir, "Chart.yaml", "{apiVersion: v2, name: app, version: 1.0.0}")
	write(t, dir, "values.yaml", "rediam: {image: 'example.com/rediam-proxy:1.0.0', cache: orders, user: orders-app, endpoint: 'cache:6379', env: {REDIAM_SERVERLESS: true}}")
	if err := os.Mkdir(filepath.Join(dir, "templates"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "templates"), "pod.yaml", fmt.Sprintf("kind: Pod\nspec:\n      %s\n        %s\n", use[1], use[2]))
	var pod struct {
		Spec struct{ InitContainers []podContainer }
	}
	made := documents(t, run("template", "app", dir))
	if len(made) != 1 {
		t.Fatalf("the application's chart makes %v", made)
	}
	if err := json.Unmarshal(asJSON(t, made[0]), &pod); err != nil || len(pod.Spec.InitContainers) != 1 {
		t.Fatalf("%v, made %v", err, made)
	}
	sidecar := pod.Spec.InitContainers[0]
	if proxy := accepted(t, append(entrypoint(t), sidecar.Args...), sidecar.environment()).Proxy; !proxy.Serverless {
		t.Errorf("the variables of env do not reach the proxy: %+v", sidecar)
	}
}

func TestTheTaskOfECSWaitsForItsProxy(t *testing.T) {
	text, err := os.ReadFile(deploy + "ecs/task-definition.json")
	if err != nil {
		t.Fatal(err)
	}
	type container struct {
		Name        string
		Command     []string
		Environment []struct{ Name, Value string }
		HealthCheck struct{ Command []string }
		DependsOn   []struct{ ContainerName, Condition string }
	}
	var task struct {
		TaskRoleArn          string
		ContainerDefinitions []container
	}
	if err := json.Unmarshal(text, &task); err != nil {
		t.Fatal(err)
	}
	if len(task.ContainerDefinitions) != 2 || task.TaskRoleArn == "" {
		t.Fatalf("the task is %+v, want two containers and a role", task)
	}
	proxy, app := task.ContainerDefinitions[0], task.ContainerDefinitions[1]
	variables := map[string]string{}
	for _, v := range proxy.Environment {
		variables[v.Name] = v.Value
	}
	c := accepted(t, append(entrypoint(t), proxy.Command...), variables).Proxy
	if check := proxy.HealthCheck.Command; len(check) < 3 || check[0] != "CMD" {
		t.Errorf("the health check %q needs a shell", check)
	} else if wait := accepted(t, check[1:], nil); !slices.Contains(check, c.Admin) {
		t.Errorf("the health check %q does not ask %s: %+v", check, c.Admin, wait)
	}
	if len(app.DependsOn) != 1 || app.DependsOn[0].ContainerName != proxy.Name || app.DependsOn[0].Condition != "HEALTHY" {
		t.Errorf("the application depends on %v", app.DependsOn)
	}
	if len(app.Environment) != 1 || app.Environment[0].Value != "redis://"+c.Listen {
		t.Errorf("the application has %v, the proxy listens on %s", app.Environment, c.Listen)
	}
}

func TestTheServiceOfSystemdIsValid(t *testing.T) {
	unit, err := os.ReadFile(deploy + "systemd/rediam-proxy.service")
	if err != nil {
		t.Fatal(err)
	}
	variables := map[string]string{} // those of the file that the comment shows
	for _, v := range regexp.MustCompile(`(?m)^#\t(REDIAM_\w+)=(.*)$`).FindAllStringSubmatch(string(unit), -1) {
		variables[v[1]] = v[2]
	}
	for _, line := range regexp.MustCompile(`(?m)^Exec(?:Start|StartPost)=(.*)$`).FindAllStringSubmatch(string(unit), -1) {
		words := strings.Fields(line[1])
		words[0] = filepath.Base(words[0])
		accepted(t, words, variables)
	}
	t.Run("systemd-analyze", func(t *testing.T) {
		analyze := installed.Path(t, "systemd-analyze")
		dir := t.TempDir()
		program, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		write(t, dir, "rediam-proxy.service", strings.ReplaceAll(string(unit), "/usr/local/bin/rediam", program))
		out, err := exec.Command(analyze, "verify", filepath.Join(dir, "rediam-proxy.service")).CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Errorf("systemd-analyze verify: %v\n%s", err, out)
		}
	})
}

// entrypoint is how the image starts the program, whose arguments are behind it.
func entrypoint(t *testing.T) (words []string) {
	t.Helper()
	text, err := os.ReadFile(deploy + "proxy.Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^ENTRYPOINT (.*)$`).FindSubmatch(text)
	if line == nil {
		t.Fatal("proxy.Dockerfile has no ENTRYPOINT")
	}
	if err := json.Unmarshal(line[1], &words); err != nil {
		t.Fatal(err)
	}
	return words
}

func TestTheImagesAreWhatTheirCommentsSay(t *testing.T) {
	for _, file := range []string{"Dockerfile", "proxy.Dockerfile"} {
		text, err := os.ReadFile(deploy + file)
		if err != nil {
			t.Fatal(err)
		}
		bases := regexp.MustCompile(`(?m)^ARG (?:GO|BASE)=(.*)$`).FindAllSubmatch(text, -1)
		if from := regexp.MustCompile(`(?m)^FROM .*$`).FindAllString(string(text), -1); len(bases) != 2 || !slices.Equal(from, []string{"FROM ${GO} AS build", "FROM ${BASE}"}) {
			t.Fatalf("%s: %q from the bases %q, which no --build-arg pins", file, from, bases)
		}
		for _, base := range bases {
			if !regexp.MustCompile(`^[^:]+:[^:]+$`).Match(base[1]) || bytes.HasSuffix(base[1], []byte(":latest")) {
				t.Errorf("%s: the base %s has no version", file, base[1])
			}
		}
		_, last, _ := bytes.Cut(text, []byte("FROM ${BASE}"))
		if !regexp.MustCompile(`(?m)^USER [1-9][0-9]*:[1-9][0-9]*$`).Match(last) {
			t.Errorf("%s: the user is not a number, which runAsNonRoot needs", file)
		}
		if shell := regexp.MustCompile(`(?m)^(RUN|(ENTRYPOINT|CMD) [^\[]).*$`).Find(last); shell != nil && file == "proxy.Dockerfile" {
			t.Errorf("%s: %q takes a shell, which is not there", file, shell)
		}
	}
}

// accepted is what the program makes of a command line. A proxy has to know its
// cache, user and endpoint by then.
func accepted(t *testing.T, words []string, variables map[string]string) *cli {
	t.Helper()
	for name, value := range variables {
		t.Setenv(name, value)
	}
	var c cli
	parser, err := kong.New(&c)
	if err != nil {
		t.Fatal(err)
	}
	if words[0] != "rediam" {
		t.Errorf("%q does not start rediam", words)
	}
	command, err := parser.Parse(words[1:])
	if err != nil {
		t.Fatalf("%q: %v", words, err)
	}
	if target := c.Proxy.target; command.Selected().Name == "proxy" && (target.Cache == "" || target.User == "" || target.Endpoint == "") {
		t.Errorf("%q with %v has no target: %+v", words, variables, target)
	}
	return &c
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
