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

	"AssumeRoleWithWebIdentity": open(assumeRoleWithWebIdentity),
	"AssumeRoleWithSAML":        open(assumeRoleWithSAML),
}

type callerIdentity struct{ Arn, UserId, Account string }

// getCallerIdentity needs no permission.
func getCallerIdentity(c *call, _ none) (callerIdentity, error) {
	p := c.caller.Principal
	return callerIdentity{c.world.PrincipalARN(p), p.ID, p.Account}, nil
}

type assumeRoleRequest struct {
	sessionRequest  `aws:",inline"`
	RoleSessionName string
	ExternalId      string
}

// sessionRequest is the members of every operation that assumes a role.
type sessionRequest struct {
	RoleArn         string
	DurationSeconds *int
	Policy          string
	PolicyArns      []struct {
		Arn string `aws:"arn"`
	}
}

func (c *call) assume(in sessionRequest, session string) (world.AssumeRole, error) {
	request := world.AssumeRole{RoleARN: in.RoleArn, Session: session, Policy: in.Policy, Source: c.source}
	c.document = in.Policy
	for _, p := range in.PolicyArns {
		request.PolicyARNs = append(request.PolicyARNs, p.Arn)
	}
	if in.DurationSeconds != nil {
		if *in.DurationSeconds <= 0 { // zero is no default on the wire
			return request, invalid("DurationSeconds is not a number of seconds from 900 to 43200")
		}
		request.Duration = time.Duration(*in.DurationSeconds) * time.Second
	}
	return request, nil
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

func (c *call) assumed(k world.Key) (out assumedRole) {
	out.Credentials = temporary(k)
	out.AssumedRoleUser.AssumedRoleId, out.AssumedRoleUser.Arn = k.Principal.ID, c.world.PrincipalARN(k.Principal)
	return out
}

func assumeRole(c *call, in assumeRoleRequest) (out assumedRole, err error) {
	request, err := c.assume(in.sessionRequest, in.RoleSessionName)
	if err != nil {
		return out, err
	}
	request.ExternalID = in.ExternalId
	key, err := c.world.AssumeRole(c.caller, request)
	return c.assumed(key), err
}

type webIdentityRequest struct {
	sessionRequest   `aws:",inline"`
	RoleSessionName  string
	WebIdentityToken string `aws:",required"`
}

type webIdentity struct {
	assumedRole                                     `aws:",inline"`
	SubjectFromWebIdentityToken, Audience, Provider string
}

func assumeRoleWithWebIdentity(c *call, in webIdentityRequest) (out webIdentity, err error) {
	request, err := c.assume(in.sessionRequest, in.RoleSessionName)
	if err != nil {
		return out, err
	}
	key, of, err := c.world.AssumeRoleWithWebIdentity(request, in.WebIdentityToken)
	return webIdentity{c.assumed(key), of.Subject, of.Audience, of.Provider}, err
}

type samlRequest struct {
	sessionRequest `aws:",inline"`
	PrincipalArn   string `aws:",required"`
	SAMLAssertion  string `aws:",required"`
}

type samlIdentity struct {
	assumedRole                                           `aws:",inline"`
	Subject, SubjectType, Issuer, Audience, NameQualifier string
}

func assumeRoleWithSAML(c *call, in samlRequest) (out samlIdentity, err error) {
	request, err := c.assume(in.sessionRequest, "")
	if err != nil {
		return out, err
	}
	key, of, err := c.world.AssumeRoleWithSAML(request, in.PrincipalArn, in.SAMLAssertion)
	return samlIdentity{c.assumed(key), of.Subject, of.SubjectType, of.Issuer, of.Audience, of.NameQualifier}, err
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
