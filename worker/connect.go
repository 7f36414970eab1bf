package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"headway/internal/sqlstate"
	"headway/sql"
)

// Connect opens a pool to the database that DATABASE_URL names, under this application name, and checks the schema: the
// error is a [*sql.VersionError] if it is not this binary's, and a [*RightsError] if the login may not even look. The
// caller closes the pool. It is [ErrFollows] where another database's workers fold and mail.
func Connect(ctx context.Context, databaseURL, application string) (*pgxpool.Pool, error) {
	config, err := ParseDatabaseURL(databaseURL, application)
	if err != nil {
		return nil, fmt.Errorf("DATABASE_URL: %w", err)
	}
	config.PingTimeout = cmp.Or(config.PingTimeout, queryTimeout)
	// As libpq does, each connection reads the files anew: a password or a certificate may have been replaced.
	config.BeforeConnect = func(_ context.Context, conn *pgx.ConnConfig) error {
		fresh, err := ParseDatabaseURL(databaseURL, application)
		if err != nil {
			return fmt.Errorf("DATABASE_URL: %w", err)
		}
		*conn = *fresh.ConnConfig
		closeReadOnly(&conn.Config)
		return nil
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("DATABASE_URL: %w", err)
	}
	if err := check(ctx, pool); err != nil {
		pool.Close()
		return nil, err
	}
	return pool, nil
}

// check connects and checks the schema.
func check(ctx context.Context, pool *pgxpool.Pool) error {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connect to the database (set by DATABASE_URL, or PGHOST and the other PG* variables): %w", err)
	}
	defer conn.Release()
	err = sql.Check(ctx, conn.Conn())
	switch {
	case err == nil:
		follows, err := Follows(ctx, conn)
		if follows {
			return ErrFollows
		}
		return err
	case errors.As(err, new(*sql.VersionError)):
		return err
	case errors.As(err, new(*sql.AccessError)):
		if rights, checkErr := CheckRights(ctx, conn); checkErr == nil && len(rights.Missing) > 0 {
			return rights.Check(true)
		}
	}
	return fmt.Errorf("check the schema as %s: %w", conn.Conn().Config().User, err)
}

// ParseDatabaseURL parses how to connect to a database: a URL or libpq's keywords or, if empty, libpq's variables.
// application is the application name unless the URL sets another. It accepts a pool's parameters even where a single
// connection is made. Unless it says otherwise, queries are sent without prepared statements, which a pooler may not
// know. Text and times arrive as Go expects them, whatever the database's encoding and DateStyle. The error says what
// would be right, and shows no password.
func ParseDatabaseURL(url, application string) (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(strings.TrimSpace(url)) // the text of a file ends in a line break
	if err != nil {
		return nil, fmt.Errorf("want postgres://user:password@host:5432/database: %w", unreadable(err))
	}
	conn := config.ConnConfig
	conn.RuntimeParams["application_name"] = cmp.Or(conn.RuntimeParams["application_name"], application)
	conn.RuntimeParams["client_encoding"], conn.RuntimeParams["datestyle"] = "UTF8", "ISO, MDY" // PgBouncer compares them with what the server reports
	conn.ConnectTimeout = cmp.Or(conn.ConnectTimeout, queryTimeout)
	if conn.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement { // the zero value: not set explicitly
		conn.DefaultQueryExecMode = pgx.QueryExecModeExec
	}
	conn.DialFunc = dial
	return config, nil
}

// dial connects in such a way that the kernel notices when the other side is gone.
var dial = (&net.Dialer{
	KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 3 * time.Second, Count: 3},
	Control:         giveUpOnSilence,
}).DialContext

// closeReadOnly makes a connection close itself when it turns out to be read-only: it leads to a standby, or was opened
// while that was the database's default. A new connection may find this changed; this one could stay read-only forever.
func closeReadOnly(config *pgconn.Config) {
	fallback := config.OnPgError
	config.OnPgError = func(conn *pgconn.PgConn, err *pgconn.PgError) bool {
		return err.Code != sqlstate.ReadOnlySQLTransaction && fallback(conn, err)
	}
}

// ErrFollows says that a worker here would mail what another one mails, and write rows that the next ones to be replicated
// collide with.
var ErrFollows = errors.New("this database follows another one by logical replication, whose workers fold and mail: " +
	"to take over from it, drop the subscription first (docs/backup.md)")

const sqlFollows = `
select exists (select from pg_subscription_rel r join pg_class c on c.oid = r.srrelid where c.relnamespace = 'headway'::regnamespace)`

// Follows reports whether logical replication writes to headway's tables.
func Follows(ctx context.Context, db sql.Beginner) (follows bool, err error) {
	err = sql.InCatalog(ctx, db, func(tx pgx.Tx) error { return tx.QueryRow(ctx, sqlFollows).Scan(&follows) })
	if err != nil {
		return false, fmt.Errorf("ask whether the database follows another one: %w", err)
	}
	return follows, nil
}

// ErrElsewhere says that notifications are sent in another database than the one listened to.
var ErrElsewhere = errors.New("HEADWAY_LISTEN_URL leads to a different database than DATABASE_URL: it must be a direct connection to the same one")

// sqlWhere identifies a database, however it is reached.
const sqlWhere = `select current_database() || ' ' || extract(epoch from pg_postmaster_start_time())`

// CheckSame returns [ErrElsewhere] unless both lead to the same database.
func CheckSame(ctx context.Context, database, listener sql.Beginner) error {
	var where [2]string
	for i, db := range []sql.Beginner{database, listener} {
		err := sql.InCatalog(ctx, db, func(tx pgx.Tx) error { return tx.QueryRow(ctx, sqlWhere).Scan(&where[i]) })
		if err != nil {
			return fmt.Errorf("ask which database it is: %w", err)
		}
	}
	if where[0] != where[1] {
		return ErrElsewhere
	}
	return nil
}
