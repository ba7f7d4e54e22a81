package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/internal/dial"
	"github.com/rediam/rediam/internal/resp"
)

const (
	// firstPause is how long a sign-in waits that AWS had no time for, give or take
	// half of it; the next waits twice as long, up to maxPause.
	firstPause = 100 * time.Millisecond
	maxPause   = 3 * time.Second

	// aloneFor is for how long a cluster is taken to have the one node that it had.
	aloneFor = time.Minute

	// maxInfo bounds the answer to CLUSTER INFO, some 500 bytes.
	maxInfo = 16 << 10

	// troubles is after how many sign-ins in a row that failed somebody looks, no
	// more often than lookEvery, whether they still do.
	troubles  = 3
	lookEvery = 5 * time.Second
)

// Check opens a connection, signs in and closes it again. It blocks for ConnectTime
// at most.
func (p *Proxy) Check(ctx context.Context) error {
	if err := p.prepare(); err != nil {
		return err
	}
	conn, err := p.signIn(ctx, nil)
	if err != nil {
		return err
	}
	return conn.Close()
}

// signIn opens a connection and signs it in. What AWS has no time for is tried
// again. client is who waits for it, if anybody does.
func (p *Proxy) signIn(ctx context.Context, client net.Conn) (*dial.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, p.connectTime())
	defer cancel()
	end, _ := ctx.Deadline()
	var former error
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		started := time.Now()
		conn, err := p.open(ctx, client)
		if err == nil {
			p.metrics.opening.Observe(time.Since(started).Seconds())
			p.opened.Add(1)
			p.health.succeeded()
			return conn, nil
		}
		if former != nil && !time.Now().Before(end) {
			err = former // that the time is up says less
		}
		former = err
		p.health.failed(err)
		if !passing(err) || !sleep(ctx, jittered(pause)) {
			return nil, err
		}
	}
}

// passing is whether AWS may have time for a sign-in a little later.
func passing(err error) bool {
	cause := rediam.CauseOf(err)
	return cause == rediam.CauseThrottled || cause == rediam.CauseUnavailable
}

func jittered(d time.Duration) time.Duration { return d/2 + rand.N(d) }

