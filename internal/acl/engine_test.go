package acl_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/rediam/rediam/internal/acl"
	"github.com/rediam/rediam/internal/command"
	"github.com/rediam/rediam/internal/installed"
)

// runsVariable names the environment variable with the number of generated
// users per engine, instead of defaultRuns; each gets requestsPerUser requests.
const (
	runsVariable    = "REDIAM_ACL_RUNS"
	defaultRuns     = 200
	requestsPerUser = 25
)

// engines are the real servers that the same tests ask.
var engines = map[string]command.Engines{"redis-server": command.Redis, "valkey-server": command.Valkey}

// withEngines runs f against a fresh server of each kind. names are the
// commands that it has.
func withEngines(t *testing.T, f func(t *testing.T, db *redis.Client, bit command.Engines, names map[string]bool)) {
	for name, bit := range engines {
		t.Run(name, func(t *testing.T) {
			db := redis.NewClient(&redis.Options{Network: "unix", Addr: installed.Engine(t, name), Protocol: 2, MaxRetries: -1})
			defer db.Close()
			list, err := db.Do(t.Context(), "command", "list").StringSlice()
			if err != nil {
				t.Fatal(err)
			}
			names := make(map[string]bool)
			for _, name := range list {
				names[name] = true
			}
			f(t, db, bit, names)
		})
	}
}

// do sends a command made of words.
func do(ctx context.Context, db *redis.Client, words ...string) *redis.Cmd {
	args := make([]any, len(words))
	for i, w := range words {
		args[i] = w
	}
	return db.Do(ctx, args...)
}

func setUser(t *testing.T, db *redis.Client, words []string) {
	t.Helper()
	if err := do(t.Context(), db, append([]string{"acl", "setuser", "u"}, words...)...).Err(); err != nil {
		t.Fatalf("ACL SETUSER u %q: %v", words, err)
	}
}

func runs(t *testing.T) int {
	t.Helper()
	v := os.Getenv(runsVariable)
	if v == "" {
		return defaultRuns
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		t.Fatalf("%s=%q is not a number of users", runsVariable, v)
	}
	return n
}

func TestDecisionsAreTheEngines(t *testing.T) {
	withEngines(t, func(t *testing.T, db *redis.Client, bit command.Engines, names map[string]bool) {
		has := func(name string) bool { return names[name] }
		g := generator{rand.New(rand.NewPCG(1, uint64(bit))), bit}
		decided, refused := 0, 0
		for range runs(t) {
			access := g.access()
			a, err := acl.Parse(access)
			if err != nil {
				continue
			}
			setUser(t, db, a.SetUser(has))
			for range requestsPerUser {
				words := g.request()
				reply, err := do(t.Context(), db, append([]string{"acl", "dryrun", "u"}, words...)...).Text()
				if err != nil { // unknown command or arity: no decision
					continue
				}
				decided++
				if reply != "OK" {
					refused++
				}
				compare(t, a, access, words, reply)
			}
		}
		t.Logf("%d decisions, %d of them refusals", decided, refused)
		if refused < decided/10 || refused > decided*9/10 {
			t.Errorf("%d of %d decisions are refusals: the generator does not test much", refused, decided)
		}
	})
}

// compare holds Allow against the answer of ACL DRYRUN: "OK" or a text about the
// command, the key or the channel that is denied.
func compare(t *testing.T, a *acl.Access, access string, words []string, reply string) {
	t.Helper()
	args := make([][]byte, len(words))
	for i, w := range words {
		args[i] = []byte(w)
	}
	got := a.Allow(args)
	c, _ := command.Lookup(args)
	if _, err := c.AppendKeys(nil, args); err != nil && !got.OK {
		return // stricter than the engine where the command will refuse
	}
	want := acl.Verdict{OK: reply == "OK"}
	if !want.OK {
		_, rest, _ := strings.Cut(reply, "the '")
		object, kind, _ := strings.Cut(rest, "' ")
		want.Object = object
		want.Denied = map[string]acl.Denied{"command": acl.Command, "key": acl.Key, "channel": acl.Channel}[kind]
	}
	if got != want {
		t.Errorf("%q: Allow(%q) = %+v, the engine says %q", access, words, got, reply)
	}
}

