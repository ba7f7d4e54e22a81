package gate

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	textClientName = "ERR Client names cannot contain spaces, newlines or special characters."
	textSyntax     = "ERR syntax error"
)

// about is what a client has told of itself and CLIENT LIST tells of it, kept for
// the embedded engine alone.
type about struct {
	name, libName, libVersion string

	command string    // the last one
	at      time.Time // of that
}

// notice notes the last command of the connection.
func (s *session) notice(name string) {
	now := s.gate.World.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.about.command, s.about.at = name, now
}

// maxClientWord bounds what a client may have kept of itself; Redis does not.
const maxClientWord = 1 << 10

// clientWord is whether Redis would take a text for a name: of visible ASCII.
func clientWord[T string | []byte](text T) bool {
	if len(text) > maxClientWord {
		return false
	}
	for i := range len(text) {
		if text[i] < '!' || text[i] > '~' {
			return false
		}
	}
	return true
}

func clientSetName(s *session, args [][]byte, a *answer) {
	if !clientWord(args[2]) {
		a.fail(textClientName)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.about.name = string(args[2])
	a.ok()
}

func clientGetName(s *session, _ [][]byte, a *answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.about.name == "" {
		a.null()
		return
	}
	a.bulk(s.about.name)
}

// clientSetInfo is of Redis 7.2 and Valkey. Clients send it to every server.
func clientSetInfo(s *session, args [][]byte, a *answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	attribute, ok := map[string]*string{"lib-name": &s.about.libName, "lib-ver": &s.about.libVersion}[word(args[2])]
	switch {
	case !ok:
		a.fail("ERR Unrecognized option '%.128s'", args[2])
	case !clientWord(args[3]):
		a.fail("ERR %s cannot contain spaces, newlines or special characters.", word(args[2]))
	default:
		*attribute = string(args[3])
		a.ok()
	}
}

// onOrOff takes a switch that means nothing here: nothing is evicted.
func onOrOff(_ *session, args [][]byte, a *answer) {
	if on := word(args[2]); on != "on" && on != "off" {
		a.fail(textSyntax)
		return
	}
	a.ok()
}

// clientReplyOn takes what is so anyway.
func clientReplyOn(_ *session, args [][]byte, a *answer) {
	switch word(args[2]) {
	case "on":
		a.ok()
	case "off", "skip":
		a.fail(textNotEmbedded, "CLIENT REPLY OFF or SKIP")
	default:
		a.fail(textSyntax)
	}
}

// line describes the connection as CLIENT LIST does. What the gate does not know
// is left out: the database, the sizes of buffers.
func (s *session) line() string {
	now := s.gate.World.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	flags, proto := "", 2
	if s.pairing.subscribed() {
		flags += "P"
	}
	if s.pairing.inMulti {
		flags += "x"
	}
	if s.pairing.resp3 {
		proto = 3
	}
	return fmt.Sprintf("id=%d addr=%s laddr=%s name=%s age=%d idle=%d flags=%s sub=%d psub=%d ssub=%d cmd=%s user=%s redir=-1 resp=%d lib-name=%s lib-ver=%s\n",
		s.id, s.client.RemoteAddr(), s.client.LocalAddr(), s.about.name, seconds(now.Sub(s.opened)), s.idle(now), cmp.Or(flags, "N"),
		s.pairing.channels, s.pairing.patterns, s.pairing.shards, cmp.Or(s.about.command, "NULL"),
		cmp.Or(s.grant.member.Name, "default"), proto, s.about.libName, s.about.libVersion)
}

func seconds(d time.Duration) int64 { return int64(max(d, 0) / time.Second) }

// idle is how many seconds ago the last command came. Its caller holds mu.
func (s *session) idle(now time.Time) int64 {
	if s.about.at.IsZero() {
		return seconds(now.Sub(s.opened))
	}
	return seconds(now.Sub(s.about.at))
}

// clientKinds are the types of connections; of some there are none.
var clientKinds = []string{"normal", "master", "replica", "slave", "pubsub"}

func (s *session) kind() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pairing.subscribed() {
		return "pubsub"
	}
	return "normal"
}

