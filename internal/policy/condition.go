package policy

import (
	"encoding/base64"
	"math/big"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// quantifier is the set operator before a condition operator.
type quantifier uint8

const (
	none quantifier = iota
	forAllValues
	forAnyValue
)

// condition is one operator with one key.
type condition struct {
	operator, key string // as written
	lookup        string // the key in lower case
	quantifier    quantifier
	ifExists      bool
	negated       bool
	null          bool     // the operator is Null
	values        []string // as written
	matches       test     // any of the values, without the negation
}

// test says whether a value of the request matches the values of the policy.
type test func(c Context, value string) bool

// operator compiles the values of a condition.
type operator struct {
	compile func(values []string, variables bool) (test, error)
	negated bool
}

// lookUpOperator knows every operator of the IAM User Guide, Condition
// operators. Names are compared exactly.
func lookUpOperator(name string) (operator, bool) {
	switch name {
	case "StringEquals":
		return operator{compile: stringEquals}, true
	case "StringNotEquals":
		return operator{stringEquals, true}, true
	case "StringEqualsIgnoreCase":
		return operator{compile: stringEqualsIgnoreCase}, true
	case "StringNotEqualsIgnoreCase":
		return operator{stringEqualsIgnoreCase, true}, true
	case "StringLike":
		return operator{compile: stringLike}, true
	case "StringNotLike":
		return operator{stringLike, true}, true
	case "ArnEquals", "ArnLike":
		return operator{compile: arnLike}, true
	case "ArnNotEquals", "ArnNotLike":
		return operator{arnLike, true}, true
	case "IpAddress":
		return operator{compile: ipAddress}, true
	case "NotIpAddress":
		return operator{ipAddress, true}, true
	case "Bool":
		return operator{compile: boolean}, true
	case "BinaryEquals":
		return operator{compile: binaryEquals}, true
	case "Null":
		return operator{compile: boolean}, true
	}
	for _, kind := range []string{"Numeric", "Date"} {
		if comparison, ok := strings.CutPrefix(name, kind); ok {
			return lookUpComparison(kind, comparison)
		}
	}
	return operator{}, false
}

func lookUpComparison(kind, comparison string) (operator, bool) {
	negated := false
	var holds func(order int) bool
	switch comparison {
	case "Equals", "NotEquals":
		negated = comparison == "NotEquals"
		holds = func(order int) bool { return order == 0 }
	case "LessThan":
		holds = func(order int) bool { return order < 0 }
	case "LessThanEquals":
		holds = func(order int) bool { return order <= 0 }
	case "GreaterThan":
		holds = func(order int) bool { return order > 0 }
	case "GreaterThanEquals":
		holds = func(order int) bool { return order >= 0 }
	default:
		return operator{}, false
	}
	if kind == "Date" {
		return operator{ordered(parseDate, time.Time.Compare, holds), negated}, true
	}
	return operator{ordered(parseNumber, (*big.Rat).Cmp, holds), negated}, true
}

func newCondition(name, key string, values []string, variables bool) (condition, error) {
	c := condition{operator: name, key: key, lookup: lowerASCII(key), values: values}
	base := name
	if after, ok := strings.CutPrefix(base, "ForAllValues:"); ok {
		base, c.quantifier = after, forAllValues
	} else if after, ok := strings.CutPrefix(base, "ForAnyValue:"); ok {
		base, c.quantifier = after, forAnyValue
	}
	base, c.ifExists = strings.CutSuffix(base, "IfExists")
	c.null = base == "Null"
	op, ok := lookUpOperator(base)
	if !ok || c.null && base != name {
		return c, malformed(msgSyntax, "unknown condition operator %q", excerpt(name))
	}
	c.negated = op.negated
	var err error
	c.matches, err = op.compile(values, variables)
	return c, err
}

// holds follows the IAM User Guide, Condition operators and Set operators for
// multivalued context keys. Without a set operator a key of several values
// matches if any does, and a negated operator holds if none does.
func (c *condition) holds(ctx Context) bool {
	values := ctx[c.lookup]
	switch {
	case c.null:
		return c.matches(ctx, strconv.FormatBool(len(values) == 0))
	case len(values) == 0 && c.ifExists:
		return true
	case c.quantifier != none && (len(values) == 0 || len(values) == 1 && values[0] == ""):
		return c.quantifier == forAllValues
	case len(values) == 0:
		return c.negated
	}
	every := c.quantifier == forAllValues || c.quantifier == none && c.negated
	for _, value := range values {
		if (c.matches(ctx, value) != c.negated) != every {
			return !every
		}
	}
	return every
}

func stringEquals(values []string, variables bool) (test, error) {
	return textTest(values, variables, func(want, value string) bool { return want == value })
}

func stringEqualsIgnoreCase(values []string, variables bool) (test, error) {
	return textTest(values, variables, strings.EqualFold)
}

func textTest(values []string, variables bool, equal func(want, value string) bool) (test, error) {
	patterns, err := compileAll(values, func(value string) ([]part, error) {
		return parseParts(value, false, variables)
	})
	return func(c Context, value string) bool {
		return slices.ContainsFunc(patterns, func(parts []part) bool {
			want, ok := resolve(parts, c)
			return ok && equal(joinLiterals(want), value)
		})
	}, err
}

func joinLiterals(parts []part) string {
	if len(parts) == 1 {
		return parts[0].text
	}
	var b strings.Builder
	for _, p := range parts {
		b.WriteString(p.text)
	}
	return b.String()
}

func stringLike(values []string, variables bool) (test, error) {
	patterns, err := compileAll(values, func(value string) ([]part, error) {
		return parseParts(value, true, variables)
	})
	return func(c Context, value string) bool {
		return slices.ContainsFunc(patterns, func(parts []part) bool { return like(parts, c, value) })
	}, err
}

func arnLike(values []string, variables bool) (test, error) {
	patterns, err := compileAll(values, func(value string) (arnPattern, error) {
		return newARNPattern(value, variables)
	})
	return func(c Context, value string) bool {
		return slices.ContainsFunc(patterns, func(p arnPattern) bool { return p.match(c, value) })
	}, err
}

func ipAddress(values []string, _ bool) (test, error) {
	prefixes, err := compileAll(values, parsePrefix)
	return func(_ Context, value string) bool {
		address, err := netip.ParseAddr(value)
		if err != nil {
			return false
		}
		address = address.Unmap().WithZone("")
		return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(address) })
	}, err
}

