package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/rediam/rediam"
)

// A target is the cache that the environment describes.
type target struct {
	cache   rediam.Config
	cluster bool // whether it is in cluster mode
	trust   *tls.Config
}

// readTarget reads the environment. The error names every variable that cannot be
// read; what the values mean is for rediam.Config to check.
func readTarget() (target, error) {
	t := target{
		cache: rediam.Config{TLS: true, AWSAuth: true, CacheName: os.Getenv("CLUSTER_NAME"), Username: os.Getenv("USERNAME")},
		trust: &tls.Config{MinVersion: tls.VersionTLS12},
	}
	err := errors.Join(
		read("SERVICE_NAME", t.setService),
		read("CLUSTER_ENDPOINT", t.setEndpoint),
		read("CLUSTER_MODE", truth(&t.cluster)),
		read("CACHE_SERVERLESS", truth(&t.cache.Serverless)),
		read("CA_FILE", t.setAuthorities),
	)
	// For every node of a cluster: nodes may announce themselves by IP address,
	// which their certificates do not name.
	t.trust.ServerName = t.cache.Host
	return t, err
}

// read gives the value of a variable to set, unless it is empty.
func read(name string, set func(string) error) error {
	value := os.Getenv(name)
	if value == "" {
		return nil
	}
	if err := set(value); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// unset names the variables without which there is no target. The region may also
// come from the AWS profile.
func unset(region string) error {
	var names []string
	for _, name := range []string{"CLUSTER_NAME", "CLUSTER_ENDPOINT", "USERNAME"} {
		if os.Getenv(name) == "" {
			names = append(names, name)
		}
	}
	if region == "" {
		names = append(names, "AWS_REGION")
	}
	if len(names) == 0 {
		return nil
	}
	return errors.New("not set: " + strings.Join(names, ", "))
}

// setService also says how to speak to the cache, unless CLUSTER_MODE does:
// MemoryDB has clusters only.
func (t *target) setService(v string) error {
	err := t.cache.Service.UnmarshalText([]byte(v))
	t.cluster = t.cache.Service == rediam.MemoryDB
	return err
}

func (t *target) setEndpoint(v string) error {
	t.cache.Host = v // so that an endpoint that cannot be read does not count as none
	if strings.ContainsAny(v, "/@") {
		return errors.New("must be host:port, with no scheme and nothing behind it")
	}
	return t.cache.SetURL("rediss://" + v)
}

func (t *target) setAuthorities(file string) error {
	pem, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	t.trust.RootCAs = x509.NewCertPool()
	if !t.trust.RootCAs.AppendCertsFromPEM(pem) {
		return errors.New("holds no certificate in PEM form")
	}
	return nil
}

func truth(to *bool) func(string) error {
	return func(v string) (err error) {
		if *to, err = strconv.ParseBool(v); err != nil {
			return errors.New("must be true or false")
		}
		return nil
	}
}

// withPort adds a port to an address that has none.
func withPort(address, port string) string {
	if _, _, err := net.SplitHostPort(address); err == nil {
		return address
	}
	return net.JoinHostPort(strings.Trim(address, "[]"), port)
}
