package clients_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/smithy-go"
	"github.com/rediam/rediam/emulator"
)

// An account is the emulator as its administrator sees it through the Go SDK.
type account struct {
	srv *emulator.Server
	ec2 *ec2.Client
	iam *iam.Client
}

// newAccount has an instance profile web with the default role.
func newAccount(t *testing.T) account {
	t.Helper()
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	k, err := srv.CreateAccessKey(emulator.AdminUser)
	must(t, err)
	a := account{srv,
		ec2.New(ec2.Options{Region: srv.Region(), BaseEndpoint: aws.String(srv.URL()), Credentials: emulator.KeyCredentials(k), RetryMaxAttempts: 1}),
		iam.New(iam.Options{Region: srv.Region(), BaseEndpoint: aws.String(srv.URL()), Credentials: emulator.KeyCredentials(k), RetryMaxAttempts: 1})}
	_, err = a.iam.CreateInstanceProfile(t.Context(), &iam.CreateInstanceProfileInput{InstanceProfileName: aws.String("web")})
	must(t, err)
	a.addRole(t)
	return a
}

func (a account) addRole(t *testing.T) {
	t.Helper()
	_, err := a.iam.AddRoleToInstanceProfile(t.Context(), &iam.AddRoleToInstanceProfileInput{InstanceProfileName: aws.String("web"), RoleName: aws.String(emulator.DefaultRole)})
	must(t, err)
}

func (a account) removeRole(t *testing.T) {
	t.Helper()
	_, err := a.iam.RemoveRoleFromInstanceProfile(t.Context(), &iam.RemoveRoleFromInstanceProfileInput{InstanceProfileName: aws.String("web"), RoleName: aws.String(emulator.DefaultRole)})
	must(t, err)
}

// run launches one instance, with what change puts into the request.
func (a account) run(t *testing.T, change func(*ec2.RunInstancesInput)) types.Instance {
	t.Helper()
	in := &ec2.RunInstancesInput{ImageId: aws.String("ami-1"), InstanceType: types.InstanceTypeT3Micro, MinCount: aws.Int32(1), MaxCount: aws.Int32(1)}
	change(in)
	out, err := a.ec2.RunInstances(t.Context(), in)
	must(t, err)
	if len(out.Instances) != 1 || out.Instances[0].State.Name != types.InstanceStateNamePending {
		t.Fatalf("launched %+v", out.Instances)
	}
	return out.Instances[0]
}

func (a account) describe(t *testing.T, id string) types.Instance {
	t.Helper()
	out, err := a.ec2.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
	must(t, err)
	if len(out.Reservations) != 1 || len(out.Reservations[0].Instances) != 1 {
		t.Fatalf("instance %s: %+v", id, out.Reservations)
	}
	return out.Reservations[0].Instances[0]
}

// endpoint is where an instance's tags say that its metadata are.
func endpoint(i types.Instance) string {
	for _, tag := range i.Tags {
		if *tag.Key == "rediam:metadata-endpoint" {
			return *tag.Value
		}
	}
	return ""
}

// fetch asks a metadata service, with a token if one is wanted.
func fetch(t *testing.T, endpoint, path string, session bool) (status int, body string) {
	t.Helper()
	ask := func(method, path, header, value string) (int, string) {
		r, err := http.NewRequestWithContext(t.Context(), method, endpoint+path, nil)
		must(t, err)
		r.Header.Set(header, value)
		response, err := http.DefaultClient.Do(r)
		must(t, err)
		defer response.Body.Close()
		content, err := io.ReadAll(response.Body)
		must(t, err)
		return response.StatusCode, string(content)
	}
	token := ""
	if session {
		_, token = ask("PUT", "latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds", "60")
	}
	return ask("GET", "latest/"+path, "X-aws-ec2-metadata-token", token)
}

const roles = "meta-data/iam/security-credentials/"

func wantCode(t *testing.T, what string, err error, code string) {
	t.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != code {
		t.Errorf("%s: %v, want %s", what, err, code)
	}
}

