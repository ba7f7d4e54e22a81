package dial

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/internal/resp"
)

const (
	// turnWait is how long a sign-in that a client writes may wait for its turn if
	// it has none yet, as a renewal of go-redis.
	turnWait = time.Second
	// maxErrorLine is how much of an error is kept.
	maxErrorLine = 256
)

// start is what times are counted from: the difference takes one look at the clock.
var start = time.Now()

var errClosed = fmt.Errorf("closed before the sign-in was answered: %w", net.ErrClosed)

// A Conn is a connection that knows of the sign-ins on it. A client library writes
// AUTH or HELLO in one piece, on a connection on which nothing else is awaited, so
// that what comes next is the answer.
type Conn struct {
	*tls.Conn
	SignIn *rediam.Connection
	Opened time.Time // when that began

	// OnClose is called when the connection is closed, once; nil means nothing is.
	// Set it before the connection is shared.
	OnClose func()

	raw syscall.RawConn // what TLS runs over; nil where that cannot be looked at

	used    atomic.Int64 // when something was read last, since start
	asked   atomic.Bool  // a sign-in has been written and its answer not been read
	among   atomic.Bool  // so it has among other requests
	lost    atomic.Bool  // and has been refused: nothing more is read
	closing sync.Once

	// The client library writes and reads a sign-in from one goroutine.
	frames  *resp.Replies // of what comes before the answer that is awaited
	refused error         // why the first sign-in has failed

	mu     sync.Mutex // guards below
	closed bool
	timer  *time.Timer // ends among
}

// Write notes a sign-in, and has it wait for its turn.
func (c *Conn) Write(b []byte) (int, error) {
	if isSignIn(b) && !c.among.Load() {
		if err := c.ask(); err != nil {
			return 0, err
		}
	}
	return c.Conn.Write(b)
}

func (c *Conn) ask() error {
	if c.asked.Load() {
		return nil
	}
	if err := c.Err(); err != nil { // it is too late to renew
		return err
	}
	// go-redis follows a HELLO that is refused with AUTH, in case the server does not
	// know HELLO; a token that is refused will be so again.
	if err := c.refused; err != nil && rediam.CauseOf(err) != rediam.CauseOther {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), turnWait)
	defer cancel()
	if err := c.SignIn.Claim(ctx); err != nil {
		return err
	}
	c.frames = new(resp.Replies)
	c.asked.Store(true)
	return nil
}

// isSignIn is whether a request begins with AUTH, or with HELLO that has AUTH in
// it, as client libraries write them. It looks at every request, so it gives up
// early.
func isSignIn(b []byte) bool {
	const longest = 96 // *7 $5 HELLO $1 3 $4 AUTH
	if len(b) == 0 || b[0] != '*' {
		return false
	}
	_, name, _ := bytes.Cut(b[:min(len(b), longest)], []byte("\n"))
	if len(name) < len("$4\r\nAUTH\r\n") || name[0] != '$' {
		return false
	}
	switch string(name[1:5]) {
	case "4\r\nA", "4\r\na":
		return bytes.EqualFold(name[4:8], []byte("auth"))
	case "5\r\nH", "5\r\nh":
		return bytes.EqualFold(name[4:9], []byte("hello")) && bytes.Contains(bytes.ToUpper(name[9:]), []byte("\r\n$4\r\nAUTH\r\n"))
	}
	return false
}

// Read notes the answer to a sign-in.
func (c *Conn) Read(b []byte) (int, error) {
	if c.lost.Load() {
		return 0, io.EOF
	}
	n, err := c.Conn.Read(b)
	c.used.Store(int64(time.Since(start)))
	switch {
	case c.asked.Load():
		c.answered(b[:n], err)
	case c.among.Load():
		if at, line := errorLine(b[:n]); line != "" {
			c.verdict(errors.New(line))
			c.lost.Store(true)
			if at == 0 {
				return 0, io.EOF
			}
			return at, nil
		}
	}
	return n, err
}

