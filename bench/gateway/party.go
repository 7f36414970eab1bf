package gateway

import (
	"bufio"
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/jackc/pgx/v5"

	"headway/bench/lab"
	"headway/bench/process"
)

// party is a server that is measured.
type party struct {
	name, title, about string

	// start starts the server as a process of its own.
	start func(ctx context.Context) (*server, error)
}

// server is a party that runs.
type server struct {
	address string
	pid     int
	dialect dialect
	publish publish

	// memory returns the bytes of Go's heap and stacks in use. Nil: it is not written in Go.
	memory func(ctx context.Context) (heap, stack float64, err error)

	stop func() error
}

// ours is the party that this is about.
const ours = "headway"

// parties returns what is compared, ready to be started. It compiles and installs what it needs into a directory, and
// the database has the schema and people. withNode: socket.io too, which needs node and npm's registry.
func parties(ctx context.Context, dir string, db *lab.Database, withNode bool) ([]party, error) {
	worker, err := process.Build(ctx, dir)
	if err != nil {
		return nil, err
	}
	hub := filepath.Join(dir, "hub")
	build := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", hub, "headway/bench/gateway/hub")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the hub: %w\n%s", err, out)
	}
	all := []party{
		{
			name: "hub", title: "bare hub",
			about: "github.com/coder/websocket and nothing else: no database, no authentication, nothing can be missed. Published by an HTTP request to it.",
			start: func(ctx context.Context) (*server, error) { return startHub(ctx, hub) },
		},
		{
			name: ours, title: ours,
			about: "`headway worker`: a token and a snapshot for each, PostgreSQL's policies decide who sees what, positions. Published by `headway.post`, which writes a row.",
			start: func(ctx context.Context) (*server, error) { return startHeadway(ctx, worker, db) },
		},
	}
	if !withNode {
		return all, nil
	}
	node, err := installSocketIO(ctx, dir)
	if err != nil {
		return nil, err
	}
	return append(all, party{
		name: "socket.io", title: "socket.io",
		about: "socket.io 4.8 with its Postgres adapter on node, WebSocket only: no authentication, messages are not stored. " +
			"Published by the NOTIFY that its emitter makes.",
		start: func(ctx context.Context) (*server, error) { return startSocketIO(ctx, node, db) },
	}), nil
}

// run starts a program that prints its address as its first line.
func run(cmd *exec.Cmd) (*server, error) {
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &server{pid: cmd.Process.Pid, stop: func() error {
		signalled := cmd.Process.Signal(syscall.SIGTERM)
		_, _ = io.Copy(io.Discard, out)
		return errors.Join(signalled, cmd.Wait())
	}}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s has ended: %w", cmd.Path, err), s.stop())
	}
	s.address = strings.TrimSpace(line)
	return s, nil
}

func startHub(ctx context.Context, program string) (*server, error) {
	s, err := run(exec.CommandContext(ctx, program))
	if err != nil {
		return nil, err
	}
	client := &http.Client{Timeout: patience}
	ask := func(ctx context.Context, method, path, body string) (string, error) {
		r, err := http.NewRequestWithContext(ctx, method, "http://"+s.address+path, strings.NewReader(body))
		if err != nil {
			return "", err
		}
		answer, err := client.Do(r)
		if err != nil {
			return "", err
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		return string(text), err
	}
	s.dialect = dialect{path: "/ws", hear: func([]byte) (string, bool) { return "", true }}
	s.publish = func(ctx context.Context, texts ...string) (time.Time, error) {
		answer, err := ask(ctx, http.MethodPost, "/publish", strings.Join(texts, "\n"))
		if err != nil {
			return time.Time{}, err
		}
		at, err := strconv.ParseInt(answer, 10, 64)
		return time.Unix(0, at), err
	}
	s.memory = func(ctx context.Context) (heap, stack float64, err error) {
		answer, err := ask(ctx, http.MethodGet, "/memory", "")
		if err == nil {
			_, err = fmt.Sscan(answer, &heap, &stack)
		}
		return heap, stack, err
	}
	stop := s.stop
	s.stop = func() error {
		client.CloseIdleConnections()
		return stop()
	}
	return s, nil
}

// secret is the key of the tokens.
const secret = "not a secret, since nobody else is here"

// token is what an application's backend gives a client: client 0 is person 1.
func token(client int) (string, error) {
	return jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.RegisteredClaims{
		Subject: strconv.Itoa(client + 1), Audience: jwt.ClaimStrings{"headway"}, ExpiresAt: jwt.NewNumericDate(time.Now().Add(24 * time.Hour)),
	}).SignedString([]byte(secret))
}

