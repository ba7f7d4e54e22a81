package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/internal/dial"
	"github.com/rediam/rediam/internal/resp"
)

// A joint is a client connection and its connection to the cache, with the session
// between them. One goroutine reads the client and one the server; a third renews
// when it is time.
type joint struct {
	proxy   *Proxy
	renewal rediam.Renewal // resolved
	client  net.Conn
	server  *dial.Conn

	// up is held from a call of Client or Renew until what it returned is written,
	// down from one of Server or Local; mu within them.
	up, down sync.Mutex

	mu      sync.Mutex // guards below; never held across I/O
	changed *sync.Cond // the session, or one of these
	session Session
	turns   uint64 // how often the server has sent something, or a hold has ended
	waiting int    // bytes of the client that wait
	over    bool
	kick    chan struct{} // has one element when a sign-in is due at once
}

func (j *joint) serve(ctx context.Context, dialer *dial.Dialer) {
	defer j.client.Close()
	defer context.AfterFunc(ctx, func() { j.client.Close() })()
	server, err := j.proxy.signIn(ctx, dialer)
	if err != nil {
		j.proxy.log().Warn("sign-in failed", "client", j.client.RemoteAddr().String(), "error", err)
		j.refuse(err)
		return
	}
	j.server = server
	defer context.AfterFunc(ctx, func() { server.Close() })()
	ctx, cancel := context.WithCancel(ctx)
	var both sync.WaitGroup
	both.Go(func() { j.renewals(ctx) })
	both.Go(func() {
		j.fromServer()
		// Nothing can be answered any more.
		j.client.Close()
		j.end()
	})
	j.fromClient()
	server.CloseWrite()
	timer := time.AfterFunc(closeTime, func() { server.Close() })
	j.end()
	cancel()
	both.Wait()
	timer.Stop()
	server.Close()
}

// end lets whoever waits for the session see that it is over.
func (j *joint) end() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.over = true
	j.changed.Broadcast()
}

// refuse answers the first thing that the client says with what has failed.
func (j *joint) refuse(err error) {
	j.client.SetDeadline(time.Now().Add(closeTime))
	if _, readErr := j.client.Read(make([]byte, 1)); readErr != nil {
		return
	}
	line, _, _ := strings.Cut(strings.TrimPrefix(err.Error(), "rediam: "), "\n")
	j.client.Write(resp.AppendError(nil, "ERR rediam: cannot sign in: "+strings.ReplaceAll(line, "\r", " ")))
	// A close with something unread would take the answer back.
	if half, ok := j.client.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
		io.CopyN(io.Discard, j.client, maxUnread)
	}
}

// maxUnread is how much of a client that is refused is read for that.
const maxUnread = 1 << 20

// fromClient passes on what the client sends until it ends.
func (j *joint) fromClient() {
	buf := make([]byte, bufferSize)
	end := 0
	for {
		n, err := j.client.Read(buf[end:])
		end += n
		for again := end > 0; again; {
			taken, seen, wrong := j.take(buf[:end], end == len(buf))
			end = copy(buf, buf[taken:end])
			if wrong != nil {
				j.settle(wrong)
				return
			}
			again = end > 0 && j.await(end, seen)
		}
		if err != nil {
			return
		}
	}
}

// take gives the session requests, and writes what it makes of them. It tells what
// of the server's has been seen then.
func (j *joint) take(b []byte, full bool) (taken int, seen uint64, err error) {
	j.up.Lock()
	j.mu.Lock()
	taken, parts, err := j.session.Client(b, full)
	seen, due := j.turns, j.session.Due()
	j.mu.Unlock()
	written := write(j.server, parts)
	j.up.Unlock()
	if due {
		written = errors.Join(written, j.local())
	}
	return taken, seen, errors.Join(err, written)
}

// await is called with bytes that the session has left: it is true when it may take
// more of them, and false if more have to come from the client first.
func (j *joint) await(left int, seen uint64) (again bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.session.Waits() && !j.session.Held() {
		return false
	}
	j.waiting = left
	j.changed.Broadcast()
	for !j.over && (j.session.Held() || j.session.Waits() && j.turns == seen) {
		j.changed.Wait()
	}
	j.waiting = 0
	return !j.over
}

// settle lets what has been answered reach the client when the session ends here.
func (j *joint) settle(why error) {
	j.proxy.log().Info("connection closed", "client", j.client.RemoteAddr().String(), "why", why)
	j.local()
}

// local writes the answers of the session's own that are due.
func (j *joint) local() error {
	j.down.Lock()
	defer j.down.Unlock()
	j.mu.Lock()
	parts := j.session.Local()
	j.mu.Unlock()
	return write(j.client, parts)
}

// fromServer passes on what the server sends until it ends.
func (j *joint) fromServer() {
	buf := make([]byte, bufferSize)
	for {
		n, err := j.server.Read(buf)
		if n > 0 {
			j.down.Lock()
			j.mu.Lock()
			parts, wrong := j.session.Server(buf[:n])
			j.turn()
			j.mu.Unlock()
			err = errors.Join(wrong, write(j.client, parts), err)
			j.down.Unlock()
		}
		if err != nil {
			return
		}
	}
}

// turn tells that the session has moved on. The caller holds mu.
func (j *joint) turn() {
	j.turns++
	if j.session.SignedOut() {
		select {
		case j.kick <- struct{}{}:
		default:
		}
	}
	j.changed.Broadcast()
}

func write(w io.Writer, parts [][]byte) error {
	buffers := net.Buffers(parts)
	_, err := buffers.WriteTo(w)
	return err
}
