package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/emulator"
	"github.com/rediam/rediam/internal/proxy"
	"github.com/rediam/rediam/internal/resp"
	"github.com/rediam/rediam/internal/soak"
)

// often is a renewal that happens again and again.
var often = rediam.Renewal{After: 50 * time.Millisecond}

// Every client gets its answers or a closed connection, and what has been
// acknowledged is there, whatever becomes of the cache.
func TestNothingAcknowledgedIsLost(t *testing.T) {
	if eachDriver(t, TestNothingAcknowledgedIsLost) {
		return
	}
	up := newUpstream(t)
	addr := up.serve(t, func(p *proxy.Proxy) { p.Renewal = often })
	ctx, stop := context.WithCancel(t.Context())
	acknowledged := make([][]int, 8)
	var writers sync.WaitGroup
	for i := range acknowledged {
		writers.Go(func() {
			for next := 0; ctx.Err() == nil; {
				acknowledged[i], next = push(ctx, t, addr, fmt.Sprint("list", i), acknowledged[i], next)
			}
		})
	}
	for range 3 {
		before := up.signIns()
		eventually(t, "clients are signed in and renewed", func() bool { return up.signIns() > before+3*len(acknowledged) })
		up.cut()
		before = up.signIns()
		eventually(t, "clients are signed in and renewed", func() bool { return up.signIns() > before+3*len(acknowledged) })
		up.kill()
		up.start(t)
	}
	stop()
	writers.Wait()
	for i, ids := range acknowledged {
		if len(ids) == 0 {
			t.Errorf("client %d: nothing has been acknowledged", i)
		}
		rest := up.ask("LRANGE", fmt.Sprint("list", i), "0", "-1")
		for _, id := range ids {
			_, after, found := strings.Cut(rest, fmt.Sprintf("\r\n%d\r\n", id))
			if !found {
				t.Errorf("client %d: %d was acknowledged, and is not there or not in its order", i, id)
				break
			}
			rest = "\r\n" + after
		}
	}
}

// push appends numbers to a list, in pipelines, until the connection ends, and adds
// those that are acknowledged.
func push(ctx context.Context, t *testing.T, addr, list string, acknowledged []int, next int) ([]int, int) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Error(err)
		return acknowledged, next
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(2 * patience))
	r := bufio.NewReader(conn)
	for length := 0; ctx.Err() == nil; {
		var pipeline []byte
		first := next
		for ; next < first+20; next++ {
			pipeline = resp.AppendCommand(pipeline, "RPUSH", list, strconv.Itoa(next))
		}
		conn.Write(pipeline)
		for id := first; id < next; id++ {
			line, err := r.ReadString('\n')
			if err != nil || strings.HasPrefix(line, "-ERR rediam: cannot sign in: ") || strings.HasPrefix(line, "-LOADING ") {
				if errors.Is(err, os.ErrDeadlineExceeded) {
					t.Error("a client was left without an answer")
				}
				return acknowledged, next
			}
			now, err := strconv.Atoi(strings.TrimSpace(line[1:]))
			if err != nil || now <= length || length > 0 && now != length+1 {
				t.Errorf("%d is answered by %q, after %d", id, line, length)
				return acknowledged, next
			}
			length = now
			acknowledged = append(acknowledged, id)
		}
	}
	return acknowledged, next
}

// A client that has said all that it wants gets all its answers.
func TestAHalfClosedClientIsAnswered(t *testing.T) {
	if eachDriver(t, TestAHalfClosedClientIsAnswered) {
		return
	}
	up := newUpstream(t)
	addr := up.serve(t, func(p *proxy.Proxy) { p.Renewal = often })
	for range 20 {
		p := connect(t, addr)
		io.WriteString(p, strings.Repeat("ECHO x\r\n", 500))
		p.Conn.(*net.TCPConn).CloseWrite()
		p.hearsAll(strings.Repeat("$1\r\nx\r\n", 500))
	}
}

// What the server has said before it ends reaches a client that takes its time.
func TestAClientIsToldAllThatTheServerHasSaid(t *testing.T) {
	if eachDriver(t, TestAClientIsToldAllThatTheServerHasSaid) {
		return
	}
	answer := resp.AppendBulk(nil, strings.Repeat("v", 8<<20))
	addr, _ := odd(t, nil, func(conn net.Conn) {
		conn.Read(make([]byte, 4096))
		io.WriteString(conn, signedIn)
		conn.Read(make([]byte, 4096))
		conn.Write(answer)
	})
	p := connect(t, addr)
	p.says("GET k\r\n", "$")
	time.Sleep(300 * time.Millisecond) // it is busy elsewhere
	p.hearsAll(string(answer[1:]))
}

