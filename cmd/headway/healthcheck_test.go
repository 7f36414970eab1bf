package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"headway/internal/pgtest"
)

// checkHealth runs headway healthcheck with an address and returns what it printed.
func checkHealth(t *testing.T, addr string, args ...string) (stdout string, err error) {
	t.Helper()
	var out bytes.Buffer
	e := env{stdout: &out, stderr: &out, getenv: func(name string) string {
		if name == "HEADWAY_HTTP_ADDR" {
			return addr
		}
		return ""
	}}
	err = healthcheck(t.Context(), e, args)
	return out.String(), err
}

// serve answers every request as told and returns its port.
func serve(t *testing.T, status int, body string) (port string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.URL.Path != "/healthz" {
			t.Errorf("asked %s %s", r.Method, r.URL)
		}
		w.WriteHeader(status)
		fmt.Fprintln(w, body)
	}))
	t.Cleanup(server.Close)
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func TestHealthcheckAsksThisMachine(t *testing.T) {
	t.Parallel()
	port := serve(t, http.StatusOK, "ok")
	for _, host := range []string{"", "0.0.0.0", "127.0.0.1"} {
		if stdout, err := checkHealth(t, host+":"+port); err != nil || stdout != "ok\n" {
			t.Errorf("%q: %v, %q", host, err, stdout)
		}
	}
}

func TestHealthcheckPassesByAProxy(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("http_proxy", "http://127.0.0.1:1")
	if _, err := checkHealth(t, ":"+serve(t, http.StatusOK, "ok")); err != nil {
		t.Error(err)
	}
}

// TestHealthcheckDoesNotWaitForEver asks a worker that takes the question and does not answer.
func TestHealthcheckDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(release) })
	p := start(t, []string{"HEADWAY_HTTP_ADDR=" + server.Listener.Addr().String()}, "healthcheck")
	p.exit(1)
	p.await("ask the worker at HEADWAY_HTTP_ADDR", "deadline exceeded")
}

func TestHealthcheckSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	nobody := pgtest.FreeAddr(t)
	for addr, want := range map[string]string{
		"": "HEADWAY_HTTP_ADDR is not set",
		":" + serve(t, http.StatusInternalServerError, "tired"): "500 Internal Server Error: tired",
		nobody: "ask the worker at HEADWAY_HTTP_ADDR",
		"8080": "HEADWAY_HTTP_ADDR",
	} {
		if stdout, err := checkHealth(t, addr); err == nil || !strings.Contains(err.Error(), want) || stdout != "" {
			t.Errorf("%q: %v, %q", addr, err, stdout)
		}
	}
	if _, err := checkHealth(t, "", "now"); !errors.As(err, new(*usageError)) {
		t.Errorf("an argument: %v", err)
	}
}
