package rotate

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
)

// A Plan is what Rotate would do.
type Plan struct {
	Secret  string `json:"secret"`  // ARN
	Version string `json:"version"` // the id of the version that is to become current, or that is and has an old password left
	// Resume is empty for a new rotation, CreateSecret for one that has begun, and
	// FinishSecret for one that has but to end the old password.
	Resume string `json:"resume,omitempty"`
}

// Plan looks at a secret without changing anything, and signs in with its current
// password.
func (r *Rotator) Plan(ctx context.Context, id string) (plan Plan, err error) {
	if err := r.check(ctx); err != nil {
		return plan, err
	}
	s, err := r.look(ctx, id)
	if err != nil {
		return plan, err
	}
	now, found, err := r.value(ctx, s, s.with(current))
	switch {
	case err != nil:
		return plan, err
	case !found:
		return plan, fmt.Errorf("the secret %s has no value that is %s", s.name, current)
	}
	if err := r.suits(ctx, s, now); err != nil {
		return plan, err
	}
	if now.password != "" {
		if err := s.target.Try(ctx, r.Poll, now.password); err != nil {
			return plan, fmt.Errorf("the current password: %w", err)
		}
	}
	plan = Plan{Secret: s.arn, Version: s.with(pending), Resume: CreateSecret}
	if plan.Version != "" && plan.Version != s.with(current) {
		return plan, nil
	}
	before, _, err := r.value(ctx, s, s.with(previous))
	if err == nil && before.password != "" && before.password != now.password {
		err = s.target.Try(ctx, r.Poll, before.password)
		if err == nil || errors.Is(err, ErrPartly) {
			return Plan{s.arn, s.with(current), FinishSecret}, nil
		}
	}
	if passes(err) || ctx.Err() != nil {
		return plan, err
	}
	return Plan{Secret: s.arn, Version: s.next()}, nil
}

// next is the id of the version after the current one. It follows from the secret, so
// that two runs at once, and one after another that was cut short, make the same
// version. One that is labelled is older: somebody has gone back to the version before
// it.
func (s secret) next() string {
	for n := 0; ; n++ {
		sum := sha256.Sum256(fmt.Appendf(nil, "rediam rotate %s %s %d", s.arn, s.with(current), n))
		id := fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
		if len(s.versions[id]) == 0 {
			return id
		}
	}
}

// Rotate does a whole rotation, or the rest of one that has begun, without a Lambda
// function.
func (r *Rotator) Rotate(ctx context.Context, id string) (Plan, error) {
	plan, err := r.Plan(ctx, id)
	if err != nil {
		return plan, err
	}
	todo := steps
	switch plan.Resume {
	case "":
		if err := r.begin(ctx, plan); err != nil {
			return plan, fmt.Errorf("%s: %w", CreateSecret, err)
		}
	case FinishSecret:
		todo = []string{FinishSecret}
		r.Poll.say("the last rotation has left the old password valid: this is the rest of it")
	default:
		r.Poll.say("the rotation that has begun goes on")
	}
	for _, step := range todo {
		s, err := r.look(ctx, plan.Secret)
		if err == nil {
			err = r.step(ctx, s, Event{Step: step, SecretID: plan.Secret, ClientRequestToken: plan.Version})
		}
		if err != nil {
			return plan, err
		}
	}
	return plan, nil
}

// begin makes the version pending, as Secrets Manager does before it calls a function.
func (r *Rotator) begin(ctx context.Context, plan Plan) error {
	s, err := r.look(ctx, plan.Secret)
	if err != nil || slices.Contains(s.versions[plan.Version], pending) {
		return err
	}
	_, found, err := r.value(ctx, s, plan.Version)
	if err != nil {
		return err
	}
	if found { // of a rotation that was cancelled: AWS may know its password
		return r.move(ctx, s, pending, plan.Version, s.with(pending))
	}
	return r.create(ctx, s, Event{ClientRequestToken: plan.Version})
}
