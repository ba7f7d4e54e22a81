package resp

import (
	"bytes"
	"encoding/hex"
	"strings"
)

// blanks is C's isspace, by which Redis separates inline arguments.
const blanks = " \t\n\v\f\r"

func errNUL() *ProtocolError { return protocolError("NUL in inline request") }

// SplitInline splits an inline request as Redis does (sdssplitargs in sds.c):
// blanks separate, "…" knows the escapes \n \r \t \b \a \xHH and \ before any
// other byte, '…' knows \', and a closing quote ends its argument. The line
// may still have its CR and LF. The result takes up to some 20 times the
// memory of the line. An error is a [*ProtocolError].
func SplitInline(line []byte) ([][]byte, error) {
	if bytes.IndexByte(line, 0) >= 0 {
		return nil, errNUL()
	}
	var args [][]byte
	text := make([]byte, 0, len(line)) // unquoting never makes it longer
	for {
		line = bytes.TrimLeft(line, blanks)
		if len(line) == 0 {
			return args, nil
		}
		start := len(text)
		var ok bool
		if text, line, ok = appendWord(text, line); !ok {
			return nil, protocolError("unbalanced quotes in request")
		}
		args = append(args, text[start:len(text):len(text)])
	}
}

// appendWord appends the argument that line begins with. A quote may open in
// the middle of a word. VT and FF do not end one, though they may precede it.
func appendWord(b, line []byte) (word, rest []byte, ok bool) {
	for i, c := range line {
		switch c {
		case ' ', '\n', '\r', '\t':
			return b, line[i:], true
		case '"', '\'':
			return appendQuoted(b, line[i+1:], c)
		}
		b = append(b, c)
	}
	return b, nil, true
}

// appendQuoted appends what stands before the closing quote, behind which
// there must be a blank or nothing.
func appendQuoted(b, line []byte, quote byte) (word, rest []byte, ok bool) {
	for i := 0; i < len(line); {
		if line[i] == quote {
			rest = line[i+1:]
			return b, rest, len(rest) == 0 || strings.IndexByte(blanks, rest[0]) >= 0
		}
		c, n := unescape(line[i:], quote)
		b = append(b, c)
		i += n
	}
	return b, nil, false
}

// unescape returns the byte that p begins with and how long it is written.
func unescape(p []byte, quote byte) (c byte, n int) {
	if p[0] != '\\' || len(p) == 1 || quote == '\'' && p[1] != '\'' {
		return p[0], 1
	}
	var one [1]byte
	if p[1] == 'x' && len(p) >= 4 {
		if _, err := hex.Decode(one[:], p[2:4]); err == nil {
			return one[0], 4
		}
	}
	if i := strings.IndexByte("nrtba", p[1]); i >= 0 {
		return "\n\r\t\b\a"[i], 2
	}
	return p[1], 2
}

// HTTPRequest tells whether an inline request is a line of an HTTP request
// rather than a command: a browser or a server that was tricked into speaking
// to this port. Redis itself knows POST and Host: only, and runs what follows
// other verbs. GET is a command, so it counts only with an HTTP version.
func HTTPRequest(line []byte) bool {
	line = bytes.ToUpper(bytes.Trim(line, blanks))
	if bytes.HasPrefix(line, []byte("HOST:")) {
		return true
	}
	for _, version := range []string{" HTTP/1.0", " HTTP/1.1", " HTTP/2.0"} {
		if bytes.HasSuffix(line, []byte(version)) {
			return true
		}
	}
	verb := line
	if i := bytes.IndexAny(line, blanks); i >= 0 {
		verb = line[:i]
	}
	switch string(verb) {
	case "POST", "PUT", "HEAD", "OPTIONS", "DELETE", "PATCH", "CONNECT", "TRACE", "PRI":
		return true
	}
	return false
}
