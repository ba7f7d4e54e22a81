package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
)

type versionCommand struct{}

func (versionCommand) Help() string { return "Example:\n\n  rediam version" }

func (versionCommand) Run(t *terminal) error {
	_, err := fmt.Fprintf(t.stdout, "rediam %s (commit %s) %s %s/%s\n", version(), commit(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}

// What the Makefile builds says so here. Other builds know what the go command knew.
var release, revision string

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && release == "" {
		return info.Main.Version
	}
	return release
}

func commit() string {
	if info, ok := debug.ReadBuildInfo(); ok && revision == "" {
		i := slices.IndexFunc(info.Settings, func(s debug.BuildSetting) bool { return s.Key == "vcs.revision" })
		if i >= 0 {
			return info.Settings[i].Value
		}
		return "unknown"
	}
	return revision
}
