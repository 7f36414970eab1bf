package worker

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5"

	"headway/worker/gateway"
)

// sqlActsAsUser asks who the login is, and whether it may act as an end user.
const sqlActsAsUser = `select session_user, pg_has_role(session_user, 'headway_user', 'member')`

// newGateway makes the gateway, nil where none is configured.
func (w *Worker) newGateway(ctx context.Context) (*gateway.Gateway, error) {
	if w.Listener == nil && w.Config.HTTPAddr == "" || len(w.Config.TokenSecret) == 0 && w.Config.TokenKeys == "" {
		return nil, nil
	}
	verifier, err := gateway.NewVerifier([]byte(w.Config.TokenSecret), w.Config.TokenKeys, w.Config.TokenAudience, nil)
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	connect := func(ctx context.Context) (*pgx.Conn, error) { return w.connect(ctx, nil) }
	var login string
	var acts bool
	if err := w.pool.QueryRow(ctx, sqlActsAsUser).Scan(&login, &acts); err != nil {
		return nil, fmt.Errorf("gateway: ask what its login may do: %w", err)
	}
	if !acts {
		w.Log.Error("the gateway can serve nobody, since its login may not act as an end user",
			slog.String("login", login), slog.String("remedy", "grant headway_user to "+pgx.Identifier{login}.Sanitize()))
	}
	g := gateway.New(w.pool, connect, verifier, w.Log)
	g.Origins = w.Config.AllowedOrigins
	registerGateway(w.Registry, g)
	return g, nil
}
