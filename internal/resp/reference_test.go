package resp_test

// A second reading of the protocol, for comparison: it holds all bytes, reads
// them with regular expressions and recursion, and knows nothing of splits.

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/rediam/rediam/internal/resp"
)

var (
	wholeNumber = regexp.MustCompile(`\A(0|-?[1-9][0-9]{0,17})\r\n`)
	partNumber  = regexp.MustCompile(`\A(-|0\r?|-?[1-9][0-9]{0,17}\r?)?\z`)
	wholeLine   = regexp.MustCompile(`\A[^\r\n]*\r\n`)
	partLine    = regexp.MustCompile(`\A[^\r\n]*\r?\z`)
)

// endOfInput and a wrong form are panics that frames turns into its result.
type endOfInput struct{}

type wrong string

// stream is what is left to read.
type stream struct {
	rest []byte
	used int
}

func (s *stream) take(n int) []byte {
	if n > len(s.rest) {
		panic(endOfInput{})
	}
	taken := s.rest[:n]
	s.rest, s.used = s.rest[n:], s.used+n
	return taken
}

func (s *stream) match(whole, part *regexp.Regexp, what string) []byte {
	m := whole.Find(s.rest)
	if m == nil && part.Match(s.rest) {
		panic(endOfInput{})
	}
	if m == nil {
		panic(wrong(what))
	}
	return bytes.TrimSuffix(s.take(len(m)), []byte("\r\n"))
}

func (s *stream) number(what string) int {
	n, err := strconv.Atoi(string(s.match(wholeNumber, partNumber, what)))
	if err != nil {
		panic(err)
	}
	return n
}

func (s *stream) bulk(n int) []byte {
	body := s.take(n)
	for _, want := range []byte("\r\n") {
		if got := s.take(1); got[0] != want {
			panic(wrong("expected CRLF after bulk string"))
		}
	}
	return body
}

// frames calls read for one frame after another and lists what it returned,
// then how the input ended.
func frames(data []byte, read func(*stream) string) (got []string) {
	s := &stream{rest: data}
	defer func() {
		switch r := recover().(type) {
		case endOfInput:
		case wrong:
			got = append(got, "ERR Protocol error: "+string(r))
		default:
			panic(r)
		}
	}()
	for len(s.rest) > 0 {
		start := s.used
		f := read(s)
		got = append(got, fmt.Sprintf("%d %s", s.used-start, f))
	}
	panic(endOfInput{})
}

// referenceRequests lists the requests in data with l, whose fields are all set.
func referenceRequests(data []byte, l resp.Limits) []string {
	return frames(data, func(s *stream) string {
		if s.rest[0] != '*' {
			return referenceInline(s, l.Inline)
		}
		s.take(1)
		n := s.number("invalid multibulk length")
		if n > l.Args {
			panic(wrong("invalid multibulk length"))
		}
		if l.Unauthenticated && n > 10 {
			panic(wrong("unauthenticated multibulk length"))
		}
		args := [][]byte{}
		for range n {
			args = append(args, referenceArgument(s, l))
		}
		return showArray(args)
	})
}

func referenceArgument(s *stream, l resp.Limits) []byte {
	if c := s.take(1)[0]; c != '$' {
		if c < ' ' || c > '~' {
			c = ' '
		}
		panic(wrong("expected '$', got '" + string(rune(c)) + "'"))
	}
	size := s.number("invalid bulk length")
	if size < 0 || int64(size) > l.Bulk {
		panic(wrong("invalid bulk length"))
	}
	if l.Unauthenticated && size > 16384 {
		panic(wrong("unauthenticated bulk length"))
	}
	return s.bulk(size)
}

func referenceInline(s *stream, limit int) string {
	for i, c := range s.rest {
		switch {
		case c == '\n':
			line := s.take(i + 1)
			if strings.Trim(string(line), " \t\n\v\f\r") == "" {
				return "inline 0"
			}
			return "inline -1"
		case i == limit:
			panic(wrong("too big inline request"))
		case c == 0:
			panic(wrong("NUL in inline request"))
		}
	}
	panic(endOfInput{})
}

func showArray(args [][]byte) string {
	return fmt.Sprintf("array %d %.20q", len(args), args[:min(len(args), resp.MaxSpans)])
}

// value is an element of a reply.
type value struct {
	kind  byte
	null  bool
	text  []byte
	elems []value // a map's pairs flattened
}

func referenceReplies(data []byte) []string {
	return frames(data, func(s *stream) string {
		v := readValue(s, 0, true)
		heads, count := v.elems, len(v.elems)
		switch {
		case v.null && v.kind != '*':
			heads, count = []value{v}, -1
		case v.null:
			count = -1
		case !strings.ContainsRune("*~%>", rune(v.kind)):
			heads = []value{v}
		}
		shown := make([][]byte, min(len(heads), resp.MaxHeads))
		for i := range shown {
			if t := heads[i].text; t != nil && !heads[i].null {
				shown[i] = t[:min(len(t), resp.HeadSize)]
			}
		}
		return showReply(v.kind, int64(count), shown)
	})
}

func showReply(kind byte, count int64, heads [][]byte) string {
	shown := make([]string, len(heads))
	for i, head := range heads {
		if shown[i] = "-"; head != nil {
			shown[i] = strconv.Quote(string(head))
		}
	}
	return fmt.Sprintf("%c %d %s", kind, count, strings.TrimRight(strings.Join(shown, " "), " -"))
}

// readValue reads one element, with attributes and (unless top) pushes before
// it, while outer others are to come after it.
func readValue(s *stream, outer int, top bool) value {
	for {
		v, counts := readOne(s, outer, top)
		if counts {
			return v
		}
	}
}

func readOne(s *stream, outer int, top bool) (v value, counts bool) {
	v.kind = s.take(1)[0]
	switch v.kind {
	case '+', '-', ':', ',', '#', '(', '_':
		v.null = v.kind == '_'
		v.text = referenceLine(s)
		return v, true
	case '$', '=', '!', '*', '~', '%', '>', '|':
	default:
		panic(wrong("'" + strings.Map(blank, string(rune(v.kind))) + "' is no reply type"))
	}
	n := s.number("invalid reply length")
	v.null = n == -1 && (v.kind == '$' || v.kind == '*')
	if n < 0 && !v.null {
		panic(wrong("invalid reply length"))
	}
	if v.null {
		return v, true
	}
	if strings.ContainsRune("$=!", rune(v.kind)) {
		v.text = s.bulk(n)
		return v, true
	}
	if v.kind == '%' || v.kind == '|' {
		n *= 2
	}
	counts = v.kind != '|' && (v.kind != '>' || top)
	if !counts {
		outer++
	}
	if outer+n > 1<<40 {
		panic(wrong("too many elements"))
	}
	for i := range n {
		v.elems = append(v.elems, readValue(s, outer+n-1-i, false))
	}
	return v, counts
}

func blank(c rune) rune {
	if c < ' ' || c > '~' {
		return ' '
	}
	return c
}

// referenceLine names which of CR and LF is in the wrong place.
func referenceLine(s *stream) []byte {
	what := "CR without LF"
	if cr, lf := bytes.IndexByte(s.rest, '\r'), bytes.IndexByte(s.rest, '\n'); lf >= 0 && (cr < 0 || lf < cr) {
		what = "LF without CR"
	}
	return s.match(wholeLine, partLine, what)
}
