package awsapi

import (
	"maps"
	"slices"

	"github.com/rediam/rediam/internal/world"
)

type cacheTag struct{ Key, Value string }

// cacheTags is a list of tags by key.
func cacheTags(tags []cacheTag) (map[string]string, error) {
	if tags == nil {
		return nil, nil
	}
	byKey := map[string]string{}
	for _, t := range tags {
		if _, twice := byKey[t.Key]; twice {
			return nil, parameterValue("Duplicate tag key %.128s", t.Key)
		}
		byKey[t.Key] = t.Value
	}
	return byKey, nil
}

type cacheTagList struct {
	TagList []cacheTagAnswer `aws:"TagList.Tag"`
}

// cacheTagAnswer is a tag in an answer, which has a value even if that is empty.
type cacheTagAnswer struct {
	Key   string
	Value *string
}

func cacheTagListOf(tags map[string]string) cacheTagList {
	list := cacheTagList{[]cacheTagAnswer{}}
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		value := tags[key]
		list.TagList = append(list.TagList, cacheTagAnswer{key, &value})
	}
	return list
}

type addCacheTagsRequest struct {
	ResourceName string     `aws:",required"`
	Tags         []cacheTag `aws:"Tags.Tag,required"`
}

func addCacheTags(c *call, in addCacheTagsRequest) (cacheTagList, error) {
	set, err := cacheTags(in.Tags)
	if err != nil {
		return cacheTagList{}, err
	}
	tags, err := c.world.ChangeTags(world.ElastiCache, in.ResourceName, set, nil)
	return cacheTagListOf(tags), err
}

type listCacheTagsRequest struct {
	ResourceName string `aws:",required"`
}

func listCacheTags(c *call, in listCacheTagsRequest) (cacheTagList, error) {
	tags, err := c.world.Tags(world.ElastiCache, in.ResourceName)
	return cacheTagListOf(tags), err
}

type removeCacheTagsRequest struct {
	ResourceName string   `aws:",required"`
	TagKeys      []string `aws:",required"`
}

func removeCacheTags(c *call, in removeCacheTagsRequest) (cacheTagList, error) {
	tags, err := c.world.ChangeTags(world.ElastiCache, in.ResourceName, nil, in.TagKeys)
	return cacheTagListOf(tags), err
}
