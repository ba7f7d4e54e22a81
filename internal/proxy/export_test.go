package proxy

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
