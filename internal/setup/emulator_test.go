package setup_test

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/memorydb"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/emulator"
	"github.com/rediam/rediam/internal/setup"
)

// An account is an emulator, and clients of the SDK in it.
type account struct {
	*emulator.Server
	t     *testing.T
	admin aws.CredentialsProvider
	delay time.Duration
	setup.Clients
}

func newAccount(t *testing.T, c emulator.Config) *account {
	t.Helper()
	c.Empty = true
	c.Engine = cmp.Or(c.Engine, "embedded")
	a := &account{Server: emulator.Start(t, c), t: t, delay: c.StateDelay}
	environ := map[string]string{}
	for _, v := range a.Environ() {
		name, value, _ := strings.Cut(v, "=")
		environ[name] = value
	}
	a.admin = credentials.NewStaticCredentialsProvider(environ["AWS_ACCESS_KEY_ID"], environ["AWS_SECRET_ACCESS_KEY"], "")
	a.Clients = a.clients(a.admin, http.DefaultClient)
	return a
}

func (a *account) clients(as aws.CredentialsProvider, over aws.HTTPClient) setup.Clients {
	c := aws.Config{Region: a.Region(), Credentials: as, BaseEndpoint: aws.String(a.URL()), HTTPClient: over, Retryer: func() aws.Retryer {
		return retry.NewStandard(func(o *retry.StandardOptions) { o.MaxBackoff = time.Millisecond })
	}}
	return setup.Clients{STS: sts.NewFromConfig(c), IAM: iam.NewFromConfig(c), ElastiCache: elasticache.NewFromConfig(c), MemoryDB: memorydb.NewFromConfig(c)}
}

func (a *account) setup(spec setup.Spec) *setup.Setup {
	return &setup.Setup{Spec: spec, Region: a.Region(), Clients: a.Clients, Poll: time.Millisecond, Progress: a.heard}
}

// heard lets what is waited for come.
func (a *account) heard(what string) {
	if strings.HasPrefix(what, "waiting: ") {
		a.Advance(a.delay)
	}
}

func (a *account) apply(spec setup.Spec) {
	a.t.Helper()
	endpoint, err := a.setup(spec).Apply(a.t.Context())
	if err != nil || endpoint != a.Cache(spec.Cache).Addr {
		a.t.Fatalf("Apply() = %q, %v; the cache is at %s", endpoint, err, a.Cache(spec.Cache).Addr)
	}
}

func (a *account) destroy(spec setup.Spec) {
	a.t.Helper()
	if err := a.setup(spec).Destroy(a.t.Context()); err != nil {
		a.t.Fatal("Destroy():", err)
	}
}

// must stops the test if one of the calls that prepare it has failed.
func (a *account) must(errs ...error) {
	a.t.Helper()
	if err := errors.Join(errs...); err != nil {
		a.t.Fatal(err)
	}
}

func only[V any](_ V, err error) error { return err }

// signIn tries the target of a spec, and answers the cache's words.
func (a *account) signIn(spec setup.Spec, as aws.CredentialsProvider, command string) string {
	a.t.Helper()
	signer := &rediam.Signer{Service: spec.Service, Cache: spec.Cache, User: spec.User, Serverless: spec.Serverless, Region: a.Region(), Credentials: as, Now: a.Now}
	token, err := signer.Token(a.t.Context())
	if err != nil {
		return err.Error()
	}
	cache := a.Cache(spec.Cache)
	conn, err := tls.Dial("tcp", cache.Addr, cache.TLS)
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	lines := bufio.NewReader(conn)
	fmt.Fprintf(conn, "*3\r\n$4\r\nAUTH\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n", len(token.User), token.User, len(token.Password), token.Password)
	line, err := lines.ReadString('\n')
	if err != nil || line != "+OK\r\n" {
		return strings.TrimSpace(line) + fmt.Sprint(err)
	}
	fmt.Fprintf(conn, "%s\r\n", command)
	if line, err = lines.ReadString('\n'); err != nil {
		return err.Error()
	}
	return strings.TrimSpace(line)
}

