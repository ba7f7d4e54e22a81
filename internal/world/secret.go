package world

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Staging labels that mean something to Secrets Manager itself.
const (
	StageCurrent  = "AWSCURRENT"
	StagePending  = "AWSPENDING"
	StagePrevious = "AWSPREVIOUS"
)

// Limits of Secrets Manager (user guide, "Quotas"; API reference).
const (
	maxSecretVersions = 100
	keepVersion       = 24 * time.Hour // that a version is kept in any case
	maxStages         = 20             // on all versions together
	maxStage          = 256
	minVersionID      = 32
	maxVersionID      = 64
	minRecovery       = 7
	maxRecovery       = 30
	maxSecretSize     = 65536
	maxSecretDetails  = 2048
)

// A StoredSecret is a secret of Secrets Manager.
type StoredSecret struct {
	Name, ARN           string
	Description, KMSKey string
	Tags                map[string]string
	Created, Changed    time.Time
	Accessed            time.Time       `json:",omitzero"` // a day
	Rotated             time.Time       `json:",omitzero"` // when a rotation last succeeded
	Deleted             time.Time       `json:",omitzero"` // when it will be gone; zero if it is to stay
	Versions            []SecretVersion // oldest first
	Rotation            Rotation
}

// A SecretVersion is a value of a secret.
type SecretVersion struct {
	ID       string
	Value    Secret // binary ones in base64; empty if it has none yet, since a rotation has only begun
	Binary   bool
	Stages   []string // labels, in order; without any the version is deprecated
	Created  time.Time
	Accessed time.Time `json:",omitzero"` // a day
}

// savedSecret is a StoredSecret with its values in the open.
type savedSecret struct {
	StoredSecret
	Values []string
}

func packSecret(s StoredSecret) any {
	saved := savedSecret{StoredSecret: s}
	for _, v := range s.Versions {
		saved.Values = append(saved.Values, string(v.Value))
	}
	return saved
}

func unpackSecret(record []byte) (StoredSecret, error) {
	saved, err := fromJSON[savedSecret](record)
	if err == nil && len(saved.Values) != len(saved.Versions) {
		err = errorf("InternalFailure", "a secret has %d versions and %d values", len(saved.Versions), len(saved.Values))
	}
	if err != nil {
		return StoredSecret{}, err
	}
	for i, value := range saved.Values {
		saved.Versions[i].Value = Secret(value)
	}
	return saved.StoredSecret, nil
}

func (s StoredSecret) copy() StoredSecret {
	s.Tags, s.Versions = maps.Clone(s.Tags), slices.Clone(s.Versions)
	for i := range s.Versions {
		s.Versions[i].Stages = slices.Clone(s.Versions[i].Stages)
	}
	return s
}

// version finds a version by its id; nil if there is none.
func (s *StoredSecret) version(id string) *SecretVersion {
	if i := slices.IndexFunc(s.Versions, func(v SecretVersion) bool { return v.ID == id }); i >= 0 {
		return &s.Versions[i]
	}
	return nil
}

// Labelled is the version that has a label; nil if none has.
func (s *StoredSecret) Labelled(stage string) *SecretVersion {
	if i := slices.IndexFunc(s.Versions, func(v SecretVersion) bool { return slices.Contains(v.Stages, stage) }); i >= 0 {
		return &s.Versions[i]
	}
	return nil
}

// take takes a label away from whatever has it.
func (s *StoredSecret) take(stage string) {
	if v := s.Labelled(stage); v != nil {
		v.Stages = slices.DeleteFunc(v.Stages, func(l string) bool { return l == stage })
	}
}

// label moves a label to a version. AWSCURRENT leaves AWSPREVIOUS behind
// (UpdateSecretVersionStage, API reference).
func (s *StoredSecret) label(id, stage string) {
	if v := s.version(id); slices.Contains(v.Stages, stage) {
		return
	}
	if old := s.Labelled(stage); stage == StageCurrent && old != nil {
		s.label(old.ID, StagePrevious)
	}
	s.take(stage)
	v := s.version(id)
	v.Stages = append(v.Stages, stage)
	slices.Sort(v.Stages)
}

