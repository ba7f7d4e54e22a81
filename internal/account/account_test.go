package account_test

import (
	"context"
	"errors"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"

	"github.com/rediam/rediam/internal/account"
)

// oneUser is an ElastiCache with one user, and nothing else that can be read.
type oneUser struct{ access string }

func (oneUser) DescribeReplicationGroups(context.Context, *elasticache.DescribeReplicationGroupsInput, ...func(*elasticache.Options)) (*elasticache.DescribeReplicationGroupsOutput, error) {
	return nil, errors.New("denied")
}

func (oneUser) DescribeServerlessCaches(context.Context, *elasticache.DescribeServerlessCachesInput, ...func(*elasticache.Options)) (*elasticache.DescribeServerlessCachesOutput, error) {
	return nil, errors.New("denied")
}

func (o oneUser) DescribeUsers(context.Context, *elasticache.DescribeUsersInput, ...func(*elasticache.Options)) (*elasticache.DescribeUsersOutput, error) {
	return &elasticache.DescribeUsersOutput{Users: []types.User{{AccessString: aws.String(o.access)}}}, nil
}

func TestAUserIsOnWhateverElseTheAccessStringSays(t *testing.T) {
	for access, want := range map[string]bool{
		"on ~* +@all": true, "off ~* +@all": false, "off -@all on": true, "on ~* off": false, "": false, "~* +@all": false,
		"on ~* +json.get +ft.search +a.command.of.tomorrow": true, "ON ~off": true, "off ~on (+get ~on)": false,
	} {
		r := account.Clients{ElastiCache: oneUser{access}}.Read(t.Context())
		if len(r.Users) != 1 || r.Users[0].On != want || len(r.Unread) != 2 {
			t.Errorf("%q: %+v", access, r)
		}
	}
}
