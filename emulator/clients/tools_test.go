package clients_test

import (
	"bufio"
	"context"
	"encoding/csv"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rediam/rediam/emulator"
	"github.com/rediam/rediam/internal/installed"
	"github.com/rediam/rediam/internal/resp"
)

// tool is redis-cli or redis-benchmark with the arguments that sign it in.
func tool(t *testing.T, name string, srv *emulator.Server) command {
	t.Helper()
	path := installed.Path(t, name)
	host, port, err := net.SplitHostPort(srv.Cache(emulator.DefaultCache).Addr)
	must(t, err)
	return command{path, "--tls", "--cacert", srv.CAFile(), "-h", host, "-p", port, "--user", emulator.DefaultUser}
}

func TestRedisCLISignsInAndWorks(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, engine string) {
		for _, protocol := range []string{"-2", "-3"} {
			t.Run("RESP"+protocol[1:], func(t *testing.T) {
				srv := emulator.Start(t, emulator.Config{Engine: engine})
				cli := append(tool(t, "redis-cli", srv), protocol)
				for _, row := range cliRows(t) {
					output, ok := cli.feed(t, row.input, []string{"REDISCLI_AUTH=" + token(t, srv)}, row.arguments...)
					if !ok || output != row.want {
						t.Errorf("redis-cli %.200q with %.200q on its input has printed\n%.500swant\n%s", row.arguments, row.input, output, row.want)
					}
				}
				for _, e := range srv.Events() {
					if e.Admitted() != (e.User == emulator.DefaultUser) {
						t.Errorf("a sign-in of %s: %q %s", e.User, e.Reason, e.Detail)
					}
				}
			})
		}
	})
}

// A cliRow is one run of redis-cli.
type cliRow struct {
	arguments []string
	input     string
	want      string
}

func cliRows(t *testing.T) []cliRow {
	t.Helper()
	file := filepath.Join(t.TempDir(), "script.lua")
	must(t, os.WriteFile(file, []byte("return {KEYS[1], ARGV[1], redis.call('GET', KEYS[1])}"), 0o600))
	return []cliRow{
		{[]string{"ACL", "WHOAMI"}, "", emulator.DefaultUser + "\n"},
		{[]string{"SET", "foo1", "bar1"}, "", "OK\n"},
		{[]string{"GET", "foo1"}, "", "bar1\n"},
		{[]string{"-x", "SET", "large"}, strings.Repeat("\r\n\x00+OK\r\n", 100_000), "OK\n"},
		{[]string{"STRLEN", "large"}, "", "800000\n"},
		{[]string{"-r", "3", "INCR", "counter"}, "", "1\n2\n3\n"},
		{[]string{"-n", "1", "GET", "foo1"}, "", "\n"},
		{[]string{"--eval", file, "foo1", ",", "argument"}, "", "foo1\nargument\nbar1\n"},
		{[]string{"--scan", "--pattern", "foo*"}, "", "foo1\n"},
		{[]string{"--pipe"}, pipe(), "All data transferred. Waiting for the last reply...\nLast reply received from server.\nerrors: 0, replies: 1000\n"},
		{[]string{"GET", "key999"}, "", "999\n"},
		// What is typed, in which redis-cli asks for the docs of every command.
		{nil, "SET t 1\nMULTI\nINCR t\nGET t\nEXEC\n", "OK\nOK\nQUEUED\nQUEUED\n2\n2\n"},
		{nil, "AUTH nobody wrong\nGET foo1\n", "WRONGPASS invalid username-password pair or user is disabled.\n\nbar1\n"},
		{nil, "subscribe\n", "ERR wrong number of arguments for 'subscribe' command\n\n"},
	}
}

func pipe() string {
	var b []byte
	for i := range 1000 {
		b = resp.AppendCommand(b, "SET", "key"+strconv.Itoa(i), strconv.Itoa(i))
	}
	return string(b)
}

func TestRedisCLISubscribes(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, engine string) {
		for _, protocol := range []string{"-2", "-3"} {
			t.Run("RESP"+protocol[1:], func(t *testing.T) {
				srv := emulator.Start(t, emulator.Config{Engine: engine})
				cli := append(tool(t, "redis-cli", srv), protocol)
				environment := []string{"REDISCLI_AUTH=" + token(t, srv)}
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				subscriber := cli.prepare(ctx, t, environment, []string{"SUBSCRIBE", "news"})
				output, err := subscriber.StdoutPipe()
				must(t, err)
				must(t, subscriber.Start())
				lines := bufio.NewReader(output)
				wantLines(t, lines, "subscribe", "news", "1")
				if printed, ok := cli.run(t, environment, "PUBLISH", "news", "hello"); !ok || printed != "1\n" {
					t.Errorf("redis-cli PUBLISH has printed %s", printed)
				}
				wantLines(t, lines, "message", "news", "hello")
				cancel()
				subscriber.Wait() // it was killed
			})
		}
	})
}

func wantLines(t *testing.T, lines *bufio.Reader, want ...string) {
	t.Helper()
	for _, want := range want {
		if got, err := lines.ReadString('\n'); got != want+"\n" {
			t.Fatalf("redis-cli has printed %q (%v), want %q", got, err, want)
		}
	}
}

func TestRedisCLIIsRefusedWithoutAGoodTokenAndRefusesAnotherAuthority(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	other := emulator.Start(t, emulator.Config{Engine: "embedded"})
	cli := tool(t, "redis-cli", srv)
	elsewhere := append(slices.Clone(cli), "--cacert", other.CAFile())
	if output, ok := elsewhere.run(t, []string{"REDISCLI_AUTH=" + token(t, srv)}, "PING"); ok || len(srv.Events()) > 0 {
		t.Errorf("redis-cli has printed %s, and the sign-ins are %s", output, describe(srv.Events()))
	}
	output, _ := cli.run(t, []string{"REDISCLI_AUTH=" + spoil(t, token(t, srv))}, "PING")
	if output != "NOAUTH Authentication required.\n\n" {
		t.Errorf("redis-cli has printed %s", output)
	}
	if events := srv.Events(); len(events) != 1 || events[0].Reason != "wrong-signature" {
		t.Errorf("the sign-ins are %s", describe(events))
	}
}

func TestRedisBenchmarkSignsInAndWorks(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, engine string) {
		srv := emulator.Start(t, emulator.Config{Engine: engine})
		benchmark := append(tool(t, "redis-benchmark", srv), "-a", token(t, srv), "--csv", "-c", "5")
		rows := []struct {
			name      string
			arguments []string
			tests     int
		}{
			{"everything", []string{"-n", "100"}, 20},
			{"a pipeline", []string{"-n", "2000", "-P", "16", "-t", "set,get,incr"}, 3},
			{"RESP3", []string{"-n", "500", "-3", "-t", "ping,set,hset"}, 4},
			{"a command of its own", []string{"-n", "500", "-r", "100", "HSET", "hash:__rand_int__", "f", "v"}, 1},
		}
		for _, row := range rows {
			t.Run(row.name, func(t *testing.T) {
				output, ok := benchmark.run(t, nil, row.arguments...)
				lines, err := csv.NewReader(strings.NewReader(output)).ReadAll()
				if !ok || err != nil || len(lines) != 1+row.tests {
					t.Errorf("redis-benchmark has printed (%v)\n%swant a header and %d tests", err, output, row.tests)
				}
			})
		}
	})
}
