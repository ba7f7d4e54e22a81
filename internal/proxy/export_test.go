package proxy

import "time"

// AwaitSpares sets how long clients wait for a connection that another is about to leave.
func (p *Proxy) AwaitSpares(d time.Duration) { p.spares.patience = d }

// AgeSpares has the connections that are kept have waited and been open for longer.
func (p *Proxy) AgeSpares(waited, open time.Duration) {
	p.spares.mu.Lock()
	for i := range p.spares.list {
		spare := &p.spares.list[i]
		spare.since, spare.conn.Opened = spare.since.Add(-waited), spare.conn.Opened.Add(-open)
	}
	p.spares.mu.Unlock()
	p.spares.sweep()
}

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
