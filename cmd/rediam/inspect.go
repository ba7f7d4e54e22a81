package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/rediam/rediam/internal/sigv4"
)

type inspectCommand struct {
	File   string `placeholder:"FILE" help:"Read the token from a file instead of standard input."`
	Format string `enum:"text,json" default:"text" help:"text or json."`
}

func (inspectCommand) Help() string {
	return `Neither the signature nor the session token is printed, and no network is used: whether the
signature is right only AWS can say. Exits 1 if something is wrong.

Example:

  rediam token | rediam inspect`
}

// inspection is what is printed; without Claims the token could not be read.
type inspection struct {
	Claims   *claims   `json:"claims,omitempty"`
	Problems []problem `json:"problems"`
}

type claims struct {
	Service      string     `json:"service"`
	Region       string     `json:"region"`
	Cache        string     `json:"cache"`
	Serverless   bool       `json:"serverless"`
	User         string     `json:"user"`
	AccessKey    string     `json:"accessKeyId"`
	SessionToken bool       `json:"hasSessionToken"`
	Signed       *time.Time `json:"signed,omitempty"`
	Expires      *time.Time `json:"expires,omitempty"`
}

type problem struct {
	Reason string `json:"reason"`
	Detail string `json:"detail"`
}

func (c *inspectCommand) Run(t *terminal) error {
	token, err := c.read(t)
	if err != nil {
		return err
	}
	found := inspect(token, time.Now())
	if c.Format == "json" {
		err = json.NewEncoder(t.stdout).Encode(found)
	} else {
		err = found.print(t.stdout)
	}
	if err == nil && len(found.Problems) > 0 {
		err = fmt.Errorf("AWS would refuse this token: %s", found.Problems[0].Reason)
	}
	return err
}

// read takes a token and the one line end that an editor or echo adds.
func (c *inspectCommand) read(t *terminal) (string, error) {
	in := t.stdin
	if c.File != "" {
		f, err := os.Open(c.File)
		if err != nil {
			return "", err
		}
		defer f.Close()
		in = f
	} else if f, ok := in.(*os.File); ok && isTerminal(f) {
		t.say("reading a token from standard input")
	}
	data, err := io.ReadAll(io.LimitReader(in, sigv4.MaxToken+3))
	if err != nil {
		return "", err
	}
	token := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	if token == "" {
		return "", usageError{errors.New("there is no token to inspect: give it on standard input or with --file")}
	}
	return token, nil
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func inspect(token string, now time.Time) inspection {
	said, refusals := sigv4.Inspect(token, now)
	found := inspection{Problems: []problem{}}
	for _, r := range refusals {
		found.Problems = append(found.Problems, problem{string(r.Reason), r.Detail})
	}
	if said.Cache != "" {
		found.Claims = &claims{Service: said.Service, Region: said.Region, Cache: said.Cache, Serverless: said.ResourceType != "",
			User: said.User, AccessKey: said.AccessKey, SessionToken: said.SessionToken, Signed: orNil(said.Signed), Expires: orNil(said.Expires)}
	}
	return found
}

func orNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func (i inspection) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if c := i.Claims; c != nil {
		fmt.Fprintf(w, "service\t%q\nregion\t%q\ncache\t%q\nserverless\t%v\nuser\t%q\naccess key\t%q\nsession token\t%s\n",
			c.Service, c.Region, c.Cache, c.Serverless, c.User, c.AccessKey, map[bool]string{true: "yes", false: "no"}[c.SessionToken])
		if c.Signed != nil {
			fmt.Fprintf(w, "signed\t%s\n", c.Signed.Format(time.RFC3339))
		}
		if c.Expires != nil {
			fmt.Fprintf(w, "expires\t%s\n", c.Expires.Format(time.RFC3339))
		}
	}
	for _, p := range i.Problems {
		fmt.Fprintf(w, "wrong\t%s: %s\n", p.Reason, p.Detail)
	}
	if len(i.Problems) == 0 {
		fmt.Fprintf(w, "wrong\tnothing that shows without the keys\n")
	}
	return w.Flush()
}
