package emulator_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rediam/rediam/emulator"
	"github.com/rediam/rediam/internal/installed"
	"github.com/rediam/rediam/internal/statefile"
)

func reopen(t *testing.T, config emulator.Config) *emulator.Server {
	t.Helper()
	srv, err := emulator.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	return srv
}

func TestAnEmulatorWithAStateIsTheSameAgain(t *testing.T) {
	config := emulator.Config{Engine: "embedded", State: filepath.Join(t.TempDir(), "state")}
	srv := reopen(t, config)
	must(t, srv.PutUser(emulator.User{Name: "second", Access: "on ~* +@all"}))
	must(t, srv.PutGroup(emulator.Group{ID: "demo-users", Users: []string{"demo-default", "demo-user", "second"}}))
	must(t, srv.PutCache(emulator.Cache{Name: "other", Group: "demo-users"}))
	must(t, srv.PutCache(emulator.Cache{Name: "gone"}))
	must(t, srv.DeleteCache("gone"))
	credentials, err := srv.Credentials(emulator.DefaultRole).Retrieve(t.Context())
	must(t, err)
	environ, trust := srv.Environ(), srv.Cache("other").TLS
	authority, err := os.ReadFile(srv.CAFile())
	must(t, err)
	addresses := []string{srv.Cache("demo").Addr, srv.Cache("other").Addr}
	must(t, srv.Close())

	again := reopen(t, config)
	here := func(environ []string) []string { // the file of the authority goes with the emulator
		return slices.DeleteFunc(environ, func(v string) bool { return strings.HasPrefix(v, "REDIAM_CA=") })
	}
	if got, want := here(again.Environ()), here(environ); !slices.Equal(got, want) {
		t.Errorf("environment %q, want %q", got, want)
	}
	if got := []string{again.Cache("demo").Addr, again.Cache("other").Addr}; !slices.Equal(got, addresses) {
		t.Errorf("caches at %q, want %q", got, addresses)
	}
	if now, err := os.ReadFile(again.CAFile()); err != nil || !bytes.Equal(now, authority) {
		t.Errorf("the authority is another one: %v", err)
	}
	conn, err := tls.Dial("tcp", addresses[1], trust)
	must(t, err)
	conn.Close()
	if _, ok := again.Role(emulator.DefaultRole); !ok {
		t.Error("the role is gone")
	}
	if key, err := again.Credentials(emulator.DefaultRole).Retrieve(t.Context()); err != nil || key.AccessKeyID == credentials.AccessKeyID {
		t.Errorf("new credentials: %v", err)
	}
}

// Nothing that has been taken away comes back.
func TestAStateHasNoDefaultSetUpOfItsOwn(t *testing.T) {
	config := emulator.Config{Engine: "embedded", State: filepath.Join(t.TempDir(), "state")}
	srv := reopen(t, config)
	must(t, srv.DeleteCache(emulator.DefaultCache))
	must(t, srv.Close())
	if again := reopen(t, config); again.EngineOf(emulator.DefaultCache) != "" {
		t.Error("the cache is there again")
	}
}

func TestAStateThatDoesNotFitIsRefused(t *testing.T) {
	dir := t.TempDir()
	config := emulator.Config{Engine: "embedded", State: filepath.Join(dir, "state")}
	srv := reopen(t, config)
	refused := func(what string, c emulator.Config, want string) {
		t.Helper()
		before, err := os.ReadFile(c.State)
		must(t, err)
		if srv, err := emulator.Open(context.Background(), c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want …%s…", what, err, want)
			if err == nil {
				srv.Close()
			}
		}
		if after, err := os.ReadFile(c.State); err != nil || !bytes.Equal(before, after) {
			t.Errorf("%s: the file has changed: %v", what, err)
		}
	}
	refused("in use", config, "in use by another process")
	address := srv.Cache(emulator.DefaultCache).Addr
	must(t, srv.Close())
	elsewhere := config
	elsewhere.Region = "eu-west-1"
	refused("another region", elsewhere, "is of account 123456789012 in us-east-1, not of")
	taken, err := net.Listen("tcp", address)
	must(t, err)
	refused("a port that is taken", config, "the state file says that it is ours")
	taken.Close()
	content, err := os.ReadFile(config.State)
	must(t, err)
	must(t, os.WriteFile(config.State, content[:len(content)-100], 0o600))
	refused("a file that was cut", config, "is damaged, and has been left as it is")
	must(t, os.WriteFile(config.State, bytes.Replace(content, []byte("demo-user"), []byte("root-user"), 1), 0o600))
	refused("a file that was changed", config, "is damaged, and has been left as it is")
}

