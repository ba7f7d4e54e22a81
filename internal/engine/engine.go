// Package engine runs the Redis or Valkey that holds a cache's data: a child
// process, one that runs already, or an embedded one.
package engine

import (
	"context"
	"errors"
	"net"
	"os/exec"
	"strings"

	"github.com/rediam/rediam/internal/acl"
)

// An Engine is one that runs. Its methods are safe for many goroutines.
type Engine interface {
	// Dial opens a connection, as nobody if the engine has users.
	Dial(ctx context.Context) (net.Conn, error)
	// Login is the engine's own name and password of a user. Without ok the
	// engine has no users.
	Login(user string) (name, password string, ok bool)
	// SetUsers makes the users of the engine these. Connections of a user that is
	// gone end; others have the new rules at once.
	SetUsers(ctx context.Context, users []User) error
	// Done is closed when the engine has ended, by itself or by Close.
	Done() <-chan struct{}
	// Err is why the engine ended by itself; nil while it runs, and after Close.
	Err() error
	// Close ends the engine, or leaves it as it was if it ran before.
	Close()
	// String names the engine and its version.
	String() string
}

// A User is whom the engine is to know.
type User struct {
	Name  string
	Rules *acl.Access
}

// Start starts the engine that spec names: "auto" (valkey-server or redis-server
// from PATH, else embedded), "embedded", "redis-server", "valkey-server", the
// path of one, or a redis:// or rediss:// URL of one that runs and whose user may
// change users. Files lie in dir, which the caller makes and removes.
func Start(ctx context.Context, spec, dir string) (Engine, error) {
	switch {
	case spec == "embedded":
		return newEmbedded(), nil
	case spec == "" || spec == "auto":
		for _, name := range []string{"valkey-server", "redis-server"} {
			if path, err := exec.LookPath(name); err == nil {
				return startChild(ctx, path, dir)
			}
		}
		return newEmbedded(), nil
	case strings.HasPrefix(spec, "redis://"), strings.HasPrefix(spec, "rediss://"):
		return joinRunning(ctx, spec)
	}
	path, err := exec.LookPath(spec)
	if err != nil {
		var missing *exec.Error
		if errors.As(err, &missing) {
			err = missing.Err
		}
		return nil, errors.New("engine " + spec + ": " + err.Error() + "; install it, or use --engine embedded")
	}
	return startChild(ctx, path, dir)
}
