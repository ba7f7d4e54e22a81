package awsapi_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/rediam/rediam/emulator"
)

func TestTheCLIRotatesASecret(t *testing.T) {
	eachCLI(t, func(t *testing.T, _ *emulator.Server, c cli) {
		s := newSecrets(t, emulator.Config{})
		r := rotator{s, make(chan string, 100), nil}
		s.srv.PutFunction("rotate-demo", r.call)
		c = cli{c.path, newCLI(t, admin(t, s.srv)).environment}
		const name = "demo/1"
		run := func(command string, into any) {
			t.Helper()
			output, ok := c.service(t, s.srv, "secretsmanager", command)
			if !ok {
				t.Fatalf("%s: %s", command, output)
			}
			if into != nil {
				must(t, json.Unmarshal([]byte(output), into))
			}
		}
		var made, rotation, value struct {
			ARN, Name, VersionId, SecretString string
			VersionStages                      []string
		}
		run("create-secret --name "+name+" --secret-string first --tags Key=k,Value=v", &made)
		run("rotate-secret --secret-id "+name+" --rotation-rules AutomaticallyAfterDays=7 --rotation-lambda-arn "+s.srv.FunctionARN("rotate-demo"), &rotation)
		r.wants(t, "done", allSteps...)
		run("get-secret-value --secret-id "+made.ARN, &value)
		if made.Name != name || value.VersionId != rotation.VersionId || len(value.SecretString) != 40 || fmt.Sprint(value.VersionStages) != "[AWSCURRENT]" {
			t.Errorf("%+v, then %+v of %s", made, value, rotation.VersionId)
		}
		run("put-secret-value --secret-id "+name+" --secret-string third --version-stages AWSPENDING", nil)
		var described struct {
			RotationEnabled                   bool
			LastRotatedDate, LastAccessedDate any // a number or a text, as the CLI likes
			VersionIdsToStages                map[string][]string
		}
		run("describe-secret --secret-id "+name, &described)
		if !described.RotationEnabled || described.LastRotatedDate == nil || described.LastAccessedDate == nil || len(described.VersionIdsToStages) != 3 {
			t.Errorf("describe-secret: %+v", described)
		}
		output, ok := c.service(t, s.srv, "secretsmanager", "update-secret-version-stage --secret-id "+name+" --version-stage AWSCURRENT --move-to-version-id "+made.VersionId)
		if ok || !strings.Contains(output, "An error occurred (InvalidParameterException) when calling the UpdateSecretVersionStage operation") || !strings.Contains(output, "The parameter RemoveFromVersionId can't be empty.") {
			t.Errorf("update-secret-version-stage: %s", output)
		}
		run("delete-secret --force-delete-without-recovery --secret-id "+name, nil)
	})
}
