package smtp_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"headway/worker/smtp"
)

func TestParseURL(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]smtp.Server{
		"smtp://mail.example.com":                     {Host: "mail.example.com", Port: "587", TLS: smtp.StartTLS},
		"smtp://me:p%3Ass@mail.example.com:2525/":     {Host: "mail.example.com", Port: "2525", TLS: smtp.StartTLS, User: "me", Password: "p:ss"},
		"smtps://me%40example.com:x@mail.example.com": {Host: "mail.example.com", Port: "465", TLS: smtp.Implicit, User: "me@example.com", Password: "x"},
		"smtp://localhost:1025?tls=none":              {Host: "localhost", Port: "1025", TLS: smtp.None},
		"smtp://[::1]:1025?tls=none":                  {Host: "::1", Port: "1025", TLS: smtp.None},
		"smtp://me:x@relay:25?tls=none&auth=insecure": {Host: "relay", Port: "25", TLS: smtp.None, User: "me", Password: "x", InsecureAuth: true},
		"smtps://mail.example.com?rate=14":            {Host: "mail.example.com", Port: "465", TLS: smtp.Implicit, Rate: 14},
		"smtp://mail.example.com?rate=30/m":           {Host: "mail.example.com", Port: "587", TLS: smtp.StartTLS, Rate: 0.5},
		"smtp://mail.example.com?rate=1800/h":         {Host: "mail.example.com", Port: "587", TLS: smtp.StartTLS, Rate: 0.5},
	} {
		if got, err := smtp.ParseURL(address); err != nil || got != want {
			t.Errorf("%s: %+v, %v", address, got, err)
		}
	}
}

var badURLs = []string{
	"", "mail.example.com", "mail.example.com:587", "smtp://", "smtp:mail.example.com", "http://mail.example.com", "smtp://mail.example.com/path",
	"smtp://mail.example.com#x", "smtp://mail.example.com:0", "smtp://mail.example.com:99999", "smtp://mail.example.com:x",
	"smtp://me:hunter2@mail.example.com?tls=none", "smtp://me:hunter2@mail.example.com?auth=insecure", "smtp://mail.example.com?tls=none&auth=insecure",
	"smtps://mail.example.com?tls=none", "smtp://mail.example.com?tls=off", "smtp://mail.example.com?tls=none&tls=none", "smtp://mail.example.com?insecure=1",
	"smtp://me@mail.example.com", "smtp://:hunter2@mail.example.com", "smtp://me:hunter2%00@mail.example.com", "smtp://me:hunter2 @mail.example.com",
	"smtp://me:hunter2#@mail.example.com", "smtp://me:hunter2%zz@mail.example.com", "smtp://mail.example.com?rate=0", "smtp://mail.example.com?rate=-1",
	"smtp://mail.example.com?rate=many", "smtp://mail.example.com?rate=5/d", "smtp://mail.example.com?%zz", "smtp://a b.example.com",
	"smtp://mail.example.com?x=none", "smtp://me:hunter2@mail.example.com?tls=none&x=insecure", "smtp://me:hunter2@mail.example.com?tls=none&auth=plain",
	"smtp://mail.example.com?rate=1&rate=2", "smtp://<mail.example.com>", "smtp://[::1%25%20]",
}

func TestAURLThatIsNoneSaysWhatIsWanted(t *testing.T) {
	t.Parallel()
	for _, address := range badURLs {
		got, err := smtp.ParseURL(address)
		if err == nil || got != (smtp.Server{}) {
			t.Errorf("%s is taken: %+v", address, got)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error gives the password away: %v", address, err)
		}
	}
}

func TestThePasswordIsNeverPrinted(t *testing.T) {
	t.Parallel()
	server, err := smtp.ParseURL("smtps://me:hunter2@mail.example.com")
	if err != nil {
		t.Fatal(err)
	}
	asJSON, err := json.Marshal(server)
	if err != nil {
		t.Fatal(err)
	}
	var logged strings.Builder
	slog.New(slog.NewTextHandler(&logged, nil)).Info("", slog.Any("server", server), slog.Any("password", server.Password))
	printed := fmt.Sprintf("%v %+v %#v %s %q %x %d %v %v", server, server, &server, server.Password, server.Password, server.Password, server.Password, asJSON, logged.String())
	for _, leak := range []string{"hunter2", "68756e74657232", "104 117"} {
		if strings.Contains(printed, leak) {
			t.Errorf("%s is in %s", leak, printed)
		}
	}
}

func FuzzParseURL(f *testing.F) {
	for _, address := range badURLs {
		f.Add(address)
	}
	f.Add("smtp://me:p%3Ass@mail.example.com:2525/?rate=5/m")
	f.Fuzz(func(t *testing.T, address string) {
		server, err := smtp.ParseURL(address)
		if err != nil {
			return
		}
		if server.Host == "" || strings.ContainsAny(server.Host, " \r\n\x00@/") || server.Port == "" || (server.User == "") != (server.Password == "") {
			t.Errorf("%q is %+v", address, server)
		}
		if server.TLS == smtp.None && server.User != "" && !server.InsecureAuth {
			t.Errorf("%q would log in in the clear", address)
		}
	})
}
