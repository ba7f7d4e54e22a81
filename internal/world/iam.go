package world

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"time"

	"github.com/rediam/rediam/internal/policy"
)

// account is the IAM side of one AWS account.
type account struct {
	users   map[string]IAMUser
	roles   map[string]Role
	managed map[string]*policy.Policy // by ARN
	held    map[string]held           // by the ARN of the user or role
}

// held is what decides for an IAM user or a role. Managed policies are looked up
// when they are needed, so that a new version counts at once.
type held struct {
	inline   []*policy.Policy
	attached []string
	boundary string
	trust    *policy.Policy
}

// An IAMUser is a user of IAM, who has access keys; not one whom Redis knows.
type IAMUser struct {
	Account  string // zero means the world's
	Name     string
	Inline   map[string]string // policy documents by policy name
	Attached []string          // ARNs of managed policies
	Boundary string            // ARN of a managed policy; zero means none
	Tags     map[string]string
}

// A Role is an IAM role.
type Role struct {
	Account    string // zero means the world's
	Name       string
	Trust      string            // trust policy document; zero trusts the account
	Inline     map[string]string // policy documents by policy name
	Attached   []string          // ARNs of managed policies
	Boundary   string            // ARN of a managed policy; zero means none
	MaxSession time.Duration     // zero means an hour
	Tags       map[string]string
}

// A Principal is whoever holds a key.
type Principal struct {
	Account string
	Type    PrincipalType
	Name    string // of the IAM user or the role
	Session string // of the role session
	ID      string // AWS's unique id: AIDA…, AROA…:session, or the account id for root
}

// PrincipalType is the kind of principal, in CloudTrail's words.
type PrincipalType string

const (
	Root        PrincipalType = "Root"
	AsIAMUser   PrincipalType = "IAMUser"
	AssumedRole PrincipalType = "AssumedRole"
)

// A Key is an access key and whom it stands for.
type Key struct {
	ID           string
	Secret       Secret
	SessionToken Secret    // empty for a long-term key
	Expires      time.Time // zero for a long-term key
	Inactive     bool
	Principal    Principal
	session      []*policy.Policy // session policies; nil means none were passed
}

// Format prints whose key it is, whatever the verb.
func (k Key) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "{key %s of %s %s %s, session %q, expires %v}", k.ID, k.Principal.Type, k.Principal.Account, k.Principal.Name, k.Principal.Session, k.Expires)
}

var iamName = regexp.MustCompile(`^[\w+=,.@-]{1,64}$`)

func (w *World) accountOf(id string) *account {
	a, ok := w.iam[id]
	if !ok {
		a = &account{map[string]IAMUser{}, map[string]Role{}, map[string]*policy.Policy{}, map[string]held{}}
		w.iam[id] = a
	}
	return a
}

// PutPolicy makes or replaces a customer managed policy of the world's account
// and gives its ARN.
func (w *World) PutPolicy(name, document string) (arn string, err error) {
	if !iamName.MatchString(name) {
		return "", errorf("ValidationError", "policy name is not valid")
	}
	arn = w.arn("iam", "", w.Account, "policy/"+name)
	parsed, err := policy.Parse(policy.Identity, name, []byte(document))
	if err != nil {
		return "", malformed(err)
	}
	return arn, w.change(func() error {
		w.accountOf(w.Account).managed[arn] = parsed
		return nil
	})
}

func malformed(err error) error {
	var m *policy.MalformedError
	if errors.As(err, &m) && m.Detail != "" {
		return errorf("MalformedPolicyDocument", "%s (%s)", m.Message, m.Detail)
	} else if m != nil {
		return errorf("MalformedPolicyDocument", "%s", m.Message)
	}
	return errorf("MalformedPolicyDocument", "%s", err)
}

// PutIAMUser makes an IAM user, or changes the one with its name.
func (w *World) PutIAMUser(u IAMUser) error {
	u.Account = cmp.Or(u.Account, w.Account)
	u.Inline, u.Tags, u.Attached = maps.Clone(u.Inline), maps.Clone(u.Tags), slices.Clone(u.Attached)
	if !iamName.MatchString(u.Name) {
		return errorf("ValidationError", "user name is not valid")
	}
	return w.change(func() error {
		own, err := w.hold(u.Account, u.Inline, u.Attached, u.Boundary)
		if err != nil {
			return err
		}
		a := w.accountOf(u.Account)
		a.users[u.Name], a.held[w.userARN(u.Account, u.Name)] = u, own
		return nil
	})
}

// PutRole makes a role, or changes the one with its name. Sessions of the role
// have its new policies at once.
func (w *World) PutRole(r Role) error {
	r.Account = cmp.Or(r.Account, w.Account)
	r.MaxSession = cmp.Or(r.MaxSession, time.Hour)
	r.Inline, r.Tags, r.Attached = maps.Clone(r.Inline), maps.Clone(r.Tags), slices.Clone(r.Attached)
	if r.Trust == "" {
		r.Trust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + w.arn("iam", "", r.Account, "root") + `"},"Action":"sts:AssumeRole"}]}`
	}
	switch {
	case !iamName.MatchString(r.Name):
		return errorf("ValidationError", "role name is not valid")
	case r.MaxSession < time.Hour || r.MaxSession > maxSession:
		return errorf("ValidationError", "MaxSessionDuration must be between 1 and 12 hours")
	}
	trust, err := policy.Parse(policy.Trust, r.Name, []byte(r.Trust))
	if err != nil {
		return malformed(err)
	}
	return w.change(func() error {
		own, err := w.hold(r.Account, r.Inline, r.Attached, r.Boundary)
		if err != nil {
			return err
		}
		own.trust = trust
		a := w.accountOf(r.Account)
		a.roles[r.Name], a.held[w.roleARN(r.Account, r.Name)] = r, own
		return nil
	})
}