// What Explain lists are the commands that the engine lets the user run, on some key.
func TestExplainListsWhatTheEnginesRun(t *testing.T) {
	withEngines(t, func(t *testing.T, db *redis.Client, bit command.Engines, names map[string]bool) {
		has := func(name string) bool { return names[name] }
		g := generator{rand.New(rand.NewPCG(5, uint64(bit))), bit}
		ran, refused := 0, 0
		for range runs(t) / 20 {
			access := g.access()
			a, err := acl.Parse(access)
			if err != nil {
				continue
			}
			setUser(t, db, a.SetUser(has))
			listed := map[string]bool{}
			for _, p := range a.Explain().Permissions {
				for _, name := range p.Commands {
					listed[name] = true
				}
			}
			for c := range command.All() {
				if c.Container || c.Flags.Has(command.FlagNoAuth) || c.Engines&bit == 0 {
					continue
				}
				words := strings.Split(c.Name, "|")
				for len(words) < max(c.Arity, -c.Arity) {
					words = append(words, "1")
				}
				reply, err := do(t.Context(), db, append([]string{"acl", "dryrun", "u"}, words...)...).Text()
				if err != nil {
					continue
				}
				runs := !strings.Contains(reply, "no permissions to run")
				if runs {
					ran++
				} else {
					refused++
				}
				if runs != listed[c.Name] && !(bit == command.Redis && c.Name == "wait") { // which Redis 7.0 does not have in @blocking
					t.Errorf("%q: Explain lists %s: %v, the engine says %q", access, c.Name, listed[c.Name], reply)
				}
			}
		}
		t.Logf("%d commands that may be run, %d that may not", ran, refused)
		if ran == 0 || refused == 0 {
			t.Error("nothing was compared")
		}
	})
}

func TestParseAcceptsWhatTheEnginesAccept(t *testing.T) {
	withEngines(t, func(t *testing.T, db *redis.Client, bit command.Engines, _ map[string]bool) {
		g := generator{rand.New(rand.NewPCG(2, uint64(bit))), bit}
		bad := []string{"+nosuch", "-select|0", "+client|nosuch", "%~a", "%RR~a", "~*", "&*", "+@nosuch", "(~a", "what", "+get|a|b"}
		refused := 0
		for range runs(t) * 5 {
			access := "resetchannels " + g.access()
			if g.IntN(2) == 0 {
				access += " " + bad[g.IntN(len(bad))] + " ~z"
			}
			a, err := acl.Parse(access)
			engine := do(t.Context(), db, append([]string{"acl", "setuser", "u", "reset"}, strings.Fields(access)...)...).Err()
			if (err == nil) != (engine == nil) {
				t.Errorf("Parse(%q): %v, the engine says %v", access, err, engine)
			}
			if err != nil {
				refused++
				continue
			}
			// Redis 7.0 prints other command rules for the same permissions.
			if printed := printedUser(t, db); bit == command.Valkey && printed != enginesForm(a.String()) {
				t.Errorf("Parse(%q) prints %q, the engine %q", access, a, printed)
			}
		}
		if refused == 0 {
			t.Error("nothing was refused")
		}
	})
}

// printedUser returns what ACL LIST says of u after the switch and flags.
func printedUser(t *testing.T, db *redis.Client) string {
	t.Helper()
	users, err := db.Do(t.Context(), "acl", "list").StringSlice()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(users, func(s string) bool { return strings.HasPrefix(s, "user u ") })
	return strings.Replace(strings.TrimPrefix(users[i], "user u "), " sanitize-payload", "", 1)
}

// enginesForm writes out what a selector that names no channels leaves to the
// default: the server here has Redis' own.
func enginesForm(normal string) string {
	root, selectors, _ := strings.Cut(normal, " (")
	if selectors == "" {
		return root
	}
	for s := range strings.SplitSeq(strings.TrimSuffix(selectors, ")"), ") (") {
		words := strings.Fields(s)
		if !slices.ContainsFunc(words, func(w string) bool { return w == "resetchannels" || w == "&*" }) {
			i := slices.IndexFunc(words, func(w string) bool { return w == "-@all" || w == "+@all" })
			words = slices.Insert(words, i, "resetchannels")
		}
		root += " (" + strings.Join(words, " ") + ")"
	}
	return root
}

