package address

import (
	"strings"
	"testing"
)

func TestAnAddressIsPlain(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"abe@example.com", "a@b", "åbe@exämple.com", "a..b@c", ".a@c", "a+b=c@d-e.f", "a@-", "'a'@c", "%a!b@c", "a\u0301@c", "👩@c", strings.Repeat("a", 252) + "@c"} {
		if !Plain(s) {
			t.Errorf("%q is none", s)
		}
	}
	for _, s := range []string{
		"", "@", "a", "a@", "@b", "a@b@c", "a@b.", "a@.b", "a@b..c", "a b@c", "a@b\r\nBcc: c@d", "a@b> NOTIFY=NEVER", "a@b,c", "a@b;c", "a@[::1]", `"a"@b`,
		"(a)a@b", "a@b\x00", "a@b\x7f", "a@b\u0085", "a\u00a0@b", "a\u00ad@b", "a@\u200bb", "a@b\u2028c", "\u202ea@b", "a\ue000@b", "a\ufeff@b", "a\U000e0041@b",
		strings.Repeat("a", 253) + "@c",
	} {
		if Plain(s) {
			t.Errorf("%q is one", s)
		}
	}
}
