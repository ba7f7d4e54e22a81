package setup

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/rediam/rediam/internal/account"
)

func iamCall[In, Out any](operation string, method func(context.Context, *In, ...func(*iam.Options)) (*Out, error), in *In) Call {
	return newCall("iam", operation, method, in)
}

func (s *Setup) iamTags() []types.Tag {
	key, value := s.tags()
	return []types.Tag{{Key: key, Value: value}}
}

func (s *Setup) oursInIAM(tags []types.Tag) bool {
	return slices.ContainsFunc(tags, func(t types.Tag) bool { return aws.ToString(t.Key) == TagKey && aws.ToString(t.Value) == s.CacheARN() })
}

// gone is whether IAM has no such thing.
func gone(err error) bool { return is[*types.NoSuchEntityException](err) }

// policyName tells one sign-in: IAM has no regions, and one role may have several.
func (s *Setup) policyName() string {
	return fmt.Sprintf("%s-%s-%s-%s", s.Spec.Service, s.Spec.Cache, s.Spec.User, s.Region)
}

func (s *Setup) policyARN() string { return s.iamARN("policy", s.policyName()) }

// maxVersions is how many a policy has at most (IAM user guide, "Quotas").
const maxVersions = 5

// policy is what a sign-in needs, and no more.
func (s *Setup) policy() thing {
	name, arn := s.policyName(), s.policyARN()
	document := account.SignInPolicy(string(s.Spec.Service)+":Connect", s.CacheARN(), s.UserARN())
	return thing{kind: "policy", name: name,
		wants:  []Difference{{What: "allows", Want: string(s.Spec.Service) + ":Connect on the cache and the user"}},
		create: iamCall("CreatePolicy", s.Clients.IAM.CreatePolicy, &iam.CreatePolicyInput{PolicyName: &name, PolicyDocument: &document, Tags: s.iamTags()}),
		look: func(ctx context.Context) (f found, err error) {
			out, err := s.Clients.IAM.GetPolicy(ctx, &iam.GetPolicyInput{PolicyArn: &arn})
			if gone(err) {
				return f, nil
			}
			if err != nil {
				return f, err
			}
			f.there, f.ours = true, s.oursInIAM(out.Policy.Tags)
			versions, err := s.Clients.IAM.ListPolicyVersions(ctx, &iam.ListPolicyVersionsInput{PolicyArn: &arn})
			if err != nil {
				return f, err
			}
			if s.leaving {
				return f, s.leavePolicy(ctx, &f, *out.Policy, versions.Versions)
			}
			version, err := s.Clients.IAM.GetPolicyVersion(ctx, &iam.GetPolicyVersionInput{PolicyArn: &arn, VersionId: out.Policy.DefaultVersionId})
			if err != nil {
				return f, err
			}
			is := decoded(version.PolicyVersion.Document)
			switch {
			case sameDocument(is, document):
			case !f.ours:
				f.refused = refuse("delete it if nobody needs it, or name another user with --user", "policy %s is there, setup has not made it for this cache, and it is another than a sign-in needs", name)
			default:
				f.differences = []Difference{{What: "document", Is: is, Want: document}}
				if len(versions.Versions) >= maxVersions {
					oldest := versions.Versions[len(versions.Versions)-1]
					if oldest.IsDefaultVersion {
						oldest = versions.Versions[len(versions.Versions)-2]
					}
					f.fix = append(f.fix, s.deleteVersion(oldest))
				}
				f.fix = append(f.fix, iamCall("CreatePolicyVersion", s.Clients.IAM.CreatePolicyVersion, &iam.CreatePolicyVersionInput{PolicyArn: &arn, PolicyDocument: &document, SetAsDefault: true}))
			}
			return f, nil
		}}
}

func (s *Setup) deleteVersion(v types.PolicyVersion) Call {
	return iamCall("DeletePolicyVersion", s.Clients.IAM.DeletePolicyVersion, &iam.DeletePolicyVersionInput{PolicyArn: aws.String(s.policyARN()), VersionId: v.VersionId})
}

