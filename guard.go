package rediam

import (
	"context"
	"fmt"
	"runtime"
)

// guard calls f, which is somebody else's, and holds it to what is agreed: it
// returns when f does or when ctx is done, whichever is first, and a panic is an
// error. An f that does not look at ctx is left behind to end by itself.
func guard[T any](ctx context.Context, f func(context.Context) (T, error)) (T, error) {
	if ctx.Done() == nil {
		return recovered(ctx, f)
	}
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := recovered(ctx, f)
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, fmt.Errorf("no answer in time: %w", ctx.Err())
	}
}

func recovered[T any](ctx context.Context, f func(context.Context) (T, error)) (value T, err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case runtime.Error:
			err = fmt.Errorf("it panicked: %w", p)
		default: // what it says may be a secret
			err = fmt.Errorf("it panicked with a %T", p)
		}
	}()
	return f(ctx)
}
