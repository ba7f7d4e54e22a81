package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/alecthomas/kong"
)

type manCommand struct {
	Directory string `arg:"" type:"existingdir" help:"Directory for rediam.1 and a page for each command."`
}

func (c *manCommand) Run(parser *kong.Kong) error {
	pages := append([]*kong.Node{parser.Model.Node}, parser.Model.Leaves(true)...)
	for _, node := range pages {
		file := filepath.Join(c.Directory, pageName(node)+".1")
		if err := os.WriteFile(file, []byte(page(node, pages)), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// pageName is what man looks for when it is called as "man rediam token".
func pageName(node *kong.Node) string { return strings.ReplaceAll(node.FullPath(), " ", "-") }

// page is the help of a command in the language of man(7). The program has one page
// that names those of the commands.
func page(node *kong.Node, pages []*kong.Node) string {
	var b strings.Builder
	name := pageName(node)
	fmt.Fprintf(&b, ".TH %s 1 \"\" \"rediam %s\"\n.nh\n", strings.ToUpper(name), version())
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", roff(name), roff(strings.TrimSuffix(node.Help, ".")))
	root := node.Parent == nil
	called := strings.TrimSpace("rediam " + node.Summary())
	if root {
		called = "rediam <command> [flags]"
	}
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n", roff(called))
	if node.Detail != "" || len(node.Positional) > 0 {
		fmt.Fprint(&b, ".SH DESCRIPTION\n", paragraphs(node.Detail))
	}
	for _, argument := range node.Positional {
		fmt.Fprintf(&b, ".TP\n.I %s\n%s\n", roff(argument.Summary()), roff(argument.Help))
	}
	if root {
		fmt.Fprint(&b, ".SH COMMANDS\n")
		for _, command := range pages[1:] {
			fmt.Fprintf(&b, ".TP\n.BR %s (1)\n%s\n", roff(pageName(command)), roff(command.Help))
		}
	}
	fmt.Fprint(&b, ".SH OPTIONS\n")
	for _, flags := range node.AllFlags(true) {
		for _, flag := range flags {
			fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", roff(flag.String()), roff(kong.DefaultHelpValueFormatter(flag.Value)))
		}
	}
	if root {
		fmt.Fprint(&b, ".SH EXIT STATUS\n0: done. 1: failed, or found something. 2: wrong usage. That of rediam exec is its program's.\n")
	} else {
		fmt.Fprint(&b, ".SH SEE ALSO\n.BR rediam (1)\n")
	}
	return b.String()
}

// paragraphs keeps the lines of examples, which are indented, as they are.
func paragraphs(text string) string {
	var b strings.Builder
	for i, part := range strings.Split(strings.TrimSpace(text), "\n\n") {
		if i > 0 {
			fmt.Fprint(&b, ".PP\n")
		}
		if strings.HasPrefix(part, "  ") { // an example
			fmt.Fprintf(&b, ".nf\n%s\n.fi\n", roff(part))
		} else {
			fmt.Fprintln(&b, roff(part))
		}
	}
	return b.String()
}

// roff keeps a text from being taken for requests: a backslash, and a line that
// begins with a dot or an apostrophe. A "-" becomes the one that can be copied.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "\n.", "\n\\&.", "\n'", "\n\\&'").Replace(text)
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		text = `\&` + text
	}
	return text
}
