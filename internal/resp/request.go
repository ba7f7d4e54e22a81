package resp

import (
	"bytes"
	"cmp"
	"fmt"
)

// MaxSpans is how many arguments of a request [Requests.Arg] can tell; [Args]
// splits a longer one.
const MaxSpans = 64

// What Redis takes from a client that has not signed in (Redis 7.0,
// processMultibulkBuffer in networking.c).
const (
	unauthenticatedArgs = 10
	unauthenticatedBulk = 16384
)

// Limits bounds what a client may declare. A request outside of them is a
// [ProtocolError].
type Limits struct {
	Args            int   // arguments of a request; zero: 1,048,576, the limit of Redis up to 6.2
	Bulk            int64 // bytes of an argument; zero: 512 MiB, Redis's proto-max-bulk-len
	Inline          int   // bytes of an inline request before its LF; zero: 64 KiB, Redis's own
	Unauthenticated bool  // also hold to Redis's limits before sign-in: 10 arguments of 16,384 bytes
}

func (l *Limits) args() int64   { return int64(cmp.Or(l.Args, 1<<20)) }
func (l *Limits) bulk() int64   { return cmp.Or(l.Bulk, 512<<20) }
func (l *Limits) inline() int64 { return int64(cmp.Or(l.Inline, 64<<10)) }

// Requests frames the client's half of a connection. The zero value is ready
// and begins at a frame boundary.
type Requests struct {
	Limits Limits // may be changed when Feed has returned done

	phase  requestPhase
	inline bool
	blank  bool // an inline line of nothing but blanks so far
	number decimal
	size   int64 // bytes of the frame so far
	left   int64 // bytes of the argument's body to come
	start  int64 // the argument's offset
	args   int   // declared
	known  int   // complete
	spans  [MaxSpans]Span
	err    *ProtocolError
}

type requestPhase uint8

const (
	requestBoundary requestPhase = iota
	requestCount
	requestMarker
	requestLength
	requestBody
	requestBodyCR
	requestBodyLF
	requestLine
)

// Feed takes bytes of p up to and including the end of the current frame.
// When the frame has ended, done is true, p[:n] was its last part, and the
// next call begins another frame. Otherwise all of p was taken. An error is a
// [*ProtocolError], found at p[n]; every later call returns it again.
func (r *Requests) Feed(p []byte) (n int, done bool, err error) {
	if r.err != nil {
		return 0, false, r.err
	}
	if r.phase == requestBoundary {
		if n := r.plain(p); n > 0 {
			return n, true, nil
		}
	}
	for n < len(p) {
		used := r.step(p[n:])
		n += used
		r.size += int64(used)
		if r.err != nil {
			return n, false, r.err
		}
		if r.phase == requestBoundary {
			return n, true, nil
		}
	}
	return n, false, nil
}

// plain takes a whole request of up to nine arguments, the common case at once. It is
// 0 for anything else.
func (r *Requests) plain(p []byte) (n int) {
	if len(p) < 4 || p[0] != '*' || p[1]-'1' > 8 || p[2] != '\r' || p[3] != '\n' {
		return 0
	}
	args, limit := int(p[1]-'0'), r.bulkLimit()
	if int64(args) > r.Limits.args() {
		return 0
	}
	n = 4
	for i := range args {
		start, end := wholeBulk(p[n:])
		if end == 0 || int64(end-start) > limit {
			return 0
		}
		r.spans[i] = Span{int64(n + start), int64(n + end)}
		n += end + 2
	}
	r.size, r.args, r.known, r.inline = int64(n), args, args, false
	return n
}

// step takes what the current phase wants of p, at least one byte unless the
// phase changes.
func (r *Requests) step(p []byte) (used int) {
	switch r.phase {
	case requestBoundary:
		return r.begin(p[0])
	case requestCount:
		return r.count(p)
	case requestMarker:
		return r.marker(p)
	case requestLength:
		return r.length(p)
	case requestBody:
		used = int(min(r.left, int64(len(p))))
		if r.left -= int64(used); r.left == 0 {
			r.phase = requestBodyCR
		}
		return used
	case requestBodyCR, requestBodyLF:
		return r.bodyEnd(p[0])
	default:
		return r.line(p)
	}
}

func (r *Requests) begin(c byte) (used int) {
	r.size, r.args, r.known = 0, 0, 0
	r.inline = c != '*'
	if r.inline {
		r.blank = true
		r.phase = requestLine
		return 0
	}
	r.phase = requestCount
	return 1
}

func (r *Requests) count(p []byte) (used int) {
	used, n, end := r.number.feed(p)
	switch {
	case !end:
	case n == refused || n > r.Limits.args():
		r.err = protocolError("invalid multibulk length")
	case n > unauthenticatedArgs && r.Limits.Unauthenticated:
		r.err = protocolError("unauthenticated multibulk length")
	case n <= 0:
		r.phase = requestBoundary
	default:
		r.args = int(n)
		r.phase = requestMarker
	}
	return used
}

