package resp_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/rediam/rediam/internal/resp"
)

// h lists heads; "-" stands for nil.
func h(heads ...string) (list [][]byte) {
	for _, head := range heads {
		if head == "-" {
			list = append(list, nil)
			continue
		}
		list = append(list, []byte(head))
	}
	return list
}

type wantReply struct {
	size  int
	kind  byte
	count int64
	heads [][]byte
}

func (w wantReply) String() string {
	return fmt.Sprintf("%d %s", w.size, showReply(w.kind, w.count, w.heads))
}

const hello = "%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n$5\r\nproto\r\n:3\r\n" +
	"$2\r\nid\r\n:5\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*1\r\n%1\r\n$4\r\nname\r\n$1\r\nm\r\n"

var replies = []struct {
	name, data string
	want       []wantReply
}{
	{"a simple string", "+OK\r\n", []wantReply{{5, '+', 0, h("OK")}}},
	{"an empty line", "+\r\n", []wantReply{{3, '+', 0, h("")}}},
	{"an error", "-ERR no\r\n", []wantReply{{9, '-', 0, h("ERR no")}}},
	{"numbers of all kinds", ":-1\r\n,inf\r\n(123\r\n#t\r\n",
		[]wantReply{{5, ':', 0, h("-1")}, {6, ',', 0, h("inf")}, {6, '(', 0, h("123")}, {4, '#', 0, h("t")}}},
	{"bulk strings", "$5\r\nhe\r\no\r\n$0\r\n\r\n", []wantReply{{11, '$', 0, h("he\r\no")}, {6, '$', 0, h("")}}},
	{"verbatim string, bulk error", "=5\r\ntxt:a\r\n!3\r\nERR\r\n", []wantReply{{11, '=', 0, h("txt:a")}, {9, '!', 0, h("ERR")}}},
	{"nulls", "_\r\n$-1\r\n*-1\r\n", []wantReply{{3, '_', -1, h()}, {5, '$', -1, h()}, {5, '*', -1, h()}}},
	{"empty aggregates", "*0\r\n~0\r\n%0\r\n>0\r\n", []wantReply{{4, '*', 0, h()}, {4, '~', 0, h()}, {4, '%', 0, h()}, {4, '>', 0, h()}}},
	{"an array with nulls", "*4\r\n$-1\r\n*-1\r\n_\r\n:1\r\n", []wantReply{{21, '*', 4, h("-", "-", "-", "1")}}},
	{"nested aggregates", "*4\r\n*2\r\n+a\r\n*0\r\n+b\r\n%1\r\n+c\r\n~1\r\n+d\r\n+e\r\n",
		[]wantReply{{40, '*', 4, h("-", "b", "-", "e")}}},
	{"a map counts twice", "%2\r\n+a\r\n:1\r\n+b\r\n:2\r\n", []wantReply{{20, '%', 4, h("a", "1", "b", "2")}}},
	{"HELLO", hello, []wantReply{{len(hello), '%', 14,
		h("server", "redis", "version", "7.0.15", "proto", "3", "id", "5", "mode", "standalone", "role", "master", "modules")}}},
	{"a push before a reply", ">3\r\n+message\r\n+ch\r\n$1\r\nm\r\n:1\r\n", []wantReply{{26, '>', 3, h("message", "ch", "m")}, {4, ':', 0, h("1")}}},
	{"an invalidation of everything", ">2\r\n$10\r\ninvalidate\r\n$-1\r\n", []wantReply{{26, '>', 2, h("invalidate")}}},
	{"a push inside EXEC's array is not an element", "*2\r\n>3\r\n+message\r\n+a\r\n+m\r\n:1\r\n_\r\n",
		[]wantReply{{33, '*', 2, h("1", "-")}}},
	{"a push inside a nested array", "*2\r\n*1\r\n>1\r\n+x\r\n+y\r\n+z\r\n", []wantReply{{24, '*', 2, h("-", "z")}}},
	{"an attribute before a reply", "|1\r\n+ttl\r\n:3600\r\n$1\r\nv\r\n", []wantReply{{24, '$', 0, h("v")}}},
	{"an attribute before an array", "|1\r\n+a\r\n*1\r\n:0\r\n*2\r\n:1\r\n:2\r\n", []wantReply{{28, '*', 2, h("1", "2")}}},
	{"an attribute before a push", "|1\r\n+a\r\n+b\r\n>1\r\n+x\r\n", []wantReply{{20, '>', 1, h("x")}}},
	{"empty attributes, one after another", "|0\r\n|0\r\n_\r\n", []wantReply{{11, '_', -1, h()}}},
	{"an attribute inside an array", "*2\r\n|1\r\n+a\r\n+b\r\n:1\r\n:2\r\n", []wantReply{{24, '*', 2, h("1", "2")}}},
	{"a push inside an attribute", "|1\r\n>1\r\n+x\r\n+a\r\n+b\r\n:7\r\n", []wantReply{{24, ':', 0, h("7")}}},
	{"a long head is cut", "+" + strings.Repeat("a", 100) + "\r\n", []wantReply{{103, '+', 0, h(strings.Repeat("a", 64))}}},
	{"many elements", "*20\r\n" + strings.Repeat(":7\r\n", 20), []wantReply{{85, '*', 20, h(slices.Repeat([]string{"7"}, 16)...)}}},
}

