package live

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"headway/internal/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// soon bounds what is a matter of milliseconds, on a machine that is busy with other tests.
const soon = 30 * time.Second

const sqlPeople = `
insert into headway.appuser (fullname) values ('Abe'), ('Bob'), ('Charlie'), ('Dora');
insert into headway.project (name) values ('Website relaunch'), ('Brand guide');
insert into headway.member (project_id, user_id, role) values
  (1, 1, 'customer'), (1, 2, 'customer'), (1, 3, 'customer'), (1, 4, 'staff'), (2, 1, 'customer');
insert into headway.task (project_id, title, shared, audience) values
  (1, 'Choose the photographs', true, 'everyone'),
  (1, 'Approve the draft', false, 'everyone'),
  (1, 'Write the product pages', true, 'assigned'),
  (1, 'Go live', true, 'everyone'),
  (2, 'Pick a typeface', true, 'everyone');
insert into headway.assignment (task_id, user_id) values (3, 2);
select headway.fold()`

// followed is a follower that runs until the test ends, and what it told.
type followed struct {
	*Follower
	t  *testing.T
	db *pgtest.DB

	mu     sync.Mutex
	events []Event
	texts  []string // of messages
}

func follow(t *testing.T, db *pgtest.DB, change ...func(*Follower)) *followed {
	t.Helper()
	connect := func(ctx context.Context) (*pgx.Conn, error) { return pgx.Connect(ctx, db.URL) }
	f := &followed{t: t, db: db, Follower: &Follower{Listen: connect, Read: connect}}
	f.On = func(_ *Board, e Event) {
		f.mu.Lock()
		defer f.mu.Unlock()
		e.Moves = slices.Clone(e.Moves)
		f.events = append(f.events, e)
		if e.Kind == Said {
			f.texts = append(f.texts, e.Message.Text())
		}
	}
	for _, how := range change {
		how(f.Follower)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	t.Cleanup(func() {
		lost := f.count(Lost)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if f.count(Lost) > lost {
			t.Error("to be told to stop is a lost connection")
		}
	})
	return f
}

// await waits until this kind of event has been told n times.
func (f *followed) await(kind Kind, n int) {
	f.t.Helper()
	pgtest.Eventually(f.t, soon, func() bool { return f.count(kind) >= n }, "event %d did not come", kind)
}

// count returns how often this kind of event has been told.
func (f *followed) count(kind Kind) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.events {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

// bars are all customers' bars by name, and the sums.
func (f *followed) bars() map[string]Part {
	bars := map[string]Part{}
	f.Look(func(b *Board) {
		for _, p := range b.Projects {
			for _, c := range p.Customers {
				bars[p.Name+"/"+c.Name] = p.Bar(c)
			}
			bars[p.Name] = p.Sum()
		}
	})
	return bars
}

// awaitTruth waits until the board is what the views say.
func (f *followed) awaitTruth(conn *pgx.Conn) {
	f.t.Helper()
	truth := map[string]Part{}
	rows, err := conn.Query(f.t.Context(), `
select p.name || '/' || u.fullname, g.done, g.total
from headway.progress g join headway.project p on p.id = g.project_id join headway.appuser u on u.id = g.user_id
union all
select name, done, total from headway.project_progress`)
	if err != nil {
		f.t.Fatal(err)
	}
	var name string
	var part Part
	if _, err := pgx.ForEachRow(rows, []any{&name, &part.Done, &part.Total}, func() error { truth[name] = part; return nil }); err != nil {
		f.t.Fatal(err)
	}
	pgtest.Eventually(f.t, soon, func() bool { return reflect.DeepEqual(f.bars(), truth) }, "the bars are not %v", truth)
}

// awaitMoves waits until each bar has been told to have moved to where it stands, each time from where it was told to be.
func (f *followed) awaitMoves() {
	f.t.Helper()
	bars := f.bars()
	told, next := map[string]Part{}, 0
	pgtest.Eventually(f.t, soon, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		for ; next < len(f.events); next++ {
			for _, m := range f.events[next].Moves {
				name := m.Project.Name
				if m.Customer != nil {
					name += "/" + m.Customer.Name
				}
				if was, known := told[name]; known && was != m.Before || m.Before == m.After {
					f.t.Errorf("%s was told to have moved from %v to %v, and to be at %v before", name, m.Before, m.After, was)
				}
				told[name] = m.After
			}
		}
		return reflect.DeepEqual(told, bars)
	}, "the bars were told to have moved to %v, not %v", &told, bars)
}

func (f *followed) awaitText(text string) {
	f.t.Helper()
	pgtest.Eventually(f.t, soon, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return slices.Contains(f.texts, text)
	}, "nobody said %q", text)
}

