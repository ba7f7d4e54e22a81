package world_test

import (
	"errors"
	"maps"
	"reflect"
	"testing"
	"time"

	"github.com/rediam/rediam/internal/world"
)

// saved keeps what a world saves, as a file would.
func saved(w *world.World) map[string][]byte {
	all := map[string][]byte{}
	w.Save = func(records map[string][]byte) error {
		for key, record := range records {
			if record == nil {
				delete(all, key)
			} else {
				all[key] = record
			}
		}
		return nil
	}
	return all
}

func TestAWorldIsTheSameAfterSavingAndLoading(t *testing.T) {
	w := world.New("eu-west-1", "")
	records := saved(w)
	arn, err := w.PutPolicy("connect", policyOf(allow("elasticache:Connect", "*")))
	must(t, err, w.PutUser(offDefault), w.PutUser(app),
		w.PutUser(world.User{Name: "with-password", Auth: world.AuthPassword, Passwords: []world.Secret{"a-password-of-16-characters"}}),
		w.PutGroup(world.Group{ID: "orders", Users: []string{"orders-default", "orders-app"}}),
		w.PutCache(world.Cache{Name: "orders", Group: "orders", Tags: map[string]string{"env": "test"}}),
		w.PutCache(world.Cache{Kind: world.ServerlessCache, Name: "public", Public: true, Engine: "valkey", Version: "9.0", Group: "default.iam-user-group"}),
		w.PutCache(world.Cache{Name: "gone"}), w.DeleteCache("gone"),
		w.PutRole(world.Role{Name: "app", Attached: []string{arn}, Inline: map[string]string{"own": policyOf(deny("sts:*", "*"))}}))
	key := keyOf(t, w, allow("sts:AssumeRole", "*"))
	session, err := w.AssumeRole(key, world.AssumeRole{RoleARN: w.RoleARN("app"), Session: "one", Policy: policyOf(deny("elasticache:*", "*")), PolicyARNs: []string{arn}})
	must(t, err)
	w.Advance(48 * time.Hour)

	again := world.New("eu-west-1", "")
	must(t, again.Load(maps.Clone(records)))
	if moved := again.Now().Sub(w.Now()).Abs(); moved > time.Minute {
		t.Errorf("the clocks are %v apart", moved)
	}
	if got, want := again.Caches(), w.Caches(); !reflect.DeepEqual(got, want) {
		t.Errorf("caches %+v, want %+v", got, want)
	}
	if got, want := again.Members("orders"), w.Members("orders"); !reflect.DeepEqual(got, want) {
		t.Errorf("members %+v, want %+v", got, want)
	}
	if u, _ := again.User(world.ElastiCache, "with-password"); len(u.Passwords) != 1 || u.Passwords[0] != "a-password-of-16-characters" {
		t.Error("the password is not the same")
	}
	for _, k := range []world.Key{key, session} {
		was, _ := w.Key(k.ID)
		is, ok := again.Key(k.ID)
		if !ok || !reflect.DeepEqual(is, was) {
			t.Errorf("key %v, want %v", is, was)
		}
		c, _ := w.Cache("orders")
		m, _ := w.Member("orders", "orders-app")
		if got, want := again.Authorize(is, c, m.User, loopback), w.Authorize(was, c, m.User, loopback); got != want {
			t.Errorf("%v: verdict %+v, want %+v", is, got, want)
		}
	}
}

// What cannot be saved has not happened, nor has what fails half way.
func TestAChangeThatCannotBeSavedIsTakenBack(t *testing.T) {
	w := world.New("", "")
	must(t, w.PutUser(offDefault), w.PutUser(app), w.PutGroup(world.Group{ID: "orders", Users: []string{"orders-default", "orders-app"}}), w.PutCache(world.Cache{Name: "orders", Group: "orders"}))
	heard := 0
	w.OnChange(func() error { heard++; return nil })
	before := w.Members("orders")
	w.Save = func(map[string][]byte) error { return errors.New("the disk is full") }
	for name, change := range map[string]func() error{
		"a user deleted": func() error { return w.DeleteUser(world.ElastiCache, "orders-app") },
		"a user changed": func() error { u := app; u.Access = "off -@all"; return w.PutUser(u) },
		"a user made":    func() error { return w.PutUser(world.User{Name: "other"}) },
		"a cache made":   func() error { return w.PutCache(world.Cache{Name: "other"}) },
	} {
		var e *world.Error
		if err := change(); !errors.As(err, &e) || e.Code != "InternalFailure" {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.Save = nil
	if err := w.PutUser(world.User{ID: "orders-default", Name: "renamed", Auth: world.AuthNoPassword}); err == nil {
		t.Error("the group has no default user any more")
	}
	_, other := w.User(world.ElastiCache, "other")
	if got := w.Members("orders"); !reflect.DeepEqual(got, before) || len(w.Caches()) != 1 || other || heard != 0 {
		t.Errorf("members %+v, want %+v; %d caches; heard of %d changes", got, before, len(w.Caches()), heard)
	}
}

func TestRecordsThatAreDamagedAreRefused(t *testing.T) {
	for key, record := range map[string]string{"nothing/x": "{}", "user/elasticache/x": "{", "role/1/x": `{"Name":"x","Trust":"{"}`, "cache/x": "[]"} {
		if err := world.New("", "").Load(map[string][]byte{key: []byte(record)}); err == nil {
			t.Errorf("%s: %s is taken", key, record)
		}
	}
}
