package rotate_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/gomodule/redigo/redis"
	"github.com/rediam/rediam/emulator"
	"github.com/rediam/rediam/internal/installed"
	"github.com/rediam/rediam/rotate"
)

// permissions are what docs/rotation.md says that the function needs.
const permissions = `{"Version":"2012-10-17","Statement":[
	{"Effect":"Allow","Action":["secretsmanager:DescribeSecret","secretsmanager:GetSecretValue","secretsmanager:ListSecretVersionIds","secretsmanager:PutSecretValue","secretsmanager:UpdateSecretVersionStage"],
		"Resource":"arn:aws:secretsmanager:*:*:secret:orders/password-*"},
	{"Effect":"Allow","Action":["elasticache:DescribeReplicationGroups","elasticache:ModifyReplicationGroup"],"Resource":"arn:aws:elasticache:*:*:replicationgroup:orders"},
	{"Effect":"Allow","Action":["elasticache:DescribeUsers","elasticache:ModifyUser"],"Resource":"arn:aws:elasticache:*:*:user:orders-app"},
	{"Effect":"Allow","Action":["memorydb:DescribeUsers","memorydb:UpdateUser"],"Resource":"arn:aws:memorydb:*:*:user/orders-app"}]}`

const (
	rereadEvery = time.Second
	stateDelay  = 50 * time.Millisecond
)

// stage is an emulator with a cache, a secret with its password, and a function that
// rotates it. What is said meanwhile is searched for every value that the secret has had
// when the test ends.
type stage struct {
	srv     *emulator.Server
	cache   emulator.Endpoint
	user    string
	kind    rotate.Kind
	target  string // id
	secrets *secretsmanager.Client
	rotator *rotate.Rotator
	over    chan struct{} // one for each rotation by the function
	said    *said
	killer  *killer
}

// said is what is logged, answered and told: by the emulator, rotations and programs.
type said struct {
	mu sync.Mutex // guards b
	b  strings.Builder
}

func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// A killer stops who calls it at one point: every call of AWS and every sign-in has one
// before it and one after it.
type killer struct {
	do   func(*http.Request) (*http.Response, error) // of an http.Client, or what a test puts in its place
	mu   sync.Mutex                                  // guards below
	n    int
	at   int
	stop context.CancelFunc
}

func (k *killer) point() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.n++; k.n == k.at {
		k.stop()
	}
}

// reset has the context end at a point; 0 means at none. It returns how many there
// were.
func (k *killer) reset(at int, stop context.CancelFunc) (points int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	points, k.n, k.at, k.stop = k.n, 0, at, stop
	return points
}

// Do is an aws.HTTPClient.
func (k *killer) Do(r *http.Request) (*http.Response, error) {
	k.point()
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	answer, err := k.do(r)
	if k.point(); err == nil && r.Context().Err() != nil {
		answer.Body.Close()
		err = r.Context().Err()
	}
	return answer, err
}

func (k *killer) login(login rotate.Login) rotate.Login {
	return func(ctx context.Context, nodes []string, user, password string) ([]string, error) {
		k.point()
		nodes, err := login(ctx, nodes, user, password)
		k.point()
		return nodes, err
	}
}

func onStage(t testing.TB, kind rotate.Kind, nodes int, delay time.Duration) *stage {
	t.Helper()
	return onStageWith(t, "", kind, nodes, delay)
}

