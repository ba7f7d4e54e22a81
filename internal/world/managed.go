package world

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rediam/rediam/internal/policy"
)

// A ManagedPolicy is a customer managed policy of the world's account. There are
// none of AWS's own.
type ManagedPolicy struct {
	Name        string
	Path        string // such as /web/; zero means /
	Description string
	Tags        map[string]string
	Versions    []PolicyVersion // oldest first
	Default     string          // ID of the version that counts

	ID               string // ANPA…; set by the world
	Created, Updated time.Time
	Made             int // versions ever made
}

// A PolicyVersion is one document of a managed policy.
type PolicyVersion struct {
	ID       string // v1, v2, …
	Document string
	Created  time.Time
}

// managed is a ManagedPolicy with the version that counts parsed.
type managed struct {
	ManagedPolicy
	parsed *policy.Policy
}

func packManaged(m managed) any { return m.ManagedPolicy }

func unpackManaged(record []byte) (m managed, err error) {
	if m.ManagedPolicy, err = fromJSON[ManagedPolicy](record); err != nil {
		return m, err
	}
	return m, m.parse()
}

func (m *managed) parse() (err error) {
	m.parsed, err = policy.Parse(policy.Identity, m.Name, []byte(m.Document()))
	return err
}

// Version finds a version.
func (p ManagedPolicy) Version(id string) (PolicyVersion, error) {
	for _, v := range p.Versions {
		if v.ID == id {
			return v, nil
		}
	}
	return PolicyVersion{}, errorf("NoSuchEntity", "Policy %.128s version %.32s does not exist or is not attachable.", p.Name, id)
}

// Document is that of the version that counts.
func (p ManagedPolicy) Document() string {
	v, _ := p.Version(p.Default)
	return v.Document
}

func (p ManagedPolicy) clone() ManagedPolicy {
	p.Tags, p.Versions = maps.Clone(p.Tags), slices.Clone(p.Versions)
	return p
}

// add makes a version of a document.
func (m *managed) add(document string, asDefault bool, now time.Time) (PolicyVersion, error) {
	v := PolicyVersion{Document: document, Created: now}
	parsed, err := policy.Parse(policy.Identity, m.Name, []byte(document))
	if err != nil {
		return v, malformed(err)
	}
	m.Made++
	v.ID = "v" + strconv.Itoa(m.Made)
	m.Versions, m.Updated = append(slices.Clip(m.Versions), v), now
	if asDefault {
		m.Default, m.parsed = v.ID, parsed
	}
	return v, nil
}

// PolicyARN is the ARN of a managed policy.
func (w *World) PolicyARN(p ManagedPolicy) string {
	return w.arn("iam", "", w.Account, "policy"+slashes(p.Path)+p.Name)
}

// PutPolicy makes or replaces a customer managed policy of the world's account
// and gives its ARN.
func (w *World) PutPolicy(name, document string) (arn string, err error) {
	if err := checkName("policyName", name, maxLongName); err != nil {
		return "", err
	}
	made := managed{ManagedPolicy: ManagedPolicy{Name: name, Path: "/", Created: w.stamp()}}
	arn = w.PolicyARN(made.ManagedPolicy)
	made.ID = uniqueID("ANPA", arn)
	err = w.change(func() error {
		m, ok := w.managed.get(arn)
		if !ok {
			m = made
		}
		m.Versions = nil
		if _, err := m.add(document, true, made.Created); err != nil {
			return err
		}
		w.managed.put(arn, m)
		return nil
	})
	if err != nil {
		return "", err
	}
	return arn, nil
}

// CreatePolicy makes a managed policy with a first version.
func (w *World) CreatePolicy(p ManagedPolicy, document string) (ManagedPolicy, error) {
	m := managed{ManagedPolicy: ManagedPolicy{Name: p.Name, Path: slashes(p.Path), Description: p.Description, Tags: maps.Clone(p.Tags)}}
	m.ID, m.Created = newID("ANPA"), w.stamp()
	if err := firstOf(checkName("policyName", m.Name, maxLongName), checkPath(m.Path), checkDescription(m.Description), checkTags(m.Tags), checkPolicySize(document)); err != nil {
		return m.ManagedPolicy, err
	}
	if _, err := m.add(document, true, m.Created); err != nil {
		return m.ManagedPolicy, err
	}
	return m.ManagedPolicy.clone(), w.change(func() error {
		for _, other := range w.managed.rows { // whatever the path
			if strings.EqualFold(other.Name, m.Name) {
				return errorf("EntityAlreadyExists", "A policy called %s already exists. Duplicate names are not allowed.", m.Name)
			}
		}
		w.managed.put(w.PolicyARN(m.ManagedPolicy), m)
		return nil
	})
}

