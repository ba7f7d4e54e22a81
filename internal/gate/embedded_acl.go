package gate

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rediam/rediam/internal/acl"
	"github.com/rediam/rediam/internal/command"
	"github.com/rediam/rediam/internal/world"
)

// aclCat answers ACL CAT [category].
func aclCat(s *session, args [][]byte, a *answer) {
	if len(args) == 2 {
		a.list(command.AllCategories.Names())
		return
	}
	category, ok := command.Category(word(args[2]))
	switch {
	case len(args) > 3:
		a.fail("ERR unknown subcommand or wrong number of arguments for 'CAT'. Try ACL HELP.")
		return
	case !ok:
		a.fail("ERR Unknown category '%.128s'", args[2])
		return
	}
	a.names(s.commandsThat(func(c *command.Command) bool { return c.Categories&category != 0 }))
}

// members are the users of the cache, by name.
func (s *session) members() []world.Member {
	members := s.gate.World.Members(s.gate.Cache)
	slices.SortFunc(members, func(a, b world.Member) int { return strings.Compare(a.Name, b.Name) })
	return members
}

func aclUsers(s *session, _ [][]byte, a *answer) {
	members := s.members()
	a.array(len(members))
	for _, m := range members {
		a.bulk(m.Name)
	}
}

// aclList gives no password hashes, as on AWS.
func aclList(s *session, _ [][]byte, a *answer) {
	members := s.members()
	a.array(len(members))
	for _, m := range members {
		words := append([]string{"user", m.Name}, userFlags(m)...)
		root, selectors := rulesOf(m.Rules)
		words = append(words, root.words()...)
		for _, r := range selectors {
			words = append(words, "("+strings.Join(r.words(), " ")+")")
		}
		a.bulk(strings.Join(words, " "))
	}
}

func userFlags(m world.Member) []string {
	flags := []string{"off"}
	if m.Rules.On() {
		flags[0] = "on"
	}
	if m.Auth == world.AuthNoPassword {
		flags = append(flags, "nopass")
	}
	return flags
}

func aclGetUser(s *session, args [][]byte, a *answer) {
	m, ok := s.gate.World.Member(s.gate.Cache, string(args[2]))
	if !ok {
		a.null()
		return
	}
	flags := userFlags(m)
	a.pairs(6)
	a.bulk("flags")
	a.set(len(flags))
	a.bulk(flags...)
	a.bulk("passwords")
	a.array(0)
	root, selectors := rulesOf(m.Rules)
	a.rules(root)
	a.bulk("selectors")
	a.array(len(selectors))
	for _, r := range selectors {
		a.pairs(3)
		a.rules(r)
	}
}

// rules are those of a user or of one selector, sorted by what they are about.
type rules struct{ keys, channels, commands []string }

// rulesOf takes the normal form of an access string apart.
func rulesOf(access *acl.Access) (root rules, selectors []rules) {
	parts := strings.Split(access.String(), " (")
	for _, part := range parts[1:] {
		selectors = append(selectors, sortRules(strings.TrimSuffix(part, ")")))
	}
	return sortRules(parts[0]), selectors
}

func sortRules(text string) (r rules) {
	named := false
	for rule := range strings.SplitSeq(text, " ") {
		switch {
		case rule == "resetchannels":
			named = true
		case strings.HasPrefix(rule, "&"):
			named = true
			r.channels = append(r.channels, rule)
		case strings.HasPrefix(rule, "~"), strings.HasPrefix(rule, "%"):
			r.keys = append(r.keys, rule)
		case strings.HasPrefix(rule, "+"), strings.HasPrefix(rule, "-"):
			r.commands = append(r.commands, rule)
		}
	}
	if !named { // the default of AWS, which its normal form does not print
		r.channels = []string{"&*"}
	}
	return r
}

// words are the rules as the engines print them.
func (r rules) words() []string {
	words := slices.Clone(r.keys)
	if !slices.Equal(r.channels, []string{"&*"}) {
		words = append(words, "resetchannels")
	}
	return append(append(words, r.channels...), r.commands...)
}

func (a *answer) rules(r rules) {
	a.bulk("commands", strings.Join(r.commands, " "), "keys", strings.Join(r.keys, " "), "channels", strings.Join(r.channels, " "))
}

// aclDryRun answers ACL DRYRUN user command [argument …].
func aclDryRun(s *session, args [][]byte, a *answer) {
	m, ok := s.gate.World.Member(s.gate.Cache, string(args[2]))
	if !ok {
		a.fail("ERR User '%.128s' not found", args[2])
		return
	}
	c, ok := command.Lookup(args[3:])
	switch {
	case !ok:
		a.fail("ERR Command '%.128s' not found", args[3])
		return
	case !fits(c, args[3:]):
		a.fail(textArity, c.Name)
		return
	}
	verdict := m.Rules.Allow(args[3:])
	switch {
	case verdict.OK:
		a.ok()
	case verdict.Denied == acl.Command:
		a.bulk(fmt.Sprintf("This user has no permissions to run the '%s' command", verdict.Object))
	case verdict.Denied == acl.Channel:
		a.bulk(fmt.Sprintf("This user has no permissions to access the '%s' channel", verdict.Object))
	default:
		a.bulk(fmt.Sprintf("This user has no permissions to access the '%s' key", verdict.Object))
	}
}
