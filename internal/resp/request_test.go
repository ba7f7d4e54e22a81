package resp_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/rediam/rediam/internal/resp"
)

// defaults are the documented defaults, which the reference needs in full.
var defaults = resp.Limits{Args: 1 << 20, Bulk: 512 << 20, Inline: 64 << 10}

// requests are streams and the frames or the error in them. same: Redis 7.0
// gives the same error text; the other errors are refused there in silence or
// not at all.
var requests = []struct {
	name, data string
	want       []string
	same       bool
}{
	{name: "a command", data: "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", want: []string{`20 array 2 ["GET" "k"]`}},
	{name: "an empty argument", data: "*1\r\n$0\r\n\r\n", want: []string{`10 array 1 [""]`}},
	{name: "line ends in a body", data: "*1\r\n$4\r\n\r\n\r\n\r\n", want: []string{`14 array 1 ["\r\n\r\n"]`}},
	{name: "both kinds in one write", data: "*1\r\n$4\r\nPING\r\nPING\r\n*1\r\n$4\r\nPING\r\n",
		want: []string{`14 array 1 ["PING"]`, "6 inline -1", `14 array 1 ["PING"]`}},
	{name: "frames without a reply", data: "*0\r\n*-1\r\n*-5\r\n\r\n\n \t \r\n",
		want: []string{"4 array 0 []", "5 array 0 []", "5 array 0 []", "2 inline 0", "1 inline 0", "5 inline 0"}},
	{name: "inline with quotes and bare LF", data: "  SET q \"a b\"\n", want: []string{"14 inline -1"}},
	{name: "a quoted nothing is an argument", data: "\"\"\n", want: []string{"3 inline -1"}},
	{name: "a RESP3 type is an inline line", data: "%1\r\n+a\r\n", want: []string{"4 inline -1", "4 inline -1"}},

	{name: "a plus sign in the count", data: "*+1\r\n", want: []string{"ERR Protocol error: invalid multibulk length"}, same: true},
	{name: "a leading zero in the count", data: "*01\r\n", want: []string{"ERR Protocol error: invalid multibulk length"}, same: true},
	{name: "a blank in the count", data: "* 1\r\n", want: []string{"ERR Protocol error: invalid multibulk length"}, same: true},
	{name: "minus zero", data: "*-0\r\n", want: []string{"ERR Protocol error: invalid multibulk length"}, same: true},
	{name: "minus with a leading zero", data: "*-01\r\n", want: []string{"ERR Protocol error: invalid multibulk length"}, same: true},
	{name: "no count", data: "*\r\n", want: []string{"ERR Protocol error: invalid multibulk length"}, same: true},
	{name: "a minus alone", data: "*-\r\n", want: []string{"ERR Protocol error: invalid multibulk length"}, same: true},
	{name: "a count past int32", data: "*2147483648\r\n", want: []string{"ERR Protocol error: invalid multibulk length"}, same: true},
	{name: "a count past int64", data: "*9223372036854775808\r\n", want: []string{"ERR Protocol error: invalid multibulk length"}, same: true},
	{name: "a count past our limit", data: "*1048577\r\n", want: []string{"ERR Protocol error: invalid multibulk length"}},
	{name: "a negative bulk", data: "*1\r\n$-1\r\n", want: []string{"ERR Protocol error: invalid bulk length"}, same: true},
	{name: "a leading zero in a bulk length", data: "*1\r\n$04\r\nPING\r\n", want: []string{"ERR Protocol error: invalid bulk length"}, same: true},
	{name: "a bulk past 512 MB", data: "*1\r\n$536870913\r\n", want: []string{"ERR Protocol error: invalid bulk length"}, same: true},
	{name: "an integer as an argument", data: "*1\r\n:1\r\n", want: []string{"ERR Protocol error: expected '$', got ':'"}, same: true},
	{name: "a nested array", data: "*1\r\n*1\r\n", want: []string{"ERR Protocol error: expected '$', got '*'"}, same: true},
	{name: "a line end as an argument", data: "*1\r\n\n\r\n", want: []string{"ERR Protocol error: expected '$', got ' '"}, same: true},
	{name: "bare LF after the count", data: "*1\n$4\r\nPING\r\n", want: []string{"ERR Protocol error: invalid multibulk length"}, same: true},
	{name: "bare LF after a bulk length", data: "*1\r\n$4\nPING\r\n", want: []string{"ERR Protocol error: invalid bulk length"}, same: true},

	{name: "CR and another byte after the count", data: "*1\rX$4\r\nPING\r\n", want: []string{"ERR Protocol error: invalid multibulk length"}},
	{name: "CR and another byte after a bulk length", data: "*1\r\n$4\rYPING\r\n", want: []string{"ERR Protocol error: invalid bulk length"}},
	{name: "two other bytes after a body", data: "*1\r\n$4\r\nPINGXX", want: []string{"ERR Protocol error: expected CRLF after bulk string"}},
	{name: "CR and another byte after a body", data: "*1\r\n$4\r\nPING\rX", want: []string{"ERR Protocol error: expected CRLF after bulk string"}},
	{name: "bare LF after a body", data: "*1\r\n$4\r\nPING\n", want: []string{"ERR Protocol error: expected CRLF after bulk string"}},
	{name: "NUL in an inline line", data: "PI\x00NG\r\n", want: []string{"ERR Protocol error: NUL in inline request"}},
}

