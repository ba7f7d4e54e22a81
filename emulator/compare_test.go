package emulator_test

import (
	"os"
	"strings"
	"testing"

	"github.com/rediam/rediam/emulator"
	"github.com/rediam/rediam/internal/installed"
	"github.com/rediam/rediam/internal/resp"
)

// The lines of testdata/compare.txt go to every engine through the gate, in RESP2
// and in RESP3. What Redis 7.0 answers is right; where another engine answers
// otherwise, testdata/differences.txt has to say so, and why.
func TestEnginesAnswerAlike(t *testing.T) {
	lines := strings.Split(strings.TrimSpace(readFile(t, "testdata/compare.txt")), "\n")
	want := answers(t, installed.Path(t, "redis-server"), lines)
	known := knownDifferences(t)
	for _, engine := range []string{"embedded", "valkey-server"} {
		t.Run(engine, func(t *testing.T) {
			path := engine
			if engine != "embedded" {
				path = installed.Path(t, engine)
			}
			got := answers(t, path, lines)
			for i, line := range lines {
				for protocol := range want[i] {
					differs := got[i][protocol] != want[i][protocol]
					_, excused := known[engine+" "+line]
					if differs && !excused {
						t.Errorf("RESP%d %s\n got %q\nwant %q", protocol+2, line, got[i][protocol], want[i][protocol])
					}
					if differs {
						known[engine+" "+line] = true
					}
				}
			}
			for line, seen := range known {
				if strings.HasPrefix(line, engine+" ") && !seen {
					t.Errorf("no longer a difference: %s", line)
				}
			}
		})
	}
}

// answers are the replies of an engine to each line, in RESP2 and RESP3.
func answers(t *testing.T, engine string, lines []string) [][2]string {
	srv := emulator.Start(t, emulator.Config{Engine: engine})
	all := make([][2]string, len(lines))
	for protocol := range 2 {
		w := signedIn(t, srv)
		if protocol == 1 {
			w.do("HELLO", "3")
		}
		w.wants(ok, "FLUSHALL")
		for i, line := range lines {
			args, err := resp.SplitInline([]byte(line))
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			words := make([]string, len(args))
			for j, a := range args {
				words[j] = string(a)
			}
			all[i][protocol] = w.do(words...)
		}
	}
	return all
}

// knownDifferences reads lines of the form "engine command", each below a comment
// that says why; the value tells whether the difference has been seen.
func knownDifferences(t *testing.T) map[string]bool {
	known := map[string]bool{}
	explained := false
	for line := range strings.Lines(readFile(t, "testdata/differences.txt")) {
		line = strings.TrimSpace(line)
		switch {
		case line == "":
			explained = false
		case strings.HasPrefix(line, "#"):
			explained = true
		case !explained:
			t.Errorf("a difference without a reason: %s", line)
		default:
			known[line] = false
		}
	}
	return known
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
