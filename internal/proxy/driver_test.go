package proxy_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/rediam/rediam/internal/proxy"
)

// eachDriver runs a test once for each driver, unless this is one of those runs: then
// it is false.
func eachDriver(t *testing.T, test func(*testing.T)) bool {
	if driver(t) != "" {
		return false
	}
	for _, name := range proxy.Drivers {
		t.Run(name, test)
	}
	return true
}

// driver is the one that a test is run for.
func driver(t *testing.T) string {
	parts := strings.Split(t.Name(), "/")
	if len(parts) > 1 && slices.Contains(proxy.Drivers, parts[1]) {
		return parts[1]
	}
	return ""
}
