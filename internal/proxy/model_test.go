package proxy_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"

	"github.com/rediam/rediam/internal/proxy"
	"github.com/rediam/rediam/internal/resp"
)

// modelRoom is how much of a client is held; what is larger has to be passed on in
// parts.
const modelRoom = 160

// dice are the fuzzer's bytes, which decide everything.
type dice struct{ bytes []byte }

func (d *dice) over() bool { return len(d.bytes) == 0 }

// of is a number below n, and 0 when the bytes are used up.
func (d *dice) of(n int) int {
	if d.over() {
		return 0
	}
	b := d.bytes[0]
	d.bytes = d.bytes[1:]
	return int(b) % n
}

// requestKinds are what clients say. # is a word that no other request has, ! a long
// one, and PASS a password: the right one or another.
var requestKinds = []string{
	"get #", "get #", "get #", "set # v", "mget #", "hgetall #", "incr #", "lrange # subscribe 0", "lrange # message 0", "lrange # pong 0",
	"ping", "ping #", "ping # x", "nosuch #", "get", "", "*0", "publish a #", "client id",
	"set # !", "mget # !", "ping !", "echo !", "lrange # unsubscribe !", "subscribe a !", "unsubscribe !",
	"multi", "multi", "multi #", "exec", "exec", "exec #", "discard", "discard #", "watch #",
	"hello", "hello 2", "hello 3", "hello 3", "hello 4", "hello x", "hello 2 nosuch", "hello 3 setname #",
	"hello 3 auth u PASS", "hello 2 setname # auth u PASS", "hello 3 auth u PASS setname #", "hello 3 auth u PASS auth u PASS",
	"auth PASS", "auth u PASS", "auth a b c", "sync",
	"subscribe a", "subscribe a b a", "subscribe denied a", "subscribe", "psubscribe p*", "ssubscribe s", "ssubscribe t", "subscribe " + invalidations,
	"unsubscribe", "unsubscribe a", "unsubscribe b none", "unsubscribe " + invalidations, "punsubscribe", "punsubscribe p*", "sunsubscribe", "sunsubscribe s",
	"client reply off", "client reply on", "client reply on", "client reply skip", "client reply bad", "asking",
	"client tracking on", "client tracking on optin", "client tracking on optout", "client tracking off", "client caching yes", "client caching no",
	"monitor", "reset", "reset #", "quit",
}

var eventKinds = []string{"message", "message", "pmessage", "smessage", "a slot moves", "an invalidation", "a redirected invalidation", "a redirected FLUSHALL", "a redirection ends", "a command of another"}

// payloads could be taken for something else.
var payloads = []string{"m", "", "_\r\n", "+RESET\r\n", "*3\r\n$9\r\nsubscribe\r\n", strings.Repeat("-ERR long\r\n", 30)}

// A said request is one of the client's.
type said struct {
	kind  string
	words []string
	end   int // where it ends in all that the client says
}

// A pushed event has its place in what the client gets.
type pushed struct {
	event
	behind int // the last request executed before it, -1 for none
	at     int // where it begins in all that the server sends
	taken  int // requests that the session had taken when it began to come; -1 before
	got    int // bytes that the client had got then
}

// A signIn is one of the proxy's.
type signIn struct {
	password string
	blind    bool
	executed bool
	accepted bool
	outcomes []error
}

// A play is a session between a client that says what the dice want and a model,
// which answers when they want it.
type play struct {
	dice
	session proxy.Session
	server  *model
	wrong   string // what has failed
	told    bool   // everything is to be written down
	log     []string

	said            []said
	words           int    // of the client's, which are to be told from one another
	unsent, pending []byte // of the client: not written yet, and not taken yet
	total, gone     int    // bytes of the client, and those taken
	taken           int    // requests
	received        []byte
	holding         bool
	blocked         bool  // the session has left bytes that it may take later
	ended           error // of the session

	executed []int // requests of the client that the server has got
	ends     []int // and where the answer to each ends
	sent     int   // bytes of the server
	pushes   []*pushed
	signIns  []*signIn

	multi, opaque, tears, torn, dubious bool // what the client may have done, to leave out what has no one answer
}

