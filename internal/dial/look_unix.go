//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly || illumos || solaris

package dial

import "syscall"

// received looks at the socket.
func (c *Conn) received() State {
	if c.raw == nil {
		return Quiet
	}
	state := Quiet
	err := c.raw.Control(func(fd uintptr) {
		var head [recordHeader]byte
		n, _, err := syscall.Recvfrom(int(fd), head[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		switch {
		case err == nil:
			state = judge(head[:n])
		case err != syscall.EAGAIN && err != syscall.EINTR:
			state = Closed
		}
	})
	if err != nil {
		return Closed
	}
	return state
}
