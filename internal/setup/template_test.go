package setup_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/memorydb"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/emulator"
	"github.com/rediam/rediam/internal/installed"
	"github.com/rediam/rediam/internal/setup"
)

func (a *account) template(spec setup.Spec, format string) []byte {
	a.t.Helper()
	plan, err := a.setup(spec).Plan(a.t.Context())
	a.must(err)
	text, err := plan.Template(format)
	a.must(err)
	return text
}

// A stack is a template of CloudFormation.
type stack struct {
	Resources map[string]struct {
		Type, DependsOn string
		Properties      map[string]any
	}
}

// make makes what the template says, as CloudFormation would: the properties are the
// members of the calls, but for IAM's.
func (a *account) make(template []byte) {
	a.t.Helper()
	var s stack
	a.must(json.Unmarshal(template, &s))
	made := ""
	for range s.Resources { // each depends on the one before
		for id, r := range s.Resources {
			if r.Properties["ManagedPolicyArns"] != nil {
				r.DependsOn = "Policy"
			}
			if r.DependsOn != made {
				continue
			}
			a.create(r.Type, r.Properties)
			made = id
			break
		}
	}
	for _, r := range s.Resources {
		if r.Properties["Tags"] != nil {
			a.t.Errorf("%s has tags", r.Type)
		}
	}
}

// call calls a method with an input that has the properties, all of them.
func call[In, Out, Options any](a *account, method func(context.Context, *In, ...func(*Options)) (*Out, error), properties map[string]any) {
	a.t.Helper()
	text, err := json.Marshal(properties)
	a.must(err)
	in := new(In)
	a.must(json.Unmarshal(text, in))
	for name := range properties {
		if !reflect.ValueOf(in).Elem().FieldByName(name).IsValid() {
			a.t.Errorf("%T has no member %s", in, name)
		}
	}
	_, err = method(a.t.Context(), in)
	a.must(err)
}

func (a *account) create(kind string, p map[string]any) {
	a.t.Helper()
	text := func(name string) *string {
		document, err := json.Marshal(p[name])
		a.must(err)
		return aws.String(string(document))
	}
	named := func(name string) *string { return aws.String(p[name].(string)) }
	ctx, i := a.t.Context(), a.IAM
	policy := "arn:" + a.Partition() + ":iam::" + a.Account() + ":policy/elasticache-orders-orders-app-" + a.Region()
	switch kind {
	case "AWS::ElastiCache::User":
		call(a, a.ElastiCache.CreateUser, p)
	case "AWS::ElastiCache::UserGroup":
		call(a, a.ElastiCache.CreateUserGroup, p)
	case "AWS::ElastiCache::ReplicationGroup":
		call(a, a.ElastiCache.CreateReplicationGroup, p)
	case "AWS::ElastiCache::ServerlessCache":
		call(a, a.ElastiCache.CreateServerlessCache, p)
	case "AWS::MemoryDB::User":
		call(a, a.MemoryDB.CreateUser, p)
	case "AWS::MemoryDB::ACL":
		call(a, a.MemoryDB.CreateACL, p)
	case "AWS::MemoryDB::Cluster":
		call(a, a.MemoryDB.CreateCluster, p)
	case "AWS::IAM::ManagedPolicy":
		a.must(only(i.CreatePolicy(ctx, &iam.CreatePolicyInput{PolicyName: named("ManagedPolicyName"), PolicyDocument: text("PolicyDocument")})))
		if roles, _ := p["Roles"].([]any); len(roles) > 0 {
			a.must(only(i.AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{PolicyArn: &policy, RoleName: aws.String(roles[0].(string))})))
		}
	case "AWS::IAM::Role":
		a.must(only(i.CreateRole(ctx, &iam.CreateRoleInput{RoleName: named("RoleName"), AssumeRolePolicyDocument: text("AssumeRolePolicyDocument")})))
		if !reflect.DeepEqual(p["ManagedPolicyArns"], []any{map[string]any{"Ref": "Policy"}}) {
			a.t.Errorf("the role has the policies %v", p["ManagedPolicyArns"])
		}
		a.must(only(i.AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{PolicyArn: &policy, RoleName: named("RoleName")})))
	case "AWS::IAM::InstanceProfile":
		a.must(only(i.CreateInstanceProfile(ctx, &iam.CreateInstanceProfileInput{InstanceProfileName: named("InstanceProfileName")})))
		a.must(only(i.AddRoleToInstanceProfile(ctx, &iam.AddRoleToInstanceProfileInput{InstanceProfileName: named("InstanceProfileName"), RoleName: aws.String(p["Roles"].([]any)[0].(string))})))
	default:
		a.t.Errorf("nobody makes %s", kind)
	}
}

