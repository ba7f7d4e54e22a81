package setup

import (
	"bytes"
	"context"
	"encoding/json"
)

// A Call is one call of the AWS API that changes something. As JSON it is service,
// operation and input, with AWS's names.
type Call struct {
	Service, Operation string
	Input              any // of the AWS SDK

	do func(context.Context) error
}

// newCall is a method of a client of the AWS SDK with its input.
func newCall[In, Out, Options any](service, operation string, method func(context.Context, *In, ...func(*Options)) (*Out, error), in *In) Call {
	return Call{service, operation, in, func(ctx context.Context) error {
		_, err := method(ctx, in)
		return err
	}}
}

func (c Call) MarshalJSON() ([]byte, error) {
	return plain(map[string]any{"service": c.Service, "operation": c.Operation, "input": c.members()})
}

// members are the members of the input that are given.
func (c Call) members() map[string]any {
	var all map[string]any
	text, _ := plain(c.Input) // strings, numbers, booleans, lists and structures
	json.Unmarshal(text, &all)
	for name, value := range all {
		if value == nil || value == "" {
			delete(all, name)
			continue
		}
		if inner, ok := value.(map[string]any); ok {
			for name, value := range inner {
				if value == nil {
					delete(inner, name)
				}
			}
		}
	}
	return all
}

// plain is JSON in which < and & stand as they are.
func plain(v any) ([]byte, error) {
	var out bytes.Buffer
	to := json.NewEncoder(&out)
	to.SetEscapeHTML(false)
	err := to.Encode(v)
	return bytes.TrimSpace(out.Bytes()), err
}
