// Package emulator is ElastiCache and MemoryDB on one machine: caches in front of
// a real Redis or Valkey (or an embedded one) that verify IAM tokens, policies,
// users and user groups as AWS does, end connections after 12 hours of its own
// clock, and say why a sign-in was refused. In a test:
//
//	srv := emulator.Start(t)
//	cache := srv.Cache("demo")
//	signer := &rediam.Signer{Cache: cache.Name, User: "demo-user", Region: srv.Region(),
//		Credentials: srv.Credentials("demo-app"), Now: srv.Now}
//	client := redis.NewClient(&redis.Options{Addr: cache.Addr, TLSConfig: cache.TLS,
//		CredentialsProviderContext: rediam.BasicAuth(signer)})
//
// It listens on loopback only and is not for production data: it keeps none.
package emulator

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/rediam/rediam/internal/awsapi"
	"github.com/rediam/rediam/internal/engine"
	"github.com/rediam/rediam/internal/gate"
	"github.com/rediam/rediam/internal/world"
)

// What exists in an emulator. See each for its fields and their zero values.
type (
	Cache   = world.Cache   // a replication group, serverless cache or MemoryDB cluster
	User    = world.User    // a user whom Redis knows
	Group   = world.Group   // a user group, or an ACL of MemoryDB
	Role    = world.Role    // an IAM role
	IAMUser = world.IAMUser // a user of IAM
	Secret  = world.Secret  // a password that does not print
	Key     = world.Key     // an access key
	Event   = gate.Event    // an attempt to sign in
	Session = gate.Session  // a live connection
	Error   = world.Error   // a change that AWS's rules forbid
)

// The kinds of cache and the ways in which users prove who they are.
const (
	ReplicationGroup = world.ReplicationGroup
	ServerlessCache  = world.ServerlessCache
	Cluster          = world.Cluster
	AuthIAM          = world.AuthIAM
	AuthPassword     = world.AuthPassword
	AuthNoPassword   = world.AuthNoPassword
)

// The names of the default set-up.
const (
	DefaultCache = "demo"
	DefaultUser  = "demo-user"
	DefaultRole  = "demo-app" // may Connect to the cache as the user
	AdminUser    = "admin"    // an IAM user who may do everything
)

// maxEvents is how many sign-ins are remembered.
const maxEvents = 1000

// A Config says what to start. The zero value is one cache named demo with an IAM
// user demo-user, a user named default who is off, a role demo-app that may
// Connect, and an IAM user admin who may do everything.
type Config struct {
	// Engine holds the data of each cache: "auto" (also when empty: valkey-server
	// or redis-server from PATH, else embedded), "embedded", "redis-server",
	// "valkey-server", the path of one, or a redis:// URL of one that runs.
	Engine string

	Region  string // empty means us-east-1; the partition of ARNs follows from it
	Account string // empty means 123456789012

	// Listen is the loopback address of the AWS endpoint; empty means any free port.
	Listen string
	// CachePort is the port of the first cache; zero means a free one.
	CachePort int

	// Cache and User rename what is made by default, Kind changes the kind of the
	// cache. Empty makes the IAM user admin and nothing else.
	Cache, User string
	Kind        world.Kind
	Empty       bool

	// TokenTTL shortens the life of tokens (15 minutes when zero), ConnectionTTL
	// that of connections (12 hours when zero).
	TokenTTL, ConnectionTTL time.Duration

	// LenientResourceType accepts tokens with or without ResourceType on caches of
	// either kind. AWS documents only by example that serverless needs it.
	LenientResourceType bool

	// Log gets what happens, each refused sign-in with its reason; nil means
	// nothing is logged.
	Log *slog.Logger
}

// A Server is a running emulator. Its methods are safe for many goroutines.
type Server struct {
	config Config
	world  *world.World
	log    *slog.Logger
	ca     *authority
	dir    *directory
	http   *http.Server
	url    string
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	tasks  sync.WaitGroup
	done   chan struct{} // closed when the emulator has failed or is closed
	end    sync.Once
	ended  sync.Once

	mu     sync.Mutex // guards below
	caches map[string]*cache
	events []Event
	err    error // why the emulator failed
	made   int   // caches started so far
}

