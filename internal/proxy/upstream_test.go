package proxy_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/internal/installed"
	"github.com/rediam/rediam/internal/proxy"
	"github.com/rediam/rediam/internal/resp"
)

// An upstream is a redis-server that keeps what it has acknowledged and takes any
// token of a user, behind TLS that can be cut. It shows what becomes of connections
// that fail; the emulator, what becomes of sign-ins.
type upstream struct {
	path, dir string
	addr      string
	trust     *tls.Config
	engine    *exec.Cmd

	mu    sync.Mutex // guards below
	conns map[net.Conn]struct{}
}

func newUpstream(t *testing.T) *upstream {
	t.Helper()
	dir, err := os.MkdirTemp("", "engine") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewTLSServer(nil) // for its certificate
	defer web.Close()
	u := &upstream{path: installed.Path(t, "redis-server"), dir: dir, trust: &tls.Config{RootCAs: x509.NewCertPool()}, conns: map[net.Conn]struct{}{}}
	u.trust.RootCAs.AddCert(web.Certificate())
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: web.TLS.Certificates})
	if err != nil {
		t.Fatal(err)
	}
	u.addr = listener.Addr().String()
	u.start(t)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			switch {
			case err == nil:
				running.Go(func() { u.forward(conn.(*tls.Conn)) })
			case errors.Is(err, net.ErrClosed):
				return
			default: // there are no descriptors
				time.Sleep(time.Millisecond)
			}
		}
	})
	t.Cleanup(func() {
		listener.Close()
		u.cut()
		u.kill()
		running.Wait()
		os.RemoveAll(dir)
	})
	return u
}

func (u *upstream) socket() string { return filepath.Join(u.dir, "s") }

// start starts the engine, with the data that it had.
func (u *upstream) start(t *testing.T) {
	t.Helper()
	u.engine = exec.Command(u.path, "--port", "0", "--unixsocket", u.socket(), "--dir", u.dir, "--save", "", "--appendonly", "yes", "--appendfsync", "always",
		"--user", user, "on", "nopass", "~*", "&*", "+@all")
	if err := u.engine.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the engine answers", func() bool { return u.ask("PING") == "+PONG\r\n" })
}

// kill kills it as nothing can be prepared for.
func (u *upstream) kill() {
	u.engine.Process.Kill()
	u.engine.Wait()
}

// ask sends the engine a command, and gives all that it answers.
func (u *upstream) ask(words ...string) string {
	conn, err := net.Dial("unix", u.socket())
	if err != nil {
		return ""
	}
	defer conn.Close()
	conn.Write(resp.AppendCommand(resp.AppendCommand(nil, words...), "QUIT"))
	answer, _ := io.ReadAll(conn)
	return string(answer[:max(0, len(answer)-len("+OK\r\n"))])
}

// signIns is how often the engine has executed AUTH since it started.
func (u *upstream) signIns() int {
	found := regexp.MustCompile(`cmdstat_auth:calls=([0-9]+)`).FindStringSubmatch(u.ask("INFO", "commandstats"))
	if found == nil {
		return 0
	}
	n, _ := strconv.Atoi(found[1])
	return n
}

// cut closes every connection there is, without a word.
func (u *upstream) cut() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for conn := range u.conns {
		conn.Close()
	}
}

func (u *upstream) forward(conn *tls.Conn) {
	defer conn.Close()
	raw := conn.NetConn()
	u.mu.Lock()
	u.conns[raw] = struct{}{}
	u.mu.Unlock()
	defer func() {
		u.mu.Lock()
		delete(u.conns, raw)
		u.mu.Unlock()
	}()
	engine, err := net.Dial("unix", u.socket())
	if err != nil {
		return
	}
	defer engine.Close()
	var back sync.WaitGroup
	back.Go(func() {
		io.Copy(conn, engine)
		conn.CloseWrite()
		conn.Close()
	})
	io.Copy(engine, conn)
	engine.(*net.UnixConn).CloseWrite()
	back.Wait()
}

// serve runs a proxy in front of it until the test ends.
func (u *upstream) serve(t *testing.T, change func(*proxy.Proxy)) (addr string) {
	t.Helper()
	addr, _ = u.serveUntil(t, change)
	return addr
}

// serveUntil runs one that may also be asked to end before.
func (u *upstream) serveUntil(t *testing.T, change func(*proxy.Proxy)) (addr string, end func()) {
	t.Helper()
	signer := &rediam.Signer{Cache: "orders", User: user, Region: "eu-west-1", Credentials: credentials.NewStaticCredentialsProvider("AKIAIOSFODNN7EXAMPLE", "not-a-secret", "")}
	p := &proxy.Proxy{Driver: driver(t), Addr: u.addr, TLS: u.trust, SignIns: rediam.Follow(signer)}
	if change != nil {
		change(p)
	}
	return run(t, p)
}

// open is how many connections it has.
func (u *upstream) open() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.conns)
}
