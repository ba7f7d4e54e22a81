package awsapi_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/rediam/rediam/emulator"
)

func (c cli) must(t *testing.T, arguments ...string) string {
	t.Helper()
	output, ok := c.run(t, arguments...)
	if !ok {
		t.Fatalf("%q: %s", arguments, output)
	}
	return output
}

// text is what the CLI prints of a query.
func (c cli) text(t *testing.T, query string, arguments ...string) string {
	t.Helper()
	var text string
	output := c.must(t, append(arguments, "--query", query)...)
	if err := json.Unmarshal([]byte(output), &text); err != nil {
		t.Fatalf("%q: %v in %s", arguments, err, output)
	}
	return text
}

// An application on an instance needs the metadata endpoint and no keys.
func TestTheCLIOnAnInstance(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	c := newCLI(t, admin(t, srv))
	aws := func(arguments string) []string {
		return append(strings.Fields(arguments), "--endpoint-url", srv.URL())
	}
	c.must(t, aws("iam create-instance-profile --instance-profile-name web")...)
	c.must(t, aws("iam add-role-to-instance-profile --instance-profile-name web --role-name demo-app")...)
	subnet := c.text(t, "Subnets[0].SubnetId", aws("ec2 describe-subnets --filters Name=default-for-az,Values=true")...)
	group := c.text(t, "SecurityGroups[0].GroupId", aws("ec2 describe-security-groups --group-names default")...)
	id := c.text(t, "Instances[0].InstanceId", aws("ec2 run-instances --image-id ami-1 --count 1 --instance-type t3.micro --iam-instance-profile Name=web --subnet-id "+subnet+" --security-group-ids "+group+
		" --user-data hello --metadata-options HttpTokens=required,HttpEndpoint=enabled --tag-specifications ResourceType=instance,Tags=[{Key=Name,Value=app}]")...)
	c.must(t, aws("ec2 wait instance-running --instance-ids "+id)...)
	c.must(t, aws("ec2 wait instance-status-ok --instance-ids "+id)...)
	endpoint := c.text(t, "Reservations[0].Instances[0].Tags[?Key=='rediam:metadata-endpoint'].Value | [0]", aws("ec2 describe-instances --filters Name=tag:Name,Values=app Name=instance-state-name,Values=running")...)
	if endpoint != srv.MetadataURL(id) {
		t.Fatalf("metadata at %q, want %q", endpoint, srv.MetadataURL(id))
	}

	onInstance := cli{c.path, slices.DeleteFunc(slices.Clone(c.environment), func(v string) bool {
		return strings.HasPrefix(v, "AWS_ACCESS_KEY_ID=") || strings.HasPrefix(v, "AWS_SECRET") || strings.HasPrefix(v, "AWS_SESSION") || strings.HasPrefix(v, "AWS_EC2_METADATA")
	})}
	onInstance.environment = append(onInstance.environment, "AWS_EC2_METADATA_SERVICE_ENDPOINT="+endpoint)
	onARN := "arn:aws:sts::123456789012:assumed-role/demo-app/" + id
	if arn := onInstance.text(t, "Arn", aws("sts get-caller-identity")...); arn != onARN {
		t.Errorf("on the instance: %s", arn)
	}
	if output, ok := onInstance.run(t, aws("ec2 terminate-instances --instance-ids "+id)...); ok || !strings.Contains(output, "(UnauthorizedOperation) when calling the TerminateInstances operation") || !strings.Contains(output, "You are not authorized to perform this operation. User: "+onARN) {
		t.Errorf("terminate without permission: %s", output)
	}
	association := c.text(t, "IamInstanceProfileAssociations[0].AssociationId", aws("ec2 describe-iam-instance-profile-associations --filters Name=instance-id,Values="+id)...)
	c.must(t, aws("ec2 disassociate-iam-instance-profile --association-id "+association)...)
	if output, ok := onInstance.run(t, aws("sts get-caller-identity")...); ok || !strings.Contains(output, "nable to locate credentials") {
		t.Errorf("without its profile: %s", output)
	}
	c.must(t, aws("ec2 associate-iam-instance-profile --iam-instance-profile Arn=arn:aws:iam::123456789012:instance-profile/web --instance-id "+id)...)
	onInstance.must(t, aws("sts get-caller-identity")...)
	if state := c.text(t, "TerminatingInstances[0].CurrentState.Name", aws("ec2 terminate-instances --instance-ids "+id)...); state != "shutting-down" {
		t.Errorf("terminated: %s", state)
	}
	c.must(t, aws("ec2 wait instance-terminated --instance-ids "+id)...)
	if output, ok := c.run(t, aws("ec2 run-instances --image-id ami-1 --dry-run")...); ok || !strings.Contains(output, "(DryRunOperation) when calling the RunInstances operation") || !strings.Contains(output, "Request would have succeeded, but DryRun flag is set.") {
		t.Errorf("a dry run: %s", output)
	}
}
