package rotate_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rediam/rediam/rotate"
)

// each runs a test for every strategy.
func each(t *testing.T, test func(t *testing.T, strategy int)) {
	for i, s := range strategies {
		t.Run(s.name, func(t *testing.T) { test(t, i) })
	}
}

func TestRotationByLambdaAndByCommand(t *testing.T) {
	each(t, func(t *testing.T, strategy int) {
		f, r := rig(strategy)
		f.start(second)
		if err := lambda(t.Context(), r, second); err != nil {
			t.Fatal(err)
		}
		rotated(t, f)
		for range 3 {
			before := f.password(t, "AWSCURRENT")
			if _, err := r.Rotate(t.Context(), secretName); err != nil {
				t.Fatal(err)
			}
			rotated(t, f)
			if f.password(t, "AWSCURRENT") == before {
				t.Error("the password is the same as before")
			}
		}
		if f.modifies != 4*2 {
			t.Errorf("4 rotations took %d changes, want 8", f.modifies)
		}
	})
}

func TestRotationSurvivesThatEveryCallFailsOnce(t *testing.T) {
	faults := map[string]func(seen map[string]bool) faultFunc{
		"throttled": func(seen map[string]bool) faultFunc {
			return func(_ int, call string, done bool) error {
				if done || seen[call] {
					return nil
				}
				seen[call] = true
				return throttled()
			}
		},
		"answered after it was lost": func(seen map[string]bool) faultFunc {
			return func(_ int, call string, done bool) error {
				if !done || seen[call] {
					return nil
				}
				seen[call] = true
				return lost(call)
			}
		},
		"lost at every fifth point or so": func(map[string]bool) faultFunc {
			random := rand.New(rand.NewPCG(1, 2))
			return func(_ int, call string, _ bool) error {
				if random.IntN(5) == 0 {
					return lost(call)
				}
				return nil
			}
		},
	}
	for name, fault := range faults {
		for by, run := range drivers {
			t.Run(name+", by "+by, func(t *testing.T) {
				each(t, func(t *testing.T, strategy int) {
					f, r := rig(strategy)
					f.at = fault(map[string]bool{})
					f.lag = lag{busy: 2, blind: 1, behind: 2}
					if err := run(t.Context(), f, r); err != nil {
						t.Fatal(err)
					}
					rotated(t, f)
				})
			})
		}
	}
}

// drivers start a rotation, or go on with one.
var drivers = map[string]func(context.Context, *fake, *rotate.Rotator) error{
	"Lambda": func(ctx context.Context, f *fake, r *rotate.Rotator) error {
		f.mu.Lock()
		begun := f.versions[second] != nil
		f.mu.Unlock()
		if !begun {
			f.start(second)
		}
		return lambda(ctx, r, second)
	},
	"command": func(ctx context.Context, f *fake, r *rotate.Rotator) error {
		_, err := r.Rotate(ctx, secretName)
		return err
	},
}

// The kill matrix: the rotation ends before and after each call in turn, then is done
// again.
func TestRotationStoppedAtEveryCallConverges(t *testing.T) {
	lags := map[string]lag{"at once": {}, "late": {busy: 2, blind: 1, behind: 3}}
	for by, run := range drivers {
		for when, lag := range lags {
			t.Run("by "+by+", changes take effect "+when, func(t *testing.T) {
				each(t, func(t *testing.T, strategy int) {
					f, r := rig(strategy)
					f.lag = lag
					if err := run(t.Context(), f, r); err != nil {
						t.Fatal(err)
					}
					points := len(f.calls)
					if points < 30 {
						t.Fatalf("a rotation has %d points to stop at only", points)
					}
					for n := 1; n <= points; n++ {
						stopAndGoOn(t, strategy, lag, n, run)
					}
				})
			})
		}
	}
}

