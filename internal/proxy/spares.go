package proxy

import (
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rediam/rediam/internal/dial"
)

const (
	// spareTime is how long a connection may wait for its next client: less than any
	// server's own bound, and long enough for clients that come every few seconds.
	spareTime = time.Minute

	// spareAge is how long after it was opened a connection is given to others: the name
	// of the endpoint may be that of another node meanwhile.
	spareAge = 10 * time.Minute

	// comingTime is how long a client waits for a connection that another is about to
	// leave, before it has one of its own: they are many, and leave in their turns.
	comingTime = 10 * time.Millisecond
)

// spares are connections to the cache, signed in, that wait for a client. Those that
// have been used last are used first, so that as many are left to end as are not needed.
type spares struct {
	gauge    prometheus.Gauge // of how many there are
	patience time.Duration    // comingTime

	mu     sync.Mutex // guards below
	list   []spare    // the one that has waited longest first
	sweeps *time.Timer
	since  time.Time // those that were opened before are not kept
	closed bool
	coming int               // how many are about to be left
	wait   []chan *dial.Conn // for one of them, fewer than are coming
}

type spare struct {
	conn  *dial.Conn
	since time.Time
}

func (s *spares) unlock() {
	s.gauge.Set(float64(len(s.list)))
	s.mu.Unlock()
}

// expect has clients wait for a connection that is about to be left; put, or miss, is
// called then.
func (s *spares) expect() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.coming++
}

// miss is for a connection that does not come.
func (s *spares) miss() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.come(nil)
}

// come takes one off those that are coming, and has the client that waits for it go on;
// it is false if there is none. The caller holds mu.
func (s *spares) come(conn *dial.Conn) bool {
	s.coming--
	if len(s.wait) == 0 || conn == nil && len(s.wait) <= s.coming {
		return false
	}
	s.wait[0] <- conn
	s.wait = s.wait[1:]
	return true
}

// put gives a connection to a client that waits, or keeps it, unless there are as many
// as may be.
func (s *spares) put(conn *dial.Conn, most int) bool {
	s.mu.Lock()
	defer s.unlock()
	if s.closed || time.Since(conn.Opened) > spareAge || conn.Opened.Before(s.since) || !quiet(conn) {
		s.come(nil)
		return false
	}
	if s.come(conn) {
		return true
	}
	if len(s.list) >= most {
		return false
	}
	s.list = append(s.list, spare{conn, time.Now()})
	if s.sweeps == nil {
		s.sweeps = time.AfterFunc(spareTime, s.sweep)
	}
	return true
}

// take gives one away, or nil if there is none, nor comes one soon.
func (s *spares) take() *dial.Conn {
	s.mu.Lock()
	if conn := s.pop(); conn != nil || len(s.wait) >= s.coming {
		s.unlock()
		return conn
	}
	turn := make(chan *dial.Conn, 1)
	s.wait = append(s.wait, turn)
	s.unlock()
	select {
	case conn := <-turn:
		return conn
	case <-time.After(s.patience):
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.wait, turn); i >= 0 {
		s.wait = slices.Delete(s.wait, i, i+1)
		return nil
	}
	return <-turn // it has just come
}

// pop is nil if there is none; the server may have closed some. The caller holds mu.
func (s *spares) pop() *dial.Conn {
	for len(s.list) > 0 {
		last := s.list[len(s.list)-1].conn
		s.list[len(s.list)-1] = spare{}
		s.list = s.list[:len(s.list)-1]
		if quiet(last) {
			return last
		}
		last.Close()
	}
	return nil
}

// quiet is whether a connection is open, and nothing has come that nobody awaits.
func quiet(conn *dial.Conn) bool {
	if under, ok := conn.NetConn().(interface{ quiet() bool }); ok {
		return under.quiet()
	}
	return conn.Look() == dial.Quiet
}

// sweep closes those that have waited long enough.
func (s *spares) sweep() {
	s.mu.Lock()
	defer s.unlock()
	n := 0
	for n < len(s.list) && time.Since(s.list[n].since) >= spareTime {
		s.list[n].conn.Close()
		n++
	}
	s.list = append([]spare(nil), s.list[n:]...)
	s.sweeps = nil
	if len(s.list) > 0 {
		s.sweeps = time.AfterFunc(spareTime-time.Since(s.list[0].since), s.sweep)
	}
}

// drop closes them all, and keeps no other that has been opened by now.
func (s *spares) drop() {
	s.mu.Lock()
	defer s.unlock()
	for _, spare := range s.list {
		spare.conn.Close()
	}
	s.list, s.since = nil, time.Now()
}

// close closes them all, and those that come later.
func (s *spares) close() {
	s.mu.Lock()
	s.closed = true
	if s.sweeps != nil {
		s.sweeps.Stop()
	}
	s.mu.Unlock()
	s.drop()
}
