package rediam_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/rediam/rediam/emulator"
)

// sayingErrors are the folders whose errors users see outside of the command's flags.
var sayingErrors = []string{".", "goredis", "redigo", "valkeygo", "password", "internal/dial", "internal/proxy", "internal/account"}

var verb = regexp.MustCompile(`%[a-z]`)

func TestThePageAboutErrorsHasEveryError(t *testing.T) {
	page, err := os.ReadFile("docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	known := func(text string) bool { return strings.Contains(string(page), "`"+text+"`") }
	found, source := 0, ""
	for _, dir := range sayingErrors {
		files, _ := filepath.Glob(filepath.Join(dir, "*.go"))
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			code, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			source += string(code)
			for _, text := range errorTexts(t, file) {
				if strings.Trim(verb.ReplaceAllString(text, ""), ": ") == "" { // it passes on another error
					continue
				}
				found++
				if !known(text) {
					t.Errorf("docs/errors.md lacks `%s` of %s", text, file)
				}
			}
		}
	}
	_, ours, _ := strings.Cut(string(page), "\n## The library says\n")
	ours, _, _ = strings.Cut(ours, "\n## AWS's control plane")
	for _, row := range regexp.MustCompile("(?m)^\\| (`.*?`) \\|").FindAllStringSubmatch(ours, -1) {
		for _, text := range strings.Split(strings.Trim(row[1], "`"), "`, `") {
			if !strings.Contains(source, strings.TrimSuffix(text, "…")) {
				t.Errorf("docs/errors.md has `%s`, which nobody says", text)
			}
		}
	}
	if found < 60 {
		t.Errorf("found %d errors only: the search has gone blind", found)
	}
	for _, text := range []string{wrongPass, emulator.ErrThrottled, emulator.ErrIAMUnavailable, emulator.ErrUnavailable, "NOAUTH Authentication required."} {
		if !known(text) {
			t.Errorf("docs/errors.md lacks the cache's `%s`", text)
		}
	}
}

// errorTexts are what errors.New and fmt.Errorf are given.
func errorTexts(t *testing.T, file string) (texts []string) {
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		function, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || function.Sel.Name != "New" && function.Sel.Name != "Errorf" {
			return true
		}
		if of, ok := function.X.(*ast.Ident); !ok || of.Name != "errors" && of.Name != "fmt" {
			return true
		}
		if literal, ok := call.Args[0].(*ast.BasicLit); ok {
			text, err := strconv.Unquote(literal.Value)
			if err != nil {
				t.Fatal(err)
			}
			texts = append(texts, text)
		}
		return true
	})
	return texts
}