// leavePolicy deletes the policy with its versions, unless more has it than the role.
func (s *Setup) leavePolicy(ctx context.Context, f *found, p types.Policy, versions []types.PolicyVersion) error {
	if !f.ours {
		return nil
	}
	attached, err := s.attached(ctx)
	if err != nil && !gone(err) {
		return err
	}
	others := aws.ToInt32(p.AttachmentCount)
	if slices.Contains(attached, s.policyARN()) {
		others--
	}
	if others > 0 {
		f.kept = "it is attached to other roles or users, of which --role names the one that apply gave it to: aws iam list-entities-for-policy --policy-arn " + s.policyARN() + " names them"
		return nil
	}
	for _, v := range versions {
		if !v.IsDefaultVersion {
			f.remove = append(f.remove, s.deleteVersion(v))
		}
	}
	f.remove = append(f.remove, iamCall("DeletePolicy", s.Clients.IAM.DeletePolicy, &iam.DeletePolicyInput{PolicyArn: aws.String(s.policyARN())}))
	return nil
}

// decoded undoes the URL-encoding in which IAM gives documents.
func decoded(document *string) string {
	text, err := url.PathUnescape(aws.ToString(document))
	if err != nil {
		return aws.ToString(document)
	}
	return text
}

// attached are the ARNs of the role's managed policies, of which it may have 20.
func (s *Setup) attached(ctx context.Context) (arns []string, err error) {
	out, err := s.Clients.IAM.ListAttachedRolePolicies(ctx, &iam.ListAttachedRolePoliciesInput{RoleName: &s.Spec.Role})
	if err != nil {
		return nil, err
	}
	for _, p := range out.AttachedPolicies {
		arns = append(arns, aws.ToString(p.PolicyArn))
	}
	return arns, nil
}

// role is the role of who signs in, with the policy.
func (s *Setup) role() thing {
	t := thing{kind: "role", name: s.Spec.Role}
	if s.trust != nil {
		document := s.trust.document(s.partition, s.account)
		t.wants = []Difference{{What: "trusts", Want: s.trust.describe()}}
		t.then = []Call{s.attachPolicy()}
		t.create = iamCall("CreateRole", s.Clients.IAM.CreateRole, &iam.CreateRoleInput{RoleName: &s.Spec.Role, AssumeRolePolicyDocument: &document,
			Description: aws.String("Signs in to " + s.title() + " as " + s.Spec.User), Tags: s.iamTags()})
	}
	t.look = func(ctx context.Context) (f found, err error) {
		out, err := s.Clients.IAM.GetRole(ctx, &iam.GetRoleInput{RoleName: &s.Spec.Role})
		if gone(err) {
			return f, nil
		}
		if err != nil {
			return f, err
		}
		f.there, f.ours, s.roleARN = true, s.oursInIAM(out.Role.Tags), aws.ToString(out.Role.Arn)
		attached, err := s.attached(ctx)
		if err != nil {
			return f, err
		}
		if s.leaving {
			return f, s.leaveRole(ctx, &f, attached)
		}
		s.compareTrust(&f, decoded(out.Role.AssumeRolePolicyDocument))
		if !slices.Contains(attached, s.policyARN()) {
			f.differences = append(f.differences, Difference{What: "policies", Is: names(attached), Want: names(append(attached, s.policyARN()))})
			f.fix = append(f.fix, s.attachPolicy())
		}
		return f, nil
	}
	return t
}

func (s *Setup) attachPolicy() Call {
	return iamCall("AttachRolePolicy", s.Clients.IAM.AttachRolePolicy, &iam.AttachRolePolicyInput{RoleName: &s.Spec.Role, PolicyArn: aws.String(s.policyARN())})
}

func names(arns []string) string {
	var all []string
	for _, arn := range arns {
		all = append(all, arn[strings.LastIndexByte(arn, '/')+1:])
	}
	return strings.Join(all, ", ")
}

func (s *Setup) compareTrust(f *found, is string) {
	want := s.trust.document(s.partition, s.account)
	same := sameDocument(is, want)
	if s.otherTrust = !same && !f.ours; same {
		return
	}
	f.differences = append(f.differences, Difference{What: "trust policy", Is: canonical(is), Want: canonical(want), Left: !f.ours})
	if f.ours {
		f.fix = append(f.fix, iamCall("UpdateAssumeRolePolicy", s.Clients.IAM.UpdateAssumeRolePolicy, &iam.UpdateAssumeRolePolicyInput{RoleName: &s.Spec.Role, PolicyDocument: &want}))
	}
}

