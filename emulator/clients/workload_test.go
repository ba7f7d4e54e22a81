package clients_test

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/rediam/rediam"
	"github.com/rediam/rediam/emulator"
	"github.com/rediam/rediam/goredis"
	"github.com/redis/go-redis/v9"
)

const asWorkload = "CLIENTS_TEST_WORKLOAD" // set: the test binary is a program that signs in

func TestMain(m *testing.M) {
	if os.Getenv(asWorkload) == "" {
		os.Exit(m.Run())
	}
	if err := signInForEachLine(context.Background()); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// signInForEachLine is a program as docs/workloads.md has it. Each line of its input
// is a connection of its own.
func signInForEachLine(ctx context.Context) error {
	cfg, err := config.LoadDefaultConfig(ctx, config.WithCredentialsCacheOptions(func(o *aws.CredentialsCacheOptions) {
		o.ExpiryWindow = 0 // not minutes before credentials end, which here end so soon
	}))
	if err != nil {
		return err
	}
	pem, err := os.ReadFile(os.Getenv("REDIAM_CA"))
	if err != nil {
		return err
	}
	ca := x509.NewCertPool()
	ca.AppendCertsFromPEM(pem)
	signer := &rediam.Signer{Service: rediam.Service(os.Getenv("REDIAM_SERVICE")), Cache: os.Getenv("REDIAM_CACHE"), User: os.Getenv("REDIAM_USER"),
		Serverless: os.Getenv("REDIAM_SERVERLESS") == "true", Region: cfg.Region, Credentials: cfg.Credentials}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		options := &redis.Options{Addr: os.Getenv("REDIAM_ENDPOINT"), TLSConfig: &tls.Config{RootCAs: ca}, MaxRetries: -1}
		if err := goredis.Configure(options, signer, rediam.Renewal{}); err != nil {
			return err
		}
		client := redis.NewClient(options)
		answer, err := client.Set(ctx, "foo1", "bar1", 0).Result()
		if err != nil {
			answer = strings.ReplaceAll(err.Error(), "\n", " ")
		}
		fmt.Println(answer)
		client.Close()
	}
	return nil
}

// A program runs with a workload's environment and no other.
type program struct {
	input  io.Writer
	output *bufio.Reader
}

func start(t *testing.T, environ []string) program {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append([]string{asWorkload + "=1", "HOME=" + t.TempDir()}, environ...)
	cmd.Stderr = os.Stderr
	input, err := cmd.StdinPipe()
	must(t, err)
	output, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		cancel()
		cmd.Wait() // it was killed
	})
	return program{input, bufio.NewReader(output)}
}

// signIn is what SET on a new connection gives.
func (p program) signIn(t *testing.T) string {
	t.Helper()
	_, err := io.WriteString(p.input, "\n")
	must(t, err)
	line, err := p.output.ReadString('\n')
	if err != nil {
		t.Fatalf("the program has ended: %v", err)
	}
	return strings.TrimSuffix(line, "\n")
}

// workloads are the ways in which programs get credentials: what they are started
// with, and whose the sign-ins are then.
var workloads = []struct {
	name    string
	start   func(t *testing.T, srv *emulator.Server) (environ []string)
	session string
	frozen  bool // the credentials that it has been started with are all that it ever has
}{
	{"EC2", documented("EC2", emulator.EC2), `demo-app/i-[0-9a-f]{17}`, false},
	{"ECS", documented("ECS", emulator.ECS), `demo-app/demo`, false},
	{"Lambda", documented("Lambda", emulator.Lambda), `demo-app/demo`, true},
	{"EKS IRSA", documented("EKS IRSA", emulator.IRSA), `demo-app/demo`, false},
	{"EKS Pod Identity", documented("EKS Pod Identity", emulator.PodIdentity), `demo-app/eks-demo-demo-[0-9a-f-]{36}`, false},
	{"An SSO profile", started(emulator.SSO), `demo-app/demo`, false},
	{"A role of another account", assuming("agreed"), `shared/app`, false},
}

// documented starts a workload whose role has the trust policy of docs/workloads.md.
func documented(section string, kind emulator.WorkloadKind) func(*testing.T, *emulator.Server) []string {
	return func(t *testing.T, srv *emulator.Server) []string {
		t.Helper()
		trusting(t, srv, trustPolicy(t, srv, section))
		return started(kind)(t, srv)
	}
}

