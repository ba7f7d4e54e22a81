// Package password signs in with a password from AWS Secrets Manager, which may be
// rotated at any time: that of a user of ElastiCache or MemoryDB, or an AUTH token.
//
//	source := &password.Source{Client: secretsmanager.NewFromConfig(awsConfig), Secret: "orders/app"}
//	err := goredis.Configure(options, source, rediam.Renewal{})
//
// The secret is read when the first connection needs it, and kept for ten minutes.
// While it is being rotated no sign-in fails: where the cache refuses the password
// that is known, the secret is read again, and after it the version that is on its way
// in (AWSPENDING) and the one before (AWSPREVIOUS).
package password

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/rediam/rediam"
)

const (
	defaultMaxAge = 10 * time.Minute

	// fetchTime bounds one reading of the secret, which is for whoever still waits.
	fetchTime = 10 * time.Second
	// staleWait is how long a sign-in waits for a secret that has become too old to be
	// read again, and staleTime how long the old one is used on if it cannot be.
	staleWait = 2 * time.Second
	staleTime = 30 * time.Second
	// pause is for how long what has been read is not read again though it did not help.
	pause = time.Second
)

// The staging labels of a secret's versions.
const (
	current  = "AWSCURRENT"
	pending  = "AWSPENDING"
	previous = "AWSPREVIOUS"
)

// A Client is what a Source needs of a *secretsmanager.Client.
type Client interface {
	GetSecretValue(context.Context, *secretsmanager.GetSecretValueInput, ...func(*secretsmanager.Options)) (*secretsmanager.GetSecretValueOutput, error)
}

// A Source reads a secret: a JSON object with "username" and "password", or with
// "authToken" for the user default, or a password alone. Other members do not matter.
// Fill in the fields, and do not change or copy it after that. It is safe for many
// goroutines and needs no Close.
type Source struct {
	Client Client // required
	Secret string // name or ARN; required
	User   string // whose password it is if the secret does not say; zero means default

	// MaxAge is how long the secret is used before it is read again, give or take a
	// tenth. If it cannot be read then, the old one is used on. Zero means ten minutes.
	// A rotation needs no shorter one: see Passwords.
	MaxAge time.Duration

	// Log gets a warning when the secret could not be read again. Nil means nothing is
	// logged.
	Log *slog.Logger

	mu       sync.Mutex // guards below
	known    rediam.Token
	due      time.Time           // when known is to be read again
	readings map[string]*reading // the last of each label
	begun    int                 // readings
	ended    int                 // number of the last one of AWSCURRENT that has
	futile   time.Time           // until then the readings after useless need not be done again:
	useless  int                 // they were of no use
}

var _ rediam.PasswordSource = (*Source)(nil)

// A reading of the secret. The token and the error are there when done is closed.
type reading struct {
	number int
	done   chan struct{}
	token  rediam.Token
	err    error
}

// Format prints which secret it is and nothing that is in it, whatever the verb.
func (s *Source) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "password.Source{Secret:%q}", s.Secret) }

// LogValue gives log/slog the same.
func (s *Source) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(s)) }

// Token is the password that is known. It fails only if the secret has not been read
// yet, and cannot be.
func (s *Source) Token(ctx context.Context) (rediam.Token, error) {
	now := time.Now()
	s.mu.Lock()
	known, stale, after := s.known, !now.Before(s.due), s.ended
	switch {
	case known.Password == "" && now.Before(s.futile):
		after = s.useless
	case stale:
		s.due = now.Add(staleTime) // for the others, who need not wait
	}
	s.mu.Unlock()
	switch {
	case known.Password == "":
		return s.read(ctx, current, after)
	case stale:
		waiting, cancel := context.WithTimeout(ctx, staleWait)
		defer cancel()
		if token, err := s.read(waiting, current, after); err == nil {
			return token, nil
		}
	}
	return known, nil
}

