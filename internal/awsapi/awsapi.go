// Package awsapi answers AWS API calls from the emulator's world, in AWS's wire
// protocols, so that the AWS CLI and the SDKs work unchanged with an endpoint
// URL. Every request must be signed by a key of the world, but for those that bring
// the word of an identity provider.
package awsapi

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/rediam/rediam/internal/acl"
	"github.com/rediam/rediam/internal/policy"
	"github.com/rediam/rediam/internal/sigv4"
	"github.com/rediam/rediam/internal/world"
)

const (
	// maxBody bounds a request; the largest that AWS takes here is a policy document.
	maxBody = 1 << 20
	// maxName bounds what an answer or the log repeats of a request.
	maxName = 128
)

// A Handler is the one AWS endpoint of an emulator.
type Handler struct {
	World *world.World // required
	Log   *slog.Logger // required

	// MetadataURL tells where the metadata of an instance are, for the tag
	// MetadataTag; empty if nowhere, and nil means that they never are.
	MetadataURL func(instance string) string

	// Rotate is told that a rotation of a secret has begun; nil means that nobody runs it.
	Rotate func()

	// Refused is told of calls that were refused; nil means that nobody is.
	Refused func(action, source string, e *world.Error)
}

var _ http.Handler = (*Handler)(nil)

// ServeHTTP verifies the signature, finds the operation and answers it.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := requestID()
	w.Header().Set("X-Amzn-Requestid", id)
	w.Header().Set("Date", h.World.Now().UTC().Format(http.TimeFormat)) // SDKs correct their clock by it
	p := protocolOf(r)
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		p.fail(w, id, brokenOff(err, p))
		return
	}
	action, result, err := h.answer(r, &p, body)
	if err != nil {
		h.Log.Info("AWS API call refused", "action", action, "source", r.RemoteAddr, "error", err)
		refusal := asAWS(err, p)
		if h.Refused != nil {
			h.Refused(action, r.RemoteAddr, refusal)
		}
		p.fail(w, id, refusal)
		return
	}
	p.succeed(w, id, action, result)
}

// answer calls the operation. A request without a signature is one of STS, if it is
// anything: answer sets the protocol.
func (h *Handler) answer(r *http.Request, p *protocol, body []byte) (action string, result any, err error) {
	if r.Header.Get("Authorization") == "" && !p.json {
		sts := protocol{service: services["sts"]}
		if action, operation, decode, err := sts.read(r, body); err == nil && operation.open {
			*p = sts
			result, err := h.run(r, "sts:"+action, world.Key{}, operation, decode)
			return action, result, err
		}
	}
	var caller world.Key
	signed, err := sigv4.VerifyRequest(r, body, func(id string) (sigv4.Key, bool) {
		k, ok := h.World.Key(id)
		caller = k
		return sigv4.Key{Secret: string(k.Secret), SessionToken: string(k.SessionToken), Expires: k.Expires, Inactive: k.Inactive}, ok
	}, h.World.Now())
	if err != nil {
		return "", nil, err
	}
	p.service = services[signed.Service]
	action, operation, decode, err := p.read(r, body)
	if err != nil {
		return action, nil, err
	}
	if signed.Service == "iam" && caller.SessionToken != "" && caller.Principal.Type != world.AssumedRole {
		// What GetSessionToken gives without MFA is not for IAM (STS API Reference).
		return action, nil, &world.Error{Code: "InvalidClientTokenId", Message: invalidToken, Detail: "credentials of GetSessionToken cannot call IAM"}
	}
	h.World.UseKey(caller.ID, signed.Service)
	result, err = h.run(r, signed.Service+":"+action, caller, operation, decode)
	return action, result, err
}

func (h *Handler) run(r *http.Request, action string, caller world.Key, o operation, decode decoder) (result any, err error) {
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	c := &call{world: h.World, caller: caller, action: action, source: host, metadataURL: h.MetadataURL, rotate: h.Rotate}
	result, err = o.run(c, decode)
	h.lint(c)
	var behind *world.Behind
	if errors.As(err, &behind) { // as on AWS, where it would come later: Describe shows the cache create-failed or modifying
		h.Log.Error("a change is made, but not followed", "action", action, "error", err)
		err = nil
	}
	return result, err
}

// brokenOff is the error about a body that does not come to a good end.
func brokenOff(err error, p protocol) *world.Error {
	switch {
	case errors.As(err, new(*http.MaxBytesError)):
		return &world.Error{Code: "RequestEntityTooLarge", Message: "the request is larger than 1 MiB"}
	case p.json:
		return &world.Error{Code: "SerializationException", Message: "the body could not be read to its end"}
	}
	return &world.Error{Code: "MalformedQueryString", Message: "the body could not be read to its end"}
}

