package world_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rediam/rediam/internal/world"
)

func TestListenersHearOfEachChangeOnceAndAfterIt(t *testing.T) {
	w := world.New("", "")
	heard := 0
	w.OnChange(func() error { heard++; return nil })
	// Both listeners are called, and may read the world: the change is there.
	var names []string
	w.OnChange(func() error {
		names = nil
		for _, c := range w.Caches() {
			names = append(names, c.Name)
		}
		return nil
	})
	must(t, w.PutUser(offDefault), w.PutUser(app), w.PutGroup(world.Group{ID: "orders", Users: []string{"orders-default", "orders-app"}}),
		w.PutCache(world.Cache{Name: "demo"}))
	if heard != 4 || len(names) != 1 || names[0] != "demo" {
		t.Errorf("heard of %d changes, want 4, and saw the caches %v", heard, names)
	}
	refused(t, "an unknown group", w.PutCache(world.Cache{Name: "other", Group: "nobody"}), "UserGroupNotFound", "")
	w.Advance(-time.Hour)
	w.Advance(0)
	if heard != 4 {
		t.Errorf("heard of %d changes after those that were none, want 4", heard)
	}
	w.Advance(time.Second)
	must(t, w.DeleteUser(world.ElastiCache, "orders-app"), w.DeleteCache("demo"))
	if heard != 7 || len(names) != 0 {
		t.Errorf("heard of %d changes, want 7, and saw the caches %v", heard, names)
	}
}

func TestAdvanceMovesTheClockOnAndNeverBack(t *testing.T) {
	w := world.New("", "")
	start := w.Now()
	if real := time.Since(start); real < 0 || real > time.Hour {
		t.Errorf("a new world is %v from this machine's clock", real)
	}
	w.Advance(12 * time.Hour)
	w.Advance(time.Minute)
	w.Advance(-24 * time.Hour)
	if passed := w.Now().Sub(start); passed < 12*time.Hour+time.Minute {
		t.Errorf("%v passed, want 12h1m at least", passed)
	}
}

func TestSecretsNeverPrint(t *testing.T) {
	const token, other = "the-session-token", "the-second-password"
	key := world.Key{ID: "AKIDSHOWN", Secret: password, SessionToken: token}
	user := world.User{Name: "AKIDSHOWN", Auth: world.AuthPassword, Passwords: []world.Secret{password, other}}
	member := world.Member{User: user}
	w := world.New("AKIDSHOWN", "")
	must(t, w.PutUser(world.User{Name: "u", Auth: world.AuthPassword, Passwords: []world.Secret{password, other}}))
	for name, v := range map[string]any{
		"secret": struct {
			ID     string
			Secret world.Secret
		}{"AKIDSHOWN", password},
		"key": key, "pointer to a key": &key, "keys": []world.Key{key}, "map of keys": map[string]world.Key{"k": key},
		"key in a struct": struct{ Key world.Key }{key}, "pointer in a struct": struct{ Key *world.Key }{&key},
		"user": user, "pointer to a user": &user, "users": []world.User{user}, "member": member, "user in a struct": struct{ User any }{user}, "pointer to a user in a struct": struct{ User *world.User }{&user},
		"world": w,
	} {
		shown := map[string]string{}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			shown[verb] = fmt.Sprintf(verb, v)
		}
		encoded, err := json.Marshal(v)
		must(t, err)
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("m", "v", v)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "v", v)
		shown["JSON"], shown["slog"] = string(encoded), log.String()
		for how, text := range shown {
			for _, secret := range []string{password, token, other} {
				lower := strings.ToLower(text)
				if strings.Contains(lower, secret) || strings.Contains(lower, fmt.Sprintf("%x", secret)) || strings.Contains(lower, strings.Trim(fmt.Sprint([]byte(secret)), "[]")) {
					t.Errorf("%s under %s shows a secret: %s", name, how, text)
				}
			}
		}
		if !strings.Contains(shown["%s"], "AKIDSHOWN") {
			t.Errorf("%s under %%s shows nothing: %s", name, shown["%s"])
		}
	}
}

// Under the race detector this sees a read or write without the lock.
func TestAWorldIsChangedWhileItIsInUse(t *testing.T) {
	w := withGroup(t)
	must(t, w.PutRole(world.Role{Name: "r"}), w.PutCache(world.Cache{Name: "demo", Group: "orders"}))
	arn, err := w.PutPolicy("p", policyOf(allow("elasticache:Connect", "*")))
	must(t, err)
	heard := 0
	w.OnChange(func() error { heard++; return nil }) // one change at a time: no lock
	const rounds = 50
	var group sync.WaitGroup
	for _, f := range []func(i int) error{
		func(int) error { return w.PutRole(world.Role{Name: "r", Attached: []string{arn}}) },
		func(int) error { _, err := w.PutPolicy("p", policyOf(allow("elasticache:Connect", "*"))); return err },
		func(i int) error { return w.PutUser(world.User{Name: fmt.Sprintf("u%d", i)}) },
		func(int) error {
			return w.PutCache(world.Cache{Name: "demo", Group: "orders", Tags: map[string]string{"a": "b"}})
		},
		func(int) error { w.Advance(time.Minute); return nil },
	} {
		group.Go(func() {
			for i := range rounds {
				if err := f(i); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 2 {
		group.Go(func() {
			for range rounds {
				k, err := w.IssueSession("r", "race")
				if err != nil {
					t.Error(err)
				}
				k, _ = w.Key(k.ID)
				c, _ := w.Cache("demo")
				m, ok := w.Member("demo", "orders-app")
				w.Authorize(k, c, m.User, loopback)
				if w.Caches(); !ok {
					t.Error("the user is not there")
				}
			}
		})
	}
	group.Wait()
	if want := 3 * rounds; heard != want { // those of caches, users and the clock
		t.Errorf("heard of %d changes, want %d", heard, want)
	}
}

func TestTimeRunsForwardsAtMostAHundredYears(t *testing.T) {
	w := world.New("", "")
	before := w.Now()
	for range 5 {
		w.Advance(math.MaxInt64)
	}
	if moved := w.Now().Sub(before); moved < 99*365*24*time.Hour || moved > 101*365*24*time.Hour {
		t.Errorf("the clock has moved by %v", moved)
	}
}
