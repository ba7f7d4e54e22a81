package rotate_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/gomodule/redigo/redis"
	"github.com/rediam/rediam"
	"github.com/rediam/rediam/emulator"
	"github.com/rediam/rediam/rotate"
)

const (
	migratedTo = "orders-iam"
	// migrator are the permissions that docs/rotation.md says a migration needs.
	migrator = `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":["elasticache:DescribeUsers","elasticache:CreateUser","elasticache:ModifyUser","elasticache:DescribeUserGroups",
			"elasticache:CreateUserGroup","elasticache:ModifyUserGroup"],"Resource":["arn:aws:elasticache:*:*:user:*","arn:aws:elasticache:*:*:usergroup:*"]},
		{"Effect":"Allow","Action":["elasticache:DescribeReplicationGroups","elasticache:ModifyReplicationGroup"],
			"Resource":["arn:aws:elasticache:*:*:replicationgroup:orders","arn:aws:elasticache:*:*:usergroup:*"]},
		{"Effect":"Allow","Action":["memorydb:DescribeUsers","memorydb:CreateUser","memorydb:UpdateUser","memorydb:UpdateACL"],
			"Resource":["arn:aws:memorydb:*:*:user/*","arn:aws:memorydb:*:*:acl/*"]},
		{"Effect":"Allow","Action":["secretsmanager:DescribeSecret","secretsmanager:GetSecretValue"],"Resource":"arn:aws:secretsmanager:*:*:secret:orders/password-*"},
		{"Effect":"Allow","Action":["elasticache:Connect","memorydb:Connect"],"Resource":"*"}]}`
)

// migration is that of a stage's user or token.
func (s *stage) migration(t *testing.T, kind rotate.Kind) *rotate.Migration {
	t.Helper()
	if err := s.srv.PutRole(emulator.Role{Name: "migrator", Inline: map[string]string{"migrate": migrator}}); err != nil {
		t.Fatal(err)
	}
	signer := &rediam.Signer{Cache: "orders", User: migratedTo, Region: s.srv.Region(), Credentials: s.srv.Credentials("migrator"), Now: s.srv.Now}
	m := &rotate.Migration{
		AWS: aws.Config{Region: s.srv.Region(), BaseEndpoint: aws.String(s.srv.URL()), Credentials: s.srv.Credentials("migrator"), HTTPClient: s.killer},
		To:  migratedTo, Login: s.killer.login(rotate.TLSLogin(s.cache.TLS)), Connected: rotate.TLSConnected(s.cache.TLS), Quiet: 50 * time.Millisecond,
		Token: func(ctx context.Context) (string, error) {
			token, err := signer.Token(ctx)
			return token.Password, err
		},
		Poll: rotate.Poll{Every: 5 * time.Millisecond},
	}
	switch kind {
	case rotate.KindAuthToken:
		m.ReplicationGroup, m.Secret = "orders", secretName
	case rotate.KindElastiCacheUser:
		m.ReplicationGroup, m.From = "orders", s.user
	case rotate.KindMemoryDBUser:
		m.From, m.Nodes, m.MemoryDB = s.user, []string{s.cache.Addr}, true
		signer.Service = rediam.MemoryDB
	}
	return m
}

// iamSignIn is by a client library that is not the migration's.
func (s *stage) iamSignIn(m *rotate.Migration) error {
	token, err := m.Token(context.Background())
	if err != nil {
		return err
	}
	c, err := redis.Dial("tcp", s.cache.Addr, redis.DialUseTLS(true), redis.DialTLSConfig(s.cache.TLS), redis.DialUsername(m.To), redis.DialPassword(token))
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Do("SET", "key", "value")
	return err
}

