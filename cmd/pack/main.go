// Command pack makes an archive of a directory, the same bytes for the same files:
// a tar.gz with the directory's name before each, or a zip, as Lambda takes it, without.
//
//	go run ./cmd/pack ARCHIVE DIRECTORY
package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: pack ARCHIVE DIRECTORY")
		os.Exit(2)
	}
	if err := pack(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
}

// modified is that of every file: the earliest time that a zip file can tell.
var modified = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

// An archive is a zip.Writer or a tar.Writer.
type archive interface {
	create(name string, mode fs.FileMode, size int) (io.Writer, error)
	Close() error
}

func pack(file, dir string) error {
	var out bytes.Buffer
	var a archive
	if strings.HasSuffix(file, ".zip") {
		a = zipArchive{zip.NewWriter(&out)}
	} else {
		compressed := gzip.NewWriter(&out)
		a = tarArchive{tar.NewWriter(compressed), compressed, filepath.Base(dir)}
	}
	// In the order of names.
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		return add(a, dir, name)
	})
	if err == nil {
		err = a.Close()
	}
	if err != nil {
		return err
	}
	return os.WriteFile(file, out.Bytes(), 0o644)
}

func add(a archive, dir, name string) error {
	file := filepath.Join(dir, name)
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	mode := fs.FileMode(0o644)
	if info.Mode()&0o100 != 0 {
		mode = 0o755
	}
	w, err := a.create(name, mode, len(content))
	if err != nil {
		return err
	}
	_, err = w.Write(content)
	return err
}

type zipArchive struct{ *zip.Writer }

func (z zipArchive) create(name string, mode fs.FileMode, _ int) (io.Writer, error) {
	header := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: modified}
	header.SetMode(mode)
	return z.CreateHeader(header)
}

type tarArchive struct {
	*tar.Writer
	compressed *gzip.Writer
	below      string
}

func (t tarArchive) Close() error { return errors.Join(t.Writer.Close(), t.compressed.Close()) }

func (t tarArchive) create(name string, mode fs.FileMode, size int) (io.Writer, error) {
	return t, t.WriteHeader(&tar.Header{Name: path.Join(t.below, name), Mode: int64(mode), Size: int64(size), ModTime: modified})
}
