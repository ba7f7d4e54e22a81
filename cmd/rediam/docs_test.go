package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/alecthomas/kong"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/memorydb"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"

	"github.com/rediam/rediam/emulator"
	"github.com/rediam/rediam/internal/installed"
)

const root = "../../"

// pages are what people read, by path.
func pages(t *testing.T) map[string]string {
	t.Helper()
	pages := map[string]string{}
	for _, pattern := range []string{"*.md", "docs/*.md", "*/README.md", "*/*/README.md"} {
		files, err := filepath.Glob(root + pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			pages[strings.TrimPrefix(file, root)] = string(text)
		}
	}
	if len(pages) < 20 {
		t.Fatalf("found %d pages only: the search has gone blind", len(pages))
	}
	return pages
}

var fenced = regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```$")

// blocks are the texts of a page that are for a shell, or may be.
func blocks(page string) (blocks []string) {
	for _, block := range fenced.FindAllStringSubmatch(page, -1) {
		if slices.Contains([]string{"", "sh", "bash", "shell", "console"}, block[1]) {
			blocks = append(blocks, block[2])
		}
	}
	return blocks
}

var prompt = regexp.MustCompile(`(?m)^\$ `)

// typed is what of a block is typed: the lines behind a prompt, with those that they go
// on in, and all of it where there is no prompt.
func typed(block string) string {
	if !prompt.MatchString(block) {
		return block
	}
	return prompt.ReplaceAllString(strings.Join(regexp.MustCompile(`(?m)^\$ (.*\\\n)*.*\n`).FindAllString(block, -1), ""), "")
}

// calls are the words of every program that a text in the language of shells starts,
// also within $(…) and <(…). Every variable has a value that nothing but a name could have.
func calls(text string) (calls [][]string, err error) {
	file, err := syntax.NewParser().Parse(strings.NewReader(text), "")
	if err != nil {
		return nil, err
	}
	config := &expand.Config{
		Env:       expand.FuncEnviron(func(string) string { return "variable" }),
		CmdSubst:  func(io.Writer, *syntax.CmdSubst) error { return nil },
		ProcSubst: func(*syntax.ProcSubst) (string, error) { return "file", nil },
	}
	syntax.Walk(file, func(node syntax.Node) bool {
		if err != nil {
			return false
		}
		if call, ok := node.(*syntax.CallExpr); ok && len(call.Args) > 0 {
			var words []string
			if words, err = expand.Fields(config, call.Args...); err != nil {
				return false
			}
			if len(words) > 0 { // more than a $(…), which is here without an answer
				calls = append(calls, words)
			}
		}
		return true
	})
	return calls, err
}

// What may stand before rediam where it is started: that of cron among it.
var before = regexp.MustCompile(`^(go run |time |env |exec |sudo |nohup |[0-9*]+ )*$`)

// arguments are those of rediam, if that is what is started.
func arguments(words []string) (args []string, ok bool) {
	i := slices.IndexFunc(words, func(word string) bool { return path.Base(word) == "rediam" })
	if i < 0 || !before.MatchString(strings.Join(append(slices.Clone(words[:i]), ""), " ")) {
		return nil, false
	}
	return words[i+1:], true
}

// parsed is what the program says of its arguments before it does anything.
func parsed(args []string) error {
	helped := false
	parser, err := kong.New(new(cli), kong.Writers(io.Discard, io.Discard), kong.Exit(func(int) { helped = true }))
	if err != nil {
		return err
	}
	if _, err := parser.Parse(args); !helped {
		return err
	}
	return nil
}

func TestEveryCommandOfThePagesIsOneThatTheProgramTakes(t *testing.T) {
	found, inText := 0, 0
	for name, page := range pages(t) {
		if all := regexp.MustCompile("(?m)^\\s*(```|~~~)").FindAllString(page, -1); len(all) != 2*len(fenced.FindAllString(page, -1)) {
			t.Errorf("%s has blocks that are not looked at: begin and end them with ``` at the start of a line", name)
		}
		for _, block := range blocks(page) {
			all, err := calls(typed(block))
			if err != nil && (prompt.MatchString(block) || regexp.MustCompile(`(?m)^\s*(go run \S*/)?rediam `).MatchString(block)) {
				t.Errorf("%s: %v in\n%s", name, err, block)
			}
			for _, words := range all {
				if args, ok := arguments(words); ok {
					found++
					if err := parsed(args); err != nil {
						t.Errorf("%s: %q: %v", name, words, err)
					}
				}
			}
		}
		// In a sentence a command may lack what it needs, but nothing that it has is unknown.
		for _, words := range inline(page) {
			if args, ok := arguments(words); ok {
				inText++
				if err := parsed(args); err != nil && !lacks.MatchString(err.Error()) {
					t.Errorf("%s: %q: %v", name, words, err)
				}
			}
		}
	}
	if found < 40 || inText < 80 {
		t.Errorf("found %d commands in blocks and %d in sentences: the search has gone blind", found, inText)
	}
}