func TestMigrationFailsNoSignIn(t *testing.T) {
	for _, kind := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s := onStage(t, kind, 0, 50*time.Millisecond)
			m := s.migration(t, kind)
			plan, err := m.Plan(t.Context())
			if err != nil || plan[0].Done || plan[len(plan)-1].Done {
				t.Fatalf("Plan() = %+v, %v before anything is done", plan, err)
			}
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			var clients sync.WaitGroup
			var signIns atomic.Int64
			for range 50 {
				clients.Go(func() {
					for ctx.Err() == nil {
						if err := s.signIn(ctx, oldest); err != nil && ctx.Err() == nil {
							t.Errorf("with the password: %v", err)
							return
						}
						signIns.Add(1)
					}
				})
			}
			if err := m.Prepare(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := s.iamSignIn(m); err != nil {
				t.Errorf("with IAM: %v", err)
			}
			// They are connected, so that nothing is turned off.
			m.Quiet = time.Minute
			busy, enough := context.WithCancel(t.Context())
			defer enough()
			m.Poll.Progress = func(what string) {
				if strings.Contains(what, " connections of ") {
					enough()
				}
			}
			if err := m.Finish(busy); !errors.Is(err, context.Canceled) {
				t.Errorf("Finish() = %v while clients are connected", err)
			}
			m.Poll.Progress = nil
			before := signIns.Load()
			for signIns.Load() < before+50 && !t.Failed() {
			}
			stop()
			clients.Wait()
			m.Quiet = 50 * time.Millisecond
			if err := m.Finish(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := s.signIn(t.Context(), oldest); err == nil {
				t.Error("the password is taken still")
			}
			if err := s.iamSignIn(m); err != nil {
				t.Errorf("with IAM: %v", err)
			}
			if plan, err = m.Plan(t.Context()); err != nil || !plan[len(plan)-1].Done {
				t.Errorf("Plan() = %+v, %v after all is done", plan, err)
			}
			if err := m.Undo(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := s.signIn(t.Context(), oldest); err != nil {
				t.Errorf("with the password, again: %v", err)
			}
		})
	}
}

// The kill matrix: at each point both who could sign in before still can, and the
// migration goes on when it is run again.
func TestMigrationStoppedAtEveryCallGoesOn(t *testing.T) {
	for _, kind := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			for at, ended := 1, false; !ended; at++ {
				s := onStageWith(t, "embedded", kind, 0, 5*time.Millisecond) // a new one each time
				m := s.migration(t, kind)
				ctx, stop := context.WithCancel(t.Context())
				s.killer.reset(at, stop)
				err := m.Prepare(ctx)
				finished := error(nil)
				if err == nil {
					finished = m.Finish(ctx)
				}
				ended = err == nil && finished == nil
				stop()
				s.killer.reset(0, nil)
				if ended && at < 30 {
					t.Fatalf("a migration has %d points to stop at only", at)
				}
				signedIn := s.signIn(t.Context(), oldest)
				if err != nil && signedIn != nil {
					t.Fatalf("stopped at %d: locked out: %v", at, signedIn)
				}
				if err := m.Prepare(t.Context()); err != nil {
					t.Fatalf("stopped at %d with %v or %v: %v", at, err, finished, err)
				}
				if err := m.Finish(t.Context()); err != nil {
					t.Fatalf("stopped at %d with %v: %v", at, finished, err)
				}
				if err := s.iamSignIn(m); err != nil {
					t.Fatalf("stopped at %d: %v", at, err)
				}
				if err := s.signIn(t.Context(), oldest); err == nil {
					t.Fatalf("stopped at %d: the password is taken still", at)
				}
			}
		})
	}
}

