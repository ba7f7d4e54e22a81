package rotate_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	cachetypes "github.com/aws/aws-sdk-go-v2/service/elasticache/types"
	"github.com/aws/aws-sdk-go-v2/service/memorydb"
	memorytypes "github.com/aws/aws-sdk-go-v2/service/memorydb/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	secrettypes "github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/aws/smithy-go"
	"github.com/rediam/rediam/rotate"
)

const (
	secretName = "orders/password"
	secretARN  = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:orders/password-AbCdEf"
	first      = "11111111-1111-1111-1111-111111111111"
	second     = "22222222-2222-2222-2222-222222222222"
	oldest     = "OldPassword0000000000000000000000000000"
)

// fake is Secrets Manager and a cache with two nodes, as much as rotations need, and
// counts their calls.
type fake struct {
	mu       sync.Mutex // guards below
	versions map[string]*version
	enabled  bool
	accepted []string // passwords, the last that was added at the end
	open     bool     // beside them, nobody needs one
	auth     string
	access   string    // of a user
	given    string    // RotationToken of PutSecretValue
	kept     []string  // what the second node has, which is behind for some sign-ins
	behind   int       // sign-ins until the second node follows
	modifies int       // calls of Modify or Update that took effect
	busy     int       // describes until what is changing has changed
	blind    int       // describes that do not show that it changes
	lag      lag       // of changes from now on
	calls    []string  // all, each when it begins and when it has had its effect
	most     int       // passwords at a time
	out      bool      // at some time the current password was not among them
	at       faultFunc // nil: nothing goes wrong
}

type lag struct{ busy, blind, behind int }

// faultFunc decides what a call answers when it begins, or after it has had its effect.
type faultFunc func(n int, call string, done bool) error

type version struct {
	value  *string
	labels []string
	made   int64 // which of them it is
	binary bool
}

func newFake(value string) *fake {
	return &fake{versions: map[string]*version{first: {value: &value, labels: []string{"AWSCURRENT"}}}, enabled: true, accepted: []string{oldest}, kept: []string{oldest}, auth: "password", access: "on ~* +@all", most: 1}
}

// do is one call; effect runs under the lock.
func (f *fake) do(ctx context.Context, call string, effect func() error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.point(call, false); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := effect(); err != nil {
		return err
	}
	return f.point(call, true)
}

func (f *fake) point(call string, done bool) error {
	f.calls = append(f.calls, call)
	if f.at == nil {
		return nil
	}
	return f.at(len(f.calls), call, done)
}

func (f *fake) count(call string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.calls {
		if c == call {
			n++
		}
	}
	return n / 2 // each is there twice, unless it failed
}

// labelled is the id of the version with a label.
func (f *fake) labelled(label string) string {
	for id, v := range f.versions {
		if slices.Contains(v.labels, label) {
			return id
		}
	}
	return ""
}

func (f *fake) label(id, label string) {
	if from := f.labelled(label); from != "" {
		v := f.versions[from]
		v.labels = slices.DeleteFunc(slices.Clone(v.labels), func(l string) bool { return l == label })
		if label == "AWSCURRENT" && from != id {
			f.label(from, "AWSPREVIOUS")
		}
	}
	if id != "" {
		f.versions[id].labels = append(f.versions[id].labels, label)
	}
}

// start is what RotateSecret does.
func (f *fake) start(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.versions[id] = &version{made: int64(len(f.versions))}
	f.label(id, "AWSPENDING")
}

func (f *fake) password(t *testing.T, label string) string {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	id := f.labelled(label)
	if id == "" || f.versions[id].value == nil {
		t.Fatalf("no version with a value is %s", label)
	}
	text := *f.versions[id].value
	if !strings.HasPrefix(text, "{") {
		return text
	}
	var members struct{ Password, AuthToken string }
	if err := json.Unmarshal([]byte(text), &members); err != nil {
		t.Fatal(err)
	}
	return members.Password + members.AuthToken
}

