package proxy

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/internal/dial"
	"github.com/rediam/rediam/internal/relay"
	"github.com/rediam/rediam/internal/resp"
)

const (
	// defaultConnectTime bounds how long a client is held while its connection is
	// signed in.
	defaultConnectTime = 10 * time.Second

	// closeTime is how long the other half of a connection may still take without
	// anything moving once one has ended.
	closeTime = 5 * time.Second

	// holdTime is how long requests of a client may wait for a renewal; less where
	// renewals are frequent.
	holdTime = 5 * time.Second

	// finishTime is how long what has been asked may still be answered when the
	// proxy ends.
	finishTime = time.Second

	// textTooMany is that of Redis.
	textTooMany = "ERR max number of clients reached"
)

// A Proxy gives every connection of a client one to a cache that is signed in.
// Fill in the fields and call Serve; do not change or copy it after that. It is safe
// for many goroutines.
type Proxy struct {
	Addr    string          // host:port of the cache; required
	TLS     *tls.Config     // required; &tls.Config{} verifies the cache's certificate
	SignIns *rediam.SignIns // required

	// Renewal is when connections sign in again; zero means 9 h ± 2 h.
	Renewal rediam.Renewal
	// ConnectTime is how long a client is held until its connection is signed in, or
	// it is told why not, and how long it may take to give Password; zero means 10 s.
	ConnectTime time.Duration

	Password       string        // what clients have to sign in with; empty lets in everybody
	MaxConnections int           // of clients; more are refused. Zero means no bound
	IdleTime       time.Duration // after which a client that neither asks nor waits for anything is cut; zero means never
	DrainTime      time.Duration // for which Serve leaves clients alone when it is to end

	// Spare is how many connections to the cache may wait, signed in, for another client
	// after theirs has gone, if it has left nothing behind; zero means none.
	Spare int

	// Driver is what moves the bytes, one of Drivers; empty means the first of them.
	Driver string

	Metrics *Metrics     // nil means nobody counts
	Log     *slog.Logger // nil means nothing is logged

	once            sync.Once // makes the fields below
	dialer          *dial.Dialer
	classicalDialer *dial.Dialer
	classical       atomic.Pointer[time.Time] // since when the server is known to take no other keys
	renewal         rediam.Renewal
	metrics         *Metrics
	log             *slog.Logger
	problem         error // what is wrong with the fields above
	clients         atomic.Int64
	opened          atomic.Int64
	draining        atomic.Bool
	health          health
	spares          spares
	calls           systemCalls // of loops
}

// Drivers are those that this system has, the best first.
var Drivers = append(loopDrivers, "goroutines")

func (p *Proxy) driver() string { return cmp.Or(p.Driver, Drivers[0]) }

// prepare fills in what is derived from the fields, and refuses what cannot work.
func (p *Proxy) prepare() error {
	p.once.Do(func() {
		renewal, err := p.Renewal.Resolve()
		p.problem = errors.Join(err, dial.CheckTLS(p.TLS), p.checkDriver())
		p.renewal = renewal
		config := dial.WithSessions(p.TLS).Clone()
		config.DynamicRecordSizingDisabled = true // small records are for who begins to read a page
		if host, _, err := net.SplitHostPort(p.Addr); err == nil && config.ServerName == "" {
			config.ServerName = host // once, rather than in a clone for each connection
		}
		p.prepareDialers(config)
		p.metrics, p.log = p.Metrics, p.Log
		if p.metrics == nil {
			p.metrics = NewMetrics()
		}
		p.spares.gauge, p.spares.patience = p.metrics.spare, cmp.Or(p.spares.patience, comingTime)
		if p.log == nil {
			p.log = slog.New(slog.DiscardHandler)
		}
	})
	return p.problem
}

func (p *Proxy) checkDriver() error {
	if p.Driver != "" && !slices.Contains(Drivers, p.Driver) {
		return fmt.Errorf("no driver %q here: there are %s", p.Driver, strings.Join(Drivers, " and "))
	}
	return nil
}

func (p *Proxy) connectTime() time.Duration { return cmp.Or(p.ConnectTime, defaultConnectTime) }

