// Package gate is the emulator's front door: it takes the connections to a
// cache, signs them in as ElastiCache and MemoryDB do, joins them to an engine
// and ends them when their time is over.
package gate

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/rediam/rediam/internal/relay"
	"github.com/rediam/rediam/internal/world"
)

const (
	// ConnectionTTL is how long a connection lives after its last sign-in with
	// IAM: "automatically disconnected after 12 hours", prolonged by AUTH or
	// HELLO with a new token (user guides, Authenticating with IAM). What the
	// client is told at that moment is not documented; here, nothing.
	ConnectionTTL = 12 * time.Hour

	// SignInTime is how long a connection may take to sign in, TLS included.
	SignInTime = 10 * time.Second

	// maxSessions is the maxclients of ElastiCache nodes.
	maxSessions = 65000

	// closeTime is how long replies may still take once a client has sent EOF.
	closeTime = time.Second
)

// An Engine is what the connections of a node are joined to.
type Engine interface {
	// Dial opens a connection, as nobody if the engine has users.
	Dial(ctx context.Context) (net.Conn, error)
	// Login is the engine's own name and password of a user. Without ok the engine
	// has no users, and the gate enforces access strings itself.
	Login(user string) (name, password string, ok bool)
}

// A Node is one node of a cache.
type Node struct {
	Address  string       // as clients are told
	Listener net.Listener // speaks TLS; Serve closes it
	Engine   Engine
}

// node is a Node that is served.
type node struct {
	Node
	sessions int // guarded by the gate's mutex
}

// A Gate takes the connections of one cache. Fill in the fields and call Serve
// for each node; the other methods may be called at any time.
type Gate struct {
	World  *world.World
	Cache  string       // the cache's name
	Record func(Event)  // gets every sign-in, admitted or refused; must not block
	Log    *slog.Logger // gets them too, and what goes wrong

	TokenTTL            time.Duration // zero means 15 minutes
	ConnectionTTL       time.Duration // zero means ConnectionTTL
	LenientResourceType bool
	OneTime             bool // refuse a token that has been used before

	trouble trouble
	used    used

	mu       sync.Mutex // guards below
	sessions map[uint64]*session
	lastID   uint64
	next     time.Time   // when Reconcile runs by itself; zero for never
	timer    *time.Timer // fires then
}

// Serve takes the connections to one node until ctx is done. When it returns, the
// listener is closed and no connection to the node is left.
func (g *Gate) Serve(ctx context.Context, of Node) {
	n := &node{Node: of}
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer g.scheduleNext()
	defer running.Wait()
	defer g.end(func(s *session) bool { return s.node == n })
	defer cancel()
	relay.Serve(ctx, n.Listener, &running, g.Log, func(conn net.Conn) {
		s := g.add(n, conn)
		if s == nil {
			g.Log.Warn("too many connections", "cache", g.Cache, "limit", maxSessions)
			conn.Close()
			return
		}
		defer g.remove(s)
		s.run(ctx)
	})
}

func (g *Gate) add(n *node, conn net.Conn) *session {
	g.mu.Lock()
	defer g.mu.Unlock()
	if n.sessions >= maxSessions {
		return nil
	}
	if g.sessions == nil {
		g.sessions = map[uint64]*session{}
	}
	g.lastID++
	s := newSession(g, n, g.lastID, conn)
	n.sessions++
	g.sessions[s.id] = s
	return s
}

func (g *Gate) remove(s *session) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.sessions, s.id)
	s.node.sessions--
	close(s.gone)
}

// Reconcile ends the connections whose time is over and those whose user may no
// longer be there, and returns when they have ended; the others have the access
// strings of now. A user that IAM no longer lets Connect stays, as on AWS.
func (g *Gate) Reconcile() {
	now := g.World.Now()
	members := map[string]world.Member{}
	for _, m := range g.World.Members(g.Cache) {
		members[m.Name] = m
	}
	g.end(func(s *session) bool {
		user, cut := s.signedIn()
		if user == "" {
			return false
		}
		member, stays := members[user]
		return !stays || !s.setRules(member) || !cut.IsZero() && !now.Before(cut)
	})
	g.scheduleNext()
}

// end closes the sessions that over picks and waits until they are gone.
func (g *Gate) end(over func(*session) bool) {
	var ending []*session
	g.mu.Lock()
	for _, s := range g.sessions {
		if over(s) {
			ending = append(ending, s)
		}
	}
	g.mu.Unlock()
	for _, s := range ending {
		go s.close() // TLS says goodbye to each, which may take its time
	}
	for _, s := range ending {
		<-s.gone
	}
}

// scheduleNext sets the timer for the session that is overdue next, if any is.
func (g *Gate) scheduleNext() {
	g.mu.Lock()
	var next time.Time
	for _, s := range g.sessions {
		if _, cut := s.signedIn(); !cut.IsZero() && (next.IsZero() || cut.Before(next)) {
			next = cut
		}
	}
	g.next = time.Time{}
	if g.timer != nil {
		g.timer.Stop()
	}
	g.mu.Unlock()
	g.schedule(next)
}

// schedule has Reconcile run at cut, unless it runs before that already. A zero
// cut is never.
func (g *Gate) schedule(cut time.Time) {
	now := g.World.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	if cut.IsZero() || !g.next.IsZero() && !cut.Before(g.next) {
		return
	}
	g.next = cut
	if g.timer != nil {
		g.timer.Stop()
	}
	g.timer = time.AfterFunc(max(cut.Sub(now), time.Millisecond), g.Reconcile)
}

// A Session is a live connection.
type Session struct {
	ID       uint64     `json:"id"`
	Node     string     `json:"node"` // address of the node that it came in by
	User     string     `json:"user"` // empty before sign-in
	Source   netip.Addr `json:"source"`
	Opened   time.Time  `json:"opened"`
	Ends     time.Time  `json:"ends,omitzero"` // zero if never
	Renewals int        `json:"renewals"`
}

// Sessions lists the live connections, oldest first.
func (g *Gate) Sessions() []Session {
	g.mu.Lock()
	defer g.mu.Unlock()
	list := make([]Session, 0, len(g.sessions))
	for _, s := range g.sessions {
		list = append(list, s.describe())
	}
	slices.SortFunc(list, func(a, b Session) int { return cmp.Compare(a.ID, b.ID) })
	return list
}
