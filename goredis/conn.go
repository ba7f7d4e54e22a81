package goredis

import (
	"io"
	"net"
	"syscall"
	"time"

	"github.com/rediam/rediam/internal/dial"
)

// conn answers the look that the pool takes at a connection before it lends it. By
// itself go-redis looks at connections without TLS only, and finds out that
// another one has been closed when a command has failed on it.
type conn struct {
	*dial.Conn
	below look
}

var (
	_ net.Conn     = (*conn)(nil)
	_ syscall.Conn = (*conn)(nil)
)

func newConn(c *dial.Conn) *conn { return &conn{c, look{c.Raw(), c}} }

func (c *conn) SyscallConn() (syscall.RawConn, error) { return &c.below, nil }

// peekTime bounds how long go-redis may wait for the rest of what has arrived.
const peekTime = time.Second

// look is the connection below TLS, for go-redis to look at: what TLS sends for
// itself is not there to be seen, and where it has ended, that is.
type look struct {
	syscall.RawConn
	conn *dial.Conn
}

func (l *look) Read(peek func(fd uintptr) (done bool)) error {
	switch l.conn.Look() {
	case dial.Closed:
		return io.EOF
	case dial.Pending:
		l.conn.SetReadDeadline(time.Now().Add(peekTime)) // go-redis reads what is there, of which the rest may not come
		return l.RawConn.Read(peek)
	}
	return nil
}
