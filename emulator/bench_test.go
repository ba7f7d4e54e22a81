package emulator_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rediam/rediam/emulator"
	"github.com/rediam/rediam/internal/installed"
)

func TestTenThousandSignInsByTwoHundredClients(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, engine string) {
		srv := emulator.Start(t, emulator.Config{Engine: engine})
		password := token(t, srv, nil)
		var clients sync.WaitGroup
		for range 200 {
			w := dial(t, srv, "demo")
			clients.Go(func() {
				for range 50 {
					io.WriteString(w, request("AUTH", "demo-user", password)+request("RESET"))
					for _, want := range []string{ok, "+RESET\r\n"} {
						if got, err := readFrame(w.replies); got != want {
							t.Errorf("got %q, %v, want %q", got, err, want)
							return
						}
					}
				}
			})
		}
		clients.Wait()
	})
}

func BenchmarkSignIn(b *testing.B) {
	for _, row := range []struct {
		name, engine string
		connectAgain bool
	}{
		{"on a live connection", "embedded", false},
		{"on a new connection", "embedded", true},
		{"on a new connection", "redis-server", true},
	} {
		b.Run(row.name+" "+row.engine, func(b *testing.B) {
			srv := emulator.Start(b, emulator.Config{Engine: row.engine})
			cache, password := srv.Cache("demo"), token(b, srv, nil)
			cache.TLS.ClientSessionCache = tls.NewLRUClientSessionCache(0)
			b.SetParallelism(100)
			b.RunParallel(func(pb *testing.PB) {
				var conn *tls.Conn
				var replies *bufio.Reader
				for pb.Next() {
					if conn == nil || row.connectAgain {
						if conn != nil {
							conn.Close()
						}
						var err error
						if conn, err = tls.Dial("tcp", cache.Addr, cache.TLS); err != nil {
							b.Error(err)
							return
						}
						replies = bufio.NewReader(conn)
					}
					io.WriteString(conn, request("AUTH", "demo-user", password))
					if got, err := replies.ReadString('\n'); got != ok {
						b.Errorf("got %q, %v", got, err)
						return
					}
				}
				if conn != nil {
					conn.Close()
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "sign-ins/s")
		})
	}
}

// BenchmarkThroughput compares fifty connections through the gate with as many
// that speak TLS to the same engine directly.
func BenchmarkThroughput(b *testing.B) {
	path := installed.Path(b, "redis-server")
	files, direct := certificate(b)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(b, err)
	directAddr := listener.Addr().String()
	_, tlsPort, _ := net.SplitHostPort(directAddr)
	must(b, listener.Close())
	plain, _ := startRedis(b, path, append(files, "--tls-port", tlsPort)...)
	srv := emulator.Start(b, emulator.Config{Engine: "redis://127.0.0.1:" + plain})
	child := emulator.Start(b, emulator.Config{Engine: path})
	targets := []struct {
		name, addr string
		config     *tls.Config
		first      string
	}{
		{"direct", directAddr, direct, request("PING")},
		{"gate", srv.Cache("demo").Addr, srv.Cache("demo").TLS, request("AUTH", "demo-user", token(b, srv, nil))},
		{"gate to a child", child.Cache("demo").Addr, child.Cache("demo").TLS, request("AUTH", "demo-user", token(b, child, nil))},
	}
	for _, command := range []string{request("SET", "key", "xxx"), request("GET", "key")} {
		for range 2 { // alternating, so that a noisy machine is seen
			for _, target := range targets {
				b.Run(strings.Fields(command)[2]+" "+target.name, func(b *testing.B) {
					throughput(b, target.addr, target.config, target.first, command)
				})
			}
		}
	}
}

func throughput(b *testing.B, addr string, config *tls.Config, first, command string) {
	const connections = 50
	var running sync.WaitGroup
	var conns []*tls.Conn
	for range connections {
		conn, err := tls.Dial("tcp", addr, config)
		must(b, err)
		defer conn.Close()
		io.WriteString(conn, first)
		if _, err := readFrame(bufio.NewReader(conn)); err != nil {
			b.Fatal(err)
		}
		conns = append(conns, conn)
	}
	b.ResetTimer()
	for _, conn := range conns {
		running.Go(func() {
			replies := bufio.NewReader(conn)
			for range b.N/connections + 1 {
				io.WriteString(conn, command)
				if reply, err := readFrame(replies); err != nil || reply[0] == '-' {
					b.Errorf("%q, %v", reply, err)
					return
				}
			}
		})
	}
	running.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
}

// BenchmarkSession tells what a live connection holds in this process: directly, the
// client's side alone; through the gate, that and the gate's.
func BenchmarkSession(b *testing.B) {
	for _, engine := range []string{"direct", "embedded", "redis-server"} {
		b.Run(engine, func(b *testing.B) {
			addr, config, first := "", (*tls.Config)(nil), ""
			if engine == "direct" {
				files, trust := certificate(b)
				addr, config, first = directServer(b, installed.Path(b, "redis-server"), files), trust, request("PING")
			} else {
				srv := emulator.Start(b, emulator.Config{Engine: engine})
				addr, config, first = srv.Cache("demo").Addr, srv.Cache("demo").TLS, request("AUTH", "demo-user", token(b, srv, nil))
			}
			const connections = 500
			var kilobytes float64
			for b.Loop() {
				before := inUse()
				var conns []*tls.Conn
				for range connections {
					conn, err := tls.Dial("tcp", addr, config)
					must(b, err)
					io.WriteString(conn, first)
					if _, err := readFrame(bufio.NewReaderSize(conn, 16)); err != nil {
						b.Fatal(err)
					}
					conns = append(conns, conn)
				}
				kilobytes = float64(inUse()-before) / connections / 1e3
				for _, conn := range conns {
					conn.Close()
				}
			}
			b.ReportMetric(kilobytes, "kB/session")
		})
	}
}

func inUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// directServer starts a redis-server that speaks TLS and gives its address.
func directServer(b *testing.B, path string, files []string) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(b, err)
	addr := listener.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	must(b, listener.Close())
	startRedis(b, path, append(files, "--tls-port", port)...)
	return addr
}

// certificate makes one for 127.0.0.1, as options of redis-server and as what a
// client needs to trust it.
func certificate(b *testing.B) (options []string, client *tls.Config) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(b, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	must(b, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	must(b, err)
	dir := b.TempDir()
	cert, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	must(b, os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	must(b, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600))
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return []string{"--tls-cert-file", cert, "--tls-key-file", keyFile, "--tls-ca-cert-file", cert, "--tls-auth-clients", "no"}, &tls.Config{RootCAs: roots}
}

func BenchmarkOpenEmbedded(b *testing.B) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range b.N {
		srv, err := emulator.Open(context.Background(), emulator.Config{Engine: "embedded"})
		must(b, err)
		b.StopTimer()
		runtime.GC()
		runtime.ReadMemStats(&after)
		must(b, srv.Close())
		b.StartTimer()
	}
	b.ReportMetric(float64(int64(after.HeapAlloc)-int64(before.HeapAlloc))/1e6, "MB-heap")
	b.ReportMetric(float64(after.Sys)/1e6, "MB-sys")
}
