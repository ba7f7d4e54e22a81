package rediam

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

const (
	// ConnectionTTL is how long AWS keeps a connection after its last sign-in with
	// IAM: it is "automatically disconnected after 12 hours", which AUTH or HELLO
	// with a new token prolongs (ElastiCache and MemoryDB user guides,
	// Authenticating with IAM).
	ConnectionTTL = 12 * time.Hour

	// latestRenewal leaves half an hour of ConnectionTTL to whatever uses a
	// connection that is due.
	latestRenewal = ConnectionTTL - 30*time.Minute

	defaultRenewAfter  = 9 * time.Hour
	defaultRenewSpread = 2 * time.Hour
)

// A Renewal says at what age a connection signs in again, or is replaced by one
// that does: After, give or take a random part of Spread, so that connections
// that were opened together do not all come back together. The zero value means
// 9 hours and 2 hours.
type Renewal struct {
	After time.Duration // zero means 9 h
	// Spread is how much sooner or later it may be; zero means 2/9 of After. For
	// next to none write a nanosecond.
	Spread time.Duration
}

// Resolve fills in the zero values, and refuses what would renew a connection at
// once or later than 11 h 30 min, when AWS may cut it before.
func (r Renewal) Resolve() (Renewal, error) {
	if r.After == 0 {
		r.After = defaultRenewAfter
		if r.Spread == 0 {
			r.Spread = defaultRenewSpread
		}
	}
	if r.Spread == 0 {
		r.Spread = r.After / 9 * 2
	}
	switch {
	case r.After < 0 || r.Spread < 0:
		return r, errors.New("rediam: a renewal has neither a negative After nor a negative Spread")
	case r.Spread >= r.After:
		return r, fmt.Errorf("rediam: the spread of renewals (%v) must be less than the age at which they are due (%v)", r.Spread, r.After)
	case r.After > latestRenewal-r.Spread:
		return r, fmt.Errorf("rediam: renewals after %v ± %v may come later than %v, and AWS closes a connection %v after its last sign-in", r.After, r.Spread, latestRenewal, ConnectionTTL)
	}
	return r, nil
}

// Jittered is the age at which one connection is due: a new random one at each
// call. r has been resolved.
func (r Renewal) Jittered() time.Duration {
	return r.After - r.Spread + time.Duration(rand.Int64N(int64(2*r.Spread)+1))
}

// Retry is how soon to try again after a renewal that came to nothing: a minute,
// or less where renewals are frequent. r has been resolved.
func (r Renewal) Retry() time.Duration { return min(time.Minute, r.After/20) }
