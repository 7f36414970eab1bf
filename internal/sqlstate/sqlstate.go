// Package sqlstate names the codes of the errors of PostgreSQL that headway acts on (PostgreSQL manual, appendix A).
//
// The texts are for people, and translated. What follows from an error belongs to whoever gets it.
package sqlstate

import (
	"errors"

	"github.com/jackc/pgx/v5/pgconn"
)

// The names are those of the appendix.
const (
	InvalidDatetimeFormat             = "22007"
	DatetimeFieldOverflow             = "22008"
	IntervalFieldOverflow             = "22015"
	CharacterNotInRepertoire          = "22021"
	InvalidParameterValue             = "22023"
	InvalidTextRepresentation         = "22P02"
	UntranslatableCharacter           = "22P05"
	ForeignKeyViolation               = "23503"
	CheckViolation                    = "23514"
	ReadOnlySQLTransaction            = "25006"
	InvalidAuthorizationSpecification = "28000"
	DependentObjectsStillExist        = "2BP01"
	SerializationFailure              = "40001"
	DeadlockDetected                  = "40P01"
	InsufficientPrivilege             = "42501"
	ObjectNotInPrerequisiteState      = "55000"
	ObjectInUse                       = "55006"
	LockNotAvailable                  = "55P03"
	NoDataFound                       = "P0002"
)

// Of returns the code of an error of the server's; empty for any other error, and for none.
func Of(err error) string {
	if pgErr, is := errors.AsType[*pgconn.PgError](err); is {
		return pgErr.Code
	}
	return ""
}
