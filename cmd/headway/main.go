// Command headway is everything there is to run: the worker, the migrations and what people do at a terminal.
//
// This package parses, wires and prints. One small file per subcommand; what they do belongs in packages.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// env is all that a command sees of the world, so that a test can substitute it.
type env struct {
	stdout, stderr io.Writer
	getenv         func(string) string
	environ        []string // all variables, as in "NAME=value"
}

func main() {
	told := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // as it is under nohup
		told = append(told, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), told...)
	defer stop()
	// A second Ctrl-C does not wait for the first to be handled. A second SIGTERM does: some supervisors send it twice.
	context.AfterFunc(ctx, func() { signal.Reset(os.Interrupt) })

	err := run(ctx, env{stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv, environ: os.Environ()}, os.Args[1:])
	if err != nil {
		if !errors.As(err, new(*loggedError)) {
			fmt.Fprintln(os.Stderr, "headway:", printable(err))
		}
		if errors.As(err, new(*usageError)) {
			os.Exit(2)
		}
		os.Exit(1)
	}
}