func TestRepliesAreFramedInEverySplit(t *testing.T) {
	for _, tt := range replies {
		t.Run(tt.name, func(t *testing.T) {
			var want []string
			for _, w := range tt.want {
				want = append(want, w.String())
			}
			if got := referenceReplies([]byte(tt.data)); !slices.Equal(got, want) {
				t.Errorf("the reference reads\n%q, want\n%q", got, want)
			}
			checkReplies(t, []byte(tt.data))
		})
	}
}

// badReplies are streams that no server sends.
var badReplies = []struct{ name, data, want string }{
	{"no type", "OK\r\n", "'O' is no reply type"},
	{"a type that spoils a line", "\r\n", "' ' is no reply type"},
	{"a streamed string", "$?\r\n", "invalid reply length"},
	{"a streamed array", "*?\r\n", "invalid reply length"},
	{"a streamed part", ";4\r\n", "';' is no reply type"},
	{"the end of a streamed array", ".\r\n", "'.' is no reply type"},
	{"a negative length", "$-2\r\n", "invalid reply length"},
	{"a null map", "%-1\r\n", "invalid reply length"},
	{"a null push", ">-1\r\n", "invalid reply length"},
	{"a null verbatim string", "=-1\r\n", "invalid reply length"},
	{"a leading zero", "*01\r\n", "invalid reply length"},
	{"a length past int64", "$9999999999999999999\r\n", "invalid reply length"},
	{"bare LF in a line", "+O\nK\r\n", "LF without CR"},
	{"bare CR in a line", "+O\rK\r\n", "CR without LF"},
	{"bare CR and LF in a line", "+O\rK\n\r\n", "CR without LF"},
	{"bare LF after a length", "$2\nOK\r\n", "invalid reply length"},
	{"no CRLF after a bulk string", "$2\r\nOKAY", "expected CRLF after bulk string"},
	{"CR alone after a bulk string", "$2\r\nOK\rX", "expected CRLF after bulk string"},
	{"too many elements", "*1099511627777\r\n", "too many elements"},
	{"too many pairs", "%549755813889\r\n", "too many elements"},
	{"too many elements in all", "*549755813888\r\n*549755813890\r\n", "too many elements"},
	{"too many elements many times", strings.Repeat("|999999999999999999\r\n", 20), "too many elements"},
}

func TestAReplyThatNoServerSendsIsAnError(t *testing.T) {
	for _, tt := range badReplies {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := new(resp.Replies).Feed([]byte(tt.data))
			if err == nil || err.Error() != "ERR Protocol error: "+tt.want {
				t.Errorf("Feed() = %v, want %s", err, tt.want)
			}
			checkReplies(t, []byte(tt.data))
		})
	}
}

func TestTheMostElementsAreAccepted(t *testing.T) {
	var r resp.Replies
	if _, done, err := r.Feed([]byte("*1099511627776\r\n")); done || err != nil || r.Count() != 1<<40 {
		t.Errorf("Feed() = %v, %v with Count() = %d", done, err, r.Count())
	}
}

func TestDeepNestingNeedsNoStack(t *testing.T) {
	data := []byte(strings.Repeat("*1\r\n", 1<<20) + "+OK\r\n")
	n, done, err := new(resp.Replies).Feed(data)
	if n != len(data) || !done || err != nil {
		t.Errorf("Feed() = %d, %v, %v, want %d, true, nil", n, done, err, len(data))
	}
}

func TestTheHeadsOfAReplyAreKnownBeforeItsEnd(t *testing.T) {
	var r resp.Replies
	if r.Type() != 0 || !r.Idle() {
		t.Fatalf("at first Type, Idle = %q, %v", r.Type(), r.Idle())
	}
	if _, done, err := r.Feed([]byte(">3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$1000000\r\npart")); done || err != nil {
		t.Fatalf("Feed() = %v, %v", done, err)
	}
	if r.Type() != '>' || r.Count() != 3 || string(r.Head(0)) != "message" || string(r.Head(1)) != "ch" || r.Head(2) != nil {
		t.Errorf("Type, Count, heads = %q, %d, %q, %q, %q", r.Type(), r.Count(), r.Head(0), r.Head(1), r.Head(2))
	}
}

func replySeeds() (seeds []string) {
	for _, tt := range replies {
		seeds = append(seeds, tt.data)
	}
	for _, tt := range badReplies {
		seeds = append(seeds, tt.data)
	}
	return seeds
}

func TestMutatedRepliesAreReadAsTheReferenceReadsThem(t *testing.T) {
	compareMutations(t, replySeeds(), func(data []byte) { checkReplies(t, data) })
}

func FuzzReplies(f *testing.F) {
	for _, seed := range replySeeds() {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) { checkReplies(t, data[:min(len(data), 2000)]) })
}
