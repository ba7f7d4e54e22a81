package proxy_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/emulator"
	"github.com/rediam/rediam/internal/proxy"
	"github.com/rediam/rediam/internal/soak"
)

// serve runs a proxy in front of the default cache of an emulator until the test
// ends, and gives its address.
func serve(t *testing.T, srv *emulator.Server, change func(*proxy.Proxy, *rediam.Signer)) (addr string, signIns *rediam.SignIns) {
	t.Helper()
	cache := srv.Cache(emulator.DefaultCache)
	signer := &rediam.Signer{Cache: cache.Name, User: emulator.DefaultUser, Region: srv.Region(), Credentials: srv.Credentials(emulator.DefaultRole), Now: srv.Now}
	p := &proxy.Proxy{Driver: driver(t), Addr: cache.Addr, TLS: cache.TLS, SignIns: rediam.Follow(signer)}
	if change != nil {
		change(p, signer)
	}
	addr, _ = run(t, p)
	return addr, p.SignIns
}

// run has a proxy serve until the test ends, or it is asked to end before.
func run(t *testing.T, p *proxy.Proxy) (addr string, end func()) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- p.Serve(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve() = %v", err)
		}
	})
	return listener.Addr().String(), cancel
}

// A client that knows nothing of IAM works through many lives of a connection, and a
// subscriber in RESP2 misses nothing.
func TestAClientWithoutIAMStaysSignedIn(t *testing.T) {
	if eachDriver(t, TestAClientWithoutIAMStaysSignedIn) {
		return
	}
	t.Parallel()
	srv := emulator.Start(t, emulator.Config{Engine: "auto", TokenTTL: 6 * time.Second, ConnectionTTL: 4 * time.Second})
	addr, signIns := serve(t, srv, func(p *proxy.Proxy, _ *rediam.Signer) { p.Renewal = rediam.Renewal{After: 1500 * time.Millisecond} })
	for _, protocol := range []int{2, 3} {
		t.Run("RESP"+strconv.Itoa(protocol), func(t *testing.T) {
			t.Parallel()
			client := redis.NewClient(&redis.Options{Addr: addr, Protocol: protocol, PoolSize: 1, MaxRetries: -1, Password: "whatever"})
			defer client.Close()
			own := redis.NewClient(&redis.Options{Addr: addr, Protocol: protocol})
			defer own.Close()
			channel := "news" + strconv.Itoa(protocol)
			subscription := own.Subscribe(t.Context(), channel)
			defer subscription.Close()
			if _, err := subscription.Receive(t.Context()); err != nil {
				t.Fatal(err)
			}
			id := client.ClientID(t.Context()).Val()
			end := time.After(12 * time.Second)
			for n, running := int64(1), true; running; n++ {
				if got, err := client.Incr(t.Context(), channel).Result(); err != nil || got != n {
					t.Fatalf("INCR = %d, %v, want %d", got, err, n)
				}
				if err := client.Publish(t.Context(), channel, n).Err(); err != nil {
					t.Fatal(err)
				}
				if m, err := subscription.ReceiveMessage(t.Context()); err != nil || m.Payload != strconv.FormatInt(n, 10) {
					t.Fatalf("message %v, %v, want %d", m, err, n)
				}
				select {
				case <-end:
					running = false
				case <-time.After(10 * time.Millisecond):
				}
			}
			if got := client.ClientID(t.Context()).Val(); got != id || id == 0 {
				t.Errorf("the connection is number %d, want %d still", got, id)
			}
		})
	}
	t.Cleanup(func() {
		if got := signIns.Counts(); got.Renewals < 4*5 || len(got.Failures) > 0 {
			t.Errorf("Counts() = %+v, want 4 connections renewed 5 times at least", got)
		}
	})
}

func TestAClientIsToldWhyItCannotBeSignedIn(t *testing.T) {
	if eachDriver(t, TestAClientIsToldWhyItCannotBeSignedIn) {
		return
	}
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	for name, v := range map[string]struct {
		change func(*proxy.Proxy, *rediam.Signer)
		want   string
	}{
		"another cache's token": {func(_ *proxy.Proxy, s *rediam.Signer) { s.Cache = "payments" }, "WRONGPASS"},
		"no credentials":        {func(_ *proxy.Proxy, s *rediam.Signer) { s.Credentials = srv.Credentials("nobody") }, "get AWS credentials"},
		"nobody there":          {func(p *proxy.Proxy, _ *rediam.Signer) { p.Addr = "127.0.0.1:1" }, "connection refused"},
		"an unknown authority":  {func(p *proxy.Proxy, _ *rediam.Signer) { p.TLS = &tls.Config{ServerName: "localhost"} }, "certificate"},
	} {
		addr, _ := serve(t, srv, v.change)
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(patience))
		io.WriteString(conn, "PING\r\n")
		answer, err := io.ReadAll(conn)
		conn.Close()
		if err != nil || !strings.HasPrefix(string(answer), "-ERR rediam: ") || !strings.Contains(string(answer), v.want) || strings.Count(string(answer), "\n") != 1 {
			t.Errorf("%s: answered %q, %v, want %q", name, answer, err, v.want)
		}
	}
}

// AUTH is answered before the client says anything else.
func TestAClientMayBeginWithAUTH(t *testing.T) {
	if eachDriver(t, TestAClientMayBeginWithAUTH) {
		return
	}
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	addr, _ := serve(t, srv, nil)
	p := connect(t, addr)
	p.says("AUTH u p\r\n", "+OK\r\n")
	p.says("PING\r\n", "+PONG\r\n")
}

// RESET signs out, and the proxy in again.
func TestAClientMaySendRESET(t *testing.T) {
	if eachDriver(t, TestAClientMaySendRESET) {
		return
	}
	srv := emulator.Start(t)
	addr, _ := serve(t, srv, nil)
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	io.WriteString(conn, strings.Repeat("RESET\r\nECHO x\r\n", 20))
	want := strings.Repeat("+RESET\r\n$1\r\nx\r\n", 20)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != want {
		t.Errorf("received %q, %v", got, err)
	}
}

func TestNothingIsLeftOfConnections(t *testing.T) {
	if eachDriver(t, TestNothingIsLeftOfConnections) {
		return
	}
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	addr, signIns := serve(t, srv, func(p *proxy.Proxy, _ *rediam.Signer) { p.Renewal = rediam.Renewal{After: 20 * time.Millisecond} })
	connect(t, addr).says("PING\r\n", "+PONG\r\n") // what serves is there
	soak.LeavesNothing(t, func() {
		for range 50 {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			conn.SetDeadline(time.Now().Add(patience))
			io.WriteString(conn, "PING\r\n")
			answer := make([]byte, 7)
			if _, err := io.ReadFull(conn, answer); err != nil || string(answer) != "+PONG\r\n" {
				t.Errorf("PING = %q, %v", answer, err)
			}
			conn.Close()
		}
	})
	if got := signIns.Counts(); got.Connections != 1 || got.SignIns != 51 {
		t.Errorf("Counts() = %+v, want 51 sign-ins and one connection", got)
	}
}