// Passwords are those that the cache may want now: the one that is known, and if that
// is refused, AWSCURRENT as it is then, AWSPENDING and AWSPREVIOUS, as far as they are
// others.
func (s *Source) Passwords(ctx context.Context) iter.Seq2[rediam.Token, error] {
	return func(yield func(rediam.Token, error) bool) {
		token, err := s.Token(ctx)
		if !yield(token, err) || err != nil {
			return
		}
		after := s.refused()
		tried := []rediam.Token{token}
		// AWSCURRENT once more, as what is pending may become current between two readings.
		for _, label := range []string{current, pending, current, previous} {
			token, err := s.read(ctx, label, s.refused())
			switch {
			case label != current && isNone(err), err == nil && slices.Contains(tried, token):
				continue
			case !yield(token, err) || err != nil:
				return
			}
			tried = append(tried, token)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.useless, s.futile = after, time.Now().Add(pause)
	}
}

// refused is after which reading one may help where a password has been refused now.
func (s *Source) refused() (after int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Now().Before(s.futile) {
		return s.useless
	}
	return s.begun
}

// isNone is whether no version has the label, or one without a password yet.
func isNone(err error) bool {
	return errors.As(err, new(*types.ResourceNotFoundException)) || errors.Is(err, errContent)
}

// read gives the result of a reading with a number above after, whoever has begun it.
func (s *Source) read(ctx context.Context, label string, after int) (rediam.Token, error) {
	for {
		r := s.reading(ctx, label, after)
		select {
		case <-r.done:
			if r.number > after {
				return r.token, r.err
			}
		case <-ctx.Done():
			return rediam.Token{}, fmt.Errorf("rediam: secret %q: no answer in time: %w", s.Secret, ctx.Err())
		}
	}
}

// reading is the last of a label if it will do or has not ended, so that there is one
// at a time, and else a new one.
func (s *Source) reading(ctx context.Context, label string, after int) *reading {
	s.mu.Lock()
	defer s.mu.Unlock()
	if last := s.readings[label]; last != nil && (last.number > after || !last.over()) {
		return last
	}
	s.begun++
	r := &reading{number: s.begun, done: make(chan struct{})}
	if s.readings == nil {
		s.readings = map[string]*reading{}
	}
	s.readings[label] = r
	go s.finish(context.WithoutCancel(ctx), r, label)
	return r
}

func (r *reading) over() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

func (s *Source) finish(ctx context.Context, r *reading, label string) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	r.token, r.err = s.fetch(ctx, label)
	defer close(r.done)
	if label != current {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = r.number
	switch age := cmp.Or(s.MaxAge, defaultMaxAge); {
	case r.err != nil && s.known.Password == "":
		s.useless, s.futile = r.number-1, time.Now().Add(pause)
	case r.err == nil:
		s.known, s.due = r.token, time.Now().Add(age-age/10+rand.N(age/5+1))
	case s.Log != nil:
		s.Log.WarnContext(ctx, "rediam: the secret could not be read again, and the old one is used on", "secret", s.Secret, "error", r.err)
	}
}

func (s *Source) fetch(ctx context.Context, label string) (rediam.Token, error) {
	if s.Client == nil || s.Secret == "" {
		return rediam.Token{}, errors.New("rediam: a password.Source needs a Client and a Secret")
	}
	out, err := s.Client.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &s.Secret, VersionStage: &label})
	if err != nil {
		return rediam.Token{}, fmt.Errorf("rediam: secret %q: %w", s.Secret, err)
	}
	token, err := s.parse(out.SecretString)
	if err != nil {
		err = fmt.Errorf("rediam: secret %q, %s: %w", s.Secret, label, err)
	}
	return token, err
}

var errContent = errors.New(`it is neither a JSON object with strings "username" and "password", or "authToken", nor a password alone`)

// parse tells nothing of what it has read in its error.
func (s *Source) parse(secret *string) (rediam.Token, error) {
	var v struct{ Username, Password, AuthToken string }
	switch {
	case secret == nil:
		return rediam.Token{}, errContent
	case !strings.ContainsAny(*secret, "{[\"\r\n"): // a password
		v.Password = *secret
	case json.Unmarshal([]byte(*secret), &v) != nil:
		return rediam.Token{}, errContent
	}
	switch {
	case v.Password != "" && v.AuthToken == "":
		return rediam.Token{User: cmp.Or(v.Username, s.User, "default"), Password: v.Password}, nil
	case v.AuthToken != "" && v.Password == "" && (v.Username == "" || v.Username == "default"):
		return rediam.Token{User: "default", Password: v.AuthToken}, nil
	}
	return rediam.Token{}, errContent
}
