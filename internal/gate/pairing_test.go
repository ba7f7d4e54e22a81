package gate_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/rediam/rediam/internal/gate"
)

// Replies as Redis 7.0 sends them.
const (
	ok           = "+OK\r\n"
	subscribeA   = "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n"
	subscribeB   = "*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n"
	psubscribe   = "*3\r\n$10\r\npsubscribe\r\n$2\r\np*\r\n:3\r\n"
	unsubscribeA = "*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:2\r\n"
	unsubscribeB = "*3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n:1\r\n"
	punsubscribe = "*3\r\n$12\r\npunsubscribe\r\n$2\r\np*\r\n:0\r\n"
	unsubscribe0 = "*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n"
	ssubscribe   = "*3\r\n$10\r\nssubscribe\r\n$1\r\ns\r\n:1\r\n"
	sunsubscribe = "*3\r\n$12\r\nsunsubscribe\r\n$1\r\ns\r\n:0\r\n"
	message      = "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$2\r\nhi\r\n"
	pmessage     = "*4\r\n$8\r\npmessage\r\n$2\r\np*\r\n$1\r\np\r\n$2\r\nhi\r\n"
	smessage     = "*3\r\n$8\r\nsmessage\r\n$1\r\ns\r\n$2\r\nhi\r\n"
	pong2        = "*2\r\n$4\r\npong\r\n$0\r\n\r\n"
	hello3       = "%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:4\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n"
	hello2       = "*14\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n$5\r\nproto\r\n:2\r\n$2\r\nid\r\n:4\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n"
	failed       = "-ERR no\r\n"
	invalidate   = ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n"
)

// push is a frame as a connection in RESP3 gets it.
func push(frame string) string { return strings.Replace(frame, "*", ">", 1) }

// A step of the engine's: what it is asked, what it sends, how things stand then.
type step struct {
	expect func(*gate.Pairing)
	sends  string
	passed string // "=" for all of it
	state  gate.State
}

func expect(kind gate.ReplyKind, count int64, name string) func(*gate.Pairing) {
	return func(p *gate.Pairing) { p.Expect(kind, count, name) }
}

func both(fs ...func(*gate.Pairing)) func(*gate.Pairing) {
	return func(p *gate.Pairing) {
		for _, f := range fs {
			f(p)
		}
	}
}

func nothing(*gate.Pairing) {}