func (f *fake) DescribeSecret(ctx context.Context, in *secretsmanager.DescribeSecretInput, _ ...func(*secretsmanager.Options)) (*secretsmanager.DescribeSecretOutput, error) {
	out := &secretsmanager.DescribeSecretOutput{ARN: aws.String(secretARN), Name: aws.String(secretName), RotationEnabled: &f.enabled, VersionIdsToStages: map[string][]string{}}
	return out, f.do(ctx, "DescribeSecret", func() error {
		if *in.SecretId != secretARN && *in.SecretId != secretName {
			return &secrettypes.ResourceNotFoundException{}
		}
		for id, v := range f.versions {
			if len(v.labels) > 0 {
				out.VersionIdsToStages[id] = slices.Clone(v.labels)
			}
		}
		return nil
	})
}

func (f *fake) GetSecretValue(ctx context.Context, in *secretsmanager.GetSecretValueInput, _ ...func(*secretsmanager.Options)) (*secretsmanager.GetSecretValueOutput, error) {
	out := &secretsmanager.GetSecretValueOutput{}
	return out, f.do(ctx, "GetSecretValue", func() error {
		v := f.versions[*in.VersionId]
		if v == nil || v.value == nil {
			return &secrettypes.ResourceNotFoundException{}
		}
		if !v.binary {
			out.SecretString = v.value
		}
		return nil
	})
}

func (f *fake) ListSecretVersionIds(ctx context.Context, in *secretsmanager.ListSecretVersionIdsInput, _ ...func(*secretsmanager.Options)) (*secretsmanager.ListSecretVersionIdsOutput, error) {
	out := &secretsmanager.ListSecretVersionIdsOutput{}
	return out, f.do(ctx, "ListSecretVersionIds", func() error {
		for id, v := range f.versions {
			out.Versions = append(out.Versions, secrettypes.SecretVersionsListEntry{VersionId: &id, VersionStages: slices.Clone(v.labels), CreatedDate: aws.Time(time.Unix(v.made, 0))})
		}
		return nil
	})
}

func (f *fake) PutSecretValue(ctx context.Context, in *secretsmanager.PutSecretValueInput, _ ...func(*secretsmanager.Options)) (*secretsmanager.PutSecretValueOutput, error) {
	return &secretsmanager.PutSecretValueOutput{}, f.do(ctx, "PutSecretValue", func() error {
		f.given = aws.ToString(in.RotationToken)
		v := f.versions[*in.ClientRequestToken]
		if v != nil && v.value != nil && *v.value != *in.SecretString {
			return &secrettypes.ResourceExistsException{}
		}
		if v == nil {
			v = &version{made: int64(len(f.versions))}
			f.versions[*in.ClientRequestToken] = v
		}
		v.value = in.SecretString
		f.label(*in.ClientRequestToken, in.VersionStages[0])
		return nil
	})
}

func (f *fake) UpdateSecretVersionStage(ctx context.Context, in *secretsmanager.UpdateSecretVersionStageInput, _ ...func(*secretsmanager.Options)) (*secretsmanager.UpdateSecretVersionStageOutput, error) {
	return &secretsmanager.UpdateSecretVersionStageOutput{}, f.do(ctx, "UpdateSecretVersionStage", func() error {
		if f.labelled(*in.VersionStage) != aws.ToString(in.RemoveFromVersionId) {
			return &secrettypes.InvalidParameterException{}
		}
		f.label(aws.ToString(in.MoveToVersionId), *in.VersionStage)
		return nil
	})
}

// change has new passwords accepted, on the second node later.
func (f *fake) change(passwords ...string) {
	f.accepted = passwords
	f.modifies++
	f.most = max(f.most, len(passwords))
	if v := f.versions[f.labelled("AWSCURRENT")]; !slices.ContainsFunc(passwords, func(p string) bool { return p != "" && strings.Contains(*v.value, p) }) {
		f.out = true
	}
	f.busy, f.blind, f.behind = f.lag.busy, f.lag.blind, f.lag.behind
	if f.behind == 0 {
		f.kept = passwords
	}
}

// changing is what Describe shows: a change may not show at first.
func (f *fake) changing() bool {
	if f.blind > 0 {
		f.blind--
		return false
	}
	if f.busy > 0 {
		f.busy--
		return true
	}
	return false
}

