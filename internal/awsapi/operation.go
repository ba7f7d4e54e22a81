package awsapi

import (
	"reflect"

	"github.com/rediam/rediam/internal/policy"
	"github.com/rediam/rediam/internal/world"
)

// A service is one AWS service, in the query protocol or in JSON.
type service struct {
	namespace  string            // of its answers in XML
	ec2        bool              // EC2's variant of the query protocol
	target     string            // what X-Amz-Target begins with, which means JSON 1.1; empty in the query protocol
	codes      map[string]string // its error codes where the world's are another service's
	operations map[string]operation
}

// services by the name that requests are signed for, which is also what its actions
// begin with in policies.
var services = map[string]service{
	"ec2": {namespace: "http://ec2.amazonaws.com/doc/2016-11-15/", ec2: true, operations: ec2Operations},
	"iam": {namespace: "https://iam.amazonaws.com/doc/2010-05-08/", codes: identityCodes, operations: iamOperations},
	"sts": {namespace: "https://sts.amazonaws.com/doc/2011-06-15/", codes: identityCodes, operations: stsOperations},

	"elasticache": {namespace: "http://elasticache.amazonaws.com/doc/2015-02-02/", operations: elastiCacheOperations},
	"memorydb":    {target: "AmazonMemoryDB", codes: memoryDBCodes, operations: memoryDBOperations},

	"secretsmanager": {target: "secretsmanager", codes: secretCodes, operations: secretOperations},
}

// identityCodes: IAM and STS have one code for everything that is wrong with the form of
// a request (IAM API Reference, "Common Errors").
var identityCodes = map[string]string{"MissingParameter": "ValidationError"}

// An operation is one call of a service.
type operation struct {
	input reflect.Type // a struct of members that the emulator has; others are refused
	free  bool         // it needs no permission
	open  bool         // it needs no signature either: something else in it says who calls
	run   func(c *call, decode decoder) (any, error)
}

// A decoder fills a struct of members from a request, in whatever protocol that is.
type decoder func(into any) error

// A call is a request whose signature has been verified, or one of an open operation.
type call struct {
	world  *world.World
	caller world.Key // of an open operation the zero Key
	action string    // as policies name it: sts:AssumeRole
	source string    // address of the peer

	metadataURL func(instance string) string // nil: no metadata can be reached
	rotate      func()                       // nil: nobody runs rotations

	context  policy.Context // condition keys besides those of every call; set by resources
	document string         // the policy document that the request brings, if it does
	trust    bool           // it is a trust policy
	access   string         // the access string that the user would have by the request
}

// none is the input or output of an operation that has none.
type none struct{}

// operate makes an operation of a function that changes or reads the world. The
// caller must be allowed the action on every resource that resources names; nil
// means that the action has none: *, and so does an empty list.
func operate[In, Out any](resources func(*call, In) []string, run func(*call, In) (Out, error)) operation {
	return operation{input: reflect.TypeFor[In](), run: func(c *call, decode decoder) (any, error) {
		var in In
		if err := decode(&in); err != nil {
			return nil, err
		}
		named := []string{"*"}
		if resources != nil {
			if list := resources(c, in); len(list) > 0 {
				named = list
			}
		}
		for _, resource := range named {
			if err := c.world.AuthorizeCall(c.caller, c.action, resource, c.source, c.context); err != nil {
				return nil, err
			}
		}
		return run(c, in)
	}}
}

// free is an operation that needs no permission, or asks for it by itself.
func free[In, Out any](run func(*call, In) (Out, error)) operation {
	return operation{input: reflect.TypeFor[In](), free: true, run: func(c *call, decode decoder) (any, error) {
		var in In
		if err := decode(&in); err != nil {
			return nil, err
		}
		return run(c, in)
	}}
}

// open is an operation that needs no signature.
func open[In, Out any](run func(*call, In) (Out, error)) operation {
	o := free(run)
	o.open = true
	return o
}
