package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/rediam/rediam"
	"github.com/rediam/rediam/internal/policy"
)

type policySimulateCommand struct {
	target    `embed:""`
	Policy    []string `sep:"none" placeholder:"FILE" help:"Permission policy. With --principal: beside those that it has."`
	Boundary  string   `placeholder:"FILE" help:"Permissions boundary. With --principal: in place of the one that it has."`
	Session   []string `sep:"none" placeholder:"FILE" help:"Session policy."`
	Principal string   `placeholder:"ARN" help:"Ask IAM about the policies of this user or role: SimulatePrincipalPolicy."`
	Account   string   `placeholder:"ID" help:"Account of the cache, 12 digits; sts asks STS for that of the credentials. Default: that of --principal."`
	Context   []string `sep:"none" placeholder:"KEY=VALUE" help:"Condition key of the request, such as aws:SourceIp=10.0.0.7; again for further values."`
	Format    string   `enum:"text,json" default:"text" help:"text or json."`
}

func (policySimulateCommand) Help() string {
	return `From files it asks nobody. Connect must be allowed on the cache and on the user. Exits 1 if it is not.

Example:

  rediam policy simulate --policy policy.json --cache orders --user orders-app \
    --region eu-west-1 --account 123456789012
  rediam policy simulate --principal arn:aws:iam::123456789012:role/orders \
    --cache orders --user orders-app --region eu-west-1`
}

