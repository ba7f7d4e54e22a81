// Package clients_test has programs in other languages sign in to the emulator
// and work with it: signers that know nothing of rediam, client libraries, and an SDK
// of AWS that sets everything up.
// The programs are in testdata; .ci/install installs what they need.
package clients_test

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/rediam/rediam/emulator"
	"github.com/rediam/rediam/internal/installed"
)

// patience ends a program that hangs. No test measures time with it.
const patience = 30 * time.Second

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A command is a program and its first arguments.
type command []string

// python runs a program of testdata that needs a module.
func python(t testing.TB, name, module, program string) command {
	t.Helper()
	return command{installed.Python(t, name, module), filepath.Join("testdata", "python", program)}
}

func ruby(t testing.TB, name, library, program string) command {
	t.Helper()
	return command{installed.Ruby(t, name, library), filepath.Join("testdata", "ruby", program)}
}

func php(t testing.TB, name, program string) command {
	t.Helper()
	return command{installed.PHP(t, name), filepath.Join("testdata", "php", program)}
}

func node(t testing.TB, name, module, program string) command {
	t.Helper()
	return command{installed.Node(t, name, nodeModules(), module), filepath.Join("testdata", "node", program)}
}

func nodeModules() string { return installed.NodeModules(filepath.Join("testdata", "node")) }

// run gives what a command prints, and whether it succeeds. Nothing of this
// machine's AWS or Redis configuration reaches it; what it says on its standard
// error goes to the log of the test.
func (c command) run(t testing.TB, environment []string, arguments ...string) (output string, ok bool) {
	t.Helper()
	return c.feed(t, "", environment, arguments...)
}

// feed is run with something on the standard input.
func (c command) feed(t testing.TB, input string, environment []string, arguments ...string) (output string, ok bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := c.prepare(ctx, t, environment, arguments)
	cmd.Stdin = strings.NewReader(input)
	var said bytes.Buffer
	cmd.Stderr = &said
	b, err := cmd.Output()
	if said.Len() > 0 {
		t.Logf("on its standard error %s says\n%.2000s", filepath.Base(c[0]), said.Bytes())
	}
	if ctx.Err() != nil {
		t.Fatalf("%s does not end; it has printed\n%s", filepath.Base(c[0]), b)
	}
	return string(b), err == nil
}

// prepare is a command that ends with ctx.
func (c command) prepare(ctx context.Context, t testing.TB, environment, arguments []string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(ctx, c[0], append(c[1:len(c):len(c)], arguments...)...)
	cmd.WaitDelay = time.Second
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "AWS_") && !strings.HasPrefix(variable, "REDIS") {
			cmd.Env = append(cmd.Env, variable)
		}
	}
	none := filepath.Join(t.TempDir(), "none")
	cmd.Env = append(cmd.Env, "AWS_CONFIG_FILE="+none, "AWS_SHARED_CREDENTIALS_FILE="+none, "AWS_EC2_METADATA_DISABLED=true", "NODE_PATH="+nodeModules())
	cmd.Env = append(cmd.Env, environment...)
	return cmd
}

// keys are credentials as environment variables.
func keys(c aws.Credentials) []string {
	variables := []string{"AWS_ACCESS_KEY_ID=" + c.AccessKeyID, "AWS_SECRET_ACCESS_KEY=" + c.SecretAccessKey}
	if c.SessionToken != "" {
		variables = append(variables, "AWS_SESSION_TOKEN="+c.SessionToken)
	}
	return variables
}

// place is the address of the cache and the authority to trust, as environment
// variables.
func place(t testing.TB, srv *emulator.Server) []string {
	t.Helper()
	host, port, err := net.SplitHostPort(srv.Cache(emulator.DefaultCache).Addr)
	must(t, err)
	return []string{"REDIS_HOST=" + host, "REDIS_PORT=" + port, "REDIS_CA=" + srv.CAFile()}
}
