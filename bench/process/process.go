// Package process runs headway's worker as an administrator does, as a process of its own, so that what it costs can be
// told from what measures it.
package process

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// readyTimeout bounds how long a worker may take until it has folded for the first time.
const readyTimeout = 30 * time.Second

// Build compiles headway's program into a directory and returns its path. It runs go, from anywhere in the module.
func Build(ctx context.Context, dir string) (program string, err error) {
	program = filepath.Join(dir, "headway")
	build := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", program, "headway/cmd/headway")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build headway: %w\n%s", err, out)
	}
	return program, nil
}

// Worker is a running worker.
type Worker struct {
	cmd     *exec.Cmd
	address string
	client  *http.Client
	last    []string // lines of its log
	logged  chan struct{}
}

// Start starts a worker on a database and returns once it is ready. Its environment is this process' own, with settings
// such as "HEADWAY_SMTP_URL=…". The caller must call [Worker.Stop]; should ctx end before, the worker is told to stop, too.
func Start(ctx context.Context, program, databaseURL string, settings ...string) (*Worker, error) {
	cmd := exec.CommandContext(ctx, program, "worker")
	cmd.Env = append(os.Environ(),
		"DATABASE_URL="+databaseURL, "HEADWAY_ALLOW_MORE_RIGHTS=true", "HEADWAY_HTTP_ADDR=127.0.0.1:0", "HEADWAY_LOG_FORMAT=json")
	cmd.Env = append(cmd.Env, settings...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the worker: %w", err)
	}
	w := &Worker{cmd: cmd, client: &http.Client{Timeout: 5 * time.Second}, logged: make(chan struct{})}
	address := make(chan string, 1)
	go w.follow(stderr, address)

	ready, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	select {
	case w.address = <-address:
	case <-w.logged: // it has ended
		return nil, errors.Join(errors.New("the worker has ended"), w.Stop())
	case <-ready.Done():
		return nil, errors.Join(fmt.Errorf("wait for the worker: %w", ready.Err()), w.Stop())
	}
	if err := w.waitUntilReady(ready); err != nil {
		return nil, errors.Join(fmt.Errorf("wait for the worker: %w", err), w.Stop())
	}
	return w, nil
}

// Address returns where the worker serves HTTP.
func (w *Worker) Address() string { return w.address }

// Pid returns the id of the process.
func (w *Worker) Pid() int { return w.cmd.Process.Pid }

// follow reads the log until it ends, and says at which address the worker serves.
func (w *Worker) follow(log io.Reader, address chan<- string) {
	defer close(w.logged)
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		var line struct {
			Msg  string `json:"msg"`
			Addr string `json:"addr"`
		}
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "serving HTTP" {
			address <- line.Addr
		}
		w.last = append(w.last, lines.Text())
		w.last = w.last[max(0, len(w.last)-20):]
	}
}

func (w *Worker) waitUntilReady(ctx context.Context) error {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		if _, err := w.get(ctx, "/readyz"); err == nil {
			return nil
		} else if ctx.Err() != nil {
			return err
		}
		select {
		case <-ticker.C:
		case <-w.logged:
			return errors.New("it has ended")
		case <-ctx.Done():
		}
	}
}

// get returns what the worker serves under a path.
func (w *Worker) get(ctx context.Context, path string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.address+path, nil)
	if err != nil {
		return "", err
	}
	response, err := w.client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return "", err
	}
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("GET %s: %s: %s", path, response.Status, strings.TrimSpace(string(body)))
	}
	return string(body), nil
}

// Stop tells the worker to stop, waits until it has and returns how it ended: nil, unless it failed before. It may be
// called once.
func (w *Worker) Stop() error {
	signalled := w.cmd.Process.Signal(syscall.SIGTERM)
	<-w.logged
	w.client.CloseIdleConnections()
	err := w.cmd.Wait()
	if signalled == nil && errors.Is(err, context.Canceled) {
		err = nil // ctx has ended, and it did as it was told
	}
	if err != nil {
		return fmt.Errorf("the worker ended: %w\n%s", err, strings.Join(w.last, "\n"))
	}
	return nil
}
