package proxy_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/emulator"
	"github.com/rediam/rediam/internal/proxy"
	"github.com/rediam/rediam/internal/resp"
)

// odd runs a proxy in front of a server over TLS that is whatever answer makes it.
func odd(t *testing.T, change func(*proxy.Proxy), answer func(net.Conn)) (addr string, of *proxy.Proxy) {
	t.Helper()
	return oddTLS(t, &tls.Config{}, change, answer)
}

// oddTLS is odd with a configuration of the server's.
func oddTLS(t *testing.T, config *tls.Config, change func(*proxy.Proxy), answer func(net.Conn)) (addr string, of *proxy.Proxy) {
	t.Helper()
	web := httptest.NewTLSServer(nil)
	defer web.Close()
	roots := x509.NewCertPool()
	roots.AddCert(web.Certificate())
	config.Certificates = web.TLS.Certificates
	listener, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for conn, err := listener.Accept(); err == nil; conn, err = listener.Accept() {
			go func() {
				defer conn.Close()
				answer(conn)
			}()
		}
	}()
	signer := &rediam.Signer{Cache: "orders", User: user, Region: "eu-west-1", Credentials: credentials.NewStaticCredentialsProvider("AKIAIOSFODNN7EXAMPLE", "not-a-secret", "")}
	of = &proxy.Proxy{Driver: driver(t), Addr: listener.Addr().String(), TLS: &tls.Config{RootCAs: roots}, SignIns: rediam.Follow(signer)}
	if change != nil {
		change(of)
	}
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- of.Serve(ctx, front) }()
	t.Cleanup(func() {
		cancel()
		<-served
	})
	return front.Addr().String(), of
}

// A server that says why and closes has said why, even if it says nothing when it is
// asked again.
func TestTheReasonOfAServerThatClosesIsTold(t *testing.T) {
	if eachDriver(t, TestTheReasonOfAServerThatClosesIsTold) {
		return
	}
	var tries atomic.Int64
	addr, _ := odd(t, func(p *proxy.Proxy) { p.ConnectTime = 2 * time.Second }, func(conn net.Conn) {
		conn.Read(make([]byte, 4096))
		if tries.Add(1) == 1 {
			io.WriteString(conn, "-ERR max number of clients reached\r\n")
		} else {
			io.Copy(io.Discard, conn)
		}
	})
	p := connect(t, addr)
	io.WriteString(p, "PING\r\n")
	answer, _ := io.ReadAll(p)
	if !strings.Contains(string(answer), "max number of clients") || tries.Load() < 2 {
		t.Errorf("answered %q after %d tries", answer, tries.Load())
	}
}

// What a server answers ends no proxy.
func TestAnEmptyAnswerToCLUSTERINFOIsAnError(t *testing.T) {
	if eachDriver(t, TestAnEmptyAnswerToCLUSTERINFOIsAnError) {
		return
	}
	addr, _ := odd(t, nil, func(conn net.Conn) {
		conn.Read(make([]byte, 4096))
		io.WriteString(conn, "+OK\r\n*4\r\n$5\r\nproto\r\n:2\r\n$4\r\nmode\r\n$7\r\ncluster\r\n")
		conn.Read(make([]byte, 4096))
		io.WriteString(conn, "\r\n")
		io.Copy(io.Discard, conn)
	})
	p := connect(t, addr)
	io.WriteString(p, "PING\r\n")
	io.ReadAll(p)
}

// Many who ask at one time whether it is ready cost one sign-in.
func TestReadinessLooksOnce(t *testing.T) {
	if eachDriver(t, TestReadinessLooksOnce) {
		return
	}
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	var of *proxy.Proxy
	addr, signIns := serve(t, srv, func(p *proxy.Proxy, s *rediam.Signer) { of = p })
	if err := srv.Fault(emulator.DefaultCache, emulator.Fault{SignIn: "WRONGPASS invalid username-password pair or user is disabled.", Latency: 200 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		p := connect(t, addr)
		io.WriteString(p, "PING\r\n")
		io.ReadAll(p)
	}
	before := signIns.Counts().Failures[rediam.CauseRefused]
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { of.Ready(t.Context()) })
	}
	all.Wait()
	if n := signIns.Counts().Failures[rediam.CauseRefused] - before; n > 1 {
		t.Errorf("%d sign-ins", n)
	}
}

