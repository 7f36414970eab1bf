package postgres

import (
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// keeperScript reads process ids, one per line; the last one counts, and an empty line means none. At the end of input
// it ends that process with its group and removes the directory, in whatever state either is.
const keeperScript = `
group=
while read -r line; do group=$line; done
exec >/dev/null 2>&1
tries=0
if [ -n "$group" ]; then
  kill -s QUIT -- "-$group"
  while kill -s 0 -- "-$group" && [ $tries -lt 100 ]; do tries=$((tries + 1)); sleep 0.1; done
  kill -s KILL -- "-$group"
fi
until rm -rf "$1" || [ $tries -ge 200 ]; do tries=$((tries + 1)); sleep 0.1; done
[ ! -e "$1" ]
`

// keeper cleans up after a cluster, whatever becomes of this program: it is a process in its own session, and acts when
// the pipe to it is closed, which the system ensures.
type keeper struct {
	cmd  *exec.Cmd
	pipe io.WriteCloser
	once sync.Once
	err  error
}

// keep starts the keeper of a directory.
func keep(dir string) (*keeper, error) {
	cmd := exec.Command("/bin/sh", "-c", keeperScript, "headway-postgres-keeper", dir)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.WaitDelay = time.Second
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start the keeper of %s: %w", dir, err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the keeper of %s: %w", dir, err)
	}
	return &keeper{cmd: cmd, pipe: pipe}, nil
}

// watch tells the keeper which process to end; 0 for none.
func (k *keeper) watch(pid int) error {
	line := "\n"
	if pid != 0 {
		line = strconv.Itoa(pid) + line
	}
	if _, err := io.WriteString(k.pipe, line); err != nil {
		return fmt.Errorf("tell the keeper of postgres: %w", err)
	}
	return nil
}

// close makes the keeper do its work and waits for it. It may be called again.
func (k *keeper) close() error {
	k.once.Do(func() {
		_ = k.pipe.Close()
		if err := k.cmd.Wait(); err != nil {
			k.err = fmt.Errorf("clean up after postgres: %w", err)
		}
	})
	return k.err
}
