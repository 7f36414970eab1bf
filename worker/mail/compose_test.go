package mail

import (
	"bytes"
	"encoding/json"
	"flag"
	"html"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"headway/internal/pgtest"
)

var update = flag.Bool("update", false, "write the golden files anew")

var now = time.Date(2025, 7, 15, 7, 30, 0, 0, time.UTC)

const appURL = "https://app.example.com/team"

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

func composer(t testing.TB) *Composer {
	t.Helper()
	app, err := url.Parse(appURL)
	if err != nil {
		t.Fatal(err)
	}
	return &Composer{From: Address{Name: "Headway", Address: "headway@example.com"}, AppURL: app}
}

// golden reads testdata/<name>.json, the content of the mail testdata/<name>.eml.
func golden(t testing.TB, name string) (content Content) {
	t.Helper()
	file, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	decode(t, file, &content)
	return content
}

func decode(t testing.TB, from []byte, into *Content) {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(from))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		t.Fatal(err)
	}
}

func TestALongHeaderIsFoldedWhereItIsEncoded(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"Перенос сайта и магазина на новую платформу", "Å", "ページ.お.引っ越し、すべての部署で", "A long name of a project, in ASCII but for the é"} {
		c, content := composer(t), golden(t, "plain")
		c.From.Name, content.Name = name, name
		content.Projects = append(content.Projects, Project{ID: 1, Name: name})
		for _, email := range []string{content.Email, strings.Repeat("a", 60) + "@" + strings.Repeat("b", 60) + ".example.com", "åbe@exämple.com"} {
			content.Email = email
			compose(t, c, content)
		}
	}
}

var goldenNames = []string{"customer", "staff", "plain"}

func TestAMailIsAsItWasApproved(t *testing.T) {
	t.Parallel()
	for _, name := range goldenNames {
		t.Run(name, func(t *testing.T) {
			c, content := composer(t), golden(t, name)
			if name == "plain" {
				c.AppURL = nil
			}
			composed, err := c.Compose(content, now)
			if err != nil {
				t.Fatal(err)
			}
			mail, err := Read(bytes.NewReader(composed))
			if err != nil {
				t.Fatal(err)
			}
			for suffix, got := range map[string]string{".eml": string(composed), ".txt": mail.Text, ".html": mail.HTML} {
				path := filepath.Join("testdata", name+suffix)
				if *update {
					if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if got != string(want) {
					t.Errorf("%s is not as it was; if it is better: go test ./worker/mail -update", path)
				}
			}
			compose(t, c, content)
		})
	}
}

// Headers are quoted in bounces and answers, and a Message-ID stands in the log of each server on the way.
func TestNothingButTheLinkHasTheToken(t *testing.T) {
	t.Parallel()
	content := golden(t, "plain")
	composed, err := (&Composer{From: composer(t).From}).Compose(content, now)
	if err != nil || bytes.Contains(composed, []byte(content.Token)) {
		t.Errorf("%v\n%s", err, composed)
	}
}

func TestOneClickIsOfferedWhereItIsEncrypted(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"http", "https"} {
		c := composer(t)
		c.AppURL.Scheme = scheme
		composed, err := c.Compose(golden(t, "plain"), now)
		if err != nil {
			t.Fatal(err)
		}
		offered := bytes.Contains(composed, []byte("\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"))
		if offered != (scheme == "https") || !bytes.Contains(composed, []byte("\r\nList-Unsubscribe:")) {
			t.Errorf("%s: %s", scheme, composed)
		}
	}
}

func TestBothPartsSayTheSame(t *testing.T) {
	t.Parallel()
	words := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	for _, name := range goldenNames {
		c, content := composer(t), golden(t, name)
		mail := compose(t, c, content)
		_, body, _ := strings.Cut(mail.HTML, "</div>") // after the preheader
		text, page := words(mail.Text), words(html.UnescapeString(tag.ReplaceAllString(body, "")))

		v := c.view(content, limits(content)[0], now)
		said := []string{v.Greeting, v.Intro, v.More, v.Footer}
		for _, s := range v.Sections {
			said = append(said, s.Name)
			if s.Bar != nil {
				said = append(said, s.Bar.Label)
			}
			for _, b := range s.Blocks {
				said = append(said, b.Name)
				for _, i := range b.Items {
					said = append(append(said, i.Sentence(), i.When), i.Quote...)
				}
			}
		}
		for _, s := range said {
			if s = words(s); !strings.Contains(text, s) || !strings.Contains(page, s) {
				t.Errorf("%s: not in both parts: %s", name, s)
			}
		}
	}
}

