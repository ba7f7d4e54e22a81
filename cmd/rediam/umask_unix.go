//go:build unix

package main

import (
	"net"
	"os"
	"syscall"
)

// withUmask has listen make a socket without the permissions in mask. It is for the
// start, while nothing else makes files.
func withUmask(mask os.FileMode, listen func() (net.Listener, error)) (net.Listener, error) {
	defer syscall.Umask(syscall.Umask(int(mask)))
	return listen()
}