// toldOnce checks that nothing that was said was told twice.
func (f *followed) toldOnce() {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if texts := slices.Sorted(slices.Values(f.texts)); len(slices.Compact(texts)) != len(f.texts) {
		f.t.Errorf("something was told twice: %q", f.texts)
	}
}

func seeded(t *testing.T) (*pgtest.DB, *pgx.Conn) {
	t.Helper()
	db := pgtest.New(t)
	conn := db.Conn(t)
	pgtest.Execute(t, conn, sqlPeople)
	pgtest.Execute(t, conn, `set jit = off`) // compiling the views takes longer than reading them
	return db, conn
}

func TestItShowsWhatTheViewsSay(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"row", "reference"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			db, conn := seeded(t)
			pgtest.Execute(t, conn, `select headway.set_setting('notify_payload', '`+mode+`')`)
			f := follow(t, db)
			f.await(Listening, 1)
			f.awaitTruth(conn)
			for _, step := range []string{
				`select headway.complete_task(1, 3)`,                                          // moves all
				`select headway.complete_task(2, 2)`,                                          // moves Bob
				`select headway.complete_task(3, 2)`,                                          // moves Bob
				`select headway.complete_task(5, 1)`,                                          // moves another project
				`select headway.reopen_task(1, 3)`,                                            // moves all back
				`update headway.task set weight = 7 where id = 4`,                             // recounts
				`delete from headway.task where id = 2`,                                       //
				`insert into headway.appuser (id, fullname) values (20, 'Eve')`,               //
				`insert into headway.member values (1, 20, 'customer')`,                       // notifies nothing
				`select headway.complete_task(4, 20)`,                                         //
				`insert into headway.task (project_id, title) values (1, 'One'), (2, 'More')`, //
			} {
				pgtest.Execute(t, conn, step+`; select headway.fold()`)
			}
			// A stranger in a notification has everything read again.
			pgtest.Execute(t, conn, `
insert into headway.task (project_id, title, audience) values (1, 'For Eve', 'assigned');
insert into headway.assignment select max(id), 20 from headway.task;
select headway.fold()`)
			f.awaitTruth(conn)
			f.awaitMoves()
			f.awaitText(`Charlie completed "Choose the photographs"`)
			f.awaitText(`Charlie reopened "Choose the photographs"`)
			f.awaitText(`Eve completed "Go live"`)
		})
	}
}

func TestWhoJoinsIsSeenThoughNothingIsNotified(t *testing.T) {
	t.Parallel()
	db, conn := seeded(t)
	f := follow(t, db, func(f *Follower) { f.ReadInterval = 100 * time.Millisecond })
	f.await(Listening, 1)
	pgtest.Execute(t, conn, `select headway.post(2, 'project_1', 'as I was')`)
	f.awaitText("Bob: as I was")
	pgtest.Execute(t, conn, `
insert into headway.appuser (id, fullname) values (20, 'Eve');
insert into headway.member values (1, 20, 'customer');
delete from headway.member where project_id = 1 and user_id = 1;
update headway.project set archived_at = now() where id = 2;
update headway.appuser set fullname = 'Robert' where id = 2;
select headway.fold()`)
	want := map[string]Part{
		"Website relaunch": {0, 10}, "Website relaunch/Robert": {0, 4}, "Website relaunch/Charlie": {0, 3}, "Website relaunch/Eve": {0, 3},
	}
	pgtest.Eventually(t, soon, func() bool { return reflect.DeepEqual(f.bars(), want) }, "the bars are not %v", want)
	pgtest.Execute(t, conn, `select headway.post(2, 'project_1', 'as I am')`)
	f.awaitText("Robert: as I am")
}

