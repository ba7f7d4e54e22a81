// Package proxy joins connections of clients that know no IAM to a cache that
// wants it. A [Session] is one such pair of connections without its I/O: bytes go
// in from either side, bytes come out for either side, and a new sign-in goes in
// between two requests without either side noticing.
package proxy

import (
	"bytes"
	"errors"
	"slices"
	"strings"

	"github.com/rediam/rediam/internal/resp"
)

// The texts are those of Redis 7.0 but where noted.
const (
	textSyntax = "ERR syntax error"
	// textAuthInMulti is ours: AWS documents that a sign-in is not supported inside
	// MULTI, not what it answers.
	textAuthInMulti = "ERR rediam: AUTH inside MULTI is not supported"
	textTooBig      = "ERR Protocol error: too big a request of this kind"
	textSync        = "ERR rediam: replication is not for clients"
)

var (
	errHTTP = errors.New("an HTTP request, not Redis: is a browser or a health check pointed at this port?")
	errTLS  = errors.New("the client speaks TLS, and this port does not: have it connect with redis://, not rediss://")
)

// A Session follows both halves of a connection whose server side is signed in.
// The zero value is ready, but for Password. Its methods are not safe for many goroutines; whoever
// calls Client or Renew writes to the server, and whoever calls Server or Local to
// the client, in the order of the calls.
type Session struct {
	// Password is what the client has to sign in with itself before anything else,
	// under any user name; empty lets in everybody.
	Password string
	admitted bool // it has
	wrong    int  // passwords

	requests resp.Requests
	replies  resp.Replies
	queue    []awaited // what the server has not answered, and answers of ours, oldest first

	fed      int  // bytes at the beginning of what Client is given that have been framed already
	whole    bool // they are a request that has not been taken
	large    bool // they are the beginning of one that is too large to hold, and has not been taken
	streamed bool // the request in progress has been taken, and its rest follows
	discard  bool // its rest is not for the server
	drop     bool // the frame in progress is not for the client

	silence silence
	oneShot bool // the next command is read differently by the server: ASKING, CLIENT CACHING, CLIENT REPLY SKIP
	resp3   bool // what the server speaks
	multi   bool // the server is in a transaction

	channels, patterns, shards int64 // subscriptions

	// opaque is set by what makes replies uncountable: MONITOR, until RESET, and
	// SUBSCRIBE or CLIENT REPLY in a transaction, for good.
	opaque    bool
	unsettled bool // such a thing has been queued in the transaction

	uplift

	resetting bool // RESET is on its way
	signedOut bool // it has been answered: the server wants a sign-in before anything else
	hold      bool // the client is to wait at a frame boundary
	renewing  bool // an AUTH of ours is on its way, and the client waits
	refused   error
	outcome   func(error) // of the renewal
	clustered bool        // the server says that it is a node of a cluster

	up, down output // what the last calls have returned
}

// silence is what CLIENT REPLY has set.
type silence uint8

const (
	repliesOn silence = iota
	repliesOff
	skipNext
)

// awaited is something that the client, or the session itself, waits for. Plain
// replies that follow one another share an entry.
type awaited struct {
	kind  kind
	count int64  // frames still to come
	name  string // of the frames of a subscription
	local []byte // what to answer in the server's place
}

type kind uint8

const (
	plain      kind = iota
	local           // an answer of ours, when its turn has come
	swallowed       // not for the client, and of no meaning
	hello           // notes the protocol
	subscribes      // count frames with the name, or one error; 0 means one for each subscription there is, at least one
	begins          // MULTI
	ends            // EXEC: any reply ends the transaction
	discards        // DISCARD: an error leaves it open
	monitors
	resets
	pings    // while RESP3 stands in for RESP2, where the answer has another form
	lifts    // the answer to our HELLO 3
	lowers   // the answer to our HELLO 2
	renews   // the answer to our AUTH, or already that to the sentinel behind it
	sentinel // a bare HELLO behind our AUTH
)

// Client takes requests from the beginning of b, all that the client has sent and
// that has not been taken, and returns how many bytes it has taken and what is to be
// written to the server for them; the parts lie in b or are the session's own, and
// hold until the next call. It takes nothing more of a request than it can: full says that b has no room for
// more. Less may be taken also while the client is held.
//
// An error means that the session is over: what has been returned with it is still
// to be written, and so is what Server and Local return until the server closes.
func (s *Session) Client(b []byte, full bool) (n int, up [][]byte, err error) {
	out := s.up.begin()
	for n < len(b) || s.whole {
		if s.held() {
			break
		}
		if !s.whole {
			if s.requests.Idle() {
				if b[n] == clientHello {
					return n, out.parts, errTLS
				}
				s.requests.Limits.Unauthenticated = s.Locked()
			}
			var fed int
			fed, s.whole, err = s.requests.Feed(b[n+s.fed:])
			s.fed += fed
			if err != nil {
				return n, out.parts, s.refuseStream(err)
			}
		}
		frame := b[n : n+s.fed]
		switch {
		case s.streamed:
			if !s.discard {
				out.add(frame)
			}
			s.streamed = !s.whole
		case s.whole:
			taken, err := s.request(frame, out)
			if err != nil || !taken {
				return n, out.parts, err
			}
		case full && n == 0:
			if err := s.begin(frame, out); err != nil || s.large {
				return n, out.parts, err
			}
		default:
			return n, out.parts, nil
		}
		n += s.fed
		s.fed, s.whole = 0, false
	}
	return n, out.parts, nil
}

