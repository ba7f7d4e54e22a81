package doctor

import (
	"net"
	"regexp"
	"strings"

	"github.com/rediam/rediam"
)

// told is what an AWS endpoint tells of its cache. It is a hint to try: AWS
// documents no rule that gives a name back from an endpoint.
type told struct {
	name       string
	region     string
	service    rediam.Service
	serverless bool
}

var (
	shortRegion     = regexp.MustCompile(`^(us|usg|eu|ap|ca|sa|me|af|il|mx|cn)(ne|nw|se|sw|n|s|e|w|c)([0-9])$`)
	nodeName        = regexp.MustCompile(`^(.+?)(-[0-9]{4})?-[0-9]{3}$`)
	serverlessName  = regexp.MustCompile(`^(.+)-[a-z0-9]{5,6}$`)
	directions      = map[string]string{"n": "north", "s": "south", "e": "east", "w": "west", "c": "central", "ne": "northeast", "nw": "northwest", "se": "southeast", "sw": "southwest"}
	partitionPrefix = map[string]string{"usg": "us-gov"}
)

// toldBy reads endpoints such as master.orders.abc123.euw1.cache.amazonaws.com,
// orders-abc123.serverless.use1.cache.amazonaws.com and
// clustercfg.orders.abc123.memorydb.eu-west-1.amazonaws.com. It is zero for others.
func toldBy(address string) (t told) {
	host, _, err := net.SplitHostPort(strings.ToLower(address))
	if err != nil {
		host = strings.ToLower(address)
	}
	domain := strings.TrimSuffix(strings.TrimSuffix(host, "."), ".cn")
	labels := strings.Split(domain, ".")
	switch {
	case len(labels) >= 5 && strings.HasSuffix(domain, ".cache.amazonaws.com"):
		t.service = rediam.ElastiCache
		t.region = longRegion(labels[len(labels)-4])
		t.serverless = labels[len(labels)-5] == "serverless"
	case len(labels) >= 5 && strings.HasSuffix(domain, ".amazonaws.com") && labels[len(labels)-4] == "memorydb":
		t.service = rediam.MemoryDB
		t.region = labels[len(labels)-3]
	default:
		return told{}
	}
	t.name = labels[0]
	switch {
	case t.serverless:
		if m := serverlessName.FindStringSubmatch(t.name); m != nil {
			t.name = m[1]
		}
	case t.name == "master" || t.name == "replica" || t.name == "clustercfg":
		t.name = labels[1]
	default:
		if m := nodeName.FindStringSubmatch(t.name); m != nil {
			t.name = m[1]
		}
	}
	return t
}

// longRegion makes eu-west-1 of euw1, and "" of what is no region.
func longRegion(short string) string {
	if short == "cnw1" { // not cnnw1, as its rule would have it
		return "cn-northwest-1"
	}
	m := shortRegion.FindStringSubmatch(short)
	if m == nil {
		return ""
	}
	prefix, ok := partitionPrefix[m[1]]
	if !ok {
		prefix = m[1]
	}
	return prefix + "-" + directions[m[2]] + "-" + m[3]
}
