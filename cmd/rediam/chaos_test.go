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
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	cachetypes "github.com/aws/aws-sdk-go-v2/service/elasticache/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
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
	account       = "123456789012"
	sharedProfile = "arn:aws:iam::" + account + ":instance-profile/shared"
	sharedARN     = "arn:aws:iam::" + account + ":policy/shared"
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

	up      sync.RWMutex // write-locked while there is no emulator
	answers atomic.Int64 // until the next kill
	kill    chan struct{}
	lives   int

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

// torment kills the emulator, some time after some answers, and starts it again, until
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
		e.answers.Store(50 + random.Int64N(150))
		e.up.Unlock()
	}
}

// try makes one call, while there is an emulator.
func (e *emulation) try(ctx context.Context, call func(context.Context) error) error {
	e.up.RLock() // waits
	e.up.RUnlock()
	err := call(ctx)
	if e.answers.Add(-1) == 0 {
		e.kill <- struct{}{}
	}
	return err
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

var notThere = map[string]bool{"NoSuchEntity": true, "UserNotFound": true, "UserGroupNotFound": true, "ReplicationGroupNotFoundFault": true, "CacheSubnetGroupNotFoundFault": true}

// readers read what there is of one thing.
var readers = map[string]func(ctx context.Context, a api, name string, fact func(detail, value string)) error{
	"iam-user": func(ctx context.Context, a api, name string, fact func(string, string)) error {
		u, err := a.iam.GetUser(ctx, &iam.GetUserInput{UserName: &name})
		if err != nil {
			return err
		}
		keys, err1 := a.iam.ListAccessKeys(ctx, &iam.ListAccessKeysInput{UserName: &name})
		attached, err2 := a.iam.ListAttachedUserPolicies(ctx, &iam.ListAttachedUserPoliciesInput{UserName: &name})
		inline, err3 := a.iam.ListUserPolicies(ctx, &iam.ListUserPoliciesInput{UserName: &name})
		if err := errors.Join(err1, err2, err3); err != nil {
			return err
		}
		fact("", str(u.User.Path))
		iamTags(u.User.Tags, fact)
		fact("keys", strconv.Itoa(len(keys.AccessKeyMetadata)))
		for _, p := range attached.AttachedPolicies {
			fact("attached", str(p.PolicyArn))
		}
		for _, p := range inline.PolicyNames {
			fact("inline", p)
		}
		return nil
	},
	"role": func(ctx context.Context, a api, name string, fact func(string, string)) error {
		r, err := a.iam.GetRole(ctx, &iam.GetRoleInput{RoleName: &name})
		if err != nil {
			return err
		}
		attached, err := a.iam.ListAttachedRolePolicies(ctx, &iam.ListAttachedRolePoliciesInput{RoleName: &name})
		if err != nil {
			return err
		}
		fact("", "is there")
		fact("described", str(r.Role.Description))
		iamTags(r.Role.Tags, fact)
		for _, p := range attached.AttachedPolicies {
			fact("attached", str(p.PolicyArn))
		}
		return nil
	},
	"policy": func(ctx context.Context, a api, name string, fact func(string, string)) error {
		versions, err := a.iam.ListPolicyVersions(ctx, &iam.ListPolicyVersionsInput{PolicyArn: policyARN(name)})
		if err != nil {
			return err
		}
		fact("", "is there")
		for _, v := range versions.Versions {
			fact(str(v.VersionId), strconv.FormatBool(v.IsDefaultVersion))
		}
		return nil
	},
	"profile": func(ctx context.Context, a api, name string, fact func(string, string)) error {
		p, err := a.iam.GetInstanceProfile(ctx, &iam.GetInstanceProfileInput{InstanceProfileName: &name})
		if err != nil {
			return err
		}
		fact("", "is there")
		for _, r := range p.InstanceProfile.Roles {
			fact("role", str(r.RoleName))
		}
		return nil
	},
	"cache-user": func(ctx context.Context, a api, name string, fact func(string, string)) error {
		found, err := a.cache.DescribeUsers(ctx, &elasticache.DescribeUsersInput{UserId: &name})
		if err != nil {
			return err
		}
		u := found.Users[0]
		tags, err := a.cache.ListTagsForResource(ctx, &elasticache.ListTagsForResourceInput{ResourceName: u.ARN})
		if err != nil {
			return err
		}
		fact("", str(u.AccessString))
		for _, tag := range tags.TagList {
			fact(str(tag.Key), str(tag.Value))
		}
		return nil
	},
	"user-group": func(ctx context.Context, a api, name string, fact func(string, string)) error {
		found, err := a.cache.DescribeUserGroups(ctx, &elasticache.DescribeUserGroupsInput{UserGroupId: &name})
		if err != nil {
			return err
		}
		fact("", str(found.UserGroups[0].Engine))
		for _, u := range found.UserGroups[0].UserIds {
			fact(u, "member")
		}
		return nil
	},
	"cache": func(ctx context.Context, a api, name string, fact func(string, string)) error {
		found, err := a.cache.DescribeReplicationGroups(ctx, &elasticache.DescribeReplicationGroupsInput{ReplicationGroupId: &name})
		if err != nil {
			return err
		}
		g := found.ReplicationGroups[0]
		fact("", str(g.Status))
		fact("described", str(g.Description))
		for _, id := range g.UserGroupIds {
			fact("group", id)
		}
		return nil
	},
	"instance": func(ctx context.Context, a api, name string, fact func(string, string)) error { // by its tag Name
		found, err := a.ec2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{Filters: []ec2types.Filter{{Name: aws.String("tag:Name"), Values: []string{name}}}})
		if err != nil {
			return err
		}
		for _, r := range found.Reservations {
			for _, i := range r.Instances {
				fact("", string(i.State.Name))
				if i.IamInstanceProfile != nil {
					fact("profile", str(i.IamInstanceProfile.Arn))
				}
			}
		}
		return nil
	},
}

