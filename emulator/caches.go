package emulator

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"

	"github.com/rediam/rediam/internal/engine"
	"github.com/rediam/rediam/internal/gate"
	"github.com/rediam/rediam/internal/world"
)

// cache is one cache that runs.
type cache struct {
	gate   *gate.Gate
	nodes  []node
	cancel context.CancelFunc
	served sync.WaitGroup
}

// node is one node of a cache.
type node struct {
	address  string // how clients reach it
	listener net.Listener
	engine   engine.Engine
}

// reconcile makes what runs fit the world: it runs after every change. What fails
// is tried again after the next.
func (s *Server) reconcile() error {
	runs := map[string]world.RunningCache{}
	var problems []error
	for _, c := range s.world.Caches() {
		running, err := s.run(c)
		var addresses []string
		if err == nil {
			err = s.syncUsers(running)
			running.gate.Reconcile()
			addresses = running.addresses()
		}
		runs[c.Name] = world.RunningCache{Addresses: addresses, Err: err}
		if err != nil {
			problems = append(problems, fmt.Errorf("cache %s: %w", c.Name, err))
		}
	}
	s.mu.Lock()
	var gone []*cache
	for name, c := range s.caches {
		if _, wanted := runs[name]; !wanted {
			gone = append(gone, c)
			delete(s.caches, name)
		}
	}
	s.mu.Unlock()
	for _, c := range gone {
		c.stop()
		problems = append(problems, s.state.put(ofPorts+c.gate.Cache, nil))
	}
	s.world.Report(runs)
	return errors.Join(problems...)
}

// syncUsers has every node follow the world, all at once: one that hangs holds up
// none of the others.
func (s *Server) syncUsers(c *cache) error {
	var users []engine.User
	for _, m := range s.world.Members(c.gate.Cache) {
		users = append(users, engine.User{Name: m.Name, Rules: m.Rules})
	}
	problems := make([]error, len(c.nodes))
	var following sync.WaitGroup
	for i, n := range c.nodes {
		following.Go(func() {
			if err := n.engine.SetUsers(s.ctx, users); err != nil {
				problems[i] = c.on(n, err)
			}
		})
	}
	following.Wait()
	return errors.Join(problems...)
}

// on is an error of a node, which names the node if there are others.
func (c *cache) on(n node, err error) error {
	if len(c.nodes) == 1 {
		return err
	}
	return fmt.Errorf("node %s: %w", n.address, err)
}

// run starts a cache unless it runs.
func (s *Server) run(c Cache) (*cache, error) {
	s.mu.Lock()
	running, number := s.caches[c.Name], s.made
	if running == nil {
		s.made++
	}
	s.mu.Unlock()
	if running != nil {
		return running, nil
	}
	nodes, err := s.start(c, number)
	if err != nil {
		return nil, err
	}
	running = &cache{nodes: nodes, gate: &gate.Gate{World: s.world, Cache: c.Name, Record: s.record, Log: s.log,
		TokenTTL: s.config.TokenTTL, ConnectionTTL: s.config.ConnectionTTL, LenientResourceType: s.config.LenientResourceType, OneTime: s.config.OneTime}}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ctx.Err(); err != nil { // Close does not wait for what is not there yet
		for _, n := range nodes {
			n.listener.Close()
			n.engine.Close()
		}
		return nil, err
	}
	s.serve(running)
	s.caches[c.Name] = running
	s.log.Info("cache ready", "cache", c.Name, "addresses", strings.Join(running.addresses(), ","), "engine", nodes[0].engine.String())
	return running, nil
}

// start opens the listeners of a cache and then starts its engines, which tell
// clients where those are.
func (s *Server) start(c Cache, number int) ([]node, error) {
	nodes, err := s.openNodes(c, number)
	if err == nil {
		err = s.keepPorts(c.Name, nodes)
	}
	if err == nil {
		err = s.startEngines(c, number, nodes)
	}
	if err != nil {
		for _, n := range nodes {
			n.listener.Close()
		}
		return nil, err
	}
	return nodes, nil
}

func (s *Server) startEngines(c Cache, number int, nodes []node) error {
	dir := strconv.Itoa(number)
	if err := s.dir.make(dir); err != nil {
		return err
	}
	engines, err := engine.Start(s.ctx, s.config.Engine, s.dir.file(dir), s.cluster(c, nodes))
	for i, e := range engines {
		nodes[i].engine = e
	}
	return err
}

// openNodes opens the listeners. Those of the first cache have the ports that are
// configured, if any are.
func (s *Server) openNodes(c Cache, number int) (nodes []node, err error) {
	certificate, err := s.ca.issue(c.Name)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	if c.Public {
		config.MinVersion = tls.VersionTLS13
	}
	kept := s.ports(c.Name)
	for i := range max(c.Nodes, 1) {
		port := 0
		switch {
		case i < len(kept):
			port = kept[i]
		case number == 0 && s.config.CachePort > 0:
			port = s.config.CachePort + i
		}
		listener, err := s.listen(net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			return nodes, errTaken(err, i < len(kept))
		}
		address := s.address(listener)
		if !c.Plaintext {
			listener = tls.NewListener(listener, config)
		}
		nodes = append(nodes, node{address: address, listener: listener})
	}
	return nodes, nil
}

// cluster is what the engines of a cache in cluster mode tell clients.
func (s *Server) cluster(c Cache, nodes []node) *engine.Cluster {
	if !c.ClusterMode() {
		return nil
	}
	told := &engine.Cluster{Host: s.config.Expose}
	for _, n := range nodes {
		told.Ports = append(told.Ports, n.listener.Addr().(*net.TCPAddr).Port)
	}
	return told
}

func (s *Server) serve(c *cache) {
	var ctx context.Context
	ctx, c.cancel = context.WithCancel(s.ctx)
	for _, n := range c.nodes {
		c.served.Go(func() {
			c.gate.Serve(ctx, gate.Node{Address: n.address, Listener: n.listener, Engine: n.engine})
		})
		s.tasks.Go(func() {
			<-n.engine.Done()
			if err := n.engine.Err(); err != nil {
				s.fail(fmt.Errorf("engine of cache %s: %w", c.gate.Cache, c.on(n, err)))
			}
		})
	}
}

func (c *cache) stop() {
	c.cancel()
	c.served.Wait()
	for _, n := range c.nodes {
		n.engine.Close()
	}
}

func (c *cache) addresses() (all []string) {
	for _, n := range c.nodes {
		all = append(all, n.address)
	}
	return all
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