// An answer is not there before it is written.
func TestTheEndOfTheProxyWaitsForTheLastAnswer(t *testing.T) {
	if eachDriver(t, TestTheEndOfTheProxyWaitsForTheLastAnswer) {
		return
	}
	srv := emulator.Start(t, emulator.Config{Engine: "redis-server"})
	cache := srv.Cache(emulator.DefaultCache)
	signer := &rediam.Signer{Cache: cache.Name, User: emulator.DefaultUser, Region: srv.Region(), Credentials: srv.Credentials(emulator.DefaultRole)}
	proxied := &proxy.Proxy{Driver: driver(t), Addr: cache.Addr, TLS: cache.TLS, SignIns: rediam.Follow(signer)}
	listener := make(pipes)
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- proxied.Serve(ctx, listener) }()
	client, proxySide := net.Pipe()
	listener <- proxySide
	p := &peer{t, client}
	p.SetDeadline(time.Now().Add(patience))
	p.says("PING\r\n", "+PONG\r\n")
	io.WriteString(p, "INCR k\r\n")
	p.hears(":") // it is being written
	cancel()
	time.Sleep(100 * time.Millisecond) // less than the second that there is
	p.hearsAll("1\r\n")
	<-served
}

// What a client says is no sign-in of the proxy's: its turn would not come back.
func TestNoTurnIsTakenByWhatClientsSay(t *testing.T) {
	if eachDriver(t, TestNoTurnIsTakenByWhatClientsSay) {
		return
	}
	for name, said := range map[string]string{
		"a name":              string(resp.AppendCommand(nil, "HELLO", "3", "SETNAME", "AUTH")),
		"HELLO that is wrong": string(resp.AppendCommand(nil, "HELLO", "3", "AUTH", "u")),
		"a key":               string(resp.AppendCommand(resp.AppendCommand(nil, "HELLO", "3"), "GET", "auth")),
	} {
		t.Run(name, func(t *testing.T) {
			srv := emulator.Start(t, emulator.Config{Engine: "redis-server"})
			addr, _ := serve(t, srv, func(p *proxy.Proxy, s *rediam.Signer) {
				p.SignIns, p.ConnectTime = rediam.Limit(s, 1), 2*time.Second
			})
			p := connect(t, addr)
			p.says("PING\r\n", "+PONG\r\n")
			io.WriteString(p, said)
			p.Read(make([]byte, 1))
			connect(t, addr).says("PING\r\n", "+PONG\r\n")
		})
	}
}

// An answer of the proxy's own lets what has waited for it go on.
func TestSUBSCRIBEBehindAnAnswerOfOursIsTaken(t *testing.T) {
	if eachDriver(t, TestSUBSCRIBEBehindAnAnswerOfOursIsTaken) {
		return
	}
	srv := emulator.Start(t, emulator.Config{Engine: "redis-server"})
	addr, _ := serve(t, srv, nil)
	p := connect(t, addr)
	p.says("PING\r\n", "+PONG\r\n")
	p.SetDeadline(time.Now().Add(3 * time.Second))
	p.says("AUTH u p\r\nSUBSCRIBE a\r\n", "+OK\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n")
}

// RESP2 is what the client speaks, however large its request.
func TestALargeRequestAfterASubscriptionIsAnsweredInRESP2(t *testing.T) {
	if eachDriver(t, TestALargeRequestAfterASubscriptionIsAnsweredInRESP2) {
		return
	}
	srv := emulator.Start(t, emulator.Config{Engine: "redis-server"})
	addr, _ := serve(t, srv, nil)
	p := connect(t, addr)
	p.says("SUBSCRIBE a\r\nUNSUBSCRIBE a\r\n", "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n")
	p.Write(resp.AppendCommand(nil, "MGET", strings.Repeat("k", 40000), "none"))
	p.hears("*2\r\n$-1\r\n$-1\r\n")
}

