package proxy

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

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

// belongTo gives it a descriptor that Go's own poller does not know, and has epoll know
// a server, while somebody can still be told that it does not.
func (h *half) belongTo(p *pair) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	conn, ok := h.Conn.(syscall.Conn)
	switch {
	case !ok || h.closed.Load():
		return errors.ErrUnsupported
	case h.fd > 0: // from another pair
		return h.begin(p)
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	wrong := raw.Control(func(fd uintptr) { h.fd, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
	if err = cmp.Or(wrong, err); err == nil {
		if err = h.begin(p); err != nil {
			unix.Close(h.fd)
			h.fd = 0
		}
	}
	return err
}

// begin is for belongTo, with a descriptor. The caller holds mu.
func (h *half) begin(p *pair) (err error) {
	h.pair = p
	if h == p.far {
		if err = h.arm(unix.EPOLLRDHUP); err != nil {
			h.pair = nil
		}
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
	return len(b), h.arm(h.armed | unix.EPOLLOUT)
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
	err := h.pair.loop.wait(op, h.fd, events)
	if err == nil {
		h.armed = events
	}
	return err
}