func (p *play) failf(format string, args ...any) {
	if p.wrong == "" {
		p.wrong = fmt.Sprintf(format, args...)
	}
}

func (p *play) note(format string, args ...any) {
	if p.told {
		p.log = append(p.log, fmt.Sprintf(format, args...))
	}
}

func newPlay(data []byte, told bool) *play {
	p := &play{dice: dice{data}, told: told}
	setup := p.of(8)
	p.server = &model{engine: []string{"redis 7", "redis 8", "valkey 8.0", "valkey 8.1"}[setup%4], signedIn: true, signIn: p.signedIn}
	if setup >= 6 {
		p.session.Password = "open"
	}
	p.note("%s, password %q", p.server.engine, p.session.Password)
	return p
}

// run plays to the end of the dice, and then until nothing moves any more.
func (p *play) run() {
	for !p.over() && p.wrong == "" {
		p.step()
	}
	p.note("--- the end")
	p.say("get #") // uses up what is for one command
	for p.wrong == "" && p.settle() {
	}
	if p.ended == nil && !p.server.closed && !p.torn && p.holding && p.session.Settles() && !p.session.Safe() {
		p.failf("the client is held, and everything is answered, and still it is not safe to sign in")
	}
	p.hold(false)
	for p.wrong == "" && p.settle() {
	}
	p.judge()
}

func (p *play) step() {
	switch action := p.of(18); action {
	case 0, 1, 2, 3, 4, 5:
		p.say(requestKinds[p.of(len(requestKinds))])
	case 6:
		p.send(1 + p.of(24))
	case 7, 8:
		p.send(len(p.unsent))
	case 9, 10:
		p.serve(1 + p.of(4))
	case 11:
		p.answer(1 + p.of(40))
	case 12:
		p.answer(len(p.server.out))
	case 13:
		p.happen(event{eventKinds[p.of(len(eventKinds))], payloads[p.of(len(payloads))]})
	case 14, 16, 17:
		p.renew(p.of(3), p.of(4) > 0)
	case 15:
		switch p.of(3) {
		case 0:
			p.hold(true)
		case 1:
			p.hold(false)
		case 2:
			p.note("resume")
			p.session.Resume()
			p.take()
		}
	}
}

// hold has the client wait at the end of a request, or lets it go on.
func (p *play) hold(on bool) {
	p.note("hold: %v", on)
	p.holding = on
	p.session.Hold(on)
	if !on {
		p.take()
	}
}

// boundary is whether all requests have been taken that have been begun.
func (p *play) boundary() bool { return p.begun() == p.taken }

// say has the client say something.
func (p *play) say(kind string) {
	last := ""
	for i := len(p.said) - 1; i >= 0 && (last == "" || last == "*0"); i-- {
		last = p.said[i].kind
	}
	verb, _, _ := strings.Cut(kind, " ")
	before := func(kinds ...string) bool {
		return slices.ContainsFunc(p.said, func(s said) bool { return slices.Contains(kinds, s.kind) })
	}
	subscribe := strings.HasSuffix(verb, "subscribe")
	local := verb == "auth" || verb == "sync" || strings.Contains(kind, "PASS") // may be answered by the proxy
	switch {
	case last == "quit":
		return
	case local && slices.ContainsFunc(p.said[max(0, len(p.said)-4):], func(s said) bool { return s.kind == "publish a #" || s.kind == "exec" && before("publish a #") }):
		return // the client's own message may come before the answer or after it
	case p.multi && subscribe && strings.Contains(kind, "!"): // is refused
		return
	case p.opaque && local: // when it is answered is not sure
		return
	case p.torn && kind == "reset": // a reply is not whole, and RESET's would be part of it
		return
	case kind == "reset" && strings.Contains(last, "skip"): // is refused
		return
	case p.session.Password != "" && (strings.Contains(kind, "!") || kind == "hello 4" || kind == "hello x" || kind == "hello 2 nosuch"):
		return // refused in another order, or for another reason
	}
	p.opaque = p.opaque || verb == "monitor" || p.multi && (subscribe || verb == "hello" || strings.HasPrefix(kind, "client reply")) ||
		subscribe && before("client reply off", "client reply skip", "asking", "client caching yes", "client caching no") ||
		(verb == "hello" || strings.HasPrefix(kind, "client tracking")) && before("client reply off", "client reply skip") ||
		verb == "hello" && slices.ContainsFunc(p.said, func(s said) bool { return strings.Contains(s.kind, "subscribe ") })
	p.tears = p.tears || p.multi && (subscribe || kind == "client reply off" || kind == "client reply skip")
	p.torn = p.torn || p.tears && verb == "exec"
	p.multi = kind == "multi" || p.multi && verb != "exec" && kind != "discard" && kind != "reset"
	p.dubious = p.dubious || p.multi && (subscribe || verb == "hello" || strings.HasPrefix(kind, "client reply"))
	if kind == "reset" {
		p.opaque, p.dubious, p.tears = false, false, false
	}
	p.write(kind, p.fill(kind))
}

