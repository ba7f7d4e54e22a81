package proxy_test

import (
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rediam/rediam/internal/proxy"
	"github.com/rediam/rediam/internal/resp"
)

// keeps runs a proxy that keeps so many connections, and waits until it has n.
func keeps(t *testing.T, up *upstream, spare int, change func(*proxy.Proxy)) (addr string, wait func(n int)) {
	t.Helper()
	m := proxy.NewMetrics()
	addr = up.serve(t, func(p *proxy.Proxy) {
		p.Spare, p.Metrics = spare, m
		if change != nil {
			change(p)
		}
	})
	return addr, func(n int) {
		t.Helper()
		eventually(t, fmt.Sprint(n, " connections are kept"), func() bool { return value(t, m, "spare_connections", "") == float64(n) })
	}
}

func TestOneSignInIsEnoughForClientsThatComeAndGo(t *testing.T) {
	if eachDriver(t, TestOneSignInIsEnoughForClientsThatComeAndGo) {
		return
	}
	up := newUpstream(t)
	addr, wait := keeps(t, up, 4, nil)
	for i := range 100 {
		c := connect(t, addr)
		c.says("INCR clients\r\n", fmt.Sprintf(":%d\r\n", i+1))
		switch i % 4 {
		case 0:
			c.says("QUIT\r\n", "+OK\r\n")
			c.hearsAll("")
		case 1:
			c.says("SELECT 5\r\nCLIENT SETNAME me\r\nWATCH k\r\n", "+OK\r\n+OK\r\n+OK\r\n")
		}
		c.Close()
		wait(1)
	}
	if n := up.signIns(); n != 1 {
		t.Errorf("%d sign-ins, want 1", n)
	}
}

// A client that finds none waits for the one that another is about to leave, and has
// one of its own if that cannot be left.
func TestAConnectionThatIsAboutToBeLeftIsWaitedFor(t *testing.T) {
	if eachDriver(t, TestAConnectionThatIsAboutToBeLeftIsWaitedFor) {
		return
	}
	for _, tt := range []struct {
		answer string // to what wipes a client's traces away
		opened int32
	}{{"+OK\r\n", 1}, {"-ERR no\r\n", 2}} {
		m := proxy.NewMetrics()
		var opened atomic.Int32
		leaving, waiting := make(chan bool, 1), make(chan bool, 1)
		addr, _ := odd(t, func(p *proxy.Proxy) {
			p.Spare, p.Metrics = 4, m
			p.AwaitSpares(time.Hour)
		}, func(conn net.Conn) {
			buf := make([]byte, 4096)
			conn.Read(buf)
			io.WriteString(conn, signedIn)
			opened.Add(1)
			for {
				n, err := conn.Read(buf)
				switch {
				case err != nil:
					return
				case strings.Contains(string(buf[:n]), "SELECT\r\n$1\r\n0"):
					leaving <- true
					<-waiting
					io.WriteString(conn, tt.answer)
				default:
					io.WriteString(conn, "+OK\r\n")
				}
			}
		})
		c := connect(t, addr)
		c.says("SELECT 5\r\n", "+OK\r\n")
		c.Close()
		<-leaving
		second := connect(t, addr)
		second.says("PING\r\n", "")
		eventually(t, "there are two clients", func() bool { return value(t, m, "clients", "") == 2 })
		waiting <- true
		second.hears("+OK\r\n")
		if n := opened.Load(); n != tt.opened {
			t.Errorf("after %q %d connections were opened, want %d", tt.answer, n, tt.opened)
		}
	}
}

func TestNoMoreConnectionsAreKeptThanMayBe(t *testing.T) {
	if eachDriver(t, TestNoMoreConnectionsAreKeptThanMayBe) {
		return
	}
	up := newUpstream(t)
	addr, wait := keeps(t, up, 2, nil)
	var clients []*peer
	for range 10 {
		c := connect(t, addr)
		c.says("PING\r\n", "+PONG\r\n")
		clients = append(clients, c)
	}
	for _, c := range clients {
		c.Close()
	}
	wait(2)
	eventually(t, "the others are closed", func() bool { return up.open() == 2 })
}