func TestGlobsMatchAsInTheEngines(t *testing.T) {
	withEngines(t, func(t *testing.T, db *redis.Client, bit command.Engines, _ map[string]bool) {
		r := rand.New(rand.NewPCG(3, uint64(bit)))
		matches := 0
		for range runs(t) * 10 {
			glob := word(r, `aabb**??[[]]^-\`, 1+r.IntN(8))
			access := "on %R~" + glob + " +get"
			a := parse(t, access)
			setUser(t, db, a.SetUser(nil)[:4]) // reset on %R~glob &*
			setUser(t, db, []string{"+get"})
			for range 5 {
				key := word(r, `aabbb]^-\`, r.IntN(5))
				reply, err := do(t.Context(), db, "acl", "dryrun", "u", "get", key).Text()
				if err != nil {
					t.Fatal(err)
				}
				if reply == "OK" {
					matches++
				}
				compare(t, a, access, []string{"get", key}, reply)
			}
		}
		if matches == 0 {
			t.Error("nothing matched")
		}
	})
}

func TestKeysAreTheEngines(t *testing.T) {
	withEngines(t, func(t *testing.T, db *redis.Client, bit command.Engines, _ map[string]bool) {
		g := generator{rand.New(rand.NewPCG(4, uint64(bit))), bit}
		compared := 0
		for range runs(t) * 10 {
			words := g.request()
			args := make([][]byte, len(words))
			for i, w := range words {
				args[i] = []byte(w)
			}
			reply, err := do(t.Context(), db, append([]string{"command", "getkeysandflags"}, words...)...).Slice()
			c, ok := command.Lookup(args)
			if err != nil || !ok {
				continue
			}
			var want, got []string
			for _, k := range reply {
				k := k.([]any)
				want = append(want, fmt.Sprint(k[0], " ", accessOf(k[1].([]any))))
			}
			keys, err := c.AppendKeys(nil, args)
			for _, k := range keys {
				got = append(got, fmt.Sprint(words[k.Index], " ", k.Access))
			}
			if err == nil && !slices.Equal(got, want) {
				t.Errorf("keys of %q: %q, the engine says %q", words, got, want)
			}
			compared++
		}
		if compared == 0 {
			t.Error("nothing was compared")
		}
	})
}

func accessOf(flags []any) (a command.Access) {
	for _, f := range flags {
		switch f {
		case "access":
			a |= command.Read
		case "insert", "update", "delete":
			a |= command.Write
		}
	}
	return a
}

func TestEnginesTakeAwayProhibitedCommands(t *testing.T) {
	withEngines(t, func(t *testing.T, db *redis.Client, _ command.Engines, names map[string]bool) {
		has := func(name string) bool { return names[name] }
		setUser(t, db, append(parse(t, "on ~* +@all (~* &* +@all)").SetUser(has), ">password"))
		prohibited := []string{
			"acl deluser x", "acl load", "acl save", "acl setuser x", "bgrewriteaof", "bgsave", "cluster addslots 1",
			"cluster addslotsrange 1 2", "cluster bumpepoch", "cluster delslots 1", "cluster delslotsrange 1 2",
			"cluster failover", "cluster flushslots", "cluster forget x", "cluster links", "cluster meet h 1",
			"cluster setslot 1 stable", "config get x", "config set a b", "config resetstat", "config rewrite",
			"debug sleep 0", "migrate h 1 k 0 1", "psync a 1", "replicaof h 1", "save", "shutdown", "slaveof h 1", "sync",
		}
		for _, line := range prohibited {
			reply, err := do(t.Context(), db, append([]string{"acl", "dryrun", "u"}, strings.Fields(line)...)...).Text()
			if err != nil || !strings.Contains(reply, "no permissions to run") {
				t.Errorf("%q: %q, %v", line, reply, err)
			}
		}
		user, err := db.Do(t.Context(), "acl", "getuser", "u").Slice()
		if err != nil {
			t.Fatal(err)
		}
		printed := fmt.Sprint(user...)
		for _, name := range []string{"-config", "-shutdown", "-debug", "-cluster|forget", "-acl|setuser"} {
			if strings.Count(printed, name) < 2 { // the user and its selector
				t.Errorf("ACL GETUSER does not take %s away twice: %s", name, printed)
			}
		}
	})
}

// TestSortNeedsEveryKey asks for real: ACL DRYRUN does not look at BY and GET.
func TestSortNeedsEveryKey(t *testing.T) {
	withEngines(t, func(t *testing.T, db *redis.Client, _ command.Engines, names map[string]bool) {
		has := func(name string) bool { return names[name] }
		for _, access := range []string{"on ~k +@all", "on %R~* +@all", "on ~k %W~* +@all", "on ~* +@all", "on ~k -@all (~* +sort)"} {
			a := parse(t, access)
			setUser(t, db, append(a.SetUser(has), ">password"))
			user := redis.NewClient(&redis.Options{Network: "unix", Addr: db.Options().Addr, Protocol: 2, Username: "u", Password: "password", DisableIdentity: true})
			for _, line := range []string{"sort k by w_*", "sort k by nosort", "sort k get #", "sort k by w_* get o_*"} {
				err := do(t.Context(), user, strings.Fields(line)...).Err()
				denied := err != nil && (strings.Contains(err.Error(), "insufficient ACL permissions") || strings.HasPrefix(err.Error(), "NOPERM"))
				if err != nil && !denied {
					t.Errorf("%q: %v", line, err)
				}
				if got := a.Allow(request(line)); got.OK == denied {
					t.Errorf("%q: Allow(%q) = %+v, the engine says %v", access, line, got, err)
				}
			}
			if err := user.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}
