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
	// textUnheard: a RESET that is not answered could not be told from one that is late.
	textUnheard = "ERR rediam: RESET behind CLIENT REPLY SKIP is not supported"
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

	// Keep is whether the server's half may be another client's afterwards. Then a QUIT
	// at rest is answered here.
	Keep   bool
	traces traces // of this one
	traced int    // requests that have been looked at for them

	demoted bool // the server has said READONLY: after a failover the next client is to ask where the primary is

	requests resp.Requests
	replies  resp.Replies
	queue    []awaited // what the server has not answered, and answers of ours, oldest first

	fed      int  // bytes at the beginning of what Client is given that have been framed already
	whole    bool // they are a request that has not been taken
	streamed bool // the request in progress has been taken, and its rest follows
	withheld bool // and is not for the server
	stalled  bool // the beginning of a request has not been taken, though there will be no more of it
	drop     bool // the frame in progress is not for the client

	silence silence
	oneShot bool // the next command is read differently by the server: ASKING, CLIENT CACHING
	resp3   bool // what the server speaks
	multi   bool // the server is in a transaction

	channels, patterns, shards int64 // subscriptions
	unsure                     bool  // confirmations may come that nobody awaits, and not those of another command

	// opaque is set by what makes replies uncountable, until RESET: MONITOR; SUBSCRIBE
	// or CLIENT REPLY in a transaction; subscriptions in RESP2 for which RESP3 does not
	// stand in, since the server refuses then what it would do otherwise; a second
	// subscription, if the first could not be awaited.
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
	count int64  // frames still to come; 0 where replies are off: it happens in its turn
	name  string // of the frames of a subscription; the protocol that a HELLO without a reply asks for
	local []byte // what to answer in the server's place
}

type kind uint8

