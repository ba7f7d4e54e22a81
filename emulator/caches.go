package emulator

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/rediam/rediam/internal/engine"
	"github.com/rediam/rediam/internal/gate"
)

// cache is one cache that runs.
type cache struct {
	engine   engine.Engine
	gate     *gate.Gate
	listener net.Listener
	cancel   context.CancelFunc
	served   chan struct{}
}

// reconcile makes what runs fit the world: it runs after every change. What fails
// is tried again after the next.
func (s *Server) reconcile() error {
	wanted := map[string]bool{}
	var problems []error
	for _, c := range s.world.Caches() {
		wanted[c.Name] = true
		running, err := s.run(c)
		if err == nil {
			err = s.syncUsers(running, c.Name)
			running.gate.Reconcile()
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("cache %s: %w", c.Name, err))
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
	return errors.Join(problems...)
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
	listener, err := s.listen(net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		started.Close()
		return nil, err
	}
	running = &cache{
		engine:   started,
		listener: tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}),
		gate: &gate.Gate{World: s.world, Cache: c.Name, Engine: started, Record: s.record, Log: s.log,
			TokenTTL: s.config.TokenTTL, ConnectionTTL: s.config.ConnectionTTL, LenientResourceType: s.config.LenientResourceType, OneTime: s.config.OneTime},
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

// listen opens an address, which check has found to be loopback, or its port on
// every interface if the emulator is exposed.
func (s *Server) listen(address string) (net.Listener, error) {
	if s.config.Expose != "" {
		address = address[strings.LastIndexByte(address, ':'):]
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, errors.Unwrap(err))
	}
	return listener, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// address is how clients reach a listener.
func (s *Server) address(l net.Listener) string {
	if s.config.Expose == "" {
		return l.Addr().String()
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return net.JoinHostPort(s.config.Expose, port)
}
