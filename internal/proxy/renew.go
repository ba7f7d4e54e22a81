package proxy

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/rediam/rediam"
)

// outcomes are what becomes of renewals; the first three are good.
var outcomes = []string{"renewed", "inserted", "unconfirmed", "refused", "unanswered", "unsigned", "busy"}

const (
	// turnPause is how long a renewal waits for a turn, more or less, before it looks
	// again whether there is one.
	turnPause = 50 * time.Millisecond

	// watchEvery is how often somebody looks at a connection at which nothing moves,
	// or ticks times in IdleTime.
	watchEvery = 30 * time.Second
	ticks      = 4
)

var (
	errOver  = errors.New("the connection has ended")
	errLate  = errors.New("the sign-in was not answered in time")
	errState = errors.New("the connection is in a state in which nobody can sign in")
)

// tendWhileOpen has tend called when it is time, and idle clients cut, until stop is
// called, which waits for what goes on.
func (j *joint) tendWhileOpen(ctx context.Context) (stop func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.due = time.AfterFunc(j.proxy.untilDue()-time.Since(j.server.SignIn.SignedIn()), func() { j.tend(ctx) })
	idle := j.watchIdle()
	return func() {
		j.due.Stop()
		idle()
		j.tending.Lock() // one that comes later finds that ctx is done
		defer j.tending.Unlock()
	}
}

// tend signs in again: it is time, or RESET has signed out, or a sign-in has been
// answered that was late.
func (j *joint) tend(ctx context.Context) {
	j.tending.Lock()
	defer j.tending.Unlock()
	switch answered, waits, err := j.lateAnswer(); {
	case ctx.Err() != nil:
		return
	case waits: // its answer decides
		j.schedule(j.retry())
		return
	case answered:
		j.server.SignIn.Begin(ctx)
		j.server.SignIn.End(err)
		if j.conclude("inserted", err) == nil {
			j.schedule(j.proxy.untilDue())
			return
		}
	case j.isSignedOut():
		j.comeBack(ctx)
		return
	}
	switch err := j.renew(ctx); {
	case err == nil:
		j.schedule(j.proxy.untilDue())
	case errors.Is(err, errOver):
	case errors.Is(err, errLate): // it may well have been taken
		j.proxy.log.Warn("renewal failed", "client", j.name(), "error", err)
		j.schedule(j.proxy.untilDue())
	default:
		j.proxy.log.Warn("renewal failed", "client", j.name(), "error", err)
		j.schedule(j.retry())
	}
}

// untilDue is when a connection that has just signed in is to do so again.
func (p *Proxy) untilDue() time.Duration {
	if !p.SignIns.Renews() {
		return math.MaxInt64
	}
	return p.renewal.Jittered()
}

// schedule has tend called after d, unless it is to be called at once.
func (j *joint) schedule(d time.Duration) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.urgent {
		d = 0
	}
	j.due.Reset(d)
}

// soon has tend called at once, or again when it returns. The caller holds mu.
func (j *joint) soon() {
	j.urgent = true
	j.due.Reset(0)
}

func (j *joint) retry() time.Duration { return jittered(j.proxy.renewal.Retry()) }

// comeBack signs in after RESET. The client waits for that, and is told if it cannot
// be done.
func (j *joint) comeBack(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, j.proxy.connectTime())
	defer cancel()
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		err := j.renew(ctx)
		switch {
		case err == nil:
			j.schedule(j.proxy.untilDue())
			return
		case !passing(err) || !sleep(ctx, jittered(pause)):
			j.proxy.log.Warn("sign-in after RESET failed", "client", j.name(), "error", err)
			j.down.Lock()
			j.refuse(err)
			j.down.Unlock()
			j.part()
			j.client.Close()
			j.end() // for the client that waits
			return
		}
	}
}

func (j *joint) isSignedOut() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.session.SignedOut()
}

// lateAnswer begins a turn of tend: it is the answer to a sign-in that was not
// answered in time, if there was one; waits is whether it is not there yet.
func (j *joint) lateAnswer() (answered, waits bool, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.urgent = false
	select {
	case err := <-j.late:
		j.late = nil
		return true, false, err
	default:
		return false, j.late != nil, nil
	}
}