// sleep is false if ctx does not last that long.
func sleep(ctx context.Context, d time.Duration) bool {
	if end, ok := ctx.Deadline(); ok && time.Until(end) < d {
		return false
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

func (p *Proxy) open(ctx context.Context, client net.Conn) (*dial.Conn, error) {
	conn, err := p.dial(ctx)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	clustered := false
	if err = turn(ctx, conn.SignIn, client); err == nil {
		clustered, err = first(ctx, conn)
	}
	if err == nil && clustered {
		err = p.alone(conn)
	}
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// turn waits for the turn of a connection. A client that has ended its half has said
// all that it wants, or has gone: nobody can tell, so it goes behind the others.
func turn(ctx context.Context, signIn *rediam.Connection, client net.Conn) error {
	if client == nil {
		return signIn.Begin(ctx)
	}
	if !signIn.TryBegin() {
		waiting, cancel := context.WithCancel(ctx)
		defer cancel()
		ticker := time.NewTicker(turnPause)
		defer ticker.Stop()
		go func() {
			for waiting.Err() == nil && !dial.Ended(client) {
				select {
				case <-ticker.C:
				case <-waiting.Done():
				}
			}
			cancel()
		}()
		if err := signIn.Begin(waiting); err == nil || ctx.Err() != nil {
			return err
		}
		for !signIn.TryBegin() {
			if !sleep(ctx, jittered(2*turnPause)) {
				return fmt.Errorf("rediam: no turn to sign in: %w", context.DeadlineExceeded)
			}
		}
	}
	return nil
}

// first signs in for the first time, and tells whether the server is a node of a
// cluster. Nothing that a server sends comes unasked then.
func first(ctx context.Context, conn *dial.Conn) (clustered bool, err error) {
	err = conn.SignIn.SignIn(ctx, func(token rediam.Token) error {
		var s Session
		var refused error
		answered := false
		up, _ := s.Renew(token.User, token.Password, func(err error) { refused, answered = err, true })
		switch err := exchange(conn, &s, up, &answered); {
		case err != nil && s.refused != nil:
			return s.refused // behind which the server has closed the connection
		case err != nil:
			return fmt.Errorf("rediam: the sign-in was not answered: %w", err)
		}
		clustered = s.clustered
		return refused
	})
	return clustered, err
}

// exchange goes past what dial.Conn makes of the answers: the session knows more.
func exchange(conn *dial.Conn, s *Session, up []byte, answered *bool) error {
	if _, err := conn.Conn.Write(up); err != nil {
		return err
	}
	buf := make([]byte, 1024)
	for !*answered {
		n, err := conn.Conn.Read(buf)
		if err != nil {
			return err
		}
		if _, err := s.Server(buf[:n]); err != nil {
			return err
		}
	}
	return nil
}

// A ClusterError is a cluster of several nodes: its clients learn addresses of nodes
// at which there is no proxy.
type ClusterError struct{ Nodes int }

func (e *ClusterError) Error() string {
	return fmt.Sprintf("rediam: the cache is a cluster of %d shards, which would send clients to addresses where there is no proxy: "+
		"use a cache with cluster mode disabled or a serverless one, or a client library that knows IAM", e.Nodes)
}

// alone refuses a cluster whose slots are on more than one node. A serverless cache
// is a cluster of one. A user who may not ask is let through.
func (p *Proxy) alone(conn *dial.Conn) error {
	if time.Now().Before(p.health.alone()) {
		return nil
	}
	info, err := clusterInfo(conn)
	if refused := (*resp.ProtocolError)(nil); errors.As(err, &refused) {
		p.log.Warn("cannot tell how many nodes the cluster has", "error", refused.Text)
	} else if err != nil {
		return fmt.Errorf("rediam: CLUSTER INFO: %w", err)
	}
	for line := range strings.Lines(info) {
		size, ok := strings.CutPrefix(strings.TrimSpace(line), "cluster_size:")
		if n, err := strconv.Atoi(size); ok && err == nil && n > 1 {
			return &ClusterError{n}
		}
	}
	p.health.isAlone()
	return nil
}

var errNoInfo = errors.New("not answered by a string")

// clusterInfo asks for what the node knows of its cluster. An error of the server is
// a ProtocolError.
func clusterInfo(conn *dial.Conn) (string, error) {
	if _, err := conn.Conn.Write(resp.AppendCommand(nil, "CLUSTER", "INFO")); err != nil {
		return "", err
	}
	r := bufio.NewReaderSize(conn.Conn, 1024)
	line, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimRight(line, "\r\n")
	if line == "" {
		return "", errNoInfo
	}
	size, err := strconv.Atoi(line[1:])
	switch {
	case line[0] == '-':
		return "", &resp.ProtocolError{Text: line[1:]}
	case line[0] != '$' || err != nil || size < 0 || size > maxInfo:
		return "", errNoInfo
	}
	info := make([]byte, size+2)
	_, err = io.ReadFull(r, info)
	return string(info), err
}

// health is what the last sign-ins have shown.
type health struct {
	mu         sync.Mutex    // guards below
	failures   int           // in a row
	looking    chan struct{} // closed when somebody who looks has looked; nil if nobody does
	looked     time.Time     // when that was last, and
	found      error         // what came of it
	aloneUntil time.Time
}

func (h *health) succeeded() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failures, h.found = 0, nil
}

func (h *health) failed(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failures++
	h.found = err
}

// check is nil unless the last sign-ins have failed. Then look, which must not block
// for ever, is called now and then, whoever asks and however long they wait for it,
// and check is what it has found, or what had been found before.
func (h *health) check(ctx context.Context, look func(context.Context) error) error {
	looking := h.look(look)
	if looking != nil {
		select {
		case <-looking:
		case <-ctx.Done():
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failures < troubles {
		return nil
	}
	return h.found
}

// look has somebody look, if it is time.
func (h *health) look(look func(context.Context) error) (looking chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.looking != nil || h.failures < troubles || time.Since(h.looked) < lookEvery {
		return h.looking
	}
	done := make(chan struct{})
	h.looking = done
	go func() {
		look(context.Background()) // which tells of its success or failure
		h.mu.Lock()
		defer h.mu.Unlock()
		h.looking, h.looked = nil, time.Now()
		close(done)
	}()
	return done
}

func (h *health) alone() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.aloneUntil
}

func (h *health) isAlone() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.aloneUntil = time.Now().Add(aloneFor)
}

// gone is whether an error is that of a connection that has ended.
func gone(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed)
}
