package smtp_test

import (
	"bytes"
	"strings"
	"testing"

	gosmtp "github.com/emersion/go-smtp"

	"headway/internal/smtptest"
)

// BenchmarkSend compares the pool with the shortest loop that sends mail.
func BenchmarkSend(b *testing.B) {
	server := catch(b, smtptest.Options{})
	mail := bytes.Repeat([]byte("twenty-six bytes of mail\r\n"), 400) // as big as most digests
	b.Run("pool", func(b *testing.B) {
		pool := newPool(b, server.URL(), 1)
		for b.Loop() {
			if err := pool.Send(b.Context(), from, to, mail); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("bare", func(b *testing.B) {
		address, _, _ := strings.Cut(strings.TrimPrefix(server.URL(), "smtp://"), "?")
		client, err := gosmtp.Dial(address)
		if err != nil {
			b.Fatal(err)
		}
		defer client.Close()
		for b.Loop() {
			if err := client.SendMail(from, []string{to}, bytes.NewReader(mail)); err != nil {
				b.Fatal(err)
			}
		}
	})
}
