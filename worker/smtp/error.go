package smtp

import (
	"errors"
	"fmt"
	"log/slog"
	"net/textproto"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/emersion/go-smtp"
)

// Outcome is what became of a mail that the server did not confirm; headway.digest_failed() takes it as is.
type Outcome string

const (
	// Retry means that the server does not have the mail and may take it later: any 4xx (RFC 5321, section 4.2.1), a
	// 5xx that is about limits, block lists or the sender, any trouble with the connection before the last byte of the
	// mail was sent, and any error in the configuration: no TLS, a bad certificate, a login that fails, a sender that
	// the server does not accept or relay for. Nothing is known about the mail then, so nothing is held against it or
	// its address. To keep such trouble from using up attempts, call [Pool.Acquire] before recording an attempt: it
	// connects and logs in.
	Retry Outcome = "retry"

	// Refused means that the address is invalid and should get no more mail. The server says so about the recipient: an
	// enhanced code 5.1.x (RFC 3463), except for 5.1.7 and 5.1.8, which are about the sender; without one, or with one
	// that says no more than that, 550, 551, 553 or 556 in response to RCPT, unless the text is about something else.
	Refused Outcome = "refused"

	// Rejected means that this mail will not be accepted, which says nothing about the address: any other 5xx, such as
	// 5.2.2 (mailbox full), 5.7.x (policy, spam) or 554 after the mail; also a mail that cannot be given to this
	// server, because it is too large or its address needs SMTPUTF8.
	Rejected Outcome = "rejected"

	// Unknown means that the mail was sent to its last byte, and no answer came. The server may have it.
	Unknown Outcome = "unknown"
)

// Error says why a mail was not sent.
type Error struct {
	Outcome Outcome

	// Step is what was being done: check, wait, connect, TLS, greeting, STARTTLS, EHLO, AUTH, MAIL, RCPT, DATA, body or
	// reply.
	Step string

	// Code and Enhanced are the server's (RFC 5321 and RFC 3463), 0 and empty if it gave none.
	Code     int
	Enhanced string

	// Text is what the server said, or what went wrong, on one line.
	Text string

	presumed bool // the Outcome Refused is only presumed
	err      error
}

// Error implements error: "RCPT: 550 5.1.1 no such user".
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:", e.Step)
	if e.Code != 0 {
		fmt.Fprintf(&b, " %d", e.Code)
	}
	if e.Enhanced != "" {
		fmt.Fprintf(&b, " %s", e.Enhanced)
	}
	fmt.Fprintf(&b, " %s", e.Text)
	return b.String()
}

// LogValue implements [slog.LogValuer]: as Error, without the addresses that a server may repeat.
func (e *Error) LogValue() slog.Value {
	return slog.StringValue(anAddress.ReplaceAllString(e.Error(), "<...>"))
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.err }

// The steps whose names affect a decision.
const (
	stepCheck    = "check" // without contacting the server
	stepStartTLS = "STARTTLS"
	stepAuth     = "AUTH"
	stepMail     = "MAIL"
	stepRcpt     = "RCPT"
	stepData     = "DATA"
	stepBody     = "body"
	stepReply    = "reply" // to the whole mail
)

// failure makes an Error from whatever went wrong in a step. Without a reply from the server, the outcome is Retry.
func failure(step string, err error) *Error {
	reply := answer(err)
	if reply == nil {
		return &Error{Outcome: Retry, Step: step, Text: oneLine(err.Error()), err: err}
	}
	enhanced, text := enhancedCode(reply)
	e := &Error{Outcome: classify(step, reply.Code, enhanced, text), Step: step, Code: reply.Code, Text: oneLine(text), err: err}
	if e.Outcome == presumed {
		e.Outcome, e.presumed = Refused, true
	}
	if has(enhanced) {
		e.Enhanced = fmt.Sprintf("%d.%d.%d", enhanced[0], enhanced[1], enhanced[2])
	}
	return e
}

var codeAlone = regexp.MustCompile(`^short response: "?([2-5]\d\d)"?$`)

// answer returns the server's reply; nil if an error is not one. A code may come without text (RFC 5321, section 4.2),
// which net/textproto treats as a protocol error.
func answer(err error) *smtp.SMTPError {
	if reply, is := errors.AsType[*smtp.SMTPError](err); is {
		return reply
	}
	if protocol, is := errors.AsType[textproto.ProtocolError](err); is {
		if found := codeAlone.FindStringSubmatch(string(protocol)); found != nil {
			code, _ := strconv.Atoi(found[1])
			return &smtp.SMTPError{Code: code, EnhancedCode: smtp.NoEnhancedCode}
		}
	}
	return nil
}

// accepted returns nil if an error is a positive reply (2xx) that came without text.
func accepted(err error) error {
	if reply := answer(err); reply != nil && reply.Code/100 == 2 {
		return nil
	}
	return err
}

var beginsEnhanced = regexp.MustCompile(`(?m)^#?([245])\.(\d{1,3})\.(\d{1,3})(?: |$)`)

// enhancedCode extracts the enhanced code from a reply. The client finds it only at the start of the first of several
// lines and with text after it; servers put it into any of them (RFC 2034, section 4, says all).
func enhancedCode(reply *smtp.SMTPError) (smtp.EnhancedCode, string) {
	enhanced := reply.EnhancedCode
	if found := beginsEnhanced.FindStringSubmatch(reply.Message); !has(enhanced) && found != nil {
		for i := range enhanced {
			enhanced[i], _ = strconv.Atoi(found[i+1]) // at most three digits
		}
	}
	return enhanced, beginsEnhanced.ReplaceAllString(reply.Message, "")
}

