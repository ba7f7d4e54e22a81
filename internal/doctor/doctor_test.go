package doctor_test

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/ssocreds"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/memorydb"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/emulator"
	"github.com/rediam/rediam/internal/account"
	"github.com/rediam/rediam/internal/doctor"
	"github.com/rediam/rediam/internal/installed"
)

// patient is a sign-in as a healthy program has it, for a case to spoil.
type patient struct {
	t *testing.T
	*emulator.Server
	doctor  *doctor.Doctor
	blind   bool     // it may not read the account
	secrets []string // which no report may hold
}

// newPatient may read the account, as an IAM user who may Connect, unless blind.
func newPatient(t *testing.T, config emulator.Config, blind bool) *patient {
	config.Engine = "embedded"
	srv := emulator.Start(t, config)
	p := &patient{t: t, Server: srv, blind: blind}
	cache := srv.Cache("demo")
	host, port, _ := net.SplitHostPort(cache.Addr)
	var number int
	fmt.Sscan(port, &number)
	p.doctor = &doctor.Doctor{TLS: cache.TLS, Regions: []string{srv.Region()},
		Config: rediam.Config{Host: host, Port: number, TLS: true, AWSAuth: true, Username: "demo-user", CacheName: "demo", Region: srv.Region(), Serverless: config.Kind == emulator.ServerlessCache}}
	if config.Kind == emulator.Cluster {
		p.doctor.Config.Service = rediam.MemoryDB
	}
	p.user("app", connect("*"), `{"Effect":"Allow","Action":"memorydb:Connect","Resource":"*"}`, describe(!blind))
	p.doctor.Clients = func(region string) account.Clients {
		c := aws.Config{Region: region, Credentials: p.doctor.Credentials, BaseEndpoint: aws.String(srv.URL())}
		return account.Clients{STS: sts.NewFromConfig(c), IAM: iam.NewFromConfig(c), ElastiCache: elasticache.NewFromConfig(c), MemoryDB: memorydb.NewFromConfig(c)}
	}
	return p
}

// must ends the test if a change of the emulator failed.
func (p *patient) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// user makes the program that of an IAM user with these statements.
func (p *patient) user(name string, statements ...string) {
	p.t.Helper()
	u := emulator.IAMUser{Name: name}
	if strings.Join(statements, "") != "" {
		u.Inline = map[string]string{"policy": document(statements...)}
	}
	p.must(p.PutIAMUser(u))
	key, err := p.CreateAccessKey(name)
	p.must(err)
	p.secrets = append(p.secrets, string(key.Secret))
	p.doctor.Credentials = emulator.KeyCredentials(key)
}

func document(statements ...string) string {
	statements = slices.DeleteFunc(statements, func(s string) bool { return s == "" })
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
}

// connect allows it for resources whose ARN ends so.
func connect(ends ...string) string {
	for i, end := range ends {
		ends[i] = fmt.Sprintf("%q", strings.TrimPrefix("arn:aws:elasticache:us-east-1:123456789012:"+end, map[bool]string{true: "arn:aws:elasticache:us-east-1:123456789012:"}[end == "*"]))
	}
	return `{"Effect":"Allow","Action":"elasticache:Connect","Resource":[` + strings.Join(ends, ",") + `]}`
}

func describe(allowed bool) string {
	if !allowed {
		return ""
	}
	return `{"Effect":"Allow","Action":["elasticache:Describe*","memorydb:Describe*","iam:SimulatePrincipalPolicy","iam:Get*","iam:List*"],"Resource":"*"}`
}

// token is one of the healthy program, from elsewhere.
func (p *patient) token(now func() time.Time) string {
	p.t.Helper()
	c := p.doctor.Config
	token, err := (&rediam.Signer{Service: c.Service, Cache: c.CacheName, User: c.Username, Region: c.Region, Credentials: p.doctor.Credentials, Now: now}).Token(p.t.Context())
	p.must(err)
	p.secrets = append(p.secrets, token.Password[strings.LastIndex(token.Password, "X-Amz-Signature=")+len("X-Amz-Signature="):])
	return token.Password
}

func (p *patient) group(users ...string) {
	p.t.Helper()
	p.must(p.PutGroup(emulator.Group{ID: "demo-users", Users: append([]string{"demo-default"}, users...)}))
}