// answered looks for the answer behind what the server has pushed meanwhile.
func (c *Conn) answered(b []byte, err error) {
	for len(b) > 0 {
		if c.frames.Idle() && b[0] != '>' {
			c.verdictOn(b)
			return
		}
		n, _, wrong := c.frames.Feed(b)
		if wrong != nil { // the client library will say so
			err = wrong
			break
		}
		b = b[n:]
	}
	if err != nil {
		c.asked.Store(false)
		c.SignIn.End(err)
	}
}

// verdictOn takes the beginning of the answer.
func (c *Conn) verdictOn(answer []byte) {
	c.frames = nil
	c.asked.Store(false)
	if answer[0] != '-' && answer[0] != '!' {
		c.SignIn.End(nil)
		return
	}
	err := errors.New(Shown(firstLine(answer[1:])))
	if c.SignIn.SignedIn().IsZero() {
		c.refused = err
	}
	c.SignIn.End(err)
}

// Shown is an error of the service as it may be logged: an unknown one may repeat
// the token, as Redis repeats the arguments of commands that it does not know.
func Shown(line string) string {
	if rediam.CauseOf(errors.New(line)) != rediam.CauseOther {
		return line
	}
	word, _, _ := strings.Cut(line, " ")
	return word + " (not shown: it may repeat the token)"
}

// AppendAuth appends the AUTH of a user. For default that has one argument, which
// every engine takes; AUTH with two came with Redis 6.
func AppendAuth(b []byte, user, password string) []byte {
	if user == "default" {
		return resp.AppendCommand(b, "AUTH", password)
	}
	return resp.AppendCommand(b, "AUTH", user, password)
}

// auth signs in with a password, and tells what the service has answered.
func (c *Conn) auth(token rediam.Token) error {
	if _, err := c.Conn.Write(AppendAuth(nil, token.User, token.Password)); err != nil {
		return err
	}
	line, err := c.line()
	if err == nil && line != "+OK" {
		err = errors.New(Shown(strings.TrimPrefix(line, "-")))
	}
	return err
}

// line reads a line, and nothing behind it.
func (c *Conn) line() (string, error) {
	var line []byte
	for one := make([]byte, 1); len(line) < maxErrorLine; line = append(line, one[0]) {
		if _, err := c.Conn.Read(one); err != nil {
			return "", err
		}
		if one[0] == '\n' {
			break
		}
	}
	return strings.TrimSuffix(string(line), "\r"), nil
}

// Among says that the client is about to renew the sign-in among other requests,
// so that the answer cannot be told from theirs: it is taken for good unless an
// error of sign-ins comes within d. The client would close the connection then, and
// give that error to whoever has asked for something else; for it the connection
// ends before the error, so that what can be tried again is.
func (c *Conn) Among(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.among.Store(true)
	if c.timer != nil {
		c.timer.Stop()
	}
	c.timer = time.AfterFunc(d, func() { c.verdict(nil) })
}

func (c *Conn) verdict(err error) {
	if c.among.CompareAndSwap(true, false) {
		c.SignIn.End(err)
	}
}

// errorLine is an error of sign-ins that stands in b as a reply of its own, and
// where.
func errorLine(b []byte) (at int, line string) {
	for _, cause := range []string{"-WRONGPASS ", "-ERR Exceeded limit of IAM ", "-ERR IAM Authentication service ", "-ERR service is not available"} {
		i := bytes.Index(b, []byte(cause))
		if i == 0 || i > 0 && b[i-1] == '\n' {
			return i, firstLine(b[i+1:])
		}
	}
	return 0, ""
}

func firstLine(b []byte) string {
	line, _, _ := strings.Cut(string(b[:min(len(b), maxErrorLine)]), "\r\n")
	return line
}

// Raw is what TLS runs over, for a look at it; nil where that is not possible.
func (c *Conn) Raw() syscall.RawConn { return c.raw }

// Close closes the connection and forgets it.
func (c *Conn) Close() error {
	c.closing.Do(func() {
		c.mu.Lock()
		c.closed = true
		if c.timer != nil {
			c.timer.Stop()
		}
		c.mu.Unlock()
		if c.asked.Load() || c.among.Load() {
			c.SignIn.End(errClosed)
		}
		c.SignIn.Close()
		if c.OnClose != nil {
			c.OnClose()
		}
	})
	return c.Conn.Close()
}
