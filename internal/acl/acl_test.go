package acl_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/rediam/rediam/internal/acl"
)

func request(line string) [][]byte { return bytes.Fields([]byte(line)) }

func parse(t *testing.T, s string) *acl.Access {
	t.Helper()
	a, err := acl.Parse(s)
	if err != nil {
		t.Fatalf("Parse(%q): %v", s, err)
	}
	return a
}

func TestAccessStringsAreNormalisedAsAWSDoes(t *testing.T) {
	for s, want := range map[string]string{
		// Both as the ElastiCache user guide and the AWS database blog show them.
		"off +get ~keys*": "off ~keys* -@all +get",
		"on ~* +@all":     "on ~* +@all",

		"~*":                                    "off ~* -@all",
		"ON  ~app:* +@read +@WRITE -Keys":       "on ~app:* -@all +@read +@write -keys",
		"on ~* &* +@all":                        "on ~* &* +@all",
		"on allkeys allchannels allcommands":    "on ~* &* +@all",
		"on ~a resetkeys ~b nocommands":         "on ~b -@all",
		"on ~a ~a %R~b %w~b %R~c %RW~d":         "on ~a ~b %R~c ~d -@all",
		"on %RW~*":                              "on ~* -@all",
		"on &a &a resetchannels &b":             "on resetchannels &b -@all",
		"on &* resetchannels":                   "on resetchannels -@all",
		"on +get -@all +set off":                "off -@all +set",
		"on +@all -get +set +get":               "on +@all +set +get",
		"on +client|list -client":               "on -@all -client",
		"on -client +client|list":               "on -@all -client +client|list",
		"on +select|0 +Select|1 +select|0":      "on -@all +select|1 +select|0",
		"on +select|0 -select":                  "on -@all -select",
		"on (~a +get) (%R~b  +@read &c) ~x":     "on ~x -@all (~a -@all +get) (%R~b resetchannels &c -@all +@read)",
		"on (~a +get) clearselectors ()":        "on -@all (-@all)",
		"on ~a(b) +acl +cluster":                "on ~a(b) -@all +acl +cluster",
		"on ~{1}:* +@all -@dangerous +keys":     "on ~{1}:* +@all -@dangerous +keys",
		"on ~* +@all -@scripting +eval|x -eval": "on ~* +@all -@scripting -eval",
	} {
		a := parse(t, s)
		if got := a.String(); got != want {
			t.Errorf("Parse(%q) prints %q, want %q", s, got, want)
		}
		if again := parse(t, want).String(); again != want {
			t.Errorf("Parse(%q) prints %q", want, again)
		}
		if got := a.On(); got != strings.HasPrefix(want, "on ") {
			t.Errorf("Parse(%q).On() = %v", s, got)
		}
	}
}

func TestAccessStringsThatAWSRefuses(t *testing.T) {
	for _, s := range []string{
		"", "   ", "on\t~*", "on ~\x00", "on ~\x7f", "on ~\xff", "on\n",
		"on ~" + strings.Repeat("x", acl.MaxLength),
		"on >secret", "on <secret", "on #" + strings.Repeat("a", 64), "on !" + strings.Repeat("a", 64),
		"on nopass", "on resetpass", "on RESET ~*", "on sanitize-payload", "on what",
		"on +config", "on +CONFIG|get", "on -debug", "on +acl|setuser", "on -acl|load", "on +cluster|forget",
		"on +debug|object", "on +migrate|x", "on +slaveof", "on +shutdown",
		"on +", "on -", "on +@", "on +nosuch", "on -@nosuch", "on +client|nosuch", "on +get|", "on +get|a|b",
		"on -select|0", "on +client|", "on +|x", "on +\u212aeys", "on +@bloc\u212aing",
		"on %~a", "on %R", "on %RR~a", "on %RX~a", "on %",
		"on ~* ~a", "on allkeys %R~a", "on &* &a",
		"on (~a +get", "on (on)", "on ((~a))", "on (~a))", "on (~* ~a)", "on (+config)", "on (>x)", "on (reset)", "on )",
	} {
		a, err := acl.Parse(s)
		if err == nil {
			t.Errorf("Parse(%.60q) = %q, want an error", s, a)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("Parse(%q) tells the password: %v", s, err)
		}
	}
}

