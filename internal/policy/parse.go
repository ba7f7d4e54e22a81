package policy

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

var (
	alphanumeric = regexp.MustCompile(`^[0-9A-Za-z]*$`)
	vendor       = regexp.MustCompile(`^([0-9A-Za-z.-]+|\*)$`)
	partition    = regexp.MustCompile(`^(aws[a-z*?-]*|\*)$`)
)

// Parse reads one policy document; name is for decisions. The error is a
// *MalformedError. What AWS would take but never match, such as a date that is
// none, is refused too, so that the mistake is seen.
func Parse(kind Kind, name string, document []byte) (*Policy, error) {
	top, err := readDocument(document)
	if err != nil {
		return nil, err
	}
	p := &Policy{Name: name}
	var statements []any
	for _, m := range top {
		switch m.name {
		case "Version":
			if m.value != "2012-10-17" && m.value != "2008-10-17" {
				return nil, malformed(msgSyntax, "Version is neither 2012-10-17 nor 2008-10-17")
			}
			p.variables = m.value == "2012-10-17"
		case "Id":
			if _, ok := m.value.(string); !ok {
				return nil, malformed(msgSyntax, "Id is not a string")
			}
		case "Statement":
			list, ok := m.value.([]any)
			if !ok {
				list = []any{m.value}
			}
			statements = list
		default:
			return nil, malformed(msgSyntax, "the document has an unknown member %q", excerpt(m.name))
		}
	}
	if len(statements) == 0 {
		return nil, malformed(msgSyntax, "the document has no Statement")
	}
	if err := p.addStatements(kind, statements); err != nil {
		return nil, err
	}
	p.spans = statementSpans(document)
	return p, nil
}

func (p *Policy) addStatements(kind Kind, statements []any) error {
	sids := make(map[string]bool)
	for i, value := range statements {
		o, ok := value.(object)
		if !ok {
			return inStatement(i+1, malformed(msgSyntax, "not an object"))
		}
		s := &statement{label: fmt.Sprintf("statement %d", i+1)}
		if err := s.read(kind, o, p.variables); err != nil {
			return inStatement(i+1, err)
		}
		if sids[s.sid] {
			return inStatement(i+1, malformed(msgSidTwice, "another statement has the Sid %q", s.sid))
		}
		if s.sid != "" {
			sids[s.sid], s.label = true, s.sid
		}
		p.statements = append(p.statements, s)
	}
	return nil
}

func (s *statement) read(kind Kind, o object, variables bool) error {
	seen := make(map[string]bool, len(o))
	for _, m := range o {
		seen[m.name] = true
		if err := s.readMember(m, variables); err != nil {
			return err
		}
	}
	switch {
	case !seen["Effect"]:
		return malformed(msgSyntax, "Effect is missing")
	case seen["Action"] && seen["NotAction"]:
		return malformed(msgSyntax, "both Action and NotAction")
	case seen["Resource"] && seen["NotResource"]:
		return malformed(msgSyntax, "both Resource and NotResource")
	case len(s.actions.patterns) == 0:
		return malformed(msgActions, "it needs Action or NotAction")
	case kind == Trust:
		return s.checkTrust(seen)
	case seen["Principal"]:
		return malformed(msgPrincipal, "Principal is for trust policies")
	case len(s.resources.patterns) == 0:
		return malformed(msgResources, "it needs Resource or NotResource")
	}
	return nil
}

func (s *statement) checkTrust(seen map[string]bool) error {
	for _, name := range []string{"Resource", "NotResource"} {
		if seen[name] {
			return malformed("Has prohibited field "+name, "a trust policy says who may assume the role; it has no %s", name)
		}
	}
	if !seen["Principal"] {
		return malformed(msgNoPrincipal, "a trust policy says who may assume the role")
	}
	for _, parts := range s.actions.patterns {
		if parts[0].kind != literal || !strings.HasPrefix(parts[0].text, "sts:") {
			return malformed(msgTrustActions, "an action is not of sts")
		}
	}
	return nil
}

