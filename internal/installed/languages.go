package installed

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Python is a python3 that has a module: Debian's modules are not those of one that
// comes first in PATH. As in the functions below, name is what REDIAM_REQUIRE calls
// it, and one that is missing ends the test as Path does.
func Python(t testing.TB, name, module string) string {
	t.Helper()
	return firstOf(t, name, []string{"-c", "import " + module}, "python3", "/usr/bin/python3")
}

// Ruby is a ruby that has a library.
func Ruby(t testing.TB, name, library string) string {
	t.Helper()
	return firstOf(t, name, []string{"-r", library, "-e", ""}, "ruby")
}

// PHP is a php that has the extension redis, and those to start processes.
func PHP(t testing.TB, name string) string {
	t.Helper()
	const loaded = `foreach (['redis', 'pcntl', 'posix'] as $e) if (!extension_loaded($e)) exit(1);`
	return firstOf(t, name, []string{"-r", loaded}, "php")
}

// Node is a node, if a module is in a folder.
func Node(t testing.TB, name, modules, module string) string {
	t.Helper()
	path, err := exec.LookPath("node")
	if err == nil {
		_, err = os.Stat(filepath.Join(modules, module))
	}
	if err != nil {
		Missing(t, name, err)
	}
	return path
}

// NodeModules is where .ci/install has put the JavaScript packages: beside their
// package.json unless REDIAM_NODE_MODULES says otherwise.
func NodeModules(beside string) string {
	if elsewhere := os.Getenv("REDIAM_NODE_MODULES"); elsewhere != "" {
		return elsewhere
	}
	return filepath.Join(beside, "node_modules")
}

// firstOf is the first of some programs that can run a line.
func firstOf(t testing.TB, name string, line []string, programs ...string) string {
	t.Helper()
	var problems []error
	for _, program := range programs {
		output, err := exec.CommandContext(t.Context(), program, line...).CombinedOutput()
		if err == nil {
			return program
		}
		problems = append(problems, fmt.Errorf("%s: %w %s", program, err, bytes.TrimSpace(output)))
	}
	Missing(t, name, errors.Join(problems...))
	return ""
}
