package mail

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// zeroWidthSpace is invisible, and cannot be part of an address or a link.
const zeroWidthSpace = '\u200b'

// clean makes what somebody typed fit on one line: white space becomes single spaces, and characters that do not show,
// or change how their surroundings show (control characters, bidi overrides, zero-width characters, stacks of accents),
// are removed. It is cut off after limit characters.
func clean(s string, limit int) string {
	var b strings.Builder
	var last rune // the last one written
	marks, length := 0, 0
	for _, r := range s {
		switch {
		case unicode.IsSpace(r) || r == '\u2800' || r == '\u3164' || r == '\uffa0': // blank, though not white space in Unicode
			r = ' '
			if last == ' ' || last == 0 {
				continue
			}
		case joins(r):
			// Joiners: Persian and emoji need them, after a non-ASCII character other than a joiner.
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
		case !joins(r): // a mark after a joiner is still drawn onto the same letter
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

// endsLine reports whether a new line begins after r (Unicode Standard Annex #14, class BK, CR, LF and NL).
func endsLine(r rune) bool { return strings.ContainsRune("\n\v\f\r\u0085\u2028\u2029", r) }

// joins reports whether r joins or separates letters without itself being visible.
func joins(r rune) bool { return r == '\u200c' || r == '\u200d' }

// headerText is clean, and also breaks up anything that looks encoded (RFC 2047).
func headerText(s string, limit int) string { return strings.ReplaceAll(clean(s, limit), "=?", "= ?") }

// defuse inserts an invisible break into anything that a mail client would take for an address and turn into a link:
// after a dot, a colon or an at sign within a word, and into double slashes of either kind.
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

// links reports whether r, between these two, could make a link.
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

// wrap breaks text into lines of at most 72 characters, as far as its words allow; first is the prefix of the first
// line and rest that of the others. What [nobreak] joined stays on one line.
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

// noBreakSpace never occurs in what [clean] returns.
const noBreakSpace = "\u00a0"

func nobreak(s string) string { return strings.ReplaceAll(s, " ", noBreakSpace) }

// count formats a number of things: "1 task", "9,950 tasks".
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return thousands(n) + " " + many
}

// thousands formats a number with commas.
func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// underline returns a line as long as a heading.
func underline(heading string) string {
	return strings.Repeat("-", utf8.RuneCountInString(heading)-strings.Count(heading, string(zeroWidthSpace)))
}
