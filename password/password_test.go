package password_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/password"
)

// secret is a Secrets Manager with one secret.
type secret struct {
	mu       sync.Mutex        // guards below
	versions map[string]string // by staging label
	reads    map[string]int    // likewise
	away     error             // what it answers instead
	slow     chan struct{}     // closed when it may answer; nil is at once
}

func (s *secret) GetSecretValue(ctx context.Context, in *secretsmanager.GetSecretValueInput, _ ...func(*secretsmanager.Options)) (*secretsmanager.GetSecretValueOutput, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reads == nil {
		s.reads = map[string]int{}
	}
	s.reads[*in.VersionStage]++
	if slow := s.slow; slow != nil {
		s.mu.Unlock()
		select {
		case <-slow:
		case <-ctx.Done():
		}
		s.mu.Lock()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	value, ok := s.versions[*in.VersionStage]
	switch {
	case s.away != nil:
		return nil, s.away
	case !ok:
		return nil, &types.ResourceNotFoundException{}
	}
	return &secretsmanager.GetSecretValueOutput{SecretString: &value}, nil
}

func (s *secret) set(label, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.versions == nil {
		s.versions = map[string]string{}
	}
	s.versions[label] = value
}

func (s *secret) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = err
}

// readings takes the counts of readings since it was called before.
func (s *secret) readings() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	reads := s.reads
	s.reads = nil
	return reads
}

func of(user, password string) string {
	return fmt.Sprintf(`{"username":%q,"password":%q,"user_arn":"arn:aws:elasticache:us-east-1:123456789012:user:%s"}`, user, password, user)
}

// passwords are those that are tried if the service takes none but one.
func passwords(t *testing.T, from iter.Seq2[rediam.Token, error], taken string) (tried []string) {
	t.Helper()
	for token, err := range from {
		if err != nil {
			return append(tried, "error")
		}
		tried = append(tried, token.Password)
		if token.Password == taken {
			break
		}
	}
	return tried
}

func TestPasswordsAreTriedInOrderAndEachOnce(t *testing.T) {
	for _, v := range []struct {
		name                       string
		current, pending, previous string // when the first has been refused
		taken                      string
		want                       string
	}{
		{"the one that is known", "old", "", "", "old", "old"},
		{"a rotation that is complete", "new", "", "old", "new", "old new"},
		{"one that is not", "old", "new", "", "new", "old new"},
		{"one that has gone wrong", "new", "", "older", "older", "old new older"},
		{"none", "new", "newer", "older", "", "old new newer older"},
		{"none, and all are the same", "old", "old", "old", "", "old"},
		{"none, and there is no other", "old", "", "", "", "old"},
	} {
		t.Run(v.name, func(t *testing.T) {
			store := &secret{}
			source := &password.Source{Client: store, Secret: "app"}
			store.set("AWSCURRENT", of("app", "old"))
			if _, err := source.Token(t.Context()); err != nil {
				t.Fatal(err)
			}
			for label, value := range map[string]string{"AWSCURRENT": v.current, "AWSPENDING": v.pending, "AWSPREVIOUS": v.previous} {
				if value != "" {
					store.set(label, of("app", value))
				}
			}
			if got := strings.Join(passwords(t, source.Passwords(t.Context()), v.taken), " "); got != v.want {
				t.Errorf("tried %q, want %q", got, v.want)
			}
		})
	}
}

// The version that is pending becomes the current one after AWSCURRENT was read, and
// before AWSPENDING is.
func TestAPromotionBetweenTwoReadingsIsNotMissed(t *testing.T) {
	store := &secret{}
	store.set("AWSCURRENT", of("app", "old"))
	source := &password.Source{Client: promoting{store}, Secret: "app"}
	if _, err := source.Token(t.Context()); err != nil {
		t.Fatal(err)
	}
	store.set("AWSPENDING", of("app", "new"))
	if got := strings.Join(passwords(t, source.Passwords(t.Context()), "new"), " "); got != "old new" {
		t.Errorf("tried %q", got)
	}
}

type promoting struct{ *secret }

func (p promoting) GetSecretValue(ctx context.Context, in *secretsmanager.GetSecretValueInput, o ...func(*secretsmanager.Options)) (*secretsmanager.GetSecretValueOutput, error) {
	if *in.VersionStage == "AWSPENDING" {
		p.promote()
	}
	return p.secret.GetSecretValue(ctx, in, o...)
}

func TestASecretIsReadByOneForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := make(chan struct{})
		store := &secret{slow: slow}
		store.set("AWSCURRENT", of("app", "old"))
		source := &password.Source{Client: store, Secret: "app"}
		ask := func(f func()) {
			for range 50 {
				go f()
			}
			synctest.Wait()
		}
		token := func() {
			if token, err := source.Token(t.Context()); err != nil || token.Password != "old" || token.User != "app" {
				t.Errorf("Token() = %v, %v", token, err)
			}
		}
		impatient, cancel := context.WithCancel(t.Context())
		go source.Token(impatient)
		synctest.Wait()
		cancel() // which is nothing to the others
		ask(token)
		close(slow)
		synctest.Wait()
		if got := store.readings(); !maps.Equal(got, map[string]int{"AWSCURRENT": 1}) {
			t.Errorf("at the start the secret was read %v", got)
		}
		store.slow = make(chan struct{})
		store.set("AWSCURRENT", of("app", "new"))
		ask(func() {
			if got := passwords(t, source.Passwords(t.Context()), "new"); len(got) != 2 {
				t.Errorf("tried %q", got)
			}
		})
		close(store.slow)
		synctest.Wait()
		// Who was refused when the first had asked already cannot know what that will be told.
		if got := store.readings(); len(got) != 1 || got["AWSCURRENT"] > 2 {
			t.Errorf("after the refusal the secret was read %v", got)
		}
	})
}

