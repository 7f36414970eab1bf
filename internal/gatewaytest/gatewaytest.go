// Package gatewaytest has what tests need to run a gateway and to connect to it as somebody.
//
// It does not import the gateway, so that the gateway's own tests can use it.
package gatewaytest

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/jackc/pgx/v5"

	"headway/internal/pgtest"
)

// Secret is what [Token] signs with.
const Secret = "a secret of thirty-two bytes, or more"

// People are Abe, Bob and Charlie as customers and Dora as staff of a project, and Eve in another.
const People = `
insert into headway.appuser (id, fullname) values (1, 'Abe'), (2, 'Bob'), (3, 'Charlie'), (4, 'Dora'), (5, 'Eve');
insert into headway.project (id, name) values (1, 'Website'), (2, 'Other');
insert into headway.member (project_id, user_id, role) values
  (1, 1, 'customer'), (1, 2, 'customer'), (1, 3, 'customer'), (1, 4, 'staff'), (2, 5, 'customer');
insert into headway.task (id, project_id, title, shared) values (1, 1, 'Domain', true), (2, 1, 'Profile', false), (3, 2, 'Hidden', true);
select headway.fold();`

// Listening selects the connection that listens, if [Connect] made it.
const Listening = "select pid from pg_stat_activity where datname = current_database() and application_name = 'gateway'"

// Connect returns the function with which a gateway connects to listen.
func Connect(db *pgtest.DB) func(context.Context) (*pgx.Conn, error) {
	return func(ctx context.Context) (*pgx.Conn, error) {
		config, err := pgx.ParseConfig(db.URL)
		if err != nil {
			return nil, err
		}
		config.RuntimeParams["application_name"] = "gateway"
		config.DefaultQueryExecMode = pgx.QueryExecModeExec // so that the last query of an idle connection is one that was run
		return pgx.ConnectConfig(ctx, config)
	}
}

// Serve runs a gateway that uses [Connect] until the test ends. When Serve returns, the gateway listens and has asked
// whether everything is notified; after that it looks for the first time.
func Serve(t *testing.T, db *pgtest.DB, gateway interface {
	Run(ctx context.Context) error
	Handler() http.Handler
}) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(gateway.Handler())
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := gateway.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		stop()
		running.Wait()
		server.Close()
	})
	conn := db.Conn(t)
	pgtest.Eventually(t, time.Minute, func() bool {
		var listens bool
		err := conn.QueryRow(t.Context(), "select exists ("+Listening+" and state = 'idle' and query ~ 'notify_payload|idle_session_timeout')").Scan(&listens)
		return err == nil && listens
	}, "the gateway does not listen")
	return server
}

// Token returns a token as the application's backend would mint it.
func Token(t *testing.T, userID int64, expires time.Time) string {
	t.Helper()
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.RegisteredClaims{
		Subject: fmt.Sprint(userID), Audience: jwt.ClaimStrings{"headway"}, ExpiresAt: jwt.NewNumericDate(expires),
	}).SignedString([]byte(Secret))
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// Clock is a clock that can be put forward.
type Clock struct{ ahead atomic.Int64 } // nanoseconds

// Now returns the time that it shows.
func (c *Clock) Now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// Forward puts it forward.
func (c *Clock) Forward(d time.Duration) { c.ahead.Add(int64(d)) }
