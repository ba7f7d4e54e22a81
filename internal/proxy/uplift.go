package proxy

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/rediam/rediam/internal/command"
	"github.com/rediam/rediam/internal/resp"
)

// In RESP2 a connection with subscriptions takes no AUTH, and could not be signed in
// again. So where a client of RESP2 subscribes, the server is asked to speak RESP3,
// in which it can be, and what it sends is put into the form of RESP2: RESP3 stands
// in. What RESP2 refuses meanwhile is refused here.
type uplift struct {
	lifted   bool // the server speaks RESP3, and the client RESP2
	changing bool // a HELLO of ours is on its way, and the client waits
	unable   bool // the server does not speak RESP3

	leading   bool   // what the push in progress is cannot be told yet
	leadBytes []byte // of it
	redirects bool   // the client has subscribed to invalidations
}

const (
	// textSubscribed is Redis's own.
	textSubscribed = "Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"

	// invalidations is where Redis publishes what clients of RESP2 are to forget.
	invalidations = "__redis__:invalidate"

	// leadMax is enough of a push to tell what it is.
	leadMax = 128
)

// verdict is what becomes of a request because of the protocols.
type verdict uint8

const (
	untouched  verdict = iota
	waits              // it is to be asked about again
	translated         // it is passed on, and its answer awaited
	refused            // it has been answered here
)

// standingIn is for requests that RESP3 has to begin or to end for, or that RESP2
// would refuse. Not all the words of a large one may be there.
func (s *Session) standingIn(verb string, words [][]byte, out *output) verdict {
	if !s.lifted {
		switch {
		case !subscribing(verb) || s.blurred() || s.unsure || s.inMulti():
			return untouched
		case s.awaits(hello):
			return waits // for the protocol
		case s.resp3 || s.unable || strings.Contains(verb, "unsubscribe") || len(words) == 1 || s.silence != repliesOn || s.oneShot:
			return untouched
		}
		return s.change("3", lifts, out)
	}
	name := strings.ToLower(string(words[0][:min(len(words[0]), 16)]))
	switch {
	case subscribing(verb) || verb == "reset" || name == "quit":
		return untouched
	case name == "ping" && len(words) <= 2:
		s.expect(awaited{kind: pings, count: 1})
		return translated
	case s.awaits(subscribes):
		return waits // whether it is allowed depends on what these leave
	case s.subscribed():
		s.answer(resp.AppendError(nil, refusal(words)))
		return refused
	}
	return s.change("2", lowers, out)
}

// change asks the server to speak another protocol once everything is answered. The
// request in hand waits.
func (s *Session) change(protocol string, k kind, out *output) verdict {
	if len(s.queue) == 0 && s.replies.Idle() {
		out.add(resp.AppendCommand(nil, "HELLO", protocol))
		s.expect(awaited{kind: k, count: 1})
		s.changing = true
	}
	return waits
}

// refusal is what Redis answers in RESP2 to a command of a subscriber.
func refusal(words [][]byte) string {
	c, known := command.Lookup(words)
	if !known {
		return "ERR unknown command '" + string(words[0][:min(len(words[0]), 128)]) + "', with args beginning with: " + shownArgs(words[1:])
	}
	kind, text := "ERR ", fmt.Sprintf(textSubscribed, c.Name)
	if c.Arity > 0 && len(words) != c.Arity || c.Arity < 0 && len(words) < -c.Arity || c.Name == "ping" { // that has too many
		text = "wrong number of arguments for '" + c.Name + "' command"
	}
	if c.Name == "exec" {
		kind = "EXECABORT Transaction discarded because of: "
	}
	return kind + text
}

// shownArgs is as much of the arguments as Redis shows of a command that it does not
// know.
func shownArgs(args [][]byte) (shown string) {
	for _, a := range args {
		if len(shown) >= 128 {
			break
		}
		shown += "'" + string(a[:min(len(a), 128-len(shown))]) + "' "
	}
	return shown
}

// translate begins a frame of the server's.
func (s *Session) translate(kind byte, out *output) {
	s.leading = kind == '>'
	s.leadBytes = s.leadBytes[:0]
	if kind == '>' || len(s.queue) == 0 || s.queue[0].kind != pings || !s.subscribed() {
		return
	}
	switch kind {
	case '+':
		out.add([]byte("*2\r\n$4\r\npong\r\n$0\r\n\r\n"))
		s.drop = true
	case '$':
		out.add([]byte("*2\r\n$4\r\npong\r\n"))
	}
}

// lead takes bytes of a push until it can be told what it is, and gives it the form
// of RESP2, or drops it: then the rest of the frame passes or is dropped.
func (s *Session) lead(b []byte, done bool, out *output) {
	n := min(len(b), leadMax-len(s.leadBytes))
	s.leadBytes = append(s.leadBytes, b[:n]...)
	name, at, ok := pushed(s.leadBytes)
	if !ok && !done && len(s.leadBytes) < leadMax {
		return
	}
	s.leading, s.drop = false, true
	switch {
	case !ok:
	case name == "invalidate" && s.redirects:
		out.add([]byte("*3\r\n$7\r\nmessage\r\n$20\r\n" + invalidations + "\r\n"))
		s.drop = false
	case strings.HasSuffix(name, "subscribe"), strings.HasSuffix(name, "message"):
		out.add(append([]byte{'*'}, s.leadBytes[1:at]...))
		s.drop = false
	}
	if s.drop {
		return
	}
	rest := s.leadBytes[at:]
	if bytes.HasPrefix(rest, []byte("_\r\n")) { // a null, in RESP3
		out.add([]byte("$-1\r\n"))
		rest = rest[3:]
	}
	out.add(bytes.Clone(rest))
	out.add(b[n:])
}

// pushed finds the name that a push begins with, and where what follows it begins.
// It is not ok until enough is there to tell a null that follows.
func pushed(b []byte) (name string, at int, ok bool) {
	_, after, found := bytes.Cut(b, []byte("\r\n"))
	_, body, found2 := bytes.Cut(after, []byte("\r\n"))
	word, rest, found3 := bytes.Cut(body, []byte("\r\n"))
	if !found || !found2 || !found3 || len(rest) == 0 || rest[0] == '_' && len(rest) < 3 {
		return "", 0, false
	}
	return string(word), len(b) - len(rest), true
}

// follow notes whether the client has subscribed to invalidations.
func (s *Session) follow(name string) {
	if string(s.replies.Head(1)) == invalidations {
		s.redirects = name == "subscribe"
	}
}
