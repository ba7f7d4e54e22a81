package rotate

import (
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/memorydb"
)

// A Kind is what a password is of.
type Kind string

// The kinds of target that NewTarget makes.
const (
	KindAuthToken       Kind = "auth-token"
	KindElastiCacheUser Kind = "elasticache-user"
	KindMemoryDBUser    Kind = "memorydb-user"
)

// NewTarget is the target with that id: of a replication group, a user of ElastiCache,
// or the name of a user of MemoryDB. Users need to be told the nodes to sign in on.
func NewTarget(kind Kind, id string, config aws.Config, login Login, nodes []string) (Target, error) {
	for _, node := range nodes {
		host, port, err := net.SplitHostPort(node)
		if _, bad := strconv.ParseUint(port, 10, 16); err == nil && (host == "" || bad != nil) {
			err = errors.New(node)
		}
		if err != nil {
			return nil, fmt.Errorf("a node must be HOST:PORT: %w", err)
		}
	}
	switch {
	case kind == KindAuthToken:
		return &AuthToken{Client: elasticache.NewFromConfig(config), Group: id, Login: login, Nodes: nodes}, nil
	case kind != KindElastiCacheUser && kind != KindMemoryDBUser:
		return nil, fmt.Errorf("kind must be %s, %s or %s", KindAuthToken, KindElastiCacheUser, KindMemoryDBUser)
	case len(nodes) == 0:
		return nil, fmt.Errorf("kind %s needs the endpoint of a cache where the user signs in", kind)
	case kind == KindElastiCacheUser:
		return &User{Users: ElastiCacheUsers{elasticache.NewFromConfig(config)}, ID: id, Login: login, Nodes: nodes}, nil
	}
	return &User{Users: MemoryDBUsers{memorydb.NewFromConfig(config)}, ID: id, Login: login, Nodes: nodes}, nil
}
