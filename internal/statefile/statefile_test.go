package statefile_test

import (
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