func iamTags(tags []iamtypes.Tag, fact func(string, string)) {
	for _, tag := range tags {
		fact(str(tag.Key), str(tag.Value))
	}
}

func policyARN(name string) *string {
	return aws.String("arn:aws:iam::" + account + ":policy/" + name)
}

// everything names all that there is.
func (e *emulation) everything(ctx context.Context) (things []string) {
	list(e, ctx, iam.NewListUsersPaginator(e.api.iam, nil), func(page *iam.ListUsersOutput) {
		for _, u := range page.Users {
			things = append(things, "iam-user "+*u.UserName)
		}
	})
	list(e, ctx, iam.NewListRolesPaginator(e.api.iam, nil), func(page *iam.ListRolesOutput) {
		for _, r := range page.Roles {
			things = append(things, "role "+*r.RoleName)
		}
	})
	list(e, ctx, iam.NewListPoliciesPaginator(e.api.iam, nil), func(page *iam.ListPoliciesOutput) {
		for _, p := range page.Policies {
			things = append(things, "policy "+*p.PolicyName)
		}
	})
	list(e, ctx, iam.NewListInstanceProfilesPaginator(e.api.iam, nil), func(page *iam.ListInstanceProfilesOutput) {
		for _, p := range page.InstanceProfiles {
			things = append(things, "profile "+*p.InstanceProfileName)
		}
	})
	list(e, ctx, elasticache.NewDescribeUsersPaginator(e.api.cache, nil), func(page *elasticache.DescribeUsersOutput) {
		for _, u := range page.Users {
			things = append(things, "cache-user "+*u.UserId)
		}
	})
	list(e, ctx, elasticache.NewDescribeUserGroupsPaginator(e.api.cache, nil), func(page *elasticache.DescribeUserGroupsOutput) {
		for _, g := range page.UserGroups {
			things = append(things, "user-group "+*g.UserGroupId)
		}
	})
	list(e, ctx, elasticache.NewDescribeReplicationGroupsPaginator(e.api.cache, nil), func(page *elasticache.DescribeReplicationGroupsOutput) {
		for _, g := range page.ReplicationGroups {
			things = append(things, "cache "+*g.ReplicationGroupId)
		}
	})
	list(e, ctx, ec2.NewDescribeInstancesPaginator(e.api.ec2, nil), func(page *ec2.DescribeInstancesOutput) {
		for _, r := range page.Reservations {
			things = append(things, "instance "+*r.Instances[0].Tags[0].Value) // Name
		}
	})
	return things
}