func stopAndGoOn(t *testing.T, strategy int, lag lag, stop int, run func(context.Context, *fake, *rotate.Rotator) error) {
	t.Helper()
	f, r := rig(strategy)
	f.lag = lag
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	f.at = func(n int, _ string, _ bool) error {
		if n == stop {
			cancel()
		}
		return ctx.Err()
	}
	err := run(ctx, f, r)
	f.at = nil
	stoppedAt := fmt.Sprintf("stopped at %d (%s): ", stop, f.calls[len(f.calls)-1])
	if err == nil {
		t.Error(stoppedAt + "there is no error")
	}
	if now := f.password(t, "AWSCURRENT"); !slices.Contains(f.accepted, now) {
		t.Fatal(stoppedAt + "the current password is not accepted")
	}
	if err := run(t.Context(), f, r); err != nil {
		t.Fatal(stoppedAt, err)
	}
	rotated(t, f)
	if want := 2*(len(f.versions)-1) + 1; f.modifies > want { // the one that it stopped at may have been done again
		t.Errorf("%s%d changes, want %d at most", stoppedAt, f.modifies, want)
	}
	if t.Failed() {
		t.Fatal(stoppedAt + "see above")
	}
}

func TestRotationsAtOnceConverge(t *testing.T) {
	for by, run := range drivers {
		t.Run("by "+by, func(t *testing.T) {
			each(t, func(t *testing.T, strategy int) {
				f, r := rig(strategy)
				f.lag = lag{busy: 3, blind: 2, behind: 3}
				f.start(second)
				if by == "command" {
					f.label("", "AWSPENDING")
					delete(f.versions, second)
				}
				var wg sync.WaitGroup
				for range 8 {
					wg.Go(func() {
						// One may come too late for its step: Secrets Manager, or whoever
						// called, tries again.
						if run(t.Context(), f, r) != nil {
							run(t.Context(), f, r)
						}
					})
				}
				wg.Wait()
				// A command that comes when the others are done begins another rotation.
				if rotations := len(f.versions) - 1; by == "Lambda" && rotations != 1 {
					t.Errorf("%d rotations, want 1", rotations)
				}
				rotated(t, f)
			})
		})
	}
}

func TestRotationGuardRefusesWhatIsNotToBeRotated(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*fake)
		event  rotate.Event
		want   string
	}{
		"rotation is off":       {func(f *fake) { f.enabled = false }, rotate.Event{Step: "createSecret", SecretID: secretARN, ClientRequestToken: second}, "not enabled"},
		"an unknown version":    {nil, rotate.Event{Step: "createSecret", SecretID: secretARN, ClientRequestToken: "33333333-3333-3333-3333-333333333333"}, "no version"},
		"a version not pending": {func(f *fake) { f.versions[second].labels = []string{"mine"} }, rotate.Event{Step: "createSecret", SecretID: secretARN, ClientRequestToken: second}, "not AWSPENDING"},
		"an unknown step":       {nil, rotate.Event{Step: "dropSecret", SecretID: secretARN, ClientRequestToken: second}, "no such step"},
		"another secret":        {func(f *fake) {}, rotate.Event{Step: "createSecret", SecretID: "other", ClientRequestToken: second}, "describe"},
	} {
		t.Run(name, func(t *testing.T) {
			f, r := rig(user)
			f.start(second)
			if c.change != nil {
				c.change(f)
			}
			if err := r.Handle(t.Context(), c.event); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Handle() = %v, want %q", err, c.want)
			}
			if f.versions[second].value != nil || f.modifies > 0 {
				t.Error("something was changed")
			}
		})
	}
	f, r := rig(user)
	if err := lambda(t.Context(), r, first); err != nil || f.modifies > 0 { // it is current: done
		t.Errorf("of a version that is current: %v, %d changes", err, f.modifies)
	}
}

