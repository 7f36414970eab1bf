package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// healthcheckTimeout is less than the default timeout of a container's health check, so that the reason is printed.
const healthcheckTimeout = 3 * time.Second

// healthcheck asks the worker on this machine whether it is alive. It serves container images without a shell or curl.
func healthcheck(ctx context.Context, e env, args []string) error {
	flags := newFlags("headway healthcheck",
		"Requests /healthz from the worker that listens on HEADWAY_HTTP_ADDR on this machine, and fails unless it answers\n"+
			"that it is alive. It needs no database.")
	if helped, err := parse(e, flags, args); helped || err != nil {
		return err
	}
	addr := e.getenv("HEADWAY_HTTP_ADDR")
	if addr == "" {
		return errors.New("HEADWAY_HTTP_ADDR is not set, so there is no worker to ask: set it to the worker's value, such as :8080")
	}

	ctx, cancel := context.WithTimeout(ctx, healthcheckTimeout)
	defer cancel()
	// If the host is empty or 0.0.0.0, as in a listener's address, dialing takes it to be this machine.
	address := url.URL{Scheme: "http", Host: addr, Path: "/healthz"}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return fmt.Errorf("HEADWAY_HTTP_ADDR: %w", err)
	}
	// Without the environment's proxy: the question is for this machine.
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("ask the worker at HEADWAY_HTTP_ADDR: %w", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1000))
	if err != nil {
		return fmt.Errorf("read the worker's answer: %w", err)
	}
	answer := strings.TrimSpace(string(body))
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the worker is not alive: %s: %s", response.Status, answer)
	}
	_, err = fmt.Fprintln(e.stdout, answer)
	return err
}
