package proxy

import (
	"sync"

	"golang.org/x/sys/unix"
)

// Trickle has the loops read and write so many bytes at a time, and be refused every
// other time.
func (p *Proxy) Trickle(reads, writes int) {
	p.calls = systemCalls{read: trickle(unix.Read, reads), write: trickle(unix.Write, writes)}
}

// NoRoom has epoll take no more connections while full.
func (p *Proxy) NoRoom(full func() bool) {
	p.calls.ctl = func(poll, op, fd int, event *unix.EpollEvent) error {
		if op == unix.EPOLL_CTL_ADD && full() {
			return unix.ENOSPC
		}
		return unix.EpollCtl(poll, op, fd, event)
	}
}

func trickle(f func(int, []byte) (int, error), most int) func(int, []byte) (int, error) {
	refuse := map[int]bool{} // by descriptor
	var mu sync.Mutex
	return func(fd int, b []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		if refuse[fd] = !refuse[fd]; refuse[fd] {
			return -1, unix.EAGAIN
		}
		return f(fd, b[:min(most, len(b))])
	}
}