// TB is what Start needs of a *testing.T or *testing.B.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
	Cleanup(func())
}

// Start starts an emulator for the length of a test; configs has none or one. It
// ends the test if that fails.
func Start(t TB, configs ...Config) *Server {
	t.Helper()
	var c Config
	if len(configs) > 0 {
		c = configs[0]
	}
	s, err := Open(context.Background(), c)
	if err != nil {
		t.Fatalf("start emulator: %v", err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// Open starts an emulator. When it returns every listener answers; the caller
// must Close it. ctx bounds the start only.
func Open(ctx context.Context, c Config) (*Server, error) {
	s := &Server{config: c, world: world.New(c.Region, c.Account), log: c.Log, caches: map[string]*cache{}, done: make(chan struct{})}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	stop := context.AfterFunc(ctx, s.cancel)
	err := s.open()
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Server) open() (err error) {
	if s.ca, err = newAuthority(); err != nil {
		return err
	}
	if s.dir, err = newDirectory(); err != nil {
		return err
	}
	if err := s.dir.write("ca.pem", s.ca.pem); err != nil {
		return err
	}
	if err := s.serveAWS(); err != nil {
		return err
	}
	s.world.OnChange(s.reconcile)
	if err := s.populate(); err != nil {
		return err
	}
	return s.failure()
}

// populate makes the default set-up, of which an empty one has the administrator.
func (s *Server) populate() error {
	err := s.world.PutIAMUser(IAMUser{Name: AdminUser, Inline: map[string]string{
		"everything": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`}})
	if err != nil || s.config.Empty {
		return err
	}
	cacheName, user := orElse(s.config.Cache, DefaultCache), orElse(s.config.User, DefaultUser)
	c := Cache{Kind: s.config.Kind, Name: cacheName, Group: cacheName + "-users"}
	service := c.Service()
	action := service + ":Connect"
	group := Group{Service: service, ID: c.Group, Users: []string{cacheName + "-default", user}}
	users := []User{
		{Service: service, ID: cacheName + "-default", Name: "default", Auth: AuthNoPassword, Access: "off -@all"},
		{Service: service, Name: user, Access: "on ~* +@all"},
	}
	if service == world.MemoryDB { // its ACLs need no user named default
		users, group.Users = users[1:], group.Users[1:]
	}
	for _, u := range users {
		if err := s.world.PutUser(u); err != nil {
			return err
		}
	}
	u, _ := s.world.User(service, user)
	c.Kind = orElse(c.Kind, ReplicationGroup)
	connect := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Sid":"Connect","Effect":"Allow","Action":"%s","Resource":["%s","%s"]}]}`,
		action, s.world.CacheARN(c), s.world.UserARN(u))
	return errors.Join(
		s.world.PutGroup(group),
		s.world.PutRole(Role{Name: DefaultRole, Inline: map[string]string{"connect": connect}}),
		s.world.PutCache(c))
}

func (s *Server) serveAWS() error {
	listener, err := listen(orElse(s.config.Listen, "127.0.0.1:0"))
	if err != nil {
		return err
	}
	s.url = "http://" + listener.Addr().String()
	s.http = &http.Server{
		Handler:           &awsapi.Handler{World: s.world, Log: s.log},
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelInfo),
	}
	s.tasks.Go(func() {
		if err := s.http.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.fail(err)
		}
	})
	return nil
}

// listen opens a loopback address and refuses any other.
func listen(address string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: it must be host:port", address)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("listen on %s: the emulator listens on loopback addresses only, such as 127.0.0.1", address)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, errors.Unwrap(err))
	}
	return listener, nil
}

// cache is one cache that runs.
type cache struct {
	engine   engine.Engine
	gate     *gate.Gate
	listener net.Listener
	cancel   context.CancelFunc
	served   chan struct{}
}

// reconcile makes what runs fit the world: it runs after every change.
func (s *Server) reconcile() {
	wanted := map[string]bool{}
	for _, c := range s.world.Caches() {
		wanted[c.Name] = true
		running, err := s.run(c)
		if err == nil {
			err = s.syncUsers(running, c.Name)
			running.gate.Reconcile()
		}
		if err != nil {
			s.fail(fmt.Errorf("cache %s: %w", c.Name, err))
		}
	}
	s.mu.Lock()
	var gone []*cache
	for name, c := range s.caches {
		if !wanted[name] {
			gone = append(gone, c)
			delete(s.caches, name)
		}
	}
	s.mu.Unlock()
	for _, c := range gone {
		c.stop()
	}
}

func (s *Server) syncUsers(c *cache, name string) error {
	var users []engine.User
	for _, m := range s.world.Members(name) {
		users = append(users, engine.User{Name: m.Name, Rules: m.Rules})
	}
	return c.engine.SetUsers(s.ctx, users)
}

// run starts a cache unless it runs.
func (s *Server) run(c Cache) (*cache, error) {
	s.mu.Lock()
	running, port, number := s.caches[c.Name], s.config.CachePort, s.made
	if running == nil {
		s.made++
	}
	s.mu.Unlock()
	if running != nil {
		return running, nil
	}
	if number > 0 {
		port = 0
	}
	certificate, err := s.ca.issue(c.Name)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(s.dir.path, strconv.Itoa(number))
	if err := s.dir.make(strconv.Itoa(number)); err != nil {
		return nil, err
	}
	started, err := engine.Start(s.ctx, s.config.Engine, dir)
	if err != nil {
		return nil, err
	}
	listener, err := listen(net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		started.Close()
		return nil, err
	}
	running = &cache{
		engine:   started,
		listener: tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}),
		gate: &gate.Gate{World: s.world, Cache: c.Name, Engine: started, Record: s.record, Log: s.log,
			TokenTTL: s.config.TokenTTL, ConnectionTTL: s.config.ConnectionTTL, LenientResourceType: s.config.LenientResourceType},
		served: make(chan struct{}),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ctx.Err(); err != nil { // Close does not wait for what is not there yet
		listener.Close()
		started.Close()
		return nil, err
	}
	s.serve(running)
	s.caches[c.Name] = running
	s.log.Info("cache ready", "cache", c.Name, "address", listener.Addr().String(), "engine", started.String())
	return running, nil
}

func (s *Server) serve(c *cache) {
	var ctx context.Context
	ctx, c.cancel = context.WithCancel(s.ctx)
	go func() {
		defer close(c.served)
		if err := c.gate.Serve(ctx, c.listener); err != nil {
			s.fail(err)
		}
	}()
	s.tasks.Go(func() {
		<-c.engine.Done()
		if err := c.engine.Err(); err != nil {
			s.fail(fmt.Errorf("engine of cache %s: %w", c.gate.Cache, err))
		}
	})
}

func (c *cache) stop() {
	c.cancel()
	<-c.served
	c.engine.Close()
}

// fail notes the first thing that went wrong for good.
func (s *Server) fail(err error) {
	s.mu.Lock()
	if s.err == nil {
		s.err = err
	}
	s.mu.Unlock()
	s.log.Error("emulator", "error", err)
	s.ended.Do(func() { close(s.done) })
}

func (s *Server) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Format prints where the emulator is, and none of the secrets in it.
func (s *Server) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "emulator at %s", s.url) }

// Done is closed when the emulator can no longer do its work, for instance since
// an engine has died, or has been closed. Err says why.
func (s *Server) Done() <-chan struct{} { return s.done }

// Err is what went wrong for good, or nil.
func (s *Server) Err() error { return s.failure() }

// Close ends every connection, listener and engine and removes all files. It
// returns what went wrong for good before, if anything did.
func (s *Server) Close() error {
	s.end.Do(func() {
		s.cancel()
		if s.http != nil {
			s.http.Close()
		}
		s.mu.Lock()
		caches := s.caches
		s.caches = map[string]*cache{}
		s.mu.Unlock()
		for _, c := range caches {
			c.stop()
		}
		s.tasks.Wait()
		if s.dir != nil {
			s.dir.remove()
		}
		s.ended.Do(func() { close(s.done) })
	})
	return s.failure()
}

func (s *Server) record(e Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.events) == maxEvents {
		s.events = append(s.events[:0:0], s.events[maxEvents/10:]...)
	}
	s.events = append(s.events, e)
}

func orElse[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}
