package gate

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rediam/rediam/internal/acl"
	"github.com/rediam/rediam/internal/command"
	"github.com/rediam/rediam/internal/resp"
	"github.com/rediam/rediam/internal/world"
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
	if s.user != "" && verb == "" && !s.enforces {
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
	if s.enforces {
		if denied := s.denied(args); denied != "" {
			return s.refuse(denied)
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
		return s.send(frame, expected{kind: startsMulti, count: s.settled(true)})
	case "exec":
		if s.doomed {
			return s.abort()
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
	name := string(bytes.ToLower(args[0][:min(len(args[0]), 128)]))
	verdict := rules.Allow(args)
	switch {
	case verdict.OK && scripting(args) && !unlimited(rules):
		return "NOPERM the embedded engine runs scripts only for users with ~* and +@all, since it cannot see what they call"
	case verdict.OK:
		return ""
	case verdict.Denied == acl.Unknown && len(args) > 1 && known(args[:1]):
		return fmt.Sprintf("ERR unknown subcommand '%.128s'. Try %s HELP.", args[1], strings.ToUpper(name))
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

// abort ends a transaction in which the gate has refused a command.
func (s *session) abort() error {
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
	return s.replyError(textExecAbort)
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
		s.client.SetDeadline(time.Now().Add(SignInTime))
	}
	s.user, s.silence, s.doomed = "", repliesOn, false
	s.requests.Limits = strangers
	if !s.enterOpen(ctx) {
		return errEnded
	}
	return s.reply(resp.AppendSimple(nil, "RESET"))
}

// auth answers AUTH [user] password.
func (s *session) auth(ctx context.Context, args [][]byte) error {
	switch len(args) {
	case 1:
		return s.replyError("ERR wrong number of arguments for 'auth' command")
	case 2:
		return s.authenticate(ctx, attempt{"auth", "default", string(args[1]), true})
	case 3:
		return s.authenticate(ctx, attempt{"auth", string(args[1]), string(args[2]), false})
	}
	return s.replyError("ERR syntax error")
}

// An attempt is AUTH or HELLO AUTH.
type attempt struct {
	command, user, password string
	oneArgument             bool
}

func (s *session) authenticate(ctx context.Context, a attempt) error {
	ok, err := s.tryAuth(ctx, a)
	if err != nil || !ok {
		return err
	}
	return s.reply(resp.AppendSimple(nil, "OK"))
}

// hello answers HELLO [version [AUTH user password] [SETNAME name]].
func (s *session) hello(ctx context.Context, args [][]byte, frame []byte) error {
	h, problem := parseHello(args)
	switch {
	case problem != "":
		return s.replyError(problem)
	case !h.auth && s.user == "":
		return s.replyError(textHello)
	case !h.auth && s.transaction():
		return s.refuse(fmt.Sprintf(textInMulti, "HELLO"))
	case !h.auth:
		return s.sendHello(frame, h)
	}
	if ok, err := s.tryAuth(ctx, attempt{"hello", h.user, h.password, false}); err != nil || !ok {
		return err
	}
	return s.sendHello(resp.AppendCommand(nil, h.rest...), h)
}

// sendHello sends a HELLO without AUTH.
func (s *session) sendHello(frame []byte, h helloCommand) error {
	if s.enforces {
		return s.localHello(h)
	}
	e := expected{count: 1, then: s.pairing.noteProtocol}
	switch {
	case s.silence == skipped: // the engine has used up the SKIP for our AUTH
		e.kind = swallowed
		s.audible()
	case s.audible() == 0: // the change is believed
		e = expected{}
		if len(h.rest) > 1 {
			s.mu.Lock()
			s.pairing.resp3 = h.rest[1] == "3"
			s.mu.Unlock()
		}
	}
	return s.send(frame, e)
}

// helloCommand is HELLO taken apart.
type helloCommand struct {
	auth           bool
	user, password string
	name           string   // of SETNAME
	rest           []string // what goes on to the engine
}

func parseHello(args [][]byte) (h helloCommand, problem string) {
	h.rest = []string{"HELLO"}
	if len(args) == 1 {
		return h, ""
	}
	version := string(args[1])
	if _, err := strconv.ParseInt(version, 10, 64); err != nil {
		return h, "ERR Protocol version is not an integer or out of range"
	}
	if version != "2" && version != "3" {
		return h, textNoProto
	}
	h.rest = append(h.rest, version)
	for i := 2; i < len(args); {
		option := strings.ToUpper(string(args[i][:min(len(args[i]), 64)]))
		switch {
		case option == "AUTH" && i+2 < len(args):
			h.auth, h.user, h.password = true, string(args[i+1]), string(args[i+2])
			i += 3
		case option == "SETNAME" && i+1 < len(args):
			h.name = string(args[i+1])
			h.rest = append(h.rest, "SETNAME", h.name)
			i += 2
		default:
			return h, "ERR Syntax error in HELLO option '" + string(args[i][:min(len(args[i]), 64)]) + "'"
		}
	}
	return h, ""
}

// tryAuth decides about a sign-in, answers a refusal, and for one that is
// admitted makes the connection that of the user.
func (s *session) tryAuth(ctx context.Context, a attempt) (admitted bool, err error) {
	if err := s.standIn(); err != nil {
		return false, err
	}
	if !s.quiesce() {
		return false, errEnded
	}
	if s.subscriber() {
		return false, s.replyError(fmt.Sprintf(textSubscriber, a.command))
	}
	e := s.event(a)
	if s.transaction() {
		e.refuse(reasonTransaction, "AUTH and HELLO AUTH are not supported inside MULTI")
		s.record(e)
		return false, s.refuse(fmt.Sprintf(textInMulti, strings.ToUpper(a.command)))
	}
	grant, ok := s.gate.signIn(&e, a.user, a.password)
	if !ok {
		if a.oneArgument {
			e.Detail = "AUTH with one argument means the user default; IAM users need AUTH user token (" + e.Reason + ": " + e.Detail + ")"
			e.Reason = reasonOneArgument
		}
		s.record(e)
		err := s.replyError(cmp.Or(e.answer, textWrongPass))
		if DropOnFailedReauth && s.user != "" {
			return false, errors.Join(err, errEnded)
		}
		return false, err
	}
	if err := s.enterEngine(ctx, grant); err != nil {
		e.refuse(reasonUnavailable, err.Error())
		s.record(e)
		return false, errors.Join(s.replyError("ERR service is not available"), err)
	}
	s.admit(grant)
	s.record(e)
	if !s.stays() {
		return false, errEnded
	}
	return true, nil
}

// subscriber is whether the connection takes nothing but subscriptions.
func (s *session) subscriber() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pairing.subscribed() && !s.pairing.resp3
}

// enterEngine makes the connection to the engine that of the user. A renewal
// needs nothing of the engine.
func (s *session) enterEngine(ctx context.Context, g grant) error {
	if s.user == g.member.Name {
		return nil
	}
	if err := s.joinEngine(ctx); err != nil {
		return err
	}
	name, password, ok := s.gate.Engine.Login(g.member.Name)
	if s.enforces = !ok; s.enforces {
		return nil
	}
	refused := false
	e := expected{kind: swallowed, count: 1, then: func(ok bool) { refused = !ok }}
	if s.silence == repliesOff {
		e = expected{}
	}
	s.mu.Lock()
	opaque := s.pairing.opaque
	s.mu.Unlock()
	if opaque {
		return errors.New("a connection cannot become another user's after MONITOR")
	}
	if err := s.send(resp.AppendCommand(nil, "AUTH", name, password), e); err != nil {
		return err
	}
	if !s.quiesce() {
		return errEnded
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if refused {
		return errors.New("the engine does not know the user")
	}
	return nil
}

// admit notes a sign-in that is complete.
func (s *session) admit(g grant) {
	s.mu.Lock()
	if s.grant.member.Name != "" {
		s.renewals++
	}
	s.grant = g
	s.mu.Unlock()
	s.user = g.member.Name
	s.requests.Limits = resp.Limits{}
	s.client.SetDeadline(time.Time{})
	s.gate.schedule(g.cut)
}

// enterOpen signs in without AUTH where the user default is on and needs no
// password. It is false if that failed.
func (s *session) enterOpen(ctx context.Context) bool {
	member, ok := s.gate.World.Member(s.gate.Cache, "default")
	if !ok || member.Auth != world.AuthNoPassword || !member.Rules.On() {
		return true
	}
	if err := s.enterEngine(ctx, grant{member: member}); err != nil {
		s.gate.Log.Error("engine", "cache", s.gate.Cache, "error", err)
		return false
	}
	s.admit(grant{member: member})
	return s.stays()
}

// userName is what a user name may look like at most.
var userName = regexp.MustCompile(`^[a-zA-Z0-9._@-]{1,64}$`)

// event begins the record of an attempt. What stands in the user name's place is
// shown if it is the name of a user, or if a token follows it: else it may be a
// password, given in the wrong order.
func (s *session) event(a attempt) Event {
	w := s.gate.World
	cache, _ := w.Cache(s.gate.Cache)
	user := a.user
	_, known := w.Member(s.gate.Cache, user)
	if !known && !(userName.MatchString(user) && strings.Contains(a.password, "X-Amz-")) {
		user = "(not a user name)"
	}
	return Event{Time: w.Now(), Service: cache.Service(), Region: w.Region, Cache: s.gate.Cache, User: user,
		Source: s.source.String(), Connection: s.id, Renewal: s.user != ""}
}

func (s *session) record(e Event) {
	if e.Admitted() {
		s.gate.Log.Info("sign-in admitted", "sign-in", e)
	} else {
		s.gate.Log.Warn("sign-in refused", "sign-in", e)
	}
	if s.gate.Record != nil {
		s.gate.Record(e)
	}
}