// list reads all pages of a list.
func list[Page, Option any](e *emulation, ctx context.Context, p interface {
	HasMorePages() bool
	NextPage(context.Context, ...func(*Option)) (*Page, error)
}, each func(*Page)) {
	for p.HasMorePages() {
		var page *Page
		if err := e.ask(ctx, func(ctx context.Context) (err error) {
			page, err = p.NextPage(ctx)
			return err
		}); err != nil {
			e.t.Fatal(err)
		}
		each(page)
	}
}

// A worker is one client, who knows what there is of its own, whose names begin with
// its own, and in what all share.
type worker struct {
	*emulation
	own      string
	facts    facts
	random   *rand.Rand
	caches   bool                       // it makes some, and instances: each takes a listener
	keys     map[string]aws.Credentials // access keys of its own that it has got, and never tried to delete
	sessions []aws.Credentials          // of the shared role, that it has got
	launched int                        // instances so far
}

func (w *worker) has(thing string) bool { return w.facts[thing+" "] != "" }

// gone are the facts about a thing, and some others, when it is gone.
func (w *worker) gone(thing string, others ...string) facts {
	set := facts{}
	for key := range w.facts {
		if strings.HasPrefix(key, thing+" ") || slices.Contains(others, key) {
			set[key] = ""
		}
	}
	return set
}

