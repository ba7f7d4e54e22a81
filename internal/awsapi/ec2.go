package awsapi

import (
	"encoding/base64"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/rediam/rediam/internal/world"
)

var ec2Operations = map[string]operation{
	"RunInstances":                           operate(onNewInstances, runInstances),
	"DescribeInstances":                      operate(nil, describeInstances),
	"DescribeInstanceStatus":                 operate(nil, describeStatus),
	"TerminateInstances":                     operate(onStopped, terminateInstances),
	"StopInstances":                          operate(onStopped, stopInstances),
	"StartInstances":                         operate(onInstances, startInstances),
	"AssociateIamInstanceProfile":            operate(onInstance, associateProfile),
	"DisassociateIamInstanceProfile":         operate(onAssociation, disassociateProfile),
	"ReplaceIamInstanceProfileAssociation":   operate(onReplaced, replaceProfile),
	"DescribeIamInstanceProfileAssociations": operate(nil, describeAssociations),
	"DescribeVpcs":                           operate(nil, describeVPCs),
	"DescribeSubnets":                        operate(nil, describeSubnets),
	"DescribeSecurityGroups":                 operate(nil, describeGroups),
	"CreateTags":                             operate(onTagged, createTags),
	"DeleteTags":                             operate(onTagged, deleteTags),
	"DescribeTags":                           operate(nil, describeTags),
}

// MetadataTag is a tag that every instance whose metadata can be reached is shown
// with: the URL of its metadata service, for AWS_EC2_METADATA_SERVICE_ENDPOINT.
const MetadataTag = "rediam:metadata-endpoint"

// dryRun is a request that asks only whether it would be allowed.
type dryRun struct{ DryRun bool }

func (d dryRun) end() error {
	if d.DryRun {
		return &world.Error{Code: "DryRunOperation", Message: "Request would have succeeded, but DryRun flag is set."}
	}
	return nil
}

// ec2Tag is a tag in a request, shownTag one in an answer.
type ec2Tag struct {
	Key   string `aws:",required"`
	Value *string
}

type shownTag struct {
	Key   string  `aws:"key"`
	Value *string `aws:"value"`
}

func ec2Tags(tags []ec2Tag) map[string]string {
	all := map[string]string{}
	for _, t := range tags {
		all[t.Key] = ""
		if t.Value != nil {
			all[t.Key] = *t.Value
		}
	}
	return all
}

func shownTags(tags map[string]string) (all []shownTag) {
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		v := tags[k]
		all = append(all, shownTag{k, &v})
	}
	return all
}

// An ec2Filter is one of the filters of a Describe operation, which all must let through
// what it shows. Values may have * and ?.
type ec2Filter struct {
	Name   string   `aws:",required"`
	Values []string `aws:"Value,flat"`
}

// passes asks each filter about what valuesOf gives for its name; nil means that
// there is no such filter.
func passes(filters []ec2Filter, valuesOf func(name string) []string) (bool, error) {
	for _, f := range filters {
		has := valuesOf(f.Name)
		if has == nil {
			return false, &world.Error{Code: "InvalidParameterValue", Message: "The filter '" + f.Name + "' is invalid"}
		}
		if !slices.ContainsFunc(has, func(v string) bool {
			return slices.ContainsFunc(f.Values, func(pattern string) bool { return like(pattern, v) })
		}) {
			return false, nil
		}
	}
	return true, nil
}

// like compares with a pattern in which * and ? stand for any characters.
func like(pattern, s string) bool {
	escaped := strings.NewReplacer("[", `\[`, `/`, "\x00").Replace(pattern)
	ok, err := path.Match(escaped, strings.ReplaceAll(s, "/", "\x00"))
	return ok && err == nil
}

