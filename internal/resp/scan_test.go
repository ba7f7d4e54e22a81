package resp_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/rediam/rediam/internal/resp"
)

// feeder is what Requests and Replies have in common.
type feeder interface {
	Feed(p []byte) (n int, done bool, err error)
	Idle() bool
}

// scan feeds the parts of data that end at the given cuts, shows each frame
// with show, and then how the input ended. Where the error was found comes
// back too: it may not depend on the cuts.
func scan(t *testing.T, data []byte, cuts []int, f feeder, show func(frame []byte) string) (got []string, at int) {
	t.Helper()
	start, used := 0, 0
	for _, cut := range append(slices.Clone(cuts), len(data)) {
		for used < cut {
			n, done, err := f.Feed(data[used:cut:cut])
			used += n
			if err != nil {
				checkError(t, f, err)
				return append(got, err.Error()), used
			}
			if f.Idle() != done || !done && used != cut || n == 0 {
				t.Fatalf("Feed(%q) = %d, %v with Idle() = %v", data[used-n:cut], n, done, f.Idle())
			}
			if done {
				got = append(got, fmt.Sprintf("%d %s", used-start, show(data[start:used])))
				start = used
			}
		}
	}
	return got, used
}

func checkError(t *testing.T, f feeder, err error) {
	t.Helper()
	if perr := (*resp.ProtocolError)(nil); !errors.As(err, &perr) || strings.ContainsAny(perr.Text, "\r\n\x00") {
		t.Fatalf("error %#v is no ProtocolError of one line", err)
	}
	if n, done, again := f.Feed([]byte("*1\r\n$4\r\nPING\r\n")); n != 0 || done || again != err {
		t.Fatalf("Feed after an error = %d, %v, %v, want the same error", n, done, again)
	}
}

// ways lists the cuts to try: none, each single one, all at once, and every so
// many bytes.
func ways(size int) [][]int {
	all := make([]int, size)
	for i := range all {
		all[i] = i
	}
	cuts := [][]int{nil, all}
	for i := range min(size, 200) {
		cuts = append(cuts, []int{i})
	}
	for _, step := range []int{2, 3, 7, 16} {
		var every []int
		for i := step; i < size; i += step {
			every = append(every, i)
		}
		cuts = append(cuts, every)
	}
	return cuts
}

func compare(t *testing.T, data []byte, want []string, scan func(cuts []int) ([]string, int)) {
	t.Helper()
	_, wantAt := scan(nil)
	for _, cuts := range ways(len(data)) {
		got, at := scan(cuts)
		if !slices.Equal(got, want) || at != wantAt {
			t.Fatalf("%.300q cut at %.40v:\n got %q at %d\nwant %q at %d", data, cuts, got, at, want, wantAt)
		}
	}
}

// checkRequests compares Requests with the reference in every way to cut data.
func checkRequests(t *testing.T, data []byte, l resp.Limits) {
	t.Helper()
	compare(t, data, referenceRequests(data, l), func(cuts []int) ([]string, int) {
		r := &resp.Requests{Limits: l}
		return scan(t, data, cuts, r, func(frame []byte) string { return showRequest(t, r, frame) })
	})
}

func showRequest(t *testing.T, r *resp.Requests, frame []byte) string {
	t.Helper()
	if r.Len() != int64(len(frame)) {
		t.Fatalf("Len() = %d of %q", r.Len(), frame)
	}
	if r.Inline() {
		return fmt.Sprintf("inline %d", r.NumArgs())
	}
	args, err := resp.Args(frame)
	if err != nil || len(args) != r.NumArgs() {
		t.Fatalf("Args(%q) = %q, %v; NumArgs() = %d", frame, args, err, r.NumArgs())
	}
	for i := range args {
		if got := r.Arg(i).In(frame); i < resp.MaxSpans && string(got) != string(args[i]) {
			t.Fatalf("Arg(%d) of %q = %q", i, frame, got)
		}
	}
	for _, i := range []int{-1, resp.MaxSpans, len(args)} {
		if r.Arg(i) != (resp.Span{}) {
			t.Fatalf("Arg(%d) of %d = %v, want none", i, len(args), r.Arg(i))
		}
	}
	return showArray(args)
}

// checkReplies compares Replies with the reference in every way to cut data.
func checkReplies(t *testing.T, data []byte) {
	t.Helper()
	compare(t, data, referenceReplies(data), func(cuts []int) ([]string, int) {
		r := &resp.Replies{}
		return scan(t, data, cuts, r, func([]byte) string {
			heads := make([][]byte, resp.MaxHeads)
			for i := range heads {
				heads[i] = slices.Clone(r.Head(i))
			}
			if r.Head(-1) != nil || r.Head(resp.MaxHeads) != nil {
				t.Fatal("Head outside of its range is not nil")
			}
			return showReply(r.Type(), r.Count(), heads)
		})
	})
	checkSkip(t, data)
}

// checkSkip compares what Skip takes with what Feed does.
func checkSkip(t *testing.T, data []byte) {
	t.Helper()
	skipped, replies := new(resp.Replies).Skip(data, 5)
	r, taken := &resp.Replies{}, 0
	for range replies {
		n, done, err := r.Feed(data[taken:])
		if kind := r.Type(); !done || err != nil || kind != '$' && kind != '+' && kind != ':' {
			t.Fatalf("%q: Skip takes %d replies of %d bytes, and Feed fails with %v, %c, behind %d bytes", data, replies, skipped, err, kind, taken)
		}
		taken += n
	}
	if taken != skipped || replies > 5 {
		t.Fatalf("%q: Skip takes %d replies of %d bytes, which Feed says have %d", data, replies, skipped, taken)
	}
}

// mutate changes a few bytes of data, mostly to ones that mean something.
func mutate(rng *rand.Rand, data []byte) []byte {
	const meaning = "\r\n*$%>|~_-+:0123456789 \x00\xff"
	data = slices.Clone(data)
	for range rng.IntN(3) {
		i := rng.IntN(len(data))
		c := meaning[rng.IntN(len(meaning))]
		switch rng.IntN(3) {
		case 0:
			data[i] = c
		case 1:
			data = slices.Insert(data, i, c)
		default:
			data = append(slices.Delete(data, i, i+1), c)
		}
	}
	return data
}

func compareMutations(t *testing.T, seeds []string, check func(data []byte)) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		data := seeds[rng.IntN(len(seeds))] + seeds[rng.IntN(len(seeds))]
		check(mutate(rng, []byte(data)))
	}
}
