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
	"strings"
	"time"

	"github.com/rediam/rediam/internal/policy"
)

// iamUser is an IAMUser with its policies parsed. Managed ones are looked up when
// they are needed, so that a new version counts at once.
type iamUser struct {
	IAMUser
	inline []*policy.Policy
}

// role is a Role with its policies parsed.
type role struct {
	Role
	inline []*policy.Policy
	trust  *policy.Policy
}

// managed is a customer managed policy.
type managed struct {
	Name, Document string
	parsed         *policy.Policy
}

func packIAMUser(u iamUser) any { return u.IAMUser }

func unpackIAMUser(record []byte) (u iamUser, err error) {
	if u.IAMUser, err = fromJSON[IAMUser](record); err != nil {
		return u, err
	}
	u.inline, err = parseAll(u.Inline)
	return u, err
}

func packRole(r role) any { return r.Role }

func unpackRole(record []byte) (r role, err error) {
	if r.Role, err = fromJSON[Role](record); err != nil {
		return r, err
	}
	if r.trust, err = policy.Parse(policy.Trust, r.Name, []byte(r.Trust)); err != nil {
		return r, err
	}
	r.inline, err = parseAll(r.Inline)
	return r, err
}

func packManaged(m managed) any { return m }

func unpackManaged(record []byte) (m managed, err error) {
	if m, err = fromJSON[managed](record); err != nil {
		return m, err
	}
	m.parsed, err = policy.Parse(policy.Identity, m.Name, []byte(m.Document))
	return m, err
}

// savedKey is a Key with its secrets in the open.
type savedKey struct {
	Key
	Secret, SessionToken string
}

func packKey(k Key) any { return savedKey{k, string(k.Secret), string(k.SessionToken)} }

func unpackKey(record []byte) (Key, error) {
	saved, err := fromJSON[savedKey](record)
	if err != nil {
		return Key{}, err
	}
	k := saved.Key
	k.Secret, k.SessionToken = Secret(saved.Secret), Secret(saved.SessionToken)
	for _, d := range k.Session {
		p, err := policy.Parse(policy.Identity, d.Name, []byte(d.Document))
		if err != nil {
			return Key{}, err
		}
		k.session = append(k.session, p)
	}
	return k, nil
}

// named is the key of an IAM user or a role.
func named(account, name string) string { return account + "/" + name }

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
	Session      []SessionPolicy  // none means that none were passed
	session      []*policy.Policy // the same, parsed
}

// A SessionPolicy limits a session of a role.
type SessionPolicy struct{ Name, Document string }

// Format prints whose key it is, whatever the verb.
func (k Key) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "{key %s of %s %s %s, session %q, expires %v}", k.ID, k.Principal.Type, k.Principal.Account, k.Principal.Name, k.Principal.Session, k.Expires)
}

var iamName = regexp.MustCompile(`^[\w+=,.@-]{1,64}$`)

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
		w.managed.put(arn, managed{name, document, parsed})
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
	inline, err := parseAll(u.Inline)
	if err != nil {
		return malformed(err)
	}
	return w.change(func() error {
		w.iamUsers.put(named(u.Account, u.Name), iamUser{u, inline})
		return w.attachable(u.Account, u.Attached, u.Boundary)
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
	inline, err := parseAll(r.Inline)
	if err != nil {
		return malformed(err)
	}
	return w.change(func() error {
		w.roles.put(named(r.Account, r.Name), role{r, inline, trust})
		return w.attachable(r.Account, r.Attached, r.Boundary)
	})
}

// Role finds a role of the world's account.
func (w *World) Role(name string) (Role, bool) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	row, ok := w.roles.get(named(w.Account, name))
	r := row.Role
	r.Inline, r.Tags, r.Attached = maps.Clone(r.Inline), maps.Clone(r.Tags), slices.Clone(r.Attached)
	return r, ok
}

// parseAll parses inline policies, in the order of their names.
func parseAll(documents map[string]string) (parsed []*policy.Policy, err error) {
	for _, name := range slices.Sorted(maps.Keys(documents)) {
		p, err := policy.Parse(policy.Identity, name, []byte(documents[name]))
		if err != nil {
			return nil, err
		}
		parsed = append(parsed, p)
	}
	return parsed, nil
}

// policyOf finds a managed policy of an account.
func (w *World) policyOf(account, arn string) (managed, bool) {
	if !strings.HasPrefix(arn, w.arn("iam", "", account, "policy/")) {
		return managed{}, false
	}
	return w.managed.get(arn)
}

// attachable is whether an account has such managed policies.
func (w *World) attachable(account string, arns []string, boundary string) error {
	for _, arn := range append(slices.Clone(arns), boundary) {
		if _, ok := w.policyOf(account, arn); !ok && arn != "" {
			return noPolicy(arn)
		}
	}
	return nil
}

func noPolicy(arn string) error {
	return errorf("NoSuchEntity", "Policy %.256s does not exist or is not attachable.", arn)
}

// policiesOf are the policies that decide for a key.
func (w *World) policiesOf(k Key) policy.Policies {
	w.mu.RLock()
	defer w.mu.RUnlock()
	key := named(k.Principal.Account, k.Principal.Name)
	inline, attached, boundary := w.iamUsers.rows[key].inline, w.iamUsers.rows[key].Attached, w.iamUsers.rows[key].Boundary
	if k.Principal.Type == AssumedRole {
		inline, attached, boundary = w.roles.rows[key].inline, w.roles.rows[key].Attached, w.roles.rows[key].Boundary
	}
	policies := policy.Policies{Identity: slices.Clip(inline), Boundary: w.managed.rows[boundary].parsed, Session: k.session}
	for _, arn := range attached {
		policies.Identity = append(policies.Identity, w.managed.rows[arn].parsed)
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
		if _, ok := w.iamUsers.get(named(w.Account, name)); name != "" && !ok {
			return errorf("NoSuchEntity", "The user with name %.64s cannot be found.", name)
		}
		w.keys.put(k.ID, k)
		return nil
	})
}

// SetAccessKey makes a key active or inactive.
func (w *World) SetAccessKey(id string, active bool) error {
	return w.change(func() error {
		k, ok := w.keys.get(id)
		if !ok {
			return errorf("NoSuchEntity", "The Access Key with id %.32s cannot be found.", id)
		}
		k.Inactive = !active
		w.keys.put(id, k)
		return nil
	})
}

// Key finds an access key by its id, expired ones included for a while.
func (w *World) Key(id string) (Key, bool) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	k, ok := w.keys.get(id)
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