var lacks = regexp.MustCompile(`^(--\S+: )?(missing|expected) `)

// inline are the commands in the sentences of a page.
func inline(page string) (all [][]string) {
	for _, code := range regexp.MustCompile("`([^`\n]+)`").FindAllStringSubmatch(fenced.ReplaceAllString(page, ""), -1) {
		if found, err := calls(strings.ReplaceAll(code[1], `\|`, "|")); err == nil {
			all = append(all, found...)
		}
	}
	return all
}

func TestEveryTargetAndTestOfThePagesExists(t *testing.T) {
	makefile, err := os.ReadFile(root + "Makefile")
	if err != nil {
		t.Fatal(err)
	}
	targets, tests := 0, 0
	for name, page := range pages(t) {
		all := inline(page)
		for _, block := range blocks(page) {
			found, _ := calls(typed(block))
			all = append(all, found...)
		}
		for _, words := range all {
			switch {
			case words[0] == "make":
				for _, target := range words[1:] {
					targets++
					if !strings.Contains(target, "=") && !strings.Contains(string(makefile), "\n"+target+":") {
						t.Errorf("%s: there is no make %s", name, target)
					}
				}
			case words[0] == "go" && len(words) > 2:
				tests++
				goes(t, name, words)
			}
		}
	}
	if targets < 20 || tests < 20 {
		t.Errorf("found %d targets of make and %d commands of go: the search has gone blind", targets, tests)
	}
}

// clients are those of AWS whose operations and members are known here.
var clients = map[string]reflect.Type{
	"ec2":            reflect.TypeFor[*ec2.Client](),
	"elasticache":    reflect.TypeFor[*elasticache.Client](),
	"iam":            reflect.TypeFor[*iam.Client](),
	"memorydb":       reflect.TypeFor[*memorydb.Client](),
	"secretsmanager": reflect.TypeFor[*secretsmanager.Client](),
	"sts":            reflect.TypeFor[*sts.Client](),
}

func TestEveryCallOfTheAWSCLIInThePagesExists(t *testing.T) {
	found := 0
	same := func(kebab, name string) bool { return strings.EqualFold(strings.ReplaceAll(kebab, "-", ""), name) }
	for name, page := range pages(t) {
		for _, block := range blocks(page) {
			all, _ := calls(typed(block))
			for _, words := range all {
				if words[0] != "aws" || len(words) < 3 || clients[words[1]] == nil {
					continue
				}
				found++
				client, members := clients[words[1]], []string(nil)
				for i := range client.NumMethod() {
					if m := client.Method(i); same(words[2], m.Name) {
						for _, field := range reflect.VisibleFields(m.Type.In(2).Elem()) { // after the receiver and the context
							members = append(members, field.Name)
						}
					}
				}
				if members == nil {
					t.Errorf("%s: %q: AWS has no such operation", name, words)
					continue
				}
				for _, word := range words[3:] {
					flag, is := strings.CutPrefix(word, "--")
					if is && flag != "query" && flag != "output" && !slices.ContainsFunc(members, func(member string) bool { return same(flag, member) }) {
						t.Errorf("%s: %q: AWS has no %s", name, words, word)
					}
				}
			}
		}
	}
	if found < 9 {
		t.Errorf("found %d calls only: the search has gone blind", found)
	}
}

