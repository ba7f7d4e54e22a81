package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/internal/dial"
	"github.com/rediam/rediam/internal/resp"
)

// A joint is a client connection and its connection to the cache, with the session
// between them. Its driver moves the bytes; a goroutine that renews is there only
// while it does.
type joint struct {
	proxy  *Proxy
	driver driver
	client net.Conn
	server *dial.Conn
	intake *intake // of the client
	wrong  int32   // passwords of the client

	answered chan struct{} // closed when nothing more comes from the server
	leaves   bool          // the client has gone, and the server's may be another client's
	reused   bool          // the server's connection was another client's
	heard    atomic.Bool   // something has come from the server
	leaving  atomic.Bool   // the server is to be read no more, by this joint
	released bool          // it is not, and nothing else is the reason; answered guards it

	// up is held from a call of Client or Renew until what it returned is written,
	// down from one of Server or Local; mu within them.
	up, down sync.Mutex

	mu      sync.Mutex // guards below; never held across I/O
	changed *sync.Cond // the session, or one of these
	session Session
	turns   uint64      // how often the server has sent something, or a hold has ended
	asked   uint64      // how often the client has
	waiting bool        // bytes of the client wait
	held    bool        // and are counted as held
	unread  bool        // bytes for the client wait for it
	writing bool        // bytes for the server wait for it
	mute    bool        // the client is told nothing more
	told    bool        // the operator has been told that a renewal is overdue
	ending  bool        // the proxy is about to end: the client is held for good
	over    bool        // nothing moves any more
	moved   uint64      // what turns and asked were together at the last tick of IdleTime, and
	still   int32       // for how many ticks
	due     *time.Timer // calls tend
	urgent  bool        // tend is to be called at once
	late    chan error  // gets the answer of a sign-in that was not answered in time; nil if there is none

	tending sync.Mutex // held by tend
}

func newJoint(p *Proxy, client net.Conn) *joint {
	j := &joint{proxy: p, client: client, intake: newIntake(client), answered: make(chan struct{})}
	j.driver = goroutines{j}
	j.changed = sync.NewCond(&j.mu)
	j.session.Password, j.session.Keep = p.Password, p.Spare > 0
	return j
}

// serve joins the client to the cache until either has ended, and calls done then,
// which may be after it has returned. ending asks for that, and cutting does not ask.
// A loop moves the bytes if there are any and it can.
func (j *joint) serve(cutting, ending context.Context, ls *loops, done func()) {
	taken, up, ok := j.open(ending)
	if !ok {
		j.intake.release()
		done()
		return
	}
	if ls != nil {
		adopted, err := ls.adopt(j)
		if err != nil {
			j.refuse(err)
			j.part()
			j.proxy.spares.expect()
			j.giveBack()
			j.intake.release()
			done()
			return
		}
		j.driver = adopted
	}
	cut := context.AfterFunc(cutting, func() {
		j.client.Close()
		j.server.Close()
	})
	aside(func() { write(j.server.Conn, up) }) // if it fails, so does what reads the server
	j.proxy.metrics.toCache.Add(float64(taken))
	j.intake.take(taken)
	finish := context.AfterFunc(ending, j.finish)
	ctx, cancel := context.WithCancel(cutting)
	stop := sync.OnceFunc(j.tendWhileOpen(ctx))
	j.driver.run(func() {
		kept := j.leave(func() { cancel(); stop() })
		if !kept {
			j.end()
			cancel()
			j.server.CloseWrite()
			silent := time.AfterFunc(finishTime, j.suspect)
			j.linger()
			silent.Stop()
			j.server.Close()
		}
		j.client.Close()
		<-j.answered
		stop()
		finish()
		cut()
		if kept {
			j.giveBack()
		}
		j.intake.release()
		done()
	})
}

// suspect drops the connections that are kept if nothing has come from one of them, not
// even its end: the node may be gone without a word, and theirs with it.
func (j *joint) suspect() {
	if j.reused && !j.heard.Load() {
		j.proxy.spares.drop()
	}
}

// giveBack has the server's connection wait for another client, or closes it.
func (j *joint) giveBack() {
	if !j.proxy.spares.put(j.server, j.proxy.Spare) {
		j.server.Close()
	}
}