// renew waits for a moment at which a sign-in can go in, and signs in. The client
// waits from that moment on, and is let go whatever comes of it. If there is no
// answer in time, tend is called when it comes.
func (j *joint) renew(ctx context.Context) error {
	// A provider of credentials may take its time, which the client need not wait for.
	if _, err := j.proxy.SignIns.Sign(ctx); err != nil {
		return j.failed("unsigned", err)
	}
	how, err := j.moment()
	defer j.release()
	for err == nil && !j.server.SignIn.TryBegin() { // nobody is held for the turns of others
		j.release()
		if !sleep(ctx, jittered(turnPause)) {
			return errOver
		}
		how, err = j.moment()
	}
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, j.proxy.holdTime())
	defer cancel()
	signed := false
	err = j.server.SignIn.SignIn(limited, func(token rediam.Token) error {
		signed = true
		return j.ask(ctx, limited, how, token)
	})
	if !signed {
		return j.failed("unsigned", err)
	}
	return err
}

// ask sends a sign-in and waits for the answer, until limited is over.
func (j *joint) ask(ctx, limited context.Context, how string, token rediam.Token) error {
	answer := make(chan error, 1)
	err := j.inject(how, token.User, token.Password, func(err error) {
		answer <- err
		if j.late == answer {
			j.soon()
		}
	})
	switch {
	case err != nil:
		return err
	case how == "unconfirmed":
		return j.conclude(how, nil)
	}
	select {
	case err := <-answer:
		return j.conclude(how, err)
	case <-limited.Done():
		return j.outOfTime(ctx, how, answer)
	}
}

// outOfTime is for a sign-in that was not answered in time.
func (j *joint) outOfTime(ctx context.Context, how string, answer chan error) error {
	if ctx.Err() != nil && len(answer) == 0 {
		j.server.SignIn.Close()
		return errOver
	}
	j.mu.Lock()
	if len(answer) == 0 {
		j.late = answer
	}
	j.mu.Unlock()
	if j.late == nil { // it has just come
		return j.conclude(how, <-answer)
	}
	return j.failed("unanswered", errLate)
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

// conclude counts the answer to a sign-in.
func (j *joint) conclude(how string, err error) error {
	if err != nil {
		return j.failed("refused", err)
	}
	j.proxy.metrics.renewals.WithLabelValues(how).Inc()
	j.mu.Lock()
	defer j.mu.Unlock()
	j.told = false
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
		case !j.told:
			j.told = true
			j.overdue(j.session.Bar())
			continue
		}
		stop := time.AfterFunc(wait, j.wake)
		j.changed.Wait()
		stop.Stop()
	}
	j.hold(true)
	return "renewed", nil
}

// overdue tells the operator of a connection that should have been renewed. The caller
// holds mu, and does not meanwhile.
func (j *joint) overdue(state string) {
	j.mu.Unlock()
	defer j.mu.Lock()
	j.proxy.metrics.late.WithLabelValues(state).Inc()
	j.proxy.log.Warn("a connection could not be renewed yet, and ends when the service ends it", "client", j.name(), "state", state)
}

// watchIdle looks now and then whether the client is idle, or has gone without
// anybody reading it, until stop is called.
func (j *joint) watchIdle() (stop func()) {
	every := watchEvery
	if j.proxy.IdleTime > 0 {
		every = max(min(every, j.proxy.IdleTime/ticks), time.Millisecond)
	}
	var timer *time.Timer
	timer = time.AfterFunc(every, func() {
		if j.cutIdle() {
			timer.Reset(every)
		}
	})
	return func() { timer.Stop() }
}

// wake has whoever waits for the session look again.
func (j *joint) wake() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.changed.Broadcast()
}

// cutIdle counts how often nothing has moved since it was called before, and is true
// until the client has been cut for that.
func (j *joint) cutIdle() (again bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	now := j.turns + j.asked
	moves := now != j.moved
	j.moved = now
	switch {
	case !moves && j.writing && j.driver.gone(): // it has gone, or will wait for what cannot be asked
		j.client.Close()
		j.server.Close()
		return false
	case moves || j.unread || j.waiting || j.writing || !j.session.Idle() || j.proxy.IdleTime <= 0:
		j.still = 0
		return !j.over
	}
	if j.still++; j.still < ticks {
		return !j.over
	}
	j.client.Close()
	return false
}