// A connection waits for its next client for a minute, and is kept for ten.
func TestConnectionsAreNotKeptForEver(t *testing.T) {
	if eachDriver(t, TestConnectionsAreNotKeptForEver) {
		return
	}
	up := newUpstream(t)
	var of *proxy.Proxy
	addr, wait := keeps(t, up, 2, func(p *proxy.Proxy) { of = p })
	visit := func() {
		c := connect(t, addr)
		c.says("PING\r\n", "+PONG\r\n")
		c.Close()
	}
	visit()
	wait(1)
	of.AgeSpares(50*time.Second, 0)
	wait(1)
	of.AgeSpares(20*time.Second, 0)
	wait(0)
	eventually(t, "it is closed", func() bool { return up.open() == 0 })
	visit()
	wait(1)
	of.AgeSpares(0, 11*time.Minute)
	visit()
	eventually(t, "it is closed after its last client", func() bool { return up.open() == 0 })
	if n := up.signIns(); n != 2 {
		t.Errorf("%d sign-ins, want 2", n)
	}
}

func TestAConnectionThatTheServerHasClosedIsNotGivenAway(t *testing.T) {
	if eachDriver(t, TestAConnectionThatTheServerHasClosedIsNotGivenAway) {
		return
	}
	up := newUpstream(t)
	addr, wait := keeps(t, up, 2, nil)
	for range 5 {
		c := connect(t, addr)
		c.says("PING\r\n", "+PONG\r\n")
		c.Close()
		wait(1)
		up.cut()
		eventually(t, "they are closed", func() bool { return up.open() == 0 })
	}
}

func TestEveryClientHasToGiveThePassword(t *testing.T) {
	if eachDriver(t, TestEveryClientHasToGiveThePassword) {
		return
	}
	up := newUpstream(t)
	addr, wait := keeps(t, up, 2, func(p *proxy.Proxy) { p.Password = "a password" })
	c := connect(t, addr)
	c.says("AUTH \"a password\"\r\nPING\r\n", "+OK\r\n+PONG\r\n")
	c.Close()
	wait(1)
	connect(t, addr).says("PING\r\n", "-NOAUTH")
}

func TestConnectionsThatAreKeptEndWithTheProxy(t *testing.T) {
	if eachDriver(t, TestConnectionsThatAreKeptEndWithTheProxy) {
		return
	}
	up := newUpstream(t)
	m := proxy.NewMetrics()
	addr, end := up.serveUntil(t, func(p *proxy.Proxy) { p.Spare, p.Metrics = 4, m })
	c := connect(t, addr)
	c.says("PING\r\n", "+PONG\r\n")
	c.Close()
	eventually(t, "it is kept", func() bool { return value(t, m, "spare_connections", "") == 1 })
	end()
	eventually(t, "it is closed", func() bool { return up.open() == 0 })
}

// Each client that comes finds a connection like a new one, whatever the one before it
// has done and however it has left, and while connections are renewed. REDIAM_VISITS
// sets how many come.
func TestNoClientSeesAnotherOne(t *testing.T) {
	if eachDriver(t, TestNoClientSeesAnotherOne) {
		return
	}
	up := newUpstream(t)
	m := proxy.NewMetrics()
	addr := up.serve(t, func(p *proxy.Proxy) {
		p.Spare, p.Metrics, p.Renewal = 8, m, often
		p.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	})
	want := ""
	var mu sync.Mutex // guards it
	visit := func(random *rand.Rand) error {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return err
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(2 * patience))
		me := fmt.Sprint(random.Uint64())
		ask := func(requests string) (answers string, err error) {
			end := fmt.Sprintf("$%d\r\n%s\r\n", len(me), me)
			io.WriteString(conn, requests+string(resp.AppendCommand(nil, "ECHO", me)))
			for buf := make([]byte, 4096); !strings.HasSuffix(answers, end); {
				n, err := conn.Read(buf)
				if err != nil {
					return "", fmt.Errorf("after %q: %w", answers, err)
				}
				answers += string(buf[:n])
			}
			return strings.TrimSuffix(answers, end), nil
		}
		seen, err := ask("CLIENT INFO\r\n")
		if err != nil {
			return err
		}
		seen = own.ReplaceAllString(seen, "")
		mu.Lock()
		if want == "" {
			want = seen
		}
		same := seen == want
		mu.Unlock()
		if !same {
			return fmt.Errorf("a client sees\n%s, and another saw\n%s", seen, want)
		}
		if random.IntN(2) == 0 { // what can be wiped away, and a close that waits for the answers
			_, err := ask("SELECT 3\r\nCLIENT SETNAME " + me + "\r\nHELLO 3\r\nPING\r\n")
			return err
		}
		io.WriteString(conn, leavings[random.IntN(len(leavings))])
		switch random.IntN(3) {
		case 0:
			conn.(*net.TCPConn).SetLinger(0)
		case 1:
			conn.SetReadDeadline(time.Now().Add(time.Duration(random.IntN(5)) * time.Millisecond))
			io.Copy(io.Discard, conn)
		}
		return nil
	}
	visits := 640
	if n, err := strconv.Atoi(os.Getenv("REDIAM_VISITS")); err == nil {
		visits = n
	}
	start := time.Now()
	var workers sync.WaitGroup
	for worker := range 16 {
		workers.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(worker)))
			for range visits / 16 {
				if err := visit(random); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	workers.Wait()
	handed := value(t, m, "handed_over_total", "")
	t.Logf("%d clients in %v, %v of them with a connection of another", visits, time.Since(start).Round(time.Second), handed)
	if handed < 100 {
		t.Errorf("%v connections only were given away", handed)
	}
}