// A token that is being rotated has two values, and clients may have either.
func TestMigrationOfATokenTakesBothValues(t *testing.T) {
	s := onStage(t, rotate.KindAuthToken, 0, 0)
	s.rotator.Grace = time.Hour
	ctx, stop := context.WithCancel(t.Context())
	s.rotator.Poll.Progress = func(what string) {
		if strings.Contains(what, "stays valid") {
			stop()
		}
	}
	if _, err := s.rotator.Rotate(ctx, secretName); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	now, err := s.password(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m := s.migration(t, rotate.KindAuthToken)
	if err := m.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{oldest, now} {
		c, err := redis.Dial("tcp", s.cache.Addr, redis.DialUseTLS(true), redis.DialTLSConfig(s.cache.TLS), redis.DialPassword(token))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Do("PUBLISH", "channel", "message"); err != nil {
			t.Error(err)
		}
		c.Close()
	}
}

// Whatever speaks against a migration does so before anything is changed.
func TestMigrationIsRefusedWithoutAChange(t *testing.T) {
	tests := map[string]struct {
		kind   rotate.Kind
		change func(t *testing.T, s *stage, m *rotate.Migration)
		want   string
	}{
		"to itself":                         {rotate.KindElastiCacheUser, func(_ *testing.T, _ *stage, m *rotate.Migration) { m.To = m.From }, "a user has either a password or IAM"},
		"of nobody":                         {rotate.KindElastiCacheUser, func(_ *testing.T, _ *stage, m *rotate.Migration) { m.From = "" }, "a migration needs"},
		"of AWS's own default":              {rotate.KindElastiCacheUser, func(_ *testing.T, _ *stage, m *rotate.Migration) { m.From = "default" }, "cannot be changed"},
		"of a user who does not exist":      {rotate.KindMemoryDBUser, func(_ *testing.T, _ *stage, m *rotate.Migration) { m.From = "nobody" }, "UserNotFound"},
		"of a user of another cache":        {rotate.KindElastiCacheUser, func(t *testing.T, s *stage, m *rotate.Migration) { s.lonely(t); m.From = "lonely" }, "is in no user group of"},
		"of a user who signs in with IAM":   {rotate.KindElastiCacheUser, func(t *testing.T, s *stage, m *rotate.Migration) { s.put(t, "other"); m.From = "other" }, "signs in with IAM already"},
		"to a user with a password":         {rotate.KindElastiCacheUser, func(_ *testing.T, _ *stage, m *rotate.Migration) { m.To = "off" }, "who does not sign in with IAM"},
		"to a user who may do other things": {rotate.KindElastiCacheUser, func(t *testing.T, s *stage, m *rotate.Migration) { s.put(t, m.To) }, `has the access string "on ~orders:*`},
		"with a secret that is not of the cache": {rotate.KindAuthToken, func(t *testing.T, s *stage, m *rotate.Migration) {
			_, err := s.secrets.PutSecretValue(t.Context(), &secretsmanager.PutSecretValueInput{SecretId: aws.String(secretName), SecretString: aws.String("AnotherToken00000000000000000000")})
			if err != nil {
				t.Fatal(err)
			}
		}, "the cache refuses the password"},
		"while the secret is being rotated": {rotate.KindAuthToken, func(t *testing.T, s *stage, m *rotate.Migration) {
			_, err := s.secrets.PutSecretValue(t.Context(), &secretsmanager.PutSecretValueInput{SecretId: aws.String(secretName), SecretString: aws.String("AnotherToken00000000000000000000"), VersionStages: []string{"AWSPENDING"}})
			if err != nil {
				t.Fatal(err)
			}
		}, "has begun: let it end first"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := onStage(t, test.kind, 0, 0)
			m := s.migration(t, test.kind)
			test.change(t, s, m)
			before := s.users(t)
			err := m.Prepare(t.Context())
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Prepare() = %v, want something with %q", err, test.want)
			}
			if strings.Contains(err.Error(), oldest) {
				t.Error("the error has the password in it")
			}
			if err := s.signIn(t.Context(), oldest); err != nil {
				t.Error(err)
			}
			if after := s.users(t); after != before {
				t.Errorf("the users were %s and are %s", before, after)
			}
		})
	}
}

// put makes a user who signs in with IAM and may do little.
func (s *stage) put(t *testing.T, name string) {
	t.Helper()
	if err := s.srv.PutUser(emulator.User{Name: name, Auth: emulator.AuthIAM, Access: "on ~orders:* +get"}); err != nil {
		t.Fatal(err)
	}
}

// users are all of ElastiCache's, as text.
func (s *stage) users(t *testing.T) string {
	t.Helper()
	client := elasticache.New(elasticache.Options{Region: s.srv.Region(), BaseEndpoint: aws.String(s.srv.URL()), Credentials: s.srv.Credentials("operator")})
	out, err := client.DescribeUsers(t.Context(), &elasticache.DescribeUsersInput{})
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, u := range out.Users {
		text.WriteString(*u.UserId + " " + *u.AccessString + "; ")
	}
	return text.String()
}

// Only who is not allowed to connect is refused for good.
func TestMigrationSaysThatTheTokenIsRefused(t *testing.T) {
	s := onStage(t, rotate.KindElastiCacheUser, 0, 0)
	m := s.migration(t, rotate.KindElastiCacheUser)
	if err := s.srv.PutRole(emulator.Role{Name: "migrator", Inline: map[string]string{"migrate": strings.Replace(migrator, "elasticache:Connect", "elasticache:DescribeEvents", 1)}}); err != nil {
		t.Fatal(err)
	}
	m.Poll.Every = time.Millisecond
	if err := m.Prepare(t.Context()); !errors.Is(err, rotate.ErrRefused) {
		t.Errorf("Prepare() = %v, want %v", err, rotate.ErrRefused)
	}
	if err := s.signIn(t.Context(), oldest); err != nil {
		t.Error(err)
	}
}

// lonely makes a user with a password in a group of no cache.
func (s *stage) lonely(t *testing.T) {
	t.Helper()
	err := s.srv.PutUser(emulator.User{Name: "lonely", Auth: emulator.AuthPassword, Passwords: []emulator.Secret{oldest}, Access: "on ~* +@all"})
	if err == nil {
		err = s.srv.PutGroup(emulator.Group{ID: "others", Users: []string{"off", "lonely"}})
	}
	if err != nil {
		t.Fatal(err)
	}
}