// listen makes the endpoint one that does this with each connection.
func (p *patient) listen(serve func(net.Conn)) {
	p.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	p.must(err)
	p.t.Cleanup(func() { l.Close() })
	p.doctor.Config.Port = l.Addr().(*net.TCPAddr).Port
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serve(conn)
		}
	}()
}

const undecided = doctor.NotPermitted

// cases spoil one thing each: cause is what the doctor must find, and blind what it
// can find without reading the account, if that is less.
var cases = []struct {
	name         string
	config       emulator.Config
	spoil        func(p *patient)
	cause, blind doctor.Cause
	mend         string         // that it says, with the account read
	also         []doctor.Cause // with the account read
}{
	{name: "nothing is wrong", spoil: func(*patient) {}},
	{name: "nothing is wrong with a serverless cache", config: emulator.Config{Kind: emulator.ServerlessCache}, spoil: func(*patient) {}},
	{name: "nothing is wrong with MemoryDB", config: emulator.Config{Kind: emulator.Cluster}, spoil: func(*patient) {}},

	{name: "no credentials", cause: doctor.NoCredentials, spoil: func(p *patient) {
		p.doctor.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return aws.Credentials{}, errors.New("no profile") })
	}},
	{name: "credentials that say that they are over", cause: doctor.CredentialsExpired, spoil: func(p *patient) {
		healthy := p.doctor.Credentials
		p.doctor.Credentials = aws.CredentialsProviderFunc(func(ctx context.Context) (aws.Credentials, error) {
			c, err := healthy.Retrieve(ctx)
			c.CanExpire, c.Expires = true, time.Now().Add(-time.Minute)
			return c, err
		})
	}},
	{name: "a secret key of another access key", cause: doctor.CredentialsInvalid, spoil: func(p *patient) {
		c, _ := p.doctor.Credentials.Retrieve(p.t.Context())
		c.SecretAccessKey = strings.ToUpper(c.SecretAccessKey)
		p.doctor.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return c, nil })
	}},
	{name: "a credential process whose output is broken", cause: doctor.NoCredentials, spoil: func(p *patient) {
		secret := p.secret("wJalrXUtnFEMIexample")
		p.doctor.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{}, fmt.Errorf("process provider error: parse failed of process output: {%q:%q,}", "SecretAccessKey", secret)
		})
	}},
	{name: "a role that may not be assumed", cause: doctor.NoCredentials, mend: "trust policy", spoil: func(p *patient) { p.assumes("AccessDenied") }},
	{name: "a role that is assumed with a broken key", cause: doctor.CredentialsInvalid, spoil: func(p *patient) { p.assumes("SignatureDoesNotMatch") }},
	{name: "a role that is assumed with a session that is over", cause: doctor.CredentialsExpired, spoil: func(p *patient) { p.assumes("ExpiredToken") }},
	{name: "a role that is assumed with a broken web identity", cause: doctor.NoCredentials, mend: "says what is to be mended", spoil: func(p *patient) { p.assumes("InvalidIdentityToken") }},
	{name: "an SSO session that is over", cause: doctor.CredentialsExpired, spoil: func(p *patient) {
		p.doctor.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{}, fmt.Errorf("failed to refresh cached credentials, %w", &ssocreds.InvalidTokenError{})
		})
	}},
	{name: "a clock that is behind", cause: doctor.ClockSkew, spoil: func(p *patient) { p.Advance(20 * time.Minute) }},

	{name: "no region", cause: doctor.Configuration, spoil: func(p *patient) { p.doctor.Config.Region = "" }},
	{name: "no region and no user", cause: doctor.Configuration, mend: "--user --region", spoil: func(p *patient) { p.doctor.Config.Region, p.doctor.Config.Username = "", "" }},
	{name: "no region, and an endpoint that tells it", cause: doctor.Configuration, mend: "looks like one of eu-west-1", spoil: func(p *patient) {
		p.doctor.Config.Region, p.doctor.Config.Host = "", "master.orders.abc123.euw1.cache.amazonaws.com"
	}},
	{name: "the endpoint for the name", cause: doctor.NameIsEndpoint, spoil: func(p *patient) { p.doctor.Config.CacheName = "demo.abc123.use1.cache.amazonaws.com" }},
	{name: "a password beside IAM", cause: doctor.StaticPassword, spoil: func(p *patient) { p.doctor.Config.Password = p.secret("hunter2-hunter2-hunter2") }},

	{name: "a password for a token", cause: doctor.StaticPassword, spoil: func(p *patient) { p.doctor.Token = p.secret("hunter2-hunter2-hunter2") }},
	{name: "AUTH with a token alone", cause: doctor.OneArgumentAuth, spoil: func(p *patient) { p.doctor.Token = "AUTH " + p.token(nil) }},
	{name: "a token with its scheme", cause: doctor.SchemeLeftOn, spoil: func(p *patient) { p.doctor.Token = "http://" + p.token(nil) + "\n" }},
	{name: "a token that a shell has cut", cause: doctor.TokenMangled, spoil: func(p *patient) { p.doctor.Token, _, _ = strings.Cut(p.token(nil), "&X-Amz-SignedHeaders") }},
	{name: "a token that HTML has escaped", cause: doctor.TokenMangled, spoil: func(p *patient) { p.doctor.Token = strings.ReplaceAll(p.token(nil), "&", "&amp;") }},
	{name: "a token in lower case", cause: doctor.TokenMangled, spoil: func(p *patient) { p.doctor.Token = strings.ToLower(p.token(nil)) }},
	{name: "a token in quotation marks", cause: doctor.TokenMangled, spoil: func(p *patient) { p.doctor.Token = `"` + p.token(nil) + `"` }},
	{name: "a token with another signature", cause: doctor.TokenMangled, spoil: func(p *patient) { t := p.token(nil); p.doctor.Token = t[:len(t)-8] + "00000000" }},
	{name: "AUTH with a user and a token", spoil: func(p *patient) { p.doctor.Token = `AUTH "demo-user" "` + p.token(nil) + `"` }},
	{name: "AUTH with another user and a token", cause: doctor.TokenUserDiffers, spoil: func(p *patient) { p.doctor.Token = "AUTH other " + p.token(nil) }},
	{name: "a token in two lines", cause: doctor.TokenMangled, spoil: func(p *patient) { t := p.token(nil); p.doctor.Token = t[:100] + "\n" + t[100:] }},
	{name: "an old token", cause: doctor.TokenExpired, spoil: func(p *patient) {
		p.doctor.Token = p.token(func() time.Time { return time.Now().Add(-16 * time.Minute) })
	}},
	{name: "a token of the future", cause: doctor.ClockSkew, spoil: func(p *patient) {
		p.doctor.Token = p.token(func() time.Time { return time.Now().Add(10 * time.Minute) })
	}},
	{name: "another user's token", cause: doctor.TokenUserDiffers, spoil: func(p *patient) { p.doctor.Token = p.token(nil); p.doctor.Config.Username = "other" }},
	{name: "a token with capitals", cause: doctor.NameHasCapitals, spoil: func(p *patient) { t := p.token(nil); p.doctor.Token = "Demo" + t[4:] }},
	{name: "a token for another region and kind", cause: doctor.WrongRegion, also: []doctor.Cause{doctor.ResourceTypeMissing}, spoil: func(p *patient) {
		p.doctor.Token = p.token(nil)
		p.doctor.Config.Region, p.doctor.Config.Serverless = "eu-west-1", true
	}},
	{name: "an old token with its scheme", cause: doctor.SchemeLeftOn, also: []doctor.Cause{doctor.TokenExpired}, spoil: func(p *patient) {
		p.doctor.Token = "https://" + p.token(func() time.Time { return time.Now().Add(-time.Hour) })
	}},
	{name: "a good token of a user who is off", cause: doctor.UserOff, blind: undecided, spoil: func(p *patient) {
		p.must(p.PutUser(emulator.User{Name: "demo-user", Access: "off ~* +@all"}))
		p.doctor.Token = p.token(nil)
	}},
	{name: "a good token", spoil: func(p *patient) { p.doctor.Token = p.token(nil) }},

	{name: "a host that does not exist", cause: doctor.NotResolved, spoil: func(p *patient) { p.doctor.Config.Host = "cache.invalid" }},
	{name: "a host that answers nothing", cause: doctor.Unreachable, spoil: func(p *patient) { p.doctor.Config.Port = deaf(p.t) }},
	{name: "a port that nobody has", cause: doctor.NotListening, spoil: func(p *patient) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		p.must(err)
		p.doctor.Config.Port = l.Addr().(*net.TCPAddr).Port
		p.must(l.Close())
	}},
	{name: "a port without TLS", cause: doctor.NoTLS, spoil: func(p *patient) {
		p.listen(func(c net.Conn) { c.Read(make([]byte, 1)); c.Write([]byte("-ERR Protocol error\r\n")); c.Close() })
	}},
	{name: "a port that closes", cause: doctor.Silent, spoil: func(p *patient) { p.listen(func(c net.Conn) { c.Close() }) }},
	{name: "a port that says nothing", cause: doctor.Silent, spoil: func(p *patient) { p.listen(func(net.Conn) {}) }},
	{name: "a cache that says nothing after TLS", cause: doctor.Silent, spoil: func(p *patient) { p.must(p.Fault("", emulator.Fault{Latency: time.Hour})) }},
	{name: "an authority that is not known", cause: doctor.Untrusted, spoil: func(p *patient) { p.doctor.TLS = nil }},
	{name: "a certificate that is over", cause: doctor.Untrusted, mend: "clock", spoil: func(p *patient) {
		p.doctor.TLS.Time = func() time.Time { return time.Now().AddDate(20, 0, 0) }
	}},
	{name: "an alias of the endpoint", cause: doctor.WrongHost, spoil: func(p *patient) { p.doctor.TLS.ServerName = "redis.example" }},
	{name: "too many sign-ins", cause: doctor.Throttled, spoil: func(p *patient) { p.must(p.Fault("", emulator.Fault{SignIn: emulator.ErrThrottled})) }},
	{name: "IAM cannot be asked", cause: doctor.Unavailable, spoil: func(p *patient) { p.must(p.Fault("", emulator.Fault{SignIn: emulator.ErrIAMUnavailable})) }},

	{name: "another region", cause: doctor.WrongRegion, spoil: func(p *patient) { p.doctor.Config.Region = "ap-south-1" }},
	{name: "another region, which nothing tells", cause: doctor.WrongRegion, blind: undecided, spoil: func(p *patient) { p.doctor.Config.Region, p.doctor.Regions = "ap-south-1", nil }},
	{name: "another service", cause: doctor.WrongService, spoil: func(p *patient) { p.doctor.Config.Service = rediam.MemoryDB }},
	{name: "another name", cause: doctor.NameUnknown, blind: undecided, spoil: func(p *patient) { p.doctor.Config.CacheName = "orders" }},
	{name: "not said to be serverless", config: emulator.Config{Kind: emulator.ServerlessCache}, cause: doctor.ResourceTypeMissing, spoil: func(p *patient) { p.doctor.Config.Serverless = false }},
	{name: "said to be serverless", cause: doctor.ResourceTypeExtra, spoil: func(p *patient) { p.doctor.Config.Serverless = true }},
	{name: "another region and kind", cause: doctor.WrongRegion, also: []doctor.Cause{doctor.ResourceTypeExtra}, spoil: func(p *patient) {
		p.doctor.Config.Region, p.doctor.Config.Serverless = "eu-west-1", true
	}},
	{name: "another name and a user who is off", cause: doctor.NameUnknown, also: []doctor.Cause{doctor.UserOff}, blind: undecided, spoil: func(p *patient) {
		p.doctor.Config.CacheName = "orders"
		p.must(p.PutUser(emulator.User{Name: "demo-user", Access: "off ~* +@all"}))
	}},

	{name: "a user who does not exist", cause: doctor.UserUnknown, blind: undecided, spoil: func(p *patient) { p.doctor.Config.Username = "nobody" }},
	{name: "a MemoryDB user in capitals", config: emulator.Config{Kind: emulator.Cluster}, cause: doctor.UserUnknown, blind: undecided, mend: "--user demo-user", spoil: func(p *patient) { p.doctor.Config.Username = "Demo-User" }},
	{name: "a user whose id is another, outside of the group", cause: doctor.UserIDDiffers, blind: undecided, spoil: func(p *patient) {
		p.must(p.PutUser(emulator.User{ID: "orders-1", Name: "orders", Auth: emulator.AuthPassword, Passwords: []emulator.Secret{"a-long-password-1"}, Access: "on ~* +@all"}))
		p.doctor.Config.Username = "orders"
	}},
	{name: "a user whose id is another", cause: doctor.UserIDDiffers, blind: undecided, spoil: func(p *patient) {
		p.must(p.PutUser(emulator.User{ID: "orders-1", Name: "orders", Auth: emulator.AuthPassword, Passwords: []emulator.Secret{"a-long-password-1"}, Access: "on ~* +@all"}))
		p.group("demo-user", "orders-1")
		p.doctor.Config.Username = "orders"
	}},
	{name: "a user with a password", cause: doctor.UserNotIAM, blind: undecided, spoil: func(p *patient) {
		p.must(p.PutUser(emulator.User{ID: "orders", Name: "orders", Auth: emulator.AuthPassword, Passwords: []emulator.Secret{"a-long-password-1"}, Access: "on ~* +@all"}))
		p.group("demo-user", "orders")
		p.doctor.Config.Username = "orders"
	}},
	{name: "the user default", cause: doctor.UserNotIAM, blind: undecided, mend: "another user", spoil: func(p *patient) {
		p.doctor.Config.Username = "default"
	}},
	{name: "a user outside of the group", cause: doctor.UserNotInGroup, blind: undecided, spoil: func(p *patient) { p.group() }},
	{name: "a cache without a group", cause: doctor.UserNotInGroup, blind: undecided, spoil: func(p *patient) { p.must(p.PutCache(emulator.Cache{Name: "demo"})) }},
	{name: "a user who is off", cause: doctor.UserOff, blind: undecided, spoil: func(p *patient) {
		p.must(p.PutUser(emulator.User{Name: "demo-user", Access: "off ~* +@all"}))
	}},
	{name: "off, and outside of the group", cause: doctor.UserNotInGroup, also: []doctor.Cause{doctor.UserOff}, blind: undecided, spoil: func(p *patient) {
		p.group()
		p.must(p.PutUser(emulator.User{Name: "demo-user", Access: "off ~* +@all"}))
	}},
	{name: "a user who is not in MemoryDB's ACL", config: emulator.Config{Kind: emulator.Cluster}, cause: doctor.UserUnknown, blind: undecided, spoil: func(p *patient) { p.doctor.Config.Username = "nobody" }},

	{name: "credentials of somebody else", cause: doctor.WrongPrincipal, blind: undecided, spoil: func(p *patient) { p.user("somebody", describe(!p.blind)) }},
	{name: "a policy without the cache", cause: doctor.PolicyLacksCache, blind: undecided, spoil: func(p *patient) {
		p.user("app", connect("user:demo-user"), describe(!p.blind))
	}},
	{name: "a policy without the user", cause: doctor.PolicyLacksUser, blind: undecided, spoil: func(p *patient) {
		p.user("app", connect("replicationgroup:demo"), describe(!p.blind))
	}},
	{name: "a policy for other things", cause: doctor.PolicyLacksCache, also: []doctor.Cause{doctor.PolicyLacksUser}, blind: undecided, spoil: func(p *patient) {
		p.user("app", connect("replicationgroup/demo", "user:other"), describe(!p.blind))
	}},
	{name: "a permissions boundary without Connect", cause: doctor.PolicyLacksCache, also: []doctor.Cause{doctor.PolicyLacksUser}, blind: undecided, mend: "in the boundary", spoil: func(p *patient) {
		boundary, err := p.PutPolicy("boundary", document(describe(true)))
		p.must(err)
		p.must(p.PutIAMUser(emulator.IAMUser{Name: "bound", Inline: map[string]string{"policy": document(connect("*"), describe(!p.blind))}, Boundary: boundary}))
		key, err := p.CreateAccessKey("bound")
		p.must(err)
		p.doctor.Credentials = emulator.KeyCredentials(key)
	}},
	{name: "a condition that does not hold", cause: doctor.PolicyLacksCache, also: []doctor.Cause{doctor.PolicyLacksUser}, blind: undecided, mend: "conditions on aws:SourceVpce", spoil: func(p *patient) {
		p.user("app", strings.TrimSuffix(connect("*"), "}")+`,"Condition":{"StringEquals":{"aws:SourceVpce":"vpce-1"}}}`, describe(!p.blind))
	}},
	{name: "a statement that denies", cause: doctor.PolicyLacksUser, blind: undecided, mend: "narrow the statement with Deny, which no other outweighs: it is in policy", spoil: func(p *patient) {
		p.user("app", connect("*"), strings.Replace(connect("user:demo-user"), "Allow", "Deny", 1), describe(!p.blind))
	}},
	{name: "a user who is off, and a policy without the cache", cause: doctor.UserOff, also: []doctor.Cause{doctor.PolicyLacksCache}, blind: undecided, spoil: func(p *patient) {
		p.must(p.PutUser(emulator.User{Name: "demo-user", Access: "off ~* +@all"}))
		p.user("app", connect("user:demo-user"), describe(!p.blind))
	}},
	{name: "a session policy without Connect", cause: doctor.Unexplained, blind: undecided, spoil: func(p *patient) {
		p.must(p.PutRole(emulator.Role{Name: "app", Inline: map[string]string{"policy": document(connect("*"), describe(!p.blind))}}))
		p.user("administrator", `{"Effect":"Allow","Action":"*","Resource":"*"}`)
		client := sts.New(sts.Options{Region: p.Region(), BaseEndpoint: aws.String(p.URL()), Credentials: p.doctor.Credentials})
		p.doctor.Credentials = stscreds.NewAssumeRoleProvider(client, p.RoleARN("app"), func(o *stscreds.AssumeRoleOptions) {
			o.Policy = aws.String(document(describe(true)))
		})
	}},
	{name: "a token of somebody else", cause: doctor.WrongPrincipal, spoil: func(p *patient) {
		healthy := p.doctor.Credentials
		p.user("somebody")
		p.doctor.Token = p.token(nil)
		p.doctor.Credentials = healthy
	}},
	{name: "a cache that repeats the token", cause: doctor.Unexplained, blind: undecided, spoil: repeatTheToken},
	{name: "MemoryDB's ACL for everybody", config: emulator.Config{Kind: emulator.Cluster}, cause: doctor.UserNotInGroup, blind: undecided, mend: "make another ACL", spoil: func(p *patient) {
		p.must(p.PutCache(emulator.Cache{Kind: emulator.Cluster, Name: "demo", Group: "open-access"}))
	}},
	{name: "nothing is wrong with a public endpoint", spoil: func(p *patient) { p.public("default.iam-user", true) }},
	{name: "a public endpoint, not said to be serverless", cause: doctor.ResourceTypeMissing, spoil: func(p *patient) { p.public("default.iam-user", false) }},
	{name: "a public endpoint with another user", cause: doctor.UserNotInGroup, blind: undecided, mend: "sign in as default.iam-user", spoil: func(p *patient) { p.public("demo-user", true) }},
}