// trustPolicy is that in a section of docs/workloads.md.
func trustPolicy(t *testing.T, srv *emulator.Server, section string) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/workloads.md")
	must(t, err)
	_, rest, _ := strings.Cut(string(page), "\n## "+section+"\n")
	rest, _, _ = strings.Cut(rest, "\n## ")
	_, rest, _ = strings.Cut(rest, "```json\n")
	document, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatalf("docs/workloads.md has no policy under %s", section)
	}
	return strings.ReplaceAll(document, "oidc.eks.us-east-1.amazonaws.com/id/EXAMPLE", strings.TrimPrefix(srv.Issuer(), "https://"))
}

func started(kind emulator.WorkloadKind) func(*testing.T, *emulator.Server) []string {
	return func(t *testing.T, srv *emulator.Server) []string {
		t.Helper()
		environ, err := srv.StartWorkload(emulator.Workload{Kind: kind})
		must(t, err)
		return environ
	}
}

// assuming is a profile that assumes the role shared, which wants an external id. The
// emulator has one account: the role is in it.
func assuming(externalID string) func(*testing.T, *emulator.Server) []string {
	return func(t *testing.T, srv *emulator.Server) []string {
		t.Helper()
		role, _ := srv.Role(emulator.DefaultRole)
		must(t, srv.PutRole(emulator.Role{Name: "shared", Inline: role.Inline, Trust: trustPolicy(t, srv, "A role of another account")}))
		must(t, srv.PutIAMUser(emulator.IAMUser{Name: "app", Inline: map[string]string{
			"assume": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"arn:aws:iam::123456789012:role/shared"}]}`}}))
		k, err := srv.CreateAccessKey("app")
		must(t, err)
		file := filepath.Join(t.TempDir(), "config")
		must(t, os.WriteFile(file, fmt.Appendf(nil, "[profile own]\naws_access_key_id = %s\naws_secret_access_key = %s\n[profile other]\nrole_arn = %s\nsource_profile = own\nexternal_id = %s\nrole_session_name = app\n",
			k.ID, string(k.Secret), srv.RoleARN("shared"), externalID), 0o600))
		environ := []string{"AWS_ENDPOINT_URL_STS=" + srv.URL(), "AWS_CONFIG_FILE=" + file, "AWS_SHARED_CREDENTIALS_FILE=" + os.DevNull, "AWS_PROFILE=other"}
		for _, variable := range srv.Environ() {
			if !strings.HasPrefix(variable, "AWS_ACCESS_") && !strings.HasPrefix(variable, "AWS_SECRET_") {
				environ = append(environ, variable)
			}
		}
		return environ
	}
}

var everyKind = []struct {
	name   string
	config emulator.Config
}{
	{"a replication group", emulator.Config{}},
	{"a replication group in cluster mode", emulator.Config{Nodes: 1}},
	{"a serverless cache", emulator.Config{Kind: emulator.ServerlessCache}},
	{"a MemoryDB cluster", emulator.Config{Kind: emulator.Cluster}},
}

// emulated starts an emulator whose temporary credentials live that long.
func emulated(t *testing.T, c emulator.Config, life time.Duration) *emulator.Server {
	t.Helper()
	c.Engine, c.SessionTTL = "embedded", life
	return emulator.Start(t, c)
}

func TestEachWorkloadSignsInToEachCacheAndAgainWhenItsCredentialsHaveExpired(t *testing.T) {
	const life = 20 * time.Second
	var again []func()
	for _, w := range workloads {
		for _, kind := range everyKind {
			name := w.name + " " + kind.name
			srv := emulated(t, kind.config, life)
			p := start(t, w.start(t, srv))
			first := wantSignedIn(t, srv, p.signIn(t), w.session)
			again = append(again, func() {
				t.Run(name, func(t *testing.T) {
					if w.frozen {
						if answer := p.signIn(t); !strings.HasPrefix(answer, "WRONGPASS") {
							t.Errorf("with credentials that have expired: %s", answer)
						}
						wantLast(t, srv, first, "credentials-expired")
						p = start(t, w.start(t, srv))
					}
					if second := wantSignedIn(t, srv, p.signIn(t), w.session); second == first {
						t.Errorf("the access key %s has not been replaced", first)
					}
				})
			})
		}
	}
	time.Sleep(life) // all have expired now, by the SDK's clock too
	for _, signIn := range again {
		signIn()
	}
}

// wantSignedIn is the access key of the last sign-in, which must have been admitted.
func wantSignedIn(t *testing.T, srv *emulator.Server, answer, session string) (key string) {
	t.Helper()
	events := srv.Events()
	if answer != "OK" || len(events) == 0 {
		t.Fatalf("the program has printed %s, and the events are %s", answer, describe(events))
	}
	last := events[len(events)-1]
	if want := regexp.MustCompile(`^arn:aws:sts::123456789012:assumed-role/` + session + `$`); !last.Admitted() || !want.MatchString(last.Principal) {
		t.Errorf("want a sign-in of %s, the last event is %s", session, describe(events[len(events)-1:]))
	}
	return last.AccessKey
}

// GLIDE has the SDK of Rust in it, and refuses a variable for STS that is not https. Each
// of its processes asks for credentials once: they last longer than it.
func TestGLIDESignsInWithTheCredentialsOfEachWorkload(t *testing.T) {
	for _, w := range workloads {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			glide := node(t, "glide", "@valkey/valkey-glide", "glide.js")
			const life = 2 * time.Minute
			srv := emulated(t, emulator.Config{}, life)
			keys := map[string]bool{}
			for range 2 {
				environ := slices.DeleteFunc(w.start(t, srv), func(v string) bool { return strings.HasPrefix(v, "AWS_ENDPOINT_URL_STS=") })
				output, ok := glide.run(t, append(place(t, srv), environ...), "elasticache", emulator.DefaultCache, emulator.DefaultUser, srv.Region())
				if !ok {
					output = cmp.Or(output, "nothing")
				} else {
					output = "OK"
				}
				keys[wantSignedIn(t, srv, output, w.session)] = true
				srv.Advance(life)
			}
			if len(keys) != 2 {
				t.Errorf("access keys %v, want two", keys)
			}
		})
	}
}

func TestTheProxySignsInWithTheCredentialsOfEachWorkload(t *testing.T) {
	rediam := filepath.Join(t.TempDir(), "rediam")
	if out, err := exec.Command("go", "build", "-o", rediam, "../../cmd/rediam").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, w := range workloads {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			const life = 6 * time.Minute // the SDK takes none from a container that end within 5
			srv := emulated(t, emulator.Config{}, life)
			first := wantSignedIn(t, srv, throughProxy(t, rediam, w.start(t, srv))(), w.session)
			srv.Advance(life)
			if second := wantSignedIn(t, srv, throughProxy(t, rediam, w.start(t, srv))(), w.session); second == first {
				t.Errorf("the access key %s has not been replaced", first)
			}
		})
	}
}

// throughProxy runs a proxy; what it returns is what SET on a new connection gives.
func throughProxy(t *testing.T, rediam string, environ []string) func() string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	socket := filepath.Join(t.TempDir(), "s")
	cmd := exec.CommandContext(ctx, rediam, "proxy", "--unix", socket)
	cmd.Env = append([]string{"HOME=" + t.TempDir()}, environ...)
	said, err := cmd.StderrPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		cancel()
		cmd.Wait() // it was killed
	})
	lines := bufio.NewReader(said)
	if line, err := lines.ReadString('\n'); !strings.Contains(line, "proxy ready") {
		t.Fatalf("the proxy says %s (%v)", line, err)
	}
	go io.Copy(io.Discard, lines)
	return func() string {
		client := redis.NewClient(&redis.Options{Network: "unix", Addr: socket, MaxRetries: -1})
		defer client.Close()
		answer, err := client.Set(t.Context(), "foo1", "bar1", 0).Result()
		if err != nil {
			return err.Error()
		}
		return answer
	}
}

// trusting gives the default role a trust policy.
func trusting(t *testing.T, srv *emulator.Server, document string) {
	t.Helper()
	role, _ := srv.Role(emulator.DefaultRole)
	role.Trust = document
	must(t, srv.PutRole(role))
}

const (
	trustsEC2       = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}}`
	trustsPods      = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"pods.eks.amazonaws.com"},"Action":"sts:AssumeRole"}}`
	trustsOtherPods = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"pods.eks.amazonaws.com"},"Action":["sts:AssumeRole","sts:TagSession"],
		"Condition":{"StringEquals":{"aws:RequestTag/kubernetes-namespace":"payments"}}}}`
)

