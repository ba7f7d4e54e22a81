package clients_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/rediam/rediam/emulator"
	"github.com/redis/go-redis/v9"
)

// A function as AWS's template for users of ElastiCache has it, but that it checks all
// that it is answered, rotates the password of a user of a cache.
func TestAFunctionInPythonRotatesAUser(t *testing.T) {
	program := python(t, "boto3", "boto3", "rotation.py")
	const first = "the-first-password-1"
	var log bytes.Buffer
	srv := emulator.Start(t, emulator.Config{Engine: "embedded", StateDelay: time.Second, Log: slog.New(slog.NewTextHandler(&log, nil)),
		Functions: map[string]string{"rotate-user": strings.Join(program, " ")}})
	must(t, srv.PutUser(emulator.User{Name: "app", ID: "app", Auth: emulator.AuthPassword, Passwords: []emulator.Secret{first}, Access: "on ~* +@all"}))
	must(t, srv.PutGroup(emulator.Group{ID: "demo-users", Users: []string{"demo-default", "demo-user", "app"}}))
	second, ok := program.run(t, append(srv.Environ(), "PASSWORD="+first), "app", srv.FunctionARN("rotate-user"))
	var problems []error
	for _, password := range []string{first, second} {
		cache := srv.Cache(emulator.DefaultCache)
		db := redis.NewClient(&redis.Options{Addr: cache.Addr, TLSConfig: cache.TLS, Username: "app", Password: password, MaxRetries: -1})
		problems = append(problems, db.Ping(t.Context()).Err(), db.Close())
	}
	must(t, srv.Close())
	if err := errors.Join(problems...); !ok || err != nil || strings.Contains(log.String(), first) || strings.Contains(log.String(), second) {
		t.Fatalf("it prints %q, PING fails: %v; the emulator's log has\n%s", second, err, &log)
	}
}
