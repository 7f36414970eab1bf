package mail

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	_ "time/tzdata" // the readers' time zones, wherever the program runs
)

// view is what both templates show. Its texts are clean and defused, and say everything: the templates only arrange
// them.
type view struct {
	Subject, Preheader string
	Greeting, Intro    string
	Sections           []section
	More               string // empty: nothing was left out
	AppURL             string // empty, as for every other URL: no link
	Footer             string
	Unsubscribe        string
}

// section is a project, or messages that belong to none.
type section struct {
	Name, URL string
	Bar       *bar // nil: nothing to do
	Blocks    []block
}

// bar is a progress bar. Its parts are percentages and add up to 100.
type bar struct {
	Label, Spoken, Text      string
	Kept, Gained, Lost, Rest int
}

// block is the activity of a section, or a channel.
type block struct {
	Name, URL string // empty: activity
	Items     []item
}

// item is one thing that happened, in one sentence: who, what (which may be empty), the rest.
type item struct {
	Who, What, Detail string
	Quote             []string // the lines of what was said, or of the reason
	When              string
}

// limit is how much of everything may be shown.
type limit struct{ excerpt, title, name, lines int }

// limits are the limits to try, the most generous first.
func limits(content Content) []limit {
	lines := 0
	for _, p := range content.Projects {
		lines += len(p.Lines)
	}
	all := []limit{{cutAt, 120, 80, lines}, {250, 100, 80, lines}, {120, 80, 60, lines}, {60, 50, 40, lines}}
	for lines = lines * 3 / 4; lines > 0; lines = lines * 3 / 4 {
		all = append(all, limit{60, 50, 40, lines})
	}
	return all
}

func (c *Composer) view(content Content, limit limit, now time.Time) view {
	clock := newClock(content.TimeZone, now)
	more := content.More
	v := view{
		Subject:     subject(content),
		Greeting:    "Hello,",
		Intro:       "New since " + clock.show(content.Since) + ": " + news(content.Counts) + ".",
		Footer:      "You get this mail because something had been unread for a while. Times are in " + clock.zone + ".",
		Unsubscribe: c.unsubscribeURL(content.Token),
	}
	if c.AppURL != nil {
		v.AppURL = c.AppURL.String()
	}
	if name := clean(content.Name, limit.name); name != "" {
		v.Greeting = "Hello " + defuse(name) + ","
	}
	left := limit.lines
	for _, project := range content.Projects {
		shown := min(left, len(project.Lines))
		left -= shown
		for _, line := range project.Lines[shown:] {
			more += line.Messages
		}
		if shown > 0 {
			project.Lines = project.Lines[:shown]
			v.Sections = append(v.Sections, c.section(project, limit, clock))
		}
	}
	if more > 0 {
		v.More = "… and " + thousands(more) + " more"
	}
	v.Preheader = preheader(v.Sections)
	return v
}

// subject returns the subject of a mail: "Website relaunch and 2 more: 12 tasks completed, 3 new messages".
func subject(content Content) string {
	about, others := "", 0
	for _, p := range content.Projects {
		switch name := headerText(p.Name, 60); {
		case name == "":
		case about == "":
			about = name
		default:
			others++
		}
	}
	switch {
	case about == "":
		return news(content.Counts)
	case others > 0:
		about += fmt.Sprintf(" and %s more", thousands(others))
	}
	return about + ": " + news(content.Counts)
}

// news counts what there is: "12 tasks completed, 3 new messages".
func news(n Counts) string {
	var parts []string
	for _, part := range []struct {
		n         int
		one, many string
	}{
		{n.Completed, "task completed", "tasks completed"},
		{n.Reopened, "task reopened", "tasks reopened"},
		{n.Assigned, "task assigned to you", "tasks assigned to you"},
		{n.Chat, "new message", "new messages"},
	} {
		if part.n > 0 {
			parts = append(parts, count(part.n, part.one, part.many))
		}
	}
	if len(parts) == 0 {
		return "news"
	}
	return strings.Join(parts, ", ")
}

// preheader is what an inbox shows next to the subject, which already has the numbers.
func preheader(sections []section) string {
	var parts []string
	for _, s := range sections {
		if s.Bar != nil {
			parts = append(parts, s.Bar.Label)
		}
		for _, b := range s.Blocks {
			for _, i := range b.Items {
				said := i.Sentence()
				if i.Quote != nil {
					said += ": " + strings.Join(i.Quote, " ")
				}
				parts = append(parts, said)
			}
		}
	}
	return defuse(clean(strings.Join(parts[:min(len(parts), 4)], " · "), 140))
}

func (c *Composer) section(project Project, limit limit, clock clock) section {
	s := section{Name: defuse(clean(project.Name, limit.name)), URL: c.projectURL(project.ID), Bar: newBar(project.From, project.To)}
	switch {
	case s.Name != "":
	case project.ID != 0:
		s = section{Name: fmt.Sprintf("Project %d", project.ID)} // not one of the reader's: nothing to open, no bar
	default:
		s.Name = "Other news"
	}
	for _, line := range project.Lines {
		name, url := "", ""
		if line.Kind == "chat" {
			name, url = channelName(line.Channel, project.ID), c.channelURL(line.Channel)
		}
		if last := len(s.Blocks) - 1; last < 0 || s.Blocks[last].Name != name {
			s.Blocks = append(s.Blocks, block{Name: name, URL: url})
		}
		last := &s.Blocks[len(s.Blocks)-1]
		last.Items = append(last.Items, newItem(line, limit, clock))
	}
	return s
}

