package emulator

import (
	"cmp"
	"context"
	"crypto/tls"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/rediam/rediam/internal/world"
)

// An Endpoint is how to reach a cache.
type Endpoint struct {
	Name  string      // what to sign
	Addr  string      // 127.0.0.1:port, of the first node
	Nodes []string    // the addresses of all nodes, Addr among them
	TLS   *tls.Config // trusts the emulator's authority and verifies; a fresh copy. Nil for a cache in plaintext
}

// Cache tells how to reach a cache. One that does not run has an address that
// cannot be dialled.
func (s *Server) Cache(name string) Endpoint {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := Endpoint{
		Name: strings.ToLower(name),
		TLS:  &tls.Config{RootCAs: s.ca.pool(), ServerName: cmp.Or(s.config.Expose, "localhost"), MinVersion: tls.VersionTLS12},
	}
	if c, _ := s.world.Cache(name); c.Plaintext {
		e.TLS = nil
	}
	e.Addr = e.Name + ".invalid:6379"
	if c, ok := s.caches[e.Name]; ok {
		e.Nodes = c.addresses()
		e.Addr = e.Nodes[0]
	}
	return e
}

// EngineOf names the engine of a cache and its version; empty if it does not run.
func (s *Server) EngineOf(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, ok := s.caches[strings.ToLower(name)]; ok {
		return c.nodes[0].engine.String()
	}
	return ""
}

// URL is the AWS endpoint, for AWS_ENDPOINT_URL and --endpoint-url.
func (s *Server) URL() string { return s.url }

// CAFile is a PEM file with the certificate authority of the caches. It goes with
// the emulator.
func (s *Server) CAFile() string { return s.dir.file("ca.pem") }

// Environ is what programs need to use the emulator, in the form of os.Environ:
// AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of the IAM user
// admin, AWS_REGION, AWS_DEFAULT_REGION, REDIAM_CA and, for the default set-up,
// REDIAM_SERVICE, REDIAM_ENDPOINT, REDIAM_CACHE, REDIAM_SERVERLESS, REDIAM_USER.
func (s *Server) Environ() []string {
	return append([]string{"AWS_ACCESS_KEY_ID=" + s.adminKey.ID, "AWS_SECRET_ACCESS_KEY=" + string(s.adminKey.Secret)}, s.place()...)
}

// place is what of Environ does not say who one is.
func (s *Server) place() []string {
	environ := []string{
		"AWS_ENDPOINT_URL=" + s.url,
		"AWS_REGION=" + s.Region(),
		"AWS_DEFAULT_REGION=" + s.Region(),
		"REDIAM_CA=" + s.CAFile(),
	}
	name := strings.ToLower(cmp.Or(s.config.Cache, DefaultCache))
	cache, ok := s.world.Cache(name)
	if s.config.Empty || !ok {
		return environ
	}
	return append(environ,
		"REDIAM_SERVICE="+cache.Service(),
		"REDIAM_ENDPOINT="+s.Cache(name).Addr,
		"REDIAM_CACHE="+name,
		"REDIAM_SERVERLESS="+strconv.FormatBool(cache.Kind == ServerlessCache),
		"REDIAM_USER="+cmp.Or(s.config.User, DefaultUser))
}

// Region, Account and Partition are where the caches are.
func (s *Server) Region() string    { return s.world.Region }
func (s *Server) Account() string   { return s.world.Account }
func (s *Server) Partition() string { return s.world.Partition }

// Now is the emulator's clock: that of this machine, moved on by Advance. Give it
// to Signer.Now.
func (s *Server) Now() time.Time { return s.world.Now() }

// Advance moves the emulator's clock on by d, and returns when every connection
// whose time is then over has been closed.
func (s *Server) Advance(d time.Duration) { s.world.Advance(d) }

// Events are the last sign-ins, admitted and refused, oldest first. A sign-in is
// there before its client has the answer.
func (s *Server) Events() []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Event{}, s.events...)
}

// Sessions are the live connections of a cache, oldest first.
func (s *Server) Sessions(cache string) []Session {
	s.mu.Lock()
	c, ok := s.caches[strings.ToLower(cache)]
	s.mu.Unlock()
	if !ok {
		return nil
	}
	return c.gate.Sessions()
}

