// Package command knows what every Redis and Valkey command is: how many
// arguments it takes, what it may do, and which of its arguments are keys or
// channels. The table is what Redis OSS 7.0 and Valkey 8.1 answer to COMMAND.
package command

import (
	"bytes"
	"iter"
)

//go:generate go run gen/main.go -o table.go

// Command describes one command or subcommand. The values that this package
// hands out are shared: they may be read by many goroutines and changed by none.
type Command struct {
	ID         int    // position in All, below Count
	Name       string // lower case, as ACL rules and COMMAND LIST spell it: "get", "config|get"
	Arity      int    // number of arguments with the name; negative: at least that many
	Flags      Flags
	Categories Categories
	Engines    Engines
	Container  bool // its second argument names a subcommand

	keys []keySpec
}

// Flags are the command flags of COMMAND INFO.
type Flags uint32

// The flags; see "COMMAND", section Flags, of the Redis and Valkey documentation.
const (
	FlagAdmin Flags = 1 << iota
	FlagAllowBusy
	FlagAsking
	FlagBlocking
	FlagDenyOOM
	FlagFast
	FlagLoading
	FlagMovableKeys
	FlagNoAsyncLoading
	FlagNoAuth
	FlagNoMandatoryKeys
	FlagNoMulti
	FlagNoScript
	FlagPubSub
	FlagReadOnly
	FlagSkipCommandlog
	FlagSkipMonitor
	FlagSkipSlowlog
	FlagStale
	FlagWrite
)

// Has reports whether all of want are set.
func (f Flags) Has(want Flags) bool { return f&want == want }

// Categories are the ACL categories of a command.
type Categories uint32

// The categories, in the order of ACL CAT.
const (
	CategoryKeyspace Categories = 1 << iota
	CategoryRead
	CategoryWrite
	CategorySet
	CategorySortedSet
	CategoryList
	CategoryHash
	CategoryString
	CategoryBitmap
	CategoryHyperLogLog
	CategoryGeo
	CategoryStream
	CategoryPubSub
	CategoryAdmin
	CategoryFast
	CategorySlow
	CategoryBlocking
	CategoryDangerous
	CategoryConnection
	CategoryTransaction
	CategoryScripting
)

// categoryNames are in the order of the constants.
var categoryNames = [...]string{
	"keyspace", "read", "write", "set", "sortedset", "list", "hash", "string",
	"bitmap", "hyperloglog", "geo", "stream", "pubsub", "admin", "fast", "slow",
	"blocking", "dangerous", "connection", "transaction", "scripting",
}

// Category finds a category by its name in any case, without the "@". "all" is
// not a category of any command and is not found.
func Category(name string) (Categories, bool) {
	for i, n := range categoryNames {
		if is(name, n) {
			return 1 << i, true
		}
	}
	return 0, false
}

// Engines says which engines have a command. Where both have it, the row is
// Valkey's; of what ACL rules look at, only WAIT differs (@blocking in Valkey).
type Engines uint8

const (
	Redis  Engines = 1 << iota // Redis OSS 7.0
	Valkey                     // Valkey 8.1
)

// All yields every command and subcommand, sorted by name.
func All() iter.Seq[*Command] {
	return func(yield func(*Command) bool) {
		for i := range table {
			if !yield(&table[i]) {
				return
			}
		}
	}
}

// maxName is more than the longest name in the table ("command|getkeysandflags").
const maxName = 32

// Lookup finds the command that a request names, in any case: the subcommand
// where args[0] is a container and args[1] exists. It does not check the arity.
// A container with an unknown subcommand is not found, as in the engines.
// It does not allocate.
func Lookup(args [][]byte) (*Command, bool) {
	if len(args) == 0 || bytes.IndexByte(args[0], '|') >= 0 {
		return nil, false
	}
	var buf [maxName]byte
	n, ok := lower(buf[:], args[0])
	if !ok {
		return nil, false
	}
	c, ok := find(buf[:n])
	if !ok || !c.Container || len(args) == 1 {
		return c, ok
	}
	buf[n] = '|'
	m, ok := lower(buf[n+1:], args[1])
	if !ok {
		return nil, false
	}
	return find(buf[:n+1+m])
}

// Named finds a command by the name that ACL rules use, in any case: "get",
// "config|get".
func Named(name string) (*Command, bool) {
	var buf [maxName]byte
	n, ok := lower(buf[:], name)
	if !ok {
		return nil, false
	}
	return find(buf[:n])
}

// lower writes name to dst in lower case and leaves at least one byte of dst
// free; it reports false for a name that is too long to be in the table.
func lower[T []byte | string](dst []byte, name T) (int, bool) {
	if len(name) >= len(dst) {
		return 0, false
	}
	for i := range len(name) {
		b := name[i]
		if 'A' <= b && b <= 'Z' {
			b += 'a' - 'A'
		}
		dst[i] = b
	}
	return len(name), true
}

func find(name []byte) (*Command, bool) {
	lo, hi := 0, len(table)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if table[mid].Name < string(name) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo < len(table) && table[lo].Name == string(name) {
		return &table[lo], true
	}
	return nil, false
}