func TestRequestsAreFramedInEverySplit(t *testing.T) {
	for _, tt := range requests {
		t.Run(tt.name, func(t *testing.T) {
			compare(t, []byte(tt.data), tt.want, func(cuts []int) ([]string, int) {
				r := &resp.Requests{}
				return scan(t, []byte(tt.data), cuts, r, func(f []byte) string { return showRequest(t, r, f) })
			})
			checkRequests(t, []byte(tt.data), defaults)
		})
	}
}

// limits are streams at a limit and one past it.
var limits = []struct {
	name, within, past, want string
	l                        resp.Limits
}{
	{"default inline", strings.Repeat("a", 65536) + "\n", strings.Repeat("a", 65537), "too big inline request", resp.Limits{}},
	{"own inline", "abc\n", "abcd\n", "too big inline request", resp.Limits{Inline: 3}},
	{"own arguments", "*3\r\n", "*4\r\n", "invalid multibulk length", resp.Limits{Args: 3}},
	{"default arguments", "*1048576\r\n", "*1048577\r\n", "invalid multibulk length", resp.Limits{}},
	{"own bulk", "*1\r\n$3\r\n", "*1\r\n$4\r\n", "invalid bulk length", resp.Limits{Bulk: 3}},
	{"own bulk, whole", "*1\r\n$3\r\nabc\r\n", "*1\r\n$4\r\nabcd\r\n", "invalid bulk length", resp.Limits{Bulk: 3}},
	{"default bulk", "*1\r\n$536870912\r\n", "*1\r\n$536870913\r\n", "invalid bulk length", resp.Limits{}},
	{"arguments before sign-in", "*10\r\n", "*11\r\n", "unauthenticated multibulk length", resp.Limits{Unauthenticated: true}},
	{"bulk before sign-in", "*1\r\n$16384\r\n", "*1\r\n$16385\r\n", "unauthenticated bulk length", resp.Limits{Unauthenticated: true}},
	{"the general limit comes first", "*1\r\n", "*1\r\n$536870913\r\n", "invalid bulk length", resp.Limits{Unauthenticated: true}},
}

func TestLimitsHoldToTheByte(t *testing.T) {
	for _, tt := range limits {
		t.Run(tt.name, func(t *testing.T) {
			r := resp.Requests{Limits: tt.l}
			if n, _, err := r.Feed([]byte(tt.within)); err != nil || n != len(tt.within) {
				t.Errorf("within: Feed() = %d, %v, want no error", n, err)
			}
			r = resp.Requests{Limits: tt.l}
			_, _, err := r.Feed([]byte(tt.past))
			if err == nil || err.Error() != "ERR Protocol error: "+tt.want {
				t.Errorf("past: Feed() = %v, want %s", err, tt.want)
			}
		})
	}
}

