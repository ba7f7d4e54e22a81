package command

// flagNames are in the order of the constants.
var flagNames = [...]string{
	"admin", "allow_busy", "asking", "blocking", "denyoom", "fast", "loading",
	"movablekeys", "no_async_loading", "no_auth", "no_mandatory_keys",
	"no_multi", "noscript", "pubsub", "readonly", "skip_commandlog",
	"skip_monitor", "skip_slowlog", "stale", "write",
}

// Names are the flags as COMMAND INFO spells them.
func (f Flags) Names() []string { return names(flagNames[:], uint32(f)) }

// Names are the categories as ACL CAT spells and orders them.
func (c Categories) Names() []string { return names(categoryNames[:], uint32(c)) }

// AllCategories has every category.
const AllCategories = Categories(1<<len(categoryNames) - 1)

func names(all []string, set uint32) (out []string) {
	for i, name := range all {
		if set>>i&1 != 0 {
			out = append(out, name)
		}
	}
	return out
}

// Range tells where keys are in the terms of COMMAND INFO: the first, the last
// (from the end if negative) and the step between them. All are 0 where that
// cannot be said so simply.
func (c *Command) Range() (first, last, step int) {
	switch c.Name { // there is no specification of these
	case "set", "bitfield", "sort", "sort_ro":
		return 1, 1, 1
	case "migrate":
		return 3, 3, 1
	case "spublish": // channels of shards, which have slots as keys do
		return 1, 1, 1
	case "ssubscribe", "sunsubscribe":
		return 1, -1, 1
	}
	if len(c.keys) == 1 && c.keys[0].ranges() {
		k := &c.keys[0]
		return k.first, k.end(), k.step
	}
	for i := range c.keys {
		k := &c.keys[i]
		if !k.ranges() || k.step != 1 || last != 0 && k.first != last+1 {
			continue
		}
		if first == 0 {
			first = k.first
		}
		last, step = k.end(), 1
	}
	return first, last, step
}

func (s *keySpec) ranges() bool { return s.keyword == "" && !s.counted }

// end is the position of the last key.
func (s *keySpec) end() int {
	if s.last < 0 {
		return s.last
	}
	return s.first + s.last
}
