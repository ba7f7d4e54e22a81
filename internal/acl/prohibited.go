package acl

import "strings"

// prohibitedCommands are those that ElastiCache denies to everyone (user guide,
// "Supported and restricted Valkey and Redis OSS commands"); of a container
// without subcommand, the whole. The guide says that an access string which
// specifies one is refused, and does not tell "-debug" from "+debug": both are.
var prohibitedCommands = [...]string{
	"acl|deluser", "acl|load", "acl|save", "acl|setuser",
	"bgrewriteaof", "bgsave",
	"cluster|addslots", "cluster|addslotsrange", "cluster|bumpepoch",
	"cluster|delslots", "cluster|delslotsrange", "cluster|failover",
	"cluster|flushslots", "cluster|forget", "cluster|links", "cluster|meet",
	"cluster|setslot",
	"config", "debug", "migrate", "psync", "replicaof", "save", "shutdown",
	"slaveof", "sync",
}

// Prohibited reports whether AWS denies a command to everybody, whatever an access
// string says; name is as ACL rules spell it, in any case.
func Prohibited(name string) bool { return prohibited(lower(name)) }

// prohibited reports whether a command, by its lower-case name, is prohibited
// or belongs to a container that is.
func prohibited(name string) bool {
	container, _, _ := strings.Cut(name, "|")
	for _, p := range prohibitedCommands {
		if p == name || p == container {
			return true
		}
	}
	return false
}
