package proxy

import "time"

// AwaitSpares sets how long clients wait for a connection that another is about to leave.
func (p *Proxy) AwaitSpares(d time.Duration) { p.spares.patience = d }

// Queued is how much the session remembers of what is awaited, and how many answers
// of its own are among it.
func (s *Session) Queued() (all, locals int) {
	for _, a := range s.queue {
		if a.kind == local {
			locals++
		}
	}
	return len(s.queue), locals
}

// Lifted is whether RESP3 stands in for RESP2.
func (s *Session) Lifted() bool { return s.lifted }
