package gate

import (
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"

	"github.com/rediam/rediam/internal/command"
)

// engineVersion is what the engine of the cache calls itself.
func (s *session) engineVersion() (name, version string) {
	cache, _ := s.gate.World.Cache(s.gate.Cache)
	if version = cache.Version; strings.Count(version, ".") == 1 {
		version += ".0"
	}
	return cache.Engine, version
}

// engineKind is which commands that engine has.
func (s *session) engineKind() command.Engines {
	if name, _ := s.engineVersion(); name == "valkey" {
		return command.Valkey
	}
	return command.Redis
}

// valkeyCompatible is the redis_version of every Valkey so far.
const valkeyCompatible = "7.2.4"

// infoSections are the sections of INFO that there are, in its order. Clients look
// at loading, role, redis_mode, redis_version and cluster_enabled before they go on.
var infoSections = []struct {
	name string
	text func(*session) string
}{
	{"Server", (*session).infoServer},
	{"Clients", func(s *session) string {
		return fmt.Sprintf("connected_clients:%d\r\nmaxclients:%d\r\n", len(s.gate.live()), maxSessions)
	}},
	{"Persistence", func(*session) string { return "loading:0\r\nrdb_bgsave_in_progress:0\r\naof_enabled:0\r\n" }},
	{"Stats", func(s *session) string {
		return fmt.Sprintf("total_connections_received:%d\r\n", s.gate.received())
	}},
	{"Replication", func(*session) string { return "role:master\r\nconnected_slaves:0\r\n" }},
	{"Cluster", func(s *session) string {
		return fmt.Sprintf("cluster_enabled:%d\r\n", map[bool]int{true: 1}[s.clustered])
	}},
}

func (s *session) infoServer() string {
	name, version := s.engineVersion()
	lines := []string{"redis_version:" + version, "redis_mode:" + s.mode()}
	if name == "valkey" {
		lines = []string{"redis_version:" + valkeyCompatible, "server_name:valkey", "valkey_version:" + version, "server_mode:" + s.mode()}
	}
	_, port, _ := net.SplitHostPort(s.client.LocalAddr().String())
	lines = append(lines, "os:"+runtime.GOOS, "tcp_port:"+port)
	return strings.Join(lines, "\r\n") + "\r\n"
}

func (g *Gate) received() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.lastID
}

// info answers INFO [section …].
func info(s *session, args [][]byte, a *answer) {
	wanted := []string{"default"}
	if len(args) > 1 {
		wanted = nil
		for _, section := range args[1:] {
			wanted = append(wanted, word(section))
		}
	}
	all := slices.ContainsFunc(wanted, func(w string) bool { return w == "default" || w == "all" || w == "everything" })
	var sections []string
	for _, section := range infoSections {
		if all || slices.Contains(wanted, strings.ToLower(section.name)) {
			sections = append(sections, "# "+section.name+"\r\n"+section.text(s))
		}
	}
	a.text(strings.Join(sections, "\r\n"))
}
