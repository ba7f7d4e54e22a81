package awsapi_test

import (
	"bufio"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rediam/rediam/internal/awsapi"
	"github.com/rediam/rediam/internal/world"
)

const (
	newUser     = "Action=CreateUser&Version=2015-02-02&UserId=a&UserName=a&Engine=redis&AccessString=on&AuthenticationMode.Type=iam"
	newInstance = "Action=RunInstances&Version=2016-11-15&ImageId=ami-1&MinCount=1&MaxCount=1"
	newIAMUser  = "Action=CreateUser&Version=2010-05-08&UserName=a"
)

// wire is a signed request as it goes over the wire.
func (e endpoint) wire(t testing.TB, service, body, target string, k world.Key, at time.Time) string {
	t.Helper()
	r := request(t, "POST", e.url, body, target)
	sign(t, r, body, k, service, at)
	var b strings.Builder
	fmt.Fprintf(&b, "POST / HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n", r.URL.Host, len(body))
	r.Header.Write(&b)
	return b.String() + "\r\n" + body
}

// answers sends something and reads the answer, if there is one.
func (e endpoint) answers(t testing.TB, wire io.Reader) (status int, header http.Header, body string) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(e.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go func() {
		io.Copy(conn, wire) // the server need not read it all
		conn.(*net.TCPConn).CloseWrite()
	}()
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, response.Header, string(content)
}

// errorIn is the code and the message of an error in the protocol of a service.
func errorIn(service, target, body string) (code, message string, err error) {
	type query struct{ Code, Message string }
	switch {
	case target != "":
		var e struct {
			Type    string `json:"__type"`
			Message string
		}
		err = json.Unmarshal([]byte(body), &e)
		return e.Type, e.Message, err
	case service == "ec2":
		var e struct {
			XMLName xml.Name `xml:"Response"`
			Error   query    `xml:"Errors>Error"`
		}
		err = xml.Unmarshal([]byte(body), &e)
		return e.Error.Code, e.Error.Message, err
	}
	var e struct {
		XMLName xml.Name `xml:"ErrorResponse"`
		Error   query
	}
	err = xml.Unmarshal([]byte(body), &e)
	return e.Error.Code, e.Error.Message, err
}

// many is n parameters.
func many(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "&"+format, i+1)
	}
	return b.String()
}

