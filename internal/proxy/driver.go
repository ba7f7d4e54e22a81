package proxy

import (
	"errors"
	"io"
	"net"
	"os"
	"time"

	"github.com/rediam/rediam/internal/dial"
)

// A driver moves the bytes of a joint, which is where all else about it is decided.
type driver interface {
	// run passes on what comes from either side. When the client has ended, it calls
	// goes and then, before or after it returns, ended; when nothing more comes from the
	// server, it closes the client, and answered.
	run(ended func())
	// wake is called when what the client has been waiting for may have happened, by
	// who holds the joint's mu.
	wake()
	// behind is whether something that has been written waits for the server, or for
	// the client.
	behind() (server, client bool)
	// part ends the half of the connection that the client reads, and waits for a
	// while until it has ended the other.
	part()
	// release ends run's reading of the server, so that another joint can have it, and
	// tells whether nothing has come that was not awaited.
	release() bool
	// gone is whether the client has ended its half, or is not there any more.
	gone() bool
}

// goroutines is the driver for every system: one that reads the client and one that
// reads the server.
type goroutines struct{ *joint }

var _ driver = goroutines{}

func (g goroutines) run(ended func()) {
	go func() {
		defer close(g.answered)
		if g.fromServer() {
			return
		}
		g.client.Close() // nothing can be answered any more
		g.end()
	}()
	g.fromClient()
	g.goes()
	ended()
}

func (goroutines) wake() {} // changed does that

func (goroutines) behind() (server, client bool) { return false, false } // Write waits

func (g goroutines) gone() bool { return dial.Ended(g.client) }

// maxUnread is how much of a client that nobody listens to is read.
const maxUnread = 1 << 20

func (g goroutines) part() { part(g.client) }

// part is explained at driver.
func part(client net.Conn) {
	if half, ok := client.(interface{ CloseWrite() error }); ok {
		client.SetReadDeadline(time.Now().Add(closeTime))
		half.CloseWrite()
		io.CopyN(io.Discard, client, maxUnread)
	}
}

// fromClient passes on what the client sends until it ends.
func (g goroutines) fromClient() {
	if g.local() != nil {
		return
	}
	for {
		for again := g.intake.end > 0; again; {
			seen, err := g.take()
			if err != nil {
				g.settle(err)
				return
			}
			again = g.intake.end > 0 && g.await(seen)
		}
		if g.intake.read() != nil {
			return
		}
	}
}

// await is called with bytes that the session has left: it is true when it may take
// more of them, and false if more have to come from the client first.
func (g goroutines) await(seen uint64) (again bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	again, waits := g.goesOn(seen)
	for ; waits; again, waits = g.goesOn(seen) {
		g.changed.Wait()
	}
	return again
}

// release interrupts the goroutine that reads the server. It may be about to set the
// deadline itself.
func (g goroutines) release() bool {
	g.leaving.Store(true)
	for again := time.NewTicker(releasePause); ; {
		g.server.SetReadDeadline(time.Unix(1, 0))
		select {
		case <-g.answered:
			again.Stop()
			return g.released && g.server.SetReadDeadline(time.Time{}) == nil
		case <-again.C:
		}
	}
}

// releasePause is how soon release tries again.
const releasePause = 10 * time.Millisecond

// fromServer passes on what the server sends until it ends, or is released.
func (g goroutines) fromServer() (released bool) {
	in := newIntake(g.server.Conn)
	defer in.release()
	for {
		err := in.read()
		if in.end == 0 && g.leaving.Load() && (err == nil || errors.Is(err, os.ErrDeadlineExceeded)) {
			g.released = true
			return true
		}
		if in.end > 0 {
			err = errors.Join(g.pass(in.bytes()), err)
			g.proxy.metrics.toClient.Add(float64(in.end))
			in.end = 0
		}
		if err != nil {
			return false
		}
	}
}
