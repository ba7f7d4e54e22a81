package engine

import (
	"context"
	"io"
	"net"
	"sync"

	"github.com/alicebob/miniredis/v2"
)

// embedded is miniredis, spoken to over its in-memory connection. It knows no
// users.
type embedded struct {
	server *miniredis.Miniredis
	done   chan struct{}
	close  sync.Once
}

var _ Engine = (*embedded)(nil)

func newEmbedded() *embedded {
	server := miniredis.NewMiniRedis()
	server.ClockTTL(true)
	return &embedded{server: server, done: make(chan struct{})}
}

func (e *embedded) Dial(context.Context) (net.Conn, error) {
	conn, err := e.server.Dial()
	if err != nil {
		return nil, err
	}
	return buffer(conn), nil
}

func (e *embedded) Login(string) (name, password string, ok bool) { return "", "", false }

func (e *embedded) SetUsers(context.Context, []User) error { return nil }

func (e *embedded) Done() <-chan struct{} { return e.done }

func (e *embedded) Err() error { return nil }

func (e *embedded) Close() {
	e.close.Do(func() {
		e.server.Close()
		close(e.done)
	})
}

func (e *embedded) String() string { return "embedded miniredis" }

// maxPending is how many bytes of replies a client may leave unread, as
// client-output-buffer-limit in Redis.
const maxPending = 256 << 20

// buffered lets the embedded engine write replies that nobody reads yet, as Redis
// does: a client may send all of a pipeline before it reads, and the in-memory
// connection holds nothing.
type buffered struct {
	net.Conn
	mu      sync.Mutex // guards below
	changed *sync.Cond
	pending []byte
	err     error
}

func buffer(conn net.Conn) *buffered {
	b := &buffered{Conn: conn}
	b.changed = sync.NewCond(&b.mu)
	go b.fill()
	return b
}

// fill ends when the connection does.
func (b *buffered) fill() {
	chunk := make([]byte, 32<<10)
	for {
		n, err := b.Conn.Read(chunk)
		b.mu.Lock()
		b.pending = append(b.pending, chunk[:n]...)
		if len(b.pending) > maxPending {
			err = io.ErrShortBuffer
		}
		b.err = err
		b.changed.Signal()
		b.mu.Unlock()
		if err != nil {
			b.Conn.Close()
			return
		}
	}
}

func (b *buffered) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.pending) == 0 {
		if b.err != nil {
			return 0, b.err
		}
		b.changed.Wait()
	}
	n := copy(p, b.pending)
	b.pending = b.pending[n:]
	if len(b.pending) == 0 {
		b.pending = nil
	}
	return n, nil
}
