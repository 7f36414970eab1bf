package worker

import (
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// unreadable says on one line why pgx could not parse a connection string, without the string: pgx omits a password
// only where it recognizes one.
func unreadable(err error) error {
	unparsed, is := errors.AsType[*pgconn.ParseConfigError](err)
	if !is {
		return errors.New("it cannot be read")
	}
	hidden := *unparsed
	hidden.ConnString = ""
	why := strings.TrimPrefix(hidden.Error(), "cannot parse ``: ")
	if cause := hidden.Unwrap(); cause != nil && strings.HasPrefix(why, "failed to parse as ") {
		why = strings.TrimSuffix(why, " ("+cause.Error()+")") // the piece that it could not parse may be the password
	}
	return errors.New(strings.Join(strings.Fields(why), " "))
}
