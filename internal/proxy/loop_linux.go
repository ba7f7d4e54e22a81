package proxy

import (
	"cmp"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

var loopDrivers = []string{"loop"}

const (
	// chunk is how much is read from a server at once.
	chunk = 64 << 10

	// maxBehind is how much may wait for a client that is still read. Where anything
	// waits the server is not, so that only answers of the session's own come on top.
	maxBehind = 2 * chunk
)

// maxLoops move more than a node answers.
const maxLoops = 8

// loops are event loops, one for each core.
type loops struct {
	all  []*loop
	next atomic.Uint32
}

// cores has Go use one processor more than there are cores: the scheduler then leaves a
// loop that waits its own. Otherwise, as often as one waits for longer than 20 µs, it
// takes that away and wakes another thread to look for work.
var cores = sync.OnceValue(func() int {
	n := runtime.GOMAXPROCS(0)
	runtime.GOMAXPROCS(n + 1)
	return n
})

// systemCalls are what a loop reads and writes with; nil means those of the system.
type systemCalls struct {
	read, write func(fd int, b []byte) (int, error)
	ctl         func(poll, op, fd int, event *unix.EpollEvent) error
}

// rawCall is read or write for descriptors that do not block, which needs no help of the
// scheduler's.
func rawCall(call uintptr) func(int, []byte) (int, error) {
	return func(fd int, b []byte) (int, error) {
		n, _, errno := unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		if errno != 0 {
			return -1, errno
		}
		return int(n), nil
	}
}

// startLoops has loops run until stop is called, when there must be no joints any more.
func startLoops(calls systemCalls) (ls *loops, stop func(), err error) {
	if calls.read == nil {
		calls.read, calls.write = rawCall(unix.SYS_READ), rawCall(unix.SYS_WRITE)
	}
	if calls.ctl == nil {
		calls.ctl = unix.EpollCtl
	}
	ls = &loops{}
	var running sync.WaitGroup
	stop = func() {
		for _, l := range ls.all {
			unix.Write(l.bell, []byte{1, 0, 0, 0, 0, 0, 0, 0})
		}
		running.Wait()
	}
	for range min(cores(), maxLoops) {
		l, err := newLoop(calls)
		if err != nil {
			stop()
			return nil, nil, err
		}
		ls.all = append(ls.all, l)
		running.Go(l.run)
	}
	return ls, stop, nil
}

// adopt gives a joint to a loop for good, or leaves it to its driver if that cannot be,
// for want of descriptors or of room in epoll, or because its connections are not those
// of the system. A server that has been another's can have no driver but a loop: that is
// an error.
func (ls *loops) adopt(j *joint) (driver, error) {
	far, ok := j.server.NetConn().(*half)
	p := &pair{joint: j, near: &half{Conn: j.client}, far: far, left: make(chan struct{}),
		loop: ls.all[ls.next.Add(1)%uint32(len(ls.all))]}
	if !ok {
		return j.driver, nil
	}
	reused := far.fd > 0
	err := p.near.belongTo(p)
	if err == nil {
		if err = far.belongTo(p); err != nil {
			unix.Close(p.near.fd)
		}
	}
	switch {
	case err != nil && reused:
		return nil, err
	case err != nil:
		return j.driver, nil
	}
	j.client.Close()
	far.Conn.Close()
	j.client = p.near
	return p, nil
}

// A loop is a goroutine that waits for the connections of many joints, reads them, and
// gives the sessions what it has read. Others may write to them meanwhile.
type loop struct {
	systemCalls
	poll, bell int // descriptors: epoll, and what ends the loop

	raw   [chunk]byte       // what has come from a server
	plain [chunk]byte       // what TLS makes of it
	asked [largeBuffer]byte // what has come from a client

	mu     sync.Mutex      // guards below
	halves map[int32]*half // by descriptor
}

func newLoop(calls systemCalls) (l *loop, err error) {
	l = &loop{systemCalls: calls, halves: map[int32]*half{}}
	if l.poll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if l.bell, err = unix.Eventfd(0, unix.EFD_CLOEXEC); err != nil {
		unix.Close(l.poll)
		return nil, os.NewSyscallError("eventfd", err)
	}
	return l, l.wait(unix.EPOLL_CTL_ADD, l.bell, unix.EPOLLIN)
}

// wait changes what epoll waits for.
func (l *loop) wait(op, fd int, events uint32) error {
	return os.NewSyscallError("epoll_ctl", l.ctl(l.poll, op, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)}))
}

func (l *loop) run() {
	defer unix.Close(l.poll)
	defer unix.Close(l.bell)
	events := make([]unix.EpollEvent, 256)
	for {
		n, _ := unix.EpollWait(l.poll, events, -1) // it fails when a signal comes
		for _, e := range events[:max(n, 0)] {
			if int(e.Fd) == l.bell {
				return
			}
			if h := l.half(e.Fd); h != nil {
				l.move(h, e.Events)
			}
		}
	}
}

// half is nil for one that the loop knows no more, or not yet.
func (l *loop) half(fd int32) *half {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.halves[fd]
}

