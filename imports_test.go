package rediam_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/rediam/rediam"

// foundations import nothing of ours but where said.
var foundations = []string{"internal/resp", "internal/command", "internal/sigv4", "internal/policy", "internal/acl", "internal/relay", "internal/federation"}

// mayImport is the architecture: which package may import which of ours, outside
// tests. The client side (the root) and the emulator never meet below cmd, so
// that signer and verifier are two implementations that check each other.
var mayImport = map[string][]string{
	"":                    {},
	"internal/resp":       {},
	"internal/command":    {},
	"internal/installed":  {},               // for tests alone
	"internal/soak":       {"", "emulator"}, // likewise
	"internal/dial":       {"", "internal/resp"},
	"internal/sigv4":      {},
	"internal/policy":     {},
	"internal/relay":      {},
	"internal/federation": {},
	"internal/statefile":  {},
	"internal/acl":        {"internal/command"},
	"goredis":             {"", "internal/dial"},
	"redigo":              {"", "internal/dial"},
	"valkeygo":            {"", "internal/dial"},
	"metrics":             {""},
	"password":            {""},
	"rotate":              {},
	"internal/proxy":      {"", "internal/dial", "internal/resp", "internal/command", "internal/relay"},
	"internal/account":    {"", "internal/policy"},
	"internal/doctor":     {"", "internal/account", "internal/policy", "internal/resp", "internal/sigv4"},
	"internal/setup":      {"", "internal/account", "internal/acl"},
	"internal/world":      {"internal/policy", "internal/acl", "internal/federation"},
	"internal/gate":       append([]string{"internal/world"}, foundations...),
	"internal/engine":     append([]string{"internal/world"}, foundations...),
	"internal/awsapi":     append([]string{"internal/world"}, foundations...),
	"emulator/clients":    {}, // tests alone
	"examples":            {}, // likewise
	"emulator":            append([]string{"internal/world", "internal/gate", "internal/engine", "internal/awsapi", "internal/statefile"}, foundations...),
	"internal/recipes":    {}, // tests alone
}

// Programs may import everything.
var programs = []string{"cmd/", "examples/", "bench"}

func TestImportsFollowTheArchitecture(t *testing.T) {
	for _, line := range goList(t, "-f", "{{.ImportPath}} {{join .Imports \" \"}}", "./...") {
		imports := strings.Fields(line)
		name := ours(imports[0])
		if slices.ContainsFunc(programs, func(p string) bool { return strings.HasPrefix(name, p) }) {
			continue
		}
		allowed, known := mayImport[name]
		if !known {
			t.Errorf("package %q is not in the table: say what it may import", name)
			continue
		}
		for _, imported := range imports[1:] {
			if strings.HasPrefix(imported, module) && !slices.Contains(allowed, ours(imported)) {
				t.Errorf("%q may not import %q", name, ours(imported))
			}
		}
	}
}

func TestTheLibraryLinksTheSDKAndSmithyOnly(t *testing.T) {
	allowed := []string{"", module, "github.com/aws/aws-sdk-go-v2", "github.com/aws/smithy-go"}
	for _, path := range goList(t, "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", ".") {
		if !slices.Contains(allowed, path) {
			t.Errorf("the root package links %s", path)
		}
	}
}

func TestTheEmulatorDoesNotLinkTesting(t *testing.T) {
	if slices.Contains(goList(t, "-deps", "./cmd/rediam"), "testing") {
		t.Error("the binary links package testing")
	}
}

func ours(path string) string { return strings.TrimPrefix(strings.TrimPrefix(path, module), "/") }

func goList(t *testing.T, args ...string) []string {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list"}, args...)...).Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}
