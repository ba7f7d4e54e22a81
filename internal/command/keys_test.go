package command_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/rediam/rediam/internal/command"
)

// keys renders the keys of a request: "r:k w:d", "*" for a pattern over all
// keys, and "!" at the end for arguments that do not fit.
func keys(t *testing.T, args [][]byte) string {
	t.Helper()
	c, ok := command.Lookup(args)
	if !ok {
		t.Fatalf("%q is not a command", args)
	}
	found, err := c.AppendKeys(nil, args)
	var out []string
	for _, k := range found {
		access := [...]string{"-", "r", "w", "rw"}[k.Access]
		if k.Every {
			access += "*"
		}
		out = append(out, fmt.Sprintf("%s:%s", access, args[k.Index]))
	}
	if err != nil {
		if !errors.Is(err, command.ErrArguments) {
			t.Fatalf("AppendKeys(%q): %v", args, err)
		}
		out = append(out, "!")
	}
	return strings.Join(out, " ")
}

func TestKeysOfRequests(t *testing.T) {
	for line, want := range map[string]string{
		"ping":                                   "",
		"subscribe a":                            "",
		"ssubscribe a":                           "",
		"get k":                                  "r:k",
		"exists a b":                             "-:a -:b",
		"object encoding k":                      "-:k",
		"mget a b c":                             "r:a r:b r:c",
		"mset a 1 b 2":                           "w:a w:b",
		"rename a b":                             "rw:a w:b",
		"blpop a b 0":                            "rw:a rw:b",
		"bitop and d a b":                        "w:d r:a r:b",
		"xgroup create k g 1":                    "w:k",
		"pfcount a":                              "r:a",
		"pfmerge a b":                            "rw:a r:b",
		"pfmerge a":                              "rw:a !",
		"set k v":                                "w:k",
		"SET k v ex 10 GET":                      "rw:k",
		"set get get":                            "w:get",
		"bitfield k":                             "r:k",
		"bitfield k get u8 0":                    "r:k",
		"bitfield k overflow wrap get u8 0":      "r:k",
		"bitfield k get u8 0 incrby u8 0 1":      "rw:k",
		"bitfield k get u8":                      "rw:k",
		"sort k":                                 "r:k",
		"sort k by nosort":                       "r:k",
		"sort k BY w_* limit 0 1 get # STORE d":  "r:k r*:w_* r*:# w:d",
		"sort k limit 1 store store d":           "r:k w:d",
		"sort k store d store e":                 "r:k w:e",
		"sort k store":                           "r:k",
		"sort_ro k get o_*":                      "r:k r*:o_*",
		"georadius k 0 0 1 m":                    "r:k",
		"georadius k 0 0 1 m store d":            "r:k w:d",
		"georadius k 0 0 1 m storedist d":        "r:k w:d",
		"georadius k 0 0 1 m store":              "r:k",
		"eval s 2 a b c":                         "rw:a rw:b",
		"eval s 0 c":                             "",
		"eval s 3 a b":                           "!",
		"eval s -1 a":                            "!",
		"eval s x a":                             "!",
		"eval s 99999999999999999999 a":          "!",
		"eval s 9223372036854775807 a":           "!",
		"eval_ro s 1 a":                          "r:a",
		"fcall f 1 a b":                          "rw:a",
		"zunionstore d 2 a b weights 1 2":        "w:d r:a r:b",
		"zunionstore d 5 a b":                    "w:d !",
		"zinter +1 a":                            "r:a",
		"lmpop 1 a left":                         "rw:a",
		"blmpop 0 2 a b left":                    "rw:a rw:b",
		"xread count 1 STREAMS a b 1 2":          "r:a r:b",
		"xread streams a":                        "!",
		"xread count 1":                          "",
		"xreadgroup group streams c streams a 1": "r:a",
		"memory usage k samples 0":               "-:k",
		"migrate h 1 k 0 10":                     "rw:k",
		"migrate h 1 k 0 10 keys a":              "!",
		"migrate h 1 k 0 10 auth2 u":             "rw:k",
		"get":                                    "!",
		"set":                                    "!",
		"sort":                                   "!",
		"bitfield":                               "!",
		"migrate h 1":                            "!",
	} {
		if got := keys(t, request(line)); got != want {
			t.Errorf("keys of %q: %q, want %q", line, got, want)
		}
	}
	args := request("migrate h 1 x 0 10 auth keys keys a b")
	args[3] = nil
	if got := keys(t, args); got != "rw:a rw:b" {
		t.Errorf("keys of %q: %q", args, got)
	}
}

func TestChannelsOfRequests(t *testing.T) {
	for line, want := range map[string]string{
		"subscribe a b":   "a b",
		"SSUBSCRIBE a":    "a",
		"psubscribe a* b": "a* b patterns",
		"publish a m":     "a",
		"spublish a m":    "a",
		"publish":         "",
		"unsubscribe a":   "",
		"get a":           "",
	} {
		args := request(line)
		c, _ := command.Lookup(args)
		channels, patterns := c.Channels(args)
		got := string(bytes.Join(channels, []byte(" ")))
		if patterns {
			got += " patterns"
		}
		if got != want {
			t.Errorf("channels of %q: %q, want %q", line, got, want)
		}
	}
}

func FuzzKeysAreArguments(f *testing.F) {
	f.Add("zunionstore d 2 a b")
	f.Add("xread streams a b 1 2")
	f.Add("sort k by w_* get # store d")
	f.Add("georadius k 0 0 1 m store d storedist e")
	f.Add("migrate h 1 k 0 10 auth2 a b keys c")
	f.Add("eval s 9223372036854775807 a")
	f.Fuzz(func(t *testing.T, line string) {
		args := bytes.Split([]byte(line), []byte(" "))
		c, ok := command.Lookup(args)
		if !ok {
			return
		}
		found, _ := c.AppendKeys(nil, args)
		if len(found) > len(args)*2 {
			t.Errorf("%d keys in %d arguments", len(found), len(args))
		}
		for _, k := range found {
			if k.Index < 1 || k.Index >= len(args) {
				t.Errorf("key %d is not among %d arguments", k.Index, len(args))
			}
		}
		c.Channels(args)
	})
}

func BenchmarkAppendKeys(b *testing.B) {
	for _, line := range []string{"GET k", "ZUNIONSTORE d 3 a b c"} {
		args := request(line)
		c, _ := command.Lookup(args)
		b.Run(line, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var room [8]command.Key
				if found, err := c.AppendKeys(room[:0], args); err != nil || len(found) == 0 {
					b.Fatal("no keys")
				}
			}
		})
	}
}