func TestTheSDKRunsAnInstanceFromLaunchToEnd(t *testing.T) {
	a := newAccount(t)
	vpcs, err := a.ec2.DescribeVpcs(t.Context(), &ec2.DescribeVpcsInput{Filters: []types.Filter{{Name: aws.String("is-default"), Values: []string{"true"}}}})
	must(t, err)
	subnets, err := a.ec2.DescribeSubnets(t.Context(), &ec2.DescribeSubnetsInput{Filters: []types.Filter{{Name: aws.String("vpc-id"), Values: []string{*vpcs.Vpcs[0].VpcId}}}})
	must(t, err)
	groups, err := a.ec2.DescribeSecurityGroups(t.Context(), &ec2.DescribeSecurityGroupsInput{GroupNames: []string{"default"}})
	must(t, err)
	id := *a.run(t, func(in *ec2.RunInstancesInput) {
		in.SubnetId, in.SecurityGroupIds, in.KeyName = subnets.Subnets[0].SubnetId, []string{*groups.SecurityGroups[0].GroupId}, aws.String("key")
		in.IamInstanceProfile = &types.IamInstanceProfileSpecification{Name: aws.String("web")}
		in.TagSpecifications = []types.TagSpecification{{ResourceType: types.ResourceTypeInstance, Tags: []types.Tag{{Key: aws.String("Name"), Value: aws.String("app")}}}}
	}).InstanceId
	must(t, ec2.NewInstanceRunningWaiter(a.ec2).Wait(t.Context(), &ec2.DescribeInstancesInput{InstanceIds: []string{id}}, time.Minute))
	i := a.describe(t, id)
	if *i.IamInstanceProfile.Arn != "arn:aws:iam::123456789012:instance-profile/web" || *i.SubnetId != *subnets.Subnets[0].SubnetId || *i.PrivateIpAddress == "" || i.LaunchTime.IsZero() || len(i.Tags) != 2 {
		t.Errorf("instance %+v", i)
	}
	if endpoint(i) != a.srv.MetadataURL(id) || endpoint(i) == "" {
		t.Errorf("metadata at %q, want %q", endpoint(i), a.srv.MetadataURL(id))
	}
	_, err = a.ec2.StopInstances(t.Context(), &ec2.StopInstancesInput{InstanceIds: []string{id}})
	must(t, err)
	if i := a.describe(t, id); i.State.Name != types.InstanceStateNameStopped || endpoint(i) != "" {
		t.Errorf("stopped: %s, metadata at %q", i.State.Name, endpoint(i))
	}
	_, err = a.ec2.StartInstances(t.Context(), &ec2.StartInstancesInput{InstanceIds: []string{id}})
	must(t, err)
	if _, body := fetch(t, endpoint(a.describe(t, id)), roles, true); body != emulator.DefaultRole {
		t.Errorf("started again, it has the role %q", body)
	}
	_, err = a.ec2.TerminateInstances(t.Context(), &ec2.TerminateInstancesInput{InstanceIds: []string{id}})
	must(t, err)
	must(t, ec2.NewInstanceTerminatedWaiter(a.ec2).Wait(t.Context(), &ec2.DescribeInstancesInput{InstanceIds: []string{id}}, time.Minute))
	_, err = a.ec2.StartInstances(t.Context(), &ec2.StartInstancesInput{InstanceIds: []string{id}})
	wantCode(t, "start a terminated instance", err, "IncorrectInstanceState")
	_, err = a.ec2.TerminateInstances(t.Context(), &ec2.TerminateInstancesInput{InstanceIds: []string{"i-0123456789abcdef0"}})
	wantCode(t, "terminate none", err, "InvalidInstanceID.NotFound")
	_, err = a.ec2.RunInstances(t.Context(), &ec2.RunInstancesInput{ImageId: aws.String("ami-1"), MinCount: aws.Int32(1), MaxCount: aws.Int32(1), DryRun: aws.Bool(true)})
	wantCode(t, "a dry run", err, "DryRunOperation")
}

