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
	// chunk is how much is read at once.
	chunk = 64 << 10

	// maxBehind is how much may wait for a client before it is not read any more.
	// What the server sends stops at the first byte that waits, so that only answers
	// of the session's own get there.
	maxBehind = 2 * chunk
)

// loops are the event loops of a Proxy, one for each core.
type loops struct {
	all  []*loop
	next atomic.Uint32
}

// start has them run until stop is called, when there must be no joints any more.
func (ls *loops) start() (stop func(), err error) {
	var running sync.WaitGroup
	stop = func() {
		for _, l := range ls.all {
			l.wake(nil)
		}
		running.Wait()
	}
	for range runtime.GOMAXPROCS(0) {
		l, err := newLoop()
		if err != nil {
			stop()
			return nil, err
		}
		ls.all = append(ls.all, l)
		running.Go(l.run)
	}
	return stop, nil
}

// A loop is a goroutine that waits for many descriptors at a time. It reads, and
// gives the sessions what it has read; anybody may write. A joint stays with its loop.
type loop struct {
	poll, bell int // descriptors: epoll, and what wakes it
	halves     map[int32]*half

	raw   [chunk]byte       // what TLS is being given, all of which it takes
	plain [chunk]byte       // what it makes of that
	from  [largeBuffer]byte // what a client has sent

	mu     sync.Mutex // guards below
	woken  []*pair    // are to be looked at; nil ends the loop
	asleep bool       // the bell has to be rung
}

func newLoop() (*loop, error) {
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	bell, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err == nil {
		err = unix.EpollCtl(poll, unix.EPOLL_CTL_ADD, bell, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(bell)})
	}
	if err != nil {
		unix.Close(poll)
		return nil, os.NewSyscallError("eventfd", err)
	}
	return &loop{poll: poll, bell: bell, halves: map[int32]*half{}}, nil
}

// wake has the loop look at a pair. It may be called while a joint's mu is held.
func (l *loop) wake(p *pair) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.woken = append(l.woken, p)
	if l.asleep {
		l.asleep = false
		unix.Write(l.bell, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	}
}

// takeWoken gives what has been woken, and is asleep if that is nothing.
func (l *loop) takeWoken(room []*pair) []*pair {
	l.mu.Lock()
	defer l.mu.Unlock()
	woken := l.woken
	l.woken = room[:0]
	l.asleep = len(woken) == 0
	return woken
}

// wakeUp saves those who wake the bell.
func (l *loop) wakeUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asleep = false
}

func (l *loop) run() {
	defer unix.Close(l.poll)
	defer unix.Close(l.bell)
	events := make([]unix.EpollEvent, 256)
	var woken []*pair
	for {
		timeout := 0
		if woken = l.takeWoken(woken); len(woken) == 0 {
			timeout = -1
		}
		for i, p := range woken {
			if woken[i] = nil; p == nil {
				return
			}
			l.move(p, true, true)
		}
		n, _ := unix.EpollWait(l.poll, events, timeout) // it fails when a signal comes
		l.wakeUp()
		for _, e := range events[:max(n, 0)] {
			if h := l.halves[e.Fd]; h != nil {
				reads := e.Events&^unix.EPOLLOUT != 0
				l.move(h.pair, reads && h == h.pair.near, reads && h == h.pair.far)
			} else if int(e.Fd) == l.bell {
				unix.Read(l.bell, l.raw[:8])
			}
		}
	}
}

// A pair is the driver of a joint that has a loop.
type pair struct {
	*joint
	loop      *loop
	near, far *half         // the client's and the server's
	left      chan struct{} // closed when the client has ended

	// For the loop alone.
	known, ended, over bool   // to the loop; what the client sends; everything
	seen               uint64 // turns when the session has left bytes of the client
}

var _ driver = (*pair)(nil)

// adopt gives a joint to a loop; nil if it cannot be, for want of descriptors or
// because its connections are not those of the system.
func (ls *loops) adopt(j *joint) driver {
	if len(ls.all) == 0 {
		return nil
	}
	far, ok := j.server.NetConn().(*half)
	if !ok {
		return nil
	}
	p := &pair{joint: j, loop: ls.all[ls.next.Add(1)%uint32(len(ls.all))], near: &half{Conn: j.client}, far: far, left: make(chan struct{}), seen: math.MaxUint64}
	near, err := p.near.duplicate()
	if err != nil {
		return nil
	}
	fd, err := far.duplicate()
	if err != nil || !far.belongTo(p, fd) {
		unix.Close(near)
		return nil
	}
	p.near.belongTo(p, near)
	j.client = p.near
	return p
}

func (p *pair) run() {
	p.loop.wake(p)
	<-p.left
}

func (p *pair) wake() { p.loop.wake(p) }

func (p *pair) behind() (server, client bool) { return p.far.behind() > 0, p.near.behind() > 0 }

