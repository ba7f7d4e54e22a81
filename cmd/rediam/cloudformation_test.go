package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/redis/go-redis/v9"
	"go.yaml.in/yaml/v3"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/emulator"
	"github.com/rediam/rediam/goredis"
	"github.com/rediam/rediam/internal/installed"
)

// A resource of a template. Functions such as !Ref are maps in it, as in JSON.
type resource struct {
	Type       string
	Properties map[string]any
}

// everyTemplate are the resources of all templates, and their text.
func everyTemplate(t *testing.T) (all map[string]resource, text string) {
	t.Helper()
	all, text = templates(t, "cache.yaml", "rotation.yaml")
	other, more := templates(t, "iam.yaml")
	for name, r := range other {
		all["iam.yaml "+name] = r
	}
	return all, text + more
}

// templates are the resources of some templates, and their text.
func templates(t *testing.T, files ...string) (all map[string]resource, text string) {
	t.Helper()
	for _, file := range files {
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
	out, err := exec.Command(lint, deploy+"cloudformation/cache.yaml", deploy+"cloudformation/iam.yaml", deploy+"cloudformation/rotation.yaml").CombinedOutput()
	if err != nil || len(strings.TrimSpace(string(out))) > 0 {
		t.Errorf("cfn-lint: %v\n%s", err, out)
	}
}

func TestTheTemplatesOpenNothing(t *testing.T) {
	all, text := everyTemplate(t)
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
	all, _ := everyTemplate(t)
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
	all, _ := templates(t, "cache.yaml", "rotation.yaml")
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
	all, _ := templates(t, "cache.yaml", "rotation.yaml")
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

// What iam.yaml makes, made in the emulator.
func TestTheTemplateOfIAMLetsItsRoleSignIn(t *testing.T) {
	all, _ := templates(t, "iam.yaml")
	for service, kind := range map[string]emulator.WorkloadKind{"pods.eks": emulator.PodIdentity, "ecs-tasks": emulator.ECS, "ec2": emulator.EC2, "ec2 in China": emulator.EC2, "lambda": emulator.Lambda, "": emulator.IRSA} {
		t.Run(service, func(t *testing.T) {
			service, inChina := strings.CutSuffix(service, " in China")
			srv := emulator.Start(t, emulator.Config{Empty: true, Region: map[bool]string{true: "cn-north-1"}[inChina]})
			s := &stack{all, map[string]any{
				"AWS::Partition": srv.Partition(), "AWS::Region": srv.Region(), "AWS::AccountId": srv.Account(),
				"Cache": "orders", "Kind": "replicationgroup", "AccessString": "on ~* &* +@all -@dangerous", "NodeType": "cache.t4g.small",
				"TrustedService": service, "OidcProvider": strings.TrimPrefix(srv.Issuer(), "https://"), "ServiceAccount": "shop:orders",
				"SubnetGroup": "private", "SecurityGroups": []string{"sg-01234567"},
			}, map[string]bool{"Irsa": service == "", "PodIdentity": service == "pods.eks", "Ec2InChina": inChina}}
			s.make(t, srv)
			allowed := map[string]bool{"orders": true}
			if kind == emulator.IRSA { // whose trust policy names the service account
				allowed["payments"] = false
			}
			for name, want := range allowed {
				environ, err := srv.StartWorkload(emulator.Workload{Kind: kind, Role: "orders", Namespace: "shop", ServiceAccount: name})
				if err != nil {
					t.Fatal(err)
				}
				for _, v := range environ {
					name, value, _ := strings.Cut(v, "=")
					t.Setenv(name, value)
				}
				config, err := config.LoadDefaultConfig(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				cache := srv.Cache("orders")
				options := &redis.Options{Addr: cache.Addr, TLSConfig: cache.TLS, MaxRetries: -1}
				signer := &rediam.Signer{Cache: "orders", User: "orders-app", Region: config.Region, Credentials: config.Credentials}
				if err := goredis.Configure(options, signer, rediam.Renewal{}); err != nil {
					t.Fatal(err)
				}
				client := redis.NewClient(options)
				defer client.Close()
				if err := client.Ping(t.Context()).Err(); (err == nil) != want {
					t.Errorf("the service account %s: %v", name, err)
				}
				anybody := redis.NewClient(&redis.Options{Addr: cache.Addr, TLSConfig: cache.TLS, MaxRetries: -1})
				defer anybody.Close()
				if err := anybody.Ping(t.Context()).Err(); err == nil || !strings.HasPrefix(err.Error(), "NOAUTH") {
					t.Errorf("without signing in: %v, want NOAUTH", err)
				}
			}
		})
	}
}

// A stack is a template with what its functions are to give.
type stack struct {
	resources  map[string]resource
	values     map[string]any
	conditions map[string]bool
}

// make makes the resources by the calls that CloudFormation makes, in an order for
// which a resource comes after those that it names.
func (s *stack) make(t *testing.T, srv *emulator.Server) {
	t.Helper()
	key, err := srv.CreateAccessKey(emulator.AdminUser)
	if err != nil {
		t.Fatal(err)
	}
	config := aws.Config{Region: srv.Region(), BaseEndpoint: aws.String(srv.URL()), Credentials: emulator.KeyCredentials(key)}
	caches, accounts := elasticache.NewFromConfig(config), iam.NewFromConfig(config)
	if _, err := srv.PutOIDCProvider(srv.Issuer(), "sts.amazonaws.com"); err != nil {
		t.Fatal(err)
	}
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(caches.CreateCacheSubnetGroup(t.Context(), &elasticache.CreateCacheSubnetGroupInput{CacheSubnetGroupName: aws.String("private"),
		CacheSubnetGroupDescription: aws.String("there already"), SubnetIds: []string{"subnet-1", "subnet-2"}}))
	for _, name := range []string{"User", "DefaultUser"} {
		user := properties[elasticache.CreateUserInput](t, s, name)
		must(caches.CreateUser(t.Context(), user))
		s.values[name] = *user.UserId
	}
	group := properties[elasticache.CreateUserGroupInput](t, s, "UserGroup")
	must(caches.CreateUserGroup(t.Context(), group))
	s.values["UserGroup"] = *group.UserGroupId
	cache := properties[elasticache.CreateReplicationGroupInput](t, s, "ReplicationGroup")
	cache.NumCacheClusters, cache.AutomaticFailoverEnabled, cache.MultiAZEnabled = nil, nil, nil // the emulator has no replicas
	must(caches.CreateReplicationGroup(t.Context(), cache))
	must(elasticache.NewReplicationGroupAvailableWaiter(caches).WaitForOutput(t.Context(),
		&elasticache.DescribeReplicationGroupsInput{ReplicationGroupId: aws.String("orders")}, time.Minute))

	role := properties[struct{ AssumeRolePolicyDocument any }](t, s, "Role")
	trust, text := role.AssumeRolePolicyDocument.(string)
	if !text {
		trust = string(asJSON(t, role.AssumeRolePolicyDocument))
	}
	must(accounts.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: aws.String("orders"), AssumeRolePolicyDocument: &trust}))
	s.values["Role"] = "orders"
	connect := properties[struct {
		Roles          []string
		PolicyDocument any
	}](t, s, "Connect")
	must(accounts.PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{RoleName: &connect.Roles[0], PolicyName: aws.String("connect"),
		PolicyDocument: aws.String(string(asJSON(t, connect.PolicyDocument)))}))
}

