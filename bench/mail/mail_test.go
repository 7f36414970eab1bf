package mail

import (
	"os"
	"strings"
	"testing"
	"time"

	"headway/bench/lab/labtest"
	"headway/bench/report"
	"headway/internal/pgtest"
	"headway/internal/smtptest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// TestBothWaysAreMeasured does a pass that says nothing of how fast they are. Whether everybody got one digest is
// checked while it is measured.
func TestBothWaysAreMeasured(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	l := labtest.Open(t)
	p := plan{rounds: 1, cases: []conditions{{delay: time.Millisecond, connections: 3, digests: 60}, {connections: 2, digests: 20}}}
	lines := 0
	result, err := measure(ctx, l, p, func(string, ...any) { lines++ })
	if err != nil {
		t.Fatal(err)
	}
	if len(result) != 2 || lines != 2 {
		t.Fatalf("%d lines, %+v", lines, result)
	}
	for i, c := range result {
		if c.Delay != p.cases[i].delay || c.Connections != p.cases[i].connections || c.Digests != p.cases[i].digests ||
			c.PerSecond <= 0 || c.Bare <= 0 || c.Ratio <= 0 || c.Size < 1000 {
			t.Errorf("%+v", c)
		}
	}
	page := report.Document{Title: "Mail", Sections: result.Sections()}.Markdown()
	for _, want := range []string{"| a server that takes 1ms | 3 |", "| a server that answers at once | 2 |"} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is not in\n%s", want, page)
		}
	}
}

func TestTheBudgetIsForServersThatTakeTheirTime(t *testing.T) {
	t.Parallel()
	goals := Result{
		{Delay: time.Millisecond, Connections: 4, Ratio: 0.8}, {Delay: time.Millisecond, Connections: 16, Ratio: 0.79}, {Connections: 4, Ratio: 0.1},
	}.Goals()
	if len(goals) != 2 || !goals[0].Met || goals[1].Met {
		t.Errorf("%+v", goals)
	}
}

func TestFiguresAreMediansOfTheRounds(t *testing.T) {
	t.Parallel()
	mails := []smtptest.Message{{Data: make([]byte, 10)}, {Data: make([]byte, 20)}}
	got := conditions{connections: 4}.summarize(
		[]run{{perSecond: 100, cpu: 3, mails: mails}, {perSecond: 300, cpu: 1}, {perSecond: 200, cpu: 2}},
		[]run{{perSecond: 200, cpu: 1}, {perSecond: 1000, cpu: 1}, {perSecond: 250, cpu: 1}})
	want := CaseResult{Connections: 4, PerSecond: 200, Bare: 250, Ratio: 0.5, CPU: 2, BareCPU: 1, Size: 15}
	if got != want {
		t.Errorf("%+v", got)
	}
}

func TestWhoGotWhatIsCompared(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	conn := db.Conn(t)
	for _, statement := range []string{
		`insert into headway.appuser (fullname, email) select 'Person ' || i, 'person' || i || '@example.com' from generate_series(1, 3) i`,
		`insert into headway.digest (user_id, state, sent_at, attempts, recipient, mail)
		select u.id, 'sent', now(), 1, u.email, 'mail ' from headway.appuser u where u.id < 3`,
	} {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	mail := func(to, text string) smtptest.Message { return smtptest.Message{To: to, Data: []byte(text)} }
	first, second := mail("person1@example.com", "mail "), mail("person2@example.com", "mail ")
	for _, c := range []struct {
		mails   []smtptest.Message
		digests int
		want    string // empty: all is well
	}{
		{[]smtptest.Message{first, second}, 2, ""},
		{[]smtptest.Message{first, second, first}, 2, "person1@example.com got more than one mail"},
		{[]smtptest.Message{first, mail("person2@example.com", "another")}, 2, "the mail to person2@example.com is not the one in the ledger"},
		{[]smtptest.Message{first}, 2, "1 people got a mail and 2 digests are called sent, of 2"},
		{[]smtptest.Message{first, second, mail("person3@example.com", "")}, 3, "3 people got a mail and 2 digests are called sent, of 3"},
	} {
		got := ""
		if err := check(t.Context(), conn, c.mails, c.digests); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