// open waits for the client's first request and for a connection that is signed in.
// What it returns is to be written to that, for the first bytes taken of the client's;
// it is not ok if the client cannot be served.
func (j *joint) open(ending context.Context) (taken int, up [][]byte, ok bool) {
	stop := context.AfterFunc(ending, func() { j.client.Close() }) // nothing has been asked yet
	defer func() { stop() }()
	if taken, up, ok = j.greet(); !ok {
		return
	}
	server, err := j.connect(ending)
	if err != nil {
		j.proxy.metrics.refused.WithLabelValues("sign_in").Inc()
		j.proxy.log.Warn("sign-in failed", "client", j.name(), "error", err)
		j.refuse(err)
		j.part()
		return 0, nil, false
	}
	j.server = server
	if !stop() {
		server.Close()
		return 0, nil, false
	}
	return taken, up, true
}

func (j *joint) name() string { return j.client.RemoteAddr().String() }

// greet waits for the first thing that the client says, and for its password if it
// needs one. What it returns is to be written to the server, for the first bytes
// taken of the client's.
func (j *joint) greet() (taken int, up [][]byte, ok bool) {
	limit := j.proxy.IdleTime
	if j.session.Locked() {
		limit = j.proxy.connectTime()
	}
	if limit > 0 {
		timer := time.AfterFunc(limit, func() { j.client.Close() })
		defer func() { ok = timer.Stop() && ok }()
	}
	for {
		if err := j.intake.read(); err != nil {
			return 0, nil, false
		}
		taken, up, err := j.session.Client(j.intake.bytes(), j.intake.full())
		j.notice(j.session.WrongPasswords())
		if err != nil {
			if !errors.Is(err, errQuit) {
				j.proxy.metrics.refused.WithLabelValues("protocol").Inc()
			}
			j.settle(err)
			j.part()
			return 0, nil, false
		}
		if !j.session.Locked() && (taken > 0 || len(up) > 0) {
			return taken, up, true
		}
		j.intake.take(taken)
		if j.local() != nil {
			return 0, nil, false
		}
	}
}

// connect gives the client a connection that another has left, or has it wait for one
// of its own.
func (j *joint) connect(ctx context.Context) (*dial.Conn, error) {
	if spare := j.proxy.spares.take(); spare != nil {
		j.proxy.metrics.reused.Inc()
		j.reused = true
		return spare, nil
	}
	return j.signIn(ctx)
}

// signIn has the client wait for its connection to the cache.
func (j *joint) signIn(ctx context.Context) (*dial.Conn, error) {
	j.proxy.metrics.held.Inc()
	defer j.proxy.metrics.held.Dec()
	var server *dial.Conn
	var err error
	aside(func() { server, err = j.proxy.signIn(ctx, j.client) })
	return server, err
}

// aside calls f in a goroutine that ends: the stack that it needs goes with it.
func aside(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	<-done
}

// end lets whoever waits for the session see that it is over.
func (j *joint) end() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.over = true
	j.goesOn(0)
	j.changed.Broadcast()
}

// linger waits until everything is answered, as long as something is.
func (j *joint) linger() {
	for {
		before := j.progress()
		select {
		case <-j.answered:
			return
		case <-time.After(closeTime):
		}
		if j.progress() == before {
			return
		}
	}
}

// progress changes whenever something moves.
func (j *joint) progress() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.turns + j.asked
}

// finish has the client wait, so that what it has asked can be answered, and closes
// it when that is so.
func (j *joint) finish() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.ending = true
	j.hold(true)
	for !j.over && (j.unread || !j.session.Answered()) {
		j.changed.Wait()
	}
	j.mu.Unlock()
	j.part()
	j.client.Close()
	j.mu.Lock()
}

// part tells the client that nothing more comes. A close with something of its own
// unread would take back what it has not read yet.
func (j *joint) part() { j.driver.part() }

// hold has the client wait, or lets it go on. The caller holds mu.
func (j *joint) hold(on bool) {
	j.session.Hold(on || j.ending)
	j.turn()
}

// refuse answers the client with what has failed.
func (j *joint) refuse(err error) {
	j.mu.Lock()
	j.mute = true
	j.mu.Unlock()
	j.client.SetDeadline(time.Now().Add(closeTime))
	line, _, _ := strings.Cut(strings.TrimPrefix(err.Error(), "rediam: "), "\n")
	j.client.Write(resp.AppendError(nil, "ERR rediam: cannot sign in: "+line+"; "+j.proxy.hintFor(err)))
}

// hintFor is what to do about a sign-in that failed, with the ids of the causes that
// rediam doctor tells apart.
func (p *Proxy) hintFor(err error) string {
	switch {
	case !p.SignIns.Renews():
		return "look at the secret, and at how its rotation went"
	case rediam.CauseOf(err) != rediam.CauseRefused:
		return "rediam doctor, with the same flags, says more"
	}
	return "rediam doctor, with the same flags, tells which it is of wrong-region, name-unknown, resource-type-missing, resource-type-extra, user-unknown, user-not-in-group, user-off, policy-lacks-cache, policy-lacks-user, wrong-principal, clock-skew, credentials-expired"
}