// TestAProjectThatIsMadeMeanwhileIsShown has one made with a lower id than that of another.
func TestAProjectThatIsMadeMeanwhileIsShown(t *testing.T) {
	t.Parallel()
	db, conn := seeded(t)
	f := follow(t, db, func(f *Follower) { f.ReadInterval = time.Hour })
	f.await(Listening, 1)
	for _, id := range []string{"20", "10"} {
		pgtest.Execute(t, conn, `
insert into headway.project (id, name) values (`+id+`, 'Shop `+id+`');
insert into headway.member (project_id, user_id, role) values (`+id+`, 1, 'customer');
insert into headway.task (project_id, title) values (`+id+`, 'Open');
select headway.fold()`)
		f.awaitTruth(conn)
	}
	var ids []int64
	f.Look(func(b *Board) {
		for _, p := range b.Projects {
			ids = append(ids, p.ID)
		}
	})
	if !slices.IsSorted(ids) {
		t.Errorf("the projects are in the order %v", ids)
	}
}

func TestAProjectAloneIsFollowedAlone(t *testing.T) {
	t.Parallel()
	db, conn := seeded(t)
	f := follow(t, db, func(f *Follower) { f.Project = 2 })
	f.await(Listening, 1)
	pgtest.Execute(t, conn, `select headway.complete_task(1, 3); select headway.post(2, 'project_1', 'not for you'); select headway.fold()`)
	pgtest.Execute(t, conn, `select headway.complete_task(5, 1); select headway.post(1, 'project_2', 'for you'); select headway.fold()`)
	f.awaitText("Abe: for you")
	f.awaitText(`Abe completed "Pick a typeface"`)
	if bars, want := f.bars(), (map[string]Part{"Brand guide": {1, 1}, "Brand guide/Abe": {1, 1}}); !reflect.DeepEqual(bars, want) {
		t.Errorf("%v", bars)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if slices.Contains(f.texts, "Bob: not for you") {
		t.Error("it tells of another project")
	}
}

// TestWhatIsSaidIsOfAProject has channels of the application's own, one for each project, and some that are of none.
func TestWhatIsSaidIsOfAProject(t *testing.T) {
	t.Parallel()
	db, conn := seeded(t)
	pgtest.Execute(t, conn, `
select headway.open_channel('lunch', 2, array[1]), headway.open_channel('coffee', 1, array[1, 2]);
select headway.post(1, 'lunch', 'before'), headway.post(1, 'coffee', 'before, too'), headway.post(1, 'broadcast', 'to all before')`)
	all, one := follow(t, db), follow(t, db, func(f *Follower) { f.Project = 2 })
	all.await(Listening, 1)
	one.await(Listening, 1)
	pgtest.Execute(t, conn, `
insert into headway.assignment (task_id, user_id) values (3, 1); select headway.fold();
select headway.post(1, 'coffee', 'now, too'), headway.post(1, 'lunch', 'now');
select headway.post(1, 'broadcast', 'to all')`)
	all.awaitText("Abe: to all")
	one.awaitText("Abe: to all")
	recent := func(f *followed) (texts []string) {
		f.Look(func(b *Board) {
			for _, m := range b.Recent {
				texts = append(texts, fmt.Sprintf("%d %s", m.ProjectID, m.Text()))
			}
		})
		return texts
	}
	if got, want := recent(all), []string{
		"2 Abe: before", "1 Abe: before, too", "0 Abe: to all before", "1 Abe: now, too", "2 Abe: now", "0 Abe: to all", // and not what is for Abe alone
	}; !slices.Equal(got, want) {
		t.Errorf("of all: %q, want %q", got, want)
	}
	if got, want := recent(one), []string{"2 Abe: before", "0 Abe: to all before", "2 Abe: now", "0 Abe: to all"}; !slices.Equal(got, want) {
		t.Errorf("of one: %q, want %q", got, want)
	}
	all.awaitText(`You were assigned "Write the product pages"`)
}

func TestAProjectThatIsNotThereIsAnError(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	var conns []*pgx.Conn
	connect := func(ctx context.Context) (*pgx.Conn, error) {
		conn, err := pgx.Connect(ctx, db.URL)
		conns = append(conns, conn)
		return conn, err
	}
	err := (&Follower{Listen: connect, Read: connect, Project: 42}).Run(t.Context())
	var missing *noProjectError
	if !errors.As(err, &missing) || missing.ID != 42 || !strings.Contains(err.Error(), "42") {
		t.Errorf("%v", err)
	}
	for _, conn := range conns {
		if !conn.IsClosed() {
			t.Error("it leaves a connection open")
		}
	}
}

// TestWhatIsSaidWhileItReadsIsHeard has something be said as soon as it has read for the first time.
func TestWhatIsSaidWhileItReadsIsHeard(t *testing.T) {
	t.Parallel()
	db, conn := seeded(t)
	f := follow(t, db, func(f *Follower) {
		f.ReadInterval = time.Hour
		on, once := f.On, sync.Once{}
		f.On = func(b *Board, e Event) {
			once.Do(func() {
				if _, err := conn.Exec(t.Context(), `select headway.complete_task(1, 3), headway.post(2, 'project_1', 'meanwhile'); select headway.fold()`); err != nil {
					t.Error(err)
				}
			})
			on(b, e)
		}
	})
	f.awaitText("Bob: meanwhile")
	f.awaitText(`Charlie completed "Choose the photographs"`)
	f.awaitTruth(conn)
}

func TestAMessageThatWasCutIsRead(t *testing.T) {
	t.Parallel()
	db, conn := seeded(t)
	f := follow(t, db)
	f.await(Listening, 1)
	pgtest.Execute(t, conn, `select headway.post(1, 'project_1', repeat('long ', 2000))`)
	f.awaitText("Abe: " + strings.Repeat("long ", 200))
}

// TestWhatWasNotNotifiedIsToldWithTheNext has one post with notifications off for a transaction, and another after it.
func TestWhatWasNotNotifiedIsToldWithTheNext(t *testing.T) {
	t.Parallel()
	db, conn := seeded(t)
	pgtest.Execute(t, conn, `select headway.post(1, 'project_1', 'first')`)
	f := follow(t, db)
	f.await(Listening, 1)
	pgtest.Execute(t, conn, `
begin;
select headway.set_setting('notify_payload', 'off');
select headway.post(1, 'project_1', 'silent');
select headway.set_setting('notify_payload', 'row');
commit;
select headway.post(1, 'project_1', 'loud')`)
	f.awaitText("Abe: loud")
	f.awaitText("Abe: silent")
	f.mu.Lock()
	defer f.mu.Unlock()
	if want := []string{"Abe: silent", "Abe: loud"}; !slices.Equal(f.texts, want) {
		t.Errorf("told %q, want %q", f.texts, want)
	}
}

// TestOnlyTheNewestMessagesAreKept has more said than are shown.
func TestOnlyTheNewestMessagesAreKept(t *testing.T) {
	t.Parallel()
	db, conn := seeded(t)
	f := follow(t, db)
	f.await(Listening, 1)
	pgtest.Execute(t, conn, `select headway.post(1, 'project_1', n::text) from generate_series(1, 60) n`)
	f.awaitText("Abe: 60")
	var kept []string
	f.Look(func(b *Board) {
		for _, m := range b.Recent {
			kept = append(kept, m.Text())
		}
	})
	if len(kept) != 50 || kept[0] != "Abe: 11" || kept[49] != "Abe: 60" {
		t.Errorf("%d are kept: %q", len(kept), kept)
	}
}

// TestWhatIsOldIsNotTold has what was said last deleted with its project, so that what was said before, elsewhere, is the last.
func TestWhatIsOldIsNotTold(t *testing.T) {
	t.Parallel()
	db, conn := seeded(t)
	pgtest.Execute(t, conn, `
select headway.post(1, 'project_2', 'old');
select headway.post(1, 'project_1', n::text) from generate_series(1, 50) n`)
	f := follow(t, db, func(f *Follower) { f.ReadInterval = 100 * time.Millisecond })
	f.await(Listening, 1)
	pgtest.Execute(t, conn, `delete from headway.project where id = 1`)
	pgtest.Eventually(t, soon, func() bool { return len(f.bars()) == 2 }, "the project is still there")
	pgtest.Execute(t, conn, `select headway.post(1, 'project_2', 'new')`)
	f.awaitText("Abe: new")
	f.mu.Lock()
	defer f.mu.Unlock()
	if want := []string{"Abe: new"}; !slices.Equal(f.texts, want) {
		t.Errorf("told %q, want %q", f.texts, want)
	}
}

// TestAnArchivedProjectIsFollowedByWhoeverAsksForIt has something change in one.
func TestAnArchivedProjectIsFollowedByWhoeverAsksForIt(t *testing.T) {
	t.Parallel()
	db, conn := seeded(t)
	pgtest.Execute(t, conn, `update headway.project set archived_at = now() where id = 2`)
	all, one := follow(t, db), follow(t, db, func(f *Follower) { f.Project = 2 })
	all.await(Listening, 1)
	one.await(Listening, 1)
	pgtest.Execute(t, conn, `
update headway.task set weight = 5 where id = 5; select headway.fold();
select headway.post(1, 'project_1', 'done')`)
	one.awaitTruthOf("Brand guide", Part{0, 5})
	all.awaitText("Abe: done")
	if _, shown := all.bars()["Brand guide"]; shown {
		t.Error("it shows an archived project")
	}
}

func (f *followed) awaitTruthOf(project string, want Part) {
	f.t.Helper()
	pgtest.Eventually(f.t, soon, func() bool { return f.bars()[project] == want }, "the bar of %s is not %v", project, want)
}

func TestWhatHappenedIsToldAsASentence(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ kind, sender, content, want string }{
		{"task_assigned", "Dora", `You were assigned "Roof"`, `You were assigned "Roof"`},
		{"task_completed", "Dora", `completed "Roof"`, `Dora completed "Roof"`},
		{"task_completed", "", `completed "Roof"`, `Somebody completed "Roof"`}, // who has been deleted since
		{"chat", "Dora", "You too!", "Dora: You too!"},
	} {
		if got := (&Message{Kind: c.kind, SenderName: c.sender, Content: &c.content}).Text(); got != c.want {
			t.Errorf("told %q, want %q", got, c.want)
		}
	}
}