// goes reports packages that are not there, and tests that they do not have.
func goes(t *testing.T, page string, words []string) {
	t.Helper()
	var sources []byte
	for _, word := range words {
		if dir, all := strings.CutSuffix(word, "..."); !all && (word == "." || strings.HasPrefix(word, "./")) {
			files, err := filepath.Glob(root + dir + "/*.go")
			if err != nil || len(files) == 0 {
				t.Errorf("%s: %q: %s is no package", page, words, dir)
			}
			for _, file := range files {
				text, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				sources = append(sources, text...)
			}
		}
	}
	for flag, kind := range map[string]string{"-run": "Test", "-bench": "Benchmark"} {
		i := slices.Index(words, flag) + 1
		if i == 0 || words[i] == "^$" || sources == nil {
			continue
		}
		pattern, _, _ := strings.Cut(words[i], "/")
		function := regexp.MustCompile(`(?m)^func (`+kind+`\w+)\(`).FindAllSubmatch(sources, -1)
		if !slices.ContainsFunc(function, func(f [][]byte) bool { return regexp.MustCompile(pattern).Match(f[1]) }) {
			t.Errorf("%s: %q: no %s has that name", page, words, kind)
		}
	}
}

func TestEveryLinkOfThePagesLeadsSomewhere(t *testing.T) {
	pages, found := pages(t), 0
	for name, page := range pages {
		for _, link := range regexp.MustCompile(`\]\(([^)\s]+)\)`).FindAllStringSubmatch(fenced.ReplaceAllString(page, ""), -1) {
			if strings.Contains(link[1], "://") {
				continue
			}
			found++
			file, anchor, _ := strings.Cut(link[1], "#")
			target := path.Join(path.Dir(name), file)
			if file == "" {
				target = name
			}
			if _, err := os.Stat(root + target); err != nil {
				t.Errorf("%s: %v", name, err)
			} else if anchor != "" && !slices.Contains(anchors(pages[target]), anchor) {
				t.Errorf("%s: %s has no heading for #%s", name, target, anchor)
			}
		}
	}
	if found < 100 {
		t.Errorf("found %d links only: the search has gone blind", found)
	}
}

// anchors are the names that GitHub gives to the headings of a page.
func anchors(page string) (anchors []string) {
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(fenced.ReplaceAllString(page, ""), -1) {
		anchors = append(anchors, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			}
			return -1
		}, heading[1]))
	}
	return anchors
}

func TestTheREADMEIsShort(t *testing.T) {
	if lines := strings.Count(pages(t)["README.md"], "\n"); lines > 150 {
		t.Errorf("it has %d lines, want at most 150", lines)
	}
}

