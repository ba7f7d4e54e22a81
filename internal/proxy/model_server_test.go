package proxy_test

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A model is a Redis server with one client, as far as a session has to know it.
// It shares no code with the session, so that each checks the other: what it does
// was seen of Redis 7.0, Redis 8.0, Valkey 8.0 and 8.1.
type model struct {
	engine   string // "redis 7", "redis 8", "valkey 8.0" or "valkey 8.1"
	password string // of the client; any other is wrong unless this is empty
	signedIn bool

	in, out string // bytes that have not been executed, or not been taken by anybody
	later   string // pushed behind the command in progress

	resp3, monitor, closed bool
	off, skip, skipNext    bool // CLIENT REPLY
	asking, caching        bool
	oneShot                bool   // one of these may be set
	tracking               string // what CLIENT TRACKING ON was given
	multi, aborted, inExec bool
	queued                 [][]string
	names                  [3][]string // of channels, patterns and shard channels

	// uncountable is set by what rediam documents as the end of renewals, until RESET:
	// also by what follows a subscription that is not answered.
	uncountable, unsure bool

	// Without a proxy, local answers what the proxy answers in the server's place;
	// behind one, signIn hears of the proxy's AUTH.
	local  func(name string, words []string) (handled bool)
	signIn func(words []string) (accepted bool)
}

var arities = map[string]int{"get": 2, "echo": 2, "set": -3, "mget": -2, "hgetall": 2, "lrange": 4, "incr": 2, "publish": 3, "ping": -1, "auth": -2,
	"multi": 1, "exec": 1, "discard": 1, "watch": -2, "asking": 1, "monitor": 1, "reset": 1, "hello": -1, "sync": 1,
	"subscribe": -2, "psubscribe": -2, "ssubscribe": -2, "unsubscribe": -1, "punsubscribe": -1, "sunsubscribe": -1,
	"client|reply": 3, "client|caching": 3, "client|tracking": -3, "client|id": 2}

// word is one of an inline request.
var word = regexp.MustCompile(`"[^"]*"|[^ \t\r\n"]+`)

// request takes the first request off what has come, if it is whole.
func (m *model) request() (words []string, ok bool) {
	if m.closed || m.in == "" {
		return nil, false
	}
	line, rest, found := strings.Cut(m.in, "\n")
	if !found {
		return nil, false
	}
	if m.in[0] != '*' {
		m.in = rest
		for _, w := range word.FindAllString(line, -1) {
			words = append(words, strings.Trim(w, `"`))
		}
		return words, true
	}
	n, err := strconv.Atoi(strings.TrimSuffix(line[1:], "\r"))
	if err != nil {
		return nil, m.wrong("invalid multibulk length")
	}
	for ; n > 0; n-- {
		if line, rest, found = strings.Cut(rest, "\n"); !found {
			return nil, false
		}
		size, err := strconv.Atoi(strings.TrimSuffix(line[1:], "\r"))
		switch {
		case line[0] != '$':
			return nil, m.wrong("expected '$', got '" + line[:1] + "'")
		case err != nil || size < 0:
			return nil, m.wrong("invalid bulk length")
		case size+2 > len(rest):
			return nil, false
		}
		words, rest = append(words, rest[:size]), rest[size+2:]
	}
	m.in = rest
	return words, true
}

func (m *model) wrong(what string) bool {
	m.closed = true
	m.fail("ERR Protocol error: " + what)
	return false
}

func (m *model) silent() bool { return m.off || m.skip }

// say answers, unless replies are switched off.
func (m *model) say(format string, args ...any) {
	if !m.silent() {
		m.out += fmt.Sprintf(format, args...)
	}
}

func (m *model) fail(text string) { m.say("-%s\r\n", text) }

func bulk(s string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s) }

// array is the beginning of an array in RESP2 that is something else in RESP3.
func (m *model) array(kind byte, n int) string {
	if !m.resp3 {
		return fmt.Sprintf("*%d\r\n", n)
	}
	if kind == '%' {
		n /= 2
	}
	return fmt.Sprintf("%c%d\r\n", kind, n)
}

func (m *model) null() string {
	if m.resp3 {
		return "_\r\n"
	}
	return "$-1\r\n"
}

// push comes also where replies are off.
func (m *model) push(elements ...string) {
	m.out += m.array('>', len(elements)) + strings.Join(elements, "")
}

func (m *model) subscribed() bool { return m.subscribedTo(0, 1, 2) }

func (m *model) subscribedTo(kinds ...int) bool {
	return slices.ContainsFunc(kinds, func(kind int) bool { return len(m.names[kind]) > 0 })
}