func TestTheStackOfTheTemplateSignsIn(t *testing.T) {
	for _, region := range []string{"eu-west-1", "cn-north-1"} {
		for _, spec := range everyKind(newAccount(t, emulator.Config{Region: region})) {
			t.Run(region+" "+nameOf(spec), func(t *testing.T) {
				a := newAccount(t, emulator.Config{Region: region})
				if strings.HasPrefix(spec.Trust, "irsa") {
					spec.Trust = "irsa:" + a.Issuer() + ":default:demo"
				}
				a.make(a.template(spec, "cloudformation"))
				if got := a.signIn(spec, a.as(spec), "SET a b"); got != "+OK" {
					t.Errorf("SET says %q", got)
				}
				before := a.inventory()
				plan, err := a.setup(spec).Plan(t.Context())
				a.must(err)
				if !plan.Nothing() || slices.ContainsFunc(plan.Steps, func(s setup.Step) bool { return !s.Adopted || len(s.Differences) > 0 }) {
					t.Errorf("setup would do %+v", plan)
				}
				a.destroy(spec)
				a.unchanged(before)
			})
		}
	}
}

func TestCfnLintAcceptsTheTemplate(t *testing.T) {
	lint := installed.Path(t, "cfn-lint")
	a := newAccount(t, emulator.Config{})
	args := []string{"--regions", "us-east-1", "--"}
	for i, spec := range everyKind(a) {
		file := filepath.Join(t.TempDir(), string(rune('a'+i))+".json")
		a.must(os.WriteFile(file, a.template(spec, "cloudformation"), 0o600))
		args = append(args, file)
	}
	if out, err := exec.Command(lint, args...).CombinedOutput(); err != nil || len(strings.TrimSpace(string(out))) > 0 {
		t.Errorf("cfn-lint: %v\n%s", err, out)
	}
}

func TestATemplateChangesNothingThatIsThere(t *testing.T) {
	a := newAccount(t, emulator.Config{})
	a.must(only(a.ElastiCache.CreateReplicationGroup(t.Context(), &elasticache.CreateReplicationGroupInput{ReplicationGroupId: aws.String("orders"), ReplicationGroupDescription: aws.String("d"), TransitEncryptionEnabled: aws.Bool(true)})))
	spec := kinds()[0]
	plan, err := a.setup(spec).Plan(t.Context())
	a.must(err)
	_, err = plan.Template("cloudformation")
	a.says(err, "CloudFormation cannot change the replication group orders", "--template cli")
	a.apply(spec)
	plan, err = a.setup(spec).Plan(t.Context())
	a.must(err)
	_, err = plan.Template("cloudformation")
	a.says(err, "nothing to make", "")
}

// What AWS is at may need more than shows yet.
func TestThereIsNoTemplateWhileAWSIsMakingTheCache(t *testing.T) {
	a := newAccount(t, emulator.Config{StateDelay: time.Hour})
	a.must(only(a.ElastiCache.CreateServerlessCache(t.Context(), &elasticache.CreateServerlessCacheInput{ServerlessCacheName: aws.String("orders"), Engine: aws.String("valkey"), SecurityGroupIds: []string{"sg-1"}})))
	s := a.setup(setup.Spec{Cache: "orders", User: "orders-app", Serverless: true})
	plan, err := s.Plan(t.Context())
	a.must(err)
	for _, format := range []string{"cloudformation", "cli", "json"} {
		_, err = plan.Template(format)
		a.says(err, "AWS is creating the serverless cache orders", "run it again")
	}
	if left := strings.Join(s.Remaining(t.Context()), "\n"); !strings.Contains(left, "--port 6379 ") {
		t.Errorf("left is %s", left)
	}
}