func TestTheSameContentGivesTheSameBytes(t *testing.T) {
	t.Parallel()
	content := golden(t, "customer")
	one, err := composer(t).Compose(content, now)
	if err != nil {
		t.Fatal(err)
	}
	two, err := composer(t).Compose(content, now.In(time.FixedZone("", 3600))) // on a machine in another time zone
	if err != nil || !bytes.Equal(one, two) {
		t.Errorf("twice the same content gave different mails, %v", err)
	}
}

func TestTheSubjectSaysWhatItIsAbout(t *testing.T) {
	t.Parallel()
	project := func(id int64, name string) Project { return Project{ID: id, Name: name} }
	for want, content := range map[string]Content{
		"Website relaunch: 12 tasks completed, 3 new messages": {
			Counts: Counts{Completed: 12, Chat: 3}, Projects: []Project{project(1, "Website relaunch"), project(0, "")}},
		"Website relaunch and 2 more: 1 task completed, 1 task reopened, 1 task assigned to you, 1 new message": {
			Counts:   Counts{1, 1, 1, 1},
			Projects: []Project{project(1, "Website relaunch"), project(2, "Intranet"), project(3, "Shop")}},
		"9,950 new messages": {Counts: Counts{Chat: 9950}, Projects: []Project{project(0, "")}},
		"A B Bcc: abe@example.com: 1 new message": {
			Counts: Counts{Chat: 1}, Projects: []Project{project(1, "A\u202e\r\n\x00 B\nBcc: abe@\u200bexample.com")}},
		strings.Repeat("é", 60) + "…: 2 tasks assigned to you": {
			Counts: Counts{Assigned: 2}, Projects: []Project{project(1, strings.Repeat("é", 1000))}},
		"news": {},
	} {
		if got := subject(content); got != want {
			t.Errorf("the subject is %q, want %q", got, want)
		}
	}
}

func TestTheBarShowsFromAndTo(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		from, to int
		want     string
	}{
		{40, 65, "[########+++++·······] 40 % → 65 %"},
		{0, 100, "[++++++++++++++++++++] 0 % → 100 %"},
		{75, 60, "[############---·····] 75 % → 60 %"},
		{50, 50, "[##########··········] 50 %"},
		{99, 99, "[###################·] 99 %"},
		{-3, 107, "[++++++++++++++++++++] 0 % → 100 %"},
	} {
		b := newBar(Progress{Total: 9, Percent: test.from}, Progress{Total: 9, Percent: test.to})
		if b.Text != test.want {
			t.Errorf("%s, want %s", b.Text, test.want)
		}
		if sum := b.Kept + b.Gained + b.Lost + b.Rest; sum != 100 {
			t.Errorf("from %d to %d the parts are %d in all", test.from, test.to, sum)
		}
	}
	if newBar(Progress{}, Progress{}) != nil || newBar(Progress{Total: 9, Percent: 50}, Progress{}) != nil {
		t.Error("a bar of nothing")
	}
	if b := newBar(Progress{}, Progress{Total: 9}); b == nil || b.Label != "0 %" {
		t.Errorf("where there was nothing to do before: %+v", b)
	}
}

// TestWhatTheDatabaseHasCutOffEndsInDots: it cuts by characters, however many bytes they have.
func TestWhatTheDatabaseHasCutOffEndsInDots(t *testing.T) {
	t.Parallel()
	whole := strings.Repeat("é", cutAt)
	for said, want := range map[string]string{whole: whole, whole + "é": whole + "…"} {
		if got := excerpt(said, limit{excerpt: cutAt}); !slices.Equal(got, []string{want}) {
			t.Errorf("%d characters become %q", utf8.RuneCountInString(said), got)
		}
	}
}

