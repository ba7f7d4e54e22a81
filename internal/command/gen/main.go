//go:build ignore

// Gen writes command/table.go from what Redis OSS 7.0 and Valkey 8.1 answer to
// COMMAND. It starts both on Unix sockets in a temporary directory:
//
//	REDIAM_VALKEY=/path/to/valkey-server go generate ./internal/command
package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"go/format"
	"log"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

func main() {
	log.SetFlags(0)
	valkey := flag.String("valkey", cmp.Or(os.Getenv("REDIAM_VALKEY"), "valkey-server"), "Valkey 8.1 server")
	server := flag.String("redis", "redis-server", "Redis OSS 7.0 server")
	out := flag.String("o", "table.go", "file to write")
	flag.Parse()
	if err := run(*server, *valkey, *out); err != nil {
		log.Fatal("gen: ", err)
	}
}

func run(server, valkey, out string) error {
	old, err := ask(server, "v=7.0.")
	if err != nil {
		return err
	}
	rows, err := ask(valkey, "v=8.1.")
	if err != nil {
		return err
	}
	for name, r := range rows {
		r.engines = "Valkey"
		if _, ok := old[name]; ok {
			r.engines = "Redis | Valkey"
		}
	}
	for name, r := range old {
		if _, ok := rows[name]; !ok {
			r.engines = "Redis"
			rows[name] = r
		}
	}
	return write(rows, out)
}

type row struct{ fields, engines string }

// ask starts an engine, which must be of the wanted version, and returns its commands.
func ask(server, version string) (map[string]*row, error) {
	v, err := exec.Command(server, "--version").Output()
	if err != nil {
		return nil, err
	}
	if !bytes.Contains(v, []byte(version)) {
		return nil, fmt.Errorf("%s is not %s*", server, version)
	}
	dir, err := os.MkdirTemp("", "gen")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "s")
	cmd := exec.Command(server, "--port", "0", "--unixsocket", socket, "--save", "", "--dir", dir)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	db := redis.NewClient(&redis.Options{Network: "unix", Addr: socket, Protocol: 2})
	defer db.Close()
	for db.Ping(ctx).Err() != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%s does not answer", server)
		}
		time.Sleep(20 * time.Millisecond)
	}
	reply, err := db.Do(ctx, "command").Slice()
	if err != nil {
		return nil, err
	}
	rows := make(map[string]*row)
	return rows, addRows(rows, reply)
}

// addRows reads a COMMAND reply: name, arity, flags, three legacy key positions,
// categories, tips, key specifications, subcommands.
func addRows(rows map[string]*row, commands []any) error {
	for _, c := range commands {
		c := c.([]any)
		name, subcommands := c[0].(string), c[9].([]any)
		var b strings.Builder
		fmt.Fprintf(&b, "Arity: %d", c[1])
		if flags := idents("Flag", c[2].([]any)); flags != "" {
			fmt.Fprintf(&b, ", Flags: %s", flags)
		}
		fmt.Fprintf(&b, ", Categories: %s", idents("Category", c[6].([]any)))
		if len(subcommands) > 0 {
			b.WriteString(", Container: true")
		}
		keys, err := keySpecs(c[8].([]any))
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if keys != "" {
			fmt.Fprintf(&b, ", keys: []keySpec{%s}", keys)
		}
		rows[name] = &row{fields: b.String()}
		if err := addRows(rows, subcommands); err != nil {
			return err
		}
	}
	return nil
}

// spelling has the words of an identifier that are not just capitalised.
var spelling = map[string]string{
	"denyoom": "DenyOOM", "hyperloglog": "HyperLogLog", "movablekeys": "MovableKeys",
	"noscript": "NoScript", "pubsub": "PubSub", "readonly": "ReadOnly", "sortedset": "SortedSet",
}