func TestDecisions(t *testing.T) {
	type row struct {
		request string
		denied  acl.Denied
		object  string // "" where the request is allowed
	}
	for access, rows := range map[string][]row{
		"on ~app:* +@all -@dangerous": {
			{"get app:1", 0, ""},
			{"GET other", acl.Key, "other"},
			{"mget app:1 b c", acl.Key, "b"},
			{"flushall", acl.Command, "flushall"},
			{"client LIST", acl.Command, "client|list"},
			{"client id", 0, ""},
			{"client nosuch", acl.Unknown, "-"},
			{"nosuch", acl.Unknown, "-"},
			{"publish anywhere m", 0, ""},
			{"pfmerge other", acl.Key, "other"},
			{"get", 0, ""},
		},
		"on ~* +@all": {
			{"config get maxmemory", acl.Command, "config|get"},
			{"config", acl.Command, "config"},
			{"acl setuser x", acl.Command, "acl|setuser"},
			{"acl whoami", 0, ""},
			{"cluster slots", 0, ""},
			{"cluster forget x", acl.Command, "cluster|forget"},
			{"migrate h 1 k 0 1", acl.Command, "migrate"},
			{"subscribe news", 0, ""},
			{"sort k by w_* get #", 0, ""},
		},
		"on ~* -@all": {
			{"auth u p", 0, ""},
			{"hello 3", 0, ""},
			{"quit", 0, ""},
			{"ping", acl.Command, "ping"},
		},
		"on %R~r* %W~w* ~b* +@all": {
			{"get r", 0, ""},
			{"get w", acl.Key, "w"},
			{"set r v", acl.Key, "r"},
			{"set w v", 0, ""},
			{"set w v get", acl.Key, "w"},
			{"set b v get", 0, ""},
			{"exists r w b", 0, ""},
			{"exists x", acl.Key, "x"},
			{"copy r w", 0, ""},
			{"copy w r", acl.Key, "w"},
			{"zunionstore w 2 r b", 0, ""},
			{"zunionstore w 2 r w", acl.Key, "w"},
			{"bitfield r get u8 0", 0, ""},
			{"bitfield r incrby u8 0 1", acl.Key, "r"},
			{"sort r store w", 0, ""},
			{"sort r by nosort", 0, ""},
			{"sort r by w_*", acl.Key, "w_*"},
			{"sort r get #", acl.Key, "#"},
			{"eval s 1 b", 0, ""},
			{"eval s 1 r", acl.Key, "r"},
		},
		"on %R~* +@all": {
			{"sort r by w_* get o_*", 0, ""},
			{"sort r store d", acl.Key, "d"},
		},
		"on ~* resetchannels &news.* &x +@pubsub": {
			{"subscribe news.a x", 0, ""},
			{"ssubscribe news.a y", acl.Channel, "y"},
			{"publish news.a m", 0, ""},
			{"spublish y m", acl.Channel, "y"},
			{"psubscribe news.*", 0, ""},
			{"psubscribe news.a*", acl.Channel, "news.a*"},
			{"punsubscribe y", 0, ""},
		},
		"on ~* &a +@pubsub": {
			{"subscribe a", 0, ""},
			{"subscribe b", acl.Channel, "b"},
		},
		"on ~* +select|0 +client|list -client +client|ID": {
			{"select 0", 0, ""},
			{"select 1", acl.Command, "select"},
			{"select", acl.Command, "select"},
			{"client id", 0, ""},
			{"client list", acl.Command, "client|list"},
		},
		"on ~* +select|0 -select": {
			{"select 0", acl.Command, "select"},
		},
		"on ~a +mget (~b +mget)": {
			{"mget a b", acl.Key, "b"},
			{"mget b a", acl.Key, "a"},
			{"mget b b a", acl.Key, "a"},
		},
		"on ~a +get (~b +set) (~c +set)": {
			{"get a", 0, ""},
			{"set b v", 0, ""},
			{"set a v", acl.Key, "a"},
			{"get b", acl.Key, "b"},
			{"del a", acl.Command, "del"},
		},
	} {
		a := parse(t, access)
		for _, r := range rows {
			want := acl.Verdict{Denied: r.denied, Object: strings.TrimPrefix(r.object, "-")}
			if r.object == "" {
				want = acl.Verdict{OK: true}
			}
			if got := a.Allow(request(r.request)); got != want {
				t.Errorf("%q: Allow(%q) = %+v, want %+v", access, r.request, got, want)
			}
		}
	}
	if got := parse(t, "on %R~** +@all").Allow([][]byte{[]byte("get"), {}}); got.OK {
		t.Error("a star matches the empty key")
	}
	if got := parse(t, "on +@all").Allow(nil); got.OK {
		t.Error("an empty request is allowed")
	}
	long := [][]byte{[]byte("get"), bytes.Repeat([]byte("x"), 1<<20)}
	if got := parse(t, "on +@all").Allow(long); len(got.Object) > 128 {
		t.Errorf("the object of a refusal has %d bytes", len(got.Object))
	}
}