func (p *pair) release() bool { return false }

func (p *pair) gone() bool { return p.near.gone() }

func (p *pair) part() {
	p.near.part()
	select {
	case <-p.left:
	case <-time.After(closeTime):
	}
}

// move moves what can be moved. client and server are whether there may be something
// of theirs to read.
func (l *loop) move(p *pair, client, server bool) {
	if p.over {
		return
	}
	if !p.known {
		p.known = true
		l.halves[int32(p.near.fd)], l.halves[int32(p.far.fd)] = p.near, p.far
		p.local()
	}
	for _, h := range []*half{p.near, p.far} {
		if h.behind() == 0 {
			continue
		}
		if h.flush(); h.behind() == 0 {
			p.caughtUp()
			client, server = true, true
		}
	}
	if server && p.near.behind() == 0 && l.fromServer(p) != nil {
		l.drop(p)
		return
	}
	if client && !p.ended {
		if err := l.fromClient(p); err != nil && err != errAgain {
			p.leave()
		}
	}
	p.mu.Lock()
	waits := p.waiting
	p.mu.Unlock()
	err := p.near.await(!p.ended && !waits && p.far.behind() == 0 && p.near.behind() <= maxBehind)
	if err = cmp.Or(err, p.far.await(p.near.behind() == 0)); err != nil {
		p.proxy.log.Warn("connection closed", "client", p.name(), "why", err)
		l.drop(p)
	}
}

// caughtUp notes that what had been written has reached one side.
func (p *pair) caughtUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.writing, p.unread = p.behind()
	p.changed.Broadcast()
}

// leave is the end of what the client sends.
func (p *pair) leave() {
	if !p.ended {
		p.ended = true
		close(p.left)
	}
}

// drop is the end of a pair.
func (l *loop) drop(p *pair) {
	p.over = true
	for _, h := range []*half{p.near, p.far} {
		delete(l.halves, int32(h.fd))
		h.leaveLoop()
	}
	p.near.Close() // nothing can be answered any more
	p.leave()
	p.end()
	close(p.answered)
}

// fromServer passes on what the server has sent.
func (l *loop) fromServer(p *pair) error {
	p.far.ready = true
	for {
		var n int
		var err error
		for n < len(l.plain) && err == nil {
			var m int
			m, err = p.server.Conn.Read(l.plain[n:])
			n += m
		}
		if n > 0 {
			passed := p.pass(l.plain[:n])
			p.proxy.metrics.toClient.Add(float64(n))
			if passed != nil {
				return passed
			}
		}
		switch {
		case err == errAgain, err != nil && p.near.behind() > 0: // it stays an error until that has been taken
			return nil
		case err != nil:
			return err
		}
	}
}

// fromClient passes on what the client has sent.
func (l *loop) fromClient(p *pair) error {
	switch {
	case p.near.isClosed():
		return net.ErrClosed
	case p.near.parting():
		return p.near.discard(l.from[:])
	case p.far.behind() > 0 || p.near.behind() > maxBehind:
		return nil
	}
	p.intake.lend(&l.from)
	defer p.intake.keep()
	again, waits := p.goesOn()
	for read := false; again || !read && !waits; {
		if !again {
			n, err := p.near.receive(p.intake.buf[p.intake.end:])
			if err != nil {
				return err
			}
			p.intake.end += n
			read = true
		}
		seen, err := p.take()
		if err != nil {
			p.settle(err)
			return err
		}
		p.seen = seen
		again, waits = p.goesOn()
	}
	return nil
}

// goesOn is explained at joint.goesOn.
func (p *pair) goesOn() (again, waits bool) {
	if p.intake.end == 0 {
		return false, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.joint.goesOn(p.seen)
}

// A half is one of the connections of a pair. What is read is what there is; what is
// written waits here until it can be. Until it belongs to a pair it is as any other.
type half struct {
	net.Conn // what it was made of, for the addresses once it belongs to a pair
	pair     *pair

	// For the loop alone.
	raw   []byte // has been read, and Read has not given it away
	ready bool   // there may be more
	armed uint32 // what epoll waits for

	mu       sync.Mutex // guards below
	fd       int
	out      []byte // what waits
	shut     bool   // nothing more may be written
	discards int    // how much more is to be read and thrown away
	closed   bool
	left     bool // the loop does not know it any more
}

// openHalf opens what TLS runs over.
func openHalf(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &half{Conn: conn}, nil
}

// duplicate gives a descriptor that Go's poller does not know.
func (h *half) duplicate() (fd int, err error) {
	conn, ok := h.Conn.(syscall.Conn)
	if !ok {
		return 0, errors.ErrUnsupported
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	err = cmp.Or(raw.Control(func(old uintptr) { fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) }), err)
	return fd, err
}

// belongTo makes it one of a pair, unless it has been closed.
func (h *half) belongTo(p *pair, fd int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		unix.Close(fd)
		return false
	}
	h.Conn.Close()
	h.pair, h.fd = p, fd
	return true
}