// trusted starts a workload of a kind after the default role has got a trust policy.
func trusted(kind emulator.WorkloadKind, document string) func(*testing.T, *emulator.Server) []string {
	return func(t *testing.T, srv *emulator.Server) []string {
		t.Helper()
		trusting(t, srv, document)
		return started(kind)(t, srv)
	}
}

// limited starts a task after a change of its role.
func limited(change func(*testing.T, *emulator.Server, *emulator.Role)) func(*testing.T, *emulator.Server) []string {
	return func(t *testing.T, srv *emulator.Server) []string {
		t.Helper()
		role, _ := srv.Role(emulator.DefaultRole)
		change(t, srv, &role)
		must(t, srv.PutRole(role))
		return started(emulator.ECS)(t, srv)
	}
}

// holding starts a pod with another token than Kubernetes would give it.
func holding(subject, audience string, claims map[string]any) func(*testing.T, *emulator.Server) []string {
	return func(t *testing.T, srv *emulator.Server) []string {
		t.Helper()
		token, err := srv.WebIdentityToken(subject, audience, claims)
		must(t, err)
		file := filepath.Join(t.TempDir(), "token")
		must(t, os.WriteFile(file, []byte(token), 0o600))
		return append(started(emulator.IRSA)(t, srv), "AWS_WEB_IDENTITY_TOKEN_FILE="+file, "AWS_MAX_ATTEMPTS=1") // three may take longer than a connection waits
	}
}

