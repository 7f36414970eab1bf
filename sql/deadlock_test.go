package sql_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"headway/internal/pgtest"
)

// TestNobodyWaitsInACircle has two transactions meet behind a third that holds what one of them needs first: when that
// ends, both get through, one after the other.
func TestNobodyWaitsInACircle(t *testing.T) {
	t.Parallel()
	const deleteProject, posting = "delete from headway.project where id = 1", "select headway.post(3, 'project_1', 'Hi')"
	const deletePerson = "delete from headway.appuser where id = 4"
	for name, test := range map[string]struct{ held, first, second string }{
		"a project is deleted while somebody leaves":           {posting, deleteProject, "delete from headway.member where project_id = 1 and user_id = 1"},
		"a project is deleted while a channel is opened":       {posting, deleteProject, "select headway.open_channel('design', 1, array[1, 2])"},
		"a channel is opened twice, with members in any order": {"insert into headway.subscription (channel, user_id) values ('lunch', 2)", "select headway.open_channel('lunch', null, array[1, 2, 3])", "select headway.open_channel('lunch', null, array[3, 2, 1])"},
		"a person is deleted while they are forgotten":         {"update headway.appuser set fullname = 'Dora' where id = 4", deletePerson, "select headway.forget_user(4)"},
		"a person is deleted while their address is refused": {"update headway.appuser set fullname = 'Dora' where id = 4", deletePerson,
			"select headway.digest_failed(id, '" + claimant + "', 'refused', '550') from headway.digest"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t)
			holder, a, b, other := db.Conn(t), db.Conn(t), db.Conn(t), db.Conn(t)
			pgtest.Execute(t, other, `
				insert into headway.appuser (id, fullname, email) select n, 'Person', 'person@example.com' from generate_series(1, 4) n;
				insert into headway.project (id, name) values (1, 'Website'), (2, 'Shop');
				insert into headway.member (project_id, user_id, role) select 1, n, 'customer' from generate_series(1, 3) n;
				select headway.open_channel('lunch'), headway.post(1, 'broadcast', 'Hello');
				delete from headway.subscription where channel = 'lunch';
				select headway.reserve_digest(4);
				select headway.claim_digest('`+claimant+`')`)
			for _, conn := range []*pgx.Conn{a, b} {
				pgtest.Execute(t, conn, "set deadlock_timeout = '10ms'")
			}
			pgtest.Execute(t, holder, "begin; "+test.held)
			first := start(t.Context(), a, test.first)
			first.waits(t, other, a)
			second := start(t.Context(), b, test.second)
			second.waits(t, other, b)
			pgtest.Execute(t, holder, "rollback")
			for _, s := range []*started{first, second} {
				if err := s.wait(t); code(err) == "40P01" {
					t.Error(err)
				}
			}
		})
	}
}
