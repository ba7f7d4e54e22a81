package awsapi_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rediam/rediam/emulator"
)

// eachCLI runs a test with every AWS CLI in PATH, of version 1 and of version 2.
func eachCLI(t *testing.T, test func(t *testing.T, srv *emulator.Server, c cli)) {
	t.Helper()
	newCLI(t, emulator.Key{}) // skips the test if there is none
	seen := map[string]bool{}
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		path, err := filepath.EvalSymlinks(filepath.Join(dir, "aws"))
		if err != nil || seen[path] {
			continue
		}
		seen[path] = true
		version, _ := cli{path: path, environment: os.Environ()}.run(t, "--version")
		name, _, _ := strings.Cut(version, " ")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := emulator.Start(t, emulator.Config{Engine: "embedded", Empty: true})
			c := newCLI(t, admin(t, srv))
			c.path = path
			test(t, srv, c)
		})
	}
}

// The steps of the guides, with the CLI: what AWS answers, and nothing is left.
func TestTheCLIMakesAndDeletesWhatIAMHas(t *testing.T) {
	eachCLI(t, func(t *testing.T, srv *emulator.Server, c cli) {
		trust := filepath.Join(t.TempDir(), "trust.json")
		if err := os.WriteFile(trust, []byte("{\n  \"Version\": \"2012-10-17\",\n  \"Statement\": [{\"Effect\": \"Allow\", \"Principal\": {\"Service\": \"ec2.amazonaws.com\"}, \"Action\": \"sts:AssumeRole\"}]\n}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		const arn, permission = "arn:aws:iam::123456789012:policy/connect", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"elasticache:Connect","Resource":"*"}]}`
		for _, step := range []struct {
			command string
			more    []string
			want    string // a part of what it prints
		}{
			{"create-role --role-name app --path /x/ --tags Key=a,Value=b --assume-role-policy-document", []string{"file://" + trust}, `"Service": "ec2.amazonaws.com"`},
			{"create-role --role-name other --assume-role-policy-document {}", nil, "An error occurred (MalformedPolicyDocument) when calling the CreateRole operation: Syntax errors in policy."},
			{"create-policy --policy-name connect --policy-document", []string{permission}, `"Arn": "` + arn + `"`},
			{"attach-role-policy --role-name app --policy-arn " + arn, nil, ""},
			{"list-attached-role-policies --role-name app", nil, `"PolicyArn": "` + arn + `"`},
			{"simulate-principal-policy --policy-source-arn arn:aws:iam::123456789012:role/x/app --action-names elasticache:Connect iam:GetUser", nil, `"EvalDecision": "allowed"`},
			{"create-instance-profile --instance-profile-name machine", nil, `"Roles": []`},
			{"add-role-to-instance-profile --instance-profile-name machine --role-name app", nil, ""},
			{"get-instance-profile --instance-profile-name machine", nil, `"RoleName": "app"`},
			{"get-policy-version --version-id v1 --policy-arn " + arn, nil, `"Action": "elasticache:Connect"`},
			{"delete-role --role-name app", nil, "An error occurred (DeleteConflict) when calling the DeleteRole operation: Cannot delete entity, must remove roles from instance profile first."},
			{"remove-role-from-instance-profile --instance-profile-name machine --role-name app", nil, ""},
			{"delete-instance-profile --instance-profile-name machine", nil, ""},
			{"detach-role-policy --role-name app --policy-arn " + arn, nil, ""},
			{"delete-role --role-name app", nil, ""},
			{"delete-policy --policy-arn " + arn, nil, ""},
		} {
			arguments := append(append([]string{"iam"}, strings.Fields(step.command)...), step.more...)
			output, ok := c.run(t, append(arguments, "--endpoint-url", srv.URL())...)
			output = strings.Replace(output, " (reached max retries: 0)", "", 1) // what version 2 adds
			if refusal := strings.HasPrefix(step.want, "An error occurred"); ok == refusal || !strings.Contains(output, step.want) || step.want == "" && output != "" {
				t.Errorf("%s: %s, want %s", step.command, output, step.want)
			}
		}
		if _, ok := srv.Role("app"); ok {
			t.Error("the role is still there")
		}
		output, ok := c.run(t, "sts", "get-session-token", "--duration-seconds", "900", "--endpoint-url", srv.URL())
		if !ok || !strings.Contains(output, `"AccessKeyId": "ASIA`) {
			t.Errorf("get-session-token: %t, %d bytes", ok, len(output))
		}
	})
}
