package gate

import (
	"crypto/sha256"
	"maps"
	"sync"
	"time"
)

// reasonReused is the reason for a token that has been used before, where that is
// refused.
const reasonReused = "token-reused"

// used remembers tokens by their hash until they have expired. AWS forbids no
// reuse: within its 15 minutes a token opens any number of connections.
type used struct {
	mu    sync.Mutex // guards below
	until map[[sha256.Size]byte]time.Time
	sweep time.Time
}

// first notes a token and is whether it had not been noted before.
func (u *used) first(token string, now, expires time.Time) bool {
	hash := sha256.Sum256([]byte(token))
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.until == nil {
		u.until = map[[sha256.Size]byte]time.Time{}
	}
	if now.After(u.sweep) {
		maps.DeleteFunc(u.until, func(_ [sha256.Size]byte, until time.Time) bool { return now.After(until) })
		u.sweep = now.Add(time.Minute)
	}
	_, again := u.until[hash]
	u.until[hash] = expires
	return !again
}
