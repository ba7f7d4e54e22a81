//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly || illumos || solaris

package dial

import (
	"encoding/binary"
	"net"
	"runtime"
	"syscall"
)

// received looks at the socket.
func (c *Conn) received() State {
	if c.raw == nil {
		return Quiet
	}
	var head [recordHeader]byte
	n, quiet := peek(c.raw, head[:])
	if quiet {
		return Quiet
	}
	return judge(head[:n])
}

// peek takes what has arrived without reading it: n is 0 at the end of the stream and
// after an error.
func peek(raw syscall.RawConn, head []byte) (n int, quiet bool) {
	raw.Control(func(fd uintptr) { // it fails if the connection is closed
		var err error
		n, _, err = syscall.Recvfrom(int(fd), head, syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		n, quiet = max(n, 0), err == syscall.EAGAIN || err == syscall.EINTR
	})
	return n, quiet
}

// Linux's number of TCP_INFO, and the states with which its answer begins
// (linux/tcp.h, net/tcp_states.h).
const (
	tcpInfo      = 11
	tcpClose     = 7
	tcpCloseWait = 8
)

// Ended is whether the other side has closed a connection, or its half of it. Where
// that cannot be seen, it is false; on other systems than Linux, and for Unix
// sockets, as long as something that came before has not been read.
func Ended(conn net.Conn) bool {
	under, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := under.SyscallConn()
	if err != nil {
		return true
	}
	if runtime.GOOS == "linux" {
		var info int
		raw.Control(func(fd uintptr) { info, err = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpInfo) })
		if err == nil {
			state := binary.NativeEndian.AppendUint32(nil, uint32(info))[0]
			return state == tcpClose || state == tcpCloseWait
		}
	}
	n, quiet := peek(raw, make([]byte, 1))
	return n == 0 && !quiet
}
