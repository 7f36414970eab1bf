package worker

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// giveUpOnSilence has the kernel end a connection on which what was sent is not acknowledged for a while. Keepalives
// notice a dead peer only where nothing is under way to it.
func giveUpOnSilence(network, _ string, conn syscall.RawConn) error {
	if network != "tcp4" && network != "tcp6" {
		return nil
	}
	return conn.Control(func(fd uintptr) {
		// Keepalives and the queries' own timeouts remain where the kernel does not know it.
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int((10 * time.Second).Milliseconds()))
	})
}