func TestRepliesArePairedWithRequests(t *testing.T) {
	drained := gate.State{Drained: true}
	subscribed := gate.State{Drained: true, Subscribed: true}
	resp3 := gate.State{Drained: true, RESP3: true}
	inMulti := gate.State{Drained: true, InMulti: true}
	hello := step{(*gate.Pairing).ExpectHello, hello3, "=", resp3}
	plain := func(n int64) func(*gate.Pairing) { return expect(gate.Plain, n, "") }
	rows := map[string][]step{
		"every reply of RESP2 is one": {
			{plain(7), "+PONG\r\n:1\r\n-ERR no\r\n$-1\r\n*-1\r\n$3\r\na\r\n\r\n", "=", gate.State{Waiting: 1}},
			{nothing, "*2\r\n*1\r\n$1\r\nx\r\n:1\r\n", "=", drained},
		},
		"every reply of RESP3 is one":                 {hello, {plain(6), "_\r\n#t\r\n,1.5\r\n(123\r\n%1\r\n+a\r\n~1\r\n:1\r\n!5\r\nERR x\r\n", "=", resp3}},
		"an attribute belongs to the reply behind it": {hello, {plain(1), "|1\r\n+a\r\n+b\r\n", "=", gate.State{Waiting: 1, RESP3: true}}, {nothing, "+PONG\r\n", "=", resp3}},
		"half a reply keeps others out":               {{plain(1), "$5\r\nabc", "=", gate.State{Waiting: 1}}, {nothing, "de\r\n", "=", drained}},
		"a frame that nobody asked for keeps others out while it lasts": {
			hello, {nothing, invalidate[:10], "=", gate.State{RESP3: true}}, {nothing, invalidate[10:], "=", resp3},
		},

		"each name of SUBSCRIBE has a frame": {
			{expect(gate.Subscribes, 2, "subscribe"), subscribeA, "=", gate.State{Waiting: 1, Subscribed: true}}, {nothing, subscribeB, "=", subscribed},
		},
		"in RESP3 too, as a push": {
			hello, {expect(gate.Subscribes, 2, "subscribe"), push(subscribeA), "=", gate.State{Waiting: 1, RESP3: true, Subscribed: true}},
			{nothing, push(subscribeB), "=", gate.State{Drained: true, RESP3: true, Subscribed: true}},
		},
		"one error stands for all names": {{both(expect(gate.Subscribes, 3, "subscribe"), plain(1)), failed, "=", gate.State{Waiting: 1}}, {nothing, ok, "=", drained}},
		"UNSUBSCRIBE without names has a frame for each subscription of its kind": {
			{both(expect(gate.Subscribes, 2, "subscribe"), expect(gate.Subscribes, 1, "psubscribe")), subscribeA + subscribeB + psubscribe, "=", subscribed},
			{both(expect(gate.Subscribes, 0, "unsubscribe"), plain(1)), unsubscribeA, "=", gate.State{Waiting: 2, Subscribed: true}},
			{nothing, unsubscribeB, "=", gate.State{Waiting: 1, Subscribed: true}},
			{nothing, pong2, "=", subscribed},
			{expect(gate.Subscribes, 0, "punsubscribe"), punsubscribe, "=", drained},
		},
		"and one if there is none":   {{expect(gate.Subscribes, 0, "unsubscribe"), unsubscribe0, "=", drained}},
		"or an error, in Valkey 8.0": {{both(expect(gate.Subscribes, 0, "unsubscribe"), plain(1)), "-NOSUB 'unsubscribe' command executed not in subscribed mode\r\n", "=", gate.State{Waiting: 1}}, {nothing, ok, "=", drained}},
		"patterns are not channels": {
			{expect(gate.Subscribes, 1, "psubscribe"), strings.Replace(psubscribe, ":3", ":1", 1), "=", subscribed},
			{expect(gate.Subscribes, 1, "subscribe"), strings.Replace(subscribeA, ":1", ":2", 1), "=", subscribed},
			{both(expect(gate.Subscribes, 0, "unsubscribe"), plain(1)), strings.Replace(unsubscribeA, ":2", ":1", 1), "=", gate.State{Waiting: 1, Subscribed: true}},
		},
		"an error of RESP3 is one":                                         {hello, {expect(gate.StartsMulti, 1, ""), "!6\r\nERR no\r\n", "=", resp3}},
		"shard channels are counted by themselves":                         {{expect(gate.Subscribes, 1, "ssubscribe"), ssubscribe, "=", subscribed}, {expect(gate.Subscribes, 1, "subscribe"), subscribeA, "=", subscribed}, {expect(gate.Subscribes, 0, "sunsubscribe"), sunsubscribe, "=", subscribed}},
		"a message in RESP2 is no reply":                                   {{expect(gate.Subscribes, 1, "subscribe"), subscribeA, "=", subscribed}, {plain(1), message + pmessage + smessage, "=", gate.State{Waiting: 1, Subscribed: true}}, {nothing, pong2, "=", subscribed}},
		"a slot that moves away is no reply":                               {{expect(gate.Subscribes, 1, "ssubscribe"), ssubscribe, "=", subscribed}, {plain(1), sunsubscribe, "=", gate.State{Waiting: 1}}, {nothing, "+PONG\r\n", "=", drained}},
		"nor while another confirmation is awaited":                        {{expect(gate.Subscribes, 1, "ssubscribe"), ssubscribe, "=", subscribed}, {expect(gate.Subscribes, 1, "subscribe"), sunsubscribe, "=", gate.State{Waiting: 1}}, {nothing, subscribeA, "=", subscribed}},
		"a push is never a reply":                                          {hello, {plain(1), push(message) + invalidate + push(sunsubscribe), "=", gate.State{Waiting: 1, RESP3: true}}, {nothing, ok, "=", resp3}},
		"without subscriptions a reply that looks like a message is one":   {{plain(2), message + subscribeA, "=", drained}},
		"with subscriptions too, in RESP3":                                 {hello, {expect(gate.Subscribes, 1, "subscribe"), push(subscribeA), "=", gate.State{Drained: true, RESP3: true, Subscribed: true}}, {plain(2), message + unsubscribe0, "=", gate.State{Drained: true, RESP3: true, Subscribed: true}}},
		"a push within EXEC's reply is no element and no frame of its own": {hello, {both(expect(gate.StartsMulti, 1, ""), plain(2), expect(gate.EndsMulti, 1, "")), ok + "+QUEUED\r\n+QUEUED\r\n*2\r\n" + push(message) + ":1\r\n", "=", gate.State{Waiting: 1, RESP3: true, InMulti: true}}, {nothing, "_\r\n", "=", resp3}},

		"HELLO's answer tells the protocol":       {hello, {(*gate.Pairing).ExpectHello, hello2, "=", drained}},
		"a refused HELLO leaves it as it was":     {hello, {(*gate.Pairing).ExpectHello, failed, "=", resp3}},
		"MULTI begins a transaction":              {{expect(gate.StartsMulti, 1, ""), ok, "=", inMulti}},
		"a refused MULTI does not":                {{expect(gate.StartsMulti, 1, ""), failed, "=", drained}},
		"a nested MULTI ends none":                {{expect(gate.StartsMulti, 1, ""), ok, "=", inMulti}, {expect(gate.StartsMulti, 1, ""), failed, "=", inMulti}},
		"EXEC ends it":                            {{expect(gate.StartsMulti, 1, ""), ok, "=", inMulti}, {expect(gate.EndsMulti, 1, ""), "*0\r\n", "=", drained}},
		"EXEC ends it with an error too":          {{expect(gate.StartsMulti, 1, ""), ok, "=", inMulti}, {expect(gate.EndsMulti, 1, ""), failed, "=", drained}},
		"DISCARD ends it":                         {{expect(gate.StartsMulti, 1, ""), ok, "=", inMulti}, {expect(gate.Discards, 1, ""), ok, "=", drained}},
		"a refused DISCARD does not":              {{expect(gate.StartsMulti, 1, ""), ok, "=", inMulti}, {expect(gate.Discards, 1, ""), failed, "=", inMulti}},
		"after MONITOR nothing is waited for":     {{(*gate.Pairing).ExpectMonitor, ok, "=", drained}, {plain(9), "+1.2 [0 unix:s] \"GET\" \"k\"\r\n", "=", gate.State{Waiting: 8, Drained: true}}},
		"but for the end of a line":               {{(*gate.Pairing).ExpectMonitor, ok, "=", drained}, {plain(1), "+1.2 [0", "=", gate.State{Waiting: 1}}},
		"a refused MONITOR changes nothing":       {{(*gate.Pairing).ExpectMonitor, failed, "=", drained}, {plain(1), "", "=", gate.State{Waiting: 1}}},
		"what is swallowed is not for the client": {{both(plain(1), expect(gate.Swallowed, 1, ""), plain(1)), "+a\r\n+OK\r\n+b\r\n", "+a\r\n+b\r\n", drained}},
		"nor is an error":                         {{both(expect(gate.Swallowed, 1, ""), plain(1)), "-WRONGPASS no\r\n+b\r\n", "+b\r\n", drained}},
		"nor an array":                            {{both(expect(gate.Swallowed, 1, ""), plain(1)), "*2\r\n$1\r\na\r\n*1\r\n:1\r\n+b\r\n", "+b\r\n", drained}},
		"a push before it is":                     {hello, {expect(gate.Swallowed, 1, ""), invalidate + "+OK\r\n" + invalidate, invalidate + invalidate, resp3}},
	}
	for name, steps := range rows {
		t.Run(name, func(t *testing.T) {
			for size := 1; size <= 64; size++ {
				p := new(gate.Pairing)
				for i, s := range steps {
					s.expect(p)
					if s.passed == "=" {
						s.passed = s.sends
					}
					if got := feed(t, p, s.sends, size); got != s.passed {
						t.Fatalf("in pieces of %d, step %d passes %q, want %q", size, i, got, s.passed)
					}
					if got := p.State(); got != s.state {
						t.Fatalf("in pieces of %d, after step %d the state is %+v, want %+v", size, i, got, s.state)
					}
				}
			}
		})
	}
}

// feed gives p what the engine sends in pieces, and returns what is passed on.
func feed(t *testing.T, p *gate.Pairing, sends string, size int) string {
	t.Helper()
	var passed bytes.Buffer
	for len(sends) > 0 {
		n := min(size, len(sends))
		parts, err := p.Feed([]byte(sends[:n]))
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range parts {
			passed.Write(part)
		}
		sends = sends[n:]
	}
	return passed.String()
}

func TestWhatPrecedesAnEngineErrorIsPassedOn(t *testing.T) {
	p := new(gate.Pairing)
	p.Expect(gate.Plain, 2, "")
	parts, err := p.Feed([]byte("+PONG\r\n?\r\n"))
	if err == nil || string(bytes.Join(parts, nil)) != "+PONG\r\n" {
		t.Errorf("passed %q, %v", parts, err)
	}
}