// clientList answers CLIENT LIST [TYPE type | ID id …].
func clientList(s *session, args [][]byte, a *answer) {
	picks := func(*session) bool { return true }
	switch {
	case len(args) == 2:
	case len(args) == 4 && word(args[2]) == "type":
		kind := word(args[3])
		if !slices.Contains(clientKinds, kind) {
			a.fail("ERR Unknown client type '%.128s'", args[3])
			return
		}
		picks = func(other *session) bool { return other.kind() == kind }
	case len(args) > 3 && word(args[2]) == "id":
		ids := map[uint64]bool{}
		for _, arg := range args[3:] {
			id, err := strconv.ParseInt(string(arg), 10, 64)
			if err != nil {
				a.fail("ERR Invalid client ID")
				return
			}
			ids[uint64(id)] = true
		}
		picks = func(other *session) bool { return ids[other.id] }
	default:
		a.fail(textSyntax)
		return
	}
	var lines strings.Builder
	for _, other := range s.gate.live() {
		if picks(other) {
			lines.WriteString(other.line())
		}
	}
	a.text(lines.String())
}

// A clientFilter is what CLIENT KILL looks for; a zero field is not looked at.
type clientFilter struct {
	id                      uint64
	kind, addr, laddr, user string
	takesMe                 bool // SKIPME no
}

// clientKill answers CLIENT KILL address and CLIENT KILL filter value ….
func clientKill(s *session, args [][]byte, a *answer) {
	f := clientFilter{addr: string(args[2]), takesMe: true}
	old := len(args) == 3
	if !old {
		var problem string
		if f, problem = s.parseFilter(args[2:]); problem != "" {
			a.fail("%s", problem)
			return
		}
	}
	var killed int64
	for _, other := range s.gate.live() {
		if f.picks(other) && (other != s || f.takesMe) {
			killed++
			other.kill(s)
		}
	}
	switch {
	case !old:
		a.integer(killed)
	case killed == 0:
		a.fail("ERR No such client")
	default:
		a.ok()
	}
}

// parseFilter parses pairs of a word and a value.
func (s *session) parseFilter(args [][]byte) (f clientFilter, problem string) {
	if len(args)%2 != 0 {
		return f, textSyntax
	}
	for pair := range slices.Chunk(args, 2) {
		value := string(pair[1][:min(len(pair[1]), 128)])
		switch word(pair[0]) {
		case "id":
			id, err := strconv.ParseInt(value, 10, 64)
			if err != nil || id <= 0 {
				return f, "ERR client-id should be greater than 0"
			}
			f.id = uint64(id)
		case "type":
			if f.kind = strings.ToLower(value); !slices.Contains(clientKinds, f.kind) {
				return f, "ERR Unknown client type '" + value + "'"
			}
		case "addr":
			f.addr = value
		case "laddr":
			f.laddr = value
		case "user":
			if _, ok := s.gate.World.Member(s.gate.Cache, value); !ok {
				return f, "ERR No such user '" + value + "'"
			}
			f.user = value
		case "skipme":
			if value = strings.ToLower(value); value != "yes" && value != "no" {
				return f, textSyntax
			}
			f.takesMe = value == "no"
		default:
			return f, textSyntax
		}
	}
	return f, ""
}

func (f *clientFilter) picks(s *session) bool {
	user, _ := s.signedIn()
	return (f.id == 0 || f.id == s.id) &&
		(f.kind == "" || f.kind == s.kind()) &&
		(f.addr == "" || f.addr == s.client.RemoteAddr().String()) &&
		(f.laddr == "" || f.laddr == s.client.LocalAddr().String()) &&
		(f.user == "" || f.user == user)
}

// kill ends the connection at the request of another, or of its own once that is
// answered. It does not wait: two connections may kill each other.
func (s *session) kill(by *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.killed = true
	if s != by {
		go s.close()
	}
}

// over is whether the connection has been killed.
func (s *session) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.killed
}

// live lists the connections that nobody has killed, oldest first.
func (g *Gate) live() []*session {
	g.mu.Lock()
	defer g.mu.Unlock()
	list := make([]*session, 0, len(g.sessions))
	for _, s := range g.sessions {
		if !s.over() {
			list = append(list, s)
		}
	}
	slices.SortFunc(list, func(a, b *session) int { return cmp.Compare(a.id, b.id) })
	return list
}

// word is an option in lower case; one that is too long to be any is cut.
func word(arg []byte) string { return string(bytes.ToLower(arg[:min(len(arg), 64)])) }
