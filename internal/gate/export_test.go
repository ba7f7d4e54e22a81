package gate

// What the tests of the pairing need; nothing else sees it.
type (
	Pairing   = pairing
	ReplyKind = replyKind
)

const (
	Plain       = plain
	Swallowed   = swallowed
	Subscribes  = subscribes
	StartsMulti = startsMulti
	EndsMulti   = endsMulti
	Discards    = discards
)

func (p *pairing) Expect(kind ReplyKind, count int64, name string) {
	p.expect(expected{kind: kind, count: count, name: name})
}

func (p *pairing) ExpectHello() { p.expect(expected{count: 1, then: p.noteProtocol}) }

func (p *pairing) ExpectMonitor() {
	p.expect(expected{count: 1, then: func(ok bool) { p.opaque = p.opaque || ok }})
}

func (p *pairing) Feed(b []byte) ([][]byte, error) { return p.feed(b) }

// State is what the session asks of a pairing.
type State struct {
	Waiting                             int64 // frames still to come
	Drained, RESP3, InMulti, Subscribed bool
}

func (p *pairing) State() State {
	s := State{Drained: p.drained(), RESP3: p.resp3, InMulti: p.inMulti, Subscribed: p.subscribed()}
	for _, e := range p.queue {
		s.Waiting += e.count
	}
	return s
}
