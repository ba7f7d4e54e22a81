package proxy

import (
	"context"
	"crypto/tls"
	"slices"
	"time"

	"github.com/rediam/rediam/internal/dial"
)

// classicalFor is for how long a server that has not taken a post-quantum key exchange
// is offered none. The key for it would be a fifth of what a new connection costs.
const classicalFor = time.Hour

// classicalCurves are what else Go offers.
var classicalCurves = []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521}

// prepareDialers has the second one resume sessions of the first.
func (p *Proxy) prepareDialers(config *tls.Config) {
	p.dialer = &dial.Dialer{SignIns: p.SignIns, TLS: config, Timeout: p.connectTime()}
	if p.driver() == "loop" {
		p.dialer.Open = openHalf
	}
	second := *p.dialer
	if second.TLS = config.Clone(); second.TLS.CurvePreferences == nil { // others are somebody's choice
		second.TLS.CurvePreferences = classicalCurves
	}
	p.classicalDialer = &second
}

// dial opens a connection, which is not signed in yet.
func (p *Proxy) dial(ctx context.Context) (*dial.Conn, error) {
	if at := p.classical.Load(); at != nil && time.Since(*at) < classicalFor {
		conn, err := p.classicalDialer.DialContext(ctx, "tcp", p.Addr)
		if err != nil {
			p.classical.Store(nil) // the server may be another one
		}
		return conn, err
	}
	conn, err := p.dialer.DialContext(ctx, "tcp", p.Addr)
	if err == nil && slices.Contains(classicalCurves, conn.ConnectionState().CurveID) {
		now := time.Now()
		p.classical.Store(&now)
	}
	return conn, err
}
