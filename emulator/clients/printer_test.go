package clients_test

import (
	"errors"
	"slices"
	"strings"
)

const (
	lineEnds = "\r\n\x00+OK\r\n" // enough of them are more than a TLS record
	script   = "return {KEYS[1], ARGV[1], redis.call('GET', KEYS[1])}"
)

// A printer prints steps until one fails, as the programs in other languages do.
type printer struct {
	printed strings.Builder
	err     error
}

// output is what a program would have printed, and whether it succeeded.
func (p *printer) output() (output string, ok bool) {
	if p.err != nil {
		return p.printed.String() + line("failed", p.err.Error()), false
	}
	return p.printed.String(), true
}

// step takes the outcome of a step.
func (p *printer) step(name string) func(value any, err error) {
	return func(value any, err error) {
		if p.err == nil {
			p.err = err
		}
		if p.err == nil {
			p.printed.WriteString(line(name, value))
		}
	}
}

// protocol finds the version in HELLO's reply: a list in RESP2, a map in RESP3.
func protocol(reply any, err error) (any, error) {
	switch reply := reply.(type) {
	case []any:
		if i := slices.Index(reply, any("proto")); i >= 0 && i+1 < len(reply) {
			return reply[i+1], err
		}
	case map[any]any:
		return reply["proto"], err
	case map[string]any:
		return reply["proto"], err
	}
	return nil, errors.Join(err, errors.New("HELLO does not name the protocol"))
}
