package proxy

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"slices"

	"github.com/rediam/rediam/internal/resp"
)

// What Redis 7.0 answers to who has not signed in, or cannot.
const (
	textWrongPassword = "WRONGPASS invalid username-password pair or user is disabled."
	textNoAuth        = "NOAUTH Authentication required."
	textNoAuthHello   = "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time"
)

var errQuit = errors.New("the client has said QUIT")

// Locked is whether the client has not signed in with Password yet: Client sends
// nothing to the server for it.
func (s *Session) Locked() bool { return s.Password != "" && !s.admitted }

// WrongPasswords is how often the client has given another password.
func (s *Session) WrongPasswords() int { return s.wrong }

// right compares in constant time.
func (s *Session) right(password []byte) bool {
	want, got := sha256.Sum256([]byte(s.Password)), sha256.Sum256(password)
	if s.Password == "" || subtle.ConstantTimeCompare(want[:], got[:]) == 1 {
		return true
	}
	s.wrong++
	return false
}

// challenge takes a request of a client that is locked. If it unlocks, it is still
// to be taken as any other; everything else is answered.
func (s *Session) challenge(words [][]byte) error {
	name := string(bytes.ToLower(words[0][:min(len(words[0]), 8)]))
	_, password, signsIn := signIn(words)
	switch {
	case name == "auth" && (len(words) == 2 || len(words) == 3):
		if s.admitted = s.right(words[len(words)-1]); !s.admitted {
			s.answer(resp.AppendError(nil, textWrongPassword))
		}
	case name == "auth":
		s.answer(resp.AppendError(nil, textSyntax))
	case name == "hello" && signsIn:
		if s.admitted = s.right(password); !s.admitted {
			s.answer(resp.AppendError(nil, textWrongPassword))
		}
	case name == "hello":
		s.answer(resp.AppendError(nil, textNoAuthHello))
	case name == "reset" && len(words) == 1:
		s.answer(resp.AppendSimple(nil, "RESET"))
	case name == "quit":
		s.answer(resp.AppendSimple(nil, "OK"))
		return errQuit
	default:
		s.answer(resp.AppendError(nil, textNoAuth))
	}
	return nil
}

// signIn takes AUTH, a user and a password out of HELLO, as often as they are there:
// the last counts.
func signIn(words [][]byte) (rest [][]byte, password []byte, found bool) {
	rest = slices.Clone(words[:min(2, len(words))])
	for i := 2; i < len(words); i += 2 {
		switch {
		case bytes.EqualFold(words[i], []byte("auth")) && i+2 < len(words):
			password, found = words[i+2], true
			i++
		case bytes.EqualFold(words[i], []byte("setname")) && i+1 < len(words):
			rest = append(rest, words[i], words[i+1])
		default:
			return append(rest, words[i:]...), password, found
		}
	}
	return rest, password, found
}

// asks is the protocol that HELLO asks for, empty if for none or if it would be
// refused.
func asks(words [][]byte) string {
	if len(words) < 2 || len(words)%2 != 0 {
		return ""
	}
	for i := 2; i < len(words); i += 2 {
		if !bytes.EqualFold(words[i], []byte("setname")) {
			return ""
		}
	}
	if protocol := string(words[1]); protocol == "2" || protocol == "3" {
		return protocol
	}
	return ""
}

// auth answers the client's own AUTH, which is not for the server: the session is
// signed in.
func (s *Session) auth(words [][]byte, out *output) {
	multi := s.inMulti()
	s.standIn(out)
	switch {
	case len(words) > 3 || len(words) == 1:
		s.answer(resp.AppendError(nil, textSyntax))
	case multi:
		s.answer(resp.AppendError(nil, textAuthInMulti))
	case !s.right(words[len(words)-1]):
		s.answer(resp.AppendError(nil, textWrongPassword))
	default:
		s.answer(resp.AppendSimple(nil, "OK"))
	}
}

// hello passes HELLO on without its AUTH.
func (s *Session) hello(words [][]byte, frame []byte, out *output) {
	rest, password, signsIn := signIn(words)
	if signsIn {
		if !s.right(password) {
			s.standIn(out)
			s.answer(resp.AppendError(nil, textWrongPassword))
			return
		}
		frame = resp.AppendArrayHeader(nil, len(rest))
		for _, w := range rest {
			frame = resp.AppendBulk(frame, w)
		}
	}
	out.add(frame)
	a := awaited{kind: hello, count: s.audible(), name: asks(rest)}
	if s.inMulti() { // it would change the protocol inside the answer to EXEC
		a.kind = unsettles
	}
	s.expect(a)
}
