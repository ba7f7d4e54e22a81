// Package statefile keeps records in one file, which is always the one before a
// change or the one after it.
package statefile

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// format is what the first line of a file says.
const format = "rediam emulator state 1"

// lockWait is how long a process that has been killed may take to end.
const lockWait = time.Second

// A File is open in one process at a time. It is safe for many goroutines.
type File struct {
	path string // without symbolic links
	lock *os.File

	mu      sync.Mutex // guards below, and the file
	records map[string][]byte
}

// A line of the file is a record; the last holds the checksum of those before it.
type line struct {
	Key    string          `json:"key,omitempty"`
	Value  json.RawMessage `json:"value,omitempty"`
	SHA256 string          `json:"sha256,omitempty"`
}

// Open reads the file, or begins with no record if there is none: the first Put
// makes it. A file that is damaged, that cannot be written or that another process
// has open is an error and stays as it is. The lock is a file of its own, path with
// .lock behind. Where path is a symbolic link, all that is about the file it leads
// to, and the link stays. The caller must Close it.
func Open(path string) (*File, error) {
	path, err := resolve(path)
	if err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	f := &File{path: path, lock: lock}
	for end := time.Now().Add(lockWait); !tryLock(lock); time.Sleep(lockWait / 100) {
		if time.Now().After(end) {
			lock.Close()
			return nil, fmt.Errorf("%s is in use by another process", path)
		}
	}
	if f.records, err = read(path); err != nil {
		lock.Close()
		return nil, err
	}
	return f, nil
}

// resolve follows symbolic links, so that a file has one lock whatever it is called.
func resolve(path string) (string, error) {
	real, err := filepath.EvalSymlinks(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return real, err
	}
	if _, err := os.Lstat(path); err == nil {
		return "", fmt.Errorf("%s is a symbolic link to a file that is not there", path)
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	return filepath.Join(dir, filepath.Base(path)), err
}

func read(path string) (map[string][]byte, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return map[string][]byte{}, nil
	}
	if err != nil {
		return nil, err
	}
	switch mode := info.Mode(); {
	case !mode.IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", path)
	case mode&0o200 == 0: // Put would replace it all the same
		return nil, fmt.Errorf("%s is read-only", path)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	records, err := parse(file)
	if err != nil {
		return nil, fmt.Errorf("%s is damaged, and has been left as it is: %w", path, err)
	}
	return records, nil
}

func parse(r io.Reader) (map[string][]byte, error) {
	first := make([]byte, len(header)+1)
	if _, err := io.ReadFull(r, first); err != nil || string(first) != header+"\n" { // before the rest, whose size nobody knows
		return nil, errors.New("the first line is not that of a state file")
	}
	rest, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	sum.Write(first)
	records := map[string][]byte{}
	n, left := 1, len(rest)
	for text := range bytes.Lines(rest) {
		n, left = n+1, left-len(text)
		var l line
		switch err := json.Unmarshal(text, &l); {
		case err != nil:
			return nil, fmt.Errorf("line %d: %w", n, err)
		case l.SHA256 == "":
			records[l.Key] = l.Value
			sum.Write(text)
		case l.SHA256 != hexOf(sum) || left > 0:
			return nil, errors.New("the checksum at its end is another one")
		default:
			return records, nil
		}
	}
	return nil, errors.New("its end is missing")
}

var header = func() string {
	text, _ := json.Marshal(map[string]string{"format": format})
	return string(text)
}()

func hexOf(sum hash.Hash) string { return hex.EncodeToString(sum.Sum(nil)) }

// Records are all that there are; the map is the caller's, the values are not.
func (f *File) Records() map[string][]byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.records)
}

// Put sets records, which are JSON, and takes away those that are nil. When it has
// returned nil, they are in the file, all of them, whatever becomes of the process;
// if it returns an error, none is. When the machine fails, the file may be the one
// before.
func (f *File) Put(records map[string][]byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	next := maps.Clone(f.records)
	for key, value := range records {
		if value == nil {
			delete(next, key)
		} else {
			next[key] = value
		}
	}
	if err := write(f.path, next); err != nil {
		return err
	}
	f.records = next
	return nil
}

// write replaces the file. A process that is killed in between leaves the new one
// behind, as path with .new behind, for the next to take away.
func write(path string, records map[string][]byte) (err error) {
	if err := os.Remove(path + ".new"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := os.OpenFile(path+".new", os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(file.Name())
		}
	}()
	_, err = file.Write(encode(records))
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	return err
}

func encode(records map[string][]byte) []byte {
	size := 0
	for key, value := range records {
		size += len(key) + len(value) + len(`{"key":"","value":}`+"\n")
	}
	b := make([]byte, 0, size+size/8+256) // growing would take longer than all the rest
	b = append(b, header+"\n"...)
	for _, key := range slices.Sorted(maps.Keys(records)) {
		quoted, _ := json.Marshal(key) // a string always can be
		b = append(append(b, `{"key":`...), quoted...)
		b = append(append(b, `,"value":`...), records[key]...)
		b = append(b, "}\n"...)
	}
	return fmt.Appendf(b, `{"sha256":"%x"}`+"\n", sha256.Sum256(b))
}

// Close lets another process open the file.
func (f *File) Close() error { return f.lock.Close() }
