package gate

import (
	"slices"
	"strconv"

	"github.com/rediam/rediam/internal/resp"
)

// pairing follows the replies of an engine, so that the session knows which
// requests are still unanswered and what state the connection is in. The facts
// are those of Redis 7.0 to 8.0 and Valkey 8.
type pairing struct {
	replies resp.Replies
	queue   []expected // requests without their replies, oldest first

	drop     bool // whether the frame in progress is not for the client
	resp3    bool
	inMulti  bool
	channels int64 // subscriptions; each kind's frames tell the sum of the first two
	patterns int64
	shards   int64

	opaque bool // after MONITOR, when replies can no longer be paired
}

// An expected reply. Plain ones that follow one another share an entry.
type expected struct {
	kind  replyKind
	count int64      // frames still to come
	name  string     // of the frames of a subscription
	then  func(bool) // called with whether the reply was no error
}

type replyKind uint8

const (
	plain       replyKind = iota
	swallowed             // not for the client
	subscribes            // count frames with the name, or one error; a count of 0 means one frame for each subscription there is, at least one
	startsMulti           // an error leaves the state as it was
	endsMulti             // EXEC: any reply ends the transaction
	discards              // DISCARD: an error leaves it open
)

// expect adds a reply, or count of them.
func (p *pairing) expect(e expected) {
	if n := len(p.queue); e.kind == plain && e.then == nil && n > 0 && p.queue[n-1].kind == plain && p.queue[n-1].then == nil {
		p.queue[n-1].count += e.count
		return
	}
	p.queue = append(p.queue, e)
}

// drained is whether every request has its reply, so that something else may be
// written between two frames.
func (p *pairing) drained() bool {
	return p.replies.Idle() && (len(p.queue) == 0 || p.opaque)
}

func (p *pairing) subscribed() bool { return p.channels+p.patterns+p.shards > 0 }

// feed takes bytes from the engine, notes what they mean and returns the parts of
// b that are for the client. With an error of the framing they are those before it.
func (p *pairing) feed(b []byte) (parts [][]byte, err error) {
	at, kept := 0, 0 // b[kept:at] is for the client
	for at < len(b) && err == nil {
		if p.replies.Idle() {
			p.drop = len(p.queue) > 0 && p.queue[0].kind == swallowed && b[at] != '>'
		}
		if p.drop && at > kept {
			parts = append(parts, b[kept:at])
		}
		var n int
		var done bool
		n, done, err = p.replies.Feed(b[at:])
		at += n
		if p.drop {
			kept = at
		}
		if done {
			p.frame()
		}
	}
	if at > kept {
		parts = append(parts, b[kept:at])
	}
	return parts, err
}

// frame notes what the frame that has just ended means.
func (p *pairing) frame() {
	kind := p.replies.Type()
	if kind == '>' {
		p.subscription()
		return
	}
	// In RESP2 alone, where it takes nothing else meanwhile, a connection with
	// subscriptions is sent arrays that are no replies.
	if kind == '*' && !p.resp3 && (p.subscribed() || p.awaitsSubscription()) && (p.subscription() || p.message()) {
		return
	}
	if len(p.queue) > 0 {
		p.reply(kind != '-' && kind != '!')
	}
}

// message is whether a frame that looks like a reply was published by somebody.
func (p *pairing) message() bool {
	switch string(p.replies.Head(0)) {
	case "message", "pmessage", "smessage":
		return true
	}
	return false
}

func (p *pairing) awaitsSubscription() bool { return len(p.queue) > 0 && p.queue[0].name != "" }

// subscription notes a frame of SUBSCRIBE, UNSUBSCRIBE and their like, which ends
// in the number of subscriptions that are left: of channels and patterns
// together, or of shard channels. It is false for any other frame.
func (p *pairing) subscription() bool {
	name := string(p.replies.Head(0))
	left, err := strconv.ParseInt(string(p.replies.Head(2)), 10, 64)
	if err != nil {
		return false
	}
	var before int64
	switch name {
	case "subscribe", "unsubscribe":
		before, p.channels = p.channels, left-p.patterns
	case "psubscribe", "punsubscribe":
		before, p.patterns = p.patterns, left-p.channels
	case "ssubscribe", "sunsubscribe":
		before, p.shards = p.shards, left
	default:
		return false
	}
	if !p.awaitsSubscription() || p.queue[0].name != name {
		return true // a slot moved away
	}
	head := &p.queue[0]
	if head.count == 0 {
		head.count = before // one frame comes even if that is 0
	}
	p.answered()
	return true
}

// reply notes an answer to the oldest request.
func (p *pairing) reply(ok bool) {
	head := p.queue[0]
	switch head.kind {
	case startsMulti:
		p.inMulti = p.inMulti || ok
	case endsMulti:
		p.inMulti = false
	case discards:
		p.inMulti = p.inMulti && !ok
	case subscribes:
		p.queue[0].count = 1 // one error stands for all frames
	}
	p.answered()
	if head.then != nil {
		head.then(ok)
	}
}

// answered takes one frame off the oldest request.
func (p *pairing) answered() {
	p.queue[0].count--
	if p.queue[0].count <= 0 {
		p.queue = slices.Delete(p.queue, 0, 1)
	}
}

// noteProtocol notes the version in the answer to HELLO.
func (p *pairing) noteProtocol(ok bool) {
	if ok {
		p.resp3 = p.proto() == "3"
	}
}

func (p *pairing) proto() string {
	for i := 0; i+1 < resp.MaxHeads; i += 2 {
		if string(p.replies.Head(i)) == "proto" {
			return string(p.replies.Head(i + 1))
		}
	}
	return ""
}
