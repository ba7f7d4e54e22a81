package policy

import (
	"regexp"
	"slices"
	"strings"
)

const (
	elasticache = "elasticache"
	memorydb    = "memorydb"

	accountProblem = "this is no account id: those have 12 digits"
)

// The types of resource of the two services (Service Authorization Reference).
var (
	elasticacheTypes = []string{"replicationgroup", "serverlesscache", "user", "usergroup", "cluster", "subnetgroup", "parametergroup",
		"securitygroup", "snapshot", "serverlesscachesnapshot", "reserved-instance", "globalreplicationgroup"}
	memorydbTypes = []string{"cluster", "user", "acl", "subnetgroup", "parametergroup", "snapshot", "reservednode", "multiregioncluster", "multiregionparametergroup"}

	// lowerCaseTypes are those whose names AWS keeps in lower case.
	lowerCaseTypes = []string{"replicationgroup", "serverlesscache", "user", "usergroup", "cluster", "acl"}

	regionName   = regexp.MustCompile(`^[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}$`)
	zoneName     = regexp.MustCompile(`^[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}[a-z]$`)
	typeAndName  = regexp.MustCompile(`^([A-Za-z_-]+)([:/])(.*)$`)
	trailingPort = regexp.MustCompile(`:[0-9]{1,5}$`)
	nodeLabel    = regexp.MustCompile(`^(.+?)(-[0-9]{4})?-[0-9]{3}$`)
	serverless   = regexp.MustCompile(`^(.+)-[a-z0-9]{5,6}$`)
)

// resource is what a Resource probably means.
type resource struct {
	*node
	service   string // "" if the pattern is for any
	cache     bool   // it may match a cache that Connect can be for
	user      bool   // likewise a user
	everyUser bool
	group     bool // it is for user groups or ACLs
}

// lintResource looks at the ARNs of the two services only.
func (l *linter) lintResource(n *node) resource {
	text := l.typed(n)
	r := resource{node: n}
	if trimmed := strings.TrimSpace(text); trimmed != text {
		l.problem(n.offset(0), "a space stands at an end of the resource", "take it out")
		text = trimmed
	}
	switch {
	case text == "*":
		r.cache, r.user, r.everyUser = true, true, true
		return r
	case strings.Contains(text, "${AWS::"):
		l.problem(n.offset(0), "this is a variable of CloudFormation, which IAM does not know", "write its value, or put Fn::Sub around the string in the template")
		r.cache, r.user = true, true
		return r
	case strings.HasPrefix(text, "${"):
		r.cache, r.user = true, true
		return r
	}
	if !strings.HasPrefix(text, "arn:") {
		l.lintNoARN(n, text)
		return r
	}
	parts := strings.SplitN(text, ":", arnSegments)
	if len(parts) < 3 {
		return r
	}
	if service := strings.ToLower(parts[1]); service == elasticache || service == memorydb {
		l.problem(n.offset(len("arn:")), "the partition is missing before the service", "write arn:aws:"+service+":…")
		r.service = service
		return r
	}
	r.service = parts[2]
	if meant := nearest(r.service, []string{elasticache, memorydb}); meant != "" && meant != r.service {
		l.problem(n.offset(len(parts[0])+len(parts[1])+2), "there is no service of this name", "did you mean "+meant+"?")
		r.service = meant
	}
	if r.service == elasticache || r.service == memorydb {
		l.lintARN(&r, text, parts)
	}
	return r
}

func (l *linter) lintNoARN(n *node, text string) {
	name := "NAME"
	if isEndpoint(text) {
		name = nameOf(text)
	}
	switch {
	case len(text) > 4 && strings.EqualFold(text[:4], "arn:"):
		l.problem(n.offset(0), "an ARN begins in lower case", "write arn:")
	case isEndpoint(text):
		l.problem(n.offset(0), "an endpoint is no resource", "write an ARN with the cache's name, such as arn:aws:elasticache:REGION:ACCOUNT:replicationgroup:"+repeated(name))
	default:
		l.problem(n.offset(0), "a resource is an ARN, and this is none", `write "*" or an ARN such as arn:aws:elasticache:REGION:ACCOUNT:replicationgroup:NAME`)
	}
}

