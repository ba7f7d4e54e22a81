package proxy

import (
	"cmp"
	"context"
	"errors"
	"io"
	"math"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

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

// loops are event loops: one for two cores, since those who ask and answer need the
// others.
type loops struct {
	all  []*loop
	next atomic.Uint32
}

// systemCalls are what a loop reads and writes with; nil means those of the system.
type systemCalls struct {
	read, write func(fd int, b []byte) (int, error)
}

// startLoops has loops run until stop is called, when there must be no joints any more.
func startLoops(calls systemCalls) (ls *loops, stop func(), err error) {
	if calls.read == nil {
		calls = systemCalls{unix.Read, unix.Write}
	}
	ls = &loops{}
	var running sync.WaitGroup
	stop = func() {
		for _, l := range ls.all {
			unix.Write(l.bell, []byte{1, 0, 0, 0, 0, 0, 0, 0})
		}
		running.Wait()
	}
	for range max(1, runtime.GOMAXPROCS(0)/2) {
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
// for want of descriptors or because its connections are not those of the system. A
// server that has been another's can have no driver but a loop: that is an error.
func (ls *loops) adopt(j *joint) (driver, error) {
	far, ok := j.server.NetConn().(*half)
	p := &pair{joint: j, near: &half{Conn: j.client}, far: far, left: make(chan struct{}), seen: math.MaxUint64,
		loop: ls.all[ls.next.Add(1)%uint32(len(ls.all))]}
	if !ok {
		return j.driver, nil
	}
	if err := p.near.belongTo(p); err != nil {
		if far.fd > 0 {
			return nil, err
		}
		return j.driver, nil
	}
	if far.belongTo(p) != nil {
		unix.Close(p.near.fd)
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
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(l.poll, op, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)}))
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
		go p.tail()
	}
}

// A half is one connection of a pair; until it belongs to one it is as any other.
// Then Read takes what there is, and what Write cannot write waits.
type half struct {
	net.Conn // for the addresses, once it belongs to a pair
	pair     *pair

	// For the loop alone:
	raw   []byte // has been read, and Read has not given it away
	ready bool   // there may be more

	waiting      atomic.Int64 // how much is in out
	shut, closed atomic.Bool  // nothing more is written; nor read
	woken        atomic.Bool  // everything is to be looked at

	mu    sync.Mutex // guards below, and the use of fd by others than the loop
	fd    int
	out   []byte // what waits
	armed uint32 // what epoll waits for
}

// openHalf opens what TLS runs over.
func openHalf(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &half{Conn: conn}, nil
}

