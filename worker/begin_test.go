package worker_test

import (
	"net"
	"testing"

	"headway/internal/pgtest"
	"headway/worker"
)

// TestToldToStopBeforeItCouldBegin has the database accept a connection and say nothing. That the worker then ends without an
// error is asserted by stop.
func TestToldToStopBeforeItCouldBegin(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	w := start(t, config(t, "postgres://postgres@"+listener.Addr().String()+"/silent?sslmode=disable"))
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	w.stop()
}

// TestAURLMaySayHowLargeThePoolIs: what is for a pool, or against prepared statements, is no matter for the listening
// connection.
func TestAURLMaySayHowLargeThePoolIs(t *testing.T) {
	t.Parallel()
	for _, parameter := range []string{"pool_max_conns=5", "statement_cache_capacity=0", "default_query_exec_mode=simple_protocol"} {
		t.Run(parameter, func(t *testing.T) {
			t.Parallel()
			db := seeded(t)
			w := start(t, config(t, db.URL+"&"+parameter))
			w.await(worker.Leading, worker.Asleep)
			pgtest.Execute(t, db.Conn(t), complete(1))
			w.await(worker.Rung, worker.Folded)
		})
	}
}