// properties are those of a resource, in the shape of the call that makes it.
func properties[Input any](t *testing.T, s *stack, name string) *Input {
	t.Helper()
	input := new(Input)
	if err := json.Unmarshal(asJSON(t, s.evaluate(t, s.resources[name].Properties)), input); err != nil {
		t.Fatal(err)
	}
	return input
}

// evaluate puts the values of functions in their place.
func (s *stack) evaluate(t *testing.T, v any) any {
	t.Helper()
	switch v := v.(type) {
	case []any:
		list := []any{}
		for _, each := range v {
			list = append(list, s.evaluate(t, each))
		}
		return list
	case map[string]any:
		object := map[string]any{}
		for name, each := range v {
			switch name {
			case "Ref":
				return s.value(t, each.(string))
			case "Sub":
				return regexp.MustCompile(`\$\{([A-Za-z:]+)\}`).ReplaceAllStringFunc(each.(string), func(in string) string {
					return s.value(t, in[2:len(in)-1]).(string)
				})
			case "If":
				branches := each.([]any)
				condition, known := s.conditions[branches[0].(string)]
				if !known {
					t.Fatalf("the condition %s has no value", branches[0])
				}
				return s.evaluate(t, branches[map[bool]int{true: 1, false: 2}[condition]])
			}
			object[name] = s.evaluate(t, each)
		}
		return object
	}
	return v
}

func (s *stack) value(t *testing.T, name string) any {
	t.Helper()
	value, known := s.values[name]
	if !known {
		t.Fatalf("%s has no value", name)
	}
	return value
}
