package proxy

import (
	"bytes"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/rediam/rediam/internal/dial"
	"github.com/rediam/rediam/internal/resp"
)

// errDropped: Redis 8 and Valkey 8 do not answer an AUTH that they refuse while
// other output for the client is pending.
var errDropped = errors.New("the server refused it without an answer")

// Server takes all of b, which the server has sent, and returns what is to be
// written to the client for it; the parts lie in b or are the session's own, and hold
// until the next call of Server or Local. An error means that the server does not speak RESP.
func (s *Session) Server(b []byte) (down [][]byte, err error) {
	out := s.down.begin()
	for len(b) > 0 {
		if s.replies.Idle() {
			s.locals(out)
			if n := s.skip(b); n > 0 {
				out.add(b[:n])
				b = b[n:]
				continue
			}
			s.drop = !s.opaque && len(s.queue) > 0 && ours(s.queue[0].kind) && b[0] != '>'
			if s.lifted {
				s.translate(b[0], out)
			}
		}
		n, done, err := s.replies.Feed(b)
		switch {
		case s.leading:
			s.lead(b[:n], done, out)
		case !s.drop:
			out.add(b[:n])
		}
		if err != nil {
			return out.parts, err
		}
		if done {
			s.frame()
		}
		b = b[n:]
	}
	if s.replies.Idle() {
		s.locals(out)
	}
	return out.parts, nil
}

// skip takes answers that mean nothing but that they have come, the common case at once.
func (s *Session) skip(b []byte) (n int) {
	if s.opaque || s.lifted || len(s.queue) == 0 || s.queue[0].kind != plain {
		return 0
	}
	n, replies := s.replies.Skip(b, s.queue[0].count)
	if s.queue[0].count -= replies; s.queue[0].count == 0 {
		s.pop()
	}
	return n
}

// ours is whether an answer is not for the client.
func ours(k kind) bool {
	return k == swallowed || k == wipes || k == renews || k == sentinel || k == lifts || k == lowers
}

// Local returns what the session answers in the server's place and whose turn has
// come, without anything from the server.
func (s *Session) Local() (down [][]byte) {
	out := s.down.begin()
	if s.replies.Idle() {
		s.locals(out)
	}
	return out.parts
}

// locals takes the answers of ours whose turn has come.
func (s *Session) locals(out *output) {
	for s.believe(); len(s.queue) > 0 && s.queue[0].kind == local; s.believe() {
		out.add(s.queue[0].local)
		s.pop()
	}
	if s.opaque { // nobody can tell whose turn it is
		s.queue = slices.DeleteFunc(s.queue, func(a awaited) bool {
			if a.kind == local {
				out.add(a.local)
			}
			s.multi = a.kind == begins || s.multi && a.kind != ends && a.kind != discards
			return a.kind != resets
		})
	}
}

func (s *Session) pop() {
	s.queue[0] = awaited{}
	if len(s.queue) == 1 {
		s.queue = s.queue[:0] // and not the end of what there is room for
	} else {
		s.queue = s.queue[1:]
	}
}

// frame notes what the frame that has just ended means.
func (s *Session) frame() {
	kind := s.replies.Type()
	switch {
	case s.opaque:
		s.untilReset(kind)
	case kind == '>':
		s.subscription()
	case kind == '*' && !s.resp3 && s.awaitsSubscription() && s.subscription():
		// In RESP2 these are arrays.
	case len(s.queue) > 0:
		s.reply(kind)
	}
}

// untilReset waits for the one answer that can be told from everything else.
func (s *Session) untilReset(kind byte) {
	if kind != '+' || string(s.replies.Head(0)) != "RESET" {
		return
	}
	for i, a := range s.queue {
		if a.kind == resets {
			s.queue = slices.Delete(s.queue, 0, i+1)
			s.reset()
			return
		}
	}
}

// reset is what RESET leaves: nothing, and nobody signed in.
func (s *Session) reset() {
	s.resp3, s.multi, s.opaque, s.unsettled = false, false, false, false
	s.channels, s.patterns, s.shards, s.unsure = 0, 0, 0, false
	s.resetting, s.signedOut, s.admitted = false, true, false
	s.uplift = uplift{}
}

