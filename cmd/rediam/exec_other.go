//go:build !unix

package main

import "os"

var passedOn = []os.Signal{os.Interrupt}

// become runs the program until it ends.
func become(t *terminal, program string, argv, environ []string) error {
	return runChild(t, program, argv, environ)
}

// fromTerminal: the console has told the child.
func fromTerminal(os.Signal) bool { return true }
