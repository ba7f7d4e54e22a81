//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	direct  = "direct TLS"
	rediam  = "rediam"
	haproxy = "haproxy"

	startTime = 20 * time.Second
	stopTime  = 5 * time.Second

	// nginxStream is where Debian's package has the module.
	nginxStream = "/usr/lib/nginx/modules/ngx_stream_module.so"
)

// A peer is a program to measure. In its arguments and its configuration, {listen}
// is where it listens, {cache} where redis-server speaks TLS, {stage} where the
// certificates and rediam are, {dir} a directory of its own and {config} the file
// there that has its configuration.
type peer struct {
	name, args, config string
	needs              [][2]string // a program or a file, and the Debian package that has it
}

// redisServer is what they all stand before. Whatever token is presented signs bench
// in; who presents none is the default user.
var redisServer = peer{name: "redis-server", args: "redis-server {config}", config: `bind 127.0.0.1
port {listen port}
tls-port {cache port}
tls-cert-file {stage}/server.crt
tls-key-file {stage}/server.key
tls-ca-cert-file {stage}/ca.crt
tls-auth-clients no
tls-ciphersuites TLS_AES_128_GCM_SHA256
save ""
appendonly no
maxmemory 1gb
maxclients 10000
user bench on nopass ~* &* +@all
`}

// direct is whether there is no program between.
func (p peer) direct() bool { return p.args == "" }

// signsIn is rediam with a sign-in for each client.
const signsIn = "rediam --spare 0"

const rediamArgs = "{stage}/rediam proxy --listen {listen} --endpoint {cache} --ca {stage}/ca.crt --cache orders --user bench --region eu-west-1 --admin {admin}"

var allPeers = []peer{
	{name: direct},
	{name: rediam, args: rediamArgs},
	{name: "rediam goroutines", args: rediamArgs + " --driver goroutines"},
	{name: signsIn, args: rediamArgs + " --spare 0"},
	{
		name:  haproxy,
		needs: [][2]string{{"haproxy", "haproxy"}},
		args:  "haproxy -db -f {config}",
		config: `global
  maxconn 4000
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen cache
  bind {listen}
  server one {cache} ssl verify required ca-file {stage}/ca.crt sni str(localhost) verifyhost localhost
`,
	},
	{
		name:  "nginx stream",
		needs: [][2]string{{"nginx", "nginx"}, {nginxStream, "libnginx-mod-stream"}},
		args:  "nginx -p {dir} -e stderr -c {config}",
		config: `load_module ` + nginxStream + `;
pid {dir}/pid;
daemon off;
worker_processes 2;
events { worker_connections 4096; }
stream {
  server {
    listen {listen};
    tcp_nodelay on;
    proxy_pass {cache};
    proxy_ssl on;
    proxy_ssl_protocols TLSv1.2 TLSv1.3;
    proxy_ssl_verify on;
    proxy_ssl_trusted_certificate {stage}/ca.crt;
    proxy_ssl_server_name on;
    proxy_ssl_name localhost;
  }
}
`,
	},
	{
		name:  "stunnel",
		needs: [][2]string{{"stunnel", "stunnel4"}},
		args:  "stunnel {config}",
		config: `foreground = yes
debug = 3
pid =
[cache]
client = yes
accept = {listen}
connect = {cache}
CAfile = {stage}/ca.crt
verifyChain = yes
checkHost = localhost
sni = localhost
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
`,
	},
}

// installedPeers are those that were asked for and are there.
func installedPeers(o options, log io.Writer) (peers []peer, err error) {
	for _, p := range allPeers {
		if !o.only.MatchString(p.name) || p.missing(log) {
			continue
		}
		peers = append(peers, p)
		if p.name == haproxy && o.floor {
			p.name = "haproxy again"
			peers = append(peers, p)
		}
	}
	if len(peers) == 0 {
		return nil, errors.New("no such target")
	}
	return peers, nil
}

func (p peer) missing(log io.Writer) (missing bool) {
	for _, need := range p.needs {
		if _, err := exec.LookPath(need[0]); err == nil {
			continue
		}
		if _, err := os.Stat(need[0]); err != nil {
			fmt.Fprintf(log, "%s is left out: %s is not installed; the Debian package %s has it\n", p.name, need[0], need[1])
			missing = true
		}
	}
	return missing
}

