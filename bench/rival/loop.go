package rival

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// loop calls step again and again until it is stopped, and then closes the connection. A step that has begun is
// finished. stop returns the error that ended the loop before.
func loop(ctx context.Context, conn *pgx.Conn, step func(ctx context.Context) error) (stop func() error) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		var err error
		for err == nil && ctx.Err() == nil {
			err = step(context.WithoutCancel(ctx))
		}
		conn.Close(context.WithoutCancel(ctx))
		ended <- err
	}()
	return func() error {
		cancel()
		return <-ended
	}
}