// speakable is whether XML, in which the answers are, can say all that is in a form
// (XML 1.0, section 2.2).
func speakable(form url.Values) bool {
	for name, values := range form {
		for _, text := range append(values, name) {
			if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool {
				return r < ' ' && !strings.ContainsRune("\t\n\r", r) || r == '\ufffe' || r == '\uffff'
			}) {
				return false
			}
		}
	}
	return true
}

// lint tells the operator what is wrong with a document beside what AWS would say,
// which is little, or nothing.
func (h *Handler) lint(c *call) {
	if c.document != "" {
		kind := policy.Identity
		if c.trust {
			kind = policy.Trust
		}
		for _, f := range policy.Lint(kind, []byte(c.document)) {
			level := slog.LevelWarn
			if f.Warning {
				level = slog.LevelDebug
			}
			h.Log.Log(context.Background(), level, "policy document", "action", c.action, "finding", f.String())
		}
	}
	for _, finding := range acl.Lint(c.access) {
		h.Log.Warn("access string", "action", c.action, "finding", finding)
	}
}

// read takes a request apart: its operation, and what decodes the members. A name that
// is too long to be repeated is left out.
func (p protocol) read(r *http.Request, body []byte) (action string, o operation, decode decoder, err error) {
	version := ""
	if p.json {
		target, name, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		if p.service.target != "" && target == p.service.target {
			action = name
		}
		decode = func(into any) error { return decodeJSON(body, into) }
	} else {
		form, err := url.ParseQuery(string(body))
		if err != nil || !speakable(form) {
			return "", o, nil, &world.Error{Code: "MalformedQueryString", Message: "the body is not a query string"}
		}
		action, version = form.Get("Action"), form.Get("Version")
		decode = func(into any) error { return decodeForm(form, into) }
	}
	if len(action) > maxName {
		action = ""
	}
	o, ok := p.service.operations[action]
	if !ok {
		err = unknownOperation(p, action, version)
	}
	return action, o, decode, err
}

func unknownOperation(p protocol, action, version string) error {
	if p.json {
		return &world.Error{Code: "UnknownOperationException", Message: "the emulator does not have this operation"}
	}
	if p.service.ec2 {
		return &world.Error{Code: "InvalidAction", Message: "The action " + action + " is not valid for this web service."}
	}
	if len(version) > maxName {
		version = ""
	}
	return &world.Error{Code: "InvalidAction", Message: "Could not find operation " + action + " for version " + version}
}

// protocol is how one service writes its answers.
type protocol struct {
	json    bool // JSON 1.1 with X-Amz-Target
	service service
}

// protocolOf is that of the service that a request says it is signed for.
func protocolOf(r *http.Request) protocol {
	_, scope, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
	scope, _, _ = strings.Cut(scope, ",")
	parts := append(strings.Split(scope, "/"), "", "", "", "")
	s := services[parts[3]]
	return protocol{json: s.target != "" || r.Header.Get("X-Amz-Target") != "", service: s}
}

// succeed writes the answer of an operation.
func (p protocol) succeed(w http.ResponseWriter, id, action string, result any) {
	if p.json {
		w.Header().Set("Content-Type", jsonType)
		json.NewEncoder(w).Encode(inJSON(reflect.ValueOf(result)))
		return
	}
	w.Header().Set("Content-Type", "text/xml")
	e := xml.NewEncoder(w)
	name := func(local string) xml.StartElement { return xml.StartElement{Name: xml.Name{Local: local}} }
	response := name(action + "Response")
	response.Attr = []xml.Attr{{Name: xml.Name{Local: "xmlns"}, Value: p.service.namespace}}
	problems := []error{e.EncodeToken(response)}
	switch _, empty := result.(none); {
	case p.service.ec2:
		problems = append(problems, e.EncodeElement(id, name("requestId")), encodeXML(e, reflect.ValueOf(result)))
	case empty:
		problems = append(problems, e.EncodeElement(struct{ RequestId string }{id}, name("ResponseMetadata")))
	default:
		problems = append(problems, encodeElement(e, action+"Result", reflect.ValueOf(result)),
			e.EncodeElement(struct{ RequestId string }{id}, name("ResponseMetadata")))
	}
	_ = errors.Join(append(problems, e.EncodeToken(response.End()), e.Flush())...) // the client has gone away; there is nobody left to tell
}

