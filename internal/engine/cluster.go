package engine

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	random "math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A Cluster is how clients reach the nodes of one. That is not where its engines
// listen.
type Cluster struct {
	Ports []int  // on 127.0.0.1, one for each node
	Host  string // what clients are told in place of 127.0.0.1; empty means just that
}

const (
	slots = 16384

	// Ports of the cluster bus lie below those that Linux gives to outgoing
	// connections, from 32768 up, which come and go.
	minBusPort, maxBusPort = 10000, 32767

	// clusterTries is how often a cluster is started. Between the moment when a
	// port of the bus is found free and that when the engine, which cannot be
	// handed a socket, listens on it, another process may take it.
	clusterTries = 5

	// textBusTaken is in what engines print in that case. Their own tests match it.
	textBusTaken = "(cluster), aborting"
)

var errBusTaken = errors.New("its port on the cluster bus is taken")

// startCluster starts a program once for each node, in directories below dir.
func startCluster(ctx context.Context, path, dir string, c Cluster) ([]Engine, error) {
	if err := writeBusKey(filepath.Join(dir, busKeyFile)); err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		members, err := c.members()
		if err != nil {
			return nil, err
		}
		engines, err := form(ctx, path, dir, members)
		if !errors.Is(err, errBusTaken) || try == clusterTries {
			return engines, err
		}
	}
}

// A member is a node of a cluster that is to be formed.
type member struct {
	id          string
	port, bus   int
	host        string
	first, last int // its slots
}

// members are the nodes of a cluster, each with as many slots as the others.
func (c Cluster) members() ([]member, error) {
	n := len(c.Ports)
	buses, err := freeBusPorts(n)
	if err != nil {
		return nil, err
	}
	var members []member
	for i, port := range c.Ports {
		members = append(members, member{newNodeID(), port, buses[i], c.Host, i * slots / n, (i+1)*slots/n - 1})
	}
	return members, nil
}

func newNodeID() string {
	id := make([]byte, 20)
	rand.Read(id)
	return hex.EncodeToString(id)
}

// freeBusPorts finds n ports on which nobody listens. It holds each until it has
// all of them, so that none comes twice.
func freeBusPorts(n int) (ports []int, err error) {
	for range 1000 {
		if len(ports) == n {
			return ports, nil
		}
		port := minBusPort + random.IntN(maxBusPort-minBusPort+1)
		if l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			defer l.Close()
			ports = append(ports, port)
		}
	}
	return nil, fmt.Errorf("there are no free ports for the cluster bus from %d to %d", minBusPort, maxBusPort)
}

// form starts all members at once, since each takes two seconds until it answers
// for its slots (CLUSTER_WRITABLE_DELAY of the engines). The first error ends the
// rest.
func form(ctx context.Context, path, dir string, members []member) ([]Engine, error) {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	engines := make([]Engine, len(members))
	failed := make(chan error, len(members))
	var starting sync.WaitGroup
	for i := range members {
		starting.Go(func() {
			c, err := startMember(ctx, path, dir, members, i)
			if err != nil {
				failed <- err
				cancel()
				return
			}
			engines[i] = c
		})
	}
	starting.Wait()
	if len(failed) == 0 {
		return engines, nil
	}
	for _, e := range engines {
		if e != nil {
			e.Close()
		}
	}
	return nil, <-failed
}

// startMember starts one of the members and waits until it sees the cluster work.
func startMember(ctx context.Context, path, dir string, members []member, i int) (*child, error) {
	own := filepath.Join(dir, strconv.Itoa(i))
	if err := os.MkdirAll(own, 0o700); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(own, nodesFile), nodes(members, i), 0o600); err != nil {
		return nil, err
	}
	c, err := startChild(ctx, path, own, members[i].configuration(filepath.Join(dir, busKeyFile))...)
	if err != nil {
		return nil, err
	}
	if err := c.awaitCluster(ctx, members); err != nil {
		c.Close()
		return nil, fmt.Errorf("engine %s forms no cluster: %w%s", filepath.Base(path), err, c.output.lastLine())
	}
	return c, nil
}

// nodesFile is what a node knows of its cluster, written in advance in place of
// introducing the nodes to one another.
const nodesFile = "nodes.conf"

// nodes is that file for the member with index myself: lines as of CLUSTER NODES,
// with epochs that differ, since no two nodes may have the same. An engine that knows
// of shards, from Redis 7.2 on, forgets its own in CLUSTER SHARDS unless it finds a
// shard-id here. An older one takes that for a part of the host name, until it hears
// the name from the node itself, for which awaitCluster waits.
func nodes(members []member, myself int) []byte {
	var b strings.Builder
	for i, m := range members {
		flags := "master"
		if i == myself {
			flags = "myself,master"
		}
		fmt.Fprintf(&b, "%s 127.0.0.1:%d@%d,%s,shard-id=%s %s - 0 0 %d connected %d-%d\n", m.id, m.port, m.bus, m.host, m.id, flags, i+1, m.first, m.last)
	}
	fmt.Fprintf(&b, "vars currentEpoch %d lastVoteEpoch 0\n", len(members))
	return []byte(b.String())
}

// address is how CLUSTER NODES tells of the node.
func (m member) address() string {
	address := fmt.Sprintf("127.0.0.1:%d@%d", m.port, m.bus)
	if m.host != "" {
		address += "," + m.host
	}
	return address
}

// configuration makes an engine a node. It listens to the other nodes alone, on
// loopback, and lets in who has the key of the bus. It announces the same port for
// plain connections and for TLS: clients come from the gate without TLS, and have
// spoken it to the gate.
func (m member) configuration(busKey string) []string {
	lines := []string{
		"bind 127.0.0.1",
		"cluster-enabled yes",
		"cluster-config-file " + nodesFile,
		fmt.Sprintf("cluster-port %d", m.bus),
		"cluster-announce-ip 127.0.0.1",
		fmt.Sprintf("cluster-announce-port %d", m.port),
		fmt.Sprintf("cluster-announce-tls-port %d", m.port),
		"tls-cluster yes",
		"tls-auth-clients yes",
		fmt.Sprintf("tls-cert-file %q", busKey),
		fmt.Sprintf("tls-key-file %q", busKey),
		fmt.Sprintf("tls-ca-cert-file %q", busKey),
	}
	if m.host != "" {
		lines = append(lines, fmt.Sprintf("cluster-announce-hostname %q", m.host), "cluster-preferred-endpoint-type hostname")
	}
	return lines
}

// awaitCluster waits until the node answers for its slots and knows all the others
// by the addresses that they announce.
func (c *child) awaitCluster(ctx context.Context, members []member) error {
	a, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer a.conn.Close()
	for {
		formed, err := a.seesCluster(members)
		if formed {
			return nil
		}
		select {
		case <-c.done:
			return errors.New("it has ended")
		case <-ctx.Done():
			if err == nil {
				err = ctx.Err()
			}
			return err
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (a *admin) seesCluster(members []member) (bool, error) {
	info, err := a.do("CLUSTER", "INFO")
	if err != nil || !strings.Contains(info, "cluster_state:ok\r\n") {
		return false, err
	}
	list, err := a.do("CLUSTER", "NODES")
	if err != nil {
		return false, err
	}
	connected := map[string]string{} // addresses by id
	for line := range strings.Lines(list) {
		if f := strings.Fields(line); len(f) > 7 && f[7] == "connected" {
			connected[f[0]] = f[1]
		}
	}
	for _, m := range members {
		if connected[m.id] != m.address() {
			return false, nil
		}
	}
	return true, nil
}
