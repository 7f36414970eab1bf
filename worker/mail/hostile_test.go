package mail

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"headway/internal/address"
)

// payloads are what somebody might try.
var payloads = []string{
	"<img src=x onerror=alert(1)>", "</style><script>alert(1)</script>", "</title><b>", "<a href='javascript:alert(1)'>x</a>",
	"javascript:alert(1)", "data:text/html;base64,PHNjcmlwdD4=", "https://evil.example/?q=1#x", "//evil.example", "www.evil.example",
	"evil.example", "mail evil@evil.example now", "mailto:evil@evil.example", `\\evil\share`, "file:///etc/passwd", "tel:+123456",
	"http://127.0.0.1:8080/", "evil。example", "evil．example", "evil｡example", "evil＠evil。example", "例え.テスト",
	"Abe\r\nBcc: bob@example.com", "Abe\nX-Evil: 1\n\n<b>body</b>", "Abe\rBcc: bob@example.com", "x\r\n.\r\nMAIL FROM:<evil@example.com>",
	"=?utf-8?q?=0D=0ABcc:_bob@example.com?=", `"Abe" <evil@example.com>, Bob`, "Abe <evil@example.com>", "Abe (comment", `Abe\`, `"`,
	"\u202egnp.exe\u202c", "\u2066a\u2069", "a\u200b\u200cb\u200d\ufeff", "\u0000\u0007\u001b[31mred\u009b0m", "\u2028\u2029\u0085", " \t indented",
	"\U000e0041\U000e007f", "Z\u0351\u036b\u0343\u036a\u0302\u036b\u033d\u034f\u0334\u0319\u0324\u031e\u0349", "\u3164", "\u115f",
	"👩‍👩‍👧‍👦 🏴󠁧󠁢󠁥󠁮󠁧󠁿", "می\u200cخواهم", "שלום עולם", "𝕏𝕐ℤ", "\xff\xfe\x80", "--=_6542525093a5906b8b4c2abc41a0823dfd5c2855d235fc50d62d9269426f80cd--",
	"Перенос сайта и магазина на новую платформу", "{{.Unsubscribe}}", "{{template \"x\"}}", "&lt;b&gt;&#60;", "%0d%0aBcc:x", strings.Repeat("a", 3000), strings.Repeat("a b ", 900),
}

// hostile puts a text wherever somebody can type one.
func hostile(t testing.TB, name, project, sender, title, said, channel string) Content {
	content := golden(t, "plain")
	content.Name = name
	content.Projects = []Project{
		{ID: 42, Name: project, To: Progress{Total: 3, Percent: 33}, Lines: []Line{
			{Kind: "task_completed", Sender: sender, Messages: 12, Titles: []string{title, title, title}},
			{Kind: "task_assigned", Sender: sender, Messages: 1, Titles: []string{title}},
			{Kind: "task_reopened", Sender: sender, Messages: 1, Titles: []string{title}, Reason: said},
			{Kind: "chat", Sender: sender, Messages: 1, Channel: "project_42", Content: said},
			{Kind: "chat", Sender: sender, Messages: 1, Channel: channel, Content: said},
		}},
	}
	return content
}

func TestNothingTypedGetsOut(t *testing.T) {
	t.Parallel()
	for _, p := range payloads {
		t.Run(fmt.Sprintf("%.20q", p), func(t *testing.T) {
			compose(t, composer(t), hostile(t, p, p, p, p, p, p))
		})
	}
}

func FuzzCompose(f *testing.F) {
	for _, p := range payloads {
		f.Add(p, "abe@example.com", p, p, p, p, p)
	}
	for _, email := range []string{"åbe@example.com", "a@b> NOTIFY=NEVER", "a,b@example.com", "'%a'@[::1]", "a@b;c", "a..b@example.com", "a@-"} {
		f.Add("Abe", email, "Website relaunch", "Bob", "Plan", "Hello", "design")
	}
	c := composer(f)
	f.Fuzz(func(t *testing.T, name, email, project, sender, title, said, channel string) {
		content := hostile(t, name, project, sender, title, said, channel)
		if content.Email = email; !address.Plain(email) {
			content.Email = "abe@example.com"
		}
		compose(t, c, content)
	})
}

func TestANumberIsNoLink(t *testing.T) {
	t.Parallel()
	for typed, want := range map[string]string{"3.5 h": "3.5 h", "3.com": "3.\u200bcom", "x.5": "x.\u200b5"} {
		if got := defuse(typed); got != want {
			t.Errorf("%q becomes %q, want %q", typed, got, want)
		}
	}
}

var tower = regexp.MustCompile(`[\p{Mn}\p{Me}]{5}`)

func FuzzClean(f *testing.F) {
	for _, p := range append(payloads, "é"+strings.Repeat("\u0301\u0302\u0303\u0304\u200c", 9), "é"+strings.Repeat("\u0301\ufe0f\u200d", 9)) {
		f.Add(p)
	}
	for _, whole := range []string{"👩\u200d👩\u200d👧", "❤\ufe0f\u200d🔥", "1\ufe0f\u20e3", "می\u200cخواهم", "क्\u200dष", "हिन्दी में मात्राएँ"} {
		if got := clean(whole, 20); got != whole {
			f.Errorf("%+q becomes %+q", whole, got)
		}
	}
	for joined, want := range map[string]string{"A\u200dbe": "Abe", "é\u200d\u200cé": "é\u200dé"} {
		if got := clean(joined, 20); got != want {
			f.Errorf("%+q becomes %+q, want %+q", joined, got, want)
		}
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := clean(s, 20)
		if length := utf8.RuneCountInString(got); length > 21 || !utf8.ValidString(got) || strings.TrimSpace(got) != got {
			t.Errorf("%q", got)
		}
		if tower.MatchString(strings.NewReplacer("\u200c", "", "\u200d", "").Replace(got)) {
			t.Errorf("%+q is a tower of accents", got)
		}
		if again := clean(got, 21); again != got {
			t.Errorf("cleaned again, %q becomes %q", got, again)
		}
		if found := linked.FindString(defuse(got)); found != "" {
			t.Errorf("%q may become a link", found)
		}
	})
}