// clientHello is the type of the first record of TLS, and begins no command.
const clientHello = 0x16

// output gathers parts. Those that lie next to one another become one.
type output struct{ parts [][]byte }

// begin forgets what was gathered before.
func (o *output) begin() *output {
	clear(o.parts)
	o.parts = o.parts[:0]
	return o
}

func (o *output) add(b []byte) {
	if len(b) == 0 {
		return
	}
	if i := len(o.parts) - 1; i >= 0 {
		last := o.parts[i]
		if rest := last[len(last):cap(last)]; len(rest) >= len(b) && &rest[:1][0] == &b[0] {
			o.parts[i] = last[:len(last)+len(b)]
			return
		}
	}
	o.parts = append(o.parts, b)
}

// held is whether the client has to wait at this frame boundary.
func (s *Session) held() bool {
	return !s.streamed && (s.hold || s.barred() || len(s.queue) >= maxAwaited && !s.opaque)
}

// maxAwaited bounds what is remembered of requests that are not answered.
const maxAwaited = 16 << 10

// barred is whether nothing may go to the server before it has answered something.
func (s *Session) barred() bool { return s.resetting || s.signedOut || s.renewing || s.changing }

// refuseStream answers what cannot be framed, which ends the session.
func (s *Session) refuseStream(err error) error {
	var bad *resp.ProtocolError
	if errors.As(err, &bad) {
		s.silence = repliesOn
		s.answer(resp.AppendError(nil, bad.Text))
	}
	return err
}

// maxArity is more than any command needs to be told that it has too few or too many
// arguments.
const maxArity = 1000

// begin takes the first part of a request that is larger than what can be held, or
// finds that it has to wait. Its name and the number of its arguments are known.
func (s *Session) begin(frame []byte, out *output) error {
	if s.requests.Inline() {
		return s.refuseStream(&resp.ProtocolError{Text: "ERR Protocol error: too big inline request"})
	}
	name := s.requests.Arg(0).In(frame)
	verb := verbOf(name)
	s.large, s.discard = false, false
	switch {
	case s.Locked() || name == nil:
		return s.refuseStream(&resp.ProtocolError{Text: textTooBig})
	case s.lifted || subscribing(verb):
		words := make([][]byte, min(s.requests.NumArgs(), maxArity))
		words[0] = name
		if taken, handled := s.standingIn(verb, words, frame, out); handled {
			s.large, s.streamed = !taken, taken
			s.discard = taken && !bytes.EqualFold(name, []byte("ping"))
			return nil
		}
	}
	switch {
	case name != nil && verb == "":
		s.expect(awaited{count: s.audible()})
	case name != nil && subscribing(verb) && !s.inMulti():
		s.subscribe(verb, s.requests.NumArgs()-1)
	default:
		return s.refuseStream(&resp.ProtocolError{Text: textTooBig})
	}
	s.streamed = true
	out.add(frame)
	return nil
}

// request takes one whole request, unless something has to be answered before.
func (s *Session) request(frame []byte, out *output) (taken bool, err error) {
	switch {
	case s.requests.NumArgs() == 0: // a blank line or an empty array, which nobody answers
		if !s.Locked() {
			out.add(frame)
		}
		return true, nil
	case s.requests.Inline() && resp.HTTPRequest(frame):
		return false, errHTTP
	case !s.requests.Inline() && !s.lifted && !s.Locked() && verbOf(s.requests.Arg(0).In(frame)) == "":
		s.expect(awaited{count: s.audible()})
		out.add(frame)
		return true, nil
	}
	words, err := split(frame, s.requests.Inline())
	if err != nil {
		return false, s.refuseStream(err)
	}
	if s.Locked() {
		if err := s.challenge(words); err != nil || s.Locked() {
			return true, err
		}
	}
	verb := verbOf(words[0])
	if taken, handled := s.standingIn(verb, words, frame, out); handled {
		return taken, nil
	}
	s.command(verb, words, frame, out)
	return true, nil
}

func split(frame []byte, inline bool) ([][]byte, error) {
	if inline {
		return resp.SplitInline(frame)
	}
	return resp.Args(frame)
}

