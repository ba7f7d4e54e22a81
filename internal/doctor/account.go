package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/smithy-go"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/internal/account"
	"github.com/rediam/rediam/internal/policy"
)

// look finds out from the account why a sign-in was refused. Where that may not be
// read, it says what would settle it.
func (e *examination) look(ctx context.Context) []Finding {
	if e.Clients == nil {
		return []Finding{e.undecided(nil)}
	}
	regions, around, cache := e.read(ctx)
	for _, u := range around.Unread { // where STS could not be asked, this is the first that AWS says of them
		if f, ok := wrongCredentials(u.Err); ok && e.Token == "" {
			return []Finding{f}
		}
	}
	if cache == nil {
		if slices.ContainsFunc(around.Unread, func(u account.Unread) bool { return !strings.HasSuffix(u.Call, "Users") }) {
			return []Finding{e.undecided(around.Unread)}
		}
		return []Finding{found(NameUnknown, fmt.Sprintf("there is no cache %q in %s, nor one whose endpoint is %s, in account %s", e.Config.CacheName, strings.Join(regions, " or "), e.Config.Addr(), e.identity.Account),
			"aws elasticache describe-replication-groups (describe-serverless-caches, aws memorydb describe-clusters) lists the names; look at the account and the region too")}
	}
	meant := e.Config
	meant.CacheName, meant.Service, meant.Serverless = cache.Name, cache.Service, cache.Serverless
	meant.Region = cmp.Or(cache.Region(), e.Config.Region)
	all := e.differences(meant)
	if e.Token == "" && len(all) > 0 {
		if _, ok := e.try(ctx, []rediam.Config{meant}); ok {
			return all
		}
	}
	if !cache.TLS {
		all = append(all, found(NoTLS, "cache "+cache.Name+" has no in-transit encryption, and IAM sign-in needs it", turnOnTLS))
	}
	unread := slices.DeleteFunc(slices.Clone(around.Unread), func(u account.Unread) bool { return u.Call != string(cache.Service)+":DescribeUsers" })
	user, problems := e.checkUser(around, *cache, len(unread) > 0)
	all = append(all, problems...)
	if e.Token == "" {
		permission, err := e.checkPermission(ctx, *cache, user)
		all = append(all, permission...)
		if err != nil {
			unread = append(unread, *err)
		}
	}
	switch {
	case len(all) > 0:
		return all
	case len(unread) > 0:
		return []Finding{e.undecided(unread)}
	}
	if e.Token != "" {
		return []Finding{found(Unexplained, "the cache, the user and its group are in order", "who signed the token may not connect, or its signature was changed: run this without --token, with the credentials that signed it")}
	}
	return []Finding{found(Unexplained, "the cache, the user, its group and the permissions that IAM simulates are in order",
		"look for conditions in policies that hold here and not in the simulation (aws:SourceVpce, aws:SourceIp, tags), for session policies and service control policies; changes of a minute ago may not have arrived")}
}

// read gives the regions that it reads, what there is in the last, and the cache that
// is meant: the one whose endpoint is dialled, else the one of that name. The region
// that the endpoint tells comes first: there may be a cache of that name in others.
// Without a cache, what could not be read in any of them is told.
func (e *examination) read(ctx context.Context) (regions []string, around account.Region, cache *account.Cache) {
	regions = unique(append([]string{toldBy(e.Config.Host).region, e.Config.Region}, e.Regions...))
	var unread []account.Unread
	for _, region := range regions {
		reading, cancel := context.WithTimeout(ctx, untilEnd(ctx)/2) // a service may have no endpoint in this VPC
		around = e.Clients(region).Read(reading)
		cancel()
		if cache = e.meant(around.Caches); cache != nil {
			return regions, around, cache
		}
		unread = append(unread, around.Unread...)
	}
	around.Unread = unread
	return regions, around, nil
}

func (e *examination) meant(caches []account.Cache) *account.Cache {
	name := strings.ToLower(e.Config.CacheName)
	for _, fits := range []func(account.Cache) bool{
		func(c account.Cache) bool {
			return slices.ContainsFunc(c.Endpoints, func(endpoint string) bool { return strings.EqualFold(endpoint, e.Config.Addr()) })
		},
		func(c account.Cache) bool {
			return c.Name == name && c.Service == cmp.Or(e.Config.Service, rediam.ElastiCache) && c.Serverless == e.Config.Serverless
		},
		func(c account.Cache) bool { return c.Name == name },
	} {
		if i := slices.IndexFunc(caches, fits); i >= 0 {
			return &caches[i]
		}
	}
	return nil
}

