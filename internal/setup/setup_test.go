package setup_test

import (
	"context"
	"strings"
	"testing"

	"github.com/rediam/rediam/emulator"
	"github.com/rediam/rediam/internal/setup"
)

// everyKind are all kinds of cache, and all kinds of role.
func everyKind(a *account) []setup.Spec {
	all := kinds()
	for _, trust := range []string{"ec2", "lambda", "ecs", "irsa:" + a.Issuer() + ":default:demo", "pod-identity:demo:default:demo", "arn:" + a.Partition() + ":iam::" + a.Account() + ":user/admin"} {
		spec := kinds()[0]
		spec.Trust = trust
		all = append(all, spec)
	}
	return all
}

func TestAnEmptyAccountGetsASignInAndIsEmptyAfterwards(t *testing.T) {
	for _, region := range []string{"eu-west-1", "cn-north-1", "us-gov-west-1"} {
		t.Run(region, func(t *testing.T) {
			a := newAccount(t, emulator.Config{Region: region})
			before := a.inventory()
			for _, spec := range everyKind(a) {
				t.Run(nameOf(spec), func(t *testing.T) {
					a.t = t
					plan, err := a.setup(spec).Plan(t.Context())
					a.must(err)
					a.unchanged(before)
					a.apply(spec)
					if got := a.signIn(spec, a.as(spec), "SET a b"); got != "+OK" {
						t.Errorf("signed in, SET says %q", got)
					}
					again, err := a.setup(spec).Plan(t.Context())
					a.must(err)
					if !again.Nothing() || plan.Nothing() || len(again.Steps) != len(plan.Steps) {
						t.Errorf("afterwards there would be done: %+v", again)
					}
					whole := a.inventory()
					a.apply(spec)
					a.unchanged(whole)
					left, err := a.setup(spec).PlanDestroy(t.Context())
					a.must(err)
					a.unchanged(whole)
					if len(left.Steps) != len(plan.Steps) {
						t.Errorf("made are %+v, deleted would be %+v", plan.Steps, left.Steps)
					}
					a.destroy(spec)
					a.unchanged(before)
					a.destroy(spec)
				})
			}
		})
	}
}

// The role may do what the sign-in needs and no more.
func TestTheRoleMaySignInAsItsUserAlone(t *testing.T) {
	a := newAccount(t, emulator.Config{})
	spec := kinds()[0]
	spec.Trust, spec.Access = "ecs", "read-only"
	a.apply(spec)
	other := spec
	other.User, other.Role = "other", "other"
	a.apply(other)
	as := a.as(spec)
	if got := a.signIn(spec, as, "GET a"); got != "$-1" {
		t.Errorf("GET says %q", got)
	}
	if got := a.signIn(spec, as, "SET a b"); !strings.HasPrefix(got, "-NOPERM") {
		t.Errorf("who may read only, is told %q", got)
	}
	if got := a.signIn(other, as, "GET a"); !strings.HasPrefix(got, "-WRONGPASS") {
		t.Errorf("who signs in as another user is told %q", got)
	}
}

func TestAnInterruptedRunIsGoneOnWith(t *testing.T) {
	for _, mode := range []string{"before a call is sent", "after a call, unheard"} {
		t.Run(mode, func(t *testing.T) {
			a := newAccount(t, emulator.Config{})
			before := a.inventory()
			specs := kinds()
			specs[0].Trust, specs[1].Group = "ec2", "people"
			for _, spec := range specs {
				t.Run(nameOf(spec), func(t *testing.T) {
					a.t = t
					interrupted := func(n int, run func(context.Context, *setup.Setup) error) bool {
						ctx, cancel := context.WithCancel(t.Context())
						defer cancel()
						s := a.setup(spec)
						s.Clients = a.clients(a.admin, &breaking{n: n, after: strings.HasPrefix(mode, "after"), end: cancel})
						err := run(ctx, s)
						if (err == nil) != (ctx.Err() == nil) {
							t.Fatalf("ended by call %d: %v", n, err)
						}
						return err != nil
					}
					apply := func(ctx context.Context, s *setup.Setup) error { return only(s.Apply(ctx)) }
					destroy := func(ctx context.Context, s *setup.Setup) error { return s.Destroy(ctx) }
					n := 1
					for ; interrupted(n, apply); n++ {
						a.apply(spec)
						if got := a.signIn(spec, a.admin, "PING"); got != "+PONG" {
							t.Errorf("ended by call %d and applied again, PING says %q", n, got)
						}
						a.destroy(spec)
						a.unchanged(before)
					}
					if n < 15 {
						t.Errorf("it made %d calls only: nothing was interrupted", n)
					}
					for n = 1; interrupted(n, destroy); n++ {
						rest := spec
						rest.Group = "" // it is found
						a.destroy(rest)
						a.unchanged(before)
						a.apply(spec)
					}
					a.unchanged(before)
				})
			}
		})
	}
}

// The SDK tries again when an answer is lost, and is told that it is done already.
func TestALostAnswerIsNoFailure(t *testing.T) {
	a := newAccount(t, emulator.Config{})
	before := a.inventory()
	spec := kinds()[1]
	spec.Trust = "ec2"
	over := false
	for n := 1; !over; n++ {
		s := a.setup(spec)
		client := &breaking{n: n, after: true}
		s.Clients = a.clients(a.admin, client)
		if _, err := s.Apply(t.Context()); err != nil {
			t.Errorf("the answer %d is lost: %v", n, err)
		}
		over = client.n > 0
		s = a.setup(spec)
		s.Clients = a.clients(a.admin, &breaking{n: n, after: true})
		if err := s.Destroy(t.Context()); err != nil {
			t.Errorf("the answer %d is lost: %v", n, err)
		}
		a.unchanged(before)
	}
}
