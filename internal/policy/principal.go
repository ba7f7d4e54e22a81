package policy

import (
	"regexp"
	"strings"
)

// reach says how a Principal element includes a caller.
type reach uint8

const (
	outsider  reach = iota
	ofAccount       // through the caller's account
	named           // by name, or as anyone
)

// principalList is a Principal element: any of its entries.
type principalList []principal

type principal struct {
	anyone  bool
	name    string // an ARN, a service or an identity provider: the caller itself
	account string // not empty: every principal of the account
	session string // not empty: what the ARN of each session of the role begins with
}

var (
	accountID = regexp.MustCompile(`^[0-9]{12}$`)
	// iamARN finds partition, account and resource of the principals that the
	// guide lists under "Specifying a principal".
	iamARN        = regexp.MustCompile(`^arn:(aws[a-z-]*):iam::([0-9]{12}):(root|(?:user|role)/[^*?]+)$`)
	stsARN        = regexp.MustCompile(`^arn:aws[a-z-]*:sts::([0-9]{12}):(?:assumed-role/[^/*?]+/|federated-user/)[^/*?]+$`)
	providerARN   = regexp.MustCompile(`^arn:aws[a-z-]*:iam::[0-9]{12}:(?:oidc|saml)-provider/[^*?]+$`)
	principalHost = regexp.MustCompile(`^[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)+$`)
)

func (l *principalList) read(m member) error {
	if m.value == "*" {
		*l = principalList{{anyone: true}}
		return nil
	}
	types, ok := m.value.(object)
	if !ok || len(types) == 0 {
		return malformed(msgSyntax, `Principal is neither "*" nor an object with AWS, Service or Federated`)
	}
	for _, entry := range types {
		names, err := stringList(entry)
		if err != nil {
			return err
		}
		for _, name := range names {
			p, ok := newPrincipal(entry.name, name)
			if !ok {
				return malformed(`Invalid principal in policy: "`+strings.ToUpper(excerpt(entry.name))+`":"`+excerpt(name)+`"`, "")
			}
			*l = append(*l, p)
		}
	}
	if len(*l) == 0 {
		return malformed(msgSyntax, "Principal is empty")
	}
	return nil
}

func newPrincipal(kind, name string) (principal, bool) {
	switch kind {
	case "AWS":
		return awsPrincipal(name)
	case "Service":
		return principal{name: name}, principalHost.MatchString(name)
	case "Federated":
		return principal{name: name}, principalHost.MatchString(name) || providerARN.MatchString(name)
	}
	return principal{}, false
}

func awsPrincipal(name string) (principal, bool) {
	if name == "*" {
		return principal{anyone: true}, true
	}
	if accountID.MatchString(name) {
		return principal{account: name}, true
	}
	found := iamARN.FindStringSubmatch(name)
	if found == nil {
		return principal{name: name}, stsARN.MatchString(name)
	}
	partition, account, resource := found[1], found[2], found[3]
	if resource == "root" {
		return principal{account: account}, true
	}
	p := principal{name: name}
	if strings.HasPrefix(resource, "role/") {
		// The ARN of a session has the role's name without its path.
		role := resource[strings.LastIndex(resource, "/")+1:]
		p.session = "arn:" + partition + ":sts::" + account + ":assumed-role/" + role + "/"
	}
	return p, true
}

func (l principalList) match(caller string) reach {
	account := callerAccount(caller)
	best := outsider
	for _, p := range l {
		switch {
		case p.anyone, p.name != "" && p.name == caller, p.session != "" && strings.HasPrefix(caller, p.session):
			return named
		case p.account != "" && p.account == account:
			best = ofAccount
		}
	}
	return best
}

// Principals are those that a trust policy names: ARNs, services and identity
// providers, but neither accounts nor *.
func (p *Policy) Principals() (names []string) {
	for _, s := range p.statements {
		for _, principal := range s.principals {
			if principal.name != "" {
				names = append(names, principal.name)
			}
		}
	}
	return names
}

// callerAccount is empty for callers that are no principals of an account:
// services and identity providers.
func callerAccount(caller string) string {
	if found := iamARN.FindStringSubmatch(caller); found != nil {
		return found[2]
	}
	if found := stsARN.FindStringSubmatch(caller); found != nil {
		return found[1]
	}
	return ""
}
