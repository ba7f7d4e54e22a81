package main

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/rediam/rediam"
)

// docs/configuration.md lists every flag and variable of the code, and none that
// the code does not have.
func TestTheConfigurationPageIsComplete(t *testing.T) {
	page, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	mentioned := func(pattern string) []string {
		var names []string
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(page), -1) {
			names = append(names, m[1])
		}
		slices.Sort(names)
		return slices.Compact(names)
	}
	parser, err := kong.New(new(cli))
	if err != nil {
		t.Fatal(err)
	}
	flags, variables := []string{}, []string{enginePassword, "REDIAM_REQUIRE", "REDIAM_VALKEY", "REDIAM_NODE_MODULES", "REDIAM_RECIPES", "REDIAM_ACL_RUNS"} // the last five are for tests
	kong.Visit(parser.Model, func(node kong.Visitable, next kong.Next) error {
		if f, ok := node.(*kong.Flag); ok {
			flags = append(append(flags, f.Name), f.Aliases...)
			variables = append(variables, f.Envs...)
		}
		return next(nil)
	})
	rediam.ConfigFromEnv(func(name string) (string, bool) {
		variables = append(variables, name)
		return "", false
	})
	same(t, "flags", mentioned("`--([a-z-]+)"), flags)
	same(t, "variables", mentioned("`(REDI(?:S|AM)_[A-Z_]+)"), variables)
}

func same(t *testing.T, what string, documented, inCode []string) {
	t.Helper()
	slices.Sort(inCode)
	for _, name := range slices.Compact(inCode) {
		if !slices.Contains(documented, name) {
			t.Errorf("%s: %s is not on the page", what, name)
		}
	}
	for _, name := range documented {
		if !slices.Contains(inCode, name) {
			t.Errorf("%s: the page has %s, the code does not", what, name)
		}
	}
}
