package acl

import (
	"strings"

	"github.com/rediam/rediam/internal/command"
)

// An Explanation is what an access string comes to.
type Explanation struct {
	Access string `json:"access"` // as AWS prints it
	On     bool   `json:"on"`
	// Permissions are those of the user, then those of each selector. A request is
	// allowed if one of them allows the whole of it.
	Permissions []Permission `json:"permissions"`
}

// A Permission allows commands on keys and channels.
type Permission struct {
	Keys     []KeyPattern `json:"keys"`
	Channels []string     `json:"channels"` // patterns
	Rules    []string     `json:"rules"`    // about commands, beginning with -@all or +@all
	Commands []string     `json:"commands"` // that are allowed, as ACL rules spell them
}

// A KeyPattern is a pattern of keys, and what may be done to them.
type KeyPattern struct {
	Pattern string `json:"pattern"`
	Read    bool   `json:"read"`
	Write   bool   `json:"write"`
}

// Explain says what a comes to.
func (a *Access) Explain() Explanation {
	e := Explanation{Access: a.String(), On: a.on, Permissions: []Permission{a.root.explain()}}
	for _, p := range a.selectors {
		e.Permissions = append(e.Permissions, p.explain())
	}
	return e
}

func (p *permissions) explain() Permission {
	out := Permission{Keys: []KeyPattern{}, Channels: []string{}, Commands: []string{}}
	if p.allKeys {
		out.Keys = append(out.Keys, KeyPattern{"*", true, true})
	}
	for _, k := range p.keys {
		out.Keys = append(out.Keys, KeyPattern{k.glob, k.access&command.Read != 0, k.access&command.Write != 0})
	}
	if p.allChannels {
		out.Channels = append(out.Channels, "*")
	}
	out.Channels = append(out.Channels, p.channels...)
	for _, rule := range p.rules(false) {
		if strings.HasPrefix(rule, "+") || strings.HasPrefix(rule, "-") {
			out.Rules = append(out.Rules, rule)
		}
	}
	for c := range command.All() {
		switch {
		case c.Container: // its subcommands follow
		case p.allowed[c.ID/64]>>(c.ID%64)&1 != 0:
			out.Commands = append(out.Commands, c.Name)
		default:
			for _, arg := range p.firstArgs[c.ID] {
				out.Commands = append(out.Commands, c.Name+"|"+arg)
			}
		}
	}
	return out
}
