package acl_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/rediam/rediam/internal/acl"
	"github.com/rediam/rediam/internal/command"
)

// What Explain lists is what Allow allows, but for the four commands that need no
// permission.
func TestExplainListsTheCommandsThatAreAllowed(t *testing.T) {
	for _, text := range []string{"on ~* &* -@all", "on ~* &* +@all", "on ~* &* +@read -get -@slow +client|id", "on ~* &* +@all -@dangerous -client", "on ~* &* -@all +memory -memory|usage"} {
		access, err := acl.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		listed := access.Explain().Permissions[0].Commands
		for c := range command.All() {
			if c.Container || c.Flags.Has(command.FlagNoAuth) {
				continue
			}
			args := [][]byte{}
			for word := range strings.SplitSeq(c.Name, "|") {
				args = append(args, []byte(word))
			}
			if allowed := access.Allow(args).OK; allowed != slices.Contains(listed, c.Name) {
				t.Errorf("%s: Allow(%s) = %v, and Explain says otherwise", text, c.Name, allowed)
			}
		}
	}
}

func TestExplainListsFirstArguments(t *testing.T) {
	access, err := acl.Parse("on ~* -@all +select|0 +select|1 +get")
	if err != nil {
		t.Fatal(err)
	}
	if got := access.Explain().Permissions[0].Commands; !slices.Equal(got, []string{"get", "select|0", "select|1"}) {
		t.Errorf("Commands = %q", got)
	}
}
