// Package acl understands the access strings of ElastiCache and MemoryDB users:
// it parses them, prints them as AWS does, renders them for a real engine and
// decides by them where there is none.
package acl

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxLength bounds an access string, in bytes. AWS documents no limit.
const MaxLength = 10 << 10

// channelsByDefault is what a user may do with channels if the access string
// says nothing of them: acl-pubsub-default is "allchannels" on ElastiCache (user
// guide, "Engine specific parameters" and, for serverless caches, "Valkey and
// Redis OSS configuration and limits"), unlike Redis OSS 7.0's "resetchannels".
const channelsByDefault = true

// Access is a parsed access string. It does not change and is safe for many
// goroutines.
type Access struct {
	on        bool
	root      permissions
	selectors []*permissions
}

// Parse reads an access string by the rules of "Specifying permissions using an
// access string" (ElastiCache and MemoryDB user guides) and of the Redis 7.0 and
// Valkey ACL documentation, left to right. It refuses what AWS refuses, and
// what the engines do. Its errors give the place of the rule, not the rule.
func Parse(s string) (*Access, error) {
	if len(s) > MaxLength {
		return nil, fmt.Errorf("access string is longer than %d bytes", MaxLength)
	}
	if !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
		return nil, errors.New("access string has control characters or is not UTF-8")
	}
	rules := words(s)
	if len(rules) == 0 {
		return nil, errors.New("access string is empty")
	}
	a := &Access{root: newPermissions()}
	for i := 0; i < len(rules); i++ {
		n, err := a.apply(rules[i:])
		if err != nil {
			return nil, fmt.Errorf("rule %d of the access string: %w", i+1, err)
		}
		i += n - 1
	}
	return a, nil
}

// apply applies the first of rules and returns how many it has used: a selector
// reaches to the rule that ends with its parenthesis.
func (a *Access) apply(rules []string) (int, error) {
	if rules[0][0] == '(' {
		return a.addSelector(rules)
	}
	switch lower(rules[0]) {
	case "on":
		a.on = true
	case "off":
		a.on = false
	case "clearselectors":
		a.selectors = nil
	default:
		return 1, a.root.apply(rules[0])
	}
	return 1, nil
}

func (a *Access) addSelector(rules []string) (int, error) {
	n := 1
	for !strings.HasSuffix(rules[n-1], ")") {
		if n++; n > len(rules) {
			return 0, errors.New("selector is not closed")
		}
	}
	text := strings.Join(rules[:n], " ")
	p := newPermissions()
	for _, rule := range words(text[1 : len(text)-1]) {
		if strings.HasSuffix(rule, ")") { // it would not read back
			return 0, errors.New("selector: too many parentheses")
		}
		if err := p.apply(rule); err != nil {
			return 0, fmt.Errorf("selector: %w", err)
		}
	}
	a.selectors = append(a.selectors, &p)
	return n, nil
}

// On reports whether the user is enabled. Without "on" a user is off.
func (a *Access) On() bool { return a.on }

// String returns the normal form in which AWS answers: the switch, keys,
// channels if any rule named them, then commands, beginning with "-@all" or
// "+@all". Later command rules have replaced the earlier ones that they undo, as
// in Valkey's ACL LIST. AWS shows no example with channels or selectors; they
// stand where the engines print them.
func (a *Access) String() string {
	out := []string{"off"}
	if a.on {
		out[0] = "on"
	}
	out = append(out, a.root.rules(a.root.channelsNamed)...)
	for _, p := range a.selectors {
		out = append(out, "("+strings.Join(p.rules(p.channelsNamed), " ")+")")
	}
	return strings.Join(out, " ")
}

// words splits at spaces and at nothing else.
func words(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ' ' })
}

// lower lowers ASCII letters only, as the engines do.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}