// work makes one change, of which there is then all or nothing.
func (w *worker) work(ctx context.Context) error {
	c := w.next()
	err := w.try(ctx, c.call)
	count := &w.done
	switch code := codeOf(err); {
	case code != "" && code == c.wants:
		count = &w.wrong
	case err == nil && c.wants == "":
		maps.Copy(w.facts, c.set)
	case err == nil || code != "":
		return fmt.Errorf("%v: %v, want %q", c.set, err, c.wants)
	default: // it has no answer
		if count, err = w.settle(ctx, c); err != nil {
			return err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	*count++
	return nil
}

// settle finds out whether a change without an answer has been made.
func (w *worker) settle(ctx context.Context, c change) (count *int, err error) {
	things := map[string]bool{}
	for key := range c.set {
		kind, rest, _ := strings.Cut(key, " ")
		name, _, _ := strings.Cut(rest, " ")
		things[kind+" "+name] = true
	}
	now, err := w.read(ctx, slices.Collect(maps.Keys(things))...)
	if err != nil {
		return nil, err
	}
	made, same := c.wants == "", true
	for key, value := range c.set {
		made = made && now[key] == value
		same = same && now[key] == w.facts[key]
	}
	switch {
	case made && !same:
		maps.Copy(w.facts, c.set)
		return &w.whole, nil
	case !same:
		return nil, fmt.Errorf("a change was made in part: of %v there is %v", c.set, now)
	}
	return &w.none, nil
}

// next is a change at random.
func (w *worker) next() change {
	name := w.own + string(rune('a'+w.random.IntN(2)))
	kinds := []func(string) change{w.iamUser, w.role, w.policy, w.profile, w.cacheUser, w.cacheUser, w.userGroup, w.shared}
	if w.caches {
		kinds = append(kinds, w.cache, w.cache, w.instance)
	}
	return kinds[w.random.IntN(len(kinds))](name)
}

// one is one of some changes.
func (w *worker) one(of ...change) change { return of[w.random.IntN(len(of))] }

func (w *worker) value() string { return strconv.Itoa(w.random.IntN(1000)) }

func (w *worker) iamUser(name string) change {
	thing, v := "iam-user "+name, w.value()
	create := change{set: facts{thing + " ": "/x/", thing + " team": v, thing + " keys": "0"}, call: call(w.api.iam.CreateUser, &iam.CreateUserInput{UserName: &name, Path: aws.String("/x/"), Tags: []iamtypes.Tag{{Key: aws.String("team"), Value: &v}}})}
	if !w.has(thing) {
		return create
	}
	create.set, create.wants = nil, "EntityAlreadyExists"
	remove := change{set: w.gone(thing), call: call(w.api.iam.DeleteUser, &iam.DeleteUserInput{UserName: &name})}
	if w.facts[thing+" keys"] != "0" || w.facts[thing+" attached"] != "" || w.facts[thing+" inline"] != "" {
		remove.set, remove.wants = nil, "DeleteConflict"
	}
	tag := change{set: facts{thing + " team": v, thing + " second": v}, call: call(w.api.iam.TagUser, &iam.TagUserInput{UserName: &name, Tags: []iamtypes.Tag{{Key: aws.String("team"), Value: &v}, {Key: aws.String("second"), Value: &v}}})}
	attach := change{set: facts{thing + " attached": sharedARN}, call: call(w.api.iam.AttachUserPolicy, &iam.AttachUserPolicyInput{UserName: &name, PolicyArn: aws.String(sharedARN)})}
	if w.facts[thing+" attached"] != "" {
		attach = change{set: facts{thing + " attached": ""}, call: call(w.api.iam.DetachUserPolicy, &iam.DetachUserPolicyInput{UserName: &name, PolicyArn: aws.String(sharedARN)})}
	}
	put := change{set: facts{thing + " inline": "p"}, call: call(w.api.iam.PutUserPolicy, &iam.PutUserPolicyInput{UserName: &name, PolicyName: aws.String("p"), PolicyDocument: aws.String(allowAll)})}
	if w.facts[thing+" inline"] != "" {
		put = change{set: facts{thing + " inline": ""}, call: call(w.api.iam.DeleteUserPolicy, &iam.DeleteUserPolicyInput{UserName: &name, PolicyName: aws.String("p")})}
	}
	return w.one(create, remove, remove, tag, attach, put, w.accessKey(name))
}

// accessKey makes a key of a user, or deletes one.
func (w *worker) accessKey(name string) change {
	fact := "iam-user " + name + " keys"
	n, _ := strconv.Atoi(w.facts[fact])
	if n < 2 {
		return change{set: facts{fact: strconv.Itoa(n + 1)}, call: func(ctx context.Context) error {
			made, err := w.api.iam.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: &name})
			if err == nil {
				w.keys[str(made.AccessKey.AccessKeyId)] = aws.Credentials{AccessKeyID: str(made.AccessKey.AccessKeyId), SecretAccessKey: str(made.AccessKey.SecretAccessKey), Source: name}
			}
			return err
		}}
	}
	return change{set: facts{fact: strconv.Itoa(n - 1)}, call: func(ctx context.Context) error {
		list, err := w.api.iam.ListAccessKeys(ctx, &iam.ListAccessKeysInput{UserName: &name})
		if err != nil {
			return err
		}
		id := list.AccessKeyMetadata[0].AccessKeyId
		delete(w.keys, str(id))
		return call(w.api.iam.DeleteAccessKey, &iam.DeleteAccessKeyInput{UserName: &name, AccessKeyId: id})(ctx)
	}}
}

