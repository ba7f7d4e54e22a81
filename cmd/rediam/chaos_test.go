package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	cachetypes "github.com/aws/aws-sdk-go-v2/service/elasticache/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/redis/go-redis/v9"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/internal/installed"
)

// Facts say what there is, each by the kind and the name of what it is about and a
// detail: "iam-user c01-a tag" is "x". What has a fact with an empty detail exists.
type facts map[string]string

// A change is one call and what it makes of the facts; an empty one is gone.
type change struct {
	call  func(context.Context) error
	set   facts
	wants string // the error code of one that is to be refused
}

// An api is the SDK's clients of one emulator.
type api struct {
	iam   *iam.Client
	cache *elasticache.Client
	ec2   *ec2.Client
	sts   *sts.Client
}

func newAPI(endpoint string, client *http.Client, c aws.CredentialsProvider) api {
	url, once := aws.String(endpoint), aws.NopRetryer{}
	return api{
		iam.New(iam.Options{Region: "us-east-1", BaseEndpoint: url, HTTPClient: client, Credentials: c, Retryer: once}),
		elasticache.New(elasticache.Options{Region: "us-east-1", BaseEndpoint: url, HTTPClient: client, Credentials: c, Retryer: once}),
		ec2.New(ec2.Options{Region: "us-east-1", BaseEndpoint: url, HTTPClient: client, Credentials: c, Retryer: once}),
		sts.New(sts.Options{Region: "us-east-1", BaseEndpoint: url, HTTPClient: client, Credentials: c, Retryer: once}),
	}
}

const (
	allowAll      = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`
	trustAll      = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + accountNumber + `:root","Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
	accountNumber = "123456789012"
	sharedProfile = "arn:aws:iam::" + accountNumber + ":instance-profile/shared"
	sharedARN     = "arn:aws:iam::" + accountNumber + ":policy/shared"
)

// call is a call of the SDK that is about its error alone.
func call[In, Out, Option any](operation func(context.Context, *In, ...func(*Option)) (*Out, error), in *In) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := operation(ctx, in)
		return err
	}
}

func str[S ~string](s *S) string {
	if s == nil {
		return ""
	}
	return string(*s)
}

// codeOf is AWS's error code; empty if the error is not an answer.
func codeOf(err error) string {
	var answer smithy.APIError
	if errors.As(err, &answer) {
		return answer.ErrorCode()
	}
	return ""
}

// An emulation is an emulator that is killed again and again, with the clients that
// work on it all the while.
type emulation struct {
	t      *testing.T
	args   []string
	env    []string
	output bytes.Buffer // of stderr
	child  *exec.Cmd
	told   map[string]string // the variables that it exports

	up    sync.RWMutex // write-locked while there is no emulator
	every int64        // about how many calls there are from kill to kill
	calls atomic.Int64 // until the next kill
	kill  chan struct{}
	lives int

	api api

	mu                       sync.Mutex // guards below
	done, whole, none, wrong int        // calls: answered, without an answer but made, without an answer and not made, refused
}

// start starts the emulator and returns when every listener answers.
func (e *emulation) start() {
	e.t.Helper()
	e.child = exec.Command("rediam", e.args...)
	e.child.Env = e.env
	e.child.Stderr = &e.output
	out, err := e.child.StdoutPipe()
	if err == nil {
		err = e.child.Start()
	}
	if err != nil {
		e.t.Fatal(err)
	}
	e.lives++
	lines, told := bufio.NewScanner(out), map[string]string{}
	for told["REDIAM_CA"] == "" && lines.Scan() {
		name, value, _ := strings.Cut(strings.TrimPrefix(lines.Text(), "export "), "=")
		told[name] = strings.Trim(value, "'")
	}
	if told["REDIAM_CA"] == "" {
		e.child.Wait()
		e.t.Fatalf("life %d of the emulator has not begun:\n%s", e.lives, &e.output)
	}
	for _, name := range []string{"AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} {
		if was := e.told[name]; was != "" && was != told[name] {
			e.t.Fatalf("%s has changed from life to life", name)
		}
	}
	e.told = told
}

func (e *emulation) stop() {
	e.child.Process.Kill()
	e.child.Wait()
}

// torment kills the emulator, some time after some calls, and starts it again, until
// the clients have come to their end; and then once more.
func (e *emulation) torment(end <-chan struct{}, random *rand.Rand) {
	for {
		select {
		case <-e.kill:
			<-time.After(time.Duration(random.IntN(5000)) * time.Microsecond) // anywhere in a call
		case <-end:
			e.stop()
			e.start()
			return
		}
		e.up.Lock()
		e.stop()
		e.start()
		e.calls.Store(e.every/4 + random.Int64N(e.every))
		e.up.Unlock()
	}
}

