package proxy_test

import (
	"crypto/tls"
	"io"
	"net"
	"slices"
	"testing"

	"github.com/rediam/rediam/internal/proxy"
)

// A server that has taken a classical key exchange is offered no other one, until it
// has refused that; one that knows the post-quantum one always gets it.
func TestPostQuantumKeysAreOfferedToThoseWhoTakeThem(t *testing.T) {
	if eachDriver(t, TestPostQuantumKeysAreOfferedToThoseWhoTakeThem) {
		return
	}
	classical, hybrid := []tls.CurveID{tls.X25519}, []tls.CurveID{tls.X25519MLKEM768}
	takes := make(chan []tls.CurveID, 1) // by the next connection
	offered := make(chan bool, 1)
	config := &tls.Config{}
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		offered <- slices.Contains(hello.SupportedCurves, tls.X25519MLKEM768)
		next := config.Clone()
		next.CurvePreferences = <-takes
		return next, nil
	}
	addr, _ := oddTLS(t, config, nil, func(conn net.Conn) {
		buf := make([]byte, 4096)
		conn.Read(buf)
		io.WriteString(conn, signedIn)
		for {
			if _, err := conn.Read(buf); err != nil {
				return
			}
			io.WriteString(conn, "+PONG\r\n")
		}
	})
	for i, tt := range []struct {
		takes   []tls.CurveID
		offered bool
		says    string
	}{
		{hybrid, true, "+PONG"},
		{hybrid, true, "+PONG"},
		{classical, true, "+PONG"},
		{classical, false, "+PONG"},
		{hybrid, false, "-ERR rediam: cannot sign in"},
		{hybrid, true, "+PONG"},
	} {
		takes <- tt.takes
		c := connect(t, addr)
		c.says("PING\r\n", tt.says)
		c.Close()
		if got := <-offered; got != tt.offered {
			t.Errorf("connection %d: offered: %v, want %v", i, got, tt.offered)
		}
	}
}

func TestNoKeysAreOfferedButThoseThatTheConfigurationHas(t *testing.T) {
	if eachDriver(t, TestNoKeysAreOfferedButThoseThatTheConfigurationHas) {
		return
	}
	offered := make(chan []tls.CurveID, 1)
	config := &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		offered <- hello.SupportedCurves
		return nil, nil
	}}
	only := []tls.CurveID{tls.CurveP384}
	addr, _ := oddTLS(t, config, func(p *proxy.Proxy) { p.TLS.CurvePreferences = only }, func(conn net.Conn) {
		conn.Read(make([]byte, 4096))
		io.WriteString(conn, signedIn)
		conn.Read(make([]byte, 4096))
		io.WriteString(conn, "+PONG\r\n")
	})
	for range 2 {
		connect(t, addr).says("PING\r\n", "+PONG\r\n")
		if got := <-offered; !slices.Equal(got, only) {
			t.Errorf("offered: %v, want %v", got, only)
		}
	}
}
