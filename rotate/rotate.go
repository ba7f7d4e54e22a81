// Package rotate changes a password that AWS Secrets Manager keeps and that a cache
// takes: the AUTH token of a replication group, or the password of a user of
// ElastiCache or MemoryDB. It is the four steps that Secrets Manager has a Lambda
// function do, and the same steps for a program that calls them itself:
//
//	token := &rotate.AuthToken{Client: elasticache.NewFromConfig(cfg), Group: "orders", Login: rotate.TLSLogin(nil)}
//	r := &rotate.Rotator{Secrets: secretsmanager.NewFromConfig(cfg), Targets: map[string]rotate.Target{"orders/token": token}}
//	err := r.Rotate(ctx, "orders/token") // or r.Handle(ctx, event) in a Lambda function
//
// Every step may be repeated, stopped anywhere and run twice at once. The old
// password is valid until the new one works on every node and the secret has said so
// for as long as Grace. docs/rotation.md has what each failure leaves behind.
package rotate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
)

// Secrets is where secrets are kept: what is needed of *secretsmanager.Client.
type Secrets interface {
	DescribeSecret(context.Context, *secretsmanager.DescribeSecretInput, ...func(*secretsmanager.Options)) (*secretsmanager.DescribeSecretOutput, error)
	GetSecretValue(context.Context, *secretsmanager.GetSecretValueInput, ...func(*secretsmanager.Options)) (*secretsmanager.GetSecretValueOutput, error)
	ListSecretVersionIds(context.Context, *secretsmanager.ListSecretVersionIdsInput, ...func(*secretsmanager.Options)) (*secretsmanager.ListSecretVersionIdsOutput, error)
	PutSecretValue(context.Context, *secretsmanager.PutSecretValueInput, ...func(*secretsmanager.Options)) (*secretsmanager.PutSecretValueOutput, error)
	UpdateSecretVersionStage(context.Context, *secretsmanager.UpdateSecretVersionStageInput, ...func(*secretsmanager.Options)) (*secretsmanager.UpdateSecretVersionStageOutput, error)
}

// A Target is where a password takes effect. Its methods try again, with p, what is
// worth it until ctx ends, and return once what they are to do is done.
type Target interface {
	// Fields are the names that the password may have in the secret's JSON, the most
	// likely first.
	Fields() []string
	// Suits is an error if the current value of the secret is of another target, by what
	// the fields of its JSON say, or lacks what a rotation needs.
	Suits(says func(field string) string, password string) error
	// Check says what speaks against a rotation, before anything is changed. The secret
	// says that it is the password of this user, or of nobody if that is empty.
	Check(ctx context.Context, p Poll, username string) error
	// Add has the target take the new password beside the current one.
	Add(ctx context.Context, p Poll, of Passwords) error
	// Try signs in with the password.
	Try(ctx context.Context, p Poll, password string) error
	// Keep has the target take the new password alone. Passwords.Old is the one that
	// must stop working.
	Keep(ctx context.Context, p Poll, of Passwords) error
}

// Passwords are what the versions of a secret hold; each may be empty but New.
type Passwords struct{ New, Current, Old string }

// Format prints none of them.
func (Passwords) Format(f fmt.State, _ rune)   { fmt.Fprint(f, redacted) }
func (Passwords) MarshalText() ([]byte, error) { return []byte(redacted), nil }

const redacted = "[redacted]"

// The steps of a rotation, in their order (Secrets Manager user guide, "Lambda
// rotation functions").
const (
	CreateSecret = "createSecret"
	SetSecret    = "setSecret"
	TestSecret   = "testSecret"
	FinishSecret = "finishSecret"
)

var steps = []string{CreateSecret, SetSecret, TestSecret, FinishSecret}

// The staging labels of Secrets Manager.
const (
	current  = "AWSCURRENT"
	pending  = "AWSPENDING"
	previous = "AWSPREVIOUS"
)

// An Event is what Secrets Manager sends for each step.
type Event struct {
	Step               string
	SecretID           string `json:"SecretId"`
	ClientRequestToken string // the id of the version that is to become current
	RotationToken      Hidden // for secrets of other accounts
}

// Hidden is a text that does not print.
type Hidden string

func (Hidden) Format(f fmt.State, _ rune)   { fmt.Fprint(f, redacted) }
func (Hidden) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// hide is an error without the passwords that AWS or a server has quoted in it.
func hide(err error, passwords ...string) error {
	if err == nil {
		return nil
	}
	if text := redact(err.Error(), passwords...); text != err.Error() {
		return hidden{err, text}
	}
	return err
}

func redact(text string, passwords ...string) string {
	for _, password := range passwords {
		if password != "" {
			text = strings.ReplaceAll(text, password, redacted)
		}
	}
	return text
}

