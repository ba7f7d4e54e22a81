package awsapi

import (
	"fmt"
	"strconv"
	"time"

	"github.com/rediam/rediam/internal/world"
)

var stsOperations = map[string]func(call) (any, error){
	"GetCallerIdentity": getCallerIdentity,
	"AssumeRole":        assumeRole,
}

type callerIdentity struct{ Arn, UserId, Account string }

// getCallerIdentity needs no permission.
func getCallerIdentity(c call) (any, error) {
	if err := c.only(); err != nil {
		return nil, err
	}
	p := c.caller.Principal
	return callerIdentity{c.world.PrincipalARN(p), p.ID, p.Account}, nil
}

type credentials struct {
	AccessKeyId, SecretAccessKey, SessionToken string
	Expiration                                 string
}

type assumedRole struct {
	Credentials     credentials
	AssumedRoleUser struct{ AssumedRoleId, Arn string }
}

func assumeRole(c call) (any, error) {
	arns := c.list("PolicyArns.member.%d.arn")
	err := c.only(append([]string{"RoleArn", "RoleSessionName", "DurationSeconds", "Policy", "ExternalId"}, arns...)...)
	if err != nil {
		return nil, err
	}
	request := world.AssumeRole{
		RoleARN: c.form.Get("RoleArn"), Session: c.form.Get("RoleSessionName"),
		Policy: c.form.Get("Policy"), ExternalID: c.form.Get("ExternalId"),
	}
	for _, name := range arns {
		request.PolicyARNs = append(request.PolicyARNs, c.form.Get(name))
	}
	if d := c.form.Get("DurationSeconds"); d != "" {
		seconds, err := strconv.ParseUint(d, 10, 20)
		if err != nil || seconds == 0 { // zero is no default on the wire
			return nil, &world.Error{Code: "ValidationError", Message: "DurationSeconds is not a number of seconds from 900 to 43200"}
		}
		request.Duration = time.Duration(seconds) * time.Second
	}
	key, err := c.world.AssumeRole(c.caller, request)
	if err != nil {
		return nil, err
	}
	result := assumedRole{Credentials: credentials{key.ID, string(key.Secret), string(key.SessionToken), key.Expires.Format(time.RFC3339)}}
	result.AssumedRoleUser.AssumedRoleId = key.Principal.ID
	result.AssumedRoleUser.Arn = c.world.PrincipalARN(key.Principal)
	return result, nil
}

// list is the names of the parameters that pattern has for 1, 2, …
func (c call) list(pattern string) []string {
	var names []string
	for i := 1; ; i++ {
		name := fmt.Sprintf(pattern, i)
		if !c.form.Has(name) {
			return names
		}
		names = append(names, name)
	}
}

// only refuses parameters that an operation does not have here, rather than
// ignoring them, and those that stand twice.
func (c call) only(names ...string) error {
	known := map[string]bool{"Action": true, "Version": true}
	for _, n := range names {
		known[n] = true
	}
	for name, values := range c.form {
		if len(values) != 1 {
			return &world.Error{Code: "ValidationError", Message: fmt.Sprintf("the parameter %.64q stands twice", name)}
		}
		if !known[name] {
			return &world.Error{Code: "ValidationError", Message: fmt.Sprintf("the emulator does not have the parameter %.64q of this operation", name)}
		}
	}
	return nil
}