func parsePrefix(value string) (netip.Prefix, error) {
	if prefix, err := netip.ParsePrefix(value); err == nil {
		return prefix, nil
	}
	address, err := netip.ParseAddr(value)
	if err != nil {
		return netip.Prefix{}, malformed(msgLegacy, "%q is neither an IP address nor a CIDR range", excerpt(value))
	}
	address = address.WithZone("")
	return netip.PrefixFrom(address, address.BitLen()), nil
}

func boolean(values []string, _ bool) (test, error) {
	wanted, err := compileAll(values, func(value string) (bool, error) {
		b, ok := parseBool(value)
		if !ok {
			return false, malformed(msgLegacy, "%q is neither true nor false", excerpt(value))
		}
		return b, nil
	})
	return func(_ Context, value string) bool {
		b, ok := parseBool(value)
		return ok && slices.Contains(wanted, b)
	}, err
}

func parseBool(s string) (value, ok bool) {
	lower := lowerASCII(s)
	return lower == "true", lower == "true" || lower == "false"
}

func binaryEquals(values []string, _ bool) (test, error) {
	wanted, err := compileAll(values, func(value string) (string, error) {
		b, err := base64.StdEncoding.DecodeString(value)
		if err != nil {
			return "", malformed(msgLegacy, "%q is not base64", excerpt(value))
		}
		return string(b), nil
	})
	return func(_ Context, value string) bool {
		b, err := base64.StdEncoding.DecodeString(value)
		return err == nil && slices.Contains(wanted, string(b))
	}, err
}

func ordered[T any](parse func(string) (T, bool), compare func(a, b T) int, holds func(order int) bool) func([]string, bool) (test, error) {
	return func(values []string, _ bool) (test, error) {
		bounds, err := compileAll(values, func(value string) (T, error) {
			bound, ok := parse(value)
			if !ok {
				return bound, malformed(msgLegacy, "%q is not a number or date that the operator takes", excerpt(value))
			}
			return bound, nil
		})
		return func(_ Context, text string) bool {
			value, ok := parse(text)
			return ok && slices.ContainsFunc(bounds, func(bound T) bool { return holds(compare(value, bound)) })
		}, err
	}
}

// maxNumber bounds the characters of a number, so that parsing one is cheap.
const maxNumber = 64

// parseNumber reads an integer or a decimal, exactly.
func parseNumber(s string) (*big.Rat, bool) {
	if len(s) > maxNumber || strings.Trim(s, "+-.0123456789") != "" {
		return nil, false
	}
	return new(big.Rat).SetString(s)
}

// parseDate reads the W3C forms of ISO 8601, in UTC where no zone is given, and
// epoch seconds; digits alone are epoch seconds.
func parseDate(s string) (time.Time, bool) {
	if seconds, ok := parseNumber(s); ok && !strings.Contains(s, "-") {
		whole := new(big.Int).Quo(seconds.Num(), seconds.Denom())
		return time.Unix(whole.Int64(), 0), whole.IsInt64()
	}
	for _, layout := range []string{
		"2006-01-02T15:04:05Z07:00", "2006-01-02T15:04Z07:00", "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02", "2006-01",
	} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

func compileAll[T any](values []string, compile func(string) (T, error)) ([]T, error) {
	list := make([]T, 0, len(values))
	for _, value := range values {
		compiled, err := compile(value)
		if err != nil {
			return nil, err
		}
		list = append(list, compiled)
	}
	return list, nil
}
