//go:build !unix

package main

import "os"

var passedOn = []os.Signal{os.Interrupt}

// become runs the program until it ends.
func become(program string, argv, environ []string) error {
	return runChild(&terminal{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}, program, argv, environ)
}

// fromTerminal: the console has told the child.
func fromTerminal(os.Signal) bool { return true }
