//go:build unix && !linux

package engine

import (
	"os/exec"
	"syscall"
)

// setApart does as on Linux, but the kernel has no such thing as to end the process
// with this one: an engine outlives an emulator that is killed with SIGKILL.
func setApart(c *exec.Cmd) {
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
}