// AUTH is for the proxy, however often it stands in HELLO.
func TestNoAUTHInHELLOReachesTheServer(t *testing.T) {
	s := proxy.Session{Password: "sesame"}
	_, up, err := s.Client(resp.AppendCommand(nil, "HELLO", "3", "AUTH", "u", "sesame", "AUTH", "default", "sesame"), false)
	if err != nil || strings.Contains(joined(up), "sesame") {
		t.Errorf("the server gets %q, %v", joined(up), err)
	}
}

// With replies off the stand-in is not answered either.
func TestAStandInWithRepliesOffTakesNobodysAnswer(t *testing.T) {
	var s proxy.Session
	s.Client([]byte("CLIENT REPLY OFF\r\nASKING\r\nAUTH x y\r\nCLIENT REPLY ON\r\n"), false)
	if down, err := s.Server([]byte("+OK\r\n")); err != nil || joined(down) != "+OK\r\n" {
		t.Errorf("the client gets %q, %v", joined(down), err)
	}
}

// QUIT is no other protocol.
func TestQUITBeforeThePasswordIsNotRefused(t *testing.T) {
	if eachDriver(t, TestQUITBeforeThePasswordIsNotRefused) {
		return
	}
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	m := proxy.NewMetrics()
	addr, _ := serve(t, srv, func(p *proxy.Proxy, _ *rediam.Signer) { p.Metrics, p.Password = m, "sesame" })
	p := connect(t, addr)
	io.WriteString(p, "QUIT\r\n")
	p.hearsAll("+OK\r\n")
	if n := value(t, m, "refused_clients_total", "protocol"); n != 0 {
		t.Errorf("%v are counted as of another protocol", n)
	}
}

// A connection that ends while it is renewed has not failed to be.
func TestTheEndOfAConnectionIsNoFailedRenewal(t *testing.T) {
	if eachDriver(t, TestTheEndOfAConnectionIsNoFailedRenewal) {
		return
	}
	srv := emulator.Start(t, emulator.Config{Engine: "redis-server"})
	m := proxy.NewMetrics()
	addr, signIns := serve(t, srv, func(p *proxy.Proxy, _ *rediam.Signer) {
		p.Renewal, p.Metrics = rediam.Renewal{After: 400 * time.Millisecond}, m
	})
	for range 20 {
		p := connect(t, addr)
		p.says("PING\r\n", "+PONG\r\n")
		if err := srv.Fault(emulator.DefaultCache, emulator.Fault{Latency: 50 * time.Millisecond}); err != nil {
			t.Fatal(err)
		}
		before := len(srv.Events())
		eventually(t, "a renewal is under way", func() bool { return len(srv.Events()) > before })
		p.Close()
		eventually(t, "it is gone", func() bool { return value(t, m, "clients", "") == 0 })
		srv.Fault(emulator.DefaultCache, emulator.Fault{})
	}
	if n := value(t, m, "renewals_total", "unanswered"); n > 0 {
		t.Errorf("%v are counted as unanswered; Counts() = %+v", n, signIns.Counts())
	}
}

// pipes is a listener whose connections hold nothing: what is written is written
// when it has been read.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	if c, ok := <-p; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (p pipes) Close() error   { defer func() { recover() }(); close(p); return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

const signedIn = "+OK\r\n*4\r\n$5\r\nproto\r\n:2\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n"

// Transactions that wait in a pipeline take a time that grows with their number: with
// its square it would take longer than anybody waits.
func TestManyTransactionsWaitInAPipeline(t *testing.T) {
	if eachDriver(t, TestManyTransactionsWaitInAPipeline) {
		return
	}
	const n = 50000
	addr := newUpstream(t).serve(t, nil)
	p := connect(t, addr)
	go io.WriteString(p, "BLPOP none 0.5\r\n"+strings.Repeat("MULTI\r\nEXEC\r\n", n))
	p.hears("*-1\r\n" + strings.Repeat("+OK\r\n*0\r\n", n))
}

