package gate_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rediam/rediam/internal/gate"
	"github.com/rediam/rediam/internal/resp"
	"github.com/rediam/rediam/internal/world"
)

// pipes is a listener for connections in memory.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{} }

// noEngine cannot be reached.
type noEngine struct{}

func (noEngine) Dial(context.Context) (net.Conn, error) { return nil, errors.New("no engine") }
func (noEngine) Login(user string) (string, string, bool) {
	return user, "password", true
}

// silentEngine takes connections and what is sent on them, and answers nothing.
type silentEngine struct{ noEngine }

func (silentEngine) Dial(context.Context) (net.Conn, error) {
	near, far := net.Pipe()
	go io.Copy(io.Discard, far)
	return near, nil
}

// serve runs a gate whose only user has a password, in front of no engine or this
// one, until the test ends, and returns a way to connect, on which wrap lays what
// the gate is to see.
func serve(t *testing.T, g *gate.Gate, engines ...gate.Engine) (connect func(wrap ...func(net.Conn) net.Conn) net.Conn) {
	t.Helper()
	w := world.New("", "")
	for _, err := range []error{
		w.PutUser(world.User{Name: "user", Auth: world.AuthPassword, Passwords: []world.Secret{"a-long-enough-password"}, Access: "on ~* +@all"}),
		w.PutUser(world.User{ID: "the-default", Name: "default", Auth: world.AuthNoPassword, Access: "off -@all"}),
		w.PutGroup(world.Group{ID: "group", Users: []string{"user", "the-default"}}),
		w.PutCache(world.Cache{Name: "cache", Group: "group"}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	g.World, g.Cache = w, "cache"
	if g.Log == nil {
		g.Log = slog.New(slog.DiscardHandler)
	}
	listener := &pipes{make(chan net.Conn), make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	node := gate.Node{Listener: listener, Engine: append(engines, noEngine{})[0]}
	var serving sync.WaitGroup
	serving.Go(func() { g.Serve(ctx, node) })
	t.Cleanup(func() {
		cancel()
		serving.Wait()
	})
	return func(wrap ...func(net.Conn) net.Conn) net.Conn {
		client, server := net.Pipe()
		for _, f := range wrap {
			server = f(server)
		}
		t.Cleanup(func() { client.Close() })
		listener.conns <- server
		return client
	}
}

// answer sends request and returns all that comes until the connection ends.
func answer(t *testing.T, conn net.Conn, request string) string {
	t.Helper()
	go io.WriteString(conn, request)
	got, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(got)
}

func TestAConnectionHasTenSecondsToSignIn(t *testing.T) {
	rows := map[string]string{
		"that says nothing":         "",
		"that sends half a request": "*2\r\n$4\r\nAU",
		"that drips":                "drip",
		"that is refused meanwhile": string(resp.AppendCommand(nil, "PING")),
		"that resets":               "RESET\r\n",
	}
	for name, first := range rows {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn := serve(t, &gate.Gate{})()
				opened := time.Now()
				written := make(chan bool)
				go func() {
					defer close(written)
					_, err := io.WriteString(conn, first)
					for err == nil && (name == "that drips" || name == "that resets") {
						<-time.After(time.Second)
						_, err = io.WriteString(conn, map[string]string{"that drips": "x", "that resets": first}[name])
					}
				}()
				if _, err := io.ReadAll(conn); err != nil {
					t.Fatal(err)
				}
				if lived := time.Since(opened); lived != gate.SignInTime {
					t.Errorf("the connection lived %v, want %v", lived, gate.SignInTime)
				}
				<-written
			})
		})
	}
}

func TestAnEngineThatHangsDoesNotHoldASignInForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := serve(t, &gate.Gate{}, silentEngine{})()
		opened := time.Now()
		if got := answer(t, conn, string(resp.AppendCommand(nil, "AUTH", "user", "a-long-enough-password"))); got != "" {
			t.Errorf("got %q", got)
		}
		if lived := time.Since(opened); lived != gate.SignInTime {
			t.Errorf("the connection lived %v, want %v", lived, gate.SignInTime)
		}
	})
}

