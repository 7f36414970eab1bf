package mail

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// zeroWidthSpace is invisible, and no part of an address or a link.
const zeroWidthSpace = '\u200b'

// clean makes what somebody typed fit for one line: white space becomes single spaces, and what does not show or
// changes how its surroundings show (control characters, bidi overrides, zero-width characters, towers of accents) is
// left out. It is cut off after a number of characters.
func clean(s string, limit int) string {
	var b strings.Builder
	var last rune // written
	marks, length := 0, 0
	for _, r := range s {
		switch {
		case unicode.IsSpace(r) || r == '\u2800' || r == '\u3164' || r == '\uffa0': // blank, though letters by name
			r = ' '
			if last == ' ' || last == 0 {
				continue
			}
		case joins(r):
			// Joiners: Persian and emoji need them, after what is neither ASCII nor another one.
			if last < utf8.RuneSelf || joins(last) {
				continue
			}
		case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Cs,
			unicode.Other_Default_Ignorable_Code_Point, unicode.Noncharacter_Code_Point):
			continue
		}
		switch {
		case unicode.In(r, unicode.Mn, unicode.Me):
			if marks++; marks > 4 {
				continue
			}
		case !joins(r): // what comes after one is still drawn onto the same letter
			marks = 0
		}
		if length == limit {
			return strings.TrimRight(b.String(), " \u200c\u200d") + "…"
		}
		b.WriteRune(r)
		last = r
		length++
	}
	return strings.TrimRight(b.String(), " \u200c\u200d")
}

// joins reports whether r joins or parts letters, and shows nothing itself.
func joins(r rune) bool { return r == '\u200c' || r == '\u200d' }

// headerText is clean, and nothing that looks encoded (RFC 2047) either.
func headerText(s string, limit int) string { return strings.ReplaceAll(clean(s, limit), "=?", "= ?") }

// defuse puts an invisible break into whatever a mail client would take for an address and make a link of: after a
// dot, a colon or an at sign within a word, and into double slashes of either kind.
func defuse(s string) string {
	var b strings.Builder
	text := []rune(s)
	for i, r := range text {
		b.WriteRune(r)
		if i+1 < len(text) && links(text[max(i-1, 0)], r, text[i+1]) {
			b.WriteRune(zeroWidthSpace)
		}
	}
	return b.String()
}

// links reports whether r, between these two, could be what makes a link.
func links(previous, r, next rune) bool {
	word := func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }
	switch r {
	case '.', '。', '．', '｡': // all of them separate the labels of a host name
		return word(next) && !(unicode.IsDigit(previous) && unicode.IsDigit(next)) // but 3.5 is a number
	case ':':
		return next == '/' || unicode.IsLetter(previous) && next != ' '
	case '@', '＠':
		return word(next)
	case '/', '\\':
		return next == r
	}
	return false
}

// wrap breaks text into lines of at most 72 characters, as long as its words allow; the first line begins with one
// prefix and the others with another. What [nobreak] held together stays on one line.
func wrap(first, rest, text string) string {
	const width = 72
	var b strings.Builder
	b.WriteString(first)
	column, empty := utf8.RuneCountInString(first), true
	for word := range strings.SplitSeq(text, " ") {
		length := utf8.RuneCountInString(word) - strings.Count(word, string(zeroWidthSpace))
		switch {
		case empty:
		case column+1+length > width:
			b.WriteString("\n" + rest)
			column = utf8.RuneCountInString(rest)
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += length
		empty = false
	}
	return strings.ReplaceAll(b.String(), noBreakSpace, " ")
}

// noBreakSpace is nothing that [clean] leaves.
const noBreakSpace = "\u00a0"

func nobreak(s string) string { return strings.ReplaceAll(s, " ", noBreakSpace) }

// count is a number of things: "1 task", "9,950 tasks".
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return thousands(n) + " " + many
}

// thousands is a number with commas.
func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// underline is a line as long as a heading.
func underline(heading string) string {
	return strings.Repeat("-", utf8.RuneCountInString(heading)-strings.Count(heading, string(zeroWidthSpace)))
}
