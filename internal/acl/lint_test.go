package acl_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rediam/rediam/internal/acl"
)

func TestLintSaysWhatABrokenAccessStringMeant(t *testing.T) {
	for _, test := range []struct {
		access, rule, meant string
	}{
		{"on ~app::* [email protected] +@read", "rule 3", "write -@all,"},
		{"on ~app::* [email protected]\u00a0+@read", "rule 3", "write -@all,"},
		{"on ~* [email protected]", "rule 3", "write +@all,"},
		{"off [email protected]", "rule 2", "write -@all,"},
		{"on ~* [email\u00a0protected] -flushall", "rule 3", "write +@all,"},
		{"on ~* [email protected] ~x", "rule 3", "write -@all if"},
		{"on ~* –@all +get", "rule 3", "write -"},
		{"on ~*\u00a0+@all", "rule 2", ""},
		{"on\u00a0~* +@all", "rule 1", "write an ordinary space"},
		{"“on ~* +@all”", "rule 1", "leave it out"},
		{`"on ~* +@all`, "rule 1", "leave it out"},
		{"on ~* +@all'", "rule 3", "leave it out"},
		{"on, ~* +@all", "rule 1", "write a space"},
		{"on * +@all", "rule 2", "write ~*"},
		{"on ~* @all", "rule 3", "write +"},
		{"on ~* -@all get", "rule 4", "write +get"},
		{"~* +@all", "neither on nor off", "write on"},
	} {
		hints := acl.Lint(test.access)
		if test.meant == "" {
			if hints != nil {
				t.Errorf("Lint(%q) = %q, want nothing: the pattern may mean what it says", test.access, hints)
			}
			continue
		}
		if len(hints) == 0 || !strings.Contains(hints[0], test.rule) || !strings.Contains(hints[0], test.meant) {
			t.Errorf("Lint(%q) = %q, want %s: %s", test.access, hints, test.rule, test.meant)
		}
	}
}

func TestLintHasNothingToSayOfGoodAccessStrings(t *testing.T) {
	for _, access := range []string{
		"on ~* +@all",
		"off ~keys* -@all +get",
		"ON ALLKEYS ALLCOMMANDS",
		"on ~app::* &news:* -@all +@read +config|get -@dangerous",
		"on %R~a* %RW~b* resetchannels -@all +get (~c* +set) (%W~d* +@write) clearselectors",
		"on ~“a” ~it's ~a, ~[email] &a, +@all",
		"off nocommands resetkeys",
		"",
	} {
		if hints := acl.Lint(access); hints != nil {
			t.Errorf("Lint(%q) = %q, want nothing", access, hints)
		}
	}
}

func TestLintRepeatsNoPassword(t *testing.T) {
	for _, access := range []string{"“s3cret-word”", "–s3cret-word", ">s3cret-word", "@s3cret-word", "s3cret-word,", "[email protected]s3cret-word"} {
		if hints := strings.Join(acl.Lint(access), "\n"); strings.Contains(hints, "s3cret") {
			t.Errorf("Lint(%q) repeats it: %s", access, hints)
		}
	}
}

func FuzzLint(f *testing.F) {
	f.Add("on ~app::* [email protected] +@read")
	f.Add("“on” –@all\u00a0get, @all *")
	f.Add("[email")
	f.Fuzz(func(t *testing.T, access string) {
		hints := acl.Lint(access)
		if len(hints) > 10 {
			t.Errorf("%d hints", len(hints))
		}
		for _, hint := range hints {
			if len(hint) > 300 || !utf8.ValidString(hint) {
				t.Errorf("a hint of %d bytes: %q", len(hint), hint)
			}
		}
	})
}
