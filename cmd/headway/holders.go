package main

import (
	"context"

	"github.com/jackc/pgx/v5"

	"headway/internal/bar"
	"headway/sql"
)

// sqlHolders finds the holders of advisory locks: the keys are those of headway.lock_key(), which not every login may
// call. A prepared transaction has no process.
const sqlHolders = `
select format('the lock %s is held by %s, user %s, application %s', k.purpose, coalesce('pid ' || l.pid::text, 'a prepared transaction'),
    coalesce(a.usename, '?'), coalesce(nullif(a.application_name, ''), '?'))
  || coalesce(format(': if that is not a %s, run ` + "`select pg_terminate_backend(%s)`" + `', k.holder, l.pid), '')
from (values ('fold', 2, 'worker'), ('leader', 3, 'worker'), ('migrate', 4, 'migration'), ('reserve', 5, 'worker')) k (purpose, key, holder)
join pg_locks l on l.locktype = 'advisory' and l.granted and l.objsubid = 1
  and l.classid = x'68656164'::bigint::oid and l.objid = (x'77617900'::bigint + k.key)::oid
  and l.database = (select d.oid from pg_database d where d.datname = current_database())
left join pg_stat_activity a on a.pid = l.pid
where k.purpose = any ($1) and l.pid is distinct from $2
  and (not $3 or exists (
    select from pg_locks w
    where not w.granted and w.waitstart < now() - interval '10 seconds'
      and (w.locktype, w.database, w.classid, w.objid, w.objsubid) = (l.locktype, l.database, l.classid, l.objid, l.objsubid)
  ))
order by k.purpose, l.pid`

// findHolders says who holds headway's advisory locks for these purposes, other than the process with this id; only those
// that somebody has waited for, longer than another worker takes, if that is asked.
func findHolders(ctx context.Context, conn *pgx.Conn, except uint32, waitedFor bool, purposes ...string) (holders []string, err error) {
	err = sql.InCatalog(ctx, conn, func(tx pgx.Tx) error {
		rows, _ := tx.Query(ctx, sqlHolders, purposes, int64(except), waitedFor) // CollectRows returns its error
		holders, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	for i := range holders {
		holders[i] = bar.Clean(holders[i])
	}
	return holders, err
}
