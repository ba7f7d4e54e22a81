package proxy

import (
	"context"
	"errors"
	"time"
)

var (
	errBusy  = errors.New("no moment at which a sign-in could go in without delaying the client")
	errOver  = errors.New("the connection has ended")
	errLate  = errors.New("the sign-in was not answered in time")
	errState = errors.New("the connection is in a state in which nobody can sign in")
)

// renewals signs in again whenever it is time, or RESET has signed out, until ctx is
// done.
func (j *joint) renewals(ctx context.Context) {
	timer := time.NewTimer(j.renewal.Jittered())
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-j.kick:
		}
		next := j.renewal.Jittered()
		if err := j.renew(ctx); err != nil {
			next = j.renewal.Retry()
			if !errors.Is(err, errOver) && ctx.Err() == nil {
				j.proxy.log().Warn("renewal failed", "client", j.client.RemoteAddr().String(), "error", err)
			}
		}
		timer.Reset(next)
	}
}

// renew waits for a safe point and signs in there. The client waits from the safe
// point on, and is let go whatever comes of it.
func (j *joint) renew(ctx context.Context) error {
	defer j.hold(false)
	if err := j.safePoint(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, holdTime)
	defer cancel()
	token, err := j.server.SignIn.Sign(ctx)
	if err != nil {
		return err
	}
	var outcome error
	answered := false
	j.up.Lock()
	j.mu.Lock()
	up, ok := j.session.Renew(token.User, token.Password, func(err error) { outcome, answered = err, true })
	j.mu.Unlock()
	if ok {
		_, err = j.server.Write(up)
	}
	j.up.Unlock()
	switch {
	case !ok:
		return errState
	case err != nil:
		return err
	case !j.waitFor(holdTime, func() bool { return answered }):
		return errLate
	}
	return outcome
}

func (j *joint) hold(on bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.session.Hold(on)
	if !on {
		j.session.Resume()
	}
	j.turn()
}

// safePoint holds the client, whenever that leads to one, until a sign-in may go in.
func (j *joint) safePoint() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	var held time.Time // since when requests have waited
	for holding := false; !j.session.Safe(); {
		if j.over {
			return errOver
		}
		if settles := j.session.Settles(); settles != holding {
			holding = settles
			j.session.Hold(holding)
			j.changed.Broadcast() // the client may go on
		}
		switch {
		case j.waiting == 0:
			held = time.Time{}
		case held.IsZero():
			held = time.Now()
		case time.Since(held) > holdTime:
			return errBusy
		}
		stop := time.AfterFunc(holdTime, j.changed.Broadcast)
		j.changed.Wait()
		stop.Stop()
	}
	j.session.Hold(true)
	return nil
}

// waitFor waits until done, which is called with mu held, and no longer than d.
func (j *joint) waitFor(d time.Duration, done func() bool) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	deadline := time.Now().Add(d)
	defer time.AfterFunc(d, j.changed.Broadcast).Stop()
	for !done() && !j.over && time.Now().Before(deadline) {
		j.changed.Wait()
	}
	return done()
}
