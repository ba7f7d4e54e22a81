package policy

import (
	"slices"
	"strings"
)

var (
	documentMembers  = []string{"Version", "Id", "Statement"}
	statementMembers = []string{"Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Principal", "NotPrincipal", "Condition"}
	principalTypes   = []string{"AWS", "Service", "Federated"}
)

const trustExample = `{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}`

// lintDocument looks at what a document says, once it can be read.
func (l *linter) lintDocument(top *node) {
	if top.shape != objectShape {
		l.once(top.at, "a policy is an object", `write {"Version":"2012-10-17","Statement":[…]}`)
		return
	}
	members := l.members(top, documentMembers)
	version := members["Version"]
	if version != nil {
		l.lintVersion(version)
	}
	statement := members["Statement"]
	if statement == nil {
		return
	}
	statements := []*node{statement}
	if statement.shape == list {
		statements = statement.items
	}
	var read []lintedStatement
	for _, s := range statements {
		if s.shape == objectShape {
			read = append(read, l.lintStatement(s, version))
		}
	}
	l.lintKind(read)
	if l.kind == Identity {
		l.lintConnect(elasticache, read)
		l.lintConnect(memorydb, read)
	}
}

// members finds the members of an object under the names that were meant.
func (l *linter) members(object *node, known []string) map[string]*node {
	found := map[string]*node{}
	for i, name := range object.names {
		meant := name.text
		if !slices.Contains(known, meant) {
			if meant = nearest(name.text, known); meant == "" {
				continue
			}
			l.problem(name.offset(0), "there is no member of this name", "did you mean "+meant+"?")
		}
		if found[meant] == nil {
			found[meant] = object.items[i]
		}
	}
	return found
}

func (l *linter) lintVersion(n *node) {
	text := l.typed(n)
	if n.shape != absent && text != "2012-10-17" && text != "2008-10-17" {
		l.problem(n.offset(0), "Version is the version of the policy language, not a date of yours", "write 2012-10-17")
	}
}

// typed is the text of what holds names, without what word processors put into
// it; it says so.
func (l *linter) typed(n *node) string {
	return strings.Map(func(r rune) rune {
		switch {
		case strings.ContainsRune("‐‑‒–—―−", r):
			l.once(n.offset(strings.IndexRune(n.text, r)), "this has a dash of a word processor or web page", "write -, here and everywhere")
			return '-'
		case strings.ContainsRune(doubleMarks+"‘’", r):
			l.once(n.offset(strings.IndexRune(n.text, r)), "this has a quotation mark of a word processor or web page in it", "take it out")
			return -1
		}
		return r
	}, n.text)
}

// lintedStatement is what the checks of a whole document need of a statement.
type lintedStatement struct {
	*node
	members   map[string]*node
	actions   []string // in lower case, without NotAction
	resources []resource
	allows    bool
}

func (l *linter) lintStatement(n *node, version *node) lintedStatement {
	s := lintedStatement{node: n, members: l.members(n, statementMembers)}
	if effect := s.members["Effect"]; effect != nil {
		meant := nearest(effect.text, []string{"Allow", "Deny"})
		if meant != "" && effect.text != meant {
			l.problem(effect.offset(0), "there is no such Effect", "write "+meant)
		}
		s.allows = meant == "Allow"
	}
	for _, name := range []string{"Action", "NotAction"} {
		for _, action := range s.words(name) {
			text := l.lintAction(action)
			if name == "Action" {
				s.actions = append(s.actions, lowerASCII(text))
			}
		}
	}
	for _, name := range []string{"Resource", "NotResource"} {
		for _, n := range s.words(name) {
			r := l.lintResource(n)
			if strings.Contains(n.text, "${") && (version == nil || version.text == "2008-10-17") {
				l.once(n.offset(0), "a policy variable is a variable only in documents of Version 2012-10-17", `write "Version":"2012-10-17" at the top`)
			}
			if name == "Resource" {
				s.resources = append(s.resources, r)
			}
		}
	}
	l.lintServices(s)
	if principal := s.members["Principal"]; principal != nil {
		l.lintPrincipal(principal)
	}
	return s
}

func (s *lintedStatement) words(member string) []*node {
	if n := s.members[member]; n != nil {
		return n.words()
	}
	return nil
}

func (s *lintedStatement) has(member string) bool { return s.members[member] != nil }

// lintKind tells permission policies and trust policies apart, once a document.
func (l *linter) lintKind(statements []lintedStatement) {
	for _, s := range statements {
		assumes := len(s.actions) > 0 && !slices.ContainsFunc(s.actions, func(a string) bool { return !strings.HasPrefix(a, "sts:") })
		named := s.has("Resource") || s.has("NotResource")
		switch {
		case l.kind == Trust && !s.has("Principal") && (named || !assumes && len(s.actions) > 0):
			l.once(s.at, "this is a permission policy, and a role's trust policy belongs here",
				"give this one to create-policy or put-role-policy; a trust policy says who may assume the role, such as "+trustExample)
		case l.kind == Trust && !s.has("Principal"):
			l.problem(s.at, "a trust policy says who may assume the role, and this has no Principal", "write one, as in "+trustExample)
		case l.kind == Trust && named:
			l.problem(firstOf(s.members["Resource"], s.members["NotResource"]).at, "a trust policy has no Resource: the role itself is meant", "take it out")
		case l.kind == Identity && s.has("Principal") && assumes && !named:
			l.once(s.at, "this is a role's trust policy, and a permission policy belongs here",
				"give this one to create-role or update-assume-role-policy; a permission policy has Action and Resource, and no Principal")
		case l.kind == Identity && s.has("Principal"):
			l.problem(s.members["Principal"].at, "a permission policy has no Principal: it is for whom it is attached to", "take it out")
		}
	}
}