// lintARN looks at region, account and what follows.
func (l *linter) lintARN(r *resource, text string, parts []string) {
	n := r.node
	if i := strings.Index(text, "${"); i >= 0 && strings.Count(text[:i], ":") < arnSegments-1 {
		l.problem(n.offset(0), "a policy variable stands before the last part of the ARN, where IAM has none", "write the value, or * for any")
		r.cache, r.user = true, true
		return
	}
	if len(parts) < arnSegments {
		last := parts[len(parts)-1]
		switch {
		case strings.HasSuffix(last, "*"):
			r.cache, r.user, r.everyUser = true, true, true
		case len(parts) > 3 && typeAndName.MatchString(last):
			l.problem(n.offset(0), "the ARN has fewer than six parts", "write arn:aws:"+r.service+":REGION:ACCOUNT:"+repeated(last))
		default:
			l.problem(n.offset(0), "the ARN has fewer than six parts", "write arn:aws:"+r.service+":REGION:ACCOUNT:"+examples(r.service))
		}
		return
	}
	region, account, name := parts[3], parts[4], parts[5]
	regionAt := len(text) - len(region) - len(account) - len(name) - 2
	accountAt := regionAt + len(region) + 1
	switch {
	case accountID.MatchString(region) && !accountID.MatchString(account):
		l.problem(n.offset(regionAt), "the region is missing before the account", "write the region, such as eu-west-1, or *")
		name = account + ":" + name
	case isType(r.service, account):
		l.problem(n.offset(accountAt), "the account is missing", "write the 12 digits of the account before this")
		l.lintRegion(n, regionAt, region, name)
		name = account + ":" + name
	default:
		l.lintRegion(n, regionAt, region, name)
		l.lintAccount(n, accountAt, account)
	}
	l.lintNamed(r, n.offset(len(text)-len(name)), name)
}

// lintRegion knows the two types whose ARNs have no region.
func (l *linter) lintRegion(n *node, at int, region, name string) {
	switch {
	case strings.ContainsAny(region, "*?"), regionName.MatchString(region):
	case region == "" && (strings.HasPrefix(name, "global") || strings.HasPrefix(name, "multiregion") || strings.HasPrefix(name, "*")):
	case region == "":
		l.problem(n.offset(at), "the region is missing", "write the region of the cache, such as eu-west-1, or *")
	case zoneName.MatchString(region):
		l.problem(n.offset(at), "this is an availability zone, not a region", "write "+repeated(region[:len(region)-1]))
	default:
		l.problem(n.offset(at), "this is no region", "write the region of the cache, such as eu-west-1, or *")
	}
}

func (l *linter) lintAccount(n *node, at int, account string) {
	digits := strings.ReplaceAll(account, "-", "")
	switch {
	case strings.ContainsAny(account, "*?"), accountID.MatchString(account):
	case account == "":
		l.problem(n.offset(at), "the account is missing", "write the 12 digits of the account")
	case accountID.MatchString(digits):
		l.problem(n.offset(at), accountProblem, "write "+digits)
	default:
		l.problem(n.offset(at), accountProblem, "write the account's 12 digits, as aws sts get-caller-identity prints them")
	}
}

// lintNamed looks at the last part of an ARN: type, separator and name.
func (l *linter) lintNamed(r *resource, at int, text string) {
	separator, types := ":", elasticacheTypes
	if r.service == memorydb {
		separator, types = "/", memorydbTypes
	}
	r.classify(text, separator)
	found := typeAndName.FindStringSubmatch(text)
	if found == nil {
		l.lintUntyped(r, at, text)
		return
	}
	kind, written, name := found[1], found[2], found[3]
	meant := kind
	if !slices.Contains(types, kind) {
		meant = meantType(r.service, kind)
	}
	r.classify(meant+separator+name, separator)
	switch {
	case meant == "":
		return
	case written != separator && slices.Contains(types, meant):
		l.problem(at, separatorProblem(r.service), "write "+repeated(meant+separator+name))
	case meant != kind:
		l.problem(at, r.service+" has no such type of resource", "write "+repeated(meant+separator+name))
	}
	l.lintName(r, at, meant, separator, name)
}

func separatorProblem(service string) string {
	if service == memorydb {
		return "a colon stands where MemoryDB's ARNs have a slash"
	}
	return "a slash stands where ElastiCache's ARNs have a colon"
}

// lintUntyped is about a last part without type, such as "demo-cache-01".
func (l *linter) lintUntyped(r *resource, at int, text string) {
	switch {
	case isEndpoint(text):
		l.problem(at, "this is an endpoint, and the ARN has the cache's name", "write "+cacheType(r.service)+repeated(nameOf(text)))
		r.cache = true
	case isType(r.service, text):
		l.problem(at, "the name is missing after the type of resource", "write "+examples(r.service))
	case text != "" && !strings.ContainsAny(text, "*?$"):
		l.problem(at, "the type of resource is missing before the name", "write "+examples(r.service)+", with your names")
	}
}

func (l *linter) lintName(r *resource, at int, kind, separator, name string) {
	switch {
	case isEndpoint(name):
		l.problem(at, "this is an endpoint, and the ARN has the cache's name", "write "+kind+separator+repeated(nameOf(name)))
	case name == "":
		l.problem(at, "the name is missing after the type of resource", "write the name, or * for all")
	case slices.Contains(lowerCaseTypes, kind) && hasCapitals(name):
		l.problem(at, "the name has capitals, and AWS keeps these names in lower case", "write "+repeated(strings.ToLower(name)))
	}
}

// hasCapitals does not look at policy variables.
func hasCapitals(name string) bool {
	for {
		before, after, variable := strings.Cut(name, "${")
		if lowerASCII(before) != before {
			return true
		}
		if !variable {
			return false
		}
		_, name, _ = strings.Cut(after, "}")
	}
}

