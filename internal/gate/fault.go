package gate

import (
	"sync"
	"time"
)

// The errors that AWS's caches answer to sign-ins besides WRONGPASS (ElastiCache
// user guide, "Authenticating with IAM" and "Connecting to a cache with a public
// endpoint").
const (
	ErrIAMUnavailable = "ERR IAM Authentication service is not available"
	ErrThrottled      = "ERR Exceeded limit of IAM Authentication requests"
	ErrUnavailable    = "ERR service is not available"
)

// reasonFault is the reason of a refusal that was asked for.
const reasonFault = "fault"

// maxLatency bounds what a fault may add to an answer.
const maxLatency = time.Minute

// A Fault is trouble that a cache makes because a test wants it. The zero value is
// none.
type Fault struct {
	// SignIn is the error that every sign-in with IAM gets, such as
	// ErrIAMUnavailable for an outage of IAM; empty for none.
	SignIn string `json:"signIn,omitempty"`
	// SignInsPerSecond is how many sign-ins with IAM may be tried in a second of
	// this machine's clock; others get ErrThrottled. Zero means no limit.
	SignInsPerSecond int `json:"signInsPerSecond,omitempty"`
	// SignInsAtOnce is how many sign-ins with IAM may be under way at one time, each
	// from when it is read until its answer is about to be written; others get
	// ErrThrottled. Zero means no limit.
	SignInsAtOnce int `json:"signInsAtOnce,omitempty"`
	// Latency is how much later answers come, a minute at most.
	Latency time.Duration `json:"-"`
}

// trouble is a Fault at work.
type trouble struct {
	mu     sync.Mutex // guards below
	fault  Fault
	left   float64 // sign-ins that the limit still allows
	filled time.Time
	atOnce int // sign-ins under way but for those above the limit, whatever limit there is
}

func (t *trouble) set(f Fault, now time.Time) {
	f.Latency = min(f.Latency, maxLatency)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fault, t.left, t.filled = f, float64(f.SignInsPerSecond), now
}

func (t *trouble) latency() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.fault.Latency
}

// enter counts a sign-in as one under way, until leave, unless it is one too many.
func (t *trouble) enter() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fault.SignInsAtOnce > 0 && t.atOnce >= t.fault.SignInsAtOnce {
		return false
	}
	t.atOnce++
	return true
}

func (t *trouble) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.atOnce--
}

// signIn is the error for one sign-in with IAM, which may be one too many at once,
// or "".
func (t *trouble) signIn(now time.Time, tooMany bool) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.fault.SignIn != "":
		return t.fault.SignIn
	case tooMany:
		return ErrThrottled
	case t.fault.SignInsPerSecond == 0:
		return ""
	}
	limit := float64(t.fault.SignInsPerSecond)
	t.left = min(limit, t.left+limit*now.Sub(t.filled).Seconds())
	t.filled = now
	if t.left < 1 {
		return ErrThrottled
	}
	t.left--
	return ""
}

// SetFault makes trouble from now on, in place of what was set before.
func (g *Gate) SetFault(f Fault) { g.trouble.set(f, time.Now()) }

// Cut ends up to n connections, the oldest first, or all if n is negative, and
// returns how many it has ended.
func (g *Gate) Cut(n int) int {
	chosen := map[uint64]bool{}
	for i, s := range g.Sessions() {
		if n < 0 || i < n {
			chosen[s.ID] = true
		}
	}
	g.end(func(s *session) bool { return chosen[s.id] })
	return len(chosen)
}

// wait delays an answer, unless the session ends meanwhile.
func (s *session) wait() {
	latency := s.gate.trouble.latency()
	if latency == 0 {
		return
	}
	timer := time.NewTimer(latency)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.quit:
	}
}
