package mail

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"io"
	"mime"
	"net/url"
	"regexp"
	"strings"
	texttemplate "text/template"
	"time"
	"unicode/utf8"

	"github.com/emersion/go-message"
	"github.com/emersion/go-message/mail"

	"headway/internal/address"
)

// MaxSize is the maximum size of a mail in bytes. Some readers would cut off a larger one, and some servers refuse it.
const MaxSize = 100_000

// Address is a mail address with a name, which may be empty.
type Address = mail.Address

// Composer writes digests.
type Composer struct {
	// From is the sender. Its domain is also used in the Message-ID and the List-Id (RFC 2919), so the address must be
	// ASCII.
	From Address

	// AppURL is the application's address; below it are /projects/<id>, /channels/<name> and, served by the worker,
	// /headway/unsubscribe/<token>. Nil: the mail has no links, and no List-Unsubscribe.
	AppURL *url.URL
}

//go:embed *.tmpl
var templates embed.FS

var (
	textTemplate = texttemplate.Must(texttemplate.New("digest.txt.tmpl").
			Funcs(texttemplate.FuncMap{"wrap": wrap, "nobreak": nobreak, "underline": underline}).
			ParseFS(templates, "digest.txt.tmpl"))
	htmlTemplate = htmltemplate.Must(htmltemplate.ParseFS(templates, "digest.html.tmpl"))

	validToken = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
)

// Compose returns the complete mail, ready to be sent: 7-bit, lines of at most 998 bytes that end in CRLF, at most
// [MaxSize] bytes in total. What does not fit is shortened, and then only counted. The same content and time give the
// same bytes. An error means that the content is not a digest's, or cannot be addressed.
func (c *Composer) Compose(content Content, now time.Time) ([]byte, error) {
	switch {
	case !validToken.MatchString(content.Token):
		return nil, errors.New("compose: the token is not a UUID")
	case !address.Plain(content.Email):
		return nil, fmt.Errorf("compose: %q is not one plain address", content.Email)
	case !address.Plain(c.From.Address) || !address.IsASCII(c.From.Address):
		return nil, fmt.Errorf("compose: the sender %q is not one plain ASCII address", c.From.Address)
	}
	for _, limit := range limits(content) {
		composed, err := c.render(content, limit, now)
		if err != nil {
			return nil, fmt.Errorf("compose: %w", err)
		}
		if len(composed) <= MaxSize {
			return composed, nil
		}
	}
	return nil, fmt.Errorf("compose: not even one line fits into %d bytes", MaxSize)
}

func (c *Composer) render(content Content, limit limit, now time.Time) ([]byte, error) {
	view := c.view(content, limit, now)
	var text, html, composed bytes.Buffer
	if err := textTemplate.Execute(&text, view); err != nil {
		return nil, err
	}
	if err := htmlTemplate.Execute(&html, view); err != nil {
		return nil, err
	}
	w, err := message.CreateWriter(&composed, c.header(content, view.Subject, now))
	if err != nil {
		return nil, err
	}
	if err := writePart(w, "text/plain", text.String()); err != nil {
		return nil, err
	}
	if err := writePart(w, "text/html", html.String()); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return composed.Bytes(), nil
}

// header returns the header of a digest. A reader's name is encoded as necessary; it cannot break out of its field.
func (c *Composer) header(content Content, subject string, now time.Time) message.Header {
	_, domain, _ := strings.Cut(c.From.Address, "@")
	// Whoever has the token can unsubscribe, and a Message-ID gets around: into logs, bounces and replies.
	id := fmt.Sprintf("%x", sha256.Sum256([]byte(content.Token)))
	fields := [][2]string{
		{"Date", now.UTC().Format(time.RFC1123Z)},
		{"From", (&Address{Name: headerText(c.From.Name, 80), Address: c.From.Address}).String()},
		{"To", recipient(headerText(content.Name, 80), address.ASCII(content.Email))},
		{"Subject", mime.QEncoding.Encode("utf-8", subject)},
		{"Message-ID", "<" + id + "@" + domain + ">"},
		// Keeps vacation notices from replying (RFC 3834; the second field is for Exchange, MS-OXCMAIL section
		// 2.1.3.2.20, whose All would suppress bounces, too). Precedence would add nothing, and no standard defines it.
		{"Auto-Submitted", "auto-generated"},
		{"X-Auto-Response-Suppress", "OOF, AutoReply, DR, RN, NRN"},
		{"List-Id", "<headway." + domain + ">"},
	}
	if c.AppURL != nil {
		fields = append(fields, [2]string{"List-Unsubscribe", "<" + c.unsubscribeURL(content.Token) + ">"}) // RFC 2369
		if c.AppURL.Scheme == "https" {
			fields = append(fields, [2]string{"List-Unsubscribe-Post", "List-Unsubscribe=One-Click"}) // RFC 8058 requires https
		}
	}
	// Neither encoding of a body produces =_, so the boundary cannot occur in a body.
	alternative := mime.FormatMediaType("multipart/alternative", map[string]string{"boundary": "=_" + id})
	fields = append(fields, [2]string{"MIME-Version", "1.0"}, [2]string{"Content-Type", alternative})

	var header message.Header
	for i := len(fields) - 1; i >= 0; i-- { // the field added last comes first
		if folded := fold(fields[i][0], fields[i][1]); folded != nil {
			header.AddRaw(folded)
		} else {
			header.Add(fields[i][0], fields[i][1])
		}
	}
	return header
}

