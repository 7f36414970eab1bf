package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
	"golang.org/x/sys/unix"
)

// loop serves all connections from one goroutine, as a thread of pgbench does: it sends to whoever was answered and
// waits for all of them at once. A goroutine for each connection takes two and a half times the CPU, most of it to put
// goroutines to sleep and to wake them, and a bare insert costs so little that it would be slower by a tenth for that.
type loop struct {
	epoll, timer int
	wires        []*wire
	idle         []*wire
	random       *rand.Rand
}

// wire is a connection over which one prepared statement is executed again and again.
type wire struct {
	socket  int
	request request
	answer  answer
	project int64 // of the completion that is under way
}

// openStatement opens connections on which a statement completes a task: $1, for a person: $2.
func openStatement(ctx context.Context, db *Database, n int, statement string) (driver, error) {
	l := &loop{epoll: -1, timer: -1, random: rand.New(rand.NewPCG(0, 0))}
	if err := l.open(ctx, db, n, statement); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *loop) open(ctx context.Context, db *Database, n int, statement string) (err error) {
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return fmt.Errorf("epoll_create1: %w", err)
	}
	if l.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC); err != nil {
		return fmt.Errorf("timerfd_create: %w", err)
	}
	if err := l.wait(l.timer, theTimer); err != nil {
		return err
	}
	for i := range n {
		socket, err := openSocket(ctx, db, statement)
		if err != nil {
			return err
		}
		w := &wire{socket: socket, request: newRequest()}
		l.wires, l.idle = append(l.wires, w), append(l.idle, w)
		if err := l.wait(socket, int32(i)); err != nil {
			return err
		}
	}
	return nil
}

// theTimer is the timer where an index of wires would be.
const theTimer = -1

// wait has the loop wait for a file to become readable.
func (l *loop) wait(fd int, index int32) error {
	if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: index}); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// openSocket has pgx connect and prepare, and takes the socket out of its hands, and of those of Go's own loop.
func openSocket(ctx context.Context, db *Database, statement string) (socket int, err error) {
	conn, err := db.Connect(ctx)
	if err != nil {
		return 0, err
	}
	prepared, err := conn.Prepare(ctx, statementName, statement)
	if err != nil {
		return 0, errors.Join(fmt.Errorf("prepare %q: %w", statement, err), conn.Close(ctx))
	}
	if p := prepared.ParamOIDs; len(p) != 2 || p[0] != pgtype.Int8OID || p[1] != pgtype.Int8OID {
		return 0, errors.Join(fmt.Errorf("prepare %q: its parameters are not two bigints", statement), conn.Close(ctx))
	}
	hijacked, err := conn.PgConn().Hijack()
	if err != nil {
		return 0, errors.Join(err, conn.Close(ctx))
	}
	defer hijacked.Conn.Close()
	raw, err := hijacked.Conn.(syscall.Conn).SyscallConn() // a socket, which has one
	if err != nil {
		return 0, err
	}
	var duplicated error
	err = raw.Control(func(fd uintptr) { socket, duplicated = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
	return socket, errors.Join(err, duplicated)
}

func (l *loop) close() {
	for _, w := range l.wires {
		_ = unix.Close(w.socket)
	}
	for _, fd := range []int{l.epoll, l.timer} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

func (l *loop) drive(ctx context.Context, t *turn) error {
	due := t.pace.arrivals()
	var events [64]unix.EpollEvent
	for {
		var err error
		if due, err = l.feed(ctx, t, due); err != nil {
			return err
		}
		if len(l.idle) == len(l.wires) && (len(due) == 0 || ctx.Err() != nil) {
			return ctx.Err()
		}
		n, err := unix.EpollWait(l.epoll, events[:], 1000)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("epoll_wait: %w", err)
		}
		for _, e := range events[:max(n, 0)] {
			if e.Fd == theTimer {
				var expirations [8]byte
				_, _ = unix.Read(l.timer, expirations[:]) // it has done its work by ending the wait
				continue
			}
			if err := l.hear(t, l.wires[e.Fd]); err != nil {
				return err
			}
		}
	}
}

// feed completes what is due on the connections that are idle: at full speed a task on each while there is time, else
// those whose moment has come. It returns what is due later, and sets the timer for it.
func (l *loop) feed(ctx context.Context, t *turn, due []time.Duration) ([]time.Duration, error) {
	for len(l.idle) > 0 && ctx.Err() == nil {
		now := time.Now()
		if t.pace.rate == 0 {
			if t.over(now) {
				break
			}
		} else {
			if len(due) == 0 {
				break
			}
			if early := due[0] - now.Sub(t.began); early > 0 {
				at := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(early))}
				if err := unix.TimerfdSettime(l.timer, 0, &at, nil); err != nil {
					return nil, fmt.Errorf("timerfd_settime: %w", err)
				}
				break
			}
			due = due[1:]
			if t.over(now) {
				due = nil
				break
			}
		}
		if err := l.send(t); err != nil {
			return nil, err
		}
	}
	return due, nil
}

// send has an idle connection complete a task.
func (l *loop) send(t *turn) error {
	task, project, user, err := t.next(l.random)
	if err != nil {
		return err
	}
	w := l.idle[len(l.idle)-1]
	l.idle = l.idle[:len(l.idle)-1]
	w.project = project
	w.request.set(task, user)
	// So few bytes fit into the socket of a connection on which nothing is under way.
	n, err := unix.Write(w.socket, w.request.bytes)
	if err == nil && n < len(w.request.bytes) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return fmt.Errorf("send: %w", err)
	}
	return nil
}

// hear reads what a connection was answered.
func (l *loop) hear(t *turn, w *wire) error {
	var chunk [4096]byte
	n, err := unix.Read(w.socket, chunk[:])
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return nil
	case err != nil:
		return fmt.Errorf("receive: %w", err)
	case n == 0:
		return fmt.Errorf("receive: %w", io.ErrUnexpectedEOF)
	}
	complete, err := w.answer.add(chunk[:n])
	if err != nil {
		return err
	}
	if complete {
		t.commit(w.project, time.Now())
		l.idle = append(l.idle, w)
	}
	return nil
}
