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
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/rediam/rediam/internal/awsapi"
	"github.com/rediam/rediam/internal/engine"
	"github.com/rediam/rediam/internal/federation"
	"github.com/rediam/rediam/internal/gate"
	"github.com/rediam/rediam/internal/sigv4"
	"github.com/rediam/rediam/internal/world"
)

// What exists in an emulator. docs/emulator.md lists the fields and zero values.
type (
	Cache   = world.Cache   // a replication group, serverless cache, cache cluster or MemoryDB cluster
	User    = world.User    // a user whom Redis knows
	Group   = world.Group   // a user group, or an ACL of MemoryDB
	Role    = world.Role    // an IAM role
	IAMUser = world.IAMUser // a user of IAM
	Secret  = world.Secret  // a password that does not print
	Key     = world.Key     // an access key
	Event   = gate.Event    // an attempt to sign in
	Session = gate.Session  // a live connection
	Fault   = gate.Fault    // trouble that a cache makes on purpose
	Error   = world.Error   // a change that AWS's rules forbid

	Workload     = world.Workload // a program to which AWS hands credentials
	WorkloadKind = world.WorkloadKind
)

// The kinds of cache, the ways in which users prove who they are, the kinds of workload.
const (
	ReplicationGroup = world.ReplicationGroup
	ServerlessCache  = world.ServerlessCache
	CacheCluster     = world.CacheCluster
	Cluster          = world.Cluster
	AuthIAM          = world.AuthIAM
	AuthPassword     = world.AuthPassword
	AuthNoPassword   = world.AuthNoPassword
	EC2              = world.EC2
	ECS              = world.ECS
	Lambda           = world.Lambda
	IRSA             = world.IRSA
	PodIdentity      = world.PodIdentity
	SSO              = world.SSO
)

// The errors that AWS's caches answer to sign-ins besides WRONGPASS, for
// Fault.SignIn.
const (
	ErrIAMUnavailable = gate.ErrIAMUnavailable
	ErrThrottled      = gate.ErrThrottled
	ErrUnavailable    = gate.ErrUnavailable
)

// The names of the default set-up.
const (
	DefaultCache = "demo"
	DefaultUser  = "demo-user"
	DefaultRole  = "demo-app" // may Connect to the cache as the user; trusts the account and every kind of workload
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
	// CachePort is the port of the first cache, whose other nodes have those that
	// follow; zero means free ones.
	CachePort int

	// Cache and User rename what is made by default, Kind changes the kind of the
	// cache, and Nodes is as in Cache. Empty makes the IAM user admin and nothing
	// else.
	Cache, User string
	Kind        world.Kind
	Nodes       int
	Empty       bool

	// State is a file that keeps everything but what is in the caches, ports, the
	// authority and access keys included, for the next emulator, whatever ends this
	// one. It holds secrets. If it is there, nothing is made by default. Empty means
	// that nothing is kept.
	State string

	// TokenTTL shortens the life of tokens (15 minutes when zero), ConnectionTTL
	// that of connections (12 hours when zero).
	TokenTTL, ConnectionTTL time.Duration

	// SessionTTL shortens the life of temporary credentials, which is an hour, or
	// what the caller of STS asks for. Zero means not at all.
	SessionTTL time.Duration

	// StateDelay is how long what is made, changed or deleted by AWS's API is shown as
	// creating, modifying or deleting, by the emulator's clock. Zero means not at all.
	StateDelay time.Duration

	// Functions are the Lambda functions that rotate secrets, by name: the http:// or
	// https:// URL of one that runs, or a command with arguments. A command has the
	// credentials of the role of its name, which is made unless it is there. PutFunction
	// is for functions in Go.
	Functions map[string]string

	// RotationRetry is how long the emulator waits before it tries a rotation again that
	// has failed, at first; each further time it waits twice as long. Zero means a second.
	RotationRetry time.Duration

	// Expose makes the emulator listen on every interface of this machine, for
	// clients that reach it under this host name: a service container, say.
	// Whoever can reach it can use it. Empty means loopback only.
	Expose string

	// LenientResourceType accepts tokens with or without ResourceType on caches of
	// either kind. AWS documents only by example that serverless needs it.
	LenientResourceType bool

	// OneTime refuses a token that has been used before, which AWS does not.
	OneTime bool

	// Log gets what happens, each refused sign-in with its reason; nil means
	// nothing is logged.
	Log *slog.Logger
}

