package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/rediam/rediam/internal/acl"
	"github.com/rediam/rediam/internal/command"
	"github.com/rediam/rediam/internal/resp"
)

// fewCommands is how many are named one by one.
const fewCommands = 12

type aclCommand struct {
	Lint    aclLintCommand    `cmd:"" help:"Say what is wrong with an access string."`
	Explain aclExplainCommand `cmd:"" help:"Say what an access string allows."`
}

type aclLintCommand struct {
	Access string `arg:"" name:"access-string" help:"In quotation marks; - is standard input."`
	Format string `enum:"text,json" default:"text" help:"text or json."`
}

func (aclLintCommand) Help() string {
	return `A line for each thing that is wrong. Exits 1 if there is one. A string that begins with - wants -- before it.

Example:

  rediam acl lint 'on ~app:* [email protected] +@read'`
}

func (c *aclLintCommand) Run(t *terminal) error {
	access, err := t.accessString(c.Access)
	if err != nil {
		return err
	}
	findings := acl.Lint(access)
	if _, err := acl.Parse(access); err != nil {
		rule, _, _ := strings.Cut(err.Error(), ":")
		if !slices.ContainsFunc(findings, func(f string) bool { return strings.HasPrefix(f, rule+" ") }) {
			findings = append(findings, err.Error())
		}
	}
	if c.Format == "json" {
		err = json.NewEncoder(t.stdout).Encode(map[string][]string{"findings": append([]string{}, findings...)})
	}
	for _, f := range findings {
		if c.Format == "text" {
			_, err = fmt.Fprintln(t.stdout, f)
		}
	}
	if err == nil && len(findings) > 0 {
		err = fmt.Errorf("problems: %d", len(findings))
	}
	return err
}

type aclExplainCommand struct {
	Access  string   `arg:"" name:"access-string" help:"In quotation marks; - is standard input."`
	Command []string `sep:"none" placeholder:"'GET app:1'" help:"Say also whether it allows this; again for more."`
	Format  string   `enum:"text,json" default:"text" help:"text or json."`
}

func (aclExplainCommand) Help() string {
	return `Exits 1 if a --command is not allowed. A script is judged by the keys that it declares. A string that
begins with - wants -- before it, after the flags.

Example:

  rediam acl explain 'on ~app:* +@read' --command 'GET app:1'`
}

// A verdict is on one request.
type verdict struct {
	Request string `json:"request"`
	Allowed bool   `json:"allowed"`
	Reason  string `json:"reason,omitempty"` // why not
}

func (c *aclExplainCommand) Run(t *terminal) error {
	text, err := t.accessString(c.Access)
	if err != nil {
		return err
	}
	access, err := acl.Parse(text)
	if err != nil {
		return hinted{err, "rediam acl lint says what it may have meant"}
	}
	verdicts, denied := []verdict{}, 0
	for _, request := range c.Command {
		v, err := judge(access, request)
		if err != nil {
			return usageError{fmt.Errorf("--command: %w", err)}
		}
		if verdicts = append(verdicts, v); !v.Allowed {
			denied++
		}
	}
	if c.Format == "json" {
		err = json.NewEncoder(t.stdout).Encode(struct {
			acl.Explanation
			Requests []verdict `json:"requests"`
		}{access.Explain(), verdicts})
	} else {
		err = explainAccess(t.stdout, access.Explain(), verdicts)
	}
	if err == nil && denied > 0 {
		err = fmt.Errorf("requests that are not allowed: %d", denied)
	}
	return err
}

// accessString is an argument, or standard input without its line end.
func (t *terminal) accessString(argument string) (string, error) {
	if argument != "-" {
		return argument, nil
	}
	text, err := t.read("-")
	return strings.TrimRight(string(text), "\r\n"), err
}

// judge decides on a request, which is written as redis-cli takes it.
func judge(access *acl.Access, request string) (verdict, error) {
	v := verdict{Request: request}
	arguments, err := resp.SplitInline([]byte(request))
	if err != nil {
		return v, err
	}
	if len(arguments) == 0 {
		return v, errors.New("there is no command in it")
	}
	if c, ok := command.Lookup(arguments); ok && (c.Arity > 0 && len(arguments) != c.Arity || len(arguments) < -c.Arity) {
		return v, fmt.Errorf("wrong number of arguments for %s", c.Name)
	}
	allowed := access.Allow(arguments)
	v.Allowed = allowed.OK && access.On()
	switch {
	case v.Allowed:
	case allowed.OK:
		v.Reason = "the user is off"
	case allowed.Denied == acl.Unknown:
		v.Reason = "there is no such command"
	case allowed.Denied == acl.Command && acl.Prohibited(allowed.Object):
		v.Reason = "AWS denies " + allowed.Object + " to everybody"
	default:
		v.Reason = fmt.Sprintf("the %s %q", map[acl.Denied]string{acl.Command: "command", acl.Key: "key", acl.Channel: "channel"}[allowed.Denied], allowed.Object)
	}
	return v, nil
}

func explainAccess(out io.Writer, e acl.Explanation, verdicts []verdict) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "as AWS prints it\t%s\n", e.Access)
	fmt.Fprintf(w, "user\t%s\n", map[bool]string{true: "on: may sign in", false: "off: may not sign in"}[e.On])
	for i, p := range e.Permissions {
		if i > 0 {
			fmt.Fprintf(w, "or, with selector %d\t\n", i)
		}
		fmt.Fprintf(w, "keys\t%s\nchannels\t%s\ncommands\t%s\n", keysInWords(p.Keys), patternsInWords(p.Channels), commandsInWords(p))
	}
	for _, v := range verdicts {
		answer := "allowed"
		if !v.Allowed {
			answer = "denied: " + v.Reason
		}
		fmt.Fprintf(w, "%q\t%s\n", v.Request, answer)
	}
	return w.Flush()
}

func keysInWords(keys []acl.KeyPattern) string {
	var words []string
	for _, k := range keys {
		switch pattern := patternsInWords([]string{k.Pattern}); {
		case k.Read && k.Write:
			words = append(words, pattern)
		case k.Read:
			words = append(words, pattern+" to read")
		default:
			words = append(words, pattern+" to write")
		}
	}
	return orNone(words)
}

func patternsInWords(patterns []string) string {
	var words []string
	for _, p := range patterns {
		if p == "*" {
			p = "all"
		}
		words = append(words, p)
	}
	return orNone(words)
}

func orNone(words []string) string {
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, ", ")
}

// commandsInWords follows the rules in their order: each changes what those before
// it have come to.
func commandsInWords(p acl.Permission) string {
	words := map[string]string{"-@all": "none", "+@all": "all"}[p.Rules[0]]
	for _, rule := range p.Rules[1:] {
		words += map[byte]string{'+': ", and ", '-': ", but not "}[rule[0]]
		if rule[1] == '@' {
			words += "those of "
		}
		words += rule[1:]
	}
	words = fmt.Sprintf("%d: %s", len(p.Commands), words)
	if n := len(p.Commands); n > 0 && n <= fewCommands && len(p.Rules) > 1 {
		words += " (" + strings.Join(p.Commands, " ") + ")"
	}
	return words
}
