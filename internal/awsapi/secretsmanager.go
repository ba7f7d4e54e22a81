package awsapi

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/rediam/rediam/internal/policy"
	"github.com/rediam/rediam/internal/world"
)

var secretOperations = map[string]operation{
	"CreateSecret":   operate(func(c *call, in createSecretRequest) []string { return c.newSecret(in) }, createSecret),
	"DescribeSecret": operate(func(c *call, in secretRequest) []string { return c.secret(in.SecretId) }, describeSecret),
	"ListSecrets":    operate(nil, listSecrets),
	"UpdateSecret":   operate(func(c *call, in updateSecretRequest) []string { return c.secret(in.SecretId) }, updateSecret),
	"DeleteSecret":   operate(func(c *call, in deleteSecretRequest) []string { return c.secret(in.SecretId) }, deleteSecret),
	"RestoreSecret":  operate(func(c *call, in secretRequest) []string { return c.secret(in.SecretId) }, restoreSecret),
	"TagResource":    operate(func(c *call, in tagSecretRequest) []string { return c.secret(in.SecretId) }, tagSecret),
	"UntagResource":  operate(func(c *call, in untagSecretRequest) []string { return c.secret(in.SecretId) }, untagSecret),

	"GetSecretValue": operate(func(c *call, in getSecretValueRequest) []string {
		return c.secretVersion(in.SecretId, in.VersionId, in.VersionStage)
	}, getSecretValue),
	"PutSecretValue": operate(func(c *call, in putSecretValueRequest) []string { return c.secret(in.SecretId) }, putSecretValue),
	"UpdateSecretVersionStage": operate(func(c *call, in updateStageRequest) []string {
		return c.secretVersion(in.SecretId, "", in.VersionStage)
	}, updateSecretVersionStage),
	"ListSecretVersionIds": operate(func(c *call, in listVersionsRequest) []string { return c.secret(in.SecretId) }, listSecretVersionIds),

	"RotateSecret":       operate(func(c *call, in rotateSecretRequest) []string { return c.secret(in.SecretId) }, rotateSecret),
	"CancelRotateSecret": operate(func(c *call, in secretRequest) []string { return c.secret(in.SecretId) }, cancelRotateSecret),
	"GetRandomPassword":  operate(nil, getRandomPassword),
}

var secretCodes = map[string]string{"InternalFailure": "InternalServiceError"}

// secret is the ARN of what a request names, with its condition keys (Service
// Authorization Reference, "AWS Secrets Manager").
func (c *call) secret(id string) []string {
	c.context = policy.Context{}
	c.context.Set("secretsmanager:SecretId", id)
	if s, err := c.world.StoredSecret(id); err == nil {
		for k, v := range s.Tags {
			c.context.Set("aws:ResourceTag/"+k, v)
			c.context.Set("secretsmanager:ResourceTag/"+k, v)
		}
		if s.Rotation.Function != "" {
			c.context.Set("secretsmanager:resource/AllowRotationLambdaArn", s.Rotation.Function)
		}
	}
	return []string{c.world.SecretARN(id)}
}

func (c *call) secretVersion(id, version, stage string) []string {
	arns := c.secret(id)
	if version != "" {
		c.context.Set("secretsmanager:VersionId", version)
	}
	if stage != "" {
		c.context.Set("secretsmanager:VersionStage", stage)
	}
	return arns
}

func (c *call) newSecret(in createSecretRequest) []string {
	c.context = policy.Context{}
	c.context.Set("secretsmanager:Name", in.Name)
	for _, t := range in.Tags {
		c.context.Set("aws:RequestTag/"+t.Key, t.Value)
	}
	return []string{c.world.NewSecretARN(in.Name)}
}

type secretRequest struct {
	SecretId string `aws:",required"`
}

// secretAnswer is what most operations answer.
type secretAnswer struct{ ARN, Name, VersionId string }

func answerOf(s world.StoredSecret, version string) secretAnswer {
	return secretAnswer{s.ARN, s.Name, version}
}

func secretTags(tags []cacheTag) map[string]string {
	byKey := map[string]string{}
	for _, t := range tags {
		byKey[t.Key] = t.Value
	}
	return byKey
}

type createSecretRequest struct {
	Name                  string `aws:",required"`
	Description, KmsKeyId string
	Tags                  []cacheTag
	secretValue           `aws:",inline"`
}

func createSecret(c *call, in createSecretRequest) (out secretAnswer, err error) {
	if len(in.Tags) > 0 {
		if err := c.world.AuthorizeCall(c.caller, "secretsmanager:TagResource", c.world.NewSecretARN(in.Name), c.source, c.context); err != nil {
			return out, err
		}
	}
	value, err := in.value(false)
	if err != nil {
		return out, err
	}
	s, err := c.world.CreateSecret(world.StoredSecret{Name: in.Name, Description: in.Description, KMSKey: in.KmsKeyId, Tags: secretTags(in.Tags)}, value)
	return answerOf(s, versionOf(value)), err
}

type updateSecretRequest struct {
	SecretId              string `aws:",required"`
	Description, KmsKeyId *string
	secretValue           `aws:",inline"`
}

func updateSecret(c *call, in updateSecretRequest) (out secretAnswer, err error) {
	value, err := in.value(false)
	if err != nil {
		return out, err
	}
	s, err := c.world.UpdateSecret(in.SecretId, value, func(s *world.StoredSecret) {
		if in.Description != nil {
			s.Description = *in.Description
		}
		if in.KmsKeyId != nil {
			s.KMSKey = *in.KmsKeyId
		}
	})
	return answerOf(s, versionOf(value)), err
}