// What cannot be rotated is found out before anything has been changed.
func TestRotationRefusesBadInputAndChangesNothing(t *testing.T) {
	all := []int{token, user, memoryUser}
	holds := func(value string) func(*fake) {
		return func(f *fake) { f.versions[first].value = &value }
	}
	for name, c := range map[string]struct {
		strategies []int
		change     func(*fake)
		want       string
	}{
		"no JSON":                   {all, holds(`{"password":"` + oldest), "neither a JSON object nor a password"},
		"a list":                    {all, holds(`["` + oldest + `"]`), "neither a JSON object nor a password"},
		"binary":                    {all, func(f *fake) { f.versions[first].binary = true }, "binary"},
		"no value":                  {all, func(f *fake) { f.versions[first].value = nil }, "no value that is AWSCURRENT"},
		"no field":                  {all, holds(`{"port":6379}`), "version of the secret has no"},
		"an empty field":            {all, holds(`{"password":""}`), "version of the secret has no"},
		"a field that is no string": {all, holds(`{"password":["` + oldest + `"]}`), "the field password of the secret is no string"},
		"another cache":             {[]int{token}, holds(`{"replicationGroupId":"other","authToken":"` + oldest + `"}`), "another replication group"},
		"a user for an AUTH token":  {[]int{token}, holds(`{"username":"orders-app","password":"` + oldest + `"}`), "that of a user"},
		"another user":              {[]int{user, memoryUser}, holds(`{"username":"other","password":"` + oldest + `"}`), "another user"},
		"another user's ARN":        {[]int{user, memoryUser}, holds(`{"user_arn":"arn:aws:elasticache:eu-west-1:123456789012:user:other","password":"` + oldest + `"}`), "another user"},
		"a user with IAM":           {[]int{user, memoryUser}, func(f *fake) { f.auth = "iam" }, "authentication is iam"},
		"a user without a password": {[]int{user}, func(f *fake) { f.auth = "no-password" }, "authentication is no-password"},
		"a user who is off":         {[]int{user, memoryUser}, func(f *fake) { f.access = "off ~* +@all" }, "says off"},
		"a cache without a token":   {[]int{token}, func(f *fake) { f.accepted, f.open = nil, true }, "has no AUTH token"},
		"stuck in modifying":        {all, func(f *fake) { f.busy = 1 << 30 }, "is modifying"},
	} {
		for by, run := range drivers {
			for _, strategy := range c.strategies {
				t.Run(name+", "+strategies[strategy].name+" by "+by, func(t *testing.T) {
					f, r := rig(strategy)
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					r.Poll.Progress = func(what string) {
						if strings.HasPrefix(what, "waiting: ") { // long enough
							cancel()
						}
					}
					c.change(f)
					accepted := f.accepted
					err := run(ctx, f, r)
					if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), oldest) {
						t.Errorf("the rotation ends with %v, want %q", err, c.want)
					}
					for _, call := range f.calls {
						if !strings.HasPrefix(call, "Describe") && !strings.HasPrefix(call, "Get") && !strings.HasPrefix(call, "List") && call != "login" {
							t.Errorf("%s was called", call)
						}
					}
					if !slices.Equal(f.accepted, accepted) || f.labelled("AWSCURRENT") != first {
						t.Error("the current password is not what it was")
					}
				})
			}
		}
	}
}

// Who has put a pending version there by hand may have mistaken the secret.
func TestRotationRefusesAPendingVersionOfAnother(t *testing.T) {
	for strategy, value := range map[int]string{
		token:      `{"replicationGroupId":"other","authToken":"NewPassword0000000000000000000000000000"}`,
		user:       `{"username":"other","password":"NewPassword0000000000000000000000000000"}`,
		memoryUser: `{"username":"other","password":"NewPassword0000000000000000000000000000"}`,
	} {
		for by, run := range drivers {
			f, r := rig(strategy)
			f.start(second)
			f.versions[second].value = &value
			if err := run(t.Context(), f, r); err == nil || !strings.Contains(err.Error(), "the pending version: the secret is that of another") {
				t.Errorf("%s by %s: the rotation ends with %v", strategies[strategy].name, by, err)
			}
			if f.modifies > 0 || f.labelled("AWSCURRENT") != first {
				t.Error("something was changed")
			}
		}
	}
}

func TestRotationTakesASecretByNameOrARN(t *testing.T) {
	for _, id := range []string{secretName, secretARN} {
		for _, allowed := range []string{secretName, secretARN} {
			f, r := rig(user)
			r.Targets = map[string]rotate.Target{allowed: r.Targets[secretName]}
			f.start(second)
			for _, step := range allSteps {
				if err := r.Handle(t.Context(), rotate.Event{Step: step, SecretID: id, ClientRequestToken: second}); err != nil {
					t.Fatalf("%s as %s: %v", id, allowed, err)
				}
			}
			rotated(t, f)
		}
	}
}

