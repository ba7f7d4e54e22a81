package main

import (
	"os"
	"strings"
	"testing"
)

// What docs/setup.md shows is run by testdata/setup.txtar, word for word.
func TestEveryCommandOfThePageAboutSetupIsRun(t *testing.T) {
	page, err := os.ReadFile("../../docs/setup.md")
	if err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile("testdata/setup.txtar")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for i, block := range strings.Split(string(page), "\n```") {
		if i%2 == 0 {
			continue
		}
		for line := range strings.Lines(block) {
			command := strings.TrimSuffix(strings.TrimSpace(line), " &")
			if !strings.HasPrefix(command, "rediam ") {
				continue
			}
			found++
			if !strings.Contains(string(script), "exec "+command+"\n") && !strings.Contains(string(script), "exec "+command+" &emulator&\n") {
				t.Errorf("testdata/setup.txtar does not run %s", command)
			}
		}
	}
	if found < 9 {
		t.Errorf("found %d commands only: the search has gone blind", found)
	}
}
