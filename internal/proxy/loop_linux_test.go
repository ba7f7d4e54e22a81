package proxy_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/internal/proxy"
	"github.com/rediam/rediam/internal/resp"
)

// A connection that gives a byte at a time and takes one, with nothing in between
// every other time, is one like any other, to TLS too.
func TestNothingDependsOnHowMuchIsReadOrWritten(t *testing.T) {
	up := newUpstream(t)
	m := proxy.NewMetrics()
	addr := up.serve(t, func(p *proxy.Proxy) {
		p.Driver, p.Metrics, p.Renewal = "loop", m, rediam.Renewal{After: 300 * time.Millisecond}
		p.Trickle(1, 1)
	})
	large := strings.Repeat("v", 17000) // more than one TLS record
	var all sync.WaitGroup
	for range 2 {
		p := connect(t, addr)
		p.SetDeadline(time.Now().Add(6 * patience))
		all.Go(func() {
			p.says("HELLO 2 AUTH u p SETNAME me\r\nECHO x\r\nPING", "")
			got, _ := io.ReadAll(io.LimitReader(p, 1))
			for range 2 {
				p.Write(resp.AppendCommand(resp.AppendCommand([]byte("\r\n"), "SET", "k", large), "GET", "k"))
			}
			p.Conn.(*net.TCPConn).CloseWrite()
			rest, err := io.ReadAll(p)
			want := "$1\r\nx\r\n+PONG\r\n" + strings.Repeat(fmt.Sprintf("+OK\r\n$%d\r\n%s\r\n", len(large), large), 2)
			if got = append(got, rest...); err != nil || !strings.HasSuffix(string(got), want) {
				t.Errorf("received %d bytes, %v", len(got), err)
			}
		})
	}
	all.Wait()
	p := connect(t, addr)
	p.says("SUBSCRIBE a\r\n", "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n")
	eventually(t, "it is renewed", func() bool { return value(t, m, "renewals_total", "renewed") > 2 })
	connect(t, addr).says("PUBLISH a m\r\n", ":1\r\n")
	p.hears("*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nm\r\n")
}

// What a server has said at the end of its connection waits for the client, who gets
// all of it and then the end.
func TestTheEndOfAServerWaitsForAClientThatIsBehind(t *testing.T) {
	answer := resp.AppendBulk(nil, strings.Repeat("v", 60000))
	addr, _ := odd(t, func(p *proxy.Proxy) {
		p.Driver = "loop"
		p.Trickle(1<<20, 1000)
	}, func(conn net.Conn) {
		conn.Read(make([]byte, 4096))
		io.WriteString(conn, signedIn)
		conn.Read(make([]byte, 4096))
		conn.Write(answer)
	})
	p := connect(t, addr)
	p.says("GET k\r\n", "")
	p.hearsAll(string(answer))
}

