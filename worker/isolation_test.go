package worker_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"headway/internal/pgtest"
	"headway/internal/smtptest"
)

func TestMailIsSentWhateverTheDefaultIsolation(t *testing.T) {
	t.Parallel()
	for _, level := range []string{"repeatable read", "serializable"} {
		t.Run(level, func(t *testing.T) {
			t.Parallel()
			const people = 100
			p := correspond(t, people, smtptest.Options{})
			pgtest.Execute(t, p.conn, `alter database `+pgx.Identifier{p.db.Name}.Sanitize()+` set default_transaction_isolation = '`+level+`'`)
			p.Pool.Reset()
			p.Concurrency = 4
			p.send(people)
		})
	}
}
