package policy

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// A Match is a statement that applies to a request, and where it stands in its
// document.
type Match struct {
	Policy     *Policy
	Statement  string // its Sid, else "statement 2"
	Deny       bool
	Start, End Position
}

// A Position counts lines and the bytes in them, both from 1.
type Position struct{ Line, Column int }

// Matches are all statements that apply to a request, where Decide stops at the
// one that decides.
func (p *Policy) Matches(r Request) []Match {
	var all []Match
	for i, s := range p.statements {
		if s.actions.match(r.Action) && s.resources.match(&r) && s.conditionsHold(r.Context) {
			all = append(all, Match{p, s.label, s.deny, p.spans[i][0], p.spans[i][1]})
		}
	}
	return all
}

// HasAction is whether a statement is about the action, on whatever resource.
func (p *Policy) HasAction(action string) bool {
	return slices.ContainsFunc(p.statements, func(s *statement) bool { return s.actions.match(action) })
}

// MissingKeys are the condition keys, in order, that statements about the action
// ask for and the context of the request has not.
func (p *Policy) MissingKeys(r Request) []string {
	var missing []string
	note := func(key string) {
		if len(r.Context[lowerASCII(key)]) == 0 && !slices.ContainsFunc(missing, func(m string) bool { return strings.EqualFold(m, key) }) {
			missing = append(missing, key)
		}
	}
	noteVariables := func(parts []part) {
		for _, part := range parts {
			if part.kind == variable {
				note(part.text)
			}
		}
	}
	for _, s := range p.statements {
		if !s.actions.match(r.Action) {
			continue
		}
		for _, resource := range s.resources.patterns {
			noteVariables(resource.parts)
		}
		for _, c := range s.conditions {
			note(c.key)
			for _, value := range c.values {
				if parts, err := parseParts(value, true, p.variables); err == nil {
					noteVariables(parts)
				}
			}
		}
	}
	slices.Sort(missing)
	return missing
}

// statementSpans finds where the statements of a document begin and end. The
// document has been read before, so that it has no errors.
func statementSpans(document []byte) (spans [][2]Position) {
	d := json.NewDecoder(bytes.NewReader(document))
	for d.Token(); d.More(); { // the opening bracket, then names and values
		name, _ := d.Token()
		var value json.RawMessage
		if d.Decode(&value) != nil {
			return nil
		}
		if name != "Statement" {
			continue
		}
		end := int(d.InputOffset())
		start := end - len(value)
		if value[0] != '[' {
			return [][2]Position{span(document, start, end)}
		}
		list := json.NewDecoder(bytes.NewReader(value))
		for list.Token(); list.More(); {
			var one json.RawMessage
			if list.Decode(&one) != nil {
				return nil
			}
			end := start + int(list.InputOffset())
			spans = append(spans, span(document, end-len(one), end))
		}
	}
	return spans
}

func span(document []byte, start, end int) [2]Position {
	return [2]Position{positionOf(document, start), positionOf(document, end-1)}
}

func positionOf(document []byte, offset int) Position {
	before := document[:offset]
	return Position{1 + bytes.Count(before, []byte("\n")), offset - bytes.LastIndexByte(before, '\n')}
}