// sendersFault are about who sends, how much or from where, rather than about a recipient or a mail: Exchange's 5.2.252,
// 5.4.6 and 5.7.60, Exchange Online's 5.1.90, Gmail's 5.4.5. So are the registered 5.7.20 to 5.7.30 and Gmail's up to
// 5.7.32 (SPF, DKIM, reverse DNS, floods), and Exchange Online's 5.7.5xx and 5.7.7xx.
var sendersFault = []smtp.EnhancedCode{{5, 1, 7}, {5, 1, 8}, {5, 1, 90}, {5, 2, 252}, {5, 4, 5}, {5, 4, 6}, {5, 7, 60}}

func isSendersFault(enhanced smtp.EnhancedCode) bool {
	detail := enhanced[2]
	policy := enhanced[1] == 7 && (detail >= 20 && detail <= 32 || detail/100 == 5 || detail/100 == 7)
	return policy || slices.Contains(sendersFault, enhanced)
}

// membersOnly are about one recipient, a group that takes no mail from this sender (Exchange).
var membersOnly = []smtp.EnhancedCode{{5, 7, 124}, {5, 7, 129}, {5, 7, 133}}

// What servers say along with a code that says little: Exim and others give no enhanced code, go-smtp 5.0.0, Postfix
// 5.1.0 for a sender, and 5.7.1, like Sendmail and Exchange, for one that it does not relay for. An answer about the
// sender applies to every mail, so the recipient must lose neither the address nor the mail.
//
// Of those in response to RCPT, the first that matches decides.
var (
	// about who sends
	ofSender = regexp.MustCompile(`(?i)sender|send ?as|to send\b|sending|too many|callback|callout|helo|\bspf\b|dkim|dmarc|\bdns\b|\bptr\b|grey ?list|rcpthosts`)

	// about a mailbox that does not exist
	ofNobody = regexp.MustCompile(`(?i)(user|mailbox|recipient|address|account)\W.{0,20}(unknown|not found|not exist|n't exist|invalid|unavailable)` +
		`|(unknown|no such|invalid|nonexistent|unrouteable) (user|mailbox|recipient|address|account|person)|(user|recipient|mailbox) does|doesn't have an? \S+ account`)

	// about a mailbox that does exist
	ofMailbox = regexp.MustCompile(`(?i)\bfull\b|quota|mailbox.{0,20}limit|\bspam\b|virus|content|policy`)

	// about limits, block lists and logins
	ofTraffic = regexp.MustCompile(`(?i)relay|authenti|login|pop before|client|\bfrom\b|suspended|disabled|denied|credit|your (ip|account|access)` +
		`|limit|per (hour|day|minute)|block|black ?list|spamhaus|reputation|prohibit|\bagain\b|\blater\b`)

	// in response to a mail, where much may be about its content: about who sends, or how much
	notOfMail = regexp.MustCompile(`(?i)sender (identity|address)|from address|send ?as|(allowed|permissions?|permitted|authori[sz]ed) to send` +
		`|not verified|relaying|access denied|unauthenticated|(your|this|sending|for) account|(sending|daily|hourly|message|recipient) (limit|quota)|per (hour|day|minute)`)

	anAddress = regexp.MustCompile(`<?[^\s<>@()]+@[^\s<>@():]+>?`)
)

// presumed is Refused where nothing in the text says otherwise.
const presumed Outcome = "presumed"

// classify implements the table that [Outcome] explains.
func classify(step string, code int, enhanced smtp.EnhancedCode, text string) Outcome {
	subject, detail := enhanced[1], enhanced[2]
	vague := !has(enhanced) || subject == 0 || subject == 1 && detail == 0
	words := anAddress.ReplaceAllString(text, "") // words within an address say nothing
	switch {
	case code < 400 && step == stepReply:
		return Unknown // a reply to something else
	case code < 500:
		return Retry
	case !slices.Contains([]string{stepMail, stepRcpt, stepData, stepReply}, step):
		return Retry // unrelated to this mail
	case code == 503 || code == 530 || code == 534 || code == 535 || code == 538 || code == 502 && subject == 7:
		return Retry // the two sides disagree on the state of the session, or on who is logged in
	case isSendersFault(enhanced):
		return Retry
	case step == stepMail:
		if code == 552 || enhanced == (smtp.EnhancedCode{5, 3, 4}) || enhanced == (smtp.EnhancedCode{5, 2, 3}) {
			return Rejected // too big (RFC 1870, section 6.1)
		}
		return Retry
	case slices.Contains(membersOnly, enhanced):
		return Rejected
	case step == stepRcpt && (vague || subject == 7):
		return refusal(code, vague, words)
	case step != stepRcpt && (vague || subject == 7 || detail == 0) && code != 552 && notOfMail.MatchString(words):
		return Retry
	case !vague && subject == 1:
		return Refused
	}
	return Rejected
}

// refusal classifies a reply to RCPT of which the codes say too little, by its text.
func refusal(code int, vague bool, words string) Outcome {
	aboutRecipient := vague && slices.Contains([]int{550, 551, 553, 556}, code)
	switch {
	case ofSender.MatchString(words):
		return Retry
	case aboutRecipient && ofNobody.MatchString(words):
		return Refused
	case ofMailbox.MatchString(words):
		return Rejected
	case ofTraffic.MatchString(words):
		return Retry
	case aboutRecipient:
		return presumed
	}
	return Rejected
}

func has(code smtp.EnhancedCode) bool {
	return code != smtp.EnhancedCodeNotSet && code != smtp.NoEnhancedCode
}

// oneLine keeps what a server said fit for a log and a table.
func oneLine(s string) string {
	s = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(s, "?"), func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r)
	}), " ")
	const limit = 500
	if utf8.RuneCountInString(s) > limit {
		s = string([]rune(s)[:limit]) + "…"
	}
	return s
}
