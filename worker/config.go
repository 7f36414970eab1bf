package worker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/robfig/cron/v3"
	"github.com/sethvargo/go-envconfig"

	"headway/internal/address"
	"headway/internal/secret"
	"headway/worker/gateway"
	"headway/worker/smtp"
)

// Config is the configuration from the environment. [LoadConfig] makes one; a program that runs the worker itself
// passes it a map instead of the environment. Everything about when mail is due is a setting in the database: that is
// for the administrator to change from psql.
type Config struct {
	// DatabaseURL is where the schema is, as a URL or in libpq's key=value form. Empty: libpq's PG* variables. It may
	// be a pooler in any mode.
	DatabaseURL string `env:"DATABASE_URL"`

	// ListenURL is a direct connection to the same database, or a pooler in session mode: LISTEN needs one. Empty:
	// DatabaseURL.
	ListenURL string `env:"HEADWAY_LISTEN_URL"`

	// AllowMoreRights lets the worker run as a login that may do more than fold and send.
	AllowMoreRights bool `env:"HEADWAY_ALLOW_MORE_RIGHTS, default=false"`

	// PollInterval is how often the worker looks without having been notified, at least 10ms. It is a safety net: no
	// fact waits for it while notifications work.
	PollInterval time.Duration `env:"HEADWAY_POLL_INTERVAL, default=5s"`

	// SMTP is the server that digests are sent to. Nil: no digest is reserved or sent.
	SMTP *smtp.Server `env:"HEADWAY_SMTP_URL, noinit"`

	// MailFrom is the sender of digests. Required with SMTP.
	MailFrom Address `env:"HEADWAY_MAIL_FROM"`

	// DigestSchedule is when to look for digests that are due.
	DigestSchedule Schedule `env:"HEADWAY_DIGEST_SCHEDULE, default=*/5 * * * *"`

	// DigestConcurrency is the number of concurrent SMTP connections, from 1 to 100.
	DigestConcurrency int `env:"HEADWAY_DIGEST_CONCURRENCY, default=4"`

	// AppURL is the application's address, for links in mail, without user and password. Nil: no links in mail.
	AppURL *url.URL `env:"HEADWAY_APP_URL, noinit"`

	// HTTPAddr is where health, metrics, the unsubscribe page and the gateway are served, as host:port or :port. Empty:
	// not served.
	HTTPAddr string `env:"HEADWAY_HTTP_ADDR"`

	// TokenSecret is the key of the HS256 tokens that the gateway accepts, 32 bytes or more. Empty: no gateway.
	TokenSecret secret.String `env:"HEADWAY_TOKEN_SECRET"`

	// TokenKeys names a file with the JSON Web Key Set of the RS256 or EdDSA tokens that the gateway accepts, in place
	// of TokenSecret.
	TokenKeys string `env:"HEADWAY_TOKEN_JWKS"`

	// TokenAudience is the audience that the gateway's tokens must name.
	TokenAudience string `env:"HEADWAY_TOKEN_AUDIENCE, default=headway"`

	// AllowedOrigins are the origins of pages that may connect to the gateway, such as https://app.example.com.
	AllowedOrigins []string `env:"HEADWAY_ALLOWED_ORIGINS"`

	// LogFormat is text or json. Empty: text on a terminal, else json.
	LogFormat string `env:"HEADWAY_LOG_FORMAT"`
}

// LoadConfig reads the configuration through getenv, usually [os.Getenv]; an empty variable counts as unset. The error
// joins all problems, each with the name of the variable, its value unless that may hold a secret, and what would be
// right.
func LoadConfig(getenv func(string) string) (Config, error) {
	variables := &variables{getenv: getenv, refused: map[string]bool{}}
	var problems []error
	for {
		// The decoder stops at the first value that it cannot read: hide that one and decode again.
		var config Config
		err := envconfig.ProcessWith(context.Background(), &envconfig.Config{Target: &config, Lookuper: variables})
		if err == nil {
			return config, errors.Join(append(problems, config.check(variables.refused)...)...)
		}
		name := variables.asked
		if variables.refused[name] {
			return Config{}, fmt.Errorf("read the configuration: %w", err) // not the environment's fault
		}
		variables.refused[name] = true
		problems = append(problems, problem(name, getenv(name), want(err)))
	}
}

// serviceLink matches the variables that Kubernetes sets in every container for a service whose name is or starts with
// headway.
var serviceLink = regexp.MustCompile(`^HEADWAY_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)$`)