var (
	errNoSecret   = errorf("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
	errSecretName = errorf("ValidationException", "Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: -/_+=.@!")
	errMarked     = errorf("InvalidRequestException", "You can't perform this operation on the secret because it was marked for deletion.")

	secretName   = regexp.MustCompile(`^[A-Za-z0-9/_+=.@!-]{1,512}$`)
	secretSuffix = regexp.MustCompile(`-[A-Za-z0-9]{6}$`) // that every ARN has behind the name
)

// NewSecretARN is the ARN of a secret that is yet to be made; its last six characters
// are not known.
func (w *World) NewSecretARN(name string) string { return w.secretARN(name) + "-??????" }

func (w *World) secretARN(name string) string {
	return w.arn("secretsmanager", w.Region, w.Account, "secret:"+name)
}

// SecretARN is the ARN of a secret that a request names, or what comes next to it if
// there is none.
func (w *World) SecretARN(id string) string {
	switch s, err := w.StoredSecret(id); {
	case err == nil:
		return s.ARN
	case strings.HasPrefix(id, "arn:"):
		return id
	}
	return w.secretARN(id)
}

// StoredSecret finds a secret by its name or its ARN. The ARN may lack the last hyphen
// and six characters, unless the name ends so too (user guide, "Find secrets from a
// partial ARN").
func (w *World) StoredSecret(id string) (StoredSecret, error) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	s, err := w.secretNamed(id)
	return s.copy(), err
}

func (w *World) secretNamed(id string) (StoredSecret, error) {
	name, isARN := strings.CutPrefix(id, w.secretARN(""))
	switch {
	case !isARN && strings.HasPrefix(id, "arn:"):
		return StoredSecret{}, errNoSecret
	case !secretName.MatchString(name):
		return StoredSecret{}, errSecretName
	case isARN && secretSuffix.MatchString(name):
		name = name[:len(name)-len("-123456")]
	}
	s, ok := w.secrets.get(name)
	if !ok || w.forgotten(s) || isARN && s.ARN != id && secretSuffix.MatchString(id) {
		return StoredSecret{}, errNoSecret
	}
	return s, nil
}

// forgotten is whether the recovery window of a secret is over.
func (w *World) forgotten(s StoredSecret) bool {
	return !s.Deleted.IsZero() && !w.now().Before(s.Deleted)
}

// StoredSecrets lists the secrets by name, those that are to be deleted too.
func (w *World) StoredSecrets() (all []StoredSecret) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	for _, key := range w.secrets.keys() {
		if s := w.secrets.rows[key]; !w.forgotten(s) {
			all = append(all, s.copy())
		}
	}
	return all
}

// editSecret changes a secret that is not to be deleted.
func (w *World) editSecret(id string, edit func(*StoredSecret) error) (StoredSecret, error) {
	return w.editAnySecret(id, func(s *StoredSecret) error {
		if !s.Deleted.IsZero() {
			return errMarked
		}
		return edit(s)
	})
}

func (w *World) editAnySecret(id string, edit func(*StoredSecret) error) (s StoredSecret, err error) {
	err = w.change(func() error {
		old, err := w.secretNamed(id)
		if err != nil {
			return err
		}
		s = old.copy()
		if err := edit(&s); err != nil {
			return err
		}
		s.Changed = w.now().UTC()
		w.secrets.put(s.Name, s.copy())
		return nil
	})
	return s, err
}

// A SecretValue is a new value of a secret.
type SecretValue struct {
	Token  string // id of the version that it makes
	Value  Secret
	Binary bool
}

func (v SecretValue) check() error {
	if len(v.Value) > maxSecretSize*4/3+4 || !v.Binary && len(v.Value) > maxSecretSize {
		return errorf("InvalidParameterException", "The secret value is longer than %d bytes.", maxSecretSize)
	}
	return checkVersionID(v.Token)
}

func checkVersionID(token string) error {
	switch {
	case token == "":
		return errorf("InvalidRequestException", "You must provide a ClientRequestToken value. We recommend a UUID-type value.")
	case len(token) < minVersionID || len(token) > maxVersionID:
		return errorf("InvalidParameterException", "ClientRequestToken must be 32-64 characters long.")
	}
	return nil
}

// checkDetails holds the rules about what may be said of a secret besides its value.
func (s StoredSecret) checkDetails() error {
	if len(s.Description) > maxSecretDetails || len(s.KMSKey) > maxSecretDetails {
		return errorf("InvalidParameterException", "Description and KmsKeyId have at most %d characters.", maxSecretDetails)
	}
	if checkCacheTags(s.Tags) != nil {
		return errorf("InvalidParameterException", "a secret has at most %d tags, with keys of 1 to %d characters that do not begin with aws: and values of at most %d", maxCacheTags, maxCacheTagKey, maxCacheTagValue)
	}
	return nil
}

// CreateSecret makes a secret, with a first value unless that is nil. The same call
// again finds what it has made.
func (w *World) CreateSecret(s StoredSecret, value *SecretValue) (StoredSecret, error) {
	if !secretName.MatchString(s.Name) {
		return s, errSecretName
	}
	if value != nil {
		if err := value.check(); err != nil {
			return s, err
		}
	}
	if err := s.checkDetails(); err != nil {
		return s, err
	}
	err := w.change(func() error {
		if old, ok := w.secrets.get(s.Name); ok {
			if !old.Deleted.IsZero() {
				return errorf("InvalidRequestException", "You can't create this secret because a secret with this name is already scheduled for deletion.")
			}
			if value == nil || old.version(value.Token) == nil {
				return errorf("ResourceExistsException", "The operation failed because the secret %s already exists.", s.Name)
			}
			s = old.copy()
			return s.sameValue(*value)
		}
		s = s.copy()
		s.ARN = w.secretARN(s.Name) + "-" + random32(4)[:6]
		s.Created, s.Changed = w.now().UTC(), w.now().UTC()
		if value != nil {
			if err := w.addValue(&s, *value, []string{StageCurrent}); err != nil {
				return err
			}
		}
		w.secrets.put(s.Name, s.copy())
		return nil
	})
	return s, err
}

