package soak_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rediam/rediam/emulator"
	"github.com/rediam/rediam/internal/installed"
	"github.com/rediam/rediam/internal/proxy"
	"github.com/rediam/rediam/internal/soak"
)

// ask types a line for redis-cli and reads lines of its answer.
func (p *process) ask(command string, lines int) (answer []string, err error) {
	if _, err := fmt.Fprintln(p.in, command); err != nil {
		return nil, err
	}
	return p.read(lines)
}

func (p *process) read(lines int) (answer []string, err error) {
	for range lines {
		line, err := p.out.ReadString('\n')
		if err != nil {
			return answer, fmt.Errorf("redis-cli has ended: %w", err)
		}
		answer = append(answer, strings.TrimSuffix(line, "\n"))
	}
	return answer, nil
}

// want is ask for an answer that is known.
func (p *process) want(command string, answer ...string) error {
	got, err := p.ask(command, len(answer))
	if err != nil || strings.Join(got, "\n") != strings.Join(answer, "\n") {
		return wrong(command, got, err, answer)
	}
	return nil
}

// cliLoads put redis-cli under load: it does what it is told line by line, but for the
// subscribers, which are told once.
type cliLoads struct {
	*stage
	next string
	end  time.Time

	typed, subscribers []*process

	mu     sync.Mutex // guards counts
	counts map[string]int
}

func (c *cliLoads) done(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[what]++
}

func (c *cliLoads) String() string { return "redis-cli" }

func (c *cliLoads) report() (counts map[string]int, err error) {
	c.counts = map[string]int{"transactions": 0, "elements": 0, "messages": 0}
	for _, line := range [][]string{{"redis-cli", "-2"}, {"redis-cli", "-3"}, {"redis-cli"}, {"redis-cli"}} {
		p, err := c.start("redis-cli", line)
		if err != nil {
			return nil, err
		}
		c.typed = append(c.typed, p)
	}
	for _, protocol := range []string{"-2", "-3"} {
		p, err := c.start("redis-cli", []string{"redis-cli", protocol, "SUBSCRIBE", "news:redis-cli"})
		if err != nil {
			return nil, err
		}
		c.subscribers = append(c.subscribers, p)
		if got, err := p.read(3); err != nil || got[2] != "1" {
			return nil, wrong("SUBSCRIBE", got, err, 1)
		}
	}
	var ids []string
	for _, p := range c.typed {
		id, err := p.ask("CLIENT ID", 1)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id[0])
	}
	if err := c.typed[3].want("SET ready:redis-cli 2", "OK"); err != nil { // and leaves it idle
		return nil, err
	}
	loads := []func() error{func() error { return c.work(c.typed[0]) }, func() error { return c.queue(c.typed[1]) }, func() error { return c.feed(c.typed[2]) }}
	for _, p := range c.subscribers {
		loads = append(loads, func() error { return c.messages(p) })
	}
	if err := together(loads); err != nil {
		return c.counts, err
	}
	for i, p := range c.typed {
		if err := p.want("CLIENT ID", ids[i]); err != nil {
			return c.counts, err
		}
	}
	c.counts["connections"] = len(c.typed) + len(c.subscribers)
	return c.counts, nil
}

// together runs all at the same time.
func together(loads []func() error) error {
	problems := make([]error, len(loads))
	var all sync.WaitGroup
	for i, load := range loads {
		all.Go(func() { problems[i] = load() })
	}
	all.Wait()
	return errors.Join(problems...)
}

func (c *cliLoads) finish() error {
	var problems []error
	for _, p := range c.typed {
		problems = append(problems, p.finish())
	}
	for _, p := range c.subscribers {
		problems = append(problems, p.kill())
	}
	return errors.Join(problems...)
}

func (c *cliLoads) work(p *process) error {
	for n := 1; time.Now().Before(c.end); n += 2 {
		number := strconv.Itoa(n)
		err := errors.Join(
			p.want("INCR counter:redis-cli", number),
			p.want("WATCH counter:redis-cli", "OK"), p.want("MULTI", "OK"), p.want("INCR counter:redis-cli", "QUEUED"), p.want("EXEC", strconv.Itoa(n+1)),
			p.want("EVAL 'return {KEYS[1],ARGV[1]}' 1 script:redis-cli "+number, "script:redis-cli", number),
			p.want("SSCAN nothing 0 COUNT 10", "0", ""))
		if err != nil {
			return err
		}
		c.done("transactions")
	}
	return nil
}

