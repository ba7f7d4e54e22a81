package rotate

import (
	"context"
	"errors"
	"fmt"
)

// An account is what takes two passwords for a while: how one is added, and how one is
// left alone, is the same for tokens and users.
type account struct {
	ready  func(context.Context) error // nil once nothing is changing
	login  func(ctx context.Context, nodes []string, password string) ([]string, error)
	change func(context.Context) error // asks AWS to add the new password, or to leave it alone
	two    func() bool                 // whether it is known to have a second password; nil means that nobody knows
}

// add asks for the change once the new password is refused twice with nothing changing
// in between, since a change that has just been asked for may not show yet; and is done
// when every node takes the password. It decides by sign-ins alone, so that it can be
// cut short anywhere and done again.
func (a account) add(ctx context.Context, p Poll, of Passwords) error {
	refused, asked := 0, false
	return p.until(ctx, func() (bool, error) {
		if err := a.ready(ctx); err != nil {
			refused = 0
			return false, err
		}
		_, err := a.login(ctx, nil, of.New)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, ErrPartly):
			refused = 0
			return false, passing{err}
		case !errors.Is(err, ErrRefused) && !errors.Is(err, ErrOpen):
			refused = 0
			return false, err
		case asked:
			return false, waitFor("until the cache takes the new password")
		}
		if refused++; refused < 2 {
			return false, waitFor("in case that a change is under way")
		}
		if err := a.hasCurrent(ctx, of); err != nil {
			return false, err
		}
		p.say("the new password is added")
		err = a.change(ctx)
		refused, asked = 0, err == nil
		if err == nil {
			err = waitFor("until the cache takes the new password")
		}
		return false, err
	})
}

// hasCurrent is an error unless the current password works: what replaces another one
// would lock out whoever uses that.
func (a account) hasCurrent(ctx context.Context, of Passwords) error {
	if of.Current == "" {
		return nil
	}
	_, err := a.login(ctx, nil, of.Current)
	switch {
	case errors.Is(err, ErrPartly):
		return passing{err}
	case errors.Is(err, ErrRefused):
		return fmt.Errorf("neither the new password nor the current one of the secret works, so nothing is changed: %w", err)
	case errors.Is(err, ErrOpen):
		return nil
	}
	return err
}

// keep asks for the change unless the old password is refused by every node already,
// and is done when it is.
func (a account) keep(ctx context.Context, p Poll, of Passwords) error {
	asked := false
	return p.until(ctx, func() (bool, error) {
		if err := a.ready(ctx); err != nil {
			return false, err
		}
		nodes, err := a.login(ctx, nil, of.New)
		switch {
		case errors.Is(err, ErrRefused):
			return false, fmt.Errorf("the new password does not work: %w", err)
		case errors.Is(err, ErrPartly):
			return false, passing{err}
		case err != nil && !errors.Is(err, ErrOpen):
			return false, err
		}
		gone, open := asked, err != nil
		if of.Old != "" && !open {
			_, err := a.login(ctx, nodes, of.Old)
			if err != nil && !errors.Is(err, ErrRefused) && !errors.Is(err, ErrPartly) {
				return false, err
			}
			gone = errors.Is(err, ErrRefused)
		}
		if a.two != nil {
			gone = (gone || of.Old == "") && !a.two()
		}
		if gone && !open {
			return true, nil
		}
		if !asked {
			err := a.change(ctx)
			if asked = err == nil; !asked {
				return false, err
			}
		}
		return false, waitFor("until the cache refuses the old password")
	})
}
