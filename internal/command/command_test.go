package command_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rediam/rediam/internal/command"
	"github.com/rediam/rediam/internal/installed"
)

func request(line string) [][]byte { return bytes.Fields([]byte(line)) }

func TestLookupFindsCommandsAsTheEnginesDo(t *testing.T) {
	for line, want := range map[string]string{
		"get k":                               "get",
		"GeT k":                               "get",
		"CONFIG GET maxmemory":                "config|get",
		"config":                              "config",
		"config bogus":                        "",
		"config|get x":                        "",
		"config get|x":                        "",
		"client no-evict on":                  "client|no-evict",
		"object encoding k":                   "object|encoding",
		"select 0":                            "select",
		"nosuch":                              "",
		strings.Repeat("x", 1000):             "",
		"config " + strings.Repeat("x", 1000): "",
		"xinfo " + strings.Repeat("x", 26):    "",
		"":                                    "",
	} {
		var got string
		if c, ok := command.Lookup(request(line)); ok {
			got = c.Name
		}
		if got != want {
			t.Errorf("Lookup(%.40q) = %q, want %q", line, got, want)
		}
	}
}

func TestEveryCommandIsFoundByItsName(t *testing.T) {
	n := 0
	for c := range command.All() {
		if c.ID != n {
			t.Errorf("%s has ID %d, want %d", c.Name, c.ID, n)
		}
		n++
		upper := strings.ToUpper(c.Name)
		if got, ok := command.Named(upper); !ok || got != c {
			t.Errorf("Named(%q) does not find it", upper)
		}
		args := bytes.Split([]byte(upper), []byte("|"))
		if got, ok := command.Lookup(args); !ok || got != c {
			t.Errorf("Lookup(%q) does not find it", args)
		}
		if c.Categories == 0 || c.Engines == 0 || c.Arity == 0 {
			t.Errorf("%s lacks categories, engines or arity", c.Name)
		}
	}
	if n != command.Count {
		t.Errorf("All() yields %d commands, want %d", n, command.Count)
	}
}

func TestTableTellsWhatACommandIs(t *testing.T) {
	get, _ := command.Named("get")
	if get.Arity != 2 || !get.Flags.Has(command.FlagReadOnly|command.FlagFast) || get.Flags.Has(command.FlagWrite) ||
		get.Categories != command.CategoryRead|command.CategoryString|command.CategoryFast {
		t.Errorf("get = %+v", get)
	}
	if hello, _ := command.Named("hello"); !hello.Flags.Has(command.FlagNoAuth | command.FlagNoScript) {
		t.Error("HELLO needs sign-in")
	}
	if capa, _ := command.Named("client|capa"); capa.Engines != command.Valkey {
		t.Error("CLIENT CAPA is not Valkey's alone")
	}
}

// Rules on categories reach the subcommands of the containers that they name, so
// that package acl may look at each command for itself.
func TestSubcommandsAreInTheCategoriesOfTheirContainer(t *testing.T) {
	for c := range command.All() {
		container, _, ok := strings.Cut(c.Name, "|")
		if !ok {
			continue
		}
		up, ok := command.Named(container)
		if !ok || !up.Container {
			t.Errorf("%s has no container", c.Name)
		} else if up.Categories&^c.Categories != 0 {
			t.Errorf("%s lacks categories of %s", c.Name, container)
		}
	}
}

func TestCategoryNamesAreFoundInAnyCase(t *testing.T) {
	if c, ok := command.Category("SortedSet"); !ok || c != command.CategorySortedSet {
		t.Errorf("Category(SortedSet) = %b, %v", c, ok)
	}
	if c, ok := command.Category("scripting"); !ok || c != command.CategoryScripting {
		t.Errorf("Category(scripting) = %b, %v", c, ok)
	}
	for _, name := range []string{"", "all", "nosuch"} {
		if _, ok := command.Category(name); ok {
			t.Errorf("Category(%q) is found", name)
		}
	}
}

// TestTableIsWhatTheEnginesSay needs redis-server 7.0 and valkey-server 8.1; the
// latter may be named by the environment variable REDIAM_VALKEY.
func TestTableIsWhatTheEnginesSay(t *testing.T) {
	valkey := os.Getenv("REDIAM_VALKEY")
	if valkey == "" {
		valkey = "valkey-server"
	}
	requireEngine(t, "redis-server", "redis-server", "v=7.0.")
	requireEngine(t, "valkey-server", valkey, "v=8.1.")
	out := filepath.Join(t.TempDir(), "table.go")
	run := exec.Command("go", "run", "gen/main.go", "-valkey", valkey, "-o", out)
	if text, err := run.CombinedOutput(); err != nil {
		t.Fatalf("gen: %v\n%s", err, text)
	}
	got, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("table.go")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("table.go is out of date: go generate ./internal/command")
	}
}

func requireEngine(t *testing.T, name, path, version string) {
	t.Helper()
	if text, err := exec.Command(path, "--version").Output(); err == nil && bytes.Contains(text, []byte(version)) {
		return
	}
	if installed.Required(name) {
		t.Fatalf("%s (%s*) is required and missing", name, version)
	}
	t.Skipf("%s (%s*) is missing", name, version)
}

func BenchmarkLookup(b *testing.B) {
	for _, line := range []string{"GET k", "ZUNIONSTORE d", "CLIENT SETINFO"} {
		args := request(line)
		b.Run(line, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := command.Lookup(args); !ok {
					b.Fatal("not found")
				}
			}
		})
	}
}
