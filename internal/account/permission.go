package account

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/rediam/rediam/internal/policy"
)

// IAM are the calls about permissions.
type IAM interface {
	GetRole(context.Context, *iam.GetRoleInput, ...func(*iam.Options)) (*iam.GetRoleOutput, error)
	SimulatePrincipalPolicy(context.Context, *iam.SimulatePrincipalPolicyInput, ...func(*iam.Options)) (*iam.SimulatePrincipalPolicyOutput, error)
	ListRolePolicies(context.Context, *iam.ListRolePoliciesInput, ...func(*iam.Options)) (*iam.ListRolePoliciesOutput, error)
	GetRolePolicy(context.Context, *iam.GetRolePolicyInput, ...func(*iam.Options)) (*iam.GetRolePolicyOutput, error)
	ListAttachedRolePolicies(context.Context, *iam.ListAttachedRolePoliciesInput, ...func(*iam.Options)) (*iam.ListAttachedRolePoliciesOutput, error)
	ListUserPolicies(context.Context, *iam.ListUserPoliciesInput, ...func(*iam.Options)) (*iam.ListUserPoliciesOutput, error)
	GetUserPolicy(context.Context, *iam.GetUserPolicyInput, ...func(*iam.Options)) (*iam.GetUserPolicyOutput, error)
	ListAttachedUserPolicies(context.Context, *iam.ListAttachedUserPoliciesInput, ...func(*iam.Options)) (*iam.ListAttachedUserPoliciesOutput, error)
	GetPolicy(context.Context, *iam.GetPolicyInput, ...func(*iam.Options)) (*iam.GetPolicyOutput, error)
	GetPolicyVersion(context.Context, *iam.GetPolicyVersionInput, ...func(*iam.Options)) (*iam.GetPolicyVersionOutput, error)
}

// ErrNoPolicies is that a principal has no policies that could be asked about: the
// root user, who may do everything, and federated users.
var ErrNoPolicies = errors.New("IAM simulates users and roles only")

// Principal is the ARN of the IAM user or role behind an identity, which IAM asks
// for. That of a role with a path needs iam:GetRole; without, it is a guess.
func (c Clients) Principal(ctx context.Context, i Identity) (string, error) {
	partition, resource := partOfARN(i.ARN, 1), partOfARN(i.ARN, 5)
	switch kind, name, _ := strings.Cut(resource, "/"); kind {
	case "user":
		return i.ARN, nil
	case "assumed-role":
		name, _, _ = strings.Cut(name, "/")
		if out, err := c.IAM.GetRole(ctx, &iam.GetRoleInput{RoleName: &name}); err == nil {
			return aws.ToString(out.Role.Arn), nil
		}
		return "arn:" + partition + ":iam::" + i.Account + ":role/" + name, nil
	}
	return "", ErrNoPolicies
}

// A Verdict is IAM's about one resource.
type Verdict struct {
	Decision types.PolicyEvaluationDecisionType // allowed, implicitDeny, explicitDeny
	Policies []string                           // that have the statements which decided
	// Boundary and Organization are whether the permissions boundary and the policies
	// of the organization do not allow it.
	Boundary, Organization bool
	// Missing are condition keys that policies ask for and IAM does not know here.
	Missing []string
}

// Allowed is whether the principal may.
func (v Verdict) Allowed() bool { return v.Decision == types.PolicyEvaluationDecisionTypeAllowed }

// Simulate asks IAM whether a principal may do an action on each of the resources
// (iam:SimulatePrincipalPolicy). Conditions on what IAM does not know here, such as a
// VPC endpoint, count as not met.
func (c Clients) Simulate(ctx context.Context, principal, action string, resources ...string) (map[string]Verdict, error) {
	verdicts := map[string]Verdict{}
	in := &iam.SimulatePrincipalPolicyInput{PolicySourceArn: &principal, ActionNames: []string{action}, ResourceArns: resources}
	p := iam.NewSimulatePrincipalPolicyPaginator(c.IAM, in)
	err := pages(ctx, p.HasMorePages, p.NextPage, func(out *iam.SimulatePrincipalPolicyOutput) {
		for _, r := range out.EvaluationResults {
			v := Verdict{Decision: r.EvalDecision, Missing: r.MissingContextValues}
			for _, s := range r.MatchedStatements {
				v.Policies = append(v.Policies, aws.ToString(s.SourcePolicyId))
			}
			v.Boundary = r.PermissionsBoundaryDecisionDetail != nil && !r.PermissionsBoundaryDecisionDetail.AllowedByPermissionsBoundary
			v.Organization = r.OrganizationsDecisionDetail != nil && !r.OrganizationsDecisionDetail.AllowedByOrganizations
			verdicts[aws.ToString(r.EvalResourceName)] = v
		}
	})
	return verdicts, err
}

