package awsapi_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"
	"github.com/rediam/rediam"
	"github.com/rediam/rediam/emulator"
)

// serverless makes a serverless cache of Valkey.
func (a account) serverless(t *testing.T, name string, change func(*elasticache.CreateServerlessCacheInput)) (types.ServerlessCache, error) {
	t.Helper()
	in := elasticache.CreateServerlessCacheInput{ServerlessCacheName: &name, Engine: aws.String("valkey")}
	if change != nil {
		change(&in)
	}
	made, err := a.CreateServerlessCache(t.Context(), &in)
	if err != nil {
		return types.ServerlessCache{}, err
	}
	return *made.ServerlessCache, nil
}

// serverlessToken signs in to a serverless cache as the user.
func (a account) serverlessToken(t *testing.T, cache, user string) string {
	t.Helper()
	signer := &rediam.Signer{Cache: cache, User: user, Serverless: true, Region: a.srv.Region(), Credentials: emulator.KeyCredentials(admin(t, a.srv)), Now: a.srv.Now}
	token, err := signer.Token(t.Context())
	must(t, err)
	return token.Password
}

// makePublic is for a cache with a public endpoint.
func makePublic(in *elasticache.CreateServerlessCacheInput) {
	in.MajorEngineVersion, in.ConnectionType, in.UserGroupId = aws.String("9"), types.ConnectionTypePublic, aws.String("default.iam-user-group")
}