func (s *statement) readMember(m member, variables bool) error {
	switch m.name {
	case "Sid":
		return s.readSid(m)
	case "Effect":
		if m.value != "Allow" && m.value != "Deny" {
			return malformed(msgSyntax, "Effect is neither Allow nor Deny")
		}
		s.deny = m.value == "Deny"
	case "Action", "NotAction":
		s.actions.not = m.name == "NotAction"
		return s.readActions(m)
	case "Resource", "NotResource":
		s.resources.not = m.name == "NotResource"
		return s.readResources(m, variables)
	case "Principal":
		return s.principals.read(m)
	case "Condition":
		return s.readConditions(m, variables)
	case "NotPrincipal":
		return malformed(msgSyntax, "NotPrincipal is for the policies of other services")
	default:
		return malformed(msgSyntax, "unknown member %q", excerpt(m.name))
	}
	return nil
}

func (s *statement) readSid(m member) error {
	sid, ok := m.value.(string)
	if !ok {
		return malformed(msgSyntax, "Sid is not a string")
	}
	if !alphanumeric.MatchString(sid) {
		return malformed(msgSid, "the Sid has other characters")
	}
	s.sid = sid
	return nil
}

func (s *statement) readActions(m member) error {
	actions, err := stringList(m)
	if err != nil {
		return err
	}
	for _, action := range actions {
		service, _, colon := strings.Cut(action, ":")
		switch {
		case !colon && action != "*":
			return malformed(msgNoVendor, "action %q", excerpt(action))
		case strings.Count(action, ":") > 1:
			return malformed(msgColons, "action %q", excerpt(action))
		case colon && !vendor.MatchString(service):
			return malformed("Vendor "+excerpt(service)+" is not valid", "action %q", excerpt(action))
		}
		parts, err := parseParts(lowerASCII(action), true, false)
		if err != nil {
			return err
		}
		s.actions.patterns = append(s.actions.patterns, parts)
	}
	return nil
}

func (s *statement) readResources(m member, variables bool) error {
	resources, err := stringList(m)
	if err != nil {
		return err
	}
	for _, resource := range resources {
		if err := checkResource(resource); err != nil {
			return err
		}
		pattern, err := newARNPattern(resource, variables)
		if err != nil {
			return err
		}
		pattern.misplaced = pattern.variableBeforeResource()
		s.resources.patterns = append(s.resources.patterns, pattern)
	}
	return nil
}

func checkResource(resource string) error {
	if resource == "*" {
		return nil
	}
	parts := strings.SplitN(resource, ":", 6)
	switch {
	case parts[0] != "arn" || len(parts) < 3:
		return malformed(fmt.Sprintf(`Resource %s must be in ARN format or "*".`, excerpt(resource)), "")
	case !partition.MatchString(parts[1]):
		return malformed(fmt.Sprintf(`Partition "%s" is not valid for resource "%s".`, excerpt(parts[1]), excerpt(resource)), "")
	case parts[2] == "" || strings.ContainsAny(parts[2], "*?"):
		return malformed(msgService, "resource %q", excerpt(resource))
	case len(parts) < 6 && strings.Contains(resource, "::"):
		return malformed(msgLegacy, "resource %q has fewer than the six parts of an ARN", excerpt(resource))
	}
	return nil
}

func (s *statement) readConditions(m member, variables bool) error {
	operators, ok := m.value.(object)
	if !ok {
		return malformed(msgSyntax, "Condition is not an object")
	}
	for _, operator := range operators {
		keys, ok := operator.value.(object)
		if !ok {
			return malformed(msgSyntax, "condition %s is not an object", excerpt(operator.name))
		}
		for _, key := range keys {
			if !strings.Contains(key.name, ":") {
				return malformed(msgNoVendor, "condition key %q", excerpt(key.name))
			}
			values, err := conditionValues(key)
			if err != nil {
				return err
			}
			c, err := newCondition(operator.name, key.name, values, variables)
			if err != nil {
				return err
			}
			s.conditions = append(s.conditions, c)
		}
	}
	return nil
}

// conditionValues reads strings, numbers and Booleans, one or a list.
func conditionValues(key member) ([]string, error) {
	values, ok := key.value.([]any)
	if !ok {
		values = []any{key.value}
	}
	list := make([]string, 0, len(values))
	for _, value := range values {
		switch v := value.(type) {
		case string:
			list = append(list, v)
		case bool:
			list = append(list, strconv.FormatBool(v))
		case fmt.Stringer: // json.Number
			list = append(list, v.String())
		default:
			return nil, malformed(msgSyntax, "the values of condition key %q are not strings, numbers or Booleans", excerpt(key.name))
		}
	}
	return list, nil
}
