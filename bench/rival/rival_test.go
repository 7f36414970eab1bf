package rival

import (
	"os"
	"strings"
	"testing"
	"time"

	"headway/bench/lab"
	"headway/bench/lab/labtest"
	"headway/internal/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// small is enough to see that everything works.
var (
	small = lab.Shape{Name: "small", Projects: 4, Customers: 3, Tasks: 100_000, Done: 1001}
	brief = lab.Plan{
		Writers: 8, Warmup: 50 * time.Millisecond, Paced: 250 * time.Millisecond, Rate: 200, Full: 500 * time.Millisecond,
		Patience: 20 * time.Second,
	}
)

func TestEveryRivalRuns(t *testing.T) {
	t.Parallel()
	l := labtest.Open(t)
	for _, r := range All() {
		t.Run(r.Name, func(t *testing.T) {
			got, err := l.Measure(t.Context(), r, small, brief)
			if err != nil {
				t.Fatal(err)
			}
			if got.Full.PerSecond == 0 || got.Projects != small.Projects {
				t.Errorf("nothing was completed: %+v", got)
			}
			if !got.Keeps {
				return
			}
			for name, seen := range map[string]lab.Delays{
				"visible at a rate": got.Paced.Visible, "notified at a rate": got.Paced.Notified,
				"visible at full speed": got.Full.Visible, "notified at full speed": got.Full.Notified,
			} {
				if seen.Watched == 0 {
					t.Errorf("%s: nothing was watched", name)
				}
				if seen.Lost > 0 && r.Name != "recount" {
					t.Errorf("%s: %d of %d were never seen", name, seen.Lost, seen.Watched)
				}
			}
			if r.Name == "recount" { // it is wrong whenever two have met
				return
			}
			if got.Full.Behind == lab.Never || got.Wrong > 0 {
				t.Errorf("%d are left for %v, %d projects are wrong", got.Full.Left, got.Full.Behind, got.Wrong)
			}
		})
	}
}

func TestAWrongRivalIsFoundOut(t *testing.T) {
	t.Parallel()
	l := labtest.Open(t)
	plan := brief
	plan.Paced, plan.Patience = 0, 100*time.Millisecond

	t.Run("one that counts few only", func(t *testing.T) {
		forgetful := Counter()
		forgetful.Setup = lab.SQL(strings.Replace(createCounter, "where t.id = new.task_id", "where t.id = new.task_id and t.id % 5 = 0", 1))
		got, err := l.Measure(t.Context(), forgetful, small, plan)
		if err != nil {
			t.Fatal(err)
		}
		if got.Wrong != small.Projects {
			t.Errorf("%d of %d projects are wrong", got.Wrong, got.Projects)
		}
		if got.Full.Notified.Lost == 0 || got.Full.Notified.P99 != lab.Never {
			t.Errorf("what was never counted was notified: %+v", got.Full.Notified)
		}
	})

	t.Run("one that loses what is in its queue", func(t *testing.T) {
		lossy := Queue()
		lossy.Setup = lab.SQL(createQueue + `;
create function queue_before_insert() returns trigger language plpgsql as $$
begin
  return case when random() < 0.9 then new end;
end
$$;
create trigger queue_before_insert before insert on queue for each row execute function queue_before_insert()`)
		got, err := l.Measure(t.Context(), lossy, small, plan)
		if err != nil {
			t.Fatal(err)
		}
		if got.Full.Left == 0 || got.Full.Behind != lab.Never || got.Wrong == 0 {
			t.Errorf("%d are left for %v, %d projects are wrong", got.Full.Left, got.Full.Behind, got.Wrong)
		}
	})

	t.Run("one that loses completions", func(t *testing.T) {
		r := Bare()
		r.Statement = insertCompletion + ` on conflict do nothing`
		r.Setup = lab.SQL(`insert into completion (task_id, user_id) select t.id, u.id from task t, person u where t.id % 10 = 0 and t.id > 1001`)
		if _, err := l.Measure(t.Context(), r, small, plan); err == nil || !strings.Contains(err.Error(), "were committed") {
			t.Errorf("nobody noticed: %v", err)
		}
	})
}
