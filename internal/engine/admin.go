package engine

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rediam/rediam/internal/command"
	"github.com/rediam/rediam/internal/resp"
)

// adminTime bounds one administrative command.
const adminTime = 5 * time.Second

// server is an engine of its own, administered over one connection.
type server struct {
	dial    func(context.Context) (net.Conn, error)
	prefix  string // of user names within the engine
	name    string // product and version
	engines command.Engines

	mu    sync.Mutex // guards below, and makes one administrative command at a time
	admin net.Conn
	reply *bufio.Reader
	users map[string]*engineUser // by name without prefix
}

type engineUser struct {
	password string
	rules    string // as last set; empty if the engine does not have the user
}

// newPassword is 256 random bits.
func newPassword() string { return rand.Text() + rand.Text() }

// connect opens and signs in the administrative connection.
func (s *server) connect(ctx context.Context, user, password string) error {
	conn, err := s.dial(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.admin, s.reply, s.users = conn, bufio.NewReader(conn), map[string]*engineUser{}
	if password != "" {
		if _, err := s.do("AUTH", user, password); err != nil {
			return err
		}
	}
	info, err := s.do("INFO", "server")
	if err != nil {
		return err
	}
	s.identify(info)
	return nil
}

// identify reads the product and its version from INFO server.
func (s *server) identify(info string) {
	fields := map[string]string{}
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		fields[name] = value
	}
	s.name, s.engines = "redis-server "+fields["redis_version"], command.Redis
	if v := fields["valkey_version"]; v != "" {
		s.name, s.engines = "valkey-server "+v, command.Valkey
	}
}

// do sends one command that is answered by a string, an integer or an error.
// The error does not repeat the command. The caller holds mu.
func (s *server) do(args ...string) (string, error) {
	s.admin.SetDeadline(time.Now().Add(adminTime))
	if _, err := s.admin.Write(resp.AppendCommand(nil, args...)); err != nil {
		return "", err
	}
	line, err := s.reply.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimRight(line, "\r\n")
	if line == "" {
		return "", errors.New("the engine sent an empty line")
	}
	switch kind, rest := line[0], line[1:]; kind {
	case '+', ':':
		return rest, nil
	case '-':
		return "", fmt.Errorf("the engine answered %s with: %s", args[0], rest)
	case '$':
		n, err := strconv.ParseUint(rest, 10, 20)
		if err != nil {
			return "", errors.New("the engine sent no bulk string")
		}
		body := make([]byte, n+2)
		_, err = io.ReadFull(s.reply, body)
		return string(body[:n]), err
	}
	return "", fmt.Errorf("the engine answered %s with a reply of type %q", args[0], line[0])
}

func (s *server) Dial(ctx context.Context) (net.Conn, error) { return s.dial(ctx) }

func (s *server) Login(user string) (name, password string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.users[user]; u != nil {
		return s.prefix + user, u.password, true
	}
	return s.prefix + user, "", true
}

func (s *server) SetUsers(_ context.Context, users []User) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	wanted := map[string]bool{}
	var problems []error
	for _, u := range users {
		wanted[u.Name] = true
		if err := s.setUser(u); err != nil {
			problems = append(problems, fmt.Errorf("user %s: %w", u.Name, err))
		}
	}
	for name := range s.users {
		if !wanted[name] {
			problems = append(problems, s.deleteUser(name))
		}
	}
	return errors.Join(problems...)
}

func (s *server) setUser(u User) error {
	known := s.users[u.Name]
	if known == nil {
		known = &engineUser{password: newPassword()}
		s.users[u.Name] = known
	}
	rules := u.Rules.String()
	if known.rules == rules {
		return nil
	}
	args := append([]string{"ACL", "SETUSER", s.prefix + u.Name}, u.Rules.SetUser(s.has)...)
	if _, err := s.do(append(args, ">"+known.password)...); err != nil {
		return err
	}
	known.rules = rules
	return nil
}

// deleteUser takes a user out of the engine, which ends its connections. The
// user default cannot be deleted and is switched off instead.
func (s *server) deleteUser(name string) error {
	delete(s.users, name)
	if s.prefix+name == "default" {
		_, err := s.do("ACL", "SETUSER", "default", "reset")
		return err
	}
	_, err := s.do("ACL", "DELUSER", s.prefix+name)
	return err
}

// has is whether the engine has a command.
func (s *server) has(name string) bool {
	c, ok := command.Named(name)
	return ok && c.Engines&s.engines != 0
}

func (s *server) String() string { return s.name }
