package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	netmail "net/mail"
	"regexp"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-message/mail"
	"github.com/jackc/pgx/v5"

	"headway/internal/pgtest"
	"headway/internal/smtptest"
)

var promiseSeed = flag.Uint64("promise.seed", 0, "repeat TestThePromiseOfMail with this seed; 0: a new one")

// TestThePromiseOfMail has two workers send more than two thousand digests while one after the other is killed at random
// moments and the mail server fails at random. Then every message is in exactly one digest of everybody who had not
// read it, and every digest was accepted exactly once, except those whose outcome the ledger calls unknown: these may
// have been accepted again, the same bytes under the same Message-ID, if they are resent, and at most once if held.
func TestThePromiseOfMail(t *testing.T) {
	t.Parallel()
	seed := *promiseSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("repeat with -promise.seed=%d", seed)
	program := build(t)
	for i, whenUnknown := range []string{"resend", "hold"} {
		t.Run(whenUnknown, func(t *testing.T) {
			testPromise(t, program, whenUnknown, rand.New(rand.NewPCG(seed, uint64(i))))
		})
	}
}

const (
	promisePeople = 1000
	promiseKills  = 6
)

// sqlPromise makes twenty projects of a hundred customers. Dora, who has no address, has posted three messages to each.
const sqlPromise = `
insert into headway.appuser (fullname) values ('Dora');
insert into headway.appuser (fullname, email) select 'Person ' || i, 'person' || i || '@example.com' from generate_series(2, %[1]d + 1) i;
insert into headway.project (name) select 'Project ' || i from generate_series(1, 20) i;
insert into headway.member (project_id, user_id, role) select p, 1, 'staff' from generate_series(1, 20) p;
insert into headway.member (project_id, user_id, role) select 1 + u %% 20, u, 'customer' from generate_series(2, %[1]d + 1) u;
select headway.set_setting('digest_after', '1 microsecond'), headway.set_setting('digest_min_gap', '0'),
  headway.set_setting('digest_max_attempts', '1000'), headway.set_setting('digest_when_unknown', '%[2]s');
select headway.post(1, 'project_' || p, 'word' || n || 'of' || p || 'x') from generate_series(1, 20) p, generate_series(1, 3) n;
`

// sqlPromiseRead has ten customers of each project read the first message, and ten all three, when their digests are
// reserved and not yet sent.
const sqlPromiseRead = `
select headway.reserve_digests(100000);
select headway.mark_read(u, 'project_' || 1 + u % 20, case when u <= 201 then 1 else 3 end) from generate_series(2, 401) u`

func testPromise(t *testing.T, program, whenUnknown string, random *rand.Rand) {
	db := pgtest.New(t)
	conn := db.Conn(t)
	pgtest.Execute(t, conn, fmt.Sprintf(sqlPromise, promisePeople, whenUnknown))
	pgtest.Execute(t, conn, sqlPromiseRead)
	server := startFlakyServer(t, random.Uint64())

	start := func() *process {
		return startWorker(t, program, db.URL,
			"HEADWAY_SMTP_URL="+server.URL(),
			"HEADWAY_MAIL_FROM=Headway <headway@example.com>",
			"HEADWAY_DIGEST_SCHEDULE=@every 1s",
			"HEADWAY_DIGEST_CONCURRENCY=4",
		)
	}
	workers := []*process{start(), start()}
	var killed []int
	for kill := range promiseKills {
		// While they send, more is said.
		pgtest.Execute(t, conn, fmt.Sprintf(`select headway.post(1, 'project_' || p, 'word%dof' || p || 'x') from generate_series(1, 20) p`, 4+kill))
		target := len(server.Messages()) + random.IntN(promisePeople/promiseKills)
		pgtest.Eventually(t, 2*time.Minute, func() bool {
			letTimePass(t, conn, killed)
			return len(server.Messages()) >= target || waiting(t, conn) == 0
		}, "%d of %d mails came", len(server.Messages()), target)
		victim := random.IntN(len(workers))
		pid := workers[victim].cmd.Process.Pid
		pgtest.Eventually(t, soon, func() bool {
			return count(t, conn, fmt.Sprintf(`headway.worker where pid = %d`, pid)) > 0
		}, "the worker has no heartbeat")
		workers[victim].signal(syscall.SIGKILL)
		_ = workers[victim].ended(soon)
		killed = append(killed, pid)
		workers[victim] = start()
	}
	pgtest.Eventually(t, 2*time.Minute, func() bool {
		letTimePass(t, conn, killed)
		return waiting(t, conn) == 0
	}, "digests are still waiting")

	checkPromise(t, conn, server, whenUnknown)
}

