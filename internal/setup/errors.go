package setup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/aws/smithy-go"

	"github.com/rediam/rediam"
)

// An Error says in one line what failed, and what to do.
type Error struct {
	What, Hint string
	err        error
}

func (e *Error) Error() string { return e.What }
func (e *Error) Unwrap() error { return e.err }

// refuse is an error that is no failure of AWS's.
func refuse(hint, format string, args ...any) error {
	return &Error{What: fmt.Sprintf(format, args...), Hint: hint}
}

const goesOn = "run it again: it goes on where it stopped"

// explain puts an error of the AWS SDK into words; nil stays nil.
func explain(doing string, err error) error {
	var answered smithy.APIError
	var call *smithy.OperationError
	switch {
	case err == nil, errors.As(err, new(*Error)):
		return err
	case errors.As(err, &answered):
		return &Error{fmt.Sprintf("%s: %s: %s", doing, answered.ErrorCode(), firstLine(answered.ErrorMessage())), hintFor(err, answered), err}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return &Error{doing + ": the time was over, or it was interrupted", goesOn, err}
	case errors.As(err, &call):
		return &Error{fmt.Sprintf("%s: %s could not be asked: %s", doing, call.Service(), cause(call.Unwrap())),
			"look at the credentials, the region, AWS_ENDPOINT_URL and the network; then " + goesOn, err}
	}
	return &Error{doing + ": " + firstLine(err.Error()), "", err}
}

// cause is what went wrong at last, without what the SDK's layers put around it, and
// without secrets.
func cause(err error) string {
	text := firstLine((&rediam.CredentialsError{Err: err}).Error())
	if i := strings.LastIndex(text, "dial tcp"); i >= 0 {
		return text[i:]
	}
	return strings.TrimPrefix(text, "rediam: get AWS credentials: ")
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return line
}

// notAuthorized are AWS's words for a permission that lacks (IAM user guide,
// "Troubleshoot access denied error messages").
var notAuthorized = regexp.MustCompile(`is not authorized to perform: ([a-z0-9-]+:[A-Za-z0-9]+)(?:.* on resource: (arn:[^ ]+))?`)

// hintFor is what to do about an answer of AWS's.
func hintFor(err error, answered smithy.APIError) string {
	switch c := code(answered); {
	case c == "AccessDenied" || c == "UnauthorizedOperation":
		trusted := ""
		if strings.Contains(answered.ErrorMessage(), "sts:AssumeRole") { // AWS says no more if the trust policy is in the way
			trusted = ", and see that the role is there and trusts them"
		}
		return "add this statement to the policies of who runs it: " + missing(err, answered.ErrorMessage()) + trusted + "; then " + goesOn
	case strings.Contains(c, "Quota") || c == "LimitExceeded":
		return "delete what is no longer needed, or ask for more in Service Quotas; then " + goesOn
	case c == "ExpiredToken" || c == "InvalidClientTokenId" || c == "UnrecognizedClient" || c == "SignatureDoesNotMatch":
		return "get new credentials; then " + goesOn
	case c == "ServiceLinkedRoleNotFound":
		return "aws iam create-service-linked-role --aws-service-name elasticache.amazonaws.com; then " + goesOn
	}
	return ""
}

// missing is the statement that would allow what was denied.
func missing(err error, message string) string {
	if strings.Contains(message, "explicit deny") {
		return "none, since a policy denies it: take out or narrow the statement with Deny. AWS says: " + firstLine(message)
	}
	statement := map[string]string{"Effect": "Allow", "Action": "", "Resource": "*"}
	if m := notAuthorized.FindStringSubmatch(message); m != nil {
		statement["Action"] = m[1]
		if m[2] != "" {
			statement["Resource"] = strings.TrimRight(m[2], ".,")
		}
	} else if call := (*smithy.OperationError)(nil); errors.As(err, &call) {
		statement["Action"] = strings.ToLower(strings.ReplaceAll(call.Service(), " ", "")) + ":" + call.Operation()
	}
	text, _ := json.Marshal(statement)
	return string(text)
}
