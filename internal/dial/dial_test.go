package dial_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/internal/dial"
)

// settled is longer than a connection has to be idle to be worth a look.
const settled = 30 * time.Millisecond

type source struct{}

func (source) Token(context.Context) (rediam.Token, error) { return rediam.Token{}, nil }

// pair is a connection of a dialler and the server's side of it.
func pair(t *testing.T, version uint16) (signIns *rediam.SignIns, client *dial.Conn, server *tls.Conn) {
	t.Helper()
	known := httptest.NewTLSServer(nil)
	defer known.Close()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: known.TLS.Certificates, MaxVersion: version})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	accepted := make(chan *tls.Conn, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		server := conn.(*tls.Conn)
		if err := server.Handshake(); err != nil {
			t.Error(err)
		}
		accepted <- server
	}()
	signIns = rediam.Limit(source{}, 1)
	trust := known.Client().Transport.(*http.Transport).TLSClientConfig
	d := dial.Dialer{SignIns: signIns, TLS: &tls.Config{RootCAs: trust.RootCAs, ServerName: "example.com"}}
	client, err = d.DialContext(t.Context(), "tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server = <-accepted
	t.Cleanup(func() { client.Close(); server.Close() })
	return signIns, client, server
}

func write(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != want {
		t.Fatalf("read %q, %v, want %q", got, err, want)
	}
}

func TestALookTellsWhetherTheOtherSideHasClosed(t *testing.T) {
	for name, version := range map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13} {
		for _, v := range []struct {
			name string
			do   func(server *tls.Conn)
			want dial.State
		}{
			{"nothing", func(*tls.Conn) {}, dial.Quiet},
			{"data", func(s *tls.Conn) { write(t, s, ">2\r\n+invalidate\r\n*1\r\n+foo1\r\n") }, dial.Pending},
			{"the end of TLS", func(s *tls.Conn) { s.CloseWrite() }, dial.Closed},
			{"the end of TCP", func(s *tls.Conn) { s.Close() }, dial.Closed},
			{"a reset", func(s *tls.Conn) { s.NetConn().(*net.TCPConn).SetLinger(0); s.NetConn().Close() }, dial.Closed},
			{"a half of it", func(s *tls.Conn) { s.NetConn().(*net.TCPConn).CloseWrite() }, dial.Closed},
		} {
			_, client, server := pair(t, version)
			write(t, server, "+OK\r\n") // with what TLS sends after the handshake
			read(t, client, "+OK\r\n")
			if got := client.Look(); got != dial.Quiet {
				t.Errorf("%s: before %s there is %v", name, v.name, got)
			}
			v.do(server)
			<-time.After(settled)
			if got := client.Look(); got != v.want || (client.Err() != nil) != (v.want == dial.Closed) {
				t.Errorf("%s: after %s there is %v, %v, want %v", name, v.name, got, client.Err(), v.want)
			}
		}
	}
}

