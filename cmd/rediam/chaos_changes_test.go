package main

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	cachetypes "github.com/aws/aws-sdk-go-v2/service/elasticache/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

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
	kinds := []func(string) change{w.iamUser, w.iamUser, w.iamUser, w.role, w.policy, w.profile, w.cacheUser, w.cacheUser, w.userGroup, w.shared}
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
	other := strings.TrimRight(name, "ab") + string('a'+'b'-name[len(name)-1])
	rename := change{set: w.gone(thing), call: call(w.api.iam.UpdateUser, &iam.UpdateUserInput{UserName: &name, NewUserName: &other})}
	for key := range w.gone(thing) {
		rename.set[strings.Replace(key, name, other, 1)] = w.facts[key]
	}
	if w.has("iam-user " + other) {
		rename.set, rename.wants = nil, "EntityAlreadyExists"
	}
	return w.one(create, remove, remove, tag, attach, put, rename, rename, rename, rename, w.accessKey(name), w.accessKey(name))
}

// accessKey makes a key of a user, or deletes one.
func (w *worker) accessKey(name string) change {
	fact := "iam-user " + name + " keys"
	n, _ := strconv.Atoi(w.facts[fact])
	if n < 2 {
		return change{set: facts{fact: strconv.Itoa(n + 1)}, call: func(ctx context.Context) error {
			made, err := w.api.iam.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: &name})
			if err == nil {
				w.keys[str(made.AccessKey.AccessKeyId)] = aws.Credentials{AccessKeyID: str(made.AccessKey.AccessKeyId), SecretAccessKey: str(made.AccessKey.SecretAccessKey)}
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
	if !w.has(thing) {
		return change{set: facts{thing + " ": "is there", thing + " described": v, thing + " team": v}, call: call(w.api.iam.CreateRole, &iam.CreateRoleInput{RoleName: &name, Description: &v, AssumeRolePolicyDocument: aws.String(trustAll), Tags: []iamtypes.Tag{{Key: aws.String("team"), Value: &v}}})}
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
	tag := change{set: facts{thing + " team": v, thing + " second": v}, call: call(w.api.cache.AddTagsToResource, &elasticache.AddTagsToResourceInput{ResourceName: aws.String("arn:aws:elasticache:us-east-1:" + accountNumber + ":user:" + name),
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
			out, err := w.api.sts.AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::" + accountNumber + ":role/shared"), RoleSessionName: &w.own})
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