// tagValues are what the filters tag:KEY and tag-key look at; nil for other filters.
func tagValues(name string, tags map[string]string) []string {
	if key, ok := strings.CutPrefix(name, "tag:"); ok {
		if v, has := tags[key]; has {
			return []string{v}
		}
		return []string{}
	}
	if name == "tag-key" {
		return append([]string{}, slices.Collect(maps.Keys(tags))...)
	}
	return nil
}

// An ec2Span is the part of a list that a request wants.
type ec2Span struct {
	MaxResults *int
	NextToken  string
}

// ec2Window cuts a list that is in the order of its ids, each of which may repeat. Most
// is how many results there may be in one answer.
func ec2Window[V any](s ec2Span, least int, list []V, id func(V) string) (part []V, next string, err error) {
	const most = 1000
	size := most
	if s.MaxResults != nil {
		size = *s.MaxResults
	}
	if size < least || size > most {
		return nil, "", &world.Error{Code: "InvalidParameterValue", Message: "The value of MaxResults is out of range"}
	}
	after, err := base64.RawURLEncoding.DecodeString(s.NextToken)
	if err != nil {
		return nil, "", &world.Error{Code: "InvalidPaginationToken", Message: "The pagination token is not valid"}
	}
	from := slices.IndexFunc(list, func(v V) bool { return id(v) > string(after) })
	if from < 0 {
		return nil, "", nil
	}
	if part = list[from:]; len(part) > size {
		part = part[:size]
		next = base64.RawURLEncoding.EncodeToString([]byte(id(part[size-1])))
	}
	return part, next, nil
}

type profileMember struct{ Arn, Name string }

// name of the instance profile, which must be there.
func (p profileMember) profile(c *call) (world.InstanceProfile, error) {
	switch {
	case p == profileMember{}:
		return world.InstanceProfile{}, &world.Error{Code: "MissingParameter", Message: "The request must contain the parameter IamInstanceProfile"}
	case p.Arn != "" && p.Name != "":
		return world.InstanceProfile{}, &world.Error{Code: "InvalidParameterCombination", Message: "The parameter 'iamInstanceProfile.name' may not be used in combination with 'iamInstanceProfile.arn'"}
	case p.Arn != "":
		found, ok := c.world.InstanceProfile(p.Arn[strings.LastIndexByte(p.Arn, '/')+1:])
		if !ok || c.world.InstanceProfileARN(found) != p.Arn {
			return found, world.NoInstanceProfile("arn", p.Arn)
		}
		return found, nil
	}
	found, ok := c.world.InstanceProfile(p.Name)
	if !ok {
		return found, world.NoInstanceProfile("name", p.Name)
	}
	return found, nil
}

// handed is the name of an instance profile whose role the caller may pass to EC2.
func (p profileMember) handed(c *call) (string, error) {
	found, err := p.profile(c)
	if err == nil && found.Role != "" {
		err = c.passRole(found.Role, c.world.EC2())
	}
	return found.Name, err
}

type runInstancesRequest struct {
	dryRun             `aws:",inline"`
	ImageId            string
	InstanceType       string
	MinCount           int `aws:",required"`
	MaxCount           int `aws:",required"`
	KeyName            string
	SubnetId           string
	SecurityGroupIds   []string `aws:"SecurityGroupId,flat"`
	UserData           string
	ClientToken        string
	IamInstanceProfile *profileMember
	MetadataOptions    struct {
		HttpTokens, HttpEndpoint, InstanceMetadataTags string
		HttpPutResponseHopLimit                        int
	}
	TagSpecifications []struct {
		ResourceType string   `aws:",required"`
		Tags         []ec2Tag `aws:"Tag,flat"`
	} `aws:"TagSpecification,flat"`
}