// sameValue is an error unless the version that a request names has the value that it
// has: versions do not change.
func (s *StoredSecret) sameValue(value SecretValue) error {
	if v := s.version(value.Token); v.Value != value.Value || v.Binary != value.Binary {
		return errTokenUsed(s, value.Token)
	}
	return nil
}

func errTokenUsed(s *StoredSecret, token string) error {
	return errorf("ResourceExistsException", "You can't use ClientRequestToken %s because that value is already in use for a version of secret %s.", token, s.ARN)
}

// PutSecretValue makes a version with some labels, AWSCURRENT if stages is nil, or gives
// the version that a rotation has begun with its value.
func (w *World) PutSecretValue(id string, value SecretValue, stages []string) (StoredSecret, SecretVersion, error) {
	if err := value.check(); err != nil {
		return StoredSecret{}, SecretVersion{}, err
	}
	switch {
	case stages == nil:
		stages = []string{StageCurrent}
	case len(stages) == 0:
		return StoredSecret{}, SecretVersion{}, errorf("InvalidParameterException", "VersionStages must have an element.")
	}
	s, err := w.editSecret(id, func(s *StoredSecret) error {
		if v := s.version(value.Token); v != nil && v.Value != "" {
			return s.sameValue(value)
		}
		return w.addValue(s, value, stages)
	})
	if err != nil {
		return s, SecretVersion{}, err
	}
	return s, *s.version(value.Token), nil
}

// addValue makes a version, or gives one its value. The first of a secret is AWSCURRENT.
func (w *World) addValue(s *StoredSecret, value SecretValue, stages []string) error {
	if s.version(value.Token) == nil {
		if err := w.addVersion(s, value.Token); err != nil {
			return err
		}
	}
	v := s.version(value.Token)
	v.Value, v.Binary, v.Created = value.Value, value.Binary, w.now().UTC()
	if s.Labelled(StageCurrent) == nil {
		stages = append(slices.Clone(stages), StageCurrent)
	}
	for _, stage := range stages {
		s.label(value.Token, stage)
	}
	if slices.Contains(stages, StageCurrent) && !slices.Contains(stages, StagePending) {
		s.take(StagePending) // which is how users of AWS end a rotation that does not
	}
	return s.checkStages()
}

func (s *StoredSecret) checkStages() error {
	n := 0
	for _, v := range s.Versions {
		if slices.ContainsFunc(v.Stages, func(l string) bool { return l == "" || len(l) > maxStage }) {
			return errorf("InvalidParameterException", "a staging label has 1 to %d characters", maxStage)
		}
		n += len(v.Stages)
	}
	if n > maxStages {
		return errorf("LimitExceededException", "a secret has at most %d staging labels", maxStages)
	}
	return nil
}

// addVersion makes a version without a value. Deprecated ones make room for it, but
// not on the day that they were made (PutSecretValue, API reference).
func (w *World) addVersion(s *StoredSecret, id string) error {
	if len(s.Versions) >= maxSecretVersions {
		i := slices.IndexFunc(s.Versions, func(v SecretVersion) bool {
			return len(v.Stages) == 0 && w.now().Sub(v.Created) >= keepVersion
		})
		if i < 0 {
			return errorf("LimitExceededException", "a secret has at most %d versions, and those without a label are kept for a day", maxSecretVersions)
		}
		s.Versions = slices.Delete(s.Versions, i, i+1)
	}
	s.Versions = append(s.Versions, SecretVersion{ID: id, Created: w.now().UTC()})
	return nil
}

// UpdateSecret changes what is said of a secret, and its value unless that is nil.
func (w *World) UpdateSecret(id string, value *SecretValue, edit func(*StoredSecret)) (StoredSecret, error) {
	if value != nil {
		if err := value.check(); err != nil {
			return StoredSecret{}, err
		}
	}
	return w.editSecret(id, func(s *StoredSecret) error {
		edit(s)
		if value != nil {
			if s.version(value.Token) != nil {
				return errTokenUsed(s, value.Token)
			}
			if err := w.addValue(s, *value, []string{StageCurrent}); err != nil {
				return err
			}
		}
		return s.checkDetails()
	})
}