// Whatever is wrong with a call, the answer is AWS's error in the protocol of the
// service, short, nothing has changed, and it takes little memory.
func TestHostileCallsChangeNothing(t *testing.T) {
	e := serve(t)
	changes := 0
	e.world.Save = func(map[string][]byte) error { changes++; return nil }
	long := strings.Repeat("x", 1000)
	const (
		chunked = "Transfer-Encoding: chunked\r\n"
		none    = "" // the error is net/http's own, before there is a request
	)
	for _, row := range []struct {
		name, service, body string
		old, new            string // exchanged on the wire
		status              int
		code, message       string
	}{
		// The body as a form.
		{"a parameter twice", "elasticache", newUser + "&UserId=b", "", "", 400, "ValidationError", `"UserId" stands twice`},
		{"Action twice", "elasticache", newUser + "&Action=DescribeUsers", "", "", 400, "ValidationError", `"Action" stands twice`},
		{"broken UTF-8", "elasticache", newUser + "&Tags.Tag.1.Key=%ff", "", "", 400, "MalformedQueryString", ""},
		{"broken UTF-8, not encoded", "elasticache", newUser + "&Tags.Tag.1.Key=\xc0\x80", "", "", 400, "MalformedQueryString", ""},
		{"broken UTF-8 in a name", "elasticache", newUser + "&Tags.%ff=k", "", "", 400, "MalformedQueryString", ""},
		{"half a surrogate pair", "elasticache", newUser + "&Tags.Tag.1.Key=%ed%a0%80", "", "", 400, "MalformedQueryString", ""},
		{"a NUL byte", "elasticache", newUser + "&Tags.Tag.1.Key=%00", "", "", 400, "MalformedQueryString", ""},
		{"a NUL byte in EC2", "ec2", newInstance + "&TagSpecification.1.ResourceType=instance&TagSpecification.1.Tag.1.Key=%00", "", "", 400, "MalformedQueryString", ""},
		{"what XML cannot say", "elasticache", newUser + "&Tags.Tag.1.Key=k&Tags.Tag.1.Value=%ef%bf%bf", "", "", 400, "MalformedQueryString", ""},
		{"a NUL byte in a name", "elasticache", newUser + "&%00=k", "", "", 400, "MalformedQueryString", ""},
		{"half an escape", "elasticache", newUser + "&Tags.Tag.1.Key=%2", "", "", 400, "MalformedQueryString", ""},
		{"a semicolon", "elasticache", newUser + ";UserId=b", "", "", 400, "MalformedQueryString", ""},
		{"JSON", "elasticache", `{"Action":"CreateUser","UserId":"a"}`, "", "", 400, "InvalidAction", ""},
		{"multipart", "iam", "--x\r\nContent-Disposition: form-data; name=\"Action\"\r\n\r\nCreateUser\r\n--x--\r\n", "", "", 400, "MalformedQueryString", ""},
		{"nothing", "iam", "", "", "", 400, "InvalidAction", ""},
		{"20,000 parameters", "elasticache", newUser + many(20000, "a%d"), "", "", 400, "MalformedQueryString", ""},
		{"Action in small letters", "elasticache", strings.Replace(newUser, "Action", "action", 1), "", "", 400, "InvalidAction", ""},
		{"another case of the operation", "iam", strings.Replace(newIAMUser, "CreateUser", "createuser", 1), "", "", 400, "InvalidAction", ""},

		// Names of members.
		{"too many tags", "elasticache", newUser + many(51, "Tags.Tag.%[1]d.Key=k%[1]d"), "", "", 400, "TagQuotaPerResourceExceeded", "50"},
		{"too long a list", "elasticache", newUser + many(2000, "Tags.Tag.%[1]d.Key=k%[1]d"), "", "", 400, "ValidationError", "more than 1000"},
		{"too long a list in EC2", "ec2", newInstance + many(2000, "SecurityGroupId.%d=sg-1"), "", "", 400, "InvalidParameterValue", "more than 1000"},
		{"a list that begins late", "elasticache", newUser + "&Tags.Tag.100000.Key=k", "", "", 400, "ValidationError", `"Tags.Tag.100000.Key"`},
		{"a list with a gap", "elasticache", newUser + "&Tags.Tag.1.Key=k&Tags.Tag.3.Key=l", "", "", 400, "ValidationError", `"Tags.Tag.3.Key"`},
		{"an index of zero", "elasticache", newUser + "&Tags.Tag.0.Key=k", "", "", 400, "ValidationError", `"Tags.Tag.0.Key"`},
		{"a negative index", "elasticache", newUser + "&Tags.Tag.-1.Key=k", "", "", 400, "ValidationError", `"Tags.Tag.-1.Key"`},
		{"an index with a zero before it", "elasticache", newUser + "&Tags.Tag.01.Key=k", "", "", 400, "ValidationError", `"Tags.Tag.01.Key"`},
		{"an index with a sign", "elasticache", newUser + "&Tags.Tag.%2b1.Key=k", "", "", 400, "ValidationError", `"Tags.Tag.+1.Key"`},
		{"an index in other digits", "elasticache", newUser + "&Tags.Tag.%D9%A1.Key=k", "", "", 400, "ValidationError", "Tags.Tag."},
		{"a huge index", "elasticache", newUser + "&Tags.Tag.18446744073709551617.Key=k", "", "", 400, "ValidationError", "Tags.Tag.18446744073709551617"},
		{"an index in EC2 with a gap", "ec2", newInstance + "&SecurityGroupId.2=sg-1", "", "", 400, "InvalidParameterValue", "SecurityGroupId.2"},
		{"a value where a list is", "elasticache", newUser + "&Tags=k", "", "", 400, "ValidationError", `"Tags"`},
		{"a list where a value is", "elasticache", newUser + "&UserId.1=b", "", "", 400, "ValidationError", `"UserId.1"`},
		{"a structure where a value is", "iam", newIAMUser + "&Path.X=b", "", "", 400, "ValidationError", `"Path.X"`},
		{"a deep name", "elasticache", newUser + "&Tags.Tag.1.Key=k&Tags" + strings.Repeat(".Tag.1", 50000) + "=k", "", "", 400, "ValidationError", "Tags.Tag.1"},
		{"a name of dots", "iam", newIAMUser + "&" + strings.Repeat(".", 500000) + "=k", "", "", 400, "ValidationError", "..."},
		{"a long name", "iam", newIAMUser + "&" + strings.Repeat("x", 900000) + "=k", "", "", 400, "ValidationError", "xxx"},
		{"a nameless parameter", "iam", newIAMUser + "&=k", "", "", 400, "ValidationError", `""`},

		// Values.
		{"a long value", "iam", "Action=CreateUser&UserName=" + strings.Repeat("x", 900000), "", "", 400, "ValidationError", "less than or equal to 64"},
		{"a long value in ElastiCache", "elasticache", strings.Replace(newUser, "UserId=a", "UserId="+strings.Repeat("x", 900000), 1), "", "", 400, "InvalidParameterValue", ""},
		{"a long value in EC2", "ec2", strings.Replace(newInstance, "ami-1", "ami-"+strings.Repeat("x", 900000), 1), "", "", 400, "InvalidAMIID.Malformed", ""},
		{"a long value in STS", "sts", "Action=AssumeRole&RoleArn=arn:aws:iam::123456789012:role/orders-app&RoleSessionName=" + strings.Repeat("x", 900000), "", "", 400, "ValidationError", ""},
		{"a long access string", "elasticache", strings.Replace(newUser, "AccessString=on", "AccessString=on"+strings.Repeat("+~x", 300000), 1), "", "", 400, "InvalidParameterValue", ""},
		{"a long policy document", "iam", "Action=CreatePolicy&PolicyName=p&PolicyDocument=" + strings.Repeat("[", 900000), "", "", 409, "LimitExceeded", ""},
		{"a deep policy document", "iam", "Action=CreatePolicy&PolicyName=p&PolicyDocument=" + strings.Repeat("[", 6000), "", "", 400, "MalformedPolicyDocument", ""},
		{"a number that is too large", "ec2", newInstance + "&MetadataOptions.HttpPutResponseHopLimit=99999999999999999999", "", "", 400, "InvalidParameterValue", "must be a number"},
		{"a number that is none", "elasticache", "Action=DescribeUsers&MaxRecords=1e3", "", "", 400, "ValidationError", "must be a number"},
		{"a number of instances", "ec2", strings.Replace(newInstance, "MaxCount=1", "MaxCount=2147483647", 1), "", "", 400, "InstanceLimitExceeded", ""},
		{"a truth that is none", "elasticache", newUser + "&NoPasswordRequired=yes", "", "", 400, "ValidationError", "true or false"},

		// What stands before the body.
		{"GET", "elasticache", newUser, "POST /", "GET /", 403, "SignatureDoesNotMatch", ""},
		{"no signature", "elasticache", newUser, "Authorization:", "Unauthorised:", 403, "MissingAuthenticationToken", "Request is missing Authentication Token"},
		{"no signature in EC2", "ec2", newInstance, "Authorization: AWS4-HMAC-SHA256 Credential=", "Authorization: Credential=", 401, "AuthFailure", ""},
		{"two signatures", "elasticache", newUser, "Authorization:", "Authorization: AWS4-HMAC-SHA256 x\r\nAuthorization:", 400, "IncompleteSignature", ""},
		{"two signatures, the other behind", "iam", newIAMUser, "\r\n\r\n", "\r\nAuthorization: Bearer x\r\n\r\n", 400, "IncompleteSignature", ""},
		{"a long signature", "elasticache", newUser, "SignedHeaders=", "SignedHeaders=" + strings.Repeat("a", 10<<10) + ";", 400, "IncompleteSignature", "bytes"},
		{"a signature of nothing", "iam", newIAMUser, "Signature=", "Signature=,Signature=", 400, "IncompleteSignature", ""},
		{"another service", "elasticache", newUser, "us-east-1/elasticache", "us-east-1/iam", 403, "SignatureDoesNotMatch", ""},
		{"a host without its port", "elasticache", newUser, "Host: 127.0.0.1:", "Host: 127.0.0.1\r\nX-Port: ", 403, "SignatureDoesNotMatch", ""},
		{"another host", "elasticache", newUser, "Host: ", "Host: www.", 403, "SignatureDoesNotMatch", ""},
		{"two hosts", "elasticache", newUser, "Host: ", "Host: x\r\nHost: ", 400, none, ""},
		{"no host", "elasticache", newUser, "Host: ", "X-Host: ", 400, none, ""},
		{"a query string beside the body", "elasticache", newUser, "POST / ", "POST /?UserId=b ", 403, "SignatureDoesNotMatch", ""},
		{"a target header that nobody signed", "elasticache", newUser, "Host: ", "X-Amz-Target: A.B\r\nHost: ", 400, "InvalidSignatureException", ""},
		{"a body that is longer than it says", "elasticache", newUser, "Content-Length: ", "Content-Length: 1", 400, "MalformedQueryString", ""},
		{"a body that is shorter than it says", "iam", newIAMUser, "Content-Length: 47", "Content-Length: 46", 403, "SignatureDoesNotMatch", ""},
		{"two lengths", "elasticache", newUser, "Content-Length: ", "Content-Length: 3\r\nContent-Length: ", 400, none, ""},
		{"a negative length", "elasticache", newUser, "Content-Length: ", "Content-Length: -", 400, none, ""},
		{"a length and chunks that are none", "elasticache", newUser, "Content-Length: ", chunked + "Content-Length: ", 400, "MalformedQueryString", ""},
		{"a coding that nobody knows", "elasticache", newUser, "Content-Length: ", "Transfer-Encoding: gzip\r\nContent-Length: ", 501, none, ""},
		{"a NUL byte in a header", "elasticache", newUser, "Host: ", "X-A: \x00\r\nHost: ", 400, none, ""},
		{"a header in Latin-1", "elasticache", newUser, "Authorization: AWS4", "Authorization: \xe4AWS4", 400, "IncompleteSignature", ""},
		{"long headers", "elasticache", newUser, "Host: ", strings.Repeat("X-A: "+long+"\r\n", 2000) + "Host: ", 431, none, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			wire := e.wire(t, row.service, row.body, "", e.key, e.world.Now())
			if changed := strings.Replace(wire, row.old, row.new, 1); row.old != "" && changed == wire {
				t.Fatal("nothing is exchanged")
			} else if row.old != "" {
				wire = changed
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			status, header, body := e.answers(t, strings.NewReader(wire))
			runtime.ReadMemStats(&after)
			if took := after.TotalAlloc - before.TotalAlloc; took > 64<<20 {
				t.Errorf("it took %d MB", took>>20)
			}
			if changes != 0 {
				t.Errorf("something has changed")
				changes = 0
			}
			if row.code == none {
				if status != row.status {
					t.Errorf("%d %s, want %d", status, body, row.status)
				}
				return
			}
			target := ""
			if strings.Contains(row.new, "X-Amz-Target") {
				target = "A.B"
			}
			code, message, err := errorIn(row.service, target, body)
			if status != row.status || code != row.code || !strings.Contains(message, row.message) || err != nil {
				t.Errorf("%d %.300s, %v, want %d %s: …%s…", status, body, err, row.status, row.code, row.message)
			}
			if len(body) > 2000 || header.Get("X-Amzn-Requestid") == "" {
				t.Errorf("an answer of %d bytes, headers %v", len(body), header)
			}
		})
	}
	for service, body := range map[string]string{"elasticache": newUser, "ec2": newInstance, "iam": newIAMUser} {
		if status, _, answer := e.answers(t, strings.NewReader(e.wire(t, service, body, "", e.key, e.world.Now()))); status != 200 {
			t.Errorf("what all that is made of: %d %s", status, answer)
		}
	}
}

