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

// server is an engine of its own, administered over a connection that is opened
// for each change: its users may end any connection with CLIENT KILL.
type server struct {
	dial           func(context.Context) (net.Conn, error)
	user, password string // of the administrator; without a password there is no AUTH
	prefix         string // of user names within the engine
	name           string // product and version
	engines        command.Engines

	changing sync.Mutex // makes one change at a time

	mu    sync.Mutex            // guards users; never held across I/O
	users map[string]engineUser // by name without prefix
}

type engineUser struct{ password, rules string }

// newPassword is 256 random bits.
func newPassword() string { return rand.Text() + rand.Text() }

// identify signs in for the first time and reads the product and its version from
// INFO server.
func (s *server) identify(ctx context.Context) error {
	a, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer a.conn.Close()
	info, err := a.do("INFO", "server")
	if err != nil {
		return err
	}
	fields := map[string]string{}
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		fields[name] = value
	}
	s.name, s.engines = "redis-server "+fields["redis_version"], command.Redis
	if v := fields["valkey_version"]; v != "" {
		s.name, s.engines = "valkey-server "+v, command.Valkey
	}
	return nil
}

// admin is an administrative connection.
type admin struct {
	conn  net.Conn
	reply *bufio.Reader
}

func (s *server) connect(ctx context.Context) (*admin, error) {
	ctx, cancel := context.WithTimeout(ctx, adminTime)
	defer cancel()
	conn, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	a := &admin{conn, bufio.NewReader(conn)}
	if s.password != "" {
		if _, err := a.do("AUTH", s.user, s.password); err != nil {
			conn.Close()
			return nil, err
		}
	}
	return a, nil
}

// do sends one command that is answered by a string, an integer or an error.
// The error does not repeat the command.
func (a *admin) do(args ...string) (string, error) {
	a.conn.SetDeadline(time.Now().Add(adminTime))
	if _, err := a.conn.Write(resp.AppendCommand(nil, args...)); err != nil {
		return "", err
	}
	line, err := a.reply.ReadString('\n')
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
		_, err = io.ReadFull(a.reply, body)
		return string(body[:n]), err
	}
	return "", fmt.Errorf("the engine answered %s with a reply of type %q", args[0], line[0])
}

func (s *server) Dial(ctx context.Context) (net.Conn, error) { return s.dial(ctx) }

func (s *server) Login(user string) (name, password string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.prefix + user, s.users[user].password, true
}

func (s *server) SetUsers(ctx context.Context, users []User) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	changed, gone := s.compare(users)
	if len(changed)+len(gone) == 0 {
		return nil
	}
	a, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer a.conn.Close()
	var problems []error
	for _, u := range changed {
		if err := s.setUser(a, u); err != nil {
			problems = append(problems, fmt.Errorf("user %s: %w", u.Name, err))
		}
	}
	for _, name := range gone {
		problems = append(problems, s.deleteUser(a, name))
	}
	return errors.Join(problems...)
}

// compare finds the users that are not as they are wanted, and those that are not
// wanted.
func (s *server) compare(wanted []User) (changed []User, gone []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := map[string]bool{}
	for _, u := range wanted {
		names[u.Name] = true
		if known, ok := s.users[u.Name]; !ok || known.rules != u.Rules.String() {
			changed = append(changed, u)
		}
	}
	for name := range s.users {
		if !names[name] {
			gone = append(gone, name)
		}
	}
	return changed, gone
}

func (s *server) setUser(a *admin, u User) error {
	s.mu.Lock()
	password := s.users[u.Name].password
	s.mu.Unlock()
	if password == "" {
		password = newPassword()
	}
	args := append([]string{"ACL", "SETUSER", s.prefix + u.Name}, u.Rules.SetUser(s.has)...)
	if _, err := a.do(append(args, ">"+password)...); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users == nil {
		s.users = map[string]engineUser{}
	}
	s.users[u.Name] = engineUser{password, u.Rules.String()}
	return nil
}

// deleteUser takes a user out of the engine, which ends its connections. The
// user default cannot be deleted and is switched off instead.
func (s *server) deleteUser(a *admin, name string) error {
	s.mu.Lock()
	delete(s.users, name)
	s.mu.Unlock()
	if s.prefix+name == "default" {
		_, err := a.do("ACL", "SETUSER", "default", "reset")
		return err
	}
	_, err := a.do("ACL", "DELUSER", s.prefix+name)
	return err
}

// has is whether the engine has a command.
func (s *server) has(name string) bool {
	c, ok := command.Named(name)
	return ok && c.Engines&s.engines != 0
}

func (s *server) String() string { return s.name }
