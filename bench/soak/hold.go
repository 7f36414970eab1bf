package soak

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"headway/bench/report"
	"headway/internal/pause"
)

// hold leaves a transaction open in the middle of the run, and returns from when till when.
func (r *run) hold(ctx context.Context) (report.Span, error) {
	span := report.Span{Name: "a transaction is left open"}
	doing := context.WithoutCancel(ctx)
	conn, err := r.db.Connect(doing)
	if err != nil {
		return span, err
	}
	defer conn.Close(doing)

	length := float64(r.duration)
	if !pause.For(ctx, time.Until(r.began.Add(time.Duration(holdFrom*length)))) {
		return span, nil
	}
	span.From = time.Since(r.began)
	tx, err := conn.BeginTx(doing, pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		return span, err
	}
	// It has a snapshot, which keeps what is deleted from being removed, and has written, as most that are forgotten.
	for _, statement := range []string{
		`insert into public.note (content) values ('Go on here after lunch')`,
		`select g.percent from headway.progress g where g.project_id = 1`,
	} {
		if _, err := tx.Exec(doing, statement); err != nil {
			return span, err
		}
	}
	pause.For(ctx, time.Until(r.began.Add(time.Duration(holdTill*length))))
	span.Till = time.Since(r.began)
	return span, tx.Commit(doing)
}
