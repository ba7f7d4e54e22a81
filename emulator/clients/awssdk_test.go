package clients_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rediam/rediam/emulator"
	"github.com/rediam/rediam/internal/installed"
)

// runSDK runs a part of aws-sdk.js, which checks everything by itself.
func runSDK(t *testing.T, srv *emulator.Server, part string) {
	t.Helper()
	if output, ok := node(t, "node", "@aws-sdk/client-elasticache", "aws-sdk.js").run(t, srv.Environ(), part); !ok || output != "" {
		t.Errorf("the program has failed, and printed %q", output)
	}
}

// The emulator tells who has signed in: the role on an instance, then elsewhere, where
// it is refused as soon as it has no permission any more.
func TestTheSDKOfJavaScriptSetsUpACache(t *testing.T) {
	t.Parallel()
	srv := emulator.Start(t, emulator.Config{Engine: installed.Path(t, "redis-server"), Empty: true, StateDelay: time.Hour})
	runSDK(t, srv, "setUp")
	var got string
	for _, e := range srv.Events() {
		got += strings.Join([]string{e.Cache, e.User, e.Principal, e.Reason}, " ") + "\n"
	}
	const role = "orders app arn:aws:sts::123456789012:assumed-role/app/"
	if want := "^" + role + "i-[0-9a-f]{17} \n" + role + "laptop \n" + role + "laptop permission-denied\n$"; !regexp.MustCompile(want).MatchString(got) {
		t.Errorf("the sign-ins are\n%swant\n%s", got, want)
	}
}

func TestTheSDKOfJavaScriptGoesThroughThePages(t *testing.T) {
	t.Parallel()
	runSDK(t, emulator.Start(t, emulator.Config{Engine: "embedded", Empty: true}), "pages")
}

func TestTheSDKOfJavaScriptKnowsTheErrors(t *testing.T) {
	t.Parallel()
	runSDK(t, emulator.Start(t, emulator.Config{Engine: "embedded", Empty: true}), "errors")
}
