//go:build !linux

package gateway

import (
	"context"
	"errors"
	"sync/atomic"
)

// fleet is clients that receive. It needs epoll.
type fleet struct {
	next      int64
	tally     atomic.Pointer[tally]
	delivered atomic.Int64
	receivers []struct{}
}

func open(string, int, dialect) (*fleet, error) {
	return nil, errors.New("the gateway is measured on Linux only")
}

func (*fleet) close() {}

func (*fleet) wait(context.Context, func() bool) error { return nil }

func (*fleet) waitUntilThere(context.Context) error { return nil }
