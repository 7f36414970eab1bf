package lab

import (
	"errors"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// encode returns the bytes of what a server sends.
func encode(t *testing.T, messages ...pgproto3.BackendMessage) (bytes []byte) {
	t.Helper()
	for _, message := range messages {
		var err error
		if bytes, err = message.Encode(bytes); err != nil {
			t.Fatal(err)
		}
	}
	return bytes
}

func TestAnAnswerMayComeInPieces(t *testing.T) {
	t.Parallel()
	bytes := encode(t,
		&pgproto3.BindComplete{}, &pgproto3.NoticeResponse{Message: "Z"},
		&pgproto3.CommandComplete{CommandTag: []byte("INSERT 0 1")}, &pgproto3.ReadyForQuery{TxStatus: 'I'})
	for size := 1; size <= len(bytes); size++ {
		var a answer
		for range 2 { // the next one begins from nothing
			pieces := slices.Collect(slices.Chunk(bytes, size))
			for i, piece := range pieces {
				complete, err := a.add(piece)
				if err != nil || complete != (i == len(pieces)-1) {
					t.Fatalf("after piece %d of %d: %v, %v", i+1, len(pieces), complete, err)
				}
			}
		}
	}
}

func TestAnErrorIsNoAnswer(t *testing.T) {
	t.Parallel()
	var a answer
	complete, err := a.add(encode(t,
		&pgproto3.BindComplete{}, &pgproto3.ErrorResponse{Severity: "ERROR", Code: "23505", Message: "twice"},
		&pgproto3.ReadyForQuery{TxStatus: 'I'}))
	var pgErr *pgconn.PgError
	if complete || !errors.As(err, &pgErr) || pgErr.Code != "23505" {
		t.Errorf("%v, %v", complete, err)
	}
}

func TestARequestHasItsParametersInPlace(t *testing.T) {
	t.Parallel()
	r := newRequest()
	r.set(1<<40+2, 3)
	var bind pgproto3.Bind
	size := len(r.bytes) - len(encodeFrontend(t, &pgproto3.Execute{}, &pgproto3.Sync{}))
	if err := bind.Decode(r.bytes[5:size]); err != nil {
		t.Fatal(err)
	}
	want := [][]byte{{0, 0, 1, 0, 0, 0, 0, 2}, {0, 0, 0, 0, 0, 0, 0, 3}}
	if bind.PreparedStatement != statementName || !slices.EqualFunc(bind.Parameters, want, slices.Equal[[]byte]) {
		t.Errorf("%q with %v", bind.PreparedStatement, bind.Parameters)
	}
}

func encodeFrontend(t *testing.T, messages ...pgproto3.FrontendMessage) (bytes []byte) {
	t.Helper()
	for _, message := range messages {
		var err error
		if bytes, err = message.Encode(bytes); err != nil {
			t.Fatal(err)
		}
	}
	return bytes
}
