package gate

import (
	"bytes"
	"fmt"
	"strings"
)

// textNoKeys is what serverless caches have answered to scripts without keys; the
// guides do not tell of it (github.com/django/channels_redis/issues/379).
const textNoKeys = "ERR Lua scripts without any input keys are not supported."

// notServerless are the commands that a serverless cache does not have besides those
// that no cache has (ElastiCache user guide, "Supported and restricted Valkey and
// Redis OSS commands"), with all subcommands where the container is listed. The guide
// has COMMANDLOG both here and among the supported ones: it is left to the engine.
var notServerless = words(`
	acl|log client|caching client|getredir client|id client|info client|kill client|list
	client|no-evict client|pause client|tracking client|trackinginfo client|unblock
	client|unpause cluster|count-failure-reports fcall fcall_ro function keys lastsave
	latency memory monitor move object pfdebug pfselftest psubscribe pubsub|numpat
	punsubscribe script|kill slowlog swapdb wait`)

func words(s string) map[string]bool {
	set := map[string]bool{}
	for _, w := range strings.Fields(s) {
		set[w] = true
	}
	return set
}

// withheld is the error for a command that a serverless cache does not have; empty if
// it has it. Users report that such commands are unknown there, and not forbidden
// (github.com/redisson/redisson/issues/6466, github.com/langfuse/langfuse/issues/9443).
func (s *session) withheld(args [][]byte) string {
	name := word(args[0])
	switch name {
	case "flushall", "flushdb": // the guide says that they cannot be in a transaction, not what the answer is
		if s.transaction() {
			return fmt.Sprintf(textInMulti, strings.ToUpper(name))
		}
	case "eval", "evalsha", "eval_ro", "evalsha_ro":
		if len(args) > 2 && bytes.Equal(args[2], []byte("0")) {
			return textNoKeys
		}
	}
	switch {
	case notServerless[name]:
		return unknownCommand(args)
	case len(args) > 1 && notServerless[name+"|"+word(args[1])]:
		return unknownSubcommand(args)
	}
	return ""
}
