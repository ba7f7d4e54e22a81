package gate

import (
	"crypto/sha1"
	"fmt"
	"net"
	"strconv"
)

// On AWS a MemoryDB cluster and a serverless cache speak to clients as a cluster,
// and a replication group does if it was made so. On the embedded engine every
// cache answers a client that asks as a cluster of one node, the address being
// that which the client came to. A client that does not ask sees a single node.

// slots is the number of hash slots.
const slots = 16384

// onlyNode is the cluster.
func (s *session) onlyNode() (id, ip string, port int64) {
	host, number, _ := net.SplitHostPort(s.client.LocalAddr().String())
	port, _ = strconv.ParseInt(number, 10, 64)
	return fmt.Sprintf("%x", sha1.Sum([]byte(s.gate.Cache))), host, port
}

func clusterMyID(s *session, _ [][]byte, a *answer) {
	id, _, _ := s.onlyNode()
	a.bulk(id)
}

func clusterSlots(s *session, _ [][]byte, a *answer) {
	id, ip, port := s.onlyNode()
	a.array(1)
	a.array(3)
	a.integer(0)
	a.integer(slots - 1)
	a.array(4)
	a.bulk(ip)
	a.integer(port)
	a.bulk(id)
	a.pairs(0)
}

func clusterShards(s *session, _ [][]byte, a *answer) {
	id, ip, port := s.onlyNode()
	a.array(1)
	a.pairs(2)
	a.bulk("slots")
	a.array(2)
	a.integer(0)
	a.integer(slots - 1)
	a.bulk("nodes")
	a.array(1)
	a.pairs(7)
	a.bulk("id", id, "tls-port")
	a.integer(port)
	a.bulk("ip", ip, "endpoint", ip, "role", "master", "replication-offset")
	a.integer(0)
	a.bulk("health", "online")
}

func clusterNodes(s *session, _ [][]byte, a *answer) {
	id, ip, port := s.onlyNode()
	a.text(fmt.Sprintf("%s %s:%d@0 myself,master - 0 0 0 connected 0-%d\n", id, ip, port, slots-1))
}

func clusterInfo(_ *session, _ [][]byte, a *answer) {
	a.text(fmt.Sprintf("cluster_state:ok\r\ncluster_slots_assigned:%d\r\ncluster_slots_ok:%[1]d\r\ncluster_known_nodes:1\r\ncluster_size:1\r\n", slots))
}