// letTimePass brings on the next attempt of what a server had put off, and the end of the leases of killed workers.
// What such a worker had asked of the database may be done after its end, so this is not done once and for all.
func letTimePass(t *testing.T, conn *pgx.Conn, killed []int) {
	t.Helper()
	pgtest.Execute(t, conn, `update headway.digest set next_attempt_at = now() where state = 'reserved' and next_attempt_at > now()`)
	if _, err := conn.Exec(t.Context(), `
		update headway.digest d set lease_until = now() - interval '1 second'
		from headway.worker w
		where left(w.id::text, 24) = left(d.claimed_by::text, 24) and w.pid = any ($1) and d.state in ('reserved', 'sending') and d.lease_until > now()`, killed,
	); err != nil {
		t.Fatal(err)
	}
}

// waiting counts the digests that are not at their end, and the people for whom there is to be one: in one statement,
// or what is reserved between two of them would be in neither.
func waiting(t *testing.T, conn *pgx.Conn) int {
	return count(t, conn, `(
		select d.user_id from headway.digest d where d.state in ('reserved', 'sending')
		union all
		select d.user_id from headway.due_digests() d
	) w`)
}

// checkPromise compares what the server accepted with the ledger and with what was said.
func checkPromise(t *testing.T, conn *pgx.Conn, server *flakyServer, whenUnknown string) {
	t.Helper()
	type row struct {
		ID, UserID int64
		State      string
		Unknown    bool
		Mail       []byte
	}
	rows, err := conn.Query(t.Context(), `select id, user_id, state, unknown_at is not null as unknown, mail from headway.digest`)
	if err != nil {
		t.Fatal(err)
	}
	digests, err := pgx.CollectRows(rows, pgx.RowToStructByName[row])
	if err != nil {
		t.Fatal(err)
	}

	words := map[int64][]string{} // what each person was mailed, once for each digest
	held := map[int64]bool{}
	states := map[string]int{}
	accepted := server.accepted(t)
	unknown, twice := 0, 0
	for _, d := range digests {
		states[d.State]++
		var copies [][]byte
		if d.Mail != nil {
			copies = accepted[messageID(t, d.Mail)]
		}
		if d.Unknown {
			unknown++
		}
		if len(copies) > 1 {
			twice++
		}
		switch {
		case d.State == "sent" && len(copies) == 0:
			t.Errorf("digest %d is called sent, but no server accepted it", d.ID)
		case d.State == "sent" && len(copies) > 1 && (!d.Unknown || whenUnknown == "hold"):
			t.Errorf("digest %d was accepted %d times", d.ID, len(copies))
		case d.State == "held" && (len(copies) > 1 || !d.Unknown):
			t.Errorf("digest %d is held and was accepted %d times, unknown: %v", d.ID, len(copies), d.Unknown)
		case d.State == "read_before_sending" && len(copies) > 0 && !d.Unknown:
			t.Errorf("digest %d had been read and was sent", d.ID)
		case !slices.Contains([]string{"sent", "held", "read_before_sending"}, d.State):
			t.Errorf("digest %d ended as %s", d.ID, d.State)
		}
		for _, sent := range copies {
			if !bytes.Equal(sent, d.Mail) {
				t.Errorf("digest %d was not sent as it is in the ledger", d.ID)
			}
		}
		if d.State == "held" {
			held[d.UserID] = true
		}
		if d.Mail != nil {
			words[d.UserID] = append(words[d.UserID], wordsIn(t, d.Mail)...)
		}
	}

	for user := int64(2); user < promisePeople+2; user++ {
		project := 1 + user%20
		var want []string
		for n := 1; n <= 3+promiseKills; n++ {
			read := user <= 201 && n <= 1 || user > 201 && user <= 401 && n <= 3
			if !read {
				want = append(want, fmt.Sprintf("word%dof%dx", n, project))
			}
		}
		got := words[user]
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("person %d was mailed %v rather than %v", user, got, want)
		}
	}
	t.Logf("%d digests: %v; %d with an unknown outcome, %d accepted twice; the server failed %d times", len(digests), states, unknown, twice, server.failures)
	if unknown == 0 || server.failures == 0 || states["read_before_sending"] == 0 {
		t.Error("nothing went wrong, so nothing was shown")
	}
	if whenUnknown == "hold" && len(held) == 0 {
		t.Error("nothing was held, so nothing was shown")
	}
}

