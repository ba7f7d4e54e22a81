package emulator_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rediam/rediam/emulator"
	"github.com/rediam/rediam/internal/installed"
)

// onEveryServer is onEveryEngine without the embedded one.
func onEveryServer(t *testing.T, test func(t *testing.T, engine string)) {
	onEveryEngine(t, func(t *testing.T, engine string) {
		if engine == "embedded" {
			t.Skip("there is no process")
		}
		test(t, engine)
	})
}

// temporary makes the directory for temporary files one of this test's own.
func temporary(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "t") // t.TempDir may be too long for a socket
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	t.Setenv("TMPDIR", dir)
	return dir
}

// children are the processes whose working directory is below dir.
func children(t *testing.T, dir string) []int {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc")
	}
	links, err := filepath.Glob("/proc/[0-9]*/cwd")
	must(t, err)
	var found []int
	for _, link := range links {
		if cwd, err := os.Readlink(link); err == nil && strings.HasPrefix(cwd, dir+"/") {
			pid, _ := strconv.Atoi(strings.Split(link, "/")[2])
			found = append(found, pid)
		}
	}
	return found
}

func TestTheEngineIsShutToEverybodyElse(t *testing.T) {
	onEveryServer(t, func(t *testing.T, engine string) {
		dir := temporary(t)
		srv := emulator.Start(t, emulator.Config{Engine: engine})
		w := signedIn(t, srv)
		w.wants(ok, "SET", "k", "v")
		pids := children(t, dir)
		if len(pids) != 1 {
			t.Fatalf("there are the processes %v, want one", pids)
		}
		proc := fmt.Sprintf("/proc/%d/", pids[0])
		for _, name := range []string{"cmdline", "environ"} {
			content, err := os.ReadFile(proc + name)
			must(t, err)
			if strings.Contains(string(content), "user ") || regexp.MustCompile(`[A-Z2-7]{52}`).Match(content) {
				t.Errorf("%s of the engine holds its configuration: %q", name, content)
			}
		}
		must(t, filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
			if err != nil || path == dir {
				return err
			}
			info, err := entry.Info()
			if entry.IsDir() && info.Mode().Perm() != 0o700 || !entry.IsDir() && info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s has mode %v", path, info.Mode())
			}
			if name := entry.Name(); !entry.IsDir() && name != "lock" && name != "ca.pem" && name != "engine.sock" {
				t.Errorf("there is a file %s", path)
			}
			return err
		}))
		if ports := listening(t, pids[0]); len(ports) > 0 {
			t.Errorf("the engine listens on %v", ports)
		}
		sockets, err := filepath.Glob(dir + "/*/*/engine.sock")
		if err != nil || len(sockets) != 1 {
			t.Fatalf("the sockets are %v, %v", sockets, err)
		}
		conn, err := net.Dial("unix", sockets[0])
		must(t, err)
		defer conn.Close()
		replies := bufio.NewReader(conn)
		for _, command := range [][]string{{"GET", "k"}, {"AUTH", "default", ""}, {"AUTH", "demo-user", ""}, {"AUTH", "demo-user", token(t, srv, nil)}, {"AUTH", "rediam-emulator", ""}} {
			io.WriteString(conn, request(command...))
			if got, err := readFrame(replies); !strings.HasPrefix(got, "-NOAUTH") && !strings.HasPrefix(got, "-WRONGPASS") {
				t.Errorf("%s is answered by %q, %v", command[:2], got, err)
			}
		}
	})
}

// listening are the TCP addresses that a process listens on, as Linux writes them.
func listening(t *testing.T, pid int) (found []string) {
	t.Helper()
	addresses := map[string]string{} // by the inode of the socket
	for _, name := range []string{"tcp", "tcp6"} {
		table, _ := os.ReadFile("/proc/net/" + name)
		for line := range strings.Lines(string(table)) {
			if f := strings.Fields(line); len(f) > 9 && f[3] == "0A" { // TCP_LISTEN
				addresses[f[9]] = f[1]
			}
		}
	}
	links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if len(links) == 0 {
		t.Fatal("the process has no files")
	}
	for _, link := range links {
		target, _ := os.Readlink(link)
		inode := strings.TrimSuffix(strings.TrimPrefix(target, "socket:["), "]")
		if address, listens := addresses[inode]; listens {
			found = append(found, address)
		}
	}
	return found
}

