package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/memorydb"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/internal/doctor"
	"github.com/rediam/rediam/internal/setup"
)

type setupCommand struct {
	Plan    setupPlanCommand    `cmd:"" default:"withargs" help:"Show what is there, and what would be made or changed; or print it for CloudFormation or a shell."`
	Apply   setupApplyCommand   `cmd:"" help:"Make and change it, and wait until it is there."`
	Destroy setupDestroyCommand `cmd:"" help:"Delete what apply has made, and nothing else."`
}

// setupTarget is what there should be.
type setupTarget struct {
	Service    rediam.Service `env:"REDIAM_SERVICE" placeholder:"NAME" help:"elasticache (default) or memorydb."`
	Cache      string         `env:"REDIAM_CACHE" required:"" placeholder:"NAME" help:"Replication group, serverless cache or MemoryDB cluster: one that is there, or that is made."`
	Serverless bool           `env:"REDIAM_SERVERLESS" help:"It is an ElastiCache serverless cache."`
	User       string         `env:"REDIAM_USER" required:"" placeholder:"NAME" help:"User to sign in as."`
	Role       string         `placeholder:"NAME" help:"Name of the role and of its instance profile. Default: that of the user."`
	Group      string         `placeholder:"ID" help:"User group, or ACL of MemoryDB. Default: that of the cache, or CACHE-users."`

	Region     string        `env:"REDIAM_REGION" placeholder:"REGION" help:"Region of all of it. Default: that of the AWS configuration."`
	RoleARN    string        `name:"role-arn" placeholder:"ARN" help:"Role to assume first, to make all of it."`
	ExternalID string        `name:"external-id" placeholder:"ID" help:"External id that the role's trust policy asks for."`
	Poll       time.Duration `default:"5s" help:"How often to look while AWS is changing something."`
	Timeout    time.Duration `default:"45m" help:"How long all of it may take."`
	Format     string        `enum:"text,json" default:"text" help:"text or json."`
}

// setupSpec is what plan and apply have besides.
type setupSpec struct {
	setupTarget `embed:""`
	Access      string `placeholder:"ACCESS" help:"What the user may do: read-only, read-write (default for a new user), admin, or an access string."`
	Trust       string `placeholder:"WHO" help:"Make a role for ec2, lambda, ecs, irsa:ISSUER:NAMESPACE:SERVICEACCOUNT, pod-identity:CLUSTER:NAMESPACE:SERVICEACCOUNT, or the ARN of a role, user or account. Default: no role is made."`

	Engine         string   `placeholder:"ENGINE" help:"Of a new cache: valkey (default) or redis."`
	EngineVersion  string   `placeholder:"VERSION" help:"Of a new cache. Default: AWS's."`
	NodeType       string   `placeholder:"TYPE" help:"Of a new cache, which has one node. Default: cache.t4g.small, or db.t4g.small."`
	SubnetGroup    string   `placeholder:"NAME" help:"Of a new cache. Default: AWS's, of the default VPC."`
	Subnets        []string `placeholder:"ID" help:"Of a new serverless cache. Default: those of the default VPC."`
	SecurityGroups []string `placeholder:"ID" help:"Of a new cache. Default: that of its VPC."`
}

type setupPlanCommand struct {
	setupSpec `embed:""`
	Template  string `enum:",cloudformation,cli,json" default:"" placeholder:"FORMAT" help:"Print it for another tool: cloudformation, cli (a shell script) or json (calls of the AWS API)."`
}

func (setupPlanCommand) Help() string {
	return `Changes nothing. + is made, ~ is changed, = is there as it should be, ! is there and stays as it is,
since setup has not made it.

Example:

  rediam setup plan --cache orders --user orders-app --access read-write --trust ec2 --region eu-west-1`
}

type setupApplyCommand struct {
	setupSpec `embed:""`
	EnvFile   string `placeholder:"FILE" help:"Write export lines of the target, for rediam's other commands, to a file."`
	CA        string `name:"ca" env:"REDIAM_CA" placeholder:"FILE" help:"PEM file of the authority that the cache's certificate must come from. Default: the system's."`
	Doctor    bool   `default:"true" negatable:"" help:"Examine the sign-in at the end; --no-doctor where the cache cannot be reached from here."`
	Yes       bool   `help:"Do it without asking."`
}

