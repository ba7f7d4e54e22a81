package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	// maxDocument is above every quota of IAM (10,240 characters for the inline
	// policies of a role; "IAM and AWS STS quotas": white space does not count).
	maxDocument = 20 << 10
	// maxText is what IAM takes with white space (API reference, PutRolePolicy).
	maxText = 128 << 10
	// maxNesting is above what the grammar can use: document, Statement list,
	// statement, Condition, operator, list of values.
	maxNesting = 8
	// maxExcerpt bounds what an error repeats of the document.
	maxExcerpt = 100
)

// Texts of MalformedPolicyDocument, as users report them from AWS.
const (
	msgJSON         = "This policy contains invalid Json"
	msgSyntax       = "Syntax errors in policy."
	msgLegacy       = "The policy failed legacy parsing"
	msgActions      = "Policy statement must contain actions."
	msgResources    = "Policy statement must contain resources."
	msgSid          = "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*"
	msgSidTwice     = "Statement IDs (SID) in a single policy must be unique."
	msgPrincipal    = "Policy document should not specify a principal."
	msgNoVendor     = "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."
	msgColons       = "Actions/Condition can contain only one colon."
	msgService      = "Resource vendor must be fully qualified and cannot contain regexes."
	msgNoPrincipal  = "Missing required field Principal"
	msgTrustActions = "AssumeRole policy may only specify STS AssumeRole actions."

	textTooLong = "the document is longer than %d bytes without white space"
)

// MalformedError says why Parse refused a document (MalformedPolicyDocument).
type MalformedError struct {
	Message string // AWS's words, often vague
	Detail  string // what is wrong and where, in ours; may be empty
}

func (e *MalformedError) Error() string {
	if e.Detail == "" {
		return "malformed policy document: " + e.Message
	}
	return "malformed policy document: " + e.Message + " (" + e.Detail + ")"
}

func malformed(message, format string, args ...any) error {
	return &MalformedError{Message: message, Detail: fmt.Sprintf(format, args...)}
}

// inStatement says in which statement the error is.
func inStatement(number int, err error) error {
	var m *MalformedError
	if !errors.As(err, &m) {
		return err
	}
	where := fmt.Sprintf("statement %d", number)
	if m.Detail != "" {
		where += ": " + m.Detail
	}
	return &MalformedError{Message: m.Message, Detail: where}
}

func excerpt(s string) string {
	if len(s) <= maxExcerpt {
		return s
	}
	return strings.ToValidUTF8(s[:maxExcerpt], "") + "…"
}

// object keeps the order of the document.
type object []member

type member struct {
	name  string
	value any // string, json.Number, bool, nil, []any or object
}

// size is the length that counts.
func size(document []byte) int {
	n := len(document)
	for _, c := range document {
		if c == ' ' || '\t' <= c && c <= '\r' {
			n--
		}
	}
	return n
}

func readDocument(document []byte) (object, error) {
	switch {
	case len(document) > maxText || size(document) > maxDocument:
		return nil, malformed(msgSyntax, textTooLong, maxDocument)
	case !utf8.Valid(document):
		return nil, malformed(msgJSON, "the document is not UTF-8")
	case !json.Valid(document):
		return nil, malformed(msgJSON, "the document is not one JSON value")
	}
	d := json.NewDecoder(bytes.NewReader(document))
	d.UseNumber()
	value, err := readValue(d, maxNesting)
	if err != nil {
		return nil, err
	}
	top, ok := value.(object)
	if !ok {
		return nil, malformed(msgSyntax, "the document is not an object")
	}
	return top, nil
}

func readValue(d *json.Decoder, depth int) (any, error) {
	token, err := d.Token()
	if err != nil {
		return nil, malformed(msgJSON, "the document is not one JSON value")
	}
	delim, ok := token.(json.Delim)
	if !ok {
		return token, nil
	}
	if depth == 0 {
		return nil, malformed(msgSyntax, "objects and lists are nested too deep")
	}
	var value any
	if delim == '{' {
		value, err = readObject(d, depth-1)
	} else {
		value, err = readList(d, depth-1)
	}
	if err != nil {
		return nil, err
	}
	_, err = d.Token() // the closing bracket
	return value, err
}

func readObject(d *json.Decoder, depth int) (object, error) {
	var o object
	seen := make(map[string]bool)
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return nil, malformed(msgJSON, "the document is not one JSON value")
		}
		name, _ := token.(string)
		if seen[name] {
			return nil, malformed(msgSyntax, "%q stands twice in one object", excerpt(name))
		}
		seen[name] = true
		value, err := readValue(d, depth)
		if err != nil {
			return nil, err
		}
		o = append(o, member{name, value})
	}
	return o, nil
}

func readList(d *json.Decoder, depth int) ([]any, error) {
	list := []any{}
	for d.More() {
		value, err := readValue(d, depth)
		if err != nil {
			return nil, err
		}
		list = append(list, value)
	}
	return list, nil
}

// stringList reads a string or a list of strings.
func stringList(m member) ([]string, error) {
	values, ok := m.value.([]any)
	if !ok {
		values = []any{m.value}
	}
	list := make([]string, 0, len(values))
	for _, value := range values {
		s, ok := value.(string)
		if !ok {
			return nil, malformed(msgSyntax, "%s is neither a string nor a list of strings", excerpt(m.name))
		}
		list = append(list, s)
	}
	return list, nil
}
