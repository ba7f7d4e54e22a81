package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/rediam/rediam/internal/installed"
)

// A resource of a template. Functions such as !Ref are maps in it, as in JSON.
type resource struct {
	Type       string
	Properties map[string]any
}

// templates are the resources of all templates, and their text.
func templates(t *testing.T) (all map[string]resource, text string) {
	t.Helper()
	for _, file := range []string{"cache.yaml", "rotation.yaml"} {
		b, err := os.ReadFile(deploy + "cloudformation/" + file)
		if err != nil {
			t.Fatal(err)
		}
		text += string(b)
		var document yaml.Node
		if err := yaml.Unmarshal(b, &document); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		untag(&document)
		var plain any
		if err := document.Decode(&plain); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if b, err = json.Marshal(plain); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		template := struct{ Resources map[string]resource }{all}
		if err := json.Unmarshal(b, &template); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = template.Resources
	}
	return all, text
}

// untag makes {Ref: x} of !Ref x.
func untag(n *yaml.Node) {
	for _, child := range n.Content {
		untag(child)
	}
	if name, is := strings.CutPrefix(n.Tag, "!"); is && !strings.HasPrefix(name, "!") {
		value := *n
		value.Tag, value.Style = "", value.Style&^yaml.TaggedStyle
		*n = yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{{Kind: yaml.ScalarNode, Value: name}, &value}}
	}
}

// find calls f with every value of a name, at any depth.
func find(in any, name string, f func(any)) {
	switch v := in.(type) {
	case []any:
		for _, each := range v {
			find(each, name, f)
		}
	case map[string]any:
		for key, each := range v {
			if key == name {
				f(each)
			}
			find(each, name, f)
		}
	}
}

func TestCfnLintAcceptsTheTemplates(t *testing.T) {
	lint := installed.Path(t, "cfn-lint")
	out, err := exec.Command(lint, deploy+"cloudformation/cache.yaml", deploy+"cloudformation/rotation.yaml").CombinedOutput()
	if err != nil || len(strings.TrimSpace(string(out))) > 0 {
		t.Errorf("cfn-lint: %v\n%s", err, out)
	}
}

func TestTheTemplatesOpenNothing(t *testing.T) {
	all, text := templates(t)
	for _, open := range []string{"0.0.0.0/0", "::/0", "InternetGateway", "MapPublicIpOnLaunch"} {
		if strings.Contains(text, open) {
			t.Errorf("the templates have %s", open)
		}
	}
	seen := map[string]int{}
	for name, r := range all {
		seen[r.Type]++
		for _, key := range []string{"IpProtocol", "FromPort", "ToPort"} {
			if strings.HasPrefix(r.Type, "AWS::EC2::SecurityGroup") && r.Type != "AWS::EC2::SecurityGroup" && r.Properties[key] == nil {
				t.Errorf("%s has no %s, which means all", name, key)
			}
		}
		switch p := r.Properties; r.Type {
		case "AWS::EC2::SecurityGroup":
			if egress, _ := p["SecurityGroupEgress"].([]any); len(egress) == 0 {
				t.Errorf("%s has no egress, for which AWS allows all", name)
			}
			if p["SecurityGroupIngress"] != nil {
				t.Errorf("%s has ingress of its own", name)
			}
		case "AWS::EC2::SecurityGroupIngress":
			if p["SourceSecurityGroupId"] == nil {
				t.Errorf("%s is for more than a security group", name)
			}
		case "AWS::ElastiCache::ReplicationGroup":
			if p["TransitEncryptionEnabled"] != true || p["TransitEncryptionMode"] != "required" || p["AtRestEncryptionEnabled"] != true || p["UserGroupIds"] == nil {
				t.Errorf("%s does without TLS, encryption or users: %v", name, p)
			}
		case "AWS::Lambda::Permission":
			if p["SourceAccount"] == nil || p["SourceArn"] == nil {
				t.Errorf("%s does not say for whom", name)
			}
		}
	}
	for _, kind := range []string{"AWS::EC2::SecurityGroup", "AWS::EC2::SecurityGroupIngress", "AWS::ElastiCache::ReplicationGroup", "AWS::Lambda::Permission"} {
		if seen[kind] == 0 {
			t.Errorf("the templates have no %s", kind)
		}
	}
}

func TestTheTemplatesGrantNothingForEverything(t *testing.T) {
	all, _ := templates(t)
	statements := 0
	for name, r := range all {
		find(r.Properties, "Statement", func(list any) {
			find(list, "Resource", func(on any) {
				statements++
				if on == "*" && name != "Role" && name != "Key" {
					t.Errorf("%s has a statement for every resource", name)
				}
			})
			find(list, "Action", func(action any) {
				if s := fmt.Sprint(action); strings.Contains(s, "*") && name != "Key" && name != "SecretsEndpoint" {
					t.Errorf("%s allows %s", name, s)
				}
			})
		})
	}
	// What Lambda needs for its network interfaces takes every resource, and no more does.
	find(all["Role"].Properties, "Statement", func(list any) {
		for _, s := range list.([]any) {
			statement, _ := s.(map[string]any)
			if actions, _ := statement["Action"].([]any); statement["Resource"] == "*" && slices.ContainsFunc(actions, func(a any) bool { return !strings.HasPrefix(a.(string), "ec2:") }) {
				t.Errorf("the role may do %v to everything", actions)
			}
		}
	})
	if statements < 10 {
		t.Errorf("found %d statements only: the search has gone blind", statements)
	}
}

// The secret is what package password reads, and the user is that of the secret.
func TestTheSecretOfTheTemplateIsThatOfItsUser(t *testing.T) {
	all, _ := templates(t)
	generate, _ := all["Secret"].Properties["GenerateSecretString"].(map[string]any)
	shape, _ := generate["SecretStringTemplate"].(map[string]any)
	var secret struct{ Username string }
	if err := json.Unmarshal([]byte(shape["Sub"].(string)), &secret); err != nil {
		t.Fatal(err)
	}
	user := all["User"].Properties
	for _, property := range []string{"UserName", "UserId"} {
		if name := user[property].(map[string]any)["Sub"]; name != secret.Username || generate["GenerateStringKey"] != "password" {
			t.Errorf("the secret is of %q with %v, the user's %s is %q", secret.Username, generate["GenerateStringKey"], property, name)
		}
	}
}

func TestTheTemplateSetsWhatTheFunctionReads(t *testing.T) {
	all, _ := templates(t)
	function, err := os.ReadFile("../rediam-rotate/main.go")
	if err != nil {
		t.Fatal(err)
	}
	environment, _ := all["Function"].Properties["Environment"].(map[string]any)
	variables, _ := environment["Variables"].(map[string]any)
	for _, name := range []string{"REDIAM_ROTATE_KIND", "REDIAM_ROTATE_SECRETS", "REDIAM_ROTATE_NODES"} {
		if variables[name] == nil {
			t.Errorf("the function is not told %s", name)
		}
	}
	for name := range variables {
		if !strings.Contains(string(function), `env("`+name+`")`) {
			t.Errorf("the function does not read %s", name)
		}
	}
}
