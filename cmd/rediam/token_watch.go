package main

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/rediam/rediam"
)

// What watch waits for: at most longestPause after failures, and at least
// shortestPause after a token that does not live long.
const (
	longestPause  = time.Minute
	shortestPause = 500 * time.Millisecond
	glance        = 10 * time.Second // how often it looks at the clock
	jump          = 5 * time.Second  // what is more than being set right little by little
)

// writeFile replaces the file. A line end would be part of the password for programs
// that read it as it is.
func (c *tokenCommand) writeFile(config rediam.Config, signer *rediam.Signer, token rediam.Token) error {
	var out strings.Builder
	c.print(&out, config, signer, token)
	text := out.String()
	if c.Format == "raw" {
		text = token.Password
	}
	err := checkDirectory(filepath.Dir(c.Write))
	if err == nil {
		err = writeFile(c.Write, text)
	}
	if err != nil {
		err = fmt.Errorf("write the token: %w", err)
	}
	return err
}

// checkDirectory refuses a directory in which everybody may put a file in the place
// of ours.
func checkDirectory(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if runtime.GOOS != "windows" && info.Mode()&0o002 != 0 && info.Mode()&fs.ModeSticky == 0 {
		return hinted{fmt.Errorf("everybody may replace files in %s", dir), "make a directory of its own: mkdir -m 700 DIR"}
	}
	return nil
}

// watch replaces the file until ctx is done, and leaves the last one: it is good for
// some minutes, in which a successor can start.
func (c *tokenCommand) watch(ctx context.Context, t *terminal, config rediam.Config, signer *rediam.Signer, token rediam.Token) error {
	t.say("%s has a token, and will always have one; stop it with Ctrl-C", c.Write)
	for failures := 0; ; {
		wait(ctx, pauseAfter(failures, time.Until(token.Expires)))
		if ctx.Err() != nil {
			return nil
		}
		next, err := c.renew(ctx, config, signer)
		switch {
		case err == nil:
			token, failures = next, 0
			t.log.Debug("the token is replaced", "file", c.Write, "expires", token.Expires)
		case ctx.Err() == nil:
			failures++
			t.report(fmt.Errorf("the token in %s stays, which expires at %s: %w", c.Write, token.Expires.Format(time.TimeOnly), err))
		}
	}
}

// wait is for as long as pause, or until ctx is done or the clock has jumped.
func wait(ctx context.Context, pause time.Duration) {
	for start := time.Now(); ; {
		passed, byClock := time.Since(start), time.Now().Round(0).Sub(start.Round(0))
		if ctx.Err() != nil || isOver(pause, passed, byClock) {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(min(pause-passed, glance)):
		}
	}
}

// isOver is whether a pause is, of which so much has passed, and by the clock so much:
// a machine that sleeps does not count the time, and AWS goes by the clock.
func isOver(pause, passed, byClock time.Duration) bool {
	return passed >= pause || (byClock-passed).Abs() > jump
}

// pauseAfter has the next token come when half to three quarters of the life of this
// one are over, or, after failures, ever later.
func pauseAfter(failures int, left time.Duration) time.Duration {
	pause := left * 3 / 4
	if failures > 0 {
		pause = min(time.Second<<min(failures-1, 10), longestPause)
	}
	return max(pause*2/3+rand.N(max(pause/3, 1)), shortestPause)
}

// renew signs anew, with new credentials: the SDK keeps those it has to their last
// second, and no token outlives them.
func (c *tokenCommand) renew(ctx context.Context, config rediam.Config, signer *rediam.Signer) (rediam.Token, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	if cache, ok := signer.Credentials.(*aws.CredentialsCache); ok {
		cache.Invalidate()
	}
	token, err := signer.Token(ctx)
	if err != nil {
		return token, explain(err)
	}
	return token, c.writeFile(config, signer, token)
}
