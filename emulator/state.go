package emulator

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rediam/rediam/internal/statefile"
	"github.com/rediam/rediam/internal/world"
)

// Records of a state file: those of the world begin with inWorld, the others are
// ours.
const (
	inWorld    = "world/"
	ofPlace    = "emulator/place"     // a place
	ofCA       = "emulator/authority" // a savedAuthority
	ofEndpoint = "emulator/endpoint"  // the port of the AWS endpoint
	ofAdmin    = "emulator/admin"     // id of the access key of AdminUser; last of what is made by default
	ofIssuer   = "emulator/issuer"    // the key of the issuer of web identity tokens
	ofPorts    = "emulator/ports/"    // with a cache's name behind: the ports of its nodes
	ofMetadata = "emulator/metadata/" // with an instance's id behind: the port of its metadata
)

// A state is what an emulator keeps for the next: everything but what is in the
// caches. One without a file keeps nothing.
type state struct{ file *statefile.File }

// place is what the names of everything depend on.
type place struct{ Region, Account string }

// savedAuthority is an authority, in PEM form.
type savedAuthority struct{ Certificate, Key string }

// openState opens the file, if one is wanted, and refuses that of another account.
func (s *Server) openState() error {
	if s.config.State == "" {
		return nil
	}
	file, err := statefile.Open(s.config.State)
	if err != nil {
		return fmt.Errorf("state: %w", err)
	}
	s.state.file = file
	here := place{s.world.Region, s.world.Account}
	if was, ok := saved[place](s.state, ofPlace); ok && was != here {
		return &Error{Code: "InvalidParameterValue", Message: fmt.Sprintf("state: %s is of account %s in %s, not of %s in %s", s.config.State, was.Account, was.Region, here.Account, here.Region)}
	}
	records := map[string][]byte{}
	for key, record := range file.Records() {
		if name, ok := strings.CutPrefix(key, inWorld); ok {
			records[name] = record
		}
	}
	if err := s.world.Load(records); err != nil {
		return fmt.Errorf("state: %s: %w", s.config.State, err)
	}
	s.world.Save = func(records map[string][]byte) error {
		named := make(map[string][]byte, len(records))
		for key, record := range records {
			named[inWorld+key] = record
		}
		return file.Put(named)
	}
	return errors.Join(s.forgetPorts(), s.state.put(ofPlace, here))
}

// forgetPorts takes away the ports of what is gone, where an emulator was killed before
// it could: others may have them by now.
func (s *Server) forgetPorts() error {
	gone := map[string][]byte{}
	for key := range s.state.file.Records() {
		there := true
		if cache, ok := strings.CutPrefix(key, ofPorts); ok {
			_, there = s.world.Cache(cache)
		} else if id, ok := strings.CutPrefix(key, ofMetadata); ok {
			i, _ := s.world.Instance(id)
			there = i.State == world.Running || i.State == world.Stopped
		}
		if !there {
			gone[key] = nil
		}
	}
	if len(gone) == 0 {
		return nil
	}
	return s.state.file.Put(gone)
}

// saved is a record of ours; ok is false if there is none.
func saved[V any](s state, key string) (v V, ok bool) {
	if s.file == nil {
		return v, false
	}
	record, ok := s.file.Records()[key]
	return v, ok && json.Unmarshal(record, &v) == nil
}

// put saves a record; nil takes it away.
func (s state) put(key string, v any) error {
	if s.file == nil {
		return nil
	}
	if v == nil {
		return s.file.Put(map[string][]byte{key: nil})
	}
	record, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return s.file.Put(map[string][]byte{key: record})
}

func (s state) close() {
	if s.file != nil {
		s.file.Close()
	}
}

// authority is the one that was saved, while it may vouch for the same names, or a
// new one.
func (s *Server) authority() (*authority, error) {
	if was, ok := saved[savedAuthority](s.state, ofCA); ok {
		if ca, err := was.restore(); err == nil && slices.Equal(ca.names, authorityNames(s.config.Expose)) && time.Now().Before(ca.certificate.NotAfter) {
			return ca, nil
		}
	}
	ca, err := newAuthority(s.config.Expose)
	if err != nil {
		return nil, err
	}
	key, err := x509.MarshalPKCS8PrivateKey(ca.key)
	if err != nil {
		return nil, err
	}
	return ca, s.state.put(ofCA, savedAuthority{string(ca.pem), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))})
}

func (a savedAuthority) restore() (*authority, error) {
	pair, err := tls.X509KeyPair([]byte(a.Certificate), []byte(a.Key))
	if err != nil {
		return nil, err
	}
	return restoreAuthority(pair, []byte(a.Certificate))
}

// endpoint is the address of the AWS endpoint: that of the state, where any port
// would do.
func (s *Server) endpoint() string {
	host, port, err := net.SplitHostPort(s.config.Listen)
	if was, ok := saved[int](s.state, ofEndpoint); ok && (s.config.Listen == "" || err == nil && port == "0") {
		if host == "" {
			host = "127.0.0.1"
		}
		return net.JoinHostPort(host, strconv.Itoa(was))
	}
	if s.config.Listen == "" {
		return "127.0.0.1:0"
	}
	return s.config.Listen
}

// ports are those of a cache that was there before.
func (s *Server) ports(cache string) []int {
	ports, _ := saved[[]int](s.state, ofPorts+cache)
	return ports
}

// keepPorts saves those that a cache has got.
func (s *Server) keepPorts(cache string, nodes []node) error {
	ports := make([]int, len(nodes))
	for i, n := range nodes {
		ports[i] = n.listener.Addr().(*net.TCPAddr).Port
	}
	if slices.Equal(ports, s.ports(cache)) {
		return nil
	}
	return s.state.put(ofPorts+cache, ports)
}

// errTaken explains a port that somebody else has.
func errTaken(err error, kept bool) error {
	if !kept {
		return err
	}
	return errors.Join(err, errors.New("the state file says that it is ours: end what has it, or start without --state"))
}
