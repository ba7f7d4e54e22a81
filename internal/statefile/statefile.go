// Package statefile keeps records in one file, which is always the one before a
// change or the one after it.
package statefile

import (
	"bufio"
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

// maxLine bounds a record that is read.
const maxLine = 16 << 20

// A File is open in one process at a time. It is safe for many goroutines.
type File struct {
	path string
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
// makes it. A file that is damaged, or that another process has open, is an error
// and stays as it is. The lock is a file of its own, path with .lock behind. The
// caller must Close it.
func Open(path string) (*File, error) {
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

func read(path string) (map[string][]byte, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return map[string][]byte{}, nil
	}
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
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	sum := sha256.New()
	records := map[string][]byte{}
	for n := 1; lines.Scan(); n++ {
		var l line
		switch err := json.Unmarshal(lines.Bytes(), &l); {
		case n == 1 && lines.Text() != header:
			return nil, errors.New("the first line is not that of a state file")
		case n == 1:
		case err != nil:
			return nil, fmt.Errorf("line %d: %w", n, err)
		case l.SHA256 != "" && (l.SHA256 != hexOf(sum) || lines.Scan()):
			return nil, errors.New("the checksum at its end is another one")
		case l.SHA256 != "":
			return records, nil
		default:
			records[l.Key] = l.Value
		}
		sum.Write(append(lines.Bytes(), '\n'))
	}
	return nil, errors.Join(lines.Err(), errors.New("its end is missing"))
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

// write replaces the file.
func write(path string, records map[string][]byte) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*") // with mode 0600
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
	var b bytes.Buffer
	b.WriteString(header + "\n")
	for _, key := range slices.Sorted(maps.Keys(records)) {
		quoted, _ := json.Marshal(key) // a string always can be
		fmt.Fprintf(&b, `{"key":%s,"value":%s}`+"\n", quoted, records[key])
	}
	sum := sha256.Sum256(b.Bytes())
	fmt.Fprintf(&b, `{"sha256":"%x"}`+"\n", sum)
	return b.Bytes()
}

// Close lets another process open the file.
func (f *File) Close() error { return f.lock.Close() }
