package awsapi_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/rediam/rediam/emulator"
)

// The commands of AWS's walk-throughs, as they are typed.
func TestTheCLIMakesACacheThatATokenOpens(t *testing.T) {
	eachCLI(t, func(t *testing.T, srv *emulator.Server, c cli) {
		for i := range 110 { // more than a page
			must(t, srv.PutUser(emulator.User{Name: fmt.Sprintf("user-%d", i)}))
		}
		run := func(command string, quoted ...string) string {
			t.Helper()
			output, ok := c.service(t, srv, "elasticache", command, quoted...)
			if !ok {
				t.Fatalf("%s: %s", command, output)
			}
			return output
		}
		made := run("create-user --user-id off --user-name default --engine redis --authentication-mode", `Type=password,Passwords="a-str0ng-pa))word"`, "--access-string", "off +get ~keys*")
		var user struct {
			AccessString, Status, MinimumEngineVersion string
			UserGroupIds                               []string
			Authentication                             struct {
				Type          string
				PasswordCount int
			}
		}
		must(t, json.Unmarshal([]byte(made), &user))
		if user.AccessString != "off ~keys* -@all +get" || user.Status != "active" || user.MinimumEngineVersion != "6.0" || user.UserGroupIds == nil || user.Authentication.Type != "password" || user.Authentication.PasswordCount != 1 {
			t.Errorf("create-user: %s", made)
		}
		run("create-user --user-id iam --user-name iam --engine redis --authentication-mode Type=iam --access-string", "on ~* +@all")
		run("create-user-group --user-group-id group --engine redis --user-ids off iam")
		run("create-user-group --user-group-id premade --engine redis --user-ids default iam")
		run("create-cache-subnet-group --cache-subnet-group-name net --cache-subnet-group-description x --subnet-ids subnet-1 subnet-2")
		run("create-replication-group --replication-group-id cache --replication-group-description x --engine redis --engine-version 7.0 --cache-node-type cache.m6g.large" +
			" --transit-encryption-enabled --cache-subnet-group-name net --security-group-ids sg-1 --user-group-ids group --tags Key=env,Value=test")
		run("wait replication-group-available --replication-group-id cache")
		var described struct {
			ReplicationGroups []struct {
				NodeGroups []struct {
					PrimaryEndpoint struct {
						Address string
						Port    int
					}
				}
			}
		}
		must(t, json.Unmarshal([]byte(run("describe-replication-groups --replication-group-id cache")), &described))
		e := described.ReplicationGroups[0].NodeGroups[0].PrimaryEndpoint
		where := fmt.Sprintf("%s:%d", e.Address, e.Port)
		cache := srv.Cache("cache")
		must(t, dial(t, where, cache.TLS, "iam", token(t, srv, admin(t, srv), "cache", "iam")).Ping(t.Context()).Err())
		run("modify-replication-group --replication-group-id cache --user-group-ids-to-add premade --user-group-ids-to-remove group")
		must(t, dial(t, where, cache.TLS, "", "").Ping(t.Context()).Err())
		if users := run("describe-users"); strings.Count(users, `"UserId"`) != 114 {
			t.Errorf("describe-users lists %d users", strings.Count(users, `"UserId"`))
		}
		output, ok := c.service(t, srv, "elasticache", "create-user-group --user-group-id none --engine redis --user-ids iam")
		if ok || !strings.Contains(output, "An error occurred (DefaultUserRequired) when calling the CreateUserGroup operation") ||
			!strings.Contains(output, ": User group needs to contain a user with the user name default.") {
			t.Errorf("create-user-group without a default user: %s", output)
		}
		run("delete-replication-group --replication-group-id cache")
		run("wait replication-group-deleted --replication-group-id cache")
	})
}

func TestTheCLIMakesAClusterOfMemoryDB(t *testing.T) {
	eachCLI(t, func(t *testing.T, srv *emulator.Server, c cli) {
		run := func(command string, quoted ...string) string {
			t.Helper()
			output, ok := c.service(t, srv, "memorydb", command, quoted...)
			if !ok {
				t.Fatalf("%s: %s", command, output)
			}
			return output
		}
		var made struct {
			User struct {
				Name, AccessString, Status, MinimumEngineVersion string
				ACLNames                                         []string
				Authentication                                   struct{ Type string }
			}
		}
		must(t, json.Unmarshal([]byte(run("create-user --user-name iam --authentication-mode Type=iam --tags Key=team,Value=a --access-string", "on ~* +@all")), &made))
		if u := made.User; u.Name != "iam" || u.AccessString != "on ~* resetchannels +@all" || u.Status != "active" || u.MinimumEngineVersion != "7.0" || u.ACLNames == nil || u.Authentication.Type != "iam" {
			t.Errorf("create-user: %+v", u)
		}
		run("create-user --user-name word --authentication-mode", `Type=password,Passwords="a-str0ng-pa))word"`, "--access-string", "on ~* +@all")
		run("create-acl --acl-name acl --user-names iam word")
		run("create-cluster --cluster-name Cluster --node-type db.t4g.small --acl-name acl --num-shards 1 --tls-enabled")
		var described struct {
			Clusters []struct {
				Status, EngineVersion string
				ClusterEndpoint       struct {
					Address string
					Port    int
				}
				Shards []struct{ Nodes []struct{ CreateTime any } }
			}
		}
		must(t, json.Unmarshal([]byte(run("describe-clusters --show-shard-details --cluster-name cluster")), &described))
		cluster := described.Clusters[0]
		if cluster.Status != "available" || cluster.EngineVersion != "7.1" || cluster.Shards[0].Nodes[0].CreateTime == nil {
			t.Errorf("describe-clusters: %+v", cluster)
		}
		where, trust := fmt.Sprintf("%s:%d", cluster.ClusterEndpoint.Address, cluster.ClusterEndpoint.Port), srv.Cache("cluster").TLS
		must(t, dial(t, where, trust, "word", "a-str0ng-pa))word").Ping(t.Context()).Err())
		wrongPass(t, "a wrong password", dial(t, where, trust, "word", "a-wr0ng-pa))word"))
		arn := "arn:aws:memorydb:us-east-1:123456789012:user/iam"
		if tags := run("untag-resource --tag-keys team --resource-arn " + arn); !strings.Contains(tags, `"TagList": []`) {
			t.Errorf("untag-resource: %s", tags)
		}
		output, ok := c.service(t, srv, "memorydb", "delete-acl --acl-name acl")
		if ok || !strings.Contains(output, "An error occurred (InvalidACLStateFault) when calling the DeleteACL operation") || !strings.Contains(output, ": ACL acl is associated with cluster") {
			t.Errorf("delete-acl of one in use: %s", output)
		}
		run("update-cluster --acl-name open-access --cluster-name cluster")
		run("delete-acl --acl-name acl")
		run("delete-cluster --cluster-name cluster")
	})
}

// service runs a command of words, followed by arguments that may have spaces.
func (c cli) service(t *testing.T, srv *emulator.Server, service, command string, quoted ...string) (string, bool) {
	t.Helper()
	arguments := append([]string{service}, append(strings.Fields(command), quoted...)...)
	return c.run(t, append(arguments, "--endpoint-url", srv.URL())...)
}
