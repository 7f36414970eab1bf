package worker

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"headway/worker/gateway"
)

// newGateway makes the gateway, nil where none is configured.
func (w *Worker) newGateway() (*gateway.Gateway, error) {
	if w.Listener == nil && w.Config.HTTPAddr == "" || len(w.Config.TokenSecret) == 0 && w.Config.TokenKeys == "" {
		return nil, nil
	}
	verifier, err := gateway.NewVerifier([]byte(w.Config.TokenSecret), w.Config.TokenKeys, w.Config.TokenAudience, nil)
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	connect := func(ctx context.Context) (*pgx.Conn, error) { return w.connect(ctx, nil) }
	g := gateway.New(w.pool, connect, verifier, w.Log)
	g.Origins = w.Config.AllowedOrigins
	return g, nil
}