func TestLimitsMayChangeBetweenFrames(t *testing.T) {
	r := resp.Requests{Limits: resp.Limits{Unauthenticated: true}}
	stream := []byte("*1\r\n$4\r\nAUTH\r\n*11\r\n")
	n, done, err := r.Feed(stream)
	if n != 14 || !done || err != nil {
		t.Fatalf("Feed() = %d, %v, %v, want 14, true, nil", n, done, err)
	}
	r.Limits.Unauthenticated = false
	if _, _, err := r.Feed(stream[n:]); err != nil {
		t.Errorf("Feed() after sign-in = %v, want nil", err)
	}
}

func TestArgumentsAreKnownAsSoonAsTheyAreComplete(t *testing.T) {
	var r resp.Requests
	part := []byte("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000000\r\nvvvv")
	if n, done, err := r.Feed(part); n != len(part) || done || err != nil {
		t.Fatalf("Feed() = %d, %v, %v", n, done, err)
	}
	got := []string{string(r.Arg(0).In(part)), string(r.Arg(1).In(part))}
	if !slices.Equal(got, []string{"SET", "k"}) || r.Arg(2).In(part) != nil {
		t.Errorf("arguments = %q and %v, want SET, k and none", got, r.Arg(2))
	}
	if r.NumArgs() != 3 || r.Len() != int64(len(part)) || r.Idle() {
		t.Errorf("NumArgs, Len, Idle = %d, %d, %v", r.NumArgs(), r.Len(), r.Idle())
	}
}

func TestASpanOutsideOfTheFrameIsNil(t *testing.T) {
	frame := []byte("*1\r\n$1\r\nk\r\n")
	for _, s := range []resp.Span{{}, {8, 99}, {9, 8}, {-1, 2}} {
		if got := s.In(frame); got != nil {
			t.Errorf("%v.In() = %q, want nil", s, got)
		}
	}
}

func TestALongRequestIsSplitByArgs(t *testing.T) {
	var want []string
	for i := range 1000 {
		want = append(want, fmt.Sprint("argument ", i))
	}
	frame := resp.AppendCommand(nil, want...)
	checkRequests(t, frame, defaults)
	args, err := resp.Args(frame)
	var got []string
	for _, arg := range args {
		got = append(got, string(arg))
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("Args() = %d arguments, %v", len(got), err)
	}
}

func TestArgsRefusesWhatWasNeverFramed(t *testing.T) {
	for _, frame := range []string{"*", "*1", "*1\r\n$", "*1\r\n$-1\r\n", "*1\r\n$9\r\nshort\r\n", "*1\r\n$1\r\nk"} {
		var perr *resp.ProtocolError
		if args, err := resp.Args([]byte(frame)); !errors.As(err, &perr) {
			t.Errorf("Args(%q) = %q, %v, want a ProtocolError", frame, args, err)
		}
	}
}

func requestSeeds() (seeds []string) {
	for _, tt := range requests {
		seeds = append(seeds, tt.data)
	}
	return append(seeds, "*3\r\n$3\r\nSET\r\n$5\r\nkey:1\r\n$10\r\n0123456789\r\n", "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
}

func TestMutatedRequestsAreReadAsTheReferenceReadsThem(t *testing.T) {
	compareMutations(t, requestSeeds(), func(data []byte) { checkRequests(t, data, defaults) })
}

func FuzzRequests(f *testing.F) {
	for _, seed := range requestSeeds() {
		f.Add([]byte(seed), false)
	}
	f.Fuzz(func(t *testing.T, data []byte, unauthenticated bool) {
		data = data[:min(len(data), 2000)]
		checkRequests(t, data, resp.Limits{Args: 1 << 20, Bulk: 512 << 20, Inline: 64, Unauthenticated: unauthenticated})
		// Anything goes in, framed or not; nothing may panic.
		_, _ = resp.Args(data)
	})
}
