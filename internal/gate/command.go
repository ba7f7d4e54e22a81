package gate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/rediam/rediam/internal/acl"
	"github.com/rediam/rediam/internal/command"
	"github.com/rediam/rediam/internal/resp"
)

// The texts are those of Redis 7.0 and of the user guides, but where noted.
const (
	textWrongPass = "WRONGPASS invalid username-password pair or user is disabled."
	textNoAuth    = "NOAUTH Authentication required."
	textHello     = "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time"
	textNoProto   = "NOPROTO unsupported protocol version"
	// REPLCONF, which is for replicas, and SCRIPT DEBUG, after which a connection
	// speaks another protocol, would never be answered as the gate expects.
	textScriptDebug = "NOPERM SCRIPT DEBUG is not allowed here"
	textExecAbort   = "EXECABORT Transaction discarded because of previous errors."
	// textInMulti: the guides say that sign-in is not supported inside MULTI, not
	// what the answer is. The text is ours. So is the refusal of SUBSCRIBE, HELLO
	// and CLIENT REPLY there: engines answer EXEC with fewer or more elements than
	// they announce then, in whose midst nothing can be told any more.
	textInMulti = "ERR %s is not supported inside MULTI"
)

var errHTTP = errors.New("an HTTP request, not Redis: is a browser or a health check pointed at this port?")

var subscribeVerbs = map[string]bool{"subscribe": true, "psubscribe": true, "ssubscribe": true,
	"unsubscribe": true, "punsubscribe": true, "sunsubscribe": true}

// lower is the name of a command in lower case. Names that are too long to be
// looked at come back empty.
func lower(name []byte) string {
	var folded [16]byte
	if len(name) > len(folded) {
		return ""
	}
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		folded[i] = c
	}
	switch verb := string(folded[:len(name)]); verb {
	case "auth", "hello", "reset", "quit", "replconf", "script", "multi", "exec", "discard", "client", "monitor",
		"subscribe", "psubscribe", "ssubscribe", "unsubscribe", "punsubscribe", "sunsubscribe":
		return verb
	}
	return ""
}

// request takes one whole request.
func (s *session) request(ctx context.Context, frame []byte) error {
	if s.requests.NumArgs() == 0 {
		return s.flush() // a blank line; nobody answers it
	}
	if s.requests.Inline() {
		return s.inline(ctx, frame)
	}
	verb := lower(s.requests.Arg(0).In(frame))
	if verb == "" && s.streams() {
		s.forward(frame)
		return nil
	}
	args, err := resp.Args(frame)
	if err != nil {
		return s.protocolError(err)
	}
	return s.command(ctx, verb, args, frame)
}

// inline turns a request that was typed into one that a program would send.
func (s *session) inline(ctx context.Context, line []byte) error {
	if resp.HTTPRequest(line) {
		return errHTTP
	}
	args, err := resp.SplitInline(line)
	if err != nil {
		return s.protocolError(err)
	}
	if len(args) == 0 {
		return s.flush()
	}
	frame := resp.AppendArrayHeader(nil, len(args))
	for _, a := range args {
		frame = resp.AppendBulk(frame, a)
	}
	if err := s.flush(); err != nil { // the frame does not lie in buf
		return err
	}
	err = s.command(ctx, lower(args[0]), args, frame)
	return errors.Join(err, s.flush())
}

// command takes a request that has been split.
func (s *session) command(ctx context.Context, verb string, args [][]byte, frame []byte) error {
	switch verb {
	case "auth":
		return s.auth(ctx, args)
	case "hello":
		return s.hello(ctx, args, frame)
	case "reset":
		return s.reset(ctx)
	}
	if s.user == "" {
		if verb == "quit" {
			return errors.Join(s.reply(resp.AppendSimple(nil, "OK")), errEnded)
		}
		return s.replyError(textNoAuth)
	}
	if s.serverless {
		if text := s.withheld(args); text != "" {
			return s.refuse(text)
		}
	}
	if s.enforces {
		if denied := s.denied(args); denied != "" {
			return s.refuse(denied)
		}
		if text := s.slotError(args); text != "" {
			return s.refuse(text)
		}
		if answered, err := s.local(args); answered {
			return err
		}
	}
	switch verb {
	case "replconf":
		return s.refuse(unknownCommand(args))
	case "script":
		if len(args) > 1 && bytes.EqualFold(args[1], []byte("debug")) {
			return s.refuse(textScriptDebug)
		}
	case "multi":
		if s.enforces && !s.transaction() {
			s.began, s.slots = s.rules(), map[uint16]bool{}
		}
		return s.send(frame, expected{kind: startsMulti, count: s.settled(true)})
	case "exec":
		several := len(s.slots) > 1
		s.slots = nil
		if several && s.transaction() {
			return s.abort(textCrossSlot)
		}
		if s.doomed || s.enforces && s.transaction() && s.began != s.rules() { // or they are judged by an access string of before
			return s.abort(textExecAbort)
		}
		return s.send(frame, expected{kind: endsMulti, count: s.settled(false)})
	case "discard":
		s.doomed = s.doomed && len(args) > 1
		return s.send(frame, expected{kind: discards, count: s.settled(false)})
	case "client":
		return s.clientReply(args, frame)
	case "monitor":
		return s.monitor(frame)
	}
	if subscribeVerbs[verb] {
		return s.subscribe(verb, args, frame)
	}
	s.forward(frame)
	return nil
}

// settled is how many replies a command gets that changes whether there is a
// transaction. Where replies are off, the change is believed.
func (s *session) settled(inMulti bool) int64 {
	count := s.audible()
	if count == 0 {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.pairing.inMulti = inMulti
	}
	return count
}

