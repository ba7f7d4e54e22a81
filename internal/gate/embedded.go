package gate

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/rediam/rediam/internal/command"
	"github.com/rediam/rediam/internal/resp"
)

// The embedded engine lacks what is about connections, users and commands. The
// gate answers that itself, in the texts and shapes of Redis OSS 7.0, and refuses
// by name what neither of them has.

const (
	textNotEmbedded = "ERR %s is not supported by the embedded engine"
	textArity       = "ERR wrong number of arguments for '%s' command"
	textSubscriber  = "ERR Can't execute '%s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
)

// A localCommand answers a command in the place of the embedded engine. The
// arguments are as many as the command table asks for.
type localCommand func(s *session, args [][]byte, a *answer)

// localCommands are what the gate answers for the embedded engine. Nil refuses by
// name, and so does every subcommand that is missing here of a container that is not.
var localCommands = map[string]localCommand{
	"acl":         nil,
	"acl|cat":     aclCat,
	"acl|dryrun":  aclDryRun,
	"acl|getuser": aclGetUser,
	"acl|list":    aclList,
	"acl|users":   aclUsers,
	"acl|whoami":  func(s *session, _ [][]byte, a *answer) { a.bulk(s.user) },

	"client":          nil,
	"client|getname":  clientGetName,
	"client|getredir": func(_ *session, _ [][]byte, a *answer) { a.integer(-1) },
	"client|id":       func(s *session, _ [][]byte, a *answer) { a.integer(int64(s.id)) },
	"client|info":     func(s *session, _ [][]byte, a *answer) { a.text(s.line()) },
	"client|kill":     clientKill,
	"client|list":     clientList,
	"client|no-evict": onOrOff,
	"client|no-touch": onOrOff,
	"client|reply":    clientReplyOn,
	"client|setinfo":  clientSetInfo,
	"client|setname":  clientSetName,

	"command":         commandInfo,
	"command|count":   func(s *session, _ [][]byte, a *answer) { a.integer(int64(len(s.engineCommands()))) },
	"command|getkeys": commandGetKeys,
	"command|info":    commandInfo,
	"command|list":    commandList,

	"cluster":         nil,
	"cluster|info":    clusterInfo,
	"cluster|keyslot": clusterKeySlot,
	"cluster|myid":    clusterMyID,
	"cluster|nodes":   clusterNodes,
	"cluster|shards":  clusterShards,
	"cluster|slots":   clusterSlots,
	"readonly":        func(_ *session, _ [][]byte, a *answer) { a.ok() },
	"readwrite":       func(_ *session, _ [][]byte, a *answer) { a.ok() },

	"info":    info,
	"monitor": nil,
}

// local answers a request in the place of the embedded engine. It is false for a
// request that is the engine's.
func (s *session) local(args [][]byte) (answered bool, err error) {
	c, ok := command.Lookup(args)
	if !ok {
		return false, nil
	}
	s.notice(c.Name)
	container, _, _ := strings.Cut(c.Name, "|")
	if _, ours := localCommands[container]; !ours {
		return false, nil
	}
	run, title := localCommands[c.Name], strings.ToUpper(strings.ReplaceAll(c.Name, "|", " "))
	switch {
	case !fits(c, args):
		return true, s.refuse(fmt.Sprintf(textArity, c.Name))
	case s.transaction(): // the answer could not take its place in that of EXEC
		return true, s.refuse(fmt.Sprintf(textInMulti, title))
	case s.subscriber():
		return true, s.replyError(fmt.Sprintf(textSubscriber, c.Name))
	case run == nil:
		return true, s.replyError(fmt.Sprintf(textNotEmbedded, title))
	}
	a := answer{resp3: s.resp3()}
	if s.over() {
		return true, errEnded
	}
	run(s, args, &a)
	if err := s.reply(a.b); err != nil || !s.over() {
		return true, err
	}
	return true, errEnded // by its own CLIENT KILL
}

// resp3 is the connection's protocol once every request is answered.
func (s *session) resp3() bool {
	s.quiesce()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pairing.resp3
}

// localHello answers a HELLO without AUTH, of which the embedded engine is told
// the version alone.
func (s *session) localHello(h helloCommand) error {
	if s.subscriber() {
		return s.replyError(fmt.Sprintf(textSubscriber, "hello"))
	}
	if !clientWord(h.name) {
		return s.replyError(textClientName)
	}
	if len(h.rest) > 1 {
		if err := s.send(resp.AppendCommand(nil, h.rest[:2]...), expected{kind: swallowed, count: 1, then: s.pairing.noteProtocol}); err != nil {
			return err
		}
	}
	a := answer{resp3: s.resp3()}
	s.greet(h, &a)
	return s.reply(a.b)
}

func (s *session) greet(h helloCommand, a *answer) {
	if h.name != "" {
		s.mu.Lock()
		s.about.name = h.name
		s.mu.Unlock()
	}
	server, version := s.engineVersion()
	proto := int64(2)
	if a.resp3 {
		proto = 3
	}
	a.pairs(7)
	a.bulk("server", server, "version", version, "proto")
	a.integer(proto)
	a.bulk("id")
	a.integer(int64(s.id))
	a.bulk("mode", s.mode(), "role", "master", "modules")
	a.array(0)
}

// An answer is a reply in the making.
type answer struct {
	b     []byte
	resp3 bool
}

func (a *answer) ok()             { a.b = resp.AppendSimple(a.b, "OK") }
func (a *answer) integer(n int64) { a.b = resp.AppendInt(a.b, n) }
func (a *answer) null()           { a.b = resp.AppendNull(a.b, a.resp3) }
func (a *answer) array(n int)     { a.b = resp.AppendArrayHeader(a.b, n) }
func (a *answer) pairs(n int)     { a.b = resp.AppendMapHeader(a.b, n, a.resp3) }

func (a *answer) fail(format string, args ...any) {
	a.b = resp.AppendError(a.b, fmt.Sprintf(format, args...))
}

func (a *answer) bulk(texts ...string) {
	for _, text := range texts {
		a.b = resp.AppendBulk(a.b, text)
	}
}

// list is an array of bulk strings.
func (a *answer) list(texts []string) {
	a.array(len(texts))
	a.bulk(texts...)
}

// words is a set of simple strings, which in RESP2 is an array.
func (a *answer) words(prefix string, words []string) {
	a.set(len(words))
	for _, w := range words {
		a.b = resp.AppendSimple(a.b, prefix+w)
	}
}

// set begins a set, which in RESP2 is an array.
func (a *answer) set(n int) {
	at := len(a.b)
	if a.array(n); a.resp3 {
		a.b[at] = '~'
	}
}

// text is a verbatim string, which in RESP2 is a bulk string.
func (a *answer) text(s string) {
	if !a.resp3 {
		a.bulk(s)
		return
	}
	a.b = append(append(a.b, '='), strconv.Itoa(len(s)+len("txt:"))...)
	a.b = append(append(append(a.b, "\r\ntxt:"...), s...), "\r\n"...)
}
