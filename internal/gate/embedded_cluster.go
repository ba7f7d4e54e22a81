package gate

import (
	"bytes"
	"crypto/sha1"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/rediam/rediam/internal/command"
)

// On AWS a MemoryDB cluster and a serverless cache speak to clients as a cluster,
// and a replication group does if it was made so. On the embedded engine every
// cache answers a client that asks as a cluster of one node, the address being
// that which the client came to. A client that does not ask sees a single node; only
// if the cache is in cluster mode are there the limits of that.

// hashSlots is how many there are.
const hashSlots = 16384

// The texts are those of Redis 7.0.
const (
	textCrossSlot    = "CROSSSLOT Keys in request don't hash to the same slot"
	textNotInCluster = "ERR %s is not allowed in cluster mode"
)

// slotError is the error for a command that a cache in cluster mode does not take:
// one with keys of several slots, or about another database, of which Valkey has some
// from 9.0 on. Within MULTI it notes the slots, which EXEC looks at.
func (s *session) slotError(args [][]byte) string {
	c, ok := command.Lookup(args)
	if !ok || !s.clustered {
		return ""
	}
	leaves := c.Name == "move" || c.Name == "swapdb"
	if c.Name == "select" && len(args) == 2 {
		n, err := strconv.Atoi(string(args[1]))
		leaves = n != 0 && err == nil
	}
	if leaves {
		if cache, _ := s.gate.World.Cache(s.gate.Cache); cache.Engine != "valkey" || !cache.AtLeast(9, 0) {
			return fmt.Sprintf(textNotInCluster, strings.ToUpper(c.Name))
		}
	}
	keys, _ := c.AppendKeys(nil, args)
	keys = slices.DeleteFunc(keys, func(k command.Key) bool { return k.Every })
	for _, k := range keys {
		if slotOf(args[k.Index]) != slotOf(args[keys[0].Index]) {
			return textCrossSlot
		}
	}
	if len(keys) > 0 && s.slots != nil {
		s.slots[slotOf(args[keys[0].Index])] = true
	}
	return ""
}

// slotOf is the hash slot of a key: CRC16 (XMODEM) of what is between its first { and
// the next }, unless that is nothing (Redis cluster specification, "Hash tags").
func slotOf(key []byte) (crc uint16) {
	if _, after, ok := bytes.Cut(key, []byte("{")); ok {
		if tag, _, ok := bytes.Cut(after, []byte("}")); ok && len(tag) > 0 {
			key = tag
		}
	}
	for _, b := range key {
		crc ^= uint16(b) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return crc % hashSlots
}

// mode is the cache's in the words of HELLO and INFO.
func (s *session) mode() string {
	if s.clustered {
		return "cluster"
	}
	return "standalone"
}

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
	a.integer(hashSlots - 1)
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
	a.integer(hashSlots - 1)
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
	a.text(fmt.Sprintf("%s %s:%d@0 myself,master - 0 0 0 connected 0-%d\n", id, ip, port, hashSlots-1))
}

func clusterKeySlot(_ *session, args [][]byte, a *answer) { a.integer(int64(slotOf(args[2]))) }

func clusterInfo(_ *session, _ [][]byte, a *answer) {
	a.text(fmt.Sprintf("cluster_state:ok\r\ncluster_slots_assigned:%d\r\ncluster_slots_ok:%[1]d\r\ncluster_known_nodes:1\r\ncluster_size:1\r\n", hashSlots))
}
