package bar

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

var typed = []string{
	"", " ", "Website relaunch", "Zoë", "e\u0301", "漢字かな", "한국어", "👩‍👩‍👧 team", "שלום", "\u202egnp.exe", "a\tb\nc\r\nd", "\x1b[31mred\x1b[0m", "\x1b]0;title\a",
	"\x1b[", "\x9b31m", "\u009b31m", "\xff\xfe", "\u200b\u200d\ufeff", "\u0301\u0301", "ﷺ", "Ａ", "a\u3000b", "\u2028", "\u00ad", strings.Repeat("wide 漢 ", 40),
}

// Whatever somebody calls themselves, a terminal obeys none of it and no line is too long.
func FuzzText(f *testing.F) {
	for _, s := range typed {
		for _, columns := range []int{-1, 0, 1, 2, 10, 80} {
			f.Add(s, columns)
		}
	}
	f.Fuzz(func(t *testing.T, s string, columns int) {
		columns %= 1000
		cleaned := Clean(s)
		if strings.ContainsFunc(cleaned, unicode.IsControl) || !utf8.ValidString(cleaned) || strings.TrimSpace(cleaned) != cleaned || Clean(cleaned) != cleaned {
			t.Errorf("%q is cleaned to %q", s, cleaned)
		}
		for _, text := range []string{cleaned, Palette{Color: true}.Warn(cleaned), s} {
			cut := Cut(text, columns)
			if Width(cut) > max(columns, 0) || cut != text && Width(text) <= columns {
				t.Errorf("%q is cut to %d columns as %q", text, columns, cut)
			}
		}
		if padded := Pad(cleaned, columns); Width(padded) != max(Width(cleaned), columns) {
			t.Errorf("%q is filled up to %d columns as %q", cleaned, columns, padded)
		}
		if columns > 0 {
			for _, line := range Wrap(s, columns) {
				if Width(line) > columns && len(strings.Fields(line)) > 1 || line == "" {
					t.Errorf("%q has a line %q in %d columns", s, line, columns)
				}
			}
		}
	})
}

// Whatever is to be drawn, and wherever, it fits.
func FuzzFit(f *testing.F) {
	for i, s := range typed {
		for _, n := range []int64{0, 1, -1, 9_223_372_036_854_775_807, -9_223_372_036_854_775_808} {
			f.Add(s, typed[(i+1)%len(typed)], n, int64(10), n, i*5, i, i%7, uint8(i))
		}
	}
	f.Fuzz(func(t *testing.T, name, note string, done, total, gained int64, width, height, notes int, customers uint8) {
		row := Row{Name: Clean(name), Note: Clean(note), Done: done, Total: total, Gained: gained}
		width, height, notes = width%500, height%200, notes%200
		var groups []Group
		for left := int(customers); left >= 0; left -= 10 {
			group := Group{Sum: row}
			for range left % 10 {
				group.Rows = append(group.Rows, row)
			}
			groups = append(groups, group)
		}
		lines := Fit(Palette{Color: true}, groups, width, height, notes)
		if len(lines) > max(height, 0) {
			t.Errorf("%d lines in %d", len(lines), height)
		}
		for _, line := range lines {
			if Width(line) > max(width, 0) || strings.Contains(line, "\n") {
				t.Errorf("%q in %d columns", line, width)
			}
		}
		if columns := min(max(width, 0), 200); Width(Bar(Palette{}, row, columns)) != columns {
			t.Errorf("%d of %d, %+d of them new: %s", done, total, gained, Bar(Palette{}, row, columns))
		}
	})
}
