package policy

import (
	"strings"
	"unicode/utf8"
)

type partKind uint8

const (
	literal  partKind = iota
	anyText           // *
	oneChar           // ?
	variable          // ${key} or ${key, 'default'}
)

// part is a piece of a pattern.
type part struct {
	kind        partKind
	text        string // the text of a literal, the lower-case key of a variable
	fallback    string
	hasFallback bool
}

// parseParts takes a pattern apart. Without wildcards, * and ? are literal;
// without variables (language version 2008-10-17), so is ${…}.
func parseParts(text string, wildcards, variables bool) ([]part, error) {
	var parts []part
	start := 0
	flush := func(end int) {
		if start < end {
			parts = append(parts, part{kind: literal, text: text[start:end]})
		}
	}
	for i := 0; i < len(text); {
		switch {
		case wildcards && (text[i] == '*' || text[i] == '?'):
			flush(i)
			kind := anyText
			if text[i] == '?' {
				kind = oneChar
			}
			parts = append(parts, part{kind: kind})
			i++
		case variables && strings.HasPrefix(text[i:], "${"):
			flush(i)
			inner, _, closed := strings.Cut(text[i+2:], "}")
			v, ok := parseVariable(inner)
			if !closed || !ok {
				return nil, malformed(msgLegacy, "%q has a policy variable that is not closed or not of the form ${key} or ${key, 'default'}", excerpt(text))
			}
			parts = append(parts, v)
			i += len("${") + len(inner) + len("}")
		default:
			i++
			continue
		}
		start = i
	}
	flush(len(text))
	return parts, nil
}

func parseVariable(inner string) (part, bool) {
	if inner == "*" || inner == "?" || inner == "$" {
		return part{kind: literal, text: inner}, true
	}
	key, fallback, hasFallback := strings.Cut(inner, ",")
	if hasFallback {
		var open, end bool
		fallback, open = strings.CutPrefix(strings.TrimSpace(fallback), "'")
		fallback, end = strings.CutSuffix(fallback, "'")
		if !open || !end {
			return part{}, false
		}
	}
	ok := key != "" && !strings.ContainsAny(key, " ${'")
	return part{kind: variable, text: lowerASCII(key), fallback: fallback, hasFallback: hasFallback}, ok
}

func hasVariable(parts []part) bool {
	for i := range parts {
		if parts[i].kind == variable {
			return true
		}
	}
	return false
}

// resolve puts the values of variables in, as literal text. A key with no value
// or with several has no value as a variable; ok is then false unless there is
// a default (IAM User Guide, Variables and tags).
func resolve(parts []part, c Context) (resolved []part, ok bool) {
	if !hasVariable(parts) {
		return parts, true
	}
	resolved = make([]part, len(parts))
	for i, p := range parts {
		if p.kind == variable {
			values := c[p.text]
			switch {
			case len(values) == 1:
				p = part{kind: literal, text: values[0]}
			case p.hasFallback:
				p = part{kind: literal, text: p.fallback}
			default:
				return nil, false
			}
		}
		resolved[i] = p
	}
	return resolved, true
}

// like matches s against a pattern whose variables may have values.
func like(parts []part, c Context, s string) bool {
	resolved, ok := resolve(parts, c)
	return ok && glob(resolved, s, false)
}

// glob matches s against literals, * and ?. It goes back to the last * only, so
// that the work is at most the pattern's length times that of s. With fold, literals are in
// lower case and ASCII letters of s match whatever their case.
func glob(parts []part, s string, fold bool) bool {
	at, pos := 0, 0
	star, mark := -1, 0
	for {
		if at == len(parts) && pos == len(s) {
			return true
		}
		if at < len(parts) {
			if parts[at].kind == anyText {
				at++
				if at == len(parts) {
					return true
				}
				star, mark = at, pos
				continue
			}
			if n := parts[at].consume(s[pos:], fold); n >= 0 {
				pos += n
				at++
				continue
			}
		}
		if star < 0 || mark == len(s) {
			return false
		}
		_, size := utf8.DecodeRuneInString(s[mark:])
		mark += size
		at, pos = star, mark
	}
}