func TestItEndsWithTheProjectThatItFollows(t *testing.T) {
	t.Parallel()
	db, conn := seeded(t)
	connect := func(ctx context.Context) (*pgx.Conn, error) { return pgx.Connect(ctx, db.URL) }
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	once := sync.Once{}
	f := &Follower{Listen: connect, Read: connect, Project: 2, ReadInterval: 100 * time.Millisecond, On: func(*Board, Event) {
		once.Do(func() {
			if _, err := conn.Exec(ctx, `delete from headway.project where id = 2`); err != nil {
				t.Error(err)
			}
		})
	}}
	if err := f.Run(ctx); !errors.As(err, new(*noProjectError)) {
		t.Errorf("%v", err)
	}
}

func TestWhatAnybodyMayNotifyDoesNoHarm(t *testing.T) {
	t.Parallel()
	db, conn := seeded(t)
	f := follow(t, db)
	f.await(Listening, 1)
	for _, payload := range []string{
		``, `nonsense`, `[]`, `{}`, `{"kind":5}`, `{"kind":"progress"}`, `{"kind":"progress","project_id":99,"version":1}`,
		`{"kind":"progress","project_id":"x"}`, `{"channel":"project_99999999999999999999"}`,
		`{"channel":"nowhere","seq":1,"content":"hello"}`, `{"channel":"nowhere","seq":2,"id":99}`,
		`{"channel":"project_1","seq":"x"}`,
	} {
		pgtest.Execute(t, conn, `select pg_notify('headway_events', '`+payload+`')`)
	}
	pgtest.Execute(t, conn, `select headway.post(2, 'project_1', 'still here')`)
	f.awaitText("Bob: still here")
	f.awaitTruth(conn)
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.events {
		if e.Kind == Lost {
			t.Errorf("it lost the connection: %v", e.Err)
		}
	}
}

