// Package address decides which mail addresses headway writes to.
//
// It implements a single rule, which the constraint appuser_email_one_address states for the database; a fuzz target
// keeps the two in agreement. What a mail or a mail server makes of an address belongs to those packages.
package address

import (
	"regexp"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

const (
	// barred is what has no place in an address: white space, control characters and other invisible ones, private-use
	// characters, and whatever could begin a second recipient, a parameter or a header.
	barred = `\x{0}-\x{20}\x{7f}-\x{a0}\x{ad}\x{61c}\x{1680}\x{180e}\x{2000}-\x{200f}\x{2028}-\x{202f}\x{205f}-\x{206f}\x{3000}` +
		`\x{e000}-\x{f8ff}\x{feff}\x{fff9}-\x{fffb}\x{e0000}-\x{10ffff}@<>()\[\]\\,;:"`

	label = `[^.` + barred + `]+`
)

var plain = regexp.MustCompile(`^[^` + barred + `]+@` + label + `(\.` + label + `)*$`)

// maxLength is what fits into a path with its angle brackets: RFC 5321, section 4.5.3.1.3.
const maxLength = 254

// Plain reports whether s is one address of at most 254 bytes and nothing else. It may contain non-ASCII characters.
func Plain(s string) bool { return len(s) <= maxLength && plain.MatchString(s) }

// ASCII returns an address in the form that any server accepts, with its domain as in the DNS (RFC 5891, section 4). An
// address that has no such form, because of what is before the @, is returned unchanged.
func ASCII(s string) string {
	at := strings.LastIndexByte(s, '@')
	local, domain := s[:at+1], s[at+1:]
	if IsASCII(s) || !IsASCII(local) {
		return s
	}
	ascii, err := idna.Lookup.ToASCII(domain)
	if err != nil {
		return s
	}
	return local + ascii
}

// IsASCII reports whether s contains only ASCII characters.
func IsASCII[T string | []byte](s T) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
