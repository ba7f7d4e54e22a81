package acl

import (
	"strings"

	"github.com/rediam/rediam/internal/command"
)

// SetUser returns the arguments of ACL SETUSER after the user name that make a
// user of Redis 7.0, Valkey 7.2 or newer what a says, and nothing else. They
// begin with "reset", so the caller appends the password; they end by taking
// away what AWS prohibits.
//
// An engine refuses rules about commands that it does not know: has reports
// whether it has one, by the names of COMMAND LIST ("get", "config|get"). Rules
// about others are left out. Nil leaves out none.
func (a *Access) SetUser(has func(name string) bool) []string {
	if has == nil {
		has = func(string) bool { return true }
	}
	args := []string{"reset", "off"}
	if a.on {
		args[1] = "on"
	}
	args = append(args, a.root.setUser(has)...)
	for _, p := range a.selectors {
		args = append(args, "("+strings.Join(p.setUser(has), " ")+")")
	}
	return args
}

func (p *permissions) setUser(has func(string) bool) []string {
	var args []string
	for _, rule := range p.rules(true) {
		if rule[0] != '+' && rule[0] != '-' || rule[1] == '@' || known(rule[1:], has) {
			args = append(args, rule)
		}
	}
	for _, name := range prohibitedCommands {
		if has(name) {
			args = append(args, "-"+name)
		}
	}
	return args
}

// known reports whether the engine has the command of a rule; "select|0" names
// the command "select".
func known(name string, has func(string) bool) bool {
	container, _, _ := strings.Cut(name, "|")
	if c, ok := command.Named(container); ok && !c.Container {
		return has(container)
	}
	return has(name)
}
