//go:build !linux

package worker

import "syscall"

// giveUpOnSilence does nothing here: keepalives and the queries' own timeouts detect a dead peer a little later.
func giveUpOnSilence(string, string, syscall.RawConn) error { return nil }
