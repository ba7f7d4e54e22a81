package rotate_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/rediam/rediam/rotate"
)

// A gateway is what programs take for AWS. It kills the one that runs at one point: the
// first is before the first call, the others are after each call, before its answer
// reaches the program. That is before the next call, too: a program leaves nothing
// behind but what AWS has.
type gateway struct {
	url     string
	mu      sync.Mutex // guards below
	points  int
	at      int // at which to kill; 0 is none
	running *os.Process
}

func newGateway(t *testing.T, s *stage) *gateway {
	t.Helper()
	g := &gateway{}
	emulator, err := url.Parse(s.srv.URL())
	if err != nil {
		t.Fatal(err)
	}
	forward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(emulator)
			r.Out.Host = r.In.Host // which is signed
		},
		ModifyResponse: func(*http.Response) error {
			if g.kill() {
				panic(http.ErrAbortHandler)
			}
			return nil
		},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g.first() && g.kill() {
			panic(http.ErrAbortHandler)
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	g.url = server.URL
	return g
}

func (g *gateway) first() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.points == 0
}

// kill kills the program if this is the point.
func (g *gateway) kill() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.points++; g.points != g.at {
		return false
	}
	g.running.Kill()
	return true
}

// arm has the program killed at a point, and returns how many there were before.
func (g *gateway) arm(at int) (points int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	points, g.points, g.at = g.points, 0, at
	return points
}

// run runs a program as the rotator's role, with the gateway in place of AWS.
func (g *gateway) run(ctx context.Context, s *stage, stdin []byte, program string, args ...string) error {
	c, err := s.srv.Credentials("rotator").Retrieve(ctx)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(append(os.Environ(), s.srv.Environ()...), "AWS_ENDPOINT_URL="+g.url, "AWS_MAX_ATTEMPTS=1",
		"AWS_ACCESS_KEY_ID="+c.AccessKeyID, "AWS_SECRET_ACCESS_KEY="+c.SecretAccessKey, "AWS_SESSION_TOKEN="+c.SessionToken,
		"REDIAM_ROTATE_KIND="+string(s.kind), "REDIAM_ROTATE_SECRETS="+secretName+"="+s.target, "REDIAM_ROTATE_GRACE=0s", "REDIAM_ROTATE_POLL=3ms")
	if s.kind != rotate.KindAuthToken {
		cmd.Env = append(cmd.Env, "REDIAM_ROTATE_NODES="+s.cache.Addr)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), s.said, s.said
	g.mu.Lock()
	err = cmd.Start()
	g.running = cmd.Process
	g.mu.Unlock()
	if err != nil {
		return err
	}
	return cmd.Wait()
}

// A way has a rotation done by programs. It fails if one was killed and nobody has
// called again.
type way func(ctx context.Context, s *stage, g *gateway) error

// The programs are killed before and after every call of AWS in turn: the command, which
// is then run again, and the function, which Secrets Manager then calls again from the
// first step.
func TestRotationByProgramsThatAreKilledAtEveryCallConverges(t *testing.T) {
	programs := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", programs, "../cmd/rediam", "../cmd/rediam-rotate").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	ways := map[string]way{
		"the command": func(ctx context.Context, s *stage, g *gateway) error {
			of := map[rotate.Kind]string{rotate.KindAuthToken: "--replication-group-id", rotate.KindElastiCacheUser: "--user-id", rotate.KindMemoryDBUser: "--memorydb-user"}
			return g.run(ctx, s, nil, filepath.Join(programs, "rediam"), "rotate", "--secret", secretName, of[s.kind], s.target)
		},
		"the function": func(ctx context.Context, s *stage, g *gateway) error {
			over := make(chan error, 100) // more than there can be
			s.srv.PutFunction("rotate", func(ctx context.Context, event []byte) error {
				err := g.run(ctx, s, event, filepath.Join(programs, "rediam-rotate"))
				if lockedOut := s.lockedOut(ctx); lockedOut != nil {
					over <- lockedOut
				} else if err == nil && bytes.Contains(event, []byte(rotate.FinishSecret)) {
					over <- nil
				}
				return err
			})
			if err := s.begin(ctx); err != nil {
				return err
			}
			select {
			case err := <-over:
				return err
			case <-time.After(2 * time.Minute):
				return errors.New("the rotation does not end")
			}
		},
	}
	for name, way := range ways {
		for _, kind := range kinds {
			if name == "the command" && kind == rotate.KindMemoryDBUser {
				continue // who differs from a user of ElastiCache as in the function
			}
			t.Run(string(kind)+" by "+name, func(t *testing.T) {
				t.Parallel()
				killedAtEveryCall(t, kind, way)
			})
		}
	}
}

func killedAtEveryCall(t *testing.T, kind rotate.Kind, run way) {
	var s *stage
	var g *gateway
	password := ""
	for at := 1; ; at++ {
		if at%50 == 1 { // a secret has a hundred versions at most
			s, password = onStage(t, kind, 0, 10*time.Millisecond), oldest
			g = newGateway(t, s)
		}
		g.arm(at)
		err := run(t.Context(), s, g)
		if lockedOut := s.lockedOut(t.Context()); lockedOut != nil {
			t.Fatalf("killed at %d: %v", at, lockedOut)
		}
		killed := g.arm(0) >= at
		if killed && err != nil {
			err = run(t.Context(), s, g)
		}
		if err != nil {
			t.Fatalf("killed at %d: %v\n%s", at, err, s.said)
		}
		password = s.ended(t, password)
		if t.Failed() {
			t.Fatalf("killed at %d: see above", at)
		}
		if !killed { // it has fewer calls
			if at < 25 {
				t.Errorf("a rotation has %d points to be killed at only", at-1)
			}
			t.Logf("killed at each of %d points", at-1)
			return
		}
	}
}