func (s *Session) subscribed() bool { return s.channels+s.patterns+s.shards > 0 }

func (s *Session) awaitsSubscription() bool {
	return len(s.queue) > 0 && s.queue[0].kind == subscribes
}

// subscription notes a frame of SUBSCRIBE, UNSUBSCRIBE and their like, which ends
// in the number of subscriptions that are left: of channels and patterns together,
// or of shard channels. It is false for any other frame.
func (s *Session) subscription() bool {
	name := string(s.replies.Head(0))
	left, err := strconv.ParseInt(string(s.replies.Head(2)), 10, 64)
	if err != nil {
		return false
	}
	var before int64
	switch name {
	case "subscribe", "unsubscribe":
		before, s.channels = s.channels, left-s.patterns
	case "psubscribe", "punsubscribe":
		before, s.patterns = s.patterns, left-s.channels
	case "ssubscribe", "sunsubscribe":
		before, s.shards = s.shards, left
	default:
		return false
	}
	s.restrict() // where RESP3 should have stood in, but for an EXEC that has failed
	s.follow(name)
	if !s.awaitsSubscription() || s.queue[0].name != name {
		return true // a slot has moved away
	}
	head := &s.queue[0]
	if head.count == 0 {
		head.count = max(before, 1)
	}
	s.answered()
	return true
}

// answered takes one frame off what is awaited first.
func (s *Session) answered() {
	if s.queue[0].count--; s.queue[0].count <= 0 {
		s.pop()
	}
}

// reply notes an answer to what is awaited first.
func (s *Session) reply(kind byte) {
	ok := kind != '-' && kind != '!'
	if !ok && s.Keep && bytes.HasPrefix(s.replies.Head(0), []byte("READONLY")) {
		s.traces |= indelible
		s.demoted = true
	}
	switch s.queue[0].kind {
	case renews:
		s.renewed(kind, ok)
		return
	case sentinel:
		s.clustered = s.field("mode") == "cluster"
		s.pop()
		s.finish()
		return
	case begins:
		s.multi = s.multi || ok
	case unsettles:
		s.unsettled = s.unsettled || ok && s.multi
	case ends:
		s.ended(ok)
	case discards:
		if ok {
			s.multi, s.unsettled = false, false
		}
	case wipes:
		if !ok {
			s.traces |= indelible
		}
	case lifts:
		s.lifted = ok && s.field("proto") == "3"
		s.resp3, s.unable, s.changing = s.lifted, !s.lifted, false
	case lowers:
		s.lifted, s.resp3, s.changing = false, false, false
	case monitors:
		s.opaque = ok && !s.multi
	case resets:
		s.pop()
		s.reset()
		return
	case hello:
		if proto := s.field("proto"); ok && proto != "" {
			s.speaks(proto)
		}
	case subscribes:
		s.queue[0].count = 1 // one error stands for all frames
	}
	s.answered()
}

// field is what the answer to HELLO says of something.
func (s *Session) field(name string) string {
	for i := 0; i+1 < resp.MaxHeads; i += 2 {
		if string(s.replies.Head(i)) == name {
			return string(s.replies.Head(i + 1))
		}
	}
	return ""
}

// Safe is whether a sign-in may go in now: everything that was asked has been
// answered, and neither the server nor the client would take the AUTH or its answer
// for something else.
func (s *Session) Safe() bool {
	return s.Answered() && s.Settles()
}

// Answered is whether everything that was asked has been answered.
func (s *Session) Answered() bool { return len(s.queue) == 0 && s.replies.Idle() && !s.streamed }

// Idle is whether nobody waits for anything: a subscriber does.
func (s *Session) Idle() bool { return s.Answered() && !s.subscribed() && !s.opaque }

// Bar is what keeps a sign-in from going in when answers do not.
func (s *Session) Bar() string {
	switch {
	case s.opaque && !s.resp3 && s.subscribed():
		return "subscribed"
	case s.opaque:
		return "monitor"
	case s.inMulti():
		return "transaction"
	case s.silence != repliesOn:
		return "replies_off"
	case s.oneShot:
		return "asking"
	}
	return "unanswered"
}

