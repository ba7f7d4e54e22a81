package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/internal/resp"
)

const wrongPass = "-WRONGPASS invalid username-password pair or user is disabled."

// refusals shows sign-ins that must not work, what the client sees of each and
// what the operator does.
func (d *demo) refusals(ctx context.Context) error {
	good := d.signer(d.role)
	old := d.signer(d.srv.Credentials(demoRole))
	old.Now = func() time.Time { return d.srv.Now().Add(-16 * time.Minute) }
	otherCache, otherUser := d.signer(d.role), d.signer(d.role)
	otherCache.Cache, otherUser.User = "payments", "payments-app"
	d.print("\nWho is refused is told nothing; the operator is told why:\n")
	for _, r := range []struct {
		what    string
		source  rediam.TokenSource
		reason  string
		oneWord bool // AUTH token, without the user
		revoked bool // while the role has no permission
	}{
		{"a token of 16 minutes ago", old, "expired", false, false},
		{"a token for another cache", otherCache, "wrong-cache", false, false},
		{"a token of another user", otherUser, "wrong-user", false, false},
		{"the role may no longer Connect", good, "permission-denied", false, true},
		{"AUTH with one argument", good, "one-argument-auth", true, false},
	} {
		if r.revoked {
			if err := d.forbidConnect(ctx); err != nil {
				return err
			}
		}
		token, err := r.source.Token(ctx)
		if err != nil {
			return err
		}
		args := []string{"AUTH", demoUser, token.Password}
		if r.oneWord {
			args = []string{"AUTH", token.Password}
		}
		if err := d.refused(ctx, r.what, r.reason, args); err != nil {
			return err
		}
		if r.revoked {
			if err := d.allowConnect(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// refused sends one sign-in on a connection of its own.
func (d *demo) refused(ctx context.Context, what, reason string, args []string) error {
	conn, err := d.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	answer, err := conn.do(args...)
	if err != nil {
		return err
	}
	events := d.srv.Events()
	last := events[len(events)-1]
	d.print("\n  %s\n    client sees    %s\n    operator sees  %s: %s\n", what, answer, last.Reason, last.Detail)
	if answer != wrongPass || last.Reason != reason {
		return fmt.Errorf("%s was answered with %q for the reason %q, not %q", what, answer, last.Reason, reason)
	}
	return nil
}

// outlive keeps one connection by signing in again, beside one that does not.
func (d *demo) outlive(ctx context.Context) error {
	d.print("\nAWS ends a connection 12 hours after its last sign-in. Two connections, and the emulator's clock:\n\n")
	signer := d.signer(d.srv.Credentials(demoRole))
	renewed, err := d.signedIn(ctx, signer)
	if err != nil {
		return err
	}
	defer renewed.Close()
	left, err := d.signedIn(ctx, signer)
	if err != nil {
		return err
	}
	defer left.Close()
	d.print("   0 h  both sign in\n")
	d.srv.Advance(9 * time.Hour)
	if err := renewed.auth(ctx, signer); err != nil {
		return err
	}
	d.print("   9 h  one sends AUTH with a new token: +OK\n")
	d.srv.Advance(9 * time.Hour)
	pong, err := renewed.do("PING")
	if err != nil || pong != "+PONG" {
		return fmt.Errorf("the renewed connection answered %q: %w", pong, err)
	}
	if _, err := left.do("PING"); err == nil {
		return errors.New("the other connection outlived 12 hours")
	}
	d.print("  18 h  it answers PING with %s; the other was closed after 12 h\n", pong)
	return nil
}

// rawConn is a connection without a client library, to show what is on the wire.
type rawConn struct {
	*tls.Conn
	in *bufio.Reader
}

func (d *demo) dial(ctx context.Context) (*rawConn, error) {
	cache := d.srv.Cache(demoCache)
	conn, err := (&tls.Dialer{Config: cache.TLS}).DialContext(ctx, "tcp", cache.Addr)
	if err != nil {
		return nil, err
	}
	return &rawConn{conn.(*tls.Conn), bufio.NewReader(conn)}, nil
}

func (d *demo) signedIn(ctx context.Context, source rediam.TokenSource) (*rawConn, error) {
	conn, err := d.dial(ctx)
	if err != nil {
		return nil, err
	}
	return conn, conn.auth(ctx, source)
}

func (c *rawConn) auth(ctx context.Context, source rediam.TokenSource) error {
	token, err := source.Token(ctx)
	if err != nil {
		return err
	}
	answer, err := c.do("AUTH", token.User, token.Password)
	if err == nil && answer != "+OK" {
		err = fmt.Errorf("AUTH was answered with %s", answer)
	}
	return err
}

// do sends one command and gives the line that answers it.
func (c *rawConn) do(args ...string) (string, error) {
	c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := c.Write(resp.AppendCommand(nil, args...)); err != nil {
		return "", err
	}
	line, err := c.in.ReadString('\n')
	return strings.TrimRight(line, "\r\n"), err
}