// What a client has asked before QUIT is done and answered, at whatever moment it comes.
func TestQUITBehindOtherRequestsEndsAConnectionAfterTheirAnswers(t *testing.T) {
	if eachDriver(t, TestQUITBehindOtherRequestsEndsAConnectionAfterTheirAnswers) {
		return
	}
	up := newUpstream(t)
	addr, _ := keeps(t, up, 2, nil)
	first := connect(t, addr)
	io.WriteString(first, "SET k v\r\nQUIT\r\n")
	first.hearsAll("+OK\r\n+OK\r\n")
	second := connect(t, addr)
	second.says("GET k\r\n", "$1\r\nv\r\n")
	io.WriteString(second, "BLPOP none 0.1\r\nGET k\r\nQUIT\r\n")
	second.hearsAll("*-1\r\n$1\r\nv\r\n+OK\r\n")
}

// A renewal that waits until a transaction is over does not keep its connection.
func TestAClientThatLeavesWhileARenewalWaitsForItEndsItsConnection(t *testing.T) {
	if eachDriver(t, TestAClientThatLeavesWhileARenewalWaitsForItEndsItsConnection) {
		return
	}
	up := newUpstream(t)
	m := proxy.NewMetrics()
	addr := up.serve(t, func(p *proxy.Proxy) {
		p.Spare, p.Metrics, p.Renewal = 2, m, often
	})
	c := connect(t, addr)
	c.says("MULTI\r\n", "+OK\r\n")
	eventually(t, "a renewal is overdue", func() bool { return value(t, m, "late_renewals_total", "transaction") == 1 })
	c.Close()
	eventually(t, "the connection is closed", func() bool { return up.open() == 0 })
}

// After a failover no client is given a connection to what has been the primary.
func TestNoConnectionIsKeptOfAServerThatIsThePrimaryNoMore(t *testing.T) {
	if eachDriver(t, TestNoConnectionIsKeptOfAServerThatIsThePrimaryNoMore) {
		return
	}
	up := newUpstream(t)
	addr, wait := keeps(t, up, 4, nil)
	var clients []*peer
	for range 4 {
		c := connect(t, addr)
		c.says("PING\r\n", "+PONG\r\n")
		clients = append(clients, c)
	}
	clients[0].Close()
	clients[1].Close()
	wait(2)
	up.ask("REPLICAOF", "127.0.0.1", "1")
	clients[2].says("SET k v\r\n", "-READONLY You can't write against a read only replica.\r\n")
	wait(0)
	clients[2].Close()
	clients[3].says("PING\r\n", "+PONG\r\n")
	clients[3].Close()
	eventually(t, "every connection is closed", func() bool { return up.open() == 0 })
}

