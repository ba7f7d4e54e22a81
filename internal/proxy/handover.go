package proxy

import (
	"bytes"
	"strings"
	"sync"
	"time"

	"github.com/rediam/rediam/internal/command"
	"github.com/rediam/rediam/internal/resp"
)

// A connection to the cache can be another client's once the one that has had it is
// gone, if that has left nothing behind, or only what can be wiped away: then the
// next client is spared a handshake and a sign-in, of which AWS allows so many.

// traces are what a client has left on the server's side of its connection.
type traces uint8

const (
	protocol  traces = 1 << iota // HELLO
	database                     // SELECT
	watches                      // WATCH
	label                        // CLIENT SETNAME, and HELLO SETNAME
	library                      // CLIENT SETINFO
	indelible                    // anything that is not known to be one of these, or nothing
)

// maxTraced is after how many requests a client is not one of those for whom a
// connection is worth keeping: they are looked at no more.
const maxTraced = 1000

// tracing is whether requests are looked at for what they leave behind.
func (s *Session) tracing() bool { return s.Keep && s.traces&indelible == 0 }

// untraced is whether a request need not be looked at for what it leaves behind, by its
// name: most need not.
func (s *Session) untraced(name []byte) bool {
	if !s.tracing() {
		return true
	}
	if s.traced == maxTraced || !traceless()[string(name)] {
		return false
	}
	s.traced++
	return true
}

// traceless are the names of commands, in lower and in upper case, that leave nothing
// behind whatever follows them.
var traceless = sync.OnceValue(func() map[string]bool {
	names := map[string]bool{}
	for c := range command.All() {
		if !c.Container && c.Categories&statefulCategories == 0 && marks[c.Name] == 0 {
			names[c.Name], names[strings.ToUpper(c.Name)] = true, true
		}
	}
	return names
})

// trace notes what a request that is passed on leaves behind.
func (s *Session) trace(words [][]byte) {
	if s.traced++; s.traced > maxTraced {
		s.traces |= indelible
		return
	}
	c, known := command.Lookup(words)
	switch {
	case !known: // a module's, or of a newer server
		s.traces |= indelible
	case marks[c.Name] != 0:
		s.traces |= marks[c.Name]
	case c.Categories&statefulCategories != 0 && !harmless[c.Name]:
		s.traces |= indelible
	}
}

// statefulCategories hold, by what commands are for, all that change something about
// a connection; of the rest SCRIPT DEBUG alone does.
const statefulCategories = command.CategoryConnection | command.CategoryTransaction | command.CategoryPubSub | command.CategoryAdmin

var marks = map[string]traces{
	"hello": protocol | label, "select": database, "watch": watches, "client|setname": label, "client|setinfo": library,
	"script|debug": indelible,
}

// harmless are those of the stateful categories that leave nothing behind once they
// are answered, or that the session follows.
var harmless = map[string]bool{
	"auth": true, // which is answered here
	"ping": true, "echo": true, "wait": true, "waitaof": true, "command": true, "command|count": true, "command|docs": true, "command|info": true,
	"command|list": true, "command|getkeys": true, "command|getkeysandflags": true, "client|id": true, "client|info": true, "client|list": true,
	"client|getname": true, "client|getredir": true, "client|trackinginfo": true, "client|unblock": true, "client|help": true,
	"multi": true, "exec": true, "discard": true, "unwatch": true,
	"publish": true, "spublish": true, "pubsub|channels": true, "pubsub|numsub": true, "pubsub|numpat": true, "pubsub|shardchannels": true,
	"pubsub|shardnumsub": true,
}

// quits is whether a request asks the server to close the connection, which is to be
// kept.
func quits(words [][]byte) bool { return bytes.EqualFold(words[0], []byte("quit")) }

// Leave is for a client that has gone. If its connection can be another client's, ok,
// it returns what has to be written to the server for that; when everything is
// answered, Left says whether it has been done. The session takes no requests any more.
func (s *Session) Leave() (up []byte, ok bool) {
	if !s.tracing() || !s.Safe() || s.barred() || s.subscribed() || s.unsure || s.lifted || !s.requests.Idle() {
		return nil, false
	}
	s.hold = true
	for _, w := range []struct {
		trace traces
		words []string
	}{
		{protocol, []string{"HELLO", "2"}},
		{database, []string{"SELECT", "0"}},
		{watches, []string{"UNWATCH"}},
		{label, []string{"CLIENT", "SETNAME", ""}},
		{library, []string{"CLIENT", "SETINFO", "LIB-NAME", ""}},
		{library, []string{"CLIENT", "SETINFO", "LIB-VER", ""}},
	} {
		if s.traces&w.trace == 0 {
			continue
		}
		up = resp.AppendCommand(up, w.words...)
		k := wipes
		if w.trace == library { // what cannot be unset could not be set: older servers do not know it
			k = swallowed
		}
		s.expect(awaited{kind: k, count: 1})
	}
	return up, true
}

// goes notes that the client has gone, at once, and whether its connection may become
// another client's.
func (j *joint) goes() {
	j.mu.Lock()
	j.leaves = j.session.tracing() && j.session.Safe() && !j.ending // a renewal that waits until it is safe would not end
	j.mu.Unlock()
	if j.leaves {
		j.proxy.spares.expect()
	}
}

// leave makes the server's connection fit for another client, if that can be. It does
// not wait for what the client has not waited for: an element that a BLPOP pops now
// would be lost. stop ends renewals, and waits for one that goes on.
func (j *joint) leave(stop func()) (kept bool) {
	if !j.leaves {
		return false
	}
	defer func() {
		if !kept {
			j.proxy.spares.miss()
		}
	}()
	stop()
	if !j.wipe() || !j.settled() || !j.driver.release() {
		return false
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	answered, done := j.session.Left()
	j.over = answered && done
	return j.over
}

func (j *joint) wipe() bool {
	j.up.Lock()
	defer j.up.Unlock()
	j.mu.Lock()
	up, ok := j.session.Leave()
	j.mu.Unlock()
	if !ok || len(up) == 0 {
		return ok
	}
	_, err := j.server.Conn.Write(up)
	return err == nil
}

// settled waits until everything is answered, and has reached the client, for a while,
// and is false if it has not.
func (j *joint) settled() bool {
	late := time.Now().Add(finishTime)
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.unread || !j.session.Answered() {
		if j.over || j.ending || !time.Now().Before(late) {
			return false
		}
		stop := time.AfterFunc(time.Until(late), j.wake)
		j.changed.Wait()
		stop.Stop()
	}
	return true
}

// Left is whether what Leave has written has been answered, and done.
func (s *Session) Left() (answered, done bool) {
	return s.Answered(), s.traces&indelible == 0
}
