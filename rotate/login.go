package rotate

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Login signs in on each of the nodes, and on those of the cluster that they name if
// they are of one; as the user default if user is empty. It returns all these nodes.
// The error is ErrRefused if no node takes the password, ErrPartly if some do, ErrOpen
// if they ask for none, and otherwise says why nothing is known.
type Login func(ctx context.Context, nodes []string, user, password string) ([]string, error)

// What a Login may find out.
var (
	ErrRefused = errors.New("the cache refuses the password")
	ErrPartly  = errors.New("some nodes of the cache take the password and some do not")
	ErrOpen    = errors.New("the cache lets everybody in without a password")
)

const (
	loginTimeout = 10 * time.Second // for one node
	maxReplies   = 1 << 20          // bytes of one node
	maxClients   = 256 << 20        // bytes of its CLIENT LIST, which are read line by line
	maxElements  = 1 << 16          // CLUSTER SLOTS has an array for each of up to 16384 ranges
)

// TLSLogin is a Login over TLS, which verifies certificates; config may be nil.
func TLSLogin(config *tls.Config) Login {
	return func(ctx context.Context, nodes []string, user, password string) ([]string, error) {
		if len(nodes) == 0 {
			return nil, errors.New("where to sign in is not known: the cache has no endpoint")
		}
		nodes = slices.Clone(nodes)
		taken := 0
		var verdict error
		for i := 0; i < len(nodes); i++ {
			more, err := loginNode(ctx, config, nodes[i], user, password)
			switch {
			case err == nil:
				taken++
			case errors.Is(err, ErrRefused), errors.Is(err, ErrOpen):
				verdict = err
			default:
				err = fmt.Errorf("sign in at %s: %w", nodes[i], err)
				if !errors.As(err, new(*tls.CertificateVerificationError)) {
					err = passing{err}
				}
				return nodes, err
			}
			for _, node := range more {
				if !slices.Contains(nodes, node) {
					nodes = append(nodes, node)
				}
			}
		}
		if verdict != nil && taken > 0 {
			verdict = ErrPartly
		}
		return nodes, verdict
	}
}

// Connected signs in on each of the nodes, and tells who is connected to any of them as
// the user named of: an address, and what else CLIENT LIST has for a person to know the
// client by.
type Connected func(ctx context.Context, nodes []string, user, password, of string) ([]string, error)

// TLSConnected is a Connected over TLS, as TLSLogin is a Login. The user who signs in
// must be allowed CLIENT LIST.
func TLSConnected(config *tls.Config) Connected {
	return func(ctx context.Context, nodes []string, user, password, of string) (clients []string, err error) {
		if nodes, err = TLSLogin(config)(ctx, nodes, user, password); err != nil {
			return nil, err
		}
		for _, node := range nodes {
			here, err := connectedNode(ctx, config, node, user, password, of)
			if err != nil {
				return nil, fmt.Errorf("CLIENT LIST at %s: %w", node, err)
			}
			clients = append(clients, here...)
		}
		return clients, nil
	}
}

func connectedNode(ctx context.Context, config *tls.Config, node, user, password, of string) (clients []string, err error) {
	c, hangUp, err := signedIn(ctx, config, node, user, password)
	if err != nil {
		return nil, err
	}
	defer hangUp()
	c.r = bufio.NewReader(io.LimitReader(c.Conn, maxClients)) // nothing is left of the answer before
	if _, err := io.WriteString(c.Conn, "*2\r\n$6\r\nCLIENT\r\n$4\r\nLIST\r\n"); err != nil {
		return nil, err
	}
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	length, err := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(string(line), "$")))
	if err != nil || line[0] != '$' {
		return nil, fmt.Errorf("it was answered %.100q", line)
	}
	lines := bufio.NewScanner(io.LimitReader(c.r, int64(length)))
	read := 0
	for lines.Scan() {
		read += len(lines.Bytes()) + 1
		client := map[string]string{}
		for field := range strings.FieldsSeq(lines.Text()) {
			name, value, _ := strings.Cut(field, "=")
			client[name] = value
		}
		// Who has not signed in yet is counted as default by Redis, and has no command.
		if client["user"] == of && client["cmd"] != "NULL" {
			clients = append(clients, strings.TrimSpace(client["addr"]+" "+client["name"]))
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if read < length {
		return nil, io.ErrUnexpectedEOF
	}
	return clients, nil
}

// loginNode signs in on one node, and returns the nodes of its cluster.
func loginNode(ctx context.Context, config *tls.Config, node, user, password string) ([]string, error) {
	c, hangUp, err := signedIn(ctx, config, node, user, password)
	if err != nil {
		return nil, err
	}
	defer hangUp()
	reply, err := c.do("CLUSTER", "SLOTS") // refused by what is no cluster, and by access strings
	return nodesOf(reply), err
}

// signedIn is a connection to one node, of loginTimeout at most, that has signed in and
// had a PING answered.
func signedIn(ctx context.Context, config *tls.Config, node, user, password string) (c conn, hangUp func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, loginTimeout)
	raw, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", node)
	if err != nil {
		cancel()
		return c, nil, err
	}
	detach := context.AfterFunc(ctx, func() { raw.SetDeadline(time.Unix(1, 0)) })
	hangUp = func() { detach(); cancel(); raw.Close() }
	c = conn{raw, bufio.NewReader(io.LimitReader(raw, maxReplies))}
	if err := c.signIn(user, password); err != nil {
		hangUp()
		return c, nil, err
	}
	return c, hangUp, nil
}

