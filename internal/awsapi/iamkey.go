package awsapi

import (
	"time"

	"github.com/rediam/rediam/internal/world"
)

// keyStatus is Active or Inactive.
func keyStatus(k world.Key) string {
	if k.Inactive {
		return "Inactive"
	}
	return "Active"
}

type newKeyResult struct {
	AccessKey struct {
		UserName, AccessKeyId, Status, SecretAccessKey string
		CreateDate                                     time.Time
	}
}

func createAccessKey(c *call, in userRequest) (out newKeyResult, err error) {
	name, err := c.user(in.UserName)
	if err != nil {
		return out, err
	}
	k, err := c.world.CreateOneOfTwoAccessKeys(name)
	if err != nil {
		return out, err
	}
	a := &out.AccessKey
	a.UserName, a.AccessKeyId, a.Status, a.SecretAccessKey, a.CreateDate = name, k.ID, keyStatus(k), string(k.Secret), k.Created
	return out, nil
}

type listKeysRequest struct {
	userRequest `aws:",inline"`
	page        `aws:",inline"`
}

type keysResult struct {
	AccessKeyMetadata []keyMetadata
	pageEnd           `aws:",inline"`
}

type keyMetadata struct {
	UserName, AccessKeyId, Status string
	CreateDate                    time.Time
}

func listAccessKeys(c *call, in listKeysRequest) (out keysResult, err error) {
	name, err := c.user(in.UserName)
	if err != nil {
		return out, err
	}
	keys, err := c.world.AccessKeys(name)
	if err != nil {
		return out, err
	}
	list := []keyMetadata{}
	for _, k := range keys {
		list = append(list, keyMetadata{name, k.ID, keyStatus(k), k.Created})
	}
	out.AccessKeyMetadata, out.pageEnd, err = cut(in.page, list, func(i int) string { return list[i].AccessKeyId })
	return out, err
}

type keyRequest struct {
	userRequest `aws:",inline"`
	AccessKeyId string `aws:",required"`
}

// key is the one that a request names, if the user whom it names holds it.
func (c *call) key(in keyRequest) (world.Key, error) {
	name, err := c.user(in.UserName)
	if err != nil {
		return world.Key{}, err
	}
	return c.world.UserKey(name, in.AccessKeyId)
}

type updateKeyRequest struct {
	keyRequest `aws:",inline"`
	Status     string `aws:",required"`
}

func updateAccessKey(c *call, in updateKeyRequest) (none, error) {
	k, err := c.key(in.keyRequest)
	if err != nil {
		return none{}, err
	}
	if in.Status != "Active" && in.Status != "Inactive" {
		return none{}, invalid("Status must be Active or Inactive")
	}
	return none{}, c.world.SetAccessKey(k.ID, in.Status == "Active")
}

func deleteAccessKey(c *call, in keyRequest) (none, error) {
	k, err := c.key(in)
	if err != nil {
		return none{}, err
	}
	return none{}, c.world.DeleteAccessKey(k.ID)
}

type keyIDRequest struct {
	AccessKeyId string `aws:",required"`
}

// onOwner asks permission for the user who holds the key.
func onOwner(c *call, in keyIDRequest) []string {
	k, ok := c.world.Key(in.AccessKeyId)
	if !ok || k.Principal.Type != world.AsIAMUser {
		return nil
	}
	return []string{of[ofUser]{ofUser{k.Principal.Name}}.resource(c)}
}

type lastUsedResult struct {
	UserName          string
	AccessKeyLastUsed struct {
		LastUsedDate        time.Time
		ServiceName, Region string
	}
}

// getAccessKeyLastUsed tells of calls to the AWS API, not of sign-ins to caches.
func getAccessKeyLastUsed(c *call, in keyIDRequest) (out lastUsedResult, err error) {
	k, ok := c.world.Key(in.AccessKeyId)
	if !ok || !k.Expires.IsZero() || k.Principal.Account != c.world.Account {
		return out, &world.Error{Code: "NoSuchEntity", Message: "The Access Key with id " + shortened(in.AccessKeyId) + " cannot be found."}
	}
	used := &out.AccessKeyLastUsed
	out.UserName, used.ServiceName, used.Region = k.Principal.Name, "N/A", "N/A"
	if u := c.world.KeyUse(k.ID); !u.Time.IsZero() {
		used.LastUsedDate, used.ServiceName, used.Region = u.Time, u.Service, c.world.Region
	}
	return out, nil
}

// shortened is what an answer repeats of a request.
func shortened(s string) string { return s[:min(len(s), maxName)] }
