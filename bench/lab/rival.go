package lab

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Shape is how tasks lie in projects. Every task weighs 1 and is for all customers of its project, who complete it
// together: whoever does it first, does it for all. Task n belongs to project 1+(n-1)%Projects, and the customers of
// project p are the people from 1+(p-1)*Customers to p*Customers.
type Shape struct {
	Name      string // "spread"
	Title     string // "spread over 100 projects"
	Projects  int
	Customers int // of each project
	Tasks     int // of all projects together
	Done      int // of these, the first are completed to begin with, each by the first customer of its project
}

// project returns the project of a task.
func (s Shape) project(task int64) int64 { return 1 + (task-1)%int64(s.Projects) }

// Rival is a way to keep progress.
type Rival struct {
	Name  string // for the command line and the terminal: "headway"
	Title string // for tables and charts
	About string // a sentence or two: what it does and how it was set up

	// Base is what the template has.
	Base Base

	// Setup is the rest of the schema, run in each copy of the template. Nil: there is none.
	Setup func(ctx context.Context, conn *pgx.Conn) error

	// Statement completes a task, $1, for a person, $2, both bigint. It is prepared, and a transaction of its own.
	Statement string
	// Writers returns for each connection how a task is completed on it, where that is more than a statement. Nil: it
	// is the statement.
	Writers func(ctx context.Context, conns []*pgx.Conn) ([]Complete, error)

	// Start starts what runs beside the writers. stop ends it and returns what went wrong. Nil: nothing does.
	Start func(ctx context.Context, db *Database) (stop func() error, err error)

	// Channel is where changes of progress are notified. Empty: nowhere, and there is no progress to read either.
	Channel string
	// Heard returns the progress that a notification tells.
	Heard func(payload string) ([]Progress, error)
	// Read is a query for the project_id and done of the projects with the ids $1, a bigint[].
	Read string

	// Folded is a query for the number of completions that the progress includes. Empty: all that have committed, by the
	// way it works.
	Folded string

	// Recount is a query for the project_id and done of every project as counted from the tables.
	Recount string
}

// Base is a schema with a shape's rows in it.
type Base struct {
	Name string
	Fill func(ctx context.Context, conn *pgx.Conn, shape Shape) error
}

// Complete completes a task for a person and returns once that is committed.
type Complete func(ctx context.Context, task, user int64) error

// Progress is how many tasks of a project are done.
type Progress struct{ Project, Done int64 }

// SQL returns a function that runs a script.
func SQL(script string) func(ctx context.Context, conn *pgx.Conn) error {
	return func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, script)
		return err
	}
}

// Execute runs statements one after the other.
func Execute(ctx context.Context, conn *pgx.Conn, statements ...string) error {
	for _, statement := range statements {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}