func TestOnlyNewerNotificationsAreApplied(t *testing.T) {
	t.Parallel()
	customers := func() *[]struct {
		UserID int64 `json:"user_id"`
		Part
	} {
		return &[]struct {
			UserID int64 `json:"user_id"`
			Part
		}{{2, Part{4, 10}}}
	}
	fresh := func() *Project {
		return &Project{ID: 1, Version: 5, Shared: Part{3, 9}, Customers: []*Customer{{UserID: 1}, {UserID: 2}}}
	}
	for name, c := range map[string]struct {
		news  progress
		moves int
		again bool
	}{
		"older":     {progress{1, 4, &Part{1, 9}, customers()}, 0, false},
		"the same":  {progress{1, 5, &Part{1, 9}, customers()}, 0, false},
		"newer":     {progress{1, 6, &Part{3, 9}, customers()}, 2, false},
		"shared":    {progress{1, 6, &Part{4, 9}, customers()}, 3, false},
		"a gap":     {progress{1, 7, &Part{4, 9}, customers()}, 0, true},
		"reference": {progress{1, 6, nil, nil}, 0, true},
		"cut":       {progress{1, 6, &Part{4, 9}, nil}, 0, true},
	} {
		p := fresh()
		moves, again := p.apply(&c.news)
		if len(moves) != c.moves || again != c.again {
			t.Errorf("%s: %v, %v", name, moves, again)
		}
		if c.moves > 0 && (p.Bar(p.Customer(2)) != Part{4, 10} || p.Version != 6) {
			t.Errorf("%s: %v at %d", name, p.Bar(p.Customer(2)), p.Version)
		}
	}
	p := fresh()
	p.Customers = p.Customers[:1]
	if _, again := p.apply(&progress{1, 6, &Part{4, 9}, customers()}); !again {
		t.Error("a stranger is not looked up")
	}
}

