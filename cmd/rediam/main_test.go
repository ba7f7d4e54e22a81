package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/rediam/rediam/internal/installed"
	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"rediam": main})
}

// The scripts in testdata say what each command does, failures included.
func TestCommands(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Setenv("AWS_EC2_METADATA_DISABLED", "true")
			e.Setenv("TMPDIR", e.WorkDir)
			e.Setenv("HOME", e.WorkDir) // the AWS CLI keeps credentials there
			return nil
		},
		Condition: func(name string) (bool, error) { return present(t, name) },
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"await":  await,
			"source": source,
		},
		RequireExplicitExec: true,
	})
}

// present is the condition that a program is in PATH, or required.
func present(t *testing.T, name string) (bool, error) {
	_, err := exec.LookPath(name)
	required := installed.Required(name)
	if err != nil && !required {
		t.Logf("%s is not in PATH: what needs it is skipped", name)
	}
	return err == nil || required, nil
}

// await FILE [TEXT] waits until a background command has made a file, with a text
// in it.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: await FILE [TEXT]")
	}
	text := append(args, "")[1]
	for deadline := time.Now().Add(20 * time.Second); ; {
		content, err := os.ReadFile(ts.MkAbs(args[0]))
		if err == nil && strings.Contains(string(content), text) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s does not appear, or not with %q", args[0], text)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// source FILE sets the variables of export lines, and empties those of unset.
func source(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: source FILE")
	}
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		if names, ok := strings.CutPrefix(strings.TrimSpace(line), "unset "); ok {
			for _, name := range strings.Fields(names) {
				if ts.Getenv(name) != "" { // the AWS CLI does not take an empty one for none
					ts.Setenv(name, "")
				}
			}
		}
		if pair, ok := strings.CutPrefix(strings.TrimSpace(line), "export "); ok {
			name, value, _ := strings.Cut(pair, "=")
			ts.Setenv(name, strings.Trim(value, "'"))
		}
	}
}