// consume says how many bytes at the start of s the part matches, -1 if it does not.
func (p *part) consume(s string, fold bool) int {
	if p.kind == oneChar {
		if s == "" {
			return -1
		}
		_, size := utf8.DecodeRuneInString(s)
		return size
	}
	if strings.HasPrefix(s, p.text) || fold && hasPrefixFold(s, p.text) {
		return len(p.text)
	}
	return -1
}

// hasPrefixFold folds ASCII only: ſ and K are no letters of an action.
func hasPrefixFold(s, lower string) bool {
	if len(s) < len(lower) {
		return false
	}
	for i := range len(lower) {
		if lowerByte(s[i]) != lower[i] {
			return false
		}
	}
	return true
}

func lowerASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		b[i] = lowerByte(c)
	}
	return string(b)
}

func lowerByte(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// arnSegments is the number of colon-delimited parts of an ARN. The last one
// may itself hold colons.
const arnSegments = 6

// arnPattern matches ARNs part by part: * and ? do not cross a colon before the
// resource part. The exception is a * that ends the pattern early, as in
// arn:aws:elasticache:*, which takes the rest.
//
// The IAM User Guide (Resource element) says that a * at the end of any part
// "can expand to match beyond the colon boundaries", without an example where
// more parts follow; there the narrower reading holds here.
type arnPattern struct {
	text      string
	parts     []part
	segments  [][]part // parts, cut at the colons of the text
	misplaced bool     // a variable stands before the resource part, where none may: matches nothing
}

func newARNPattern(text string, variables bool) (arnPattern, error) {
	parts, err := parseParts(text, true, variables)
	return arnPattern{text: text, parts: parts, segments: cutSegments(parts)}, err
}

func cutSegments(parts []part) [][]part {
	segments := [][]part{nil}
	for _, p := range parts {
		last := len(segments) - 1
		for p.kind == literal && last < arnSegments-1 {
			before, after, colon := strings.Cut(p.text, ":")
			if !colon {
				break
			}
			if before != "" {
				segments[last] = append(segments[last], part{kind: literal, text: before})
			}
			segments = append(segments, nil)
			last++
			p.text = after
		}
		if p.kind != literal || p.text != "" {
			segments[last] = append(segments[last], p)
		}
	}
	return segments
}

func (a *arnPattern) variableBeforeResource() bool {
	for _, segment := range a.segments[:min(len(a.segments), arnSegments-1)] {
		if hasVariable(segment) {
			return true
		}
	}
	return false
}

func (a *arnPattern) match(c Context, arn string) bool {
	if len(a.parts) > 0 && a.parts[0].kind == literal && !strings.HasPrefix(arn, a.parts[0].text) {
		return false // most patterns are for something else: found out cheaply
	}
	return a.mismatch(c, arn) < 0
}

// mismatch gives the index of the first part of the ARN that does not match, -1
// if all do.
func (a *arnPattern) mismatch(c Context, arn string) int {
	switch {
	case a.text == "*":
		return -1
	case a.misplaced:
		return 0
	case len(a.parts) == 1 && a.parts[0].kind == variable && like(a.parts, c, arn): // it holds a whole ARN
		return -1
	}
	rest := arn
	last := len(a.segments) - 1
	for i, segment := range a.segments[:last] {
		head, tail, colon := strings.Cut(rest, ":")
		if !colon || !like(segment, c, head) {
			return i
		}
		rest = tail
	}
	if (last == arnSegments-1 || endsInStar(a.segments[last])) && like(a.segments[last], c, rest) {
		return -1
	}
	return last
}

func endsInStar(parts []part) bool {
	return len(parts) > 0 && parts[len(parts)-1].kind == anyText
}