// classify says what the last part of an ARN may match. The type is what stands
// before the separator, or may be anything that begins like the pattern.
func (r *resource) classify(text, separator string) {
	caches := []string{"replicationgroup", "serverlesscache"}
	if r.service == memorydb {
		caches = []string{"cluster"}
	}
	r.user = mayBegin(text, "user"+separator)
	r.cache = slices.ContainsFunc(caches, func(c string) bool { return mayBegin(text, c+separator) })
	r.everyUser = r.user && (text == "user"+separator+"*" || strings.HasPrefix(text, "*"))
	r.group = strings.HasPrefix(text, "usergroup"+separator) || strings.HasPrefix(text, "acl"+separator)
}

func mayBegin(pattern, prefix string) bool {
	i := strings.IndexAny(pattern, "*?$")
	if i >= 0 && i < len(prefix) {
		return strings.HasPrefix(prefix, pattern[:i])
	}
	return strings.HasPrefix(pattern, prefix)
}

func isType(service, text string) bool {
	if service == memorydb {
		return slices.Contains(memorydbTypes, text)
	}
	return slices.Contains(elasticacheTypes, text)
}

// meantType understands ReplicationGroup, replication-group, and the names of
// the other service; "" if it does not.
func meantType(service, kind string) string {
	plain := strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(kind))
	switch {
	case service == elasticache && plain == "acl":
		return "usergroup"
	case service == memorydb && (plain == "replicationgroup" || plain == "serverlesscache"):
		return "cluster"
	case service == memorydb && plain == "usergroup":
		return "acl"
	case service == memorydb:
		return nearest(plain, memorydbTypes)
	case plain == "cachecluster":
		return "cluster"
	}
	return nearest(plain, elasticacheTypes)
}

func cacheType(service string) string {
	if service == memorydb {
		return "cluster/"
	}
	return "replicationgroup:"
}

func examples(service string) string {
	if service == memorydb {
		return "cluster/NAME or user/NAME"
	}
	return "replicationgroup:NAME, serverlesscache:NAME or user:ID"
}

func isEndpoint(text string) bool {
	lower := strings.ToLower(text)
	return strings.Contains(lower, ".amazonaws.com") || trailingPort.MatchString(text)
}

// nameOf is the name of the cache that an endpoint probably belongs to.
func nameOf(endpoint string) string {
	host := strings.ToLower(endpoint)
	if _, after, ok := strings.Cut(host, "://"); ok {
		host = after
	}
	host = trailingPort.ReplaceAllString(host, "")
	labels := strings.Split(host, ".")
	name := labels[0]
	switch {
	case len(labels) > 1 && (name == "master" || name == "replica" || name == "clustercfg"):
		name = labels[1]
	case strings.Contains(host, ".serverless."):
		name = serverless.ReplaceAllString(name, "$1")
	case len(labels) > 1:
		name = nodeLabel.ReplaceAllString(name, "$1")
	}
	return name
}

// lintConnect holds the statements of a document together: Connect must be
// allowed on the cache and on the user.
func (l *linter) lintConnect(service string, statements []lintedStatement) {
	var first *lintedStatement
	var cache, user, group bool
	for i := range statements {
		s := &statements[i]
		if !s.allows {
			continue
		}
		names := slices.Contains(s.actions, service+":connect")
		if names && first == nil && s.has("Resource") {
			first = s
		}
		if s.has("NotAction") || s.has("NotResource") {
			cache, user = true, true
		}
		if !slices.ContainsFunc(s.actions, func(a string) bool { return matchesAction(a, service+":connect") }) {
			continue
		}
		for _, r := range s.resources {
			if r.service != "" && r.service != service {
				continue
			}
			cache, user, group = cache || r.cache, user || r.user, group || r.group
			if names && r.everyUser && !s.has("Condition") {
				l.warning(r.offset(0), "this lets its holder connect as every user, the strongest too", "write the users that it may be, or the beginning of their names, such as app-*")
			}
		}
	}
	if first == nil {
		return
	}
	l.lintHalf(service, first, cache, user, group)
}

func (l *linter) lintHalf(service string, s *lintedStatement, cache, user, group bool) {
	at := s.members["Resource"].at
	separator := ":"
	if service == memorydb {
		separator = "/"
	}
	switch {
	case cache && !user && group:
		l.problem(at, "Connect is checked on the user, not on its group", "write the user's ARN, …:user"+separator+"NAME, beside the cache's")
	case cache && !user:
		l.problem(at, "Connect is allowed on the cache and on no user, and must be on both", "add the user's ARN, …:user"+separator+"NAME, here or in another policy")
	case user && !cache && slices.ContainsFunc(s.resources, isCluster):
		l.problem(at, "Connect is checked on the replication group, not on its clusters", "write …:replicationgroup:NAME")
	case user && !cache:
		l.problem(at, "Connect is allowed on the user and on no cache, and must be on both", "add the cache's ARN, …:"+cacheType(service)+"NAME, here or in another policy")
	}
}

func isCluster(r resource) bool {
	return r.service == elasticache && strings.Contains(r.text, ":cluster")
}

func matchesAction(pattern, action string) bool {
	parts, err := parseParts(pattern, true, false)
	return err == nil && glob(parts, action, true)
}
