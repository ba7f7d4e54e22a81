package gate

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/rediam/rediam/internal/sigv4"
)

// reasonReused is the reason for a token that has been used before, where that is
// refused.
const reasonReused = "token-reused"

// used remembers tokens until they have expired, by the hash of what they say: the
// same signature can be printed in several ways. AWS forbids no reuse: within its
// 15 minutes a token opens any number of connections.
type used struct {
	mu    sync.Mutex // guards below
	until map[[sha256.Size]byte]time.Time
	sweep time.Time
}

// first notes a token and is whether it had not been noted before.
func (u *used) first(token sigv4.Claims, now time.Time) bool {
	hash := sha256.Sum256(fmt.Appendf(nil, "%#v", token))
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
	u.until[hash] = token.Expires
	return !again
}