// inventory is everything that setup could have made or changed.
func (a *account) inventory() string {
	a.t.Helper()
	ctx := a.t.Context()
	i, e, m := a.IAM.(*iam.Client), a.ElastiCache.(*elasticache.Client), a.MemoryDB.(*memorydb.Client)
	var all []string
	add := func(v any, err error) {
		text, failed := json.Marshal(v)
		a.must(err, failed)
		all = append(all, string(text))
	}
	roles, err := i.ListRoles(ctx, nil)
	a.must(err)
	for _, r := range roles.Roles {
		add(r, nil)
		attached, err := i.ListAttachedRolePolicies(ctx, &iam.ListAttachedRolePoliciesInput{RoleName: r.RoleName})
		a.must(err)
		add(attached.AttachedPolicies, nil)
	}
	policies, err := i.ListPolicies(ctx, nil)
	a.must(err)
	add(policies.Policies, nil)
	profiles, err := i.ListInstanceProfiles(ctx, nil)
	a.must(err)
	add(profiles.InstanceProfiles, nil)
	users, err := e.DescribeUsers(ctx, &elasticache.DescribeUsersInput{})
	a.must(err)
	groups, err := e.DescribeUserGroups(ctx, &elasticache.DescribeUserGroupsInput{})
	a.must(err)
	rgs, err := e.DescribeReplicationGroups(ctx, &elasticache.DescribeReplicationGroupsInput{})
	a.must(err)
	serverless, err := e.DescribeServerlessCaches(ctx, &elasticache.DescribeServerlessCachesInput{})
	a.must(err)
	add([]any{users.Users, groups.UserGroups, rgs.ReplicationGroups, serverless.ServerlessCaches}, nil)
	memory, err := m.DescribeUsers(ctx, &memorydb.DescribeUsersInput{})
	a.must(err)
	acls, err := m.DescribeACLs(ctx, &memorydb.DescribeACLsInput{})
	a.must(err)
	clusters, err := m.DescribeClusters(ctx, &memorydb.DescribeClustersInput{})
	a.must(err)
	add([]any{memory.Users, acls.ACLs, clusters.Clusters}, nil)
	return strings.Join(all, "\n")
}

// unchanged compares with an inventory of before.
func (a *account) unchanged(before string) {
	a.t.Helper()
	if now := a.inventory(); now != before {
		a.t.Errorf("there is\n%s\n\nthere was\n%s", now, before)
	}
}

// as are the credentials of a workload with the role of a spec.
func (a *account) as(spec setup.Spec) aws.CredentialsProvider {
	a.t.Helper()
	kind, _, _ := strings.Cut(spec.Trust, ":")
	role := cmp.Or(spec.Role, spec.User)
	switch kind {
	case "":
		return a.admin
	case "arn":
		c := sts.New(sts.Options{Region: a.Region(), BaseEndpoint: aws.String(a.URL()), Credentials: a.admin})
		return stscreds.NewAssumeRoleProvider(c, a.RoleARN(role))
	}
	environ, err := a.StartWorkload(emulator.Workload{Kind: emulator.WorkloadKind(kind), Role: role})
	a.must(err)
	for _, v := range os.Environ() { // a program has no other environment
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "AWS_") {
			a.t.Setenv(name, "")
		}
	}
	for _, v := range environ {
		name, value, _ := strings.Cut(v, "=")
		a.t.Setenv(name, value)
	}
	c, err := config.LoadDefaultConfig(a.t.Context())
	a.must(err)
	return c.Credentials
}

// A breaking client ends a run with its nth call: before it is sent, or when AWS has
// done it and nobody has heard the answer.
type breaking struct {
	mu    sync.Mutex // guards n
	n     int
	after bool
	end   func() // nil: only the answer is lost, so that the SDK tries again
}

func (b *breaking) Do(r *http.Request) (*http.Response, error) {
	b.mu.Lock()
	b.n--
	now := b.n == 0
	b.mu.Unlock()
	if !now {
		return http.DefaultClient.Do(r)
	}
	if b.after {
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			return nil, err
		}
		answer.Body.Close()
	}
	if b.end != nil {
		b.end()
		return nil, context.Canceled
	}
	return nil, errLost
}

var errLost = &lost{}

// lost is an error of the network, after which the SDK tries again.
type lost struct{}

func (*lost) Error() string   { return "connection reset by peer" }
func (*lost) Timeout() bool   { return true }
func (*lost) Temporary() bool { return true }

// kinds are a cache of each kind and of each engine that is set up differently.
func kinds() []setup.Spec {
	base := setup.Spec{Cache: "orders", User: "orders-app", Access: "read-write"}
	with := func(change func(*setup.Spec)) setup.Spec {
		s := base
		change(&s)
		return s
	}
	return []setup.Spec{
		base,
		with(func(s *setup.Spec) { s.Engine = "redis" }),
		with(func(s *setup.Spec) { s.Serverless = true }),
		with(func(s *setup.Spec) { s.Service = rediam.MemoryDB }),
	}
}

func nameOf(s setup.Spec) string {
	return strings.Join(slices.DeleteFunc([]string{cmp.Or(string(s.Service), "elasticache"), map[bool]string{true: "serverless"}[s.Serverless], s.Engine, strings.SplitN(s.Trust, ":", 2)[0]}, func(s string) bool { return s == "" }), " ")
}