// What the pages show of a terminal is what it shows: … stands for any text, and in a
// line of its own for any lines. A command without an output is run for the next ones.
func TestWhatThePagesShowIsWhatTheProgramSays(t *testing.T) {
	shown := regexp.MustCompile(`(?m)^\$ ((?:.*\\\n)*.*)\n((?:[^$\n].*\n|\n)*)`)
	for page, want := range map[string]int{"README.md": 4, "docs/commands.md": 5} {
		t.Run(page, func(t *testing.T) {
			srv := emulator.Start(t)
			dir := t.TempDir()
			found := 0
			for _, block := range blocks(pages(t)[page]) {
				for _, show := range shown.FindAllStringSubmatch(block, -1) {
					command, says := strings.ReplaceAll(show[1], "go run ./cmd/rediam demo", "rediam demo --once --engine embedded"), show[2]
					if regexp.MustCompile(`^(make|go|aws|\.|rediam emulate) `).MatchString(command) {
						continue
					}
					if strings.Contains(command, "redis-cli") {
						installed.Path(t, "redis-cli")
					}
					found++
					cmd := exec.Command("sh", "-c", command)
					cmd.Dir, cmd.Env = dir, append(os.Environ(), srv.Environ()...)
					out, err := cmd.CombinedOutput()
					pattern := strings.ReplaceAll(regexp.QuoteMeta(strings.TrimSpace(says)), "…", ".*")
					pattern = regexp.MustCompile(`(?m)^\.\*$`).ReplaceAllString(pattern, "(?s:.*)")
					if !regexp.MustCompile(`^` + pattern + `$`).Match(bytes.TrimSpace(out)) {
						t.Errorf("%s\n%s(%v), the page has\n%s", command, out, err, says)
					}
				}
			}
			if found != want {
				t.Errorf("ran %d commands, want %d", found, want)
			}
		})
	}
}

// Every command's own help has an example, which is held to the same.
func TestEveryExampleOfTheHelpIsOneThatTheProgramTakes(t *testing.T) {
	parser, err := kong.New(new(cli))
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range parser.Model.Leaves(true) {
		found := 0
		for _, example := range regexp.MustCompile(`(?m)(^  .*\n?)+`).FindAllString(command.Detail, -1) {
			all, err := calls(example)
			if err != nil {
				t.Errorf("%s: %v in\n%s", command.FullPath(), err, example)
			}
			for _, words := range all {
				if args, ok := arguments(words); ok {
					found++
					if err := parsed(args); err != nil {
						t.Errorf("%s: %q: %v", command.FullPath(), words, err)
					}
				}
			}
		}
		if found == 0 {
			t.Errorf("%s: its help has no example", command.FullPath())
		}
	}
}

// What docs/emulator.md does with a token of the emulator's own issuer.
func TestTheIdentityProviderOfThePageAboutTheEmulatorWorks(t *testing.T) {
	for _, program := range []string{"aws", "curl", "jq"} {
		installed.Path(t, program)
	}
	all := blocks(pages(t)["docs/emulator.md"])
	i := slices.IndexFunc(all, func(block string) bool { return strings.Contains(block, "create-open-id-connect-provider") })
	if i < 0 {
		t.Fatal("the page has no such block")
	}
	srv := emulator.Start(t)
	provider := "arn:aws:iam::123456789012:oidc-provider/" + strings.TrimPrefix(srv.Issuer(), "https://")
	if err := srv.PutRole(emulator.Role{Name: "pod", Trust: `{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Principal": {"Federated": "` + provider + `"}, "Action": "sts:AssumeRoleWithWebIdentity"}}`}); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-ec", all[i])
	cmd.Dir = t.TempDir()
	cmd.Env = append(append(os.Environ(), srv.Environ()...), "HOME="+cmd.Dir)
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "assumed-role/pod/") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestEveryDependencyHasItsLine(t *testing.T) {
	module, err := os.ReadFile(root + "go.mod")
	if err != nil {
		t.Fatal(err)
	}
	page := pages(t)["docs/dependencies.md"]
	found := regexp.MustCompile(`(?m)^\t(\S+) v\S+$`).FindAllStringSubmatch(string(module), -1)
	for _, direct := range found {
		name := direct[1]
		if short, ok := strings.CutPrefix(name, "github.com/aws/aws-sdk-go-v2/"); ok {
			name = "…/" + short
		}
		if !strings.Contains(page, "`"+name+"`") {
			t.Errorf("%s has none", name)
		}
	}
	if len(found) < 20 {
		t.Errorf("found %d dependencies only: the search has gone blind", len(found))
	}
}
