package emulator_test

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/rediam/rediam/emulator"
)

func TestRepliesComeInTheOrderOfRequests(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, engine string) {
		srv := emulator.Start(t, emulator.Config{Engine: engine})
		must(t, srv.PutUser(emulator.User{Name: "demo-user", Access: "on ~* &* +@all -del"}))
		w := signedIn(t, srv)
		denied := w.do("DEL", "k")
		if !strings.HasPrefix(denied, "-NOPERM") {
			t.Fatalf("DEL is answered by %q", denied)
		}
		w.wants("+RESET\r\n", "RESET")

		good := token(t, srv, nil)
		requests := []string{
			request("PING"), request("AUTH", "demo-user", good), request("SET", "k", "1"), request("AUTH", "demo-user", "bad"), request("INCR", "k"),
			"\r\n", "*0\r\n", "INCR k\r\n", request("DEL", "k"), request("HELLO", "9"), "GET k\n", request("ECHO", strings.Repeat("e", 300)),
			request("AUTH", "demo-user", good), request("MULTI"), request("INCR", "k"), request("DEL", "k"), request("EXEC"), request("GET", "k"),
			request("MULTI"), request("INCR", "k"), request("EXEC"), request("AUTH"), request("RESET"), request("GET", "k"),
			request("AUTH", "demo-user", good), request("GET", "k"), request("QUIT"),
		}
		replies := []string{
			"-NOAUTH Authentication required.\r\n", ok, ok, wrongPass, ":2\r\n",
			":3\r\n", denied, "-NOPROTO unsupported protocol version\r\n", bulk("3"), bulk(strings.Repeat("e", 300)),
			ok, ok, "+QUEUED\r\n", denied, "-EXECABORT Transaction discarded because of previous errors.\r\n", bulk("3"),
			ok, "+QUEUED\r\n", "*1\r\n:4\r\n", "-ERR wrong number of arguments for 'auth' command\r\n", "+RESET\r\n", "-NOAUTH Authentication required.\r\n",
			ok, bulk("4"), ok,
		}
		all := strings.Join(requests, "")
		t.Run("in one write", func(t *testing.T) {
			w := dial(t, srv, "demo")
			w.send(all)
			w.gets(replies...)
			w.ends()
		})
		t.Run("byte by byte", func(t *testing.T) {
			w := dial(t, srv, "demo")
			for i := range len(all) {
				w.send(all[i : i+1])
			}
			w.gets(replies...)
			w.ends()
		})
		t.Run("in two writes, cut anywhere", func(t *testing.T) {
			for cut := 1; cut < len(all); cut += 97 {
				w := dial(t, srv, "demo")
				w.send(all[:cut])
				w.send(all[cut:])
				w.gets(replies...)
				w.ends()
			}
		})
	})
}

func TestPushesComeBetweenReplies(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, engine string) {
		srv := emulator.Start(t, emulator.Config{Engine: engine})
		w, publisher := dial(t, srv, "demo"), signedIn(t, srv)
		w.do("HELLO", "3", "AUTH", "demo-user", token(t, srv, nil))
		// A list that looks like a message is a reply all the same.
		w.wants(":3\r\n", "RPUSH", "message", "message", "c", "1")
		w.wants(":3\r\n", "RPUSH", "subscribe", "subscribe", "c", "9")
		message := []string{request("LRANGE", "message", "0", "-1"), "*3\r\n" + bulk("message") + bulk("c") + bulk("1")}
		subscribe := []string{request("LRANGE", "subscribe", "0", "-1"), "*3\r\n" + bulk("subscribe") + bulk("c") + bulk("9")}
		if engine == "embedded" { // miniredis takes no commands of subscribers, in RESP3 neither
			message = []string{request("PING"), "*2\r\n" + bulk("pong") + bulk("")}
			subscribe = message
		}
		w.wants(">3\r\n"+bulk("subscribe")+bulk("c")+":1\r\n", "SUBSCRIBE", "c")
		const n = 300
		published := make(chan bool)
		go func() {
			defer close(published)
			for range n {
				io.WriteString(publisher, request("PUBLISH", "c", "message"))
				readFrame(publisher.replies)
			}
		}()
		good := token(t, srv, nil)
		messages := 0
		wants := func(want string) {
			for {
				got := w.reply()
				if got == ">3\r\n"+bulk("message")+bulk("c")+bulk("message") {
					messages++
					continue
				}
				if got != want {
					t.Fatalf("got %q, want %q", got, want)
				}
				return
			}
		}
		for range 30 {
			w.send(message[0] + request("AUTH", "demo-user", good) + subscribe[0] + request("AUTH", "demo-user", "bad"))
			wants(message[1])
			wants(ok)
			wants(subscribe[1])
			wants(wrongPass)
		}
		<-published
		w.send(message[0])
		wants(message[1])
		if messages != n {
			t.Errorf("%d messages have come, want %d", messages, n)
		}
	})
}