func TestSignInsAreToldFromTheirAnswers(t *testing.T) {
	auth, hello := "*3\r\n$4\r\nAUTH\r\n$1\r\nu\r\n$1\r\np\r\n", "*5\r\n$5\r\nhello\r\n$1\r\n3\r\n$4\r\nauth\r\n$1\r\nu\r\n$1\r\np\r\n"
	wrongPass := "-WRONGPASS invalid username-password pair or user is disabled.\r\n"
	for _, v := range []struct {
		name             string
		talk             []string // request, answer, request, answer
		signIns, renewed int64
		failures         map[rediam.Cause]int64
	}{
		{"AUTH", []string{auth, "+OK\r\n"}, 1, 0, nil},
		{"auth in small letters", []string{strings.ToLower(auth), "+OK\r\n"}, 1, 0, nil},
		{"HELLO with AUTH", []string{hello, "%1\r\n+proto\r\n:3\r\n"}, 1, 0, nil},
		{"HELLO in a pipeline", []string{hello + "*1\r\n$4\r\nPING\r\n", "%0\r\n+PONG\r\n"}, 1, 0, nil},
		{"HELLO without AUTH", []string{"*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n", "%0\r\n"}, 0, 0, nil},
		{"other commands", []string{"*1\r\n$4\r\nPING\r\n", "+PONG\r\n", "*2\r\n$4\r\nHGET\r\n$4\r\nAUTH\r\n", "-ERR\r\n"}, 0, 0, nil},
		{"refused", []string{auth, wrongPass}, 0, 0, map[rediam.Cause]int64{rediam.CauseRefused: 1}},
		{"HELLO refused and AUTH taken", []string{hello, "-ERR unknown command 'hello'\r\n", auth, "+OK\r\n"}, 1, 0, map[rediam.Cause]int64{rediam.CauseOther: 1}},
		{"a push before the answer", []string{auth, ">1\r\n+x\r\n", "", "+OK\r\n"}, 1, 0, nil},
		{"half a push before the answer", []string{auth, ">1\r\n", "", "+OK\r\n", "", "+OK\r\n"}, 1, 0, nil},
		{"a push and the answer", []string{auth, ">2\r\n+x\r\n$4\r\n-ERR\r\n+OK\r\n"}, 1, 0, nil},
		{"a push and a refusal", []string{auth, ">1\r\n+x\r\n" + wrongPass}, 0, 0, map[rediam.Cause]int64{rediam.CauseRefused: 1}},
		{"a bulk error", []string{auth, "!9\r\nWRONGPASS\r\n"}, 0, 0, map[rediam.Cause]int64{rediam.CauseOther: 1}},
		{"the middle of a request that looks like one", []string{"x\r\n" + auth[4:], "+OK\r\n"}, 0, 0, nil},
		{"renewed", []string{auth, "+OK\r\n", auth, "+OK\r\n"}, 1, 1, nil},
		{"a renewal refused", []string{auth, "+OK\r\n", auth, "-ERR Exceeded limit of IAM Authentication requests\r\n"}, 1, 0, map[rediam.Cause]int64{rediam.CauseThrottled: 1}},
	} {
		signIns, client, server := pair(t, tls.VersionTLS13)
		for i := 0; i < len(v.talk); i += 2 {
			write(t, client, v.talk[i])
			read(t, server, v.talk[i])
			write(t, server, v.talk[i+1])
			read(t, client, v.talk[i+1])
		}
		got := signIns.Counts()
		if got.SignIns != v.signIns || got.Renewals != v.renewed || len(got.Failures) != len(v.failures) {
			t.Errorf("%s: Counts() = %+v, want %d sign-ins, %d renewals, %v", v.name, got, v.signIns, v.renewed, v.failures)
		}
		for cause, n := range v.failures {
			if got.Failures[cause] != n {
				t.Errorf("%s: %d failures by %s, want %d", v.name, got.Failures[cause], cause, n)
			}
		}
		client.Close()
		if next := signIns.Open(); next.Begin(t.Context()) != nil || signIns.Counts().Connections != 0 {
			t.Errorf("%s: something is left", v.name)
		}
	}
}

// go-redis follows a HELLO that is refused with AUTH on the same connection.
func TestATokenThatWasRefusedIsNotSentAgain(t *testing.T) {
	auth, wrongPass := "*3\r\n$4\r\nAUTH\r\n$1\r\nu\r\n$1\r\np\r\n", "-WRONGPASS invalid username-password pair or user is disabled.\r\n"
	signIns, client, server := pair(t, tls.VersionTLS13)
	write(t, client, auth)
	write(t, server, wrongPass)
	read(t, client, wrongPass)
	if _, err := io.WriteString(client, auth); rediam.CauseOf(err) != rediam.CauseRefused {
		t.Errorf("the second AUTH: %v, want what the first was answered", err)
	}
	if got := signIns.Counts(); got.Failures[rediam.CauseRefused] != 1 {
		t.Errorf("Counts() = %+v, want one refusal", got)
	}
}

func TestAnErrorThatRepeatsTheTokenIsNotLogged(t *testing.T) {
	var log strings.Builder
	signIns, client, server := pair(t, tls.VersionTLS13)
	signIns.Log = slog.New(slog.NewTextHandler(&log, nil))
	answer := "-ERR unknown command 'AUTH', with args beginning with: 'u' 's3cr3t'\r\n"
	write(t, client, "*3\r\n$4\r\nAUTH\r\n$1\r\nu\r\n$6\r\ns3cr3t\r\n")
	write(t, server, answer)
	read(t, client, answer)
	if strings.Contains(log.String(), "s3cr3t") || !strings.Contains(log.String(), "ERR") {
		t.Errorf("the log is %q", log.String())
	}
}

