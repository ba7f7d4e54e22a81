package acl

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/rediam/rediam/internal/command"
)

// maxHints bounds what Lint says of one access string.
const maxHints = 10

// Lint says in sentences what a broken or suspicious access string probably
// meant, by the number of the rule as Parse does. It has nothing to say of most
// that Parse refuses with a clear reason. It repeats command names only: other
// words may be a password in the wrong place.
func Lint(s string) []string {
	if len(s) > MaxLength || !utf8.ValidString(s) {
		return nil
	}
	var hints []string
	rules := words(s)
	switched, off := len(rules) == 0, false
	for i, rule := range rules {
		name := lower(strings.Trim(rule, marks+","))
		switched = switched || name == "on" || name == "off"
		off = off || name == "off"
		if problem := lintRule(rule, rules[i+1:], off); problem != "" && len(hints) < maxHints {
			hints = append(hints, fmt.Sprintf("rule %d of the access string %s", i+1, problem))
		}
	}
	if !switched && len(hints) < maxHints {
		hints = append(hints, "the access string says neither on nor off, and a user is off without on: write on before the other rules")
	}
	return hints
}

const (
	marks     = "\"'`“”„‟‘’‚‛«»"
	dashes    = "‐‑‒–—―−"
	webSpaces = "\u00a0\u2002\u2003\u2009\u200b\u202f\u2060\u3000\ufeff"
)

func lintRule(rule string, next []string, off bool) string {
	first, size := utf8.DecodeRuneInString(rule)
	last, _ := utf8.DecodeLastRuneInString(rule)
	bare := lower(strings.TrimSuffix(rule, ","))
	switch {
	case strings.Contains(bare, "[email") && (strings.Contains(bare, "protected]") || len(next) > 0 && strings.HasPrefix(lower(next[0]), "protected]")):
		return mailAddress(bare, next, off)
	case strings.ContainsAny(rule, webSpaces) && first != '~' && first != '%':
		return "has a space of a word processor or web page in it: write an ordinary space between rules"
	case strings.ContainsRune(marks, first) || strings.ContainsRune(marks, last) && first != '~' && first != '%':
		return "has a quotation mark in it: leave it out, and write ' or \" around the whole string where a shell or JSON wants it"
	case strings.ContainsRune(dashes, first):
		return "begins with a dash of a word processor or web page: write - before the command or category"
	case strings.HasSuffix(rule, ",") && first != '~' && first != '%' && first != '&':
		return "ends in a comma: write a space alone between rules"
	case rule == "*":
		return "is a pattern without a sign: write ~* for all keys, or &* for all channels"
	case first == '@' && len(rule) > size:
		return "is a category without a sign: write + before it to allow its commands, or - to deny them"
	}
	if _, ok := command.Named(bare); ok && bare != "on" && bare != "off" && bare != "reset" {
		return fmt.Sprintf("is a command without a sign: write +%s to allow it, or -%s to deny it", bare, bare)
	}
	return ""
}

// mailAddress is about "[email protected]", which web pages show in place of what
// looks like a mail address to the filter of their content network: -@all.
func mailAddress(bare string, next []string, off bool) string {
	_, after, _ := strings.Cut(bare+" "+strings.Join(next, " "), "protected]")
	after = strings.TrimLeft(after, " "+webSpaces)
	meant := "-@all if commands are allowed one by one, +@all if all are"
	switch {
	case after == "" && off:
		meant = "-@all, to allow no commands to a user that is off"
	case after == "":
		meant = "+@all, or another category, to allow its commands"
	case after[0] == '+':
		meant = "-@all, to allow no commands but those that follow"
	case after[0] == '-':
		meant = "+@all, to allow all commands but those that follow"
	}
	return "was taken for a mail address by the web page that it comes from: write " + meant
}