func TestPasswordsOfTheEngineCannotBeRead(t *testing.T) {
	onEveryServer(t, func(t *testing.T, engine string) {
		srv := emulator.Start(t, emulator.Config{Engine: engine})
		w := signedIn(t, srv)
		password := regexp.MustCompile(`[A-Z2-7]{52}`)
		for _, line := range []string{"ACL LIST", "ACL GETUSER demo-user", "ACL GETUSER rediam-emulator", "ACL LOG", "SLOWLOG GET -1", "CLIENT LIST", "INFO everything", "COMMAND DOCS"} {
			if got := w.do(strings.Fields(line)...); strings.HasPrefix(got, "-") || password.MatchString(got) {
				t.Errorf("%s is answered by %.100q", line, got)
			}
		}
		if got := w.do("ACL", "LIST"); !strings.Contains(got, "user default off") {
			t.Errorf("the engine's default user is not off: %q", got)
		}
	})
}

func TestClientsMayKillAllConnections(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, engine string) {
		srv := emulator.Start(t, emulator.Config{Engine: engine})
		w, other := signedIn(t, srv), signedIn(t, srv)
		if got := w.do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"); !strings.HasPrefix(got, ":") {
			t.Errorf("CLIENT KILL is answered by %q", got)
		}
		other.ends()
		must(t, srv.PutUser(emulator.User{Name: "demo-user", Access: "on ~* -@all +ping"}))
		w.wants("+PONG\r\n", "PING")
		if got := w.do("GET", "k"); !strings.HasPrefix(got, "-NOPERM") {
			t.Errorf("the new access string does not apply: %q", got)
		}
		must(t, srv.Err())
	})
}

func TestAnEngineThatDiesEndsTheEmulator(t *testing.T) {
	onEveryServer(t, func(t *testing.T, engine string) {
		dir := temporary(t)
		srv := emulator.Start(t, emulator.Config{Engine: engine})
		w := signedIn(t, srv)
		must(t, syscall.Kill(children(t, dir)[0], syscall.SIGKILL))
		<-srv.Done()
		w.ends()
		err := srv.Err()
		if err == nil || !strings.Contains(err.Error(), "engine of cache demo: ") || !strings.Contains(err.Error(), "signal: killed") || strings.Contains(err.Error(), "\n") {
			t.Errorf("Err() = %v", err)
		}
		if srv.Close() == nil {
			t.Error("Close does not say what went wrong")
		}
		emptied(t, dir)
	})
}

// emptied is whether nothing is left in dir and no process works there.
func emptied(t *testing.T, dir string) {
	t.Helper()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("there is left %v, %v", left, err)
	}
	if pids := children(t, dir); len(pids) > 0 {
		t.Errorf("there run %v", pids)
	}
}

func TestAnEngineThatDoesNotStartIsOneClearLine(t *testing.T) {
	scripts := t.TempDir()
	script := func(name, text string) string {
		path := filepath.Join(scripts, name)
		must(t, os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700))
		return path
	}
	for want, engine := range map[string]string{
		"engine false does not start: it ended at once":                             "/bin/false",
		"engine complains does not start: it ended at once: no memory today":        script("complains", "echo starting; echo no memory today >&2; exit 1"),
		"engine /no/such/server: ":                                                  "/no/such/server",
		"engine no-such-server: executable file not found in $PATH; install it, or": "no-such-server",
		"engine at 127.0.0.1:1: ":                                                   "redis://user:not-to-be-told@127.0.0.1:1",
		"the engine's URL must be redis://":                                         "redis://user:not-to-be-told@",
		"engine notexecutable: ":                                                    script("notexecutable", "") + "\x00",
	} {
		t.Run(want, func(t *testing.T) {
			dir := temporary(t)
			if strings.HasSuffix(engine, "\x00") {
				engine = strings.TrimSuffix(engine, "\x00")
				must(t, os.WriteFile(engine, []byte("neither script nor program"), 0o700))
				must(t, os.Chmod(engine, 0o700))
			}
			srv, err := emulator.Open(t.Context(), emulator.Config{Engine: engine})
			if srv != nil || err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "not-to-be-told") {
				t.Errorf("Open: %v", err)
			}
			emptied(t, dir)
		})
	}
}

