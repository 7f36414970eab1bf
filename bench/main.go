// Command bench measures what headway costs beside other ways to keep progress, whether that stays so as things grow,
// and what it does under load for a while. It writes docs/performance.md and the chart in it.
//
//	go run ./bench                       # everything but the soak: a quarter of an hour
//	go run ./bench --quick               # a pass of everything in two minutes, into a temporary directory
//	go run ./bench --only growth         # a part: rivals, growth, mail, policy, soak, gateway
//	go run ./bench --only bare,headway   # some of the rivals
//	go run ./bench --only soak --out docs
//	go run ./bench gateway               # the same as --only gateway
//
// The parts:
//
//   - rivals: ways to keep progress, on the same work, in turns, three rounds, medians; see bench/rival for the ways and
//     bench/lab for the conditions. Ratios are to the bare insert in the same round. Each rival's progress is compared
//     with a recount at the end.
//   - growth: headway with more tasks, more customers, more unread, more subscriptions; see bench/growth.
//   - mail: digests a second beside a bare SMTP client that sends the same mails; see bench/mail.
//   - policy: what row-level security costs those who read and write through it; see bench/policy.
//   - soak: ten minutes at half of full speed, with a transaction left open in the middle; see bench/soak. It writes
//     docs/soak.md, and has to be asked for.
//   - gateway: thousands of browsers that listen, to headway, to a bare hub and to socket.io; see bench/gateway. It writes
//     docs/gateway-load.md, needs node and npm, and has to be asked for.
//
// It boots a PostgreSQL of its own, durable and with the settings of its makers, which is gone at the end. Clients,
// server and worker share the machine, so leave it alone meanwhile. Ratios travel, figures do not: a page that is in the
// repository was written by one whole run on one machine. Whoever asks for a part, or a quick pass, therefore gets it
// in a temporary directory, unless --out says where.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"headway/bench/gateway"
	"headway/bench/growth"
	"headway/bench/lab"
	"headway/bench/mail"
	"headway/bench/policy"
	"headway/bench/report"
	"headway/bench/rival"
	"headway/bench/soak"
	"headway/internal/postgres"
)

// ours is the rival that all of this is about.
const ours = "headway"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bench is one run of the command.
type bench struct {
	lab   *lab.Lab
	out   io.Writer
	quick bool
	dir   string // where pages go
}

// run parses the command line, measures and writes pages.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	b := bench{out: stdout}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.BoolVar(&b.quick, "quick", false, "measure less of everything, in two minutes")
	flags.StringVar(&b.dir, "out", "", "write into this `directory`; default: docs, or a temporary one with --quick or --only")
	only := flags.String("only", "", "measure these, by `names` with commas between them: rivals, growth, mail, policy, soak, gateway, or some of the rivals")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	// A part may stand without --only, before flags or after them.
	for flags.NArg() > 0 && *only == "" {
		*only = flags.Arg(0)
		if err := flags.Parse(flags.Args()[1:]); err != nil {
			return err
		}
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q: write the parts as one word, with commas between them", flags.Arg(0))
	}
	parts, rivals, err := choose(*only)
	if err != nil {
		return err
	}
	if b.dir == "" {
		if b.dir, err = directory(b.quick || *only != ""); err != nil {
			return err
		}
	} else if err := os.MkdirAll(b.dir, 0o755); err != nil {
		return err // before anything is measured
	}

	if b.lab, err = lab.Open(ctx, postgres.Options{Durable: true}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.lab.Close()) }()
	return b.measure(ctx, parts, rivals)
}

// choose returns the parts and the rivals that are asked for.
func choose(only string) (parts []string, rivals []lab.Rival, err error) {
	rivals = rival.All()
	if only == "" {
		return []string{"rivals", "growth", "mail", "policy"}, rivals, nil
	}
	var names []string
	for _, name := range strings.Split(only, ",") {
		switch {
		case slices.Contains([]string{"rivals", "growth", "mail", "policy", "soak", "gateway"}, name):
			parts = append(parts, name)
		case slices.ContainsFunc(rivals, func(r lab.Rival) bool { return r.Name == name }):
			names = append(names, name)
		default:
			return nil, nil, fmt.Errorf("--only %s: there is neither a part nor a rival of that name", name)
		}
	}
	if len(names) > 0 {
		parts = append(parts, "rivals")
		// The first is what they are all compared with.
		rivals = slices.DeleteFunc(rivals, func(r lab.Rival) bool { return r.Name != rivals[0].Name && !slices.Contains(names, r.Name) })
	}
	return parts, rivals, nil
}

// directory returns where pages go: the documents, or where they are in nobody's way.
func directory(temporary bool) (string, error) {
	if temporary {
		return os.MkdirTemp("", "headway-bench-")
	}
	if _, err := os.Stat("docs"); err != nil {
		return "", fmt.Errorf("run it at the root of the repository, or with --out: %w", err)
	}
	return "docs", nil
}

