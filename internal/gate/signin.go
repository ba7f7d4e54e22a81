package gate

import (
	"cmp"
	"crypto/subtle"
	"errors"
	"time"

	"github.com/rediam/rediam/internal/sigv4"
	"github.com/rediam/rediam/internal/world"
)

// Reasons for a refusal that are not the token's (those are sigv4's).
const (
	reasonOneArgument = "one-argument-auth"
	reasonEngine      = "engine-too-old"
	reasonUser        = "user-unknown"
	reasonOff         = "user-off"
	reasonPermission  = "permission-denied"
	reasonPassword    = "wrong-password"
	reasonTransaction = "auth-in-multi"
	reasonUnavailable = "engine-unavailable"
)

// What AWS does not document about connections, decided here.
const (
	// DropOnFailedReauth: a renewal that is refused leaves the connection signed
	// in as it was, as Redis does.
	DropOnFailedReauth = false
	// DropOnCredentialExpiry: the guides say that a token's end does not touch
	// connections; one user was told that the end of the credentials does.
	DropOnCredentialExpiry = false
)

// A grant is a successful sign-in.
type grant struct {
	member world.Member
	cut    time.Time // when the connection ends unless it signs in again; zero for never
}

// signIn decides about an attempt. The refusal's reason is in the event alone: the
// peer is told nothing.
func (g *Gate) signIn(e *Event, a attempt) (grant, bool) {
	cache, ok := g.World.Cache(g.Cache)
	if !ok { // deleted this instant
		return grant{}, e.refuse(reasonUser, "the cache is gone")
	}
	member, found := g.World.Member(g.Cache, a.user)
	if found && member.Auth != world.AuthIAM {
		return grant{member: member}, checkPassword(e, member, a.password)
	}
	if text := g.trouble.signIn(time.Now(), a.tooMany); text != "" {
		if cache.Public && !e.Renewal { // a stranger is told nothing more (user guide, "Connect to a cache with a public endpoint")
			text = ErrUnavailable
		}
		e.answer = text
		return grant{}, e.refuse(reasonFault, text)
	}
	key, admitted := g.verifyToken(e, cache, a.user, a.password)
	if !admitted {
		return grant{}, false
	}
	switch {
	case !found:
		return grant{}, e.refuse(reasonUser, "no user with this name is in the user group of the cache")
	case !member.Rules.On():
		return grant{}, e.refuse(reasonOff, "the access string of the user does not say on")
	case !cache.AllowsIAM():
		return grant{}, e.refuse(reasonEngine, "IAM sign-in needs Valkey 7.2 or Redis OSS 7.0; this is "+cache.Engine+" "+cache.Version)
	}
	source := peerAddr(e.Source)
	verdict := g.World.Authorize(key, cache, member.User, source)
	e.Policy, e.Statement = verdict.Policy, verdict.Statement
	if !verdict.Allowed {
		return grant{}, e.refuse(reasonPermission, verdict.Reason)
	}
	cut := g.World.Now().Add(cmp.Or(g.ConnectionTTL, ConnectionTTL))
	if DropOnCredentialExpiry && !key.Expires.IsZero() && key.Expires.Before(cut) {
		cut = key.Expires
	}
	return grant{member, cut}, true
}

// verifyToken checks the token and tells the event who signed it.
func (g *Gate) verifyToken(e *Event, cache world.Cache, user, token string) (world.Key, bool) {
	var key world.Key
	target := sigv4.Target{
		Service: cache.Service(), Region: g.World.Region, Cache: cache.Name,
		Serverless:          cache.Kind == world.ServerlessCache,
		LenientResourceType: g.LenientResourceType,
		MaxTTL:              g.TokenTTL,
	}
	claims, err := target.Verify(token, user, func(id string) (sigv4.Key, bool) {
		k, ok := g.World.Key(id)
		if ok {
			key = k
			e.PrincipalType, e.Account, e.AccessKey = string(k.Principal.Type), k.Principal.Account, k.ID
			e.Principal = g.World.PrincipalARN(k.Principal)
		}
		return sigv4.Key{Secret: string(k.Secret), SessionToken: string(k.SessionToken), Expires: k.Expires, Inactive: k.Inactive}, ok
	}, g.World.Now())
	var refusal *sigv4.Refusal
	if errors.As(err, &refusal) {
		return key, e.refuse(string(refusal.Reason), refusal.Detail)
	}
	if g.OneTime && !g.used.first(claims, g.World.Now()) {
		return key, e.refuse(reasonReused, "the token has been used before")
	}
	return key, true
}

func checkPassword(e *Event, m world.Member, password string) bool {
	if !m.Rules.On() {
		return e.refuse(reasonOff, "the access string of the user does not say on")
	}
	if m.Auth == world.AuthNoPassword && len(m.Passwords) == 0 {
		return true
	}
	match := 0
	for _, p := range m.Passwords {
		match |= subtle.ConstantTimeCompare([]byte(p), []byte(password))
	}
	if match == 0 {
		return e.refuse(reasonPassword, "not one of the passwords of the user, who does not sign in with IAM")
	}
	return true
}

// refuse notes why and returns false.
func (e *Event) refuse(reason, detail string) bool {
	e.Reason, e.Detail = reason, detail
	return false
}
