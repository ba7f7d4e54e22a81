package dial

import (
	"io"
	"time"
)

// State is what a look at a connection that nobody reads has found.
type State int

const (
	Quiet   State = iota // nothing to read, or nothing but TLS's own
	Pending              // something to read
	Closed               // by the other side
)

// TLS records (RFC 8446, section 5): a type, a version and a length of two bytes.
const (
	recordHeader = 5
	recordAlert  = 21
	recordData   = 23 // from TLS 1.3 on everything after the handshake says so
	alertLength  = 19 // of an alert in TLS 1.3: 2 bytes, 1 of type, 16 of tag
	// ownLength is the most that a record which is TLS's own has: 5 bytes of
	// KeyUpdate, 1 and 16. A reply of 5 bytes or less, which should not come when
	// nobody has asked, is taken for one.
	ownLength = 22
)

// quietTime is how long ago a connection must have been read from to be worth a
// look: a busy one is in use when it is closed, and its command fails all the same.
const quietTime = 10 * time.Millisecond

// Look tells, without reading and without waiting, what an idle connection has
// received: TLS hides from the client libraries that it has been closed, until they
// write.
func (c *Conn) Look() State {
	if time.Since(start)-time.Duration(c.used.Load()) < quietTime {
		return Quiet
	}
	return c.received()
}

// judge tells from the beginning of what has arrived, which is empty at the end
// of the stream.
func judge(head []byte) State {
	switch {
	case len(head) == 0:
		return Closed
	case len(head) < recordHeader: // there will be more
		return Quiet
	}
	length := int(head[3])<<8 | int(head[4])
	switch {
	case head[0] == recordAlert, head[0] == recordData && length == alertLength:
		return Closed
	case head[0] != recordData, length <= ownLength:
		return Quiet
	}
	return Pending
}

// Err is an error if the other side has closed the connection. Nobody may be
// reading.
func (c *Conn) Err() error {
	if c.Look() == Closed {
		return io.EOF
	}
	return nil
}
