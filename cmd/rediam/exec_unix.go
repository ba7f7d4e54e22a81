//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// passedOn are the signals with which people and supervisors talk to a program.
var passedOn = []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2}

// become has the program take the place of this process: signals, terminal and exit
// status are its own.
func become(t *terminal, program string, argv, environ []string) error {
	signal.Reset() // what was ignored, as by nohup, stays so
	return t.cannotRun(&os.PathError{Op: "exec", Path: program, Err: syscall.Exec(program, argv, environ)})
}

// fromTerminal is whether a signal comes from keys of the terminal, so that the
// child has it already: it is in the same process group, and the terminal sends to
// that in the foreground.
func fromTerminal(s os.Signal) bool {
	if s != syscall.SIGINT && s != syscall.SIGQUIT {
		return false
	}
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	defer tty.Close()
	foreground, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && foreground == unix.Getpgrp()
}
