package awsapi

import (
	"encoding/base64"
	"fmt"
	"time"

	"github.com/rediam/rediam/internal/world"
)

func secretParameter(format string, args ...any) error {
	return &world.Error{Code: "InvalidParameterException", Message: fmt.Sprintf(format, args...)}
}

// secretValue is how a request has a new value.
type secretValue struct {
	ClientRequestToken         string
	SecretString, SecretBinary world.Secret
}

// value is the new value; nil if the request has none and need not.
func (v secretValue) value(needed bool) (*world.SecretValue, error) {
	value := &world.SecretValue{Token: v.ClientRequestToken, Value: v.SecretString}
	switch {
	case v.SecretString != "" && v.SecretBinary != "":
		return nil, secretParameter("You can't specify both a binary secret value and a string secret value in the same secret.")
	case v.SecretBinary != "":
		value.Value, value.Binary = v.SecretBinary, true
		if _, err := base64.StdEncoding.Strict().DecodeString(string(v.SecretBinary)); err != nil {
			return nil, unreadable("SecretBinary must be base64")
		}
	case v.SecretString == "" && needed:
		return nil, &world.Error{Code: "InvalidRequestException", Message: "You must provide either SecretString or SecretBinary."}
	case v.SecretString == "":
		return nil, nil
	}
	return value, nil
}

func versionOf(value *world.SecretValue) string {
	if value == nil {
		return ""
	}
	return value.Token
}

type getSecretValueRequest struct {
	SecretId                string `aws:",required"`
	VersionId, VersionStage string
}

type getSecretValueAnswer struct {
	ARN, Name, VersionId       string
	SecretString, SecretBinary string
	VersionStages              []string
	CreatedDate                time.Time
}

func getSecretValue(c *call, in getSecretValueRequest) (out getSecretValueAnswer, err error) {
	s, v, err := c.world.SecretValue(in.SecretId, in.VersionId, in.VersionStage)
	out = getSecretValueAnswer{ARN: s.ARN, Name: s.Name, VersionId: v.ID, SecretString: string(v.Value), VersionStages: v.Stages, CreatedDate: v.Created}
	if v.Binary {
		out.SecretString, out.SecretBinary = "", string(v.Value)
	}
	return out, err
}

type putSecretValueRequest struct {
	SecretId      string `aws:",required"`
	VersionStages []string
	secretValue   `aws:",inline"`
}

type putSecretValueAnswer struct {
	ARN, Name, VersionId string
	VersionStages        []string
}

func putSecretValue(c *call, in putSecretValueRequest) (out putSecretValueAnswer, err error) {
	value, err := in.value(true)
	if err != nil {
		return out, err
	}
	s, v, err := c.world.PutSecretValue(in.SecretId, *value, in.VersionStages)
	return putSecretValueAnswer{s.ARN, s.Name, v.ID, v.Stages}, err
}

type updateStageRequest struct {
	SecretId                             string `aws:",required"`
	VersionStage                         string `aws:",required"`
	RemoveFromVersionId, MoveToVersionId string
}

func updateSecretVersionStage(c *call, in updateStageRequest) (secretAnswer, error) {
	s, err := c.world.MoveStage(in.SecretId, in.VersionStage, in.RemoveFromVersionId, in.MoveToVersionId)
	return answerOf(s, ""), err
}

type listVersionsRequest struct {
	SecretId          string `aws:",required"`
	IncludeDeprecated bool
	resultsPage       `aws:",inline"`
}

type listedVersion struct {
	VersionId                     string
	VersionStages                 []string
	CreatedDate, LastAccessedDate time.Time
}

type listVersionsAnswer struct {
	NextToken, ARN, Name string
	Versions             []listedVersion
}

func listSecretVersionIds(c *call, in listVersionsRequest) (out listVersionsAnswer, err error) {
	s, err := c.world.StoredSecret(in.SecretId)
	if err != nil {
		return out, err
	}
	out.ARN, out.Name = s.ARN, s.Name
	versions := []listedVersion{}
	for _, v := range s.Versions {
		if len(v.Stages) > 0 || in.IncludeDeprecated {
			versions = append(versions, listedVersion{v.ID, v.Stages, v.Created, v.Accessed})
		}
	}
	out.Versions, out.NextToken, err = cutSecrets(versions, func(v listedVersion) string { return inOrder(v.CreatedDate) + v.VersionId }, in.resultsPage)
	return out, err
}
