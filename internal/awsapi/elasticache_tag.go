package awsapi

import (
	"maps"
	"slices"
)

type tag struct{ Key, Value string }

// tagMap is a list of tags by key.
func tagMap(tags []tag) (map[string]string, error) {
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

type tagList struct {
	TagList []tagAnswer `aws:"TagList.Tag"`
}

// tagAnswer is a tag in an answer, which has a value even if that is empty.
type tagAnswer struct {
	Key   string
	Value *string
}

func tagListOf(tags map[string]string) tagList {
	list := tagList{[]tagAnswer{}}
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		value := tags[key]
		list.TagList = append(list.TagList, tagAnswer{key, &value})
	}
	return list
}

type addTagsRequest struct {
	ResourceName string `aws:",required"`
	Tags         []tag  `aws:"Tags.Tag,required"`
}

func addTags(c *call, in addTagsRequest) (tagList, error) {
	set, err := tagMap(in.Tags)
	if err != nil {
		return tagList{}, err
	}
	tags, err := c.world.ChangeTags(in.ResourceName, set, nil)
	return tagListOf(tags), err
}

type listTagsRequest struct {
	ResourceName string `aws:",required"`
}

func listTags(c *call, in listTagsRequest) (tagList, error) {
	tags, err := c.world.Tags(in.ResourceName)
	return tagListOf(tags), err
}

type removeTagsRequest struct {
	ResourceName string   `aws:",required"`
	TagKeys      []string `aws:",required"`
}

func removeTags(c *call, in removeTagsRequest) (tagList, error) {
	tags, err := c.world.ChangeTags(in.ResourceName, nil, in.TagKeys)
	return tagListOf(tags), err
}
