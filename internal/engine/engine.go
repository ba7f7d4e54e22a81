// Package engine runs the Redis or Valkey that holds a cache's data: child
// processes, one that runs already, or an embedded one.
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

// ErrOneNode is the error for several nodes of an engine that can be one only.
var ErrOneNode = errors.New("a cluster of several nodes needs redis-server or valkey-server")

// Start starts the engine that spec names: "auto" (valkey-server or redis-server
// from PATH, else embedded), "embedded", "redis-server", "valkey-server", the
// path of one, or a redis:// or rediss:// URL of one that runs and whose user may
// change users. Files lie in dir, which the caller makes and removes.
//
// With a cluster, child processes form it and there is an Engine for each of its
// nodes, in their order; any other engine stays as it is, and can be one node only.
func Start(ctx context.Context, spec, dir string, cluster *Cluster) ([]Engine, error) {
	path, err := program(spec)
	switch {
	case err != nil:
		return nil, err
	case path == "" && cluster != nil && len(cluster.Ports) > 1:
		return nil, ErrOneNode
	case isURL(spec):
		return alone(joinRunning(ctx, spec))
	case path == "":
		return []Engine{newEmbedded()}, nil
	case cluster == nil:
		return alone(startChild(ctx, path, dir))
	}
	return startCluster(ctx, path, dir, *cluster)
}

// OneNode is whether a cluster of the engine that spec names can have one node
// only.
func OneNode(spec string) bool {
	path, err := program(spec)
	return path == "" && err == nil
}

// program is the path of the engine that runs as a child process; empty for any
// other.
func program(spec string) (path string, err error) {
	switch {
	case spec == "embedded" || isURL(spec):
		return "", nil
	case spec == "" || spec == "auto":
		for _, name := range []string{"valkey-server", "redis-server"} {
			if path, err := exec.LookPath(name); err == nil {
				return path, nil
			}
		}
		return "", nil
	}
	if path, err = exec.LookPath(spec); err != nil {
		var missing *exec.Error
		if errors.As(err, &missing) {
			err = missing.Err
		}
		return "", errors.New("engine " + spec + ": " + err.Error() + "; install it, or use --engine embedded")
	}
	return path, nil
}

func isURL(spec string) bool {
	return strings.HasPrefix(spec, "redis://") || strings.HasPrefix(spec, "rediss://")
}

// alone is one engine, unless there is an error.
func alone[E Engine](e E, err error) ([]Engine, error) {
	if err != nil {
		return nil, err
	}
	return []Engine{e}, nil
}