// A role that is taken away, or a profile, counts at the next request.
func TestARoleGoesWithItsProfile(t *testing.T) {
	a := newAccount(t)
	id := *a.run(t, func(*ec2.RunInstancesInput) {}).InstanceId
	url := endpoint(a.describe(t, id))
	want := func(what string, role string) {
		t.Helper()
		status, body := fetch(t, url, roles, true)
		if role == "" && status != 404 || role != "" && (status != 200 || body != role) {
			t.Errorf("%s: %d %q, want %q", what, status, body, role)
		}
	}
	want("no profile", "")
	made, err := a.ec2.AssociateIamInstanceProfile(t.Context(), &ec2.AssociateIamInstanceProfileInput{InstanceId: aws.String(id), IamInstanceProfile: &types.IamInstanceProfileSpecification{Name: aws.String("web")}})
	must(t, err)
	want("a profile", emulator.DefaultRole)
	a.removeRole(t)
	want("a profile without a role", "")
	if status, body := fetch(t, url, roles+emulator.DefaultRole, true); status != 404 {
		t.Errorf("the credentials of the role that was taken away: %d, %d bytes", status, len(body))
	}
	a.addRole(t)
	want("the role again", emulator.DefaultRole)
	replaced, err := a.ec2.ReplaceIamInstanceProfileAssociation(t.Context(), &ec2.ReplaceIamInstanceProfileAssociationInput{AssociationId: made.IamInstanceProfileAssociation.AssociationId,
		IamInstanceProfile: &types.IamInstanceProfileSpecification{Arn: aws.String("arn:aws:iam::123456789012:instance-profile/web")}})
	must(t, err)
	list, err := a.ec2.DescribeIamInstanceProfileAssociations(t.Context(), &ec2.DescribeIamInstanceProfileAssociationsInput{})
	must(t, err)
	if len(list.IamInstanceProfileAssociations) != 1 || *list.IamInstanceProfileAssociations[0].AssociationId != *replaced.IamInstanceProfileAssociation.AssociationId {
		t.Errorf("associations %+v", list.IamInstanceProfileAssociations)
	}
	_, err = a.ec2.DisassociateIamInstanceProfile(t.Context(), &ec2.DisassociateIamInstanceProfileInput{AssociationId: replaced.IamInstanceProfileAssociation.AssociationId})
	must(t, err)
	want("no profile any more", "")
	_, err = a.ec2.AssociateIamInstanceProfile(t.Context(), &ec2.AssociateIamInstanceProfileInput{InstanceId: aws.String(id), IamInstanceProfile: &types.IamInstanceProfileSpecification{Name: aws.String("web")}})
	must(t, err)
	_, err = a.iam.UpdateAssumeRolePolicy(t.Context(), &iam.UpdateAssumeRolePolicyInput{RoleName: aws.String(emulator.DefaultRole),
		PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ecs-tasks.amazonaws.com"},"Action":"sts:AssumeRole"}]}`)})
	must(t, err)
	if status, body := fetch(t, url, roles+emulator.DefaultRole, true); status != 200 || !strings.Contains(body, `"Code": "AssumeRoleUnauthorizedAccess"`) || strings.Contains(body, "SecretAccessKey") {
		t.Errorf("a role that does not trust EC2: %d %s", status, body)
	}
	a.removeRole(t)
	_, err = a.iam.DeleteInstanceProfile(t.Context(), &iam.DeleteInstanceProfileInput{InstanceProfileName: aws.String("web")})
	must(t, err)
	if _, body := fetch(t, url, "meta-data/iam/info", true); !strings.Contains(body, `"Code": "InstanceProfileNotFound"`) {
		t.Errorf("iam/info of a profile that is gone: %s", body)
	}
}

func TestMetadataOptions(t *testing.T) {
	a := newAccount(t)
	with := func(o types.InstanceMetadataOptionsRequest) types.Instance {
		t.Helper()
		return a.describe(t, *a.run(t, func(in *ec2.RunInstancesInput) {
			in.MetadataOptions, in.UserData = &o, aws.String("IyEvYmluL3NoCg==")
			in.TagSpecifications = []types.TagSpecification{{ResourceType: types.ResourceTypeInstance, Tags: []types.Tag{{Key: aws.String("Name"), Value: aws.String("app")}}}}
		}).InstanceId)
	}
	i := with(types.InstanceMetadataOptionsRequest{HttpTokens: types.HttpTokensStateOptional, InstanceMetadataTags: types.InstanceMetadataTagsStateEnabled, HttpPutResponseHopLimit: aws.Int32(1)})
	if i.MetadataOptions.HttpTokens != types.HttpTokensStateOptional || *i.MetadataOptions.HttpPutResponseHopLimit != 1 {
		t.Errorf("options %+v", i.MetadataOptions)
	}
	for path, want := range map[string]string{"meta-data/instance-id": *i.InstanceId, "user-data": "#!/bin/sh\n", "meta-data/tags/instance/": "Name", "meta-data/tags/instance/Name": "app"} {
		for _, session := range []bool{false, true} {
			if status, body := fetch(t, endpoint(i), path, session); status != 200 || body != want {
				t.Errorf("%s: %d %q, want %q", path, status, body, want)
			}
		}
	}
	i = with(types.InstanceMetadataOptionsRequest{HttpTokens: types.HttpTokensStateRequired})
	if status, _ := fetch(t, endpoint(i), "user-data", false); status != 401 {
		t.Errorf("IMDSv1 where a token is required: %d", status)
	}
	if status, _ := fetch(t, endpoint(i), "meta-data/tags/instance/Name", true); status != 404 {
		t.Errorf("tags that are not enabled: %d", status)
	}
	i = with(types.InstanceMetadataOptionsRequest{HttpEndpoint: types.InstanceMetadataEndpointStateDisabled})
	if endpoint(i) != "" || i.MetadataOptions.HttpEndpoint != types.InstanceMetadataEndpointStateDisabled {
		t.Errorf("metadata that are disabled are at %q", endpoint(i))
	}
}
