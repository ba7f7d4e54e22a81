//go:build !unix

package engine

import "os/exec"

// setApart does nothing where there are no process groups. An engine outlives an
// emulator that is killed.
func setApart(*exec.Cmd) {}
