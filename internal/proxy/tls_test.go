package proxy_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/internal/installed"
	"github.com/rediam/rediam/internal/proxy"
)

// A console is OpenSSL's server, which says what it is told and shows what it hears.
type console struct {
	t     *testing.T
	addr  string
	roots *x509.CertPool
	in    io.Writer
	out   io.Reader
	heard string // and not been asked for
}

func openConsole(t *testing.T) *console {
	t.Helper()
	path := installed.Path(t, "openssl")
	web := httptest.NewTLSServer(nil) // for its certificate
	defer web.Close()
	key, err := x509.MarshalPKCS8PrivateKey(web.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "pem")
	both := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
	if err := os.WriteFile(file, both, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	server := exec.CommandContext(ctx, path, "s_server", "-accept", "127.0.0.1:0", "-cert", file, "-key", file, "-tls1_3", "-num_tickets", "3", "-msg")
	c := &console{t: t, roots: x509.NewCertPool()}
	c.roots.AddCert(web.Certificate())
	c.in, err = server.StdinPipe()
	if err == nil {
		c.out, err = server.StdoutPipe()
	}
	if err == nil {
		err = server.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		server.Wait()
	})
	c.hears("ACCEPT ")
	c.addr, _, _ = strings.Cut(c.until("\n"), "\n")
	return c
}

// says passes something on, or is a command of one letter.
func (c *console) says(what string) {
	c.t.Helper()
	if _, err := io.WriteString(c.in, what); err != nil {
		c.t.Fatal(err)
	}
}

// hears waits for something.
func (c *console) hears(what string) {
	c.t.Helper()
	_, c.heard, _ = strings.Cut(c.until(what), what)
}

func (c *console) until(what string) string {
	c.t.Helper()
	for b := make([]byte, 4096); !strings.Contains(c.heard, what); {
		n, err := c.out.Read(b)
		c.heard += string(b[:n])
		if err != nil {
			c.t.Fatalf("waited for %q, heard %q, %v", what, c.heard, err)
		}
	}
	return c.heard
}

// A server may change its keys, have the proxy change its own, and send tickets, all
// of which are records without anything for the client.
func TestTheServerMayChangeItsKeys(t *testing.T) {
	if eachDriver(t, TestTheServerMayChangeItsKeys) {
		return
	}
	c := openConsole(t)
	signer := &rediam.Signer{Cache: "orders", User: user, Region: "eu-west-1", Credentials: credentials.NewStaticCredentialsProvider("AKIAIOSFODNN7EXAMPLE", "not-a-secret", "")}
	addr, _ := run(t, &proxy.Proxy{Driver: driver(t), Addr: c.addr, TLS: &tls.Config{RootCAs: c.roots}, SignIns: rediam.Follow(signer)})
	p := connect(t, addr)
	p.says("PING\r\n", "")
	c.hears("HELLO")
	c.says(signedIn)
	c.hears("PING")
	c.says("+PONG\r\n")
	p.hears("+PONG\r\n")
	for i := range 20 {
		asks := i%2 == 0 // that the proxy change its own
		c.says(map[bool]string{true: "K\n", false: "k\n"}[asks])
		c.hears(">>> TLS 1.3, Handshake [length 0005], KeyUpdate")
		if asks {
			c.hears("<<< TLS 1.3, Handshake [length 0005], KeyUpdate")
		}
		p.says(fmt.Sprintf("ECHO number%d\r\n", i), "")
		c.hears(fmt.Sprint("number", i))
		c.says(fmt.Sprintf("+number%d\r\n", i))
		p.hears(fmt.Sprintf("+number%d\r\n", i))
	}
}