func (setupApplyCommand) Help() string {
	return `Makes the user, its group (ACL), the cache and with --trust a role that may sign in, as far as they
are not there. What is there is used, and never replaced. Stopped anywhere, it goes on when it is
run again. Without --trust, who runs it must be able to sign in: the doctor at the end says so if not.

Example:

  rediam setup apply --cache orders --user orders-app --trust ec2 --env-file orders.env
  rediam setup apply --cache orders --serverless --user reports --access read-only --yes`
}

type setupDestroyCommand struct {
	setupTarget `embed:""`
	Yes         bool `help:"Do it without asking."`
}

func (setupDestroyCommand) Help() string {
	return `Deletes what has the tag that apply gives to what it makes for this cache, unless others use it. A
cache goes with everything in it, without a snapshot.

Example:

  rediam setup destroy --cache orders --user orders-app`
}

func (c *setupTarget) location() location {
	return location{Region: c.Region, RoleARN: c.RoleARN, ExternalID: c.ExternalID}
}

// setup is what the flags ask for, with clients of the SDK.
func (c *setupTarget) setup(ctx context.Context, t *terminal) (*setup.Setup, error) {
	if c.Poll <= 0 {
		return nil, usageError{errors.New("--poll must be more than nothing")}
	}
	common := c.location()
	awsConfig, err := common.awsConfig(ctx)
	if err == nil && awsConfig.Region == "" {
		err = usageError{hinted{errors.New("no region"), "give --region, REDIAM_REGION or AWS_REGION"}}
	}
	return &setup.Setup{Region: awsConfig.Region, Poll: c.Poll, Progress: func(what string) { t.say("%s", printable(what)) },
		Clients: setup.Clients{STS: sts.NewFromConfig(awsConfig), IAM: iam.NewFromConfig(awsConfig), ElastiCache: elasticache.NewFromConfig(awsConfig), MemoryDB: memorydb.NewFromConfig(awsConfig)},
		Spec:    setup.Spec{Service: c.Service, Serverless: c.Serverless, Cache: c.Cache, User: c.User, Role: c.Role, Group: c.Group}}, err
}

func (c *setupSpec) setup(ctx context.Context, t *terminal) (*setup.Setup, error) {
	s, err := c.setupTarget.setup(ctx, t)
	if err == nil {
		s.Spec.Access, s.Spec.Trust = c.Access, c.Trust
		s.Spec.Engine, s.Spec.Version, s.Spec.NodeType = c.Engine, c.EngineVersion, c.NodeType
		s.Spec.SubnetGroup, s.Spec.Subnets, s.Spec.SecurityGroups = c.SubnetGroup, c.Subnets, c.SecurityGroups
	}
	return s, err
}

// said turns what package setup says into what report prints.
func said(err error) error {
	var e *setup.Error
	switch {
	case errors.As(err, new(setup.SpecError)):
		return usageError{err}
	case errors.As(err, &e) && e.Hint != "":
		return hinted{err, e.Hint}
	}
	return err
}

func (c *setupPlanCommand) Run(ctx context.Context, t *terminal) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	s, err := c.setup(ctx, t)
	if err != nil {
		return err
	}
	plan, err := s.Plan(ctx)
	if err != nil {
		return said(err)
	}
	if c.Template != "" {
		text, err := plan.Template(c.Template)
		if err == nil {
			_, err = t.stdout.Write(text)
		}
		return said(err)
	}
	return c.show(t, plan, s.Remaining(ctx))
}

// setupReport is what plan and apply print as JSON.
type setupReport struct {
	setup.Plan
	Remaining []string       `json:"remaining"`
	Endpoint  string         `json:"endpoint,omitempty"`
	Doctor    *doctor.Report `json:"doctor,omitempty"`
}

func (c *setupTarget) show(t *terminal, plan setup.Plan, remaining []string) error {
	if c.Format == "json" {
		return json.NewEncoder(t.stdout).Encode(setupReport{Plan: plan, Remaining: append([]string{}, remaining...)})
	}
	if _, err := io.WriteString(t.stdout, printable(planText(plan))); err != nil {
		return err
	}
	return showRemaining(t, remaining)
}

