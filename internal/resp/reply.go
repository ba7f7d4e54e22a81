package resp

import (
	"bytes"
	"fmt"
)

// MaxHeads is how many elements [Replies.Head] can tell, HeadSize how many
// bytes of each. HELLO's reply has seven pairs today; the longest error that
// matters, WRONGPASS, has 61 bytes.
const (
	MaxHeads = 16
	HeadSize = 64
)

// maxPending bounds the elements that a reply may have declared and not sent
// yet: far above any reply, far below what overflows.
const maxPending = 1 << 40

// Replies frames the server's half of a connection, in RESP2 and RESP3. The
// zero value is ready and begins at a frame boundary.
//
// Strings and lines are not bounded: nothing of them is held, and MONITOR
// repeats whole commands in one line. The streamed types of the RESP3
// specification, which no server sends, are errors.
type Replies struct {
	phase   replyPhase
	element byte // type of the element in progress
	number  decimal
	left    int64 // bytes of the body to come

	// A count stands for the stack of open aggregates: an aggregate of n
	// adds n and is done itself. What does not count as an element of the
	// aggregate around it, an attribute or a push, adds its n only.
	pending int64 // elements to come, with the one in progress; 0: boundary
	level   int64 // what pending is when the next element is the reply or, in it, of depth 1

	reply byte  // the reply's type; 0 before it
	count int64 // the reply's declared elements
	known int   // elements of depth 1 that are complete or aggregates
	heads [MaxHeads]head
	err   *ProtocolError
}

type replyPhase uint8

const (
	replyElement replyPhase = iota
	replyLine
	replyLineLF
	replyLength
	replyBody
	replyBodyCR
	replyBodyLF
)

// A head is the beginning of a scalar.
type head struct {
	set   bool // not null, not an aggregate
	size  uint8
	bytes [HeadSize]byte
}

// Feed takes bytes of p up to and including the end of the current frame: one
// reply with the attributes before it, or one push. When the frame has ended,
// done is true, p[:n] was its last part, and the next call begins another
// frame. Otherwise all of p was taken. An error is a [*ProtocolError], found
// at p[n]; every later call returns it again.
func (r *Replies) Feed(p []byte) (n int, done bool, err error) {
	if r.err != nil {
		return 0, false, r.err
	}
	if r.pending == 0 && len(p) > 0 {
		if n := r.plain(p); n > 0 {
			return n, true, nil
		}
	}
	for n < len(p) {
		n += r.step(p[n:])
		if r.err != nil {
			return n, false, r.err
		}
		if r.pending == 0 {
			return n, true, nil
		}
	}
	return n, false, nil
}

// plain takes a whole reply that is a string or a line, the common case at once. It is
// 0 for anything else.
func (r *Replies) plain(p []byte) (n int) {
	start, end := wholeReply(p)
	if end == 0 {
		return 0
	}
	r.reply, r.count, r.known, r.element = p[0], 0, 1, p[0]
	h := &r.heads[0]
	h.set, h.size = true, uint8(copy(h.bytes[:], p[start:end]))
	return end + 2
}

// Skip takes whole replies from the beginning of p, up to most of them, as long as they
// are strings, integers or lines that are no errors, and tells nothing of them but how
// many they are. It takes none if a frame is in progress.
func (r *Replies) Skip(p []byte, most int64) (n int, replies int64) {
	if r.pending != 0 || r.err != nil {
		return 0, 0
	}
	for replies < most && n < len(p) && p[n] != '-' {
		_, end := wholeReply(p[n:])
		if end == 0 {
			break
		}
		n += end + 2
		replies++
	}
	return n, replies
}

// wholeReply finds what a reply says that is a string or a line and lies in p, which is
// not empty; end is 0 for anything else.
func wholeReply(p []byte) (start, end int) {
	switch p[0] {
	case '$':
		return wholeBulk(p)
	case '+', ':', '-':
		end := bytes.IndexByte(p, '\r')
		if end < 0 || end+1 >= len(p) || p[end+1] != '\n' || bytes.IndexByte(p[:end], '\n') >= 0 {
			return 0, 0
		}
		return 1, end
	}
	return 0, 0
}

// step takes what the current phase wants of p, at least one byte.
func (r *Replies) step(p []byte) (used int) {
	switch r.phase {
	case replyElement:
		return r.begin(p)
	case replyLine:
		return r.line(p)
	case replyLength:
		return r.length(p)
	case replyBody:
		used = int(min(r.left, int64(len(p))))
		r.keep(p[:used])
		if r.left -= int64(used); r.left == 0 {
			r.phase = replyBodyCR
		}
		return used
	default:
		return r.crlf(p[0])
	}
}