// checkUser looks at the user on its way into the cache. It is zero if unknown.
func (e *examination) checkUser(around account.Region, cache account.Cache, unread bool) (user account.User, all []Finding) {
	if unread {
		return user, nil
	}
	name := e.Config.Username
	say := inElastiCache
	if cache.Service == rediam.MemoryDB {
		say = inMemoryDB
	} else {
		name = strings.ToLower(name)
	}
	group := say.group
	named := slices.DeleteFunc(slices.Clone(around.Users), func(u account.User) bool {
		return u.Service != cache.Service || u.Name != name && u.ID != name
	})
	if len(named) == 0 {
		mend := fmt.Sprintf(say.create, name, cmp.Or(cache.Engine, "valkey")) + ", with the permissions that it needs in the access string"
		if len(cache.Groups) > 0 {
			mend += "; and " + say.join(cache.Groups[0], name)
		}
		if i := slices.IndexFunc(around.Users, func(u account.User) bool { return u.Service == cache.Service && strings.EqualFold(u.Name, name) }); i >= 0 {
			mend = "--user " + around.Users[i].Name + ": the case counts"
		}
		return user, []Finding{found(UserUnknown, fmt.Sprintf("there is no user %q in %s", name, cache.Region()), mend)}
	}
	user = named[0]
	if i := slices.IndexFunc(named, func(u account.User) bool { return u.ID == u.Name }); i >= 0 {
		user = named[i]
	}
	if user.ID != user.Name {
		return user, []Finding{found(UserIDDiffers, fmt.Sprintf("the user with the name %q has the id %q", user.Name, user.ID),
			"make a user whose id and name are equal, in the "+group+" of the cache: ElastiCache signs in with IAM no other, and neither can be changed")}
	}
	if !user.IAM {
		all = append(all, found(UserNotIAM, fmt.Sprintf("user %q does not sign in with IAM, but with a password or none", user.Name), fmt.Sprintf(say.iam, user.ID)))
		if user.Name == "default" {
			all[0].Mend = "sign in as another user: this one cannot"
			return user, all
		}
	}
	switch shared := slices.ContainsFunc(cache.Groups, func(g string) bool { return slices.Contains(user.Groups, g) }); {
	case len(cache.Groups) == 0:
		all = append(all, found(UserNotInGroup, fmt.Sprintf("cache %s has no %s: nobody signs in to it with IAM", cache.Name, group), "make a "+group+" with the user and give it to the cache"))
	case !shared:
		all = append(all, found(UserNotInGroup, fmt.Sprintf("user %q is not in the %s %s of cache %s", user.Name, group, strings.Join(cache.Groups, ", "), cache.Name), say.join(cache.Groups[0], user.ID)))
	}
	if !user.On {
		all = append(all, found(UserOff, fmt.Sprintf("the access string of user %q does not say on", user.Name), fmt.Sprintf(say.on, user.ID)))
	}
	return user, all
}

// wording is how a service calls things, and the commands that mend them.
type wording struct{ group, create, add, iam, on string }

var (
	inElastiCache = wording{
		group:  "user group",
		create: "aws elasticache create-user --user-id %[1]s --user-name %[1]s --engine %[2]s --authentication-mode Type=iam --access-string 'on ~* -@all'",
		add:    "aws elasticache modify-user-group --user-group-id %s --user-ids-to-add %s",
		iam:    "aws elasticache modify-user --user-id %s --authentication-mode Type=iam",
		on:     "aws elasticache modify-user --user-id %s --append-access-string on",
	}
	inMemoryDB = wording{
		group:  "ACL",
		create: "aws memorydb create-user --user-name %[1]s --authentication-mode Type=iam --access-string 'on ~* -@all'",
		add:    "aws memorydb update-acl --acl-name %s --user-names-to-add %s",
		iam:    "aws memorydb update-user --user-name %s --authentication-mode Type=iam",
		on:     "aws memorydb update-user --user-name %s --access-string, with its access string and on in the place of off",
	}
)

// join is how a user gets into a group. Some groups are AWS's, which it does not let
// change: that of public endpoints, and MemoryDB's for everybody.
func (w wording) join(group, user string) string {
	switch group {
	case "default.iam-user-group":
		return "make another user group with it for the cache, since AWS lets nobody change that one; or sign in as default.iam-user"
	case "open-access":
		return "make another ACL with it for the cache, since AWS lets nobody change that one"
	}
	return fmt.Sprintf(w.add, group, user)
}

// turnOnTLS is the way to it that AWS has: clients without TLS work until required.
const turnOnTLS = "turn it on: aws elasticache modify-replication-group --replication-group-id ID --transit-encryption-enabled --transit-encryption-mode preferred --apply-immediately, and then required; on MemoryDB make another cluster"

