package rotate_test

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http/httptest"
	"testing"

	"github.com/rediam/rediam/rotate"
)

func event(step, id string) rotate.Event {
	return rotate.Event{Step: step, SecretID: secretARN, ClientRequestToken: id}
}

func step(t *testing.T, r *rotate.Rotator, id string, steps ...string) {
	t.Helper()
	for _, s := range steps {
		if err := r.Handle(t.Context(), event(s, id)); err != nil {
			t.Fatal(err)
		}
	}
}

// serveTLS answers connections with a certificate that the configuration knows.
func serveTLS(t *testing.T, answer func(net.Conn)) (node string, config *tls.Config) {
	t.Helper()
	web := httptest.NewTLSServer(nil) // for its certificate
	t.Cleanup(web.Close)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: web.TLS.Certificates})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { answer(c); c.Close() }()
		}
	}()
	roots := x509.NewCertPool()
	roots.AddCert(web.Certificate())
	return l.Addr().String(), &tls.Config{RootCAs: roots}
}
