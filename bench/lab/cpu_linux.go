package lab

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// tick is the unit of times in /proc: USER_HZ is 100 on every architecture that Go knows.
const tick = 10 * time.Millisecond

// CPU returns what this process and the server have used since they started: user and system time, the server's
// processes that have ended included. It is 0 where the system does not tell.
func (l *Lab) CPU() (time.Duration, error) {
	var self syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &self); err != nil {
		return 0, err
	}
	used := time.Duration(self.Utime.Nano() + self.Stime.Nano())

	postmaster := l.Cluster.Pid()
	own, err := ProcessCPU(postmaster)
	if err != nil {
		return 0, err
	}
	used += own
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", postmaster, postmaster))
	if err != nil {
		return 0, err
	}
	for _, child := range strings.Fields(string(children)) {
		pid, err := strconv.Atoi(child)
		if err != nil {
			return 0, err
		}
		// One that ends between two readings is missing once.
		if own, err := ProcessCPU(pid); err == nil {
			used += own
		}
	}
	return used, nil
}

// ProcessCPU returns what a process and the children it has waited for have used. It is 0 where the system does not tell.
func ProcessCPU(pid int) (used time.Duration, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// After the name, which is in parentheses and may contain any: state is field 3, utime to cstime 14 to 17.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 15 {
		return 0, fmt.Errorf("/proc/%d/stat: %q", pid, stat)
	}
	for _, field := range fields[11:15] {
		ticks, err := strconv.ParseInt(string(field), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
		used += time.Duration(ticks) * tick
	}
	return used, nil
}