type hidden struct {
	err  error
	text string
}

func (e hidden) Error() string { return e.text }
func (e hidden) Unwrap() error { return e.err }

// A Rotator rotates some secrets. It keeps nothing between calls and is safe for many
// goroutines.
type Rotator struct {
	Secrets Secrets
	// Targets has the secrets that may be rotated, by name or ARN. What a secret says
	// leads to no other target.
	Targets map[string]Target
	// Grace is how long the old password stays valid once the secret has the new one.
	// Zero means five minutes, below zero means not at all.
	Grace time.Duration
	// Length is that of new passwords, from 32 to 64; zero means 64.
	Length int
	Poll   Poll
}

func (r *Rotator) grace() time.Duration {
	if r.Grace == 0 {
		return 5 * time.Minute
	}
	return max(r.Grace, 0)
}

// Handle does one step for Secrets Manager, which repeats all of them if one fails.
func (r *Rotator) Handle(ctx context.Context, e Event) error {
	if err := r.check(ctx); err != nil {
		return err
	}
	s, err := r.look(ctx, e.SecretID)
	if err != nil {
		return fmt.Errorf("%s: %w", e.Step, err)
	}
	if !s.enabled {
		return fmt.Errorf("%s: rotation of the secret %s is not enabled", e.Step, s.name)
	}
	return r.step(ctx, s, e)
}

// step looks first whether the version is the one to do it for, as AWS's own functions
// do. But a finished version is not done with at finishSecret: what was cut short after
// the promotion would leave the old password valid.
func (r *Rotator) step(ctx context.Context, s secret, e Event) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: %w", e.Step, err)
		}
	}()
	labels, known := s.versions[e.ClientRequestToken]
	switch {
	case !slices.Contains(steps, e.Step):
		return errors.New("there is no such step")
	case !known:
		return fmt.Errorf("the secret %s has no version with the id of the request", s.name)
	case slices.Contains(labels, current) && e.Step == FinishSecret:
		return r.retire(ctx, s, e.ClientRequestToken)
	case slices.Contains(labels, current):
		return nil
	case !slices.Contains(labels, pending):
		return fmt.Errorf("the version of the request is not %s of the secret %s", pending, s.name)
	}
	r.Poll.say("%s", e.Step)
	switch e.Step {
	case CreateSecret:
		return r.create(ctx, s, e)
	case SetSecret:
		return r.set(ctx, s, e.ClientRequestToken)
	case TestSecret:
		return r.test(ctx, s, e.ClientRequestToken)
	}
	return r.finish(ctx, s, e.ClientRequestToken)
}

// A secret is what DescribeSecret says of one.
type secret struct {
	arn, name string
	enabled   bool
	versions  map[string][]string // labels by id
	target    Target
}

// with is the version that has a label; empty if none has.
func (s secret) with(label string) string {
	for id, labels := range s.versions {
		if slices.Contains(labels, label) {
			return id
		}
	}
	return ""
}

// check is about what would fail half-way.
func (r *Rotator) check(ctx context.Context) error {
	if r.Length != 0 && (r.Length < 32 || r.Length > 64) {
		return errors.New("the length of new passwords must be from 32 to 64")
	}
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= r.grace() {
		return fmt.Errorf("the time that is left, %v, does not suffice for the grace of %v", time.Until(deadline).Round(time.Second), r.grace())
	}
	return nil
}

// look finds a secret that may be rotated, by name or ARN.
func (r *Rotator) look(ctx context.Context, id string) (s secret, err error) {
	out, err := retry(ctx, r.Poll, func() (*secretsmanager.DescribeSecretOutput, error) {
		return r.Secrets.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &id})
	})
	if err != nil {
		return s, fmt.Errorf("describe the secret: %w", err)
	}
	s = secret{arn: aws.ToString(out.ARN), name: aws.ToString(out.Name), enabled: aws.ToBool(out.RotationEnabled), versions: out.VersionIdsToStages}
	if s.target = r.Targets[s.arn]; s.target == nil {
		s.target = r.Targets[s.name]
	}
	if s.target == nil {
		return s, fmt.Errorf("the secret %s is not among those that may be rotated here", s.name)
	}
	return s, nil
}

// value is that of a version; found is false if there is no such version, or if it has
// no value yet.
func (r *Rotator) value(ctx context.Context, s secret, version string) (v value, found bool, err error) {
	if version == "" {
		return v, false, nil
	}
	out, err := retry(ctx, r.Poll, func() (*secretsmanager.GetSecretValueOutput, error) {
		return r.Secrets.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &s.arn, VersionId: &version})
	})
	if errors.As(err, new(*types.ResourceNotFoundException)) {
		return v, false, nil
	}
	if err != nil {
		return v, false, fmt.Errorf("get the value of the secret: %w", err)
	}
	v, err = parse(out.SecretString, s.target.Fields())
	return v, err == nil, err
}

