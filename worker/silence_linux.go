package worker

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// giveUpOnSilence makes the kernel end a connection on which sent data is not acknowledged for a while. Keepalives
// detect a dead peer only when no data is in flight.
func giveUpOnSilence(network, _ string, conn syscall.RawConn) error {
	if network != "tcp4" && network != "tcp6" {
		return nil
	}
	return conn.Control(func(fd uintptr) {
		// Where the kernel does not support it, keepalives and the queries' own timeouts remain.
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int((10 * time.Second).Milliseconds()))
	})
}
