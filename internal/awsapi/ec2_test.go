package awsapi_test

import (
	"encoding/xml"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/rediam/rediam/internal/world"
)

const trustsEC2 = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`

// withProfile is an endpoint with a role web-role in an instance profile web.
func withProfile(t testing.TB) endpoint {
	t.Helper()
	e := serve(t)
	if err := e.world.PutRole(world.Role{Name: "web-role", Trust: trustsEC2}); err != nil {
		t.Fatal(err)
	}
	if _, err := e.world.CreateInstanceProfile(world.InstanceProfile{Name: "web"}); err != nil {
		t.Fatal(err)
	}
	if err := e.world.AddRoleToInstanceProfile("web", "web-role"); err != nil {
		t.Fatal(err)
	}
	return e
}

// ec2 calls an operation; parameters are name, value, name, value.
func (e endpoint) ec2(t testing.TB, action string, parameters ...string) answer {
	t.Helper()
	form := url.Values{"Action": {action}, "Version": {"2016-11-15"}}
	for i := 0; i+1 < len(parameters); i += 2 {
		form.Set(parameters[i], parameters[i+1])
	}
	return e.call(t, "ec2", form.Encode(), "")
}

// wantEC2 wants an error of EC2.
func (a answer) wantEC2(t testing.TB, what string, status int, code, message string) {
	t.Helper()
	var got struct {
		XMLName   xml.Name                       `xml:"Response"`
		Error     struct{ Code, Message string } `xml:"Errors>Error"`
		RequestID string
	}
	if err := xml.Unmarshal([]byte(a.body), &got); err != nil {
		t.Errorf("%s: %v in %s", what, err, a.body)
	}
	if a.status != status || got.Error.Code != code || !strings.Contains(got.Error.Message, message) || got.RequestID != a.header.Get("X-Amzn-Requestid") {
		t.Errorf("%s: %d %s, want %d %s: …%s…", what, a.status, a.body, status, code, message)
	}
}

// found gives what the first group of a pattern matches in an answer.
func (a answer) found(t testing.TB, pattern string) string {
	t.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(a.body)
	if a.status != 200 || m == nil {
		t.Fatalf("%d %s has no %s", a.status, a.body, pattern)
	}
	return m[1]
}

func TestAnInstanceInEC2sProtocol(t *testing.T) {
	e := withProfile(t)
	launch := []string{"ImageId", "ami-1", "InstanceType", "t3.micro", "MinCount", "1", "MaxCount", "1", "ClientToken", "one", "IamInstanceProfile.Name", "web",
		"TagSpecification.1.ResourceType", "instance", "TagSpecification.1.Tag.1.Key", "Name", "TagSpecification.1.Tag.1.Value", "a <b>"}
	a := e.ec2(t, "RunInstances", launch...)
	id := a.found(t, "<instanceId>(i-[0-9a-f]{17})</instanceId>")
	profile, _ := e.world.InstanceProfile("web")
	here := e.world.Network()
	reservation := a.found(t, "<reservationId>(r-[0-9a-f]{17})</reservationId>")
	instance := func(state string) string {
		i, _ := e.world.Instance(id)
		return "<reservationId>" + reservation + "</reservationId><ownerId>123456789012</ownerId><groupSet></groupSet><instancesSet><item><instanceId>" + id + "</instanceId><imageId>ami-1</imageId>" +
			"<instanceState>" + state + "</instanceState><privateDnsName>ip-172-31-0-4.ec2.internal</privateDnsName><amiLaunchIndex>0</amiLaunchIndex><instanceType>t3.micro</instanceType>" +
			"<launchTime>" + i.Launched.Format("2006-01-02T15:04:05.000Z") + "</launchTime><placement><availabilityZone>us-east-1a</availabilityZone><tenancy>default</tenancy></placement>" +
			"<monitoring><state>disabled</state></monitoring><subnetId>" + here.Subnet + "</subnetId><vpcId>" + here.VPC + "</vpcId><privateIpAddress>172.31.0.4</privateIpAddress>" +
			"<architecture>x86_64</architecture><clientToken>one</clientToken><iamInstanceProfile><arn>arn:aws:iam::123456789012:instance-profile/web</arn><id>" + profile.ID + "</id></iamInstanceProfile>" +
			"<groupSet><item><groupId>" + here.Group + "</groupId><groupName>default</groupName></item></groupSet><tagSet><item><key>Name</key><value>a &lt;b&gt;</value></item></tagSet>" +
			"<metadataOptions><state>applied</state><httpTokens>required</httpTokens><httpPutResponseHopLimit>2</httpPutResponseHopLimit><httpEndpoint>enabled</httpEndpoint><instanceMetadataTags>disabled</instanceMetadataTags></metadataOptions>" +
			"</item></instancesSet>"
	}
	wrapped := func(a answer, action, content string) {
		t.Helper()
		want := "<" + action + `Response xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>` + a.header.Get("X-Amzn-Requestid") + "</requestId>" + content + "</" + action + "Response>"
		if a.status != 200 || a.body != want {
			t.Errorf("%d %s\nwant %s", a.status, a.body, want)
		}
	}
	wrapped(a, "RunInstances", instance("<code>0</code><name>pending</name>"))
	wrapped(e.ec2(t, "RunInstances", launch...), "RunInstances", instance("<code>0</code><name>pending</name>")) // the same again
	wrapped(e.ec2(t, "DescribeInstances"), "DescribeInstances", "<reservationSet><item>"+instance("<code>16</code><name>running</name>")+"</item></reservationSet>")
	change := func(action, before, now string) {
		t.Helper()
		wrapped(e.ec2(t, action, "InstanceId.1", id), action, "<instancesSet><item><instanceId>"+id+"</instanceId><currentState>"+now+"</currentState><previousState>"+before+"</previousState></item></instancesSet>")
	}
	change("StartInstances", "<code>16</code><name>running</name>", "<code>16</code><name>running</name>")
	change("StopInstances", "<code>16</code><name>running</name>", "<code>64</code><name>stopping</name>")
	change("StartInstances", "<code>80</code><name>stopped</name>", "<code>0</code><name>pending</name>")
	change("TerminateInstances", "<code>16</code><name>running</name>", "<code>32</code><name>shutting-down</name>")
	change("TerminateInstances", "<code>48</code><name>terminated</name>", "<code>48</code><name>terminated</name>")
	a = e.ec2(t, "DescribeInstances", "InstanceId.1", id)
	a.found(t, "<instanceState><code>48</code><name>(terminated)</name></instanceState>")
	if strings.Contains(a.body, "iamInstanceProfile") || strings.Contains(a.body, "privateIpAddress") {
		t.Errorf("a terminated instance: %s", a.body)
	}
}

func TestFiltersAndPagesOfInstances(t *testing.T) {
	e := withProfile(t)
	e.ec2(t, "RunInstances", "ImageId", "ami-1", "MinCount", "6", "MaxCount", "6")
	a := e.ec2(t, "RunInstances", "ImageId", "ami-2", "MinCount", "1", "MaxCount", "1", "IamInstanceProfile.Arn", "arn:aws:iam::123456789012:instance-profile/web",
		"TagSpecification.1.ResourceType", "instance", "TagSpecification.1.Tag.1.Key", "env", "TagSpecification.1.Tag.1.Value", "test/a", "TagSpecification.1.Tag.2.Key", "empty")
	id := a.found(t, "<instanceId>(.*?)</instanceId>")
	one := func(name, value string, want bool) {
		t.Helper()
		a := e.ec2(t, "DescribeInstances", "Filter.1.Name", name, "Filter.1.Value.1", "nothing", "Filter.1.Value.2", value)
		if n := strings.Count(a.body, "<instanceId>"); a.status != 200 || want && (n != 1 || !strings.Contains(a.body, id)) || !want && n != 0 {
			t.Errorf("%s=%s: %d %s", name, value, a.status, a.body)
		}
	}
	for _, f := range [][2]string{{"instance-id", id}, {"tag:env", "test/a"}, {"tag:env", "t*"}, {"tag:env", "test?a"}, {"tag:env", "*"}, {"tag:empty", ""}, {"tag-key", "env"}, {"image-id", "ami-2"},
		{"iam-instance-profile.arn", "arn:aws:iam::123456789012:instance-profile/web"}, {"private-ip-address", "172.31.0.10"}} {
		one(f[0], f[1], true)
	}
	for _, f := range [][2]string{{"instance-state-name", "stopped"}, {"tag:env", "[t]est/a"}, {"tag:env", `\`}, {"tag:other", "*"}, {"instance-type", "t3.micro"}, {"vpc-id", "vpc-1"}} {
		one(f[0], f[1], false)
	}
	e.ec2(t, "DescribeInstances", "Filter.1.Name", "colour", "Filter.1.Value.1", "red").wantEC2(t, "an unknown filter", 400, "InvalidParameterValue", "The filter 'colour' is invalid")

	seen, token := map[string]bool{}, ""
	for range 2 {
		parameters := []string{"MaxResults", "5"}
		if token != "" {
			parameters = append(parameters, "NextToken", token)
		}
		a := e.ec2(t, "DescribeInstances", parameters...)
		for _, m := range regexp.MustCompile("<instanceId>(.*?)</instanceId>").FindAllStringSubmatch(a.body, -1) {
			seen[m[1]] = true
		}
		_, after, _ := strings.Cut(a.body, "<nextToken>")
		token, _, _ = strings.Cut(after, "</nextToken>")
	}
	if len(seen) != 7 || token != "" {
		t.Errorf("two pages have %d instances; another token %q", len(seen), token)
	}
	e.ec2(t, "DescribeInstances", "MaxResults", "4").wantEC2(t, "a page of four", 400, "InvalidParameterValue", "MaxResults")
	e.ec2(t, "DescribeInstances", "NextToken", "!").wantEC2(t, "a token that is none", 400, "InvalidPaginationToken", "")
	e.ec2(t, "DescribeInstances", "MaxResults", "5", "InstanceId.1", id).wantEC2(t, "a page of chosen ones", 400, "InvalidParameterCombination", "maxResults")
	a = e.ec2(t, "DescribeTags", "Filter.1.Name", "resource-id", "Filter.1.Value.1", id)
	a.found(t, "<tagSet><item><key>(empty)</key><resourceId>"+id+"</resourceId><resourceType>instance</resourceType><value></value></item><item><key>env</key>")
}

// Instances are launched, stopped and ended also if their metadata services do not follow.
func TestAChangeOfInstancesThatIsNotFollowedIsAnswered(t *testing.T) {
	e := withProfile(t)
	e.world.OnChange(func() error { return errors.New("no port is free") })
	id := e.ec2(t, "RunInstances", "ImageId", "ami-1", "MinCount", "1", "MaxCount", "1").found(t, "<instanceId>(i-.*?)</instanceId>")
	for _, change := range [][2]string{{"StopInstances", "stopping"}, {"StartInstances", "pending"}, {"TerminateInstances", "shutting-down"}} {
		e.ec2(t, change[0], "InstanceId.1", id).found(t, "<instanceId>("+id+")</instanceId><currentState><code>[0-9]+</code><name>("+change[1]+")</name>")
	}
}

func TestOnlyInstancesThatRunHaveAStatus(t *testing.T) {
	e := withProfile(t)
	run := e.ec2(t, "RunInstances", "ImageId", "ami-1", "MinCount", "2", "MaxCount", "2")
	ids := regexp.MustCompile("<instanceId>(.*?)</instanceId>").FindAllStringSubmatch(run.body, -1)
	up, stopped := ids[0][1], ids[1][1]
	e.ec2(t, "StopInstances", "InstanceId.1", stopped).found(t, "<name>(stopping)</name>")
	status := func(id, zone, code, state, checks string) string {
		return "<item><instanceId>" + id + "</instanceId><availabilityZone>" + zone + "</availabilityZone><instanceState><code>" + code + "</code><name>" + state + "</name></instanceState>" +
			"<instanceStatus>" + checks + "</instanceStatus><systemStatus>" + checks + "</systemStatus></item>"
	}
	well := status(up, "us-east-1a", "16", "running", "<status>ok</status><details><item><name>reachability</name><status>passed</status></item></details>")
	not := status(stopped, "us-east-1a", "80", "stopped", "<status>not-applicable</status>")
	for what, test := range map[string]struct {
		parameters []string
		want       string
	}{
		"all that run":        {nil, well},
		"one that does not":   {[]string{"InstanceId.1", stopped}, ""},
		"one, asked for":      {[]string{"InstanceId.1", stopped, "IncludeAllInstances", "true"}, not},
		"those that are well": {[]string{"IncludeAllInstances", "true", "Filter.1.Name", "instance-status.status", "Filter.1.Value.1", "ok"}, well},
		"those that stopped":  {[]string{"IncludeAllInstances", "true", "Filter.1.Name", "instance-state-name", "Filter.1.Value.1", "stopped"}, not},
		"in another zone":     {[]string{"Filter.1.Name", "availability-zone", "Filter.1.Value.1", "us-east-1b"}, ""},
	} {
		if a := e.ec2(t, "DescribeInstanceStatus", test.parameters...); a.status != 200 || !strings.Contains(a.body, "<instanceStatusSet>"+test.want+"</instanceStatusSet>") {
			t.Errorf("%s: %d %s", what, a.status, a.body)
		}
	}
	e.ec2(t, "DescribeInstanceStatus", "InstanceId.1", up, "MaxResults", "5").wantEC2(t, "a page of chosen ones", 400, "InvalidParameterCombination", "maxResults")
	e.ec2(t, "DescribeInstanceStatus", "InstanceId.1", "i-0123456789abcdef0").wantEC2(t, "none such", 400, "InvalidInstanceID.NotFound", "i-0123456789abcdef0")
	e.ec2(t, "DescribeInstanceStatus", "DryRun", "true").wantEC2(t, "a dry run", 412, "DryRunOperation", "")
}

func TestInstanceProfileAssociationsInEC2sProtocol(t *testing.T) {
	e := withProfile(t)
	id := e.ec2(t, "RunInstances", "ImageId", "ami-1", "MinCount", "1", "MaxCount", "1").found(t, "<instanceId>(.*?)</instanceId>")
	profile, _ := e.world.InstanceProfile("web")
	const pattern = "<iamInstanceProfileAssociation><associationId>(iip-assoc-[0-9a-f]{17})</associationId><instanceId>%s</instanceId><iamInstanceProfile><arn>arn:aws:iam::123456789012:instance-profile/web</arn><id>%s</id></iamInstanceProfile><state>%s</state><timestamp>[0-9TZ:.-]+</timestamp></iamInstanceProfileAssociation>"
	first := e.ec2(t, "AssociateIamInstanceProfile", "InstanceId", id, "IamInstanceProfile.Name", "web").found(t, fmt.Sprintf(pattern, id, profile.ID, "associating"))
	e.ec2(t, "AssociateIamInstanceProfile", "InstanceId", id, "IamInstanceProfile.Name", "web").wantEC2(t, "a second", 400, "IncorrectState", "There is an existing association for instance "+id)
	e.ec2(t, "DescribeIamInstanceProfileAssociations", "Filter.1.Name", "instance-id", "Filter.1.Value.1", id).found(t, "<iamInstanceProfileAssociationSet><item><associationId>("+first+")</associationId>.*<state>associated</state>")
	second := e.ec2(t, "ReplaceIamInstanceProfileAssociation", "AssociationId", first, "IamInstanceProfile.Arn", "arn:aws:iam::123456789012:instance-profile/web").found(t, fmt.Sprintf(pattern, id, profile.ID, "associating"))
	e.ec2(t, "DisassociateIamInstanceProfile", "AssociationId", first).wantEC2(t, "one that is over", 400, "InvalidAssociationID.NotFound", first)
	e.ec2(t, "DisassociateIamInstanceProfile", "AssociationId", second).found(t, fmt.Sprintf(pattern, id, profile.ID, "disassociating"))
	e.ec2(t, "DescribeIamInstanceProfileAssociations").found(t, "(<iamInstanceProfileAssociationSet></iamInstanceProfileAssociationSet>)")
}

func TestEC2RefusesInItsOwnWords(t *testing.T) {
	e := withProfile(t)
	run := func(more ...string) answer {
		t.Helper()
		return e.ec2(t, "RunInstances", append([]string{"ImageId", "ami-1", "MinCount", "1", "MaxCount", "1"}, more...)...)
	}
	run("DryRun", "true").wantEC2(t, "a dry run", 412, "DryRunOperation", "Request would have succeeded, but DryRun flag is set.")
	run("IamInstanceProfile.Name", "none").wantEC2(t, "no profile", 400, "InvalidParameterValue", "Value (none) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name")
	run("IamInstanceProfile.Arn", "arn:aws:iam::123456789012:instance-profile/x/web").wantEC2(t, "no profile by its ARN", 400, "InvalidParameterValue", "iamInstanceProfile.arn is invalid. Invalid IAM Instance Profile ARN")
	run("IamInstanceProfile.Arn", "x", "IamInstanceProfile.Name", "web").wantEC2(t, "two names", 400, "InvalidParameterCombination", "may not be used in combination")
	run("MinCount", "2").wantEC2(t, "less than the least", 400, "InvalidParameterValue", "MinCount")
	run("EbsOptimized", "true").wantEC2(t, "a member that is not here", 400, "InvalidParameterValue", "EbsOptimized")
	run("TagSpecification.1.ResourceType", "vpc").wantEC2(t, "tags of something else", 400, "InvalidParameterValue", "'vpc' is not a valid taggable resource type for this operation.")
	e.ec2(t, "RunInstances", "MinCount", "1", "MaxCount", "1").wantEC2(t, "no image", 400, "MissingParameter", "ImageId")
	e.ec2(t, "TerminateInstances", "InstanceId.1", "i-0123456789abcdef0").wantEC2(t, "no such instance", 400, "InvalidInstanceID.NotFound", "The instance ID 'i-0123456789abcdef0' does not exist")
	e.ec2(t, "TerminateInstances", "InstanceId.1", "x").wantEC2(t, "no id", 400, "InvalidInstanceID.Malformed", `Invalid id: "x"`)
	e.ec2(t, "CreateTags", "ResourceId.1", "vpc-1", "Tag.1.Key", "a").wantEC2(t, "tags of a VPC", 400, "InvalidID", "vpc-1")
	e.ec2(t, "AssociateIamInstanceProfile", "InstanceId", "i-0123456789abcdef0").wantEC2(t, "no profile named", 400, "MissingParameter", "IamInstanceProfile")
	if n := len(e.world.Instances()); n != 0 {
		t.Errorf("%d instances", n)
	}
}

// Whoever hands a role to an instance must be allowed to pass it, by EC2.
func TestARoleIsPassedToEC2WithPermissionOnly(t *testing.T) {
	e := withProfile(t)
	const pass = `{"Effect":"Allow","Action":"iam:PassRole","Resource":"arn:aws:iam::123456789012:role/web-role","Condition":{"StringEquals":{"iam:PassedToService":"%s"}}}`
	as := func(statements ...string) endpoint {
		t.Helper()
		document := `{"Version":"2012-10-17","Statement":[` + strings.Join(append(statements, `{"Effect":"Allow","Action":"ec2:*","Resource":"*"}`), ",") + `]}`
		if err := e.world.PutIAMUser(world.IAMUser{Name: "launcher", Inline: map[string]string{"own": document}}); err != nil {
			t.Fatal(err)
		}
		k, err := e.world.CreateAccessKey("launcher")
		if err != nil {
			t.Fatal(err)
		}
		other := e
		other.key = k
		return other
	}
	run := func(e endpoint, more ...string) answer {
		return e.ec2(t, "RunInstances", append([]string{"ImageId", "ami-1", "MinCount", "1", "MaxCount", "1", "IamInstanceProfile.Name", "web"}, more...)...)
	}
	const message = "You are not authorized to perform this operation. User: arn:aws:iam::123456789012:user/launcher is not authorized to perform: iam:PassRole on resource: arn:aws:iam::123456789012:role/web-role because no identity-based policy allows the iam:PassRole action"
	run(as()).wantEC2(t, "no permission to pass", 403, "UnauthorizedOperation", message)
	run(as(), "DryRun", "true").wantEC2(t, "a dry run without it", 403, "UnauthorizedOperation", message)
	run(as(fmt.Sprintf(pass, "ecs.amazonaws.com"))).wantEC2(t, "permission for another service", 403, "UnauthorizedOperation", message)
	allowed := as(fmt.Sprintf(pass, "ec2.amazonaws.com"))
	run(allowed, "DryRun", "true").wantEC2(t, "a dry run", 412, "DryRunOperation", "")
	id := run(allowed).found(t, "<instanceId>(.*?)</instanceId>")
	association := e.ec2(t, "DescribeIamInstanceProfileAssociations").found(t, "<associationId>(.*?)</associationId>")
	as().ec2(t, "ReplaceIamInstanceProfileAssociation", "AssociationId", association, "IamInstanceProfile.Name", "web").wantEC2(t, "replace", 403, "UnauthorizedOperation", message)
	as().ec2(t, "DisassociateIamInstanceProfile", "AssociationId", association).found(t, "<state>(disassociating)</state>")
	as().ec2(t, "AssociateIamInstanceProfile", "InstanceId", id, "IamInstanceProfile.Name", "web").wantEC2(t, "associate", 403, "UnauthorizedOperation", message)

	denied := as(`{"Effect":"Deny","Action":"ec2:TerminateInstances","Resource":"arn:aws:ec2:us-east-1:123456789012:instance/` + id + `"}`)
	denied.ec2(t, "TerminateInstances", "InstanceId.1", id).wantEC2(t, "terminate", 403, "UnauthorizedOperation", "ec2:TerminateInstances on resource: arn:aws:ec2:us-east-1:123456789012:instance/"+id+" with an explicit deny")
}

func TestTheDefaultVPCInEC2sProtocol(t *testing.T) {
	e := serve(t)
	here := e.world.Network()
	vpc := e.ec2(t, "DescribeVpcs", "Filter.1.Name", "is-default", "Filter.1.Value.1", "true").found(t, "<vpcSet><item><vpcId>(.*?)</vpcId>.*<isDefault>true</isDefault>")
	subnet := e.ec2(t, "DescribeSubnets", "Filter.1.Name", "vpc-id", "Filter.1.Value.1", vpc).found(t, "<subnetSet><item><subnetId>(.*?)</subnetId>.*<availabilityZone>us-east-1a</availabilityZone><availableIpAddressCount>4091</availableIpAddressCount>")
	group := e.ec2(t, "DescribeSecurityGroups", "Filter.1.Name", "group-name", "Filter.1.Value.1", "default", "GroupName.1", "default").found(t, "<groupId>(.*?)</groupId><groupName>default</groupName>")
	if here.VPC != vpc || here.Subnet != subnet || here.Group != group {
		t.Errorf("%s %s %s, want %+v", vpc, subnet, group, here)
	}
	e.call(t, "elasticache", "Action=CreateCacheSubnetGroup&CacheSubnetGroupName=n&CacheSubnetGroupDescription=d&SubnetIds.SubnetIdentifier.1="+subnet, "").found(t, "<VpcId>("+vpc+")</VpcId>")
	e.call(t, "memorydb", `{"SubnetGroupName":"n","SubnetIds":["`+subnet+`"]}`, "AmazonMemoryDB.CreateSubnetGroup").found(t, `"VpcId":"(`+vpc+`)"`)
	e.ec2(t, "RunInstances", "ImageId", "resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64", "MinCount", "1", "MaxCount", "1", "SubnetId", subnet, "SecurityGroupId.1", group).found(t, "<imageId>(ami-[0-9a-f]{17})</imageId>")
	e.ec2(t, "DescribeSubnets", "SubnetId.1", subnet).found(t, "<availableIpAddressCount>(4090)</availableIpAddressCount>")
	e.ec2(t, "DescribeVpcs", "Filter.1.Name", "vpc-id", "Filter.1.Value.1", "vpc-1").found(t, "(<vpcSet></vpcSet>)")
	e.ec2(t, "DescribeVpcs", "VpcId.1", "vpc-1").wantEC2(t, "another VPC", 400, "InvalidVpcID.NotFound", "The vpc ID 'vpc-1' does not exist")
	e.ec2(t, "DescribeSubnets", "SubnetId.1", "subnet-1").wantEC2(t, "another subnet", 400, "InvalidSubnetID.NotFound", "The subnet ID 'subnet-1' does not exist")
	e.ec2(t, "DescribeSecurityGroups", "GroupId.1", "sg-1").wantEC2(t, "another group", 400, "InvalidGroup.NotFound", "The security group 'sg-1' does not exist")
	e.ec2(t, "DescribeSecurityGroups", "GroupName.1", "web").wantEC2(t, "a group of another name", 400, "InvalidGroup.NotFound", "The security group 'web' does not exist")
	e.ec2(t, "DescribeSubnets", "Filter.1.Name", "colour", "Filter.1.Value.1", "red").wantEC2(t, "an unknown filter", 400, "InvalidParameterValue", "'colour'")
}

func TestTagsInEC2sProtocol(t *testing.T) {
	e := serve(t)
	id := e.ec2(t, "RunInstances", "ImageId", "ami-1", "MinCount", "1", "MaxCount", "1").found(t, "<instanceId>(.*?)</instanceId>")
	tags := func(want string) {
		t.Helper()
		a := e.ec2(t, "DescribeInstances", "InstanceId.1", id)
		_, after, _ := strings.Cut(a.body, "<tagSet>")
		if got, _, _ := strings.Cut(after, "</tagSet>"); got != want {
			t.Errorf("tags %s, want %s", got, want)
		}
	}
	tags("")
	e.ec2(t, "CreateTags", "ResourceId.1", id, "Tag.1.Key", "a", "Tag.1.Value", "1", "Tag.2.Key", "b").found(t, "<return>(true)</return>")
	tags("<item><key>a</key><value>1</value></item><item><key>b</key><value></value></item>")
	e.ec2(t, "DeleteTags", "ResourceId.1", id, "Tag.1.Key", "a", "Tag.1.Value", "2", "Tag.2.Key", "b").found(t, "<return>(true)</return>")
	tags("<item><key>a</key><value>1</value></item>")
	e.ec2(t, "DeleteTags", "ResourceId.1", id).found(t, "<return>(true)</return>")
	tags("")
}
