package lab

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// statementName is what a prepared statement is called that completes a task.
const statementName = "complete"

// request is the messages that execute it with two bigints.
type request struct {
	bytes []byte
	first int // where the first parameter is
}

// parameterSize is that of a bigint with its length before it.
const parameterSize = 4 + 8

func newRequest() (r request) {
	bind := pgproto3.Bind{
		PreparedStatement:    statementName,
		ParameterFormatCodes: []int16{pgproto3.BinaryFormat},
		Parameters:           [][]byte{make([]byte, 8), make([]byte, 8)},
	}
	for _, message := range []pgproto3.FrontendMessage{&bind, &pgproto3.Execute{}, &pgproto3.Sync{}} {
		var err error
		if r.bytes, err = message.Encode(r.bytes); err != nil {
			panic(err) // only what is too long cannot be encoded
		}
		if r.first == 0 {
			// After the parameters comes the number of result formats, in two bytes.
			r.first = len(r.bytes) - 2 - 2*parameterSize + 4
		}
	}
	return r
}

// set puts the parameters in.
func (r *request) set(task, user int64) {
	binary.BigEndian.PutUint64(r.bytes[r.first:], uint64(task))
	binary.BigEndian.PutUint64(r.bytes[r.first+parameterSize:], uint64(user))
}

// answer is what the server sends back, as far as it has come.
type answer struct{ bytes []byte }

// add takes what has come and reports whether that was all. The server's error is a [*pgconn.PgError].
func (a *answer) add(chunk []byte) (complete bool, err error) {
	rest := chunk // nearly always everything at once
	if len(a.bytes) > 0 {
		a.bytes = append(a.bytes, chunk...)
		rest = a.bytes
	}
	for len(rest) >= 5 {
		size := 1 + int(binary.BigEndian.Uint32(rest[1:]))
		if len(rest) < size {
			break
		}
		switch rest[0] {
		case 'E':
			var response pgproto3.ErrorResponse
			if err := response.Decode(rest[5:size]); err != nil {
				return false, fmt.Errorf("read the server's error: %w", err)
			}
			return false, pgconn.ErrorResponseToPgError(&response)
		case 'Z':
			a.bytes = a.bytes[:0]
			return true, nil
		}
		rest = rest[size:]
	}
	a.bytes = bytes.Clone(rest)
	return false, nil
}