// checkPermission asks IAM. What could not be asked is in unread.
func (e *examination) checkPermission(ctx context.Context, cache account.Cache, user account.User) (all []Finding, unread *account.Unread) {
	if e.whoErr != nil || e.identity.ARN == "" {
		return nil, &account.Unread{Call: "sts:GetCallerIdentity", Err: e.whoErr}
	}
	if of := cache.Account(); of != "" && of != e.identity.Account {
		return []Finding{found(WrongPrincipal, fmt.Sprintf("the credentials are those of %s, and the cache is account %s's", e.identity.ARN, of), "assume a role of the cache's account: --role-arn")}, nil
	}
	clients := e.Clients(e.Config.Region)
	principal, err := clients.Principal(ctx, e.identity)
	if errors.Is(err, account.ErrNoPolicies) {
		return nil, nil
	}
	action := string(cache.Service) + ":Connect"
	userARN := cmp.Or(user.ARN, e.userARN(cache))
	verdicts, err := clients.Simulate(ctx, principal, action, cache.ARN, userARN)
	if err != nil {
		return nil, &account.Unread{Call: "iam:SimulatePrincipalPolicy", Err: err}
	}
	onCache, onUser := verdicts[cache.ARN], verdicts[userARN]
	if onCache.Allowed() && onUser.Allowed() {
		return nil, nil
	}
	mend := "add this statement to its permissions: " + statement(action, cache.ARN, userARN)
	documents, err := clients.Policies(ctx, principal)
	if onCache.Decision == types.PolicyEvaluationDecisionTypeImplicitDeny && onUser.Decision == onCache.Decision && err == nil && !slices.ContainsFunc(documents, func(d account.Document) bool { return d.Names(action) }) {
		return []Finding{found(WrongPrincipal, fmt.Sprintf("the credentials are those of %s, whose policies say nothing of %s", principal, action),
			"if another role is meant, look where the credentials come from (AWS_PROFILE, the access key variables, --role-arn); else "+mend)}, nil
	}
	for _, d := range documents {
		for _, f := range policy.Lint(policy.Identity, []byte(d.Text)) {
			if !f.Warning {
				mend += fmt.Sprintf("; in its policy %s, %s", d.Name, f)
			}
		}
	}
	if !onCache.Allowed() {
		all = append(all, lacks(PolicyLacksCache, fmt.Sprintf("%s to %s on %s", action, principal, cache.ARN), onCache, mend))
	}
	if !onUser.Allowed() {
		all = append(all, lacks(PolicyLacksUser, fmt.Sprintf("%s to %s on %s", action, principal, userARN), onUser, mend))
	}
	return all, nil
}

// lacks is the finding of a permission that is not there; add is how to give it.
func lacks(cause Cause, what string, v account.Verdict, add string) Finding {
	if len(v.Missing) > 0 {
		add += "; policies have conditions on " + strings.Join(v.Missing, ", ") + ", which IAM does not know when it simulates: see whether they hold here"
	}
	switch {
	case v.Decision == types.PolicyEvaluationDecisionTypeExplicitDeny:
		return found(cause, "a policy denies "+what, "take out or narrow the statement with Deny, which no other outweighs: it is in "+cmp.Or(strings.Join(v.Policies, ", "), "a policy that IAM does not name"))
	case v.Boundary:
		return found(cause, "the permissions boundary does not allow "+what, "allow it in the boundary too: aws iam get-role, get-user tell which it is; and if the policies do not allow it, "+add)
	case v.Organization:
		return found(cause, "a policy of the organization does not allow "+what, "who manages the organization must allow it")
	}
	return found(cause, "no policy allows "+what, add)
}

// userARN is the ARN that the user has if there is one.
func (e *examination) userARN(cache account.Cache) string {
	separator, name := ":", strings.ToLower(e.Config.Username)
	if cache.Service == rediam.MemoryDB {
		separator, name = "/", e.Config.Username
	}
	head := cache.ARN
	for range strings.Count(cache.ARN, ":") - 4 {
		head = head[:strings.LastIndexByte(head, ':')]
	}
	return head + ":user" + separator + name
}

func statement(action string, resources ...string) string {
	return fmt.Sprintf(`{"Effect": "Allow", "Action": %q, "Resource": ["%s"]}`, action, strings.Join(resources, `", "`))
}

// permissions are what it takes to read everything.
const permissions = "elasticache:DescribeReplicationGroups, elasticache:DescribeServerlessCaches, elasticache:DescribeUsers, memorydb:DescribeClusters, memorydb:DescribeUsers, iam:GetRole and iam:SimulatePrincipalPolicy"

// undecided is what is known when the account may not be read.
func (e *examination) undecided(unread []account.Unread) Finding {
	cache := account.Cache{Service: cmp.Or(e.Config.Service, rediam.ElastiCache)}
	service, kind := string(cache.Service), "replicationgroup:"
	switch {
	case cache.Service == rediam.MemoryDB:
		kind = "cluster/"
	case e.Config.Serverless:
		kind = "serverlesscache:"
	}
	partition := "aws"
	if parts := strings.Split(e.identity.ARN, ":"); len(parts) > 1 {
		partition = parts[1]
	}
	cache.ARN = "arn:" + partition + ":" + service + ":" + e.Config.Region + ":" + cmp.Or(e.identity.Account, "ACCOUNT") + ":" + kind + strings.ToLower(e.Config.CacheName)
	what := "the cache refuses the sign-in, as it does alike when the user is unknown, off or not in the cache's group, and when the IAM policy does not allow " + service + ":Connect on both the cache and the user"
	for _, u := range unread {
		if !errors.As(u.Err, new(smithy.APIError)) { // it is not a permission that lacks
			what += fmt.Sprintf("; %s could not be asked: %s", u.Call, firstLineOf(u.Err))
		}
	}
	return found(NotPermitted, what, fmt.Sprintf("to settle it, run this with the permissions %s; the statement that the sign-in needs is %s", permissions,
		statement(service+":Connect", cache.ARN, e.userARN(cache))))
}
