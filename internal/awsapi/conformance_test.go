package awsapi

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/memorydb"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// sdks are the clients of the SDK that know every member of a service's operations,
// under the names that the fields have here.
var sdks = map[string]reflect.Type{
	"ec2":            reflect.TypeFor[*ec2.Client](),
	"elasticache":    reflect.TypeFor[*elasticache.Client](),
	"iam":            reflect.TypeFor[*iam.Client](),
	"memorydb":       reflect.TypeFor[*memorydb.Client](),
	"secretsmanager": reflect.TypeFor[*secretsmanager.Client](),
	"sts":            reflect.TypeFor[*sts.Client](),
}

const (
	document = "../../docs/emulator.md"
	begin    = "<!-- operations: made by go test ./internal/awsapi -run TestTheDocument -update -->\n"
	end      = "<!-- end of operations -->\n"
)

var update = flag.Bool("update", false, "write the table of operations into docs/emulator.md")

func TestTheDocumentListsEveryOperationAndMember(t *testing.T) {
	b, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(b), begin)
	got, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s has no place for the table: %s%s", document, begin, end)
	}
	want := tables(t)
	if *update {
		if err := os.WriteFile(document, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got != want {
		t.Errorf("the table in %s is not that of the operations: run this test with -update", document)
	}
}

// tables has a table for each service.
func tables(t *testing.T) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(services)) {
		operations := services[name].operations
		fmt.Fprintf(&b, "\n| %s | members | AWS's other members, which are refused |\n|---|---|---|\n", name)
		for _, operation := range slices.Sorted(maps.Keys(operations)) {
			supported := memberNames(operations[operation].input)
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", operation, strings.Join(supported, ", "), strings.Join(refusedMembers(t, name, operation, supported), ", "))
		}
	}
	return b.String() + "\n"
}

func memberNames(input reflect.Type) (names []string) {
	for _, m := range members(input) {
		if f := input.Field(m.index); strings.HasSuffix(f.Tag.Get("aws"), ",inline") {
			names = append(names, memberNames(f.Type)...)
		} else {
			names = append(names, f.Name)
		}
	}
	slices.Sort(names)
	return names
}

// refusedMembers are those that the SDK has besides.
func refusedMembers(t *testing.T, service, operation string, supported []string) (names []string) {
	method, ok := sdks[service].MethodByName(operation)
	if !ok {
		t.Fatalf("the SDK has no operation %s of %s", operation, service)
	}
	known := map[string]bool{}
	for _, f := range reflect.VisibleFields(method.Type.In(2).Elem()) { // after the receiver and the context
		known[f.Name] = true
		if f.IsExported() && !slices.Contains(supported, f.Name) {
			names = append(names, f.Name)
		}
	}
	for _, name := range supported {
		if !known[name] {
			t.Errorf("AWS has no member %s of %s", name, operation)
		}
	}
	slices.Sort(names)
	return names
}
