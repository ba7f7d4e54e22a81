package world

import "time"

// What may be under way with a user, a user group or a cache, in AWS's words. Of
// what is not under way, Describe says active or available.
const (
	creating  = "creating"
	modifying = "modifying"
	updating  = "updating" // of a MemoryDB cluster
	deleting  = "deleting"

	active       = "active"        // users and user groups
	available    = "available"     // caches
	createFailed = "create-failed" // a cache whose engine does not start
)

// A state is what is under way, for StateDelay. The change itself has been made at
// its beginning: only what Describe says of it comes later.
type state struct {
	Doing string    `json:",omitempty"`
	Until time.Time `json:",omitzero"`
}

// begin is the state of a change that begins now.
func (w *World) begin(doing string) state {
	if w.StateDelay <= 0 {
		return state{}
	}
	return state{doing, w.now().Add(w.StateDelay)}
}

// underWay is what is under way; empty if nothing is.
func (w *World) underWay(s state) string {
	if w.now().Before(s.Until) {
		return s.Doing
	}
	return ""
}

// gone is whether something was deleted and its delay is over.
func (w *World) gone(s state) bool { return s.Doing == deleting && !w.now().Before(s.Until) }

// sweepGone throws away what is gone.
func (w *World) sweepGone() {
	for key, u := range w.users.rows {
		if w.gone(u.State) {
			w.users.delete(key)
		}
	}
	for key, g := range w.groups.rows {
		if w.gone(g.State) {
			w.groups.delete(key)
		}
	}
	for key, c := range w.caches.rows {
		if w.gone(c.State) {
			w.caches.delete(key)
		}
	}
	for key, secret := range w.secrets.rows {
		if w.forgotten(secret) {
			w.secrets.delete(key)
		}
	}
}

// A Behind is the error of a change that is made and saved, but that a listener
// has not followed.
type Behind struct{ Err error }

func (b *Behind) Error() string { return b.Err.Error() }
func (b *Behind) Unwrap() error { return b.Err }