// A Statement of a policy document that allows an action.
type Statement struct {
	Sid, Effect, Action string
	Resource            []string
}

// SignInPolicy is the document that a sign-in needs, and no more: Connect is checked on
// the cache and on the user.
func SignInPolicy(action string, resources ...string) string {
	text, _ := json.Marshal(struct { // of strings
		Version   string
		Statement []Statement
	}{"2012-10-17", []Statement{{"SignIn", "Allow", action, resources}}})
	return string(text)
}

// A Document is a policy of a principal.
type Document struct{ Name, Text string }

// Names is whether a policy has a statement about the action, on whatever resource.
func (d Document) Names(action string) bool {
	p, err := policy.Parse(policy.Identity, d.Name, []byte(d.Text))
	return err == nil && p.HasAction(action)
}

// Policies reads the policies of a user or role, inline and attached, a hundred of
// each; not those of a user's groups. The first that cannot be read ends it.
func (c Clients) Policies(ctx context.Context, principal string) (all []Document, err error) {
	kind, name, _ := strings.Cut(partOfARN(principal, 5), "/")
	name = name[strings.LastIndexByte(name, '/')+1:] // without the path
	read := c.ofUser
	if kind == "role" {
		read = c.ofRole
	}
	all, attached, err := read(ctx, &name)
	for _, p := range attached {
		if err != nil {
			return nil, err
		}
		var found *iam.GetPolicyOutput
		if found, err = c.IAM.GetPolicy(ctx, &iam.GetPolicyInput{PolicyArn: p.PolicyArn}); err != nil {
			return nil, err
		}
		var version *iam.GetPolicyVersionOutput
		if version, err = c.IAM.GetPolicyVersion(ctx, &iam.GetPolicyVersionInput{PolicyArn: p.PolicyArn, VersionId: found.Policy.DefaultVersionId}); err == nil {
			all = append(all, documentOf(p.PolicyName, version.PolicyVersion.Document))
		}
	}
	return all, err
}

func (c Clients) ofRole(ctx context.Context, name *string) (inline []Document, attached []types.AttachedPolicy, err error) {
	names, err := c.IAM.ListRolePolicies(ctx, &iam.ListRolePoliciesInput{RoleName: name})
	if err != nil {
		return nil, nil, err
	}
	for _, p := range names.PolicyNames {
		out, err := c.IAM.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: name, PolicyName: &p})
		if err != nil {
			return nil, nil, err
		}
		inline = append(inline, documentOf(&p, out.PolicyDocument))
	}
	list, err := c.IAM.ListAttachedRolePolicies(ctx, &iam.ListAttachedRolePoliciesInput{RoleName: name})
	if err != nil {
		return nil, nil, err
	}
	return inline, list.AttachedPolicies, nil
}

func (c Clients) ofUser(ctx context.Context, name *string) (inline []Document, attached []types.AttachedPolicy, err error) {
	names, err := c.IAM.ListUserPolicies(ctx, &iam.ListUserPoliciesInput{UserName: name})
	if err != nil {
		return nil, nil, err
	}
	for _, p := range names.PolicyNames {
		out, err := c.IAM.GetUserPolicy(ctx, &iam.GetUserPolicyInput{UserName: name, PolicyName: &p})
		if err != nil {
			return nil, nil, err
		}
		inline = append(inline, documentOf(&p, out.PolicyDocument))
	}
	list, err := c.IAM.ListAttachedUserPolicies(ctx, &iam.ListAttachedUserPoliciesInput{UserName: name})
	if err != nil {
		return nil, nil, err
	}
	return inline, list.AttachedPolicies, nil
}

// documentOf undoes the URL-encoding in which IAM gives documents.
func documentOf(name, encoded *string) Document {
	text, err := url.PathUnescape(aws.ToString(encoded))
	if err != nil {
		text = aws.ToString(encoded)
	}
	return Document{aws.ToString(name), text}
}