func (m *model) restricted() bool { return !m.resp3 && m.subscribed() }

// execute does what a request says, and is called for a blank line as well.
func (m *model) execute(words []string) {
	name := ""
	if len(words) > 0 {
		name = strings.ToLower(words[0])
		if name == "client" && len(words) > 1 {
			name += "|" + strings.ToLower(words[1])
		}
		if m.local == nil || !m.local(name, words) {
			m.accept(name, words)
		}
	}
	m.out += m.later
	m.later = ""
	if m.monitor && name != "" && name != "monitor" {
		m.say("+1.5 [0 127.0.0.1:5] %q\r\n", words)
	}
	if !m.multi && name != "asking" {
		m.asking = false
	}
	if !m.multi && !strings.HasPrefix(name, "client") {
		m.caching = false
	}
	m.skip, m.skipNext = m.skipNext, false
	m.oneShot = name == "asking" || name == "client|caching" || m.oneShot && strings.HasPrefix(name, "client")
}

// unseen is whether nobody would see when a request is executed: neither who has
// sent it nor, by what comes then, others.
func (m *model) unseen(words []string) bool {
	then := *m
	then.local = nil
	for i := range then.names {
		then.names[i] = slices.Clone(m.names[i])
	}
	then.queued = slices.Clone(m.queued)
	then.execute(words)
	return then.out == m.out && then.resp3 == m.resp3 && !then.monitor && !m.monitor && then.tracking == m.tracking &&
		then.closed == m.closed && slices.EqualFunc(then.names[:], m.names[:], slices.Equal)
}

// accept refuses a command, queues it or calls it.
func (m *model) accept(name string, words []string) {
	arity, known := arities[name]
	switch {
	case name == "quit":
		m.say("+OK\r\n")
		m.closed = true
	case name == "auth" && m.signIn != nil: // would be refused in some states, which signIn notes
		m.auth(words)
	case !m.signedIn && name != "auth" && name != "hello" && (name != "reset" || len(words) > 1):
		m.fail("NOAUTH Authentication required.")
	case !known:
		args := ""
		for _, a := range words[1:] {
			args += "'" + a + "' "
		}
		m.abort(name, "ERR unknown command '"+words[0]+"', with args beginning with: "+args)
	case arity > 0 && len(words) != arity || len(words) < -arity, name == "ping" && len(words) > 2:
		m.abort(name, "ERR wrong number of arguments for '"+name+"' command")
	case m.restricted() && name != "ping" && name != "reset" && !strings.HasSuffix(name, "subscribe"):
		m.abort(name, cannot(name))
	case m.multi && (name == "multi" || name == "watch") && strings.HasPrefix(m.engine, "valkey"):
		m.abort(name, "ERR Command not allowed inside a transaction")
	case m.multi && name != "exec" && name != "discard" && name != "multi" && name != "watch" && name != "reset":
		m.queued = append(m.queued, words)
		m.say("+QUEUED\r\n")
	default:
		m.call(name, words)
	}
}

func cannot(name string) string {
	return "ERR Can't execute '" + name + "': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
}

func (m *model) abort(name, text string) {
	if m.aborted = m.multi; name == "exec" {
		m.end()
		text = "EXECABORT Transaction discarded because of: " + strings.TrimPrefix(text, "ERR ")
	}
	m.fail(text)
}

// end ends a transaction.
func (m *model) end() { m.multi, m.aborted, m.queued = false, false, nil }

func (m *model) call(name string, words []string) {
	switch name {
	case "hello":
		m.hello(words)
	case "reset":
		skip := m.skip // RESET forgets CLIENT REPLY OFF, and not SKIP
		*m = model{engine: m.engine, password: m.password, local: m.local, signIn: m.signIn, in: m.in, out: m.out, skip: skip,
			signedIn: m.signIn == nil && m.password == ""}
		m.say("+RESET\r\n")
	case "multi":
		if m.multi {
			m.fail("ERR MULTI calls can not be nested")
			return
		}
		m.multi = true
		m.say("+OK\r\n")
	case "watch":
		if m.multi {
			m.fail("ERR WATCH inside MULTI is not allowed")
			return
		}
		m.say("+OK\r\n")
	case "exec":
		m.exec()
	case "discard":
		if !m.multi {
			m.fail("ERR DISCARD without MULTI")
			return
		}
		m.end()
		m.say("+OK\r\n")
	case "monitor":
		switch {
		case m.inExec:
			m.fail("ERR MONITOR isn't allowed for DENY BLOCKING client")
		case !m.monitor:
			m.say("+OK\r\n")
			m.monitor = true
		}
	case "asking":
		m.say("+OK\r\n")
		m.asking = true
	case "client|reply", "client|caching", "client|tracking", "client|id":
		m.client(name, words)
	case "ping":
		m.ping(words)
	case "publish":
		out := m.out
		m.message(0, words[1], words[2])
		if m.engine != "redis 7" { // behind the answer
			m.out, m.later = out, m.later+m.out[len(out):]
		}
		m.say(":1\r\n")
	default:
		if strings.HasSuffix(name, "subscribe") {
			m.subscribe(name, words[1:])
			return
		}
		m.plain(name, words)
	}
}

