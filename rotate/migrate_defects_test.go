package rotate_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/smithy-go"
	"github.com/rediam/rediam/emulator"
	"github.com/rediam/rediam/rotate"
)

// members is what a request says, which can be read again afterwards.
func members(r *http.Request) string {
	text, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(text))
	return r.Header.Get("X-Amz-Target") + string(text)
}

func answer(r *http.Request, status int, body string) (*http.Response, error) {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

func TestMigrationHidesThePasswordThatAWSQuotes(t *testing.T) {
	s := onStage(t, rotate.KindAuthToken, 0, 0)
	m := s.migration(t, rotate.KindAuthToken)
	s.killer.do = func(r *http.Request) (*http.Response, error) {
		if strings.Contains(members(r), "Action=CreateUser&") {
			return answer(r, http.StatusBadRequest, "<ErrorResponse><Error><Type>Sender</Type><Code>InvalidParameterValue</Code><Message>Bad password "+oldest+"</Message></Error></ErrorResponse>")
		}
		return http.DefaultClient.Do(r)
	}
	if err := m.Prepare(t.Context()); err == nil || !strings.Contains(err.Error(), "Bad password") || strings.Contains(err.Error(), oldest) {
		t.Error("the error is not AWS's, or has the password in it")
	}
}

// A user is turned off for all caches: one whose clients cannot be seen is left alone.
func TestMigrationDoesNotFinishForAUserOfSeveralCaches(t *testing.T) {
	for _, kind := range []rotate.Kind{rotate.KindElastiCacheUser, rotate.KindMemoryDBUser} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s := onStage(t, kind, 0, 0)
			other := emulator.Cache{Name: "invoices", Group: "orders-users"}
			if kind == rotate.KindMemoryDBUser {
				other.Kind = emulator.Cluster
			}
			if err := s.srv.PutCache(other); err != nil {
				t.Fatal(err)
			}
			m := s.migration(t, kind)
			if err := m.Prepare(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := m.Finish(t.Context()); err == nil || !strings.Contains(err.Error(), "is of several caches, invoices, orders") {
				t.Errorf("Finish() = %v", err)
			}
			if err := s.signIn(t.Context(), oldest); err != nil {
				t.Error(err)
			}
			m.Quiet = -1
			if err := m.Finish(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// Nodes that could not be asked may have had clients connected.
func TestMigrationFinishesOnlyAfterQuietThatWasLookedAt(t *testing.T) {
	s := onStage(t, rotate.KindElastiCacheUser, 0, 0)
	m := s.migration(t, rotate.KindElastiCacheUser)
	if err := m.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	var failed time.Time
	m.Connected = func(context.Context, []string, string, string, string) ([]string, error) {
		if !failed.IsZero() {
			return nil, nil
		}
		<-time.After(m.Quiet)
		failed = time.Now()
		return nil, &smithy.OperationError{Err: errors.New("connection refused")} // of those that pass
	}
	if err := m.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	if time.Since(failed) < m.Quiet {
		t.Error("the user was turned off after less than Quiet")
	}
}

// A user who may not be told the nodes of a cluster sees the clients of one alone.
func TestMigrationFinishesInAClusterOnlyIfItKnowsTheNodes(t *testing.T) {
	for nodes, want := range map[int]string{3: "CLUSTER SLOTS", 0: ""} {
		s := onStage(t, rotate.KindElastiCacheUser, nodes, 0)
		m := s.migration(t, rotate.KindElastiCacheUser)
		m.Access = "on ~* +@read +client|list"
		if err := m.Prepare(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := m.Finish(t.Context()); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("Finish() = %v with %d nodes, want %q", err, nodes, want)
		}
	}
}

// AWS shows the user group of a cache once the change is over, and the token until
// somewhen before.
func TestMigrationGoesOnWhileTheGroupIsBeingAttached(t *testing.T) {
	s := onStage(t, rotate.KindAuthToken, 0, 0)
	m := s.migration(t, rotate.KindAuthToken)
	if err := m.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	modifying := true
	s.killer.do = func(r *http.Request) (*http.Response, error) {
		described := strings.Contains(members(r), "Action=DescribeReplicationGroups&")
		out, err := http.DefaultClient.Do(r)
		if err != nil || !described || !modifying {
			return out, err
		}
		modifying = false
		body, err := io.ReadAll(out.Body)
		body = regexp.MustCompile(`(?s)<UserGroupIds>.*</UserGroupIds>`).ReplaceAll(body, nil)
		out.Body = io.NopCloser(strings.NewReader(strings.Replace(string(body), "<Status>available<", "<Status>modifying<", 1)))
		out.ContentLength = -1
		return out, err
	}
	if err := m.Prepare(t.Context()); err != nil || modifying {
		t.Errorf("Prepare() = %v", err)
	}
}

// Nobody is told that a token is refused while AWS puts the user into the group.
func TestMigrationSignsInOnceTheGroupIsActive(t *testing.T) {
	s := onStage(t, rotate.KindElastiCacheUser, 0, 50*time.Millisecond)
	m := s.migration(t, rotate.KindElastiCacheUser)
	login := m.Login
	m.Login = func(ctx context.Context, nodes []string, user, password string) ([]string, error) {
		out, err := s.operator().DescribeUserGroups(ctx, &elasticache.DescribeUserGroupsInput{UserGroupId: aws.String("orders-users")})
		if err != nil || *out.UserGroups[0].Status != "active" {
			t.Errorf("it signs in while the group is %v, %v", *out.UserGroups[0].Status, err)
		}
		return login(ctx, nodes, user, password)
	}
	if err := m.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestMigrationSurvivesThatEveryCallIsThrottledOnce(t *testing.T) {
	for _, kind := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s := onStage(t, kind, 0, 0)
			m := s.migration(t, kind)
			m.AWS.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
			for _, do := range []func(context.Context) error{m.Prepare, m.Finish, m.Undo} {
				made := map[string]bool{}
				s.killer.do = func(r *http.Request) (*http.Response, error) {
					if call := members(r); !made[call] {
						made[call] = true
						return answer(r, http.StatusServiceUnavailable, "<html>503 Service Temporarily Unavailable</html>")
					}
					return http.DefaultClient.Do(r)
				}
				if err := do(t.Context()); err != nil {
					t.Fatal(err)
				}
				if len(made) < 2 {
					t.Errorf("%d different calls only", len(made))
				}
			}
		})
	}
}

// The SDK asks again by itself, and AWS has done it.
func TestMigrationSurvivesThatEveryAnswerIsLostOnce(t *testing.T) {
	for _, kind := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s := onStage(t, kind, 0, 0)
			m := s.migration(t, kind)
			m.AWS.Retryer = func() aws.Retryer {
				return retry.NewStandard(func(o *retry.StandardOptions) {
					o.Backoff, o.RateLimiter = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil }), ratelimit.None
				})
			}
			made := map[string]bool{}
			s.killer.do = func(r *http.Request) (*http.Response, error) {
				call := members(r)
				out, err := http.DefaultClient.Do(r)
				if err != nil || made[call] {
					return out, err
				}
				made[call] = true
				out.Body.Close()
				return answer(r, http.StatusServiceUnavailable, "<html>503 Service Temporarily Unavailable</html>")
			}
			for _, do := range []func(context.Context) error{m.Prepare, m.Finish, m.Undo} {
				if err := do(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestMigrationTakesIDsInUpperCase(t *testing.T) {
	for _, kind := range []rotate.Kind{rotate.KindAuthToken, rotate.KindElastiCacheUser} {
		s := onStage(t, kind, 0, 0)
		m := s.migration(t, kind)
		m.To, m.ReplicationGroup, m.From = strings.ToUpper(m.To), "Orders", strings.ToUpper(m.From)
		if err := m.Prepare(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := m.Finish(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// A secret with an authToken becomes that of a user by a migration.
func TestRotationOfAUserTakesTheSecretOfAToken(t *testing.T) {
	for value, want := range map[string]string{`{"authToken":"` + oldest + `"}`: "authToken", `{}`: "password"} {
		f, r := rig(user)
		r.Targets[secretName].(*rotate.User).Replace = true
		f.versions[first].value = &value
		if _, err := r.Rotate(t.Context(), secretName); err != nil {
			t.Fatal(err)
		}
		if now := *f.versions[f.labelled("AWSCURRENT")].value; now != `{"`+want+`":"`+f.accepted[0]+`"}` {
			t.Errorf("the secret, which was %d bytes long, has another shape", len(value))
		}
	}
}

// AWS writes an access string in its own way.
func TestMigrationTakesTheAccessStringThatAWSMakesOfOne(t *testing.T) {
	for _, kind := range []rotate.Kind{rotate.KindElastiCacheUser, rotate.KindMemoryDBUser} {
		s := onStage(t, kind, 0, 0)
		m := s.migration(t, kind)
		m.Access = "+PING ~Orders:* +@read (+get ~tmp:*) &news on (%R~b +@read &c)"
		if err := m.Prepare(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// One permission after the other is missing, in the order in which they are needed.
func TestMigrationSaysWhichPermissionIsMissing(t *testing.T) {
	for kind, actions := range map[rotate.Kind][]string{
		rotate.KindAuthToken: {"elasticache:DescribeReplicationGroups", "elasticache:DescribeUserGroups", "elasticache:DescribeUsers", "secretsmanager:DescribeSecret",
			"secretsmanager:GetSecretValue", "elasticache:CreateUser", "elasticache:CreateUserGroup", "elasticache:ModifyReplicationGroup", "elasticache:ModifyUser"},
		rotate.KindElastiCacheUser: {"elasticache:DescribeUsers", "elasticache:DescribeReplicationGroups", "elasticache:CreateUser", "elasticache:ModifyUserGroup",
			"elasticache:DescribeUserGroups", "elasticache:ModifyUser"},
		rotate.KindMemoryDBUser: {"memorydb:DescribeUsers", "memorydb:CreateUser", "memorydb:UpdateACL", "memorydb:DescribeACLs", "memorydb:UpdateUser"},
	} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s := onStage(t, kind, 0, 0)
			m := s.migration(t, kind)
			for _, action := range actions {
				deny := `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"` + action + `","Resource":"*"}}`
				if err := s.srv.PutRole(emulator.Role{Name: "migrator", Inline: map[string]string{"migrate": migrator, "deny": deny}}); err != nil {
					t.Fatal(err)
				}
				err := m.Prepare(t.Context())
				if err == nil {
					err = m.Finish(t.Context())
				}
				if err == nil || !strings.Contains(err.Error(), action) {
					t.Errorf("without %s: %v", action, err)
				}
				if err := s.signIn(t.Context(), oldest); err != nil {
					t.Errorf("without %s, locked out: %v", action, err)
				}
			}
		})
	}
}
