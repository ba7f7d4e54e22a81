//go:build unix

package statefile

import (
	"os"
	"syscall"
)

// tryLock locks a file until it is closed or its process ends.
func tryLock(f *os.File) bool {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
}
