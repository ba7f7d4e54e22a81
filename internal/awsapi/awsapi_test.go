package awsapi_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/rediam/rediam/internal/awsapi"
	"github.com/rediam/rediam/internal/world"
)

// An endpoint is the handler over HTTP, with its world, a key and its log.
type endpoint struct {
	url   string
	world *world.World
	key   world.Key
	log   *bytes.Buffer // to be read once an answer is there
}

func serve(t testing.TB) endpoint {
	t.Helper()
	e := endpoint{world: world.New("", ""), log: &bytes.Buffer{}}
	everything := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`
	if err := e.world.PutIAMUser(world.IAMUser{Name: "admin", Inline: map[string]string{"everything": everything}}); err != nil {
		t.Fatal(err)
	}
	if err := e.world.PutRole(world.Role{Name: "orders-app"}); err != nil {
		t.Fatal(err)
	}
	var err error
	if e.key, err = e.world.CreateAccessKey("admin"); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(&awsapi.Handler{World: e.world, Log: slog.New(slog.NewTextHandler(e.log, nil))})
	t.Cleanup(server.Close)
	e.url = server.URL
	return e
}

// request makes a request that is not signed yet.
func request(t testing.TB, method, url, body, target string) *http.Request {
	t.Helper()
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	if target != "" {
		r.Header.Set("Content-Type", "application/x-amz-json-1.1")
		r.Header.Set("X-Amz-Target", target)
	}
	return r
}

func sign(t testing.TB, r *http.Request, body string, k world.Key, service string, now time.Time) {
	t.Helper()
	sum := sha256.Sum256([]byte(body))
	credentials := aws.Credentials{AccessKeyID: k.ID, SecretAccessKey: string(k.Secret), SessionToken: string(k.SessionToken)}
	if err := v4.NewSigner().SignHTTP(context.Background(), credentials, r, hex.EncodeToString(sum[:]), service, "us-east-1", now); err != nil {
		t.Fatal(err)
	}
}

// An answer is a response, read.
type answer struct {
	status int
	header http.Header
	body   string
}

func send(t testing.TB, r *http.Request) answer {
	t.Helper()
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(body)}
}

// call sends a signed request of the query protocol, or of JSON if there is a target.
func (e endpoint) call(t testing.TB, service, body, target string) answer {
	t.Helper()
	r := request(t, http.MethodPost, e.url, body, target)
	sign(t, r, body, e.key, service, e.world.Now())
	return send(t, r)
}

// wantXML wants an error of the query protocol, in the shape that AWS documents.
func (a answer) wantXML(t testing.TB, what string, status int, code, message string) {
	t.Helper()
	var got struct {
		XMLName   xml.Name `xml:"ErrorResponse"`
		Error     struct{ Type, Code, Message string }
		RequestId string
	}
	if err := xml.Unmarshal([]byte(a.body), &got); err != nil {
		t.Errorf("%s: %v in %s", what, err, a.body)
	}
	if a.status != status || got.Error.Code != code || !strings.Contains(got.Error.Message, message) || got.Error.Type != "Sender" {
		t.Errorf("%s: %d %s, want %d %s: …%s…", what, a.status, a.body, status, code, message)
	}
	if id := a.header.Get("X-Amzn-Requestid"); id == "" || id != got.RequestId || a.header.Get("Content-Type") != "text/xml" {
		t.Errorf("%s: request id %q in the header, %q in the body; %s", what, id, got.RequestId, a.header.Get("Content-Type"))
	}
}

// wantJSON wants an error of the JSON protocol.
func (a answer) wantJSON(t testing.TB, what, code, message string) {
	t.Helper()
	var got struct {
		Type    string `json:"__type"`
		Message string `json:"message"`
	}
	if err := json.Unmarshal([]byte(a.body), &got); err != nil {
		t.Errorf("%s: %v in %s", what, err, a.body)
	}
	if a.status != 400 || got.Type != code || !strings.Contains(got.Message, message) || a.header.Get("Content-Type") != "application/x-amz-json-1.1" {
		t.Errorf("%s: %d %s, want 400 %s: …%s…", what, a.status, a.body, code, message)
	}
}

const whoAmI = "Action=GetCallerIdentity&Version=2011-06-15"

func TestAnswersInTheQueryProtocol(t *testing.T) {
	e := serve(t)
	a := e.call(t, "sts", whoAmI, "")
	before, after, found := strings.Cut(a.body, "<RequestId>"+a.header.Get("X-Amzn-Requestid")+"</RequestId>")
	const wantBefore = `<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>` +
		`<Arn>arn:aws:iam::123456789012:user/admin</Arn><UserId>`
	if a.status != 200 || !found || !strings.HasPrefix(before, wantBefore) ||
		!strings.HasSuffix(before, "</UserId><Account>123456789012</Account></GetCallerIdentityResult><ResponseMetadata>") ||
		after != "</ResponseMetadata></GetCallerIdentityResponse>" {
		t.Errorf("%d %s", a.status, a.body)
	}
	if _, err := http.ParseTime(a.header.Get("Date")); err != nil || a.header.Get("Content-Type") != "text/xml" {
		t.Errorf("headers %v", a.header)
	}
	if e.log.Len() > 0 {
		t.Errorf("an answered call is logged: %s", e.log)
	}
}

func TestUnknownOperationsAreRefusedInTheProtocolOfTheService(t *testing.T) {
	e := serve(t)
	for service, version := range map[string]string{"elasticache": "2015-02-02", "iam": "2010-05-08", "sts": "2011-06-15", "s3": ""} {
		e.call(t, service, "Action=DoNothing&Version="+version, "").wantXML(t, service, 400, "InvalidAction", "Could not find operation DoNothing for version "+version)
	}
	e.call(t, "iam", whoAmI, "").wantXML(t, "an operation of another service", 400, "InvalidAction", "Could not find operation GetCallerIdentity")
	e.call(t, "sts", "", "").wantXML(t, "no operation", 400, "InvalidAction", "Could not find operation")
	for _, target := range []string{"AmazonMemoryDB.DoNothing", "secretsmanager.DoNothing", "GetCallerIdentity"} {
		service, _, _ := strings.Cut(strings.ToLower(strings.TrimPrefix(target, "Amazon")), ".")
		e.call(t, service, "{}", target).wantJSON(t, target, "UnknownOperationException", "")
	}
	e.call(t, "sts", whoAmI, "sts.GetCallerIdentity").wantJSON(t, "an operation of the query protocol as JSON", "UnknownOperationException", "")
	a := e.call(t, "ec2", "Action=DescribeRegions&Version=2016-11-15", "")
	want := "<Response><Errors><Error><Code>InvalidAction</Code><Message>The action DescribeRegions is not valid for this web service.</Message></Error></Errors><RequestID>" + a.header.Get("X-Amzn-Requestid") + "</RequestID></Response>"
	if a.status != 400 || a.body != want {
		t.Errorf("EC2: %d %s, want %s", a.status, a.body, want)
	}
}

func TestAnswersInJSON(t *testing.T) {
	e := serve(t)
	call := func(operation, body string) answer {
		t.Helper()
		return e.call(t, "memorydb", body, "AmazonMemoryDB."+operation)
	}
	a := call("CreateACL", ` {"ACLName": "A"}`)
	const want = `{"ACL":{"ARN":"arn:aws:memorydb:us-east-1:123456789012:acl/a","Clusters":[],"MinimumEngineVersion":"6.2","Name":"a","Status":"active","UserNames":[]}}` + "\n"
	if a.status != 200 || a.body != want || a.header.Get("Content-Type") != "application/x-amz-json-1.1" || a.header.Get("X-Amzn-Requestid") == "" {
		t.Errorf("%d %s, %v", a.status, a.body, a.header)
	}
	if e.log.Len() > 0 {
		t.Errorf("an answered call is logged: %s", e.log)
	}
	call("CreateACL", `{"ACLName":"a","ACLName":"b"}`).wantJSON(t, "a member twice", "SerializationException", "ACLName stands twice")
	call("CreateACL", `{"ACLName":"b","Colour":"red"}`).wantJSON(t, "a member that is unknown", "ValidationException", `"Colour"`)
	call("CreateACL", `{}`).wantJSON(t, "a member that is missing", "ValidationException", "ACLName")
	call("CreateACL", "ACLName=b").wantJSON(t, "a form", "SerializationException", "JSON")
	call("DescribeACLs", "").wantJSON(t, "no body", "SerializationException", "JSON")
	for what, target := range map[string]string{"another service's target": "secretsmanager.CreateACL", "no service": ".CreateACL", "no operation": "AmazonMemoryDB", "two dots": "AmazonMemoryDB.CreateACL.", "another case": "amazonmemorydb.CreateACL",
		"no target": "", "a long one": "AmazonMemoryDB." + strings.Repeat("CreateACL", 100)} {
		e.call(t, "memorydb", `{"ACLName":"b"}`, target).wantJSON(t, what, "UnknownOperationException", "")
	}
	e.call(t, "memorydb", "Action=CreateACL&ACLName=b", "").wantJSON(t, "the query protocol", "UnknownOperationException", "")
	e.call(t, "sts", `{}`, ".GetCallerIdentity").wantJSON(t, "a service of the query protocol", "UnknownOperationException", "")
	if a := call("DescribeACLs", strings.Repeat(" ", 1<<20)+"{}"); a.status != 413 || !strings.Contains(a.body, `"__type":"RequestEntityTooLarge"`) {
		t.Errorf("more than 1 MiB: %d %s", a.status, a.body)
	}
	if groups := e.world.Groups(world.MemoryDB); len(groups) != 2 {
		t.Errorf("there are %+v", groups)
	}
}

// What AWS takes is not always what was meant.
func TestTheLogTellsWhatAnAccessStringMeant(t *testing.T) {
	e := serve(t)
	for service, send := range map[string]func() answer{
		"memorydb": func() answer {
			return e.call(t, "memorydb", `{"UserName":"a","AuthenticationMode":{"Type":"iam"},"AccessString":"on ~*  @all"}`, "AmazonMemoryDB.CreateUser")
		},
		"elasticache": func() answer {
			return e.call(t, "elasticache", "Action=CreateUser&UserId=a&UserName=a&Engine=redis&AuthenticationMode.Type=iam&AccessString="+url.QueryEscape("on ~*  @all"), "")
		},
	} {
		e.log.Reset()
		if a := send(); a.status != 400 || !strings.Contains(e.log.String(), `msg="access string" action=`+service+":CreateUser") {
			t.Errorf("%d %s, the log says %s", a.status, a.body, e.log)
		}
	}
}

func TestWhatIsNotSignedAsItShouldBeIsRefused(t *testing.T) {
	e := serve(t)
	const missing = "Request is missing Authentication Token"
	send(t, request(t, "POST", e.url, whoAmI, "")).wantXML(t, "no signature", 403, "MissingAuthenticationToken", missing)
	send(t, request(t, "GET", e.url+"/?"+whoAmI, "", "")).wantXML(t, "GET without a signature", 403, "MissingAuthenticationToken", missing)
	send(t, request(t, "POST", e.url, "{}", "AmazonMemoryDB.CreateUser")).wantJSON(t, "JSON without a signature", "MissingAuthenticationTokenException", missing)

	presigned := request(t, "GET", e.url+"/?"+whoAmI, "", "")
	url, _, err := v4.NewSigner().PresignHTTP(t.Context(), aws.Credentials{AccessKeyID: e.key.ID, SecretAccessKey: string(e.key.Secret)}, presigned,
		hex.EncodeToString(sha256.New().Sum(nil)), "sts", "us-east-1", e.world.Now())
	if err != nil {
		t.Fatal(err)
	}
	send(t, request(t, "GET", url, "", "")).wantXML(t, "a signature in the query", 403, "MissingAuthenticationToken", missing)

	get := request(t, "GET", e.url+"/?"+whoAmI, "", "")
	sign(t, get, "", e.key, "sts", e.world.Now())
	send(t, get).wantXML(t, "parameters in the query", 400, "InvalidAction", "")

	signed := func(change func(*http.Request)) *http.Request {
		r := request(t, "POST", e.url, whoAmI, "")
		sign(t, r, whoAmI, e.key, "sts", e.world.Now())
		change(r)
		return r
	}
	const wrong = "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
	for what, change := range map[string]func(*http.Request){
		"another body": func(r *http.Request) {
			r.Body = io.NopCloser(strings.NewReader(strings.Replace(whoAmI, "Get", "get", 1)))
		},
		"another path":          func(r *http.Request) { r.URL.Path = "/x" },
		"a query":               func(r *http.Request) { r.URL.RawQuery = "Action=AssumeRole" },
		"another method":        func(r *http.Request) { r.Method = "PUT" },
		"an x-amz- header more": func(r *http.Request) { r.Header.Set("X-Amz-Target", "") },
		"another host":          func(r *http.Request) { r.Host = "localhost" },
	} {
		send(t, signed(change)).wantXML(t, what, 403, "SignatureDoesNotMatch", wrong)
	}
	send(t, signed(func(r *http.Request) { r.Header.Set("Authorization", "Bearer x") })).wantXML(t, "another scheme", 400, "IncompleteSignature", "does not conform to AWS standards")
	send(t, signed(func(r *http.Request) { r.Header.Set("X-Amz-Date", "yesterday") })).wantXML(t, "no date", 400, "IncompleteSignature", "X-Amz-Date")
	for what, shift := range map[string]time.Duration{"Signature expired: ": -6 * time.Minute, "Signature not yet current: ": 6 * time.Minute} {
		r := request(t, "POST", e.url, whoAmI, "")
		sign(t, r, whoAmI, e.key, "sts", e.world.Now().Add(shift))
		send(t, r).wantXML(t, what, 403, "SignatureDoesNotMatch", what)
	}
	for code, k := range map[string]world.Key{"UnrecognizedClientException": {ID: "AKIANOBODY", Secret: "x"}, "InvalidSignatureException": {ID: e.key.ID, Secret: "x"}} {
		r := request(t, "POST", e.url, "{}", "AmazonMemoryDB.CreateUser")
		sign(t, r, "{}", k, "memorydb", e.world.Now())
		send(t, r).wantJSON(t, code, code, "")
	}
	r := request(t, "POST", e.url, "Action=RunInstances", "")
	sign(t, r, "Action=RunInstances", world.Key{ID: "AKIANOBODY", Secret: "x"}, "ec2", e.world.Now())
	if a := send(t, r); !strings.Contains(a.body, "<Code>AuthFailure</Code>") {
		t.Errorf("EC2 with an unknown key: %d %s", a.status, a.body)
	}
}

func TestBadBodiesAreRefused(t *testing.T) {
	e := serve(t)
	e.call(t, "sts", strings.Repeat("a", 1<<20+1), "").wantXML(t, "more than 1 MiB", 413, "RequestEntityTooLarge", "1 MiB")
	send(t, request(t, "POST", e.url, strings.Repeat("a", 1<<20+1), "")).wantXML(t, "more than 1 MiB, unsigned", 413, "RequestEntityTooLarge", "1 MiB")
	padded := whoAmI + "&a=" + strings.Repeat("a", 1<<20-len(whoAmI)-3)
	e.call(t, "sts", padded, "").wantXML(t, "1 MiB", 400, "ValidationError", `"a"`)
	e.call(t, "sts", "Action=%zz", "").wantXML(t, "no form", 400, "MalformedQueryString", "")
	e.call(t, "sts", `{"Action":"GetCallerIdentity"}`, "").wantXML(t, "JSON", 400, "InvalidAction", "")
	e.call(t, "sts", whoAmI+"&Action=AssumeRole", "").wantXML(t, "Action twice", 400, "ValidationError", `"Action" stands twice`)
	assume := "Action=AssumeRole&Version=2011-06-15&RoleSessionName=test&RoleArn=" + e.world.RoleARN("orders-app")
	e.call(t, "sts", assume+"&SerialNumber=1", "").wantXML(t, "a parameter of AWS's that is not here", 400, "ValidationError", `"SerialNumber"`)
	e.call(t, "sts", assume+"&PolicyArns.member.2.arn=x", "").wantXML(t, "a list that begins with its second", 400, "ValidationError", "PolicyArns.member.2.arn")
	e.call(t, "sts", "Action=AssumeRole&RoleSessionName=test", "").wantXML(t, "no role", 400, "ValidationError", "RoleArn")
	e.log.Reset()
	long := strings.Repeat("LongAction", 100)
	if a := e.call(t, "sts", "Action="+long+"&Version="+long, ""); strings.Contains(a.body, "LongAction") || a.status != 400 {
		t.Errorf("a long action: %d %s", a.status, a.body)
	}
	if e.log.Len() > 1000 || e.log.Len() == 0 {
		t.Errorf("a long action makes a log of %d bytes", e.log.Len())
	}
}

func TestTheLogNamesTheReasonAndNoSecret(t *testing.T) {
	e := serve(t)
	session, err := e.world.IssueSession("orders-app", "test")
	if err != nil {
		t.Fatal(err)
	}
	var bodies strings.Builder
	secrets := []string{string(e.key.Secret), string(session.Secret), string(session.SessionToken)}
	try := func(k world.Key, body, reason string) {
		t.Helper()
		e.log.Reset()
		r := request(t, "POST", e.url, body, "")
		sign(t, r, body, k, "sts", e.world.Now())
		_, signature, _ := strings.Cut(r.Header.Get("Authorization"), "Signature=")
		secrets = append(secrets, signature)
		a := send(t, r)
		bodies.WriteString(a.body + e.log.String())
		if a.status < 400 || !strings.Contains(e.log.String(), reason) {
			t.Errorf("%d %s, logged %q, want %q", a.status, a.body, e.log, reason)
		}
	}
	changed := func(k world.Key, change func(*world.Key)) world.Key {
		change(&k)
		return k
	}
	try(changed(e.key, func(k *world.Key) { k.Secret += "x" }), whoAmI, "wrong-signature")
	try(changed(e.key, func(k *world.Key) { k.ID = "AKIANOBODY" }), whoAmI, "unknown-access-key")
	try(changed(session, func(k *world.Key) { k.SessionToken = "" }), whoAmI, "session-token-missing")
	try(changed(session, func(k *world.Key) { k.SessionToken += "x" }), whoAmI, "wrong-session-token")
	try(changed(e.key, func(k *world.Key) { k.SessionToken = session.SessionToken }), whoAmI, "session-token-extra")
	try(session, "Action=AssumeRole&RoleSessionName=test&RoleArn="+e.world.RoleARN("orders-app"), "AccessDenied")
	try(session, "Action=DoNothing", "InvalidAction")
	e.world.Advance(2 * time.Hour)
	try(session, whoAmI, "credentials-expired")
	for _, secret := range secrets {
		if secret == "" || strings.Contains(bodies.String(), secret) {
			t.Errorf("the answers and the log have the secret %q", secret)
		}
	}
}

// What AWS says of a broken document helps nobody; what the log says does.
func TestTheLogTellsWhatIsWrongWithADocument(t *testing.T) {
	e := serve(t)
	for document, want := range map[string]string{
		`{“Version”:“2012-10-17”,“Statement”:[]}`: "line 1, column 2",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"elasticache:Connect","Resource":"arn:aws:elasticache:us-east-1:123456789012:replicationgroup:orders"}]}`: "user",
	} {
		e.log.Reset()
		e.call(t, "iam", "Action=CreatePolicy&Version=2010-05-08&PolicyName=p"+strconv.Itoa(len(document))+"&PolicyDocument="+url.QueryEscape(document), "")
		if !strings.Contains(e.log.String(), `msg="policy document"`) || !strings.Contains(e.log.String(), want) {
			t.Errorf("%s: the log says %s, want …%s…", document, e.log, want)
		}
	}
}

