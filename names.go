package rediam

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// maxName is the longest cache, cluster or user name that AWS takes.
const maxName = 40

// The patterns are those of AWS's own token generators (developer toolkit for
// ElastiCache); MemoryDB's user guide gives the same rule for user names.
var (
	cacheName       = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9]*(-[a-zA-Z0-9]+)*$`)
	elasticacheUser = regexp.MustCompile(`^(default\.)?[a-zA-Z][a-zA-Z0-9-]*$`)
	regionName      = regexp.MustCompile(`^[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}$`)
	nodeLabel       = regexp.MustCompile(`^(.+?)(-[0-9]{4})?-[0-9]{3}$`)
	serverlessLabel = regexp.MustCompile(`^(.+)-[a-z0-9]{5,6}$`)
)

// The errors of the checks below do not repeat the value: it may be a secret in
// the wrong variable.

func checkService(s Service, serverless bool) error {
	switch s.orDefault() {
	case ElastiCache:
		return nil
	case MemoryDB:
		if serverless {
			return errors.New("serverless is for ElastiCache: MemoryDB has no serverless caches")
		}
		return nil
	}
	return errors.New("service must be elasticache or memorydb")
}

func checkCacheName(name string) error {
	switch {
	case name == "":
		return errors.New("no cache name: give the replication group id, the serverless cache name or the MemoryDB cluster name")
	case strings.ContainsAny(name, ".:/"):
		if probable := nameInEndpoint(name); probable != "" {
			return fmt.Errorf("the cache name is an endpoint; the name is probably %q", probable)
		}
		return errors.New("the cache name is an endpoint or an ARN: give the bare replication group id, serverless cache name or MemoryDB cluster name")
	case len(name) > maxName || !cacheName.MatchString(name):
		return fmt.Errorf("the cache name is not one that AWS gives: at most %d letters, digits and single hyphens, a letter first", maxName)
	}
	return nil
}

func checkUserName(s Service, name string) error {
	pattern := elasticacheUser
	if s.orDefault() == MemoryDB {
		pattern = cacheName
	}
	switch {
	case name == "":
		return errors.New("no user name: give the name of the IAM-enabled user")
	case len(name) > maxName || !pattern.MatchString(name):
		return fmt.Errorf("the user name is not one that AWS gives: at most %d letters, digits and hyphens, a letter first", maxName)
	}
	return nil
}

func checkRegion(region string) error {
	switch {
	case region == "":
		return errors.New("no region: give the region of the cache, such as eu-west-1")
	case !regionName.MatchString(region):
		return errors.New("the region is not of the form eu-west-1")
	}
	return nil
}

// nameInEndpoint is the cache name that an AWS endpoint most probably belongs
// to, or "". It is a hint for people: AWS documents no rule that gives it back.
func nameInEndpoint(endpoint string) string {
	host := strings.ToLower(endpoint)
	if _, after, ok := strings.Cut(host, "://"); ok {
		host = after
	}
	if at := strings.LastIndexByte(host, '@'); at >= 0 {
		host = host[at+1:]
	}
	host, _, _ = strings.Cut(host, "/")
	host, _, _ = strings.Cut(host, ":")
	domain := strings.TrimSuffix(host, ".cn") // the aws-cn partition's amazonaws.com.cn
	if !strings.HasSuffix(domain, ".cache.amazonaws.com") && !(strings.Contains(domain, ".memorydb.") && strings.HasSuffix(domain, ".amazonaws.com")) {
		return ""
	}
	labels := strings.Split(domain, ".")
	name := labels[0]
	switch {
	case strings.Contains(domain, ".serverless."):
		if m := serverlessLabel.FindStringSubmatch(name); m != nil {
			name = m[1]
		}
	case name == "master" || name == "replica" || name == "clustercfg":
		name = labels[1]
	default:
		if m := nodeLabel.FindStringSubmatch(name); m != nil {
			name = m[1]
		}
	}
	if !cacheName.MatchString(name) {
		return ""
	}
	return name
}