// login is a rotate.Login.
func (f *fake) login(ctx context.Context, nodes []string, _, password string) ([]string, error) {
	return nodes, f.do(ctx, "login", func() error {
		if f.behind > 0 {
			if f.behind--; f.behind == 0 {
				f.kept = f.accepted
			}
		}
		here, there := slices.Contains(f.accepted, password), slices.Contains(f.kept, password)
		switch {
		case f.open:
			return rotate.ErrOpen
		case here && there:
			return nil
		case here || there:
			return rotate.ErrPartly
		}
		return rotate.ErrRefused
	})
}

// fakeGroup is the replication group of the fake.
type fakeGroup struct{ *fake }

func (f fakeGroup) DescribeReplicationGroups(ctx context.Context, _ *elasticache.DescribeReplicationGroupsInput, _ ...func(*elasticache.Options)) (*elasticache.DescribeReplicationGroupsOutput, error) {
	out := &elasticache.DescribeReplicationGroupsOutput{}
	return out, f.do(ctx, "DescribeReplicationGroups", func() error {
		group := cachetypes.ReplicationGroup{Status: aws.String("available"), TransitEncryptionEnabled: aws.Bool(true), AuthTokenEnabled: aws.Bool(len(f.accepted) > 0),
			ConfigurationEndpoint: &cachetypes.Endpoint{Address: aws.String("orders.example"), Port: aws.Int32(6379)}}
		if f.changing() {
			group.Status = aws.String("modifying")
		}
		out.ReplicationGroups = append(out.ReplicationGroups, group)
		return nil
	})
}

func (f fakeGroup) ModifyReplicationGroup(ctx context.Context, in *elasticache.ModifyReplicationGroupInput, _ ...func(*elasticache.Options)) (*elasticache.ModifyReplicationGroupOutput, error) {
	return &elasticache.ModifyReplicationGroupOutput{}, f.do(ctx, string(in.AuthTokenUpdateStrategy), func() error {
		last := ""
		if len(f.accepted) > 0 {
			last = f.accepted[len(f.accepted)-1]
		}
		switch {
		case f.busy+f.blind > 0:
			return &cachetypes.InvalidReplicationGroupStateFault{}
		case in.AuthTokenUpdateStrategy == cachetypes.AuthTokenUpdateStrategyTypeRotate:
			if *in.AuthToken != last {
				f.change(last, *in.AuthToken)
			}
			f.open = false
		case in.AuthTokenUpdateStrategy == cachetypes.AuthTokenUpdateStrategyTypeSet && *in.AuthToken == last:
			f.change(last)
		default:
			return &cachetypes.InvalidParameterValueException{}
		}
		return nil
	})
}

// fakeUsers are the users of ElastiCache, fakeMemory those of MemoryDB.
type (
	fakeUsers  struct{ *fake }
	fakeMemory struct{ *fake }
)

func (f *fake) status() *string {
	if f.changing() {
		return aws.String("modifying")
	}
	return aws.String("active")
}

func (f fakeUsers) DescribeUsers(ctx context.Context, _ *elasticache.DescribeUsersInput, _ ...func(*elasticache.Options)) (*elasticache.DescribeUsersOutput, error) {
	out := &elasticache.DescribeUsersOutput{}
	return out, f.do(ctx, "DescribeUsers", func() error {
		out.Users = []cachetypes.User{{UserName: aws.String("orders-app"), Status: f.status(), AccessString: &f.access,
			Authentication: &cachetypes.Authentication{Type: cachetypes.AuthenticationType(f.auth), PasswordCount: aws.Int32(int32(len(f.accepted)))}}}
		return nil
	})
}

func (f fakeUsers) ModifyUser(ctx context.Context, in *elasticache.ModifyUserInput, _ ...func(*elasticache.Options)) (*elasticache.ModifyUserOutput, error) {
	return &elasticache.ModifyUserOutput{}, f.do(ctx, "ModifyUser", func() error {
		if f.busy+f.blind > 0 {
			return &cachetypes.InvalidUserStateFault{}
		}
		f.change(in.AuthenticationMode.Passwords...)
		return nil
	})
}