// fill puts words in.
func (p *play) fill(kind string) (words []string) {
	for _, w := range strings.Fields(kind) {
		switch w {
		case "#":
			p.words++
			w = fmt.Sprint("w", p.words)
		case "!":
			p.words++
			w = fmt.Sprint("w", p.words) + strings.Repeat("*1\r\n", 100)
		case "PASS":
			if w = "open"; p.of(4) == 0 {
				w = "wrong"
			}
		}
		words = append(words, w)
	}
	if len(words) == 0 || kind == "*0" {
		return words
	}
	// The case of the letters tells requests from one another that are the same, and
	// from those of the proxy, which are in capitals.
	n := len(p.said) % (1<<len(words[0]) - 1)
	name := []byte(words[0])
	for i := range name {
		if n>>i&1 == 1 {
			name[i] -= 'a' - 'A'
		}
	}
	words[0] = string(name)
	return words
}

func (p *play) write(kind string, words []string) {
	var b []byte
	switch text := strings.Join(words, " "); {
	case text == "*0":
		words, b = nil, []byte("*0\r\n")
	case !strings.Contains(text, "\r") && p.of(4) == 0:
		b = []byte(text + []string{"\n", "\r\n"}[p.of(2)])
	default:
		b = resp.AppendCommand(nil, words...)
	}
	p.unsent = append(p.unsent, b...)
	p.total += len(b)
	p.note("client says %.80q", words)
	p.said = append(p.said, said{kind, words, p.total})
}

// send writes n bytes of the client's, as far as there is room.
func (p *play) send(n int) {
	n = min(n, len(p.unsent), modelRoom-len(p.pending))
	p.pending = append(p.pending, p.unsent[:n]...)
	p.unsent = p.unsent[n:]
	p.take()
}

// take offers the session what has come of the client.
func (p *play) take() {
	if p.ended != nil {
		return
	}
	b := bytes.Clone(p.pending)
	full := len(b) == modelRoom
	before, waits := p.taken, p.holding && p.boundary()
	n, up, err := p.session.Client(b, full)
	for _, part := range up {
		p.server.in += string(part)
	}
	p.note("the session takes %d bytes of %d, %.200q goes up", n, len(b), up)
	if p.holding && n > 0 && waits {
		p.failf("the session takes %d bytes of a client that is held", n)
	}
	clear(b) // it is the client's buffer again
	p.pending = p.pending[n:]
	p.gone += n
	for p.taken < len(p.said) && p.said[p.taken].end <= p.gone {
		p.taken++
	}
	if p.holding && (p.taken > before+1 || p.taken > before && !p.boundary()) {
		p.failf("the session takes %d requests of a client that is held", p.taken-before)
	}
	if p.ended = err; err != nil {
		p.note("the session ends: %v", err)
	} else if p.blocked = p.session.Waits() || p.session.Held(); full && n == 0 && !p.blocked {
		p.failf("the session takes nothing of what is all that it can get, and does not wait")
	}
	if p.session.Due() || err != nil {
		p.get(p.session.Local())
	}
	p.count()
}