// What cannot be saved is refused, and has not happened.
func TestWhatCannotBeSavedIsRefused(t *testing.T) {
	dir := t.TempDir()
	srv := reopen(t, emulator.Config{Engine: "embedded", State: filepath.Join(dir, "sub", "..", "state")})
	must(t, os.Rename(dir, dir+"-away"))
	defer os.Rename(dir+"-away", dir)
	if err := srv.PutUser(emulator.User{Name: "second"}); err == nil || !strings.Contains(err.Error(), "could not be saved") {
		t.Errorf("PutUser() = %v", err)
	}
	must(t, os.Rename(dir+"-away", dir))
	must(t, srv.PutUser(emulator.User{Name: "second"}))
}

// An emulator may be killed between any two of its changes of the file.
func TestAStateThatWasBeingChangedIsMended(t *testing.T) {
	config := emulator.Config{Engine: "embedded", State: filepath.Join(t.TempDir(), "state")}
	srv := reopen(t, config)
	must(t, srv.PutCache(emulator.Cache{Name: "gone"}))
	environ, address := srv.Environ(), srv.Cache("gone").Addr
	must(t, srv.Close())
	file, err := statefile.Open(config.State)
	must(t, err)
	must(t, file.Put(map[string][]byte{"world/cache/gone": nil, "emulator/admin": nil}))
	must(t, file.Close())
	taken, err := net.Listen("tcp", address)
	must(t, err)
	defer taken.Close()
	again := reopen(t, config)
	must(t, again.PutCache(emulator.Cache{Name: "gone"})) // elsewhere
	if !slices.Equal(again.Environ()[:5], environ[:5]) {
		t.Errorf("environment %q, want %q", again.Environ(), environ)
	}
}

// On a disk that is full, what is not acknowledged is not there, and what was is.
func TestAFullDiskLosesNothing(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=128k", "none", dir).CombinedOutput(); err != nil {
		installed.Missing(t, "tmpfs", fmt.Errorf("%w: %s", err, out))
	}
	t.Cleanup(func() { exec.Command("umount", dir).Run() })
	config := emulator.Config{Engine: "embedded", State: filepath.Join(dir, "state")}
	srv := reopen(t, config)
	user := func(i int) emulator.User { return emulator.User{Name: fmt.Sprintf("user-%d", i)} }
	made, err := 0, error(nil)
	for err == nil {
		made++
		err = srv.PutUser(user(made))
	}
	if !strings.Contains(err.Error(), "no space left") {
		t.Fatalf("user %d: %v", made, err)
	}
	check := func(srv *emulator.Server) {
		t.Helper()
		for i, there := range map[int]bool{made - 1: true, made: false} {
			err := srv.PutGroup(emulator.Group{ID: "g", Engine: "valkey", Users: []string{user(i).Name}})
			if found := err == nil || strings.Contains(err.Error(), "no space left"); found != there {
				t.Errorf("user %d of %d: %v", i, made, err)
			}
		}
	}
	check(srv)
	must(t, srv.Close())
	content, err := os.ReadFile(config.State)
	must(t, err)
	config.State = filepath.Join(t.TempDir(), "state") // where there is room
	must(t, os.WriteFile(config.State, content, 0o600))
	check(reopen(t, config))
}