func TestTheLogSaysWhatABrokenAccessStringMeant(t *testing.T) {
	e := serve(t)
	post := func(parameters ...string) answer {
		t.Helper()
		form := url.Values{"Version": {"2015-02-02"}}
		for i := 0; i < len(parameters); i += 2 {
			form.Set(parameters[i], parameters[i+1])
		}
		return e.call(t, "elasticache", form.Encode(), "")
	}
	create := func(id, access string) answer {
		return post("Action", "CreateUser", "UserId", id, "UserName", id, "Engine", "redis", "AuthenticationMode.Type", "iam", "AccessString", access)
	}
	modify := func(id, member, access string) answer {
		return post("Action", "ModifyUser", "UserId", id, member, access)
	}
	for _, test := range []struct {
		answer  func() answer
		refused bool
		finding string // in the log; empty if none is
	}{
		{func() answer { return create("app", "off [email protected]") }, true, "action=elasticache:CreateUser finding=\"rule 2 of the access string was taken for a mail address"},
		{func() answer { return create("app", "~* +@all") }, false, "action=elasticache:CreateUser finding=\"the access string says neither on nor off"},
		{func() answer { return modify("app", "AccessString", "on ~* [email protected]") }, true, "action=elasticache:ModifyUser finding=\"rule 3 of"},
		{func() answer { return modify("default", "AccessString", "on ~* –@all") }, true, "rule 3 of the access string begins with a dash"},
		{func() answer { return modify("app", "AccessString", "on ~* -@all") }, false, ""},
		{func() answer { return modify("app", "AppendAccessString", "+get") }, false, ""},
		{func() answer { return modify("app", "AppendAccessString", "get") }, true, "rule 5 of the access string is a command without a sign"},
		{func() answer { return create("other", "on ~* +@all >sixteen-letters!") }, true, ""},
	} {
		e.log.Reset()
		got, log := test.answer(), e.log.String()
		if refused := got.status != http.StatusOK; refused != test.refused {
			t.Errorf("%d %s", got.status, got.body)
		}
		if finds := strings.Contains(log, "finding="); finds != (test.finding != "") || !strings.Contains(log, test.finding) {
			t.Errorf("the log has no finding %q, or one too many:\n%s", test.finding, log)
		}
		if strings.Contains(log, "sixteen-letters!") {
			t.Errorf("the log holds a password:\n%s", log)
		}
	}
}
