package awsapi

import (
	"maps"
	"slices"
	"strings"
)

// Operations that users and roles both have.

type inlinePolicy[T identity] struct {
	of[T]          `aws:",inline"`
	PolicyName     string `aws:",required"`
	PolicyDocument string `aws:",required"`
}

func putInlinePolicy[T identity](c *call, in inlinePolicy[T]) (none, error) {
	c.document = in.PolicyDocument
	return none{}, c.world.PutInlinePolicy(in.On.identity(), in.PolicyName, in.PolicyDocument)
}

type inlineName[T identity] struct {
	of[T]      `aws:",inline"`
	PolicyName string `aws:",required"`
}

func getInlinePolicy[T identity](c *call, in inlineName[T]) (out inlinePolicy[T], err error) {
	p, err := c.world.Permissions(in.On.identity())
	if err != nil {
		return out, err
	}
	document, err := p.InlinePolicy(in.On.identity(), in.PolicyName)
	return inlinePolicy[T]{in.of, in.PolicyName, encoded(document)}, err
}

func deleteInlinePolicy[T identity](c *call, in inlineName[T]) (none, error) {
	return none{}, c.world.DeleteInlinePolicy(in.On.identity(), in.PolicyName)
}

type policyNames struct {
	PolicyNames []string
	pageEnd     `aws:",inline"`
}

func listInlinePolicies[T identity](c *call, in listing[T]) (out policyNames, err error) {
	p, err := c.world.Permissions(in.On.identity())
	if err != nil {
		return out, err
	}
	names := slices.AppendSeq([]string{}, maps.Keys(p.Inline))
	slices.Sort(names)
	out.PolicyNames, out.pageEnd, err = cut(in.page, names, func(i int) string { return names[i] })
	return out, err
}

type attachment[T identity] struct {
	of[T]     `aws:",inline"`
	PolicyArn string `aws:",required"`
}

func (a attachment[T]) describe(c *call) { c.set("iam:PolicyARN", a.PolicyArn) }

func attachPolicy[T identity](c *call, in attachment[T]) (none, error) {
	return none{}, c.world.AttachPolicy(in.On.identity(), in.PolicyArn)
}

func detachPolicy[T identity](c *call, in attachment[T]) (none, error) {
	return none{}, c.world.DetachPolicy(in.On.identity(), in.PolicyArn)
}

type listingByPath[T identity] struct {
	of[T]  `aws:",inline"`
	byPath `aws:",inline"`
}

type attachedPolicy struct{ PolicyName, PolicyArn string }

type attachedPolicies struct {
	AttachedPolicies []attachedPolicy
	pageEnd          `aws:",inline"`
}

func listAttachedPolicies[T identity](c *call, in listingByPath[T]) (out attachedPolicies, err error) {
	p, err := c.world.Permissions(in.On.identity())
	if err != nil {
		return out, err
	}
	list := []attachedPolicy{}
	for _, arn := range p.Attached {
		if managed, err := c.world.ManagedPolicy(arn); err == nil && strings.HasPrefix(managed.Path, in.PathPrefix) {
			list = append(list, attachedPolicy{managed.Name, arn})
		}
	}
	slices.SortFunc(list, func(a, b attachedPolicy) int { return strings.Compare(a.PolicyName, b.PolicyName) })
	out.AttachedPolicies, out.pageEnd, err = cut(in.page, list, func(i int) string { return list[i].PolicyName })
	return out, err
}

type boundary[T identity] struct {
	of[T]               `aws:",inline"`
	PermissionsBoundary string `aws:",required"`
}

func (b boundary[T]) describe(c *call) { c.set("iam:PermissionsBoundary", b.PermissionsBoundary) }

func putBoundary[T identity](c *call, in boundary[T]) (none, error) {
	return none{}, c.world.SetBoundary(in.On.identity(), in.PermissionsBoundary)
}

func deleteBoundary[T identity](c *call, in of[T]) (none, error) {
	return none{}, c.world.DeleteBoundary(in.On.identity())
}
