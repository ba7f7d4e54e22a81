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
	around, cache := e.read(ctx)
	if cache == nil {
		if slices.ContainsFunc(around.Unread, func(u account.Unread) bool { return !strings.HasSuffix(u.Call, "Users") }) {
			return []Finding{e.undecided(around.Unread)}
		}
		return []Finding{found(NameUnknown, fmt.Sprintf("there is no cache %q in %s, nor one whose endpoint is %s, in account %s", e.Config.CacheName, e.Config.Region, e.Config.Addr(), e.identity.Account),
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
		all = append(all, found(NoTLS, "cache "+cache.Name+" has no in-transit encryption, and IAM sign-in needs it", "turn it on: ModifyReplicationGroup with TransitEncryptionEnabled"))
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
	return []Finding{found(Unexplained, "the cache, the user, its group and the permissions that IAM simulates are in order",
		"look for conditions in policies that hold here and not in the simulation (aws:SourceVpce, aws:SourceIp, tags), for session policies and service control policies; changes of a minute ago may not have arrived")}
}

// read gives what there is in the region, and the cache that is meant: the one whose
// endpoint is dialled, else the one of that name, which may be in another region.
func (e *examination) read(ctx context.Context) (around account.Region, cache *account.Cache) {
	for i, region := range unique(append([]string{e.Config.Region, toldBy(e.Config.Host).region}, e.Regions...)) {
		r := e.Clients(region).Read(ctx)
		if i == 0 {
			around = r
		}
		if cache = e.meant(r.Caches); cache != nil {
			return r, cache
		}
	}
	return around, nil
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
	group, add := "user group", "aws elasticache modify-user-group --user-group-id %s --user-ids-to-add %s"
	if cache.Service == rediam.MemoryDB {
		group, add = "ACL", "aws memorydb update-acl --acl-name %s --user-names-to-add %s"
	} else {
		name = strings.ToLower(name)
	}
	named := slices.DeleteFunc(slices.Clone(around.Users), func(u account.User) bool {
		return u.Service != cache.Service || u.Name != name && u.ID != name
	})
	if len(named) == 0 {
		return user, []Finding{found(UserUnknown, fmt.Sprintf("there is no user %q in %s", name, cache.Region()),
			fmt.Sprintf("aws %s create-user, with authentication mode iam and on ElastiCache the id equal to the name; and put it into the %s of the cache", cache.Service, group))}
	}
	user = named[0]
	if i := slices.IndexFunc(named, func(u account.User) bool { return u.ID == u.Name }); i >= 0 {
		user = named[i]
	}
	if user.ID != user.Name {
		all = append(all, found(UserIDDiffers, fmt.Sprintf("the user with the name %q has the id %q", user.Name, user.ID),
			"make a user whose id and name are equal: ElastiCache signs in with IAM no other, and neither can be changed"))
	} else if !user.IAM {
		all = append(all, found(UserNotIAM, fmt.Sprintf("user %q does not sign in with IAM, but with a password or none", user.Name),
			fmt.Sprintf("aws %s, with authentication mode iam", map[rediam.Service]string{rediam.ElastiCache: "elasticache modify-user", rediam.MemoryDB: "memorydb update-user"}[cache.Service])))
	}
	switch shared := slices.ContainsFunc(cache.Groups, func(g string) bool { return slices.Contains(user.Groups, g) }); {
	case len(cache.Groups) == 0:
		all = append(all, found(UserNotInGroup, fmt.Sprintf("cache %s has no %s: nobody signs in to it with IAM", cache.Name, group), "make a "+group+" with the user and give it to the cache"))
	case !shared:
		all = append(all, found(UserNotInGroup, fmt.Sprintf("user %q is not in the %s %s of cache %s", user.Name, group, strings.Join(cache.Groups, ", "), cache.Name), fmt.Sprintf(add, cache.Groups[0], user.ID)))
	}
	if !user.On {
		all = append(all, found(UserOff, fmt.Sprintf("the access string of user %q does not say on", user.Name), fmt.Sprintf("aws %s, with an access string that begins with on", map[rediam.Service]string{rediam.ElastiCache: "elasticache modify-user", rediam.MemoryDB: "memorydb update-user"}[cache.Service])))
	}
	return user, all
}

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
	const allowed = types.PolicyEvaluationDecisionTypeAllowed
	if onCache == allowed && onUser == allowed {
		return nil, nil
	}
	mend := "add this statement to its permissions: " + statement(action, cache.ARN, userARN)
	documents, err := clients.Policies(ctx, principal)
	if onCache != allowed && onUser != allowed && err == nil && !slices.ContainsFunc(documents, func(d account.Document) bool { return d.Names(action) }) {
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
	if onCache != allowed {
		all = append(all, found(PolicyLacksCache, lacks(principal, action, cache.ARN, onCache), mend))
	}
	if onUser != allowed {
		all = append(all, found(PolicyLacksUser, lacks(principal, action, userARN, onUser), mend))
	}
	return all, nil
}

func lacks(principal, action, resource string, verdict types.PolicyEvaluationDecisionType) string {
	if verdict == types.PolicyEvaluationDecisionTypeExplicitDeny {
		return fmt.Sprintf("a policy denies %s to %s on %s", action, principal, resource)
	}
	return fmt.Sprintf("no policy allows %s to %s on %s", action, principal, resource)
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
const permissions = "elasticache:DescribeReplicationGroups, elasticache:DescribeServerlessCaches, elasticache:DescribeUsers, memorydb:DescribeClusters, memorydb:DescribeUsers and iam:SimulatePrincipalPolicy"

// undecided is what is known when the account may not be read.
func (e *examination) undecided(unread []account.Unread) Finding {
	service := string(cmp.Or(e.Config.Service, rediam.ElastiCache))
	separator, kind := ":", "replicationgroup"
	switch {
	case service == string(rediam.MemoryDB):
		separator, kind = "/", "cluster"
	case e.Config.Serverless:
		kind = "serverlesscache"
	}
	prefix := "arn:aws:" + service + ":" + e.Config.Region + ":" + cmp.Or(e.identity.Account, "ACCOUNT") + ":"
	what := "the cache refuses the sign-in, as it does alike when the user is unknown, off or not in the cache's group, and when the IAM policy does not allow " + service + ":Connect on both the cache and the user"
	for _, u := range unread {
		if !errors.As(u.Err, new(smithy.APIError)) { // it is not a permission that lacks
			what += fmt.Sprintf("; %s could not be asked: %s", u.Call, firstLineOf(u.Err))
		}
	}
	return found(NotPermitted, what, fmt.Sprintf("to settle it, run this with the permissions %s; the statement that the sign-in needs is %s", permissions,
		statement(service+":Connect", prefix+kind+separator+strings.ToLower(e.Config.CacheName), prefix+"user"+separator+e.Config.Username)))
}
