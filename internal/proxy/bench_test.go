package proxy_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/rediam/rediam/internal/proxy"
	"github.com/rediam/rediam/internal/resp"
)

// BenchmarkSession is what it costs to follow both halves of a connection, without
// any I/O: the loads are those of bench/proxy, one SET and one GET for each place in
// the pipeline.
func BenchmarkSession(b *testing.B) {
	for _, load := range []struct {
		name     string
		pipeline int
		size     int
	}{{"P1", 1, 64}, {"P16", 16, 64}, {"16K", 1, 16000}} {
		value := strings.Repeat("x", load.size)
		exchanges := [][2][]byte{
			{resp.AppendCommand(nil, "SET", "key:000000000001", value), []byte("+OK\r\n")},
			{resp.AppendCommand(nil, "GET", "key:000000000001"), resp.AppendBulk(nil, value)},
		}
		size := 0
		for i, e := range exchanges {
			exchanges[i] = [2][]byte{bytes.Repeat(e[0], load.pipeline), bytes.Repeat(e[1], load.pipeline)}
			size += len(exchanges[i][0]) + len(exchanges[i][1])
		}
		b.Run(load.name, func(b *testing.B) {
			var s proxy.Session
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for b.Loop() {
				for _, e := range exchanges {
					if n, _, err := s.Client(e[0], false); err != nil || n != len(e[0]) {
						b.Fatal(n, err)
					}
					if _, err := s.Server(e[1]); err != nil || !s.Safe() {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(exchanges)*load.pipeline), "ns/request")
		})
	}
}
