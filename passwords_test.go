package rediam_test

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/rediam/rediam"
)

// passwords is a PasswordSource that has these, and then err if there is one.
type passwords struct {
	words []string
	err   error
}

func (p passwords) Token(context.Context) (rediam.Token, error) {
	return rediam.Token{User: "orders-app", Password: p.words[0]}, nil
}

func (p passwords) Passwords(context.Context) iter.Seq2[rediam.Token, error] {
	return func(yield func(rediam.Token, error) bool) {
		for _, word := range p.words {
			if !yield(rediam.Token{User: "orders-app", Password: word}, nil) {
				return
			}
		}
		if p.err != nil {
			yield(rediam.Token{}, p.err)
		}
	}
}

func TestPasswordsAreTriedUntilOneIsNotRefused(t *testing.T) {
	refused, away, busy := errors.New("WRONGPASS no"), errors.New("Secrets Manager is away"), errors.New("ERR service is not available")
	for _, v := range []struct {
		name     string
		source   passwords
		answers  map[string]error // nil is for those that it takes
		tried    string
		want     []string // in the error
		failures map[rediam.Cause]int64
	}{
		{"the first", passwords{words: []string{"a", "b"}}, nil, "a", nil, nil},
		{"the second", passwords{words: []string{"a", "b"}}, map[string]error{"a": refused}, "a b", nil, nil},
		{"none", passwords{words: []string{"a", "b"}}, map[string]error{"a": refused, "b": refused}, "a b", []string{"WRONGPASS"}, map[rediam.Cause]int64{rediam.CauseRefused: 1}},
		{"a service that has no time", passwords{words: []string{"a", "b"}}, map[string]error{"a": busy}, "a", []string{"not available"}, map[rediam.Cause]int64{rediam.CauseUnavailable: 1}},
		{"no second", passwords{[]string{"a"}, away}, map[string]error{"a": refused}, "a", []string{"WRONGPASS", "is away"}, map[rediam.Cause]int64{rediam.CauseRefused: 1}},
		{"no first", passwords{nil, away}, nil, "", []string{"is away"}, map[rediam.Cause]int64{rediam.CauseOther: 1}},
		{"nothing at all", passwords{}, nil, "", []string{"has no password"}, map[rediam.Cause]int64{rediam.CauseOther: 1}},
		{"an empty one", passwords{words: []string{""}}, nil, "", []string{"without a user name or a password"}, map[rediam.Cause]int64{rediam.CauseOther: 1}},
	} {
		var log strings.Builder
		signIns := rediam.Limit(v.source, 1)
		signIns.Log = slog.New(slog.NewTextHandler(&log, nil))
		var tried []string
		c := signIns.Open()
		err := c.SignIn(t.Context(), func(token rediam.Token) error {
			tried = append(tried, token.Password)
			return v.answers[token.Password]
		})
		if got := strings.Join(tried, " "); got != v.tried {
			t.Errorf("%s: tried %q, want %q", v.name, got, v.tried)
		}
		if (err == nil) != (v.want == nil) || err != nil && rediam.CauseOf(err) == "" {
			t.Errorf("%s: %v", v.name, err)
		}
		for _, want := range v.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", v.name, err, want)
			}
		}
		if got := signIns.Counts(); !maps.Equal(got.Failures, v.failures) || got.SignIns != int64(1-len(v.failures)) {
			t.Errorf("%s: %+v", v.name, got)
		}
		if v.tried != "" && !strings.Contains(log.String(), "signing in with a password") {
			t.Errorf("%s: logged %s", v.name, log.String())
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		if err := signIns.Open().Begin(ctx); err != nil {
			t.Errorf("%s: the turn is lost: %v", v.name, err)
		}
		cancel()
	}
}

func TestConnectionsOfPasswordsAreNotRenewed(t *testing.T) {
	if rediam.Follow(passwords{}).Renews() || rediam.Limit(rediam.Follow(passwords{}), 1).Renews() {
		t.Error("with passwords they are")
	}
	if !rediam.Follow(source(good)).Renews() {
		t.Error("with tokens they are not")
	}
}

func TestASignInWithATokenTriesOne(t *testing.T) {
	signIns, tried := rediam.Follow(source(good)), 0
	err := signIns.Open().SignIn(t.Context(), func(rediam.Token) error {
		tried++
		return errors.New("WRONGPASS no")
	})
	if got := signIns.Counts(); err == nil || tried != 1 || got.Failures[rediam.CauseRefused] != 1 {
		t.Errorf("%v after %d: %+v", err, tried, got)
	}
}