// Unknown returns the sorted names in environ, which is [os.Environ] or similar, that look like a variable of [Config]
// but are none: a misspelled name would otherwise silently get its default.
func Unknown(environ []string) (names []string) {
	known := []string{"HEADWAY_POSTGRES_BINDIR"} // for the PostgreSQL that the demo and the tests boot
	for _, field := range reflect.VisibleFields(reflect.TypeFor[Config]()) {
		name, _, _ := strings.Cut(field.Tag.Get("env"), ",")
		known = append(known, name)
	}
	for _, variable := range environ {
		name, _, _ := strings.Cut(variable, "=")
		if strings.HasPrefix(name, "HEADWAY_") && !slices.Contains(known, name) && !serviceLink.MatchString(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// variables looks variables up and remembers the last one asked for.
type variables struct {
	getenv  func(string) string
	asked   string
	refused map[string]bool
}

// Lookup implements [envconfig.Lookuper].
func (v *variables) Lookup(name string) (string, bool) {
	v.asked = name
	value := v.getenv(name)
	return value, value != "" && !v.refused[name]
}

// want says in words what is wanted, where Go's own packages report what they did not get.
func want(err error) string {
	number, isNumber := errors.AsType[*strconv.NumError](err)
	notURL, isURL := errors.AsType[*url.Error](err)
	switch {
	case isNumber && number.Func == "ParseBool":
		return "want true or false"
	case isNumber:
		return "want a whole number"
	case isURL:
		return "want a URL: " + notURL.Err.Error()
	case strings.Contains(err.Error(), "time: "):
		return "want a duration such as 5s or 1m30s"
	default:
		return err.Error()
	}
}

// problem describes a problem: the variable, its value unless that may hold a secret, and what to do.
func problem(name, value, want string) error {
	switch {
	case slices.Contains([]string{"DATABASE_URL", "HEADWAY_LISTEN_URL", "HEADWAY_SMTP_URL", "HEADWAY_TOKEN_SECRET"}, name):
		return fmt.Errorf("%s: %s", name, want)
	case name == "HEADWAY_APP_URL" && strings.Contains(value, "@"): // the unparsable part may contain a password
		return fmt.Errorf("%s: want an address such as https://app.example.com, without user and password", name)
	default:
		return fmt.Errorf("%s is %q: %s", name, value, want)
	}
}

// check makes the checks that need decoded values, for the variables that were not refused.
func (c *Config) check(refused map[string]bool) (problems []error) {
	report := func(name, value, want string) {
		if !refused[name] {
			problems = append(problems, problem(name, value, want))
		}
	}

	if _, err := ParseDatabaseURL(c.DatabaseURL, ""); err != nil {
		report("DATABASE_URL", "", err.Error())
	}
	if _, err := ParseDatabaseURL(c.ListenURL, ""); c.ListenURL != "" && err != nil {
		report("HEADWAY_LISTEN_URL", "", err.Error())
	}
	if c.PollInterval < 10*time.Millisecond || c.PollInterval > 24*time.Hour {
		report("HEADWAY_POLL_INTERVAL", c.PollInterval.String(), "want 10ms to 24h")
	}
	if c.SMTP != nil && c.MailFrom.Address.Address == "" {
		report("HEADWAY_MAIL_FROM", "", "HEADWAY_SMTP_URL needs a sender: set it to an address such as headway@example.com")
	}
	if from := c.MailFrom.Address.Address; strings.ContainsFunc(from, func(r rune) bool { return r > unicode.MaxASCII }) {
		report("HEADWAY_MAIL_FROM", from, "want an ASCII address: every server accepts one")
	} else if from != "" && !address.Plain(from) {
		report("HEADWAY_MAIL_FROM", from, "want a plain address, such as headway@example.com, that needs no quotes")
	}
	if c.DigestConcurrency < 1 || c.DigestConcurrency > 100 {
		report("HEADWAY_DIGEST_CONCURRENCY", strconv.Itoa(c.DigestConcurrency), "want a whole number from 1 to 100")
	}
	if c.AppURL != nil && (c.AppURL.Scheme != "http" && c.AppURL.Scheme != "https" || c.AppURL.Hostname() == "" ||
		c.AppURL.User != nil || strings.ContainsAny(c.AppURL.String(), `<>" `)) {
		report("HEADWAY_APP_URL", c.AppURL.String(), "want an address such as https://app.example.com")
	}
	if c.HTTPAddr != "" {
		_, port, err := net.SplitHostPort(c.HTTPAddr)
		if _, portErr := strconv.ParseUint(port, 10, 16); err != nil || portErr != nil {
			report("HEADWAY_HTTP_ADDR", c.HTTPAddr, "want host:port or :port, such as :8080")
		}
	}
	if n := len(c.TokenSecret); n > 0 && n < gateway.MinSecret {
		report("HEADWAY_TOKEN_SECRET", "", fmt.Sprintf("it has %d bytes: want %d or more, as `openssl rand -hex 32` makes", n, gateway.MinSecret))
	}
	// The text of a file ends in a line break, and docker run --env-file keeps quotes: no token would be valid, and nothing
	// would say why.
	bare := func(name, value string) {
		if value != strings.Trim(value, "\r\n\t \"'") {
			report(name, value, "leave out the line break, space or quote at its beginning or end, as it would count")
		}
	}
	bare("HEADWAY_TOKEN_SECRET", string(c.TokenSecret))
	bare("HEADWAY_TOKEN_AUDIENCE", c.TokenAudience)
	if len(c.TokenSecret) > 0 && c.HTTPAddr == "" {
		report("HEADWAY_HTTP_ADDR", "", "HEADWAY_TOKEN_SECRET turns on the gateway: set the address it listens on, such as :8080")
	}
	if c.TokenKeys != "" && c.HTTPAddr == "" {
		report("HEADWAY_HTTP_ADDR", "", "HEADWAY_TOKEN_JWKS turns on the gateway: set the address it listens on, such as :8080")
	}
	if c.TokenKeys != "" && len(c.TokenSecret) > 0 {
		report("HEADWAY_TOKEN_JWKS", c.TokenKeys, "HEADWAY_TOKEN_SECRET is set too: set only one of them")
	} else if c.TokenKeys != "" {
		if _, err := gateway.NewVerifier(nil, c.TokenKeys, c.TokenAudience, nil); err != nil {
			report("HEADWAY_TOKEN_JWKS", c.TokenKeys, err.Error())
		}
	}
	for _, origin := range c.AllowedOrigins {
		if !isOrigin(origin) {
			report("HEADWAY_ALLOWED_ORIGINS", origin, "want scheme and host as browsers send them, such as https://app.example.com, "+
				"separated by commas: no path, no capitals, xn--… for other letters, a port only if it is not the default")
		}
	}
	if !slices.Contains([]string{"", "text", "json"}, c.LogFormat) {
		report("HEADWAY_LOG_FORMAT", c.LogFormat, "want text or json")
	}
	return problems
}

// isOrigin reports whether a page's origin is written as browsers send it (RFC 6454, section 6.2).
func isOrigin(origin string) bool {
	u, err := url.Parse(origin)
	if err != nil {
		return false
	}
	usual, known := map[string]string{"http": "80", "https": "443"}[u.Scheme]
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	host := strings.ToLower(u.Hostname())
	if strings.Contains(host, ":") {
		host = "[" + host + "]" // IPv6
	}
	if err == nil && u.Port() != usual {
		host += ":" + strconv.FormatUint(port, 10)
	}
	return known && host != "" && origin == u.Scheme+"://"+host && !strings.ContainsFunc(origin, func(r rune) bool { return r > unicode.MaxASCII })
}

// Address is a mail address with or without a name.
type Address struct{ mail.Address }

// EnvDecode implements [envconfig.Decoder].
func (a *Address) EnvDecode(_ context.Context, value string) error {
	parsed, err := mail.ParseAddress(value)
	if err != nil {
		return errors.New("want one address, such as headway@example.com or Headway <headway@example.com>")
	}
	a.Address = *parsed
	return nil
}

// Schedule is a cron expression in robfig/cron's standard form: five fields or a descriptor such as @hourly, with
// CRON_TZ=Europe/Lisbon in front for a time zone other than the process's.
type Schedule struct{ cron.Schedule }

// EnvDecode implements [envconfig.Decoder].
func (s *Schedule) EnvDecode(_ context.Context, value string) error {
	const want = "want five cron fields such as */5 * * * *, or @hourly, after CRON_TZ=Europe/Lisbon for a time zone"
	// The parser looks for the end of a time zone and panics if there is none.
	if strings.Contains(value, "TZ=") && !strings.Contains(strings.TrimSpace(value), " ") {
		return errors.New(want)
	}
	parsed, err := cron.ParseStandard(value)
	if err != nil {
		return fmt.Errorf("%s: %w", want, err)
	}
	if parsed.Next(time.Now()).IsZero() {
		return errors.New("no such time ever comes: " + want)
	}
	// The parser turns anything shorter into a second.
	if _, every, ok := strings.Cut(value, "@every "); ok {
		if interval, err := time.ParseDuration(every); err == nil && interval < time.Second {
			return errors.New("want a second or more after @every, such as @every 5m")
		}
	}
	if spec, ok := parsed.(*cron.SpecSchedule); ok {
		parsed = wallClock{spec}
	}
	s.Schedule = parsed
	return nil
}
