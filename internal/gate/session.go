package gate

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/rediam/rediam/internal/acl"
	"github.com/rediam/rediam/internal/resp"
	"github.com/rediam/rediam/internal/world"
)

const (
	bufferSize = 32 << 10
	// wholeRequest is the largest request that is held whole for an engine that does
	// not enforce access strings itself, and for a serverless cache.
	wholeRequest = 64 << 20
)

// strangers may send what Redis takes before sign-in, and a whole request of no
// more than fits into buf: any sign-in does.
var strangers = resp.Limits{Unauthenticated: true, Inline: 16 << 10}

var errEnded = errors.New("the connection has ended")

// A session is one client connection and, once it is signed in, its connection
// to the engine. One goroutine (run) reads the client, one (pump) the engine.
// What the gate answers itself waits until every request before it is answered,
// so that the order of replies is that of requests.
type session struct {
	gate   *Gate
	node   *node
	id     uint64
	client net.Conn
	source netip.Addr
	opened time.Time
	quit   chan struct{} // closed when the session is to end
	gone   chan struct{} // closed when run has returned

	// These belong to run.
	user       string // whom the connection is signed in as; empty before that
	enforces   bool   // the engine knows no users, so the gate has to judge requests
	serverless bool   // so has the gate of a serverless cache, which lacks commands
	clustered  bool   // the cache is in cluster mode
	requests   resp.Requests
	buf        []byte // of which [:end] is unread and [:fed] has been framed
	fed, end   int
	batch      []byte // whole requests within buf that the engine is to get next
	batched    int64  // the replies to them
	silence    silence
	stranger   *time.Timer     // ends the session unless it signs in
	doomed     bool            // the gate has refused a command of this transaction
	began      *acl.Access     // by which the commands of this transaction have been judged
	slots      map[uint16]bool // of the keys of this transaction, if the gate judges

	// out is held while something is written to the client, mu within it.
	out sync.Mutex

	mu       sync.Mutex // guards below; never held across I/O
	answered *sync.Cond // the pairing has moved on, or the session ended
	pairing  pairing
	engine   net.Conn
	pumped   chan struct{} // closed when pump has returned
	grant    grant
	renewals int
	underWay bool        // the gate counts a sign-in of this session
	greeted  bool        // and the engine's answer to its HELLO has come, but is not yet written
	draining *time.Timer // set once the client has sent EOF
	ended    bool
	killed   bool // by CLIENT KILL; it ends soon
	about    about
}

// silence is what CLIENT REPLY has set.
type silence uint8

const (
	repliesOn silence = iota
	repliesOff
	skipNext
	skipped // as skipNext, for a request that the engine does not get
)

func newSession(g *Gate, n *node, id uint64, client net.Conn) *session {
	s := &session{gate: g, node: n, id: id, client: client, opened: g.World.Now(), quit: make(chan struct{}), gone: make(chan struct{})}
	cache, _ := g.World.Cache(g.Cache)
	s.serverless, s.clustered = cache.Kind == world.ServerlessCache, cache.ClusterMode()
	s.source = peerAddr(client.RemoteAddr().String())
	s.answered = sync.NewCond(&s.mu)
	s.requests.Limits = strangers
	return s
}

func peerAddr(address string) netip.Addr {
	if a, err := netip.ParseAddrPort(address); err == nil {
		return a.Addr().Unmap()
	}
	a, _ := netip.ParseAddr(address)
	return a
}

// signedIn tells as whom, and until when.
func (s *session) signedIn() (user string, cut time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.grant.member.Name, s.grant.cut
}

// stays does for one connection that has just signed in what Reconcile does for
// all: a change that came meanwhile has not seen it.
func (s *session) stays() bool {
	_, cut := s.signedIn()
	member, ok := s.gate.World.Member(s.gate.Cache, s.user)
	return ok && s.setRules(member) && (cut.IsZero() || s.gate.World.Now().Before(cut))
}

// setRules gives a live connection the access string that its user has now. It is
// false for one that cannot go on with it: a subscriber of an engine without users,
// who may have channels that are no longer allowed.
func (s *session) setRules(m world.Member) bool {
	_, _, engineJudges := s.node.Engine.Login(m.Name)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.grant.member.Name != m.Name || s.grant.member.Rules == m.Rules {
		return true
	}
	s.grant.member.Rules = m.Rules
	return engineJudges || !s.pairing.subscribed() || m.Rules.Allow(everyChannel).OK
}