func TestInvalidationsPassByASignIn(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, engine string) {
		if engine == "embedded" {
			t.Skip("miniredis has no CLIENT TRACKING")
		}
		srv := emulator.Start(t, emulator.Config{Engine: engine})
		w, writer := dial(t, srv, "demo"), signedIn(t, srv)
		w.do("HELLO", "3", "AUTH", "demo-user", token(t, srv, nil))
		w.wants(ok, "CLIENT", "TRACKING", "ON")
		w.wants("_\r\n", "GET", "k")
		writer.wants(ok, "SET", "k", "v")
		w.gets(">2\r\n" + bulk("invalidate") + "*1\r\n" + bulk("k"))
		w.wants(ok, "AUTH", "demo-user", token(t, srv, nil))
		w.wants(bulk("v"), "GET", "k")
		writer.wants(ok, "FLUSHALL")
		w.gets(">2\r\n" + bulk("invalidate") + "_\r\n")
	})
}

func TestSubscriptionsWithoutNames(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, engine string) {
		srv := emulator.Start(t, emulator.Config{Engine: engine})
		for _, protocol := range []string{"2", "3"} {
			w := dial(t, srv, "demo")
			w.do("HELLO", protocol, "AUTH", "demo-user", token(t, srv, nil))
			w.wants("-ERR wrong number of arguments for 'subscribe' command\r\n", "SUBSCRIBE")
			w.send(request("SUBSCRIBE", "a", "b") + request("PSUBSCRIBE", "p*") + request("UNSUBSCRIBE"))
			for range 5 {
				w.reply()
			}
			w.send(request("PUNSUBSCRIBE") + request("PUNSUBSCRIBE", "x", "y") + request("UNSUBSCRIBE") + request("AUTH", "demo-user", token(t, srv, nil)) + request("PING"))
			for range 4 {
				w.reply()
			}
			w.gets(ok, "+PONG\r\n")
		}
	})
}