// repeatTheToken makes the cache one that answers AUTH with what it was sent.
func repeatTheToken(p *patient) {
	web := httptest.NewTLSServer(nil)
	p.t.Cleanup(web.Close)
	p.doctor.TLS = &tls.Config{RootCAs: x509.NewCertPool()}
	p.doctor.TLS.RootCAs.AddCert(web.Certificate())
	p.doctor.Token = p.token(nil)
	p.listen(func(c net.Conn) {
		secure := tls.Server(c, &tls.Config{Certificates: web.TLS.Certificates})
		defer secure.Close()
		lines := bufio.NewReader(secure)
		for line, err := lines.ReadString('\n'); err == nil; line, err = lines.ReadString('\n') {
			if strings.Contains(line, "X-Amz-Signature") {
				fmt.Fprintf(secure, "-WRONGPASS %s\r\n", strings.TrimSpace(line))
			}
		}
	})
}

// public makes the cache one with a public endpoint.
func (p *patient) public(user string, serverless bool) {
	p.t.Helper()
	p.must(p.PutCache(emulator.Cache{Kind: emulator.ServerlessCache, Name: "open", Engine: "valkey", Version: "9.0", Public: true, Group: "default.iam-user-group"}))
	_, port, _ := net.SplitHostPort(p.Cache("open").Addr)
	c := &p.doctor.Config
	c.CacheName, c.Username, c.Serverless = "open", user, serverless
	fmt.Sscan(port, &c.Port)
}