// try makes one call, as soon as there is an emulator.
func (e *emulation) try(ctx context.Context, call func(context.Context) error) error {
	e.up.RLock()
	if e.calls.Add(-1) == 0 {
		e.kill <- struct{}{} // has room for one
	}
	e.up.RUnlock()
	return call(ctx)
}

// ask repeats a call that changes nothing until it has an answer. It may have none
// though the emulator lives: if that answers before net/http has seen the end of its
// own request, which the SDK then closes, net/http takes this for a failure and closes
// the connection.
func (e *emulation) ask(ctx context.Context, call func(context.Context) error) error {
	for {
		if err := e.try(ctx, call); err == nil || codeOf(err) != "" || ctx.Err() != nil {
			return err
		}
	}
}

// read is what there is of some things, by their kinds and names.
func (e *emulation) read(ctx context.Context, things ...string) (facts, error) {
	found := facts{}
	for _, thing := range things {
		kind, name, _ := strings.Cut(thing, " ")
		err := e.ask(ctx, func(ctx context.Context) error {
			return readers[kind](ctx, e.api, name, func(detail, value string) { found[thing+" "+detail] = value })
		})
		if err != nil && !notThere[codeOf(err)] {
			return nil, fmt.Errorf("read %s: %w", thing, err)
		}
	}
	return found, nil
}

// share makes what all share.
func (e *emulation) share(ctx context.Context) facts {
	e.t.Helper()
	name, a := aws.String("shared"), e.api
	for _, make := range []func(context.Context) error{
		call(a.iam.CreatePolicy, &iam.CreatePolicyInput{PolicyName: name, PolicyDocument: aws.String(allowAll)}),
		call(a.iam.CreateRole, &iam.CreateRoleInput{RoleName: name, AssumeRolePolicyDocument: aws.String(trustAll)}),
		call(a.iam.AttachRolePolicy, &iam.AttachRolePolicyInput{RoleName: name, PolicyArn: policyARN("shared")}),
		call(a.iam.CreateInstanceProfile, &iam.CreateInstanceProfileInput{InstanceProfileName: name}),
		call(a.iam.AddRoleToInstanceProfile, &iam.AddRoleToInstanceProfileInput{InstanceProfileName: name, RoleName: name}),
		call(a.cache.CreateUser, &elasticache.CreateUserInput{UserId: name, UserName: name, Engine: aws.String("valkey"), AccessString: aws.String("on ~* +@all"),
			AuthenticationMode: &cachetypes.AuthenticationMode{Type: cachetypes.InputAuthenticationTypeIam}}),
		call(a.cache.CreateUserGroup, &elasticache.CreateUserGroupInput{UserGroupId: name, Engine: aws.String("valkey"), UserIds: []string{"shared"}}),
		call(a.cache.CreateCacheSubnetGroup, &elasticache.CreateCacheSubnetGroupInput{CacheSubnetGroupName: name, CacheSubnetGroupDescription: name, SubnetIds: []string{"subnet-1"}}),
		call(a.cache.CreateReplicationGroup, &elasticache.CreateReplicationGroupInput{ReplicationGroupId: name, CacheSubnetGroupName: name, ReplicationGroupDescription: name,
			Engine: aws.String("valkey"), TransitEncryptionEnabled: aws.Bool(true), UserGroupIds: []string{"shared"}}),
	} {
		if err := make(ctx); err != nil {
			e.t.Fatal(err)
		}
	}
	made, err := e.read(ctx, e.everything(ctx)...)
	if err != nil {
		e.t.Fatal(err)
	}
	return made
}

// whole is whether all that things refer to is there.
func (f facts) whole(t *testing.T) {
	t.Helper()
	for key, value := range f {
		thing, detail := key[:strings.LastIndex(key, " ")], key[strings.LastIndex(key, " ")+1:]
		kind, _, _ := strings.Cut(thing, " ")
		needs := thing
		switch {
		case detail == "":
		case kind == "user-group":
			needs = "cache-user " + detail
		case detail == "attached":
			needs = "policy " + value[strings.LastIndex(value, "/")+1:]
		case kind == "profile" && detail == "role":
			needs = "role " + value
		case kind == "cache" && detail == "group":
			needs = "user-group " + value
		case kind == "instance" && detail == "profile":
			needs = "profile " + value[strings.LastIndex(value, "/")+1:]
		}
		if f[needs+" "] == "" {
			t.Errorf("there is %q: %q, but not %s", key, value, needs)
		}
	}
}

// identify wants credentials to be those of somebody.
func (e *emulation) identify(ctx context.Context, c aws.Credentials, arn string) {
	e.t.Helper()
	who, err := newAPI(e.told["AWS_ENDPOINT_URL"], http.DefaultClient, credentials.StaticCredentialsProvider{Value: c}).sts.GetCallerIdentity(ctx, nil)
	if err != nil || !strings.Contains(str(who.Arn), arn) {
		e.t.Errorf("an access key of %s is not there: %v", arn, err)
	}
}