var denials = []struct {
	name           string
	start          func(t *testing.T, srv *emulator.Server) []string
	reason, detail string // of the event
	told           string // to the program
}{
	{"a task whose role trusts EC2", trusted(emulator.ECS, trustsEC2), "AccessDenied", "sts:AssumeRole by ecs-tasks.amazonaws.com", "ecs-tasks.amazonaws.com is not authorized to perform sts:AssumeRole"},
	{"an instance whose role trusts pods", trusted(emulator.EC2, trustsPods), "AssumeRoleUnauthorizedAccess", "sts:AssumeRole by ec2.amazonaws.com", "AssumeRoleUnauthorizedAccess"},
	{"a pod whose tags are not allowed", trusted(emulator.PodIdentity, trustsPods), "AccessDenied", "sts:TagSession by pods.eks.amazonaws.com", "sts:TagSession"},
	{"a pod of another namespace", trusted(emulator.PodIdentity, trustsOtherPods), "AccessDenied", "aws:RequestTag/kubernetes-namespace", "sts:AssumeRole"},
	{"a pod of another service account", func(t *testing.T, srv *emulator.Server) []string {
		environ, err := srv.StartWorkload(emulator.Workload{Kind: emulator.IRSA, ServiceAccount: "other"})
		must(t, err)
		return environ
	}, "AccessDenied", ":sub", "Not authorized to perform sts:AssumeRoleWithWebIdentity"},
	{"a pod's token for another audience", holding("system:serviceaccount:default:demo", "other", nil), "InvalidIdentityToken", "audience", "InvalidIdentityToken"},
	{"a pod's token of another issuer", holding("system:serviceaccount:default:demo", "sts.amazonaws.com", map[string]any{"iss": "https://issuer.example"}),
		"InvalidIdentityToken", "No OpenIDConnect provider found in your account for https://issuer.example", "InvalidIdentityToken"},
	{"another external id", assuming("another"), "AccessDenied", "sts:ExternalId", "not authorized to perform: sts:AssumeRole"},
	{"a token of nobody", func(t *testing.T, srv *emulator.Server) []string {
		return append(started(emulator.ECS)(t, srv), "AWS_CONTAINER_AUTHORIZATION_TOKEN=nobody")
	}, "UnauthorizedException", "the token is missing or not that of a workload", "the token is missing"},
	{"a permissions boundary", limited(func(t *testing.T, srv *emulator.Server, role *emulator.Role) {
		arn, err := srv.PutPolicy("boundary", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`)
		must(t, err)
		role.Boundary = arn
	}), "permission-denied", "no permissions boundary allows elasticache:Connect", "WRONGPASS"},
	{"a session tag that Connect does not know", limited(func(t *testing.T, _ *emulator.Server, role *emulator.Role) {
		role.Inline = map[string]string{"connect": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"elasticache:Connect","Resource":"*",
			"Condition":{"StringEquals":{"aws:PrincipalTag/kubernetes-namespace":"default"}}}]}`}
	}), "permission-denied", "aws:PrincipalTag/kubernetes-namespace", "WRONGPASS"},
}

func TestWhatDoesNotFitIsDeniedAndTheEventSaysWhy(t *testing.T) {
	for _, d := range denials {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
			if answer := start(t, d.start(t, srv)).signIn(t); !strings.Contains(answer, d.told) {
				t.Errorf("the program has printed %s, want %s", answer, d.told)
			}
			events := srv.Events()
			if len(events) == 0 {
				t.Fatal("there is no event")
			}
			if last := events[len(events)-1]; last.Reason != d.reason || !strings.Contains(last.Detail, d.detail) {
				t.Errorf("the last event is %s, want %s with %s", describe(events[len(events)-1:]), d.reason, d.detail)
			}
		})
	}
}

// The trust policies above are not at fault: with what they ask for they let in.
func TestAPodOfTheRightNamespaceIsLetIn(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	trusting(t, srv, trustsOtherPods)
	environ, err := srv.StartWorkload(emulator.Workload{Kind: emulator.PodIdentity, Namespace: "payments"})
	must(t, err)
	wantSignedIn(t, srv, start(t, environ).signIn(t), `demo-app/eks-demo-demo-[0-9a-f-]{36}`)
}
