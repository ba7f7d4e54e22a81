package acl_test

import (
	"math/rand/v2"
	"strings"

	"github.com/rediam/rediam/internal/command"
)

// generator makes access strings and requests that often, but not always, suit
// each other: few keys, few patterns.
type generator struct {
	*rand.Rand
	engine command.Engines
}

func word(r *rand.Rand, alphabet string, n int) string {
	var b strings.Builder
	for range n {
		b.WriteByte(alphabet[r.IntN(len(alphabet))])
	}
	return b.String()
}

func (g generator) pick(s ...string) string { return s[g.IntN(len(s))] }

// access makes an access string of a few rules without prohibited commands.
func (g generator) access() string {
	rules := []string{g.pick("on", "off"), g.pick("~*", "~a*", "%R~*", "resetkeys"), g.pick("+@all", "+@all", "nocommands", "+@read", "+@fast")}
	for range g.IntN(6) {
		rules = append(rules, g.rule())
	}
	if g.IntN(4) == 0 {
		rules = append(rules, "("+g.rule(), g.rule(), g.rule()+")")
	}
	return strings.Join(rules, " ")
}

func (g generator) rule() string {
	switch g.IntN(8) {
	case 0, 1:
		return g.pick("~", "%R~", "%W~", "%rw~") + g.pick("a*", "b", "*b*", "[a-b]?", "c\\*", "[^a]")
	case 2:
		return g.pick("&a*", "&b", "&[ab]?", "resetchannels")
	case 3, 4:
		return g.pick("+", "-") + "@" + g.pick("read", "write", "keyspace", "string", "pubsub", "slow", "fast", "dangerous",
			"connection", "scripting", "blocking", "sortedset", "admin")
	case 5:
		return g.pick("+select|0", "+ping|a", "+object", "-client", "+client|id", "resetkeys", "-@all", "+xgroup")
	}
	return g.pick("+", "-") + g.command().Name
}

// command picks any command that the engine has and AWS does not prohibit.
// Redis 7.0 does not have WAIT in @blocking, the table does.
func (g generator) command() *command.Command {
	n := g.IntN(command.Count)
	for c := range command.All() {
		container, _, _ := strings.Cut(c.Name, "|")
		switch container {
		case "acl", "bgrewriteaof", "bgsave", "cluster", "config", "debug", "migrate", "psync", "replicaof", "save",
			"shutdown", "slaveof", "sync", "wait":
			continue
		}
		if c.ID >= n && c.Engines&g.engine != 0 {
			return c
		}
	}
	ping, _ := command.Named("ping")
	return ping
}

// request makes a request: a form with movable keys, or any command with as
// many words as it wants.
func (g generator) request() []string {
	forms := []string{
		"get K", "set K v", "set K v get", "set K v ex 10", "mget K K K", "mset K v K v", "del K K", "exists K K", "hlen K",
		"rename K K", "copy K K", "bitfield K get u8 0", "bitfield K set u8 0 1", "bitop and K K K", "sort K", "sort K store K",
		"sort_ro K limit 0 1", "georadius K 0 0 1 m", "georadius K 0 0 1 m store K", "georadius K 0 0 1 m storedist K",
		"eval s 2 K K v", "eval_ro s 1 K", "evalsha s 0", "fcall f 1 K", "zunionstore K 2 K K", "zinter 2 K K", "zdiff 1 K",
		"lmpop 1 K left", "blmpop 0 2 K K left", "zmpop 1 K min", "sintercard 2 K K", "xread count 1 streams K K 0 0",
		"xreadgroup group g c streams K >", "xadd K * f v", "pfcount K K", "pfmerge K K", "memory usage K", "object encoding K",
		"publish K m", "spublish K m", "subscribe K K", "ssubscribe K", "psubscribe K* K", "unsubscribe K", "pubsub channels",
		"select 0", "select 1", "ping a", "client id", "client list", "hello 3", "auth x", "config get x", "acl whoami",
		"zunionstore K 3 K K", "eval s 3 K", "xread streams K", "zinter x K", "SET K v", "Client GetName", "flushall", "keys K*",
	}
	var words []string
	if g.IntN(3) > 0 {
		words = strings.Fields(g.pick(forms...))
	} else {
		c := g.command()
		words = strings.Split(c.Name, "|")
		arity := max(c.Arity, -c.Arity)
		for len(words) < arity || c.Arity < 0 && g.IntN(3) == 0 {
			words = append(words, "K")
		}
	}
	for i := range words {
		for strings.Contains(words[i], "K") {
			words[i] = strings.Replace(words[i], "K", word(g.Rand, "aab*c", 1+g.IntN(2)), 1)
		}
	}
	return words
}
