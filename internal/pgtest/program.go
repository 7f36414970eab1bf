package pgtest

import (
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// FreeAddr returns an address on this machine that was free a moment ago.
func FreeAddr(t testing.TB) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// Serve starts a server and returns once it listens on addr. At the end of the test the server is sent the signal (INT,
// TERM, …) and, if the test failed, its output is logged. If this program ends without doing that, a shell that waits
// for the end of its input does it.
func Serve(t testing.TB, addr, signal string, server *exec.Cmd) {
	t.Helper()
	const guard = `signal=$1; shift; "$@" & read -r _; kill -s "$signal" $!; wait $!`
	cmd := exec.Command("/bin/sh", append([]string{"-c", guard, "sh", signal}, server.Args...)...)
	cmd.Dir, cmd.Env, cmd.SysProcAttr = server.Dir, server.Env, server.SysProcAttr
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.WaitDelay = 10 * time.Second
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		err := cmd.Wait() // some exit with the code of the signal
		if t.Failed() {
			t.Logf("%s: %v\n%s", server, err, said.String())
		}
	})
	Eventually(t, closeTimeout, func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
		}
		return err == nil
	}, "%s does not listen on %s", server, addr)
}
