// Package installed finds and starts the programs that tests compare with. Only
// tests import it.
package installed

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Path finds a program in PATH, or a valkey-server where REDIAM_VALKEY says. One
// that is missing skips the test, unless the comma list in REDIAM_REQUIRE names
// it: then the test fails.
func Path(t testing.TB, name string) string {
	t.Helper()
	program := name
	if elsewhere := os.Getenv("REDIAM_VALKEY"); name == "valkey-server" && elsewhere != "" {
		program = elsewhere
	}
	path, err := exec.LookPath(program)
	if err == nil {
		return path
	}
	Missing(t, name, err)
	return ""
}

// Missing ends a test that cannot do without a program, as Path does.
func Missing(t testing.TB, name string, err error) {
	t.Helper()
	if Required(name) {
		t.Fatalf("%s is required and missing: %v", name, err)
	}
	t.Skipf("%s is missing: %v", name, err)
}

// Required is whether REDIAM_REQUIRE names a program.
func Required(name string) bool {
	return slices.Contains(strings.Split(os.Getenv("REDIAM_REQUIRE"), ","), name)
}

// Engine starts redis-server or valkey-server on a Unix socket, without data and
// with everybody let in, until the test ends.
func Engine(t testing.TB, name string, options ...string) (socket string) {
	t.Helper()
	path := Path(t, name)
	dir, err := os.MkdirTemp("", "engine") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket = filepath.Join(dir, "s")
	server := exec.CommandContext(t.Context(), path, append([]string{
		"--port", "0", "--unixsocket", socket, "--save", "", "--dir", dir}, options...)...)
	log, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	// t.Context has ended when cleanups run, which has killed the server.
	t.Cleanup(func() { server.Wait() })
	for lines := bufio.NewScanner(log); lines.Scan(); {
		if strings.Contains(strings.ToLower(lines.Text()), "ready to accept connections") {
			go io.Copy(io.Discard, log)
			return socket
		}
	}
	t.Fatalf("%s ended before it was ready", name)
	return ""
}
