package main

import (
	"context"
	"fmt"
	"log/slog"
	_ "time/tzdata" // a schedule may name a time zone that the system lacks

	"headway/worker"
)

// runWorker runs the worker until it is told to stop.
func runWorker(ctx context.Context, e env, args []string) error {
	flags := newFlags("headway worker",
		"Folds what happens into progress and notifies, until SIGTERM, Ctrl-C or the end of its terminal.\n"+
			"Any number of workers may run.\n"+
			"All configuration comes from environment variables:\n"+
			"\n  DATABASE_URL               where the schema lives; default: libpq's PG* variables"+
			"\n  HEADWAY_LISTEN_URL         direct connection for LISTEN, where DATABASE_URL is a pooler"+
			"\n  HEADWAY_ALLOW_MORE_RIGHTS  true: run as a login that has more rights than a worker should, such as a superuser"+
			"\n  HEADWAY_POLL_INTERVAL      how often to look even without a notification; default 5s"+
			"\n  HEADWAY_SMTP_URL           smtp://user:password@host:587 or smtps://host:465; default: no mail"+
			"\n  HEADWAY_MAIL_FROM          sender of mail"+
			"\n  HEADWAY_DIGEST_SCHEDULE    cron expression; default */5 * * * *"+
			"\n  HEADWAY_DIGEST_CONCURRENCY SMTP connections; default 4"+
			"\n  HEADWAY_APP_URL            for links in mail"+
			"\n  HEADWAY_HTTP_ADDR          address of health, metrics, unsubscribing and the gateway, such as :8080; default: not served"+
			"\n  HEADWAY_TOKEN_SECRET       key of the gateway's tokens, 32 bytes or more; default: no gateway"+
			"\n  HEADWAY_TOKEN_JWKS         file with the keys of RS256 or EdDSA tokens, instead of HEADWAY_TOKEN_SECRET"+
			"\n  HEADWAY_TOKEN_AUDIENCE     audience that tokens must name; default: headway"+
			"\n  HEADWAY_ALLOWED_ORIGINS    pages that may connect to the gateway"+
			"\n  HEADWAY_LOG_FORMAT         text or json; default: text on a terminal, else json")
	if helped, err := parse(e, flags, args); helped || err != nil {
		return err
	}
	config, err := loadConfig(e)
	log := newLogger(e, config.LogFormat)
	for _, name := range worker.Unknown(e.environ) {
		log.Warn("unknown environment variable: headway worker -help lists the known ones", slog.String("name", name))
	}
	if err == nil {
		err = worker.New(config, log, programVersion()).Run(ctx)
	}
	if err != nil && logsJSON(e, config.LogFormat) {
		log.Error("the worker failed", slog.Any("error", err)) // for readers of JSON only
		return &loggedError{err}
	}
	return err
}

// loadConfig reads the environment.
func loadConfig(e env) (worker.Config, error) {
	config, err := worker.LoadConfig(e.getenv)
	if err != nil {
		return config, fmt.Errorf("the configuration is invalid:\n%w", err)
	}
	return config, nil
}