func (w *worker) role(name string) change {
	thing, v := "role "+name, w.value()
	trust := aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + account + `:root","Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`)
	if !w.has(thing) {
		return change{set: facts{thing + " ": "is there", thing + " described": v, thing + " team": v}, call: call(w.api.iam.CreateRole, &iam.CreateRoleInput{RoleName: &name, Description: &v, AssumeRolePolicyDocument: trust, Tags: []iamtypes.Tag{{Key: aws.String("team"), Value: &v}}})}
	}
	remove := change{set: w.gone(thing), call: call(w.api.iam.DeleteRole, &iam.DeleteRoleInput{RoleName: &name})}
	if w.facts[thing+" attached"] != "" || w.facts["profile "+w.own+"a role"] == name || w.facts["profile "+w.own+"b role"] == name {
		remove.set, remove.wants = nil, "DeleteConflict"
	}
	update := change{set: facts{thing + " described": v}, call: call(w.api.iam.UpdateRole, &iam.UpdateRoleInput{RoleName: &name, Description: &v})}
	arn := policyARN(w.own + "a")
	attach := change{set: facts{thing + " attached": *arn}, call: call(w.api.iam.AttachRolePolicy, &iam.AttachRolePolicyInput{RoleName: &name, PolicyArn: arn})}
	switch {
	case w.facts[thing+" attached"] != "":
		attach = change{set: facts{thing + " attached": ""}, call: call(w.api.iam.DetachRolePolicy, &iam.DetachRolePolicyInput{RoleName: &name, PolicyArn: arn})}
	case !w.has("policy " + w.own + "a"):
		attach.set, attach.wants = nil, "NoSuchEntity"
	}
	return w.one(remove, remove, update, attach, attach)
}

func (w *worker) policy(name string) change {
	thing, arn := "policy "+name, policyARN(name)
	if !w.has(thing) {
		return change{set: facts{thing + " ": "is there", thing + " v1": "true"}, call: call(w.api.iam.CreatePolicy, &iam.CreatePolicyInput{PolicyName: &name, PolicyDocument: aws.String(allowAll)})}
	}
	remove := change{set: w.gone(thing), call: call(w.api.iam.DeletePolicy, &iam.DeletePolicyInput{PolicyArn: arn})}
	if w.facts[thing+" v2"] != "" || w.facts["role "+w.own+"a attached"] == *arn || w.facts["role "+w.own+"b attached"] == *arn {
		remove.set, remove.wants = nil, "DeleteConflict"
	}
	if w.facts[thing+" v1"] == "false" || w.facts[thing+" v2"] != "" {
		return remove
	}
	return w.one(remove, remove, change{set: facts{thing + " v1": "false", thing + " v2": "true"}, call: call(w.api.iam.CreatePolicyVersion, &iam.CreatePolicyVersionInput{PolicyArn: arn, PolicyDocument: aws.String(allowAll), SetAsDefault: true})})
}

func (w *worker) profile(name string) change {
	thing, role := "profile "+name, w.own+"a"
	if !w.has(thing) {
		return change{set: facts{thing + " ": "is there"}, call: call(w.api.iam.CreateInstanceProfile, &iam.CreateInstanceProfileInput{InstanceProfileName: &name})}
	}
	remove := change{set: w.gone(thing), call: call(w.api.iam.DeleteInstanceProfile, &iam.DeleteInstanceProfileInput{InstanceProfileName: &name})}
	add := change{set: facts{thing + " role": role}, call: call(w.api.iam.AddRoleToInstanceProfile, &iam.AddRoleToInstanceProfileInput{InstanceProfileName: &name, RoleName: &role})}
	switch {
	case w.facts[thing+" role"] != "":
		remove.set, remove.wants = nil, "DeleteConflict"
		add = change{set: facts{thing + " role": ""}, call: call(w.api.iam.RemoveRoleFromInstanceProfile, &iam.RemoveRoleFromInstanceProfileInput{InstanceProfileName: &name, RoleName: &role})}
	case !w.has("role " + role):
		add.set, add.wants = nil, "NoSuchEntity"
	}
	return w.one(remove, add, add)
}

const sharedGroup = "user-group shared "

