package bar

import (
	"fmt"
	"strings"
	"testing"
)

func TestPercentIsFloored(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ done, total, want int64 }{{0, 0, 0}, {0, 3, 0}, {1, 3, 33}, {2, 3, 66}, {999, 1000, 99}, {3, 3, 100}, {5, 0, 0}} {
		if got := Percent(c.done, c.total); got != c.want {
			t.Errorf("%d of %d: %d", c.done, c.total, got)
		}
	}
}

func TestABarIsFullOnlyWhenEverythingIsDone(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		done, total int64
		want        string
	}{
		{0, 10, "░░░░░░░░░░"},
		{1, 1000, "█░░░░░░░░░"},
		{5, 10, "█████░░░░░"},
		{999, 1000, "█████████░"},
		{1000, 1000, "██████████"},
		{1<<60 - 1, 1 << 60, "█████████░"}, // the same as a float
		{0, 0, "░░░░░░░░░░"},
		{7, 3, "██████████"},
		{-1, 3, "░░░░░░░░░░"},
	} {
		if got := Bar(Palette{}, Row{Done: c.done, Total: c.total}, 10); got != c.want {
			t.Errorf("%d of %d: %s", c.done, c.total, got)
		}
	}
}

func TestWhatHasJustComeIsMarked(t *testing.T) {
	t.Parallel()
	filled, good, fresh, left := Palette{Color: true}.filled, Palette{Color: true}.Good, Palette{Color: true}.Fresh, Palette{Color: true}.Dim
	cells := func(n int) string { return strings.Repeat("█", n) }
	for _, c := range []struct {
		done, gained int64
		want         string
	}{
		{5, 2, "\x1b[36m███\x1b[0m\x1b[1;33m██\x1b[0m\x1b[2m░░░░░\x1b[0m"},
		{5, -2, filled(cells(5)) + left("░░░░░")},
		{10, 0, good(cells(10))},
		{10, 2, filled(cells(8)) + fresh(cells(2))}, // complete only now
		{10, -2, good(cells(10))},
	} {
		got := Bar(Palette{Color: true}, Row{Done: c.done, Total: 10, Gained: c.gained}, 10)
		if got != c.want || Width(got) != 10 {
			t.Errorf("%d of 10, of which %d have just come: %q, want %q", c.done, c.gained, got, c.want)
		}
	}
}

func people(n int) (rows []Row) {
	for i := range n {
		rows = append(rows, Row{Name: fmt.Sprintf("Customer %d", i+1), Done: int64(i % 10), Total: 10})
	}
	return rows
}

func TestATableHasItsColumnsBelowEachOther(t *testing.T) {
	t.Parallel()
	rows := []Row{
		{Name: "Website relaunch", Done: 15, Total: 44, Gained: 6, Note: "Dora: 1 unread", Heading: true},
		{Name: "Abe", Done: 5, Total: 15, Gained: 2},
		{Name: "Bob", Done: 14, Total: 14},
		{Name: "山田", Done: 0, Total: 15, Note: "2 unread"},
	}
	for width, want := range map[int]string{
		79: `
Website relaunch  █████████░░░░░░░░░░░░░░░░░░   34%  15/44  +14  Dora: 1 unread
  Abe             █████████░░░░░░░░░░░░░░░░░░   33%   5/15  +13
  Bob             ███████████████████████████  100%  14/14
  山田            ░░░░░░░░░░░░░░░░░░░░░░░░░░░    0%   0/15  2 unread`,
		50: `
Website relaunch  ██░░░░   34%  15/44  +14  Dora:…
  Abe             ██░░░░   33%   5/15  +13
  Bob             ██████  100%  14/14
  山田            ░░░░░░    0%   0/15  2 unread`,
		30: `
Website r…  ██░░░░   34%  +14…
  Abe       ██░░░░   33%  +13
  Bob       ██████  100%
  山田      ░░░░░░    0%  2 u…`,
		20: `
Website…   34%  +14…
  Abe      33%  +13
  Bob     100%
  山田      0%  2 u…`,
		8: `
W…   34%
 …   33%
 …  100%
 …    0%`,
	} {
		if got := "\n" + strings.Join(Table(Palette{}, rows, width, 0), "\n"); got != want {
			t.Errorf("at %d columns:%s", width, got)
		}
	}
}

func TestWhatWouldSayNothingIsLeftOut(t *testing.T) {
	t.Parallel()
	rows := []Row{{Name: "Customer", Done: 1, Total: 3}}
	for _, note := range []string{"", "2 unread"} {
		rows[0].Note = note
		if got := Table(Palette{}, rows, 18, 0)[0]; got != "  Custo…   33%" {
			t.Errorf("where four columns are left: %q", got)
		}
	}
}

func TestAHeadingStandsOut(t *testing.T) {
	t.Parallel()
	p := Palette{Color: true}
	for heading, want := range map[bool]string{true: p.Strong("Shop    "), false: "  Abe   "} {
		name := map[bool]string{true: "Shop", false: "Abe"}[heading]
		if got := Table(p, []Row{{Name: name, Heading: heading}, {Name: "Dora F"}}, 60, 0)[0]; !strings.HasPrefix(got, want) {
			t.Errorf("%s is drawn as %q", name, got)
		}
	}
}

