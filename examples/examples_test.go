// Package examples_test runs the example programs.
package examples_test

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rediam/rediam/emulator"
	"github.com/rediam/rediam/internal/installed"
)

func TestEachExampleWorksSignedIn(t *testing.T) {
	installed.Path(t, "redis-server") // for valkey-go, which caches, and for the cluster
	for name, nodes := range map[string]int{"goredis": 0, "goredis-cluster": 3, "redigo": 0, "valkeygo": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := emulator.Start(t, emulator.Config{Engine: "redis-server", Nodes: nodes})
			cache := srv.Cache(emulator.DefaultCache)
			program := filepath.Join(t.TempDir(), name)
			if out, err := exec.Command("go", "build", "-o", program, "./"+name).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			run := exec.Command(program, "-for", "1s", "-v")
			run.Env = append(run.Environ(), srv.Environ()...)
			run.Env = append(run.Env, "REDIS_URL=rediss://"+emulator.DefaultUser+"@"+cache.Addr, "REDIS_AWS_AUTH=true", "REDIS_AWS_CACHE_NAME="+cache.Name)
			var log strings.Builder
			run.Stderr = &log
			out, err := run.Output()
			if err != nil || !regexp.MustCompile(`^[1-9][0-9]* commands, 0 failed; [1-9]`).Match(out) {
				t.Errorf("%v, printed %q\n%s", err, out, log.String())
			}
			if strings.Contains(log.String(), "X-Amz-") || !strings.Contains(log.String(), "signing in with IAM") {
				t.Errorf("the log holds a token, or not what is signed in with:\n%s", log.String())
			}
		})
	}
}