// create gives the version a value with a new password, unless it has one.
func (r *Rotator) create(ctx context.Context, s secret, e Event) error {
	now, found, err := r.value(ctx, s, s.with(current))
	switch {
	case err != nil:
		return err
	case !found:
		return fmt.Errorf("the secret %s has no value that is %s", s.name, current)
	}
	if err := r.suits(ctx, s, now); err != nil {
		return err
	}
	if fresh, found, err := r.value(ctx, s, e.ClientRequestToken); found || err != nil {
		if err == nil { // somebody may have put it there by hand
			if err = r.suits(ctx, s, value{members: fresh.members, password: now.password}); err != nil {
				err = fmt.Errorf("the pending version: %w", err)
			}
		}
		return err
	}
	password, err := r.leftOver(ctx, s)
	if err != nil {
		return err
	}
	password = cmp.Or(password, newPassword(cmp.Or(r.Length, 64)))
	text, err := now.with(password)
	if err != nil {
		return err
	}
	in := &secretsmanager.PutSecretValueInput{SecretId: &s.arn, ClientRequestToken: &e.ClientRequestToken, SecretString: &text, VersionStages: []string{pending}}
	if e.RotationToken != "" {
		in.RotationToken = aws.String(string(e.RotationToken))
	}
	_, err = retry(ctx, r.Poll, func() (*secretsmanager.PutSecretValueOutput, error) { return r.Secrets.PutSecretValue(ctx, in) })
	if errors.As(err, new(*types.ResourceExistsException)) { // by another run, at the same time: its value counts
		return nil
	}
	if err != nil {
		return fmt.Errorf("put the new value: %w", hide(err, text, password))
	}
	return nil
}

// suits is whether a value is one of the target, and that can be rotated.
func (r *Rotator) suits(ctx context.Context, s secret, v value) error {
	if err := s.target.Suits(v.says, v.password); err != nil {
		return err
	}
	return s.target.Check(ctx, r.Poll, v.says("username"))
}

// leftOver is the password of a rotation that was cancelled after the target had taken
// it, or empty. A third one would drive out the current one, so it is used.
func (r *Rotator) leftOver(ctx context.Context, s secret) (string, error) {
	out, err := retry(ctx, r.Poll, func() (*secretsmanager.ListSecretVersionIdsOutput, error) {
		return r.Secrets.ListSecretVersionIds(ctx, &secretsmanager.ListSecretVersionIdsInput{SecretId: &s.arn, IncludeDeprecated: aws.Bool(true), MaxResults: aws.Int32(100)})
	})
	if err != nil {
		return "", fmt.Errorf("list the versions of the secret: %w", err)
	}
	var since time.Time
	for _, v := range out.Versions {
		if slices.Contains(v.VersionStages, current) {
			since = aws.ToTime(v.CreatedDate)
		}
	}
	for _, v := range out.Versions {
		if len(v.VersionStages) > 0 || aws.ToTime(v.CreatedDate).Before(since) {
			continue
		}
		left, _, err := r.value(ctx, s, aws.ToString(v.VersionId))
		if err == nil && left.password != "" {
			if err = s.target.Try(ctx, r.Poll, left.password); err == nil || errors.Is(err, ErrPartly) {
				r.Poll.say("the cache knows a password of a rotation that was cancelled: it is used")
				return left.password, nil
			}
		}
		if passes(err) || ctx.Err() != nil {
			return "", err
		}
	}
	return "", nil
}

// passwords are those of the version that is to become current, of the one that is,
// and of the one before.
func (r *Rotator) passwords(ctx context.Context, s secret, version string) (p Passwords, _ error) {
	fresh, _, err := r.value(ctx, s, version)
	if err != nil {
		return p, err
	}
	if fresh.password == "" {
		return p, errors.New("the new version of the secret has no password")
	}
	now, _, err := r.value(ctx, s, s.with(current))
	if err != nil {
		return p, err
	}
	before, _, err := r.value(ctx, s, s.with(previous))
	if passes(err) || ctx.Err() != nil {
		return p, err
	}
	return Passwords{fresh.password, now.password, before.password}, nil // whatever the form of the one before
}

func (r *Rotator) set(ctx context.Context, s secret, version string) error {
	p, err := r.passwords(ctx, s, version)
	if err != nil {
		return err
	}
	if err := r.graceOfTheLast(ctx, s, p); err != nil {
		return err
	}
	poll := r.while(ctx, s, func(now secret) bool { return now.with(pending) == version })
	if err := s.target.Add(ctx, poll, p); !errors.Is(err, errStale) {
		return err
	}
	if s, err = r.look(ctx, s.arn); err == nil && s.with(current) != version {
		err = fmt.Errorf("the version of the request is %s no more", pending)
	}
	return err // none if another run has been faster
}