// belongTo gives it a descriptor that Go's own poller does not know.
func (h *half) belongTo(p *pair) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	conn, ok := h.Conn.(syscall.Conn)
	switch {
	case !ok || h.closed.Load():
		return errors.ErrUnsupported
	case h.fd > 0: // from another pair
		h.pair = p
		return nil
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	wrong := raw.Control(func(fd uintptr) { h.fd, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
	if err = cmp.Or(wrong, err); err == nil {
		h.pair = p
	}
	return err
}

// errAgain does not last: crypto/tls goes on where it was.
var errAgain = os.ErrDeadlineExceeded

// Read gives TLS what one read has brought, bit by bit.
func (h *half) Read(b []byte) (int, error) {
	if h.pair == nil {
		return h.Conn.Read(b)
	}
	if len(h.raw) == 0 {
		if !h.ready {
			return 0, errAgain
		}
		h.ready = false
		n, err := h.receive(h.pair.loop.raw[:])
		if n == 0 {
			return 0, cmp.Or(err, errAgain)
		}
		h.raw = h.pair.loop.raw[:n]
	}
	n := copy(b, h.raw)
	h.raw = h.raw[n:]
	return n, nil
}

// receive reads once. Nothing without an error is nothing for now.
func (h *half) receive(b []byte) (int, error) {
	switch n, err := h.pair.loop.read(h.fd, b); {
	case err == unix.EAGAIN || err == unix.EINTR:
		return 0, nil
	case err != nil:
		return 0, os.NewSyscallError("read", err)
	case n == 0:
		return 0, io.EOF
	default:
		return n, nil
	}
}

// Write writes what can be, and has the rest wait.
func (h *half) Write(b []byte) (n int, err error) {
	h.mu.Lock()
	if h.pair == nil {
		h.mu.Unlock()
		return h.Conn.Write(b)
	}
	defer h.mu.Unlock()
	switch {
	case h.closed.Load():
		return 0, net.ErrClosed
	case h.shut.Load():
		return len(b), nil
	case len(h.out) == 0:
		if n, err = h.send(b); n == len(b) || err != nil {
			return n, err
		}
	}
	h.keep(append(h.out, b[n:]...))
	h.arm(h.armed | unix.EPOLLOUT)
	return len(b), nil
}

// send writes once. The caller holds mu.
func (h *half) send(b []byte) (int, error) {
	n, err := h.pair.loop.write(h.fd, b)
	if err == unix.EAGAIN || err == unix.EINTR {
		return 0, nil
	}
	return max(n, 0), os.NewSyscallError("write", err)
}

// keep has out wait. The caller holds mu.
func (h *half) keep(out []byte) {
	if h.out = out; len(out) == 0 {
		h.out = nil
	}
	h.waiting.Store(int64(len(out)))
}

func (h *half) behind() int64 { return h.waiting.Load() }

// flush writes what waits, and tells whether that was all.
func (h *half) flush() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	n, err := h.send(h.out)
	if err != nil {
		n = len(h.out) // who reads will find that it has ended
	}
	h.keep(h.out[n:])
	return len(h.out) == 0
}

// endWrites ends what is written, once nothing waits.
func (h *half) endWrites() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.out) == 0 && !h.closed.Load() {
		unix.Shutdown(h.fd, unix.SHUT_WR)
	}
}

// Close ends the connection. The loop sees that, and releases the descriptor.
func (h *half) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closed.Load():
	case h.pair == nil:
		h.closed.Store(true)
		if h.fd > 0 {
			return unix.Close(h.fd)
		}
		return h.Conn.Close()
	default:
		h.keep(nil)
		unix.Shutdown(h.fd, unix.SHUT_RDWR)
		h.look()
		h.closed.Store(true)
	}
	return nil
}

// rest leaves its pair for another one, and tells whether it is fit for that.
func (h *half) rest() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.woken.Store(false)
	ok := h.arm(0) == nil && len(h.raw) == 0 && len(h.out) == 0 && !h.closed.Load()
	h.pair = nil
	return ok
}

// quiet is whether nothing has come for one that rests.
func (h *half) quiet() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed.Load() || h.fd <= 0 { // or it has never belonged to a pair
		return false
	}
	_, _, err := unix.Recvfrom(h.fd, make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
	return err == unix.EAGAIN
}

func (h *half) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed.Store(true)
	unix.Close(h.fd)
	h.fd = -1
}

// wake has the loop look at everything once there is room to write.
func (h *half) wake() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.look()
}

func (h *half) look() {
	if !h.closed.Load() && h.pair != nil {
		h.woken.Store(true)
		h.arm(h.armed | unix.EPOLLOUT)
	}
}

// await has epoll wait until there is something to read, if that is wanted, and for
// room if something is to be written or looked at.
func (h *half) await(reads bool) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var want uint32
	if reads {
		want |= unix.EPOLLIN
	}
	if len(h.out) > 0 || h.woken.Load() {
		want |= unix.EPOLLOUT
	}
	return h.arm(want)
}

// arm has epoll wait for events, or forget the descriptor. The caller holds mu.
func (h *half) arm(events uint32) error {
	op := unix.EPOLL_CTL_MOD
	switch {
	case events == h.armed:
		return nil
	case events == 0:
		op = unix.EPOLL_CTL_DEL
	case h.armed == 0:
		op = unix.EPOLL_CTL_ADD
	}
	h.armed = events
	return h.pair.loop.wait(op, h.fd, events)
}
