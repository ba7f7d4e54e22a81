package resp

import "strconv"

// AppendCommand appends a request as an array of bulk strings.
func AppendCommand(b []byte, args ...string) []byte {
	b = AppendArrayHeader(b, len(args))
	for _, arg := range args {
		b = AppendBulk(b, arg)
	}
	return b
}

// AppendBulk appends a bulk string.
func AppendBulk[S string | []byte](b []byte, s S) []byte {
	b = appendHeader(b, '$', len(s))
	b = append(b, s...)
	return append(b, '\r', '\n')
}

// AppendSimple appends a simple string; CR and LF in it become blanks.
func AppendSimple(b []byte, text string) []byte { return appendLine(b, '+', text) }

// AppendError appends an error, such as "ERR no such key"; CR and LF in it
// become blanks.
func AppendError(b []byte, text string) []byte { return appendLine(b, '-', text) }

// AppendInt appends an integer.
func AppendInt(b []byte, n int64) []byte {
	b = strconv.AppendInt(append(b, ':'), n, 10)
	return append(b, '\r', '\n')
}

// AppendNull appends RESP3's null, or RESP2's null bulk string.
func AppendNull(b []byte, resp3 bool) []byte {
	if resp3 {
		return append(b, "_\r\n"...)
	}
	return append(b, "$-1\r\n"...)
}

// AppendArrayHeader begins an array of n elements.
func AppendArrayHeader(b []byte, n int) []byte { return appendHeader(b, '*', n) }

// AppendMapHeader begins a map of n pairs, which in RESP2 is an array of 2n
// elements.
func AppendMapHeader(b []byte, n int, resp3 bool) []byte {
	if resp3 {
		return appendHeader(b, '%', n)
	}
	return appendHeader(b, '*', 2*n)
}

func appendHeader(b []byte, kind byte, n int) []byte {
	b = strconv.AppendInt(append(b, kind), int64(n), 10)
	return append(b, '\r', '\n')
}

func appendLine(b []byte, kind byte, text string) []byte {
	b = append(b, kind)
	for i := range len(text) {
		c := text[i]
		if c == '\r' || c == '\n' {
			c = ' '
		}
		b = append(b, c)
	}
	return append(b, '\r', '\n')
}