const (
	plain      kind = iota
	local           // an answer of ours, when its turn has come
	swallowed       // not for the client, and of no meaning
	wipes           // the answer to what Leave has written
	hello           // notes the protocol
	subscribes      // count frames with the name, or one error; 0 means one for each subscription there is, at least one
	begins          // MULTI
	ends            // EXEC: any reply ends the transaction
	discards        // DISCARD: an error leaves it open
	monitors
	unsettles // is queued in a transaction that nobody can tell replies after
	blurs     // count is 0: nobody can tell replies from one another after it
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
	s.stalled = false
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
			if !s.withheld {
				out.add(frame)
			}
			s.streamed = !s.whole
		case s.whole:
			taken, err := s.request(frame, out)
			if err != nil || !taken {
				return n, out.parts, err
			}
		case full && n == 0:
			taken, err := s.begin(frame, out)
			if s.stalled = !taken; err != nil || !taken {
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

// begin takes the first part of a request that is larger than what can be held.
// Its name and the number of its arguments are known.
func (s *Session) begin(frame []byte, out *output) (taken bool, err error) {
	if s.requests.Inline() {
		return false, s.refuseStream(&resp.ProtocolError{Text: "ERR Protocol error: too big inline request"})
	}
	name := s.requests.Arg(0).In(frame)
	verb := verbOf(name)
	if s.Locked() || name == nil || verb != "" && (!subscribing(verb) || s.inMulti()) {
		return false, s.refuseStream(&resp.ProtocolError{Text: textTooBig})
	}
	if s.tracing() {
		s.trace(s.known(frame))
	}
	v := untouched
	if s.lifted || verb != "" {
		v = s.standingIn(verb, s.known(frame), out)
	}
	switch {
	case v == waits:
		return false, nil
	case v != untouched:
	case verb == "":
		s.expect(awaited{count: s.audible()})
	default:
		s.subscribe(verb, s.requests.NumArgs()-1)
	}
	s.streamed, s.withheld = true, v == refused
	if !s.withheld {
		out.add(frame)
	}
	return true, nil
}

// known is the first words of a large request, as far as they are there: more than any
// arity asks for.
func (s *Session) known(frame []byte) [][]byte {
	words := make([][]byte, min(s.requests.NumArgs(), resp.MaxSpans))
	for i := range words {
		words[i] = s.requests.Arg(i).In(frame)
	}
	return words
}

// request takes one whole request, unless something has to be answered before.
func (s *Session) request(frame []byte, out *output) (taken bool, err error) {
	switch {
	case s.requests.NumArgs() == 0: // a blank line or an empty array, which nobody answers
		if !s.Locked() {
			out.add(frame)
			s.audible() // it uses up what was for the next command
		}
		return true, nil
	case s.requests.Inline() && resp.HTTPRequest(frame):
		return false, errHTTP
	case !s.requests.Inline() && !s.lifted && !s.Locked():
		name := s.requests.Arg(0).In(frame)
		if verbOf(name) == "" && s.untraced(name) {
			s.expect(awaited{count: s.audible()})
			out.add(frame)
			return true, nil
		}
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
	if s.tracing() {
		if quits(words) && s.Safe() { // otherwise the server is to do first what it has been asked
			s.answer(resp.AppendSimple(nil, "OK"))
			return true, errQuit
		}
		s.trace(words)
	}
	verb := verbOf(words[0])
	switch s.standingIn(verb, words, out) {
	case waits:
		return false, nil
	case refused:
		return true, nil
	case translated:
		out.add(frame)
		return true, nil
	}
	if verb == "reset" && len(words) == 1 && s.silence == skipNext {
		return false, s.refuseStream(&resp.ProtocolError{Text: textUnheard})
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
	case len(words) > 1 && (verb == "multi" || verb == "discard" || verb == "reset"): // an error, which changes nothing
		s.expect(awaited{count: s.audible()})
	case verb == "multi":
		s.expect(awaited{kind: begins, count: s.audible()})
	case verb == "exec":
		s.expect(awaited{kind: ends, count: s.audible()})
	case verb == "discard":
		s.expect(awaited{kind: discards, count: s.audible()})
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
	case is(1, "reply") && len(words) == 3 && s.inMulti() && (s.silence != repliesOn || !is(2, "on")):
		s.expect(awaited{kind: unsettles, count: s.audible()})
	case is(1, "reply") && len(words) == 3 && is(2, "on"):
		s.silence = repliesOn
		s.expect(awaited{count: 1})
	case is(1, "reply") && len(words) == 3 && is(2, "off"):
		s.silence = repliesOff
	case is(1, "reply") && len(words) == 3 && is(2, "skip"):
		if s.silence != repliesOff {
			s.silence = skipNext
		}
	default: // CLIENT does not use up CLIENT CACHING
		oneShot := s.oneShot || is(1, "caching")
		s.expect(awaited{count: s.audible()})
		s.oneShot = oneShot
	}
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

// blurred is whether nobody can tell replies from one another, now or, as far as can
// be known, when what is on its way is answered.
func (s *Session) blurred() bool {
	opaque, unsettled := s.opaque, s.unsettled
	for _, a := range s.queue {
		switch a.kind {
		case unsettles:
			unsettled = true
		case ends:
			opaque, unsettled = opaque || unsettled, false
		case discards:
			unsettled = false
		case resets:
			opaque, unsettled = false, false
		}
	}
	return opaque
}

func (s *Session) subscribe(verb string, names int) {
	audible := s.audible()
	leaves := strings.Contains(verb, "unsubscribe")
	switch {
	case names == 0 && !leaves:
		s.expect(awaited{count: audible}) // wrong number of arguments
	case s.inMulti():
		s.expect(awaited{kind: unsettles, count: audible})
	case s.unsure, !s.resp3 && (!leaves || audible == 0):
		s.expect(awaited{kind: blurs})
	case audible == 0: // confirmations come all the same, but an error would not
		s.unsure = true
	default:
		s.expect(awaited{kind: subscribes, count: int64(names), name: verb})
	}
}

// standIn sends the server something in place of a request that is answered here,
// to use up what is for the next command only.
func (s *Session) standIn(out *output) {
	// Its answer could be told from no other where the session is opaque, and in a
	// transaction it would become a part of EXEC's.
	if s.silence != skipNext && (!s.oneShot || s.opaque || s.inMulti()) {
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
	n := len(s.queue)
	switch {
	case a.kind == plain && a.count == 0:
	case a.kind == plain && n > 0 && s.queue[n-1].kind == plain:
		s.queue[n-1].count += a.count
	default:
		s.queue = append(s.queue, a)
		s.believe()
	}
}

// awaits is whether something of a kind is among what is awaited.
func (s *Session) awaits(k kind) bool {
	return slices.ContainsFunc(s.queue, func(a awaited) bool { return a.kind == k })
}

// believe takes what happens without a reply, when its turn has come.
func (s *Session) believe() {
	for ; len(s.queue) > 0 && s.queue[0].unheard(); s.pop() {
		switch a := s.queue[0]; a.kind {
		case begins:
			s.multi = true
		case ends:
			s.ended(true)
		case discards:
			s.multi, s.unsettled = false, false
		case monitors:
			s.opaque = s.opaque || !s.multi
		case unsettles:
			s.unsettled = true
		case blurs:
			s.opaque = true
		case hello:
			if a.name != "" {
				s.opaque = s.opaque || s.unsure && a.name == "2"
				s.speaks(a.name)
			}
		}
	}
}

// speaks notes the protocol.
func (s *Session) speaks(protocol string) {
	s.resp3 = protocol == "3"
	s.restrict()
}

// restrict notes that in RESP2 the server does not do what a subscriber tells it.
func (s *Session) restrict() { s.opaque = s.opaque || !s.resp3 && s.subscribed() }

// unheard is whether no reply comes.
func (a *awaited) unheard() bool { return a.count == 0 && a.kind != subscribes }

// ended notes the end of a transaction by EXEC.
func (s *Session) ended(executed bool) {
	s.opaque = s.opaque || s.unsettled && executed
	s.multi, s.unsettled = false, false
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