// A decision is IAM's answer for one resource.
type decision struct {
	Action   string `json:"action"`
	Resource string `json:"resource"`
	Decision string `json:"decision"` // in AWS's words
	Reason   string `json:"reason"`
	// Where the statement stands that decided, if one did.
	Policy string `json:"policy,omitempty"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
	// Condition keys that the policies ask for and the request did not have.
	MissingContext []string `json:"missingContext,omitempty"`
}

func (c *policySimulateCommand) Run(ctx context.Context, t *terminal) error {
	keys, err := c.check()
	if err != nil {
		return usageError{err}
	}
	what, err := c.connect(ctx, c.Account)
	if err != nil {
		return err
	}
	// What AWS's guides list for Connect, and can be known before.
	if what.config.Service != rediam.MemoryDB {
		keys = withDefault(keys, "elasticache:UserAuthenticationMode", "iam")
	}
	if what.config.Serverless {
		keys = withDefault(keys, "aws:CurrentTime", time.Now().UTC().Format(time.RFC3339))
	}
	documents, err := c.read(t)
	if err != nil {
		return err
	}
	simulate := documents.decide
	if c.Principal != "" {
		simulate = func(action, resource string, keys policy.Context) (decision, error) {
			return c.ask(ctx, documents, action, resource, keys)
		}
	}
	decisions, allowed := []decision{}, true
	for _, resource := range what.resources {
		d, err := simulate(what.action, resource, keys)
		if err != nil {
			return err
		}
		decisions, allowed = append(decisions, d), allowed && d.Decision == policy.Allow.String()
	}
	if c.Format == "json" {
		err = json.NewEncoder(t.stdout).Encode(map[string]any{"allowed": allowed, "decisions": decisions})
	} else {
		err = printDecisions(t.stdout, decisions)
	}
	if err == nil && !allowed {
		err = hinted{errors.New("the sign-in is not allowed"), "rediam policy print prints what must be allowed, and no statement may deny it"}
	}
	return err
}

// check also fills in the account of the principal.
func (c *policySimulateCommand) check() (policy.Context, error) {
	switch {
	case c.Principal == "" && len(c.Policy) == 0:
		return nil, hinted{errors.New("no policies to simulate"), "--policy FILE for documents, or --principal ARN for those of a user or role"}
	case c.Principal != "" && len(c.Session) > 0:
		return nil, errors.New("IAM simulates no session policies: --session is for --policy alone")
	case c.Principal != "":
		principal, err := arn.Parse(c.Principal)
		switch {
		case err != nil || !accountID.MatchString(principal.AccountID):
			return nil, errors.New("--principal must be an ARN such as arn:aws:iam::123456789012:role/NAME")
		case principal.Service != "iam":
			return nil, hinted{errors.New("--principal is a session, and IAM simulates the policies of its role"), "aws iam get-role prints the ARN of the role, with its path"}
		case c.Account == "":
			c.Account = principal.AccountID
		}
	}
	keys := policy.Context{}
	for _, pair := range c.Context {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || !strings.Contains(key, ":") {
			return nil, errors.New("--context must be KEY=VALUE, such as aws:SourceIp=10.0.0.7")
		}
		key = strings.ToLower(key)
		keys[key] = append(keys[key], value)
	}
	return keys, nil
}

func withDefault(keys policy.Context, key, value string) policy.Context {
	if keys[strings.ToLower(key)] == nil {
		keys.Set(key, value)
	}
	return keys
}

// simulated are the documents of the command line.
type simulated struct {
	policy.Policies
	text map[*policy.Policy]string
}

func (c *policySimulateCommand) read(t *terminal) (s simulated, err error) {
	s.text = map[*policy.Policy]string{}
	parse := func(files []string) (parsed []*policy.Policy) {
		for _, file := range files {
			document, readError := t.read(file)
			if readError != nil {
				err = errors.Join(err, readError)
				continue
			}
			p, parseError := policy.Parse(policy.Identity, file, document)
			if parseError != nil {
				err = errors.Join(err, hinted{fmt.Errorf("%s: %w", file, parseError), "rediam policy lint " + file + " says what to write"})
				continue
			}
			s.text[p], parsed = string(document), append(parsed, p)
		}
		return parsed
	}
	s.Identity, s.Session = parse(c.Policy), parse(c.Session)
	if c.Boundary != "" {
		s.Boundary = append(parse([]string{c.Boundary}), nil)[0]
	}
	return s, err
}

// decide is IAM's evaluation, here.
func (s simulated) decide(action, resource string, keys policy.Context) (decision, error) {
	request := policy.Request{Action: action, Resource: resource, Context: keys}
	made := s.Decide(request)
	d := decision{Action: action, Resource: resource, Decision: made.Effect.String(), Reason: made.Reason()}
	for _, p := range s.all() {
		d.MissingContext = append(d.MissingContext, p.MissingKeys(request)...)
		for _, m := range p.Matches(request) {
			if d.Line == 0 && p.Name == made.Policy && m.Statement == made.Statement && m.Deny == (made.Effect == policy.ExplicitDeny) {
				d.Policy, d.Line, d.Column = p.Name, m.Start.Line, m.Start.Column
			}
		}
	}
	slices.Sort(d.MissingContext)
	d.MissingContext = slices.Compact(d.MissingContext)
	return d, nil
}

func (s simulated) all() []*policy.Policy {
	all := slices.Concat(s.Identity, s.Session)
	if s.Boundary != nil {
		all = append(all, s.Boundary)
	}
	return all
}

// ask has IAM evaluate. It gets one resource at a time, so that there is one answer.
func (c *policySimulateCommand) ask(ctx context.Context, s simulated, action, resource string, keys policy.Context) (decision, error) {
	d := decision{Action: action, Resource: resource}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	awsConfig, err := c.awsConfig(ctx)
	if err != nil {
		return d, err
	}
	in := &iam.SimulatePrincipalPolicyInput{PolicySourceArn: aws.String(c.Principal), ActionNames: []string{action}, ResourceArns: []string{resource}}
	for _, p := range s.Identity {
		in.PolicyInputList = append(in.PolicyInputList, s.text[p])
	}
	if s.Boundary != nil {
		in.PermissionsBoundaryPolicyInputList = []string{s.text[s.Boundary]}
	}
	for key, values := range keys {
		in.ContextEntries = append(in.ContextEntries, types.ContextEntry{ContextKeyName: aws.String(key), ContextKeyType: typeOf(key, values), ContextKeyValues: values})
	}
	out, err := iam.NewFromConfig(awsConfig).SimulatePrincipalPolicy(ctx, in)
	if err != nil {
		return d, hinted{fmt.Errorf("ask IAM: %w", err), "the credentials need iam:SimulatePrincipalPolicy on the principal, a user or role of their account: aws sts get-caller-identity shows whose they are"}
	}
	if len(out.EvaluationResults) != 1 {
		return d, fmt.Errorf("IAM gives %d answers for one resource", len(out.EvaluationResults))
	}
	result := out.EvaluationResults[0]
	d.Decision, d.MissingContext = string(result.EvalDecision), result.MissingContextValues
	d.Reason = "no statement decides"
	if m := result.MatchedStatements; len(m) > 0 {
		d.Policy, d.Reason = aws.ToString(m[0].SourcePolicyId), fmt.Sprintf("a statement of the policy %s (%s) decides", aws.ToString(m[0].SourcePolicyId), m[0].SourcePolicyType)
		if m[0].StartPosition != nil {
			d.Line, d.Column = int(m[0].StartPosition.Line), int(m[0].StartPosition.Column)
		}
	}
	if b := result.PermissionsBoundaryDecisionDetail; b != nil && !b.AllowedByPermissionsBoundary {
		d.Reason += "; the permissions boundary does not allow it"
	}
	if o := result.OrganizationsDecisionDetail; o != nil && !o.AllowedByOrganizations {
		d.Reason += "; the organization does not allow it"
	}
	return d, nil
}

// typeOf is the type of a condition key, which IAM wants to be told ("AWS global
// condition context keys").
func typeOf(key string, values []string) types.ContextKeyTypeEnum {
	switch {
	case key == "aws:sourceip" || key == "aws:vpcsourceip":
		return types.ContextKeyTypeEnumIp
	case key == "aws:currenttime":
		return types.ContextKeyTypeEnumDate
	case key == "aws:epochtime":
		return types.ContextKeyTypeEnumNumeric
	case len(values) > 1:
		return types.ContextKeyTypeEnumStringList
	}
	return types.ContextKeyTypeEnumString
}

func printDecisions(out io.Writer, decisions []decision) error {
	var b strings.Builder
	for _, d := range decisions {
		where := ""
		if d.Line > 0 {
			where = fmt.Sprintf("%s:%d:%d: ", d.Policy, d.Line, d.Column)
		}
		fmt.Fprintf(&b, "%s: %s on %s\n  %s%s\n", d.Decision, d.Action, d.Resource, where, d.Reason)
		for _, key := range d.MissingContext {
			fmt.Fprintf(&b, "  the policies ask for %s, which the request does not have: --context %[1]s=VALUE\n", key)
		}
	}
	_, err := io.WriteString(out, printable(b.String()))
	return err
}

// printable has nothing of a document, or of what a server says, that a terminal
// would act on.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || unicode.IsPrint(r) {
			return r
		}
		return utf8.RuneError
	}, text)
}