func showRemaining(t *terminal, remaining []string) error {
	if len(remaining) == 0 {
		return nil
	}
	_, err := fmt.Fprintf(t.stdout, "\nleft to you:\n  %s\n", printable(strings.Join(remaining, "\n  ")))
	return err
}

var actionSigns = map[setup.Action]string{setup.Make: "+", setup.Change: "~", setup.Delete: "-", setup.None: "=", setup.Keep: "!"}

// planText is the plan as a diff.
func planText(plan setup.Plan) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s, user %s\n", plan.Cache, plan.User[strings.LastIndexAny(plan.User, ":/")+1:])
	for _, s := range plan.Steps {
		sign := actionSigns[s.Action]
		left := slices.ContainsFunc(s.Differences, func(d setup.Difference) bool { return d.Left })
		if s.Action == setup.None && left {
			sign = "!"
		}
		fmt.Fprintf(&out, "%s %s %s", sign, s.Kind, s.Name)
		if s.Adopted {
			out.WriteString(" (not made by setup for this cache)")
		}
		out.WriteString("\n")
		for _, d := range s.Differences {
			switch {
			case s.Action == setup.Make:
				fmt.Fprintf(&out, "    %s: %s\n", d.What, d.Want)
			case d.Left:
				fmt.Fprintf(&out, "    %s: %s, not %s, and is left so\n", d.What, d.Is, d.Want)
			default:
				fmt.Fprintf(&out, "    %s: %s -> %s\n", d.What, cmp.Or(d.Is, "none"), d.Want)
			}
		}
		if s.Note != "" {
			fmt.Fprintf(&out, "    %s\n", s.Note)
		}
	}
	return out.String()
}

// agreed asks whether to go on.
func agreed(ctx context.Context, t *terminal, question string) error {
	t.say("%s Type yes.", question)
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(io.LimitReader(t.stdin, 100)).ReadString('\n')
		answer <- strings.TrimSpace(line)
	}()
	select {
	case <-ctx.Done():
		return errors.New("interrupted: nothing has been done")
	case line := <-answer:
		if line != "yes" {
			return hinted{errors.New("nothing has been done"), "answer yes, or give --yes"}
		}
	}
	return nil
}

func (c *setupApplyCommand) Run(running context.Context, t *terminal) error {
	ctx, cancel := context.WithTimeout(running, c.Timeout)
	defer cancel()
	s, err := c.setup(ctx, t)
	if err != nil {
		return err
	}
	common := c.location()
	common.CA = c.CA
	if _, err := common.trust(); err != nil { // before anything is made
		return usageError{err}
	}
	if c.EnvFile != "" { // likewise
		f, err := openBeside(c.EnvFile)
		if err != nil {
			return usageError{fmt.Errorf("--env-file: %w", err)}
		}
		f.Close()
		os.Remove(f.Name())
	}
	plan, err := s.Plan(ctx)
	if err != nil {
		return said(err)
	}
	if c.Format == "text" {
		if err := c.show(t, plan, nil); err != nil {
			return err
		}
	}
	if !c.Yes && !plan.Nothing() {
		if c.Format == "json" { // which comes at the end
			fmt.Fprint(t.stderr, printable(planText(plan)))
		}
		if err := agreed(ctx, t, "make and change this?"); err != nil {
			return err
		}
	}
	endpoint, err := s.Apply(ctx)
	if err != nil {
		return said(err)
	}
	result := setupReport{Plan: plan, Remaining: s.Remaining(ctx), Endpoint: endpoint}
	made := c.made(s, endpoint)
	if c.EnvFile != "" {
		if err := writeFile(c.EnvFile, targetLines(made)); err != nil {
			return fmt.Errorf("write the environment file: %w", err)
		}
	}
	if c.Format == "text" {
		if err := showRemaining(t, result.Remaining); err != nil {
			return err
		}
	}
	healthy := c.examine(running, t, s, made, &result)
	if c.Format == "json" {
		return errors.Join(json.NewEncoder(t.stdout).Encode(result), healthy)
	}
	return healthy
}

// made is the target of those who sign in.
func (c *setupApplyCommand) made(s *setup.Setup, endpoint string) location {
	made := location{Service: s.Spec.Service, Cache: s.Spec.Cache, Serverless: s.Spec.Serverless, User: s.Spec.User, Region: s.Region, Endpoint: endpoint, CA: c.CA, RoleARN: c.RoleARN, ExternalID: c.ExternalID}
	if c.Trust != "" { // somebody else's credentials
		made.RoleARN, made.ExternalID = "", ""
	}
	if s.Assumable() {
		made.RoleARN = s.RoleARN()
	}
	return made
}