func (w *worker) cacheUser(name string) change {
	thing, v := "cache-user "+name, w.value()
	access := func(v string) string { return "on ~" + v + " -@all +@read" }
	if !w.has(thing) {
		return change{set: facts{thing + " ": access(v), thing + " team": v}, call: call(w.api.cache.CreateUser, &elasticache.CreateUserInput{UserId: &name, UserName: &name, Engine: aws.String("valkey"), AccessString: aws.String(access(v)),
			AuthenticationMode: &cachetypes.AuthenticationMode{Type: cachetypes.InputAuthenticationTypeIam}, Tags: []cachetypes.Tag{{Key: aws.String("team"), Value: &v}}})}
	}
	groups := []string{sharedGroup + name, "user-group " + w.own + "a " + name} // a user who goes goes from all of them
	remove := change{set: w.gone(thing, groups...), call: call(w.api.cache.DeleteUser, &elasticache.DeleteUserInput{UserId: &name})}
	modify := change{set: facts{thing + " ": access(v)}, call: call(w.api.cache.ModifyUser, &elasticache.ModifyUserInput{UserId: &name, AccessString: aws.String(access(v))})}
	tag := change{set: facts{thing + " team": v, thing + " second": v}, call: call(w.api.cache.AddTagsToResource, &elasticache.AddTagsToResourceInput{ResourceName: aws.String("arn:aws:elasticache:us-east-1:" + account + ":user:" + name),
		Tags: []cachetypes.Tag{{Key: aws.String("team"), Value: &v}, {Key: aws.String("second"), Value: &v}}})}
	join := change{set: facts{sharedGroup + name: "member"}, call: call(w.api.cache.ModifyUserGroup, &elasticache.ModifyUserGroupInput{UserGroupId: aws.String("shared"), UserIdsToAdd: []string{name}})}
	if w.facts[sharedGroup+name] != "" {
		join = change{set: facts{sharedGroup + name: ""}, call: call(w.api.cache.ModifyUserGroup, &elasticache.ModifyUserGroupInput{UserGroupId: aws.String("shared"), UserIdsToRemove: []string{name}})}
	}
	return w.one(remove, modify, tag, join, join)
}

func (w *worker) userGroup(string) change {
	name := w.own + "a"
	thing, users := "user-group "+name, []string{}
	set := facts{thing + " ": "valkey"}
	for _, u := range []string{w.own + "a", w.own + "b"} {
		if w.has("cache-user " + u) {
			users = append(users, u)
			set[thing+" "+u] = "member"
		}
	}
	if !w.has(thing) {
		return change{set: set, call: call(w.api.cache.CreateUserGroup, &elasticache.CreateUserGroupInput{UserGroupId: &name, Engine: aws.String("valkey"), UserIds: users})}
	}
	remove := change{set: w.gone(thing), call: call(w.api.cache.DeleteUserGroup, &elasticache.DeleteUserGroupInput{UserGroupId: &name})}
	if w.facts["cache "+w.own+"a group"] == name || w.facts["cache "+w.own+"b group"] == name {
		remove.set, remove.wants = nil, "InvalidUserGroupState"
	}
	return remove
}

func (w *worker) cache(name string) change {
	thing, group, v := "cache "+name, w.own+"a", w.value()
	if !w.has(thing) {
		create := change{set: facts{thing + " ": "available", thing + " described": v, thing + " group": group}, call: call(w.api.cache.CreateReplicationGroup, &elasticache.CreateReplicationGroupInput{ReplicationGroupId: &name, ReplicationGroupDescription: &v,
			CacheSubnetGroupName: aws.String("shared"), Engine: aws.String("valkey"), TransitEncryptionEnabled: aws.Bool(true), UserGroupIds: []string{group}})}
		if !w.has("user-group " + group) {
			create.set, create.wants = nil, "UserGroupNotFound"
		}
		return create
	}
	return w.one(change{set: w.gone(thing), call: call(w.api.cache.DeleteReplicationGroup, &elasticache.DeleteReplicationGroupInput{ReplicationGroupId: &name})}, change{set: facts{thing + " described": v}, call: call(w.api.cache.ModifyReplicationGroup, &elasticache.ModifyReplicationGroupInput{ReplicationGroupId: &name, ReplicationGroupDescription: &v, ApplyImmediately: aws.Bool(true)})})
}