// onStageWith has another engine than the one that is found.
func onStageWith(t testing.TB, engine string, kind rotate.Kind, nodes int, delay time.Duration) *stage {
	t.Helper()
	said := &said{}
	srv := emulator.Start(t, emulator.Config{Empty: true, StateDelay: delay, Engine: engine, RotationRetry: time.Millisecond,
		Log: slog.New(slog.NewTextHandler(said, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	s := &stage{srv: srv, user: "orders-app", kind: kind, target: "orders-app", over: make(chan struct{}, 1), said: said, killer: &killer{do: http.DefaultClient.Do}}
	password := emulator.Secret(oldest)
	cache := emulator.Cache{Name: "orders", Group: "orders-users", Nodes: nodes}
	var problems []error
	switch kind {
	case rotate.KindAuthToken:
		s.user, s.target, cache.Group, cache.AuthTokens = "", "orders", "", []emulator.Secret{password}
	case rotate.KindElastiCacheUser:
		problems = append(problems, srv.PutUser(emulator.User{ID: "off", Name: "default", Auth: emulator.AuthNoPassword, Access: "off -@all"}),
			srv.PutUser(emulator.User{Name: s.user, Auth: emulator.AuthPassword, Passwords: []emulator.Secret{password}, Access: "on ~* +@all"}),
			srv.PutGroup(emulator.Group{ID: cache.Group, Users: []string{"off", s.user}}))
	case rotate.KindMemoryDBUser:
		cache.Kind = emulator.Cluster
		problems = append(problems,
			srv.PutUser(emulator.User{Service: "memorydb", Name: s.user, Auth: emulator.AuthPassword, Passwords: []emulator.Secret{password}, Access: "on ~* &* +@all"}),
			srv.PutGroup(emulator.Group{Service: "memorydb", ID: cache.Group, Users: []string{s.user}}))
	}
	problems = append(problems, srv.PutCache(cache), srv.PutRole(emulator.Role{Name: "rotator", Inline: map[string]string{"rotate": permissions}}),
		srv.PutRole(emulator.Role{Name: "operator", Inline: map[string]string{"all": `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`}}))
	for _, err := range problems {
		if err != nil {
			t.Fatal(err)
		}
	}
	s.cache = srv.Cache("orders")
	s.cache.TLS = s.cache.TLS.Clone()
	s.cache.TLS.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	config := func(role string) aws.Config {
		return aws.Config{Region: srv.Region(), BaseEndpoint: aws.String(srv.URL()), Credentials: srv.Credentials(role), HTTPClient: s.killer, Retryer: func() aws.Retryer { return aws.NopRetryer{} }}
	}
	operator := config("operator")
	operator.HTTPClient, operator.Retryer = nil, nil
	s.secrets = secretsmanager.NewFromConfig(operator)
	value := fmt.Sprintf(`{"username":%q,"password":%q}`, s.user, oldest)
	if _, err := s.secrets.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: aws.String(secretName), SecretString: &value}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.toldNoSecret(t) })
	var addresses []string
	if kind != rotate.KindAuthToken {
		addresses = []string{s.cache.Addr}
	}
	target, err := rotate.NewTarget(kind, s.target, config("rotator"), s.killer.login(rotate.TLSLogin(s.cache.TLS)), addresses)
	if err != nil {
		t.Fatal(err)
	}
	s.rotator = &rotate.Rotator{Secrets: secretsmanager.NewFromConfig(config("rotator")), Targets: map[string]rotate.Target{secretName: target},
		Grace: -1, Poll: rotate.Poll{Every: delay/4 + time.Millisecond, Progress: func(what string) { fmt.Fprintln(said, what) }}}
	srv.PutFunction("rotate", func(ctx context.Context, event []byte) error {
		var e rotate.Event
		if err := json.Unmarshal(event, &e); err != nil {
			return err
		}
		err := s.rotator.Handle(ctx, e)
		if err != nil {
			fmt.Fprintln(said, err)
		}
		if err == nil && e.Step == rotate.FinishSecret {
			s.over <- struct{}{}
		}
		return err
	})
	return s
}

// toldNoSecret is whether nothing that was said has a value in it that the secret has
// ever had.
func (s *stage) toldNoSecret(t testing.TB) {
	t.Helper()
	ctx, name := context.Background(), aws.String(secretName) // t.Context has ended
	versions, err := s.secrets.ListSecretVersionIds(ctx, &secretsmanager.ListSecretVersionIdsInput{SecretId: name, IncludeDeprecated: aws.Bool(true), MaxResults: aws.Int32(100)})
	if err != nil {
		t.Error(err)
		return
	}
	events, err := json.Marshal(s.srv.Events())
	if err != nil {
		t.Error(err)
	}
	all := s.said.String() + string(events) + fmt.Sprintf("%+v %#v", s.srv.Events(), s.srv.Events())
	for _, v := range versions.Versions {
		out, err := s.secrets.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: name, VersionId: v.VersionId})
		if errors.As(err, new(*types.ResourceNotFoundException)) { // it never got one
			continue
		}
		if err != nil {
			t.Error(err)
			return
		}
		value := struct{ Password string }{*out.SecretString} // if it is no JSON
		if json.Unmarshal([]byte(*out.SecretString), &value); value.Password == "" {
			t.Error("a version of the secret has no password")
			continue
		}
		quoted, _ := json.Marshal(value.Password) // & < > are written otherwise
		for _, form := range []string{value.Password, strings.Trim(string(quoted), `"`), url.QueryEscape(value.Password)} {
			if strings.Contains(all, form) {
				t.Error("a password is in what was said")
			}
		}
	}
	if !strings.Contains(all, s.cache.Name) || len(versions.Versions) == 0 {
		t.Error("nothing was said")
	}
}