var everyChannel = [][]byte{[]byte("PSUBSCRIBE"), []byte("*")}

func (s *session) describe() Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Session{s.id, s.node.Address, s.grant.member.Name, s.source, s.opened, s.grant.cut, s.renewals}
}

// run serves the connection until it ends.
func (s *session) run(ctx context.Context) {
	defer s.leaveEngine()
	defer s.close()
	s.stranger = time.AfterFunc(SignInTime, s.close)
	defer func() { s.stranger.Stop() }()
	if t, ok := s.client.(*tls.Conn); ok {
		if err := t.HandshakeContext(ctx); err != nil {
			s.note(fmt.Errorf("no TLS: %w", err))
			return
		}
	}
	s.buf = make([]byte, bufferSize)
	if !s.enterOpen(ctx) {
		return
	}
	for {
		n, err := s.client.Read(s.buf[s.end:])
		s.end += n
		if n > 0 {
			if err := s.consume(ctx); err != nil {
				s.note(err)
				return
			}
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				s.drain()
			}
			return
		}
	}
}

// note logs why a session was ended from this side.
func (s *session) note(err error) {
	if !errors.Is(err, errEnded) && !errors.Is(err, io.EOF) {
		s.gate.Log.Info("connection closed", "cache", s.gate.Cache, "connection", s.id, "source", s.source, "why", err)
	}
}

// consume takes the whole requests in buf, and of a larger one what there is.
func (s *session) consume(ctx context.Context) error {
	for {
		if err := s.consumeWhole(ctx); err != nil {
			return err
		}
		if s.end < len(s.buf) || !s.streams() {
			return s.resize()
		}
		if err := s.stream(); err != nil {
			return err
		}
	}
}

// consumeWhole takes the whole requests in buf and moves what is left to its
// beginning.
func (s *session) consumeWhole(ctx context.Context) error {
	start := 0
	for s.fed < s.end {
		n, done, err := s.requests.Feed(s.buf[s.fed:s.end])
		s.fed += n
		if err != nil {
			return s.protocolError(err)
		}
		if !done {
			break
		}
		if err := s.request(ctx, s.buf[start:s.fed]); err != nil {
			return err
		}
		start = s.fed
	}
	if err := s.flush(); err != nil {
		return err
	}
	if start > 0 {
		copy(s.buf, s.buf[start:s.end])
		s.end, s.fed = s.end-start, s.fed-start
	}
	return nil
}

// resize makes room in buf for a request that has to be held whole, as its bytes
// come and never by what they announce, and gives back what was needed for one.
func (s *session) resize() error {
	switch {
	case s.end < bufferSize && len(s.buf) > bufferSize:
		s.buf = append(make([]byte, 0, bufferSize), s.buf[:bufferSize]...)
	case s.end < len(s.buf):
	case s.user == "":
		return s.protocolError(&resp.ProtocolError{Text: "ERR Protocol error: unauthenticated bulk length"})
	case s.end >= wholeRequest:
		return s.protocolError(&resp.ProtocolError{Text: "ERR Protocol error: requests of up to 64 MiB are taken here"})
	default:
		s.buf = append(s.buf, make([]byte, len(s.buf))...)
	}
	return nil
}

// protocolError answers what cannot be framed, and ends the session.
func (s *session) protocolError(err error) error {
	if err := s.flush(); err != nil {
		return err
	}
	var bad *resp.ProtocolError
	if errors.As(err, &bad) {
		s.silence = repliesOn
		s.replyError(bad.Text)
	}
	return err
}

// streams is whether the engine judges requests itself, so that they need not
// be held whole.
func (s *session) streams() bool { return s.user != "" && !s.enforces && !s.serverless }

