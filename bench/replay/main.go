// Command replay completes a real project's history through headway and says how fast that was, how late the
// notifications came, and whether the bars are right.
//
//	go run ./bench/replay [-connections 8] [-rate 0] FILE.csv
//
// The file has the columns at, project, contributor and task, and a header. Each project becomes a project of headway,
// each contributor a customer of the projects they appear in, each line a task that all of them share. Then all of
// them are completed in the order of at, each in a transaction of its own, while a worker runs in this process and a
// connection listens to headway_events. The same rows go into a table with the same columns and the same key, before
// and after, for comparison.
//
// It boots a PostgreSQL of its own with the settings of the server's makers, durable, and gone at the end. With
// DATABASE_URL it uses that database, brings headway's schema in it up to date, and leaves there what it loaded: give
// it one to spare.
//
// What measures headway as a whole on data from outside belongs here; what compares ways of building it does not.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"headway/internal/postgres"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	if err := run(ctx, os.Args[1:], os.Getenv("DATABASE_URL"), os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "replay:", err)
		os.Exit(1)
	}
}

// run parses the command line, replays and prints the result. It is an error if headway got anything wrong.
func run(ctx context.Context, args []string, databaseURL string, stdout, stderr io.Writer) (err error) {
	flags := flag.NewFlagSet("replay", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprintln(stderr, "usage: go run ./bench/replay [flags] FILE.csv")
		flags.PrintDefaults()
	}
	r := replay{}
	flags.IntVar(&r.connections, "connections", 8, "complete from this `many` connections")
	flags.Float64Var(&r.rate, "rate", 0, "complete this many a `second`; 0: as many as possible")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	if flags.NArg() != 1 || r.connections < 1 {
		flags.Usage()
		return errors.New("give one file, and at least one connection")
	}

	if databaseURL == "" {
		cluster, err := postgres.Start(ctx, postgres.Options{Durable: true})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, cluster.Stop()) }()
		databaseURL = cluster.URL("postgres")
	}
	r.url = databaseURL

	result, err := r.run(ctx, flags.Arg(0))
	if err != nil {
		return err
	}
	fmt.Fprint(stdout, result)
	return result.wrong()
}
