package policy

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// maxFindings bounds what Lint says of one document.
	maxFindings = 50
	// maxLinted bounds what Lint reads.
	maxLinted = 1 << 20
	// maxRepeated is how many characters of the document a finding repeats.
	maxRepeated = 64
)

var fileName = regexp.MustCompile(`^\s*(?:file:/*)?[A-Za-z0-9_.~/-]+\.json\s*$`)

// Finding is something that the author of a document probably did not mean.
type Finding struct {
	Line    int    `json:"line"` // from 1, as columns, which are in characters
	Column  int    `json:"column"`
	Problem string `json:"problem"` // what is wrong
	Instead string `json:"instead"` // what to write instead
	Warning bool   `json:"warning"` // AWS takes it and it works, but it allows more than most want
}

func (f Finding) String() string {
	return fmt.Sprintf("line %d, column %d: %s: %s", f.Line, f.Column, f.Problem, f.Instead)
}

// Lint says what a broken or suspicious document probably meant: problems
// first, then warnings, each in the order of the document. It reads documents
// that Parse refuses too, as far as they can be understood, and has nothing to
// say of a good one. It knows the mistakes that people make with ElastiCache,
// MemoryDB and roles, not the other services; that it finds nothing does not
// mean that Parse takes the document.
func Lint(kind Kind, document []byte) []Finding {
	l := &linter{document: string(document), kind: kind}
	if size(document) > maxDocument {
		l.problem(0, fmt.Sprintf(textTooLong, maxDocument), "write a shorter one: no policy of IAM may be that long")
	}
	switch {
	case len(document) > maxLinted:
		l.problem(0, fmt.Sprintf("the document is longer than %d bytes", maxLinted), "take the policy out of what is around it")
		return l.findings()
	case fileName.Match(document):
		l.problem(0, "this is the name of a file, not a policy", "write file:// before the name for the AWS CLI to read the file")
		return l.findings()
	case strings.HasPrefix(l.document, "%7B"):
		l.problem(0, "the document is URL-encoded, as IAM gives it back", "decode it before")
		return l.findings()
	}
	notJSON := json.Unmarshal(document, new(json.RawMessage))
	top := readLeniently(l, notJSON == nil)
	var syntax *json.SyntaxError
	if len(l.found) == 0 && errors.As(notJSON, &syntax) {
		at := min(max(0, int(syntax.Offset)-1), len(document))
		l.problem(at, "from here on the document is no JSON", "look for a bracket, a comma or a quotation mark that is missing or one too many")
	}
	if top != nil {
		l.lintDocument(top)
	}
	return l.findings()
}

// linter collects findings by the byte offset of their place.
type linter struct {
	document string
	kind     Kind
	found    []placed
	said     map[string]bool // problems that are told once a document
}

type placed struct {
	at int
	Finding
}

func (l *linter) add(at int, f Finding) {
	p := placed{at, f}
	if len(l.found) < maxFindings && !slices.Contains(l.found, p) {
		l.found = append(l.found, p)
	}
}

func (l *linter) problem(at int, problem, instead string) {
	l.add(at, Finding{Problem: problem, Instead: instead})
}

func (l *linter) warning(at int, problem, instead string) {
	l.add(at, Finding{Problem: problem, Instead: instead, Warning: true})
}

// once is for problems that a document has everywhere or nowhere.
func (l *linter) once(at int, problem, instead string) {
	if l.said == nil {
		l.said = map[string]bool{}
	}
	if !l.said[problem] {
		l.said[problem] = true
		l.problem(at, problem, instead)
	}
}

// findings sorts, and counts lines and columns.
func (l *linter) findings() []Finding {
	slices.SortStableFunc(l.found, func(a, b placed) int { return cmp.Compare(a.at, b.at) })
	var problems, warnings []Finding
	line, start := 1, 0
	for _, p := range l.found {
		for {
			end := strings.IndexByte(l.document[start:p.at], '\n')
			if end < 0 {
				break
			}
			line, start = line+1, start+end+1
		}
		f := p.Finding
		f.Line, f.Column = line, 1+utf8.RuneCountInString(l.document[start:p.at])
		if f.Warning {
			warnings = append(warnings, f)
		} else {
			problems = append(problems, f)
		}
	}
	return append(problems, warnings...)
}

// repeated is what a finding may repeat of the document: the beginning, and
// nothing that a terminal would act on.
func repeated(s string) string {
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n++; n > maxRepeated {
			return b.String() + "…"
		}
		if !unicode.IsPrint(r) {
			r = utf8.RuneError
		}
		b.WriteRune(r)
	}
	return b.String()
}

// nearest is the word of the list that name probably is, or "": another case of
// letters, or at most two characters away, and one in short words.
func nearest(name string, words []string) string {
	lower := lowerASCII(name)
	best, distance := "", 3
	if len(name) < 6 {
		distance = 2
	}
	for _, word := range words {
		if apart := len(word) - len(name); apart >= distance || -apart >= distance {
			continue
		}
		if d := editDistance(lower, lowerASCII(word), distance); d < distance {
			best, distance = word, d
		}
	}
	return best
}

// editDistance counts the bytes to put in, take out or change; it stops at limit.
// (Two neighbours that changed places count as two.)
func editDistance(a, b string, limit int) int {
	row := make([]int, len(b)+1) // of the usual table, for the bytes of a so far
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		least := row[0]
		for j := range len(b) {
			changed := diagonal
			if a[i] != b[j] {
				changed++
			}
			diagonal = row[j+1]
			row[j+1] = min(changed, diagonal+1, row[j]+1)
			least = min(least, row[j+1])
		}
		if least >= limit {
			return limit
		}
	}
	return row[len(b)]
}