// marker takes the '$' of an argument, or the whole argument if p holds it.
func (r *Requests) marker(p []byte) (used int) {
	if start, end := wholeBulk(p); end > 0 && int64(end-start) <= r.bulkLimit() {
		r.argument(r.size+int64(start), r.size+int64(end))
		return end + 2
	}
	if p[0] != '$' {
		r.err = protocolError(fmt.Sprintf("expected '$', got '%c'", printable(p[0])))
		return 0
	}
	r.phase = requestLength
	return 1
}

func (r *Requests) bulkLimit() int64 {
	if r.Limits.Unauthenticated {
		return min(unauthenticatedBulk, r.Limits.bulk())
	}
	return r.Limits.bulk()
}

func (r *Requests) length(p []byte) (used int) {
	used, n, end := r.number.feed(p)
	switch {
	case !end:
	case n < 0 || n > r.Limits.bulk():
		r.err = protocolError("invalid bulk length")
	case n > r.bulkLimit():
		r.err = protocolError("unauthenticated bulk length")
	default:
		r.start, r.left = r.size+int64(used), n
		r.phase = requestBody
		if n == 0 {
			r.phase = requestBodyCR
		}
	}
	return used
}

func (r *Requests) bodyEnd(c byte) (used int) {
	switch {
	case r.phase == requestBodyCR && c == '\r':
		r.phase = requestBodyLF
	case r.phase == requestBodyLF && c == '\n':
		r.argument(r.start, r.size-1)
	default:
		r.err = errBodyEnd()
		return 0
	}
	return 1
}

// argument notes a complete argument.
func (r *Requests) argument(start, end int64) {
	if r.known < MaxSpans {
		r.spans[r.known] = Span{start, end}
	}
	r.known++
	r.phase = requestMarker
	if r.known == r.args {
		r.phase = requestBoundary
	}
}

// line takes a part of an inline request. Redis never finds the end of a line
// that holds a NUL.
func (r *Requests) line(p []byte) (used int) {
	text, _, end := bytes.Cut(p, []byte{'\n'})
	room := r.Limits.inline() - r.size
	if room < int64(len(text)) {
		text = text[:max(room, 0)]
		r.err = protocolError("too big inline request")
	}
	if i := bytes.IndexByte(text, 0); i >= 0 {
		r.err = errNUL()
		return i
	}
	r.blank = r.blank && len(bytes.TrimLeft(text, blanks)) == 0
	if r.err != nil || !end {
		return len(text)
	}
	r.phase = requestBoundary
	return len(text) + 1
}

// NumArgs is the number of arguments that the frame declares: 0 for a frame
// that gets no reply (a blank line, *0, *-1), -1 for any other inline request,
// whose line has to be split to count them. It holds from the header on, until
// the next Feed.
func (r *Requests) NumArgs() int {
	if r.inline && !r.blank {
		return -1
	}
	return r.args
}

// Arg locates argument i of an array request as soon as it is complete, until
// the next frame begins. It is the zero Span for an argument not complete yet
// and from MaxSpans on.
func (r *Requests) Arg(i int) Span {
	if i < 0 || i >= min(r.known, MaxSpans) {
		return Span{}
	}
	return r.spans[i]
}

// Inline tells that the frame is an inline request, to be split with
// [SplitInline] if wanted.
func (r *Requests) Inline() bool { return r.inline }

// Len is the number of bytes of the frame so far.
func (r *Requests) Len() int64 { return r.size }

// Idle tells that no frame is in progress.
func (r *Requests) Idle() bool { return r.phase == requestBoundary }

// A Span is a part of a frame: offsets from the frame's first byte. No
// argument starts at 0, so the zero Span stands for none.
type Span struct{ Start, End int64 }

// In returns the span's bytes in frame, which begins with the frame's first
// byte: nil for the zero Span, and where frame does not reach to the end.
func (s Span) In(frame []byte) []byte {
	if s.Start <= 0 || s.Start > s.End || s.End > int64(len(frame)) {
		return nil
	}
	return frame[s.Start:s.End:s.End]
}

// Args splits one whole request, array or inline, that Feed has framed. The
// arguments of an array are parts of frame.
func Args(frame []byte) ([][]byte, error) {
	if len(frame) == 0 || frame[0] != '*' {
		return SplitInline(frame)
	}
	var args [][]byte
	_, rest, ok := header(frame)
	for ok && len(rest) > 0 {
		var n int64
		n, rest, ok = header(rest)
		if ok = ok && n >= 0 && n+2 <= int64(len(rest)); ok {
			args = append(args, rest[:n:n])
			rest = rest[n+2:]
		}
	}
	if !ok {
		return nil, protocolError("invalid bulk length")
	}
	return args, nil
}

// header takes a type byte, a number and CRLF off p.
func header(p []byte) (value int64, rest []byte, ok bool) {
	var number decimal
	n, value, end := number.feed(p[1:])
	return value, p[1+n:], end && value != refused
}
