package world

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// A Rotation is how a secret gets new values, and the one that is under way.
type Rotation struct {
	Known    bool // it has been switched on at some time
	Enabled  bool
	Function string // ARN
	Rules    RotationRules
	Next     time.Time `json:",omitzero"` // when it is due; zero if it never is

	Token string // id of the version that the rotation under way makes; empty if none is
	Test  bool   // it is testSecret alone
}

// RotationRules say when to rotate: one of Days and Schedule, or neither for never.
type RotationRules struct {
	Days     int
	Schedule string // rate(10 days), rate(4 hours)
	Duration string // of the window, which is shown only
}

const maxRotationDays = 1000

var (
	rate     = regexp.MustCompile(`^rate\(([1-9][0-9]{0,3}) (hour|day)s?\)$`)
	duration = regexp.MustCompile(`^[0-9]{1,2}h$`)
)

// every is the time between two rotations; 0 if there are no rules.
func (r RotationRules) every() (time.Duration, error) {
	const day = 24 * time.Hour
	switch {
	case r.Days != 0 && r.Schedule != "":
		return 0, errorf("InvalidParameterException", "You can't specify both AutomaticallyAfterDays and ScheduleExpression.")
	case r.Days < 0 || r.Days > maxRotationDays:
		return 0, errorf("InvalidParameterException", "RotationRules.AutomaticallyAfterDays must be within 1-1000.")
	case r.Duration != "" && !duration.MatchString(r.Duration):
		return 0, errorf("InvalidParameterException", "Duration must be a number of hours such as 3h.")
	case r.Schedule == "":
		return time.Duration(r.Days) * day, nil
	}
	m := rate.FindStringSubmatch(r.Schedule)
	if m == nil {
		return 0, errorf("InvalidParameterException", "ScheduleExpression must be rate(N days) or rate(N hours): the emulator has no cron expressions.")
	}
	n, _ := strconv.Atoi(m[1])
	every := time.Duration(n) * time.Hour
	if m[2] == "day" {
		every *= 24
	}
	if every < 4*time.Hour || every > maxRotationDays*day {
		return 0, errorf("InvalidParameterException", "ScheduleExpression must be from 4 hours to %d days.", maxRotationDays)
	}
	return every, nil
}

// schedule sets when the next rotation is due.
func (w *World) schedule(r *Rotation) error {
	every, err := r.Rules.every()
	r.Next = time.Time{}
	if every > 0 && r.Enabled {
		r.Next = w.now().Add(every).UTC()
	}
	return err
}

// A RotateSecret asks for a rotation.
type RotateSecret struct {
	Token    string
	Function string         // ARN; empty means that of before
	Rules    *RotationRules // nil means those of before
	Test     bool           // for testSecret alone
}

// RotateSecret switches the rotation of a secret on and begins one, of a version that
// has no value yet. Whoever runs rotations looks for it in Rotations.
func (w *World) RotateSecret(id string, r RotateSecret) (s StoredSecret, err error) {
	if err := checkVersionID(r.Token); err != nil {
		return s, err
	}
	var refused error
	s, err = w.editSecret(id, func(s *StoredSecret) error {
		if r.Function = cmp.Or(r.Function, s.Rotation.Function); r.Function == "" {
			return errorf("InvalidRequestException", "No Lambda rotation function ARN is associated with this secret.")
		}
		if v := s.unfinished(); v != nil && v.ID != r.Token {
			refused = errorf("InvalidRequestException", "A previous rotation isn't complete. That rotation will be reattempted.")
			if s.Rotation.Token == "" && s.Rotation.Function != "" {
				s.Rotation.Token, s.Rotation.Test = v.ID, false
			}
			return nil
		}
		v := s.version(r.Token)
		if v != nil && slices.Contains(v.Stages, StageCurrent) { // it is over
			return nil
		}
		if v != nil && !slices.Contains(v.Stages, StagePending) {
			return errTokenUsed(s, r.Token)
		}
		s.Rotation.Known, s.Rotation.Enabled, s.Rotation.Function = true, true, r.Function
		if r.Rules != nil {
			s.Rotation.Rules = *r.Rules
		}
		if err := w.schedule(&s.Rotation); err != nil {
			return err
		}
		return w.beginRotation(s, r.Token, r.Test)
	})
	return s, cmp.Or(err, refused)
}

