package setup

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// For scripts: what prints the state of a thing.

func (s *Setup) awaitUser(id string) string {
	if s.Spec.kind() == Cluster {
		return "memorydb describe-users --user-name " + id + " --query 'Users[0].Status'"
	}
	return "elasticache describe-users --user-id " + id + " --query 'Users[0].Status'"
}

func (s *Setup) awaitGroup(id string) string {
	if s.Spec.kind() == Cluster {
		return "memorydb describe-acls --acl-name " + id + " --query 'ACLs[0].Status'"
	}
	return "elasticache describe-user-groups --user-group-id " + id + " --query 'UserGroups[0].Status'"
}

func (s *Setup) awaitCache() string {
	return fmt.Sprintf(map[Kind]string{
		ReplicationGroup: "elasticache describe-replication-groups --replication-group-id %s --query 'ReplicationGroups[0].Status'",
		ServerlessCache:  "elasticache describe-serverless-caches --serverless-cache-name %s --query 'ServerlessCaches[0].Status'",
		Cluster:          "memorydb describe-clusters --cluster-name %s --query 'Clusters[0].Status'",
	}[s.Spec.kind()], s.Spec.Cache)
}

// Template is the plan for another tool: cloudformation, cli (a shell script) or json
// (the calls of the API).
func (p Plan) Template(format string) ([]byte, error) {
	for _, s := range p.Steps {
		if s.busy != "" {
			return nil, refuse("run it again once that is over", "AWS is %s the %s %s, and what it takes shows then", s.busy, s.Kind, s.Name)
		}
	}
	switch format {
	case "cloudformation":
		return p.cloudFormation()
	case "cli":
		return p.script(), nil
	}
	calls := []Call{}
	for _, s := range p.Steps {
		calls = append(calls, s.Calls...)
	}
	return indented(calls)
}

func indented(v any) ([]byte, error) {
	text, err := plain(v)
	var out bytes.Buffer
	if err == nil {
		err = json.Indent(&out, text, "", "  ")
	}
	out.WriteByte('\n')
	return out.Bytes(), err
}

const scriptHead = `#!/bin/sh
# Made by rediam setup for %s, for one run: if it stops, have it made anew for the rest.
set -eu
export AWS_REGION=%[2]s AWS_DEFAULT_REGION=%[2]s AWS_PAGER=

# await WORDS…: waits until what the AWS CLI prints says that it is there.
await() {
  while state=$(aws "$@" --output text); do
    case $state in
    active | available | ACTIVE | AVAILABLE) return ;;
    *failed* | *FAILED*) echo "$*: $state" >&2; exit 1 ;;
    esac
    sleep 5
  done
  exit 1
}
`

var inName = regexp.MustCompile(`([a-z0-9])([A-Z])`)

// script makes the calls with the AWS CLI, which may be older than some of their members.
func (p Plan) script() []byte {
	var out bytes.Buffer
	fmt.Fprintf(&out, scriptHead, p.Cache, p.Region)
	for _, s := range p.Steps {
		if len(s.Calls) == 0 {
			continue
		}
		fmt.Fprintf(&out, "\n# %s %s\n", s.Kind, s.Name)
		for _, c := range s.Calls {
			input, _ := plain(c.members())
			fmt.Fprintf(&out, "aws %s %s --cli-input-json '%s' >/dev/null\n", c.Service, strings.ToLower(inName.ReplaceAllString(c.Operation, "$1-$2")), strings.ReplaceAll(string(input), "'", `'\''`))
		}
		if s.await != "" {
			fmt.Fprintf(&out, "await %s\n", s.await)
		}
	}
	return out.Bytes()
}

// stackTypes are the resources of CloudFormation that calls make. Their properties are
// the calls' members, but for those of IAM that renamed has.
var stackTypes = map[string]struct{ kind, id string }{
	"elasticache CreateUser":             {"AWS::ElastiCache::User", ""},
	"elasticache CreateUserGroup":        {"AWS::ElastiCache::UserGroup", "UserGroup"},
	"elasticache CreateReplicationGroup": {"AWS::ElastiCache::ReplicationGroup", "Cache"},
	"elasticache CreateServerlessCache":  {"AWS::ElastiCache::ServerlessCache", "Cache"},
	"memorydb CreateUser":                {"AWS::MemoryDB::User", ""},
	"memorydb CreateACL":                 {"AWS::MemoryDB::ACL", "UserGroup"},
	"memorydb CreateCluster":             {"AWS::MemoryDB::Cluster", "Cache"},
	"iam CreatePolicy":                   {"AWS::IAM::ManagedPolicy", "Policy"},
	"iam CreateRole":                     {"AWS::IAM::Role", "Role"},
	"iam CreateInstanceProfile":          {"AWS::IAM::InstanceProfile", "InstanceProfile"},
}

type stackResource struct {
	Type           string
	DependsOn      string `json:",omitempty"`
	DeletionPolicy string `json:",omitempty"`
	UpdatePolicy   string `json:"UpdateReplacePolicy,omitempty"`
	Properties     map[string]any
}

// cloudFormation makes one stack. It has no tags of setup's: what a stack has made is
// for the stack to delete.
func (p Plan) cloudFormation() ([]byte, error) {
	resources := map[string]*stackResource{}
	last := ""
	for _, s := range p.Steps {
		for _, c := range s.Calls {
			policy, role, profile := resources["Policy"], resources["Role"], resources["InstanceProfile"]
			switch {
			case c.Operation == "AttachRolePolicy" && role != nil && policy != nil:
				role.Properties["ManagedPolicyArns"], role.DependsOn = []any{map[string]any{"Ref": "Policy"}}, ""
				continue
			case c.Operation == "AttachRolePolicy" && role != nil:
				role.Properties["ManagedPolicyArns"] = []any{c.members()["PolicyArn"]}
				continue
			case c.Operation == "AttachRolePolicy" && policy != nil:
				policy.Properties["Roles"] = []any{c.members()["RoleName"]}
				continue
			case c.Operation == "AddRoleToInstanceProfile" && profile != nil:
				profile.Properties["Roles"] = []any{c.members()["RoleName"]}
				continue
			}
			t, ok := stackTypes[c.Service+" "+c.Operation]
			if !ok {
				return nil, refuse("--template cli makes the change", "CloudFormation cannot change the %s %s, which is there already", s.Kind, s.Name)
			}
			r := &stackResource{Type: t.kind, DependsOn: last, Properties: properties(c)}
			id := t.id
			switch {
			case id == "" && r.Properties["UserName"] == "default":
				id = "DefaultUser"
			case id == "":
				id = "User"
			}
			if c.Service != "iam" { // the cache has data, and a group that is in use cannot be deleted
				r.DeletionPolicy, r.UpdatePolicy = "Retain", "Retain"
			}
			resources[id], last = r, id
		}
	}
	if len(resources) == 0 {
		return nil, refuse("", "there is nothing to make")
	}
	return indented(map[string]any{"AWSTemplateFormatVersion": "2010-09-09", "Description": "Made by rediam setup for " + p.Cache, "Resources": resources})
}

var renamed = map[string]string{"PolicyName": "ManagedPolicyName"}

func properties(c Call) map[string]any {
	all := c.members()
	delete(all, "Tags")
	for _, name := range slices.Collect(maps.Keys(all)) {
		value := all[name]
		if text, ok := value.(string); ok && strings.HasSuffix(name, "PolicyDocument") {
			json.Unmarshal([]byte(text), &value)
			all[name] = value
		}
		if other := renamed[name]; other != "" {
			all[other] = value
			delete(all, name)
		}
	}
	return all
}
