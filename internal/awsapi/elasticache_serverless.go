package awsapi

import (
	"errors"
	"strings"
	"time"

	"github.com/rediam/rediam/internal/world"
)

type serverlessCacheAnswer struct{ ServerlessCache serverlessCache }

type serverlessCache struct {
	ServerlessCacheName, Description string

	CreateTime               time.Time
	Status, Engine           string
	MajorEngineVersion       string
	FullEngineVersion        string
	SecurityGroupIds         []string `aws:"SecurityGroupIds.SecurityGroupId"`
	Endpoint, ReaderEndpoint *endpoint
	ARN, UserGroupId         string
	SubnetIds                []string `aws:"SubnetIds.SubnetId"`
	SnapshotRetentionLimit   int
	NetworkType              string
	ConnectionType           string
}

// ServerlessStatusInCapitals: the API reference has the status in capitals, every
// answer that the guides show has it in lower case.
const ServerlessStatusInCapitals = false

// The connection types (API reference, CreateServerlessCache).
const (
	connectVPC    = "vpc"
	connectPublic = "public"
)

// maxDescription is of the API reference, CreateServerlessCache.
const maxDescription = 255

// serverlessCacheOf gives readers the address that everybody has.
func serverlessCacheOf(c *call, info world.CacheInfo) serverlessCache {
	major, _, _ := strings.Cut(info.Version, ".")
	s := serverlessCache{ServerlessCacheName: info.Name, Description: info.Details.Description, CreateTime: info.Created, Status: info.Status, Engine: info.Engine,
		MajorEngineVersion: major, FullEngineVersion: info.Version, SecurityGroupIds: info.Details.SecurityGroups, ARN: c.world.CacheARN(info.Cache), UserGroupId: info.Group,
		SubnetIds: info.Details.Subnets, NetworkType: "ipv4", ConnectionType: connectVPC}
	if ServerlessStatusInCapitals {
		s.Status = strings.ToUpper(s.Status)
	}
	if info.Public {
		s.ConnectionType = connectPublic
	}
	if len(info.Addresses) > 0 {
		s.Endpoint, s.ReaderEndpoint = endpointOf(info.Addresses[0]), endpointOf(info.Addresses[0])
	}
	return s
}

type createServerlessCacheRequest struct {
	ServerlessCacheName string `aws:",required"`
	Description         string
	Engine              string `aws:",required"`
	MajorEngineVersion  string
	SecurityGroupIds    []string   `aws:"SecurityGroupIds.SecurityGroupId"`
	Tags                []cacheTag `aws:"Tags.Tag"`
	UserGroupId         string
	SubnetIds           []string `aws:"SubnetIds.SubnetId"`
	NetworkType         string
	ConnectionType      string
}

func createServerlessCache(c *call, in createServerlessCacheRequest) (out serverlessCacheAnswer, err error) {
	cache := world.Cache{Kind: world.ServerlessCache, Name: in.ServerlessCacheName, Engine: in.Engine, Version: in.MajorEngineVersion, Group: in.UserGroupId, Public: in.ConnectionType == connectPublic,
		Details: world.Details{Description: in.Description, SecurityGroups: in.SecurityGroupIds, Subnets: in.SubnetIds, AtRest: true}}
	if cache.Tags, err = cacheTags(in.Tags); err != nil {
		return out, err
	}
	if err := errors.Join(notBlank("Engine", in.Engine), checkServerlessVersion(in.MajorEngineVersion), checkDescription(&in.Description), checkSecurityGroups(in.SecurityGroupIds),
		checkNetwork(in.NetworkType, ""), checkConnection(in.ConnectionType)); err != nil {
		return out, err
	}
	info, err := c.world.CreateCache(cache)
	return serverlessCacheAnswer{serverlessCacheOf(c, info)}, err
}

// checkServerlessVersion is about the major version alone, of which serverless caches
// have 7 and later.
func checkServerlessVersion(major string) error {
	if strings.Contains(major, ".") || major != "" && len(major) == 1 && major < "7" {
		return parameterValue("%.16s is not a MajorEngineVersion of serverless caches", major)
	}
	return nil
}

func checkDescription(text *string) error {
	if text != nil && len(*text) > maxDescription {
		return parameterValue("Description must have at most %d characters.", maxDescription)
	}
	return nil
}

func checkConnection(kind string) error {
	if kind != "" && kind != connectVPC && kind != connectPublic {
		return parameterValue("ConnectionType must be %s or %s.", connectVPC, connectPublic)
	}
	return nil
}

type modifyServerlessCacheRequest struct {
	ServerlessCacheName string `aws:",required"`
	Description         *string
	RemoveUserGroup     *bool
	UserGroupId         string
	SecurityGroupIds    []string `aws:"SecurityGroupIds.SecurityGroupId"`
	Engine              string
	MajorEngineVersion  string
}

func modifyServerlessCache(c *call, in modifyServerlessCacheRequest) (out serverlessCacheAnswer, err error) {
	if is(in.RemoveUserGroup) && in.UserGroupId != "" {
		return out, parameterCombination("RemoveUserGroup and UserGroupId cannot both be given.")
	}
	if err := errors.Join(checkServerlessVersion(in.MajorEngineVersion), checkDescription(in.Description), checkSecurityGroups(in.SecurityGroupIds)); err != nil {
		return out, err
	}
	info, err := c.world.ModifyCache(world.ServerlessCache, in.ServerlessCacheName, func(c *world.Cache) error {
		if in.Description != nil {
			c.Details.Description = *in.Description
		}
		if is(in.RemoveUserGroup) {
			c.Group = ""
		}
		if in.UserGroupId != "" {
			c.Group = in.UserGroupId
		}
		modifyDetails(c, "", in.SecurityGroupIds, nil)
		return modifyEngine(c, in.Engine, in.MajorEngineVersion)
	})
	return serverlessCacheAnswer{serverlessCacheOf(c, info)}, err
}

type deleteServerlessCacheRequest struct {
	ServerlessCacheName string `aws:",required"`
}

func deleteServerlessCache(c *call, in deleteServerlessCacheRequest) (serverlessCacheAnswer, error) {
	info, err := c.world.RemoveCache(world.ServerlessCache, in.ServerlessCacheName)
	return serverlessCacheAnswer{serverlessCacheOf(c, info)}, err
}

type describeServerlessCachesRequest struct {
	ServerlessCacheName string
	resultsPage         `aws:",inline"`
}

type describeServerlessCachesAnswer struct {
	NextToken        string
	ServerlessCaches []serverlessCache
}

// maxServerless is how many serverless caches are listed at a time if the request
// does not say (API reference, DescribeServerlessCaches).
const maxServerless = 50

func describeServerlessCaches(c *call, in describeServerlessCachesRequest) (out describeServerlessCachesAnswer, err error) {
	caches, err := only(c.world.DescribeCaches(world.ServerlessCache), cacheName, strings.ToLower(in.ServerlessCacheName),
		missing("ServerlessCacheNotFoundFault", "ServerlessCache", in.ServerlessCacheName))
	if err != nil {
		return out, err
	}
	if most := maxServerless; in.MaxResults == nil {
		in.MaxResults = &most
	}
	caches, out.NextToken, err = cutResults(caches, cacheName, in.resultsPage)
	out.ServerlessCaches = []serverlessCache{}
	for _, s := range caches {
		out.ServerlessCaches = append(out.ServerlessCaches, serverlessCacheOf(c, s))
	}
	return out, err
}
