package proxy_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/emulator"
	"github.com/rediam/rediam/internal/proxy"
)

// A peer is a client of the simplest kind.
type peer struct {
	t *testing.T
	net.Conn
}

func connect(t *testing.T, addr string) *peer {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(2 * patience))
	return &peer{t, conn}
}

// says sends lines, and wants to be answered.
func (p *peer) says(lines, answer string) {
	p.t.Helper()
	if _, err := io.WriteString(p, lines); err != nil {
		p.t.Fatalf("%q: %v", lines, err)
	}
	p.hears(answer)
}

func (p *peer) hears(answer string) {
	p.t.Helper()
	got := make([]byte, len(answer))
	if n, err := io.ReadFull(p, got); err != nil || string(got) != answer {
		p.t.Fatalf("received %q, %v, want %q", got[:n], err, answer)
	}
}

// hearsAll wants to be answered just that before the connection is closed.
func (p *peer) hearsAll(answer string) {
	p.t.Helper()
	if got, err := io.ReadAll(p); err != nil || string(got) != answer {
		p.t.Errorf("received %q, %v before the end, want %q", got, err, answer)
	}
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	within(t, 2*patience, what, so)
}

func within(t *testing.T, d time.Duration, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(d); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

// value is that of a metric with a label.
func value(t *testing.T, m *proxy.Metrics, name, label string) (sum float64) {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(m)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, s := range f.GetMetric() {
			if f.GetName() == "rediam_proxy_"+name && (label == "" || len(s.GetLabel()) > 0 && s.GetLabel()[0].GetValue() == label) {
				sum += s.GetCounter().GetValue() + s.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// With replies off nothing tells whether a sign-in was taken; it goes in all the
// same when it is late, and the connection outlives its 12 hours.
func TestASilentClientIsRenewed(t *testing.T) {
	if eachDriver(t, TestASilentClientIsRenewed) {
		return
	}
	srv := emulator.Start(t, emulator.Config{Engine: "redis-server"})
	m := proxy.NewMetrics()
	addr, _ := serve(t, srv, func(p *proxy.Proxy, _ *rediam.Signer) {
		p.Renewal, p.Metrics = rediam.Renewal{After: 2 * time.Second, Spread: time.Nanosecond}, m
	})
	p := connect(t, addr)
	p.says("PING\r\nCLIENT REPLY OFF\r\n", "+PONG\r\n")
	srv.Advance(6 * time.Hour)
	eventually(t, "the connection is renewed", func() bool { return srv.Sessions(emulator.DefaultCache)[0].Renewals > 0 })
	srv.Advance(7 * time.Hour)
	p.says("SET k 1\r\nCLIENT REPLY ON\r\nGET k\r\n", "+OK\r\n$1\r\n1\r\n")
	eventually(t, "it is renewed as any other", func() bool { return value(t, m, "renewals_total", "renewed") > 0 })
	if value(t, m, "renewals_total", "unconfirmed") == 0 {
		t.Error("nothing was counted as unconfirmed")
	}
}

// Redis executes what it is sent though nobody reads the answers: a sign-in behind
// it is in time.
func TestAClientThatDoesNotReadIsRenewed(t *testing.T) {
	if eachDriver(t, TestAClientThatDoesNotReadIsRenewed) {
		return
	}
	const asked, size = 20000, 1000
	up := newUpstream(t)
	m := proxy.NewMetrics()
	addr := up.serve(t, func(p *proxy.Proxy) {
		p.Renewal, p.Metrics = rediam.Renewal{After: time.Second, Spread: time.Nanosecond}, m
	})
	p := connect(t, addr)
	p.says("SET k "+strings.Repeat("v", size)+"\r\n", "+OK\r\n")
	before := up.signIns()
	go io.WriteString(p, strings.Repeat("GET k\r\n", asked))
	eventually(t, "the server has executed a sign-in", func() bool { return up.signIns() > before })
	eventually(t, "it is not answered", func() bool { return value(t, m, "renewals_total", "unanswered") > 0 })
	p.hears(strings.Repeat(fmt.Sprintf("$%d\r\n%s\r\n", size, strings.Repeat("v", size)), asked))
	p.says("PING\r\n", "+PONG\r\n")
	eventually(t, "its answer counts", func() bool { return value(t, m, "renewals_total", "inserted") == 1 })
	eventually(t, "it is renewed as any other", func() bool { return value(t, m, "renewals_total", "renewed") > 0 })
}

// MONITOR cannot be renewed. It is the operator who is told before it ends.
func TestWhatCannotBeRenewedIsCounted(t *testing.T) {
	if eachDriver(t, TestWhatCannotBeRenewedIsCounted) {
		return
	}
	srv := emulator.Start(t, emulator.Config{Engine: "redis-server"})
	m := proxy.NewMetrics()
	addr, _ := serve(t, srv, func(p *proxy.Proxy, _ *rediam.Signer) {
		p.Renewal, p.Metrics = rediam.Renewal{After: 200 * time.Millisecond, Spread: time.Nanosecond}, m
	})
	p, other := connect(t, addr), connect(t, addr)
	p.says("MONITOR\r\n", "+OK\r\n")
	other.says("PING\r\n", "+PONG\r\n")
	srv.Advance(6 * time.Hour)
	eventually(t, "it is counted", func() bool { return value(t, m, "late_renewals_total", "monitor") == 1 })
	eventually(t, "the other is renewed", func() bool { return value(t, m, "renewals_total", "renewed") > 1 })
	srv.Advance(7 * time.Hour)
	if _, err := io.ReadAll(p); err != nil {
		t.Errorf("MONITOR ends with %v", err)
	}
	other.says("PING\r\n", "+PONG\r\n")
}

func TestClientsWaitWhileAWSHasNoTimeForSignIns(t *testing.T) {
	if eachDriver(t, TestClientsWaitWhileAWSHasNoTimeForSignIns) {
		return
	}
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	addr, signIns := serve(t, srv, func(p *proxy.Proxy, _ *rediam.Signer) { p.ConnectTime = 2 * patience })
	must(srv.Fault(emulator.DefaultCache, emulator.Fault{SignInsPerSecond: 5}))
	var clients sync.WaitGroup
	for range 20 {
		p := connect(t, addr)
		clients.Go(func() {
			io.WriteString(p, "PING\r\n")
			answer := make([]byte, 7)
			if _, err := io.ReadFull(p, answer); err != nil || string(answer) != "+PONG\r\n" {
				t.Errorf("answered %q, %v", answer, err)
			}
		})
	}
	clients.Wait()
	if n := signIns.Counts().Failures[rediam.CauseThrottled]; n == 0 {
		t.Error("no sign-in was throttled, so that the test shows nothing")
	}

	must(srv.Fault(emulator.DefaultCache, emulator.Fault{SignIn: emulator.ErrIAMUnavailable}))
	p := connect(t, addr)
	io.WriteString(p, "PING\r\n")
	eventually(t, "it is tried", func() bool { return signIns.Counts().Failures[rediam.CauseUnavailable] > 0 })
	must(srv.Fault(emulator.DefaultCache, emulator.Fault{}))
	p.hears("+PONG\r\n")

	must(srv.Fault(emulator.DefaultCache, emulator.Fault{SignIn: emulator.ErrIAMUnavailable}))
	short, _ := serve(t, srv, func(p *proxy.Proxy, _ *rediam.Signer) { p.ConnectTime = 500 * time.Millisecond })
	p = connect(t, short)
	io.WriteString(p, "PING\r\n")
	if answer, _ := io.ReadAll(p); !strings.HasPrefix(string(answer), "-ERR rediam: cannot sign in: "+emulator.ErrIAMUnavailable) {
		t.Errorf("answered %q", answer)
	}
}

// A cluster of several nodes would send clients to where there is no proxy.
func TestOnlyOneNodeIsServed(t *testing.T) {
	if eachDriver(t, TestOnlyOneNodeIsServed) {
		return
	}
	for name, v := range map[string]struct {
		config emulator.Config
		answer string
	}{
		"a cluster":          {emulator.Config{Engine: "redis-server", Nodes: 2}, "-ERR rediam: cannot sign in: the cache is a cluster of 2 shards"},
		"a cluster of one":   {emulator.Config{Engine: "redis-server", Nodes: 1}, "+PONG\r\n"},
		"a serverless cache": {emulator.Config{Engine: "embedded", Kind: emulator.ServerlessCache}, "+PONG\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			srv := emulator.Start(t, v.config)
			addr, _ := serve(t, srv, func(_ *proxy.Proxy, s *rediam.Signer) { s.Serverless = v.config.Kind == emulator.ServerlessCache })
			p := connect(t, addr)
			io.WriteString(p, "PING\r\n")
			p.hears(v.answer)
		})
	}
}

func TestIdleClientsAreClosed(t *testing.T) {
	if eachDriver(t, TestIdleClientsAreClosed) {
		return
	}
	srv := emulator.Start(t, emulator.Config{Engine: "redis-server"})
	addr, _ := serve(t, srv, func(p *proxy.Proxy, _ *rediam.Signer) { p.IdleTime = 300 * time.Millisecond })
	silent, idle, subscriber, blocked := connect(t, addr), connect(t, addr), connect(t, addr), connect(t, addr)
	subscriber.says("SUBSCRIBE news\r\n", "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n")
	io.WriteString(blocked, "BLPOP jobs 0\r\n")
	idle.says("PING\r\n", "+PONG\r\n")
	idle.hearsAll("")
	silent.hearsAll("")
	other := connect(t, addr)
	other.says("PUBLISH news m\r\nLPUSH jobs j\r\n", ":1\r\n:1\r\n")
	subscriber.hears("*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$1\r\nm\r\n")
	blocked.hears("*2\r\n$4\r\njobs\r\n$1\r\nj\r\n")
}

func TestTooManyClientsAreTold(t *testing.T) {
	if eachDriver(t, TestTooManyClientsAreTold) {
		return
	}
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	var of *proxy.Proxy
	addr, _ := serve(t, srv, func(p *proxy.Proxy, _ *rediam.Signer) { p.MaxConnections, of = 2, p })
	first := connect(t, addr)
	first.says("PING\r\n", "+PONG\r\n")
	if err := of.Ready(t.Context()); err != nil {
		t.Errorf("Ready() = %v with room for one", err)
	}
	second := connect(t, addr)
	second.says("PING\r\n", "+PONG\r\n")
	if of.Ready(t.Context()) == nil {
		t.Error("Ready() = nil without room")
	}
	connect(t, addr).hearsAll("-ERR max number of clients reached\r\n")
	first.Close()
	eventually(t, "there is room again", func() bool { return of.Ready(t.Context()) == nil })
	connect(t, addr).says("PING\r\n", "+PONG\r\n")
}

// What cannot sign in is not ready, until it can.
func TestReadinessFollowsSignIns(t *testing.T) {
	if eachDriver(t, TestReadinessFollowsSignIns) {
		return
	}
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	var of *proxy.Proxy
	addr, _ := serve(t, srv, func(p *proxy.Proxy, s *rediam.Signer) { of = p })
	if err := srv.Fault(emulator.DefaultCache, emulator.Fault{SignIn: "WRONGPASS invalid username-password pair or user is disabled."}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := of.Ready(t.Context()); err != nil {
			t.Errorf("Ready() = %v after a failure or two", err)
		}
		p := connect(t, addr)
		io.WriteString(p, "PING\r\n")
		io.ReadAll(p)
	}
	if err := of.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "WRONGPASS") {
		t.Errorf("Ready() = %v", err)
	}
	if err := srv.Fault(emulator.DefaultCache, emulator.Fault{}); err != nil {
		t.Fatal(err)
	}
	connect(t, addr).says("PING\r\n", "+PONG\r\n")
	if err := of.Ready(t.Context()); err != nil {
		t.Errorf("Ready() = %v after a client could sign in", err)
	}
}

// What has been asked is answered before the proxy ends, but for what blocks.
func TestTheEndOfTheProxyCutsNoAnswer(t *testing.T) {
	if eachDriver(t, TestTheEndOfTheProxyCutsNoAnswer) {
		return
	}
	srv := emulator.Start(t, emulator.Config{Engine: "redis-server"})
	cache := srv.Cache(emulator.DefaultCache)
	signer := &rediam.Signer{Cache: cache.Name, User: emulator.DefaultUser, Region: srv.Region(), Credentials: srv.Credentials(emulator.DefaultRole)}
	for name, drain := range map[string]time.Duration{"at once": 0, "with a drain": time.Hour} {
		t.Run(name, func(t *testing.T) {
			proxied := &proxy.Proxy{Driver: driver(t), Addr: cache.Addr, TLS: cache.TLS, SignIns: rediam.Follow(signer), DrainTime: drain}
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			served := make(chan error, 1)
			go func() { served <- proxied.Serve(ctx, listener) }()
			asking, blocked, idle := connect(t, listener.Addr().String()), connect(t, listener.Addr().String()), connect(t, listener.Addr().String())
			for _, p := range []*peer{asking, blocked, idle} {
				p.says("PING\r\n", "+PONG\r\n")
			}
			io.WriteString(blocked, "BLPOP nothing 0\r\n")
			const pipeline = 2000
			io.WriteString(asking, strings.Repeat("ECHO x\r\n", pipeline)+"BLPOP none 0.2\r\nECHO last\r\n")
			asking.hears("$1\r\nx\r\n") // all of it has been sent on by now, or will not be
			cancel()
			if drain > 0 {
				eventually(t, "it is draining", func() bool { return proxied.Ready(t.Context()) != nil })
				if _, err := net.Dial("tcp", listener.Addr().String()); err == nil {
					t.Error("it takes connections still")
				}
				idle.says("PING\r\n", "+PONG\r\n")
				asking.hears(strings.Repeat("$1\r\nx\r\n", pipeline-1) + "*-1\r\n$4\r\nlast\r\n")
				for _, p := range []*peer{asking, blocked, idle} {
					p.Close()
				}
			} else {
				rest, err := io.ReadAll(asking)
				answers := strings.Split(strings.TrimSuffix(string(rest), "*-1\r\n$4\r\nlast\r\n"), "$1\r\nx\r\n")
				if err != nil || strings.Join(answers, "") != "" {
					t.Errorf("answers end with %q, %v", strings.Join(answers, ""), err)
				}
				blocked.hearsAll("")
				idle.hearsAll("")
			}
			if err := <-served; err != nil {
				t.Errorf("Serve() = %v", err)
			}
		})
	}
}

// A client that speaks TLS would wait for ever.
func TestOtherProtocolsEndBeforeASignIn(t *testing.T) {
	if eachDriver(t, TestOtherProtocolsEndBeforeASignIn) {
		return
	}
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	m := proxy.NewMetrics()
	addr, signIns := serve(t, srv, func(p *proxy.Proxy, _ *rediam.Signer) { p.Metrics = m })
	for _, hello := range []string{"\x16\x03\x01\x02\x00\x01", "POST / HTTP/1.1\r\nHost: x\r\n\r\n", "*1\rX"} {
		p := connect(t, addr)
		io.WriteString(p, hello)
		io.ReadAll(p)
	}
	if got, n := signIns.Counts(), value(t, m, "refused_clients_total", "protocol"); got.SignIns != 0 || n != 3 {
		t.Errorf("%d sign-ins, %v refused, want none and 3", got.SignIns, n)
	}
}

// What a client stores is not taken for a sign-in of ours.
func TestAValueThatLooksLikeASignInTakesNoTurn(t *testing.T) {
	if eachDriver(t, TestAValueThatLooksLikeASignInTakesNoTurn) {
		return
	}
	up := newUpstream(t)
	m := proxy.NewMetrics()
	addr := up.serve(t, func(p *proxy.Proxy) { p.SignIns, p.Metrics = rediam.Limit(p.SignIns, 1), m })
	p := connect(t, addr)
	sent := 0
	pass := func(piece string) { // it is passed on by itself
		t.Helper()
		p.says(piece, "")
		sent += len(piece)
		eventually(t, "it is passed on", func() bool { return value(t, m, "bytes_total", "to_cache") == float64(sent) })
	}
	const signIn, held = "*3\r\n$4\r\nAUTH\r\n$1\r\nu\r\n$1\r\np\r\n", 64 << 10
	pass(fmt.Sprintf("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n%s", held+2*len(signIn), strings.Repeat("x", held)))
	pass(signIn)
	pass(signIn)
	p.says("\r\n", "+OK\r\n")
	connect(t, addr).says("PING\r\n", "+PONG\r\n")
}

// RESET signs out; who cannot be signed in again is told so.
func TestAClientThatCannotComeBackFromRESETIsTold(t *testing.T) {
	if eachDriver(t, TestAClientThatCannotComeBackFromRESETIsTold) {
		return
	}
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	addr, signIns := serve(t, srv, func(p *proxy.Proxy, _ *rediam.Signer) { p.ConnectTime = time.Second })
	p := connect(t, addr)
	p.says("PING\r\n", "+PONG\r\n")
	if err := srv.Fault(emulator.DefaultCache, emulator.Fault{SignIn: emulator.ErrIAMUnavailable}); err != nil {
		t.Fatal(err)
	}
	p.says("RESET\r\nGET k\r\n", "+RESET\r\n")
	if answer, err := io.ReadAll(p); err != nil || !strings.HasPrefix(string(answer), "-ERR rediam: cannot sign in: "+emulator.ErrIAMUnavailable) {
		t.Errorf("answered %q, %v", answer, err)
	}
	if n := signIns.Counts().Failures[rediam.CauseUnavailable]; n < 2 || n > 10 {
		t.Errorf("%d sign-ins were tried in a second", n)
	}
}