// password is the current one.
func (s *stage) password(ctx context.Context) (string, error) {
	out, err := s.secrets.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: aws.String(secretName)})
	if err != nil {
		return "", err
	}
	var v struct{ Password string }
	err = json.Unmarshal([]byte(*out.SecretString), &v)
	return v.Password, err
}

// signIn is by a client library that is not the rotator's.
func (s *stage) signIn(ctx context.Context, password string) error {
	c, err := redis.DialContext(ctx, "tcp", s.cache.Addr, redis.DialUseTLS(true), redis.DialTLSConfig(s.cache.TLS), redis.DialUsername(s.user), redis.DialPassword(password))
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Do("PING")
	return err
}

// lockedOut is why whoever reads the secret now is refused; nil if they are not.
func (s *stage) lockedOut(ctx context.Context) error {
	password, err := s.password(ctx)
	if err == nil {
		err = s.signIn(ctx, password)
	}
	if err != nil {
		err = fmt.Errorf("locked out: %w", err)
	}
	return err
}

// begin has Secrets Manager rotate the secret with the function.
func (s *stage) begin(ctx context.Context) error {
	_, err := s.secrets.RotateSecret(ctx, &secretsmanager.RotateSecretInput{SecretId: aws.String(secretName), RotationLambdaARN: aws.String(s.srv.FunctionARN("rotate"))})
	return err
}

func (s *stage) rotate(t *testing.T) {
	t.Helper()
	if err := s.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.over:
	case <-time.After(2 * time.Minute):
		t.Fatal("the rotation does not end")
	}
}

// ended checks the labels and which passwords are taken.
func (s *stage) ended(t *testing.T, before string) (now string) {
	t.Helper()
	now, err := s.password(t.Context())
	if err != nil || now == before {
		t.Fatalf("the password is the same as before, or %v", err)
	}
	if err := s.signIn(t.Context(), now); err != nil {
		t.Errorf("with the new password: %v", err)
	}
	if s.signIn(t.Context(), before) == nil {
		t.Error("the old password is still taken")
	}
	out, err := s.secrets.DescribeSecret(t.Context(), &secretsmanager.DescribeSecretInput{SecretId: aws.String(secretName)})
	if err != nil {
		t.Fatal(err)
	}
	for id, labels := range out.VersionIdsToStages {
		for _, label := range labels {
			if label == "AWSPENDING" {
				t.Errorf("AWSPENDING is left on %s", id)
			}
		}
	}
	return now
}

