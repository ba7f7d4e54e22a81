package acl

import (
	"errors"
	"slices"
	"strings"

	"github.com/rediam/rediam/internal/command"
)

// permissions are the rules of a user or of one selector.
type permissions struct {
	allKeys bool
	keys    []keyPattern

	allChannels   bool
	channels      []string
	channelsNamed bool // a rule named channels: the default does not matter

	fromAll   bool     // the command rules begin with +@all, not -@all
	commands  []string // the command rules after that, lower case
	allowed   [(command.Count + 63) / 64]uint64
	firstArgs map[int][]string // by ID: "+select|0", of commands that are not allowed as a whole
}

// keyPattern is a glob and the access that it gives.
type keyPattern struct {
	glob   string
	access command.Access
}

func newPermissions() permissions { return permissions{allChannels: channelsByDefault} }

// apply applies a rule. The words and prefixes are those of ACL SETUSER.
func (p *permissions) apply(rule string) error {
	switch lower(rule) {
	case "allkeys", "~*":
		p.allKeys, p.keys = true, nil
		return nil
	case "resetkeys":
		p.allKeys, p.keys = false, nil
		return nil
	case "allchannels", "&*":
		p.allChannels, p.channels, p.channelsNamed = true, nil, true
		return nil
	case "resetchannels":
		p.allChannels, p.channels, p.channelsNamed = false, nil, true
		return nil
	case "allcommands":
		return p.addCategory("+@all")
	case "nocommands":
		return p.addCategory("-@all")
	case "nopass", "resetpass":
		return errPassword
	case "reset":
		return errors.New(`"reset" is not allowed`)
	}
	switch rule[0] {
	case '>', '<', '#', '!':
		return errPassword
	case '~':
		return p.addKeys(rule[1:], command.ReadWrite)
	case '%':
		return p.addKeysWithAccess(rule[1:])
	case '&':
		return p.addChannels(rule[1:])
	case '+', '-':
		return p.addCommands(lower(rule))
	}
	return errors.New("not a rule")
}

var (
	errPassword   = errors.New("passwords are not part of an access string")
	errUnknown    = errors.New("unknown command or category")
	errProhibited = errors.New("prohibited command")
)

func (p *permissions) addKeysWithAccess(rule string) error {
	var access command.Access
	flags, glob, ok := strings.Cut(rule, "~")
	for _, f := range lower(flags) {
		add := map[rune]command.Access{'r': command.Read, 'w': command.Write}[f]
		ok = ok && add != 0 && access&add == 0
		access |= add
	}
	if !ok || access == 0 {
		return errors.New("not a key permission")
	}
	return p.addKeys(glob, access)
}

// addKeys refuses a pattern after all keys, as the engines do: it would not
// restrict anything.
func (p *permissions) addKeys(glob string, access command.Access) error {
	if p.allKeys {
		return errors.New(`key pattern after "~*"`)
	}
	i := slices.IndexFunc(p.keys, func(k keyPattern) bool { return k.glob == glob })
	if i < 0 {
		i = len(p.keys)
		p.keys = append(p.keys, keyPattern{glob: glob})
	}
	p.keys[i].access |= access
	if p.keys[i] == (keyPattern{"*", command.ReadWrite}) {
		p.allKeys, p.keys = true, nil
	}
	return nil
}

func (p *permissions) addChannels(glob string) error {
	if p.allChannels && p.channelsNamed {
		return errors.New(`channel pattern after "&*"`)
	}
	p.allChannels, p.channelsNamed = false, true
	if !slices.Contains(p.channels, glob) {
		p.channels = append(p.channels, glob)
	}
	return nil
}

// addCommands applies "+get", "-config|get", "+@read" or "+select|0".
func (p *permissions) addCommands(rule string) error {
	name := rule[1:]
	if strings.HasPrefix(name, "@") {
		return p.addCategory(rule)
	}
	c, ok := command.Named(name)
	if !ok {
		return p.addFirstArg(rule)
	}
	if prohibited(name) {
		return errProhibited
	}
	p.change(rule[0] == '+', func(d *command.Command) bool { return d == c || strings.HasPrefix(d.Name, name+"|") })
	p.record(rule)
	return nil
}

// addFirstArg applies "+select|0": a command without subcommands, with a certain
// first argument. Redis 6 called that a subcommand, the engines still take it.
func (p *permissions) addFirstArg(rule string) error {
	name, arg, _ := strings.Cut(rule[1:], "|")
	c, ok := command.Named(name)
	if !ok || rule[0] != '+' || c.Container || arg == "" || strings.Contains(arg, "|") {
		return errUnknown
	}
	if prohibited(name) {
		return errProhibited
	}
	if p.firstArgs == nil {
		p.firstArgs = make(map[int][]string)
	}
	if !slices.Contains(p.firstArgs[c.ID], arg) {
		p.firstArgs[c.ID] = append(p.firstArgs[c.ID], arg)
	}
	p.record(rule)
	return nil
}

// addCategory applies "+@read" or "-@all". Subcommands are in the categories of
// their container (a test in package command holds that), so it needs no care.
func (p *permissions) addCategory(rule string) error {
	allow, name := rule[0] == '+', rule[2:]
	if name == "all" {
		p.change(allow, func(*command.Command) bool { return true })
		p.fromAll, p.commands = allow, nil
		return nil
	}
	category, ok := command.Category(name)
	if !ok {
		return errUnknown
	}
	p.change(allow, func(c *command.Command) bool { return c.Categories&category != 0 })
	p.record(rule)
	return nil
}

// change allows or denies the commands that match, but never allows those that
// AWS prohibits.
func (p *permissions) change(allow bool, match func(*command.Command) bool) {
	for c := range command.All() {
		if !match(c) {
			continue
		}
		delete(p.firstArgs, c.ID)
		p.allowed[c.ID/64] &^= 1 << (c.ID % 64)
		if allow && !prohibited(c.Name) {
			p.allowed[c.ID/64] |= 1 << (c.ID % 64)
		}
	}
}

// record keeps the rule for printing and drops the earlier ones on the same
// command or category and on the subcommands of that.
func (p *permissions) record(rule string) {
	p.commands = slices.DeleteFunc(p.commands, func(old string) bool {
		rest, ok := strings.CutPrefix(old[1:], rule[1:])
		return ok && (rest == "" || rest[0] == '|')
	})
	p.commands = append(p.commands, rule)
}

// rules returns the rules in the order of the normal form.
func (p *permissions) rules(withChannels bool) []string {
	var out []string
	if p.allKeys {
		out = append(out, "~*")
	}
	for _, k := range p.keys {
		out = append(out, [...]string{command.Read: "%R~", command.Write: "%W~", command.ReadWrite: "~"}[k.access]+k.glob)
	}
	switch {
	case !withChannels:
	case p.allChannels:
		out = append(out, "&*")
	default:
		out = append(out, "resetchannels")
		for _, c := range p.channels {
			out = append(out, "&"+c)
		}
	}
	base := "-@all"
	if p.fromAll {
		base = "+@all"
	}
	return append(append(out, base), p.commands...)
}