func TestClientReply(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, engine string) {
		srv := emulator.Start(t, emulator.Config{Engine: engine})
		w := signedIn(t, srv)
		if engine == "embedded" { // it does not have the command, so replies stay on
			if got := w.do("CLIENT", "REPLY", "OFF"); !strings.HasPrefix(got, "-ERR") {
				t.Errorf("CLIENT REPLY OFF is answered by %q", got)
			}
			w.wants("+PONG\r\n", "PING")
			return
		}
		good := token(t, srv, nil)
		skip, off, on := request("CLIENT", "REPLY", "SKIP"), request("CLIENT", "REPLY", "OFF"), request("CLIENT", "REPLY", "ON")
		auth, bad, get := request("AUTH", "demo-user", good), request("AUTH", "demo-user", "bad"), request("GET", "k")
		for name, row := range map[string]struct {
			send string
			gets []string
		}{
			"SKIP":                     {skip + get + request("PING"), []string{"+PONG\r\n"}},
			"SKIP twice":               {skip + skip + get + request("PING"), []string{"+PONG\r\n"}},
			"SKIP, AUTH":               {skip + auth + get, []string{"$-1\r\n"}},
			"SKIP, refused AUTH":       {skip + bad + get, []string{"$-1\r\n"}},
			"SKIP, AUTH without":       {skip + request("AUTH") + get, []string{"$-1\r\n"}},
			"SKIP, unknown HELLO":      {skip + request("HELLO", "7") + get, []string{"$-1\r\n"}},
			"SKIP, HELLO AUTH":         {skip + request("HELLO", "3", "AUTH", "demo-user", good) + get, []string{"_\r\n"}},
			"SKIP, HELLO":              {skip + request("HELLO", "3") + request("SUBSCRIBE", "c") + auth, []string{">3\r\n" + bulk("subscribe") + bulk("c") + ":1\r\n", ok}},
			"OFF":                      {off + get + auth + bad + request("HELLO", "8") + get + on + get, []string{ok, "$-1\r\n"}},
			"OFF, HELLO AUTH":          {off + request("HELLO", "3", "AUTH", "demo-user", good) + on + get, []string{ok, "_\r\n"}},
			"OFF, MULTI":               {off + request("MULTI") + get + request("EXEC") + on + auth + get, []string{ok, ok, "$-1\r\n"}},
			"OFF, MULTI, AUTH, EXEC":   {off + request("MULTI") + auth + request("EXEC") + on + auth + get, []string{ok, ok, "$-1\r\n"}},
			"OFF, SUBSCRIBE":           {off + request("SUBSCRIBE", "c") + request("UNSUBSCRIBE", "c") + on + get, []string{"*3\r\n" + bulk("subscribe") + bulk("c") + ":1\r\n", "*3\r\n" + bulk("unsubscribe") + bulk("c") + ":0\r\n", ok, "$-1\r\n"}},
			"OFF, RESET":               {off + request("RESET") + auth + get, []string{"+RESET\r\n", ok, "$-1\r\n"}},
			"a wrong mode":             {request("CLIENT", "REPLY", "NO") + get + auth, []string{"-ERR syntax error\r\n", "$-1\r\n", ok}},
			"OFF within MULTI":         {request("MULTI") + off + request("EXEC") + auth, []string{ok, "-ERR CLIENT REPLY is not supported inside MULTI\r\n", "-EXECABORT Transaction discarded because of previous errors.\r\n", ok}},
			"OFF does not end at AUTH": {off + auth + request("PING") + on, []string{ok}},
		} {
			t.Run(name, func(t *testing.T) {
				w := signedIn(t, srv)
				w.send(row.send)
				w.gets(row.gets...)
				w.wants("*0\r\n", "LRANGE", "nothing", "0", "-1")
			})
		}
		must(t, srv.PutUser(emulator.User{Name: "demo-user", Access: "on ~* &allowed +@all"}))
		w = signedIn(t, srv)
		w.send(off + request("SUBSCRIBE", "denied") + on + auth + get + auth) // the error does not come
		w.gets(ok, ok, "$-1\r\n", ok)
	})
}

func TestTransactions(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, engine string) {
		srv := emulator.Start(t, emulator.Config{Engine: engine})
		w := signedIn(t, srv)
		good := token(t, srv, nil)
		w.wants(ok, "MULTI")
		if got := w.do("MULTI"); !strings.HasPrefix(got, "-ERR ") {
			t.Errorf("MULTI in MULTI is answered by %q", got)
		}
		if got := w.do("AUTH", "demo-user", good); !strings.HasPrefix(got, "-ERR AUTH") {
			t.Errorf("AUTH is answered by %q", got)
		}
		w.wants(ok, "DISCARD")
		w.wants(ok, "AUTH", "demo-user", good)
		w.wants("-ERR EXEC without MULTI\r\n", "EXEC")
		w.wants("-ERR DISCARD without MULTI\r\n", "DISCARD")

		w.send(request("MULTI") + request("NOSUCHCOMMAND") + request("EXEC") + request("AUTH", "demo-user", good))
		w.gets(ok)
		w.reply()
		w.gets("-EXECABORT Transaction discarded because of previous errors.\r\n", ok)

		// An EXEC of a watched key that has changed ends the transaction too.
		other := signedIn(t, srv)
		w.wants(ok, "WATCH", "watched")
		w.wants(ok, "MULTI")
		other.wants(ok, "SET", "watched", "v")
		w.wants("+QUEUED\r\n", "GET", "watched")
		w.wants("*-1\r\n", "EXEC")
		w.wants(ok, "AUTH", "demo-user", good)
	})
}