func TestASignInThatIsNotAnsweredIsAFailure(t *testing.T) {
	for name, end := range map[string]func(client *dial.Conn, server *tls.Conn){
		"closed by the other side": func(client *dial.Conn, server *tls.Conn) { server.Close(); client.Read(make([]byte, 1)) },
		"closed by this side":      func(client *dial.Conn, _ *tls.Conn) { client.Close(); client.Close() },
	} {
		signIns, client, server := pair(t, tls.VersionTLS13)
		write(t, client, "*3\r\n$4\r\nAUTH\r\n$1\r\nu\r\n$1\r\np\r\n")
		end(client, server)
		if got := signIns.Counts(); got.Failures[rediam.CauseConnection] != 1 || got.Connections != 0 {
			t.Errorf("%s: Counts() = %+v, want one failure", name, got)
		}
	}
}

// The answer to a renewal that goes out among other requests cannot be told from
// theirs, but an error of sign-ins can.
func TestARenewalAmongOtherRequestsIsGoodUnlessAnErrorComes(t *testing.T) {
	for name, v := range map[string]struct {
		answers  string
		passed   string // of them, to the client; then the connection ends if it is not all
		throttle int64
	}{
		"good":            {"+OK\r\n$3\r\nfoo\r\n", "+OK\r\n$3\r\nfoo\r\n", 0},
		"refused":         {"$3\r\nfoo\r\n-ERR Exceeded limit of IAM Authentication requests\r\n:1\r\n", "$3\r\nfoo\r\n", 1},
		"text in a value": {"$53\r\nx-ERR Exceeded limit of IAM Authentication requests...\r\n", "$53\r\nx-ERR Exceeded limit of IAM Authentication requests...\r\n", 0},
	} {
		signIns, client, server := pair(t, tls.VersionTLS13)
		client.SignIn.Begin(t.Context())
		client.SignIn.End(nil)
		client.SignIn.Begin(t.Context())
		client.Among(settled)
		write(t, client, "*3\r\n$4\r\nAUTH\r\n$1\r\nu\r\n$1\r\np\r\n")
		write(t, server, v.answers)
		buf := make([]byte, 4096)
		if n, err := client.Read(buf); err != nil || string(buf[:n]) != v.passed {
			t.Errorf("%s: read %q, %v, want %q", name, buf[:n], err, v.passed)
		}
		if v.passed != v.answers {
			if n, err := client.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("%s: read %d more bytes, %v, want the end", name, n, err)
			}
		}
		next := signIns.Open()
		if err := next.Begin(t.Context()); err != nil { // waits for the verdict, which is counted then
			t.Fatal(err)
		}
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
			if got := signIns.Counts(); got.Renewals+got.Failures[rediam.CauseThrottled] > 0 {
				break
			}
		}
		if got := signIns.Counts(); got.Renewals != 1-v.throttle || got.Failures[rediam.CauseThrottled] != v.throttle {
			t.Errorf("%s: Counts() = %+v, want %d throttled", name, got, v.throttle)
		}
	}
}

func TestRefusesTLSThatShowsTokensToOthers(t *testing.T) {
	unverified := &tls.Config{}
	unverified.InsecureSkipVerify = true
	if dial.CheckTLS(nil) == nil || dial.CheckTLS(unverified) == nil || dial.CheckTLS(&tls.Config{}) != nil {
		t.Error("CheckTLS takes no TLS or TLS that does not verify, or refuses one that does")
	}
	known := httptest.NewTLSServer(nil)
	defer known.Close()
	signIns := rediam.Follow(source{})
	for name, d := range map[string]dial.Dialer{
		"unknown authority": {SignIns: signIns, TLS: &tls.Config{}},
		"own TLS that does not verify": {SignIns: signIns, TLS: &tls.Config{}, Open: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return (&tls.Dialer{Config: unverified}).DialContext(ctx, network, addr)
		}},
	} {
		if conn, err := d.DialContext(t.Context(), "tcp", known.Listener.Addr().String()); err == nil {
			conn.Close()
			t.Errorf("%s: taken", name)
		}
	}
	if got := signIns.Counts(); len(got.Failures) == 0 || got.Connections != 0 {
		t.Errorf("Counts() = %+v, want failures and no connection", got)
	}
}

func TestDiallingEndsInTime(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	d := dial.Dialer{SignIns: rediam.Follow(source{}), TLS: &tls.Config{}, Timeout: settled}
	if _, err := d.DialContext(t.Context(), "tcp", silent.Addr().String()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("DialContext() = %v, want the deadline", err)
	}
}