// chapter is what a part adds to the page.
type chapter struct {
	goals    []report.Goal
	sections []report.Section
	wrong    error // headway got something wrong, which no figure makes good
}

// measure measures the parts and writes their pages.
func (b bench) measure(ctx context.Context, parts []string, rivals []lab.Rival) error {
	conditions, err := b.conditions(ctx)
	if err != nil {
		return err
	}
	var all chapter
	for _, part := range []struct {
		name    string
		measure func(context.Context) (chapter, error)
	}{
		{"rivals", func(ctx context.Context) (chapter, error) { return b.rivals(ctx, rivals) }},
		{"growth", func(ctx context.Context) (chapter, error) { return toChapter(growth.Measure(ctx, b.lab, b.quick)) }},
		{"mail", func(ctx context.Context) (chapter, error) { return toChapter(mail.Measure(ctx, b.lab, b.quick, b.log)) }},
		{"policy", func(ctx context.Context) (chapter, error) {
			return toChapter(policy.Measure(ctx, b.lab, b.quick, b.log))
		}},
	} {
		if !slices.Contains(parts, part.name) {
			continue
		}
		c, err := part.measure(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
		all.goals, all.sections = append(all.goals, c.goals...), append(all.sections, c.sections...)
		all.wrong = errors.Join(all.wrong, c.wrong)
	}
	if len(all.sections) > 0 {
		err := b.write("performance.md", report.Document{
			Title: "Performance",
			Lead: "What headway costs compared with other ways to keep progress, and whether that holds as things grow. Figures are from one machine, " +
				"which clients, server and worker share: take the ratios, and run it on yours.",
			Command:    "go run ./bench",
			Conditions: conditions,
			Sections:   append([]report.Section{{Title: "The budget", Parts: []report.Part{report.Goals(all.goals)}}}, all.sections...),
		})
		if err != nil {
			return err
		}
	}
	if slices.Contains(parts, "soak") {
		all.wrong = errors.Join(all.wrong, b.soak(ctx, conditions))
	}
	if slices.Contains(parts, "gateway") {
		all.wrong = errors.Join(all.wrong, b.gateway(ctx, conditions))
	}
	return all.wrong
}

func (b bench) rivals(ctx context.Context, rivals []lab.Rival) (chapter, error) {
	r := newRace(rivals, b.quick)
	standings, err := r.run(ctx, b.lab, b.out)
	if err != nil {
		return chapter{}, err
	}
	return chapter{r.goals(standings), r.sections(standings), wrong(standings)}, nil
}

// toChapter takes what a part's Measure returns.
func toChapter[R interface {
	Goals() []report.Goal
	Sections() []report.Section
}](result R, err error) (chapter, error) {
	if err != nil {
		return chapter{}, err
	}
	return chapter{goals: result.Goals(), sections: result.Sections()}, nil
}

// soak is a page of its own.
func (b bench) soak(ctx context.Context, conditions []report.Condition) error {
	result, err := soak.Measure(ctx, b.lab, b.quick, b.log)
	if err != nil {
		return fmt.Errorf("soak: %w", err)
	}
	return b.write("soak.md", result.Document("go run ./bench --only soak --out docs", conditions))
}

// gateway is a page of its own.
func (b bench) gateway(ctx context.Context, conditions []report.Condition) error {
	result, err := gateway.Measure(ctx, b.lab, b.quick, b.log)
	if err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	conditions = slices.DeleteFunc(slices.Clone(conditions), func(c report.Condition) bool { return c.Name == "clients" }) // others than its own
	return b.write("gateway-load.md", result.Document("go run ./bench gateway --out docs", conditions))
}

func (b bench) log(format string, args ...any) { fmt.Fprintf(b.out, format+"\n", args...) }

// write writes a page and says where.
func (b bench) write(file string, page report.Document) error {
	path := filepath.Join(b.dir, file)
	if err := page.Write(path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	b.log("written: %s", path)
	return nil
}

// conditions returns what all figures depend on.
func (b bench) conditions(ctx context.Context) ([]report.Condition, error) {
	version, err := b.lab.ServerVersion(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask for the version of PostgreSQL: %w", err)
	}
	conditions := []report.Condition{
		{Name: "PostgreSQL", Value: version + ", default settings, durable; through its Unix socket"},
		{Name: "clients", Value: "prepared statements, one insert a transaction; warmed up, a checkpoint before each measurement, a fresh copy of the database for each"},
		{Name: "machine", Value: fmt.Sprintf("%d cores that clients, server and worker share; %s/%s, %s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version())},
	}
	if b.quick {
		conditions = append(conditions, report.Condition{Name: "pass", Value: "a quick one: one round, little of everything; it shows that all works, and compares nothing"})
	}
	return conditions, nil
}