// Of a role and its policy one may be there already.
func TestATemplateMakesTheRestOfARoleAndItsPolicy(t *testing.T) {
	a := newAccount(t, emulator.Config{})
	spec := kinds()[0]
	spec.Trust = "lambda"
	a.must(only(a.IAM.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: aws.String("orders-app"), AssumeRolePolicyDocument: aws.String(openTrust)})))
	a.make(a.template(spec, "cloudformation"))
	other := spec
	other.Role = "more"
	if text := string(a.template(other, "cloudformation")); !strings.Contains(text, `"arn:aws:iam::123456789012:policy/elasticache-orders-orders-app-us-east-1"`) || strings.Contains(text, "AWS::IAM::ManagedPolicy") {
		t.Errorf("another role has the template %s", text)
	}
	if got := a.signIn(spec, a.as(spec), "SET a b"); got != "+OK" {
		t.Errorf("SET says %q", got)
	}
}

// The script runs with the AWS CLI; for a replication group with Debian's, if that is
// there, which is older than serverless caches and MemoryDB's engines. What it makes,
// destroy takes away.
func TestTheScriptOfTheTemplateSignsIn(t *testing.T) {
	first := installed.Path(t, "aws")
	specs := kinds()
	specs[1].Trust, specs[3].Trust = "ec2", "ecs"
	second := "/usr/bin/aws"
	if _, err := exec.LookPath(second); err != nil {
		second = first
	}
	for _, spec := range specs[1:] {
		cli := second
		if spec.Serverless || spec.Service != "" {
			cli = first
		}
		t.Run(filepath.Dir(cli)+" "+nameOf(spec), func(t *testing.T) {
			a := newAccount(t, emulator.Config{Engine: "embedded"})
			before := a.inventory()
			dir := t.TempDir()
			a.must(os.WriteFile(filepath.Join(dir, "aws"), []byte("#!/bin/sh\nexec "+cli+" --endpoint-url "+a.URL()+" \"$@\"\n"), 0o700),
				os.WriteFile(filepath.Join(dir, "setup.sh"), a.template(spec, "cli"), 0o600))
			script := exec.CommandContext(t.Context(), "sh", filepath.Join(dir, "setup.sh"))
			script.Env = append(append(os.Environ(), a.Environ()...), "PATH="+dir+":"+os.Getenv("PATH"), "HOME="+dir, "AWS_EC2_METADATA_DISABLED=true")
			if out, err := script.CombinedOutput(); err != nil || len(out) > 0 {
				t.Fatalf("%v: %s", err, out)
			}
			if plan, err := a.setup(spec).Plan(t.Context()); err != nil || !plan.Nothing() {
				t.Errorf("setup would do %+v, %v", plan, err)
			}
			if got := a.signIn(spec, a.as(spec), "SET a b"); got != "+OK" {
				t.Errorf("SET says %q", got)
			}
			a.destroy(spec)
			a.unchanged(before)
		})
	}
}

func TestTheCallsOfTheTemplateHaveAWSsNames(t *testing.T) {
	a := newAccount(t, emulator.Config{})
	spec := kinds()[3]
	spec.Trust = "lambda"
	var calls []struct {
		Service, Operation string
		Input              map[string]any
	}
	a.must(json.Unmarshal(a.template(spec, "json"), &calls))
	var got []string
	for _, c := range calls {
		got = append(got, c.Service+":"+c.Operation)
	}
	if want := []string{"memorydb:CreateUser", "memorydb:CreateACL", "memorydb:CreateCluster", "iam:CreatePolicy", "iam:CreateRole", "iam:AttachRolePolicy"}; !slices.Equal(got, want) {
		t.Errorf("the calls are %q", got)
	}
	call(a, a.MemoryDB.(*memorydb.Client).CreateUser, calls[0].Input)
	if plan, err := a.setup(spec).Plan(t.Context()); err != nil || plan.Steps[0].Action != setup.None || plan.Steps[0].Adopted || spec.Service != rediam.MemoryDB {
		t.Errorf("after the first call setup would do %+v, %v", plan, err)
	}
}