// Settles is whether it will be safe once everything is answered that has been
// asked, if the client is held meanwhile. Otherwise only the client can make it so.
func (s *Session) Settles() bool {
	return !s.oneShot && s.silence == repliesOn && !s.inMulti() && !s.opaque && !s.renewing
}

// Hold has the client wait at the next frame boundary, so that what it has asked
// can be answered, or lets it go on.
func (s *Session) Hold(on bool) { s.hold = on }

// Waits is whether Client has left a request of which it has seen enough, which it may take once the
// server has answered something; Held, whether it takes nothing before a sign-in, a
// change of the protocol or Hold is over.
func (s *Session) Waits() bool { return s.whole || s.stalled }

// Held is explained at Waits.
func (s *Session) Held() bool { return s.held() }

// Due is whether Local has something.
func (s *Session) Due() bool {
	return s.replies.Idle() && len(s.queue) > 0 && (s.queue[0].kind == local || s.opaque)
}

// SignedOut is whether RESET has ended the sign-in: the client waits for Renew.
func (s *Session) SignedOut() bool { return s.signedOut }

// Renew returns what to write to the server to sign in again, if that is safe now.
// The client waits until the answer is there, which outcome is told from within
// Server: nil, or why the service has refused, after which the session works on as
// before. Behind the AUTH goes a bare HELLO, since a refused AUTH is not always
// answered.
func (s *Session) Renew(user, password string, outcome func(error)) (up []byte, ok bool) {
	if !s.Safe() {
		return nil, false
	}
	s.renewing = true
	return s.sign(user, password, outcome), true
}

// Insert is Renew behind what is not answered yet: it is for connections on which
// something always is. The client does not wait.
func (s *Session) Insert(user, password string, outcome func(error)) (up []byte, ok bool) {
	if !s.Insertable() {
		return nil, false
	}
	return s.sign(user, password, outcome), true
}

func (s *Session) sign(user, password string, outcome func(error)) []byte {
	s.refused, s.outcome = nil, outcome
	s.queue = append(s.queue, awaited{kind: renews, count: 1}, awaited{kind: sentinel, count: 1})
	return resp.AppendCommand(dial.AppendAuth(nil, user, password), "HELLO")
}

// Insertable is whether Insert may be called.
func (s *Session) Insertable() bool { return s.Settles() && s.indifferent() }

// indifferent is whether what is awaited does not change how an AUTH behind it is
// taken.
func (s *Session) indifferent() bool {
	return !s.streamed && !s.barred() && !s.unsettled && !slices.ContainsFunc(s.queue, func(a awaited) bool {
		switch a.kind {
		case plain, local, swallowed, pings, subscribes, begins, ends: // DISCARD may be refused
			return false
		}
		return true
	})
}

// Blind returns what to write to sign in again where the client has switched
// replies off, if it may go in: no answer will tell whether it was taken.
func (s *Session) Blind(user, password string) (up []byte, ok bool) {
	if !s.Blindable() {
		return nil, false
	}
	return dial.AppendAuth(nil, user, password), true
}

// Blindable is whether Blind may be called.
func (s *Session) Blindable() bool {
	return s.silence == repliesOff && !s.oneShot && !s.inMulti() && !s.opaque && s.indifferent()
}

// Resume lets the client go on though the answer to Renew is not there yet.
func (s *Session) Resume() { s.renewing = false }

// renewed takes the answer to our AUTH, or that to the sentinel, if the server has
// dropped the other.
func (s *Session) renewed(kind byte, ok bool) {
	head := s.replies.Head(0)
	s.pop()
	switch {
	case kind == '+':
	case !ok && !bytes.HasPrefix(head, []byte("NOAUTH")):
		s.refused = errors.New(dial.Shown(strings.TrimSpace(string(head))))
	default: // only HELLO is answered by a map, an array or NOAUTH
		s.refused = errDropped
		s.pop()
		s.finish()
	}
}

func (s *Session) finish() {
	if s.refused == nil {
		s.signedOut = false
	}
	s.renewing = false
	s.outcome(s.refused)
}
