package command

import (
	"bytes"
	"errors"
	"strconv"
)

// Access is what a command does to a key. Zero means that the command tells
// whether or what the key is but neither reads nor changes its value (EXISTS,
// TYPE, HLEN): any permission on the key is enough for it.
type Access uint8

const (
	Read Access = 1 << iota
	Write
	ReadWrite = Read | Write
)

// Key is one key of a request.
type Key struct {
	Index  int // of the argument
	Access Access
	// Every is true for the patterns of SORT's BY and GET: they may name any
	// key, so the engines demand the access to every key. COMMAND GETKEYS and
	// ACL DRYRUN do not list them; SORT itself refuses.
	Every bool
}

// ErrArguments means that the arguments of a request do not fit the command, so
// that not all of its keys can be told. The engines then take it to have none
// and let the command itself refuse; only PFMERGE with a single key runs.
var ErrArguments = errors.New("arguments do not fit the command")

// keySpec is a key specification ("Command key specifications" in the Redis and
// Valkey documentation). Those that the engines mark as unknown, incomplete or
// with variable flags are not in the table but in AppendKeys.
type keySpec struct {
	first   int    // first key; with keyword: where the search begins, from the end if negative
	keyword string // the keys come after it; no keys if it is missing
	counted bool   // a number of keys stands at first, the keys behind it
	last    int    // last key, relative to first, or from the end if negative
	limit   int    // keys take up 1/limit of what follows first; 0: all of it
	step    int
	access  Access
}

// AppendKeys appends the keys of a request to dst and returns it. args[0] is the
// command. With ErrArguments it returns those keys that could be told. It
// allocates only to grow dst.
func (c *Command) AppendKeys(dst []Key, args [][]byte) ([]Key, error) {
	switch c.Name {
	case "set":
		return appendSet(dst, args)
	case "bitfield":
		return appendBitfield(dst, args)
	case "sort", "sort_ro":
		return c.appendSort(dst, args)
	case "migrate":
		return appendMigrate(dst, args)
	}
	for i := range c.keys {
		var ok bool
		if dst, ok = c.keys[i].appendKeys(dst, args); !ok {
			return dst, ErrArguments
		}
	}
	return dst, nil
}

func (s *keySpec) appendKeys(dst []Key, args [][]byte) ([]Key, bool) {
	first := s.first
	if s.keyword != "" {
		if first = s.find(args); first == 0 {
			return dst, true
		}
	}
	if first >= len(args) {
		return dst, false
	}
	var last int
	switch {
	case s.counted:
		// Atoi takes "+1" and "01", which the engines refuse later: a count
		// that an embedded engine might take is a count here.
		n, err := strconv.Atoi(string(args[first]))
		if err != nil || n < 0 || n >= len(args)-first {
			return dst, false
		}
		if n == 0 {
			return dst, true
		}
		first, last = first+1, first+n
	case s.last >= 0:
		last = first + s.last
	case s.limit == 0:
		last = len(args) + s.last
	default:
		last = first + (len(args)-first)/s.limit + s.last
	}
	if last < first || last >= len(args) {
		return dst, false
	}
	for i := first; i <= last; i += s.step {
		dst = append(dst, Key{Index: i, Access: s.access})
	}
	return dst, true
}

// find returns the index behind the keyword, 0 if it is missing. The last
// argument is never a keyword, nothing would follow it.
func (s *keySpec) find(args [][]byte) int {
	for i := s.first; i < len(args)-1; i++ {
		if is(args[i], s.keyword) {
			return i + 1
		}
	}
	return 0
}

// SET key value … GET reads what it replaces.
func appendSet(dst []Key, args [][]byte) ([]Key, error) {
	if len(args) < 2 {
		return dst, ErrArguments
	}
	access := Write
	for i := 3; i < len(args); i++ {
		if is(args[i], "get") {
			access = ReadWrite
		}
	}
	return append(dst, Key{Index: 1, Access: access}), nil
}

// BITFIELD key with nothing but GET and OVERFLOW does not write.
func appendBitfield(dst []Key, args [][]byte) ([]Key, error) {
	if len(args) < 2 {
		return dst, ErrArguments
	}
	access := Read
	for i := 2; i < len(args); i++ {
		rest := len(args) - i - 1
		switch {
		case is(args[i], "get") && rest >= 2:
			i += 2
		case is(args[i], "overflow") && rest >= 1:
			i++
		default:
			access = ReadWrite
		}
	}
	return append(dst, Key{Index: 1, Access: access}), nil
}

// SORT key [BY pattern] [LIMIT offset count] [GET pattern …] [STORE destination]
func (c *Command) appendSort(dst []Key, args [][]byte) ([]Key, error) {
	if len(args) < 2 {
		return dst, ErrArguments
	}
	dst = append(dst, Key{Index: 1, Access: Read})
	store := 0
	for i := 2; i < len(args)-1; i++ {
		switch {
		case is(args[i], "limit"):
			i += 2
		case is(args[i], "by"):
			i++
			// A pattern without a star is no key: it says not to sort.
			if bytes.IndexByte(args[i], '*') >= 0 {
				dst = append(dst, Key{Index: i, Access: Read, Every: true})
			}
		case is(args[i], "get"):
			i++
			dst = append(dst, Key{Index: i, Access: Read, Every: true})
		case is(args[i], "store") && c.Name == "sort":
			store = i + 1 // the last one counts
		}
	}
	if store != 0 {
		dst = append(dst, Key{Index: store, Access: Write})
	}
	return dst, nil
}

// MIGRATE host port key|"" db timeout [COPY] [REPLACE] [AUTH password]
// [AUTH2 user password] [KEYS key …]
func appendMigrate(dst []Key, args [][]byte) ([]Key, error) {
	if len(args) < 6 {
		return dst, ErrArguments
	}
	first, last := 3, 3
	for i := 6; i < len(args); i++ {
		if is(args[i], "auth") {
			i++
		} else if is(args[i], "auth2") {
			i += 2
		} else if is(args[i], "keys") {
			first, last = i+1, len(args)-1
			if len(args[3]) > 0 || first > last {
				return dst, ErrArguments
			}
			break
		}
	}
	for i := first; i <= last; i++ {
		dst = append(dst, Key{Index: i, Access: ReadWrite})
	}
	return dst, nil
}

// Channels returns the arguments that name pub/sub channels to publish on or to
// subscribe to, and whether they are patterns. Unsubscribing needs no
// permission, so those commands have none here.
func (c *Command) Channels(args [][]byte) (channels [][]byte, patterns bool) {
	if len(args) < 2 {
		return nil, false
	}
	switch c.Name {
	case "subscribe", "ssubscribe":
		return args[1:], false
	case "psubscribe":
		return args[1:], true
	case "publish", "spublish":
		return args[1:2], false
	}
	return nil, false
}

// is reports whether arg is the lower-case ASCII word in any case.
func is[T []byte | string](arg T, word string) bool {
	if len(arg) != len(word) {
		return false
	}
	for i := range len(arg) {
		b := arg[i]
		if 'A' <= b && b <= 'Z' {
			b += 'a' - 'A'
		}
		if b != word[i] {
			return false
		}
	}
	return true
}