// begun is how many requests have been taken, with one that has been in part.
func (p *play) begun() int {
	if p.taken < len(p.said) && p.gone > 0 && (p.taken == 0 || p.gone > p.said[p.taken-1].end) {
		return p.taken + 1
	}
	return p.taken
}

func (p *play) get(down [][]byte) {
	for _, part := range down {
		p.note("client gets %.200q", part)
		p.received = append(p.received, part...)
	}
}

// count checks that the session forgets what is answered.
func (p *play) count() {
	answered := 0
	for i, index := range p.executed {
		if p.ends[i] <= p.sent {
			answered = index + 1
		}
	}
	if queued, _ := p.session.Queued(); queued > p.taken+1-answered+4 && !p.torn {
		p.failf("the session awaits %d answers for %d requests", queued, p.taken-answered)
	}
}

// serve has the server execute up to n requests.
func (p *play) serve(n int) {
	for ; n > 0; n-- {
		words, ok := p.server.request()
		if !ok {
			return
		}
		p.note("server executes %.80q", words)
		client := len(words) > 0 && words[0] != "AUTH" && words[0] != "HELLO" && words[0] != "PING"
		if client {
			p.match(words)
		} else if m := p.server; len(words) > 1 && words[0] == "HELLO" && (m.multi || m.silent() || m.asking || m.caching) {
			p.failf("the session changes the protocol where it does harm")
		}
		p.server.execute(words)
		if client {
			p.ends = append(p.ends, p.sent+len(p.server.out))
		}
	}
}

// match finds out which request the server has got.
func (p *play) match(words []string) {
	i := p.behind() + 1
	for ; i < len(p.said) && !slices.Equal(passedOn(p.said[i].words), words); i++ {
	}
	if i == len(p.said) {
		p.failf("the server got %q, which the client has not said", words)
		i = p.behind()
	}
	p.executed = append(p.executed, i)
}

// passedOn is what should become of a request: HELLO without its AUTH.
func passedOn(words []string) []string {
	if len(words) == 0 || !strings.EqualFold(words[0], "hello") {
		return words
	}
	words = slices.Clone(words)
	for i := slices.Index(words, "auth"); i > 0; i = slices.Index(words, "auth") {
		words = slices.Delete(words, i, i+3)
	}
	return words
}

// behind is the last request that the server has got.
func (p *play) behind() int {
	if len(p.executed) == 0 {
		return -1
	}
	return p.executed[len(p.executed)-1]
}

// answer gives the session n bytes of the server's. Where answers of its own wait,
// it gets an event by itself, so that it is known what came before.
func (p *play) answer(n int) {
	for n = min(n, len(p.server.out)); n > 0; {
		piece := n
		_, locals := p.session.Queued()
		for _, e := range p.pushes {
			switch {
			case e.taken >= 0 || e.at >= p.sent+n:
			case locals > 0 && e.at > p.sent:
				piece = min(piece, e.at-p.sent)
			default:
				if e.taken, e.got = p.begun(), len(p.received); locals == 0 {
					e.got = 1 << 30
				}
			}
		}
		for _, e := range p.pushes { // what has been put off
			if e.taken >= 0 && e.at >= p.sent+piece {
				e.taken = -1
			}
		}
		b := []byte(p.server.out[:piece])
		p.server.out = p.server.out[piece:]
		p.sent += piece
		n -= piece
		p.note("server answers %.200q", b)
		down, err := p.session.Server(b)
		p.get(down)
		clear(b)
		if err != nil {
			p.failf("the session does not understand the server: %v", err)
			return
		}
		p.count()
	}
	if p.blocked {
		p.take()
	}
}