// unfinished is the version of a rotation that is under way or has failed; nil if
// there is none.
func (s *StoredSecret) unfinished() *SecretVersion {
	if v := s.Labelled(StagePending); v != nil && !slices.Contains(v.Stages, StageCurrent) {
		return v
	}
	return nil
}

// beginRotation begins a rotation, or one that has failed again. AWS does not say what
// value the version has that testSecret sees: here it is the current one, with which a
// function can sign in.
func (w *World) beginRotation(s *StoredSecret, token string, test bool) error {
	s.Rotation.Token, s.Rotation.Test = token, test
	if s.version(token) != nil {
		return nil
	}
	if err := w.addVersion(s, token); err != nil {
		return err
	}
	if current := s.Labelled(StageCurrent); test && current != nil {
		v := s.version(token)
		v.Value, v.Binary = current.Value, current.Binary
	}
	s.label(token, StagePending)
	return s.checkStages()
}

// BeginRotations begins the rotations that are due. One that cannot begin is due again
// another time; the errors say which.
func (w *World) BeginRotations() error {
	var problems []error
	err := w.change(func() error {
		for _, key := range w.secrets.keys() {
			s := w.secrets.rows[key].copy()
			if r := s.Rotation; r.Next.IsZero() || w.now().Before(r.Next) || r.Token != "" || !s.Deleted.IsZero() {
				continue
			}
			token := uuid()
			if v := s.unfinished(); v != nil {
				token = v.ID
			}
			if err := w.beginRotation(&s, token, false); err != nil {
				problems = append(problems, fmt.Errorf("secret %s: %w", s.Name, err))
				s = w.secrets.rows[key].copy()
				w.schedule(&s.Rotation) // its rules have been checked
			}
			w.secrets.put(key, s)
		}
		return nil
	})
	return errors.Join(append(problems, err)...)
}

// Rotations are the secrets of which a rotation is under way.
func (w *World) Rotations() (all []StoredSecret) {
	return slices.DeleteFunc(w.StoredSecrets(), func(s StoredSecret) bool { return s.Rotation.Token == "" })
}

// NextRotation is when the next rotation is due; zero if none ever is.
func (w *World) NextRotation() (next time.Time) {
	for _, s := range w.StoredSecrets() {
		if at := s.Rotation.Next; !at.IsZero() && s.Rotation.Token == "" && s.Deleted.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return next
}

// EndRotation ends a rotation, unless it has been cancelled. One that has failed leaves
// its labels as they are, and has another try when the next is due.
func (w *World) EndRotation(arn, token string, failed bool) error {
	_, err := w.editAnySecret(arn, func(s *StoredSecret) error {
		if s.Rotation.Token != token {
			return nil
		}
		s.endTest()
		s.Rotation.Token = ""
		if s.Rotation.Test {
			return nil
		}
		if !failed {
			s.Rotated = w.now().UTC()
		}
		return w.schedule(&s.Rotation)
	})
	if errors.Is(err, errNoSecret) { // deleted meanwhile
		return nil
	}
	return err
}

// endTest takes the version away that was there for testSecret alone.
func (s *StoredSecret) endTest() {
	if s.Rotation.Test {
		s.Versions = slices.DeleteFunc(s.Versions, func(v SecretVersion) bool {
			return v.ID == s.Rotation.Token && !slices.Contains(v.Stages, StageCurrent)
		})
	}
}

// RotationDone is whether the version of a rotation has become the current one, which
// is what AWS takes for success: AWSPENDING is there, too, or nowhere.
func (w *World) RotationDone(arn string) bool {
	s, err := w.StoredSecret(arn)
	if err != nil {
		return false
	}
	return s.unfinished() == nil
}

// CancelRotation switches the rotation of a secret off, and gives one up that is under
// way, whose version it tells. The labels stay as they are.
func (w *World) CancelRotation(id string) (s StoredSecret, version string, err error) {
	s, err = w.editSecret(id, func(s *StoredSecret) error {
		version = s.Rotation.Token
		s.endTest()
		s.Rotation.Enabled, s.Rotation.Token, s.Rotation.Next = false, "", time.Time{}
		return nil
	})
	return s, version, err
}