func idents(prefix string, names []any) string {
	var out []string
	for _, n := range names {
		ident := prefix
		for word := range strings.SplitSeq(strings.TrimPrefix(n.(string), "@"), "_") {
			ident += cmp.Or(spelling[word], strings.ToUpper(word[:1])+word[1:])
		}
		out = append(out, ident)
	}
	slices.Sort(out)
	return strings.Join(out, " | ")
}

// keySpecs writes the key specifications of one command: none at all if one of
// them is not reliable, since AppendKeys treats such commands by name.
func keySpecs(specs []any) (string, error) {
	var out []string
	for _, s := range specs {
		s := pairs(s)
		flags := s["flags"].([]any)
		if slices.Contains(flags, "not_key") {
			continue
		}
		begin, find := pairs(s["begin_search"]), pairs(s["find_keys"])
		if begin["type"] == "unknown" || slices.Contains(flags, "incomplete") || slices.Contains(flags, "variable_flags") {
			return "", nil
		}
		text, err := keySpec(pairs(begin["spec"]), find["type"].(string), pairs(find["spec"]), access(flags))
		if err != nil {
			return "", err
		}
		out = append(out, text)
	}
	return strings.Join(out, ", "), nil
}

func keySpec(begin map[string]any, kind string, find map[string]any, access string) (string, error) {
	var b strings.Builder
	b.WriteString("{")
	if word, ok := begin["keyword"]; ok {
		if begin["startfrom"].(int64) < 0 {
			return "", errors.New("keyword is searched from the end")
		}
		fmt.Fprintf(&b, "first: %d, keyword: %q", begin["startfrom"], strings.ToLower(word.(string)))
	} else {
		fmt.Fprintf(&b, "first: %d", begin["index"])
	}
	step := find["keystep"]
	switch kind {
	case "range":
		for _, f := range [][2]string{{"last", "lastkey"}, {"limit", "limit"}} {
			if n := find[f[1]].(int64); n != 0 {
				fmt.Fprintf(&b, ", %s: %d", f[0], n)
			}
		}
	case "keynum":
		if find["keynumidx"] != int64(0) || find["firstkey"] != int64(1) || step != int64(1) {
			return "", errors.New("unexpected place of the number of keys")
		}
		b.WriteString(", counted: true")
	default:
		return "", fmt.Errorf("unexpected kind %q", kind)
	}
	fmt.Fprintf(&b, ", step: %d", step)
	if access != "" {
		fmt.Fprintf(&b, ", access: %s", access)
	}
	b.WriteString("}")
	return b.String(), nil
}

func access(flags []any) string {
	read := slices.Contains(flags, "access")
	write := slices.Contains(flags, "insert") || slices.Contains(flags, "update") || slices.Contains(flags, "delete")
	switch {
	case read && write:
		return "ReadWrite"
	case read:
		return "Read"
	case write:
		return "Write"
	}
	return ""
}

// pairs makes a map of a flattened one.
func pairs(v any) map[string]any {
	m, list := make(map[string]any), v.([]any)
	for i := 0; i+1 < len(list); i += 2 {
		m[list[i].(string)] = list[i+1]
	}
	return m
}

func write(rows map[string]*row, out string) error {
	var b bytes.Buffer
	b.WriteString("// Code generated by gen/main.go from Redis OSS 7.0 and Valkey 8.1; DO NOT EDIT.\n\npackage command\n\n")
	fmt.Fprintf(&b, "// Count is the number of commands and subcommands.\nconst Count = %d\n\n", len(rows))
	b.WriteString("// table is sorted by name.\nvar table = [Count]Command{\n")
	for id, name := range slices.Sorted(maps.Keys(rows)) {
		r := rows[name]
		fmt.Fprintf(&b, "{ID: %d, Name: %q, %s, Engines: %s},\n", id, name, r.fields, r.engines)
	}
	b.WriteString("}\n")
	text, err := format.Source(b.Bytes())
	if err != nil {
		return err
	}
	return os.WriteFile(out, text, 0o644)
}