// channelName is what people call a channel.
func channelName(channel string, project int64) string {
	switch channel {
	case "broadcast":
		return "Messages to everyone"
	case fmt.Sprintf("project_%d", project):
		return "Messages"
	case fmt.Sprintf("project_%d_staff", project):
		return "Messages among staff"
	}
	return "Messages in " + defuse(clean(channel, 63))
}

func newItem(line Line, limit limit, clock clock) item {
	who := defuse(clean(line.Sender, limit.name))
	if who == "" {
		who = "Somebody"
	}
	i := item{Who: who, Detail: titles(line, limit), When: clock.show(line.SentAt)}
	switch line.Kind {
	case "chat":
		i.Detail, i.Quote = "", excerpt(line.Content, limit)
	case "task_completed":
		i.What = "completed"
		if line.Messages > 1 {
			i.What = "completed " + count(line.Messages, "task", "tasks") + ":"
		}
	case "task_reopened":
		i.What, i.Quote = "reopened", excerpt(line.Reason, limit)
	case "task_assigned":
		i.What = "assigned you"
		if line.Sender == "" {
			i.Who, i.What = "You", "were assigned"
		}
	default: // a kind from a later schema
		i.What = strings.ReplaceAll(clean(line.Kind, 40), "_", " ")
	}
	return i
}

// Sentence says what happened, without quote and time.
func (i item) Sentence() string {
	return strings.Join(strings.Fields(i.Who+" "+i.What+" "+i.Detail), " ")
}

// titles names the tasks of a line: “One”, or: One, Two, Three and 9 more.
func titles(line Line, limit limit) string {
	var titles []string
	for _, title := range line.Titles {
		if title = defuse(clean(title, limit.title)); title == "" {
			title = "a task"
		}
		titles = append(titles, title)
	}
	switch more := line.Messages - len(titles); {
	case len(titles) == 0:
		return count(max(more, 1), "task", "tasks")
	case more > 0:
		return strings.Join(titles, ", ") + " and " + thousands(more) + " more"
	case len(titles) == 1:
		return "“" + titles[0] + "”"
	default:
		return strings.Join(titles[:len(titles)-1], ", ") + " and " + titles[len(titles)-1]
	}
}

// maxQuoted is how many lines of a message are quoted.
const maxQuoted = 12

// excerpt returns the first lines of what somebody wrote, without the empty ones.
func excerpt(said string, limit limit) (lines []string) {
	left, more := limit.excerpt, len([]rune(said)) > cutAt
	for line := range strings.FieldsFuncSeq(said, endsLine) {
		if clean(line, 1) == "" {
			continue
		}
		if left <= 0 || len(lines) == maxQuoted {
			more = true
			break
		}
		text := clean(line, left)
		lines = append(lines, defuse(text))
		left -= utf8.RuneCountInString(text)
	}
	if n := len(lines); more && n > 0 && !strings.HasSuffix(lines[n-1], "…") {
		lines[n-1] += "…"
	}
	return lines
}

func newBar(from, to Progress) *bar {
	if to.Total == 0 {
		return nil
	}
	was, is := min(max(from.Percent, 0), 100), min(max(to.Percent, 0), 100)
	b := &bar{
		Label: fmt.Sprintf("%d %% → %d %%", was, is), Spoken: fmt.Sprintf("Progress: from %d to %d percent", was, is),
		Kept: min(was, is), Gained: max(is-was, 0), Lost: max(was-is, 0), Rest: 100 - max(was, is),
	}
	if was == is {
		b.Label, b.Spoken = fmt.Sprintf("%d %%", is), fmt.Sprintf("Progress: %d percent", is)
	}
	const cells = 20
	kept, reached := b.Kept*cells/100, max(was, is)*cells/100
	change := "+"
	if b.Lost > 0 {
		change = "-"
	}
	b.Text = "[" + strings.Repeat("#", kept) + strings.Repeat(change, reached-kept) + strings.Repeat("·", cells-reached) + "] " + b.Label
	return b
}

// clock shows times as the reader's clock does.
type clock struct {
	location *time.Location
	zone     string
	now      time.Time
}

func newClock(zone string, now time.Time) clock {
	location, err := time.LoadLocation(zone)
	if err != nil || zone == "Local" {
		location = time.UTC
	}
	return clock{location: location, zone: location.String(), now: now.In(location)}
}

func (c clock) show(t time.Time) string {
	t = t.In(c.location)
	if t.Year() != c.now.Year() {
		return t.Format("Mon 2 Jan 2006, 15:04")
	}
	return t.Format("Mon 2 Jan, 15:04")
}