func TestSetUserLeavesOutWhatTheEngineHasNot(t *testing.T) {
	a := parse(t, "on ~k* +get +commandlog|len -client|capa +select|0 +@read (~x +commandlog)")
	has := func(name string) bool {
		return name == "get" || name == "select" || name == "config" || name == "acl|load"
	}
	want := []string{"reset", "on", "~k*", "&*", "-@all", "+get", "+select|0", "+@read", "-acl|load", "-config",
		"(~x &* -@all -acl|load -config)"}
	if got := a.SetUser(has); !slices.Equal(got, want) {
		t.Errorf("SetUser() = %q, want %q", got, want)
	}
	all := a.SetUser(nil)
	for _, rule := range []string{"+commandlog|len", "-client|capa", "-cluster|forget", "-shutdown"} {
		if !slices.Contains(all, rule) {
			t.Errorf("SetUser(nil) = %q, lacks %s", all, rule)
		}
	}
}

// TestGlobsDoNotBlowUp would not end with a matcher that tries every "*".
func TestGlobsDoNotBlowUp(t *testing.T) {
	a := parse(t, "on ~"+strings.Repeat("a*", 2000)+"b +get")
	if a.Allow([][]byte{[]byte("get"), bytes.Repeat([]byte("a"), 2000)}).OK {
		t.Error("a glob that ends in b matches")
	}
}

func FuzzParse(f *testing.F) {
	f.Add("off +get ~keys*", "get keys1")
	f.Add("on %R~a* %W~[^b-d]\\* resetchannels &x +@all -client|list", "psubscribe x")
	f.Add("on ~a (~b +set) ( %RW~c ) clearselectors ()", "set b v")
	f.Add("on +select|0 -@all allcommands -@Read", "sort k by w_* store d")
	f.Fuzz(func(t *testing.T, s, line string) {
		a, err := acl.Parse(s)
		if err != nil {
			return
		}
		normal := a.String()
		b, err := acl.Parse(normal)
		if err != nil {
			t.Fatalf("Parse(%q) of %q: %v", normal, s, err)
		}
		if again := b.String(); again != normal {
			t.Errorf("%q prints %q, that prints %q", s, normal, again)
		}
		if a.On() != b.On() || !slices.Equal(a.SetUser(nil), b.SetUser(nil)) {
			t.Errorf("%q and its normal form %q are different users", s, normal)
		}
		args := bytes.Split([]byte(line), []byte(" "))
		if x, y := a.Allow(args), b.Allow(args); x != y {
			t.Errorf("%q: Allow(%q) = %+v, by its normal form %+v", s, args, x, y)
		}
	})
}

func BenchmarkAllow(b *testing.B) {
	for _, bench := range []struct{ access, request string }{
		{"on ~* +@all", "GET k"},
		{"on ~app:* ~cache:* +@all -@dangerous", "SET cache:1 v EX 10"},
		{"on ~app:* ~cache:* +@all -@dangerous", "MGET app:1 app:2 app:3 app:4"},
	} {
		a, err := acl.Parse(bench.access)
		if err != nil {
			b.Fatal(err)
		}
		args := request(bench.request)
		b.Run(bench.request, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !a.Allow(args).OK {
					b.Fatal("denied")
				}
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	longest := "on " + strings.Repeat("-@set ", (acl.MaxLength-3)/6)
	for name, s := range map[string]string{"usual": "on ~app:* +@all -@dangerous +keys", "longest": longest} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := acl.Parse(s); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
