package proxy

import (
	"sync"

	"golang.org/x/sys/unix"
)

// Trickle has the loops read and write so many bytes at a time, and be refused every
// other time.
func (p *Proxy) Trickle(reads, writes int) {
	p.calls = systemCalls{trickle(unix.Read, reads), trickle(unix.Write, writes)}
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
