package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"

	"headway/sql"
)

// release is set when building one: go build -ldflags "-X main.release=v1.2.3".
var release string

// version prints what to include in a bug report.
func version(_ context.Context, e env, args []string) error {
	flags := newFlags("headway version", "Prints the version of this program and of its schema.")
	if helped, err := parse(e, flags, args); helped || err != nil {
		return err
	}
	_, err := fmt.Fprintf(e.stdout, "headway %s, schema %d, %s %s/%s\n",
		programVersion(), sql.Latest(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}

// programVersion is the release, or what the Go toolchain recorded: the module's version, which names the commit.
func programVersion() string {
	if release != "" {
		return release
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
