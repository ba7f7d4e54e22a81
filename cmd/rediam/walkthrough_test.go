package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rediam/rediam/internal/installed"
	"github.com/rogpeppe/go-internal/testscript"
)

// The walk-throughs run as they are written, with every AWS CLI of this machine: that
// of PATH, which is the first, and Debian's. Each start of one costs a second, so that
// scripts skip for the second what it shows nothing new of.
func TestWalkthroughs(t *testing.T) {
	first := installed.Path(t, "aws")
	installed.Path(t, "redis-server")
	installed.Path(t, "redis-cli")
	programs := t.TempDir() // besides those of PATH
	if out, err := exec.Command("go", "build", "-o", programs, "../../examples/kv", "../rediam-rotate").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	clis := []string{first}
	if debian := "/usr/bin/aws"; first != debian {
		if _, err := exec.LookPath(debian); err == nil {
			clis = append(clis, debian)
		}
	}
	for _, cli := range clis {
		t.Run(strings.ReplaceAll(cli, "/", "_"), func(t *testing.T) {
			t.Parallel()
			testscript.Run(t, testscript.Params{
				Dir:                 filepath.Join("..", "..", "docs", "walkthroughs"),
				Cmds:                map[string]func(*testscript.TestScript, bool, []string){"await": await, "source": source},
				RequireExplicitExec: true,
				Condition: func(name string) (bool, error) {
					switch name {
					case "first":
						return cli == first, nil
					case "serverless": // Debian's CLI is older than serverless caches
						return exec.Command(cli, "elasticache", "create-serverless-cache", "--generate-cli-skeleton").Run() == nil, nil
					}
					return present(t, name)
				},
				Setup: func(e *testscript.Env) error {
					bin := filepath.Join(e.WorkDir, "bin")
					e.Setenv("PATH", strings.Join([]string{bin, programs, e.Getenv("PATH")}, string(os.PathListSeparator)))
					e.Setenv("TMPDIR", e.WorkDir)
					e.Setenv("HOME", e.WorkDir) // the AWS CLI keeps credentials there
					e.Setenv("AWS_EC2_METADATA_DISABLED", "true")
					e.Setenv("AWS_PAGER", "")
					if err := os.Mkdir(bin, 0o755); err != nil {
						return err
					}
					wrapper := "#!/bin/sh\nexec " + cli + " --endpoint-url \"$AWS_ENDPOINT_URL\" \"$@\"\n"
					return os.WriteFile(filepath.Join(bin, "aws"), []byte(wrapper), 0o755)
				},
			})
		})
	}
}