// targetLines are export lines of a target. What it has not is empty, so that nothing
// of another stays.
func targetLines(t location) (lines string) {
	for _, v := range []struct{ name, value string }{
		{"SERVICE", string(t.Service)}, {"CACHE", t.Cache}, {"SERVERLESS", fmt.Sprint(t.Serverless)}, {"USER", t.User}, {"REGION", t.Region}, {"ENDPOINT", t.Endpoint},
		{"ROLE_ARN", t.RoleARN}, {"EXTERNAL_ID", t.ExternalID},
	} {
		lines += "export REDIAM_" + v.name + "=" + quote(v.value) + "\n"
	}
	if t.CA != "" {
		lines += "export REDIAM_CA=" + quote(t.CA) + "\n"
	}
	return lines
}

// examine has the doctor sign in, if it may be who signs in. It cannot be an instance,
// a function or a pod: then IAM is asked what those may.
func (c *setupApplyCommand) examine(ctx context.Context, t *terminal, s *setup.Setup, made location, result *setupReport) error {
	if !c.Doctor {
		return nil
	}
	if c.Trust != "" && !s.Mine() {
		return c.simulate(ctx, t, s)
	}
	if s.Mine() {
		c.awaitRole(ctx, t, made)
	}
	d := &doctorCommand{target: target{location: made, Timeout: 30 * time.Second}, Format: c.Format}
	if c.Format == "text" {
		fmt.Fprintln(t.stdout)
		return d.Run(ctx, t)
	}
	report, err := d.report(ctx, t)
	result.Doctor = &report
	return err
}

// roleDelay is how long a new role may take to show everywhere: AWS says no more than
// that it takes a while (IAM user guide, "Changes that I make are not always
// immediately visible").
const roleDelay = time.Minute

// awaitRole waits until the role can be assumed. What else is wrong, the doctor says.
func (c *setupApplyCommand) awaitRole(ctx context.Context, t *terminal, made location) {
	awsConfig, err := made.awsConfig(ctx)
	if err != nil {
		return
	}
	var once sync.Once
	for end := time.Now().Add(roleDelay); time.Now().Before(end); {
		if _, err := awsConfig.Credentials.Retrieve(ctx); err == nil {
			return
		}
		once.Do(func() { t.say("waiting: the role cannot be assumed yet") })
		select {
		case <-ctx.Done():
			return
		case <-time.After(c.Poll):
		}
	}
}

func (c *setupApplyCommand) simulate(ctx context.Context, t *terminal, s *setup.Setup) error {
	common := c.location()
	awsConfig, err := common.awsConfig(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	verdicts, err := clientsIn(awsConfig, s.Region).Simulate(ctx, s.RoleARN(), string(s.Spec.Service)+":Connect", s.CacheARN(), s.UserARN())
	if err != nil {
		t.say("IAM was not asked whether the role may connect: %s", printable(err.Error()))
		return nil
	}
	for _, arn := range []string{s.CacheARN(), s.UserARN()} {
		if !verdicts[arn].Allowed() {
			return hinted{fmt.Errorf("IAM does not let %s connect: %s on %s", s.RoleARN(), verdicts[arn].Decision, arn), "look at the role's permissions boundary, its other policies and those of the organization"}
		}
	}
	t.say("IAM lets %s connect; what remains can be tried by the workload alone: rediam doctor there", s.RoleARN())
	return nil
}

func (c *setupDestroyCommand) Run(ctx context.Context, t *terminal) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	s, err := c.setup(ctx, t)
	if err != nil {
		return err
	}
	plan, err := s.PlanDestroy(ctx)
	if err != nil {
		return said(err)
	}
	if err := c.show(t, plan, nil); err != nil {
		return err
	}
	if plan.Nothing() {
		t.say("there is nothing that setup has made for it and nobody else uses")
		return nil
	}
	if !c.Yes {
		if err := agreed(ctx, t, "delete what has a - before it, with everything in it, and change what has a ~?"); err != nil {
			return err
		}
	}
	return said(s.Destroy(ctx))
}