// verbOf is the name in lower case of a command that says something about the
// connection, and empty for any other.
func verbOf(name []byte) string {
	var folded [16]byte
	if len(name) > len(folded) {
		return ""
	}
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		folded[i] = c
	}
	switch string(folded[:len(name)]) {
	case "auth", "hello", "reset", "multi", "exec", "discard", "client", "asking", "monitor", "sync", "psync",
		"subscribe", "psubscribe", "ssubscribe", "unsubscribe", "punsubscribe", "sunsubscribe":
		return string(folded[:len(name)])
	}
	return ""
}

func subscribing(verb string) bool { return strings.HasSuffix(verb, "subscribe") }

// command takes a request that has been split.
func (s *Session) command(verb string, words [][]byte, frame []byte, out *output) {
	switch verb {
	case "auth":
		s.auth(words, out)
		return
	case "hello":
		s.hello(words, frame, out)
		return
	case "sync", "psync":
		s.standIn(out)
		s.answer(resp.AppendError(nil, textSync))
		return
	}
	out.add(frame)
	switch {
	case subscribing(verb):
		s.subscribe(verb, len(words)-1)
	case verb == "multi":
		s.settle(begins, true)
	case verb == "exec":
		s.settle(ends, false)
	case verb == "discard":
		s.settle(discards, false)
	case verb == "monitor":
		s.expect(awaited{kind: monitors, count: s.audible()})
	case verb == "reset":
		s.silence, s.oneShot, s.resetting = repliesOn, false, true
		s.expect(awaited{kind: resets, count: 1})
	case verb == "asking":
		s.expect(awaited{count: s.audible()})
		s.oneShot = true
	case verb == "client":
		s.client(words)
	default:
		s.expect(awaited{count: s.audible()})
	}
}

// client follows CLIENT REPLY and CLIENT CACHING.
func (s *Session) client(words [][]byte) {
	is := func(i int, word string) bool { return len(words) > i && bytes.EqualFold(words[i], []byte(word)) }
	switch {
	case is(1, "reply") && len(words) == 3 && s.inMulti():
		s.unsettled = s.unsettled || !is(2, "on")
		s.expect(awaited{count: s.audible()})
	case is(1, "reply") && len(words) == 3 && is(2, "on"):
		s.silence = repliesOn
		s.expect(awaited{count: 1})
	case is(1, "reply") && len(words) == 3 && is(2, "off"):
		s.silence, s.oneShot = repliesOff, false
	case is(1, "reply") && len(words) == 3 && is(2, "skip"):
		if s.silence != repliesOff {
			s.silence = skipNext
			s.oneShot = true
		}
	case is(1, "caching") && len(words) == 3:
		s.expect(awaited{count: s.audible()})
		s.oneShot = true
	default:
		s.expect(awaited{count: s.audible()})
	}
}

// settle awaits the reply to a command that changes whether there is a
// transaction. Where replies are off, the change is believed.
func (s *Session) settle(k kind, multi bool) {
	count := s.audible()
	if count == 0 {
		s.multi = multi
		s.opaque = s.opaque || k == ends && s.unsettled
		return
	}
	s.expect(awaited{kind: k, count: count})
}

// inMulti is whether a command that comes now is queued, by what is known and by
// what is on its way.
func (s *Session) inMulti() bool {
	for _, a := range slices.Backward(s.queue) {
		switch a.kind {
		case begins:
			return true
		case ends, discards, resets:
			return false
		}
	}
	return s.multi
}

func (s *Session) subscribe(verb string, names int) {
	audible := s.audible()
	switch {
	case s.inMulti():
		s.unsettled = true
		s.expect(awaited{count: audible})
	case names == 0 && !strings.Contains(verb, "unsubscribe"):
		s.expect(awaited{count: audible}) // wrong number of arguments
	default: // confirmations come also where replies are off
		s.queue = append(s.queue, awaited{kind: subscribes, count: int64(names), name: verb})
	}
}

// standIn sends the server something in place of a request that is answered here,
// to use up what is for the next command only.
func (s *Session) standIn(out *output) {
	if !s.oneShot {
		return
	}
	out.add(resp.AppendCommand(nil, "PING"))
	if s.silence == repliesOn {
		s.queue = append(s.queue, awaited{kind: swallowed, count: 1})
	}
	s.oneShot = false
}

// answer has its turn behind what is awaited already.
func (s *Session) answer(b []byte) {
	if s.audible() > 0 {
		s.queue = append(s.queue, awaited{kind: local, count: 1, local: b})
	}
}

// expect adds what is awaited for a request that has been passed on.
func (s *Session) expect(a awaited) {
	if a.count == 0 {
		return
	}
	if n := len(s.queue); a.kind == plain && n > 0 && s.queue[n-1].kind == plain {
		s.queue[n-1].count += a.count
		return
	}
	s.queue = append(s.queue, a)
}

// audible is how many replies the next command gets, one or none. Every command
// uses up what was for the next one only.
func (s *Session) audible() int64 {
	s.oneShot = false
	switch s.silence {
	case repliesOff:
		return 0
	case skipNext:
		s.silence = repliesOn
		return 0
	}
	return 1
}
