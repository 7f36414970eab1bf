package mail

import (
	"bufio"
	"bytes"
	"html"
	"maps"
	"mime"
	netmail "net/mail"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/emersion/go-message/textproto"

	"headway/internal/address"
)

// compose composes a mail and checks all that has to hold for every one.
func compose(t testing.TB, c *Composer, content Content) Mail {
	t.Helper()
	composed, err := c.Compose(content, now)
	if err != nil {
		t.Fatal(err)
	}
	checkWire(t, composed)
	checkHeader(t, c, content, composed)
	mail, err := Read(bytes.NewReader(composed))
	if err != nil {
		t.Fatal(err)
	}
	checkSubject(t, mail.Subject)
	checkTags(t, mail.HTML)
	checkLinks(t, mail)
	return mail
}

// checkWire: a server without extensions takes it, and no two servers disagree on where it ends.
func checkWire(t testing.TB, composed []byte) {
	t.Helper()
	if len(composed) > MaxSize {
		t.Errorf("%d bytes", len(composed))
	}
	if !bytes.HasSuffix(composed, []byte("\r\n")) {
		t.Error("the last line has no end")
	}
	for line := range bytes.SplitSeq(composed, []byte("\r\n")) {
		if len(line) > 998 {
			t.Errorf("a line of %d bytes", len(line))
		}
		if i := bytes.IndexFunc(line, func(r rune) bool { return r >= utf8.RuneSelf || r < ' ' && r != '\t' || r == 0x7f }); i >= 0 {
			t.Errorf("not fit for every server: %q", line)
		}
	}
}

// checkHeader: every field once, and one recipient.
func checkHeader(t testing.TB, c *Composer, content Content, composed []byte) {
	t.Helper()
	want := []string{
		"Date", "From", "To", "Subject", "Message-Id", "Auto-Submitted", "X-Auto-Response-Suppress", "List-Id",
		"List-Unsubscribe", "List-Unsubscribe-Post", "Mime-Version", "Content-Type",
	}
	if c.AppURL == nil {
		want = slices.Delete(want, 8, 10)
	}
	header, err := textproto.ReadHeader(bufio.NewReader(bytes.NewReader(composed)))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for fields := header.Fields(); fields.Next(); {
		got = append(got, fields.Key())
	}
	if !slices.Equal(got, want) {
		t.Errorf("the header has %q, want %q", got, want)
	}

	// Another parser than the one of the package that wrote it.
	parsed, err := netmail.ReadMessage(bytes.NewReader(composed))
	if err != nil {
		t.Fatal(err)
	}
	to, err := parsed.Header.AddressList("To")
	switch {
	case !address.IsASCII(address.ASCII(content.Email)):
		if len(to) != 0 {
			t.Errorf("to %v, want the envelope to know", to)
		}
	case err != nil || len(to) != 1 || *to[0] != (Address{Name: headerText(content.Name, 80), Address: address.ASCII(content.Email)}):
		t.Errorf("to %v, %v; want %s", to, err, content.Email)
	}
	from, err := parsed.Header.AddressList("From")
	if err != nil || len(from) != 1 || *from[0] != c.From {
		t.Errorf("from %v, %v", from, err)
	}
	about, err := new(mime.WordDecoder).DecodeHeader(parsed.Header.Get("Subject"))
	if err != nil || about != subject(content) {
		t.Errorf("about %q, %v; want %q", about, err, subject(content))
	}

	fields, _, _ := bytes.Cut(composed, []byte("\r\n\r\n"))
	for line := range bytes.SplitSeq(fields, []byte("\r\n")) { // RFC 2047, section 2
		if len(line) > 76 && encodedWord.Match(line) {
			t.Errorf("an encoded word on a line of %d bytes: %s", len(line), line)
		}
	}
}

var encodedWord = regexp.MustCompile(`(?i) =\?utf-8\?[bq]\?[^ ?]*\?=( |$)`)

func checkSubject(t testing.TB, subject string) {
	t.Helper()
	if length := utf8.RuneCountInString(subject); length == 0 || length > 200 {
		t.Errorf("a subject of %d characters", length)
	}
	if cleaned := clean(subject, 1000); cleaned != subject {
		t.Errorf("the subject is %q, clean %q", subject, cleaned)
	}
}

var (
	tag    = regexp.MustCompile(`(?s)<[^ ].*?>`)
	href   = regexp.MustCompile(` href="[^"]*"`)
	digits = regexp.MustCompile(`\d+`)
)

func tags(page string) map[string]bool {
	found := map[string]bool{}
	for _, t := range tag.FindAllString(page, -1) {
		found[digits.ReplaceAllString(href.ReplaceAllString(t, " href"), "0")] = true
	}
	return found
}

// checkTags: no tag and no attribute but the template's, which the golden mails use all of.
func checkTags(t testing.TB, page string) {
	t.Helper()
	known := map[string]bool{}
	for _, name := range goldenNames {
		file, err := os.ReadFile(filepath.Join("testdata", name+".html"))
		if err != nil {
			t.Fatal(err)
		}
		maps.Copy(known, tags(string(file)))
	}
	for found := range tags(page) {
		if !known[found] {
			t.Errorf("no template writes %s", found)
		}
	}
}

// linked is what mail clients make links of by themselves.
var linked = regexp.MustCompile(`(?i)[\pL\d][.。．｡][\pL]|[\pL\d][@＠][\pL\d]|:/|//|\\\\|[a-z]:[a-z]`)

// checkLinks: every link, and everything that a client could make one of, leads to the application.
func checkLinks(t testing.TB, mail Mail) {
	t.Helper()
	for _, link := range href.FindAllString(mail.HTML, -1) {
		if target := strings.TrimPrefix(link, ` href="`); target != appURL+`"` && !strings.HasPrefix(target, appURL+"/") {
			t.Errorf("a link to %s", link)
		}
	}
	for _, banned := range []string{"<img", "<script", "src=", "url(", "http-equiv", "<link"} {
		if strings.Contains(tag.FindString(mail.HTML), banned) {
			t.Errorf("the page has %s", banned)
		}
	}
	_, body, _ := strings.Cut(mail.HTML, "<body")
	shown := html.UnescapeString(tag.ReplaceAllString(body, " "))
	text := regexp.MustCompile(regexp.QuoteMeta(appURL)+`\S*`).ReplaceAllString(mail.Text, "")
	for _, part := range []string{shown, text} {
		if at := linked.FindStringIndex(part); at != nil {
			t.Errorf("this may become a link: %q", part[max(at[0]-20, 0):min(at[1]+20, len(part))])
		}
	}
}
