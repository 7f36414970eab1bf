package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
)

// command is a subcommand. Its function prints results to stdout and returns what went wrong.
type command struct {
	name, summary string
	run           func(ctx context.Context, e env, args []string) error
}

// commands are listed in the order in which a newcomer needs them.
func commands() []command {
	return []command{
		{"demo", "play a story on a private PostgreSQL: the first thing to run", runDemo},
		{"migrate", "bring the schema of a database up to date", migrate},
		{"worker", "fold what happens and notify, until told to stop", runWorker},
		{"watch", "show every bar and everything that happens, live", watch},
		{"digest", "show the mail that somebody would get, or send what is due", runDigest},
		{"doctor", "check everything headway depends on, and say what to do", runDoctor},
		{"healthcheck", "ask a worker on this machine whether it is alive", healthcheck},
		{"version", "print the version of this program and of its schema", version},
	}
}

// run finds the subcommand and runs it.
func run(ctx context.Context, e env, args []string) error {
	if len(args) == 0 {
		usage(e.stdout)
		return nil
	}
	name, args := args[0], args[1:]
	for _, c := range commands() {
		if c.name == name {
			return c.run(ctx, e, args)
		}
	}
	switch name {
	case "help", "-h", "-help", "--help":
		if len(args) > 0 && args[0] != "help" {
			return run(ctx, e, []string{args[0], "-help"})
		}
		usage(e.stdout)
		return nil
	case "-version", "--version":
		return version(ctx, e, args)
	}
	usage(e.stderr)
	return &usageError{fmt.Errorf("unknown command %q", name)}
}

func usage(w io.Writer) {
	fmt.Fprint(w, "headway: live progress, chat and unread-mail digests on PostgreSQL\n\nusage: headway COMMAND [flags]\n\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-11s %s\n", c.name, c.summary)
	}
	fmt.Fprint(w, "\n`headway COMMAND -help` says more. DATABASE_URL, or PGHOST and the other PG* variables, select the database.\n"+
		"The exit code is 1 if something failed, and 2 for a mistake on the command line.\n\n")
}

// usageError is a mistake on the command line. The exit code is 2.
type usageError struct{ error }

// newFlags returns the flags of a subcommand. The help consists of its synopsis, like "headway migrate [flags]", what
// it does, and its flags.
func newFlags(synopsis, does string) *flag.FlagSet {
	flags := flag.NewFlagSet(synopsis, flag.ContinueOnError)
	flags.Usage = func() {
		fmt.Fprintf(flags.Output(), "usage: %s\n\n%s\n", synopsis, does)
		flags.VisitAll(func(f *flag.Flag) {
			name, meaning := flag.UnquoteUsage(f)
			fmt.Fprintf(flags.Output(), "\n  %s\n        %s\n", strings.TrimSpace("--"+f.Name+" "+name), meaning)
		})
	}
	return flags
}

// parse parses the flags of a subcommand that takes no other arguments. It returns true if help was asked for, and
// given.
func parse(e env, flags *flag.FlagSet, args []string) (helped bool, err error) {
	flags.SetOutput(io.Discard) // the package would print every error, and main does that
	err = flags.Parse(args)
	if err == nil && flags.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	switch {
	case errors.Is(err, flag.ErrHelp):
		flags.SetOutput(e.stdout)
		flags.Usage()
		return true, nil
	case err != nil:
		flags.SetOutput(e.stderr)
		flags.Usage()
		fmt.Fprintln(e.stderr)
		return false, &usageError{err}
	}
	return false, nil
}

// parseOne parses the flags of a subcommand that takes one argument, which may come before or after them.
func parseOne(e env, flags *flag.FlagSet, args []string, name string) (argument string, helped bool, err error) {
	before := len(args) > 0 && !strings.HasPrefix(args[0], "-")
	if before {
		argument, args = args[0], args[1:]
	}
	flags.SetOutput(io.Discard)
	if !before && flags.Parse(args) == nil && flags.NArg() > 0 {
		argument, args = flags.Arg(0), append(args[:len(args)-flags.NArg():len(args)-flags.NArg()], flags.Args()[1:]...)
	}
	if helped, err := parse(e, flags, args); helped || err != nil {
		return "", helped, err
	}
	if argument == "" {
		return "", false, &usageError{fmt.Errorf("%s is missing", name)}
	}
	return argument, false, nil
}
