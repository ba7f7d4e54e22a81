package engine

import (
	"os/exec"
	"syscall"
)

// setApart has the kernel end the process when this one ends, even by SIGKILL, and
// spares it the Ctrl-C that a terminal sends to a whole process group: this process
// ends its engines when it has ended what uses them.
func setApart(c *exec.Cmd) {
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