func TestWhatIsRefusedAltogetherIsNotReadForEverySignIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &secret{}
		store.set("AWSCURRENT", of("app", "wrong"))
		source := &password.Source{Client: store, Secret: "app"}
		passwords(t, source.Passwords(t.Context()), "")
		store.readings()
		for range 100 {
			passwords(t, source.Passwords(t.Context()), "")
		}
		if got := store.readings(); len(got) != 0 {
			t.Errorf("within the second the secret was read %v", got)
		}
		<-time.After(2 * time.Second)
		store.set("AWSCURRENT", of("app", "right"))
		if got := passwords(t, source.Passwords(t.Context()), "right"); len(got) != 2 {
			t.Errorf("after it %q were tried", got)
		}
	})
}

func TestAnOldPasswordIsUsedOnWhileSecretsManagerIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		store := &secret{}
		store.set("AWSCURRENT", of("app", "old"))
		source := &password.Source{Client: store, Secret: "app", MaxAge: time.Minute, Log: slog.New(slog.NewTextHandler(&log, nil))}
		expect := func(when, want string, reads int) {
			t.Helper()
			token, err := source.Token(t.Context())
			if err != nil || token.Password != want {
				t.Errorf("%s: Token() = %q, %v, want %q", when, token.Password, err, want)
			}
			if got := store.readings()["AWSCURRENT"]; got != reads {
				t.Errorf("%s: the secret was read %d times, want %d", when, got, reads)
			}
		}
		expect("first", "old", 1)
		store.set("AWSCURRENT", of("app", "new"))
		<-time.After(53 * time.Second)
		expect("before its time", "old", 0)
		store.fail(errors.New("Secrets Manager is away"))
		<-time.After(14 * time.Second)
		expect("an error", "old", 1)
		expect("right behind it", "old", 0)
		store.fail(nil)
		store.slow = make(chan struct{})
		<-time.After(time.Minute)
		start := time.Now()
		expect("no answer", "old", 1)
		if waited := time.Since(start); waited > 2*time.Second {
			t.Errorf("waited %v", waited)
		}
		close(store.slow)
		synctest.Wait()
		expect("an answer", "new", 0)
		if got := passwords(t, source.Passwords(t.Context()), "new"); len(got) != 1 {
			t.Errorf("tried %q", got)
		}
		store.fail(errors.New("Secrets Manager is away"))
		if got := strings.Join(passwords(t, source.Passwords(t.Context()), ""), " "); got != "new error" {
			t.Errorf("tried %q, want the error at once", got)
		}
		if !strings.Contains(log.String(), "is away") {
			t.Error("nothing was logged")
		}
	})
}

func TestWhatASecretMayBe(t *testing.T) {
	const value = "s3cr3t-of-this-test"
	for _, v := range []struct{ secret, user string }{
		{`{"username":"app","password":"s3cr3t-of-this-test"}`, "app"},
		{`{"authToken":"s3cr3t-of-this-test","replicationGroupId":"orders"}`, "default"},
		{`{"username":"default","authToken":"s3cr3t-of-this-test"}`, "default"},
		{`{"username":"app","authToken":"s3cr3t-of-this-test"}`, ""},
		{`{"username":"app"}`, ""},
		{`{"password":"s3cr3t-of-this-test"}`, "whoever"},
		{`{"username":"app","password":"s3cr3t-of-this-test","authToken":"s3cr3t-of-this-test"}`, ""},
		{`[]`, ""},
		{`{"username":"app","password":["s3cr3t-of-this-test"]}`, ""},
		{`s3cr3t-of-this-test`, "whoever"},
		{"s3cr3t-of-this-test\r\nFLUSHALL", ""},
		{`"s3cr3t-of-this-test"`, ""},
		{``, ""},
	} {
		store := &secret{}
		store.set("AWSCURRENT", v.secret)
		source := &password.Source{Client: store, Secret: "app", User: "whoever"}
		token, err := source.Token(t.Context())
		switch {
		case v.user == "" && (err == nil || strings.Contains(err.Error(), "s3c") || !strings.Contains(err.Error(), `secret "app"`)):
			t.Errorf("%s: %v", v.secret, err)
		case v.user != "" && (err != nil || token.User != v.user || token.Password != value):
			t.Errorf("%s: %v, %v", v.secret, token, err)
		}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
			if got := fmt.Sprintf(verb, source); strings.Contains(got, value) || !strings.Contains(got, "app") {
				t.Errorf("%s prints %s", verb, got)
			}
		}
	}
}

func TestASourceThatLacksAFieldSaysSo(t *testing.T) {
	for _, source := range []*password.Source{{Secret: "app"}, {Client: &secret{}}} {
		if _, err := source.Token(t.Context()); err == nil || !strings.Contains(err.Error(), "needs a Client and a Secret") {
			t.Errorf("%v: %v", source, err)
		}
	}
}

func TestAPasswordOfNobodyIsThatOfDefault(t *testing.T) {
	store := &secret{}
	store.set("AWSCURRENT", "s3cr3t-of-this-test")
	source := &password.Source{Client: store, Secret: "app"}
	if token, err := source.Token(t.Context()); err != nil || token.User != "default" {
		t.Errorf("%v, %v", token, err)
	}
}

// promote has AWSPENDING become AWSCURRENT, and that AWSPREVIOUS.
func (s *secret) promote() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.versions["AWSPREVIOUS"], s.versions["AWSCURRENT"] = s.versions["AWSCURRENT"], s.versions["AWSPENDING"]
	delete(s.versions, "AWSPENDING")
}

// syncBuilder is a strings.Builder for many goroutines.
type syncBuilder struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *syncBuilder) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *syncBuilder) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
