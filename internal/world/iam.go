package world

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/rediam/rediam/internal/policy"
)

// Quotas of IAM (IAM User Guide, "IAM and AWS STS quotas"). Policies are measured
// without white space.
const (
	maxName          = 64  // of users and roles
	maxLongName      = 128 // of policies and instance profiles
	maxPath          = 512
	maxDescription   = 1000
	maxTags          = 50
	maxTagKey        = 128
	maxTagValue      = 256
	maxAttached      = 10
	maxVersions      = 5
	maxKeysPerUser   = 2
	maxManagedPolicy = 6144
	maxUserPolicies  = 2048 // all inline policies of a user together
	maxRolePolicies  = 10240
	maxTrustPolicy   = 2048
)

// A Principal is whoever holds a key.
type Principal struct {
	Account string
	Type    PrincipalType
	Name    string // of the IAM user or the role
	Path    string // of the IAM user; zero means /
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

// named is the key of an IAM user or a role.
func named(account, name string) string { return account + "/" + name }

var (
	iamName = regexp.MustCompile(`^[\w+=,.@-]+$`)
	iamPath = regexp.MustCompile(`^/([\x21-\x7e]+/)?$`)
)

// checkName holds the name of something to AWS's rules; what is its parameter.
func checkName(what, name string, longest int) error {
	switch {
	case len(name) > longest:
		return errorf("ValidationError", "1 validation error detected: Value at '%s' failed to satisfy constraint: Member must have length less than or equal to %d", what, longest)
	case !iamName.MatchString(name):
		return errorf("ValidationError", "The specified value for %s is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_-", what)
	}
	return nil
}

func checkPath(path string) error {
	if !iamPath.MatchString(path) || strings.Contains(path, "//") || len(path) > maxPath {
		return errorf("ValidationError", "The specified value for path is invalid. It must begin and end with / and contain only alphanumeric characters and/or / characters.")
	}
	return nil
}

func checkDescription(d string) error {
	if utf8.RuneCountInString(d) > maxDescription {
		return errorf("ValidationError", "1 validation error detected: Value at 'description' failed to satisfy constraint: Member must have length less than or equal to %d", maxDescription)
	}
	return nil
}

func checkTags(tags map[string]string) error {
	if len(tags) > maxTags {
		return errorf("LimitExceeded", "The number of tags has reached the maximum limit.")
	}
	seen := map[string]bool{}
	for k, v := range tags {
		folded := strings.ToLower(k)
		switch {
		case k == "" || utf8.RuneCountInString(k) > maxTagKey || utf8.RuneCountInString(v) > maxTagValue || strings.ContainsFunc(k+v, notInTag):
			return errorf("ValidationError", "1 validation error detected: Value at 'tags' failed to satisfy constraint: a key has 1 to %d and a value at most %d letters, digits, spaces and _.:/=+-@", maxTagKey, maxTagValue)
		case strings.HasPrefix(folded, "aws:"):
			return errorf("InvalidInput", "Tag keys that begin with aws: are reserved for AWS")
		case seen[folded]:
			return errorf("InvalidInput", "Duplicate tag keys found. Please note that Tag keys are case insensitive.")
		}
		seen[folded] = true
	}
	return nil
}

func notInTag(r rune) bool {
	return !unicode.In(r, unicode.L, unicode.Z, unicode.N) && !strings.ContainsRune("_.:/=+-@", r)
}

// withTags adds tags, and takes those away that have one of the keys. The case of
// keys does not count (IAM User Guide, "Tags for IAM resources").
func withTags(old, add map[string]string, without []string) map[string]string {
	all := map[string]string{}
	for k, v := range old {
		if !slices.ContainsFunc(without, func(w string) bool { return strings.EqualFold(w, k) }) {
			all[k] = v
		}
	}
	for k, v := range add {
		for other := range all {
			if strings.EqualFold(other, k) {
				delete(all, other)
			}
		}
		all[k] = v
	}
	return all
}

// taken is whether a table has a key, in whatever case: names of IAM differ in more.
func taken[V any](t *table[V], key string) bool {
	for k := range t.rows {
		if strings.EqualFold(k, key) {
			return true
		}
	}
	return false
}

// firstOf is the first error.
func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// size is that of a policy document for IAM's quotas.
func size(document string) int {
	n := 0
	for _, r := range document {
		if !unicode.IsSpace(r) {
			n++
		}
	}
	return n
}

// stamp is the time, in the seconds that IAM keeps.
func (w *World) stamp() time.Time { return w.Now().UTC().Truncate(time.Second) }

func malformed(err error) error {
	e := errorf("MalformedPolicyDocument", "%s", err)
	if m := (*policy.MalformedError)(nil); errors.As(err, &m) {
		e.Message, e.Detail = m.Message, m.Detail
	}
	return e
}

// policiesOf are the policies that decide for a key.
func (w *World) policiesOf(k Key) policy.Policies {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.policiesFor(k.Principal.Account, Identity{k.Principal.Type == AssumedRole, k.Principal.Name}, k.session)
}

// policiesFor are those of an IAM user or a role.
func (w *World) policiesFor(account string, id Identity, session []*policy.Policy) policy.Policies {
	key := named(account, id.Name)
	inline, attached, boundary := w.iamUsers.rows[key].inline, w.iamUsers.rows[key].Attached, w.iamUsers.rows[key].Boundary
	if id.Role {
		inline, attached, boundary = w.roles.rows[key].inline, w.roles.rows[key].Attached, w.roles.rows[key].Boundary
	}
	policies := policy.Policies{Identity: slices.Clip(inline), Boundary: w.managed.rows[boundary].parsed, Session: session}
	for _, arn := range attached {
		policies.Identity = append(policies.Identity, w.managed.rows[arn].parsed)
	}
	return policies
}

// slashes is a path, which ends and begins with a slash.
func slashes(path string) string {
	if path == "" {
		return "/"
	}
	return path
}

func (w *World) userARN(account, path, name string) string {
	return w.arn("iam", "", account, "user"+slashes(path)+name)
}

func (w *World) roleARN(account, path, name string) string {
	return w.arn("iam", "", account, "role"+slashes(path)+name)
}

// RoleARN is the ARN of a role of the world's account.
func (w *World) RoleARN(name string) string { return w.IdentityARN(Identity{true, name}) }

// PrincipalARN is how STS and log files name a principal.
func (w *World) PrincipalARN(p Principal) string {
	switch p.Type {
	case Root:
		return w.arn("iam", "", p.Account, "root")
	case AssumedRole:
		return w.arn("sts", "", p.Account, "assumed-role/"+p.Name+"/"+p.Session)
	}
	return w.userARN(p.Account, p.Path, p.Name)
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

// newID is a unique id of IAM for something new.
func newID(prefix string) string { return prefix + random32(11)[:17] }