func TestTheEndOfAConnectionIsSeenBehindWhatIsUnread(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		address := "127.0.0.1:0"
		if network == "unix" {
			dir, err := os.MkdirTemp("", "s")
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(dir)
			address = filepath.Join(dir, "s")
		}
		listener, err := net.Listen(network, address)
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		for name, end := range map[string]func(net.Conn){
			"closed":      func(c net.Conn) { c.Close() },
			"half-closed": func(c net.Conn) { c.(interface{ CloseWrite() error }).CloseWrite() },
			"reset": func(c net.Conn) {
				if tcp, ok := c.(*net.TCPConn); ok {
					tcp.SetLinger(0)
				}
				c.Close()
			},
		} {
			client, err := net.Dial(network, listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			server, err := listener.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			if dial.Ended(server) {
				t.Errorf("%s, %s: it has ended before", network, name)
			}
			if network == "tcp" && runtime.GOOS == "linux" {
				client.Write([]byte("x"))
			}
			end(client)
			for deadline := time.Now().Add(10 * time.Second); !dial.Ended(server); time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("%s, %s: its end is not seen", network, name)
				}
			}
		}
	}
}

// passwords are tried in their order.
type passwords []string

func (p passwords) Token(context.Context) (rediam.Token, error) {
	return rediam.Token{User: "default", Password: p[0]}, nil
}

func (p passwords) Passwords(context.Context) iter.Seq2[rediam.Token, error] {
	return func(yield func(rediam.Token, error) bool) {
		for _, word := range p {
			if !yield(rediam.Token{User: "default", Password: word}, nil) {
				return
			}
		}
	}
}

func TestAuthTokensSignInToEnginesWithoutUsers(t *testing.T) {
	for _, v := range []struct {
		name, old, new string // what is answered to either
		want           string // in the error
		cause          rediam.Cause
	}{
		{"Redis 5", "-ERR invalid password\r\n", "+OK\r\n", "", ""},
		{"Redis 7", "-WRONGPASS invalid username-password pair or user is disabled.\r\n", "+OK\r\n", "", ""},
		{"both refused", "-WRONGPASS no\r\n", "-WRONGPASS no\r\n", "WRONGPASS", rediam.CauseRefused},
		{"none known", "-ERR Client sent AUTH, but no password is set: old-token\r\n", "", "ERR (not shown", rediam.CauseOther},
		{"no answer", "", "", "timeout", rediam.CauseTimeout},
		{"half an answer", "-WRONG", "", "timeout", rediam.CauseTimeout},
		{"an answer without an end", strings.Repeat("x", 1000), "", "not shown", rediam.CauseOther},
	} {
		known := httptest.NewTLSServer(nil)
		trust := known.Client().Transport.(*http.Transport).TLSClientConfig
		listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: known.TLS.Certificates})
		known.Close()
		if err != nil {
			t.Fatal(err)
		}
		var asked strings.Builder
		done := make(chan struct{})
		go func() {
			defer close(done)
			conn, err := listener.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			buf := make([]byte, 1024)
			for _, answer := range []string{v.old, v.new} {
				n, _ := conn.Read(buf)
				asked.Write(buf[:n])
				io.WriteString(conn, answer)
			}
			io.Copy(io.Discard, conn)
		}()
		signIns := rediam.Limit(passwords{"old-token", "new-token"}, 1)
		d := dial.Dialer{SignIns: signIns, TLS: &tls.Config{RootCAs: trust.RootCAs, ServerName: "example.com"}, Timeout: time.Second}
		c, err := d.SignedIn(t.Context(), "tcp", listener.Addr().String())
		if err == nil {
			c.Close()
		}
		listener.Close()
		<-done
		counts := signIns.Counts()
		switch {
		case v.want == "" && (err != nil || counts.SignIns != 1 || len(counts.Failures) != 0):
			t.Errorf("%s: %v, %+v", v.name, err, counts)
		case v.want != "" && (err == nil || !strings.Contains(err.Error(), v.want) || strings.Contains(err.Error(), "old-token") || counts.Failures[v.cause] != 1):
			t.Errorf("%s: %v, %+v", v.name, err, counts)
		}
		if want := "*2\r\n$4\r\nAUTH\r\n$9\r\nold-token\r\n"; !strings.HasPrefix(asked.String(), want) {
			t.Errorf("%s: asked %q", v.name, asked.String())
		}
	}
}
