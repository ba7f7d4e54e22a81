// Package relay takes connections.
package relay

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"
)

// When a connection cannot be taken, as when the process has no file descriptor
// left, the next attempt waits for firstPause, and twice as long each time, up to
// maxPause.
const (
	firstPause = 10 * time.Millisecond
	maxPause   = time.Second
)

// Serve calls handle for each connection that comes to listener, in a goroutine of
// its own that running counts, until ctx is done or the listener is closed. It
// closes the listener, which is the error it returns if nobody else has ended it.
// handle owns the connection. What cannot be taken is logged.
func Serve(ctx context.Context, listener net.Listener, running *sync.WaitGroup, log *slog.Logger, handle func(net.Conn)) error {
	stop := context.AfterFunc(ctx, func() { listener.Close() })
	defer func() {
		if stop() {
			listener.Close()
		}
	}()
	for pause := firstPause; ; {
		conn, err := listener.Accept()
		switch {
		case err == nil:
			pause = firstPause
			running.Go(func() { handle(conn) })
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		default: // out of file descriptors, or a client that is gone again
			log.Warn("accept", "listener", listener.Addr().String(), "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
			pause = min(2*pause, maxPause)
		}
	}
}
