package world

import (
	"fmt"
	"time"

	"github.com/rediam/rediam/internal/policy"
)

// A Key is an access key and whom it stands for.
type Key struct {
	ID           string
	Secret       Secret
	SessionToken Secret    // empty for a long-term key
	Expires      time.Time // zero for a long-term key
	Inactive     bool
	Created      time.Time
	Principal    Principal
	Session      []SessionPolicy  // none means that none were passed
	session      []*policy.Policy // the same, parsed
	Context      policy.Context   `json:",omitempty"` // condition keys of the session, such as aws:FederatedProvider
}

// A SessionPolicy limits a session of a role.
type SessionPolicy struct{ Name, Document string }

// Format prints whose key it is, whatever the verb.
func (k Key) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "{key %s of %s %s %s, session %q, expires %v}", k.ID, k.Principal.Type, k.Principal.Account, k.Principal.Name, k.Principal.Session, k.Expires)
}

// savedKey is a Key with its secrets in the open.
type savedKey struct {
	Key
	Secret, SessionToken string
}

func packKey(k Key) any { return savedKey{k, string(k.Secret), string(k.SessionToken)} }

func unpackKey(record []byte) (Key, error) {
	saved, err := fromJSON[savedKey](record)
	if err != nil {
		return Key{}, err
	}
	k := saved.Key
	k.Secret, k.SessionToken = Secret(saved.Secret), Secret(saved.SessionToken)
	for _, d := range k.Session {
		p, err := policy.Parse(policy.Identity, d.Name, []byte(d.Document))
		if err != nil {
			return Key{}, err
		}
		k.session = append(k.session, p)
	}
	return k, nil
}

// CreateAccessKey makes a long-term key of an IAM user of the world's account;
// an empty name means the account's root user.
func (w *World) CreateAccessKey(name string) (Key, error) { return w.createKey(name, false) }

// CreateOneOfTwoAccessKeys is CreateAccessKey under AWS's quota: two keys.
func (w *World) CreateOneOfTwoAccessKeys(name string) (Key, error) { return w.createKey(name, true) }

func (w *World) createKey(name string, quota bool) (Key, error) {
	k := Key{ID: "AKIA" + random32(10), Secret: Secret(random64(30)), Created: w.stamp()}
	err := w.change(func() (err error) {
		if k.Principal, err = w.holder(name); err != nil {
			return err
		}
		if quota && len(w.keysOf(k.Principal)) >= maxKeysPerUser {
			return errorf("LimitExceeded", "Cannot exceed quota for AccessKeysPerUser: %d", maxKeysPerUser)
		}
		w.keys.put(k.ID, k)
		return nil
	})
	return k, err
}

// holder is an IAM user as the holder of a key, or root if the name is empty.
func (w *World) holder(name string) (Principal, error) {
	if name == "" {
		return Principal{Account: w.Account, Type: Root, ID: w.Account}, nil
	}
	u, ok := w.iamUsers.get(named(w.Account, name))
	if !ok {
		return Principal{}, noUser(name)
	}
	return Principal{Account: w.Account, Type: AsIAMUser, Name: name, Path: u.Path, ID: u.ID}, nil
}

// keysOf are the long-term keys of a principal, by id.
func (w *World) keysOf(p Principal) []Key {
	keys := []Key{}
	for _, id := range w.keys.keys() {
		if k := w.keys.rows[id]; k.Principal.of(p.Account, p.Type, p.Name) && k.Expires.IsZero() {
			keys = append(keys, k)
		}
	}
	return keys
}

// AccessKeys are the long-term keys of an IAM user, or of root if the name is
// empty, by id.
func (w *World) AccessKeys(name string) ([]Key, error) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	p, err := w.holder(name)
	return w.keysOf(p), err
}

// UserKey finds a long-term key that an IAM user holds, or root.
func (w *World) UserKey(name, id string) (Key, error) {
	keys, err := w.AccessKeys(name)
	if err != nil {
		return Key{}, err
	}
	for _, k := range keys {
		if k.ID == id {
			return k, nil
		}
	}
	return Key{}, noKey(id)
}

// SetAccessKey makes a key active or inactive.
func (w *World) SetAccessKey(id string, active bool) error {
	return w.change(func() error {
		k, ok := w.keys.get(id)
		if !ok {
			return noKey(id)
		}
		k.Inactive = !active
		w.keys.put(id, k)
		return nil
	})
}

// DeleteAccessKey deletes a key.
func (w *World) DeleteAccessKey(id string) error {
	return w.change(func() error {
		if _, ok := w.keys.get(id); !ok {
			return noKey(id)
		}
		w.keys.delete(id)
		delete(w.used, id)
		return nil
	})
}

func noKey(id string) error {
	return errorf("NoSuchEntity", "The Access Key with id %.128s cannot be found.", id)
}

// A Use is when a key was last used for a call, and of what. It is not saved.
type Use struct {
	Time    time.Time
	Service string
}

// UseKey remembers that a long-term key is used.
func (w *World) UseKey(id, service string) {
	now := w.stamp()
	w.mu.Lock()
	defer w.mu.Unlock()
	if k, ok := w.keys.get(id); ok && k.Expires.IsZero() {
		w.used[id] = Use{now, service}
	}
}

// KeyUse is the last use of a key; zero if there was none.
func (w *World) KeyUse(id string) Use {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.used[id]
}

// Key finds an access key by its id, expired ones included for a while.
func (w *World) Key(id string) (Key, bool) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	k, ok := w.keys.get(id)
	return k, ok
}
