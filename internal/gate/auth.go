package gate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/rediam/rediam/internal/resp"
	"github.com/rediam/rediam/internal/world"
)

// auth answers AUTH [user] password.
func (s *session) auth(ctx context.Context, args [][]byte) error {
	switch len(args) {
	case 1:
		return s.replyError("ERR wrong number of arguments for 'auth' command")
	case 2:
		return s.authenticate(ctx, attempt{command: "auth", user: "default", password: string(args[1]), oneArgument: true})
	case 3:
		return s.authenticate(ctx, attempt{command: "auth", user: string(args[1]), password: string(args[2])})
	}
	return s.replyError("ERR syntax error")
}

// An attempt is AUTH or HELLO AUTH.
type attempt struct {
	command, user, password string
	oneArgument             bool
	tooMany                 bool // at once
}

func (s *session) authenticate(ctx context.Context, a attempt) error {
	s.enter(&a)
	defer s.leave()
	ok, err := s.tryAuth(ctx, a)
	if err != nil || !ok {
		return err
	}
	return s.reply(resp.AppendSimple(nil, "OK"))
}

// enter counts a sign-in with IAM as one that is under way, until leave.
func (s *session) enter(a *attempt) {
	member, found := s.gate.World.Member(s.gate.Cache, a.user)
	if found && member.Auth != world.AuthIAM {
		return
	}
	a.tooMany = !s.gate.trouble.enter()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.underWay = !a.tooMany
}

// leave ends what enter began. That is the moment before the answer is written, since
// a client that has read it may send another sign-in at once.
func (s *session) leave() {
	s.mu.Lock()
	underWay := s.underWay
	s.underWay = false
	s.mu.Unlock()
	if underWay {
		s.gate.trouble.leave()
	}
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
	a := attempt{command: "hello", user: h.user, password: h.password}
	s.enter(&a)
	defer s.leave()
	defer s.finish() // the answer may be the engine's
	if ok, err := s.tryAuth(ctx, a); err != nil || !ok {
		return err
	}
	return s.sendHello(resp.AppendCommand(nil, h.rest...), h)
}

// sendHello sends a HELLO without AUTH.
func (s *session) sendHello(frame []byte, h helloCommand) error {
	if s.enforces {
		return s.localHello(h)
	}
	e := expected{count: 1, then: s.noteHello}
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

// noteHello runs as the engine's answer to HELLO is paired.
func (s *session) noteHello(ok bool) {
	s.pairing.noteProtocol(ok)
	s.greeted = s.underWay
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
	grant, ok := s.gate.signIn(&e, a)
	if !ok {
		if a.oneArgument && e.Reason != reasonPassword { // an AUTH token
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
	name, password, ok := s.node.Engine.Login(g.member.Name)
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
	s.stranger.Stop()
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