// holdTime is how long requests of a client may wait for a renewal.
func (p *Proxy) holdTime() time.Duration { return min(holdTime, p.renewal.After/4) }

// Serve takes connections from listener until ctx is done or the listener fails.
// Then it takes no more of them, waits up to DrainTime for the clients to leave, has
// the others answered what they have asked, and cuts them. When it returns, no
// connection is left. It returns nil when ctx ended it. It is for one listener: the end
// of it is that of the proxy.
func (p *Proxy) Serve(ctx context.Context, listener net.Listener) error {
	if err := p.prepare(); err != nil {
		listener.Close()
		return err
	}
	var ls *loops
	if p.driver() == "loop" {
		started, stop, err := startLoops(p.calls)
		if err != nil {
			listener.Close()
			return err
		}
		defer stop()
		ls = started
	}
	// What ends a connection, and what ends it at once.
	ending, end := context.WithCancel(context.WithoutCancel(ctx))
	cutting, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	defer cut()
	go p.trim(ending)
	var running sync.WaitGroup
	err := relay.Serve(ctx, listener, &running, p.log, func(client net.Conn) { p.handle(cutting, ending, client, ls, &running) })
	p.draining.Store(true)
	p.spares.close()
	gone := make(chan struct{})
	go func() {
		running.Wait()
		close(gone)
	}()
	if p.waitFor(gone, p.DrainTime) {
		return err
	}
	p.log.Info("connections are left at the end of the drain", "connections", p.clients.Load())
	end()
	p.waitFor(gone, finishTime)
	cut()
	<-gone
	return err
}

const (
	// calmTime is how long nothing is opened until what opening has taken is given back,
	// if it was for as many connections as are worth that.
	calmTime = 5 * time.Second
	worth    = 32
)

// trim gives memory back when connections have been opened and no more are: there is
// more of it after their TLS handshakes than what they need at rest.
func (p *Proxy) trim(ctx context.Context) {
	calm := time.NewTicker(calmTime)
	defer calm.Stop()
	for seen, trimmed := int64(0), int64(0); ; {
		select {
		case <-ctx.Done():
			return
		case <-calm.C:
		}
		now := p.opened.Load()
		if now == seen && now-trimmed >= worth {
			debug.FreeOSMemory()
			trimmed = now
		}
		seen = now
	}
}

func (p *Proxy) waitFor(gone <-chan struct{}, d time.Duration) bool {
	select {
	case <-gone:
		return true
	case <-time.After(d):
		return false
	}
}

// handle serves one client, unless there are too many. running counts that also when
// it has returned.
func (p *Proxy) handle(cutting, ending context.Context, client net.Conn, ls *loops, running *sync.WaitGroup) {
	running.Add(1)
	p.metrics.connections.Inc()
	now := p.clients.Add(1)
	done := func() {
		client.Close()
		p.clients.Add(-1)
		running.Done()
	}
	if p.MaxConnections > 0 && now > int64(p.MaxConnections) {
		defer done()
		p.metrics.refused.WithLabelValues("max_connections").Inc()
		p.log.Warn("too many connections", "client", client.RemoteAddr().String(), "limit", p.MaxConnections)
		client.SetDeadline(time.Now().Add(finishTime))
		client.Write(resp.AppendError(nil, textTooMany))
		part(client)
		return
	}
	p.metrics.open.Inc()
	newJoint(p, client).serve(cutting, ending, ls, func() {
		p.metrics.open.Dec()
		done()
	})
}

// Ready is why the proxy should get no new clients now, or nil: it is draining, it
// has as many as it may, or clients could not be signed in of late and cannot be
// now. It blocks while it finds out.
func (p *Proxy) Ready(ctx context.Context) error {
	switch n := p.clients.Load(); {
	case p.draining.Load():
		return errors.New("draining")
	case p.MaxConnections > 0 && n >= int64(p.MaxConnections):
		return fmt.Errorf("%d of %d connections are taken", n, p.MaxConnections)
	}
	return p.health.check(ctx, p.Check)
}