func TestABarIsNoLongerThanIsEasyToRead(t *testing.T) {
	t.Parallel()
	if n := strings.Count(Table(Palette{}, []Row{{Name: "Abe", Done: 1, Total: 1}}, 200, 0)[0], "█"); n != 48 {
		t.Errorf("%d columns of 200", n)
	}
}

func TestBarsKeepTheirLengthWhenNotesComeAndGo(t *testing.T) {
	t.Parallel()
	rows := people(1)
	quiet := Table(Palette{}, rows, 60, 8)[0]
	rows[0].Note = "1 unread"
	if noted := Table(Palette{}, rows, 60, 8)[0]; strings.TrimSuffix(noted, "  1 unread") != quiet {
		t.Errorf("\n%s\n%s", quiet, noted)
	}
}

func TestFitShowsWhatFitsAndSaysHowMuchDoesNot(t *testing.T) {
	t.Parallel()
	groups := []Group{
		{Sum: Row{Name: "Website relaunch", Done: 45, Total: 100}, Rows: people(10_000)},
		{Sum: Row{Name: "Brand guide", Done: 1, Total: 10}, Rows: people(2)},
	}
	for height, want := range map[int]string{
		8: `
Website relaunch  ███████░░░░░░░░░   45%  45/100
  Customer 1      ░░░░░░░░░░░░░░░░    0%    0/10
  Customer 2      █░░░░░░░░░░░░░░░   10%    1/10
  Customer 3      ███░░░░░░░░░░░░░   20%    2/10
  and 9,997 more
Brand guide       █░░░░░░░░░░░░░░░   10%    1/10
  Customer 1      ░░░░░░░░░░░░░░░░    0%    0/10
  Customer 2      █░░░░░░░░░░░░░░░   10%    1/10`,
		4: `
Website relaunch  ███████░░░░░░░░░   45%  45/100
  10,000 customers
Brand guide       █░░░░░░░░░░░░░░░   10%    1/10
  2 customers`,
		2: `
Website relaunch  ███████░░░░░░░░░   45%  45/100
Brand guide       █░░░░░░░░░░░░░░░   10%    1/10`,
		1: `
and 2 more projects`,
		0: "\n",
	} {
		if got := "\n" + strings.Join(Fit(Palette{}, groups, 48, height, 0), "\n"); got != want {
			t.Errorf("in %d lines:%s", height, got)
		}
	}
	groups = append(groups, Group{Sum: Row{Name: "Shop"}}, Group{Sum: Row{Name: "Intranet"}})
	if lines := Fit(Palette{}, groups, 48, 3, 0); len(lines) != 3 || lines[2] != "and 2 more projects" {
		t.Errorf("of four projects in three lines: %q", lines)
	}
}

func TestNothingIsEverWiderOrHigherThanAskedFor(t *testing.T) {
	t.Parallel()
	groups := []Group{
		{Sum: Row{Name: "A project with a rather long name", Done: 1_234_567, Total: 9_999_999, Gained: -1_000_000, Note: "Dora: 999 unread"}, Rows: people(40)},
		{Sum: Row{Name: "山田太郎山田太郎山田太郎", Done: 1, Total: 3}, Rows: []Row{{Name: "", Note: "1 unread"}}},
		{Sum: Row{Name: "Z", Done: 3, Total: 3}},
	}
	for _, color := range []bool{false, true} {
		for width := range 130 {
			for _, height := range []int{0, 1, 2, 3, 4, 5, 10, 50} {
				lines := Fit(Palette{Color: color}, groups, width, height, 9)
				if len(lines) > height {
					t.Fatalf("%d lines instead of %d", len(lines), height)
				}
				for _, line := range lines {
					if Width(line) > width {
						t.Fatalf("%d columns instead of %d: %q", Width(line), width, line)
					}
				}
			}
		}
	}
}

func TestCleanLeavesNothingThatATerminalObeys(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"plain":                             "plain",
		" \t indented":                      "indented",
		"two\nlines\tand  spaces ":          "two lines and spaces",
		"\x1b[31mred\x1b]0;title\x07\u009b": "[31mred]0;title",
		"right\u202eto left\u2066":          "rightto left",
		"bad \xff utf8":                     "bad utf8",
		"Zoë 山田":                            "Zoë 山田",
	} {
		if got := Clean(text); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}

func TestCutKeepsColoursWhole(t *testing.T) {
	t.Parallel()
	p := Palette{Color: true}
	for _, c := range []struct {
		text    string
		columns int
		want    string
	}{
		{"short", 5, "short"},
		{"longer", 5, "long…"},
		{p.Strong("Abe:") + " hello", 7, "\x1b[1mAbe:\x1b[0m h…"},
		{p.Strong("Abe:"), 3, "\x1b[1mAb…\x1b[0m"},
		{"山田太郎", 5, "山田…"},
		{"山田太郎", 4, "山…"},
		{"x", 0, ""},
		{"Zoe\u0308", 3, "Zoe\u0308"},
	} {
		if got := Cut(c.text, c.columns); got != c.want {
			t.Errorf("%q in %d: %q", c.text, c.columns, got)
		}
	}
}

func TestWrapBreaksBetweenWords(t *testing.T) {
	t.Parallel()
	got := strings.Join(Wrap("one two  three incomprehensibilities four", 7), "|")
	if want := "one two|three|incomprehensibilities|four"; got != want {
		t.Errorf("%q", got)
	}
}

func TestCountHasCommas(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000", -100: "-100"} {
		if got := Count(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}