func TestRotationKeepsTheShapeOfTheSecret(t *testing.T) {
	for strategy, values := range map[int][]string{
		user:  {`{"username":"orders-app","password":"` + oldest + `","port":6379,"big":12345678901234567890,"html":"<&>","nested":{"password":"x"},"authToken":"not mine"}`, oldest},
		token: {`{"authToken":"` + oldest + `","replicationGroupId":"orders"}`, `{"password":"` + oldest + `"}`, oldest},
	} {
		for _, value := range values {
			f, r := rig(strategy)
			f.versions[first].value = &value
			if _, err := r.Rotate(t.Context(), secretName); err != nil {
				t.Fatal(err)
			}
			now := *f.versions[f.labelled("AWSCURRENT")].value
			back := strings.Replace(now, f.accepted[0], oldest, 1)
			if !strings.HasPrefix(value, "{") {
				if back != value {
					t.Error("a secret that was a password alone is no more")
				}
				continue
			}
			var was, is map[string]json.RawMessage
			if err := errors.Join(json.Unmarshal([]byte(value), &was), json.Unmarshal([]byte(back), &is)); err != nil {
				t.Fatal(err)
			}
			if fmt.Sprintf("%s", was) != fmt.Sprintf("%s", is) {
				t.Errorf("the secret was %s and is %s", value, back)
			}
		}
	}
}

// Secrets Manager wants it back where another account's function or a role rotates.
func TestRotationGivesTheRotationTokenBack(t *testing.T) {
	for _, token := range []rotate.Hidden{"", "rotation-token-0123456789-0123456789"} {
		f, r := rig(user)
		f.start(second)
		e := event(rotate.CreateSecret, second)
		e.RotationToken = token
		if err := r.Handle(t.Context(), e); err != nil || f.given != string(token) {
			t.Errorf("PutSecretValue has the token %q, want %q; %v", f.given, string(token), err)
		}
	}
}

func TestRotationNeedsTimeForItsGrace(t *testing.T) {
	f, r := rig(user)
	r.Grace = time.Hour
	f.start(second)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := lambda(ctx, r, second)
	if err == nil || !strings.Contains(err.Error(), "grace") || f.modifies > 0 {
		t.Errorf("Handle() = %v with %d changes, want an error about the grace", err, f.modifies)
	}
}

func TestRotationThatIsStoppedInItsGraceKeepsBothPasswords(t *testing.T) {
	each(t, func(t *testing.T, strategy int) {
		f, r := rig(strategy)
		r.Grace = time.Hour
		ctx, cancel := context.WithCancel(t.Context())
		r.Poll.Progress = func(what string) {
			if strings.HasPrefix(what, "the old password stays valid") {
				cancel()
			}
		}
		if _, err := r.Rotate(ctx, secretName); !errors.Is(err, context.Canceled) {
			t.Fatalf("Rotate() = %v", err)
		}
		if now := f.password(t, "AWSCURRENT"); len(f.accepted) != 2 || !slices.Contains(f.accepted, oldest) || !slices.Contains(f.accepted, now) {
			t.Fatalf("%d passwords are accepted, want the old and the new one", len(f.accepted))
		}
		now := f.password(t, "AWSCURRENT")
		r.Grace = -1
		plan, err := r.Rotate(t.Context(), secretName)
		if err != nil || plan.Resume != rotate.FinishSecret || f.password(t, "AWSCURRENT") != now {
			t.Errorf("Rotate() = %+v, %v, want the rest of the last rotation", plan, err)
		}
		rotated(t, f)
	})
}

func TestRotationLeavesAnotherThatHasBegunInItsGraceAlone(t *testing.T) {
	each(t, func(t *testing.T, strategy int) {
		f, r := rig(strategy)
		r.Grace = time.Millisecond
		third, begun := "33333333-3333-3333-3333-333333333333", false
		r.Poll.Progress = func(what string) {
			if strings.HasPrefix(what, "the old password stays valid") && !begun {
				begun = true
				f.start(third)
				for _, step := range allSteps[:2] {
					if err := r.Handle(t.Context(), rotate.Event{Step: step, SecretID: secretARN, ClientRequestToken: third}); err != nil {
						t.Error(err)
					}
				}
			}
		}
		f.start(second)
		if err := lambda(t.Context(), r, second); err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(f.accepted, f.password(t, "AWSPENDING")) || !slices.Contains(f.accepted, f.password(t, "AWSCURRENT")) {
			t.Fatal("a password of the rotation that had begun meanwhile was dropped")
		}
		if err := lambda(t.Context(), r, third); err != nil {
			t.Fatal(err)
		}
		rotated(t, f)
	})
}

