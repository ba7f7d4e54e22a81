//go:build unix

package emulator

import (
	"os"
	"syscall"
)

// sweeps is whether a lock tells that its owner still lives.
const sweeps = true

// tryLock locks a file until it is closed or its process ends.
func tryLock(f *os.File) bool {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
}
