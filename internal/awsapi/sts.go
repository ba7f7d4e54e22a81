package awsapi

import (
	"time"

	"github.com/rediam/rediam/internal/world"
)

var stsOperations = map[string]operation{
	"GetCallerIdentity": free(getCallerIdentity),
	"AssumeRole":        free(assumeRole), // the role's trust policy is asked too
	"GetSessionToken":   free(getSessionToken),
	"GetAccessKeyInfo":  operate(nil, getAccessKeyInfo),
}

type callerIdentity struct{ Arn, UserId, Account string }

// getCallerIdentity needs no permission.
func getCallerIdentity(c *call, _ none) (callerIdentity, error) {
	p := c.caller.Principal
	return callerIdentity{c.world.PrincipalARN(p), p.ID, p.Account}, nil
}

type assumeRoleRequest struct {
	RoleArn         string
	RoleSessionName string
	DurationSeconds *int
	Policy          string
	PolicyArns      []struct {
		Arn string `aws:"arn"`
	}
	ExternalId string
}

type credentials struct {
	AccessKeyId, SecretAccessKey, SessionToken string
	Expiration                                 time.Time
}

func temporary(k world.Key) credentials {
	return credentials{k.ID, string(k.Secret), string(k.SessionToken), k.Expires}
}

type assumedRole struct {
	Credentials     credentials
	AssumedRoleUser struct{ AssumedRoleId, Arn string }
}

func assumeRole(c *call, in assumeRoleRequest) (out assumedRole, err error) {
	request := world.AssumeRole{RoleARN: in.RoleArn, Session: in.RoleSessionName, Policy: in.Policy, ExternalID: in.ExternalId}
	c.document = in.Policy
	for _, p := range in.PolicyArns {
		request.PolicyARNs = append(request.PolicyARNs, p.Arn)
	}
	if in.DurationSeconds != nil {
		if *in.DurationSeconds <= 0 { // zero is no default on the wire
			return out, invalid("DurationSeconds is not a number of seconds from 900 to 43200")
		}
		request.Duration = time.Duration(*in.DurationSeconds) * time.Second
	}
	key, err := c.world.AssumeRole(c.caller, request)
	if err != nil {
		return out, err
	}
	out.Credentials = temporary(key)
	out.AssumedRoleUser.AssumedRoleId = key.Principal.ID
	out.AssumedRoleUser.Arn = c.world.PrincipalARN(key.Principal)
	return out, nil
}

type sessionTokenRequest struct{ DurationSeconds *int }

type sessionToken struct{ Credentials credentials }

// getSessionToken needs no permission.
func getSessionToken(c *call, in sessionTokenRequest) (out sessionToken, err error) {
	duration := world.DefaultSessionToken
	if in.DurationSeconds != nil {
		duration = time.Duration(*in.DurationSeconds) * time.Second
	}
	key, err := c.world.SessionToken(c.caller, duration)
	out.Credentials = temporary(key)
	return out, err
}

type keyInfo struct{ Account string }

// getAccessKeyInfo knows the keys of this world alone. How AWS refuses an id that
// is none is not documented.
func getAccessKeyInfo(c *call, in keyIDRequest) (keyInfo, error) {
	k, ok := c.world.Key(in.AccessKeyId)
	if !ok {
		return keyInfo{}, invalid("there is no access key with this id")
	}
	return keyInfo{k.Principal.Account}, nil
}