func TestTimesAreTheReaders(t *testing.T) {
	t.Parallel()
	at := time.Date(2025, 10, 26, 0, 30, 0, 0, time.UTC)
	for zone, want := range map[string]string{
		"Europe/Lisbon":    "Sun 26 Oct, 01:30", // an hour that comes twice
		"America/New_York": "Sat 25 Oct, 20:30",
		"Asia/Kathmandu":   "Sun 26 Oct, 06:15",
		"UTC":              "Sun 26 Oct, 00:30",
		"No/Such_Zone":     "Sun 26 Oct, 00:30",
		"Local":            "Sun 26 Oct, 00:30",
		"":                 "Sun 26 Oct, 00:30",
	} {
		if got := newClock(zone, now).show(at); got != want {
			t.Errorf("%s: %s, want %s", zone, got, want)
		}
	}
}

func TestSomebodyUnknownIsNamedSo(t *testing.T) {
	t.Parallel()
	content := golden(t, "plain")
	content.Name = "\u200b"
	content.Projects = []Project{{ID: 7, Lines: []Line{
		{Kind: "task_completed", Messages: 1, Titles: []string{"Plan"}},
		{Kind: "task_reopened", Messages: 1, Titles: []string{"\u200b"}},
		{Kind: "task_assigned", Messages: 1, Titles: []string{"Plan"}},
		{Kind: "task_archived", Messages: 1, Sender: "Dora", Titles: []string{"Plan"}},
	}}}
	text := compose(t, composer(t), content).Text
	for _, want := range []string{
		"Hello,\n", "\nProject 7\n---------\n\n", "- Somebody completed “Plan”", "- Somebody reopened “a task”",
		"- You were assigned “Plan”", "- Dora task archived “Plan”",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in %s", want, text)
		}
	}
}

func TestWhatIsSaidKeepsItsLines(t *testing.T) {
	t.Parallel()
	for said, want := range map[string][]string{
		"":                                    nil,
		" \n\u200b\n":                         nil,
		strings.Repeat("\u200b", cutAt+1):     nil,
		"One\ntwo":                            {"One", "two"},
		"\r\n One \r\n\r\n\ttwo\t ":           {"One", "two"},
		"One\u2028two\u0085three\vfour\ffive": {"One", "two", "three", "four", "five"},
		strings.Repeat("x\n", maxQuoted):      slices.Repeat([]string{"x"}, maxQuoted),
		strings.Repeat("x\n", maxQuoted) + "\u200b\n": slices.Repeat([]string{"x"}, maxQuoted),
		strings.Repeat("x\n", maxQuoted+1):            append(slices.Repeat([]string{"x"}, maxQuoted-1), "x…"),
		strings.Repeat("x", 60) + "\ny":               {strings.Repeat("x", 60) + "…"},
		strings.Repeat("x", 61) + "\ny":               {strings.Repeat("x", 60) + "…"},
		strings.Repeat("x", 59) + "\nyz":              {strings.Repeat("x", 59), "y…"},
		"One." + "\n" + "two.three":                   {"One.", "two.\u200bthree"},
	} {
		if got := excerpt(said, limit{excerpt: 60}); !slices.Equal(got, want) {
			t.Errorf("%q becomes %q, want %q", said, got, want)
		}
	}

	// Nobody's line looks like one of ours.
	content := golden(t, "plain")
	content.Projects[0].Lines[0].Content = "<b>One</b>\n- Dora (Mon 14 Jul, 17:00)\n-- "
	mail := compose(t, composer(t), content)
	if !strings.Contains(mail.Text, "\n  <b>One</b>\n  - Dora (Mon 14 Jul, 17:00)\n  --\n") {
		t.Errorf("%s", mail.Text)
	}
	if !strings.Contains(mail.HTML, "&lt;b&gt;One&lt;/b&gt;<br>- Dora (Mon 14 Jul, 17:00)<br>--</p>") {
		t.Errorf("%s", mail.HTML)
	}
}