// A body without an end is read to its bound, a slow one until its time is over.
func TestBodiesWithoutAnEndAreCutOff(t *testing.T) {
	e := serve(t)
	for _, target := range []string{"", "A.B"} {
		wire := e.wire(t, "elasticache", newUser, target, e.key, e.world.Now())
		head, _, _ := strings.Cut(strings.Replace(wire, "Content-Length:", "Transfer-Encoding: chunked\r\nX-Length:", 1), "\r\n\r\n")
		endless := &counter{Reader: io.MultiReader(strings.NewReader(head+"\r\n\r\n"), repeat("400\r\n"+strings.Repeat("x", 1024)+"\r\n"))}
		status, _, body := e.answers(t, endless)
		if code, _, err := errorIn("elasticache", target, body); code != "RequestEntityTooLarge" || err != nil {
			t.Errorf("%d %s, %v", status, body, err)
		}
		if n := endless.n.Load(); n > 16<<20 { // what sockets hold included
			t.Errorf("the server took %d MB", n>>20)
		}
	}
	slow := httptest.NewUnstartedServer(&awsapi.Handler{World: e.world, Log: slog.New(slog.DiscardHandler)})
	slow.Config.ReadTimeout = 100 * time.Millisecond
	slow.Start()
	defer slow.Close()
	e.url = slow.URL
	for target, want := range map[string]string{"": "MalformedQueryString", "A.B": "SerializationException"} {
		never := make(chan struct{})
		wire := e.wire(t, "elasticache", newUser, target, e.key, e.world.Now())
		status, _, body := e.answers(t, io.MultiReader(strings.NewReader(wire[:len(wire)-1]), waiting(never)))
		close(never)
		if code, _, err := errorIn("elasticache", target, body); code != want || err != nil {
			t.Errorf("%d %s, %v", status, body, err)
		}
	}
}

// repeat is a text over and over.
type repeat string

func (r repeat) Read(b []byte) (int, error) { return copy(b, r), nil }

// waiting is a body of which nothing comes.
type waiting chan struct{}

func (w waiting) Read([]byte) (int, error) { <-w; return 0, io.EOF }

// counter counts what is read of it.
type counter struct {
	io.Reader
	n atomic.Int64
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n.Add(int64(n))
	return n, err
}
