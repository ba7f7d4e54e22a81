package gate

import (
	"maps"
	"sync"
	"time"

	"github.com/rediam/rediam/internal/sigv4"
)

// reasonReused is the reason for a token that has been used before, where that is
// refused.
const reasonReused = "token-reused"

// used remembers tokens until they have expired, by what they say: the same signature
// can be printed in several ways. AWS forbids no reuse: within its 15 minutes a token
// opens any number of connections.
type used struct {
	mu     sync.Mutex // guards below
	tokens map[sigv4.Claims]bool
	sweep  time.Time
}

// first notes a token and is whether it had not been noted before.
func (u *used) first(token sigv4.Claims, now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.tokens == nil {
		u.tokens = map[sigv4.Claims]bool{}
	}
	if now.After(u.sweep) {
		maps.DeleteFunc(u.tokens, func(c sigv4.Claims, _ bool) bool { return now.After(c.Expires) })
		u.sweep = now.Add(time.Minute)
	}
	again := u.tokens[token]
	u.tokens[token] = true
	return !again
}