// What the proxy remembers of a client is bounded, though it answers by itself.
func TestAnswersOfOursAreBounded(t *testing.T) {
	var s proxy.Session
	s.Client([]byte("BLPOP none 0\r\n"), false)
	requests := bytes.Repeat([]byte("SYNC\r\n"), 100000)
	n, _, err := s.Client(requests, false)
	if err != nil || n == 0 || n > len(requests)/4 || !s.Held() {
		t.Errorf("took %d of %d bytes, %v", n, len(requests), err)
	}
	s.Server([]byte("*-1\r\n"))
	s.Local()
	if more, _, err := s.Client(requests[n:], false); err != nil || more == 0 {
		t.Errorf("took %d bytes more, %v", more, err)
	}
}

// A renewal that has no turn holds nobody.
func TestAClientIsNotHeldForTheTurnsOfOthers(t *testing.T) {
	if eachDriver(t, TestAClientIsNotHeldForTheTurnsOfOthers) {
		return
	}
	srv := emulator.Start(t, emulator.Config{Engine: "redis-server"})
	m := proxy.NewMetrics()
	addr, signIns := serve(t, srv, func(p *proxy.Proxy, s *rediam.Signer) {
		p.SignIns, p.Renewal, p.Metrics = rediam.Limit(s, 1), rediam.Renewal{After: 100 * time.Millisecond}, m
	})
	p := connect(t, addr)
	p.says("PING\r\n", "+PONG\r\n")
	other := signIns.Open() // signs in, and is not answered
	if err := other.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond) // the renewal is due
	for range 100 {
		p.says("PING\r\n", "+PONG\r\n")
	}
	before := value(t, m, "renewals_total", "renewed")
	other.Close()
	eventually(t, "it is renewed", func() bool { return value(t, m, "renewals_total", "renewed") > before })
	if n := value(t, m, "renewals_total", "unsigned"); n > 0 {
		t.Errorf("%v renewals have waited in vain", n)
	}
}

// Clients that have gone take no turns from those that wait.
func TestClientsThatHaveGoneAreSignedInLast(t *testing.T) {
	if eachDriver(t, TestClientsThatHaveGoneAreSignedInLast) {
		return
	}
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	addr, signIns := serve(t, srv, func(p *proxy.Proxy, s *rediam.Signer) { p.SignIns = rediam.Limit(s, 1) })
	first := signIns.Open() // has the turn
	if err := first.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		p := connect(t, addr)
		io.WriteString(p, "PING\r\n")
		p.Close()
	}
	eventually(t, "they wait", func() bool { return len(srv.Sessions(emulator.DefaultCache)) == 20 })
	p := connect(t, addr)
	io.WriteString(p, "PING\r\n")
	eventually(t, "it waits too", func() bool { return len(srv.Sessions(emulator.DefaultCache)) == 21 })
	stacks := make([]byte, 4<<20)
	eventually(t, "of those that wait one is watched, since the others are found to have gone", func() bool {
		return strings.Count(string(stacks[:runtime.Stack(stacks, true)]), "proxy.turn.func1(") == 1
	})
	before := len(srv.Events())
	first.Close()
	p.hears("+PONG\r\n")
	if n := len(srv.Events()) - before; n > 3 {
		t.Errorf("%d have signed in before it", n-1)
	}
}

// A probe that is in a hurry does not decide for the others.
func TestReadinessRecoversThoughProbesAreShort(t *testing.T) {
	if eachDriver(t, TestReadinessRecoversThoughProbesAreShort) {
		return
	}
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	var of *proxy.Proxy
	addr, _ := serve(t, srv, func(p *proxy.Proxy, _ *rediam.Signer) { of = p })
	srv.Fault(emulator.DefaultCache, emulator.Fault{SignIn: "WRONGPASS invalid username-password pair or user is disabled."})
	for range 3 {
		p := connect(t, addr)
		io.WriteString(p, "PING\r\n")
		io.ReadAll(p)
	}
	srv.Fault(emulator.DefaultCache, emulator.Fault{Latency: 200 * time.Millisecond})
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := of.Ready(ctx); err == nil || !strings.Contains(err.Error(), "WRONGPASS") {
		t.Errorf("Ready() = %v before anybody has looked", err)
	}
	eventually(t, "it is ready", func() bool { return of.Ready(ctx) == nil })
}

