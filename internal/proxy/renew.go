package proxy

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// outcomes are what becomes of renewals; the first three are good.
var outcomes = []string{"renewed", "inserted", "unconfirmed", "refused", "unanswered", "unsigned", "busy"}

var (
	errOver  = errors.New("the connection has ended")
	errLate  = errors.New("the sign-in was not answered in time")
	errState = errors.New("the connection is in a state in which nobody can sign in")
)

// tend signs in again whenever it is time, or RESET has signed out, and cuts a
// client that has been idle for too long, until ctx is done.
func (j *joint) tend(ctx context.Context) {
	due := time.NewTimer(j.proxy.renewal.Jittered())
	defer due.Stop()
	idle, stop := j.idleTicks()
	defer stop()
	var late <-chan error // of a sign-in that was not answered in time
	for {
		select {
		case <-ctx.Done():
			return
		case <-idle:
			j.cutIdle()
			continue
		case err := <-late:
			late = nil
			if j.server.SignIn.Begin(ctx); j.conclude("inserted", err) == nil {
				continue
			}
		case <-due.C:
		case <-j.kick:
		}
		if late != nil { // its answer decides
			due.Reset(jittered(j.proxy.renewal.Retry()))
			continue
		}
		var err error
		late, err = j.renew(ctx)
		next := j.proxy.renewal.Jittered()
		if err != nil && late == nil {
			next = jittered(j.proxy.renewal.Retry())
		}
		if err != nil && !errors.Is(err, errOver) && ctx.Err() == nil {
			j.proxy.log.Warn("renewal failed", "client", j.name(), "error", err)
		}
		due.Reset(next)
	}
}

// renew waits for a moment at which a sign-in can go in, and signs in. The client
// waits from that moment on, and is let go whatever comes of it. An answer that does
// not come in time comes from late.
func (j *joint) renew(ctx context.Context) (late <-chan error, err error) {
	// A provider of credentials may take its time, which the client need not wait for.
	if _, err := j.proxy.SignIns.Sign(ctx); err != nil {
		return nil, j.failed("unsigned", err)
	}
	how, err := j.moment()
	defer j.release()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, j.proxy.holdTime())
	defer cancel()
	token, err := j.server.SignIn.Sign(ctx)
	if err != nil {
		return nil, j.failed("unsigned", err)
	}
	answer := make(chan error, 1)
	if err := j.inject(how, token.User, token.Password, func(err error) { answer <- err }); err != nil {
		j.server.SignIn.End(err)
		return nil, err
	}
	if how == "unconfirmed" {
		return nil, j.conclude(how, nil)
	}
	select {
	case err := <-answer:
		return nil, j.conclude(how, err)
	case <-ctx.Done():
		j.server.SignIn.End(errLate)
		return answer, j.failed("unanswered", errLate)
	}
}

// inject writes a sign-in to the server.
func (j *joint) inject(how, user, password string, answered func(error)) error {
	j.up.Lock()
	defer j.up.Unlock()
	j.mu.Lock()
	var up []byte
	var ok bool
	switch how {
	case "renewed":
		up, ok = j.session.Renew(user, password, answered)
	case "inserted":
		up, ok = j.session.Insert(user, password, answered)
	case "unconfirmed":
		up, ok = j.session.Blind(user, password)
	}
	j.mu.Unlock()
	if !ok {
		return j.failed("busy", errState)
	}
	_, err := j.server.Conn.Write(up)
	return err
}

// conclude tells of the answer to a sign-in.
func (j *joint) conclude(how string, err error) error {
	j.server.SignIn.End(err)
	if err != nil {
		return j.failed("refused", err)
	}
	j.proxy.metrics.renewals.WithLabelValues(how).Inc()
	return nil
}

func (j *joint) failed(outcome string, err error) error {
	j.proxy.metrics.renewals.WithLabelValues(outcome).Inc()
	return err
}

// release lets the client go on, even if a sign-in is not answered yet.
func (j *joint) release() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.hold(false)
	j.session.Resume()
	j.turn()
}

// moment waits until a sign-in can go in, and tells what it will be if it is
// answered well. The client is held where that leads to such a moment, and at it.
// Where something stays unanswered while the client has more to say, or does not
// read, the sign-in goes in behind that; where replies are off and it is late,
// without an answer.
func (j *joint) moment() (how string, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	late := j.server.SignIn.SignedIn().Add(j.proxy.renewal.After + j.proxy.renewal.Spread)
	var stuck time.Time // since when the client has waited for this, or not read
	reported := false
	for holding := false; !j.session.Safe(); {
		if j.over {
			return "", errOver
		}
		if settles := j.session.Settles(); settles != holding {
			holding = settles
			j.hold(holding) // or the client may go on
		}
		switch now := time.Now(); {
		case !j.waiting && !j.unread:
			stuck = time.Time{}
		case stuck.IsZero():
			stuck = now
		case now.Sub(stuck) < j.proxy.holdTime():
		case j.session.Insertable():
			return "inserted", nil
		default:
			return "", j.failed("busy", fmt.Errorf("the client has waited for %v already, and there was no moment at which a sign-in could go in: %s", now.Sub(stuck).Round(time.Millisecond), j.session.Bar()))
		}
		wait := j.proxy.holdTime()
		switch left := time.Until(late); {
		case left > 0:
			wait = min(wait, left)
		case j.session.Blindable():
			return "unconfirmed", nil
		case !reported:
			reported = true
			j.late(j.session.Bar())
			continue
		}
		stop := time.AfterFunc(wait, j.changed.Broadcast)
		j.changed.Wait()
		stop.Stop()
	}
	j.hold(true)
	return "renewed", nil
}

// late tells the operator of a connection that should have been renewed. The caller
// holds mu, and does not meanwhile.
func (j *joint) late(state string) {
	j.mu.Unlock()
	defer j.mu.Lock()
	j.proxy.metrics.late.WithLabelValues(state).Inc()
	j.proxy.log.Warn("a connection could not be renewed yet, and ends when the service ends it", "client", j.name(), "state", state)
}

// idleTicks comes four times in IdleTime.
func (j *joint) idleTicks() (ticks <-chan time.Time, stop func()) {
	if j.proxy.IdleTime <= 0 {
		return nil, func() {}
	}
	ticker := time.NewTicker(max(j.proxy.IdleTime/4, time.Millisecond))
	return ticker.C, ticker.Stop
}

// cutIdle is called with every tick: it counts those at which nothing has moved
// since the one before.
func (j *joint) cutIdle() {
	j.mu.Lock()
	defer j.mu.Unlock()
	now := j.turns + j.asked
	if now != j.moved || !j.session.Idle() {
		j.moved, j.still = now, 0
		return
	}
	if j.still++; j.still >= 4 {
		j.client.Close()
	}
}