// A stage is a redis-server and what programs in front of it need.
type stage struct {
	dir         string
	scale       float64
	cache       string // where redis-server speaks TLS
	redis       *running
	connections int // that this process and a proxy may hold
}

// open builds rediam and starts redis-server.
func open(ctx context.Context, scale float64) (s *stage, err error) {
	for _, program := range []string{"redis-server", "redis-benchmark"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, fmt.Errorf("%w; the Debian packages redis-server and redis-tools have both", err)
		}
	}
	dir, err := os.MkdirTemp("", "bench-proxy")
	if err != nil {
		return nil, err
	}
	s = &stage{dir: dir, scale: scale, cache: freeAddress()}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.connections, err = raiseFileLimit(); err != nil {
		return s, err
	}
	if err := certify(dir); err != nil {
		return s, err
	}
	build := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(dir, "rediam"), "github.com/rediam/rediam/cmd/rediam")
	if out, err := build.CombinedOutput(); err != nil {
		return s, fmt.Errorf("go build: %w\n%s", err, out)
	}
	s.redis, err = s.start(ctx, redisServer)
	return s, err
}

func (s *stage) close() {
	if s.redis != nil {
		s.redis.stop()
	}
	os.RemoveAll(s.dir)
}

// raiseFileLimit lets this process, and those that it starts, open as many files as
// they may, and tells how many connections a proxy can hold with that.
func raiseFileLimit() (connections int, err error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, err
	}
	limit.Cur = limit.Max
	const others = 100 // files that are not connections
	return (int(min(limit.Cur, 1<<20)) - others) / 2, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
}

// A running program is ready to be measured.
type running struct {
	peer    peer
	address string
	command *exec.Cmd // nil where there is no program between
}

// start starts a peer and waits until it answers a PING.
func (s *stage) start(ctx context.Context, p peer) (*running, error) {
	if p.direct() {
		return &running{peer: p, address: s.cache}, nil
	}
	dir, err := os.MkdirTemp(s.dir, "peer")
	if err != nil {
		return nil, err
	}
	r := &running{peer: p, address: freeAddress()}
	config := filepath.Join(dir, "config")
	places := strings.NewReplacer("{listen}", r.address, "{listen port}", port(r.address), "{cache}", s.cache, "{cache port}", port(s.cache),
		"{admin}", freeAddress(), "{stage}", s.dir, "{dir}", dir, "{config}", config)
	if err := os.WriteFile(config, []byte(places.Replace(p.config)), 0o600); err != nil {
		return nil, err
	}
	words := strings.Fields(p.args)
	for i := range words {
		words[i] = places.Replace(words[i])
	}
	c := exec.CommandContext(ctx, words[0], words[1:]...)
	c.Dir, c.Env = dir, environment()
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	c.WaitDelay = stopTime
	// Ctrl-C is for this process, which ends what it has started.
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var output bytes.Buffer
	c.Stdout, c.Stderr = &output, &output
	if err := c.Start(); err != nil {
		return nil, err
	}
	r.command = c
	if err := r.await(ctx); err != nil {
		r.stop()
		return nil, fmt.Errorf("%s does not start: %w\n%s", p.name, err, output.Bytes())
	}
	return r, nil
}

func (r *running) await(ctx context.Context) error {
	for deadline := time.Now().Add(startTime); ; time.Sleep(20 * time.Millisecond) {
		conn, err := dialAndPing(r.address)
		if err == nil {
			return conn.Close()
		}
		if ctx.Err() != nil || time.Now().After(deadline) || !processes().alive(r.command.Process.Pid) {
			return err
		}
	}
}

func (r *running) stop() {
	if r.command == nil {
		return
	}
	r.command.Process.Signal(syscall.SIGTERM)
	force := time.AfterFunc(stopTime, func() { r.command.Process.Kill() })
	defer force.Stop()
	r.command.Wait()
}

// environment has keys that any token can be signed with, and no others.
func environment() []string {
	return append(slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "AWS_") || strings.HasPrefix(v, "REDIAM_") || strings.HasPrefix(v, "REDIS_")
	}), "AWS_ACCESS_KEY_ID=AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY=of-no-account", "AWS_REGION=eu-west-1",
		"AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null")
}

// freeAddress is one of this machine's at which nothing listens.
func freeAddress() string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return ""
	}
	defer listener.Close()
	return listener.Addr().String()
}

func port(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}
