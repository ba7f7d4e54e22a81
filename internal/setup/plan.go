package setup

import (
	"context"
	"fmt"
	"slices"
)

// A thing is one resource: how to look at it, and the call that makes it.
type thing struct {
	kind, name string
	wants      []Difference // what it is made with, to be shown
	look       func(context.Context) (found, error)
	create     Call
	then       []Call // what look finds to be done once it is made
	await      string // for scripts: the words of the AWS CLI that print its state
}

func (t thing) String() string { return t.kind + " " + t.name }

// found is what there is of a thing.
type found struct {
	there bool
	busy  string // what AWS is doing with it: creating, modifying, deleting
	ours  bool   // it has the tag of this cache
	// differences are what is not as it should be, and fix the calls that make it so.
	differences []Difference
	fix         []Call
	note        string // what else there is to know
	refused     error  // why it cannot be used, and must not be changed
	// remove are the calls that take it away, or what of setup's is on it if it stays;
	// kept is why one of setup's stays.
	remove []Call
	kept   string
}

// A Plan is what there is and what would be done, in order.
type Plan struct {
	Account string `json:"account"`
	Region  string `json:"region"`
	Cache   string `json:"cache"` // ARNs
	User    string `json:"user"`
	Role    string `json:"role,omitempty"`
	Steps   []Step `json:"steps"`
}

// Nothing is whether nothing would be done.
func (p Plan) Nothing() bool {
	for _, s := range p.Steps {
		if len(s.Calls) > 0 {
			return false
		}
	}
	return true
}

// An Action is what is done with a thing.
type Action string

// The actions. What is kept is setup's, and in use by others.
const (
	Make   Action = "make"
	Change Action = "change"
	Delete Action = "delete"
	None   Action = "none"
	Keep   Action = "keep"
)

// A Step is about one thing.
type Step struct {
	Kind        string       `json:"kind"`
	Name        string       `json:"name"`
	Action      Action       `json:"action"`
	Adopted     bool         `json:"adopted"` // it is there, and setup has not made it for this cache
	Differences []Difference `json:"differences,omitempty"`
	Note        string       `json:"note,omitempty"`
	Calls       []Call       `json:"calls,omitempty"`

	await, busy string
}

// A Difference is between what is and what is wanted.
type Difference struct {
	What string `json:"what"`
	Is   string `json:"is,omitempty"`
	Want string `json:"want,omitempty"`
	Left bool   `json:"left,omitempty"` // setup does not change it, since it has not made it
}

func (t thing) step(f found) Step {
	s := Step{Kind: t.kind, Name: t.name, Action: None, Adopted: f.there && !f.ours, Differences: f.differences, Note: f.note, Calls: f.fix, await: t.await, busy: f.busy}
	switch {
	case !f.there || f.busy == "deleting":
		s.Action, s.Adopted, s.Differences, s.Calls = Make, false, t.wants, append([]Call{t.create}, t.then...)
	case len(f.fix) > 0:
		s.Action = Change
	}
	if f.busy != "" { // a cache shows its tags afterwards
		s.Adopted = false
		s.Note = "AWS is " + f.busy + " it, which is waited for"
	}
	return s
}

func (t thing) leave(f found) Step {
	s := Step{Kind: t.kind, Name: t.name, Action: None, Adopted: !f.ours, Calls: f.remove}
	switch {
	case f.ours && f.kept == "":
		s.Action = Delete
	case len(f.remove) > 0:
		s.Action = Change
	case f.ours:
		s.Action = Keep
	}
	s.Note = f.kept
	return s
}

func (s *Setup) look(ctx context.Context, t thing) (found, error) {
	f, err := t.look(ctx)
	return f, explain("look at "+t.String(), err)
}

// attempts counts calls about a thing that have failed.
type attempts struct{ failed int }

func (a *attempts) none() bool { return a.failed == 0 }

// next looks again after a call. One that has failed may have done its work: the SDK
// tries again when an answer is lost. What is there already may take IAM a while to show.
func (a *attempts) next(err error) error {
	if err == nil {
		return errAgain
	}
	if passes(err) {
		return err
	}
	switch a.failed++; {
	case a.failed == 1:
		return errAgain
	case alreadyThere(err) && a.failed < maxAttempts:
		return passing{err}
	}
	return err
}

const maxAttempts = 10

// bring makes a thing what it should be.
func (s *Setup) bring(ctx context.Context, t thing) error {
	made, fixed, failed, odd := false, false, attempts{}, 0
	return s.until(ctx, func() error {
		f, err := s.look(ctx, t)
		made = made && !f.there // what has shown and is gone again has been deleted meanwhile
		switch {
		case err != nil:
			return err
		case f.refused != nil:
			return f.refused
		case f.busy != "":
			return waitFor("%s is %s", t, f.busy)
		case !f.there && made:
			return waitFor("%s does not show yet", t)
		case !f.there:
			if failed.none() {
				s.say("making %s", t)
			}
			err := s.run(ctx, "make "+t.String(), t.create)
			made = err == nil
			return failed.next(err)
		case len(f.fix) > 0 && fixed:
			if odd++; odd == maxAttempts && !slices.ContainsFunc(f.differences, func(d Difference) bool { return d.What != accessString }) {
				s.say("AWS shows the access string of %s in other words: %s", t, f.differences[0].Is)
				return nil
			}
			return waitFor("%s does not show the change yet", t)
		case len(f.fix) > 0:
			if failed.none() {
				s.say("changing %s: %s", t, changes(f.differences))
			}
			err := s.run(ctx, "change "+t.String(), f.fix...)
			fixed = err == nil
			return failed.next(err)
		}
		return nil
	})
}

// remove takes a thing away if it is setup's, or what of setup's is on it.
func (s *Setup) remove(ctx context.Context, t thing) error {
	removed, failed := false, attempts{}
	return s.until(ctx, func() error {
		f, err := s.look(ctx, t)
		switch {
		case err != nil:
			return err
		case !f.there:
			return nil
		case f.busy != "":
			return waitFor("%s is %s", t, f.busy)
		case len(f.remove) == 0:
			return nil
		case removed:
			return waitFor("%s still shows", t)
		}
		switch {
		case !failed.none():
		case f.ours && f.kept == "":
			s.say("deleting %s", t)
		default:
			s.say("changing %s, which stays", t)
		}
		err = s.run(ctx, "delete "+t.String(), f.remove...)
		removed = err == nil
		return failed.next(err)
	})
}

func (s *Setup) run(ctx context.Context, doing string, calls ...Call) error {
	for _, c := range calls {
		if err := c.do(ctx); err != nil {
			return explain(doing, err)
		}
	}
	return nil
}

func changes(all []Difference) (text string) {
	for _, d := range all {
		if d.Left {
			continue
		}
		if text != "" {
			text += "; "
		}
		text += fmt.Sprintf("%s %s", d.What, d.Want)
	}
	return text
}