// Slow peers are waited for, with renewals that come when they can.
func TestSlowPeersLoseNothing(t *testing.T) {
	if eachDriver(t, TestSlowPeersLoseNothing) {
		return
	}
	up := newUpstream(t)
	m := proxy.NewMetrics()
	addr := up.serve(t, func(p *proxy.Proxy) { p.Renewal, p.Metrics = often, m })
	body := make([]byte, 1<<20)
	rand.Read(body)
	writer := connect(t, addr)
	for rest := resp.AppendCommand(nil, "SET", "k", string(body)); len(rest) > 0; {
		n := min(len(rest), 20000)
		if _, err := writer.Write(rest[:n]); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
		time.Sleep(10 * time.Millisecond) // slow
	}
	writer.hears("+OK\r\n")
	reader := connect(t, addr)
	io.WriteString(reader, "GET k\r\n")
	got := make([]byte, len("$1048576\r\n")+len(body)+len("\r\n"))
	for at := 0; at < len(got); {
		n, err := reader.Read(got[at:min(len(got), at+20000)])
		if err != nil {
			t.Fatal(err)
		}
		at += n
		time.Sleep(10 * time.Millisecond)
	}
	if !bytes.Equal(got[len("$1048576\r\n"):len(got)-2], body) {
		t.Error("the value is another one")
	}
	renewals := value(t, m, "renewals_total", "renewed")
	reader.says("PING\r\n", "+PONG\r\n")
	eventually(t, "they are renewed at rest", func() bool { return value(t, m, "renewals_total", "renewed") > renewals+2 })
}

// Credentials that are gone for a while cost nobody a connection.
func TestConnectionsOutliveTheLossOfCredentials(t *testing.T) {
	if eachDriver(t, TestConnectionsOutliveTheLossOfCredentials) {
		return
	}
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	m := proxy.NewMetrics()
	var gone atomic.Bool
	addr, _ := serve(t, srv, func(p *proxy.Proxy, s *rediam.Signer) {
		p.Renewal, p.Metrics = often, m
		provider := s.Credentials
		s.Credentials = aws.CredentialsProviderFunc(func(ctx context.Context) (aws.Credentials, error) {
			if gone.Load() {
				return aws.Credentials{}, errors.New("no credentials today")
			}
			return provider.Retrieve(ctx)
		})
	})
	p := connect(t, addr)
	p.says("PING\r\n", "+PONG\r\n")
	gone.Store(true)
	eventually(t, "renewals fail", func() bool { return value(t, m, "renewals_total", "unsigned") > 1 })
	p.says("PING\r\n", "+PONG\r\n")
	other := connect(t, addr)
	io.WriteString(other, "PING\r\n")
	if answer, _ := io.ReadAll(other); !strings.Contains(string(answer), "no credentials today") {
		t.Errorf("another client is told %q", answer)
	}
	gone.Store(false)
	before := value(t, m, "renewals_total", "renewed")
	eventually(t, "renewals succeed again", func() bool { return value(t, m, "renewals_total", "renewed") > before })
	p.says("PING\r\n", "+PONG\r\n")
	connect(t, addr).says("PING\r\n", "+PONG\r\n")
}

// leavings are what clients do before they go, some of them without a word.
var leavings = []string{"", "PING\r\n", "*2\r\n$3\r\nGET\r\n$1\r\n", "MULTI\r\nSET k 1\r\n", "SUBSCRIBE a b\r\n", "BLPOP nothing 0\r\n", "MONITOR\r\n",
	"CLIENT REPLY OFF\r\nSET k 2\r\n", "RESET\r\nGET k\r\n", strings.Repeat("GET k\r\n", 1000), "\x16\x03\x01", "*1\rX", "HELLO 3\r\nSUBSCRIBE a\r\n"}

// REDIAM_CONNECTIONS sets how many.
func TestNothingIsLeftOfClientsThatVanish(t *testing.T) {
	if eachDriver(t, TestNothingIsLeftOfClientsThatVanish) {
		return
	}
	count := 500
	if n, err := strconv.Atoi(os.Getenv("REDIAM_CONNECTIONS")); err == nil {
		count = n
	}
	up := newUpstream(t)
	m := proxy.NewMetrics()
	addr := up.serve(t, func(p *proxy.Proxy) { p.Renewal, p.Metrics = often, m })
	vanish := func(i int) {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		io.WriteString(conn, leavings[i%len(leavings)])
		if i/len(leavings)%2 == 0 { // most of those that say nothing more have been answered
			conn.SetReadDeadline(time.Now().Add(time.Duration(i%7) * time.Millisecond))
			conn.Read(make([]byte, 1))
		}
		if i%3 == 0 {
			conn.(*net.TCPConn).SetLinger(0)
		}
	}
	first := connect(t, addr)
	first.says("PING\r\n", "+PONG\r\n")
	first.Close()
	eventually(t, "the first is gone", func() bool { return up.open() == 0 && value(t, m, "clients", "") == 0 })
	before := descriptors(t)
	soak.LeavesNothing(t, func() {
		var clients sync.WaitGroup
		for worker := range 16 {
			clients.Go(func() {
				for i := worker; i < count; i += 16 {
					vanish(i)
				}
			})
		}
		clients.Wait()
		// Those that have gone may be signed in all the same: nobody can tell.
		within(t, 2*patience+time.Duration(count)*10*time.Millisecond, "the cache has no connections", func() bool { return up.open() == 0 })
	})
	if n := value(t, m, "clients", ""); n != 0 {
		t.Errorf("%v clients are left", n)
	}
	eventually(t, "no descriptor is left", func() bool { return descriptors(t) <= before })
}

func descriptors(t *testing.T) int {
	t.Helper()
	if runtime.GOOS != "linux" {
		return 0
	}
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(open)
}