func startHeadway(ctx context.Context, program string, db *lab.Database) (*server, error) {
	worker, err := process.Start(ctx, program, db.URL, "HEADWAY_TOKEN_SECRET="+secret)
	if err != nil {
		return nil, err
	}
	send, err := sender(ctx, db, fmt.Sprintf("select headway.post(%d, 'project_1', $1)", author))
	if err != nil {
		return nil, errors.Join(err, worker.Stop())
	}
	return &server{
		address: worker.Address(), pid: worker.Pid(),
		dialect: dialect{
			path: "/api/ws",
			hello: func(client int) string {
				signed, _ := token(client) // the key is of the right type
				return `{"token":"` + signed + `","position":null}`
			},
			hear: func(text []byte) (string, bool) { return "", strings.HasPrefix(string(text), `{"type":"snapshot"`) },
		},
		publish: send.exec,
		memory: func(ctx context.Context) (heap, stack float64, err error) {
			m, err := worker.Metrics(ctx)
			return m.Heap, m.Stack, err
		},
		stop: func() error { return errors.Join(send.close(), worker.Stop()) },
	}, nil
}

//go:embed socketio/package.json socketio/package-lock.json socketio/server.mjs
var socketIO embed.FS

// installSocketIO installs socket.io as the lock file has it, and returns the path of the server.
func installSocketIO(ctx context.Context, dir string) (program string, err error) {
	if err := os.CopyFS(dir, socketIO); err != nil {
		return "", err
	}
	dir = filepath.Join(dir, "socketio")
	install := exec.CommandContext(ctx, "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--silent")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		return "", fmt.Errorf("install socket.io with npm: %w\n%s", err, out)
	}
	return filepath.Join(dir, "server.mjs"), nil
}

// emitted is what the emitter of socket.io's Postgres adapter notifies for io.to("project_1").emit("message", …).
const emitted = `select pg_notify('socket.io#/', json_build_object(
  'uid', 'emitter', 'nsp', '/', 'type', 3, 'data', json_build_object(
    'packet', json_build_object('type', 2, 'nsp', '/', 'data', json_build_array('message', $1::text)),
    'opts', json_build_object('rooms', json_build_array('project_1'), 'except', json_build_array(), 'flags', json_build_object())
  )
)::text)`

func startSocketIO(ctx context.Context, program string, db *lab.Database) (*server, error) {
	cmd := exec.CommandContext(ctx, "node", program)
	cmd.Env = append(os.Environ(), "DATABASE_URL="+db.URL, "NODE_ENV=production")
	s, err := run(cmd)
	if err != nil {
		return nil, err
	}
	send, err := sender(ctx, db, emitted)
	if err != nil {
		return nil, errors.Join(err, s.stop())
	}
	s.dialect = dialect{
		path: "/socket.io/?EIO=4&transport=websocket",
		// Engine.IO, version 4: 0 open, 2 ping, 3 pong, 4 message. Socket.IO, version 5: 0 connect, 2 event.
		hear: func(text []byte) (string, bool) {
			switch {
			case text[0] == '0':
				return "40", false
			case text[0] == '2':
				return "3", false
			default:
				return "", strings.HasPrefix(string(text), `42["hello"`)
			}
		},
	}
	s.publish = send.exec
	stop := s.stop
	s.stop = func() error { return errors.Join(send.close(), stop()) }
	return s, nil
}

// statement is SQL that publishes, over a connection of its own.
type statement struct{ conn *pgx.Conn }

const statementName = "publish"

func sender(ctx context.Context, db *lab.Database, sql string) (statement, error) {
	conn, err := db.Connect(ctx)
	if err != nil {
		return statement{}, err
	}
	if _, err := conn.Prepare(ctx, statementName, sql); err != nil {
		return statement{}, errors.Join(fmt.Errorf("prepare %s: %w", sql, err), conn.Close(ctx))
	}
	return statement{conn}, nil
}

// exec publishes texts in one transaction, and returns when it was known to be committed.
func (s statement) exec(ctx context.Context, texts ...string) (time.Time, error) {
	var batch pgx.Batch
	for _, text := range texts {
		batch.Queue(statementName, text)
	}
	err := s.conn.SendBatch(ctx, &batch).Close()
	return time.Now(), err
}

func (s statement) close() error { return s.conn.Close(context.Background()) }
