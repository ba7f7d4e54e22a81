// Command rediam signs in to Amazon ElastiCache and MemoryDB with AWS IAM, and
// runs both on this machine without an AWS account.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/rediam/rediam"
)

// What every command keeps to: data goes to stdout and nothing else does; all
// else goes to stderr, as "rediam: …" or as lines of a log; an error is followed by "rediam: hint: …"
// where there is something to do. Exit 0 means done, 1 failed, 2 wrong usage.
type terminal struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	log            *slog.Logger
}

// say tells the person at the terminal something.
func (t *terminal) say(format string, args ...any) {
	fmt.Fprintf(t.stderr, "rediam: "+format+"\n", args...)
}

// cli is every command and flag.
type cli struct {
	Token   tokenCommand   `cmd:"" help:"Print a token that signs in to a cache."`
	Inspect inspectCommand `cmd:"" help:"Say what a token claims and what is wrong with it."`
	Emulate emulateCommand `cmd:"" help:"Run ElastiCache or MemoryDB on this machine."`
	Demo    demoCommand    `cmd:"" help:"Show IAM sign-in at work: good, refused and renewed."`
	Proxy   proxyCommand   `cmd:"" help:"Let clients that know no IAM use a cache."`
	Doctor  doctorCommand  `cmd:"" help:"Find out why a sign-in does not work."`
	Exec    execCommand    `cmd:"" help:"Run redis-cli, redis-benchmark or another program signed in."`
	Policy  policyCommand  `cmd:"" help:"Print, check and simulate IAM policies of sign-ins."`
	ACL     aclCommand     `cmd:"" name:"acl" help:"Check and explain access strings of users."`
	Rotate  rotateCommand  `cmd:"" help:"Rotate a password that Secrets Manager keeps."`
	Setup   setupCommand   `cmd:"" help:"Make what a sign-in needs on AWS: user, group, cache and role."`
	Migrate migrateCommand `cmd:"" help:"Take the clients of a password over to IAM."`
	Wait    waitCommand    `cmd:"" help:"Wait until a proxy takes connections."`
	Version versionCommand `cmd:"" help:"Print the version of rediam."`

	Completion completionCommand `cmd:"" help:"Print a script with which a shell completes the commands and flags of rediam."`
	Complete   completeCommand   `cmd:"" hidden:""`
	Man        manCommand        `cmd:"" hidden:"" help:"Write the manual pages into a directory."`

	Verbose bool `short:"v" help:"Log more, to stderr."`
}

// A usageError is a mistake in flags or environment, not a failure of the work.
type usageError struct{ error }

func (u usageError) Unwrap() error { return u.error }

// A hinted error knows what to do about it.
type hinted struct {
	error
	hint string
}

func (h hinted) Unwrap() error { return h.error }

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is main without the process: it returns the exit status.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	context.AfterFunc(ctx, stop)            // a second signal ends the process
	for _, variable := range os.Environ() { // an empty one is not given, whatever its flag takes
		if name, value, _ := strings.Cut(variable, "="); value == "" && strings.HasPrefix(name, "REDIAM_") {
			os.Unsetenv(name)
		}
	}
	var c cli
	t := &terminal{stdin: stdin, stdout: stdout, stderr: stderr}
	exited := -1
	parser, err := kong.New(&c,
		kong.Name("rediam"),
		kong.Description("Sign in to Amazon ElastiCache and MemoryDB with AWS IAM; run both on a laptop."),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { exited = code }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(t))
	if err != nil { // the struct above is wrong
		t.say("%v", err)
		return 2
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	command, err := parser.Parse(args)
	if exited >= 0 { // --help has been answered
		return exited
	}
	if err != nil {
		return t.report(usageError{hinted{err, helpHint(args, parser.Model.Children)}})
	}
	level := slog.LevelWarn
	if c.Verbose {
		level = slog.LevelDebug
	}
	t.log = slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
	return t.report(command.Run())
}

func helpHint(args []string, commands []*kong.Node) string {
	called := "rediam"
	for _, name := range args {
		i := slices.IndexFunc(commands, func(c *kong.Node) bool { return c.Name == name })
		if i < 0 {
			break
		}
		called, commands = called+" "+name, commands[i].Children
	}
	if len(commands) > 0 {
		return called + " --help lists the commands"
	}
	return called + " --help shows the flags and an example"
}

// report prints an error, with its hint, and gives the exit status. That of a program
// that rediam exec has run needs no words.
func (t *terminal) report(err error) int {
	var status exitStatus
	if err == nil || errors.As(err, &status) {
		return int(status)
	}
	// The AWS SDK may repeat what a credential_process printed.
	text := strings.TrimPrefix((&rediam.CredentialsError{Err: err}).Error(), "rediam: get AWS credentials: ")
	for line := range strings.Lines(text) {
		t.say("%s", strings.TrimPrefix(strings.TrimRight(line, "\n"), "rediam: "))
	}
	var h hinted
	if errors.As(err, &h) {
		t.say("hint: %s", h.hint)
	}
	if errors.As(err, new(usageError)) {
		return 2
	}
	return 1
}