// SecretValue is the version of a secret that an id, a label or both name, AWSCURRENT
// if neither does.
func (w *World) SecretValue(id, version, stage string) (s StoredSecret, v SecretVersion, err error) {
	if s, err = w.StoredSecret(id); err != nil {
		return s, v, err
	}
	if !s.Deleted.IsZero() {
		return s, v, errMarked
	}
	found, what := s.version(version), "VersionId: "+version
	if version == "" {
		stage = cmp.Or(stage, StageCurrent)
		found, what = s.Labelled(stage), "staging label: "+stage
	}
	switch {
	case found == nil:
		return s, v, errorf("ResourceNotFoundException", "Secrets Manager can't find the specified secret value for %.256s", what)
	case stage != "" && !slices.Contains(found.Stages, stage):
		return s, v, errorf("InvalidRequestException", "You provided a VersionStage that is not associated to the provided VersionId.")
	case found.Value == "":
		return s, v, errorf("ResourceNotFoundException", "Secrets Manager can't find the specified secret value for %.256s", what)
	}
	w.accessed(s, found.ID)
	return s, *found, nil
}

// accessed notes the day on which a value was last read, if that can be saved.
func (w *World) accessed(s StoredSecret, version string) {
	today := w.Now().UTC().Truncate(24 * time.Hour)
	if s.version(version).Accessed.Equal(today) {
		return
	}
	w.change(func() error {
		s, ok := w.secrets.get(s.Name)
		if s = s.copy(); ok && s.version(version) != nil {
			s.Accessed, s.version(version).Accessed = today, today
			w.secrets.put(s.Name, s)
		}
		return nil
	})
}

// MoveStage moves a label from one version to another. An empty from is for labels
// that no other version has, an empty to takes the label away.
func (w *World) MoveStage(id, stage, from, to string) (StoredSecret, error) {
	return w.editSecret(id, func(s *StoredSecret) error {
		holder := ""
		if v := s.Labelled(stage); v != nil {
			holder = v.ID
		}
		target := s.version(to)
		switch {
		case to == "" && from == "":
			return errorf("InvalidParameterException", "You must specify MoveToVersionId, RemoveFromVersionId or both.")
		case to != "" && target == nil:
			return errorf("ResourceNotFoundException", "Secrets Manager can't find the specified secret value for VersionId: %s", to)
		case from == "" && holder != "" && holder != to:
			return errorf("InvalidParameterException", "The parameter RemoveFromVersionId can't be empty. Staging label %s is currently attached to version %s, so you must explicitly reference that version in RemoveFromVersionId.", stage, holder)
		case from != "" && from != holder:
			return errorf("InvalidParameterException", "When you move staging label %s, if you specify RemoveFromVersionId, it must be set to the version that currently has the staging label %s.", stage, stage)
		case to == "" && stage == StageCurrent:
			return errorf("InvalidParameterException", "You can't remove the staging label AWSCURRENT. You can only move it to another version.")
		case to == "":
			s.take(stage)
			return nil
		case stage == StageCurrent && target.Value == "":
			return errorf("InvalidRequestException", "Version %s has no value, so it can't be AWSCURRENT.", to)
		}
		s.label(to, stage)
		if stage == StageCurrent && to == s.Rotation.Token { // user guide, "Rotation by Lambda function", finishSecret
			s.take(StagePending)
		}
		return s.checkStages()
	})
}

// DeleteSecret marks a secret for deletion after some days, or deletes it at once if
// days is 0.
func (w *World) DeleteSecret(id string, days int) (s StoredSecret, err error) {
	if days != 0 && (days < minRecovery || days > maxRecovery) {
		return s, errorf("InvalidParameterException", "The RecoveryWindowInDays value must be between %d and %d days (inclusive).", minRecovery, maxRecovery)
	}
	return w.editAnySecret(id, func(s *StoredSecret) error {
		if days != 0 && !s.Deleted.IsZero() {
			return errorf("InvalidRequestException", "You can't perform this operation on the secret because it was already scheduled for deletion.")
		}
		s.Deleted = w.now().UTC().AddDate(0, 0, days)
		s.endTest()
		s.Rotation.Token = ""
		return nil
	})
}

// RestoreSecret takes the mark of a secret away.
func (w *World) RestoreSecret(id string) (StoredSecret, error) {
	return w.editAnySecret(id, func(s *StoredSecret) error {
		s.Deleted = time.Time{}
		return nil
	})
}

// TagSecret sets tags of a secret and takes others away, whether or not they are there.
func (w *World) TagSecret(id string, set map[string]string, remove []string) error {
	_, err := w.editSecret(id, func(s *StoredSecret) error {
		if s.Tags == nil {
			s.Tags = map[string]string{}
		}
		maps.Copy(s.Tags, set)
		for _, k := range remove {
			delete(s.Tags, k)
		}
		return s.checkDetails()
	})
	return err
}