// take gives the session requests, and writes what it makes of them. It tells what
// of the server's has been seen then.
func (j *joint) take() (seen uint64, err error) {
	j.up.Lock()
	j.mu.Lock()
	taken, parts, err := j.session.Client(j.intake.bytes(), j.intake.full())
	seen, due, wrong := j.turns, j.session.Due(), j.session.WrongPasswords()
	j.asked++
	j.writing = true
	j.mu.Unlock()
	j.notice(wrong)
	written := write(j.server.Conn, parts)
	j.mu.Lock()
	j.writing, _ = j.driver.behind()
	j.mu.Unlock()
	j.up.Unlock()
	j.proxy.metrics.toCache.Add(float64(taken))
	j.intake.take(taken)
	if due {
		written = errors.Join(written, j.local())
	}
	return seen, errors.Join(err, written)
}

// goesOn is about bytes that the session has left: again is whether it may take more
// of them now, and waits, whether it may once the session has moved on, which is
// noted; if neither, more have to come from the client first. seen are the turns when
// it has left them. The caller holds mu.
func (j *joint) goesOn(seen uint64) (again, waits bool) {
	held := !j.over && j.session.Held()
	waits = held || !j.over && j.session.Waits() && j.turns == seen
	again = !j.over && !waits && (j.waiting || j.turns != seen)
	if waits != j.waiting {
		j.waiting = waits
		j.changed.Broadcast()
	}
	switch {
	case held && !j.held:
		j.proxy.metrics.held.Inc()
	case !held && j.held:
		j.proxy.metrics.held.Dec()
	}
	j.held = held
	return again, waits
}

// notice tells the operator of passwords that were wrong, which tells the client
// nothing.
func (j *joint) notice(n int) {
	if n := int32(n); n != j.wrong {
		j.proxy.metrics.refused.WithLabelValues("password").Add(float64(n - j.wrong))
		j.proxy.log.Warn("wrong password", "client", j.name(), "times", n)
		j.wrong = n
	}
}

// settle lets what has been answered reach the client when the session ends here.
func (j *joint) settle(why error) {
	if !gone(why) && !errors.Is(why, errQuit) {
		j.proxy.log.Warn("connection closed", "client", j.name(), "why", why)
	}
	j.local()
}

// local writes the answers of the session's own that are due.
func (j *joint) local() error {
	j.down.Lock()
	defer j.down.Unlock()
	j.mu.Lock()
	parts := j.session.Local()
	if len(parts) > 0 {
		j.turn()
	}
	return j.deliver(parts)
}

// pass gives the session what the server has sent, and writes what it makes of it.
func (j *joint) pass(b []byte) error {
	j.heard.Store(true)
	j.down.Lock()
	defer j.down.Unlock()
	j.mu.Lock()
	signedOut := j.session.SignedOut()
	parts, wrong := j.session.Server(b)
	if j.session.demoted {
		j.session.demoted = false
		defer j.proxy.spares.drop() // they are of the same server, for all that is known
	}
	if !signedOut && j.session.SignedOut() {
		j.soon()
	}
	j.turn()
	if wrong != nil {
		defer j.proxy.log.Warn("connection closed", "client", j.name(), "why", wrong)
	}
	return errors.Join(wrong, j.deliver(parts))
}

// deliver writes to the client. The caller holds down and mu, and mu no more when it
// returns.
func (j *joint) deliver(parts [][]byte) error {
	if j.mute {
		parts = nil
	}
	j.unread = len(parts) > 0
	j.mu.Unlock()
	err := write(j.client, parts)
	j.mu.Lock()
	defer j.mu.Unlock()
	_, j.unread = j.driver.behind()
	j.changed.Broadcast()
	return err
}

// turn tells that the session has moved on. The caller holds mu.
func (j *joint) turn() {
	j.turns++
	j.changed.Broadcast()
	if j.waiting {
		j.driver.wake()
	}
}

// write writes parts at one go: for TLS each would be a record of its own.
func write(w io.Writer, parts [][]byte) (err error) {
	switch len(parts) {
	case 0:
	case 1:
		_, err = w.Write(parts[0])
	default:
		_, err = w.Write(bytes.Join(parts, nil))
	}
	return err
}