var word = regexp.MustCompile(`word\d+of\d+x`)

// wordsIn returns the words in the text part of a mail, and fails if the HTML part has others.
func wordsIn(t *testing.T, raw []byte) (words []string) {
	t.Helper()
	reader, err := mail.CreateReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	for first := true; ; first = false {
		part, err := reader.NextPart()
		if errors.Is(err, io.EOF) {
			return words
		} else if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(part.Body)
		if err != nil {
			t.Fatal(err)
		}
		found := word.FindAllString(string(body), -1)
		slices.Sort(found)
		found = slices.Compact(found) // the preview line of the HTML part may repeat one
		if first {
			words = found
		} else if !slices.Equal(words, found) {
			t.Errorf("the text says %v, the HTML %v", words, found)
		}
	}
}

// flakyServer takes most mails, refuses some for now, and loses the connection at some, before or after it took them.
type flakyServer struct {
	*smtptest.Server

	mu       sync.Mutex
	random   *rand.Rand
	failures int
}

func startFlakyServer(t *testing.T, seed uint64) *flakyServer {
	t.Helper()
	server, err := smtptest.Start(smtptest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	f := &flakyServer{Server: server, random: rand.New(rand.NewPCG(seed, 0))}
	server.Fail(f.fault)
	return f
}

// fault says how a step fails, if it does.
func (f *flakyServer) fault(step smtptest.Step) error {
	switch {
	case step.Name == "MAIL" && f.fails(50):
		return smtptest.Reply(451, "4.3.2", "Not now")
	case step.Name == "RCPT" && f.fails(20):
		return smtptest.Reply(450, "4.2.0", "Greylisted")
	case step.Name == "DATA" && f.fails(40):
		return smtptest.Reply(451, "4.3.0", "Try again")
	case step.Name == "DATA" && f.fails(60):
		return smtptest.ErrHangUp
	case step.Name == "DATA" && f.fails(60):
		return smtptest.ErrTakeAndHangUp
	}
	return nil
}

// fails says, for one in n, that this one fails.
func (f *flakyServer) fails(n int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	fails := f.random.IntN(n) == 0
	if fails {
		f.failures++
	}
	return fails
}

// accepted returns what has been taken, by Message-ID.
func (f *flakyServer) accepted(t *testing.T) map[string][][]byte {
	t.Helper()
	accepted := map[string][][]byte{}
	for _, m := range f.Messages() {
		id := messageID(t, m.Data)
		accepted[id] = append(accepted[id], m.Data)
	}
	return accepted
}

func messageID(t *testing.T, raw []byte) string {
	t.Helper()
	message, err := netmail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return message.Header.Get("Message-Id")
}
