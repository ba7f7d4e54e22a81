package resp_test

import (
	"math"
	"testing"

	"github.com/rediam/rediam/internal/resp"
)

func TestAppended(t *testing.T) {
	for _, tt := range []struct{ name, got, want string }{
		{"command", string(resp.AppendCommand(nil, "AUTH", "", "a\r\nb")), "*3\r\n$4\r\nAUTH\r\n$0\r\n\r\n$4\r\na\r\nb\r\n"},
		{"no arguments", string(resp.AppendCommand(nil)), "*0\r\n"},
		{"bulk of bytes", string(resp.AppendBulk([]byte("x"), []byte{0, 255})), "x$2\r\n\x00\xff\r\n"},
		{"simple", string(resp.AppendSimple(nil, "OK")), "+OK\r\n"},
		{"error", string(resp.AppendError(nil, "ERR no")), "-ERR no\r\n"},
		{"error of two lines", string(resp.AppendError(nil, "ERR a\r\n+OK\n")), "-ERR a  +OK \r\n"},
		{"simple of two lines", string(resp.AppendSimple(nil, "a\nb")), "+a b\r\n"},
		{"integer", string(resp.AppendInt(nil, math.MinInt64)), ":-9223372036854775808\r\n"},
		{"array", string(resp.AppendArrayHeader(nil, 12)), "*12\r\n"},
		{"map in RESP3", string(resp.AppendMapHeader(nil, 7, true)), "%7\r\n"},
		{"map in RESP2", string(resp.AppendMapHeader(nil, 7, false)), "*14\r\n"},
		{"null in RESP3", string(resp.AppendNull(nil, true)), "_\r\n"},
		{"null in RESP2", string(resp.AppendNull(nil, false)), "$-1\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.got != tt.want {
				t.Errorf("got %q, want %q", tt.got, tt.want)
			}
		})
	}
}