// What has been answered reaches a client though it has more to ask, which is not read.
func TestTheEndOfTheProxyTakesNoAnswerBack(t *testing.T) {
	if eachDriver(t, TestTheEndOfTheProxyTakesNoAnswerBack) {
		return
	}
	const size = 1 << 20
	up := newUpstream(t)
	m := proxy.NewMetrics()
	addr, end := up.serveUntil(t, func(p *proxy.Proxy) { p.Metrics = m })
	p := connect(t, addr)
	p.says(fmt.Sprintf("SETRANGE k %d x\r\n", size-1), fmt.Sprintf(":%d\r\n", size))
	const asked = "BLPOP none 0.3\r\nGET k\r\n"
	before := value(t, m, "bytes_total", "to_cache")
	io.WriteString(p, asked)
	eventually(t, "it has asked", func() bool { return value(t, m, "bytes_total", "to_cache") == before+float64(len(asked)) })
	end()
	io.WriteString(p, strings.Repeat("PING\r\n", 20000)) // is not executed, or not all of it
	time.Sleep(700 * time.Millisecond)                   // the client is busy elsewhere
	rest, err := io.ReadAll(p)
	if want := len(fmt.Sprintf("*-1\r\n$%d\r\n", size)) + size + 2; len(rest) < want {
		t.Errorf("received %d bytes, %v, want %d", len(rest), err, want)
	}
}

// A client that has gone frees its place, whatever the server does.
func TestAClientThatHasGoneIsNoticedThoughTheServerDoesNotRead(t *testing.T) {
	if eachDriver(t, TestAClientThatHasGoneIsNoticedThoughTheServerDoesNotRead) {
		return
	}
	m := proxy.NewMetrics()
	addr, _ := odd(t, func(p *proxy.Proxy) { p.Metrics, p.IdleTime = m, 400*time.Millisecond }, func(conn net.Conn) {
		conn.Read(make([]byte, 4096))
		io.WriteString(conn, signedIn)
		<-t.Context().Done()
	})
	p := connect(t, addr)
	p.SetWriteDeadline(time.Now().Add(time.Second))
	io.WriteString(p, strings.Repeat("SET k "+strings.Repeat("v", 4000)+"\r\n", 5000))
	p.Conn.(*net.TCPConn).SetLinger(0)
	p.Close()
	eventually(t, "it is gone", func() bool { return value(t, m, "clients", "") == 0 })
}

// Who waits for the rest of an answer is not idle.
func TestAClientThatIsAnsweredIsNotIdle(t *testing.T) {
	if eachDriver(t, TestAClientThatIsAnsweredIsNotIdle) {
		return
	}
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	cache := srv.Cache(emulator.DefaultCache)
	signer := &rediam.Signer{Cache: cache.Name, User: emulator.DefaultUser, Region: srv.Region(), Credentials: srv.Credentials(emulator.DefaultRole)}
	proxied := &proxy.Proxy{Driver: driver(t), Addr: cache.Addr, TLS: cache.TLS, SignIns: rediam.Follow(signer), IdleTime: 100 * time.Millisecond}
	listener := make(pipes)
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- proxied.Serve(ctx, listener) }()
	client, proxySide := net.Pipe()
	listener <- proxySide
	p := &peer{t, client}
	p.SetDeadline(time.Now().Add(patience))
	io.WriteString(p, "INCR k\r\n")
	p.hears(":")
	time.Sleep(500 * time.Millisecond)
	p.hears("1\r\n")
	cancel()
	<-served
}

// A request that comes just as a renewal lets its client go is taken.
func TestNoRequestIsLeftBehindARenewal(t *testing.T) {
	if eachDriver(t, TestNoRequestIsLeftBehindARenewal) {
		return
	}
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	addr, _ := serve(t, srv, func(p *proxy.Proxy, _ *rediam.Signer) { p.Renewal = rediam.Renewal{After: 5 * time.Millisecond} })
	var all sync.WaitGroup
	for range 6 {
		p := connect(t, addr)
		all.Go(func() {
			answer := make([]byte, 7)
			for n := range 300 {
				io.WriteString(p, "PING\r\n")
				if _, err := io.ReadFull(p, answer); err != nil {
					t.Errorf("PING %d: %v", n, err)
					return
				}
			}
		})
	}
	all.Wait()
}