// happen has others do something.
func (p *play) happen(e event) {
	switch {
	case p.server.closed:
		return
	case e.what != "a slot moves":
	case p.server.engine == "valkey 8.0": // its NOSUB behind this cannot be told from an answer to something else
		return
	case p.session.Lifted() && !p.server.subscribedTo(0, 1): // the proxy may have refused something meanwhile
		return
	}
	at := p.sent + len(p.server.out)
	p.server.happen(e)
	place := &pushed{event: e, behind: p.behind(), at: at, taken: -1}
	if p.sent+len(p.server.out) == at { // nobody gets it
		place.at, place.taken = 0, place.behind+1
	}
	p.note("%s, %.20q", e.what, e.text)
	p.pushes = append(p.pushes, place)
}

// renew signs in, in one of the three ways, if the session lets it.
func (p *play) renew(how int, good bool) bool {
	if p.ended != nil {
		return false
	}
	s := &signIn{password: fmt.Sprint("bad-", len(p.signIns)), blind: how == 2}
	if good {
		s.password = fmt.Sprint("good-", len(p.signIns))
	}
	outcome := func(err error) { s.outcomes = append(s.outcomes, err) }
	var up []byte
	var ok, want bool
	switch how {
	case 0:
		want = p.session.Safe()
		up, ok = p.session.Renew("rediam", s.password, outcome)
	case 1:
		want = p.session.Insertable()
		up, ok = p.session.Insert("rediam", s.password, outcome)
	case 2:
		want = p.session.Blindable()
		up, ok = p.session.Blind("rediam", s.password)
	}
	if ok != want {
		p.failf("a sign-in goes in: %v, though it was said: %v", ok, want)
	}
	if ok {
		p.note("signs in with %s, way %d", s.password, how)
		p.server.in += string(up)
		p.signIns = append(p.signIns, s)
	}
	return ok
}

// signedIn is what becomes of a sign-in at the server.
func (p *play) signedIn(words []string) bool {
	m := p.server
	i := slices.IndexFunc(p.signIns, func(s *signIn) bool { return len(words) == 3 && s.password == words[2] })
	if i < 0 || p.signIns[i].executed {
		p.failf("the server got %q, which nobody sent", words)
		return false
	}
	s := p.signIns[i]
	if m.multi || m.silent() != s.blind || m.asking || m.caching || m.monitor || m.restricted() {
		p.failf("%s came where it does harm", s.password)
	}
	s.executed = true
	s.accepted = strings.HasPrefix(s.password, "good")
	return s.accepted
}

// settle moves everything on as far as it goes, and is false if nothing moves.
func (p *play) settle() bool {
	before := [...]int{len(p.unsent), p.gone, len(p.server.in), p.sent, len(p.received), len(p.executed), len(p.signIns)}
	if len(p.unsent) > 0 || p.blocked {
		p.send(len(p.unsent))
	}
	p.serve(1 << 30)
	p.answer(len(p.server.out))
	if p.session.SignedOut() && p.ended == nil {
		p.renew(0, true)
	}
	return before != [...]int{len(p.unsent), p.gone, len(p.server.in), p.sent, len(p.received), len(p.executed), len(p.signIns)}
}

// judge compares what has come of it with what comes of the same without a proxy.
func (p *play) judge() {
	direct := p.direct()
	if want := direct.out; string(p.received) != want && p.wrong == "" {
		same := 0
		for same < min(len(want), len(p.received)) && want[same] == p.received[same] {
			same++
		}
		p.failf("from byte %d on the client got %.300q, want %.300q", same, p.received[same:], want[same:])
	}
	if p.server.closed || p.ended != nil {
		return
	}
	if p.gone < p.total {
		p.failf("%d bytes of the client were never taken", p.total-p.gone)
	}
	p.outcomes()
	if direct.uncountable || direct.monitor || direct.multi || direct.asking || direct.caching || direct.skip || direct.off || !direct.signedIn || p.server.restricted() || p.dubious && !p.session.Safe() {
		return
	}
	if got := len(p.received); !p.session.Safe() || !p.renew(0, true) {
		p.failf("it is not safe to sign in: %s", p.session.Bar())
	} else if p.settle(); len(p.received) != got {
		p.failf("a sign-in gave the client %q", p.received[got:])
	}
	if queued, _ := p.session.Queued(); queued > 0 || !p.session.Answered() {
		p.failf("the session awaits %d answers that it has got", queued)
	}
	p.outcomes()
}