// graceOfTheLast waits while the last rotation may have its grace yet: the password
// before the current one would be driven out.
func (r *Rotator) graceOfTheLast(ctx context.Context, s secret, p Passwords) error {
	grace := r.grace()
	if grace == 0 || p.Old == "" || p.Old == p.Current || p.Old == p.New {
		return nil
	}
	if err := s.target.Try(ctx, r.Poll, p.Old); err != nil && !errors.Is(err, ErrPartly) {
		return ctx.Err() // it is refused already, or Add will find out what is wrong
	}
	r.Poll.say("the last rotation has left the old password valid: it stays so for %v", grace)
	return wait(ctx, grace)
}

var errStale = errors.New("another rotation has begun meanwhile")

// while is r.Poll, which ends with errStale once a secret has labels that do not hold.
func (r *Rotator) while(ctx context.Context, s secret, holds func(secret) bool) Poll {
	poll := r.Poll
	poll.stale = func() error {
		now, err := r.look(ctx, s.arn)
		if err == nil && !holds(now) {
			err = errStale
		}
		return err
	}
	return poll
}

// test signs in with the new password. RotateSecret with RotateImmediately=false has
// this step alone done, for a version without a value: then with the current one.
func (r *Rotator) test(ctx context.Context, s secret, version string) error {
	v, found, err := r.value(ctx, s, version)
	if err == nil && !found {
		v, _, err = r.value(ctx, s, s.with(current))
	}
	if err != nil {
		return err
	}
	return s.target.Try(ctx, r.Poll, v.password)
}

// finish makes the version current, if its password works, and then has the old one
// forgotten.
func (r *Rotator) finish(ctx context.Context, s secret, version string) error {
	v, found, err := r.value(ctx, s, version)
	switch {
	case err != nil:
		return err
	case !found:
		return errors.New("the pending version of the secret has no value")
	}
	if err := s.target.Try(ctx, r.Poll, v.password); err != nil {
		return err
	}
	for !slices.Contains(s.versions[version], current) {
		was := s.with(current)
		if err := r.move(ctx, s, current, version, was); err != nil {
			return fmt.Errorf("make the new version current: %w", err)
		}
		if s, err = r.look(ctx, s.arn); err != nil {
			return err
		}
		if now := s.with(current); now != version && now != was {
			return fmt.Errorf("another version of the secret %s has become current meanwhile", s.name)
		}
	}
	r.Poll.say("the new version is current")
	return r.retire(ctx, s, version)
}

// move moves a label to a version, or takes it away if that is empty. That somebody
// has done so before is no error.
func (r *Rotator) move(ctx context.Context, s secret, label, to, from string) error {
	in := &secretsmanager.UpdateSecretVersionStageInput{SecretId: &s.arn, VersionStage: &label}
	if to != "" {
		in.MoveToVersionId = &to
	}
	if from != "" {
		in.RemoveFromVersionId = &from
	}
	_, err := retry(ctx, r.Poll, func() (*secretsmanager.UpdateSecretVersionStageOutput, error) {
		return r.Secrets.UpdateSecretVersionStage(ctx, in)
	})
	if err == nil {
		return nil
	}
	if now, lost := r.look(ctx, s.arn); lost == nil && now.with(label) == to {
		return nil
	}
	return err
}

// retire has the old password forgotten, after the grace, once its version has been
// replaced by the one given; and takes a label away that is left.
func (r *Rotator) retire(ctx context.Context, s secret, version string) error {
	if slices.Contains(s.versions[version], pending) {
		if err := r.move(ctx, s, pending, "", version); err != nil {
			return fmt.Errorf("take %s away: %w", pending, err)
		}
	}
	if grace := r.grace(); grace > 0 {
		r.Poll.say("the old password stays valid for %v", grace)
		if err := wait(ctx, grace); err != nil {
			return err
		}
	}
	s, err := r.look(ctx, s.arn)
	if err != nil {
		return err
	}
	alone := func(now secret) bool {
		return now.with(current) == version && (now.with(pending) == "" || now.with(pending) == version)
	}
	err = errStale
	if alone(s) {
		var p Passwords
		if p, err = r.passwords(ctx, s, version); err != nil {
			return err
		}
		if p.Old == p.New {
			p.Old = ""
		}
		err = s.target.Keep(ctx, r.while(ctx, s, alone), p)
	}
	switch {
	case errors.Is(err, errStale):
		r.Poll.say("another rotation has begun: it ends the old password")
		return nil
	case err != nil:
		return fmt.Errorf("the new password is current, but the old one is still valid: %w", err)
	}
	r.Poll.say("the old password is valid no more")
	return nil
}