// move moves what can be moved after events of a half.
func (l *loop) move(h *half, events uint32) {
	p := h.pair
	if p.leaving.Load() {
		l.release(p)
		return
	}
	all := h.woken.Swap(false)
	reads := events&^unix.EPOLLOUT != 0
	for _, h := range []*half{p.near, p.far} {
		if h.behind() > 0 && h.flush() {
			p.caughtUp()
			all = true
		}
	}
	if (all || reads && h == p.far) && p.near.behind() == 0 && l.fromServer(p) != nil {
		l.drop(p)
		return
	}
	if (all || reads && h == p.near) && !p.ended && l.fromClient(p) != nil {
		p.leave()
	}
	err := p.near.await(!p.ended && (p.near.shut.Load() || !p.waits && p.far.behind() == 0 && p.near.behind() <= maxBehind))
	if err = cmp.Or(err, p.far.await(p.near.behind() == 0)); err != nil {
		p.proxy.log.Warn("connection closed", "client", p.name(), "why", err)
		l.drop(p)
	}
}

// fromServer passes on what the server has sent.
func (l *loop) fromServer(p *pair) error {
	p.far.ready = true
	for {
		n, err := 0, error(nil)
		for more := 0; n < len(l.plain) && err == nil; n += more {
			more, err = p.server.Conn.Read(l.plain[n:])
		}
		if n > 0 {
			passed := p.pass(l.plain[:n])
			p.proxy.metrics.toClient.Add(float64(n))
			if passed != nil {
				return passed
			}
		}
		switch {
		case err == errAgain, err != nil && p.near.behind() > 0: // it stays an error, for when the client has taken all
			return nil
		case err != nil:
			return err
		}
	}
}

// fromClient passes on what the client has sent.
func (l *loop) fromClient(p *pair) error {
	switch {
	case p.near.closed.Load():
		return net.ErrClosed
	case p.near.shut.Load(): // nobody listens
		p.near.endWrites()
		_, err := p.near.receive(l.asked[:])
		return err
	case p.far.behind() > 0 || p.near.behind() > maxBehind:
		return nil
	}
	in := p.intake
	in.lend(&l.asked)
	defer in.keep()
	again := p.goesOn()
	for read := false; again || !read && !p.waits; again = p.goesOn() {
		if !again {
			n, err := p.near.receive(in.buf[in.end:])
			if n == 0 {
				return err
			}
			in.end += n
			read = true
		}
		seen, err := p.take()
		if err != nil {
			p.settle(err)
			return err
		}
		p.seen = seen
	}
	return nil
}

// forget has the loop look at neither half any more.
func (l *loop) forget(p *pair) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.halves, int32(p.near.fd))
	delete(l.halves, int32(p.far.fd))
}

// release ends a pair whose server another one is to have.
func (l *loop) release(p *pair) {
	l.forget(p)
	p.near.release()
	p.released = p.far.rest()
	close(p.answered)
}

// drop ends a pair when nothing more comes from the server.
func (l *loop) drop(p *pair) {
	p.server.CloseWrite()
	l.forget(p)
	p.near.release()
	p.far.release()
	p.leave()
	p.end()
	close(p.answered)
}

// A pair is the driver of a joint that has a loop.
type pair struct {
	*joint
	loop      *loop
	near, far *half         // the client's and the server's
	left      chan struct{} // closed when the client has ended, and
	tail      func()        // is what comes then

	// For the loop alone:
	ended bool   // the client has
	waits bool   // it has to wait, as goesOn says
	seen  uint64 // turns when the session has left bytes of the client
}

var _ driver = (*pair)(nil)

func (p *pair) run(ended func()) {
	p.tail = ended
	p.local()
	p.keep()
	p.loop.mu.Lock()
	p.loop.halves[int32(p.near.fd)], p.loop.halves[int32(p.far.fd)] = p.near, p.far
	p.loop.mu.Unlock()
	p.far.wake()
}

// wake needs no room at the server's for what it may let go there.
func (p *pair) wake() { p.far.wake() }

func (p *pair) behind() (server, client bool) { return p.far.behind() > 0, p.near.behind() > 0 }

func (p *pair) release() bool {
	p.leaving.Store(true)
	p.far.wake()
	<-p.answered
	return p.released
}

func (p *pair) gone() bool {
	p.near.mu.Lock()
	defer p.near.mu.Unlock()
	n, _ := unix.Poll([]unix.PollFd{{Fd: int32(p.near.fd), Events: unix.POLLRDHUP}}, 0)
	return n > 0 || p.near.closed.Load()
}

func (p *pair) part() {
	p.near.shut.Store(true)
	p.near.wake()
	select {
	case <-p.left:
	case <-time.After(closeTime):
	}
}

// keep has the session and the intake keep no more of what has come than they need.
func (p *pair) keep() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.intake.end == 0 {
		p.session.Client(nil, false)
	}
	p.intake.keep()
}

// caughtUp notes that all that had been written has reached one side.
func (p *pair) caughtUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.writing, p.unread = p.behind()
	p.changed.Broadcast()
}

// goesOn is joint.goesOn, if the session has left anything.
func (p *pair) goesOn() (again bool) {
	if p.intake.end > 0 {
		p.mu.Lock()
		defer p.mu.Unlock()
		again, p.waits = p.joint.goesOn(p.seen)
	}
	return again
}

func (p *pair) leave() {
	if !p.ended {
		p.ended = true
		close(p.left)
		p.goes()
		go p.tail()
	}
}