// plain answers with what tells this answer from all others.
func (m *model) plain(name string, words []string) {
	tag := words[1][:min(len(words[1]), 20)]
	if m.asking {
		tag += " asking"
	}
	if m.caching {
		tag += " caching"
	}
	switch name {
	case "get", "echo":
		m.say("%s", bulk(name+" "+tag))
	case "set":
		m.say("+set %s\r\n", tag)
	case "incr":
		m.fail("ERR incr " + tag)
	case "mget":
		if m.resp3 {
			m.say("|1\r\n$1\r\na\r\n*1\r\n:1\r\n")
		}
		m.say("*2\r\n%s%s", m.null(), bulk("mget "+tag))
	case "hgetall":
		m.say("%s%s*2\r\n:1\r\n%s", m.array('%', 2), bulk("hgetall "+tag), m.null())
	case "lrange": // looks like what a subscriber gets
		m.say("*3\r\n%s%s:1\r\n", bulk(words[2]), bulk(tag))
	}
}

func (m *model) exec() {
	switch {
	case !m.multi:
		m.fail("ERR EXEC without MULTI")
		return
	case m.aborted:
		m.end()
		m.fail("EXECABORT Transaction discarded because of previous errors.")
		return
	}
	queued := m.queued
	m.say("*%d\r\n", len(queued))
	m.inExec = true
	for _, words := range queued {
		name := strings.ToLower(words[0])
		if name == "client" {
			name += "|" + strings.ToLower(words[1])
		}
		m.uncountable = m.uncountable || strings.HasSuffix(name, "subscribe") || name == "hello" || name == "client|reply"
		m.call(name, words)
	}
	m.inExec = false
	m.end()
}

func (m *model) client(name string, words []string) {
	arg := strings.ToLower(words[len(words)-1])
	switch {
	case name == "client|id":
		m.say(":7\r\n")
	case name == "client|reply" && arg == "on":
		m.off, m.skip = false, false
		m.say("+OK\r\n")
	case name == "client|reply" && arg == "off":
		m.off = true
	case name == "client|reply" && arg == "skip":
		m.skipNext = !m.off
	case name == "client|caching" && (m.tracking == "optin" && arg == "yes" || m.tracking == "optout" && arg == "no"):
		m.caching = true
		m.say("+OK\r\n")
	case name == "client|tracking" && words[2] == "on" && (arg == "on" || arg == "optin" || arg == "optout"):
		m.tracking = arg
		m.say("+OK\r\n")
	case name == "client|tracking" && arg == "off":
		m.tracking = ""
		m.say("+OK\r\n")
	default:
		m.fail("ERR syntax error")
	}
}

func (m *model) ping(words []string) {
	text := strings.Join(words[1:], "")
	switch {
	case m.restricted():
		m.say("*2\r\n$4\r\npong\r\n%s", bulk(text))
	case len(words) == 1:
		m.say("+PONG\r\n")
	default:
		m.say("%s", bulk(text))
	}
}

// auth is for the proxy's own: that of a client is answered by local, and does not
// come through the proxy.
func (m *model) auth(words []string) {
	switch {
	case m.signIn(words):
		m.signedIn = true
		m.say("+OK\r\n")
	case m.engine == "redis 7" || m.out == "":
		m.fail("WRONGPASS invalid username-password pair or user is disabled.")
	}
}