func (f fakeMemory) DescribeUsers(ctx context.Context, _ *memorydb.DescribeUsersInput, _ ...func(*memorydb.Options)) (*memorydb.DescribeUsersOutput, error) {
	out := &memorydb.DescribeUsersOutput{}
	return out, f.do(ctx, "DescribeUsers", func() error {
		out.Users = []memorytypes.User{{Name: aws.String("orders-app"), Status: f.status(), AccessString: &f.access,
			Authentication: &memorytypes.Authentication{Type: memorytypes.AuthenticationType(f.auth), PasswordCount: aws.Int32(int32(len(f.accepted)))}}}
		return nil
	})
}

func (f fakeMemory) UpdateUser(ctx context.Context, in *memorydb.UpdateUserInput, _ ...func(*memorydb.Options)) (*memorydb.UpdateUserOutput, error) {
	return &memorydb.UpdateUserOutput{}, f.do(ctx, "UpdateUser", func() error {
		if f.busy+f.blind > 0 {
			return &memorytypes.InvalidUserStateFault{}
		}
		f.change(in.AuthenticationMode.Passwords...)
		return nil
	})
}

// strategies are the targets, each with the value of a secret that has its password.
var strategies = []struct {
	name, value string
	target      func(*fake) rotate.Target
}{
	{"AUTH token", `{"replicationGroupId":"orders","authToken":"` + oldest + `"}`, func(f *fake) rotate.Target {
		return &rotate.AuthToken{Client: fakeGroup{f}, Group: "orders", Login: f.login}
	}},
	{"ElastiCache user", `{"username":"orders-app","port":6379,"password":"` + oldest + `"}`, func(f *fake) rotate.Target {
		return &rotate.User{Users: rotate.ElastiCacheUsers{Client: fakeUsers{f}}, ID: "orders-app", Login: f.login}
	}},
	{"MemoryDB user", `{"username":"orders-app","password":"` + oldest + `"}`, func(f *fake) rotate.Target {
		return &rotate.User{Users: rotate.MemoryDBUsers{Client: fakeMemory{f}}, ID: "orders-app", Login: f.login}
	}},
}

const (
	token      = 0
	user       = 1
	memoryUser = 2
)

// rig is a rotator of one strategy over a fake.
func rig(strategy int) (*fake, *rotate.Rotator) {
	s := strategies[strategy]
	f := newFake(s.value)
	return f, &rotate.Rotator{Secrets: f, Targets: map[string]rotate.Target{secretName: s.target(f)}, Grace: -1, Poll: rotate.Poll{Every: 100 * time.Microsecond}}
}

var allSteps = []string{"createSecret", "setSecret", "testSecret", "finishSecret"}

// lambda has all the steps done for a version, as Secrets Manager does.
func lambda(ctx context.Context, r *rotate.Rotator, id string) error {
	for _, step := range allSteps {
		if err := r.Handle(ctx, rotate.Event{Step: step, SecretID: secretARN, ClientRequestToken: id}); err != nil {
			return err
		}
	}
	return nil
}

// rotated checks that a rotation has ended well.
func rotated(t *testing.T, f *fake) {
	t.Helper()
	now := f.password(t, "AWSCURRENT")
	if now == oldest || !slices.Equal(f.accepted, []string{now}) || f.open {
		t.Errorf("the cache does not accept the current password alone, but %d, or it is the old one", len(f.accepted))
	}
	if id := f.labelled("AWSPENDING"); id != "" {
		t.Errorf("AWSPENDING is left on %s", id)
	}
	if f.out {
		t.Error("whoever used the current password was locked out")
	}
	if f.most > 2 {
		t.Errorf("%d passwords were valid at a time", f.most)
	}
}

func throttled() error {
	return &smithy.GenericAPIError{Code: "ThrottlingException", Message: "Rate exceeded"}
}

func lost(call string) error {
	return &smithy.OperationError{ServiceID: "fake", OperationName: call, Err: fmt.Errorf("connection reset by peer")}
}