// Format prints the configuration without the password that the URL of an engine
// may hold.
func (c Config) Format(f fmt.State, _ rune) {
	type plain Config
	shown := plain(c)
	if u, err := url.Parse(c.Engine); err != nil || u.User != nil {
		shown.Engine = "[redacted]"
	}
	fmt.Fprintf(f, "%+v", shown)
}

// A Server is a running emulator. Its methods are safe for many goroutines.
type Server struct {
	config   Config
	world    *world.World
	log      *slog.Logger
	ca       *authority
	dir      *directory
	state    state
	issuer   federation.Issuer
	http     *http.Server
	url      string
	adminKey Key             // of AdminUser, for Environ
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	tasks    sync.WaitGroup
	wake     chan struct{} // has one in it if there may be a rotation to begin
	done     chan struct{} // closed when the emulator has failed or is closed
	end      sync.Once
	ended    sync.Once

	mu        sync.Mutex // guards below
	caches    map[string]*cache
	metadata  map[string]*metadata // by instance
	functions map[string]Function
	events    []Event
	err       error // why the emulator failed
	made      int   // caches started so far
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
	s := &Server{config: c, world: world.New(c.Region, c.Account), log: c.Log, caches: map[string]*cache{}, metadata: map[string]*metadata{}, functions: map[string]Function{},
		wake: make(chan struct{}, 1), done: make(chan struct{})}
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
	if err := s.config.check(); err != nil {
		return err
	}
	if err := s.openState(); err != nil {
		return err
	}
	if s.ca, err = s.authority(); err != nil {
		return err
	}
	if s.dir, err = newDirectory(); err != nil {
		return err
	}
	if err := s.dir.write("ca.pem", s.ca.pem); err != nil {
		return err
	}
	if err := s.openIssuer(); err != nil {
		return err
	}
	s.world.StateDelay, s.world.SessionTTL = s.config.StateDelay, s.config.SessionTTL
	if engine.OneNode(s.config.Engine) {
		s.world.OneNode = engine.ErrOneNode
	}
	s.world.Report(nil)
	if err := s.serveAWS(); err != nil {
		return err
	}
	s.world.OnChange(s.reconcile)
	s.world.OnChange(s.reconcileMetadata)
	s.world.OnChange(func() error { s.beginRotations(); return nil }) // the clock
	if id, ok := saved[string](s.state, ofAdmin); ok {
		s.adminKey, _ = s.world.Key(id)
		err = errors.Join(s.reconcile(), s.reconcileMetadata())
	} else {
		err = s.populate()
	}
	if err == nil {
		err = s.openFunctions()
	}
	return cmp.Or(err, s.failure())
}

var (
	accountID    = regexp.MustCompile(`^[0-9]{12}$`)
	functionName = regexp.MustCompile(`^[A-Za-z0-9_-]{2,64}$`)
	regionName   = regexp.MustCompile(`^[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}$`)
)

// check names everything that cannot work; the error is made of *Errors.
func (c Config) check() error {
	wrong := func(is bool, what string) error {
		if !is {
			return nil
		}
		return &Error{Code: "InvalidParameterValue", Message: what}
	}
	host, _, err := net.SplitHostPort(cmp.Or(c.Listen, "127.0.0.1:0"))
	functions := true
	for name, where := range c.Functions {
		functions = functions && functionName.MatchString(name) && isFunction(where)
	}
	return errors.Join(
		wrong(err != nil || !isLoopback(host), "listen: it must be a loopback address with a port, such as 127.0.0.1:0"),
		wrong(net.ParseIP(c.Expose) != nil || strings.ContainsAny(c.Expose, ":/"), "unsafe-listen: it must be a host name, without a port"),
		wrong(c.Account != "" && !accountID.MatchString(c.Account), "account: it must be 12 digits"),
		wrong(c.Region != "" && !regionName.MatchString(c.Region), "region: it must have the form eu-west-1"),
		wrong(c.CachePort < 0 || c.CachePort+max(c.Nodes-1, 0) > 65535, "cache-port: it must be from 0 to 65535, for each node"),
		wrong(c.Nodes > 1 && engine.OneNode(c.Engine), "nodes: "+engine.ErrOneNode.Error()),
		wrong(c.TokenTTL < 0 || c.ConnectionTTL < 0 || c.SessionTTL < 0 || c.StateDelay < 0 || c.RotationRetry < 0, "token-ttl, connection-ttl, session-ttl, state-delay and RotationRetry: they cannot be negative"),
		wrong(!functions, "function: NAME=URL or NAME=COMMAND, where the name has 2 to 64 letters, digits, _ and -, and the URL no password"),
		wrong(c.TokenTTL > sigv4.MaxExpires*time.Second, "token-ttl: AWS's tokens live 15 minutes at most"))
}

