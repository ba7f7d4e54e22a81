package acl

import "github.com/rediam/rediam/internal/command"

// Verdict says whether a request is allowed. The zero value is a refusal of an
// unknown command.
type Verdict struct {
	OK     bool
	Denied Denied
	Object string // what was denied: the command's full name, or at most 128 bytes of the key or channel
}

// maxObject bounds Verdict.Object.
const maxObject = 128

// Denied is what a refusal is about. Of several, the greatest is reported.
type Denied int

const (
	Unknown Denied = iota // no such command: engines say so before they look at permissions
	Command
	Key
	Channel
)

// Allow decides on a request as Redis 7.0 does; args[0] is the command. It does
// not look at On, nor at the arity, which the engines check before. A script
// (EVAL, FCALL) is judged by the keys that it declares; what it calls is not
// seen here. Where arguments do not fit the command, only the keys that can be
// told are judged: the command refuses such a request itself.
func (a *Access) Allow(args [][]byte) Verdict {
	c, ok := command.Lookup(args)
	if !ok {
		return Verdict{}
	}
	var room [8]command.Key
	keys := room[:0]
	if !a.root.allKeys || len(a.selectors) > 0 {
		keys, _ = c.AppendKeys(keys, args)
	}
	denied, index := a.root.check(c, args, keys)
	for _, p := range a.selectors {
		if denied == nothing {
			break
		}
		// As the engines do: of the refusals, the one that got furthest.
		if d, i := p.check(c, args, keys); d == nothing || d > denied || d == denied && i > index {
			denied, index = d, i
		}
	}
	switch denied {
	case nothing:
		return Verdict{OK: true}
	case Command:
		return Verdict{Denied: Command, Object: c.Name}
	}
	return Verdict{Denied: denied, Object: string(args[index][:min(len(args[index]), maxObject)])}
}

// nothing is check's answer where nothing is denied.
const nothing = Denied(-1)

// check returns what p denies of a request and the index of that argument.
func (p *permissions) check(c *command.Command, args [][]byte, keys []command.Key) (Denied, int) {
	if !p.runs(c, args) {
		return Command, 0
	}
	if !p.allKeys {
		for _, k := range keys {
			if !p.touches(k, args[k.Index]) {
				return Key, k.Index
			}
		}
	}
	if !p.allChannels {
		channels, patterns := c.Channels(args)
		for i, ch := range channels {
			if !p.listens(ch, patterns) {
				return Channel, i + 1
			}
		}
	}
	return nothing, 0
}

// runs reports whether p allows the command. AUTH, HELLO, QUIT and RESET need no
// permission.
func (p *permissions) runs(c *command.Command, args [][]byte) bool {
	if p.allowed[c.ID/64]>>(c.ID%64)&1 != 0 || c.Flags.Has(command.FlagNoAuth) {
		return true
	}
	if len(args) < 2 {
		return false
	}
	for _, arg := range p.firstArgs[c.ID] {
		if len(arg) == len(args[1]) && arg == lower(string(args[1])) {
			return true
		}
	}
	return false
}

func (p *permissions) touches(k command.Key, key []byte) bool {
	for _, pattern := range p.keys {
		if pattern.access&k.Access != k.Access {
			continue
		}
		if k.Every && pattern.glob == "*" || !k.Every && match(pattern.glob, key) {
			return true
		}
	}
	return false
}

// listens reports whether p allows a channel. A pattern is allowed only by the
// very same pattern: it might match more than one that it matches.
func (p *permissions) listens(channel []byte, pattern bool) bool {
	for _, glob := range p.channels {
		if pattern && glob == string(channel) || !pattern && match(glob, channel) {
			return true
		}
	}
	return false
}