// assumes has the credentials be those of a role, for which STS answers with a code.
func (p *patient) assumes(code string) {
	p.doctor.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{}, fmt.Errorf("operation error STS: AssumeRole, %w", &smithy.GenericAPIError{Code: code})
	})
}

func (p *patient) secret(s string) string {
	p.secrets = append(p.secrets, s)
	return s
}

func TestEveryCauseIsFound(t *testing.T) {
	firsts := make([]doctor.Finding, 2*len(cases)) // the first finding of each case, readable and blind
	t.Run("case", func(t *testing.T) {
		for i, c := range cases {
			for j, blind := range []bool{false, true} {
				name, want := c.name, c.cause
				if blind {
					name, want = name+", and the account may not be read", cmp.Or(c.blind, c.cause)
				}
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					p := newPatient(t, c.config, blind)
					c.spoil(p)
					report := p.examine(patience(c.cause))
					text, _ := json.MarshalIndent(report, "", "  ")
					if report.Cause != want || report.OK != (want == "") {
						t.Fatalf("the cause is %q, not %q: %s", report.Cause, want, text)
					}
					if !blind && !slices.Equal(report.Also, append([]doctor.Cause{}, c.also...)) {
						t.Errorf("besides it found %q, not %q: %s", report.Also, c.also, text)
					}
					if !blind && (want != "" || c.mend != "") && !strings.Contains(report.Findings[0].Mend, c.mend) {
						t.Errorf("the mend is %q, without %q", report.Findings[0].Mend, c.mend)
					}
					for _, secret := range p.secrets {
						if strings.Contains(string(text), secret) {
							t.Errorf("the report holds the secret %q", secret)
						}
					}
					if want != "" {
						firsts[2*i+j] = report.Findings[0]
					}
				})
			}
		}
	})
	seen := map[doctor.Cause]doctor.Finding{}
	for _, f := range slices.Backward(firsts) {
		seen[f.Cause] = f
	}
	for _, cause := range doctor.Causes() {
		if seen[cause].Cause == "" {
			t.Errorf("no case has the cause %s", cause)
		}
	}
	checkPage(t, seen)
}

