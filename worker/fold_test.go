package worker_test

import (
	"testing"

	"headway/internal/pgtest"
)

// TestABacklogThatIsTooMuchForOneFoldIsFoldedInParts changes the structure of several projects, each of which can be
// recounted, but no two of them at once.
func TestABacklogThatIsTooMuchForOneFoldIsFoldedInParts(t *testing.T) {
	t.Parallel()
	db := seeded(t)
	conn := db.Conn(t)
	pgtest.Execute(t, conn, `
		insert into headway.project (id, name) values (3, 'Shed'), (4, 'Pond'), (5, 'Hedge');
		insert into headway.task (id, project_id, title) values (1003, 3, 'Task'), (1004, 4, 'Task'), (1005, 5, 'Task');
		do $$ begin while headway.fold() > 0 loop end loop; end $$;
		create function public.refuse() returns trigger language plpgsql as $$ begin
			if (select count(*) from rows) > 1 then
				raise exception 'too much' using errcode = 'program_limit_exceeded';
			end if;
			return null;
		end $$;
		create trigger refuse after update on headway.shared_progress referencing new table as rows
			for each statement execute function public.refuse();
		update headway.task set weight = 2`)
	start(t, config(t, db.URL))
	eventuallyFolded(t, conn)
}
