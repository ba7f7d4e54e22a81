package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"
)

const (
	// startTime is how long an engine may take until it answers.
	startTime = 10 * time.Second
	// adminUser administers the engine; no client can sign in as it.
	adminUser = "rediam-emulator"
	// maxOutput is how much of what the engine prints is kept for an error.
	maxOutput = 4 << 10
)

// child is an engine in a process of its own, reached by a Unix socket in a
// directory that only this user can enter.
type child struct {
	*server
	process *exec.Cmd
	output  *tail
	done    chan struct{}
	mu      sync.Mutex // guards closing
	closing bool
}

var _ Engine = (*child)(nil)

// startChild starts a program that works in dir, with more lines of configuration.
func startChild(ctx context.Context, path, dir string, more ...string) (*child, error) {
	socket := filepath.Join(dir, "engine.sock")
	c := &child{
		server: &server{user: adminUser, password: newPassword(), dial: func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}},
		process: exec.Command(path, "-"),
		output:  new(tail),
		done:    make(chan struct{}),
	}
	c.output.secret = c.password
	c.process.Dir = dir
	c.process.WaitDelay = time.Second // a process of its own may hold its output open
	c.process.Stdin = strings.NewReader(configuration(socket, c.password, more))
	c.process.Stdout, c.process.Stderr = c.output, c.output
	setApart(c.process)
	started := make(chan error)
	go c.run(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("engine %s: %w", filepath.Base(path), err)
	}
	if err := c.await(ctx); err != nil {
		c.Close()
		return nil, fmt.Errorf("engine %s does not start: %w%s", filepath.Base(path), err, c.output.lastLine())
	}
	return c, nil
}

// configuration keeps no data, listens on the socket only, and lets nobody in but
// the administrator. It goes over standard input: it holds a password.
func configuration(socket, password string, more []string) string {
	return strings.Join(append([]string{
		"port 0",
		"unixsocket " + fmt.Sprintf("%q", socket),
		"unixsocketperm 700",
		`save ""`,
		"appendonly no",
		"daemonize no",
		"maxclients 65000",
		"user default off resetpass resetkeys resetchannels -@all",
		"user " + adminUser + " on >" + password + " ~* &* +@all",
	}, more...), "\n") + "\n"
}

// run holds the thread that started the process for as long as it lives, since
// it is with the end of that thread that the kernel ends the process.
func (c *child) run(started chan<- error) {
	runtime.LockOSThread()
	err := c.process.Start()
	started <- err
	if err == nil {
		c.process.Wait()
		close(c.done)
	}
}

// await waits until the engine answers its administrator.
func (c *child) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for {
		err := c.identify(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-c.done:
			if c.output.has(textBusTaken) {
				return errBusTaken
			}
			return errors.New("it ended at once")
		case <-ctx.Done():
			return err
		case <-time.After(3 * time.Millisecond):
		}
	}
}

func (c *child) Done() <-chan struct{} { return c.done }

func (c *child) Err() error {
	select {
	case <-c.done:
	default:
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return nil
	}
	return fmt.Errorf("%s has ended (%s)%s", c.name, c.process.ProcessState, c.output.lastLine())
}

func (c *child) Close() {
	c.mu.Lock()
	c.closing = true
	c.mu.Unlock()
	c.process.Process.Kill() // it keeps no data
	<-c.done
}

// tail keeps the end of what is written to it. It is safe for many goroutines.
type tail struct {
	secret string     // not to be shown: a program that is no engine may print what it reads
	mu     sync.Mutex // guards kept
	kept   []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, p...)
	if len(t.kept) > maxOutput {
		t.kept = append([]byte(nil), t.kept[len(t.kept)-maxOutput:]...)
	}
	return len(p), nil
}

func (t *tail) has(text string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return bytes.Contains(t.kept, []byte(text))
}

// lastLine is the last line with text, as the end of an error.
func (t *tail) lastLine() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	kept := bytes.TrimSpace(t.kept)
	if len(kept) == 0 {
		return ""
	}
	line := string(kept[bytes.LastIndexByte(kept, '\n')+1:])
	return ": " + strings.ReplaceAll(line, t.secret, "[redacted]")
}
