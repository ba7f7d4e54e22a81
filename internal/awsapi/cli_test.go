package awsapi_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rediam/rediam/emulator"
	"github.com/rediam/rediam/internal/installed"
)

// A cli is the AWS CLI with some credentials and no other configuration.
type cli struct {
	path        string
	environment []string
}

// newCLI skips the test without the AWS CLI, unless REDIAM_REQUIRE names aws. The CLI
// has a home of its own: it keeps the credentials of roles there, by role and session
// name, and would take those of another emulator for this one's.
func newCLI(t *testing.T, k emulator.Key) cli {
	t.Helper()
	home := t.TempDir()
	none := home + "/none"
	c := cli{installed.Path(t, "aws"), []string{"AWS_ACCESS_KEY_ID=" + k.ID, "AWS_SECRET_ACCESS_KEY=" + string(k.Secret), "AWS_SESSION_TOKEN=" + string(k.SessionToken),
		"AWS_DEFAULT_REGION=us-east-1", "AWS_CONFIG_FILE=" + none, "AWS_SHARED_CREDENTIALS_FILE=" + none,
		"AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER=", "AWS_MAX_ATTEMPTS=1", "NO_PROXY=127.0.0.1", "HOME=" + home}}
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "AWS_") && !strings.HasPrefix(variable, "HOME=") {
			c.environment = append(c.environment, variable)
		}
	}
	return c
}

// run gives what the CLI printed, on either stream; a JSON document if it is one.
func (c cli) run(t *testing.T, arguments ...string) (output string, ok bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, c.path, append(arguments, "--output", "json")...)
	command.Env = c.environment
	b, err := command.CombinedOutput()
	return string(b), err == nil
}

// knowsEndpointVariable is whether a version of the CLI reads AWS_ENDPOINT_URL;
// an older one would ask AWS itself.
func (c cli) knowsEndpointVariable(t *testing.T) bool {
	t.Helper()
	version, _ := c.run(t, "--version")
	found := regexp.MustCompile(`^aws-cli/(\d+)\.(\d+)\.`).FindStringSubmatch(version)
	if found == nil {
		t.Fatalf("aws --version: %s", version)
	}
	minor, err := strconv.Atoi(found[2])
	if err != nil {
		t.Fatal(err)
	}
	return minor >= map[string]int{"1": 29, "2": 13}[found[1]]
}

func TestTheCLISignsInToTheEndpoint(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	c := newCLI(t, admin(t, srv))
	output, ok := c.run(t, "sts", "get-caller-identity", "--endpoint-url", srv.URL())
	var who struct{ UserId, Account, Arn string }
	if err := json.Unmarshal([]byte(output), &who); !ok || err != nil || who.Arn != "arn:aws:iam::123456789012:user/admin" || who.Account != srv.Account() || who.UserId == "" {
		t.Errorf("get-caller-identity: %s", output)
	}
	output, ok = c.run(t, "sts", "assume-role", "--endpoint-url", srv.URL(), "--role-arn", srv.RoleARN(emulator.DefaultRole), "--role-session-name", "cli", "--duration-seconds", "900")
	var assumed struct {
		Credentials struct {
			AccessKeyId, SecretAccessKey, SessionToken string
			Expiration                                 time.Time
		}
		AssumedRoleUser struct{ Arn string }
	}
	if err := json.Unmarshal([]byte(output), &assumed); !ok || err != nil || assumed.AssumedRoleUser.Arn != "arn:aws:sts::123456789012:assumed-role/demo-app/cli" ||
		assumed.Credentials.Expiration.After(srv.Now().Add(15*time.Minute)) {
		t.Fatalf("assume-role: %s", output)
	}
	session := assumed.Credentials
	c = newCLI(t, emulator.Key{ID: session.AccessKeyId, Secret: emulator.Secret(session.SecretAccessKey), SessionToken: emulator.Secret(session.SessionToken)})
	output, ok = c.run(t, "sts", "get-caller-identity", "--endpoint-url", srv.URL())
	if !ok || !strings.Contains(output, "arn:aws:sts::123456789012:assumed-role/demo-app/cli") {
		t.Errorf("get-caller-identity of the session: %s", output)
	}
	output, ok = c.run(t, "sts", "assume-role", "--endpoint-url", srv.URL(), "--role-arn", srv.RoleARN("nobody"), "--role-session-name", "cli")
	const want = "An error occurred (AccessDenied) when calling the AssumeRole operation: " +
		"User: arn:aws:sts::123456789012:assumed-role/demo-app/cli is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::123456789012:role/nobody"
	if ok || !strings.Contains(output, want) {
		t.Errorf("assume-role of a missing role: %s", output)
	}
	wrong := admin(t, srv)
	wrong.Secret += "x"
	output, ok = newCLI(t, wrong).run(t, "sts", "get-caller-identity", "--endpoint-url", srv.URL())
	if ok || !strings.Contains(output, "(SignatureDoesNotMatch)") || strings.Contains(output, string(wrong.Secret)) {
		t.Errorf("a wrong secret: %s", output)
	}
}

func TestTheCLIReadsTheEndpointFromTheEnvironment(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	c := newCLI(t, admin(t, srv))
	if !c.knowsEndpointVariable(t) {
		t.Skip("this AWS CLI does not read AWS_ENDPOINT_URL")
	}
	c.environment = append(c.environment, "AWS_ENDPOINT_URL="+srv.URL())
	if output, ok := c.run(t, "sts", "get-caller-identity"); !ok || !strings.Contains(output, "arn:aws:iam::123456789012:user/admin") {
		t.Errorf("get-caller-identity: %s", output)
	}
}

func TestTheCLIUnderstandsThatAnOperationIsUnknown(t *testing.T) {
	srv := emulator.Start(t, emulator.Config{Engine: "embedded"})
	c := newCLI(t, admin(t, srv))
	for command, want := range map[string]string{
		"elasticache describe-events":  "An error occurred (InvalidAction) when calling the DescribeEvents operation: Could not find operation DescribeEvents for version 2015-02-02",
		"memorydb describe-events":     "An error occurred (UnknownOperationException) when calling the DescribeEvents operation: ",
		"iam list-virtual-mfa-devices": "An error occurred (InvalidAction) when calling the ListVirtualMFADevices operation: Could not find operation ListVirtualMFADevices for version 2010-05-08",
		"ec2 describe-regions":         "An error occurred (InvalidAction) when calling the DescribeRegions operation: The action DescribeRegions is not valid for this web service.",
		"kms list-keys":                "An error occurred (UnknownOperationException) when calling the ListKeys operation: ",
	} {
		output, ok := c.run(t, append(strings.Fields(command), "--endpoint-url", srv.URL())...)
		if ok || !strings.Contains(output, want) {
			t.Errorf("%s: %s, want %s", command, output, want)
		}
	}
}