func firstOf(a, b *node) *node {
	if a != nil {
		return a
	}
	return b
}

func (l *linter) lintPrincipal(n *node) {
	if n.shape == word && n.text != "*" {
		l.problem(n.at, "a Principal that is not * is an object", `write `+principalOf(n.text))
		return
	}
	if n.shape != objectShape {
		return
	}
	for i, name := range n.names {
		if meant := nearest(name.text, principalTypes); meant != "" && meant != name.text {
			l.problem(name.offset(0), "there is no such type of principal", "did you mean "+meant+"?")
		}
		for _, w := range n.items[i].words() {
			text := l.typed(w)
			host := principalHost.MatchString(text)
			account, digits := principalAccount(text)
			switch {
			case name.text == "AWS" && host && strings.HasSuffix(text, ".amazonaws.com"):
				l.problem(w.offset(0), "this is a service, not a principal of AWS accounts", "write "+principalOf(text))
			case name.text == "Service" && strings.HasPrefix(text, "arn:"):
				l.problem(w.offset(0), "this is an ARN, not a service", "write "+principalOf(text))
			case name.text == "AWS" && digits && !accountID.MatchString(account):
				l.problem(w.offset(0), accountProblem, "write all digits, without hyphens")
			}
		}
	}
}

// principalAccount is the account of a principal, if digits stand in its place.
func principalAccount(text string) (account string, digits bool) {
	account = text
	if parts := strings.SplitN(text, ":", 6); len(parts) == 6 {
		account = parts[4]
	}
	return account, account != "" && strings.Trim(account, "0123456789-") == ""
}

func principalOf(text string) string {
	kind := "AWS"
	if strings.HasSuffix(text, ".amazonaws.com") {
		kind = "Service"
	}
	return `{"` + kind + `":"` + repeated(text) + `"}`
}

// lintAction gives the action as it was meant.
func (l *linter) lintAction(n *node) string {
	action := l.typed(n)
	if trimmed := strings.TrimSpace(action); trimmed != action {
		l.problem(n.offset(0), "a space stands at an end of the action", "take it out")
		action = trimmed
	}
	if strings.ContainsAny(action, ", ") {
		l.problem(n.offset(0), "this is more than one action in one string", `write a list: ["one:Action","another:Action"]`)
		return action
	}
	service, name, colon := strings.Cut(action, ":")
	if !colon {
		return l.actionWithoutColon(n, action)
	}
	known := actionsOf(lowerASCII(service))
	if known == nil {
		if meant := nearest(service, []string{elasticache, memorydb}); meant != "" {
			l.problem(n.offset(0), "there is no service of this name", "did you mean "+meant+"?")
			service, known = meant, actionsOf(meant)
		}
	}
	if known == nil || name == "" || strings.ContainsAny(name, "*?") {
		return service + ":" + name
	}
	if meant := nearest(name, known); meant != "" {
		if lowerASCII(meant) != lowerASCII(name) {
			l.problem(n.offset(min(len(action)-len(name), len(n.text))), lowerASCII(service)+" has no action "+repeated(name), "did you mean "+meant+"?")
		}
		name = meant
	}
	return service + ":" + name
}

func (l *linter) actionWithoutColon(n *node, action string) string {
	if i := strings.IndexAny(action, "./;-"); i > 0 && actionsOf(lowerASCII(action[:i])) != nil {
		l.problem(n.offset(0), "the colon of the action is missing", "write "+repeated(action[:i]+":"+action[i+1:]))
		return action[:i] + ":" + action[i+1:]
	}
	var meant []string
	for _, service := range []string{elasticache, memorydb} {
		known := actionsOf(service)
		if i := slices.IndexFunc(known, func(name string) bool { return strings.EqualFold(name, action) }); i >= 0 {
			meant = append(meant, service+":"+known[i])
		}
	}
	if len(meant) > 0 {
		l.problem(n.offset(0), "the service of the action is missing", "write "+strings.Join(meant, " or "))
	}
	return action
}

// lintServices finds actions of one of the two services on ARNs of the other.
func (l *linter) lintServices(s lintedStatement) {
	if len(s.resources) == 0 {
		return
	}
	for i, action := range s.actions {
		service, _, _ := strings.Cut(action, ":")
		if service != elasticache && service != memorydb {
			continue
		}
		other := elasticache
		if service == elasticache {
			other = memorydb
		}
		if !slices.ContainsFunc(s.resources, func(r resource) bool { return r.service != other }) {
			n := s.words("Action")[i]
			_, name, _ := strings.Cut(n.text, ":")
			l.problem(n.offset(0), "the action is of "+service+" and every Resource of "+other, "write "+other+":"+repeated(name)+", or ARNs of "+service)
		}
	}
}