// errAgain is what crypto/tls takes for an error that does not last.
var errAgain net.Error = again{}

type again struct{}

func (again) Error() string   { return "nothing to read yet" }
func (again) Timeout() bool   { return true }
func (again) Temporary() bool { return true }

// Read gives TLS what has come, at one go if the buffer of the loop can hold it.
func (h *half) Read(b []byte) (int, error) {
	switch {
	case h.pair == nil:
		return h.Conn.Read(b)
	case len(h.raw) == 0 && !h.ready:
		return 0, errAgain
	case len(h.raw) == 0:
		h.ready = false
		n, err := h.receive(h.pair.loop.raw[:])
		if err != nil {
			return 0, err
		}
		h.raw = h.pair.loop.raw[:n]
	}
	n := copy(b, h.raw)
	h.raw = h.raw[n:]
	return n, nil
}

// receive reads once.
func (h *half) receive(b []byte) (int, error) {
	for {
		switch n, err := unix.Read(h.fd, b); {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return 0, errAgain
		case err != nil:
			return 0, os.NewSyscallError("read", err)
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}

// Write writes what can be, and keeps the rest.
func (h *half) Write(b []byte) (int, error) {
	if h.pair == nil {
		return h.Conn.Write(b)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.shut {
		return len(b), nil
	}
	if len(h.out) > 0 {
		h.out = append(h.out, b...)
		return len(b), nil
	}
	n, err := h.send(b)
	if n < len(b) && err == nil {
		h.out = append(h.out, b[n:]...)
		h.pair.loop.wake(h.pair)
	}
	return len(b), err
}

// send writes once. The caller holds mu.
func (h *half) send(b []byte) (int, error) {
	for !h.closed {
		switch n, err := unix.Write(h.fd, b); err {
		case nil:
			return n, nil
		case unix.EAGAIN:
			return 0, nil
		case unix.EINTR:
		default:
			return 0, os.NewSyscallError("write", err)
		}
	}
	return 0, net.ErrClosed
}

// flush writes what waits, as far as it can be.
func (h *half) flush() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	n, err := h.send(h.out)
	if h.out = h.out[n:]; len(h.out) == 0 || err != nil {
		h.out = nil
	}
	if h.shut && h.out == nil {
		unix.Shutdown(h.fd, unix.SHUT_WR)
	}
	return err
}

func (h *half) behind() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.out)
}

// part ends what is written, and has what comes thrown away.
func (h *half) part() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.shut, h.discards = true, maxUnread
	if len(h.out) == 0 {
		unix.Shutdown(h.fd, unix.SHUT_WR)
	}
	h.pair.loop.wake(h.pair)
}

func (h *half) parting() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.shut
}

// discard throws away what has come, up to a bound.
func (h *half) discard(room []byte) error {
	n, err := h.receive(room)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.discards -= n; h.discards < 0 {
		return io.EOF
	}
	return err
}

func (h *half) isClosed() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.closed
}

// gone is whether the peer has ended its half, or is not there any more.
func (h *half) gone() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	n, _ := unix.Poll([]unix.PollFd{{Fd: int32(h.fd), Events: unix.POLLRDHUP}}, 0)
	return h.closed || n > 0
}

// Close ends it; the loop that knows it drops its pair.
func (h *half) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return net.ErrClosed
	}
	h.closed, h.out = true, nil
	switch {
	case h.pair == nil:
		return h.Conn.Close()
	case h.left:
		unix.Close(h.fd)
	default:
		unix.Shutdown(h.fd, unix.SHUT_RDWR)
		h.pair.loop.wake(h.pair)
	}
	return nil
}

// leaveLoop leaves the descriptor to Close.
func (h *half) leaveLoop() {
	h.arm(0)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.left = true
	if h.closed {
		unix.Close(h.fd)
	}
}

// arm has epoll wait until there is something to read, if that is wanted, and until
// something can be written, if something waits.
func (h *half) await(reads bool) error {
	var want uint32
	if reads {
		want |= unix.EPOLLIN
	}
	if h.behind() > 0 {
		want |= unix.EPOLLOUT
	}
	return h.arm(want)
}

// arm has epoll wait for events, or not know the descriptor if there are none.
func (h *half) arm(want uint32) error {
	op := unix.EPOLL_CTL_MOD
	switch {
	case want == h.armed:
		return nil
	case want == 0:
		op = unix.EPOLL_CTL_DEL
	case h.armed == 0:
		op = unix.EPOLL_CTL_ADD
	}
	h.armed = want
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(h.pair.loop.poll, op, h.fd, &unix.EpollEvent{Events: want, Fd: int32(h.fd)}))
}