// leaveRole deletes the role, or takes the policy from one that is not setup's. One
// that has got more since is in use.
func (s *Setup) leaveRole(ctx context.Context, f *found, attached []string) error {
	if slices.Contains(attached, s.policyARN()) {
		mine, err := s.Clients.IAM.GetPolicy(ctx, &iam.GetPolicyInput{PolicyArn: aws.String(s.policyARN())})
		if err != nil {
			return err
		}
		if f.ours || s.oursInIAM(mine.Policy.Tags) {
			f.remove = append(f.remove, iamCall("DetachRolePolicy", s.Clients.IAM.DetachRolePolicy, &iam.DetachRolePolicyInput{RoleName: &s.Spec.Role, PolicyArn: aws.String(s.policyARN())}))
		}
	}
	if !f.ours {
		return nil
	}
	inline, err := s.Clients.IAM.ListRolePolicies(ctx, &iam.ListRolePoliciesInput{RoleName: &s.Spec.Role})
	if err != nil {
		return err
	}
	profiles, err := s.Clients.IAM.ListInstanceProfilesForRole(ctx, &iam.ListInstanceProfilesForRoleInput{RoleName: &s.Spec.Role})
	if err != nil {
		return err
	}
	others := slices.DeleteFunc(attached, func(arn string) bool { return arn == s.policyARN() })
	elsewhere := slices.DeleteFunc(profiles.InstanceProfiles, func(p types.InstanceProfile) bool { return aws.ToString(p.InstanceProfileName) == s.Spec.Role })
	switch {
	case len(others) > 0 || len(inline.PolicyNames) > 0:
		f.kept = "it has the policies " + names(append(others, inline.PolicyNames...)) + " too"
	case len(elsewhere) > 0:
		f.kept = "the instance profile " + aws.ToString(elsewhere[0].InstanceProfileName) + " has it too"
	}
	if f.kept != "" { // then without the policy
		return nil
	}
	f.remove = append(f.remove, iamCall("DeleteRole", s.Clients.IAM.DeleteRole, &iam.DeleteRoleInput{RoleName: &s.Spec.Role}))
	return nil
}

// instanceProfile is how EC2 gives the role to an instance. It has the name of the role.
func (s *Setup) instanceProfile() thing {
	name := s.Spec.Role
	return thing{kind: "instance profile", name: name,
		wants:  []Difference{{What: "role", Want: s.Spec.Role}},
		create: iamCall("CreateInstanceProfile", s.Clients.IAM.CreateInstanceProfile, &iam.CreateInstanceProfileInput{InstanceProfileName: &name, Tags: s.iamTags()}),
		then:   []Call{s.addToProfile()},
		look: func(ctx context.Context) (f found, err error) {
			out, err := s.Clients.IAM.GetInstanceProfile(ctx, &iam.GetInstanceProfileInput{InstanceProfileName: &name})
			if gone(err) {
				return f, nil
			}
			if err != nil {
				return f, err
			}
			f.there, f.ours = true, s.oursInIAM(out.InstanceProfile.Tags)
			has := ""
			for _, r := range out.InstanceProfile.Roles {
				has = aws.ToString(r.RoleName)
			}
			switch {
			case has == "":
				f.differences = []Difference{{What: "role", Want: s.Spec.Role}}
				f.fix = []Call{s.addToProfile()}
			case has != s.Spec.Role:
				f.refused = refuse("take it out, or name another role with --role", "instance profile %s has the role %s", name, has)
				f.kept = "it has the role " + has
			}
			if !s.leaving || !f.ours || f.kept != "" {
				return f, nil
			}
			if has != "" {
				f.remove = append(f.remove, iamCall("RemoveRoleFromInstanceProfile", s.Clients.IAM.RemoveRoleFromInstanceProfile, &iam.RemoveRoleFromInstanceProfileInput{InstanceProfileName: &name, RoleName: &has}))
			}
			f.remove = append(f.remove, iamCall("DeleteInstanceProfile", s.Clients.IAM.DeleteInstanceProfile, &iam.DeleteInstanceProfileInput{InstanceProfileName: &name}))
			return f, nil
		}}
}

func (s *Setup) addToProfile() Call {
	return iamCall("AddRoleToInstanceProfile", s.Clients.IAM.AddRoleToInstanceProfile, &iam.AddRoleToInstanceProfileInput{InstanceProfileName: &s.Spec.Role, RoleName: &s.Spec.Role})
}