// transaction is whether the connection is in MULTI, once that is sure.
func (s *session) transaction() bool {
	s.quiesce()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pairing.inMulti
}

func (s *session) subscribe(verb string, args [][]byte, frame []byte) error {
	if s.transaction() {
		return s.refuse(fmt.Sprintf(textInMulti, strings.ToUpper(verb)))
	}
	e := expected{kind: subscribes, count: int64(len(args) - 1), name: verb}
	if len(args) == 1 && !strings.Contains(verb, "unsubscribe") {
		return s.send(frame, expected{count: s.audible()}) // wrong number of arguments
	}
	if s.audible() == 0 && !s.rules().Allow(args).OK { // a confirmation would come all the same, an error does not
		e = expected{}
	}
	return s.send(frame, e)
}

func (s *session) monitor(frame []byte) error {
	if s.transaction() {
		return s.send(frame, expected{count: s.audible()})
	}
	return s.send(frame, expected{count: s.audible(), then: func(ok bool) { s.pairing.opaque = s.pairing.opaque || ok }})
}

// clientReply follows CLIENT REPLY; other CLIENT commands go on as they are.
func (s *session) clientReply(args [][]byte, frame []byte) error {
	if len(args) != 3 || !bytes.EqualFold(args[1], []byte("reply")) || !s.rules().Allow(args).OK {
		return s.send(frame, expected{count: s.audible()})
	}
	mode, known := map[string]silence{"ON": repliesOn, "OFF": repliesOff, "SKIP": skipNext}[strings.ToUpper(string(args[2]))]
	switch {
	case !known:
		return s.send(frame, expected{count: s.audible()})
	case s.transaction():
		return s.refuse(fmt.Sprintf(textInMulti, "CLIENT REPLY"))
	}
	if s.silence == repliesOff && mode == skipNext {
		mode = repliesOff
	}
	s.silence = mode
	if mode == repliesOn {
		return s.send(frame, expected{count: 1})
	}
	return s.send(frame, expected{})
}

func (s *session) rules() *acl.Access {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.grant.member.Rules
}

// denied is the error for a command that the user's access string does not
// allow, for an engine that does not look; empty if it is allowed.
func (s *session) denied(args [][]byte) string {
	rules := s.rules()
	verdict := rules.Allow(args)
	switch {
	case verdict.OK && scripting(args) && !unlimited(rules):
		return "NOPERM the embedded engine runs scripts only for users with ~* and +@all, since it cannot see what they call"
	case verdict.OK:
		return ""
	case verdict.Denied == acl.Unknown && len(args) > 1 && known(args[:1]):
		return unknownSubcommand(args)
	case verdict.Denied == acl.Unknown:
		return unknownCommand(args)
	case verdict.Denied == acl.Command:
		return fmt.Sprintf("NOPERM User %s has no permissions to run the '%s' command", s.user, verdict.Object)
	case verdict.Denied == acl.Channel:
		return "NOPERM No permissions to access a channel"
	}
	return "NOPERM No permissions to access a key"
}

func known(args [][]byte) bool {
	_, ok := command.Lookup(args)
	return ok
}

func unknownSubcommand(args [][]byte) string {
	return fmt.Sprintf("ERR unknown subcommand '%.128s'. Try %s HELP.", args[1], bytes.ToUpper(args[0][:min(len(args[0]), 128)]))
}

// unknownCommand is Redis's error, with as much of the arguments as Redis shows.
func unknownCommand(args [][]byte) string {
	shown := ""
	for _, a := range args[1:] {
		if len(shown) >= 128 {
			break
		}
		shown += fmt.Sprintf("'%s' ", a[:min(len(a), 128-len(shown))])
	}
	return fmt.Sprintf("ERR unknown command '%s', with args beginning with: %s", args[0][:min(len(args[0]), 128)], shown)
}

func scripting(args [][]byte) bool {
	c, ok := command.Lookup(args)
	return ok && c.Categories&command.CategoryScripting != 0
}

// unlimited is whether nothing that a script could call is forbidden.
func unlimited(a *acl.Access) bool {
	rest, ok := strings.CutPrefix(a.String(), "on ~* ")
	return ok && (rest == "+@all" || rest == "&* +@all")
}

// refuse answers a command with an error; inside MULTI that dooms the
// transaction, as it would in the engine.
func (s *session) refuse(text string) error {
	s.doomed = s.doomed || s.transaction()
	return s.replyError(text)
}

// abort ends a transaction that cannot be executed.
func (s *session) abort(text string) error {
	s.doomed = false
	if err := s.standIn(); err != nil {
		return err
	}
	e := expected{kind: swallowed, count: 1}
	if s.silence == repliesOff {
		e = expected{}
	}
	if err := s.send(resp.AppendCommand(nil, "DISCARD"), e); err != nil {
		return err
	}
	s.mu.Lock()
	s.pairing.inMulti = false
	s.mu.Unlock()
	return s.replyError(text)
}

// reset ends everything the connection was and leaves it open, not signed in.
func (s *session) reset(ctx context.Context) error {
	if !s.quiesce() {
		return errEnded
	}
	s.leaveEngine()
	s.mu.Lock()
	s.grant, s.about.name = grant{}, ""
	s.mu.Unlock()
	if s.user != "" { // else the time to sign in is running already
		s.stranger.Reset(SignInTime)
	}
	s.user, s.silence, s.doomed = "", repliesOn, false
	s.requests.Limits = strangers
	if !s.enterOpen(ctx) {
		return errEnded
	}
	return s.reply(resp.AppendSimple(nil, "RESET"))
}