// begin takes an element's type, or the whole bulk string if p holds it.
func (r *Replies) begin(p []byte) (used int) {
	if r.pending == 0 {
		r.pending, r.level = 1, 1
		r.reply, r.count, r.known = 0, 0, 0
	}
	r.element = p[0]
	if start, end := wholeBulk(p); end > 0 {
		r.beginHead(true)
		r.keep(p[start:end])
		r.endScalar()
		return end + 2
	}
	switch c := p[0]; c {
	case '$', '=', '!', '*', '~', '%', '>', '|':
		r.phase = replyLength
	case '+', '-', ':', ',', '#', '(', '_':
		r.phase = replyLine
		r.beginHead(c != '_')
	default:
		r.err = protocolError(fmt.Sprintf("'%c' is no reply type", printable(c)))
		return 0
	}
	return 1
}

// line takes a part of a line. A CR or LF inside of it would be an end to one
// reader and not to another.
func (r *Replies) line(p []byte) (used int) {
	cr := bytes.IndexByte(p, '\r')
	text := p
	if cr >= 0 {
		text = p[:cr]
	}
	if i := bytes.IndexByte(text, '\n'); i >= 0 {
		r.err = protocolError("LF without CR")
		return i
	}
	r.keep(text)
	if cr < 0 {
		return len(p)
	}
	r.phase = replyLineLF
	return cr + 1
}

// crlf takes what ends a scalar, but for the CR of a line.
func (r *Replies) crlf(c byte) (used int) {
	switch {
	case r.phase == replyBodyCR && c == '\r':
		r.phase = replyBodyLF
	case r.phase != replyBodyCR && c == '\n':
		r.endScalar()
	case r.phase == replyLineLF:
		r.err = protocolError("CR without LF")
		return 0
	default:
		r.err = errBodyEnd()
		return 0
	}
	return 1
}

// length takes the header of a string or an aggregate and acts on it.
func (r *Replies) length(p []byte) (used int) {
	used, n, end := r.number.feed(p)
	if !end {
		return used
	}
	null := n == -1 && (r.element == '$' || r.element == '*')
	if n < 0 && !null {
		r.err = protocolError("invalid reply length")
		return used
	}
	r.phase = replyElement
	switch r.element {
	case '$', '=', '!':
		r.beginHead(!null)
		r.beginBody(n)
	case '%', '|':
		r.aggregate(2 * n)
	default:
		r.aggregate(n)
	}
	if r.pending > maxPending {
		r.err = protocolError("too many elements")
	}
	return used
}

func (r *Replies) beginBody(n int64) {
	r.left = n
	switch {
	case n < 0:
		r.endScalar()
	case n == 0:
		r.phase = replyBodyCR
	default:
		r.phase = replyBody
	}
}

// aggregate counts in an aggregate of n elements, or the null array.
func (r *Replies) aggregate(n int64) {
	top := r.pending == r.level
	switch {
	case r.element == '|':
		r.pending += n
	case top && r.reply == 0:
		r.reply, r.count = r.element, n
		r.level = max(n, 0)
		r.pending = r.level
	case r.element == '>':
		r.pending += n
	default:
		if top {
			r.beginHead(false)
			r.known++
			r.level--
		}
		r.pending += max(n, 0) - 1
	}
}

// beginHead prepares the head of an element of the lowest depth; set is false
// for a null and an aggregate.
func (r *Replies) beginHead(set bool) {
	if r.pending != r.level {
		return
	}
	if r.reply == 0 {
		r.reply = r.element
		if !set {
			r.count = -1
		}
	}
	if r.known < MaxHeads {
		r.heads[r.known].set, r.heads[r.known].size = set, 0
	}
}

func (r *Replies) endScalar() {
	if r.pending == r.level {
		r.known++
		r.level--
	}
	r.pending--
	r.phase = replyElement
}

// keep copies what the head of the scalar in progress has room for.
func (r *Replies) keep(p []byte) {
	if r.pending == r.level && r.known < MaxHeads {
		h := &r.heads[r.known]
		h.size += uint8(copy(h.bytes[h.size:], p))
	}
}

// Type is the first byte of the reply, '>' for a push: that of the reply
// itself where attributes precede it, and 0 until it has come.
func (r *Replies) Type() byte { return r.reply }

// Count is the number of elements that the reply declares, two for each pair
// of a map; -1 for a null of any type, 0 for another scalar.
func (r *Replies) Count() int64 { return r.count }

// Head returns the first HeadSize bytes of element i of an aggregate, or of
// the reply itself for i = 0, once that element is complete and until the
// next frame begins. It is nil for a null, for a nested aggregate and from
// MaxHeads on. Attributes and nested pushes are not elements. The bytes belong
// to r.
func (r *Replies) Head(i int) []byte {
	if i < 0 || i >= min(r.known, MaxHeads) || !r.heads[i].set {
		return nil
	}
	h := &r.heads[i]
	return h.bytes[:h.size:h.size]
}

// Idle tells that no frame is in progress.
func (r *Replies) Idle() bool { return r.pending == 0 }
