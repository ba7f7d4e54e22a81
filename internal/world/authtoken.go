package world

import (
	"slices"
	"strings"
)

// maxTokens is how many AUTH tokens a cache knows at a time.
const maxTokens = 2

// tokenSpecials are what an AUTH token may have besides letters and digits
// (ElastiCache user guide, "Authenticating with the AUTH command").
const tokenSpecials = "!&#$^<>-"

var errToken = errorf("InvalidParameterValue", "Invalid AuthToken provided.")

// checkToken is about one token; an empty one stands for none.
func checkToken(token Secret) error {
	odd := func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune(tokenSpecials, r))
	}
	if token != "" && (len(token) < minPassword || len(token) > maxPassword || strings.ContainsFunc(string(token), odd)) {
		return errToken
	}
	return nil
}

// UpdateToken changes the AUTH tokens of the cache by one of AWS's strategies:
// ROTATE adds a token to the last one, which may be none; SET leaves only the one
// that was added last, or the first one of a cache that has given up its user
// group; DELETE takes all away, of a cache that gets a user group (ElastiCache user
// guide, "Authenticating with the AUTH command", and ModifyReplicationGroup).
func (c *Cache) UpdateToken(strategy string, token Secret, leavesGroup bool) error {
	current := c.AuthTokens
	if len(current) == 0 {
		current = []Secret{""}
	}
	last := current[len(current)-1]
	switch {
	case strategy == "DELETE" && c.Group == "":
		return errorf("InvalidParameterCombination", "AuthTokenUpdateStrategy DELETE is allowed only together with UserGroupIdsToAdd.")
	case strategy == "DELETE" && token != "":
		return errorf("InvalidParameterCombination", "AuthTokenUpdateStrategy DELETE takes no AuthToken.")
	case strategy == "DELETE":
		c.AuthTokens = nil
	case token == "":
		return errToken
	case strategy == "ROTATE" && token == last:
	case strategy == "ROTATE":
		c.AuthTokens = []Secret{last, token}
	case strategy == "SET" && (token == last || leavesGroup):
		c.AuthTokens = []Secret{token}
	case strategy == "SET":
		return errToken
	default:
		return errorf("InvalidParameterValue", "AuthTokenUpdateStrategy must be SET, ROTATE or DELETE")
	}
	return nil
}

// checkTokens holds the rules about the AUTH tokens of a cache.
func (c Cache) checkTokens() error {
	for _, t := range c.AuthTokens {
		if err := checkToken(t); err != nil {
			return err
		}
	}
	switch {
	case len(c.AuthTokens) == 0:
		return nil
	case len(c.AuthTokens) > maxTokens:
		return errorf("InvalidParameterValue", "a cache knows at most %d AUTH tokens", maxTokens)
	case c.Kind != ReplicationGroup:
		return errorf("InvalidParameterCombination", "only replication groups have AUTH tokens")
	case c.Plaintext:
		return errorf("InvalidParameterCombination", "The AUTH token is only supported when encryption-in-transit is enabled.")
	case c.Group != "":
		return errorf("InvalidParameterCombination", "User group can't be associated with auth token enabled. Pass AuthStrategy delete to proceed.")
	}
	return nil
}

// tokenUser is who everybody is on a cache without a user group: the user default,
// whose passwords are the AUTH tokens, if it has any. Where none is needed beside a
// token, since the cache had none before, a wrong one is refused all the same.
func (c Cache) tokenUser() User {
	u := openUser
	u.Passwords = slices.DeleteFunc(slices.Clone(c.AuthTokens), func(t Secret) bool { return t == "" })
	if len(u.Passwords) > 0 && len(u.Passwords) == len(c.AuthTokens) {
		u.Auth = AuthPassword
	}
	return u
}
