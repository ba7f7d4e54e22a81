// Package resp finds the frames of RESP2 and RESP3, the protocols of Redis and
// Valkey, in bytes that are on their way to somebody else.
//
// [Requests] frames what a client sends and [Replies] what a server answers.
// Both take the bytes as they come, in any split, hold none of them and never
// allocate, whatever sizes the stream declares; the caller keeps or forwards
// its own buffer. Neither is safe for many goroutines.
//
// The scanners are stricter than the servers. Redis looks for a CR only and
// never checks the byte behind it, nor the two bytes behind a bulk string; a
// scanner as lenient as that, or lenient in another way, would see other
// frames than the server and let one request hide in another. Whatever is not
// plain decimals and CRLF is an error here.
package resp

import "math"

// A ProtocolError says that a stream is not RESP. Nothing after it can be
// framed: the connection has to be closed.
type ProtocolError struct {
	// Text is what to answer, without the leading '-'. It is Redis's own
	// text where Redis has one. It repeats at most one byte of the input.
	Text string
}

func (e *ProtocolError) Error() string { return e.Text }

func protocolError(what string) *ProtocolError {
	return &ProtocolError{Text: "ERR Protocol error: " + what}
}

// printable is c, or a blank if c would spoil an error line (Redis does so
// for CR and LF).
func printable(c byte) byte {
	if c < ' ' || c > '~' {
		return ' '
	}
	return c
}

func errBodyEnd() *ProtocolError { return protocolError("expected CRLF after bulk string") }

// maxDigits keeps every length below 10^18, so that sums of a few cannot
// overflow an int64.
const maxDigits = 18

// decimal reads one header number with its CRLF. It accepts the integers that
// Redis's string2ll does (no plus sign, no leading zero, no blank) of up to
// maxDigits digits. The zero value is ready; so is one that has ended.
type decimal struct {
	value    int64
	digits   uint8
	negative bool
	cr       bool
}

// refused is what decimal.feed returns as the value of a bad number.
const refused = math.MinInt64

// feed takes bytes up to and including the LF; end tells that the number has
// ended, with value refused if p[n] cannot be part of one.
func (d *decimal) feed(p []byte) (n int, value int64, end bool) {
	for i, c := range p {
		switch {
		case d.cr:
			if c != '\n' {
				return i, refused, true
			}
			value = d.value
			if d.negative {
				value = -value
			}
			*d = decimal{}
			return i + 1, value, true
		case c-'0' <= 9:
			zeroFirst := d.value == 0 && (d.digits > 0 || d.negative && c == '0')
			if zeroFirst || d.digits == maxDigits {
				return i, refused, true
			}
			d.value = d.value*10 + int64(c-'0')
			d.digits++
		case c == '\r' && d.digits > 0:
			d.cr = true
		case c == '-' && d.digits == 0 && !d.negative:
			d.negative = true
		default:
			return i, refused, true
		}
	}
	return len(p), 0, false
}

// wholeBulk finds the body of a bulk string that lies in p with its header and
// its CRLF. This is the common case taken at once; end is 0 for anything else,
// which the phases of a scanner then take piece by piece, or refuse.
func wholeBulk(p []byte) (start, end int) {
	if len(p) < 6 || p[0] != '$' || p[1] == '0' && p[2] != '\r' {
		return 0, 0
	}
	size := int(p[1] - '0')
	if size > 9 {
		return 0, 0
	}
	start = 4
	for c := p[2]; c != '\r'; c = p[start-2] {
		if c-'0' > 9 || start >= min(len(p), 9) {
			return 0, 0
		}
		size = size*10 + int(c-'0')
		start++
	}
	end = start + size
	if end+2 > len(p) || p[start-1] != '\n' || p[end] != '\r' || p[end+1] != '\n' {
		return 0, 0
	}
	return start, end
}