func (p protocol) fail(w http.ResponseWriter, id string, e *world.Error) {
	status := statusOf(e.Code, p)
	if p.json {
		w.Header().Set("Content-Type", jsonType)
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(map[string]string{"__type": e.Code, "message": e.Message})
		return
	}
	type awsError struct {
		Type    string `xml:",omitempty"`
		Code    string
		Message string
	}
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(status)
	if p.service.ec2 {
		xml.NewEncoder(w).Encode(struct {
			XMLName   xml.Name `xml:"Response"`
			Error     awsError `xml:"Errors>Error"`
			RequestID string
		}{Error: awsError{Code: e.Code, Message: e.Message}, RequestID: id})
		return
	}
	xml.NewEncoder(w).Encode(struct {
		XMLName   xml.Name `xml:"ErrorResponse"`
		Error     awsError
		RequestId string
	}{Error: awsError{"Sender", e.Code, e.Message}, RequestId: id})
}

// statusOf is the HTTP status of an error code where it is not 400.
func statusOf(code string, p protocol) int {
	switch code {
	case "InternalFailure", "InternalServiceError":
		return http.StatusInternalServerError
	case "RequestEntityTooLarge":
		return http.StatusRequestEntityTooLarge
	}
	if p.json {
		return http.StatusBadRequest
	}
	switch code {
	case "SignatureDoesNotMatch", "InvalidClientTokenId", "ExpiredToken", "MissingAuthenticationToken", "AccessDenied", "UnauthorizedOperation", "IDPRejectedClaim":
		return http.StatusForbidden
	case "AuthFailure":
		return http.StatusUnauthorized
	case "NoSuchEntity", "UserNotFound", "UserGroupNotFound", "ReplicationGroupNotFoundFault", "CacheClusterNotFound", "ServerlessCacheNotFoundFault", "CacheParameterGroupNotFound", "TagNotFound":
		return http.StatusNotFound
	case "EntityAlreadyExists", "DeleteConflict", "LimitExceeded":
		return http.StatusConflict
	case "DryRunOperation":
		return http.StatusPreconditionFailed
	}
	return http.StatusBadRequest
}

const invalidToken = "The security token included in the request is invalid."

// asAWS turns a failure into AWS's error. What is wrong with a signature is said
// as AWS says it: the precise reason goes to the log.
func asAWS(err error, p protocol) *world.Error {
	var refusal *sigv4.Refusal
	var own *world.Error
	switch {
	case errors.As(err, &own) && p.service.ec2:
		return inEC2(own)
	case errors.As(err, &own) && p.json:
		code := cmp.Or(p.service.codes[own.Code], jsonCodes[own.Code], own.Code)
		return &world.Error{Code: code, Message: own.Message}
	case errors.As(err, &own):
		return &world.Error{Code: cmp.Or(p.service.codes[own.Code], own.Code), Message: own.Message, Detail: own.Detail}
	case !errors.As(err, &refusal):
		return &world.Error{Code: "InternalFailure", Message: "the emulator failed"}
	}
	e := &world.Error{Code: "SignatureDoesNotMatch", Message: "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."}
	inJSON := "InvalidSignatureException"
	switch refusal.Reason {
	case sigv4.NoAuthorization:
		e, inJSON = &world.Error{Code: "MissingAuthenticationToken", Message: "Request is missing Authentication Token"}, "MissingAuthenticationTokenException"
	case sigv4.UnknownKey, sigv4.InactiveKey, sigv4.SessionTokenNeeded, sigv4.SessionTokenExtra, sigv4.WrongSessionToken:
		e, inJSON = &world.Error{Code: "InvalidClientTokenId", Message: invalidToken}, "UnrecognizedClientException"
	case sigv4.CredentialsExpired:
		e, inJSON = &world.Error{Code: "ExpiredToken", Message: "The security token included in the request is expired"}, "ExpiredTokenException"
	case sigv4.RequestExpired, sigv4.NotYetValid:
		e.Message = refusal.Detail
	case sigv4.BadAuthorization:
		e, inJSON = &world.Error{Code: "IncompleteSignature", Message: "The request signature does not conform to AWS standards: " + refusal.Detail}, "IncompleteSignatureException"
	}
	switch {
	case p.json:
		e.Code = inJSON
	case p.service.ec2:
		e.Code = "AuthFailure"
	}
	return e
}

// inEC2 is an error in the words of EC2 (EC2 API Reference, "Error codes").
func inEC2(e *world.Error) *world.Error {
	switch e.Code {
	case "AccessDenied":
		return &world.Error{Code: "UnauthorizedOperation", Message: "You are not authorized to perform this operation. " + e.Message}
	case "ValidationError":
		return &world.Error{Code: "InvalidParameterValue", Message: e.Message}
	case "InternalFailure":
		return &world.Error{Code: "InternalError", Message: e.Message}
	}
	return e
}

func requestID() string {
	var b [16]byte
	rand.Read(b[:])
	h := hex.EncodeToString(b[:])
	return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
}
