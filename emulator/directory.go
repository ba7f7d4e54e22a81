package emulator

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A directory has its first name until it is locked: nobody sweeps that away.
const (
	unlockedPrefix = "rediam-starting-"
	lockedPrefix   = "rediam-emulator-"
)

// directory is where an emulator keeps what has to be a file. Only its user can
// enter it. A lock on it tells the next emulator whether its owner still lives,
// which takes away what a killed one left.
type directory struct {
	path string
	lock *os.File
}

func newDirectory() (*directory, error) {
	sweep()
	path, err := os.MkdirTemp("", unlockedPrefix) // with mode 0700
	if err != nil {
		return nil, fmt.Errorf("make a temporary directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(path, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err == nil && !tryLock(lock) {
		err = fmt.Errorf("%s: somebody else has locked it", path)
	}
	named := filepath.Join(filepath.Dir(path), lockedPrefix+strings.TrimPrefix(filepath.Base(path), unlockedPrefix))
	if err == nil {
		err = os.Rename(path, named)
	}
	if err != nil {
		lock.Close() // also of none
		os.RemoveAll(path)
		return nil, err
	}
	return &directory{named, lock}, nil
}

// sweep removes the directories of emulators that were killed.
func sweep() {
	if !sweeps {
		return
	}
	for _, path := range glob(unlockedPrefix) {
		if info, err := os.Stat(path); err == nil && time.Since(info.ModTime()) > time.Minute {
			os.RemoveAll(path)
		}
	}
	for _, path := range glob(lockedPrefix) {
		lock, err := os.OpenFile(filepath.Join(path, "lock"), os.O_RDWR, 0)
		if err != nil { // another user's, or one that is being made
			continue
		}
		if tryLock(lock) {
			os.RemoveAll(path)
		}
		lock.Close()
	}
}

func glob(prefix string) []string {
	found, err := filepath.Glob(filepath.Join(os.TempDir(), prefix+"*"))
	if err != nil { // TMPDIR is a broken pattern
		return nil
	}
	return found
}

func (d *directory) file(name string) string { return filepath.Join(d.path, name) }

func (d *directory) write(name string, data []byte) error {
	return os.WriteFile(d.file(name), data, 0o600)
}

func (d *directory) make(name string) error { return os.Mkdir(d.file(name), 0o700) }

func (d *directory) remove() {
	os.RemoveAll(d.path)
	d.lock.Close()
}
