package policy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"headway/bench/lab"
)

// thing is something that is read or written.
type thing struct {
	what     string
	query    string // as those ask for whom there are policies
	explicit string // as the owner asks for the same rows; empty: in the same words
	by       []person
}

// settled is how often a statement runs before its plan stays: PostgreSQL plans the first five times for the values at
// hand, and then decides.
const settled = 7

// compare does a thing as a role and as the owner, in turns, and refuses rows that differ.
func (t thing) compare(ctx context.Context, conns [2]*pgx.Conn, role string, by person, repeated int) (Comparison, error) {
	explicit := t.explicit
	if explicit == "" {
		explicit = t.query
	}
	sides := [2]side{{conns[0], role, t.query, by}, {conns[1], "headway_owner", explicit, by}}
	var times [2][]time.Duration
	result := Comparison{What: t.what, Who: by.who}
	for n := range settled + repeated {
		var rows [2][]string
		for i := range sides {
			turn := (i + n) % 2 // who goes first takes turns, too
			took, found, err := sides[turn].run(ctx)
			if err != nil {
				return Comparison{}, fmt.Errorf("as %s: %w", sides[turn].role, err)
			}
			rows[turn] = found
			if n >= settled {
				times[turn] = append(times[turn], took)
			}
		}
		result.Rows = len(rows[0])
		if result.Rows == 0 {
			return Comparison{}, errors.New("there are no rows to compare")
		}
		if !slices.Equal(rows[0], rows[1]) {
			return Comparison{}, fmt.Errorf("%s finds %d rows, and the owner with an explicit where %d, or others", role, len(rows[0]), len(rows[1]))
		}
	}
	result.Policies, result.Owner = lab.Median(times[0]), lab.Median(times[1])
	return result, nil
}

// side is one of two who do the same.
type side struct {
	conn   *pgx.Conn
	role   string
	query  string
	person person
}

// run does it in a transaction of its own, which is taken back, and returns how long the statement took and its rows,
// sorted. Both sides take a role and an identity, as the gateway does; neither is in the time.
func (s side) run(ctx context.Context) (took time.Duration, rows []string, err error) {
	tx, err := s.conn.Begin(ctx)
	if err != nil {
		return 0, nil, err
	}
	defer func() { err = errors.Join(err, tx.Rollback(context.WithoutCancel(ctx))) }()
	if _, err := tx.Exec(ctx, "set local role "+s.role); err != nil {
		return 0, nil, err
	}
	if _, err := tx.Exec(ctx, `select set_config('headway.user_id', $1, true)`, strconv.FormatInt(s.person.user, 10)); err != nil {
		return 0, nil, err
	}
	began := time.Now()
	result, err := tx.Query(ctx, s.query, s.person.args())
	if err != nil {
		return 0, nil, err
	}
	var found [][]byte
	for result.Next() {
		// A copy, and no more: what is done to it is not to be in the time.
		found = append(found, slices.Concat(result.RawValues()...))
	}
	took = time.Since(began)
	for _, row := range found {
		rows = append(rows, string(row))
	}
	slices.Sort(rows)
	return took, rows, result.Err()
}