// Credentials are those of a session of the role, issued afresh whenever they are
// asked for, valid for an hour of the emulator's clock. Do not wrap it in an
// aws.CredentialsCache where Advance is used: that goes by this machine's clock.
func (s *Server) Credentials(role string) aws.CredentialsProvider {
	return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		k, err := s.world.IssueSession(role, "emulator")
		if err != nil {
			return aws.Credentials{}, err
		}
		return credentials(k), nil
	})
}

// KeyCredentials are those of an access key that CreateAccessKey has made.
func KeyCredentials(k Key) aws.CredentialsProvider {
	return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return credentials(k), nil })
}

func credentials(k Key) aws.Credentials {
	return aws.Credentials{AccessKeyID: k.ID, SecretAccessKey: string(k.Secret), SessionToken: string(k.SessionToken),
		CanExpire: !k.Expires.IsZero(), Expires: k.Expires, Source: "rediam emulator"}
}

// The methods below change what exists. They fail with an *Error where AWS's
// rules forbid the change, and return when it has taken effect: listeners answer,
// and the connections that the change ends are closed. Another error means that
// the change is made, but an engine has not followed it; the next change tries
// again.

// PutCache makes or changes a cache. A cluster of several nodes needs redis-server
// or valkey-server as engine; one takes two seconds until it answers.
func (s *Server) PutCache(c Cache) error { return s.world.PutCache(c) }

// DeleteCache ends a cache.
func (s *Server) DeleteCache(name string) error { return s.world.DeleteCache(name) }

// PutUser makes or changes a user whom Redis knows.
func (s *Server) PutUser(u User) error { return s.world.PutUser(u) }

// DeleteUser deletes a user, from its groups too, and ends its connections.
func (s *Server) DeleteUser(service, id string) error { return s.world.DeleteUser(service, id) }

// PutGroup makes or changes a user group. Connections of users that are no longer
// in it end.
func (s *Server) PutGroup(g Group) error { return s.world.PutGroup(g) }

// PutRole makes or changes a role. Taking a permission away ends no connection,
// as on AWS.
func (s *Server) PutRole(r Role) error { return s.world.PutRole(r) }

// Role finds a role, to change it.
func (s *Server) Role(name string) (Role, bool) { return s.world.Role(name) }

// PutIAMUser makes or changes a user of IAM.
func (s *Server) PutIAMUser(u IAMUser) error { return s.world.PutIAMUser(u) }

// PutPolicy makes or changes a managed policy and gives its ARN.
func (s *Server) PutPolicy(name, document string) (arn string, err error) {
	return s.world.PutPolicy(name, document)
}

// RunInstance launches an EC2 instance that has a role, through an instance profile
// of the same name, and gives its id. MetadataURL tells where it gets credentials.
func (s *Server) RunInstance(role string) (id string, err error) {
	if _, ok := s.world.InstanceProfile(role); !ok {
		if _, err := s.world.CreateInstanceProfile(world.InstanceProfile{Name: role}); err != nil {
			return "", err
		}
		if err := s.world.AddRoleToInstanceProfile(role, role); err != nil {
			return "", err
		}
	}
	launched, err := s.world.RunInstances(world.RunInstances{InstanceSpec: world.InstanceSpec{Image: "ami-1", Type: "t3.micro"}, Count: 1, Profile: role})
	if err != nil {
		return "", err
	}
	return launched[0].ID, nil
}

// TerminateInstance ends an EC2 instance and its metadata service.
func (s *Server) TerminateInstance(id string) error {
	_, err := s.world.SetInstanceState([]string{id}, world.Terminated)
	return err
}

// CreateAccessKey makes an access key of a user of IAM, or of the account's root
// user if the name is empty.
func (s *Server) CreateAccessKey(user string) (Key, error) { return s.world.CreateAccessKey(user) }

// SetAccessKey makes an access key active or inactive.
func (s *Server) SetAccessKey(id string, active bool) error {
	return s.world.SetAccessKey(id, active)
}

// RoleARN is the ARN of a role, for AssumeRole.
func (s *Server) RoleARN(name string) string { return s.world.RoleARN(name) }