// instance runs one instance at a time, of a name that no other has had: those that
// are terminated are shown for an hour.
func (w *worker) instance(string) change {
	name := w.own + strconv.Itoa(w.launched)
	thing := "instance " + name
	if !w.has(thing) {
		return change{set: facts{thing + " ": "running", thing + " profile": sharedProfile}, call: call(w.api.ec2.RunInstances, &ec2.RunInstancesInput{ImageId: aws.String("ami-1"), InstanceType: "t3.micro", MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
			IamInstanceProfile: &ec2types.IamInstanceProfileSpecification{Name: aws.String("shared")},
			TagSpecifications:  []ec2types.TagSpecification{{ResourceType: "instance", Tags: []ec2types.Tag{{Key: aws.String("Name"), Value: &name}}}}})}
	}
	if w.facts[thing+" "] == "terminated" {
		w.launched++
		return w.instance("")
	}
	return change{set: facts{thing + " ": "terminated", thing + " profile": ""}, call: func(ctx context.Context) error {
		found, err := w.api.ec2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{Filters: []ec2types.Filter{{Name: aws.String("tag:Name"), Values: []string{name}}}})
		if err != nil {
			return err
		}
		return call(w.api.ec2.TerminateInstances, &ec2.TerminateInstancesInput{InstanceIds: []string{str(found.Reservations[0].Instances[0].InstanceId)}})(ctx)
	}}
}

// shared changes what all have, or tries what it forbids.
func (w *worker) shared(string) change {
	v, name := w.value(), aws.String("shared")
	forbidden := func(code string, call func(context.Context) error) change { return change{call: call, wants: code} }
	return w.one(
		change{set: facts{"role shared " + w.own: v}, call: call(w.api.iam.TagRole, &iam.TagRoleInput{RoleName: name, Tags: []iamtypes.Tag{{Key: &w.own, Value: &v}}})},
		change{call: func(ctx context.Context) error {
			out, err := w.api.sts.AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::" + account + ":role/shared"), RoleSessionName: &w.own})
			if err == nil {
				w.sessions = append(w.sessions, aws.Credentials{AccessKeyID: str(out.Credentials.AccessKeyId), SecretAccessKey: str(out.Credentials.SecretAccessKey), SessionToken: str(out.Credentials.SessionToken)})
			}
			return err
		}},
		forbidden("DeleteConflict", call(w.api.iam.DeletePolicy, &iam.DeletePolicyInput{PolicyArn: policyARN("shared")})),
		forbidden("DeleteConflict", call(w.api.iam.DeleteRole, &iam.DeleteRoleInput{RoleName: name})),
		forbidden("InvalidUserGroupState", call(w.api.cache.DeleteUserGroup, &elasticache.DeleteUserGroupInput{UserGroupId: name})),
		forbidden("UserNotFound", call(w.api.cache.ModifyUserGroup, &elasticache.ModifyUserGroupInput{UserGroupId: name, UserIdsToAdd: []string{"nobody"}})))
}

// share makes what all share.
func (e *emulation) share(ctx context.Context) facts {
	e.t.Helper()
	name, a := aws.String("shared"), e.api
	trust := aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + account + `:root","Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`)
	for _, make := range []func(context.Context) error{
		call(a.iam.CreatePolicy, &iam.CreatePolicyInput{PolicyName: name, PolicyDocument: aws.String(allowAll)}),
		call(a.iam.CreateRole, &iam.CreateRoleInput{RoleName: name, AssumeRolePolicyDocument: trust}),
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
	if err != nil || !strings.HasSuffix(str(who.Arn), arn) {
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
		env: append(os.Environ(), "TMPDIR="+dir), kill: make(chan struct{}, 1)}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	e.start()
	t.Cleanup(func() { e.stop() })
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: workers}}
	e.api = newAPI(e.told["AWS_ENDPOINT_URL"], client, e.admin())
	expected := e.share(ctx)
	e.answers.Store(50)

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
	for key := range maps.Keys(maps.Collect(func(yield func(string, bool) bool) {
		for key := range expected {
			yield(key, true)
		}
		for key := range got {
			yield(key, true)
		}
	})) {
		if got[key] != expected[key] {
			t.Errorf("%q is %q, want %q", key, got[key], expected[key])
		}
	}
	got.whole(t)
	for _, w := range all {
		for _, c := range w.keys {
			e.identify(ctx, c, "user/x/"+c.Source)
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
