package main

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

//go:embed completion.bash
var bashCompletion string

//go:embed completion.zsh
var zshCompletion string

//go:embed completion.fish
var fishCompletion string

type completionCommand struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

func (completionCommand) Help() string {
	return `The script asks rediam for each completion, so it fits every version.

Example, for ~/.bashrc, ~/.zshrc (after compinit) and ~/.config/fish/config.fish:

  source <(rediam completion bash)
  source <(rediam completion zsh)
  rediam completion fish | source`
}

func (c *completionCommand) Run(t *terminal) error {
	script := map[string]string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}[c.Shell]
	_, err := fmt.Fprint(t.stdout, script)
	return err
}

// completeCommand is what the scripts ask. It fails, without a word, where a file name
// or what only the user knows has to follow.
type completeCommand struct {
	Shell string   `arg:"" enum:"bash,zsh,fish"`
	Words []string `arg:""`
}

func (c *completeCommand) Run(t *terminal, parser *kong.Kong) error {
	// A shell may pass the words as lines of one argument.
	words := strings.Split(strings.Join(c.Words, "\n"), "\n")
	found := suggest(parser.Model.Node, words)
	if len(found) == 0 {
		return exitStatus(1)
	}
	for _, s := range found {
		line := map[string]string{"bash": s.word, "zsh": s.word + ":" + s.help, "fish": s.word + "\t" + s.help}[c.Shell]
		if _, err := fmt.Fprintln(t.stdout, line); err != nil {
			return err
		}
	}
	return nil
}

// A suggestion is a word with its help.
type suggestion struct{ word, help string }

// suggest finds what the last of the words behind rediam may become.
func suggest(node *kong.Node, words []string) (found []suggestion) {
	before, last := words[:len(words)-1], words[len(words)-1]
	arguments := 0
	for i := 0; i < len(before); i++ {
		flag, child := flagOf(node, before[i]), childOf(node, before[i])
		switch {
		case flag != nil && !flag.IsBool() && !strings.Contains(before[i], "="):
			if i++; i == len(before) {
				return values(flag.Value, "", last)
			}
		case flag != nil:
		case child != nil:
			node = child
		case before[i] == "--":
			return nil
		default:
			arguments++
		}
	}
	if arguments > 0 && node.Positional != nil && node.Positional[0].PassthroughMode != kong.PassThroughModeNone {
		return nil // flags of another program
	}
	if name, value, is := strings.Cut(last, "="); is && flagOf(node, name) != nil {
		return values(flagOf(node, name).Value, name+"=", value)
	}
	for _, child := range node.Children {
		if arguments == 0 && !child.Hidden && strings.HasPrefix(child.Name, last) {
			found = append(found, suggestion{child.Name, child.Help})
		}
	}
	if arguments < len(node.Positional) && !strings.HasPrefix(last, "-") {
		return append(found, values(node.Positional[arguments], "", last)...)
	}
	if len(node.Children) == 0 || strings.HasPrefix(last, "-") {
		for _, flag := range slices.Concat(node.AllFlags(true)...) {
			if name := "--" + flag.Name; strings.HasPrefix(name, last) {
				found = append(found, suggestion{name, flag.Help})
			}
		}
	}
	return found
}

// values are those of an enumeration, each behind a prefix.
func values(v *kong.Value, prefix, begin string) (found []suggestion) {
	for _, value := range v.EnumSlice() {
		if value != "" && strings.HasPrefix(value, begin) {
			found = append(found, suggestion{word: prefix + value})
		}
	}
	return found
}

func flagOf(node *kong.Node, word string) *kong.Flag {
	name, _, _ := strings.Cut(word, "=")
	for _, flag := range slices.Concat(node.AllFlags(false)...) {
		long := append([]string{flag.Name}, flag.Aliases...)
		if name == "-"+string(flag.Short) || strings.HasPrefix(name, "--") && slices.Contains(long, name[2:]) {
			return flag
		}
	}
	return nil
}

func childOf(node *kong.Node, name string) *kong.Node {
	if i := slices.IndexFunc(node.Children, func(c *kong.Node) bool { return c.Name == name }); i >= 0 {
		return node.Children[i]
	}
	return nil
}
