package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5"

	"headway/sql"
	"headway/worker/gateway"
)

// Since PostgreSQL 16, a member of a role may not be allowed to SET ROLE to it (PostgreSQL manual, GRANT, WITH SET).
const sqlActsAsUser = `
select session_user, pg_has_role(
  session_user, 'headway_user', case when current_setting('server_version_num')::integer >= 160000 then 'set' else 'member' end
)`

// ServesNobodyError says that a login may not act as an end user, as the gateway does.
type ServesNobodyError struct{ Login string }

// Error implements error.
func (e *ServesNobodyError) Error() string {
	return fmt.Sprintf("%s may not act as an end user, as the gateway does: grant headway_user to %s", e.Login, pgx.Identifier{e.Login}.Sanitize())
}

// CheckGateway returns a [*ServesNobodyError] if a connection's login may not act as an end user.
func CheckGateway(ctx context.Context, db sql.Beginner) error {
	var login string
	var acts bool
	err := sql.InCatalog(ctx, db, func(tx pgx.Tx) error { return tx.QueryRow(ctx, sqlActsAsUser).Scan(&login, &acts) })
	if err == nil && !acts {
		err = &ServesNobodyError{login}
	}
	return err
}

// HasGateway reports whether the configuration asks for a gateway, by having a key for tokens.
func (c *Config) HasGateway() bool { return len(c.TokenSecret) > 0 || c.TokenKeys != "" }

// newGateway makes the gateway; nil if none is configured.
func (w *Worker) newGateway(ctx context.Context) (*gateway.Gateway, error) {
	if w.Listener == nil && w.Config.HTTPAddr == "" || !w.Config.HasGateway() {
		return nil, nil
	}
	verifier, err := gateway.NewVerifier([]byte(w.Config.TokenSecret), w.Config.TokenKeys, w.Config.TokenAudience, nil)
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	connect := func(ctx context.Context) (*pgx.Conn, error) { return w.connect(ctx, nil) }
	if err := CheckGateway(ctx, w.pool); errors.As(err, new(*ServesNobodyError)) {
		w.Log.Error("the gateway can serve nobody until its login may act as an end user", slog.Any("error", err))
	} else if err != nil {
		return nil, fmt.Errorf("gateway: check what its login may do: %w", err)
	}
	g := gateway.New(w.pool, connect, verifier, w.Log)
	g.Origins = w.Config.AllowedOrigins
	registerGateway(w.Registry, g)
	return g, nil
}
