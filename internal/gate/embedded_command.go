package gate

import (
	"slices"
	"strings"

	"github.com/rediam/rediam/internal/command"
)

// engineCommands are the commands, without subcommands, of the engine that the
// cache is said to have. The embedded engine lacks some of them.
func (s *session) engineCommands() []*command.Command {
	return s.commandsThat(func(c *command.Command) bool { return !strings.Contains(c.Name, "|") })
}

func (s *session) commandsThat(picked func(*command.Command) bool) (list []*command.Command) {
	engine := s.engineKind()
	for c := range command.All() {
		if c.Engines&engine != 0 && picked(c) {
			list = append(list, c)
		}
	}
	return list
}

// fits is whether a request has as many arguments as its command takes.
func fits(c *command.Command, args [][]byte) bool {
	return len(args) == c.Arity || c.Arity < 0 && len(args) >= -c.Arity
}

func (a *answer) names(list []*command.Command) {
	a.array(len(list))
	for _, c := range list {
		a.bulk(c.Name)
	}
}

// commandList answers COMMAND LIST.
func commandList(s *session, args [][]byte, a *answer) {
	if len(args) > 2 {
		a.fail(textNotEmbedded, "COMMAND LIST FILTERBY")
		return
	}
	a.names(s.commandsThat(func(*command.Command) bool { return true }))
}

// commandInfo answers COMMAND and COMMAND INFO [name …].
func commandInfo(s *session, args [][]byte, a *answer) {
	if len(args) <= 2 {
		a.commands(s.engineCommands(), s.engineKind())
		return
	}
	a.array(len(args) - 2)
	for _, name := range args[2:] {
		c, ok := command.Named(word(name))
		if !ok || c.Engines&s.engineKind() == 0 {
			a.null()
			continue
		}
		a.command(c, s.engineKind())
	}
}

func (a *answer) commands(list []*command.Command, engine command.Engines) {
	a.array(len(list))
	for _, c := range list {
		a.command(c, engine)
	}
}

// command describes a command, without the tips and key specifications of which
// the table does not tell.
func (a *answer) command(c *command.Command, engine command.Engines) {
	first, last, step := c.Range()
	a.array(10)
	a.bulk(c.Name)
	a.integer(int64(c.Arity))
	a.words("", c.Flags.Names())
	for _, n := range []int{first, last, step} {
		a.integer(int64(n))
	}
	a.words("@", c.Categories.Names())
	a.set(0)
	a.set(0)
	var below []*command.Command
	for sub := range command.All() {
		if c.Container && sub.Engines&engine != 0 && strings.HasPrefix(sub.Name, c.Name+"|") {
			below = append(below, sub)
		}
	}
	a.commands(below, engine)
}

// commandGetKeys answers COMMAND GETKEYS command [argument …].
func commandGetKeys(_ *session, args [][]byte, a *answer) {
	c, ok := command.Lookup(args[2:])
	if !ok {
		a.fail("ERR Invalid command specified")
		return
	}
	if !fits(c, args[2:]) {
		a.fail("ERR Invalid number of arguments specified for command")
		return
	}
	keys, err := c.AppendKeys(nil, args[2:])
	switch optional := c.Flags.Has(command.FlagNoMandatoryKeys); {
	case optional && err != nil:
		keys = nil
	case err != nil:
		a.fail("ERR Invalid arguments specified for command")
		return
	case !optional && len(keys) == 0:
		a.fail("ERR The command has no key arguments")
		return
	}
	keys = slices.DeleteFunc(keys, func(k command.Key) bool { return k.Every })
	a.array(len(keys))
	for _, k := range keys {
		a.bulk(string(args[2+k.Index]))
	}
}