// Without descriptors clients wait or are told, and nothing is left of that.
func TestClientsAreServedAgainAfterDescriptorsRunOut(t *testing.T) {
	if eachDriver(t, TestClientsAreServedAgainAfterDescriptorsRunOut) {
		return
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	up := newUpstream(t)
	troubles := &counter{Handler: slog.DiscardHandler}
	addr := up.serve(t, func(p *proxy.Proxy) { p.Log, p.ConnectTime = slog.New(troubles), time.Second })
	connect(t, addr).says("PING\r\n", "+PONG\r\n")
	before := descriptors(t)
	refused := 0
	for room := range 12 { // until all that a client takes can be had
		eventually(t, "the client before has gone", func() bool { return descriptors(t) <= before })
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		answers := make(chan string, 1)
		setLimit(t, limit, roomFor(t, room))
		seen := troubles.n.Load()
		conn.SetDeadline(time.Now().Add(patience))
		io.WriteString(conn, "PING\r\n")
		go func() {
			answer := make([]byte, 7)
			n, _ := io.ReadFull(conn, answer)
			answers <- string(answer[:n])
		}()
		eventually(t, "something comes of it", func() bool { return len(answers) > 0 || troubles.n.Load() > seen })
		unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
		if answer := <-answers; answer != "+PONG\r\n" {
			refused++
			if answer != "" && !strings.HasPrefix(answer, "-ERR") {
				t.Errorf("with room for %d descriptors the client is told %q", room, answer)
			}
		}
		conn.Close()
	}
	if refused == 0 || refused > 8 {
		t.Errorf("%d clients were refused, so that the test shows nothing", refused)
	}
	connect(t, addr).says("PING\r\n", "+PONG\r\n")
	eventually(t, "no descriptor is left but those of the last", func() bool { return descriptors(t) <= before+6 })
}

// A client may end its half and read on, however slowly.
func TestAClientThatHasEndedItsHalfReceivesWhatWaitsForIt(t *testing.T) {
	up := newUpstream(t)
	addr := up.serve(t, func(p *proxy.Proxy) {
		p.Driver, p.Spare = "loop", 2
		p.Trickle(1, 1)
	})
	value := strings.Repeat("x", 1000) // which comes at once, and is written byte by byte
	up.ask("SET", "k", value)
	for range 20 {
		c := connect(t, addr)
		c.says("GET k\r\n", "$1000\r\n")
		c.Conn.(*net.TCPConn).CloseWrite()
		c.hearsAll(value + "\r\n")
	}
}

// A connection that another client has left is not lost, nor given to anybody as one that
// is dead, where there is no descriptor for the next client.
func TestAClientWithoutADescriptorIsToldSo(t *testing.T) {
	up := newUpstream(t)
	m := proxy.NewMetrics()
	addr := up.serve(t, func(p *proxy.Proxy) { p.Driver, p.Spare, p.Metrics = "loop", 2, m })
	c := connect(t, addr)
	c.says("PING\r\n", "+PONG\r\n")
	c.Close()
	eventually(t, "its connection is kept", func() bool { return value(t, m, "spare_connections", "") == 1 })
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	c = connect(t, addr)
	eventually(t, "the next one is there", func() bool { return value(t, m, "clients", "") == 1 && value(t, m, "clients_total", "") == 2 })
	setLimit(t, limit, roomFor(t, 0))
	io.WriteString(c, "PING\r\n")
	answer, err := io.ReadAll(c)
	unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	if err != nil || !strings.HasPrefix(string(answer), "-ERR rediam: ") {
		t.Errorf("the client is told %q, %v", answer, err)
	}
	c.Close()
	eventually(t, "the connection is kept again", func() bool { return value(t, m, "clients", "") == 0 })
	connect(t, addr).says("PING\r\n", "+PONG\r\n")
	if n := up.signIns(); n != 1 {
		t.Errorf("%d sign-ins, want 1", n)
	}
}

// Where the kernel has epoll wait for no more connections, goroutines wait for that of a
// new client, and one for whom there is only another's is told.
func TestNoClientIsForgottenWhereEpollTakesNoMore(t *testing.T) {
	up := newUpstream(t)
	m := proxy.NewMetrics()
	var full atomic.Bool
	addr := up.serve(t, func(p *proxy.Proxy) {
		p.Driver, p.Spare, p.Metrics = "loop", 2, m
		p.NoRoom(full.Load)
	})
	c := connect(t, addr)
	c.says("PING\r\n", "+PONG\r\n")
	c.says("PING\r\n", "+PONG\r\n") // epoll has had room for both halves
	full.Store(true)
	connect(t, addr).says("PING\r\n", "+PONG\r\n")
	full.Store(false)
	c.Close()
	kept := func() bool { return value(t, m, "spare_connections", "") == 1 }
	eventually(t, "its connection is kept", kept)
	full.Store(true)
	c = connect(t, addr)
	io.WriteString(c, "PING\r\n")
	if answer, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(answer), "-ERR rediam: ") {
		t.Errorf("the client is told %q, %v", answer, err)
	}
	c.Close()
	eventually(t, "its connection is kept again", kept)
	full.Store(false)
	connect(t, addr).says("PING\r\n", "+PONG\r\n")
	if n := up.signIns(); n != 2 {
		t.Errorf("%d sign-ins, want 2", n)
	}
}

// A counter counts what is logged.
type counter struct {
	slog.Handler
	n atomic.Int64
}

func (c *counter) Enabled(context.Context, slog.Level) bool { return true }

func (c *counter) Handle(context.Context, slog.Record) error {
	c.n.Add(1)
	return nil
}

func setLimit(t *testing.T, limit unix.Rlimit, n int) {
	t.Helper()
	limit.Cur = uint64(n)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		limit.Cur = limit.Max
		unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	})
}

// roomFor is the limit with which so many descriptors can be opened.
func roomFor(t *testing.T, room int) (limit int) {
	t.Helper()
	for ; room > 0 || isOpen(limit); limit++ {
		if !isOpen(limit) {
			room--
		}
	}
	return limit
}

func isOpen(fd int) bool {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	return err == nil
}