func TestOpenHeedsItsContext(t *testing.T) {
	sleeper := filepath.Join(t.TempDir(), "sleeper")
	dir := temporary(t)
	must(t, os.WriteFile(sleeper, []byte("#!/bin/sh\nexec sleep 100\n"), 0o700))
	ctx, cancel := context.WithCancel(t.Context())
	opened := make(chan error)
	go func() {
		_, err := emulator.Open(ctx, emulator.Config{Engine: sleeper})
		opened <- err
	}()
	cancel()
	if err := <-opened; !errors.Is(err, context.Canceled) && (err == nil || !strings.Contains(err.Error(), "canceled")) {
		t.Errorf("Open: %v", err)
	}
	emptied(t, dir)
}

// childVariable has the test binary be an emulator that waits to be killed.
const childVariable = "REDIAM_TEST_EMULATOR"

func TestMain(m *testing.M) {
	engine := os.Getenv(childVariable)
	if engine == "" {
		os.Exit(m.Run())
	}
	if _, err := emulator.Open(context.Background(), emulator.Config{Engine: engine, Nodes: 2}); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("ready")
	select {}
}

func TestAKilledEmulatorLeavesNoEngineAndItsFilesAreSwept(t *testing.T) {
	onEveryServer(t, func(t *testing.T, engine string) {
		dir := temporary(t)
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), childVariable+"="+engine)
		output, err := child.StdoutPipe()
		must(t, err)
		must(t, child.Start())
		if line, _ := bufio.NewReader(output).ReadString('\n'); line != "ready\n" {
			t.Fatalf("the child says %q", line)
		}
		pids := children(t, dir)
		if len(pids) != 2 {
			t.Fatalf("there run %v, want two engines", pids)
		}
		must(t, child.Process.Kill())
		child.Wait()
		for len(children(t, dir)) > 0 { // if it never ends, neither does the test
			runtime.Gosched()
		}
		if left, _ := os.ReadDir(dir); len(left) != 1 {
			t.Errorf("there is left %v, want the killed one's directory", left)
		}
		live := emulator.Start(t, emulator.Config{Engine: "embedded"})
		second := emulator.Start(t, emulator.Config{Engine: "embedded"})
		if left, _ := os.ReadDir(dir); len(left) != 2 {
			t.Errorf("there is left %v, want the directories of the two that live", left)
		}
		must(t, second.Close())
		must(t, live.Close())
		emptied(t, dir)
	})
}

func TestOpeningAndClosingLeavesNothing(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, engine string) {
		dir := temporary(t)
		round := func() {
			srv, err := emulator.Open(t.Context(), emulator.Config{Engine: engine})
			must(t, err)
			w := signedIn(t, srv)
			w.send(request("BLPOP", "list", "0"))
			silent := dial(t, srv, "demo")
			must(t, srv.PutCache(emulator.Cache{Name: "second"}))
			must(t, srv.DeleteCache("second"))
			must(t, srv.Close())
			must(t, srv.Close())
			w.ends()
			w.Close()
			silent.Close()
		}
		round()
		files, goroutines := openFiles(), goroutinesHere()
		for range 10 {
			round()
		}
		if now := openFiles(); len(now) > len(files) {
			t.Errorf("open files went from %d to %d: %v", len(files), len(now), now)
		}
		if now := goroutinesHere(); now > goroutines {
			buf := make([]byte, 1<<20)
			t.Errorf("goroutines went from %d to %d:\n%s", goroutines, now, buf[:runtime.Stack(buf, true)])
		}
		emptied(t, dir)
	})
}

// openFiles are the files and sockets that this process holds.
func openFiles() (names []string) {
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		name, _ := os.Readlink("/proc/self/fd/" + e.Name())
		names = append(names, name)
	}
	return slices.DeleteFunc(names, func(s string) bool { return strings.HasPrefix(s, "anon_inode") })
}