// onNewInstances are the resources that a launch needs permission for (Service
// Authorization Reference, RunInstances).
func onNewInstances(c *call, in runInstancesRequest) []string {
	here := c.world.Network()
	or := func(name, otherwise string) string {
		if name == "" {
			return otherwise
		}
		return name
	}
	image := "arn:" + c.world.Partition + ":ec2:" + c.world.Region + "::image/" + in.ImageId
	all := []string{image, c.world.EC2ARN("instance/*"), c.world.EC2ARN("network-interface/*"), c.world.EC2ARN("volume/*"), c.world.EC2ARN("subnet/" + or(in.SubnetId, here.Subnet))}
	if in.KeyName != "" {
		all = append(all, c.world.EC2ARN("key-pair/"+in.KeyName))
	}
	if len(in.SecurityGroupIds) == 0 {
		all = append(all, c.world.EC2ARN("security-group/"+here.Group))
	}
	for _, g := range in.SecurityGroupIds {
		all = append(all, c.world.EC2ARN("security-group/"+g))
	}
	return all
}

func runInstances(c *call, in runInstancesRequest) (out reservation, err error) {
	m := in.MetadataOptions
	request := world.RunInstances{Count: in.MaxCount, Subnet: in.SubnetId, Groups: in.SecurityGroupIds, Token: in.ClientToken, InstanceSpec: world.InstanceSpec{
		Image: in.ImageId, Type: in.InstanceType, KeyName: in.KeyName, UserData: in.UserData, Tags: map[string]string{},
		Metadata: world.MetadataOptions{Tokens: m.HttpTokens, Endpoint: m.HttpEndpoint, Tags: m.InstanceMetadataTags, Hops: m.HttpPutResponseHopLimit}}}
	for _, t := range in.TagSpecifications {
		switch t.ResourceType {
		case "instance":
			maps.Copy(request.Tags, ec2Tags(t.Tags))
		case "volume", "network-interface": // there are none
		default:
			return out, &world.Error{Code: "InvalidParameterValue", Message: "'" + t.ResourceType + "' is not a valid taggable resource type for this operation."}
		}
	}
	if in.MinCount < 1 || in.MinCount > in.MaxCount {
		return out, &world.Error{Code: "InvalidParameterValue", Message: "MinCount must be at least 1 and at most MaxCount"}
	}
	if in.IamInstanceProfile != nil {
		if request.Profile, err = in.IamInstanceProfile.handed(c); err != nil {
			return out, err
		}
	}
	if err := in.end(); err != nil {
		return out, err
	}
	launched, err := c.world.RunInstances(request)
	if len(launched) == 0 {
		return out, err
	}
	out = c.reservation(launched)
	for i := range out.Instances {
		if launched[i].State == world.Running {
			out.Instances[i].State = ec2State("pending") // what it was when it was made
		}
	}
	return out, err
}

type instanceState struct {
	Code int    `aws:"code"`
	Name string `aws:"name"`
}