// examine runs the doctor, and compares what it shows with what it reports.
func (p *patient) examine(patience time.Duration) doctor.Report {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	var shown []doctor.Check
	p.doctor.Progress = func(c doctor.Check) { shown = append(shown, c) }
	report := p.doctor.Run(ctx)
	if !slices.Equal(shown, report.Checks) {
		p.t.Errorf("shown as they were done: %v, in the report: %v", shown, report.Checks)
	}
	return report
}

const page = "../../docs/troubleshooting.md"

var update = flag.Bool("update", false, "write what the doctor says into docs/troubleshooting.md")

// checkPage compares what the doctor says of each cause with the page about them,
// which has a section with it for each.
func checkPage(t *testing.T, seen map[doctor.Cause]doctor.Finding) {
	old, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	text := string(old)
	for _, cause := range doctor.Causes() {
		heading := "\n### " + string(cause) + "\n"
		before, section, ok := strings.Cut(text, heading)
		if !ok {
			t.Errorf("docs/troubleshooting.md has no section %s", cause)
			continue
		}
		prose, rest, _ := strings.Cut(section, "\n```\n")
		shown, after, ok := strings.Cut(rest, "\n```\n")
		f := seen[cause]
		says := steady(fmt.Sprintf("%s\n  %s\n  mend: %s", f.Cause, f.What, f.Mend))
		if !ok || shown != says {
			text = before + heading + prose + "\n```\n" + says + "\n```\n" + after
			if !*update {
				t.Errorf("docs/troubleshooting.md, section %s: the doctor says\n%s", cause, says)
			}
		}
	}
	if *update {
		if err := os.WriteFile(page, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// steady has none of what is another thing in each run.
func steady(says string) string {
	for pattern, instead := range map[string]string{
		`127\.0\.0\.1:[0-9]+`: "127.0.0.1:6379", `[0-9-]{10}T[0-9:]{8}Z`: "2026-01-02T03:04:05Z", `[0-9]+m[0-9]+s`: "20m0s",
		`lookup (\S+) on \S+:`: "lookup $1:", `: dial .*`: "", `byte [0-9]+`: "byte 100", `on 127.0.0.1:6379: no such host|: no such host|: server misbehaving|: Temporary failure in name resolution`: ": no such host",
	} {
		says = regexp.MustCompile(pattern).ReplaceAllString(says, instead)
	}
	return says
}

// patience is how long an examination may take: those that end with it are given little.
func patience(cause doctor.Cause) time.Duration {
	if cause == doctor.Silent || cause == doctor.Unreachable {
		return 2 * time.Second
	}
	return time.Minute
}

// Explain tells what may be wrong without looking: it uses the same ids.
func TestExplainNamesTheSameCauses(t *testing.T) {
	text := rediam.Config{AWSAuth: true, TLS: true}.Explain(errors.New("WRONGPASS invalid username-password pair or user is disabled.")).Error()
	for _, cause := range []doctor.Cause{doctor.WrongRegion, doctor.NameIsEndpoint, doctor.NameUnknown, doctor.ResourceTypeMissing, doctor.ResourceTypeExtra, doctor.UserUnknown, doctor.UserIDDiffers,
		doctor.UserNotInGroup, doctor.UserOff, doctor.PolicyLacksCache, doctor.PolicyLacksUser, doctor.WrongPrincipal, doctor.CredentialsExpired, doctor.ClockSkew, doctor.TokenExpired,
		doctor.OneArgumentAuth, doctor.SchemeLeftOn, doctor.TokenMangled, doctor.StaticPassword} {
		if !strings.Contains(text, string(cause)) {
			t.Errorf("Explain does not name %s:\n%s", cause, text)
		}
	}
}

// A cache gets no more sign-ins than the page says, and the account is only read.
func TestAfterARefusalThereAreAtMostTwelveSignIns(t *testing.T) {
	p := newPatient(t, emulator.Config{}, false)
	p.user("app", connect("user:demo-user"), describe(true))
	c := &p.doctor.Config
	c.CacheName, c.Region, p.doctor.Regions = "orders", "eu-west-1", []string{p.Region(), "eu-west-2", "eu-west-3", "eu-central-1"}
	report := p.doctor.Run(t.Context())
	if report.Cause != doctor.WrongRegion || !slices.Equal(report.Also, []doctor.Cause{doctor.NameUnknown, doctor.PolicyLacksCache}) {
		t.Errorf("found %s and %s", report.Cause, report.Also)
	}
	signIns := slices.DeleteFunc(p.Events(), func(e emulator.Event) bool { return e.Action != "" })
	if len(signIns) != 1+12 {
		t.Errorf("%d sign-ins, not 1 and 12", len(signIns))
	}
}

// An STS that says that a session is over, as it does an hour later.
type expiredSession struct{}

func (expiredSession) GetCallerIdentity(context.Context, *sts.GetCallerIdentityInput, ...func(*sts.Options)) (*sts.GetCallerIdentityOutput, error) {
	return nil, &smithy.GenericAPIError{Code: "ExpiredToken", Message: "The security token included in the request is expired"}
}

func TestWhatSTSCallsExpiredIsExpired(t *testing.T) {
	p := newPatient(t, emulator.Config{}, false)
	p.doctor.Clients = func(string) account.Clients { return account.Clients{STS: expiredSession{}} }
	if report := p.doctor.Run(t.Context()); report.Cause != doctor.CredentialsExpired {
		t.Errorf("the cause is %q: %+v", report.Cause, report)
	}
}

// noSTS cannot be reached, as in a VPC that has no endpoint of it.
type noSTS struct{}

func (noSTS) GetCallerIdentity(context.Context, *sts.GetCallerIdentityInput, ...func(*sts.Options)) (*sts.GetCallerIdentityOutput, error) {
	return nil, &net.OpError{Op: "dial", Err: syscall.ETIMEDOUT}
}

func TestWithoutSTSTheOtherServicesTellThatCredentialsAreWrong(t *testing.T) {
	p := newPatient(t, emulator.Config{}, false)
	c, _ := p.doctor.Credentials.Retrieve(t.Context())
	c.SecretAccessKey = strings.ToUpper(c.SecretAccessKey)
	p.doctor.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return c, nil })
	clients := p.doctor.Clients
	p.doctor.Clients = func(region string) account.Clients {
		all := clients(region)
		all.STS = noSTS{}
		return all
	}
	if report := p.doctor.Run(t.Context()); report.Cause != doctor.CredentialsInvalid {
		t.Errorf("the cause is %q: %+v", report.Cause, report)
	}
}

// deaf is a port that takes no connection any more and refuses none: its queue is full.
func deaf(t *testing.T) int {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err == nil {
		t.Cleanup(func() { syscall.Close(fd) })
		err = errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0))
	}
	if err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	port := name.(*syscall.SockaddrInet4).Port
	for range 16 {
		conn, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), 200*time.Millisecond)
		if err != nil {
			return port
		}
		t.Cleanup(func() { conn.Close() })
	}
	installed.Missing(t, "full-queue", errors.New("the queue of a listener is never full"))
	return 0
}
