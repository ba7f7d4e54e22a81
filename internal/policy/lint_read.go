package policy

import (
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// node is a value of a document, as far as it can be read, and its place.
type node struct {
	at    int // offset of the first character
	body  int // offset of the text, after the quotation mark
	shape shape
	text  string  // of words and strings
	plain bool    // the text stands in the document as it is, without escapes
	names []*node // of objects, one for each item
	items []*node // of lists and objects
}

type shape uint8

const (
	absent shape = iota
	word         // a string, or what stands without quotation marks
	list
	objectShape
)

// offset is the place of the i-th byte of the text.
func (n *node) offset(i int) int {
	if !n.plain {
		return n.at
	}
	return n.body + i
}

// words are the strings of a value that may be one or a list.
func (n *node) words() []*node {
	switch n.shape {
	case word:
		return []*node{n}
	case list:
		var words []*node
		for _, item := range n.items {
			if item.shape == word {
				words = append(words, item)
			}
		}
		return words
	}
	return nil
}

// quoting is what a text begins and ends with.
type quoting uint8

const (
	unquoted    quoting = iota
	straight            // "
	typographic         // “ ”
	single              // ' ‘ ’
	entity              // &quot;
	escaped             // \"
)

var asciiMarks = []struct {
	mark    string
	quoting quoting
}{{`"`, straight}, {`\"`, escaped}, {"&quot;", entity}, {"&#34;", entity}, {"&ldquo;", entity}, {"&rdquo;", entity}}

const (
	doubleMarks = "“”„‟″«»＂"
	singleMarks = "'‘’‚‛′`´"
)

// quotingAt says which quotation mark s begins with, and its length.
func quotingAt(s string) (quoting, int) {
	if s == "" || s[0] < utf8.RuneSelf && strings.IndexByte("\"\\&'`", s[0]) < 0 { // most are
		return unquoted, 0
	}
	for _, m := range asciiMarks {
		if strings.HasPrefix(s, m.mark) {
			return m.quoting, len(m.mark)
		}
	}
	r, size := utf8.DecodeRuneInString(s)
	switch {
	case size == 0 || r == utf8.RuneError:
		return unquoted, 0
	case strings.ContainsRune(doubleMarks, r):
		return typographic, size
	case strings.ContainsRune(singleMarks, r):
		return single, size
	}
	return unquoted, 0
}

// reader reads JSON and what was meant to be JSON. Each step of it consumes
// something, so that the work is bounded by the document.
type reader struct {
	*linter
	strict        bool // the document is JSON: there is nothing to guess
	tooDeep       bool
	pos           int
	lists, braces int // open ones
}

// readLeniently gives nil for a document with nothing in it.
func readLeniently(l *linter, strict bool) *node {
	r := &reader{linter: l, strict: strict}
	if rest, ok := strings.CutPrefix(l.document, "\ufeff"); ok {
		l.problem(0, "the document begins with a byte order mark, which JSON does not allow", "save the file as UTF-8 without BOM")
		r.pos = len(l.document) - len(rest)
	}
	r.space()
	if r.pos == len(l.document) {
		return nil
	}
	top := r.value(maxNesting)
	r.space()
	if r.pos < len(l.document) {
		l.problem(r.pos, "the document has ended before this", "take out what follows the closing bracket, or the bracket that is one too many")
	}
	return top
}

func (r *reader) rest() string { return r.document[r.pos:] }

// peek is 0 at the end.
func (r *reader) peek() byte {
	if r.pos == len(r.document) {
		return 0
	}
	return r.document[r.pos]
}

func (r *reader) ended() bool { return r.pos == len(r.document) }

// space goes to the next character that means something. Comments are none.
func (r *reader) space() {
	for !r.ended() {
		rest := r.rest()
		c, size := utf8.DecodeRuneInString(rest)
		switch {
		case strings.ContainsRune(" \t\r\n", c):
		case r.strict:
			return
		case strings.ContainsRune("\u00a0\u2002\u2003\u2009\u200b\u202f\u2060\u3000\ufeff", c):
			r.once(r.pos, "this is a space of a word processor or web page, which JSON does not know", "write an ordinary space, here and everywhere")
		case c == '#' || strings.HasPrefix(rest, "//"):
			r.comment()
			size = len(cutBefore(rest, "\n"))
		case strings.HasPrefix(rest, "/*"):
			r.comment()
			size = min(len(rest), len(cutBefore(rest, "*/"))+len("*/"))
		default:
			return
		}
		r.pos += size
	}
}

func (r *reader) comment() {
	r.once(r.pos, "JSON has no comments", "take the comments out; a Sid of letters and digits can say what a statement is for")
}

func cutBefore(s, end string) string {
	before, _, _ := strings.Cut(s, end)
	return before
}

func (r *reader) value(depth int) *node {
	r.space()
	switch c := r.peek(); {
	case c == '{' || c == '[':
		if depth == 0 {
			r.once(r.pos, "objects and lists are nested too deep", "write no more than a policy needs: a list of statements with a Condition of an operator and its keys")
			r.tooDeep, r.pos = true, len(r.document)
			return &node{at: r.pos}
		}
		if c == '{' {
			return r.object(depth - 1)
		}
		return r.list(depth - 1)
	case c == 0 && r.ended() || strings.IndexByte(",:]}", c) >= 0:
		r.problem(r.pos, "a value is missing here", "write the value, or take out what stands before it")
		return &node{at: r.pos}
	}
	return r.word(false)
}

func (r *reader) list(depth int) *node {
	n := &node{at: r.pos, shape: list}
	r.pos++
	r.lists++
	r.items(n, ']', r.braces > 0, func() {
		n.items = append(n.items, r.value(depth))
		r.space()
		if r.peek() == ':' {
			r.problem(r.pos, "a list has no names", "write { } around names and values, or a comma in place of the colon")
			r.pos++
			n.items = append(n.items, r.value(depth))
		}
	})
	r.lists--
	return n
}

func (r *reader) object(depth int) *node {
	n := &node{at: r.pos, shape: objectShape}
	r.pos++
	r.braces++
	r.items(n, '}', r.lists > 0, func() {
		n.names = append(n.names, r.name())
		r.space()
		switch r.peek() {
		case ':':
			r.pos++
		case '=':
			r.problem(r.pos, "= stands between a name and its value", "write a colon")
			r.pos++
		case 0, ',', '}', ']':
		default:
			r.problem(r.pos, "the colon between a name and its value is missing", "write a colon before this")
		}
		n.items = append(n.items, r.value(depth))
	})
	r.braces--
	return n
}

// name reads a member's name; where none is, nothing.
func (r *reader) name() *node {
	if strings.IndexByte(":=[{", r.peek()) >= 0 {
		r.problem(r.pos, "a name is missing before this", `write "name": value in an object, or [ ] around a list`)
		return &node{at: r.pos}
	}
	return r.word(true)
}

// items reads until the closing bracket. The other one closes too if it is
// waited for outside.
func (r *reader) items(n *node, closing byte, enclosed bool, read func()) {
	comma := -1 // where the last one stands, if nothing came after it
	for {
		r.space()
		c := r.peek()
		switch {
		case r.tooDeep:
			return
		case r.ended():
			r.once(n.at, "this bracket is never closed", "write the closing bracket, or look for a quotation mark that is missing after it")
			return
		case c == closing:
			if comma >= 0 {
				r.problem(comma, "a comma stands after the last one of a list or object", "take the comma out")
			}
			r.pos++
			return
		case c == ']' || c == '}':
			if enclosed {
				r.problem(r.pos, "the bracket that was opened last is another one", "write "+string(closing)+" before this")
				return
			}
			r.problem(r.pos, "nothing is open that this bracket closes", "take it out, or write "+string(closing))
			r.pos++
		case c == ',':
			r.problem(r.pos, "a comma stands with nothing before it", "take the comma out")
			r.pos++
		default:
			read()
			comma = r.comma()
		}
	}
}

// comma reads the comma after a value and gives its place, or -1.
func (r *reader) comma() int {
	end := r.pos
	r.space()
	switch r.peek() {
	case ',':
		r.pos++
		return r.pos - 1
	case '}', ']', 0:
	case ';':
		r.problem(r.pos, "; stands between two values", "write a comma")
		r.pos++
	default:
		r.problem(end, "a comma is missing after this", "write a comma")
	}
	return -1
}

// word reads a string, or what stands without quotation marks.
func (r *reader) word(isName bool) *node {
	q, size := quotingAt(r.rest())
	n := &node{at: r.pos, body: r.pos + size, shape: word}
	switch {
	case q == unquoted:
		r.bare(n, isName)
		return n
	case q == typographic:
		r.marks(n.at)
	case q == single:
		r.once(n.at, "strings are in single quotation marks, and JSON wants double ones", `write " in their place, here and everywhere`)
	case q == entity:
		r.once(n.at, "the quotation marks are in HTML", `write " in place of &quot;, here and everywhere`)
	case q == escaped:
		r.once(n.at, "the quotation marks have backslashes, as within another string", `write " in place of \", here and everywhere`)
	}
	r.pos = n.body
	r.setText(n, r.quoted(n, q, isName))
	return n
}

func (r *reader) marks(at int) {
	r.once(at, "this is a quotation mark of a word processor or web page, which JSON does not know", `write " in its place, here and everywhere`)
}

func (r *reader) setText(n *node, raw string) {
	n.text = raw
	n.plain = strings.IndexByte(raw, '\\') < 0 && utf8.ValidString(raw)
	var s string
	if !n.plain && json.Unmarshal([]byte(`"`+raw+`"`), &s) == nil {
		n.text = s
	}
	n.text = strings.ToValidUTF8(n.text, "\ufffd")
}

// quoted reads up to the quotation mark that closes and gives what stands
// before it.
func (r *reader) quoted(n *node, q quoting, isName bool) string {
	for !r.ended() && r.peek() != '\n' {
		mark, size := quotingAt(r.rest())
		text := r.document[n.body:r.pos]
		switch {
		case mark == q && !r.strict && q == straight && opensNext(text, r.document[r.pos+1:]):
			return r.unclosed(n, isName)
		case mark == q || q == typographic && mark == straight:
			r.pos += size
			return text
		case mark == typographic && !r.strict && q == straight && endsValue(r.document[r.pos+size:]):
			r.marks(r.pos)
			r.pos += size
			return text
		case r.peek() == '\\':
			r.pos++
			if r.ended() {
				return text
			}
		}
		_, size = utf8.DecodeRuneInString(r.rest())
		r.pos += size
	}
	return r.unclosed(n, isName)
}

// opensNext recognises a quotation mark that opens the next string, since the
// one that closes this string is missing: `"Allow, "Action"`.
func opensNext(text, after string) bool {
	trimmed := strings.TrimRight(text, " \t")
	c, _ := utf8.DecodeRuneInString(after)
	return trimmed != "" && strings.IndexByte(",:[{", trimmed[len(trimmed)-1]) >= 0 &&
		after != "" && !strings.ContainsRune(" \t\r\n,:]}", c)
}

func endsValue(after string) bool {
	after = strings.TrimLeft(after, " \t\r")
	return after == "" || strings.IndexByte("\n:,]}", after[0]) >= 0
}

// unclosed ends a string where it was probably meant to end: before what stands
// between it and the next one, or the end of the line.
func (r *reader) unclosed(n *node, isName bool) string {
	r.problem(n.at, "the quotation mark that closes this string is missing", `write " where the string ends, on the same line`)
	text := r.document[n.body:r.pos]
	if colon := strings.IndexByte(text, ':'); isName && colon >= 0 {
		text = text[:colon]
	}
	text = strings.TrimRight(text, " \t\r,:[]{}")
	r.pos = n.body + len(text)
	return text
}

// bare reads what stands without quotation marks. Numbers, true, false and null
// may.
func (r *reader) bare(n *node, isName bool) {
	end := 0
	for end < len(r.rest()) {
		c, size := utf8.DecodeRuneInString(r.rest()[end:])
		q, _ := quotingAt(r.rest()[end:])
		if end > 0 && (strings.ContainsRune(" \t\r\n\u00a0,[]{}", c) || q == straight || q == typographic) {
			break
		}
		end += size
	}
	text := r.rest()[:end]
	if isName {
		text = bareName(text, r.rest()[end:])
	}
	r.pos += len(text)
	r.setText(n, text)
	if r.strict {
		return
	}
	q, size := quotingAt(r.rest())
	switch {
	case q == straight || q == typographic:
		r.problem(n.at, "the quotation mark before "+repeated(text)+" is missing", `write " before it`)
		r.pos += size
	case isName || !json.Valid([]byte(text)):
		r.problem(n.at, repeated(text)+" stands without quotation marks", `write " before and after it`)
	}
}

// bareName cuts a name off at its colon: the last one if nothing follows there,
// as in `aws:SourceIp: x`, else the first, as in `Effect:Allow`.
func bareName(text, after string) string {
	if name, ok := strings.CutSuffix(text, ":"); ok && name != "" {
		return name
	}
	colon := strings.IndexByte(text, ':')
	if colon <= 0 || strings.HasPrefix(strings.TrimLeft(after, " \t"), ":") || strings.HasPrefix(after, `"`) {
		return text
	}
	return text[:colon]
}