var kinds = []rotate.Kind{rotate.KindAuthToken, rotate.KindElastiCacheUser, rotate.KindMemoryDBUser}

// No client is refused who has read the secret less than the grace ago. REDIAM_ROTATIONS
// is how often it is rotated, 10 times if it is not set.
func TestRotationsUnder50ClientsFailNoSignIn(t *testing.T) {
	rotations := 10
	if n, err := strconv.Atoi(os.Getenv("REDIAM_ROTATIONS")); err == nil {
		rotations = n
	}
	for _, kind := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			for left := rotations; left > 0; left -= 50 { // a secret has a hundred versions at most
				underClients(t, kind, min(left, 50))
			}
		})
	}
}

func underClients(t *testing.T, kind rotate.Kind, rotations int) {
	s := onStage(t, kind, 0, stateDelay)
	s.rotator.Grace = rereadEvery + rereadEvery/4
	ctx, stop := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	var signIns, late atomic.Int64
	for range 50 {
		clients.Go(func() {
			for ctx.Err() == nil {
				read := time.Now()
				password, err := s.password(ctx)
				for err == nil && ctx.Err() == nil && time.Since(read) < rereadEvery {
					if err = s.signIn(ctx, password); errors.As(err, new(redis.Error)) && time.Since(read) >= s.rotator.Grace {
						late.Add(1) // on a machine that has much to do
						err = nil
						break
					}
					signIns.Add(1)
					select {
					case <-time.After(rereadEvery / 2):
					case <-ctx.Done():
					}
				}
				if err != nil && ctx.Err() == nil {
					t.Errorf("sign in: %v", err)
					return
				}
			}
		})
	}
	password := oldest
	for range rotations {
		s.rotate(t)
		password = s.ended(t, password)
	}
	stop()
	clients.Wait()
	t.Logf("%d rotations, %d sign-ins, %d that came later than the grace", rotations, signIns.Load(), late.Load())
	if signIns.Load() < 50 {
		t.Errorf("%d sign-ins only", signIns.Load())
	}
}

func TestRotationByCommandAgainstTheEmulator(t *testing.T) {
	for _, kind := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s := onStage(t, kind, 0, stateDelay)
			password := oldest
			for range 3 {
				if _, err := s.rotator.Rotate(t.Context(), secretName); err != nil {
					t.Fatal(err)
				}
				password = s.ended(t, password)
			}
		})
	}
}

func TestRotationsAtOnceAgainstTheEmulatorConverge(t *testing.T) {
	for _, kind := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s := onStage(t, kind, 0, stateDelay)
			var runs sync.WaitGroup
			var done atomic.Int64
			for range 4 {
				runs.Go(func() {
					if _, err := s.rotator.Rotate(t.Context(), secretName); err == nil {
						done.Add(1)
					} else {
						fmt.Fprintln(s.said, err) // it has come too late for its version
					}
				})
			}
			runs.Wait()
			if done.Load() == 0 {
				t.Error("none of the runs has ended well")
			}
			s.ended(t, oldest)
		})
	}
}

