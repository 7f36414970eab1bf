package webtest

import (
	"context"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/jackc/pgx/v5"

	"headway/internal/pgtest"
	"headway/worker/gateway"
)

// Secret is what [Token] signs with, and what a [Gateway] believes.
const Secret = "a secret of thirty-two bytes, or more"

// Gateway serves a database until the test ends. What changes it does so before it runs.
func Gateway(t *testing.T, db *pgtest.DB, change ...func(*gateway.Gateway)) *httptest.Server {
	t.Helper()
	verifier, err := gateway.NewVerifier([]byte(Secret), "", "headway", nil)
	if err != nil {
		t.Fatal(err)
	}
	g := gateway.New(db.Pool(t), func(ctx context.Context) (*pgx.Conn, error) {
		config, err := pgx.ParseConfig(db.URL)
		if err != nil {
			return nil, err
		}
		config.RuntimeParams["application_name"] = "gateway"
		return pgx.ConnectConfig(ctx, config)
	}, verifier, slog.New(slog.DiscardHandler))
	for _, c := range change {
		c(g)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := g.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	server := httptest.NewServer(g.Handler())
	t.Cleanup(func() {
		stop()
		running.Wait()
		server.Close()
	})

	conn := db.Conn(t)
	pgtest.Eventually(t, Soon, func() bool {
		var listens bool
		err := conn.QueryRow(t.Context(), `select exists (
			select from pg_stat_activity
			where datname = current_database() and application_name = 'gateway' and state = 'idle' and query <> ''
		)`).Scan(&listens)
		return err == nil && listens
	}, "the gateway does not listen")
	return server
}

// Token is one that an application's backend would mint for a person.
func Token(t *testing.T, userID int64, expires time.Time) string {
	t.Helper()
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.RegisteredClaims{
		Subject: fmt.Sprint(userID), Audience: jwt.ClaimStrings{"headway"}, ExpiresAt: jwt.NewNumericDate(expires),
	}).SignedString([]byte(Secret))
	if err != nil {
		t.Fatal(err)
	}
	return signed
}