// outcomes checks that the session tells what has become of the sign-ins.
func (p *play) outcomes() {
	for _, s := range p.signIns {
		switch {
		case !s.executed:
			p.failf("%s did not reach the server", s.password)
		case s.blind:
		case len(s.outcomes) != 1:
			p.failf("%s has the outcomes %v", s.password, s.outcomes)
		case (s.outcomes[0] == nil) != s.accepted:
			p.failf("%s has the outcome %v", s.password, s.outcomes[0])
		}
	}
}

// direct plays the same without a proxy, to a server that does by itself what is
// documented of the proxy. What others do happens at the same places.
func (p *play) direct() *model {
	m := &model{engine: p.server.engine, password: p.session.Password, signedIn: p.session.Password == ""}
	m.local = func(name string, words []string) bool { return p.local(m, name, words) }
	next := 0
	execute := func() {
		if !m.closed {
			m.execute(p.said[next].words)
		}
		next++
	}
	for _, e := range p.pushes {
		for next <= e.behind {
			execute()
		}
		for next < e.taken && len(m.out) < e.got && (!slices.Contains(p.executed, next) || !m.restricted() && m.unseen(p.said[next].words)) {
			execute()
		}
		m.happen(e.event)
	}
	for next < len(p.said) {
		execute()
	}
	return m
}

// local is what the proxy answers in the server's place.
func (p *play) local(m *model, name string, words []string) bool {
	hello := name == "hello" && slices.Contains(words, "auth")
	if name != "auth" && name != "sync" && !hello {
		return false
	}
	password := words[len(words)-1]
	for i, w := range words {
		if hello && w == "auth" { // the last counts
			password = words[i+2]
		}
	}
	right := m.password == "" || password == m.password
	answer := "-WRONGPASS invalid username-password pair or user is disabled.\r\n"
	switch {
	case name == "sync" && !m.signedIn, hello && (right || !m.multi && !m.restricted()):
		return false
	case name == "sync":
		answer = "-ERR rediam: replication is not for clients\r\n"
	case hello:
	case len(words) < 2 || len(words) > 3:
		answer = "-ERR syntax error\r\n"
	case m.multi:
		answer = "-ERR rediam: AUTH inside MULTI is not supported\r\n"
	case right:
		answer = "+OK\r\n"
	}
	// The proxy does not always know that a server would refuse it to a subscriber.
	if refused := "-" + cannot(name) + "\r\n"; m.restricted() && len(m.out) < len(p.received) && bytes.HasPrefix(p.received[len(m.out):], []byte(refused)) {
		answer = refused
	} else {
		m.signedIn = m.signedIn || name == "auth" && answer == "+OK\r\n"
	}
	m.say("%s", answer)
	return true
}

// played is nil if all went as it should.
func played(data []byte) error {
	p := newPlay(data, false)
	if p.run(); p.wrong == "" {
		return nil
	}
	p = newPlay(data, true) // once more, for the log
	p.run()
	return errors.New(p.wrong + "\n\t" + strings.Join(p.log, "\n\t"))
}

// Whatever a client and its server say, and whenever the proxy signs in, the client
// gets what it would get without a proxy.
func FuzzSession(f *testing.F) {
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := played(data[:min(len(data), 400)]); err != nil {
			t.Error(err)
		}
	})
}

func TestASessionIsNotNoticed(t *testing.T) {
	random := rand.New(rand.NewSource(1))
	for i := range 8000 {
		data := make([]byte, 20+random.Intn(200))
		random.Read(data)
		if err := played(data); err != nil {
			t.Fatalf("play %d: %v\n\tdata %q", i, err, data)
		}
	}
}