func TestWhatCannotBeToldFromExecsReplyIsRefusedWithinATransaction(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, engine string) {
		srv := emulator.Start(t, emulator.Config{Engine: engine})
		for want, command := range map[string][]string{
			"SUBSCRIBE": {"SUBSCRIBE", "a", "b"}, "PUNSUBSCRIBE": {"PUNSUBSCRIBE"}, "HELLO": {"HELLO", "3"},
		} {
			w := signedIn(t, srv)
			w.wants(ok, "MULTI")
			w.wants("-ERR "+want+" is not supported inside MULTI\r\n", command...)
			w.wants("-EXECABORT Transaction discarded because of previous errors.\r\n", "EXEC")
			w.wants(ok, "AUTH", "demo-user", token(t, srv, nil))
			w.wants("$-1\r\n", "GET", "k")
		}
	})
}

func TestMonitor(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, engine string) {
		if engine == "embedded" {
			t.Skip("miniredis has no MONITOR")
		}
		srv := emulator.Start(t, emulator.Config{Engine: engine})
		w, other := signedIn(t, srv), signedIn(t, srv)
		w.wants(ok, "MONITOR")
		other.wants(ok, "SET", "k", "v")
		if got := w.reply(); !strings.HasSuffix(got, "\"SET\" \"k\" \"v\"\r\n") {
			t.Errorf("MONITOR says %q", got)
		}
		w.wants(ok, "AUTH", "demo-user", token(t, srv, nil))
		must(t, srv.PutUser(emulator.User{Name: "demo-user", Access: "on ~* +@all -del"})) // ACL SETUSER with a password
		w.send(request("RESET"))
		for got := ""; got != "+RESET\r\n"; {
			if got = w.reply(); strings.Contains(got, "SETUSER") {
				t.Errorf("MONITOR says %q", got)
			}
		}
		w.wants(ok, "AUTH", "demo-user", token(t, srv, nil))
		w.wants(bulk("v"), "GET", "k")
	})
}

func TestAuthWaitsBehindABlockedCommand(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, engine string) {
		srv := emulator.Start(t, emulator.Config{Engine: engine})
		w, other := signedIn(t, srv), signedIn(t, srv)
		w.send(request("BLPOP", "list", "0") + request("AUTH", "demo-user", token(t, srv, nil)) + request("PING"))
		other.wants(":1\r\n", "RPUSH", "list", "v")
		w.gets("*2\r\n"+bulk("list")+bulk("v"), ok, "+PONG\r\n")
		w.send(request("BLPOP", "list", "0"))
		srv.Advance(13 * time.Hour) // a blocked connection ends too
		w.ends()
	})
}

func TestAllRepliesComeAfterAHalfClose(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, engine string) {
		srv := emulator.Start(t, emulator.Config{Engine: engine})
		w := signedIn(t, srv)
		const n = 5000
		value := strings.Repeat("v", 2000)
		w.send(request("SET", "k", value) + strings.Repeat(request("GET", "k"), n) + request("AUTH", "demo-user", "bad") + request("PING"))
		must(t, w.CloseWrite())
		w.gets(ok)
		for range n {
			w.gets(bulk(value))
		}
		w.gets(wrongPass, "+PONG\r\n")
		w.ends()
	})
}

func TestALargeRequestBeforeAHalfCloseIsServed(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, engine string) {
		srv := emulator.Start(t, emulator.Config{Engine: engine})
		for range 5 {
			w := signedIn(t, srv)
			w.send(request("SET", "k", strings.Repeat("v", 100_000)))
			must(t, w.CloseWrite())
			w.gets(ok)
			w.ends()
		}
	})
}