// secretEntry is what DescribeSecret and ListSecrets have in common.
type secretEntry struct {
	ARN, Name, Description, KmsKeyId string

	RotationEnabled                                *bool
	RotationLambdaARN                              string
	RotationRules                                  *rotationRules
	CreatedDate, LastChangedDate, LastAccessedDate time.Time
	LastRotatedDate, NextRotationDate, DeletedDate time.Time
	Tags                                           []cacheTagAnswer
}

func entryOf(s world.StoredSecret) secretEntry {
	e := secretEntry{ARN: s.ARN, Name: s.Name, Description: s.Description, KmsKeyId: s.KMSKey, CreatedDate: s.Created, LastChangedDate: s.Changed,
		LastAccessedDate: s.Accessed, LastRotatedDate: s.Rotated, NextRotationDate: s.Rotation.Next, DeletedDate: s.Deleted}
	if len(s.Tags) > 0 {
		e.Tags = cacheTagListOf(s.Tags).TagList
	}
	if r := s.Rotation; r.Known {
		e.RotationEnabled, e.RotationLambdaARN, e.RotationRules = &r.Enabled, r.Function, rulesOf(r.Rules)
	}
	return e
}

// stagesOf are the labels of the versions that have any.
func stagesOf(s world.StoredSecret) map[string][]string {
	var stages map[string][]string
	for _, v := range s.Versions {
		if len(v.Stages) > 0 {
			if stages == nil {
				stages = map[string][]string{}
			}
			stages[v.ID] = v.Stages
		}
	}
	return stages
}

type describeSecretAnswer struct {
	secretEntry        `aws:",inline"`
	VersionIdsToStages map[string][]string
}

func describeSecret(c *call, in secretRequest) (describeSecretAnswer, error) {
	s, err := c.world.StoredSecret(in.SecretId)
	return describeSecretAnswer{entryOf(s), stagesOf(s)}, err
}

type listedSecret struct {
	secretEntry            `aws:",inline"`
	SecretVersionsToStages map[string][]string
}

type listSecretsRequest struct {
	IncludePlannedDeletion bool
	resultsPage            `aws:",inline"`
}

type listSecretsAnswer struct {
	NextToken  string
	SecretList []listedSecret
}

// listSecrets lists the secrets in the order in which they were made.
func listSecrets(c *call, in listSecretsRequest) (out listSecretsAnswer, err error) {
	secrets := slices.DeleteFunc(c.world.StoredSecrets(), func(s world.StoredSecret) bool {
		return !s.Deleted.IsZero() && !in.IncludePlannedDeletion
	})
	secrets, out.NextToken, err = cutSecrets(secrets, func(s world.StoredSecret) string { return inOrder(s.Created) + s.Name }, in.resultsPage)
	out.SecretList = []listedSecret{}
	for _, s := range secrets {
		out.SecretList = append(out.SecretList, listedSecret{entryOf(s), stagesOf(s)})
	}
	return out, err
}

// inOrder is a time as text of one length.
func inOrder(t time.Time) string { return t.UTC().Format("20060102150405.000000000/") }

// cutSecrets is cutPage with the bounds of Secrets Manager.
func cutSecrets[V any](all []V, name func(V) string, p resultsPage) (some []V, next string, err error) {
	n := maxRecords
	if p.MaxResults != nil {
		n = *p.MaxResults
	}
	switch {
	case n < 1 || n > maxRecords:
		return nil, "", secretParameter("MaxResults must be from 1 to %d", maxRecords)
	case p.NextToken != "" && !strings.Contains(p.NextToken, "/"):
		return nil, "", &world.Error{Code: "InvalidNextTokenException", Message: "The NextToken value is invalid."}
	}
	some, next = cutPage(all, name, n, p.NextToken)
	return some, next, nil
}

type deleteSecretRequest struct {
	SecretId                   string `aws:",required"`
	RecoveryWindowInDays       *int
	ForceDeleteWithoutRecovery bool
}

type deleteSecretAnswer struct {
	ARN, Name    string
	DeletionDate time.Time
}

func deleteSecret(c *call, in deleteSecretRequest) (out deleteSecretAnswer, err error) {
	days := 30
	switch {
	case in.RecoveryWindowInDays != nil && in.ForceDeleteWithoutRecovery:
		return out, secretParameter("You can't use ForceDeleteWithoutRecovery in conjunction with RecoveryWindowInDays.")
	case in.RecoveryWindowInDays != nil:
		days = *in.RecoveryWindowInDays
		if days == 0 {
			days = -1 // which is none that there can be
		}
	case in.ForceDeleteWithoutRecovery:
		days = 0
	}
	s, err := c.world.DeleteSecret(in.SecretId, days)
	if e := (*world.Error)(nil); in.ForceDeleteWithoutRecovery && errors.As(err, &e) && e.Code == "ResourceNotFoundException" {
		return deleteSecretAnswer{c.world.SecretARN(in.SecretId), in.SecretId, c.world.Now()}, nil // no error, says the API reference
	}
	return deleteSecretAnswer{s.ARN, s.Name, s.Deleted}, err
}

func restoreSecret(c *call, in secretRequest) (secretAnswer, error) {
	s, err := c.world.RestoreSecret(in.SecretId)
	return answerOf(s, ""), err
}

type tagSecretRequest struct {
	SecretId string     `aws:",required"`
	Tags     []cacheTag `aws:",required"`
}

func tagSecret(c *call, in tagSecretRequest) (none, error) {
	return none{}, c.world.TagSecret(in.SecretId, secretTags(in.Tags), nil)
}

type untagSecretRequest struct {
	SecretId string   `aws:",required"`
	TagKeys  []string `aws:",required"`
}

func untagSecret(c *call, in untagSecretRequest) (none, error) {
	return none{}, c.world.TagSecret(in.SecretId, nil, in.TagKeys)
}
