// Package world is what exists in the emulator: accounts with their IAM users,
// roles, keys and policies, cache users, user groups and caches, and the clock.
// It holds the rules of AWS about them and does no I/O.
package world

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// Zero values of New's arguments.
const (
	DefaultRegion  = "us-east-1"
	DefaultAccount = "123456789012"
)

// A World may be changed by many goroutines while it is in use. Values go in and
// come out as copies.
type World struct {
	// Partition, Region and Account are where the caches are; fixed by New.
	Partition, Region, Account string

	// Save, if it is not nil, is given every change before the call that makes it
	// returns: records by key, nil where one is gone. An error takes the change back.
	// It is called for one change at a time. Set it before the world is shared.
	Save func(records map[string][]byte) error `json:"-"`

	// StateDelay is how long a change that comes by AWS's API is shown as creating,
	// modifying or deleting; it is made at once all the same. Set it, and what
	// follows, before the world is shared.
	StateDelay time.Duration
	// SessionTTL shortens the life of temporary credentials; zero means not at all.
	SessionTTL time.Duration
	// OneNode is why a cache can have one node only; nil means that it can have several.
	OneNode error `json:"-"`

	mu        sync.RWMutex       // guards all below
	journal   journal            // of the change in progress
	users     table[user]        // by service and id
	groups    table[group]       // likewise
	caches    table[cache]       // by name: replication groups, serverless caches and clusters share no names here
	subnets   table[SubnetGroup] // by service and name
	iamUsers  table[iamUser]
	roles     table[role]    // both by account and name
	managed   table[managed] // policies by ARN
	profiles  table[InstanceProfile]
	instances table[Instance]
	oidc      table[OIDCProvider] // by URL
	issuers   table[issuer]       // likewise
	saml      table[samlProvider] // by name
	workloads table[Workload]     // by kind, namespace and name
	keys      table[Key]          // by id
	used      map[string]Use      // of long-term keys, by id
	holding   map[string]string   // keys of sessions, by id of the instance or workload that has got it last; not saved
	secrets   table[StoredSecret] // by name
	clock     table[time.Duration]
	tables    []saver
	running   map[string]RunningCache // by name of the cache; not saved; nil if nobody tells
	sweep     time.Time               // when expired keys are next thrown away
	changed   []func() error
	changing  sync.Mutex // makes one change, with its callbacks, at a time
}

// Format prints where the world is and none of what it holds: fmt would print the
// secrets in its unexported fields.
func (w *World) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "world %s %s %s", w.Partition, w.Region, w.Account)
}

// New is a world with nothing in it; empty arguments mean the defaults.
func New(region, accountID string) *World {
	w := &World{
		Partition: partitionOf(cmp.Or(region, DefaultRegion)),
		Region:    cmp.Or(region, DefaultRegion),
		Account:   cmp.Or(accountID, DefaultAccount),
		used:      map[string]Use{},
		holding:   map[string]string{},
		journal:   journal{changed: map[string]func() ([]byte, error){}},
	}
	add(w, &w.users, table[user]{name: "user", pack: packUser, unpack: unpackUser})
	add(w, &w.groups, table[group]{name: "group", pack: plain[group], unpack: fromJSON[group]})
	add(w, &w.caches, table[cache]{name: "cache", pack: packCache, unpack: unpackCache})
	add(w, &w.subnets, table[SubnetGroup]{name: "subnet-group", pack: plain[SubnetGroup], unpack: fromJSON[SubnetGroup], quiet: true})
	add(w, &w.iamUsers, table[iamUser]{name: "iam-user", pack: packIAMUser, unpack: unpackIAMUser, quiet: true})
	add(w, &w.roles, table[role]{name: "role", pack: packRole, unpack: unpackRole, quiet: true})
	add(w, &w.managed, table[managed]{name: "policy", pack: packManaged, unpack: unpackManaged, quiet: true})
	add(w, &w.profiles, table[InstanceProfile]{name: "instance-profile", pack: plain[InstanceProfile], unpack: fromJSON[InstanceProfile], quiet: true})
	add(w, &w.instances, table[Instance]{name: "instance", pack: plain[Instance], unpack: fromJSON[Instance]})
	add(w, &w.workloads, table[Workload]{name: "workload", pack: packWorkload, unpack: unpackWorkload, quiet: true})
	add(w, &w.oidc, table[OIDCProvider]{name: "oidc-provider", pack: plain[OIDCProvider], unpack: fromJSON[OIDCProvider], quiet: true})
	add(w, &w.issuers, table[issuer]{name: "issuer", pack: plain[issuer], unpack: unpackIssuer, quiet: true})
	add(w, &w.saml, table[samlProvider]{name: "saml-provider", pack: packSAMLProvider, unpack: unpackSAMLProvider, quiet: true})
	add(w, &w.keys, table[Key]{name: "key", pack: packKey, unpack: unpackKey, quiet: true})
	add(w, &w.secrets, table[StoredSecret]{name: "secret", pack: packSecret, unpack: unpackSecret, quiet: true})
	add(w, &w.clock, table[time.Duration]{name: "clock", pack: plain[time.Duration], unpack: fromJSON[time.Duration]})
	w.makePremade()
	return w
}

