package awsapi

import (
	"errors"
	"slices"
	"strconv"

	"github.com/rediam/rediam/internal/policy"
	"github.com/rediam/rediam/internal/world"
)

type principalSimulation struct {
	PolicySourceArn string `aws:",required"`
	PolicyInputList []string
	simulation      `aws:",inline"`
}

type customSimulation struct {
	PolicyInputList []string `aws:",required"`
	simulation      `aws:",inline"`
}

// simulation is what both simulations have.
type simulation struct {
	ActionNames                        []string `aws:",required"`
	ResourceArns                       []string
	PermissionsBoundaryPolicyInputList []string
	ContextEntries                     []contextEntry
	page                               `aws:",inline"`
}

type contextEntry struct {
	ContextKeyName, ContextKeyType string
	ContextKeyValues               []string
}

type simulationResult struct {
	EvaluationResults []evaluation
	pageEnd           `aws:",inline"`
}

type evaluation struct {
	EvalActionName, EvalResourceName, EvalDecision string
	MatchedStatements                              []matchedStatement
	MissingContextValues                           []string
	PermissionsBoundaryDecisionDetail              *struct{ AllowedByPermissionsBoundary bool }
}

type matchedStatement struct {
	SourcePolicyId, SourcePolicyType string
	StartPosition, EndPosition       policy.Position
}

// mostSimulated bounds actions times resources.
const mostSimulated = 10000

// onSource asks permission for the user or role whose policies are simulated.
func onSource(c *call, in principalSimulation) []string {
	if id, ok := c.world.IdentityAt(in.PolicySourceArn); ok && id.Role {
		return []string{of[ofRole]{ofRole{id.Name}}.resource(c)}
	} else if ok {
		return []string{of[ofUser]{ofUser{id.Name}}.resource(c)}
	}
	return []string{in.PolicySourceArn}
}

func simulatePrincipalPolicy(c *call, in principalSimulation) (out simulationResult, err error) {
	id, ok := c.world.IdentityAt(in.PolicySourceArn)
	if !ok {
		return out, &world.Error{Code: "NoSuchEntity", Message: "Entity with ARN " + shortened(in.PolicySourceArn) + " does not exist."}
	}
	permissions, err := c.world.Permissions(id)
	if err != nil {
		return out, err
	}
	policies, kinds := c.world.PoliciesOf(id), map[*policy.Policy]string{}
	for i, p := range policies.Identity {
		switch {
		case i >= len(permissions.Inline):
			kinds[p] = "user-managed"
		case id.Role:
			kinds[p] = "role"
		default:
			kinds[p] = "user"
		}
	}
	return in.run(policies, in.PolicyInputList, kinds)
}

func simulateCustomPolicy(_ *call, in customSimulation) (simulationResult, error) {
	return in.run(policy.Policies{}, in.PolicyInputList, nil)
}

// run decides every action on every resource, on the policies that there are and
// those of the request.
func (s simulation) run(policies policy.Policies, more []string, kinds map[*policy.Policy]string) (out simulationResult, err error) {
	added, err := inputPolicies("PolicyInputList", more)
	if err != nil {
		return out, err
	}
	policies.Identity = slices.Concat(policies.Identity, added)
	boundaries, err := inputPolicies("PermissionsBoundaryPolicyInputList", s.PermissionsBoundaryPolicyInputList)
	switch {
	case err != nil:
		return out, err
	case len(boundaries) > 1:
		return out, inputError("PermissionsBoundaryPolicyInputList has more than one policy")
	case len(boundaries) == 1:
		policies.Boundary = boundaries[0]
	}
	resources := s.ResourceArns
	if len(resources) == 0 {
		resources = []string{"*"}
	}
	if len(s.ActionNames)*len(resources) > mostSimulated {
		return out, inputError("more than " + strconv.Itoa(mostSimulated) + " actions and resources")
	}
	context := policy.Context{}
	for _, e := range s.ContextEntries {
		context.Set(e.ContextKeyName, e.ContextKeyValues...)
	}
	all := []evaluation{}
	for _, action := range s.ActionNames {
		for _, resource := range resources {
			all = append(all, evaluate(policies, policy.Request{Action: action, Resource: resource, Context: context}, kinds))
		}
	}
	out.EvaluationResults, out.pageEnd, err = cut(s.page, all, numbered)
	return out, err
}

func inputPolicies(list string, documents []string) (parsed []*policy.Policy, err error) {
	for i, document := range documents {
		p, err := policy.Parse(policy.Identity, list+"."+strconv.Itoa(i+1), []byte(document))
		if m := (*policy.MalformedError)(nil); errors.As(err, &m) {
			return nil, &world.Error{Code: "InvalidInput", Message: m.Message, Detail: m.Detail}
		} else if err != nil {
			return nil, err
		}
		parsed = append(parsed, p)
	}
	return parsed, nil
}

func inputError(message string) error { return &world.Error{Code: "InvalidInput", Message: message} }

func evaluate(policies policy.Policies, r policy.Request, kinds map[*policy.Policy]string) evaluation {
	decision := policies.Decide(r)
	out := evaluation{EvalActionName: r.Action, EvalResourceName: r.Resource, EvalDecision: decision.Effect.String(), MatchedStatements: []matchedStatement{}, MissingContextValues: []string{}}
	all := policies.Identity
	if policies.Boundary != nil {
		boundary := policy.Policies{Identity: []*policy.Policy{policies.Boundary}}
		out.PermissionsBoundaryDecisionDetail = &struct{ AllowedByPermissionsBoundary bool }{boundary.Decide(r).Effect == policy.Allow}
		all = append(slices.Clip(all), policies.Boundary)
	}
	for _, p := range all {
		out.MissingContextValues = append(out.MissingContextValues, p.MissingKeys(r)...)
		for _, m := range p.Matches(r) {
			if decision.Effect == policy.Allow && !m.Deny || decision.Effect == policy.ExplicitDeny && m.Deny {
				kind := kinds[p]
				if kind == "" {
					kind = "none"
				}
				out.MatchedStatements = append(out.MatchedStatements, matchedStatement{p.Name, kind, m.Start, m.End})
			}
		}
	}
	slices.Sort(out.MissingContextValues)
	out.MissingContextValues = slices.Compact(out.MissingContextValues)
	return out
}