func TestAPublicEndpointIsMadeForTheIAMUserOfTheAccount(t *testing.T) {
	a := newAccount(t, emulator.Config{Engine: "embedded"})
	made, err := a.serverless(t, "My-Public-Cache", makePublic)
	must(t, err)
	if *made.ServerlessCacheName != "my-public-cache" || made.ConnectionType != types.ConnectionTypePublic || *made.MajorEngineVersion != "9" || *made.UserGroupId != "default.iam-user-group" || *made.Status != "available" {
		t.Errorf("CreateServerlessCache() = %+v", made)
	}
	must(t, dial(t, address(made.Endpoint), a.srv.Cache("my-public-cache").TLS, "default.iam-user", a.serverlessToken(t, "my-public-cache", "default.iam-user")).Set(t.Context(), "k", "v", 0).Err())
	other, err := a.serverless(t, "private", nil)
	if err != nil || other.ConnectionType != types.ConnectionTypeVpc || other.UserGroupId != nil {
		t.Errorf("CreateServerlessCache() = %+v, %v", other, err)
	}

	document := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"elasticache:CreateServerlessCache","Resource":"*","Condition":{"StringEquals":{"elasticache:ConnectionType":"public"}}}]}`
	must(t, a.srv.PutIAMUser(emulator.IAMUser{Name: "limited", Inline: map[string]string{"p": document}}))
	k, err := a.srv.CreateAccessKey("limited")
	must(t, err)
	limited := account{elastiCache(a.srv, k), a.srv}
	must(t, only(limited.serverless(t, "more", nil)))
	refused(t, "a denied public endpoint", only(limited.serverless(t, "more-public", makePublic)), 403, "AccessDenied", "explicit deny")
}

func TestErrorsAboutServerlessCachesAreTyped(t *testing.T) {
	a := newAccount(t, emulator.Config{Engine: "embedded", StateDelay: time.Minute})
	ctx := t.Context()
	a.makeGroup(t)
	must(t, only(a.serverless(t, "busy", nil)))
	a.srv.Advance(time.Minute)
	must(t, only(a.serverless(t, "taken", func(in *elasticache.CreateServerlessCacheInput) { in.MajorEngineVersion = aws.String("8") })))
	a.srv.Advance(time.Minute)
	must(t, only(a.ModifyServerlessCache(ctx, &elasticache.ModifyServerlessCacheInput{ServerlessCacheName: aws.String("busy"), Description: aws.String("x")})))
	create := func(change func(*elasticache.CreateServerlessCacheInput)) error {
		return only(a.serverless(t, "new", change))
	}
	public := func(change func(*elasticache.CreateServerlessCacheInput)) error {
		return create(func(in *elasticache.CreateServerlessCacheInput) { makePublic(in); change(in) })
	}
	modify := func(in elasticache.ModifyServerlessCacheInput) error {
		if in.ServerlessCacheName == nil {
			in.ServerlessCacheName = aws.String("taken")
		}
		return only(a.ModifyServerlessCache(ctx, &in))
	}
	const value, combination = "InvalidParameterValue", "InvalidParameterCombination"
	for what, test := range map[string]struct {
		err           error
		as            any
		status        int
		code, message string
	}{
		"a name twice":        {only(a.serverless(t, "Taken", nil)), new(*types.ServerlessCacheAlreadyExistsFault), 400, "ServerlessCacheAlreadyExistsFault", "taken"},
		"none modified":       {modify(elasticache.ModifyServerlessCacheInput{ServerlessCacheName: aws.String("none")}), new(*types.ServerlessCacheNotFoundFault), 404, "ServerlessCacheNotFoundFault", "none"},
		"none described":      {only(a.DescribeServerlessCaches(ctx, &elasticache.DescribeServerlessCachesInput{ServerlessCacheName: aws.String("none")})), new(*types.ServerlessCacheNotFoundFault), 404, "ServerlessCacheNotFoundFault", "none"},
		"a busy one modified": {modify(elasticache.ModifyServerlessCacheInput{ServerlessCacheName: aws.String("busy")}), new(*types.InvalidServerlessCacheStateFault), 400, "InvalidServerlessCacheStateFault", "modifying"},
		"a busy one deleted":  {only(a.DeleteServerlessCache(ctx, &elasticache.DeleteServerlessCacheInput{ServerlessCacheName: aws.String("busy")})), new(*types.InvalidServerlessCacheStateFault), 400, "InvalidServerlessCacheStateFault", "modifying"},
		"no such user group":  {create(func(in *elasticache.CreateServerlessCacheInput) { in.UserGroupId = aws.String("none") }), new(*types.UserGroupNotFoundFault), 404, "UserGroupNotFound", "none"},
		"memcached":           {create(func(in *elasticache.CreateServerlessCacheInput) { in.Engine = aws.String("memcached") }), new(*types.InvalidParameterValueException), 400, value, "redis or valkey"},
		"a minor version":     {create(func(in *elasticache.CreateServerlessCacheInput) { in.MajorEngineVersion = aws.String("8.1") }), new(*types.InvalidParameterValueException), 400, value, "8.1"},
		"an old version":      {create(func(in *elasticache.CreateServerlessCacheInput) { in.MajorEngineVersion = aws.String("6") }), new(*types.InvalidParameterValueException), 400, value, "6"},
		"a version to come":   {create(func(in *elasticache.CreateServerlessCacheInput) { in.MajorEngineVersion = aws.String("99") }), new(*types.InvalidParameterCombinationException), 400, combination, "99"},
		"a long description": {create(func(in *elasticache.CreateServerlessCacheInput) {
			in.Description = aws.String(strings.Repeat("x", 256))
		}), new(*types.InvalidParameterValueException), 400, value, "255"},
		"a longer description": {modify(elasticache.ModifyServerlessCacheInput{Description: aws.String(strings.Repeat("x", 256))}), new(*types.InvalidParameterValueException), 400, value, "255"},
		"no connection type":   {create(func(in *elasticache.CreateServerlessCacheInput) { in.ConnectionType = "private" }), new(*types.InvalidParameterValueException), 400, value, "vpc or public"},
		"public on Valkey 8":   {public(func(in *elasticache.CreateServerlessCacheInput) { in.MajorEngineVersion = aws.String("8") }), new(*types.InvalidParameterCombinationException), 400, combination, "Valkey 9.0"},
		"public on Redis OSS": {public(func(in *elasticache.CreateServerlessCacheInput) {
			in.Engine, in.MajorEngineVersion = aws.String("redis"), nil
		}), new(*types.InvalidParameterCombinationException), 400, combination, "Valkey 9.0"},
		"public without group":   {public(func(in *elasticache.CreateServerlessCacheInput) { in.UserGroupId = nil }), new(*types.InvalidParameterCombinationException), 400, combination, "user group"},
		"public with a password": {public(func(in *elasticache.CreateServerlessCacheInput) { in.UserGroupId = aws.String("app-users") }), new(*types.InvalidParameterCombinationException), 400, combination, "app-default"},
		"a group and none":       {modify(elasticache.ModifyServerlessCacheInput{UserGroupId: aws.String("app-users"), RemoveUserGroup: aws.Bool(true)}), new(*types.InvalidParameterCombinationException), 400, combination, "RemoveUserGroup"},
		"back to Redis OSS":      {modify(elasticache.ModifyServerlessCacheInput{Engine: aws.String("redis"), MajorEngineVersion: aws.String("7")}), new(*types.InvalidParameterCombinationException), 400, combination, "cannot go back"},
		"back to an old Valkey":  {modify(elasticache.ModifyServerlessCacheInput{MajorEngineVersion: aws.String("7")}), new(*types.InvalidParameterCombinationException), 400, combination, "cannot go back"},
		"a page of none":         {only(a.DescribeServerlessCaches(ctx, &elasticache.DescribeServerlessCachesInput{MaxResults: aws.Int32(0)})), new(*types.InvalidParameterValueException), 400, value, "MaxResults"},
		"limits": {create(func(in *elasticache.CreateServerlessCacheInput) {
			in.CacheUsageLimits = &types.CacheUsageLimits{ECPUPerSecond: &types.ECPUPerSecond{Maximum: aws.Int32(1000)}}
		}), nil, 400, "ValidationError", "CacheUsageLimits"},
		"a key of one's own":      {create(func(in *elasticache.CreateServerlessCacheInput) { in.KmsKeyId = aws.String("k") }), nil, 400, "ValidationError", "KmsKeyId"},
		"the user group changed":  {only(a.ModifyUserGroup(ctx, &elasticache.ModifyUserGroupInput{UserGroupId: aws.String("default.iam-user-group"), UserIdsToAdd: []string{"app"}})), new(*types.InvalidParameterValueException), 400, value, "cannot be modified"},
		"the user group deleted":  {only(a.DeleteUserGroup(ctx, &elasticache.DeleteUserGroupInput{UserGroupId: aws.String("default.iam-user-group")})), new(*types.InvalidParameterValueException), 400, value, "cannot be modified"},
		"the user's access":       {only(a.ModifyUser(ctx, &elasticache.ModifyUserInput{UserId: aws.String("default.iam-user"), AccessString: aws.String("off -@all")})), new(*types.InvalidParameterValueException), 400, value, "cannot be modified"},
		"the user deleted":        {only(a.DeleteUser(ctx, &elasticache.DeleteUserInput{UserId: aws.String("default.iam-user")})), new(*types.InvalidParameterValueException), 400, value, "cannot be modified"},
		"one more user like that": {only(a.CreateUser(ctx, &elasticache.CreateUserInput{UserId: aws.String("default.mine"), UserName: aws.String("default.mine"), Engine: aws.String("valkey"), AccessString: aws.String("on"), AuthenticationMode: &types.AuthenticationMode{Type: types.InputAuthenticationTypeIam}})), new(*types.InvalidParameterValueException), 400, value, "user id"},
	} {
		refused(t, what, test.err, test.status, test.code, test.message)
		if test.as != nil && !errors.As(test.err, test.as) {
			t.Errorf("%s: %T is not in %v", what, test.as, test.err)
		}
	}
	if all, err := a.DescribeServerlessCaches(ctx, nil); err != nil || len(all.ServerlessCaches) != 2 {
		t.Errorf("there are %+v, %v", all, err)
	}
}

func TestServerlessCachesAreListedInPagesWithTheirStates(t *testing.T) {
	a := newAccount(t, emulator.Config{Engine: "embedded", StateDelay: time.Minute})
	var want []string
	for i := range 5 {
		must(t, only(a.serverless(t, fmt.Sprint("Cache-", i), nil)))
		want = append(want, fmt.Sprint("cache-", i))
	}
	list := func(status string, endpoints bool) {
		var got []string
		pages := elasticache.NewDescribeServerlessCachesPaginator(a, &elasticache.DescribeServerlessCachesInput{MaxResults: aws.Int32(2)})
		count := 0
		for ; pages.HasMorePages(); count++ {
			page, err := pages.NextPage(t.Context())
			must(t, err)
			for _, s := range page.ServerlessCaches {
				got = append(got, *s.ServerlessCacheName)
				if *s.Status != status || (s.Endpoint != nil) != endpoints || (s.ReaderEndpoint != nil) != endpoints {
					t.Errorf("%+v, want status %s, with endpoints %v", s, status, endpoints)
				}
			}
		}
		if !slices.Equal(got, want) || count != 3 {
			t.Errorf("%d pages of %v, want 3 of %v", count, got, want)
		}
	}
	list("creating", false)
	a.srv.Advance(time.Minute)
	list("available", true)
	must(t, only(a.DeleteServerlessCache(t.Context(), &elasticache.DeleteServerlessCacheInput{ServerlessCacheName: aws.String("cache-4")})))
	got, err := a.DescribeServerlessCaches(t.Context(), &elasticache.DescribeServerlessCachesInput{ServerlessCacheName: aws.String("CACHE-4")})
	if err != nil || *got.ServerlessCaches[0].Status != "deleting" {
		t.Errorf("DescribeServerlessCaches() = %+v, %v", got, err)
	}
	a.srv.Advance(time.Minute)
	want = want[:4]
	if all, err := a.DescribeServerlessCaches(t.Context(), nil); err != nil || len(all.ServerlessCaches) != len(want) || all.NextToken != nil {
		t.Errorf("there are %+v, %v", all, err)
	}
}

func TestAnotherUserGroupEndsTheConnectionsOfWhoIsNotInIt(t *testing.T) {
	a := newAccount(t, emulator.Config{Engine: "embedded"})
	a.makeGroup(t)
	made, err := a.serverless(t, "orders", func(in *elasticache.CreateServerlessCacheInput) { in.UserGroupId = aws.String("app-users") })
	must(t, err)
	signIn := func(user string) error {
		return dial(t, address(made.Endpoint), a.srv.Cache("orders").TLS, user, a.serverlessToken(t, "orders", user)).Ping(t.Context()).Err()
	}
	must(t, signIn("app"))
	if n := len(a.srv.Sessions("orders")); n != 1 {
		t.Errorf("there are %d connections", n)
	}
	changed, err := a.ModifyServerlessCache(t.Context(), &elasticache.ModifyServerlessCacheInput{ServerlessCacheName: aws.String("Orders"), UserGroupId: aws.String("Default.IAM-User-Group")})
	must(t, err)
	if *changed.ServerlessCache.UserGroupId != "default.iam-user-group" || len(a.srv.Sessions("orders")) != 0 {
		t.Errorf("ModifyServerlessCache() = %+v; there are %v", changed.ServerlessCache, a.srv.Sessions("orders"))
	}
	must(t, signIn("default.iam-user"))
	if err := signIn("app"); err == nil || !strings.HasPrefix(err.Error(), "WRONGPASS") {
		t.Errorf("the user of before is answered by %v", err)
	}
}