// goroutinesHere counts those that run code of this module outside of tests.
func goroutinesHere() int {
	buf := make([]byte, 4<<20)
	n := 0
	for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(stack, "rediam/internal/") || strings.Contains(stack, "rediam/emulator.(") || strings.Contains(stack, "miniredis") {
			n++
		}
	}
	return n
}

func TestAnEngineThatRunsIsLeftAsItWas(t *testing.T) {
	onEveryServer(t, func(t *testing.T, engine string) {
		port, admin := startRedis(t, engine)
		srv := emulator.Start(t, emulator.Config{Engine: "redis://127.0.0.1:" + port})
		must(t, srv.PutCache(emulator.Cache{Name: "second", Group: "demo-users"})) // the same users on the same engine
		w := signedIn(t, srv)
		w.wants(ok, "SET", "k", "v")
		if got := w.do("CONFIG", "GET", "*"); !strings.HasPrefix(got, "-NOPERM") {
			t.Errorf("CONFIG is answered by %.100q", got)
		}
		admin(bulk("v"), "GET", "k")
		must(t, srv.PutGroup(emulator.Group{ID: "demo-users", Users: []string{"demo-default"}}))
		w.ends()
		must(t, srv.PutGroup(emulator.Group{ID: "demo-users", Users: []string{"demo-default", "demo-user"}}))
		signedIn(t, srv).wants(bulk("v"), "GET", "k")
		must(t, srv.Close())
		admin("*1\r\n"+bulk("default"), "ACL", "USERS")
		admin(bulk("v"), "GET", "k")
	})
}

// startRedis runs a server on a free port until the test ends.
func startRedis(t testing.TB, path string, options ...string) (port string, wants func(reply string, args ...string)) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	_, port, _ = net.SplitHostPort(listener.Addr().String())
	must(t, listener.Close())
	server := exec.Command(path, append([]string{"--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", t.TempDir()}, options...)...)
	output, err := server.StdoutPipe()
	must(t, err)
	must(t, server.Start())
	t.Cleanup(func() { server.Process.Kill(); server.Wait() })
	lines := bufio.NewReader(output)
	for line := ""; !strings.Contains(strings.ToLower(line), "ready to accept connections"); {
		if line, err = lines.ReadString('\n'); err != nil {
			t.Fatalf("%s does not start: %v", path, err)
		}
	}
	go io.Copy(io.Discard, lines)
	if slices.Contains(options, "--tls-port") {
		return port, nil
	}
	conn, err := net.Dial("tcp", "127.0.0.1:"+port)
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	replies := bufio.NewReader(conn)
	return port, func(reply string, args ...string) {
		t.Helper()
		io.WriteString(conn, request(args...))
		if got, err := readFrame(replies); got != reply {
			t.Errorf("%q is answered by %q, %v, want %q", args, got, err, reply)
		}
	}
}

func TestAPlainClientIsTurnedAway(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	for _, first := range []string{request("PING"), "PING\r\n", "GET / HTTP/1.1\r\n\r\n", "\x00\x00\x00\x00\x00\x00"} {
		conn, err := net.Dial("tcp", srv.Cache("demo").Addr)
		must(t, err)
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience))
		io.WriteString(conn, first)
		if got, err := io.ReadAll(conn); timedOut(err) || strings.Contains(string(got), "PONG") {
			t.Errorf("%q is answered by %q, %v", first, got, err)
		}
	}
	signedIn(t, srv)
}

func TestAnEngineThatDoesNotFollowAChangeIsThatChangesError(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: installed.Path(t, "redis-server")})
	w := signedIn(t, srv)
	w.wants(ok, "CLIENT", "PAUSE", "7000", "ALL")
	if err := srv.PutUser(emulator.User{Name: "demo-user", Access: "on ~* +@read"}); err == nil {
		t.Error("PutUser says that a paused engine has followed")
	}
	if err := srv.Err(); err != nil {
		t.Errorf("the emulator has ended: %v", err)
	}
	w.wants("$-1\r\n", "GET", "k") // comes when the pause is over
	srv.Advance(time.Second)       // any change tries again
	if got := w.do("SET", "k", "v"); !strings.HasPrefix(got, "-NOPERM") {
		t.Errorf("SET is answered by %q", got)
	}
}
