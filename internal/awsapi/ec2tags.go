package awsapi

import (
	"maps"
	"slices"
	"strings"

	"github.com/rediam/rediam/internal/world"
)

// Only instances have tags here.

type tagsRequest struct {
	dryRun    `aws:",inline"`
	Resources []string `aws:"ResourceId,flat,required"`
	Tags      []ec2Tag `aws:"Tag,flat"`
}

func onTagged(c *call, in tagsRequest) (all []string) {
	for _, id := range in.Resources {
		all = append(all, c.world.EC2ARN("instance/"+id))
	}
	return all
}

// check refuses what has no tags.
func (r tagsRequest) check() error {
	for _, id := range r.Resources {
		if !strings.HasPrefix(id, "i-") {
			return &world.Error{Code: "InvalidID", Message: "The ID '" + id + "' is not valid: the emulator has tags of instances only"}
		}
	}
	return r.end()
}

type ec2Done struct {
	Return bool `aws:"return"`
}

func createTags(c *call, in tagsRequest) (ec2Done, error) {
	if len(in.Tags) == 0 {
		return ec2Done{}, &world.Error{Code: "MissingParameter", Message: "The request must contain the parameter Tag"}
	}
	if err := in.check(); err != nil {
		return ec2Done{}, err
	}
	return ec2Done{true}, c.world.TagInstances(in.Resources, ec2Tags(in.Tags), nil)
}

// deleteTags deletes those that have one of the keys and, where it is given, its
// value; all of them if there are no keys.
func deleteTags(c *call, in tagsRequest) (ec2Done, error) {
	if err := in.check(); err != nil {
		return ec2Done{}, err
	}
	return ec2Done{true}, c.world.TagInstances(in.Resources, nil, func(key, value string) bool {
		return len(in.Tags) == 0 || slices.ContainsFunc(in.Tags, func(t ec2Tag) bool { return t.Key == key && (t.Value == nil || *t.Value == value) })
	})
}

type describeTagsRequest struct {
	dryRun  `aws:",inline"`
	ec2Span `aws:",inline"`
	Filters []ec2Filter `aws:"Filter,flat"`
}

type resourceTag struct {
	Key          string  `aws:"key"`
	ResourceID   string  `aws:"resourceId"`
	ResourceType string  `aws:"resourceType"`
	Value        *string `aws:"value"`
}

type resourceTags struct {
	Tags      []resourceTag `aws:"tagSet.item"`
	NextToken string        `aws:"nextToken"`
}

func describeTags(c *call, in describeTagsRequest) (out resourceTags, err error) {
	if err := in.end(); err != nil {
		return out, err
	}
	var list []resourceTag
	for _, i := range c.world.Instances() {
		tags := c.tagsOf(i)
		for _, k := range slices.Sorted(maps.Keys(tags)) {
			v := tags[k]
			list = append(list, resourceTag{k, i.ID, "instance", &v})
		}
	}
	list, err = chosen(list, in.Filters, func(t resourceTag, name string) []string {
		value := ""
		if t.Value != nil {
			value = *t.Value
		}
		switch name {
		case "key", "tag-key":
			return []string{t.Key}
		case "resource-id":
			return []string{t.ResourceID}
		case "resource-type":
			return []string{t.ResourceType}
		case "value", "tag-value":
			return []string{value}
		}
		return tagValues(name, map[string]string{t.Key: value})
	})
	if err != nil {
		return out, err
	}
	list, out.NextToken, err = ec2Window(in.ec2Span, 5, list, func(t resourceTag) string { return t.ResourceID + "/" + t.Key })
	out.Tags = append([]resourceTag{}, list...)
	return out, err
}