func (c conn) signIn(user, password string) error {
	auth := []string{"AUTH", user, password}
	if user == "" {
		// The one argument that all versions know. Who needs no password could sign in
		// with any: AUTH would prove nothing.
		auth = []string{"AUTH", password}
		if reply, err := c.do("PING"); err != nil || !isRefusal(reply) {
			return orElse(err, ErrOpen)
		}
	}
	reply, err := c.do(auth...)
	if err != nil {
		return err
	}
	if refused, is := reply.(refusal); is {
		if isRefusal(refused) {
			return ErrRefused
		}
		return fmt.Errorf("AUTH was answered %.100q", redact(string(refused), password))
	}
	reply, err = c.do("PING")
	if refused, is := reply.(refusal); err == nil && is && !strings.HasPrefix(string(refused), "NOPERM") {
		err = fmt.Errorf("PING was answered %.100q", redact(string(refused), password))
	}
	return err
}

func orElse(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

// isRefusal is whether a reply says that there is no such password, or that one is
// needed.
func isRefusal(reply any) bool {
	text, is := reply.(refusal)
	return is && slices.ContainsFunc([]string{"WRONGPASS", "NOAUTH", "ERR invalid password"}, func(p string) bool { return strings.HasPrefix(string(text), p) })
}

// nodesOf are the addresses in an answer to CLUSTER SLOTS: ranges of first slot, last
// slot, and nodes of host, port and more.
func nodesOf(reply any) (nodes []string) {
	ranges, _ := reply.([]any)
	for _, r := range ranges {
		members, _ := r.([]any)
		for _, m := range members[min(2, len(members)):] {
			node, _ := m.([]any)
			if len(node) < 2 {
				continue
			}
			host, _ := node[0].(string)
			port, _ := node[1].(int)
			if host != "" && port > 0 {
				nodes = append(nodes, net.JoinHostPort(host, strconv.Itoa(port)))
			}
		}
	}
	return nodes
}

// conn speaks the little of RESP2 that a sign-in needs.
type conn struct {
	net.Conn
	r *bufio.Reader
}

// A refusal is an error that the server answers.
type refusal string

func (c conn) do(args ...string) (any, error) {
	request := fmt.Sprintf("*%d\r\n", len(args))
	for _, arg := range args {
		request += fmt.Sprintf("$%d\r\n%s\r\n", len(arg), arg)
	}
	if _, err := io.WriteString(c.Conn, request); err != nil {
		return nil, err
	}
	return c.read(4)
}

// read reads one reply: a string, an int, a refusal, or a []any of up to so many levels.
func (c conn) read(levels int) (any, error) {
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	kind, text := byte(0), strings.TrimSuffix(string(line), "\r\n")
	if text != "" {
		kind, text = text[0], text[1:]
	}
	n, wrong := strconv.Atoi(text)
	switch {
	case kind == '+':
		return text, nil
	case kind == '-':
		return refusal(text), nil
	case kind == ':' && wrong == nil:
		return n, nil
	case (kind == '$' || kind == '*') && n == -1 && wrong == nil:
		return nil, nil
	case kind == '$' && wrong == nil && n >= 0 && n <= maxReplies:
		bulk := make([]byte, n+2)
		_, err := io.ReadFull(c.r, bulk)
		return string(bulk[:n]), err
	case kind == '*' && wrong == nil && n >= 0 && n <= maxElements && levels > 0:
		var all []any
		for range n {
			one, err := c.read(levels - 1)
			if err != nil {
				return nil, err
			}
			all = append(all, one)
		}
		return all, nil
	}
	return nil, errors.New("the server does not speak RESP")
}