// A rotation that begins in the grace of the one before it would drive out the password
// that has the grace.
func TestRotationThatFollowsAtOnceKeepsTheGraceOfTheLast(t *testing.T) {
	each(t, func(t *testing.T, strategy int) {
		f, r := rig(strategy)
		r.Grace = time.Hour
		stopIn := func(what string, do func(ctx context.Context) error) {
			t.Helper()
			ctx, cancel := context.WithCancel(t.Context())
			r.Poll.Progress = func(said string) {
				if strings.HasPrefix(said, what) {
					cancel()
				}
			}
			if err := do(ctx); !errors.Is(err, context.Canceled) {
				t.Fatalf("%q does not come: %v", what, err)
			}
		}
		f.start(second)
		stopIn("the old password stays valid", func(ctx context.Context) error { return lambda(ctx, r, second) })
		third := "33333333-3333-3333-3333-333333333333"
		f.start(third)
		stopIn("the last rotation has left the old password valid", func(ctx context.Context) error { return lambda(ctx, r, third) })
		if !slices.Contains(f.accepted, oldest) || f.modifies != 1 {
			t.Error("the old password is not valid in its grace")
		}
		r.Grace = -1
		if err := lambda(t.Context(), r, third); err != nil {
			t.Fatal(err)
		}
		rotated(t, f)
	})
}

func TestRotationPlanChangesNothing(t *testing.T) {
	each(t, func(t *testing.T, strategy int) {
		f, r := rig(strategy)
		plan, err := r.Plan(t.Context(), secretName)
		if err != nil || plan.Resume != "" || plan.Version == "" || plan.Secret != secretARN {
			t.Errorf("Plan() = %+v, %v", plan, err)
		}
		if len(f.versions) != 1 || f.modifies != 0 {
			t.Error("something was changed")
		}
		after, err := r.Rotate(t.Context(), secretName)
		if err != nil || after != plan {
			t.Errorf("Rotate() = %+v, %v, want the plan %+v", after, err, plan)
		}
	})
}

// After a rotation that was cancelled the cache knows two passwords, and a third would
// drive out the current one.
func TestRotationAfterACancelledOneLocksNobodyOut(t *testing.T) {
	third := "33333333-3333-3333-3333-333333333333"
	for by, run := range map[string]func(context.Context, *fake, *rotate.Rotator) error{
		"Lambda": func(ctx context.Context, f *fake, r *rotate.Rotator) error {
			f.start(third)
			return lambda(ctx, r, third)
		},
		"command": drivers["command"],
	} {
		for cancelled, begin := range drivers {
			t.Run("of one by "+cancelled+", by "+by, func(t *testing.T) {
				each(t, func(t *testing.T, strategy int) {
					f, r := rig(strategy)
					f.at = func(_ int, call string, _ bool) error {
						if call == "UpdateSecretVersionStage" {
							return errors.New("no")
						}
						return nil
					}
					if begin(t.Context(), f, r) == nil {
						t.Fatal("there is no error")
					}
					f.at = nil
					f.label("", "AWSPENDING") // the operator
					if err := run(t.Context(), f, r); err != nil {
						t.Fatal(err)
					}
					rotated(t, f)
				})
			})
		}
	}
}

// Somebody has changed the password by hand, and uses it.
func TestRotationRefusesASecretWhosePasswordIsNotThatOfTheCache(t *testing.T) {
	for _, run := range drivers {
		each(t, func(t *testing.T, strategy int) {
			f, r := rig(strategy)
			f.accepted = []string{"SetByHand"}
			f.kept = f.accepted
			err := run(t.Context(), f, r)
			if !errors.Is(err, rotate.ErrRefused) || f.modifies > 0 || f.password(t, "AWSCURRENT") != oldest {
				t.Errorf("the rotation ends with %v and %d changes, want %v and none", err, f.modifies, rotate.ErrRefused)
			}
		})
	}
}
