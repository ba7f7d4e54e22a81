package emulator_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/emulator"
	"github.com/rediam/rediam/internal/resp"
)

const (
	wrongPass = "-WRONGPASS invalid username-password pair or user is disabled.\r\n"
	ok        = "+OK\r\n"
)

// patience ends a test that hangs. No test measures time with it.
const patience = 30 * time.Second

// wire is a connection to a cache on which a test speaks RESP itself.
type wire struct {
	t testing.TB
	*tls.Conn
	replies *bufio.Reader
}

func dial(t testing.TB, srv *emulator.Server, cache string) *wire {
	t.Helper()
	e := srv.Cache(cache)
	conn, err := tls.Dial("tcp", e.Addr, e.TLS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return &wire{t, conn, bufio.NewReader(conn)}
}

// signedIn is a connection of the default user of the default set-up.
func signedIn(t testing.TB, srv *emulator.Server) *wire {
	t.Helper()
	w := dial(t, srv, "demo")
	w.wants(ok, "AUTH", "demo-user", token(t, srv, nil))
	return w
}

// token signs one, after change has made the signer another.
func token(t testing.TB, srv *emulator.Server, change func(*rediam.Signer)) string {
	t.Helper()
	s := signer(srv)
	if change != nil {
		change(s)
	}
	made, err := s.Token(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return made.Password
}

func request(args ...string) string { return string(resp.AppendCommand(nil, args...)) }

func bulk(s string) string { return string(resp.AppendBulk(nil, s)) }

func (w *wire) send(raw string) {
	w.t.Helper()
	if _, err := io.WriteString(w, raw); err != nil {
		w.t.Fatal(err)
	}
}

// do sends one command and returns its reply as it came.
func (w *wire) do(args ...string) string {
	w.t.Helper()
	w.send(request(args...))
	return w.reply()
}

// wants sends a command that must have this reply.
func (w *wire) wants(reply string, args ...string) {
	w.t.Helper()
	if got := w.do(args...); got != reply {
		w.t.Fatalf("%.40q is answered by %q, want %q", args, got, reply)
	}
}

// gets reads frames that must be these.
func (w *wire) gets(frames ...string) {
	w.t.Helper()
	for i, want := range frames {
		if got := w.reply(); got != want {
			w.t.Fatalf("frame %d is %.200q, want %.200q", i, got, want)
		}
	}
}

// ends reads what must be the end of the connection.
func (w *wire) ends() {
	w.t.Helper()
	if rest, err := io.ReadAll(w.replies); len(rest) > 0 || timedOut(err) {
		w.t.Fatalf("the connection does not end: %q, %v", rest, err)
	}
}

func timedOut(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}

// reply reads one frame.
func (w *wire) reply() string {
	w.t.Helper()
	frame, err := readFrame(w.replies)
	if err != nil {
		w.t.Fatalf("no reply: %v", err)
	}
	return frame
}

// readFrame reads a reply of RESP2 or RESP3.
func readFrame(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString(line)
	n, _ := strconv.Atoi(strings.TrimSpace(line[1:]))
	switch line[0] {
	case '$', '=', '!':
		if n >= 0 {
			_, err = io.CopyN(&b, r, int64(n)+2)
		}
		return b.String(), err
	case '%', '|':
		n *= 2
	case '*', '>', '~':
	default:
		return line, nil
	}
	for range n {
		element, err := readFrame(r)
		if err != nil {
			return "", err
		}
		b.WriteString(element)
	}
	return b.String(), nil
}

// last is the last sign-in that the emulator has seen.
func last(t *testing.T, srv *emulator.Server) emulator.Event {
	t.Helper()
	events := srv.Events()
	if len(events) == 0 {
		t.Fatal("there is no event")
	}
	return events[len(events)-1]
}

// The server of the AWS endpoint has bounds of its own.
func TestLongHeadersAreRefused(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded", Empty: true})
	for size, want := range map[int]int{32 << 10: http.StatusForbidden, 128 << 10: http.StatusRequestHeaderFieldsTooLarge} {
		r, err := http.NewRequest("POST", srv.URL(), nil)
		must(t, err)
		r.Header.Set("X-A", strings.Repeat("x", size))
		response, err := http.DefaultClient.Do(r)
		must(t, err)
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("a header of %d bytes: %s, want %d", size, response.Status, want)
		}
	}
}