// Role finds a role of the world's account.
func (w *World) Role(name string) (Role, bool) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	a, ok := w.iam[w.Account]
	if !ok {
		return Role{}, false
	}
	r, ok := a.roles[name]
	r.Inline, r.Tags, r.Attached = maps.Clone(r.Inline), maps.Clone(r.Tags), slices.Clone(r.Attached)
	return r, ok
}

// hold parses the inline policies of a principal and looks for the managed ones.
func (w *World) hold(accountID string, inline map[string]string, arns []string, boundary string) (held, error) {
	h := held{attached: arns, boundary: boundary}
	for _, name := range slices.Sorted(maps.Keys(inline)) {
		p, err := policy.Parse(policy.Identity, name, []byte(inline[name]))
		if err != nil {
			return held{}, malformed(err)
		}
		h.inline = append(h.inline, p)
	}
	managed := w.accountOf(accountID).managed
	for _, arn := range append(slices.Clone(arns), boundary) {
		if _, ok := managed[arn]; !ok && arn != "" {
			return held{}, noPolicy(arn)
		}
	}
	return h, nil
}

func noPolicy(arn string) error {
	return errorf("NoSuchEntity", "Policy %.256s does not exist or is not attachable.", arn)
}

// policiesOf are the policies that decide for a key.
func (w *World) policiesOf(k Key) policy.Policies {
	w.mu.RLock()
	defer w.mu.RUnlock()
	a, ok := w.iam[k.Principal.Account]
	if !ok {
		return policy.Policies{}
	}
	arn := w.userARN(k.Principal.Account, k.Principal.Name)
	if k.Principal.Type == AssumedRole {
		arn = w.roleARN(k.Principal.Account, k.Principal.Name)
	}
	own := a.held[arn]
	policies := policy.Policies{Identity: slices.Clip(own.inline), Boundary: a.managed[own.boundary], Session: k.session}
	for _, arn := range own.attached {
		policies.Identity = append(policies.Identity, a.managed[arn])
	}
	return policies
}

func (w *World) userARN(account, name string) string {
	return w.arn("iam", "", account, "user/"+name)
}

func (w *World) roleARN(account, name string) string {
	return w.arn("iam", "", account, "role/"+name)
}

// RoleARN is the ARN of a role of the world's account.
func (w *World) RoleARN(name string) string { return w.roleARN(w.Account, name) }

// PrincipalARN is how STS and log files name a principal.
func (w *World) PrincipalARN(p Principal) string {
	switch p.Type {
	case Root:
		return w.arn("iam", "", p.Account, "root")
	case AssumedRole:
		return w.arn("sts", "", p.Account, "assumed-role/"+p.Name+"/"+p.Session)
	}
	return w.userARN(p.Account, p.Name)
}

// CreateAccessKey makes a long-term key of an IAM user of the world's account;
// an empty name means the account's root user.
func (w *World) CreateAccessKey(name string) (Key, error) {
	k := Key{ID: "AKIA" + random32(10), Secret: Secret(random64(30)),
		Principal: Principal{Account: w.Account, Type: AsIAMUser, Name: name, ID: uniqueID("AIDA", w.userARN(w.Account, name))}}
	if name == "" {
		k.Principal = Principal{Account: w.Account, Type: Root, ID: w.Account}
	}
	return k, w.change(func() error {
		if _, ok := w.accountOf(w.Account).users[name]; name != "" && !ok {
			return errorf("NoSuchEntity", "The user with name %.64s cannot be found.", name)
		}
		w.keys[k.ID] = k
		return nil
	})
}

// SetAccessKey makes a key active or inactive.
func (w *World) SetAccessKey(id string, active bool) error {
	return w.change(func() error {
		k, ok := w.keys[id]
		if !ok {
			return errorf("NoSuchEntity", "The Access Key with id %.32s cannot be found.", id)
		}
		k.Inactive = !active
		w.keys[id] = k
		return nil
	})
}

// Key finds an access key by its id, expired ones included for a while.
func (w *World) Key(id string) (Key, bool) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	k, ok := w.keys[id]
	return k, ok
}

// random32 is n random bytes in the letters of access key ids.
func random32(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b)
}

func random64(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return base64.StdEncoding.EncodeToString(b)
}

// uniqueID stands in for IAM's unique ids: it is made of the ARN, so that it is
// the same each time.
func uniqueID(prefix, arn string) string {
	sum := sha256.Sum256([]byte(arn))
	return prefix + base32.StdEncoding.EncodeToString(sum[:])[:17]
}