func TestTheBiggestDigestIsToldInFull(t *testing.T) {
	t.Parallel()
	content := golden(t, "plain")
	said := Line{Kind: "chat", Channel: "project_1", Sender: "Charlie", Messages: 1, Content: strings.Repeat("𝕏", cutAt)}
	content.Projects = []Project{{ID: 1, Name: "Website relaunch", Lines: slices.Repeat([]Line{said}, 50)}}
	mail := compose(t, composer(t), content)
	if told := strings.Count(mail.Text, "\n- Charlie"); told != 50 || strings.Contains(mail.Text, "more\n") {
		t.Errorf("of 50 messages %d are told", told)
	}
}

func TestWhatDoesNotFitIsCounted(t *testing.T) {
	t.Parallel()
	for name, line := range map[string]Line{
		"said":      {Kind: "chat", Channel: "project_1", Messages: 1, Content: strings.Repeat("𝕏", 500)},
		"completed": {Kind: "task_completed", Messages: 5, Titles: slices.Repeat([]string{strings.Repeat("𝕏", 500)}, 5)},
		"quotes":    {Kind: "chat", Channel: "project_1", Messages: 1, Content: strings.Repeat(`"`, 500)},
	} {
		for _, test := range []struct{ projects, lines, least int }{{1, 50, 15}, {50, 1, 10}, {1, 200, 15}, {200, 1, 10}} {
			line.Sender = strings.Repeat("𝕐", 300)
			content := golden(t, "plain")
			content.More, content.Projects = 9950, nil
			for i := range test.projects {
				content.Projects = append(content.Projects, Project{
					ID: int64(i + 1), Name: strings.Repeat("ℤ", 300), To: Progress{Total: 1}, Lines: slices.Repeat([]Line{line}, test.lines),
				})
			}
			text := compose(t, composer(t), content).Text
			told := strings.Count(text, "\n- ")
			if more := 9950 + line.Messages*(test.projects*test.lines-told); !strings.Contains(text, "… and "+thousands(more)+" more") {
				t.Errorf("%s, %v: %d are told, but it does not say that there are %d more", name, test, told, more)
			}
			if told < test.least {
				t.Errorf("%s, %v: only %d are told", name, test, told)
			}
		}
	}
}

func TestWhatCannotBeAddressedIsAnError(t *testing.T) {
	t.Parallel()
	for _, email := range []string{
		"", "abe", "abe@example.com, bob@example.com", "abe@example.com> NOTIFY=NEVER", "abe@example.com\r\nBcc: bob@example.com",
		"<abe@example.com>", "abe@@example.com", "abe@example.com\x00", "abe\u2028@example.com", "abe\u200b@example.com",
		"abe@example.com.",
	} {
		content := golden(t, "plain")
		content.Email = email
		if _, err := composer(t).Compose(content, now); err == nil {
			t.Errorf("%q is taken for an address", email)
		}
	}
	content := golden(t, "plain")
	content.Token = "no-uuid\r\n"
	if _, err := composer(t).Compose(content, now); err == nil {
		t.Error("any token will do")
	}
	for _, from := range []string{"", "headway", "wörker@example.com", "a@b\r\nX: y"} {
		if _, err := (&Composer{From: Address{Address: from}}).Compose(golden(t, "plain"), now); err == nil {
			t.Errorf("%q is taken for a sender", from)
		}
	}
}

func TestAnAddressThatIsNotASCIIStaysInTheEnvelope(t *testing.T) {
	t.Parallel()
	content := golden(t, "plain")
	content.Name, content.Email = "Abe", "abe@Exämple.com"
	if composed, err := composer(t).Compose(content, now); err != nil || !bytes.Contains(composed, []byte("\r\nTo: \"Abe\" <abe@xn--exmple-cua.com>\r\n")) {
		t.Errorf("%v\n%s", err, composed)
	}

	content.Name, content.Email = "Åbe", "åbe@exämple.com"
	compose(t, composer(t), content)
	composed, err := composer(t).Compose(content, now)
	if err != nil || !bytes.Contains(composed, []byte("\r\nTo: =?utf-8?b?w4ViZSA8w6ViZUBleMOkbXBsZS5jb20+?= :;\r\n")) {
		t.Errorf("%v\n%s", err, composed)
	}
}
