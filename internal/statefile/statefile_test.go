package statefile_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rediam/rediam/internal/statefile"
)

func open(t testing.TB, path string) *statefile.File {
	t.Helper()
	f, err := statefile.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestRecordsAreThereAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	f := open(t, path)
	for _, records := range []map[string][]byte{
		{"a": []byte(`1`), "b/ü\n\"": []byte(`{"x":"y"}`), "c": []byte(`[]`)},
		{"c": nil, "a": []byte(`2`), "never": nil},
	} {
		if err := f.Put(records); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := statefile.Open(path); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("opened twice: %v", err)
	}
	f.Close()
	got := open(t, path).Records()
	if len(got) != 2 || string(got["a"]) != "2" || string(got["b/ü\n\""]) != `{"x":"y"}` {
		t.Errorf("records %q", got)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file has mode %v, %v", info.Mode(), err)
	}
}

// Wherever a file is cut or changed, it is refused and stays as it is.
func TestADamagedFileIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	f := open(t, path)
	if err := f.Put(map[string][]byte{"a": []byte(`"one"`), "b": []byte(`"two"`)}); err != nil {
		t.Fatal(err)
	}
	f.Close()
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var damaged [][]byte
	for i := range good {
		changed := slices.Clone(good)
		changed[i] ^= 4
		damaged = append(damaged, good[:i], changed)
	}
	for _, content := range append(damaged, append(slices.Clone(good), '\n', 'x')) {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if f, err := statefile.Open(path); err == nil {
			if string(content) != string(good[:len(good)-1]) { // all but the last LF says the same
				t.Errorf("%q is taken", content)
			}
			f.Close()
		} else if !strings.Contains(err.Error(), "damaged") {
			t.Errorf("%q: %v", content, err)
		}
		if after, _ := os.ReadFile(path); string(after) != string(content) {
			t.Errorf("%q has become %q", content, after)
		}
	}
}

func TestWhatCannotBeWrittenIsNotThere(t *testing.T) {
	dir := t.TempDir()
	f := open(t, filepath.Join(dir, "state"))
	if err := f.Put(map[string][]byte{"a": []byte(`1`)}); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir, dir+"-away"); err != nil {
		t.Fatal(err)
	}
	if err := f.Put(map[string][]byte{"b": []byte(`2`)}); err == nil {
		t.Error("written to a directory that is not there")
	}
	if err := os.Rename(dir+"-away", dir); err != nil {
		t.Fatal(err)
	}
	if got := slices.Collect(maps.Keys(f.Records())); len(got) != 1 {
		t.Errorf("records %v", got)
	}
	if left, _ := os.ReadDir(dir); len(left) != 2 { // and the lock
		t.Errorf("%d files are left", len(left))
	}
}

// What is given as a state file by mistake is refused, at once and for what it is.
func TestWhatIsNoStateFileIsRefused(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string, mode os.FileMode) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("empty", "", 0o600)
	write("foreign", strings.Repeat("\x00", 1<<20), 0o600)
	write("read-only", "", 0o400)
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "folder"), 0o700), os.Symlink("nowhere", filepath.Join(dir, "dangling"))); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"empty":      "is damaged, and has been left as it is: the first line is not that of a state file",
		"foreign":    "is damaged, and has been left as it is: the first line is not that of a state file",
		"read-only":  "is read-only",
		"folder":     "is not a regular file",
		"dangling":   "is a symbolic link to a file that is not there",
		"gone/state": "no such file or directory",
	} {
		path := filepath.Join(dir, name)
		before, _ := os.ReadFile(path)
		f, err := statefile.Open(path)
		if err == nil {
			f.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v, want …%s…", name, err, want)
		}
		if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
			t.Errorf("%s has become %.100q", name, after)
		}
	}
}

// A link stays a link, and does not make two files, or two locks, of one.
func TestALinkLeadsToTheFile(t *testing.T) {
	dir := t.TempDir()
	real, link := filepath.Join(dir, "real"), filepath.Join(dir, "link")
	first := open(t, real)
	if err := errors.Join(first.Put(map[string][]byte{"a": []byte(`1`)}), os.Symlink("real", link)); err != nil {
		t.Fatal(err)
	}
	if _, err := statefile.Open(link); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("opened a second time by its link: %v", err)
	}
	first.Close()
	second := open(t, link)
	if err := second.Put(map[string][]byte{"b": []byte(`2`)}); err != nil {
		t.Fatal(err)
	}
	second.Close()
	if target, err := os.Readlink(link); err != nil || target != "real" {
		t.Errorf("the link is %q, %v", target, err)
	}
	if got := open(t, real).Records(); len(got) != 2 {
		t.Errorf("records %q", got)
	}
}

// A process that is killed while it writes leaves half a file, with secrets in it.
func TestWhatAKilledProcessHasLeftIsTakenAway(t *testing.T) {
	dir := t.TempDir()
	f := open(t, filepath.Join(dir, "state"))
	if err := os.WriteFile(filepath.Join(dir, "state.new"), []byte("half a fi"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := f.Put(map[string][]byte{"a": []byte(`1`)}); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 2 { // and the lock
		t.Errorf("%d files are left", len(left))
	}
}

// What can be written can be read: a record has no largest size.
func TestALargeRecordIsThereAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	large := []byte(`"` + strings.Repeat("x", 20<<20) + `"`)
	f := open(t, path)
	if err := f.Put(map[string][]byte{"a": large}); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if got := open(t, path).Records()["a"]; !bytes.Equal(got, large) {
		t.Errorf("%d bytes", len(got))
	}
}

func BenchmarkPut(b *testing.B) {
	f := open(b, filepath.Join(b.TempDir(), "state"))
	all := map[string][]byte{}
	for i := range 1000 {
		all[fmt.Sprintf("user/elasticache/user-%04d", i)] = fmt.Appendf(nil, `{"Service":"elasticache","ID":"user-%04d","Name":"user-%[1]04d","Engine":"redis","Auth":"iam","Access":"on ~app:* -@all +@read +@write","Tags":{"team":"orders","env":"test"}}`, i)
	}
	if err := f.Put(all); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := f.Put(map[string][]byte{"user/elasticache/user-0500": []byte(`{"Name":"user-0500"}`)}); err != nil {
			b.Fatal(err)
		}
	}
}