func TestBeforeSignInRequestsAreSmall(t *testing.T) {
	auth := func(password string) string { return string(resp.AppendCommand(nil, "AUTH", "user", password)) }
	const wrongPass = "-WRONGPASS invalid username-password pair or user is disabled.\r\n"
	rows := []struct{ name, send, get string }{
		{"ten arguments", "*10\r\n" + strings.Repeat("$1\r\na\r\n", 10) + "*11\r\n", "-NOAUTH Authentication required.\r\n-ERR Protocol error: unauthenticated multibulk length\r\n"},
		{"an argument of 16,384 bytes", auth(strings.Repeat("x", 16384)) + "*1\r\n$16385\r\n", wrongPass + "-ERR Protocol error: unauthenticated bulk length\r\n"},
		{"a password of 16,385 bytes", auth(strings.Repeat("x", 16385)), "-ERR Protocol error: unauthenticated bulk length\r\n"},
		{"a huge array", "*1000000\r\n", "-ERR Protocol error: unauthenticated multibulk length\r\n"},
		{"an impossible array", "*99999999999\r\n", "-ERR Protocol error: invalid multibulk length\r\n"},
		{"a huge string", "*1\r\n$536870912\r\n", "-ERR Protocol error: unauthenticated bulk length\r\n"},
		{"an endless line", strings.Repeat("x", 16<<10) + "x", "-ERR Protocol error: too big inline request\r\n"},
		{"two large arguments", "*3\r\n" + strings.Repeat("$16384\r\n"+strings.Repeat("x", 16384)+"\r\n", 2), "-ERR Protocol error: unauthenticated bulk length\r\n"},
		{"a request of GET", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", ""},
		{"a request of POST", "POST / HTTP/1.1\r\nHost: localhost\r\n\r\nSET k v\r\n", ""},
		{"a request of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ""},
		{"a Host header alone", "Host: localhost\r\n", ""},
		{"a health check's line", "PUT /\r\n", ""},
		{"a client's hello of TLS", "\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03", "-ERR Protocol error: NUL in inline request\r\n"},
		{"bytes", "\x80\x81\xff\xfe\x00\n", "-ERR Protocol error: NUL in inline request\r\n"},
		{"an array of integers", "*1\r\n:1\r\n", "-ERR Protocol error: expected '$', got ':'\r\n"},
		{"an unbalanced quote", "AUTH \"x\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n"},
		{"QUIT", "PING\r\nQUIT\r\nPING\r\n", "-NOAUTH Authentication required.\r\n+OK\r\n"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			got := answer(t, serve(t, &gate.Gate{})(), row.send)
			if got != row.get {
				t.Errorf("got %q, want %q", got, row.get)
			}
		})
	}
}

func TestAnEngineThatIsGoneIsNoSecretRefusal(t *testing.T) {
	var events []gate.Event
	conn := serve(t, &gate.Gate{Record: func(e gate.Event) { events = append(events, e) }})()
	got := answer(t, conn, string(resp.AppendCommand(nil, "AUTH", "user", "a-long-enough-password")))
	if got != "-ERR service is not available\r\n" {
		t.Errorf("got %q", got)
	}
	if len(events) != 1 || events[0].Reason != "engine-unavailable" || events[0].Detail != "no engine" {
		t.Errorf("the events are %+v", events)
	}
}

func TestConnectionsThatDoNotSignInTakeLittleMemory(t *testing.T) {
	connect := serve(t, &gate.Gate{})
	const n = 200
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range n {
		conn := connect()
		// As much as may be pending: an argument, and most of a second.
		io.WriteString(conn, "*10\r\n$16384\r\n"+strings.Repeat("x", 16384)+"\r\n$16384\r\n"+strings.Repeat("x", 16000))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if each := int64(after.HeapAlloc-before.HeapAlloc) / n; each > 64<<10 {
		t.Errorf("each connection takes %d bytes", each)
	}
}

func TestTheLogSaysWhyAConnectionEnded(t *testing.T) {
	var written bytes.Buffer
	conn := serve(t, &gate.Gate{Log: slog.New(slog.NewTextHandler(&written, nil))})()
	answer(t, conn, "GET / HTTP/1.1\r\n")
	if !strings.Contains(written.String(), "an HTTP request, not Redis") {
		t.Errorf("the log is %q", written.String())
	}
}

func TestTheHandshakeOfAnOpenCacheHasTenSecondsToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate.Gate{}
		connect := serve(t, g)
		if err := g.World.PutCache(world.Cache{Name: "cache"}); err != nil {
			t.Fatal(err)
		}
		conn := connect(func(c net.Conn) net.Conn { return tls.Server(c, &tls.Config{}) })
		opened := time.Now()
		if _, err := io.ReadAll(conn); err != nil {
			t.Fatal(err)
		}
		if lived := time.Since(opened); lived != gate.SignInTime {
			t.Errorf("the connection lived %v, want %v", lived, gate.SignInTime)
		}
	})
}
