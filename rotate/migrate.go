package rotate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"
	"github.com/aws/aws-sdk-go-v2/service/memorydb"
	"github.com/aws/smithy-go"
)

// A Migration takes the clients of a user with a password, or of an AUTH token, over to
// a user who signs in with IAM. AWS gives a user either a password or IAM, so there are
// two for a while: Prepare lets the IAM user in beside the other, then the clients are
// changed by whoever runs them, and Finish turns the other off once it is connected no
// more. All of it reads from AWS what has been done, and so can be stopped anywhere and
// run again. docs/rotation.md has every step.
type Migration struct {
	AWS      aws.Config // whose credentials describe and change users, groups and the replication group
	MemoryDB bool       // the users are of MemoryDB; otherwise of ElastiCache

	From string // id of the user with the password
	// Secret is set instead of From for an AUTH token: name or ARN of the secret with it.
	// A user named default takes the token as its password, in the change that takes the
	// token away, so that clients which know of no users go on with AUTH TOKEN.
	Secret string

	ReplicationGroup string   // empty for serverless caches and MemoryDB
	Nodes            []string // host:port to sign in on; none means all that the replication group tells

	To     string // id and name of the user who signs in with IAM
	Access string // its access string; empty means that of the other user

	Token     func(context.Context) (string, error) // a fresh token of To
	Login     Login
	Connected Connected
	// Quiet is how long the other user must not have been connected before it is turned
	// off. Zero means five minutes, below zero that it is not looked at.
	Quiet time.Duration
	Poll  Poll
}

// A MigrationStep is one of those that a migration takes, in their order.
type MigrationStep struct {
	Name string `json:"step"`
	What string `json:"what"`
	Done bool   `json:"done"`
}

// Plan says which steps have been done, without changing anything. The last one is what
// Finish does.
func (m *Migration) Plan(ctx context.Context) ([]MigrationStep, error) {
	run, err := m.start(ctx)
	if err != nil {
		return nil, err
	}
	var plan []MigrationStep
	done := true // a step after one that is not done cannot be
	for _, s := range append(run.prepare(), run.off()) {
		if done {
			if done, err = s.done(ctx); err != nil && !passes(err) {
				return plan, fmt.Errorf("%s: %w", s.name, err)
			}
		}
		plan = append(plan, MigrationStep{s.name, s.what, done})
	}
	return plan, nil
}