// TestWhatIsNotifiedIsShownWithoutReading notifies what is not so, which a look at the tables would put right.
func TestWhatIsNotifiedIsShownWithoutReading(t *testing.T) {
	t.Parallel()
	db, conn := seeded(t)
	f := follow(t, db, func(f *Follower) { f.ReadInterval = time.Hour })
	f.await(Listening, 1)
	pgtest.Execute(t, conn, `
select pg_notify('headway_events', json_build_object(
  'kind', 'progress', 'project_id', 2, 'version', s.version + 1, 'shared', json_build_object('done', 7, 'total', 9), 'customers', '[]'::json)::text)
from headway.shared_progress s where s.project_id = 2;
select headway.post(2, 'project_1', 'after it')`)
	f.awaitText("Bob: after it")
	if bar := f.bars()["Brand guide/Abe"]; bar != (Part{7, 9}) || f.count(Read) > 1 {
		t.Errorf("the bar is %v; everything was read %d times", bar, f.count(Read))
	}
}

// TestWhatIsSaidAtTheSameMomentIsToldWhole has two people post at once, of whom the one with the lower id gets the higher
// number, and both be found together.
func TestWhatIsSaidAtTheSameMomentIsToldWhole(t *testing.T) {
	t.Parallel()
	db, conn := seeded(t)
	f := follow(t, db, func(f *Follower) { f.ReadInterval = 100 * time.Millisecond })
	f.await(Listening, 1)
	pgtest.Execute(t, conn, `select headway.set_setting('notify_payload', 'off')`)
	f.await(Deaf, 1)
	first, second := db.Conn(t), db.Conn(t)
	pgtest.Execute(t, first, `begin; select from headway.channel where name = 'project_1' for update`)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if _, err := second.Exec(t.Context(), `select headway.post(1, 'project_1', 'second')`); err != nil {
			t.Error(err)
		}
	}()
	pgtest.Eventually(t, soon, func() bool {
		var waits bool
		err := conn.QueryRow(t.Context(), `select exists (select from pg_locks where not granted and pid = $1)`, second.PgConn().PID()).Scan(&waits)
		return err == nil && waits
	}, "nobody waits")
	// Both are committed before either is read.
	pgtest.Execute(t, first, `select headway.post(2, 'project_1', 'first')`)
	f.Look(func(*Board) { // it reads, and then waits for this
		pgtest.Execute(t, first, `commit`)
		<-done
	})
	f.awaitText("Abe: second")
	f.awaitText("Bob: first")
}