func (m *model) hello(words []string) {
	version := 0
	if len(words) > 1 {
		var err error
		if version, err = strconv.Atoi(words[1]); err != nil {
			m.fail("ERR Protocol version is not an integer or out of range")
			return
		}
		if version != 2 && version != 3 {
			m.fail("NOPROTO unsupported protocol version")
			return
		}
	}
	signIn, password := false, ""
	for i := 2; i < len(words); i += 2 {
		switch option := strings.ToLower(words[i]); {
		case option == "auth" && i+2 < len(words):
			signIn, password = true, words[i+2]
			i++
		case option == "setname" && i+1 < len(words):
		default:
			m.fail("ERR Syntax error in HELLO option '" + words[i] + "'")
			return
		}
	}
	if signIn && m.password != "" && password != m.password {
		m.fail("WRONGPASS invalid username-password pair or user is disabled.")
		return
	}
	if m.signedIn = m.signedIn || signIn; !m.signedIn {
		m.fail("NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time")
		return
	}
	if version != 0 {
		m.uncountable = m.uncountable || m.silent() && m.unsure && version == 2
		m.resp3 = version == 3
		m.uncountable = m.uncountable || m.restricted()
	}
	version = 2
	if m.resp3 {
		version = 3
	}
	m.say("%s%s%s%s:%d\r\n%s:7\r\n%s*0\r\n", m.array('%', 8), bulk("server"), bulk("model"), bulk("proto"), version, bulk("id"), bulk("modules"))
}

func kindOf(name string) int {
	switch strings.TrimSuffix(strings.TrimSuffix(name, "subscribe"), "un") {
	case "p":
		return 1
	case "s":
		return 2
	}
	return 0
}

func (m *model) subscribe(name string, names []string) {
	m.uncountable = m.uncountable || m.unsure || !m.resp3 && (m.silent() || m.oneShot)
	m.unsure = m.unsure || m.silent()
	if strings.Contains(name, "unsubscribe") {
		m.unsubscribe(name, names)
		return
	}
	if slices.Contains(names, "denied") {
		m.fail("NOPERM No permissions to access a channel")
		return
	}
	kind := kindOf(name)
	for _, n := range names {
		if !slices.Contains(m.names[kind], n) {
			m.names[kind] = append(m.names[kind], n)
		}
		m.push(bulk(name), bulk(n), m.left(kind))
	}
}

// left is how many subscriptions there are, of those that are counted together.
func (m *model) left(kind int) string {
	n := len(m.names[2])
	if kind < 2 {
		n = len(m.names[0]) + len(m.names[1])
	}
	return fmt.Sprintf(":%d\r\n", n)
}

func (m *model) unsubscribe(name string, names []string) {
	kind := kindOf(name)
	if m.engine == "valkey 8.0" && !m.subscribed() {
		m.fail("NOSUB '" + name + "' command executed not in subscribed mode")
		return
	}
	if len(names) == 0 {
		names = slices.Clone(m.names[kind])
		slices.Reverse(names)
		if len(names) == 0 {
			m.push(bulk(name), m.null(), m.left(kind))
		}
	}
	for _, n := range names {
		m.names[kind] = slices.DeleteFunc(m.names[kind], func(s string) bool { return s == n })
		m.push(bulk(name), bulk(n), m.left(kind))
	}
}

// message is published, by somebody else or by the client itself.
func (m *model) message(kind int, channel, text string) {
	if !slices.Contains(m.names[kind], channel) {
		return
	}
	elements := []string{bulk([]string{"message", "pmessage", "smessage"}[kind]), bulk(channel), bulk(text)}
	if kind == 1 {
		elements = slices.Insert(elements, 2, bulk("channel"))
	}
	m.push(elements...)
}

// An event is something that others do.
type event struct {
	what string
	text string
}

const invalidations = "__redis__:invalidate"

func (m *model) happen(e event) {
	redirected := slices.Contains(m.names[0], invalidations)
	switch e.what {
	case "message":
		m.message(0, "a", e.text)
	case "pmessage":
		m.message(1, "p*", e.text)
	case "smessage":
		m.message(2, "s", e.text)
	case "a slot moves":
		if i := slices.Index(m.names[2], "s"); i >= 0 {
			m.names[2] = slices.Delete(m.names[2], i, i+1)
			m.push(bulk("sunsubscribe"), bulk("s"), m.left(2))
		}
	case "an invalidation":
		if m.tracking != "" && m.resp3 && !redirected {
			m.push(bulk("invalidate"), "*1\r\n"+bulk(e.text))
		}
	case "a redirected invalidation", "a redirected FLUSHALL":
		keys := "*1\r\n" + bulk(e.text)
		if e.what == "a redirected FLUSHALL" {
			if keys = "$-1\r\n"; m.engine != "redis 7" {
				keys = m.null()
			}
		}
		switch {
		case m.resp3:
			m.push(bulk("invalidate"), keys)
		case redirected:
			m.push(bulk("message"), bulk(invalidations), keys)
		}
	case "a redirection ends":
		if m.resp3 {
			m.push(bulk("tracking-redir-broken"), ":5\r\n")
		}
	case "a command of another":
		if m.monitor {
			m.say("+2.5 [0 127.0.0.1:6] %q\r\n", e.text)
		}
	}
}