// Nor is one that has been renewed since: it is to the same server all the same.
func TestARenewalDoesNotMakeAConnectionToAFormerPrimaryOneThatIsKept(t *testing.T) {
	if eachDriver(t, TestARenewalDoesNotMakeAConnectionToAFormerPrimaryOneThatIsKept) {
		return
	}
	up := newUpstream(t)
	m := proxy.NewMetrics()
	addr := up.serve(t, func(p *proxy.Proxy) { p.Spare, p.Metrics, p.Renewal = 4, m, often })
	first, second := connect(t, addr), connect(t, addr)
	second.says("PING\r\n", "+PONG\r\n")
	up.ask("REPLICAOF", "127.0.0.1", "1")
	first.says("SET k v\r\n", "-READONLY You can't write against a read only replica.\r\n")
	first.Close()
	eventually(t, "one is closed", func() bool { return up.open() == 1 })
	seen := value(t, m, "renewals_total", "renewed")
	eventually(t, "the other is renewed", func() bool { return value(t, m, "renewals_total", "renewed") > seen+1 })
	second.Close()
	eventually(t, "it is closed", func() bool { return up.open() == 0 })
}

// A node that has gone without a word costs one client its patience, and not one for
// each connection that is kept.
func TestConnectionsToANodeThatIsSilentAreNotKept(t *testing.T) {
	if eachDriver(t, TestConnectionsToANodeThatIsSilentAreNotKept) {
		return
	}
	m := proxy.NewMetrics()
	var silent atomic.Bool // those that are open are
	addr, _ := odd(t, func(p *proxy.Proxy) { p.Spare, p.Metrics = 4, m }, func(conn net.Conn) {
		old := !silent.Load()
		buf := make([]byte, 4096)
		conn.Read(buf)
		io.WriteString(conn, signedIn)
		for {
			_, err := conn.Read(buf)
			switch {
			case old && silent.Load():
				<-t.Context().Done()
				return
			case err != nil:
				return
			}
			io.WriteString(conn, "+PONG\r\n")
		}
	})
	var clients []*peer
	for range 4 {
		c := connect(t, addr)
		c.says("PING\r\n", "+PONG\r\n")
		clients = append(clients, c)
	}
	for _, c := range clients {
		c.Close()
	}
	kept := func() float64 { return value(t, m, "spare_connections", "") }
	eventually(t, "four are kept", func() bool { return kept() == 4 })
	silent.Store(true)
	c := connect(t, addr)
	io.WriteString(c, "PING\r\n")
	eventually(t, "it has one of them", func() bool { return kept() == 3 })
	c.Close()
	eventually(t, "none is kept", func() bool { return kept() == 0 })
	connect(t, addr).says("PING\r\n", "+PONG\r\n")
}

// A client that leaves without an answer does not make the node look as if it were gone.
func TestAClientThatDoesNotWaitForAnAnswerCostsNoConnectionButItsOwn(t *testing.T) {
	if eachDriver(t, TestAClientThatDoesNotWaitForAnAnswerCostsNoConnectionButItsOwn) {
		return
	}
	up := newUpstream(t)
	m := proxy.NewMetrics()
	addr := up.serve(t, func(p *proxy.Proxy) { p.Spare, p.Metrics = 4, m })
	kept := func() float64 { return value(t, m, "spare_connections", "") }
	var clients []*peer
	for range 3 {
		c := connect(t, addr)
		c.says("PING\r\n", "+PONG\r\n")
		clients = append(clients, c)
	}
	for _, c := range clients {
		c.Close()
	}
	eventually(t, "three are kept", func() bool { return kept() == 3 })
	for i, tt := range []struct {
		asks, answer string
		kept         float64
	}{
		{"AUTH u p\r\n", "+OK\r\n", 3}, // which is answered here
		{"BLPOP none 0\r\n", "", 2},    // which ends with its connection
	} {
		c := connect(t, addr)
		c.says(tt.asks, tt.answer)
		c.Close()
		eventually(t, "it has gone", func() bool {
			return value(t, m, "handed_over_total", "") == float64(i+1) && value(t, m, "clients", "") == 0
		})
		if kept := kept(); kept != tt.kept {
			t.Errorf("after %q %v connections are kept, want %v", tt.asks, kept, tt.kept)
		}
	}
}
