package rotate_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
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

const rereadEvery = 2 * time.Second

// stage is an emulator with a cache, a secret with its password, and a function that
// rotates it.
type stage struct {
	srv     *emulator.Server
	cache   emulator.Endpoint
	user    string
	secrets *secretsmanager.Client
	rotator *rotate.Rotator
	over    chan error // one for each rotation by the function
	killer  *killer
}

// A killer stops who calls it at one point: every call of AWS and every sign-in has one
// before it and one after it.
type killer struct {
	mu   sync.Mutex // guards below
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
	answer, err := http.DefaultClient.Do(r)
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

func onStage(t *testing.T, kind rotate.Kind, nodes int, delay time.Duration) *stage {
	t.Helper()
	return onStageWith(t, "", kind, nodes, delay)
}

// onStageWith has another engine than the one that is found.
func onStageWith(t *testing.T, engine string, kind rotate.Kind, nodes int, delay time.Duration) *stage {
	t.Helper()
	srv := emulator.Start(t, emulator.Config{Empty: true, StateDelay: delay, Engine: engine})
	s := &stage{srv: srv, user: "orders-app", over: make(chan error, 1), killer: &killer{}}
	password := emulator.Secret(oldest)
	cache := emulator.Cache{Name: "orders", Group: "orders-users", Nodes: nodes}
	var problems []error
	switch kind {
	case rotate.KindAuthToken:
		s.user, cache.Group, cache.AuthTokens = "", "", []emulator.Secret{password}
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
	config := func(role string) aws.Config {
		return aws.Config{Region: srv.Region(), BaseEndpoint: aws.String(srv.URL()), Credentials: srv.Credentials(role), HTTPClient: s.killer}
	}
	operator := config("operator")
	operator.HTTPClient = nil
	s.secrets = secretsmanager.NewFromConfig(operator)
	value := fmt.Sprintf(`{"username":%q,"password":%q}`, s.user, oldest)
	if _, err := s.secrets.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: aws.String(secretName), SecretString: &value}); err != nil {
		t.Fatal(err)
	}
	id := map[rotate.Kind]string{rotate.KindAuthToken: "orders"}[kind]
	if id == "" {
		id = s.user
	}
	var addresses []string
	if kind != rotate.KindAuthToken {
		addresses = []string{s.cache.Addr}
	}
	target, err := rotate.NewTarget(kind, id, config("rotator"), s.killer.login(rotate.TLSLogin(s.cache.TLS)), addresses)
	if err != nil {
		t.Fatal(err)
	}
	s.rotator = &rotate.Rotator{Secrets: secretsmanager.NewFromConfig(config("rotator")), Targets: map[string]rotate.Target{secretName: target},
		Grace: -1, Poll: rotate.Poll{Every: delay/4 + time.Millisecond}}
	srv.PutFunction("rotate", func(ctx context.Context, event []byte) error {
		var e rotate.Event
		if err := json.Unmarshal(event, &e); err != nil {
			return err
		}
		err := s.rotator.Handle(ctx, e)
		if err != nil {
			t.Log(err)
		}
		if err == nil && e.Step == rotate.FinishSecret {
			s.over <- nil
		}
		return err
	})
	return s
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

func (s *stage) rotate(t *testing.T) {
	t.Helper()
	_, err := s.secrets.RotateSecret(t.Context(), &secretsmanager.RotateSecretInput{SecretId: aws.String(secretName), RotationLambdaARN: aws.String(s.srv.FunctionARN("rotate"))})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case err = <-s.over:
	case <-time.After(2 * time.Minute):
		t.Fatal("the rotation does not end")
	}
	if err != nil {
		t.Fatal(err)
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

// Clients that read the secret every two seconds, and once more when they are refused,
// never notice that it rotates.
func TestRotationsUnder50ClientsFailNoSignIn(t *testing.T) {
	const rotations = 10
	for _, kind := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s := onStage(t, kind, 0, 50*time.Millisecond)
			s.rotator.Grace = rereadEvery + 500*time.Millisecond
			ctx, stop := context.WithCancel(t.Context())
			var clients sync.WaitGroup
			var signIns, retries, failed atomic.Int64
			for range 50 {
				clients.Go(func() {
					for ctx.Err() == nil {
						password, err := s.password(ctx)
						for until := time.Now().Add(rereadEvery); err == nil && ctx.Err() == nil && time.Now().Before(until); {
							if err = s.signIn(ctx, password); err != nil && ctx.Err() == nil {
								retries.Add(1)
								if password, err = s.password(ctx); err == nil {
									err = s.signIn(ctx, password)
								}
							}
							signIns.Add(1)
							select {
							case <-time.After(200 * time.Millisecond):
							case <-ctx.Done():
							}
						}
						if err != nil && ctx.Err() == nil {
							failed.Add(1)
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
			t.Logf("%d sign-ins in %d rotations, %d after reading the secret again, %d failed", signIns.Load(), rotations, retries.Load(), failed.Load())
			if signIns.Load() < 50 {
				t.Errorf("%d sign-ins only", signIns.Load())
			}
		})
	}
}

func TestRotationByCommandAgainstTheEmulator(t *testing.T) {
	for _, kind := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s := onStage(t, kind, 0, 50*time.Millisecond)
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
			s := onStage(t, kind, 0, 50*time.Millisecond)
			var runs sync.WaitGroup
			var done atomic.Int64
			for range 4 {
				runs.Go(func() {
					if _, err := s.rotator.Rotate(t.Context(), secretName); err == nil {
						done.Add(1)
					} else {
						t.Log(err) // it has come too late for its version
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

// The kill matrix against the emulator: each rotation begins where the one before has
// ended.
func TestRotationKilledAtEveryCallOfTheEmulatorConverges(t *testing.T) {
	for _, kind := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s := onStage(t, kind, 0, 10*time.Millisecond)
			if _, err := s.rotator.Rotate(t.Context(), secretName); err != nil {
				t.Fatal(err)
			}
			points := s.killer.reset(0, nil)
			if points < 40 {
				t.Fatalf("a rotation has %d points to stop at only", points)
			}
			password := s.ended(t, oldest)
			for at := 1; at <= points-4; at++ { // as many as there are always
				if at%30 == 0 { // a secret has a hundred versions at most
					s, password = onStage(t, kind, 0, 10*time.Millisecond), oldest
				}
				ctx, stop := context.WithCancel(t.Context())
				s.killer.reset(at, stop)
				_, err := s.rotator.Rotate(ctx, secretName)
				stop()
				s.killer.reset(0, nil)
				t.Logf("stopped at %d of %d: %v", at, points, err)
				now, err := s.password(t.Context())
				if err == nil {
					err = s.signIn(t.Context(), now)
				}
				if err != nil {
					t.Fatalf("locked out: %v", err)
				}
				if _, err := s.rotator.Rotate(t.Context(), secretName); err != nil {
					t.Fatal(err)
				}
				password = s.ended(t, password)
			}
		})
	}
}

// A replication group in cluster mode has one endpoint, and every node must take the
// password.
func TestRotationInAClusterSignsInOnEveryNode(t *testing.T) {
	installed.Path(t, "redis-server")
	s := onStage(t, rotate.KindAuthToken, 3, 50*time.Millisecond)
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