func TestRequestsAndRepliesAreLarge(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, engine string) {
		srv := emulator.Start(t, emulator.Config{Engine: engine})
		w := signedIn(t, srv)
		for _, size := range []int{32<<10 - 40, 32<<10 - 34, 32 << 10, 32<<10 + 1, 1 << 20, 20 << 20} {
			value := strings.Repeat("0123456789abcdef", size/16+1)[:size]
			w.send(request("PING") + request("SET", "large", value) + request("GET", "large") + request("AUTH", "demo-user", "bad"))
			w.gets("+PONG\r\n", ok, bulk(value), wrongPass)
		}
		many := []string{"MSET"}
		for i := range 50_000 {
			many = append(many, fmt.Sprint("key", i), "value")
		}
		w.wants(ok, many...)
		w.wants(bulk("value"), "GET", "key49999")
		channels := []string{"SUBSCRIBE"}
		for i := range 10_000 {
			channels = append(channels, fmt.Sprint("channel", i))
		}
		w.send(request(channels...))
		for range 10_000 {
			w.reply()
		}
		w.send(request("UNSUBSCRIBE"))
		for range 10_000 {
			w.reply()
		}
		w.wants(ok, "AUTH", "demo-user", token(t, srv, nil))
	})
}

func TestManyLargeRequestsInARow(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, engine string) {
		srv := emulator.Start(t, emulator.Config{Engine: engine})
		w := signedIn(t, srv)
		one := request("SET", "k", strings.Repeat("v", 40_000))
		go io.WriteString(w, strings.Repeat(one, 1000)) //nolint:errcheck // the replies tell
		for range 1000 {
			w.gets(ok)
		}
	})
}

func TestAClientMayReadLate(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, engine string) {
		srv := emulator.Start(t, emulator.Config{Engine: engine})
		w := signedIn(t, srv)
		const n = 100_000
		value := strings.Repeat("v", 200) // replies of 20 MB, more than sockets hold
		w.send(request("SET", "k", value) + strings.Repeat(request("GET", "k"), n))
		w.gets(ok)
		for range n {
			w.gets(bulk(value))
		}
	})
}

func TestASlowReaderHoldsUpNobody(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, engine string) {
		srv := emulator.Start(t, emulator.Config{Engine: engine})
		slow, other := signedIn(t, srv), signedIn(t, srv)
		other.wants(ok, "SET", "k", strings.Repeat("v", 1<<20))
		slow.send(strings.Repeat(request("GET", "k"), 64)) // it reads none of it
		for range 100 {
			other.wants(":1\r\n", "EXISTS", "k")
		}
		must(t, srv.PutUser(emulator.User{Name: "other-user", Access: "on ~* +@all"}))
		srv.Advance(time.Hour)
		other.wants(ok, "AUTH", "demo-user", token(t, srv, nil))
		srv.Advance(11*time.Hour + time.Minute)
		if got := srv.Sessions("demo"); len(got) != 1 {
			t.Errorf("the sessions are %+v, want the other one", got)
		}
		slower := signedIn(t, srv)
		slower.send(strings.Repeat(request("GET", "k"), 64))
		other.wants(":1\r\n", "EXISTS", "k")
		must(t, srv.Close())
	})
}

func TestAnInlineRequestCannotHideAnother(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, engine string) {
		srv := emulator.Start(t, emulator.Config{Engine: engine})
		w := signedIn(t, srv)
		w.send("SET k \"a\\r\\nFLUSHALL\\r\\n\"\r\nGET k\r\n")
		w.gets(ok, bulk("a\r\nFLUSHALL\r\n"))
		w.send("SET k \"unbalanced\r\n")
		w.gets("-ERR Protocol error: unbalanced quotes in request\r\n")
		w.ends()
		w = signedIn(t, srv)
		w.send("*1\r\n$4\r\nPINGXX*1\r\n$8\r\nFLUSHALL\r\n")
		if got, _ := io.ReadAll(w.replies); !bytes.HasPrefix(got, []byte("-ERR Protocol error")) {
			t.Errorf("a request without its CRLF is answered by %q", got)
		}
	})
}