// stream forwards a request that is larger than buf. Its name and the number of
// its arguments are known; nothing of the rest is needed, except of commands that
// are never that large.
func (s *session) stream() error {
	name := s.requests.Arg(0).In(s.buf)
	frames := int64(s.requests.NumArgs() - 1)
	switch verb := lower(name); {
	case subscribeVerbs[verb] && s.silence == repliesOn && !s.transaction():
		s.expect(expected{kind: subscribes, count: frames, name: verb})
	case name == nil, verb != "" && verb != "client":
		return s.protocolError(&resp.ProtocolError{Text: "ERR Protocol error: too big a request of this kind"})
	default:
		s.expect(expected{count: s.audible()})
	}
	for done := false; ; {
		if _, err := s.engine.Write(s.buf[:s.fed]); err != nil {
			return err
		}
		s.end = copy(s.buf, s.buf[s.fed:s.end])
		s.fed = 0
		if done {
			return nil
		}
		n, err := s.client.Read(s.buf)
		if n == 0 && err != nil { // an error that comes with bytes comes again
			return err
		}
		s.end = n
		if s.fed, done, err = s.requests.Feed(s.buf[:n]); err != nil {
			return s.protocolError(err)
		}
	}
}

// forward sends whole requests to the engine and expects e for them. Those that
// lie next to one another in buf are sent together.
func (s *session) forward(request []byte) {
	if len(s.batch) == 0 {
		s.batch = request
	} else {
		s.batch = s.batch[:len(s.batch)+len(request)]
	}
	s.batched += s.audible()
}

// flush sends what forward has gathered.
func (s *session) flush() error {
	if len(s.batch) == 0 {
		return nil
	}
	s.expect(expected{count: s.batched})
	_, err := s.engine.Write(s.batch)
	s.batch, s.batched = nil, 0
	return err
}

// send sends one request whose reply means something.
func (s *session) send(request []byte, e expected) error {
	if err := s.flush(); err != nil {
		return err
	}
	s.expect(e)
	_, err := s.engine.Write(request)
	return err
}

func (s *session) expect(e expected) {
	if e.count == 0 && e.kind != subscribes {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pairing.expect(e)
}

// audible is how many replies the next request gets, one or none; it uses up a
// CLIENT REPLY SKIP.
func (s *session) audible() int64 {
	switch s.silence {
	case repliesOff:
		return 0
	case skipNext, skipped:
		s.silence = repliesOn
		return 0
	}
	return 1
}

// quiesce waits until every request has its reply. It is false if the session
// has ended.
func (s *session) quiesce() bool {
	if s.flush() != nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.pairing.drained() && !s.ended {
		s.answered.Wait()
	}
	return !s.ended
}

// reply answers a request in the engine's place, when its turn has come.
func (s *session) reply(b []byte) error {
	if err := s.standIn(); err != nil {
		return err
	}
	if s.audible() == 0 {
		return nil
	}
	for s.quiesce() {
		if sent, err := s.write(b); sent {
			return err
		}
	}
	return errEnded
}

// standIn sends the engine something in place of a request that the gate answers,
// to use up a CLIENT REPLY SKIP there too.
func (s *session) standIn() error {
	if s.silence != skipNext {
		return s.flush()
	}
	s.silence = skipped
	return s.send(resp.AppendCommand(nil, "PING"), expected{})
}

// write writes to the client if no frame of the engine's is half written.
func (s *session) write(b []byte) (sent bool, err error) {
	s.out.Lock()
	defer s.out.Unlock()
	s.mu.Lock()
	drained := s.pairing.drained()
	s.mu.Unlock()
	if !drained {
		return false, nil
	}
	s.wait()
	s.leave()
	_, err = s.client.Write(b)
	return true, err
}

func (s *session) replyError(text string) error { return s.reply(resp.AppendError(nil, text)) }

// drain lets the engine answer what the client has asked before it sent EOF, as
// long as answers come.
func (s *session) drain() {
	s.mu.Lock()
	s.draining = time.AfterFunc(closeTime, s.close)
	s.mu.Unlock()
	defer s.draining.Stop()
	s.finish()
}

// finish waits until every answer is written, or the session has ended.
func (s *session) finish() {
	s.quiesce()
	s.out.Lock() // the last answer has been paired and may still be on its way
	defer s.out.Unlock()
}

// close ends the session from any goroutine; run returns soon after.
func (s *session) close() {
	s.mu.Lock()
	if !s.ended {
		s.ended = true
		close(s.quit)
	}
	engine := s.engine
	s.answered.Broadcast()
	s.mu.Unlock()
	if engine != nil {
		engine.Close()
	}
	s.client.Close()
}
