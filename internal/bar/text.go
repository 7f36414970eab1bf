package bar

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/width"
)

// Clean turns text that a person wrote into one line: no line breaks, nothing that a terminal would interpret, nothing
// that changes the direction of what follows.
func Clean(s string) string {
	var b strings.Builder
	space := false
	for _, r := range s {
		switch {
		case unicode.IsSpace(r):
			space = b.Len() > 0
			continue
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r), r == utf8.RuneError:
			continue
		}
		if space {
			b.WriteByte(' ')
			space = false
		}
		b.WriteRune(r)
	}
	return b.String()
}

// Width returns how many columns a line takes, not counting the escape sequences of a [Palette].
func Width(s string) (columns int) {
	for s != "" {
		if rest, ok := skipEscape(s); ok {
			s = rest
			continue
		}
		r, size := utf8.DecodeRuneInString(s)
		columns += runeWidth(r)
		s = s[size:]
	}
	return columns
}

// skipEscape returns what follows an escape sequence at the start of s, if there is one.
func skipEscape(s string) (rest string, ok bool) {
	if !strings.HasPrefix(s, "\x1b[") {
		return s, false
	}
	end := strings.IndexByte(s, 'm')
	if end < 0 {
		return s, false
	}
	return s[end+1:], true
}

func runeWidth(r rune) int {
	if unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

// Cut shortens a line to this many columns, marking the cut with an ellipsis. Escape sequences are kept.
func Cut(s string, columns int) string {
	if Width(s) <= columns {
		return s
	}
	if columns <= 0 {
		return ""
	}
	var b strings.Builder
	left := columns - 1 // for the ellipsis
	full := false
	for s != "" {
		if rest, ok := skipEscape(s); ok {
			b.WriteString(s[:len(s)-len(rest)])
			s = rest
			continue
		}
		r, size := utf8.DecodeRuneInString(s)
		s = s[size:]
		if full {
			continue
		}
		if w := runeWidth(r); w <= left {
			b.WriteRune(r)
			left -= w
		} else {
			b.WriteRune('…')
			full = true
		}
	}
	return b.String()
}

// Pad extends a line with spaces to this many columns.
func Pad(s string, columns int) string {
	return s + strings.Repeat(" ", max(0, columns-Width(s)))
}

// padLeft extends a line with leading spaces.
func padLeft(s string, columns int) string {
	return strings.Repeat(" ", max(0, columns-Width(s))) + s
}

// Wrap breaks text between words into lines of at most this many columns. A longer word has a line of its own.
func Wrap(s string, columns int) (lines []string) {
	var line string
	for _, word := range strings.Fields(s) {
		switch {
		case line == "":
			line = word
		case Width(line)+1+Width(word) <= columns:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}

// Count formats a number with commas: 9,980.
func Count[N int | int64](n N) string {
	digits := strconv.FormatInt(int64(n), 10)
	start := 0
	if n < 0 {
		start = 1
	}
	for i := len(digits) - 3; i > start; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
