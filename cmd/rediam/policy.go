package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/rediam/rediam"
	"github.com/rediam/rediam/internal/account"
	"github.com/rediam/rediam/internal/policy"
	"github.com/rediam/rediam/internal/world"
)

// maxInput is more than anything that is read may have.
const maxInput = 4 << 20

type policyCommand struct {
	Print    policyPrintCommand    `cmd:"" help:"Print the IAM policy that a sign-in needs, and no more."`
	Lint     policyLintCommand     `cmd:"" help:"Say what is wrong with a policy document, and where."`
	Simulate policySimulateCommand `cmd:"" help:"Say whether policies allow a sign-in, and which statement decides."`
}

type policyPrintCommand struct {
	target  `embed:""`
	Account string `placeholder:"ID" help:"Account of the cache, 12 digits; sts asks STS for that of the credentials."`
}

func (policyPrintCommand) Help() string {
	return `Connect is checked on two resources, the cache and the user. The document is for put-role-policy,
put-user-policy and create-policy.

Example:

  rediam policy print --cache orders --user orders-app --region eu-west-1 --account 123456789012`
}

func (c *policyPrintCommand) Run(ctx context.Context, t *terminal) error {
	connect, err := c.connect(ctx, c.Account)
	if err != nil {
		return err
	}
	document := json.RawMessage(account.SignInPolicy(connect.action, connect.resources...))
	out := json.NewEncoder(t.stdout)
	out.SetIndent("", "  ")
	return out.Encode(document)
}

// connect is what IAM is asked at a sign-in.
type connect struct {
	config    rediam.Config
	action    string
	resources []string
}

var accountID = regexp.MustCompile(`^[0-9]{12}$`)

// connect checks the target; with the account "sts" it asks for that.
func (t *target) connect(ctx context.Context, account string) (c connect, err error) {
	ctx, cancel := context.WithTimeout(ctx, t.Timeout)
	defer cancel()
	if account != "sts" && !accountID.MatchString(account) {
		return c, usageError{hinted{errors.New("the account, which is part of the ARNs, must be 12 digits"), "--account 123456789012, or --account sts for that of the AWS credentials"}}
	}
	if c.config, err = t.config(); err != nil {
		return c, usageError{err}
	}
	signer, err := t.signer(ctx, c.config)
	if err != nil {
		return c, err
	}
	if account == "sts" {
		awsConfig, err := t.awsConfig(ctx)
		if err != nil {
			return c, err
		}
		who, err := sts.NewFromConfig(awsConfig).GetCallerIdentity(ctx, nil)
		if err != nil {
			return c, hinted{fmt.Errorf("ask STS for the account: %w", err), "--account 123456789012 asks nobody"}
		}
		account = aws.ToString(who.Account)
	}
	c.config.Region = signer.Region
	kind := world.ReplicationGroup
	switch {
	case signer.Service == rediam.MemoryDB:
		kind = world.Cluster
	case signer.Serverless:
		kind = world.ServerlessCache
	}
	w, cache := world.New(signer.Region, account), world.Cache{Kind: kind, Name: strings.ToLower(signer.Cache)}
	c.action = cache.Service() + ":Connect"
	c.resources = []string{w.CacheARN(cache), w.UserARN(world.User{Service: cache.Service(), ID: signer.User, Name: signer.User})}
	return c, nil
}

type policyLintCommand struct {
	Files  []string `arg:"" name:"file" help:"Documents; - is standard input."`
	Kind   string   `enum:"identity,trust" default:"identity" help:"identity: a permission policy or boundary. trust: the trust policy of a role."`
	Format string   `enum:"text,json" default:"text" help:"text or json."`
}

func (policyLintCommand) Help() string {
	return `It reads documents that are no JSON too, and knows what goes wrong with ElastiCache, MemoryDB and
roles. A line for each problem: file, line, column, what is wrong and what to write instead.
Exits 1 if there is a problem; a warning alone is none.

Example:

  rediam policy lint policy.json
  rediam policy lint --kind trust trust.json`
}

// A fileFinding is printed; without a line it is about the whole document.
type fileFinding struct {
	File string `json:"file"`
	policy.Finding
}

func (c *policyLintCommand) Run(t *terminal) error {
	findings, problems := []fileFinding{}, 0
	for _, file := range c.Files {
		document, err := t.read(file)
		if err != nil {
			return err
		}
		for _, f := range lintPolicy(map[string]policy.Kind{"identity": policy.Identity, "trust": policy.Trust}[c.Kind], document) {
			findings = append(findings, fileFinding{file, f})
			if !f.Warning {
				problems++
			}
		}
	}
	if c.Format == "json" {
		if err := json.NewEncoder(t.stdout).Encode(map[string]any{"findings": findings}); err != nil {
			return err
		}
	} else {
		for _, f := range findings {
			warning := ""
			if f.Warning {
				warning = "warning: "
			}
			fmt.Fprintf(t.stdout, "%s:%d:%d: %s%s: %s\n", f.File, f.Line, f.Column, warning, f.Problem, f.Instead)
		}
	}
	if problems > 0 {
		return fmt.Errorf("problems: %d", problems)
	}
	return nil
}

// lintPolicy has AWS's answer where it refuses a document of which there is nothing
// else to say.
func lintPolicy(kind policy.Kind, document []byte) []policy.Finding {
	findings := policy.Lint(kind, document)
	if len(findings) > 0 && !findings[0].Warning {
		return findings
	}
	_, err := policy.Parse(kind, "", document)
	var malformed *policy.MalformedError
	if errors.As(err, &malformed) {
		findings = append([]policy.Finding{{Line: 1, Column: 1, Problem: "AWS refuses the document: " + malformed.Message, Instead: malformed.Detail}}, findings...)
	}
	return findings
}

// read reads a file, or standard input if it is "-".
func (t *terminal) read(file string) ([]byte, error) {
	in := t.stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxInput))
	if err == nil && len(data) == maxInput {
		err = fmt.Errorf("%s: longer than %d bytes", file, maxInput)
	}
	return data, err
}
