package rotate

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// A Poll is how a rotation waits. The zero value looks every 0.75 s and is silent.
type Poll struct {
	Every time.Duration // on average; zero means 750 ms
	// Progress is told what is done and waited for, without secrets; nil means nobody is.
	Progress func(what string)

	stale func() error // what is waited for may never come if this is an error; nil means never
}

func (p Poll) say(format string, args ...any) {
	if p.Progress != nil {
		p.Progress(fmt.Sprintf(format, args...))
	}
}

// until calls try, with pauses in between, until it is done or fails with what will not
// pass. What try is not done for is its reason: an error too, of those that pass.
func (p Poll) until(ctx context.Context, try func() (done bool, reason error)) error {
	said := ""
	for {
		done, reason := try()
		if done || reason != nil && !passes(reason) {
			return reason
		}
		if text := fmt.Sprint(reason); reason != nil && text != said {
			said = text
			p.say("waiting: %s", text)
		}
		if err := p.pause(ctx); err != nil {
			return fmt.Errorf("%w, after: %w", err, reason)
		}
		if p.stale != nil {
			if err := p.stale(); err != nil {
				return err
			}
		}
	}
}

func (p Poll) pause(ctx context.Context) error {
	every := p.Every
	if every <= 0 {
		every = 750 * time.Millisecond
	}
	return wait(ctx, every/2+rand.N(every))
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the time is over: %w", context.Cause(ctx))
	}
}

// retry calls AWS again until what is wrong has passed.
func retry[T any](ctx context.Context, p Poll, call func() (T, error)) (out T, err error) {
	err = p.until(ctx, func() (bool, error) {
		out, err = call()
		return err == nil, err
	})
	return out, err
}

// A passing error is a reason to wait.
type passing struct{ error }

func (e passing) Unwrap() error { return e.error }

func waitFor(format string, args ...any) error { return passing{fmt.Errorf(format, args...)} }

// passingCodes are AWS's errors about what is changing or too much right now. Secrets
// Manager and the others throw throttling under several names.
var passingCodes = []string{
	"InvalidUserState", "InvalidUserStateFault", "InvalidUserGroupState", "InvalidReplicationGroupState", "InvalidReplicationGroupStateFault",
	"InvalidClusterStateFault", "InvalidACLStateFault", "Throttling", "ThrottlingException", "ThrottledException", "TooManyRequestsException",
	"RequestLimitExceeded", "RequestThrottled", "RequestTimeout", "RequestTimeoutException", "InternalServiceError", "InternalFailure", "ServiceUnavailable",
	"ServiceUnavailableException",
}

// passes is whether an error is worth another try: AWS is busy, or has not been reached.
func passes(err error) bool {
	if errors.As(err, new(passing)) {
		return true
	}
	var status *smithyhttp.ResponseError // what stands in front of AWS answers without one of its codes
	if errors.As(err, &status) && status.HTTPStatusCode() >= http.StatusInternalServerError {
		return true
	}
	var answered smithy.APIError
	if errors.As(err, &answered) {
		return slices.Contains(passingCodes, answered.ErrorCode()) || answered.ErrorFault() == smithy.FaultServer
	}
	return errors.As(err, new(*smithy.OperationError)) && !errors.As(err, new(*smithy.InvalidParamsError)) &&
		!errors.As(err, new(*smithy.SerializationError))
}
