package engine

import (
	"os/exec"
	"syscall"
)

// dieWithParent has the kernel end the process when this one ends, even by
// SIGKILL.
func dieWithParent(c *exec.Cmd) {
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
