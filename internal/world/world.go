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

	"github.com/rediam/rediam/internal/acl"
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

	mu       sync.RWMutex // guards all below
	offset   time.Duration
	users    map[userKey]user
	groups   map[groupKey]Group
	caches   map[string]Cache // by name: replication groups, serverless caches and clusters share no names here
	iam      map[string]*account
	keys     map[string]Key
	sweep    time.Time // when expired keys are next thrown away
	changed  []func() error
	changing sync.Mutex // makes one change, with its callbacks, at a time
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
		users:     map[userKey]user{},
		groups:    map[groupKey]Group{},
		caches:    map[string]Cache{},
		iam:       map[string]*account{},
		keys:      map[string]Key{},
	}
	return w
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
// error code, such as UserNotFound.
type Error struct{ Code, Message string }

func (e *Error) Error() string { return e.Code + ": " + e.Message }

func errorf(code, format string, args ...any) *Error {
	return &Error{code, fmt.Sprintf(format, args...)}
}

// OnChange has f called after every change, the clock's included, before the
// call that made the change returns, which returns what f does: the world is then
// changed all the same. f may read the world but not change it. Call it before the
// world is shared.
func (w *World) OnChange(f func() error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.changed = append(w.changed, f)
}

// change runs f under the lock and, if it returns nil, tells the listeners.
func (w *World) change(f func() error) error {
	w.changing.Lock()
	defer w.changing.Unlock()
	if err := w.locked(f); err != nil {
		return err
	}
	w.mu.RLock()
	listeners := w.changed
	w.mu.RUnlock()
	var problems []error
	for _, f := range listeners {
		problems = append(problems, f())
	}
	return errors.Join(problems...)
}

func (w *World) locked(f func() error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return f()
}

// Now is the time in the world: that of this machine, moved on by Advance.
func (w *World) Now() time.Time {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return time.Now().Add(w.offset)
}

// maxOffset is how far the clock may be moved on.
const maxOffset = 100 * 365 * 24 * time.Hour

// Advance moves the clock on, by a hundred years in all at most. When it returns,
// all that the new time ends has ended. It does nothing if d is negative: time does not run backwards here.
func (w *World) Advance(d time.Duration) {
	if d <= 0 {
		return
	}
	w.change(func() error {
		w.offset += min(d, maxOffset-w.offset)
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

// user is a User with its access string parsed.
type user struct {
	User
	access *acl.Access
}