// signIn wants a PING of the shared cache to be answered.
func (e *emulation) signIn(ctx context.Context) {
	e.t.Helper()
	name := "shared"
	found, err := e.api.cache.DescribeReplicationGroups(ctx, &elasticache.DescribeReplicationGroupsInput{ReplicationGroupId: &name})
	if err != nil {
		e.t.Fatal(err)
	}
	ca, err := os.ReadFile(e.told["REDIAM_CA"])
	if err != nil {
		e.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	at := found.ReplicationGroups[0].NodeGroups[0].PrimaryEndpoint
	signer := &rediam.Signer{Cache: name, User: name, Region: "us-east-1", Credentials: e.admin()}
	db := redis.NewClient(&redis.Options{Addr: net.JoinHostPort(str(at.Address), strconv.Itoa(int(*at.Port))), TLSConfig: &tls.Config{RootCAs: roots, ServerName: "localhost"},
		CredentialsProviderContext: rediam.BasicAuth(signer)})
	defer db.Close()
	if err := db.Set(ctx, "k", "v", 0).Err(); err != nil {
		e.t.Errorf("SET by a user of the shared cache: %v", err)
	}
}

func (e *emulation) admin() aws.CredentialsProvider {
	return credentials.NewStaticCredentialsProvider(e.told["AWS_ACCESS_KEY_ID"], e.told["AWS_SECRET_ACCESS_KEY"], "")
}

// Many clients make calls at random while the emulator is killed again and again. What
// was answered is there, what was not is there whole or not at all, and nothing else is.
// REDIAM_CALLS is how many calls they make, 1,000 if it is not set.
func TestAKilledEmulatorLosesNothing(t *testing.T) {
	calls := 1000
	if n, err := strconv.Atoi(os.Getenv("REDIAM_CALLS")); err == nil {
		calls = n
	}
	t.Run("embedded", func(t *testing.T) { torment(t, "embedded", 50, calls) })
	t.Run("redis-server", func(t *testing.T) {
		installed.Path(t, "redis-server")
		torment(t, "redis-server", 8, calls/5)
	})
}

func torment(t *testing.T, engine string, workers, calls int) {
	ctx := t.Context()
	dir, err := os.MkdirTemp("", "rediam") // short, for the names of sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	e := &emulation{t: t, args: []string{"emulate", "--empty", "--engine", engine, "--state", filepath.Join(dir, "state")},
		env: append(os.Environ(), "TMPDIR="+dir), every: int64(max(8, min(150, calls/8))), kill: make(chan struct{}, 1)}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	e.start()
	t.Cleanup(func() { e.stop() })
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: workers}}
	e.api = newAPI(e.told["AWS_ENDPOINT_URL"], client, e.admin())
	expected := e.share(ctx)
	e.calls.Store(e.every)

	var working, tormenting sync.WaitGroup
	end := make(chan struct{})
	tormenting.Go(func() { e.torment(end, rand.New(rand.NewPCG(seed, 1<<32))) })
	all := make([]*worker, workers)
	for i := range all {
		w := &worker{emulation: e, own: fmt.Sprintf("c%02d", i), facts: facts{}, random: rand.New(rand.NewPCG(seed, uint64(i))), caches: i%5 == 0, keys: map[string]aws.Credentials{}}
		all[i] = w
		working.Go(func() {
			for range calls / workers {
				if err := w.work(ctx); err != nil {
					t.Errorf("client %s: %v", w.own, err)
					return
				}
			}
		})
	}
	working.Wait()
	close(end)
	tormenting.Wait()

	t.Logf("%d lives; %d calls were answered, %d refused as they should be, %d had no answer and were made, %d had none and were not", e.lives, e.done, e.wrong, e.whole, e.none)
	if e.lives < 4 || e.whole+e.none == 0 {
		t.Error("the emulator was not killed while it worked")
	}
	for _, w := range all {
		maps.Copy(expected, w.facts)
	}
	maps.DeleteFunc(expected, func(_, value string) bool { return value == "" })
	got, err := e.read(ctx, e.everything(ctx)...)
	if err != nil {
		t.Fatal(err)
	}
	both := maps.Clone(expected)
	maps.Copy(both, got)
	for key := range both {
		if got[key] != expected[key] {
			t.Errorf("%q is %q, want %q", key, got[key], expected[key])
		}
	}
	got.whole(t)
	for _, w := range all {
		for _, c := range w.keys {
			e.identify(ctx, c, "user/x/"+w.own)
		}
		for _, c := range w.sessions {
			e.identify(ctx, c, "assumed-role/shared/"+w.own)
		}
	}
	e.signIn(ctx)
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 3 {
		t.Errorf("%q are left; want the state, its lock and the directory of the emulator that lives", left)
	}
}