// populate makes the default set-up, of which an empty one has the administrator.
func (s *Server) populate() error {
	err := s.world.PutIAMUser(IAMUser{Name: AdminUser, Inline: map[string]string{
		"everything": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`}})
	if err == nil && !s.config.Empty {
		err = s.populateCache()
	}
	if err != nil {
		return err
	}
	keys, err := s.world.AccessKeys(AdminUser)
	if err == nil && len(keys) == 0 { // else an emulator was killed before it could say that it had made one
		keys = make([]Key, 1)
		keys[0], err = s.world.CreateAccessKey(AdminUser)
	}
	if err != nil {
		return err
	}
	s.adminKey = keys[0]
	return s.state.put(ofAdmin, s.adminKey.ID)
}

// populateCache makes the cache, its users and the role.
func (s *Server) populateCache() error {
	cacheName, user := cmp.Or(s.config.Cache, DefaultCache), cmp.Or(s.config.User, DefaultUser)
	c := Cache{Kind: s.config.Kind, Nodes: s.config.Nodes, Name: cacheName, Group: cacheName + "-users"}
	service := c.Service()
	action := service + ":Connect"
	group := Group{Service: service, ID: c.Group, Users: []string{cacheName + "-default", user}}
	users := []User{
		{Service: service, ID: cacheName + "-default", Name: "default", Auth: AuthNoPassword, Access: "off -@all"},
		{Service: service, Name: user, Access: "on ~* +@all"},
	}
	if service == world.MemoryDB { // its ACLs need no user named default
		users, group.Users = users[1:], group.Users[1:]
		users[0].Access = "on ~* &* +@all" // nor does it open channels by itself
	}
	for _, u := range users {
		if err := s.world.PutUser(u); err != nil {
			return err
		}
	}
	u, _ := s.world.User(service, user)
	c.Kind = cmp.Or(c.Kind, ReplicationGroup)
	connect := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Sid":"Connect","Effect":"Allow","Action":"%s","Resource":["%s","%s"]}]}`,
		action, s.world.CacheARN(c), s.world.UserARN(u))
	trust := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Principal":{"AWS":"arn:%s:iam::%s:root","Service":["%s","%s","%s"]},"Action":"sts:AssumeRole"},
		{"Effect":"Allow","Principal":{"Service":"%s"},"Action":["sts:AssumeRole","sts:TagSession"]},
		{"Effect":"Allow","Principal":{"Federated":"%s"},"Action":"sts:AssumeRoleWithWebIdentity",
			"Condition":{"StringEquals":{"%[8]s:aud":"sts.amazonaws.com","%[8]s:sub":"system:serviceaccount:default:demo"}}}]}`,
		s.Partition(), s.Account(), s.world.EC2(), world.ServiceECS, world.ServiceLambda, world.ServicePods, s.world.OIDCProviderARN(s.Issuer()), strings.TrimPrefix(s.Issuer(), "https://"))
	return errors.Join(
		s.world.PutGroup(group),
		s.world.PutRole(Role{Name: DefaultRole, Trust: trust, Inline: map[string]string{"connect": connect}}),
		s.world.PutCache(c))
}

func (s *Server) serveAWS() error {
	_, kept := saved[int](s.state, ofEndpoint)
	listener, err := s.listen(s.endpoint())
	if err != nil {
		return errTaken(err, kept)
	}
	if err := s.state.put(ofEndpoint, listener.Addr().(*net.TCPAddr).Port); err != nil {
		listener.Close()
		return err
	}
	s.url = "http://" + s.address(listener)
	mux := http.NewServeMux()
	mux.Handle("/_rediam/", s.admin())
	s.handleWorkloads(mux)
	mux.Handle("/", &awsapi.Handler{World: s.world, Log: s.log, MetadataURL: s.MetadataURL, Rotate: s.beginRotations, Refused: s.refusedCall})
	s.http = &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      time.Minute,
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

// fail notes the first thing that went wrong for good.
func (s *Server) fail(err error) {
	s.mu.Lock()
	if s.err == nil {
		s.err = err
	}
	s.mu.Unlock()
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
		caches, services := s.caches, s.metadata
		s.caches, s.metadata = map[string]*cache{}, map[string]*metadata{}
		s.mu.Unlock()
		for _, c := range caches {
			c.stop()
		}
		for _, m := range services {
			m.stop()
		}
		s.tasks.Wait()
		if s.dir != nil {
			s.dir.remove()
		}
		s.state.close()
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