// add gives the world a table.
func add[V any](w *World, t *table[V], made table[V]) {
	made.rows, made.journal = map[string]V{}, &w.journal
	*t = made
	w.tables = append(w.tables, t)
}

// partitionOf is the partition of a region, which is what its ARNs begin with
// (AWS Fault Isolation Boundaries, "Partitions").
func partitionOf(region string) string {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(region, "us-gov-"):
		return "aws-us-gov"
	}
	return "aws"
}

// An Error is AWS's answer to a change that its rules forbid. Code is AWS's
// error code, such as UserNotFound. Detail is what the emulator knows besides, for
// the log; it is no part of the answer.
type Error struct{ Code, Message, Detail string }

func (e *Error) Error() string {
	if e.Detail != "" {
		return e.Code + ": " + e.Message + " (" + e.Detail + ")"
	}
	return e.Code + ": " + e.Message
}

func errorf(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// OnChange has f called after every change of caches, their users and groups, of instances and of
// the clock, before the call that made the change returns, which returns what f does,
// as a *Behind: the world is then changed all the same. f may read the world but not change it.
// Call it before the world is shared.
func (w *World) OnChange(f func() error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.changed = append(w.changed, f)
}

// change runs f under the lock, saves what it has changed and tells the listeners.
// If f or Save returns an error, nothing is changed.
func (w *World) change(f func() error) error {
	w.changing.Lock()
	defer w.changing.Unlock()
	records, loud, err := w.try(f)
	if err != nil {
		return err
	}
	if w.Save != nil && len(records) > 0 {
		if err := w.Save(records); err != nil {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.journal.back()
			return &Error{Code: "InternalFailure", Message: "the change could not be saved: " + err.Error()}
		}
	}
	w.mu.Lock()
	w.journal.clear()
	listeners := w.changed
	w.mu.Unlock()
	if !loud {
		return nil
	}
	var problems []error
	for _, f := range listeners {
		problems = append(problems, f())
	}
	if err := errors.Join(problems...); err != nil {
		return &Behind{err}
	}
	return nil
}

// try runs f, and takes back what it has done if it fails.
func (w *World) try(f func() error) (records map[string][]byte, loud bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sweepGone()
	if err = f(); err == nil && w.Save != nil {
		records, err = w.journal.records()
	}
	if err != nil {
		w.journal.back()
	}
	return records, w.journal.loud, err
}

// Now is the time in the world: that of this machine, moved on by Advance.
func (w *World) Now() time.Time {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.now()
}

// now is Now under the lock.
func (w *World) now() time.Time { return time.Now().Add(w.clock.rows[""]) }

// maxOffset is how far the clock may be moved on.
const maxOffset = 100 * 365 * 24 * time.Hour

// Advance moves the clock on, by a hundred years in all at most. When it returns,
// all that the new time ends has ended. It does nothing if d is negative: time does not run backwards here.
func (w *World) Advance(d time.Duration) {
	if d <= 0 {
		return
	}
	w.change(func() error {
		offset := w.clock.rows[""]
		w.clock.put("", offset+min(d, maxOffset-offset))
		return nil
	})
}

// A Secret is a string that does not print, log or marshal itself. Package fmt
// does not ask it below an unexported field, nor below a pointer under %s: structs
// with secrets have a Format method of their own.
type Secret string

const redacted = "[redacted]"

// Format prints a mark in place of the secret, whatever the verb.
func (Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, redacted) }

// MarshalText writes a mark in place of the secret; log/slog and JSON use it.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// arn makes the name of a resource in this world's partition.
func (w *World) arn(service, region, account, resource string) string {
	return "arn:" + w.Partition + ":" + service + ":" + region + ":" + account + ":" + resource
}