func checkPolicySize(document string) error {
	if size(document) > maxManagedPolicy {
		return errorf("LimitExceeded", "Cannot exceed quota for PolicySize: %d", maxManagedPolicy)
	}
	return nil
}

// ManagedPolicy finds a policy by its ARN.
func (w *World) ManagedPolicy(arn string) (ManagedPolicy, error) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	m, ok := w.managed.get(arn)
	if !ok {
		return ManagedPolicy{}, notFound(arn)
	}
	return m.ManagedPolicy.clone(), nil
}

func notFound(arn string) error {
	return errorf("NoSuchEntity", "Policy %.256s was not found.", arn)
}

// ManagedPolicies are all of them, by name.
func (w *World) ManagedPolicies() []ManagedPolicy {
	w.mu.RLock()
	defer w.mu.RUnlock()
	all := []ManagedPolicy{}
	for _, m := range w.managed.rows {
		all = append(all, m.ManagedPolicy.clone())
	}
	slices.SortFunc(all, func(a, b ManagedPolicy) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// PolicyUses counts to how many users and roles each managed policy is attached,
// and whose boundary it is, by ARN.
func (w *World) PolicyUses() (attached, boundary map[string]int) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.policyUses()
}

func (w *World) policyUses() (attached, boundary map[string]int) {
	attached, boundary = map[string]int{}, map[string]int{}
	count := func(arns []string, limit string) {
		for _, arn := range arns {
			attached[arn]++
		}
		boundary[limit]++
	}
	for _, u := range w.iamUsers.rows {
		count(u.Attached, u.Boundary)
	}
	for _, r := range w.roles.rows {
		count(r.Attached, r.Boundary)
	}
	return attached, boundary
}

// DeletePolicy deletes a policy that nobody has, of one version.
func (w *World) DeletePolicy(arn string) error {
	return w.change(func() error {
		m, ok := w.managed.get(arn)
		attached, boundary := w.policyUses()
		switch {
		case !ok:
			return notFound(arn)
		case attached[arn]+boundary[arn] > 0:
			return errorf("DeleteConflict", "Cannot delete a policy attached to entities.")
		case len(m.Versions) > 1:
			return errorf("DeleteConflict", "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The default version is deleted with the policy.")
		}
		w.managed.delete(arn)
		return nil
	})
}

// CreatePolicyVersion gives a policy another version, and makes it the one that
// counts if it is to.
func (w *World) CreatePolicyVersion(arn, document string, asDefault bool) (v PolicyVersion, err error) {
	if err := checkPolicySize(document); err != nil {
		return v, err
	}
	now := w.stamp()
	err = w.changePolicy(arn, func(m *managed) error {
		if len(m.Versions) >= maxVersions {
			return errorf("LimitExceeded", "A managed policy can have up to %d versions. Before you create a new version, you must delete an existing version.", maxVersions)
		}
		v, err = m.add(document, asDefault, now)
		return err
	})
	return v, err
}

// SetDefaultPolicyVersion says which version counts.
func (w *World) SetDefaultPolicyVersion(arn, id string) error {
	return w.changePolicy(arn, func(m *managed) error {
		if _, err := m.Version(id); err != nil {
			return err
		}
		m.Default = id
		return m.parse()
	})
}

// DeletePolicyVersion deletes a version that does not count.
func (w *World) DeletePolicyVersion(arn, id string) error {
	return w.changePolicy(arn, func(m *managed) error {
		if _, err := m.Version(id); err != nil {
			return err
		}
		if m.Default == id {
			return errorf("DeleteConflict", "Cannot delete the default version of a policy.")
		}
		m.Versions = slices.DeleteFunc(slices.Clone(m.Versions), func(v PolicyVersion) bool { return v.ID == id })
		return nil
	})
}

// TagPolicy adds tags to a policy, and takes those away that have one of the keys.
func (w *World) TagPolicy(arn string, tags map[string]string, without []string) error {
	return w.changePolicy(arn, func(m *managed) error {
		m.Tags = withTags(m.Tags, tags, without)
		return checkTags(m.Tags)
	})
}

func (w *World) changePolicy(arn string, change func(*managed) error) error {
	return w.change(func() error {
		m, ok := w.managed.get(arn)
		if !ok {
			return notFound(arn)
		}
		if err := change(&m); err != nil {
			return err
		}
		w.managed.put(arn, m)
		return nil
	})
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