func (c *cliLoads) queue(p *process) error {
	for n := 0; ; {
		got, err := p.ask("BLPOP jobs:redis-cli 1", 1)
		if err == nil && got[0] != "" {
			got, err = p.read(1)
		}
		switch {
		case err != nil:
			return err
		case got[0] == "": // nothing for a second
		case got[0] == "end":
			return nil
		case got[0] != strconv.Itoa(n):
			return wrong("BLPOP", got, nil, n)
		default:
			n++
			c.done("elements")
		}
	}
}

func (c *cliLoads) feed(p *process) error {
	listeners := []string{""}
	for listeners[0] == "" {
		var err error
		if listeners, err = p.ask("GET ready:"+c.next, 1); err != nil {
			return err
		}
		<-time.After(10 * time.Millisecond)
	}
	for n := 0; time.Now().Before(c.end); n++ {
		if err := p.want(fmt.Sprintf("PUBLISH news:%s %d", c.next, n), listeners...); err != nil {
			return err
		}
		if _, err := p.ask(fmt.Sprintf("RPUSH jobs:%s %d", c.next, n), 1); err != nil {
			return err
		}
		pace := 20 * time.Millisecond
		if n%50 == 49 {
			pace = 1500 * time.Millisecond
		}
		<-time.After(pace)
	}
	if _, err := p.ask("RPUSH jobs:"+c.next+" end", 1); err != nil {
		return err
	}
	return p.want("PUBLISH news:"+c.next+" end", listeners...)
}

func (c *cliLoads) messages(p *process) error {
	for n := 0; ; n++ {
		got, err := p.read(3)
		switch {
		case err == nil && got[0] == "message" && got[2] == "end":
			return nil
		case err != nil || got[0] != "message" || got[2] != strconv.Itoa(n):
			return wrong("message", got, err, n)
		}
		c.done("messages")
	}
}

// MONITOR, and a command that blocks for longer than a connection lives, cannot be
// renewed: the cache ends them when their life is over, and nothing else.
func TestProxyLosesNothingButWhatCannotBeRenewed(t *testing.T) {
	soak.Size(t, "REDIAM_PROXY_SOAK")
	for _, driver := range proxy.Drivers {
		t.Run(driver, func(t *testing.T) { losesNothing(t, driver) })
	}
}

func losesNothing(t *testing.T, driver string) {
	installed.Path(t, "redis-cli")
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	s := newStage(t, ctx, installed.Path(t, "redis-server"), driver)
	start := func(connections int, line ...string) *process {
		p, err := s.start("redis-cli", append([]string{"redis-cli"}, line...))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(p.in, "PING") // for one that does what it is told
		s.until(t, func(sessions []emulator.Session) bool { return len(sessions) == connections })
		return p
	}
	doomed := []*process{start(1, "MONITOR"), start(2, "BLPOP", "nothing", "60")}
	ends := map[uint64]time.Time{}
	for _, session := range s.sessions() {
		ends[session.ID] = session.Ends
	}
	others := []*process{start(3, "-2", "SUBSCRIBE", "news"), start(4, "-3", "SUBSCRIBE", "news"), start(5, "-2"), start(6, "-3"), start(7, "-r", "-1", "BLPOP", "nothing", "1")}
	s.until(t, func(sessions []emulator.Session) bool {
		left := 0
		for _, session := range sessions {
			if _, is := ends[session.ID]; is {
				ends[session.ID] = session.Ends
				left++
			}
		}
		if len(sessions) != len(others)+left {
			t.Fatalf("%d connections are left, want %d", len(sessions), len(others)+left)
		}
		return left == 0
	})
	for id, end := range ends {
		if s.srv.Now().Before(end) {
			t.Errorf("connection %d has ended %s too early", id, end.Sub(s.srv.Now()))
		}
	}
	for _, p := range doomed {
		if err := p.finish(); err == nil || !strings.Contains(err.Error(), "Server closed the connection") {
			t.Errorf("redis-cli that cannot be renewed ends with %v", err)
		}
	}
	s.until(t, func(sessions []emulator.Session) bool {
		if len(sessions) != len(others) {
			t.Fatalf("%d connections are left, want %d", len(sessions), len(others))
		}
		for _, session := range sessions {
			if session.Renewals < 7 { // after 14 s at least, and a life of 12
				return false
			}
		}
		return true
	})
	for _, p := range others {
		if err := p.kill(); err != nil {
			t.Error(err)
		}
	}
}

// until waits for the connections to be as they should.
func (s *stage) until(t *testing.T, done func([]emulator.Session) bool) {
	t.Helper()
	for !done(s.sessions()) {
		select {
		case <-s.ctx.Done():
			t.Fatalf("the connections are %+v", s.sessions())
		case <-time.After(10 * time.Millisecond):
		}
	}
}
