package resp_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/rediam/rediam/internal/resp"
)

// traffic is what benchmarks feed: whole frames, in buffers as a proxy reads.
type traffic struct {
	name   string
	stream []byte
	frames int
}

func repeated(name, frame string, n int) traffic {
	return traffic{name, []byte(strings.Repeat(frame, n)), n}
}

var requestTraffic = []traffic{
	repeated("GET", "*2\r\n$3\r\nGET\r\n$16\r\nkey:000000000001\r\n", 400),
	repeated("SET", "*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000001\r\n$3\r\nxxx\r\n", 300),
	repeated("inline", "PING\r\n", 2000),
	repeated("bulk1MiB", "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1048576\r\n"+strings.Repeat("x", 1<<20)+"\r\n", 1),
}

var replyTraffic = []traffic{
	repeated("OK", "+OK\r\n", 3000),
	repeated("bulk3", "$3\r\nxxx\r\n", 1500),
	repeated("array100", "*100\r\n"+strings.Repeat("$3\r\nxxx\r\n", 100), 10),
	repeated("push", ">3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$5\r\nhello\r\n", 400),
	repeated("bulk1MiB", "$1048576\r\n"+strings.Repeat("x", 1<<20)+"\r\n", 1),
}

// feedAll feeds tr in reads of 16 KiB and counts the frames.
func feedAll(tb testing.TB, f feeder, tr traffic) {
	frames := 0
	for rest := tr.stream; len(rest) > 0; {
		p := rest[:min(len(rest), 16<<10)]
		rest = rest[len(p):]
		for len(p) > 0 {
			n, done, err := f.Feed(p)
			if err != nil {
				tb.Fatal(err)
			}
			if p = p[n:]; done {
				frames++
			}
		}
	}
	if frames != tr.frames {
		tb.Fatalf("%d frames, want %d", frames, tr.frames)
	}
}

func bench(b *testing.B, list []traffic, f feeder) {
	for _, tr := range list {
		b.Run(tr.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(tr.stream)))
			for b.Loop() {
				feedAll(b, f, tr)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*tr.frames), "ns/frame")
		})
	}
}

func BenchmarkRequests(b *testing.B) { bench(b, requestTraffic, new(resp.Requests)) }
func BenchmarkReplies(b *testing.B)  { bench(b, replyTraffic, new(resp.Replies)) }

func TestFramingAllocatesNothing(t *testing.T) {
	requests, replies := new(resp.Requests), new(resp.Replies)
	for _, tr := range requestTraffic {
		if got := testing.AllocsPerRun(10, func() { feedAll(t, requests, tr) }); got != 0 {
			t.Errorf("requests %s: %v allocations, want 0", tr.name, got)
		}
	}
	for _, tr := range replyTraffic {
		if got := testing.AllocsPerRun(10, func() { feedAll(t, replies, tr) }); got != 0 {
			t.Errorf("replies %s: %v allocations, want 0", tr.name, got)
		}
	}
}

func TestBuildingIntoABufferAllocatesNothing(t *testing.T) {
	b, value := make([]byte, 0, 1024), []byte("value")
	got := testing.AllocsPerRun(10, func() {
		b = resp.AppendCommand(b[:0], "AUTH", "user", "token")
		b = resp.AppendMapHeader(b, 7, true)
		b = resp.AppendBulk(b, value)
		b = resp.AppendInt(b, 1234567)
		b = resp.AppendError(b, "ERR no")
		b = resp.AppendNull(b, true)
	})
	if got != 0 || !bytes.HasPrefix(b, []byte("*3\r\n$4\r\nAUTH\r\n")) {
		t.Errorf("%v allocations for %q, want 0", got, b)
	}
}
