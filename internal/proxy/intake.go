package proxy

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

const (
	// smallBuffer is what a connection at rest has for each half; largeBuffer is what
	// it has while much comes, and the largest request that is looked at whole.
	smallBuffer = 1 << 10
	largeBuffer = 32 << 10

	// restTime is how long a large buffer may wait for something.
	restTime = 5 * time.Second
)

var largeBuffers = sync.Pool{New: func() any { return new([largeBuffer]byte) }}

// An intake reads one half of a connection. It is for one goroutine.
type intake struct {
	conn  net.Conn
	buf   []byte             // buf[:end] has come and nobody has taken it
	end   int                //
	large *[largeBuffer]byte // what buf is, if it is large
	more  bool               // the last read has filled it
	renew time.Time          // when the read deadline of a large one is to be set again
}

func newIntake(conn net.Conn) *intake { return &intake{conn: conn, buf: make([]byte, smallBuffer)} }

func (in *intake) bytes() []byte { return in.buf[:in.end] }

// full is whether there is no room for more, nor will there be.
func (in *intake) full() bool { return in.end == largeBuffer }

// take forgets the first n bytes.
func (in *intake) take(n int) { in.end = copy(in.buf, in.buf[n:in.end]) }

// read waits for more, and may come back without any. The buffer grows where it has
// been full, and shrinks when nothing comes.
func (in *intake) read() error {
	if in.more && in.large == nil {
		in.large = largeBuffers.Get().(*[largeBuffer]byte)
		copy(in.large[:], in.bytes())
		in.buf = in.large[:]
	}
	if now := time.Now(); in.large != nil && now.After(in.renew) {
		in.conn.SetReadDeadline(now.Add(restTime))
		in.renew = now.Add(restTime / 4)
	}
	n, err := in.conn.Read(in.buf[in.end:])
	in.end += n
	in.more = in.end == len(in.buf)
	if in.large == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	if in.end <= smallBuffer {
		small := make([]byte, smallBuffer)
		copy(small, in.bytes())
		in.release()
		in.buf = small
	}
	in.renew = time.Time{}
	return in.conn.SetReadDeadline(time.Time{})
}

// lend has what comes go to a buffer of somebody else's until keep, which keeps what
// nobody has taken.
func (in *intake) lend(buf *[largeBuffer]byte) {
	copy(buf[:], in.bytes())
	in.release()
	in.buf = buf[:]
}

func (in *intake) keep() {
	left := in.bytes()
	switch {
	case in.end == 0:
		in.release()
		in.buf = nil
		return
	case in.end <= smallBuffer:
		in.buf = make([]byte, smallBuffer)
	default:
		in.large = largeBuffers.Get().(*[largeBuffer]byte)
		in.buf = in.large[:]
	}
	copy(in.buf, left)
}

// release gives a large buffer back. The intake must not be used after that.
func (in *intake) release() {
	if in.large != nil {
		largeBuffers.Put(in.large)
		in.large, in.buf = nil, nil
	}
}
