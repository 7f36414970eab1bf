package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"headway/worker/mail"
)

const (
	sqlReserveOne = `select headway.reserve_digest($1)`
	sqlContent    = `select headway.digest_content($1)`
)

// Preview renders the mail that a person would get if everything unread were mailed now, without changing anything. The
// error says why there is none.
func Preview(ctx context.Context, db *pgx.Conn, composer *mail.Composer, userID int64) (rendered []byte, err error) {
	tx, err := db.Begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("preview: %w", err)
	}
	defer func() { err = errors.Join(err, tx.Rollback(ctx)) }()
	var id int64
	if err := tx.QueryRow(ctx, sqlReserveOne, userID).Scan(&id); err != nil {
		return nil, fmt.Errorf("preview: %w", err)
	}
	var content []byte
	if err := tx.QueryRow(ctx, sqlContent, id).Scan(&content); err != nil {
		return nil, fmt.Errorf("preview: %w", err)
	}
	var c mail.Content
	if err := json.Unmarshal(content, &c); err != nil {
		return nil, fmt.Errorf("preview: %w", err)
	}
	if len(c.Projects) == 0 { // as when a project was deleted, or they have left it: no digest is sent then either
		return nil, fmt.Errorf("person %d has nothing unread that they may see\nhint: select * from headway.explain_digest(%[1]d) shows what they have", userID)
	}
	return composer.Compose(c, time.Now())
}