func TestRotationSurvivesThatEveryCallOfTheEmulatorFailsOnce(t *testing.T) {
	throttled := map[string]string{ // in the words of each protocol
		"application/x-amz-json-1.1":        `{"__type":"ThrottlingException","message":"Rate exceeded"}`,
		"application/x-www-form-urlencoded": `<ErrorResponse><Error><Type>Sender</Type><Code>Throttling</Code><Message>Rate exceeded</Message></Error></ErrorResponse>`,
	}
	answer := func(r *http.Request, status int, body string) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
	}
	for name, fail := range map[string]func(*http.Request) (*http.Response, error){
		"not reached": func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") },
		"unavailable": func(r *http.Request) (*http.Response, error) {
			return answer(r, http.StatusServiceUnavailable, "<html>503 Service Temporarily Unavailable</html>")
		},
		"throttled": func(r *http.Request) (*http.Response, error) {
			return answer(r, http.StatusBadRequest, throttled[r.Header.Get("Content-Type")])
		},
		"answered after it was lost": func(r *http.Request) (*http.Response, error) {
			if done, err := http.DefaultClient.Do(r); err == nil {
				done.Body.Close()
			}
			return nil, errors.New("connection reset by peer")
		},
		"late": func(r *http.Request) (*http.Response, error) {
			time.Sleep(20 * time.Millisecond)
			return http.DefaultClient.Do(r)
		},
	} {
		for _, kind := range kinds {
			t.Run(string(kind)+", "+name, func(t *testing.T) {
				t.Parallel()
				s := onStage(t, kind, 0, 10*time.Millisecond)
				made := map[string]bool{}
				s.killer.do = func(r *http.Request) (*http.Response, error) {
					members, err := io.ReadAll(r.Body)
					if err != nil {
						return nil, err
					}
					r.Body = io.NopCloser(bytes.NewReader(members))
					if call := r.Header.Get("X-Amz-Target") + string(members); !made[call] {
						made[call] = true
						return fail(r)
					}
					return http.DefaultClient.Do(r)
				}
				if _, err := s.rotator.Rotate(t.Context(), secretName); err != nil {
					t.Fatal(err)
				}
				s.ended(t, oldest)
				if len(made) < 10 {
					t.Errorf("%d different calls only", len(made))
				}
			})
		}
	}
}

// A replication group in cluster mode has one endpoint, and every node must take the
// password.
func TestRotationInAClusterSignsInOnEveryNode(t *testing.T) {
	installed.Path(t, "redis-server")
	s := onStage(t, rotate.KindAuthToken, 3, stateDelay)
	nodes, err := rotate.TLSLogin(s.cache.TLS)(t.Context(), []string{s.cache.Addr}, "", oldest)
	if err != nil || len(nodes) != 3 {
		t.Fatalf("Login() = %v, %v, want three nodes", nodes, err)
	}
	if _, err := s.rotator.Rotate(t.Context(), secretName); err != nil {
		t.Fatal(err)
	}
	now := s.ended(t, oldest)
	for _, node := range nodes {
		if _, err := rotate.TLSLogin(s.cache.TLS)(t.Context(), []string{node}, "", now); err != nil {
			t.Errorf("at %s: %v", node, err)
		}
	}
}

// Only with RotateImmediately=false does Secrets Manager call testSecret alone.
func TestRotationThatIsATestChangesNothing(t *testing.T) {
	s := onStage(t, rotate.KindElastiCacheUser, 0, 0)
	called := make(chan error, 10)
	s.srv.PutFunction("rotate", func(ctx context.Context, event []byte) error {
		var e rotate.Event
		err := json.Unmarshal(event, &e)
		if err == nil {
			err = s.rotator.Handle(ctx, e)
		}
		called <- err
		return err
	})
	_, err := s.secrets.RotateSecret(t.Context(), &secretsmanager.RotateSecretInput{SecretId: aws.String(secretName), RotationLambdaARN: aws.String(s.srv.FunctionARN("rotate")), RotateImmediately: aws.Bool(false)})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-called; err != nil {
		t.Error(err)
	}
	if now, err := s.password(t.Context()); err != nil || now != oldest {
		t.Errorf("the password has changed, or %v", err)
	}
}

// What a rotation takes beyond the two changes, which take three seconds each here, and
// the grace.
func BenchmarkRotation(b *testing.B) {
	const delay = 3 * time.Second
	for _, kind := range kinds {
		b.Run(string(kind), func(b *testing.B) {
			s := onStage(b, kind, 0, delay)
			s.rotator.Poll = rotate.Poll{}
			for b.Loop() {
				if _, err := s.rotator.Rotate(b.Context(), secretName); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric((b.Elapsed()/time.Duration(b.N) - 2*delay).Seconds(), "s-beyond/op")
		})
	}
}