// ec2State has the codes of states (EC2 API Reference, InstanceState).
func ec2State(name string) instanceState {
	return instanceState{map[string]int{"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}[name], name}
}

type shownProfile struct {
	Arn string `aws:"arn"`
	ID  string `aws:"id"`
}

type shownGroup struct {
	ID   string `aws:"groupId"`
	Name string `aws:"groupName"`
}

type reservation struct {
	ReservationID string          `aws:"reservationId"`
	OwnerID       string          `aws:"ownerId"`
	Groups        []shownGroup    `aws:"groupSet.item"`
	Instances     []shownInstance `aws:"instancesSet.item"`
}

// shownInstance is an instance in an answer.
type shownInstance struct {
	InstanceID       string          `aws:"instanceId"`
	ImageID          string          `aws:"imageId"`
	State            instanceState   `aws:"instanceState"`
	PrivateDNSName   string          `aws:"privateDnsName"`
	KeyName          string          `aws:"keyName"`
	LaunchIndex      int             `aws:"amiLaunchIndex"`
	InstanceType     string          `aws:"instanceType"`
	LaunchTime       time.Time       `aws:"launchTime"`
	Placement        ec2Placement    `aws:"placement"`
	Monitoring       monitoringState `aws:"monitoring"`
	SubnetID         string          `aws:"subnetId"`
	VPCID            string          `aws:"vpcId"`
	PrivateIPAddress string          `aws:"privateIpAddress"`
	Architecture     string          `aws:"architecture"`
	ClientToken      string          `aws:"clientToken"`
	Profile          *shownProfile   `aws:"iamInstanceProfile"`
	Groups           []shownGroup    `aws:"groupSet.item"`
	Tags             []shownTag      `aws:"tagSet.item"`
	Metadata         *shownMetadata  `aws:"metadataOptions"`
}

type shownMetadata struct {
	State    string `aws:"state"`
	Tokens   string `aws:"httpTokens"`
	Hops     int    `aws:"httpPutResponseHopLimit"`
	Endpoint string `aws:"httpEndpoint"`
	Tags     string `aws:"instanceMetadataTags"`
}

type ec2Placement struct {
	Zone    string `aws:"availabilityZone"`
	Tenancy string `aws:"tenancy"`
}

type monitoringState struct {
	State string `aws:"state"`
}

// reservation shows instances that were launched together.
func (c *call) reservation(instances []world.Instance) reservation {
	out := reservation{ReservationID: instances[0].Reservation, OwnerID: c.world.Account, Groups: []shownGroup{}, Instances: []shownInstance{}}
	for _, i := range instances {
		out.Instances = append(out.Instances, c.instance(i))
	}
	return out
}

func (c *call) instance(i world.Instance) shownInstance {
	here := c.world.Network()
	out := shownInstance{InstanceID: i.ID, ImageID: i.Image, State: ec2State(string(i.State)), KeyName: i.KeyName, LaunchIndex: i.Index,
		InstanceType: i.Type, LaunchTime: i.Launched, Placement: ec2Placement{here.Zone, "default"}, Monitoring: monitoringState{"disabled"},
		Architecture: "x86_64", ClientToken: i.ClientToken, Tags: shownTags(c.tagsOf(i))}
	if i.Association.ID != "" {
		out.Profile = &shownProfile{i.Association.ARN, i.Association.ProfileID}
	}
	if i.State == world.Terminated {
		return out
	}
	out.PrivateIPAddress, out.PrivateDNSName = i.Address, c.world.PrivateName(i)
	out.SubnetID, out.VPCID, out.Groups = i.Subnet, here.VPC, []shownGroup{}
	for _, g := range i.Groups {
		out.Groups = append(out.Groups, shownGroup{g, "default"})
	}
	out.Metadata = &shownMetadata{"applied", i.Metadata.Tokens, i.Metadata.Hops, i.Metadata.Endpoint, i.Metadata.Tags}
	return out
}

// tagsOf are an instance's tags and the one that tells where its metadata is.
func (c *call) tagsOf(i world.Instance) map[string]string {
	tags := map[string]string{}
	maps.Copy(tags, i.Tags)
	if c.metadataURL != nil {
		if url := c.metadataURL(i.ID); url != "" {
			tags[MetadataTag] = url
		}
	}
	return tags
}

type describeInstancesRequest struct {
	dryRun      `aws:",inline"`
	ec2Span     `aws:",inline"`
	InstanceIds []string    `aws:"InstanceId,flat"`
	Filters     []ec2Filter `aws:"Filter,flat"`
}

type reservations struct {
	Reservations []reservation `aws:"reservationSet.item"`
	NextToken    string        `aws:"nextToken"`
}

func describeInstances(c *call, in describeInstancesRequest) (out reservations, err error) {
	if err := in.end(); err != nil {
		return out, err
	}
	list, err := c.instancesOf(in.InstanceIds, in.MaxResults)
	if err != nil {
		return out, err
	}
	list, err = chosen(list, in.Filters, c.instanceFilter)
	if err != nil {
		return out, err
	}
	list, out.NextToken, err = ec2Window(in.ec2Span, 5, list, func(i world.Instance) string { return i.ID })
	out.Reservations = []reservation{}
	var order []string
	together := map[string][]world.Instance{}
	for _, i := range list {
		if together[i.Reservation] == nil {
			order = append(order, i.Reservation)
		}
		together[i.Reservation] = append(together[i.Reservation], i)
	}
	for _, r := range order {
		out.Reservations = append(out.Reservations, c.reservation(together[r]))
	}
	return out, err
}

// instancesOf are those with some ids, or all if there are none.
func (c *call) instancesOf(ids []string, most *int) ([]world.Instance, error) {
	switch {
	case len(ids) == 0:
		return c.world.Instances(), nil
	case most != nil:
		return nil, &world.Error{Code: "InvalidParameterCombination", Message: "The parameter instancesSet cannot be used with the parameter maxResults"}
	}
	return c.world.FindInstances(ids)
}

// chosen are those of a list that pass the filters.
func chosen[V any](list []V, filters []ec2Filter, valuesOf func(V, string) []string) (all []V, err error) {
	var none V
	if _, err := passes(filters, func(name string) []string { return valuesOf(none, name) }); err != nil { // also of an empty list
		return nil, err
	}
	for _, v := range list {
		ok, err := passes(filters, func(name string) []string { return valuesOf(v, name) })
		if err != nil {
			return nil, err
		}
		if ok {
			all = append(all, v)
		}
	}
	return all, nil
}

// instanceFilter has the values of an instance that filters look at.
func (c *call) instanceFilter(i world.Instance, name string) []string {
	switch name {
	case "instance-id":
		return []string{i.ID}
	case "instance-state-name":
		return []string{string(i.State)}
	case "iam-instance-profile.arn":
		return []string{i.Association.ARN}
	case "image-id":
		return []string{i.Image}
	case "instance-type":
		return []string{i.Type}
	case "private-ip-address":
		return []string{i.Address}
	case "reservation-id":
		return []string{i.Reservation}
	case "client-token":
		return []string{i.ClientToken}
	case "subnet-id":
		return []string{i.Subnet}
	case "vpc-id":
		return []string{c.world.Network().VPC}
	}
	return tagValues(name, c.tagsOf(i))
}

type instancesRequest struct {
	dryRun      `aws:",inline"`
	InstanceIds []string `aws:"InstanceId,flat,required"`
}

type stopRequest struct {
	instancesRequest `aws:",inline"`
	Force            bool // nothing resists
}

func onInstances(c *call, in instancesRequest) (all []string) {
	for _, id := range in.InstanceIds {
		all = append(all, c.world.EC2ARN("instance/"+id))
	}
	return all
}

func onStopped(c *call, in stopRequest) []string { return onInstances(c, in.instancesRequest) }

type stateChange struct {
	InstanceID string        `aws:"instanceId"`
	Now        instanceState `aws:"currentState"`
	Before     instanceState `aws:"previousState"`
}

type stateChanges struct {
	Instances []stateChange `aws:"instancesSet.item"`
}

func terminateInstances(c *call, in stopRequest) (stateChanges, error) {
	return c.setState(in.instancesRequest, world.Terminated, "shutting-down")
}

func stopInstances(c *call, in stopRequest) (stateChanges, error) {
	return c.setState(in.instancesRequest, world.Stopped, "stopping")
}

func startInstances(c *call, in instancesRequest) (stateChanges, error) {
	return c.setState(in, world.Running, "pending")
}

// setState answers with the state on the way, as EC2 does.
func (c *call) setState(in instancesRequest, to world.InstanceState, meanwhile string) (out stateChanges, err error) {
	if err := in.end(); err != nil {
		return out, err
	}
	before, err := c.world.SetInstanceState(in.InstanceIds, to)
	for _, i := range before {
		change := stateChange{i.ID, ec2State(meanwhile), ec2State(string(i.State))}
		if i.State == to {
			change.Now = change.Before
		}
		out.Instances = append(out.Instances, change)
	}
	return out, err
}