// fold returns a field whose value begins with an encoded word and is too long for one line, with each word on its own
// line: no line with an encoded word may have more than 76 characters (RFC 2047, section 2), and the first word may
// have 75 already. Nil: the field does not need this.
func fold(name, value string) []byte {
	if !strings.HasPrefix(value, "=?") || len(name+": "+value) <= 76 {
		return nil
	}
	return []byte(name + ":\r\n " + strings.ReplaceAll(value, " ", "\r\n ") + "\r\n")
}

// recipient returns the value of To. A non-ASCII address cannot appear in a 7-bit header: it becomes the name of a
// group without members (RFC 6857, section 3.1.8), and only the envelope has it as an address.
func recipient(name, to string) string {
	if address.IsASCII(to) {
		return (&Address{Name: name, Address: to}).String()
	}
	// B, since Q would leave characters unencoded that are not allowed in a phrase (RFC 2047, section 5).
	return mime.BEncoding.Encode("utf-8", strings.TrimSpace(name+" <"+to+">")) + " :;"
}

// writePart writes a body in whichever encoding is shorter.
func writePart(w *message.Writer, mediaType, body string) error {
	var header message.Header
	header.SetContentType(mediaType, map[string]string{"charset": "utf-8"})
	header.Set("Content-Transfer-Encoding", "quoted-printable")
	if nonASCII(body) > len(body)/6 {
		header.Set("Content-Transfer-Encoding", "base64")
	}
	part, err := w.CreatePart(header)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(part, strings.ReplaceAll(body, "\n", "\r\n")); err != nil {
		return err
	}
	return part.Close()
}

func (c *Composer) projectURL(id int64) string {
	if c.AppURL == nil || id == 0 {
		return ""
	}
	return c.AppURL.JoinPath("projects", fmt.Sprint(id)).String()
}

func (c *Composer) channelURL(channel string) string {
	if c.AppURL == nil {
		return ""
	}
	return c.AppURL.JoinPath("channels", channel).String()
}

func (c *Composer) unsubscribeURL(token string) string {
	if c.AppURL == nil {
		return ""
	}
	return c.AppURL.JoinPath("headway", "unsubscribe", token).String()
}

// nonASCII counts the bytes of a string that are not ASCII.
func nonASCII(s string) (n int) {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			n++
		}
	}
	return n
}

// Mail is a digest as its reader sees it.
type Mail struct{ Subject, Text, HTML string }

// Read parses a mail that [Composer.Compose] wrote.
func Read(r io.Reader) (Mail, error) {
	read, err := readMail(r)
	if err != nil {
		return Mail{}, fmt.Errorf("read a mail: %w", err)
	}
	return read, nil
}

func readMail(r io.Reader) (read Mail, err error) {
	reader, err := mail.CreateReader(r)
	if err != nil {
		return read, err
	}
	if read.Subject, err = reader.Header.Subject(); err != nil {
		return read, err
	}
	for _, body := range []*string{&read.Text, &read.HTML} {
		part, err := reader.NextPart()
		if err != nil {
			return read, err
		}
		all, err := io.ReadAll(part.Body)
		if err != nil {
			return read, err
		}
		*body = strings.ReplaceAll(string(all), "\r\n", "\n")
	}
	return read, nil
}