// Prepare does all that lets both users in, and ends when both have signed in. It may
// be called again at any time.
func (m *Migration) Prepare(ctx context.Context) error {
	run, err := m.start(ctx)
	if err != nil {
		return err
	}
	for _, s := range run.prepare() {
		if err := run.take(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// Finish turns the other user off, once it has not been connected for as long as Quiet.
// Until then it waits, and changes nothing.
func (m *Migration) Finish(ctx context.Context) error {
	run, err := m.start(ctx)
	if err != nil {
		return err
	}
	for _, s := range run.prepare() {
		if done, err := s.done(ctx); err != nil || !done {
			return fmt.Errorf("%s: %w", s.name, orElse(err, errors.New("this has to be done first")))
		}
	}
	off := run.off()
	if done, err := off.done(ctx); done || err != nil {
		return err
	}
	if err := run.quiet(ctx); err != nil {
		return fmt.Errorf("nothing is changed: %w", err)
	}
	return run.take(ctx, off)
}

// Undo turns the other user on again, for clients that nobody had thought of.
func (m *Migration) Undo(ctx context.Context) error {
	run, err := m.start(ctx)
	if err != nil {
		return err
	}
	return run.take(ctx, run.on())
}

// A migrating is a Migration with what is known of it.
type migrating struct {
	*Migration
	users  directory
	from   UserState
	tokens *tokenMigration // nil without an AUTH token
}

// A step is done, or to be done.
type step struct {
	name, what string
	done       func(context.Context) (bool, error)
	do         func(context.Context) error
}

func (m *Migration) start(ctx context.Context) (*migrating, error) {
	run := &migrating{Migration: m, users: elastiCacheDirectory{elasticache.NewFromConfig(m.AWS)}}
	if m.MemoryDB {
		run.users = memoryDBDirectory{memorydb.NewFromConfig(m.AWS)}
	}
	var err error
	switch {
	case m.To == "" || (m.From == "") == (m.Secret == "") || m.Secret != "" && m.ReplicationGroup == "" || m.MemoryDB && m.ReplicationGroup != "":
		return nil, errors.New("a migration needs an IAM user, and either a user with a password or the secret with the AUTH token of a replication group")
	case m.ReplicationGroup == "" && len(m.Nodes) == 0:
		return nil, errors.New("a migration needs nodes to sign in on")
	case m.Secret != "":
		run.tokens, err = m.startTokens(ctx)
		return run, err
	case m.From == m.To:
		return nil, errors.New("a user has either a password or IAM: the one with IAM must be another, or every client would have to be changed at one moment")
	case m.From == "default":
		return nil, errors.New("AWS's own user default cannot be changed: first put a user of yours with the name default in its place")
	}
	run.from, err = retry(ctx, m.Poll, func() (UserState, error) { return run.users.Describe(ctx, m.From) })
	if err == nil && run.from.Auth == "iam" {
		err = fmt.Errorf("the user %s signs in with IAM already", m.From)
	}
	if err == nil && len(run.from.Groups) == 0 {
		err = fmt.Errorf("the user %s is in no group, so that it cannot sign in anywhere", m.From)
	}
	if err != nil || m.ReplicationGroup == "" {
		return run, err
	}
	group, err := retry(ctx, m.Poll, func() (types.ReplicationGroup, error) { return m.cache().describe(ctx) })
	if err == nil && !slices.ContainsFunc(group.UserGroupIds, func(id string) bool { return slices.Contains(run.from.Groups, id) }) {
		err = fmt.Errorf("the user %s is in no user group of the replication group %s", m.From, m.ReplicationGroup)
	}
	return run, err
}

// other is the id of the user who is to go.
func (m *migrating) other() string {
	if m.tokens != nil {
		return m.tokens.user
	}
	return m.From
}

// prepare are the steps that let both in.
func (m *migrating) prepare() []step {
	user := step{"user", "the user " + m.To + " signs in with IAM", m.hasUser, m.createUser}
	signIn := step{"sign-in", m.To + " signs in on every node", m.signsIn, nil}
	if t := m.tokens; t != nil {
		return []step{
			{"default-user", "the user " + t.user + ", named default, has the AUTH token as its password", t.hasDefault, t.setDefault},
			user,
			{"group", "the user group " + t.users + " has both", m.hasGroup, m.makeGroup},
			{"attach", "the replication group has the user group instead of the AUTH token", t.isAttached, t.attach},
			signIn,
		}
	}
	group := step{"group", m.To + " is in every group of " + m.From, m.hasJoined, m.join}
	return []step{user, group, signIn}
}

func (m *migrating) off() step {
	return step{"off", m.other() + " cannot sign in any more", func(ctx context.Context) (bool, error) { return m.isOn(ctx, false) },
		func(ctx context.Context) error { return m.turn(ctx, "on", "off") }}
}

func (m *migrating) on() step {
	return step{"on", m.other() + " can sign in", func(ctx context.Context) (bool, error) { return m.isOn(ctx, true) },
		func(ctx context.Context) error { return m.turn(ctx, "off", "on") }}
}

// take does a step unless it is done, and waits until it is.
func (m *migrating) take(ctx context.Context, s step) error {
	asked := false
	err := m.Poll.until(ctx, func() (bool, error) {
		done, err := s.done(ctx)
		if done || err != nil {
			return done, err
		}
		if !asked && s.do != nil {
			if err := s.do(ctx); err != nil {
				return false, err
			}
			asked = true
		}
		return false, waitFor("until %s", s.what)
	})
	if err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	m.Poll.say("done: %s", s.what)
	return nil
}

// lookUp is of a user who may not be there.
func (m *migrating) lookUp(ctx context.Context, id string) (state UserState, found bool, err error) {
	state, err = m.users.Describe(ctx, id)
	if isCode(err, "UserNotFound", "UserNotFoundFault") {
		return state, false, nil
	}
	return state, err == nil, err
}

// access is what To shall be allowed.
func (m *migrating) access() string {
	switch {
	case m.Access != "":
		return m.Access
	case m.tokens != nil:
		return allAccess
	}
	return switched(m.from.Access, "off", "on") // it may have been turned off already
}

func (m *migrating) hasUser(ctx context.Context) (bool, error) {
	state, found, err := m.lookUp(ctx, m.To)
	switch {
	case !found || err != nil:
		return false, err
	case state.Status != "active":
		return false, waitFor("the user %s is %s", m.To, state.Status)
	case state.Auth != "iam":
		return false, fmt.Errorf("there is a user %s, who does not sign in with IAM", m.To)
	case !sameWords(state.Access, m.access()):
		return false, fmt.Errorf("the user %s has the access string %q, not %q; if the first is meant, say so", m.To, state.Access, m.access())
	case slices.Contains(strings.Fields(state.Access), "off"):
		return false, fmt.Errorf("the access string of the user %s says off", m.To)
	}
	return true, nil
}

func (m *migrating) createUser(ctx context.Context) error {
	engine := m.from.Engine
	if m.tokens != nil {
		engine = tokenEngine
	}
	err := m.users.create(ctx, m.To, engine, m.access())
	if isCode(err, "UserAlreadyExists", "UserAlreadyExistsFault") { // another run has been faster, or an answer was lost
		return nil
	}
	return err
}

func (m *migrating) hasJoined(ctx context.Context) (bool, error) {
	state, err := m.users.Describe(ctx, m.To)
	return err == nil && len(without(m.from.Groups, state.Groups)) == 0, err
}

func (m *migrating) join(ctx context.Context) error {
	state, err := m.users.Describe(ctx, m.To)
	for _, group := range without(m.from.Groups, state.Groups) {
		if err == nil {
			err = m.users.join(ctx, group, m.To)
		}
	}
	return err
}

// without are the words of a that are not in b.
func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}

// refusalsToBelieve is how often in a row a token may be refused while nothing changes:
// AWS may say that a group has been changed before every node knows of it.
const refusalsToBelieve = 12

// signsIn waits for the refusals that pass, itself: what they are is known to nobody
// else.
func (m *migrating) signsIn(ctx context.Context) (bool, error) {
	for refused := 1; ; refused++ {
		token, err := m.Token(ctx)
		if err != nil {
			return false, err
		}
		if m.tokens != nil {
			if err := m.tokens.trySecret(ctx); err != nil {
				return false, err
			}
		}
		nodes, err := m.nodes(ctx)
		if err != nil {
			return false, err
		}
		_, err = m.Login(ctx, nodes, m.To, token)
		if !errors.Is(err, ErrRefused) && !errors.Is(err, ErrPartly) {
			return err == nil, err
		}
		if refused == refusalsToBelieve {
			return false, fmt.Errorf("the user %s: %w", m.To, err)
		}
		m.Poll.say("waiting: until every node takes the token of %s", m.To)
		if err := m.Poll.pause(ctx); err != nil {
			return false, err
		}
	}
}

// quiet waits until the other user has not been connected for a while.
func (m *migrating) quiet(ctx context.Context) error {
	quiet := m.Quiet
	if quiet == 0 {
		quiet = 5 * time.Minute
	}
	if quiet < 0 {
		return nil
	}
	other, err := retry(ctx, m.Poll, func() (UserState, error) { return m.users.Describe(ctx, m.other()) })
	if err != nil {
		return err
	}
	m.Poll.say("looking whether %s is connected, for %v", other.Name, quiet)
	since := time.Now()
	return m.Poll.until(ctx, func() (bool, error) {
		token, err := m.Token(ctx)
		if err != nil {
			return false, err
		}
		nodes, err := m.nodes(ctx)
		if err != nil {
			return false, err
		}
		clients, err := m.Connected(ctx, nodes, m.To, token, other.Name)
		switch {
		case err != nil:
			return false, err
		case len(clients) > 0:
			since = time.Now()
			more := ""
			if len(clients) > 3 {
				more = fmt.Sprintf(" and %d more", len(clients)-3)
			}
			return false, waitFor("%d connections of %s: %s%s", len(clients), other.Name, strings.Join(clients[:min(3, len(clients))], ", "), more)
		case time.Since(since) >= quiet:
			return true, nil
		}
		return false, waitFor("until %s has not been connected for %v", other.Name, quiet)
	})
}

func (m *migrating) isOn(ctx context.Context, want bool) (bool, error) {
	state, err := m.users.Describe(ctx, m.other())
	if err == nil && state.Status != "active" {
		err = waitFor("the user %s is %s", m.other(), state.Status)
	}
	return err == nil && slices.Contains(strings.Fields(state.Access), "on") == want, err
}

func (m *migrating) turn(ctx context.Context, from, to string) error {
	state, err := m.users.Describe(ctx, m.other())
	if err != nil {
		return err
	}
	return m.users.setAccess(ctx, m.other(), switched(state.Access, from, to))
}

// switched is an access string with one word for another. AWS writes on or off in
// those that it tells.
func switched(access, from, to string) string {
	words := strings.Fields(access)
	for i, word := range words {
		if word == from {
			words[i] = to
		}
	}
	return strings.Join(words, " ")
}

// sameWords is whether two access strings are the same but for their order: AWS puts
// what it is given into an order of its own, and says -@all where nothing is allowed
// before.
func sameWords(a, b string) bool {
	words := func(s string) []string {
		list := slices.DeleteFunc(strings.Fields(strings.ToLower(s)), func(w string) bool { return w == "-@all" || w == "resetchannels" })
		slices.Sort(list)
		return list
	}
	return slices.Equal(words(a), words(b))
}

func isCode(err error, codes ...string) bool {
	var answered smithy.APIError
	return errors.As(err, &answered) && slices.Contains(codes, answered.ErrorCode())
}

// cache is the replication group, as the rotation of AUTH tokens knows it.
func (m *Migration) cache() *AuthToken {
	return &AuthToken{Client: elasticache.NewFromConfig(m.AWS), Group: m.ReplicationGroup, Login: m.Login, Nodes: m.Nodes}
}

// nodes are where to sign in: replicas too, on which clients may be connected.
func (m *Migration) nodes(ctx context.Context) ([]string, error) {
	if len(m.Nodes) > 0 {
		return m.Nodes, nil
	}
	group, err := m.cache().describe(ctx)
	return m.cache().nodes(group), err
}
