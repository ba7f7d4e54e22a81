package setup

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/aws/smithy-go"
)

// until calls try, with pauses in between, until it has no reason to go on or fails
// with what will not pass.
func (s *Setup) until(ctx context.Context, try func() error) error {
	said := ""
	for {
		reason := try()
		if errors.Is(reason, errAgain) {
			continue
		}
		if reason == nil || !passes(reason) {
			return reason
		}
		if text := reason.Error(); text != said {
			said = text
			s.say("waiting: %s", text)
		}
		every := s.Poll
		if every <= 0 {
			every = 5 * time.Second
		}
		select {
		case <-time.After(every/2 + rand.N(every)):
		case <-ctx.Done():
			return &Error{"the time is over, or it was interrupted, after: " + reason.Error(), goesOn, context.Cause(ctx)}
		}
	}
}

// errAgain is to look again at once.
var errAgain = errors.New("again")

// passing is a reason to wait.
type passing struct{ error }

func waitFor(format string, args ...any) error { return passing{fmt.Errorf(format, args...)} }

// passes is whether an error is worth another try: AWS is busy, or something does not
// show to all of its servers yet.
func passes(err error) bool {
	if errors.As(err, new(passing)) {
		return true
	}
	var answered smithy.APIError
	return errors.As(err, &answered) && (slices.Contains(passingCodes, code(answered)) || answered.ErrorFault() == smithy.FaultServer)
}

// code is that of an error, without Fault and Exception at its end, which some
// protocols have and others have not.
func code(answered smithy.APIError) string {
	return strings.TrimSuffix(strings.TrimSuffix(answered.ErrorCode(), "Fault"), "Exception")
}

var passingCodes = []string{
	"InvalidUserState", "InvalidUserGroupState", "InvalidACLState", "InvalidReplicationGroupState", "InvalidServerlessCacheState", "InvalidClusterState",
	"ConcurrentModification", "EntityTemporarilyUnmodifiable", "NoSuchEntity", "DeleteConflict", // IAM is looked at again before each try
	"Throttling", "Throttled", "TooManyRequests", "RequestLimitExceeded", "RequestTimeout", "InternalServiceError", "InternalFailure", "ServiceUnavailable",
}

// alreadyThere is whether a thing could not be made since it exists.
func alreadyThere(err error) bool {
	var answered smithy.APIError
	return errors.As(err, &answered) && strings.HasSuffix(code(answered), "AlreadyExists")
}
